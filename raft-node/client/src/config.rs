//! What a client is told at its start, and every bound that it keeps.

use std::{sync::Arc, time::Duration};

use quorate_api::BATCH_MAX;
use quorate_ledger::bounds::ANSWER_JSON_MAX_BYTES;

use crate::observer::Observer;

/// Ordered senders of one client, each with at most one batch on its way.
pub const LANES_DEFAULT: usize = 4;
/// Ordered senders at most.
pub const LANES_MAX: usize = 64;
/// Commands that one client holds at most, waiting or on their way; more are refused at once.
pub const COMMANDS_MAX: usize = 16_384;
/// Commands that wait for one session's window at most; more are refused at once.
pub const SESSION_QUEUE_MAX: usize = 4_096;
/// Endpoints at most, configured and discovered.
pub const ENDPOINTS_MAX: usize = 32;
/// Bytes of an answer that are read at most.
pub const ANSWER_MAX_BYTES: usize = 32 << 20;
const _: () = assert!(BATCH_MAX * ANSWER_JSON_MAX_BYTES <= ANSWER_MAX_BYTES);
/// Bytes of one event of a stream at most: a frame that cancels every open order fits.
pub const EVENT_MAX_BYTES: usize = 16 << 20;
/// Items that an event stream holds for a slow reader; past this the node is held back.
pub const STREAM_BUFFER: usize = 256;
/// How long one attempt at opening a session goes on.
pub const OPEN_TIMEOUT: Duration = Duration::from_secs(10);
/// Time between two looks at the group's members while the client is busy.
pub const TOPOLOGY_REFRESH: Duration = Duration::from_secs(2);
/// How long a node that failed is not gone back to on the word of another.
pub const FAILED_MEMORY: Duration = Duration::from_secs(1);
/// How long a stream may lag behind what was seen already before it moves to another node.
pub const STREAM_BEHIND_MAX: Duration = Duration::from_secs(5);
/// Time that an answer may take on the network beyond the deadline that the node was given.
pub const NETWORK_ALLOWANCE: Duration = Duration::from_millis(200);

/// A client's configuration. Start from [`ClientConfig::new`] and change what differs.
#[derive(Debug, Clone)]
pub struct ClientConfig {
    /// Where nodes serve clients, each `http://host:port`. At least one.
    pub endpoints: Vec<String>,
    /// The cluster's name: a node of another cluster refuses every call. `None` asks nobody.
    pub cluster_id: Option<String>,
    /// Longest time for one attempt of a call at one node; also the deadline that the node is given.
    pub call_timeout: Duration,
    /// How many ordered senders share the commands; the commands of one session all take the same one.
    pub lanes: usize,
    /// First pause after a failed attempt; it doubles with each further one, and its length is drawn
    /// between 0 and that (full jitter).
    pub backoff_min: Duration,
    /// Longest pause.
    pub backoff_max: Duration,
    /// An event stream that is silent for so long is given up (nodes send something every second).
    pub stream_silence: Duration,
    /// Whether members that the group names are called too, beyond `endpoints`.
    pub discover: bool,
    /// Told of every call, its invocation and its return.
    pub observer: Option<Arc<dyn Observer>>,
}

/// Why a configuration is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidConfig {
    /// No endpoint, or too many.
    #[error("endpoints: name 1 to {ENDPOINTS_MAX}")]
    Endpoints,
    /// An endpoint that is none.
    #[error("endpoints: '{0}' is not http://host:port")]
    Endpoint(String),
    /// A cluster id that fits into no header.
    #[error("cluster-id: write 1 to 64 letters, digits, '-' or '_'")]
    ClusterId,
    /// Too few or too many lanes.
    #[error("lanes: must be between 1 and {LANES_MAX}")]
    Lanes,
    /// A time of 0, or an order that cannot be.
    #[error("{0}: must be above 0, and backoff_min at most backoff_max")]
    Time(&'static str),
}

impl ClientConfig {
    /// The defaults, for these endpoints.
    #[must_use]
    pub fn new(endpoints: Vec<String>) -> Self {
        Self {
            endpoints,
            cluster_id: None,
            call_timeout: Duration::from_millis(1_000),
            lanes: LANES_DEFAULT,
            backoff_min: Duration::from_millis(10),
            backoff_max: Duration::from_millis(250),
            stream_silence: Duration::from_millis(3_000),
            discover: true,
            observer: None,
        }
    }

    pub(crate) fn check(&self) -> Result<(), InvalidConfig> {
        if self.endpoints.is_empty() || self.endpoints.len() > ENDPOINTS_MAX {
            return Err(InvalidConfig::Endpoints);
        }
        for endpoint in &self.endpoints {
            let uri: Option<http::Uri> = endpoint.parse().ok();
            let valid = uri.is_some_and(|uri| {
                uri.scheme_str() == Some("http") && uri.port_u16().is_some() && matches!(uri.path(), "" | "/")
            });
            if !valid {
                return Err(InvalidConfig::Endpoint(endpoint.chars().take(80).collect()));
            }
        }
        let allowed = |c: u8| c.is_ascii_alphanumeric() || c == b'-' || c == b'_';
        if self.cluster_id.as_ref().is_some_and(|id| id.is_empty() || id.len() > 64 || !id.bytes().all(allowed)) {
            return Err(InvalidConfig::ClusterId);
        }
        if self.lanes == 0 || self.lanes > LANES_MAX {
            return Err(InvalidConfig::Lanes);
        }
        let times = [
            ("call_timeout", self.call_timeout),
            ("backoff_min", self.backoff_min),
            ("stream_silence", self.stream_silence),
        ];
        if self.backoff_min > self.backoff_max {
            return Err(InvalidConfig::Time("backoff_max"));
        }
        match times.iter().find(|(_, time)| time.is_zero()) {
            Some((name, _)) => Err(InvalidConfig::Time(name)),
            None => Ok(()),
        }
    }
}
