//! The way to the writer's thread: large messages beside those that wait for the commit of others, and closing.
//! Whatever is on the way, everything gets through, within a time that says that nobody waits for anybody.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::time::Duration;

use bytes::Bytes;
use common::{Log, append, append_durably, entry, id, options};
use openraft::{RaftLogReader, storage::RaftLogStorage};
use quorate_log_store::{History, Storage, WriterMode};
use tempfile::TempDir;
use tokio::time::{Instant, timeout};

/// More than the queue to the writer holds.
const LARGE: usize = (64 << 20) + 5;
/// A deadlock lasts for ever; a loaded machine does not take so long.
const PATIENCE: Duration = Duration::from_secs(60);

fn threads() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// What waits for the commit of something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deferred {
    Committed,
    Purge,
    Frames,
    PruneFrames,
}

const DEFERRED: [Deferred; 4] = [Deferred::Committed, Deferred::Purge, Deferred::Frames, Deferred::PruneFrames];

/// What may be large.
#[derive(Debug, Clone, Copy)]
enum Large {
    Append,
    Snapshot,
    Install,
    Frames,
    Base,
}

const LARGE_ONES: [Large; 5] = [Large::Append, Large::Snapshot, Large::Install, Large::Frames, Large::Base];

struct Store {
    storage: Storage,
    log: Log,
    next: u64,
    _directory: TempDir,
}

impl Store {
    async fn open() -> Self {
        let directory = TempDir::new().unwrap();
        let storage = Storage::open_file(directory.path().join("raft.redb"), options(WriterMode::Thread)).unwrap();
        let mut log = Log::new(&storage).unwrap();
        append_durably(&mut log, (0..10).map(|index| entry(1, index, "text")).collect()).await.unwrap();
        Self { storage, log, next: 10, _directory: directory }
    }

    async fn defer(&mut self, kind: Deferred) {
        match kind {
            Deferred::Committed => self.log.save_committed(Some(id(1, 7))).await.unwrap(),
            Deferred::Purge => self.log.purge(id(1, 3)).await.unwrap(),
            Deferred::Frames => self.storage.put_frames(vec![(7, Bytes::from(vec![1; 5_000]))]).await.unwrap(),
            Deferred::PruneFrames => self.storage.prune_frames_below(2, "base".into()).await.unwrap(),
        }
    }

    /// Nothing is on the way: what was sent is committed, or waits without a permit.
    async fn quiet(&self) {
        let ends = Instant::now() + PATIENCE;
        while self.storage.metrics().queued_bytes > 0 {
            assert!(Instant::now() < ends, "what waits for a commit keeps its permit: {:?}", self.storage.metrics());
            tokio::task::yield_now().await;
        }
    }

    async fn write(&mut self, large: Large) {
        match large {
            Large::Append => {
                let done = append(&mut self.log, vec![entry(1, self.next, "x".repeat(LARGE))]).await.unwrap();
                self.next += 1;
                done.await.unwrap();
            }
            Large::Snapshot => self.storage.save_snapshot("meta".into(), vec![2; LARGE].into()).await.unwrap(),
            Large::Install => {
                let history = History { first_index: 7, base: "base".into(), frames: vec![(7, vec![3; LARGE].into())] };
                self.storage.install_snapshot("meta".into(), "payload".into(), history).await.unwrap();
            }
            Large::Frames => self.storage.put_frames(vec![(8, Bytes::from(vec![4; LARGE]))]).await.unwrap(),
            Large::Base => self.storage.prune_frames_below(3, vec![5; LARGE].into()).await.unwrap(),
        }
    }
}

#[test]
fn what_waits_for_a_commit_holds_no_permit() {
    threads().block_on(async {
        for kind in DEFERRED {
            let mut store = Store::open().await;
            store.quiet().await;
            let before = store.storage.metrics();
            store.defer(kind).await;
            timeout(PATIENCE, store.quiet()).await.unwrap();
            assert_eq!(store.storage.metrics().commits, before.commits, "{kind:?} waits");
            timeout(PATIENCE, store.storage.close()).await.expect("closing hangs").unwrap();
        }
    });
}

#[test]
fn a_large_message_gets_through_beside_each_kind_that_waits() {
    threads().block_on(async {
        for (position, kind) in DEFERRED.into_iter().enumerate() {
            let mut store = Store::open().await;
            // Each kind beside a different large one, and the snapshot beside all.
            for large in [Large::Snapshot, LARGE_ONES[(position + 2) % LARGE_ONES.len()]] {
                store.defer(kind).await;
                let written = timeout(PATIENCE, store.write(large)).await;
                written.unwrap_or_else(|_| panic!("{large:?} beside {kind:?} hangs"));
            }
            assert!(store.storage.metrics().large_messages >= 2, "{:?}", store.storage.metrics());
            timeout(PATIENCE, store.storage.close()).await.expect("closing hangs").unwrap();
        }
    });
}

#[test]
fn everything_at_once_gets_through_and_the_last_word_is_kept() {
    threads().block_on(async {
        let mut store = Store::open().await;
        for large in LARGE_ONES {
            for kind in DEFERRED {
                store.defer(kind).await;
            }
            let storage = store.storage.clone();
            let beside = tokio::spawn(async move { storage.save_snapshot("meta".into(), vec![9; LARGE].into()).await });
            timeout(PATIENCE, store.write(large)).await.unwrap_or_else(|_| panic!("{large:?} hangs"));
            timeout(PATIENCE, beside).await.expect("the snapshot beside it hangs").unwrap().unwrap();
            timeout(PATIENCE, store.log.save_vote(&common::Vote::new_committed(1, 1))).await.expect("a vote").unwrap();
        }
        timeout(PATIENCE, store.storage.flush()).await.expect("flushing hangs").unwrap();
        let snapshot = store.storage.load_snapshot().await.unwrap().unwrap();
        assert_eq!(snapshot.payload.len(), LARGE);
        assert_eq!(store.storage.history_base().len(), LARGE);
        assert_eq!(store.log.try_get_log_entries(4..11).await.unwrap().len(), 7);
        timeout(PATIENCE, store.storage.close()).await.expect("closing hangs").unwrap();
    });
}

#[test]
fn closing_waits_for_nobody_who_waits_for_a_permit() {
    threads().block_on(async {
        for kind in DEFERRED {
            let mut store = Store::open().await;
            store.defer(kind).await;
            let large = |byte: u8| {
                let storage = store.storage.clone();
                tokio::spawn(async move { storage.save_snapshot("meta".into(), vec![byte; LARGE].into()).await })
            };
            // They do not fit into the queue together: some wait for permits while it is closed.
            let waiting: Vec<_> = (0..3).map(large).collect();
            while store.storage.metrics().queued_bytes == 0 {
                tokio::task::yield_now().await;
            }
            timeout(PATIENCE, store.storage.close()).await.expect("closing hangs").unwrap();
            for saved in waiting {
                // Written before the end, or refused because of it; nobody is left waiting.
                let saved = timeout(PATIENCE, saved).await.expect("a caller is left waiting").unwrap();
                assert!(saved.is_ok() || saved.unwrap_err().to_string().contains("closed"));
            }
            assert!(store.storage.flush().await.is_err());
        }
    });
}
