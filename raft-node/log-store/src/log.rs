//! The Raft log and the vote, as openraft wants them.
//!
//! The recent entries are in memory (the *tail*: always the end of the log, without a gap), older ones
//! on the disk. An entry leaves the tail only when it is durable, so a reader that takes from the tail
//! first and then from the disk misses none. Memory knows where the log begins and ends; what the disk
//! returns is measured against it, and a hole is an error.
//!
//! What is known to be committed is never cut off: it was saved as committed, or purged, or has a frame in the history.

use std::{
    collections::VecDeque,
    fmt::Debug,
    io,
    ops::{Bound, RangeBounds},
    sync::{Arc, Mutex, MutexGuard},
};

use openraft::{
    LogState, OptionalSend, RaftLogReader, RaftTypeConfig,
    entry::RaftEntry,
    storage::{IOFlushed, RaftLogStorage},
    type_config::alias::{LogIdOf, VoteOf},
};
use quorate_planted::{Bug, planted};
use redb::{Database, ReadableDatabase, ReadableTable, ReadableTableMetadata};
use serde::de::DeserializeOwned;

use crate::{
    error::{CutBelowCommitted, DamagedRecord, StorageFailed, redb_io},
    record::{LOG, META, key, open_meta},
    storage::{Storage, lock},
    writer::Op,
};

/// How often a read starts anew because the log was cut while it read.
const READ_ATTEMPTS_MAX: usize = 16;

/// Bytes that most records do not exceed: a longer one makes its buffer grow.
const RECORD_USUAL: usize = 512;

/// The log of one Raft group on a [`Storage`]; clones share it.
pub struct LogStore<C: RaftTypeConfig> {
    storage: Storage,
    state: Arc<Mutex<State<C>>>,
}

impl<C: RaftTypeConfig> Clone for LogStore<C> {
    fn clone(&self) -> Self {
        Self { storage: self.storage.clone(), state: Arc::clone(&self.state) }
    }
}

impl<C: RaftTypeConfig> Debug for LogStore<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogStore").field("storage", &self.storage).finish_non_exhaustive()
    }
}

/// What is known of the log without reading.
struct State<C: RaftTypeConfig> {
    vote: Option<VoteOf<C>>,
    committed: Option<LogIdOf<C>>,
    purged: Option<LogIdOf<C>>,
    /// The last entry's log id, or the purged one where there is no entry.
    last: Option<LogIdOf<C>>,
    /// The indexes that are there, `first..end`.
    first: u64,
    end: u64,
    tail: VecDeque<Held<C>>,
    tail_bytes: usize,
    /// Appends so far, and up to which one they are durable.
    appends: u64,
    durable: u64,
    /// How often the end was cut off.
    cuts: u64,
}

struct Held<C: RaftTypeConfig> {
    entry: C::Entry,
    bytes: usize,
    append: u64,
}

impl<C: RaftTypeConfig> State<C> {
    fn tail_first(&self) -> u64 {
        self.end - self.tail.len() as u64
    }

    /// The index after the last one that is known to be committed.
    fn committed_end(&self) -> u64 {
        let end = |log_id: &Option<LogIdOf<C>>| log_id.as_ref().map_or(0, |log_id| log_id.index + 1);
        end(&self.committed).max(end(&self.purged))
    }

    fn push(&mut self, entries: Vec<(C::Entry, usize)>) -> u64 {
        self.appends += 1;
        for (entry, bytes) in entries {
            if self.first == self.end {
                self.first = entry.index();
            }
            self.end = entry.index() + 1;
            self.last = Some(entry.log_id());
            self.tail_bytes += bytes;
            self.tail.push_back(Held { entry, bytes, append: self.appends });
        }
        self.appends
    }

    fn append_is_durable(&mut self, append: u64, bytes_max: usize) {
        self.durable = self.durable.max(append);
        while self.tail_bytes > bytes_max && self.tail.front().is_some_and(|held| held.append <= self.durable) {
            self.pop_front();
        }
    }

    fn pop_front(&mut self) {
        if let Some(held) = self.tail.pop_front() {
            self.tail_bytes -= held.bytes;
        }
    }

    fn cut(&mut self, last: Option<LogIdOf<C>>) {
        let end = last.as_ref().map_or(self.first, |last| last.index + 1).max(self.first);
        if end >= self.end {
            return;
        }
        self.cuts += 1;
        while self.end > end {
            self.end -= 1;
            if let Some(held) = self.tail.pop_back() {
                self.tail_bytes -= held.bytes;
            }
        }
        self.last = if self.first == self.end { self.purged.clone() } else { last };
    }

    fn purge(&mut self, upto: LogIdOf<C>) {
        let first = upto.index + 1;
        while !self.tail.is_empty() && self.tail_first() < first {
            self.pop_front();
        }
        self.first = self.first.max(first);
        if self.end <= first {
            self.end = first;
            self.last = Some(upto.clone());
        }
        self.purged = Some(upto);
    }
}

