//! Commands: one effect each, in order, and an honest word on what became of them.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::future::join_all;
use quorate_api::{Problem, ProblemKind};
use quorate_client::{CallId, Observer, Operation, Returned, SubmitError};
use quorate_ledger::{Answer, Command, CommitParameters, ControlCommand, Outcome, Refusal, Secret};

use crate::group::{Fate, Group, after_ms, numbered, quoting_off};

fn no_leader() -> Problem {
    Problem::new(ProblemKind::NoLeader, "no leader")
}

#[tokio::test(start_paused = true)]
async fn a_retry_keeps_session_and_number_and_has_one_effect() {
    let (group, _) = Group::new();
    let session = group.client(1).session();
    session.submit(&numbered(1), after_ms(1_000)).await.unwrap();
    group.fates([Fate::BrokenAfter, Fate::Garbled, Fate::Problem(Problem::unknown("late"))]);
    let response = session.submit(&numbered(2), after_ms(5_000)).await.unwrap();
    let batches = group.batches();
    let sent: Vec<_> = batches.iter().flat_map(|one| &one.batch).filter(|one| one.command == numbered(2)).collect();
    assert_eq!(sent.len(), 4, "three attempts failed");
    assert!(sent.iter().all(|one| one.session == session.id().unwrap() && one.seq == 2), "{sent:?}");
    assert_eq!(group.with_ledger(|ledger| ledger.numbers()), [1, 2]);
    assert!(group.with_ledger(|ledger| ledger.index) > response.index, "the answer is the first one");
}

#[tokio::test(start_paused = true)]
async fn without_a_connection_a_command_is_not_applied_and_is_not_sent_later() {
    let (group, _) = Group::new();
    let session = group.client(2).session();
    session.submit(&numbered(1), after_ms(1_000)).await.unwrap();
    group.always(Fate::Refused);
    let error = session.submit(&numbered(2), after_ms(2_000)).await.unwrap_err();
    assert!(matches!(error, SubmitError::NotApplied(_)), "{error:?}");
    assert!(error.problem().detail.contains("refused"), "it says what happened: {error}");
    let hosts: std::collections::BTreeSet<_> = group.batches().into_iter().map(|one| one.host).collect();
    assert_eq!(hosts.len(), 3, "every node was tried");
    group.always(Fate::Served);
    session.submit(&numbered(3), after_ms(1_000)).await.unwrap();
    assert_eq!(group.with_ledger(|ledger| ledger.numbers()), [1, 3]);
}

#[tokio::test(start_paused = true)]
async fn a_definite_problem_in_every_attempt_is_not_applied_and_one_in_doubt_is_unknown() {
    let (group, _) = Group::new();
    let session = group.client(3).session();
    session.submit(&numbered(1), after_ms(1_000)).await.unwrap();
    group.always(Fate::Problem(no_leader()));
    let error = session.submit(&numbered(2), after_ms(1_000)).await.unwrap_err();
    assert!(matches!(&error, SubmitError::NotApplied(problem) if problem.kind == ProblemKind::NoLeader), "{error:?}");
    group.fates([Fate::Problem(Problem::unknown("proposed"))]);
    let error = session.submit(&numbered(3), after_ms(1_000)).await.unwrap_err();
    assert!(matches!(error, SubmitError::Unknown { ticket: Some(_), .. }), "one attempt was in doubt: {error:?}");
}

