//! What a run reached: every variant by its name. The matches name every variant, so that a new one
//! does not compile until somebody says how it is reached.

use std::collections::BTreeMap;

use quorate_domain::Symbol;
use quorate_ledger::{
    Answer, AuthorityEndReason, Command, ControlChange, DepartReason, Envelope, Event, FilledMaker, Input, OrderStatus,
    Outcome, QuoteEndReason, Refusal, Response, Turn,
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
    SymbolExists, SymbolClosed, StaleRevision, UnknownAsset, SymbolsDefined, OtherQuoteAsset, SymbolBusy, NotTripped,
    AccountBusy, ControlVersion, LimitOutOfRange, LedgerVersion, KillSwitch, QuotingOff, BreakerTripped, Paused, UnknownMaker, StaleEpoch,
    AuthorityExpired, WrongSecret, UnknownParameters, StaleQuoteSeq, StalePosition, CrossesResting, ExposureShort,
    TooHeavy, PositionLimit, StaleExchange, ExecGap, ExecReused,
    ExecWindowFull, DeadlinePassed, DuplicateOrder, NamesFull, NotActive, LeavesMoved, DoesNotCross, WouldCross, BalanceShort, Overflow,
    UnknownOrder, OrderClosed,
);
variants!(ANSWERS, answer, Answer:
    SessionOpened, SessionClosed, SymbolDefined, ControlChanged, MakerRegistered, MakerRenewed, MakerDeregistered,
    ParametersCommitted, SymbolReleased, QuotePlaced, QuoteKept, QuotePulled, ExchangeRegistered, OrderExecuted, OrderCancelled,
    MarksPublished, ListingSet, Done,
);
variants!(EVENTS, event, Event:
    TermBegan, SymbolDefined, ControlChanged, MakerRegistered, MakerRenewed, MakerDeparted, ParametersCommitted,
    AuthorityGranted, AuthorityMoving, AuthorityEnded, QuotePlaced, QuoteKept, QuoteRefused, QuoteEnded, TurnChanged,
    MarksPublished, ListingChanged, BreakerTripped, ProtectionTripped, SymbolClosed,
    ExchangeRegistered, OrderExecuted, FillCommitted, OrderClosed,
);
variants!(DEPARTURES, departure, DepartReason: Left, Expired, Superseded);
variants!(AUTHORITY_ENDS, authority_end, AuthorityEndReason: Released, MoveDeadline, MakerLeft, LeaseExpired, Unlisted, SymbolClosed);
variants!(QUOTE_ENDS, quote_end, QuoteEndReason:
    Expired, Pulled, Filled, AuthorityEnded, QuotingOff, KillSwitch, LimitLowered, PositionLimit, TurnEnded,
    Breaker, Protection, AgeUnproven, Replaced,
);
variants!(CHANGES, change, ControlChange:
    ExposureLimit, ExposureBasis, PositionLimit, Instrument, Protection, DrawdownLimit, Rearm, LimitAccount, Deposit,
    Settle, CloseSymbol, Quoting, KillSwitch, LedgerVersion,
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

/// What must have happened to money, as [`crate::compare`] sees it.
const MONEY: &[&str] = &[
    "a rebate was paid",
    "a position went through 0",
    "a part of a position closed, and its cost left a remainder",
    "a limited account owed contracts",
    "a sale locked contracts, and was filled",
    "a sale locked what it could owe",
    "contracts of a limited account were settled",
    "an account was short of the base asset",
    "an account was short of the quote asset",
    "an account traded with itself",
    "a deposit was taken out",
    "a mark counted",
    "a mark waited",
    "a mark that waited was confirmed",
    "a mark was ignored",
    "equity was unmarked above the high-water mark",
    "the high-water mark rose",
    "a breaker tripped while equity was unmarked",
    "a position was settled",
    "a symbol was revised in another tick, with a mark",
    "quotes were placed where the basis is the worst loss",
];

/// From where to where a symbol's place in the turns went.
const TURN_CHANGES: &[&str] = &[
    "turn: out, then waiting",
    "turn: waiting, then offered",
    "turn: waiting, then out",
    "turn: offered, then running",
    "turn: offered, then waiting",
    "turn: offered, then offered anew",
    "turn: offered, then out",
    "turn: running, then waiting",
    "turn: running, then out",
];

/// What a keep was refused for, where that is of its own.
const KEEP_REFUSALS: &[&str] =
    &["keep: NotActive", "keep: StalePosition", "keep: ExposureShort", "keep: StaleQuoteSeq"];

fn turn_change(from: Option<Turn>, to: Option<Turn>) -> &'static str {
    match (from, to) {
        (None, Some(Turn::Waiting { .. })) => "turn: out, then waiting",
        (Some(Turn::Waiting { .. }), Some(Turn::Offered { .. })) => "turn: waiting, then offered",
        (Some(Turn::Waiting { .. }), None) => "turn: waiting, then out",
        (Some(Turn::Offered { .. }), Some(Turn::Running { .. })) => "turn: offered, then running",
        (Some(Turn::Offered { .. }), Some(Turn::Waiting { .. })) => "turn: offered, then waiting",
        (Some(Turn::Offered { .. }), Some(Turn::Offered { .. })) => "turn: offered, then offered anew",
        (Some(Turn::Offered { .. }), None) => "turn: offered, then out",
        (Some(Turn::Running { .. }), Some(Turn::Waiting { .. })) => "turn: running, then waiting",
        (Some(Turn::Running { .. }), None) => "turn: running, then out",
        (from, to) => panic!("no rule leads from {from:?} to {to:?}"),
    }
}

