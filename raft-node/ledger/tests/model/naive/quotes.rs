//! Quotes and the exposure they reserve.

use quorate_domain::{Exposure, MakerName, Millis, Price, Qty, QuoteId, QuoteSide, Side, Sides, Symbol};
use quorate_ledger::{
    Against, Answer, Epoch, Event, Incarnation, KeepQuote, PlaceQuote, PullQuote, QuoteBasis, QuoteEndReason,
    QuotePlaced, QuotingScope, Refusal, Secret,
    bounds::{QUOTE_TTL_MAX_MS, QUOTE_TTL_MIN_MS, STRATEGY_STATE_MAX},
};

use super::{Done, Model, Quote, accepted, invalid, orders::WouldPay, sharing::Asking};

/// What placing and keeping name alike.
struct Named<'a> {
    symbol: &'a Symbol,
    incarnation: Incarnation,
    secret: &'a Secret,
    epoch: Epoch,
    quote_seq: u64,
    position_seq: u64,
    basis: &'a QuoteBasis,
}

impl Model {
    /// Lots that the symbol's quote, expired or not, has left on this side.
    pub(crate) fn leaves(&self, symbol: &Symbol, side: Side) -> Qty {
        let Some(quote) = &self.symbols[symbol].quote else { return Qty(0) };
        let placed = quote.side(side).map_or(0, |side| side.qty.0);
        let hits = self
            .fills
            .iter()
            .filter(|fill| fill.against == Against::Quote(quote.id) && fill.taker_side == side.opposite());
        Qty(placed - hits.map(|fill| fill.qty.0).sum::<i64>())
    }

    pub(super) fn units(&self, symbol: &Symbol, side: Side) -> Exposure {
        let state = &self.symbols[symbol];
        let quoted = state.quote.as_ref().and_then(|quote| quote.side(side));
        let lot = quoted.map_or(0, |quoted| self.exposure_of_a_lot(&state.instrument, side, quoted.price));
        Exposure(i128::from(self.leaves(symbol, side).0) * lot)
    }

    /// Exposure reserved on the side of bids (`Buy`, long) or asks (`Sell`, short).
    pub(crate) fn reserved(&self, side: Side) -> Exposure {
        Exposure(self.symbols.keys().map(|symbol| self.units(symbol, side).0).sum())
    }

    /// The symbol's quote, where its own time has not come.
    pub(super) fn unexpired_quote(&self, symbol: &Symbol) -> Option<&Quote> {
        self.symbols[symbol].quote.as_ref().filter(|quote| !self.passed(quote.deadline))
    }

    /// The symbol's quote, where the authority under which it stands has not ended either.
    pub(crate) fn active_quote(&self, symbol: &Symbol) -> Option<&Quote> {
        let authority = self.authority_deadline(symbol)?;
        self.unexpired_quote(symbol).filter(|_| !self.passed(authority))
    }

    pub(super) fn end_quote(&mut self, symbol: &Symbol, reason: QuoteEndReason, events: &mut Vec<Event>) {
        let (released_long, released_short) = (self.units(symbol, Side::Buy), self.units(symbol, Side::Sell));
        if let Some(quote) = self.symbols.get_mut(symbol).unwrap().quote.take() {
            let (symbol, quote_id) = (symbol.clone(), quote.id);
            events.push(Event::QuoteEnded { symbol, quote_id, released_long, released_short, reason });
        }
    }

