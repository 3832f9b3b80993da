//! Power losses at random points of random work, on a simulated disk that loses and tears what was not
//! synced, also while the store opens again. After each, the store must hold exactly what it held after
//! some change at or after the last one it acknowledged.
//!
//! A failure prints its seed; `LOG_STORE_SEED=<seed> cargo test -p quorate-log-store --test crash` runs
//! that one alone.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking, and prints its figures")]

mod common;

use std::{panic::AssertUnwindSafe, sync::Arc};

use common::{
    Log,
    model::{Change, Model, Sent, send},
    options, run,
};
use quorate_log_store::{
    OpenError, Storage, WriterMode,
    sim_disk::{CrashMode, CrashReport, SimDisk},
};
use quorate_seams::{FailAction, Failpoints};
use rand::{Rng, SeedableRng, rngs::SmallRng};

/// Crash points that the inline test must reach.
const INLINE_CRASHES_MIN: u64 = 4_000;
/// Crash points that the test with the writer thread must reach.
const THREAD_CRASHES_MIN: u64 = 300;
/// Changes in one life of a store.
const CHANGES_MAX: usize = 40;

/// What stops a life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    PowerLossInWork,
    PowerLossAfterWork,
    FailedSync,
    FullDisk,
    Failpoint,
}

#[derive(Debug, Default)]
struct Tally {
    crashes: u64,
    /// Those at which something was not synced.
    with_unsynced: u64,
    while_opening: u64,
    writes: CrashReport,
    lives: std::collections::BTreeMap<Fault, u64>,
    modes: [u64; CrashMode::ALL.len()],
    acknowledged: u64,
    /// Lives after which a change that was never acknowledged was there, whole.
    beyond_acknowledged: u64,
    refused_after_fault: u64,
    truncations: u64,
    purges: u64,
    installs: u64,
}

impl Tally {
    fn crash(&mut self, disk: &SimDisk, rng: &mut SmallRng) -> SimDisk {
        let pick = rng.random_range(0..CrashMode::ALL.len());
        let (after, report) = disk.crash(CrashMode::ALL[pick], rng.random());
        self.crashes += 1;
        self.with_unsynced += u64::from(report.pending > 0);
        self.modes[pick] += 1;
        self.writes.add(report);
        after
    }
}

fn arm(fault: Fault, disk: &SimDisk, failpoints: &Failpoints, rng: &mut SmallRng) {
    match fault {
        Fault::PowerLossInWork => disk.die_at(rng.random_range(0..250)),
        Fault::PowerLossAfterWork => {}
        Fault::FailedSync => disk.fail_sync(rng.random_range(0..40)),
        Fault::FullDisk => disk.set_capacity(Some(disk.image().len())),
        Fault::Failpoint => {
            let points = [
                "log.append.before_commit",
                "log.append.after_commit",
                "log.vote.before_commit",
                "log.vote.after_commit",
                "log.truncate.after_commit",
                "log.purge.before_commit",
                "snapshot.save.after_commit",
                "snapshot.install.before_commit",
            ];
            failpoints.set(points[rng.random_range(0..points.len())], rng.random_range(0..4), FailAction::Error);
        }
    }
}

/// Opens the disk, crashing while it opens now and then; in the end it must open.
fn open(
    mut disk: SimDisk,
    mode: WriterMode,
    failpoints: Failpoints,
    rng: &mut SmallRng,
    tally: &mut Tally,
) -> (SimDisk, Storage) {
    let options = |rng: &mut SmallRng| {
        let mut options = options(mode);
        options.failpoints = failpoints.clone();
        options.log_tail_bytes = if rng.random() { 0 } else { 4_000 };
        options.frame_tail_bytes = if rng.random() { 0 } else { 1_000 };
        options
    };
    for _ in 0..3 {
        if rng.random_ratio(1, 3) {
            disk.die_at(rng.random_range(0..40));
            match Storage::open(disk.clone(), options(rng)) {
                Ok(_) | Err(OpenError::Io(_)) => {}
                Err(error) => panic!("a dying disk must not look like anything else: {error}"),
            }
            disk = tally.crash(&disk, rng);
            tally.while_opening += 1;
        }
    }
    let storage = Storage::open(disk.clone(), options(rng)).expect("the store opens after a crash");
    (disk, storage)
}

