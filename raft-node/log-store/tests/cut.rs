//! What is known to be committed is never cut off the log: the store fails instead, and keeps it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{Log, append, append_durably, entry, id, options, run};
use openraft::{RaftLogReader, storage::RaftLogStorage};
use quorate_log_store::{History, Storage, WriterMode, sim_disk::SimDisk};

const END: u64 = 10;

/// How the store comes to know that everything up to index 5 is committed.
#[derive(Debug, Clone, Copy)]
enum Known {
    Saved,
    Purged,
    Framed,
    FramedAndPruned,
    Installed,
}

const ALL: [Known; 5] = [Known::Saved, Known::Purged, Known::Framed, Known::FramedAndPruned, Known::Installed];

async fn store(disk: &SimDisk, known: Known) -> (Storage, Log) {
    let storage = Storage::open(disk.clone(), options(WriterMode::Inline)).unwrap();
    let mut log = Log::new(&storage).unwrap();
    append_durably(&mut log, (0..END).map(|index| entry(1, index, "text")).collect()).await.unwrap();
    let frames = || (0..=5).map(|index| (index, "frame".into())).collect::<Vec<_>>();
    match known {
        Known::Saved => log.save_committed(Some(id(1, 5))).await.unwrap(),
        Known::Purged => log.purge(id(1, 5)).await.unwrap(),
        Known::Framed => storage.put_frames(frames()).await.unwrap(),
        Known::FramedAndPruned => {
            storage.put_frames(frames()).await.unwrap();
            storage.prune_frames_below(6, "base".into()).await.unwrap();
        }
        Known::Installed => {
            let history = History { first_index: 5, base: "base".into(), frames: vec![(5, "frame".into())] };
            storage.install_snapshot("meta".into(), "payload".into(), history).await.unwrap();
        }
    }
    (storage, log)
}

#[test]
fn a_cut_below_what_is_committed_fails_the_store_and_cuts_nothing() {
    run(async {
        for known in ALL {
            for restarted in [false, true] {
                for last in [None, Some(id(1, 0)), Some(id(1, 4))] {
                    let disk = SimDisk::new();
                    let (mut storage, mut log) = store(&disk, known).await;
                    if restarted {
                        storage.close().await.unwrap();
                        storage = Storage::open(disk.clone(), options(WriterMode::Inline)).unwrap();
                        log = Log::new(&storage).unwrap();
                    }
                    let what = format!("{known:?}, restarted: {restarted}, cut after {last:?}");
                    let error = log.truncate_after(last).await.expect_err(&what).to_string();
                    assert!(
                        error.contains("up to index 5 is committed") && error.contains("Find the members"),
                        "{what}: {error}"
                    );
                    let failed = storage.failed().await.to_string();
                    assert!(failed.contains("nothing was cut off") && !failed.contains("check the disk"), "{failed}");
                    assert!(append(&mut log, vec![entry(2, END, "later")]).await.is_err(), "{what}: it carried on");

                    drop((storage, log));
                    let storage = Storage::open(disk, options(WriterMode::Inline)).unwrap();
                    let mut log = Log::new(&storage).unwrap();
                    assert_eq!(log.get_log_state().await.unwrap().last_log_id, Some(id(1, END - 1)), "{what}");
                    assert_eq!(log.try_get_log_entries(6..END).await.unwrap().len(), 4, "{what}");
                }
            }
        }
    });
}

#[test]
fn a_cut_above_what_is_committed_is_made_also_after_a_restart() {
    run(async {
        for known in ALL {
            let disk = SimDisk::new();
            let (storage, mut log) = store(&disk, known).await;
            log.truncate_after(Some(id(1, 8))).await.unwrap();
            storage.close().await.unwrap();
            let storage = Storage::open(disk, options(WriterMode::Inline)).unwrap();
            let mut log = Log::new(&storage).unwrap();
            assert_eq!(log.get_log_state().await.unwrap().last_log_id, Some(id(1, 8)), "{known:?}");
            // Exactly what is not committed.
            log.truncate_after(Some(id(1, 5))).await.unwrap();
            assert_eq!(log.get_log_state().await.unwrap().last_log_id, Some(id(1, 5)), "{known:?}");
            // There is nothing to cut: nothing is wrong.
            log.truncate_after(Some(id(1, 5))).await.unwrap();
            append_durably(&mut log, vec![entry(2, 6, "text")]).await.unwrap();
            assert!(storage.failure().borrow().is_none());
        }
        let storage = Storage::open(SimDisk::new(), options(WriterMode::Inline)).unwrap();
        let mut log = Log::new(&storage).unwrap();
        append_durably(&mut log, vec![entry(1, 0, "text")]).await.unwrap();
        log.truncate_after(None).await.unwrap();
        assert_eq!(log.get_log_state().await.unwrap().last_log_id, None);
    });
}
