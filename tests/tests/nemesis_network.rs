//! Links that are cut, lossy and slow, while orders flow: the same scenarios by every means that a machine allows, each
//! of which measures what it did.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use quorate_tests::{
    harness::{Flow, Trader, within},
    nemesis::{Arena, Kind, Means, Plan, can_have_namespaces, skipped},
};

/// The journal of these flows.
const SEED: u64 = 1;
/// Orders on their way at once.
const SENDERS: usize = 8;
/// How long the group may take to serve a majority again.
const SERVES_MAX: Duration = Duration::from_secs(15);

struct Run {
    arena: Arena,
    flow: Flow,
}

impl Run {
    async fn start(means: Means) -> Result<Self> {
        eprintln!("links are spoilt by {means}");
        let arena = Arena::start(Plan::new(means)).await?;
        let trader: Trader = arena.cluster.trader(SEED)?;
        let flow = Flow::start(trader, &arena.cluster.symbols(), SENDERS, Duration::from_millis(50));
        Ok(Self { arena, flow })
    }

    /// Waits until orders sent from now on are executed.
    async fn trades(&self, what: &str) -> Result<()> {
        #[expect(clippy::disallowed_methods, reason = "real processes live on the real clock")]
        let now = std::time::Instant::now();
        let placed = || std::future::ready(anyhow::Ok((self.flow.placed_after(now) >= 5).then_some(())));
        within(SERVES_MAX, what, placed).await.with_context(|| {
            let after = self.flow.orders().into_values().filter(|sent| sent.at > now);
            let replies = after.filter_map(|sent| sent.answered.map(|(at, reply)| (at - sent.at, reply)));
            format!("instead: {:?}", replies.take(5).collect::<Vec<_>>())
        })
    }

    /// One fault, while which the group must serve where `serves`, and after which it must.
    async fn suffer(&mut self, kind: Kind, choice: u64, enough: u64, serves: bool) -> Result<()> {
        let mut fault = kind.fault(choice);
        let whom = fault.start(&mut self.arena).await?;
        let happened = self.arena.shown(&mut *fault, enough).await?;
        if serves {
            self.trades(&format!("orders filled during {kind}, {whom}")).await?;
        }
        fault.heal(&mut self.arena).await?;
        eprintln!("{kind}, {whom}: {happened}");
        self.trades(&format!("orders filled after {kind}")).await
    }

    async fn end(mut self) -> Result<()> {
        self.flow.finish().await?;
        self.arena.recovered().await?;
        let ended = self.arena.ended_unasked()?;
        ensure!(ended.is_empty(), "{ended:?} ended though nobody killed them");
        let (found, beliefs) = self.arena.judged(&[SEED])?;
        ensure!(found.fills > 50 && beliefs.beliefs > 0, "{} fills, {} beliefs", found.fills, beliefs.beliefs);
        Ok(())
    }
}

/// Whether these means can be had; says so where not.
fn have(means: Means, what: &str) -> Result<bool> {
    match can_have_namespaces().filter(|_| means == Means::Namespaces) {
        Some(why) => skipped(what, &why).map(|()| false),
        None => Ok(true),
    }
}

/// The leader in the minority and the majority, a node that is not heard and one that does not hear, and a bridge.
async fn partitions(means: Means) -> Result<()> {
    if !have(means, "partitions")? {
        return Ok(());
    }
    let mut run = Run::start(means).await?;
    for (kind, choice, serves) in [
        (Kind::LeaderIsolated, 0, true),
        (Kind::FollowerIsolated, 0, true),
        (Kind::Mute, 0, true),
        (Kind::Deaf, 1, true),
        (Kind::Bridge, 0, true),
    ] {
        run.suffer(kind, choice, 3, serves).await?;
    }
    run.end().await
}

/// A fifth of all packets lost, then every packet late.
async fn bad_links(means: Means) -> Result<()> {
    if !have(means, "lossy and slow links")? {
        return Ok(());
    }
    let mut run = Run::start(means).await?;
    run.suffer(Kind::Loss, 10, 50, true).await?;
    run.suffer(Kind::Delay, 30, 50, true).await?;
    run.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_by_namespaces_lose_nothing() -> Result<()> {
    partitions(Means::Namespaces).await
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_by_proxies_lose_nothing() -> Result<()> {
    partitions(Means::Proxy).await
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_by_the_fault_switch_lose_nothing() -> Result<()> {
    partitions(Means::Switch).await
}

#[tokio::test(flavor = "multi_thread")]
async fn lossy_and_slow_links_by_namespaces_lose_nothing() -> Result<()> {
    bad_links(Means::Namespaces).await
}

#[tokio::test(flavor = "multi_thread")]
async fn lossy_and_slow_links_by_proxies_lose_nothing() -> Result<()> {
    bad_links(Means::Proxy).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_exchange_and_the_makers_cut_off_from_the_nodes_lose_nothing() -> Result<()> {
    if !have(Means::Namespaces, "partitions between the market and the group")? {
        return Ok(());
    }
    let mut run = Run::start(Means::Namespaces).await?;
    // The exchange and the leader alone on their side: what they answer must not be a fill.
    run.suffer(Kind::SplitMarket, 0, 3, false).await?;
    // The exchange finds the leader through another node.
    run.suffer(Kind::ExchangeCutOff, 0, 3, true).await?;
    run.suffer(Kind::MakerCutOff, 1, 3, true).await?;
    run.end().await
}
