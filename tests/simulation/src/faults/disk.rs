//! Faults of disks.

use quorate_log_store::sim_disk::CrashMode;
use rand::{Rng, seq::SliceRandom};

use super::{Kind, Scene};
use crate::process::Who;

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

/// Disks that may have rotted at most, over a run: less than half of the members of the beginning.
async fn rot(mut scene: Scene) {
    let mut candidates = scene.up();
    candidates.shuffle(&mut scene.rng);
    let running = scene.rng.random_bool(0.3);
    let flips = scene.rng.random_range(1..=200);
    let victim = {
        let state = scene.sim.state();
        let rotted = state.nodes.values().filter(|host| host.rotted).count() as u64;
        // One that rotted already may rot further.
        let may = rotted < scene.sim.plan.nodes.div_ceil(2) - 1;
        candidates.into_iter().find(|id| may || state.nodes.get(id).is_some_and(|host| host.rotted))
    };
    let Some(id) = victim else { return };
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
