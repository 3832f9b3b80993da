//! Feeds of reference prices that die, go to zero, or cross: a price that is too old is not quoted on, what cannot be a
//! price is refused and counted, and once the feed goes on its symbol is quoted again.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use quorate_ledger::{Event, QuoteEndReason};
use quorate_tests::{
    harness::{Flow, within},
    nemesis::{Arena, DeadFeed, Fault, Kind, Means, Plan, far_from_meant},
};

/// The journals: of the flow, and of orders in the symbol that is fed.
const FLOW: u64 = 1;
const FED: u64 = 2;
/// How long orders may take to be filled while the fault lasts.
const SERVES_MAX: Duration = Duration::from_secs(15);
/// A symbol is not quoted for so long, in ms.
const UNQUOTED_MS: u64 = 1_000;
/// A market order.
const ORDER: &str = "side=BUY&type=MARKET&quantity=0.001";

async fn start(means: Means) -> Result<(Arena, Flow)> {
    let arena = Arena::start(Plan::new(means)).await?;
    let flow = Flow::start(arena.cluster.trader(FLOW)?, &arena.cluster.symbols(), 8, Duration::from_millis(50));
    Ok((arena, flow))
}

async fn begin(arena: &mut Arena, fault: &mut dyn Fault, enough: u64) -> Result<()> {
    let kind = fault.kind();
    let whom = fault.start(arena).await.with_context(|| kind.to_string())?;
    let happened = arena.shown(fault, enough).await.with_context(|| whom.clone())?;
    eprintln!("{kind}, {whom}: {happened}");
    Ok(())
}

/// All came right, and nobody quoted on a price that the feed never meant.
async fn end(mut arena: Arena, flow: Flow) -> Result<()> {
    flow.finish().await?;
    arena.recovered().await?;
    let ended = arena.ended_unasked()?;
    ensure!(ended.is_empty(), "{ended:?} ended though nobody killed them");
    let (found, _) = arena.judged(&[FLOW, FED])?;
    ensure!(found.fills > 20, "{} fills", found.fills);
    let (quotes, far) = far_from_meant(&arena.cluster.frames()?, arena.fed());
    ensure!(quotes > 0 && far.is_empty(), "{quotes} quotes, of which {far:?}");
    Ok(())
}

/// Says that an order in the symbol that is fed meets no quote.
async fn meets_nobody(arena: &Arena, name: &str) -> Result<()> {
    let order = format!("symbol={}&{ORDER}", arena.fed());
    let answer = arena.cluster.trader(FED)?.place(name, &order).await?.placed()?;
    ensure!(answer["status"] == "EXPIRED", "{answer}");
    Ok(())
}

/// How the last quote of the symbol that is fed ended, if it did.
fn how_it_ended(arena: &Arena) -> Result<Option<QuoteEndReason>> {
    let how = |event: &Event| match event {
        Event::QuotePlaced(placed) if placed.symbol.as_str() == arena.fed() => Some(None),
        Event::QuoteEnded { symbol, reason, .. } if symbol.as_str() == arena.fed() => Some(Some(*reason)),
        _ => None,
    };
    let frames = arena.cluster.frames()?;
    let last = frames.iter().flat_map(|frame| &frame.events).filter_map(how).next_back();
    last.context("it was quoted")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_symbol_whose_feed_died_is_not_quoted_until_it_goes_on() -> Result<()> {
    let (mut arena, flow) = start(Means::Switch).await?;
    let lease = Duration::from_millis(Plan::new(Means::Switch).quoting.lease_ttl_ms);
    let mut fault = DeadFeed::alone(lease);
    begin(&mut arena, &mut fault, UNQUOTED_MS).await?;
    let how = how_it_ended(&arena)?;
    ensure!(how == Some(QuoteEndReason::Pulled), "the last quote ended by {how:?}");
    meets_nobody(&arena, "dead").await?;
    for symbol in arena.cluster.symbols().into_iter().filter(|symbol| *symbol != arena.fed()) {
        arena.cluster.trader(FED)?.filled(&format!("other-{symbol}"), symbol, ORDER).await?;
    }
    fault.happened(&mut arena).await?;
    fault.heal(&mut arena).await?;
    end(arena, flow).await
}

/// Lets the feed say for a while what cannot be: all of it is refused, the last good price stands, and orders are filled.
async fn refused(kind: Kind) -> Result<()> {
    let (mut arena, flow) = start(Means::Switch).await?;
    let mut fault = kind.fault(0);
    begin(&mut arena, &mut *fault, 10).await?;
    #[expect(clippy::disallowed_methods, reason = "real processes live on the real clock")]
    let now = std::time::Instant::now();
    let served = || std::future::ready(anyhow::Ok((flow.placed_after(now) >= 20).then_some(())));
    within(SERVES_MAX, "orders filled while it lasts", served).await?;
    fault.happened(&mut arena).await?;
    fault.heal(&mut arena).await?;
    end(arena, flow).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_feed_at_zero_is_refused_and_the_last_good_price_stands() -> Result<()> {
    refused(Kind::FeedZero).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crossed_feed_is_refused_and_the_last_good_price_stands() -> Result<()> {
    refused(Kind::FeedCrosses).await
}

/// An exchange that begins again has no word of the dead feed, and a new leader none of how old the price is.
#[tokio::test(flavor = "multi_thread")]
async fn a_dead_feed_is_not_quoted_on_while_the_leader_is_killed_and_the_exchange_begins_again() -> Result<()> {
    let (mut arena, flow) = start(Means::best()?).await?;
    let mut leader = Kind::KillLeader.fault(0);
    begin(&mut arena, &mut *leader, 1).await?;
    let mut feed = Kind::FeedDies.fault(0);
    begin(&mut arena, &mut *feed, UNQUOTED_MS).await?;
    let mut exchange = Kind::KillExchange.fault(0);
    begin(&mut arena, &mut *exchange, 1).await?;
    exchange.heal(&mut arena).await?;
    // With others quoted again, at the price that the exchange was started with.
    let before = feed.happened(&mut arena).await?.amount;
    let after = arena.shown(&mut *feed, before + UNQUOTED_MS).await?;
    eprintln!("{} after the restart: {after}", feed.kind());
    meets_nobody(&arena, "restarted").await?;
    feed.heal(&mut arena).await?;
    leader.heal(&mut arena).await?;
    end(arena, flow).await
}

/// Each of them while other faults last.
#[tokio::test(flavor = "multi_thread")]
async fn feeds_die_go_to_zero_and_cross_among_other_faults() -> Result<()> {
    let (mut arena, flow) = start(Means::best()?).await?;
    let rounds: [&[Kind]; 3] = [
        &[Kind::FollowerIsolated, Kind::FeedCrosses, Kind::KillMaker],
        &[Kind::PauseMaker, Kind::FeedDies, Kind::KillLeader],
        &[Kind::KillMajority, Kind::FeedZero, Kind::KillExchange],
    ];
    for (choice, round) in (0..).zip(rounds) {
        let mut begun = Vec::new();
        for kind in round {
            let mut fault = kind.fault(choice);
            begin(&mut arena, &mut *fault, 1).await?;
            begun.push(fault);
        }
        for mut fault in begun.into_iter().rev() {
            fault.happened(&mut arena).await?;
            fault.heal(&mut arena).await?;
        }
        arena.recovered().await.with_context(|| format!("after {round:?}"))?;
    }
    end(arena, flow).await
}
