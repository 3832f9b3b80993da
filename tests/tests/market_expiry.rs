//! A quote's life is counted in log time: it ends by itself, without a maker, without traffic, and across a failover.

#![allow(clippy::disallowed_methods, reason = "real processes live on the real clock")]

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use quorate_ledger::{Event, Frame, QuoteEndReason};
use quorate_tests::harness::{Cluster, MakerOptions, Setup, eventually, within};
use serde_json::Value;

/// After a deadline the leader proposes a tick at once: what this allows for is a slow disk and a busy machine.
const TICK_LATE_MAX_MS: u64 = 1_000;
/// A failover ends within 3 s: `docs/guarantees.md`.
const FAILOVER_MAX_MS: u64 = 3_000;

fn wall_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).ok().and_then(|time| u64::try_from(time.as_millis()).ok()).unwrap_or(0)
}

/// One maker, whose lease outlives the test and whose quotes do not.
async fn start(flags: Vec<&'static str>) -> Result<Cluster> {
    let mut cluster = Cluster::start(Setup { symbols: vec!["BTCUSDT", "ETHUSDT"], ..Setup::default() }).await?;
    cluster.start_exchange(&[]).await?;
    cluster.start_maker("alpha", &MakerOptions { order_qty: 10, lease_ttl_ms: 60_000, flags })?;
    cluster.all_quoted().await?;
    Ok(cluster)
}

/// The latest deadline of the active quotes, once none is placed any more.
async fn last_deadline(cluster: &Cluster) -> Result<u64> {
    let quotes = cluster.read("/v1/quotes").await?;
    let deadlines = quotes.as_array().into_iter().flatten().filter_map(|row| row["deadline"].as_u64());
    deadlines.max().context("no quote is left to expire")
}

/// Ends of quotes at or after an index: log time and reason.
fn ends(frames: &[Frame], from: u64) -> Vec<(u64, QuoteEndReason)> {
    let ended = |frame: &Frame| {
        let time = frame.log_time.0;
        let of = |event: &Event| match event {
            Event::QuoteEnded { reason, .. } => Some((time, *reason)),
            _ => None,
        };
        frame.events.iter().filter_map(of).collect::<Vec<_>>()
    };
    frames.iter().filter(|frame| frame.index >= from).flat_map(ended).collect()
}

fn last_index(frames: &[Frame]) -> u64 {
    frames.last().map_or(0, |frame| frame.index)
}

