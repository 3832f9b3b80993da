//! The bytes of everything that is persisted in the log, kept as an answer or an event, or written into
//! a snapshot. A change here means that a running group could no longer read its own data: variants and
//! fields are only ever added at the end, behind a new `ledger_version`.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::{collections::BTreeMap, fmt::Debug, path::Path};

use quorate_domain::*;
use quorate_ledger::*;
use serde::{Serialize, de::DeserializeOwned};

const GOLDEN: &str = include_str!("golden.txt");

/// Lines of `kind.name hex`, by `kind.name`.
#[derive(Default)]
struct Pins(BTreeMap<String, String>);

impl Pins {
    fn add<T: Serialize + DeserializeOwned + PartialEq + Debug>(&mut self, name: &str, value: &T) {
        let bytes = postcard::to_stdvec(value).unwrap();
        assert_eq!(&postcard::from_bytes::<T>(&bytes).unwrap(), value, "{name} does not survive its own bytes");
        assert!(self.0.insert(name.to_owned(), hex::encode(bytes)).is_none(), "{name} is pinned twice");
    }

    /// Pins every variant of an enum, and makes sure that there is no other.
    fn variants<T: Serialize + DeserializeOwned + PartialEq + Debug>(&mut self, kind: &str, values: &[T]) {
        for (ordinal, value) in values.iter().enumerate() {
            let bytes = postcard::to_stdvec(value).unwrap();
            assert_eq!(usize::from(bytes[0]), ordinal, "{kind} {value:?} is not the variant at its place");
            let name: String = format!("{value:?}").chars().take_while(char::is_ascii_alphanumeric).collect();
            self.add(&format!("{kind}.{name}"), value);
        }
        // The next ordinal is not a variant: else the bytes would end too early, or make a value.
        let next = u8::try_from(values.len()).unwrap();
        let beyond = postcard::from_bytes::<T>(&[next]);
        assert_eq!(beyond, Err(postcard::Error::SerdeDeCustom), "a variant of {kind} is not pinned: add it");
    }
}

#[test]
fn persisted_bytes_stay_as_they_are() {
    let mut pins = Pins::default();
    pins.variants("command", &commands());
    pins.variants("answer", &answers());
    pins.variants("refusal", &refusals());
    pins.variants("event", &events());
    words(&mut pins);
    envelopes(&mut pins);
    let ledger = small_ledger();
    let bytes = ledger.encode();
    assert_eq!(Ledger::decode(&bytes).unwrap().encode(), bytes);
    pins.0.insert("snapshot".to_owned(), hex::encode(bytes));
    pins.0.insert("snapshot.chain".to_owned(), ledger.chain().to_string());
    pins.0.insert("snapshot.digest".to_owned(), ledger.state_digest().to_string());

    let actual: String = pins.0.iter().map(|(name, bytes)| format!("{name} {bytes}\n")).collect();
    if actual != GOLDEN {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("golden.txt");
        std::fs::write(&path, &actual).unwrap();
        panic!(
            "persisted bytes have changed: {}\nA group that runs could not read what it wrote. If every line that \
             changed is new, or stands behind a new ledger_version or snapshot form, copy {} over tests/golden.txt.",
            changed(&pins.0),
            path.display()
        );
    }
}

/// The names whose bytes differ from the file's.
fn changed(actual: &BTreeMap<String, String>) -> String {
    let golden: BTreeMap<&str, &str> = GOLDEN.lines().filter_map(|line| line.split_once(' ')).collect();
    let differs = |name: &&str| actual.get(*name).map(String::as_str) != golden.get(*name).copied();
    let mut names: Vec<&str> =
        golden.keys().copied().chain(actual.keys().map(String::as_str)).filter(differs).collect();
    names.sort_unstable();
    names.dedup();
    names.join(", ")
}

