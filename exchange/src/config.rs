//! The exchange's configuration: flags, then environment, then a TOML file, then defaults. What comes out of
//! [`Settings::resolve`] is checked; a bad value is refused with the name of its field.

use std::{fmt::Display, net::SocketAddr, path::PathBuf, time::Duration};

use quorate_binance_api::{model::SelfTradePrevention, signing::Secret};
use quorate_domain::{ExchangeName, Money};
use quorate_ledger::bounds::ORDER_DEADLINE_MAX_MS;
use serde::Deserialize;

use crate::{
    accounts::Accounts,
    malformed::{Malformed, malformed},
    reference::SourceSpec,
};

/// Room for the error of the log time that is estimated here, in ms.
const LOG_TIME_ERROR_MS: u64 = 10_000;

/// The exchange's checked configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where orders are taken.
    pub listen: SocketAddr,
    /// The nodes.
    pub ledger_endpoints: Vec<String>,
    /// The cluster that is meant.
    pub cluster_id: Option<String>,
    /// The exchange's lasting name.
    pub name: ExchangeName,
    /// Where reference prices come from.
    pub references: Vec<SourceSpec>,
    /// Whose requests are taken, which must be signed; `None` takes unsigned ones, of anybody.
    pub accounts: Option<Accounts>,
    /// What happens where an order that does not say so meets one of its own account.
    pub self_trade: SelfTradePrevention,
    /// Life of an order until it must be executed, in ms of log time.
    pub order_deadline_ms: u64,
    /// How long a caller is kept waiting before it hears *unknown*.
    pub patience: Duration,
    /// Executions in flight at most.
    pub in_flight: usize,
    /// Orders waiting or in flight at most.
    pub queue: usize,
    /// Connections at most.
    pub max_connections: usize,
    /// The least price x quantity of an order.
    pub min_notional: Money,
    /// How far above the reference price a buy may lie, and below it a sell, in percent.
    pub price_band: u32,
    /// Whether failpoints are there.
    pub fault_injection: bool,
    /// Failpoints armed at the start.
    pub failpoints: String,
}

/// The account of requests that name none, and of the one key that flags give.
pub const DEFAULT_ACCOUNT: &str = "default";

