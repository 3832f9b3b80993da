//! A refusal in one symbol delays no other, and costs little in its own: while the quote of one symbol is replaced so often that
//! most plans would come too late if they went at once, three quiet symbols see no refusal out of turn, plan nothing again and
//! are as fast as without that; and the orders of the contended one wait for the quote that is due instead of being refused.
//!
//! Time is simulated: a message takes so long each way, and the ledger takes one command after the other.

// In tests an unwrap is an assertion.
#![allow(clippy::unwrap_used)]

mod world;

use std::collections::BTreeMap;

use quorate_domain::Side;
use quorate_ledger::{Command, Event, FillCommitted, FilledMaker, NewOrder, OrderStatus, bounds::QUOTE_TTL_MAX_MS};
use quorate_matching::{Config, Input, NotExecuted, OrderOutcome, RequestId};
use world::{
    Packet, Rng, World,
    names::{self, commit_parameters, define, limit, market, symbol},
};

/// All in microseconds: one way of a message, one command in the ledger, and the length of a run.
const LINK: u64 = 2_000;
const SERVICE: u64 = 50;
const RUN: u64 = 3_000_000;
const ROUND_TRIP: u64 = 2 * LINK + SERVICE;
/// Time is told in milliseconds.
const TICK: u64 = 1_000;
const SYMBOLS: usize = 4;
/// The one whose quote may be replaced all the time; all others are quiet.
const CONTENDED: usize = 0;
/// Between two orders of one symbol: 400 a second in all.
const ORDER_EVERY: u64 = 10_000;
/// Between two quotes of the contended symbol: hardly longer than it takes to see one and to meet it.
const QUOTE_EVERY: u64 = 5_000;
/// Of each side of a quote.
const LOTS: i64 = 10;

enum Step {
    /// The next order of a symbol.
    Order(usize, u64),
    /// The contended symbol's quote is replaced.
    Quote,
    /// A command reaches the ledger, and is applied when it is its turn.
    Arrive(Box<Packet>),
    Apply(Box<Packet>),
    /// An answer reaches the exchange.
    Answer,
    /// A frame does.
    Frame,
    /// The time came at which the exchange asked to be woken.
    Wake,
}

/// What the exchange's own counters say of one symbol, and its callers.
#[derive(Debug, Default, Clone)]
struct Told {
    /// Refusals out of turn.
    gaps: u64,
    /// Refusals after which an order was planned again.
    replanned: u64,
    /// From the order to its answer.
    latencies: Vec<u64>,
    filled: u64,
    /// Answered as not executed in time.
    timed_out: u64,
}

impl Told {
    fn orders(&self) -> u64 {
        self.latencies.len() as u64
    }

    fn p99(&self) -> u64 {
        let mut sorted = self.latencies.clone();
        sorted.sort_unstable();
        sorted[sorted.len() * 99 / 100]
    }

    fn slowest(&self) -> u64 {
        *self.latencies.iter().max().unwrap()
    }

    /// Plans that were refused, for each order.
    fn refused(&self) -> f64 {
        (self.gaps + self.replanned) as f64 / self.orders() as f64
    }
}

struct Run {
    world: World,
    began: u64,
    now: u64,
    agenda: BTreeMap<(u64, u64), Step>,
    planned: u64,
    /// When the ledger is free again.
    free: u64,
    asked: BTreeMap<RequestId, (usize, u64)>,
    answered: usize,
    /// When the contended symbol's quotes are placed; never where it is not contended.
    quotes: Vec<u64>,
    /// Whether another one is placed as soon as its maker can have seen that one was filled.
    follows_fills: bool,
    /// Between two orders of the contended symbol; `None`: up to twice as long as usual, as it comes.
    order_every: Option<u64>,
    /// By how much a message may take longer than usual, as it comes; none overtakes another on its way.
    jitter: u64,
    /// When the last message arrived: at the ledger, answers and frames at the exchange, quotes at the ledger.
    arrived: [u64; 4],
    /// What comes as it comes.
    rng: Rng,
    /// How many of its orders would come too late if their plans went at once.
    late_at_once: u64,
    told: Vec<Told>,
}

