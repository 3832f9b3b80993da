//! What an order is made of.

use serde::{Deserialize, Serialize};

use crate::numbers::{Price, Qty};

/// An order's id: the log index of its `ExecuteOrder`.
pub type OrderId = u64;
/// A quote's id: the log index of its `PlaceQuote`.
pub type QuoteId = u64;

/// Buy or sell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Side {
    /// Buys.
    Buy,
    /// Sells.
    Sell,
}

impl Side {
    /// The other side.
    #[must_use]
    pub fn opposite(self) -> Self {
        match self {
            Self::Buy => Self::Sell,
            Self::Sell => Self::Buy,
        }
    }
}

/// One value for each side of the book: the bid buys and is *long* exposure, the ask sells and is *short*.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Sides<T> {
    /// Of the side that buys.
    pub bid: T,
    /// Of the side that sells.
    pub ask: T,
}

impl<T> Sides<T> {
    /// Of one side.
    #[must_use]
    pub fn of(&self, side: Side) -> &T {
        match side {
            Side::Buy => &self.bid,
            Side::Sell => &self.ask,
        }
    }

    /// Of one side, to change it.
    pub fn of_mut(&mut self, side: Side) -> &mut T {
        match side {
            Side::Buy => &mut self.bid,
            Side::Sell => &mut self.ask,
        }
    }
}

/// An order's type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum OrderType {
    /// At its price or better.
    Limit,
    /// At any price; never rests. Its time in force is `Ioc`.
    Market,
    /// Post-only: rests, or is rejected where it would take. Its time in force is `Gtc`.
    LimitMaker,
}

/// Time in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum TimeInForce {
    /// Good till cancelled.
    Gtc,
    /// Immediate or cancel: what is not filled expires.
    Ioc,
    /// Fill or kill: all or nothing.
    Fok,
}

/// One side of a quote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct QuoteSide {
    /// Ticks.
    pub price: Price,
    /// Lots.
    pub qty: Qty,
}