#[tokio::test(start_paused = true)]
async fn an_unknown_command_is_settled_with_its_first_answer_or_applied_then() {
    for (fate, before) in [(Fate::BrokenAfter, 1), (Fate::BrokenBefore, 0)] {
        let (group, _) = Group::new();
        let session = group.client(4).session();
        session.submit(&numbered(1), after_ms(1_000)).await.unwrap();
        group.fates([fate]);
        group.always(Fate::Refused);
        let error = session.submit(&numbered(2), after_ms(1_000)).await.unwrap_err();
        let SubmitError::Unknown { ticket: Some(ticket), .. } = error else { panic!("{error:?}") };
        assert_eq!(group.with_ledger(|ledger| ledger.numbers().len()), 1 + before);
        // It stays unknown for as long as nobody answers.
        let error = session.settle(ticket, after_ms(1_000)).await.unwrap_err();
        let SubmitError::Unknown { ticket: Some(ticket), .. } = error else { panic!("{error:?}") };
        assert_eq!((ticket.session(), ticket.seq()), (session.id().unwrap(), 2));
        group.always(Fate::Served);
        session.submit(&numbered(3), after_ms(1_000)).await.unwrap();
        let response = session.settle(ticket, after_ms(1_000)).await.unwrap();
        assert_eq!(response.outcome, Outcome::Accepted(Answer::Done));
        let mut numbers = group.with_ledger(|ledger| ledger.numbers());
        numbers.sort_unstable();
        assert_eq!(numbers, [1, 2, 3]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_that_expired_before_any_doubt_is_replaced_unseen() {
    let (group, _) = Group::new();
    let session = group.client(5).session();
    session.submit(&numbered(1), after_ms(1_000)).await.unwrap();
    let first = session.id();
    group.with_ledger(|ledger| ledger.evict());
    let waiting: Vec<_> = (2..=9).map(|number| session.submit(&numbered(number), after_ms(1_000))).collect();
    for outcome in join_all(waiting).await {
        assert_eq!(outcome.unwrap().outcome, Outcome::Accepted(Answer::Done));
    }
    assert_ne!(session.id(), first);
    assert_eq!(group.with_ledger(|ledger| ledger.numbers()), (1..=9).collect::<Vec<_>>(), "in order, once each");
}

#[tokio::test(start_paused = true)]
async fn a_session_that_expired_after_a_doubt_leaves_the_command_unknown() {
    let (group, _) = Group::new();
    let session = group.client(6).session();
    session.submit(&numbered(1), after_ms(1_000)).await.unwrap();
    group.fates([Fate::BrokenAfter]);
    let doubtful = session.submit(&numbered(2), after_ms(1_000));
    // The answer to the first attempt breaks off; before the second, the session is evicted.
    let evict = async {
        while group.with_ledger(|ledger| ledger.numbers().len()) < 2 {
            tokio::time::sleep(Duration::from_micros(100)).await;
        }
        group.with_ledger(|ledger| ledger.evict());
    };
    let (error, ()) = tokio::join!(doubtful, evict);
    let error = error.unwrap_err();
    assert!(matches!(error, SubmitError::Unknown { ticket: None, .. }), "{error:?}");
    assert!(matches!(
        &error.problem().refused.as_ref().unwrap().outcome,
        Outcome::Refused(Refusal::SessionExpired { .. })
    ));
    session.submit(&numbered(3), after_ms(1_000)).await.unwrap();
    assert_eq!(group.with_ledger(|ledger| ledger.numbers()), [1, 2, 3]);
}

#[tokio::test(start_paused = true)]
async fn the_window_is_never_passed_and_a_ticket_holds_its_place() {
    let (group, _) = Group::new();
    let session = group.client(7).session();
    session.submit(&numbered(1), after_ms(1_000)).await.unwrap();
    group.fates([Fate::BrokenBefore]);
    group.always(Fate::Refused);
    let error = session.submit(&numbered(2), after_ms(1_000)).await.unwrap_err();
    let SubmitError::Unknown { ticket: Some(ticket), .. } = error else { panic!("{error:?}") };
    group.always(Fate::Served);
    let later: Vec<_> = (3..400).map(|number| session.submit(&numbered(number), after_ms(60_000))).collect();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let numbers = group.with_ledger(|ledger| ledger.numbers());
    assert_eq!(numbers.last(), Some(&(ticket.seq() + 127)), "the ticket can still be told from a repeat");
    session.settle(ticket, after_ms(1_000)).await.unwrap();
    for outcome in join_all(later).await {
        assert_eq!(outcome.unwrap().outcome, Outcome::Accepted(Answer::Done));
    }
    assert_eq!(group.with_ledger(|ledger| ledger.numbers().len()), 399);
}

#[tokio::test(start_paused = true)]
async fn a_ticket_that_is_dropped_gives_its_place_back() {
    let (group, _) = Group::new();
    let session = group.client(8).session();
    session.submit(&numbered(1), after_ms(1_000)).await.unwrap();
    group.fates([Fate::BrokenBefore]);
    group.always(Fate::Refused);
    drop(session.submit(&numbered(2), after_ms(500)).await.unwrap_err());
    group.always(Fate::Served);
    let later: Vec<_> = (3..300).map(|number| session.submit(&numbered(number), after_ms(5_000))).collect();
    assert!(join_all(later).await.iter().all(Result::is_ok));
}

#[tokio::test(start_paused = true)]
async fn commands_that_wait_together_go_together_in_bounded_batches() {
    let (group, _) = Group::new();
    let client = group.client(9);
    let sessions: Vec<_> = (0..300).map(|_| client.session()).collect();
    let first = sessions.iter().enumerate().map(|(at, session)| session.submit(&numbered(at as u64), after_ms(5_000)));
    assert!(join_all(first).await.iter().all(Result::is_ok));
    let before = group.batches().len();
    let second = sessions.iter().map(|session| session.submit(&numbered(7), after_ms(5_000)));
    assert!(join_all(second).await.iter().all(Result::is_ok));
    let batches = group.batches();
    assert_eq!(batches.len() - before, 2, "300 commands in two requests");
    assert!(batches.iter().all(|one| one.batch.len() <= quorate_api::BATCH_MAX));
}

#[tokio::test(start_paused = true)]
async fn what_one_command_did_wrong_the_others_of_its_batch_do_not_suffer() {
    let (group, _) = Group::new();
    let session = group.client(10).session();
    session.submit(&numbered(1), after_ms(1_000)).await.unwrap();
    let invalid = Problem::new(ProblemKind::InvalidRequest, "one of them");
    group.fates([Fate::Problem(invalid.clone()), Fate::Served, Fate::Problem(invalid), Fate::Served]);
    let waiting: Vec<_> = (2..=4).map(|number| session.submit(&numbered(number), after_ms(1_000))).collect();
    let outcomes = join_all(waiting).await;
    assert!(outcomes[0].is_ok() && outcomes[2].is_ok(), "{outcomes:?}");
    assert!(
        matches!(&outcomes[1], Err(SubmitError::NotApplied(problem)) if problem.kind == ProblemKind::InvalidRequest)
    );
    let sizes: Vec<_> = group.batches().iter().map(|one| one.batch.len()).collect();
    assert_eq!(sizes, [1, 1, 3, 1, 1, 1], "open, first, all three, each alone");
}

#[tokio::test(start_paused = true)]
async fn a_command_that_was_not_proposed_goes_again_by_itself() {
    let (group, _) = Group::new();
    let session = group.client(11).session();
    session.submit(&numbered(1), after_ms(1_000)).await.unwrap();
    let overloaded = Problem::new(ProblemKind::Overloaded, "too much waits");
    group.fates([Fate::Partly(vec![1], overloaded)]);
    let waiting: Vec<_> = (2..=4).map(|number| session.submit(&numbered(number), after_ms(1_000))).collect();
    assert!(join_all(waiting).await.iter().all(Result::is_ok));
    assert_eq!(group.with_ledger(|ledger| ledger.numbers()), [1, 2, 4, 3]);
    assert_eq!(group.batches().last().unwrap().batch.len(), 1, "only what was not proposed is sent again");
}

#[tokio::test(start_paused = true)]
async fn a_submission_that_is_dropped_unsent_is_never_sent() {
    let (group, _) = Group::new();
    let session = group.client(12).session();
    session.submit(&numbered(1), after_ms(1_000)).await.unwrap();
    drop(session.submit(&numbered(2), after_ms(1_000)));
    session.submit(&numbered(3), after_ms(1_000)).await.unwrap();
    assert_eq!(group.with_ledger(|ledger| ledger.numbers()), [1, 3]);
}

#[tokio::test(start_paused = true)]
async fn order_is_that_of_submission_even_while_a_batch_is_under_way() {
    let (group, _) = Group::new();
    let session = group.client(13).session();
    session.submit(&numbered(0), after_ms(1_000)).await.unwrap();
    group.fates([Fate::Gated]);
    let mut waiting = vec![session.submit(&numbered(1), after_ms(900))];
    for number in 2..50 {
        waiting.push(session.submit(&numbered(number), after_ms(900)));
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(group.with_ledger(|ledger| ledger.numbers()), [0], "one batch on its way, no more");
    group.gate.notify_one();
    assert!(join_all(waiting).await.iter().all(Result::is_ok));
    assert_eq!(group.with_ledger(|ledger| ledger.numbers()), (0..50).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn control_needs_no_session_and_its_repeat_is_not_taken_for_a_refusal() {
    let (group, _) = Group::new();
    let client = group.client(14);
    let response = client.submit_without_session(&quoting_off(0), after_ms(1_000)).await.unwrap();
    assert_eq!(response.outcome, Outcome::Accepted(Answer::ControlChanged { control_version: 1 }));
    let response = client.submit_without_session(&quoting_off(0), after_ms(1_000)).await.unwrap();
    assert!(matches!(response.outcome, Outcome::Refused(Refusal::ControlVersion { control_version: 1 })));
    group.fates([Fate::BrokenAfter]);
    let error = client.submit_without_session(&quoting_off(1), after_ms(1_000)).await.unwrap_err();
    assert!(matches!(error, SubmitError::Unknown { ticket: None, .. }), "{error:?}");
    assert_eq!(group.with_ledger(|ledger| (ledger.control_version, ledger.open_sessions())), (2, 0));
    let error = client.submit_without_session(&numbered(1), after_ms(1_000)).await.unwrap_err();
    assert!(matches!(&error, SubmitError::NotApplied(problem) if problem.kind == ProblemKind::InvalidRequest));
}

/// The JSON of a command with a text of so many bytes.
fn with_text(len: usize) -> Command {
    Command::CommitParameters(CommitParameters {
        maker: "maker".parse().unwrap(),
        incarnation: 1,
        secret: Secret([7; 32]),
        symbol: "A".parse().unwrap(),
        text: "t".repeat(len),
    })
}

#[tokio::test(start_paused = true)]
async fn a_command_that_no_request_has_room_for_is_not_sent() {
    let (group, _) = Group::new();
    let client = group.client(17);
    let session = client.session();
    session.submit(&numbered(1), after_ms(1_000)).await.unwrap();
    let before = group.batches().len();
    let without_text = serde_json::to_vec(&with_text(0)).unwrap().len();
    // What is left of a request beside its brackets, and the numbers and the punctuation of the envelope.
    let room = quorate_api::BODY_MAX_BYTES - 2 - 96 - without_text;
    let reason = "r".repeat(quorate_api::BODY_MAX_BYTES);
    let Command::Control(control) = quoting_off(0) else { panic!() };
    let control = Command::Control(ControlCommand { reason, ..control });
    let refused = [
        session.submit(&with_text(room + 1), after_ms(1_000)).await.unwrap_err(),
        client.submit_without_session(&control, after_ms(1_000)).await.unwrap_err(),
    ];
    for error in refused {
        assert!(matches!(&error, SubmitError::NotApplied(problem) if problem.kind == ProblemKind::TooLarge), "{error}");
        assert!(error.to_string().contains("send fewer"), "{error}");
    }
    assert_eq!(group.batches().len(), before, "nothing was sent");
    // One byte less is sent, and what comes after is not held up.
    session.submit(&with_text(room), after_ms(1_000)).await.unwrap();
    session.submit(&numbered(2), after_ms(1_000)).await.unwrap();
    assert_eq!(group.batches().len(), before + 2);
}

#[tokio::test(start_paused = true)]
async fn a_closed_session_is_gone_and_the_next_command_opens_another() {
    let (group, _) = Group::new();
    let session = group.client(15).session();
    session.close(after_ms(1_000)).await.unwrap();
    assert_eq!(group.batches().len(), 0, "what was never open needs no closing");
    session.submit(&numbered(1), after_ms(1_000)).await.unwrap();
    group.fates([Fate::BrokenAfter]);
    session.close(after_ms(1_000)).await.unwrap();
    assert_eq!(group.with_ledger(|ledger| ledger.open_sessions()), 0);
    session.submit(&numbered(2), after_ms(1_000)).await.unwrap();
    assert_eq!(group.with_ledger(|ledger| (ledger.open_sessions(), ledger.numbers())), (1, vec![1, 2]));
}

#[tokio::test(start_paused = true)]
async fn calls_go_to_the_leader_and_follow_it() {
    let (group, _) = Group::new();
    group.set_leader(Some(2));
    let client = group.client(16);
    client.find_leader().await;
    let session = client.session();
    session.submit(&numbered(1), after_ms(1_000)).await.unwrap();
    assert!(group.batches().iter().all(|one| one.host == "b"));
    // b steps down and knows who leads now; c is asked next.
    group.set_leader(Some(3));
    group.fates([Fate::Problem(Problem { leader: Some(3), ..no_leader() })]);
    session.submit(&numbered(2), after_ms(1_000)).await.unwrap();
    assert_eq!(group.batches().last().unwrap().host, "c");
    // c dies; the others know no leader for a while, and then a.
    group.set_leader(Some(1));
    group.set_down(&["c"]);
    group.fates([Fate::Problem(no_leader()), Fate::Problem(no_leader())]);
    session.submit(&numbered(3), after_ms(3_000)).await.unwrap();
    assert_ne!(group.batches().last().unwrap().host, "c");
    assert_eq!(group.with_ledger(|ledger| ledger.numbers()), [1, 2, 3]);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_does_not_answer_is_left_after_one_attempt() {
    let (group, _) = Group::new();
    let session = group.client(17).session();
    session.submit(&numbered(1), after_ms(1_000)).await.unwrap();
    group.fates([Fate::Lost]);
    let before = tokio::time::Instant::now();
    session.submit(&numbered(2), after_ms(5_000)).await.unwrap();
    assert!(before.elapsed() < Duration::from_millis(1_500), "{:?}", before.elapsed());
    let hosts: Vec<_> = group.batches().into_iter().map(|one| one.host).collect();
    assert_eq!(hosts, ["a", "a", "a", "b"]);
}

#[tokio::test(start_paused = true)]
async fn every_call_names_the_cluster_and_its_deadline() {
    let (group, _) = Group::new();
    let client = group.client(18);
    client.session().submit(&numbered(1), after_ms(1_000)).await.unwrap();
    for arrived in group.batches() {
        assert_eq!(arrived.headers["x-quorate-cluster"], "quorate");
        assert_eq!(arrived.headers["x-quorate-deadline-ms"], "1000");
        assert_eq!(arrived.headers["content-type"], "application/json");
    }
    let wrong = Problem::new(ProblemKind::WrongCluster, "this is another");
    group.always(Fate::Problem(wrong));
    let before = group.batches().len();
    let error = client.session().submit(&numbered(2), after_ms(60_000)).await.unwrap_err();
    assert!(matches!(&error, SubmitError::NotApplied(problem) if problem.kind == ProblemKind::WrongCluster));
    assert_eq!(group.batches().len(), before + 1, "another attempt would change nothing");
}

#[derive(Debug, Default)]
struct Recorder(Mutex<Vec<String>>);

impl Observer for Recorder {
    fn invoked(&self, call: CallId, operation: &Operation<'_>) {
        let text = match operation {
            Operation::Command(command) => format!("{call} {}", command.name()),
            Operation::Settle { of, session, seq } => format!("{call} settle {of} as {session}/{seq}"),
            Operation::Read(path) => format!("{call} {path}"),
        };
        self.0.lock().unwrap().push(text);
    }

    fn returned(&self, call: CallId, returned: &Returned<'_>) {
        let text = match returned {
            Returned::Response(response) => format!("{call} at {}", response.index),
            Returned::NotApplied(_) => format!("{call} not applied"),
            Returned::Unknown(_) => format!("{call} unknown"),
            Returned::Read { node, .. } => format!("{call} from {node}"),
            Returned::ReadFailed(problem) => format!("{call} failed: {:?}", problem.kind),
        };
        self.0.lock().unwrap().push(text);
    }
}

#[tokio::test(start_paused = true)]
async fn the_observer_sees_every_call_and_its_return() {
    let (group, _) = Group::new();
    let recorder = Arc::new(Recorder::default());
    let client = group.client_with(19, |config| config.observer = Some(recorder.clone()));
    let session = client.session();
    session.submit(&numbered(1), after_ms(1_000)).await.unwrap();
    group.fates([Fate::BrokenAfter]);
    group.always(Fate::Refused);
    let error = session.submit(&numbered(2), after_ms(1_000)).await.unwrap_err();
    let SubmitError::Unknown { ticket: Some(ticket), .. } = error else { panic!("{error:?}") };
    group.always(Fate::Served);
    session.settle(ticket, after_ms(1_000)).await.unwrap();
    drop(client.positions(None, &quorate_client::ReadOptions::linearizable()).await);
    let seen = recorder.0.lock().unwrap().clone();
    let want = [
        "1 renew_maker",
        "2 open_session",
        "2 at 1",
        "1 at 2",
        "3 renew_maker",
        "3 unknown",
        "4 settle 3 as 1/2",
        "4 at 3",
        "5 /v1/positions",
        "5 failed: NotFound",
    ];
    assert_eq!(seen, want);
}
