//! What a chaos run comes to: figures, checks, a verdict; in the terminal, and as one line of JSON.

use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
};

use serde::Serialize;
use serde_json::{Value, json};

/// One fault as it was.
#[derive(Debug, Clone, Serialize)]
pub struct Suffered {
    /// Its name.
    pub kind: &'static str,
    /// Whom it hit, and by what.
    pub whom: String,
    /// When it began, in milliseconds of the run.
    pub from_ms: u64,
    /// When it was healed.
    pub until_ms: u64,
    /// How much was measured of it.
    pub amount: u64,
    /// Of what.
    pub of: &'static str,
}

/// What became of the operations of one kind.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Outcomes {
    /// Done, or refused by the ledger's rules.
    pub ok: u64,
    /// Certainly not done.
    pub failed: u64,
    /// Done or not.
    pub unknown: u64,
    /// Outcomes of each second of the run: done, and not done or unknown.
    pub seconds: Vec<(u32, u32)>,
    /// When operations were done, in milliseconds of the run.
    #[serde(skip)]
    pub done_ms: Vec<u64>,
}

impl Outcomes {
    /// Counts one that ended at `at_ms`.
    pub(super) fn count(&mut self, at_ms: u64, ok: bool, unknown: bool) {
        let second = usize::try_from(at_ms / 1_000).unwrap_or(0);
        if self.seconds.len() <= second {
            self.seconds.resize(second + 1, (0, 0));
        }
        if ok {
            self.ok += 1;
            self.seconds[second].0 += 1;
            self.done_ms.push(at_ms);
        } else {
            *(if unknown { &mut self.unknown } else { &mut self.failed }) += 1;
            self.seconds[second].1 += 1;
        }
    }

    /// The share of seconds up to `length_s` in which something was done, of a hundred.
    #[must_use]
    pub fn availability(&self, length_s: usize) -> f64 {
        let served = self.seconds.iter().take(length_s).filter(|(ok, _)| *ok > 0).count();
        #[allow(clippy::cast_precision_loss, reason = "seconds of a run")]
        let share = served as f64 * 100.0 / length_s.max(1) as f64;
        share
    }

    /// The longest time in which nothing was done, in milliseconds.
    #[must_use]
    pub fn longest_gap_ms(&self) -> u64 {
        let mut done = self.done_ms.clone();
        done.sort_unstable();
        done.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(0)
    }
}

/// One thing that was checked.
#[derive(Debug, Clone, Serialize)]
pub struct Check {
    /// What.
    pub what: &'static str,
    /// What was found, in a few words.
    pub found: String,
    /// What is wrong; empty where it holds.
    pub violations: Vec<String>,
}

/// All of it.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Where the schedule follows from.
    pub seed: u64,
    /// How long faults were injected, in seconds.
    pub seconds: u64,
    /// By what links were spoilt.
    pub means: String,
    /// The faults, in the order of their beginning.
    pub faults: Vec<Suffered>,
    /// Kinds that cannot happen here, with the reason.
    pub cannot: BTreeMap<&'static str, String>,
    /// Faults that were planned and found nobody, with the reason.
    pub not_begun: Vec<String>,
    /// The operations, by kind.
    pub operations: BTreeMap<&'static str, Outcomes>,
    /// Longest times without something, in milliseconds, by what it is.
    pub gaps_ms: BTreeMap<&'static str, u64>,
    /// Other figures.
    pub figures: BTreeMap<&'static str, u64>,
    /// What was checked.
    pub checks: Vec<Check>,
}

/// The faults of one kind together.
#[derive(Debug, Clone, Default)]
pub(super) struct OfKind {
    pub(super) count: u64,
    pub(super) shown: u64,
    pub(super) amount: u64,
    pub(super) of: &'static str,
    pub(super) by: String,
}

