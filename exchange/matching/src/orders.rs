//! Callers' orders: taking them, repeats, patience, and looking them up.

use quorate_ledger::{
    Account, Against, Millis, Money, NewOrder, OrderId, OrderResult, OrderStatus, OrderType, Qty, Refusal, TimeInForce,
};

use crate::{
    engine::{Engine, Pending, Request, SlotState},
    mirror::key_of,
    types::{Committed, Known, NotExecuted, OpenOrder, OrderOutcome, RequestId, Target},
};

impl Engine {
    pub(crate) fn on_order(&mut self, now: Millis, request: RequestId, order: NewOrder) {
        if let Some(outcome) = self.answer_at_once(&order) {
            self.reply(request, outcome);
            return;
        }
        let key = key_of(&order);
        if let Some(arrival) = self.pending_by_client.get(&key).copied() {
            self.attach(arrival, request, &order);
            return;
        }
        if self.pending.len() >= self.config.orders_max {
            self.reply(request, OrderOutcome::NotExecuted(NotExecuted::Overloaded));
            return;
        }
        let arrival = self.next_arrival;
        self.next_arrival += 1;
        let pending = Pending {
            order,
            deadline: now.plus(self.config.order_ttl_ms),
            waiters: vec![request],
            origin: request,
            refused: 0,
            told_unknown: false,
        };
        self.pending.insert(arrival, pending);
        self.pending_by_client.insert(key, arrival);
        self.queue.insert(arrival);
        self.requests.insert(request, Request::Order(arrival));
        self.stats.orders += 1;
    }

    /// What can be said without asking the ledger. Repeats come first: their answer does not depend
    /// on whether anything may be executed now.
    fn answer_at_once(&self, order: &NewOrder) -> Option<OrderOutcome> {
        if self.halted.is_some() {
            return Some(OrderOutcome::NotExecuted(NotExecuted::Halted));
        }
        if !self.mirror.is_ready() {
            return Some(OrderOutcome::NotExecuted(NotExecuted::NotReady));
        }
        if let Err(what) = check_form(order) {
            return Some(OrderOutcome::Refused(Refusal::Invalid { what: what.to_owned() }));
        }
        if self.mirror.market(&order.symbol).is_none() {
            return Some(OrderOutcome::Refused(Refusal::UnknownSymbol { symbol: order.symbol.clone() }));
        }
        let known = self.order(&order.account, &Target::Client(order.client_order_id.clone()));
        let (known_order, committed) = match known {
            Some(Known::Pending { .. }) => return None,
            Some(Known::Open(open)) => {
                let (index, log_time) = self.mirror.applied();
                let index = index.max(open.order_id);
                let result = open.result();
                (open.order, Committed { index, log_time, result, repeat: true })
            }
            Some(Known::Closed { order, committed }) => (order, committed),
            None => {
                let killed = self.mirror.killed();
                return killed.map(|control_version| OrderOutcome::Refused(Refusal::KillSwitch { control_version }));
            }
        };
        let mut result = committed.result;
        result.trades.clear();
        if same(&known_order, order) {
            return Some(OrderOutcome::Committed(Committed { result, repeat: true, ..committed }));
        }
        let client_order_id = order.client_order_id.clone();
        Some(OrderOutcome::Refused(Refusal::DuplicateOrder { client_order_id, same: false, result }))
    }

    /// A second request for an order that is not settled waits with the first.
    fn attach(&mut self, arrival: u64, request: RequestId, order: &NewOrder) {
        let waiters_max = self.config.waiters_max;
        let Some(pending) = self.pending.get_mut(&arrival) else { return };
        if !same(&pending.order, order) {
            self.reply(request, OrderOutcome::NotExecuted(NotExecuted::ClientIdInFlight));
        } else if pending.waiters.len() >= waiters_max {
            self.reply(request, OrderOutcome::NotExecuted(NotExecuted::Overloaded));
        } else {
            pending.waiters.push(request);
            self.requests.insert(request, Request::Order(arrival));
        }
    }

    pub(crate) fn on_patience(&mut self, request: RequestId) {
        match self.requests.remove(&request) {
            None => {}
            Some(Request::Cancel(submission)) => self.cancel_out_of_patience(submission),
            Some(Request::Order(arrival)) => self.order_out_of_patience(arrival, request),
        }
    }

    fn order_out_of_patience(&mut self, arrival: u64, request: RequestId) {
        let proposed = self.is_proposed(arrival);
        let Some(pending) = self.pending.get_mut(&arrival) else { return };
        if !proposed && pending.waiters == [request] {
            // In no log and on no way: it ends here.
            self.settle(arrival, &OrderOutcome::NotExecuted(NotExecuted::TimedOut));
            return;
        }
        pending.waiters.retain(|waiter| *waiter != request);
        pending.told_unknown = true;
        self.reply(request, OrderOutcome::Unknown);
    }

    /// Whether an order may be executed already, for all that is known.
    fn is_proposed(&self, arrival: u64) -> bool {
        self.slots.iter().any(|slot| slot.arrival == arrival && matches!(slot.state, SlotState::Sent))
    }

