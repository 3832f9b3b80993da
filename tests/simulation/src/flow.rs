//! The one who sends orders: each through the exchange's HTTP API, each with one name, each to a known end, and all in
//! a journal. A call without an answer is unknown: it is asked for, or sent again under its name. Each order carries the time
//! at which it was made, as a client of Binance has to send it, and what has not arrived in its window is not there.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use http::{Method, Request};
use quorate_seams::{World, full_body, read_body};
use quorate_tests::evidence::Journal;
use rand::{Rng, rngs::SmallRng, seq::IndexedRandom};
use serde_json::Value;
use tokio::time::{Instant, sleep, timeout};

use crate::{
    clock::Machine,
    exchange::EXCHANGE_ADDRESS,
    note,
    plan::SYMBOLS,
    process::{Process, Who},
    sim::Sim,
};

/// The stream of the seed that orders are drawn from.
const FLOW_STREAM: u64 = 0x666c_6f77;
/// Where orders are placed, asked for and cancelled.
const ORDER: &str = "/api/v3/order";
/// How long one answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// Bytes of an answer at most.
const ANSWER_MAX_BYTES: usize = 1 << 20;
/// Pause before a further attempt.
const PAUSE: Duration = Duration::from_millis(400);
/// The windows in which orders count, in ms: an order's own choice.
const WINDOWS_MS: [u64; 2] = [5_000, 10_000];
/// No message is under way for longer than this, held back or not.
const UNDER_WAY_MAX: Duration = Duration::from_secs(30);
/// Code: may or may not have happened.
const UNKNOWN: i64 = -1007;
/// Code: no such order, now and later.
const NO_SUCH_ORDER: i64 = -2013;
/// Code: the time of the request lies outside of its window.
const TIMESTAMP: i64 = -1021;
/// What is said where the window has closed, and not where it has not opened.
const CLOSED: &str = "outside of the recvWindow";
/// Codes: not now, and not placed.
const PASSING: [i64; 4] = [-1001, -1003, -1008, -1015];
/// What is said of a name that is known, with another content or after a rejection.
const DUPLICATE: &str = "Duplicate";

/// What became of one request.
enum Reply {
    Done(Value),
    Refused(i64, String),
    Lost,
}

/// Sends orders, and remembers.
pub struct Flow {
    world: World,
    journal: Mutex<Journal>,
    pending: Mutex<u64>,
    /// How far the exchange's clock is ahead of this one, in ms, as it was last seen.
    ahead_ms: Mutex<i64>,
    sim: Arc<Sim>,
}

impl Flow {
    /// The flow of a run, not begun.
    #[must_use]
    pub fn new(sim: &Arc<Sim>) -> Arc<Self> {
        let machine = Machine::new(sim.zero, 0, 0);
        let process = Process::start(Who::Flow, 1, sim.process_seed(Who::Flow, 1), &machine, &sim.net, |_| {});
        Arc::new(Self {
            world: process.world,
            journal: Mutex::default(),
            pending: Mutex::default(),
            ahead_ms: Mutex::default(),
            sim: Arc::clone(sim),
        })
    }