/// One life: opens, compares with what may be there, works until a fault, crashes.
async fn live(
    disk: SimDisk,
    candidates: Vec<Model>,
    mode: WriterMode,
    rng: &mut SmallRng,
    tally: &mut Tally,
) -> (SimDisk, Vec<Model>) {
    let failpoints = Failpoints::armed(Arc::new(|_| {}));
    let (disk, storage) = open(disk, mode, failpoints.clone(), rng, tally);
    let mut log = Log::new(&storage).expect("the log loads after a crash");
    let found = Model::read(&storage, &mut log).await.expect("what is there can be read");
    found.check_invariants();
    let Some(position) = candidates.iter().position(|candidate| *candidate == found) else {
        panic!("found {found:#?}\n which is none of {candidates:#?}");
    };
    tally.beyond_acknowledged += u64::from(position > 0);

    let faults = [
        Fault::PowerLossInWork,
        Fault::PowerLossInWork,
        Fault::PowerLossInWork,
        Fault::PowerLossInWork,
        Fault::PowerLossAfterWork,
        Fault::FailedSync,
        Fault::FullDisk,
        Fault::Failpoint,
    ];
    let fault = faults[rng.random_range(0..faults.len())];
    *tally.lives.entry(fault).or_default() += 1;
    arm(fault, &disk, &failpoints, rng);
    let candidates = work(&storage, &mut log, found, rng, tally).await;
    let disk = tally.crash(&disk, rng);
    drop((storage, log));
    (disk, candidates)
}

/// Sends random changes until one fails; returns what may be there after a crash, oldest first.
async fn work(storage: &Storage, log: &mut Log, start: Model, rng: &mut SmallRng, tally: &mut Tally) -> Vec<Model> {
    let mut states = vec![start];
    let mut pending = Vec::new();
    let mut acknowledged = 0;
    let mut follow_up = None;
    for _ in 0..rng.random_range(1..=CHANGES_MAX) {
        let mut now = states.last().unwrap().clone();
        let change = follow_up.take().unwrap_or_else(|| now.random_change(rng));
        now.change(&change);
        if matches!(change, Change::Install(..)) {
            follow_up = now.purge_after_install();
        }
        states.push(now);
        match send(&change, storage, log).await {
            Ok(Sent::Acknowledged) => acknowledged = states.len() - 1,
            Ok(Sent::Deferred) => {}
            Ok(Sent::Pending(outcome)) => pending.push((states.len() - 1, outcome)),
            Err(_) => break,
        }
        tally.truncations += u64::from(matches!(change, Change::Truncate(_)));
        tally.purges += u64::from(matches!(change, Change::Purge(_)));
        tally.installs += u64::from(matches!(change, Change::Install(..)));
        compare(states.last().unwrap(), storage, log, rng).await;
    }
    let mut failed = None;
    for (position, outcome) in pending {
        match outcome.await {
            Ok(()) => {
                assert_eq!(failed, None, "change {position} was acknowledged after one that failed");
                acknowledged = acknowledged.max(position);
                tally.acknowledged += 1;
            }
            Err(_) => failed = failed.or(Some(position)),
        }
    }
    if storage.failure().borrow().is_some() {
        // Whatever comes after the failure is refused.
        assert!(storage.flush().await.is_err());
        let refused = Change::Vote(common::Vote::new(u64::MAX, 1));
        assert!(send(&refused, storage, log).await.is_err());
        tally.refused_after_fault += 1;
    }
    states.split_off(acknowledged)
}

