//! The format of a history, and the recorder that writes it.
//!
//! A history is JSON lines. Each call has **two** lines, one for its invocation and one for its return,
//! so that a recorder that dies leaves exactly what is true behind: a call that was invoked, and whose
//! outcome nobody knows. (With one line a call, all calls under way at that moment would be missing, and
//! their effects would be nobody's.) Lines of several clients may be mixed in any order; those of one
//! client stand in the order in which they happened.
//!
//! | line | fields |
//! |---|---|
//! | `{"t":"history"}` | `version`: 1. Once at the start of each recorder's file |
//! | `{"t":"invoke"}` | `at`, `client`, `call`, `op` |
//! | `{"t":"return"}` | `at`, `client`, `call`, `got` |
//! | `{"t":"fault"}` | `at`, `until` (null where it never ended), `what`: for the timeline, no checker reads it |
//!
//! - `at`, `until`: monotonic nanoseconds from a start that all recorders of a run share. Simulated or real.
//! - `client`: the recorder's name, unique in the run. `call`: the client's own number for it, from 1.
//! - `op`: `{"command": C}` with `C` as in `POST /v1/commands`; `{"settle": {"of", "session", "seq"}}`, which
//!   sends the command of call `of` again under its own session and number; or `{"read": "/v1/...?..."}`.
//! - `got`: `{"response": R}` with the ledger's answer, accepted or refused; `{"not_applied": P}`: certainly not
//!   applied, then or later; `{"unknown": P}`: may have been applied, or may be yet, so that the call is
//!   open to the end of the history; `{"read": {"node", "answer"}}` with the body as it came;
//!   `{"unreadable": {"node", "body"}}` where that is no JSON; `{"read_failed": P}`. `P` is a problem document.
//! - A call without a return is unknown, as one that returned `unknown`. Neither is ever *failed*.
//!
//! Every line is handed to the file as soon as it is made: a recorder killed at any moment loses at most
//! the line that it was writing, and a last line without its end is left out by the reader.

use std::{
    fmt,
    io::{self, Write},
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use quorate_api::Problem;
use quorate_client::{CallId, Observer, Operation, Returned};
use quorate_ledger::{Command, Response, SessionId};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The version of the format that this program writes and reads.
pub const VERSION: u32 = 1;

/// One line of a history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "t", rename_all = "snake_case", deny_unknown_fields)]
pub enum Line {
    /// A recorder begins.
    History {
        /// Of the format.
        version: u32,
    },
    /// A call begins.
    Invoke {
        /// Nanoseconds from the common start.
        at: u64,
        /// Who calls.
        client: String,
        /// The client's number for the call.
        call: CallId,
        /// What is called.
        op: Op,
    },
    /// A call returns.
    Return {
        /// Nanoseconds from the common start.
        at: u64,
        /// Who called.
        client: String,
        /// The client's number for the call.
        call: CallId,
        /// What came of it.
        got: Got,
    },
    /// Something was broken on purpose.
    Fault(Fault),
}

/// A fault that was injected while the history was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// When it began, in nanoseconds from the common start.
    pub at: u64,
    /// When it was healed, if it was.
    pub until: Option<u64>,
    /// What it was.
    pub what: String,
}

/// What was called.
#[expect(clippy::large_enum_variant, reason = "half of all calls are commands")]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Op {
    /// A command.
    Command(Command),
    /// An earlier command again, to learn its outcome.
    Settle {
        /// The call that sent it before.
        of: CallId,
        /// Its session.
        session: SessionId,
        /// Its number there.
        seq: u64,
    },
    /// A read: path and query.
    Read(String),
}

/// What came of a call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Got {
    /// The ledger's answer.
    Response(Response),
    /// Certainly not applied.
    NotApplied(Problem),
    /// Applied or not, now or later.
    Unknown(Problem),
    /// A read's answer.
    Read {
        /// The address of the node that gave it.
        node: String,
        /// As it came.
        answer: Value,
    },
    /// A read's answer that is no JSON.
    Unreadable {
        /// The address of the node that gave it.
        node: String,
        /// As it came, with what is no UTF-8 replaced.
        body: String,
    },
    /// A read without an answer.
    ReadFailed(Problem),
}

/// What tells the nanoseconds since the common start of a run. It must never go back, and be one for all recorders.
#[derive(Clone)]
pub struct Timer(Arc<dyn Fn() -> u64 + Send + Sync>);

