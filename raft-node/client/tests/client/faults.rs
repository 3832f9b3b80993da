//! Random faults under random deadlines: whatever the client said of a command holds in the ledger.

use std::{collections::BTreeMap, time::Duration};

use futures_util::future::join_all;
use quorate_api::{Problem, ProblemKind};
use quorate_client::SubmitError;
use quorate_ledger::{Answer, Outcome};
use quorate_seams::seeded_rng;
use rand::{Rng, rngs::SmallRng};

use crate::group::{Arrived, Fate, Group, after_ms, numbered};

const COMMANDS: u64 = 60;

/// How often each outcome was seen.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Seen {
    answered: u64,
    not_applied: u64,
    unknown: u64,
    settled: u64,
}

fn fate(rng: &mut SmallRng) -> Fate {
    match rng.random_range(0..14) {
        0 => Fate::Refused,
        1 => Fate::BrokenBefore,
        2 => Fate::BrokenAfter,
        3 => Fate::Late(Duration::from_millis(rng.random_range(1..4_000))),
        4 => Fate::Lost,
        5 => Fate::Garbled,
        6 => Fate::Problem(Problem::new(ProblemKind::NoLeader, "none")),
        7 => Fate::Problem(Problem::unknown("proposed")),
        8 => Fate::Problem(Problem::new(ProblemKind::InvalidRequest, "as a whole")),
        _ => Fate::Served,
    }
}

/// Submits commands under faults, settles what is unknown, and checks the ledger.
async fn run(seed: u64) -> (Seen, Vec<Arrived>) {
    let mut rng = seeded_rng(seed, 1);
    let (group, _) = Group::new();
    let client = group.client(seed);
    let session = client.session();
    group.fates((0..40).map(|_| fate(&mut rng)));
    let mut waiting = Vec::new();
    for number in 1..=COMMANDS {
        waiting.push(session.submit(&numbered(number), after_ms(rng.random_range(1..6_000))));
        if rng.random_range(0..3) == 0 {
            tokio::time::sleep(Duration::from_millis(rng.random_range(0..200))).await;
        }
    }
    let outcomes = join_all(waiting).await;
    group.heal();
    let mut seen = Seen::default();
    let mut answered = Vec::new();
    let mut effects_wanted = BTreeMap::new();
    for (number, outcome) in (1..).zip(outcomes) {
        match outcome {
            Ok(response) => {
                assert_eq!(response.outcome, Outcome::Accepted(Answer::Done), "seed {seed}");
                seen.answered += 1;
                answered.push(number);
                effects_wanted.insert(number, 1);
            }
            Err(SubmitError::NotApplied(_)) => {
                seen.not_applied += 1;
                effects_wanted.insert(number, 0);
            }
            Err(SubmitError::Unknown { ticket, .. }) => {
                seen.unknown += 1;
                let ticket = ticket.unwrap_or_else(|| panic!("seed {seed}: no session expired"));
                session.settle(ticket, after_ms(120_000)).await.unwrap();
                seen.settled += 1;
                effects_wanted.insert(number, 1);
            }
        }
    }
    // What is still on its way arrives.
    tokio::time::sleep(Duration::from_secs(10)).await;
    let numbers = group.with_ledger(|ledger| ledger.numbers());
    for (number, wanted) in effects_wanted {
        let had = numbers.iter().filter(|one| **one == number).count();
        assert_eq!(had, wanted, "seed {seed}: effects of command {number}");
    }
    let in_order: Vec<_> = numbers.into_iter().filter(|number| answered.contains(number)).collect();
    assert_eq!(in_order, answered, "seed {seed}: order of those that were answered");
    (seen, group.arrived())
}

#[tokio::test(start_paused = true)]
async fn whatever_is_said_of_a_command_holds() {
    let mut total = Seen::default();
    for seed in 0..300 {
        let (seen, _) = run(seed).await;
        total.answered += seen.answered;
        total.not_applied += seen.not_applied;
        total.unknown += seen.unknown;
        total.settled += seen.settled;
    }
    assert!(total.answered > 1_000 && total.not_applied > 100 && total.unknown > 100, "vacuous: {total:?}");
    assert_eq!(total.unknown, total.settled);
}

#[test]
fn the_same_seed_gives_the_same_calls_at_the_same_times() {
    let trace = |seed| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(run(seed))
    };
    assert_eq!(trace(42), trace(42));
    assert_ne!(trace(42).1, trace(43).1);
}
