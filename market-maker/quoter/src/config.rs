//! What a quoter is told at its start.

use std::{collections::BTreeMap, time::Duration};

use quorate_domain::{MakerName, Symbol};
use quorate_ledger::{
    Secret,
    bounds::{LEASE_TTL_MAX_MS, LEASE_TTL_MIN_MS, QUOTE_TTL_MAX_MS, QUOTE_TTL_MIN_MS},
};
use quorate_strategy::FixedSpread;

/// Part of the margin by which a belief ends before its lease, whatever the lease's length: two clocks
/// on two machines never agree to the millisecond.
const MARGIN_BASE: Duration = Duration::from_millis(100);
/// The rest of the margin is this part of the lease: drift grows with the time that passes.
const MARGIN_PART: u32 = 10;

/// How far from what is wanted a quote may stand unless something else is asked for, in ticks.
pub const TOLERANCE_TICKS: i64 = 2;

/// A quoter's configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// The maker's lasting name.
    pub maker: MakerName,
    /// What shows that its commands are its own: nobody else may know it.
    pub secret: Secret,
    /// The lease asked for, in `LEASE_TTL_MIN_MS..=LEASE_TTL_MAX_MS` milliseconds.
    pub lease_ttl_ms: u64,
    /// The life asked for each quote, in `QUOTE_TTL_MIN_MS..=QUOTE_TTL_MAX_MS` milliseconds.
    pub quote_ttl_ms: u64,
    /// A quote is kept or replaced when it is this old, whatever else happens; or when half of its life is over, where that is sooner.
    pub refresh: Duration,
    /// A quote is replaced when a price of it is farther than this from the one that is wanted now, and whatever the tolerance when its
    /// bid is above the reference price or its ask below it. In ticks.
    pub tolerance_ticks: i64,
    /// A reference price whose source has not confirmed it for so long is not quoted on: the quote is pulled.
    pub reference_age_max: Duration,
    /// How symbols are priced.
    pub pricing: FixedSpread,
    /// How single symbols are priced instead.
    pub pricing_overrides: BTreeMap<Symbol, FixedSpread>,
}

/// Why a configuration is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: must be between {min} and {max}")]
pub struct InvalidConfig {
    /// The field.
    pub field: &'static str,
    /// The lowest value accepted.
    pub min: u64,
    /// The highest.
    pub max: u64,
}

impl Config {
    /// The defaults: a lease of 9 s (three times the worst failover), quotes of 30 s confirmed every 4 s, a tolerance of
    /// [`TOLERANCE_TICKS`].
    #[must_use]
    pub fn new(maker: MakerName, secret: Secret, pricing: FixedSpread) -> Self {
        Self {
            maker,
            secret,
            lease_ttl_ms: 9_000,
            quote_ttl_ms: 30_000,
            refresh: Duration::from_secs(4),
            tolerance_ticks: TOLERANCE_TICKS,
            reference_age_max: Duration::from_secs(5),
            pricing,
            pricing_overrides: BTreeMap::new(),
        }
    }

    /// Checks every field.
    ///
    /// # Errors
    /// [`InvalidConfig`] names the first field that is out of its range.
    pub fn check(&self) -> Result<(), InvalidConfig> {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let fields = [
            ("lease_ttl_ms", self.lease_ttl_ms, LEASE_TTL_MIN_MS, LEASE_TTL_MAX_MS),
            ("quote_ttl_ms", self.quote_ttl_ms, QUOTE_TTL_MIN_MS, QUOTE_TTL_MAX_MS),
            ("refresh_ms", millis(self.refresh), 50, 5_000),
            ("reference_age_max_ms", millis(self.reference_age_max), 100, 60_000),
            (
                "tolerance_ticks",
                u64::try_from(self.tolerance_ticks).unwrap_or(u64::MAX),
                0,
                quorate_domain::MAX_PRICE.unsigned_abs(),
            ),
        ];
        match fields.into_iter().find(|(_, value, min, max)| !(min..=max).contains(&value)) {
            Some((field, _, min, max)) => Err(InvalidConfig { field, min, max }),
            None => Ok(()),
        }
    }

    /// How `symbol` is priced.
    #[must_use]
    pub fn pricing(&self, symbol: &Symbol) -> &FixedSpread {
        self.pricing_overrides.get(symbol).unwrap_or(&self.pricing)
    }

    /// The lease's length.
    #[must_use]
    pub fn lease_ttl(&self) -> Duration {
        Duration::from_millis(self.lease_ttl_ms)
    }

    /// After how long a quote is kept or replaced, whatever else happens. Before it expires: where it has ended, its symbol has lost its
    /// share of the exposure until the others quote again.
    #[must_use]
    pub fn confirmed_after(&self) -> Duration {
        self.refresh.min(Duration::from_millis(self.quote_ttl_ms / 2))
    }

    /// How long a belief lasts from the moment of sending the renewal: the lease less the margin.
    #[must_use]
    pub fn belief(&self) -> Duration {
        let ttl = self.lease_ttl();
        ttl.saturating_sub(ttl / MARGIN_PART + MARGIN_BASE)
    }

    /// A wake-up later than asked by more than this is a pause.
    #[must_use]
    pub fn pause(&self) -> Duration {
        self.lease_ttl() / 3
    }
}
