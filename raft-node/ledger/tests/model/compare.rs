//! Holds the ledger against the model, entry by entry, and cuts what differs down to a few entries.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
};

use quorate_domain::{ExposureBasis, MakerName, Side};
use quorate_ledger::{
    Command, Envelope, Event, Input, Ledger, Outcome, Refusal, Response,
    bounds::{NAMES_MAX, REFUSAL_TEXT_MAX},
};

use crate::{
    coverage::Coverage,
    generate::{Generator, Step},
    money,
    naive::Model,
};

/// Entries applied while shrinking, over all tries, at most.
const SHRINK_ENTRIES_MAX: usize = 100_000;

/// Entries after which money is looked at, whatever they were.
const LOOK_AT_MONEY_EVERY: usize = 32;

/// Entries after which the ledger goes on from its own snapshot.
const RELOADED_EVERY: usize = 40;

/// Entries printed of a failure, at most.
const SHOWN_MAX: usize = 60;

/// What is held against the model: the ledger, or one with a planted difference.
pub(crate) trait Subject {
    fn apply(&mut self, step: &Step) -> (Response, Vec<Event>);
    fn ledger(&self) -> &Ledger;
    /// Goes on from its own snapshot.
    fn reload(&mut self);
}

impl Subject for Ledger {
    fn apply(&mut self, step: &Step) -> (Response, Vec<Event>) {
        Self::apply(self, step.index, step.now, &step.input)
    }

    fn ledger(&self) -> &Ledger {
        self
    }

    fn reload(&mut self) {
        self.restart().unwrap();
    }
}

/// Makes one, with room for so many names.
pub(crate) type New<S> = fn(usize) -> S;

/// The first entry at which the two part, and how.
#[derive(Debug, Clone)]
pub(crate) struct Mismatch {
    at: usize,
    what: String,
}

/// A mismatch with the entries that lead to it, cut down.
pub(crate) struct Failure {
    pub(crate) mismatch: Mismatch,
    pub(crate) steps: Vec<Step>,
}

/// One run: the entries done, and what they reached or where they failed.
struct Run {
    steps: Vec<Step>,
    result: Result<Coverage, Mismatch>,
}

/// Whether money, or what is known of it, may be other after this entry; where not, it was looked at before.
fn may_move_money(step: &Step) -> bool {
    let Input::Client(Envelope { command, .. }) = &step.input else { return false };
    matches!(
        command,
        Command::Control(_) | Command::ExecuteOrder(_) | Command::CancelOrder(_) | Command::PublishMarks(_)
    )
}

/// Applies what `next` gives, to both, until it gives nothing or they part.
fn run<S: Subject>(new: New<S>, names_max: usize, next: &mut dyn FnMut(&Model) -> Option<Step>) -> Run {
    let (mut subject, mut model) = (new(names_max), Model::new(names_max));
    let (mut coverage, mut steps) = (Coverage::default(), Vec::new());
    while let Some(step) = next(&model) {
        let at = steps.len();
        steps.push(step.clone());
        let before = (model.log_time, may_move_money(&step).then(|| model.clone()));
        let high_waters = money::high_waters(&model, subject.ledger());
        let expected = model.apply(step.index, step.now, &step.input);
        let got = catch_unwind(AssertUnwindSafe(|| {
            if at % RELOADED_EVERY == RELOADED_EVERY - 1 {
                subject.reload();
            }
            let done = subject.apply(&step);
            let violations: Vec<String> = subject.ledger().audit().iter().map(ToString::to_string).collect();
            (done, violations)
        }));
        let what = match got {
            Err(_) => Some(String::from("the ledger panicked; its message stands above")),
            Ok((got, violations)) => differs(expected.clone(), got)
                .or_else(|| wrong_state(&model, subject.ledger(), &violations))
                .or_else(|| wrong_orders(&model, subject.ledger(), at))
                .or_else(|| wrong_holdings(&model, subject.ledger()))
                .or_else(|| {
                    let accepted = matches!(expected.0.outcome, Outcome::Accepted(_));
                    let look = (accepted && before.1.is_some()) || at.is_multiple_of(LOOK_AT_MONEY_EVERY);
                    look.then(|| money::wrong(&model, subject.ledger())).flatten()
                })
                .or_else(|| money::wrong_rise(&step, &model, &high_waters, subject.ledger())),
        };
        if let Some(what) = what {
            return Run { steps, result: Err(Mismatch { at, what }) };
        }
        if let Some(before) = &before.1 {
            money::record(&mut coverage, before, &model, &step, &expected.0, &expected.1);
        }
        let placed = expected.1.iter().any(|event| matches!(event, Event::QuotePlaced(_)));
        if placed && model.basis != ExposureBasis::Units {
            coverage.saw("quotes were placed where the basis is the worst loss");
        }
        if step.now < before.0 {
            coverage.saw("log time stood still where the stamp went back");
        }
        let reserved = subject.ledger().reserved();
        if model.limit.0 > 0 && (reserved.bid == model.limit || reserved.ask == model.limit) {
            coverage.saw("exposure reached the limit");
        }
        coverage.record(step.index, &step.input, &expected.0, &expected.1);
    }
    Run { steps, result: Ok(coverage) }
}

