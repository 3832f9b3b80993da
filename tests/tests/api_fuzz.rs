//! Requests made up from a node's own OpenAPI document, whole and broken: every answer is one that the document
//! promises, in the form that it promises, what it allows is read, no process ends, and the ledger stays sound. The same
//! for the exchange, whose document is Binance's: its routes and parameters stand in a table here.
//!
//! `QUORATE_FUZZ_SEED` sets the seed, `QUORATE_FUZZ_REQUESTS` the number of requests.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use futures_util::future::join_all;
use quorate_tests::{
    fuzz::{Fuzzer, Request},
    harness::{Cluster, MakerOptions, Setup, eventually},
    replay::replay,
};
use rand::{Rng, SeedableRng, rngs::SmallRng, seq::IndexedRandom};
use serde_json::{Value, json};

const SYMBOLS: [&str; 2] = ["BTCUSDT", "ETHUSDT"];
const SEED: u64 = 20_261_121;
const REQUESTS: usize = 2_000;
/// Requests on their way at once.
const AT_ONCE: usize = 16;
/// Fresh sessions for each lot of requests: some of the requests end theirs.
const SESSIONS: usize = 2;
/// Kinds of refusal by the ledger, and of commands that it accepts, that must have been met.
const REFUSALS_MIN: usize = 12;
const ACCEPTED_MIN: usize = 10;
/// The maker's.
const SECRET: [u8; 32] = [7; 32];
/// What the maker quotes with.
const COMMITTED: &str = "none";
const COMMANDS: &str = "/v1/commands";
const MEMBERS: &str = "/v1/cluster/members";

/// What the answers to made-up requests came to.
#[derive(Debug, Default)]
struct Answers {
    statuses: BTreeMap<u16, u32>,
    refused: BTreeMap<String, u32>,
    accepted: BTreeMap<String, u32>,
}

impl Answers {
    /// Counts what the ledger said of a command, where `answer` tells.
    fn count(&mut self, answer: &Value) {
        let named = |value: &Value| {
            value.as_str().or_else(|| value.as_object()?.keys().next().map(String::as_str)).map(str::to_owned)
        };
        let responses = answer.as_array().map_or_else(Vec::new, |all| all.iter().map(|one| &one["response"]).collect());
        for response in responses.into_iter().chain([answer, &answer["refused"]]) {
            let outcome = &response["outcome"];
            if let Some(name) = named(&outcome["accepted"]) {
                *self.accepted.entry(name).or_default() += 1;
            }
            if let Some(name) = named(&outcome["refused"]) {
                *self.refused.entry(name).or_default() += 1;
            }
        }
    }
}

