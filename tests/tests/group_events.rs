//! Events come without a gap and without a doubt, or the stream says so: at a follower that is cut off while it serves
//! them, below what is kept, and across the installation of a snapshot.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result, ensure};
use quorate_ledger::{Digest, Frame};
use quorate_tests::harness::{Cluster, Events, Heard, Setup, Writer, Wrote, eventually, instrument};
use serde_json::{Value, json};

const SYMBOL: &str = "BTCUSDT";
/// A stream says something at least each second; this is far more.
const SILENCE_MAX: Duration = Duration::from_secs(10);
/// What a node has for one write.
const WRITE_MS: u64 = 3_000;
/// Commands in one array.
const BATCH: u64 = 250;

async fn start(flags: &[&str]) -> Result<Cluster> {
    let node_flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
    Cluster::start(Setup { symbols: vec![SYMBOL], node_flags, ..Setup::default() }).await
}

/// Chains of frames by index, in the order in which they must come.
#[derive(Default)]
struct Seen(BTreeMap<u64, Digest>);

impl Seen {
    fn last(&self) -> u64 {
        self.0.last_key_value().map_or(0, |(index, _)| *index)
    }

    /// Takes a frame that must follow the last one.
    fn take(&mut self, frame: &Frame) -> Result<()> {
        ensure!(frame.index == self.last() + 1, "frame {} after {}", frame.index, self.last());
        self.0.insert(frame.index, frame.chain);
        Ok(())
    }

    /// Reads on until `index` came.
    async fn read_to(&mut self, stream: &mut Events, index: u64) -> Result<()> {
        while self.last() < index {
            match stream.next(SILENCE_MAX).await? {
                Heard::Frame(frame) => self.take(&frame)?,
                Heard::Applied(_) | Heard::Group(_) => {}
                ended @ (Heard::End(_) | Heard::Closed) => anyhow::bail!("after {}: {ended:?}", self.last()),
            }
        }
        Ok(())
    }

    /// Reads on to the stream's end: what it says then.
    async fn read_to_end(&mut self, stream: &mut Events) -> Result<Option<Value>> {
        loop {
            match stream.next(SILENCE_MAX).await? {
                Heard::Frame(frame) => self.take(&frame)?,
                Heard::Applied(_) | Heard::Group(_) => {}
                Heard::End(problem) => return Ok(Some(problem)),
                Heard::Closed => return Ok(None),
            }
        }
    }

    /// Every frame seen is the one that the group has, from the first to the last.
    fn agree(&self, frames: &[Frame]) -> Result<()> {
        let group: BTreeMap<u64, Digest> = frames.iter().map(|frame| (frame.index, frame.chain)).collect();
        for (index, chain) in &self.0 {
            ensure!(group.get(index) == Some(chain), "the frame of index {index} is not the group's");
        }
        Ok(())
    }
}

async fn follower(cluster: &Cluster) -> Result<u64> {
    let leader = cluster.leader().await?;
    cluster.ids().into_iter().find(|id| *id != leader).context("three nodes")
}

async fn open(cluster: &Cluster, id: u64, last_seen: u64) -> Result<Events> {
    let stream = Events::open(&cluster.api(id), last_seen).await?;
    let stream = stream.map_err(|refused| anyhow::anyhow!("node {id}: {refused:?}"))?;
    let (_, view) = cluster.get(id, "/v1/cluster?consistency=local").await?;
    ensure!(view["data"]["group_id"] == stream.group.as_str(), "{view} and not {}", stream.group);
    Ok(stream)
}

/// The last index of `count` writes.
async fn write(writer: &mut Writer, count: u64) -> Result<u64> {
    let mut last = 0;
    for _ in 0..count {
        last = match writer.write(WRITE_MS).await {
            Wrote::Applied(index) => index,
            other => anyhow::bail!("{other:?}"),
        };
    }
    Ok(last)
}

