//! What is sent: about the registration, about symbols to give up, about quotes.

use std::time::Duration;

use quorate_domain::{QuoteId, Symbol};
use quorate_ledger::{
    Command, CommitParameters, Digest, Epoch, Incarnation, KeepQuote, MakerRef, PlaceQuote, PullQuote, QuoteBasis,
    RegisterMaker, ReleaseSymbol,
};
use quorate_strategy::STRATEGY_VERSION;

use crate::{
    quoter::{Quoter, Sent, Trust, What},
    symbol::{Asked, Decision, Plan, Rules},
    types::{BeliefChange, CommandId, Output},
};

/// Shortest time to the next wake-up asked for.
const WAKE_MIN: Duration = Duration::from_millis(1);

impl Quoter {
    pub(crate) fn update_beliefs(&mut self, outputs: &mut Vec<Output>) {
        for belief in self.authority.update(self.now) {
            if belief.change == BeliefChange::Gained {
                self.symbols.entry(belief.symbol.clone()).or_default().gained(belief.epoch, self.now);
            }
            outputs.push(Output::Belief(belief));
        }
    }

    /// Registers, renews, or leaves: one command at a time.
    pub(crate) fn see_to_lease(&mut self, outputs: &mut Vec<Output>) {
        let maker = self.config.maker.clone();
        let lease = self.authority.lease;
        if let Some(leave_by) = self.lane.leave_by {
            let registering = self.lane.in_flight.is_some();
            if self.now >= leave_by || (lease.is_none() && !registering) {
                self.lane.left = true;
                return;
            }
        }
        if self.lane.in_flight.is_some() || self.now < self.lane.due {
            return;
        }
        let (what, command) = match lease {
            None => {
                let command =
                    RegisterMaker { maker, ttl_ms: self.config.lease_ttl_ms, secret_hash: self.config.secret.hash() };
                (What::Register, Command::RegisterMaker(command))
            }
            Some(lease) => {
                let incarnation = lease.incarnation;
                let me = MakerRef { maker, incarnation, secret: self.config.secret };
                match self.authority.leaving {
                    true => (What::Deregister, Command::DeregisterMaker(me)),
                    false => (What::Renew { incarnation }, Command::RenewMaker(me)),
                }
            }
        };
        self.lane.in_flight = Some(self.submit(what, command, outputs));
    }

    pub(crate) fn see_to_releases(&mut self, outputs: &mut Vec<Output>) {
        for (symbol, epoch) in self.authority.releases_due(self.now) {
            let secret = self.config.secret;
            let command = Command::ReleaseSymbol(ReleaseSymbol { symbol: symbol.clone(), epoch, secret });
            self.submit(What::Release { symbol, epoch }, command, outputs);
        }
    }

    /// Quotes what is held, may be quoted and is due; returns when the next is due by the clock alone.
    pub(crate) fn see_to_quotes(&mut self, outputs: &mut Vec<Output>) -> Option<Duration> {
        if self.trust != Trust::Full {
            return None;
        }
        let held = self.authority.beliefs().map(|belief| (belief.symbol.clone(), belief.epoch, belief.incarnation));
        let held: Vec<(Symbol, Epoch, Incarnation)> = held.collect();
        let mut next = self.see_to_prices(outputs);
        for (symbol, epoch, incarnation) in held {
            if !self.control.allows(&symbol) {
                continue;
            }
            match self.decide(&symbol, incarnation) {
                Decision::Wait(until) => next = Some(next.map_or(until, |next| next.min(until))),
                Decision::Commit => self.commit_parameters(symbol, incarnation, outputs),
                Decision::Place(plan) => self.place(symbol, epoch, incarnation, &plan, outputs),
                Decision::Keep(quote_id, plan) => self.keep(symbol, (epoch, incarnation), quote_id, &plan, outputs),
                Decision::Pull => self.pull(symbol, epoch, outputs),
            }
        }
        let unknown = |symbol: &Symbol| self.symbols.get(symbol).is_none_or(|quoting| quoting.known().is_none());
        if self.authority.beliefs().any(|belief| unknown(&belief.symbol)) {
            self.read_again(outputs);
        }
        next
    }

    /// Says which held symbols have lost their price, or got it back; returns when the next may lose it.
    fn see_to_prices(&mut self, outputs: &mut Vec<Output>) -> Option<Duration> {
        let age_max = self.config.reference_age_max;
        let mut next: Option<Duration> = None;
        for belief in self.authority.beliefs() {
            let Some(quoting) = self.symbols.get_mut(&belief.symbol) else { continue };
            if let Some(priced) = quoting.priced(self.now, belief.from, age_max) {
                outputs.push(Output::Priced(belief.symbol.clone(), priced));
            }
            let due = quoting.stale_after(belief.from, age_max);
            if due > self.now {
                next = Some(next.map_or(due, |next| next.min(due)));
            }
        }
        next
    }

