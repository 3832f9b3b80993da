//! The engine's front: what the process calls, and how the parts work together.
//!
//! `Requests` own what callers ask, one `Pipeline` for each symbol its executions, `Cancels` the cancels, and the `Mirror` what
//! is committed. None of them calls another: here one's result becomes the next one's input.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
};

use quorate_domain::{Account, Instrument, Millis, OrderId, OrderType, Price, Qty, Side, Symbol, TimeInForce};
use quorate_ledger::{
    Against, AnsweredBelow, ExchangeEpoch, ExecuteOrder, Frame, NewOrder, Refusal, Remainder, bounds::NAME_MEMORY_MS,
};

use crate::{
    cancels::{self, Cancels, Cause},
    mirror::{Contradiction, Mirror, Seen},
    pipeline::{Pipeline, Reaction, SlotState},
    planner::{Plan, Projection, Ready},
    requests::{Arrival, GivenUp, MetOwn, Requests, Taken, same},
    ticks::in_ticks,
    types::{
        Answered, CancelOutcome, Committed, Config, Depth, Effect, Halt, Input, Known, NotExecuted, Only, OrderOutcome,
        QuoteLeaves, RequestId, Snapshot, Stats, Submission, SubmissionId, Target, Terms,
    },
};

/// The exchange's state machine, for one exchange epoch.
///
/// After a start, a fencing or a broken stream: register the exchange (which gives the epoch), read a
/// [`Snapshot`] at or after that index, [`Engine::recover`], and hand in every frame from
/// [`Snapshot::first_frame`] on. What earlier epochs left in doubt is settled by that: it is in the
/// snapshot, or can never be.
#[derive(Debug)]
pub struct Engine {
    config: Config,
    exchange_epoch: ExchangeEpoch,
    stats: Stats,
    halted: Option<Halt>,
    pub(crate) mirror: Mirror,
    pub(crate) requests: Requests,
    pub(crate) pipelines: BTreeMap<Symbol, Pipeline>,
    /// Those of them in which something waits or is in flight.
    pub(crate) busy: BTreeSet<Symbol>,
    /// Where the executions in flight are.
    in_flight: BTreeMap<SubmissionId, Symbol>,
    pub(crate) cancels: Cancels,
    last_submission: u64,
    /// The symbol that an order of another last said the answers of.
    also_reported: Option<Symbol>,
    /// When it asked to be woken, where that is yet to come.
    wakes: Option<Millis>,
    effects: Vec<Effect>,
}

/// What to do with a cancel that is not proposed yet.
enum Step {
    Wait,
    Propose(OrderId),
    Reply(CancelOutcome),
}

impl Engine {
    /// An engine for a fresh registration, from state read at or after it. A snapshot that
    /// contradicts itself gives an engine that has halted.
    #[must_use]
    pub fn recover(config: Config, exchange_epoch: ExchangeEpoch, snapshot: Snapshot) -> Self {
        let mut mirror = Mirror::new(&snapshot, config.closed_max);
        let halted = mirror.load(snapshot).err().map(|Contradiction(what)| Halt::Inconsistent(what));
        Self {
            config,
            exchange_epoch,
            stats: Stats::default(),
            halted,
            mirror,
            requests: Requests::default(),
            pipelines: BTreeMap::new(),
            busy: BTreeSet::new(),
            in_flight: BTreeMap::new(),
            cancels: Cancels::new(exchange_epoch),
            last_submission: 0,
            also_reported: None,
            wakes: None,
            effects: Vec::new(),
        }
    }