fn differs(expected: (Response, Vec<Event>), got: (Response, Vec<Event>)) -> Option<String> {
    let (expected, got) = (without_texts(expected), without_texts(got));
    if expected == got {
        return None;
    }
    let mut what = String::new();
    if expected.0 != got.0 {
        what += &format!("response\n  model:  {:?}\n  ledger: {:?}\n", expected.0, got.0);
    }
    let events = expected.1.len().max(got.1.len());
    for at in (0..events).filter(|at| expected.1.get(*at) != got.1.get(*at)) {
        what += &format!("event {at}\n  model:  {:?}\n  ledger: {:?}\n", expected.1.get(at), got.1.get(at));
    }
    Some(what)
}

/// What must hold of the state itself, whatever was answered.
fn wrong_state(model: &Model, ledger: &Ledger, violations: &[String]) -> Option<String> {
    if !violations.is_empty() {
        return Some(format!("audit: {}", violations.join("; ")));
    }
    let (long, short) = (model.reserved(Side::Buy), model.reserved(Side::Sell));
    if long > model.limit || short > model.limit {
        return Some(format!("reserved exposure, {long} long and {short} short, is above the limit {}", model.limit));
    }
    let reserved = ledger.reserved();
    let of_ledger = (reserved.bid, reserved.ask, ledger.exposure_limit(), ledger.fills());
    let fills = u64::try_from(model.fills.len()).unwrap();
    let of_model = (long, short, model.limit, fills);
    if of_ledger != of_model {
        return Some(format!("(long, short, limit, fills)\n  model:  {of_model:?}\n  ledger: {of_ledger:?}"));
    }
    let open = model.orders.iter().filter(|order| model.is_open(order)).count();
    let names = model.orders.iter().filter(|order| !order.swept).count();
    let of_ledger = (ledger.log_time(), ledger.open_order_count(), ledger.name_count(), ledger.session_count());
    let of_model = (model.log_time, open, names, model.sessions.len());
    (of_ledger != of_model)
        .then(|| format!("(log time, open orders, names, sessions)\n  model:  {of_model:?}\n  ledger: {of_ledger:?}"))
}

/// When what each maker holds last changed.
fn wrong_holdings(model: &Model, ledger: &Ledger) -> Option<String> {
    let of_ledger: Vec<_> = ledger.makers().map(|(name, maker)| (name.clone(), maker.holdings_index)).collect();
    let of_model = |name: &MakerName| (name.clone(), model.holdings_index(name, 0, &[]));
    let of_model: Vec<_> = model.makers.keys().map(of_model).collect();
    (of_ledger != of_model).then(|| format!("holdings_index\n  model:  {of_model:?}\n  ledger: {of_ledger:?}"))
}

