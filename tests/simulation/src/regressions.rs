//! Seeds that once showed a bug of the product, kept for good. A seed's meaning changes with the plan's drawing, so each
//! names the faults that it takes.

use crate::{faults::Kind, plan::Plan};

/// One bug, and the run that showed it.
#[derive(Debug, Clone, Copy)]
pub struct Regression {
    /// The seed.
    pub seed: u64,
    /// Faults of these kinds only; none of its own choice where empty.
    pub only: &'static [Kind],
    /// What was wrong.
    pub bug: &'static str,
}

impl Regression {
    /// The run.
    #[must_use]
    pub fn plan(&self) -> Plan {
        if self.only.is_empty() { Plan::new(self.seed) } else { Plan::only(self.seed, self.only) }
    }
}

/// All of them.
pub const REGRESSIONS: &[Regression] = &[
    Regression {
        seed: 4,
        only: &[Kind::PowerLoss, Kind::Kill, Kind::LongOutage],
        bug: "a leader opened streams of appends to a peer that refused connections without a pause between them",
    },
    Regression {
        seed: 248,
        only: &[Kind::ReplaceMember],
        bug: "a client that only read never learned of new members, and found nobody once all that it was told had left",
    },
    Regression {
        seed: 625,
        only: &[],
        bug: "a maker that had waited for its turn paused for longer than an offer lasts after an order in the book was in the way",
    },
];
