//! The leader dies, is cut off, all nodes die, most nodes die, each with many orders in flight: what was acknowledged
//! stays, nothing counts twice, nobody is told of a fill that is not committed, and every doubt is settled, once.
//!
//! `QUORATE_KILLS=10` makes the first test a measurement: so many kills, and the bounds on the gaps are asserted.
//! Without it two kills are enough, and only correctness is: on a busy machine a clock proves nothing.

#![allow(clippy::disallowed_methods, reason = "real processes live on the real clock")]

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use quorate_ledger::{Event, Frame};
use quorate_tests::harness::{
    Cluster, Finished, Flow, MakerOptions, Outcomes, Reply, Setup, Writer, Wrote, eventually,
};
use serde_json::{Value, json};
use tokio::task::JoinSet;

const SYMBOLS: [&str; 3] = ["BTCUSDT", "ETHUSDT", "SOLUSDT"];
/// Senders, each with one order on its way: as many as the exchange has on their way to the group at once (32) can be
/// answered together while a process dies, and enough must be left.
const SENDERS: usize = 64;
/// What must be in flight when something has happened, and what is waited for before it does.
const IN_FLIGHT_MIN: usize = 16;
const IN_FLIGHT_BEFORE: usize = 56;
/// Pause of a sender between two orders.
const PAUSE: Duration = Duration::from_millis(1);
/// Pause of a writer between two writes: the gap between commits is measured to this.
const PROBE_PAUSE: Duration = Duration::from_millis(20);
/// What a writer's node has for one write.
const PROBE_MS: u64 = 3_000;
const KILLS_DEFAULT: usize = 2;
/// Bounds of the measurement, in milliseconds.
const COMMIT_MEDIAN_MAX_MS: u128 = 1_500;
const COMMIT_WORST_MAX_MS: u128 = 3_000;
const QUOTES_MEDIAN_MAX_MS: u128 = 2_000;

/// Makes the exchange say *unknown* before another leader can be there.
const IMPATIENT: &str = "--patience-ms=500";

async fn start(node_flags: &[&str], exchange_flags: &[&str]) -> Result<Cluster> {
    // All events of the run are kept, for the judge.
    let flags = ["--event-retention=1000000"].iter().chain(node_flags);
    let node_flags = flags.map(|flag| (*flag).to_owned()).collect();
    let mut cluster = Cluster::start(Setup { symbols: SYMBOLS.to_vec(), node_flags, ..Setup::default() }).await?;
    cluster.start_exchange(exchange_flags).await?;
    for maker in ["alpha", "beta", "gamma"] {
        cluster.start_maker(maker, &MakerOptions::default())?;
    }
    cluster.all_quoted().await?;
    Ok(cluster)
}

/// The flow of orders, once some are executed.
async fn start_flow(cluster: &Cluster) -> Result<Flow> {
    let flow = Flow::start(cluster.trader(1)?, &SYMBOLS, SENDERS, PAUSE);
    flowing(&flow).await?;
    Ok(flow)
}

/// Waits until orders are executed again.
async fn flowing(flow: &Flow) -> Result<()> {
    let since = Instant::now();
    eventually("orders executed", || async {
        let placed = flow.placed_after(since);
        ensure!(placed >= SENDERS, "{placed} executed");
        Ok(Some(()))
    })
    .await
}

/// Waits for a moment at which many orders are in flight.
async fn loaded(flow: &Flow) -> Result<()> {
    eventually("many orders in flight", || async {
        let open = flow.unanswered(Instant::now()).len();
        ensure!(open >= IN_FLIGHT_BEFORE, "{open} in flight");
        Ok(Some(()))
    })
    .await
}

/// An acknowledged write.
#[derive(Debug, Clone, Copy)]
struct Ack {
    sent: Instant,
    acked: Instant,
    index: u64,
}

/// A steady background of small commands, by way of every node.
struct Probes {
    acks: Arc<Mutex<Vec<Ack>>>,
    _writers: JoinSet<()>,
}

impl Probes {
    async fn start(cluster: &Cluster) -> Result<Self> {
        let acks = Arc::new(Mutex::new(Vec::new()));
        let mut writers = JoinSet::new();
        for id in cluster.ids() {
            let mut writer = Writer::open(cluster.api(id), SYMBOLS[0]).await?;
            let acks = Arc::clone(&acks);
            writers.spawn(async move {
                loop {
                    let sent = Instant::now();
                    if let Wrote::Applied(index) = writer.write(PROBE_MS).await {
                        let ack = Ack { sent, acked: Instant::now(), index };
                        acks.lock().unwrap_or_else(PoisonError::into_inner).push(ack);
                    }
                    tokio::time::sleep(PROBE_PAUSE).await;
                }
            });
        }
        Ok(Self { acks, _writers: writers })
    }

