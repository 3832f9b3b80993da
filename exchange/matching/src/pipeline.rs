//! One symbol's executions: those that wait, those in flight, and those in doubt.
//!
//! Invariants: an order waits in `queue` or is in one slot, until it is settled. The slots hold consecutive exec_ids
//! from the last one seen committed, and none is given to two plans that may both be on their way: after a refusal
//! nothing is proposed until all that was in flight is settled, for what follows the refused one gets `ExecGap`. Only
//! then are they planned again, in the order of their arrival, from a mirror that has reached the index of the newest
//! refusal. No pipeline knows of another.
//!
//! Each refusal because a fact had moved halves how many may be proposed and not answered, down to one, and each commit
//! doubles it: where plan after plan is refused few stand behind each, and where most succeed they go out together.

use std::collections::{BTreeSet, VecDeque};

use quorate_domain::Millis;
use quorate_ledger::{Answer, Command, ExecuteOrder, Outcome, Refusal, RefusalClass, Response};

use crate::{
    habit::Habit,
    mirror::Executed,
    planner::InFlight,
    requests::Arrival,
    types::{Answered, Committed, Halt, NotExecuted, OpenOrder, OrderOutcome, Submission, SubmissionId},
};

/// How often what may be in flight is halved at most: below one are none.
const HALVINGS_MAX: u32 = 6;

/// One execution in flight.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) arrival: Arrival,
    pub(crate) submission: SubmissionId,
    pub(crate) execute: ExecuteOrder,
    pub(crate) state: SlotState,
    /// When it was proposed first.
    proposed: Millis,
    /// An attempt was not answered: only the ledger's own word settles it now.
    doubtful: bool,
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

/// What an answer means for those outside the pipeline.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Reaction {
    /// Nothing: it is settled already, or is planned again once the pipeline has drained.
    None,
    /// Planned again, for something before it was refused or is still on its way.
    OutOfTurn,
    /// Planned again, for a fact that it was planned on has moved.
    Moved(Arrival),
    /// The order is settled.
    Settle(Arrival, OrderOutcome),
    /// Propose the very same again.
    Resend(Submission),
    /// Stop; the order, where there is one, is settled first.
    Halt(Option<(Arrival, OrderOutcome)>, Halt),
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Pipeline {
    queue: BTreeSet<Arrival>,
    slots: VecDeque<Slot>,
    /// The last exec_id seen committed in a frame.
    last_exec: u64,
    /// The ledger keeps no answer below this exec_id: it was told that they have arrived.
    reported: u64,
    /// Nothing is planned before the mirror has reached this index: newer facts are known to exist.
    catch_up: u64,
    /// How often what may be in flight is halved.
    halvings: u32,
    pub(crate) habit: Habit,
}

