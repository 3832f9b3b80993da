//! Entries written by hand, for the bounds that chance does not reach.

use quorate_domain::{
    Account, ClientOrderId, Decimal, Instrument, MakerName, Millis, OrderType, Price, Qty, QuoteSide, Side, Symbol,
    TimeInForce,
};
use quorate_ledger::{
    Against, AnsweredBelow, Command, CommitParameters, ControlChange, ControlCommand, DefineSymbol, Digest, Envelope,
    ExecuteOrder, Input, LeaderCommand, MakerRef, NewOrder, PlaceQuote, PlannedFill, QuoteBasis, QuoteCause,
    QuotingScope, RegisterExchange, RegisterMaker, Remainder, Secret,
    bounds::{
        EXEC_WINDOW, FILLS_PER_ORDER_MAX, MAKERS_MAX, NAMES_MAX, QUOTING_OFF_MAKERS_MAX, SESSION_IDLE_MIN_MS,
        SESSION_IDLE_MS, SESSIONS_MAX, SYMBOLS_MAX,
    },
};

use crate::{generate::Step, naive::Model};

/// A growing list of entries, and the model's state after them.
pub(crate) struct Script {
    pub(crate) steps: Vec<Step>,
    pub(crate) model: Model,
    pub(crate) now: u64,
    session: u64,
    seq: u64,
}

impl Script {
    fn new() -> Self {
        Self { steps: Vec::new(), model: Model::new(NAMES_MAX), now: 1_700_000_000_000, session: 0, seq: 0 }
    }

    /// With a session open, in which [`Script::send`] sends.
    pub(crate) fn with_session() -> Self {
        let mut script = Self::new();
        script.session = script.in_session(0, 0, Command::OpenSession);
        script
    }

    fn in_session(&mut self, session: u64, seq: u64, command: Command) -> u64 {
        let index = self.next_index();
        let step = Step { index, now: Millis(self.now), input: Input::Client(Envelope { session, seq, command }) };
        self.model.apply(step.index, step.now, &step.input);
        self.steps.push(step);
        index
    }

    pub(crate) fn lead(&mut self, command: LeaderCommand) {
        let step = Step { index: self.next_index(), now: Millis(self.now), input: Input::Leader(command) };
        self.model.apply(step.index, step.now, &step.input);
        self.steps.push(step);
    }

    fn next_index(&self) -> u64 {
        u64::try_from(self.steps.len()).unwrap() + 1
    }

    /// Sends in the script's session, under the next number; the index.
    pub(crate) fn send(&mut self, command: Command) -> u64 {
        self.seq += 1;
        self.in_session(self.session, self.seq, command)
    }

    pub(crate) fn define(&mut self, name: &str) {
        self.send(define(name, 1));
    }

    pub(crate) fn register(&mut self, name: &str, ttl_ms: u64) -> MakerRef {
        let maker = MakerName::new(name).unwrap();
        let secret_hash = SECRET.hash();
        let incarnation =
            self.send(Command::RegisterMaker(RegisterMaker { maker: maker.clone(), ttl_ms, secret_hash }));
        MakerRef { maker, incarnation, secret: SECRET }
    }

    /// Commits the holder's parameters, where it has not done so.
    pub(crate) fn commit(&mut self, symbol: &Symbol) {
        let Some(holder) = self.model.symbols[symbol].holder.clone() else { return };
        let maker = &self.model.makers[&holder];
        if maker.parameters.contains_key(symbol) {
            return;
        }
        let (incarnation, symbol, text) = (maker.incarnation, symbol.clone(), String::from(PARAMETERS));
        let commit = CommitParameters { maker: holder, incarnation, secret: SECRET, symbol, text };
        self.send(Command::CommitParameters(commit));
    }

    pub(crate) fn quote(&mut self, name: &str, bid: Option<i64>, ask: Option<i64>, ttl_ms: u64) -> u64 {
        self.commit(&Symbol::new(name).unwrap());
        self.send(Command::PlaceQuote(self.quote_of(name, bid, ask, ttl_ms)))
    }

