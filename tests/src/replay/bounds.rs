//! What bounds quotes beside exposure, as the events say: the listing, the parameters that makers committed, the ranges of
//! instruments, and the protection of single symbols.

use std::collections::{BTreeMap, BTreeSet};

use quorate_domain::{MakerName, Protection, QuoteSide, Symbol};
use quorate_ledger::{ControlChange, Digest, Event, FilledMaker, Frame, QuotePlaced};

use super::Replay;

/// See the module.
#[derive(Default)]
pub(super) struct Bounds {
    /// The symbols that the exchange has a price source for; none before it ever said so.
    listing: Option<BTreeSet<Symbol>>,
    /// The digest that each maker committed last for a symbol.
    parameters: BTreeMap<(MakerName, Symbol), Digest>,
    pub(super) guards: BTreeMap<Symbol, Guard>,
    /// Lots that this frame took from quotes.
    taken: BTreeMap<Symbol, i64>,
    /// Protections that the frame says to have tripped, and until when they pause.
    told: BTreeMap<Symbol, u64>,
}

/// The protection of one symbol.
#[derive(Clone, Copy)]
pub(super) struct Guard {
    pub(super) rules: Protection,
    opened: Option<u64>,
    lots: i64,
    paused_until: Option<u64>,
}

impl Guard {
    fn new(rules: Protection) -> Self {
        Self { rules, opened: None, lots: 0, paused_until: None }
    }

    /// When the window ends that is open at `time`, and the lots counted in it.
    pub(super) fn window(&self, time: u64) -> Option<(u64, i64)> {
        let until = self.opened? + self.rules.window_ms;
        (time < until).then_some((until, self.lots))
    }

    /// Until when it pauses its symbol, where it does so at `time`.
    pub(super) fn paused(&self, time: u64) -> Option<u64> {
        self.paused_until.filter(|until| time < *until)
    }

    /// Counts what one order took; until when it pauses, where that trips it.
    fn count(&mut self, lots: i64, time: u64) -> Option<u64> {
        let (opened, before) = match self.window(time) {
            Some((until, lots)) => (until - self.rules.window_ms, lots),
            None => (time, 0),
        };
        (self.opened, self.lots) = (Some(opened), before + lots);
        if self.lots < self.rules.lots_max.0 {
            return None;
        }
        (self.opened, self.lots, self.paused_until) = (None, 0, Some(time + self.rules.pause_ms));
        self.paused_until
    }
}

impl Bounds {
    fn is_listed(&self, symbol: &Symbol) -> bool {
        self.listing.as_ref().is_none_or(|listing| listing.contains(symbol))
    }
}

impl Replay {
    pub(super) fn bounds_event(&mut self, frame: &Frame, event: &Event) {
        match event {
            Event::ListingChanged { symbols } => self.bounds.listing = Some(symbols.iter().cloned().collect()),
            Event::ParametersCommitted { maker, symbol, digest, text, .. } => {
                self.bounds.parameters.insert((maker.clone(), symbol.clone()), *digest);
                if digest.0 != *blake3::hash(text.as_bytes()).as_bytes() {
                    self.wrong(
                        frame,
                        &format!("{symbol}: the parameters of {maker} have another digest than {digest}"),
                    );
                }
            }
            Event::MakerDeparted { maker, .. } => self.bounds.parameters.retain(|(of, _), _| of != maker),
            Event::ControlChanged { change: ControlChange::Protection { symbol, protection }, .. } => {
                match protection {
                    Some(rules) => drop(self.bounds.guards.insert(symbol.clone(), Guard::new(*rules))),
                    None => drop(self.bounds.guards.remove(symbol)),
                }
            }
            Event::QuotePlaced(placed) => {
                self.quote_allowed(frame, &placed.symbol, &placed.maker, &placed.basis.parameters);
                self.in_range(frame, placed);
            }
            Event::QuoteKept { symbol, basis, .. } => {
                // That somebody holds it is checked elsewhere.
                let holder = self.books.get(symbol).and_then(|book| book.holder.clone());
                if let Some((maker, _)) = holder {
                    self.quote_allowed(frame, symbol, &maker, &basis.parameters);
                }
            }
            Event::FillCommitted(fill) if matches!(fill.maker, FilledMaker::Quote { .. }) => {
                *self.bounds.taken.entry(fill.symbol.clone()).or_default() += fill.qty.0;
            }
            Event::ProtectionTripped { symbol, until } => drop(self.bounds.told.insert(symbol.clone(), until.0)),
            _ => {}
        }
    }

    /// A quote that is placed or kept names the parameters that its maker committed last, and nothing pauses its symbol.
    fn quote_allowed(&mut self, frame: &Frame, symbol: &Symbol, maker: &MakerName, parameters: &Digest) {
        let time = frame.log_time.0;
        let mut wrong = Vec::new();
        let committed = self.bounds.parameters.get(&(maker.clone(), symbol.clone()));
        let known = committed.map_or(!self.whole, |committed| committed == parameters);
        if !known {
            wrong.push(format!("{symbol}: {maker} quotes by parameters {parameters}, and committed {committed:?}"));
        }
        if let Some(until) = self.bounds.guards.get(symbol).and_then(|guard| guard.paused(time)) {
            wrong.push(format!("{symbol}: quoted at {time}, and its protection pauses it until {until}"));
        }
        wrong.iter().for_each(|what| self.wrong(frame, what));
    }

    fn in_range(&mut self, frame: &Frame, placed: &QuotePlaced) {
        let Some(traded) = self.money.symbols.get(&placed.symbol) else { return };
        let (min, max) = (traded.instrument.min_price, traded.instrument.max_price);
        let outside = |side: &Option<QuoteSide>| side.is_some_and(|side| side.price < min || side.price > max);
        if outside(&placed.bid) || outside(&placed.ask) {
            self.wrong(frame, &format!("{}: quoted out of {min} to {max} ticks", placed.symbol));
        }
    }

    /// At the end of a frame: whoever holds a symbol may do so, and protections tripped where they had to.
    pub(super) fn bounds_hold(&mut self, frame: &Frame) {
        let mut wrong = Vec::new();
        for (symbol, book) in &self.books {
            if book.holder.is_some() && (!self.bounds.is_listed(symbol) || self.money.is_closed(symbol)) {
                wrong.push(format!("{symbol} is held, and it is not listed or has ended"));
            }
            if book.quote.is_some() && self.bounds.told.contains_key(symbol) {
                wrong.push(format!("{symbol} is quoted, and its protection has tripped"));
            }
        }
        let mut expected = BTreeMap::new();
        for (symbol, lots) in std::mem::take(&mut self.bounds.taken) {
            let Some(guard) = self.bounds.guards.get_mut(&symbol) else { continue };
            if let Some(until) = guard.count(lots, frame.log_time.0) {
                expected.insert(symbol, until);
            }
        }
        let mut told = std::mem::take(&mut self.bounds.told);
        if !self.whole {
            // What was decided before the first frame is not known.
            told.retain(|symbol, _| self.bounds.guards.contains_key(symbol));
        }
        if told != expected {
            wrong.push(format!("protections trip until {told:?}, and had to: {expected:?}"));
        }
        wrong.iter().for_each(|what| self.wrong(frame, what));
    }
}
