//! An event contract on a real cluster: quoted, traded, marked by its own book, through the death of a leader, and settled.

use anyhow::{Context, Result, bail, ensure};
use quorate_domain::{Money, Price, Qty, QuoteSide, Symbol};
use quorate_ledger::{
    Answer, Command, CommitParameters, Digest, Event, MakerRef, Outcome, PlaceQuote, QuoteBasis, QuoteCause, Refusal,
    RegisterMaker, Response, Secret,
};
use quorate_tests::harness::{Cluster, Setup, eventually};
use serde_json::{Value, json};

const SYMBOL: &str = "RAIN";
/// What a contract pays, in ticks of 0.01.
const PAYS: i64 = 100;
const SECRET: Secret = Secret([7; 32]);
const PARAMETERS: &str = "the maker of this test";

/// A maker by hand: it quotes what it is told to.
struct Maker {
    session: u64,
    seq: u64,
    incarnation: u64,
    quote_seq: u64,
}

impl Maker {
    async fn join(cluster: &Cluster) -> Result<Self> {
        let mut maker = Self { session: 0, seq: 0, incarnation: 0, quote_seq: 0 };
        let Answer::SessionOpened { session } = maker.must(cluster, Command::OpenSession).await? else {
            bail!("no session");
        };
        maker.session = session;
        let name = "forecaster".parse()?;
        let register = RegisterMaker { maker: name, ttl_ms: 30_000, secret_hash: SECRET.hash() };
        let Answer::MakerRegistered { incarnation, .. } = maker.must(cluster, Command::RegisterMaker(register)).await?
        else {
            bail!("not registered");
        };
        maker.incarnation = incarnation;
        let commit = CommitParameters {
            maker: "forecaster".parse()?,
            incarnation,
            secret: SECRET,
            symbol: SYMBOL.parse()?,
            text: PARAMETERS.to_owned(),
        };
        maker.must(cluster, Command::CommitParameters(commit)).await?;
        Ok(maker)
    }

    /// Sends a command until a node has answered it: the same session and seq each time.
    async fn send(&mut self, cluster: &Cluster, command: Command) -> Result<Outcome> {
        self.seq += 1;
        let (session, seq) = if self.session == 0 { (0, 1) } else { (self.session, self.seq) };
        let body = json!({ "session": session, "seq": seq, "command": command });
        let answered = eventually("a command is answered", || async {
            for id in cluster.ids() {
                match cluster.post(id, "/v1/commands", &body).await {
                    Ok((200, answer)) => {
                        let response: Response = serde_json::from_value(answer)?;
                        return anyhow::Ok(Some(response.outcome));
                    }
                    Ok((status, problem)) if (400..500).contains(&status) => {
                        let response: Response =
                            serde_json::from_value(problem["refused"].clone()).with_context(|| format!("{problem}"))?;
                        return anyhow::Ok(Some(response.outcome));
                    }
                    Ok(_) | Err(_) => {}
                }
            }
            anyhow::Ok(None)
        });
        answered.await
    }

    async fn must(&mut self, cluster: &Cluster, command: Command) -> Result<Answer> {
        match self.send(cluster, command).await? {
            Outcome::Accepted(answer) => Ok(answer),
            Outcome::Refused(refusal) => bail!("{refusal}"),
        }
    }

    async fn renew(&mut self, cluster: &Cluster) -> Result<()> {
        let me = MakerRef { maker: "forecaster".parse()?, incarnation: self.incarnation, secret: SECRET };
        self.must(cluster, Command::RenewMaker(me)).await.map(drop)
    }

    /// Quotes ten contracts on each side, from the committed position.
    async fn quote(&mut self, cluster: &Cluster, bid: i64, ask: i64) -> Result<Outcome> {
        let symbol: Symbol = SYMBOL.parse()?;
        let held = row(cluster.read("/v1/authority").await?)?;
        let position = row(cluster.read("/v1/positions").await?)?;
        self.quote_seq += 1;
        let side = |price| Some(QuoteSide { price: Price(price), qty: Qty(10) });
        let place = PlaceQuote {
            symbol,
            incarnation: self.incarnation,
            secret: SECRET,
            epoch: held["epoch"].as_u64().context("an epoch")?,
            revision: 1,
            quote_seq: self.quote_seq,
            position_seq: position["position_seq"].as_u64().context("a number of fills")?,
            bid: side(bid),
            ask: side(ask),
            allow_reduced: true,
            ttl_ms: 30_000,
            cause: QuoteCause::Refresh,
            basis: QuoteBasis {
                computed_at: 0,
                reference: None,
                room: None,
                strategy: "by-hand".parse()?,
                version: 1,
                parameters: Digest::of(PARAMETERS.as_bytes()),
                state: b"a belief of 60 percent".to_vec(),
            },
        };
        self.send(cluster, Command::PlaceQuote(place)).await
    }
}

/// The symbol's row of a read.
fn row(rows: Value) -> Result<Value> {
    let rows = rows.as_array().context("a list")?.clone();
    rows.into_iter().find(|row| row["symbol"] == SYMBOL).context("the symbol's row")
}

async fn position(cluster: &Cluster) -> Result<Value> {
    row(cluster.read("/v1/positions").await?)
}