impl Run {
    fn new(quotes: Vec<u64>) -> Self {
        let mut world = World::new(1, Config::default());
        world.audit_every = 64;
        world.clock_error = 0;
        for n in names::SYMBOLS..SYMBOLS {
            world.as_maker(define(n));
            world.as_maker(commit_parameters(n, world.incarnation));
        }
        world.as_admin(names::switch(&world.ledger, false));
        while world.hand_in_frame() {}
        let began = world.time;
        Self {
            world,
            began,
            now: 0,
            agenda: BTreeMap::new(),
            planned: 0,
            free: 0,
            asked: BTreeMap::new(),
            answered: 0,
            quotes,
            follows_fills: false,
            order_every: Some(ORDER_EVERY),
            jitter: 0,
            arrived: [0; 4],
            rng: Rng(11),
            late_at_once: 0,
            told: vec![Told::default(); SYMBOLS],
        }
    }

    /// A message on this way arrives, after so many links.
    fn send_on(&mut self, way: usize, links: u64, step: Step) {
        let late = if self.jitter == 0 { 0 } else { self.rng.next() % (links * self.jitter) };
        self.arrived[way] = self.arrived[way].max(self.now + links * LINK + late);
        self.at(self.arrived[way], step);
    }

    fn at(&mut self, time: u64, step: Step) {
        self.planned += 1;
        self.agenda.insert((time, self.planned), step);
    }

    fn run(mut self) -> Self {
        for at in 0..SYMBOLS {
            self.at(ORDER_EVERY * at as u64 / SYMBOLS as u64, Step::Order(at, 0));
        }
        for at in self.quotes.clone() {
            self.at(at, Step::Quote);
        }
        while let Some(((time, _), step)) = self.agenda.pop_first() {
            self.now = time;
            self.world.time = self.began + time / TICK;
            self.step(step);
            self.send();
            self.note_replies();
        }
        assert_eq!(self.asked.len(), self.answered, "every order is answered");
        self
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Order(at, n) => {
                let order = self.order(at, n);
                let request = self.world.place(order);
                self.asked.insert(request, (at, self.now));
                self.late_at_once += u64::from(at == CONTENDED && self.is_late_at_once());
                // Those of the contended symbol come at every time between two quotes.
                let (every, drift) = match (at, self.order_every) {
                    (CONTENDED, Some(every)) => (every, every * 7 / 300),
                    (CONTENDED, None) => (self.rng.next() % (2 * ORDER_EVERY), 0),
                    _ => (ORDER_EVERY, 0),
                };
                let next = self.now + every + if n.is_multiple_of(2) { drift } else { 0 };
                if next < RUN {
                    self.at(next, Step::Order(at, n + 1));
                }
            }
            Step::Quote => {
                self.world.quote(&symbol(CONTENDED), Some((99, LOTS)), Some((101, LOTS)), QUOTE_TTL_MAX_MS);
                self.send_on(2, 1, Step::Frame);
            }
            Step::Arrive(packet) => {
                self.free = self.free.max(self.now) + SERVICE;
                self.at(self.free, Step::Apply(packet));
            }
            Step::Apply(packet) => {
                self.world.deliver_and_answer(&packet);
                if self.follows_fills && self.fills_quote() {
                    self.send_on(3, 2, Step::Quote);
                }
                self.send_on(1, 1, Step::Answer);
                self.send_on(2, 1, Step::Frame);
            }
            Step::Answer => self.answer(),
            Step::Frame => {
                self.world.hand_in_frame();
            }
            Step::Wake => self.world.feed(Input::Wake),
        }
    }

    /// Whether the newest frame fills a quote that was not filled before.
    fn fills_quote(&self) -> bool {
        let whole = |fill: &FillCommitted| match fill.maker {
            FilledMaker::Quote { leaves, .. } => leaves.0 + fill.qty.0 == LOTS,
            FilledMaker::Order { .. } => false,
        };
        let events = &self.world.frames.last().unwrap().events;
        events.iter().any(|event| matches!(event, Event::FillCommitted(fill) if whole(fill)))
    }

    /// Whether a quote is placed between what is seen now and what a plan of now meets.
    fn is_late_at_once(&self) -> bool {
        self.quotes.iter().any(|placed| (self.now..=self.now + ROUND_TRIP).contains(&(placed + LINK)))
    }

    /// The next order of a symbol: a market order where quotes move; else one that rests, and then one that takes it.
    fn order(&self, at: usize, n: u64) -> NewOrder {
        let (id, time) = (1 + n * SYMBOLS as u64 + at as u64, self.world.time);
        let order = if at == CONTENDED && !self.quotes.is_empty() {
            market(id, Side::Buy, 1, time)
        } else {
            limit(id, if n.is_multiple_of(2) { Side::Sell } else { Side::Buy }, 105, 1, time)
        };
        NewOrder { symbol: symbol(at), ..order }
    }

    /// The oldest answer on its way is handed in; what it changes in the counters is of its symbol.
    fn answer(&mut self) {
        let (generation, submission, answered) = self.world.answers.remove(0);
        assert_eq!(generation, self.world.live.generation);
        let (sent, ..) = &self.world.live.sent[&submission];
        let Command::ExecuteOrder(execute) = &sent.command else { panic!("{sent:?}") };
        let of = (0..SYMBOLS).find(|at| symbol(*at) == execute.order.symbol).unwrap();
        let before = self.world.live.engine.stats();
        self.world.feed(Input::Answer { submission, answered });
        let after = self.world.live.engine.stats();
        self.told[of].gaps += after.gaps - before.gaps;
        self.told[of].replanned += after.replanned - before.replanned;
    }

    fn send(&mut self) {
        for packet in std::mem::take(&mut self.world.packets) {
            self.send_on(0, 1, Step::Arrive(Box::new(packet)));
        }
        for at in std::mem::take(&mut self.world.wakes) {
            self.at((at.0 - self.began) * TICK, Step::Wake);
        }
    }

    fn note_replies(&mut self) {
        for (request, outcome) in &self.world.replies[self.answered..] {
            let (at, sent) = self.asked[request];
            let told = &mut self.told[at];
            told.latencies.push(self.now - sent);
            match outcome {
                OrderOutcome::Committed(committed) => {
                    told.filled += u64::from(committed.result.status == OrderStatus::Filled);
                }
                OrderOutcome::NotExecuted(NotExecuted::TimedOut) => told.timed_out += 1,
                other => panic!("{other:?}"),
            }
        }
        self.answered = self.world.replies.len();
    }
}

