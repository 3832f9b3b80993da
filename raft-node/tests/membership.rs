//! Changes of the members and of the leader: what is refused leaves everything as it was, and what is begun is finished.

#![allow(clippy::unwrap_used, reason = "what does not work ends the test")]

mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use openraft::{EntryPayload, Membership, async_runtime::WatchReceiver};
use quorate_api::{Applied, ChangeMembers, ClusterView, Faults, Member, Problem, ProblemKind};
use quorate_node::{node::Node, raft::types::Peer};
use support::{Group, Settings, member, open_session};
use tokio::time::{Instant, sleep, timeout};

fn within(ms: u64) -> Instant {
    Instant::now() + Duration::from_millis(ms)
}

fn others(group: &Group, id: u64) -> Vec<u64> {
    group.ids().into_iter().filter(|other| *other != id).collect()
}

fn voters(ids: &[u64]) -> Vec<Member> {
    ids.iter().map(|id| member(*id)).collect()
}

fn learner(id: u64) -> Member {
    Member { voter: false, ..member(id) }
}

fn at(node: &Node, members: Vec<Member>) -> ChangeMembers {
    ChangeMembers { membership_index: node.cluster().membership_index, members }
}

/// Asks the leader for these members, from what it shows.
async fn change(group: &Group, leader: u64, members: Vec<Member>) -> Result<ClusterView, Problem> {
    let node = group.node(leader);
    node.change_members(at(node, members), within(5_000)).await
}

/// Likewise, where the change must be refused, soon, and leave the members as they were.
async fn refused(group: &Group, leader: u64, members: Vec<Member>) -> String {
    let before = group.node(leader).cluster();
    let asked = Instant::now();
    let problem = change(group, leader, members).await.unwrap_err();
    assert_eq!((problem.kind, problem.outcome_unknown), (ProblemKind::Conflict, false), "{problem:?}");
    assert!(asked.elapsed() <= Duration::from_millis(2_200), "{:?}", asked.elapsed());
    let after = group.node(leader).cluster();
    assert_eq!((after.membership_index, after.term), (before.membership_index, before.term));
    assert_eq!((after.voter_sets, after.members.len()), (before.voter_sets, before.members.len()));
    problem.detail
}

fn voter_set(group: &Group, id: u64) -> Vec<Vec<u64>> {
    group.node(id).cluster().voter_sets
}

/// Something is applied through node `id`.
async fn write(group: &Group, id: u64) {
    let answer = group.propose(id, open_session(), Duration::from_secs(10)).await;
    assert!(matches!(answer, Applied::Response(_)), "{answer:?}");
}