    fn acks(&self) -> Vec<Ack> {
        self.acks.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The last write acknowledged by `then`.
    fn last_by(&self, then: Instant) -> Result<Ack> {
        let acks = self.acks();
        acks.into_iter().filter(|ack| ack.acked <= then).max_by_key(|ack| ack.acked).context("no write acknowledged")
    }

    /// Waits for the first acknowledged write of those sent after `then`.
    async fn next_after(&self, then: Instant) -> Result<Ack> {
        eventually("an acknowledged write", || async {
            anyhow::Ok(self.acks().into_iter().filter(|ack| ack.sent > then).min_by_key(|ack| ack.acked))
        })
        .await
    }

    fn highest(&self) -> u64 {
        self.acks().iter().map(|ack| ack.index).max().unwrap_or(0)
    }
}

/// One kill, as it was seen from outside.
#[derive(Debug)]
struct Kill {
    /// The last index that a writer was told of before it.
    before: u64,
    in_flight: usize,
    /// By the clock of this test: from the last acknowledgement before the kill to the first one of a write that was
    /// sent after it.
    commit_gap_ms: u128,
}

async fn kill_leader(cluster: &mut Cluster, flow: &Flow, probes: &Probes) -> Result<Kill> {
    let leader = cluster.leader().await?;
    let process = cluster.take_node(leader)?;
    loaded(flow).await?;
    let killed = Instant::now();
    process.kill()?;
    let dead = Instant::now();
    let in_flight = flow.unanswered(killed).len();
    ensure!(in_flight >= IN_FLIGHT_MIN, "only {in_flight} orders were unanswered when the leader died");

    let last = probes.last_by(dead)?;
    let next = probes.next_after(dead).await?;
    eventually("a newer quote for every symbol", || async {
        let quotes = cluster.read("/v1/quotes").await?;
        let newer = |row: &&Value| row["quote_id"].as_u64() > Some(last.index);
        let newer = quotes.as_array().map_or(0, |rows| rows.iter().filter(newer).count());
        anyhow::Ok((newer == SYMBOLS.len()).then_some(()))
    })
    .await?;

    cluster.start_node(leader)?;
    caught_up(cluster, leader, next.index).await?;
    flowing(flow).await?;
    Ok(Kill { before: last.index, in_flight, commit_gap_ms: (next.acked - last.acked).as_millis() })
}

/// Waits until a node answers linearizable reads, at `index` or later.
async fn caught_up(cluster: &Cluster, id: u64, index: u64) -> Result<()> {
    eventually(&format!("node {id} to be at {index}"), || async {
        let (status, answer) = cluster.get(id, "/v1/positions").await?;
        ensure!(status == 200, "{status} {answer}");
        anyhow::Ok((answer["applied_index"].as_u64() >= Some(index)).then_some(()))
    })
    .await
}

/// By log time, which a leader's clock stamps: how long after the last entry before the new term the term began, and
/// how long until every symbol had been quoted anew in it.
fn gaps_by_log(frames: &[Frame], before: u64) -> Result<(u128, u128)> {
    let began = |frame: &Frame| frame.events.iter().any(|event| matches!(event, Event::TermBegan { .. }));
    let at = frames.iter().position(|frame| frame.index > before && began(frame)).context("no term began")?;
    let last = frames[at.checked_sub(1).context("a frame before it")?].log_time.0;
    let mut quoted: BTreeMap<String, u64> = BTreeMap::new();
    for frame in &frames[at..] {
        for event in &frame.events {
            if let Event::QuotePlaced(placed) = event {
                quoted.entry(placed.symbol.to_string()).or_insert(frame.log_time.0 - last);
            }
        }
    }
    ensure!(quoted.len() == SYMBOLS.len(), "not all were quoted anew: {quoted:?}");
    let slowest = quoted.values().max().copied().unwrap_or(0);
    Ok((u128::from(frames[at].log_time.0 - last), u128::from(slowest)))
}

fn median(mut values: Vec<u128>) -> u128 {
    values.sort_unstable();
    let middle = values.len() / 2;
    if values.len().is_multiple_of(2) { (values[middle - 1] + values[middle]) / 2 } else { values[middle] }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_leaders_take_nothing_acknowledged_with_them() -> Result<()> {
    let asked = std::env::var("QUORATE_KILLS").ok().map(|text| text.parse().context("QUORATE_KILLS")).transpose()?;
    let mut cluster = start(&[], &[]).await?;
    let probes = Probes::start(&cluster).await?;
    let flow = start_flow(&cluster).await?;
    let mut kills = Vec::new();
    for _ in 0..asked.unwrap_or(KILLS_DEFAULT) {
        kills.push(kill_leader(&mut cluster, &flow, &probes).await?);
    }
    let finished = flow.finish().await?;

    // Every acknowledged order is committed as it was told, once; positions, exposure and authority add up.
    let found = cluster.judge(&[1])?;
    cluster.judge_beliefs()?;
    assert!(found.exposure_max <= 100 && found.authority_overlaps == 0, "{found:?}");
    assert!(found.terms > kills.len() as u64 && found.quote_fills > 0);

    let frames = cluster.frames()?;
    let mut by_log = Vec::new();
    for kill in &kills {
        by_log.push(gaps_by_log(&frames, kill.before)?);
    }
    let commits: Vec<u128> = kills.iter().map(|kill| kill.commit_gap_ms).collect();
    let quotes: Vec<u128> = by_log.iter().map(|(_, quotes)| *quotes).collect();
    let (commit_median, quote_median) = (median(commits.clone()), median(quotes.clone()));
    let commit_worst = commits.iter().max().copied().unwrap_or(0);
    println!(
        "{}",
        json!({
            "kills": kills.len(), "in_flight": kills.iter().map(|kill| kill.in_flight).collect::<Vec<_>>(),
            "commit_gap_ms": commits, "commit_gap_median_ms": commit_median, "commit_gap_worst_ms": commit_worst,
            "term_gap_by_log_ms": by_log.iter().map(|(term, _)| *term).collect::<Vec<_>>(),
            "quote_gap_by_log_ms": quotes, "quote_gap_median_ms": quote_median,
            "orders": finished.orders().len(), "fills": found.fills, "in_doubt": finished.settled.len(),
            "writes": probes.acks().len(), "exposure_max": found.exposure_max,
        })
    );
    if asked.is_some() {
        ensure!(commit_median <= COMMIT_MEDIAN_MAX_MS, "the next commit, in the median: {commit_median} ms");
        ensure!(commit_worst <= COMMIT_WORST_MAX_MS, "the next commit, at worst: {commit_worst} ms");
        ensure!(quote_median <= QUOTES_MEDIAN_MAX_MS, "quotes replaced, in the median: {quote_median} ms");
    }
    Ok(())
}

/// Waits until the others know another leader than `old`.
async fn leader_after(cluster: &Cluster, old: u64) -> Result<u64> {
    eventually("another leader", || async { anyhow::Ok(Some(cluster.leader().await?).filter(|leader| *leader != old)) })
        .await
}

/// Holds the outcome of every order, as the exchange tells it now, against what its sender was told first and against
/// the log. How many were executed.
async fn outcomes_agree(cluster: &Cluster, finished: &Finished) -> Result<usize> {
    let stands: Outcomes = finished.ask_all().await?;
    let found = cluster.judge(&[1])?;
    let mut executed = 0;
    for (name, sent) in finished.orders() {
        let filled: i64 = found.trades.get(&name).map_or(0, |trades| trades.values().sum());
        let times = found.executed.get(&name).copied().unwrap_or(0);
        let now = stands.get(&name).context("it was asked for")?;
        ensure!(times <= 1 && times == u32::from(now.is_some()), "{name}: {now:?}, and in the log {times} times");
        let told = now.as_deref().unwrap_or("0.000");
        ensure!((told == "0.001") == (filled == 1) && filled <= 1, "{name}: {told} told, {filled} lots committed");
        match sent.answered.map(|(_, reply)| reply) {
            // A market order is over when it is answered: nothing may change afterwards.
            Some(Reply::Placed(answer)) => {
                ensure!(now.as_deref() == answer["executedQty"].as_str(), "{name}: {now:?}, first {answer}");
            }
            Some(Reply::Refused(-1001 | -1008, text)) => ensure!(times == 0, "{name}: refused ({text}), executed"),
            Some(Reply::Refused(..) | Reply::Lost(_)) | None => {}
        }
        if let Some(first) = finished.settled.get(&name) {
            ensure!(first == now, "{name}: settled as {first:?}, then {now:?}");
        }
        executed += usize::try_from(times)?;
    }
    Ok(executed)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_isolated_leader_settles_nothing_and_the_majority_goes_on() -> Result<()> {
    let cluster = start(&[], &[IMPATIENT]).await?;
    let flow = start_flow(&cluster).await?;
    let old = cluster.leader().await?;
    loaded(&flow).await?;
    let cut = Instant::now();
    cluster.isolate(old).await?;
    let alone = Instant::now();
    let in_flight = flow.unanswered(cut).len();
    ensure!(in_flight >= IN_FLIGHT_MIN, "only {in_flight} orders were unanswered when the leader was cut off");

    // It knows the past only, and says so as soon as it is asked for the present.
    let (status, answer) = cluster.get(old, "/v1/positions").await?;
    ensure!(matches!(status, 503 | 504), "the isolated leader answered a linearizable read: {status} {answer}");
    let (_, cut_off) = cluster.get(old, "/v1/status?consistency=local").await?;

    // The others elect, orders are executed again and quotes replaced, while it is still cut off.
    let new = leader_after(&cluster, old).await?;
    eventually("orders executed by the majority", || async {
        anyhow::Ok((flow.placed_after(alone) >= SENDERS).then_some(()))
    })
    .await?;
    cluster.all_quoted().await?;
    let (_, still) = cluster.get(old, "/v1/status?consistency=local").await?;
    assert_eq!(still["data"]["fills"], cut_off["data"]["fills"], "the isolated leader applied fills");
    let (status, answer) = cluster.get(old, "/v1/positions").await?;
    ensure!(matches!(status, 503 | 504), "the isolated leader answered a linearizable read: {status} {answer}");

    // Healed, it drops what it had alone and follows; each order has one outcome, the same from now on.
    cluster.heal().await?;
    let (_, status) = cluster.get(new, "/v1/status?consistency=local").await?;
    caught_up(&cluster, old, status["applied_index"].as_u64().context("an index")?).await?;
    let finished = flow.finish().await?;
    ensure!(!finished.settled.is_empty(), "no order was in doubt: this run shows nothing");
    let executed = outcomes_agree(&cluster, &finished).await?;
    cluster.judge_beliefs()?;
    println!(
        "{}",
        json!({"in_flight": in_flight, "orders": finished.orders().len(), "in_doubt": finished.settled.len(),
            "executed": executed})
    );
    Ok(())
}

/// What a node says without asking the group: the index that it has applied.
async fn local_index(cluster: &Cluster, id: u64) -> Result<u64> {
    let (status, answer) = cluster.get(id, "/v1/positions?consistency=local").await?;
    ensure!(status == 200, "node {id}: {status} {answer}");
    answer["applied_index"].as_u64().context("an index")
}

#[tokio::test(flavor = "multi_thread")]
async fn all_nodes_killed_come_back_with_all_that_was_acknowledged() -> Result<()> {
    let mut cluster = start(&["--snapshot-every=100", "--log-keep=50"], &[IMPATIENT]).await?;
    let probes = Probes::start(&cluster).await?;
    let flow = start_flow(&cluster).await?;
    let mut local = BTreeMap::new();
    for id in cluster.ids() {
        local.insert(id, local_index(&cluster, id).await?);
    }

    // Some more, so that there are snapshots to come back from.
    flowing(&flow).await?;
    let nodes: Vec<_> = cluster.ids().into_iter().map(|id| cluster.take_node(id)).collect::<Result<_>>()?;
    loaded(&flow).await?;
    let killed = Instant::now();
    for node in nodes {
        node.kill()?;
    }
    let in_flight = flow.unanswered(killed).len();
    ensure!(in_flight >= IN_FLIGHT_MIN, "only {in_flight} orders were unanswered when all nodes died");
    let acknowledged = probes.highest();
    let filled_before =
        flow.orders().values().filter(|sent| matches!(sent.answered, Some((_, Reply::Placed(_))))).count();

    // No node ever serves less than it had served, and the group nothing less than it had acknowledged.
    for id in cluster.ids() {
        cluster.start_node(id)?;
    }
    for id in cluster.ids() {
        let index = eventually("a local read", || async { local_index(&cluster, id).await.map(Some) }).await?;
        ensure!(index >= local[&id], "node {id} served {} before it died, and {index} after", local[&id]);
        let (_, answer) = eventually("a read", || async {
            let (status, answer) = cluster.get(id, "/v1/positions").await?;
            ensure!(status == 200, "{status} {answer}");
            Ok(Some((status, answer)))
        })
        .await?;
        let index = answer["applied_index"].as_u64();
        ensure!(index >= Some(acknowledged), "node {id} at {index:?}, acknowledged were {acknowledged}");
    }

    // Trade goes on, and what was in doubt is settled.
    flowing(&flow).await?;
    let finished = flow.finish().await?;
    let executed = outcomes_agree(&cluster, &finished).await?;
    cluster.judge_beliefs()?;
    println!(
        "{}",
        json!({"in_flight": in_flight, "acknowledged_index": acknowledged, "answered_before": filled_before,
            "orders": finished.orders().len(), "in_doubt": finished.settled.len(), "executed": executed})
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_majority_nothing_is_acknowledged() -> Result<()> {
    let mut cluster = start(&[], &[]).await?;
    let mut writer = Writer::open(cluster.api(1), SYMBOLS[0]).await?;
    let flow = start_flow(&cluster).await?;
    let leader = cluster.leader().await?;
    writer.turn_to(cluster.api(leader));
    let followers: Vec<u64> = cluster.ids().into_iter().filter(|id| *id != leader).collect();
    // Two are still a majority, which then dies with one process: no more is answered meanwhile than where a leader dies.
    let mut last = None;
    for id in &followers {
        if let Some(first) = last.replace(cluster.take_node(*id)?) {
            first.kill()?;
        }
    }
    loaded(&flow).await?;
    let killed = Instant::now();
    last.context("a follower")?.kill()?;
    let dead = Instant::now();
    let in_flight = flow.unanswered(killed).len();
    ensure!(in_flight >= IN_FLIGHT_MIN, "only {in_flight} orders were unanswered when the majority died");

    // The leader that is left takes writes into its log, and acknowledges none.
    let mut unknown = Vec::new();
    for _ in 0..5 {
        match writer.write(500).await {
            Wrote::Applied(index) => anyhow::bail!("acknowledged at {index} without a majority"),
            Wrote::Unknown(_) => unknown.push(writer.seq()),
            Wrote::NotProposed(_) => {}
        }
    }
    ensure!(!unknown.is_empty(), "no write was taken: this run shows nothing");

    // Whoever sent an order since hears in time that it is unknown, or that it was certainly not placed.
    let heard = eventually("words to those who sent an order since", || async {
        let orders = flow.orders();
        let since = orders.iter().filter(|(_, sent)| sent.at > dead);
        let answered: Vec<_> =
            since.filter_map(|(name, sent)| sent.answered.clone().map(|(_, r)| (name.clone(), r))).collect();
        let before_open = flow.unanswered(killed).len();
        ensure!(answered.len() >= SENDERS && before_open == 0, "{} heard, {before_open} wait", answered.len());
        Ok(Some(answered))
    })
    .await?;
    for (name, reply) in &heard {
        ensure!(matches!(reply.code(), Some(-1007 | -1001 | -1008)), "{name} without a majority: {reply:?}");
    }
    let doubtful = heard.iter().filter(|(_, reply)| reply.is_unknown()).count();

    // With the others back, the same writes are applied once, and every order has one outcome.
    for id in &followers {
        cluster.start_node(*id)?;
    }
    for seq in &unknown {
        let applied = eventually("the write to be settled", || async {
            match writer.send(*seq, PROBE_MS).await {
                Wrote::Applied(index) => Ok(Some(index)),
                other => anyhow::bail!("{other:?}"),
            }
        })
        .await?;
        assert_eq!(
            writer.send(*seq, PROBE_MS).await,
            Wrote::Applied(applied),
            "the same write has one place in the log"
        );
    }
    flowing(&flow).await?;
    let finished = flow.finish().await?;
    ensure!(!finished.settled.is_empty(), "no order was in doubt: this run shows nothing");
    let executed = outcomes_agree(&cluster, &finished).await?;
    cluster.judge_beliefs()?;
    println!(
        "{}",
        json!({"in_flight": in_flight, "heard_since": heard.len(), "of_them_unknown": doubtful, "writes_unknown": unknown.len(),
            "orders": finished.orders().len(), "in_doubt": finished.settled.len(), "executed": executed})
    );
    Ok(())
}
