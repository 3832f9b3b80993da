//! Symbols: defined once, never changed, never removed.

use crate::{
    answer::Answer,
    apply::{Applying, Handled, invalid},
    bounds::SYMBOLS_MAX,
    command::DefineSymbol,
    event::Event,
    refusal::Refusal,
    state::SymbolState,
};

impl Applying<'_> {
    pub(crate) fn define_symbol(&mut self, command: &DefineSymbol) -> Handled {
        let DefineSymbol { symbol, instrument } = command;
        instrument.check().map_err(|error| invalid(error.to_string()))?;
        if let Some(known) = self.tables.symbols.get(symbol) {
            if known.instrument == *instrument {
                return Ok(Answer::SymbolDefined { existed: true });
            }
            return Err(Refusal::SymbolExists { symbol: symbol.clone() });
        }
        if self.tables.symbols.len() >= SYMBOLS_MAX {
            return Err(Refusal::Full { what: "symbols".to_owned(), max: SYMBOLS_MAX as u64 });
        }
        self.tables.symbols.insert(symbol.clone(), SymbolState::new(instrument.clone()));
        self.events.push(Event::SymbolDefined { symbol: symbol.clone(), instrument: instrument.clone() });
        self.rebalance_due = true;
        Ok(Answer::SymbolDefined { existed: false })
    }
}
