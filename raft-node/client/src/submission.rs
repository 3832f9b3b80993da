//! What a caller holds of its command: the future of its answer, the error that says what is certain, and
//! the ticket with which an unknown outcome is settled.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use quorate_api::Problem;
use quorate_ledger::{Response, SessionId};
use tokio::{
    sync::oneshot,
    time::{Instant, Sleep},
};

use crate::{
    command::{Delivery, Item, Slot},
    observer::{CallId, Returned},
    shared::Calls,
};

/// What an answerless command left behind.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// It was certainly not applied, and will not be.
    #[error("not applied: {0}")]
    NotApplied(Problem),
    /// It may have been applied, or may be yet.
    #[error("outcome unknown: {problem}")]
    Unknown {
        /// What happened last.
        problem: Problem,
        /// With it the command can be settled ([`Session::settle`](crate::Session::settle)). `None` where
        /// its session can no longer tell (expired, or the command came without one): resolve by the
        /// business key then.
        ticket: Option<Ticket>,
    },
}

impl SubmitError {
    /// What happened last.
    #[must_use]
    pub fn problem(&self) -> &Problem {
        match self {
            Self::NotApplied(problem) | Self::Unknown { problem, .. } => problem,
        }
    }
}

/// The right to settle one command whose outcome is unknown. While it lives it keeps its place in the
/// session's window (128 commands past it, further ones wait): settle it, or drop it.
pub struct Ticket {
    pub(crate) slot: Arc<Slot>,
    pub(crate) command: Bytes,
    pub(crate) call: CallId,
}

impl Ticket {
    /// The session that the command was sent in.
    #[must_use]
    pub fn session(&self) -> SessionId {
        self.slot.session
    }

    /// Its number in the session.
    #[must_use]
    pub fn seq(&self) -> u64 {
        self.slot.seq
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket").field("session", &self.slot.session).field("seq", &self.slot.seq).finish()
    }
}

/// A command that was submitted: resolves with its answer, at its deadline at the latest. It was queued
/// when this was made, and needs no polling to go out. Dropping it takes the command back if it was not
/// sent yet; if it was, its outcome stays unknown.
#[must_use = "dropping it takes the command back"]
pub struct Submission {
    item: Arc<Item>,
    receiver: oneshot::Receiver<Delivery>,
    deadline: Pin<Box<Sleep>>,
    calls: Arc<Calls>,
    call: CallId,
    over: bool,
}

impl Submission {
    pub(crate) fn new(
        item: Arc<Item>,
        receiver: oneshot::Receiver<Delivery>,
        deadline: Instant,
        calls: Arc<Calls>,
        call: CallId,
    ) -> Self {
        let deadline = Box::pin(tokio::time::sleep_until(deadline));
        Self { item, receiver, deadline, calls, call, over: false }
    }

    /// The sender lives in the item until it has sent, so this is for completeness: nothing is claimed.
    fn closed() -> Delivery {
        Delivery::Unknown { problem: Problem::unknown("the command's answer was lost"), settleable: false }
    }

    fn conclude(&self, delivery: Delivery) -> Result<Response, SubmitError> {
        match delivery {
            Delivery::Answer(response) => {
                self.calls.returned(self.call, &Returned::Response(&response));
                Ok(response)
            }
            Delivery::NotApplied(problem) => {
                self.calls.returned(self.call, &Returned::NotApplied(&problem));
                Err(SubmitError::NotApplied(problem))
            }
            Delivery::Unknown { problem, settleable } => {
                self.calls.returned(self.call, &Returned::Unknown(&problem));
                let slot = self.item.slot().filter(|_| settleable);
                let ticket = slot.map(|slot| Ticket { slot, command: self.item.command.clone(), call: self.call });
                Err(SubmitError::Unknown { problem, ticket })
            }
        }
    }
}

impl Future for Submission {
    type Output = Result<Response, SubmitError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let delivery = match Pin::new(&mut self.receiver).poll(cx) {
            Poll::Ready(Ok(delivery)) => delivery,
            Poll::Ready(Err(_)) => Self::closed(),
            Poll::Pending => {
                ready!(self.deadline.as_mut().poll(cx));
                match self.item.give_up("no answer before the deadline") {
                    Some(delivery) => delivery,
                    // Answered between the two looks.
                    None => ready!(Pin::new(&mut self.receiver).poll(cx)).unwrap_or_else(|_| Self::closed()),
                }
            }
        };
        self.over = true;
        Poll::Ready(self.conclude(delivery))
    }
}

impl Drop for Submission {
    fn drop(&mut self) {
        if !self.over {
            let _ = self.item.give_up("dropped by its caller");
        }
    }
}

impl fmt::Debug for Submission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Submission").field("call", &self.call).finish_non_exhaustive()
    }
}
