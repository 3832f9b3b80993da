//! Faults of the feed that gives one symbol its reference price: it dies, goes to zero, or crosses.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tokio::time::Instant;

use super::{
    arena::Arena,
    fault::{Fault, Happened, Kind, Step},
    feeder::{Ailment, START_TICKS},
};

/// A reference price may be this old: the makers' default.
const AGE_MAX: Duration = Duration::from_secs(5);
/// A symbol that is not quoted at looks that follow each other for so long is not only about to be quoted again.
const UNQUOTED_MIN: Duration = Duration::from_secs(1);

/// The feed says nothing any more; healing lets it go on.
///
/// It is measured by how long the exchange calls the price too old and the symbol has no quote, while others have one. It is
/// an error where the exchange calls the price new again.
#[derive(Debug)]
pub struct DeadFeed {
    /// Within this the quote must be gone once the price is too old, where there is such a bound.
    gone_within: Option<Duration>,
    symbol: Option<&'static str>,
    unquoted: Lasted,
    /// Whether the exchange has called the price too old.
    is_old: bool,
    /// What must not be, and was seen.
    broken: Option<String>,
}

impl DeadFeed {
    /// While other things may go wrong: then there is no bound within which the quote is gone.
    #[must_use]
    pub fn among_others() -> Self {
        Self { gone_within: None, symbol: None, unquoted: Lasted::default(), is_old: false, broken: None }
    }

    /// While nothing else goes wrong, among makers with leases of `lease`: their maker pulls the quote, or it ends with the
    /// authority that a maker keeps only as long as its commands are committed.
    #[must_use]
    pub fn alone(lease: Duration) -> Self {
        Self { gone_within: Some(lease), ..Self::among_others() }
    }

    /// Looks once: what the exchange says of the price, and then what is quoted.
    async fn look(&mut self, arena: &Arena, symbol: &str) {
        let age = arena.reference(symbol).await.and_then(|row| row["age_ms"].as_u64()).map(Duration::from_millis);
        let quoted = arena.quoted().await;
        if let Some(age) = age.filter(|age| self.is_old && *age <= AGE_MAX) {
            self.broken
                .get_or_insert(format!("{symbol}: nothing was said, and the price is {} ms old", age.as_millis()));
        }
        self.is_old |= age.is_some_and(|age| age > AGE_MAX);
        let (Some(age), Some(quoted)) = (age, quoted) else { return self.unquoted.see(false, Instant::now()) };
        let stands = quoted.iter().any(|name| name == symbol);
        // Others show that somebody quotes at all.
        self.unquoted.see(age > AGE_MAX && !stands && !quoted.is_empty(), Instant::now());
        if let Some(bound) = self.gone_within.filter(|bound| stands && age > AGE_MAX + *bound) {
            self.broken.get_or_insert(format!(
                "{symbol} is quoted on a price that is {} ms old: more than {} ms, and {} ms to pull it",
                age.as_millis(),
                AGE_MAX.as_millis(),
                bound.as_millis()
            ));
        }
    }
}

impl Fault for DeadFeed {
    fn kind(&self) -> Kind {
        Kind::FeedDies
    }

    fn start<'a>(&'a mut self, arena: &'a mut Arena) -> Step<'a, String> {
        Box::pin(async {
            arena.scene().await.prices()?;
            arena.hears_the_feed(true).await?;
            arena.feeder.spoil(Ailment::Silent);
            self.symbol = Some(arena.fed());
            Ok(format!("the feed of {}", arena.fed()))
        })
    }

    fn happened<'a>(&'a mut self, arena: &'a mut Arena) -> Step<'a, Happened> {
        Box::pin(async {
            if let Some(symbol) = self.symbol {
                self.look(arena, symbol).await;
            }
            if let Some(broken) = &self.broken {
                anyhow::bail!("{broken}");
            }
            let amount = u64::try_from(self.unquoted.total(UNQUOTED_MIN).as_millis())?;
            Ok(Happened { amount, of: "ms without a quote on a price that is too old" })
        })
    }