    pub(super) fn place_quote(
        &mut self,
        index: u64,
        place: &PlaceQuote,
        events: &mut Vec<Event>,
    ) -> Result<Done, Refusal> {
        self.of_the_present_revision(&place.symbol, place.revision)?;
        self.well_formed(place)?;
        let mut turn_changes = Vec::new();
        let placed = match self.may_quote(&Named::place(place)) {
            Ok(maker) => {
                self.symbols.get_mut(&place.symbol).unwrap().quote_seq = place.quote_seq;
                let placed = self.place_or_refuse(index, place, maker, &mut turn_changes);
                if placed.is_err() {
                    events.append(&mut turn_changes);
                    self.end_quote(&place.symbol, QuoteEndReason::Replaced, events);
                }
                placed
            }
            Err(refusal) => Err(refusal),
        };
        let answered = match placed {
            Ok(event) => {
                let answer = answer_to(&event);
                events.push(Event::QuotePlaced(event));
                Ok(accepted(answer))
            }
            Err(refusal) => Err(self.tell_refusal(&Named::place(place), false, refusal, events)),
        };
        events.extend(turn_changes);
        answered
    }

    fn tell_refusal(&self, named: &Named<'_>, keep: bool, refusal: Refusal, events: &mut Vec<Event>) -> Refusal {
        let (symbol, incarnation, quote_seq) = (named.symbol.clone(), named.incarnation, named.quote_seq);
        events.push(Event::QuoteRefused { symbol, incarnation, quote_seq, keep, refusal: refusal.clone() });
        refusal
    }

    fn well_formed(&self, place: &PlaceQuote) -> Result<(), Refusal> {
        let asked = [(Side::Buy, place.bid), (Side::Sell, place.ask)];
        let of = &self.symbols[&place.symbol].instrument;
        let in_range = asked.iter().all(|(side, asked)| {
            asked.is_none_or(|asked| {
                self.price_in_range(&place.symbol, asked.price)
                    && asked.qty.is_valid()
                    && self.exposure_of_a_lot(of, *side, asked.price).checked_mul(asked.qty.0.into()).is_some()
            })
        });
        let apart = match (place.bid, place.ask) {
            (Some(bid), Some(ask)) => bid.price < ask.price,
            (Some(_), None) | (None, Some(_)) => true,
            (None, None) => false,
        };
        if in_range && apart && ttl_in_range(place.ttl_ms) && basis_in_range(&place.basis) {
            Ok(())
        } else {
            Err(invalid())
        }
    }

    /// Checks 3 to 8; the holder, where all hold.
    fn may_quote(&self, named: &Named<'_>) -> Result<MakerName, Refusal> {
        let symbol = named.symbol;
        if self.kill_switch {
            return Err(Refusal::KillSwitch { control_version: self.control_version });
        }
        let (holder, incarnation) = self.held_under(symbol, named.epoch)?;
        if incarnation != named.incarnation {
            return Err(Refusal::UnknownMaker { incarnation: named.incarnation, present: Some(incarnation) });
        }
        self.right_secret(&holder, named.secret)?;
        let deadline = self.authority_deadline(symbol).unwrap();
        if self.passed(deadline) {
            return Err(Refusal::AuthorityExpired { symbol: symbol.clone(), deadline });
        }
        self.quoting_is_on(symbol, &holder)?;
        let committed = self.makers[&holder].parameters.get(symbol).copied();
        if committed != Some(named.basis.parameters) {
            return Err(Refusal::UnknownParameters { committed });
        }
        self.newer_than_the_last(symbol, named.quote_seq)?;
        if named.position_seq != self.position_seq(symbol) {
            return Err(self.stale_position(symbol));
        }
        Ok(holder)
    }

    fn quoting_is_on(&self, symbol: &Symbol, holder: &MakerName) -> Result<(), Refusal> {
        if self.all_off {
            return Err(Refusal::QuotingOff { scope: QuotingScope::All });
        }
        if self.symbols_off.contains(symbol) {
            return Err(Refusal::QuotingOff { scope: QuotingScope::Symbol(symbol.clone()) });
        }
        if self.makers_off.contains(holder) {
            return Err(Refusal::QuotingOff { scope: QuotingScope::Maker(holder.clone()) });
        }
        Ok(())
    }

