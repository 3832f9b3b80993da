//! The one writer. Every change of the store is a [`Message`] to it; it puts what waits into one
//! two-phase transaction, commits (fsync), and only then completes the messages, in order.
//!
//! Invariants: messages take effect in the order they were sent; nothing is completed with success
//! before it is on the disk; after the first error nothing succeeds any more. A message that waits here for the
//! commit of another one holds no permit, so whoever waits for permits waits only for the disk.

use std::{io, mem, ops::RangeBounds, sync::Arc};

use bytes::Bytes;
use quorate_planted::{Bug, planted};
use quorate_seams::{Clocks, Failpoints};
use redb::{Database, Durability, Table, WriteTransaction};
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use crate::{
    error::{StorageFailed, no_panic, redb_io},
    failure::Failure,
    history::HistoryRecord,
    metrics::Counters,
    opening::OpenDatabase,
    record::{CHUNKS, FRAMES, Keyed, LOG, META, key, seal_meta},
    snapshot::{self, SnapshotRecord},
};

/// Messages drained into one transaction at most.
const BATCH_MESSAGES_MAX: usize = 1024;
/// Bytes drained into one transaction at most (a single message may be larger).
const BATCH_BYTES_MAX: usize = 8 << 20;
/// What may wait for the next commit of something that cannot wait.
const DEFERRED_BYTES_MAX: usize = 1 << 20;
/// Messages that may wait likewise.
const DEFERRED_MESSAGES_MAX: usize = 4096;

/// Called with the outcome of a message.
pub(crate) type Done = Box<dyn FnOnce(Result<(), StorageFailed>) + Send>;

/// A change of the store. Values come unsealed: the writer adds the checksums.
pub(crate) enum Op {
    /// Log entries, ascending, right after the last one.
    Append(Vec<(u64, Vec<u8>)>),
    /// The vote.
    Vote(Vec<u8>),
    /// What the node holds of its own state; opaque.
    Verdict(Vec<u8>),
    /// The committed log id; deferred.
    Committed(Vec<u8>),
    /// Removes the log from this index on.
    TruncateFrom(u64),
    /// Removes the log up to and including `upto`, and remembers its log id; deferred.
    Purge { upto: u64, log_id: Vec<u8> },
    /// Replaces the snapshot.
    Snapshot { meta: Bytes, payload: Bytes },
    /// Replaces the snapshot and the whole history.
    Install { meta: Bytes, payload: Bytes, frames: Vec<(u64, Bytes)>, history: HistoryRecord },
    /// Event frames; deferred.
    Frames(Vec<(u64, Bytes)>),
    /// Removes the frames below `history.first`; deferred.
    PruneFrames(HistoryRecord),
    /// Commits what was deferred.
    Flush,
    /// As `Flush`, then ends the writer.
    Close,
}

impl Op {
    /// May wait for the next commit of something that cannot.
    fn is_deferred(&self) -> bool {
        match self {
            Self::Committed(_) | Self::Purge { .. } | Self::Frames(_) | Self::PruneFrames(_) => true,
            Self::Append(_)
            | Self::Vote(_)
            | Self::Verdict(_)
            | Self::TruncateFrom(_)
            | Self::Snapshot { .. }
            | Self::Install { .. }
            | Self::Flush
            | Self::Close => false,
        }
    }

    /// Bytes of payload.
    pub(crate) fn bytes(&self) -> usize {
        let frames = |frames: &[(u64, Bytes)]| frames.iter().map(|(_, frame)| frame.len() + 8).sum::<usize>();
        match self {
            Self::Append(entries) => entries.iter().map(|(_, entry)| entry.len() + 8).sum(),
            Self::Vote(bytes) | Self::Verdict(bytes) | Self::Committed(bytes) | Self::Purge { log_id: bytes, .. } => {
                bytes.len()
            }
            Self::Snapshot { meta, payload } => meta.len() + payload.len(),
            Self::Install { meta, payload, frames: list, history } => {
                meta.len() + payload.len() + frames(list) + history.base.len()
            }
            Self::Frames(list) => frames(list),
            Self::PruneFrames(history) => history.base.len(),
            Self::TruncateFrom(_) | Self::Flush | Self::Close => 0,
        }
    }

