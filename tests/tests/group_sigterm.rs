//! SIGTERM: a leader hands leadership over before it ends, everybody ends with exit code 0 and in time, and nothing
//! that was acknowledged is lost.
//!
//! Elections by timeout are made slow here, so that a leader that comes before one can only have been handed the lead.

#![allow(clippy::disallowed_methods, reason = "real processes live on the real clock")]

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use quorate_tests::harness::{Cluster, Setup, Writer, Wrote, eventually};
use serde_json::json;
use tokio::{sync::watch, task::JoinHandle};

const SYMBOL: &str = "BTCUSDT";
/// No node stands for election by itself before this.
const ELECTION_MIN: Duration = Duration::from_secs(5);
const ELECTION_FLAGS: [&str; 2] = ["--election-min-ms=5000", "--election-max-ms=7000"];
/// What ending takes at most: the handing over (2 s), the closing of connections (1 s), and a busy machine.
const END_MAX: Duration = Duration::from_secs(10);
const WRITE_MS: u64 = 3_000;
/// The last writes of each writer that are asked for again: a session remembers 128.
const RECALLED: usize = 100;

async fn start(flags: &[&str]) -> Result<Cluster> {
    let node_flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
    Cluster::start(Setup { symbols: vec![SYMBOL], node_flags, ..Setup::default() }).await
}

/// A writer at one node, without pause.
struct Background {
    stop: watch::Sender<bool>,
    task: JoinHandle<(Writer, Vec<Ack>)>,
}

/// An acknowledged write.
#[derive(Debug, Clone, Copy)]
struct Ack {
    seq: u64,
    index: u64,
    sent: Instant,
    acked: Instant,
}

impl Background {
    async fn start(base: String) -> Result<Self> {
        let mut writer = Writer::open(base, SYMBOL).await?;
        let stop = watch::Sender::new(false);
        let stopped = stop.subscribe();
        let task = tokio::spawn(async move {
            let mut acks = Vec::new();
            while !*stopped.borrow() {
                let sent = Instant::now();
                match writer.write(WRITE_MS).await {
                    Wrote::Applied(index) => acks.push(Ack { seq: writer.seq(), index, sent, acked: Instant::now() }),
                    Wrote::NotProposed(_) | Wrote::Unknown(_) => tokio::time::sleep(Duration::from_millis(5)).await,
                }
            }
            (writer, acks)
        });
        Ok(Self { stop, task })
    }

    async fn finish(self) -> Result<(Writer, Vec<Ack>)> {
        self.stop.send_replace(true);
        Ok(self.task.await?)
    }
}

/// Asks for the last acknowledged writes again, at `base`: each must be known at the place that was acknowledged.
async fn recall(writer: &mut Writer, base: String, acks: &[Ack]) -> Result<usize> {
    writer.turn_to(base);
    let from = acks.len().saturating_sub(RECALLED);
    for ack in &acks[from..] {
        // What fell out of the session's memory since is not asked for.
        if ack.seq + 128 <= writer.seq() {
            continue;
        }
        let again = eventually("an answer to a repeat", || async {
            match writer.send(ack.seq, WRITE_MS).await {
                Wrote::Applied(index) => Ok(Some(index)),
                other => anyhow::bail!("{other:?}"),
            }
        })
        .await?;
        ensure!(again == ack.index, "write {} was acknowledged at {}, and is now at {again}", ack.seq, ack.index);
    }
    Ok(acks.len() - from)
}

fn log_of(cluster: &Cluster, id: u64) -> Result<String> {
    Ok(std::fs::read_to_string(cluster.dir().join(format!("node-{id}.log")))?)
}

fn is_error(line: &str) -> bool {
    line.contains(" ERROR ")
}

