//! What a node counts.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// A count that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, count: usize) {
        self.0.fetch_add(count as u64, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// How many are open now.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gauge(Arc<AtomicU64>);

/// One that is open, until it is dropped.
#[derive(Debug)]
pub(crate) struct Open(Gauge);

impl Gauge {
    pub(crate) fn open(&self) -> Open {
        self.0.fetch_add(1, Ordering::Relaxed);
        Open(self.clone())
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A number that goes up and down.
#[derive(Debug, Default)]
pub(crate) struct Level(AtomicU64);

impl Level {
    pub(crate) fn set(&self, value: usize) {
        self.0.store(value as u64, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// All of a node's counters.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) commands: Counter,
    pub(crate) forwarded: Counter,
    pub(crate) overloaded: Counter,
    pub(crate) unknown: Counter,
    pub(crate) not_proposed: Counter,
    pub(crate) reads_linearizable: Counter,
    pub(crate) reads_local: Counter,
    pub(crate) reads_failed: Counter,
    pub(crate) terms_begun: Counter,
    pub(crate) ticks: Counter,
    pub(crate) checkpoints_confirmed: Counter,
    pub(crate) state_differences: Counter,
    pub(crate) members_refused: Counter,
    pub(crate) transfers_failed: Counter,
    pub(crate) voters_unheard: Level,
    pub(crate) streams: Gauge,
    pub(crate) streams_refused: Counter,
}
