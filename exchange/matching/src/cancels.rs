//! Cancels: those that wait for their turn, those proposed, and the orders that they ended.
//!
//! Invariant: a cancel that was proposed is never reported as not made unless the ledger said so. What is known of
//! orders comes from outside: nothing here looks at the requests for them or at their executions.

use std::collections::{BTreeMap, BTreeSet};

use quorate_domain::{Account, OrderId, Qty};
use quorate_ledger::{
    Answer, CancelOrder, Command, ExchangeEpoch, OrderStatus, Outcome, Refusal, RefusalClass, Response,
};

use crate::{
    held::Held,
    requests::Arrival,
    types::{Answered, CancelOutcome, Committed, Halt, NotExecuted, Only, RequestId, Submission, SubmissionId, Target},
};

/// Cancels proposed and not answered, at most: with the executions in flight they stay within the
/// answers that the ledger keeps for a session.
const IN_FLIGHT_MAX: usize = 64;

/// A cancel that is not settled.
#[derive(Debug)]
pub(crate) struct Cancel {
    pub(crate) account: Account,
    pub(crate) target: Target,
    /// Only where the order stands so.
    pub(crate) only: Option<Only>,
    cause: Cause,
    /// Once it is proposed.
    sent: Option<Sent>,
}

/// Why an order is cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    /// A caller asked for it, and waits; nobody any more where its patience ended.
    Asked(Option<RequestId>),
    /// A taker of its own account met it. `before`: the taker that is planned once it is gone.
    SelfTrade { before: Option<Arrival> },
}

#[derive(Debug, Clone, Copy)]
struct Sent {
    order_id: OrderId,
    /// An attempt was not answered.
    doubtful: bool,
}

/// What an answer to a cancel means.
#[derive(Debug)]
pub(crate) enum Reaction {
    /// Nothing.
    None,
    /// Propose the very same again.
    Resend(Submission),
    /// It is settled.
    Settle(CancelOutcome),
    /// Stop; the cancel, where there is an outcome, is settled first.
    Halt(Option<CancelOutcome>, Halt),
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Cancels {
    exchange_epoch: ExchangeEpoch,
    all: BTreeMap<SubmissionId, Cancel>,
    /// Those of them that are not proposed.
    unsent: BTreeSet<SubmissionId>,
    by_request: BTreeMap<RequestId, SubmissionId>,
    of_account: Held,
    /// Orders known to be cancelled at an index that the mirror has not reached.
    gone: BTreeMap<OrderId, Committed>,
}

impl Cancels {
    pub(crate) fn new(exchange_epoch: ExchangeEpoch) -> Self {
        Self {
            exchange_epoch,
            all: BTreeMap::new(),
            unsent: BTreeSet::new(),
            by_request: BTreeMap::new(),
            of_account: Held::default(),
            gone: BTreeMap::new(),
        }
    }

    /// How many are not settled.
    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    /// How many of an account's are not settled.
    pub(crate) fn of(&self, account: &Account) -> usize {
        self.of_account.by(account)
    }

    pub(crate) fn contains(&self, id: SubmissionId) -> bool {
        self.all.contains_key(&id)
    }

    /// How an order ended that the mirror still has.
    pub(crate) fn gone(&self, order_id: OrderId) -> Option<&Committed> {
        self.gone.get(&order_id)
    }

    /// The mirror has reached this index.
    pub(crate) fn seen(&mut self, index: u64) {
        self.gone.retain(|_, committed| committed.index > index);
    }

    pub(crate) fn take(
        &mut self,
        id: SubmissionId,
        cause: Cause,
        account: Account,
        (target, only): (Target, Option<Only>),
    ) {
        if let Cause::Asked(Some(request)) = cause {
            self.by_request.insert(request, id);
        }
        self.of_account.add(&account);
        self.all.insert(id, Cancel { account, target, only, cause, sent: None });
        self.unsent.insert(id);
    }

    /// Orders that must stay as they are until their cancels are answered.
    pub(crate) fn held(&self) -> BTreeSet<OrderId> {
        let restricted = self.all.values().filter(|cancel| cancel.only.is_some());
        restricted.filter_map(|cancel| Some(cancel.sent?.order_id)).collect()
    }

    /// Whether an order is being cancelled by its id.
    pub(crate) fn is_under_way(&self, order_id: OrderId) -> bool {
        self.all.values().any(|cancel| cancel.target == Target::Order(order_id))
    }

    /// Those that are not proposed, oldest first.
    pub(crate) fn unsent(&self) -> Vec<SubmissionId> {
        self.unsent.iter().copied().collect()
    }

    pub(crate) fn get(&self, id: SubmissionId) -> Option<&Cancel> {
        self.all.get(&id)
    }

    /// Proposes one, unless as many are in flight as may be.
    pub(crate) fn propose(&mut self, id: SubmissionId, order_id: OrderId) -> Option<Submission> {
        if self.all.len() - self.unsent.len() >= IN_FLIGHT_MAX {
            return None;
        }
        let cancel = self.all.get_mut(&id)?;
        cancel.sent = Some(Sent { order_id, doubtful: false });
        let account = cancel.account.clone();
        self.unsent.remove(&id);
        Some(submission(self.exchange_epoch, id, account, order_id))
    }

