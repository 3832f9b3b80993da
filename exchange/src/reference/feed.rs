//! One symbol's reference price: what its source says, what of that is believed, and how old it is.

use std::time::Duration;

use quorate_binance_api::reference::{Believed, Doubt, Given, Stamp, half_ticks};
use quorate_domain::{Decimal, Millis, Symbol};

use super::{
    capture::Sign,
    walk::{WALK_STEP, Walk},
};

/// A source that has said nothing for so long is said to be silent, once.
const SILENT_AFTER: Duration = Duration::from_secs(5);
/// What was never confirmed is as old as log time, and at least this old: more than any maker accepts.
const UNCONFIRMED_MIN: Duration = Duration::from_secs(86_400);
/// Time between two lines of the log about what one source says and is not believed.
const WARN_EVERY: Duration = Duration::from_secs(10);

/// An instant, by both clocks that matter here.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// Log time, as it is estimated.
    pub log_time: Millis,
    /// The process's monotonic clock.
    pub clock: Duration,
}

/// A reference price.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reference {
    /// In half ticks, in `2..=2 * MAX_PRICE`.
    pub half_ticks: i64,
    /// The kind of its source.
    pub source: &'static str,
    /// Grows with each change of the price, and never else.
    pub seq: u64,
    /// When it changed last; 0 for one that never does.
    pub changed_at: Millis,
    /// How long ago its source said last that it stands.
    pub age: Duration,
}

/// Counters of one source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FeedStats {
    /// What was not believed, in the order of [`Doubt::ALL`].
    pub dropped: [u64; Doubt::ALL.len()],
    /// How often it fell silent.
    pub silences: u64,
}

pub(super) enum Source {
    Fixed(Decimal),
    /// The walk itself is made once the tick is known, and made anew where that changes.
    Walk {
        seed: u64,
        start: Decimal,
        walk: Option<InTicks>,
    },
    Recorded {
        signs: Vec<Sign>,
        speed: u32,
    },
    External {
        price: Decimal,
        /// When it was set last; never, where it stands as it was given at the start.
        confirmed: Option<Duration>,
        feed: Option<String>,
        believed: Believed,
    },
}

/// A walk in ticks of this size.
pub(super) struct InTicks {
    tick: Decimal,
    /// The step at which it was made, where it took another one's place: its price has changed since at the earliest then.
    since: u64,
    walk: Walk,
}

/// The price that was told last.
#[derive(Debug, Clone, Copy)]
struct Told {
    half_ticks: i64,
    seq: u64,
    changed_at: Millis,
}

pub(super) struct Feed {
    source: Source,
    told: Option<Told>,
    stats: FeedStats,
    warned_at: Option<Duration>,
    unsaid: u64,
    silent: bool,
    /// Whether its price was found to be out of range, so that it counts once.
    out_of_range: bool,
}

/// What a source says at an instant.
struct Said {
    half_ticks: i64,
    /// How long ago it said so last.
    age: Duration,
    /// The number and the time of the last change, where the source knows them itself.
    change: Option<(u64, Millis)>,
}

impl Feed {
    pub(super) fn new(source: Source) -> Self {
        let stats = FeedStats::default();
        Self { source, told: None, stats, warned_at: None, unsaid: 0, silent: false, out_of_range: false }
    }

