//! Clocks: each machine has an oscillator that drifts and a wall clock that is set wrong and steps.
//!
//! What is simulated: readings. Timers are tokio's and follow true time, as if a machine's timers ran by another
//! oscillator than its clock: with a drift of a few parts in a thousand the difference is below their granularity.
//! Invariant: a machine's monotonic clock never goes back, whatever becomes of the wall clock.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use quorate_seams::Clocks;
use tokio::time::Instant;

/// The wall clock of a machine that is right, at the beginning of a run, in milliseconds since the Unix epoch.
pub const EPOCH_MS: u64 = 1_700_000_000_000;
/// Parts in a million.
const MILLION: i128 = 1_000_000;

/// The clocks of one machine; they outlive its processes.
#[derive(Debug)]
pub struct Machine {
    zero: Instant,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// True time of the last change of the rate.
    at: Duration,
    /// The monotonic clock at that time.
    monotonic: Duration,
    drift_ppm: i64,
    wall_offset_ms: i64,
}

impl State {
    fn monotonic(&self, now: Duration) -> Duration {
        let passed = i128::try_from(now.saturating_sub(self.at).as_nanos()).unwrap_or(i128::MAX);
        let counted = passed * (MILLION + i128::from(self.drift_ppm)) / MILLION;
        self.monotonic + Duration::from_nanos(u64::try_from(counted).unwrap_or(0))
    }
}

impl Machine {
    /// Clocks that are right but for `wall_offset_ms`.
    #[must_use]
    pub fn new(zero: Instant, wall_offset_ms: i64, drift_ppm: i64) -> Arc<Self> {
        let state = State { wall_offset_ms, drift_ppm, ..State::default() };
        Arc::new(Self { zero, state: Mutex::new(state) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn monotonic(&self) -> Duration {
        self.state().monotonic(self.zero.elapsed())
    }

    /// The wall clock, in milliseconds since the Unix epoch.
    #[must_use]
    pub fn wall_ms(&self) -> u64 {
        let state = self.state();
        let elapsed = u64::try_from(state.monotonic(self.zero.elapsed()).as_millis()).unwrap_or(u64::MAX);
        EPOCH_MS.saturating_add(elapsed).saturating_add_signed(state.wall_offset_ms)
    }

    /// Steps the wall clock.
    pub fn step_wall(&self, by_ms: i64) {
        let mut state = self.state();
        state.wall_offset_ms = state.wall_offset_ms.saturating_add(by_ms);
    }

    /// From now on the oscillator is so much too fast (or too slow).
    pub fn set_drift(&self, ppm: i64) {
        let now = self.zero.elapsed();
        let mut state = self.state();
        state.monotonic = state.monotonic(now);
        state.at = now;
        state.drift_ppm = ppm;
    }

    /// The clocks as a process sees them that starts now.
    #[must_use]
    pub fn process(self: &Arc<Self>) -> Arc<ProcessClock> {
        Arc::new(ProcessClock { started: self.monotonic(), machine: Arc::clone(self) })
    }
}

/// A process's view of its machine's clocks.
#[derive(Debug)]
pub struct ProcessClock {
    machine: Arc<Machine>,
    started: Duration,
}

impl Clocks for ProcessClock {
    fn wall_ms(&self) -> u64 {
        self.machine.wall_ms()
    }

    fn monotonic(&self) -> Duration {
        self.machine.monotonic().saturating_sub(self.started)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn drift_and_steps_do_what_they_say() {
        let machine = Machine::new(Instant::now(), -500, 0);
        let clock = machine.process();
        sleep(Duration::from_secs(10)).await;
        assert_eq!((clock.monotonic(), clock.wall_ms()), (Duration::from_secs(10), EPOCH_MS + 9_500));
        machine.set_drift(1_000);
        sleep(Duration::from_secs(10)).await;
        assert_eq!(clock.monotonic(), Duration::from_millis(20_010));
        machine.step_wall(-3_000);
        assert_eq!((clock.monotonic(), clock.wall_ms()), (Duration::from_millis(20_010), EPOCH_MS + 16_510));
        assert_eq!(machine.process().monotonic(), Duration::ZERO);
    }
}