    /// The failpoint that this change passes through, before and after its commit.
    fn failpoints(&self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Append(_) => Some(("log.append.before_commit", "log.append.after_commit")),
            Self::Vote(_) => Some(("log.vote.before_commit", "log.vote.after_commit")),
            Self::Verdict(_) => Some(("verdict.save.before_commit", "verdict.save.after_commit")),
            Self::TruncateFrom(_) => Some(("log.truncate.before_commit", "log.truncate.after_commit")),
            Self::Purge { .. } => Some(("log.purge.before_commit", "log.purge.after_commit")),
            Self::Snapshot { .. } => Some(("snapshot.save.before_commit", "snapshot.save.after_commit")),
            Self::Install { .. } => Some(("snapshot.install.before_commit", "snapshot.install.after_commit")),
            Self::Committed(_) | Self::Frames(_) | Self::PruneFrames(_) | Self::Flush | Self::Close => None,
        }
    }
}

/// A change and what to call when it is durable.
pub(crate) struct Message {
    pub(crate) op: Op,
    pub(crate) done: Done,
    /// Its share of the bytes that may be on the way; given back at its end, or when it has to wait for the commit of
    /// another message: what waits is bounded by itself.
    pub(crate) permit: Option<OwnedSemaphorePermit>,
}

/// The state of the writer.
pub(crate) struct Writer {
    database: Arc<OpenDatabase>,
    waiting: Vec<Message>,
    waiting_bytes: usize,
    failure: Arc<Failure>,
    counters: Arc<Counters>,
    clocks: Arc<dyn Clocks>,
    failpoints: Failpoints,
}

impl Writer {
    pub(crate) fn new(
        database: Arc<OpenDatabase>,
        failure: Arc<Failure>,
        counters: Arc<Counters>,
        clocks: Arc<dyn Clocks>,
        failpoints: Failpoints,
    ) -> Self {
        Self { database, waiting: Vec::new(), waiting_bytes: 0, failure, counters, clocks, failpoints }
    }

    /// Serves messages until it is told to close or nobody can send any more; then flushes.
    pub(crate) fn run(mut self, mut inbox: mpsc::Receiver<Message>) {
        let mut batch = Vec::new();
        while let Some(first) = inbox.blocking_recv() {
            let mut bytes = first.op.bytes();
            batch.push(first);
            while batch.len() < BATCH_MESSAGES_MAX && bytes < BATCH_BYTES_MAX {
                let Ok(next) = inbox.try_recv() else { break };
                bytes += next.op.bytes();
                batch.push(next);
            }
            let closing = batch.iter().any(|message| matches!(message.op, Op::Close));
            self.take(mem::take(&mut batch));
            if closing {
                // Whoever sent behind the close hears so.
                inbox.close();
                while let Some(late) = inbox.blocking_recv() {
                    (late.done)(Err(StorageFailed::closed()));
                }
                return;
            }
        }
        self.take(vec![Message { op: Op::Flush, done: Box::new(|_| {}), permit: None }]);
    }

    /// Takes messages in, and commits unless all that waits may wait longer.
    pub(crate) fn take(&mut self, messages: Vec<Message>) {
        let parked = self.waiting.len();
        for message in messages {
            self.waiting_bytes += message.op.bytes();
            self.waiting.push(message);
        }
        let may_wait = self.waiting_bytes <= DEFERRED_BYTES_MAX
            && self.waiting.len() <= DEFERRED_MESSAGES_MAX
            && self.waiting.iter().all(|message| message.op.is_deferred());
        if may_wait && self.failure.get().is_none() {
            if !planted(Bug::PermitHeldWhileParked) {
                self.waiting.iter_mut().skip(parked).for_each(|message| message.permit = None);
            }
            return;
        }
        self.waiting_bytes = 0;
        let batch = mem::take(&mut self.waiting);
        let outcome = match self.failure.get() {
            Some(failed) => Err(failed),
            None => self.commit(&batch).map_err(|error| self.failure.set(&error)),
        };
        for message in batch {
            (message.done)(outcome.clone());
            drop(message.permit);
        }
    }

    fn commit(&self, batch: &[Message]) -> io::Result<()> {
        if batch.iter().all(|message| matches!(message.op, Op::Flush | Op::Close)) {
            return Ok(());
        }
        let started = self.clocks.monotonic();
        for (before, _) in batch.iter().filter_map(|message| message.op.failpoints()) {
            self.failpoints.hit(before)?;
        }
        no_panic(|| write_all(self.database.get()?, batch))?;
        for (_, after) in batch.iter().filter_map(|message| message.op.failpoints()) {
            self.failpoints.hit(after)?;
        }
        self.counters.committed(batch, self.clocks.monotonic().saturating_sub(started));
        Ok(())
    }
}

