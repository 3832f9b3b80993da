//! A symbol's position is the sum of its quotes' fills, at every fill.

use std::collections::BTreeMap;

use quorate_domain::{Side, Symbol};
use quorate_ledger::{Event, FilledMaker, Frame};

use super::{Invariant, hold};

/// See the module.
#[derive(Default)]
pub(super) struct Positions {
    /// (position, fills)
    sums: BTreeMap<Symbol, (i64, u64)>,
}

impl Invariant for Positions {
    fn name(&self) -> &'static str {
        "positions"
    }

    fn frame(&mut self, frame: &Frame) -> Result<(), String> {
        for event in &frame.events {
            let Event::FillCommitted(fill) = event else { continue };
            let FilledMaker::Quote { position, position_seq, .. } = &fill.maker else { continue };
            let sum = self.sums.entry(fill.symbol.clone()).or_default();
            sum.0 += if fill.taker_side == Side::Buy { -fill.qty.0 } else { fill.qty.0 };
            sum.1 += 1;
            let sum = *sum;
            hold(sum == (position.0, *position_seq), || {
                format!("index {}: the fills sum to {sum:?}, the position is {position} {position_seq}", frame.index)
            })?;
        }
        Ok(())
    }
}
