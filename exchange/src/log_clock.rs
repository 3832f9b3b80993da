//! What log time is now, as far as it can be told from here: the newest stamp, and the time that passed since.
//!
//! Invariant: it runs on between stamps, and follows them; it may lead log time (which stands still where nothing is
//! applied), but not for long once frames come. Orders get their deadlines by it, so it must not run away.

use std::time::Duration;

use quorate_domain::Millis;

/// How far the estimate may lead the newest frame, in ms: more is no delay on the way, but a clock that ran slower, or
/// stood still.
const LEAD_MAX_MS: u64 = 2_000;
/// For how long frames must come that far behind the estimate before they are believed. Those that waited for a majority,
/// in the log of a leader that had lost it, come all at once, long after they were stamped.
const LATE_MIN: Duration = Duration::from_secs(1);

/// An estimate of log time. `clock` is always the monotonic one.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct LogClock {
    log_time: Millis,
    at: Duration,
    heard_at: Option<Duration>,
    /// Since when frames come far behind the estimate.
    late_since: Option<Duration>,
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

    /// A frame came, which was stamped not long ago, or waited for a majority.
    pub(crate) fn frame(&mut self, stamp: Millis, clock: Duration) {
        let lead = self.now(clock).0.saturating_sub(stamp.0);
        if lead <= LEAD_MAX_MS {
            self.late_since = None;
            return self.hear(stamp, clock);
        }
        let since = *self.late_since.get_or_insert(clock);
        if clock.saturating_sub(since) >= LATE_MIN {
            self.late_since = None;
            (self.log_time, self.at) = (stamp, clock);
        }
        self.heard_at = Some(clock);
    }

    /// This was the last stamp where the ledger was looked at; how long it had stood is not known.
    pub(crate) fn applied(&mut self, stamp: Millis, clock: Duration) {
        self.hear(stamp, clock);
    }

    fn hear(&mut self, stamp: Millis, clock: Duration) {
        if stamp >= self.now(clock) || self.heard_at.is_none() {
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
    fn only_fresh_stamps_set_it_back() {
        let mut clock = LogClock::default();
        clock.applied(Millis(1_000), ms(0));
        clock.applied(Millis(1_000), ms(9_000));
        assert_eq!(clock.now(ms(9_000)), Millis(10_000));
        // One that stays behind is believed, after a while.
        clock.frame(Millis(1_001), ms(9_000));
        clock.frame(Millis(1_990), ms(9_990));
        assert_eq!(clock.now(ms(9_990)), Millis(10_990));
        clock.frame(Millis(2_001), ms(10_000));
        assert_eq!(clock.now(ms(10_000)), Millis(2_001));
    }

    #[test]
    fn frames_that_waited_for_a_majority_do_not_set_it_back() {
        let mut clock = LogClock::default();
        clock.applied(Millis(1_000), ms(0));
        // Seventeen seconds without a majority; then all that was stamped meanwhile comes at once, and goes on.
        for stamp in [1_100, 1_200, 9_000] {
            clock.frame(Millis(stamp), ms(17_000));
        }
        assert_eq!(clock.now(ms(17_050)), Millis(18_050));
        clock.frame(Millis(18_090), ms(17_100));
        assert_eq!(clock.now(ms(17_100)), Millis(18_100));
        // Later ones begin to count anew.
        clock.frame(Millis(1_300), ms(18_200));
        assert_eq!(clock.now(ms(18_200)), Millis(19_200));
    }
}