#[tokio::test(flavor = "multi_thread")]
async fn quotes_of_a_dead_maker_expire_without_any_traffic() -> Result<()> {
    let mut cluster = start(vec!["--quote-ttl-ms=2000", "--refresh-ms=1000"]).await?;
    let trader = cluster.trader(1)?;

    // The market trades while there is a quote: the refusal to fill later is not for want of trying.
    trader.filled("before", "BTCUSDT", "side=BUY&type=MARKET&quantity=0.002").await?;
    eventually("both symbols quoted on both sides again", || async {
        let exposure = cluster.read("/v1/exposure").await?;
        anyhow::Ok((exposure["short"] == "20" && exposure["long"] == "20").then_some(()))
    })
    .await?;

    // The maker dies, and the exchange with its marks. Nobody else proposes anything: only the leader's own tick can
    // end the quotes.
    cluster.take_maker("alpha")?.kill()?;
    cluster.take_exchange()?.kill()?;
    let dead_from = last_index(&cluster.frames()?) + 1;
    let deadline = last_deadline(&cluster).await?;
    within(Duration::from_secs(5), "the quotes to expire", || async {
        let exposure = cluster.read("/v1/exposure").await?;
        let ended = exposure["long"] == "0" && exposure["short"] == "0";
        anyhow::Ok(ended.then_some(()))
    })
    .await?;
    assert_eq!(cluster.read("/v1/quotes").await?, Value::Array(Vec::new()));
    let makers = cluster.read("/v1/makers").await?;
    assert_eq!(makers[0]["holds"].as_array().map(Vec::len), Some(2), "its lease still runs: {makers}");

    // By log time, at the deadline, by nothing but a tick.
    let frames = cluster.frames()?;
    let ended = ends(&frames, dead_from);
    assert!(ended.iter().all(|(_, reason)| *reason == QuoteEndReason::Expired), "{ended:?}");
    let late = ended.iter().map(|(time, _)| time.saturating_sub(deadline)).max().context("nothing ended")?;
    assert!(late <= TICK_LATE_MAX_MS, "expired {late} ms late");
    let others = frames.iter().filter(|frame| frame.index >= dead_from).flat_map(|frame| &frame.events);
    let others: Vec<&Event> = others.filter(|event| !matches!(event, Event::QuoteEnded { .. })).collect();
    assert!(others.is_empty(), "there was other traffic: {others:?}");

    // After the deadline there is nothing to fill, however much is offered for it.
    cluster.start_exchange(&[]).await?;
    let expired = trader.place("after", "symbol=BTCUSDT&side=BUY&type=MARKET&quantity=0.002").await?.placed()?;
    assert_eq!((&expired["status"], &expired["executedQty"]), (&"EXPIRED".into(), &"0.000".into()), "{expired}");
    let found = cluster.judge(&[1])?;
    assert_eq!(found.quote_fills, 1);
    println!("expired {late} ms after the deadline, with no other traffic");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failover_does_not_stretch_a_quotes_life() -> Result<()> {
    let mut cluster = start(vec!["--quote-ttl-ms=5000", "--refresh-ms=4000"]).await?;
    let trader = cluster.trader(1)?;

    // Maker and leader die together: the quotes' age must live on in the followers' knowledge of the log time.
    let leader = cluster.leader().await?;
    cluster.take_maker("alpha")?.kill()?;
    let deadline = last_deadline(&cluster).await?;
    let killed_at = wall_ms();
    cluster.take_node(leader)?.kill()?;
    let survivor = cluster.ids().into_iter().find(|id| *id != leader).context("another node")?;

    // On the machine's clock: gone when the deadline has passed, at most the length of a failover later.
    let limit = Duration::from_millis(5_000 + FAILOVER_MAX_MS + TICK_LATE_MAX_MS);
    within(limit, "the quotes to end under the next leader", || async {
        let (_, exposure) = cluster.get(survivor, "/v1/exposure?consistency=local").await?;
        let released = exposure["data"]["long"] == "0" && exposure["data"]["short"] == "0";
        anyhow::Ok(released.then_some(()))
    })
    .await?;
    let gone_at = wall_ms();
    let late = gone_at.saturating_sub(deadline);
    let allowed = TICK_LATE_MAX_MS + (killed_at + FAILOVER_MAX_MS).saturating_sub(deadline);
    assert!(late <= allowed, "the quotes lived {late} ms too long, {allowed} ms are allowed");

    // In log time it holds as well, and nothing fills any more.
    let frames = cluster.frames()?;
    let begun =
        frames.iter().rev().find(|frame| frame.events.iter().any(|event| matches!(event, Event::TermBegan { .. })));
    let begun = begun.context("no term began")?;
    let ended = ends(&frames, begun.index);
    assert_eq!(ended.len(), 2, "both quotes ended under the new leader: {ended:?}");
    for (time, reason) in &ended {
        match reason {
            QuoteEndReason::Expired => assert!(time.saturating_sub(deadline) <= allowed, "{ended:?}"),
            // A leader that cannot prove their age pulls them: early, never late.
            QuoteEndReason::AgeUnproven => assert_eq!(*time, begun.log_time.0),
            other => panic!("ended by {other:?}"),
        }
    }
    let expired = trader.place("after", "symbol=BTCUSDT&side=SELL&type=MARKET&quantity=0.002").await?.placed()?;
    assert_eq!(expired["status"], "EXPIRED", "{expired}");
    cluster.start_node(leader)?;
    eventually("the killed node to catch up", || async {
        let (_, status) = cluster.get(leader, "/v1/status?consistency=local").await?;
        let applied = status["data"]["applied_index"].as_u64().unwrap_or(0);
        anyhow::Ok((applied >= last_index(&frames)).then_some(()))
    })
    .await?;
    let found = cluster.judge(&[1])?;
    assert_eq!(found.fills, 0);
    println!("gone {late} ms after the deadline by the machine's clock; ends: {ended:?}");
    Ok(())
}
