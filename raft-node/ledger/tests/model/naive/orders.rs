//! Orders, fills, and the positions they make.

use std::collections::BTreeMap;

use quorate_domain::{
    Account, Exposure, Money, OrderId, OrderType, Position, Price, Qty, QuoteId, Side, Symbol, TimeInForce,
};
use quorate_ledger::{
    Against, Answer, CancelOrder, Event, ExecuteOrder, FillCommitted, FilledMaker, NewOrder, OrderResult, OrderStatus,
    Outcome, PlannedFill, QuoteEndReason, Refusal, RegisterExchange, Remainder, Trade,
    bounds::{
        EXEC_WINDOW, FILLS_PER_ORDER_MAX, NOTIONAL_MAX, OPEN_ORDERS_MAX, ORDER_DEADLINE_MAX_MS,
        ORDER_TIMESTAMP_AHEAD_MS,
    },
};

use super::{
    Done, Fill, Model, Order, Posting, accepted, full,
    instruments::{lot_units, notional, pays, worth_in_range},
    invalid, some_text,
};

/// Whether an order or quote side on `side` at `own` would trade with an opposite one at `other`.
pub(crate) trait WouldPay {
    fn would_pay(self, own: Price, other: Price) -> bool;
}

impl WouldPay for Side {
    fn would_pay(self, own: Price, other: Price) -> bool {
        match self {
            Side::Buy => own >= other,
            Side::Sell => own <= other,
        }
    }
}

impl Model {
    pub(super) fn order_mut(&mut self, id: OrderId) -> &mut Order {
        self.orders.iter_mut().find(|order| order.id == id).unwrap()
    }

    pub(super) fn order(&self, id: OrderId) -> &Order {
        self.orders.iter().find(|order| order.id == id).unwrap()
    }

    fn fills_of(&self, id: OrderId) -> impl Iterator<Item = &Fill> {
        self.fills.iter().filter(move |fill| fill.taker == id || fill.against == Against::Order(id))
    }

    fn filled(&self, id: OrderId) -> i64 {
        self.fills_of(id).map(|fill| fill.qty.0).sum()
    }

    fn status(&self, order: &Order) -> OrderStatus {
        let filled = self.filled(order.id);
        match order.ended {
            Some(ended) => ended,
            None if filled == order.new.qty.0 => OrderStatus::Filled,
            None if filled > 0 => OrderStatus::PartiallyFilled,
            None => OrderStatus::New,
        }
    }

    pub(crate) fn is_open(&self, order: &Order) -> bool {
        order.ended.is_none() && self.filled(order.id) < order.new.qty.0
    }

    pub(crate) fn open_leaves(&self, order: &Order) -> Qty {
        Qty(order.new.qty.0 - self.filled(order.id))
    }

    pub(crate) fn result(&self, order: &Order) -> OrderResult {
        let money: i128 = self.fills_of(order.id).map(Fill::notional).sum();
        OrderResult {
            order_id: order.id,
            status: self.status(order),
            cum_qty: Qty(self.filled(order.id)),
            leaves_qty: if self.is_open(order) { self.open_leaves(order) } else { Qty(0) },
            cum_quote: Money(money),
            trades: Vec::new(),
        }
    }

    pub(super) fn order_closed(&self, id: OrderId) -> Event {
        let order = self.order(id);
        Event::OrderClosed {
            order_id: id,
            symbol: order.new.symbol.clone(),
            account: order.new.account.clone(),
            client_order_id: order.new.client_order_id.clone(),
            status: self.status(order),
            cum_qty: Qty(self.filled(id)),
        }
    }

    /// What the symbol's quotes bought less what they sold, and nothing once it is settled; `None` where that leaves the range.
    pub(crate) fn position(&self, symbol: &Symbol) -> Option<Position> {
        self.profit(symbol).position.try_into().ok().map(Position)
    }

    /// How many trades the position is the sum of.
    pub(crate) fn position_seq(&self, symbol: &Symbol) -> u64 {
        u64::try_from(self.profits(symbol).len() - 1).unwrap()
    }