    fn neither_tripped_nor_paused(&self, symbol: &Symbol) -> Result<(), Refusal> {
        let state = &self.symbols[symbol];
        let asset = state.instrument.quote.clone();
        if self.breaker(&asset).tripped {
            return Err(Refusal::BreakerTripped { asset });
        }
        match state.paused_until.filter(|until| !self.passed(*until)) {
            Some(until) => Err(Refusal::Paused { until }),
            None => Ok(()),
        }
    }

    fn newer_than_the_last(&self, symbol: &Symbol, quote_seq: u64) -> Result<(), Refusal> {
        let last = self.symbols[symbol].quote_seq;
        if quote_seq <= last { Err(Refusal::StaleQuoteSeq { last }) } else { Ok(()) }
    }

    fn stale_position(&self, symbol: &Symbol) -> Refusal {
        Refusal::StalePosition { position_seq: self.position_seq(symbol), position: self.position(symbol).unwrap() }
    }

    /// Check 9.
    fn keeps_off_resting(&self, symbol: &Symbol, prices: &Sides<Option<Price>>) -> Result<(), Refusal> {
        for side in Side::BOTH {
            if let (Some(own), Some((_, price))) = (*prices.of(side), self.best_resting(symbol, side.opposite()))
                && side.would_pay(own, price)
            {
                return Err(Refusal::CrossesResting { side, price });
            }
        }
        Ok(())
    }

    /// The most lots that a fill of a side may bring, where the position has a limit.
    fn position_room(&self, symbol: &Symbol, side: Side) -> Option<i64> {
        let (max, position) = (self.symbols[symbol].position_max?, self.position(symbol).unwrap());
        let room = match side {
            Side::Buy => i128::from(max.0) - i128::from(position.0),
            Side::Sell => i128::from(max.0) + i128::from(position.0),
        };
        Some(i64::try_from(room.clamp(0, i128::from(i64::MAX))).unwrap())
    }

    /// Whether a fill of what is left of the symbol's quote could bring the position past its limit.
    pub(super) fn could_pass_the_position_limit(&self, symbol: &Symbol) -> bool {
        Side::BOTH
            .into_iter()
            .any(|side| self.position_room(symbol, side).is_some_and(|room| self.leaves(symbol, side).0 > room))
    }

    fn position_limit(&self, symbol: &Symbol) -> Refusal {
        let max = self.symbols[symbol].position_max.unwrap();
        Refusal::PositionLimit { position: self.position(symbol).unwrap(), max }
    }

    /// Check 10: the lots that are asked for from here on.
    fn cut_to_the_position_limit(&self, place: &PlaceQuote) -> Result<Sides<i64>, Refusal> {
        let symbol = &place.symbol;
        let asked_for = lots_of(place);
        let asked = Sides::from_fn(|side| {
            let lots = *asked_for.of(side);
            self.position_room(symbol, side).map_or(lots, |room| lots.min(room))
        });
        let nothing_left = asked.bid == 0 && asked.ask == 0;
        if nothing_left || (asked != asked_for && !place.allow_reduced) {
            return Err(self.position_limit(symbol));
        }
        Ok(asked)
    }

