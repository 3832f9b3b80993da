//! A group of nodes in one process, through what it must survive.

#![allow(clippy::unwrap_used, reason = "what does not work ends the test")]

mod support;

use std::{sync::Arc, time::Duration};

use futures_util::StreamExt;
use quorate_api::{Applied, ChangeMembers, Consistency, Faults, Member, ProblemKind};
use quorate_ledger::{
    Command, CommitParameters, ControlChange, ControlCommand, Envelope, Event, Outcome, QuotingScope, Response, Secret,
    bounds::ENTRY_MAX_BYTES,
};
use quorate_node::node::{StopReason, StreamEnd, StreamItem};
use quorate_seams::FailAction;
use support::{Group, Settings, member, open_session};
use tokio::time::{Instant, timeout};

fn within(seconds: u64) -> Instant {
    Instant::now() + Duration::from_secs(seconds)
}

fn control(control_version: u64, change: ControlChange) -> Envelope {
    let (actor, reason) = ("operator".parse().unwrap(), "a test".to_owned());
    let command = Command::Control(ControlCommand { actor, reason, control_version, change });
    Envelope { session: 0, seq: 0, command }
}

fn others(group: &Group, id: u64) -> Vec<u64> {
    group.ids().into_iter().filter(|other| *other != id).collect()
}

#[tokio::test(start_paused = true)]
async fn a_group_forms_and_commits_from_any_node() {
    let group = Group::start(3, Settings::default()).await;
    let leader = group.leader().await;
    let mut last = 0;
    for id in [leader, 1, 2, 3] {
        let session = group.commit(id).await;
        assert!(session > last);
        last = session;
        for reader in group.ids() {
            let read = group.read(reader, Consistency::Linearizable).await;
            assert!(read.applied_index >= session, "node {reader} is behind an acknowledged write");
        }
    }
    group.converge().await;
    let forwarded: u64 = others(&group, leader).iter().map(|id| group.node(*id).metrics().forwarded).sum();
    assert_eq!(forwarded, 2);
    assert_eq!(group.node(leader).metrics().terms_begun, 1);
}

#[tokio::test(start_paused = true)]
async fn one_node_alone_is_a_group() {
    let mut group = Group::start(1, Settings::default()).await;
    let session = group.commit(1).await;
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert!(group.commit(1).await > session);
    group.kill(1);
    group.launch(1).await;
    assert!(group.read(1, Consistency::Linearizable).await.applied_index > session);
}

#[tokio::test(start_paused = true)]
async fn a_killed_leader_is_replaced_in_time() {
    let mut gaps = Vec::new();
    for seed in 1..=7 {
        let mut group = Group::start(3, Settings { seed, ..Settings::default() }).await;
        let leader = group.leader().await;
        let acknowledged = group.commit(leader).await;
        group.kill(leader);
        let killed = Instant::now();
        let survivor = group.ids()[0];
        let session = group.commit(survivor).await;
        gaps.push(killed.elapsed());
        assert!(session > acknowledged);
        assert!(group.leader().await != leader);
        group.launch(leader).await;
        group.commit(leader).await;
        group.converge().await;
    }
    gaps.sort();
    assert!(gaps[3] < Duration::from_millis(1_500) && gaps[6] < Duration::from_secs(3), "{gaps:?}");
}

