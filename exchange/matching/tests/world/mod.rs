//! A world around one engine: the real ledger, one maker, clients that retry, and a network that loses,
//! delays, repeats and reorders. Every step is drawn from one seed, and judged as it happens.

// Each test binary uses its own part of it, and none is a library.
#![allow(dead_code, unreachable_pub)]

pub mod judge;
pub mod names;

use std::collections::{BTreeMap, BTreeSet};

use quorate_domain::{ClientOrderId, Millis, OrderId, Price, Qty, QuoteSide, Side, Symbol};
use quorate_ledger::{
    Answer, Command, Envelope, Event, ExchangeEpoch, Frame, Input as LedgerInput, Ledger, NewOrder, Outcome, Refusal,
    Response,
};
use quorate_matching::{
    Answered, CancelOutcome, Committed, Config, Control, Effect, Engine, Halt, Input, Only, OpenOrder, OrderOutcome,
    Quote, QuoteLeaves, RequestId, Section, Snapshot, Stats, Submission, SubmissionId, Target, Terms,
};

use names::{SECRET, account, basis, commit_parameters, define, exchange, maker, switch, symbol};

/// SplitMix64: small, and the same everywhere.
pub struct Rng(pub u64);

impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// In `from..to`.
    pub fn range(&mut self, from: i64, to: i64) -> i64 {
        let span = u64::try_from(to - from).unwrap();
        from + i64::try_from(self.next() % span).unwrap()
    }

    pub fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() % n as u64).unwrap()
    }

    pub fn percent(&mut self, p: u64) -> bool {
        self.next() % 100 < p
    }
}

/// One attempt at a submission, on its way to the ledger.
#[derive(Debug, Clone)]
pub struct Packet {
    pub generation: u64,
    pub submission: Submission,
    pub session: u64,
    pub seq: u64,
    /// A copy left in the network: its answer goes nowhere.
    pub ghost: bool,
}

/// The engine with what its process keeps for it.
pub struct Live {
    pub engine: Engine,
    pub generation: u64,
    pub session: u64,
    pub seq: u64,
    /// The (session, seq) of each submission.
    pub sent: BTreeMap<SubmissionId, (Submission, u64, u64)>,
}

/// What was known when an execution was planned.
#[derive(Debug, Clone, Copy)]
pub struct Planned {
    pub applied: u64,
    pub now: Millis,
    pub gave_up: bool,
}

/// One order of a client, over all its requests.
#[derive(Debug)]
pub struct ClientOrder {
    pub order: NewOrder,
    pub waiting: BTreeSet<RequestId>,
    /// A request of it ended without a definite answer: it must be asked again.
    pub lost: bool,
    /// That was so before: a denial then speaks only for the request denied.
    pub ever_lost: bool,
    pub end: Option<End>,
}

/// What a client knows in the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Executed(OrderId),
    NotExecuted,
}

/// What was asked by a request.
#[derive(Debug, Clone)]
pub enum Asked {
    Order(ClientOrderId),
    Cancel(Target, Option<Only>),
}

pub struct World {
    pub seed: u64,
    pub rng: Rng,
    pub ledger: Ledger,
    pub time: u64,
    pub frames: Vec<Frame>,
    pub live: Live,
    pub next_frame: u64,
    pub packets: Vec<Packet>,
    pub answers: Vec<(u64, SubmissionId, Answered)>,
    pub clients: BTreeMap<ClientOrderId, ClientOrder>,
    pub outstanding: BTreeMap<RequestId, Asked>,
    pub next_request: u64,
    pub planned: BTreeMap<(ExchangeEpoch, u64, ClientOrderId), Planned>,
    /// The last index at which a symbol's liquidity changed otherwise than by an execution.
    pub moved: BTreeMap<Symbol, u64>,
    pub judge: judge::Judge,
    /// What callers were told, in order.
    pub replies: Vec<(RequestId, OrderOutcome)>,
    pub cancel_replies: Vec<(RequestId, CancelOutcome)>,
    /// Orders that ended because they met one of their own account.
    pub in_match: Vec<OrderId>,
    /// When the engine asked to be woken.
    pub wakes: Vec<Millis>,
    pub config: Config,
    pub stats: Stats,
    maker_session: u64,
    maker_seq: u64,
    pub incarnation: u64,
    pub quote_seq: u64,
    /// The ledger is audited after so many entries.
    pub audit_every: usize,
    /// By how many ms the process's estimate of log time is off at most.
    pub clock_error: i64,
}

