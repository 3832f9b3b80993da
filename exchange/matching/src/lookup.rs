//! What is known of an order: from the requests, the executions in flight, the cancels, and the mirror. Reads only.

use quorate_domain::{Account, ClientOrderId, Millis, OrderId, Qty, Symbol};
use quorate_ledger::{Against, NewOrder, OrderResult, OrderStatus};

use crate::{
    engine::Engine,
    mirror::key_of,
    pipeline::{Slot, SlotState},
    types::{Committed, Known, OpenOrder, Target},
};

impl Engine {
    /// What is known of an order: pending, open, or closed not long ago.
    #[must_use]
    pub fn order(&self, account: &Account, target: &Target) -> Option<Known> {
        match target {
            Target::Client(client_order_id) => {
                let key = (account.clone(), client_order_id.clone());
                if let Some((arrival, pending)) = self.requests.by_client(&key) {
                    let order = pending.order.clone();
                    let pipeline = self.pipelines.get(&order.symbol);
                    let proposed = pipeline.is_some_and(|pipeline| pipeline.is_proposed(arrival));
                    return Some(Known::Pending { order, proposed });
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

    /// Open orders of an account, of one symbol or of all, by id. What this engine reported committed
    /// is in it, also where the frame is yet to come.
    #[must_use]
    pub fn open_orders(&self, account: &Account, symbol: Option<&Symbol>) -> Vec<OpenOrder> {
        let mirrored = self.mirror.open_of(account).cloned();
        let accepted = self.slots().filter_map(Slot::rested).filter(|open| open.order.account == *account);
        let mut open: Vec<OpenOrder> = mirrored
            .chain(accepted)
            .filter(|open| symbol.is_none_or(|symbol| open.order.symbol == *symbol))
            .filter(|open| self.cancels.gone(open.order_id).is_none())
            .map(|open| self.with_accepted_fills(open))
            .filter(|open| open.leaves() > Qty::ZERO)
            .collect();
        open.sort_by_key(|open| open.order_id);
        open
    }

    /// Names of an account's orders of one symbol that wait or are in flight, and may come to rest, in their order.
    #[must_use]
    pub fn under_way(&self, account: &Account, symbol: &Symbol) -> Vec<ClientOrderId> {
        self.requests.may_rest(account, Some(symbol)).map(|order| order.client_order_id.clone()).collect()
    }

    fn slots(&self) -> impl Iterator<Item = &Slot> {
        self.busy.iter().filter_map(|symbol| self.pipelines.get(symbol)).flat_map(|pipeline| pipeline.slots())
    }

    /// An order that is committed, and whose frame is yet to come.
    fn accepted(&self, wanted: impl Fn(&NewOrder, OrderId) -> bool) -> Option<Known> {
        self.slots().find_map(|slot| {
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
        if let Some(committed) = self.cancels.gone(open.order_id) {
            return Known::Closed { order: open.order, committed: committed.clone() };
        }
        let open = self.with_accepted_fills(open);
        if open.leaves() > Qty::ZERO {
            return Known::Open(open);
        }
        let (index, log_time) = self.last_accepted(&open.order.symbol).unwrap_or_else(|| self.mirror.applied());
        let result = OrderResult { status: OrderStatus::Filled, ..open.result() };
        Known::Closed { order: open.order, committed: Committed { index, log_time, result, repeat: false } }
    }

    fn last_accepted(&self, symbol: &Symbol) -> Option<(u64, Millis)> {
        self.pipelines.get(symbol)?.slots().rev().find_map(|slot| match &slot.state {
            SlotState::Accepted(committed) => Some((committed.index, committed.log_time)),
            SlotState::Sent | SlotState::Refused { .. } => None,
        })
    }

    /// An open order with the fills that are committed, and whose frames are yet to come.
    fn with_accepted_fills(&self, mut open: OpenOrder) -> OpenOrder {
        let Some(pipeline) = self.pipelines.get(&open.order.symbol) else { return open };
        let instrument = self.mirror.market(&open.order.symbol).and_then(|market| market.instrument.as_ref());
        let accepted = pipeline.slots().filter(|slot| matches!(slot.state, SlotState::Accepted(_)));
        for fill in accepted.flat_map(|slot| &slot.execute.fills) {
            if fill.against == Against::Order(open.order_id) {
                open.cum_qty.0 = open.cum_qty.0.saturating_add(fill.qty.0);
                let notional = instrument.and_then(|instrument| instrument.notional(fill.price, fill.qty));
                open.cum_quote.0 = open.cum_quote.0.saturating_add(notional.unwrap_or_default().0);
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
