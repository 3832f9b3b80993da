//! The ledger, the makers, and all that lies between them.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use quorate_ledger::{
    Against, Answer, CancelOrder, Command, DefineSymbol, Envelope, Event, ExecuteOrder, Exposure, Frame,
    Input as Entry, LeaderCommand, Ledger, Millis, NewOrder, OrderType, Outcome, PlannedFill, Price, Qty, QuotingScope,
    RegisterExchange, Remainder, Response, SetExposureLimit, SetKillSwitch, SetQuoting, Side, Symbol, SymbolSpec,
    TimeInForce,
};
use quorate_quoter::{
    Answered, BeliefChange, CommandId, Config, Input, Output, Quoter, ReadId, Snapshot, SymbolSnapshot,
};
use quorate_strategy::FixedSpread;
use rand::{Rng, SeedableRng, rngs::SmallRng};

use super::watch::{Validation, Watch};

/// Log time at the start.
const EPOCH_MS: u64 = 1_700_000_000_000;
const LEASE_MS: u64 = 9_000;
/// Clock jumps of new leaders sum up to less than the margin of a belief.
const JUMP_MAX_MS: u64 = 800;

/// What is done to the group.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Action {
    /// Time passes.
    Run(u64),
    /// An order takes from a quote: symbol, side, lots.
    Take(usize, bool, i64),
    /// A run of orders takes from a quote, one lot each: symbol, how many, milliseconds between them.
    Burst(usize, u64, u64),
    /// An order rests a number of ticks from the reference price: symbol, side, ticks.
    RestOrder(usize, bool, i64),
    /// Every resting order is cancelled.
    CancelAll,
    /// The reference price moves.
    Reference(usize, i64),
    /// A maker's process stands still.
    Pause(usize, u64),
    /// Nothing passes between a maker and the group.
    Cut(usize, u64),
    /// A maker's next commands come late, and their answers are lost.
    Delay(usize, u64),
    /// A maker misses every frame on its way.
    RestartStream(usize),
    /// A maker leaves, and a new process takes its name.
    Leave(usize),
    /// A maker's process dies, and a new one takes its name.
    Kill(usize),
    /// A new leader, with its clock ahead.
    NewTerm(u64),
    /// Quoting off, and on again a second later.
    QuotingOff(usize),
    /// The kill switch, and its re-arming a second later.
    KillSwitch,
    /// The exposure limit.
    Limit(i64),
}

/// How a group is set up.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setup {
    pub(crate) seed: u64,
    pub(crate) symbols: usize,
    /// Lots asked for on each side.
    pub(crate) order_qty: i64,
    pub(crate) quote_ttl_ms: u64,
    /// Slowest way of a message, in milliseconds.
    pub(crate) delay_max_ms: u64,
}

#[derive(Debug)]
enum Happening {
    Wake(usize),
    Poll(usize),
    Tick,
    Arrives(usize, u64, CommandId, Command, bool),
    Answer(usize, CommandId, Command, Answered),
    Frame(usize),
    Look(usize, ReadId),
    Snapshot(usize, ReadId, Snapshot),
    Control(Command),
    Take(usize, bool),
}

struct Maker {
    quoter: Quoter,
    watch: Watch,
    /// Grows with each process that takes the name.
    life: u64,
    session: u64,
    frames: VecDeque<Frame>,
    frames_due: u64,
    paused_until: u64,
    cut_until: u64,
    delayed_until: u64,
}

/// A ledger and its makers.
pub(crate) struct Group {
    setup: Setup,
    rng: SmallRng,
    pub(crate) ledger: Ledger,
    makers: Vec<Maker>,
    queue: BTreeMap<(u64, u64), (u64, Happening)>,
    queued: u64,
    pub(crate) now: u64,
    jumped: u64,
    term: u64,
    /// The session of the exchange and of those who switch.
    session: u64,
    seq: u64,
    exchange: u64,
    exec_id: u64,
    orders: u64,
    references: Vec<i64>,
    /// When each symbol was last quoted, and the longest time between two quotes, since `measure`.
    quoted_at: BTreeMap<Symbol, u64>,
    pub(crate) longest_gap: BTreeMap<Symbol, u64>,
    /// Names of what occurred.
    pub(crate) seen: BTreeSet<String>,
}

