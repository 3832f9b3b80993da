//! What is traded here, as the ledger defines it, and at what reference price.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex},
};

use quorate_domain::{Decimal, Millis, Symbol, SymbolSpec};
use quorate_ledger::Event;
use quorate_seams::Clocks;

use crate::{
    lock::locked,
    reference::{FeedStats, Now, Reference, References, Set, Unset},
};

/// Assets that a symbol's name may end in.
const QUOTE_ASSETS: [&str; 8] = ["USDT", "USDC", "FDUSD", "BUSD", "BTC", "ETH", "EUR", "USD"];

/// What a symbol trades, and what it is paid in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assets {
    /// What is traded.
    pub base: String,
    /// What it is paid in; empty where that is not known.
    pub quote: String,
}

/// The assets of a symbol. The ledger's definition of a symbol does not have them, so that the name must tell: this is the one
/// place where they are taken from it.
#[must_use]
pub fn assets(symbol: &Symbol) -> Assets {
    let name = symbol.as_str();
    let quote = QUOTE_ASSETS.iter().find(|quote| name.len() > quote.len() && name.ends_with(**quote));
    let (base, quote) = quote.map_or((name, ""), |quote| (&name[..name.len() - quote.len()], *quote));
    Assets { base: base.to_owned(), quote: quote.to_owned() }
}

/// Symbols with their specs, and reference prices. Where both are locked, the prices are locked first.
pub struct Listings {
    specs: Mutex<BTreeMap<Symbol, SymbolSpec>>,
    references: Mutex<References>,
    clocks: Arc<dyn Clocks>,
}

impl fmt::Debug for Listings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(locked(&self.specs).keys()).finish()
    }
}

impl Listings {
    /// None yet; the time of reference prices starts now.
    #[must_use]
    pub fn new(mut references: References, clocks: Arc<dyn Clocks>) -> Self {
        references.begin(clocks.monotonic());
        Self { specs: Mutex::default(), references: Mutex::new(references), clocks }
    }

    /// Takes what the ledger says. A symbol once defined stays as it is, so nothing is ever taken away.
    pub fn learn(&self, rows: impl IntoIterator<Item = (Symbol, SymbolSpec)>) {
        let references = locked(&self.references);
        let mut specs = locked(&self.specs);
        for (symbol, spec) in rows {
            let unpriced = !references.has(&symbol);
            if specs.insert(symbol.clone(), spec).is_none() && unpriced {
                tracing::warn!(
                    %symbol,
                    "no reference price for a symbol that is defined: makers hold it and never quote it; start the \
                     exchange with a --reference for it (static, walk, capture or external)"
                );
            }
        }
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

    /// The reference price of a symbol, at this estimate of log time.
    #[must_use]
    pub fn reference(&self, symbol: &Symbol, tick_size: Decimal, log_time: Millis) -> Option<Reference> {
        let now = Now { log_time, clock: self.clocks.monotonic() };
        locked(&self.references).price(symbol, tick_size, now)
    }

    /// Whether a symbol has a source of a reference price.
    #[must_use]
    pub fn has_reference(&self, symbol: &Symbol) -> bool {
        locked(&self.references).has(symbol)
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

    /// The symbols that are defined and have no source of a reference price: no maker quotes them.
    #[must_use]
    pub fn without_reference(&self) -> Vec<Symbol> {
        let references = locked(&self.references);
        locked(&self.specs).keys().filter(|symbol| !references.has(symbol)).cloned().collect()
    }
}
