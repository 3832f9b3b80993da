//! How a symbol ends: settled, where it is an event contract, or closed.
//!
//! Invariant: it happens once, in one apply, and nothing of the symbol goes on after it: no authority, no quote, no open
//! order, and, where it was settled, no position and no contract.

use quorate_planted::{Bug, planted};

use crate::{
    answer::OrderStatus,
    apply::{Applying, invalid},
    event::{AuthorityEndReason, Event, Settlement},
    refusal::Refusal,
    state::{Closed, SymbolState},
};
use quorate_domain::{Kind, Money, Price, Qty, Side, Symbol};

impl Applying<'_> {
    pub(crate) fn check_settle(&self, symbol: &Symbol, price: Price) -> Result<(), Refusal> {
        let state = self.symbol(symbol)?;
        let Kind::Binary { pays } = state.instrument.kind else {
            return Err(invalid("only a binary symbol is settled: close_symbol ends a spot symbol"));
        };
        if price != Price::ZERO && price != pays {
            return Err(invalid(format!("price must be 0 or {pays} ticks")));
        }
        match &state.closed {
            Some(closed) if closed.settled != Some(price) => Err(closed_refusal(symbol, closed)),
            Some(_) | None => Ok(()),
        }
    }

    pub(crate) fn check_close(&self, symbol: &Symbol) -> Result<(), Refusal> {
        match self.symbol(symbol)?.instrument.kind {
            Kind::Spot => Ok(()),
            Kind::Binary { .. } => Err(invalid("a binary symbol is ended by settle")),
        }
    }

    /// Ends a symbol, once.
    pub(crate) fn close_symbol(&mut self, symbol: &Symbol, settled: Option<Price>) {
        let Some(state) = self.tables.symbols.get(symbol) else { return };
        if state.closed.is_some() && !planted(Bug::SettleTwice) {
            return;
        }
        let instrument = state.instrument.clone();
        self.end_authority(symbol, AuthorityEndReason::SymbolClosed);
        for id in self.indexes.open_orders_of_symbol(symbol) {
            self.close_order(id, OrderStatus::Cancelled);
        }
        let mut settlement = None;
        if let Some(price) = settled {
            self.change_symbol(symbol, |state| settlement = Some(settle_position(state, price)));
            self.settle_contracts(&instrument, price);
        }
        let at = self.log_time();
        self.change_symbol(symbol, |state| state.closed = Some(Closed { at, settled }));
        self.events.push(Event::SymbolClosed { symbol: symbol.clone(), settled: settlement });
        self.equity_due.insert(instrument.quote);
        self.rebalance_due = true;
    }
}

/// Closes the house's position at a price, without a fee.
fn settle_position(state: &mut SymbolState, price: Price) -> Settlement {
    let (position, before) = (state.pnl.position, state.pnl.cash);
    let qty = Qty(position.0.saturating_abs());
    if qty == Qty::ZERO {
        return Settlement { price, position, cash: Money::ZERO, position_seq: state.position_seq };
    }
    let side = if position.0 > 0 { Side::Sell } else { Side::Buy };
    let notional = state.instrument.notional(price, qty).unwrap_or_default();
    if let Some(pnl) = state.pnl.fill(side, qty, notional, Money::ZERO) {
        state.pnl = pnl;
        match side {
            Side::Buy => state.bought.0 = state.bought.0.saturating_add(qty.0),
            Side::Sell => state.sold.0 = state.sold.0.saturating_add(qty.0),
        }
        state.position_seq += 1;
    }
    let cash = Money(state.pnl.cash.0.saturating_sub(before.0));
    Settlement { price, position, cash, position_seq: state.position_seq }
}

/// Refuses what is of a symbol that has ended.
pub(crate) fn check_open(symbol: &Symbol, state: &SymbolState) -> Result<(), Refusal> {
    state.closed.as_ref().map_or(Ok(()), |closed| Err(closed_refusal(symbol, closed)))
}

fn closed_refusal(symbol: &Symbol, closed: &Closed) -> Refusal {
    Refusal::SymbolClosed { symbol: symbol.clone(), settled: closed.settled }
}
