//! Simulated machines with a node on them: real consensus, store and API, over a disk that crashes.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use quorate_api::Member;
use quorate_log_store::{
    OpenError, Storage, StorageOptions, WriterMode,
    sim_disk::{CrashMode, CrashReport, SimDisk},
};
use quorate_node::{
    config::NodeConfig,
    http::api_router,
    node::{Node, StopReason, new_store_id},
};
use quorate_seams::World;
use rand::Rng;

use crate::{
    clock::Machine,
    note,
    process::{Process, Who},
    sim::Sim,
    view::RaftView,
};

/// Where its peers reach a node.
#[must_use]
pub fn peer_address(id: u64) -> String {
    format!("n{id}:7001")
}

/// Where clients reach it.
#[must_use]
pub fn api_address(id: u64) -> String {
    format!("n{id}:7101")
}

/// A node as a member.
#[must_use]
pub fn member(id: u64) -> Member {
    Member { node_id: id, peer_addr: peer_address(id), api_addr: api_address(id), voter: true }
}

/// Opens the store of node `id` on a disk.
///
/// # Errors
/// What the store refuses.
pub fn open_storage(id: u64, world: &World, disk: SimDisk) -> Result<Storage, OpenError> {
    let clocks = Arc::clone(&world.clocks);
    let mut options = StorageOptions::new("sim", id, new_store_id(world), WriterMode::Inline, clocks);
    options.failpoints = world.failpoints.clone();
    options.cache_bytes = 1 << 20;
    Storage::open(disk, options)
}

/// A machine with a node.
pub struct NodeHost {
    /// Its clocks.
    pub machine: Arc<Machine>,
    /// Its disk.
    pub disk: SimDisk,
    /// Counts its lives.
    pub life: u64,
    /// The process, while it runs.
    pub process: Option<Process>,
    /// The node in it, once it started.
    pub node: Option<Node>,
    /// Faults that keep it down.
    pub held_down: u32,
    /// Whether its disk has rotted: bits were flipped.
    pub rotted: bool,
    /// Whether it refuses its disk: it never comes back, and is to be replaced.
    pub refused: bool,
    /// Whether its disk was replaced by an empty one: it runs, takes no part, and is to be replaced.
    pub wiped: bool,
    /// Whether it was removed from the group: it never comes back either.
    pub removed: bool,
    /// The next frame to be looked at.
    pub next_frame: u64,
    /// How its end leaves its disk, where a failpoint or a dead disk ends it.
    pub end_mode: CrashMode,
    /// Its consensus, as it was last seen.
    pub raft: Arc<Mutex<Option<RaftView>>>,
    /// What its crashes left of unsynced writes.
    pub crashes: CrashReport,
}

impl NodeHost {
    /// A machine with an empty disk.
    #[must_use]
    pub fn new(machine: Arc<Machine>) -> Self {
        Self {
            machine,
            disk: SimDisk::new(),
            life: 0,
            process: None,
            node: None,
            held_down: 0,
            rotted: false,
            refused: false,
            wiped: false,
            removed: false,
            next_frame: 0,
            end_mode: CrashMode::KeepAll,
            raft: Arc::default(),
            crashes: CrashReport::default(),
        }
    }

