//! A fixed set of seeds, those that once failed, and fresh ones, which are printed.

use std::{collections::BTreeSet, io::Write};

use quorate_simulation::{
    faults::Kind,
    plan::Plan,
    regressions::REGRESSIONS,
    run::{Outcome, run},
};
use rand::{Rng, SeedableRng, rngs::SmallRng};

fn must_hold(outcome: &Outcome) {
    assert!(
        outcome.violations.is_empty(),
        "seed {} fails: repeat with `cargo run --release -- --first-seed {} --seeds 1` in tests/simulation\n{:#?}\n{}",
        outcome.seed,
        outcome.seed,
        outcome.violations,
        outcome.lines.concat()
    );
}

#[test]
fn without_faults_orders_are_filled_against_quotes() {
    for seed in 1..=4 {
        let outcome = run(Plan::calm(seed), false);
        must_hold(&outcome);
        assert!(outcome.fills >= 20 && outcome.exposure_max > 0, "seed {seed}: {outcome:?}");
    }
}

/// Nothing is quoted at once that all wait for: who waits is served in turn.
#[test]
fn where_a_lot_is_more_than_a_share_everybody_takes_turns() {
    for seed in 1..=3 {
        let outcome = run(Plan::calm(seed).scarce(40), false);
        must_hold(&outcome);
        let turns = outcome.counts.get("turns").copied().unwrap_or(0);
        assert!(turns >= 4, "seed {seed}: {turns} turns, and {outcome:?}");
        assert!(outcome.ends.contains_key("turn_ended"), "seed {seed}: {outcome:?}");
    }
}

/// Refusals that must come where each kind of fault is asked for, and how quotes must end there.
const REFUSALS: [&str; 21] = [
    "control_version",
    "crosses_resting",
    "does_not_cross",
    "exec_gap",
    "exposure_short",
    "invalid",
    "ledger_version",
    "limit_out_of_range",
    "not_active",
    "seq_too_old",
    "session_expired",
    "session_required",
    "stale_epoch",
    "stale_exchange",
    "stale_position",
    "stale_quote_seq",
    "symbol_exists",
    "unknown_maker",
    "unknown_order",
    "unknown_symbol",
    "wrong_secret",
];
const ENDS: [&str; 9] = [
    "authority_ended",
    "expired",
    "filled",
    "kill_switch",
    "limit_lowered",
    "position_limit",
    "pulled",
    "quoting_off",
    "replaced",
];

#[test]
fn the_fixed_seeds_hold() {
    for seed in 1..=24 {
        must_hold(&run(Plan::new(seed), false));
    }
}

#[test]
fn fresh_seeds_hold() {
    let mut chance = SmallRng::from_os_rng();
    for _ in 0..8 {
        let seed = chance.random_range(1_000_000..u64::from(u32::MAX));
        // Past the capture of a test's output: it is to be seen also where all is well.
        writeln!(std::io::stderr(), "fresh seed {seed}").expect("somebody listens");
        must_hold(&run(Plan::new(seed), false));
    }
}

#[test]
fn what_once_failed_holds() {
    for regression in REGRESSIONS {
        must_hold(&run(regression.plan(), false));
    }
}

#[test]
fn each_kind_of_fault_happens_when_it_is_asked_for() {
    let mut missing: BTreeSet<Kind> = Kind::ALL.into_iter().collect();
    let (mut refusals, mut ends) = (BTreeSet::new(), BTreeSet::new());
    for seed in 1..=3 {
        for kind in missing.clone() {
            let outcome = run(Plan::only(seed, &[kind]), false);
            must_hold(&outcome);
            refusals.extend(outcome.refusals.keys().cloned());
            ends.extend(outcome.ends.keys().cloned());
            if outcome.faults.get(kind.name()).is_some_and(|count| *count > 0) {
                missing.remove(&kind);
            }
        }
    }
    assert!(missing.is_empty(), "never happened: {missing:?}");
    let lacks = |wanted: &[&str], seen: &BTreeSet<String>| -> Vec<String> {
        wanted.iter().filter(|name| !seen.contains(**name)).map(|name| (*name).to_owned()).collect()
    };
    assert_eq!((lacks(&REFUSALS, &refusals), lacks(&ENDS, &ends)), (Vec::new(), Vec::new()));
}
