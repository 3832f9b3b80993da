//! What was acknowledged to anybody is in the history, at the index and the log time that was told.

use std::{collections::BTreeMap, sync::Arc};

use quorate_ledger::Frame;

use super::{Invariant, hold};
use crate::view::Acked;

/// See the module.
#[derive(Default)]
pub(super) struct Acknowledged {
    acked: BTreeMap<u64, Acked>,
}

impl Invariant for Acknowledged {
    fn name(&self) -> &'static str {
        "acknowledged"
    }

    fn acked(&mut self, new: &Acked) -> Result<(), String> {
        let first = self.acked.entry(new.index).or_insert_with(|| new.clone());
        hold(first.log_time == new.log_time, || format!("{first:?} and {new:?} at one index"))
    }

    fn end(&mut self, frames: &[Arc<Frame>]) -> Result<(), String> {
        for acked in self.acked.values() {
            let frame = usize::try_from(acked.index).ok().and_then(|place| frames.get(place));
            let kept = frame.is_some_and(|frame| frame.log_time.0 == acked.log_time);
            hold(kept, || format!("{acked:?} was acknowledged; there is {frame:?} of {}", frames.len()))?;
        }
        Ok(())
    }
}
