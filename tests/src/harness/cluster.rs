//! A whole cluster of real processes: nodes, an exchange, makers.

use std::{
    collections::BTreeMap,
    net::TcpListener,
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use quorate_ledger::Frame;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{
    process::{Process, binary},
    site::{Site, Sites},
    trader::Trader,
    wait::eventually,
};
use crate::{
    beliefs::{Judged, judge_beliefs, read_beliefs},
    evidence::{Export, Journal, read_export, read_journal},
    replay::{Findings, MoneySaid, VIEWS, hold, replay, replay_and_hear},
};

/// How long one request of the harness may take.
const CALL_MAX: Duration = Duration::from_secs(5);

/// What a cluster is made of.
#[derive(Debug, Clone)]
pub struct Setup {
    /// How many nodes.
    pub nodes: u64,
    /// Symbols to define, each as [`instrument`] has it.
    pub symbols: Vec<&'static str>,
    /// One of them whose reference price is set from outside; all others walk.
    pub fed: Option<&'static str>,
    /// Further flags of every node.
    pub node_flags: Vec<String>,
    /// Where the processes live.
    pub sites: Sites,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            nodes: 3,
            symbols: vec!["BTCUSDT", "ETHUSDT", "SOLUSDT"],
            fed: None,
            node_flags: Vec::new(),
            sites: Sites::default(),
        }
    }
}

/// How a maker quotes.
#[derive(Debug, Clone)]
pub struct MakerOptions {
    /// Lots asked for on each side.
    pub order_qty: u64,
    /// The lease, in milliseconds.
    pub lease_ttl_ms: u64,
    /// Further flags.
    pub flags: Vec<&'static str>,
}

impl Default for MakerOptions {
    fn default() -> Self {
        Self { order_qty: 10, lease_ttl_ms: 9_000, flags: Vec::new() }
    }
}

#[derive(Debug)]
struct Member {
    peer_port: u16,
    api_port: u16,
    process: Option<Process>,
}

/// What [`Cluster`] defines a symbol as, in JSON: tick 0.01, lot 0.001, an exposure of 1 a lot, and fees of 10 and 40 parts
/// per million for who rests and who takes.
#[must_use]
pub fn instrument(symbol: &str) -> Value {
    let base = symbol.strip_suffix("USDT").unwrap_or(symbol);
    json!({"base": base, "quote": "USDT", "tick_size": "0.01", "lot_size": "0.001", "exposure_per_lot": 1,
        "maker_fee_ppm": 10, "taker_fee_ppm": 40})
}

/// A running cluster. Dropping it kills all of it and removes its files.
#[derive(Debug)]
pub struct Cluster {
    dir: TempDir,
    setup: Setup,
    members: BTreeMap<u64, Member>,
    exchange_port: u16,
    exchange: Option<Process>,
    makers: BTreeMap<String, Process>,
    http: reqwest::Client,
    /// What its nodes said of money.
    said: Mutex<MoneySaid>,
}

/// Where tests keep their clusters: the system's temporary directory. It stays there if `QUORATE_KEEP` is set.
///
/// # Errors
/// Where no directory can be made.
pub fn cluster_dir() -> Result<TempDir> {
    let mut dir = tempfile::Builder::new().prefix("quorate-test-").tempdir()?;
    // To look at what was left.
    dir.disable_cleanup(std::env::var_os("QUORATE_KEEP").is_some());
    Ok(dir)
}

/// Where ports are looked for: below those that the system gives to outgoing connections, for one of these could take a
/// port in the moment between the look and its use, or while its process is down.
const PORTS: std::ops::Range<u32> = 10_000..32_000;

/// Ports that were free a moment ago. Each call, and each process, begins to look at another place.
pub(super) fn free_ports(count: usize) -> Result<Vec<u16>> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let places = PORTS.end - PORTS.start;
    let begin = std::process::id().wrapping_mul(7_919);
    let mut free = Vec::new();
    for _ in 0..places {
        let place = begin.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % places;
        let port = u16::try_from(PORTS.start + place)?;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            free.push(port);
        }
        if free.len() == count {
            return Ok(free);
        }
    }
    bail!("fewer than {count} ports are free")
}