impl Group {
    pub(crate) fn new(setup: Setup) -> Self {
        let rng = SmallRng::seed_from_u64(setup.seed);
        let mut group = Self {
            setup,
            rng,
            ledger: Ledger::new(),
            makers: Vec::new(),
            queue: BTreeMap::new(),
            queued: 0,
            now: 1_000,
            jumped: 0,
            term: 0,
            session: 0,
            seq: 0,
            exchange: 0,
            exec_id: 0,
            orders: 0,
            references: vec![10_000; setup.symbols],
            quoted_at: BTreeMap::new(),
            longest_gap: BTreeMap::new(),
            seen: BTreeSet::new(),
        };
        group.apply(&Entry::Leader(LeaderCommand::BeginTerm { term: 0, quote_age_proven: true, clock_jump_ms: 0 }));
        group.session = group.apply(&client(0, 0, Command::OpenSession)).index;
        for at in 0..setup.symbols {
            let one = "1".parse().unwrap();
            let spec = SymbolSpec { tick_size: one, lot_size: one, exposure_per_lot: 1 };
            let symbol = symbol(at);
            group.command(Command::DefineSymbol(DefineSymbol { symbol, spec }));
        }
        let registered = group.command(Command::RegisterExchange(RegisterExchange { exchange: "x".parse().unwrap() }));
        group.exchange = registered.index;
        group.makers = (0..3).map(|at| maker(at, setup)).collect();
        for at in 0..3 {
            group.begin(at);
        }
        group.at(50, 0, Happening::Tick);
        group
    }

    fn begin(&mut self, at: usize) {
        self.makers[at].session = self.apply(&client(0, 0, Command::OpenSession)).index;
        self.makers[at].frames_due = self.now;
        self.at(1, at, Happening::Wake(at));
        self.at(1, at, Happening::Poll(at));
    }

    /// Schedules for a maker's present life.
    fn at(&mut self, delay: u64, maker: usize, what: Happening) {
        let life = self.makers.get(maker).map_or(0, |maker| maker.life);
        self.queued += 1;
        self.queue.insert((self.now + delay, self.queued), (life, what));
    }

    fn delay(&mut self) -> u64 {
        self.rng.random_range(1..=self.setup.delay_max_ms)
    }

    /// Lets everything happen that is due within `ms`.
    pub(crate) fn run(&mut self, ms: u64) {
        let end = self.now + ms;
        while let Some((&(at, _), _)) = self.queue.first_key_value()
            && at <= end
        {
            let (_, (life, what)) = self.queue.pop_first().unwrap();
            self.now = at;
            self.happen(life, what);
            self.check();
        }
        self.now = end;
    }

