//! One test for each rule of `docs/ledger.md`, through `apply` alone; every apply is audited.

mod audit;
mod authority;
mod closing;
mod control;
mod equity;
mod instrument;
mod marks;
mod money;
mod names;
mod order;
mod quote;
mod revisions;
mod session;
mod sharing;
mod sweep;
mod turns;

use quorate_domain::*;

use crate::*;

pub(crate) const START: u64 = 1_000_000;
pub(crate) const TTL: u64 = 9_000;
/// The secret of every maker, and what each commits as its parameters for each symbol.
pub(crate) const SECRET: Secret = Secret([5; 32]);
pub(crate) const PARAMETERS: &str = "edge = 1";

/// A ledger with one client's session, a log index and a clock.
pub(crate) struct Rig {
    pub(crate) ledger: Ledger,
    pub(crate) now: u64,
    pub(crate) session: SessionId,
    pub(crate) seq: u64,
    /// Of the last apply.
    pub(crate) events: Vec<Event>,
    pub(crate) last: Option<Response>,
}

impl Rig {
    pub(crate) fn new() -> Self {
        Self::of(Ledger::new())
    }

    /// With room for so many names of orders, a symbol and an exchange.
    pub(crate) fn with_names_max(names_max: usize) -> Self {
        let mut rig = Self::of(Ledger::with_names_max(names_max));
        rig.define("AAA", 1);
        rig.register_exchange();
        rig
    }

    fn of(ledger: Ledger) -> Self {
        let mut rig = Self { ledger, now: START, session: 0, seq: 0, events: Vec::new(), last: None };
        rig.session = rig.open_session();
        rig
    }

    /// With these symbols, of one exposure unit a lot.
    pub(crate) fn with_symbols(symbols: &[&str]) -> Self {
        let mut rig = Self::new();
        for symbol in symbols {
            rig.define(symbol, 1);
        }
        rig
    }

    pub(crate) fn apply(&mut self, input: &Input) -> Outcome {
        let index = self.ledger.last_index() + 1;
        let (response, events) = self.ledger.apply(index, Millis(self.now), input);
        let violations = self.ledger.audit();
        assert!(violations.is_empty(), "after {input:?}: {violations:?}");
        self.events = events;
        self.last = Some(response.clone());
        response.outcome
    }

    pub(crate) fn index(&self) -> u64 {
        self.ledger.last_index()
    }

    pub(crate) fn sent(&mut self, session: SessionId, seq: u64, command: Command) -> Outcome {
        self.apply(&Input::Client(Envelope { session, seq, command }))
    }

    pub(crate) fn send(&mut self, command: Command) -> Outcome {
        self.seq += 1;
        self.sent(self.session, self.seq, command)
    }

    pub(crate) fn ok(&mut self, command: Command) -> Answer {
        match self.send(command.clone()) {
            Outcome::Accepted(answer) => answer,
            Outcome::Refused(refusal) => panic!("{command:?} was refused: {refusal}"),
        }
    }

    pub(crate) fn refused(&mut self, command: Command) -> Refusal {
        match self.send(command.clone()) {
            Outcome::Refused(refusal) => refusal,
            Outcome::Accepted(answer) => panic!("{command:?} was accepted: {answer:?}"),
        }
    }

    pub(crate) fn tick(&mut self) {
        self.apply(&Input::Leader(LeaderCommand::Tick));
    }

    pub(crate) fn tick_at(&mut self, now: u64) {
        self.now = now;
        self.tick();
    }

    pub(crate) fn begin_term(&mut self, term: u64, quote_age_proven: bool) {
        self.apply(&Input::Leader(LeaderCommand::BeginTerm { term, quote_age_proven, clock_jump_ms: 0 }));
    }

    pub(crate) fn open_session(&mut self) -> SessionId {
        match self.sent(0, 0, Command::OpenSession) {
            Outcome::Accepted(Answer::SessionOpened { session }) => session,
            other => panic!("no session: {other:?}"),
        }
    }

    pub(crate) fn define(&mut self, name: &str, exposure_per_lot: i64) {
        self.ok(define(name, exposure_per_lot));
        self.commit_all();
    }

    /// Registers a maker with a lease of `TTL`, which commits its parameters; its incarnation.
    pub(crate) fn join(&mut self, name: &str) -> Incarnation {
        self.ok(register(name, TTL));
        let incarnation = self.index();
        self.commit_all();
        incarnation
    }

    /// Lets every maker commit its parameters for every symbol; what the last apply said stays in view.
    fn commit_all(&mut self) {
        let (events, last) = (self.events.clone(), self.last.clone());
        let makers: Vec<MakerName> = self.ledger.makers().map(|(name, _)| name.clone()).collect();
        let symbols: Vec<Symbol> = self.ledger.symbols().map(|(name, _)| name.clone()).collect();
        for maker in &makers {
            for symbol in &symbols {
                if !self.ledger.tables.parameters.contains_key(&(maker.clone(), symbol.clone())) {
                    self.ok(commit(self.maker_ref(maker.as_str()), symbol.as_str(), PARAMETERS));
                }
            }
        }
        (self.events, self.last) = (events, last);
    }

