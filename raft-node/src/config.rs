//! A node's configuration: flags, then environment, then a TOML file, then defaults. What comes out of
//! [`Settings::resolve`] is checked; a bad value is refused with the name of its field.

use std::{net::SocketAddr, path::PathBuf};

use quorate_api::Member;
use serde::Deserialize;

use crate::raft::snapshot::SNAPSHOT_MAX;

/// Event frames that may be kept: at about 256 bytes each, as many as a snapshot can carry.
const EVENT_RETENTION_MAX: u64 = 2_000_000;

/// A node's checked configuration.
#[derive(Debug, Clone)]
pub struct NodeConfig {
    /// The cluster's name: peers and clients that name another are refused.
    pub cluster_id: String,
    /// This node's id, from 1; never used again for another disk.
    pub node_id: u64,
    /// Where the log and everything else is kept.
    pub data_dir: PathBuf,
    /// Where peers are taken.
    pub listen_peer: SocketAddr,
    /// Where clients are taken.
    pub listen_api: SocketAddr,
    /// The members that form the group at its very first start; ignored once the group exists.
    pub initial_members: Vec<Member>,
    /// Time between a leader's heartbeats.
    pub heartbeat_ms: u64,
    /// Shortest time without a leader before a node stands for election.
    pub election_min_ms: u64,
    /// Longest such time.
    pub election_max_ms: u64,
    /// A snapshot is built each time the log has grown by this many entries.
    pub snapshot_every: u64,
    /// Log entries kept behind a snapshot, for followers that lag a little.
    pub log_keep: u64,
    /// Event frames kept for readers.
    pub event_retention: u64,
    /// Commands in flight at most; past this the answer is 503 with `Retry-After`.
    pub max_in_flight: usize,
    /// Client connections at most; a few more are taken for what must always get through.
    pub max_connections: usize,
    /// Event streams at most; past this the answer is 503 with `Retry-After`.
    pub max_event_streams: usize,
    /// Whether the fault switch and failpoints are there.
    pub fault_injection: bool,
    /// Failpoints armed at the start, as `name=action[;name=action]`.
    pub failpoints: String,
    /// Offset of this node's wall clock, for tests of skew; needs `fault_injection`.
    pub wall_clock_offset_ms: i64,
    /// Whether a member takes part only after it has reached itself at its member address.
    pub self_check: bool,
    /// Whether an operator names this node's state as the right one, where states differ and no majority decides. For
    /// one start: neither file nor environment sets it.
    pub accept_own_state: bool,
}

