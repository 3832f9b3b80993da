//! Each symbol's register: its position and its active quote, checked for linearizability.
//!
//! Black box: what counts is when calls were invoked and returned, and what they said; log indexes are
//! not looked at. The search is `porcupine_rs`'s, one symbol at a time, in this thread, with a budget in
//! steps and not in time, so that the same history always has the same verdict.
//!
//! An unknown command may take effect at any time after its invocation, or never: its interval is open to
//! the end. What no client does to a quote (authority that ends, a lowered limit, the kill switch, a new
//! leader) is taken from the frames: such a quote may vanish, any other only when its time is over.

mod model;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use porcupine_rs::{CheckResult, Operation};
use quorate_api::{PositionView, QuoteView, paths};
use quorate_domain::Symbol;
use quorate_ledger::{Command, Event, Frame, Outcome, QuoteEndReason, Refusal};

use super::{
    Check, Violation,
    calls::{Observed, Write},
    local::is_local,
};
use model::{Act, Counted, Key, Register};

/// Operations of one symbol's register at most; a longer history is refused, for its search could not be bounded.
pub const OPERATIONS_MAX: usize = 16_384;
/// What the search of one register may keep of states it has seen, in bytes, about.
const MEMORY_MAX: u64 = 512 << 20;
/// What one state takes beside a bit for each operation, in bytes, about.
const STATE_BYTES: u64 = 320;
/// Calls that a violation names at most.
const CULPRITS_MAX: usize = 4;
/// What the search for these may look at.
const NOTES_MAX: u64 = 500_000_000;

/// Whether a register is linearizable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// An order was found that explains every answer.
    Linearizable,
    /// There is none. The calls are those that no order found could take in, the earliest first.
    Illegal(Vec<usize>),
    /// Not decided, and why: this is no pass.
    Unknown(String),
}

/// What was found of one symbol's register.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// The symbol.
    pub symbol: Symbol,
    /// How many operations it had.
    pub operations: usize,
    /// Steps of the search.
    pub steps: u64,
    /// The verdict.
    pub verdict: Verdict,
}

impl Checked {
    /// What it says against the history, if anything.
    #[must_use]
    pub fn violation(&self) -> Option<Violation> {
        let (what, calls) = match &self.verdict {
            Verdict::Linearizable => return None,
            Verdict::Illegal(calls) => (format!("{}: {self}", self.symbol), calls.clone()),
            Verdict::Unknown(_) => (format!("{}: {self}", self.symbol), Vec::new()),
        };
        Some(Violation { check: Check::Register, what, calls })
    }
}

impl fmt::Display for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.verdict {
            Verdict::Linearizable => write!(f, "{} operations are linearizable", self.operations),
            Verdict::Illegal(_) => write!(
                f,
                "no order of the {} operations on position and quote explains their answers ({} steps)",
                self.operations, self.steps
            ),
            Verdict::Unknown(why) => write!(f, "undecided, which is no pass: {why}"),
        }
    }
}

/// Checks every symbol's register, from one that was never touched on.
#[must_use]
pub fn check(writes: &[Write], reads: &[Observed], frames: &[Frame]) -> Vec<Checked> {
    check_within(writes, reads, frames, None)
}

/// [`check`], with a budget of its own in steps for each register.
#[must_use]
pub fn check_within(writes: &[Write], reads: &[Observed], frames: &[Frame], steps: Option<u64>) -> Vec<Checked> {
    let ended = ended_from_outside(frames);
    let mut registers: BTreeMap<Symbol, Vec<Touch>> = BTreeMap::new();
    let symbols: BTreeSet<&Symbol> = writes.iter().filter_map(symbol_of).collect();
    for write in writes {
        if let Some((symbol, act)) = act_of(write, &ended) {
            let touch = Touch { call: write.calls.first().copied(), from: write.invoked, to: write.returned, act };
            registers.entry(symbol.clone()).or_default().push(touch);
        }
    }
    for read in reads.iter().filter(|read| !is_local(read)) {
        for symbol in symbols.iter().filter(|symbol| covers(read, symbol)) {
            let act = match read.path.as_str() {
                paths::POSITIONS => act_of_positions(read, symbol),
                paths::QUOTES => act_of_quotes(read, symbol),
                _ => continue,
            };
            let touch = Touch { call: Some(read.call), from: read.invoked, to: Some(read.returned), act };
            registers.entry((*symbol).clone()).or_default().push(touch);
        }
    }
    registers.into_iter().map(|(symbol, touches)| search(symbol, touches, steps)).collect()
}

