//! Leadership is asked for a node that is dead: it is refused, and whoever leads leads on.

use std::sync::Arc;

use quorate_log_store::sim_disk::CrashMode;
use rand::seq::IndexedRandom;

use super::{Kind, Scene};
use crate::{operator::ATTEMPT, process::Who};

pub(super) async fn to_dead(mut scene: Scene) {
    let changing = Arc::clone(&scene.operator.changing);
    let Ok(_one) = changing.try_lock() else { return };
    let Some(members) = scene.operator.members().await else { return };
    let Some(leader) = scene.sim.leader() else { return };
    let up = scene.up();
    let followers: Vec<u64> = up.iter().copied().filter(|id| *id != leader && members.contains(id)).collect();
    let Some(dead) = followers.choose(&mut scene.rng).copied() else { return };
    // Where nothing else goes wrong the leader is not even disturbed.
    let alone = scene.sim.plan.faults.iter().all(|fault| fault.kind == Kind::TransferToDead);
    let quiet = alone && members.iter().all(|id| ready(&scene, *id));
    let before = term(&scene, leader);
    scene.happened(dead);
    scene.hold_down(Who::Node(dead), 1);
    scene.sim.crash_node(dead, CrashMode::KeepAll);
    let handed = scene.operator.client().transfer_leader(dead, ATTEMPT).await;
    if handed.is_ok() {
        scene.sim.wrong("the dead do not lead", format!("node {dead} was killed, and is said to lead"));
    }
    scene.last().await;
    let after = scene.sim.leader().map(|id| (id, term(&scene, id)));
    if quiet && after != Some((leader, before)) {
        let what = format!("node {leader} led term {before:?} when {dead} was to lead, and now {after:?}");
        scene.sim.wrong("the dead do not lead", what);
    }
    scene.hold_down(Who::Node(dead), -1);
    scene.sim.ensure_node(dead);
}

fn ready(scene: &Scene, id: u64) -> bool {
    scene.sim.state().nodes.get(&id).is_some_and(|host| host.running().is_some_and(|node| node.readiness().is_ok()))
}

fn term(scene: &Scene, id: u64) -> Option<u64> {
    scene.sim.state().nodes.get(&id).and_then(|host| Some(host.running()?.metrics().term))
}
