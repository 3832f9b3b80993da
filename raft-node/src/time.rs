//! Log time: what stamps a leader gives, and what a node remembers of the group's clock.
//!
//! Invariants: within a term a stamp is the term's anchor plus monotonic time, whatever the wall clock
//! does; an anchor is never behind what this process knows the group's clock to be, so a slow clock does
//! not stretch the life of a quote; a wall clock far ahead of what this process knows is not followed.
//! Nothing here reads a clock: readings are handed in.

use std::time::Duration;

use quorate_domain::Millis;
use quorate_planted::{Bug, planted};

/// A wall clock this far ahead of what the process remembers is not followed at the start of a term.
pub const JUMP_MAX_MS: u64 = 3_600_000;
/// From this difference on, an anchor ahead of what the process remembers counts as a clock jump.
pub const JUMP_COUNTED_MS: u64 = 1_000;
/// Observations are kept for one to two windows of this length: long enough for a held-back message not
/// to count, short enough for drifting oscillators not to add up.
const WINDOW: Duration = Duration::from_secs(10);

/// Both clocks of a process, read at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// Milliseconds since the Unix epoch, as the wall clock has it.
    pub wall_ms: u64,
    /// The monotonic clock.
    pub monotonic: Duration,
}

/// What the first entry of a term says of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TermStart {
    /// The first stamp of the term.
    pub anchor: Millis,
    /// Whether nothing placed before can be older than the anchor says.
    pub quote_age_proven: bool,
    /// How far the anchor lies ahead of the log time plus what is known to have passed since.
    pub clock_jump_ms: u64,
}

/// The group's clock at one monotonic moment of this process.
#[derive(Debug, Clone, Copy)]
struct Observation {
    stamp: Millis,
    at: Duration,
}

impl Observation {
    fn at(self, now: Duration) -> Millis {
        self.stamp.plus(millis(now.saturating_sub(self.at)))
    }
}

/// What this process has heard of the group's clock: the best of this window and of the one before.
#[derive(Debug, Clone, Copy)]
struct Memory {
    best: Observation,
    previous: Option<Observation>,
    window_from: Duration,
}

impl Memory {
    fn at(&self, now: Duration) -> Millis {
        let previous = self.previous.map_or(Millis::ZERO, |observation| observation.at(now));
        self.best.at(now).max(previous)
    }

    fn observe(&mut self, new: Observation) {
        if new.at.saturating_sub(self.window_from) >= WINDOW {
            *self = Self { best: new, previous: Some(self.best), window_from: new.at };
        } else if new.stamp >= self.best.at(new.at) {
            self.best = new;
        }
    }
}

/// The clock of a term led by this process.
#[derive(Debug, Clone, Copy)]
struct Term {
    term: u64,
    anchor: Observation,
}

/// A process's view of log time. See the module.
#[derive(Debug, Default)]
pub struct LogClock {
    memory: Option<Memory>,
    term: Option<Term>,
    jumps: u64,
    jumps_refused: u64,
}

impl LogClock {
    /// Knows nothing yet: as after a start.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Anchors `term`, which this process leads from now on. `log_time` is that of the last entry applied.
    pub fn begin_term(&mut self, term: u64, now: Reading, log_time: Millis) -> TermStart {
        self.end_term(now.monotonic);
        let remembered = self.memory.map(|memory| memory.at(now.monotonic));
        let floor = remembered.unwrap_or(Millis::ZERO).max(log_time);
        let wall = Millis(now.wall_ms);
        let jump = wall.since(floor);
        let refused = remembered.is_some() && jump > JUMP_MAX_MS;
        let anchor = if refused { floor } else { wall.max(floor) };
        let anchor = if planted(Bug::FreezeClockAtNewLeader) { log_time } else { anchor };
        if remembered.is_some() && jump >= JUMP_COUNTED_MS {
            self.jumps += 1;
        }
        if refused {
            self.jumps_refused += 1;
        }
        self.term = Some(Term { term, anchor: Observation { stamp: anchor, at: now.monotonic } });
        TermStart {
            anchor,
            quote_age_proven: remembered.is_some() || wall > log_time,
            // At genesis there is no log time to be ahead of.
            clock_jump_ms: if floor == Millis::ZERO { 0 } else { anchor.since(floor) },
        }
    }

