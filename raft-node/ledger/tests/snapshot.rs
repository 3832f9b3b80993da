//! A snapshot and the rest of the log give the same state as the whole log: for random histories, cut at
//! a random place, both through the bytes of a snapshot and through a clone.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeSet;

use proptest::prelude::*;
use quorate_domain::*;
use quorate_ledger::*;

/// One random step; what it means depends on the ledger that it meets.
#[derive(Debug, Clone)]
struct Step {
    kind: u8,
    which: usize,
    price: i64,
    qty: i64,
    elapsed: u64,
    /// Makes the command stale, late or repeated rather than right.
    wrong: bool,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let elapsed = prop_oneof![60 => 0..50u64, 8 => 500..4_000u64, 1 => 10_000..700_000u64];
    let step = (0..=40u8, 0..64usize, 90..111i64, 1..60i64, elapsed, prop::bool::weighted(0.1));
    let step =
        step.prop_map(|(kind, which, price, qty, elapsed, wrong)| Step { kind, which, price, qty, elapsed, wrong });
    prop::collection::vec(step, 120..400)
}

const SECRET: Secret = Secret([6; 32]);
const PARAMETERS: &str = "edge = 1";
const SYMBOLS: [&str; 4] = ["AAA", "BBB", "CCC", "DDD"];
const MAKERS: [&str; 3] = ["m1", "m2", "m3"];

/// Turns steps into inputs that mostly fit the ledger's state.
struct Author {
    now: u64,
    session: SessionId,
    seq: u64,
    orders: u64,
    committed: BTreeSet<(Incarnation, Symbol)>,
    last: Option<Input>,
}

impl Author {
    fn new() -> Self {
        Self { now: 1_000_000, session: 0, seq: 0, orders: 0, committed: BTreeSet::new(), last: None }
    }

    fn input(&mut self, ledger: &Ledger, step: &Step) -> Input {
        self.now += step.elapsed;
        if step.wrong
            && step.kind < 4
            && let Some(last) = &self.last
        {
            return last.clone();
        }
        let input = match self.command(ledger, step) {
            Err(leader) => Input::Leader(leader),
            Ok(command) if command.needs_session() => {
                self.seq += 1;
                Input::Client(Envelope { session: self.session, seq: self.seq, command })
            }
            Ok(command) => Input::Client(Envelope { session: 0, seq: 0, command }),
        };
        self.last = Some(input.clone());
        input
    }

    /// Takes note of a new session; an old one may have expired.
    fn answered(&mut self, response: &Response) {
        match &response.outcome {
            Outcome::Accepted(Answer::SessionOpened { session }) => (self.session, self.seq) = (*session, 0),
            Outcome::Accepted(Answer::SessionClosed) | Outcome::Refused(Refusal::SessionExpired { .. }) => {
                self.session = 0;
            }
            Outcome::Accepted(_) | Outcome::Refused(_) => {}
        }
    }