    /// The best-priced open order of the symbol on `side`, the oldest of these, and its price.
    pub(crate) fn best_resting(&self, symbol: &Symbol, side: Side) -> Option<(OrderId, Price)> {
        let mut best: Option<(OrderId, Price)> = None;
        for order in self.orders.iter().filter(|order| order.new.symbol == *symbol && order.new.side == side) {
            let Some(price) = order.new.price.filter(|_| self.is_open(order)) else { continue };
            let better = best.is_none_or(|(_, so_far)| match side {
                Side::Buy => price > so_far,
                Side::Sell => price < so_far,
            });
            if better {
                best = Some((order.id, price));
            }
        }
        best
    }

    pub(super) fn register_exchange(
        &mut self,
        index: u64,
        register: &RegisterExchange,
        events: &mut Vec<Event>,
    ) -> Result<Done, Refusal> {
        self.exchange = Some(index);
        self.executed.clear();
        self.answered_below.clear();
        events.push(Event::ExchangeRegistered { exchange: register.exchange.clone(), exchange_epoch: index });
        Ok(accepted(Answer::ExchangeRegistered { exchange_epoch: index }))
    }

    pub(super) fn present_exchange(&self, epoch: u64) -> Result<(), Refusal> {
        if self.exchange == Some(epoch) {
            return Ok(());
        }
        Err(Refusal::StaleExchange { exchange_epoch: self.exchange.unwrap_or(0) })
    }

    pub(crate) fn last_exec_id(&self, symbol: &Symbol) -> u64 {
        self.executed.iter().filter(|(of, _)| of.order.symbol == *symbol).map(|(of, _)| of.exec_id).max().unwrap_or(0)
    }

    fn has_answers(&mut self, symbol: &Symbol, below: u64) {
        let kept_from = self.answered_below.entry(symbol.clone()).or_default();
        *kept_from = (*kept_from).max(below);
    }

    fn is_kept(&self, execute: &ExecuteOrder) -> bool {
        execute.exec_id >= self.answered_below.get(&execute.order.symbol).copied().unwrap_or(0)
    }

    pub(super) fn execute_order(
        &mut self,
        index: u64,
        execute: &ExecuteOrder,
        events: &mut Vec<Event>,
    ) -> Result<Done, Refusal> {
        self.present_exchange(execute.exchange_epoch)?;
        let symbol = &execute.order.symbol;
        self.known(symbol)?;
        if execute.answered_below > execute.exec_id {
            return Err(invalid());
        }
        if let Some(also) = &execute.also_answered {
            if also.symbol == *symbol || also.below > self.last_exec_id(&also.symbol) + 1 {
                return Err(invalid());
            }
            self.has_answers(&also.symbol, also.below);
        }
        self.has_answers(symbol, execute.answered_below);
        let (exec_id, last) = (execute.exec_id, self.last_exec_id(symbol));
        if exec_id <= last {
            let kept = self.executed.iter().find(|(first, _)| first == execute && self.is_kept(first));
            return kept.map(|(_, answer)| Done::Before(answer.clone())).ok_or(Refusal::ExecReused { exec_id });
        }
        if exec_id != last + 1 {
            return Err(Refusal::ExecGap { expected: last + 1 });
        }
        if self.executed.iter().filter(|(first, _)| self.is_kept(first)).count() >= EXEC_WINDOW {
            return Err(Refusal::ExecWindowFull { max: EXEC_WINDOW as u64 });
        }
        if self.kill_switch {
            return Err(Refusal::KillSwitch { control_version: self.control_version });
        }
        self.of_the_present_revision(symbol, execute.revision)?;
        if !self.plan_well_formed(execute) {
            return Err(invalid());
        }
        self.new_and_in_time(execute)?;
        let before = (self.fills.len(), self.book.len(), self.orders.len());
        let carried_out = self.carry_out(index, execute);
        if carried_out.is_err() {
            self.fills.truncate(before.0);
            self.book.truncate(before.1);
            self.orders.truncate(before.2);
        }
        Ok(self.record(index, execute, carried_out?, events))
    }

    /// Checks 10 to 12, carrying everything out as it comes; the events of the fills.
    fn carry_out(&mut self, index: u64, execute: &ExecuteOrder) -> Result<Vec<Event>, Refusal> {
        let account = &execute.order.account;
        let covered = self.room_for_account(account).and_then(|()| self.would_be_covered(execute));
        let fill_events = self.fill_and_rest(index, execute)?;
        covered?;
        self.add_order(index, execute);
        Ok(fill_events)
    }