impl World {
    pub fn new(seed: u64, config: Config) -> Self {
        let ledger = Ledger::new();
        let live = Live {
            engine: Engine::recover(config, 0, Snapshot::default()),
            generation: 0,
            session: 0,
            seq: 0,
            sent: BTreeMap::new(),
        };
        let mut world = Self {
            seed,
            rng: Rng(seed),
            ledger,
            time: 1_000_000,
            frames: Vec::new(),
            live,
            next_frame: 1,
            packets: Vec::new(),
            answers: Vec::new(),
            clients: BTreeMap::new(),
            outstanding: BTreeMap::new(),
            next_request: 1,
            planned: BTreeMap::new(),
            moved: BTreeMap::new(),
            judge: judge::Judge::default(),
            replies: Vec::new(),
            cancel_replies: Vec::new(),
            in_match: Vec::new(),
            wakes: Vec::new(),
            config,
            stats: Stats::default(),
            maker_session: 0,
            maker_seq: 0,
            incarnation: 0,
            quote_seq: 0,
            audit_every: 1,
            clock_error: 60,
        };
        world.maker_session = world.open_session();
        for n in 0..names::SYMBOLS {
            world.as_maker(define(n));
        }
        world.register_maker();
        world.recover();
        world
    }

    // --- the ledger

    pub fn apply(&mut self, input: LedgerInput) -> Response {
        // Some indexes are the consensus' own, and show only as *applied*.
        let skipped = u64::from(self.rng.percent(10));
        let index = self.ledger.last_index() + 1 + skipped;
        let before = self.ledger.clone();
        let (response, events) = self.ledger.apply(index, Millis(self.time), &input);
        if self.frames.len().is_multiple_of(self.audit_every) {
            assert!(self.ledger.audit().is_empty(), "{:?}", self.ledger.audit());
        }
        let frame =
            Frame { index, log_time: self.ledger.log_time(), chain: self.ledger.chain(), events: events.clone() };
        self.judge.frame(&before, &self.ledger, &frame, &self.planned, &self.moved);
        self.note_moves(index, &events);
        self.frames.push(frame);
        response
    }

    fn note_moves(&mut self, index: u64, events: &[Event]) {
        let executed = events.iter().any(|event| matches!(event, Event::OrderExecuted { .. }));
        for event in events {
            let symbol = match event {
                Event::QuotePlaced(placed) => &placed.symbol,
                // What an execution itself ends is no surprise to those planned after it.
                Event::QuoteEnded { symbol, reason, .. } if *reason != quorate_ledger::QuoteEndReason::Filled => symbol,
                Event::OrderClosed { symbol, .. } if !executed => symbol,
                _ => continue,
            };
            self.moved.insert(symbol.clone(), index);
        }
    }

    fn open_session(&mut self) -> u64 {
        let envelope = Envelope { session: 0, seq: 0, command: Command::OpenSession };
        match self.apply(LedgerInput::Client(envelope)).outcome {
            Outcome::Accepted(Answer::SessionOpened { session }) => session,
            other => panic!("{other:?}"),
        }
    }

    pub fn as_maker(&mut self, command: Command) -> Outcome {
        self.maker_seq += 1;
        let envelope = Envelope { session: self.maker_session, seq: self.maker_seq, command };
        self.apply(LedgerInput::Client(envelope)).outcome
    }

    pub fn as_admin(&mut self, command: Command) -> Outcome {
        self.apply(LedgerInput::Client(Envelope { session: 0, seq: 0, command })).outcome
    }

    pub fn register_maker(&mut self) {
        let outcome = self.as_maker(Command::RegisterMaker(quorate_ledger::RegisterMaker {
            maker: maker(),
            ttl_ms: quorate_ledger::bounds::LEASE_TTL_MAX_MS,
            secret_hash: SECRET.hash(),
        }));
        match outcome {
            Outcome::Accepted(Answer::MakerRegistered { incarnation, .. }) => self.incarnation = incarnation,
            other => panic!("{other:?}"),
        }
        for n in 0..names::SYMBOLS {
            let committed = self.as_maker(commit_parameters(n, self.incarnation));
            assert!(matches!(committed, Outcome::Accepted(_)), "{committed:?}");
        }
    }

