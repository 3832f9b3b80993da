//! The exchange's configuration: flags, then environment. A bad value is refused with the name of its field.

use std::{net::SocketAddr, time::Duration};

use quorate_ledger::{Decimal, ExchangeName, bounds::ORDER_DEADLINE_MAX_MS};

use crate::reference::SourceSpec;

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
    /// Key and secret that requests must carry; `None` takes unsigned ones.
    pub credentials: Option<Credentials>,
    /// Life of an order until it must be executed, in ms of log time.
    pub order_deadline_ms: u64,
    /// How long a caller is kept waiting before it hears *unknown*.
    pub patience: Duration,
    /// Executions in flight at most.
    pub in_flight: usize,
    /// Orders waiting or in flight at most.
    pub queue: usize,
    /// The least price x quantity of an order.
    pub min_notional: Decimal,
    /// Whether failpoints are there.
    pub fault_injection: bool,
    /// Failpoints armed at the start.
    pub failpoints: String,
}

/// A key and its secret.
#[derive(Clone)]
pub struct Credentials {
    /// Sent as `X-MBX-APIKEY`.
    pub key: String,
    /// Signs.
    pub secret: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Credentials({})", self.key)
    }
}

/// The same as it is given.
#[derive(Debug, Clone, clap::Args)]
pub struct Settings {
    /// Address on which orders are taken
    #[arg(long, env = "QUORATE_EXCHANGE_LISTEN", value_name = "IP:PORT", default_value = "127.0.0.1:7200")]
    pub listen: SocketAddr,
    /// Nodes of the group, as http://host:port, separated by commas
    #[arg(
        long,
        env = "QUORATE_ENDPOINTS",
        value_delimiter = ',',
        default_value = "http://127.0.0.1:7101,http://127.0.0.1:7102,http://127.0.0.1:7103"
    )]
    pub ledger_endpoints: Vec<String>,
    /// Name of the cluster that is meant; another one refuses
    #[arg(long, env = "QUORATE_CLUSTER_ID")]
    pub cluster_id: Option<String>,
    /// Lasting name of this exchange
    #[arg(long, env = "QUORATE_EXCHANGE_NAME", default_value = "exchange")]
    pub name: String,
    /// Reference prices: static:SYM=PRICE,.. or walk:SEED,SYM=PRICE,.. or capture:FILE,SYM[,SPEED] or external:SYM=PRICE,..
    /// (external ones are set by PUT /v1/reference-prices/SYM); may be repeated, each for its symbols
    #[arg(long = "reference", value_name = "SOURCE")]
    pub references: Vec<String>,
    /// API key that requests must carry; with it they must be signed
    #[arg(long, env = "QUORATE_API_KEY", requires = "api_secret")]
    pub api_key: Option<String>,
    /// Secret of the API key
    #[arg(long, env = "QUORATE_API_SECRET", requires = "api_key", hide_env_values = true)]
    pub api_secret: Option<String>,
    /// Life of an order until it must be executed, 100 to 50000 ms of log time
    #[arg(long, env = "QUORATE_ORDER_DEADLINE_MS", value_name = "MS", default_value_t = 5_000)]
    pub order_deadline_ms: u64,
    /// How long a caller waits before it hears that its order's outcome is unknown, 10 to 60000 ms
    #[arg(long, env = "QUORATE_PATIENCE_MS", value_name = "MS", default_value_t = 3_000)]
    pub patience_ms: u64,
    /// Executions in flight at most, 1 to 100
    #[arg(long, env = "QUORATE_EXCHANGE_IN_FLIGHT", default_value_t = 32)]
    pub in_flight: usize,
    /// Orders waiting or in flight at most, 1 to 65536
    #[arg(long, env = "QUORATE_EXCHANGE_QUEUE", default_value_t = 4_096)]
    pub queue: usize,
    /// Least price x quantity of an order, in units of the quote currency
    #[arg(long, env = "QUORATE_MIN_NOTIONAL", default_value = "0.00001")]
    pub min_notional: String,
    /// Offer failpoints: for tests, never for production
    #[arg(long, env = "QUORATE_FAULT_INJECTION")]
    pub fault_injection: bool,
    /// Failpoints armed at the start, as name=crash, separated by ';' (needs --fault-injection)
    #[arg(long, env = "QUORATE_EXCHANGE_FAILPOINTS", value_name = "POINTS", default_value = "")]
    pub failpoints: String,
}

/// A field is out of its range.
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

impl Settings {
    /// Checks every field.
    ///
    /// # Errors
    /// [`InvalidConfig`] names the first that is wrong.
    pub fn resolve(self) -> Result<Config, InvalidConfig> {
        let within = |field, value: u64, low: u64, high: u64| {
            if (low..=high).contains(&value) {
                Ok(value)
            } else {
                Err(wrong(field, format!("{value} is not between {low} and {high}")))
            }
        };
        let count = |value: usize| u64::try_from(value).unwrap_or(u64::MAX);
        // Room for the error of the log time that is estimated here.
        let deadline_max = ORDER_DEADLINE_MAX_MS - 10_000;
        let order_deadline_ms = within("order-deadline-ms", self.order_deadline_ms, 100, deadline_max)?;
        let patience_ms = within("patience-ms", self.patience_ms, 10, 60_000)?;
        within("in-flight", count(self.in_flight), 1, 100)?;
        within("queue", count(self.queue), 1, 65_536)?;
        if !self.fault_injection && !self.failpoints.is_empty() {
            return Err(wrong("failpoints", "need fault-injection"));
        }
        let references = self.references.iter().map(|text| text.parse()).collect::<Result<Vec<SourceSpec>, _>>();
        let credentials = match (self.api_key, self.api_secret) {
            (Some(key), Some(secret)) => Some(Credentials { key, secret }),
            (None, None) => None,
            (Some(_), None) => return Err(wrong("api-secret", "is required with api-key")),
            (None, Some(_)) => return Err(wrong("api-key", "is required with api-secret")),
        };
        Ok(Config {
            listen: self.listen,
            ledger_endpoints: self.ledger_endpoints,
            cluster_id: self.cluster_id,
            name: self.name.parse().map_err(|error| wrong("name", error))?,
            references: references.map_err(|error| wrong("reference", error))?,
            credentials,
            order_deadline_ms,
            patience: Duration::from_millis(patience_ms),
            in_flight: self.in_flight,
            queue: self.queue,
            min_notional: self.min_notional.parse().map_err(|error| wrong("min-notional", error))?,
            fault_injection: self.fault_injection,
            failpoints: self.failpoints,
        })
    }
}
