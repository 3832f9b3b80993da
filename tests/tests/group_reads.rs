//! Reads are at or after every write acknowledged before they began, at whatever node, or they are refused in time; who
//! asks for what a node has by itself is told how far that is.

#![allow(clippy::disallowed_methods, reason = "real processes live on the real clock")]

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use quorate_tests::harness::{Cluster, Setup, Writer, Wrote, eventually};
use serde_json::{Value, json};
use tokio::task::JoinSet;

const SYMBOL: &str = "BTCUSDT";
/// Every read of the group's state that the API has.
const ROUTES: [&str; 12] = [
    "positions",
    "exposure",
    "quotes",
    "authority",
    "makers",
    "symbols",
    "orders",
    "fills",
    "status",
    "cluster",
    "audit",
    "digests",
];
/// What a node is given for a read that it cannot answer.
const DEADLINE_MS: u64 = 700;
/// How much later the refusal may come: generous, for a busy machine, and far below what a node takes unasked (3 s).
const LATE_MAX: Duration = Duration::from_millis(1_500);
/// What writers and readers give a node while leaders change.
const PATIENT_MS: u64 = 2_000;
/// Reads that each reader must have had answered in each phase.
const READS_MIN: u64 = 40;

async fn start() -> Result<Cluster> {
    Cluster::start(Setup { symbols: vec![SYMBOL], ..Setup::default() }).await
}

/// A read with a deadline: status, JSON, and how long it took.
async fn read(http: &reqwest::Client, base: &str, path: &str, deadline_ms: u64) -> Result<(u16, Value, Duration)> {
    let asked = Instant::now();
    let request = http.get(format!("{base}{path}")).header("x-quorate-deadline-ms", deadline_ms);
    let response = request.timeout(Duration::from_secs(10)).send().await?;
    let status = response.status().as_u16();
    let answer = serde_json::from_slice(&response.bytes().await?)?;
    Ok((status, answer, asked.elapsed()))
}

fn client() -> Result<reqwest::Client> {
    Ok(reqwest::Client::builder().no_proxy().build()?)
}

/// Readers and writers at all nodes. Each read notes the highest acknowledged index before it is sent.
#[derive(Default)]
struct Traffic {
    stop: AtomicBool,
    /// The highest index of an acknowledged write.
    acknowledged: AtomicU64,
    writes: AtomicU64,
    /// Per node: reads answered, and reads refused.
    reads: BTreeMap<u64, (AtomicU64, AtomicU64)>,
    wrong: Mutex<Vec<String>>,
}

impl Traffic {
    fn start(cluster: &Cluster, writers: BTreeMap<u64, Writer>) -> Result<(Arc<Self>, JoinSet<()>)> {
        let ids = cluster.ids();
        let reads = ids.iter().map(|id| (*id, Default::default())).collect();
        let traffic = Arc::new(Self { reads, ..Self::default() });
        let mut tasks = JoinSet::new();
        for (_, writer) in writers {
            tasks.spawn(Arc::clone(&traffic).write(writer));
        }
        for id in ids {
            for _ in 0..2 {
                tasks.spawn(Arc::clone(&traffic).read(client()?, id, cluster.api(id)));
            }
        }
        Ok((traffic, tasks))
    }

    fn running(&self) -> bool {
        !self.stop.load(Ordering::SeqCst)
    }

