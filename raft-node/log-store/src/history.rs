//! The event history: opaque frames by log index, with a record of what was dropped (the *base*, opaque
//! too). Frames are put without waiting, because a replay of the log after a crash puts the same ones
//! again; they are readable at once, from memory until they are durable and for a while after.

use std::{collections::BTreeMap, io, ops::Bound};

use bytes::Bytes;
use redb::{Database, ReadableDatabase, ReadableTable};
use serde::{Deserialize, Serialize};

use crate::{
    error::{DamagedRecord, StorageFailed, redb_io},
    record::{FRAMES, META, key, open_meta},
    storage::Storage,
    writer::Op,
};

/// A whole history, as a snapshot carries it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    /// No frame at or above this log index is missing; below it there are none.
    pub first_index: u64,
    /// What the caller keeps of the frames that were dropped.
    pub base: Bytes,
    /// The frames, by ascending log index.
    pub frames: Vec<(u64, Bytes)>,
}

/// The record beside the frames.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct HistoryRecord {
    pub(crate) first: u64,
    /// Counts the installations, so that a reader never mixes two histories.
    pub(crate) generation: u64,
    pub(crate) base: Vec<u8>,
}

impl HistoryRecord {
    pub(crate) fn encode(&self) -> io::Result<Vec<u8>> {
        postcard::to_stdvec(self).map_err(io::Error::other)
    }

    fn decode(stored: &[u8]) -> io::Result<Self> {
        let bytes = open_meta(key::HISTORY, stored)?;
        postcard::from_bytes(bytes).map_err(|_| DamagedRecord::io("meta", key::HISTORY, "unreadable"))
    }
}

/// What is known of the history without reading.
pub(crate) struct HistoryState {
    record: HistoryRecord,
    /// Recent frames: (number of the put, frame).
    tail: BTreeMap<u64, (u64, Bytes)>,
    tail_bytes: usize,
    tail_bytes_max: usize,
    /// All frames at or above this index are in the tail.
    floor: u64,
    puts: u64,
    /// Puts up to this one are durable.
    durable: u64,
}

impl HistoryState {
    pub(crate) fn load(database: &Database, tail_bytes_max: usize) -> io::Result<Self> {
        let transaction = database.begin_read().map_err(redb_io)?;
        let record = read_record(&transaction)?;
        let frames = transaction.open_table(FRAMES.table).map_err(redb_io)?;
        let last = frames.last().map_err(redb_io)?.map(|(index, _)| index.value());
        Ok(Self {
            record,
            tail: BTreeMap::new(),
            tail_bytes: 0,
            tail_bytes_max,
            floor: last.map_or(0, |last| last.saturating_add(1)),
            puts: 0,
            durable: 0,
        })
    }

    fn put(&mut self, frames: &[(u64, Bytes)]) -> u64 {
        self.puts += 1;
        for (index, frame) in frames {
            self.tail_bytes += frame.len();
            if let Some((_, former)) = self.tail.insert(*index, (self.puts, frame.clone())) {
                self.tail_bytes -= former.len();
            }
        }
        self.puts
    }

    fn put_is_durable(&mut self, put: u64) {
        self.durable = self.durable.max(put);
        while self.tail_bytes > self.tail_bytes_max {
            let Some(first) = self.tail.first_entry() else { return };
            if first.get().0 > self.durable {
                return;
            }
            let (index, (_, frame)) = first.remove_entry();
            self.tail_bytes -= frame.len();
            self.floor = self.floor.max(index.saturating_add(1));
        }
    }

    /// The index after the last one that is known to be applied: its frame was put, installed or dropped.
    pub(crate) fn applied_end(&self) -> u64 {
        let in_tail = self.tail.keys().next_back().map_or(0, |last| last.saturating_add(1));
        self.record.first.max(self.floor).max(in_tail)
    }

    /// Numbers an installation like a put, and gives its generation.
    pub(crate) fn begin_install(&mut self) -> (u64, u64) {
        self.puts += 1;
        (self.puts, self.record.generation + 1)
    }

    /// The installation is durable: what was put before it is gone.
    pub(crate) fn installed(&mut self, put: u64, record: HistoryRecord, last: Option<u64>) {
        self.floor = last.map_or(record.first, |last| last.saturating_add(1));
        self.record = record;
        self.durable = self.durable.max(put);
        self.tail.retain(|_, (number, _)| *number > put);
        self.tail_bytes = self.tail.values().map(|(_, frame)| frame.len()).sum();
    }