    fn happen(&mut self, life: u64, what: Happening) {
        let maker = match &what {
            Happening::Tick | Happening::Control(_) | Happening::Take(..) | Happening::Arrives(..) => None,
            Happening::Wake(at)
            | Happening::Poll(at)
            | Happening::Answer(at, ..)
            | Happening::Frame(at)
            | Happening::Look(at, _)
            | Happening::Snapshot(at, ..) => Some(*at),
        };
        if let Some(at) = maker {
            let held = &self.makers[at];
            if held.life != life {
                return;
            }
            let by_network = !matches!(what, Happening::Wake(_));
            let hold = held.paused_until.max(if by_network { held.cut_until } else { 0 });
            if hold > self.now {
                return self.at(hold - self.now, at, what);
            }
        }
        match what {
            Happening::Tick => {
                self.apply(&Entry::Leader(LeaderCommand::Tick));
                self.at(50, 0, Happening::Tick);
            }
            Happening::Control(command) => {
                self.command(command);
            }
            Happening::Take(at, buy) => self.take(&symbol(at), buy, 1),
            Happening::Wake(at) => {
                let due = self.makers[at].watch.wake.is_none_or(|wake| self.clock(at) >= wake);
                if due {
                    self.handle(at, Input::Timer);
                }
            }
            Happening::Poll(at) => {
                let prices = self.references.iter().enumerate().map(|(at, price)| (symbol(at), Price(*price)));
                let prices = prices.collect();
                self.handle(at, Input::References(prices));
                self.at(100, at, Happening::Poll(at));
            }
            Happening::Arrives(at, session, id, command, answered) => {
                self.arrives((life, at, session), id, command, answered);
            }
            Happening::Answer(at, id, command, answer) => {
                let (accepted, refusal) = match &answer {
                    Answered::Response(Response { outcome: Outcome::Accepted(_), .. }) => (true, None),
                    Answered::Response(Response { outcome: Outcome::Refused(refusal), .. }) => (false, Some(refusal)),
                    Answered::NotApplied | Answered::Unknown => (false, None),
                };
                self.makers[at].watch.told_answer(id, &command, accepted, refusal);
                self.handle(at, Input::Answered { id, answer });
            }
            // One for each frame; whichever comes first brings the first, so that they stay in order.
            Happening::Frame(at) => {
                if let Some(frame) = self.makers[at].frames.pop_front() {
                    self.makers[at].watch.told_frame(&frame);
                    self.handle(at, Input::Frame(frame));
                }
            }
            Happening::Look(at, id) => {
                let snapshot = self.snapshot();
                let delay = self.delay();
                self.at(delay, at, Happening::Snapshot(at, id, snapshot));
            }
            Happening::Snapshot(at, id, snapshot) => {
                self.makers[at].watch.told_snapshot(id, &snapshot);
                self.handle(at, Input::Snapshot { id, snapshot });
            }
        }
    }

    fn arrives(&mut self, (life, at, session): (u64, usize, u64), id: CommandId, command: Command, answered: bool) {
        if matches!(command, Command::RegisterMaker(_)) && life != self.makers[at].life {
            return;
        }
        let cut = self.makers[at].cut_until > self.now;
        let answer = if cut {
            // Nothing went out. The client gives up after a while, and may or may not know that.
            match self.rng.random::<bool>() {
                true => Answered::NotApplied,
                false => Answered::Unknown,
            }
        } else {
            let response = self.apply(&client(session, id, command.clone()));
            Answered::Response(response)
        };
        if answered && life == self.makers[at].life {
            let delay = if cut { 1_000 } else { self.delay() };
            self.at(delay, at, Happening::Answer(at, id, command, answer));
        }
    }

    /// A maker's own monotonic clock: each began at another instant.
    fn clock(&self, at: usize) -> Duration {
        Duration::from_millis(self.now + 7_777 * at as u64)
    }

    fn handle(&mut self, at: usize, input: Input) {
        let now = self.clock(at);
        let lease = Duration::from_millis(LEASE_MS);
        let maker = &mut self.makers[at];
        if let Some(asked) = maker.watch.wake
            && now > asked + lease / 3
        {
            maker.watch.validation = Some(Validation::Renew);
            self.seen.insert("pause noticed".to_owned());
        }
        let outputs = maker.quoter.handle(now, input);
        for output in &outputs {
            if let Output::Belief(belief) = output {
                if belief.change == BeliefChange::Gained {
                    maker.watch.forget_stale(&belief.symbol);
                }
                self.seen.insert(format!("belief {:?}", belief.change));
            }
            maker.watch.did(now, lease, output);
        }
        let believed: Vec<_> = maker.quoter.beliefs().cloned().collect();
        let recorded: Vec<_> = maker.watch.beliefs.values().cloned().collect();
        assert_eq!(believed.len(), recorded.len());
        for output in outputs {
            self.carry(at, output);
        }
    }

