//! Plain counters of the writer.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use crate::writer::{Message, Op};

#[derive(Default)]
pub(crate) struct Counters {
    commits: AtomicU64,
    messages: AtomicU64,
    entries: AtomicU64,
    bytes: AtomicU64,
    commit_micros_last: AtomicU64,
    commit_micros_total: AtomicU64,
    large_messages: AtomicU64,
    long_waits: AtomicU64,
}

/// What the store has done since it was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StorageMetrics {
    /// Durable commits.
    pub commits: u64,
    /// Changes within them: `messages / commits` is how well commits are grouped.
    pub messages: u64,
    /// Log entries within them.
    pub entries: u64,
    /// Bytes of payload within them, before checksums and pages.
    pub bytes: u64,
    /// How long the last commit took, in microseconds.
    pub commit_micros_last: u64,
    /// How long all commits took, in microseconds.
    pub commit_micros_total: u64,
    /// Bytes that are on the way to the disk now, in whole KiB for each change; 0 where commits happen inside the call.
    pub queued_bytes: u64,
    /// Changes larger than 48 MiB, which hold up all others while they are written.
    pub large_messages: u64,
    /// Changes that waited for more than 5 seconds to be taken by the writer.
    pub long_waits: u64,
}

impl Counters {
    pub(crate) fn committed(&self, batch: &[Message], took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let entries: usize = batch
            .iter()
            .map(|message| match &message.op {
                Op::Append(entries) => entries.len(),
                Op::Vote(_)
                | Op::Verdict(_)
                | Op::Committed(_)
                | Op::TruncateFrom(_)
                | Op::Purge { .. }
                | Op::Snapshot { .. }
                | Op::Install { .. }
                | Op::Frames(_)
                | Op::PruneFrames(_)
                | Op::Flush
                | Op::Close => 0,
            })
            .sum();
        let bytes: usize = batch.iter().map(|message| message.op.bytes()).sum();
        self.commits.fetch_add(1, Ordering::Relaxed);
        self.messages.fetch_add(batch.len() as u64, Ordering::Relaxed);
        self.entries.fetch_add(entries as u64, Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        self.commit_micros_last.store(micros, Ordering::Relaxed);
        self.commit_micros_total.fetch_add(micros, Ordering::Relaxed);
    }

    pub(crate) fn large(&self) {
        self.large_messages.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn waited_long(&self) {
        self.long_waits.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> StorageMetrics {
        StorageMetrics {
            commits: self.commits.load(Ordering::Relaxed),
            messages: self.messages.load(Ordering::Relaxed),
            entries: self.entries.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            commit_micros_last: self.commit_micros_last.load(Ordering::Relaxed),
            commit_micros_total: self.commit_micros_total.load(Ordering::Relaxed),
            queued_bytes: 0,
            large_messages: self.large_messages.load(Ordering::Relaxed),
            long_waits: self.long_waits.load(Ordering::Relaxed),
        }
    }
}
