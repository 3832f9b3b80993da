//! What became of the commands.

use std::time::Duration;

use quorate_domain::Symbol;
use quorate_ledger::{Answer, Epoch, Incarnation, Outcome, QuoteCause, Refusal, Response};

use crate::{
    quoter::{Quoter, Sent, What},
    symbol::{Asked, RETRY_MIN, pause_after},
    types::{Answered, CommandId, Output},
};

/// A quote that was to be placed, or to be kept.
struct Quoted<'a> {
    symbol: &'a Symbol,
    epoch: Epoch,
    cause: QuoteCause,
    /// What was asked for; `None` where the quote that stands was to be kept.
    asked: Option<Asked>,
    sent_at: Duration,
}

impl Quoter {
    /// Takes in what became of the command `id`.
    pub(crate) fn answered(&mut self, id: CommandId, sent: Sent, answer: Answered, outputs: &mut Vec<Output>) {
        let response = match answer {
            Answered::Response(response) => Some(response),
            Answered::NotApplied | Answered::Unknown => None,
        };
        match &sent.what {
            What::Register => self.register_answered(sent.at, response, outputs),
            What::Renew { incarnation } => self.renew_answered(*incarnation, sent.at, response, outputs),
            What::Deregister => self.deregister_answered(response),
            What::Release { symbol, epoch } => self.release_answered(symbol, *epoch, response),
            What::Parameters { symbol, incarnation } => self.parameters_answered(symbol, *incarnation, response),
            What::Place { symbol, epoch, cause, asked } => {
                let asked = Some(*asked);
                let quoted = Quoted { symbol, epoch: *epoch, cause: *cause, asked, sent_at: sent.at };
                self.quote_answered(id, &quoted, response);
            }
            What::Keep { symbol, epoch, cause } => {
                let quoted = Quoted { symbol, epoch: *epoch, cause: *cause, asked: None, sent_at: sent.at };
                self.quote_answered(id, &quoted, response);
            }
            What::Pull { symbol, epoch } => self.pull_answered(symbol, *epoch, response),
        }
    }

    fn register_answered(&mut self, sent_at: Duration, response: Option<Response>, outputs: &mut Vec<Output>) {
        self.lane.in_flight = None;
        match response {
            Some(Response {
                outcome: Outcome::Accepted(Answer::MakerRegistered { incarnation, holdings_index, .. }),
                ..
            }) => self.leased(incarnation, holdings_index, sent_at, outputs),
            Some(_) | None => self.lease_failed(),
        }
    }

    fn renew_answered(
        &mut self,
        incarnation: Incarnation,
        sent_at: Duration,
        response: Option<Response>,
        outputs: &mut Vec<Output>,
    ) {
        self.lane.in_flight = None;
        if self.authority.lease.is_none_or(|lease| lease.incarnation != incarnation) {
            return;
        }
        match response {
            Some(Response { outcome: Outcome::Accepted(Answer::MakerRenewed { holdings_index, .. }), .. }) => {
                self.leased(incarnation, holdings_index, sent_at, outputs);
            }
            Some(Response { outcome: Outcome::Refused(Refusal::UnknownMaker { present, .. }), .. }) => {
                self.lost_registration(present.is_some_and(|present| present != incarnation));
            }
            Some(_) | None => self.lease_failed(),
        }
    }

    /// The lease runs from the instant of sending, not from that of the answer.
    fn leased(&mut self, incarnation: Incarnation, holdings_index: u64, sent_at: Duration, outputs: &mut Vec<Output>) {
        self.authority.leased(incarnation, sent_at + self.config.belief(), holdings_index);
        self.lane.failures = 0;
        self.lane.due = if self.authority.leaving { self.now } else { sent_at + self.config.lease_ttl() / 3 };
        self.validated(sent_at, outputs);
    }

    fn lease_failed(&mut self) {
        self.lane.due = self.now + pause_after(self.lane.failures);
        self.lane.failures = self.lane.failures.saturating_add(1);
    }

    fn deregister_answered(&mut self, response: Option<Response>) {
        self.lane.in_flight = None;
        match response.map(|response| response.outcome) {
            Some(Outcome::Accepted(_) | Outcome::Refused(Refusal::UnknownMaker { .. })) => self.authority.end_lease(),
            Some(Outcome::Refused(_)) | None => self.lease_failed(),
        }
    }

    fn release_answered(&mut self, symbol: &Symbol, epoch: Epoch, response: Option<Response>) {
        match response {
            Some(Response { index, outcome: Outcome::Accepted(_), .. }) => {
                self.authority.learn(symbol, index, epoch, None);
            }
            Some(Response { index, outcome: Outcome::Refused(Refusal::StaleEpoch { .. }), .. }) => {
                self.not_held(symbol, index, epoch);
            }
            Some(_) | None => self.authority.release_failed(symbol, epoch, self.now + RETRY_MIN),
        }
    }

