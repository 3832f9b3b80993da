//! A client that sends what it should not, knowing all that one can know: the ledger must refuse every bit of it.

use std::time::Duration;

use quorate_api::{Applied, QuoteView};
use quorate_client::ReadOptions;
use quorate_domain::{Exposure, Instrument, Millis, OrderType, Price, Qty, QuoteSide, Side, Symbol, TimeInForce};
use quorate_ledger::{
    Against, Answer, CancelOrder, Command, DefineSymbol, Envelope, ExecuteOrder, MakerRef, NewOrder, Outcome,
    PlaceQuote, PlannedFill, PullQuote, QuoteCause, Refusal, RegisterMaker, ReleaseSymbol, Remainder, Response,
    SetExposureLimit, SetKillSwitch, UpgradeLedger, bounds::SESSION_IDLE_MS,
};
use quorate_seams::{full_body, read_body};
use tokio::time::{sleep, timeout};

use super::Scene;
use crate::{clock::EPOCH_MS, node::api_address};

/// How long one answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(2);
/// How long it does nothing in between.
const IDLE: Duration = Duration::from_secs(2);

pub(super) async fn happen(mut scene: Scene) {
    scene.happened("");
    let Some(mut session) = Session::open(&scene).await else { return };
    for command in without_knowledge(&mut scene) {
        session.must_refuse(&scene, command).await;
    }
    // Idle, but not for long: it is kept.
    sleep(IDLE).await;
    for mut command in with_knowledge(&mut scene).await {
        if let Command::ExecuteOrder(order) = &mut command {
            // Whoever is too early is told which number would be the next one.
            let early = Command::ExecuteOrder(ExecuteOrder { exec_id: u64::MAX, ..order.clone() });
            let told = session.must_refuse(&scene, early).await;
            let Some(Refusal::ExecGap { expected }) = told else { continue };
            order.exec_id = expected;
        }
        session.must_refuse(&scene, command).await;
    }
    let id = session.id;
    for (session, seq) in [(id, 1), (id, 0), (0, 0), (u64::MAX, 1)] {
        let command = Command::RenewMaker(MakerRef { maker: name(), incarnation: 2 });
        let Some(response) = send(&scene, Envelope { session, seq, command }).await else { continue };
        let named = match &response.outcome {
            Outcome::Refused(Refusal::SessionRequired) => session == 0,
            Outcome::Refused(Refusal::SessionExpired { .. }) => session != 0,
            Outcome::Refused(Refusal::SeqReused { .. } | Refusal::SeqTooOld { .. }) => session == id,
            Outcome::Refused(_) | Outcome::Accepted(_) => false,
        };
        if !named {
            scene.sim.wrong("mischief is refused", format!("number {seq} of session {session}: {response:?}"));
        }
    }
    send(&scene, Envelope { session: id, seq: 1_000, command: Command::CloseSession }).await;
}

/// A session of its own.
struct Session {
    id: u64,
    seq: u64,
    /// Log time of its last answer.
    used: Millis,
}

impl Session {
    async fn open(scene: &Scene) -> Option<Self> {
        let response = send(scene, Envelope { session: 0, seq: 0, command: Command::OpenSession }).await?;
        match response.outcome {
            Outcome::Accepted(Answer::SessionOpened { session: id }) => {
                Some(Self { id, seq: 0, used: response.log_time })
            }
            Outcome::Accepted(_) | Outcome::Refused(_) => None,
        }
    }

    /// Sends a command that is wrong; why it was refused, where that was said.
    async fn must_refuse(&mut self, scene: &Scene, command: Command) -> Option<Refusal> {
        self.seq += 1;
        let envelope = Envelope { session: self.id, seq: self.seq, command };
        let sent = format!("{envelope:?}");
        let response = send(scene, envelope).await?;
        let idle = response.log_time.since(self.used);
        self.used = response.log_time;
        match response.outcome {
            Outcome::Refused(Refusal::SessionExpired { .. }) if idle < SESSION_IDLE_MS => {
                scene.sim.wrong("sessions are kept", format!("{sent} found its session gone after {idle} ms"));
                None
            }
            Outcome::Refused(refusal) => Some(refusal),
            Outcome::Accepted(answer) => {
                scene.sim.wrong("mischief is refused", format!("{sent} was accepted: {answer:?}"));
                None
            }
        }
    }
}

fn name<T: std::str::FromStr<Err: std::fmt::Debug>>() -> T {
    "mischief".parse().expect("a name")
}

/// Sends a command once, to some node. What came of it, where anything was said.
async fn send(scene: &Scene, envelope: Envelope) -> Option<Response> {
    let id = scene.up().first().copied()?;
    let body = serde_json::to_vec(&[envelope]).ok()?;
    let request = http::Request::post(format!("http://{}{}", api_address(id), quorate_api::paths::COMMANDS))
        .header("content-type", "application/json")
        .body(full_body(body.into()))
        .ok()?;
    let answered = timeout(ANSWER_MAX, async {
        let response = scene.operator.process.world.http.call(request).await.ok()?;
        read_body(response.into_body(), 1 << 20).await.ok()
    });
    let answer: Vec<Applied> = serde_json::from_slice(&answered.await.ok()??).ok()?;
    match answer.into_iter().next()? {
        Applied::Response(response) => Some(response),
        Applied::Problem(_) => None,
    }
}