    fn carry(&mut self, at: usize, output: Output) {
        let delay = self.delay();
        match output {
            Output::Submit { id, command } => {
                self.seen.insert(format!("sent {}", command.name()));
                let session = self.makers[at].session;
                // A registration is settled under its own session and number, so its answer is only late.
                let settled = matches!(command, Command::RegisterMaker(_));
                let late = self.makers[at].delayed_until.saturating_sub(self.now);
                let delay = if settled { delay + late } else { delay };
                let late = if settled { 0 } else { late };
                if late > 0 {
                    // The client gives up before the command arrives; it arrives all the same.
                    let later = late + self.rng.random_range(0..2_000);
                    self.at(later, at, Happening::Arrives(at, session, id, command.clone(), false));
                    self.at(late, at, Happening::Answer(at, id, command, Answered::Unknown));
                } else {
                    self.at(delay, at, Happening::Arrives(at, session, id, command, true));
                }
            }
            Output::Read(id) => self.at(delay, at, Happening::Look(at, id)),
            Output::WakeAt(wake) => {
                let ahead = wake.saturating_sub(self.clock(at));
                let ahead = u64::try_from(ahead.as_millis()).unwrap() + 1;
                self.at(ahead, at, Happening::Wake(at));
            }
            Output::Belief(_) => {}
            Output::Left => {
                self.seen.insert("left".to_owned());
                self.reborn(at);
            }
        }
    }

    /// A new process under the same name.
    fn reborn(&mut self, at: usize) {
        let life = self.makers[at].life + 1;
        self.makers[at] = Maker { life, ..maker(at, self.setup) };
        self.begin(at);
    }

    fn apply(&mut self, entry: &Entry) -> Response {
        let index = self.ledger.last_index() + 1;
        let stamp = Millis(EPOCH_MS + self.now + self.jumped);
        let (response, events) = self.ledger.apply(index, stamp, entry);
        if let Outcome::Refused(refusal) = &response.outcome {
            let text = format!("{refusal:?}");
            let name = text.split([' ', '{']).next().unwrap_or_default();
            self.seen.insert(format!("refused {name}"));
        }
        if let Outcome::Accepted(Answer::QuotePlaced { reduced: true, .. }) = &response.outcome {
            self.seen.insert("reduced".to_owned());
        }
        for event in &events {
            self.note(event);
        }
        let frame = Frame { index, log_time: response.log_time, chain: self.ledger.chain(), events };
        for at in 0..self.makers.len() {
            let due = self.makers[at].frames_due.max(self.now + self.delay());
            self.makers[at].frames_due = due;
            self.makers[at].frames.push_back(frame.clone());
            self.at(due - self.now, at, Happening::Frame(at));
        }
        response
    }

    fn note(&mut self, event: &Event) {
        match event {
            Event::QuotePlaced(placed) => {
                self.seen.insert(format!("cause {:?}", placed.cause));
                let before = self.quoted_at.insert(placed.symbol.clone(), self.now);
                let gap = self.now - before.unwrap_or(self.now);
                let longest = self.longest_gap.entry(placed.symbol.clone()).or_default();
                *longest = gap.max(*longest);
            }
            Event::AuthorityEnded { reason, .. } => {
                self.seen.insert(format!("authority ended {reason:?}"));
            }
            Event::QuoteEnded { reason, .. } => {
                self.seen.insert(format!("quote ended {reason:?}"));
            }
            _ => {}
        }
    }

    fn command(&mut self, command: Command) -> Response {
        self.seq += 1;
        self.apply(&client(self.session, self.seq, command))
    }

    fn snapshot(&self) -> Snapshot {
        let control = self.ledger.control();
        let read = |(symbol, state): (&Symbol, &quorate_ledger::SymbolState)| SymbolSnapshot {
            symbol: symbol.clone(),
            position_seq: state.position_seq,
            position: state.position,
            epoch: state.epoch,
            incarnation: state.holder.as_ref().map(|holder| holder.incarnation),
            moving: state.moving().is_some(),
            quote: self.ledger.active_quote(symbol).map(|quote| quote.id),
        };
        Snapshot {
            index: self.ledger.last_index(),
            symbols: self.ledger.symbols().map(read).collect(),
            control_version: control.version,
            kill_switch: control.kill_switch,
            quoting: !control.all_off,
            symbols_off: control.symbols_off.iter().cloned().collect(),
            makers_off: control.makers_off.iter().cloned().collect(),
        }
    }