impl Pipeline {
    pub(crate) fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.slots.is_empty()
    }

    pub(crate) fn slots(&self) -> impl DoubleEndedIterator<Item = &Slot> {
        self.slots.iter()
    }

    pub(crate) fn enqueue(&mut self, arrival: Arrival) {
        self.queue.insert(arrival);
    }

    pub(crate) fn dequeue(&mut self, arrival: Arrival) {
        self.queue.remove(&arrival);
    }

    pub(crate) fn waits(&self, arrival: Arrival) -> bool {
        self.queue.contains(&arrival)
    }

    pub(crate) fn first_waiting(&self) -> Option<Arrival> {
        self.queue.first().copied()
    }

    /// Whether an order may be executed already, for all that is known.
    pub(crate) fn is_proposed(&self, arrival: Arrival) -> bool {
        self.slots.iter().any(|slot| slot.arrival == arrival && matches!(slot.state, SlotState::Sent))
    }

    /// What its plans in flight change.
    pub(crate) fn in_flight(&self) -> InFlight {
        let mut in_flight = InFlight::default();
        for slot in &self.slots {
            in_flight.add(&slot.execute, slot.rested().map(|open| open.order_id));
        }
        in_flight
    }

    /// Whether one more may be proposed, from a mirror at `applied`.
    pub(crate) fn may_propose(&self, applied: u64, window_max: usize) -> bool {
        let draining = self.slots.iter().any(|slot| matches!(slot.state, SlotState::Refused { .. }));
        let sent = self.slots.iter().filter(|slot| matches!(slot.state, SlotState::Sent)).count();
        let pace = (window_max >> self.halvings).max(1);
        !draining && sent < pace && applied >= self.catch_up && self.slots.len() < window_max
    }

    /// The exec_id of the next execution, and the lowest one that has no answer.
    pub(crate) fn next_exec(&self) -> (u64, u64) {
        let unanswered = self.slots.iter().position(|slot| !matches!(slot.state, SlotState::Accepted(_)));
        let id = |place: usize| self.last_exec + place as u64 + 1;
        (id(self.slots.len()), id(unanswered.unwrap_or(self.slots.len())))
    }

    /// The lowest exec_id that has no answer, where the ledger keeps answers below it and was not told so.
    pub(crate) fn unreported(&self) -> Option<u64> {
        let (_, below) = self.next_exec();
        (below > self.reported.max(1)).then_some(below)
    }

    /// The ledger was told that the answers below this exec_id have arrived.
    pub(crate) fn reported(&mut self, below: u64) {
        self.reported = self.reported.max(below);
    }

    /// An order that waited is proposed.
    pub(crate) fn proposed(&mut self, now: Millis, arrival: Arrival, submission: SubmissionId, execute: ExecuteOrder) {
        self.queue.remove(&arrival);
        let state = SlotState::Sent;
        self.slots.push_back(Slot { arrival, submission, execute, state, proposed: now, doubtful: false });
    }

    pub(crate) fn answered(&mut self, submission: SubmissionId, answered: Answered) -> Reaction {
        let sent = |slot: &&mut Slot| slot.submission == submission && matches!(slot.state, SlotState::Sent);
        // Late answers to what is settled already find no slot.
        let Some(slot) = self.slots.iter_mut().find(sent) else { return Reaction::None };
        if let (Answered::Response(response), false) = (&answered, slot.doubtful) {
            self.habit.arrived(slot.proposed, response.log_time);
        }
        match answered {
            Answered::Unknown => slot.resend(),
            // An earlier attempt may have been applied.
            Answered::NotApplied if slot.doubtful => slot.resend(),
            Answered::NotApplied => slot.refuse(0, OrderOutcome::NotExecuted(NotExecuted::Unavailable)),
            Answered::Response(Response { index, log_time, outcome }) => match outcome {
                Outcome::Accepted(Answer::OrderExecuted(result)) => {
                    let committed = Committed { index, log_time, result, repeat: false };
                    slot.state = SlotState::Accepted(committed.clone());
                    self.halvings = self.halvings.saturating_sub(1);
                    Reaction::Settle(slot.arrival, OrderOutcome::Committed(committed))
                }
                Outcome::Accepted(answer) => {
                    let what = format!("an execution was answered with {answer:?}");
                    Reaction::Halt(None, Halt::Inconsistent(what))
                }
                Outcome::Refused(refusal) => {
                    let reaction = slot.refused(index, log_time, refusal);
                    if matches!(reaction, Reaction::Moved(_)) {
                        self.halvings = (self.halvings + 1).min(HALVINGS_MAX);
                    }
                    reaction
                }
            },
        }
    }

    /// A frame shows an execution of this symbol: the slot that is done.
    pub(crate) fn executed(&mut self, executed: &Executed) -> Result<Slot, String> {
        let Executed { exec_id, order, committed, .. } = executed;
        let fits = |slot: &Slot| !matches!(slot.state, SlotState::Refused { .. }) && slot.execute.order == *order;
        let is_next = *exec_id == self.last_exec + 1 && self.slots.front().is_some_and(fits);
        match if is_next { self.slots.pop_front() } else { None } {
            Some(slot) => {
                if matches!(slot.state, SlotState::Sent) {
                    self.halvings = self.halvings.saturating_sub(1);
                    if !slot.doubtful {
                        self.habit.arrived(slot.proposed, committed.log_time);
                    }
                }
                self.last_exec = *exec_id;
                self.reported(slot.execute.answered_below);
                Ok(slot)
            }
            None => {
                let (symbol, index) = (&order.symbol, committed.index);
                Err(format!("exec_id {exec_id} of {symbol} was executed at {index}, and is not in flight"))
            }
        }
    }

    /// Whether something that was answered as committed up to `index` was not seen in its frame.
    pub(crate) fn misses_frame(&self, index: u64) -> bool {
        let missed = |slot: &Slot| matches!(&slot.state, SlotState::Accepted(committed) if committed.index <= index);
        self.slots.iter().any(missed)
    }

    /// All frames up to `index` were seen: what is not executed at its deadline never will be.
    pub(crate) fn expire(&mut self, index: u64, log_time: Millis) -> Vec<Arrival> {
        let due = |slot: &&mut Slot| matches!(slot.state, SlotState::Sent) && slot.execute.deadline <= log_time;
        let mut expired = Vec::new();
        for slot in self.slots.iter_mut().filter(due) {
            slot.state = SlotState::Refused { index };
            expired.push(slot.arrival);
        }
        expired
    }

    /// Once nothing in flight is open, what was refused leaves its slot, and its exec_ids are free: the slots that left.
    ///
    /// # Errors
    /// One was executed although the one before it was refused.
    pub(crate) fn drain(&mut self) -> Result<Vec<Slot>, String> {
        if self.slots.iter().any(|slot| matches!(slot.state, SlotState::Sent)) {
            return Ok(Vec::new());
        }
        let refused = |slot: &Slot| matches!(slot.state, SlotState::Refused { .. });
        let Some(first) = self.slots.iter().position(refused) else { return Ok(Vec::new()) };
        if !self.slots.iter().skip(first).all(refused) {
            return Err("an exec_id was used although the one before it was refused".to_owned());
        }
        let left: Vec<Slot> = self.slots.split_off(first).into();
        for slot in &left {
            if let SlotState::Refused { index } = slot.state {
                self.catch_up = self.catch_up.max(index);
            }
        }
        Ok(left)
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

    fn resend(&mut self) -> Reaction {
        self.doubtful = true;
        let command = Command::ExecuteOrder(self.execute.clone());
        Reaction::Resend(Submission { id: self.submission, command })
    }

    /// This execution definitely did not happen, and its order has this outcome.
    fn refuse(&mut self, index: u64, outcome: OrderOutcome) -> Reaction {
        self.state = SlotState::Refused { index };
        Reaction::Settle(self.arrival, outcome)
    }

    fn refused(&mut self, index: u64, log_time: Millis, refusal: Refusal) -> Reaction {
        match (refusal.class(), refusal) {
            (RefusalClass::Session, _) => self.resend(),
            (RefusalClass::Contradiction, refusal) => Reaction::Halt(None, Halt::Inconsistent(refusal.to_string())),
            (_, Refusal::StaleExchange { exchange_epoch }) => {
                let settled = (!self.doubtful).then(|| {
                    self.state = SlotState::Refused { index };
                    (self.arrival, OrderOutcome::NotExecuted(NotExecuted::Halted))
                });
                Reaction::Halt(settled, Halt::Fenced { exchange_epoch })
            }
            (_, Refusal::DuplicateOrder { same: true, result, .. }) => {
                let committed = Committed { index, log_time, result, repeat: true };
                self.refuse(index, OrderOutcome::Committed(committed))
            }
            (RefusalClass::OutOfTurn, _) => {
                self.state = SlotState::Refused { index };
                Reaction::OutOfTurn
            }
            (RefusalClass::Moved, _) => {
                self.state = SlotState::Refused { index };
                Reaction::Moved(self.arrival)
            }
            (
                RefusalClass::Form
                | RefusalClass::Unknown
                | RefusalClass::Control
                | RefusalClass::Stopped
                | RefusalClass::Fenced
                | RefusalClass::Full
                | RefusalClass::Late
                | RefusalClass::Known,
                refusal,
            ) => self.refuse(index, OrderOutcome::Refused(refusal)),
        }
    }
}
