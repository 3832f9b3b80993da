//! The exchange dies at the worst moments, and a newer one takes its place: every order has one effect and a known end.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use quorate_ledger::{Event, Frame};
use quorate_tests::harness::{Cluster, MakerOptions, Process, Reply, Setup, Trader, binary, eventually};
use serde_json::Value;

/// How long an exchange may take to notice that it is fenced, and to end.
const FENCED_MAX: Duration = Duration::from_secs(15);

async fn start(failpoints: &str) -> Result<Cluster> {
    let mut cluster = Cluster::start(Setup { symbols: vec!["BTCUSDT", "ETHUSDT"], ..Setup::default() }).await?;
    let failpoints = format!("--failpoints={failpoints}");
    cluster.start_exchange(&["--fault-injection", &failpoints]).await?;
    for maker in ["alpha", "beta"] {
        cluster.start_maker(maker, &MakerOptions::default())?;
    }
    cluster.all_quoted().await?;
    Ok(cluster)
}

/// A market order for one lot.
const BUY_ONE: &str = "symbol=BTCUSDT&side=BUY&type=MARKET&quantity=0.001";
/// Rests far above the market.
const SELL_HIGH: &str = "symbol=BTCUSDT&side=SELL&type=LIMIT&timeInForce=GTC&price=108.00&quantity=0.003";

/// Sends orders until one gets no answer, because the exchange crashed; its name.
async fn until_crash(trader: &Trader, cluster: &mut Cluster) -> Result<String> {
    for n in 1..=20 {
        let id = format!("c{n}");
        match trader.place(&id, BUY_ONE).await? {
            Reply::Placed(answer) => ensure!(answer["executedQty"] == "0.001", "{answer}"),
            Reply::Lost(_) => {
                let crashed = cluster.take_exchange()?.ended(Duration::from_secs(10)).await?;
                ensure!(!crashed.success(), "{crashed}");
                return Ok(id);
            }
            Reply::Refused(code, text) => anyhow::bail!("{id}: {code} {text}"),
        }
    }
    anyhow::bail!("the failpoint never acted")
}

/// How often an order stands in the log as executed, and its fills.
fn effects(frames: &[Frame], id: &str) -> (usize, usize) {
    let mut order_ids = Vec::new();
    let mut fills = 0;
    for event in frames.iter().flat_map(|frame| &frame.events) {
        match event {
            Event::OrderExecuted { order_id, order, .. } if order.client_order_id.as_str() == id => {
                order_ids.push(*order_id);
            }
            Event::FillCommitted(fill) if order_ids.contains(&fill.taker_order_id) => fills += 1,
            _ => {}
        }
    }
    (order_ids.len(), fills)
}

