//! Nodes whose states really differ: who stops, who does not serve, what a restart remembers, and what ends it.

#![allow(clippy::unwrap_used, reason = "what does not work ends the test")]

mod support;

use std::time::Duration;

use futures_util::StreamExt;
use openraft::async_runtime::WatchReceiver;
use quorate_api::{Applied, Consistency, DivergenceView, Member, ProblemKind};
use quorate_node::node::{StartError, StopReason, StreamEnd};
use quorate_seams::FailAction;
use support::{Group, Settings, member, open_session};
use tokio::time::{Instant, sleep, timeout};

/// Within this a difference is known on both sides: a heartbeat that carries the index, one that comes after it is
/// applied, and the questions.
const FOUND_WITHIN: Duration = Duration::from_millis(300);

fn within(seconds: u64) -> Instant {
    Instant::now() + Duration::from_secs(seconds)
}

fn others(group: &Group, id: u64) -> Vec<u64> {
    group.ids().into_iter().filter(|other| *other != id).collect()
}

/// The next command that node `id` applies does there what it does nowhere else.
async fn diverge(group: &Group, id: u64) {
    group.arm(id, "state.apply.diverge", 0, FailAction::Error);
    let leader = group.leader().await;
    let next = group.node(leader).status().last_log_index + 1;
    group.propose(leader, open_session(), Duration::from_secs(1)).await;
    until("the command is applied", || group.node(id).status().applied_index >= next).await;
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = within(30);
    while !condition() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        sleep(Duration::from_millis(5)).await;
    }
}

fn difference(group: &Group, id: u64) -> Option<DivergenceView> {
    group.node(id).status().divergence
}

fn verdict(group: &Group, id: u64) -> Option<String> {
    difference(group, id).map(|difference| difference.verdict)
}

async fn until_undecided(group: &Group, ids: &[u64]) {
    let undecided = |id: &u64| verdict(group, *id).as_deref() == Some("undecided");
    until("a difference is known", || ids.iter().all(undecided)).await;
}

/// Node `id` takes neither commands nor reads, and says why, with the cure.
async fn assert_does_not_serve(group: &Group, id: u64) {
    let node = group.node(id);
    let Applied::Problem(problem) = group.propose(id, open_session(), Duration::from_secs(1)).await else {
        panic!("node {id} took a command")
    };
    assert_eq!((problem.kind, problem.outcome_unknown), (ProblemKind::NotReady, false));
    for consistency in [Consistency::Local, Consistency::Linearizable] {
        let problem = node.read(consistency, within(1)).await.unwrap_err();
        assert_eq!(problem.kind, ProblemKind::NotReady);
        let detail = problem.detail;
        assert!(detail.contains("states differ") && detail.contains("--accept-own-state"), "{detail}");
    }
    assert!(node.readiness().is_err());
    assert!(node.metrics().undecided);
    let end = node.frames(0).next().await.unwrap();
    assert!(matches!(end, Err(StreamEnd::Suspended)), "{end:?}");
}

/// What node `id` has is durable from here on: a restart does not apply it anew.
async fn snapshot(group: &Group, id: u64) {
    let covers = group.node(id).status().applied_index;
    group.node(id).raft().trigger().snapshot().await.unwrap();
    until("a snapshot", || group.node(id).status().snapshot_index >= covers).await;
}

async fn refuses_to_start(group: &mut Group, id: u64, accept_own_state: bool) -> String {
    match group.try_launch(id, accept_own_state).await {
        Err(StartError::Diverged(why)) => why,
        Err(other) => panic!("node {id} does not start for another reason: {other}"),
        Ok(()) => panic!("node {id} starts again"),
    }
}

/// Two of two, or two of three while the third is down; `who` of them differs. Who differs, and who else is there.
async fn undecided(size: u64, differs: fn(u64, u64) -> u64, settings: Settings) -> (Group, u64, u64) {
    let mut group = Group::start(size, settings).await;
    let leader = group.leader().await;
    group.commit(leader).await;
    group.converge().await;
    let follower = others(&group, leader)[0];
    for away in others(&group, leader).into_iter().filter(|id| *id != follower) {
        group.kill(away);
    }
    let wrong = differs(leader, follower);
    let right = leader + follower - wrong;
    diverge(&group, wrong).await;
    let applied = Instant::now();
    until_undecided(&group, &[wrong, right]).await;
    assert!(applied.elapsed() <= FOUND_WITHIN, "found only after {:?}", applied.elapsed());
    (group, wrong, right)
}

fn the_leader(leader: u64, _: u64) -> u64 {
    leader
}

fn the_follower(_: u64, follower: u64) -> u64 {
    follower
}