#[test]
fn the_pinned_snapshot_still_reads() {
    let line = GOLDEN.lines().find_map(|line| line.strip_prefix("snapshot ")).expect("a snapshot is pinned");
    let ledger = Ledger::decode(&hex::decode(line).unwrap()).unwrap();
    assert_eq!(ledger.fills(), 2);
    assert_eq!(ledger.exchange().unwrap().last_exec_id(&symbol()), 3);
    let waits = ledger.symbol(&Symbol::new("SOLUSDT").unwrap()).unwrap();
    assert!(matches!(waits.demand.turn, Some(Turn::Waiting { .. })));
    let symbol = ledger.symbol(&symbol()).unwrap();
    assert_eq!((symbol.position(), symbol.position_seq, symbol.pnl.cash), (Position(-3), 1, Money(30_300_606)));
}

fn symbol() -> Symbol {
    Symbol::new("BTCUSDT").unwrap()
}

fn maker() -> MakerName {
    MakerName::new("m1").unwrap()
}

fn account() -> Account {
    Account::new("alice").unwrap()
}

fn client_order_id() -> ClientOrderId {
    ClientOrderId::new("o-1").unwrap()
}

fn settlement() -> Settlement {
    Settlement { price: Price(1_000), position: Position(-3), cash: Money(-30_000_000), position_seq: 9 }
}

fn instrument() -> Instrument {
    Instrument {
        base: "BTC".parse().unwrap(),
        quote: asset(),
        tick_size: "0.01".parse().unwrap(),
        lot_size: "0.00001".parse().unwrap(),
        min_price: Price(3),
        max_price: Price(999),
        min_notional: Money(5),
        maker_fee_ppm: -20,
        taker_fee_ppm: 400,
        exposure_per_lot: 2,
        kind: Kind::Spot,
    }
}

fn contract() -> Instrument {
    Instrument { base: "RAIN".parse().unwrap(), kind: Kind::Binary { pays: Price(1_000) }, ..instrument() }
}

fn asset() -> Asset {
    "USDT".parse().unwrap()
}

fn mark() -> SymbolMark {
    SymbolMark { symbol: symbol(), revision: 1, price: RefPrice(201), time: Millis(1_700_000_000_300) }
}

fn side(price: i64, qty: i64) -> QuoteSide {
    QuoteSide { price: Price(price), qty: Qty(qty) }
}

fn order() -> NewOrder {
    NewOrder {
        account: account(),
        client_order_id: client_order_id(),
        symbol: symbol(),
        side: Side::Sell,
        order_type: OrderType::Limit,
        time_in_force: TimeInForce::Ioc,
        price: Some(Price(6_000_000)),
        qty: Qty(300),
        timestamp: Millis(1_700_000_000_123),
    }
}

fn result() -> OrderResult {
    OrderResult {
        order_id: 17,
        status: OrderStatus::PartiallyFilled,
        cum_qty: Qty(3),
        leaves_qty: Qty(297),
        cum_quote: Money(-18_000_000),
        trades: vec![Trade { trade_id: 9, price: Price(6_000_000), qty: Qty(3) }],
    }
}

const SECRET: Secret = Secret([6; 32]);
const PARAMETERS: &str = "edge = 1";

fn basis() -> QuoteBasis {
    QuoteBasis {
        computed_at: 200,
        reference: Some(Reference {
            source: SourceName::new("walk:BTCUSDT").unwrap(),
            price: RefPrice(12_000_001),
            seq: 9,
            time: Millis(1_700_000_000_100),
        }),
        room: Some(Sides { bid: Qty(50), ask: Qty(40) }),
        strategy: StrategyName::new("naive").unwrap(),
        version: 3,
        parameters: Digest::of(PARAMETERS.as_bytes()),
        state: vec![1, 2],
    }
}

fn control(change: ControlChange, control_version: u64) -> ControlCommand {
    ControlCommand { actor: ActorName::new("ops").unwrap(), reason: "drill".to_owned(), control_version, change }
}

