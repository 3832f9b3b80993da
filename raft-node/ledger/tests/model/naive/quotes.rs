//! Quotes and the exposure they reserve.

use quorate_domain::{Exposure, MakerName, Millis, Qty, QuoteSide, Side, Symbol};
use quorate_ledger::{
    Against, Answer, Event, PlaceQuote, PullQuote, QuoteEndReason, QuotePlaced, QuotingScope, Refusal,
    bounds::{DEMAND_MEMORY_MS, QUOTE_TTL_MAX_MS, QUOTE_TTL_MIN_MS},
};

use super::{Done, Model, Quote, SymbolState, accepted, invalid, orders::WouldPay};

/// What one side of a quote asked for is worth.
struct Room {
    free: i128,
    share: i128,
    /// Lots.
    granted: i64,
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

    fn units(&self, symbol: &Symbol, side: Side) -> Exposure {
        Exposure(i128::from(self.leaves(symbol, side).0) * self.weight(symbol))
    }

    fn weight(&self, symbol: &Symbol) -> i128 {
        i128::from(self.symbols[symbol].instrument.exposure_per_lot)
    }

    /// Exposure reserved on the side of bids (`Buy`, long) or asks (`Sell`, short).
    pub(crate) fn reserved(&self, side: Side) -> Exposure {
        Exposure(self.symbols.keys().map(|symbol| self.units(symbol, side).0).sum())
    }