    fn decide(&mut self, symbol: &Symbol, incarnation: Incarnation) -> Decision {
        let rules = Rules {
            incarnation,
            pricing: self.config.pricing(symbol),
            refresh: self.config.confirmed_after(),
            quote_ttl: Duration::from_millis(self.config.quote_ttl_ms),
            tolerance_ticks: self.config.tolerance_ticks,
            reference_age_max: self.config.reference_age_max,
            freed_at: self.freed_at,
            heard: self.index,
        };
        let venue = &self.venue;
        match self.symbols.get_mut(symbol) {
            Some(quoting) => quoting.decide(self.now, &rules, |quote| venue.behind_resting(symbol, quote)),
            None => Decision::Wait(Duration::MAX),
        }
    }

    fn commit_parameters(&mut self, symbol: Symbol, incarnation: Incarnation, outputs: &mut Vec<Output>) {
        self.symbols.entry(symbol.clone()).or_default().committing(self.next_command);
        let command = Command::CommitParameters(CommitParameters {
            maker: self.config.maker.clone(),
            incarnation,
            secret: self.config.secret,
            symbol: symbol.clone(),
            text: self.config.pricing(&symbol).to_string(),
        });
        self.submit(What::Parameters { symbol, incarnation }, command, outputs);
    }

    fn place(
        &mut self,
        symbol: Symbol,
        epoch: Epoch,
        incarnation: Incarnation,
        plan: &Plan,
        outputs: &mut Vec<Output>,
    ) {
        let (quote_seq, revision) = self.quoting(&symbol);
        let command = PlaceQuote {
            symbol: symbol.clone(),
            incarnation,
            secret: self.config.secret,
            epoch,
            revision,
            quote_seq,
            position_seq: plan.known.seq,
            bid: plan.quote.bid,
            ask: plan.quote.ask,
            allow_reduced: true,
            ttl_ms: self.config.quote_ttl_ms,
            cause: plan.cause,
            basis: self.basis(&symbol, plan),
        };
        let (quote, position_seq, reference) = (plan.quote, plan.known.seq, plan.reference.price);
        let asked = Asked { quote, position_seq, reference };
        let what = What::Place { symbol, epoch, cause: plan.cause, asked };
        self.submit(what, Command::PlaceQuote(command), outputs);
    }

    fn keep(
        &mut self,
        symbol: Symbol,
        (epoch, incarnation): (Epoch, Incarnation),
        quote_id: QuoteId,
        plan: &Plan,
        outputs: &mut Vec<Output>,
    ) {
        let (quote_seq, revision) = self.quoting(&symbol);
        let command = KeepQuote {
            symbol: symbol.clone(),
            incarnation,
            secret: self.config.secret,
            epoch,
            revision,
            quote_seq,
            quote_id,
            position_seq: plan.known.seq,
            ttl_ms: self.config.quote_ttl_ms,
            basis: self.basis(&symbol, plan),
        };
        self.submit(What::Keep { symbol, epoch, cause: plan.cause }, Command::KeepQuote(command), outputs);
    }

    /// A quote goes out as the next command: its number within the epoch, and the revision of the instrument.
    fn quoting(&mut self, symbol: &Symbol) -> (u64, u64) {
        let quoting = self.symbols.entry(symbol.clone()).or_default();
        (quoting.placing(self.next_command), quoting.revision())
    }

    /// What a quote rests on, for whoever reads the log.
    fn basis(&self, symbol: &Symbol, plan: &Plan) -> QuoteBasis {
        QuoteBasis {
            computed_at: self.index.max(plan.known.index),
            reference: Some(plan.reference.clone()),
            room: None,
            strategy: self.strategy.clone(),
            version: STRATEGY_VERSION,
            parameters: Digest::of(self.config.pricing(symbol).to_string().as_bytes()),
            state: Vec::new(),
        }
    }

    fn pull(&mut self, symbol: Symbol, epoch: Epoch, outputs: &mut Vec<Output>) {
        let quote_seq = self.symbols.entry(symbol.clone()).or_default().pulling(self.next_command, self.now);
        let secret = self.config.secret;
        let command = Command::PullQuote(PullQuote { symbol: symbol.clone(), epoch, secret, quote_seq });
        self.submit(What::Pull { symbol, epoch }, command, outputs);
    }

    fn submit(&mut self, what: What, command: Command, outputs: &mut Vec<Output>) -> CommandId {
        let id = self.next_command;
        self.next_command += 1;
        self.commands.insert(id, Sent { at: self.now, what });
        outputs.push(Output::Submit { id, command });
        id
    }

    /// When something is next due by the clock alone; soon enough to notice a pause.
    pub(crate) fn next_wake(&self, quotes_due: Option<Duration>) -> Duration {
        let lease_due = self.lane.in_flight.is_none().then_some(self.lane.due);
        let due = [lease_due, self.lane.leave_by, self.authority.next_due(), quotes_due];
        let latest = self.now + self.config.pause();
        // A wake-up lies ahead, so that a rule that is due and does nothing cannot spin.
        due.into_iter().flatten().min().unwrap_or(latest).clamp(self.now + WAKE_MIN, latest)
    }
}