    fn command(&mut self, ledger: &Ledger, step: &Step) -> Result<Command, LeaderCommand> {
        let symbol = Symbol::new(SYMBOLS[step.which % SYMBOLS.len()]).unwrap();
        let maker = MakerName::new(MAKERS[step.which % MAKERS.len()]).unwrap();
        let incarnation = ledger.incarnation(&maker).unwrap_or(0);
        let state = ledger.symbol(&symbol);
        let epoch = state.map_or(0, |state| state.epoch) + u64::from(step.wrong);
        let control_version = ledger.control().version + u64::from(step.wrong);
        if self.session == 0 {
            return Ok(Command::OpenSession);
        }
        // What the rest needs comes first, mostly.
        if !step.wrong && state.is_none() {
            return Ok(Command::DefineSymbol(DefineSymbol { instrument: instrument(&symbol, 1), symbol }));
        }
        if !step.wrong && ledger.makers().next().is_none() {
            let register = RegisterMaker { maker, ttl_ms: 9_000, secret_hash: SECRET.hash() };
            return Ok(Command::RegisterMaker(register));
        }
        let (secret, quote_seq) = (SECRET, state.map_or(0, |state| state.quote_seq) + 1);
        let holder = state.and_then(|state| state.holder.as_ref());
        // What a holder must say before it quotes, it says as soon as something comes to its symbol.
        if let Some(holder) = holder
            && self.committed.insert((holder.incarnation, symbol.clone()))
        {
            let (maker, incarnation) = (holder.maker.clone(), holder.incarnation);
            let text = PARAMETERS.to_owned();
            return Ok(Command::CommitParameters(CommitParameters { maker, incarnation, secret, symbol, text }));
        }
        Ok(match step.kind {
            0 | 1 => Command::DefineSymbol(DefineSymbol {
                instrument: instrument(&symbol, 1 + i64::from(step.wrong)),
                symbol,
            }),
            2 | 3 | 26 if incarnation == 0 || (step.wrong && step.kind == 2) => {
                Command::RegisterMaker(RegisterMaker { maker, ttl_ms: 9_000, secret_hash: SECRET.hash() })
            }
            2 | 3 | 26 => Command::RenewMaker(MakerRef { maker, incarnation, secret }),
            4 if step.qty < 10 => Command::DeregisterMaker(MakerRef { maker, incarnation, secret }),
            4 | 5 => Command::ReleaseSymbol(ReleaseSymbol { symbol, epoch, secret }),
            6 => Command::PullQuote(PullQuote { symbol, epoch, secret, quote_seq }),
            7 | 14..=24 if ledger.exchange().is_none() || (step.wrong && step.kind == 7) => {
                Command::RegisterExchange(RegisterExchange { exchange: ExchangeName::new("venue").unwrap() })
            }
            7 | 8 => self.cancel(ledger, step),
            9 => return Err(LeaderCommand::Tick),
            10 => {
                let term = ledger.term() + u64::from(!step.wrong);
                let quote_age_proven = step.qty % 2 == 0;
                return Err(LeaderCommand::BeginTerm { term, quote_age_proven, clock_jump_ms: 0 });
            }
            11 => {
                let limit = Exposure(i128::from(40 + step.qty));
                control(ControlChange::ExposureLimit { limit }, control_version)
            }
            12 => {
                let scope = match step.which % 3 {
                    0 => QuotingScope::All,
                    1 => QuotingScope::Symbol(symbol),
                    _ => QuotingScope::Maker(maker),
                };
                control(ControlChange::Quoting { scope, on: step.qty > 15 }, control_version)
            }
            13 => control(ControlChange::KillSwitch { engaged: step.qty < 5 }, control_version),
            14 if step.wrong => Command::CloseSession,
            15 if step.qty < 20 => {
                let max = (step.qty < 15).then_some(Qty(step.qty * 5));
                control(ControlChange::PositionLimit { symbol, max }, control_version)
            }
            23 | 24 => publish_mark(ledger, step, symbol, self.now),
            25 | 27 | 28 => control(money_change(ledger, step, symbol), control_version),
            31..=33 => keep(state, step, symbol, epoch),
            14..=22 => self.order(ledger, step, symbol),
            _ => quote(state, step, symbol, epoch),
        })
    }

    fn cancel(&self, ledger: &Ledger, step: &Step) -> Command {
        let open: Vec<&Order> = ledger.open_orders().collect();
        let order = (!open.is_empty()).then(|| open[step.which % open.len()]);
        let account = order.map_or_else(account, |order| order.order.account.clone());
        let exchange_epoch = ledger.exchange().map_or(0, |exchange| exchange.epoch);
        Command::CancelOrder(CancelOrder { exchange_epoch, account, order_id: order.map_or(1, |order| order.id) })
    }

    /// Takes what the quote has, up to its own quantity; the rest expires, or rests where it can.
    fn order(&mut self, ledger: &Ledger, step: &Step, symbol: Symbol) -> Command {
        self.orders += u64::from(!step.wrong);
        let side = if step.which.is_multiple_of(2) { Side::Buy } else { Side::Sell };
        let take = |quote: &Quote| quote.sides.of(side.opposite()).map(|leg| leg.price);
        let price = ledger.active_quote(&symbol).and_then(take).filter(|_| step.qty % 2 == 0);
        let price = price.unwrap_or(Price(step.price));
        let crosses = |resting: Price| if side == Side::Buy { price >= resting } else { price <= resting };
        let quote = ledger.active_quote(&symbol);
        let leg = quote.and_then(|quote| quote.sides.of(side.opposite()).map(|leg| (quote.id, leg)));
        let fills: Vec<PlannedFill> = leg
            .filter(|(_, leg)| leg.leaves > Qty::ZERO && crosses(leg.price))
            .map(|(id, leg)| {
                let qty = leg.leaves.min(Qty(step.qty));
                PlannedFill { against: Against::Quote(id), leaves: leg.leaves, price: leg.price, qty }
            })
            .into_iter()
            .collect();
        let filled: i64 = fills.iter().map(|fill| fill.qty.0).sum();
        let remainder = if filled == step.qty {
            Remainder::None
        } else if step.which.is_multiple_of(3) {
            Remainder::Expire
        } else {
            Remainder::Rest
        };
        let exec_id = ledger.exchange().map_or(0, |exchange| exchange.last_exec_id(&symbol)) + 1;
        Command::ExecuteOrder(ExecuteOrder {
            exchange_epoch: ledger.exchange().map_or(0, |exchange| exchange.epoch),
            exec_id,
            answered_below: exec_id,
            also_answered: None,
            revision: ledger.symbol(&symbol).map_or(1, |state| state.revision),
            deadline: Millis(self.now + 5_000),
            order: NewOrder {
                account: account(),
                client_order_id: ClientOrderId::new(&format!("o{}", self.orders)).unwrap(),
                symbol,
                side,
                order_type: OrderType::Limit,
                time_in_force: TimeInForce::Gtc,
                price: Some(price),
                qty: Qty(step.qty),
                timestamp: Millis(self.now),
            },
            fills,
            remainder,
        })
    }
}