/// An orderly end leaves no error behind in a node's log.
fn ended_cleanly(cluster: &Cluster, id: u64) -> Result<String> {
    let log = log_of(cluster, id)?;
    let bad: Vec<&str> = log.lines().filter(|line| line.contains("panicked") || is_error(line)).collect();
    ensure!(bad.is_empty(), "node {id} says: {bad:#?}");
    Ok(log)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_hands_over_before_it_ends() -> Result<()> {
    let mut cluster = start(&ELECTION_FLAGS).await?;
    let old = cluster.leader().await?;
    let at_leader = Background::start(cluster.api(old)).await?;
    let follower = cluster.ids().into_iter().find(|id| *id != old).context("a follower")?;
    let at_follower = Background::start(cluster.api(follower)).await?;
    wrote_until(&cluster, old, 50).await?;

    let signalled = Instant::now();
    let status = cluster.take_node(old)?.terminate().await?;
    let ended = signalled.elapsed();
    assert!(status.success(), "{status}");
    ensure!(ended <= END_MAX, "it took {ended:?} to end");
    let new = cluster.leader().await?;
    let led = signalled.elapsed();
    ensure!(new != old && led < ELECTION_MIN, "node {new} leads after {led:?}");
    wrote_until(&cluster, new, 50).await?;

    // Writes went on before anybody can have stood for election.
    let (mut left, left_acks) = at_leader.finish().await?;
    let (mut writer, acks) = at_follower.finish().await?;
    let last = acks.iter().rfind(|ack| ack.acked <= signalled).context("a write before the signal")?;
    let next = acks.iter().find(|ack| ack.sent >= signalled).context("a write after the signal")?;
    let gap = next.acked - last.acked;
    ensure!(gap < ELECTION_MIN, "no write was acknowledged for {gap:?}");

    // Both writers' last writes are where they were acknowledged.
    let recalled = recall(&mut writer, cluster.api(new), &acks).await?;
    let recalled_left = recall(&mut left, cluster.api(new), &left_acks).await?;
    let log = ended_cleanly(&cluster, old)?;
    ensure!(
        log.contains("leadership handed over") && !log.contains("not taken over"),
        "the lead was not handed over:\n{log}"
    );
    cluster.start_node(old)?;
    eventually("the old leader to follow", || async {
        let (status, answer) = cluster.get(old, "/v1/positions").await?;
        ensure!(status == 200, "{status} {answer}");
        Ok(Some(()))
    })
    .await?;
    cluster.judge(&[])?;
    println!(
        "{}",
        json!({"ended_after_ms": ended.as_millis(), "write_gap_ms": gap.as_millis(),
            "writes": [left_acks.len(), acks.len()], "recalled": [recalled_left, recalled]})
    );
    Ok(())
}

/// Waits until a node has applied `more` entries from now on.
async fn wrote_until(cluster: &Cluster, id: u64, more: u64) -> Result<()> {
    let index = || async {
        let (_, status) = cluster.get(id, "/v1/status?consistency=local").await?;
        status["applied_index"].as_u64().context("an index")
    };
    let from = index().await?;
    eventually("writes", || async { anyhow::Ok((index().await? >= from + more).then_some(())) }).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_ends_without_a_stir() -> Result<()> {
    let mut cluster = start(&ELECTION_FLAGS).await?;
    let leader = cluster.leader().await?;
    let (_, before) = cluster.get(leader, "/v1/status?consistency=local").await?;
    let background = Background::start(cluster.api(leader)).await?;
    let follower = cluster.ids().into_iter().find(|id| *id != leader).context("a follower")?;
    wrote_until(&cluster, leader, 50).await?;

    let signalled = Instant::now();
    let status = cluster.take_node(follower)?.terminate().await?;
    let ended = signalled.elapsed();
    assert!(status.success(), "{status}");
    ensure!(ended <= END_MAX, "it took {ended:?} to end");
    wrote_until(&cluster, leader, 50).await?;
    let (mut writer, acks) = background.finish().await?;
    let recalled = recall(&mut writer, cluster.api(leader), &acks).await?;
    let (_, after) = cluster.get(leader, "/v1/status?consistency=local").await?;
    assert_eq!(after["data"]["term"], before["data"]["term"], "the leader did not change");
    ended_cleanly(&cluster, follower)?;
    println!("{}", json!({"ended_after_ms": ended.as_millis(), "writes": acks.len(), "recalled": recalled}));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn all_nodes_end_at_once() -> Result<()> {
    let mut cluster = start(&[]).await?;
    let leader = cluster.leader().await?;
    let background = Background::start(cluster.api(leader)).await?;
    wrote_until(&cluster, leader, 50).await?;

    let nodes: Vec<_> = cluster.ids().into_iter().map(|id| cluster.take_node(id)).collect::<Result<_>>()?;
    let signalled = Instant::now();
    let mut ending = tokio::task::JoinSet::new();
    for node in nodes {
        ending.spawn(node.terminate());
    }
    for status in ending.join_all().await {
        let status = status?;
        ensure!(status.success(), "{status}");
    }
    let ended = signalled.elapsed();
    ensure!(ended <= END_MAX, "it took {ended:?} to end");
    let (mut writer, acks) = background.finish().await?;
    for id in cluster.ids() {
        ended_cleanly(&cluster, id)?;
    }

    // Started again, they have all of it.
    for id in cluster.ids() {
        cluster.start_node(id)?;
    }
    let leader = cluster.leader().await?;
    let recalled = recall(&mut writer, cluster.api(leader), &acks).await?;
    cluster.judge(&[])?;
    println!("{}", json!({"ended_after_ms": ended.as_millis(), "writes": acks.len(), "recalled": recalled}));
    Ok(())
}
