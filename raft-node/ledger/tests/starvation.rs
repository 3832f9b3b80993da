//! Nobody starves: whatever the weights and the limit, every symbol whose maker asks is granted a lot within the time that
//! `docs/ledger.md` promises, and again and again.
//!
//! The makers here are of many habits, and all of them take the offers that they get.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap},
};

use proptest::prelude::*;
use quorate_domain::*;
use quorate_ledger::{
    bounds::{LEASE_TTL_MAX_MS, OFFER_MS, TURN_MS},
    *,
};

/// The life of every quote here.
const TTL_MS: u64 = 10_000;
/// How often a maker looks after a quote.
const REFRESH_MS: u64 = 4_000;
const RENEW_MS: u64 = LEASE_TTL_MAX_MS / 3;
const SECRET: Secret = Secret([5; 32]);
const START: u64 = 1_700_000_000_000;
/// The longest that a place in the turns takes: for the quotes to shrink, for the offer, and for the turn.
const PLACE_MS: u64 = TURN_MS + OFFER_MS + TTL_MS;
/// Every symbol is to be granted a lot so many times.
const ROUNDS: u64 = 3;

/// How a maker looks after one symbol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Habit {
    /// Places a new quote at every refresh.
    Replaces,
    /// Keeps the quote that stands at every refresh; one that it may not keep, it replaces.
    Keeps,
    /// Once refused, asks again only when it is offered a lot.
    AwaitsOffers,
    /// Keeps what stands; what it may not keep, it leaves until it ends. So it never shrinks of itself.
    NeverShrinks,
}

const HABITS: [Habit; 4] = [Habit::Replaces, Habit::Keeps, Habit::AwaitsOffers, Habit::NeverShrinks];

/// One symbol, and what its maker wants of it.
#[derive(Debug, Clone)]
struct Wish {
    weight: i64,
    bid: i64,
    ask: i64,
    habit: Habit,
    /// When it asks first.
    from_ms: u64,
    /// How long it takes to take an offer.
    delay_ms: u64,
}

/// Why a maker comes to a symbol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Visit {
    Refresh,
    Offer,
}

/// What a wait may take, by all that was so while it lasted.
#[derive(Debug, Clone, Copy)]
struct Wait {
    since: u64,
    places: u64,
}

struct Market {
    ledger: Ledger,
    now: u64,
    session: SessionId,
    seq: u64,
    incarnation: Incarnation,
    wishes: BTreeMap<Symbol, Wish>,
    /// When a maker looks after which symbol.
    agenda: BinaryHeap<Reverse<(u64, Symbol, Visit)>>,
    waits: BTreeMap<Symbol, Wait>,
    /// How often each symbol was granted, or could keep, a lot on every side that its maker wants.
    grants: BTreeMap<Symbol, u64>,
    /// The longest wait, in thousandths of what it might have taken.
    longest: u64,
}

impl Market {
    fn open(limit: i64, wishes: &[Wish]) -> Self {
        let mut market = Self {
            ledger: Ledger::new(),
            now: START,
            session: 0,
            seq: 0,
            incarnation: 0,
            wishes: BTreeMap::new(),
            agenda: BinaryHeap::new(),
            waits: BTreeMap::new(),
            grants: BTreeMap::new(),
            longest: 0,
        };
        market.send(Command::OpenSession);
        (market.session, market.seq) = (market.ledger.last_index(), 0);
        market.control(ControlChange::ExposureLimit { limit: Exposure(limit) });
        for (number, wish) in wishes.iter().enumerate() {
            let symbol = Symbol::new(&format!("S{number:04}")).unwrap();
            let size: Decimal = "0.01".parse().unwrap();
            let spec = SymbolSpec { tick_size: size, lot_size: size, exposure_per_lot: wish.weight };
            market.send(Command::DefineSymbol(DefineSymbol { symbol: symbol.clone(), spec }));
            market.agenda.push(Reverse((START + wish.from_ms, symbol.clone(), Visit::Refresh)));
            market.wishes.insert(symbol, wish.clone());
        }
        let register = RegisterMaker { maker: maker(), ttl_ms: LEASE_TTL_MAX_MS, secret_hash: SECRET.hash() };
        market.send(Command::RegisterMaker(register));
        market.incarnation = market.ledger.last_index();
        for symbol in market.wishes.keys().cloned().collect::<Vec<_>>() {
            let (incarnation, text) = (market.incarnation, String::from("p"));
            let commit = CommitParameters { maker: maker(), incarnation, secret: SECRET, symbol, text };
            market.send(Command::CommitParameters(commit));
        }
        market
    }