/// The same as it is given: every field may be missing. Flags, environment and file share this shape.
#[derive(Clone, Default, Deserialize, clap::Args)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Settings {
    /// TOML file with any of these settings, in kebab-case; flags and environment go before it
    #[arg(long, env = "QUORATE_EXCHANGE_CONFIG", value_name = "FILE")]
    #[serde(skip)]
    pub config: Option<PathBuf>,
    /// Address on which orders are taken [default: 127.0.0.1:7200]
    #[arg(long, env = "QUORATE_EXCHANGE_LISTEN", value_name = "IP:PORT")]
    pub listen: Option<SocketAddr>,
    /// Where the ledger's nodes serve clients, as http://host:port, separated by commas
    /// [default: http://127.0.0.1:7101,http://127.0.0.1:7102,http://127.0.0.1:7103]
    #[arg(long, env = "QUORATE_ENDPOINTS", value_name = "URLS", value_delimiter = ',')]
    pub ledger_endpoints: Option<Vec<String>>,
    /// Name of the cluster that is meant; a node of another one is refused
    #[arg(long, env = "QUORATE_CLUSTER_ID")]
    pub cluster_id: Option<String>,
    /// Lasting name of this exchange: 1 to 32 letters, digits, '_', '-' or '.' [default: exchange]
    #[arg(long, env = "QUORATE_EXCHANGE_NAME")]
    pub name: Option<String>,
    /// Reference prices: static:SYM=PRICE,.. walk:SEED,SYM=PRICE,.. capture:FILE,SYM or capture:FILE,SYM,SPEED
    /// external:SYM=PRICE,.. or own:SYM,..
    ///
    /// External ones are set by PUT /v1/reference-prices/SYM; before the first, nobody quotes on PRICE. An own one is the
    /// middle of the exchange's own book. May stand several times, each for its own symbols (in the environment separated
    /// by ';').
    #[arg(long, env = "QUORATE_REFERENCE", value_name = "SOURCE", value_delimiter = ';')]
    pub reference: Option<Vec<String>>,
    /// TOML file of accounts and their API keys; with it requests must be signed
    #[arg(long, env = "QUORATE_ACCOUNTS", value_name = "FILE")]
    pub accounts: Option<PathBuf>,
    /// API key that requests must carry; with it they must be signed, and all are of one account, 'default'
    #[arg(long, env = "QUORATE_API_KEY", value_name = "KEY")]
    pub api_key: Option<String>,
    /// Secret of the API key
    #[arg(long, env = "QUORATE_API_SECRET", value_name = "SECRET", hide_env_values = true)]
    pub api_secret: Option<Secret>,
    /// Life of an order until it must be executed, in ms of log time, 100 to 50000 [default: 5000]
    #[arg(long, env = "QUORATE_ORDER_DEADLINE_MS", value_name = "MS")]
    pub order_deadline_ms: Option<u64>,
    /// How long a caller waits before it hears that its order's outcome is unknown, 10 to 60000 [default: 3000]
    #[arg(long, env = "QUORATE_PATIENCE_MS", value_name = "MS")]
    pub patience_ms: Option<u64>,
    /// Executions in flight at most, 1 to 100 [default: 32]
    #[arg(long, env = "QUORATE_EXCHANGE_IN_FLIGHT", value_name = "ORDERS")]
    pub in_flight: Option<u64>,
    /// Orders waiting or in flight at most, 1 to 65536 [default: 4096]
    #[arg(long, env = "QUORATE_EXCHANGE_QUEUE", value_name = "ORDERS")]
    pub queue: Option<u64>,
    /// Connections at most, 1 to 65536 [default: 1024]
    #[arg(long, env = "QUORATE_MAX_CONNECTIONS", value_name = "CONNECTIONS")]
    pub max_connections: Option<u64>,
    /// Least price x quantity of an order, in units of the quote currency [default: 0.00001]
    #[arg(long, env = "QUORATE_MIN_NOTIONAL", value_name = "AMOUNT")]
    pub min_notional: Option<String>,
    /// How far above the reference price a buy may lie, and below it a sell, in percent, 1 to 90 [default: 10]
    #[arg(long, env = "QUORATE_PRICE_BAND", value_name = "PERCENT")]
    pub price_band: Option<u64>,
    /// Offer failpoints: for tests, never for production
    #[arg(long, env = "QUORATE_FAULT_INJECTION", num_args = 0..=1, default_missing_value = "true")]
    pub fault_injection: Option<bool>,
    /// Failpoints armed at the start, as name=crash or name=error, separated by ';' (needs --fault-injection):
    /// exchange.before_propose, exchange.after_commit
    #[arg(long, env = "QUORATE_FAILPOINTS", value_name = "POINTS")]
    pub failpoints: Option<String>,
}

/// Why a configuration is refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("config: cannot read {path}: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not TOML of this shape. The parser's own words show the line, and that may be a secret: they are left out.
    #[error("config: {path}, line {line}, {field}: {what}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What stands there before the '='.
        field: String,
        /// What is wrong with it.
        what: String,
    },
    /// A field is out of its range.
    #[error("{field}: {what}")]
    Field {
        /// The field's name, as in the file.
        field: &'static str,
        /// What is wrong with it.
        what: String,
    },
}

fn wrong(field: &'static str, what: impl Display) -> ConfigError {
    ConfigError::Field { field, what: what.to_string() }
}

