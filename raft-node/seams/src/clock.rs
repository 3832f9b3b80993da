//! Wall clock and monotonic clock, separately: the one may jump, the other may not.

use std::{
    fmt,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// The two clocks of a process. Sleeping is tokio's, which a simulation pauses.
pub trait Clocks: Send + Sync + fmt::Debug {
    /// Milliseconds since the Unix epoch. May jump either way.
    fn wall_ms(&self) -> u64;
    /// Time since some fixed instant of this process. Never goes back.
    fn monotonic(&self) -> Duration;
}

/// The operating system's clocks, with an offset on the wall clock for tests of skew.
#[derive(Debug)]
pub struct SystemClocks {
    start: Instant,
    wall_offset_ms: i64,
}

#[expect(clippy::disallowed_methods, reason = "this is the one place that asks the operating system")]
impl SystemClocks {
    /// The plain system clocks.
    #[must_use]
    pub fn new() -> Self {
        Self::with_wall_offset(0)
    }

    /// With the wall clock set off by `wall_offset_ms`.
    #[must_use]
    pub fn with_wall_offset(wall_offset_ms: i64) -> Self {
        Self { start: Instant::now(), wall_offset_ms }
    }
}

impl Default for SystemClocks {
    fn default() -> Self {
        Self::new()
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the one place that asks the operating system")]
impl Clocks for SystemClocks {
    fn wall_ms(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX).saturating_add_signed(self.wall_offset_ms)
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }
}
