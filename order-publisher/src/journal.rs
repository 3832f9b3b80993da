//! The journal: what this publisher meant to send, and what it was told. Evidence for others to judge,
//! and the memory from which a restarted publisher goes on without sending anything twice.
//!
//! One JSON object a line. Decimals are strings; times are ms since the Unix epoch. `t` says what it is:
//!
//! ```text
//! {"t":"run","run_id":"q7","mode":"random","seed":7,"wall_ms":..}
//! {"t":"intent","client_order_id":"q7-1","account":"default","symbol":"BTCUSDT","side":"BUY","type":"LIMIT",
//!  "tif":"IOC","price":"60000.01","qty":"0.002","timestamp":..,"n":1}
//! {"t":"ack", the order again, "order_id":512,"status":"FILLED","executed_qty":"0.002",
//!  "fills":[{"trade_id":9,"price":"60000","qty":"0.002"}],"latency_us":1834}
//! {"t":"ack", the order again, "code":-2010,"msg":".."}
//! {"t":"settled", as ack, "by":"query" | "resend"}
//! {"t":"unknown", the order again}
//! {"t":"cancel","client_order_id":..,"symbol":..,"status":"CANCELED"}
//! ```
//!
//! - `run`: the first line: what the names and the orders of this journal follow from.
//! - `intent`: written and synced **before** the order is first sent. Once for each order.
//! - `ack`: the exchange's first definite answer, synced before it is counted. With `code`, the order was
//!   refused. `status` `NOT_SENT` without a code: no connection could be made, so nothing was sent.
//! - `settled`: the outcome was unknown for a while (-1007, a broken connection, a restart of either side)
//!   and was found out, by asking for the order or by sending it again under its own name. `fills` is
//!   empty where the exchange tells only the sum.
//! - `unknown`: still unknown when the publisher stopped. A later run of the same journal tries again.
//! - `cancel`: a resting order was taken back, to keep their number bounded or at the end of the run.
//! - `n` counts the orders of the journal from 1; `source` is the recorded trade that it follows.
//!
//! Lines are appended in groups, each group synced once. A last line without its end was never relied
//! upon: it is cut off when the journal is opened again. The file is locked while it is in use.

use std::{
    collections::{BTreeMap, VecDeque},
    fs::{File, OpenOptions, TryLockError},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use quorate_seams::Tasks;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use crate::order::Order;

/// Lines that wait for the disk at most.
const WAITING_MAX: usize = 1_024;

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "t", rename_all = "snake_case")]
pub enum Line {
    /// The first line.
    Run(RunLine),
    /// An order is about to be sent.
    Intent(IntentLine),
    /// It was answered.
    Ack(AnswerLine),
    /// It was unknown, and was found out.
    Settled(AnswerLine),
    /// It is still unknown.
    Unknown(AnswerLine),
    /// A resting order was taken back.
    Cancel(CancelLine),
}

/// See [`Line::Run`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunLine {
    /// What all client order ids of the journal begin with.
    pub run_id: String,
    /// `random` or `replay`.
    pub mode: String,
    /// The seed of generated orders.
    pub seed: u64,
    /// When the journal began.
    pub wall_ms: u64,
}

/// See [`Line::Intent`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IntentLine {
    /// The order.
    #[serde(flatten)]
    pub order: Order,
    /// Its number in the journal, from 1.
    pub n: u64,
    /// The recorded trade that it follows, counted from 1 in its file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<u64>,
}

/// See [`Line::Ack`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnswerLine {
    /// The order.
    #[serde(flatten)]
    pub order: Order,
    /// The exchange's id for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order_id: Option<u64>,
    /// Binance's word for where it stands, or `NOT_SENT`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// Filled so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub executed_qty: Option<String>,
    /// Its fills, where they were told.
    #[serde(default)]
    pub fills: Vec<FillLine>,
    /// Binance's code, where it was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<i32>,
    /// The text that came with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub msg: Option<String>,
    /// How it was settled: `query` or `resend`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// From sending to the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency_us: Option<u64>,
}

/// One fill.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FillLine {
    /// The ledger's number for it.
    pub trade_id: u64,
    /// A decimal.
    pub price: String,
    /// A decimal.
    pub qty: String,
}

/// See [`Line::Cancel`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CancelLine {
    /// The order.
    pub client_order_id: String,
    /// Its symbol.
    pub symbol: String,
    /// What it was told to be.
    pub status: String,
}

/// What an earlier process left.
#[derive(Debug, Default)]
pub struct Past {
    /// The first line.
    pub run: Option<RunLine>,
    /// Orders meant to be sent.
    pub orders: u64,
    /// The highest number among them.
    pub last_n: u64,
    /// The last recorded trade that one followed.
    pub last_source: u64,
    /// Those without a definite answer, by number.
    pub open: BTreeMap<u64, Order>,
    /// Those that rested when they were answered and were not taken back, oldest first: symbol and name.
    pub resting: VecDeque<(String, String)>,
}

/// Why a journal cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The file cannot be used.
    #[error("journal: {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A whole line is not of the format.
    #[error("journal: {path}:{line}: {source}: not a journal of this program, or damaged")]
    Line {
        /// The file.
        path: PathBuf,
        /// Which line.
        line: usize,
        /// Why.
        source: serde_json::Error,
    },
}

