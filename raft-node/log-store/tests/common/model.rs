//! A naive model of the store, and a random workload that drives both.

use std::{collections::BTreeMap, io, pin::Pin};

use bytes::Bytes;
use openraft::{EntryPayload, RaftLogReader, entry::RaftEntry, storage::RaftLogStorage};
use quorate_log_store::{History, Storage};
use rand::{Rng, rngs::SmallRng};

use crate::common::{Id, Log, Vote, append, entry, id};

/// All that the store should hold.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Model {
    pub(crate) vote: Option<Vote>,
    pub(crate) committed: Option<Id>,
    pub(crate) purged: Option<Id>,
    pub(crate) log: BTreeMap<u64, (u64, Bytes)>,
    pub(crate) snapshot: Option<(Bytes, Bytes)>,
    pub(crate) verdict: Option<Vec<u8>>,
    pub(crate) first_frame: u64,
    pub(crate) base: Bytes,
    pub(crate) frames: BTreeMap<u64, Bytes>,
}

/// One change.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    Append(Vec<(u64, u64, Bytes)>),
    Vote(Vote),
    Verdict(Vec<u8>),
    Committed(Id),
    Truncate(Option<Id>),
    Purge(Id),
    Snapshot(Bytes, Bytes),
    Install(Bytes, Bytes, History),
    Frames(Vec<(u64, Bytes)>),
    Prune(u64, Bytes),
    Flush,
}

/// The outcome of a change that was sent.
pub(crate) enum Sent {
    /// It is durable.
    Acknowledged,
    /// It was taken without a promise.
    Deferred,
    /// It will be acknowledged later.
    Pending(Pin<Box<dyn Future<Output = io::Result<()>> + Send>>),
}

fn text(rng: &mut SmallRng, bytes_max: usize) -> Bytes {
    let count = rng.random_range(0..=bytes_max);
    (0..count).map(|_| rng.random_range(b'a'..=b'z')).collect()
}

fn frame(index: u64) -> Bytes {
    format!("frame of {index} {}", "x".repeat(usize::try_from(index * 37 % 300).unwrap())).into()
}

fn snapshot_meta(index: u64) -> Bytes {
    Bytes::copy_from_slice(&index.to_le_bytes())
}

impl Model {
    /// The index up to which the snapshot covers the log.
    pub(crate) fn snapshot_index(&self) -> Option<u64> {
        self.snapshot.as_ref().map(|(meta, _)| u64::from_le_bytes(meta[..].try_into().unwrap()))
    }

    fn term(&self) -> u64 {
        let of = |id: &Option<Id>| id.as_ref().map_or(0, |id| id.leader_id.term);
        let last = self.log.values().next_back().map_or(0, |(term, _)| *term);
        of(&self.purged).max(of(&self.committed)).max(last).max(self.vote.map_or(0, |vote| vote.leader_id.term))
    }

    fn next_index(&self) -> u64 {
        let after_purge = self.purged.as_ref().map_or(0, |purged| purged.index + 1);
        self.log.keys().next_back().map_or(after_purge, |last| last + 1)
    }

    fn id_at(&self, index: u64) -> Option<Id> {
        self.log.get(&index).map(|(term, _)| id(*term, index))
    }

    /// A change that is valid now.
    pub(crate) fn random_change(&self, rng: &mut SmallRng) -> Change {
        let next = self.next_index();
        let purged = self.purged.as_ref().map_or(0, |id| id.index + 1);
        let committed = self.committed.as_ref().map_or(0, |id| id.index + 1).max(purged);
        match rng.random_range(0..100) {
            0..35 => {
                let (term, bytes_max) = (self.term(), if rng.random_ratio(1, 10) { 20_000 } else { 600 });
                let count = rng.random_range(1..=8);
                Change::Append((next..next + count).map(|index| (term, index, text(rng, bytes_max))).collect())
            }
            35..45 => Change::Vote(Vote::new(self.term() + 1, rng.random_range(1..4))),
            45..60 if next > committed => {
                self.id_at(rng.random_range(committed..next)).map_or(Change::Flush, Change::Committed)
            }
            60..68 if next > committed => {
                let from = rng.random_range(committed..next);
                match from.checked_sub(1) {
                    None => Change::Truncate(None),
                    Some(last) => {
                        let purged = self.purged.filter(|purged| purged.index == last);
                        self.id_at(last).or(purged).map_or(Change::Flush, |last| Change::Truncate(Some(last)))
                    }
                }
            }
            68..76 if committed > 0 => {
                let payload_max = if rng.random_ratio(1, 4) { 200_000 } else { 3_000 };
                Change::Snapshot(snapshot_meta(committed - 1), text(rng, payload_max))
            }
            76..84 => {
                let upto = self.snapshot_index().filter(|index| self.log.contains_key(index));
                upto.and_then(|index| self.id_at(index)).map_or(Change::Flush, Change::Purge)
            }
            84..92 if committed > self.first_frame => {
                let end = self.frames.keys().next_back().map_or(self.first_frame, |last| last + 1);
                let start = end.saturating_sub(rng.random_range(0..3)).max(self.first_frame);
                Change::Frames((start..committed.min(start + 6)).map(|index| (index, frame(index))).collect())
            }
            92..95 => {
                let end = self.frames.keys().next_back().map_or(self.first_frame, |last| last + 1);
                Change::Prune(rng.random_range(self.first_frame..=end), text(rng, 40))
            }
            95..97 => {
                let last = next + rng.random_range(0..5);
                let first = last.saturating_sub(rng.random_range(0..10));
                let frames = (first..=last).map(|index| (index, frame(index))).collect();
                let history = History { first_index: first, base: text(rng, 40), frames };
                Change::Install(snapshot_meta(last), text(rng, 90_000), history)
            }
            97..99 => Change::Verdict(text(rng, 100).to_vec()),
            _ => Change::Flush,
        }
    }

