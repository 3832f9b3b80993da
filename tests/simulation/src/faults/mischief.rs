//! A client that sends what it should not, knowing all that one can know: the ledger must refuse every bit of it.

use std::time::Duration;

use quorate_api::{Applied, QuoteView};
use quorate_client::ReadOptions;
use quorate_domain::{Exposure, Instrument, Millis, OrderType, Price, Qty, QuoteSide, Side, Symbol, TimeInForce};
use quorate_ledger::{
    Against, Answer, CancelOrder, Command, CommitParameters, ControlChange, ControlCommand, DefineSymbol, Digest,
    Envelope, ExecuteOrder, KeepQuote, MakerRef, NewOrder, Outcome, PlaceQuote, PlannedFill, PullQuote, QuoteBasis,
    QuoteCause, Refusal, RegisterMaker, ReleaseSymbol, Remainder, Response, Secret, bounds::SESSION_IDLE_MS,
};
use quorate_seams::{full_body, read_body};
use tokio::time::{sleep, timeout};

use super::Scene;
use crate::{clock::EPOCH_MS, node::api_address, operator::decision};

/// How long one answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(2);
/// How long it does nothing in between.
const IDLE: Duration = Duration::from_secs(2);
/// A secret that no maker has.
const NO_SECRET: Secret = Secret([0; 32]);

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
        let command = Command::RenewMaker(MakerRef { maker: name(), incarnation: 2, secret: NO_SECRET });
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
pub(super) struct Session {
    pub(super) id: u64,
    seq: u64,
    /// Log time of its last answer.
    used: Millis,
}

impl Session {
    pub(super) async fn open(scene: &Scene) -> Option<Self> {
        let response = send(scene, Envelope { session: 0, seq: 0, command: Command::OpenSession }).await?;
        match response.outcome {
            Outcome::Accepted(Answer::SessionOpened { session: id }) => {
                Some(Self { id, seq: 0, used: response.log_time })
            }
            Outcome::Accepted(_) | Outcome::Refused(_) => None,
        }
    }

    /// Sends a command; what came of it, where that was said.
    pub(super) async fn try_one(&mut self, scene: &Scene, command: Command) -> Option<Response> {
        self.seq += 1;
        let envelope = Envelope { session: self.id, seq: self.seq, command };
        let sent = format!("{envelope:?}");
        let response = send(scene, envelope).await?;
        let idle = response.log_time.since(self.used);
        self.used = response.log_time;
        if matches!(response.outcome, Outcome::Refused(Refusal::SessionExpired { .. })) && idle < SESSION_IDLE_MS {
            scene.sim.wrong("sessions are kept", format!("{sent} found its session gone after {idle} ms"));
            return None;
        }
        Some(response)
    }

