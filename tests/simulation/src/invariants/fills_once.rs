//! Every fill once, no order twice, none filled above its quantity; exec ids without a gap.

use std::collections::BTreeMap;

use quorate_domain::Millis;
use quorate_ledger::{Event, FilledMaker, Frame};

use super::{Invariant, hold};

/// See the module.
#[derive(Default)]
pub(super) struct FillsOnce {
    trades: u64,
    /// When the last order of each name closed; `None` while it is open.
    names: BTreeMap<(String, String), Option<Millis>>,
    left: BTreeMap<u64, i64>,
    exchange_epoch: u64,
    /// By symbol, of the present exchange.
    last_exec: BTreeMap<String, u64>,
}

/// So long after its order closed a name must not be executed again.
const NAME_MEMORY_MS: u64 = 130_000;

fn is_free(closed_at: Option<Millis>, now: Millis) -> bool {
    closed_at.is_some_and(|at| at.plus(NAME_MEMORY_MS) <= now)
}

impl FillsOnce {
    fn fill(&mut self, at: u64, order_id: u64, qty: i64) -> Result<(), String> {
        let left = self.left.entry(order_id).or_default();
        *left -= qty;
        let left = *left;
        hold(left >= 0 && qty > 0, || format!("index {at}: order {order_id} has {left} left after a fill of {qty}"))
    }
}

impl Invariant for FillsOnce {
    fn name(&self) -> &'static str {
        "fills once"
    }

    fn frame(&mut self, frame: &Frame) -> Result<(), String> {
        let at = frame.index;
        for event in &frame.events {
            match event {
                Event::ExchangeRegistered { exchange_epoch, .. } => {
                    let before = std::mem::replace(&mut self.exchange_epoch, *exchange_epoch);
                    self.last_exec.clear();
                    hold(*exchange_epoch > before, || format!("index {at}: exchange {exchange_epoch} after {before}"))?;
                }
                Event::OrderExecuted { order_id, exchange_epoch, exec_id, order, status, .. } => {
                    let name = (order.account.to_string(), order.client_order_id.to_string());
                    let closed_at = (!status.is_open()).then_some(frame.log_time);
                    let before = self.names.insert(name.clone(), closed_at);
                    let free = before.is_none_or(|closed_at| is_free(closed_at, frame.log_time));
                    hold(free, || format!("index {at}: {name:?} executed twice"))?;
                    let last = self.last_exec.entry(order.symbol.to_string()).or_default();
                    *last += 1;
                    let sound = *exec_id == *last && *exchange_epoch == self.exchange_epoch;
                    hold(sound, || format!("index {at}: exec {exec_id} of {exchange_epoch} is out of turn"))?;
                    self.left.insert(*order_id, order.qty.0);
                }
                Event::FillCommitted(fill) => {
                    self.trades += 1;
                    let due = self.trades;
                    hold(fill.trade_id == due, || format!("index {at}: trade {} where {due} is due", fill.trade_id))?;
                    self.fill(at, fill.taker_order_id, fill.qty.0)?;
                    if let FilledMaker::Order { order_id, .. } = fill.maker {
                        self.fill(at, order_id, fill.qty.0)?;
                    }
                }
                Event::OrderClosed { order_id, account, client_order_id, .. } => {
                    let name = (account.to_string(), client_order_id.to_string());
                    self.names.insert(name, Some(frame.log_time));
                    self.left.remove(order_id);
                }
                _ => {}
            }
        }
        Ok(())
    }
}
