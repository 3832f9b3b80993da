//! The book of one symbol by price levels (L2), kept by update ids.
//!
//! A book is synchronised, or it waits for a snapshot. While it waits it shows no price: deltas are kept, and follow on the
//! snapshot once it comes. A gap ends a book until the next snapshot. Deltas that a snapshot holds already are dropped.
//!
//! Invariants: a level of a synchronised book is above 0 in price and quantity; its sides hold no more levels, and what waits
//! no more of them, than [`Bounds`] says; nothing panics, whatever comes.

use std::collections::VecDeque;

use quorate_domain::{Price, Qty, RefPrice, Side};
use serde::{Deserialize, Serialize};

use crate::{
    event::{Delta, Level, MarketEvent, Snapshot},
    ladder::Ladder,
    sequence::{Follows, Gap, follows},
};

pub use crate::ladder::Levels;

/// How much a book keeps at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Levels of a side, at least 1. Beyond them those farthest from the best are dropped. Default 10,000.
    pub levels: usize,
    /// Levels of the deltas that wait for a snapshot, both sides together. Beyond them the oldest deltas are dropped.
    /// Default 100,000.
    pub waiting_levels: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { levels: 10_000, waiting_levels: 100_000 }
    }
}

/// Whether a book can be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It waits for its first snapshot, or was ended by whoever keeps it.
    Waiting,
    /// Changes are missing: it waits for the next snapshot.
    Broken(Gap),
    /// It is as the venue's was at this update id.
    Synced {
        /// The last update id that is in it.
        at: u64,
        /// Whether only a few best levels are known, from a stream of these.
        partial: bool,
    },
}

/// What became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a gap ends the book: whoever quotes from it must hear of it"]
pub enum Applied {
    /// The book has changed, or stands confirmed at a later update id.
    Changed,
    /// The book is a snapshot and what waited for it.
    Synced {
        /// How many deltas that waited followed on it.
        followed: u64,
    },
    /// The book has all of it, or knows better: nothing changed.
    Old,
    /// It is kept until a snapshot comes.
    Waits,
    /// Changes are missing: the book is ended until the next snapshot.
    Gap(Gap),
    /// The snapshot is too old for the deltas that wait, and another one must be asked for: nothing changed.
    SnapshotTooOld(Gap),
    /// The snapshot's best bid is not below its best ask: it is not believed, and nothing changed.
    CrossedSnapshot,
    /// It does not concern the book.
    NotOfTheBook,
}

/// The book of one symbol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct L2Book {
    bounds: Bounds,
    state: State,
    /// Whether the next delta is the first after a snapshot.
    first: bool,
    /// Whether deltas have come since the beginning: then partial snapshots do not count.
    by_deltas: bool,
    bids: Ladder,
    asks: Ladder,
    waiting: VecDeque<Delta>,
    waiting_levels: usize,
    dropped_levels: u64,
}

impl Default for L2Book {
    fn default() -> Self {
        Self::new(Bounds::default())
    }
}

impl L2Book {
    /// A book that waits for its first snapshot.
    #[must_use]
    pub fn new(bounds: Bounds) -> Self {
        Self {
            bounds: Bounds { levels: bounds.levels.max(1), ..bounds },
            state: State::Waiting,
            first: false,
            by_deltas: false,
            bids: Ladder::new(Side::Buy),
            asks: Ladder::new(Side::Sell),
            waiting: VecDeque::new(),
            waiting_levels: 0,
            dropped_levels: 0,
        }
    }

    /// Takes an event in.
    ///
    /// A snapshot replaces the book unless the book is later than it. Partial snapshots count only until the first delta
    /// comes: no delta follows on them, and the book then waits for a whole one.
    ///
    /// Where a venue's numbers begin anew, whoever keeps the book calls [`L2Book::end`]: else it is later than all that comes.
    pub fn apply(&mut self, event: &MarketEvent) -> Applied {
        match event {
            MarketEvent::Snapshot(snapshot) => self.snapshot(snapshot),
            MarketEvent::Delta(delta) => self.delta(delta),
            MarketEvent::Top(_) | MarketEvent::Trade(_) | MarketEvent::Reference(_) | MarketEvent::Settled(_) => {
                Applied::NotOfTheBook
            }
        }
    }