    // --- the exchange process

    /// Starts a new engine under a new epoch; whatever the one before had in memory is lost.
    pub fn recover(&mut self) {
        for (_, asked) in std::mem::take(&mut self.outstanding) {
            if let Asked::Order(id) = asked {
                let client = self.clients.get_mut(&id).unwrap();
                client.waiting.clear();
                (client.lost, client.ever_lost) = (true, true);
            }
        }
        let session = self.open_session();
        let register = Command::RegisterExchange(quorate_ledger::RegisterExchange { exchange: exchange() });
        let envelope = Envelope { session, seq: 1, command: register };
        let outcome = self.apply(LedgerInput::Client(envelope)).outcome;
        let Outcome::Accepted(Answer::ExchangeRegistered { exchange_epoch }) = outcome else { panic!("{outcome:?}") };
        let snapshot = self.read_snapshot();
        self.next_frame = snapshot.first_frame();
        let generation = self.live.generation + 1;
        self.keep_stats();
        let engine = Engine::recover(self.config, exchange_epoch, snapshot);
        self.live = Live { engine, generation, session, seq: 1, sent: BTreeMap::new() };
        self.wakes.clear();
    }

    /// The sections at indexes of their own, while the maker goes on, in any order.
    fn read_snapshot(&mut self) -> Snapshot {
        let mut snapshot = Snapshot::default();
        let mut steps = vec![0, 1, 2];
        while !steps.is_empty() {
            let step = steps.remove(self.rng.below(steps.len()));
            match step {
                0 => {
                    let control = self.ledger.control();
                    let data = Control {
                        control_version: control.version,
                        kill_switch: control.kill_switch,
                        symbols: self
                            .ledger
                            .symbols()
                            .map(|(symbol, state)| (symbol.clone(), state.instrument.clone(), state.revision))
                            .collect(),
                    };
                    snapshot.control = self.section(data);
                }
                1 => snapshot.quotes = self.section(names::all_quotes(&self.ledger)),
                _ => {
                    let mut from = 0;
                    loop {
                        let page: Vec<OpenOrder> = names::open_orders(&self.ledger)
                            .into_iter()
                            .filter(|open| open.order_id > from)
                            .take(3)
                            .collect();
                        let Some(last) = page.last() else { break };
                        from = last.order_id;
                        let page = self.section(page);
                        snapshot.orders.push(page);
                        self.something_else_happens();
                    }
                    snapshot.orders.push(self.section(Vec::new()));
                }
            }
            self.something_else_happens();
        }
        snapshot
    }

    fn section<T>(&self, data: T) -> Section<T> {
        Section { index: self.ledger.last_index(), log_time: self.ledger.log_time(), data }
    }

    fn something_else_happens(&mut self) {
        match self.rng.below(6) {
            0 => self.maker_acts(),
            1 => self.kill_switch(),
            _ => {}
        }
    }

    pub fn keep_stats(&mut self) {
        let (a, b) = (&mut self.stats, self.live.engine.stats());
        a.proposed += b.proposed;
        a.resent += b.resent;
        a.committed += b.committed;
        a.replanned += b.replanned;
        a.gaps += b.gaps;
        a.gave_up += b.gave_up;
        a.unknown += b.unknown;
        a.unknown_settled += b.unknown_settled;
    }

    /// The process's estimate of log time is off by a little at times.
    fn estimate(&mut self) -> Millis {
        let most = self.clock_error;
        let error = if self.rng.percent(80) { 0 } else { self.rng.range(-most, most + 1) };
        Millis(self.time.saturating_add_signed(error))
    }

    pub fn feed(&mut self, input: Input) {
        let now = self.estimate();
        self.feed_at(now, input);
    }

