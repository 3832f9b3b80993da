//! A refusal in one symbol delays no other: while the quote of one symbol is replaced so often that most plans against it come too
//! late, three quiet symbols see no refusal out of turn and plan nothing again, and are as fast as without that.
//!
//! Time is simulated: a message takes so long each way, and the ledger takes one command after the other.

// In tests an unwrap is an assertion.
#![allow(clippy::unwrap_used)]

mod world;

use std::collections::BTreeMap;

use quorate_domain::Side;
use quorate_ledger::{Command, NewOrder, bounds::QUOTE_TTL_MAX_MS};
use quorate_matching::{Config, Input, RequestId};
use world::{
    Packet, World,
    names::{self, commit_parameters, define, limit, market, symbol},
};

/// All in microseconds: one way of a message, one command in the ledger, and the length of a run.
const LINK: u64 = 2_000;
const SERVICE: u64 = 50;
const RUN: u64 = 3_000_000;
const SYMBOLS: usize = 4;
/// The one whose quote may be replaced all the time; all others are quiet.
const CONTENDED: usize = 0;
/// Between two orders of one symbol: 400 a second in all.
const ORDER_EVERY: u64 = 10_000;
/// Between two quotes of the contended symbol, where it is contended: more often than a plan takes to arrive.
const QUOTE_EVERY: u64 = 5_000;

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
}

/// What the exchange's own counters say of one symbol.
#[derive(Debug, Default, Clone)]
struct Told {
    /// Refusals out of turn.
    gaps: u64,
    /// Refusals after which an order was planned again.
    replanned: u64,
    /// From the order to its answer.
    latencies: Vec<u64>,
}

impl Told {
    fn p99(&self) -> u64 {
        let mut sorted = self.latencies.clone();
        sorted.sort_unstable();
        sorted[sorted.len() * 99 / 100]
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
    contended: bool,
    told: Vec<Told>,
}

impl Run {
    fn new(contended: bool) -> Self {
        let mut world = World::new(1, Config::default());
        world.audit_every = 64;
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
            contended,
            told: vec![Told::default(); SYMBOLS],
        }
    }

    fn at(&mut self, time: u64, step: Step) {
        self.planned += 1;
        self.agenda.insert((time, self.planned), step);
    }

    fn run(mut self) -> Vec<Told> {
        for at in 0..SYMBOLS {
            self.at(ORDER_EVERY * at as u64 / SYMBOLS as u64, Step::Order(at, 0));
        }
        if self.contended {
            self.at(0, Step::Quote);
        }
        while let Some(((time, _), step)) = self.agenda.pop_first() {
            self.now = time;
            self.world.time = self.began + time / 1_000;
            self.step(step);
            self.send();
            self.note_replies();
        }
        assert_eq!(self.asked.len(), self.answered, "every order is answered");
        self.told
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Order(at, n) => {
                let order = self.order(at, n);
                let request = self.world.place(order);
                self.asked.insert(request, (at, self.now));
                if self.now + ORDER_EVERY < RUN {
                    self.at(self.now + ORDER_EVERY, Step::Order(at, n + 1));
                }
            }
            Step::Quote => {
                self.world.quote(&symbol(CONTENDED), Some((99, 10)), Some((101, 10)), QUOTE_TTL_MAX_MS);
                self.at(self.now + LINK, Step::Frame);
                if self.now + QUOTE_EVERY < RUN {
                    self.at(self.now + QUOTE_EVERY, Step::Quote);
                }
            }
            Step::Arrive(packet) => {
                self.free = self.free.max(self.now) + SERVICE;
                self.at(self.free, Step::Apply(packet));
            }
            Step::Apply(packet) => {
                self.world.deliver_and_answer(&packet);
                self.at(self.now + LINK, Step::Answer);
                self.at(self.now + LINK, Step::Frame);
            }
            Step::Answer => self.answer(),
            Step::Frame => {
                self.world.hand_in_frame();
            }
        }
    }

    /// The next order of a symbol: a market order where quotes move; else one that rests, and then one that takes it.
    fn order(&self, at: usize, n: u64) -> NewOrder {
        let (id, time) = (1 + n * SYMBOLS as u64 + at as u64, self.world.time);
        let order = if at == CONTENDED && self.contended {
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
            self.at(self.now + LINK, Step::Arrive(Box::new(packet)));
        }
    }

    fn note_replies(&mut self) {
        for (request, _) in &self.world.replies[self.answered..] {
            let (at, sent) = self.asked[request];
            self.told[at].latencies.push(self.now - sent);
        }
        self.answered = self.world.replies.len();
    }
}

fn sum(told: &[Told], of: impl Fn(&Told) -> u64) -> u64 {
    told.iter().map(of).sum()
}

#[test]
fn a_refusal_in_one_symbol_delays_no_other() {
    let (calm, contended) = (Run::new(false).run(), Run::new(true).run());
    let orders = |told: &[Told]| sum(told, |told| told.latencies.len() as u64);
    assert_eq!(orders(&calm), orders(&contended), "the same load");
    let quiet = |told: &[Told]| told[CONTENDED + 1..].to_vec();
    for told in calm.iter().chain(&quiet(&contended)) {
        assert_eq!((told.gaps, told.replanned), (0, 0), "a quiet symbol was refused something");
    }
    let hot = &contended[CONTENDED];
    assert!(hot.replanned > hot.latencies.len() as u64 / 2, "it is not contended: {hot:?}");
    let p99 = |told: &[Told]| quiet(told).iter().map(Told::p99).max().unwrap();
    let (without, with) = (p99(&calm), p99(&contended));
    let all = orders(&contended) as f64;
    println!(
        "{all} orders at {} a second; quiet p99 {with} us with contention, {without} us without: ratio {:.2}; replans per \
         order: contended symbol {:.2}, all {:.3}; of each order of the contended symbol out of turn {:.1}",
        1_000_000 * SYMBOLS as u64 / ORDER_EVERY,
        with as f64 / without as f64,
        hot.replanned as f64 / hot.latencies.len() as f64,
        sum(&contended, |told| told.replanned) as f64 / all,
        hot.gaps as f64 / hot.latencies.len() as f64,
    );
    // In the ledger's own queue at most one window of the contended symbol is ahead of them.
    let ahead = SERVICE * Config::default().window_max as u64;
    assert!(with <= without + ahead, "the quiet ones wait for the contended one");
}
