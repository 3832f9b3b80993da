//! A node that belongs to another group, and is to be added to this one: it must be refused, and change nothing.

use std::{sync::Arc, time::Duration};

use quorate_api::ChangeMembers;
use quorate_client::ReadOptions;
use quorate_log_store::sim_disk::SimDisk;
use quorate_node::{config::NodeConfig, node::Node};
use tokio::time::{sleep, timeout};

use super::Scene;
use crate::{
    node::{member, open_storage, peer_address},
    process::{Process, Who},
};

/// Ids of foreign nodes begin here: no member ever has one of them.
const FIRST_ID: u64 = 900;
/// How long a node may take to found a group of its own.
const FOUNDS_WITHIN: Duration = Duration::from_secs(10);
/// How long the operator tries to add it.
const ADD_WITHIN: Duration = Duration::from_secs(4);

pub(super) async fn add(scene: Scene) {
    let changing = Arc::clone(&scene.operator.changing);
    let Ok(_one) = changing.try_lock() else { return };
    let read = ReadOptions::linearizable().within(ADD_WITHIN);
    let Ok(cluster) = scene.operator.client().cluster(&read).await else { return };
    let sim = &scene.sim;
    let (id, machine) = (FIRST_ID + scene.key, sim.machine(&mut sim.state()));
    let who = Who::Node(id);
    let process = Process::start(who, 1, sim.process_seed(who, 1), &machine, &sim.net, |_| {});
    let config = NodeConfig { initial_members: vec![member(id)], ..sim.node_config(id) };
    let Ok(storage) = open_storage(id, &process.world, SimDisk::new()) else { return sim.wrong("storage opens", format!("foreign node {id}: an empty disk")) };
    let Ok(node) = Node::start(config, process.world.clone(), storage).await else {
        return sim.wrong("nodes start", format!("foreign node {id}"));
    };
    sim.net.serve(&peer_address(id), process.party.clone(), Some(node.peer_router()));
    let founds = async {
        while node.readiness().is_err() {
            sleep(Duration::from_millis(50)).await;
        }
    };
    if timeout(FOUNDS_WITHIN, founds).await.is_err() {
        return sim.wrong("founds", format!("foreign node {id} founds no group of its own"));
    }
    let voters = cluster.data.members.iter().filter(|present| present.voter).map(|present| present.node_id);
    let members = voters.chain([id]).map(member).collect();
    let change = ChangeMembers { membership_index: cluster.data.membership_index, members };
    let added = scene.operator.client().change_members(&change, ADD_WITHIN).await;
    scene.happened(id);
    if added.is_ok() {
        sim.wrong("groups do not mix", format!("node {id} of another group was added"));
    }
    process.party.end();
}
