//! Profit by average cost.
use crate::{
    instrument::Instrument,
    numbers::{Money, Position, Qty, RefPrice},
    orders::Side,
};
use serde::{Deserialize, Serialize};

/// A position and its profit. Invariant: realised + unrealised - fees = cash + mark x position, to the unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Pnl {
    /// Lots.
    pub position: Position,
    /// The exact total cost of the open position: paid for a long one, received (below 0) for a short one.
    pub cost: Money,
    /// What closing brought.
    pub realised: Money,
    /// What was paid in fees.
    pub fees: Money,
    /// Received less paid, fees included.
    pub cash: Money,
}

impl Pnl {
    /// After a fill; `None` where something leaves its range.
    #[must_use]
    pub fn fill(&self, side: Side, qty: Qty, notional: Money, fee: Money) -> Option<Self> {
        let position = i128::from(self.position.0);
        let signed = match side {
            Side::Buy => i128::from(qty.0),
            Side::Sell => -i128::from(qty.0),
        };
        let value = match side {
            Side::Buy => notional.0,
            Side::Sell => -notional.0,
        };
        let closes = if position.signum() * signed.signum() < 0 { signed.abs().min(position.abs()) } else { 0 };
        let (closed_cost, closed_value) = if closes == 0 {
            (0, 0)
        } else {
            let cost = floor_div(self.cost.0.checked_mul(closes)?, position.abs());
            (cost, value.checked_div(signed.abs())?.checked_mul(closes)?)
        };
        let opened = value.checked_sub(closed_value)?;
        Some(Self {
            position: Position(i64::try_from(position + signed).ok()?),
            cost: Money(self.cost.0.checked_sub(closed_cost)?.checked_add(opened)?),
            realised: Money(self.realised.0.checked_sub(closed_value)?.checked_sub(closed_cost)?),
            fees: Money(self.fees.0.checked_add(fee.0)?),
            cash: Money(self.cash.0.checked_sub(value)?.checked_sub(fee.0)?),
        })
    }
}

fn floor_div(value: i128, by: i128) -> i128 {
    value.div_euclid(by)
}

impl Instrument {
    /// A position at a mark.
    #[must_use]
    pub fn mark_value(&self, mark: RefPrice, position: Position) -> Option<Money> {
        let half = self.tick_lot_units()? / 2;
        i128::from(mark.0).checked_mul(i128::from(position.0))?.checked_mul(half).map(Money)
    }
}
