//! Nodes in one process: peers over routers in memory, disks in memory, time as tokio has it (paused in
//! tests, so that a minute costs nothing).
#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(clippy::unwrap_used, reason = "what does not work ends the test")]

use std::{
    collections::BTreeMap,
    fmt, io,
    ops::Range,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::Router;
use http_body_util::BodyExt;
use quorate_api::{Applied, ChangeMembers, Consistency, Faults, Member};
use quorate_ledger::{Answer, Command, Envelope, Outcome, Response};
use quorate_log_store::{Storage, StorageOptions, WriterMode};
use quorate_node::{
    config::NodeConfig,
    node::{Node, Snapshot, StartError, new_store_id},
};
use quorate_seams::{Body, Call, CallError, Clocks, FailAction, Failpoints, Http, Tasks, World};
use redb::StorageBackend;
use tokio::time::{Instant, sleep};
use tower::ServiceExt;

/// One way of a message.
const LATENCY: Duration = Duration::from_millis(1);
/// Wall clock at the start of a test.
pub(crate) const EPOCH_MS: u64 = 1_700_000_000_000;

/// A disk in memory that outlives the node on it.
#[derive(Debug, Clone, Default)]
pub(crate) struct MemoryDisk(Arc<Mutex<Vec<u8>>>);

impl MemoryDisk {
    fn range(&self, offset: u64, len: usize) -> Range<usize> {
        let start = usize::try_from(offset).unwrap();
        start..start + len
    }
}

impl StorageBackend for MemoryDisk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().unwrap().len() as u64)
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        out.copy_from_slice(&self.0.lock().unwrap()[self.range(offset, out.len())]);
        Ok(())
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.lock().unwrap().resize(usize::try_from(len).unwrap(), 0);
        Ok(())
    }
    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.lock().unwrap()[self.range(offset, data.len())].copy_from_slice(data);
        Ok(())
    }
}

/// Clocks that go with tokio's.
#[derive(Debug)]
pub(crate) struct TestClocks {
    start: Instant,
    wall_offset_ms: i64,
}

impl Clocks for TestClocks {
    fn wall_ms(&self) -> u64 {
        let elapsed = u64::try_from(self.monotonic().as_millis()).unwrap();
        (EPOCH_MS + elapsed).saturating_add_signed(self.wall_offset_ms)
    }
    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }
}

/// Who serves an address: the router, and the process that it belongs to.
type Routes = Arc<Mutex<BTreeMap<String, (Router, Tasks)>>>;

/// Routes requests into the routers of the group.
#[derive(Clone, Default)]
pub(crate) struct MemoryHttp {
    routes: Routes,
    /// Calls to these paths there are answered only after so long.
    slow: Arc<Mutex<BTreeMap<(String, String), Duration>>>,
    /// Calls that found nobody.
    refused: Arc<Mutex<BTreeMap<String, u64>>>,
}

impl fmt::Debug for MemoryHttp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MemoryHttp")
    }
}

impl Http for MemoryHttp {
    fn call(&self, request: http::Request<Body>) -> Call<'_> {
        Box::pin(async move {
            let addr = request.uri().authority().unwrap().to_string();
            sleep(LATENCY).await;
            let busy = self.slow.lock().unwrap().get(&(addr.clone(), request.uri().path().to_owned())).copied();
            sleep(busy.unwrap_or_default()).await;
            let route = self.routes.lock().unwrap().get(&addr).cloned();
            let Some((router, tasks)) = route else {
                *self.refused.lock().unwrap().entry(addr.clone()).or_default() += 1;
                return Err(CallError::Connect(format!("nobody listens at {addr}")));
            };
            let handled = tasks.spawn(router.oneshot(request.map(axum::body::Body::new)));
            let response = handled.await.map_err(|error| CallError::Broken(error.to_string()))?.unwrap();
            sleep(LATENCY).await;
            Ok(response.map(|body| body.map_err(io::Error::other).boxed_unsync()))
        })
    }
}

/// How the nodes of a test are set.
#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) snapshot_every: u64,
    pub(crate) log_keep: u64,
    pub(crate) event_retention: u64,
    pub(crate) max_in_flight: usize,
    pub(crate) seed: u64,
    pub(crate) wall_offsets_ms: BTreeMap<u64, i64>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            snapshot_every: 10_000,
            log_keep: 1_000,
            event_retention: 50_000,
            max_in_flight: 1_024,
            seed: 1,
            wall_offsets_ms: BTreeMap::new(),
        }
    }
}

/// A group in one process.
pub(crate) struct Group {
    http: MemoryHttp,
    settings: Settings,
    start: Instant,
    initial: Vec<Member>,
    /// Nodes that are started with other lists.
    listed: BTreeMap<u64, Vec<Member>>,
    disks: BTreeMap<u64, MemoryDisk>,
    /// Starts of nodes so far: no two draw the same random names.
    lives: u64,
    nodes: BTreeMap<u64, (Node, World)>,
}

pub(crate) fn member(node_id: u64) -> Member {
    Member { node_id, peer_addr: format!("peer:{node_id}"), api_addr: format!("api:{node_id}"), voter: true }
}

