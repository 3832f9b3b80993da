//! Quotes and orders for the generator: fitted to the book as it stands, then sometimes bent.

use quorate_domain::{
    Account, ClientOrderId, MAX_PRICE, Millis, OrderType, Price, Qty, QuoteSide, RefPrice, Side, Sides, Symbol,
    TimeInForce,
};
use quorate_ledger::{
    Against, AnsweredBelow, CancelOrder, Command, Digest, ExecuteOrder, KeepQuote, NewOrder, PlaceQuote, PlannedFill,
    PullQuote, QuoteBasis, QuoteCause, Reference, Remainder, Turn,
    bounds::{FILLS_PER_ORDER_MAX, ORDER_DEADLINE_MAX_MS, ORDER_TIMESTAMP_AHEAD_MS, STRATEGY_STATE_MAX},
};

use crate::{generate::Generator, generate_money, naive::Model};

const CAUSES: [QuoteCause; 5] = [
    QuoteCause::Fill,
    QuoteCause::Expiry,
    QuoteCause::ReferenceMoved,
    QuoteCause::Refresh,
    QuoteCause::AuthorityGained,
];

impl Generator {
    /// A quote, or what its maker must send first.
    pub(crate) fn place_quote(&mut self, model: &Model) -> Command {
        // Mostly any symbol; often one that is offered a turn, or may not be quoted for a while.
        let wanted = model.symbols.iter().filter(|(_, state)| {
            let paused = state.paused_until.is_some_and(|until| until > model.log_time) && state.holder.is_some();
            paused || matches!(state.turn, Some(Turn::Offered { .. }))
        });
        let wanted: Vec<Symbol> = wanted.map(|(name, _)| name.clone()).collect();
        let taken = self.rng.pick(&wanted).cloned().filter(|_| self.rng.chance(300));
        let symbol = taken.unwrap_or_else(|| self.symbol());
        if let Some(maker) = model.symbols.get(&symbol).and_then(|state| state.holder.clone())
            && !model.makers[&maker].parameters.contains_key(&symbol)
            && self.rng.chance(900)
        {
            return self.commit_parameters(maker, symbol, model);
        }
        Command::PlaceQuote(self.quote_of(symbol, model))
    }

    fn quote_of(&mut self, symbol: Symbol, model: &Model) -> PlaceQuote {
        let epoch = self.epoch(&symbol, model);
        let state = model.symbols.get(&symbol);
        let holder = state.and_then(|state| state.holder.as_ref()).map(|holder| model.makers[holder].incarnation);
        let last = state.map_or(0, |state| state.quote_seq);
        let per_lot = state.map_or(1, |state| generate_money::weight(model, &state.instrument));
        let position_seq = state.map_or(0, |_| model.position_seq(&symbol));
        let bid_price = self.rng.within(4, 9);
        let ask_price = bid_price + self.rng.within(1, 3);
        let (mut bid, mut ask) = (self.quote_side(bid_price, per_lot), self.quote_side(ask_price, per_lot));
        if state.is_some() && self.rng.chance(900) {
            // Kept clear of what rests.
            if let Some((_, sell)) = model.best_resting(&symbol, Side::Sell) {
                bid = bid.map(|side| QuoteSide { price: side.price.min(Price(sell.0 - 1)), ..side });
            }
            if let Some((_, buy)) = model.best_resting(&symbol, Side::Buy) {
                ask = ask.map(|side| QuoteSide { price: side.price.max(Price(buy.0 + 1)), ..side });
            }
        }
        let mut place = PlaceQuote {
            incarnation: holder.unwrap_or(1),
            secret: self.holders_secret(&symbol, model),
            epoch,
            revision: self.revision(&symbol, model),
            quote_seq: last + 1 + self.rng.below(2),
            position_seq,
            bid,
            ask,
            allow_reduced: self.rng.chance(600),
            ttl_ms: *self.rng.pick(&[100, 400, 2_000, 10_000, 30_000, 30_000]).unwrap(),
            cause: *self.rng.pick(&CAUSES).unwrap(),
            basis: self.basis(&symbol, model),
            symbol,
        };
        if self.rng.chance(self.wrong) {
            self.bend_quote(&mut place);
        }
        place
    }

