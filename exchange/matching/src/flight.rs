//! What is in flight: proposing in order, answers, refusals, and planning again.
//!
//! Invariants: exec_ids are given in order and never to two plans that may both be on their way:
//! after a refusal nothing is proposed until all that was in flight is settled, for what follows the
//! refused one gets `ExecGap`. Only then are they planned again, in the order of their arrival, from a
//! mirror that has reached the index of the newest refusal.

use std::collections::{BTreeMap, BTreeSet};

use quorate_ledger::{
    Answer, Command, ExchangeEpoch, ExecuteOrder, Millis, OrderResult, Outcome, Refusal, Remainder, Response, Symbol,
};

use crate::{
    engine::{Arrival, Engine, Slot, SlotState},
    mirror::Executed,
    planner::{InFlight, Plan, Projection},
    types::{Answered, Committed, Effect, Halt, NotExecuted, OrderOutcome, Submission, SubmissionId},
};

/// Waiting orders looked at in one go, past those that are blocked by one in flight.
const LOOK_AHEAD_MAX: usize = 256;

/// What a refusal means for the command refused.
pub(crate) enum Meaning {
    /// Another exchange serves.
    Fenced(ExchangeEpoch),
    /// Something before it was refused or is still on its way.
    Gap,
    /// A fact that was planned on has moved: plan again.
    Moved,
    /// It was executed before, or another was under this name.
    Duplicate { same: bool, result: OrderResult },
    /// The session's answer says nothing about the command.
    Unsure,
    /// The engine's own numbers are wrong.
    Contradiction,
    /// Definitely refused, whatever is tried.
    Final,
}

impl Meaning {
    pub(crate) fn of(refusal: &Refusal) -> Self {
        match refusal {
            Refusal::StaleExchange { exchange_epoch } => Self::Fenced(*exchange_epoch),
            Refusal::ExecGap { .. } => Self::Gap,
            Refusal::NotActive { .. }
            | Refusal::LeavesMoved { .. }
            | Refusal::DoesNotCross { .. }
            | Refusal::WouldCross { .. } => Self::Moved,
            Refusal::DuplicateOrder { same, result, .. } => Self::Duplicate { same: *same, result: result.clone() },
            Refusal::SessionRequired
            | Refusal::SessionExpired { .. }
            | Refusal::SeqReused { .. }
            | Refusal::SeqTooOld { .. } => Self::Unsure,
            Refusal::ExecReused { .. } => Self::Contradiction,
            Refusal::TooManySessions { .. }
            | Refusal::Invalid { .. }
            | Refusal::Full { .. }
            | Refusal::UnknownSymbol { .. }
            | Refusal::SymbolExists { .. }
            | Refusal::ControlVersion { .. }
            | Refusal::LimitOutOfRange { .. }
            | Refusal::LedgerVersion { .. }
            | Refusal::KillSwitch { .. }
            | Refusal::QuotingOff { .. }
            | Refusal::UnknownMaker { .. }
            | Refusal::StaleEpoch { .. }
            | Refusal::AuthorityExpired { .. }
            | Refusal::StaleQuoteSeq { .. }
            | Refusal::StalePosition { .. }
            | Refusal::CrossesResting { .. }
            | Refusal::ExposureShort { .. }
            | Refusal::DeadlinePassed { .. }
            | Refusal::TimestampTooOld { .. }
            | Refusal::Overflow { .. }
            | Refusal::UnknownOrder { .. }
            | Refusal::OrderClosed { .. } => Self::Final,
        }
    }
}

impl Engine {
    pub(crate) fn on_answer(&mut self, submission: SubmissionId, answered: Answered) {
        if self.halted.is_some() {
            return;
        }
        if self.cancels.contains_key(&submission) {
            self.on_cancel_answer(submission, answered);
            return;
        }
        let sent = |slot: &Slot| slot.submission == submission && matches!(slot.state, SlotState::Sent);
        // Late answers to what is settled already find no slot.
        let Some(at) = self.slots.iter().position(sent) else { return };
        match answered {
            Answered::Unknown => self.resend(at),
            // An earlier attempt may have been applied.
            Answered::NotApplied if self.slots[at].doubtful => self.resend(at),
            Answered::NotApplied => {
                self.refused(at, 0, Some(OrderOutcome::NotExecuted(NotExecuted::Unavailable)));
            }
            Answered::Response(Response { index, log_time, outcome }) => match outcome {
                Outcome::Accepted(Answer::OrderExecuted(result)) => {
                    let committed = Committed { index, log_time, result, repeat: false };
                    let slot = &mut self.slots[at];
                    slot.state = SlotState::Accepted(committed.clone());
                    let arrival = slot.arrival;
                    self.settle(arrival, &OrderOutcome::Committed(committed));
                    self.check_frames(self.mirror.applied().0);
                }
                Outcome::Accepted(answer) => {
                    self.halt(Halt::Inconsistent(format!("an execution was answered with {answer:?}")), false);
                }
                Outcome::Refused(refusal) => self.on_refusal(at, index, log_time, refusal),
            },
        }
    }

