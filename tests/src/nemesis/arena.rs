//! A cluster, and all that can be done to it: who runs, who is hit by what, and whether it all comes right again.
//!
//! Invariant: one process is hit by one fault at a time ([`Arena::hold`]); links are spoilt independently of that.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use futures_util::future::join_all;
use serde_json::Value;
use tokio::time::Instant;

use super::{
    disk::SmallDisk,
    fault::{Fault, Happened, Kind, Pick},
    feeder::Feeder,
    network::{Host, Link, Means, Network},
    pause::state,
    scene::{Nobody, Scene, Seen, nobody},
    tools::can_have_small_disks,
    undo::Undo,
};
use crate::{
    beliefs::Judged,
    harness::{Cluster, MakerOptions, Process, Setup, Writer, Wrote, eventually, within},
    replay::Findings,
};

/// How long a node is waited for when it is only looked at.
const LOOK_MAX: Duration = Duration::from_millis(500);
/// How long an election is waited for.
const ELECTED_MAX: Duration = Duration::from_secs(10);
/// How long a fault may take to show.
const SHOWN_MAX: Duration = Duration::from_secs(10);
/// Pause between two looks at what is waited for.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How long the price of a feed that is to be spoilt is waited for.
const FED_MAX: Duration = Duration::from_secs(3);
/// A price of the feed is new while it is not older than this.
const NEW_MS: u64 = 1_000;
/// How long one of the last writes and reads may take.
const LAST_MS: u64 = 5_000;
/// How long the last write at a node is tried.
const LAST_WITHIN: Duration = Duration::from_secs(30);
/// The journal of the last orders of a run.
const LAST_ORDERS: u64 = 999_999;

/// What an arena is made of.
#[derive(Debug, Clone)]
pub struct Plan {
    /// By what links are spoilt.
    pub means: Means,
    /// The cluster; its sites are decided here.
    pub setup: Setup,
    /// The makers.
    pub makers: Vec<&'static str>,
    /// How they quote.
    pub quoting: MakerOptions,
    /// Which node's data stands on a small filesystem, of how many MiB.
    pub small_disk: Option<(u64, u64)>,
    /// Where what is random follows from.
    pub seed: u64,
}

impl Plan {
    /// Three nodes, three symbols, two makers with a short lease.
    #[must_use]
    pub fn new(means: Means) -> Self {
        Self {
            means,
            setup: Setup::default(),
            makers: vec!["alpha", "beta"],
            quoting: MakerOptions { lease_ttl_ms: 3_000, ..MakerOptions::default() },
            small_disk: None,
            seed: 1,
        }
    }
}

/// A running cluster with its network, its disks, and the feed of one symbol. Dropping it ends all of it.
#[derive(Debug)]
pub struct Arena {
    /// The cluster.
    pub cluster: Cluster,
    /// The network between its processes.
    pub network: Network,
    makers: Vec<&'static str>,
    quoting: MakerOptions,
    clocks: BTreeMap<u64, i64>,
    held: BTreeSet<Host>,
    /// Those that run and take no part.
    out: BTreeSet<Host>,
    /// The links that faults cut now; one that two of them cut is here twice.
    cut: Vec<Link>,
    http: reqwest::Client,
    _undo: Undo,
    pub(super) small_disk: Option<SmallDisk>,
    pub(super) feeder: Feeder,
    fed: &'static str,
}

