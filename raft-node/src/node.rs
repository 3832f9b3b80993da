//! The node as a value: everything that the HTTP API, the process and the simulation do with a member of
//! the group goes through [`Node`].
//!
//! Invariants: nothing is answered as applied before it is committed; a command that may have been
//! proposed and was not answered is *unknown*, never *failed*; a linearizable read is at or after every
//! write acknowledged before it began, or an error. There are no globals: several nodes live in one process.

mod admin;
mod compare;
pub(crate) mod counters;
mod divergence;
mod frames;
mod group;
mod identity;
mod membership;
mod pace;
mod propose;
mod read;
mod standing;
mod start;
mod status;
mod stop;
mod tending;
mod term;
mod transfer;
mod turns;
pub(crate) mod verdict;
mod views;

use std::{
    future::Future,
    sync::{Arc, Mutex, PoisonError, atomic::AtomicBool},
    time::Duration,
};

use openraft::{ServerState, async_runtime::WatchReceiver};
use quorate_api::{Faults, Problem, ProblemKind};
use quorate_domain::Millis;
use quorate_log_store::Storage;
use quorate_seams::World;
use tokio::{
    sync::watch,
    time::{Instant, timeout},
};

pub(crate) use counters::Counter;
use counters::Counters;
use divergence::Divergence;
pub(crate) use identity::NotAdmitted;
use identity::Part;
use pace::Pace;
use propose::Places;
pub(crate) use stop::StopCell;
pub(crate) use turns::Turn;
use turns::Turns;
pub use views::{FrameStream, HistoryPage, NodeMetrics, Snapshot, StartError, StopReason, StreamEnd, StreamItem};

use crate::{
    config::NodeConfig,
    raft::{
        applied::Applied,
        clock::SharedClock,
        links::Links,
        peer_server,
        runtime::NodeScope,
        state_machine::SnapshotCounts,
        types::{Peer, Raft, Vote},
    },
};

/// At least so often a [`FrameStream`] says how far the node is.
pub const KEEP_ALIVE: Duration = Duration::from_secs(1);
/// Frames in one [`HistoryPage`] at most.
pub const HISTORY_PAGE_MAX: usize = 1_000;

/// What the names are for that a node draws from its seed, so that they differ.
pub(crate) mod names {
    pub(crate) const STORE: u64 = 0x0073_746f_7265;
    pub(crate) const GROUP: u64 = 0x0067_726f_7570;
    pub(crate) const OPENING: u64 = 0x4f50_454e;
}

/// A new store's name, for [`StorageOptions::new_store_id`](quorate_log_store::StorageOptions::new_store_id): random, as
/// the world's seed has it.
#[must_use]
pub fn new_store_id(world: &World) -> u128 {
    world.random_name(names::STORE)
}

/// A handle on a running node. Clones are the same node; it runs until [`Node::shutdown`], or until it
/// stops by itself ([`Node::stopped`]).
#[derive(Clone)]
pub struct Node {
    inner: Arc<Inner>,
}

/// What the handles, the duties and the peer port share.
pub(crate) struct Inner {
    pub(crate) config: NodeConfig,
    pub(crate) world: World,
    pub(crate) scope: NodeScope,
    pub(crate) links: Links,
    pub(crate) clock: SharedClock,
    pub(crate) raft: Raft,
    pub(crate) applied: Arc<Applied>,
    storage: Storage,
    snapshots: Arc<SnapshotCounts>,
    counters: Counters,
    places: Places,
    part: Part,
    turns: Turns,
    /// The term that this node leads and whose `BeginTerm` is applied.
    begun: watch::Sender<Option<u64>>,
    recovered: watch::Sender<bool>,
    /// When a leader was last heard.
    heard: Mutex<Option<Instant>>,
    pace: Mutex<Pace>,
    /// What is known of differences between this node's state and others'.
    divergence: Divergence,
    /// Why this node does not serve, while it runs.
    suspended: watch::Sender<Option<String>>,
    /// One change of the members, or of the leader, at a time.
    changing: Arc<tokio::sync::Mutex<()>>,
    /// Set while leadership is handed over: nothing is proposed.
    writes_held: AtomicBool,
    draining: watch::Sender<bool>,
    stop: StopCell,
}

impl Node {
    /// This node's id.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.inner.links.me()
    }

    /// What it was started with.
    #[must_use]
    pub fn config(&self) -> &NodeConfig {
        &self.inner.config
    }

    /// The world it lives in.
    #[must_use]
    pub fn world(&self) -> &World {
        &self.inner.world
    }

    /// The consensus handle: for those who look into it from outside, and change nothing by it.
    #[must_use]
    pub fn raft(&self) -> &Raft {
        &self.inner.raft
    }

    /// Sets the fault switch of the peer traffic.
    ///
    /// # Errors
    /// `NotFound` unless the node runs with `fault_injection`.
    pub fn set_faults(&self, faults: Faults) -> Result<(), Problem> {
        if self.inner.links.faults.set(faults) {
            return Ok(());
        }
        Err(Problem::new(ProblemKind::NotFound, "the fault switch is there only under fault-injection"))
    }

    /// The fault switch as it stands.
    #[must_use]
    pub fn faults(&self) -> Faults {
        self.inner.links.faults.get()
    }

    /// What peers call, over HTTP/2. Independent of sockets: a simulation calls it directly.
    pub fn peer_router(&self) -> axum::Router {
        peer_server::router(Arc::clone(&self.inner))
    }

    /// Resolves when the node has stopped, with the reason.
    pub fn stopped(&self) -> impl Future<Output = StopReason> + Send + 'static {
        let stop = self.inner.stop.clone();
        async move { stop.wait().await }
    }

    /// Hands leadership over where this node leads, then stops it and closes its storage. Calls in flight
    /// are answered with an error. Idempotent.
    pub async fn shutdown(&self) {
        let inner = &self.inner;
        let first = !inner.draining.send_replace(true);
        if first && inner.stop.get().is_none() {
            inner.hand_over().await;
        }
        inner.stop.set(StopReason::Shutdown);
        if inner.raft.shutdown().await.is_err() {
            tracing::warn!("the consensus task ended in a panic");
        }
        if let Err(error) = inner.storage.close().await {
            tracing::debug!(%error, "the storage was closed already");
        }
    }
}

