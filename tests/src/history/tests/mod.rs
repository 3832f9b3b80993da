//! The checkers against histories that are correct, and against such as are not.
//!
//! The correct ones come from the real ledger under clients whose calls are late, lost, repeated and
//! unknown. Each corruption starts from one of them, changes one thing, and must be found.

mod actors;
mod corruptions;
mod format;
mod group;
mod spoil;
mod views;

use proptest::prelude::*;
use quorate_ledger::Frame;

use super::{Check, Report, calls::History, check, record::Line};
use group::Group;

/// A history, and the log that it is of.
#[derive(Clone)]
struct Made {
    lines: Vec<Line>,
    frames: Vec<Frame>,
}

impl Made {
    /// A correct one: `ms` milliseconds of a group's life.
    fn correct(seed: u64, ms: u64) -> Self {
        Group::new(seed).live(ms)
    }

    fn history(&self) -> History {
        History::of(self.lines.iter().cloned()).unwrap()
    }

    fn check(&self) -> Report {
        check(&self.history(), &self.frames).unwrap()
    }

    /// Which checkers find something.
    fn found(&self) -> Vec<Check> {
        let mut found: Vec<Check> = self.check().violations.iter().map(|violation| violation.check).collect();
        found.sort_unstable();
        found.dedup();
        found
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    #[test]
    fn correct_histories_are_accepted(seed in any::<u64>(), ms in 300_u64..3_000) {
        let report = Made::correct(seed, ms).check();
        prop_assert!(report.passed(), "{:#?}\n{:?}", report.violations, report.figures);
    }
}

#[test]
fn correct_histories_hold_what_could_go_wrong() {
    let figures = Made::correct(1, 10_000).check().figures;
    assert!(figures.operations > 2_000, "{figures:?}");
    assert!(figures.unknown > 50 && figures.settled > 20, "{figures:?}");
    assert!(figures.linearizable_reads > 300 && figures.local_reads > 200, "{figures:?}");
    for name in
        ["place_quote", "keep_quote", "pull_quote", "execute_order", "cancel_order", "control", "release_symbol"]
    {
        assert!(figures.commands.get(name).is_some_and(|count| *count >= 5), "{name}: {figures:?}");
    }
}

#[test]
fn the_same_history_has_the_same_verdict() {
    let made = Made::correct(3, 3_000);
    let (one, other) = (made.check(), made.check());
    assert_eq!(one.figures, other.figures);
    assert_eq!(one.violations, other.violations);
}