fn quote(state: Option<&SymbolState>, step: &Step, symbol: Symbol, epoch: Epoch) -> Command {
    let side = |price, qty| Some(QuoteSide { price: Price(price), qty: Qty(qty) });
    let holder = state.and_then(|state| state.holder.as_ref());
    Command::PlaceQuote(PlaceQuote {
        symbol,
        incarnation: holder.map_or(0, |holder| holder.incarnation),
        secret: SECRET,
        epoch,
        revision: state.map_or(1, |state| state.revision),
        quote_seq: state.map_or(0, |state| state.quote_seq) + 1,
        position_seq: state.map_or(0, |state| state.position_seq),
        bid: if step.which.is_multiple_of(5) { None } else { side(step.price - 1, step.qty) },
        ask: if step.which % 5 == 1 { None } else { side(step.price + 1, step.qty + 5) },
        allow_reduced: step.which.is_multiple_of(2),
        ttl_ms: 100 + step.elapsed * 10 % 29_000,
        cause: QuoteCause::Refresh,
        basis: basis(),
    })
}

fn keep(state: Option<&SymbolState>, step: &Step, symbol: Symbol, epoch: Epoch) -> Command {
    let holder = state.and_then(|state| state.holder.as_ref());
    let quote = state.and_then(|state| state.quote.as_ref());
    Command::KeepQuote(KeepQuote {
        symbol,
        incarnation: holder.map_or(0, |holder| holder.incarnation),
        secret: SECRET,
        epoch,
        revision: state.map_or(1, |state| state.revision),
        quote_seq: state.map_or(0, |state| state.quote_seq) + 1,
        quote_id: quote.map_or(1, |quote| quote.id),
        position_seq: state.map_or(0, |state| state.position_seq),
        ttl_ms: 100 + step.elapsed * 10 % 29_000,
        basis: basis(),
    })
}

fn basis() -> QuoteBasis {
    QuoteBasis {
        computed_at: 0,
        reference: None,
        room: None,
        strategy: StrategyName::new("naive").unwrap(),
        version: 1,
        parameters: Digest::of(PARAMETERS.as_bytes()),
        state: vec![7],
    }
}

fn control(change: ControlChange, control_version: u64) -> Command {
    let (actor, reason) = (ActorName::new("ops").unwrap(), "drill".to_owned());
    Command::Control(ControlCommand { actor, reason, control_version, change })
}

fn account() -> Account {
    Account::new("alice").unwrap()
}

/// The last of the symbols is a contract.
fn instrument(symbol: &Symbol, exposure_per_lot: i64) -> Instrument {
    let one = "1".parse().unwrap();
    let spot = Instrument::spot("B".parse().unwrap(), asset(), one, one, exposure_per_lot);
    let spot = Instrument { maker_fee_ppm: -20, taker_fee_ppm: 400, ..spot };
    if symbol.as_str() != SYMBOLS[SYMBOLS.len() - 1] {
        return spot;
    }
    Instrument { base: "RAIN".parse().unwrap(), kind: Kind::Binary { pays: Price(200) }, max_price: Price(199), ..spot }
}

fn asset() -> Asset {
    "Q".parse().unwrap()
}

fn publish_mark(ledger: &Ledger, step: &Step, symbol: Symbol, now: u64) -> Command {
    let exchange_epoch = ledger.exchange().map_or(0, |exchange| exchange.epoch);
    let revision = ledger.symbol(&symbol).map_or(1, |state| state.revision);
    let price = RefPrice(2 * step.price + step.qty);
    let marks = vec![SymbolMark { symbol, revision, price, time: Millis(now) }];
    Command::PublishMarks(PublishMarks { exchange_epoch, marks })
}

