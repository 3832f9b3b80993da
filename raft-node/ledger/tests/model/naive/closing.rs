//! How a symbol ends.

use quorate_domain::{Money, Position, Price, Symbol};
use quorate_ledger::{AuthorityEndReason, Event, Refusal, Settlement};

use super::{Model, Posting, instruments::pays, invalid};

impl Model {
    pub(super) fn not_closed(&self, symbol: &Symbol) -> Result<(), Refusal> {
        match self.symbols[symbol].closed {
            Some(settled) => Err(Refusal::SymbolClosed { symbol: symbol.clone(), settled }),
            None => Ok(()),
        }
    }

    pub(super) fn may_settle(&self, symbol: &Symbol, price: Price) -> Result<(), Refusal> {
        let state = self.known(symbol)?;
        let pays = pays(&state.instrument);
        if pays.is_none() || (price != Price(0) && Some(price) != pays) {
            return Err(invalid());
        }
        if state.closed == Some(Some(price)) { Ok(()) } else { self.not_closed(symbol) }
    }

    pub(super) fn may_close(&self, symbol: &Symbol) -> Result<(), Refusal> {
        let is_contract = pays(&self.known(symbol)?.instrument).is_some();
        if is_contract { Err(invalid()) } else { Ok(()) }
    }

    /// Ends a symbol; where it has ended so already, nothing changes.
    pub(super) fn close(&mut self, symbol: &Symbol, settled: Option<Price>, events: &mut Vec<Event>) {
        if self.symbols[symbol].closed.is_some() {
            return;
        }
        self.end_authority_of(symbol, AuthorityEndReason::SymbolClosed, events);
        let open = self.orders.iter().filter(|order| order.new.symbol == *symbol && self.is_open(order));
        let open = open.map(|order| order.id).collect();
        self.cancel_all(open, events);
        let before = self.profit(symbol);
        if let Some(price) = settled {
            let instrument = self.symbols[symbol].instrument.clone();
            self.book.push(Posting::Settled { symbol: symbol.clone(), instrument, price });
        }
        let told = settled.map(|price| Settlement {
            price,
            position: Position(i64::try_from(before.position).unwrap()),
            cash: Money(self.profit(symbol).cash - before.cash),
            position_seq: self.position_seq(symbol),
        });
        self.symbols.get_mut(symbol).unwrap().closed = Some(settled);
        events.push(Event::SymbolClosed { symbol: symbol.clone(), settled: told });
        self.evaluate(events);
    }
}
