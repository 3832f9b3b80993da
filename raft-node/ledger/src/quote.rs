//! Quotes: placed, kept, superseded, pulled, ended.
//!
//! Invariant: at most one quote stands for a symbol, under its holder's present epoch. A quote that was
//! computed before a later one was accepted, or from an older position, is refused and leaves the
//! later one alone; one that is refused for anything later ends the one that it was to replace. The checks run in the order
//! that `docs/ledger.md` gives.

use quorate_planted::{Bug, planted};

use crate::{
    answer::Answer,
    apply::{Applying, Handled, invalid},
    authority::check_epoch,
    bounds::{DEMAND_MEMORY_MS, QUOTE_TTL_MAX_MS, QUOTE_TTL_MIN_MS, STRATEGY_STATE_MAX},
    closing::check_open,
    command::{Epoch, Incarnation, KeepQuote, PlaceQuote, PullQuote, QuoteBasis},
    event::{Event, QuoteEndReason, QuotePlaced},
    refusal::Refusal,
    secret::Secret,
    sharing::{Ask, Grant},
    state::{Confirmation, Quote, QuoteLeg, SymbolState},
};
use quorate_domain::{
    ExposureBasis, MAX_PRICE, MAX_QTY, MakerName, Millis, Price, Qty, QuoteId, QuoteSide, Side, Sides, Symbol, cut,
};

/// Who says what about a symbol's quote: what placing and keeping have in common.
struct Claim<'a> {
    symbol: &'a Symbol,
    incarnation: Incarnation,
    secret: &'a Secret,
    epoch: Epoch,
    quote_seq: u64,
    position_seq: u64,
    basis: &'a QuoteBasis,
    keep: bool,
}

impl<'a> Claim<'a> {
    fn of_place(command: &'a PlaceQuote) -> Self {
        let PlaceQuote { symbol, incarnation, secret, epoch, quote_seq, position_seq, basis, .. } = command;
        Self {
            symbol,
            incarnation: *incarnation,
            secret,
            epoch: *epoch,
            quote_seq: *quote_seq,
            position_seq: *position_seq,
            basis,
            keep: false,
        }
    }

    fn of_keep(command: &'a KeepQuote) -> Self {
        let KeepQuote { symbol, incarnation, secret, epoch, quote_seq, position_seq, basis, .. } = command;
        Self {
            symbol,
            incarnation: *incarnation,
            secret,
            epoch: *epoch,
            quote_seq: *quote_seq,
            position_seq: *position_seq,
            basis,
            keep: true,
        }
    }
}

