//! One order against what is committed and what is in flight: which fills, and what of the rest.
//!
//! Invariant: a plan takes the projected book in price-time priority, skips nothing it may hit, and
//! takes nothing that another plan in flight takes. Projected = the mirror, less what plans in flight
//! take, plus what they leave resting. It decides nothing: the ledger checks every fill again.

use std::collections::BTreeMap;

use quorate_domain::{Millis, OrderId, OrderType, Price, Qty, Side, TimeInForce};
use quorate_ledger::{Against, ExecuteOrder, NewOrder, PlannedFill, Remainder, bounds::FILLS_PER_ORDER_MAX};
use quorate_order_book::crosses;

use crate::mirror::Market;

/// What is to be proposed for an order.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Plan {
    /// This.
    Ready { fills: Vec<PlannedFill>, remainder: Remainder },
    /// Nothing yet: it would hit an order in flight, whose id is not known before it is committed.
    Blocked,
}

/// What plans in flight change in one symbol.
#[derive(Debug, Default)]
pub(crate) struct InFlight {
    /// Lots taken, by what is hit and from which side (a quote has two).
    taken: BTreeMap<(Against, Side), i64>,
    /// Orders that will rest, in order.
    rests: Vec<Rest>,
}

/// An order in flight that will rest.
#[derive(Debug)]
struct Rest {
    side: Side,
    price: Price,
    leaves: Qty,
    /// Its id, once it is committed.
    order_id: Option<OrderId>,
}

impl InFlight {
    /// Adds a plan in flight; `order_id` where its commit is known.
    pub(crate) fn add(&mut self, execute: &ExecuteOrder, order_id: Option<OrderId>) {
        let order = &execute.order;
        let mut left = order.qty.0;
        for fill in &execute.fills {
            *self.taken.entry((fill.against, order.side)).or_default() += fill.qty.0;
            left -= fill.qty.0;
        }
        if let (Remainder::Rest, Some(price)) = (execute.remainder, order.price) {
            self.rests.push(Rest { side: order.side, price, leaves: Qty(left), order_id });
        }
    }

    fn left(&self, against: Against, taker: Side, leaves: Qty) -> Qty {
        let taken = self.taken.get(&(against, taker)).copied().unwrap_or(0);
        Qty(leaves.0.saturating_sub(taken))
    }
}

/// Something that an order may hit.
#[derive(Debug, Clone, Copy)]
struct Candidate {
    /// `None` for an order in flight without an id yet.
    against: Option<Against>,
    price: Price,
    leaves: Qty,
    /// Better first: price as this taker sees it, then the log index.
    rank: (i64, u64),
}

/// The projected book of one symbol.
pub(crate) struct Projection<'a> {
    pub(crate) market: &'a Market,
    pub(crate) in_flight: &'a InFlight,
    /// Whether an order is known to be closed although the mirror still has it.
    pub(crate) gone: &'a dyn Fn(OrderId) -> bool,
    /// Quotes with a deadline up to here are not planned against.
    pub(crate) now: Millis,
}

impl Projection<'_> {
    /// Plans one order.
    pub(crate) fn plan(&self, order: &NewOrder) -> Plan {
        let mut candidates = self.candidates(order.side, order.price);
        if order.order_type == OrderType::LimitMaker {
            let remainder = if candidates.next().is_some() { Remainder::Reject } else { Remainder::Rest };
            return Plan::Ready { fills: Vec::new(), remainder };
        }
        let mut fills = Vec::new();
        let mut left = order.qty;
        let mut cut_short = false;
        for candidate in candidates {
            if left == Qty::ZERO {
                break;
            }
            if fills.len() == FILLS_PER_ORDER_MAX {
                cut_short = true;
                break;
            }
            let Some(against) = candidate.against else { return Plan::Blocked };
            let qty = left.min(candidate.leaves);
            fills.push(PlannedFill { against, leaves: candidate.leaves, price: candidate.price, qty });
            left = Qty(left.0 - qty.0);
        }
        let remainder = match order.time_in_force {
            _ if left == Qty::ZERO => Remainder::None,
            TimeInForce::Gtc if !cut_short => Remainder::Rest,
            TimeInForce::Gtc | TimeInForce::Ioc => Remainder::Expire,
            TimeInForce::Fok => {
                fills.clear();
                Remainder::Expire
            }
        };
        Plan::Ready { fills, remainder }
    }

    /// What a taker may hit, in price-time priority, with what is left of each.
    fn candidates(&self, taker: Side, limit: Option<Price>) -> impl Iterator<Item = Candidate> + '_ {
        let mut extras = self.extras(taker, limit);
        extras.sort_by_key(|candidate| candidate.rank);
        let mut extras = extras.into_iter().peekable();
        let resting = self.market.book.crossing(taker, limit).filter(|resting| !(self.gone)(resting.order_id));
        let mut resting = resting
            .map(move |resting| {
                let against = Against::Order(resting.order_id);
                let leaves = self.in_flight.left(against, taker, resting.leaves);
                let rank = rank(taker, resting.price, resting.priority);
                Candidate { against: Some(against), price: resting.price, leaves, rank }
            })
            .peekable();
        std::iter::from_fn(move || match (extras.peek(), resting.peek()) {
            (Some(extra), Some(rest)) if extra.rank < rest.rank => extras.next(),
            (Some(_), None) => extras.next(),
            (_, Some(_)) => resting.next(),
            (None, None) => None,
        })
        .filter(|candidate| candidate.leaves > Qty::ZERO)
    }

    /// The quote, and what will rest once it is committed.
    fn extras(&self, taker: Side, limit: Option<Price>) -> Vec<Candidate> {
        let mut extras = Vec::new();
        let quote = self.market.quote.as_ref().filter(|quote| quote.deadline > self.now);
        if let Some(quote) = quote {
            let side = match taker {
                Side::Buy => quote.ask,
                Side::Sell => quote.bid,
            };
            if let Some(side) = side.filter(|side| crosses(taker, limit, side.price)) {
                let against = Against::Quote(quote.quote_id);
                let leaves = self.in_flight.left(against, taker, side.leaves);
                let rank = rank(taker, side.price, quote.quote_id);
                extras.push(Candidate { against: Some(against), price: side.price, leaves, rank });
            }
        }
        for (place, rest) in (1u64 << 63..).zip(&self.in_flight.rests) {
            if rest.side != taker && crosses(taker, limit, rest.price) {
                let against = rest.order_id.map(Against::Order);
                let leaves = against.map_or(rest.leaves, |against| self.in_flight.left(against, taker, rest.leaves));
                // They come after all that the mirror has, in their own order; answers may overtake each
                // other, so that a later one has its id before an earlier one.
                let rank = rank(taker, rest.price, place);
                extras.push(Candidate { against, price: rest.price, leaves, rank });
            }
        }
        extras
    }
}

fn rank(taker: Side, price: Price, priority: u64) -> (i64, u64) {
    match taker {
        Side::Buy => (price.0, priority),
        Side::Sell => (-price.0, priority),
    }
}
