//! Faults of clocks.

use std::sync::Arc;

use rand::{Rng, seq::IndexedRandom};

use super::{Kind, Scene};
use crate::{clock::Machine, process::Who};

/// Farthest that a wall clock steps, in milliseconds.
const STEP_MAX_MS: i64 = 120_000;
/// An oscillator is never farther off than this, in parts in a million: the margins of leases are made for more.
const DRIFT_MAX_PPM: i64 = 10_000;

pub(super) async fn happen(mut scene: Scene) {
    let everybody: Vec<Who> = scene.sim.everybody();
    let Some(who) = everybody.choose(&mut scene.rng).copied() else { return };
    let Some(machine) = machine_of(&scene, who) else { return };
    match scene.fault.kind {
        Kind::StepWall => {
            let by = step(&mut scene);
            scene.happened((who, by));
            machine.step_wall(by);
        }
        Kind::StepWallRestart => {
            let by = step(&mut scene);
            scene.happened((who, by));
            scene.hold_down(who, 1);
            scene.sim.kill(who);
            machine.step_wall(by);
            scene.last().await;
            scene.hold_down(who, -1);
            scene.sim.ensure_up(who);
        }
        _ => {
            let ppm = scene.rng.random_range(-DRIFT_MAX_PPM..=DRIFT_MAX_PPM);
            scene.happened((who, ppm));
            machine.set_drift(ppm);
            scene.last().await;
            machine.set_drift(0);
        }
    }
}

fn step(scene: &mut Scene) -> i64 {
    let most = if scene.rng.random_bool(0.5) { STEP_MAX_MS } else { 3_000 };
    scene.rng.random_range(-most..=most)
}

fn machine_of(scene: &Scene, who: Who) -> Option<Arc<Machine>> {
    let state = scene.sim.state();
    match who {
        Who::Node(id) => state.nodes.get(&id).map(|host| Arc::clone(&host.machine)),
        Who::Maker(number) => state.makers.get(&number).map(|host| Arc::clone(&host.machine)),
        Who::Exchange => Some(Arc::clone(&state.exchange.machine)),
        Who::Flow | Who::Operator | Who::Reader | Who::Feed => None,
    }
}
