//! One command on its way: from its submission to the one answer that its caller gets.
//!
//! Invariants: a command is reported as not applied only if every attempt at it was certainly not
//! processed; a command that its caller was told about is never sent again, but by settling its ticket.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use bytes::Bytes;
use quorate_api::{Problem, ProblemKind};
use quorate_ledger::{Command, Outcome, Refusal, Response, SessionId};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::session::SessionCore;

/// A number of a session, taken until this is dropped.
pub(crate) struct Slot {
    pub(crate) core: Arc<SessionCore>,
    pub(crate) session: SessionId,
    pub(crate) seq: u64,
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.core.release(self.session, self.seq);
    }
}

/// What the sender tells the caller.
#[derive(Debug)]
pub(crate) enum Delivery {
    Answer(Response),
    NotApplied(Problem),
    Unknown { problem: Problem, settleable: bool },
}

/// How one attempt at one command ended.
#[derive(Debug)]
pub(crate) enum Attempt {
    Answer(Response),
    /// It was in a batch that was refused as a whole, and may not be what was wrong with it.
    Split(Problem),
    /// No answer; whether it may have been processed, and whether to try again, is in the problem.
    Problem(Problem),
}

/// What the sender does next with a command.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Its caller was told.
    Over,
    /// Send it again, before those behind it.
    Again,
    /// Its session expired before any attempt was in doubt: it goes into the next session.
    Rebind,
}

/// Where a command's session comes in.
pub(crate) enum Home {
    /// Needs none.
    None,
    /// Gets its number from this session, and moves on to the next one if it expires first.
    Session(Arc<SessionCore>),
    /// Has its number for good.
    Fixed(Arc<SessionCore>),
}

impl Home {
    /// The session, where there is one.
    pub(crate) fn core(&self) -> Option<&Arc<SessionCore>> {
        match self {
            Self::None => None,
            Self::Session(core) | Self::Fixed(core) => Some(core),
        }
    }
}

/// A command that waits or is on its way.
pub(crate) struct Item {
    /// Position among the submissions of its session.
    pub(crate) order: u64,
    /// The command as JSON, the same bytes in every attempt.
    pub(crate) command: Bytes,
    pub(crate) home: Home,
    /// It is sent in a batch of its own, for a batch with it was refused as a whole.
    alone: AtomicBool,
    state: Mutex<ItemState>,
    _permit: Option<OwnedSemaphorePermit>,
}

struct ItemState {
    stage: Stage,
    /// An attempt ended without telling whether it was processed.
    doubtful: bool,
    slot: Option<Arc<Slot>>,
    last: Option<Problem>,
    answer: Option<oneshot::Sender<Delivery>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Waiting,
    InFlight,
    Over,
}

impl Item {
    pub(crate) fn new(
        order: u64,
        command: Bytes,
        home: Home,
        slot: Option<Arc<Slot>>,
        doubtful: bool,
        permit: Option<OwnedSemaphorePermit>,
    ) -> (Arc<Self>, oneshot::Receiver<Delivery>) {
        let (answer, receiver) = oneshot::channel();
        let state = ItemState { stage: Stage::Waiting, doubtful, slot, last: None, answer: Some(answer) };
        let alone = AtomicBool::new(false);
        (Arc::new(Self { order, command, home, alone, state: Mutex::new(state), _permit: permit }), receiver)
    }

    fn state(&self) -> MutexGuard<'_, ItemState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it goes alone.
    pub(crate) fn is_alone(&self) -> bool {
        self.alone.load(Ordering::Relaxed)
    }

    /// Whether nobody waits for it any more.
    pub(crate) fn is_over(&self) -> bool {
        self.state().stage == Stage::Over
    }

    pub(crate) fn bind(&self, slot: Arc<Slot>) {
        let before = self.state().slot.replace(slot);
        drop(before);
    }

    pub(crate) fn slot(&self) -> Option<Arc<Slot>> {
        self.state().slot.clone()
    }

    /// Takes it into a batch: its envelope as JSON, or `None` where nobody waits for it any more.
    pub(crate) fn depart(&self) -> Option<Envelope> {
        let mut state = self.state();
        if state.stage != Stage::Waiting {
            return None;
        }
        state.stage = Stage::InFlight;
        let (session, seq) = state.slot.as_ref().map_or((0, 0), |slot| (slot.session, slot.seq));
        Some(Envelope { session, seq })
    }