    fn prune(&mut self, first: u64, base: &Bytes) -> HistoryRecord {
        if first > self.record.first {
            self.record.first = first;
            self.tail = self.tail.split_off(&first);
            self.tail_bytes = self.tail.values().map(|(_, frame)| frame.len()).sum();
        }
        self.record.base = base.to_vec();
        self.record.clone()
    }
}

impl Storage {
    /// Puts the frames of log indexes that are applied; one that is there already is replaced. Waits for a place in the queue, not for the
    /// disk: a frame is durable with the next commit of log, vote or snapshot.
    ///
    /// # Errors
    /// [`StorageFailed`]: the store has stopped.
    pub async fn put_frames(&self, frames: Vec<(u64, Bytes)>) -> Result<(), StorageFailed> {
        if frames.is_empty() {
            return Ok(());
        }
        let slot = self.reserve(frames.iter().map(|(_, frame)| frame.len()).sum()).await?;
        let put = self.history().put(&frames);
        let storage = self.downgrade();
        slot.send(
            Op::Frames(frames),
            Box::new(move |outcome| {
                if let (Ok(()), Some(storage)) = (outcome, storage.upgrade()) {
                    storage.history().put_is_durable(put);
                }
            }),
        );
        Ok(())
    }

    /// Drops the frames below `first_index` and replaces the base, both in one transaction, without
    /// waiting for the disk. Lower than [`Storage::first_frame_index`] replaces the base alone.
    ///
    /// # Errors
    /// [`StorageFailed`]: the store has stopped.
    pub async fn prune_frames_below(&self, first_index: u64, base: Bytes) -> Result<(), StorageFailed> {
        let slot = self.reserve(base.len()).await?;
        let record = self.history().prune(first_index, &base);
        slot.send(Op::PruneFrames(record), Box::new(|_| {}));
        Ok(())
    }

    /// The first log index from which no frame is missing.
    #[must_use]
    pub fn first_frame_index(&self) -> u64 {
        self.history().record.first
    }

    /// What the caller kept of the frames that were dropped; empty at first.
    #[must_use]
    pub fn history_base(&self) -> Bytes {
        self.history().record.base.clone().into()
    }

    /// The frames from index `from` on, ascending: at most `count_max`, and at most `bytes_max` bytes
    /// unless the first alone is larger. Starts at [`Storage::first_frame_index`] where `from` is lower.
    ///
    /// # Errors
    /// An I/O error, or a damaged record; the store has stopped then.
    pub async fn read_frames(&self, from: u64, count_max: usize, bytes_max: usize) -> io::Result<Vec<(u64, Bytes)>> {
        let (from, recent, generation, complete) = {
            let state = self.history();
            let from = from.max(state.record.first);
            let recent = state.tail.range(from..).map(|(index, (_, frame))| (*index, frame.clone()));
            (from, limited(recent, count_max, bytes_max), state.record.generation, from >= state.floor)
        };
        if complete {
            self.check()?;
            return Ok(recent);
        }
        self.read(move |database| {
            let transaction = database.begin_read().map_err(redb_io)?;
            let table = transaction.open_table(FRAMES.table).map_err(redb_io)?;
            let mut found = BTreeMap::new();
            let mut bytes = 0;
            for row in table.range((Bound::Included(from), Bound::Unbounded)).map_err(redb_io)? {
                let (index, stored) = row.map_err(redb_io)?;
                if found.len() >= count_max || bytes > bytes_max {
                    break;
                }
                let frame = FRAMES.open(index.value(), stored.value())?;
                bytes += frame.len();
                found.insert(index.value(), Bytes::copy_from_slice(frame));
            }
            // A history installed since belongs to other recent frames than those at hand.
            if read_record(&transaction)?.generation == generation {
                found.extend(recent);
            }
            Ok(limited(found.into_iter(), count_max, bytes_max))
        })
        .await
    }
}

fn read_record(transaction: &redb::ReadTransaction) -> io::Result<HistoryRecord> {
    let meta = transaction.open_table(META).map_err(redb_io)?;
    let stored = meta.get(key::HISTORY).map_err(redb_io)?;
    stored.map_or_else(|| Ok(HistoryRecord::default()), |stored| HistoryRecord::decode(stored.value()))
}

fn limited(frames: impl Iterator<Item = (u64, Bytes)>, count_max: usize, bytes_max: usize) -> Vec<(u64, Bytes)> {
    let mut bytes = 0;
    frames
        .take(count_max)
        .enumerate()
        .take_while(|(position, (_, frame))| {
            bytes += frame.len();
            *position == 0 || bytes <= bytes_max
        })
        .map(|(_, frame)| frame)
        .collect()
}