#[tokio::test(start_paused = true)]
async fn a_minority_that_differs_stops_within_heartbeats_and_stays_stopped() {
    for differs in [the_leader, the_follower] {
        let mut group = Group::start(3, Settings::default()).await;
        let leader = group.leader().await;
        group.commit(leader).await;
        group.converge().await;
        let wrong = differs(leader, others(&group, leader)[0]);
        let stopped = group.node(wrong).stopped();
        diverge(&group, wrong).await;
        let applied = Instant::now();
        let reason = timeout(Duration::from_secs(10), stopped).await.unwrap();
        assert!(matches!(reason, StopReason::Diverged { .. }), "{reason:?}");
        assert!(applied.elapsed() <= FOUND_WITHIN, "stopped only after {:?}", applied.elapsed());
        assert!(group.node(wrong).metrics().state_differences > 0);

        group.kill(wrong);
        let why = refuses_to_start(&mut group, wrong, false).await;
        assert!(why.contains("under a new node id") && why.contains("keep its data"), "{why}");
        let why = refuses_to_start(&mut group, wrong, true).await;
        assert!(why.contains("--accept-own-state does not cure this"), "{why}");

        // Nobody else stopped, or is in doubt.
        for id in group.ids() {
            group.commit(id).await;
            assert_eq!((verdict(&group, id), group.node(id).metrics().undecided), (None, false));
        }
        group.converge().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_difference_that_no_majority_decides_is_remembered_until_the_third_decides() {
    for differs in [the_leader, the_follower] {
        let (mut group, wrong, right) = undecided(3, differs, Settings::default()).await;
        let away = 6 - wrong - right;
        let found = [difference(&group, wrong).unwrap(), difference(&group, right).unwrap()];
        assert_eq!((found[0].index, found[0].chain), (found[1].index, found[1].others[0].chain));
        assert_eq!((found[0].others[0].node_id, found[1].others[0].node_id), (right, wrong));
        for id in [wrong, right] {
            assert_does_not_serve(&group, id).await;
            snapshot(&group, id).await;
        }

        // One alone, after a restart, has nobody to compare with: it remembers.
        group.kill(wrong);
        group.kill(right);
        for id in [wrong, right] {
            group.launch(id).await;
            assert_does_not_serve(&group, id).await;
        }
        sleep(Duration::from_secs(10)).await;
        for id in [wrong, right] {
            assert_does_not_serve(&group, id).await;
        }

        let stopped = group.node(wrong).stopped();
        group.launch(away).await;
        let reason = timeout(Duration::from_secs(20), stopped).await.unwrap();
        assert!(matches!(reason, StopReason::Diverged { .. }), "{reason:?}");
        group.kill(wrong);
        until("a majority has decided", || verdict(&group, right).is_none()).await;
        for id in [right, away] {
            group.commit(id).await;
        }
        group.converge().await;
        refuses_to_start(&mut group, wrong, false).await;
        // The verdict that was settled is gone for good too.
        group.kill(right);
        group.launch(right).await;
        group.commit(right).await;
        assert_eq!(verdict(&group, right), None);
    }
}

#[tokio::test(start_paused = true)]
async fn the_word_of_the_leader_alone_stops_nobody() {
    let (mut group, leader, follower) = undecided(3, the_leader, Settings::default()).await;
    sleep(Duration::from_secs(10)).await;
    assert_does_not_serve(&group, follower).await;
    group.launch(6 - leader - follower).await;
    let reason = timeout(Duration::from_secs(20), group.node(leader).stopped()).await.unwrap();
    assert!(matches!(reason, StopReason::Diverged { .. }), "{reason:?}");
    group.kill(leader);
    group.commit(follower).await;
    group.converge().await;
}

#[tokio::test(start_paused = true)]
async fn an_operator_ends_it_on_the_node_that_is_named_and_for_good() {
    for differs in [the_leader, the_follower] {
        let (mut group, given_up, named) = undecided(2, differs, Settings::default()).await;
        for id in [given_up, named] {
            snapshot(&group, id).await;
        }
        group.kill(named);
        group.try_launch(named, true).await.unwrap();
        group.commit(named).await;
        let accepted = difference(&group, named).unwrap();
        assert_eq!((accepted.verdict.as_str(), accepted.given_up), ("accepted", vec![given_up]));
        assert_does_not_serve(&group, given_up).await;

        // Neither forgets; a further start does not need the flag, and whoever leads, commands are taken.
        for id in [named, given_up, named] {
            group.kill(id);
            group.launch(id).await;
            group.commit(named).await;
            sleep(Duration::from_secs(5)).await;
            group.commit(named).await;
            group.read(named, Consistency::Local).await;
            assert_does_not_serve(&group, given_up).await;
        }
        // The cure: the other one is replaced under a new id.
        group.launch(3).await;
        let change = group.change(named, vec![member(named), member(3)]);
        group.node(named).change_members(change, within(20)).await.unwrap();
        group.kill(given_up);
        group.commit(3).await;
        group.converge().await;
        until("nothing is given up any more", || verdict(&group, named).is_none()).await;
    }
}

#[tokio::test(start_paused = true)]
async fn two_that_are_both_named_do_not_both_serve() {
    let (mut group, one, other) = undecided(2, the_follower, Settings::default()).await;
    for id in [one, other] {
        snapshot(&group, id).await;
        group.kill(id);
    }
    for id in [one, other] {
        group.try_launch(id, true).await.unwrap();
    }
    until_undecided(&group, &[one, other]).await;
    sleep(Duration::from_secs(10)).await;
    for id in [one, other] {
        assert_does_not_serve(&group, id).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_state_that_a_restart_heals_is_confirmed() {
    // No snapshot holds what memory held: the log gives the right state again.
    let (mut group, wrong, right) = undecided(2, the_follower, Settings::default()).await;
    group.kill(wrong);
    group.launch(wrong).await;
    until("a majority has decided", || verdict(&group, right).is_none() && verdict(&group, wrong).is_none()).await;
    group.commit(wrong).await;
    group.converge().await;
}

#[tokio::test(start_paused = true)]
async fn the_flag_decides_nothing_where_nothing_is_open() {
    let mut group = Group::start(3, Settings::default()).await;
    let leader = group.leader().await;
    group.commit(leader).await;
    group.kill(leader);
    group.try_launch(leader, true).await.unwrap();
    group.commit(leader).await;
    group.converge().await;
    // What is found later is open.
    diverge(&group, leader).await;
    let reason = timeout(Duration::from_secs(10), group.node(leader).stopped()).await.unwrap();
    assert!(matches!(reason, StopReason::Diverged { .. }), "{reason:?}");
}

#[tokio::test(start_paused = true)]
async fn a_copy_of_a_state_in_doubt_decides_nothing() {
    let settings = Settings { snapshot_every: 200, log_keep: 20, event_retention: 1_000, ..Settings::default() };
    let (mut group, wrong, right) = undecided(3, the_follower, settings).await;
    let away = 6 - wrong - right;
    // Entries that are no commands of clients go on; with them, the log that the third one needs goes.
    let leader = group.leader().await;
    let metrics = group.node(leader).raft().metrics().borrow_watched().clone();
    let peer = metrics.membership_config.membership().get_node(&right).cloned().unwrap();
    for _ in 0..50 {
        group.node(leader).raft().add_learner(right, peer.clone(), false).await.unwrap();
    }
    for id in [wrong, right] {
        snapshot(&group, id).await;
    }
    let purged = |id: &u64| group.node(*id).metrics().purged_index > 20;
    until("the log is purged", || [wrong, right].iter().all(purged)).await;
    group.launch(away).await;
    sleep(Duration::from_secs(10)).await;
    assert_eq!(group.node(away).metrics().snapshots_installed, 0);
    for id in [wrong, right] {
        assert_does_not_serve(&group, id).await;
    }
    // An operator decides: then it is no copy of a state in doubt.
    let stopped = group.node(wrong).stopped();
    group.shutdown(right).await;
    group.try_launch(right, true).await.unwrap();
    group.commit(right).await;
    until("the third has what was accepted", || group.node(away).metrics().snapshots_installed == 1).await;
    let reason = timeout(Duration::from_secs(20), stopped).await.unwrap();
    assert!(matches!(reason, StopReason::Diverged { .. }), "{reason:?}");
}

#[tokio::test(start_paused = true)]
async fn a_learner_that_differs_stops() {
    let mut group = Group::start(3, Settings::default()).await;
    let leader = group.leader().await;
    group.commit(leader).await;
    group.launch(4).await;
    let mut members: Vec<Member> = (1..=3).map(member).collect();
    members.push(Member { voter: false, ..member(4) });
    group.node(leader).change_members(group.change(leader, members), within(20)).await.unwrap();
    group.commit(leader).await;
    let stopped = group.node(4).stopped();
    diverge(&group, 4).await;
    let reason = timeout(FOUND_WITHIN, stopped).await.unwrap();
    assert!(matches!(reason, StopReason::Diverged { .. }), "{reason:?}");
    group.kill(4);
    refuses_to_start(&mut group, 4, false).await;
}

#[tokio::test(start_paused = true)]
async fn who_lags_or_installs_a_snapshot_does_not_differ() {
    let settings = Settings { snapshot_every: 200, log_keep: 20, event_retention: 1_000, ..Settings::default() };
    let mut group = Group::start(3, settings).await;
    let leader = group.leader().await;
    group.commit(leader).await;
    for behind in others(&group, leader) {
        group.isolate(behind);
        for _ in 0..12 {
            group.node(leader).propose(vec![open_session(); 500], within(10)).await;
        }
        group.heal(behind);
        for _ in 0..30 {
            group.propose(leader, open_session(), Duration::from_secs(10)).await;
        }
        group.converge().await;
        group.kill(behind);
        group.launch(behind).await;
        group.converge().await;
    }
    sleep(Duration::from_secs(5)).await;
    for id in group.ids() {
        let metrics = group.node(id).metrics();
        assert_eq!((metrics.state_differences, metrics.undecided, verdict(&group, id)), (0, false, None));
    }
}
