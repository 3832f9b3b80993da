//! What is traded here, as the ledger defines it, and at what reference price.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex},
};

use quorate_api::SymbolView;
use quorate_domain::{Decimal, Instrument, Millis, Symbol};
use quorate_ledger::{ControlChange, Event, Frame};
use quorate_seams::Clocks;

use crate::{
    lock::locked,
    reference::{FeedStats, Now, Reference, References, Set, Unset},
};

/// Symbols with what they trade, and reference prices. Where both are locked, the prices are locked first.
pub struct Listings {
    symbols: Mutex<BTreeMap<Symbol, Listed>>,
    references: Mutex<References>,
    clocks: Arc<dyn Clocks>,
}

/// The revision with which a symbol is defined.
const FIRST_REVISION: u64 = 1;

/// A symbol as the ledger has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// What is traded.
    pub instrument: Instrument,
    /// Which revision of that.
    pub revision: u64,
    /// The log index from which on this revision stands; `None` where that is not known.
    pub since: Option<u64>,
    /// Whether the symbol has ended: nothing is traded in it any more.
    pub closed: bool,
}

impl From<&SymbolView> for Listed {
    fn from(row: &SymbolView) -> Self {
        let since = (row.revision == FIRST_REVISION).then_some(0);
        Self { instrument: row.instrument.clone(), revision: row.revision, since, closed: row.closed.is_some() }
    }
}

impl fmt::Debug for Listings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(locked(&self.symbols).keys()).finish()
    }
}

impl Listings {
    /// None yet; the time of reference prices starts now.
    #[must_use]
    pub fn new(mut references: References, clocks: Arc<dyn Clocks>) -> Self {
        references.begin(clocks.monotonic());
        Self { symbols: Mutex::default(), references: Mutex::new(references), clocks }
    }

    /// Takes what the ledger says: the newest revision of each symbol, and whether it has ended, which is for good.
    pub fn learn(&self, rows: &[SymbolView]) {
        for row in rows {
            self.learn_one(&row.symbol, row.into());
        }
    }

    /// Takes the definitions and the revisions in a frame, and the ends of symbols.
    pub fn learn_from(&self, frame: &Frame) {
        for event in &frame.events {
            match event {
                Event::SymbolDefined { symbol, instrument } => {
                    let (instrument, revision, since) = (instrument.clone(), FIRST_REVISION, Some(0));
                    self.learn_one(symbol, Listed { instrument, revision, since, closed: false });
                }
                Event::ControlChanged {
                    change: ControlChange::Instrument { symbol, instrument, revision }, ..
                } => {
                    let (instrument, revision, since) = (instrument.clone(), *revision, Some(frame.index));
                    self.learn_one(symbol, Listed { instrument, revision, since, closed: false });
                }
                Event::SymbolClosed { symbol, .. } => {
                    if let Some(known) = locked(&self.symbols).get_mut(symbol) {
                        known.closed = true;
                    }
                }
                _ => {}
            }
        }
    }

    fn learn_one(&self, symbol: &Symbol, new: Listed) {
        let references = locked(&self.references);
        let mut symbols = locked(&self.symbols);
        let Some(known) = symbols.get_mut(symbol) else {
            if !new.closed && !references.has(symbol) {
                tracing::warn!(
                    %symbol,
                    "no reference price for a symbol that is defined: it is not listed, and no maker is granted it; start the \
                     exchange with a --reference for it (static, walk, capture, external or own)"
                );
            }
            symbols.insert(symbol.clone(), new);
            return;
        };
        known.closed |= new.closed;
        if known.revision < new.revision {
            (known.instrument, known.revision, known.since) = (new.instrument, new.revision, new.since);
        } else if known.revision == new.revision {
            known.since = known.since.or(new.since);
        }
    }

    /// A symbol, as the ledger has it.
    #[must_use]
    pub fn get(&self, symbol: &Symbol) -> Option<Listed> {
        locked(&self.symbols).get(symbol).cloned()
    }

    /// What a symbol trades.
    #[must_use]
    pub fn instrument(&self, symbol: &Symbol) -> Option<Instrument> {
        locked(&self.symbols).get(symbol).map(|listed| listed.instrument.clone())
    }

    /// All symbols, as the ledger has them.
    #[must_use]
    pub fn all(&self) -> BTreeMap<Symbol, Listed> {
        locked(&self.symbols).clone()
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

    /// The symbols that are traded and have a source of a reference price, in order.
    #[must_use]
    pub fn with_reference(&self) -> Vec<Symbol> {
        self.traded(true)
    }

    /// The symbols that are traded and have no source of a reference price: no maker quotes them.
    #[must_use]
    pub fn without_reference(&self) -> Vec<Symbol> {
        self.traded(false)
    }

    fn traded(&self, with_reference: bool) -> Vec<Symbol> {
        let references = locked(&self.references);
        let symbols = locked(&self.symbols);
        let traded = symbols.iter().filter(|(_, listed)| !listed.closed).map(|(symbol, _)| symbol);
        traded.filter(|symbol| references.has(symbol) == with_reference).cloned().collect()
    }

    /// Whether a symbol's price is the middle of the exchange's own book.
    #[must_use]
    pub fn is_own(&self, symbol: &Symbol) -> bool {
        locked(&self.references).is_own(symbol)
    }
}
