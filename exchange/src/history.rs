//! What this exchange remembers of orders beyond what the ledger keeps of them.
//!
//! Invariants: it is bounded, the oldest orders go first, and nothing is decided by it; an exchange that starts
//! remembers nothing, and then says what the ledger says.

use std::{collections::BTreeMap, sync::Mutex};

use quorate_domain::{Millis, OrderId};
use quorate_ledger::{Event, FilledMaker, Frame};

use crate::lock::locked;

/// Orders remembered at most: more than the ledger has open, and many that are closed.
const REMEMBERED_MAX: usize = 65_536;

/// What is remembered of one order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Known {
    /// Log time when the ledger took it.
    pub taken_at: Option<Millis>,
    /// Log time when it changed last.
    pub updated_at: Option<Millis>,
    /// It ended where it met an order of its own account.
    pub in_match: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub struct History(Mutex<BTreeMap<OrderId, Known>>);

impl History {
    /// Takes what a frame says of orders.
    pub fn learn_from(&self, frame: &Frame) {
        for event in &frame.events {
            match event {
                Event::OrderExecuted { order_id, .. } => self.taken(*order_id, frame.log_time),
                Event::OrderClosed { order_id, .. } => self.updated(*order_id, frame.log_time),
                Event::FillCommitted(fill) => {
                    if let FilledMaker::Order { order_id, .. } = &fill.maker {
                        self.updated(*order_id, frame.log_time);
                    }
                }
                _ => {}
            }
        }
    }

    /// The ledger took an order.
    pub fn taken(&self, order_id: OrderId, at: Millis) {
        self.change(order_id, |known| {
            known.taken_at = Some(at);
            known.updated_at = known.updated_at.max(Some(at));
        });
    }

    /// An order was filled, or ended.
    pub fn updated(&self, order_id: OrderId, at: Millis) {
        self.change(order_id, |known| known.updated_at = known.updated_at.max(Some(at)));
    }

    /// An order ended where it met one of its own account.
    pub fn expired_in_match(&self, order_id: OrderId) {
        self.change(order_id, |known| known.in_match = true);
    }

    /// What is remembered of an order.
    #[must_use]
    pub fn of(&self, order_id: OrderId) -> Known {
        locked(&self.0).get(&order_id).copied().unwrap_or_default()
    }

    fn change(&self, order_id: OrderId, change: impl FnOnce(&mut Known)) {
        let mut orders = locked(&self.0);
        change(orders.entry(order_id).or_default());
        while orders.len() > REMEMBERED_MAX {
            orders.pop_first();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_orders_are_forgotten_first() {
        let history = History::default();
        let newest = REMEMBERED_MAX as u64 + 1;
        for order_id in 1..=newest {
            history.expired_in_match(order_id);
        }
        assert_eq!([1, 2, newest].map(|order_id| history.of(order_id).in_match), [false, true, true]);
    }
}
