//! External orders: executed whole or refused whole, cancelled, closed, remembered.
//!
//! Invariant: nothing of an order is posted before all of it has been checked. `exec_id` grows by exactly
//! one within an exchange epoch, and (account, client order id) is used once for as long as it is
//! remembered: a closed order is forgotten only together with raising the floor of timestamps.

use std::sync::Arc;

use imbl::OrdMap;
use quorate_planted::{Bug, planted};

use crate::{
    answer::{Answer, OrderStatus, Refusal, Response},
    apply::{Applying, Handled},
    bounds::{CLOSED_ORDERS_MAX, EXEC_WINDOW},
    command::{CancelOrder, ExchangeEpoch, ExecuteOrder, NewOrder, OrderId, RegisterExchange, Remainder},
    event::Event,
    numbers::{Digest, Money, Qty},
    state::{Exchange, KeptAnswer, Order},
};

impl Applying<'_> {
    pub(crate) fn register_exchange(&mut self, command: &RegisterExchange) -> Answer {
        let (name, epoch) = (command.exchange.clone(), self.index);
        self.events.push(Event::ExchangeRegistered { exchange: name.clone(), exchange_epoch: epoch });
        self.tables.exchange = Some(Exchange { name, epoch, last_exec_id: 0, answers: OrdMap::new() });
        Answer::ExchangeRegistered { exchange_epoch: epoch }
    }

    /// The present exchange, where the epoch is its own.
    fn check_exchange(&self, epoch: ExchangeEpoch) -> Result<&Exchange, Refusal> {
        match &self.tables.exchange {
            Some(exchange) if exchange.epoch == epoch => Ok(exchange),
            present => {
                let exchange_epoch = present.as_ref().map_or(0, |exchange| exchange.epoch);
                Err(Refusal::StaleExchange { exchange_epoch })
            }
        }
    }

    pub(crate) fn execute_order(&mut self, command: &ExecuteOrder, digest: Digest) -> Response {
        match self.check_exec_id(command, digest) {
            Ok(None) => {}
            Ok(Some(first)) => return first,
            Err(refusal) => return self.answer(Err(refusal)),
        }
        if let Err(refusal) = self.check_order(command) {
            return self.answer(Err(refusal));
        }
        let answer = self.post_order(command);
        let response = self.answer(Ok(answer));
        self.keep_exec(command.exec_id, digest, &response);
        response
    }

    /// The first answer, where this very command was accepted before.
    fn check_exec_id(&self, command: &ExecuteOrder, digest: Digest) -> Result<Option<Response>, Refusal> {
        let exchange = self.check_exchange(command.exchange_epoch)?;
        let (exec_id, expected) = (command.exec_id, exchange.last_exec_id + 1);
        if exec_id < expected {
            return match exchange.answers.get(&exec_id) {
                Some(kept) if kept.digest == digest && planted(Bug::ApplyExecIdTwice) => Ok(None),
                Some(kept) if kept.digest == digest => Ok(Some(kept.response.clone())),
                Some(_) | None => Err(Refusal::ExecReused { exec_id }),
            };
        }
        if exec_id > expected { Err(Refusal::ExecGap { expected }) } else { Ok(None) }
    }

    fn keep_exec(&mut self, exec_id: u64, digest: Digest, response: &Response) {
        let Some(exchange) = &mut self.tables.exchange else { return };
        exchange.last_exec_id = exec_id;
        exchange.answers.insert(exec_id, Arc::new(KeptAnswer { digest, response: response.clone() }));
        if let Some(old) = exec_id.checked_sub(EXEC_WINDOW) {
            exchange.answers.remove(&old);
        }
    }

    /// Posts an order that was checked: the order, then its fills.
    fn post_order(&mut self, command: &ExecuteOrder) -> Answer {
        let filled: i64 = command.fills.iter().map(|fill| fill.qty.0).sum();
        let cum_quote: i128 = command.fills.iter().map(|fill| Money::of(fill.price, fill.qty).0).sum();
        let status = match command.remainder {
            Remainder::None => OrderStatus::Filled,
            Remainder::Rest if filled == 0 => OrderStatus::New,
            Remainder::Rest => OrderStatus::PartiallyFilled,
            Remainder::Expire => OrderStatus::Expired,
            Remainder::Reject => OrderStatus::Rejected,
        };
        let (id, cum_qty) = (self.index, Qty(filled));
        let order = Order { id, order: self.interned(&command.order), status, cum_qty, cum_quote: Money(cum_quote) };
        self.events.push(Event::OrderExecuted {
            order_id: id,
            exchange_epoch: command.exchange_epoch,
            exec_id: command.exec_id,
            order: order.order.clone(),
            status,
            cum_qty,
            leaves_qty: order.leaves(),
        });
        let trades = command.fills.iter().map(|fill| self.post_fill(id, &command.order, fill)).collect();
        let result = order.result(trades);
        self.set_order(order);
        self.trim_closed_orders();
        Answer::OrderExecuted(result)
    }

    /// With the symbol's one text, that every order of it shares.
    fn interned(&self, order: &NewOrder) -> NewOrder {
        let symbol = self.tables.symbols.get_key_value(&order.symbol).map_or(&order.symbol, |(symbol, _)| symbol);
        NewOrder { symbol: symbol.clone(), ..order.clone() }
    }

    pub(crate) fn set_order(&mut self, order: Order) {
        let new = Arc::new(order);
        let old = self.tables.orders.insert(new.id, Arc::clone(&new));
        self.indexes.order_changed(old.as_ref(), Some(&new));
        if planted(Bug::ForgetClosedOrders) && !new.status.is_open() {
            self.tables.orders.remove(&new.id);
            self.indexes.order_changed(Some(&new), None);
        }
    }

    pub(crate) fn cancel_order(&mut self, command: &CancelOrder) -> Handled {
        self.check_exchange(command.exchange_epoch)?;
        let CancelOrder { account, order_id, .. } = command;
        let order = self.tables.orders.get(order_id).filter(|order| order.order.account == *account);
        let Some(order) = order else {
            return Err(Refusal::UnknownOrder { account: account.clone(), order_id: *order_id });
        };
        if !order.status.is_open() {
            return Err(Refusal::OrderClosed { result: order.result(Vec::new()) });
        }
        let closed = Order { status: OrderStatus::Cancelled, ..order.as_ref().clone() };
        self.close_order(*order_id, OrderStatus::Cancelled);
        Ok(Answer::OrderCancelled(closed.result(Vec::new())))
    }

    /// Closes an order that rests.
    pub(crate) fn close_order(&mut self, id: OrderId, status: OrderStatus) {
        let Some(order) = self.tables.orders.get(&id) else { return };
        let closed = Order { status, ..order.as_ref().clone() };
        self.events.push(Event::OrderClosed {
            order_id: id,
            symbol: closed.order.symbol.clone(),
            account: closed.order.account.clone(),
            client_order_id: closed.order.client_order_id.clone(),
            status,
            cum_qty: closed.cum_qty,
        });
        self.set_order(closed);
        self.trim_closed_orders();
    }

    fn trim_closed_orders(&mut self) {
        while self.indexes.closed.len() > CLOSED_ORDERS_MAX {
            self.forget_oldest_closed_order();
        }
    }

    /// From then on nothing as old as it is taken: it could be the same order again.
    pub(crate) fn forget_oldest_closed_order(&mut self) {
        let Some((timestamp, id)) = self.indexes.closed.get_min().copied() else { return };
        if let Some(order) = self.tables.orders.remove(&id) {
            self.indexes.order_changed(Some(&order), None);
        }
        self.tables.closed_floor = self.tables.closed_floor.max(timestamp);
    }
}
