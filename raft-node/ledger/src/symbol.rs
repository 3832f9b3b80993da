//! Symbols: defined once, revised while nothing of them is under way, and never removed.

use crate::{
    answer::Answer,
    apply::{Applying, Handled, invalid},
    bounds::{ENDED_SYMBOLS_MAX, SYMBOLS_MAX},
    closing::check_open,
    command::DefineSymbol,
    event::Event,
    refusal::Refusal,
    state::SymbolState,
};
use quorate_domain::{Asset, ExposureBasis, Instrument, Kind, Marks, Qty, Symbol};

impl Applying<'_> {
    pub(crate) fn define_symbol(&mut self, command: &DefineSymbol) -> Handled {
        let DefineSymbol { symbol, instrument } = command;
        instrument.check().map_err(|error| invalid(error.to_string()))?;
        if let ExposureBasis::WorstLoss { asset } = &self.tables.control.basis
            && instrument.quote != *asset
        {
            return Err(Refusal::OtherQuoteAsset { asset: asset.clone() });
        }
        if let Some(known) = self.tables.symbols.get(symbol) {
            if known.instrument == *instrument {
                return Ok(Answer::SymbolDefined { existed: true });
            }
            return Err(Refusal::SymbolExists { symbol: symbol.clone() });
        }
        if self.contract_in_use(instrument) {
            return Err(invalid("base of a binary symbol must be an asset of its own"));
        }
        let all = self.tables.symbols.len();
        let live = self.tables.symbols.values().filter(|state| state.closed.is_none()).count();
        if live >= SYMBOLS_MAX || all >= SYMBOLS_MAX + ENDED_SYMBOLS_MAX {
            return Err(Refusal::Full { what: "symbols".to_owned(), max: SYMBOLS_MAX as u64 });
        }
        self.tables.symbols.insert(symbol.clone(), SymbolState::new(instrument.clone()));
        self.events.push(Event::SymbolDefined { symbol: symbol.clone(), instrument: instrument.clone() });
        self.rebalance_due = true;
        Ok(Answer::SymbolDefined { existed: false })
    }

    /// Whether the contract of this or of another binary symbol would be an asset of two symbols.
    fn contract_in_use(&self, instrument: &Instrument) -> bool {
        let binary = |instrument: &Instrument| matches!(instrument.kind, Kind::Binary { .. });
        let names = |other: &Instrument, asset: &Asset| other.base == *asset || other.quote == *asset;
        self.tables.symbols.values().map(|state| &state.instrument).any(|known| {
            (binary(instrument) && names(known, &instrument.base)) || (binary(known) && names(instrument, &known.base))
        })
    }

    /// Whether an instrument may be a symbol's next revision.
    pub(crate) fn check_instrument_change(
        &self,
        symbol: &Symbol,
        next: &Instrument,
        revision: u64,
    ) -> Result<(), Refusal> {
        let state = self.symbol(symbol)?;
        next.check().map_err(|error| invalid(error.to_string()))?;
        let present = &state.instrument;
        let same = present.base == next.base && present.quote == next.quote && present.lot_size == next.lot_size;
        let same_kind = match (present.kind, next.kind) {
            (Kind::Spot, Kind::Spot) => true,
            (Kind::Binary { pays }, Kind::Binary { pays: next_pays }) => {
                let one = Qty(1);
                present.notional(pays, one) == next.notional(next_pays, one)
            }
            (Kind::Spot, Kind::Binary { .. }) | (Kind::Binary { .. }, Kind::Spot) => false,
        };
        if !same || !same_kind {
            return Err(invalid("base, quote, lot_size and kind of an instrument never change"));
        }
        if in_ticks_of(&state.marks, present, next).is_none() {
            return Err(invalid("tick_size must divide the marks of the symbol into half ticks"));
        }
        if revision != state.revision + 1 {
            return Err(Refusal::StaleRevision { revision: state.revision });
        }
        check_open(symbol, state)?;
        let open = self.indexes.open_orders_of_symbol(symbol);
        if state.quote.is_some() || !open.is_empty() || state.moving().is_some() {
            return Err(Refusal::SymbolBusy { symbol: symbol.clone() });
        }
        Ok(())
    }

    pub(crate) fn revise(&mut self, symbol: &Symbol, next: &Instrument) {
        self.change_symbol(symbol, |state| {
            if let Some(marks) = in_ticks_of(&state.marks, &state.instrument, next) {
                state.marks = marks;
                state.instrument = next.clone();
                state.revision += 1;
            }
        });
        self.forget_demands(symbol);
        self.equity_due.insert(next.quote.clone());
    }

    /// Whether somebody may deposit it: contracts come from trades only.
    pub(crate) fn check_deposited_asset(&self, asset: &Asset) -> Result<(), Refusal> {
        let traded = self.tables.symbols.values().any(|state| {
            let Instrument { base, quote, kind, .. } = &state.instrument;
            quote == asset || (*kind == Kind::Spot && base == asset)
        });
        if traded { Ok(()) } else { Err(Refusal::UnknownAsset { asset: asset.clone() }) }
    }
}

/// The marks in half ticks of another tick; `None` where one is no whole number of them.
fn in_ticks_of(marks: &Marks, present: &Instrument, next: &Instrument) -> Option<Marks> {
    let (from, to) = (present.tick_lot_units()?, next.tick_lot_units()?);
    marks.rescaled(from, to)
}