    fn heal<'a>(&'a mut self, arena: &'a mut Arena) -> Step<'a, ()> {
        Box::pin(async {
            if self.symbol.take().is_some() {
                arena.feeder.mend();
            }
            Ok(())
        })
    }
}

/// How long something was so, at looks of which each found it so.
#[derive(Debug, Default)]
struct Lasted {
    /// The first and the last of the looks that found it so, while it lasts.
    now: Option<(Instant, Instant)>,
    /// Each time before that.
    before: Vec<Duration>,
}

impl Lasted {
    fn see(&mut self, is_so: bool, at: Instant) {
        match (is_so, self.now) {
            (true, None) => self.now = Some((at, at)),
            (true, Some((first, _))) => self.now = Some((first, at)),
            (false, Some((first, last))) => {
                self.before.push(last - first);
                self.now = None;
            }
            (false, None) => {}
        }
    }

    /// All times together that were not shorter than `least`.
    fn total(&self, least: Duration) -> Duration {
        let now = self.now.map(|(first, last)| last - first);
        self.before.iter().copied().chain(now).filter(|lasted| *lasted >= least).sum()
    }
}

/// The feed says what cannot be a price; healing lets it say again what it means.
///
/// It is measured by refusals that the exchange both gave and counted. What is taken is an error, and so is a price that
/// is not the last good one, or that does not age.
#[derive(Debug)]
pub struct BadFeed {
    kind: Kind,
    ailment: Ailment,
    symbol: Option<&'static str>,
    /// What the exchange counted: at the last look, and in all since it began. Its counter begins anew with its process.
    counted: (u64, u64),
    amount: u64,
    /// The exchange's registration when it began.
    epoch: u64,
    stands: Option<Standing>,
    /// What is wrong with the price that stands.
    broken: Option<String>,
}

/// The price that stands, as the exchange tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Standing {
    epoch: u64,
    seq: u64,
    half_ticks: i64,
    age_ms: u64,
}

impl Standing {
    async fn at(arena: &Arena, symbol: &str) -> Option<Self> {
        Self::of(&arena.reference(symbol).await?)
    }

    fn of(row: &Value) -> Option<Self> {
        let number = |name: &str| row[name].as_u64();
        Some(Self {
            epoch: number("exchange_epoch")?,
            seq: number("seq")?,
            half_ticks: row["price_half_ticks"].as_i64()?,
            age_ms: number("age_ms")?,
        })
    }

    /// Whether it is the same as before, and not younger.
    fn is_still(&self, before: &Self) -> bool {
        (self.seq, self.half_ticks) == (before.seq, before.half_ticks) && self.age_ms >= before.age_ms
    }
}

impl BadFeed {
    /// With this ailment.
    #[must_use]
    pub fn new(kind: Kind, ailment: Ailment) -> Self {
        Self { kind, ailment, symbol: None, counted: (0, 0), amount: 0, epoch: 0, stands: None, broken: None }
    }

    /// As the exchange counts it, by its reason.
    async fn count(&self, arena: &Arena) -> Option<u64> {
        let reason = if self.ailment == Ailment::Crossed { "crossed" } else { "not_positive" };
        let labels = format!("symbol=\"{}\",source=\"external\",reason=\"{reason}\"", arena.fed());
        arena.exchange_metric(&format!("quorate_exchange_reference_dropped_total{{{labels}}}")).await
    }

    async fn look(&mut self, arena: &Arena, symbol: &str) -> Result<()> {
        let refused = arena.feeder.refused()?;
        // An exchange that does not answer is asked again at the next look.
        if let Some(count) = self.count(arena).await {
            let (last, all) = self.counted;
            self.counted = (count, all + count.checked_sub(last).unwrap_or(count));
        }
        self.amount = refused.min(self.counted.1);
        // What was meant has come to an end with the first refusal.
        if self.amount > 0
            && let Some(now) = Standing::at(arena, symbol).await
        {
            self.see(now, arena.feeder.may_stand());
        }
        Ok(())
    }

