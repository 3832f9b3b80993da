//! Opening, closing, grouping, bounds: what the store does on good days.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking, and prints its figures")]

mod common;

use std::{fs, path::Path};

use bytes::Bytes;
use common::{Log, Vote, append, append_durably, entry, id, options, run};
use openraft::{RaftLogReader, storage::RaftLogStorage};
use quorate_log_store::{History, OpenError, Storage, WriterMode, sim_disk::SimDisk};
use tempfile::TempDir;

fn threads() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

fn open(path: &Path) -> Result<Storage, OpenError> {
    Storage::open_file(path, options(WriterMode::Thread))
}

#[test]
fn what_was_closed_is_there_again_with_what_was_deferred() {
    threads().block_on(async {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("raft.redb");
        let storage = open(&path).unwrap();
        let mut log = Log::new(&storage).unwrap();
        log.save_vote(&Vote::new_committed(3, 1)).await.unwrap();
        append_durably(&mut log, (0..10).map(|index| entry(3, index, "text")).collect()).await.unwrap();
        storage.save_snapshot("meta".into(), vec![7; 150_000].into()).await.unwrap();
        log.save_committed(Some(id(3, 8))).await.unwrap();
        log.purge(id(3, 4)).await.unwrap();
        storage.put_frames((0..9).map(|index| (index, Bytes::from(vec![1; 10]))).collect()).await.unwrap();
        storage.prune_frames_below(3, "balances".into()).await.unwrap();
        storage.close().await.unwrap();
        assert!(log.read_vote().await.is_ok(), "what is in memory stays readable");
        assert!(storage.load_snapshot().await.is_err(), "a closed store reads nothing");
        assert!(append(&mut log, vec![entry(3, 10, "late")]).await.is_err());

        let storage = open(&path).unwrap();
        let mut log = Log::new(&storage).unwrap();
        assert_eq!(log.read_vote().await.unwrap(), Some(Vote::new_committed(3, 1)));
        assert_eq!(log.read_committed().await.unwrap(), Some(id(3, 8)));
        let state = log.get_log_state().await.unwrap();
        assert_eq!((state.last_purged_log_id, state.last_log_id), (Some(id(3, 4)), Some(id(3, 9))));
        assert_eq!(log.try_get_log_entries(0..100).await.unwrap().len(), 5);
        let snapshot = storage.load_snapshot().await.unwrap().unwrap();
        assert_eq!((&snapshot.meta[..], &snapshot.payload[..]), (&b"meta"[..], &[7; 150_000][..]));
        assert_eq!((storage.first_frame_index(), storage.history_base()), (3, Bytes::from("balances")));
        assert_eq!(storage.read_frames(0, 100, 1 << 20).await.unwrap().len(), 6);
        assert!(storage.failure().borrow().is_none());
    });
}

#[test]
fn a_store_that_is_dropped_flushes_too() {
    threads().block_on(async {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("raft.redb");
        let storage = open(&path).unwrap();
        let mut log = Log::new(&storage).unwrap();
        append_durably(&mut log, vec![entry(1, 0, "text")]).await.unwrap();
        log.save_committed(Some(id(1, 0))).await.unwrap();
        drop((storage, log));
        // The writer's thread lets go of the file when it has flushed.
        let storage = loop {
            match open(&path) {
                Ok(storage) => break storage,
                Err(OpenError::InUse) => tokio::task::yield_now().await,
                Err(error) => panic!("{error}"),
            }
        };
        let mut log = Log::new(&storage).unwrap();
        assert_eq!(log.read_committed().await.unwrap(), Some(id(1, 0)));
    });
}

#[test]
fn a_file_belongs_to_one_process_one_node_and_one_cluster() {
    threads().block_on(async {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("raft.redb");
        let storage = open(&path).unwrap();
        assert!(matches!(open(&path), Err(OpenError::InUse)));
        storage.close().await.unwrap();

        let mut other = options(WriterMode::Thread);
        other.cluster_id = "other".into();
        let error = Storage::open_file(&path, other).unwrap_err();
        assert!(matches!(&error, OpenError::WrongCluster { found, .. } if found == common::CLUSTER), "{error}");
        let mut other = options(WriterMode::Thread);
        other.node_id = 2;
        let error = Storage::open_file(&path, other).unwrap_err();
        assert!(matches!(error, OpenError::WrongNode { found: 1, expected: 2 }), "{error}");
        open(&path).unwrap();
    });
}

#[test]
fn what_is_not_a_store_is_refused_and_left_alone() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("notes.txt");
    let text = "not a store\n".repeat(1000);
    fs::write(&path, &text).unwrap();
    assert!(matches!(open(&path), Err(OpenError::Damaged(_))));
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
    assert!(matches!(open(&directory.path().join("missing/raft.redb")), Err(OpenError::Io(_))));
    // Short enough to have no page behind the first one.
    fs::write(&path, "short").unwrap();
    assert!(matches!(open(&path), Err(OpenError::Damaged(_))));
    assert_eq!(fs::read_to_string(&path).unwrap(), "short");
}