#[tokio::test(start_paused = true)]
async fn a_dead_peer_is_tried_at_a_measured_pace() {
    let mut group = Group::start(3, Settings::default()).await;
    let leader = group.leader().await;
    group.commit(leader).await;
    let dead = others(&group, leader)[0];
    group.kill(dead);
    for _ in 0..100 {
        group.commit(leader).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // A heartbeat every 100 ms, a forward or a vote now and then, and the stream every 50 to 500 ms.
    let tried = group.refused(dead);
    assert!((50..=400).contains(&tried), "tried {tried} times in 10 s");
}

#[tokio::test(start_paused = true)]
async fn an_idle_group_keeps_its_leader() {
    let group = Group::start(3, Settings::default()).await;
    let leader = group.leader().await;
    group.commit(leader).await;
    let term = group.node(leader).status().term;
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(group.leader().await, leader);
    assert_eq!(group.node(leader).status().term, term);
    for id in group.ids() {
        assert_eq!(group.node(id).readiness(), Ok(()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_hears_nobody_or_reaches_nobody_is_replaced() {
    for deaf in [true, false] {
        let group = Group::start(3, Settings::default()).await;
        let old = group.leader().await;
        let before = group.commit(old).await;
        let rest = others(&group, old);
        let (drop_to, drop_from) = if deaf { (vec![], rest.clone()) } else { (rest.clone(), vec![]) };
        group.node(old).set_faults(Faults { drop_to, drop_from }).unwrap();
        let cut = Instant::now();
        let new = loop {
            let new = group.leader_among(&rest).await;
            if matches!(group.propose(new, open_session(), Duration::from_secs(1)).await, Applied::Response(_)) {
                break new;
            }
            assert!(cut.elapsed() < Duration::from_secs(20), "deaf: {deaf}");
        };
        assert_ne!(new, old);
        assert!(group.node(old).read(Consistency::Linearizable, within(1)).await.is_err());
        group.heal(old);
        let session = group.commit(old).await;
        assert!(session > before);
        group.converge().await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_isolated_leader_errs_within_the_deadline_and_the_others_go_on() {
    let group = Group::start(3, Settings::default()).await;
    let old = group.leader().await;
    let before = group.commit(old).await;
    group.isolate(old);
    let asked = Instant::now();
    let problem = group.node(old).read(Consistency::Linearizable, within(2)).await.unwrap_err();
    assert!(matches!(problem.kind, ProblemKind::NoLeader | ProblemKind::Timeout), "{problem:?}");
    assert!(asked.elapsed() <= Duration::from_millis(2_100), "{:?}", asked.elapsed());
    let Applied::Problem(problem) = group.propose(old, open_session(), Duration::from_secs(2)).await else {
        panic!("a leader without a majority committed");
    };
    assert!(problem.outcome_unknown || problem.kind == ProblemKind::NoLeader, "{problem:?}");
    assert!(group.node(old).readiness().is_err());
    // Stale data only where it is asked for.
    assert!(group.read(old, Consistency::Local).await.applied_index >= before);

    let rest = others(&group, old);
    let new = group.leader_among(&rest).await;
    let session = group.commit(rest[0]).await;
    assert!(session > before && new != old);
    group.heal(old);
    let read = group.read(old, Consistency::Linearizable).await;
    assert!(read.applied_index >= session);
    group.converge().await;
}

#[tokio::test(start_paused = true)]
async fn without_a_majority_nothing_is_served_and_nothing_is_lost() {
    let mut group = Group::start(3, Settings::default()).await;
    let leader = group.leader().await;
    let session = group.commit(leader).await;
    for id in others(&group, leader) {
        group.kill(id);
    }
    assert!(group.node(leader).read(Consistency::Linearizable, within(3)).await.is_err());
    assert!(matches!(group.propose(leader, open_session(), Duration::from_secs(3)).await, Applied::Problem(_)));
    for id in [1, 2, 3].into_iter().filter(|id| *id != leader) {
        group.launch(id).await;
    }
    assert!(group.commit(1).await > session);
    group.converge().await;
}

#[tokio::test(start_paused = true)]
async fn a_restart_of_all_keeps_what_was_acknowledged() {
    let mut group = Group::start(3, Settings::default()).await;
    let mut session = 0;
    for _ in 0..50 {
        session = group.commit(1).await;
    }
    for id in group.ids() {
        group.kill(id);
    }
    group.launch(1).await;
    // Alone it cannot know what it had applied before: nothing older is served.
    let problem = group.node(1).read(Consistency::Local, within(5)).await;
    assert!(problem.is_err_and(|problem| problem.kind == ProblemKind::NotReady));
    group.launch(2).await;
    group.launch(3).await;
    assert!(group.read(2, Consistency::Linearizable).await.applied_index >= session);
    group.converge().await;
    for id in group.ids() {
        assert!(group.read(id, Consistency::Local).await.applied_index >= session);
        assert_eq!(group.node(id).readiness(), Ok(()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_command_that_is_too_large_for_an_entry_is_not_proposed_by_anybody() {
    let group = Group::start(3, Settings::default()).await;
    let leader = group.leader().await;
    let with_text = |len: usize| {
        let (maker, symbol, text) = ("m".parse().unwrap(), "A".parse().unwrap(), "t".repeat(len));
        let (incarnation, secret) = (1, Secret([7; 32]));
        let command = Command::CommitParameters(CommitParameters { maker, incarnation, secret, symbol, text });
        Envelope { session: 1, seq: 1, command }
    };
    let beside_the_text = with_text(ENTRY_MAX_BYTES / 2).entry_len() - ENTRY_MAX_BYTES / 2;
    let largest = with_text(ENTRY_MAX_BYTES - beside_the_text);
    assert_eq!(largest.entry_len(), ENTRY_MAX_BYTES);
    let larger = with_text(ENTRY_MAX_BYTES - beside_the_text + 1);
    for id in group.ids() {
        let committed = group.commit(leader).await;
        let Applied::Problem(problem) = group.propose(id, larger.clone(), Duration::from_secs(5)).await else {
            panic!()
        };
        assert_eq!((problem.kind, problem.status), (ProblemKind::TooLarge, 413));
        assert!(problem.detail.contains("at most 1048576") && problem.detail.contains("split it"), "{problem:?}");
        assert_eq!(group.commit(leader).await, committed + 1, "nothing came in between");
    }
    // The ledger refuses the largest by its own bounds, for it was proposed.
    let applied = group.propose(leader, largest, Duration::from_secs(5)).await;
    assert!(matches!(applied, Applied::Response(Response { outcome: Outcome::Refused(_), .. })), "{applied:?}");
}

#[tokio::test(start_paused = true)]
async fn a_node_left_behind_catches_up_by_snapshot() {
    let settings = Settings { snapshot_every: 200, log_keep: 20, event_retention: 100, ..Settings::default() };
    let mut group = Group::start(3, settings).await;
    let leader = group.leader().await;
    let behind = others(&group, leader)[0];
    group.kill(behind);
    for _ in 0..20 {
        let batch = vec![open_session(); 50];
        let answers = group.node(leader).propose(batch, within(10)).await;
        assert!(answers.iter().all(|answer| matches!(answer, Applied::Response(_))));
    }
    group.node(leader).trigger_snapshot(within(10)).await.unwrap();
    let metrics = group.node(leader).metrics();
    assert!(metrics.snapshots_built >= 2 && metrics.first_event_index > 0, "{metrics:?}");
    // Entries on their way to the dead peer are kept until that attempt has failed.
    let purged = within(10);
    while group.node(leader).metrics().purged_index == 0 {
        assert!(Instant::now() < purged, "{:?}", group.node(leader).metrics());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    group.launch(behind).await;
    group.commit(leader).await;
    group.converge().await;
    let metrics = group.node(behind).metrics();
    assert_eq!(metrics.snapshots_installed, 1, "{metrics:?}");

    // The history came along, without a gap, and goes on.
    let page = group.node(behind).history(0, 1_000).await.unwrap();
    assert_eq!(page.first_index, group.node(behind).status().first_event_index);
    assert!(page.first_index > 0 && page.first_index <= metrics.snapshot_index);
    for (frame, index) in page.frames.iter().zip(page.first_index..) {
        assert_eq!(frame.index, index);
    }
    assert_eq!(page.frames.last().unwrap().index, group.node(behind).status().applied_index);
    let theirs = group.node(leader).history(page.first_index, 1_000).await.unwrap();
    assert_eq!(theirs.frames.last(), page.frames.last());

    // And all of it survives a restart.
    group.kill(behind);
    group.launch(behind).await;
    group.converge().await;
    assert_eq!(group.node(behind).metrics().snapshots_installed, 0);
    let again = group.node(behind).history(page.first_index, 1_000).await.unwrap();
    assert_eq!(again.frames[..page.frames.len()], page.frames[..]);
}

#[tokio::test(start_paused = true)]
async fn installing_a_snapshot_cuts_the_streams() {
    let settings = Settings { snapshot_every: 200, log_keep: 20, event_retention: 100, ..Settings::default() };
    let group = Group::start(3, settings).await;
    let leader = group.leader().await;
    group.commit(leader).await;
    group.converge().await;
    let behind = others(&group, leader)[0];
    let next = group.node(behind).status().applied_index + 1;
    let mut stream = group.node(behind).frames(next);
    group.isolate(behind);
    for _ in 0..20 {
        group.node(leader).propose(vec![open_session(); 50], within(10)).await;
    }
    group.node(leader).trigger_snapshot(within(10)).await.unwrap();
    // Cut off, it ends its streams; healed, a new one is cut by the snapshot or begins after it.
    let ended = async {
        loop {
            if let Err(end) = stream.next().await.unwrap() {
                return end;
            }
        }
    };
    assert_eq!(timeout(Duration::from_secs(10), ended).await.unwrap(), StreamEnd::NoLeader);
    group.heal(behind);
    // Heard of a leader again, and not yet caught up: this stream is open when the snapshot comes.
    let mut stream = group.node(behind).frames(next);
    let live = loop {
        match stream.next().await.unwrap() {
            Err(StreamEnd::NoLeader) => {
                tokio::time::sleep(Duration::from_millis(1)).await;
                stream = group.node(behind).frames(next);
            }
            Err(end) => break end,
            Ok(StreamItem::Applied(index)) => assert_eq!(index, next - 1),
            Ok(StreamItem::Frame(frame)) => panic!("a frame that was purged everywhere else: {frame:?}"),
        }
    };
    assert_eq!(live, StreamEnd::Cut);
    group.commit(leader).await;
    group.converge().await;
    assert_eq!(group.node(behind).metrics().snapshots_installed, 1);
    let mut stream = group.node(behind).frames(next);
    let Some(Err(StreamEnd::Gone { first_index })) = stream.next().await else { panic!("not gone") };
    assert!(first_index > next);
    assert!(stream.next().await.is_none());
    let mut stream = group.node(behind).frames(first_index);
    assert!(matches!(stream.next().await, Some(Ok(StreamItem::Frame(frame))) if frame.index == first_index));
}

#[tokio::test(start_paused = true)]
async fn a_stream_has_every_index_once_and_in_order() {
    let group = Group::start(3, Settings::default()).await;
    let leader = group.leader().await;
    let follower = others(&group, leader)[0];
    let mut stream = group.node(follower).frames(0);
    let mut last = 0;
    for _ in 0..30 {
        last = group.commit(leader).await;
    }
    let mut next = 0;
    while next <= last {
        match timeout(Duration::from_secs(5), stream.next()).await.unwrap().unwrap().unwrap() {
            StreamItem::Frame(frame) => {
                assert_eq!(frame.index, next);
                next += 1;
            }
            StreamItem::Applied(index) => assert!(index >= next.saturating_sub(1)),
        }
    }
    // Nothing more: it says so.
    let idle = async {
        loop {
            if let StreamItem::Applied(index) = stream.next().await.unwrap().unwrap() {
                return index;
            }
        }
    };
    assert!(timeout(Duration::from_secs(5), idle).await.unwrap() >= last);
    assert_eq!(group.node(follower).metrics().streams, 1);
    drop(stream);
    assert_eq!(group.node(follower).metrics().streams, 0);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_not_heard_does_not_pass_for_one_that_knows() {
    let group = Group::start(3, Settings::default()).await;
    let mute = group.leader().await;
    let before = group.commit(mute).await;
    let mut stream = group.node(mute).frames(before);
    group.mute(mute);
    let leader = group.leader_among(&others(&group, mute)).await;
    for _ in 0..50 {
        group.commit(leader).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // It hears the new leader, so that it has one; what it is not sent it cannot tell.
    assert_eq!(group.node(mute).status().leader, Some(leader));
    assert!(group.node(mute).readiness().is_err());
    let end = loop {
        match timeout(Duration::from_secs(5), stream.next()).await.unwrap().unwrap() {
            Ok(StreamItem::Frame(_) | StreamItem::Applied(_)) => {}
            Err(end) => break end,
        }
    };
    assert!(matches!(end, StreamEnd::Behind | StreamEnd::NoLeader), "{end:?}");
    let again = group.node(mute).frames(group.commit(leader).await).next().await.unwrap();
    assert!(matches!(again, Err(StreamEnd::Behind)), "{again:?}");
    group.heal(mute);
    group.converge().await;
    assert_eq!(group.node(mute).readiness(), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn leadership_moves_when_it_is_asked_to() {
    let group = Group::start(3, Settings::default()).await;
    let leader = group.leader().await;
    group.commit(leader).await;
    let [to, asked] = others(&group, leader)[..] else { panic!("three nodes") };
    let view = group.node(asked).transfer_leader(to, within(5)).await.unwrap();
    assert_eq!(view.leader, Some(to));
    assert_eq!(group.leader().await, to);
    group.commit(leader).await;
    let problem = group.node(asked).transfer_leader(9, within(5)).await.unwrap_err();
    assert_eq!(problem.kind, ProblemKind::InvalidRequest);
    group.converge().await;
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_hands_leadership_over_first() {
    let mut group = Group::start(3, Settings::default()).await;
    let leader = group.leader().await;
    let session = group.commit(leader).await;
    let stopped = group.node(leader).stopped();
    group.shutdown(leader).await;
    let down = Instant::now();
    assert_eq!(stopped.await, StopReason::Shutdown);
    let survivor = group.ids()[0];
    assert!(group.commit(survivor).await > session);
    assert!(down.elapsed() < Duration::from_millis(300), "an election was needed: {:?}", down.elapsed());
    group.launch(leader).await;
    group.commit(leader).await;
    group.converge().await;
}

#[tokio::test(start_paused = true)]
async fn members_come_and_go() {
    let mut group = Group::start(3, Settings::default()).await;
    let leader = group.leader().await;
    group.commit(leader).await;
    group.launch(4).await;
    let asked = others(&group, leader)[0];
    let gone = others(&group, leader).into_iter().find(|id| *id != asked && *id != 4).unwrap();
    let members: Vec<Member> = [leader, asked, 4].into_iter().map(member).collect();
    let membership_index = group.node(asked).cluster().membership_index;
    let change = ChangeMembers { membership_index, members: members.clone() };
    group.node(asked).change_members(change, within(20)).await.unwrap();
    group.kill(gone);
    group.commit(4).await;
    group.converge().await;
    let view = group.node(leader).cluster();
    let voters: Vec<u64> = view.members.iter().filter(|member| member.voter).map(|member| member.node_id).collect();
    let mut expected = vec![leader, asked, 4];
    expected.sort_unstable();
    assert_eq!(voters, expected);
    assert_eq!(view.members.len(), 3);

    let moved = Member { peer_addr: "elsewhere:1".to_owned(), ..member(4) };
    let membership_index = view.membership_index;
    let change = ChangeMembers { membership_index, members: vec![member(leader), member(asked), moved] };
    let problem = group.node(asked).change_members(change, within(5)).await.unwrap_err();
    assert_eq!(problem.kind, ProblemKind::InvalidRequest);
}

#[tokio::test(start_paused = true)]
async fn overload_is_refused_and_urgent_commands_are_not() {
    let group = Group::start(3, Settings { max_in_flight: 4, ..Settings::default() }).await;
    let leader = group.leader().await;
    for id in group.ids() {
        let urgent = control(99, ControlChange::Quoting { scope: QuotingScope::All, on: false });
        let mut batch = vec![open_session(); 8];
        batch.push(urgent);
        let answers = group.node(id).propose(batch, within(10)).await;
        let (taken, rest) = answers.split_at(4);
        assert!(taken.iter().all(|answer| matches!(answer, Applied::Response(_))), "{taken:?}");
        let (refused, urgent) = rest.split_at(4);
        for answer in refused {
            let Applied::Problem(problem) = answer else { panic!("taken above the bound") };
            assert_eq!((problem.kind, problem.outcome_unknown), (ProblemKind::Overloaded, false));
        }
        assert!(matches!(urgent, [Applied::Response(_)]), "{urgent:?}");
        assert_eq!(group.node(id).metrics().in_flight, 0);
    }
    assert_eq!(group.node(leader).metrics().overloaded, 4);
}

#[tokio::test(start_paused = true)]
async fn a_version_that_nobody_here_knows_never_enters_the_log() {
    let group = Group::start(3, Settings::default()).await;
    let leader = group.leader().await;
    group.commit(leader).await;
    group.converge().await;
    let before = group.node(leader).status().last_log_index;
    let envelope = control(0, ControlChange::LedgerVersion { version: 1_000 });
    for id in group.ids() {
        let Applied::Problem(problem) = group.propose(id, envelope.clone(), Duration::from_secs(1)).await else {
            panic!("proposed")
        };
        assert_eq!((problem.kind, problem.outcome_unknown), (ProblemKind::InvalidRequest, false));
    }
    assert_eq!(group.node(leader).status().last_log_index, before);
}

#[tokio::test(start_paused = true)]
async fn a_failing_apply_stops_the_node_with_its_reason_and_the_others_go_on() {
    let mut group = Group::start(3, Settings::default()).await;
    let leader = group.leader().await;
    group.commit(leader).await;
    group.arm(leader, "state.apply.before", 2, FailAction::Error);
    let stopped = group.node(leader).stopped();
    for _ in 0..3 {
        group.propose(leader, open_session(), Duration::from_secs(1)).await;
    }
    let reason = timeout(Duration::from_secs(5), stopped).await.unwrap();
    assert!(matches!(&reason, StopReason::Storage(what) if what.contains("state.apply.before")), "{reason:?}");
    let problem = group.node(leader).read(Consistency::Local, within(1)).await.unwrap_err();
    assert_eq!(problem.kind, ProblemKind::NotReady);
    group.kill(leader);
    let survivor = group.ids()[0];
    group.commit(survivor).await;
    group.launch(leader).await;
    group.commit(survivor).await;
    group.converge().await;
}

#[tokio::test(start_paused = true)]
async fn log_time_never_stands_or_goes_back_when_slow_clocks_take_over() {
    // Whoever leads after the first has a wall clock an hour behind, or ten seconds ahead.
    let wall_offsets_ms = [(1, 0), (2, -3_600_000), (3, 10_000)].into();
    let mut group = Group::start(3, Settings { wall_offsets_ms, ..Settings::default() }).await;
    group.leader().await;
    for to in [1, 2, 3, 2, 1] {
        group.node(1).transfer_leader(to, within(10)).await.unwrap();
        let index = group.commit(to).await;
        let before = group.read(to, Consistency::Linearizable).await.ledger.log_time();
        tokio::time::sleep(Duration::from_secs(7)).await;
        let after = group.commit(to).await;
        let log_time = group.read(to, Consistency::Linearizable).await.ledger.log_time();
        assert!(after > index);
        assert!((7_000..7_100).contains(&log_time.since(before)), "{}", log_time.since(before));
    }
    // A restarted node with a clock that is behind, and that heard a leader, proves the age of quotes.
    group.kill(2);
    group.launch(2).await;
    group.leader().await;
    group.node(1).transfer_leader(2, within(10)).await.unwrap();
    group.commit(2).await;
    let term = group.node(2).status().term;
    let page = group.node(2).history(0, 1_000).await.unwrap();
    let pulled = page.frames.iter().flat_map(|frame| &frame.events).find_map(|event| match event {
        Event::TermBegan { term: began, quotes_pulled, .. } if *began == term => Some(*quotes_pulled),
        _ => None,
    });
    assert_eq!(pulled, Some(false));
}

#[tokio::test(start_paused = true)]
async fn many_commands_from_everywhere_are_each_applied_once() {
    let group = Arc::new(Group::start(3, Settings { snapshot_every: 500, log_keep: 50, ..Settings::default() }).await);
    let leader = group.leader().await;
    let mut callers = Vec::new();
    for caller in 0..24_u64 {
        let group = Arc::clone(&group);
        callers.push(tokio::spawn(async move {
            let id = caller % 3 + 1;
            let session = group.commit(id).await;
            for seq in 1..=40 {
                let command = Command::CancelOrder(quorate_ledger::CancelOrder {
                    exchange_epoch: 0,
                    account: quorate_domain::Account::new("nobody").unwrap(),
                    order_id: seq,
                });
                let envelope = Envelope { session, seq, command };
                let answer = group.propose(id, envelope, Duration::from_secs(10)).await;
                assert!(matches!(answer, Applied::Response(_)), "{answer:?}");
            }
        }));
    }
    for caller in callers {
        caller.await.unwrap();
    }
    group.converge().await;
    let status = group.node(leader).status();
    // Founding, the leader's first entry, the start of its term, and the commands; ticks may come on top.
    assert!(status.applied_index >= 2 + 24 * 41, "{status:?}");
    assert_eq!(status.sessions, 24);
}

#[tokio::test(start_paused = true)]
async fn checkpoints_are_taken_everywhere_and_confirmed_by_a_majority() {
    let group = Group::start(3, Settings::default()).await;
    let leader = group.leader().await;
    while group.node(leader).status().applied_index < 16_500 {
        let answers = group.node(leader).propose(vec![open_session(); 256], within(10)).await;
        assert!(answers.iter().all(|answer| matches!(answer, Applied::Response(_))));
    }
    group.converge().await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let expected = group.node(leader).checkpoints();
    assert_eq!(expected.iter().map(|checkpoint| checkpoint.index).collect::<Vec<_>>(), [16_384]);
    for id in group.ids() {
        assert_eq!(group.node(id).checkpoints(), expected);
        assert_eq!(group.node(id).metrics().checkpoints_confirmed, 1);
    }
}