impl<C: RaftTypeConfig> LogStore<C>
where
    C::Entry: Clone,
{
    /// The log on `storage`; once for each opening, as it keeps the end of the log in memory. Blocks
    /// shortly.
    ///
    /// # Errors
    /// A damaged record or an I/O error; or [`io::ErrorKind::AlreadyExists`] where the log was taken.
    pub fn new(storage: &Storage) -> io::Result<Self> {
        if !storage.take_log() {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                "this storage's log is taken: clone the LogStore",
            ));
        }
        let state = storage.read_now(load::<C>)?;
        Ok(Self { storage: storage.clone(), state: Arc::new(Mutex::new(state)) })
    }

    fn state(&self) -> MutexGuard<'_, State<C>> {
        lock(&self.state)
    }

    async fn read_range(&self, start: u64, end: u64) -> io::Result<Vec<C::Entry>> {
        for _ in 0..READ_ATTEMPTS_MAX {
            let (start, split, cuts, mut recent) = {
                let state = self.state();
                let (start, end) = (start.max(state.first), end.min(state.end));
                if start >= end {
                    self.storage.check()?;
                    return Ok(Vec::new());
                }
                let split = state.tail_first().clamp(start, end);
                let skip = usize::try_from(split - state.tail_first().min(split)).map_err(io::Error::other)?;
                let count = usize::try_from(end - split).map_err(io::Error::other)?;
                let recent: Vec<_> = state.tail.iter().skip(skip).take(count).map(|held| held.entry.clone()).collect();
                (start, split, state.cuts, recent)
            };
            if start == split {
                self.storage.check()?;
                return Ok(recent);
            }
            let mut found = self.storage.read(move |database| read_entries::<C>(database, start, split)).await?;
            let (cuts_now, first_now) = {
                let state = self.state();
                (state.cuts, state.first)
            };
            if cuts_now != cuts || first_now > start {
                continue;
            }
            if found.len() as u64 != split - start {
                return Err(self.storage.fail(DamagedRecord::io(LOG.name, start, "entries are missing from here on")));
            }
            found.append(&mut recent);
            return Ok(found);
        }
        Err(io::Error::other("the log was cut again and again while it was read"))
    }
}

fn encode<T: serde::Serialize>(value: &T) -> io::Result<Vec<u8>> {
    postcard::to_io(value, Vec::with_capacity(RECORD_USUAL)).map_err(io::Error::other)
}

/// Reads what is on the disk of `start..end`, up to the first hole.
fn read_entries<C: RaftTypeConfig>(database: &Database, start: u64, end: u64) -> io::Result<Vec<C::Entry>> {
    let transaction = database.begin_read().map_err(redb_io)?;
    let log = transaction.open_table(LOG.table).map_err(redb_io)?;
    let mut entries = Vec::new();
    for (row, expected) in log.range(start..end).map_err(redb_io)?.zip(start..) {
        let (index, stored) = row.map_err(redb_io)?;
        if index.value() != expected {
            break;
        }
        entries.push(decode_entry::<C>(expected, stored.value())?);
    }
    Ok(entries)
}

fn decode_entry<C: RaftTypeConfig>(index: u64, stored: &[u8]) -> io::Result<C::Entry> {
    let damaged = |what| DamagedRecord::io(LOG.name, index, what);
    let entry: C::Entry = postcard::from_bytes(LOG.open(index, stored)?).map_err(|_| damaged("unreadable"))?;
    if entry.index() == index { Ok(entry) } else { Err(damaged("it holds the entry of another index")) }
}

fn load<C: RaftTypeConfig>(database: &Database) -> io::Result<State<C>> {
    let transaction = database.begin_read().map_err(redb_io)?;
    let meta = transaction.open_table(META).map_err(redb_io)?;
    fn single<T: DeserializeOwned>(
        meta: &impl ReadableTable<&'static str, &'static [u8]>,
        name: &'static str,
    ) -> io::Result<Option<T>> {
        let Some(stored) = meta.get(name).map_err(redb_io)? else { return Ok(None) };
        let value = postcard::from_bytes(open_meta(name, stored.value())?);
        value.map(Some).map_err(|_| DamagedRecord::io("meta", name, "unreadable"))
    }
    let purged: Option<LogIdOf<C>> = single(&meta, key::PURGED)?;
    let log = transaction.open_table(LOG.table).map_err(redb_io)?;
    let mut state = State {
        vote: single(&meta, key::VOTE)?,
        committed: single(&meta, key::COMMITTED)?,
        last: purged.clone(),
        first: purged.as_ref().map_or(0, |purged| purged.index + 1),
        end: purged.as_ref().map_or(0, |purged| purged.index + 1),
        purged,
        tail: VecDeque::new(),
        tail_bytes: 0,
        appends: 0,
        durable: 0,
        cuts: 0,
    };
    if let (Some((first, _)), Some((last, stored))) = (log.first().map_err(redb_io)?, log.last().map_err(redb_io)?) {
        let (first, last) = (first.value(), last.value());
        let after_purge = state.purged.is_none() || first == state.first;
        if !after_purge || last - first + 1 != log.len().map_err(redb_io)? {
            return Err(DamagedRecord::io(LOG.name, first, "the log has a hole"));
        }
        state.last = Some(decode_entry::<C>(last, stored.value())?.log_id());
        (state.first, state.end) = (first, last + 1);
    }
    Ok(state)
}