#[test]
fn the_committed_index_and_frames_ride_with_the_next_commit() {
    run(async {
        let storage = Storage::open(SimDisk::new(), options(WriterMode::Inline)).unwrap();
        let mut log = Log::new(&storage).unwrap();
        append_durably(&mut log, vec![entry(1, 0, "text")]).await.unwrap();
        let before = storage.metrics();
        assert_eq!((before.commits, before.entries), (1, 1));
        for index in 0..100 {
            log.save_committed(Some(id(1, 0))).await.unwrap();
            storage.put_frames(vec![(index, "frame".into())]).await.unwrap();
        }
        assert_eq!(storage.metrics().commits, before.commits);
        assert_eq!(storage.read_frames(98, 10, 1000).await.unwrap().len(), 2, "readable at once");
        append_durably(&mut log, vec![entry(1, 1, "text")]).await.unwrap();
        let after = storage.metrics();
        assert_eq!((after.commits, after.messages, after.entries), (2, 202, 2));
        // What waits is bounded: it is committed by itself when it is much.
        for index in 0..5 {
            storage.put_frames(vec![(200 + index, vec![0; 300 << 10].into())]).await.unwrap();
        }
        assert_eq!(storage.metrics().commits, 3);
    });
}

#[test]
fn the_writer_groups_what_waits() {
    threads().block_on(async {
        let directory = TempDir::new().unwrap();
        let storage = open(&directory.path().join("raft.redb")).unwrap();
        let mut log = Log::new(&storage).unwrap();
        let mut outcomes = Vec::new();
        for index in 0..2_000 {
            outcomes.push(append(&mut log, vec![entry(1, index, "text")]).await.unwrap());
            let found = log.try_get_log_entries(index..=index).await.unwrap();
            assert_eq!(found.len(), 1, "readable when append returns");
        }
        for outcome in outcomes {
            outcome.await.unwrap();
        }
        let metrics = storage.metrics();
        assert_eq!((metrics.messages, metrics.entries), (2_000, 2_000));
        assert!(metrics.commits < 1_000, "{metrics:?}");
        assert!(metrics.commit_micros_total >= metrics.commit_micros_last && metrics.commit_micros_last > 0);
        assert_eq!(log.try_get_log_entries(..).await.unwrap().len(), 2_000);
    });
}

#[test]
fn reads_cross_from_disk_to_memory() {
    run(async {
        let mut options = options(WriterMode::Inline);
        (options.log_tail_bytes, options.frame_tail_bytes) = (1_000, 1_000);
        let storage = Storage::open(SimDisk::new(), options).unwrap();
        let mut log = Log::new(&storage).unwrap();
        let text = |index: u64| format!("{index} {}", "z".repeat(90));
        for index in 0..200 {
            append_durably(&mut log, vec![entry(1, index, text(index))]).await.unwrap();
            storage.put_frames(vec![(index, text(index).into())]).await.unwrap();
        }
        for (start, end) in [(0, 200), (150, 200), (185, 195), (189, 192), (199, 200), (0, 1), (50, 50), (300, 400)] {
            let found = log.try_get_log_entries(start..end).await.unwrap();
            let expected: Vec<_> = (start..end.min(200)).map(|index| entry(1, index, text(index))).collect();
            assert_eq!(found, expected, "{start}..{end}");
        }
        for from in [0, 100, 150, 185, 190, 199, 200] {
            let found = storage.read_frames(from, 30, 1 << 20).await.unwrap();
            let expected: Vec<_> = (from..200).take(30).map(|index| (index, Bytes::from(text(index)))).collect();
            assert_eq!(found, expected, "from {from}");
        }
        let size = text(10).len();
        assert_eq!(storage.read_frames(10, 100, 3 * size).await.unwrap().len(), 3);
        assert_eq!(storage.read_frames(10, 100, 1).await.unwrap().len(), 1, "at least one");
        assert_eq!(storage.read_frames(10, 0, 1000).await.unwrap(), []);
    });
}

#[test]
fn an_installed_snapshot_replaces_the_history() {
    run(async {
        let disk = SimDisk::new();
        let storage = Storage::open(disk.clone(), options(WriterMode::Inline)).unwrap();
        storage.put_frames((0..50).map(|index| (index, "old".into())).collect()).await.unwrap();
        let frames = vec![(40, Bytes::from("new 40")), (45, "new 45".into())];
        let history = History { first_index: 38, base: "base".into(), frames: frames.clone() };
        storage.install_snapshot("meta".into(), "payload".into(), history).await.unwrap();
        storage.put_frames(vec![(46, "later".into())]).await.unwrap();
        let expected = [frames, vec![(46, "later".into())]].concat();
        assert_eq!(storage.read_frames(0, 100, 1000).await.unwrap(), expected);
        assert_eq!((storage.first_frame_index(), storage.history_base()), (38, "base".into()));
        storage.close().await.unwrap();
        let storage = Storage::open(disk, options(WriterMode::Inline)).unwrap();
        assert_eq!(storage.read_frames(0, 100, 1000).await.unwrap(), expected);
        assert_eq!(storage.load_snapshot().await.unwrap().unwrap().payload, "payload");
    });
}

#[test]
fn a_hole_is_refused_and_the_log_is_taken_once() {
    run(async {
        let storage = Storage::open(SimDisk::new(), options(WriterMode::Inline)).unwrap();
        let mut log = Log::new(&storage).unwrap();
        append_durably(&mut log, vec![entry(1, 0, "a"), entry(1, 1, "b")]).await.unwrap();
        assert!(append(&mut log, vec![entry(1, 3, "d")]).await.is_err());
        assert!(append(&mut log, vec![entry(1, 2, "c"), entry(1, 4, "e")]).await.is_err());
        assert!(append(&mut log, vec![entry(1, 1, "b")]).await.is_err());
        append_durably(&mut log, vec![entry(1, 2, "c")]).await.unwrap();
        assert_eq!(log.try_get_log_entries(..).await.unwrap().len(), 3);
        assert!(Log::new(&storage).is_err());
    });
}
