//! Sessions: which commands are carried out, and which are answered from memory.

use quorate_domain::Millis;
use quorate_ledger::{
    Answer, Command, Envelope, Event, Outcome, Refusal, Response,
    bounds::{SESSION_IDLE_MIN_MS, SESSION_IDLE_MS, SESSION_WINDOW, SESSIONS_MAX},
};

use super::{Done, Model, Session, accepted, invalid};

impl Model {
    pub(super) fn client(&mut self, index: u64, envelope: &Envelope, events: &mut Vec<Event>) -> Response {
        let Envelope { session, seq, command } = envelope;
        if *session == 0 && command.needs_session() {
            return self.turned_away(index, Refusal::SessionRequired, events);
        }
        if *session != 0 {
            match self.earlier_answer(*session, *seq, command) {
                Ok(None) => {}
                Ok(Some(earlier)) => {
                    self.rebalance_and_turns(events);
                    return earlier;
                }
                Err(refusal) => return self.turned_away(index, refusal, events),
            }
        }
        let done = match command {
            Command::OpenSession if *session != 0 => Err(invalid()),
            Command::OpenSession => self.open_session(index),
            Command::CloseSession => {
                self.sessions.remove(session);
                Ok(accepted(Answer::SessionClosed))
            }
            Command::DefineSymbol(define) => self.define_symbol(define, events),
            Command::Control(control) => self.control(control, events),
            Command::RegisterMaker(register) => self.register_maker(index, register, events),
            Command::RenewMaker(maker) => self.renew_maker(index, maker, events),
            Command::DeregisterMaker(maker) => self.deregister_maker(maker, events),
            Command::CommitParameters(commit) => self.commit_parameters(commit, events),
            Command::ReleaseSymbol(release) => self.release_symbol(release, events),
            Command::PlaceQuote(place) => self.place_quote(index, place, events),
            Command::KeepQuote(keep) => self.keep_quote(keep, events),
            Command::PullQuote(pull) => self.pull_quote(pull, events),
            Command::RegisterExchange(register) => self.register_exchange(index, register, events),
            Command::ExecuteOrder(execute) => self.execute_order(index, execute, events),
            Command::CancelOrder(cancel) => self.cancel_order(cancel, events),
            Command::PublishMarks(publish) => self.publish_marks(publish, events),
            Command::SetListing(set) => self.set_listing(set, events),
        };
        self.rebalance_and_turns(events);
        let response = match done {
            Ok(Done::Outcome(outcome)) => self.response(index, outcome),
            Ok(Done::Before(response)) => response,
            Err(refusal) => self.response(index, Outcome::Refused(refusal)),
        };
        if let Some(session) = self.sessions.get_mut(session) {
            session.calls.push((*seq, command.clone(), response.clone()));
        }
        response
    }

    fn turned_away(&mut self, index: u64, refusal: Refusal, events: &mut Vec<Event>) -> Response {
        self.rebalance_and_turns(events);
        self.response(index, Outcome::Refused(refusal))
    }

    /// The answer kept for this call, if it is a repeat; an error where it may not go on.
    fn earlier_answer(&mut self, id: u64, seq: u64, command: &Command) -> Result<Option<Response>, Refusal> {
        let log_time = self.log_time;
        let session = match self.sessions.get_mut(&id) {
            Some(session) if log_time.0 - session.last_use.0 < SESSION_IDLE_MS => session,
            Some(_) | None => return Err(Refusal::SessionExpired { session: id }),
        };
        session.last_use = log_time;
        let window_from = session.highest_seen().saturating_sub(SESSION_WINDOW) + 1;
        if seq < window_from {
            return Err(Refusal::SeqTooOld { seq, window_from });
        }
        match session.calls.iter().find(|(kept, _, _)| *kept == seq) {
            Some((_, body, answer)) if body == command => Ok(Some(answer.clone())),
            Some(_) => Err(Refusal::SeqReused { seq }),
            None => Ok(None),
        }
    }

    fn open_session(&mut self, index: u64) -> Result<Done, Refusal> {
        if self.sessions.len() >= SESSIONS_MAX {
            let (oldest, id): (Millis, u64) =
                self.sessions.iter().map(|(id, session)| (session.last_use, *id)).min().unwrap();
            if self.log_time.0 - oldest.0 < SESSION_IDLE_MIN_MS {
                return Err(Refusal::TooManySessions { max: u64::try_from(SESSIONS_MAX).unwrap() });
            }
            self.sessions.remove(&id);
        }
        self.sessions.insert(index, Session { last_use: self.log_time, calls: Vec::new() });
        Ok(accepted(Answer::SessionOpened { session: index }))
    }
}

impl Session {
    pub(crate) fn highest_seen(&self) -> u64 {
        self.calls.iter().map(|(seq, _, _)| *seq).max().unwrap_or(0)
    }
}
