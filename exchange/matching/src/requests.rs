//! Callers' orders that are not settled, and who waits for each of them.
//!
//! Invariants: each request is answered exactly once; of one (account, client order id) at most one order is not settled.

use std::collections::BTreeMap;

use quorate_domain::{Account, ClientOrderId, Millis, OrderId, Symbol, TimeInForce};
use quorate_ledger::NewOrder;

use crate::{
    held::Held,
    mirror::{ClientKey, key_of},
    ticks::in_ticks,
    types::{Config, NotExecuted, OrderOutcome, RequestId, Terms, Tick},
};

/// The number of an order's arrival: what is planned first.
pub(crate) type Arrival = u64;

/// An order that is not settled.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) order: NewOrder,
    pub(crate) terms: Terms,
    /// Log time from which it must not be executed.
    pub(crate) deadline: Millis,
    /// Plans of it that were refused for what they planned.
    pub(crate) refused: u32,
    /// Who waits, in order; the first asked for it, the others repeat it.
    waiters: Vec<RequestId>,
    /// The one that asked for it, while it waits.
    origin: RequestId,
    /// Somebody was told that it is unknown.
    told_unknown: bool,
    /// What its plan in flight says of orders of its own account.
    self_trade: MetOwn,
}

/// What a plan says of orders of the taker's own account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct MetOwn {
    /// What is left of the taker ends for it.
    pub(crate) in_match: bool,
    /// The order that ends with it.
    pub(crate) expires: Option<OrderId>,
}

/// What became of a request for an order.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// It is a new order.
    New(Arrival),
    /// It waits for an order that was asked for before.
    Attached,
    /// So many wait for that order that it cannot: it does not hear how the order ends.
    Crowded,
    /// It is not taken.
    Not(NotExecuted),
}

/// An order that is settled: what its callers hear.
#[derive(Debug)]
pub(crate) struct Settled {
    pub(crate) symbol: Symbol,
    pub(crate) replies: Vec<(RequestId, OrderOutcome)>,
    /// Its name, where somebody was told that it is unknown.
    pub(crate) was_unknown: Option<(Account, ClientOrderId)>,
    pub(crate) account: Account,
    pub(crate) self_trade: MetOwn,
}

/// What a caller whose patience ended hears.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum GivenUp {
    /// The order was never proposed and nobody else waits for it, so it ends.
    Ends(Arrival),
    /// It goes on, and this caller does not know how.
    Unknown,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    pending: BTreeMap<Arrival, Pending>,
    by_client: BTreeMap<ClientKey, Arrival>,
    of_account: Held,
    waiting: BTreeMap<RequestId, Arrival>,
    last_arrival: Arrival,
}

impl Requests {
    /// How many orders are not settled.
    pub(crate) fn len(&self) -> usize {
        self.pending.len()
    }

    pub(crate) fn get(&self, arrival: Arrival) -> Option<&Pending> {
        self.pending.get(&arrival)
    }

    /// All that are not settled.
    pub(crate) fn arrivals(&self) -> Vec<Arrival> {
        self.pending.keys().copied().collect()
    }

    pub(crate) fn by_client(&self, key: &ClientKey) -> Option<(Arrival, &Pending)> {
        let arrival = *self.by_client.get(key)?;
        Some((arrival, self.pending.get(&arrival)?))
    }

    /// Whether somebody waits for an order.
    pub(crate) fn is_awaited(&self, arrival: Arrival) -> bool {
        self.pending.get(&arrival).is_some_and(|pending| !pending.waiters.is_empty())
    }

    /// What an order planned was refused.
    pub(crate) fn count_refusal(&mut self, arrival: Arrival) {
        if let Some(pending) = self.pending.get_mut(&arrival) {
            pending.refused += 1;
        }
    }

    /// An order is proposed under a plan that says this.
    pub(crate) fn planned(&mut self, arrival: Arrival, self_trade: MetOwn) {
        if let Some(pending) = self.pending.get_mut(&arrival) {
            pending.self_trade = self_trade;
        }
    }

    /// The prices of an order count in this tick from now on; `false` where that cannot be without changing them.
    pub(crate) fn reprice(&mut self, arrival: Arrival, tick: Tick) -> bool {
        let Some(pending) = self.pending.get_mut(&arrival) else { return false };
        if pending.terms.tick.is_none_or(|before| before.units == tick.units) {
            pending.terms.tick = Some(tick);
            return true;
        }
        let Some((order, terms)) = in_ticks(&pending.order, pending.terms, tick) else { return false };
        (pending.order, pending.terms) = (order, terms);
        true
    }