fn changes() -> Vec<ControlChange> {
    vec![
        ControlChange::ExposureLimit { limit: Exposure(90) },
        ControlChange::ExposureBasis { basis: ExposureBasis::WorstLoss { asset: asset() }, limit: Exposure(90) },
        ControlChange::PositionLimit { symbol: symbol(), max: Some(Qty(70)) },
        ControlChange::Instrument { symbol: symbol(), instrument: contract(), revision: 2 },
        ControlChange::Protection { symbol: symbol(), protection: Some(protection()) },
        ControlChange::DrawdownLimit { asset: asset(), limit: Some(Money(70)) },
        ControlChange::Rearm { asset: asset() },
        ControlChange::LimitAccount { account: account() },
        ControlChange::Deposit { account: account(), asset: asset(), amount: Money(-70) },
        ControlChange::Settle { symbol: symbol(), price: Price(1_000) },
        ControlChange::CloseSymbol { symbol: symbol() },
        ControlChange::Quoting { scope: QuotingScope::Symbol(symbol()), on: true },
        ControlChange::KillSwitch { engaged: true },
        ControlChange::LedgerVersion { version: 1 },
    ]
}

fn protection() -> Protection {
    Protection { lots_max: Qty(70), window_ms: 800, pause_ms: 3_000 }
}

fn keep_quote() -> KeepQuote {
    let PlaceQuote { symbol, incarnation, secret, epoch, revision, quote_seq, position_seq, ttl_ms, basis, .. } =
        place_quote();
    KeepQuote { symbol, incarnation, secret, epoch, revision, quote_seq, quote_id: 12, position_seq, ttl_ms, basis }
}

fn commit_parameters(incarnation: Incarnation, symbol: Symbol) -> Command {
    let (maker, text) = (maker(), PARAMETERS.to_owned());
    Command::CommitParameters(CommitParameters { maker, incarnation, secret: SECRET, symbol, text })
}

fn place_quote() -> PlaceQuote {
    PlaceQuote {
        symbol: symbol(),
        incarnation: 5,
        secret: SECRET,
        epoch: 4,
        revision: 1,
        quote_seq: 7,
        position_seq: 8,
        bid: Some(side(99, 10)),
        ask: None,
        allow_reduced: true,
        ttl_ms: 30_000,
        cause: QuoteCause::ReferenceMoved,
        basis: basis(),
    }
}

fn execute_order() -> ExecuteOrder {
    ExecuteOrder {
        exchange_epoch: 6,
        exec_id: 2,
        answered_below: 1,
        also_answered: Some(AnsweredBelow { symbol: "OTHER".parse().unwrap(), below: 1 }),
        revision: 1,
        deadline: Millis(1_700_000_001_000),
        order: order(),
        fills: vec![PlannedFill { against: Against::Quote(12), leaves: Qty(10), price: Price(6_000_000), qty: Qty(3) }],
        remainder: Remainder::Expire,
    }
}

fn commands() -> Vec<Command> {
    let maker_ref = MakerRef { maker: maker(), incarnation: 5, secret: SECRET };
    vec![
        Command::OpenSession,
        Command::CloseSession,
        Command::DefineSymbol(DefineSymbol { symbol: symbol(), instrument: instrument() }),
        Command::Control(control(ControlChange::ExposureLimit { limit: Exposure(90) }, 3)),
        Command::RegisterMaker(RegisterMaker { maker: maker(), ttl_ms: 9_000, secret_hash: SECRET.hash() }),
        Command::RenewMaker(maker_ref.clone()),
        Command::DeregisterMaker(maker_ref),
        commit_parameters(5, symbol()),
        Command::ReleaseSymbol(ReleaseSymbol { symbol: symbol(), epoch: 4, secret: SECRET }),
        Command::PlaceQuote(place_quote()),
        Command::KeepQuote(keep_quote()),
        Command::PullQuote(PullQuote { symbol: symbol(), epoch: 4, secret: SECRET, quote_seq: 7 }),
        Command::RegisterExchange(RegisterExchange { exchange: ExchangeName::new("venue").unwrap() }),
        Command::ExecuteOrder(execute_order()),
        Command::CancelOrder(CancelOrder { exchange_epoch: 6, account: account(), order_id: 17 }),
        Command::PublishMarks(PublishMarks { exchange_epoch: 6, marks: vec![mark()] }),
        Command::SetListing(SetListing { exchange_epoch: 6, symbols: vec![symbol()] }),
    ]
}