    /// Takes one input at `now`, the best estimate of log time (the last stamp seen plus the elapsed
    /// monotonic time), and says what is to be done, in order.
    pub fn handle(&mut self, now: Millis, input: Input) -> Vec<Effect> {
        let now = now.max(self.mirror.applied().1);
        match input {
            Input::Order { request, order, terms } => self.on_order(now, request, order, terms),
            Input::Cancel { request, account, target, only } => self.on_cancel(request, account, (target, only)),
            Input::OutOfPatience { request } => self.on_patience(request),
            Input::Answer { submission, answered } => self.on_answer(submission, answered),
            Input::Frame(frame) => self.on_frame(now, frame),
            Input::Applied { index, log_time } => {
                if self.halted.is_none() {
                    self.mirror.advance(index, log_time);
                    self.advanced();
                }
            }
            Input::Wake => self.wakes = None,
            Input::Stop => self.halt(Halt::Stopped, false),
        }
        self.pump(now);
        std::mem::take(&mut self.effects)
    }

    /// The epoch it serves under.
    #[must_use]
    pub fn exchange_epoch(&self) -> ExchangeEpoch {
        self.exchange_epoch
    }

    /// Whether it has caught up with its snapshot and has not halted.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.halted.is_none() && self.mirror.is_ready()
    }

    /// Whether the kill switch is engaged, as the frames tell it.
    #[must_use]
    pub fn is_killed(&self) -> bool {
        self.mirror.killed().is_some()
    }

    /// Why it has halted, where it has.
    #[must_use]
    pub fn halted(&self) -> Option<&Halt> {
        self.halted.as_ref()
    }

    /// The index up to which it has seen the ledger's frames, and log time there.
    #[must_use]
    pub fn applied(&self) -> (u64, Millis) {
        self.mirror.applied()
    }

    /// How many orders are waiting or in flight.
    #[must_use]
    pub fn pending_orders(&self) -> usize {
        self.requests.len()
    }

    /// Counters since the start.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.stats
    }

    /// What a symbol trades as the ledger's frames tell it. Whoever is told of an execution by this engine asks it at once: then
    /// it is the instrument by which the order was executed.
    #[must_use]
    pub fn instrument(&self, symbol: &Symbol) -> Option<&Instrument> {
        self.mirror.market(symbol).and_then(|market| market.instrument.as_ref())
    }

    /// The active quote of a symbol as the ledger's frames tell it, its deadline not regarded.
    #[must_use]
    pub fn quote(&self, symbol: &Symbol) -> Option<&crate::types::Quote> {
        self.mirror.market(symbol).and_then(|market| market.quote.as_ref())
    }

    /// The first `levels` levels of each side: resting orders, and the quote while it lives at `now`.
    /// Empty for a symbol that is not defined.
    #[must_use]
    pub fn depth(&self, now: Millis, symbol: &Symbol, levels: usize) -> Depth {
        let index = self.mirror.applied().0;
        let Some(market) = self.mirror.market(symbol) else { return Depth { index, ..Depth::default() } };
        let quote = market.quote.as_ref().filter(|quote| quote.deadline > now);
        let side = |side: Side, quoted: Option<QuoteLeaves>| -> Vec<QuoteLeaves> {
            let resting = market.book.depth(side, levels).map(|level| (level.price, level.qty));
            let mut by_price: BTreeMap<Price, Qty> = resting.collect();
            if let Some(quoted) = quoted {
                let qty = by_price.entry(quoted.price).or_default();
                qty.0 = qty.0.saturating_add(quoted.leaves.0);
            }
            let row = |(price, leaves): (&Price, &Qty)| QuoteLeaves { price: *price, leaves: *leaves };
            match side {
                Side::Buy => by_price.iter().rev().take(levels).map(row).collect(),
                Side::Sell => by_price.iter().take(levels).map(row).collect(),
            }
        };
        Depth {
            index,
            bids: side(Side::Buy, quote.and_then(|quote| quote.bid)),
            asks: side(Side::Sell, quote.and_then(|quote| quote.ask)),
        }
    }

    fn on_order(&mut self, now: Millis, request: RequestId, order: NewOrder, terms: Terms) {
        if let Some(outcome) = self.answer_at_once(&order, terms) {
            return self.reply(request, outcome);
        }
        let symbol = order.symbol.clone();
        let deadline = now.plus(self.config.order_ttl_ms);
        match self.requests.take(request, (order, terms), deadline, &self.config) {
            Taken::New(arrival) => {
                self.stats.orders += 1;
                self.enqueue(symbol, arrival);
            }
            Taken::Attached => {}
            Taken::Crowded => self.reply(request, OrderOutcome::Unknown),
            Taken::Not(why) => self.reply(request, OrderOutcome::NotExecuted(why)),
        }
    }

    fn enqueue(&mut self, symbol: Symbol, arrival: Arrival) {
        self.pipelines.entry(symbol.clone()).or_default().enqueue(arrival);
        self.busy.insert(symbol);
    }

    /// What can be said without asking the ledger. Repeats come first: their answer does not depend
    /// on whether anything may be executed now.
    fn answer_at_once(&self, order: &NewOrder, terms: Terms) -> Option<OrderOutcome> {
        if self.halted.is_some() {
            return Some(OrderOutcome::NotExecuted(NotExecuted::Halted));
        }
        if !self.mirror.is_ready() {
            return Some(OrderOutcome::NotExecuted(NotExecuted::NotReady));
        }
        let Some(market) = self.mirror.market(&order.symbol) else {
            return Some(OrderOutcome::Refused(Refusal::UnknownSymbol { symbol: order.symbol.clone() }));
        };
        // Prices of another revision are checked where the order is planned.
        let instrument =
            market.instrument.as_ref().filter(|_| terms.tick.is_none_or(|tick| tick.revision == market.revision));
        if let Err(what) = check_form(order).and_then(|()| check_price(order, instrument)) {
            return Some(OrderOutcome::Refused(Refusal::Invalid { what: what.to_owned() }));
        }
        let other = market.tick().filter(|tick| terms.tick.is_some_and(|of| of.units != tick.units));
        let repriced = other.and_then(|tick| in_ticks(order, terms, tick));
        let order = repriced.as_ref().map_or(order, |(order, _)| order);
        let known = self.order(&order.account, &Target::Client(order.client_order_id.clone()));
        let (known_order, committed) = match known.filter(|known| self.is_name_taken(known)) {
            Some(Known::Pending { .. }) => return None,
            Some(Known::Open(open)) => {
                let (index, log_time) = self.mirror.applied();
                let index = index.max(open.order_id);
                let result = open.result();
                (open.order, Committed { index, log_time, result, repeat: true })
            }
            Some(Known::Closed { order, committed }) => (order, committed),
            None => {
                if let Some(control_version) = self.mirror.killed() {
                    return Some(OrderOutcome::Refused(Refusal::KillSwitch { control_version }));
                }
                return self.over_its_share(order).map(OrderOutcome::NotExecuted);
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

    /// As the ledger counts: some time after an order closed its name is free again.
    fn is_name_taken(&self, known: &Known) -> bool {
        let Known::Closed { committed, .. } = known else { return true };
        let (_, log_time) = self.mirror.applied();
        committed.log_time.plus(NAME_MEMORY_MS) > log_time
    }

    /// Whether the account has as many open orders as it may have. Those that may still come to rest count, so that none
    /// gets more by asking for many at once.
    fn over_its_share(&self, order: &NewOrder) -> Option<NotExecuted> {
        let Config { symbol_orders_max, account_orders_max, .. } = self.config;
        let most = self.mirror.open_count(&order.account) + self.requests.len() + self.in_flight.len();
        if order.time_in_force != TimeInForce::Gtc || most < symbol_orders_max.min(account_orders_max) {
            return None;
        }
        let count = |symbol: Option<&Symbol>| {
            self.open_orders(&order.account, symbol).len() + self.requests.may_rest(&order.account, symbol).count()
        };
        if count(Some(&order.symbol)) >= symbol_orders_max {
            return Some(NotExecuted::SymbolOrdersMax);
        }
        (count(None) >= account_orders_max).then_some(NotExecuted::AccountOrdersMax)
    }

    fn on_cancel(&mut self, request: RequestId, account: Account, wanted: (Target, Option<Only>)) {
        let refusal = if self.halted.is_some() {
            Some(NotExecuted::Halted)
        } else if !self.mirror.is_ready() {
            Some(NotExecuted::NotReady)
        } else if self.cancels.len() >= self.config.cancels_max
            || self.cancels.of(&account) >= self.config.part_of(self.config.cancels_max)
        {
            Some(NotExecuted::Overloaded)
        } else {
            None
        };
        if let Some(why) = refusal {
            let outcome = CancelOutcome::NotExecuted(why);
            self.effects.push(Effect::CancelReply { request, outcome });
            return;
        }
        let id = self.submission();
        self.cancels.take(id, Cause::Asked(Some(request)), account, wanted);
    }

    fn on_patience(&mut self, request: RequestId) {
        if let Some((id, outcome)) = self.cancels.give_up(request) {
            if outcome == CancelOutcome::Unknown {
                self.cancels.release(id);
                self.effects.push(Effect::CancelReply { request, outcome });
            } else {
                self.settle_cancel(id, outcome);
            }
            return;
        }
        let Some(arrival) = self.requests.awaited_by(request) else { return };
        let pending = self.requests.get(arrival);
        let pipeline = pending.and_then(|pending| self.pipelines.get(&pending.order.symbol));
        let proposed = pipeline.is_some_and(|pipeline| pipeline.is_proposed(arrival));
        match self.requests.give_up(request, proposed) {
            // It was never proposed, so it is answered now.
            Some(GivenUp::Ends(arrival)) => {
                self.settle(arrival, &OrderOutcome::NotExecuted(NotExecuted::TimedOut));
            }
            Some(GivenUp::Unknown) => self.reply(request, OrderOutcome::Unknown),
            None => {}
        }
    }

    fn on_answer(&mut self, submission: SubmissionId, answered: Answered) {
        if self.halted.is_some() {
            return;
        }
        if self.cancels.contains(submission) {
            return self.on_cancel_answer(submission, answered);
        }
        // Late answers to what is settled already find nothing.
        let Some(pipeline) = self.in_flight.get(&submission).and_then(|symbol| self.pipelines.get_mut(symbol)) else {
            return;
        };
        match pipeline.answered(submission, answered) {
            Reaction::None => {}
            Reaction::OutOfTurn => self.stats.gaps += 1,
            Reaction::Moved(arrival) => {
                self.stats.replanned += 1;
                self.requests.count_refusal(arrival);
            }
            Reaction::Settle(arrival, outcome) => {
                self.settle(arrival, &outcome);
                self.check_frames(self.mirror.applied().0);
            }
            Reaction::Resend(submission) => self.resend(submission),
            Reaction::Halt(settled, halt) => {
                if let Some((arrival, outcome)) = settled {
                    self.settle(arrival, &outcome);
                }
                self.halt(halt, false);
            }
        }
    }

    fn on_cancel_answer(&mut self, id: SubmissionId, answered: Answered) {
        match self.cancels.answered(id, answered, self.mirror.applied().0) {
            cancels::Reaction::None => {}
            cancels::Reaction::Resend(submission) => self.resend(submission),
            cancels::Reaction::Settle(outcome) => self.settle_cancel(id, outcome),
            cancels::Reaction::Halt(settled, halt) => {
                if let Some(outcome) = settled {
                    self.settle_cancel(id, outcome);
                }
                self.halt(halt, false);
            }
        }
    }

    fn resend(&mut self, submission: Submission) {
        self.stats.resent += 1;
        self.effects.push(Effect::Resend(submission));
    }

    fn on_frame(&mut self, now: Millis, frame: Frame) {
        if self.halted.is_some() {
            return;
        }
        match self.mirror.apply(frame) {
            Ok(seen) => {
                for seen in seen {
                    self.on_seen(now, seen);
                }
                self.advanced();
            }
            Err(Contradiction(what)) => self.halt(Halt::Inconsistent(what), false),
        }
    }

    fn on_seen(&mut self, now: Millis, seen: Seen) {
        match seen {
            Seen::Quoted(symbol, at) => self.pipelines.entry(symbol).or_default().habit.placed(at, now),
            Seen::QuoteFilled(symbol, at) => self.pipelines.entry(symbol).or_default().habit.filled(at, now),
            Seen::Executed(executed) if executed.exchange_epoch == self.exchange_epoch => {
                let pipeline = self.pipelines.entry(executed.order.symbol.clone()).or_default();
                match pipeline.executed(&executed) {
                    Ok(slot) => {
                        self.in_flight.remove(&slot.submission);
                        self.stats.committed += 1;
                        if let Some(AnsweredBelow { symbol, below }) = &slot.execute.also_answered
                            && let Some(pipeline) = self.pipelines.get_mut(symbol)
                        {
                            pipeline.reported(*below);
                        }
                        self.settle(slot.arrival, &OrderOutcome::Committed(executed.committed));
                    }
                    Err(what) => self.halt(Halt::Inconsistent(what), false),
                }
            }
            // Of an earlier epoch: the mirror has it.
            Seen::Executed(_) => {}
            // All frames before this one were seen: what they do not show can never be.
            Seen::ExchangeRegistered(exchange_epoch) if exchange_epoch > self.exchange_epoch => {
                self.halt(Halt::Fenced { exchange_epoch }, true);
            }
            Seen::ExchangeRegistered(_) => {}
        }
    }

    /// The mirror moved on: forget what it has caught up with, and end what its log time ends.
    fn advanced(&mut self) {
        let (index, log_time) = self.mirror.applied();
        self.cancels.seen(index);
        self.check_frames(index);
        let mut expired = Vec::new();
        for symbol in &self.busy {
            expired.extend(self.pipelines.get_mut(symbol).into_iter().flat_map(|one| one.expire(index, log_time)));
        }
        for arrival in expired {
            self.settle(arrival, &OrderOutcome::Refused(Refusal::DeadlinePassed { log_time }));
        }
    }

    /// What was answered as committed up to `index` must have been seen in its frame.
    fn check_frames(&mut self, index: u64) {
        let mut busy = self.busy.iter().filter_map(|symbol| self.pipelines.get(symbol));
        if busy.any(|pipeline| pipeline.misses_frame(index)) {
            let what = format!("an execution committed before {index} was in no frame");
            self.halt(Halt::Inconsistent(what), false);
        }
    }

    /// Does what can be done now: clears what was refused, cancels, and proposes what waits.
    fn pump(&mut self, now: Millis) {
        if self.halted.is_some() {
            return;
        }
        let busy: Vec<Symbol> = self.busy.iter().cloned().collect();
        for symbol in &busy {
            self.drain(symbol);
        }
        self.pump_cancels();
        if self.halted.is_some() || !self.mirror.is_ready() {
            return;
        }
        for symbol in &busy {
            while self.propose(now, symbol) {}
            if self.pipelines.get(symbol).is_none_or(Pipeline::is_idle) {
                self.busy.remove(symbol);
            }
        }
        // Plans may want orders gone first.
        self.pump_cancels();
    }

    /// What was refused waits again, once nothing of its symbol is open.
    fn drain(&mut self, symbol: &Symbol) {
        let Some(pipeline) = self.pipelines.get_mut(symbol) else { return };
        let left = match pipeline.drain() {
            Ok(left) => left,
            Err(what) => return self.halt(Halt::Inconsistent(what), false),
        };
        for slot in left {
            self.in_flight.remove(&slot.submission);
            if self.requests.is_awaited(slot.arrival) {
                self.enqueue(symbol.clone(), slot.arrival);
            } else {
                // Nobody waits any more, and it is known not to have happened.
                self.settle(slot.arrival, &OrderOutcome::NotExecuted(NotExecuted::TimedOut));
            }
        }
    }

    /// Takes the first order that waits in a symbol, and settles or proposes it. Whether the next one may be looked at.
    fn propose(&mut self, now: Millis, symbol: &Symbol) -> bool {
        let (applied, seen_at) = self.mirror.applied();
        let Some(pipeline) = self.pipelines.get(symbol) else { return false };
        let Some(arrival) = pipeline.first_waiting() else { return false };
        let Some(pending) = self.requests.get(arrival) else { return false };
        let Some(market) = self.mirror.market(symbol) else { return false };
        let Some(tick) = market.tick() else { return false };
        if pending.deadline <= now {
            self.settle(arrival, &OrderOutcome::NotExecuted(NotExecuted::TimedOut));
            return true;
        }
        if let Some(control_version) = self.mirror.killed() {
            self.settle(arrival, &OrderOutcome::Refused(Refusal::KillSwitch { control_version }));
            return true;
        }
        let full = self.in_flight.len() >= self.config.in_flight_max;
        if full || !pipeline.may_propose(applied, self.config.window_max) {
            return false;
        }
        // Its prices count in a tick that the mirror has not heard of yet.
        if pending.terms.tick.is_some_and(|of| of.revision > tick.revision) {
            return false;
        }
        let instrument = market.instrument.as_ref();
        let fits = self.requests.reprice(arrival, tick);
        let Some(pending) = self.requests.get(arrival) else { return false };
        if !fits || check_price(&pending.order, instrument).is_err() {
            self.settle(arrival, &OrderOutcome::NotExecuted(NotExecuted::OffTick));
            return true;
        }
        let give_up = pending.refused > self.config.replans_max;
        let plan = if give_up {
            Some(Plan::Ready(Ready::without_fills(Remainder::Expire)))
        } else {
            // The estimate may run ahead of log time; every second plan goes by what was seen.
            let now = if pending.refused % 2 == 1 { seen_at } else { now };
            let gone = |order_id| self.cancels.gone(order_id).is_some();
            let (in_flight, held) = (&pipeline.in_flight(), &self.cancels.held());
            let projection = Projection { mirror: &self.mirror, in_flight, gone: &gone, held, now };
            projection.plan(&pending.order, pending.terms)
        };
        let Ready { fills, remainder, in_match, expires } = match plan {
            Some(Plan::Ready(ready))
                if ready.meets_quote()
                    && let Some(until) = pipeline.habit.wait_until(now).filter(|until| *until < pending.deadline) =>
            {
                self.wake(until);
                return false;
            }
            Some(Plan::Ready(ready)) => ready,
            Some(Plan::ExpireFirst(orders)) => {
                let account = pending.order.account.clone();
                self.expire_makers(&account, &orders, Some(arrival));
                return false;
            }
            Some(Plan::Blocked) | None => return false,
        };
        let (exec_id, answered_below) = pipeline.next_exec();
        let execute = ExecuteOrder {
            exchange_epoch: self.exchange_epoch,
            exec_id,
            answered_below,
            also_answered: self.also_answered(symbol),
            revision: tick.revision,
            deadline: pending.deadline,
            order: pending.order.clone(),
            fills,
            remainder,
        };
        if let Some(also) = &execute.also_answered {
            self.also_reported = Some(also.symbol.clone());
        }
        self.stats.gave_up += u64::from(give_up);
        self.stats.proposed += 1;
        let id = self.submission();
        let command = quorate_ledger::Command::ExecuteOrder(execute.clone());
        self.effects.push(Effect::Submit(Submission { id, command }));
        self.in_flight.insert(id, symbol.clone());
        self.requests.planned(arrival, MetOwn { in_match, expires });
        if let Some(pipeline) = self.pipelines.get_mut(symbol) {
            pipeline.proposed(now, arrival, id, execute);
        }
        true
    }

    /// What an order of `symbol` says of the next other symbol of which the ledger keeps answers that have arrived: else those
    /// of symbols that have become quiet would be kept for good, and fill the window.
    fn also_answered(&self, symbol: &Symbol) -> Option<AnsweredBelow> {
        let after = self.also_reported.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        let rest = self.pipelines.range::<Symbol, _>((after, Bound::Unbounded));
        let mut in_turn = rest.chain(&self.pipelines).filter(|(other, _)| *other != symbol);
        in_turn
            .find_map(|(other, pipeline)| Some(AnsweredBelow { symbol: other.clone(), below: pipeline.unreported()? }))
    }

    /// Asks to be woken, unless it is woken by then.
    fn wake(&mut self, at: Millis) {
        if self.wakes.is_none_or(|wakes| at < wakes) {
            self.wakes = Some(at);
            self.effects.push(Effect::WakeAt(at));
        }
    }

    /// Orders that a taker of their own account met end: before it is planned again, or after it has ended itself.
    fn expire_makers(&mut self, account: &Account, orders: &[OrderId], before: Option<Arrival>) {
        for order_id in orders {
            if self.cancels.is_under_way(*order_id) || before.is_some() && self.cancels.len() >= self.config.cancels_max
            {
                continue;
            }
            let id = self.submission();
            self.cancels.take(id, Cause::SelfTrade { before }, account.clone(), (Target::Order(*order_id), None));
        }
    }

    /// Proposes the cancels whose turn has come.
    fn pump_cancels(&mut self) {
        for id in self.cancels.unsent() {
            match self.cancel_step(id) {
                Step::Wait => {}
                Step::Propose(order_id) => {
                    if let Some(submission) = self.cancels.propose(id, order_id) {
                        self.effects.push(Effect::Submit(submission));
                    }
                }
                Step::Reply(outcome) => self.settle_cancel(id, outcome),
            }
        }
    }

    fn cancel_step(&self, id: SubmissionId) -> Step {
        let Some(cancel) = self.cancels.get(id) else { return Step::Wait };
        let known = self.order(&cancel.account, &cancel.target);
        let open = match (known, &cancel.target) {
            (Some(Known::Pending { .. }), _) => return Step::Wait,
            (Some(Known::Closed { committed, .. }), _) => return Step::Reply(CancelOutcome::Closed(committed)),
            (Some(Known::Open(open)), _) => open,
            // Closed long ago, or of another account: the ledger knows.
            (None, Target::Order(order_id)) if cancel.only.is_none() => return Step::Propose(*order_id),
            // It may be one in flight, whose id is not known yet.
            (None, Target::Order(order_id)) if *order_id > self.mirror.applied().0 && self.is_any_sent() => {
                return Step::Wait;
            }
            // Whatever else is open is known here.
            (None, Target::Order(_) | Target::Client(_)) => return Step::Reply(CancelOutcome::UnknownOrder),
        };
        let pipeline = self.pipelines.get(&open.order.symbol);
        let hits = pipeline
            .into_iter()
            .flat_map(Pipeline::slots)
            .filter(|slot| matches!(slot.state, SlotState::Sent))
            .flat_map(|slot| &slot.execute.fills)
            .any(|fill| fill.against == Against::Order(open.order_id));
        match cancel.only {
            _ if hits => Step::Wait,
            Some(only) if !only.holds(open.cum_qty) => Step::Reply(CancelOutcome::Restricted),
            Some(_) | None => Step::Propose(open.order_id),
        }
    }

    fn is_any_sent(&self) -> bool {
        let mut slots = self.pipelines.values().flat_map(Pipeline::slots);
        slots.any(|slot| matches!(slot.state, SlotState::Sent))
    }

    fn settle_cancel(&mut self, id: SubmissionId, outcome: CancelOutcome) {
        match (self.cancels.settle(id), outcome) {
            (Some(Cause::Asked(Some(request))), outcome) => {
                self.effects.push(Effect::CancelReply { request, outcome });
            }
            (Some(Cause::SelfTrade { .. }), CancelOutcome::Cancelled(committed)) => {
                self.effects.push(Effect::ExpiredInMatch { order_id: committed.result.order_id });
            }
            // Where the order that waits for it was proposed meanwhile, as where what it met is gone, only the ledger settles it.
            (Some(Cause::SelfTrade { before: Some(arrival) }), CancelOutcome::NotExecuted(why)) => {
                if self.waits(arrival) {
                    self.settle(arrival, &OrderOutcome::NotExecuted(why));
                }
            }
            (Some(Cause::Asked(None) | Cause::SelfTrade { .. }) | None, _) => {}
        }
    }

    /// Whether an order is not proposed.
    fn waits(&self, arrival: Arrival) -> bool {
        let pipeline = self.requests.get(arrival).and_then(|pending| self.pipelines.get(&pending.order.symbol));
        pipeline.is_some_and(|pipeline| pipeline.waits(arrival))
    }

    /// Settles an order: answers all who wait for it, and forgets it.
    fn settle(&mut self, arrival: Arrival, outcome: &OrderOutcome) {
        let Some(settled) = self.requests.settle(arrival, outcome) else { return };
        if let Some(pipeline) = self.pipelines.get_mut(&settled.symbol) {
            pipeline.dequeue(arrival);
        }
        if let OrderOutcome::Committed(Committed { result, repeat: false, .. }) = outcome
            && settled.self_trade.in_match
        {
            self.effects.push(Effect::ExpiredInMatch { order_id: result.order_id });
            self.expire_makers(&settled.account, settled.self_trade.expires.as_slice(), None);
        }
        for (request, outcome) in settled.replies {
            self.reply(request, outcome);
        }
        if let Some((account, client_order_id)) = settled.was_unknown
            && *outcome != OrderOutcome::Unknown
        {
            self.stats.unknown_settled += 1;
            self.effects.push(Effect::Settled { account, client_order_id, outcome: outcome.clone() });
        }
    }

    fn reply(&mut self, request: RequestId, outcome: OrderOutcome) {
        if outcome == OrderOutcome::Unknown {
            self.stats.unknown += 1;
        }
        self.effects.push(Effect::OrderReply { request, outcome });
    }

    /// Stops for good and answers everybody. `all_seen`: the mirror has seen all that this epoch did.
    fn halt(&mut self, halt: Halt, all_seen: bool) {
        if self.halted.is_some() {
            return;
        }
        let in_doubt: BTreeSet<Arrival> = self
            .pipelines
            .values()
            .flat_map(Pipeline::slots)
            .filter(|slot| matches!(slot.state, SlotState::Sent) && !all_seen)
            .map(|slot| slot.arrival)
            .collect();
        for arrival in self.requests.arrivals() {
            if in_doubt.contains(&arrival) {
                self.settle(arrival, &OrderOutcome::Unknown);
            } else {
                self.settle(arrival, &OrderOutcome::NotExecuted(NotExecuted::Halted));
            }
        }
        for (id, outcome) in self.cancels.at_halt() {
            self.settle_cancel(id, outcome);
        }
        self.halted = Some(halt.clone());
        self.effects.push(Effect::Halted(halt));
    }

    fn submission(&mut self) -> SubmissionId {
        self.last_submission += 1;
        SubmissionId(self.last_submission)
    }
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
        (OrderType::Limit | OrderType::LimitMaker, Some(_)) => {}
    }
    match (order.order_type, order.time_in_force) {
        (OrderType::Market, TimeInForce::Gtc | TimeInForce::Fok) => Err("a market order is immediate or cancel"),
        (OrderType::LimitMaker, TimeInForce::Ioc | TimeInForce::Fok) => Err("a limit maker is good till cancelled"),
        (OrderType::Market | OrderType::Limit | OrderType::LimitMaker, _) => Ok(()),
    }
}

/// Likewise, by what the symbol trades.
fn check_price(order: &NewOrder, instrument: Option<&Instrument>) -> Result<(), &'static str> {
    let Some((instrument, price)) = instrument.zip(order.price) else { return Ok(()) };
    if !instrument.accepts(price) {
        return Err("price must lie in min_price..=max_price ticks");
    }
    if instrument.notional(price, order.qty).is_none() {
        return Err("price x qty must be below 2^127 x 10^-12 of the quote asset");
    }
    Ok(())
}
