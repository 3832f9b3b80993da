//! Sessions: what makes a command exactly once, however often it is sent.
//!
//! Invariants: a command keeps its session and number over all attempts; numbers more than
//! `SESSION_WINDOW - 1` apart are never outstanding together, so an unsettled command can always be told
//! from a repeat; commands take their numbers, and go out, in the order of their submission.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use quorate_api::{Problem, ProblemKind};
use quorate_ledger::{Answer, Command, Outcome, Response, SessionId, bounds::SESSION_WINDOW};
use tokio::time::Instant;

use crate::{
    command::{Home, Item, Slot, to_json},
    config::{OPEN_TIMEOUT, SESSION_QUEUE_MAX},
    lane::{Lane, too_large},
    observer::Operation,
    shared::Shared,
    submission::{Submission, SubmitError, Ticket},
    wire::is_passing,
};

/// A session with the group. Opened at the first command, and again where it expired. Clones are the
/// same session; one that is no longer used expires by itself.
#[derive(Clone)]
pub struct Session {
    core: Arc<SessionCore>,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("id", &self.core.state().id).finish()
    }
}

pub(crate) struct SessionCore {
    shared: Arc<Shared>,
    lane: Arc<Lane>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    id: Option<SessionId>,
    opening: bool,
    next_seq: u64,
    next_order: u64,
    /// Numbers taken and not yet given back.
    outstanding: BTreeSet<u64>,
    /// Commands without a number, by the order of their submission.
    queue: BTreeMap<u64, Arc<Item>>,
}

