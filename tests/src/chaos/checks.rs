//! What a chaos run is judged by, from outside.

use std::collections::BTreeSet;

use anyhow::Result;
use quorate_ledger::Frame;
use serde_json::json;

use super::report::{Check, Suffered};
use crate::{
    evidence::Export,
    history::calls::Observed,
    nemesis::Kind,
    replay::{MoneySaid, VIEWS, replay_and_hear},
};

/// A run with fewer reads of a view shows nothing of it.
const READS_MIN: u64 = 40;

/// Whether every kind that is possible happened, by its own measure.
pub(super) fn exercised(kinds: &[Kind], suffered: &[Suffered], not_begun: &[String]) -> Check {
    let shown: BTreeSet<&str> = suffered.iter().filter(|fault| fault.amount > 0).map(|fault| fault.kind).collect();
    let missing = kinds.iter().filter(|kind| !shown.contains(kind.name()));
    Check {
        what: "every fault that is possible here happened, by its own measure",
        found: format!("{} of {} kinds, {} faults", shown.len(), kinds.len(), suffered.len()),
        violations: missing.map(|kind| format!("{kind} never showed; not begun: {not_begun:?}")).collect(),
    }
}

/// Whether every read of money shows what the judge's own sums are at the index that it names.
pub(super) fn money_as_in_the_log(reads: &[Observed], frames: &[Frame]) -> Result<Check> {
    let mut said = MoneySaid::default();
    for read in reads {
        let query = read.symbol.as_ref().map_or_else(String::new, |symbol| format!("?symbol={symbol}"));
        let answer = json!({
            "applied_index": read.applied_index, "log_time": read.log_time, "node_id": read.node, "data": read.data,
        });
        said.take(&format!("{}{query}", read.path), answer)?;
    }
    let found = replay_and_hear(&Export { opening: Vec::new(), frames: frames.to_vec() }, &said);
    let (held, of_each) = (found.money_said.values().sum::<u64>(), &found.money_said);
    let mut violations = found.violations;
    if held != said.answers() {
        violations.push(format!("{held} of {} reads are of an index that the log has", said.answers()));
    }
    let too_few = |view: &&str| of_each.get(*view).is_none_or(|count| *count < READS_MIN);
    violations
        .extend(VIEWS.into_iter().filter(too_few).map(|view| format!("too few reads of {view} to show anything")));
    Ok(Check {
        what: "every read of positions, profit, breakers and balances is what the judge's own sums are at its index",
        found: format!("{held} reads, {of_each:?}"),
        violations,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_that_measured_nothing_or_never_began_fails_the_run() {
        let of = |kind: Kind, amount| Suffered {
            kind: kind.name(),
            whom: "somebody".to_owned(),
            from_ms: 0,
            until_ms: 1,
            amount,
            of: "things",
        };
        let kinds = [Kind::Loss, Kind::Delay, Kind::KillAll];
        let all = [of(Kind::Loss, 3), of(Kind::Delay, 1), of(Kind::KillAll, 8)];
        assert!(exercised(&kinds, &all, &[]).violations.is_empty());
        let lacking = [of(Kind::Loss, 0), of(Kind::Delay, 1)];
        let violations = exercised(&kinds, &lacking, &["nobody was free".to_owned()]).violations;
        assert_eq!(violations.len(), 2, "{violations:?}");
        assert!(violations[0].starts_with("loss") && violations[1].starts_with("kill-all"));
    }
}