    /// No two makers believe to hold one symbol, and what one believes the ledger confirms.
    fn check(&self) {
        let mut holders: BTreeMap<&Symbol, usize> = BTreeMap::new();
        for (at, maker) in self.makers.iter().enumerate() {
            let now = self.clock(at);
            for belief in maker.watch.beliefs.values().filter(|belief| now < belief.until) {
                let other = holders.insert(&belief.symbol, at);
                assert_eq!(other, None, "two believe to hold {}", belief.symbol);
                let state = self.ledger.symbol(&belief.symbol).unwrap();
                let holder = state.holder.as_ref().map(|holder| holder.incarnation);
                assert_eq!(holder, Some(belief.incarnation), "{at} believes to hold {} at {}", belief.symbol, self.now);
                assert_eq!(state.epoch, belief.epoch);
            }
        }
    }

    /// Does it.
    pub(crate) fn act(&mut self, action: Action) {
        let count = self.setup.symbols;
        match action {
            Action::Run(ms) => self.run(ms),
            Action::Take(at, buy, lots) => self.take(&symbol(at % count), buy, lots),
            Action::Burst(at, orders, every) => {
                for order in 0..orders {
                    let buy = self.rng.random();
                    self.at(order * every, 0, Happening::Take(at % count, buy));
                }
            }
            Action::RestOrder(at, buy, ticks) => self.rest(at % count, buy, ticks),
            Action::CancelAll => self.cancel_all(),
            Action::Reference(at, ticks) => {
                let price = &mut self.references[at % count];
                *price = (*price + ticks).clamp(5_000, 15_000);
            }
            Action::Pause(at, ms) => self.makers[at % 3].paused_until = self.now + ms,
            Action::Cut(at, ms) => self.makers[at % 3].cut_until = self.now + ms,
            Action::Delay(at, ms) => self.makers[at % 3].delayed_until = self.now + ms,
            Action::RestartStream(at) => {
                let at = at % 3;
                if self.makers[at].paused_until <= self.now {
                    self.makers[at].frames.clear();
                    self.handle(at, Input::StreamRestarted);
                }
            }
            Action::Leave(at) => {
                if self.makers[at % 3].paused_until <= self.now {
                    self.handle(at % 3, Input::Leave);
                }
            }
            Action::Kill(at) => self.reborn(at % 3),
            Action::NewTerm(jump) => self.new_term(jump),
            Action::QuotingOff(at) => {
                let scopes =
                    [QuotingScope::All, QuotingScope::Symbol(symbol(at % count)), QuotingScope::Maker(name(at % 3))];
                let scope = scopes[at % 3].clone();
                let version = self.ledger.control().version;
                let set = |on, control_version| SetQuoting { scope: scope.clone(), on, control_version };
                self.command(Command::SetQuoting(set(false, version)));
                self.at(1_000, 0, Happening::Control(Command::SetQuoting(set(true, version + 1))));
            }
            Action::KillSwitch => {
                let version = self.ledger.control().version;
                let set = |engaged, control_version| SetKillSwitch { engaged, control_version };
                self.command(Command::SetKillSwitch(set(true, version)));
                self.at(1_000, 0, Happening::Control(Command::SetKillSwitch(set(false, version + 1))));
            }
            Action::Limit(limit) => {
                let control_version = self.ledger.control().version;
                let set = SetExposureLimit { limit: Exposure(limit), control_version };
                self.command(Command::SetExposureLimit(set));
            }
        }
    }

    fn new_term(&mut self, jump: u64) {
        self.term += 1;
        let jump = jump.min(JUMP_MAX_MS - self.jumped);
        self.jumped += jump;
        let begin = LeaderCommand::BeginTerm { term: self.term, quote_age_proven: jump == 0, clock_jump_ms: jump };
        self.apply(&Entry::Leader(begin));
    }

    fn take(&mut self, symbol: &Symbol, buy: bool, lots: i64) {
        let Some(quote) = self.ledger.active_quote(symbol) else { return };
        let side = if buy { Side::Buy } else { Side::Sell };
        let resting = if buy { Side::Sell } else { Side::Buy };
        let leaves = quote.leaves(resting);
        let Some(leg) = quote.sides.of(resting).filter(|_| leaves.0 > 0) else { return };
        let qty = Qty(lots.clamp(1, leaves.0));
        let fill = PlannedFill { against: Against::Quote(quote.id), leaves, price: leg.price, qty };
        let (price, kind) = (None, OrderType::Market);
        self.execute(symbol, side, kind, TimeInForce::Ioc, price, qty, vec![fill], Remainder::None);
    }

