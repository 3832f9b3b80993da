//! When the quote of one symbol is replaced, as its frames tell it, and how long a plan takes to arrive at the ledger: whether
//! a plan against that quote had better wait for the next one.
//!
//! A plan against a quote is refused where it arrives after the quote was replaced, and costs its order a round trip; what
//! waits for a quote that is due loses less. Quotes come at regular times, or when the one before was filled, and only a
//! habit is waited for: the last few times it took about as long, or differed by no more than a refused plan costs. Invariant: a plan made at first sight of a quote never
//! waits, and no plan waits for a quote that is overdue by more than two round trips. It is a guess, and decides no more than
//! when an order is planned.

use std::collections::VecDeque;

use quorate_domain::Millis;

/// How many of the last durations make a habit.
const RECENT: usize = 4;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Habit {
    /// From a quote to the next one.
    placed: Rhythm,
    /// From a quote's first fill to the next one.
    filled: Rhythm,
    /// How long it took from proposing a plan until the ledger had it.
    took: Recent,
}

impl Habit {
    /// A frame of log time `at` places a quote, and came at `seen`.
    pub(crate) fn placed(&mut self, at: Millis, seen: Millis) {
        self.placed.ended(at);
        self.filled.ended(at);
        self.placed.began(at, seen);
    }

    /// A frame of log time `at` fills the quote, and came at `seen`.
    pub(crate) fn filled(&mut self, at: Millis, seen: Millis) {
        self.filled.began(at, seen);
    }

    /// The ledger took a plan at log time `at` which was proposed at `proposed`.
    pub(crate) fn arrived(&mut self, proposed: Millis, at: Millis) {
        self.took.add(proposed, at);
    }

    /// Until when at the latest a plan against the quote had better wait for the next one; `None`: it goes now.
    pub(crate) fn wait_until(&self, now: Millis) -> Option<Millis> {
        let (fastest, slowest) = self.took.range()?;
        let last = self.placed.last.filter(|last| now > last.seen)?;
        // Where the next one cannot be met at first sight either, it is not waited for.
        let in_time = |(shortest, _)| last.to_see().saturating_add(fastest) < shortest;
        let at_its_time =
            self.placed.wait_until(now, slowest).filter(|_| self.placed.lasted.range().is_some_and(in_time));
        at_its_time.into_iter().chain(self.filled.wait_until(now, slowest)).min()
    }
}

/// How long after something the next quote comes.
#[derive(Debug, Default)]
struct Rhythm {
    /// When it happened, where no quote was placed since.
    last: Option<Moment>,
    /// How long it took the last times.
    lasted: Recent,
}

#[derive(Debug, Clone, Copy)]
struct Moment {
    /// Log time.
    at: Millis,
    /// When its frame came.
    seen: Millis,
}

impl Moment {
    fn to_see(self) -> u64 {
        self.seen.0.saturating_sub(self.at.0)
    }
}

impl Rhythm {
    fn began(&mut self, at: Millis, seen: Millis) {
        self.last.get_or_insert(Moment { at, seen });
    }

    fn ended(&mut self, at: Millis) {
        if let Some(last) = self.last.take() {
            self.lasted.add(last.at, at);
        }
    }

    /// Until when a quote is waited for, where it is due before what takes so long arrives.
    fn wait_until(&self, now: Millis, slowest: u64) -> Option<Millis> {
        let last = self.last?;
        let (shortest, longest) = self.lasted.range()?;
        let (due, spread) = (last.at.plus(shortest), longest - shortest);
        let round_trip = last.to_see().saturating_add(slowest);
        let until = due.plus(spread.min(round_trip)).plus(round_trip);
        let late = now.plus(slowest) >= due;
        (late && (2 * spread <= longest || spread <= round_trip) && now < until).then_some(until)
    }
}

/// The last few durations, in ms.
#[derive(Debug, Default)]
struct Recent(VecDeque<u64>);

impl Recent {
    fn add(&mut self, from: Millis, to: Millis) {
        if self.0.len() == RECENT {
            self.0.pop_front();
        }
        self.0.push_back(to.0.saturating_sub(from.0));
    }