    fn add_order(&mut self, index: u64, execute: &ExecuteOrder) {
        let ended = match execute.remainder {
            Remainder::None | Remainder::Rest => None,
            Remainder::Expire => Some(OrderStatus::Expired),
            Remainder::Reject => Some(OrderStatus::Rejected),
        };
        let mut order =
            Order { id: index, new: execute.order.clone(), covered: 0, ended, closed_at: None, swept: false };
        let NewOrder { account, symbol, side, .. } = &execute.order;
        if pays(&self.symbols[symbol].instrument).is_some() && *side == Side::Sell {
            order.covered = self.free_contracts(account, symbol).min(self.open_leaves(&order).0);
        }
        self.orders.push(order);
    }

    fn plan_well_formed(&self, execute: &ExecuteOrder) -> bool {
        let ExecuteOrder { order, fills, remainder, .. } = execute;
        let sum: i128 = fills.iter().map(|fill| i128::from(fill.qty.0)).sum();
        let qty = i128::from(order.qty.0);
        let type_good = match order.order_type {
            OrderType::Limit => order.price.is_some(),
            OrderType::Market => order.price.is_none() && order.time_in_force == TimeInForce::Ioc,
            OrderType::LimitMaker => {
                order.price.is_some() && order.time_in_force == TimeInForce::Gtc && fills.is_empty()
            }
        };
        let remainder_good = match remainder {
            Remainder::None => sum == qty,
            Remainder::Rest => sum != qty && order.time_in_force == TimeInForce::Gtc,
            Remainder::Expire => sum != qty,
            Remainder::Reject => sum != qty && order.order_type == OrderType::LimitMaker,
        };
        order.qty.is_valid()
            && order.price.is_none_or(|price| self.price_in_range(&order.symbol, price))
            && type_good
            && fills.len() <= FILLS_PER_ORDER_MAX
            && fills.iter().all(|fill| fill.qty.is_valid() && self.price_in_range(&order.symbol, fill.price))
            && sum <= qty
            && remainder_good
            && (order.time_in_force != TimeInForce::Fok || sum == qty || fills.is_empty())
            && execute.deadline.0 <= self.log_time.0.saturating_add(ORDER_DEADLINE_MAX_MS)
            && order.timestamp.0 <= self.log_time.0.saturating_add(ORDER_TIMESTAMP_AHEAD_MS)
    }

    /// Checks 7 to 9.
    fn new_and_in_time(&self, execute: &ExecuteOrder) -> Result<(), Refusal> {
        let order = &execute.order;
        let known = self.orders.iter().find(|known| {
            self.is_known(known)
                && (&known.new.account, &known.new.client_order_id) == (&order.account, &order.client_order_id)
        });
        if let Some(known) = known {
            return Err(Refusal::DuplicateOrder {
                client_order_id: order.client_order_id.clone(),
                same: same_order(&known.new, order),
                result: self.result(known),
            });
        }
        if self.passed(execute.deadline) {
            return Err(Refusal::DeadlinePassed { log_time: self.log_time });
        }
        self.has_a_place(&order.account)
    }

    fn has_a_place(&self, account: &Account) -> Result<(), Refusal> {
        let mut held: BTreeMap<&Account, usize> = BTreeMap::new();
        for order in self.orders.iter().filter(|order| !order.swept) {
            *held.entry(&order.new.account).or_default() += 1;
        }
        let own = held.remove(account).unwrap_or(0);
        let others: usize = held.values().sum();
        let larger: Vec<usize> = held.into_values().filter(|names| *names > own).collect();
        let counted = if let [largest] = larger[..] { others - largest + own } else { others };
        let free = self.names_max - own - others;
        if 2 * own < self.names_max - counted && free > 0 {
            return Ok(());
        }
        let half = (self.names_max - counted).div_ceil(2);
        let max = u64::try_from(half.min(own + free)).unwrap();
        Err(Refusal::NamesFull { account: account.clone(), max })
    }