    /// Whether its data is lost, or may be: no more than a minority may be so.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.rotted || self.refused || self.wiped
    }

    /// The node, where it runs.
    #[must_use]
    pub fn running(&self) -> Option<&Node> {
        self.node.as_ref().filter(|_| self.is_up())
    }

    /// Whether the process runs.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.process.as_ref().is_some_and(|process| process.party.is_alive())
    }

    /// Its consensus, as it was last seen.
    #[must_use]
    pub fn raft_view(&self) -> Option<RaftView> {
        self.raft.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Sim {
    /// How node `id` is started.
    #[must_use]
    pub fn node_config(&self, id: u64) -> NodeConfig {
        let plan = &self.plan;
        NodeConfig {
            cluster_id: "sim".to_owned(),
            node_id: id,
            data_dir: PathBuf::new(),
            listen_peer: ([127, 0, 0, 1], 0).into(),
            listen_api: ([127, 0, 0, 1], 0).into(),
            initial_members: (1..=plan.nodes).map(member).collect(),
            heartbeat_ms: plan.heartbeat_ms,
            election_min_ms: plan.election_min_ms,
            election_max_ms: plan.election_min_ms * 2,
            snapshot_every: plan.snapshot_every,
            log_keep: plan.log_keep,
            event_retention: plan.event_retention,
            max_in_flight: 1_024,
            max_connections: 64,
            max_event_streams: 32,
            fault_injection: false,
            failpoints: String::new(),
            wall_clock_offset_ms: 0,
            self_check: true,
            accept_own_state: false,
        }
    }

    /// Starts node `id`, unless it runs, or something keeps it down.
    pub fn ensure_node(self: &Arc<Self>, id: u64) {
        let who = Who::Node(id);
        let sim = Arc::clone(self);
        let mut state = self.state();
        let Some(host) = state.nodes.get_mut(&id) else { return };
        if host.process.is_some() || host.held_down > 0 || host.refused || host.removed {
            return;
        }
        host.life += 1;
        let life = host.life;
        let (ended, disk) = (Arc::downgrade(self), host.disk.clone());
        let on_crash = move |name: &str| {
            disk.kill();
            let Some(sim) = ended.upgrade() else { return };
            note!(sim.trace, "n{id} ended at failpoint {name}");
            let name = format!("ended at failpoint {name}");
            tokio::spawn(async move {
                sim.count(name);
                sim.node_ended(id, life);
            });
        };
        let process = Process::start(who, life, self.process_seed(who, life), &host.machine, &self.net, on_crash);
        let disk = host.disk.clone();
        host.process = Some(process.clone());
        drop(state);
        note!(self.trace, "n{id} starts, life {life}");
        let world = process.world.clone();
        process.world.tasks.spawn(async move {
            let storage = match open_storage(id, &world, disk) {
                Ok(storage) => storage,
                Err(error) => return sim.node_refuses(id, life, &error.to_string()),
            };
            let party = process.party.clone();
            match Node::start(sim.node_config(id), world, storage).await {
                Ok(node) => {
                    sim.net.serve(&peer_address(id), party.clone(), Some(node.peer_router()));
                    sim.net.serve(&api_address(id), party, Some(api_router(node.clone())));
                    sim.node_started(id, node.clone());
                    let reason = node.stopped().await;
                    sim.node_stopped(id, life, &reason);
                }
                Err(error) => sim.node_refuses(id, life, &error.to_string()),
            }
        });
    }

    fn node_started(&self, id: u64, node: Node) {
        let metrics = node.metrics();
        note!(self.trace, "n{id} runs, applied {} of {}", metrics.applied_index, metrics.last_log_index);
        let seen = self.checks().frames().len() as u64;
        let mut state = self.state();
        let Some(host) = state.nodes.get_mut(&id) else { return };
        // What a snapshot holds was looked at before it was built, but for what nobody lived to show; what follows it is
        // applied again.
        let after_snapshot = if metrics.applied_index == 0 { 0 } else { metrics.applied_index + 1 };
        host.next_frame = after_snapshot.min(seen);
        host.node = Some(node);
    }

    /// The storage does not open, or holds what cannot be read.
    fn node_refuses(self: &Arc<Self>, id: u64, life: u64, why: &str) {
        note!(self.trace, "n{id} does not start: {why}");
        let mut state = self.state();
        let Some(host) = state.nodes.get_mut(&id) else { return };
        // A full disk may have room again; one that failed works again after the next start.
        let passing = host.disk.is_dead() || why.contains("simulated disk");
        if !passing {
            let rotted = host.rotted;
            host.refused = true;
            drop(state);
            self.count("disks refused");
            if !rotted {
                self.wrong("storage opens", format!("node {id} refuses a sound disk: {why}"));
            }
        } else {
            drop(state);
        }
        let sim = Arc::clone(self);
        tokio::spawn(async move { sim.node_ended(id, life) });
    }

    /// It stopped by itself.
    fn node_stopped(self: &Arc<Self>, id: u64, life: u64, reason: &StopReason) {
        note!(self.trace, "n{id} stops: {reason}");
        match reason {
            StopReason::Shutdown => {}
            StopReason::Storage(_) => self.count("nodes stopped by storage"),
            StopReason::Unsupported { .. }
            | StopReason::Diverged { .. }
            | StopReason::Copied { .. }
            | StopReason::Failed(_) => {
                self.wrong("nodes stop for a reason", format!("node {id}: {reason}"));
            }
        }
        // Whoever told it to stop waits for the storage to be closed, and ends it then.
        let grace = if *reason == StopReason::Shutdown { Duration::from_secs(12) } else { Duration::ZERO };
        let sim = Arc::clone(self);
        tokio::spawn(async move {
            tokio::time::sleep(grace).await;
            sim.node_ended(id, life);
        });
    }

    /// Its process has ended, or is to: what its supervisor does.
    pub fn node_ended(self: &Arc<Self>, id: u64, life: u64) {
        let mode = {
            let state = self.state();
            let Some(host) = state.nodes.get(&id).filter(|host| host.life == life && host.process.is_some()) else {
                return;
            };
            host.end_mode
        };
        self.crash_node(id, mode);
        self.start_later(Who::Node(id), self.restart_pause());
    }

    /// Ends node `id` at once; its disk is as `mode` leaves it. Does nothing where it does not run.
    pub fn crash_node(self: &Arc<Self>, id: u64, mode: CrashMode) {
        let mut state = self.state();
        let state = &mut *state;
        let Some(host) = state.nodes.get_mut(&id) else { return };
        let Some(process) = host.process.take() else { return };
        process.party.end();
        let (disk, report) = host.disk.crash(mode, state.rng.random());
        host.crashes.add(report);
        host.disk = disk;
        host.end_mode = CrashMode::KeepAll;
        host.node = None;
        note!(
            self.trace,
            "n{id} ended: {mode:?}, of {} unsynced writes {} lost, {} torn",
            report.pending,
            report.lost,
            report.torn
        );
    }

    /// Tells node `id` to leave in good order, as SIGTERM does.
    pub fn terminate_node(self: &Arc<Self>, id: u64) {
        let (node, process, life) = {
            let state = self.state();
            let Some(host) = state.nodes.get(&id) else { return };
            let (Some(node), Some(process)) = (host.running().cloned(), host.process.clone()) else { return };
            (node, process, host.life)
        };
        note!(self.trace, "n{id} is told to stop");
        let sim = Arc::clone(self);
        process.world.tasks.spawn(async move {
            let _ = tokio::time::timeout(Duration::from_secs(10), node.shutdown()).await;
            tokio::spawn(async move { sim.node_ended(id, life) });
        });
    }
}
