//! External orders: executed whole or refused whole, cancelled, closed, remembered.
//!
//! Invariant: nothing of an order is posted before all of it has been checked. A symbol's `exec_id` grows by exactly
//! one within an exchange epoch. An order is kept whole while it is open; of a closed one remains its name (`names`).

use std::sync::Arc;

use imbl::OrdMap;
use quorate_planted::{Bug, planted};

use crate::{
    answer::{Answer, OrderStatus, Response},
    apply::{Applying, Handled, invalid},
    bounds::EXEC_WINDOW,
    command::{
        Against, AnsweredBelow, CancelOrder, ExchangeEpoch, ExecuteOrder, NewOrder, PlannedFill, RegisterExchange,
        Remainder,
    },
    digest::Digest,
    event::Event,
    refusal::Refusal,
    state::{Exchange, KeptAnswer, Order},
};
use quorate_domain::{Money, OrderId, Qty, Symbol};

impl Applying<'_> {
    pub(crate) fn register_exchange(&mut self, command: &RegisterExchange) -> Answer {
        let (name, epoch) = (command.exchange.clone(), self.index);
        self.events.push(Event::ExchangeRegistered { exchange: name.clone(), exchange_epoch: epoch });
        self.tables.exchange = Some(Exchange { name, epoch, lanes: OrdMap::new(), kept: 0 });
        Answer::ExchangeRegistered { exchange_epoch: epoch }
    }

    /// The present exchange, where the epoch is its own.
    pub(crate) fn check_exchange(&self, epoch: ExchangeEpoch) -> Result<&Exchange, Refusal> {
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
        self.keep_exec(command, digest, &response);
        response
    }

    /// The first answer, where this very command was accepted before.
    fn check_exec_id(&mut self, command: &ExecuteOrder, digest: Digest) -> Result<Option<Response>, Refusal> {
        let ExecuteOrder { exec_id, answered_below, ref also_answered, .. } = *command;
        let symbol = &command.order.symbol;
        self.check_exchange(command.exchange_epoch)?;
        self.symbol(symbol)?;
        if answered_below > exec_id {
            return Err(invalid("answered_below must not be above exec_id"));
        }
        if let Some(AnsweredBelow { symbol: other, below }) = also_answered {
            if other == symbol || *below > self.next_exec(command.exchange_epoch, other)? {
                return Err(invalid("also_answered must name another symbol, and no exec_id above its next one"));
            }
            self.drop_answered(other, *below);
        }
        self.drop_answered(symbol, answered_below);
        let expected = self.next_exec(command.exchange_epoch, symbol)?;
        let exchange = self.check_exchange(command.exchange_epoch)?;
        let lane = exchange.lanes.get(self.lane_of(symbol));
        if exec_id < expected {
            return match lane.and_then(|lane| lane.answers.get(&exec_id)) {
                Some(kept) if kept.digest == digest && planted(Bug::ApplyExecIdTwice) => Ok(None),
                Some(kept) if kept.digest == digest => Ok(Some(kept.response.clone())),
                Some(_) | None => Err(Refusal::ExecReused { exec_id }),
            };
        }
        if exec_id > expected {
            return Err(Refusal::ExecGap { expected });
        }
        if exchange.kept >= EXEC_WINDOW {
            return Err(Refusal::ExecWindowFull { max: EXEC_WINDOW as u64 });
        }
        Ok(None)
    }

    /// The `exec_id` that the next execution of a symbol has.
    fn next_exec(&self, epoch: ExchangeEpoch, symbol: &Symbol) -> Result<u64, Refusal> {
        let lane = self.check_exchange(epoch)?.lanes.get(self.lane_of(symbol));
        Ok(lane.map_or(0, |lane| lane.last) + 1)
    }

    /// The symbol whose executions are counted with those of `symbol`: itself.
    fn lane_of<'b>(&'b self, symbol: &'b Symbol) -> &'b Symbol {
        let shared = || self.tables.symbols.get_min().map(|(first, _)| first);
        planted(Bug::ExecIdShared).then(shared).flatten().unwrap_or(symbol)
    }

    /// The exchange has these answers: no repeat of what they answer will come.
    fn drop_answered(&mut self, symbol: &Symbol, below: u64) {
        let symbol = self.lane_of(symbol).clone();
        let Some(exchange) = &mut self.tables.exchange else { return };
        let Some(lane) = exchange.lanes.get_mut(&symbol) else { return };
        while let Some(exec_id) = lane.answers.get_min().map(|(exec_id, _)| *exec_id).filter(|exec_id| *exec_id < below)
        {
            lane.answers.remove(&exec_id);
            exchange.kept -= 1;
        }
    }

    fn keep_exec(&mut self, command: &ExecuteOrder, digest: Digest, response: &Response) {
        let symbol = self.symbol_name(self.lane_of(&command.order.symbol));
        let Some(exchange) = &mut self.tables.exchange else { return };
        let lane = exchange.lanes.entry(symbol).or_default();
        lane.last = command.exec_id;
        let kept = Arc::new(KeptAnswer { digest, response: response.clone() });
        if lane.answers.insert(command.exec_id, kept).is_none() {
            exchange.kept += 1;
        }
    }

    /// Posts an order that was checked: the order, then its fills.
    fn post_order(&mut self, command: &ExecuteOrder) -> Answer {
        let filled: i64 = command.fills.iter().map(|fill| fill.qty.0).sum();
        let instrument = self.tables.symbols.get(&command.order.symbol).map(|state| state.instrument.clone());
        let notional = |fill: &PlannedFill| instrument.as_ref()?.notional(fill.price, fill.qty);
        let cum_quote: i128 = command.fills.iter().filter_map(notional).map(|notional| notional.0).sum();
        let status = match command.remainder {
            Remainder::None => OrderStatus::Filled,
            Remainder::Rest if filled == 0 => OrderStatus::New,
            Remainder::Rest => OrderStatus::PartiallyFilled,
            Remainder::Expire => OrderStatus::Expired,
            Remainder::Reject => OrderStatus::Rejected,
        };
        let (id, cum_qty) = (self.index, Qty(filled));
        let of_quote = command.fills.iter().filter(|fill| matches!(fill.against, Against::Quote(_)));
        let from_quote = Qty(of_quote.map(|fill| fill.qty.0).sum());
        let order = Order {
            id,
            order: self.interned(&command.order),
            status,
            cum_qty,
            cum_quote: Money(cum_quote),
            uncovered: Qty::ZERO,
        };
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
        self.hold_name(&command.order.account);
        if status.is_open() {
            let uncovered = instrument.map_or(Qty::ZERO, |instrument| self.uncovered(&order, &instrument));
            let order = Order { uncovered, ..order };
            self.indexes.order_opened(&order);
            self.orders_changed(&command.order.account);
            self.set_order(order);
        } else {
            self.remember_closed(&order);
        }
        self.protect(&command.order.symbol, from_quote);
        Answer::OrderExecuted(result)
    }

    /// With the symbol's one text, that every order of it shares.
    fn interned(&self, order: &NewOrder) -> NewOrder {
        NewOrder { symbol: self.symbol_name(&order.symbol), ..order.clone() }
    }

    pub(crate) fn symbol_name(&self, symbol: &Symbol) -> Symbol {
        self.tables.symbols.get_key_value(symbol).map_or(symbol, |(symbol, _)| symbol).clone()
    }

    /// Of an order that is open before and after.
    pub(crate) fn set_order(&mut self, order: Order) {
        let new = Arc::new(order);
        let old = self.tables.orders.insert(new.id, Arc::clone(&new));
        self.relock(old.as_deref(), &new);
    }

    pub(crate) fn cancel_order(&mut self, command: &CancelOrder) -> Handled {
        self.check_exchange(command.exchange_epoch)?;
        let CancelOrder { account, order_id, .. } = command;
        if self.tables.orders.get(order_id).is_some_and(|order| order.order.account == *account)
            && let Some(closed) = self.close_order(*order_id, OrderStatus::Cancelled)
        {
            return Ok(Answer::OrderCancelled(closed.result(Vec::new())));
        }
        Err(match self.closed_order_of(account, *order_id) {
            Some(result) => Refusal::OrderClosed { result },
            None => Refusal::UnknownOrder { account: account.clone(), order_id: *order_id },
        })
    }

    /// Closes an order that rests; how it ended.
    pub(crate) fn close_order(&mut self, id: OrderId, status: OrderStatus) -> Option<Order> {
        let order = self.tables.orders.remove(&id)?;
        self.indexes.order_closed(&order);
        let closed = Order { status, ..order.as_ref().clone() };
        self.relock(Some(&order), &closed);
        self.orders_changed(&closed.order.account);
        self.events.push(Event::OrderClosed {
            order_id: id,
            symbol: closed.order.symbol.clone(),
            account: closed.order.account.clone(),
            client_order_id: closed.order.client_order_id.clone(),
            status,
            cum_qty: closed.cum_qty,
        });
        self.remember_closed(&closed);
        Some(closed)
    }
}
