//! Who waits for one lot, and whose turn it is. `docs/ledger.md`, *Sharing*, gives the rules.
//!
//! Invariant: a symbol is in the turns only while somebody holds it, and those that wait are offered their lots in the order
//! of their tickets. A lot that is set aside is granted to no other symbol.

use quorate_planted::{Bug, planted};

use crate::{
    apply::Applying,
    bounds::{OFFER_MS, TURN_MS},
    event::{Event, QuoteEndReason, Turn},
    sharing::{Ask, Grant},
    state::Demand,
};
use quorate_domain::{Exposure, Millis, Qty, Side, Sides, Symbol};

impl Applying<'_> {
    /// What a quote that asked for exposure means for its symbol's place in the turns.
    pub(crate) fn take_turn(&mut self, symbol: &Symbol, asked: Sides<Ask>, grants: Sides<Grant>, placed: bool) {
        let limit = self.tables.control.limit;
        let asks = |side: Side| asked.of(side).lots > Qty::ZERO;
        let turn = self.tables.symbols.get(symbol).and_then(|state| state.demand.turn);
        if Side::BOTH.into_iter().any(|side| asks(side) && asked.of(side).lot > limit) {
            self.set_turn(symbol, None);
        } else if Side::BOTH.into_iter().any(|side| asks(side) && grants.of(side).granted == Qty::ZERO) {
            if turn.is_none() {
                self.set_turn(symbol, Some(Turn::Waiting { since: self.index }));
            }
        } else if placed && matches!(turn, Some(Turn::Offered { .. })) {
            self.set_turn(symbol, Some(Turn::Running { until: self.log_time().plus(TURN_MS) }));
        } else if placed && matches!(turn, Some(Turn::Waiting { .. })) {
            // A turn that was not offered would keep those that wait longer from theirs.
            self.set_turn(symbol, None);
        }
    }

    fn set_turn(&mut self, symbol: &Symbol, turn: Option<Turn>) {
        let before = self.tables.symbols.get(symbol).and_then(|state| state.demand.turn);
        if before != turn {
            self.put_turn(symbol, turn);
        }
    }

    fn put_turn(&mut self, symbol: &Symbol, turn: Option<Turn>) {
        self.change_symbol(symbol, |state| {
            state.demand.turn = turn;
            state.demand.set_aside = false;
        });
        self.events.push(Event::TurnChanged { symbol: symbol.clone(), turn });
    }

    /// What a symbol's maker asked for is no longer wanted.
    pub(crate) fn forget_demands(&mut self, symbol: &Symbol) {
        self.set_turn(symbol, None);
        self.change_symbol(symbol, |state| state.demand = Demand::default());
    }

    /// The limit fell: those that it cannot serve any more do not wait.
    pub(crate) fn drop_too_heavy(&mut self) {
        let limit = self.tables.control.limit;
        let heavy = |demand: &Demand| Side::BOTH.into_iter().any(|side| *demand.lot.of(side) > limit);
        for symbol in self.symbols_where(|state| state.demand.turn.is_some() && heavy(&state.demand)) {
            self.set_turn(&symbol, None);
        }
    }

    /// The time of an offer or a turn has come.
    pub(crate) fn end_turn(&mut self, symbol: &Symbol) {
        let back = Some(Turn::Waiting { since: self.index });
        let Some(state) = self.tables.symbols.get(symbol) else { return };
        if !matches!(state.demand.turn, Some(Turn::Running { .. })) {
            return self.set_turn(symbol, back);
        }
        let lot = state.demand.lot;
        let others_wait =
            Side::BOTH.into_iter().any(|side| *self.indexes.waiting.of(side) > usize::from(state.demand.waits(side)));
        let heavy = Side::BOTH.into_iter().any(|side| *lot.of(side) > self.share_and_turns(side).0);
        if others_wait && heavy {
            self.end_quote(symbol, QuoteEndReason::TurnEnded);
            self.set_turn(symbol, back);
        } else {
            self.set_turn(symbol, None);
        }
    }

    /// A new leader: makers could not be heard while there was none. Each offer is told anew, even where it lasts no longer.
    pub(crate) fn renew_offers(&mut self) {
        let until = self.log_time().plus(OFFER_MS);
        for symbol in self.symbols_where(|state| matches!(state.demand.turn, Some(Turn::Offered { .. }))) {
            self.put_turn(&symbol, Some(Turn::Offered { until }));
        }
    }

    /// Sets lots aside for the first that wait, and offers those that are free.
    pub(crate) fn advance_turns(&mut self) {
        if self.indexes.queue.is_empty() {
            return;
        }
        let first = self.set_lots_aside();
        let limit = self.tables.control.limit;
        let mut taken = self.indexes.taken;
        for symbol in first {
            let Some(state) = self.tables.symbols.get(&symbol) else { continue };
            let adds =
                Sides::from_fn(|side| state.demand.lot.of(side).0.saturating_sub(state.reserved().of(side).0).max(0));
            for side in Side::BOTH {
                let taken = taken.of_mut(side);
                *taken = Exposure(taken.0.saturating_add(*adds.of(side)));
            }
            if Side::BOTH.into_iter().all(|side| *adds.of(side) == 0 || *taken.of(side) <= limit) {
                self.set_turn(&symbol, Some(Turn::Offered { until: self.log_time().plus(OFFER_MS) }));
            }
        }
    }

    /// Sets lots aside for as many of the first that wait as there is room for, and for no others; those, in order.
    fn set_lots_aside(&mut self) -> Vec<Symbol> {
        let waiting = self.indexes.queue.iter().map(|(_, symbol)| symbol);
        let lot = |symbol: &Symbol| self.tables.symbols.get(symbol).map_or(Sides::default(), |state| state.demand.lot);
        let first = self.indexes.queue.get_min().map_or(Sides::default(), |(_, symbol)| lot(symbol));
        let room = Sides::from_fn(|side| self.share_and_turns(side).1.max(*first.of(side)));
        let mut lots: Sides<Exposure> = Sides::default();
        let mut fits = |symbol: &Symbol| {
            let lot = lot(symbol);
            lots = Sides::from_fn(|side| Exposure(lots.of(side).0.saturating_add(lot.of(side).0)));
            Side::BOTH.into_iter().all(|side| *lot.of(side) == Exposure::ZERO || lots.of(side) <= room.of(side))
        };
        for (_, symbol) in &self.indexes.turns_due {
            fits(symbol);
        }
        let skip = usize::from(planted(Bug::TurnSkipped));
        let chosen: Vec<Symbol> = waiting.skip(skip).take_while(|symbol| fits(symbol)).cloned().collect();
        let dropped: Vec<Symbol> =
            self.indexes.set_aside.iter().filter(|symbol| !chosen.contains(symbol)).cloned().collect();
        for symbol in dropped {
            self.change_symbol(&symbol, |state| state.demand.set_aside = false);
        }
        for symbol in &chosen {
            self.change_symbol(symbol, |state| state.demand.set_aside = true);
        }
        chosen
    }
}

/// When an offer or a turn ends.
pub(crate) fn turn_ends(turn: Option<Turn>) -> Option<Millis> {
    match turn {
        Some(Turn::Offered { until } | Turn::Running { until }) => Some(until),
        Some(Turn::Waiting { .. }) | None => None,
    }
}