    fn basis(&mut self, symbol: &Symbol, model: &Model) -> QuoteBasis {
        let holder = model.symbols.get(symbol).and_then(|state| state.holder.as_ref());
        let committed = holder.and_then(|holder| model.makers[holder].parameters.get(symbol).copied());
        let parameters = committed.filter(|_| !self.rng.chance(self.wrong / 4)).unwrap_or(Digest([4; 32]));
        let reference = self.rng.chance(800).then(|| Reference {
            source: "walk:BTCUSDT".parse().unwrap(),
            price: RefPrice(self.rng.within(2, 30)),
            seq: self.rng.below(9),
            time: Millis(self.log_time),
        });
        let mut basis = QuoteBasis {
            computed_at: self.rng.below(1_000),
            reference,
            room: self.rng.chance(500).then_some(Sides { bid: Qty(3), ask: Qty(-1) }),
            strategy: "naive".parse().unwrap(),
            version: 1,
            parameters,
            state: vec![7; if self.rng.chance(50) { STRATEGY_STATE_MAX } else { 0 }],
        };
        if self.rng.chance(self.wrong / 8) {
            match (self.rng.below(3), &mut basis.reference) {
                (0, Some(reference)) => reference.price = RefPrice(1),
                (1, Some(reference)) => reference.price = RefPrice(2 * MAX_PRICE + 1),
                _ => basis.state = vec![0; STRATEGY_STATE_MAX + 1],
            }
        }
        basis
    }

    /// Keeps a quote that stands; where none does, mostly places one.
    pub(crate) fn keep_or_place_quote(&mut self, model: &Model) -> Command {
        let quoted = model.symbols.iter().filter(|(_, state)| state.quote.is_some());
        let quoted: Vec<Symbol> = quoted.map(|(name, _)| name.clone()).collect();
        match self.rng.pick(&quoted).cloned() {
            Some(symbol) => Command::KeepQuote(self.keep_quote(symbol, model)),
            None if self.rng.chance(900) => self.place_quote(model),
            None => {
                let symbol = self.symbol();
                Command::KeepQuote(self.keep_quote(symbol, model))
            }
        }
    }

    fn keep_quote(&mut self, symbol: Symbol, model: &Model) -> KeepQuote {
        let state = model.symbols.get(&symbol);
        let holder = state.and_then(|state| state.holder.as_ref()).map(|holder| model.makers[holder].incarnation);
        let quote = state.and_then(|state| state.quote.as_ref());
        let mut keep = KeepQuote {
            incarnation: holder.unwrap_or(1),
            secret: self.holders_secret(&symbol, model),
            epoch: self.epoch(&symbol, model),
            revision: self.revision(&symbol, model),
            quote_seq: state.map_or(0, |state| state.quote_seq) + 1 + self.rng.below(2),
            quote_id: quote.map_or(1, |quote| quote.id),
            position_seq: state.map_or(0, |_| model.position_seq(&symbol)),
            ttl_ms: *self.rng.pick(&[100, 2_000, 10_000, 30_000]).unwrap(),
            basis: self.basis(&symbol, model),
            symbol,
        };
        if self.rng.chance(self.wrong) {
            match self.rng.below(7) {
                0 => keep.quote_seq = keep.quote_seq.saturating_sub(1 + self.rng.below(3)),
                1 => keep.position_seq = keep.position_seq.saturating_sub(1),
                2 => keep.position_seq += 1,
                3 => keep.incarnation = self.rng.below(keep.incarnation + 2),
                4 => keep.ttl_ms = *self.rng.pick(&[0, 99, 30_001, u64::MAX]).unwrap(),
                5 => keep.quote_id = keep.quote_id.saturating_sub(1),
                _ => keep.quote_id += 1,
            }
        }
        keep
    }

    fn quote_side(&mut self, price: i64, per_lot: i64) -> Option<QuoteSide> {
        if self.rng.chance(100) {
            return None;
        }
        let units = *self.rng.pick(&[5, 20, 34, 50, 100, 150]).unwrap();
        Some(QuoteSide { price: Price(price), qty: Qty(self.rng.within(1, (units / per_lot).max(1))) })
    }

