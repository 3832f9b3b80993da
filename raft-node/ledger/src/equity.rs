//! Equity by quote asset, the breaker on its drawdown, and the protection of single symbols.
//!
//! Invariant: what trips ends the quotes that it concerns in the same apply. The high-water mark never rises on equity that is
//! unmarked.

use std::mem;

use quorate_planted::{Bug, planted};

use crate::{
    apply::Applying,
    event::{Event, QuoteEndReason},
    refusal::Refusal,
    state::SymbolState,
};
use quorate_domain::{Asset, Millis, Money, Qty, Symbol};

impl Applying<'_> {
    /// Evaluates the equity of every asset that the command may have changed.
    pub(crate) fn evaluate_equity(&mut self) {
        for asset in mem::take(&mut self.equity_due) {
            let equity = self.equity(&asset);
            let counted = self.unmarked_since(&asset).is_none() || planted(Bug::HighWaterFromUncountedMark);
            let drawdown = self.tables.drawdowns.get(&asset).cloned().unwrap_or_default();
            let (new, trips) = drawdown.evaluate(equity, counted);
            let high_water = new.high_water;
            if new != drawdown {
                self.tables.drawdowns.insert(asset.clone(), new);
            }
            if trips {
                self.events.push(Event::BreakerTripped { asset: asset.clone(), equity, high_water });
                for symbol in self.symbols_where(|state| state.instrument.quote == asset) {
                    self.end_quote(&symbol, QuoteEndReason::Breaker);
                    self.forget_demands(&symbol);
                }
            }
        }
    }

    pub(crate) fn equity(&self, asset: &Asset) -> Money {
        self.indexes.equity.get(asset).copied().unwrap_or_default()
    }

    /// Since when a position in the asset has had no fresh mark; `None` where all have.
    pub(crate) fn unmarked_since(&self, asset: &Asset) -> Option<Millis> {
        self.indexes.first_unmarked_from(asset).filter(|since| *since <= self.log_time())
    }

    /// Whether neither the breaker of its quote asset nor its own protection keeps a symbol from being quoted.
    pub(crate) fn check_breaker(&self, state: &SymbolState) -> Result<(), Refusal> {
        let asset = &state.instrument.quote;
        if self.tables.drawdowns.get(asset).is_some_and(|drawdown| drawdown.tripped) {
            return Err(Refusal::BreakerTripped { asset: asset.clone() });
        }
        match state.guard.paused_until {
            Some(until) if until > self.log_time() => Err(Refusal::Paused { until }),
            Some(_) | None => Ok(()),
        }
    }

    pub(crate) fn check_known_quote_asset(&self, asset: &Asset) -> Result<(), Refusal> {
        let known = self.tables.symbols.values().any(|state| state.instrument.quote == *asset);
        if known { Ok(()) } else { Err(Refusal::UnknownAsset { asset: asset.clone() }) }
    }

    pub(crate) fn check_tripped(&self, asset: &Asset) -> Result<(), Refusal> {
        let tripped = self.tables.drawdowns.get(asset).is_some_and(|drawdown| drawdown.tripped);
        if tripped { Ok(()) } else { Err(Refusal::NotTripped { asset: asset.clone() }) }
    }

    pub(crate) fn limit_drawdown(&mut self, asset: &Asset, limit: Option<Money>) {
        self.tables.drawdowns.entry(asset.clone()).or_default().limit = limit;
        self.equity_due.insert(asset.clone());
    }

    pub(crate) fn rearm(&mut self, asset: &Asset) {
        let equity = self.equity(asset);
        let armed = self.tables.drawdowns.get(asset).copied().unwrap_or_default().rearm(equity);
        self.tables.drawdowns.insert(asset.clone(), armed);
    }

    /// Counts what an order took from the symbol's quote.
    pub(crate) fn protect(&mut self, symbol: &Symbol, lots: Qty) {
        let now = self.log_time();
        let Some(state) = self.tables.symbols.get(symbol) else { return };
        let Some(protection) = state.protection.filter(|_| lots > Qty::ZERO) else { return };
        let (guard, trips) = state.guard.on_fill(&protection, now, lots);
        let until = guard.paused_until.unwrap_or(now);
        self.change_symbol(symbol, |state| state.guard = guard);
        if trips {
            self.events.push(Event::ProtectionTripped { symbol: symbol.clone(), until });
            self.end_quote(symbol, QuoteEndReason::Protection);
            self.forget_demands(symbol);
        }
    }
}