    pub(crate) fn renew(&mut self, name: &str) -> Answer {
        let maker = self.maker_ref(name);
        self.ok(Command::RenewMaker(maker))
    }

    pub(crate) fn leave(&mut self, name: &str) {
        let maker = self.maker_ref(name);
        self.ok(Command::DeregisterMaker(maker));
    }

    pub(crate) fn maker_ref(&self, name: &str) -> MakerRef {
        let maker = maker(name);
        MakerRef { incarnation: self.ledger.incarnation(&maker).unwrap(), maker, secret: SECRET }
    }

    pub(crate) fn state(&self, name: &str) -> &SymbolState {
        self.ledger.symbol(&symbol(name)).unwrap()
    }

    pub(crate) fn holder(&self, name: &str) -> Option<&str> {
        self.state(name).holder.as_ref().map(|holder| holder.maker.as_str())
    }

    pub(crate) fn moving_to(&self, name: &str) -> Option<&str> {
        self.state(name).moving().map(|moving| moving.to.as_str())
    }

    pub(crate) fn release(&mut self, name: &str) {
        let epoch = self.state(name).epoch;
        self.ok(Command::ReleaseSymbol(ReleaseSymbol { symbol: symbol(name), epoch, secret: SECRET }));
    }

    /// A quote that the holder of `name` could place now: 99 and 101, with `qty` lots on each side.
    pub(crate) fn quote(&self, name: &str, qty: i64) -> PlaceQuote {
        let state = self.state(name);
        PlaceQuote {
            symbol: symbol(name),
            incarnation: state.holder.as_ref().map_or(0, |holder| holder.incarnation),
            secret: SECRET,
            epoch: state.epoch,
            revision: state.revision,
            quote_seq: state.quote_seq + 1,
            position_seq: state.position_seq,
            bid: Some(side(99, qty)),
            ask: Some(side(101, qty)),
            allow_reduced: false,
            ttl_ms: 30_000,
            cause: QuoteCause::Refresh,
            basis: self.basis(),
        }
    }

    pub(crate) fn basis(&self) -> QuoteBasis {
        QuoteBasis {
            computed_at: self.index(),
            reference: None,
            room: None,
            strategy: StrategyName::new("naive").unwrap(),
            version: 1,
            parameters: Digest::of(PARAMETERS.as_bytes()),
            state: Vec::new(),
        }
    }

    /// What its maker could send to keep the quote of `name` as it stands.
    pub(crate) fn keep(&self, name: &str) -> KeepQuote {
        let PlaceQuote { symbol, incarnation, secret, epoch, revision, quote_seq, position_seq, ttl_ms, basis, .. } =
            self.quote(name, 1);
        let quote_id = self.state(name).quote.as_ref().map_or(0, |quote| quote.id);
        KeepQuote { symbol, incarnation, secret, epoch, revision, quote_seq, quote_id, position_seq, ttl_ms, basis }
    }

    /// Places it; the quote's id.
    pub(crate) fn place(&mut self, name: &str, qty: i64) -> QuoteId {
        let quote = self.quote(name, qty);
        self.ok(Command::PlaceQuote(quote));
        self.index()
    }

    pub(crate) fn pull(&mut self, name: &str) -> Answer {
        let pull = self.pulling(name);
        self.ok(Command::PullQuote(pull))
    }

    pub(crate) fn pulling(&self, name: &str) -> PullQuote {
        let state = self.state(name);
        PullQuote { symbol: symbol(name), epoch: state.epoch, secret: SECRET, quote_seq: state.quote_seq + 1 }
    }

    /// What people decide, on the present control version.
    pub(crate) fn decide(&mut self, change: ControlChange) {
        let version = self.ledger.control().version;
        self.ok(control(change, version));
    }

    /// Publishes one mark, in half ticks; what became of it.
    pub(crate) fn mark(&mut self, name: &str, price: i64, time: u64) -> Answer {
        let (symbol, revision) = (symbol(name), self.state(name).revision);
        let exchange_epoch = self.ledger.exchange().map_or(0, |exchange| exchange.epoch);
        let marks = vec![SymbolMark { symbol, revision, price: RefPrice(price), time: Millis(time) }];
        self.ok(Command::PublishMarks(PublishMarks { exchange_epoch, marks }))
    }

    pub(crate) fn register_exchange(&mut self) -> ExchangeEpoch {
        self.ok(Command::RegisterExchange(RegisterExchange { exchange: ExchangeName::new("venue").unwrap() }));
        self.index()
    }

