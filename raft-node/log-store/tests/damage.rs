//! Flipped bits and failing devices: what is damaged is refused, never served; what failed stops the
//! store.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking, and prints its figures")]

mod common;

use std::sync::Arc;

use bytes::Bytes;
use common::{
    Log, Vote, append, append_durably, entry, id,
    model::{Change, Model, Sent, send},
    options, run,
};
use openraft::{RaftLogReader, storage::RaftLogStorage};
use quorate_log_store::{
    DamagedRecord, Storage, WriterMode,
    sim_disk::{CrashMode, SimDisk},
};
use quorate_seams::{FailAction, Failpoints};
use rand::{Rng, SeedableRng, rngs::SmallRng};

/// The bytes of redb's header: every bit of them is flipped.
const HEADER_BITS: u64 = 320 * 8;
/// Bits flipped elsewhere.
const RANDOM_BITS: usize = 1_500;

/// A disk with a store on it after random work, and what the store holds.
async fn worked(seed: u64) -> (SimDisk, Storage, Model) {
    let mut rng = SmallRng::seed_from_u64(seed);
    let disk = SimDisk::new();
    let storage = Storage::open(disk.clone(), options(WriterMode::Inline)).unwrap();
    let mut log = Log::new(&storage).unwrap();
    let mut model = Model::default();
    for _ in 0..120 {
        let change = model.random_change(&mut rng);
        model.change(&change);
        if let Sent::Pending(outcome) = send(&change, &storage, &mut log).await.unwrap() {
            outcome.await.unwrap();
        }
        if let Some(purge) = matches!(change, Change::Install(..)).then(|| model.purge_after_install()).flatten() {
            model.change(&purge);
            send(&purge, &storage, &mut log).await.unwrap();
        }
    }
    storage.flush().await.unwrap();
    assert!(!model.log.is_empty() && !model.frames.is_empty() && model.snapshot.is_some() && model.vote.is_some());
    (disk, storage, model)
}

/// The pages that hold something.
fn used_pages(image: &[u8]) -> Vec<u64> {
    image.chunks(4096).zip(0..).filter(|(page, _)| page.iter().any(|byte| *byte != 0)).map(|(_, n)| n).collect()
}

/// The bits that say what a page is and how many records it has: where a flip hides records.
fn page_head_bits(image: &[u8]) -> impl Iterator<Item = u64> {
    used_pages(image).into_iter().skip(1).flat_map(|page| (0..32).map(move |bit| page * 32_768 + bit))
}

/// Bits of pages that hold something.
fn random_bits(image: &[u8], rng: &mut SmallRng) -> Vec<u64> {
    let used = used_pages(image);
    (0..RANDOM_BITS).map(|_| used[rng.random_range(0..used.len())] * 32_768 + rng.random_range(0..32_768)).collect()
}

#[derive(Debug, Default)]
struct Flips {
    refused_at_opening: u64,
    refused_at_reading: u64,
    harmless: u64,
}

/// redb asserts on some kinds of damage; the store turns that into an error. Thousands of these on
/// purpose need no message each.
fn quiet_engine() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let print = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !panic.location().is_some_and(|location| location.file().contains("redb")) {
                print(panic);
            }
        }));
    });
}

/// Flips bits of `image`, one at a time: the store refuses, or holds exactly `model`.
async fn flip_bits(image: &[u8], model: &Model, seed: u64) -> Flips {
    quiet_engine();
    let mut rng = SmallRng::seed_from_u64(seed);
    let mut flips = Flips::default();
    let bits: Vec<u64> = (0..HEADER_BITS).chain(page_head_bits(image)).chain(random_bits(image, &mut rng)).collect();
    for bit in &bits {
        let disk = SimDisk::with_image(image.to_vec());
        disk.flip_bit(*bit);
        let Ok(storage) = Storage::open(disk, options(WriterMode::Inline)) else {
            flips.refused_at_opening += 1;
            continue;
        };
        let read = match Log::new(&storage) {
            Ok(mut log) => Model::read(&storage, &mut log).await,
            Err(error) => Err(error),
        };
        match read {
            Ok(found) => {
                assert!(found == *model, "bit {bit}: wrong data was served");
                flips.harmless += 1;
            }
            Err(_) => flips.refused_at_reading += 1,
        }
    }
    println!("{} bits: {flips:?}", bits.len());
    flips
}

#[test]
fn a_bit_flipped_at_rest_is_noticed() {
    run(async {
        let (disk, storage, model) = worked(11).await;
        storage.close().await.unwrap();
        let flips = flip_bits(&disk.image(), &model, 1).await;
        assert!(flips.refused_at_opening + flips.refused_at_reading > 300);
    });
}

#[test]
fn a_bit_flipped_after_a_crash_is_noticed() {
    run(async {
        let (disk, _storage, model) = worked(12).await;
        let (disk, _) = disk.crash(CrashMode::LoseAll, 0);
        let flips = flip_bits(&disk.image(), &model, 2).await;
        assert!(flips.refused_at_opening + flips.refused_at_reading > 300);
    });
}