    fn control(&mut self, change: ControlChange) {
        let control_version = self.ledger.control().version;
        let (actor, reason) = ("ops".parse().unwrap(), String::from("set up"));
        self.send(Command::Control(ControlCommand { actor, reason, control_version, change }));
    }

    fn send(&mut self, command: Command) -> Outcome {
        self.seq += 1;
        let envelope = Envelope { session: self.session, seq: self.seq, command };
        self.apply(&Input::Client(envelope))
    }

    fn apply(&mut self, input: &Input) -> Outcome {
        let (response, events) = self.ledger.apply(self.ledger.last_index() + 1, Millis(self.now), input);
        let (reserved, limit) = (self.ledger.reserved(), self.ledger.exposure_limit());
        assert!(reserved.bid <= limit && reserved.ask <= limit, "{reserved:?} is above {limit}");
        self.follow(&events);
        response.outcome
    }

    /// Follows who waits, and sees that nobody waits for too long.
    fn follow(&mut self, events: &[Event]) {
        let mut changed = false;
        for event in events {
            let Event::TurnChanged { symbol, turn } = event else { continue };
            changed = true;
            match turn {
                Some(Turn::Waiting { .. }) => {
                    self.waits.entry(symbol.clone()).or_insert(Wait { since: self.now, places: 0 });
                }
                Some(Turn::Offered { .. }) => {
                    let delay_ms = self.wishes[symbol].delay_ms;
                    self.agenda.push(Reverse((self.now + delay_ms, symbol.clone(), Visit::Offer)));
                }
                Some(Turn::Running { .. }) | None => {
                    if let Some(wait) = self.waits.remove(symbol) {
                        self.judge(symbol, wait);
                    }
                }
            }
        }
        if changed {
            let places = self.places();
            self.waits.values_mut().for_each(|wait| wait.places = wait.places.max(places));
        }
    }

    fn judge(&mut self, symbol: &Symbol, wait: Wait) {
        let (took, most) = (self.now - wait.since, wait.places * PLACE_MS);
        assert!(
            took <= most,
            "{symbol} {:?} waited {took} ms, and {} places are {most} ms",
            self.wishes[symbol],
            wait.places
        );
        self.longest = self.longest.max(took * 1_000 / most);
    }

    fn demands(&self, state: &SymbolState, side: Side) -> bool {
        let now = self.ledger.log_time();
        let quoted = state.quote.as_ref().is_some_and(|quote| quote.is_active(now) && quote.leaves(side) > Qty::ZERO);
        let remembered = state.demand.until.of(side).is_some_and(|until| until > now);
        quoted || remembered || (state.demand.turn.is_some() && *state.demand.lot.of(side) > Exposure::ZERO)
    }

    /// ceil(W / k), as things stand.
    fn places(&self) -> u64 {
        let waits =
            |state: &&SymbolState| matches!(state.demand.turn, Some(Turn::Waiting { .. } | Turn::Offered { .. }));
        let waiting: Vec<&SymbolState> = self.ledger.symbols().map(|(_, state)| state).filter(waits).collect();
        let fit = |side: Side| {
            let heaviest = waiting.iter().map(|state| state.demand.lot.of(side).0).max().unwrap_or(0);
            if heaviest == 0 { i64::MAX } else { self.for_turns(side) / heaviest }
        };
        let at_once = u64::try_from(fit(Side::Buy).min(fit(Side::Sell)).max(1)).unwrap();
        u64::try_from(waiting.len()).unwrap().div_ceil(at_once)
    }

