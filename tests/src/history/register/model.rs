//! The sequential specification of one register, for `porcupine_rs`.
//!
//! A step decides from the state and one operation alone. What an unknown command left open (the id, the
//! deadline and the lots of a quote that nobody was told of) is pinned by the first answer that shows it.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use porcupine_rs::Model;
use quorate_api::{QuoteSideView, QuoteView};
use quorate_domain::{QuoteId, QuoteSide, Side};
use quorate_ledger::{Against, Answer, Epoch, ExecuteOrder, KeepQuote, Outcome, PlaceQuote, PullQuote, Response};

/// What names a quote before its id is known: its epoch, and its maker's number in it.
pub(super) type Key = (Epoch, u64);

/// The specification.
#[derive(Debug, Clone)]
pub(super) struct Register;

/// A register.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct State {
    /// The highest log time seen.
    log_time: u64,
    position: i64,
    position_seq: u64,
    /// The newest number of a quote that was ever placed, kept or pulled.
    newest: Option<Key>,
    quote: Option<Quote>,
    defined: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Quote {
    key: Key,
    /// The position that it was placed from.
    position_seq: u64,
    id: Option<QuoteId>,
    /// Known to the millisecond, or the earliest that it can be.
    deadline: (u64, bool),
    bid: Leg,
    ask: Leg,
    /// It may end for reasons that are no operation here.
    mortal: bool,
}

/// One side of a quote: its price, and its leaves where they are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Leg {
    price: i64,
    leaves: Option<i64>,
}

/// One operation, with the budget of the search that it is part of.
#[derive(Debug, Clone)]
pub(super) struct Counted {
    pub(super) act: Act,
    pub(super) left: Arc<AtomicU64>,
}

/// What an operation did, or says. `at` is log time; `known` is what an answer told.
#[derive(Debug, Clone)]
pub(super) enum Act {
    Define {
        at: Option<u64>,
    },
    Place {
        placed: Placed,
        ttl_ms: u64,
        known: Option<PlaceKnown>,
    },
    Keep {
        kept: Kept,
        /// Log time, and the deadline from then on.
        known: Option<(u64, u64)>,
    },
    Pull {
        key: Key,
        known: Option<(u64, Option<QuoteId>)>,
    },
    Execute {
        side: Side,
        hits: Vec<Hit>,
        at: Option<u64>,
    },
    Position {
        at: u64,
        position: i64,
        position_seq: u64,
    },
    Quote {
        at: u64,
        seen: Option<Seen>,
    },
    NotDefined {
        at: u64,
    },
    /// An answer of another form: nothing explains it.
    Nonsense,
}

#[derive(Debug, Clone)]
pub(super) struct Placed {
    key: Key,
    position_seq: u64,
    bid: Leg,
    ask: Leg,
    mortal: bool,
}

#[derive(Debug, Clone)]
pub(super) struct Kept {
    key: Key,
    id: QuoteId,
    position_seq: u64,
    ttl_ms: u64,
}

#[derive(Debug, Clone)]
pub(super) struct PlaceKnown {
    at: u64,
    id: QuoteId,
    deadline: u64,
    bid: i64,
    ask: i64,
}

#[derive(Debug, Clone)]
pub(super) struct Hit {
    id: QuoteId,
    leaves: i64,
    price: i64,
    qty: i64,
}

#[derive(Debug, Clone)]
pub(super) struct Seen {
    key: Key,
    id: QuoteId,
    deadline: u64,
    bid: Option<(i64, i64)>,
    ask: Option<(i64, i64)>,
}

impl Act {
    pub(super) fn place(place: &PlaceQuote, mortal: bool, response: Option<&Response>) -> Self {
        // Granted whole where it could not be reduced.
        let leg = |side: Option<QuoteSide>| match side {
            None => Leg { price: 0, leaves: Some(0) },
            Some(side) => Leg { price: side.price.0, leaves: (!place.allow_reduced).then_some(side.qty.0) },
        };
        let placed = Placed {
            key: (place.epoch, place.quote_seq),
            position_seq: place.position_seq,
            bid: leg(place.bid),
            ask: leg(place.ask),
            mortal,
        };
        let known = match response.map(|response| (response.log_time.0, &response.outcome)) {
            None => None,
            Some((at, Outcome::Accepted(Answer::QuotePlaced { quote_id, bid_qty, ask_qty, deadline, .. }))) => {
                Some(PlaceKnown { at, id: *quote_id, deadline: deadline.0, bid: bid_qty.0, ask: ask_qty.0 })
            }
            Some(_) => return Self::Nonsense,
        };
        Self::Place { placed, ttl_ms: place.ttl_ms, known }
    }