impl Group {
    /// `size` nodes, started.
    pub(crate) async fn start(size: u64, settings: Settings) -> Self {
        let mut group = Self::laid_out(size, settings);
        for id in 1..=size {
            group.launch(id).await;
        }
        group
    }

    /// `size` nodes, of which none is started yet.
    pub(crate) fn laid_out(size: u64, settings: Settings) -> Self {
        Self {
            http: MemoryHttp::default(),
            settings,
            start: Instant::now(),
            initial: (1..=size).map(member).collect(),
            listed: BTreeMap::new(),
            disks: BTreeMap::new(),
            lives: 0,
            nodes: BTreeMap::new(),
        }
    }

    /// Has node `id` started with another list of first members than the rest.
    pub(crate) fn list(&mut self, id: u64, members: &[Member]) {
        self.listed.insert(id, members.to_vec());
    }

    fn config(&self, id: u64) -> NodeConfig {
        NodeConfig {
            cluster_id: "test".to_owned(),
            node_id: id,
            data_dir: PathBuf::new(),
            listen_peer: ([127, 0, 0, 1], 0).into(),
            listen_api: ([127, 0, 0, 1], 0).into(),
            initial_members: self.listed.get(&id).unwrap_or(&self.initial).clone(),
            heartbeat_ms: 100,
            election_min_ms: 300,
            election_max_ms: 600,
            snapshot_every: self.settings.snapshot_every,
            log_keep: self.settings.log_keep,
            event_retention: self.settings.event_retention,
            max_in_flight: self.settings.max_in_flight,
            max_connections: 64,
            max_event_streams: 32,
            fault_injection: true,
            failpoints: String::new(),
            wall_clock_offset_ms: 0,
            self_check: true,
            accept_own_state: false,
        }
    }

    /// Starts node `id` on its disk.
    pub(crate) async fn launch(&mut self, id: u64) {
        self.try_launch(id, false).await.unwrap();
    }

    /// Likewise, as an operator does who may name its state as the right one; it may refuse to start.
    pub(crate) async fn try_launch(&mut self, id: u64, accept_own_state: bool) -> Result<(), StartError> {
        let disk = self.disks.entry(id).or_default().clone();
        let (node, world) = self.start_on(id, disk, accept_own_state).await?;
        let route = (node.peer_router(), world.tasks.clone());
        self.http.routes.lock().unwrap().insert(format!("peer:{id}"), route);
        self.nodes.insert(id, (node, world));
        Ok(())
    }

    /// Starts a second node `id`, on a copy of the disk as it is now, where nobody reaches it.
    pub(crate) async fn launch_copy(&mut self, id: u64) -> (Node, World) {
        let image = self.disks[&id].0.lock().unwrap().clone();
        self.start_on(id, MemoryDisk(Arc::new(Mutex::new(image))), false).await.unwrap()
    }

    async fn start_on(
        &mut self,
        id: u64,
        disk: MemoryDisk,
        accept_own_state: bool,
    ) -> Result<(Node, World), StartError> {
        let wall_offset_ms = self.settings.wall_offsets_ms.get(&id).copied().unwrap_or(0);
        self.lives += 1;
        let world = World {
            clocks: Arc::new(TestClocks { start: self.start, wall_offset_ms }),
            http: Arc::new(self.http.clone()),
            tasks: Tasks::new(),
            seed: 1_000_000 * self.settings.seed + 1_000 * self.lives + id,
            failpoints: Failpoints::armed(Arc::new(|_| {})),
        };
        let mut options =
            StorageOptions::new("test", id, new_store_id(&world), WriterMode::Inline, Arc::clone(&world.clocks));
        options.failpoints = world.failpoints.clone();
        let storage = Storage::open(disk, options).unwrap();
        let config = NodeConfig { accept_own_state, ..self.config(id) };
        let node = Node::start(config, world.clone(), storage).await?;
        Ok((node, world))
    }

    /// Takes the disk of node `id`, which must be down, and leaves an empty one.
    pub(crate) fn take_disk(&mut self, id: u64) -> MemoryDisk {
        let disk = self.disks[&id].clone();
        self.wipe(id);
        disk
    }

    /// Gives node `id`, which must be down, another disk.
    pub(crate) fn put_disk(&mut self, id: u64, disk: MemoryDisk) {
        assert!(!self.nodes.contains_key(&id), "node {id} runs");
        self.disks.insert(id, disk);
    }

    /// Puts an empty disk in the place of that of node `id`, which must be down.
    pub(crate) fn wipe(&mut self, id: u64) {
        assert!(!self.nodes.contains_key(&id), "node {id} runs");
        self.disks.insert(id, MemoryDisk::default());
    }

    /// Ends node `id` as kill -9 would; its disk stays.
    pub(crate) fn kill(&mut self, id: u64) {
        self.http.routes.lock().unwrap().remove(&format!("peer:{id}"));
        let (_, world) = self.nodes.remove(&id).unwrap();
        world.tasks.abort_all();
        // What is still to be dropped must not write to the disk of the next process.
        let image = self.disks[&id].0.lock().unwrap().clone();
        self.disks.insert(id, MemoryDisk(Arc::new(Mutex::new(image))));
    }