    pub fn feed_at(&mut self, now: Millis, input: Input) {
        let gave_up_before = self.live.engine.stats().gave_up;
        let effects = self.live.engine.handle(now, input);
        let gave_up = self.live.engine.stats().gave_up > gave_up_before;
        let mut halted = None;
        for effect in effects {
            assert!(halted.is_none(), "nothing may follow a halt");
            match effect {
                Effect::Submit(submission) => self.submit(now, gave_up, submission),
                Effect::Resend(submission) => self.resend(submission),
                Effect::OrderReply { request, outcome } => self.order_reply(request, outcome),
                Effect::CancelReply { request, outcome } => self.cancel_reply(request, outcome),
                Effect::ExpiredInMatch { order_id } => self.in_match.push(order_id),
                Effect::WakeAt(at) => self.wakes.push(at),
                Effect::Settled { account: of, client_order_id, outcome } => {
                    assert_eq!(of, account());
                    assert_ne!(outcome, OrderOutcome::Unknown);
                    self.judge.settled += 1;
                    let ever_lost = self.clients[&client_order_id].ever_lost;
                    self.judge.outcome(&self.ledger, &client_order_id, &outcome, ever_lost);
                }
                Effect::Halted(halt) => halted = Some(halt),
            }
        }
        if let Some(halt) = halted {
            assert!(self.outstanding.is_empty(), "a halted engine owes {:?}", self.outstanding);
            match halt {
                Halt::Fenced { exchange_epoch } => {
                    assert!(exchange_epoch > self.live.engine.exchange_epoch());
                    assert!(exchange_epoch <= self.ledger.exchange().unwrap().epoch);
                    self.judge.fenced += 1;
                }
                Halt::Stopped => {}
                Halt::Inconsistent(what) => panic!("{what}"),
            }
            self.recover();
        }
    }

    fn submit(&mut self, now: Millis, gave_up: bool, submission: Submission) {
        if let Command::ExecuteOrder(execute) = &submission.command {
            let expired = execute.fills.is_empty() && execute.remainder == quorate_ledger::Remainder::Expire;
            let planned = Planned { applied: self.live.engine.applied().0, now, gave_up: gave_up && expired };
            let key = (execute.exchange_epoch, execute.exec_id, execute.order.client_order_id.clone());
            self.planned.insert(key, planned);
        }
        self.live.seq += 1;
        let (session, seq) = (self.live.session, self.live.seq);
        let replaced = self.live.sent.insert(submission.id, (submission.clone(), session, seq));
        assert!(replaced.is_none(), "submission ids are never used twice");
        self.packets.push(Packet { generation: self.live.generation, submission, session, seq, ghost: false });
    }

    fn resend(&mut self, submission: Submission) {
        let present = self.live.session;
        let (first, session, seq) = self.live.sent.get_mut(&submission.id).expect("only what was sent is sent again");
        assert_eq!(*first, submission, "a resend is the very same");
        if *session != present {
            self.live.seq += 1;
            (*session, *seq) = (present, self.live.seq);
        }
        let (session, seq) = (*session, *seq);
        self.packets.push(Packet { generation: self.live.generation, submission, session, seq, ghost: false });
    }

    fn order_reply(&mut self, request: RequestId, outcome: OrderOutcome) {
        self.replies.push((request, outcome.clone()));
        let asked = self.outstanding.remove(&request);
        let Some(Asked::Order(id)) = asked else { panic!("{request:?} is answered twice, or was {asked:?}") };
        let client = self.clients.get_mut(&id).unwrap();
        client.waiting.remove(&request);
        let others = client.ever_lost || !client.waiting.is_empty();
        self.judge.outcome(&self.ledger, &id, &outcome, others);
        match outcome {
            OrderOutcome::Unknown => (client.lost, client.ever_lost) = (true, true),
            OrderOutcome::Committed(Committed { result, repeat, .. }) => {
                client.end = Some(End::Executed(result.order_id));
                client.lost = false;
                if !repeat {
                    self.judge.reported(&result);
                }
            }
            // After a lost answer the client looks its order up.
            OrderOutcome::Refused(_) | OrderOutcome::NotExecuted(_) => {
                let known = self.ledger.order_named(&account(), &id);
                if let Some(order) = known {
                    client.end = Some(End::Executed(order.id()));
                } else if client.waiting.is_empty() && !client.lost {
                    client.end = Some(End::NotExecuted);
                    self.judge.denied_for_good(&id);
                }
            }
        }
    }

    fn cancel_reply(&mut self, request: RequestId, outcome: CancelOutcome) {
        self.cancel_replies.push((request, outcome.clone()));
        let asked = self.outstanding.remove(&request);
        let Some(Asked::Cancel(target, only)) = asked else {
            panic!("{request:?} is answered twice, or was {asked:?}")
        };
        self.judge.cancelled(&self.ledger, &target, only, &outcome);
    }