    /// A quote that the holder could place next: buying at 10, selling at 11.
    pub(crate) fn quote_of(&self, name: &str, bid: Option<i64>, ask: Option<i64>, ttl_ms: u64) -> PlaceQuote {
        let symbol = Symbol::new(name).unwrap();
        let state = &self.model.symbols[&symbol];
        let holder = state.holder.as_ref().unwrap();
        let side = |price, qty: i64| QuoteSide { price: Price(price), qty: Qty(qty) };
        PlaceQuote {
            incarnation: self.model.makers[holder].incarnation,
            secret: SECRET,
            epoch: state.epoch,
            revision: state.revision,
            quote_seq: state.quote_seq + 1,
            position_seq: self.model.position_seq(&symbol),
            bid: bid.map(|qty| side(10, qty)),
            ask: ask.map(|qty| side(11, qty)),
            allow_reduced: true,
            ttl_ms,
            cause: QuoteCause::Refresh,
            basis: basis(),
            symbol,
        }
    }
}

/// The secret of every maker of a script.
pub(crate) const SECRET: Secret = Secret([5; 32]);
const PARAMETERS: &str = "edge = 1";

fn basis() -> QuoteBasis {
    QuoteBasis {
        computed_at: 0,
        reference: None,
        room: None,
        strategy: "naive".parse().unwrap(),
        version: 1,
        parameters: Digest::of(PARAMETERS.as_bytes()),
        state: Vec::new(),
    }
}

pub(crate) fn control(control_version: u64, change: ControlChange) -> Command {
    let actor = "ops".parse().unwrap();
    Command::Control(ControlCommand { actor, reason: String::from("drill"), control_version, change })
}

pub(crate) fn define(name: &str, exposure_per_lot: i64) -> Command {
    let size = Decimal::new(1, 2).unwrap();
    let instrument = Instrument::spot("B".parse().unwrap(), "Q".parse().unwrap(), size, size, exposure_per_lot);
    Command::DefineSymbol(DefineSymbol { symbol: Symbol::new(name).unwrap(), instrument })
}

/// Buys one lot of `BTCUSDT` at `price`, filled against `against` or else as `remainder` says.
pub(crate) fn order(
    exchange_epoch: u64,
    exec_id: u64,
    now: u64,
    price: i64,
    fill: Option<Against>,
    remainder: Remainder,
) -> ExecuteOrder {
    let fill = fill.map(|against| PlannedFill { against, leaves: Qty(1), price: Price(price), qty: Qty(1) });
    ExecuteOrder {
        exchange_epoch,
        exec_id,
        answered_below: exec_id,
        also_answered: None,
        revision: 1,
        deadline: Millis(now + 1_000),
        order: NewOrder {
            account: Account::new("acc").unwrap(),
            client_order_id: ClientOrderId::new(&format!("o{exec_id}")).unwrap(),
            symbol: Symbol::new("BTCUSDT").unwrap(),
            side: Side::Buy,
            order_type: OrderType::Limit,
            time_in_force: TimeInForce::Gtc,
            price: Some(Price(price)),
            qty: Qty(1),
            timestamp: Millis(now),
        },
        fills: fill.into_iter().collect(),
        remainder,
    }
}

pub(crate) fn register_exchange() -> Command {
    Command::RegisterExchange(RegisterExchange { exchange: "x".parse().unwrap() })
}