    /// The symbol's quote, where its own time has not come.
    fn unexpired_quote(&self, symbol: &Symbol) -> Option<&Quote> {
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

    pub(super) fn forget_demands(&mut self, symbol: &Symbol) {
        let state = self.symbols.get_mut(symbol).unwrap();
        (state.long_demand, state.short_demand) = (None, None);
    }

    fn demand_remembered(&self, symbol: &Symbol, side: Side) -> bool {
        self.symbols[symbol].demand(side).is_some_and(|until| !self.passed(until))
    }

    pub(super) fn place_quote(
        &mut self,
        index: u64,
        place: &PlaceQuote,
        events: &mut Vec<Event>,
    ) -> Result<Done, Refusal> {
        self.known(&place.symbol)?;
        self.well_formed(place)?;
        let placed = match self.may_quote(place) {
            Ok(maker) => {
                self.symbols.get_mut(&place.symbol).unwrap().quote_seq = place.quote_seq;
                let placed = self.keeps_off_resting(place).and_then(|()| self.reserve(index, place, maker));
                if placed.is_err() {
                    self.end_quote(&place.symbol, QuoteEndReason::Replaced, events);
                }
                placed
            }
            Err(refusal) => Err(refusal),
        };
        match placed {
            Ok(event) => {
                let answer = answer_to(&event);
                events.push(Event::QuotePlaced(event));
                Ok(accepted(answer))
            }
            Err(refusal) => {
                let PlaceQuote { symbol, incarnation, quote_seq, .. } = place.clone();
                events.push(Event::QuoteRefused { symbol, incarnation, quote_seq, refusal: refusal.clone() });
                Err(refusal)
            }
        }
    }

    fn well_formed(&self, place: &PlaceQuote) -> Result<(), Refusal> {
        let asked: Vec<QuoteSide> = [place.bid, place.ask].into_iter().flatten().collect();
        let in_range =
            asked.iter().all(|side| side.qty.is_valid() && self.price_good(&place.symbol, side.price, side.qty));
        let apart = match (place.bid, place.ask) {
            (Some(bid), Some(ask)) => bid.price < ask.price,
            (Some(_), None) | (None, Some(_)) => true,
            (None, None) => false,
        };
        let ttl_in_range = place.ttl_ms >= QUOTE_TTL_MIN_MS && place.ttl_ms <= QUOTE_TTL_MAX_MS;
        if in_range && apart && ttl_in_range { Ok(()) } else { Err(invalid()) }
    }

    /// Checks 3 to 8; the holder, where all hold.
    fn may_quote(&self, place: &PlaceQuote) -> Result<MakerName, Refusal> {
        let symbol = &place.symbol;
        if self.kill_switch {
            return Err(Refusal::KillSwitch { control_version: self.control_version });
        }
        let (holder, incarnation) = self.held_under(symbol, place.epoch)?;
        if incarnation != place.incarnation {
            return Err(Refusal::UnknownMaker { incarnation: place.incarnation, present: Some(incarnation) });
        }
        let deadline = self.authority_deadline(symbol).unwrap();
        if self.passed(deadline) {
            return Err(Refusal::AuthorityExpired { symbol: symbol.clone(), deadline });
        }
        if self.all_off {
            return Err(Refusal::QuotingOff { scope: QuotingScope::All });
        }
        if self.symbols_off.contains(symbol) {
            return Err(Refusal::QuotingOff { scope: QuotingScope::Symbol(symbol.clone()) });
        }
        if self.makers_off.contains(&holder) {
            return Err(Refusal::QuotingOff { scope: QuotingScope::Maker(holder) });
        }
        let last = self.symbols[symbol].quote_seq;
        if place.quote_seq <= last {
            return Err(Refusal::StaleQuoteSeq { last });
        }
        let position_seq = self.position_seq(symbol);
        if place.position_seq != position_seq {
            return Err(Refusal::StalePosition { position_seq, position: self.position(symbol).unwrap() });
        }
        Ok(holder)
    }

    /// Check 9.
    fn keeps_off_resting(&self, place: &PlaceQuote) -> Result<(), Refusal> {
        let symbol = &place.symbol;
        for (side, asked) in [(Side::Buy, place.bid), (Side::Sell, place.ask)] {
            if let (Some(asked), Some((_, price))) = (asked, self.best_resting(symbol, side.opposite()))
                && side.would_pay(asked.price, price)
            {
                return Err(Refusal::CrossesResting { side, price });
            }
        }
        Ok(())
    }

    /// Check 10: how much of this may be had.
    fn room(&self, symbol: &Symbol, side: Side, asked: i64) -> Room {
        let others = || self.symbols.keys().filter(|other| *other != symbol);
        let reserved_by_others: i128 = others().map(|other| self.units(other, side).0).sum();
        let free = (self.limit.0 - reserved_by_others).max(0);
        let demanding = self.symbols.keys().filter(|name| {
            let quoted = self.unexpired_quote(name).is_some() && self.leaves(name, side).0 > 0;
            quoted || self.demand_remembered(name, side) || (*name == symbol && asked > 0)
        });
        let share = self.limit.0 / i128::try_from(demanding.count().max(1)).unwrap();
        let others_wait = others().any(|other| self.demand_remembered(other, side));
        let room = if others_wait { free.min(share) } else { free };
        let granted = i128::from(asked).min(room / self.weight(symbol));
        Room { free, share, granted: i64::try_from(granted).unwrap() }
    }

    /// Checks 10 and 11, and what they record.
    fn reserve(&mut self, index: u64, place: &PlaceQuote, maker: MakerName) -> Result<QuotePlaced, Refusal> {
        let PlaceQuote { symbol, bid, ask, .. } = place;
        let [bid_asked, ask_asked] = [bid, ask].map(|side| side.map_or(0, |side| side.qty.0));
        let (long, short) = (self.room(symbol, Side::Buy, bid_asked), self.room(symbol, Side::Sell, ask_asked));
        let remember_until = Millis(self.log_time.0.saturating_add(DEMAND_MEMORY_MS));
        let per_lot = self.weight(symbol);
        let state = self.symbols.get_mut(symbol).unwrap();
        let memory = |room: &Room, asked: i64| {
            (asked > 0 && room.granted < asked && i128::from(room.granted) < room.share / per_lot)
                .then_some(remember_until)
        };
        state.long_demand = memory(&long, bid_asked);
        state.short_demand = memory(&short, ask_asked);
        let whole = long.granted == bid_asked && short.granted == ask_asked;
        let reduced = place.allow_reduced && (long.granted > 0 || short.granted > 0);
        if !whole && !reduced {
            return Err(Refusal::ExposureShort { long_free: Exposure(long.free), short_free: Exposure(short.free) });
        }
        let granted = |side: &Option<QuoteSide>, room: &Room| {
            side.filter(|_| room.granted > 0).map(|side| QuoteSide { price: side.price, qty: Qty(room.granted) })
        };
        let (bid, ask) = (granted(bid, &long), granted(ask, &short));
        let deadline = Millis(self.log_time.0.saturating_add(place.ttl_ms));
        let superseded = state.quote.replace(Quote { id: index, bid, ask, deadline }).map(|quote| quote.id);
        Ok(QuotePlaced {
            symbol: symbol.clone(),
            quote_id: index,
            maker,
            incarnation: place.incarnation,
            epoch: place.epoch,
            quote_seq: place.quote_seq,
            position_seq: place.position_seq,
            bid,
            ask,
            bid_asked: Qty(bid_asked),
            ask_asked: Qty(ask_asked),
            deadline,
            cause: place.cause,
            computed_at: place.computed_at,
            superseded,
        })
    }

    pub(super) fn pull_quote(&mut self, pull: &PullQuote, events: &mut Vec<Event>) -> Result<Done, Refusal> {
        self.held_under(&pull.symbol, pull.epoch)?;
        let quote_id = self.unexpired_quote(&pull.symbol).map(|quote| quote.id);
        if quote_id.is_some() {
            self.end_quote(&pull.symbol, QuoteEndReason::Pulled, events);
        }
        self.forget_demands(&pull.symbol);
        Ok(accepted(Answer::QuotePulled { quote_id }))
    }
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

impl SymbolState {
    fn demand(&self, side: Side) -> Option<Millis> {
        match side {
            Side::Buy => self.long_demand,
            Side::Sell => self.short_demand,
        }
    }
}
