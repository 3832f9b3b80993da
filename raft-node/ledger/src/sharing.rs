//! What a quote may reserve: the facts that the shares are worked out from, and whose demand is remembered. The arithmetic
//! is in `quorate_domain::sharing`; who waits, and whose turn it is, in `turns`.
//!
//! Invariant: the sum reserved on each side never passes the limit. Reserving, releasing and shrinking
//! are changes of a quote; the sums follow in `Indexes`.

use crate::{
    apply::Applying,
    state::{Demand, SymbolState},
};
use quorate_domain::{
    Exposure, Millis, Qty, Side, Sides, Symbol,
    sharing::{Room, for_turns, share},
};

/// What is asked for on one side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Ask {
    /// Lots; 0 where nothing is asked for.
    pub(crate) lots: Qty,
    /// The exposure of one lot at the price asked; 0 where nothing is asked for.
    pub(crate) lot: Exposure,
}

/// What may be granted to one side of a quote.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Grant {
    /// Lots, of those asked for, that there is room for.
    pub(crate) granted: Qty,
    /// Exposure that all other symbols leave free.
    pub(crate) free: Exposure,
    /// Less than asked and less than a fair share: others are to leave room for it.
    pub(crate) falls_short: bool,
}

impl Applying<'_> {
    pub(crate) fn grants(&self, symbol: &Symbol, state: &SymbolState, asked: Sides<Ask>) -> Sides<Grant> {
        Sides::from_fn(|side| self.grant_side(symbol, state, side, *asked.of(side)))
    }

    fn grant_side(&self, symbol: &Symbol, state: &SymbolState, side: Side, ask: Ask) -> Grant {
        let asks = ask.lots > Qty::ZERO;
        let others_wait = *self.indexes.waiting.of(side) > usize::from(state.demand.waits(side));
        let mut room = Room {
            limit: self.tables.control.limit,
            held_by_others: Exposure(self.indexes.held.of(side).0 - state.held(side).0),
            taken_by_others: Exposure(self.indexes.taken.of(side).0 - state.taken(side).0),
            demanding: self.demanding(side, Some((symbol, state))),
            others_wait,
            reserved: *state.reserved().of(side),
            lot: ask.lot,
            has_turn: state.demand.has_turn(),
            may_hold: state.demand.turn.is_none(),
        };
        if !asks {
            return Grant { granted: Qty::ZERO, free: room.free(), falls_short: false };
        }
        if room.may_hold && others_wait && room.reserved > Exposure::ZERO {
            room.may_hold = self.first_fits(side, room.share(), symbol);
        }
        let granted = room.granted(ask.lots);
        Grant { granted, free: room.free(), falls_short: granted < ask.lots && granted < room.fair_lots() }
    }

    /// How many symbols demand this side; with the one that asks, whether it did before or not.
    pub(crate) fn demanding(&self, side: Side, asking: Option<(&Symbol, &SymbolState)>) -> usize {
        // A quote past its deadline demands nothing, though its exposure counts until it is swept.
        let now = self.log_time();
        let due = self.indexes.quotes_due.iter().take_while(|(deadline, _)| *deadline <= now);
        let due = due.filter(|(_, other)| asking.is_none_or(|(symbol, _)| symbol != other));
        let dead = due.filter_map(|(_, other)| self.tables.symbols.get(other));
        let dead = dead.filter(|other| other.demands(side) && !other.demands_at(side, now)).count();
        let counted = asking.is_some_and(|(_, state)| state.demands(side));
        *self.indexes.demanding.of(side) - usize::from(counted) - dead + usize::from(asking.is_some())
    }

    /// Whether the lot of the first that waits fits into what is for turns.
    fn first_fits(&self, side: Side, share: Exposure, asking: &Symbol) -> bool {
        let first = self.indexes.queue.get_min().and_then(|(_, symbol)| self.tables.symbols.get(symbol));
        first.is_none_or(|first| *first.demand.lot.of(side) <= self.for_turns(side, share, Some(asking)))
    }

    /// What is for turns on a side: the limit less the fair shares of those that are not in the turns.
    fn for_turns(&self, side: Side, share: Exposure, asking: Option<&Symbol>) -> Exposure {
        let now = self.log_time();
        let fair = self.tables.symbols.iter().filter(|(symbol, state)| {
            let demands = state.demands_at(side, now) || asking == Some(*symbol);
            demands && state.demand.turn.is_none() && *state.demand.lot.of(side) <= share
        });
        for_turns(self.tables.control.limit, share, fair.count())
    }

    /// As it stands between two commands: the fair share of a side, and what is for turns.
    pub(crate) fn share_and_turns(&self, side: Side) -> (Exposure, Exposure) {
        let share = share(self.tables.control.limit, self.demanding(side, None));
        (share, self.for_turns(side, share, None))
    }
}

impl SymbolState {
    /// Whether it demands a side, while its quote lives.
    pub(crate) fn demands(&self, side: Side) -> bool {
        self.demand.demands(side, *self.reserved().of(side))
    }

    /// Whether it demands a side at log time `now`.
    fn demands_at(&self, side: Side, now: Millis) -> bool {
        let lives = self.quote.as_ref().is_some_and(|quote| quote.is_active(now));
        lives && *self.reserved().of(side) > Exposure::ZERO || self.demand.asks(side)
    }

    /// What it holds of a side: reserved by its quote, or set aside for it where that is more.
    pub(crate) fn held(&self, side: Side) -> Exposure {
        self.demand.held(side, *self.reserved().of(side))
    }

    /// What it has taken of a side: reserved by its quote, or its turn's where that is more.
    pub(crate) fn taken(&self, side: Side) -> Exposure {
        self.demand.taken(side, *self.reserved().of(side))
    }
}

/// With what the quote reserves of the side.
impl Demand {
    pub(crate) fn demands(&self, side: Side, reserved: Exposure) -> bool {
        reserved > Exposure::ZERO || self.asks(side)
    }

    pub(crate) fn held(&self, side: Side, reserved: Exposure) -> Exposure {
        reserved.max(self.own_lot(side))
    }

    pub(crate) fn taken(&self, side: Side, reserved: Exposure) -> Exposure {
        let turn = if self.has_turn() { *self.lot.of(side) } else { Exposure::ZERO };
        reserved.max(turn)
    }
}