impl Timer {
    /// Asks `now` for the time.
    pub fn new(now: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// Nanoseconds since the start.
    #[must_use]
    pub fn now(&self) -> u64 {
        (self.0)()
    }
}

impl fmt::Debug for Timer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Timer").field(&self.now()).finish()
    }
}

/// Records the calls of one client: hand it to [`quorate_client::ClientConfig::observer`].
///
/// The lines are kept in memory, and written where a writer was given.
pub struct Recorder {
    client: String,
    timer: Timer,
    kept: Mutex<Kept>,
}

struct Kept {
    lines: Vec<Line>,
    out: Option<Box<dyn Write + Send>>,
    failed: Option<io::Error>,
}

impl Recorder {
    /// Records in memory, under a name that no other recorder of the run has.
    #[must_use]
    pub fn new(client: &str, timer: Timer) -> Self {
        let kept = Kept { lines: Vec::new(), out: None, failed: None };
        let recorder = Self { client: client.to_owned(), timer, kept: Mutex::new(kept) };
        recorder.keep(Line::History { version: VERSION });
        recorder
    }

    /// The same, and writes each line to `out` in one piece when it is made.
    #[must_use]
    pub fn writing(client: &str, timer: Timer, out: Box<dyn Write + Send>) -> Self {
        let kept = Kept { lines: Vec::new(), out: Some(out), failed: None };
        let recorder = Self { client: client.to_owned(), timer, kept: Mutex::new(kept) };
        recorder.keep(Line::History { version: VERSION });
        recorder
    }

    /// Takes what was recorded so far.
    ///
    /// # Errors
    /// Where the writer took a line not at all or not whole: nothing was written after that.
    pub fn take(&self) -> io::Result<Vec<Line>> {
        let mut kept = self.kept();
        match kept.failed.take() {
            Some(error) => Err(error),
            None => Ok(mem::take(&mut kept.lines)),
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, line: Line) {
        let mut kept = self.kept();
        if let Some(mut out) = kept.out.take() {
            match write_line(&mut out, &line) {
                Ok(()) => kept.out = Some(out),
                Err(error) => kept.failed = Some(error),
            }
        }
        kept.lines.push(line);
    }
}

/// Writes a line in one piece, with its end.
fn write_line(out: &mut dyn Write, line: &Line) -> io::Result<()> {
    let mut bytes = serde_json::to_vec(line)?;
    bytes.push(b'\n');
    out.write_all(&bytes)?;
    out.flush()
}

impl Observer for Recorder {
    fn invoked(&self, call: CallId, operation: &Operation<'_>) {
        let at = self.timer.now();
        let op = match *operation {
            Operation::Command(command) => Op::Command(command.clone()),
            Operation::Settle { of, session, seq } => Op::Settle { of, session, seq },
            Operation::Read(path) => Op::Read(path.to_owned()),
        };
        self.keep(Line::Invoke { at, client: self.client.clone(), call, op });
    }

    fn returned(&self, call: CallId, returned: &Returned<'_>) {
        let at = self.timer.now();
        let got = match *returned {
            Returned::Response(response) => Got::Response(response.clone()),
            Returned::NotApplied(problem) => Got::NotApplied(problem.clone()),
            Returned::Unknown(problem) => Got::Unknown(problem.clone()),
            Returned::Read { node, body } => match serde_json::from_slice(body) {
                Ok(answer) => Got::Read { node: node.to_owned(), answer },
                Err(_) => {
                    let body = String::from_utf8_lossy(body).into_owned();
                    Got::Unreadable { node: node.to_owned(), body }
                }
            },
            Returned::ReadFailed(problem) => Got::ReadFailed(problem.clone()),
        };
        self.keep(Line::Return { at, client: self.client.clone(), call, got });
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder").field("client", &self.client).finish_non_exhaustive()
    }
}

/// A history as text: one line for each of `lines`.
///
/// # Errors
/// Where a line cannot be written as JSON, which plain data always can.
pub fn to_text<'a>(lines: impl IntoIterator<Item = &'a Line>) -> io::Result<String> {
    let mut bytes = Vec::new();
    for line in lines {
        write_line(&mut bytes, line)?;
    }
    String::from_utf8(bytes).map_err(io::Error::other)
}