    // --- the network

    /// One packet arrives at the ledger, and is answered.
    pub fn deliver(&mut self, packet: &Packet) -> Response {
        let envelope =
            Envelope { session: packet.session, seq: packet.seq, command: packet.submission.command.clone() };
        let response = self.apply(LedgerInput::Client(envelope));
        if let Outcome::Refused(refusal) = &response.outcome {
            self.judge.refused(refusal);
        }
        response
    }

    pub fn deliver_and_answer(&mut self, packet: &Packet) {
        let response = self.deliver(packet);
        let outcome = match &response.outcome {
            // What the process's client makes of a lost session: unknown, and a new session.
            Outcome::Refused(Refusal::SessionExpired { .. }) if self.rng.percent(50) => Answered::Unknown,
            _ => Answered::Response(response),
        };
        if !packet.ghost {
            self.answers.push((packet.generation, packet.submission.id, outcome));
        }
    }

    pub fn hand_in_answer(&mut self, at: usize) {
        let (generation, submission, answered) = self.answers.remove(at);
        if generation == self.live.generation {
            self.feed(Input::Answer { submission, answered });
        }
    }

    /// The next frame, or only the news that its index was applied where nothing happened at it.
    pub fn hand_in_frame(&mut self) -> bool {
        let next = self.frames.iter().find(|frame| frame.index >= self.next_frame);
        let Some(frame) = next.cloned() else { return false };
        self.next_frame = frame.index + 1;
        if frame.events.is_empty() && self.rng.percent(50) {
            self.feed(Input::Applied { index: frame.index, log_time: frame.log_time });
        } else {
            self.feed(Input::Frame(frame));
        }
        true
    }

    /// The engine is woken where it asked for that, and its time has come.
    pub fn wake(&mut self) {
        let asked = self.wakes.len();
        self.wakes.retain(|at| at.0 > self.time);
        if self.wakes.len() < asked {
            self.feed(Input::Wake);
        }
    }

    /// A new session; copies on their way in the old one can have no effect any more.
    pub fn lose_session(&mut self) {
        let envelope = Envelope { session: self.live.session, seq: self.live.seq + 1, command: Command::CloseSession };
        self.apply(LedgerInput::Client(envelope));
        self.live.session = self.open_session();
        self.live.seq = 0;
    }

    // --- the clients

    pub fn request(&mut self) -> RequestId {
        self.next_request += 1;
        RequestId(self.next_request)
    }

    pub fn place(&mut self, order: NewOrder) -> RequestId {
        let now = self.estimate();
        self.place_at(now, order)
    }

    /// Places an order under these terms.
    pub fn place_under(&mut self, order: NewOrder, terms: Terms) -> RequestId {
        self.judge.terms.insert(order.client_order_id.clone(), terms);
        self.place(order)
    }

    pub fn place_at(&mut self, now: Millis, order: NewOrder) -> RequestId {
        let id = order.client_order_id.clone();
        let request = self.request();
        let fresh =
            ClientOrder { order: order.clone(), waiting: BTreeSet::new(), lost: false, ever_lost: false, end: None };
        let client = self.clients.entry(id.clone()).or_insert(fresh);
        assert_eq!(client.order, order);
        client.waiting.insert(request);
        client.lost = false;
        self.outstanding.insert(request, Asked::Order(id));
        let terms = self.judge.terms(&order.client_order_id);
        self.feed_at(now, Input::Order { request, order, terms });
        request
    }

    pub fn cancel(&mut self, target: Target) -> RequestId {
        self.cancel_only(target, None)
    }

    pub fn cancel_only(&mut self, target: Target, only: Option<Only>) -> RequestId {
        let request = self.request();
        self.outstanding.insert(request, Asked::Cancel(target.clone(), only));
        self.feed(Input::Cancel { request, account: account(), target, only });
        request
    }

    /// Asks again, under the same id, where an answer is missing.
    pub fn retry_lost(&mut self) {
        let lost = self.clients.values().find(|client| client.lost && client.waiting.is_empty());
        if let Some(order) = lost.map(|client| client.order.clone()) {
            self.place(order);
        }
    }

    // --- the maker and the operator