    /// *R* of a side.
    fn for_turns(&self, side: Side) -> i64 {
        let demanding = self.ledger.symbols().map(|(_, state)| state).filter(|state| self.demands(state, side));
        let demanding: Vec<&SymbolState> = demanding.collect();
        let limit = self.ledger.exposure_limit().0;
        let share = limit / i64::try_from(demanding.len().max(1)).unwrap();
        let fair = demanding.iter().filter(|state| state.demand.turn.is_none() && state.demand.lot.of(side).0 <= share);
        limit - share * i64::try_from(fair.count()).unwrap()
    }

    fn run(&mut self, for_ms: u64) {
        let (end, mut renewal) = (self.now + for_ms, self.now);
        loop {
            let due = self.ledger.next_deadline().map_or(u64::MAX, |due| due.0);
            let visit = self.agenda.peek().map_or(u64::MAX, |Reverse((at, ..))| *at);
            let next = due.min(visit).min(renewal).min(end);
            self.now = self.now.max(next);
            if next == end {
                break;
            } else if next == due {
                self.apply(&Input::Leader(LeaderCommand::Tick));
            } else if next == renewal {
                let (maker, incarnation) = (maker(), self.incarnation);
                self.send(Command::RenewMaker(MakerRef { maker, incarnation, secret: SECRET }));
                renewal += RENEW_MS;
            } else if let Some(Reverse((_, symbol, visit))) = self.agenda.pop() {
                self.look_after(&symbol);
                if visit == Visit::Refresh {
                    self.agenda.push(Reverse((self.now + REFRESH_MS, symbol, visit)));
                }
            }
        }
        for (symbol, wait) in self.waits.clone() {
            self.judge(&symbol, wait);
        }
        assert_eq!(self.ledger.audit(), vec![]);
    }

    /// What the maker does when it comes to a symbol, at a refresh or for an offer.
    fn look_after(&mut self, symbol: &Symbol) {
        let state = self.ledger.symbol(symbol).unwrap();
        let offered = matches!(state.demand.turn, Some(Turn::Offered { .. }));
        let waits = matches!(state.demand.turn, Some(Turn::Waiting { .. }));
        let quoted = self.ledger.active_quote(symbol).is_some();
        match self.wishes[symbol].habit {
            _ if offered => self.place(symbol),
            Habit::Replaces => self.place(symbol),
            Habit::AwaitsOffers if waits => {}
            Habit::AwaitsOffers => self.place(symbol),
            Habit::Keeps | Habit::NeverShrinks if !quoted => self.place(symbol),
            Habit::Keeps => {
                if !self.keep(symbol) {
                    self.place(symbol);
                }
            }
            Habit::NeverShrinks => {
                self.keep(symbol);
            }
        }
    }

    fn place(&mut self, symbol: &Symbol) {
        let (state, wish) = (self.ledger.symbol(symbol).unwrap(), &self.wishes[symbol]);
        let side = |price: i64, lots: i64| (lots > 0).then_some(QuoteSide { price: Price(price), qty: Qty(lots) });
        let (bid, ask) = (side(10, wish.bid), side(11, wish.ask));
        let place = PlaceQuote {
            symbol: symbol.clone(),
            incarnation: self.incarnation,
            secret: SECRET,
            epoch: state.epoch,
            quote_seq: state.quote_seq + 1,
            position_seq: state.position_seq,
            bid,
            ask,
            allow_reduced: true,
            ttl_ms: TTL_MS,
            cause: QuoteCause::Refresh,
            basis: basis(),
        };
        let outcome = self.send(Command::PlaceQuote(place));
        let state = self.ledger.symbol(symbol).unwrap();
        let got_all = match &outcome {
            Outcome::Accepted(Answer::QuotePlaced { bid_qty, ask_qty, .. }) => {
                [(bid, bid_qty), (ask, ask_qty)].iter().all(|(asked, got)| asked.is_none() || **got > Qty::ZERO)
            }
            Outcome::Refused(Refusal::ExposureShort { .. }) => {
                assert!(state.quote.is_none(), "{symbol}: what was to be replaced still stands");
                false
            }
            other => panic!("{symbol}: {other:?}"),
        };
        if got_all {
            *self.grants.entry(symbol.clone()).or_default() += 1;
        } else {
            assert!(state.demand.turn.is_some(), "{symbol} was granted nothing on a side, and does not wait");
        }
    }