/// Fills the log by arrays of commands; the last index.
async fn fill(cluster: &Cluster, at: u64, count: u64) -> Result<u64> {
    let (status, opened) = cluster.post(at, "/v1/commands", &json!({"command": "open_session"})).await?;
    let session = opened["outcome"]["accepted"]["session_opened"]["session"].clone();
    ensure!(status == 200 && session.is_u64(), "{status} {opened}");
    let command = json!({"define_symbol": {"symbol": SYMBOL, "instrument": instrument(SYMBOL)}});
    let mut last = 0;
    for from in (1..=count).step_by(usize::try_from(BATCH)?) {
        let batch: Vec<Value> = (from..(from + BATCH).min(count + 1))
            .map(|seq| json!({"session": session, "seq": seq, "command": command}))
            .collect();
        let (status, answers) = cluster.post(at, "/v1/commands", &Value::Array(batch)).await?;
        ensure!(status == 200, "{status} {answers}");
        for answer in answers.as_array().context("an array")? {
            last = answer["response"]["index"].as_u64().with_context(|| answer.to_string())?;
        }
    }
    Ok(last)
}

async fn applied(cluster: &Cluster, id: u64, index: u64) -> Result<()> {
    let path = format!("/v1/status?min_index={index}");
    eventually(&format!("index {index} at node {id}"), || async {
        let (status, _) = cluster.get(id, &path).await?;
        anyhow::Ok((status == 200).then_some(()))
    })
    .await
}

async fn figure(cluster: &Cluster, id: u64, name: &str) -> Result<u64> {
    let text = reqwest::get(format!("{}/metrics", cluster.api(id))).await?.bytes().await?;
    let text = std::str::from_utf8(&text)?;
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    Ok(value.with_context(|| name.to_owned())?.parse()?)
}

async fn installed(cluster: &Cluster, id: u64) -> Result<()> {
    let count = figure(cluster, id, "quorate_snapshots_installed_total").await?;
    ensure!(count >= 1, "node {id} caught up without a snapshot");
    Ok(())
}

/// Fills the log until the group has purged what `index` needs to be followed by.
async fn fill_and_purge(cluster: &Cluster, leader: u64, index: u64) -> Result<u64> {
    let last = fill(cluster, leader, 3_000).await?;
    eventually("the log to be purged", || async {
        let purged = figure(cluster, leader, "quorate_purged_index").await?;
        anyhow::Ok((purged > index + 1).then_some(last))
    })
    .await
}

