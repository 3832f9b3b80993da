//! What the publisher is told: flags, then environment, then defaults. What comes out of
//! [`Settings::random`] and [`Settings::replay`] is checked; a bad value is refused with the name of its field.

use std::{path::PathBuf, time::Duration};

use quorate_binance_api::signing::{Secret, account_of};
use quorate_domain::{Decimal, Symbol};

/// The account where requests carry no key, and of the one key of an exchange that has no file of accounts.
const DEFAULT_ACCOUNT: &str = "default";

/// Settings that every mode has.
#[derive(Debug, Clone, clap::Args)]
pub struct Settings {
    /// Where the exchange takes orders
    #[arg(long, env = "QUORATE_EXCHANGE_URL", value_name = "URL", default_value = "http://127.0.0.1:7200")]
    pub exchange: String,
    /// API key; without a secret it only names the account
    #[arg(long, env = "QUORATE_API_KEY")]
    pub api_key: Option<String>,
    /// Secret of the API key: requests are signed with it
    #[arg(long, env = "QUORATE_API_SECRET", requires = "api_key", hide_env_values = true)]
    pub api_secret: Option<Secret>,
    /// Account that the exchange has the key for, where requests are signed: it stands in the journal [default: default]
    #[arg(long, env = "QUORATE_ACCOUNT", value_name = "NAME", requires = "api_secret")]
    pub account: Option<String>,
    /// File to which is appended, synced, what is sent and what came of it; an interrupted run goes on from it
    #[arg(long, env = "QUORATE_JOURNAL", value_name = "FILE")]
    pub journal: Option<PathBuf>,
    /// Orders on their way at most, 1 to 1024
    #[arg(long, value_name = "ORDERS", default_value_t = 16)]
    pub in_flight: usize,
    /// Stop after this many orders, those of earlier runs of the same journal included
    #[arg(long, value_name = "ORDERS")]
    pub count: Option<u64>,
    /// Send nothing new after this many seconds, from the start on; what is on its way then is still settled
    #[arg(long)]
    pub seconds: Option<u64>,
    /// Longest wait for one answer, 100 to 60000 ms
    #[arg(long, value_name = "MS", default_value_t = 5_000)]
    pub timeout_ms: u64,
    /// How long an order is tried that cannot be sent or whose outcome is unknown, 1 to 600 s
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub patience_seconds: u64,
    /// Print the summary as one JSON object
    #[arg(long)]
    pub json: bool,
}

/// Settings of generated orders.
#[derive(Debug, Clone, clap::Args)]
pub struct RandomSettings {
    /// Where the orders follow from [default: another one each time; that of the journal, where there is one]
    #[arg(long)]
    pub seed: Option<u64>,
    /// Orders a second on average, above 0 to 100000
    #[arg(long, default_value_t = 50.0)]
    pub rate: f64,
    /// Symbols, separated by commas [default: all of the exchange]
    #[arg(long, value_delimiter = ',')]
    pub symbols: Vec<String>,
    /// Least lots of an order
    #[arg(long, visible_alias = "min-qty", value_name = "LOTS", default_value_t = 1)]
    pub min_lots: i64,
    /// Most lots of an order
    #[arg(long, visible_alias = "max-qty", value_name = "LOTS", default_value_t = 5)]
    pub max_lots: i64,
    /// Share of orders that buy, 0 to 1
    #[arg(long, value_name = "SHARE", default_value_t = 0.5)]
    pub buy_share: f64,
    /// Share of orders that cross: half of them MARKET, half LIMIT IOC; the others rest as LIMIT GTC
    #[arg(long, value_name = "SHARE", default_value_t = 0.8)]
    pub cross_share: f64,
    /// How far beyond the reference price a crossing LIMIT reaches
    #[arg(long, value_name = "TICKS", default_value_t = 50)]
    pub cross_ticks: i64,
    /// How far behind the reference price a resting order stands at most
    #[arg(long, value_name = "TICKS", default_value_t = 50)]
    pub passive_ticks: i64,
    /// Resting orders at most; past this the oldest is taken back, 0 to 5000
    #[arg(long, value_name = "ORDERS", default_value_t = 50)]
    pub resting_max: usize,
}