/// One operation on a register.
struct Touch {
    call: Option<usize>,
    from: u64,
    to: Option<u64>,
    act: Act,
}

fn covers(read: &Observed, symbol: &Symbol) -> bool {
    read.symbol.as_deref().is_none_or(|asked| asked == symbol.as_str())
}

fn symbol_of(write: &Write) -> Option<&Symbol> {
    match &write.command {
        Command::PlaceQuote(place) => Some(&place.symbol),
        Command::KeepQuote(keep) => Some(&keep.symbol),
        Command::PullQuote(pull) => Some(&pull.symbol),
        Command::ExecuteOrder(execute) => Some(&execute.order.symbol),
        Command::DefineSymbol(define) => Some(&define.symbol),
        Command::OpenSession
        | Command::CloseSession
        | Command::Control(_)
        | Command::PublishMarks(_)
        | Command::SetListing(_)
        | Command::CommitParameters(_)
        | Command::RegisterMaker(_)
        | Command::RenewMaker(_)
        | Command::DeregisterMaker(_)
        | Command::ReleaseSymbol(_)
        | Command::RegisterExchange(_)
        | Command::CancelOrder(_) => None,
    }
}

/// What a command does to a register, or says of it; `None` where neither.
fn act_of<'a>(write: &'a Write, ended: &BTreeSet<(Symbol, Key)>) -> Option<(&'a Symbol, Act)> {
    let symbol = symbol_of(write)?;
    let answered = write.response.as_ref().map(|response| (response.log_time.0, &response.outcome));
    let act = match (&write.command, answered) {
        (Command::DefineSymbol(_), None) => Act::Define { at: None },
        (Command::DefineSymbol(_), Some((at, Outcome::Accepted(_)))) => Act::Define { at: Some(at) },
        (Command::PlaceQuote(place), None | Some((_, Outcome::Accepted(_)))) => {
            let mortal = ended.contains(&(symbol.clone(), (place.epoch, place.quote_seq)));
            Act::place(place, mortal, write.response.as_ref())
        }
        (Command::KeepQuote(keep), None | Some((_, Outcome::Accepted(_)))) => Act::keep(keep, write.response.as_ref()),
        (Command::PullQuote(pull), None | Some((_, Outcome::Accepted(_)))) => Act::pull(pull, write.response.as_ref()),
        (Command::ExecuteOrder(execute), None | Some((_, Outcome::Accepted(_)))) => {
            Act::execute(execute, write.response.as_ref())?
        }
        (_, Some((at, Outcome::Refused(Refusal::StalePosition { position_seq, position })))) => {
            Act::Position { at, position: position.0, position_seq: *position_seq }
        }
        _ => return None,
    };
    Some((symbol, act))
}

fn act_of_positions(read: &Observed, symbol: &Symbol) -> Act {
    let at = read.log_time.0;
    let Some(rows) = read.rows::<Vec<PositionView>>() else { return Act::Nonsense };
    match rows.iter().find(|row| row.symbol == *symbol) {
        Some(row) => Act::Position { at, position: row.position.0, position_seq: row.position_seq },
        None => Act::NotDefined { at },
    }
}

fn act_of_quotes(read: &Observed, symbol: &Symbol) -> Act {
    let at = read.log_time.0;
    let Some(rows) = read.rows::<Vec<QuoteView>>() else { return Act::Nonsense };
    Act::quoted(at, rows.iter().find(|row| row.symbol == *symbol))
}