    /// A good-till-cancelled limit order that rests, under the next exec id.
    pub(crate) fn order(&self, name: &str, id: &str, side: Side, price: i64, qty: i64) -> ExecuteOrder {
        let exchange = self.ledger.exchange();
        let exec_id = exchange.map_or(0, |exchange| exchange.last_exec_id(&symbol(name))) + 1;
        ExecuteOrder {
            exchange_epoch: exchange.map_or(0, |exchange| exchange.epoch),
            exec_id,
            answered_below: exec_id,
            also_answered: None,
            revision: self.ledger.symbol(&symbol(name)).map_or(1, |state| state.revision),
            deadline: Millis(self.now + 5_000),
            order: NewOrder {
                account: Account::new("alice").unwrap(),
                client_order_id: ClientOrderId::new(id).unwrap(),
                symbol: symbol(name),
                side,
                order_type: OrderType::Limit,
                time_in_force: TimeInForce::Gtc,
                price: Some(Price(price)),
                qty: Qty(qty),
                timestamp: Millis(self.now),
            },
            fills: Vec::new(),
            remainder: Remainder::Rest,
        }
    }

    /// Puts an order into the book; its id.
    pub(crate) fn rest(&mut self, name: &str, id: &str, side: Side, price: i64, qty: i64) -> OrderId {
        let order = self.order(name, id, side, price, qty);
        self.ok(Command::ExecuteOrder(order));
        self.index()
    }

    /// Takes `qty` lots of the symbol's quote, whole.
    pub(crate) fn take(&mut self, name: &str, id: &str, side: Side, qty: i64) -> Answer {
        let order = self.taking(name, id, side, qty);
        self.ok(Command::ExecuteOrder(order))
    }

    pub(crate) fn taking(&self, name: &str, id: &str, side: Side, qty: i64) -> ExecuteOrder {
        let quote = self.state(name).quote.as_ref().unwrap();
        let leg = quote.sides.of(side.opposite()).unwrap();
        let mut order = self.order(name, id, side, leg.price.0, qty);
        order.fills = vec![PlannedFill {
            against: Against::Quote(quote.id),
            leaves: leg.leaves,
            price: leg.price,
            qty: Qty(qty),
        }];
        order.remainder = Remainder::None;
        order
    }

    /// Places a quote with these lots that allows a reduction; what was granted.
    pub(crate) fn ask_for(&mut self, name: &str, bid: i64, ask: i64) -> Result<(i64, i64), Refusal> {
        let mut quote = self.quote(name, 1);
        quote.bid = (bid > 0).then(|| side(99, bid));
        quote.ask = (ask > 0).then(|| side(101, ask));
        quote.allow_reduced = true;
        match self.send(Command::PlaceQuote(quote)) {
            Outcome::Accepted(Answer::QuotePlaced { bid_qty, ask_qty, .. }) => Ok((bid_qty.0, ask_qty.0)),
            Outcome::Accepted(other) => panic!("not a quote's answer: {other:?}"),
            Outcome::Refused(refusal) => Err(refusal),
        }
    }

    pub(crate) fn reserved(&self) -> (i128, i128) {
        (self.ledger.reserved().bid.0, self.ledger.reserved().ask.0)
    }
}

pub(crate) fn symbol(name: &str) -> Symbol {
    Symbol::new(name).unwrap()
}

pub(crate) fn maker(name: &str) -> MakerName {
    MakerName::new(name).unwrap()
}

pub(crate) fn side(price: i64, qty: i64) -> QuoteSide {
    QuoteSide { price: Price(price), qty: Qty(qty) }
}

/// Ticks x lots of the instrument below.
pub(crate) fn money(ticks_by_lots: i128) -> Money {
    Money(ticks_by_lots * 10_000_000)
}

pub(crate) fn instrument(exposure_per_lot: i64) -> Instrument {
    let asset = |name: &str| name.parse().unwrap();
    let (tick_size, lot_size) = ("0.01".parse().unwrap(), "0.001".parse().unwrap());
    Instrument::spot(asset("BASE"), asset("QUOTE"), tick_size, lot_size, exposure_per_lot)
}

pub(crate) fn define(name: &str, exposure_per_lot: i64) -> Command {
    Command::DefineSymbol(DefineSymbol { symbol: symbol(name), instrument: instrument(exposure_per_lot) })
}

pub(crate) fn register(name: &str, ttl_ms: u64) -> Command {
    Command::RegisterMaker(RegisterMaker { maker: maker(name), ttl_ms, secret_hash: SECRET.hash() })
}

pub(crate) fn commit(maker: MakerRef, name: &str, text: &str) -> Command {
    let MakerRef { maker, incarnation, secret } = maker;
    Command::CommitParameters(CommitParameters {
        maker,
        incarnation,
        secret,
        symbol: symbol(name),
        text: text.to_owned(),
    })
}

pub(crate) fn control(change: ControlChange, control_version: u64) -> Command {
    let (actor, reason) = (ActorName::new("ops").unwrap(), "drill".to_owned());
    Command::Control(ControlCommand { actor, reason, control_version, change })
}

pub(crate) fn limit(limit: i128, control_version: u64) -> Command {
    control(ControlChange::ExposureLimit { limit: Exposure(limit) }, control_version)
}