fn every(time: u64) -> Vec<u64> {
    (0..RUN / time).map(|n| n * time).collect()
}

/// Quotes that last for any time between these two, as it comes.
fn between(shortest: u64, longest: u64) -> Vec<u64> {
    let mut rng = Rng(7);
    let lasted = std::iter::repeat_with(|| shortest + rng.next() % (longest - shortest));
    let ends = lasted.scan(0, |at, lasted| {
        *at += lasted;
        Some(*at)
    });
    std::iter::once(0).chain(ends).take_while(|at| *at < RUN).collect()
}

fn sum(told: &[Told], of: impl Fn(&Told) -> u64) -> u64 {
    told.iter().map(of).sum()
}

#[test]
fn a_plan_is_seldom_refused_where_quotes_come_at_regular_times() {
    for time in [QUOTE_EVERY, 7_000, 11_000, 20_000, 50_000] {
        let run = Run::new(every(time)).run();
        let hot = &run.told[CONTENDED];
        println!("every {time} us: {:.3} refused of each, slowest {} us", hot.refused(), hot.slowest());
        assert_eq!(hot.filled, hot.orders() - 1, "the first one comes before any quote");
        assert!(hot.refused() < 0.05, "every {time} us: {hot:?}");
        // A quote that is due is seen a link later, and met a round trip after that; a refused plan costs one more of each.
        assert!(hot.slowest() < 2 * (QUOTE_EVERY + 2 * ROUND_TRIP), "every {time} us: {hot:?}");
    }
}

#[test]
fn a_plan_is_seldom_refused_where_quotes_follow_fills() {
    for order_every in [Some(5_000), Some(3_000), Some(1_000), None] {
        let mut run = Run::new(vec![0]);
        (run.follows_fills, run.order_every) = (true, order_every);
        let run = run.run();
        let hot = &run.told[CONTENDED];
        let every = order_every.map_or(format!("0 to {}", 2 * ORDER_EVERY), |every| every.to_string());
        println!("an order every {every} us: {:.3} refused of each, slowest {} us", hot.refused(), hot.slowest());
        assert!(hot.refused() < 0.05, "an order every {every} us: {hot:?}");
    }
}

