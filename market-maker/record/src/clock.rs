//! The recorder's times: in which unit they are, and whether they are in order.

use std::{fmt, ops::Range};

/// How far the clock may go back; then the latest time stands until it is passed.
const BACK_MAX_NS: u64 = 1_000_000_000;
/// The longest time without a message that is nothing to speak of: 10 minutes.
const PAUSE_NS: u64 = 600_000_000_000;
/// The longest time without a message that is believed: 366 days.
const LEAP_NS: u64 = 366 * 86_400_000_000_000;
/// Times of 2008 to 2096, in seconds since the Unix epoch.
const SECONDS: Range<u64> = 1_200_000_000..4_000_000_000;
/// How far the two clocks may lie apart where one tells the unit of the other: a year and a half.
const NEAR_S: u64 = 50_000_000;

/// What times count, since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TimeUnit {
    /// Seconds.
    Seconds,
    /// Milliseconds.
    Millis,
    /// Microseconds.
    Micros,
    /// Nanoseconds.
    Nanos,
}

impl fmt::Display for TimeUnit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Seconds => "seconds",
            Self::Millis => "milliseconds",
            Self::Micros => "microseconds",
            Self::Nanos => "nanoseconds",
        })
    }
}

impl TimeUnit {
    /// How many nanoseconds it has.
    #[must_use]
    pub fn nanos(self) -> u64 {
        match self {
            Self::Seconds => 1_000_000_000,
            Self::Millis => 1_000_000,
            Self::Micros => 1_000,
            Self::Nanos => 1,
        }
    }

    /// The unit in which `time` lies between 2008 and 2096; `None` where there is none.
    #[must_use]
    pub fn by_size(time: u64) -> Option<Self> {
        let units = [Self::Seconds, Self::Millis, Self::Micros, Self::Nanos];
        units.into_iter().find(|unit| SECONDS.contains(&(time / (Self::Seconds.nanos() / unit.nanos()))))
    }

    /// What a recorder's time counts, as [`TimeUnit::by_size`] tells; seconds only where the venue's own time, in
    /// nanoseconds, lies within a year and a half, for so many nanoseconds may have passed since the recorder's start.
    #[must_use]
    pub fn tell(time: u64, venue_ns: Option<u64>) -> Option<Self> {
        let near = |venue: u64| (venue / Self::Seconds.nanos()).abs_diff(time) <= NEAR_S;
        Self::by_size(time).filter(|unit| *unit != Self::Seconds || venue_ns.is_some_and(near))
    }
}

/// A venue's time in nanoseconds since the Unix epoch. Venues count milliseconds, or microseconds where these were asked
/// for; the size tells which. `None` where it does not fit.
#[must_use]
pub fn venue_ns(time: u64) -> Option<u64> {
    let unit = match TimeUnit::by_size(time) {
        Some(unit @ (TimeUnit::Micros | TimeUnit::Nanos)) => unit,
        _ => TimeUnit::Millis,
    };
    time.checked_mul(unit.nanos())
}

/// What stands against a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BadTime {
    Ambiguous,
    Mixed { unit: TimeUnit, before: TimeUnit },
    Beyond(TimeUnit),
    Backwards(u64),
    Leap(u64),
}

/// What is odd about a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OddTime {
    /// The first one, in another unit than nanoseconds.
    Unit(TimeUnit),
    Backwards(u64),
    Pause(u64),
}

/// The recorder's clock.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Clock {
    unit: Option<TimeUnit>,
    /// Whether times of this file lie where their size tells the unit.
    by_size: bool,
    latest: Option<u64>,
}

impl Clock {
    /// `unit`: that of the times, where it is known.
    pub(crate) fn new(unit: Option<TimeUnit>) -> Self {
        Self { unit, ..Self::default() }
    }

    /// A line's time in nanoseconds, never before that of an earlier line.
    pub(crate) fn read(&mut self, time: u64, venue_ns: Option<u64>) -> Result<(u64, Option<OddTime>), BadTime> {
        let (unit, first) = match self.unit {
            Some(unit) => (unit, false),
            None => (self.tell(time, venue_ns)?, true),
        };
        if self.by_size
            && let Some(other) = TimeUnit::by_size(time)
            && other != unit
        {
            return Err(BadTime::Mixed { unit: other, before: unit });
        }
        let ns = time.checked_mul(unit.nanos()).ok_or(BadTime::Beyond(unit))?;
        let latest = self.latest.unwrap_or(ns);
        let (ahead, back) = (ns.saturating_sub(latest), latest.saturating_sub(ns));
        if back > BACK_MAX_NS {
            return Err(BadTime::Backwards(back));
        }
        if ahead > LEAP_NS {
            return Err(BadTime::Leap(ahead));
        }
        let odd = match (first && unit != TimeUnit::Nanos, back > 0, ahead > PAUSE_NS) {
            (true, _, _) => Some(OddTime::Unit(unit)),
            (_, true, _) => Some(OddTime::Backwards(back)),
            (_, _, true) => Some(OddTime::Pause(ahead)),
            _ => None,
        };
        self.latest = Some(ns.max(latest));
        Ok((ns.max(latest), odd))
    }

