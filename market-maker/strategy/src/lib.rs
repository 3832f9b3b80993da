//! What to quote: from a reference price and a committed position to a two-sided quote. One code for
//! live trading, paper trading and backtests.
//!
//! With reference price `r` (half ticks), position `p` (lots), half spread `h` (ticks), skew `k` (percent), order
//! quantity `q` and largest position `m` (lots):
//!
//! ```text
//! lean      = 2h * k/100 * clamp(p, -m, m)/m        toward 0; a long position is offered away: both prices go down
//! bid price = clamp(floor((r - 2h - lean) / 2), 1, MAX_PRICE - 1)
//! ask price = clamp(ceil((r + 2h - lean) / 2), 2, MAX_PRICE)
//! bid qty   = min(q, m - p)                         no bid where that is below 1
//! ask qty   = min(q, m + p)                         no ask where that is below 1
//! ```
//!
//! Invariants: bid <= reference <= ask, so that at a constant reference no sequence of takers lowers the maker's
//! equity, marked there; bid < ask; every price and quantity is one that the ledger accepts; a side that is
//! filled whole leaves the position within `-m..=m`, or nearer to it than before. Total and
//! deterministic: integers only (products in `i128`, so nothing wraps), no clock, no randomness, no
//! I/O. What may be quoted at all (authority, exposure, control) is not decided here.

use std::fmt;

use quorate_domain::{MAX_PRICE, MAX_QTY, Position, Price, Qty, QuoteSide, RefPrice};

/// The strategy's name.
pub const STRATEGY: &str = "fixed-spread";
/// Its version: grows when the formulas change.
pub const STRATEGY_VERSION: u32 = 1;
/// Largest skew accepted, in percent: with all of the half spread, the price at the largest position is the reference.
pub const SKEW_MAX_PERCENT: i64 = 100;

/// A fixed spread around the reference price, skewed by inventory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FixedSpread {
    half_spread_ticks: i64,
    order_qty: i64,
    skew_percent: i64,
    max_position: i64,
}

/// The parameters as text: what is committed for quotes to name.
impl fmt::Display for FixedSpread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { half_spread_ticks, order_qty, skew_percent, max_position } = self;
        write!(
            f,
            "half_spread_ticks={half_spread_ticks} order_qty={order_qty} skew_percent={skew_percent} \
             max_position={max_position}"
        )
    }
}

/// What a strategy wants to stand in the market; a side that is `None` is not quoted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DesiredQuote {
    /// To buy.
    pub bid: Option<QuoteSide>,
    /// To sell.
    pub ask: Option<QuoteSide>,
}

impl DesiredQuote {
    /// Whether nothing is to be quoted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bid.is_none() && self.ask.is_none()
    }
}

/// A parameter that is out of its range, by its name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} is {value}: it must lie in {min}..={max}")]
pub struct InvalidParameter {
    /// Which.
    pub field: &'static str,
    /// The value given.
    pub value: i64,
    /// The smallest accepted.
    pub min: i64,
    /// The largest accepted.
    pub max: i64,
}

impl FixedSpread {
    /// Checks the parameters: `half_spread_ticks` in `1..=MAX_PRICE`, `order_qty` (lots) in
    /// `1..=MAX_QTY`, `skew_percent` (of the half spread, reached at the largest position) in
    /// `0..=SKEW_MAX_PERCENT`, `max_position` (lots, either way) in `0..=MAX_QTY`.
    ///
    /// # Errors
    /// [`InvalidParameter`] names the first that is out of its range.
    pub fn new(
        half_spread_ticks: i64,
        order_qty: i64,
        skew_percent: i64,
        max_position: i64,
    ) -> Result<Self, InvalidParameter> {
        let ranges = [
            ("half_spread_ticks", half_spread_ticks, 1, MAX_PRICE),
            ("order_qty", order_qty, 1, MAX_QTY),
            ("skew_percent", skew_percent, 0, SKEW_MAX_PERCENT),
            ("max_position", max_position, 0, MAX_QTY),
        ];
        match ranges.into_iter().find(|(_, value, min, max)| !(min..=max).contains(&value)) {
            Some((field, value, min, max)) => Err(InvalidParameter { field, value, min, max }),
            None => Ok(Self { half_spread_ticks, order_qty, skew_percent, max_position }),
        }
    }

    /// The quote for this reference price and this committed position, by the formulas above.
    #[must_use]
    pub fn quote(&self, reference: RefPrice, position: Position) -> DesiredQuote {
        let (reference, position) = (i128::from(reference.0), i128::from(position.0));
        let max = i128::from(self.max_position);
        let spread = 2 * i128::from(self.half_spread_ticks);
        // Without a largest position nothing is quoted, so that it does not matter what the prices would be.
        let lean = spread * i128::from(self.skew_percent) * position.clamp(-max, max) / (100 * max.max(1));
        let side = |price: i128, lowest: i64, highest: i64, room: i128| {
            let qty = clamp(room, 0, self.order_qty);
            (qty > 0).then(|| QuoteSide { price: Price(clamp(price, lowest, highest)), qty: Qty(qty) })
        };
        DesiredQuote {
            bid: side((reference - spread - lean).div_euclid(2), 1, MAX_PRICE - 1, max - position),
            ask: side((reference + spread - lean + 1).div_euclid(2), 2, MAX_PRICE, max + position),
        }
    }
}

/// `value` within `low..=high`.
fn clamp(value: i128, low: i64, high: i64) -> i64 {
    i64::try_from(value).unwrap_or(if value < 0 { i64::MIN } else { i64::MAX }).clamp(low, high)
}

#[cfg(test)]
mod tests;
