//! Stores and groups are who they were founded as: wiped, foreign, copied and moved ones take no part.

#![allow(clippy::unwrap_used, reason = "what does not work ends the test")]

mod support;

use std::time::Duration;

use quorate_api::{Consistency, Member, ProblemKind};
use quorate_node::node::StopReason;
use support::{Group, Settings, member};
use tokio::time::{Instant, sleep};

/// Many times what an election takes.
const LONG: Duration = Duration::from_secs(20);

fn within(seconds: u64) -> Instant {
    Instant::now() + Duration::from_secs(seconds)
}

fn members(ids: &[u64]) -> Vec<Member> {
    ids.iter().copied().map(member).collect()
}

/// Whether any running node knows of a leader.
fn has_leader(group: &Group) -> bool {
    group.ids().into_iter().any(|id| group.node(id).cluster().leader.is_some())
}

/// Waits until `holds`, within a bounded time.
async fn until(what: &str, holds: impl Fn() -> bool) {
    let deadline = within(30);
    while !holds() {
        assert!(Instant::now() < deadline, "never: {what}");
        sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_entry_names_the_group_and_every_store() {
    let group = Group::start(3, Settings::default()).await;
    group.leader().await;
    group.converge().await;
    let views: Vec<_> = group.ids().into_iter().map(|id| group.node(id).cluster()).collect();
    assert!(views[0].group_id.is_some());
    let stores = |at: usize| -> Vec<_> { views[at].members.iter().map(|member| member.store_id).collect() };
    for at in 1..3 {
        assert_eq!((views[at].group_id, stores(at)), (views[0].group_id, stores(0)));
    }
    let mut distinct = stores(0);
    distinct.sort_unstable();
    distinct.dedup();
    assert_eq!(distinct.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_wiped_node_neither_votes_nor_counts() {
    let mut group = Group::start(3, Settings::default()).await;
    group.leader().await;
    group.converge().await;
    // Node 3 misses what the others acknowledge; then one of the others loses its disk.
    group.kill(3);
    let leader = group.leader().await;
    let acknowledged = group.commit(leader).await;
    group.kill(2);
    group.wipe(2);
    group.kill(1);
    group.launch(2).await;
    group.launch(3).await;
    sleep(LONG).await;
    assert!(!has_leader(&group), "an empty store elected a node that misses what was acknowledged");
    assert_eq!(group.node(2).cluster().group_id, None);
    let read = group.node(2).read(Consistency::Local, within(5)).await.unwrap_err();
    assert!(read.detail.contains("its own directory back"), "{}", read.detail);
    assert!(group.node(2).metrics().identity_refused > 0);
    // The one that holds it all comes back: with node 3 it is a majority, and nothing is lost.
    group.launch(1).await;
    let leader = group.leader_among(&[1, 3]).await;
    assert!(group.commit(leader).await > acknowledged);
    assert!(group.read(3, Consistency::Linearizable).await.applied_index > acknowledged);
    // The empty one still counts for nothing: without node 3 there is no majority.
    group.kill(3);
    until("node 1 stops leading", || group.node(1).cluster().leader.is_none()).await;
    sleep(LONG).await;
    assert!(!has_leader(&group));
    assert_eq!(group.node(2).status().applied_index, 0);
}

#[tokio::test(start_paused = true)]
async fn a_group_is_not_founded_again_on_wiped_disks() {
    let mut group = Group::start(3, Settings::default()).await;
    let leader = group.leader().await;
    let acknowledged = group.commit(leader).await;
    group.converge().await;
    let group_id = group.node(1).cluster().group_id;
    for id in [1, 2, 3] {
        group.kill(id);
    }
    group.wipe(1);
    group.wipe(2);
    group.launch(1).await;
    group.launch(2).await;
    sleep(LONG).await;
    assert_eq!((group.node(1).cluster().group_id, has_leader(&group)), (None, false), "founded without node 3");
    group.launch(3).await;
    sleep(LONG).await;
    assert!(!has_leader(&group));
    assert_eq!(group.node(3).cluster().group_id, group_id);
    assert!(group.node(3).status().last_log_index >= acknowledged);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_away_holds_up_the_founding() {
    let mut group = Group::laid_out(3, Settings::default());
    group.launch(1).await;
    group.launch(2).await;
    sleep(LONG).await;
    assert!(group.ids().into_iter().all(|id| group.node(id).cluster().group_id.is_none()));
    group.launch(3).await;
    group.leader().await;
    group.converge().await;
}

#[tokio::test(start_paused = true)]
async fn lists_that_differ_found_nothing() {
    let mut group = Group::laid_out(5, Settings::default());
    group.list(1, &members(&[1, 2, 3]));
    group.list(2, &members(&[1, 2, 3]));
    for id in 1..=5 {
        group.launch(id).await;
    }
    sleep(LONG).await;
    assert!(group.ids().into_iter().all(|id| group.node(id).cluster().group_id.is_none()));
    // Started again with the list of the others, they are five members of one group.
    for id in [1, 2] {
        group.list(id, &members(&[1, 2, 3, 4, 5]));
        group.kill(id);
        group.launch(id).await;
    }
    group.leader().await;
    group.converge().await;
    assert_eq!(group.node(5).cluster().members.len(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_node_of_another_group_is_not_added_and_not_heard() {
    let mut group = Group::start(3, Settings::default()).await;
    let leader = group.leader().await;
    group.list(4, &members(&[4]));
    group.launch(4).await;
    group.commit(4).await;
    let term = group.node(leader).status().term;
    let change = group.change(leader, members(&[1, 2, 3, 4]));
    let problem = group.node(leader).change_members(change, within(20)).await.unwrap_err();
    assert_eq!(problem.kind, ProblemKind::Conflict);
    assert!(problem.detail.contains("another group"), "{}", problem.detail);
    assert_eq!(group.node(leader).cluster().members.len(), 3);
    assert_ne!(group.node(4).cluster().group_id, group.node(leader).cluster().group_id);
    assert_eq!(group.node(leader).status().term, term);
}

#[tokio::test(start_paused = true)]
async fn a_leader_of_another_group_at_the_same_addresses_changes_nothing() {
    let mut group = Group::start(3, Settings::default()).await;
    group.leader().await;
    group.converge().await;
    group.kill(1);
    group.kill(2);
    // Nodes 1 and 2 of another group of the same name take the places of ours, with node 3 in their list.
    let ours: Vec<_> = [1, 2].map(|id| group.take_disk(id)).into();
    let theirs = group.node(3).clone();
    let before = (theirs.status().chain, theirs.cluster().group_id);
    group.list(1, &members(&[1, 2]));
    group.list(2, &members(&[1, 2]));
    group.launch(1).await;
    group.launch(2).await;
    let stranger = group.leader_among(&[1, 2]).await;
    let change = group.change(stranger, members(&[1, 2, 3]));
    let problem = group.node(stranger).change_members(change, within(20)).await.unwrap_err();
    assert!(problem.detail.contains("another group"), "{}", problem.detail);
    sleep(LONG).await;
    assert_eq!((theirs.status().chain, theirs.cluster().group_id), before);
    for (id, disk) in (1..).zip(ours) {
        group.kill(id);
        group.put_disk(id, disk);
        group.list(id, &members(&[1, 2, 3]));
        group.launch(id).await;
    }
    let leader = group.leader().await;
    group.commit(leader).await;
    group.converge().await;
}

#[tokio::test(start_paused = true)]
async fn a_member_does_not_start_where_its_group_does_not_know_it() {
    let mut group = Group::start(3, Settings::default()).await;
    group.leader().await;
    group.converge().await;
    group.kill(3);
    let moved = Member { peer_addr: "elsewhere:1".to_owned(), ..member(3) };
    group.list(3, &[member(1), member(2), moved]);
    let refused = group.try_launch(3, false).await.unwrap_err().to_string();
    assert!(refused.contains("peer:3") && refused.contains("elsewhere:1"), "{refused}");
    group.list(3, &members(&[1, 2, 3]));
    group.launch(3).await;
    group.converge().await;
}

#[tokio::test(start_paused = true)]
async fn a_copy_stops_where_the_original_answers() {
    let mut group = Group::start(3, Settings::default()).await;
    group.leader().await;
    group.converge().await;
    let (copy, _world) = group.launch_copy(2).await;
    let reason = copy.stopped().await;
    assert!(matches!(&reason, StopReason::Copied { addr } if addr == "peer:2"), "{reason:?}");
    let leader = group.leader().await;
    group.commit(leader).await;
    group.converge().await;
}

#[tokio::test(start_paused = true)]
async fn a_copy_that_starts_first_takes_no_part_and_stops_once_the_original_is_there() {
    let mut group = Group::start(3, Settings::default()).await;
    group.leader().await;
    group.converge().await;
    for id in [1, 2, 3] {
        group.kill(id);
    }
    let mut copies = Vec::new();
    for id in [1, 2, 3] {
        copies.push(group.launch_copy(id).await);
    }
    sleep(LONG).await;
    for (copy, _world) in &copies {
        let why = copy.readiness().unwrap_err();
        assert!(why.contains("does not reach itself") && why.contains("--no-self-check"), "{why}");
    }
    let terms: Vec<u64> = copies.iter().map(|(copy, _)| copy.status().term).collect();
    for id in [1, 2, 3] {
        group.launch(id).await;
    }
    group.leader().await;
    for (copy, _world) in &copies {
        let reason = copy.stopped().await;
        assert!(matches!(&reason, StopReason::Copied { .. }), "{reason:?}");
    }
    assert!(copies.iter().zip(terms).all(|((copy, _), term)| copy.status().term == term), "a copy stood for election");
    let leader = group.leader().await;
    group.commit(leader).await;
    group.converge().await;
}