    /// Orders of an account, of one symbol or of all, that may still come to rest.
    pub(crate) fn may_rest(&self, account: &Account, symbol: Option<&Symbol>) -> impl Iterator<Item = &NewOrder> {
        self.pending.values().map(|pending| &pending.order).filter(move |order| {
            let NewOrder { account: of, symbol: in_symbol, time_in_force, .. } = order;
            of == account && *time_in_force == TimeInForce::Gtc && symbol.is_none_or(|symbol| symbol == in_symbol)
        })
    }

    /// Takes a request for an order: as a new one, or to wait with the same order's first request.
    pub(crate) fn take(
        &mut self,
        request: RequestId,
        (order, terms): (NewOrder, Terms),
        deadline: Millis,
        config: &Config,
    ) -> Taken {
        let key = key_of(&order);
        if let Some(arrival) = self.by_client.get(&key).copied() {
            return self.attach(arrival, request, &order, terms, config.waiters_max);
        }
        let part = config.part_of(config.orders_max);
        if self.pending.len() >= config.orders_max || self.of_account.by(&order.account) >= part {
            return Taken::Not(NotExecuted::Overloaded);
        }
        self.last_arrival += 1;
        let arrival = self.last_arrival;
        let (waiters, origin) = (vec![request], request);
        let self_trade = MetOwn::default();
        let pending = Pending { order, terms, deadline, refused: 0, waiters, origin, told_unknown: false, self_trade };
        self.of_account.add(&pending.order.account);
        self.pending.insert(arrival, pending);
        self.by_client.insert(key, arrival);
        self.waiting.insert(request, arrival);
        Taken::New(arrival)
    }

    fn attach(
        &mut self,
        arrival: Arrival,
        request: RequestId,
        order: &NewOrder,
        terms: Terms,
        waiters_max: usize,
    ) -> Taken {
        let Some(pending) = self.pending.get_mut(&arrival) else { return Taken::Not(NotExecuted::Overloaded) };
        let order = match pending.terms.tick {
            Some(tick) => in_ticks(order, terms, tick).map(|(order, _)| order),
            None => Some(order.clone()),
        };
        if !order.is_some_and(|order| same(&pending.order, &order)) || pending.terms.self_trade != terms.self_trade {
            return Taken::Not(NotExecuted::ClientIdInFlight);
        }
        if pending.waiters.len() >= waiters_max {
            pending.told_unknown = true;
            return Taken::Crowded;
        }
        pending.waiters.push(request);
        self.waiting.insert(request, arrival);
        Taken::Attached
    }

    /// The order that a request waits for.
    pub(crate) fn awaited_by(&self, request: RequestId) -> Option<Arrival> {
        self.waiting.get(&request).copied()
    }

    /// A caller's patience ended. `proposed`: its order may be executed already.
    pub(crate) fn give_up(&mut self, request: RequestId, proposed: bool) -> Option<GivenUp> {
        let arrival = *self.waiting.get(&request)?;
        let pending = self.pending.get_mut(&arrival)?;
        if !proposed && pending.waiters == [request] {
            return Some(GivenUp::Ends(arrival));
        }
        pending.waiters.retain(|waiter| *waiter != request);
        pending.told_unknown = true;
        self.waiting.remove(&request);
        Some(GivenUp::Unknown)
    }

    /// Settles an order, and forgets it.
    pub(crate) fn settle(&mut self, arrival: Arrival, outcome: &OrderOutcome) -> Option<Settled> {
        let pending = self.pending.remove(&arrival)?;
        self.by_client.remove(&key_of(&pending.order));
        self.of_account.take(&pending.order.account);
        let mut replies = Vec::with_capacity(pending.waiters.len());
        for request in pending.waiters {
            self.waiting.remove(&request);
            let mut outcome = outcome.clone();
            if let OrderOutcome::Committed(committed) = &mut outcome
                && request != pending.origin
            {
                committed.repeat = true;
                committed.result.trades.clear();
            }
            replies.push((request, outcome));
        }
        let NewOrder { account, client_order_id, symbol, .. } = pending.order;
        let was_unknown = pending.told_unknown.then(|| (account.clone(), client_order_id));
        Some(Settled { symbol, replies, was_unknown, account, self_trade: pending.self_trade })
    }
}

/// Whether two orders under one client order id are the same, by the ledger's rule.
pub(crate) fn same(a: &NewOrder, b: &NewOrder) -> bool {
    NewOrder { timestamp: b.timestamp, ..a.clone() } == *b
}