/// Sessions up to the bound, refused beyond it, evicted after a minute, swept 64 at a time after ten.
pub(crate) fn sessions_at_the_bound() -> Vec<Step> {
    let mut script = Script::new();
    let first = script.in_session(0, 0, Command::OpenSession);
    let mut last = first;
    while script.model.sessions.len() < SESSIONS_MAX {
        script.now += 1;
        last = script.in_session(0, 0, Command::OpenSession);
    }
    script.in_session(0, 0, Command::OpenSession);
    // The first one has been used since, so that the second is the one to go, and not a moment too soon.
    script.in_session(first, 1, define("BTCUSDT", 1));
    let second_opened = script.model.sessions[&(first + 1)].last_use.0;
    for idle in [SESSION_IDLE_MIN_MS - 1, SESSION_IDLE_MIN_MS] {
        script.now = second_opened + idle;
        script.in_session(0, 0, Command::OpenSession);
    }
    for session in [first, first + 1, first + 2, last] {
        script.in_session(session, 2, define("BTCUSDT", 1));
    }
    // Due to be swept, and used before the sweep comes to it.
    script.now += SESSION_IDLE_MS;
    for session in [last, last - 1, first] {
        script.in_session(session, 3, define("BTCUSDT", 1));
    }
    for _ in 0..20 {
        script.in_session(0, 0, Command::OpenSession);
    }
    script.steps
}

/// Makers up to the bound; the one too many is refused, one that comes again is not.
pub(crate) fn makers_at_the_bound() -> Vec<Step> {
    let mut script = Script::with_session();
    for n in 0..100 {
        script.define(&format!("S{n}"));
    }
    for n in 0..=MAKERS_MAX {
        script.register(&format!("m{n}"), 60_000);
    }
    script.register("m7", 60_000);
    script.now += 60_000;
    script.register("late", 60_000);
    script.steps
}

/// Symbols up to the bound; the one too many is refused, one that is known is not.
pub(crate) fn symbols_at_the_bound() -> Vec<Step> {
    let mut script = Script::with_session();
    for n in 0..=SYMBOLS_MAX {
        script.define(&format!("S{n}"));
    }
    script.define("S0");
    // One that ends makes room for one more.
    let symbol = Symbol::new("S7").unwrap();
    script.send(control(0, ControlChange::CloseSymbol { symbol }));
    script.define("LATE");
    script.define("TOO-LATE");
    script.register("ada", 9_000);
    script.steps
}

/// Makers whose quoting is off up to the bound; the one too many is refused, one that is off already is not.
pub(crate) fn makers_off_at_the_bound() -> Vec<Step> {
    let mut script = Script::with_session();
    let turn = |n: usize, on: bool, control_version: u64| {
        let scope = QuotingScope::Maker(MakerName::new(&format!("m{n}")).unwrap());
        control(control_version, ControlChange::Quoting { scope, on })
    };
    for n in 0..=QUOTING_OFF_MAKERS_MAX {
        script.send(turn(n, false, script.model.control_version));
    }
    for (n, on) in [(0, false), (1, true), (QUOTING_OFF_MAKERS_MAX, false), (1, false)] {
        script.send(turn(n, on, script.model.control_version));
        script.send(turn(n, on, script.model.control_version + 1));
    }
    script.steps
}

/// Log time as far as it goes: nothing overflows, and everything is due at once.
pub(crate) fn the_end_of_time() -> Vec<Step> {
    let mut script = Script::with_session();
    let exchange = script.send(register_exchange());
    script.define("BTCUSDT");
    let symbol = Symbol::new("BTCUSDT").unwrap();
    for left in [100_000_000, 600_001, 50, 1, 0, 0] {
        script.now = u64::MAX - left;
        script.session = script.in_session(0, 0, Command::OpenSession);
        script.seq = 0;
        script.register("ada", 9_000);
        script.register("bob", 60_000);
        script.commit(&symbol);
        // The next apply sweeps every lease that ended with time itself.
        if script.model.symbols[&symbol].holder.is_some() {
            script.quote("BTCUSDT", Some(1), Some(1), 30_000);
        }
        let mut resting = order(exchange, script.model.last_exec_id(&symbol) + 1, 0, 10, None, Remainder::Rest);
        (resting.deadline, resting.order.timestamp) = (Millis(u64::MAX), Millis(script.now));
        script.send(Command::ExecuteOrder(resting));
        let term = script.model.term + 1;
        script.lead(LeaderCommand::BeginTerm { term, quote_age_proven: true, clock_jump_ms: u64::MAX });
    }
    script.steps
}