    /// An answer to one that was proposed, with the mirror at `applied`.
    pub(crate) fn answered(&mut self, id: SubmissionId, answered: Answered, applied: u64) -> Reaction {
        // An answer to what is not proposed cannot be; it is ignored.
        let Some(Sent { order_id, doubtful }) = self.all.get(&id).and_then(|cancel| cancel.sent) else {
            return Reaction::None;
        };
        match answered {
            Answered::Unknown => self.resend(id),
            Answered::NotApplied if doubtful => self.resend(id),
            // Its taker has ended before it.
            Answered::NotApplied if self.is_owed(id) => self.resend(id),
            Answered::NotApplied => Reaction::Settle(CancelOutcome::NotExecuted(NotExecuted::Unavailable)),
            Answered::Response(Response { index, log_time, outcome }) => match outcome {
                Outcome::Accepted(Answer::OrderCancelled(result)) => {
                    let committed = Committed { index, log_time, result, repeat: false };
                    if index > applied {
                        self.gone.insert(order_id, committed.clone());
                    }
                    Reaction::Settle(CancelOutcome::Cancelled(committed))
                }
                Outcome::Accepted(answer) => {
                    Reaction::Halt(None, Halt::Inconsistent(format!("a cancel was answered with {answer:?}")))
                }
                Outcome::Refused(Refusal::OrderClosed { result }) => {
                    // Where an attempt went unanswered, that one may have cancelled it.
                    let by_us = doubtful && result.status == OrderStatus::Cancelled && self.fits(id, result.cum_qty);
                    let committed = Committed { index, log_time, result, repeat: true };
                    if index > applied {
                        self.gone.insert(order_id, committed.clone());
                    }
                    let outcome = if by_us { CancelOutcome::Cancelled } else { CancelOutcome::Closed };
                    Reaction::Settle(outcome(committed))
                }
                Outcome::Refused(Refusal::StaleExchange { exchange_epoch }) => {
                    let settled = (!doubtful).then_some(CancelOutcome::NotExecuted(NotExecuted::Halted));
                    Reaction::Halt(settled, Halt::Fenced { exchange_epoch })
                }
                Outcome::Refused(refusal) if refusal.class() == RefusalClass::Session => self.resend(id),
                Outcome::Refused(_) => Reaction::Settle(CancelOutcome::UnknownOrder),
            },
        }
    }

    /// A caller's patience ended: the cancel, and what its caller hears.
    pub(crate) fn give_up(&mut self, request: RequestId) -> Option<(SubmissionId, CancelOutcome)> {
        let id = *self.by_request.get(&request)?;
        let sent = self.all.get(&id)?.sent.is_some();
        let outcome = if sent { CancelOutcome::Unknown } else { CancelOutcome::NotExecuted(NotExecuted::TimedOut) };
        Some((id, outcome))
    }

    /// Nobody waits for this one any more; it goes on.
    pub(crate) fn release(&mut self, id: SubmissionId) {
        let Some(cancel) = self.all.get_mut(&id) else { return };
        if let Cause::Asked(Some(request)) = std::mem::replace(&mut cancel.cause, Cause::Asked(None)) {
            self.by_request.remove(&request);
        }
    }

    /// Settles one, and forgets it: why it was made.
    pub(crate) fn settle(&mut self, id: SubmissionId) -> Option<Cause> {
        self.unsent.remove(&id);
        let Cancel { account, cause, .. } = self.all.remove(&id)?;
        self.of_account.take(&account);
        if let Cause::Asked(Some(request)) = cause {
            self.by_request.remove(&request);
        }
        Some(cause)
    }

    /// Whether this cancel may have ended an order of which so much was filled.
    fn fits(&self, id: SubmissionId, cum_qty: Qty) -> bool {
        self.all.get(&id).and_then(|cancel| cancel.only).is_none_or(|only| only.holds(cum_qty))
    }

    fn is_owed(&self, id: SubmissionId) -> bool {
        self.all.get(&id).is_some_and(|cancel| cancel.cause == Cause::SelfTrade { before: None })
    }

    /// All of them, with what their callers hear where the engine stops.
    pub(crate) fn at_halt(&self) -> Vec<(SubmissionId, CancelOutcome)> {
        let outcome = |cancel: &Cancel| match cancel.sent {
            Some(_) => CancelOutcome::Unknown,
            None => CancelOutcome::NotExecuted(NotExecuted::Halted),
        };
        self.all.iter().map(|(id, cancel)| (*id, outcome(cancel))).collect()
    }

    fn resend(&mut self, id: SubmissionId) -> Reaction {
        let Some(cancel) = self.all.get_mut(&id) else { return Reaction::None };
        let Some(sent) = &mut cancel.sent else { return Reaction::None };
        sent.doubtful = true;
        Reaction::Resend(submission(self.exchange_epoch, id, cancel.account.clone(), sent.order_id))
    }
}

fn submission(exchange_epoch: ExchangeEpoch, id: SubmissionId, account: Account, order_id: OrderId) -> Submission {
    Submission { id, command: Command::CancelOrder(CancelOrder { exchange_epoch, account, order_id }) }
}
