//! Makers that want far more than there is: the limit holds at every index, everybody gets a share, and what an
//! operator switches takes effect in one apply.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result, ensure};
use quorate_ledger::{Event, Frame, OrderStatus, QuoteEndReason, QuotingScope};
use quorate_tests::harness::{Cluster, MakerOptions, Reply, Setup, eventually};
use serde_json::Value;

const SYMBOLS: [&str; 5] = ["AUSDT", "BUSDT", "CUSDT", "DUSDT", "EUSDT"];
/// A quote above its share is cut at its refresh (4 s), and who waits tries again within 1.6 s: one round of both for
/// those that came first, and one for those that filled the gap.
const EVERYBODY_QUOTED_MAX: Duration = Duration::from_secs(12);

async fn start() -> Result<Cluster> {
    let mut cluster = Cluster::start(Setup { symbols: SYMBOLS.to_vec(), ..Setup::default() }).await?;
    cluster.start_exchange(&[]).await?;
    for maker in ["alpha", "beta", "gamma"] {
        cluster.start_maker(maker, &MakerOptions { order_qty: 60, ..MakerOptions::default() })?;
    }
    Ok(cluster)
}

/// Waits until every symbol is quoted on both sides; what is reserved then.
async fn both_sides_quoted(cluster: &Cluster, limit: Duration) -> Result<Value> {
    quorate_tests::harness::within(limit, "all symbols quoted on both sides", || async {
        let exposure = cluster.read("/v1/exposure").await?;
        let rows = exposure["symbols"].as_array().context("a list")?;
        let both = |row: &&Value| row["long"] != "0" && row["short"] != "0";
        let quoted = rows.iter().filter(both).count();
        ensure!(quoted == SYMBOLS.len(), "{quoted} quoted: {exposure}");
        anyhow::Ok(Some(exposure))
    })
    .await
}

/// The frame of the first event after `from` that is wanted.
fn frame_of(frames: &[Frame], from: u64, wanted: impl Fn(&Event) -> bool) -> Result<&Frame> {
    let found = frames.iter().find(|frame| frame.index > from && frame.events.iter().any(&wanted));
    found.context("the event is not in the log")
}

/// The quotes that a frame ended, with the reason.
fn ended(frame: &Frame) -> Vec<(u64, QuoteEndReason)> {
    let of = |event: &Event| match event {
        Event::QuoteEnded { quote_id, reason, .. } => Some((*quote_id, *reason)),
        _ => None,
    };
    frame.events.iter().filter_map(of).collect()
}

/// Quotes placed and orders executed between two indexes.
fn activity(frames: &[Frame], after: u64, before: u64) -> (usize, usize) {
    let between = frames.iter().filter(|frame| frame.index > after && frame.index < before);
    let mut seen = (0, 0);
    for event in between.flat_map(|frame| &frame.events) {
        match event {
            Event::QuotePlaced(_) => seen.0 += 1,
            Event::OrderExecuted { .. } => seen.1 += 1,
            _ => {}
        }
    }
    seen
}

/// The longest log time that each symbol was without a quote, once it had one.
fn unquoted_ms_max(frames: &[Frame]) -> BTreeMap<String, u64> {
    let mut since: BTreeMap<String, u64> = BTreeMap::new();
    let mut longest = BTreeMap::new();
    for frame in frames {
        for event in &frame.events {
            match event {
                Event::QuoteEnded { symbol, .. } => {
                    since.insert(symbol.to_string(), frame.log_time.0);
                }
                Event::QuotePlaced(placed) => {
                    let symbol = placed.symbol.to_string();
                    let gap = since.remove(&symbol).map_or(0, |since| frame.log_time.0 - since);
                    let known = longest.entry(symbol).or_insert(0);
                    *known = gap.max(*known);
                }
                _ => {}
            }
        }
    }
    longest
}

