//! The naive model of the ledger: what `docs/ledger.md` says, as plainly as it can be written.
//!
//! It keeps facts, never figures: positions, leaves, reservations, loads and windows are computed
//! from scratch at each use, by looking at everything. It must share no code with the ledger beyond
//! its types, and must stay slow and obvious.

pub(crate) mod accounts;
mod authority;
mod closing;
mod control;
pub(crate) mod instruments;
mod marks;
mod orders;
pub(crate) mod profit;
mod protection;
mod quotes;
mod sessions;
mod sharing;
mod turns;

use std::collections::{BTreeMap, BTreeSet};

use quorate_domain::{
    Account, Asset, Exposure, ExposureBasis, Instrument, MakerName, Millis, OrderId, Price, Protection, Qty, QuoteId,
    QuoteSide, RefPrice, Side, Sides, Symbol,
};
use quorate_ledger::{
    Against, Answer, AuthorityEndReason, Command, DepartReason, Digest, Epoch, Event, ExchangeEpoch, ExecuteOrder,
    Incarnation, Input, LeaderCommand, NewOrder, OrderStatus, Outcome, QuoteEndReason, Refusal, Response, SecretHash,
    SessionId, Turn,
    bounds::{HARD_EXPOSURE_LIMIT, NAME_MEMORY_MS, SESSION_IDLE_MS, SWEEP_MAX},
};

/// The version at genesis, and the highest there is.
const LEDGER_VERSION: u32 = 1;

/// The whole state, as facts.
#[derive(Debug, Clone)]
pub(crate) struct Model {
    pub(crate) log_time: Millis,
    pub(crate) term: u64,
    pub(crate) sessions: BTreeMap<SessionId, Session>,
    pub(crate) control_version: u64,
    pub(crate) ledger_version: u32,
    pub(crate) basis: ExposureBasis,
    pub(crate) limit: Exposure,
    pub(crate) kill_switch: bool,
    pub(crate) all_off: bool,
    pub(crate) symbols_off: BTreeSet<Symbol>,
    pub(crate) makers_off: BTreeSet<MakerName>,
    pub(crate) symbols: BTreeMap<Symbol, SymbolState>,
    pub(crate) makers: BTreeMap<MakerName, Maker>,
    /// [`Model::members`] at the start of the apply.
    members_before: (BTreeSet<Incarnation>, BTreeSet<Symbol>),
    pub(crate) exchange: Option<ExchangeEpoch>,
    /// The symbols for which the exchange has a price source, once it has said so.
    pub(crate) listing: Option<BTreeSet<Symbol>>,
    /// Accounts that may not go below 0.
    pub(crate) limited: BTreeSet<Account>,
    /// By quote asset.
    pub(crate) breakers: BTreeMap<Asset, Breaker>,
    /// Every order accepted from the present exchange, with its answer.
    pub(crate) executed: Vec<(ExecuteOrder, Response)>,
    /// By symbol: answers below this are kept no longer.
    pub(crate) answered_below: BTreeMap<Symbol, u64>,
    /// Every order ever accepted, by id.
    pub(crate) orders: Vec<Order>,
    /// Every fill ever; the trade id is the place, from 1.
    pub(crate) fills: Vec<Fill>,
    /// Closed orders whose names take a place, in the order in which they closed.
    closings: Vec<(OrderId, Millis)>,
    /// Room for so many names.
    names_max: usize,
    /// Everything that moved money or assets, in order.
    pub(crate) book: Vec<Posting>,
}

/// Something that moved money or assets.
#[derive(Debug, Clone)]
pub(crate) enum Posting {
    /// Put into an account, or taken out.
    Deposit { account: Account, asset: Asset, amount: i128 },
    /// By its place among the fills.
    Fill(usize),
    /// What all have of a contract became money.
    Settled { symbol: Symbol, instrument: Instrument, price: Price },
}

