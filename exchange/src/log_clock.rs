//! What log time is now, as far as it can be told from here: the newest stamp, and the time that passed since.
//!
//! Invariant: it runs on between stamps, and follows them; it may lead log time (which stands still where nothing is
//! applied), but not for long once frames come. Orders get their deadlines by it, so it must not run away.

use std::time::Duration;

use quorate_ledger::Millis;

/// How far the estimate may lead the newest frame, in ms: more is no delay on the way, but a clock that ran slower, or
/// stood still.
const LEAD_MAX_MS: u64 = 2_000;

/// An estimate of log time. `clock` is always the monotonic one.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct LogClock {
    log_time: Millis,
    at: Duration,
    heard_at: Option<Duration>,
}

impl LogClock {
    /// Log time now.
    pub(crate) fn now(&self, clock: Duration) -> Millis {
        let since = clock.saturating_sub(self.at);
        self.log_time.plus(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    /// How long ago the ledger was heard of, where it ever was.
    pub(crate) fn silence(&self, clock: Duration) -> Option<Duration> {
        self.heard_at.map(|at| clock.saturating_sub(at))
    }

    /// A frame came, which was stamped not long ago.
    pub(crate) fn frame(&mut self, stamp: Millis, clock: Duration) {
        self.hear(stamp, clock, LEAD_MAX_MS);
    }

    /// This was the last stamp where the ledger was looked at; how long it had stood is not known.
    pub(crate) fn applied(&mut self, stamp: Millis, clock: Duration) {
        self.hear(stamp, clock, u64::MAX);
    }

    fn hear(&mut self, stamp: Millis, clock: Duration, lead_max: u64) {
        let lead = self.now(clock).0.saturating_sub(stamp.0);
        if lead == 0 || lead > lead_max || self.heard_at.is_none() {
            (self.log_time, self.at) = (stamp, clock);
        }
        self.heard_at = Some(clock);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn it_runs_on_between_stamps_and_does_not_go_back_for_late_ones() {
        let mut clock = LogClock::default();
        assert_eq!(clock.silence(ms(9)), None);
        clock.applied(Millis(1_000), ms(50_000));
        assert_eq!(clock.now(ms(50_700)), Millis(1_700));
        clock.frame(Millis(1_600), ms(50_700));
        assert_eq!(clock.now(ms(50_700)), Millis(1_700));
        clock.frame(Millis(1_900), ms(50_800));
        assert_eq!((clock.now(ms(50_900)), clock.silence(ms(50_900))), (Millis(2_000), Some(ms(100))));
    }

    #[test]
    fn only_a_fresh_stamp_sets_it_back() {
        let mut clock = LogClock::default();
        clock.applied(Millis(1_000), ms(0));
        clock.applied(Millis(1_000), ms(9_000));
        assert_eq!(clock.now(ms(9_000)), Millis(10_000));
        clock.frame(Millis(1_001), ms(9_000));
        assert_eq!(clock.now(ms(9_000)), Millis(1_001));
    }
}
