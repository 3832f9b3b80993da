//! What was read of a capture, and what was left out and why.

use std::{collections::BTreeMap, fmt};

use quorate_market_data::MarketEvent;

/// Why a message gave no event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Skip {
    /// It is of another symbol.
    OtherSymbol,
    /// It is of a kind that was not asked for, or that this project has no use for.
    OtherKind,
    /// A trade that no two orders made: an insurance fund took over, or nothing was traded.
    NotByOrders,
    /// Trades come one by one and in aggregates: those are taken that came first in the file, and these are the others.
    ToldTwice,
    /// Best prices of which one, or its size, is not above 0.
    NotPositive,
    /// Best prices of which the bid is not below the ask.
    Crossed,
    /// Best prices without sizes.
    WithoutSizes,
    /// A trade or a best price of less than a lot.
    LessThanALot,
    /// A depth snapshot that names no symbol, in a file that holds the depth of several.
    SnapshotOfNobody,
}

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OtherSymbol => "of another symbol",
            Self::OtherKind => "of another kind",
            Self::NotByOrders => "trades by no orders",
            Self::ToldTwice => "trades told twice",
            Self::NotPositive => "best prices not above 0",
            Self::Crossed => "crossed best prices",
            Self::WithoutSizes => "best prices without sizes",
            Self::LessThanALot => "of less than a lot",
            Self::SnapshotOfNobody => "snapshots without a symbol",
        })
    }
}

/// What was read. `lines` is the sum of all events and all that was left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// Lines that could be read.
    pub lines: u64,
    /// Depth snapshots.
    pub snapshots: u64,
    /// Depth updates.
    pub deltas: u64,
    /// Best prices.
    pub tops: u64,
    /// Trades, or aggregates.
    pub trades: u64,
    /// Messages that gave no event, by reason.
    pub skipped: BTreeMap<Skip, u64>,
    /// Lines whose time was before that of an earlier one, by at most a second.
    pub backwards: u64,
    /// Times at which nothing was recorded for more than 10 minutes.
    pub pauses: u64,
    /// Quantities that were no whole number of lots: a part of a lot was left out of each.
    pub odd_lots: u64,
    /// Whether the file ends as if it had been torn off.
    pub torn: bool,
}

impl Summary {
    /// How many events there were.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.snapshots + self.deltas + self.tops + self.trades
    }

    pub(crate) fn count(&mut self, event: &MarketEvent) {
        match event {
            MarketEvent::Snapshot(_) => self.snapshots += 1,
            MarketEvent::Delta(_) => self.deltas += 1,
            MarketEvent::Top(_) => self.tops += 1,
            MarketEvent::Trade(_) => self.trades += 1,
            // No capture tells these.
            MarketEvent::Reference(_) | MarketEvent::Settled(_) => {}
        }
    }

    pub(crate) fn skip(&mut self, why: Skip) {
        *self.skipped.entry(why).or_default() += 1;
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { lines, snapshots, deltas, tops, trades, .. } = self;
        write!(f, "{lines} lines: {snapshots} snapshots, {deltas} deltas, {tops} best prices, {trades} trades")?;
        for (why, count) in &self.skipped {
            write!(f, "; skipped {count} {why}")?;
        }
        for (count, what) in
            [(self.backwards, "times that went back"), (self.pauses, "pauses"), (self.odd_lots, "odd lots")]
        {
            if count > 0 {
                write!(f, "; {count} {what}")?;
            }
        }
        if self.torn { f.write_str("; torn") } else { Ok(()) }
    }
}

/// What a file holds, in words, for as long as nothing of use has come. Bounded in kinds.
#[derive(Debug, Default)]
pub(crate) struct Holds {
    kinds: BTreeMap<String, u64>,
}

/// Kinds that are told apart.
const KINDS_MAX: usize = 12;

impl Holds {
    pub(crate) fn count(&mut self, kind: String) {
        let known = self.kinds.len() < KINDS_MAX || self.kinds.contains_key(&kind);
        *self.kinds.entry(if known { kind } else { "others".to_owned() }).or_default() += 1;
    }

    /// `3 lines of trade of BTCUSDT, 1 line of depth snapshot`.
    pub(crate) fn lines(&self) -> String {
        let line = |(kind, count): (&String, &u64)| {
            format!("{count} {} of {kind}", if *count == 1 { "line" } else { "lines" })
        };
        self.kinds.iter().map(line).collect::<Vec<_>>().join(", ")
    }

    /// The kinds alone.
    pub(crate) fn names(&self) -> String {
        self.kinds.keys().cloned().collect::<Vec<_>>().join(", ")
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.kinds.is_empty()
    }
}
