//! The protection of a symbol: too many lots of its quotes filled in too short a time.

use quorate_domain::{Millis, Protection, Symbol};
use quorate_ledger::{Event, QuoteEndReason};

use super::{Model, SymbolState};

const LOTS_MAX: i64 = 1_000_000_000_000;
const HOUR_MS: u64 = 3_600_000;

pub(super) fn in_range(protection: &Protection) -> bool {
    let Protection { lots_max, window_ms, pause_ms } = protection;
    (1..=LOTS_MAX).contains(&lots_max.0) && (1..=HOUR_MS).contains(window_ms) && (1..=HOUR_MS).contains(pause_ms)
}

impl SymbolState {
    /// The lots in the window that the last of the fills counted is in.
    fn lots_in_the_window(&self, window_ms: u64) -> i64 {
        let (mut began, mut lots) = (None, 0);
        for (at, filled) in &self.counted_fills {
            let is_over = began.is_none_or(|began: Millis| *at >= Millis(began.0.saturating_add(window_ms)));
            if is_over {
                (began, lots) = (Some(*at), 0);
            }
            lots += filled;
        }
        lots
    }

    pub(super) fn protect(&mut self, protection: Option<Protection>) {
        (self.protection, self.paused_until) = (protection, None);
        self.counted_fills.clear();
    }
}

impl Model {
    /// Counts what an order filled of the symbol's quotes.
    pub(super) fn count_fills(&mut self, symbol: &Symbol, lots: i64, events: &mut Vec<Event>) {
        let log_time = self.log_time;
        let state = self.symbols.get_mut(symbol).unwrap();
        let Some(protection) = state.protection else { return };
        if lots == 0 {
            return;
        }
        state.counted_fills.push((log_time, lots));
        if state.lots_in_the_window(protection.window_ms) < protection.lots_max.0 {
            return;
        }
        state.counted_fills.clear();
        let until = Millis(log_time.0.saturating_add(protection.pause_ms));
        state.paused_until = Some(until);
        events.push(Event::ProtectionTripped { symbol: symbol.clone(), until });
        self.end_quote(symbol, QuoteEndReason::Protection, events);
        self.forget_demands(symbol, events);
    }
}
