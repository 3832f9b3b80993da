//! The engine's front: what the process calls, and the state that its parts share.
//!
//! Invariants: each request is answered exactly once; each order waits in `queue`, or is in exactly
//! one slot, until it is settled; the slots hold consecutive exec_ids from the last one seen committed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use quorate_ledger::{
    Account, ExchangeEpoch, ExecuteOrder, Frame, Millis, NewOrder, OrderId, Price, Qty, Side, Symbol,
};

use crate::{
    cancels::Cancel,
    mirror::{ClientKey, Contradiction, Mirror, Seen},
    types::{
        CancelOutcome, Committed, Config, Depth, Effect, Halt, Input, NotExecuted, OpenOrder, OrderOutcome,
        QuoteLeaves, RequestId, Snapshot, Stats, SubmissionId,
    },
};

/// The number of an order's arrival: what is planned first.
pub(crate) type Arrival = u64;

/// The exchange's state machine, for one exchange epoch.
///
/// After a start, a fencing or a broken stream: register the exchange (which gives the epoch), read a
/// [`Snapshot`] at or after that index, [`Engine::recover`], and hand in every frame from
/// [`Snapshot::first_frame`] on. What earlier epochs left in doubt is settled by that: it is in the
/// snapshot, or can never be.
#[derive(Debug)]
pub struct Engine {
    pub(crate) config: Config,
    pub(crate) exchange_epoch: ExchangeEpoch,
    pub(crate) mirror: Mirror,
    pub(crate) stats: Stats,
    pub(crate) halted: Option<Halt>,
    /// Orders that are not settled.
    pub(crate) pending: BTreeMap<Arrival, Pending>,
    pub(crate) pending_by_client: BTreeMap<ClientKey, Arrival>,
    /// Those of them that are in no slot.
    pub(crate) queue: BTreeSet<Arrival>,
    pub(crate) slots: VecDeque<Slot>,
    /// The last exec_id seen committed in a frame.
    pub(crate) last_exec: u64,
    /// Nothing is planned before the mirror has reached this index: newer facts are known to exist.
    pub(crate) catch_up: u64,
    pub(crate) cancels: BTreeMap<SubmissionId, Cancel>,
    /// Those of them that are not proposed.
    pub(crate) unsent: BTreeSet<SubmissionId>,
    /// Orders known to be cancelled at an index that the mirror has not reached.
    pub(crate) gone: BTreeMap<OrderId, Committed>,
    pub(crate) requests: BTreeMap<RequestId, Request>,
    pub(crate) next_arrival: Arrival,
    pub(crate) next_submission: u64,
    pub(crate) effects: Vec<Effect>,
}

/// What a request waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Request {
    Order(Arrival),
    Cancel(SubmissionId),
}

/// An order that is not settled.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) order: NewOrder,
    /// Log time from which it must not be executed.
    pub(crate) deadline: Millis,
    /// Who waits, in order; the first asked for it, the others repeat it.
    pub(crate) waiters: Vec<RequestId>,
    /// The one that asked for it, while it waits.
    pub(crate) origin: RequestId,
    /// Plans of it that were refused for what they planned.
    pub(crate) refused: u32,
    /// Somebody was told that it is unknown.
    pub(crate) told_unknown: bool,
}

/// One execution in flight.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) arrival: Arrival,
    pub(crate) submission: SubmissionId,
    pub(crate) execute: ExecuteOrder,
    pub(crate) state: SlotState,
    /// An attempt was not answered: only the ledger's own word settles it now.
    pub(crate) doubtful: bool,
}

