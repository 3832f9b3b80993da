//! Marks and the listing: what the exchange says of prices. A quote's own reference is evidence, and no mark.
//!
//! Invariant: only the registered exchange says either, and a mark that leaps counts only once a later one has confirmed it.

use imbl::OrdSet;

use crate::{
    answer::Answer,
    apply::{Applying, Handled, invalid},
    bounds::{MARK_BAND_PPM, ORDER_TIMESTAMP_AHEAD_MS, POSITION_VALUE_MAX, SYMBOLS_MAX},
    command::{PublishMarks, SetListing, SymbolMark},
    event::{AuthorityEndReason, Event, MarkTaken},
    refusal::Refusal,
    state::SymbolState,
};
use quorate_domain::{Mark, MarkOutcome, RefPrice, Symbol};

impl Applying<'_> {
    pub(crate) fn publish_marks(&mut self, command: &PublishMarks) -> Handled {
        self.check_exchange(command.exchange_epoch)?;
        let marks = &command.marks;
        if marks.is_empty() || marks.len() > SYMBOLS_MAX || !marks.is_sorted_by(|one, next| one.symbol < next.symbol) {
            return Err(invalid(format!("marks must be 1..={SYMBOLS_MAX}, in the order of symbols, each once")));
        }
        let taken: Vec<MarkTaken> = marks.iter().filter_map(|mark| self.take_mark(mark)).collect();
        let count =
            |counts: bool| u32::try_from(taken.iter().filter(|mark| mark.counts == counts).count()).unwrap_or(u32::MAX);
        let (counted, waiting) = (count(true), count(false));
        let ignored = u32::try_from(marks.len() - taken.len()).unwrap_or(u32::MAX);
        if !taken.is_empty() {
            self.events.push(Event::MarksPublished { marks: taken });
        }
        Ok(Answer::MarksPublished { counted, waiting, ignored })
    }

    fn take_mark(&mut self, mark: &SymbolMark) -> Option<MarkTaken> {
        let state = self.tables.symbols.get(&mark.symbol)?;
        let fits = state.closed.is_none()
            && state.revision == mark.revision
            && accepts(state, mark.price)
            && value_in_range(state, mark.price)
            && mark.time <= self.log_time().plus(ORDER_TIMESTAMP_AHEAD_MS);
        if !fits {
            return None;
        }
        let SymbolMark { price, time, .. } = *mark;
        let (marks, published) =
            state.marks.publish(Mark { price, at: time }, state.instrument.mark_band(MARK_BAND_PPM));
        let counts = match published {
            MarkOutcome::Counted => true,
            MarkOutcome::Waiting => false,
            MarkOutcome::Ignored => return None,
        };
        let symbol = self.symbol_name(&mark.symbol);
        self.equity_due.insert(state.instrument.quote.clone());
        self.change_symbol(&symbol, |state| state.marks = marks);
        Some(MarkTaken { symbol, price, time, counts })
    }

    pub(crate) fn set_listing(&mut self, command: &SetListing) -> Handled {
        self.check_exchange(command.exchange_epoch)?;
        let symbols = &command.symbols;
        if !symbols.is_sorted_by(|one, next| one < next) {
            return Err(invalid("symbols must be in order, each once"));
        }
        if let Some(unknown) = symbols.iter().find(|symbol| !self.tables.symbols.contains_key(*symbol)) {
            return Err(Refusal::UnknownSymbol { symbol: unknown.clone() });
        }
        let listing: OrdSet<Symbol> = symbols.iter().map(|symbol| self.symbol_name(symbol)).collect();
        if self.tables.listing.as_ref() == Some(&listing) {
            return Ok(Answer::ListingSet);
        }
        self.tables.listing = Some(listing.clone());
        self.events.push(Event::ListingChanged { symbols: symbols.clone() });
        for symbol in self.symbols_where(|state| state.holder.is_some()) {
            if !listing.contains(&symbol) {
                self.end_authority(&symbol, AuthorityEndReason::Unlisted);
            }
        }
        self.rebalance_due = true;
        Ok(Answer::ListingSet)
    }
}

/// Whether the position is not worth too much at a mark.
fn value_in_range(state: &SymbolState, price: RefPrice) -> bool {
    let value = state.instrument.mark_value(price, state.position());
    value.is_some_and(|value| (-POSITION_VALUE_MAX..=POSITION_VALUE_MAX).contains(&value.0))
}

/// Whether the instrument's range has room for a reference price.
fn accepts(state: &SymbolState, price: RefPrice) -> bool {
    let instrument = &state.instrument;
    (RefPrice::from(instrument.min_price)..=RefPrice::from(instrument.max_price)).contains(&price)
}