    async fn write(self: Arc<Self>, mut writer: Writer) {
        while self.running() {
            match writer.write(PATIENT_MS).await {
                Wrote::Applied(index) => {
                    self.acknowledged.fetch_max(index, Ordering::SeqCst);
                    self.writes.fetch_add(1, Ordering::SeqCst);
                }
                Wrote::NotProposed(_) | Wrote::Unknown(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }

    async fn read(self: Arc<Self>, http: reqwest::Client, id: u64, base: String) {
        let (answered, refused) = &self.reads[&id];
        while self.running() {
            let floor = self.acknowledged.load(Ordering::SeqCst);
            match read(&http, &base, "/v1/positions", PATIENT_MS).await {
                Ok((200, answer, _)) if answer["applied_index"].as_u64() >= Some(floor) => {
                    answered.fetch_add(1, Ordering::SeqCst);
                }
                Ok((503 | 504, ..)) => {
                    refused.fetch_add(1, Ordering::SeqCst);
                }
                Ok((status, answer, _)) => {
                    let what = format!("node {id}, where {floor} was acknowledged before: {status} {answer}");
                    self.wrong.lock().unwrap_or_else(PoisonError::into_inner).push(what);
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                // The node is not there.
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }

    /// Waits until each of these nodes answered some reads, and some writes were acknowledged, from now on.
    async fn goes_on_at(&self, ids: &[u64]) -> Result<()> {
        let counts = || -> Vec<u64> { ids.iter().map(|id| self.reads[id].0.load(Ordering::SeqCst)).collect() };
        let (reads, writes) = (counts(), self.writes.load(Ordering::SeqCst));
        eventually(&format!("reads at {ids:?}, and writes"), || async {
            let now = counts();
            let enough = now.iter().zip(&reads).all(|(now, before)| now - before >= READS_MIN);
            let written = self.writes.load(Ordering::SeqCst) - writes;
            ensure!(enough && written >= READS_MIN, "{now:?} after {reads:?}, {written} writes");
            Ok(Some(()))
        })
        .await
    }
}

fn others(cluster: &Cluster, but: &[u64]) -> Vec<u64> {
    cluster.ids().into_iter().filter(|id| !but.contains(id)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_living_node_reads_all_that_was_acknowledged() -> Result<()> {
    let mut cluster = start().await?;
    let mut writers = BTreeMap::new();
    for id in cluster.ids() {
        writers.insert(id, Writer::open(cluster.api(id), SYMBOL).await?);
    }
    let (traffic, tasks) = Traffic::start(&cluster, writers)?;
    traffic.goes_on_at(&cluster.ids()).await?;

    // One node is dead.
    let leader = cluster.leader().await?;
    let dead = *others(&cluster, &[leader]).first().context("a follower")?;
    cluster.take_node(dead)?.kill()?;
    let living = others(&cluster, &[dead]);
    traffic.goes_on_at(&living).await?;

    // The leader changes between the two that are left.
    let next = *others(&cluster, &[leader, dead]).first().context("another follower")?;
    let (status, answer) = cluster.post(leader, "/v1/cluster/transfer-leader", &json!({"to": next})).await?;
    ensure!(status == 200, "{status} {answer}");
    traffic.goes_on_at(&living).await?;

    // The dead one is back, then the leader dies.
    cluster.start_node(dead)?;
    traffic.goes_on_at(&cluster.ids()).await?;
    let leader = cluster.leader().await?;
    cluster.take_node(leader)?.kill()?;
    let living = others(&cluster, &[leader]);
    traffic.goes_on_at(&living).await?;
    leader_after(&cluster, leader).await?;

    traffic.stop.store(true, Ordering::SeqCst);
    tasks.join_all().await;
    let wrong = traffic.wrong.lock().unwrap_or_else(PoisonError::into_inner);
    assert!(wrong.is_empty(), "{} stale or strange answers: {:#?}", wrong.len(), wrong.first());
    let reads: Vec<_> =
        traffic.reads.iter().map(|(id, (ok, no))| json!({"node": id, "answered": ok, "refused": no})).collect();
    println!("{}", json!({"writes": traffic.writes.load(Ordering::SeqCst), "reads": reads}));
    Ok(())
}

/// Asks a node for everything, linearizably: each read must be refused, in time. How long the slowest took.
async fn refuses_all(base: &str) -> Result<Duration> {
    let http = client()?;
    let mut asked = JoinSet::new();
    for route in ROUTES {
        let (http, path, base) = (http.clone(), format!("/v1/{route}"), base.to_owned());
        asked.spawn(async move { (path.clone(), read(&http, &base, &path, DEADLINE_MS).await) });
    }
    let mut slowest = Duration::ZERO;
    for (path, answered) in asked.join_all().await {
        let (status, answer, took) = answered.with_context(|| path.clone())?;
        ensure!(matches!(status, 503 | 504), "{path} by a node that cannot know: {status} {answer}");
        ensure!(answer["detail"].is_string(), "{path}: {answer}");
        ensure!(took <= Duration::from_millis(DEADLINE_MS) + LATE_MAX, "{path} was refused after {took:?}");
        slowest = slowest.max(took);
    }
    Ok(slowest)
}

/// Asks a node for everything as it has it, and gives the lowest index that it says.
async fn answers_all_locally(base: &str) -> Result<u64> {
    let http = client()?;
    let mut lowest = u64::MAX;
    for route in ROUTES {
        let path = format!("/v1/{route}?consistency=local");
        let (status, answer, took) = read(&http, base, &path, DEADLINE_MS).await?;
        ensure!(status == 200 && answer["consistency"] == "local", "{path}: {status} {answer}");
        ensure!(took <= LATE_MAX, "{path} took {took:?}, and has nobody to ask");
        lowest = lowest.min(answer["applied_index"].as_u64().context("an index")?);
    }
    Ok(lowest)
}

/// Writes `count` times; the highest index that was acknowledged.
async fn write(writer: &mut Writer, count: usize) -> Result<u64> {
    let mut highest = 0;
    for _ in 0..count {
        match writer.write(PATIENT_MS).await {
            Wrote::Applied(index) => highest = highest.max(index),
            other => bail!("{other:?}"),
        }
    }
    Ok(highest)
}

/// Waits until the others know another leader than `old`.
async fn leader_after(cluster: &Cluster, old: u64) -> Result<u64> {
    eventually("another leader", || async { anyhow::Ok(Some(cluster.leader().await?).filter(|leader| *leader != old)) })
        .await
}

/// Cuts a node off: from the first moment on it may not answer for the group.
async fn isolated(cluster: &Cluster, cut: u64) -> Result<(Duration, u64)> {
    let known = answers_all_locally(&cluster.api(cut)).await?;
    cluster.isolate(cut).await?;
    // At once, while it does not know yet, and once it does.
    let mut slowest = refuses_all(&cluster.api(cut)).await?;
    // A follower that was cut off leaves the leader what it was.
    let leader = leader_after(cluster, cut).await?;
    let mut writer = Writer::open(cluster.api(leader), SYMBOL).await?;
    let written = write(&mut writer, 20).await?;
    slowest = slowest.max(refuses_all(&cluster.api(cut)).await?);

    // What it has by itself it tells: behind the others, and not behind itself.
    let local = answers_all_locally(&cluster.api(cut)).await?;
    ensure!(local >= known && local < written, "it is at {local}, was at {known}, the others are at {written}");

    cluster.heal().await?;
    eventually("the node to answer again", || async {
        let (status, answer) = cluster.get(cut, "/v1/positions").await?;
        ensure!(status == 200, "{status} {answer}");
        let index = answer["applied_index"].as_u64();
        // This no time excuses: it is the first thing that it says.
        assert!(index >= Some(written), "healed and stale: {index:?}, {written} was acknowledged");
        Ok(Some(()))
    })
    .await?;
    Ok((slowest, written - local))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_isolated_node_refuses_what_it_cannot_know() -> Result<()> {
    let cluster = start().await?;
    let leader = cluster.leader().await?;
    let (as_leader, behind) = isolated(&cluster, leader).await?;
    let leader = cluster.leader().await?;
    let follower = *others(&cluster, &[leader]).first().context("a follower")?;
    let (as_follower, behind_too) = isolated(&cluster, follower).await?;
    println!(
        "{}",
        json!({"deadline_ms": DEADLINE_MS, "leader_refused_in_ms": as_leader.as_millis(),
            "follower_refused_in_ms": as_follower.as_millis(), "entries_behind": [behind, behind_too]})
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_majority_nobody_answers_for_the_group() -> Result<()> {
    let mut cluster = start().await?;
    let mut slowest = Vec::new();
    for leader_survives in [true, false] {
        let leader = cluster.leader().await?;
        let mut writer = Writer::open(cluster.api(leader), SYMBOL).await?;
        let written = write(&mut writer, 20).await?;
        let left = if leader_survives { leader } else { *others(&cluster, &[leader]).first().context("a follower")? };
        eventually("what is left to have applied all", || async {
            let index = answers_all_locally(&cluster.api(left)).await?;
            anyhow::Ok((index >= written).then_some(()))
        })
        .await?;
        for id in others(&cluster, &[left]) {
            cluster.take_node(id)?.kill()?;
        }
        for _ in 0..2 {
            slowest.push(refuses_all(&cluster.api(left)).await?.as_millis());
        }
        let local = answers_all_locally(&cluster.api(left)).await?;
        ensure!(local >= written, "it had {written}, and says {local}");

        // With the others back every node answers, at or after what was acknowledged.
        for id in others(&cluster, &[left]) {
            cluster.start_node(id)?;
        }
        for id in cluster.ids() {
            eventually(&format!("node {id} to answer"), || async {
                let (status, answer) = cluster.get(id, "/v1/positions").await?;
                ensure!(status == 200, "{status} {answer}");
                assert!(answer["applied_index"].as_u64() >= Some(written), "stale: {answer}, {written} acknowledged");
                Ok(Some(()))
            })
            .await?;
        }
    }
    println!("{}", json!({"deadline_ms": DEADLINE_MS, "refused_in_ms": slowest}));
    Ok(())
}
