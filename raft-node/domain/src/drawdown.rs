//! The drawdown breaker.
use crate::numbers::Money;
use serde::{Deserialize, Serialize};

/// A breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Drawdown {
    /// Limit.
    pub limit: Option<Money>,
    /// High-water mark.
    pub high_water: Money,
    /// Latched.
    pub tripped: bool,
}

impl Drawdown {
    /// After an evaluation; whether it trips.
    #[must_use]
    pub fn evaluate(&self, equity: Money, counted: bool) -> (Self, bool) {
        let high_water = if counted { self.high_water.max(equity) } else { self.high_water };
        let below = high_water.0.saturating_sub(equity.0);
        let trips = !self.tripped && self.limit.is_some_and(|limit| below > limit.0);
        (Self { high_water, tripped: self.tripped || trips, ..*self }, trips)
    }

    /// Arms it again.
    pub fn rearm(&mut self, equity: Money) {
        self.high_water = equity;
        self.tripped = false;
    }
}