/// What a node refuses a stream with that begins at the group's first index.
async fn gone(cluster: &Cluster, id: u64) -> Result<u64> {
    let Err(refused) = Events::open(&cluster.api(id), 0).await? else {
        anyhow::bail!("node {id} promises events from index 1");
    };
    ensure!(refused.status == 410, "{refused:?}");
    ensure!(refused.problem["type"] == "urn:quorate:gone", "{refused:?}");
    refused.problem["first_index"].as_u64().context("the first index that is kept")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_cut_off_while_it_serves_events_ends_the_stream_and_another_goes_on() -> Result<()> {
    let cluster = start(&[]).await?;
    let follower = follower(&cluster).await?;
    let leader = cluster.leader().await?;
    let mut writer = Writer::open(cluster.api(leader), SYMBOL).await?;
    let mut seen = Seen::default();
    let mut stream = open(&cluster, follower, 0).await?;
    let before = write(&mut writer, 50).await?;
    seen.read_to(&mut stream, before).await?;

    cluster.isolate(follower).await?;
    let during = write(&mut writer, 50).await?;
    let end = seen.read_to_end(&mut stream).await?.context("the stream broke off without a word")?;
    ensure!(end["type"] == "urn:quorate:no-leader", "{end}");
    ensure!(seen.last() < during, "a node that is cut off told what it cannot know");
    let Err(refused) = Events::open(&cluster.api(follower), seen.last()).await? else {
        anyhow::bail!("a node without a leader opens a stream");
    };
    ensure!(refused.status == 503 && refused.problem["type"] == "urn:quorate:no-leader", "{refused:?}");

    // Another node goes on where this one ended; healed, so does this one.
    let mut elsewhere = open(&cluster, leader, seen.last()).await?;
    seen.read_to(&mut elsewhere, during).await?;
    cluster.heal().await?;
    let after = write(&mut writer, 20).await?;
    applied(&cluster, follower, after).await?;
    let mut again = open(&cluster, follower, seen.last()).await?;
    seen.read_to(&mut again, after).await?;
    seen.agree(&cluster.frames()?)?;
    println!(
        "{} frames by three streams, {} of them written while the follower was cut off",
        seen.0.len(),
        during - before
    );
    cluster.ledgerctl(&["audit"]).map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn below_what_is_kept_a_reader_is_told_from_where_to_go_on() -> Result<()> {
    let cluster = start(&["--event-retention=1000", "--snapshot-every=200", "--log-keep=100"]).await?;
    let leader = cluster.leader().await?;
    let last = fill(&cluster, leader, 2_500).await?;
    for id in cluster.ids() {
        applied(&cluster, id, last).await?;
        // The snapshot that drops the oldest events is built beside the writes.
        let first = eventually("events to be dropped", || async { gone(&cluster, id).await.map(Some) }).await?;
        assert!(first > 1 && first <= last - 999, "node {id} keeps from {first}, the last is {last}");

        // Read the state, go on after it: nothing is missing in between.
        let (status, state) = cluster.get(id, "/v1/positions").await?;
        ensure!(status == 200, "{state}");
        let resumed = state["applied_index"].as_u64().context("an index")?;
        let mut seen = Seen::default();
        seen.0.insert(resumed, Digest::default());
        let mut stream = open(&cluster, id, resumed).await?;
        let more = fill(&cluster, leader, 10).await?;
        seen.read_to(&mut stream, more).await?;
        assert!(seen.0.len() >= 10);

        // Whoever asks for the first index that is kept gets it.
        let first = gone(&cluster, id).await?;
        let mut oldest = open(&cluster, id, first - 1).await?;
        let mut kept = Seen::default();
        kept.0.insert(first - 1, Digest::default());
        kept.read_to(&mut oldest, more).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_leaves_no_gap_that_a_stream_does_not_admit() -> Result<()> {
    let mut cluster = start(&["--event-retention=1000", "--snapshot-every=200", "--log-keep=50"]).await?;
    let leader = cluster.leader().await?;
    let behind = follower(&cluster).await?;
    let other = cluster.ids().into_iter().find(|id| *id != leader && *id != behind).context("three nodes")?;
    let start = fill(&cluster, leader, 100).await?;
    applied(&cluster, behind, start).await?;
    let mut seen = Seen::default();
    let mut stream = open(&cluster, behind, 0).await?;
    seen.read_to(&mut stream, start).await?;

    // It stands still, with a stream open, while the log that it needs is purged. The others' streams to it are cut
    // meanwhile: what is on its way in sockets would spare it the snapshot.
    cluster.node(behind)?.pause()?;
    for id in [leader, other] {
        cluster.set_faults(id, &[behind], &[behind]).await?;
    }
    let last = fill_and_purge(&cluster, leader, start).await?;
    cluster.node(behind)?.resume()?;
    cluster.heal().await?;
    applied(&cluster, behind, last).await?;
    installed(&cluster, behind).await?;
    let end = seen.read_to_end(&mut stream).await?;
    assert!(seen.last() < last, "the stream should have ended at the snapshot, {end:?}");

    // The same after a death: the disk has the log up to here, the group no longer has what follows.
    cluster.take_node(other)?.kill()?;
    let last = fill_and_purge(&cluster, leader, last).await?;
    cluster.start_node(other)?;
    applied(&cluster, other, last).await?;
    installed(&cluster, other).await?;

    for id in [behind, other] {
        let first = gone(&cluster, id).await?;
        assert!(first > start, "node {id} keeps from {first}: what it never had");
        let mut seen = Seen::default();
        seen.0.insert(first - 1, Digest::default());
        let mut stream = open(&cluster, id, first - 1).await?;
        seen.read_to(&mut stream, last).await?;
        seen.0.remove(&(first - 1));
        seen.agree(&cluster.frames()?)?;
    }
    cluster.ledgerctl(&["audit"]).map(drop)
}