    /// What is known of an order: pending, open, or closed not long ago.
    #[must_use]
    pub fn order(&self, account: &Account, target: &Target) -> Option<Known> {
        match target {
            Target::Client(client_order_id) => {
                let key = (account.clone(), client_order_id.clone());
                if let Some((arrival, pending)) =
                    self.pending_by_client.get(&key).and_then(|arrival| self.pending.get_key_value(arrival))
                {
                    let proposed = self.is_proposed(*arrival);
                    return Some(Known::Pending { order: pending.order.clone(), proposed });
                }
                self.accepted(|order, _| key_of(order) == key)
                    .or_else(|| self.mirror.open_by_client(&key).map(|open| self.known_open(open.clone())))
                    .or_else(|| self.mirror.closed_by_client(&key).map(known_closed))
            }
            Target::Order(order_id) => self
                .accepted(|_, known_id| known_id == *order_id)
                .or_else(|| self.mirror.open(*order_id).map(|open| self.known_open(open.clone())))
                .or_else(|| self.mirror.closed(*order_id).map(known_closed))
                .filter(|known| known.order().account == *account),
        }
    }

    /// An order that is committed, and whose frame is yet to come.
    fn accepted(&self, wanted: impl Fn(&NewOrder, OrderId) -> bool) -> Option<Known> {
        self.slots.iter().find_map(|slot| {
            let SlotState::Accepted(committed) = &slot.state else { return None };
            let order = &slot.execute.order;
            if !wanted(order, committed.result.order_id) {
                return None;
            }
            Some(match slot.rested() {
                Some(open) => self.known_open(open),
                None => Known::Closed { order: order.clone(), committed: committed.clone() },
            })
        })
    }

    /// An order that the frames show open, with what is known beyond them.
    fn known_open(&self, open: OpenOrder) -> Known {
        if let Some(committed) = self.gone.get(&open.order_id) {
            return Known::Closed { order: open.order, committed: committed.clone() };
        }
        let open = self.with_accepted_fills(open);
        if open.leaves() > Qty::ZERO {
            return Known::Open(open);
        }
        let (index, log_time) = self.last_accepted().unwrap_or_else(|| self.mirror.applied());
        let result = OrderResult { status: OrderStatus::Filled, ..open.result() };
        Known::Closed { order: open.order, committed: Committed { index, log_time, result, repeat: false } }
    }

    fn last_accepted(&self) -> Option<(u64, Millis)> {
        self.slots.iter().rev().find_map(|slot| match &slot.state {
            SlotState::Accepted(committed) => Some((committed.index, committed.log_time)),
            SlotState::Sent | SlotState::Refused { .. } => None,
        })
    }

    /// An open order with the fills that are committed, and whose frames are yet to come.
    pub(crate) fn with_accepted_fills(&self, mut open: OpenOrder) -> OpenOrder {
        let accepted = self.slots.iter().filter(|slot| matches!(slot.state, SlotState::Accepted(_)));
        for fill in accepted.flat_map(|slot| &slot.execute.fills) {
            if fill.against == Against::Order(open.order_id) {
                open.cum_qty.0 = open.cum_qty.0.saturating_add(fill.qty.0);
                let money = Money::of(fill.price, fill.qty).0;
                open.cum_quote.0 = open.cum_quote.0.saturating_add(money);
            }
        }
        open
    }
}

impl Known {
    /// The order itself.
    #[must_use]
    pub fn order(&self) -> &NewOrder {
        match self {
            Self::Pending { order, .. } | Self::Closed { order, .. } => order,
            Self::Open(open) => &open.order,
        }
    }
}

fn known_closed((order, committed): (&NewOrder, &Committed)) -> Known {
    Known::Closed { order: order.clone(), committed: committed.clone() }
}

/// Whether two orders under one client order id are the same, by the ledger's rule.
fn same(a: &NewOrder, b: &NewOrder) -> bool {
    let fields = |order: &NewOrder| {
        (order.symbol.clone(), order.side, order.order_type, order.time_in_force, order.price, order.qty)
    };
    fields(a) == fields(b)
}

/// What the ledger would refuse as `Invalid`: found here, it costs no gap in the exec_ids.
fn check_form(order: &NewOrder) -> Result<(), &'static str> {
    if !order.qty.is_valid() {
        return Err("qty must lie in 1..=MAX_QTY lots");
    }
    match (order.order_type, order.price) {
        (OrderType::Market, Some(_)) => return Err("a market order has no price"),
        (OrderType::Market, None) => {}
        (OrderType::Limit | OrderType::LimitMaker, None) => return Err("price is missing"),
        (OrderType::Limit | OrderType::LimitMaker, Some(price)) if !price.is_valid() => {
            return Err("price must lie in 1..=MAX_PRICE ticks");
        }
        (OrderType::Limit | OrderType::LimitMaker, Some(_)) => {}
    }
    match (order.order_type, order.time_in_force) {
        (OrderType::Market, TimeInForce::Gtc | TimeInForce::Fok) => Err("a market order is immediate or cancel"),
        (OrderType::LimitMaker, TimeInForce::Ioc | TimeInForce::Fok) => Err("a limit maker is good till cancelled"),
        (OrderType::Market | OrderType::Limit | OrderType::LimitMaker, _) => Ok(()),
    }
}