/// The breaker on the equity of a quote asset.
#[derive(Debug, Clone, Default)]
pub(crate) struct Breaker {
    pub(crate) limit: Option<i128>,
    pub(crate) high_water: i128,
    pub(crate) tripped: bool,
}

/// A price, and when its source last changed or confirmed it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mark {
    pub(crate) price: RefPrice,
    pub(crate) time: Millis,
}

#[derive(Debug, Clone)]
pub(crate) struct Session {
    pub(crate) last_use: Millis,
    /// Every call that was carried out, with its answer.
    pub(crate) calls: Vec<(u64, Command, Response)>,
}

#[derive(Debug, Clone)]
pub(crate) struct SymbolState {
    pub(crate) instrument: Instrument,
    pub(crate) revision: u64,
    /// Whether it has ended, and at which price what was held of it became money, if it did.
    pub(crate) closed: Option<Option<Price>>,
    /// The mark that counts.
    pub(crate) mark: Option<Mark>,
    /// The mark that waits for another to confirm it.
    pub(crate) waiting_mark: Option<Mark>,
    pub(crate) last_mark_time: Option<Millis>,
    pub(crate) protection: Option<Protection>,
    /// Lots that orders filled of its quotes since the protection began to count.
    pub(crate) counted_fills: Vec<(Millis, i64)>,
    pub(crate) paused_until: Option<Millis>,
    pub(crate) epoch: Epoch,
    pub(crate) holder: Option<MakerName>,
    pub(crate) moving: Option<(MakerName, Millis)>,
    pub(crate) quote: Option<Quote>,
    pub(crate) quote_seq: u64,
    pub(crate) position_max: Option<Qty>,
    /// Until when a demand of a side is remembered.
    pub(crate) demands: Sides<Option<Millis>>,
    /// The exposure of one lot at the prices that the last `PlaceQuote` that came to step 11 asked for.
    pub(crate) lots: Sides<i128>,
    pub(crate) turn: Option<Turn>,
    /// It waits, and was among the first when the turns were looked at last.
    pub(crate) among_the_first: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct Maker {
    pub(crate) incarnation: Incarnation,
    pub(crate) ttl_ms: u64,
    pub(crate) deadline: Millis,
    /// The indexes at which what it holds or is to give up changed.
    pub(crate) changed_at: Vec<u64>,
    pub(crate) secret_hash: SecretHash,
    /// The digest of the parameters committed last, by symbol.
    pub(crate) parameters: BTreeMap<Symbol, Digest>,
}

#[derive(Debug, Clone)]
pub(crate) struct Quote {
    pub(crate) id: QuoteId,
    pub(crate) position_seq: u64,
    pub(crate) bid: Option<QuoteSide>,
    pub(crate) ask: Option<QuoteSide>,
    pub(crate) deadline: Millis,
}

#[derive(Debug, Clone)]
pub(crate) struct Order {
    pub(crate) id: OrderId,
    pub(crate) new: NewOrder,
    /// Lots of a sale that began to rest for which there were free contracts.
    pub(crate) covered: i64,
    /// How it ended otherwise than by its fills.
    pub(crate) ended: Option<OrderStatus>,
    pub(crate) closed_at: Option<Millis>,
    /// Its name takes no place any more.
    pub(crate) swept: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct Fill {
    pub(crate) symbol: Symbol,
    /// As it was then.
    pub(crate) instrument: Instrument,
    pub(crate) price: Price,
    pub(crate) qty: Qty,
    pub(crate) taker: OrderId,
    pub(crate) taker_account: Account,
    pub(crate) taker_side: Side,
    pub(crate) against: Against,
}

/// What a command came to, before the rebalance.
enum Done {
    /// This.
    Outcome(Outcome),
    /// The answer of an earlier command, as it was.
    Before(Response),
}

fn accepted(answer: Answer) -> Done {
    Done::Outcome(Outcome::Accepted(answer))
}

fn digest(bytes: &[u8]) -> Digest {
    Digest(*blake3::hash(bytes).as_bytes())
}

/// A text of a refusal; the ledger chooses its own, and the comparison leaves it out.
fn some_text() -> String {
    String::from("text")
}

fn invalid() -> Refusal {
    Refusal::Invalid { what: some_text() }
}

fn full(max: usize) -> Refusal {
    Refusal::Full { what: some_text(), max: u64::try_from(max).unwrap() }
}

impl Model {
    pub(crate) fn new(names_max: usize) -> Self {
        Self {
            log_time: Millis(0),
            term: 0,
            sessions: BTreeMap::new(),
            control_version: 0,
            ledger_version: LEDGER_VERSION,
            basis: ExposureBasis::Units,
            limit: Exposure(HARD_EXPOSURE_LIMIT),
            kill_switch: false,
            all_off: false,
            symbols_off: BTreeSet::new(),
            makers_off: BTreeSet::new(),
            symbols: BTreeMap::new(),
            makers: BTreeMap::new(),
            members_before: (BTreeSet::new(), BTreeSet::new()),
            exchange: None,
            listing: None,
            limited: BTreeSet::new(),
            breakers: BTreeMap::new(),
            executed: Vec::new(),
            answered_below: BTreeMap::new(),
            orders: Vec::new(),
            fills: Vec::new(),
            closings: Vec::new(),
            names_max,
            book: Vec::new(),
        }
    }