    pub(super) fn kind(&self) -> &'static str {
        match self.source {
            Source::Fixed(_) => "static",
            Source::Walk { .. } => "walk",
            Source::Recorded { .. } => "capture",
            Source::External { .. } => "external",
        }
    }

    pub(super) fn stats(&self) -> FeedStats {
        self.stats
    }

    /// The price now, `since` the start.
    pub(super) fn look(&mut self, symbol: &Symbol, tick: Decimal, since: Duration, now: Now) -> Option<Reference> {
        let said = match self.source.says(symbol, tick, since, now) {
            Ok(said) => said,
            Err(doubt) => {
                if !std::mem::replace(&mut self.out_of_range, true) {
                    self.drop(symbol, doubt, now.clock);
                }
                return None;
            }
        };
        self.out_of_range = false;
        self.notice_silence(symbol, said.age.min(since));
        let half_ticks = said.half_ticks;
        let told = match (said.change, self.told) {
            (Some((seq, changed_at)), _) => Told { half_ticks, seq, changed_at },
            (None, Some(told)) if told.half_ticks == half_ticks => told,
            // The number goes on over a restart, for log time does; neither ever goes back.
            (None, told) => {
                let (seq, changed_at) = told.map_or((0, Millis::ZERO), |told| (told.seq + 1, told.changed_at));
                Told { half_ticks, seq: seq.max(now.log_time.0), changed_at: changed_at.max(now.log_time) }
            }
        };
        self.told = Some(told);
        let Told { seq, changed_at, .. } = told;
        Some(Reference { half_ticks, source: self.kind(), seq, changed_at, age: said.age })
    }

    /// Takes a price from outside.
    pub(super) fn set(&mut self, new: &Set, symbol: &Symbol, tick: Decimal, clock: Duration) -> Result<(), Unset> {
        let doubted = match &mut self.source {
            Source::External { price, confirmed, feed, believed } => {
                let mut next = if new.feed.is_some() && new.feed != *feed { Believed::default() } else { *believed };
                let checked = new.given.price().and_then(|price| half_ticks(price, tick));
                match checked.and_then(|_| next.check(new.given, new.stamp)) {
                    Ok(taken) => {
                        (*price, *confirmed, *believed) = (taken, Some(clock), next);
                        if new.feed.is_some() {
                            feed.clone_from(&new.feed);
                        }
                        return Ok(());
                    }
                    Err(doubt) => doubt,
                }
            }
            Source::Fixed(_) | Source::Walk { .. } | Source::Recorded { .. } => {
                match new.given.price().and_then(|price| half_ticks(price, tick)) {
                    Ok(_) => return Err(Unset::NotExternal),
                    Err(doubt) => doubt,
                }
            }
        };
        self.drop(symbol, doubted, clock);
        Err(Unset::Doubted(doubted))
    }

    /// Counts what is not believed, and says so now and then.
    pub(super) fn drop(&mut self, symbol: &Symbol, doubt: Doubt, clock: Duration) {
        for (counted, counter) in Doubt::ALL.into_iter().zip(&mut self.stats.dropped) {
            *counter += u64::from(counted == doubt);
        }
        self.unsaid += 1;
        if self.warned_at.is_some_and(|at| clock.saturating_sub(at) < WARN_EVERY) {
            return;
        }
        self.warned_at = Some(clock);
        let (source, dropped) = (self.kind(), std::mem::take(&mut self.unsaid));
        tracing::warn!(
            %symbol, source, reason = doubt.name(), dropped,
            "a reference price is not believed: {doubt}; the last good one ages, and makers pull their quotes when it is \
             too old: mend the source, or set a price by PUT /v1/reference-prices/{symbol} where it is external"
        );
    }

    fn notice_silence(&mut self, symbol: &Symbol, age: Duration) {
        let silent = age > SILENT_AFTER;
        if silent == std::mem::replace(&mut self.silent, silent) {
            return;
        }
        let (source, age_ms) = (self.kind(), u64::try_from(age.as_millis()).unwrap_or(u64::MAX));
        if silent {
            self.stats.silences += 1;
            tracing::warn!(
                %symbol, source, age_ms,
                "the source of a reference price is silent, or a capture is at its end: makers pull their quotes when the \
                 price is too old; start its publisher again, or set a price by PUT /v1/reference-prices/{symbol}"
            );
        } else {
            tracing::info!(%symbol, source, "the source of a reference price is back");
        }
    }
}

impl Source {
    /// Set from outside, from this price on.
    pub(super) fn external(price: Decimal) -> Self {
        Self::External { price, confirmed: None, feed: None, believed: Believed::default() }
    }

    fn says(&mut self, symbol: &Symbol, tick: Decimal, since: Duration, now: Now) -> Result<Said, Doubt> {
        let (price, age) = match self {
            // It is its own sign of life, and has never changed.
            Self::Fixed(price) => {
                let change = Some((1, Millis::ZERO));
                return Ok(Said { half_ticks: half_ticks(*price, tick)?, age: Duration::ZERO, change });
            }
            // What was given at the start may have been right when somebody wrote it down, and whoever starts the exchange
            // again gives it again: nobody has confirmed it.
            Self::External { price, confirmed, .. } => {
                let age = confirmed.map(|confirmed| now.clock.saturating_sub(confirmed));
                (*price, age.unwrap_or_else(|| Duration::from_millis(now.log_time.0).max(UNCONFIRMED_MIN)))
            }
            Self::Recorded { signs, speed } => {
                let at = since.saturating_mul(*speed);
                let passed = signs.partition_point(|sign| sign.offset <= at).max(1);
                let Some(sign) = signs.get(passed - 1) else { return Err(Doubt::NotPositive) };
                (sign.price, at.saturating_sub(sign.offset) / *speed)
            }
            Self::Walk { seed, start, walk } => {
                let start = half_ticks(*start, tick)? / 2;
                let step_ms = u64::try_from(WALK_STEP.as_millis()).unwrap_or(1);
                let now = now.log_time.0 / step_ms;
                if walk.as_ref().is_none_or(|walk| walk.tick != tick) {
                    let since = walk.as_ref().map_or(0, |_| now);
                    *walk = Some(InTicks { tick, since, walk: Walk::new(*seed, symbol, start) });
                }
                let Some(InTicks { since, walk, .. }) = walk else { return Err(Doubt::NotPositive) };
                let step = walk.at(now);
                let changed = step.changed.max(*since);
                let change = Some((changed, Millis(changed.saturating_mul(step_ms))));
                return Ok(Said { half_ticks: 2 * step.price, age: Duration::ZERO, change });
            }
        };
        Ok(Said { half_ticks: half_ticks(price, tick)?, age, change: None })
    }
}

/// A price from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Set {
    /// The price.
    pub given: Given,
    /// Where it stands among those of its feed.
    pub stamp: Stamp,
    /// Whose numbers these are; those of another feed begin anew. A price without one is compared with all.
    pub feed: Option<String>,
}

/// Why a price from outside is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unset {
    /// The symbol has no source, or one of its own.
    NotExternal,
    /// It is not believed.
    Doubted(Doubt),
}