#[test]
fn a_bit_flipped_under_an_open_store_is_never_served() {
    run(async {
        let disk = SimDisk::new();
        let storage = Storage::open(disk.clone(), options(WriterMode::Inline)).unwrap();
        let mut log = Log::new(&storage).unwrap();
        let text = |index: u64| format!("{index:06}{}", "w".repeat(300));
        append_durably(&mut log, (0..600).map(|index| entry(1, index, text(index))).collect()).await.unwrap();
        storage.save_snapshot("meta".into(), vec![5; 200_000].into()).await.unwrap();
        storage.put_frames((0..600).map(|index| (index, text(index).into())).collect()).await.unwrap();
        storage.flush().await.unwrap();
        let model = Model::read(&storage, &mut log).await.unwrap();
        storage.close().await.unwrap();
        let image = disk.image();
        quiet_engine();
        let mut rng = SmallRng::seed_from_u64(3);
        let (mut refused, mut stopped) = (0, 0);
        for bit in random_bits(&image, &mut rng) {
            let disk = SimDisk::with_image(image.clone());
            let mut options = options(WriterMode::Inline);
            (options.cache_bytes, options.log_tail_bytes, options.frame_tail_bytes) = (0, 0, 0);
            let storage = Storage::open(disk.clone(), options).unwrap();
            let mut log = Log::new(&storage).unwrap();
            disk.flip_bit(bit);
            match Model::read(&storage, &mut log).await {
                Ok(found) => assert!(found == model, "wrong data was served"),
                Err(_) => {
                    refused += 1;
                    stopped += u64::from(storage.failure().borrow().is_some());
                }
            }
        }
        println!("{refused} of {RANDOM_BITS} refused");
        assert!(refused > 300);
        assert_eq!(stopped, refused, "a damaged record stops the store");
    });
}

#[test]
fn a_damaged_record_is_named() {
    run(async {
        let disk = SimDisk::new();
        let mut options = options(WriterMode::Inline);
        (options.cache_bytes, options.log_tail_bytes) = (0, 0);
        let storage = Storage::open(disk.clone(), options).unwrap();
        let mut log = Log::new(&storage).unwrap();
        append_durably(
            &mut log,
            (0..40).map(|index| entry(1, index, format!("needle{index:02}{}", "y".repeat(800)))).collect(),
        )
        .await
        .unwrap();
        append_durably(&mut log, vec![entry(1, 40, "last")]).await.unwrap();
        let image = disk.image();
        for at in (0..image.len() - 8).filter(|at| image[*at..].starts_with(b"needle17")) {
            disk.flip_bit(at as u64 * 8);
        }
        let error = log.try_get_log_entries(0..41).await.unwrap_err();
        let named = error.get_ref().and_then(|inner| inner.downcast_ref::<DamagedRecord>()).expect("a damaged record");
        assert_eq!((named.table, named.key.as_str()), ("log", "17"));
    });
}

#[test]
fn a_failed_sync_stops_the_store_and_nothing_after_it_is_acknowledged() {
    for sync in [0_u64, 1] {
        run(async {
            let disk = SimDisk::new();
            let storage = Storage::open(disk.clone(), options(WriterMode::Inline)).unwrap();
            let mut log = Log::new(&storage).unwrap();
            append_durably(&mut log, vec![entry(1, 0, "kept")]).await.unwrap();
            disk.fail_sync(sync);
            assert!(append_durably(&mut log, vec![entry(1, 1, "lost")]).await.is_err());
            assert!(storage.failed().await.to_string().contains("failed to sync"));
            // The disk would work again; the store must not.
            assert!(append(&mut log, vec![entry(1, 2, "later")]).await.is_err());
            assert!(log.save_vote(&Vote::new(2, 1)).await.is_err());
            assert!(log.save_committed(Some(id(1, 0))).await.is_err());
            assert!(log.truncate_after(None).await.is_err());
            assert!(log.purge(id(1, 0)).await.is_err());
            assert!(log.try_get_log_entries(0..1).await.is_err());
            assert!(log.read_vote().await.is_err());
            assert!(storage.save_snapshot(Bytes::new(), Bytes::new()).await.is_err());
            assert!(storage.put_frames(vec![(0, Bytes::new())]).await.is_err());
            assert!(storage.read_frames(0, 1, 1).await.is_err());
            assert!(storage.close().await.is_err());

            let (disk, _) = disk.crash(CrashMode::LoseAll, 0);
            let storage = Storage::open(disk, options(WriterMode::Inline)).unwrap();
            let mut log = Log::new(&storage).unwrap();
            // Where the first phase was synced, the whole change is on the disk, though nobody was told.
            let there = [entry(1, 0, "kept"), entry(1, 1, "lost")];
            assert_eq!(log.try_get_log_entries(..).await.unwrap(), there[..=usize::from(sync == 1)]);
        });
    }
}

#[test]
fn with_a_writer_thread_all_that_waits_fails_in_order() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
    runtime.block_on(async {
        let disk = SimDisk::new();
        let mut options = options(WriterMode::Thread);
        let failpoints = Failpoints::armed(Arc::new(|_| {}));
        failpoints.set("log.append.before_commit", 20, FailAction::Error);
        options.failpoints = failpoints;
        let storage = Storage::open(disk, options).unwrap();
        let mut log = Log::new(&storage).unwrap();
        let mut outcomes = Vec::new();
        for index in 0..100 {
            match append(&mut log, vec![entry(1, index, "text")]).await {
                Ok(outcome) => outcomes.push(outcome),
                Err(_) => break,
            }
        }
        let mut acknowledged = Vec::new();
        for outcome in outcomes {
            acknowledged.push(outcome.await.is_ok());
        }
        assert!(acknowledged.len() > 20 && acknowledged.iter().filter(|ok| **ok).count() <= 20);
        assert!(acknowledged.is_sorted_by(|earlier, later| earlier >= later), "{acknowledged:?}");
        assert!(storage.failed().await.to_string().contains("log.append.before_commit"));
        assert!(storage.close().await.is_err());
    });
}