    /// Ends the book until the next snapshot, and forgets what waited: its source was lost, or begins anew.
    pub fn end(&mut self) {
        self.stop(State::Waiting);
        self.waiting.clear();
        self.waiting_levels = 0;
        self.by_deltas = false;
    }

    /// Whether it can be believed.
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// Whether it is as the venue's was at some update id.
    #[must_use]
    pub fn is_synced(&self) -> bool {
        matches!(self.state, State::Synced { .. })
    }

    /// The last update id that is in it; `None` while it waits.
    #[must_use]
    pub fn update_id(&self) -> Option<u64> {
        if let State::Synced { at, .. } = self.state { Some(at) } else { None }
    }

    /// The best level of a side: the bid for [`Side::Buy`]. `None` where nothing stands there, or while it waits.
    #[must_use]
    pub fn best(&self, side: Side) -> Option<Level> {
        self.ladder(side).best()
    }

    /// The levels of a side, the best first; none while it waits.
    #[must_use]
    pub fn levels(&self, side: Side) -> Levels<'_> {
        self.ladder(side).iter()
    }

    /// How many lots stand at a price of a side.
    #[must_use]
    pub fn qty_at(&self, side: Side, price: Price) -> Qty {
        self.ladder(side).at(price)
    }

    /// How many lots stand in the best `levels` levels of a side. The sum does not saturate: it has 128 bits.
    #[must_use]
    pub fn depth(&self, side: Side, levels: usize) -> i128 {
        self.levels(side).take(levels).map(|level| i128::from(level.qty.0)).sum()
    }

    /// How many lots stand at `price` or better on a side.
    #[must_use]
    pub fn depth_to(&self, side: Side, price: Price) -> i128 {
        let within = |level: &Level| match side {
            Side::Buy => level.price >= price,
            Side::Sell => level.price <= price,
        };
        self.levels(side).take_while(within).map(|level| i128::from(level.qty.0)).sum()
    }

    /// Whether the best bid is at or above the best ask. No venue's book is: a message was lost without a trace, or two
    /// books were mixed. Such a book has no middle.
    #[must_use]
    pub fn is_crossed(&self) -> bool {
        self.bids.best().zip(self.asks.best()).is_some_and(|(bid, ask)| bid.price >= ask.price)
    }

    /// The middle of the best bid and ask, in half ticks and exact; `None` where a side is empty, or the book is crossed.
    #[must_use]
    pub fn mid(&self) -> Option<RefPrice> {
        let (bid, ask) = self.bids.best().zip(self.asks.best())?;
        let mid = RefPrice(bid.price.checked_add(ask.price)?.0);
        (bid.price < ask.price && mid.is_valid()).then_some(mid)
    }

    /// The best ask less the best bid, in ticks; `None` as of [`L2Book::mid`].
    #[must_use]
    pub fn spread(&self) -> Option<i64> {
        let (bid, ask) = self.bids.best().zip(self.asks.best())?;
        ask.price.checked_sub(bid.price).map(|spread| spread.0).filter(|spread| *spread > 0)
    }

    /// How many levels were dropped since the last snapshot because a side had too many. Depth beyond the levels that are
    /// left is then not whole.
    #[must_use]
    pub fn dropped_levels(&self) -> u64 {
        self.dropped_levels
    }

    /// How many deltas wait for a snapshot.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    fn ladder(&self, side: Side) -> &Ladder {
        match side {
            Side::Buy => &self.bids,
            Side::Sell => &self.asks,
        }
    }

    fn snapshot(&mut self, snapshot: &Snapshot) -> Applied {
        let later = self.update_id().is_some_and(|at| at > snapshot.last);
        if later || (snapshot.partial && self.by_deltas) {
            return Applied::Old;
        }
        let stands = |level: &&Level| level.qty > Qty::ZERO && level.price > Price::ZERO;
        let best_bid = snapshot.bids.iter().filter(stands).map(|level| level.price).max();
        let best_ask = snapshot.asks.iter().filter(stands).map(|level| level.price).min();
        if best_bid.zip(best_ask).is_some_and(|(bid, ask)| bid >= ask) {
            return Applied::CrossedSnapshot;
        }
        if snapshot.partial {
            self.begin(snapshot);
            return Applied::Synced { followed: 0 };
        }
        self.waiting.retain(|delta| follows(delta, snapshot.last, true) != Follows::Old);
        if let Some(next) = self.waiting.front()
            && let Follows::Not(gap) = follows(next, snapshot.last, true)
        {
            self.count_waiting();
            return Applied::SnapshotTooOld(gap);
        }
        self.begin(snapshot);
        let mut followed = 0;
        while let Some(delta) = self.waiting.pop_front() {
            match self.follow(&delta) {
                Applied::Gap(gap) => {
                    self.waiting.push_front(delta);
                    self.count_waiting();
                    return Applied::Gap(gap);
                }
                Applied::Changed => followed += 1,
                _ => {}
            }
        }
        self.count_waiting();
        Applied::Synced { followed }
    }

    fn begin(&mut self, snapshot: &Snapshot) {
        self.stop(State::Synced { at: snapshot.last, partial: snapshot.partial });
        self.first = true;
        self.dropped_levels = 0;
        self.set(&snapshot.bids, &snapshot.asks);
    }

    fn delta(&mut self, delta: &Delta) -> Applied {
        if !std::mem::replace(&mut self.by_deltas, true) && matches!(self.state, State::Synced { partial: true, .. }) {
            self.stop(State::Waiting);
        }
        let applied = self.follow(delta);
        if matches!(applied, Applied::Gap(_) | Applied::Waits) {
            self.wait(delta);
        }
        applied
    }

    /// Applies a delta to a synchronised book, or ends the book.
    fn follow(&mut self, delta: &Delta) -> Applied {
        let State::Synced { at, partial } = self.state else { return Applied::Waits };
        match follows(delta, at, self.first) {
            Follows::Old => Applied::Old,
            Follows::Next => {
                self.state = State::Synced { at: delta.last, partial };
                self.first = false;
                self.set(&delta.bids, &delta.asks);
                Applied::Changed
            }
            Follows::Not(gap) => {
                self.stop(State::Broken(gap));
                Applied::Gap(gap)
            }
        }
    }

    fn set(&mut self, bids: &[Level], asks: &[Level]) {
        for (ladder, levels) in [(&mut self.bids, bids), (&mut self.asks, asks)] {
            // A level that cannot be is not taken in.
            levels.iter().filter(|level| level.price > Price::ZERO).for_each(|level| ladder.set(*level));
            self.dropped_levels = self.dropped_levels.saturating_add(ladder.cut(self.bounds.levels));
        }
    }

    fn stop(&mut self, state: State) {
        self.state = state;
        self.bids.clear();
        self.asks.clear();
    }

    fn wait(&mut self, delta: &Delta) {
        // Numbers that begin anew: what waited belongs to the old ones.
        if self.waiting.back().is_some_and(|newest| delta.last < newest.first) {
            self.waiting.clear();
            self.waiting_levels = 0;
        }
        self.waiting_levels += weight(delta);
        self.waiting.push_back(delta.clone());
        while self.waiting_levels > self.bounds.waiting_levels {
            let Some(oldest) = self.waiting.pop_front() else { break };
            self.waiting_levels -= weight(&oldest);
        }
    }

    fn count_waiting(&mut self) {
        self.waiting_levels = self.waiting.iter().map(weight).sum();
    }
}

/// What a delta that waits counts: its levels, and itself.
fn weight(delta: &Delta) -> usize {
    delta.bids.len() + delta.asks.len() + 1
}
