//! When which fault begins and ends: all of it follows from one seed.
//!
//! Invariant: faults of one lane follow each other, and each lane goes through all of its kinds before it begins
//! again, in another order each time. The lanes overlap as chance has it; so faults of different lanes compose, and
//! are healed in any order.

use std::{collections::BTreeSet, time::Duration};

use rand::{Rng, SeedableRng, rngs::StdRng, seq::SliceRandom};

use super::fault::Kind;

/// How long other faults wait for one that has begun to show, so that they do not take away what it is measured by.
const SHOWS_FIRST: Duration = Duration::from_secs(3);
/// How much longer than planned a fault lasts that has not shown.
const SHOWS_LAST: Duration = Duration::from_secs(20);
/// Nothing happens before this.
const CALM_AT_START: Duration = Duration::from_secs(3);

/// One fault of a schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// Which.
    pub kind: Kind,
    /// When it starts, from the beginning of the run.
    pub from: Duration,
    /// When it is healed.
    pub until: Duration,
    /// What decides where it leaves something open.
    pub choice: u64,
}

/// A fault that has begun and is not healed yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnderWay {
    /// Which.
    pub kind: Kind,
    /// When it began: it may have had to wait.
    pub from: Duration,
    /// When it should be healed.
    pub until: Duration,
    /// Whether it has measured that it happened.
    pub shown: bool,
}

impl UnderWay {
    /// Whether it is to be healed now: its time is over and it has shown, or it will not any more.
    #[must_use]
    pub fn is_over(&self, now: Duration) -> bool {
        self.until <= now && (self.shown || self.until + SHOWS_LAST <= now)
    }

    fn is_new(&self, now: Duration) -> bool {
        !self.shown && now < self.from + SHOWS_FIRST
    }
}

/// Which of the faults that are due, sorted by beginning, is the next to begin now, if one is: those before it in its
/// lane are healed, and what has just begun has shown.
#[must_use]
pub fn next(due: &[Planned], under_way: &[UnderWay], now: Duration) -> Option<usize> {
    if under_way.iter().any(|fault| fault.is_new(now)) {
        return None;
    }
    let mut busy: BTreeSet<u64> = under_way.iter().map(|fault| timing(fault.kind).0).collect();
    due.iter().position(|planned| planned.from <= now && busy.insert(timing(planned.kind).0))
}

/// The whole schedule of a run that lasts `length`, sorted by beginning. The same arguments give the same schedule.
#[must_use]
pub fn schedule(seed: u64, length: Duration, kinds: &[Kind]) -> Vec<Planned> {
    let mut planned = Vec::new();
    for lane in 0..LANES {
        let mut rng = StdRng::seed_from_u64(seed.wrapping_mul(LANES).wrapping_add(lane));
        let mut kinds: Vec<Kind> = kinds.iter().copied().filter(|kind| timing(*kind).0 == lane).collect();
        let mut at = CALM_AT_START;
        while !kinds.is_empty() && at < length {
            kinds.shuffle(&mut rng);
            for kind in &kinds {
                let (_, shortest, longest) = timing(*kind);
                let from = at + Duration::from_millis(rng.random_range(500..4_000));
                let until = from + Duration::from_millis(rng.random_range(shortest..longest));
                at = until;
                let choice = rng.random();
                if until < length {
                    planned.push(Planned { kind: *kind, from, until, choice });
                }
            }
        }
    }
    planned.sort_by_key(|fault| fault.from);
    planned
}

/// Lanes: the nodes, the links between nodes, the market around them, the feed of a price.
const LANES: u64 = 4;