impl Settings {
    /// Reads the file, where one is named, fills the gaps from it and from the defaults, and checks.
    ///
    /// # Errors
    /// [`ConfigError`] names the first field that is wrong.
    pub fn resolve(self) -> Result<Config, ConfigError> {
        let file = match &self.config {
            None => Self::default(),
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .map_err(|source| ConfigError::Unreadable { path: path.clone(), source })?;
                toml::from_str(&text).map_err(|error| {
                    let Malformed { line, field, what } = malformed(&text, &error);
                    ConfigError::Malformed { path: path.clone(), line, field, what }
                })?
            }
        };
        self.or(file).check()
    }

    fn or(self, file: Self) -> Self {
        Self {
            config: self.config,
            listen: self.listen.or(file.listen),
            ledger_endpoints: self.ledger_endpoints.or(file.ledger_endpoints),
            cluster_id: self.cluster_id.or(file.cluster_id),
            name: self.name.or(file.name),
            reference: self.reference.or(file.reference),
            accounts: self.accounts.or(file.accounts),
            api_key: self.api_key.or(file.api_key),
            api_secret: self.api_secret.or(file.api_secret),
            order_deadline_ms: self.order_deadline_ms.or(file.order_deadline_ms),
            patience_ms: self.patience_ms.or(file.patience_ms),
            in_flight: self.in_flight.or(file.in_flight),
            queue: self.queue.or(file.queue),
            max_connections: self.max_connections.or(file.max_connections),
            min_notional: self.min_notional.or(file.min_notional),
            price_band: self.price_band.or(file.price_band),
            fault_injection: self.fault_injection.or(file.fault_injection),
            failpoints: self.failpoints.or(file.failpoints),
        }
    }

    fn check(self) -> Result<Config, ConfigError> {
        let fault_injection = self.fault_injection.unwrap_or(false);
        let failpoints = self.failpoints.unwrap_or_default();
        if !fault_injection && !failpoints.is_empty() {
            return Err(wrong("failpoints", "need fault-injection"));
        }
        let text = |given: Option<String>, default: &str| given.unwrap_or_else(|| default.to_owned());
        let min_notional: Money =
            text(self.min_notional, "0.00001").parse().map_err(|error| wrong("min-notional", error))?;
        if min_notional <= Money::ZERO {
            return Err(wrong("min-notional", "must be above 0"));
        }
        let references: Result<_, _> = self.reference.unwrap_or_default().iter().map(|text| text.parse()).collect();
        let deadline_max = ORDER_DEADLINE_MAX_MS - LOG_TIME_ERROR_MS;
        let patience_ms = ranged("patience-ms", self.patience_ms, 3_000, 10, 60_000)?;
        let accounts = accounts(self.accounts, self.api_key, self.api_secret)?;
        // Behind a name that anybody may use stand many traders, and they trade with each other.
        let self_trade = if accounts.is_some() { SelfTradePrevention::ExpireMaker } else { SelfTradePrevention::None };
        Ok(Config {
            self_trade,
            listen: self.listen.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 7200))),
            ledger_endpoints: self
                .ledger_endpoints
                .unwrap_or_else(|| (7101..=7103).map(|port| format!("http://127.0.0.1:{port}")).collect()),
            cluster_id: self.cluster_id,
            name: text(self.name, "exchange").parse().map_err(|error| wrong("name", error))?,
            references: references.map_err(|error| wrong("reference", error))?,
            accounts,
            order_deadline_ms: ranged("order-deadline-ms", self.order_deadline_ms, 5_000, 100, deadline_max)?,
            patience: Duration::from_millis(patience_ms),
            in_flight: count("in-flight", self.in_flight, 32, 100)?,
            queue: count("queue", self.queue, 4_096, 65_536)?,
            max_connections: count("max-connections", self.max_connections, 1_024, 65_536)?,
            min_notional,
            price_band: u32::try_from(ranged("price-band", self.price_band, 10, 1, 90)?)
                .map_err(|error| wrong("price-band", error))?,
            fault_injection,
            failpoints,
        })
    }
}

fn accounts(
    file: Option<PathBuf>,
    key: Option<String>,
    secret: Option<Secret>,
) -> Result<Option<Accounts>, ConfigError> {
    match (file, key, secret) {
        (None, None, None) => Ok(None),
        (Some(file), None, None) => Accounts::read(&file).map(Some).map_err(|error| wrong("accounts", error)),
        (Some(_), ..) => Err(wrong("accounts", "the file has the keys: api-key and api-secret cannot stand beside it")),
        (None, Some(key), Some(secret)) if !key.is_empty() && !secret.is_empty() => {
            let account = DEFAULT_ACCOUNT.parse().map_err(|error| wrong("api-key", error))?;
            Ok(Some(Accounts::one(account, key, secret)))
        }
        (None, Some(_), None) => Err(wrong("api-secret", "is required with api-key")),
        (None, None, Some(_)) => Err(wrong("api-key", "is required with api-secret")),
        (None, Some(_), Some(_)) => Err(wrong("api-key", "neither key nor secret may be empty")),
    }
}

fn ranged(field: &'static str, given: Option<u64>, default: u64, low: u64, high: u64) -> Result<u64, ConfigError> {
    match given.unwrap_or(default) {
        value if (low..=high).contains(&value) => Ok(value),
        value => Err(wrong(field, format!("{value} is not between {low} and {high}"))),
    }
}