    fn bend_quote(&mut self, place: &mut PlaceQuote) {
        match self.rng.below(10) {
            0 => place.quote_seq = place.quote_seq.saturating_sub(1 + self.rng.below(3)),
            1 => place.position_seq = place.position_seq.saturating_sub(1),
            2 => place.position_seq += 1,
            3 => place.incarnation = self.rng.below(place.incarnation + 2),
            4 => place.ttl_ms = *self.rng.pick(&[0, 99, 30_001, u64::MAX]).unwrap(),
            5 => (place.bid, place.ask) = (None, None),
            6 => place.bid = place.ask,
            7 => place.ask = Some(QuoteSide { price: Price(self.rng.within(-1, 1)), qty: Qty(1) }),
            8 => place.bid = Some(QuoteSide { price: Price(1), qty: Qty(self.rng.within(-1, 0)) }),
            _ => place.ask = Some(QuoteSide { price: Price(100), qty: Qty(i64::MAX / 3) }),
        }
    }

    pub(crate) fn pull_quote(&mut self, model: &Model) -> PullQuote {
        let symbol = self.symbol();
        let (epoch, secret) = (self.epoch(&symbol, model), self.holders_secret(&symbol, model));
        let last = model.symbols.get(&symbol).map_or(0, |state| state.quote_seq);
        let quote_seq = if self.rng.chance(self.wrong) { self.rng.below(last + 1) } else { last + 1 };
        PullQuote { symbol, epoch, secret, quote_seq }
    }

    pub(crate) fn cancel_order(&mut self, model: &Model) -> CancelOrder {
        let open: Vec<_> = model.orders.iter().filter(|order| model.is_open(order)).collect();
        let all: Vec<_> = model.orders.iter().collect();
        let order = if self.rng.chance(800) { self.rng.pick(&open) } else { self.rng.pick(&all) };
        let (account, order_id) =
            order.map_or_else(|| (self.account(), 7), |order| (order.new.account.clone(), order.id));
        CancelOrder {
            exchange_epoch: self.exchange_epoch(model),
            account: if self.rng.chance(50) { self.account() } else { account },
            order_id: if self.rng.chance(30) { order_id + 1 } else { order_id },
        }
    }

    pub(crate) fn account(&mut self) -> Account {
        Account::new(&format!("acc{}", self.rng.below(self.accounts))).unwrap()
    }

    pub(crate) fn exchange_epoch(&mut self, model: &Model) -> u64 {
        let present = model.exchange.unwrap_or(0);
        if self.rng.chance(self.wrong / 8) { self.rng.below(present + 2) } else { present }
    }

    pub(crate) fn execute_order(&mut self, model: &Model) -> ExecuteOrder {
        let again: Vec<_> = model.executed.iter().map(|(execute, _)| execute).collect();
        if self.rng.chance(25)
            && let Some(before) = self.rng.pick(&again)
        {
            return (*before).clone();
        }
        let order = self.new_order(model);
        let (fills, remainder) = self.plan(&order, model);
        let exec_id = model.last_exec_id(&order.symbol) + 1;
        let kept_from = model.answered_below.get(&order.symbol).copied().unwrap_or(1).max(1);
        let also_answered = self.also_answered(&order.symbol, model);
        let mut execute = ExecuteOrder {
            exchange_epoch: self.exchange_epoch(model),
            exec_id,
            revision: self.revision(&order.symbol, model),
            answered_below: if self.rng.chance(50) { exec_id } else { kept_from.min(exec_id) },
            also_answered,
            deadline: Millis(model.log_time.0 + 1 + self.rng.below(5_000)),
            order,
            fills,
            remainder,
        };
        if self.rng.chance(self.wrong * 2) {
            self.bend_execution(&mut execute, model);
        }
        execute
    }

    /// Mostly nothing; else of another symbol, and seldom what no exchange may say.
    fn also_answered(&mut self, symbol: &Symbol, model: &Model) -> Option<AnsweredBelow> {
        if !self.rng.chance(200) {
            return None;
        }
        let other = self.symbol();
        if other == *symbol && !self.rng.chance(self.wrong * 2) {
            return None;
        }
        let next = model.last_exec_id(&other) + 1;
        let below = if self.rng.chance(self.wrong * 2) { next + self.rng.below(2) } else { self.rng.below(next + 1) };
        Some(AnsweredBelow { symbol: other, below })
    }