    fn on_refusal(&mut self, at: usize, index: u64, log_time: Millis, refusal: Refusal) {
        match Meaning::of(&refusal) {
            Meaning::Fenced(exchange_epoch) => {
                if !self.slots[at].doubtful {
                    self.refused(at, index, Some(OrderOutcome::NotExecuted(NotExecuted::Halted)));
                }
                self.halt(Halt::Fenced { exchange_epoch }, false);
            }
            Meaning::Gap => {
                self.stats.gaps += 1;
                self.refused(at, index, None);
            }
            Meaning::Moved => {
                self.stats.replanned += 1;
                if let Some(pending) = self.pending.get_mut(&self.slots[at].arrival) {
                    pending.refused += 1;
                }
                self.refused(at, index, None);
            }
            Meaning::Duplicate { same: true, result } => {
                let committed = Committed { index, log_time, result, repeat: true };
                self.refused(at, index, Some(OrderOutcome::Committed(committed)));
            }
            Meaning::Duplicate { same: false, .. } | Meaning::Final => {
                self.refused(at, index, Some(OrderOutcome::Refused(refusal)));
            }
            Meaning::Unsure => self.resend(at),
            Meaning::Contradiction => self.halt(Halt::Inconsistent(refusal.to_string()), false),
        }
    }

    fn resend(&mut self, at: usize) {
        let slot = &mut self.slots[at];
        slot.doubtful = true;
        let submission = Submission { id: slot.submission, command: Command::ExecuteOrder(slot.execute.clone()) };
        self.stats.resent += 1;
        self.effects.push(Effect::Resend(submission));
    }

    /// This execution definitely did not happen. With an outcome its order is settled; without, it is
    /// planned again.
    fn refused(&mut self, at: usize, index: u64, outcome: Option<OrderOutcome>) {
        let slot = &mut self.slots[at];
        slot.state = SlotState::Refused { index };
        let arrival = slot.arrival;
        if let Some(outcome) = outcome {
            self.settle(arrival, &outcome);
        }
    }

    /// A frame shows an execution of this epoch.
    pub(crate) fn on_executed(&mut self, executed: Executed) {
        let Executed { exec_id, order, committed, .. } = executed;
        let refused = |slot: &Slot| matches!(slot.state, SlotState::Refused { .. });
        let first = self.slots.front().filter(|slot| !refused(slot));
        if exec_id != self.last_exec + 1 || first.is_none_or(|slot| slot.execute.order != order) {
            let what = format!("exec_id {exec_id} was executed at {}, and is not in flight", committed.index);
            self.halt(Halt::Inconsistent(what), false);
            return;
        }
        self.last_exec = exec_id;
        self.stats.committed += 1;
        if let Some(slot) = self.slots.pop_front() {
            self.settle(slot.arrival, &OrderOutcome::Committed(committed));
        }
    }

    /// What was answered as committed up to `index` must have been seen in its frame.
    pub(crate) fn check_frames(&mut self, index: u64) {
        let missed = |slot: &Slot| matches!(&slot.state, SlotState::Accepted(committed) if committed.index <= index);
        if self.slots.iter().any(missed) {
            let what = format!("an execution committed before {index} was in no frame");
            self.halt(Halt::Inconsistent(what), false);
        }
    }

    /// All frames up to `index` were seen: what is not executed at its deadline never will be.
    pub(crate) fn expire_sent(&mut self, index: u64, log_time: Millis) {
        for at in 0..self.slots.len() {
            let slot = &self.slots[at];
            if matches!(slot.state, SlotState::Sent) && slot.execute.deadline <= log_time {
                let refusal = Refusal::DeadlinePassed { log_time };
                self.refused(at, index, Some(OrderOutcome::Refused(refusal)));
            }
        }
    }

