//! What cannot be read, or is not allowed, is refused with a reason in the documented form, changes nothing, and does
//! no harm: at a node, at a node's peer port, and at the exchange.

#![allow(clippy::disallowed_methods, reason = "real processes live on the real clock")]

mod api;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use api::{
    exchange_rows, node_rows,
    node_rows::{Row, Sent},
    refusals,
    refusals::Facts,
    sockets,
    state::{Session, State, sound, unharmed},
    wire::{Answer, Ask, JSON, PROBLEM_JSON, Wire},
};
use quorate_tests::harness::{Cluster, Reply, Setup};
use serde_json::{Value, json};

/// Connections that a test leaves half open: far fewer than a node's own bound.
const SLOW: usize = 200;
/// The quote of the test lives 30 s, its maker's lease is 60 s: both are made anew long before.
const REFRESH_EVERY: Duration = Duration::from_secs(5);

async fn start() -> Result<Cluster> {
    Cluster::start(Setup { symbols: vec!["BTCUSDT", "ETHUSDT"], ..Setup::default() }).await
}

/// A maker with a quote and an exchange with a resting order, all by hand.
struct Market {
    facts: Facts,
    session: Session,
    quote_seq: u64,
    refreshed: Instant,
}

impl Market {
    async fn open(cluster: &Cluster) -> Result<Self> {
        let mut session = Session::open(cluster, 1).await?;
        let secret_hash = blake3::hash(&[7; 32]).to_string();
        let maker = json!({"register_maker": {"maker": "alpha", "ttl_ms": 60_000, "secret_hash": secret_hash}});
        let maker = session.accepted(cluster, 1, &maker).await?;
        let maker = &maker["maker_registered"];
        let (_, makers) = cluster.get(1, "/v1/makers").await?;
        let holds = makers["data"][0]["holds"].as_array();
        let holding = holds.and_then(|holds| holds.iter().find(|held| held["symbol"] == "BTCUSDT"));
        let commit = json!({"commit_parameters": {"maker": "alpha", "incarnation": maker["incarnation"],
            "secret": refusals::secret(), "symbol": "BTCUSDT", "text": "none"}});
        let committed = session.accepted(cluster, 1, &commit).await?;
        let parameters = committed["parameters_committed"]["digest"].as_str().context("a digest")?.to_owned();
        let exchange = session.accepted(cluster, 1, &json!({"register_exchange": {"exchange": "bad-input"}})).await?;
        let (_, status) = cluster.get(1, "/v1/status").await?;
        let mut facts = Facts {
            session: session.id,
            used_seq: session.seq,
            incarnation: maker["incarnation"].as_u64().context("an incarnation")?,
            epoch: holding.and_then(|held| held["epoch"].as_u64()).context("an epoch")?,
            exchange_epoch: exchange["exchange_registered"]["exchange_epoch"].as_u64().context("an epoch")?,
            order_id: 0,
            log_time: status["log_time"].as_u64().context("log time")?,
            control_version: status["data"]["control"]["control_version"].as_u64().context("a version")?,
            parameters,
        };
        let rest = refusals::execution(&facts, &json!({"exec_id": 1}), &json!({"client_order_id": "rest"}));
        let rest = session.accepted(cluster, 1, &rest).await?;
        facts.order_id = rest["order_executed"]["order_id"].as_u64().context("an order")?;
        let mut market = Self { facts, session, quote_seq: 0, refreshed: Instant::now() };
        market.refresh(cluster).await?;
        Ok(market)
    }

    async fn refresh(&mut self, cluster: &Cluster) -> Result<()> {
        let renew = json!({"renew_maker": {"maker": "alpha", "incarnation": self.facts.incarnation, "secret": refusals::secret()}});
        self.session.accepted(cluster, 1, &renew).await?;
        self.quote_seq += 1;
        let quote = refusals::quote(&self.facts, self.quote_seq, &json!({}));
        let placed = self.session.accepted(cluster, 1, &quote).await?;
        ensure!(placed["quote_placed"]["reduced"] == false, "{placed}");
        self.refreshed = Instant::now();
        Ok(())
    }
}

impl Market {
    /// The one refusal that changes something: the quote that was to be replaced stands no longer.
    async fn lose_the_quote(&mut self, cluster: &Cluster, wire: &Wire) -> Result<()> {
        self.quote_seq += 1;
        let row = refusals::crossing(&self.facts, self.quote_seq);
        let Sent::Command(command) = &row.sent else { unreachable!("it is a command") };
        let ask = Ask::json("/v1/commands", self.session.wrap(command).to_string());
        check_problem(&row, &wire.send(&cluster.api(1), &ask).await?)?;
        let quotes = cluster.read("/v1/quotes").await?;
        ensure!(quotes == json!([]), "the quote stands: {quotes}");
        Ok(())
    }
}