impl Session {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        let lane = shared.next_lane();
        let state = Mutex::new(State::default());
        Self { core: Arc::new(SessionCore { shared, lane, state }) }
    }

    /// Submits `command`: it is in line when this returns, behind every command submitted before in this
    /// session, and is sent until it is answered or `deadline` has passed.
    ///
    /// # Errors
    /// The submission resolves with [`SubmitError`]; a refusal by the ledger is a [`Response`].
    pub fn submit(&self, command: &Command, deadline: Instant) -> Submission {
        let core = &self.core;
        let calls = core.shared.calls.clone();
        let call = calls.invoked(&Operation::Command(command));
        let permit = core.shared.room.clone().try_acquire_owned().ok();
        let full = permit.is_none();
        let json = to_json(command);
        let too_large = too_large(&json);
        let mut state = core.state();
        let order = state.next_order;
        state.next_order += 1;
        let (item, receiver) = Item::new(order, json, Home::Session(core.clone()), None, false, permit);
        let mut over = Vec::new();
        if state.queue.len() >= SESSION_QUEUE_MAX {
            over.extend(state.queue.values().filter(|item| item.is_over()).cloned());
            state.queue.retain(|_, item| !item.is_over());
        }
        if let Some(problem) = too_large {
            drop(state);
            item.refuse(problem);
        } else if full || state.queue.len() >= SESSION_QUEUE_MAX {
            drop(state);
            item.refuse(Problem::new(ProblemKind::Overloaded, "too many commands wait in this client"));
        } else {
            state.queue.insert(order, item.clone());
            drop(state);
            core.pump();
        }
        Submission::new(item, receiver, deadline, calls, call)
    }

    /// Sends the ticket's command again, under its own session and number, until it is answered: with the
    /// first answer, if it was applied before; with its only one, if it was not.
    ///
    /// # Errors
    /// [`SubmitError::Unknown`] with a ticket again where `deadline` passed, without one where the
    /// session can no longer tell. Never [`SubmitError::NotApplied`].
    pub fn settle(&self, ticket: Ticket, deadline: Instant) -> Submission {
        let core = ticket.slot.core.clone();
        let calls = core.shared.calls.clone();
        let operation = Operation::Settle { of: ticket.call, session: ticket.slot.session, seq: ticket.slot.seq };
        let call = calls.invoked(&operation);
        let home = Home::Fixed(core.clone());
        let (item, receiver) = Item::new(0, ticket.command, home, Some(ticket.slot), true, None);
        core.send(item.clone());
        Submission::new(item, receiver, deadline, calls, call)
    }

    /// The session's id, once it is open.
    #[must_use]
    pub fn id(&self) -> Option<SessionId> {
        self.core.state().id
    }

    /// Ends the session, so that its place is free at once. Commands that wait are not affected: they
    /// open the next one.
    ///
    /// # Errors
    /// As [`Session::submit`]; a session that is not open is closed already.
    pub async fn close(&self, deadline: Instant) -> Result<(), SubmitError> {
        let core = &self.core;
        let Some((id, seq)) = core.leave() else { return Ok(()) };
        let calls = core.shared.calls.clone();
        let call = calls.invoked(&Operation::Command(&Command::CloseSession));
        let slot = Arc::new(Slot { core: core.clone(), session: id, seq });
        let home = Home::Fixed(core.clone());
        let (item, receiver) = Item::new(0, to_json(&Command::CloseSession), home, Some(slot), false, None);
        core.send(item.clone());
        match Submission::new(item, receiver, deadline, calls, call).await {
            Ok(_) => Ok(()),
            // Expired after a first attempt in doubt: it is gone either way.
            Err(SubmitError::Unknown { ticket: None, .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

impl SessionCore {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn send(self: &Arc<Self>, item: Arc<Item>) {
        self.shared.start(&self.lane);
        self.lane.push(item);
    }

    /// Gives numbers to what waits, as far as the window reaches, and sends it; opens the session first.
    pub(crate) fn pump(self: &Arc<Self>) {
        let mut over = Vec::new();
        let mut state = self.state();
        while let Some(entry) = state.queue.first_entry() {
            if entry.get().is_over() {
                over.push(entry.remove());
                continue;
            }
            let Some(session) = state.id else {
                if !state.opening {
                    state.opening = true;
                    let core = self.clone();
                    self.shared.world.tasks.spawn(core.open());
                }
                break;
            };
            let seq = state.next_seq;
            let lowest = state.outstanding.first().copied().unwrap_or(seq);
            if seq - lowest >= SESSION_WINDOW {
                break;
            }
            let Some((_, item)) = state.queue.pop_first() else { break };
            state.next_seq += 1;
            state.outstanding.insert(seq);
            item.bind(Arc::new(Slot { core: self.clone(), session, seq }));
            self.send(item);
        }
        // Items lock the session when they go: never under this lock.
        drop(state);
        drop(over);
    }

    /// A number is free again.
    pub(crate) fn release(self: &Arc<Self>, session: SessionId, seq: u64) {
        let mut state = self.state();
        if state.id != Some(session) || !state.outstanding.remove(&seq) {
            return;
        }
        let waits = !state.queue.is_empty();
        drop(state);
        if waits {
            self.pump();
        }
    }

    /// The group no longer knows `session`: the next command opens another.
    pub(crate) fn expired(&self, session: SessionId) {
        let mut state = self.state();
        if state.id == Some(session) {
            state.id = None;
            state.outstanding.clear();
        }
    }

    /// A command of an expired session, none of whose attempts was in doubt, goes into the next one.
    pub(crate) fn take_back(self: &Arc<Self>, item: Arc<Item>) {
        self.state().queue.insert(item.order, item);
        self.pump();
    }

    fn leave(&self) -> Option<(SessionId, u64)> {
        let mut state = self.state();
        let id = state.id.take()?;
        state.outstanding.clear();
        Some((id, state.next_seq))
    }

    async fn open(self: Arc<Self>) {
        let calls = self.shared.calls.clone();
        let call = calls.invoked(&Operation::Command(&Command::OpenSession));
        let (item, receiver) = Item::new(0, to_json(&Command::OpenSession), Home::None, None, false, None);
        self.send(item.clone());
        let deadline = Instant::now() + OPEN_TIMEOUT;
        let outcome = Submission::new(item, receiver, deadline, calls, call).await;
        self.opened(outcome);
    }

    fn opened(self: &Arc<Self>, outcome: Result<Response, SubmitError>) {
        let mut refused = BTreeMap::new();
        let mut state = self.state();
        state.opening = false;
        let problem = match outcome {
            Ok(Response { outcome: Outcome::Accepted(Answer::SessionOpened { session }), .. }) => {
                state.id = Some(session);
                state.next_seq = 1;
                state.outstanding.clear();
                None
            }
            Ok(response) => match &response.outcome {
                Outcome::Refused(refusal) => Some(Problem::refused(response.clone(), refusal)),
                Outcome::Accepted(_) => Some(Problem::new(ProblemKind::Internal, "no answer to open_session")),
            },
            // The opening goes on for as long as anybody waits for it.
            Err(error) if error.problem().outcome_unknown || is_passing(error.problem().kind) => None,
            Err(error) => Some(error.problem().clone()),
        };
        if problem.is_some() {
            refused = std::mem::take(&mut state.queue);
        }
        drop(state);
        if let Some(problem) = problem {
            refused.values().for_each(|item| item.refuse(problem.clone()));
        }
        self.pump();
    }
}
