//! Money on a real cluster: fees, deposits, what open orders lock, a protection that pauses, a breaker that trips and stays
//! tripped through the death of a leader and a start from a snapshot. What each node says of it on the way is judged.

use anyhow::{Context, Result, ensure};
use quorate_ledger::Event;
use quorate_tests::harness::{Cluster, MakerOptions, Setup, eventually};
use serde_json::Value;

const SYMBOL: &str = "BTCUSDT";
/// Whoever trades without a signature.
const ACCOUNT: &str = "default";
/// Answers of each view that are judged at least.
const READS_MIN: u64 = 10;

#[tokio::test]
async fn what_nodes_say_of_money_is_what_the_judge_makes_of_the_events() -> Result<()> {
    let node_flags = ["--snapshot-every=100", "--log-keep=50"].map(str::to_owned).into();
    let mut cluster = Cluster::start(Setup { symbols: vec![SYMBOL], node_flags, ..Setup::default() }).await?;
    let terms = ["--maker-fee-ppm", "10", "--taker-fee-ppm", "400", "--exposure-per-lot", "2"];
    cluster.ledgerctl(&[&["revise", SYMBOL][..], &terms].concat())?;
    cluster.ledgerctl(&["limit-account", ACCOUNT])?;
    cluster.ledgerctl(&["deposit", ACCOUNT, "USDT", "1000"])?;
    cluster.ledgerctl(&["deposit", ACCOUNT, "BTC", "0.5"])?;
    cluster.start_exchange(&[]).await?;
    cluster.start_maker("alpha", &MakerOptions::default())?;
    cluster.all_quoted().await?;

    locks(&cluster).await?;
    pauses(&cluster).await?;
    trips(&mut cluster).await?;

    let trader = cluster.trader(1)?;
    trader.filled("after", SYMBOL, "side=SELL&type=MARKET&quantity=0.002").await?;
    trader.cancel("bids", SYMBOL).await.placed()?;
    cluster.ledgerctl(&["deposit", ACCOUNT, "USDT", "-100"])?;
    cluster.ledgerctl(&["position-limit", SYMBOL, "--max", "50"])?;
    cluster.see_money().await?;

    let found = cluster.judge(&[1])?;
    ensure!(found.money_said.values().all(|reads| *reads >= READS_MIN), "too few reads: {:?}", found.money_said);
    let frames = cluster.frames()?;
    let happened = |wanted: fn(&Event) -> bool| frames.iter().flat_map(|frame| &frame.events).any(wanted);
    ensure!(happened(|event| matches!(event, Event::BreakerTripped { .. })), "no breaker tripped");
    ensure!(happened(|event| matches!(event, Event::ProtectionTripped { .. })), "no protection tripped");
    Ok(())
}

/// Orders trade, and rest on both sides.
async fn locks(cluster: &Cluster) -> Result<()> {
    let trader = cluster.trader(1)?;
    for (nth, side) in ["BUY", "BUY", "BUY", "SELL"].into_iter().enumerate() {
        trader.filled(&format!("one-{nth}"), SYMBOL, &format!("side={side}&type=MARKET&quantity=0.003")).await?;
    }
    for (name, order) in [("bids", "side=BUY&price=95.00"), ("asks", "side=SELL&price=105.00")] {
        let order = format!("symbol={SYMBOL}&{order}&type=LIMIT&timeInForce=GTC&quantity=0.007");
        trader.place(name, &order).await?.placed()?;
    }
    let accounts = cluster.read("/v1/balances").await?["accounts"].take();
    let rows = accounts[0]["balances"].as_array().context("balances")?;
    let locked = |asset: &str| rows.iter().find(|row| row["asset"] == asset).map(|row| row["locked"].clone());
    // 7 lots at 95, 10 parts of a million as fee, and a unit for each lot.
    ensure!(locked("USDT") == Some("0.665006650007".into()) && locked("BTC") == Some("0.007".into()), "{accounts}");
    cluster.see_money().await
}

/// Six lots at once pause the symbol; then it is quoted again.
async fn pauses(cluster: &Cluster) -> Result<()> {
    let limits = ["--lots", "5", "--window-ms", "60000", "--pause-ms", "5000"];
    cluster.ledgerctl(&[&["protection", SYMBOL][..], &limits].concat())?;
    cluster.trader(1)?.filled("burst", SYMBOL, "side=BUY&type=MARKET&quantity=0.006").await?;
    let shown = cluster.read("/v1/breakers").await?["protections"].take();
    ensure!(shown[0]["paused_until"].is_u64() && shown[0]["lots"] == 0, "{shown}");
    cluster.see_money().await?;
    cluster.all_quoted().await
}

/// The least fall trips the breaker, which no death and no start undoes.
async fn trips(cluster: &mut Cluster) -> Result<()> {
    cluster.ledgerctl(&["drawdown-limit", "USDT", "--limit", "0.000000000001"])?;
    tripped(cluster).await?;
    let leader = cluster.leader().await?;
    cluster.take_node(leader)?.kill()?;
    cluster.leader().await?;
    tripped(cluster).await?;
    cluster.start_node(leader)?;
    eventually("the node serves again", || async {
        let (status, shown) = cluster.get(leader, "/v1/breakers?consistency=local").await?;
        anyhow::Ok((status == 200 && shown["data"]["drawdowns"][0]["tripped"] == true).then_some(()))
    })
    .await?;
    cluster.see_money().await?;
    cluster.ledgerctl(&["drawdown-limit", "USDT"])?;
    cluster.ledgerctl(&["rearm", "USDT"])?;
    cluster.all_quoted().await
}

async fn tripped(cluster: &Cluster) -> Result<()> {
    eventually("the breaker is tripped, and nothing is quoted", || async {
        let breaker = cluster.read("/v1/breakers").await?["drawdowns"][0].take();
        let quotes = cluster.read("/v1/quotes").await?;
        let none = quotes.as_array().is_some_and(Vec::is_empty);
        anyhow::Ok((breaker["tripped"] == Value::Bool(true) && none).then_some(()))
    })
    .await?;
    cluster.see_money().await
}