fn answers() -> Vec<Answer> {
    let (deadline, holdings_index) = (Millis(400), 300);
    vec![
        Answer::SessionOpened { session: 3 },
        Answer::SessionClosed,
        Answer::SymbolDefined { existed: true },
        Answer::ControlChanged { control_version: 4 },
        Answer::MakerRegistered { incarnation: 5, deadline, holdings_index },
        Answer::MakerRenewed { deadline, holdings_index },
        Answer::MakerDeregistered,
        Answer::ParametersCommitted { digest: Digest([3; 32]) },
        Answer::SymbolReleased,
        Answer::QuotePlaced { quote_id: 12, bid_qty: Qty(10), ask_qty: Qty(0), reduced: true, deadline },
        Answer::QuoteKept { deadline },
        Answer::QuotePulled { quote_id: Some(12) },
        Answer::ExchangeRegistered { exchange_epoch: 6 },
        Answer::OrderExecuted(result()),
        Answer::OrderCancelled(result()),
        Answer::MarksPublished { counted: 1, waiting: 2, ignored: 300 },
        Answer::ListingSet,
        Answer::Done,
    ]
}

fn refusals() -> Vec<Refusal> {
    let (against, price) = (Against::Order(17), Price(99));
    vec![
        Refusal::SessionRequired,
        Refusal::SessionExpired { session: 3 },
        Refusal::SeqReused { seq: 4 },
        Refusal::SeqTooOld { seq: 4, window_from: 5 },
        Refusal::TooManySessions { max: 1_024 },
        Refusal::Invalid { what: "bid".to_owned() },
        Refusal::Full { what: "makers".to_owned(), max: 64 },
        Refusal::UnknownSymbol { symbol: symbol() },
        Refusal::SymbolExists { symbol: symbol() },
        Refusal::SymbolClosed { symbol: symbol(), settled: Some(Price(1_000)) },
        Refusal::StaleRevision { revision: 2 },
        Refusal::UnknownAsset { asset: asset() },
        Refusal::SymbolsDefined,
        Refusal::OtherQuoteAsset { asset: asset() },
        Refusal::SymbolBusy { symbol: symbol() },
        Refusal::NotTripped { asset: asset() },
        Refusal::AccountBusy { account: account() },
        Refusal::ControlVersion { control_version: 4 },
        Refusal::LimitOutOfRange { hard_limit: Exposure(100) },
        Refusal::LedgerVersion { present: 1, known: 2 },
        Refusal::KillSwitch { control_version: 4 },
        Refusal::QuotingOff { scope: QuotingScope::Maker(maker()) },
        Refusal::BreakerTripped { asset: asset() },
        Refusal::Paused { until: Millis(400) },
        Refusal::UnknownMaker { incarnation: 5, present: Some(6) },
        Refusal::StaleEpoch { symbol: symbol(), epoch: 4, holder: Some(maker()) },
        Refusal::AuthorityExpired { symbol: symbol(), deadline: Millis(400) },
        Refusal::WrongSecret { maker: maker() },
        Refusal::UnknownParameters { committed: Some(Digest([3; 32])) },
        Refusal::StaleQuoteSeq { last: 7 },
        Refusal::StalePosition { position_seq: 8, position: Position(-9) },
        Refusal::CrossesResting { side: Side::Buy, price },
        Refusal::ExposureShort { long_free: Exposure(1), short_free: Exposure(2) },
        Refusal::TooHeavy { lot: Exposure(30), limit: Exposure(20) },
        Refusal::PositionLimit { position: Position(-9), max: Qty(10) },
        Refusal::StaleExchange { exchange_epoch: 6 },
        Refusal::ExecGap { expected: 2 },
        Refusal::ExecWindowFull { max: 1_024 },
        Refusal::ExecReused { exec_id: 1 },
        Refusal::DeadlinePassed { log_time: Millis(400) },
        Refusal::DuplicateOrder { client_order_id: client_order_id(), same: true, result: result() },
        Refusal::NamesFull { account: account(), max: 300 },
        Refusal::NotActive { against },
        Refusal::LeavesMoved { against, leaves: Qty(2) },
        Refusal::DoesNotCross { against, price },
        Refusal::WouldCross { against, price },
        Refusal::BalanceShort { asset: asset(), free: Money(-3), needed: Money(70) },
        Refusal::Overflow { what: "the cash".to_owned() },
        Refusal::UnknownOrder { account: account(), order_id: 17 },
        Refusal::OrderClosed { result: result() },
    ]
}