impl Report {
    /// Whether everything holds.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.violations() == 0
    }

    /// How much does not hold.
    #[must_use]
    pub fn violations(&self) -> usize {
        self.checks.iter().map(|check| check.violations.len()).sum()
    }

    pub(super) fn by_kind(&self) -> BTreeMap<&'static str, OfKind> {
        let mut kinds: BTreeMap<&'static str, OfKind> = BTreeMap::new();
        for fault in &self.faults {
            let kind = kinds.entry(fault.kind).or_default();
            kind.count += 1;
            kind.shown += u64::from(fault.amount > 0);
            kind.amount += fault.amount;
            kind.of = fault.of;
            if let Some((_, by)) = fault.whom.rsplit_once(" (") {
                by.trim_end_matches(')').clone_into(&mut kind.by);
            }
        }
        kinds
    }

    /// The one line for programs.
    #[must_use]
    pub fn line(&self) -> Value {
        let faults: BTreeMap<_, _> = self.by_kind().into_iter().map(|(name, kind)| (name, kind.count)).collect();
        let operations: BTreeMap<_, _> = self
            .operations
            .iter()
            .map(|(kind, of)| (*kind, json!({"ok": of.ok, "failed": of.failed, "unknown": of.unknown})))
            .collect();
        json!({
            "verdict": if self.passed() { "pass" } else { "fail" },
            "seed": self.seed,
            "seconds": self.seconds,
            "means": self.means,
            "violations": self.violations(),
            "faults": faults,
            "not_possible_here": self.cannot.keys().collect::<Vec<_>>(),
            "operations": operations,
            "gaps_ms": self.gaps_ms,
            "figures": self.figures,
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n{} s of chaos, seed {}; links were spoilt by {}", self.seconds, self.seed, self.means)?;
        writeln!(f, "\n{:<18} {:>5} {:>5}  measured", "fault", "begun", "shown")?;
        for (name, kind) in self.by_kind() {
            let by = if kind.by.is_empty() { String::new() } else { format!(" ({})", kind.by) };
            writeln!(f, "{name:<18} {:>5} {:>5}  {} {}{by}", kind.count, kind.shown, kind.amount, kind.of)?;
        }
        for (name, why) in &self.cannot {
            writeln!(f, "{name:<18}   not possible here: {why}")?;
        }
        let length = usize::try_from(self.seconds).unwrap_or(usize::MAX);
        writeln!(
            f,
            "\n{:<18} {:>8} {:>8} {:>8} {:>14} {:>12}",
            "operations", "ok", "failed", "unknown", "seconds served", "longest gap"
        )?;
        for (name, of) in &self.operations {
            let (served, gap) = (of.availability(length), of.longest_gap_ms());
            writeln!(f, "{name:<18} {:>8} {:>8} {:>8} {served:>12.1} % {gap:>9} ms", of.ok, of.failed, of.unknown)?;
        }
        writeln!(f)?;
        for (what, gap) in &self.gaps_ms {
            writeln!(f, "longest time without {what}: {gap} ms")?;
        }
        let figures = self.figures.iter().fold(String::new(), |mut text, (what, count)| {
            let _ = write!(text, "{}{what} {count}", if text.is_empty() { "" } else { ", " });
            text
        });
        writeln!(f, "{figures}\n")?;
        for check in &self.checks {
            let mark = if check.violations.is_empty() { "  ok  " } else { " FAIL " };
            writeln!(f, "{mark} {}: {}", check.what, check.found)?;
            for violation in check.violations.iter().take(10) {
                writeln!(f, "         {violation}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chaos::page;

    fn report() -> Report {
        let mut orders = Outcomes::default();
        for (at, ok) in [(100, true), (900, false), (2_500, true), (2_600, true)] {
            orders.count(at, ok, false);
        }
        Report {
            seed: 7,
            seconds: 4,
            means: "a <proxy>".to_owned(),
            faults: vec![Suffered {
                kind: "kill-leader",
                whom: "node-1 & more".to_owned(),
                from_ms: 500,
                until_ms: 1_500,
                amount: 1,
                of: "processes",
            }],
            cannot: BTreeMap::from([("full-disk", "needs root".to_owned())]),
            not_begun: Vec::new(),
            operations: BTreeMap::from([("orders", orders)]),
            gaps_ms: BTreeMap::new(),
            figures: BTreeMap::from([("fills", 3)]),
            checks: vec![Check { what: "reads", found: "3".to_owned(), violations: Vec::new() }],
        }
    }

    #[test]
    fn availability_and_gaps_are_those_of_what_was_done() {
        let orders = &report().operations["orders"];
        assert_eq!((orders.ok, orders.failed, orders.unknown), (3, 1, 0));
        assert_eq!(orders.seconds, [(1, 1), (0, 0), (2, 0)]);
        assert!((orders.availability(4) - 50.0).abs() < 1e-9);
        assert_eq!(orders.longest_gap_ms(), 2_400);
    }

    #[test]
    fn one_violation_fails_the_run_and_shows_everywhere() {
        let mut report = report();
        assert!(report.passed() && report.line()["verdict"] == "pass");
        report.checks[0].violations.push("a stale <read>".to_owned());
        assert!(!report.passed() && report.line()["verdict"] == "fail");
        assert!(report.to_string().contains("FAIL  reads: 3"), "{report}");
        let page = page(&report);
        assert!(page.contains("a stale &lt;read&gt;") && page.contains("something does not hold"));
    }

    #[test]
    fn the_page_needs_nothing_else() {
        let page = page(&report());
        assert!(["http://", "https://", "src=", "@import", "url("].iter().all(|outside| !page.contains(outside)));
        assert!(page.contains("node-1 &amp; more") && page.contains("needs root") && page.contains("<svg"));
    }
}