fn quote(symbol: &Symbol, epoch: u64, bid: i64, ask: i64) -> PlaceQuote {
    let side = |price| Some(QuoteSide { price: Price(price), qty: Qty(1) });
    PlaceQuote {
        symbol: symbol.clone(),
        incarnation: 1,
        epoch,
        quote_seq: 1,
        position_seq: 0,
        bid: side(bid),
        ask: side(ask),
        allow_reduced: true,
        ttl_ms: 1_000,
        cause: QuoteCause::Refresh,
        computed_at: 1,
    }
}

/// One lot at the lowest price there is, which rests; made at `now`, and soon too late.
fn order(symbol: &Symbol, exchange_epoch: u64, now: Millis) -> ExecuteOrder {
    ExecuteOrder {
        exchange_epoch,
        exec_id: 1,
        answered_below: 1,
        deadline: now.plus(5_000),
        order: NewOrder {
            account: name(),
            client_order_id: name(),
            symbol: symbol.clone(),
            side: Side::Buy,
            order_type: OrderType::Limit,
            time_in_force: TimeInForce::Gtc,
            price: Some(Price(1)),
            qty: Qty(1),
            timestamp: now,
        },
        fills: Vec::new(),
        remainder: Remainder::Rest,
    }
}

/// What is wrong whatever the state is.
fn without_knowledge(scene: &mut Scene) -> Vec<Command> {
    let symbol = scene.one_symbol();
    let nowhere: Symbol = "NOWHERE".parse().expect("a symbol");
    let one = "1".parse().expect("a decimal");
    vec![
        Command::RenewMaker(MakerRef { maker: name(), incarnation: 1 }),
        Command::DefineSymbol(DefineSymbol {
            symbol: symbol.clone(),
            instrument: Instrument::spot("B".parse().expect("an asset"), "Q".parse().expect("an asset"), one, one, 7),
        }),
        Command::SetExposureLimit(SetExposureLimit { limit: Exposure(101), control_version: 0 }),
        Command::SetKillSwitch(SetKillSwitch { engaged: false, control_version: u64::MAX }),
        Command::UpgradeLedger(UpgradeLedger { ledger_version: 0, control_version: 0 }),
        Command::RegisterMaker(RegisterMaker { maker: name(), ttl_ms: 1 }),
        Command::ReleaseSymbol(ReleaseSymbol { symbol: symbol.clone(), epoch: 0 }),
        Command::ReleaseSymbol(ReleaseSymbol { symbol: nowhere.clone(), epoch: 1 }),
        Command::PlaceQuote(quote(&symbol, u64::MAX, 1, 2)),
        Command::PlaceQuote(quote(&symbol, 1, 3, 2)),
        Command::PlaceQuote(quote(&nowhere, 1, 1, 2)),
        Command::PullQuote(PullQuote { symbol: symbol.clone(), epoch: u64::MAX }),
        Command::ExecuteOrder(order(&symbol, 0, Millis(EPOCH_MS))),
    ]
}

/// What is wrong by a little, against what stands. The numbers of orders are to be filled in.
async fn with_knowledge(scene: &mut Scene) -> Vec<Command> {
    let client = scene.operator.client();
    let options = ReadOptions::linearizable().within(ANSWER_MAX);
    let (Ok(status), Ok(quotes)) = (client.status(&options).await, client.quotes(None, &options).await) else {
        return Vec::new();
    };
    let (symbol, exchange_epoch, now) = (scene.one_symbol(), status.data.exchange_epoch, status.log_time);
    let late = ExecuteOrder { deadline: Millis(1), ..order(&symbol, exchange_epoch, now) };
    let mut large = order(&symbol, exchange_epoch, now);
    large.order.qty = Qty(i64::MAX);
    large.remainder = Remainder::None;
    let mut commands = vec![
        Command::CancelOrder(CancelOrder { exchange_epoch, account: name(), order_id: 1 }),
        Command::ExecuteOrder(late),
        Command::ExecuteOrder(large),
    ];
    commands.extend(quotes.data.iter().flat_map(|quote| against(quote, exchange_epoch, now)));
    commands
}

/// Wrong by a little against the quote that stands. Each is wrong also if that quote is replaced meanwhile.
fn against(stands: &QuoteView, exchange_epoch: u64, now: Millis) -> Vec<Command> {
    let replay = PlaceQuote {
        incarnation: stands.incarnation,
        quote_seq: stands.quote_seq,
        position_seq: stands.position_seq,
        ..quote(&stands.symbol, stands.epoch, 1, stands.ask.as_ref().map_or(2, |ask| ask.price.0 + 1))
    };
    let mut commands = vec![Command::PlaceQuote(replay)];
    let Some(ask) = &stands.ask else { return commands };
    let planned = |leaves: i64, price: i64, limit: i64| {
        let mut taker = order(&stands.symbol, exchange_epoch, now);
        taker.order.price = Some(Price(limit));
        taker.order.time_in_force = TimeInForce::Ioc;
        taker.fills = vec![PlannedFill {
            against: Against::Quote(stands.quote_id),
            leaves: Qty(leaves),
            price: Price(price),
            qty: Qty(1),
        }];
        taker.remainder = Remainder::None;
        Command::ExecuteOrder(taker)
    };
    let (leaves, price) = (ask.leaves.0, ask.price.0);
    commands.push(planned(leaves + 1, price, price));
    commands.push(planned(leaves, price - 1, price));
    commands.push(planned(leaves, price, price - 1));
    commands
}