/// Waits for `what`, for half a minute at most.
async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = within(30_000);
    while !holds() {
        assert!(Instant::now() < deadline, "not within 30 s: {what}");
        sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_joins_who_does_not_answer_under_that_id() {
    for size in [1, 3] {
        let mut group = Group::start(size, Settings::default()).await;
        group.launch(4).await;
        let leader = group.leader_among(&(1..=size).collect::<Vec<_>>()).await;
        group.commit(leader).await;
        let present: Vec<u64> = (1..=size).collect();
        let with = |more: Member| voters(&present).into_iter().chain([more]).collect::<Vec<_>>();

        // Nobody is there; as a learner neither.
        assert!(refused(&group, leader, with(member(9))).await.contains("node 9 is not added: it does not answer"));
        refused(&group, leader, with(learner(9))).await;
        // Somebody else is there.
        let typo = Member { peer_addr: member(4).peer_addr, ..member(5) };
        assert!(refused(&group, leader, with(typo)).await.contains("node 5 is not added"));
        // It is there, and hangs.
        group.isolate(4);
        assert!(refused(&group, leader, with(member(4))).await.contains("node 4 is not added"));
        group.heal(4);
        // It hears, and is not heard.
        group.mute(4);
        refused(&group, leader, with(member(4))).await;
        group.heal(4);
        assert_eq!(group.node(leader).metrics().members_refused, 5);

        group.commit(leader).await;
        change(&group, leader, with(member(4))).await.unwrap();
        assert_eq!(voter_set(&group, leader).concat().len(), present.len() + 1);
        group.commit(4).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_dead_member_is_not_replaced_by_a_mistyped_one() {
    let mut group = Group::start(3, Settings::default()).await;
    let leader = group.leader().await;
    let [dead, other] = others(&group, leader)[..] else { panic!("three nodes") };
    group.kill(dead);
    group.launch(4).await;
    let typo = Member { peer_addr: "peer:5".to_owned(), ..member(4) };
    let members = vec![member(leader), member(other), typo];
    assert!(refused(&group, leader, members).await.contains("node 4 is not added"));
    group.commit(leader).await;
    change(&group, leader, voters(&[leader, other, 4])).await.unwrap();
    let mut expected = vec![leader, other, 4];
    expected.sort_unstable();
    assert_eq!(voter_set(&group, leader), [expected]);
    group.converge().await;
}

#[tokio::test(start_paused = true)]
async fn a_learner_votes_only_when_it_answers_and_is_level() {
    let mut group = Group::start(3, Settings::default()).await;
    let leader = group.leader().await;
    for _ in 0..24 {
        let answers = group.node(leader).propose(vec![open_session(); 512], within(10_000)).await;
        assert!(answers.iter().all(|answer| matches!(answer, Applied::Response(_))));
    }
    // The three could do without it: nothing but the leader's care makes them wait.
    group.launch(4).await;
    let end = group.node(leader).status().last_log_index;
    let view = change(&group, leader, voters(&[1, 2, 3, 4])).await.unwrap();
    let matched = view.members.iter().find(|member| member.node_id == 4).unwrap().matched_index;
    assert!(matched >= Some(end), "{matched:?} of {end}");
    assert_eq!(voter_set(&group, leader), [[1, 2, 3, 4]]);

    // A learner of long standing, that hangs.
    group.launch(5).await;
    change(&group, leader, [voters(&[1, 2, 3, 4]), vec![learner(5)]].concat()).await.unwrap();
    group.isolate(5);
    assert!(refused(&group, leader, voters(&[1, 2, 3, 4, 5])).await.contains("node 5 is not made a voter"));
    group.heal(5);
    change(&group, leader, voters(&[1, 2, 3, 4, 5])).await.unwrap();
    group.converge().await;
}

#[tokio::test(start_paused = true)]
async fn a_new_voter_that_is_too_busy_to_answer_is_not_given_up_while_it_comes_to_hold_more() {
    let mut group = Group::start(1, Settings::default()).await;
    for _ in 0..40 {
        group.node(1).propose(vec![open_session(); 512], within(10_000)).await;
    }
    group.launch(2).await;
    let node = group.node(1).clone();
    let asked = at(&node, voters(&[1, 2]));
    let change = tokio::spawn(async move { node.change_members(asked, within(120_000)).await });
    until("it is a learner", || group.node(1).cluster().members.len() == 2).await;
    group.slow(2, "/peer/v1/standing", Duration::from_secs(5));
    let busy = within(30_000);
    while Instant::now() < busy {
        write(&group, 1).await;
        sleep(Duration::from_millis(200)).await;
        assert!(!change.is_finished(), "{:?}", voter_set(&group, 1));
    }
    group.slow(2, "/peer/v1/standing", Duration::ZERO);
    change.await.unwrap().unwrap();
    assert_eq!(voter_set(&group, 1), [[1, 2]]);
}

#[tokio::test(start_paused = true)]
async fn a_new_voter_that_falls_silent_while_it_catches_up_is_taken_out_again() {
    let mut group = Group::start(1, Settings::default()).await;
    for _ in 0..40 {
        group.node(1).propose(vec![open_session(); 512], within(10_000)).await;
    }
    group.launch(2).await;
    let node = group.node(1).clone();
    let asked = at(&node, voters(&[1, 2]));
    let change = tokio::spawn(async move { node.change_members(asked, within(3_000)).await });
    until("it is a learner", || group.node(1).cluster().members.len() == 2).await;
    group.isolate(2);
    let problem = change.await.unwrap().unwrap_err();
    assert!(problem.outcome_unknown, "{problem:?}");
    until("it is out again", || group.node(1).cluster().members.len() == 1).await;
    assert_eq!(voter_set(&group, 1), [[1]]);
    assert_eq!(group.node(1).metrics().members_refused, 1);
    write(&group, 1).await;
}

#[tokio::test(start_paused = true)]
async fn a_quorum_that_does_not_answer_is_refused() {
    let mut group = Group::start(3, Settings::default()).await;
    let leader = group.leader().await;
    let [dead, other] = others(&group, leader)[..] else { panic!("three nodes") };
    group.kill(dead);
    let detail = refused(&group, leader, voters(&[leader, dead])).await;
    assert!(detail.contains("no majority of the new voters"), "{detail}");
    group.commit(leader).await;
    change(&group, leader, voters(&[leader, other])).await.unwrap();
    group.converge().await;

    // A present majority that does not answer: nothing is begun that would wait for it.
    group.launch(4).await;
    group.isolate(other);
    let node = group.node(leader);
    let problem = node.change_members(at(node, voters(&[leader, other, 4])), within(2_500)).await.unwrap_err();
    assert!(!problem.outcome_unknown, "{problem:?}");
    assert_eq!(node.cluster().members.len(), 2);
    group.heal(other);
    group.commit(other).await;
    let leader = group.leader_among(&[leader, other]).await;
    change(&group, leader, voters(&[1, 2, 3, 4].into_iter().filter(|id| *id != dead).collect::<Vec<_>>()))
        .await
        .unwrap();
    group.converge().await;
}

#[tokio::test(start_paused = true)]
async fn a_change_that_keeps_fewer_than_half_of_the_voters_is_refused() {
    let mut group = Group::start(3, Settings::default()).await;
    let leader = group.leader().await;
    let [a, b] = others(&group, leader)[..] else { panic!("three nodes") };
    group.launch(4).await;
    for list in [&[4][..], &[a, 4], &[leader]] {
        assert!(refused(&group, leader, voters(list)).await.contains("at least half"), "{list:?}");
    }
    // In steps it may come to that, and the leader that leaves hands over first.
    change(&group, leader, voters(&[leader, a])).await.unwrap();
    let session = group.commit(a).await;
    change(&group, leader, voters(&[a])).await.unwrap();
    assert_eq!(group.leader_among(&[a]).await, a);
    assert!(group.commit(a).await > session);
    change(&group, a, voters(&[a, 4])).await.unwrap();
    change(&group, a, voters(&[4])).await.unwrap();
    group.kill(a);
    group.kill(b);
    group.kill(leader);
    assert_eq!(group.leader().await, 4);
    assert!(group.commit(4).await > session);
}

#[tokio::test(start_paused = true)]
async fn of_two_changes_made_from_one_list_one_is_refused() {
    let mut group = Group::start(3, Settings::default()).await;
    let leader = group.leader().await;
    group.launch(4).await;
    group.launch(5).await;
    let [asked, _] = others(&group, leader)[..2] else { panic!("nodes") };
    let seen = group.node(asked).cluster().membership_index;
    let with = |more: u64| ChangeMembers { membership_index: seen, members: voters(&[1, 2, 3, more]) };
    // One after the other.
    group.node(asked).change_members(with(4), within(5_000)).await.unwrap();
    let problem = group.node(leader).change_members(with(5), within(5_000)).await.unwrap_err();
    assert_eq!(problem.kind, ProblemKind::Conflict);
    assert!(problem.detail.contains("membership_index"), "{problem:?}");
    assert_eq!(voter_set(&group, leader), [[1, 2, 3, 4]]);
    // The same again is done already.
    group.node(leader).change_members(with(4), within(5_000)).await.unwrap();

    // Both at once, by different nodes.
    let seen = group.node(leader).cluster().membership_index;
    let with = |ids: &[u64]| ChangeMembers { membership_index: seen, members: voters(ids) };
    let (one, two) = tokio::join!(
        group.node(leader).change_members(with(&[1, 2, 3, 4, 5]), within(5_000)),
        group.node(asked).change_members(with(&[1, 2, 3]), within(5_000)),
    );
    assert!(one.is_ok() != two.is_ok(), "{one:?} {two:?}");
    let problem = one.clone().or(two.clone()).err().or(one.clone().err()).or(two.err()).unwrap();
    assert_eq!((problem.kind, problem.status, problem.outcome_unknown), (ProblemKind::Conflict, 409, false));
    let expected = if one.is_ok() { vec![1, 2, 3, 4, 5] } else { vec![1, 2, 3] };
    assert_eq!(voter_set(&group, leader), [expected]);
}

#[tokio::test(start_paused = true)]
async fn a_change_outlives_its_caller() {
    for steps in [0, 3, 10] {
        let mut group = Group::start(3, Settings::default()).await;
        let leader = group.leader().await;
        group.launch(4).await;
        group.launch(5).await;
        let node = group.node(leader).clone();
        let change = at(&node, voters(&[1, 2, 3, 4, 5]));
        let mut metrics = node.raft().server_metrics();
        let asked = tokio::spawn(async move { node.change_members(change, within(5_000)).await });
        let caller = asked.abort_handle();
        // The learners are there, and do not vote yet: nobody waits any more.
        let gone = tokio::spawn(async move {
            while metrics.borrow_and_update().membership_config.membership().nodes().count() < 5 {
                metrics.changed().await.unwrap();
            }
            for _ in 0..steps {
                tokio::task::yield_now().await;
            }
            caller.abort();
        });
        timeout(Duration::from_secs(5), gone).await.unwrap().unwrap();
        assert!(asked.await.is_err_and(|error| error.is_cancelled()), "it was done before its caller was gone");
        until("it is done", || voter_set(&group, leader) == [[1, 2, 3, 4, 5]]).await;
        group.converge().await;
    }
}

/// Waits for `what` among what happens without any time passing, and lets time pass where nothing does.
async fn at_once(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = within(30_000);
    for round in 1_u64.. {
        if holds() {
            return;
        }
        assert!(Instant::now() < deadline, "not within 30 s: {what}");
        if round % 100 == 0 {
            sleep(Duration::from_millis(1)).await;
        } else {
            tokio::task::yield_now().await;
        }
    }
}

/// Writes the first of the two entries that make `to` the voters, and no second one.
fn write_half(group: &Group, leader: u64, to: &[u64]) {
    let raft = group.node(leader).raft().clone();
    let present = raft.metrics().borrow_watched().membership_config.membership().clone();
    let mut sets = present.get_joint_config().clone();
    sets.push(to.iter().copied().collect());
    let nodes: BTreeMap<u64, Peer> = present.nodes().map(|(id, peer)| (*id, peer.clone())).collect();
    let joint = Membership::new(sets, nodes).unwrap();
    tokio::spawn(async move { raft.append_membership(joint, EntryPayload::Blank, []).await });
}

#[tokio::test(start_paused = true)]
async fn a_half_done_change_is_shown_and_the_next_leader_finishes_it() {
    for seed in 1..=4 {
        let mut group = Group::start(3, Settings { seed, ..Settings::default() }).await;
        let leader = group.leader().await;
        group.launch(4).await;
        group.launch(5).await;
        let members = [voters(&[1, 2, 3]), vec![learner(4), learner(5)]].concat();
        change(&group, leader, members).await.unwrap();
        group.converge().await;
        let asked = at(group.node(leader), voters(&[1, 2, 3, 4, 5]));
        let rest = others(&group, leader);
        write_half(&group, leader, &[1, 2, 3, 4, 5]);
        let joint = || rest.iter().copied().find(|id| *id <= 3 && group.node(*id).cluster().joint);
        at_once("a follower has half of it", || joint().is_some()).await;
        assert_eq!(voter_set(&group, joint().unwrap()), [vec![1, 2, 3], vec![1, 2, 3, 4, 5]]);
        group.kill(leader);
        // Sent again while it is half done, it is answered only when it is done.
        if seed % 2 == 0 {
            group.node(rest[0]).change_members(asked, within(10_000)).await.unwrap();
        } else {
            let done = || rest.iter().all(|id| voter_set(&group, *id) == [[1, 2, 3, 4, 5]]);
            until("the next leader finished it", done).await;
            group.node(rest[0]).change_members(asked, within(10_000)).await.unwrap();
        }
        let leader = group.leader().await;
        assert_eq!((voter_set(&group, leader), group.node(leader).cluster().joint), (vec![vec![1, 2, 3, 4, 5]], false));
        // Three of five are enough, whoever they are.
        let second = rest.iter().copied().find(|id| *id <= 3).unwrap();
        group.kill(second);
        let survivor = group.ids()[0];
        group.commit(survivor).await;
        group.converge().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_leaves_by_a_half_done_change_hands_over() {
    let mut group = Group::start(3, Settings::default()).await;
    let leader = group.leader().await;
    let stay = others(&group, leader);
    group.commit(leader).await;
    // It leads on itself, and finishes what it finds.
    write_half(&group, leader, &stay);
    until("it is finished", || voter_set(&group, stay[0]) == [stay.clone()]).await;
    until("another leads", || group.node(stay[0]).cluster().leader.is_some_and(|now| stay.contains(&now))).await;
    group.kill(leader);
    group.commit(stay[0]).await;
}

#[tokio::test(start_paused = true)]
async fn a_change_cut_off_at_any_moment_ends_as_it_was_or_as_it_was_asked() {
    // Some time after it was asked for; or so many steps after its first entry.
    let mut halves = 0;
    let moments = [Ok(0), Ok(2), Ok(4), Err(0), Err(1), Err(2), Err(4), Err(8)];
    for moment in moments {
        let mut group = Group::start(3, Settings::default()).await;
        let leader = group.leader().await;
        group.launch(4).await;
        group.launch(5).await;
        group.commit(leader).await;
        let node = group.node(leader).clone();
        let change = at(&node, voters(&[1, 2, 3, 4, 5]));
        let asked = tokio::spawn(async move { node.change_members(change, within(1_000)).await });
        // The leader's followers hang from then on.
        let followers: Vec<u64> = [1, 2, 3].into_iter().filter(|id| *id != leader).collect();
        let hang: Vec<Node> = followers.iter().map(|id| group.node(*id).clone()).collect();
        let node = group.node(leader).clone();
        // A task of its own: the test itself is polled only now and then while others are busy.
        let cut = tokio::spawn(async move {
            match moment {
                Ok(ms) => sleep(Duration::from_millis(ms)).await,
                Err(steps) => {
                    let mut metrics = node.raft().server_metrics();
                    while metrics.borrow_and_update().membership_config.membership().get_joint_config().len() == 1 {
                        metrics.changed().await.unwrap();
                    }
                    for _ in 0..steps {
                        tokio::task::yield_now().await;
                    }
                }
            }
            for node in hang {
                let others: Vec<u64> = (1..=5).filter(|id| *id != node.id()).collect();
                node.set_faults(Faults { drop_to: others.clone(), drop_from: others }).unwrap();
            }
            node.cluster().joint
        });
        halves += usize::from(timeout(Duration::from_secs(5), cut).await.unwrap().unwrap());
        let answer = asked.await.unwrap();
        followers.iter().for_each(|id| group.heal(*id));
        let deadline = within(30_000);
        loop {
            let leader = group.leader_among(&[1, 2, 3]).await;
            if ask_again(&group, leader).await {
                break;
            }
            assert!(Instant::now() < deadline, "cut at {moment:?}, {answer:?}: {:?}", group.node(leader).cluster());
            sleep(Duration::from_millis(50)).await;
        }
        group.kill(1);
        group.kill(2);
        group.commit(3).await;
        group.converge().await;
    }
    assert!(halves >= 1, "of {} moments {halves} were in the middle", moments.len());
}

/// Asks for five voters again: whether they are the members now.
async fn ask_again(group: &Group, leader: u64) -> bool {
    let done = change(group, leader, voters(&[1, 2, 3, 4, 5])).await;
    let sets = voter_set(group, leader);
    assert!(done.is_err() || sets == [[1, 2, 3, 4, 5]], "200, and {sets:?}");
    done.is_ok()
}

#[tokio::test(start_paused = true)]
async fn leadership_is_not_handed_to_who_does_not_answer_or_is_not_level() {
    for (name, hurt) in [("dead", 0), ("hangs", 1), ("is not heard", 2), ("hears nothing of the leader", 3)] {
        let mut group = Group::start(3, Settings::default()).await;
        let leader = group.leader().await;
        let [to, asked] = others(&group, leader)[..] else { panic!("three nodes") };
        group.commit(leader).await;
        match hurt {
            0 => group.kill(to),
            1 => group.isolate(to),
            2 => group.mute(to),
            _ => group.node(leader).set_faults(Faults { drop_to: vec![to], drop_from: Vec::new() }).unwrap(),
        }
        let before = group.node(leader).status();
        for at in [leader, asked] {
            let problem = group.node(at).transfer_leader(to, within(5_000)).await.unwrap_err();
            assert_eq!((problem.kind, problem.outcome_unknown), (ProblemKind::Conflict, false), "{name}: {problem:?}");
            assert!(problem.detail.contains(&format!("node {leader} leads on")), "{problem:?}");
            // It goes on at once: no election, nothing held up.
            let asked = Instant::now();
            group.commit(leader).await;
            assert!(asked.elapsed() < Duration::from_millis(100), "{name}: {:?}", asked.elapsed());
        }
        let status = group.node(leader).status();
        assert_eq!((status.term, status.leader), (before.term, Some(leader)), "{name}");
        assert_eq!(group.node(leader).metrics().transfers_failed, 2);
    }
}

#[tokio::test(start_paused = true)]
async fn writes_go_on_while_a_transfer_is_refused() {
    let group = Arc::new(Group::start(3, Settings::default()).await);
    let leader = group.leader().await;
    let [to, asked] = others(&group, leader)[..] else { panic!("three nodes") };
    group.commit(leader).await;
    group.isolate(to);
    let transferring = Arc::clone(&group);
    let transfers = tokio::spawn(async move {
        let deadline = within(10_000);
        while Instant::now() < deadline {
            transferring.node(asked).transfer_leader(to, within(10_000)).await.unwrap_err();
        }
    });
    let began = Instant::now();
    let mut longest = Duration::ZERO;
    while !transfers.is_finished() {
        let asked = Instant::now();
        group.commit(leader).await;
        longest = longest.max(asked.elapsed());
        sleep(Duration::from_millis(10)).await;
    }
    transfers.await.unwrap();
    assert!(began.elapsed() >= Duration::from_secs(10));
    assert!(longest < Duration::from_millis(100), "{longest:?}");
}

#[tokio::test(start_paused = true)]
async fn an_heir_that_cannot_be_elected_is_asked_once() {
    let group = Group::start(5, Settings::default()).await;
    let leader = group.leader().await;
    group.commit(leader).await;
    group.converge().await;
    let rest = others(&group, leader);
    let to = rest[0];
    // Between it and the leader all is well; the others do not hear it, and so do not elect it.
    group.node(to).set_faults(Faults { drop_to: rest[1..].to_vec(), drop_from: Vec::new() }).unwrap();
    let term = group.node(leader).status().term;
    let problem = group.node(rest[1]).transfer_leader(to, within(8_000)).await.unwrap_err();
    assert!(problem.detail.contains("was asked to lead"), "{problem:?}");
    group.heal(to);
    group.commit(rest[1]).await;
    // The heir's own attempt, and the election after it.
    let after = group.node(group.leader().await).status().term;
    assert!(after <= term + 3, "{term} .. {after}");
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_hands_over_to_one_that_is_there() {
    for _ in 0..2 {
        let mut group = Group::start(3, Settings::default()).await;
        let leader = group.leader().await;
        let [a, b] = others(&group, leader)[..] else { panic!("three nodes") };
        group.commit(leader).await;
        group.converge().await;
        group.isolate(a);
        group.commit(leader).await;
        group.shutdown(leader).await;
        let down = Instant::now();
        // Two of three are left, and one of them hangs: it comes back, and there is a leader already.
        group.heal(a);
        group.commit(b).await;
        assert!(down.elapsed() < Duration::from_millis(2_000), "{:?}", down.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn a_voter_that_never_answered_is_counted() {
    let mut group = Group::start(3, Settings::default()).await;
    let old = group.leader().await;
    let silent = others(&group, old)[0];
    group.kill(silent);
    let heir = others(&group, old)[0];
    // A new leader, that never heard it.
    group.node(old).transfer_leader(heir, within(5_000)).await.unwrap();
    until("it is counted", || group.node(heir).metrics().voters_unheard == 1).await;
    group.launch(silent).await;
    until("it is heard", || group.node(heir).metrics().voters_unheard == 0).await;
    assert_eq!(group.ids().into_iter().collect::<BTreeSet<_>>(), BTreeSet::from([1, 2, 3]));
}