/// Opens a transaction whose commit is in two phases, so that no damage can undo it silently.
/// Quick repair stays off: it would save the walk through the whole file after a crash, and that walk
/// is what finds damage; it also costs time at every commit.
pub(crate) fn begin(database: &Database) -> io::Result<WriteTransaction> {
    let mut transaction = database.begin_write().map_err(redb_io)?;
    if planted(Bug::AckBeforeFsync) {
        transaction.set_durability(Durability::None).map_err(redb_io)?;
        return Ok(transaction);
    }
    transaction.set_durability(Durability::Immediate).map_err(redb_io)?;
    transaction.set_two_phase_commit(true);
    Ok(transaction)
}

fn write_all(database: &Database, batch: &[Message]) -> io::Result<()> {
    let transaction = begin(database)?;
    {
        let mut tables = Tables {
            meta: transaction.open_table(META).map_err(redb_io)?,
            log: transaction.open_table(LOG.table).map_err(redb_io)?,
            frames: transaction.open_table(FRAMES.table).map_err(redb_io)?,
            chunks: transaction.open_table(CHUNKS.table).map_err(redb_io)?,
        };
        for message in batch {
            tables.write(&message.op)?;
        }
    }
    transaction.commit().map_err(redb_io)
}

struct Tables<'t> {
    meta: Table<'t, &'static str, &'static [u8]>,
    log: Table<'t, u64, &'static [u8]>,
    frames: Table<'t, u64, &'static [u8]>,
    chunks: Table<'t, u64, &'static [u8]>,
}

impl Tables<'_> {
    fn write(&mut self, op: &Op) -> io::Result<()> {
        match op {
            Op::Append(entries) => {
                for (index, entry) in entries {
                    put(&mut self.log, LOG, *index, entry)?;
                }
                Ok(())
            }
            Op::Vote(_) if planted(Bug::LoseVote) => Ok(()),
            Op::Vote(vote) => self.put_meta(key::VOTE, vote),
            Op::Verdict(verdict) => self.put_meta(key::VERDICT, verdict),
            Op::Committed(log_id) => self.put_meta(key::COMMITTED, log_id),
            Op::TruncateFrom(index) => remove(&mut self.log, *index..),
            Op::Purge { upto, log_id } => {
                remove(&mut self.log, ..=*upto)?;
                self.put_meta(key::PURGED, log_id)
            }
            Op::Snapshot { meta, payload } => self.put_snapshot(meta, payload),
            Op::Install { meta, payload, frames, history } => {
                self.put_snapshot(meta, payload)?;
                remove(&mut self.frames, ..)?;
                self.put_meta(key::HISTORY, &history.encode()?)?;
                self.put_frames(frames)
            }
            Op::Frames(frames) => self.put_frames(frames),
            Op::PruneFrames(history) => {
                remove(&mut self.frames, ..history.first)?;
                self.put_meta(key::HISTORY, &history.encode()?)
            }
            Op::Flush | Op::Close => Ok(()),
        }
    }

    fn put_meta(&mut self, name: &str, value: &[u8]) -> io::Result<()> {
        self.meta.insert(name, seal_meta(name, value).as_slice()).map(drop).map_err(redb_io)
    }

    fn put_frames(&mut self, frames: &[(u64, Bytes)]) -> io::Result<()> {
        frames.iter().try_for_each(|(index, frame)| put(&mut self.frames, FRAMES, *index, frame))
    }

    fn put_snapshot(&mut self, meta: &Bytes, payload: &Bytes) -> io::Result<()> {
        let mut count = 0;
        for chunk in payload.chunks(snapshot::CHUNK_BYTES) {
            put(&mut self.chunks, CHUNKS, count, chunk)?;
            count += 1;
        }
        remove(&mut self.chunks, count..)?;
        let record = SnapshotRecord { meta: meta.to_vec(), payload_len: payload.len() as u64, chunks: count };
        self.put_meta(key::SNAPSHOT, &record.encode()?)
    }
}

fn put(table: &mut Table<'_, u64, &'static [u8]>, kind: Keyed, key: u64, value: &[u8]) -> io::Result<()> {
    table.insert(key, kind.seal(key, value).as_slice()).map(drop).map_err(redb_io)
}

fn remove(table: &mut Table<'_, u64, &'static [u8]>, keys: impl RangeBounds<u64>) -> io::Result<()> {
    table.retain_in(keys, |_, _| false).map_err(redb_io)
}
