//! One order against what is committed and what is in flight: which fills, and what of the rest.
//!
//! Invariant: a plan takes the projected book in price-time priority, skips nothing it may hit but its owner's own orders
//! that give way to it, and takes nothing that another plan in flight takes. Projected = the mirror, less what plans in flight
//! take, plus what they leave resting. It decides nothing: the ledger checks every fill again.

use std::collections::{BTreeMap, BTreeSet};

use quorate_domain::{Account, Millis, OrderId, OrderType, Price, Qty, Side, TimeInForce};
use quorate_ledger::{Against, ExecuteOrder, NewOrder, PlannedFill, Remainder, bounds::FILLS_PER_ORDER_MAX};
use quorate_order_book::{Maker, Matched, Resting, SelfTrade, Stopped, Taker, match_taker};

use crate::{mirror::Mirror, types::Terms};

/// What is to be proposed for an order.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Plan {
    /// This.
    Ready(Ready),
    /// These orders of its own owner are to be cancelled first.
    ExpireFirst(Vec<OrderId>),
    /// Nothing yet: it would hit an order in flight, whose id is not known before it is committed, or one that must
    /// stay as it is for now.
    Blocked,
}

/// An execution to propose.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ready {
    pub(crate) fills: Vec<PlannedFill>,
    pub(crate) remainder: Remainder,
    /// What is left of it ends because it met an order of its owner.
    pub(crate) in_match: bool,
    /// That order, where it ends as well.
    pub(crate) expires: Option<OrderId>,
}

impl Ready {
    /// Nothing is filled, and this becomes of the rest.
    pub(crate) fn without_fills(remainder: Remainder) -> Self {
        Self { fills: Vec::new(), remainder, in_match: false, expires: None }
    }

    /// Whether it takes from the quote.
    pub(crate) fn meets_quote(&self) -> bool {
        self.fills.iter().any(|fill| matches!(fill.against, Against::Quote(_)))
    }
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
    account: Account,
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
            let account = order.account.clone();
            self.rests.push(Rest { account, side: order.side, price, leaves: Qty(left), order_id });
        }
    }

    fn left(&self, against: Against, taker: Side, leaves: Qty) -> Qty {
        let taken = self.taken.get(&(against, taker)).copied().unwrap_or(0);
        Qty(leaves.0.saturating_sub(taken))
    }
}

/// Something that an order may hit: `None` for an order that must not be hit yet.
type Candidate = Maker<Option<Against>>;

/// The projected book of one symbol.
pub(crate) struct Projection<'a> {
    pub(crate) mirror: &'a Mirror,
    pub(crate) in_flight: &'a InFlight,
    /// Whether an order is known to be closed although the mirror still has it.
    pub(crate) gone: &'a dyn Fn(OrderId) -> bool,
    /// Orders that must stay as they are for now.
    pub(crate) held: &'a BTreeSet<OrderId>,
    /// Quotes with a deadline up to here are not planned against.
    pub(crate) now: Millis,
}