fn money(text: &Value) -> Result<Money> {
    text.as_str().context("money is a string")?.parse().context("money")
}

#[tokio::test]
async fn an_event_contract_is_traded_through_a_leaders_death_and_settled() -> Result<()> {
    let mut cluster = Cluster::start(Setup { symbols: Vec::new(), ..Setup::default() }).await?;
    let define =
        ["define-symbol", SYMBOL, "--base", SYMBOL, "--quote", "USDT", "--tick-size", "0.01", "--lot-size", "1"];
    cluster
        .ledgerctl(&[&define[..], &["--pays", "100", "--maker-fee-ppm", "-20", "--taker-fee-ppm", "400"]].concat())?;
    cluster.start_exchange(&["--reference", "own:RAIN"]).await?;
    let mut maker = Maker::join(&cluster).await?;
    // Held once the exchange has listed it.
    eventually("the symbol is held", || async {
        Ok::<_, anyhow::Error>((row(cluster.read("/v1/authority").await?)?["holder"] == "forecaster").then_some(()))
    })
    .await?;
    ensure!(matches!(maker.quote(&cluster, 58, 62).await?, Outcome::Accepted(_)));
    let trader = cluster.trader(1)?;
    trader.filled("buy", SYMBOL, "side=BUY&type=MARKET&quantity=4").await?;
    ensure!(position(&cluster).await?["position"] == "-4");
    // The mark is the middle of the exchange's own book.
    maker.quote(&cluster, 58, 62).await?;
    eventually("a mark", || async {
        Ok::<_, anyhow::Error>((position(&cluster).await?["mark"]["half_ticks"] == 120).then_some(()))
    })
    .await?;
    let held = position(&cluster).await?;
    // Sold four at 0.62, worth 0.60 each.
    ensure!(money(&held["unrealised"])? == "0.08".parse()?, "{held}");

    let leader = cluster.leader().await?;
    cluster.take_node(leader)?.kill()?;
    maker.renew(&cluster).await?;
    maker.quote(&cluster, 70, 74).await?;
    trader.filled("sell", SYMBOL, "side=SELL&type=MARKET&quantity=6").await?;
    ensure!(position(&cluster).await?["position"] == "2");
    cluster.start_node(leader)?;

    settle(&mut cluster, &mut maker).await?;
    cluster.judge(&[1])?;
    Ok(())
}

/// It rained: two contracts of the house pay 1.00 each, once.
async fn settle(cluster: &mut Cluster, maker: &mut Maker) -> Result<()> {
    let before = money(&position(cluster).await?["cash"])?;
    let pays = PAYS.to_string();
    cluster.ledgerctl(&["settle", SYMBOL, &pays, "--actor", "referee", "--reason", "it rained"])?;
    let settled = position(cluster).await?;
    ensure!(settled["position"] == "0" && settled["cost"] == "0", "{settled}");
    let after = money(&settled["cash"])?;
    ensure!(after == before.checked_add("2".parse()?).context("a sum")?, "{before} and then {after}");
    ensure!(settled["realised"].as_str().context("realised")?.parse::<Money>()?.0 > 0, "{settled}");

    // Again the same is nothing new; anything else is refused, and so is whatever trades.
    cluster.ledgerctl(&["settle", SYMBOL, &pays])?;
    ensure!(position(cluster).await?["cash"] == settled["cash"]);
    ensure!(cluster.ledgerctl(&["settle", SYMBOL, "0"]).is_err(), "settled at another price");
    let refused = maker.quote(cluster, 70, 74).await?;
    ensure!(matches!(refused, Outcome::Refused(Refusal::SymbolClosed { .. })), "{refused:?}");
    let order = format!("symbol={SYMBOL}&side=BUY&type=MARKET&quantity=1");
    let (status, answer) = cluster.post_exchange("/api/v3/order", &order).await?;
    ensure!(status == 400 && answer["code"] == -1013, "{status}: {answer}");

    // Nobody owns a contract any more, and the quote asset sums to 0: nothing was deposited.
    let balances = cluster.read("/v1/balances").await?;
    let amounts = |part: &str| balances[part].as_array().cloned().unwrap_or_default();
    let of = |rows: Vec<Value>, asset: &str, field: &str| -> Result<i128> {
        rows.iter().filter(|row| row["asset"] == asset).map(|row| money(&row[field]).map(|money| money.0)).sum()
    };
    let accounts: Vec<Value> =
        amounts("accounts").iter().flat_map(|row| row["balances"].as_array().cloned()).flatten().collect();
    ensure!(of(accounts.clone(), SYMBOL, "total")? == 0 && of(amounts("house"), SYMBOL, "amount")? == 0, "{balances}");
    let sum = of(accounts, "USDT", "total")?
        + of(amounts("house"), "USDT", "amount")?
        + of(amounts("fees"), "USDT", "amount")?;
    ensure!(sum == 0, "the quote asset sums to {sum}: {balances}");

    let frames = cluster.frames()?;
    let closed = frames.iter().flat_map(|frame| &frame.events);
    let closed = closed.filter(|event| matches!(event, Event::SymbolClosed { settled: Some(_), .. })).count();
    ensure!(closed == 1, "it was settled {closed} times");
    Ok(())
}