    /// Takes in how an attempt ended, and tells the caller where that settles it.
    pub(crate) fn arrive(&self, attempt: Attempt) -> Next {
        let mut state = self.state();
        if state.stage == Stage::Over {
            return Next::Over;
        }
        let delivery = match attempt {
            Attempt::Answer(response) => match self.judge(&state, response) {
                Some(delivery) => delivery,
                None => {
                    state.stage = Stage::Waiting;
                    let slot = state.slot.take();
                    drop(state);
                    drop(slot);
                    return Next::Rebind;
                }
            },
            Attempt::Split(problem) => {
                self.alone.store(true, Ordering::Relaxed);
                state.stage = Stage::Waiting;
                state.last = Some(problem);
                return Next::Again;
            }
            Attempt::Problem(problem) => {
                let again = problem.outcome_unknown || crate::wire::is_passing(problem.kind);
                state.doubtful |= problem.outcome_unknown;
                if again {
                    state.stage = Stage::Waiting;
                    state.last = Some(problem);
                    return Next::Again;
                }
                if state.doubtful {
                    Delivery::Unknown { problem, settleable: true }
                } else {
                    Delivery::NotApplied(problem)
                }
            }
        };
        self.deliver(state, delivery);
        Next::Over
    }

    /// What an answer says. A lost session's answer says nothing of the attempts before it.
    fn judge(&self, state: &ItemState, response: Response) -> Option<Delivery> {
        let Outcome::Refused(refusal) = &response.outcome else { return Some(Delivery::Answer(response)) };
        let lost = matches!(refusal, Refusal::SessionExpired { .. } | Refusal::SeqTooOld { .. });
        let expired = matches!(refusal, Refusal::SessionExpired { .. });
        let problem = || Problem::refused(response.clone(), refusal);
        match &self.home {
            // A repeat of a control command that did take effect is refused for the version it made.
            Home::None if state.doubtful && matches!(refusal, Refusal::ControlVersion { .. }) => {
                Some(Delivery::Unknown { problem: in_doubt(problem()), settleable: false })
            }
            Home::Session(_) | Home::Fixed(_) if lost && state.doubtful => {
                Some(Delivery::Unknown { problem: in_doubt(problem()), settleable: false })
            }
            Home::Session(_) if expired => None,
            Home::Session(_) if lost => Some(Delivery::NotApplied(problem())),
            Home::None | Home::Session(_) | Home::Fixed(_) => Some(Delivery::Answer(response)),
        }
    }

    /// Tells the caller that this was never sent.
    pub(crate) fn refuse(&self, problem: Problem) {
        let state = self.state();
        if state.stage != Stage::Over {
            self.deliver(state, Delivery::NotApplied(problem));
        }
    }

    fn deliver(&self, mut state: MutexGuard<'_, ItemState>, delivery: Delivery) {
        state.stage = Stage::Over;
        let keeps = matches!(delivery, Delivery::Unknown { settleable: true, .. });
        let slot = if keeps { None } else { state.slot.take() };
        // Sent under the lock, so that whoever finds this over also finds the answer. A caller that is
        // gone needs none.
        if let Some(answer) = state.answer.take() {
            let _ = answer.send(delivery);
        }
        // The slot's drop locks the session: never under this lock.
        drop(state);
        drop(slot);
    }

    /// The caller waits no longer: what it is told, or `None` where an answer is there after all.
    pub(crate) fn give_up(&self, why: &str) -> Option<Delivery> {
        let mut state = self.state();
        if state.stage == Stage::Over {
            return None;
        }
        let in_doubt = state.doubtful || state.stage == Stage::InFlight;
        state.stage = Stage::Over;
        state.answer = None;
        let slot = if in_doubt { None } else { state.slot.take() };
        let last = state.last.take();
        drop(state);
        drop(slot);
        let detail = match &last {
            Some(last) => format!("{why}; before that: {}", last.detail),
            None => why.to_owned(),
        };
        Some(if in_doubt {
            Delivery::Unknown { problem: Problem::unknown(detail), settleable: true }
        } else {
            let kind = last.map_or(ProblemKind::Timeout, |last| last.kind);
            Delivery::NotApplied(Problem::new(kind, detail))
        })
    }
}

/// The numbers under which a command departs.
pub(crate) struct Envelope {
    pub(crate) session: SessionId,
    pub(crate) seq: u64,
}

impl Envelope {
    /// Appends `{"session":..,"seq":..,"command":..}`.
    pub(crate) fn write(&self, command: &[u8], body: &mut Vec<u8>) {
        body.extend_from_slice(format!(r#"{{"session":{},"seq":{},"command":"#, self.session, self.seq).as_bytes());
        body.extend_from_slice(command);
        body.push(b'}');
    }
}

/// Bytes that the JSON of most commands does not exceed: a longer one makes its buffer grow.
const JSON_USUAL: usize = 1024;

/// A command as JSON.
pub(crate) fn to_json(command: &Command) -> Bytes {
    let mut json = Vec::with_capacity(JSON_USUAL);
    serde_json::to_writer(&mut json, command).expect("a command has only named fields and variants, which JSON holds");
    json.into()
}

fn in_doubt(problem: Problem) -> Problem {
    Problem { outcome_unknown: true, ..problem }
}