    /// Checks 9 to 11 and what they record; the quote placed, where none refuses.
    fn place_or_refuse(
        &mut self,
        index: u64,
        place: &PlaceQuote,
        maker: MakerName,
        turn_changes: &mut Vec<Event>,
    ) -> Result<QuotePlaced, Refusal> {
        let symbol = &place.symbol;
        let sides = Sides { bid: place.bid, ask: place.ask };
        let prices = Sides::from_fn(|side| sides.of(side).map(|side| side.price));
        self.neither_tripped_nor_paused(symbol)?;
        self.keeps_off_resting(symbol, &prices)?;
        let lots = self.cut_to_the_position_limit(place)?;
        // Step 11.
        let of = &self.symbols[symbol].instrument;
        let exposures = Sides::from_fn(|side| {
            let asked_at = prices.of(side).filter(|_| *lots.of(side) > 0);
            asked_at.map_or(0, |price| self.exposure_of_a_lot(of, side, price))
        });
        self.symbols.get_mut(symbol).unwrap().lots = exposures;
        let asking = Asking { symbol, lots };
        let granted = Sides::from_fn(|side| self.granted(side, &asking));
        let free = Sides::from_fn(|side| Exposure(self.free(symbol, side)));
        let demands = Sides::from_fn(|side| self.demand_to_remember(side, &asking, *granted.of(side)));
        let whole = granted == lots_of(place);
        let reduced = place.allow_reduced && (granted.bid > 0 || granted.ask > 0);
        let placed = whole || reduced;
        let too_heavy = Side::BOTH
            .into_iter()
            .filter(|side| *lots.of(*side) > 0)
            .map(|side| self.lot(symbol, side))
            .find(|lot| *lot > self.limit.0);
        self.symbols.get_mut(symbol).unwrap().demands = demands;
        self.turn_after_asking(index, &asking, &granted, placed, turn_changes);
        if !placed {
            return Err(match too_heavy {
                Some(lot) => Refusal::TooHeavy { lot: Exposure(lot), limit: self.limit },
                None => Refusal::ExposureShort { long_free: free.bid, short_free: free.ask },
            });
        }
        Ok(self.put(index, place, maker, &granted))
    }

    /// Check 12.
    fn put(&mut self, index: u64, place: &PlaceQuote, maker: MakerName, granted: &Sides<i64>) -> QuotePlaced {
        let had = |asked: Option<QuoteSide>, lots: i64| {
            asked.filter(|_| lots > 0).map(|asked| QuoteSide { price: asked.price, qty: Qty(lots) })
        };
        let (bid, ask) = (had(place.bid, granted.bid), had(place.ask, granted.ask));
        let deadline = Millis(self.log_time.0.saturating_add(place.ttl_ms));
        let quote = Quote { id: index, position_seq: place.position_seq, bid, ask, deadline };
        let superseded = self.symbols.get_mut(&place.symbol).unwrap().quote.replace(quote).map(|quote| quote.id);
        let asked_for = lots_of(place);
        QuotePlaced {
            symbol: place.symbol.clone(),
            quote_id: index,
            maker,
            incarnation: place.incarnation,
            epoch: place.epoch,
            quote_seq: place.quote_seq,
            position_seq: place.position_seq,
            bid,
            ask,
            bid_asked: Qty(asked_for.bid),
            ask_asked: Qty(asked_for.ask),
            deadline,
            cause: place.cause,
            basis: place.basis.clone(),
            superseded,
        }
    }

    pub(super) fn keep_quote(&mut self, keep: &KeepQuote, events: &mut Vec<Event>) -> Result<Done, Refusal> {
        self.of_the_present_revision(&keep.symbol, keep.revision)?;
        if !ttl_in_range(keep.ttl_ms) || !basis_in_range(&keep.basis) {
            return Err(invalid());
        }
        let kept = self.may_quote(&Named::keep(keep)).and_then(|_| {
            self.symbols.get_mut(&keep.symbol).unwrap().quote_seq = keep.quote_seq;
            self.may_be_kept(keep)
        });
        if let Err(refusal) = kept {
            return Err(self.tell_refusal(&Named::keep(keep), true, refusal, events));
        }
        let deadline = Millis(self.log_time.0.saturating_add(keep.ttl_ms));
        self.symbols.get_mut(&keep.symbol).unwrap().quote.as_mut().unwrap().deadline = deadline;
        let KeepQuote { symbol, quote_id, quote_seq, basis, .. } = keep.clone();
        events.push(Event::QuoteKept { symbol, quote_id, quote_seq, deadline, basis });
        Ok(accepted(Answer::QuoteKept { deadline }))
    }

