//! A message of a venue as a market event, in ticks and lots.

use quorate_binance_api::streams::{BookTicker, DepthLevel, DepthSnapshot, Message, Trade as TradeMessage};
use quorate_domain::{Decimal, Qty, Side};
use quorate_market_data::{Delta, Level, MarketEvent, OffGrid, Scale, Snapshot, Top, Trade};

use crate::summary::Skip;

/// Why a message is no market event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unusable {
    /// It is left out and counted: venues send such.
    Skipped(Skip),
    /// It cannot be: the scale is not the symbol's, or the message is damaged.
    Wrong(Wrong),
}

/// Why a message cannot be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    /// An amount has no exact place in ticks or lots.
    #[error("{0}: take the symbol's own tick and lot sizes")]
    OffGrid(#[from] OffGrid),
    /// The best bid of a snapshot is not below its best ask.
    #[error("the depth snapshot is crossed: its best bid, {bid}, is not below its best ask, {ask}")]
    CrossedSnapshot {
        /// The best bid.
        bid: Decimal,
        /// The best ask.
        ask: Decimal,
    },
}

impl<T: Into<Wrong>> From<T> for Unusable {
    fn from(wrong: T) -> Self {
        Self::Wrong(wrong.into())
    }
}

/// What to make of a quantity that is no whole number of lots. Spot's books hold a few such: orders that were placed before
/// the symbol's lot grew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OddLots {
    /// It is an error.
    #[default]
    Refuse,
    /// The part of a lot is left out, and that is counted.
    LeaveOut,
}

/// A market event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Normalised {
    /// What happened.
    pub event: MarketEvent,
    /// How many of its quantities were no whole number of lots: a part of a lot was left out of each.
    pub odd_lots: u64,
}

/// The market event that a message tells.
///
/// # Errors
/// [`Unusable::Skipped`] for trades that no two orders made, best prices that are crossed, not above 0 or without sizes, and
/// kinds that are no market event; [`Unusable::Wrong`] for amounts that are no whole ticks or lots, and crossed snapshots.
pub fn normalise(message: &Message, scale: &Scale, odd_lots: OddLots) -> Result<Normalised, Unusable> {
    let mut grid = Grid { scale, policy: odd_lots, odd_lots: 0 };
    let event = match message {
        Message::Trade(trade) | Message::AggTrade(trade) => MarketEvent::Trade(grid.trade(trade)?),
        Message::BookTicker(ticker) => MarketEvent::Top(grid.top(ticker)?),
        Message::DepthUpdate(update) => MarketEvent::Delta(Delta {
            first: update.first,
            last: update.last,
            previous: update.previous,
            bids: grid.levels(&update.bids)?,
            asks: grid.levels(&update.asks)?,
        }),
        Message::DepthSnapshot(snapshot) => MarketEvent::Snapshot(grid.snapshot(snapshot)?),
        Message::Other(_) => return Err(Unusable::Skipped(Skip::OtherKind)),
    };
    Ok(Normalised { event, odd_lots: grid.odd_lots })
}

/// The scale, and what was left out by it.
struct Grid<'a> {
    scale: &'a Scale,
    policy: OddLots,
    odd_lots: u64,
}

impl Grid<'_> {
    fn level(&mut self, price: Decimal, qty: Decimal) -> Result<Level, OffGrid> {
        let price = self.scale.price(price)?;
        let qty = match self.policy {
            OddLots::Refuse => self.scale.qty(qty)?,
            OddLots::LeaveOut => {
                let (qty, whole) = self.scale.whole_lots(qty)?;
                self.odd_lots += u64::from(!whole);
                qty
            }
        };
        Ok(Level { price, qty })
    }

    fn levels(&mut self, given: &[DepthLevel]) -> Result<Vec<Level>, OffGrid> {
        given.iter().map(|level| self.level(level.price, level.qty)).collect()
    }

    fn trade(&mut self, trade: &TradeMessage) -> Result<Trade, Unusable> {
        if !trade.by_orders {
            return Err(Unusable::Skipped(Skip::NotByOrders));
        }
        let Level { price, qty } = self.level(trade.price, trade.qty)?;
        if qty == Qty::ZERO {
            return Err(Unusable::Skipped(Skip::LessThanALot));
        }
        let aggressor = if trade.buyer_is_maker { Side::Sell } else { Side::Buy };
        Ok(Trade { id: trade.id, price, qty, aggressor })
    }

    fn top(&mut self, ticker: &BookTicker) -> Result<Top, Unusable> {
        let (Some(bid_qty), Some(ask_qty)) = (ticker.bid_qty, ticker.ask_qty) else {
            return Err(Unusable::Skipped(Skip::WithoutSizes));
        };
        if ![ticker.bid, ticker.ask, bid_qty, ask_qty].into_iter().all(Decimal::is_positive) {
            return Err(Unusable::Skipped(Skip::NotPositive));
        }
        let (bid, ask) = (self.level(ticker.bid, bid_qty)?, self.level(ticker.ask, ask_qty)?);
        if bid.price >= ask.price {
            return Err(Unusable::Skipped(Skip::Crossed));
        }
        if bid.qty == Qty::ZERO || ask.qty == Qty::ZERO {
            return Err(Unusable::Skipped(Skip::LessThanALot));
        }
        Ok(Top { update_id: ticker.update_id, bid, ask })
    }

    fn snapshot(&mut self, snapshot: &DepthSnapshot) -> Result<Snapshot, Unusable> {
        let standing = |levels: &[DepthLevel]| -> Vec<DepthLevel> {
            levels.iter().copied().filter(|level| level.qty.is_positive()).collect()
        };
        let (bids, asks) = (self.levels(&snapshot.bids)?, self.levels(&snapshot.asks)?);
        let ticks = |level: &DepthLevel| self.scale.price(level.price).unwrap_or_default();
        let bid = standing(&snapshot.bids).into_iter().max_by_key(ticks);
        let ask = standing(&snapshot.asks).into_iter().min_by_key(ticks);
        if let Some((bid, ask)) = bid.zip(ask)
            && ticks(&bid) >= ticks(&ask)
        {
            return Err(Wrong::CrossedSnapshot { bid: bid.price, ask: ask.price }.into());
        }
        Ok(Snapshot { last: snapshot.last, partial: snapshot.partial, bids, asks })
    }
}
