//! What a run reached: every variant by its name. The matches name every variant, so that a new one
//! does not compile until somebody says how it is reached.

use std::collections::BTreeMap;

use quorate_ledger::{
    Answer, AuthorityEndReason, DepartReason, Event, FilledMaker, OrderStatus, Outcome, QuoteEndReason, Refusal,
    Response,
};

macro_rules! variants {
    ($all:ident, $name:ident, $of:ident: $($variant:ident),* $(,)?) => {
        const $all: &[&str] = &[$(concat!(stringify!($of), "::", stringify!($variant))),*];

        fn $name(value: &$of) -> &'static str {
            match value {
                $($of::$variant { .. } => concat!(stringify!($of), "::", stringify!($variant)),)*
            }
        }
    };
}

variants!(REFUSALS, refusal, Refusal:
    SessionRequired, SessionExpired, SeqReused, SeqTooOld, TooManySessions, Invalid, Full, UnknownSymbol,
    SymbolExists, ControlVersion, LimitOutOfRange, LedgerVersion, KillSwitch, QuotingOff, UnknownMaker, StaleEpoch,
    AuthorityExpired, StaleQuoteSeq, StalePosition, CrossesResting, ExposureShort, StaleExchange, ExecGap, ExecReused,
    ExecWindowFull, DeadlinePassed, DuplicateOrder, NamesFull, NotActive, LeavesMoved, DoesNotCross, WouldCross, Overflow,
    UnknownOrder, OrderClosed,
);
variants!(ANSWERS, answer, Answer:
    SessionOpened, SessionClosed, SymbolDefined, ControlChanged, MakerRegistered, MakerRenewed, MakerDeregistered,
    SymbolReleased, QuotePlaced, QuotePulled, ExchangeRegistered, OrderExecuted, OrderCancelled, Done,
);
variants!(EVENTS, event, Event:
    TermBegan, SymbolDefined, ExposureLimitChanged, QuotingChanged, KillSwitchChanged, LedgerUpgraded, MakerRegistered,
    MakerRenewed, MakerDeparted, AuthorityGranted, AuthorityMoving, AuthorityEnded, QuotePlaced, QuoteRefused,
    QuoteEnded, ExchangeRegistered, OrderExecuted, FillCommitted, OrderClosed,
);
variants!(DEPARTURES, departure, DepartReason: Left, Expired, Superseded);
variants!(AUTHORITY_ENDS, authority_end, AuthorityEndReason: Released, MoveDeadline, MakerLeft, LeaseExpired);
variants!(QUOTE_ENDS, quote_end, QuoteEndReason:
    Expired, Pulled, Filled, AuthorityEnded, QuotingOff, KillSwitch, LimitLowered, AgeUnproven, Replaced,
);
variants!(FILLED_MAKERS, filled_maker, FilledMaker: Quote, Order);
variants!(STATUSES, status, OrderStatus: New, PartiallyFilled, Filled, Cancelled, Rejected, Expired);

/// What more a run must have shown than each variant once.
const SITUATIONS: &[&str] = &[
    "a repeat got the first answer",
    "a move was called off",
    "a quote was granted reduced",
    "a quote superseded another",
    "exposure reached the limit",
    "log time stood still where the stamp went back",
    "a fill left a quote with leaves",
    "a term gave grace",
];

/// How often each was reached.
#[derive(Debug, Clone, Default)]
pub(crate) struct Coverage {
    counts: BTreeMap<&'static str, u64>,
}

impl Coverage {
    pub(crate) fn saw(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (what, count) in &other.counts {
            *self.counts.entry(what).or_default() += count;
        }
    }

    pub(crate) fn record(&mut self, index: u64, response: &Response, events: &[Event]) {
        if response.index != index {
            self.saw("a repeat got the first answer");
        }
        match &response.outcome {
            Outcome::Accepted(accepted) => {
                self.saw(answer(accepted));
                if let Answer::QuotePlaced { reduced: true, .. } = accepted {
                    self.saw("a quote was granted reduced");
                }
            }
            Outcome::Refused(refused) => self.saw(refusal(refused)),
        }
        for happened in events {
            self.saw(event(happened));
            self.record_details(happened);
        }
    }

    fn record_details(&mut self, happened: &Event) {
        match happened {
            Event::MakerDeparted { reason, .. } => self.saw(departure(reason)),
            Event::AuthorityEnded { reason, .. } => self.saw(authority_end(reason)),
            Event::QuoteEnded { reason, .. } => self.saw(quote_end(reason)),
            Event::OrderExecuted { status: reached, .. } | Event::OrderClosed { status: reached, .. } => {
                self.saw(status(reached));
            }
            Event::FillCommitted(fill) => {
                self.saw(filled_maker(&fill.maker));
                if let FilledMaker::Quote { leaves, .. } = &fill.maker
                    && leaves.0 > 0
                {
                    self.saw("a fill left a quote with leaves");
                }
            }
            Event::AuthorityMoving { to: None, .. } => self.saw("a move was called off"),
            Event::QuotePlaced(placed) if placed.superseded.is_some() => self.saw("a quote superseded another"),
            Event::TermBegan { graced: 1.., .. } => self.saw("a term gave grace"),
            Event::TermBegan { .. }
            | Event::SymbolDefined { .. }
            | Event::ExposureLimitChanged { .. }
            | Event::QuotingChanged { .. }
            | Event::KillSwitchChanged { .. }
            | Event::LedgerUpgraded { .. }
            | Event::MakerRegistered { .. }
            | Event::MakerRenewed { .. }
            | Event::AuthorityGranted { .. }
            | Event::AuthorityMoving { .. }
            | Event::QuotePlaced(_)
            | Event::QuoteRefused { .. }
            | Event::ExchangeRegistered { .. } => {}
        }
    }

    /// What was never reached.
    pub(crate) fn missing(&self) -> Vec<&'static str> {
        let all =
            [REFUSALS, ANSWERS, EVENTS, DEPARTURES, AUTHORITY_ENDS, QUOTE_ENDS, FILLED_MAKERS, STATUSES, SITUATIONS];
        all.concat().into_iter().filter(|what| !self.counts.contains_key(what)).collect()
    }

    /// One line for each, for people.
    pub(crate) fn table(&self) -> String {
        self.counts.iter().map(|(what, count)| format!("{count:>9}  {what}\n")).collect()
    }
}
