//! A live maker's configuration: flags, then environment, then defaults. What comes out of
//! [`LiveSettings::resolve`] is checked; a bad value is refused with the name of its field.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use quorate_domain::{MakerName, Symbol};
use quorate_ledger::Secret;
use quorate_quoter::{Config, TOLERANCE_TICKS};
use quorate_strategy::FixedSpread;

/// Symbols priced on their own at most.
const OVERRIDES_MAX: usize = 1_024;

/// A live maker's settings as they are given.
#[derive(Debug, Clone, clap::Args)]
pub struct LiveSettings {
    /// Lasting name of this maker: 1 to 32 letters, digits, '_', '-' or '.'
    #[arg(long, env = "QUORATE_MAKER_NAME")]
    pub name: MakerName,
    /// Where the ledger's nodes serve clients, separated by commas
    #[arg(
        long,
        env = "QUORATE_ENDPOINTS",
        value_name = "URLS",
        value_delimiter = ',',
        default_value = "http://127.0.0.1:7101,http://127.0.0.1:7102,http://127.0.0.1:7103"
    )]
    pub ledger_endpoints: Vec<String>,
    /// Where the exchange serves its reference prices
    #[arg(long, env = "QUORATE_EXCHANGE_URL", value_name = "URL", default_value = "http://127.0.0.1:7200")]
    pub exchange: String,
    /// Name of the cluster; a node of another one is refused
    #[arg(long, env = "QUORATE_CLUSTER_ID")]
    pub cluster_id: Option<String>,
    /// Length of the lease on what this maker holds, 500 to 60000; at least 3 times the worst failover
    #[arg(long, env = "QUORATE_LEASE_TTL_MS", value_name = "MS", default_value_t = 9_000)]
    pub lease_ttl_ms: u64,
    /// Life of a quote, 100 to 30000
    #[arg(long, env = "QUORATE_QUOTE_TTL_MS", value_name = "MS", default_value_t = 30_000)]
    pub quote_ttl_ms: u64,
    /// A quote is confirmed when it is this old, 50 to 5000: kept where nothing changed, replaced otherwise
    #[arg(long, env = "QUORATE_REFRESH_MS", value_name = "MS", default_value_t = 4_000)]
    pub refresh_ms: u64,
    /// A quote is replaced when a price of it is farther than this from the one that is wanted now, and in any case when its bid is
    /// above the reference price or its ask below it
    #[arg(long, env = "QUORATE_TOLERANCE_TICKS", value_name = "TICKS", default_value_t = TOLERANCE_TICKS)]
    pub tolerance_ticks: i64,
    /// A reference price whose source has not confirmed it for so long is not quoted on: the quote is pulled, 100 to 60000
    #[arg(long, env = "QUORATE_REFERENCE_AGE_MAX_MS", value_name = "MS", default_value_t = 5_000)]
    pub reference_age_max_ms: u64,
    /// Distance of bid and ask from the reference price, without a position
    #[arg(long, env = "QUORATE_HALF_SPREAD_TICKS", value_name = "TICKS", default_value_t = 5)]
    pub half_spread_ticks: i64,
    /// Lots asked for on each side
    #[arg(long, env = "QUORATE_ORDER_QTY", value_name = "LOTS", default_value_t = 10)]
    pub order_qty: i64,
    /// How far both prices move against the position: at the largest position by this share of the half spread, 0 to 100
    #[arg(long, env = "QUORATE_SKEW_PERCENT", value_name = "PERCENT", default_value_t = 0)]
    pub skew_percent: i64,
    /// Largest position, either way
    #[arg(long, env = "QUORATE_MAX_POSITION", value_name = "LOTS", default_value_t = 1_000)]
    pub max_position: i64,
    /// One symbol priced on its own, as SYMBOL=HALF_SPREAD:ORDER_QTY:SKEW_PERCENT:MAX_POSITION; may stand several times
    #[arg(long, env = "QUORATE_PRICING", value_name = "PRICING", value_delimiter = ',')]
    pub pricing: Vec<String>,
    /// File to which is appended what this maker believed to hold, and when
    #[arg(long, env = "QUORATE_BELIEF_JOURNAL", value_name = "FILE")]
    pub belief_journal: Option<PathBuf>,
}

/// A live maker's checked configuration.
#[derive(Debug, Clone)]
pub struct LiveConfig {
    /// What the loop is told.
    pub quoter: Config,
    /// Where the ledger's nodes serve clients.
    pub ledger_endpoints: Vec<String>,
    /// The cluster's name.
    pub cluster_id: Option<String>,
    /// `http://host:port` of the exchange.
    pub exchange: String,
}

/// Why a configuration is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("--{field}: {what}")]
pub struct ConfigError {
    /// The field, as in the flags.
    pub field: String,
    /// What is wrong with it.
    pub what: String,
}

fn wrong(field: &str, what: impl Into<String>) -> ConfigError {
    ConfigError { field: field.replace('_', "-"), what: what.into() }
}

