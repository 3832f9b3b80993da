//! Cancels: proposed after the executions in flight that make or hit the order, sent until answered.
//!
//! Invariant: a cancel that was proposed is never reported as not made unless the ledger said so.

use quorate_ledger::{
    Account, Against, Answer, CancelOrder, Command, OrderId, OrderStatus, Outcome, Refusal, Response,
};

use crate::{
    engine::{Engine, Request, SlotState},
    flight::Meaning,
    types::{
        Answered, CancelOutcome, Committed, Effect, Halt, Known, NotExecuted, RequestId, Submission, SubmissionId,
        Target,
    },
};

/// Cancels proposed and not answered, at most: with the executions in flight they stay within the
/// answers that the ledger keeps for a session.
const IN_FLIGHT_MAX: usize = 64;

/// A cancel that is not settled.
#[derive(Debug)]
pub(crate) struct Cancel {
    account: Account,
    target: Target,
    /// Who waits; nobody any more where its patience ended.
    request: Option<RequestId>,
    /// Once it is proposed.
    sent: Option<Sent>,
}

#[derive(Debug, Clone, Copy)]
struct Sent {
    order_id: OrderId,
    /// An attempt was not answered.
    doubtful: bool,
}

/// What to do with a cancel that is not proposed yet.
enum Step {
    Wait,
    Propose(OrderId),
    Reply(CancelOutcome),
}

impl Engine {
    pub(crate) fn on_cancel(&mut self, request: RequestId, account: Account, target: Target) {
        let refusal = if self.halted.is_some() {
            Some(NotExecuted::Halted)
        } else if !self.mirror.is_ready() {
            Some(NotExecuted::NotReady)
        } else if self.cancels.len() >= self.config.cancels_max {
            Some(NotExecuted::Overloaded)
        } else {
            None
        };
        if let Some(why) = refusal {
            self.reply_cancel(request, CancelOutcome::NotExecuted(why));
            return;
        }
        let id = self.submission();
        self.cancels.insert(id, Cancel { account, target, request: Some(request), sent: None });
        self.requests.insert(request, Request::Cancel(id));
        self.unsent.insert(id);
    }

    /// Proposes the cancels whose turn has come.
    pub(crate) fn pump_cancels(&mut self) {
        let waiting: Vec<SubmissionId> = self.unsent.iter().copied().collect();
        for id in waiting {
            let Some(cancel) = self.cancels.get(&id) else { continue };
            match self.cancel_step(cancel) {
                Step::Wait => {}
                Step::Propose(_) if self.cancels.len() - self.unsent.len() >= IN_FLIGHT_MAX => {}
                Step::Propose(order_id) => {
                    self.unsent.remove(&id);
                    let account = cancel.account.clone();
                    if let Some(cancel) = self.cancels.get_mut(&id) {
                        cancel.sent = Some(Sent { order_id, doubtful: false });
                    }
                    let submission = self.cancel_submission(id, account, order_id);
                    self.effects.push(Effect::Submit(submission));
                }
                Step::Reply(outcome) => self.settle_cancel(id, outcome),
            }
        }
    }

    fn cancel_step(&self, cancel: &Cancel) -> Step {
        let order_id = match (self.order(&cancel.account, &cancel.target), &cancel.target) {
            (Some(Known::Pending { .. }), _) => return Step::Wait,
            (Some(Known::Closed { committed, .. }), _) => return Step::Reply(CancelOutcome::Closed(committed)),
            (Some(Known::Open(open)), _) => open.order_id,
            // Closed long ago, or of another account: the ledger knows.
            (None, Target::Order(order_id)) => *order_id,
            (None, Target::Client(_)) => return Step::Reply(CancelOutcome::UnknownOrder),
        };
        let hits = self
            .slots
            .iter()
            .filter(|slot| matches!(slot.state, SlotState::Sent))
            .flat_map(|slot| &slot.execute.fills)
            .any(|fill| fill.against == Against::Order(order_id));
        if hits { Step::Wait } else { Step::Propose(order_id) }
    }