    /// One that is known already, or differs from it in a single field.
    fn known_order(&mut self, model: &Model) -> Option<NewOrder> {
        let recent = &model.orders[model.orders.len().saturating_sub(20)..];
        let mut order = self.rng.pick(recent)?.new.clone();
        match self.rng.below(9) {
            0 => order.side = order.side.opposite(),
            1 => order.order_type = *self.rng.pick(&[OrderType::Limit, OrderType::LimitMaker]).unwrap(),
            2 => order.time_in_force = *self.rng.pick(&[TimeInForce::Gtc, TimeInForce::Ioc]).unwrap(),
            3 => order.price = order.price.map(|price| Price(price.0 + 1)),
            4 => order.qty = Qty(order.qty.0 + 1),
            5 => order.timestamp = Millis(order.timestamp.0.saturating_sub(1)),
            6 => order.account = self.account(),
            7 => order.symbol = self.symbol(),
            _ => {}
        }
        Some(order)
    }

    fn new_order(&mut self, model: &Model) -> NewOrder {
        if self.rng.chance(40)
            && let Some(order) = self.known_order(model)
        {
            return order;
        }
        self.orders_named += 1;
        let name = if self.rng.chance(30) { self.rng.below(self.orders_named) } else { self.orders_named };
        let (order_type, time_in_force) = match self.rng.below(10) {
            0..5 => (OrderType::Limit, TimeInForce::Gtc),
            5 => (OrderType::Limit, TimeInForce::Ioc),
            6 => (OrderType::Limit, TimeInForce::Fok),
            7..9 => (OrderType::Market, TimeInForce::Ioc),
            _ => (OrderType::LimitMaker, TimeInForce::Gtc),
        };
        let timestamp = match self.rng.below(100) {
            // However old it says to be.
            0 => self.rng.below(model.log_time.0 + 1),
            _ => (model.log_time.0 + 1_000).saturating_sub(self.rng.below(3_000)),
        };
        let side = *self.rng.pick(&[Side::Buy, Side::Sell]).unwrap();
        let largest = if self.rng.chance(300) { 60 } else { 8 };
        let leaning = if side == Side::Buy { 0 } else { 3 };
        let quoted: Vec<Symbol> =
            model.symbols.keys().filter(|symbol| model.active_quote(symbol).is_some()).cloned().collect();
        let quoted = self.rng.pick(&quoted).cloned().filter(|_| self.rng.chance(700));
        NewOrder {
            account: self.account(),
            client_order_id: ClientOrderId::new(&format!("o{name}")).unwrap(),
            symbol: quoted.unwrap_or_else(|| self.symbol()),
            side,
            order_type,
            time_in_force,
            price: (order_type != OrderType::Market).then(|| Price(self.rng.within(2, 8) + leaning)),
            qty: Qty(self.rng.within(1, largest)),
            timestamp: Millis(timestamp),
        }
    }

    /// What rests against the order, best price first, quotes before orders.
    fn opposite(&self, order: &NewOrder, model: &Model) -> Vec<PlannedFill> {
        let side = order.side.opposite();
        let mut book = Vec::new();
        if !model.symbols.contains_key(&order.symbol) {
            return book;
        }
        if let Some(quote) = model.active_quote(&order.symbol)
            && let Some(quoted) = quote.side(side)
        {
            let leaves = model.leaves(&order.symbol, side);
            book.push(PlannedFill { against: Against::Quote(quote.id), leaves, price: quoted.price, qty: leaves });
        }
        for resting in model.orders.iter().filter(|resting| resting.new.symbol == order.symbol) {
            if resting.new.side == side && model.is_open(resting) {
                let (leaves, price) = (model.open_leaves(resting), resting.new.price.unwrap());
                book.push(PlannedFill { against: Against::Order(resting.id), leaves, price, qty: leaves });
            }
        }
        book.retain(|fill| {
            fill.leaves.0 > 0
                && match (order.price, order.side) {
                    (None, _) => true,
                    (Some(own), Side::Buy) => own >= fill.price,
                    (Some(own), Side::Sell) => own <= fill.price,
                }
        });
        book.sort_by_key(|fill| if order.side == Side::Buy { fill.price.0 } else { -fill.price.0 });
        book
    }