impl Arena {
    /// Starts all of it, and waits until every symbol is quoted.
    ///
    /// # Errors
    /// Where something cannot be set up or does not start in time.
    pub async fn start(plan: Plan) -> Result<Self> {
        let mut undo = Undo::new()?;
        let mut network = Network::open(plan.means, plan.setup.nodes, &plan.makers, &mut undo)?;
        let sites = network.sites(plan.setup.nodes);
        let fed = *plan.setup.symbols.last().context("a symbol to feed")?;
        let cluster = Cluster::laid_out(Setup { sites, fed: Some(fed), ..plan.setup })?;
        network.connect(&cluster, plan.seed)?;
        let mut small_disk = None;
        if let Some((node, mib)) = plan.small_disk {
            let data = cluster.dir().join(format!("node-{node}"));
            small_disk = Some(SmallDisk::mount(node, mib, &data, &mut undo)?);
        }
        let http = reqwest::Client::builder().no_proxy().timeout(LOOK_MAX).build()?;
        let feeder = Feeder::start(&cluster.exchange_url(), fed, plan.seed)?;
        let mut arena = Self {
            cluster,
            network,
            makers: plan.makers,
            quoting: plan.quoting,
            clocks: BTreeMap::new(),
            held: BTreeSet::new(),
            out: BTreeSet::new(),
            cut: Vec::new(),
            http,
            _undo: undo,
            small_disk,
            feeder,
            fed,
        };
        arena.cluster.begin().await?;
        arena.cluster.start_exchange(&[]).await?;
        for maker in arena.makers.clone() {
            arena.cluster.start_maker(maker, &arena.quoting)?;
        }
        arena.cluster.all_quoted().await?;
        Ok(arena)
    }

