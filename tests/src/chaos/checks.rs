//! What a chaos run is judged by, from outside.

use std::collections::{BTreeMap, BTreeSet};

use quorate_api::{PositionView, paths};
use quorate_domain::Symbol;
use quorate_ledger::{Event, FilledMaker, Frame};

use super::report::{Check, Suffered};
use crate::{history::calls::Observed, nemesis::Kind};

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

/// Reads that show other positions than the log has at the index that they name, in words; and how many were held
/// against it.
pub(super) fn positions_as_in_the_log(reads: &[Observed], frames: &[Frame]) -> (usize, Vec<String>) {
    let mut told: BTreeMap<&Symbol, Vec<(u64, i64, u64)>> = BTreeMap::new();
    for frame in frames {
        for event in &frame.events {
            if let Event::FillCommitted(fill) = event
                && let FilledMaker::Quote { position, position_seq, .. } = &fill.maker
            {
                told.entry(&fill.symbol).or_default().push((frame.index, position.0, *position_seq));
            }
        }
    }
    let (mut held, mut wrong) = (0, Vec::new());
    for read in reads.iter().filter(|read| read.path == paths::POSITIONS) {
        let Some(rows) = read.rows::<Vec<PositionView>>() else {
            wrong.push(format!("{} answered what is no list of positions", read.node));
            continue;
        };
        held += 1;
        for row in rows {
            let steps = told.get(&row.symbol).map_or(&[][..], Vec::as_slice);
            let before = steps.partition_point(|(index, ..)| *index <= read.applied_index);
            let (position, seq) = before.checked_sub(1).map_or((0, 0), |last| (steps[last].1, steps[last].2));
            if (row.position.0, row.position_seq) != (position, seq) {
                wrong.push(format!(
                    "{} showed {} of {} at index {}, where the log has {position}",
                    read.node, row.position.0, row.symbol, read.applied_index
                ));
            }
        }
    }
    (held, wrong)
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
