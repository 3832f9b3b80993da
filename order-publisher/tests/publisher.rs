//! The publisher against an exchange that loses requests and answers, doubts, and goes away. Whatever it
//! does, each order has one effect, and the journal says what became of it.

#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use clap::Parser;
use quorate_binance_api::{
    ApiError, Params,
    endpoints::Endpoint,
    model::OrderStatus,
    reference::{Believed, Given, Stamp},
    signing::{self, RECV_WINDOW_MAX_MS},
};
use quorate_order_publisher::{
    Config, Failure, PublishError, Settings,
    config::{RandomSettings, ReplaySettings},
    journal::Line,
    run,
    summary::Summary,
};
use quorate_seams::{Body, Call, CallError, Clocks, Failpoints, Http, Tasks, World, full_body, read_body, seeded_rng};
use rand::{Rng, rngs::SmallRng};
use serde_json::{Value, json};
use tokio::time::Instant;

#[derive(Debug)]
struct PausedClocks {
    began: Instant,
    ahead_ms: u64,
}

impl Clocks for PausedClocks {
    fn wall_ms(&self) -> u64 {
        1_700_000_000_000 + self.ahead_ms + u64::try_from(self.monotonic().as_millis()).unwrap()
    }
    fn monotonic(&self) -> Duration {
        self.began.elapsed()
    }
}

/// How the exchange behaves.
#[derive(Debug, Clone, Copy, Default)]
struct Manners {
    /// Of 100 orders so many are executed, and the answer is lost.
    answers_lost: u32,
    /// Of 100 orders so many never arrive, and the connection breaks.
    requests_lost: u32,
    /// Of 100 orders so many are answered with -1007; half of them were executed.
    doubts: u32,
    /// Of 100 orders so many are refused with -2010.
    refusals: u32,
    /// Orders are refused with -1001, as not done, until then.
    busy_until_ms: u64,
    /// While it is busy, a second copy of each request, which the network made, is taken.
    copies_taken: bool,
    /// No connection until then.
    away_until_ms: u64,
    /// Requests must be signed with this.
    secret: Option<&'static str>,
    /// There is a symbol `B`, which has no reference price.
    second: bool,
    /// No symbol has a reference price.
    priceless: bool,
    /// Cancels are refused with this code.
    cancels_refused: Option<i32>,
}

#[derive(Debug)]
struct State {
    manners: Manners,
    rng: SmallRng,
    /// By client order id: the answer, and how often it was asked to execute.
    orders: BTreeMap<String, Value>,
    executed: BTreeMap<String, u32>,
    references: Vec<String>,
    believed: Believed,
    posts: u64,
    most_at_once: usize,
    at_once: usize,
}

#[derive(Debug, Clone)]
struct Exchange {
    state: Arc<Mutex<State>>,
    clocks: Arc<PausedClocks>,
}