/// Settings of recorded trades.
#[derive(Debug, Clone, clap::Args)]
pub struct ReplaySettings {
    /// Capture of a combined stream, plain or gzip: `<local_ns> <JSON>` a line. A torn end is the end, with a warning
    #[arg(long, value_name = "FILE")]
    pub capture: PathBuf,
    /// The symbol whose trades are sent
    #[arg(long)]
    pub symbol: String,
    /// How many times faster than recorded, above 0 to 1000000
    #[arg(long, default_value_t = 1.0)]
    pub speed: f64,
    /// What recorded quantities are multiplied with, before they are rounded to lots
    #[arg(long, value_name = "FACTOR", default_value = "1")]
    pub qty_scale: String,
    /// Most lots of an order; the least is 1
    #[arg(long, visible_alias = "max-qty", value_name = "LOTS", default_value_t = 5)]
    pub max_lots: i64,
    /// Leave the exchange's reference price alone
    #[arg(long)]
    pub no_reference: bool,
    /// API key for telling the exchange the recorded prices, where it has a file of accounts: one with the permission feed
    #[arg(long, env = "QUORATE_FEED_KEY", value_name = "KEY", requires = "feed_secret")]
    pub feed_key: Option<String>,
    /// Secret of that key
    #[arg(long, env = "QUORATE_FEED_SECRET", value_name = "SECRET", requires = "feed_key", hide_env_values = true)]
    pub feed_secret: Option<Secret>,
}

/// The checked configuration.
#[derive(Debug, Clone)]
pub struct Config {
    pub(crate) exchange: String,
    pub(crate) api_key: Option<String>,
    pub(crate) api_secret: Option<Secret>,
    /// Whose orders these are, by the exchange's word for it.
    pub(crate) account: String,
    pub(crate) journal: Option<PathBuf>,
    pub(crate) in_flight: u32,
    pub(crate) count: Option<u64>,
    pub(crate) seconds: Option<Duration>,
    pub(crate) timeout: Duration,
    pub(crate) patience: Duration,
    pub(crate) mode: Mode,
}

/// Where orders come from.
#[derive(Debug, Clone)]
pub(crate) enum Mode {
    Random(RandomSettings),
    Replay { settings: ReplaySettings, symbol: Symbol, qty_scale: Decimal },
}

impl Mode {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Random(_) => "random",
            Self::Replay { .. } => "replay",
        }
    }
}

/// A field that is out of its range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {what}")]
pub struct InvalidConfig {
    /// The flag's name.
    pub field: &'static str,
    /// What is wrong with it.
    pub what: String,
}

fn wrong(field: &'static str, what: impl ToString) -> InvalidConfig {
    InvalidConfig { field, what: what.to_string() }
}

fn within<T: PartialOrd + Copy + ToString>(field: &'static str, value: T, low: T, high: T) -> Result<T, InvalidConfig> {
    if value >= low && value <= high {
        return Ok(value);
    }
    Err(wrong(field, format!("{} is not between {} and {}", value.to_string(), low.to_string(), high.to_string())))
}

/// Lots of one order at most.
const LOTS_MAX: i64 = 1_000_000_000;
/// Ticks away from the reference price at most.
const TICKS_MAX: i64 = 1_000_000_000;
/// Seconds of a run at most: ten years.
const SECONDS_MAX: u64 = 315_360_000;
/// Fastest and slowest: what lies beyond is a slip of the hand.
const FASTEST: f64 = 1e6;
const SLOWEST: f64 = 1e-6;

impl Settings {
    /// Checks every field of a run with generated orders.
    ///
    /// # Errors
    /// [`InvalidConfig`] names the first that is wrong.
    pub fn random(self, random: RandomSettings) -> Result<Config, InvalidConfig> {
        within("rate", random.rate, SLOWEST, 1e5)?;
        within("min-lots", random.min_lots, 1, LOTS_MAX)?;
        within("max-lots", random.max_lots, random.min_lots, LOTS_MAX)?;
        within("buy-share", random.buy_share, 0.0, 1.0)?;
        within("cross-share", random.cross_share, 0.0, 1.0)?;
        within("cross-ticks", random.cross_ticks, 0, TICKS_MAX)?;
        within("passive-ticks", random.passive_ticks, 1, TICKS_MAX)?;
        within("resting-max", random.resting_max, 0, 5_000)?;
        for symbol in &random.symbols {
            Symbol::new(symbol).map_err(|error| wrong("symbols", error))?;
        }
        self.resolve(Mode::Random(random))
    }