    /// The journal as it stands.
    pub fn with_journal<T>(&self, look: impl FnOnce(&mut Journal) -> T) -> T {
        look(&mut self.journal.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Orders whose end is not known yet.
    #[must_use]
    pub fn pending(&self) -> u64 {
        *self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, by: i64) {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        *pending = pending.saturating_add_signed(by);
    }

    /// Sends orders at the plan's rate until it is dropped.
    pub async fn run(self: Arc<Self>) {
        let mut rng = self.sim.plan.part(FLOW_STREAM);
        let mut number = 0;
        let gap = 1_000 / self.sim.plan.orders_per_s;
        loop {
            sleep(Duration::from_millis(rng.random_range(1..=2 * gap))).await;
            number += 1;
            self.send(&mut rng, &format!("o{number}"));
        }
    }

    /// Sends one order, by itself.
    pub fn send(self: &Arc<Self>, rng: &mut SmallRng, name: &str) {
        let made_at = self.exchange_ms();
        let order = draw(rng, self.sim.plan.symbols, name, made_at);
        let cancel = rng.random_range(0..100) < 40;
        let choices = rng.random();
        self.count(1);
        self.with_journal(|journal| journal.orders.entry(name.to_owned()).or_default().intents += 1);
        let flow = Arc::clone(self);
        self.world.tasks.spawn(async move { flow.see_through(order, cancel, choices).await });
    }

    /// From the first attempt to a certain end.
    async fn see_through(self: Arc<Self>, order: Order, cancel: bool, choices: u64) {
        let mut unknown = false;
        // An attempt was refused for a reason that passes. A second copy of it may have been taken.
        let mut again = false;
        // From when on an order that is not there never will be: no copy of it can arrive and count.
        let mut too_late: Option<Instant> = None;
        let mut turn = choices;
        loop {
            turn = turn.rotate_left(7);
            // In doubt it is asked for or sent again, by turns.
            let ask = unknown && (too_late.is_some() || turn & 1 == 0);
            let reply = if ask {
                self.call(Method::GET, ORDER, &order.query()).await
            } else {
                self.call(Method::POST, ORDER, &order.form).await
            };
            match reply {
                Reply::Done(answer) => {
                    self.acked(&order.name, &answer, unknown);
                    if cancel && matches!(answer["status"].as_str(), Some("NEW" | "PARTIALLY_FILLED")) {
                        self.cancel(&order).await;
                    }
                    break;
                }
                Reply::Lost | Reply::Refused(UNKNOWN, _) => unknown = true,
                Reply::Refused(NO_SUCH_ORDER, _) if too_late.is_some_and(|from| Instant::now() >= from) => {
                    self.refused(&order.name, NO_SUCH_ORDER, unknown);
                    break;
                }
                // The first copy may be on its way.
                Reply::Refused(NO_SUCH_ORDER, _) if ask => {}
                // As if it had not been sent: it is sent again, until its window closes.
                Reply::Refused(code, _) if PASSING.contains(&code) => again = true,
                Reply::Refused(TIMESTAMP, text) if unknown || again => {
                    unknown = true;
                    // The exchange's clock may have been set back, so that the window has not opened yet.
                    let copies = if text.contains(CLOSED) { Duration::ZERO } else { UNDER_WAY_MAX };
                    too_late = Some(Instant::now() + copies);
                }
                // A name that is known: an earlier attempt was committed, and is to be asked for.
                Reply::Refused(_, text) if unknown && text.contains(DUPLICATE) => {}
                // In doubt a refusal is that of this attempt only.
                Reply::Refused(_, _) if unknown => {}
                Reply::Refused(code, _) => {
                    if code == TIMESTAMP {
                        self.read_the_clock().await;
                    }
                    self.refused(&order.name, code, unknown);
                    break;
                }
            }
            sleep(PAUSE).await;
        }
        self.count(-1);
    }

    /// The exchange's time, in ms since the Unix epoch, as far as it is known here.
    fn exchange_ms(&self) -> u64 {
        let ahead = *self.ahead_ms.lock().unwrap_or_else(PoisonError::into_inner);
        self.world.clocks.wall_ms().saturating_add_signed(ahead)
    }

    /// Learns how far the exchange's clock is off, as clients of Binance do after a refused timestamp.
    async fn read_the_clock(&self) {
        let Reply::Done(answer) = self.call(Method::GET, "/api/v3/time", "").await else { return };
        let Some(theirs) = answer["serverTime"].as_i64() else { return };
        let here = i64::try_from(self.world.clocks.wall_ms()).unwrap_or(i64::MAX);
        *self.ahead_ms.lock().unwrap_or_else(PoisonError::into_inner) = theirs.saturating_sub(here);
    }

    async fn cancel(&self, order: &Order) {
        sleep(Duration::from_millis(700)).await;
        // Whatever comes of it: it is the order's end that counts, and the ledger keeps that.
        let _ = self.call(Method::DELETE, ORDER, &order.query()).await;
    }

    async fn call(&self, method: Method, path: &str, parameters: &str) -> Reply {
        let uri = format!("http://{EXCHANGE_ADDRESS}{path}");
        let built = if method == Method::POST {
            Request::post(uri).body(full_body(parameters.to_owned().into()))
        } else {
            Request::builder().method(method).uri(format!("{uri}?{parameters}")).body(full_body(bytes::Bytes::new()))
        };
        let Ok(request) = built else { return Reply::Lost };
        let answered = timeout(ANSWER_MAX, async {
            let response = self.world.http.call(request).await.ok()?;
            let status = response.status();
            let body = read_body(response.into_body(), ANSWER_MAX_BYTES).await.ok()?;
            let value: Value = serde_json::from_slice(&body).ok()?;
            Some((status.is_success(), value))
        });
        match answered.await {
            Ok(Some((true, value))) => Reply::Done(value),
            Ok(Some((false, value))) => {
                let text = value["msg"].as_str().unwrap_or_default().to_owned();
                value["code"].as_i64().map_or(Reply::Lost, |code| Reply::Refused(code, text))
            }
            Ok(None) | Err(_) => Reply::Lost,
        }
    }

    fn acked(&self, name: &str, answer: &Value, was_unknown: bool) {
        let status = answer["status"].as_str().unwrap_or_default();
        note!(self.sim.trace, "{name} {status} {}", answer["executedQty"].as_str().unwrap_or_default());
        self.sim.count(format!("orders {status}"));
        self.with_journal(|journal| {
            journal.unknown_settled += u64::from(was_unknown);
            let sent = journal.orders.entry(name.to_owned()).or_default();
            sent.ended = true;
            sent.order_id = answer["orderId"].as_u64();
            sent.status = Some(status.to_owned());
            sent.executed_qty = answer["executedQty"].as_str().map(ToOwned::to_owned);
            for fill in answer["fills"].as_array().into_iter().flatten() {
                if let (Some(id), Some(qty)) = (fill["tradeId"].as_u64(), fill["qty"].as_str()) {
                    sent.trades.insert(id, qty.to_owned());
                }
            }
        });
    }

    fn refused(&self, name: &str, code: i64, was_unknown: bool) {
        note!(self.sim.trace, "{name} refused {code}");
        self.sim.count(format!("orders refused {code}"));
        self.with_journal(|journal| {
            journal.unknown_settled += u64::from(was_unknown);
            let sent = journal.orders.entry(name.to_owned()).or_default();
            sent.ended = true;
            sent.status = Some(format!("refused {code}"));
        });
    }
}

/// An order, as it is sent.
struct Order {
    name: String,
    symbol: &'static str,
    form: String,
}

impl Order {
    fn query(&self) -> String {
        format!("symbol={}&origClientOrderId={}", self.symbol, self.name)
    }
}

/// Mostly orders that take at once, some that rest, some that cannot be.
fn draw(rng: &mut SmallRng, symbols: usize, name: &str, made_at: u64) -> Order {
    let (symbol, reference, _) = SYMBOLS[..symbols].choose(rng).copied().unwrap_or(SYMBOLS[0]);
    let side = if rng.random_bool(0.5) { "BUY" } else { "SELL" };
    let lots = if rng.random_bool(0.1) { rng.random_range(10..=60) } else { rng.random_range(1..=6) };
    let reference: f64 = reference.parse().unwrap_or(1.0);
    // Within three in a thousand of where the walk began: some cross the quotes, some rest near them.
    let price = reference * (1.0 + rng.random_range(-0.003..=0.003));
    let rest = format!("&timeInForce=GTC&price={price:.2}");
    let kind = match rng.random_range(0..100) {
        0..60 => "type=MARKET".to_owned(),
        60..75 => format!("type=LIMIT&timeInForce=IOC&price={price:.2}"),
        75..88 => format!("type=LIMIT{rest}"),
        88..94 => format!("type=LIMIT&timeInForce=FOK&price={price:.2}"),
        _ => format!("type=LIMIT_MAKER&price={price:.2}"),
    };
    let window = WINDOWS_MS.choose(rng).copied().unwrap_or(WINDOWS_MS[0]);
    let form = format!(
        "symbol={symbol}&side={side}&{kind}&quantity=0.{lots:03}&newClientOrderId={name}&newOrderRespType=FULL\
         &timestamp={made_at}&recvWindow={window}"
    );
    Order { name: name.to_owned(), symbol, form }
}