impl Projection<'_> {
    /// Plans one order. `None` where its symbol is not known.
    pub(crate) fn plan(&self, order: &NewOrder, terms: Terms) -> Option<Plan> {
        if order.order_type == OrderType::LimitMaker {
            let touched = !self.matched(order, Terms::default(), 1)?.fills.is_empty();
            let remainder = if touched { Remainder::Reject } else { Remainder::Rest };
            return Some(Plan::Ready(Ready::without_fills(remainder)));
        }
        let matched = self.matched(order, terms, FILLS_PER_ORDER_MAX)?;
        let in_match = matched.stopped == Stopped::SelfTrade;
        let remainder = match order.time_in_force {
            _ if matched.left == Qty::ZERO => Remainder::None,
            TimeInForce::Gtc if matched.stopped == Stopped::NoMore => Remainder::Rest,
            TimeInForce::Gtc | TimeInForce::Ioc => Remainder::Expire,
            // Nothing of it is done, so that nothing has to give way to it.
            TimeInForce::Fok => {
                let ready = Ready::without_fills(Remainder::Expire);
                return Some(Plan::Ready(Ready { in_match, ..ready }));
            }
        };
        Some(planned(matched, remainder, in_match))
    }

    /// What the order hits, in price-time priority.
    fn matched(&self, order: &NewOrder, terms: Terms, fills_max: usize) -> Option<Matched<Option<Against>>> {
        let market = self.mirror.market(&order.symbol)?;
        let limit = order.price.or(terms.worst);
        let taker = Taker { side: order.side, limit, qty: order.qty, fills_max, self_trade: terms.self_trade };
        let seen = |resting| self.candidate(&taker, &order.account, resting);
        Some(match_taker(&taker, &market.book, seen, self.others(order)))
    }

    /// A resting order, as the taker may hit it.
    fn candidate(&self, taker: &Taker, account: &Account, resting: Resting) -> Option<Candidate> {
        let Resting { order_id, price, leaves, priority, .. } = resting;
        if (self.gone)(order_id) {
            return None;
        }
        let against = Against::Order(order_id);
        let leaves = self.in_flight.left(against, taker.side, leaves);
        let own = taker.self_trade != SelfTrade::Allow
            && self.mirror.open(order_id).is_some_and(|open| open.order.account == *account);
        let what = (!self.held.contains(&order_id)).then_some(against);
        Some(Maker { what, price, leaves, priority, own })
    }

    /// The quote, and what will rest once it is committed.
    fn others(&self, order: &NewOrder) -> Vec<Candidate> {
        let mut others = Vec::new();
        let taker = order.side;
        let quote = self.mirror.market(&order.symbol).and_then(|market| market.quote.as_ref());
        if let Some(quote) = quote.filter(|quote| quote.deadline > self.now) {
            let side = match taker {
                Side::Buy => quote.ask,
                Side::Sell => quote.bid,
            };
            if let Some(side) = side {
                let against = Against::Quote(quote.quote_id);
                let leaves = self.in_flight.left(against, taker, side.leaves);
                let priority = quote.quote_id;
                others.push(Maker { what: Some(against), price: side.price, leaves, priority, own: false });
            }
        }
        let rests = self.in_flight.rests.iter().filter(|rest| rest.side != taker);
        // They come after all that the mirror has, in their own order; answers may overtake each other, so that a later one
        // has its id before an earlier one.
        for (priority, rest) in (1u64 << 63..).zip(rests) {
            if rest.order_id.is_some_and(self.gone) {
                continue;
            }
            let against = rest.order_id.map(Against::Order);
            let leaves = against.map_or(rest.leaves, |against| self.in_flight.left(against, taker, rest.leaves));
            let what = against.filter(|_| !rest.order_id.is_some_and(|order_id| self.held.contains(&order_id)));
            others.push(Maker { what, price: rest.price, leaves, priority, own: rest.account == order.account });
        }
        others
    }
}

fn planned(matched: Matched<Option<Against>>, remainder: Remainder, in_match: bool) -> Plan {
    let order_of = |against: Option<Against>| match against {
        Some(Against::Order(order_id)) => Some(order_id),
        Some(Against::Quote(_)) | None => None,
    };
    let Some(mut expired) = matched.expired.into_iter().map(order_of).collect::<Option<Vec<OrderId>>>() else {
        return Plan::Blocked;
    };
    if !in_match && !expired.is_empty() {
        return Plan::ExpireFirst(expired);
    }
    let mut fills = Vec::with_capacity(matched.fills.len());
    for hit in matched.fills {
        let Some(against) = hit.maker.what else { return Plan::Blocked };
        fills.push(PlannedFill { against, leaves: hit.maker.leaves, price: hit.maker.price, qty: hit.qty });
    }
    Plan::Ready(Ready { fills, remainder, in_match, expires: expired.pop() })
}