#[test]
fn on_a_busy_network_the_contended_symbol_goes_on() {
    for order_every in [Some(5_000), None] {
        let mut run = Run::new(vec![0]);
        // A message takes up to six times as long.
        (run.follows_fills, run.order_every, run.jitter) = (true, order_every, 5 * LINK);
        let run = run.run();
        let hot = &run.told[CONTENDED];
        println!(
            "{order_every:?}: {:.3} refused of each, p99 {} us, slowest {} us",
            hot.refused(),
            hot.p99(),
            hot.slowest()
        );
        assert!(hot.refused() < 0.3, "{hot:?}");
        assert!(hot.slowest() < 30 * ROUND_TRIP, "{hot:?}");
    }
}

#[test]
fn few_stand_behind_a_refused_plan_where_quotes_come_at_any_time() {
    for (shortest, longest) in [(4_000, 8_000), (2_000, 18_000), (10_000, 100_000)] {
        let run = Run::new(between(shortest, longest)).run();
        let hot = &run.told[CONTENDED];
        let (gaps, replanned) = (hot.gaps, hot.replanned);
        println!(
            "{shortest} to {longest} us: {:.3} refused of each, late if sent at once {} of {}, slowest {} us",
            hot.refused(),
            run.late_at_once,
            hot.orders(),
            hot.slowest()
        );
        assert!(gaps < replanned && hot.refused() < 1.0, "{hot:?}");
    }
}

#[test]
fn where_quotes_come_faster_than_a_plan_every_order_is_answered_all_the_same() {
    for time in [1_000, 3_000, 4_000] {
        let run = Run::new(every(time)).run();
        let (hot, quiet) = (&run.told[CONTENDED], &run.told[CONTENDED + 1..]);
        println!(
            "every {time} us: {:.3} refused of each, {} filled, slowest {} us",
            hot.refused(),
            hot.filled,
            hot.slowest()
        );
        assert_eq!(sum(quiet, |told| told.gaps + told.replanned), 0);
        assert!(hot.gaps < hot.replanned, "many stood behind a refused plan: {hot:?}");
        assert!(hot.slowest() <= Config::default().order_ttl_ms * TICK + ROUND_TRIP);
    }
}

#[test]
fn a_refusal_in_one_symbol_delays_no_other() {
    let (calm, contended) = (Run::new(Vec::new()).run().told, Run::new(every(QUOTE_EVERY)).run());
    let late_at_once = contended.late_at_once;
    let contended = contended.told;
    let orders = |told: &[Told]| sum(told, Told::orders);
    assert_eq!(orders(&calm), orders(&contended), "the same load");
    let quiet = |told: &[Told]| told[CONTENDED + 1..].to_vec();
    for told in calm.iter().chain(&quiet(&contended)) {
        assert_eq!((told.gaps, told.replanned), (0, 0), "a quiet symbol was refused something");
    }
    let hot = &contended[CONTENDED];
    assert!(late_at_once > hot.orders() * 3 / 4, "it is not contended: {late_at_once}");
    let p99 = |told: &[Told]| quiet(told).iter().map(Told::p99).max().unwrap();
    let (without, with) = (p99(&calm), p99(&contended));
    let all = orders(&contended) as f64;
    let per_order = |of: fn(&Told) -> u64| (of(hot) as f64 / hot.orders() as f64, sum(&contended, of) as f64 / all);
    let (gaps, replans) = (per_order(|told| told.gaps), per_order(|told| told.replanned));
    println!(
        "{all} orders at {} a second; quiet p99 {with} us with contention, {without} us without: ratio {:.2}; of each order \
         of the contended symbol {:.3} out of turn and {:.3} planned again, of each of all {:.4} and {:.4}; contended p99 {} \
         us, slowest {} us; late if sent at once: {late_at_once} of {}",
        1_000_000 * SYMBOLS as u64 / ORDER_EVERY,
        with as f64 / without as f64,
        gaps.0,
        replans.0,
        gaps.1,
        replans.1,
        hot.p99(),
        hot.slowest(),
        hot.orders(),
    );
    assert!(hot.refused() < 0.05 && gaps.1 + replans.1 < 0.02, "refused plans cost too much: {hot:?}");
    // In the ledger's own queue at most one window of the contended symbol is ahead of them.
    let ahead = SERVICE * Config::default().window_max as u64;
    assert!(with <= without + ahead, "the quiet ones wait for the contended one");
}