    /// Whether it was kept.
    fn keep(&mut self, symbol: &Symbol) -> bool {
        let state = self.ledger.symbol(symbol).unwrap();
        let keep = KeepQuote {
            symbol: symbol.clone(),
            incarnation: self.incarnation,
            secret: SECRET,
            epoch: state.epoch,
            quote_seq: state.quote_seq + 1,
            quote_id: state.quote.as_ref().unwrap().id,
            position_seq: state.position_seq,
            ttl_ms: TTL_MS,
            basis: basis(),
        };
        match self.send(Command::KeepQuote(keep)) {
            Outcome::Accepted(_) => {
                let quote = self.ledger.active_quote(symbol).unwrap();
                let wish = &self.wishes[symbol];
                if [(Side::Buy, wish.bid), (Side::Sell, wish.ask)]
                    .into_iter()
                    .all(|(side, asked)| asked == 0 || quote.leaves(side) > Qty::ZERO)
                {
                    *self.grants.entry(symbol.clone()).or_default() += 1;
                }
                true
            }
            Outcome::Refused(Refusal::ExposureShort { .. }) => false,
            other => panic!("{symbol}: {other:?}"),
        }
    }
}

fn maker() -> MakerName {
    MakerName::new("m1").unwrap()
}

fn basis() -> QuoteBasis {
    QuoteBasis {
        computed_at: 0,
        reference: None,
        room: None,
        strategy: "naive".parse().unwrap(),
        version: 1,
        parameters: Digest::of(b"p"),
        state: Vec::new(),
    }
}

/// Runs until everybody must have been granted a lot several times; the longest wait, in thousandths of what it may take.
fn nobody_starves_among(rounds: u64, limit: i64, wishes: &[Wish]) -> u64 {
    let mut market = Market::open(limit, wishes);
    let heaviest = wishes.iter().map(|wish| wish.weight).max().unwrap();
    let at_once = u64::try_from((limit / heaviest).max(1)).unwrap();
    let round_ms = u64::try_from(wishes.len()).unwrap().div_ceil(at_once) * PLACE_MS;
    market.run(rounds * round_ms + 2 * REFRESH_MS);
    let granted: BTreeSet<&Symbol> =
        market.grants.iter().filter(|(_, count)| **count >= rounds).map(|(symbol, _)| symbol).collect();
    let starved: Vec<_> = market.wishes.iter().filter(|(symbol, _)| !granted.contains(symbol)).collect();
    assert!(starved.is_empty(), "granted fewer than {rounds} times: {starved:?} of {:?}", market.grants);
    market.longest
}

/// Symbols of these weights, whose makers all have this habit, and want `lots` of each side.
fn alike(weights: &[i64], lots: i64, habit: Habit) -> Vec<Wish> {
    let wish = |(number, weight): (usize, &i64)| {
        let spread = u64::try_from(number).unwrap() * 37;
        Wish { weight: *weight, bid: lots, ask: lots, habit, from_ms: spread % REFRESH_MS, delay_ms: spread % 900 }
    };
    weights.iter().enumerate().map(wish).collect()
}