    /// Checks 10 and 11, carrying the fills out as they come; their events, in order.
    fn fill_and_rest(&mut self, index: u64, execute: &ExecuteOrder) -> Result<Vec<Event>, Refusal> {
        let mut events = Vec::new();
        for planned in &execute.fills {
            let maker = self.fill(index, &execute.order, planned)?;
            events.push(Event::FillCommitted(FillCommitted {
                trade_id: u64::try_from(self.fills.len()).unwrap(),
                symbol: execute.order.symbol.clone(),
                price: planned.price,
                qty: planned.qty,
                notional: Money(self.fills.last().unwrap().notional()),
                taker_order_id: index,
                taker_side: execute.order.side,
                taker_fee: Money(self.fills.last().unwrap().taker_fee()),
                maker_fee: Money(self.fills.last().unwrap().maker_fee()),
                maker,
            }));
            match planned.against {
                Against::Order(id) if !self.is_open(self.order(id)) => events.push(self.order_closed(id)),
                Against::Quote(id) if SIDES.iter().all(|side| self.leaves(&execute.order.symbol, *side) == Qty(0)) => {
                    events.push(quote_filled(&execute.order.symbol, id));
                }
                Against::Order(_) | Against::Quote(_) => {}
            }
        }
        if execute.remainder == Remainder::Rest {
            self.may_rest(&execute.order)?;
        }
        Ok(events)
    }

    fn fill(&mut self, taker: OrderId, order: &NewOrder, planned: &PlannedFill) -> Result<FilledMaker, Refusal> {
        let (symbol, against, resting_side) = (&order.symbol, planned.against, order.side.opposite());
        let hit = match against {
            Against::Quote(id) => {
                let quote = self.active_quote(symbol).filter(|quote| quote.id == id);
                let side = quote.and_then(|quote| quote.side(resting_side));
                side.map(|side| (self.leaves(symbol, resting_side), side.price))
            }
            Against::Order(id) => {
                let resting = self.orders.iter().find(|known| known.id == id && self.is_open(known));
                let resting = resting.filter(|known| known.new.symbol == *symbol && known.new.side == resting_side);
                resting.map(|known| (self.open_leaves(known), known.new.price.unwrap()))
            }
        };
        let Some((leaves, price)) = hit.filter(|(leaves, _)| leaves.0 > 0) else {
            return Err(Refusal::NotActive { against });
        };
        if leaves != planned.leaves {
            return Err(Refusal::LeavesMoved { against, leaves });
        }
        if planned.qty > leaves {
            return Err(invalid());
        }
        if planned.price != price || !order.price.is_none_or(|own| order.side.would_pay(own, price)) {
            return Err(Refusal::DoesNotCross { against, price });
        }
        let instrument = self.symbols[symbol].instrument.clone();
        let base = i128::from(planned.qty.0) * lot_units(&instrument);
        let at_most = pays(&instrument).unwrap_or(price);
        if notional(&instrument, at_most, planned.qty.0.into()) > NOTIONAL_MAX || base > NOTIONAL_MAX {
            return Err(Refusal::Overflow { what: some_text() });
        }
        self.book.push(Posting::Fill(self.fills.len()));
        self.fills.push(Fill {
            symbol: symbol.clone(),
            instrument,
            price,
            qty: planned.qty,
            taker,
            taker_account: order.account.clone(),
            taker_side: order.side,
            against,
        });
        let leaves = Qty(leaves.0 - planned.qty.0);
        Ok(match against {
            Against::Quote(quote_id) => {
                let position = self.position(symbol).ok_or(Refusal::Overflow { what: some_text() })?;
                let state = &self.symbols[symbol];
                let prices = [Some(2 * at_most.0), state.mark.as_ref().map(|mark| mark.price.0)];
                let in_range = |half_ticks| worth_in_range(&state.instrument, half_ticks, position.0.into());
                if !prices.into_iter().flatten().all(in_range) {
                    return Err(Refusal::Overflow { what: some_text() });
                }
                let (maker, epoch) = (state.holder.clone().unwrap(), state.epoch);
                let position_seq = self.position_seq(symbol);
                FilledMaker::Quote { quote_id, maker, epoch, leaves, position, position_seq }
            }
            Against::Order(order_id) => {
                let NewOrder { account, client_order_id, .. } = self.order(order_id).new.clone();
                FilledMaker::Order { order_id, account, client_order_id, leaves }
            }
        })
    }