impl<C: RaftTypeConfig> RaftLogReader<C> for LogStore<C>
where
    C::Entry: Clone,
{
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<C::Entry>, io::Error> {
        let start = match range.start_bound() {
            Bound::Included(start) => *start,
            Bound::Excluded(before) => before.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(last) => last.saturating_add(1),
            Bound::Excluded(end) => *end,
            Bound::Unbounded => u64::MAX,
        };
        self.read_range(start, end).await
    }

    async fn read_vote(&mut self) -> Result<Option<VoteOf<C>>, io::Error> {
        self.storage.check()?;
        Ok(self.state().vote.clone())
    }
}

impl<C: RaftTypeConfig> RaftLogStorage<C> for LogStore<C>
where
    C::Entry: Clone,
{
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<C>, io::Error> {
        self.storage.check()?;
        let state = self.state();
        Ok(LogState { last_purged_log_id: state.purged.clone(), last_log_id: state.last.clone() })
    }

    async fn get_log_reader(&mut self) -> Self::LogReader {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &VoteOf<C>) -> Result<(), io::Error> {
        let (state, saved) = (Arc::clone(&self.state), vote.clone());
        let op = Op::Vote(encode(vote)?);
        self.storage.send_and_wait_after(op, move || lock(&state).vote = Some(saved)).await?;
        Ok(())
    }

    async fn save_committed(&mut self, committed: Option<LogIdOf<C>>) -> Result<(), io::Error> {
        let Some(log_id) = committed else { return Ok(()) };
        let encoded = encode(&log_id)?;
        let slot = self.storage.reserve(encoded.len()).await?;
        self.state().committed = Some(log_id);
        slot.send(Op::Committed(encoded), Box::new(|_| {}));
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<LogIdOf<C>>, io::Error> {
        self.storage.check()?;
        Ok(self.state().committed.clone())
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<C>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = C::Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let (mut records, mut held, mut bytes) = (Vec::new(), Vec::new(), 0);
        for entry in entries {
            let record = encode(&entry)?;
            bytes += record.len();
            held.push((entry, record.len()));
            records.push((held[held.len() - 1].0.index(), record));
        }
        let slot = self.storage.reserve(bytes).await?;
        let append = {
            let mut state = self.state();
            // The very first entry may have any index.
            let fresh = state.first == state.end && state.purged.is_none();
            let first = records.first().filter(|_| fresh).map_or(state.end, |(index, _)| *index);
            if let Some(((index, _), next)) = records.iter().zip(first..).find(|((index, _), next)| index != next) {
                let text = format!("entry {index} would leave a hole: the next one is {next}");
                return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
            }
            state.push(held)
        };
        let (state, tail_bytes_max) = (Arc::clone(&self.state), self.storage.log_tail_bytes());
        slot.send(
            Op::Append(records),
            Box::new(move |outcome: Result<(), StorageFailed>| {
                if outcome.is_ok() {
                    lock(&state).append_is_durable(append, tail_bytes_max);
                }
                callback.io_completed(outcome.map_err(io::Error::from));
            }),
        );
        Ok(())
    }

    async fn truncate_after(&mut self, last_log_id: Option<LogIdOf<C>>) -> Result<(), io::Error> {
        let from = last_log_id.as_ref().map_or(0, |last| last.index + 1);
        let slot = self.storage.reserve(0).await?;
        let applied_end = self.storage.history().applied_end();
        {
            let mut state = self.state();
            let kept_end = state.committed_end().max(applied_end);
            if from < kept_end.min(state.end) && !planted(Bug::TruncateBelowCommitted) {
                return Err(self.storage.fail(CutBelowCommitted { from, committed: kept_end - 1 }.into()));
            }
            state.cut(last_log_id);
        }
        let (answer, answered) = tokio::sync::oneshot::channel();
        // Whoever asked may be gone.
        slot.send(Op::TruncateFrom(from), Box::new(move |outcome| drop(answer.send(outcome))));
        answered.await.unwrap_or_else(|_| Err(StorageFailed::closed()))?;
        Ok(())
    }

    async fn purge(&mut self, log_id: LogIdOf<C>) -> Result<(), io::Error> {
        let encoded = encode(&log_id)?;
        let slot = self.storage.reserve(encoded.len()).await?;
        let upto = log_id.index;
        {
            let mut state = self.state();
            if state.purged.as_ref() >= Some(&log_id) {
                return Ok(());
            }
            state.purge(log_id);
        }
        slot.send(Op::Purge { upto, log_id: encoded }, Box::new(|_| {}));
        Ok(())
    }
}
