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
use quorate_domain::{EXPOSURE_PER_LOT_MAX, SymbolSpec};

impl Applying<'_> {
    pub(crate) fn define_symbol(&mut self, command: &DefineSymbol) -> Handled {
        let DefineSymbol { symbol, spec } = command;
        check_spec(spec)?;
        if let Some(known) = self.tables.symbols.get(symbol) {
            if known.spec == *spec {
                return Ok(Answer::SymbolDefined { existed: true });
            }
            return Err(Refusal::SymbolExists { symbol: symbol.clone() });
        }
        if self.tables.symbols.len() >= SYMBOLS_MAX {
            return Err(Refusal::Full { what: "symbols".to_owned(), max: SYMBOLS_MAX as u64 });
        }
        self.tables.symbols.insert(symbol.clone(), SymbolState::new(*spec));
        self.events.push(Event::SymbolDefined { symbol: symbol.clone(), spec: *spec });
        self.rebalance_due = true;
        Ok(Answer::SymbolDefined { existed: false })
    }
}

/// A decimal has at most `DECIMALS_MAX` digits after the point by its type.
fn check_spec(spec: &SymbolSpec) -> Result<(), Refusal> {
    if !spec.tick_size.is_positive() {
        return Err(invalid("tick_size must be above 0"));
    }
    if !spec.lot_size.is_positive() {
        return Err(invalid("lot_size must be above 0"));
    }
    if !(1..=EXPOSURE_PER_LOT_MAX).contains(&spec.exposure_per_lot) {
        return Err(invalid(format!("exposure_per_lot must lie in 1..={EXPOSURE_PER_LOT_MAX}")));
    }
    Ok(())
}
