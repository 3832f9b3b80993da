//! Fair shares of the exposure limit: what a quote may reserve, and whose demand is remembered.
//!
//! Invariant: the sum reserved on each side never passes the limit. Reserving, releasing and shrinking
//! are changes of a quote; the sums follow in `Indexes`.

use crate::{
    apply::Applying,
    state::{Sides, SymbolState},
};
use quorate_domain::{Exposure, Qty, Side, Symbol};

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
    pub(crate) fn grants(&self, symbol: &Symbol, state: &SymbolState, asked: Sides<Qty>) -> Sides<Grant> {
        let grant = |side| self.grant_side(symbol, state, side, *asked.of(side));
        Sides { bid: grant(Side::Buy), ask: grant(Side::Sell) }
    }

    fn grant_side(&self, symbol: &Symbol, state: &SymbolState, side: Side, asked: Qty) -> Grant {
        let limit = self.tables.control.limit;
        let others = self.indexes.reserved.of(side).0 - state.reserved().of(side).0;
        let free = Exposure((limit.0 - others).max(0));
        if asked == Qty::ZERO {
            return Grant { granted: Qty::ZERO, free, falls_short: false };
        }
        let share = limit.0 / self.demanding(symbol, state, side);
        let room = if self.others_wait(state, side) { free.0.min(share) } else { free.0 };
        let per_lot = i128::from(state.instrument.exposure_per_lot);
        let granted = Qty(i64::try_from(room / per_lot).map_or(asked.0, |lots| asked.0.min(lots)));
        Grant { granted, free, falls_short: granted < asked && i128::from(granted.0) < share / per_lot }
    }

    /// How many symbols demand this side, with this one.
    fn demanding(&self, symbol: &Symbol, state: &SymbolState, side: Side) -> i128 {
        let counted = state.reserved().of(side).0 > 0 || state.demand_until.of(side).is_some();
        // A quote past its deadline demands nothing, though its exposure counts until it is swept.
        let now = self.log_time();
        let due = self.indexes.quotes_due.iter().take_while(|(deadline, _)| *deadline <= now);
        let dead = due.filter(|(_, other)| other != symbol).filter_map(|(_, other)| self.tables.symbols.get(other));
        let dead = dead.filter(|other| other.reserved().of(side).0 > 0 && other.demand_until.of(side).is_none());
        let others = *self.indexes.demanding.of(side) - usize::from(counted) - dead.count();
        i128::try_from(others + 1).unwrap_or(i128::MAX)
    }

    fn others_wait(&self, state: &SymbolState, side: Side) -> bool {
        *self.indexes.waiting.of(side) > usize::from(state.demand_until.of(side).is_some())
    }
}
