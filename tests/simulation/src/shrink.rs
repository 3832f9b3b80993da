//! Drops faults from a failing schedule while it still fails.

use crate::{
    plan::Plan,
    run::{Outcome, run},
};

/// The least part of a schedule that was found to fail.
#[derive(Debug, Clone)]
pub struct Shrunk {
    /// Places in the schedule of the seed.
    pub kept: Vec<usize>,
    /// What came of it.
    pub outcome: Outcome,
    /// Runs made.
    pub runs: usize,
}

/// Shrinks `plan`, which fails, in at most `runs_max` runs: halves first, then single faults. A smaller schedule counts
/// as failing where the same invariant is violated.
#[must_use]
pub fn shrink(plan: &Plan, failed: &Outcome, runs_max: usize) -> Shrunk {
    let invariants = |outcome: &Outcome| -> Vec<&'static str> {
        outcome.violations.iter().map(|violation| violation.invariant).collect()
    };
    let wanted = invariants(failed).first().copied();
    let mut best = Shrunk { kept: (0..plan.faults.len()).collect(), outcome: failed.clone(), runs: 0 };
    let mut size = best.kept.len().div_ceil(2).max(1);
    while !best.kept.is_empty() {
        let mut at = 0;
        let mut smaller = false;
        while at < best.kept.len() && best.runs < runs_max {
            let end = (at + size).min(best.kept.len());
            let kept: Vec<usize> = best.kept[..at].iter().chain(&best.kept[end..]).copied().collect();
            let mut tried = plan.clone();
            tried.keep(&kept);
            let outcome = run(tried, false);
            best.runs += 1;
            if wanted.is_some_and(|wanted| invariants(&outcome).contains(&wanted)) {
                (best.kept, best.outcome, smaller) = (kept, outcome, true);
            } else {
                at = end;
            }
        }
        if best.runs >= runs_max || (size == 1 && !smaller) {
            break;
        }
        size = (size / 2).max(1);
    }
    best
}
