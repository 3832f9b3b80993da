//! One apply, step by step, as `docs/ledger.md` gives it: log time, grace, sweep, session, command,
//! rebalance, turns, chain. The rules of each command stand in the module of its subject.
//!
//! Invariant: total and deterministic. Every input has an answer; nothing here can fail, wait, or look
//! at anything but the state and its arguments.

use std::{collections::BTreeSet, mem};

use quorate_planted::{Bug, planted};

use crate::{
    answer::{Answer, Outcome, Response},
    command::{Command, Envelope, Input, LeaderCommand},
    digest::Digest,
    event::Event,
    indexes::{Indexes, SymbolFacts},
    ledger::Ledger,
    refusal::Refusal,
    session::Admission,
    state::{SymbolState, Tables},
};
use quorate_domain::{Asset, Millis, Symbol};

/// What a command came to.
pub(crate) type Handled = Result<Answer, Refusal>;

/// An apply under way.
pub(crate) struct Applying<'a> {
    pub(crate) tables: &'a mut Tables,
    pub(crate) indexes: &'a mut Indexes,
    /// The log index of the input.
    pub(crate) index: u64,
    pub(crate) events: Vec<Event>,
    /// The set of makers or symbols changed, or a symbol was given up.
    pub(crate) rebalance_due: bool,
    /// Quote assets whose equity may have changed.
    pub(crate) equity_due: BTreeSet<Asset>,
    pub(crate) scratch: &'a mut Vec<u8>,
    pub(crate) names_max: usize,
}

impl Ledger {
    /// Applies the input at log index `index`, which must be above every one applied before, with the
    /// leader's stamp `now`. Total: whatever comes is answered. Ask [`Ledger::supports`] first.
    pub fn apply(&mut self, index: u64, now: Millis, input: &Input) -> (Response, Vec<Event>) {
        self.tables.log_time = self.tables.log_time.max(now);
        self.tables.last_index = index;
        let mut applying = Applying {
            tables: &mut self.tables,
            indexes: &mut self.indexes,
            index,
            events: Vec::new(),
            rebalance_due: false,
            equity_due: BTreeSet::new(),
            scratch: &mut self.scratch,
            names_max: self.names_max,
        };
        let response = applying.run(input);
        let mut events = applying.events;
        // They are kept for as long as the frame is.
        events.shrink_to_fit();
        self.extend_chain(&response, &events);
        (response, events)
    }

    fn extend_chain(&mut self, response: &Response, events: &[Event]) {
        let tables = &mut self.tables;
        let link = (tables.last_index, tables.log_time, response, events);
        let mut bytes = mem::take(&mut self.scratch);
        bytes.extend_from_slice(&tables.chain.0);
        bytes = postcard::to_io(&link, bytes).expect("plain data always fits into memory");
        tables.chain = Digest::of(&bytes);
        bytes.clear();
        self.scratch = bytes;
    }
}

impl Applying<'_> {
    fn run(&mut self, input: &Input) -> Response {
        let response = match input {
            Input::Client(envelope) => {
                if !planted(Bug::ForgetTtlOnFill) {
                    self.sweep();
                }
                self.client(envelope)
            }
            Input::Leader(command) => {
                self.leader(command);
                self.answer(Ok(Answer::Done))
            }
        };
        self.evaluate_equity();
        self.rebalance_if_due();
        self.advance_turns();
        response
    }

    fn leader(&mut self, command: &LeaderCommand) {
        match command {
            LeaderCommand::Tick => self.sweep(),
            LeaderCommand::BeginTerm { term, quote_age_proven, clock_jump_ms } if *term > self.tables.term => {
                self.begin_term(*term, *quote_age_proven, *clock_jump_ms);
            }
            LeaderCommand::BeginTerm { .. } => self.sweep(),
        }
    }

    fn client(&mut self, envelope: &Envelope) -> Response {
        if envelope.session == 0 && !envelope.command.needs_session() {
            // None of these commands compares digests.
            return self.command(envelope, Digest::default());
        }
        let digest = match self.admit(envelope) {
            Ok(Admission::First(digest)) => digest,
            Ok(Admission::Repeat(response)) => return response,
            Err(refusal) => return self.answer(Err(refusal)),
        };
        let response = self.command(envelope, digest);
        self.keep(envelope, digest, &response);
        response
    }

    fn command(&mut self, envelope: &Envelope, digest: Digest) -> Response {
        let handled = match &envelope.command {
            Command::OpenSession if envelope.session == 0 => self.open_session(),
            Command::OpenSession => Err(invalid("open_session comes without a session")),
            Command::CloseSession => Ok(self.close_session(envelope.session)),
            Command::DefineSymbol(command) => self.define_symbol(command),
            Command::Control(command) => self.control(command),
            Command::RegisterMaker(command) => self.register_maker(command),
            Command::RenewMaker(command) => self.renew_maker(command),
            Command::DeregisterMaker(command) => self.deregister_maker(command),
            Command::CommitParameters(command) => self.commit_parameters(command),
            Command::ReleaseSymbol(command) => self.release_symbol(command),
            Command::PlaceQuote(command) => self.place_quote(command),
            Command::KeepQuote(command) => self.keep_quote(command),
            Command::PullQuote(command) => self.pull_quote(command),
            Command::RegisterExchange(command) => Ok(self.register_exchange(command)),
            Command::ExecuteOrder(command) => return self.execute_order(command, digest),
            Command::CancelOrder(command) => self.cancel_order(command),
            Command::PublishMarks(command) => self.publish_marks(command),
            Command::SetListing(command) => self.set_listing(command),
        };
        self.answer(handled)
    }

    pub(crate) fn answer(&self, handled: Handled) -> Response {
        let outcome = match handled {
            Ok(answer) => Outcome::Accepted(answer),
            Err(refusal) => Outcome::Refused(refusal),
        };
        Response { index: self.index, log_time: self.tables.log_time, outcome }
    }

    /// The digest of a command: what makes a repeat the same.
    pub(crate) fn digest_of(&mut self, command: &Command) -> Digest {
        let bytes = postcard::to_io(command, mem::take(self.scratch)).expect("plain data always fits into memory");
        let digest = Digest::of(&bytes);
        *self.scratch = bytes;
        self.scratch.clear();
        digest
    }

    pub(crate) fn log_time(&self) -> Millis {
        self.tables.log_time
    }

    pub(crate) fn symbol(&self, symbol: &Symbol) -> Result<&SymbolState, Refusal> {
        self.tables.symbols.get(symbol).ok_or_else(|| Refusal::UnknownSymbol { symbol: symbol.clone() })
    }

    /// The holder used a `quote_seq`, from which nothing follows in the indexes.
    pub(crate) fn use_quote_seq(&mut self, symbol: &Symbol, quote_seq: u64) {
        if let Some(state) = self.tables.symbols.get_mut(symbol) {
            state.quote_seq = quote_seq;
        }
    }

    /// Changes a symbol and what follows from it; a symbol that is not defined stays so.
    pub(crate) fn change_symbol(&mut self, symbol: &Symbol, change: impl FnOnce(&mut SymbolState)) {
        let Some(state) = self.tables.symbols.get_mut(symbol) else { return };
        let old = SymbolFacts::of(state);
        change(state);
        let new = SymbolFacts::of(state);
        if old != new {
            self.indexes.symbol_changed((symbol, &state.instrument.quote), &old, &new);
        }
    }
}

pub(crate) fn invalid(what: impl Into<String>) -> Refusal {
    Refusal::Invalid { what: what.into() }
}