/// What the ledger says of an order when asked for it by its id and by its name: of each whether it is known, and of
/// one in sixteen how it stands.
fn wrong_orders(model: &Model, ledger: &Ledger, at: usize) -> Option<String> {
    model.orders.iter().enumerate().find_map(|(place, order)| {
        let by_id = ledger.order(order.id).map(|known| known.result());
        let named = ledger.order_named(&order.new.account, &order.new.client_order_id);
        let by_name = named.filter(|known| known.id() == order.id).map(|known| known.result());
        let known = model.is_known(order);
        let expected = if (place + at).is_multiple_of(16) {
            known.then(|| model.result(order))
        } else {
            by_id.clone().filter(|_| known)
        };
        let right = by_id.is_some() == known && by_id == expected && by_name == expected;
        (!right).then(|| {
            format!(
                "order {}\n  model:  {expected:?}, known: {known}\n  ledger: {by_id:?} by id, {by_name:?} by name",
                order.id
            )
        })
    })
}

/// Leaves out what the page leaves to the ledger: the texts that explain a refusal.
fn without_texts((mut response, mut events): (Response, Vec<Event>)) -> (Response, Vec<Event>) {
    let refused = events
        .iter_mut()
        .filter_map(|event| if let Event::QuoteRefused { refusal, .. } = event { Some(refusal) } else { None });
    let answered = match &mut response.outcome {
        Outcome::Refused(refusal) => Some(refusal),
        Outcome::Accepted(_) => None,
    };
    for refusal in refused.chain(answered) {
        if let Refusal::Invalid { what } | Refusal::Full { what, .. } | Refusal::Overflow { what } = refusal {
            let said = !what.is_empty() && what.len() <= REFUSAL_TEXT_MAX;
            assert!(said, "a refusal must say in short what is wrong: {what}");
            what.clear();
        }
    }
    (response, events)
}

/// `count` entries of this seed.
pub(crate) fn check_seed<S: Subject>(seed: u64, count: usize, new: New<S>) -> Result<Coverage, Failure> {
    let mut generator = Generator::new(seed);
    let names_max = generator.names_max;
    let mut left = count;
    let done = run(new, names_max, &mut |model| {
        left = left.checked_sub(1)?;
        Some(generator.next(model))
    });
    done.result.map_err(|mismatch| shrink(done.steps, mismatch, new, names_max))
}

/// These entries.
pub(crate) fn check_steps<S: Subject>(steps: &[Step], new: New<S>) -> Result<Coverage, Failure> {
    replay(steps, new, NAMES_MAX).map_err(|mismatch| shrink(steps.to_vec(), mismatch, new, NAMES_MAX))
}

fn replay<S: Subject>(steps: &[Step], new: New<S>, names_max: usize) -> Result<Coverage, Mismatch> {
    let mut steps = steps.iter();
    run(new, names_max, &mut |_| steps.next().cloned()).result
}

/// Drops entries, many at a time and then one at a time, while the two still part somewhere.
fn shrink<S: Subject>(mut steps: Vec<Step>, mut mismatch: Mismatch, new: New<S>, names_max: usize) -> Failure {
    steps.truncate(mismatch.at + 1);
    let (mut chunk, mut applied) = (steps.len().div_ceil(2), 0);
    while applied < SHRINK_ENTRIES_MAX {
        let (mut from, before) = (0, steps.len());
        while from < steps.len() && applied < SHRINK_ENTRIES_MAX {
            let mut fewer = steps.clone();
            fewer.drain(from..(from + chunk).min(steps.len()));
            applied += fewer.len();
            match replay(&fewer, new, names_max) {
                Err(still) => {
                    fewer.truncate(still.at + 1);
                    (steps, mismatch) = (fewer, still);
                }
                Ok(_) => from += chunk,
            }
        }
        if chunk == 1 && steps.len() == before {
            break;
        }
        chunk = chunk.div_ceil(2);
    }
    Failure { mismatch, steps }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hidden = self.steps.len().saturating_sub(SHOWN_MAX);
        writeln!(f, "ledger and model part after {} entries, the last of them:", self.steps.len())?;
        for Step { index, now, input } in &self.steps[hidden..] {
            writeln!(f, "  {index} at {now}: {input:?}")?;
        }
        writeln!(f, "at the last of them: {}", self.mismatch.what)
    }
}