impl Inner {
    /// The leader, where one is known and was heard of lately. A leader that no majority answers does not
    /// know itself as one.
    pub(crate) fn leader(&self) -> Option<u64> {
        let metrics = self.raft.metrics();
        let now = metrics.borrow_watched();
        let leader = now.current_leader?;
        let silence = Duration::from_millis(2 * self.config.election_max_ms);
        if leader != self.links.me() {
            let heard = *self.heard.lock().unwrap_or_else(PoisonError::into_inner);
            return heard.filter(|heard| heard.elapsed() < silence).map(|_| leader);
        }
        let alone = now.membership_config.membership().voter_ids().all(|id| id == leader);
        let acked = now.last_quorum_acked.is_some_and(|acked| openraft::Instant::elapsed(&*acked) < silence);
        (now.state == ServerState::Leader && (alone || acked)).then_some(leader)
    }

    /// A leader was heard, with what its clock said, and what it says is committed.
    pub(crate) fn heard_leader(&self, clock: Option<Millis>, committed: Option<u64>) {
        let now = Instant::now();
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
        if let Some(committed) = committed {
            let applied = self.applied.index();
            self.pace.lock().unwrap_or_else(PoisonError::into_inner).heard(committed, applied, now);
        }
        if let Some(stamp) = clock {
            self.clock.observe(stamp);
        }
    }

    /// Likewise, unless `vote` is that of a leader that was replaced.
    pub(crate) fn heard_leader_of(&self, vote: &Vote, clock: Option<Millis>, committed: Option<u64>) {
        let term = self.raft.server_metrics().borrow_watched().vote.leader_id.term;
        if vote.leader_id.term >= term {
            self.heard_leader(clock, committed);
        }
    }

    /// Whether this node stands still behind what it knows to be committed: it cannot tell what happens.
    pub(crate) fn is_stalled(&self) -> bool {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner).stalled(self.applied.index(), Instant::now())
    }

    /// Resolves when another leader or another role is known, or after `pause`.
    pub(crate) async fn leader_changed(&self, pause: Duration) {
        let mut metrics = self.raft.server_metrics();
        drop(metrics.borrow_and_update());
        if let Ok(Err(_)) = timeout(pause, metrics.changed()).await {
            tokio::time::sleep(pause).await;
        }
    }

    /// Where a member is reached.
    pub(crate) fn peer(&self, id: u64) -> Option<Peer> {
        let metrics = self.raft.server_metrics();
        let now = metrics.borrow_watched();
        now.membership_config.membership().get_node(&id).cloned()
    }

    pub(crate) fn voters(&self) -> Vec<u64> {
        let metrics = self.raft.server_metrics();
        let now = metrics.borrow_watched();
        now.membership_config.membership().voter_ids().collect()
    }

    /// Whether a change of the voters is half done: two sets of them decide together.
    pub(crate) fn is_joint(&self) -> bool {
        let metrics = self.raft.server_metrics();
        let now = metrics.borrow_watched();
        now.membership_config.membership().get_joint_config().len() > 1
    }

    /// Whether commands and reads are taken.
    pub(crate) fn serving(&self) -> Result<(), String> {
        if let Some(reason) = self.stop.get() {
            return Err(reason.to_string());
        }
        if *self.draining.borrow() {
            return Err("this node is shutting down".to_owned());
        }
        self.suspended.borrow().clone().map_or(Ok(()), Err)
    }

    pub(crate) fn suspend(&self, why: Option<String>) {
        self.suspended.send_replace(why);
    }

    pub(crate) fn is_suspended(&self) -> bool {
        self.suspended.borrow().is_some()
    }

    /// Resolves once this node does not serve.
    pub(crate) async fn wait_suspended(&self) {
        let mut suspended = self.suspended.subscribe();
        // The sender lives as long as `self`.
        drop(suspended.wait_for(Option::is_some).await);
    }

    pub(crate) fn stop_reason(&self) -> Option<StopReason> {
        self.stop.get()
    }

    /// Resolves when a stream with `peer` must end: it is cut, or this node stops.
    pub(crate) async fn stream_ends(&self, peer: u64) {
        tokio::select! {
            biased;
            () = self.links.faults.cut(peer) => {}
            _ = self.stop.wait() => {}
        }
    }

    pub(crate) fn stop(&self, reason: StopReason) {
        self.stop.set(reason);
    }
}
