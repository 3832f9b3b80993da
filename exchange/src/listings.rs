//! What is traded here, as the ledger defines it, and at what reference price.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex},
    time::Duration,
};

use quorate_ledger::{Decimal, Event, Price, Symbol, SymbolSpec};
use quorate_seams::Clocks;

use crate::{desk::locked, reference::References};

/// Symbols with their specs, and reference prices since the start.
pub struct Listings {
    specs: Mutex<BTreeMap<Symbol, SymbolSpec>>,
    references: Mutex<References>,
    clocks: Arc<dyn Clocks>,
    started: Duration,
}

impl fmt::Debug for Listings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(locked(&self.specs).keys()).finish()
    }
}

impl Listings {
    /// None yet; the time of reference prices starts now.
    #[must_use]
    pub fn new(references: References, clocks: Arc<dyn Clocks>) -> Self {
        let started = clocks.monotonic();
        Self { specs: Mutex::default(), references: Mutex::new(references), clocks, started }
    }

    /// Takes what the ledger says. A symbol once defined stays as it is, so nothing is ever taken away.
    pub fn learn(&self, rows: impl IntoIterator<Item = (Symbol, SymbolSpec)>) {
        locked(&self.specs).extend(rows);
    }

    /// Takes the definitions among these events.
    pub fn learn_from(&self, events: &[Event]) {
        let defined = |event: &Event| match event {
            Event::SymbolDefined { symbol, spec } => Some((symbol.clone(), *spec)),
            _ => None,
        };
        if events.iter().any(|event| defined(event).is_some()) {
            self.learn(events.iter().filter_map(defined));
        }
    }

    /// A symbol's spec.
    #[must_use]
    pub fn spec(&self, symbol: &Symbol) -> Option<SymbolSpec> {
        locked(&self.specs).get(symbol).copied()
    }

    /// All symbols and their specs.
    #[must_use]
    pub fn all(&self) -> BTreeMap<Symbol, SymbolSpec> {
        locked(&self.specs).clone()
    }

    /// The reference price of a symbol in ticks, with the number of its last change.
    #[must_use]
    pub fn reference(&self, symbol: &Symbol, tick_size: Decimal) -> Option<(Price, u64)> {
        let elapsed = self.clocks.monotonic().saturating_sub(self.started);
        locked(&self.references).price(symbol, tick_size, elapsed)
    }

    /// Sets an external reference price; `false` where the symbol's is not external.
    #[must_use]
    pub fn set_reference(&self, symbol: &Symbol, price: Decimal) -> bool {
        locked(&self.references).set(symbol, price)
    }
}