/// Whether an answer is the problem that a row asks for.
fn check_problem(row: &Row, answer: &Answer) -> Result<()> {
    let (kind, refusal) = row.kind.split_once(':').map_or((row.kind, None), |(kind, word)| (kind, Some(word)));
    ensure!(
        answer.status == row.status,
        "{}: {} wanted, got {} {}",
        row.what,
        row.status,
        answer.status,
        answer.text()
    );
    ensure!(answer.content_type == PROBLEM_JSON, "{}: {}", row.what, answer.content_type);
    let problem = answer.json()?;
    ensure!(problem["type"] == format!("urn:quorate:{kind}"), "{}: {problem}", row.what);
    ensure!(problem["status"] == row.status && problem["outcome_unknown"] == false, "{}: {problem}", row.what);
    for words in ["title", "detail"] {
        ensure!(problem[words].as_str().is_some_and(|text| !text.is_empty()), "{}: {problem}", row.what);
    }
    ensure!(answer.status != 405 || answer.allow.is_some(), "{}: which methods are allowed is not said", row.what);
    let refused = &problem["refused"]["outcome"]["refused"];
    match refusal {
        None => ensure!(problem["refused"].is_null(), "{}: {problem}", row.what),
        // A refusal is its name, or an object with its facts under its name.
        Some(word) => ensure!(refused == word || refused.get(word).is_some(), "{}: {problem}", row.what),
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_refuses_with_a_reason_and_changes_nothing() -> Result<()> {
    let mut cluster = start().await?;
    let wire = Wire::new()?;
    let mut market = Market::open(&cluster).await?;
    let (_, group) = cluster.get(1, "/v1/cluster").await?;
    let mut first = group["data"]["members"][0].clone();
    let fields = first.as_object_mut().context("a member")?;
    // What a change does not name.
    for shown in ["matched_index", "store_id"] {
        fields.remove(shown);
    }

    let mut rows = node_rows::unreadable();
    rows.extend(node_rows::misdirected());
    rows.extend(node_rows::unanswerable());
    rows.extend(node_rows::impossible_groups(&first));
    // First those that name a number of the session which must be in its window still.
    rows.extend(refusals::refused_control(&market.facts));
    rows.extend(refusals::refused_quotes(&market.facts));
    rows.extend(refusals::refused_orders(&market.facts));

    let mut wrong = Vec::new();
    let mut before = State::read(&cluster, 1).await?;
    for (at, row) in rows.iter().enumerate() {
        if market.refreshed.elapsed() >= REFRESH_EVERY {
            market.refresh(&cluster).await?;
            before = State::read(&cluster, 1).await?;
        }
        // Every node takes its turn: those that do not lead pass commands on.
        let node = cluster.ids()[at % cluster.ids().len()];
        let ask = match &row.sent {
            Sent::Http(ask) => ask.clone(),
            Sent::Command(command) => Ask::json("/v1/commands", market.session.wrap(command).to_string()),
        };
        let answer = wire.send(&cluster.api(node), &ask).await.with_context(|| row.what)?;
        let after = State::read(&cluster, 1).await?;
        wrong.extend(check_problem(row, &answer).err().map(|error| error.to_string()));
        wrong.extend(after.changed(&before).into_iter().map(|change| format!("{} changed {change}", row.what)));
        // What the ledger refused stands in the log, all the rest is not even proposed.
        if !row.kind.starts_with("refused") && after.at != before.at {
            wrong.push(format!("{} was proposed: {:?} -> {:?}", row.what, before.at, after.at));
        }
        before = after;
    }
    assert!(wrong.is_empty(), "{} of {} rows:\n{}", wrong.len(), rows.len(), wrong.join("\n"));

    // Nothing of it stands in the way of what is right.
    market.refresh(&cluster).await?;
    market.lose_the_quote(&cluster, &wire).await?;
    market.refresh(&cluster).await?;
    unharmed(&mut cluster, false)?;
    sound(&cluster)?;
    println!("{} bad requests to nodes", rows.len());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_exchange_refuses_with_binances_codes_and_changes_nothing() -> Result<()> {
    let mut cluster = start().await?;
    cluster.start_exchange(&["--min-notional=0.1"]).await?;
    let wire = Wire::new()?;
    let trader = cluster.trader(1)?;
    let rest = "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTC&quantity=0.020&price=80.00";
    trader.place("rest", rest).await?.placed()?;

    let mut rows = exchange_rows::orders();
    rows.extend(exchange_rows::calls());
    let mut wrong = Vec::new();
    let mut before = seen(&cluster).await?;
    for row in &rows {
        let answer = wire.send(&cluster.exchange_url(), &row.ask).await.with_context(|| row.what)?;
        let error = answer.json().unwrap_or_default();
        let said = error["msg"].as_str().is_some_and(|text| !text.is_empty());
        let shape = error.as_object().is_some_and(|fields| fields.len() == 2);
        if (answer.status, &error["code"]) != (row.status, &json!(row.code)) || !said || !shape {
            wrong.push(format!(
                "{}: {} {} wanted, got {} {}",
                row.what,
                row.status,
                row.code,
                answer.status,
                answer.text()
            ));
        }
        if answer.content_type != JSON {
            wrong.push(format!("{}: {}", row.what, answer.content_type));
        }
        let after = seen(&cluster).await?;
        if after != before {
            wrong.push(format!("{} changed {before:?} to {after:?}", row.what));
        }
        before = after;
    }
    assert!(wrong.is_empty(), "{} of {} rows:\n{}", wrong.len(), rows.len(), wrong.join("\n"));

    // What is right still goes: the order that was there is cancelled, under its own name.
    let Reply::Placed(cancelled) = trader.cancel("rest", "BTCUSDT").await else { anyhow::bail!("not cancelled") };
    ensure!(cancelled["status"] == "CANCELED", "{cancelled}");
    unharmed(&mut cluster, true)?;
    cluster.judge(&[1])?;
    println!("{} bad requests to the exchange", rows.len());
    Ok(())
}

/// What a bad request to the exchange must not change.
async fn seen(cluster: &Cluster) -> Result<(Vec<String>, Value)> {
    let state = State::read(cluster, 1).await?;
    let (status, open) = cluster.get_exchange("/api/v3/openOrders").await?;
    ensure!(status == 200, "{status} {open}");
    // Sessions may come and go: the exchange's client has its own.
    let rows = state.rows.into_iter().filter(|(name, _)| *name != "sessions");
    Ok((rows.map(|(name, row)| format!("{name} {row}")).collect(), open))
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_connections_come_to_nothing() -> Result<()> {
    let mut cluster = start().await?;
    cluster.start_exchange(&[]).await?;
    let before = seen(&cluster).await?;
    let term = State::read(&cluster, 1).await?.term;
    let api = cluster.api(1);
    let address = |url: &str| url.trim_start_matches("http://").parse().context("an address");
    let ports = [
        (address(&api)?, "/v1/commands"),
        (address(&cluster.exchange_url())?, "/api/v3/order"),
        (address(&format!("http://127.0.0.1:{}", cluster.peer_port(1)))?, "/peer/v1/vote"),
    ];
    let mut wrong = Vec::new();
    let mut sent = 0;
    for (to, path) in ports {
        for raw in sockets::raw(path) {
            sent += 1;
            wrong.extend(raw.check(to).await.err().map(|error| format!("{path}: {error:#}")));
        }
    }
    assert!(wrong.is_empty(), "{} of {sent}:\n{}", wrong.len(), wrong.join("\n"));

    // Clients that send a little and then nothing keep nobody else waiting; nor does it matter that they go.
    for (to, path) in ports {
        let held = sockets::slow(to, path, SLOW).await?;
        let meanwhile = seen(&cluster).await?;
        assert_eq!(meanwhile, before, "half requests changed something");
        drop(held);
    }
    assert_eq!(seen(&cluster).await?, before, "broken connections changed something");
    assert_eq!(State::read(&cluster, 1).await?.term, term, "broken connections brought an election");
    unharmed(&mut cluster, true)?;
    println!("{sent} broken connections, {} slow ones", ports.len() * SLOW);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_peer_port_takes_nothing_from_strangers() -> Result<()> {
    let mut cluster = start().await?;
    let wire = Wire::new()?;
    let base = format!("http://127.0.0.1:{}", cluster.peer_port(1));
    let (_, view) = cluster.get(1, "/v1/cluster").await?;
    let group = view["data"]["group_id"].as_str().context("a group")?;
    let store = |id: usize| view["data"]["members"][id - 1]["store_id"].as_str().context("a store");
    let (mine, theirs) = (store(1)?, store(2)?);
    let as_member = |path: &str, names: [&str; 3], identity: [&str; 3]| {
        let headers = ["x-quorate-cluster", "x-quorate-from", "x-quorate-to"].into_iter().zip(names);
        let identity = ["x-quorate-group", "x-quorate-store", "x-quorate-to-store"].into_iter().zip(identity);
        let ask = Ask::new("POST", format!("/peer/v1/{path}"));
        headers.chain(identity).fold(ask, |ask, (name, value)| ask.header(name, value))
    };
    let called = |path: &str, names: [&str; 3]| as_member(path, names, [group, theirs, mine]);
    let ours = ["quorate", "2", "1"];
    let other = "0123456789abcdef0123456789abcdef";
    let mut rows = vec![
        ("no names", Ask::new("POST", "/peer/v1/vote"), 421),
        ("another cluster", called("append", ["other", "2", "1"]), 421),
        ("another cluster's snapshot", called("snapshot", ["other", "2", "1"]), 421),
        ("another cluster's stream", called("stream-append", ["", "2", "1"]), 421),
        ("another node", called("vote", ["quorate", "2", "3"]), 421),
        ("a node in words", called("vote", ["quorate", "2", "one"]), 421),
        ("itself", called("vote", ["quorate", "1", "1"]), 421),
        ("nobody", called("vote", ["quorate", "", "1"]), 421),
        ("another group", as_member("vote", ours, [other, theirs, mine]), 421),
        ("no group", as_member("append", ours, ["", theirs, mine]), 421),
        ("a store that was wiped", as_member("vote", ours, [group, other, mine]), 421),
        ("a call for the store that was here before", as_member("append", ours, [group, theirs, other]), 421),
        ("no store", as_member("forward", ours, [group, "", mine]), 421),
        ("a store in words", as_member("hello", ours, [group, "theirs", mine]), 421),
        ("a peer of 65 bits", called("vote", ["quorate", "18446744073709551616", "1"]), 421),
        ("an unknown call", called("obey", ours), 404),
        ("a call by GET", Ask { method: "GET", ..called("vote", ours) }, 405),
        ("a body above all", called("vote", ours).body(vec![0; (32 << 20) + 65]), 413),
    ];
    // Length and checksum, then what they cover.
    let frame = |length: u32, crc: u32, payload: &[u8]| {
        [length.to_le_bytes().as_slice(), crc.to_le_bytes().as_slice(), payload].concat()
    };
    // The checksum of no bytes is 0, that of eight bytes of ones is this.
    let bodies = [
        ("nothing", Vec::new()),
        ("noise", vec![0xa5; 4_096]),
        ("JSON", br#"{"command":"open_session"}"#.to_vec()),
        ("a length above all", frame(u32::MAX, 0, &[])),
        ("a length beyond the end", frame(100, 0, &[1; 10])),
        ("a checksum that is not its own", frame(8, 7, &[0xff; 8])),
        ("no value", frame(0, 0, &[])),
        ("numbers without an end", frame(8, 0x2144_df1c, &[0xff; 8])),
        ("a frame and more", frame(0, 0, &[1])),
    ];
    for path in ["append", "vote", "pre-vote", "transfer-leader", "forward", "read-index", "admin"] {
        rows.extend(bodies.iter().map(|(what, body)| (*what, called(path, ours).body(body.clone()), 400)));
    }
    let before = State::read(&cluster, 1).await?;
    let mut wrong = Vec::new();
    for (what, ask, status) in &rows {
        let answer = wire.send(&base, ask).await.with_context(|| *what)?;
        if answer.status != *status || (answer.body.is_empty() && !matches!(status, 404 | 405)) {
            wrong.push(format!("{what} to {}: {status} wanted, got {} {}", ask.path, answer.status, answer.text()));
        }
    }
    // These answer before they have read: nothing may come of them.
    for path in ["stream-append", "snapshot"] {
        for (what, body) in &bodies {
            let answer = wire.send(&base, &called(path, ours).body(body.clone())).await.with_context(|| *what)?;
            if answer.status != 200 {
                wrong.push(format!("{what} to {path}: {} {}", answer.status, answer.text()));
            }
        }
    }
    let after = State::read(&cluster, 1).await?;
    assert!(wrong.is_empty(), "{} of {} rows:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
    assert_eq!(before, after, "a stranger at the peer port changed something");
    unharmed(&mut cluster, false)?;
    println!("{} bad calls to a peer port", rows.len() + 2 * bodies.len());
    Ok(())
}