/// As many fills in one order as there may be, one more, and one less.
pub(crate) fn fills_at_the_bound() -> Vec<Step> {
    let mut script = Script::with_session();
    let exchange = script.send(register_exchange());
    script.define("BTCUSDT");
    let symbol = Symbol::new("BTCUSDT").unwrap();
    let bound = i64::try_from(FILLS_PER_ORDER_MAX).unwrap();
    for count in [bound + 1, bound, bound - 1] {
        let mut resting =
            order(exchange, script.model.last_exec_id(&symbol) + 1, script.now, 10, None, Remainder::Rest);
        resting.order.qty = Qty(count);
        let against = Against::Order(script.send(Command::ExecuteOrder(resting)));
        let mut taking = order(exchange, script.model.last_exec_id(&symbol) + 1, script.now, 10, None, Remainder::None);
        (taking.order.side, taking.order.qty) = (Side::Sell, Qty(count));
        let fill = |leaves| PlannedFill { against, leaves: Qty(leaves), price: Price(10), qty: Qty(1) };
        taking.fills = (1..=count).rev().map(fill).collect();
        script.send(Command::ExecuteOrder(taking));
    }
    script.steps
}

/// Answers by `exec_id` are kept until the exchange says that it has them, over all symbols, and no more of them than there may be.
pub(crate) fn executions_beyond_the_window() -> Vec<Step> {
    let mut script = Script::with_session();
    let exchange = script.send(register_exchange());
    script.define("BTCUSDT");
    script.define("ETHUSDT");
    let (now, window) = (script.now, EXEC_WINDOW as u64);
    let execution = |symbol: &str, exec_id, answered_below| {
        let mut execute = order(exchange, exec_id, now, 10, None, Remainder::Expire);
        execute.order.symbol = Symbol::new(symbol).unwrap();
        execute.order.client_order_id = ClientOrderId::new(&format!("{symbol}-{exec_id}")).unwrap();
        execute.answered_below = answered_below;
        Command::ExecuteOrder(execute)
    };
    for exec_id in 1..=window - 2 {
        script.send(execution("BTCUSDT", exec_id, 1));
    }
    for exec_id in 1..=3 {
        script.send(execution("ETHUSDT", exec_id, 1));
    }
    // Full for both, and a repeat is answered all the same.
    script.send(execution("BTCUSDT", window - 1, 1));
    script.send(execution("BTCUSDT", 1, 1));
    // One symbol's answers go, and there is room for the other.
    script.send(execution("ETHUSDT", 3, 3));
    script.send(execution("BTCUSDT", window - 1, 1));
    // Refused for its answered_below, and nothing is dropped; then for its exec_id, and the answers go.
    script.send(execution("BTCUSDT", window, window + 1));
    script.send(execution("BTCUSDT", window + 9, 6));
    for exec_id in [5, 6, 7, window - 1] {
        script.send(execution("BTCUSDT", exec_id, 1));
    }
    // What an order of the one says of the other: too much, of itself, of a symbol without answers, and then that they go.
    for (also, below) in [("BTCUSDT", window + 1), ("ETHUSDT", 1), ("NOSUCH", 2), ("NOSUCH", 1), ("BTCUSDT", window)] {
        let Command::ExecuteOrder(execute) = execution("ETHUSDT", 4, 1) else { unreachable!("it is one") };
        let also_answered = Some(AnsweredBelow { symbol: Symbol::new(also).unwrap(), below });
        script.send(Command::ExecuteOrder(ExecuteOrder { also_answered, ..execute }));
    }
    script.send(execution("BTCUSDT", window - 1, 1));
    script.steps
}
