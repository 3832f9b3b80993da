//! The same over real sockets, real files and real time.

#![allow(clippy::unwrap_used, reason = "what does not work ends the test")]

mod support;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use quorate_api::{Applied, Consistency, Member};
use quorate_log_store::{Storage, StorageOptions, WriterMode};
use quorate_node::{
    config::NodeConfig,
    node::{Node, new_store_id},
    run::{Listeners, RunError, run},
};
use quorate_seams::{Failpoints, World};
use support::open_session;
use tempfile::TempDir;
use tokio::{
    net::TcpListener,
    sync::oneshot,
    task::JoinHandle,
    time::{Instant, sleep},
};

struct Process {
    node: Node,
    stop: Option<oneshot::Sender<()>>,
    ended: JoinHandle<Result<(), RunError>>,
}

struct Cluster {
    dir: TempDir,
    members: Vec<Member>,
    processes: BTreeMap<u64, Process>,
}

fn config(id: u64, members: &[Member]) -> NodeConfig {
    let me = members.iter().find(|member| member.node_id == id).unwrap();
    NodeConfig {
        cluster_id: "sockets".to_owned(),
        node_id: id,
        data_dir: std::path::PathBuf::new(),
        listen_peer: me.peer_addr.parse().unwrap(),
        listen_api: me.api_addr.parse().unwrap(),
        initial_members: members.to_vec(),
        heartbeat_ms: 100,
        election_min_ms: 300,
        election_max_ms: 600,
        snapshot_every: 500,
        log_keep: 50,
        event_retention: 1_000,
        max_in_flight: 4_096,
        max_connections: 64,
        max_event_streams: 32,
        fault_injection: false,
        failpoints: String::new(),
        wall_clock_offset_ms: 0,
        self_check: true,
        accept_own_state: false,
    }
}

impl Cluster {
    async fn start() -> Self {
        let mut listeners = Vec::new();
        let mut members = Vec::new();
        for node_id in 1..=3 {
            let peer = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let api = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let (peer_addr, api_addr) = (peer.local_addr().unwrap().to_string(), api.local_addr().unwrap().to_string());
            members.push(Member { node_id, peer_addr, api_addr, voter: true });
            listeners.push(Listeners { peer, api });
        }
        let mut cluster = Self { dir: tempfile::tempdir().unwrap(), members, processes: BTreeMap::new() };
        for (id, listeners) in (1..).zip(listeners) {
            cluster.launch(id, listeners).await;
        }
        cluster
    }

    async fn launch(&mut self, id: u64, listeners: Listeners) {
        let world = World::real(Failpoints::none()).unwrap();
        let options =
            StorageOptions::new("sockets", id, new_store_id(&world), WriterMode::Thread, Arc::clone(&world.clocks));
        let storage = Storage::open_file(self.dir.path().join(format!("{id}.redb")), options).unwrap();
        let (started, node) = oneshot::channel();
        let (stop, stopped) = oneshot::channel::<()>();
        let api = move |node: Node| {
            assert!(started.send(node).is_ok());
            axum::Router::new()
        };
        let shutdown = async move { drop(stopped.await) };
        let ended = tokio::spawn(run(config(id, &self.members), world, storage, listeners, api, shutdown));
        let node = node.await.unwrap();
        self.processes.insert(id, Process { node, stop: Some(stop), ended });
    }

    async fn restart(&mut self, id: u64) {
        let listeners = Listeners::bind(&config(id, &self.members)).await.unwrap();
        self.launch(id, listeners).await;
    }

    async fn stop(&mut self, id: u64) {
        let mut process = self.processes.remove(&id).unwrap();
        process.stop.take().unwrap().send(()).unwrap();
        process.ended.await.unwrap().unwrap();
    }

    fn node(&self, id: u64) -> &Node {
        &self.processes[&id].node
    }

    async fn leader(&self) -> u64 {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let mut leaders = self.processes.values().map(|process| process.node.cluster().leader);
            let first = leaders.next().flatten();
            if let Some(leader) = first
                && self.processes.contains_key(&leader)
                && leaders.all(|other| other == first)
            {
                return leader;
            }
            assert!(Instant::now() < deadline, "no leader");
            sleep(Duration::from_millis(5)).await;
        }
    }

    async fn commit(&self, id: u64, count: usize) {
        let deadline = Instant::now() + Duration::from_secs(20);
        let answers = self.node(id).propose(vec![open_session(); count], deadline).await;
        assert!(answers.iter().all(|answer| matches!(answer, Applied::Response(_))), "{answers:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_over_sockets_commits_hands_over_and_catches_up_by_snapshot() {
    let mut cluster = Cluster::start().await;
    let leader = cluster.leader().await;
    for id in [1, 2, 3] {
        cluster.commit(id, 100).await;
    }
    let behind = [1, 2, 3].into_iter().find(|id| *id != leader).unwrap();
    cluster.stop(behind).await;
    for _ in 0..10 {
        cluster.commit(leader, 200).await;
    }
    let deadline = Instant::now() + Duration::from_secs(20);
    cluster.node(leader).trigger_snapshot(deadline).await.unwrap();
    // The leader leaves in order: another leads at once, with the log purged behind a snapshot.
    cluster.restart(behind).await;
    cluster.commit(behind, 1).await;
    cluster.stop(leader).await;
    let next = cluster.leader().await;
    assert_ne!(next, leader);
    cluster.commit(behind, 1).await;
    cluster.restart(leader).await;
    let mut audits = Vec::new();
    for id in [1, 2, 3] {
        let node = cluster.node(id);
        let read = node.read(Consistency::Linearizable, Instant::now() + Duration::from_secs(20)).await.unwrap();
        assert!(read.applied_index > 2_300);
        audits.push((read.applied_index, node.audit(&read).await));
    }
    assert_eq!(cluster.node(behind).metrics().snapshots_installed, 1);
    assert!(audits.iter().all(|audit| audit.1.violations.is_empty() && *audit == audits[0]), "{audits:?}");
    for id in [1, 2, 3] {
        cluster.stop(id).await;
    }
}