    pub(super) fn pull(pull: &PullQuote, response: Option<&Response>) -> Self {
        let known = match response.map(|response| (response.log_time.0, &response.outcome)) {
            None => None,
            Some((at, Outcome::Accepted(Answer::QuotePulled { quote_id }))) => Some((at, *quote_id)),
            Some(_) => return Self::Nonsense,
        };
        Self::Pull { key: (pull.epoch, pull.quote_seq), known }
    }

    pub(super) fn keep(keep: &KeepQuote, response: Option<&Response>) -> Self {
        let key = (keep.epoch, keep.quote_seq);
        let kept = Kept { key, id: keep.quote_id, position_seq: keep.position_seq, ttl_ms: keep.ttl_ms };
        let known = match response.map(|response| (response.log_time.0, &response.outcome)) {
            None => None,
            Some((at, Outcome::Accepted(Answer::QuoteKept { deadline }))) => Some((at, deadline.0)),
            Some(_) => return Self::Nonsense,
        };
        Self::Keep { kept, known }
    }

    /// `None` where no quote is hit.
    pub(super) fn execute(execute: &ExecuteOrder, response: Option<&Response>) -> Option<Self> {
        let hit = |fill: &quorate_ledger::PlannedFill| match fill.against {
            Against::Quote(id) => Some(Hit { id, leaves: fill.leaves.0, price: fill.price.0, qty: fill.qty.0 }),
            Against::Order(_) => None,
        };
        let hits: Vec<Hit> = execute.fills.iter().filter_map(hit).collect();
        let at = response.map(|response| response.log_time.0);
        (!hits.is_empty()).then_some(Self::Execute { side: execute.order.side, hits, at })
    }

    pub(super) fn quoted(at: u64, row: Option<&QuoteView>) -> Self {
        let leg = |side: &Option<QuoteSideView>| side.as_ref().map(|side| (side.price.0, side.leaves.0));
        let seen = row.map(|row| Seen {
            key: (row.epoch, row.quote_seq),
            id: row.quote_id,
            deadline: row.deadline.0,
            bid: leg(&row.bid),
            ask: leg(&row.ask),
        });
        Self::Quote { at, seen }
    }
}

impl Model for Register {
    type State = State;
    type Op = Counted;
    type Metadata = ();

    fn init() -> State {
        State { log_time: 0, position: 0, position_seq: 0, newest: None, quote: None, defined: false }
    }

    fn step(state: &State, op: &Counted) -> (bool, State) {
        // Out of budget nothing is taken any more, so that the search unwinds; its verdict is not used.
        let spent = op.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        let next = if matches!(spent, Ok(2..)) { apply(state, &op.act) } else { None };
        match next {
            Some(next) => (true, next),
            None => (false, state.clone()),
        }
    }
}

/// The state after `act`, or `None` where it cannot have happened here.
fn apply(state: &State, act: &Act) -> Option<State> {
    let mut next = state.clone();
    match act {
        Act::Nonsense => return None,
        Act::Define { at } => {
            next.reach(at.unwrap_or(state.log_time))?;
            next.defined = true;
        }
        Act::Place { placed, ttl_ms, known } => {
            let may = placed.position_seq == state.position_seq && state.is_newer(placed.key);
            match known {
                Some(known) => {
                    next.reach(known.at)?;
                    may.then_some(())?;
                    next.place(placed, Some(known), *ttl_ms);
                }
                // Where it cannot be accepted it is refused, or was never applied.
                None if may => next.place(placed, None, *ttl_ms),
                None => {}
            }
        }
        Act::Keep { kept, known: Some((at, deadline)) } => {
            next.reach(*at)?;
            next.keep(kept, Some(*at), (*deadline, true))?;
        }
        Act::Keep { kept, known: None } => {
            if next.keep(kept, None, (state.log_time + kept.ttl_ms, false)).is_none() {
                next = state.clone();
            }
        }
        Act::Pull { key, known: Some((at, pulled)) } => {
            next.reach(*at)?;
            state.is_newer(*key).then_some(())?;
            next.newest = Some(*key);
            match pulled {
                Some(id) => {
                    let quote = next.quote.as_mut()?;
                    quote.is(*id)?;
                    (quote.key.0 == key.0 && quote.lives(*at)).then_some(())?;
                    next.quote = None;
                }
                None => next.has_no_quote(*at)?,
            }
        }
        Act::Pull { key, known: None } => {
            if state.is_newer(*key) && next.quote.as_ref().is_some_and(|quote| quote.key.0 == key.0) {
                next.newest = Some(*key);
                next.quote = None;
            }
        }
        Act::Execute { side, hits, at: Some(at) } => {
            next.reach(*at)?;
            next.hit_all(*side, hits, Some(*at))?;
        }
        Act::Execute { side, hits, at: None } => {
            if next.hit_all(*side, hits, None).is_none() {
                next = state.clone();
            }
        }
        Act::Position { at, position, position_seq } => {
            next.reach(*at)?;
            (state.position == *position && state.position_seq == *position_seq).then_some(())?;
            next.defined = true;
        }
        Act::Quote { at, seen: None } => {
            next.reach(*at)?;
            next.has_no_quote(*at)?;
        }
        Act::Quote { at, seen: Some(seen) } => {
            next.reach(*at)?;
            next.quote.as_mut()?.matches(seen, *at)?;
        }
        Act::NotDefined { at } => {
            next.reach(*at)?;
            (!state.defined).then_some(())?;
        }
    }
    Some(next)
}