    /// The stamp of a proposal in `term`, where this process leads it.
    #[must_use]
    pub fn stamp(&self, term: u64, monotonic: Duration) -> Option<Millis> {
        self.term.filter(|led| led.term == term).map(|led| led.anchor.at(monotonic))
    }

    /// The stamp of this moment in whatever term this process leads.
    #[must_use]
    pub fn leading_stamp(&self, monotonic: Duration) -> Option<Millis> {
        self.term.map(|led| led.anchor.at(monotonic))
    }

    /// This process leads no more; what its clock said is remembered.
    pub fn end_term(&mut self, monotonic: Duration) {
        if let Some(led) = self.term.take() {
            self.observe(led.anchor.at(monotonic), monotonic);
        }
    }

    /// A leader's clock said `stamp`, at the latest now.
    pub fn observe(&mut self, stamp: Millis, monotonic: Duration) {
        let new = Observation { stamp, at: monotonic };
        match &mut self.memory {
            Some(memory) => memory.observe(new),
            None => self.memory = Some(Memory { best: new, previous: None, window_from: monotonic }),
        }
    }

    /// Starts of a term at which the wall clock was ahead of what this process remembered.
    #[must_use]
    pub fn jumps(&self) -> u64 {
        self.jumps
    }

    /// Of these, those that were not followed.
    #[must_use]
    pub fn jumps_refused(&self) -> u64 {
        self.jumps_refused
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const T0: u64 = 1_700_000_000_000;

    fn reading(wall_ms: u64, monotonic_ms: u64) -> Reading {
        Reading { wall_ms, monotonic: Duration::from_millis(monotonic_ms) }
    }

    fn ms(value: u64) -> Duration {
        Duration::from_millis(value)
    }

    #[test]
    fn at_genesis_the_wall_clock_is_the_anchor() {
        let mut clock = LogClock::new();
        let start = clock.begin_term(1, reading(T0, 5), Millis::ZERO);
        assert_eq!(start, TermStart { anchor: Millis(T0), quote_age_proven: true, clock_jump_ms: 0 });
        assert_eq!(clock.stamp(1, ms(105)), Some(Millis(T0 + 100)));
        assert_eq!(clock.stamp(2, ms(105)), None);
        assert_eq!(clock.jumps(), 0);
    }

    #[test]
    fn within_a_term_the_wall_clock_does_not_matter() {
        let mut clock = LogClock::new();
        clock.begin_term(1, reading(T0, 0), Millis::ZERO);
        // Whatever the wall clock did meanwhile, only monotonic time moves the stamp.
        assert_eq!(clock.stamp(1, ms(30_000)), Some(Millis(T0 + 30_000)));
    }

    #[test]
    fn a_slow_wall_clock_does_not_stretch_time() {
        let mut clock = LogClock::new();
        clock.observe(Millis(T0), ms(1_000));
        // The wall clock is a minute behind; seven seconds have passed since the leader was heard.
        let start = clock.begin_term(2, reading(T0 - 60_000, 8_000), Millis(T0 - 100));
        assert_eq!(start, TermStart { anchor: Millis(T0 + 7_000), quote_age_proven: true, clock_jump_ms: 0 });
        assert_eq!(clock.jumps(), 0);
    }

    #[test]
    fn a_fast_wall_clock_is_followed_and_counted() {
        let mut clock = LogClock::new();
        clock.observe(Millis(T0), ms(1_000));
        let start = clock.begin_term(2, reading(T0 + 20_000, 2_000), Millis(T0));
        assert_eq!(start.anchor, Millis(T0 + 20_000));
        assert_eq!(start.clock_jump_ms, 19_000);
        assert!(start.quote_age_proven);
        assert_eq!((clock.jumps(), clock.jumps_refused()), (1, 0));
    }

    #[test]
    fn a_wall_clock_far_ahead_is_not_followed() {
        let mut clock = LogClock::new();
        clock.observe(Millis(T0), ms(1_000));
        let start = clock.begin_term(2, reading(T0 + JUMP_MAX_MS + 5_000, 2_000), Millis(T0));
        assert_eq!(start, TermStart { anchor: Millis(T0 + 1_000), quote_age_proven: true, clock_jump_ms: 0 });
        assert_eq!((clock.jumps(), clock.jumps_refused()), (1, 1));
    }

    #[test]
    fn a_step_back_between_two_terms_of_one_process_is_not_seen() {
        let mut clock = LogClock::new();
        clock.begin_term(1, reading(T0, 0), Millis::ZERO);
        clock.end_term(ms(4_000));
        assert_eq!(clock.stamp(1, ms(4_000)), None);
        let start = clock.begin_term(3, reading(T0 - 3_600_000, 10_000), Millis(T0 + 3_900));
        assert_eq!(start, TermStart { anchor: Millis(T0 + 10_000), quote_age_proven: true, clock_jump_ms: 0 });
    }

    #[test]
    fn a_new_term_without_an_end_keeps_the_clock_of_the_old_one() {
        let mut clock = LogClock::new();
        clock.begin_term(1, reading(T0, 0), Millis::ZERO);
        let start = clock.begin_term(2, reading(T0 - 10, 500), Millis(T0));
        assert_eq!(start.anchor, Millis(T0 + 500));
    }

    #[test]
    fn a_restart_with_the_wall_clock_ahead_proves_the_age_by_it() {
        let mut clock = LogClock::new();
        let start = clock.begin_term(4, reading(T0 + 7_200_000, 3), Millis(T0));
        assert_eq!(
            start,
            TermStart { anchor: Millis(T0 + 7_200_000), quote_age_proven: true, clock_jump_ms: 7_200_000 }
        );
        assert_eq!(clock.jumps(), 0, "an outage is no jump");
    }

    #[test]
    fn a_restart_with_the_wall_clock_behind_proves_nothing() {
        let mut clock = LogClock::new();
        let start = clock.begin_term(4, reading(T0 - 1, 3), Millis(T0));
        assert_eq!(start, TermStart { anchor: Millis(T0), quote_age_proven: false, clock_jump_ms: 0 });
        let start = LogClock::new().begin_term(4, reading(T0, 3), Millis(T0));
        assert!(!start.quote_age_proven, "level is not ahead");
    }

    #[test]
    fn a_restart_that_heard_the_leader_again_has_memory() {
        let mut clock = LogClock::new();
        clock.observe(Millis(T0 + 50), ms(3));
        let start = clock.begin_term(4, reading(T0 - 1_000_000, 1_003), Millis(T0));
        assert_eq!(start, TermStart { anchor: Millis(T0 + 1_050), quote_age_proven: true, clock_jump_ms: 0 });
    }

    #[test]
    fn a_message_held_back_does_not_turn_the_memory_back() {
        let mut clock = LogClock::new();
        clock.observe(Millis(T0), ms(0));
        // Sent at the same moment, held for 15 s: more than a window.
        clock.observe(Millis(T0), ms(15_000));
        let start = clock.begin_term(2, reading(0, 15_000), Millis(T0));
        assert_eq!(start.anchor, Millis(T0 + 15_000));
    }

    #[test]
    fn drift_does_not_add_up() {
        let mut clock = LogClock::new();
        // This process's oscillator runs 1% fast, for ten minutes: the leader's clock is what counts.
        let mut monotonic = 0;
        for second in 0..600 {
            monotonic = second * 1_010;
            clock.observe(Millis(T0 + second * 1_000), ms(monotonic));
        }
        let start = clock.begin_term(2, reading(0, monotonic), Millis(T0));
        let truth = T0 + 599_000;
        assert!(start.anchor.0 >= truth && start.anchor.0 <= truth + 300, "{}", start.anchor.0 - truth);
    }
}