    /// One apply, step by step as the page numbers them.
    pub(crate) fn apply(&mut self, index: u64, now: Millis, input: &Input) -> (Response, Vec<Event>) {
        let mut events = Vec::new();
        self.members_before = self.members();
        self.log_time = self.log_time.max(now);
        let begun = match input {
            Input::Leader(LeaderCommand::BeginTerm { term, quote_age_proven, clock_jump_ms }) if *term > self.term => {
                self.term = *term;
                let graced = self.grace(&mut events);
                self.offer_again(&mut events);
                Some(Event::TermBegan {
                    term: *term,
                    graced,
                    quotes_pulled: !quote_age_proven,
                    clock_jump_ms: *clock_jump_ms,
                })
            }
            Input::Leader(_) | Input::Client(_) => None,
        };
        self.sweep(index, &mut events);
        if let Some(Event::TermBegan { quotes_pulled: true, .. }) = begun {
            for symbol in self.symbol_names() {
                self.end_quote(&symbol, QuoteEndReason::AgeUnproven, &mut events);
            }
        }
        events.extend(begun);
        let response = match input {
            Input::Client(envelope) => self.client(index, envelope, &mut events),
            Input::Leader(_) => {
                self.rebalance_and_turns(&mut events);
                self.response(index, Outcome::Accepted(Answer::Done))
            }
        };
        self.note_closings(index, &events);
        self.note_holdings(index, &events);
        (response, events)
    }

    /// Step 6, at every apply: where nothing changed it must find nothing to do.
    fn rebalance_and_turns(&mut self, events: &mut Vec<Event>) {
        self.rebalance(events);
        self.set_aside_and_offer(events);
    }

    fn response(&self, index: u64, outcome: Outcome) -> Response {
        Response { index, log_time: self.log_time, outcome }
    }

    /// A time that has come: whatever carries it is over.
    fn passed(&self, deadline: Millis) -> bool {
        deadline <= self.log_time
    }

    fn symbol_names(&self) -> Vec<Symbol> {
        self.symbols.keys().cloned().collect()
    }

    fn grace(&mut self, events: &mut Vec<Event>) -> u32 {
        let mut graced = 0;
        for (name, maker) in &mut self.makers {
            let lengthened = Millis(self.log_time.0.saturating_add(maker.ttl_ms));
            if lengthened > maker.deadline {
                maker.deadline = lengthened;
                graced += 1;
                let (maker, incarnation) = (name.clone(), maker.incarnation);
                events.push(Event::MakerRenewed { maker, incarnation, deadline: lengthened });
            }
        }
        graced
    }