/// Retries an order whose answer was lost, as a careful client does, until its outcome is known.
async fn resolve(trader: &Trader, id: &str, order: &str, symbol: &str) -> Result<(Reply, Value)> {
    let retried = trader.place(id, order).await?;
    let stands = eventually("the order's state", || async {
        match trader.query(id, symbol).await? {
            Reply::Placed(answer) => anyhow::Ok(Some(answer)),
            other => anyhow::bail!("{other:?}"),
        }
    })
    .await?;
    Ok((retried, stands))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_in_doubt_by_a_crash_before_its_proposal_is_executed_once() -> Result<()> {
    // The third proposal never leaves: the order behind it is nowhere.
    let mut cluster = start("exchange.before_propose=3*crash").await?;
    let trader = cluster.trader(1)?;
    let resting = trader.place("rest", SELL_HIGH).await?.placed()?;
    assert_eq!(resting["status"], "NEW");
    let id = until_crash(&trader, &mut cluster).await?;
    assert_eq!(effects(&cluster.frames()?, &id), (0, 0), "it was not proposed");

    // The same name again, at the next life of the exchange, which finds a quote as soon as there is one.
    cluster.start_exchange(&[]).await?;
    cluster.all_quoted().await?;
    let (retried, stands) = resolve(&trader, &id, BUY_ONE, "BTCUSDT").await?;
    assert!(matches!(retried, Reply::Placed(_)), "{retried:?}");
    assert_eq!((&stands["status"], &stands["executedQty"]), (&"FILLED".into(), &"0.001".into()), "{stands}");
    assert_eq!(effects(&cluster.frames()?, &id), (1, 1));

    // A second retry changes nothing, and another order under the same name is refused.
    let again = trader.place(&id, BUY_ONE).await?.placed()?;
    assert_eq!(again["orderId"], stands["orderId"], "{again}");
    let other = trader.place(&id, &BUY_ONE.replace("0.001", "0.002")).await?;
    assert_eq!(other.code(), Some(-2010), "{other:?}");
    assert_eq!(effects(&cluster.frames()?, &id), (1, 1));

    // What rested before the crash rests in the rebuilt book, and ends by a cancel, once.
    assert_eq!(trader.open_orders().await?, ["rest"]);
    let cancelled = trader.cancel("rest", "BTCUSDT").await.placed()?;
    assert_eq!(cancelled["status"], "CANCELED");
    assert_eq!(trader.cancel("rest", "BTCUSDT").await.code(), Some(-2011));
    let found = cluster.judge(&[1])?;
    println!("{} orders executed, {} fills, one crash, one execution of {id}", found.executed.len(), found.fills);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_committed_before_the_crash_is_not_executed_again() -> Result<()> {
    // The third commit is there, and its answer is not.
    let mut cluster = start("exchange.after_commit=3*crash").await?;
    let trader = cluster.trader(1)?;
    trader.place("rest", SELL_HIGH).await?.placed()?;
    let id = until_crash(&trader, &mut cluster).await?;
    assert_eq!(effects(&cluster.frames()?, &id), (1, 1), "it was committed");

    // A retry is told how the order stands that was executed then, and so is a query.
    cluster.start_exchange(&[]).await?;
    let (retried, stands) = resolve(&trader, &id, BUY_ONE, "BTCUSDT").await?;
    assert_eq!(retried.placed()?["orderId"], stands["orderId"]);
    assert_eq!(stands["status"], "FILLED", "{stands}");
    assert_eq!(effects(&cluster.frames()?, &id), (1, 1));

    // What rested before the crash can still be filled, in part and then whole: makers keep below it.
    for (name, qty, status) in [("t1", "0.001", "PARTIALLY_FILLED"), ("t2", "0.002", "FILLED")] {
        sweep_to_resting(&cluster, &trader, name, qty).await?;
        let stands = trader.query("rest", "BTCUSDT").await?.placed()?;
        assert_eq!(stands["status"], status, "{stands}");
    }
    assert!(trader.open_orders().await?.is_empty());
    let found = cluster.judge(&[1])?;
    assert_eq!(found.trades["rest"].values().sum::<i64>(), 3, "{:?}", found.trades["rest"]);
    println!("{} orders executed, {} fills, {id} once", found.executed.len(), found.fills);
    Ok(())
}

/// Takes `qty` from the order that rests above the market: while quoting is off there is nothing before it.
async fn sweep_to_resting(cluster: &Cluster, trader: &Trader, id: &str, qty: &str) -> Result<()> {
    cluster.ledgerctl(&["quoting", "off", "--symbol", "BTCUSDT"])?;
    let order = format!("symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=IOC&price=108.00&quantity={qty}");
    let filled = trader.place(id, &order).await?.placed()?;
    ensure!(filled["status"] == "FILLED", "{filled}");
    ensure!(filled["fills"][0]["price"].as_str().is_some_and(|price| price.starts_with("108")), "{filled}");
    cluster.ledgerctl(&["quoting", "on", "--symbol", "BTCUSDT"])?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_settles_what_two_crashes_of_the_exchange_left_in_doubt() -> Result<()> {
    let mut cluster = start("exchange.after_commit=40*crash").await?;
    // Many orders are in flight at once when the exchange dies.
    let publisher = cluster.start_publisher(3, &["--count=300", "--rate=60", "--in-flight=8"])?;

    // It dies with commits that nobody was told of, and the next one before a proposal.
    cluster.take_exchange()?.ended(Duration::from_secs(30)).await?;
    cluster.start_exchange(&["--fault-injection", "--failpoints=exchange.before_propose=40*crash"]).await?;
    cluster.take_exchange()?.ended(Duration::from_secs(30)).await?;
    cluster.start_exchange(&[]).await?;
    let status = publisher.ended(Duration::from_secs(60)).await?;
    assert!(status.success(), "the publisher: {status}");

    // Each order had one effect, or none where its publisher was told so; the judge knows no other way.
    let found = cluster.judge(&[3])?;
    let mut journal = quorate_tests::evidence::Journal::default();
    quorate_tests::evidence::read_journal(&cluster.journal(3), &mut journal)?;
    assert_eq!(journal.orders.len(), 300);
    assert!(journal.unknown_settled > 0, "nothing was ever in doubt: this run shows nothing");
    println!("{} executed, {} fills, {} settled", found.executed.len(), found.fills, journal.unknown_settled);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_exchange_fences_the_first() -> Result<()> {
    let mut cluster = start("").await?;
    let mut trader = cluster.trader(1)?;
    let first_order = trader.place("first", BUY_ONE).await?.placed()?;
    trader.place("rest", SELL_HIGH).await?.placed()?;

    // As many connections as there will be orders, so that none waits to be accepted by a process that is to end.
    let late = ["late1", "late2", "late3", "late4"];
    let asked = tokio::join!(
        trader.query("first", "BTCUSDT"),
        trader.query("first", "BTCUSDT"),
        trader.query("first", "BTCUSDT"),
        trader.query("first", "BTCUSDT"),
    );
    asked.0?.placed()?;

    // The first stands still with orders before it; a second one starts elsewhere and registers.
    let first = cluster.take_exchange()?;
    first.pause()?;
    let takeover = async {
        let second = second_exchange(&cluster).await;
        first.resume()?;
        second
    };
    let (a, b, c, d, second) = tokio::join!(
        trader.place(late[0], BUY_ONE),
        trader.place(late[1], BUY_ONE),
        trader.place(late[2], BUY_ONE),
        trader.place(late[3], BUY_ONE),
        takeover,
    );
    let (mut second, url) = second?;

    // It does not know yet that it is fenced, fills nothing all the same, says so, and ends with an error.
    let mut refused = 0;
    for reply in [a?, b?, c?, d?] {
        match reply {
            Reply::Refused(-1001, _) => refused += 1,
            // Its end came first.
            Reply::Lost(_) => {}
            other => anyhow::bail!("a fenced exchange answered {other:?}"),
        }
    }
    let ended = first.ended(FENCED_MAX).await?;
    assert!(!ended.success(), "{ended}");
    assert!(refused > 0, "the fenced exchange refused nothing");

    // The second has all that the first had, and what the first refused it executes once.
    trader.turn_to(url);
    assert!(second.is_running());
    assert_eq!(trader.open_orders().await?, ["rest"]);
    assert_eq!(trader.place("first", BUY_ONE).await?.placed()?["orderId"], first_order["orderId"]);
    cluster.all_quoted().await?;
    let filled = trader.place(late[0], BUY_ONE).await?.placed()?;
    assert_eq!(filled["executedQty"], "0.001", "{filled}");
    let frames = cluster.frames()?;
    assert_eq!(effects(&frames, "first"), (1, 1));
    assert_eq!(effects(&frames, late[0]), (1, 1));
    for id in late.iter().skip(1) {
        assert_eq!(effects(&frames, id), (0, 0), "{id} was refused by a fenced exchange, and executed");
    }
    let found = cluster.judge(&[1])?;
    println!("{refused} of {} refused by the fenced exchange, none executed there; {} fills", late.len(), found.fills);
    Ok(())
}

/// Another exchange over the same group, on a port of its own choice.
async fn second_exchange(cluster: &Cluster) -> Result<(Process, String)> {
    let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let args = [
        format!("--listen=127.0.0.1:{port}"),
        format!("--ledger-endpoints={}", cluster.endpoints()),
        "--reference=static:BTCUSDT=100.00,ETHUSDT=100.00".to_owned(),
    ];
    let second = Process::spawn("second exchange", &binary("exchange")?, args, &cluster.dir().join("exchange-2.log"))?;
    let url = format!("http://127.0.0.1:{port}");
    let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(2)).build()?;
    eventually("the second exchange", || async {
        let response = http.get(format!("{url}/health")).send().await.context("no answer")?;
        anyhow::Ok((response.status().as_u16() == 200).then_some(()))
    })
    .await?;
    Ok((second, url))
}
