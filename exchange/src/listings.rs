//! What is traded here, as the ledger defines it, and at what reference price.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex},
};

use quorate_domain::{Decimal, Instrument, Millis, Symbol};
use quorate_ledger::{ControlChange, Event};
use quorate_seams::Clocks;

use crate::{
    desk::locked,
    reference::{FeedStats, Now, Reference, References, Set, Unset},
};

/// Symbols with what they trade, and reference prices. Where both are locked, the prices are locked first.
pub struct Listings {
    /// With the revision.
    instruments: Mutex<BTreeMap<Symbol, (Instrument, u64)>>,
    references: Mutex<References>,
    clocks: Arc<dyn Clocks>,
}

impl fmt::Debug for Listings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(locked(&self.instruments).keys()).finish()
    }
}

impl Listings {
    /// None yet; the time of reference prices starts now.
    #[must_use]
    pub fn new(mut references: References, clocks: Arc<dyn Clocks>) -> Self {
        references.begin(clocks.monotonic());
        Self { instruments: Mutex::default(), references: Mutex::new(references), clocks }
    }

    /// Takes what the ledger says: the newest revision of each.
    pub fn learn(&self, rows: impl IntoIterator<Item = (Symbol, Instrument, u64)>) {
        let references = locked(&self.references);
        let mut instruments = locked(&self.instruments);
        for (symbol, instrument, revision) in rows {
            let known = instruments.get(&symbol).map(|(_, revision)| *revision);
            if known.is_none() && !references.has(&symbol) {
                tracing::warn!(
                    %symbol,
                    "no reference price for a symbol that is defined: it is not listed, and no maker is granted it; start the \
                     exchange with a --reference for it (static, walk, capture, external or own)"
                );
            }
            if known.is_none_or(|known| known < revision) {
                instruments.insert(symbol, (instrument, revision));
            }
        }
    }

    /// Takes the definitions among these events.
    pub fn learn_from(&self, events: &[Event]) {
        let defined = |event: &Event| match event {
            Event::SymbolDefined { symbol, instrument } => Some((symbol.clone(), instrument.clone(), 1)),
            Event::ControlChanged { change: ControlChange::Instrument { symbol, instrument, revision }, .. } => {
                Some((symbol.clone(), instrument.clone(), *revision))
            }
            _ => None,
        };
        if events.iter().any(|event| defined(event).is_some()) {
            self.learn(events.iter().filter_map(defined));
        }
    }

    /// What a symbol trades.
    #[must_use]
    pub fn instrument(&self, symbol: &Symbol) -> Option<Instrument> {
        locked(&self.instruments).get(symbol).map(|(instrument, _)| instrument.clone())
    }

    /// All symbols and their instruments.
    #[must_use]
    pub fn all(&self) -> BTreeMap<Symbol, Instrument> {
        let instruments = locked(&self.instruments);
        instruments.iter().map(|(symbol, (instrument, _))| (symbol.clone(), instrument.clone())).collect()
    }

    /// The same, with the revisions of the instruments.
    #[must_use]
    pub fn revisions(&self) -> BTreeMap<Symbol, (Instrument, u64)> {
        locked(&self.instruments).clone()
    }

    /// The reference price of a symbol, at this estimate of log time.
    #[must_use]
    pub fn reference(&self, symbol: &Symbol, tick_size: Decimal, log_time: Millis) -> Option<Reference> {
        let now = Now { log_time, clock: self.clocks.monotonic() };
        locked(&self.references).price(symbol, tick_size, now)
    }

    /// Takes a reference price from outside.
    ///
    /// # Errors
    /// Where the symbol's source is not external, or the price is not believed.
    pub fn set_reference(&self, symbol: &Symbol, tick_size: Decimal, new: &Set) -> Result<(), Unset> {
        locked(&self.references).set(symbol, new, tick_size, self.clocks.monotonic())
    }

    /// The counters of each source, with its symbol and its kind.
    #[must_use]
    pub fn reference_stats(&self) -> Vec<(Symbol, &'static str, FeedStats)> {
        let references = locked(&self.references);
        references.stats().map(|(symbol, kind, stats)| (symbol.clone(), kind, stats)).collect()
    }

    /// The symbols that are defined and have a source of a reference price, in order.
    #[must_use]
    pub fn with_reference(&self) -> Vec<Symbol> {
        let references = locked(&self.references);
        locked(&self.instruments).keys().filter(|symbol| references.has(symbol)).cloned().collect()
    }

    /// Whether a symbol's price is the middle of the exchange's own book.
    #[must_use]
    pub fn is_own(&self, symbol: &Symbol) -> bool {
        locked(&self.references).is_own(symbol)
    }

    /// The symbols that are defined and have no source of a reference price: no maker quotes them.
    #[must_use]
    pub fn without_reference(&self) -> Vec<Symbol> {
        let references = locked(&self.references);
        locked(&self.instruments).keys().filter(|symbol| !references.has(symbol)).cloned().collect()
    }
}