    pub(crate) fn on_cancel_answer(&mut self, id: SubmissionId, answered: Answered) {
        // An answer to what is not proposed cannot be; it is ignored.
        let Some(Sent { order_id, doubtful }) = self.cancels.get(&id).and_then(|cancel| cancel.sent) else { return };
        match answered {
            Answered::Unknown => self.resend_cancel(id),
            Answered::NotApplied if doubtful => self.resend_cancel(id),
            Answered::NotApplied => self.settle_cancel(id, CancelOutcome::NotExecuted(NotExecuted::Unavailable)),
            Answered::Response(Response { index, log_time, outcome }) => match outcome {
                Outcome::Accepted(Answer::OrderCancelled(result)) => {
                    let committed = Committed { index, log_time, result, repeat: false };
                    if index > self.mirror.applied().0 {
                        self.gone.insert(order_id, committed.clone());
                    }
                    self.settle_cancel(id, CancelOutcome::Cancelled(committed));
                }
                Outcome::Accepted(answer) => {
                    self.halt(Halt::Inconsistent(format!("a cancel was answered with {answer:?}")), false);
                }
                Outcome::Refused(Refusal::OrderClosed { result }) => {
                    // Where an attempt went unanswered, that one may have cancelled it.
                    let by_us = doubtful && result.status == OrderStatus::Cancelled;
                    let committed = Committed { index, log_time, result, repeat: true };
                    let outcome = if by_us { CancelOutcome::Cancelled } else { CancelOutcome::Closed };
                    self.settle_cancel(id, outcome(committed));
                }
                Outcome::Refused(refusal) => match Meaning::of(&refusal) {
                    Meaning::Fenced(exchange_epoch) => {
                        if !doubtful {
                            self.settle_cancel(id, CancelOutcome::NotExecuted(NotExecuted::Halted));
                        }
                        self.halt(Halt::Fenced { exchange_epoch }, false);
                    }
                    Meaning::Unsure => self.resend_cancel(id),
                    Meaning::Gap
                    | Meaning::Moved
                    | Meaning::Duplicate { .. }
                    | Meaning::Contradiction
                    | Meaning::Final => self.settle_cancel(id, CancelOutcome::UnknownOrder),
                },
            },
        }
    }

    pub(crate) fn cancel_out_of_patience(&mut self, id: SubmissionId) {
        let Some(cancel) = self.cancels.get_mut(&id) else { return };
        if cancel.sent.is_none() {
            self.settle_cancel(id, CancelOutcome::NotExecuted(NotExecuted::TimedOut));
        } else if let Some(request) = cancel.request.take() {
            self.reply_cancel(request, CancelOutcome::Unknown);
        }
    }

    pub(crate) fn halt_cancels(&mut self) {
        let ids: Vec<SubmissionId> = self.cancels.keys().copied().collect();
        for id in ids {
            let sent = self.cancels.get(&id).is_some_and(|cancel| cancel.sent.is_some());
            let halted = CancelOutcome::NotExecuted(NotExecuted::Halted);
            self.settle_cancel(id, if sent { CancelOutcome::Unknown } else { halted });
        }
    }

    fn settle_cancel(&mut self, id: SubmissionId, outcome: CancelOutcome) {
        self.unsent.remove(&id);
        if let Some(request) = self.cancels.remove(&id).and_then(|cancel| cancel.request) {
            self.reply_cancel(request, outcome);
        }
    }

    fn resend_cancel(&mut self, id: SubmissionId) {
        let Some(cancel) = self.cancels.get_mut(&id) else { return };
        let Some(sent) = &mut cancel.sent else { return };
        sent.doubtful = true;
        let (account, order_id) = (cancel.account.clone(), sent.order_id);
        self.stats.resent += 1;
        let submission = self.cancel_submission(id, account, order_id);
        self.effects.push(Effect::Resend(submission));
    }

    fn cancel_submission(&self, id: SubmissionId, account: Account, order_id: OrderId) -> Submission {
        let cancel = CancelOrder { exchange_epoch: self.exchange_epoch, account, order_id };
        Submission { id, command: Command::CancelOrder(cancel) }
    }
}