    /// Check 11.
    fn may_rest(&self, order: &NewOrder) -> Result<(), Refusal> {
        let (Some(own), opposite) = (order.price, order.side.opposite()) else { return Err(invalid()) };
        let quoted = self
            .active_quote(&order.symbol)
            .filter(|_| self.leaves(&order.symbol, opposite).0 > 0)
            .and_then(|quote| Some((Against::Quote(quote.id), quote.side(opposite)?.price)));
        let resting = self.best_resting(&order.symbol, opposite).map(|(id, price)| (Against::Order(id), price));
        for (against, price) in [quoted, resting].into_iter().flatten() {
            if order.side.would_pay(own, price) {
                return Err(Refusal::WouldCross { against, price });
            }
        }
        if self.orders.iter().filter(|order| self.is_open(order)).count() >= OPEN_ORDERS_MAX {
            return Err(full(OPEN_ORDERS_MAX));
        }
        Ok(())
    }

    /// Tells of the order, with what the fills ended.
    fn record(&mut self, index: u64, execute: &ExecuteOrder, fill_events: Vec<Event>, events: &mut Vec<Event>) -> Done {
        let mut result = self.result(self.order(index));
        events.push(Event::OrderExecuted {
            order_id: index,
            exchange_epoch: execute.exchange_epoch,
            exec_id: execute.exec_id,
            order: execute.order.clone(),
            status: result.status,
            cum_qty: result.cum_qty,
            leaves_qty: result.leaves_qty,
        });
        if fill_events.iter().any(|event| matches!(event, Event::QuoteEnded { .. })) {
            self.symbols.get_mut(&execute.order.symbol).unwrap().quote = None;
        }
        events.extend(fill_events);
        let of_quotes = self.fills.iter().filter(|fill| fill.taker == index && fill.is_of_quote());
        self.count_fills(&execute.order.symbol, of_quotes.map(|fill| fill.qty.0).sum(), events);
        if !execute.fills.is_empty() {
            self.evaluate(events);
        }
        let own = self.fills.iter().enumerate().filter(|(_, fill)| fill.taker == index);
        result.trades = own
            .map(|(place, fill)| Trade {
                trade_id: u64::try_from(place + 1).unwrap(),
                price: fill.price,
                qty: fill.qty,
            })
            .collect();
        let outcome = Outcome::Accepted(Answer::OrderExecuted(result));
        self.executed.push((execute.clone(), self.response(index, outcome.clone())));
        Done::Outcome(outcome)
    }

    pub(super) fn cancel_order(&mut self, cancel: &CancelOrder, events: &mut Vec<Event>) -> Result<Done, Refusal> {
        self.present_exchange(cancel.exchange_epoch)?;
        let CancelOrder { account, order_id, .. } = cancel;
        let known = self
            .orders
            .iter()
            .find(|order| order.id == *order_id && order.new.account == *account && self.is_known(order));
        let Some(order) = known else {
            return Err(Refusal::UnknownOrder { account: account.clone(), order_id: *order_id });
        };
        if !self.is_open(order) {
            return Err(Refusal::OrderClosed { result: self.result(order) });
        }
        self.order_mut(*order_id).ended = Some(OrderStatus::Cancelled);
        events.push(self.order_closed(*order_id));
        Ok(accepted(Answer::OrderCancelled(self.result(self.order(*order_id)))))
    }
}

impl Fill {
    pub(crate) fn is_of_quote(&self) -> bool {
        matches!(self.against, Against::Quote(_))
    }
}

const SIDES: [Side; 2] = [Side::Buy, Side::Sell];

/// The same order, as far as a duplicate is concerned.
fn same_order(one: &NewOrder, other: &NewOrder) -> bool {
    one.symbol == other.symbol
        && one.side == other.side
        && one.order_type == other.order_type
        && one.time_in_force == other.time_in_force
        && one.price == other.price
        && one.qty == other.qty
}

/// The end of a quote that the fills left nothing of; the quote itself goes in [`Model::record`].
fn quote_filled(symbol: &Symbol, quote_id: QuoteId) -> Event {
    let (released_long, released_short) = (Exposure(0), Exposure(0));
    let reason = QuoteEndReason::Filled;
    Event::QuoteEnded { symbol: symbol.clone(), quote_id, released_long, released_short, reason }
}