    fn parameters_answered(&mut self, symbol: &Symbol, incarnation: Incarnation, response: Option<Response>) {
        let quoting = self.symbols.entry(symbol.clone()).or_default();
        quoting.settled();
        match response {
            Some(Response { outcome: Outcome::Accepted(_), .. }) => quoting.committed(incarnation),
            Some(Response { outcome: Outcome::Refused(_), .. }) | None => quoting.pause(self.now),
        }
    }

    fn quote_answered(&mut self, id: CommandId, quoted: &Quoted<'_>, response: Option<Response>) {
        let quoting = self.symbols.entry(quoted.symbol.clone()).or_default();
        if quoting.busy() == Some(id) {
            quoting.settled();
        }
        match (response, quoted.asked) {
            (
                Some(Response { outcome: Outcome::Accepted(Answer::QuotePlaced { quote_id, reduced, .. }), .. }),
                Some(asked),
            ) => quoting.placed(quote_id, quoted.epoch, quoted.sent_at, asked, reduced),
            (Some(Response { outcome: Outcome::Accepted(Answer::QuoteKept { .. }), .. }), None) => {
                quoting.kept(quoted.epoch, quoted.sent_at);
            }
            (Some(Response { index, outcome: Outcome::Refused(refusal), .. }), _) => {
                self.quote_refused(quoted, index, refusal);
            }
            (Some(Response { outcome: Outcome::Accepted(_), .. }) | None, _) => {
                quoting.again_later(quoted.cause, self.now);
            }
        }
    }

    fn quote_refused(&mut self, quoted: &Quoted<'_>, index: u64, refusal: Refusal) {
        let (now, memory) = (self.now, self.config.refresh);
        let quoting = self.symbols.entry(quoted.symbol.clone()).or_default();
        quoting.not_kept();
        match refusal {
            Refusal::StalePosition { position_seq, position } => {
                quoting.learn_position(position_seq, position, index);
                quoting.stale_position(quoted.cause);
            }
            Refusal::CrossesResting { side, price } => quoting.crossed(side, (price, index), quoted.cause, now),
            Refusal::StaleQuoteSeq { last } => quoting.stale_quote_seq(last, quoted.epoch, quoted.cause, now),
            Refusal::KillSwitch { .. } => {
                quoting.want(QuoteCause::Refresh);
                if index > self.last_frame {
                    self.control.refused_by_kill_switch();
                }
            }
            Refusal::QuotingOff { scope } => {
                quoting.want(QuoteCause::Refresh);
                if index > self.last_frame {
                    self.control.refused_by(&scope);
                }
            }
            Refusal::StaleEpoch { .. } | Refusal::AuthorityExpired { .. } | Refusal::UnknownMaker { .. } => {
                self.not_held(quoted.symbol, index, quoted.epoch);
            }
            Refusal::StaleRevision { revision } => {
                quoting.learn_revision(revision);
                quoting.again_later(quoted.cause, now);
            }
            Refusal::UnknownParameters { .. } => {
                quoting.uncommitted();
                quoting.again_later(quoted.cause, now);
            }
            // One that is placed may be granted what it could not keep.
            Refusal::ExposureShort { .. } if quoted.asked.is_none() => quoting.want(quoted.cause),
            Refusal::ExposureShort { .. } => quoting.exposure_short(quoted.cause, now, memory),
            // Exposure comes free as others refresh; the rest does not mend by itself, but a new try
            // costs little and the pause grows.
            _ => quoting.again_later(quoted.cause, now),
        }
    }

    /// The ledger does not take this maker for the holder under `epoch`: renew at once, to hear whether it is still
    /// registered, and up to where it must listen to know what it does hold.
    fn not_held(&mut self, symbol: &Symbol, index: u64, epoch: Epoch) {
        self.authority.learn(symbol, index, epoch, None);
        self.lane.due = self.now;
    }

    fn pull_answered(&mut self, symbol: &Symbol, epoch: Epoch, response: Option<Response>) {
        let quoting = self.symbols.entry(symbol.clone()).or_default();
        quoting.settled();
        match response {
            Some(Response { index, outcome: Outcome::Accepted(Answer::QuotePulled { quote_id }), .. }) => {
                quoting.pulled(quote_id, index);
            }
            Some(Response { index, outcome: Outcome::Refused(Refusal::StaleEpoch { .. }), .. }) => {
                quoting.pause(self.now);
                self.not_held(symbol, index, epoch);
            }
            Some(Response { outcome: Outcome::Refused(Refusal::StaleQuoteSeq { last }), .. }) => {
                quoting.stale_quote_seq(last, epoch, QuoteCause::Refresh, self.now);
            }
            Some(Response { index, outcome: Outcome::Refused(Refusal::UnknownSymbol { .. }), .. }) => {
                self.not_held(symbol, index, epoch);
            }
            Some(_) | None => quoting.pause(self.now),
        }
    }
}