impl Http for Exchange {
    fn call(&self, request: http::Request<Body>) -> Call<'_> {
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let body = read_body(body, 1 << 20).await?;
            if self.clocks.wall_ms() < self.state.lock().unwrap().manners.away_until_ms {
                return Err(CallError::Connect("refused".into()));
            }
            {
                let mut state = self.state.lock().unwrap();
                state.at_once += 1;
                state.most_at_once = state.at_once.max(state.most_at_once);
            }
            tokio::time::sleep(Duration::from_millis(3)).await;
            let mut state = self.state.lock().unwrap();
            state.at_once -= 1;
            let query = parts.uri.query().unwrap_or_default();
            let path = (parts.method.as_str(), parts.uri.path());
            let body = std::str::from_utf8(&body).unwrap();
            let answer = match path {
                ("GET", "/api/v3/exchangeInfo") => Ok(exchange_info(state.manners.second)),
                ("GET", "/v1/reference-prices") if state.manners.priceless => Ok(json!([])),
                ("GET", "/v1/reference-prices") => {
                    Ok(json!([{"symbol": "A", "price": "100.00", "price_ticks": 10_000, "seq": 1}]))
                }
                ("PUT", "/v1/reference-prices/A") => {
                    let price: Value = serde_json::from_str(body).unwrap();
                    let number = |name: &str| price[name].as_u64();
                    let stamp = Stamp { epoch: 0, seq: number("seq"), time: number("time") };
                    let decimal = |name: &str| price[name].as_str().unwrap().parse().unwrap();
                    let given = Given::Best { bid: decimal("bid"), ask: decimal("ask") };
                    match state.believed.check(given, stamp) {
                        Ok(_) => {
                            state.references.push(price["bid"].as_str().unwrap().to_owned());
                            Ok(json!({}))
                        }
                        Err(doubt) => Err(ApiError::new(-1013, doubt.to_string())),
                    }
                }
                (method, "/api/v3/order") => {
                    let params = Params::parse(query, body).unwrap();
                    if let Some(secret) = state.manners.secret {
                        let signature = params.required("signature").unwrap();
                        signing::Secret::from(secret).verify(params.signed_text(), signature).unwrap();
                    }
                    Endpoint::find(method, parts.uri.path()).unwrap().check(&params).unwrap();
                    let (sent, window) = (params.timestamp_us().unwrap().unwrap(), params.recv_window_us().unwrap());
                    let late = signing::check_window(self.clocks.wall_ms() * 1_000, sent, window);
                    match method {
                        _ if late.is_err() => late.map(|()| Value::Null),
                        "POST" if self.clocks.wall_ms() < state.manners.busy_until_ms => {
                            if state.manners.copies_taken {
                                drop(state.place(&params));
                            }
                            Err(ApiError::disconnected("not done"))
                        }
                        "POST" => state.place(&params)?,
                        "GET" => state.find(&params),
                        "DELETE" => state.cancel(&params),
                        other => panic!("{other}"),
                    }
                }
                other => panic!("{other:?}"),
            };
            let (status, body) = match answer {
                Ok(body) => (200, body),
                Err(error) => (error.status(), serde_json::to_value(error).unwrap()),
            };
            let bytes = serde_json::to_vec(&body).unwrap();
            Ok(http::Response::builder().status(status).body(full_body(bytes.into())).unwrap())
        })
    }
}

fn exchange_info(second: bool) -> Value {
    let row = |symbol: &str| {
        json!({
            "symbol": symbol, "status": "TRADING", "baseAsset": symbol, "quoteAsset": "", "orderTypes": ["LIMIT"],
            "filters": [{"filterType": "PRICE_FILTER", "tickSize": "0.01"}, {"filterType": "LOT_SIZE", "stepSize": "0.1"}]
        })
    };
    let symbols = if second { vec![row("A"), row("B")] } else { vec![row("A")] };
    json!({"timezone": "UTC", "serverTime": 1, "symbols": symbols})
}

impl State {
    fn place(&mut self, params: &Params) -> Result<Result<Value, ApiError>, CallError> {
        let order = params.place_order().unwrap();
        let name = order.client_order_id.unwrap().to_string();
        self.posts += 1;
        if let Some(known) = self.orders.get(&name) {
            // A repeat: where it stands, without the fills.
            let mut known = known.clone();
            known["fills"] = json!([]);
            return Ok(Ok(known));
        }
        let luck = self.rng.random_range(0..100);
        let Manners { answers_lost, requests_lost, doubts, refusals, .. } = self.manners;
        if luck < requests_lost {
            return Err(CallError::Broken("lost on the way".into()));
        }
        if luck < requests_lost + refusals {
            return Ok(Err(ApiError::rejected("no")));
        }
        let doubtful = luck < requests_lost + refusals + doubts;
        if doubtful && self.rng.random() {
            return Ok(Err(ApiError::unknown()));
        }
        let id = self.orders.len() as u64 + 1;
        *self.executed.entry(name.clone()).or_default() += 1;
        let rests = params.get("timeInForce") == Some("GTC");
        let status = if rests { OrderStatus::New } else { OrderStatus::Filled };
        let qty = params.get("quantity").unwrap();
        let price = params.get("price").unwrap_or("100.05");
        let filled = if rests { "0.0" } else { qty };
        let fills = if rests {
            json!([])
        } else {
            json!([{"price": price, "qty": qty, "commission": "0", "commissionAsset": "", "tradeId": id}])
        };
        let answer = json!({
            "symbol": "A", "orderId": id, "orderListId": -1, "clientOrderId": name, "transactTime": 1,
            "price": price, "origQty": qty, "executedQty": filled, "cummulativeQuoteQty": "1", "status": status,
            "timeInForce": order.time_in_force, "type": order.order_type, "side": order.side, "fills": fills,
        });
        self.orders.insert(name, answer.clone());
        if doubtful {
            return Ok(Err(ApiError::unknown()));
        }
        if luck < requests_lost + refusals + doubts + answers_lost {
            return Err(CallError::Broken("answer lost".into()));
        }
        Ok(Ok(answer))
    }

