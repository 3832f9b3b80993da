//! What the event stream tells.

use quorate_domain::{Position, Qty, QuoteSide, Sides};
use quorate_ledger::{ControlChange, DepartReason, Event, FilledMaker, Incarnation, QuoteCause, QuoteEndReason};

use crate::quoter::Quoter;

impl Quoter {
    /// Takes in one event of the frame at `index`.
    pub(crate) fn event(&mut self, index: u64, event: &Event) {
        if let Event::ControlChanged { change: ControlChange::Instrument { symbol, revision, .. }, .. } = event {
            self.symbols.entry(symbol.clone()).or_default().learn_revision(*revision);
        }
        self.venue.happened(event);
        if self.control.happened(event) {
            // What was refused for want of exposure, or by control, need not wait any longer.
            self.freed_at = index;
            self.symbols.values_mut().for_each(|quoting| quoting.retry_now());
            return;
        }
        match event {
            Event::AuthorityGranted { symbol, incarnation, epoch, .. } => {
                self.authority.learn(symbol, index, *epoch, Some(*incarnation));
            }
            Event::AuthorityMoving { symbol, epoch, to, .. } => {
                self.authority.learn_move(symbol, index, *epoch, to.is_some());
            }
            Event::AuthorityEnded { symbol, epoch, .. } => self.authority.learn(symbol, index, *epoch, None),
            Event::MakerDeparted { incarnation, reason, .. } => self.departed(*incarnation, *reason),
            Event::SymbolDefined { symbol, .. } => {
                self.symbols.entry(symbol.clone()).or_default().learn_position(0, Position(0), index);
            }
            Event::QuotePlaced(placed) => {
                let granted = Sides { bid: lots(placed.bid), ask: lots(placed.ask) };
                let quoting = self.symbols.entry(placed.symbol.clone()).or_default();
                quoting.quote_placed(placed.quote_id);
                if quoting.reserves(granted) {
                    self.freed_at = index;
                }
            }
            Event::QuoteEnded { symbol, quote_id, reason, .. } => {
                self.freed_at = index;
                let cause = wanted_after(*reason);
                self.symbols.entry(symbol.clone()).or_default().quote_ended(*quote_id, cause);
            }
            Event::TurnChanged { symbol, turn } => {
                self.symbols.entry(symbol.clone()).or_default().turn_changed(*turn);
            }
            Event::FillCommitted(fill) => match &fill.maker {
                FilledMaker::Quote { position, position_seq, .. } => {
                    self.freed_at = index;
                    let quoting = self.symbols.entry(fill.symbol.clone()).or_default();
                    quoting.learn_position(*position_seq, *position, index);
                }
                FilledMaker::Order { .. } => {}
            },
            // A lease is counted from the sending of its renewal, never from what the stream says; what
            // became of a quote is told by its answer; the rest is not the maker's business.
            Event::MakerRegistered { .. }
            | Event::MakerRenewed { .. }
            | Event::TermBegan { .. }
            | Event::QuoteRefused { .. }
            | Event::ExchangeRegistered { .. }
            | Event::OrderExecuted { .. }
            | Event::OrderClosed { .. }
            | Event::ParametersCommitted { .. }
            | Event::MarksPublished { .. }
            | Event::ListingChanged { .. }
            | Event::BreakerTripped { .. }
            | Event::ProtectionTripped { .. }
            | Event::SymbolClosed { .. }
            | Event::QuoteKept { .. }
            | Event::ControlChanged { .. } => {}
        }
    }

    fn departed(&mut self, incarnation: Incarnation, reason: DepartReason) {
        if self.authority.lease.is_some_and(|lease| lease.incarnation == incarnation) {
            self.lost_registration(reason == DepartReason::Superseded);
        }
    }

    /// The registration has ended. Where another took the name, that one is given a lease's time before
    /// this maker takes it back: two processes under one name must not chase each other.
    pub(crate) fn lost_registration(&mut self, superseded: bool) {
        self.authority.end_lease();
        self.lane.due = if superseded { self.now + self.config.lease_ttl() } else { self.now };
    }
}

fn lots(side: Option<QuoteSide>) -> Qty {
    side.map_or(Qty::ZERO, |side| side.qty)
}

/// Why another quote is wanted after one that ended for this reason, if one is.
fn wanted_after(reason: QuoteEndReason) -> Option<QuoteCause> {
    match reason {
        QuoteEndReason::Expired | QuoteEndReason::AgeUnproven => Some(QuoteCause::Expiry),
        // Placed as soon as control and exposure allow it.
        QuoteEndReason::LimitLowered
        | QuoteEndReason::PositionLimit
        | QuoteEndReason::Breaker
        | QuoteEndReason::Protection
        | QuoteEndReason::QuotingOff
        | QuoteEndReason::KillSwitch => Some(QuoteCause::Refresh),
        // A fill wants its quote by the position that it moved, whichever way that was learnt first: by this event it
        // would be answered twice. So would a refused replacement, which its answer speaks of.
        // Where a turn ended, the symbol waits for the next, and is offered it.
        QuoteEndReason::Filled
        | QuoteEndReason::Pulled
        | QuoteEndReason::AuthorityEnded
        | QuoteEndReason::Replaced
        | QuoteEndReason::TurnEnded => None,
    }
}