    fn rest(&mut self, at: usize, buy: bool, ticks: i64) {
        let side = if buy { Side::Buy } else { Side::Sell };
        let price = self.references[at] + if buy { -ticks } else { ticks };
        let (kind, tif) = (OrderType::LimitMaker, TimeInForce::Gtc);
        let price = Some(Price(price));
        self.execute(&symbol(at), side, kind, tif, price, Qty(1), Vec::new(), Remainder::Rest);
    }

    #[allow(clippy::too_many_arguments)]
    fn execute(
        &mut self,
        symbol: &Symbol,
        side: Side,
        order_type: OrderType,
        time_in_force: TimeInForce,
        price: Option<Price>,
        qty: Qty,
        fills: Vec<PlannedFill>,
        remainder: Remainder,
    ) {
        self.orders += 1;
        let order = NewOrder {
            account: "a".parse().unwrap(),
            client_order_id: format!("o{}", self.orders).parse().unwrap(),
            symbol: symbol.clone(),
            side,
            order_type,
            time_in_force,
            price,
            qty,
            timestamp: self.ledger.log_time(),
        };
        let (exchange_epoch, exec_id) = (self.exchange, self.exec_id + 1);
        let deadline = self.ledger.log_time().plus(10_000);
        let execute = ExecuteOrder { exchange_epoch, exec_id, deadline, order, fills, remainder };
        if matches!(self.command(Command::ExecuteOrder(execute)).outcome, Outcome::Accepted(_)) {
            self.exec_id = exec_id;
        }
    }

    fn cancel_all(&mut self) {
        let open: Vec<_> = self.ledger.open_orders().map(|order| order.id).collect();
        for order_id in open {
            let account = "a".parse().unwrap();
            let cancel = CancelOrder { exchange_epoch: self.exchange, account, order_id };
            self.command(Command::CancelOrder(cancel));
        }
    }

    /// Ends every fault, and gives things the time to settle; then measures afresh.
    pub(crate) fn heal(&mut self) {
        for maker in &mut self.makers {
            (maker.paused_until, maker.cut_until, maker.delayed_until) = (0, 0, 0);
        }
        self.cancel_all();
        self.run(2_000);
        let version = self.ledger.control().version;
        let kill = SetKillSwitch { engaged: false, control_version: version };
        self.command(Command::SetKillSwitch(kill));
        let on = SetQuoting { scope: QuotingScope::All, on: true, control_version: version + 1 };
        self.command(Command::SetQuoting(on));
        for at in 0..self.setup.symbols.max(3) {
            for scope in [QuotingScope::Symbol(symbol(at % self.setup.symbols)), QuotingScope::Maker(name(at % 3))] {
                let control_version = self.ledger.control().version;
                self.command(Command::SetQuoting(SetQuoting { scope, on: true, control_version }));
            }
        }
        let limit = SetExposureLimit { limit: Exposure(100), control_version: self.ledger.control().version };
        self.command(Command::SetExposureLimit(limit));
        self.run(40_000);
        self.longest_gap.clear();
        self.quoted_at.clear();
    }
}

fn maker(at: usize, setup: Setup) -> Maker {
    let pricing = FixedSpread::new(5, setup.order_qty, 1, 500).unwrap();
    let mut config = Config::new(name(at), pricing);
    config.lease_ttl_ms = LEASE_MS;
    config.quote_ttl_ms = setup.quote_ttl_ms;
    config.reference_tolerance_ticks = 2;
    let quoter = Quoter::new(config).unwrap();
    let watch = Watch::default();
    let (life, session, frames_due, paused_until, cut_until, delayed_until) = (0, 0, 0, 0, 0, 0);
    let frames = VecDeque::new();
    Maker { quoter, watch, life, session, frames, frames_due, paused_until, cut_until, delayed_until }
}

fn client(session: u64, seq: u64, command: Command) -> Entry {
    Entry::Client(Envelope { session, seq, command })
}

pub(crate) fn symbol(at: usize) -> Symbol {
    format!("S{at}").parse().unwrap()
}

fn name(at: usize) -> quorate_ledger::MakerName {
    format!("maker-{at}").parse().unwrap()
}