fn quote_placed() -> QuotePlaced {
    QuotePlaced {
        symbol: symbol(),
        quote_id: 12,
        maker: maker(),
        incarnation: 5,
        epoch: 4,
        quote_seq: 7,
        position_seq: 8,
        bid: Some(side(99, 10)),
        ask: None,
        bid_asked: Qty(20),
        ask_asked: Qty(5),
        deadline: Millis(400),
        cause: QuoteCause::Fill,
        basis: basis(),
        superseded: Some(10),
    }
}

fn fill(maker: FilledMaker) -> FillCommitted {
    FillCommitted {
        trade_id: 9,
        symbol: symbol(),
        price: Price(99),
        qty: Qty(3),
        notional: Money(29_700_000),
        taker_order_id: 17,
        taker_side: Side::Buy,
        taker_fee: Money(11_880),
        maker_fee: Money(-594),
        maker,
    }
}

fn filled_quote() -> FilledMaker {
    FilledMaker::Quote {
        quote_id: 12,
        maker: maker(),
        epoch: 4,
        leaves: Qty(7),
        position: Position(-3),
        position_seq: 9,
    }
}

fn filled_order() -> FilledMaker {
    FilledMaker::Order { order_id: 16, account: account(), client_order_id: client_order_id(), leaves: Qty(0) }
}

fn control_changed(change: ControlChange) -> Event {
    let ControlCommand { actor, reason, control_version, change } = control(change, 4);
    Event::ControlChanged { control_version, actor, reason, change }
}

