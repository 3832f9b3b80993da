//! A disk in memory, for tests and simulations: it loses and tears what was not synced at a crash, fails
//! by order, fills up and rots, all by a seed. Never for production.
//!
//! Invariant: what was written before a [`redb::StorageBackend::sync_data`] that returned success
//! survives every crash.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rand::{Rng, SeedableRng, rngs::SmallRng};
use redb::StorageBackend;

/// What a device writes in one piece.
pub const SECTOR_BYTES: usize = 512;

/// What a crash left of the writes that were not synced.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CrashReport {
    /// Unsynced writes and changes of length at the crash.
    pub pending: u64,
    /// Those that survived whole.
    pub kept: u64,
    /// Those that were lost whole.
    pub lost: u64,
    /// Those of which a part survived.
    pub torn: u64,
}

impl CrashReport {
    /// Adds the figures of another crash.
    pub fn add(&mut self, other: Self) {
        self.pending += other.pending;
        self.kept += other.kept;
        self.lost += other.lost;
        self.torn += other.torn;
    }
}

/// How a crash treats what was not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CrashMode {
    /// All of it is lost.
    LoseAll,
    /// All of it survives, as when a process is killed and the machine runs on.
    KeepAll,
    /// A prefix survives, in the order of the writes; the last write of it is torn.
    Prefix,
    /// Each sector survives or not, by chance.
    Sectors,
    /// Only what went to the first sector survives.
    FirstSector,
}

impl CrashMode {
    /// All modes.
    pub const ALL: [Self; 5] = [Self::LoseAll, Self::KeepAll, Self::Prefix, Self::Sectors, Self::FirstSector];

    /// One of them, by `seed`.
    #[must_use]
    pub fn pick(seed: u64) -> Self {
        Self::ALL[SmallRng::seed_from_u64(seed).random_range(0..Self::ALL.len())]
    }
}

#[derive(Debug, Clone)]
enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    Length(usize),
}

#[derive(Debug, Default)]
struct State {
    /// What the process sees.
    now: Vec<u8>,
    /// What survives for certain.
    synced: Vec<u8>,
    unsynced: Vec<Change>,
    operations: u64,
    syncs: u64,
    fail_operation: Option<u64>,
    fail_sync: Option<u64>,
    capacity: Option<usize>,
    dead: bool,
}

/// A handle on the disk; clones share it. Given to `Storage::open`, and kept to make it fail.
#[derive(Debug, Clone, Default)]
pub struct SimDisk(Arc<Mutex<State>>);

impl SimDisk {
    /// An empty disk.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A disk that holds `image`, all of it synced.
    #[must_use]
    pub fn with_image(image: Vec<u8>) -> Self {
        Self(Arc::new(Mutex::new(State { now: image.clone(), synced: image, ..State::default() })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a process sees now.
    #[must_use]
    pub fn image(&self) -> Vec<u8> {
        self.state().now.clone()
    }

    /// Writes, reads, syncs and changes of length so far.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.state().operations
    }

    /// Syncs so far.
    #[must_use]
    pub fn syncs(&self) -> u64 {
        self.state().syncs
    }

    /// The power fails at the `k`-th operation from now (0 is the next one): it and all later ones err.
    pub fn die_at(&self, k: u64) {
        let mut state = self.state();
        state.fail_operation = Some(state.operations + k);
    }

    /// The `k`-th sync from now (0 is the next one) errs, once; what it was to sync stays unsynced.
    pub fn fail_sync(&self, k: u64) {
        let mut state = self.state();
        state.fail_sync = Some(state.syncs + k);
    }

    /// The disk is full at this many bytes.
    pub fn set_capacity(&self, bytes: Option<usize>) {
        self.state().capacity = bytes;
    }

    /// Flips one bit of what is stored, synced or not.
    pub fn flip_bit(&self, bit: u64) {
        let mut state = self.state();
        let (byte, mask) = (usize::try_from(bit / 8).unwrap_or(usize::MAX), 1 << (bit % 8));
        let State { now, synced, .. } = &mut *state;
        for image in [now, synced] {
            if let Some(byte) = image.get_mut(byte) {
                *byte ^= mask;
            }
        }
    }

    /// The power is gone: from now on every operation errs.
    pub fn kill(&self) {
        self.state().dead = true;
    }

    /// Whether the power is gone.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.state().dead
    }

    /// Kills the disk, and returns the one that is found after the power came back.
    #[must_use]
    pub fn crash(&self, mode: CrashMode, seed: u64) -> (Self, CrashReport) {
        let mut state = self.state();
        state.dead = true;
        let mut rng = SmallRng::seed_from_u64(seed);
        let mut image = state.synced.clone();
        let mut report = CrashReport { pending: state.unsynced.len() as u64, ..CrashReport::default() };
        let whole = match mode {
            CrashMode::LoseAll | CrashMode::Sectors | CrashMode::FirstSector => 0,
            CrashMode::KeepAll => state.unsynced.len(),
            CrashMode::Prefix => rng.random_range(0..=state.unsynced.len()),
        };
        for (position, change) in state.unsynced.iter().enumerate() {
            let survival = if position < whole {
                apply(&mut image, change);
                Survival::Kept
            } else {
                match mode {
                    CrashMode::LoseAll | CrashMode::KeepAll => Survival::Lost,
                    CrashMode::Prefix if position == whole => apply_prefix(&mut image, change, &mut rng),
                    CrashMode::Prefix => Survival::Lost,
                    CrashMode::Sectors => apply_sectors(&mut image, change, |_| rng.random()),
                    CrashMode::FirstSector => apply_sectors(&mut image, change, |sector| sector == 0),
                }
            };
            match survival {
                Survival::Kept => report.kept += 1,
                Survival::Lost => report.lost += 1,
                Survival::Torn => report.torn += 1,
            }
        }
        (Self::with_image(image), report)
    }
}

enum Survival {
    Kept,
    Lost,
    Torn,
}

fn apply(image: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Write { offset, bytes } => put(image, *offset, bytes),
        Change::Length(len) => image.resize(*len, 0),
    }
}

