//! Quotes: placed, superseded, pulled, ended.
//!
//! Invariant: at most one quote stands for a symbol, under its holder's present epoch. A quote that was
//! computed before a later one was accepted, or from an older position, is refused and leaves the
//! later one alone; one that is refused for anything later ends the one that it was to replace. The checks run in the order that `docs/ledger.md` gives.

use quorate_planted::{Bug, planted};

use crate::{
    answer::Answer,
    apply::{Applying, Handled, invalid},
    authority::check_epoch,
    bounds::{DEMAND_MEMORY_MS, QUOTE_TTL_MAX_MS, QUOTE_TTL_MIN_MS},
    command::{PlaceQuote, PullQuote},
    event::{Event, QuoteEndReason, QuotePlaced},
    exposure::Grant,
    refusal::Refusal,
    state::{Quote, QuoteLeg, Sides, SymbolState},
};
use quorate_domain::{Instrument, MAX_QTY, MakerName, Millis, Qty, QuoteId, QuoteSide, Side, Symbol};

impl Applying<'_> {
    pub(crate) fn place_quote(&mut self, command: &PlaceQuote) -> Handled {
        let state = self.symbol(&command.symbol)?.clone();
        check_form(command, &state.instrument)?;
        let placed = self.check_quote(command, &state).and_then(|maker| self.replace(command, &state, maker));
        if let Err(refusal) = &placed {
            self.events.push(Event::QuoteRefused {
                symbol: command.symbol.clone(),
                incarnation: command.incarnation,
                quote_seq: command.quote_seq,
                refusal: refusal.clone(),
            });
        }
        placed
    }

    /// The maker wants this quote and not the one that stands: whatever comes of it, that one stands no longer.
    fn replace(&mut self, command: &PlaceQuote, state: &SymbolState, maker: MakerName) -> Handled {
        self.change_symbol(&command.symbol, |state| state.quote_seq = command.quote_seq);
        let placed = self.check_post_only(command).and_then(|()| self.reserve(command, state, maker));
        if placed.is_err() && !planted(Bug::ReplacedQuoteLeftStanding) {
            self.end_quote(&command.symbol, QuoteEndReason::Replaced);
        }
        placed
    }

    /// The checks from the kill switch to the position; gives the holder's name.
    fn check_quote(&self, command: &PlaceQuote, state: &SymbolState) -> Result<MakerName, Refusal> {
        self.check_kill_switch()?;
        let holder = check_epoch(&command.symbol, state, command.epoch)?;
        if holder.incarnation != command.incarnation && !planted(Bug::SkipEpochCheck) {
            let present = Some(holder.incarnation);
            return Err(Refusal::UnknownMaker { incarnation: command.incarnation, present });
        }
        self.check_authority(&command.symbol, state)?;
        if let Some(scope) = self.tables.control.quoting_off(&command.symbol, &holder.maker) {
            return Err(Refusal::QuotingOff { scope });
        }
        check_quote_seq(command, state)?;
        check_position_seq(command, state)?;
        Ok(holder.maker.clone())
    }

    fn check_authority(&self, symbol: &Symbol, state: &SymbolState) -> Result<(), Refusal> {
        let deadline = self.tables.authority_deadline(state).unwrap_or(Millis::ZERO);
        if deadline <= self.log_time() {
            return Err(Refusal::AuthorityExpired { symbol: symbol.clone(), deadline });
        }
        Ok(())
    }

    fn check_post_only(&self, command: &PlaceQuote) -> Result<(), Refusal> {
        let best = |side| self.indexes.best(&command.symbol, side).map(|(price, _)| price);
        if let (Some(bid), Some(price)) = (command.bid, best(Side::Sell))
            && bid.price >= price
        {
            return Err(Refusal::CrossesResting { side: Side::Buy, price });
        }
        if let (Some(ask), Some(price)) = (command.ask, best(Side::Buy))
            && ask.price <= price
        {
            return Err(Refusal::CrossesResting { side: Side::Sell, price });
        }
        Ok(())
    }

    /// Grants what there is room for, remembers what falls short, and places the quote.
    fn reserve(&mut self, command: &PlaceQuote, state: &SymbolState, maker: MakerName) -> Handled {
        let asked = |side: Option<QuoteSide>| side.map_or(Qty::ZERO, |side| side.qty);
        let asked = Sides { bid: asked(command.bid), ask: asked(command.ask) };
        let grants = self.grants(&command.symbol, state, asked);
        let remember = self.log_time().plus(DEMAND_MEMORY_MS);
        let demand = |grant: Grant| grant.falls_short.then_some(remember);
        let demand_until = Sides { bid: demand(grants.bid), ask: demand(grants.ask) };

        let reduced = grants.bid.granted < asked.bid || grants.ask.granted < asked.ask;
        let nothing = grants.bid.granted == Qty::ZERO && grants.ask.granted == Qty::ZERO;
        if reduced && (!command.allow_reduced || nothing) {
            self.change_symbol(&command.symbol, |state| state.demand_until = demand_until);
            return Err(Refusal::ExposureShort { long_free: grants.bid.free, short_free: grants.ask.free });
        }
        let sides = Sides { bid: leg(command.bid, grants.bid), ask: leg(command.ask, grants.ask) };
        let deadline = self.log_time().plus(command.ttl_ms);
        let quote = Quote {
            id: self.index,
            maker,
            incarnation: command.incarnation,
            epoch: command.epoch,
            quote_seq: command.quote_seq,
            position_seq: command.position_seq,
            sides,
            placed_at: self.log_time(),
            deadline,
            cause: command.cause,
            computed_at: command.computed_at,
        };
        self.events.push(placed_event(command, &quote, asked, state.quote.as_ref().map(|old| old.id)));
        self.change_symbol(&command.symbol, |state| {
            state.quote = Some(quote);
            state.demand_until = demand_until;
        });
        Ok(Answer::QuotePlaced {
            quote_id: self.index,
            bid_qty: grants.bid.granted,
            ask_qty: grants.ask.granted,
            reduced,
            deadline,
        })
    }

    pub(crate) fn pull_quote(&mut self, command: &PullQuote) -> Handled {
        let symbol = &command.symbol;
        let state = self.symbol(symbol)?;
        check_epoch(symbol, state, command.epoch)?;
        let now = self.log_time();
        let active = state.quote.as_ref().is_some_and(|quote| quote.is_active(now));
        let quote_id = if active { self.end_quote(symbol, QuoteEndReason::Pulled) } else { None };
        self.forget_demands(symbol);
        Ok(Answer::QuotePulled { quote_id })
    }

    /// Ends the quote that stands, if any, and releases what it reserves.
    pub(crate) fn end_quote(&mut self, symbol: &Symbol, reason: QuoteEndReason) -> Option<QuoteId> {
        let state = self.tables.symbols.get(symbol)?;
        let (quote_id, released) = (state.quote.as_ref()?.id, state.reserved());
        self.change_symbol(symbol, |state| state.quote = None);
        self.events.push(Event::QuoteEnded {
            symbol: symbol.clone(),
            quote_id,
            released_long: released.bid,
            released_short: released.ask,
            reason,
        });
        Some(quote_id)
    }
}

