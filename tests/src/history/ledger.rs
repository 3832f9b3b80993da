//! The global ledger: every answer is what a naive model says at its log index.
//!
//! The frames say at which indexes there are entries; the answered commands say which entry is whose. They
//! are replayed in the order of the log through a model that shares nothing with the ledger but its types,
//! and at each entry the answer and the events must be the model's. An entry that nobody has an answer to
//! must be what an unknown command would have done there, or the leader's own, or a repeat, which does nothing: an
//! effect that nobody asked for is a violation. Reads of all kinds must show what the model holds at the
//! index that they name. On top of that the sums are drawn anew from the events alone: positions are the
//! sums of fills, reservations those of leaves, and exposure is within the limit.
//!
//! Sessions are not replayed: a history does not say which command went in which. They show in no answer but
//! their own, whose form is checked.

mod traces;
mod views;
mod world;

use std::collections::{BTreeMap, BTreeSet};

use quorate_ledger::{Answer, Command, Event, Frame, Outcome, Refusal, Response};

use super::{
    Check, Violation,
    calls::{Observed, Write},
    order::Highest,
};
use crate::{evidence::Export, replay};
use world::{Entry, Worlds};

/// Differences between the model and reads that are told at most: one cause shows in many.
const READ_VIOLATIONS_MAX: usize = 10;

/// Everything that is not as the model says. The replay ends at the first entry that parts from it.
#[must_use]
pub fn check(writes: &[Write], reads: &[Observed], frames: &[Frame]) -> Vec<Violation> {
    let mut found = by_index(writes, frames);
    found.extend(replayed(writes, reads, frames));
    let export = Export { opening: Vec::new(), frames: frames.to_vec() };
    found.extend(replay::replay(&export).violations.into_iter().map(|what| violation(what, Vec::new())));
    found
}

fn violation(what: String, calls: Vec<usize>) -> Violation {
    Violation { check: Check::Ledger, what, calls }
}

/// Every answered command has its entry in the log, and an entry has one command.
fn by_index(writes: &[Write], frames: &[Frame]) -> Vec<Violation> {
    let times: BTreeMap<u64, &Frame> = frames.iter().map(|frame| (frame.index, frame)).collect();
    let mut owners: BTreeMap<u64, &Write> = BTreeMap::new();
    let mut found = Vec::new();
    for write in writes {
        let Some(response) = &write.response else { continue };
        let name = write.command.name();
        match times.get(&response.index) {
            None => {
                let what = format!("{name} was answered as applied at {}, which the log does not hold", response.index);
                found.push(violation(what, write.calls.clone()));
            }
            Some(frame) if frame.log_time != response.log_time => {
                let what = format!(
                    "{name} at {} was answered with log time {}, and the log says {}",
                    response.index, response.log_time, frame.log_time
                );
                found.push(violation(what, write.calls.clone()));
            }
            Some(_) => {}
        }
        if let Some(other) = owners.insert(response.index, write) {
            let what =
                format!("{name} and {} were both answered as applied at {}", other.command.name(), response.index);
            found.push(violation(what, other.calls.iter().chain(&write.calls).copied().collect()));
        }
    }
    found
}

fn replayed(writes: &[Write], reads: &[Observed], frames: &[Frame]) -> Vec<Violation> {
    let answered: BTreeMap<u64, &Write> =
        writes.iter().filter_map(|write| Some((write.response.as_ref()?.index, write))).collect();
    let known = Highest::of_writes(writes);
    let open: Vec<(&Write, u64)> = writes
        .iter()
        .filter(|write| write.response.is_none())
        .map(|write| (write, known.index_before(write.invoked)))
        .collect();
    let mut reads: Vec<&Observed> = reads.iter().filter(|read| views::is_known(read)).collect();
    reads.sort_by_key(|read| read.applied_index);
    let mut reads = reads.into_iter().peekable();

    let mut worlds = Worlds::new(open);
    let mut found = Vec::new();
    let mut told = BTreeSet::new();
    let mut look = |worlds: &mut Worlds<'_>, read: &Observed, found: &mut Vec<Violation>| {
        if let Some(what) = worlds.look(read)
            && found.len() < READ_VIOLATIONS_MAX
            && told.insert(what.clone())
        {
            found.push(violation(what, vec![read.call]));
        }
    };
    for frame in frames {
        while let Some(read) = reads.next_if(|read| read.applied_index < frame.index) {
            look(&mut worlds, read, &mut found);
        }
        let owner = answered.get(&frame.index);
        if let Err(what) = worlds.apply(frame, &entry(frame, owner.copied())) {
            let what = format!("index {}: {what}", frame.index);
            found.push(violation(what, owner.map_or(Vec::new(), |write| write.calls.clone())));
            return found;
        }
    }
    for read in reads {
        look(&mut worlds, read, &mut found);
    }
    found
}

/// What an entry of the log is, as far as answers tell.
fn entry<'a>(frame: &Frame, owner: Option<&'a Write>) -> Entry<'a> {
    let term = frame.events.iter().find_map(|event| match event {
        Event::TermBegan { term, quotes_pulled, clock_jump_ms, .. } => Some((*term, !quotes_pulled, *clock_jump_ms)),
        _ => None,
    });
    match (owner, term) {
        (None, Some((term, quote_age_proven, clock_jump_ms))) => Entry::Term { term, quote_age_proven, clock_jump_ms },
        (None, None) => Entry::Nobodys,
        (Some(Write { command, response: Some(response), .. }), _) => match of_session(command, response) {
            None => Entry::Answered(command, response),
            Some(true) => Entry::Session,
            Some(false) => Entry::Wrong(format!("{} was answered with {:?}", command.name(), response.outcome)),
        },
        (Some(Write { response: None, .. }), _) => Entry::Nobodys,
    }
}

/// Whether an answer about a session is what such an answer must be; `None` where it is about none.
fn of_session(command: &Command, response: &Response) -> Option<bool> {
    match (command, &response.outcome) {
        (Command::OpenSession, Outcome::Accepted(Answer::SessionOpened { session })) => {
            Some(*session == response.index)
        }
        (Command::OpenSession, Outcome::Refused(Refusal::TooManySessions { .. })) => Some(true),
        (Command::CloseSession, Outcome::Accepted(answer)) => Some(*answer == Answer::SessionClosed),
        (
            _,
            Outcome::Refused(
                Refusal::SessionRequired
                | Refusal::SessionExpired { .. }
                | Refusal::SeqReused { .. }
                | Refusal::SeqTooOld { .. },
            ),
        ) => Some(true),
        (Command::OpenSession | Command::CloseSession, _) => Some(false),
        (_, Outcome::Accepted(Answer::SessionOpened { .. } | Answer::SessionClosed)) => Some(false),
        (_, Outcome::Accepted(_) | Outcome::Refused(_)) => None,
    }
}
