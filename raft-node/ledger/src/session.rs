//! Sessions: what makes a command exactly once.
//!
//! Invariant: an answer is kept for each `seq` used in the last `SESSION_WINDOW`, refusals too; a repeat
//! gets it again and has no effect. A session is never created but by `OpenSession`, and its id, a log
//! index, never comes back.

use std::sync::Arc;

use imbl::OrdMap;
use quorate_planted::{Bug, planted};

use crate::{
    answer::{Answer, Response},
    apply::{Applying, Handled},
    bounds::{SESSION_IDLE_MIN_MS, SESSION_IDLE_MS, SESSION_WINDOW, SESSIONS_MAX},
    command::{Envelope, SessionId},
    digest::Digest,
    refusal::Refusal,
    state::{KeptAnswer, Session},
};

/// How a session takes a command.
pub(crate) enum Admission {
    /// Not seen before; with the command's digest.
    First(Digest),
    /// Seen before: the answer it had.
    Repeat(Response),
}

impl Applying<'_> {
    pub(crate) fn open_session(&mut self) -> Handled {
        if self.tables.sessions.len() >= SESSIONS_MAX {
            self.evict_session()?;
        }
        let session = Session { last_use: self.log_time(), highest_seq: 0, answers: OrdMap::new() };
        self.indexes.session_changed(self.index, None, Some(&session));
        self.tables.sessions.insert(self.index, session);
        Ok(Answer::SessionOpened { session: self.index })
    }

    fn evict_session(&mut self) -> Result<(), Refusal> {
        let least = self.indexes.sessions_idle.get_min().copied();
        match least {
            Some((last_use, id)) if self.log_time().since(last_use) >= SESSION_IDLE_MIN_MS => {
                self.remove_session(id);
                Ok(())
            }
            Some(_) | None => Err(Refusal::TooManySessions { max: SESSIONS_MAX as u64 }),
        }
    }

    pub(crate) fn close_session(&mut self, id: SessionId) -> Answer {
        self.remove_session(id);
        Answer::SessionClosed
    }

    pub(crate) fn remove_session(&mut self, id: SessionId) {
        if let Some(session) = self.tables.sessions.remove(&id) {
            self.indexes.session_changed(id, Some(&session), None);
        }
    }

    /// Looks the command up in its session, which counts as a use of the session whatever comes of it.
    pub(crate) fn admit(&mut self, envelope: &Envelope) -> Result<Admission, Refusal> {
        let (id, seq) = (envelope.session, envelope.seq);
        if id == 0 {
            return Err(Refusal::SessionRequired);
        }
        self.use_session(id)?;
        let digest = self.digest_of(&envelope.command);
        let Some(session) = self.tables.sessions.get(&id) else {
            return Err(Refusal::SessionExpired { session: id });
        };
        let window_from = window_from(session.highest_seq);
        if seq < window_from {
            return Err(Refusal::SeqTooOld { seq, window_from });
        }
        match session.answers.get(&seq) {
            None => Ok(Admission::First(digest)),
            Some(kept) if kept.digest == digest => Ok(Admission::Repeat(kept.response.clone())),
            Some(_) => Err(Refusal::SeqReused { seq }),
        }
    }

    fn use_session(&mut self, id: SessionId) -> Result<(), Refusal> {
        let now = self.tables.log_time;
        let expired = Refusal::SessionExpired { session: id };
        if planted(Bug::CreateSessionsSilently) && !self.tables.sessions.contains_key(&id) {
            let session = Session { last_use: now, highest_seq: 0, answers: OrdMap::new() };
            self.indexes.session_changed(id, None, Some(&session));
            self.tables.sessions.insert(id, session);
        }
        let Some(session) = self.tables.sessions.get_mut(&id) else { return Err(expired) };
        if now.since(session.last_use) >= SESSION_IDLE_MS {
            return Err(expired);
        }
        if session.last_use != now {
            let old = Session { answers: OrdMap::new(), ..*session };
            session.last_use = now;
            self.indexes.session_changed(id, Some(&old), Some(session));
        }
        Ok(())
    }

    /// Keeps the answer; one to `CloseSession` finds no session any more.
    pub(crate) fn keep(&mut self, envelope: &Envelope, digest: Digest, response: &Response) {
        let Some(session) = self.tables.sessions.get_mut(&envelope.session) else { return };
        session.answers.insert(envelope.seq, Arc::new(KeptAnswer { digest, response: response.clone() }));
        session.highest_seq = session.highest_seq.max(envelope.seq);
        let from = window_from(session.highest_seq);
        while let Some(seq) = session.answers.get_min().map(|(seq, _)| *seq).filter(|seq| *seq < from) {
            session.answers.remove(&seq);
        }
    }
}

/// The lowest `seq` that can be answered: 1, or the end of the window.
pub(crate) fn window_from(highest_seq: u64) -> u64 {
    highest_seq.saturating_sub(SESSION_WINDOW) + 1
}
