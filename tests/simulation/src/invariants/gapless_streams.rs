//! A stream of events leaves nothing out unless it said so, and says what was applied.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::Arc,
};

use quorate_ledger::{Digest, Frame};

use super::{Invariant, hold};

/// See the module.
#[derive(Default)]
pub(super) struct GaplessStreams {
    /// By stream: the last index. A stream that began anew has another number.
    last: BTreeMap<u64, u64>,
    seen: BTreeMap<u64, Digest>,
}

impl Invariant for GaplessStreams {
    fn name(&self) -> &'static str {
        "gapless streams"
    }

    fn streamed(&mut self, stream: u64, frame: &Frame) -> Result<(), String> {
        let before = self.last.insert(stream, frame.index);
        hold(before.is_none_or(|before| before + 1 == frame.index), || {
            format!("stream {stream}: index {} after {before:?}", frame.index)
        })?;
        match self.seen.entry(frame.index) {
            Entry::Vacant(vacant) => {
                vacant.insert(frame.chain);
                Ok(())
            }
            Entry::Occupied(known) => hold(*known.get() == frame.chain, || {
                format!("stream {stream}: another frame at {} than another stream gave", frame.index)
            }),
        }
    }

    fn end(&mut self, frames: &[Arc<Frame>]) -> Result<(), String> {
        for (index, chain) in &self.seen {
            let frame = usize::try_from(*index).ok().and_then(|place| frames.get(place));
            hold(frame.is_some_and(|frame| frame.chain == *chain), || {
                format!("a stream gave index {index}, which is not the history's")
            })?;
        }
        Ok(())
    }
}