/// The same as it is given: every field may be missing. Flags, environment and file share this shape.
#[derive(Debug, Clone, Default, Deserialize, clap::Args)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Settings {
    /// TOML file with any of these settings, in kebab-case; flags and environment go before it
    #[arg(long, env = "QUORATE_CONFIG", value_name = "FILE")]
    #[serde(skip)]
    pub config: Option<PathBuf>,
    /// Name of the cluster: 1 to 64 letters, digits, '-' or '_' [default: quorate]
    #[arg(long, env = "QUORATE_CLUSTER_ID")]
    pub cluster_id: Option<String>,
    /// Id of this node, from 1; never used again for another disk (required)
    #[arg(long, env = "QUORATE_NODE_ID")]
    pub node_id: Option<u64>,
    /// Directory of the log, the snapshots and the event history (required)
    #[arg(long, env = "QUORATE_DATA_DIR", value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Address on which peers are taken [default: 127.0.0.1:7001]
    #[arg(long, env = "QUORATE_LISTEN_PEER", value_name = "IP:PORT")]
    pub listen_peer: Option<SocketAddr>,
    /// Address on which clients are taken [default: 127.0.0.1:7101]
    #[arg(long, env = "QUORATE_LISTEN_API", value_name = "IP:PORT")]
    pub listen_api: Option<SocketAddr>,
    /// Members that form the group at its first start, as ID=PEER_ADDR/API_ADDR, separated by commas (required)
    #[arg(long, env = "QUORATE_INITIAL_MEMBERS", value_name = "MEMBERS", value_delimiter = ',')]
    pub initial_members: Option<Vec<String>>,
    /// Milliseconds between a leader's heartbeats, 10 to 10000 [default: 100]
    #[arg(long, env = "QUORATE_HEARTBEAT_MS", value_name = "MS")]
    pub heartbeat_ms: Option<u64>,
    /// Shortest time without a leader before an election, over 2 heartbeats [default: 300]
    #[arg(long, env = "QUORATE_ELECTION_MIN_MS", value_name = "MS")]
    pub election_min_ms: Option<u64>,
    /// Longest such time, above the shortest [default: 600]
    #[arg(long, env = "QUORATE_ELECTION_MAX_MS", value_name = "MS")]
    pub election_max_ms: Option<u64>,
    /// Log entries between snapshots, 100 to 10000000 [default: 50000]
    #[arg(long, env = "QUORATE_SNAPSHOT_EVERY", value_name = "ENTRIES")]
    pub snapshot_every: Option<u64>,
    /// Log entries kept behind a snapshot, up to 1000000 [default: 5000]
    #[arg(long, env = "QUORATE_LOG_KEEP", value_name = "ENTRIES")]
    pub log_keep: Option<u64>,
    /// Event frames kept for readers, 1000 to 2000000; they travel with each snapshot [default: 50000]
    #[arg(long, env = "QUORATE_EVENT_RETENTION", value_name = "FRAMES")]
    pub event_retention: Option<u64>,
    /// Commands in flight at most, 1 to 65536 [default: 4096]
    #[arg(long, env = "QUORATE_MAX_IN_FLIGHT", value_name = "COMMANDS")]
    pub max_in_flight: Option<usize>,
    /// Client connections at most, 1 to 65536 [default: 1024]
    #[arg(long, env = "QUORATE_MAX_CONNECTIONS", value_name = "CONNECTIONS")]
    pub max_connections: Option<usize>,
    /// Event streams at most, from 1, below --max-connections [default: half of --max-connections]
    #[arg(long, env = "QUORATE_MAX_EVENT_STREAMS", value_name = "STREAMS")]
    pub max_event_streams: Option<usize>,
    /// Offer the fault switch (POST /v1/faults) and failpoints: for tests, never for production
    #[arg(long, env = "QUORATE_FAULT_INJECTION", num_args = 0..=1, default_missing_value = "true")]
    pub fault_injection: Option<bool>,
    /// Failpoints armed at the start, as name=crash or name=error, separated by ';' (needs --fault-injection)
    #[arg(long, env = "QUORATE_FAILPOINTS", value_name = "POINTS")]
    pub failpoints: Option<String>,
    /// Offset of this node's wall clock in milliseconds, for tests of skew (needs --fault-injection)
    #[arg(long, env = "QUORATE_WALL_CLOCK_OFFSET_MS", value_name = "MS", allow_hyphen_values = true)]
    pub wall_clock_offset_ms: Option<i64>,
    /// Take part although this node cannot reach itself at its member address: behind NAT only
    #[arg(long, env = "QUORATE_NO_SELF_CHECK", num_args = 0..=1, default_missing_value = "true")]
    pub no_self_check: Option<bool>,
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
    /// The file is not TOML of this shape.
    #[error("config: {path}: {source}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: Box<toml::de::Error>,
    },
    /// A field is missing or out of its range.
    #[error("{field}: {what}")]
    Field {
        /// The field's name, as in the file.
        field: &'static str,
        /// What is wrong with it.
        what: String,
    },
}

fn wrong(field: &'static str, what: impl Into<String>) -> ConfigError {
    ConfigError::Field { field, what: what.into() }
}