    /// The shortest and the longest, once there are enough.
    fn range(&self) -> Option<(u64, u64)> {
        let enough = self.0.len() == RECENT;
        self.0.iter().min().copied().zip(self.0.iter().max().copied()).filter(|_| enough)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each quote lasted for so long, was seen after 2 ms, and plans took 3 ms; the last one was placed at 1,000.
    fn habit(lasted: &[u64]) -> Habit {
        let mut habit = Habit::default();
        let mut at = 1_000 - lasted.iter().sum::<u64>();
        for lasted in lasted.iter().chain([&0]) {
            habit.placed(Millis(at), Millis(at + 2));
            habit.arrived(Millis(at), Millis(at + 3));
            at += lasted;
        }
        habit
    }

    fn waits(habit: &Habit) -> Vec<(u64, u64)> {
        (1_000..1_100).filter_map(|now| Some((now, habit.wait_until(Millis(now))?.0))).collect()
    }

    #[test]
    fn waits_where_it_would_arrive_when_the_next_quote_is_due() {
        // Due at 1,020; the last moment from which it arrives before that is 1,016, and a round trip takes 5 ms.
        let expected: Vec<(u64, u64)> = (1_017..1_025).map(|now| (now, 1_025)).collect();
        assert_eq!(waits(&habit(&[20; 4])), expected);
        // Less regular: due from 1,020 on, and at the latest a round trip later.
        let expected: Vec<(u64, u64)> = (1_017..1_029).map(|now| (now, 1_029)).collect();
        assert_eq!(waits(&habit(&[20, 24, 20, 22])), expected);
        let (_, until) = waits(&habit(&[20, 40, 20, 20]))[0];
        assert_eq!(until, 1_030, "however irregular it is");
    }

    #[test]
    fn waits_for_the_quote_that_follows_a_fill() {
        let mut habit = Habit::default();
        for (placed, filled) in [(0, 90), (100, 150), (160, 1_000), (1_010, 1_070), (1_080, 0)] {
            habit.placed(Millis(placed), Millis(placed + 2));
            habit.arrived(Millis(placed), Millis(placed + 3));
            // Only its first fill counts.
            for filled in [filled, filled + 5].into_iter().filter(|_| filled > 0) {
                habit.filled(Millis(filled), Millis(filled + 2));
            }
        }
        assert_eq!(waits(&habit), [], "not while nobody fills it");
        habit.filled(Millis(1_082), Millis(1_084));
        // Due 10 ms after the fill.
        let expected: Vec<(u64, u64)> = (1_089..1_097).map(|now| (now, 1_097)).collect();
        assert_eq!(waits(&habit), expected);
        habit.placed(Millis(1_091), Millis(1_093));
        assert_eq!(waits(&habit), []);
    }

    #[test]
    fn what_differs_by_no_more_than_a_round_trip_is_a_habit() {
        for (last, waits_at) in [(6, Some(Millis(1_015))), (7, None)] {
            let mut habit = habit(&[20, 60, 20, 60]);
            for lasted in [1, 1, 1, last].map(Millis) {
                habit.filled.lasted.add(Millis(0), lasted);
            }
            habit.filled(Millis(1_004), Millis(1_006));
            // Due 1 ms after the fill; and a round trip takes 5 ms.
            assert_eq!(habit.wait_until(Millis(1_006)), waits_at, "{last}");
        }
    }

    #[test]
    fn waits_for_a_habit_only() {
        assert_eq!(waits(&habit(&[20; 3])), [], "too few");
        assert_eq!(waits(&habit(&[20, 41, 20, 20])), [], "too irregular");
        assert_eq!(waits(&habit(&[400, 20, 20, 20, 20])).len(), 8, "what is long past does not count");
        let mut unknown = habit(&[20; 4]);
        unknown.took = Recent::default();
        assert_eq!(waits(&unknown), [], "how long a plan takes is not known");
    }

    #[test]
    fn what_is_met_at_first_sight_or_never_does_not_wait() {
        // Seen at 1,002, and a plan that is made then arrives at 1,005.
        assert_eq!(waits(&habit(&[6; 4]))[0], (1_003, 1_011));
        assert_eq!(waits(&habit(&[5; 4])), []);
        assert_eq!(waits(&habit(&[0; 4])), []);
    }
}
