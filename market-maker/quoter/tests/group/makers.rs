//! The ledger, the makers, and all that lies between them.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use quorate_domain::{Instrument, MakerName, Millis, Price, Symbol};
use quorate_ledger::{
    Answer, Command, DefineSymbol, Envelope, Event, Frame, Input as Entry, LeaderCommand, Ledger, Outcome, Reference,
    RegisterExchange, Response, Secret,
};
use quorate_quoter::{
    Answered, BeliefChange, CommandId, Config, Input, Observed, Output, Quoter, ReadId, RestingOrder, Snapshot,
    SymbolSnapshot,
};
use quorate_strategy::FixedSpread;
use rand::{Rng, SeedableRng, rngs::SmallRng};

use super::watch::{Validation, Watch};

/// Log time at the start.
const EPOCH_MS: u64 = 1_700_000_000_000;
const LEASE_MS: u64 = 9_000;
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
pub(crate) enum Happening {
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

pub(crate) struct Maker {
    pub(crate) quoter: Quoter,
    pub(crate) watch: Watch,
    /// Grows with each process that takes the name.
    pub(crate) life: u64,
    pub(crate) session: u64,
    pub(crate) frames: VecDeque<Frame>,
    pub(crate) frames_due: u64,
    pub(crate) paused_until: u64,
    pub(crate) cut_until: u64,
    pub(crate) delayed_until: u64,
    pub(crate) deaf_until: u64,
}

/// A ledger and its makers.
pub(crate) struct Group {
    pub(crate) setup: Setup,
    pub(crate) rng: SmallRng,
    pub(crate) ledger: Ledger,
    pub(crate) makers: Vec<Maker>,
    pub(crate) queue: BTreeMap<(u64, u64), (u64, Happening)>,
    pub(crate) queued: u64,
    pub(crate) now: u64,
    pub(crate) jumped: u64,
    pub(crate) term: u64,
    /// The session of the exchange and of those who switch.
    pub(crate) session: u64,
    pub(crate) seq: u64,
    pub(crate) exchange: u64,
    pub(crate) orders: u64,
    pub(crate) references: Vec<i64>,
    /// When each symbol was last quoted, and the longest time between two quotes, since `measure`.
    pub(crate) quoted_at: BTreeMap<Symbol, u64>,
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
            let instrument = Instrument::spot("B".parse().unwrap(), "Q".parse().unwrap(), one, one, 1);
            let symbol = symbol(at);
            group.command(Command::DefineSymbol(DefineSymbol { symbol, instrument }));
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
    pub(crate) fn at(&mut self, delay: u64, maker: usize, what: Happening) {
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
            let heard = matches!(what, Happening::Frame(_) | Happening::Look(..) | Happening::Snapshot(..));
            let hold = held.paused_until.max(if by_network { held.cut_until } else { 0 });
            let hold = hold.max(if heard { held.deaf_until } else { 0 });
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
                let age = Duration::ZERO;
                let (seq, time) = (self.now, Millis(EPOCH_MS + self.now));
                let observed = |(at, price): (usize, &i64)| {
                    let (source, price) = ("feed".parse().unwrap(), Price(*price).into());
                    Observed { symbol: symbol(at), reference: Reference { source, price, seq, time }, age }
                };
                let prices = self.references.iter().enumerate().map(observed).collect();
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

    pub(crate) fn handle(&mut self, at: usize, input: Input) {
        let now = self.clock(at);
        let lease = Duration::from_millis(LEASE_MS);
        let maker = &mut self.makers[at];
        if let Some(asked) = maker.watch.wake
            && now > asked + lease / 3
        {
            maker.watch.validation = Some(Validation::Renew);
            self.seen.insert("pause noticed".to_owned());
        }
        let renewed = matches!(
            &input,
            Input::Answered {
                answer: Answered::Response(Response { outcome: Outcome::Accepted(Answer::MakerRenewed { .. }), .. }),
                ..
            }
        );
        let outputs = maker.quoter.handle(now, input);
        let believes = |output: &Output| matches!(output, Output::Belief(_));
        if renewed && !maker.watch.beliefs.is_empty() && !outputs.iter().any(believes) {
            self.seen.insert("renewed, and its holdings were not known".to_owned());
        }
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
            Output::Belief(_) | Output::Priced(..) => {}
            Output::Left => {
                self.seen.insert("left".to_owned());
                self.reborn(at);
            }
        }
    }

    /// A new process under the same name.
    pub(crate) fn reborn(&mut self, at: usize) {
        let life = self.makers[at].life + 1;
        self.makers[at] = Maker { life, ..maker(at, self.setup) };
        self.begin(at);
    }

    pub(crate) fn apply(&mut self, entry: &Entry) -> Response {
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
                self.quoted(&placed.symbol);
            }
            Event::QuoteKept { symbol, .. } => {
                self.seen.insert("kept".to_owned());
                self.quoted(symbol);
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

    /// The symbol's quote was placed or kept.
    fn quoted(&mut self, symbol: &Symbol) {
        let before = self.quoted_at.insert(symbol.clone(), self.now);
        let gap = self.now - before.unwrap_or(self.now);
        let longest = self.longest_gap.entry(symbol.clone()).or_default();
        *longest = gap.max(*longest);
    }

    pub(crate) fn command(&mut self, command: Command) -> Response {
        self.seq += 1;
        self.apply(&client(self.session, self.seq, command))
    }

    fn snapshot(&self) -> Snapshot {
        let control = self.ledger.control();
        let read = |(symbol, state): (&Symbol, &quorate_ledger::SymbolState)| SymbolSnapshot {
            symbol: symbol.clone(),
            position_seq: state.position_seq,
            position: state.position(),
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
            orders: self.ledger.open_orders().filter_map(resting).collect(),
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
}

fn maker(at: usize, setup: Setup) -> Maker {
    let pricing = FixedSpread::new(5, setup.order_qty, 50, 500).unwrap();
    let mut config = Config::new(name(at), secret(at), pricing);
    config.lease_ttl_ms = LEASE_MS;
    config.quote_ttl_ms = setup.quote_ttl_ms;
    config.tolerance_ticks = 2;
    let quoter = Quoter::new(config).unwrap();
    let watch = Watch::default();
    let (life, session, frames_due, paused_until, cut_until, delayed_until, deaf_until) = (0, 0, 0, 0, 0, 0, 0);
    let frames = VecDeque::new();
    Maker { quoter, watch, life, session, frames, frames_due, paused_until, cut_until, delayed_until, deaf_until }
}

fn secret(at: usize) -> Secret {
    Secret([u8::try_from(at).unwrap(); 32])
}

fn client(session: u64, seq: u64, command: Command) -> Entry {
    Entry::Client(Envelope { session, seq, command })
}

pub(crate) fn symbol(at: usize) -> Symbol {
    format!("S{at}").parse().unwrap()
}

pub(crate) fn name(at: usize) -> MakerName {
    format!("maker-{at}").parse().unwrap()
}

fn resting(order: &quorate_ledger::Order) -> Option<RestingOrder> {
    let new = &order.order;
    Some(RestingOrder { order_id: order.id, symbol: new.symbol.clone(), side: new.side, price: new.price? })
}
