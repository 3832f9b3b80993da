//! Without a majority nothing is executed and nobody is told otherwise; afterwards every doubt is settled, once.

#![allow(clippy::disallowed_methods, reason = "real processes live on the real clock")]

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use quorate_tests::harness::{Cluster, MakerOptions, Reply, Setup, Trader, eventually};

/// The exchange's patience (3 s), and what an answer takes besides on a busy machine.
const ANSWERED_MAX: Duration = Duration::from_secs(5);
const BUY_ONE: &str = "symbol=BTCUSDT&side=BUY&type=MARKET&quantity=0.001";

async fn start() -> Result<Cluster> {
    let mut cluster = Cluster::start(Setup { symbols: vec!["BTCUSDT"], ..Setup::default() }).await?;
    cluster.start_exchange(&[]).await?;
    for maker in ["alpha", "beta"] {
        cluster.start_maker(maker, &MakerOptions::default())?;
    }
    cluster.all_quoted().await?;
    Ok(cluster)
}

/// Sends orders with nobody there to commit them: each gets a word in time, and none is told of a fill.
async fn without_quorum(trader: &Trader, names: &[&str]) -> Result<(Vec<String>, Duration)> {
    let mut in_doubt = Vec::new();
    let mut slowest = Duration::ZERO;
    for name in names {
        let sent = Instant::now();
        let reply = trader.place(name, BUY_ONE).await?;
        slowest = slowest.max(sent.elapsed());
        ensure!(slowest <= ANSWERED_MAX, "{name} had to wait {slowest:?}");
        match reply {
            Reply::Refused(-1007, _) => in_doubt.push((*name).to_owned()),
            // Definitely not proposed.
            Reply::Refused(-1001, _) => {}
            other => anyhow::bail!("{name} without a majority: {other:?}"),
        }
        // Nor is anybody told, as long as it is in doubt, that there is no such order.
        let asked = trader.query(name, "BTCUSDT").await?;
        ensure!(matches!(asked.code(), Some(-1001 | -1007)), "{name} without a majority: {asked:?}");
    }
    Ok((in_doubt, slowest))
}

/// Waits until the exchange says of each order how it stands, and holds that against the ledger.
async fn settled(cluster: &Cluster, trader: &Trader, names: &[String]) -> Result<BTreeMap<String, bool>> {
    let mut known = BTreeMap::new();
    for name in names {
        let executed = eventually(&format!("the outcome of {name}"), || async {
            match trader.query(name, "BTCUSDT").await? {
                Reply::Placed(answer) => Ok(Some(answer["executedQty"] == "0.001")),
                Reply::Refused(-2013, _) => Ok(Some(false)),
                other => anyhow::bail!("{other:?}"),
            }
        })
        .await?;
        known.insert(name.clone(), executed);
    }
    let found = cluster.judge(&[1])?;
    for (name, executed) in &known {
        let fills = found.trades.get(name).map_or(0, BTreeMap::len);
        ensure!(fills == usize::from(*executed), "{name}: said {executed}, committed {fills} fills");
    }
    Ok(known)
}

async fn back(cluster: &mut Cluster, killed: &[u64]) -> Result<()> {
    for id in killed {
        cluster.start_node(*id)?;
    }
    cluster.leader().await?;
    cluster.all_quoted().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_lost_its_followers_reports_no_fill() -> Result<()> {
    let mut cluster = start().await?;
    let trader = cluster.trader(1)?;
    trader.place("before", BUY_ONE).await?.placed()?;

    // The leader is left alone: it takes proposals into its log, and can commit none of them.
    let leader = cluster.leader().await?;
    let followers: Vec<u64> = cluster.ids().into_iter().filter(|id| *id != leader).collect();
    for id in &followers {
        cluster.take_node(*id)?.kill()?;
    }
    let (in_doubt, slowest) = without_quorum(&trader, &["d1", "d2", "d3"]).await?;
    ensure!(!in_doubt.is_empty(), "no order was in doubt: this run shows nothing");
    let (_, status) = cluster.get(leader, "/v1/status?consistency=local").await?;
    // None where it was elected a moment ago: then it cannot even know that the first one is committed.
    ensure!(status["data"]["fills"].as_u64().is_some_and(|fills| fills <= 1), "filled without a majority: {status}");

    // With the others back, what was in doubt is settled: executed once, or never.
    back(&mut cluster, &followers).await?;
    let known = settled(&cluster, &trader, &in_doubt).await?;
    let again = settled(&cluster, &trader, &in_doubt).await?;
    assert_eq!(known, again, "a settled outcome does not change");

    // And trade goes on.
    trader.filled("after", "BTCUSDT", "side=BUY&type=MARKET&quantity=0.001").await?;
    let found = cluster.judge(&[1])?;
    cluster.judge_beliefs()?;
    println!("{} in doubt, settled as {known:?}; slowest answer {slowest:?}; {} fills", in_doubt.len(), found.fills);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_that_is_left_alone_reports_no_fill() -> Result<()> {
    let mut cluster = start().await?;
    let trader = cluster.trader(1)?;
    trader.place("before", BUY_ONE).await?.placed()?;

    // The leader and a follower die at once, with an order on its way.
    let leader = cluster.leader().await?;
    let other = cluster.ids().into_iter().find(|id| *id != leader).context("another node")?;
    let (killed_leader, killed_other) = (cluster.take_node(leader)?, cluster.take_node(other)?);
    let kill = async {
        killed_leader.kill()?;
        killed_other.kill()
    };
    let (on_its_way, killed) = tokio::join!(trader.place("way", BUY_ONE), kill);
    killed?;
    let on_its_way = on_its_way?;
    let (mut in_doubt, slowest) = without_quorum(&trader, &["d1", "d2"]).await?;
    if on_its_way.is_unknown() {
        in_doubt.push("way".to_owned());
    }

    // Whatever was said then is what the ledger says afterwards, and it is said once.
    back(&mut cluster, &[leader, other]).await?;
    let known = settled(&cluster, &trader, &in_doubt).await?;
    for name in ["way", "d1", "d2"] {
        // Sent again under its own name, as a client does: executed once in all.
        eventually(&format!("{name} to be placed"), || async {
            let reply = trader.place(name, BUY_ONE).await?;
            anyhow::Ok(matches!(reply, Reply::Placed(_)).then_some(()))
        })
        .await?;
    }
    let found = cluster.judge(&[1])?;
    for name in ["way", "d1", "d2"] {
        ensure!(found.executed.get(name) == Some(&1), "{name}: {:?}", found.executed.get(name));
    }
    cluster.judge_beliefs()?;
    println!("on its way: {on_its_way:?}; in doubt {known:?}; slowest answer {slowest:?}; {} fills", found.fills);
    Ok(())
}