    fn find(&self, params: &Params) -> Result<Value, ApiError> {
        let known = self.orders.get(params.get("origClientOrderId").unwrap()).ok_or_else(ApiError::no_such_order)?;
        let mut info = known.clone();
        let fields = info.as_object_mut().unwrap();
        fields.remove("fills");
        fields.insert("time".into(), json!(1));
        fields.insert("isWorking".into(), json!(false));
        Ok(info)
    }

    fn cancel(&mut self, params: &Params) -> Result<Value, ApiError> {
        if let Some(code) = self.manners.cancels_refused {
            return Err(ApiError::new(code, "no"));
        }
        let known = self.orders.get_mut(params.get("origClientOrderId").unwrap());
        known.ok_or_else(ApiError::cancel_rejected)?["status"] = json!("CANCELED");
        self.find(params)
    }
}

struct Setup {
    exchange: Exchange,
    dir: tempfile::TempDir,
}

impl Setup {
    fn new(manners: Manners) -> Self {
        let state = State {
            manners,
            rng: seeded_rng(1, 1),
            orders: BTreeMap::new(),
            executed: BTreeMap::new(),
            references: Vec::new(),
            believed: Believed::default(),
            posts: 0,
            most_at_once: 0,
            at_once: 0,
        };
        let clocks = Arc::new(PausedClocks { began: Instant::now(), ahead_ms: 0 });
        let exchange = Exchange { state: Arc::new(Mutex::new(state)), clocks };
        Self { exchange, dir: tempfile::tempdir().unwrap() }
    }

    fn world(&self) -> World {
        World {
            clocks: self.exchange.clocks.clone(),
            http: Arc::new(self.exchange.clone()),
            tasks: Tasks::new(),
            seed: 99,
            failpoints: Failpoints::none(),
        }
    }

    fn journal(&self) -> std::path::PathBuf {
        self.dir.path().join("journal.jsonl")
    }

    fn random(&self, flags: &str) -> Config {
        #[derive(Parser)]
        struct Cli {
            #[command(flatten)]
            settings: Settings,
            #[command(flatten)]
            random: RandomSettings,
        }
        let journal = self.journal();
        let given = ["publisher", "--journal", journal.to_str().unwrap()];
        let cli = Cli::try_parse_from(given.into_iter().chain(flags.split_whitespace())).unwrap();
        cli.settings.random(cli.random).unwrap()
    }

    fn replay(&self, capture: &Path, flags: &str) -> Config {
        #[derive(Parser)]
        struct Cli {
            #[command(flatten)]
            settings: Settings,
            #[command(flatten)]
            replay: ReplaySettings,
        }
        let (journal, capture) = (self.journal(), capture.to_str().unwrap());
        let given = ["publisher", "--capture", capture, "--symbol", "A", "--journal", journal.to_str().unwrap()];
        let cli = Cli::try_parse_from(given.into_iter().chain(flags.split_whitespace())).unwrap();
        cli.settings.replay(cli.replay).unwrap()
    }

    /// Writes a capture, and replays it.
    async fn replayed(&self, capture: &str, flags: &str) -> Result<Summary, Failure> {
        let path = self.dir.path().join("capture");
        std::fs::write(&path, capture).unwrap();
        run(self.replay(&path, flags), self.world(), std::future::pending()).await
    }

    /// How a run fails, how long it took, and what it came to.
    async fn failed(&self, config: Config) -> (PublishError, Duration, Summary) {
        let began = Instant::now();
        let failure = run(config, self.world(), std::future::pending()).await.unwrap_err();
        (failure.error, began.elapsed(), *failure.summary.unwrap())
    }

    async fn run(&self, flags: &str) -> Summary {
        run(self.random(flags), self.world(), std::future::pending()).await.unwrap()
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.exchange.state.lock().unwrap()
    }

