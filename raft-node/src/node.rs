//! The node as a value: everything that the HTTP API, the process and the simulation do with a member of
//! the group goes through [`Node`].
//!
//! Invariants: nothing is answered as applied before it is committed; a command that may have been
//! proposed and was not answered is *unknown*, never *failed*; a linearizable read is at or after every
//! write acknowledged before it began, or an error. There are no globals: several nodes live in one process.

mod views;

use std::{future::Future, time::Duration};

use quorate_api::{
    Applied, AuditView, ChangeMembers, CheckpointView, ClusterView, Consistency, Faults, Problem, StatusView,
};
use quorate_ledger::Envelope;
use quorate_log_store::Storage;
use quorate_seams::World;
use tokio::time::Instant;

pub use views::{
    FrameStream, HistoryPage, NodeMetrics, Snapshot, StartError, StopReason, StreamEnd, StreamItem,
};

use crate::config::NodeConfig;

/// At least so often a [`FrameStream`] says how far the node is.
pub const KEEP_ALIVE: Duration = Duration::from_secs(1);
/// Frames in one [`HistoryPage`] at most.
pub const HISTORY_PAGE_MAX: usize = 1_000;

/// A handle on a running node. Clones are the same node; it runs until [`Node::shutdown`], or until it
/// stops by itself ([`Node::stopped`]).
#[derive(Clone)]
pub struct Node {
    inner: Arc<Inner>,
}

impl Node {
    /// Recovers what `storage` holds and joins the group; on the very first start, forms it with
    /// `config.initial_members`. Serves peers only once somebody serves [`Node::peer_router`].
    ///
    /// # Errors
    /// [`StartError`] where the configuration does not fit together or the storage cannot be read.
    pub async fn start(config: NodeConfig, world: World, storage: Storage) -> Result<Self, StartError>;

    /// This node's id.
    pub fn id(&self) -> u64;
    /// What it was started with.
    pub fn config(&self) -> &NodeConfig;
    /// The world it lives in.
    pub fn world(&self) -> &World;

    /// Proposes `batch` in its order, as the leader or through it, and answers each command, in the same order, by
    /// `deadline` at the latest. The caller has checked sizes (`BATCH_MAX`, `BODY_MAX_BYTES`).
    ///
    /// A [`Problem`] with `outcome_unknown` unset means that the command was certainly not proposed.
    /// Dropping the future does not take back what was proposed.
    pub async fn propose(&self, batch: Vec<Envelope>, deadline: Instant) -> Vec<Applied>;

    /// The ledger, as fresh as `consistency` asks.
    ///
    /// # Errors
    /// `NoLeader` or `Timeout` where freshness cannot be shown by `deadline`; `NotReady` while the node
    /// recovers or has suspended service.
    pub async fn read(&self, consistency: Consistency, deadline: Instant) -> Result<Snapshot, Problem>;

    /// Frames from `from_index` on (inclusive), those still to come included.
    pub fn frames(&self, from_index: u64) -> FrameStream;

    /// Frames that are kept, from `from_index` on, at most `limit` (and [`HISTORY_PAGE_MAX`]). `from_index`
    /// below the first kept index starts at that one.
    ///
    /// # Errors
    /// `Internal` where the history cannot be read.
    pub async fn history(&self, from_index: u64, limit: usize) -> Result<HistoryPage, Problem>;

    /// The node and its ledger in figures, as applied here.
    pub fn status(&self) -> StatusView;
    /// The group as this node knows it.
    pub fn cluster(&self) -> ClusterView;

    /// Makes `change.members` the members, through the leader; answers when it is committed.
    ///
    /// # Errors
    /// `InvalidRequest` for a list that cannot be (empty, double ids, no voter); otherwise as for commands.
    pub async fn change_members(&self, change: ChangeMembers, deadline: Instant) -> Result<ClusterView, Problem>;

    /// Hands leadership to the voter `to`, through the leader; answers when it leads.
    ///
    /// # Errors
    /// `InvalidRequest` where `to` is no voter; `Timeout` where it does not lead by `deadline`.
    pub async fn transfer_leader(&self, to: u64, deadline: Instant) -> Result<ClusterView, Problem>;

    /// Builds a snapshot at this node that covers all it has applied; answers its index when it is kept.
    ///
    /// # Errors
    /// `Timeout` where it is not kept by `deadline`.
    pub async fn trigger_snapshot(&self, deadline: Instant) -> Result<u64, Problem>;

    /// Recomputes every derived figure of the ledger as applied here.
    pub async fn audit(&self) -> AuditView;
    /// Digests at recent checkpoints, oldest first.
    pub fn checkpoints(&self) -> Vec<CheckpointView>;

    /// Sets the fault switch of the peer traffic.
    ///
    /// # Errors
    /// `NotFound` unless the node runs with `fault_injection`.
    pub fn set_faults(&self, faults: Faults) -> Result<(), Problem>;
    /// The fault switch as it stands.
    pub fn faults(&self) -> Faults;

    /// Counters and gauges.
    pub fn metrics(&self) -> NodeMetrics;
    /// Whether it makes sense to send work here: recovered, a leader is known and heard of, the lag is small.
    ///
    /// # Errors
    /// What is missing, in words.
    pub fn readiness(&self) -> Result<(), String>;

    /// What peers call, over HTTP/2. Independent of sockets: a simulation calls it directly.
    pub fn peer_router(&self) -> axum::Router;

    /// Resolves when the node has stopped, with the reason.
    pub fn stopped(&self) -> impl Future<Output = StopReason> + Send + 'static;

    /// Hands leadership over where this node leads, then stops it and closes its storage. Calls in flight
    /// are answered with an error. Idempotent.
    pub async fn shutdown(&self);
}