/// How far an execution is.
#[derive(Debug)]
pub(crate) enum SlotState {
    /// Proposed, and nothing is known.
    Sent,
    /// Committed; its frame is yet to come.
    Accepted(Committed),
    /// Definitely not executed, as of this index.
    Refused { index: u64 },
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
            mirror,
            stats: Stats::default(),
            halted,
            pending: BTreeMap::new(),
            pending_by_client: BTreeMap::new(),
            queue: BTreeSet::new(),
            slots: VecDeque::new(),
            last_exec: 0,
            catch_up: 0,
            cancels: BTreeMap::new(),
            unsent: BTreeSet::new(),
            gone: BTreeMap::new(),
            requests: BTreeMap::new(),
            next_arrival: 1,
            next_submission: 1,
            effects: Vec::new(),
        }
    }

    /// Takes one input at `now`, the best estimate of log time (the last stamp seen plus the elapsed
    /// monotonic time), and says what is to be done, in order.
    pub fn handle(&mut self, now: Millis, input: Input) -> Vec<Effect> {
        let now = now.max(self.mirror.applied().1);
        match input {
            Input::Order { request, order } => self.on_order(now, request, order),
            Input::Cancel { request, account, target } => self.on_cancel(request, account, target),
            Input::OutOfPatience { request } => self.on_patience(request),
            Input::Answer { submission, answered } => self.on_answer(submission, answered),
            Input::Frame(frame) => self.on_frame(frame),
            Input::Applied { index, log_time } => {
                if self.halted.is_none() {
                    self.mirror.advance(index, log_time);
                    self.advanced();
                }
            }
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
        self.pending.len()
    }

    /// Counters since the start.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.stats
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

    /// Open orders of an account, of one symbol or of all, by id. What this engine reported committed
    /// is in it, also where the frame is yet to come.
    #[must_use]
    pub fn open_orders(&self, account: &Account, symbol: Option<&Symbol>) -> Vec<OpenOrder> {
        let mirrored = self.mirror.open_of(account).cloned();
        let accepted = self.slots.iter().filter_map(Slot::rested).filter(|open| open.order.account == *account);
        mirrored
            .chain(accepted)
            .filter(|open| symbol.is_none_or(|symbol| open.order.symbol == *symbol))
            .filter(|open| !self.gone.contains_key(&open.order_id))
            .map(|open| self.with_accepted_fills(open))
            .filter(|open| open.leaves() > Qty::ZERO)
            .collect()
    }

    fn on_frame(&mut self, frame: Frame) {
        if self.halted.is_some() {
            return;
        }
        match self.mirror.apply(frame) {
            Ok(seen) => {
                for seen in seen {
                    self.on_seen(seen);
                }
                self.advanced();
            }
            Err(Contradiction(what)) => self.halt(Halt::Inconsistent(what), false),
        }
    }

    fn on_seen(&mut self, seen: Seen) {
        match seen {
            Seen::Executed(executed) if executed.exchange_epoch == self.exchange_epoch => {
                self.on_executed(*executed);
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
        self.gone.retain(|_, committed| committed.index > index);
        self.check_frames(index);
        self.expire_sent(index, log_time);
    }

    /// Settles an order: answers all who wait for it, and forgets it.
    pub(crate) fn settle(&mut self, arrival: Arrival, outcome: &OrderOutcome) {
        let Some(pending) = self.pending.remove(&arrival) else { return };
        self.pending_by_client.remove(&crate::mirror::key_of(&pending.order));
        self.queue.remove(&arrival);
        for request in pending.waiters {
            self.requests.remove(&request);
            let mut outcome = outcome.clone();
            if let OrderOutcome::Committed(committed) = &mut outcome
                && request != pending.origin
            {
                committed.repeat = true;
                committed.result.trades.clear();
            }
            self.reply(request, outcome);
        }
        if pending.told_unknown && *outcome != OrderOutcome::Unknown {
            self.stats.unknown_settled += 1;
            let NewOrder { account, client_order_id, .. } = pending.order;
            self.effects.push(Effect::Settled { account, client_order_id, outcome: outcome.clone() });
        }
    }

    pub(crate) fn reply(&mut self, request: RequestId, outcome: OrderOutcome) {
        if outcome == OrderOutcome::Unknown {
            self.stats.unknown += 1;
        }
        self.effects.push(Effect::OrderReply { request, outcome });
    }

    pub(crate) fn reply_cancel(&mut self, request: RequestId, outcome: CancelOutcome) {
        self.requests.remove(&request);
        self.effects.push(Effect::CancelReply { request, outcome });
    }

    /// Stops for good and answers everybody. `all_seen`: the mirror has seen all that this epoch did.
    pub(crate) fn halt(&mut self, halt: Halt, all_seen: bool) {
        if self.halted.is_some() {
            return;
        }
        let unsure = |slot: &&Slot| matches!(slot.state, SlotState::Sent) && !all_seen;
        let in_doubt: BTreeSet<Arrival> = self.slots.iter().filter(unsure).map(|slot| slot.arrival).collect();
        let arrivals: Vec<Arrival> = self.pending.keys().copied().collect();
        for arrival in arrivals {
            if in_doubt.contains(&arrival) {
                self.settle(arrival, &OrderOutcome::Unknown);
            } else {
                self.settle(arrival, &OrderOutcome::NotExecuted(NotExecuted::Halted));
            }
        }
        self.halt_cancels();
        self.halted = Some(halt.clone());
        self.effects.push(Effect::Halted(halt));
    }

    pub(crate) fn submission(&mut self) -> SubmissionId {
        let id = SubmissionId(self.next_submission);
        self.next_submission += 1;
        id
    }
}

impl Slot {
    /// The order of this slot as it rests, where it is committed and does.
    pub(crate) fn rested(&self) -> Option<OpenOrder> {
        let SlotState::Accepted(committed) = &self.state else { return None };
        let result = &committed.result;
        result.status.is_open().then(|| OpenOrder {
            order_id: result.order_id,
            order: self.execute.order.clone(),
            cum_qty: result.cum_qty,
            cum_quote: result.cum_quote,
        })
    }
}
