//! The model, replayed; or several, where it cannot be told yet which of them is what happened.
//!
//! An unknown `PullQuote` that finds no quote shows nowhere in the log, and still uses its number up and makes the ledger
//! forget that the symbol waits for exposure. So at an entry that nobody has an answer to, both may be true. What
//! later answers contradict goes; where all are gone, nothing explains the history.

use quorate_domain::{Millis, Sides};
use quorate_ledger::{
    Command, Envelope, Event, Frame, Input, LeaderCommand, OrderStatus, Outcome, Refusal, Response, bounds::NAMES_MAX,
};

use super::{traces, views};
use crate::history::{
    calls::{Observed, Write},
    naive::{Model, Session, SymbolState},
};

/// Worlds that are held at most; past that the history is undecided.
const WORLDS_MAX: usize = 64;
/// Where the model keeps the session that every command is given for the moment of its replay.
const SESSION: u64 = u64::MAX;
/// Characters of a difference that are told at most.
const SHOWN_MAX: usize = 1_200;

/// What an entry of the log is, as far as answers tell.
pub(super) enum Entry<'a> {
    /// This command, with this answer.
    Answered(&'a Command, &'a Response),
    /// About a session, which are not replayed.
    Session,
    /// A leader's term begins.
    Term { term: u64, quote_age_proven: bool, clock_jump_ms: u64 },
    /// Nobody has an answer to it.
    Nobodys,
    /// Its answer cannot be.
    Wrong(String),
}

/// All that may be true so far.
pub(super) struct Worlds<'a> {
    worlds: Vec<World>,
    /// Commands whose outcome is unknown, each with the highest index that it must lie above.
    open: Vec<(&'a Write, u64)>,
}

/// What the log does not show of a symbol, and what counts later.
#[derive(PartialEq)]
struct Hidden<'a> {
    /// The demands for exposure that are remembered.
    demands: Sides<Option<Millis>>,
    lots: &'a Sides<i128>,
    quote_seq: u64,
    among_the_first: bool,
}

#[derive(Clone)]
struct World {
    model: Model,
    /// Which of the open commands have taken effect.
    done: Vec<bool>,
}

impl<'a> Worlds<'a> {
    pub(super) fn new(open: Vec<(&'a Write, u64)>) -> Self {
        Self { worlds: vec![World { model: Model::new(NAMES_MAX), done: vec![false; open.len()] }], open }
    }

    /// Applies the entry of `frame`.
    pub(super) fn apply(&mut self, frame: &Frame, entry: &Entry<'_>) -> Result<(), String> {
        let mut next: Vec<World> = Vec::new();
        let mut differs: Option<String> = None;
        for world in std::mem::take(&mut self.worlds) {
            let tried = match entry {
                Entry::Wrong(what) => Err(what.clone()),
                Entry::Answered(command, response) => world.command(frame, command, Some(response)).map(|w| vec![w]),
                Entry::Session => world.leader(frame, LeaderCommand::Tick).map(|w| vec![w]),
                Entry::Term { term, quote_age_proven, clock_jump_ms } => {
                    let (term, quote_age_proven, clock_jump_ms) = (*term, *quote_age_proven, *clock_jump_ms);
                    let begin = LeaderCommand::BeginTerm { term, quote_age_proven, clock_jump_ms };
                    world.leader(frame, begin).map(|w| vec![w])
                }
                Entry::Nobodys => self.nobodys(world, frame),
            };
            match tried {
                Ok(worlds) => next.extend(worlds),
                Err(what) => differs = differs.or(Some(what)),
            }
        }
        if next.is_empty() {
            return Err(differs.unwrap_or_else(|| "no world is left".to_owned()));
        }
        let next = without_dominated(next);
        if next.len() > WORLDS_MAX {
            return Err(format!("undecided, which is no pass: more than {WORLDS_MAX} explanations"));
        }
        self.worlds = next;
        Ok(())
    }

    /// An entry that nobody has an answer to: the leader's, a repeat or about a session; or an unknown command.
    fn nobodys(&self, world: World, frame: &Frame) -> Result<Vec<World>, String> {
        let unasked = |what| format!("an effect that nobody asked for: {what}");
        let possible = |(at, (write, above)): &(usize, &(&Write, u64))| {
            let explains = traces::may_explain(&write.command, &frame.events) || world.may_forget(&write.command);
            !world.done[*at] && frame.index > *above && explains
        };
        let possible: Vec<usize> = self.open.iter().enumerate().filter(possible).map(|(at, _)| at).collect();
        if possible.is_empty() {
            return world.leader(frame, LeaderCommand::Tick).map(|world| vec![world]).map_err(unasked);
        }
        let tick = world.clone().leader(frame, LeaderCommand::Tick);
        let mut next = Vec::new();
        for at in possible {
            if let Ok(mut applied) = world.clone().command(frame, &self.open[at].0.command, None) {
                // One that leaves no trace may as well be another of its kind: which of them it was, nobody can tell.
                applied.done[at] = tick.is_err();
                next.push(applied);
            }
        }
        match tick {
            Ok(ticked) => next.push(ticked),
            Err(what) if next.is_empty() => return Err(unasked(what)),
            Err(_) => {}
        }
        Ok(next)
    }

    /// What a read shows that is not so; the worlds that it contradicts go.
    pub(super) fn look(&mut self, read: &Observed) -> Option<String> {
        let told: Vec<Option<String>> = self.worlds.iter().map(|world| views::differs(&world.model, read)).collect();
        if told.iter().all(Option::is_some) {
            return told.into_iter().flatten().next();
        }
        let mut told = told.iter();
        self.worlds.retain(|_| told.next().is_some_and(Option::is_none));
        None
    }
}

impl World {
    fn leader(mut self, frame: &Frame, command: LeaderCommand) -> Result<Self, String> {
        self.run(frame, &Input::Leader(command), None)?;
        Ok(self)
    }