    /// Holds what stands now against what may stand, in ticks.
    fn see(&mut self, now: Standing, mut may_stand: Vec<i64>) {
        if now.epoch != self.epoch {
            // Of a registration since, and so perhaps of another process, that was told nothing.
            may_stand.push(START_TICKS);
        }
        let meant = may_stand.iter().any(|ticks| 2 * ticks == now.half_ticks);
        let before = self.stands.filter(|before| before.epoch == now.epoch);
        if !meant || !before.is_none_or(|before| now.is_still(&before)) {
            let what = format!("{now:?} stands after {before:?}, where {may_stand:?} ticks were meant last");
            self.broken.get_or_insert(what);
        }
        self.stands = Some(now);
    }
}

impl Fault for BadFeed {
    fn kind(&self) -> Kind {
        self.kind
    }

    fn start<'a>(&'a mut self, arena: &'a mut Arena) -> Step<'a, String> {
        Box::pin(async {
            arena.scene().await.tells()?;
            arena.hears_the_feed(false).await?;
            let count = self.count(arena).await.context("the exchange tells no count of what it refused")?;
            let stands = Standing::at(arena, arena.fed()).await.context("the exchange tells no price of the feed")?;
            (self.counted, self.epoch) = ((count, 0), stands.epoch);
            arena.feeder.spoil(self.ailment);
            self.symbol = Some(arena.fed());
            Ok(format!("the feed of {}", arena.fed()))
        })
    }

    fn happened<'a>(&'a mut self, arena: &'a mut Arena) -> Step<'a, Happened> {
        Box::pin(async {
            if let Some(symbol) = self.symbol {
                self.look(arena, symbol).await?;
            }
            ensure!(self.broken.is_none(), "{}", self.broken.as_deref().unwrap_or_default());
            Ok(Happened { amount: self.amount, of: "updates refused and counted" })
        })
    }

    fn heal<'a>(&'a mut self, arena: &'a mut Arena) -> Step<'a, ()> {
        Box::pin(async {
            if self.symbol.take().is_some() {
                arena.feeder.mend();
            }
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_lasts_from_look_to_look_counts() {
        let start = Instant::now();
        let mut lasted = Lasted::default();
        let mut see = |is_so, ms: u64| {
            lasted.see(is_so, start + Duration::from_millis(ms));
            lasted.total(UNQUOTED_MIN).as_millis()
        };
        // A moment between two quotes.
        assert_eq!([see(true, 0), see(true, 100), see(false, 200), see(true, 900)], [0; 4]);
        assert_eq!([see(true, 1_800), see(true, 1_900), see(true, 2_400)], [0, 1_000, 1_500]);
        // It was seen to last only until the last look that found it so.
        assert_eq!([see(false, 3_000), see(true, 3_100), see(true, 4_100)], [1_500, 1_500, 2_500]);
    }

    #[test]
    fn what_stands_is_the_last_good_price_and_ages() {
        let stands = Standing { epoch: 3, seq: 7, half_ticks: 20_040, age_ms: 400 };
        let breaks = |seen: &[Standing]| {
            let mut fault = BadFeed { epoch: 3, ..BadFeed::new(Kind::FeedZero, Ailment::Zero) };
            seen.iter().for_each(|now| fault.see(*now, vec![10_020, 10_021]));
            fault.broken.is_some()
        };
        let older = Standing { age_ms: 500, ..stands };
        assert!(!breaks(&[stands, stands, older]));
        assert!(breaks(&[older, stands]), "what was refused is no sign of life");
        assert!(breaks(&[stands, Standing { seq: 8, ..older }]), "nor a change");
        assert!(breaks(&[stands, Standing { half_ticks: 20_042, ..older }]), "nor is its price another one");
        // One of an update that was not answered; what was never meant; what an exchange begins with.
        let of = |epoch, half_ticks| Standing { epoch, half_ticks, ..stands };
        assert!(!breaks(&[of(3, 20_042)]));
        for wrong in [0, 10_020, 20_006, 20_041, 25_050] {
            assert!(breaks(&[of(3, wrong)]) && breaks(&[of(4, wrong)]), "{wrong}");
        }
        assert!(breaks(&[of(3, 20_000)]) && !breaks(&[of(4, 20_000)]) && !breaks(&[stands, of(4, 20_000)]));
    }
}