/// Sends a request, and holds the answer against the document.
async fn try_one(http: &reqwest::Client, base: &str, fuzzer: &Fuzzer, request: &Request) -> Result<(u16, Value)> {
    let method = reqwest::Method::from_bytes(request.method.as_bytes())?;
    let mut call = http.request(method, format!("{base}{}", request.target));
    for (name, value) in &request.headers {
        call = call.header(name, value);
    }
    if let Some(body) = &request.body {
        call = call.body(body.clone());
    }
    let answer = call.send().await?;
    let status = answer.status().as_u16();
    let content = answer.headers().get("content-type").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let content = content.split(';').next().unwrap_or_default().to_owned();
    let types = fuzzer.documented(request, status).with_context(|| format!("{status} is not in the document"))?;
    let documented = types.get(&content).with_context(|| format!("{status} as {content}, not as one of {types:?}"))?;
    ensure!(status < 500 || matches!(status, 503 | 504), "{status}: {:?}", answer.bytes().await?);
    ensure!(status != 200 || !body_is_of_another_type(request), "a body of another type is taken");
    if !content.ends_with("json") {
        // Text; or a stream of events, which has no end.
        return Ok((status, Value::Null));
    }
    let body: Value = serde_json::from_slice(&answer.bytes().await?)?;
    fuzzer.conforms(&documented["schema"], &body).with_context(|| format!("{status} {body}"))?;
    if content == "application/problem+json" {
        ensure!(body["status"] == status, "{status} says of itself {body}");
        ensure!(body["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "no reason: {body}");
    }
    ensure!(!request.intact || may_be(request, status, &body), "what the document allows is not read: {status} {body}");
    Ok((status, body))
}

fn body_is_of_another_type(request: &Request) -> bool {
    request.headers.iter().any(|(name, value)| name == "content-type" && value != "application/json")
}

/// Whether a request in which nothing is broken may be answered like this: what it says is read. Exceptions are what no
/// schema can say.
fn may_be(request: &Request, status: u16, body: &Value) -> bool {
    if !matches!(status, 400 | 413 | 415) {
        return true;
    }
    let detail = body["detail"].as_str().unwrap_or_default();
    // A version that is not there yet, an order by half its name, a leader that is no voter.
    detail.starts_with("ledger version")
        || detail == "client_order_id needs account"
        || request.template == "/v1/cluster/transfer-leader"
}

/// Keeps the fuzzer told of how the group stands, and the group in a state in which commands can be accepted.
#[derive(Default)]
struct Facts {
    sessions: Vec<Value>,
    next_seq: u64,
    exchange_epoch: u64,
    orders: u64,
}

impl Facts {
    async fn tell(&mut self, cluster: &Cluster, fuzzer: &mut Fuzzer, answers: &Answers) -> Result<()> {
        let opened = command(cluster, &json!(vec![json!({"command": "open_session"}); SESSIONS])).await?;
        let opened = opened.as_array().context("an array")?.iter();
        self.sessions
            .extend(opened.map(|one| one["response"]["outcome"]["accepted"]["session_opened"]["session"].clone()));
        let old = self.sessions.len().saturating_sub(2 * SESSIONS);
        self.sessions.drain(..old);
        fuzzer.hint("session", self.sessions.clone());
        fuzzer.hint("seq", (self.next_seq..self.next_seq + 40).map(Value::from).collect());
        self.next_seq += 40;

        if cluster.read("/v1/makers").await?.as_array().is_none_or(Vec::is_empty) {
            let secret_hash = blake3::hash(&SECRET).to_string();
            let maker = json!({"register_maker": {"maker": "alpha", "ttl_ms": 60_000, "secret_hash": secret_hash}});
            let session = self.sessions.last().context("a session")?;
            command(cluster, &json!({"session": session, "seq": self.next_seq, "command": maker})).await?;
            self.next_seq += 1;
        }
        self.commit_parameters(cluster).await?;
        let status = self.rearm(cluster).await?;
        let version = status["control"]["control_version"].as_u64().context("a version")?;
        fuzzer.hint("control_version", vec![json!(version), json!(version), json!(version + 1)]);
        let epoch = status["exchange_epoch"].as_u64().context("an epoch")?;
        let orders = answers.accepted.get("order_executed").copied().unwrap_or_default().into();
        if epoch != self.exchange_epoch {
            (self.exchange_epoch, self.orders) = (epoch, orders);
        }
        let next = orders - self.orders + 1;
        fuzzer.hint("exchange_epoch", vec![json!(epoch)]);
        // Each symbol counts by itself; which one the order is for is not known here.
        let counts = |most: u64| (1..=most).map(|count| json!(count)).collect();
        fuzzer.hint("exec_id", counts(next.min(6)));
        fuzzer.hint("answered_below", counts(2));
        let log_time = status["log_time"].as_u64().context("log time")?;
        fuzzer.hint("deadline", vec![json!(log_time + 50_000)]);
        fuzzer.hint("timestamp", vec![json!(log_time)]);

        let views = [
            ("quotes", "quote_id"),
            ("makers", "incarnation"),
            ("authority", "epoch"),
            ("positions", "position_seq"),
            ("orders", "order_id"),
        ];
        let read = |view: &'static str| async move { cluster.read(&format!("/v1/{view}")).await };
        for ((_, field), rows) in views.into_iter().zip(join_all(views.map(|(view, _)| read(view))).await) {
            let values: Vec<Value> = rows?.as_array().into_iter().flatten().map(|row| row[field].clone()).collect();
            if !values.is_empty() {
                fuzzer.hint(field, values);
            }
        }
        // Half of the orders take something, where there is something to take.
        let quotes = read("quotes").await?;
        let asks = quotes.as_array().into_iter().flatten().filter(|quote| quote["ask"].is_object());
        let fill = |quote: &Value| {
            let ask = &quote["ask"];
            let against = json!({"quote": quote["quote_id"]});
            json!([{"against": against, "leaves": ask["leaves"], "price": ask["price"], "qty": 1}])
        };
        fuzzer.hint("fills", asks.map(fill).chain([json!([])]).collect());
        Ok(())
    }

    /// Has the present maker say what it quotes with, so that its quotes can be taken.
    async fn commit_parameters(&mut self, cluster: &Cluster) -> Result<()> {
        let makers = cluster.read("/v1/makers").await?;
        let session = self.sessions.last().context("a session")?;
        for maker in makers.as_array().into_iter().flatten() {
            for symbol in SYMBOLS {
                let commit = json!({"commit_parameters": {"maker": maker["maker"], "incarnation": maker["incarnation"],
                    "secret": hex(&SECRET), "symbol": symbol, "text": COMMITTED}});
                command(cluster, &json!({"session": session, "seq": self.next_seq, "command": commit})).await?;
                self.next_seq += 1;
            }
        }
        Ok(())
    }

    /// Takes back what legitimate commands did that would make all that follow alike: the kill switch, quoting that is
    /// off, a limit of nothing. The status after that.
    async fn rearm(&self, cluster: &Cluster) -> Result<Value> {
        loop {
            let status = cluster.read("/v1/status").await?;
            let control = &status["control"];
            let version = &control["control_version"];
            let decide = |change: Value| json!({"control": {"actor": "operator", "reason": "a test", "control_version": version, "change": change}});
            let on = |scope: Value| decide(json!({"quoting": {"scope": scope, "on": true}}));
            let exposure = cluster.read("/v1/exposure").await?;
            let change = if control["kill_switch"] == true {
                decide(json!({"kill_switch": {"engaged": false}}))
            } else if control["quoting"] == false {
                on(json!("all"))
            } else if let Some(symbol) = control["symbols_off"].get(0) {
                on(json!({"symbol": symbol}))
            } else if let Some(maker) = control["makers_off"].get(0) {
                on(json!({"maker": maker}))
            } else if units(&exposure["limit"]) < Some(50) {
                decide(json!({"exposure_limit": {"limit": "100"}}))
            } else {
                return Ok(status);
            };
            command(cluster, &json!({"command": change})).await?;
        }
    }
}

/// Exposure, which is a string in JSON.
fn units(value: &Value) -> Option<i128> {
    value.as_str()?.parse().ok()
}

/// Has a command, or an array of them, answered.
async fn command(cluster: &Cluster, body: &Value) -> Result<Value> {
    eventually("an answer", || async {
        let (status, answer) = cluster.post(1, COMMANDS, body).await?;
        ensure!(status == 200, "{status} {answer}");
        Ok(Some(answer))
    })
    .await
}

fn setting<T: std::str::FromStr>(name: &str, default: T) -> Result<T>
where
    T::Err: std::error::Error + Send + Sync + 'static,
{
    std::env::var(name).map_or(Ok(default), |text| text.parse().with_context(|| name.to_owned()))
}

async fn start() -> Result<Cluster> {
    // All events of the run are kept, for the replay.
    let node_flags = vec!["--event-retention=1000000".to_owned()];
    Cluster::start(Setup { symbols: SYMBOLS.to_vec(), node_flags, ..Setup::default() }).await
}

/// Demands that nobody took harm, that the nodes agree, and that exposure was within the limit at every index.
async fn unharmed(cluster: &mut Cluster) -> Result<()> {
    eventually("an audit without findings", || async { cluster.ledgerctl(&["audit"]).map(Some) }).await?;
    let exposure = cluster.read("/v1/exposure").await?;
    for side in ["long", "short"] {
        let within = units(&exposure[side]).zip(units(&exposure["limit"])).is_some_and(|(used, limit)| used <= limit);
        ensure!(within, "{exposure}");
    }
    for export in cluster.exports()? {
        let found = replay(&export);
        ensure!(found.violations.is_empty(), "the replay found: {:#?}", found.violations);
    }
    for id in cluster.ids() {
        let node = cluster.node(id)?;
        ensure!(node.is_running() && !node.said().contains("panicked"), "node {id}:\n{}", node.said());
    }
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn first_hints() -> BTreeMap<String, Vec<Value>> {
    let hints = [
        ("symbol", vec![json!(SYMBOLS[0]), json!(SYMBOLS[0]), json!(SYMBOLS[1]), json!("NOPE")]),
        ("maker", vec![json!("alpha")]),
        ("secret", vec![json!(hex(&SECRET))]),
        ("parameters", vec![json!(blake3::hash(COMMITTED.as_bytes()).to_string())]),
        ("text", vec![json!(COMMITTED)]),
        ("max", vec![Value::Null, json!(1_000)]),
        ("account", vec![json!("acc")]),
        ("ttl_ms", vec![json!(30_000), json!(9_000)]),
        ("tick_size", vec![json!("0.01")]),
        ("lot_size", vec![json!("0.001")]),
        ("exposure_per_lot", vec![json!(1)]),
        ("quote_seq", (1..2_000).map(Value::from).collect()),
        ("bid", vec![json!({"price": 9_900, "qty": 5}), json!({"price": 9_950, "qty": 200}), Value::Null]),
        ("ask", vec![json!({"price": 10_100, "qty": 5}), json!({"price": 9_000, "qty": 1}), Value::Null]),
        ("order_type", vec![json!("limit")]),
        ("time_in_force", vec![json!("gtc")]),
        ("price", vec![json!(9_000), json!(12_000)]),
        ("qty", vec![json!(3)]),
        ("remainder", vec![json!("rest"), json!("expire")]),
        ("min_index", vec![json!(1)]),
        ("from", vec![json!(1)]),
        ("to", vec![json!(1), json!(2), json!(3)]),
        ("x-quorate-cluster", vec![json!("quorate")]),
        ("x-quorate-deadline-ms", vec![json!(1_000)]),
    ];
    hints.map(|(name, values)| (name.to_owned(), values)).into()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_keeps_to_its_document_whatever_it_is_sent() -> Result<()> {
    let (seed, requests) = (setting("QUORATE_FUZZ_SEED", SEED)?, setting("QUORATE_FUZZ_REQUESTS", REQUESTS)?);
    println!("QUORATE_FUZZ_SEED={seed} QUORATE_FUZZ_REQUESTS={requests}");
    let mut cluster = start().await?;
    // A connection on which a body was refused half-read is not used again.
    let builder = reqwest::Client::builder().no_proxy().pool_max_idle_per_host(0);
    let http = builder.timeout(Duration::from_secs(15)).build()?;
    let (_, document) = cluster.get(1, "/openapi.json").await?;
    let mut fuzzer = Fuzzer::new(document, first_hints(), seed)?;
    // Whoever registers has the one secret, so that commands in its name can be taken.
    fuzzer.fix("secret_hash", vec![json!(blake3::hash(&SECRET).to_string())]);
    fuzzer.fix("room", vec![Value::Null, json!({"bid": 3, "ask": 4})]);
    let mut answers = Answers::default();
    let mut facts = Facts { next_seq: 1, ..Facts::default() };
    let mut touched: BTreeSet<String> = BTreeSet::new();
    for from in (0..requests).step_by(AT_ONCE) {
        facts.tell(&cluster, &mut fuzzer, &answers).await?;
        // A change of members that happens to be right would take the cluster apart; `api_bad_input` tries wrong ones.
        // Every other request is a command, for there are many kinds of them.
        let batch: Vec<Request> = (from..(from + AT_ONCE).min(requests))
            .map(|number| fuzzer.next(|_, path| path != MEMBERS && (number % 2 == 0 || path == COMMANDS)))
            .collect();
        let calls = batch.iter().zip(cluster.ids().into_iter().cycle()).map(|(request, id)| {
            let base = cluster.api(id);
            let (http, fuzzer) = (&http, &fuzzer);
            async move { try_one(http, &base, fuzzer, request).await.with_context(|| told(request)) }
        });
        for answer in join_all(calls).await {
            let (status, body) = answer?;
            *answers.statuses.entry(status).or_default() += 1;
            answers.count(&body);
        }
        touched.extend(batch.into_iter().map(|request| request.template));
    }
    println!("{requests} requests: {answers:?}");
    let missed: Vec<_> =
        fuzzer.operations().map(|(_, path)| path).filter(|path| !touched.contains(*path) && *path != MEMBERS).collect();
    ensure!(missed.is_empty(), "never tried: {missed:?}");
    for status in [200, 400, 404, 409, 415, 421, 422] {
        ensure!(answers.statuses.contains_key(&status), "no answer was {status}: {answers:?}");
    }
    ensure!(answers.refused.len() >= REFUSALS_MIN, "hardly anything reached the ledger: {answers:?}");
    ensure!(answers.accepted.len() >= ACCEPTED_MIN, "hardly anything was accepted: {answers:?}");
    unharmed(&mut cluster).await
}

/// A request, as far as one wants to read it.
fn told(request: &Request) -> String {
    let body = request.body.as_deref().map(String::from_utf8_lossy).unwrap_or_default();
    let short = |text: &str| text.chars().take(500).collect::<String>();
    format!("{} {} {:?} {}", request.method, short(&request.target), request.headers, short(&body))
}

/// The exchange's routes; order entry several times, for it has the most to read.
const ROUTES: [(&str, &str); 16] = [
    ("POST", "/api/v3/order"),
    ("POST", "/api/v3/order"),
    ("POST", "/api/v3/order"),
    ("POST", "/api/v3/order"),
    ("GET", "/api/v3/order"),
    ("DELETE", "/api/v3/order"),
    ("GET", "/api/v3/openOrders"),
    ("DELETE", "/api/v3/openOrders"),
    ("GET", "/api/v3/depth"),
    ("GET", "/api/v3/exchangeInfo"),
    ("GET", "/api/v3/ticker/bookTicker"),
    ("GET", "/api/v3/time"),
    ("PUT", "/v1/reference-prices/BTCUSDT"),
    ("GET", "/v1/reference-prices"),
    ("GET", "/health"),
    ("PATCH", "/metrics"),
];
/// Parameters, each with what it may be.
const PARAMETERS: [(&str, &[&str]); 14] = [
    ("symbol", &["BTCUSDT", "ETHUSDT", "NOPE"]),
    ("symbols", &["%5B%22BTCUSDT%22%5D"]),
    ("side", &["BUY", "SELL"]),
    ("type", &["LIMIT", "MARKET", "LIMIT_MAKER"]),
    ("timeInForce", &["GTC", "IOC", "FOK"]),
    ("quantity", &["0.001", "0.010", "0.1", "1000000"]),
    ("price", &["100.00", "90.00", "110.00", "99.99"]),
    ("newClientOrderId", &["a", "b", "c/d", "e:f"]),
    ("origClientOrderId", &["a", "b", "nobody"]),
    ("orderId", &["1", "20", "30"]),
    ("newOrderRespType", &["ACK", "RESULT", "FULL"]),
    ("limit", &["1", "5000", "0"]),
    ("recvWindow", &["5000"]),
    ("timestamp", &["1", "9999999999999"]),
];
/// What no parameter may be.
const NASTY: [&str; 14] = [
    "",
    "-1",
    "0",
    "1e400",
    "NaN",
    "0.0000000000001",
    "18446744073709551616",
    "99999999999999999999999999",
    "%00",
    "%ff%fe",
    "%F0%9F%A6%80",
    "'",
    "%26a=b",
    "null",
];

/// A form: an order as it should be with a few things changed, or pieces.
fn form(rng: &mut SmallRng) -> String {
    let pick = |rng: &mut SmallRng, from: &[&str]| (*from.choose(rng).unwrap_or(&"")).to_owned();
    let mut fields: BTreeMap<String, String> = BTreeMap::new();
    if rng.random_bool(0.7) {
        let limit = rng.random_bool(0.5);
        let kind = if limit { ("type", "LIMIT") } else { ("type", "MARKET") };
        let order =
            [("symbol", pick(rng, &SYMBOLS)), ("side", pick(rng, &["BUY", "SELL"])), ("quantity", "0.001".into())];
        fields.extend(order.map(|(name, value)| (name.to_owned(), value)));
        fields.insert(kind.0.into(), kind.1.into());
        if limit {
            fields.insert("price".into(), pick(rng, PARAMETERS[6].1));
            fields.insert("timeInForce".into(), pick(rng, PARAMETERS[4].1));
        }
    }
    for _ in 0..rng.random_range(0..3) {
        let (name, values) = *PARAMETERS.choose(rng).unwrap_or(&PARAMETERS[0]);
        let value = if rng.random_bool(0.3) { pick(rng, &NASTY) } else { pick(rng, values) };
        fields.insert(name.to_owned(), value);
    }
    let mut parts: Vec<String> = fields.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
    if rng.random_bool(0.05) {
        let part = parts.choose(rng).cloned().unwrap_or_else(|| "%ff".to_owned());
        parts.push(part);
    }
    parts.join("&")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_exchange_keeps_to_binances_shapes_whatever_it_is_sent() -> Result<()> {
    let (seed, requests) = (setting("QUORATE_FUZZ_SEED", SEED)?, setting("QUORATE_FUZZ_REQUESTS", REQUESTS)?);
    println!("QUORATE_FUZZ_SEED={seed} QUORATE_FUZZ_REQUESTS={requests}");
    let mut cluster = start().await?;
    cluster.start_exchange(&[]).await?;
    for maker in ["alpha", "beta"] {
        cluster.start_maker(maker, &MakerOptions::default())?;
    }
    cluster.all_quoted().await?;
    let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(15)).build()?;
    let mut rng = SmallRng::seed_from_u64(seed);
    let mut statuses: BTreeMap<(u16, i64), u32> = BTreeMap::new();
    let mut filled = 0_u32;
    for from in (0..requests).step_by(AT_ONCE) {
        let batch: Vec<(&str, String, Vec<u8>)> = (from..(from + AT_ONCE).min(requests))
            .map(|_| {
                let (method, path) = *ROUTES.choose(&mut rng).unwrap_or(&ROUTES[0]);
                let (query, body) = match rng.random_range(0..10) {
                    0..5 => (form(&mut rng), Vec::new()),
                    5..9 => (String::new(), form(&mut rng).into_bytes()),
                    _ => (form(&mut rng), rng.random::<[u8; 32]>().to_vec()),
                };
                (method, format!("{path}?{query}"), body)
            })
            .collect();
        let calls = batch.iter().map(|(method, target, body)| {
            let call = http.request(method.parse().unwrap_or_default(), format!("{}{target}", cluster.exchange_url()));
            async move {
                let answer = call.body(body.clone()).send().await?;
                let status = answer.status().as_u16();
                let bytes = answer.bytes().await?;
                anyhow::Ok((method, target, status, bytes))
            }
        });
        for answer in join_all(calls).await {
            let (method, target, status, bytes) = answer?;
            let body: Value = serde_json::from_slice(&bytes).unwrap_or_default();
            let code = body["code"].as_i64().unwrap_or_default();
            *statuses.entry((status, code)).or_default() += 1;
            ensure!(matches!(status, 200 | 400 | 404 | 405 | 409), "{method} {target}: {status} {body}");
            // An error is a code and a text, and nothing else is.
            let error = code < 0 && body["msg"].is_string() && body.as_object().is_some_and(|all| all.len() == 2);
            ensure!(error == (status != 200), "{method} {target}: {status} {body}");
            filled += u32::from(body["fills"].as_array().is_some_and(|fills| !fills.is_empty()));
        }
    }
    println!("{requests} requests, {filled} filled: {statuses:?}");
    let codes: BTreeSet<i64> = statuses.keys().map(|(_, code)| *code).collect();
    ensure!(codes.len() >= 12 && filled >= 20, "hardly anything was read: {filled} {statuses:?}");

    let exchange = cluster.exchange()?;
    ensure!(exchange.is_running() && !exchange.said().contains("panicked"), "the exchange:\n{}", exchange.said());
    let last = cluster.trader(1)?.place("last", "symbol=BTCUSDT&side=BUY&type=MARKET&quantity=0.001").await?;
    ensure!(last.code().is_none() && !last.is_unknown(), "nothing can be placed any more: {last:?}");
    unharmed(&mut cluster).await
}