/// The quotes that ended for reasons that are no operation on their register.
fn ended_from_outside(frames: &[Frame]) -> BTreeSet<(Symbol, Key)> {
    let mut placed: BTreeMap<u64, Key> = BTreeMap::new();
    let mut ended = BTreeSet::new();
    for event in frames.iter().flat_map(|frame| &frame.events) {
        match event {
            Event::QuotePlaced(quote) => drop(placed.insert(quote.quote_id, (quote.epoch, quote.quote_seq))),
            Event::QuoteEnded { symbol, quote_id, reason, .. } => match reason {
                QuoteEndReason::Expired | QuoteEndReason::Pulled | QuoteEndReason::Filled => {}
                QuoteEndReason::AuthorityEnded
                | QuoteEndReason::QuotingOff
                | QuoteEndReason::KillSwitch
                | QuoteEndReason::LimitLowered
                | QuoteEndReason::PositionLimit
                | QuoteEndReason::TurnEnded
                | QuoteEndReason::Breaker
                | QuoteEndReason::Protection
                | QuoteEndReason::AgeUnproven
                | QuoteEndReason::Replaced => {
                    ended.extend(placed.get(quote_id).map(|key| (symbol.clone(), *key)));
                }
            },
            _ => {}
        }
    }
    ended
}

fn search(symbol: Symbol, touches: Vec<Touch>, budget: Option<u64>) -> Checked {
    let operations = touches.len();
    if operations > OPERATIONS_MAX {
        let why = format!("{operations} operations, and at most {OPERATIONS_MAX} can be searched: record less");
        return Checked { symbol, operations, steps: 0, verdict: Verdict::Unknown(why) };
    }
    let words = u64::try_from(operations).unwrap_or(u64::MAX) / 8;
    let budget = budget.unwrap_or(MEMORY_MAX / (STATE_BYTES + words));
    let left = Arc::new(AtomicU64::new(budget));
    let history = operations_of(&touches, &left);
    let linearizable = porcupine_rs::check_operations::<Register>(&history);
    let remaining = left.load(Ordering::Relaxed);
    let verdict = if remaining == 0 {
        Verdict::Unknown(format!("the search was given up after {budget} steps"))
    } else if linearizable {
        Verdict::Linearizable
    } else {
        Verdict::Illegal(culprits(&touches, budget))
    };
    Checked { symbol, operations, steps: budget - remaining, verdict }
}

fn operations_of(touches: &[Touch], left: &Arc<AtomicU64>) -> Vec<Operation<Register>> {
    let time = |ns: u64| i64::try_from(ns).unwrap_or(i64::MAX - 1);
    let operation = |touch: &Touch| Operation {
        client_id: None,
        call_time: time(touch.from),
        return_time: touch.to.map_or(i64::MAX, time),
        op: Counted { act: touch.act.clone(), left: left.clone() },
        metadata: None,
    };
    touches.iter().map(operation).collect()
}

/// The calls that the longest order found leaves out, by the time of their return: the first is where it broke.
fn culprits(touches: &[Touch], budget: u64) -> Vec<usize> {
    // Taking notes costs a look at the whole order for each step back.
    let affordable = NOTES_MAX / u64::try_from(touches.len().max(1)).unwrap_or(u64::MAX);
    let left = Arc::new(AtomicU64::new(budget.min(affordable)));
    let (verdict, info) = porcupine_rs::check_operations_info::<Register>(&operations_of(touches, &left));
    debug_assert_ne!(verdict, CheckResult::Ok, "the same search, with notes");
    let orders = info.partial_linearizations.iter().flatten();
    let longest: BTreeSet<usize> = orders.max_by_key(|order| order.len()).into_iter().flatten().copied().collect();
    let mut left_out: Vec<&Touch> = touches
        .iter()
        .enumerate()
        .filter(|(at, touch)| !longest.contains(at) && touch.to.is_some())
        .map(|(_, t)| t)
        .collect();
    left_out.sort_by_key(|touch| touch.to);
    left_out.iter().filter_map(|touch| touch.call).take(CULPRITS_MAX).collect()
}
