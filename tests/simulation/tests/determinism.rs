//! The same seed gives the same trace, byte for byte: without this nothing that the simulation finds could be repeated.

#![allow(clippy::unwrap_used, reason = "what does not work ends the test")]

use std::thread;

use quorate_simulation::{
    plan::Plan,
    run::{Outcome, run},
};

fn traced(plan: &Plan) -> Outcome {
    run(plan.clone(), true)
}

/// Runs each plan twice, each time on a thread of its own, and compares every line.
fn same_twice(plans: Vec<Plan>) {
    for plan in plans {
        let again = plan.clone();
        let second = thread::spawn(move || traced(&again));
        let (first, second) = (traced(&plan), second.join().unwrap());
        let parted = first.lines.iter().zip(&second.lines).position(|(one, other)| one != other);
        let lines = parted.map(|at| (&first.lines[at], &second.lines[at]));
        assert_eq!(lines, None, "seed {}: line {parted:?} differs", plan.seed);
        assert_eq!(first.trace, second.trace, "seed {}", plan.seed);
        assert!(first.lines.len() > 1_000, "seed {}: a trace of {} lines shows nothing", plan.seed, first.lines.len());
    }
}

#[test]
fn a_seed_without_faults_gives_one_trace() {
    same_twice((1..=2).map(Plan::calm).collect());
}

#[test]
fn a_seed_with_faults_gives_one_trace() {
    same_twice((1..=6).map(Plan::new).collect());
}

#[test]
fn two_seeds_give_two_traces() {
    let (one, other) = (traced(&Plan::calm(1)), traced(&Plan::calm(2)));
    assert_ne!(one.trace.1, other.trace.1);
}
