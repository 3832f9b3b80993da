//! How a node starts, and the duties that run beside openraft until it stops.

use std::{
    future::Future,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use openraft::{
    Config, SnapshotPolicy, StepDownPolicy, async_runtime::WatchReceiver, errors::Fatal, storage::RaftLogStorage,
};
use quorate_api::StoreId;
use quorate_log_store::{LogStore, Storage};
use quorate_seams::World;
use tokio::{
    runtime::{Handle, RuntimeFlavor},
    sync::{RwLock, watch},
    time::Instant,
};

use super::{
    Divergence, Inner, Node, Pace, Part, Places, StartError, StopCell, StopReason, Turns, counters::Counters,
    divergence, names,
};
use crate::{
    config::NodeConfig,
    raft::{
        clock::SharedClock,
        faults::FaultSwitch,
        links::Links,
        network::Network,
        runtime::NodeScope,
        snapshot::HistorySource,
        state_machine::{self, Shared, SnapshotCounts, StateMachine},
        types::{Peer, Raft, TypeConfig},
    },
};

/// Entries sent to a follower in one append.
const APPEND_ENTRIES_MAX: u64 = 512;
/// Entries written to the disk in one append.
const WRITE_ENTRIES_MAX: u64 = 4_096;
/// Commands that openraft merges into one write.
const API_BATCH_MAX: u64 = 4_096;
/// Calls that may wait for openraft.
const API_QUEUE_MAX: u64 = 16_384;
/// Longest a follower may take to install a snapshot.
const INSTALL_SNAPSHOT_MS: u64 = 60_000;
/// Log entries purged at a time.
const PURGE_BATCH: u64 = 1_024;
/// Pauses before a peer that was not reached is tried again.
const BACKOFF: &str = "50ms 100ms 200ms ...500ms";

impl Node {
    /// Recovers what `storage` holds and joins the group; on the very first start, forms it with
    /// `config.initial_members`. Serves peers only once somebody serves [`Node::peer_router`].
    ///
    /// On a runtime with a single thread (a simulation), blocking work runs on the spot.
    ///
    /// # Errors
    /// [`StartError`] where the configuration does not fit together or the storage cannot be read.
    pub async fn start(config: NodeConfig, world: World, storage: Storage) -> Result<Self, StartError> {
        let inline = Handle::current().runtime_flavor() == RuntimeFlavor::CurrentThread;
        let scope = NodeScope::new(&world, inline);
        // Boxed: recovery is large, and happens once.
        scope.run(Box::pin(Self::start_inside(config, world, storage, scope.clone()))).await
    }

    async fn start_inside(
        config: NodeConfig,
        world: World,
        storage: Storage,
        scope: NodeScope,
    ) -> Result<Self, StartError> {
        let raft_config = raft_config(&config)?;
        let stop = StopCell::new();
        let ruling = divergence::recover(&storage, config.accept_own_state).await?;
        let suspended = watch::Sender::new(ruling.suspends());
        let applied = Arc::new(state_machine::recover(&storage).await?);
        let snapshots = Arc::new(SnapshotCounts::default());
        let pruning = Arc::new(RwLock::new(()));
        let faults = FaultSwitch::new(config.fault_injection);
        let store = StoreId::new(storage.store_id());
        let links = Links::new(Arc::clone(&world.http), &config.cluster_id, config.node_id, store, faults);
        let clock = SharedClock::new(Arc::clone(&world.clocks));
        let machine = StateMachine::new(Shared {
            applied: Arc::clone(&applied),
            storage: storage.clone(),
            scope: scope.clone(),
            failpoints: world.failpoints.clone(),
            stop: stop.clone(),
            pruning: Arc::clone(&pruning),
            retention: config.event_retention,
            counts: Arc::clone(&snapshots),
        });
        let network = Network {
            links: links.clone(),
            clock: clock.clone(),
            history: HistorySource { applied: Arc::clone(&applied), storage: storage.clone(), pruning },
            snapshots: Arc::clone(&snapshots),
            not_taken: Arc::default(),
            // Heartbeats go beside the stream, so this may be longer than they may.
            stall: Duration::from_millis(2 * config.election_max_ms),
            suspended: suspended.subscribe(),
        };
        let unreadable = |error: std::io::Error| StartError::Storage(error.to_string());
        let mut log = LogStore::<TypeConfig>::new(&storage).map_err(unreadable)?;
        let tail = log.get_log_state().await.map_err(unreadable)?.last_log_id.map(|last| last.index);
        let raft = Raft::new(config.node_id, Arc::new(raft_config), network, log, machine).await;
        let raft = raft.map_err(|fatal| match stop.get() {
            Some(StopReason::Unsupported { what, .. }) => StartError::Unsupported(what),
            _ => StartError::Storage(fatal.to_string()),
        })?;
        let member = match check_address(&raft, &config).await {
            Ok(member) => member,
            Err(error) => {
                drop(raft.shutdown().await);
                return Err(error);
            }
        };
        // Whoever belongs to no group yet has nothing that a copy could vote with.
        let unchecked = member.filter(|_| config.self_check);
        raft.runtime_config().elect(unchecked.is_none());
        let part = Part::new(world.random_name(names::OPENING), unchecked.is_none());
        let inner = Arc::new(Inner {
            places: Places::new(config.max_in_flight),
            part,
            turns: Turns::new(&config),
            config,
            world,
            scope,
            links,
            clock,
            raft,
            applied,
            storage,
            snapshots,
            counters: Counters::default(),
            begun: watch::Sender::new(None),
            recovered: watch::Sender::new(tail.is_none()),
            heard: std::sync::Mutex::default(),
            pace: std::sync::Mutex::new(Pace::new(Instant::now())),
            divergence: Divergence::new(ruling),
            suspended,
            changing: Arc::default(),
            writes_held: AtomicBool::new(false),
            draining: watch::Sender::new(false),
            stop,
        });
        inner.take_up_duties(tail, unchecked);
        Ok(Self { inner })
    }
}

/// This node as its group knows it, if it is a member of one. A member does not start where it is not at the addresses
/// by which the group knows it: nobody would reach it there, and it may be a copy of the member that is.
async fn check_address(raft: &Raft, config: &NodeConfig) -> Result<Option<Peer>, StartError> {
    let me = config.node_id;
    // The metrics show nothing yet.
    let known = raft.with_raft_state(move |state| {
        let members = state.membership_state.effective().membership();
        members.get_node(&me).cloned()
    });
    let known = known.await.map_err(|fatal| StartError::Storage(fatal.to_string()))?;
    let Some(known) = known else { return Ok(None) };
    let listed = config.initial_members.iter().find(|member| member.node_id == config.node_id);
    match listed.filter(|listed| !known.is_at(listed)) {
        None => Ok(Some(known)),
        Some(listed) => Err(StartError::Config(format!(
            "initial-members: node {} is known to its group at {}/{}, and is listed here at {}/{}: start it where the \
             group knows it; or, to move it, remove it and add a new node under an id that was never used; or remove the \
             directory if it is a copy",
            config.node_id, known.peer_addr, known.api_addr, listed.peer_addr, listed.api_addr
        ))),
    }
}

fn raft_config(config: &NodeConfig) -> Result<Config, StartError> {
    let raft = Config {
        cluster_name: config.cluster_id.clone(),
        heartbeat_interval: config.heartbeat_ms,
        election_timeout_min: config.election_min_ms,
        election_timeout_max: config.election_max_ms,
        install_snapshot_timeout: INSTALL_SNAPSHOT_MS,
        max_payload_entries: APPEND_ENTRIES_MAX,
        max_append_entries: Some(WRITE_ENTRIES_MAX),
        // A follower this far behind gets a snapshot, which is never farther behind than this itself.
        replication_lag_threshold: config.snapshot_every + config.log_keep,
        snapshot_policy: SnapshotPolicy::LogsSinceLast(config.snapshot_every),
        max_in_snapshot_log_to_keep: config.log_keep,
        purge_batch_size: PURGE_BATCH.min(config.log_keep.max(1)),
        api_channel_size: Some(API_QUEUE_MAX),
        api_batch_capacity: API_BATCH_MAX,
        api_batch_linger_ms: 0,
        // Without it a node that was cut off comes back with a higher term and deposes a healthy leader.
        enable_pre_vote: Some(true),
        // A leader that restarts stands for election: its clock and its state begin anew.
        enable_leader_restore: Some(false),
        // Not before it is known that this node takes part: see `node/identity.rs`.
        enable_elect: false,
        // A leader that hears no majority falls silent for a while, so that those who hear it, but cannot
        // answer, elect another.
        quorum_loss_probe_interval: Some(2 * config.election_max_ms),
        removed_leader_step_down: StepDownPolicy::After(config.election_min_ms),
        backoff: BACKOFF.to_owned(),
        ..Config::default()
    };
    raft.validate().map_err(|error| StartError::Config(error.to_string()))
}

impl Inner {
    fn take_up_duties(self: &Arc<Self>, tail: Option<u64>, unchecked: Option<Peer>) {
        self.duty("lead", Arc::clone(self).lead());
        self.duty("compare", Arc::clone(self).compare_states());
        self.duty("form-group", Arc::clone(self).form_group());
        if let Some(peer) = unchecked {
            self.duty("check-own-address", Arc::clone(self).check_own_address(peer));
        }
        self.duty("tend-members", Arc::clone(self).tend_members());
        self.duty("recover", Arc::clone(self).watch_recovery(tail));
        self.duty("watch-raft", Arc::clone(self).watch_raft());
        self.duty("watch-storage", Arc::clone(self).watch_storage());
        let node = Arc::clone(self);
        self.scope.spawn(async move {
            node.stop.wait().await;
            // Whatever the reason: nothing is committed with this node's help any more.
            drop(node.raft.shutdown().await);
        });
    }

    /// Runs `work` until it ends or the node stops. A panic in it stops the node.
    fn duty(self: &Arc<Self>, name: &'static str, work: impl Future<Output = ()> + Send + 'static) {
        let (stop, failed) = (self.stop.clone(), self.stop.clone());
        let task = self.scope.spawn(async move {
            tokio::select! {
                biased;
                () = work => {}
                _ = stop.wait() => {}
            }
        });
        self.scope.spawn(async move {
            if task.await.is_err_and(|error| error.is_panic()) {
                failed.set(StopReason::Failed(format!("the task '{name}' panicked")));
            }
        });
    }

    /// Reads that ask for no freshness wait until what this node may have applied before is applied again:
    /// all of its log, or as much of it as the group turns out to have committed.
    async fn watch_recovery(self: Arc<Self>, tail: Option<u64>) {
        let Some(tail) = tail else { return };
        tokio::select! {
            biased;
            () = self.applied.wait_index(tail) => {}
            committed = self.raft.wait_for_recovery(None) => if committed.is_err() {
                return;
            },
        }
        tracing::info!(applied = self.applied.index(), "recovered");
        self.recovered.send_replace(true);
    }

    async fn watch_raft(self: Arc<Self>) {
        let mut metrics = self.raft.metrics();
        loop {
            let failed = metrics.borrow_and_update().running_state.clone().err();
            match failed {
                Some(Fatal::StorageError(error)) => {
                    let failed = self.storage.failure().borrow().clone();
                    // The store says more of its own failure than what comes back through openraft.
                    let why = failed.map_or_else(
                        || format!("{error}: check the disk, then start again"),
                        |failed| failed.to_string(),
                    );
                    return self.stop(StopReason::Storage(why));
                }
                Some(Fatal::Panicked) => {
                    return self.stop(StopReason::Failed("the consensus task panicked".to_owned()));
                }
                Some(Fatal::Stopped) => return self.stop(StopReason::Shutdown),
                None => {}
            }
            if metrics.changed().await.is_err() {
                return self.stop(StopReason::Failed("the consensus task ended without a word".to_owned()));
            }
        }
    }

    async fn watch_storage(self: Arc<Self>) {
        let failed = self.storage.failed().await;
        self.stop(StopReason::Storage(failed.to_string()));
    }
}
