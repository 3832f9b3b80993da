//! Faults of disks.

use std::{collections::BTreeSet, sync::Arc};

use quorate_log_store::sim_disk::{CrashMode, SimDisk};
use rand::{Rng, seq::SliceRandom};

use super::{Kind, Scene};
use crate::{node::NodeHost, process::Who};

pub(super) async fn happen(mut scene: Scene) {
    match scene.fault.kind {
        Kind::PowerLoss | Kind::PowerLossAll => power_loss(scene).await,
        Kind::DieAtOperation => {
            let mode = CrashMode::pick(scene.fault.seed);
            let operation = scene.rng.random_range(0..=400);
            let Some(id) = scene.one_up() else { return };
            let mut state = scene.sim.state();
            let Some(host) = state.nodes.get_mut(&id) else { return };
            host.end_mode = mode;
            host.disk.die_at(operation);
            drop(state);
            scene.happened((id, operation, mode));
        }
        Kind::FailSync => {
            let sync = scene.rng.random_range(0..=40);
            let Some(id) = scene.one_up() else { return };
            let mode = if scene.rng.random_bool(0.5) { CrashMode::KeepAll } else { CrashMode::pick(scene.fault.seed) };
            let mut state = scene.sim.state();
            let Some(host) = state.nodes.get_mut(&id) else { return };
            host.end_mode = mode;
            host.disk.fail_sync(sync);
            drop(state);
            scene.happened((id, sync, mode));
        }
        Kind::FullDisk => full(scene).await,
        Kind::WipeDisk => wipe(scene).await,
        _ => rot(scene).await,
    }
}

async fn power_loss(mut scene: Scene) {
    let mut victims = scene.up();
    victims.shuffle(&mut scene.rng);
    if scene.fault.kind == Kind::PowerLoss {
        victims.truncate(1);
    }
    scene.happened(&victims);
    for id in &victims {
        scene.hold_down(Who::Node(*id), 1);
        let mode = CrashMode::pick(scene.rng.random());
        scene.sim.crash_node(*id, mode);
    }
    scene.last().await;
    for id in &victims {
        scene.hold_down(Who::Node(*id), -1);
        scene.sim.ensure_node(*id);
    }
}

async fn full(mut scene: Scene) {
    let Some(id) = scene.one_up() else { return };
    let room = scene.rng.random_range(0..=256 << 10);
    let capacity = {
        let state = scene.sim.state();
        let Some(host) = state.nodes.get(&id) else { return };
        host.disk.image().len() + room
    };
    let set = |capacity: Option<usize>| {
        if let Some(host) = scene.sim.state().nodes.get(&id) {
            host.disk.set_capacity(capacity);
        }
    };
    scene.happened((id, room));
    set(Some(capacity));
    scene.last().await;
    set(None);
}

/// One of the voters that run whose data may be lost, as long as less than half of the voters have lost theirs by then.
/// Others have nothing to lose: whatever disk they have when they are added is theirs.
fn may_lose(scene: &mut Scene) -> Option<u64> {
    let mut candidates = scene.up();
    candidates.shuffle(&mut scene.rng);
    let state = scene.sim.state();
    let lost = |id: &u64| state.nodes.get(id).is_some_and(NodeHost::is_lost);
    let newest =
        state.nodes.values().filter_map(NodeHost::raft_view).max_by_key(|view| (view.membership_at, view.term));
    let voters = newest.map(|view| view.voters).unwrap_or_default();
    // A minority of every set of voters; one whose data is lost already may lose more.
    let may = |id: &u64| {
        let more = |set: &BTreeSet<u64>| {
            let count = set.iter().filter(|voter| lost(voter) || *voter == id).count();
            count * 2 < set.len()
        };
        voters.iter().any(|set| set.contains(id)) && (lost(id) || voters.iter().all(more))
    };
    candidates.into_iter().find(may)
}

/// Puts an empty disk in the place of a node's, and starts the node again under its id.
async fn wipe(mut scene: Scene) {
    // A change of members decides by whose data is lost: one or the other at a time.
    let changing = Arc::clone(&scene.operator.changing);
    let Ok(_one) = changing.try_lock() else { return };
    let Some(id) = may_lose(&mut scene) else { return };
    scene.happened(id);
    scene.hold_down(Who::Node(id), 1);
    scene.sim.crash_node(id, CrashMode::KeepAll);
    if let Some(host) = scene.sim.state().nodes.get_mut(&id) {
        host.wiped = true;
        host.disk = SimDisk::new();
    }
    scene.last().await;
    scene.hold_down(Who::Node(id), -1);
    scene.sim.ensure_node(id);
}

/// Flips bits of a disk.
async fn rot(mut scene: Scene) {
    let running = scene.rng.random_bool(0.3);
    let flips = scene.rng.random_range(1..=200);
    // A change of members decides by whose data is lost: one or the other at a time.
    let changing = Arc::clone(&scene.operator.changing);
    let Ok(_one) = changing.try_lock() else { return };
    let Some(id) = may_lose(&mut scene) else { return };
    scene.happened((id, flips, running));
    if !running {
        scene.hold_down(Who::Node(id), 1);
        let mode = CrashMode::pick(scene.rng.random());
        scene.sim.crash_node(id, mode);
    }
    {
        let mut state = scene.sim.state();
        let Some(host) = state.nodes.get_mut(&id) else { return };
        host.rotted = true;
        let bits = (host.disk.image().len() as u64 * 8).max(1);
        for _ in 0..flips {
            host.disk.flip_bit(scene.rng.random_range(0..bits));
        }
    }
    if !running {
        scene.last().await;
        scene.hold_down(Who::Node(id), -1);
        scene.sim.ensure_node(id);
    }
}
