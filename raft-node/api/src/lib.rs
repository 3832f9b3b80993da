//! The JSON shapes of a node's HTTP API, for both of its ends: the node and the client.
//!
//! Integers are ticks, lots, exposure units and milliseconds of log time; next to each price and
//! quantity of a view stands its decimal text. Nothing here decides anything.

mod identity;
mod money;
mod problem;
mod views;

pub use identity::{GroupId, InvalidId, StoreId};
pub use money::*;
pub use problem::{Applied, Problem, ProblemKind};
pub use views::*;

/// Paths of the API. `{}`-free: parameters go into the query.
pub mod paths {
    /// `POST` a command or a batch of them.
    pub const COMMANDS: &str = "/v1/commands";
    /// Positions.
    pub const POSITIONS: &str = "/v1/positions";
    /// The exposure ledger.
    pub const EXPOSURE: &str = "/v1/exposure";
    /// Who waits for exposure, and whose turn it is.
    pub const WAITING: &str = "/v1/waiting";
    /// Profit by quote asset.
    pub const PNL: &str = "/v1/pnl";
    /// What everybody has.
    pub const BALANCES: &str = "/v1/balances";
    /// What limits losses.
    pub const BREAKERS: &str = "/v1/breakers";
    /// Active quotes.
    pub const QUOTES: &str = "/v1/quotes";
    /// Who holds what.
    pub const AUTHORITY: &str = "/v1/authority";
    /// Registered makers.
    pub const MAKERS: &str = "/v1/makers";
    /// Defined symbols.
    pub const SYMBOLS: &str = "/v1/symbols";
    /// Orders, open or remembered.
    pub const ORDERS: &str = "/v1/orders";
    /// Fills that are still kept.
    pub const FILLS: &str = "/v1/fills";
    /// The node and the ledger, in figures.
    pub const STATUS: &str = "/v1/status";
    /// The group's members.
    pub const CLUSTER: &str = "/v1/cluster";
    /// Server-sent events, one frame a log index.
    pub const EVENTS: &str = "/v1/events";
    /// An audit of the ledger at this node.
    pub const AUDIT: &str = "/v1/audit";
    /// Digests at recent checkpoints, for comparing nodes.
    pub const DIGESTS: &str = "/v1/digests";
    /// `POST` a change of membership.
    pub const MEMBERS: &str = "/v1/cluster/members";
    /// `POST` a transfer of leadership.
    pub const TRANSFER_LEADER: &str = "/v1/cluster/transfer-leader";
    /// `POST` to build a snapshot now.
    pub const SNAPSHOT: &str = "/v1/cluster/snapshot";
    /// `POST` the fault switch; there only under `--fault-injection`.
    pub const FAULTS: &str = "/v1/faults";
    /// The OpenAPI document.
    pub const OPENAPI: &str = "/openapi.json";
    /// Prometheus metrics.
    pub const METRICS: &str = "/metrics";
}

/// Commands in one batch at most.
pub const BATCH_MAX: usize = 256;
/// Bytes of a request's body at most. A command is longer in JSON than in the log, so that none in a body is above
/// [`ENTRY_MAX_BYTES`](quorate_ledger::bounds::ENTRY_MAX_BYTES).
pub const BODY_MAX_BYTES: usize = 1 << 20;
/// Rows of one answer at most, and where no `limit` is given.
pub const ROWS_MAX: usize = 1_000;