fn put(image: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    // A write can survive where the change of length before it did not: the device grew for it.
    if image.len() < offset + bytes.len() {
        image.resize(offset + bytes.len(), 0);
    }
    image[offset..offset + bytes.len()].copy_from_slice(bytes);
}

fn apply_prefix(image: &mut Vec<u8>, change: &Change, rng: &mut SmallRng) -> Survival {
    match change {
        Change::Write { offset, bytes } => {
            let count = rng.random_range(0..=bytes.len());
            put(image, *offset, &bytes[..count]);
            match count {
                0 => Survival::Lost,
                whole if whole == bytes.len() => Survival::Kept,
                _ => Survival::Torn,
            }
        }
        Change::Length(_) => Survival::Lost,
    }
}

fn apply_sectors(image: &mut Vec<u8>, change: &Change, mut survives: impl FnMut(usize) -> bool) -> Survival {
    let Change::Write { offset, bytes } = change else {
        // A change of length is metadata: whole or not at all.
        if survives(usize::MAX) {
            apply(image, change);
            return Survival::Kept;
        }
        return Survival::Lost;
    };
    let (mut kept, mut lost) = (0, 0);
    let mut done = 0;
    while done < bytes.len() {
        let at = offset + done;
        let count = (bytes.len() - done).min(SECTOR_BYTES - at % SECTOR_BYTES);
        if survives(at / SECTOR_BYTES) {
            put(image, at, &bytes[done..done + count]);
            kept += 1;
        } else {
            lost += 1;
        }
        done += count;
    }
    match (kept, lost) {
        (_, 0) => Survival::Kept,
        (0, _) => Survival::Lost,
        _ => Survival::Torn,
    }
}

impl State {
    fn operate(&mut self) -> io::Result<()> {
        let number = self.operations;
        self.operations += 1;
        if self.fail_operation.is_some_and(|at| number >= at) {
            self.dead = true;
        }
        if self.dead { Err(io::Error::other("the simulated disk is dead")) } else { Ok(()) }
    }

    fn fits(&self, len: usize) -> io::Result<()> {
        match self.capacity {
            Some(capacity) if len > capacity => {
                Err(io::Error::new(io::ErrorKind::StorageFull, "the simulated disk is full"))
            }
            _ => Ok(()),
        }
    }
}

fn index(value: u64) -> io::Result<usize> {
    usize::try_from(value).map_err(io::Error::other)
}

impl StorageBackend for SimDisk {
    fn len(&self) -> io::Result<u64> {
        let mut state = self.state();
        state.operate()?;
        Ok(state.now.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let mut state = self.state();
        state.operate()?;
        let offset = index(offset)?;
        let Some(bytes) = state.now.get(offset..offset.saturating_add(out.len())) else {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "a read past the end of the simulated disk"));
        };
        out.copy_from_slice(bytes);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.state();
        state.operate()?;
        let len = index(len)?;
        state.fits(len)?;
        state.now.resize(len, 0);
        state.unsynced.push(Change::Length(len));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.state();
        state.operate()?;
        let number = state.syncs;
        state.syncs += 1;
        if state.fail_sync == Some(number) {
            return Err(io::Error::other("the simulated disk failed to sync"));
        }
        let State { synced, unsynced, .. } = &mut *state;
        for change in unsynced.drain(..) {
            apply(synced, &change);
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut state = self.state();
        // A write on which the power fails may be on the disk, or a part of it.
        let alive = state.operate();
        let offset = index(offset)?;
        let change = Change::Write { offset, bytes: data.to_vec() };
        if let Err(error) = alive {
            if state.fail_operation == Some(state.operations - 1) {
                state.unsynced.push(change);
            }
            return Err(error);
        }
        state.fits(offset + data.len())?;
        put(&mut state.now, offset, data);
        state.unsynced.push(change);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_synced_survives_every_crash_and_what_was_not_may_tear() {
        let mut torn = 0;
        for seed in 0..200 {
            for mode in CrashMode::ALL {
                let disk = SimDisk::new();
                disk.set_len(8192).unwrap();
                disk.write(0, &[1; 4096]).unwrap();
                disk.sync_data().unwrap();
                disk.write(4096, &[2; 4096]).unwrap();
                let (after, report) = disk.crash(mode, seed);
                assert!(disk.write(0, &[3]).is_err(), "a dead disk writes nothing");
                assert_eq!(after.image()[..4096], [1; 4096]);
                let second = after.image()[4096..].iter().filter(|byte| **byte == 2).count();
                match mode {
                    CrashMode::LoseAll | CrashMode::FirstSector => assert_eq!(second, 0),
                    CrashMode::KeepAll => assert_eq!(second, 4096),
                    CrashMode::Prefix => {}
                    CrashMode::Sectors => assert_eq!(second % SECTOR_BYTES, 0),
                }
                assert_eq!(report.kept + report.lost + report.torn, report.pending);
                torn += report.torn;
            }
        }
        assert!(torn > 100, "{torn} writes torn");
    }

    #[test]
    fn a_failed_sync_leaves_its_writes_unsynced() {
        let disk = SimDisk::new();
        disk.write(0, &[1; 10]).unwrap();
        disk.fail_sync(0);
        assert!(disk.sync_data().is_err());
        assert_eq!(disk.crash(CrashMode::LoseAll, 1).0.image().len(), 0);
    }
}
