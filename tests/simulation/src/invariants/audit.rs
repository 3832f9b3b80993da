//! The ledger's own audit finds nothing, at any node.

use super::{Invariant, hold};
use crate::view::View;

/// See the module.
#[derive(Default)]
pub(super) struct Audit;

impl Invariant for Audit {
    fn name(&self) -> &'static str {
        "audit"
    }

    fn step(&mut self, view: &View) -> Result<(), String> {
        for (id, node) in &view.nodes {
            let Some(applied) = &node.applied else { continue };
            hold(applied.audit.is_empty(), || format!("node {id} at {}: {:?}", applied.index, applied.audit))?;
        }
        Ok(())
    }
}
