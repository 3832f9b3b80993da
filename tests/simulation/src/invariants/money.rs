//! Profit, fees, balances, high-water marks and breakers are what the judge's own money code makes of the frames, at every
//! index at which a node was looked at.

use std::collections::BTreeMap;

use quorate_ledger::Frame;
use quorate_tests::{
    evidence::Export,
    replay::{Replay, Sums},
};

use super::{Invariant, hold};
use crate::view::View;

/// So many indexes a node may be behind the newest frame, and be judged.
const BEHIND_MAX: usize = 4_096;

/// See the module.
pub(super) struct Money {
    replay: Replay,
    /// After each of the last frames.
    sums: BTreeMap<u64, Sums>,
}

impl Default for Money {
    fn default() -> Self {
        let replay = Replay::new(&Export { opening: Vec::new(), frames: Vec::new() });
        Self { replay, sums: BTreeMap::new() }
    }
}

impl Invariant for Money {
    fn name(&self) -> &'static str {
        "money"
    }

    fn frame(&mut self, frame: &Frame) -> Result<(), String> {
        self.replay.frame(frame);
        self.sums.insert(frame.index, self.replay.sums());
        while self.sums.len() > BEHIND_MAX {
            self.sums.pop_first();
        }
        match self.replay.violations().first() {
            Some(violation) => Err(violation.clone()),
            None => Ok(()),
        }
    }

    fn step(&mut self, view: &View) -> Result<(), String> {
        for (id, node) in &view.nodes {
            let Some(applied) = &node.applied else { continue };
            let Some(sums) = self.sums.get(&applied.index).filter(|sums| sums.whole) else { continue };
            hold(*sums == applied.sums, || {
                format!("node {id} at {}: {:?}, and the judge has {sums:?}", applied.index, applied.sums)
            })?;
        }
        Ok(())
    }
}