impl Cluster {
    /// Starts the nodes, waits for a leader, defines the symbols.
    ///
    /// # Errors
    /// Where something does not start in time.
    pub async fn start(setup: Setup) -> Result<Self> {
        let mut cluster = Self::laid_out(setup)?;
        cluster.begin().await?;
        Ok(cluster)
    }

    /// A cluster with its directory and its ports, of which nothing runs yet.
    ///
    /// # Errors
    /// Where no directory or no ports can be had.
    pub fn laid_out(setup: Setup) -> Result<Self> {
        let count = usize::try_from(setup.nodes)?;
        let ports = free_ports(2 * count + 1)?;
        let members = (1..=setup.nodes)
            .zip(ports.chunks(2))
            .map(|(id, pair)| (id, Member { peer_port: pair[0], api_port: pair[1], process: None }))
            .collect();
        let http = reqwest::Client::builder().no_proxy().timeout(CALL_MAX).build()?;
        Ok(Self {
            dir: cluster_dir()?,
            exchange_port: ports[2 * count],
            setup,
            members,
            exchange: None,
            makers: BTreeMap::new(),
            http,
            said: Mutex::default(),
        })
    }

    /// Starts the nodes of a cluster that is laid out, waits for a leader, defines the symbols.
    ///
    /// # Errors
    /// Where something does not start in time.
    pub async fn begin(&mut self) -> Result<()> {
        for id in self.ids() {
            self.start_node(id)?;
        }
        self.leader().await?;
        for symbol in self.setup.symbols.clone() {
            let base = symbol.strip_suffix("USDT").unwrap_or(symbol);
            let sizes = ["--tick-size", "0.01", "--lot-size", "0.001"];
            let fees = ["--maker-fee-ppm", "10", "--taker-fee-ppm", "40"];
            let assets = ["define-symbol", symbol, "--base", base, "--quote", "USDT"];
            self.ledgerctl(&[&assets[..], &sizes, &fees].concat())?;
        }
        Ok(())
    }

    /// Where the process of this name lives: `exchange`, `maker-NAME`, `publisher`.
    #[must_use]
    pub fn site(&self, name: &str) -> Site {
        self.setup.sites.named(name)
    }

    /// The ids of the nodes, running or not.
    #[must_use]
    pub fn ids(&self) -> Vec<u64> {
        self.members.keys().copied().collect()
    }

