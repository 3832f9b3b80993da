//! Every fill once, no order twice, none filled above its quantity; exec ids without a gap.

use std::collections::{BTreeMap, BTreeSet};

use quorate_ledger::{Event, FilledMaker, Frame};

use super::{Invariant, hold};

/// See the module.
#[derive(Default)]
pub(super) struct FillsOnce {
    trades: u64,
    names: BTreeSet<(String, String)>,
    left: BTreeMap<u64, i64>,
    exchange_epoch: u64,
    /// By symbol, of the present exchange.
    last_exec: BTreeMap<String, u64>,
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
                Event::OrderExecuted { order_id, exchange_epoch, exec_id, order, .. } => {
                    let name = (order.account.to_string(), order.client_order_id.to_string());
                    hold(self.names.insert(name.clone()), || format!("index {at}: {name:?} executed twice"))?;
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
                Event::OrderClosed { order_id, .. } => {
                    self.left.remove(order_id);
                }
                _ => {}
            }
        }
        Ok(())
    }
}