fn events() -> Vec<Event> {
    let (maker_name, incarnation, deadline, epoch) = (maker(), 5, Millis(400), 4);
    let maker = || maker_name.clone();
    vec![
        Event::TermBegan { term: 2, graced: 3, quotes_pulled: true, clock_jump_ms: 70 },
        Event::SymbolDefined { symbol: symbol(), instrument: instrument() },
        control_changed(ControlChange::Quoting { scope: QuotingScope::All, on: false }),
        Event::MakerRegistered { maker: maker(), incarnation, deadline },
        Event::MakerRenewed { maker: maker(), incarnation, deadline },
        Event::MakerDeparted { maker: maker(), incarnation, reason: DepartReason::Expired },
        Event::ParametersCommitted {
            maker: maker(),
            incarnation,
            symbol: symbol(),
            digest: Digest::of(PARAMETERS.as_bytes()),
            text: PARAMETERS.to_owned(),
        },
        Event::AuthorityGranted { symbol: symbol(), maker: maker(), incarnation, epoch },
        Event::AuthorityMoving { symbol: symbol(), epoch, to: Some(maker()), until: deadline },
        Event::AuthorityEnded {
            symbol: symbol(),
            maker: maker(),
            incarnation,
            epoch,
            reason: AuthorityEndReason::MoveDeadline,
        },
        Event::QuotePlaced(quote_placed()),
        Event::QuoteKept { symbol: symbol(), quote_id: 12, quote_seq: 8, deadline, basis: basis() },
        Event::QuoteRefused {
            symbol: symbol(),
            incarnation,
            quote_seq: 7,
            keep: true,
            refusal: Refusal::StaleQuoteSeq { last: 7 },
        },
        Event::QuoteEnded {
            symbol: symbol(),
            quote_id: 12,
            released_long: Exposure(10),
            released_short: Exposure(0),
            reason: QuoteEndReason::Pulled,
        },
        Event::TurnChanged { symbol: symbol(), turn: Some(Turn::Offered { until: deadline }) },
        Event::MarksPublished {
            marks: vec![MarkTaken {
                symbol: symbol(),
                price: RefPrice(201),
                time: Millis(1_700_000_000_300),
                counts: true,
            }],
        },
        Event::ListingChanged { symbols: vec![symbol()] },
        Event::BreakerTripped { asset: asset(), equity: Money(-9), high_water: Money(70) },
        Event::ProtectionTripped { symbol: symbol(), until: deadline },
        Event::SymbolClosed { symbol: symbol(), settled: Some(settlement()) },
        Event::ExchangeRegistered { exchange: ExchangeName::new("venue").unwrap(), exchange_epoch: 6 },
        Event::OrderExecuted {
            order_id: 17,
            exchange_epoch: 6,
            exec_id: 2,
            order: order(),
            status: OrderStatus::Expired,
            cum_qty: Qty(3),
            leaves_qty: Qty(0),
        },
        Event::FillCommitted(fill(filled_quote())),
        Event::OrderClosed {
            order_id: 16,
            symbol: symbol(),
            account: account(),
            client_order_id: client_order_id(),
            status: OrderStatus::Filled,
            cum_qty: Qty(3),
        },
    ]
}

/// The smaller enums that commands, answers and events are made of.
fn words(pins: &mut Pins) {
    let scopes = [QuotingScope::All, QuotingScope::Symbol(symbol()), QuotingScope::Maker(maker())];
    pins.variants("scope", &scopes);
    pins.variants("change", &changes());
    let until = Millis(400);
    pins.variants("basis", &[ExposureBasis::Units, ExposureBasis::WorstLoss { asset: asset() }]);
    pins.variants("kind", &[Kind::Spot, Kind::Binary { pays: Price(1_000) }]);
    pins.variants("turn", &[Turn::Waiting { since: 300 }, Turn::Offered { until }, Turn::Running { until }]);
    pins.variants("side", &[Side::Buy, Side::Sell]);
    pins.variants("order_type", &[OrderType::Limit, OrderType::Market, OrderType::LimitMaker]);
    pins.variants("time_in_force", &[TimeInForce::Gtc, TimeInForce::Ioc, TimeInForce::Fok]);
    pins.variants("against", &[Against::Quote(12), Against::Order(17)]);
    pins.variants("remainder", &[Remainder::None, Remainder::Rest, Remainder::Expire, Remainder::Reject]);
    let causes = [
        QuoteCause::Fill,
        QuoteCause::Expiry,
        QuoteCause::ReferenceMoved,
        QuoteCause::Refresh,
        QuoteCause::AuthorityGained,
    ];
    pins.variants("cause", &causes);
    let statuses = [
        OrderStatus::New,
        OrderStatus::PartiallyFilled,
        OrderStatus::Filled,
        OrderStatus::Cancelled,
        OrderStatus::Rejected,
        OrderStatus::Expired,
    ];
    pins.variants("status", &statuses);
    pins.variants("filled", &[filled_quote(), filled_order()]);
    pins.variants("departed", &[DepartReason::Left, DepartReason::Expired, DepartReason::Superseded]);
    let ends = [
        AuthorityEndReason::Released,
        AuthorityEndReason::MoveDeadline,
        AuthorityEndReason::MakerLeft,
        AuthorityEndReason::LeaseExpired,
        AuthorityEndReason::Unlisted,
        AuthorityEndReason::SymbolClosed,
    ];
    pins.variants("authority_ended", &ends);
    let ends = [
        QuoteEndReason::Expired,
        QuoteEndReason::Pulled,
        QuoteEndReason::Filled,
        QuoteEndReason::AuthorityEnded,
        QuoteEndReason::QuotingOff,
        QuoteEndReason::KillSwitch,
        QuoteEndReason::LimitLowered,
        QuoteEndReason::PositionLimit,
        QuoteEndReason::TurnEnded,
        QuoteEndReason::Breaker,
        QuoteEndReason::Protection,
        QuoteEndReason::AgeUnproven,
        QuoteEndReason::Replaced,
    ];
    pins.variants("quote_ended", &ends);
}