/// Reads a random part while the store works. A failed store refuses; it never answers wrongly.
async fn compare(model: &Model, storage: &Storage, log: &mut Log, rng: &mut SmallRng) {
    use openraft::RaftLogReader;
    let start = rng.random_range(0..=model.log.keys().next_back().map_or(0, |last| last + 1));
    let end = start + rng.random_range(0..20);
    if let Ok(entries) = log.try_get_log_entries(start..end).await {
        let expected: Vec<_> = model.log.range(start..end).map(|(index, (_, text))| (*index, text.clone())).collect();
        let found: Vec<_> = entries
            .iter()
            .map(|entry| match &entry.payload {
                openraft::EntryPayload::Normal(text) => (entry.log_id.index, bytes::Bytes::from(text.clone())),
                other => panic!("not what was appended: {other}"),
            })
            .collect();
        assert_eq!(found, expected, "entries {start}..{end}");
    }
    let (from, count) = (rng.random_range(0..=model.first_frame + 10), rng.random_range(1..8));
    if let Ok(frames) = storage.read_frames(from, count, usize::MAX).await {
        let expected: Vec<_> = model.frames.range(from..).take(count).map(|(k, v)| (*k, v.clone())).collect();
        assert_eq!(frames, expected, "{count} frames from {from}");
    }
}

fn only_seed() -> Option<u64> {
    std::env::var("LOG_STORE_SEED").ok().map(|seed| seed.parse().expect("LOG_STORE_SEED is a number"))
}

/// Runs seeds until there were `crashes_min` crashes; a seed is several lives of one disk.
fn run_seeds(crashes_min: u64, mut lives: impl FnMut(u64, &mut Tally)) -> Tally {
    let mut tally = Tally::default();
    if let Some(seed) = only_seed() {
        lives(seed, &mut tally);
        return tally;
    }
    let mut seed = 0;
    while tally.crashes < crashes_min {
        let outcome = std::panic::catch_unwind(AssertUnwindSafe(|| lives(seed, &mut tally)));
        if let Err(panic) = outcome {
            eprintln!("replay: LOG_STORE_SEED={seed} cargo test -p quorate-log-store --test crash");
            std::panic::resume_unwind(panic);
        }
        seed += 1;
    }
    println!("{seed} seeds: {tally:#?}");
    assert!(tally.crashes >= crashes_min);
    tally
}

async fn lives(seed: u64, mode: WriterMode, tally: &mut Tally) {
    let mut rng = SmallRng::seed_from_u64(seed);
    let (mut disk, mut candidates) = (SimDisk::new(), vec![Model::default()]);
    for _ in 0..6 {
        (disk, candidates) = live(disk, candidates, mode, &mut rng, tally).await;
    }
}

#[test]
fn nothing_acknowledged_is_lost_at_any_crash_inline() {
    let tally = run_seeds(INLINE_CRASHES_MIN, |seed, tally| run(lives(seed, WriterMode::Inline, tally)));
    if only_seed().is_some() {
        return;
    }
    assert!(tally.with_unsynced > 1_000);
    assert!(tally.writes.torn > 500 && tally.writes.lost > 1_000 && tally.writes.kept > 1_000);
    assert!(tally.while_opening > 1_000 && tally.beyond_acknowledged > 100);
    assert!(tally.refused_after_fault > 500 && tally.acknowledged > 5_000);
    assert!(tally.truncations > 500 && tally.purges > 500 && tally.installs > 100);
    assert!(tally.lives.len() == 5 && tally.lives.values().all(|lives| *lives > 100));
    assert!(tally.modes.iter().all(|crashes| *crashes > 500));
}

#[test]
fn nothing_acknowledged_is_lost_at_any_crash_with_a_writer_thread() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
    let tally = run_seeds(THREAD_CRASHES_MIN, |seed, tally| runtime.block_on(lives(seed, WriterMode::Thread, tally)));
    if only_seed().is_some() {
        return;
    }
    assert!(tally.writes.torn > 5 && tally.acknowledged > 300 && tally.refused_after_fault > 20);
}