fn count(field: &'static str, given: Option<u64>, default: u64, high: u64) -> Result<usize, ConfigError> {
    let value = ranged(field, given, default, 1, high)?;
    usize::try_from(value).map_err(|error| wrong(field, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(settings: Settings) -> String {
        settings.resolve().map(|_| ()).expect_err("refused").to_string()
    }

    #[test]
    fn defaults_fill_what_is_not_given() {
        let config = Settings::default().resolve().expect("valid");
        assert_eq!((config.order_deadline_ms, config.in_flight, config.queue), (5_000, 32, 4_096));
        assert_eq!(config.ledger_endpoints.len(), 3);
        assert!(config.accounts.is_none());
    }

    #[test]
    fn a_bad_value_is_refused_with_the_name_of_its_field() {
        let plain = Settings::default;
        let refusals = [
            (Settings { name: Some("a b".into()), ..plain() }, "name"),
            (Settings { reference: Some(vec!["walk:BTCUSDT".into()]), ..plain() }, "reference"),
            (Settings { api_key: Some("k".into()), ..plain() }, "api-secret"),
            (Settings { api_secret: Some("s".into()), ..plain() }, "api-key"),
            (Settings { api_key: Some("k".into()), api_secret: Some("".into()), ..plain() }, "api-key"),
            (Settings { accounts: Some("/nowhere".into()), ..plain() }, "accounts"),
            (Settings { accounts: Some("/nowhere".into()), api_key: Some("k".into()), ..plain() }, "accounts"),
            (Settings { order_deadline_ms: Some(99), ..plain() }, "order-deadline-ms"),
            (Settings { order_deadline_ms: Some(50_001), ..plain() }, "order-deadline-ms"),
            (Settings { patience_ms: Some(0), ..plain() }, "patience-ms"),
            (Settings { in_flight: Some(0), ..plain() }, "in-flight"),
            (Settings { queue: Some(65_537), ..plain() }, "queue"),
            (Settings { max_connections: Some(0), ..plain() }, "max-connections"),
            (Settings { min_notional: Some("1e3".into()), ..plain() }, "min-notional"),
            (Settings { min_notional: Some("0".into()), ..plain() }, "min-notional"),
            (Settings { price_band: Some(0), ..plain() }, "price-band"),
            (Settings { price_band: Some(91), ..plain() }, "price-band"),
            (Settings { failpoints: Some("a=crash".into()), ..plain() }, "failpoints"),
        ];
        for (settings, field) in refusals {
            let text = refused(settings);
            assert!(text.starts_with(&format!("{field}:")), "{text}");
        }
    }

    #[test]
    fn a_file_fills_the_gaps_and_unknown_fields_are_refused() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("exchange.toml");
        std::fs::write(&path, "queue = 7\nin-flight = 8\nreference = [\"static:AAA=1\"]\n").expect("written");
        let settings = Settings { config: Some(path.clone()), in_flight: Some(9), ..Settings::default() };
        let config = settings.resolve().expect("valid");
        assert_eq!((config.queue, config.in_flight, config.references.len()), (7, 9, 1));
        std::fs::write(&path, "kueue = 7\n").expect("written");
        assert!(refused(Settings { config: Some(path), ..Settings::default() }).contains("kueue"));
        let nowhere = Settings { config: Some(dir.path().join("none.toml")), ..Settings::default() };
        assert!(refused(nowhere).starts_with("config:"));
    }

    #[test]
    fn a_file_with_a_mistake_shows_no_secret() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("exchange.toml");
        let table = [
            ("queue = 7\napi-secret = \"hush", "line 2, api-secret: is no text, or is not closed"),
            ("api-secret = 1234567", "line 1, api-secret: is no text, or is not closed"),
            ("api-secret = \"hush\"\nqueue = \"many\"", "line 2, queue: "),
            ("api-secret = \"hush\" queue = 7", "line 1, api-secret: is no text, or is not closed"),
            ("kueue = 7", "line 1, kueue: unknown field"),
        ];
        for (text, wanted) in table {
            std::fs::write(&path, text).expect("written");
            let said = refused(Settings { config: Some(path.clone()), ..Settings::default() });
            assert!(said.contains(wanted), "{said}");
            assert!(!said.contains("hush") && !said.contains("1234567"), "{said}");
        }
    }

    #[test]
    fn a_secret_is_never_shown() {
        let settings = Settings { api_key: Some("key".into()), api_secret: Some("hush".into()), ..Settings::default() };
        let shown = format!("{:?}", settings.resolve().expect("valid"));
        assert!(shown.contains("key") && !shown.contains("hush"), "{shown}");
    }
}
