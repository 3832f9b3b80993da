//! Where the prices are, as the exchange has them, and for which symbols it has any.

use quorate_domain::{Instrument, Millis, RefPrice, Symbol};
use quorate_ledger::{
    Answer, AuthorityEndReason, Event, MarkTaken, PublishMarks, Refusal, SetListing, SymbolMark,
    bounds::{MARK_AGE_MAX_MS, MARK_BAND_PPM, ORDER_TIMESTAMP_AHEAD_MS, SYMBOLS_MAX},
};

use super::{
    Done, Mark, Model, SymbolState, accepted,
    instruments::{in_other_ticks, pays, worth_in_range},
    invalid,
};

impl Mark {
    /// The same price in the half ticks of another revision; `None` where it is no whole number of them.
    pub(super) fn in_ticks_of(&self, old: &Instrument, new: &Instrument) -> Option<Self> {
        let price = RefPrice(in_other_ticks(self.price.0, old.tick_size, new.tick_size)?);
        Some(Self { price, ..*self })
    }

    fn within_the_band_of(&self, other: &Self, of: &Instrument) -> bool {
        let apart = i128::from((self.price.0 - other.price.0).abs());
        let share_of = pays(of).map_or(other.price.0, |pays| 2 * pays.0);
        apart <= 2 || apart * 1_000_000 <= i128::from(MARK_BAND_PPM) * i128::from(share_of)
    }
}

impl SymbolState {
    fn counts(&self, mark: &Mark) -> bool {
        let near = self.mark.as_ref().is_none_or(|counting| mark.within_the_band_of(counting, &self.instrument));
        let confirms = self.waiting_mark.as_ref().is_some_and(|waiting| {
            mark.within_the_band_of(waiting, &self.instrument)
                && mark.time.0 >= waiting.time.0.saturating_add(quorate_domain::MARK_WAIT_MS)
        });
        near || confirms
    }

    /// Takes a mark; whether it counts.
    fn take_mark(&mut self, mark: Mark) -> bool {
        self.last_mark_time = Some(mark.time);
        if self.counts(&mark) {
            (self.mark, self.waiting_mark) = (Some(mark), None);
            return true;
        }
        if self.waiting_mark.as_ref().is_none_or(|waiting| !mark.within_the_band_of(waiting, &self.instrument)) {
            self.waiting_mark = Some(mark);
        }
        false
    }
}

/// In the order of symbols, each once.
fn in_order<'a>(symbols: impl Iterator<Item = &'a Symbol>) -> bool {
    let symbols: Vec<&Symbol> = symbols.collect();
    symbols.windows(2).all(|two| two[0] < two[1])
}

impl Model {
    pub(super) fn publish_marks(&mut self, publish: &PublishMarks, events: &mut Vec<Event>) -> Result<Done, Refusal> {
        self.present_exchange(publish.exchange_epoch)?;
        let count = publish.marks.len();
        if count == 0 || count > SYMBOLS_MAX || !in_order(publish.marks.iter().map(|mark| &mark.symbol)) {
            return Err(invalid());
        }
        let mut marks = Vec::new();
        for SymbolMark { symbol, price, time, .. } in
            publish.marks.iter().filter(|mark| !self.is_ignored(mark)).cloned().collect::<Vec<_>>()
        {
            let counts = self.symbols.get_mut(&symbol).unwrap().take_mark(Mark { price, time });
            marks.push(MarkTaken { symbol, price, time, counts });
        }
        let number = |count: usize| u32::try_from(count).unwrap();
        let counted = marks.iter().filter(|mark| mark.counts).count();
        let answer = Answer::MarksPublished {
            counted: number(counted),
            waiting: number(marks.len() - counted),
            ignored: number(count - marks.len()),
        };
        if !marks.is_empty() {
            events.push(Event::MarksPublished { marks });
        }
        self.evaluate(events);
        Ok(accepted(answer))
    }

    fn is_ignored(&self, mark: &SymbolMark) -> bool {
        let Some(state) = self.symbols.get(&mark.symbol) else { return true };
        let Instrument { min_price, max_price, .. } = state.instrument;
        state.closed.is_some()
            || mark.revision != state.revision
            || mark.price.0 < 2 * min_price.0
            || mark.price.0 > 2 * max_price.0
            || mark.time.0 > self.log_time.0.saturating_add(ORDER_TIMESTAMP_AHEAD_MS)
            || state.last_mark_time.is_some_and(|last| mark.time < last)
            || !worth_in_range(&state.instrument, mark.price.0, self.profit(&mark.symbol).position)
    }

    /// Whether a mark is so old that equity is unmarked.
    pub(super) fn too_old(&self, mark: &Mark) -> bool {
        self.passed(Millis(mark.time.0.saturating_add(MARK_AGE_MAX_MS)))
    }

    pub(super) fn set_listing(&mut self, set: &SetListing, events: &mut Vec<Event>) -> Result<Done, Refusal> {
        self.present_exchange(set.exchange_epoch)?;
        if !in_order(set.symbols.iter()) {
            return Err(invalid());
        }
        for symbol in &set.symbols {
            self.known(symbol)?;
        }
        let listing = Some(set.symbols.iter().cloned().collect());
        if self.listing == listing {
            return Ok(accepted(Answer::ListingSet));
        }
        self.listing = listing;
        events.push(Event::ListingChanged { symbols: set.symbols.clone() });
        for symbol in self.symbol_names() {
            if !set.symbols.contains(&symbol) {
                self.end_authority_of(&symbol, AuthorityEndReason::Unlisted, events);
            }
        }
        Ok(accepted(Answer::ListingSet))
    }

    /// Whether somebody may hold it.
    pub(super) fn is_traded(&self, symbol: &Symbol) -> bool {
        let listed = self.listing.as_ref().is_none_or(|listing| listing.contains(symbol));
        listed && self.symbols[symbol].closed.is_none()
    }
}