    /// Holds the journal against what the exchange did.
    fn judge(&self, orders: usize) {
        let lines = read(&self.journal());
        let state = self.state();
        let mut intents = BTreeSet::new();
        let mut ends = BTreeMap::new();
        for line in lines {
            match line {
                Line::Intent(intent) => assert!(intents.insert(intent.order.client_order_id), "one intent each"),
                Line::Ack(answer) | Line::Settled(answer) => {
                    assert!(intents.contains(&answer.order.client_order_id), "the intent stands before the answer");
                    let name = answer.order.client_order_id.clone();
                    assert!(ends.insert(name, answer).is_none(), "one end each");
                }
                Line::Unknown(answer) => panic!("left unknown: {answer:?}"),
                Line::Run(_) | Line::Cancel(_) => {}
            }
        }
        assert_eq!(intents.len(), orders);
        assert_eq!(intents, ends.keys().cloned().collect(), "every order has an end");
        assert!(state.executed.values().all(|times| *times == 1), "nothing is executed twice");
        for (name, end) in &ends {
            let known = state.orders.get(name);
            assert_eq!(end.order_id, known.map(|order| order["orderId"].as_u64().unwrap()), "{end:?}");
            assert_eq!(end.executed_qty.as_deref(), known.map(|order| order["executedQty"].as_str().unwrap()));
        }
        assert!(state.orders.keys().all(|name| intents.contains(name)), "nothing was sent without an intent");
    }
}

fn read(path: &Path) -> Vec<Line> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test(start_paused = true)]
async fn every_order_has_one_effect_and_a_known_end() {
    let manners = Manners { answers_lost: 15, requests_lost: 15, doubts: 15, refusals: 10, ..Manners::default() };
    let setup = Setup::new(manners);
    let summary = setup.run("--seed 5 --rate 200 --count 600 --in-flight 8 --resting-max 10").await;
    setup.judge(600);
    assert_eq!((summary.sent, summary.ended()), (600, 600));
    assert!(summary.filled > 300 && summary.rested > 50 && summary.cancelled > 40, "{summary:?}");
    assert!(summary.rejected[&-2010] > 30 && summary.expired == 0);
    assert!(summary.unknown.settled_by_query > 50 && summary.unknown.settled_by_resend > 50);
    assert_eq!(summary.unknown.left, 0);
    assert_eq!(summary.unknown.seen, summary.unknown.settled_by_query + summary.unknown.settled_by_resend);
    assert!(summary.latency.p50_ms >= 3.0);
    // One more call at once than orders in flight: the look at the reference prices.
    assert!((8..=9).contains(&setup.state().most_at_once), "{}", setup.state().most_at_once);
}

#[tokio::test(start_paused = true)]
async fn a_publisher_that_is_killed_goes_on_where_it_was() {
    let manners = Manners { answers_lost: 20, requests_lost: 20, ..Manners::default() };
    let setup = Setup::new(manners);
    let flags = "--seed 5 --rate 500 --count 300";
    for at in 0..5u64 {
        let world = setup.world();
        let life = Duration::from_millis(60 + 37 * at);
        let cut = tokio::time::timeout(life, run(setup.random(flags), world.clone(), std::future::pending())).await;
        assert!(cut.is_err(), "killed while it sends");
        world.tasks.abort_all();
        // What was on its way to the disk gets there or not; the lock goes with the process.
        tokio::time::sleep(Duration::from_secs(1)).await;
        // A line that was cut short.
        let mut bytes = std::fs::read(setup.journal()).unwrap();
        bytes.extend_from_slice(b"{\"t\":\"ack\",\"client");
        std::fs::write(setup.journal(), bytes).unwrap();
    }
    let before = read_whole(&setup.journal());
    assert!(before > 20 && before < 300, "{before}");
    let summary = setup.run(flags).await;
    setup.judge(300);
    assert!(summary.resumed > 0);
    assert_eq!(summary.sent + u64::try_from(before).unwrap(), 300);
}

fn read_whole(path: &Path) -> usize {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().filter(|line| line.starts_with("{\"t\":\"intent\"")).count()
}

