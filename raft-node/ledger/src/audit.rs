//! Recomputes every derived figure and says what does not hold. Tests and simulations ask after every
//! apply, a node on request and before it trusts a snapshot. It changes nothing and repairs nothing.

use std::fmt;

use crate::{indexes::Indexes, ledger::Ledger};

/// Something that must hold and does not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation(String);

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Ledger {
    /// What does not hold, in words; empty where all does. Costs a walk over the whole state.
    #[must_use]
    pub fn audit(&self) -> Vec<Violation> {
        let mut found = Vec::new();
        if self.indexes != Indexes::of(&self.tables) {
            found.push(Violation("an index differs from its tables".to_owned()));
        }
        found
    }
}