#[tokio::test(flavor = "multi_thread")]
async fn scarce_exposure_is_shared_and_never_exceeded() -> Result<()> {
    let cluster = start().await?;

    // 5 symbols x 60 lots on each side want 300 of 100: all of them are quoted within bounded time nevertheless.
    let exposure = both_sides_quoted(&cluster, EVERYBODY_QUOTED_MAX).await?;
    let first = |frames: &[Frame]| {
        let mut seen = BTreeMap::new();
        for frame in frames {
            for event in &frame.events {
                if let Event::QuotePlaced(placed) = event {
                    seen.entry(placed.symbol.to_string()).or_insert(frame.log_time.0);
                }
            }
        }
        seen
    };
    let seen = first(&cluster.frames()?);
    let waited = seen.values().max().unwrap_or(&0) - seen.values().min().unwrap_or(&0);

    // Under trading the sharing goes on: leaves shrink, quotes are replaced, shares change hands.
    let publisher = cluster.start_publisher(5, &["--count=200", "--rate=40", "--max-lots=15"])?;
    let status = publisher.ended(Duration::from_secs(60)).await?;
    ensure!(status.success(), "the publisher: {status}");
    both_sides_quoted(&cluster, EVERYBODY_QUOTED_MAX).await?;

    // At no index was more reserved than the limit: the replay sums it up anew after every frame.
    let frames = cluster.frames()?;
    let found = cluster.judge(&[5])?;
    assert!(found.exposure_max >= 95 && found.exposure_max <= 100, "{}", found.exposure_max);
    assert!(found.grants_reduced > 0 && found.grants_refused > 0, "{found:?}");
    let unquoted = unquoted_ms_max(&frames);
    assert_eq!(unquoted.len(), SYMBOLS.len());
    let longest = unquoted.values().max().copied().unwrap_or(0);
    assert!(Duration::from_millis(longest) <= EVERYBODY_QUOTED_MAX, "{unquoted:?}");
    cluster.judge_beliefs()?;
    println!(
        "all symbols first quoted within {waited} ms of each other; exposure up to {}, then {}; {} reduced, {} refused, \
         {} stale, {} fills; longest without a quote {longest} ms",
        found.exposure_max, exposure, found.grants_reduced, found.grants_refused, found.stale_positions, found.fills
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operators_word_takes_effect_in_one_apply() -> Result<()> {
    let cluster = start().await?;
    both_sides_quoted(&cluster, EVERYBODY_QUOTED_MAX).await?;
    let trader = cluster.trader(1)?;

    // The limit is lowered: quotes go in the same apply, the newest first, until what is left fits.
    cluster.ledgerctl(&["limit", "45"])?;
    let frames = cluster.frames()?;
    let lowered = frame_of(&frames, 0, |event| matches!(event, Event::ExposureLimitChanged { .. }))?;
    let pulled = ended(lowered);
    ensure!(pulled.iter().all(|(_, reason)| *reason == QuoteEndReason::LimitLowered), "{pulled:?}");
    ensure!(pulled.len() >= 2 && pulled.is_sorted_by(|a, b| a.0 > b.0), "newest first: {pulled:?}");

    // Raised again, there is room for everybody.
    cluster.ledgerctl(&["limit", "100"])?;
    let exposure = both_sides_quoted(&cluster, EVERYBODY_QUOTED_MAX).await?;
    ensure!(exposure["limit"] == "100", "{exposure}");

    // Quoting is turned off for one symbol: its quote ends in that apply, the others go on.
    let before = cluster.frames()?.last().map_or(0, |frame| frame.index);
    cluster.ledgerctl(&["quoting", "off", "--symbol", "BUSDT"])?;
    eventually("all others quoted anew", || async {
        let quotes = cluster.read("/v1/quotes").await?;
        let newer = |row: &&Value| row["quote_id"].as_u64() > Some(before);
        let newer = quotes.as_array().into_iter().flatten().filter(newer).count();
        anyhow::Ok((newer == SYMBOLS.len() - 1).then_some(()))
    })
    .await?;
    cluster.ledgerctl(&["quoting", "on", "--symbol", "BUSDT"])?;
    both_sides_quoted(&cluster, EVERYBODY_QUOTED_MAX).await?;
    let frames = cluster.frames()?;
    let switched = |wanted: bool| move |event: &Event| matches!(event, Event::QuotingChanged { scope: QuotingScope::Symbol(_), on, .. } if *on == wanted);
    let off = frame_of(&frames, before, switched(false))?;
    let on = frame_of(&frames, before, switched(true))?;
    let off_ended = ended(off);
    ensure!(off_ended.iter().all(|(_, reason)| *reason == QuoteEndReason::QuotingOff) && off_ended.len() == 1);
    let while_off = frames.iter().filter(|frame| frame.index > off.index && frame.index < on.index);
    let quoted = while_off
        .flat_map(|frame| &frame.events)
        .filter(|event| matches!(event, Event::QuotePlaced(placed) if placed.symbol.as_str() == "BUSDT"));
    assert_eq!(quoted.count(), 0, "quoted while quoting was off");

    // The kill switch ends everything in one apply: all quotes, and every open order.
    let resting = "symbol=AUSDT&side=SELL&type=LIMIT&timeInForce=GTC&price=150.00&quantity=0.003";
    for id in ["rest1", "rest2"] {
        trader.place(id, resting).await?.placed()?;
    }
    let before = cluster.frames()?.last().map_or(0, |frame| frame.index);
    cluster.ledgerctl(&["kill-switch", "engage"])?;
    let frames = cluster.frames()?;
    let killed = frame_of(&frames, before, |event| matches!(event, Event::KillSwitchChanged { engaged: true, .. }))?;
    let kill_ended = ended(killed);
    ensure!(kill_ended.iter().all(|(_, reason)| *reason == QuoteEndReason::KillSwitch), "{kill_ended:?}");
    let cancelled =
        killed.events.iter().filter(|event| matches!(event, Event::OrderClosed { status: OrderStatus::Cancelled, .. }));
    assert_eq!(cancelled.count(), 2);
    assert_eq!(cluster.read("/v1/quotes").await?, Value::Array(Vec::new()));
    assert_eq!(cluster.read("/v1/orders?open=true").await?, Value::Array(Vec::new()));

    // It latches: orders are refused, also after a change of leader, until somebody re-arms it.
    let leader = cluster.leader().await?;
    let to = cluster.ids().into_iter().find(|id| *id != leader).context("another node")?;
    cluster.ledgerctl(&["transfer-leader", &to.to_string()])?;
    let refused = eventually("a refusal under the next leader", || async {
        let status = cluster.read("/v1/status").await?;
        ensure!(status["control"]["kill_switch"] == true, "{status}");
        ensure!(cluster.leader().await? == to, "not yet");
        let reply = trader.place("killed", "symbol=AUSDT&side=BUY&type=MARKET&quantity=0.001").await?;
        anyhow::Ok((!reply.is_unknown()).then_some(reply))
    })
    .await?;
    assert!(matches!(refused, Reply::Refused(-1013, _)), "{refused:?}");
    let quiet_until = cluster.frames()?.last().map_or(0, |frame| frame.index);
    assert_eq!(activity(&cluster.frames()?, killed.index, quiet_until), (0, 0));
    cluster.ledgerctl(&["kill-switch", "off"])?;
    both_sides_quoted(&cluster, EVERYBODY_QUOTED_MAX).await?;
    trader.filled("rearmed", "AUSDT", "side=BUY&type=MARKET&quantity=0.001").await?;

    let found = cluster.judge(&[1])?;
    cluster.judge_beliefs()?;
    println!(
        "lowering the limit pulled {}, turning off {}, the kill switch {} quotes, each in one apply; exposure up to {}",
        pulled.len(),
        off_ended.len(),
        kill_ended.len(),
        found.exposure_max
    );
    Ok(())
}
