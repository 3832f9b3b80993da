//! Changes of membership, by the operator: a new machine has a new id, always.

use std::{collections::BTreeSet, sync::Arc};

use rand::{Rng, seq::IteratorRandom};

use super::{Kind, Scene};
use crate::{node::NodeHost, note, operator::Operator, process::Who, sim::Sim};

/// Members at most.
const MEMBERS_MAX: usize = 5;

pub(super) async fn happen(mut scene: Scene) {
    match scene.fault.kind {
        Kind::TransferLeader => {
            let Some(to) = scene.one_up() else { return };
            scene.happened(to);
            scene.operator.transfer_leader(to).await;
        }
        Kind::Snapshot => {
            scene.happened("");
            scene.operator.snapshot().await;
        }
        Kind::ReplaceMember => {
            let changing = Arc::clone(&scene.operator.changing);
            let Ok(_one) = changing.try_lock() else { return };
            let Some(members) = scene.operator.members().await else { return };
            let Some(leaving) = leaving(&mut scene, &members) else { return };
            let joining = join(&scene.sim);
            scene.happened((leaving, joining));
            let mut new = members;
            new.remove(&leaving);
            new.insert(joining);
            change(&scene.sim, &scene.operator, &new).await;
        }
        _ => {
            let changing = Arc::clone(&scene.operator.changing);
            let Ok(_one) = changing.try_lock() else { return };
            let Some(mut members) = scene.operator.members().await else { return };
            let grows = members.len() < 3 || (members.len() < MEMBERS_MAX && scene.rng.random_bool(0.5));
            if grows {
                members.insert(join(&scene.sim));
            } else if let Some(leaving) = leaving(&mut scene, &members) {
                members.remove(&leaving);
            }
            scene.happened(&members);
            change(&scene.sim, &scene.operator, &members).await;
        }
    }
}

/// Who is to leave: nobody removes a sound member while another one's data is lost.
fn leaving(scene: &mut Scene, members: &BTreeSet<u64>) -> Option<u64> {
    let lost = {
        let state = scene.sim.state();
        members.iter().copied().find(|id| state.nodes.get(id).is_some_and(NodeHost::is_lost))
    };
    lost.or_else(|| members.iter().copied().choose(&mut scene.rng))
}

/// A new machine with an empty disk, started under an id that nobody had.
fn join(sim: &Arc<Sim>) -> u64 {
    let id = {
        let state = &mut *sim.state();
        let machine = sim.machine(state);
        let id = state.nodes.keys().next_back().copied().unwrap_or(0) + 1;
        state.nodes.insert(id, NodeHost::new(machine));
        id
    };
    sim.ensure_node(id);
    id
}

/// Insists on these members; those that left are switched off.
async fn change(sim: &Arc<Sim>, operator: &Operator, members: &BTreeSet<u64>) {
    operator.set_members(members).await;
    operator.learn_addresses();
    if let Some(present) = operator.members().await {
        retire(sim, &present);
    }
}

/// Switches off who was a member and is no more.
fn retire(sim: &Arc<Sim>, members: &BTreeSet<u64>) {
    let leaving: Vec<u64> = {
        let mut state = sim.state();
        let gone = state.nodes.iter_mut().filter(|(id, host)| !members.contains(id) && !host.removed);
        gone.map(|(id, host)| {
            host.removed = true;
            *id
        })
        .collect()
    };
    for id in leaving {
        note!(sim.trace, "n{id} is switched off");
        sim.kill(Who::Node(id));
    }
}

/// Switches on again who is a member all the same: a change that was given up may have been made.
pub fn keep_members(sim: &Arc<Sim>, members: &BTreeSet<u64>) {
    for id in members {
        if let Some(host) = sim.state().nodes.get_mut(id) {
            host.removed = false;
        }
        sim.ensure_node(*id);
    }
}

/// Replaces members that refuse their disks, and switches off machines that are no members.
pub async fn replace_lost(sim: &Arc<Sim>, operator: &Operator) {
    loop {
        let members = loop {
            if let Some(members) = operator.members().await {
                break members;
            }
        };
        let lost: Vec<u64> = {
            let state = sim.state();
            members
                .iter()
                .copied()
                .filter(|id| state.nodes.get(id).is_none_or(|host| host.refused || host.removed || host.wiped))
                .collect()
        };
        if lost.is_empty() {
            keep_members(sim, &members);
            retire(sim, &members);
            operator.learn_addresses();
            if members.iter().all(|id| *id > sim.plan.nodes) {
                tell_everybody(sim);
            }
            return;
        }
        let mut new = members;
        for id in lost {
            new.remove(&id);
            let joining = join(sim);
            sim.count("lost members replaced");
            new.insert(joining);
        }
        operator.set_members(&new).await;
    }
}

/// Nobody of the beginning is left: who was cut off meanwhile may know no address any more, and is started with the
/// present ones.
fn tell_everybody(sim: &Arc<Sim>) {
    let makers = sim.plan.makers;
    for who in (1..=makers).map(Who::Maker).chain([Who::Exchange]) {
        sim.kill(who);
        sim.ensure_up(who);
    }
}
