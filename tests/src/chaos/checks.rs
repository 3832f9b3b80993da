//! What a chaos run is judged by, from outside.

use std::collections::BTreeMap;

use quorate_api::{PositionView, paths};
use quorate_ledger::{Event, FilledMaker, Frame, Symbol};

use crate::history::calls::Observed;

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
