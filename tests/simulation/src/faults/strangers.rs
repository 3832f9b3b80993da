//! Who is to be added, and must be refused, so that nothing changes: a node that belongs to another group, and an
//! address that nobody serves.

use std::{sync::Arc, time::Duration};

use quorate_api::ChangeMembers;
use quorate_client::ReadOptions;
use quorate_log_store::sim_disk::SimDisk;
use quorate_node::{config::NodeConfig, node::Node};
use tokio::time::{sleep, timeout};

use super::Scene;
use crate::{
    node::{member, open_storage, peer_address},
    process::{Party, Process, Who},
};

/// Ids of who is refused begin here: no member ever has one of them.
pub const STRANGERS_FROM: u64 = 900;
/// How long a node may take to found a group of its own.
const FOUNDS_WITHIN: Duration = Duration::from_secs(10);
/// How long the operator tries to add it.
const ADD_WITHIN: Duration = Duration::from_secs(4);

/// Ends a foreign node also where its fault is given up.
struct Ends(Party);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.end();
    }
}

pub(super) async fn add_foreign(scene: Scene) {
    let changing = Arc::clone(&scene.operator.changing);
    let Ok(_one) = changing.try_lock() else { return };
    let sim = &scene.sim;
    let (id, machine) = (STRANGERS_FROM + scene.key, sim.machine(&mut sim.state()));
    let who = Who::Node(id);
    let process = Process::start(who, 1, sim.process_seed(who, 1), &machine, &sim.net, |_| {});
    let _ends = Ends(process.party.clone());
    let config = NodeConfig { initial_members: vec![member(id)], ..sim.node_config(id) };
    let Ok(storage) = open_storage(id, &process.world, SimDisk::new()) else {
        return sim.wrong("storage opens", format!("foreign node {id}: an empty disk"));
    };
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
    is_refused(&scene, id).await;
}

pub(super) async fn add_dead(scene: Scene) {
    let changing = Arc::clone(&scene.operator.changing);
    let Ok(_one) = changing.try_lock() else { return };
    is_refused(&scene, STRANGERS_FROM + scene.key).await;
}

/// Asks once for `id` as one more voter: it is not added, and the members are those of before.
async fn is_refused(scene: &Scene, id: u64) {
    let client = scene.operator.client();
    let read = ReadOptions::linearizable().within(ADD_WITHIN);
    let Ok(before) = client.cluster(&read).await else { return };
    let voters = before.data.members.iter().filter(|present| present.voter).map(|present| present.node_id);
    let members = voters.chain([id]).map(member).collect();
    let change = ChangeMembers { membership_index: before.data.membership_index, members };
    let added = client.change_members(&change, ADD_WITHIN).await;
    scene.happened(id);
    if added.is_ok() {
        scene.sim.wrong("strangers are refused", format!("node {id} was added"));
    }
    let Ok(after) = client.cluster(&read).await else { return };
    // What was half done before may have been finished meanwhile.
    if !before.data.joint && after.data.membership_index != before.data.membership_index {
        let what = format!("the members were {:?}, and are {:?}", before.data.members, after.data.members);
        scene.sim.wrong("strangers are refused", what);
    }
}