    /// Sends a command that is wrong; why it was refused, where that was said.
    pub(super) async fn must_refuse(&mut self, scene: &Scene, command: Command) -> Option<Refusal> {
        let sent = format!("{command:?}");
        match self.try_one(scene, command).await?.outcome {
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
        revision: 1,
        symbol: symbol.clone(),
        incarnation: 1,
        secret: NO_SECRET,
        epoch,
        quote_seq: 1,
        position_seq: 0,
        bid: side(bid),
        ask: side(ask),
        allow_reduced: true,
        ttl_ms: 1_000,
        cause: QuoteCause::Refresh,
        basis: QuoteBasis {
            computed_at: 1,
            reference: None,
            room: None,
            strategy: name(),
            version: 1,
            parameters: Digest::default(),
            state: Vec::new(),
        },
    }
}

/// One lot at the lowest price there is, which rests; made at `now`, and soon too late.
fn order(symbol: &Symbol, exchange_epoch: u64, now: Millis) -> ExecuteOrder {
    ExecuteOrder {
        revision: 1,
        exchange_epoch,
        exec_id: 1,
        answered_below: 1,
        also_answered: None,
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

/// Engages the kill switch, and does not say why.
fn without_reason() -> Command {
    Command::Control(ControlCommand {
        actor: name(),
        reason: String::new(),
        control_version: 0,
        change: ControlChange::KillSwitch { engaged: true },
    })
}

/// What is wrong whatever the state is.
fn without_knowledge(scene: &mut Scene) -> Vec<Command> {
    let symbol = scene.one_symbol();
    let nowhere: Symbol = "NOWHERE".parse().expect("a symbol");
    let one = "1".parse().expect("a decimal");
    vec![
        Command::RenewMaker(MakerRef { maker: name(), incarnation: 1, secret: NO_SECRET }),
        Command::DefineSymbol(DefineSymbol {
            symbol: symbol.clone(),
            instrument: Instrument::spot("B".parse().expect("an asset"), "Q".parse().expect("an asset"), one, one, 7),
        }),
        decision(0, ControlChange::ExposureLimit { limit: Exposure(101) }),
        decision(u64::MAX, ControlChange::KillSwitch { engaged: false }),
        decision(0, ControlChange::LedgerVersion { version: 0 }),
        decision(0, ControlChange::PositionLimit { symbol: nowhere.clone(), max: None }),
        without_reason(),
        Command::RegisterMaker(RegisterMaker { maker: name(), ttl_ms: 1, secret_hash: NO_SECRET.hash() }),
        Command::ReleaseSymbol(ReleaseSymbol { symbol: symbol.clone(), epoch: 0, secret: NO_SECRET }),
        Command::ReleaseSymbol(ReleaseSymbol { symbol: nowhere.clone(), epoch: 1, secret: NO_SECRET }),
        Command::PlaceQuote(quote(&symbol, u64::MAX, 1, 2)),
        Command::PlaceQuote(quote(&symbol, 1, 3, 2)),
        Command::PlaceQuote(quote(&nowhere, 1, 1, 2)),
        Command::PullQuote(PullQuote { symbol: symbol.clone(), epoch: u64::MAX, secret: NO_SECRET, quote_seq: 1 }),
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
    for stands in &quotes.data {
        if let Some(secret) = scene.sim.maker_secret(&stands.maker) {
            commands.extend(in_its_name(stands, secret));
        }
        commands.extend(orders_against(stands, exchange_epoch, now));
    }
    commands
}

/// A keep of the quote that stands, with the next number and this secret.
pub(super) fn keep(stands: &QuoteView, secret: Secret, quote_seq: u64) -> KeepQuote {
    KeepQuote {
        revision: 1,
        symbol: stands.symbol.clone(),
        incarnation: stands.incarnation,
        secret,
        epoch: stands.epoch,
        quote_seq,
        quote_id: stands.quote_id,
        position_seq: stands.position_seq,
        ttl_ms: 1_000,
        basis: stands.basis.clone(),
    }
}

/// Commands of the maker that quotes, with its secret or another one; wrong by a little, also where that quote is replaced
/// meanwhile. Numbers that may be used up grow.
fn in_its_name(stands: &QuoteView, secret: Secret) -> Vec<Command> {
    let (symbol, epoch, incarnation) = (stands.symbol.clone(), stands.epoch, stands.incarnation);
    let place = PlaceQuote {
        incarnation,
        secret,
        quote_seq: stands.quote_seq,
        position_seq: stands.position_seq,
        basis: stands.basis.clone(),
        ..quote(&symbol, epoch, 1, stands.ask.as_ref().map_or(2, |ask| ask.price.0 + 1))
    };
    let me = |incarnation, secret| MakerRef { maker: stands.maker.clone(), incarnation, secret };
    let pull = |secret, quote_seq| PullQuote { symbol: symbol.clone(), epoch, secret, quote_seq };
    let commit = |incarnation, secret| CommitParameters {
        maker: stands.maker.clone(),
        incarnation,
        secret,
        symbol: symbol.clone(),
        text: "mischief".to_owned(),
    };
    let next = |ahead: u64| stands.quote_seq + ahead;
    let kept = |ahead| keep(stands, secret, next(ahead));
    let mut commands = vec![
        Command::PlaceQuote(PlaceQuote { epoch: epoch - 1, quote_seq: next(1), ..place.clone() }),
        Command::PlaceQuote(PlaceQuote { secret: NO_SECRET, quote_seq: next(1), ..place.clone() }),
        Command::PlaceQuote(place),
        Command::KeepQuote(keep(stands, NO_SECRET, next(1))),
        Command::KeepQuote(kept(0)),
        Command::PullQuote(pull(secret, stands.quote_seq)),
        Command::PullQuote(pull(NO_SECRET, next(1))),
        Command::ReleaseSymbol(ReleaseSymbol { symbol: symbol.clone(), epoch, secret: NO_SECRET }),
        Command::RenewMaker(me(incarnation, NO_SECRET)),
        Command::RenewMaker(me(incarnation - 1, secret)),
        Command::DeregisterMaker(me(incarnation, NO_SECRET)),
        Command::CommitParameters(commit(incarnation, NO_SECRET)),
        Command::CommitParameters(commit(incarnation - 1, secret)),
        Command::KeepQuote(KeepQuote { quote_id: stands.quote_id - 1, ..kept(1) }),
        Command::KeepQuote(KeepQuote { position_seq: stands.position_seq + 1, ..kept(2) }),
    ];
    if stands.position_seq > 0 {
        commands.push(Command::KeepQuote(KeepQuote { position_seq: stands.position_seq - 1, ..kept(3) }));
    }
    commands
}

/// Orders that are wrong by a little against the quote that stands, also where that is replaced meanwhile.
fn orders_against(stands: &QuoteView, exchange_epoch: u64, now: Millis) -> Vec<Command> {
    let Some(ask) = &stands.ask else { return Vec::new() };
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
    vec![planned(leaves + 1, price, price), planned(leaves, price - 1, price), planned(leaves, price, price - 1)]
}