    /// What a keep is refused for once its `quote_seq` is used up.
    fn may_be_kept(&self, keep: &KeepQuote) -> Result<(), Refusal> {
        let symbol = &keep.symbol;
        self.neither_tripped_nor_paused(symbol)?;
        let stands = self.unexpired_quote(symbol).filter(|quote| quote.id == keep.quote_id);
        let Some(quote) = stands else {
            return Err(Refusal::NotActive { against: Against::Quote(keep.quote_id) });
        };
        if keep.position_seq != quote.position_seq {
            return Err(self.stale_position(symbol));
        }
        self.keeps_off_resting(symbol, &Sides::from_fn(|side| quote.side(side).map(|side| side.price)))?;
        if self.could_pass_the_position_limit(symbol) {
            return Err(self.position_limit(symbol));
        }
        let asking = Asking { symbol, lots: Sides::from_fn(|side| self.leaves(symbol, side).0) };
        if Side::BOTH.into_iter().any(|side| self.granted(side, &asking) < *asking.lots.of(side)) {
            let [long_free, short_free] = Side::BOTH.map(|side| Exposure(self.free(symbol, side)));
            return Err(Refusal::ExposureShort { long_free, short_free });
        }
        Ok(())
    }

    pub(super) fn pull_quote(&mut self, pull: &PullQuote, events: &mut Vec<Event>) -> Result<Done, Refusal> {
        let (holder, _) = self.held_under(&pull.symbol, pull.epoch)?;
        self.right_secret(&holder, &pull.secret)?;
        self.newer_than_the_last(&pull.symbol, pull.quote_seq)?;
        self.symbols.get_mut(&pull.symbol).unwrap().quote_seq = pull.quote_seq;
        let quote_id: Option<QuoteId> = self.unexpired_quote(&pull.symbol).map(|quote| quote.id);
        if quote_id.is_some() {
            self.end_quote(&pull.symbol, QuoteEndReason::Pulled, events);
        }
        self.forget_demands(&pull.symbol, events);
        Ok(accepted(Answer::QuotePulled { quote_id }))
    }
}

/// The lots that a quote asks for, before anything cuts them.
fn lots_of(place: &PlaceQuote) -> Sides<i64> {
    let lots = |side: Option<QuoteSide>| side.map_or(0, |side| side.qty.0);
    Sides { bid: lots(place.bid), ask: lots(place.ask) }
}

fn ttl_in_range(ttl_ms: u64) -> bool {
    (QUOTE_TTL_MIN_MS..=QUOTE_TTL_MAX_MS).contains(&ttl_ms)
}

fn basis_in_range(basis: &QuoteBasis) -> bool {
    basis.state.len() <= STRATEGY_STATE_MAX && basis.reference.as_ref().is_none_or(|found| found.price.is_valid())
}

fn answer_to(placed: &QuotePlaced) -> Answer {
    let [bid_qty, ask_qty] = [placed.bid, placed.ask].map(|side| side.map_or(Qty(0), |side| side.qty));
    Answer::QuotePlaced {
        quote_id: placed.quote_id,
        bid_qty,
        ask_qty,
        reduced: bid_qty != placed.bid_asked || ask_qty != placed.ask_asked,
        deadline: placed.deadline,
    }
}

impl Quote {
    pub(crate) fn side(&self, side: Side) -> Option<QuoteSide> {
        match side {
            Side::Buy => self.bid,
            Side::Sell => self.ask,
        }
    }
}

impl<'a> Named<'a> {
    fn place(place: &'a PlaceQuote) -> Self {
        let PlaceQuote { symbol, incarnation, secret, epoch, quote_seq, position_seq, basis, .. } = place;
        Self {
            symbol,
            incarnation: *incarnation,
            secret,
            epoch: *epoch,
            quote_seq: *quote_seq,
            position_seq: *position_seq,
            basis,
        }
    }

    fn keep(keep: &'a KeepQuote) -> Self {
        let KeepQuote { symbol, incarnation, secret, epoch, quote_seq, position_seq, basis, .. } = keep;
        Self {
            symbol,
            incarnation: *incarnation,
            secret,
            epoch: *epoch,
            quote_seq: *quote_seq,
            position_seq: *position_seq,
            basis,
        }
    }
}