impl LiveSettings {
    /// Checks every field. `secret` is what the maker shows that its commands are its own: [`new_secret`](crate::new_secret).
    ///
    /// # Errors
    /// [`ConfigError`] names the first field that is wrong.
    pub fn resolve(&self, secret: Secret) -> Result<LiveConfig, ConfigError> {
        let pricing = FixedSpread::new(self.half_spread_ticks, self.order_qty, self.skew_percent, self.max_position)
            .map_err(|error| wrong(error.field, error.to_string()))?;
        if self.pricing.len() > OVERRIDES_MAX {
            return Err(wrong("pricing", format!("at most {OVERRIDES_MAX}")));
        }
        let overrides: BTreeMap<Symbol, FixedSpread> =
            self.pricing.iter().map(|text| parse_pricing(text)).collect::<Result<_, _>>()?;
        let quoter = Config {
            lease_ttl_ms: self.lease_ttl_ms,
            quote_ttl_ms: self.quote_ttl_ms,
            refresh: Duration::from_millis(self.refresh_ms),
            tolerance_ticks: self.tolerance_ticks,
            reference_age_max: Duration::from_millis(self.reference_age_max_ms),
            pricing_overrides: overrides,
            ..Config::new(self.name.clone(), secret, pricing)
        };
        quoter
            .check()
            .map_err(|error| wrong(error.field, format!("must be between {} and {}", error.min, error.max)))?;
        let exchange: Option<http::Uri> = self.exchange.parse().ok();
        if !exchange.is_some_and(|uri| uri.scheme_str() == Some("http") && matches!(uri.path(), "" | "/")) {
            return Err(wrong("exchange", format!("'{}' is not http://host:port", self.exchange)));
        }
        Ok(LiveConfig {
            quoter,
            ledger_endpoints: self.ledger_endpoints.clone(),
            cluster_id: self.cluster_id.clone(),
            exchange: self.exchange.clone(),
        })
    }
}

fn parse_pricing(text: &str) -> Result<(Symbol, FixedSpread), ConfigError> {
    let form = || wrong("pricing", format!("'{text}' is not SYMBOL=HALF_SPREAD:ORDER_QTY:SKEW_PERCENT:MAX_POSITION"));
    let (symbol, figures) = text.trim().split_once('=').ok_or_else(form)?;
    let symbol: Symbol = symbol.parse().map_err(|error| wrong("pricing", format!("{error}")))?;
    let figures: Vec<i64> =
        figures.split(':').map(|figure| figure.parse().map_err(|_| form())).collect::<Result<_, _>>()?;
    let [half_spread, order_qty, skew, max_position] = figures[..] else { return Err(form()) };
    let pricing = FixedSpread::new(half_spread, order_qty, skew, max_position)
        .map_err(|error| wrong("pricing", format!("{symbol}: {error}")))?;
    Ok((symbol, pricing))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        settings: LiveSettings,
    }

    fn resolve(flags: &[&str]) -> Result<LiveConfig, ConfigError> {
        let flags = [&["maker", "--name", "alpha"], flags].concat();
        Cli::try_parse_from(flags).unwrap().settings.resolve(Secret([7; 32]))
    }

    #[test]
    fn defaults_are_those_of_production() {
        let config = resolve(&[]).unwrap();
        assert_eq!((config.quoter.lease_ttl_ms, config.quoter.quote_ttl_ms), (9_000, 30_000));
        assert!(config.quoter.refresh < Duration::from_secs(5));
    }

    #[test]
    fn a_bad_value_is_refused_with_the_name_of_its_field() {
        let refusals = [
            (["--lease-ttl-ms", "10"], "lease-ttl-ms"),
            (["--quote-ttl-ms", "40000"], "quote-ttl-ms"),
            (["--refresh-ms", "5001"], "refresh-ms"),
            (["--half-spread-ticks", "0"], "half-spread-ticks"),
            (["--order-qty", "0"], "order-qty"),
            (["--max-position=-1", "--order-qty=1"], "max-position"),
            // A skew beyond the half spread would buy above the reference price and sell below it.
            (["--skew-percent", "101"], "skew-percent"),
            (["--skew-percent=-1", "--order-qty=1"], "skew-percent"),
            (["--reference-age-max-ms", "1"], "reference-age-max-ms"),
            (["--exchange", "ftp://x"], "exchange"),
            (["--pricing", "A=1:2:3"], "pricing"),
            (["--pricing", "A=0:2:3:4"], "pricing"),
            (["--pricing", "A=1:2:101:4"], "pricing"),
            (["--pricing", "a=1:2:3:4"], "pricing"),
        ];
        for (flags, field) in refusals {
            let error = resolve(&flags).map(|_| ()).unwrap_err();
            assert_eq!(error.field, field);
            assert!(error.to_string().starts_with(&format!("--{field}: ")), "{error}");
        }
    }

    /// The defaults, the demo's flags and the tests' flags.
    #[test]
    fn what_people_use_is_accepted() {
        for flags in [
            &[][..],
            &["--order-qty", "60", "--skew-percent", "50"],
            &["--half-spread-ticks", "5", "--order-qty", "60", "--skew-percent", "100", "--max-position", "60"],
            &["--pricing", "BTCUSDT=20:100:75:200"],
        ] {
            assert!(resolve(flags).is_ok(), "{flags:?}");
        }
    }

    #[test]
    fn one_symbol_can_be_priced_on_its_own() {
        let config = resolve(&["--pricing", "A=1:2:3:4,B=2:2:2:2"]).unwrap();
        let own = FixedSpread::new(1, 2, 3, 4).unwrap();
        assert_eq!(config.quoter.pricing(&"A".parse().unwrap()), &own);
        assert_eq!(config.quoter.pricing(&"C".parse().unwrap()), &config.quoter.pricing);
    }
}