    /// Does what can be done now: clears what was refused, cancels, and proposes what waits.
    pub(crate) fn pump(&mut self, now: Millis) {
        if self.halted.is_some() {
            return;
        }
        self.drain();
        self.pump_cancels();
        let (applied, _) = self.mirror.applied();
        let draining = self.slots.iter().any(|slot| matches!(slot.state, SlotState::Refused { .. }));
        let full = self.slots.len() >= self.config.window_max;
        if self.queue.is_empty() || full || draining || applied < self.catch_up || !self.mirror.is_ready() {
            return;
        }
        let mut blocked: BTreeSet<Symbol> = BTreeSet::new();
        let mut in_flight: BTreeMap<Symbol, InFlight> = BTreeMap::new();
        for slot in &self.slots {
            let entry = in_flight.entry(slot.execute.order.symbol.clone()).or_default();
            entry.add(&slot.execute, slot.rested().map(|open| open.order_id));
        }
        let waiting: Vec<Arrival> = self.queue.iter().copied().take(LOOK_AHEAD_MAX).collect();
        for arrival in waiting {
            if self.slots.len() >= self.config.window_max {
                return;
            }
            self.propose(now, arrival, &mut blocked, &mut in_flight);
        }
    }

    /// Plans one waiting order and proposes it, unless its turn has not come.
    fn propose(
        &mut self,
        now: Millis,
        arrival: Arrival,
        blocked: &mut BTreeSet<Symbol>,
        in_flight: &mut BTreeMap<Symbol, InFlight>,
    ) {
        let Some(pending) = self.pending.get(&arrival) else { return };
        if pending.deadline <= now {
            self.settle(arrival, &OrderOutcome::NotExecuted(NotExecuted::TimedOut));
            return;
        }
        if let Some(control_version) = self.mirror.killed() {
            self.settle(arrival, &OrderOutcome::Refused(Refusal::KillSwitch { control_version }));
            return;
        }
        let symbol = &pending.order.symbol;
        if blocked.contains(symbol) {
            return;
        }
        let Some(market) = self.mirror.market(symbol) else { return };
        let in_flight = in_flight.entry(symbol.clone()).or_default();
        let give_up = pending.refused > self.config.replans_max;
        let plan = if give_up {
            Plan::Ready { fills: Vec::new(), remainder: Remainder::Expire }
        } else {
            // The estimate may run ahead of log time; every second plan goes by what was seen.
            let now = if pending.refused % 2 == 1 { self.mirror.applied().1 } else { now };
            let gone = |order_id| self.gone.contains_key(&order_id);
            Projection { market, in_flight, gone: &gone, now }.plan(&pending.order)
        };
        let Plan::Ready { fills, remainder } = plan else {
            blocked.insert(symbol.clone());
            return;
        };
        let execute = ExecuteOrder {
            exchange_epoch: self.exchange_epoch,
            exec_id: self.last_exec + self.slots.len() as u64 + 1,
            deadline: pending.deadline,
            order: pending.order.clone(),
            fills,
            remainder,
        };
        in_flight.add(&execute, None);
        self.stats.gave_up += u64::from(give_up);
        self.stats.proposed += 1;
        self.queue.remove(&arrival);
        let id = self.submission();
        self.effects.push(Effect::Submit(Submission { id, command: Command::ExecuteOrder(execute.clone()) }));
        let slot = Slot { arrival, submission: id, execute, state: SlotState::Sent, doubtful: false };
        self.slots.push_back(slot);
    }

    /// Once nothing in flight is open, what was refused waits again, and its exec_ids are free.
    fn drain(&mut self) {
        if self.slots.iter().any(|slot| matches!(slot.state, SlotState::Sent)) {
            return;
        }
        let refused = |slot: &Slot| matches!(slot.state, SlotState::Refused { .. });
        let Some(first) = self.slots.iter().position(refused) else { return };
        if !self.slots.iter().skip(first).all(refused) {
            let what = "an exec_id was used although the one before it was refused".to_owned();
            self.halt(Halt::Inconsistent(what), false);
            return;
        }
        for slot in self.slots.split_off(first) {
            if let SlotState::Refused { index } = slot.state {
                self.catch_up = self.catch_up.max(index);
            }
            match self.pending.get(&slot.arrival) {
                None => {}
                // Nobody waits any more, and it is known not to have happened: done.
                Some(pending) if pending.waiters.is_empty() => {
                    self.settle(slot.arrival, &OrderOutcome::NotExecuted(NotExecuted::TimedOut));
                }
                Some(_) => {
                    self.queue.insert(slot.arrival);
                }
            }
        }
    }
}