    fn command(mut self, frame: &Frame, command: &Command, answer: Option<&Response>) -> Result<Self, String> {
        let session = Session { last_use: self.model.log_time.max(frame.log_time), calls: Vec::new() };
        self.model.sessions.insert(SESSION, session);
        let envelope = Envelope { session: SESSION, seq: 1, command: command.clone() };
        let ran = self.run(frame, &Input::Client(envelope), answer);
        self.model.sessions.remove(&SESSION);
        ran.map(|()| self)
    }

    fn run(&mut self, frame: &Frame, input: &Input, answer: Option<&Response>) -> Result<(), String> {
        if frame.log_time < self.model.log_time {
            return Err(format!("log time goes back from {} to {}", self.model.log_time, frame.log_time));
        }
        let (response, events) = self.model.apply(frame.index, frame.log_time, input);
        if let Some(answer) = answer
            && without_text(response.clone()) != without_text(answer.clone())
        {
            return Err(differ("the answer", &response, answer));
        }
        let (model, ledger) = (without_texts(&events), without_texts(&frame.events));
        if model != ledger {
            let at = (0..model.len().max(ledger.len())).find(|at| model.get(*at) != ledger.get(*at)).unwrap_or(0);
            return Err(differ("event", &model.get(at), &ledger.get(at)));
        }
        self.close_filled(&events);
        Ok(())
    }

    /// Notes which orders are filled. It follows from their fills; but the model, which keeps facts and never figures,
    /// would add them all up at each look at the book.
    fn close_filled(&mut self, events: &[Event]) {
        let filled: Vec<u64> = events
            .iter()
            .filter_map(|event| match event {
                Event::OrderExecuted { order_id, status: OrderStatus::Filled, .. }
                | Event::OrderClosed { order_id, status: OrderStatus::Filled, .. } => Some(*order_id),
                _ => None,
            })
            .collect();
        for order in self.model.orders.iter_mut().rev().filter(|order| filled.contains(&order.id)) {
            order.ended = Some(OrderStatus::Filled);
        }
    }

    /// Whether a command may change something without a trace: a pull that finds no quote uses its number up, and makes the
    /// ledger forget a demand.
    fn may_forget(&self, command: &Command) -> bool {
        let Command::PullQuote(pull) = command else { return false };
        let known = self.model.symbols.get(&pull.symbol);
        known.is_some_and(|state| state.epoch == pull.epoch && state.quote_seq < pull.quote_seq)
    }

    /// What the log does not show of a symbol.
    fn hidden<'a>(&self, state: &'a SymbolState) -> Hidden<'a> {
        let demands = Sides::from_fn(|side| state.demands.of(side).filter(|until| *until > self.model.log_time));
        let SymbolState { quote_seq, lots, among_the_first, .. } = state;
        Hidden { demands, lots, quote_seq: *quote_seq, among_the_first: *among_the_first }
    }

    /// Whether all that `other` can explain from here on, this one can: they differ in nothing but in which unknown
    /// commands are over, and here none is that is not over there.
    fn dominates(&self, other: &Self) -> bool {
        let no_more_done = self.done.iter().zip(&other.done).all(|(here, there)| !here || *there);
        let (mine, theirs) = (self.model.symbols.values(), other.model.symbols.values());
        no_more_done && mine.map(|state| self.hidden(state)).eq(theirs.map(|state| other.hidden(state)))
    }
}

/// Leaves out the worlds that another one makes superfluous. All of them explain the same log, so they can differ only in
/// what is hidden.
fn without_dominated(worlds: Vec<World>) -> Vec<World> {
    let mut kept: Vec<World> = Vec::new();
    for world in worlds {
        if !kept.iter().any(|other| other.dominates(&world)) {
            kept.retain(|other| !world.dominates(other));
            kept.push(world);
        }
    }
    kept
}

fn differ(what: &str, model: &impl std::fmt::Debug, ledger: &impl std::fmt::Debug) -> String {
    let mut text = format!("{what} is {ledger:?}, and must be {model:?}");
    if let Some((end, _)) = text.char_indices().nth(SHOWN_MAX) {
        text.truncate(end);
        text.push('…');
    }
    text
}

/// Leaves out what the rules leave to the ledger: the texts that explain a refusal.
fn without_text(mut response: Response) -> Response {
    if let Outcome::Refused(refusal) = &mut response.outcome {
        blank(refusal);
    }
    response
}

fn without_texts(events: &[Event]) -> Vec<Event> {
    let mut events = events.to_vec();
    for event in &mut events {
        if let Event::QuoteRefused { refusal, .. } = event {
            blank(refusal);
        }
    }
    events
}

fn blank(refusal: &mut Refusal) {
    if let Refusal::Invalid { what } | Refusal::Full { what, .. } | Refusal::Overflow { what } = refusal {
        what.clear();
    }
}