/// Opens or creates the journal, locked, its torn end cut off; and what it says.
///
/// # Errors
/// [`JournalError`].
pub fn open(path: &Path) -> Result<(File, Past), JournalError> {
    let wrong = |source| JournalError::Io { path: path.to_owned(), source };
    let mut file = OpenOptions::new().create(true).read(true).append(true).open(path).map_err(wrong)?;
    file.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => wrong(io::Error::other("another publisher writes to it")),
        TryLockError::Error(error) => wrong(error),
    })?;
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(0)).and_then(|_| file.read_to_end(&mut bytes)).map_err(wrong)?;
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    if whole < bytes.len() {
        let cut = u64::try_from(whole).map_err(|error| wrong(io::Error::other(error)))?;
        file.set_len(cut).and_then(|()| file.sync_all()).map_err(wrong)?;
    }
    let mut past = Past::default();
    for (at, line) in bytes[..whole].split(|byte| *byte == b'\n').enumerate().filter(|(_, line)| !line.is_empty()) {
        let line = serde_json::from_slice(line).map_err(|source| JournalError::Line {
            path: path.to_owned(),
            line: at + 1,
            source,
        })?;
        past.learn(line);
    }
    Ok((file, past))
}

impl Past {
    fn learn(&mut self, line: Line) {
        match line {
            Line::Run(run) => self.run = Some(run),
            Line::Intent(intent) => {
                self.orders += 1;
                self.last_n = self.last_n.max(intent.n);
                self.last_source = self.last_source.max(intent.source.unwrap_or(0));
                self.open.insert(intent.n, intent.order);
            }
            Line::Ack(answer) | Line::Settled(answer) => {
                self.open.retain(|_, order| order.client_order_id != answer.order.client_order_id);
                if answer.status.as_deref().is_some_and(rests) {
                    self.resting.push_back((answer.order.symbol, answer.order.client_order_id));
                }
            }
            Line::Cancel(cancel) => self.resting.retain(|(_, name)| *name != cancel.client_order_id),
            Line::Unknown(_) => {}
        }
    }
}

/// Whether an order of this status rests.
pub(crate) fn rests(status: &str) -> bool {
    matches!(status, "NEW" | "PARTIALLY_FILLED")
}

/// The way to the journal. Clones write to the same.
#[derive(Debug, Clone)]
pub struct Journal(Option<mpsc::Sender<Request>>);

type Done = oneshot::Sender<Result<(), Arc<io::Error>>>;

#[derive(Debug)]
enum Request {
    /// Append these bytes.
    Append(Vec<u8>, Done),
    /// Let the file go.
    Close(Done),
}

impl Journal {
    /// Keeps nothing: an interrupted run cannot be resumed, nor judged.
    #[must_use]
    pub fn none() -> Self {
        Self(None)
    }

    /// Writes to `file`, from a task of its own.
    #[must_use]
    pub fn new(file: File, tasks: &Tasks) -> Self {
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        tasks.spawn(write(file, receiver));
        Self(Some(sender))
    }

    /// Appends a line; it is on disk when this returns.
    ///
    /// # Errors
    /// Where it is not: nothing may be done that rests on it.
    pub async fn write(&self, line: &Line) -> io::Result<()> {
        let mut bytes = serde_json::to_vec(line)?;
        bytes.push(b'\n');
        self.ask(|done| Request::Append(bytes, done)).await
    }

    /// Lets the file go, with its lock; what is written after this fails.
    ///
    /// # Errors
    /// Where the writer had failed before.
    pub async fn close(&self) -> io::Result<()> {
        self.ask(Request::Close).await
    }

    async fn ask(&self, request: impl FnOnce(Done) -> Request) -> io::Result<()> {
        let Some(sender) = &self.0 else { return Ok(()) };
        let (done, answer) = oneshot::channel();
        let ended = || io::Error::other("the journal's writer has ended");
        sender.send(request(done)).await.map_err(|_| ended())?;
        answer.await.map_err(|_| ended())?.map_err(io::Error::other)
    }
}

/// Writes what waits as one group, syncs it, and tells those who wait. Ends at the first failure: what
/// is not known to be on disk must not be followed by what is.
async fn write(file: File, mut receiver: mpsc::Receiver<Request>) {
    let mut batch = Vec::new();
    let file = Arc::new(file);
    while receiver.recv_many(&mut batch, WAITING_MAX).await > 0 {
        let (mut bytes, mut waiting, mut closing) = (Vec::new(), Vec::new(), None);
        for request in batch.drain(..) {
            match request {
                Request::Append(line, done) => {
                    bytes.extend_from_slice(&line);
                    waiting.push(done);
                }
                Request::Close(done) => closing = Some(done),
            }
        }
        let written = tokio::task::spawn_blocking({
            let file = file.clone();
            move || {
                (&*file).write_all(&bytes)?;
                file.sync_data()
            }
        });
        let outcome = written.await.unwrap_or_else(|error| Err(io::Error::other(error))).map_err(Arc::new);
        // Whoever waits no longer needs no word.
        waiting.into_iter().for_each(|done| drop(done.send(outcome.clone())));
        if let Some(done) = closing {
            drop(file);
            let _ = done.send(outcome);
            return;
        }
        if outcome.is_err() {
            return;
        }
    }
}
