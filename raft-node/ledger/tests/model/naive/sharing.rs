//! How the limit is shared: shares, room, what is granted, and which demands are remembered.

use quorate_domain::{Millis, Side, Sides, Symbol};
use quorate_ledger::{Turn, bounds::DEMAND_MEMORY_MS};

use super::Model;

/// A quote that asks, or that is to be kept: lots on each side.
#[derive(Debug)]
pub(super) struct Asking<'a> {
    pub(super) symbol: &'a Symbol,
    pub(super) lots: Sides<i64>,
}

impl Asking<'_> {
    fn asks(&self, symbol: &Symbol, side: Side) -> bool {
        self.symbol == symbol && *self.lots.of(side) > 0
    }
}

impl Model {
    fn others(&self, symbol: &Symbol) -> impl Iterator<Item = &Symbol> {
        self.symbols.keys().filter(move |other| *other != symbol)
    }

    /// The exposure of one lot at the price that was asked for last.
    pub(crate) fn lot(&self, symbol: &Symbol, side: Side) -> i128 {
        *self.symbols[symbol].lots.of(side)
    }

    pub(super) fn reserves(&self, symbol: &Symbol, side: Side) -> i128 {
        self.units(symbol, side).0
    }

    fn demand_remembered(&self, symbol: &Symbol, side: Side) -> bool {
        self.symbols[symbol].demands.of(side).is_some_and(|until| !self.passed(until))
    }

    fn active_leaves(&self, symbol: &Symbol, side: Side) -> bool {
        self.unexpired_quote(symbol).is_some() && self.leaves(symbol, side).0 > 0
    }

    pub(super) fn in_the_turns(&self, symbol: &Symbol) -> bool {
        self.symbols[symbol].turn.is_some()
    }

    pub(super) fn offered_or_running(&self, symbol: &Symbol) -> bool {
        matches!(self.symbols[symbol].turn, Some(Turn::Offered { .. } | Turn::Running { .. }))
    }

    fn waiting_or_offered(&self, symbol: &Symbol) -> bool {
        matches!(self.symbols[symbol].turn, Some(Turn::Waiting { .. } | Turn::Offered { .. }))
    }

    fn demands(&self, symbol: &Symbol, side: Side, asking: Option<&Asking<'_>>) -> bool {
        self.active_leaves(symbol, side)
            || self.demand_remembered(symbol, side)
            || (self.in_the_turns(symbol) && self.lot(symbol, side) > 0)
            || asking.is_some_and(|asking| asking.asks(symbol, side))
    }

    pub(super) fn share(&self, side: Side, asking: Option<&Asking<'_>>) -> i128 {
        let demanding = self.symbols.keys().filter(|name| self.demands(name, side, asking)).count();
        self.limit.0 / i128::try_from(demanding.max(1)).unwrap()
    }

    fn is_set_aside(&self, symbol: &Symbol) -> bool {
        let waiting = matches!(self.symbols[symbol].turn, Some(Turn::Waiting { .. }));
        self.offered_or_running(symbol) || (waiting && self.symbols[symbol].among_the_first)
    }

    fn holds_of(&self, symbol: &Symbol, side: Side) -> i128 {
        let lot = if self.is_set_aside(symbol) { self.lot(symbol, side) } else { 0 };
        lot.max(self.reserves(symbol, side))
    }

    pub(super) fn free(&self, symbol: &Symbol, side: Side) -> i128 {
        let held: i128 = self.others(symbol).map(|other| self.holds_of(other, side)).sum();
        (self.limit.0 - held).max(0)
    }

    /// Whether others wait on this side.
    pub(super) fn others_wait(&self, symbol: &Symbol, side: Side) -> bool {
        self.others(symbol).any(|other| {
            self.demand_remembered(other, side) || (self.waiting_or_offered(other) && self.lot(other, side) > 0)
        })
    }

    /// *R*: what the turns may use of a side.
    pub(super) fn left_for_turns(&self, side: Side, asking: Option<&Asking<'_>>) -> i128 {
        let share = self.share(side, asking);
        let sharing = self.symbols.keys().filter(|name| {
            self.demands(name, side, asking) && !self.in_the_turns(name) && self.lot(name, side) <= share
        });
        self.limit.0 - share * i128::try_from(sharing.count()).unwrap()
    }

    /// Whether the first that waits has a lot above *R*, so that others must give way below their shares.
    fn the_first_needs_more(&self, side: Side, asking: &Asking<'_>) -> bool {
        let first = self.waiting_in_order().into_iter().next();
        first.is_some_and(|first| self.lot(&first, side) > self.left_for_turns(side, Some(asking)))
    }

    /// Whether one lot is left by what all others reserve, or hold by being offered or running.
    fn one_lot_is_left(&self, symbol: &Symbol, side: Side) -> bool {
        let taken = self.others(symbol).map(|other| {
            let lot = if self.offered_or_running(other) { self.lot(other, side) } else { 0 };
            lot.max(self.reserves(other, side))
        });
        self.limit.0 - taken.sum::<i128>() >= self.lot(symbol, side)
    }

    fn room(&self, side: Side, asking: &Asking<'_>) -> i128 {
        let symbol = asking.symbol;
        let (free, share) = (self.free(symbol, side), self.share(side, Some(asking)));
        let reserves = self.reserves(symbol, side);
        let mut room = if self.others_wait(symbol, side) { free.min(share) } else { free };
        if !self.in_the_turns(symbol) && reserves <= share && !self.the_first_needs_more(side, asking) {
            room = room.max(reserves);
        }
        if self.offered_or_running(symbol) && self.one_lot_is_left(symbol, side) {
            room = room.max(self.lot(symbol, side));
        }
        room
    }

    /// Lots that may be had of a side.
    pub(super) fn granted(&self, side: Side, asking: &Asking<'_>) -> i64 {
        let asked = *asking.lots.of(side);
        if asked == 0 {
            return 0;
        }
        i64::try_from(i128::from(asked).min(self.room(side, asking) / self.lot(asking.symbol, side))).unwrap()
    }

    /// Remembers or forgets the demand of a side.
    pub(super) fn demand_to_remember(&self, side: Side, asking: &Asking<'_>, granted: i64) -> Option<Millis> {
        let asked = *asking.lots.of(side);
        let falls_short = asked > 0
            && granted < asked
            && i128::from(granted) < self.share(side, Some(asking)) / self.lot(asking.symbol, side);
        falls_short.then(|| Millis(self.log_time.0.saturating_add(DEMAND_MEMORY_MS)))
    }
}