    /// The symbols that it trades.
    #[must_use]
    pub fn symbols(&self) -> Vec<&'static str> {
        self.setup.symbols.clone()
    }

    /// The cluster's directory: data, logs, journals.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Starts a node on the data that it has.
    ///
    /// # Errors
    /// Where it cannot be started.
    pub fn start_node(&mut self, id: u64) -> Result<()> {
        self.start_node_with(id, &[])
    }

    /// Starts a node with further flags.
    ///
    /// # Errors
    /// Where it cannot be started.
    pub fn start_node_with(&mut self, id: u64, flags: &[&str]) -> Result<()> {
        let listed: Vec<String> = self
            .members
            .iter()
            .map(|(id, m)| {
                let site = self.setup.sites.node(*id);
                format!("{id}={}:{}/{}:{}", site.peer_told, m.peer_port, site.address, m.api_port)
            })
            .collect();
        let site = self.setup.sites.node(id);
        let log = self.dir.path().join(format!("node-{id}.log"));
        let data = self.dir.path().join(format!("node-{id}"));
        let member = self.members.get_mut(&id).context("no such node")?;
        let mut args = vec![
            format!("--node-id={id}"),
            format!("--data-dir={}", data.display()),
            format!("--listen-peer={}:{}", site.peer_listen, member.peer_port),
            format!("--listen-api={}:{}", site.address, member.api_port),
            format!("--initial-members={}", listed.join(",")),
            "--fault-injection".to_owned(),
        ];
        args.extend(self.setup.node_flags.iter().cloned());
        args.extend(flags.iter().map(|flag| (*flag).to_owned()));
        member.process = Some(site.spawn(&format!("node {id}"), &binary("raft-node")?, args, &log)?);
        Ok(())
    }

    /// The process of a node.
    ///
    /// # Errors
    /// Where it does not run.
    pub fn node(&mut self, id: u64) -> Result<&mut Process> {
        self.members.get_mut(&id).and_then(|m| m.process.as_mut()).with_context(|| format!("node {id} does not run"))
    }

    /// Takes a node's process, to end it.
    ///
    /// # Errors
    /// Where it does not run.
    pub fn take_node(&mut self, id: u64) -> Result<Process> {
        self.members.get_mut(&id).and_then(|m| m.process.take()).with_context(|| format!("node {id} does not run"))
    }

    /// The base URL of a node's API.
    #[must_use]
    pub fn api(&self, id: u64) -> String {
        format!("http://{}:{}", self.setup.sites.node(id).address, self.members[&id].api_port)
    }

    /// All of them, as programs take them.
    #[must_use]
    pub fn endpoints(&self) -> String {
        self.ids().into_iter().map(|id| self.api(id)).collect::<Vec<_>>().join(",")
    }

    /// The base URL of the exchange.
    #[must_use]
    pub fn exchange_url(&self) -> String {
        format!("http://{}:{}", self.setup.sites.named("exchange").address, self.exchange_port)
    }

    /// The port on which a node takes its peers.
    #[must_use]
    pub fn peer_port(&self, id: u64) -> u16 {
        self.members[&id].peer_port
    }

    /// `GET` from a node: status and JSON. What it says of money is judged at the end.
    ///
    /// # Errors
    /// Where there is no answer, or it is no JSON.
    pub async fn get(&self, id: u64, path: &str) -> Result<(u16, Value)> {
        let response = self.http.get(format!("{}{path}", self.api(id))).send().await?;
        let status = response.status().as_u16();
        let answer: Value = serde_json::from_slice(&response.bytes().await?)?;
        if status == 200 {
            self.said.lock().unwrap_or_else(PoisonError::into_inner).take(path, answer.clone())?;
        }
        Ok((status, answer))
    }

    /// `POST` of JSON to a node: status and JSON.
    ///
    /// # Errors
    /// Where there is no answer, or it is no JSON.
    pub async fn post(&self, id: u64, path: &str, body: &Value) -> Result<(u16, Value)> {
        let request = self.http.post(format!("{}{path}", self.api(id)));
        let response =
            request.header("content-type", "application/json").body(serde_json::to_vec(body)?).send().await?;
        let status = response.status().as_u16();
        Ok((status, serde_json::from_slice(&response.bytes().await?)?))
    }

    /// `GET` from the exchange: status and JSON.
    ///
    /// # Errors
    /// Where there is no answer, or it is no JSON.
    pub async fn get_exchange(&self, path: &str) -> Result<(u16, Value)> {
        let response = self.http.get(format!("{}{path}", self.exchange_url())).send().await?;
        let status = response.status().as_u16();
        Ok((status, serde_json::from_slice(&response.bytes().await?)?))
    }

    /// `POST` of a form to the exchange: status and JSON.
    ///
    /// # Errors
    /// Where there is no answer, or it is no JSON.
    pub async fn post_exchange(&self, path: &str, form: &str) -> Result<(u16, Value)> {
        let request = self.http.post(format!("{}{path}", self.exchange_url()));
        let request = request.header("content-type", "application/x-www-form-urlencoded").body(form.to_owned());
        let response = request.send().await?;
        let status = response.status().as_u16();
        Ok((status, serde_json::from_slice(&response.bytes().await?)?))
    }

    /// The node that leads, as a majority of the running nodes says.
    ///
    /// # Errors
    /// Where none leads within 30 seconds.
    pub async fn leader(&self) -> Result<u64> {
        let majority = self.members.len() / 2 + 1;
        eventually("a leader", || async {
            let mut votes: BTreeMap<u64, usize> = BTreeMap::new();
            for (id, member) in &self.members {
                if member.process.is_none() {
                    continue;
                }
                if let Ok((200, status)) = self.get(*id, "/v1/status?consistency=local").await
                    && let Some(leader) = status["data"]["leader"].as_u64()
                {
                    *votes.entry(leader).or_default() += 1;
                }
            }
            let chosen = votes.into_iter().find(|(_, count)| *count >= majority).map(|(leader, _)| leader);
            let leads = match chosen {
                Some(leader) => {
                    self.get(leader, "/v1/status?consistency=local").await?.1["data"]["role"] == json!("leader")
                }
                None => false,
            };
            anyhow::Ok(chosen.filter(|_| leads))
        })
        .await
    }

    /// Cuts a node off from all its peers, both ways, at every node's fault switch.
    ///
    /// # Errors
    /// Where a node does not take the switch.
    pub async fn isolate(&self, cut: u64) -> Result<()> {
        for id in self.ids() {
            let others: Vec<u64> =
                if id == cut { self.ids().into_iter().filter(|other| *other != cut).collect() } else { vec![cut] };
            self.set_faults(id, &others, &others).await?;
        }
        Ok(())
    }

    /// Sets a node's fault switch.
    ///
    /// # Errors
    /// Where the node does not take it.
    pub async fn set_faults(&self, id: u64, drop_to: &[u64], drop_from: &[u64]) -> Result<()> {
        let (status, answer) =
            self.post(id, "/v1/faults", &json!({"drop_to": drop_to, "drop_from": drop_from})).await?;
        ensure!(status == 200, "the fault switch of node {id}: {status} {answer}");
        Ok(())
    }

    /// Ends all partitions at the nodes that run.
    ///
    /// # Errors
    /// Where a running node does not take the switch.
    pub async fn heal(&self) -> Result<()> {
        for (id, member) in &self.members {
            if member.process.is_some() {
                self.set_faults(*id, &[], &[]).await?;
            }
        }
        Ok(())
    }

    /// Runs `ledgerctl` to its end; its standard output.
    ///
    /// # Errors
    /// Where it ends with another code than 0.
    pub fn ledgerctl(&self, args: &[&str]) -> Result<String> {
        let output = std::process::Command::new(binary("ledgerctl")?)
            .args(["--endpoints", &self.endpoints()])
            .args(args)
            .output()?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            bail!("ledgerctl {args:?}: {}\n{said}{}", output.status, String::from_utf8_lossy(&output.stderr));
        }
        Ok(said)
    }

    /// Starts the exchange, with further flags, and waits until it takes orders.
    ///
    /// # Errors
    /// Where it does not start in time.
    pub async fn start_exchange(&mut self, flags: &[&str]) -> Result<()> {
        self.spawn_exchange(flags)?;
        eventually("the exchange", || async {
            let (status, _) = self.get_exchange("/health").await?;
            anyhow::Ok((status == 200).then_some(()))
        })
        .await
    }

    /// Starts the exchange, with further flags, and does not wait for it.
    ///
    /// # Errors
    /// Where it cannot be started.
    pub fn spawn_exchange(&mut self, flags: &[&str]) -> Result<()> {
        let (fed, walking): (Vec<&str>, Vec<&str>) =
            self.setup.symbols.iter().partition(|symbol| Some(**symbol) == self.setup.fed);
        let source = |kind: &str, symbols: &[&str]| {
            let prices: Vec<String> = symbols.iter().map(|symbol| format!("{symbol}=100.00")).collect();
            (!prices.is_empty()).then(|| format!("--reference={kind}{}", prices.join(",")))
        };
        let site = self.setup.sites.named("exchange");
        let mut args = vec![
            format!("--listen={}:{}", site.address, self.exchange_port),
            format!("--ledger-endpoints={}", self.endpoints()),
        ];
        args.extend(source("walk:7,", &walking));
        args.extend(source("external:", &fed));
        args.extend(flags.iter().map(|flag| (*flag).to_owned()));
        let log = self.dir.path().join("exchange.log");
        self.exchange = Some(site.spawn("exchange", &binary("exchange")?, args, &log)?);
        Ok(())
    }

    /// The exchange's process.
    ///
    /// # Errors
    /// Where it does not run.
    pub fn exchange(&mut self) -> Result<&mut Process> {
        self.exchange.as_mut().context("the exchange does not run")
    }

    /// Takes the exchange's process, to end it.
    ///
    /// # Errors
    /// Where it does not run.
    pub fn take_exchange(&mut self) -> Result<Process> {
        self.exchange.take().context("the exchange does not run")
    }

    /// Starts a maker; its record of beliefs is [`Cluster::beliefs`].
    ///
    /// # Errors
    /// Where it cannot be started.
    pub fn start_maker(&mut self, name: &str, options: &MakerOptions) -> Result<()> {
        let mut args = vec![
            "live".to_owned(),
            format!("--name={name}"),
            format!("--ledger-endpoints={}", self.endpoints()),
            format!("--exchange={}", self.exchange_url()),
            format!("--order-qty={}", options.order_qty),
            format!("--lease-ttl-ms={}", options.lease_ttl_ms),
            format!("--belief-journal={}", self.beliefs(name).display()),
        ];
        args.extend(options.flags.iter().map(|flag| (*flag).to_owned()));
        let log = self.dir.path().join(format!("maker-{name}.log"));
        let site = self.setup.sites.named(&format!("maker-{name}"));
        let process = site.spawn(&format!("maker {name}"), &binary("market-maker")?, args, &log)?;
        self.makers.insert(name.to_owned(), process);
        Ok(())
    }

    /// The process of a maker.
    ///
    /// # Errors
    /// Where it does not run.
    pub fn maker(&mut self, name: &str) -> Result<&mut Process> {
        self.makers.get_mut(name).with_context(|| format!("maker {name} does not run"))
    }

    /// Takes a maker's process, to end it.
    ///
    /// # Errors
    /// Where it does not run.
    pub fn take_maker(&mut self, name: &str) -> Result<Process> {
        self.makers.remove(name).with_context(|| format!("maker {name} does not run"))
    }

    /// Where a maker writes when it believed to hold what.
    #[must_use]
    pub fn beliefs(&self, name: &str) -> PathBuf {
        self.dir.path().join(format!("beliefs-{name}.jsonl"))
    }

    /// Judges what all makers that ever ran here believed to hold, and demands that nothing is wrong.
    ///
    /// # Errors
    /// Where two beliefs overlap, or a record cannot be read.
    pub fn judge_beliefs(&self) -> Result<Judged> {
        let mut beliefs = Vec::new();
        for entry in std::fs::read_dir(self.dir.path())? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if name.starts_with("beliefs-") {
                beliefs.extend(read_beliefs(&path)?);
            }
        }
        let judged = judge_beliefs(beliefs);
        ensure!(judged.violations.is_empty(), "the makers' beliefs: {:#?}", judged.violations);
        Ok(judged)
    }

    /// A linearizable read: the `data` of the first running node's answer.
    ///
    /// # Errors
    /// Where no node answers within 30 seconds.
    pub async fn read(&self, path: &str) -> Result<Value> {
        eventually(path, || async {
            for (id, _) in self.members.iter().filter(|(_, member)| member.process.is_some()) {
                if let Ok((200, mut answer)) = self.get(*id, path).await {
                    return anyhow::Ok(Some(answer["data"].take()));
                }
            }
            anyhow::Ok(None)
        })
        .await
    }

    /// All frames that the group keeps: the longest of the running nodes' exports.
    ///
    /// # Errors
    /// Where a node cannot be exported.
    pub fn frames(&self) -> Result<Vec<Frame>> {
        let longest = self.exports()?.into_iter().max_by_key(|export| export.frames.last().map(|frame| frame.index));
        Ok(longest.context("no node runs")?.frames)
    }

    /// A sender of single orders, whose journal is that of `seed`.
    ///
    /// # Errors
    /// Where its journal cannot be opened.
    pub fn trader(&self, seed: u64) -> Result<Trader> {
        Trader::new(self.exchange_url(), &self.journal(seed))
    }

    /// Waits until every symbol is quoted.
    ///
    /// # Errors
    /// Where that is not so within 30 seconds.
    pub async fn all_quoted(&self) -> Result<()> {
        let id = self.leader().await?;
        eventually("a quote for every symbol", || async {
            let (_, quotes) = self.get(id, "/v1/quotes?consistency=local").await?;
            let quoted = quotes["data"].as_array().map_or(0, Vec::len);
            anyhow::Ok((quoted == self.setup.symbols.len()).then_some(()))
        })
        .await?;
        self.see_money_of(id).await
    }

    /// Has every running node say what it has applied of money, for the judge to hold against its own sums at that index.
    ///
    /// # Errors
    /// Where a running node gives no answer at all; one that is not ready is left out.
    pub async fn see_money(&self) -> Result<()> {
        for (id, _) in self.members.iter().filter(|(_, member)| member.process.is_some()) {
            self.see_money_of(*id).await?;
        }
        Ok(())
    }

    async fn see_money_of(&self, id: u64) -> Result<()> {
        for view in VIEWS {
            self.get(id, &format!("/v1/{view}?consistency=local")).await?;
        }
        Ok(())
    }

    /// Starts a publisher of random orders for all symbols.
    ///
    /// # Errors
    /// Where it cannot be started.
    pub fn start_publisher(&self, seed: u64, flags: &[&str]) -> Result<Process> {
        let mut args = vec![
            "random".to_owned(),
            format!("--exchange={}", self.exchange_url()),
            format!("--seed={seed}"),
            format!("--symbols={}", self.setup.symbols.join(",")),
            format!("--journal={}", self.journal(seed).display()),
        ];
        args.extend(flags.iter().map(|flag| (*flag).to_owned()));
        let log = self.dir.path().join(format!("publisher-{seed}.log"));
        let site = self.setup.sites.named("publisher");
        site.spawn(&format!("publisher {seed}"), &binary("order-publisher")?, args, &log)
    }

    /// Where the publisher of `seed` writes what was acknowledged.
    #[must_use]
    pub fn journal(&self, seed: u64) -> PathBuf {
        self.dir.path().join(format!("journal-{seed}.jsonl"))
    }

    /// The exports of all running nodes.
    ///
    /// # Errors
    /// Where a node cannot be exported.
    pub fn exports(&self) -> Result<Vec<Export>> {
        let mut exports = Vec::new();
        for (id, member) in &self.members {
            if member.process.is_none() {
                continue;
            }
            let path = self.dir.path().join(format!("export-{id}.jsonl"));
            let output = std::process::Command::new(binary("ledgerctl")?)
                .args(["--endpoints", &self.api(*id), "export"])
                .stdout(std::fs::File::create(&path)?)
                .output()?;
            ensure!(output.status.success(), "export of node {id}: {}", String::from_utf8_lossy(&output.stderr));
            exports.push(read_export(&path)?);
        }
        Ok(exports)
    }

    /// What the running nodes say of money now, each of what it has applied.
    fn money_said(&self) -> Result<MoneySaid> {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for (id, _) in self.members.iter().filter(|(_, member)| member.process.is_some()) {
            for view in VIEWS {
                let output = std::process::Command::new(binary("ledgerctl")?)
                    .args(["--endpoints", &self.api(*id), "--json", "--consistency", "local", view])
                    .output()?;
                ensure!(output.status.success(), "{view} of node {id}: {}", String::from_utf8_lossy(&output.stderr));
                said.take(&format!("/v1/{view}"), serde_json::from_slice(&output.stdout)?)?;
            }
        }
        Ok(said)
    }

    /// Judges all that happened: replays the events of every running node, holds the journals of `publishers` and all that
    /// was said of money against them, and demands that nothing is wrong.
    ///
    /// # Errors
    /// Where something is wrong.
    pub fn judge(&self, publishers: &[u64]) -> Result<Findings> {
        // The nodes have as long to meet as everything here that has no bound of its own to prove.
        self.ledgerctl(&["--timeout-ms", "30000", "audit"])?;
        let mut journal = Journal::default();
        for seed in publishers {
            read_journal(&self.journal(*seed), &mut journal)?;
        }
        let said = self.money_said()?;
        let exports = self.exports()?;
        let end = exports.iter().filter_map(|export| export.frames.last()).map(|frame| frame.index).max();
        let mut longest = Findings::default();
        for export in exports {
            // What was said of an index holds for all nodes alike; only the longest log surely has them all.
            let hears = export.frames.last().map(|frame| frame.index) == end;
            let found = if hears { replay_and_hear(&export, &said) } else { replay(&export) };
            ensure!(found.violations.is_empty(), "the replay found: {:#?}", found.violations);
            let heard = !hears || !found.whole || found.money_said.len() == VIEWS.len();
            ensure!(heard, "too little was said of money: {:?}", found.money_said);
            let held = hold(&found, &journal);
            ensure!(held.violations.is_empty(), "the journals do not agree: {:#?}", held.violations);
            if found.fills >= longest.fills {
                longest = found;
            }
        }
        ensure!(journal.unknown_left() == 0, "{} outcomes are still unknown", journal.unknown_left());
        Ok(longest)
    }
}