impl Applying<'_> {
    pub(crate) fn place_quote(&mut self, command: &PlaceQuote) -> Handled {
        let state = self.symbol(&command.symbol)?;
        check_instrument(&command.symbol, state, command.revision)?;
        check_sides(command, &self.tables.control.basis, state)?;
        check_form(command.ttl_ms, &command.basis)?;
        let claim = Claim::of_place(command);
        let placed = self.check_claim(&claim, state).and_then(|maker| self.replace(command, maker));
        self.note_refusal(&claim, placed)
    }

    fn note_refusal(&mut self, claim: &Claim<'_>, handled: Handled) -> Handled {
        if let Err(refusal) = &handled {
            self.events.push(Event::QuoteRefused {
                symbol: claim.symbol.clone(),
                incarnation: claim.incarnation,
                quote_seq: claim.quote_seq,
                keep: claim.keep,
                refusal: refusal.clone(),
            });
        }
        handled
    }

    /// The maker wants this quote and not the one that stands: whatever comes of it, that one stands no longer.
    fn replace(&mut self, command: &PlaceQuote, maker: MakerName) -> Handled {
        self.use_quote_seq(&command.symbol, command.quote_seq);
        let prices = (command.bid.map(|bid| bid.price), command.ask.map(|ask| ask.price));
        let placed = self.symbol(&command.symbol).and_then(|state| self.check_breaker(state));
        let placed = placed.and_then(|()| self.check_post_only(&command.symbol, prices.0, prices.1));
        let placed = placed.and_then(|()| self.reserve(command, maker));
        if placed.is_err() && !planted(Bug::ReplacedQuoteLeftStanding) {
            self.end_quote(&command.symbol, QuoteEndReason::Replaced);
        }
        placed
    }

    /// The checks from the kill switch to the position; gives the holder's name.
    fn check_claim(&self, claim: &Claim<'_>, state: &SymbolState) -> Result<MakerName, Refusal> {
        self.check_kill_switch()?;
        let holder = check_epoch(claim.symbol, state, claim.epoch)?;
        if holder.incarnation != claim.incarnation && !planted(Bug::SkipEpochCheck) {
            let present = Some(holder.incarnation);
            return Err(Refusal::UnknownMaker { incarnation: claim.incarnation, present });
        }
        self.check_holder_secret(holder, claim.secret)?;
        self.check_authority(claim.symbol, state)?;
        if let Some(scope) = self.tables.control.quoting_off(claim.symbol, &holder.maker) {
            return Err(Refusal::QuotingOff { scope });
        }
        let committed = self.tables.parameters.get(&(holder.maker.clone(), claim.symbol.clone())).copied();
        if committed != Some(claim.basis.parameters) {
            return Err(Refusal::UnknownParameters { committed });
        }
        check_quote_seq(claim.quote_seq, state)?;
        if claim.position_seq != state.position_seq && !planted(Bug::SkipPositionSeq) {
            return Err(stale_position(state));
        }
        Ok(holder.maker.clone())
    }

    fn check_authority(&self, symbol: &Symbol, state: &SymbolState) -> Result<(), Refusal> {
        let deadline = self.tables.authority_deadline(state).unwrap_or(Millis::ZERO);
        if deadline <= self.log_time() {
            return Err(Refusal::AuthorityExpired { symbol: symbol.clone(), deadline });
        }
        Ok(())
    }

    fn check_post_only(&self, symbol: &Symbol, bid: Option<Price>, ask: Option<Price>) -> Result<(), Refusal> {
        let best = |side| self.indexes.best(symbol, side).map(|(price, _)| price);
        if let (Some(bid), Some(price)) = (bid, best(Side::Sell))
            && bid >= price
        {
            return Err(Refusal::CrossesResting { side: Side::Buy, price });
        }
        if let (Some(ask), Some(price)) = (ask, best(Side::Buy))
            && ask <= price
        {
            return Err(Refusal::CrossesResting { side: Side::Sell, price });
        }
        Ok(())
    }

    /// Grants what there is room for, remembers what falls short, and places the quote.
    fn reserve(&mut self, command: &PlaceQuote, maker: MakerName) -> Handled {
        let state = self.symbol(&command.symbol)?;
        let wanted = Sides { bid: lots(command.bid), ask: lots(command.ask) };
        let allowed = state.within_position_max(wanted);
        let nothing = |lots: &Sides<Qty>| lots.bid == Qty::ZERO && lots.ask == Qty::ZERO;
        if allowed != wanted && (!command.allow_reduced || nothing(&allowed)) {
            let max = state.position_max.unwrap_or(Qty::ZERO);
            return Err(Refusal::PositionLimit { position: state.position(), max });
        }
        let asked = Sides {
            bid: state.ask_for(&self.tables.control.basis, Side::Buy, command.bid, allowed.bid),
            ask: state.ask_for(&self.tables.control.basis, Side::Sell, command.ask, allowed.ask),
        };
        let lot = Sides { bid: asked.bid.lot, ask: asked.ask.lot };
        if state.demand.lot != lot {
            self.change_symbol(&command.symbol, |state| state.demand.lot = lot);
        }
        let state = self.symbol(&command.symbol)?;
        let superseded = state.quote.as_ref().map(|old| old.id);
        let grants = self.grants(&command.symbol, state, asked);
        let remember = self.log_time().plus(DEMAND_MEMORY_MS);
        let until = Sides::from_fn(|side| grants.of(side).falls_short.then_some(remember));

        let granted = Sides { bid: grants.bid.granted, ask: grants.ask.granted };
        let reduced = granted != wanted;
        if granted != allowed && (!command.allow_reduced || nothing(&granted)) {
            self.change_symbol(&command.symbol, |state| state.demand.until = until);
            self.take_turn(&command.symbol, asked, grants, false);
            return Err(self.exposure_short(asked, grants));
        }
        let deadline = self.log_time().plus(command.ttl_ms);
        let quote = Quote {
            id: self.index,
            maker,
            incarnation: command.incarnation,
            epoch: command.epoch,
            quote_seq: command.quote_seq,
            position_seq: command.position_seq,
            sides: Sides { bid: leg(command.bid, grants.bid, asked.bid), ask: leg(command.ask, grants.ask, asked.ask) },
            placed_at: self.log_time(),
            deadline,
            cause: command.cause,
            basis: command.basis.clone(),
            confirmation: None,
        };
        self.events.push(placed_event(command, &quote, wanted, superseded));
        self.change_symbol(&command.symbol, |state| {
            state.demand.until = until;
            state.quote = Some(quote);
        });
        self.take_turn(&command.symbol, asked, grants, true);
        Ok(Answer::QuotePlaced { quote_id: self.index, bid_qty: granted.bid, ask_qty: granted.ask, reduced, deadline })
    }

    fn exposure_short(&self, asked: Sides<Ask>, grants: Sides<Grant>) -> Refusal {
        let limit = self.tables.control.limit;
        let heavy = Side::BOTH.into_iter().map(|side| asked.of(side).lot).find(|lot| *lot > limit);
        match heavy {
            Some(lot) => Refusal::TooHeavy { lot, limit },
            None => Refusal::ExposureShort { long_free: grants.bid.free, short_free: grants.ask.free },
        }
    }

    pub(crate) fn keep_quote(&mut self, command: &KeepQuote) -> Handled {
        let state = self.symbol(&command.symbol)?;
        check_instrument(&command.symbol, state, command.revision)?;
        check_form(command.ttl_ms, &command.basis)?;
        let claim = Claim::of_keep(command);
        let kept = self.check_claim(&claim, state).and_then(|_| self.keep_alive(command));
        self.note_refusal(&claim, kept)
    }

    fn keep_alive(&mut self, command: &KeepQuote) -> Handled {
        self.use_quote_seq(&command.symbol, command.quote_seq);
        self.check_keep(command, self.symbol(&command.symbol)?)?;
        let now = self.log_time();
        let deadline = now.plus(command.ttl_ms);
        self.change_symbol(&command.symbol, |state| {
            if let Some(quote) = &mut state.quote {
                quote.deadline = deadline;
                quote.confirmation = Some(Confirmation { at: now, basis: command.basis.clone() });
            }
        });
        self.events.push(Event::QuoteKept {
            symbol: command.symbol.clone(),
            quote_id: command.quote_id,
            quote_seq: command.quote_seq,
            deadline,
            basis: command.basis.clone(),
        });
        Ok(Answer::QuoteKept { deadline })
    }

    /// Whether the quote named stands, as it was placed, and may go on to stand.
    fn check_keep(&self, command: &KeepQuote, state: &SymbolState) -> Result<(), Refusal> {
        self.check_breaker(state)?;
        let active = |quote: &&Quote| {
            quote.id == command.quote_id && (quote.is_active(self.log_time()) || planted(Bug::KeepRevivesExpired))
        };
        let Some(quote) = state.quote.as_ref().filter(active) else {
            return Err(Refusal::NotActive { against: crate::Against::Quote(command.quote_id) });
        };
        if quote.position_seq != command.position_seq && !planted(Bug::KeepStalePosition) {
            return Err(stale_position(state));
        }
        let price = |side: Side| quote.sides.of(side).map(|leg| leg.price);
        self.check_post_only(&command.symbol, price(Side::Buy), price(Side::Sell))?;
        if state.may_pass_position_max() {
            let max = state.position_max.unwrap_or(Qty::ZERO);
            return Err(Refusal::PositionLimit { position: state.position(), max });
        }
        let asked = Sides::from_fn(|side| {
            let leaves = quote.leaves(side);
            state.ask_for(
                &self.tables.control.basis,
                side,
                quote.sides.of(side).map(|leg| QuoteSide { price: leg.price, qty: leaves }),
                leaves,
            )
        });
        let grants = self.grants(&command.symbol, state, asked);
        if Side::BOTH.into_iter().any(|side| grants.of(side).granted < quote.leaves(side)) {
            return Err(Refusal::ExposureShort { long_free: grants.bid.free, short_free: grants.ask.free });
        }
        Ok(())
    }

    pub(crate) fn pull_quote(&mut self, command: &PullQuote) -> Handled {
        let symbol = &command.symbol;
        let state = self.symbol(symbol)?;
        let holder = check_epoch(symbol, state, command.epoch)?;
        self.check_holder_secret(holder, &command.secret)?;
        check_quote_seq(command.quote_seq, state)?;
        let now = self.log_time();
        let active = state.quote.as_ref().is_some_and(|quote| quote.is_active(now));
        self.use_quote_seq(symbol, command.quote_seq);
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

impl SymbolState {
    /// What the position's limit leaves of so many lots on each side.
    fn within_position_max(&self, lots: Sides<Qty>) -> Sides<Qty> {
        cut(self.position(), self.position_max, lots)
    }

    /// Whether a fill of what is left of its quote could bring the position past its limit.
    pub(crate) fn may_pass_position_max(&self) -> bool {
        let leaves = self.quote.as_ref().map(|quote| Sides::from_fn(|side| quote.leaves(side)));
        leaves.is_some_and(|leaves| self.within_position_max(leaves) != leaves)
    }

    /// What is asked for on a side: so many lots, at that price.
    fn ask_for(&self, basis: &ExposureBasis, side: Side, quoted: Option<QuoteSide>, lots: Qty) -> Ask {
        let lot = quoted.and_then(|quoted| self.instrument.exposure(basis, side, quoted.price, Qty(1)));
        lot.filter(|_| lots > Qty::ZERO).map_or(Ask::default(), |lot| Ask { lots, lot })
    }
}

/// Whether the symbol goes on, and the command means its present instrument.
pub(crate) fn check_instrument(symbol: &Symbol, state: &SymbolState, revision: u64) -> Result<(), Refusal> {
    check_open(symbol, state)?;
    if revision == state.revision { Ok(()) } else { Err(Refusal::StaleRevision { revision: state.revision }) }
}

fn check_sides(command: &PlaceQuote, basis: &ExposureBasis, state: &SymbolState) -> Result<(), Refusal> {
    let instrument = &state.instrument;
    if command.bid.is_none() && command.ask.is_none() {
        return Err(invalid("bid or ask must be given"));
    }
    for (name, side, quoted) in [("bid", Side::Buy, command.bid), ("ask", Side::Sell, command.ask)] {
        let Some(QuoteSide { price, qty }) = quoted else { continue };
        if !instrument.accepts(price) {
            let (min, max) = (instrument.min_price, instrument.max_price);
            return Err(invalid(format!("{name} price must lie in {min}..={max} ticks")));
        }
        if !qty.is_valid() {
            return Err(invalid(format!("{name} qty must lie in 1..={MAX_QTY} lots")));
        }
        if instrument.exposure(basis, side, price, qty).is_none() {
            return Err(invalid(format!("{name} exposure overflows")));
        }
    }
    if let (Some(bid), Some(ask)) = (command.bid, command.ask)
        && bid.price >= ask.price
    {
        return Err(invalid("bid price must be below ask price"));
    }
    Ok(())
}

fn check_form(ttl_ms: u64, basis: &QuoteBasis) -> Result<(), Refusal> {
    if !(QUOTE_TTL_MIN_MS..=QUOTE_TTL_MAX_MS).contains(&ttl_ms) {
        return Err(invalid(format!("ttl_ms must lie in {QUOTE_TTL_MIN_MS}..={QUOTE_TTL_MAX_MS}")));
    }
    if basis.state.len() > STRATEGY_STATE_MAX {
        return Err(invalid(format!("the strategy's state must be at most {STRATEGY_STATE_MAX} bytes")));
    }
    if basis.reference.as_ref().is_some_and(|reference| !reference.price.is_valid()) {
        return Err(invalid(format!("the reference price must lie in 2..={} half ticks", 2 * MAX_PRICE)));
    }
    Ok(())
}

fn check_quote_seq(quote_seq: u64, state: &SymbolState) -> Result<(), Refusal> {
    if quote_seq <= state.quote_seq && !planted(Bug::SkipQuoteSeq) {
        return Err(Refusal::StaleQuoteSeq { last: state.quote_seq });
    }
    Ok(())
}

fn stale_position(state: &SymbolState) -> Refusal {
    Refusal::StalePosition { position_seq: state.position_seq, position: state.position() }
}

fn lots(side: Option<QuoteSide>) -> Qty {
    side.map_or(Qty::ZERO, |side| side.qty)
}

fn leg(side: Option<QuoteSide>, grant: Grant, ask: Ask) -> Option<QuoteLeg> {
    let qty = grant.granted;
    side.filter(|_| qty > Qty::ZERO).map(|side| QuoteLeg { price: side.price, qty, leaves: qty, lot: ask.lot })
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
        basis: quote.basis.clone(),
        superseded,
    })
}