    /// Ends what is due, one thing after the other, each time looking for the first of all that are due.
    fn sweep(&mut self, index: u64, events: &mut Vec<Event>) {
        for _ in 0..SWEEP_MAX {
            if let Some(maker) = self.first_due_maker() {
                self.depart(&maker, DepartReason::Expired, events);
            } else if let Some(symbol) = self.first_due_move() {
                self.hand_over(&symbol, AuthorityEndReason::MoveDeadline, events);
            } else if let Some(symbol) = self.first_due_turn() {
                self.end_offer_or_turn(index, &symbol, events);
            } else if let Some(symbol) = self.first_due_quote() {
                self.end_quote(&symbol, QuoteEndReason::Expired, events);
            } else if let Some(session) = self.first_idle_session() {
                self.sessions.remove(&session);
            } else if let Some(order) = self.first_due_name() {
                self.order_mut(order).swept = true;
                self.closings.remove(0);
            } else {
                return;
            }
        }
    }

    fn first_due_maker(&self) -> Option<MakerName> {
        let due = self.makers.iter().filter(|(_, maker)| self.passed(maker.deadline));
        due.map(|(name, maker)| (maker.deadline, name.clone())).min().map(|(_, name)| name)
    }

    fn first_due_move(&self) -> Option<Symbol> {
        let moves = self.symbols.iter().filter_map(|(name, state)| Some((state.moving.as_ref()?.1, name.clone())));
        moves.filter(|(until, _)| self.passed(*until)).min().map(|(_, name)| name)
    }

    fn first_due_turn(&self) -> Option<Symbol> {
        let turns = self.symbols.iter().filter_map(|(name, state)| match state.turn? {
            Turn::Offered { until } | Turn::Running { until } => Some((until, name.clone())),
            Turn::Waiting { .. } => None,
        });
        turns.filter(|(until, _)| self.passed(*until)).min().map(|(_, name)| name)
    }

    fn first_due_quote(&self) -> Option<Symbol> {
        let quotes =
            self.symbols.iter().filter_map(|(name, state)| Some((state.quote.as_ref()?.deadline, name.clone())));
        quotes.filter(|(deadline, _)| self.passed(*deadline)).min().map(|(_, name)| name)
    }

    fn first_idle_session(&self) -> Option<SessionId> {
        let idle = self.sessions.iter().filter(|(_, session)| self.idle_for(session) >= SESSION_IDLE_MS);
        idle.map(|(id, session)| (session.last_use, *id)).min().map(|(_, id)| id)
    }

    fn idle_for(&self, session: &Session) -> u64 {
        self.log_time.0 - session.last_use.0
    }

    fn first_due_name(&self) -> Option<OrderId> {
        let (first, closed_at) = self.closings.first()?;
        self.past_memory(*closed_at).then_some(*first)
    }

    fn past_memory(&self, closed_at: Millis) -> bool {
        self.passed(Millis(closed_at.0.saturating_add(NAME_MEMORY_MS)))
    }

    pub(crate) fn is_known(&self, order: &Order) -> bool {
        !order.closed_at.is_some_and(|at| self.past_memory(at))
    }

    /// What this apply closed: orders that rested, as the events tell, and then the one that it executed.
    fn note_closings(&mut self, index: u64, events: &[Event]) {
        let closed = events.iter().filter_map(|event| match event {
            Event::OrderClosed { order_id, .. } => Some(*order_id),
            _ => None,
        });
        let executed = self.orders.iter().filter(|order| order.id == index && !self.is_open(order));
        let closed: Vec<OrderId> = closed.chain(executed.map(|order| order.id)).collect();
        for id in closed {
            let at = self.log_time;
            self.order_mut(id).closed_at = Some(at);
            self.closings.push((id, at));
        }
    }
}