impl Settings {
    /// Reads the file, where one is named, fills the gaps from it and from the defaults, and checks.
    ///
    /// # Errors
    /// [`ConfigError`] names the first field that is wrong.
    pub fn resolve(self) -> Result<NodeConfig, ConfigError> {
        let file = match &self.config {
            None => Self::default(),
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .map_err(|source| ConfigError::Unreadable { path: path.clone(), source })?;
                toml::from_str(&text)
                    .map_err(|source| ConfigError::Malformed { path: path.clone(), source: Box::new(source) })?
            }
        };
        self.or(file).check()
    }

    fn or(self, file: Self) -> Self {
        Self {
            config: self.config,
            cluster_id: self.cluster_id.or(file.cluster_id),
            node_id: self.node_id.or(file.node_id),
            data_dir: self.data_dir.or(file.data_dir),
            listen_peer: self.listen_peer.or(file.listen_peer),
            listen_api: self.listen_api.or(file.listen_api),
            initial_members: self.initial_members.or(file.initial_members),
            heartbeat_ms: self.heartbeat_ms.or(file.heartbeat_ms),
            election_min_ms: self.election_min_ms.or(file.election_min_ms),
            election_max_ms: self.election_max_ms.or(file.election_max_ms),
            snapshot_every: self.snapshot_every.or(file.snapshot_every),
            log_keep: self.log_keep.or(file.log_keep),
            event_retention: self.event_retention.or(file.event_retention),
            max_in_flight: self.max_in_flight.or(file.max_in_flight),
            max_connections: self.max_connections.or(file.max_connections),
            max_event_streams: self.max_event_streams.or(file.max_event_streams),
            fault_injection: self.fault_injection.or(file.fault_injection),
            failpoints: self.failpoints.or(file.failpoints),
            wall_clock_offset_ms: self.wall_clock_offset_ms.or(file.wall_clock_offset_ms),
            no_self_check: self.no_self_check.or(file.no_self_check),
        }
    }

    fn check(self) -> Result<NodeConfig, ConfigError> {
        let cluster_id = self.cluster_id.unwrap_or_else(|| "quorate".to_owned());
        let allowed = |c: u8| c.is_ascii_alphanumeric() || c == b'-' || c == b'_';
        if cluster_id.is_empty() || cluster_id.len() > 64 || !cluster_id.bytes().all(allowed) {
            return Err(wrong("cluster-id", "write 1 to 64 letters, digits, '-' or '_'"));
        }
        let node_id = self.node_id.ok_or_else(|| wrong("node-id", "is required"))?;
        if node_id == 0 {
            return Err(wrong("node-id", "ids start at 1"));
        }
        let data_dir = self.data_dir.ok_or_else(|| wrong("data-dir", "is required"))?;
        let texts = self.initial_members.ok_or_else(|| wrong("initial-members", "is required"))?;
        let initial_members = parse_members(&texts)?;
        if !initial_members.iter().any(|member| member.node_id == node_id) {
            return Err(wrong("initial-members", format!("node {node_id} (this one) is not among them")));
        }
        let heartbeat_ms = ranged("heartbeat-ms", self.heartbeat_ms, 100, 10, 10_000)?;
        let election_min_ms = ranged("election-min-ms", self.election_min_ms, 300, 20, 100_000)?;
        let election_max_ms = ranged("election-max-ms", self.election_max_ms, 600, 21, 200_000)?;
        if election_min_ms <= 2 * heartbeat_ms {
            return Err(wrong("election-min-ms", format!("must be above two heartbeats ({} ms)", 2 * heartbeat_ms)));
        }
        if election_max_ms <= election_min_ms {
            return Err(wrong("election-max-ms", format!("must be above election-min-ms ({election_min_ms})")));
        }
        let max_connections = ranged("max-connections", self.max_connections, 1_024, 1, 65_536)?;
        let max_event_streams = self.max_event_streams.unwrap_or((max_connections / 2).max(1));
        if max_event_streams == 0 || (self.max_event_streams.is_some() && max_event_streams >= max_connections) {
            let below =
                format!("is 1 or more, and below max-connections ({max_connections}), so that calls have places");
            return Err(wrong("max-event-streams", below));
        }
        let fault_injection = self.fault_injection.unwrap_or(false);
        let failpoints = self.failpoints.unwrap_or_default();
        let wall_clock_offset_ms = self.wall_clock_offset_ms.unwrap_or(0);
        if !fault_injection && !failpoints.is_empty() {
            return Err(wrong("failpoints", "need fault-injection"));
        }
        if !fault_injection && wall_clock_offset_ms != 0 {
            return Err(wrong("wall-clock-offset-ms", "needs fault-injection"));
        }
        Ok(NodeConfig {
            cluster_id,
            node_id,
            data_dir,
            listen_peer: self.listen_peer.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 7001))),
            listen_api: self.listen_api.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 7101))),
            initial_members,
            heartbeat_ms,
            election_min_ms,
            election_max_ms,
            snapshot_every: ranged("snapshot-every", self.snapshot_every, 50_000, 100, 10_000_000)?,
            log_keep: ranged("log-keep", self.log_keep, 5_000, 0, 1_000_000)?,
            event_retention: event_retention(self.event_retention)?,
            max_in_flight: ranged("max-in-flight", self.max_in_flight, 4_096, 1, 65_536)?,
            max_connections,
            max_event_streams,
            fault_injection,
            failpoints,
            wall_clock_offset_ms,
            self_check: !self.no_self_check.unwrap_or(false),
            accept_own_state: false,
        })
    }
}

fn ranged<T: Ord + Copy + std::fmt::Display>(
    field: &'static str,
    given: Option<T>,
    default: T,
    low: T,
    high: T,
) -> Result<T, ConfigError> {
    let value = given.unwrap_or(default);
    if value < low || value > high {
        return Err(wrong(field, format!("{value} is not between {low} and {high}")));
    }
    Ok(value)
}