    /// Checks every field of a run with recorded trades.
    ///
    /// # Errors
    /// [`InvalidConfig`] names the first that is wrong.
    pub fn replay(self, replay: ReplaySettings) -> Result<Config, InvalidConfig> {
        within("speed", replay.speed, SLOWEST, FASTEST)?;
        within("max-lots", replay.max_lots, 1, LOTS_MAX)?;
        let symbol = Symbol::new(&replay.symbol).map_err(|error| wrong("symbol", error))?;
        let qty_scale: Decimal = replay.qty_scale.parse().map_err(|error| wrong("qty-scale", error))?;
        if !qty_scale.is_positive() {
            return Err(wrong("qty-scale", "must be above 0"));
        }
        self.resolve(Mode::Replay { settings: replay, symbol, qty_scale })
    }

    fn resolve(self, mode: Mode) -> Result<Config, InvalidConfig> {
        let exchange: Option<http::Uri> = self.exchange.parse().ok();
        if !exchange.is_some_and(|uri| uri.scheme_str() == Some("http") && matches!(uri.path(), "" | "/")) {
            return Err(wrong("exchange", format!("'{}' is not http://host:port", self.exchange)));
        }
        if self.count == Some(0) {
            return Err(wrong("count", "must be above 0"));
        }
        if let Some(seconds) = self.seconds {
            within("seconds", seconds, 1, SECONDS_MAX)?;
        }
        let in_flight = u32::try_from(within("in-flight", self.in_flight, 1, 1_024)?).unwrap_or(1);
        let account = match (&self.api_key, &self.api_secret) {
            (Some(_), Some(_)) => self.account.unwrap_or_else(|| DEFAULT_ACCOUNT.to_owned()),
            // Without a secret the key names the account.
            (Some(key), None) => account_of(key).map_err(|error| wrong("api-key", error.msg))?.to_string(),
            (None, _) => DEFAULT_ACCOUNT.to_owned(),
        };
        Ok(Config {
            account,
            exchange: self.exchange,
            api_key: self.api_key,
            api_secret: self.api_secret,
            journal: self.journal,
            in_flight,
            count: self.count,
            seconds: self.seconds.map(Duration::from_secs),
            timeout: Duration::from_millis(within("timeout-ms", self.timeout_ms, 100, 60_000)?),
            patience: Duration::from_secs(within("patience-seconds", self.patience_seconds, 1, 600)?),
            mode,
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        settings: Settings,
        #[command(flatten)]
        random: RandomSettings,
    }

    fn refused(flags: &[&str]) -> &'static str {
        let cli = Cli::try_parse_from([&["publisher"], flags].concat()).unwrap();
        cli.settings.random(cli.random).map(|_| ()).unwrap_err().field
    }

    #[test]
    fn the_journal_names_the_account_that_the_exchange_has() {
        let account = |flags: &[&str]| {
            let cli = Cli::try_parse_from([&["publisher"], flags].concat()).unwrap();
            cli.settings.random(cli.random).unwrap().account
        };
        assert_eq!(account(&[]), "default");
        assert_eq!(account(&["--api-key", "alice"]), "alice");
        assert_eq!(account(&["--api-key", &"a".repeat(64)]).len(), 32);
        assert_eq!(account(&["--api-key", "k", "--api-secret", "s"]), "default");
        assert_eq!(account(&["--api-key", "k", "--api-secret", "s", "--account", "alice"]), "alice");
        assert!(Cli::try_parse_from(["publisher", "--account", "alice"]).is_err());
    }

    #[test]
    fn a_bad_value_is_refused_with_the_name_of_its_field() {
        assert_eq!(refused(&["--rate", "0"]), "rate");
        assert_eq!(refused(&["--rate", "NaN"]), "rate");
        assert_eq!(refused(&["--max-lots", "0"]), "max-lots");
        assert_eq!(refused(&["--buy-share", "1.1"]), "buy-share");
        assert_eq!(refused(&["--cross-share", "2"]), "cross-share");
        assert_eq!(refused(&["--symbols", "btc"]), "symbols");
        assert_eq!(refused(&["--in-flight", "0"]), "in-flight");
        assert_eq!(refused(&["--count", "0"]), "count");
        assert_eq!(refused(&["--seconds", "0"]), "seconds");
        assert_eq!(refused(&["--seconds", "18446744073709551615"]), "seconds");
        assert_eq!(refused(&["--exchange", "https://x:1"]), "exchange");
        assert_eq!(refused(&["--api-key", "no key"]), "api-key");
        assert_eq!(refused(&["--timeout-ms", "1"]), "timeout-ms");
        assert_eq!(refused(&["--patience-seconds", "0"]), "patience-seconds");
    }
}