    pub(crate) async fn shutdown(&mut self, id: u64) {
        let (node, world) = self.nodes.remove(&id).unwrap();
        node.shutdown().await;
        self.http.routes.lock().unwrap().remove(&format!("peer:{id}"));
        world.tasks.abort_all();
    }

    pub(crate) fn node(&self, id: u64) -> &Node {
        &self.nodes[&id].0
    }

    /// A change to these members, from those that node `id` knows.
    pub(crate) fn change(&self, id: u64, members: Vec<Member>) -> ChangeMembers {
        ChangeMembers { membership_index: self.node(id).cluster().membership_index, members }
    }

    pub(crate) fn ids(&self) -> Vec<u64> {
        self.nodes.keys().copied().collect()
    }

    pub(crate) fn arm(&self, id: u64, failpoint: &str, skip: u64, action: FailAction) {
        self.nodes[&id].1.failpoints.set(failpoint, skip, action);
    }

    /// Calls to node `id` that found nobody there.
    pub(crate) fn refused(&self, id: u64) -> u64 {
        self.http.refused.lock().unwrap().get(&format!("peer:{id}")).copied().unwrap_or(0)
    }

    /// From now on the node answers calls to `path` only after so long.
    pub(crate) fn slow(&self, id: u64, path: &str, takes: Duration) {
        self.http.slow.lock().unwrap().insert((member(id).peer_addr, path.to_owned()), takes);
    }

    /// Cuts `id` off from everybody else.
    pub(crate) fn isolate(&self, id: u64) {
        let others: Vec<u64> = self.ids().into_iter().filter(|other| *other != id).collect();
        self.node(id).set_faults(Faults { drop_to: others.clone(), drop_from: others }).unwrap();
    }

    /// Lets `id` hear everybody, and nobody hear `id`.
    pub(crate) fn mute(&self, id: u64) {
        let others: Vec<u64> = self.ids().into_iter().filter(|other| *other != id).collect();
        self.node(id).set_faults(Faults { drop_to: others, drop_from: Vec::new() }).unwrap();
    }

    pub(crate) fn heal(&self, id: u64) {
        self.node(id).set_faults(Faults::default()).unwrap();
    }

    /// Waits until all running nodes agree on a leader that is one of them, and gives it.
    pub(crate) async fn leader(&self) -> u64 {
        self.leader_among(&self.ids()).await
    }

    /// Likewise, for some of the nodes.
    pub(crate) async fn leader_among(&self, ids: &[u64]) -> u64 {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let leaders: Vec<Option<u64>> = ids.iter().map(|id| self.node(*id).cluster().leader).collect();
            if let Some(leader) = leaders[0]
                && ids.contains(&leader)
                && leaders.iter().all(|other| *other == Some(leader))
            {
                return leader;
            }
            assert!(Instant::now() < deadline, "no leader: {leaders:?}");
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// Proposes one command at node `id`.
    pub(crate) async fn propose(&self, id: u64, envelope: Envelope, within: Duration) -> Applied {
        let mut answers = self.node(id).propose(vec![envelope], Instant::now() + within).await;
        assert_eq!(answers.len(), 1);
        answers.remove(0)
    }

    /// Opens a session at node `id`, which must work: its index.
    pub(crate) async fn commit(&self, id: u64) -> u64 {
        match self.propose(id, open_session(), Duration::from_secs(10)).await {
            Applied::Response(response) => session_of(&response),
            Applied::Problem(problem) => panic!("not committed: {problem:?}"),
        }
    }

    pub(crate) async fn read(&self, id: u64, consistency: Consistency) -> Snapshot {
        self.node(id).read(consistency, Instant::now() + Duration::from_secs(10)).await.unwrap()
    }

    /// Waits until all running nodes have applied the same, and compares what that is.
    pub(crate) async fn converge(&self) {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let applied: Vec<u64> = self.ids().iter().map(|id| self.node(*id).status().applied_index).collect();
            if applied.iter().all(|index| *index == applied[0]) {
                break;
            }
            assert!(Instant::now() < deadline, "not converged: {applied:?}");
            sleep(Duration::from_millis(10)).await;
        }
        let mut audits = Vec::new();
        for id in self.ids() {
            let snapshot = self.read(id, Consistency::Linearizable).await;
            audits.push((snapshot.applied_index, self.node(id).audit(&snapshot).await));
        }
        for (index, audit) in &audits {
            assert_eq!(audit.violations, Vec::<String>::new());
            assert_eq!((index, audit), (&audits[0].0, &audits[0].1));
        }
    }
}

pub(crate) fn open_session() -> Envelope {
    Envelope { session: 0, seq: 0, command: Command::OpenSession }
}

pub(crate) fn session_of(response: &Response) -> u64 {
    match &response.outcome {
        Outcome::Accepted(Answer::SessionOpened { session }) => *session,
        other => panic!("no session: {other:?}"),
    }
}
