//! The node's [`LogClock`], shared between those who stamp, those who send and those who hear.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use quorate_domain::Millis;
use quorate_seams::Clocks;

use crate::time::{LogClock, Reading, TermStart};

/// A [`LogClock`] with the clocks of its process. Clones are the same clock.
#[derive(Clone, Debug)]
pub(crate) struct SharedClock {
    clocks: Arc<dyn Clocks>,
    log: Arc<Mutex<LogClock>>,
}

impl SharedClock {
    pub(crate) fn new(clocks: Arc<dyn Clocks>) -> Self {
        Self { clocks, log: Arc::default() }
    }

    fn log(&self) -> MutexGuard<'_, LogClock> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// See [`LogClock::begin_term`].
    pub(crate) fn begin_term(&self, term: u64, log_time: Millis) -> TermStart {
        let now = Reading { wall_ms: self.clocks.wall_ms(), monotonic: self.clocks.monotonic() };
        self.log().begin_term(term, now, log_time)
    }

    /// See [`LogClock::stamp`].
    pub(crate) fn stamp(&self, term: u64) -> Option<Millis> {
        let monotonic = self.clocks.monotonic();
        self.log().stamp(term, monotonic)
    }

    /// See [`LogClock::leading_stamp`].
    pub(crate) fn leading_stamp(&self) -> Option<Millis> {
        let monotonic = self.clocks.monotonic();
        self.log().leading_stamp(monotonic)
    }

    /// See [`LogClock::end_term`].
    pub(crate) fn end_term(&self) {
        let monotonic = self.clocks.monotonic();
        self.log().end_term(monotonic);
    }

    /// See [`LogClock::observe`].
    pub(crate) fn observe(&self, stamp: Millis) {
        let monotonic = self.clocks.monotonic();
        self.log().observe(stamp, monotonic);
    }

    /// Clock jumps in all, and those of them that were not followed.
    pub(crate) fn jumps(&self) -> (u64, u64) {
        let log = self.log();
        (log.jumps(), log.jumps_refused())
    }
}