fn check_form(command: &PlaceQuote, instrument: &Instrument) -> Result<(), Refusal> {
    if command.bid.is_none() && command.ask.is_none() {
        return Err(invalid("bid or ask must be given"));
    }
    for (name, side) in [("bid", command.bid), ("ask", command.ask)] {
        let Some(QuoteSide { price, qty }) = side else { continue };
        if !instrument.accepts(price) {
            let Instrument { min_price, max_price, .. } = instrument;
            return Err(invalid(format!("{name} price must lie in {min_price}..={max_price} ticks")));
        }
        if !qty.is_valid() {
            return Err(invalid(format!("{name} qty must lie in 1..={MAX_QTY} lots")));
        }
        if instrument.notional(price, qty).is_none() {
            return Err(invalid(format!("{name} price x qty must be below 2^127 x 10^-12 of the quote asset")));
        }
    }
    if let (Some(bid), Some(ask)) = (command.bid, command.ask)
        && bid.price >= ask.price
    {
        return Err(invalid("bid price must be below ask price"));
    }
    if !(QUOTE_TTL_MIN_MS..=QUOTE_TTL_MAX_MS).contains(&command.ttl_ms) {
        return Err(invalid(format!("ttl_ms must lie in {QUOTE_TTL_MIN_MS}..={QUOTE_TTL_MAX_MS}")));
    }
    Ok(())
}

fn check_quote_seq(command: &PlaceQuote, state: &SymbolState) -> Result<(), Refusal> {
    if command.quote_seq <= state.quote_seq && !planted(Bug::SkipQuoteSeq) {
        return Err(Refusal::StaleQuoteSeq { last: state.quote_seq });
    }
    Ok(())
}

fn check_position_seq(command: &PlaceQuote, state: &SymbolState) -> Result<(), Refusal> {
    if command.position_seq != state.position_seq && !planted(Bug::SkipPositionSeq) {
        return Err(Refusal::StalePosition { position_seq: state.position_seq, position: state.position });
    }
    Ok(())
}

fn leg(side: Option<QuoteSide>, grant: Grant) -> Option<QuoteLeg> {
    let qty = grant.granted;
    side.filter(|_| qty > Qty::ZERO).map(|side| QuoteLeg { price: side.price, qty, leaves: qty })
}

fn placed_event(command: &PlaceQuote, quote: &Quote, asked: Sides<Qty>, superseded: Option<QuoteId>) -> Event {
    let granted = |leg: Option<QuoteLeg>| leg.map(|leg| QuoteSide { price: leg.price, qty: leg.qty });
    Event::QuotePlaced(QuotePlaced {
        symbol: command.symbol.clone(),
        quote_id: quote.id,
        maker: quote.maker.clone(),
        incarnation: quote.incarnation,
        epoch: quote.epoch,
        quote_seq: quote.quote_seq,
        position_seq: quote.position_seq,
        bid: granted(quote.sides.bid),
        ask: granted(quote.sides.ask),
        bid_asked: asked.bid,
        ask_asked: asked.ask,
        deadline: quote.deadline,
        cause: quote.cause,
        computed_at: quote.computed_at,
        superseded,
    })
}