    pub fn maker_acts(&mut self) {
        let symbol = symbol(self.rng.below(names::SYMBOLS));
        if self.rng.percent(15) {
            self.pull(&symbol);
            return;
        }
        if self.rng.percent(3) {
            self.register_maker();
            return;
        }
        let renew = quorate_ledger::MakerRef { maker: maker(), incarnation: self.incarnation, secret: SECRET };
        if let Outcome::Refused(_) = self.as_maker(Command::RenewMaker(renew)) {
            self.register_maker();
        }
        let middle = self.rng.range(98, 103);
        let leg = |rng: &mut Rng, side: Side| {
            let away = rng.range(1, 3);
            let price = if side == Side::Buy { middle - away } else { middle + away };
            let qty = rng.range(1, 25);
            rng.percent(90).then_some((price, qty))
        };
        let (bid, ask) = (leg(&mut self.rng, Side::Buy), leg(&mut self.rng, Side::Sell));
        let ttl_ms = u64::try_from(self.rng.range(100, 1_500)).unwrap();
        self.quote(&symbol, bid, ask, ttl_ms);
    }

    /// Places a quote: (price, lots) of each side.
    pub fn quote(&mut self, symbol: &Symbol, bid: Option<(i64, i64)>, ask: Option<(i64, i64)>, ttl_ms: u64) -> Outcome {
        let state = self.ledger.symbol(symbol).unwrap();
        let (epoch, position_seq, revision) = (state.epoch, state.position_seq, state.revision);
        let side = |(price, qty)| QuoteSide { price: Price(price), qty: Qty(qty) };
        self.quote_seq += 1;
        self.as_maker(Command::PlaceQuote(quorate_ledger::PlaceQuote {
            symbol: symbol.clone(),
            incarnation: self.incarnation,
            secret: SECRET,
            epoch,
            revision,
            quote_seq: self.quote_seq,
            position_seq,
            bid: bid.map(side),
            ask: ask.map(side),
            allow_reduced: true,
            ttl_ms,
            cause: quorate_ledger::QuoteCause::Refresh,
            basis: basis(),
        }))
    }

    pub fn pull(&mut self, symbol: &Symbol) {
        let epoch = self.ledger.symbol(symbol).unwrap().epoch;
        self.quote_seq += 1;
        let (symbol, quote_seq) = (symbol.clone(), self.quote_seq);
        self.as_maker(Command::PullQuote(quorate_ledger::PullQuote { symbol, epoch, secret: SECRET, quote_seq }));
    }

    pub fn kill_switch(&mut self) {
        let engaged = !self.ledger.control().kill_switch;
        // It is off most of the time.
        if !engaged || self.rng.percent(30) {
            self.as_admin(switch(&self.ledger, engaged));
        }
    }

    // --- the end

    /// All faults end: everything must be answered, and everything must agree.
    pub fn heal(&mut self) {
        if self.ledger.control().kill_switch {
            self.as_admin(switch(&self.ledger, false));
        }
        for _ in 0..2_000 {
            for packet in std::mem::take(&mut self.packets) {
                self.deliver_and_answer(&packet);
            }
            while !self.answers.is_empty() {
                self.hand_in_answer(0);
            }
            while self.hand_in_frame() {}
            self.retry_lost();
            self.time += 20;
            self.wake();
            let owed = self.clients.values().any(|client| client.lost || !client.waiting.is_empty());
            if !owed && self.outstanding.is_empty() && self.packets.is_empty() && self.live.engine.pending_orders() == 0
            {
                while self.hand_in_frame() {}
                self.keep_stats();
                return;
            }
        }
        panic!("it does not settle: {:?}", self.outstanding);
    }
}

/// A quote of the ledger as the engine takes it from a read.
pub fn quote_of(symbol: &Symbol, quote: &quorate_ledger::Quote) -> Quote {
    let leg = |leg: &Option<quorate_ledger::QuoteLeg>| {
        leg.filter(|leg| leg.leaves.0 > 0).map(|leg| QuoteLeaves { price: leg.price, leaves: leg.leaves })
    };
    Quote {
        symbol: symbol.clone(),
        quote_id: quote.id,
        bid: leg(&quote.sides.bid),
        ask: leg(&quote.sides.ask),
        deadline: quote.deadline,
    }
}