/// How often each was reached.
#[derive(Debug, Clone, Default)]
pub(crate) struct Coverage {
    counts: BTreeMap<&'static str, u64>,
    /// Where each symbol of the run stands in the turns.
    turns: BTreeMap<Symbol, Turn>,
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

    pub(crate) fn record(&mut self, index: u64, input: &Input, response: &Response, events: &[Event]) {
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
            Outcome::Refused(refused) => {
                self.saw(refusal(refused));
                if let Input::Client(Envelope { command: Command::KeepQuote(_), .. }) = input {
                    self.record_refused_keep(refused);
                }
            }
        }
        for happened in events {
            self.saw(event(happened));
            self.record_details(happened);
        }
    }

    fn record_refused_keep(&mut self, refused: &Refusal) {
        match refused {
            Refusal::NotActive { .. } => self.saw("keep: NotActive"),
            Refusal::StalePosition { .. } => self.saw("keep: StalePosition"),
            Refusal::ExposureShort { .. } => self.saw("keep: ExposureShort"),
            Refusal::StaleQuoteSeq { .. } => self.saw("keep: StaleQuoteSeq"),
            _ => {}
        }
    }

    fn record_details(&mut self, happened: &Event) {
        match happened {
            Event::MakerDeparted { reason, .. } => self.saw(departure(reason)),
            Event::AuthorityEnded { reason, .. } => self.saw(authority_end(reason)),
            Event::QuoteEnded { reason, .. } => self.saw(quote_end(reason)),
            Event::ControlChanged { change: changed, .. } => self.saw(change(changed)),
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
            Event::MarksPublished { marks } => {
                for mark in marks {
                    self.saw(if mark.counts { "a mark counted" } else { "a mark waited" });
                }
            }
            Event::AuthorityMoving { to: None, .. } => self.saw("a move was called off"),
            Event::QuotePlaced(placed) if placed.superseded.is_some() => self.saw("a quote superseded another"),
            Event::TurnChanged { symbol, turn } => {
                let before = self.turns.remove(symbol);
                self.saw(turn_change(before, *turn));
                self.turns.extend(turn.map(|turn| (symbol.clone(), turn)));
            }
            Event::TermBegan { graced: 1.., .. } => self.saw("a term gave grace"),
            Event::TermBegan { .. }
            | Event::SymbolDefined { .. }
            | Event::ListingChanged { .. }
            | Event::BreakerTripped { .. }
            | Event::ProtectionTripped { .. }
            | Event::SymbolClosed { .. }
            | Event::ParametersCommitted { .. }
            | Event::QuoteKept { .. }
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
        let all = [
            REFUSALS,
            ANSWERS,
            EVENTS,
            DEPARTURES,
            AUTHORITY_ENDS,
            QUOTE_ENDS,
            CHANGES,
            FILLED_MAKERS,
            STATUSES,
            SITUATIONS,
            MONEY,
            TURN_CHANGES,
            KEEP_REFUSALS,
        ];
        all.concat().into_iter().filter(|what| !self.counts.contains_key(what)).collect()
    }

    /// One line for each, for people.
    pub(crate) fn table(&self) -> String {
        self.counts.iter().map(|(what, count)| format!("{count:>9}  {what}\n")).collect()
    }
}