    /// What follows an installation at once: the log it covers is purged.
    pub(crate) fn purge_after_install(&self) -> Option<Change> {
        let index = self.snapshot_index()?;
        (index >= self.next_index()).then(|| Change::Purge(id(self.term(), index)))
    }

    /// Makes the change in the model.
    pub(crate) fn change(&mut self, change: &Change) {
        match change {
            Change::Append(entries) => {
                self.log.extend(entries.iter().map(|(term, index, text)| (*index, (*term, text.clone()))));
            }
            Change::Vote(vote) => self.vote = Some(*vote),
            Change::Verdict(verdict) => self.verdict = Some(verdict.clone()),
            Change::Committed(id) => self.committed = Some(*id),
            Change::Truncate(last) => {
                let from = last.as_ref().map_or(0, |last| last.index + 1);
                drop(self.log.split_off(&from));
            }
            Change::Purge(upto) => {
                self.log = self.log.split_off(&(upto.index + 1));
                self.purged = Some(*upto);
            }
            Change::Snapshot(meta, payload) => self.snapshot = Some((meta.clone(), payload.clone())),
            Change::Install(meta, payload, history) => {
                self.snapshot = Some((meta.clone(), payload.clone()));
                self.first_frame = history.first_index;
                self.base = history.base.clone();
                self.frames = history.frames.iter().cloned().collect();
            }
            Change::Frames(frames) => self.frames.extend(frames.iter().cloned()),
            Change::Prune(first, base) => {
                self.frames = self.frames.split_off(first);
                self.first_frame = *first;
                self.base = base.clone();
            }
            Change::Flush => {}
        }
    }

    /// Reads everything that the store holds.
    pub(crate) async fn read(storage: &Storage, log: &mut Log) -> io::Result<Self> {
        let state = log.get_log_state().await?;
        let mut entries = BTreeMap::new();
        for entry in log.try_get_log_entries(..).await? {
            let EntryPayload::Normal(text) = &entry.payload else { panic!("only texts are appended") };
            entries.insert(entry.index(), (entry.log_id.leader_id.term, Bytes::from(text.clone())));
        }
        let last = entries.iter().next_back().map(|(index, (term, _))| id(*term, *index));
        assert_eq!(state.last_log_id, last.or(state.last_purged_log_id), "the log's end");
        Ok(Self {
            vote: log.read_vote().await?,
            committed: log.read_committed().await?,
            purged: state.last_purged_log_id,
            log: entries,
            snapshot: storage.load_snapshot().await?.map(|snapshot| (snapshot.meta, snapshot.payload)),
            verdict: storage.load_verdict()?,
            first_frame: storage.first_frame_index(),
            base: storage.history_base(),
            frames: storage.read_frames(0, usize::MAX, usize::MAX).await?.into_iter().collect(),
        })
    }

    /// What must hold of anything that was recovered, whatever was sent.
    pub(crate) fn check_invariants(&self) {
        let after_purge = self.purged.as_ref().map(|purged| purged.index + 1);
        let first = self.log.keys().next().copied();
        if let (Some(first), Some(after_purge)) = (first, after_purge) {
            assert_eq!(first, after_purge, "a hole after the purge");
        }
        for (expected, index) in (first.unwrap_or(0)..).zip(self.log.keys()) {
            assert_eq!(*index, expected, "a hole in the log");
        }
        if let Some(purged) = &self.purged {
            let covered = self.snapshot_index().expect("a purge without a snapshot");
            assert!(covered >= purged.index, "purged to {}, but the snapshot ends at {covered}", purged.index);
        }
        assert!(self.frames.keys().all(|index| *index >= self.first_frame), "frames below the first one");
    }
}

/// Sends the change to the store.
pub(crate) async fn send(change: &Change, storage: &Storage, log: &mut Log) -> io::Result<Sent> {
    match change.clone() {
        Change::Append(entries) => {
            let text = |bytes: Bytes| String::from_utf8(bytes.to_vec()).unwrap();
            let entries = entries.into_iter().map(|(term, index, bytes)| entry(term, index, text(bytes))).collect();
            return Ok(Sent::Pending(Box::pin(append(log, entries).await?)));
        }
        Change::Vote(vote) => log.save_vote(&vote).await?,
        Change::Verdict(verdict) => storage.save_verdict(verdict).await?,
        Change::Committed(id) => {
            log.save_committed(Some(id)).await?;
            return Ok(Sent::Deferred);
        }
        Change::Truncate(last) => log.truncate_after(last).await?,
        Change::Purge(upto) => {
            log.purge(upto).await?;
            return Ok(Sent::Deferred);
        }
        Change::Snapshot(meta, payload) => storage.save_snapshot(meta, payload).await?,
        Change::Install(meta, payload, history) => storage.install_snapshot(meta, payload, history).await?,
        Change::Frames(frames) => {
            storage.put_frames(frames).await?;
            return Ok(Sent::Deferred);
        }
        Change::Prune(first, base) => {
            storage.prune_frames_below(first, base).await?;
            return Ok(Sent::Deferred);
        }
        Change::Flush => storage.flush().await?,
    }
    Ok(Sent::Acknowledged)
}