    fn plan(&mut self, order: &NewOrder, model: &Model) -> (Vec<PlannedFill>, Remainder) {
        let book = self.opposite(order, model);
        if order.order_type == OrderType::LimitMaker {
            let reject = !book.is_empty() && self.rng.chance(900);
            return (Vec::new(), if reject { Remainder::Reject } else { Remainder::Rest });
        }
        let (mut left, mut fills) = (order.qty.0, Vec::new());
        for mut fill in book {
            if left == 0 || self.rng.chance(self.wrong / 16) {
                break;
            }
            fill.qty = Qty(fill.leaves.0.min(left));
            left -= fill.qty.0;
            if fill.qty.0 > 1 && self.rng.chance(100) {
                // The same resting side twice.
                let first = PlannedFill { qty: Qty(1), ..fill };
                fills.push(first);
                fill = PlannedFill { leaves: Qty(fill.leaves.0 - 1), qty: Qty(fill.qty.0 - 1), ..fill };
            }
            fills.push(fill);
        }
        if order.time_in_force == TimeInForce::Fok && left > 0 {
            return (Vec::new(), Remainder::Expire);
        }
        let remainder = match order.time_in_force {
            _ if left == 0 => Remainder::None,
            TimeInForce::Gtc if self.rng.chance(950) => Remainder::Rest,
            TimeInForce::Gtc | TimeInForce::Ioc | TimeInForce::Fok => Remainder::Expire,
        };
        (fills, remainder)
    }

    fn bend_execution(&mut self, execute: &mut ExecuteOrder, model: &Model) {
        let log_time = self.log_time;
        match self.rng.below(20) {
            0 => execute.exec_id += self.rng.below(3),
            1 => execute.exec_id -= self.rng.below(3).min(execute.exec_id),
            10 => execute.answered_below = self.rng.below(execute.exec_id + 2),
            2 => execute.deadline = Millis(log_time.saturating_sub(self.rng.below(3))),
            3 => execute.deadline = Millis(log_time + ORDER_DEADLINE_MAX_MS + self.rng.below(2)),
            4 => execute.order.timestamp = Millis(log_time + ORDER_TIMESTAMP_AHEAD_MS + self.rng.below(2)),
            5 => execute.order.qty = Qty(self.rng.within(-1, 9)),
            6 => {
                execute.order.price =
                    self.rng.pick(&[None, Some(Price(0)), Some(Price(2)), Some(Price(12))]).copied().flatten()
            }
            7 => {
                execute.order.time_in_force =
                    *self.rng.pick(&[TimeInForce::Gtc, TimeInForce::Ioc, TimeInForce::Fok]).unwrap()
            }
            8 => {
                execute.remainder =
                    *self.rng.pick(&[Remainder::None, Remainder::Rest, Remainder::Expire, Remainder::Reject]).unwrap()
            }
            9 => {
                let by = self.rng.below(200);
                let wait = execute.fills.last().copied().map(|fill| PlannedFill { qty: Qty(1), ..fill });
                let more = usize::try_from(by).unwrap().min(FILLS_PER_ORDER_MAX + 1);
                execute.fills.extend(wait.into_iter().cycle().take(more));
            }
            _ => self.bend_fill(execute, model),
        }
    }

    fn bend_fill(&mut self, execute: &mut ExecuteOrder, model: &Model) {
        if execute.fills.is_empty() {
            let against = self.rng.pick(&model.orders).map_or(Against::Quote(3), |order| Against::Order(order.id));
            execute.fills.push(PlannedFill { against, leaves: Qty(1), price: Price(5), qty: Qty(1) });
        }
        let at = usize::try_from(self.rng.below(u64::try_from(execute.fills.len()).unwrap())).unwrap();
        let resting: Vec<&Symbol> = model.symbols.keys().collect();
        let elsewhere = self.rng.pick(&resting).and_then(|symbol| model.active_quote(symbol)).map(|quote| quote.id);
        let fill = &mut execute.fills[at];
        match self.rng.below(7) {
            0 => fill.leaves = Qty(fill.leaves.0 + self.rng.within(-1, 1)),
            1 => fill.price = Price(fill.price.0 + self.rng.within(-1, 1)),
            2 => fill.qty = Qty(fill.qty.0 + self.rng.within(-1, 2)),
            3 => {
                // More than the leaves, and the order made large enough to ask for it.
                fill.qty = Qty(fill.leaves.0 + 1);
                execute.order.qty = Qty(execute.fills.iter().map(|fill| fill.qty.0).sum::<i64>());
                execute.remainder = Remainder::None;
            }
            4 => fill.against = Against::Order(self.rng.below(300)),
            5 => fill.against = elsewhere.map_or(fill.against, Against::Quote),
            _ => execute.order.side = execute.order.side.opposite(),
        }
    }
}
