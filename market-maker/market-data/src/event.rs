//! What a venue tells, in ticks and lots, stamped with two clocks.

use quorate_domain::{Price, Qty, RefPrice, Side};
use serde::{Deserialize, Serialize};

/// Something with the times at which it happened and at which it was received.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stamped<T> {
    /// When it happened by the venue's clock, in nanoseconds since the Unix epoch; `None` where the venue does not say
    /// (Spot's `bookTicker`, and its depth snapshot).
    pub venue_ns: Option<u64>,
    /// When it was received by the receiver's clock, in nanoseconds since the Unix epoch. The two clocks may differ by any
    /// amount in either direction.
    pub local_ns: u64,
    /// Its place among what its source told, from 1, without gaps: what breaks ties of equal times.
    pub seq: u64,
    /// What it is.
    pub what: T,
}

/// What a venue tells of one symbol.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MarketEvent {
    /// The levels of the book, from its best.
    Snapshot(Snapshot),
    /// Levels of the book that changed.
    Delta(Delta),
    /// The best bid and ask.
    Top(Top),
    /// A trade between two orders.
    Trade(Trade),
    /// A reference price.
    Reference(RefPrice),
    /// A contract has settled, at 0 or at what it pays.
    Settled(Price),
}

/// One price of the book, and how much stands there in all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Level {
    /// In ticks, above 0.
    pub price: Price,
    /// In lots, not below 0. In a delta 0 says that nothing stands there any more.
    pub qty: Qty,
}

/// The levels of the book, from its best. In which order they stand does not matter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Snapshot {
    /// The last update id that is in it (`lastUpdateId`).
    pub last: u64,
    /// Whether it holds only a few best levels and came over a stream of such: then deltas cannot go on from it.
    pub partial: bool,
    /// Bids.
    pub bids: Vec<Level>,
    /// Asks.
    pub asks: Vec<Level>,
}

/// Levels of the book that changed. Where a price comes twice on a side, the later counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Delta {
    /// The first update id in it (`U`), not above `last`.
    pub first: u64,
    /// The last update id in it (`u`).
    pub last: u64,
    /// The last update id of the delta before (`pu`): of futures only, and what tells these from Spot.
    pub previous: Option<u64>,
    /// Bids.
    pub bids: Vec<Level>,
    /// Asks.
    pub asks: Vec<Level>,
}

/// The best bid and ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Top {
    /// The update id of the book that they stood in.
    pub update_id: u64,
    /// The highest price that somebody pays, below that of `ask`.
    pub bid: Level,
    /// The lowest price that somebody asks.
    pub ask: Level,
}

/// A trade between two orders.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trade {
    /// The venue's id of the trade, or of the aggregate.
    pub id: u64,
    /// In ticks, above 0.
    pub price: Price,
    /// In lots, above 0.
    pub qty: Qty,
    /// What the taker did: the side of the order that came later.
    pub aggressor: Side,
}