    /// The unit, told by the first time.
    fn tell(&mut self, time: u64, venue_ns: Option<u64>) -> Result<TimeUnit, BadTime> {
        if venue_ns.is_none() && TimeUnit::by_size(time) == Some(TimeUnit::Seconds) {
            return Err(BadTime::Ambiguous);
        }
        let unit = TimeUnit::tell(time, venue_ns);
        self.by_size = unit.is_some();
        // Times since another moment, such as the recorder's start.
        let unit = unit.unwrap_or(TimeUnit::Nanos);
        self.unit = Some(unit);
        Ok(unit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_723_161_253;

    #[test]
    fn units_are_told_by_size() {
        for (time, unit) in [
            (NOW, Some(TimeUnit::Seconds)),
            (NOW * 1_000, Some(TimeUnit::Millis)),
            (NOW * 1_000_000, Some(TimeUnit::Micros)),
            (NOW * 1_000_000_000, Some(TimeUnit::Nanos)),
            (0, None),
            (1_199_999_999, None),
            (4_000_000_000, None),
            (u64::MAX, None),
        ] {
            assert_eq!(TimeUnit::by_size(time), unit, "{time}");
        }
        assert_eq!(venue_ns(NOW * 1_000), Some(NOW * 1_000_000_000));
        assert_eq!(venue_ns(NOW * 1_000_000), Some(NOW * 1_000_000_000));
        assert_eq!((venue_ns(5), venue_ns(u64::MAX)), (Some(5_000_000), None));
    }

    #[test]
    fn other_units_are_brought_to_nanoseconds_where_there_is_no_doubt() {
        let venue = Some(NOW * 1_000_000_000 + 1);
        let read = |time, venue| Clock::default().read(time, venue);
        let ns = NOW * 1_000_000_000;
        assert_eq!(read(ns, None), Ok((ns, None)));
        assert_eq!(read(NOW * 1_000, None), Ok((ns, Some(OddTime::Unit(TimeUnit::Millis)))));
        assert_eq!(read(NOW * 1_000_000, None), Ok((ns, Some(OddTime::Unit(TimeUnit::Micros)))));
        assert_eq!(read(NOW, venue), Ok((ns, Some(OddTime::Unit(TimeUnit::Seconds)))));
        assert_eq!(read(NOW, None), Err(BadTime::Ambiguous));
        assert_eq!(read(NOW, Some(7)), Ok((NOW, None)), "nanoseconds since the recorder's start");
        assert_eq!(Clock::new(Some(TimeUnit::Seconds)).read(NOW, None), Ok((ns, None)));
        assert_eq!(
            Clock::new(Some(TimeUnit::Seconds)).read(u64::MAX / 7, None),
            Err(BadTime::Beyond(TimeUnit::Seconds))
        );
    }

    #[test]
    fn a_unit_that_changes_is_told() {
        let mut clock = Clock::default();
        clock.read(NOW * 1_000_000_000, None).expect("nanoseconds");
        let mixed = BadTime::Mixed { unit: TimeUnit::Millis, before: TimeUnit::Nanos };
        assert_eq!(clock.read(NOW * 1_000 + 5, None), Err(mixed));
        // Times since the recorder's start pass through all sizes.
        let mut clock = Clock::default();
        for time in [5, 1_199_999_999, 1_200_000_000, 3_999_999_999, 4_000_000_000] {
            assert_eq!(clock.read(time, None), Ok((time, None)));
        }
    }

    #[test]
    fn time_never_goes_back_and_leaps_are_refused() {
        let start = NOW * 1_000_000_000;
        let mut clock = Clock::default();
        assert_eq!(clock.read(start + 5, None), Ok((start + 5, None)));
        assert_eq!(clock.read(start, None), Ok((start + 5, Some(OddTime::Backwards(5)))));
        assert_eq!(clock.read(start + 6, None), Ok((start + 6, None)));
        let later = start + 6 + PAUSE_NS;
        assert_eq!(clock.read(later, None), Ok((later, None)));
        assert_eq!(
            clock.read(later + PAUSE_NS + 1, None),
            Ok((later + PAUSE_NS + 1, Some(OddTime::Pause(PAUSE_NS + 1))))
        );
        let now = later + PAUSE_NS + 1;
        assert_eq!(clock.read(now - BACK_MAX_NS, None), Ok((now, Some(OddTime::Backwards(BACK_MAX_NS)))));
        assert_eq!(clock.read(now - BACK_MAX_NS - 1, None), Err(BadTime::Backwards(BACK_MAX_NS + 1)));
        assert_eq!(clock.read(now + LEAP_NS + 1, None), Err(BadTime::Leap(LEAP_NS + 1)));
    }
}