/// The lane of a kind, and how long it lasts, in milliseconds.
fn timing(kind: Kind) -> (u64, u64, u64) {
    match kind {
        Kind::KillLeader | Kind::KillFollower | Kind::PauseLeader | Kind::PauseFollower => (0, 1_500, 6_000),
        Kind::KillMajority | Kind::KillAll => (0, 500, 3_000),
        // Long enough for the node to come up again, to get the leadership, and to lead.
        Kind::WrongClock => (0, 7_000, 10_000),
        // Until a write needs a page that was not written before.
        Kind::FullDisk => (0, 7_000, 10_000),
        Kind::WipedDisk => (0, 2_000, 5_000),
        Kind::TransferToDead => (0, 1_500, 4_000),
        Kind::LeaderIsolated | Kind::FollowerIsolated | Kind::Mute | Kind::Deaf | Kind::Bridge | Kind::SplitMarket => {
            (1, 2_000, 7_000)
        }
        Kind::Loss | Kind::Delay => (1, 4_000, 9_000),
        // The group's members are in none of the lanes; this one has room for them.
        Kind::DeadAddressAdded => (2, 500, 2_000),
        Kind::ForeignNode => (2, 2_000, 4_000),
        Kind::KillExchange => (2, 500, 3_000),
        Kind::PauseExchange => (2, 1_000, 5_000),
        // Also past the makers' lease.
        Kind::KillMaker | Kind::PauseMaker | Kind::MakerCutOff => (2, 2_000, 8_000),
        Kind::ExchangeCutOff => (2, 2_000, 6_000),
        // Until its price is too old, and a while longer.
        Kind::FeedDies => (3, 8_000, 11_000),
        Kind::FeedZero | Kind::FeedCrosses => (3, 1_000, 4_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_gives_one_schedule_and_every_kind_comes_in_the_time_of_the_longest_lane() {
        let length = Duration::from_secs(110);
        let first = schedule(7, length, Kind::ALL);
        assert_eq!(first, schedule(7, length, Kind::ALL));
        assert_ne!(first, schedule(8, length, Kind::ALL));
        for seed in 0..200 {
            let planned = schedule(seed, length, Kind::ALL);
            for kind in Kind::ALL {
                assert!(planned.iter().any(|fault| fault.kind == *kind), "seed {seed}: no {kind}");
            }
        }
    }

    #[test]
    fn faults_of_one_lane_do_not_overlap_and_those_of_several_do() {
        let planned = schedule(3, Duration::from_secs(600), Kind::ALL);
        let overlap = |a: &Planned, b: &Planned| a.from < b.until && b.from < a.until;
        let mut together = 0;
        for (nth, one) in planned.iter().enumerate() {
            for other in &planned[nth + 1..] {
                if overlap(one, other) {
                    assert_ne!(timing(one.kind).0, timing(other.kind).0, "{one:?} {other:?}");
                    together += 1;
                }
            }
        }
        assert!(together > 50, "{together}");
    }

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_fault_begins_once_its_lane_is_free_and_what_has_just_begun_has_shown() {
        let planned = |kind, from| Planned { kind, from: s(from), until: s(from + 5), choice: 0 };
        let due = [planned(Kind::KillLeader, 1), planned(Kind::PauseLeader, 2), planned(Kind::Mute, 2)];
        let bridge = |shown| [UnderWay { kind: Kind::Bridge, from: s(0), until: s(4), shown }];
        assert_eq!(next(&due, &[], s(0)), None);
        // The bridge may have the leader at its end: it is cut for nothing where the leader is killed before it shows.
        assert_eq!(next(&due, &bridge(false), s(2)), None);
        assert_eq!(next(&due, &bridge(true), s(2)), Some(0));
        // It may never show; others do not wait for that.
        assert_eq!(next(&due, &bridge(false), s(3)), Some(0));
        // The pause waits behind the kill, and the mute node behind the bridge.
        assert_eq!(next(&due[1..], &bridge(true), s(2)), Some(0));
        assert_eq!(next(&due[2..], &bridge(true), s(2)), None);
        let killed = [UnderWay { kind: Kind::KillLeader, from: s(1), until: s(6), shown: true }];
        assert_eq!(next(&due[1..], &killed, s(2)), Some(1));
    }

    #[test]
    fn a_fault_lasts_until_it_has_shown() {
        let fault = |shown| UnderWay { kind: Kind::FullDisk, from: s(1), until: s(8), shown };
        assert!(!fault(true).is_over(s(7)) && fault(true).is_over(s(8)));
        assert!(!fault(false).is_over(s(27)) && fault(false).is_over(s(28)));
    }

    #[test]
    fn what_cannot_happen_is_not_planned() {
        let planned = schedule(3, Duration::from_secs(100), &[Kind::KillMaker]);
        assert!(!planned.is_empty() && planned.iter().all(|fault| fault.kind == Kind::KillMaker));
    }
}