impl State {
    fn reach(&mut self, at: u64) -> Option<()> {
        (at >= self.log_time).then(|| self.log_time = at)
    }

    fn is_newer(&self, key: Key) -> bool {
        self.newest.is_none_or(|newest| key > newest)
    }

    /// Gives the quote that stands another deadline, where it may be kept.
    fn keep(&mut self, kept: &Kept, at: Option<u64>, deadline: (u64, bool)) -> Option<()> {
        self.is_newer(kept.key).then_some(())?;
        let quote = self.quote.as_mut()?;
        quote.is(kept.id)?;
        let unmoved = kept.position_seq == self.position_seq && kept.position_seq == quote.position_seq;
        (unmoved && quote.key.0 == kept.key.0 && at.is_none_or(|at| quote.lives(at))).then_some(())?;
        quote.deadline = deadline;
        self.newest = Some(kept.key);
        Some(())
    }

    fn place(&mut self, placed: &Placed, known: Option<&PlaceKnown>, ttl_ms: u64) {
        let leg = |leg: Leg, granted: Option<i64>| Leg { leaves: granted.or(leg.leaves), ..leg };
        self.newest = Some(placed.key);
        self.quote = Some(Quote {
            key: placed.key,
            position_seq: placed.position_seq,
            id: known.map(|known| known.id),
            deadline: known.map_or((self.log_time + ttl_ms, false), |known| (known.deadline, true)),
            bid: leg(placed.bid, known.map(|known| known.bid)),
            ask: leg(placed.ask, known.map(|known| known.ask)),
            mortal: placed.mortal,
        });
    }

    /// Takes it that there is no active quote at this time, where that can be.
    fn has_no_quote(&mut self, at: u64) -> Option<()> {
        let over =
            self.quote.as_ref().is_none_or(|quote| quote.mortal || quote.may_be_empty() || at >= quote.deadline.0);
        over.then(|| self.quote = None)
    }

    fn hit_all(&mut self, side: Side, hits: &[Hit], at: Option<u64>) -> Option<()> {
        for hit in hits {
            let quote = self.quote.as_mut()?;
            quote.is(hit.id)?;
            at.is_none_or(|at| quote.lives(at)).then_some(())?;
            let leg = match side {
                Side::Buy => &mut quote.ask,
                Side::Sell => &mut quote.bid,
            };
            let fits = leg.price == hit.price && leg.leaves.is_none_or(|leaves| leaves == hit.leaves);
            (fits && hit.qty <= hit.leaves).then_some(())?;
            leg.leaves = Some(hit.leaves - hit.qty);
            self.position += match side {
                Side::Buy => -hit.qty,
                Side::Sell => hit.qty,
            };
            self.position_seq += 1;
        }
        // Where a side's lots are unknown something may be left.
        if self.quote.as_ref().is_some_and(|quote| quote.bid.leaves == Some(0) && quote.ask.leaves == Some(0)) {
            self.quote = None;
        }
        Some(())
    }
}

impl Quote {
    fn is(&mut self, id: QuoteId) -> Option<()> {
        (*self.id.get_or_insert(id) == id).then_some(())
    }

    /// Whether its time can be still running.
    fn lives(&self, at: u64) -> bool {
        !self.deadline.1 || at < self.deadline.0
    }

    /// Whether all that was granted may be filled: one side is, and of the other nobody knows that there was any.
    fn may_be_empty(&self) -> bool {
        let legs = [self.bid.leaves, self.ask.leaves];
        legs.contains(&Some(0)) && legs.iter().all(|leaves| leaves.is_none_or(|leaves| leaves == 0))
    }

    fn matches(&mut self, seen: &Seen, at: u64) -> Option<()> {
        self.is(seen.id)?;
        let deadline =
            if self.deadline.1 { self.deadline.0 == seen.deadline } else { self.deadline.0 <= seen.deadline };
        (self.key == seen.key && deadline && at < seen.deadline).then_some(())?;
        self.deadline = (seen.deadline, true);
        self.bid.matches(seen.bid)?;
        self.ask.matches(seen.ask)
    }
}

impl Leg {
    /// A side without leaves is not shown.
    fn matches(&mut self, seen: Option<(i64, i64)>) -> Option<()> {
        let (price, leaves) = seen.unwrap_or((self.price, 0));
        let fits = self.price == price && self.leaves.is_none_or(|known| known == leaves);
        self.leaves = Some(leaves);
        fits.then_some(())
    }
}
