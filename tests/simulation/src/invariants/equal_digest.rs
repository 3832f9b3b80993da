//! Nodes that have applied the same index hold the same state.

use std::collections::BTreeMap;

use quorate_ledger::Digest;

use super::{Invariant, hold};
use crate::view::View;

/// See the module. That their histories are the same, frame by frame, is state machine safety.
#[derive(Default)]
pub(super) struct EqualDigest {
    states: BTreeMap<u64, (u64, Digest)>,
}

impl Invariant for EqualDigest {
    fn name(&self) -> &'static str {
        "equal digest"
    }

    fn step(&mut self, view: &View) -> Result<(), String> {
        for (id, node) in &view.nodes {
            let Some(applied) = &node.applied else { continue };
            let Some(state) = applied.state else { continue };
            let (first, known) = *self.states.entry(applied.index).or_insert((*id, state));
            hold(known == state, || format!("nodes {first} and {id} differ at index {}", applied.index))?;
        }
        Ok(())
    }
}