/// What carries commands into the log, and answers and events out of it.
fn envelopes(pins: &mut Pins) {
    let begin = LeaderCommand::BeginTerm { term: 2, quote_age_proven: true, clock_jump_ms: 300 };
    pins.variants("leader_command", &[LeaderCommand::Tick, begin.clone()]);
    let envelope = Envelope { session: 3, seq: 300, command: Command::CloseSession };
    pins.variants("input", &[Input::Client(envelope), Input::Leader(begin)]);
    let outcomes = [Outcome::Accepted(Answer::Done), Outcome::Refused(Refusal::SessionRequired)];
    pins.variants("outcome", &outcomes);
    let [accepted, _] = outcomes;
    pins.add("response", &Response { index: 300, log_time: Millis(1_700_000_000_000), outcome: accepted });
    let events = vec![control_changed(ControlChange::KillSwitch { engaged: true })];
    pins.add("frame", &Frame { index: 300, log_time: Millis(400), chain: Digest([7; 32]), events });
}

/// A ledger with something in every table, by a fixed history.
fn small_ledger() -> Ledger {
    let mut ledger = Ledger::new();
    let mut now = 1_700_000_000_000;
    let mut seq = 0;
    let mut send = |ledger: &mut Ledger, session, command| {
        now += 10;
        seq += 1;
        let index = ledger.last_index() + 1;
        let input = Input::Client(Envelope { session, seq, command });
        let (response, _) = ledger.apply(index, Millis(now), &input);
        assert!(matches!(response.outcome, Outcome::Accepted(_)), "{input:?}: {response:?}");
        index
    };
    let begin = LeaderCommand::BeginTerm { term: 1, quote_age_proven: true, clock_jump_ms: 0 };
    ledger.apply(1, Millis(1_700_000_000_000), &Input::Leader(begin));
    let session = send(&mut ledger, 0, Command::OpenSession);
    for name in ["BTCUSDT", "ETHUSDT", "SOLUSDT"] {
        let symbol = Symbol::new(name).unwrap();
        send(&mut ledger, session, Command::DefineSymbol(DefineSymbol { symbol, instrument: instrument() }));
    }
    let rain = Symbol::new("RAIN").unwrap();
    send(&mut ledger, session, Command::DefineSymbol(DefineSymbol { symbol: rain.clone(), instrument: contract() }));
    let secret_hash = SECRET.hash();
    let register = |maker| Command::RegisterMaker(RegisterMaker { maker, ttl_ms: 9_000, secret_hash });
    let incarnation = send(&mut ledger, session, register(maker()));
    send(&mut ledger, session, register(MakerName::new("m2").unwrap()));
    let quote = |name, bid, ask| {
        Command::PlaceQuote(PlaceQuote {
            symbol: Symbol::new(name).unwrap(),
            incarnation,
            epoch: 1,
            position_seq: 0,
            bid: Some(side(99, bid)),
            ask: Some(side(101, ask)),
            ..place_quote()
        })
    };
    for name in ["BTCUSDT", "ETHUSDT", "SOLUSDT"] {
        send(&mut ledger, session, commit_parameters(incarnation, Symbol::new(name).unwrap()));
    }
    let quote_id = send(&mut ledger, session, quote("BTCUSDT", 48, 48));
    let kept = send(&mut ledger, session, quote("ETHUSDT", 2, 1));
    let symbol = Symbol::new("ETHUSDT").unwrap();
    let keep =
        KeepQuote { symbol, incarnation, epoch: 1, quote_seq: 8, quote_id: kept, position_seq: 0, ..keep_quote() };
    send(&mut ledger, session, Command::KeepQuote(keep));
    // One lot to sell is free, and none to buy: it waits for its turn.
    send(&mut ledger, session, quote("SOLUSDT", 5, 5));
    let exchange = Command::RegisterExchange(RegisterExchange { exchange: ExchangeName::new("venue").unwrap() });
    let exchange_epoch = send(&mut ledger, session, exchange);
    let order = |id, side, price, qty| NewOrder {
        client_order_id: ClientOrderId::new(id).unwrap(),
        side,
        price: Some(Price(price)),
        qty: Qty(qty),
        time_in_force: TimeInForce::Gtc,
        ..order()
    };
    let execute = |exec_id, order, fills, remainder| {
        let deadline = Millis(1_700_000_030_000);
        Command::ExecuteOrder(ExecuteOrder {
            exchange_epoch,
            exec_id,
            answered_below: exec_id,
            also_answered: None,
            revision: 1,
            deadline,
            order,
            fills,
            remainder,
        })
    };
    let take = |against, leaves, price, qty| {
        vec![PlannedFill { against, leaves: Qty(leaves), price: Price(price), qty: Qty(qty) }]
    };
    let resting = order("rest", Side::Sell, 105, 8);
    let resting_id = send(&mut ledger, session, execute(1, resting, Vec::new(), Remainder::Rest));
    let taking = order("take", Side::Buy, 101, 3);
    let fills = take(Against::Quote(quote_id), 48, 101, 3);
    send(&mut ledger, session, execute(2, taking, fills, Remainder::None));
    let sweeping = order("sweep", Side::Buy, 105, 2);
    let fills = take(Against::Order(resting_id), 8, 105, 2);
    send(&mut ledger, session, execute(3, sweeping, fills, Remainder::None));
    let scope = QuotingScope::Maker(MakerName::new("m3").unwrap());
    send(&mut ledger, 0, Command::Control(control(ControlChange::Quoting { scope, on: false }, 0)));
    let marks = vec![mark(), SymbolMark { symbol: rain.clone(), price: RefPrice(1_000), ..mark() }];
    send(&mut ledger, session, Command::PublishMarks(PublishMarks { exchange_epoch, marks }));
    let listed = ["BTCUSDT", "ETHUSDT", "SOLUSDT"].map(|name| Symbol::new(name).unwrap()).to_vec();
    send(&mut ledger, session, Command::SetListing(SetListing { exchange_epoch, symbols: listed.clone() }));
    let changes = [
        ControlChange::PositionLimit { symbol: listed[0].clone(), max: Some(Qty(90)) },
        ControlChange::Protection { symbol: listed[0].clone(), protection: Some(protection()) },
        ControlChange::DrawdownLimit { asset: asset(), limit: Some(Money(70_000_000)) },
        ControlChange::Deposit { account: Account::new("bob").unwrap(), asset: asset(), amount: Money(70) },
        ControlChange::LimitAccount { account: Account::new("bob").unwrap() },
        ControlChange::Settle { symbol: rain, price: Price(1_000) },
    ];
    for change in changes {
        let control_version = ledger.control().version;
        send(&mut ledger, 0, Command::Control(control(change, control_version)));
    }
    assert!(ledger.audit().is_empty());
    ledger
}