#[tokio::test(start_paused = true)]
async fn an_exchange_that_is_away_is_waited_for() {
    let setup = Setup::new(Manners::default());
    let world = setup.world();
    let running = tokio::spawn(run(setup.random("--seed 1 --rate 100 --count 400"), world, std::future::pending()));
    tokio::time::sleep(Duration::from_secs(1)).await;
    setup.state().manners.away_until_ms = setup.exchange.clocks.wall_ms() + 10_000;
    let summary = running.await.unwrap().unwrap();
    setup.judge(400);
    assert_eq!((summary.not_sent, summary.unknown.left), (0, 0));
    assert!(summary.seconds > 11.0);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_that_passes_is_waited_out_and_then_said() {
    let setup = Setup::new(Manners::default());
    setup.state().manners.busy_until_ms = setup.exchange.clocks.wall_ms() + 10_000;
    let summary = setup.run("--seed 1 --rate 100 --count 40").await;
    setup.judge(40);
    assert!(summary.rejected.is_empty() && summary.unknown.seen == 0, "{summary:?}");
    // Where it does not pass, it is an answer like any other, after so much patience.
    let setup = Setup::new(Manners { busy_until_ms: u64::MAX, ..Manners::default() });
    let summary = setup.run("--seed 1 --count 3 --patience-seconds 2").await;
    setup.judge(3);
    assert_eq!((summary.rejected[&-1001], summary.unknown.seen), (3, 0));
    assert!(summary.seconds >= 2.0, "{}", summary.seconds);
}

/// The window closes on attempts that were all refused for a reason that passes, and a copy of one of them was taken.
#[tokio::test(start_paused = true)]
async fn an_order_that_comes_too_late_at_last_is_asked_for_before_it_counts_as_refused() {
    let setup = Setup::new(Manners { copies_taken: true, ..Manners::default() });
    setup.state().manners.busy_until_ms = setup.exchange.clocks.wall_ms() + RECV_WINDOW_MAX_MS + 1_000;
    let summary = setup.run("--seed 1 --count 3 --patience-seconds 120").await;
    setup.judge(3);
    assert!(summary.rejected.is_empty() && summary.unknown.left == 0, "{summary:?}");
    assert_eq!(setup.state().executed.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_sent_or_settled_is_said_so() {
    let setup = Setup::new(Manners { requests_lost: 100, ..Manners::default() });
    let summary = setup.run("--seed 1 --count 3 --patience-seconds 2").await;
    assert_eq!((summary.unknown.left, summary.ended()), (3, 3));
    let unknown = read(&setup.journal()).into_iter().filter(|line| matches!(line, Line::Unknown(_))).count();
    assert_eq!(unknown, 3);
    // The next run tries them again.
    setup.state().manners = Manners::default();
    let summary = setup.run("--seed 1 --count 5").await;
    assert_eq!((summary.resumed, summary.sent, summary.unknown.settled_by_resend), (3, 2, 3));
}

#[tokio::test(start_paused = true)]
async fn a_stop_ends_the_sending_and_settles_what_is_open() {
    let setup = Setup::new(Manners { answers_lost: 30, ..Manners::default() });
    let stop = tokio::time::sleep(Duration::from_secs(2));
    let summary = run(setup.random("--seed 1 --rate 100"), setup.world(), stop).await.unwrap();
    assert!((100..400).contains(&summary.sent), "{}", summary.sent);
    setup.judge(usize::try_from(summary.sent).unwrap());
}

#[tokio::test(start_paused = true)]
async fn requests_are_signed_where_there_is_a_secret() {
    let manners = Manners { secret: Some("s3cret"), answers_lost: 30, ..Manners::default() };
    let setup = Setup::new(manners);
    setup.run("--seed 1 --count 50 --api-key k --api-secret s3cret --resting-max 0").await;
    setup.judge(50);
}

#[tokio::test(start_paused = true)]
async fn a_journal_belongs_to_one_run_and_one_process() {
    let setup = Setup::new(Manners::default());
    setup.run("--seed 1 --count 5").await;
    let other = run(setup.random("--seed 2 --count 10"), setup.world(), std::future::pending()).await;
    assert!(matches!(other, Err(Failure { error: PublishError::OtherRun { field: "seed", .. }, .. })));
    let world = setup.world();
    let running = tokio::spawn(run(setup.random("--count 1000 --rate 10"), world, std::future::pending()));
    tokio::time::sleep(Duration::from_secs(1)).await;
    let second = run(setup.random("--count 1000"), setup.world(), std::future::pending()).await;
    assert!(matches!(second, Err(Failure { error: PublishError::Journal(_), .. })));
    running.abort();
}

#[tokio::test(start_paused = true)]
async fn recorded_trades_are_sent_and_the_reference_price_follows() {
    let setup = Setup::new(Manners { answers_lost: 10, ..Manners::default() });
    let mut capture = String::new();
    for at in 0..100u64 {
        let ns = 1_000_000_000 + at * 50_000_000;
        capture.push_str(&format!(
            "{ns} {{\"stream\":\"a@bookTicker\",\"data\":{{\"u\":{at},\"s\":\"A\",\"b\":\"{}.01\",\"B\":\"1\",\"a\":\"{}.05\",\"A\":\"1\"}}}}\n",
            100 + at,
            100 + at,
        ));
        capture.push_str(&format!(
            "{ns} {{\"stream\":\"a@trade\",\"data\":{{\"s\":\"A\",\"t\":{at},\"p\":\"100\",\"q\":\"0.7\",\"T\":1,\"m\":{}}}}}\n",
            at % 2 == 0,
        ));
    }
    let path = setup.dir.path().join("capture");
    std::fs::write(&path, capture).unwrap();
    let config = |count: &str| setup.replay(&path, &format!("--max-lots 5 --count {count}"));
    let first = run(config("40"), setup.world(), std::future::pending()).await.unwrap();
    assert_eq!(first.sent, 40);
    let second = run(config("1000"), setup.world(), std::future::pending()).await.unwrap();
    assert_eq!(second.sent, 60, "each recorded trade once, over both runs");
    assert!((2.9..3.5).contains(&second.seconds), "{}", second.seconds);
    setup.judge(100);
    let state = setup.state();
    assert!(state.orders.values().all(|order| order["origQty"] == "0.5" && order["type"] == "MARKET"));
    assert_eq!(state.references.last().unwrap(), "199.01");
    assert!(state.references.len() > 80);
}

#[tokio::test(start_paused = true)]
async fn the_reference_price_follows_also_after_a_jump_of_the_recorders_clock() {
    let setup = Setup::new(Manners::default());
    // Fifty years ahead for two seconds, and back; then best prices whose number is below that of those before them.
    let far = 1_577_880_000;
    let lines = [(1, 1), (far, 2), (far + 2, 3), (3, 4), (5, 5), (7, 2), (9, 6)].map(|(s, u)| {
        let best = format!(r#"{{"s":"A","u":{u},"b":"10{u}.01","B":"1","a":"10{u}.05","A":"1"}}"#);
        let trade = format!(r#"{{"s":"A","t":{s},"p":"100","q":"0.7","T":1,"m":true}}"#);
        let ns = s * 1_000_000_000_u64;
        format!(
            "{ns} {{\"stream\":\"a@bookTicker\",\"data\":{best}}}\n{ns} {{\"stream\":\"a@trade\",\"data\":{trade}}}\n"
        )
    });
    setup.replayed(&lines.concat(), "").await.unwrap();
    // Of prices that come at once the newest is set.
    let mut taken = setup.state().references.clone();
    taken.dedup();
    assert_eq!(taken, ["102.01", "104.01", "105.01", "106.01"]);
}

/// Trades of `A`, ten a second.
fn trades(count: u64) -> Vec<String> {
    let trade = |t| {
        let ns = 1_000_000_000 + t * 100_000_000;
        format!(r#"{ns} {{"stream":"a@trade","data":{{"s":"A","t":{t},"p":"100","q":"0.7","T":1,"m":true}}}}"#)
    };
    (0..count).map(trade).collect()
}

#[tokio::test(start_paused = true)]
async fn a_torn_end_of_a_capture_is_its_end() {
    let setup = Setup::new(Manners { answers_lost: 30, ..Manners::default() });
    let torn = format!("{}\n{}", trades(20).join("\n"), &trades(1)[0][..40]);
    let summary = setup.replayed(&torn, "").await.unwrap();
    assert_eq!((summary.sent, summary.ended(), summary.unknown.left), (20, 20, 0));
    setup.judge(20);
}

#[tokio::test(start_paused = true)]
async fn a_damaged_capture_is_an_error_after_what_was_sent_is_settled_and_summed_up() {
    let setup = Setup::new(Manners { answers_lost: 50, ..Manners::default() });
    let mut lines = trades(20);
    lines.insert(15, "nonsense".to_owned());
    let Failure { error, summary } = setup.replayed(&lines.join("\n"), "").await.unwrap_err();
    assert!(error.to_string().contains("capture:16: "), "{error}");
    let summary = summary.unwrap();
    assert_eq!((summary.sent, summary.ended(), summary.unknown.left), (15, 15, 0));
    assert!(summary.error.as_ref().unwrap().contains("capture:16: ") && summary.unknown.settled_by_query > 0);
    setup.judge(15);
}

#[tokio::test(start_paused = true)]
async fn a_capture_that_has_nothing_to_send_is_refused_with_what_it_has() {
    let setup = Setup::new(Manners::default());
    for (capture, holds) in [
        (trades(3).join("\n").replace("\"A\"", "\"C\""), "3 lines of trade of C"),
        (trades(3).join("\n").replace("@trade", "@aggTrade"), "3 lines of aggTrade of A"),
        (trades(3).join("\n").replace("\"m\"", "\"X\":\"NA\",\"m\""), "3 lines of trade of A by no orders"),
        (String::new(), "nothing"),
    ] {
        let Failure { error, summary } = setup.replayed(&capture, "").await.unwrap_err();
        assert!(error.to_string().contains(holds), "{error}");
        assert_eq!(summary.unwrap().sent, 0);
    }
    let mixed = trades(4).join("\n").replace("\"t\":2,", "\"t\":2,\"X\":\"INSURANCE_FUND\",");
    let summary = setup.replayed(&mixed, "").await.unwrap();
    assert_eq!((summary.sent, summary.skipped_trades), (3, 1));
    // All of it was sent by an earlier run of this journal: there is nothing to do, and nothing is wrong.
    assert_eq!(setup.replayed(&mixed, "").await.unwrap().sent, 0);
}

#[tokio::test(start_paused = true)]
async fn a_symbol_without_a_price_is_passed_over_and_none_at_all_is_an_error() {
    let setup = Setup::new(Manners { second: true, ..Manners::default() });
    let summary = setup.run("--seed 1 --rate 100 --count 200").await;
    assert_eq!((summary.sent, summary.filled + summary.rested), (200, 200));
    assert!(summary.seconds < 10.0, "{}", summary.seconds);
    let setup = Setup::new(Manners { second: true, priceless: true, ..Manners::default() });
    let (error, took, summary) = setup.failed(setup.random("--patience-seconds 7")).await;
    assert!(matches!(&error, PublishError::NoPrice { symbols, .. } if symbols == "A, B"), "{error}");
    assert!(summary.sent == 0 && took < Duration::from_secs(9), "{took:?}");
    let (error, took, _) = setup.failed(setup.random("--seconds 3")).await;
    assert!(matches!(error, PublishError::NothingSent(_)) && took < Duration::from_secs(4), "{error} {took:?}");
}

#[tokio::test(start_paused = true)]
async fn what_is_not_there_is_told_within_the_time_that_the_run_may_take() {
    let setup = Setup::new(Manners::default());
    let (error, took, _) = setup.failed(setup.random("--symbols NOSUCH")).await;
    assert!(error.to_string().contains("the exchange has no NOSUCH; it has A"), "{error}");
    assert!(took < Duration::from_secs(11), "{took:?}");
    let (error, took, _) = setup.failed(setup.random("--symbols NOSUCH --seconds 2")).await;
    assert!(matches!(error, PublishError::NoSymbol { .. }) && took < Duration::from_secs(3), "{error} {took:?}");
    setup.state().manners.away_until_ms = u64::MAX;
    let (error, took, _) = setup.failed(setup.random("--seconds 2")).await;
    assert!(matches!(error, PublishError::NoExchange { .. }) && took < Duration::from_secs(3), "{error} {took:?}");
    let (_, took, _) = setup.failed(setup.random("--patience-seconds 20")).await;
    assert!((20..22).contains(&took.as_secs()), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn what_rests_is_taken_back_at_the_end() {
    let resting = |setup: &Setup| setup.state().orders.values().filter(|order| order["status"] == "NEW").count();
    let setup = Setup::new(Manners { answers_lost: 20, ..Manners::default() });
    let flags = "--seed 3 --rate 100 --cross-share 0.2";
    let world = setup.world();
    let killed = run(setup.random(&format!("{flags} --count 1000")), world.clone(), std::future::pending());
    assert!(tokio::time::timeout(Duration::from_secs(1), killed).await.is_err());
    world.tasks.abort_all();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(resting(&setup) > 20, "{}", resting(&setup));
    // The exchange comes back while what rests is taken back.
    let stop = async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        setup.state().manners.away_until_ms = setup.exchange.clocks.wall_ms() + 5_000;
    };
    let summary = run(setup.random(flags), setup.world(), stop).await.unwrap();
    assert!(summary.rested > 20 && summary.cancelled > summary.rested, "{summary:?}");
    assert_eq!((resting(&setup), summary.left_resting), (0, 0), "those of the killed run as well");
    assert!(summary.is_settled());
}

#[tokio::test(start_paused = true)]
async fn an_order_that_cannot_be_taken_back_is_counted_at_once_where_the_refusal_is_for_good() {
    let flags = "--seed 3 --rate 100 --count 100 --cross-share 0.2 --resting-max 10 --patience-seconds 40";
    for (code, seconds) in [(-1022, 0.5..4.0), (-1121, 0.5..4.0), (-1001, 40.0..44.0)] {
        let setup = Setup::new(Manners { cancels_refused: Some(code), ..Manners::default() });
        let summary = setup.run(flags).await;
        assert!(summary.rested > 50, "{summary:?}");
        assert_eq!((summary.cancelled, summary.left_resting), (0, summary.rested), "{code}");
        assert!(!summary.is_settled());
        assert!(seconds.contains(&summary.seconds), "{code}: {}", summary.seconds);
    }
    // What was refused while the run lasted is taken back at its end.
    let setup = Setup::new(Manners { cancels_refused: Some(-1022), ..Manners::default() });
    let world = setup.world();
    let stop = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        setup.state().manners.cancels_refused = None;
    };
    let summary = run(setup.random(&flags.replace(" --count 100", "")), world, stop).await.unwrap();
    assert_eq!((summary.cancelled, summary.left_resting), (summary.rested, 0), "{summary:?}");
    assert!(summary.is_settled());
}

#[tokio::test(start_paused = true)]
async fn an_order_that_can_no_longer_arrive_is_known_not_to_be_there() {
    let setup = Setup::new(Manners { requests_lost: 100, ..Manners::default() });
    let summary = setup.run("--seed 1 --count 3 --patience-seconds 120").await;
    // Its window has closed: the exchange takes it no more, and had not taken it.
    assert_eq!((summary.rejected[&-2013], summary.unknown.left), (3, 0));
    assert!((60.0..70.0).contains(&summary.seconds), "{}", summary.seconds);
}

#[tokio::test(start_paused = true)]
async fn an_order_whose_window_has_not_opened_is_not_taken_for_one_that_cannot_arrive() {
    let mut setup = Setup::new(Manners { requests_lost: 100, ..Manners::default() });
    let clocks = |ahead: u64| Arc::new(PausedClocks { began: Instant::now(), ahead_ms: ahead * 1_000 });
    setup.exchange.clocks = clocks(30);
    let summary = setup.run("--seed 1 --count 3 --patience-seconds 2").await;
    assert_eq!((summary.sent, summary.unknown.left), (3, 3));
    // All clocks were 30 s ahead, and are set right: the orders count only in a while.
    setup.exchange.clocks = clocks(0);
    setup.state().manners = Manners::default();
    let summary = setup.run("--seed 1 --count 4 --patience-seconds 60").await;
    assert_eq!((summary.unknown.settled_by_resend, summary.unknown.left), (3, 0), "{summary:?}");
    assert!(summary.rejected.is_empty() && summary.seconds > 20.0, "{summary:?}");
    assert!(setup.state().executed.values().all(|times| *times == 1));
}