#[test]
fn nobody_starves_where_five_heavy_ones_stand_beside_four_light_ones() {
    for (habit, lots) in HABITS.into_iter().flat_map(|habit| [1, 100].map(|lots| (habit, lots))) {
        nobody_starves_among(ROUNDS, 100, &alike(&[30, 30, 30, 30, 30, 1, 1, 1, 1], lots, habit));
        nobody_starves_among(ROUNDS, 100, &alike(&[1, 1, 1, 1, 30, 30, 30, 30, 30], lots, habit));
    }
}

#[test]
fn nobody_starves_where_there_are_more_symbols_than_lots() {
    for (habit, lots) in HABITS.into_iter().flat_map(|habit| [1, 5].map(|lots| (habit, lots))) {
        nobody_starves_among(ROUNDS, 3, &alike(&[1; 4], lots, habit));
        nobody_starves_among(ROUNDS, 1, &alike(&[1; 4], lots, habit));
    }
}

#[test]
fn nobody_starves_beside_one_that_needs_the_whole_limit() {
    for (habit, lots) in HABITS.into_iter().flat_map(|habit| [1, 100].map(|lots| (habit, lots))) {
        nobody_starves_among(ROUNDS, 100, &alike(&[100, 1], lots, habit));
        nobody_starves_among(ROUNDS, 100, &alike(&[1, 100, 1, 100, 50], lots, habit));
    }
}

/// Found by chance: a turn on the other side, and turns that nobody had offered, kept the first that waited from its lot for
/// ever.
#[test]
fn nobody_starves_for_turns_on_the_other_side_or_out_of_order() {
    let wish = |weight, bid, ask, habit, from_ms| Wish { weight, bid, ask, habit, from_ms, delay_ms: 0 };
    let wishes = [
        wish(6, 1, 0, Habit::Replaces, 0),
        wish(4, 0, 1, Habit::Replaces, 197),
        wish(1, 1, 0, Habit::Replaces, 0),
        wish(1, 1, 1, Habit::NeverShrinks, 0),
    ];
    nobody_starves_among(ROUNDS, 6, &wishes);
}

#[test]
fn nobody_starves_among_as_many_symbols_as_there_may_be() {
    // Most of them ask only when they are offered a lot: a thousand that ask every 4 s take a minute.
    let longest = [
        nobody_starves_among(2, 100, &alike(&[1; 1_024], 1, Habit::AwaitsOffers)),
        nobody_starves_among(ROUNDS, 25, &alike(&[1; 256], 2, Habit::Keeps)),
    ];
    // Thousandths of what it might have taken: the bound is not so wide that it says nothing.
    assert!(longest.iter().all(|longest| *longest > 250), "{longest:?}");
}

/// How many cases are tried: more where `PROPTEST_CASES` says so.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(32)
}

fn wish(limit: i64) -> impl Strategy<Value = Wish> {
    let lots = (0..=3i64, 0..=3i64, prop::bool::weighted(0.3))
        .prop_filter("a side", |(bid, ask, _)| bid + ask > 0)
        .prop_map(|(bid, ask, greedy)| if greedy { (bid * 40, ask * 40) } else { (bid, ask) });
    let weight = prop_oneof![1..=limit, Just(limit), 1..=limit.min(5)];
    (weight, lots, prop::sample::select(&HABITS[..]), 0..20_000u64, 0..OFFER_MS)
        .prop_map(|(weight, (bid, ask), habit, from_ms, delay_ms)| Wish { weight, bid, ask, habit, from_ms, delay_ms })
}

fn crowd() -> impl Strategy<Value = (i64, Vec<Wish>)> {
    let count = prop_oneof![3 => 2..=8usize, 2 => 9..=24usize, 1 => 25..=64usize];
    (1..=100i64, count).prop_flat_map(|(limit, count)| (Just(limit), prop::collection::vec(wish(limit), count..=count)))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), max_shrink_iters: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nobody_starves((limit, wishes) in crowd()) {
        nobody_starves_among(ROUNDS, limit, &wishes);
    }
}