    /// The symbol whose reference price comes from a feed.
    #[must_use]
    pub fn fed(&self) -> &'static str {
        self.fed
    }

    /// The kinds of faults that can happen here, and those that cannot, with the reason.
    #[must_use]
    pub fn kinds(&self) -> (Vec<Kind>, Vec<(Kind, String)>) {
        let why_not = |kind: &Kind| match (kind, self.network.means()) {
            (Kind::SplitMarket | Kind::ExchangeCutOff | Kind::MakerCutOff, Means::Proxy | Means::Switch) => {
                Some("needs network namespaces".to_owned())
            }
            (Kind::Loss | Kind::Delay, Means::Switch) => Some("the fault switch only cuts".to_owned()),
            (Kind::FullDisk, _) if self.small_disk.is_none() => {
                Some(can_have_small_disks().unwrap_or_else(|| "no node has a small disk".to_owned()))
            }
            _ => None,
        };
        let cannot: Vec<_> = Kind::ALL.iter().filter_map(|kind| Some((*kind, why_not(kind)?))).collect();
        let can = Kind::ALL.iter().copied().filter(|kind| cannot.iter().all(|(not, _)| not != kind)).collect();
        (can, cannot)
    }

    /// The names of the makers.
    #[must_use]
    pub fn makers(&self) -> Vec<String> {
        self.makers.iter().map(|name| (*name).to_owned()).collect()
    }

    /// Whether a process is hit by no fault.
    #[must_use]
    pub fn is_free(&self, host: &Host) -> bool {
        !self.held.contains(host)
    }

    pub(super) fn hold(&mut self, host: &Host) {
        self.held.insert(host.clone());
    }

    /// From now on, until it is released, a process that is held takes no part, though it runs.
    pub(super) fn leave_out(&mut self, host: &Host) {
        self.out.insert(host.clone());
    }

    pub(super) fn release(&mut self, host: &Host) {
        self.held.remove(host);
        self.out.remove(host);
    }

    /// The processes that there should be.
    #[must_use]
    pub fn hosts(&self) -> Vec<Host> {
        let nodes = self.cluster.ids().into_iter().map(Host::Node);
        nodes.chain([Host::Exchange]).chain(self.makers().into_iter().map(Host::Maker)).collect()
    }

    /// The process of a host.
    ///
    /// # Errors
    /// Where it does not run.
    pub fn process(&mut self, host: &Host) -> Result<&mut Process> {
        match host {
            Host::Node(id) => self.cluster.node(*id),
            Host::Exchange => self.cluster.exchange(),
            Host::Maker(name) => self.cluster.maker(name),
            Host::Publisher => bail!("publishers are nobody's to hit"),
        }
    }

    pub(super) fn take(&mut self, host: &Host) -> Option<Process> {
        match host {
            Host::Node(id) => self.cluster.take_node(*id).ok(),
            Host::Exchange => self.cluster.take_exchange().ok(),
            Host::Maker(name) => self.cluster.take_maker(name).ok(),
            Host::Publisher => None,
        }
    }

    /// Starts a process on the data that it has, with the clock that it should have.
    ///
    /// # Errors
    /// Where it cannot be started.
    pub fn start_again(&mut self, host: &Host) -> Result<()> {
        match host {
            Host::Node(id) => match self.clocks.get(id) {
                Some(offset) => self.cluster.start_node_with(*id, &[&format!("--wall-clock-offset-ms={offset}")]),
                None => self.cluster.start_node(*id),
            },
            Host::Exchange => self.cluster.spawn_exchange(&[]),
            Host::Maker(name) => self.cluster.start_maker(name, &self.quoting),
            Host::Publisher => bail!("publishers are nobody's to hit"),
        }
    }

    /// Processes that have ended though no fault hits them. They are taken, and started again.
    ///
    /// # Errors
    /// Where one cannot be started.
    pub fn ended_unasked(&mut self) -> Result<Vec<Host>> {
        let mut ended = Vec::new();
        for host in self.hosts() {
            if self.is_free(&host) && !self.process(&host).is_ok_and(Process::is_running) {
                drop(self.take(&host));
                self.start_again(&host)?;
                ended.push(host);
            }
        }
        Ok(ended)
    }

    pub(super) fn set_clock(&mut self, node: u64, offset_ms: i64) {
        if offset_ms == 0 {
            self.clocks.remove(&node);
        } else {
            self.clocks.insert(node, offset_ms);
        }
    }

    /// The file to which a node says what it does.
    #[must_use]
    pub fn log(&self, node: u64) -> PathBuf {
        self.cluster.dir().join(format!("node-{node}.log"))
    }

    async fn look_at(&self, node: u64) -> Option<Value> {
        let url = format!("{}/v1/status?consistency=local", self.cluster.api(node));
        let answer = self.http.get(url).send().await.ok()?.bytes().await.ok()?;
        Some(serde_json::from_slice::<Value>(&answer).ok()?["data"].take())
    }

    /// The node that takes itself for the leader, of the newest term where there are two. Asks only once.
    pub async fn leader_now(&self) -> Option<u64> {
        let asked = self.cluster.ids().into_iter().map(|id| async move { (id, self.look_at(id).await) });
        let answers = join_all(asked).await.into_iter();
        let leading = answers.filter_map(|(id, status)| {
            let status = status?;
            (status["role"] == "leader").then(|| (status["term"].as_u64().unwrap_or(0), id))
        });
        leading.max().map(|(_, id)| id)
    }

    /// What the nodes' own audits complain about now, at the nodes that answer.
    pub async fn audit_now(&self) -> Vec<String> {
        let asked = self.cluster.ids().into_iter().map(|id| async move {
            let url = format!("{}/v1/audit?consistency=local", self.cluster.api(id));
            let answer = self.http.get(url).send().await.ok()?.bytes().await.ok()?;
            let answer: Value = serde_json::from_slice(&answer).ok()?;
            let complaints = answer["data"]["violations"].as_array().filter(|list| !list.is_empty())?;
            Some(format!("node-{id} at {}: {complaints:?}", answer["applied_index"]))
        });
        join_all(asked).await.into_iter().flatten().collect()
    }

    /// A figure that a node tells of itself, if it answers.
    pub async fn metric(&self, node: u64, name: &str) -> Option<u64> {
        let answer = self.http.get(format!("{}/metrics", self.cluster.api(node))).send().await.ok()?;
        let text = String::from_utf8(answer.bytes().await.ok()?.to_vec()).ok()?;
        let wanted = format!("quorate_{name} ");
        text.lines().find_map(|line| line.strip_prefix(&wanted)?.parse().ok())
    }

    /// What the exchange says of a symbol's reference price, if it answers and knows one.
    pub(super) async fn reference(&self, symbol: &str) -> Option<Value> {
        let url = format!("{}/v1/reference-prices", self.cluster.exchange_url());
        let answer = self.http.get(url).send().await.ok()?.bytes().await.ok()?;
        let rows: Vec<Value> = serde_json::from_slice(&answer).ok()?;
        rows.into_iter().find(|row| row["symbol"] == symbol)
    }

    /// A figure that the exchange tells of itself, by its name and labels, if it answers.
    pub(super) async fn exchange_metric(&self, name: &str) -> Option<u64> {
        let answer = self.http.get(format!("{}/metrics", self.cluster.exchange_url())).send().await.ok()?;
        let text = String::from_utf8(answer.bytes().await.ok()?.to_vec()).ok()?;
        text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
    }

    /// The symbols that are quoted now, by a linearizable read, if the leader answers.
    pub(super) async fn quoted(&self) -> Option<Vec<String>> {
        let leader = self.leader_now().await?;
        let response = self.http.get(format!("{}/v1/quotes", self.cluster.api(leader))).send().await.ok()?;
        let answer = if response.status().is_success() { response.bytes().await.ok()? } else { return None };
        let answer: Value = serde_json::from_slice(&answer).ok()?;
        let name = |row: &Value| row["symbol"].as_str().map(str::to_owned);
        answer["data"].as_array()?.iter().map(name).collect()
    }

    /// Waits until the exchange has just been told the price of the feed and, where that is wanted, it is quoted on.
    pub(super) async fn hears_the_feed(&self, quoted: bool) -> Result<(), Nobody> {
        let look = || async {
            let age_ms = self.reference(self.fed).await.and_then(|row| row["age_ms"].as_u64());
            let is_new = age_ms.is_some_and(|age_ms| age_ms <= NEW_MS);
            let is_quoted = || async { self.quoted().await.is_some_and(|all| all.iter().any(|name| name == self.fed)) };
            anyhow::Ok((is_new && (!quoted || is_quoted().await)).then_some(()))
        };
        match within(FED_MAX, "the price of the feed", look).await {
            Ok(()) => Ok(()),
            Err(_) => nobody("the exchange does not hear the feed, or its symbol is not quoted"),
        }
    }

    /// Asks a node for something that it may refuse.
    pub(super) async fn ask(&self, node: u64, path: &str, body: &Value) {
        let request = self.http.post(format!("{}{path}", self.cluster.api(node)));
        // Whether it was done is seen by looking.
        let _ = request.header("content-type", "application/json").body(body.to_string()).send().await;
    }

    /// What a fault that begins has to know. While somebody can be elected, it is waited for until somebody is.
    pub(super) async fn scene(&mut self) -> Scene {
        let look = async |arena: &mut Self| {
            let hosts = arena.hosts().into_iter();
            let hosts =
                hosts.map(|host| (host.clone(), Seen { free: arena.is_free(&host), speaks: arena.speaks(&host) }));
            let hosts = hosts.collect();
            Scene {
                hosts,
                leader: arena.leader_now().await,
                cut: arena.cut.iter().cloned().collect(),
                is_fed: arena.feeder.is_well(),
            }
        };
        let deadline = Instant::now() + ELECTED_MAX;
        loop {
            let scene = look(self).await;
            if scene.is_settled() || Instant::now() >= deadline {
                return scene;
            }
            self.look().await;
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Whether a process runs, is not stopped, and takes part.
    fn speaks(&mut self, host: &Host) -> bool {
        let Ok(process) = self.process(host) else { return false };
        let runs = process.is_running() && state(process.id()).is_ok_and(|state| state != 'T');
        runs && !self.out.contains(host)
    }

    /// The group, as the node at this base URL knows it by itself, if it answers.
    pub(super) async fn group_at(&self, api: &str) -> Option<Value> {
        let answer =
            self.http.get(format!("{api}/v1/cluster?consistency=local")).send().await.ok()?.bytes().await.ok()?;
        Some(serde_json::from_slice::<Value>(&answer).ok()?["data"].take())
    }

    /// Asks a node for something, with so many milliseconds for it: the status and the answer, if one comes.
    pub(super) async fn answer_to(
        &self,
        node: u64,
        path: &str,
        body: &Value,
        deadline_ms: u64,
        allowance: Duration,
    ) -> Option<(u16, Value)> {
        let request = self.http.post(format!("{}{path}", self.cluster.api(node)));
        let request = request.timeout(Duration::from_millis(deadline_ms) + allowance);
        let request = request.header("x-quorate-deadline-ms", deadline_ms).header("content-type", "application/json");
        let response = request.body(body.to_string()).send().await.ok()?;
        let status = response.status().as_u16();
        Some((status, serde_json::from_slice(&response.bytes().await.ok()?).ok()?))
    }

    /// Those that a fault hits, of processes that nothing hits already.
    pub(super) async fn pick(&mut self, pick: Pick, choice: u64) -> Result<Vec<Host>> {
        Ok(self.scene().await.pick(pick, choice)?)
    }

    pub(super) fn cut(&mut self, links: &[Link]) {
        self.cut.extend_from_slice(links);
    }

    /// Takes each of these links out once: another fault may cut it as well.
    pub(super) fn uncut(&mut self, links: &[Link]) {
        for link in links {
            if let Some(nth) = self.cut.iter().position(|cut| cut == link) {
                self.cut.swap_remove(nth);
            }
        }
    }

    /// Waits until a fault that has begun has measured so much. Faults that begin one after the other is measured cannot
    /// take away what the other is measured by.
    ///
    /// # Errors
    /// Where that is not so within 10 seconds.
    pub async fn shown(&mut self, fault: &mut dyn Fault, enough: u64) -> Result<Happened> {
        let deadline = Instant::now() + SHOWN_MAX;
        loop {
            self.look().await;
            let happened = fault.happened(self).await?;
            if happened.amount >= enough {
                return Ok(happened);
            }
            ensure!(Instant::now() < deadline, "{} did not show: {happened}", fault.kind());
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// What has to be done again and again while faults last.
    pub async fn look(&mut self) {
        self.network.keep(&self.cluster).await;
    }

    /// Shows that all came right: a leader, a quote for every symbol, an order filled in each, a write and a
    /// linearizable read at each node. What each node says of money then is judged at the end.
    ///
    /// # Errors
    /// Where something of that does not come within 30 seconds.
    pub async fn recovered(&mut self) -> Result<()> {
        self.look().await;
        let leader = self.cluster.leader().await?;
        self.cluster.all_quoted().await?;
        let trader = self.cluster.trader(LAST_ORDERS)?;
        let symbols = self.cluster.symbols();
        let tag = self.cluster.read("/v1/status").await?["applied_index"].clone();
        for symbol in symbols {
            trader.filled(&format!("last-{tag}-{symbol}"), symbol, "side=BUY&type=MARKET&quantity=0.001").await?;
        }
        let mut writer = Writer::open(self.cluster.api(leader), self.cluster.symbols()[0]).await?;
        for id in self.cluster.ids() {
            writer.turn_to(self.cluster.api(id));
            let deadline = Instant::now() + LAST_WITHIN;
            let mut wrote = writer.write(LAST_MS).await;
            // A node that was started a moment ago takes no connections yet.
            while !matches!(wrote, Wrote::Applied(_)) && Instant::now() < deadline {
                tokio::time::sleep(LOOK_EVERY).await;
                // The same again: it has one effect.
                wrote = writer.send(writer.seq(), LAST_MS).await;
            }
            let Wrote::Applied(index) = wrote else { bail!("the last write at node {id}: {wrote:?}") };
            eventually(&format!("a read at node {id}"), || async {
                let (status, answer) = self.cluster.get(id, "/v1/positions").await?;
                ensure!(status == 200, "{status} {answer}");
                let seen = answer["applied_index"].as_u64().context("an index")?;
                ensure!(seen >= index, "a read at node {id} is of {seen}, before the write of {index}");
                anyhow::Ok(Some(()))
            })
            .await?;
        }
        self.cluster.see_money().await
    }

    /// Judges all that happened: the replay of every node's events against the journals, the digests, the beliefs.
    ///
    /// # Errors
    /// Where something is wrong.
    pub fn judged(&self, publishers: &[u64]) -> Result<(Findings, Judged)> {
        let journals = publishers.iter().copied().chain([LAST_ORDERS]);
        let journals: Vec<u64> = journals.filter(|seed| self.cluster.journal(*seed).exists()).collect();
        Ok((self.cluster.judge(&journals)?, self.cluster.judge_beliefs()?))
    }
}