/// The history travels with each snapshot: one that no peer takes must not be kept.
fn event_retention(given: Option<u64>) -> Result<u64, ConfigError> {
    let frames = ranged("event-retention", given, 50_000, 1_000, u64::MAX)?;
    if frames > EVENT_RETENTION_MAX {
        let what = format!(
            "{frames} frames travel with each snapshot, of which peers take at most {} MiB: take {EVENT_RETENTION_MAX} or less",
            SNAPSHOT_MAX >> 20
        );
        return Err(wrong("event-retention", what));
    }
    Ok(frames)
}

fn parse_members(texts: &[String]) -> Result<Vec<Member>, ConfigError> {
    let mut members: Vec<Member> = Vec::with_capacity(texts.len());
    for text in texts {
        let form = || wrong("initial-members", format!("'{text}' is not ID=PEER_ADDR/API_ADDR"));
        let (id, addresses) = text.trim().split_once('=').ok_or_else(form)?;
        let (peer_addr, api_addr) = addresses.split_once('/').ok_or_else(form)?;
        let node_id: u64 = id.parse().map_err(|_| form())?;
        let is_address = |addr: &str| {
            addr.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
        };
        if node_id == 0 || !is_address(peer_addr) || !is_address(api_addr) {
            return Err(form());
        }
        if members.iter().any(|member| member.node_id == node_id) {
            return Err(wrong("initial-members", format!("node {node_id} stands there twice")));
        }
        members.push(Member { node_id, peer_addr: peer_addr.to_owned(), api_addr: api_addr.to_owned(), voter: true });
    }
    if members.is_empty() || members.len() > 9 {
        return Err(wrong("initial-members", "name 1 to 9 members"));
    }
    Ok(members)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        Settings {
            node_id: Some(1),
            data_dir: Some("data".into()),
            initial_members: Some(vec!["1=127.0.0.1:1/127.0.0.1:2".into()]),
            ..Settings::default()
        }
    }

    fn refused(settings: Settings) -> String {
        settings.resolve().map(|_| ()).expect_err("refused").to_string()
    }

    #[test]
    fn defaults_fill_what_is_not_given() {
        let config = settings().resolve().expect("valid");
        assert_eq!((config.heartbeat_ms, config.election_min_ms, config.election_max_ms), (100, 300, 600));
        assert_eq!(config.initial_members.len(), 1);
        assert_eq!((config.max_connections, config.max_event_streams), (1_024, 512));
        let config = Settings { max_connections: Some(1), ..settings() }.resolve().expect("valid");
        assert_eq!((config.max_connections, config.max_event_streams), (1, 1));
    }

    #[test]
    fn a_bad_value_is_refused_with_the_name_of_its_field() {
        let refusals = [
            (Settings { node_id: None, ..settings() }, "node-id"),
            (Settings { node_id: Some(0), ..settings() }, "node-id"),
            (Settings { cluster_id: Some("a b".into()), ..settings() }, "cluster-id"),
            (Settings { heartbeat_ms: Some(1), ..settings() }, "heartbeat-ms"),
            (Settings { election_min_ms: Some(150), ..settings() }, "election-min-ms"),
            (Settings { election_max_ms: Some(250), ..settings() }, "election-max-ms"),
            (Settings { initial_members: Some(vec!["1=x".into()]), ..settings() }, "initial-members"),
            (Settings { initial_members: Some(vec!["2=a:1/b:2".into()]), ..settings() }, "initial-members"),
            (Settings { event_retention: Some(10_000_000), ..settings() }, "event-retention"),
            (Settings { event_retention: Some(999), ..settings() }, "event-retention"),
            (Settings { max_event_streams: Some(0), ..settings() }, "max-event-streams"),
            (Settings { max_event_streams: Some(1_024), ..settings() }, "max-event-streams"),
            (Settings { max_connections: Some(8), max_event_streams: Some(8), ..settings() }, "max-event-streams"),
            (Settings { failpoints: Some("a=crash".into()), ..settings() }, "failpoints"),
            (Settings { wall_clock_offset_ms: Some(5), ..settings() }, "wall-clock-offset-ms"),
        ];
        for (settings, field) in refusals {
            let text = refused(settings);
            assert!(text.starts_with(&format!("{field}:")), "{text}");
        }
    }

    #[test]
    fn a_file_fills_the_gaps_and_unknown_fields_are_refused() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("node.toml");
        std::fs::write(&path, "heartbeat-ms = 50\nelection-min-ms = 320\n").expect("written");
        let config = Settings { config: Some(path.clone()), election_min_ms: Some(400), ..settings() };
        let config = config.resolve().expect("valid");
        assert_eq!((config.heartbeat_ms, config.election_min_ms), (50, 400));
        std::fs::write(&path, "heartbeet = 50\n").expect("written");
        assert!(refused(Settings { config: Some(path), ..settings() }).contains("heartbeet"));
    }
}