/// Something that people decide about money.
fn money_change(ledger: &Ledger, step: &Step, symbol: Symbol) -> ControlChange {
    let amount = Money(i128::from(step.qty) * Money::ONE.0 * 100);
    match step.which % 8 {
        0 | 1 => ControlChange::Deposit { account: account(), asset: asset(), amount },
        2 if step.qty < 5 => ControlChange::LimitAccount { account: account() },
        3 if ledger.equity(&asset()).drawdown.tripped => ControlChange::Rearm { asset: asset() },
        3 => ControlChange::DrawdownLimit { asset: asset(), limit: Some(Money(amount.0 / 50)) },
        4 | 5 if step.qty > 40 => ControlChange::Settle { symbol, price: Price(200) },
        4 | 5 if step.qty > 30 => ControlChange::CloseSymbol { symbol },
        6 => {
            let instrument = instrument(&symbol, step.qty % 3 + 1);
            let revision = ledger.symbol(&symbol).map_or(1, |state| state.revision) + 1;
            ControlChange::Instrument { symbol, instrument, revision }
        }
        _ => {
            let protection = Some(Protection { lots_max: Qty(1 + step.qty / 30), window_ms: 2_000, pause_ms: 500 });
            ControlChange::Protection { symbol, protection }
        }
    }
}

/// What each apply answered, with the input and its stamp, so that it can be applied again.
type History = Vec<(Millis, Input, Response, Vec<Event>)>;

fn play(steps: &[Step]) -> (Ledger, History) {
    let (mut ledger, mut author, mut history) = (Ledger::new(), Author::new(), Vec::new());
    for step in steps {
        let input = author.input(&ledger, step);
        let now = Millis(author.now);
        let (response, events) = ledger.apply(ledger.last_index() + 1, now, &input);
        author.answered(&response);
        history.push((now, input, response, events));
    }
    (ledger, history)
}

fn replay(ledger: &mut Ledger, history: &History, from: usize) {
    for (now, input, response, events) in &history[from..] {
        let (again, again_events) = ledger.apply(ledger.last_index() + 1, *now, input);
        assert_eq!((&again, &again_events), (response, events), "at {}", ledger.last_index());
    }
}

fn assert_same(one: &Ledger, other: &Ledger) {
    assert_eq!(one.chain(), other.chain());
    assert_eq!(one.state_digest(), other.state_digest());
    assert_eq!(one.next_deadline(), other.next_deadline());
    assert_eq!(one.reserved(), other.reserved());
    assert_eq!(other.audit(), vec![]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn a_snapshot_and_the_tail_equal_the_whole_log(steps in steps(), cut in any::<prop::sample::Index>()) {
        let (whole, history) = play(&steps);
        prop_assert_eq!(whole.audit(), vec![]);
        let at = cut.index(history.len());
        let mut prefix = Ledger::new();
        replay(&mut prefix, &history[..at].to_vec(), 0);

        let copy = prefix.clone();
        let bytes = prefix.encode();
        let mut restored = Ledger::decode(&bytes).unwrap();
        assert_same(&prefix, &restored);
        replay(&mut restored, &history, at);
        assert_same(&whole, &restored);

        replay(&mut prefix, &history, at);
        assert_same(&whole, &prefix);
        prop_assert_eq!(copy.encode(), bytes, "a clone is not touched by what comes after");
    }
}

/// The histories above are worth something only if they get somewhere.
#[test]
fn random_histories_reach_what_they_are_to_test() {
    use proptest::{strategy::ValueTree, test_runner::TestRunner};
    let mut runner = TestRunner::deterministic();
    let mut reached = [0usize; 13];
    for _ in 0..64 {
        let steps = steps().new_tree(&mut runner).unwrap().current();
        let (ledger, history) = play(&steps);
        let count = |test: fn(&Event) -> bool| history.iter().flat_map(|entry| &entry.3).filter(|e| test(e)).count();
        for (place, found) in [
            count(|event| matches!(event, Event::QuotePlaced(_))),
            count(|event| matches!(event, Event::FillCommitted(_))),
            count(|event| matches!(event, Event::AuthorityMoving { .. })),
            count(|event| matches!(event, Event::MakerDeparted { .. })),
            count(|event| matches!(event, Event::OrderClosed { .. })),
            count(|event| matches!(event, Event::QuoteEnded { .. })),
            count(|event| matches!(event, Event::QuoteKept { .. })),
            count(|event| matches!(event, Event::TurnChanged { .. })),
            count(|event| matches!(event, Event::MarksPublished { .. })),
            count(|event| matches!(event, Event::BreakerTripped { .. })),
            count(|event| matches!(event, Event::ProtectionTripped { .. })),
            count(|event| matches!(event, Event::SymbolClosed { .. })),
            ledger.name_count(),
        ]
        .into_iter()
        .enumerate()
        {
            reached[place] += found;
        }
    }
    assert!(
        reached.iter().all(|found| *found >= 20),
        "quotes, fills, moves, departures, closings, ends, keeps, turns, marks, breakers, protections, ends of symbols, orders: {reached:?}"
    );
}
