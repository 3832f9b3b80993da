//! What goes into the engine and what comes out of it. Plain data; nothing here decides anything.

use quorate_domain::{Account, ClientOrderId, Instrument, Millis, Money, OrderId, Price, Qty, QuoteId, Symbol};
use quorate_ledger::{
    Command, ExchangeEpoch, Frame, NewOrder, OrderResult, OrderStatus, Refusal, Response,
    bounds::{EXEC_WINDOW, OPEN_ORDERS_MAX},
};
use quorate_order_book::SelfTrade;

/// Open orders of one account in one symbol, unless configured otherwise.
pub const SYMBOL_ORDERS_MAX: usize = 200;
/// Open orders of one account, likewise: a tenth of what the ledger holds for all.
pub const ACCOUNT_ORDERS_MAX: usize = OPEN_ORDERS_MAX / 10;

/// Names one caller's request; chosen by the process, never used twice for one engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RequestId(pub u64);

/// Names one command proposed by the engine; chosen by the engine, never used twice by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SubmissionId(pub u64);

/// One command to propose.
///
/// The process gives each submission one (session, seq) of its own and keeps to it for every resend,
/// so that a refusal speaks for all copies on their way. Only where the session is lost for good
/// (`SessionExpired`, `SeqTooOld`: old copies can then have no effect) it takes a new one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submission {
    /// Its name, for the answer.
    pub id: SubmissionId,
    /// The command: `ExecuteOrder` or `CancelOrder`.
    pub command: Command,
}

/// What became of one submission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answered {
    /// The ledger answered: accepted or refused, definitely.
    Response(Response),
    /// Definitely not proposed by this attempt (overload, no leader known).
    NotApplied,
    /// No answer in time: it may or may not have been applied.
    Unknown,
}

/// What the engine is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// A caller places an order.
    Order {
        /// Who asks.
        request: RequestId,
        /// The order.
        order: NewOrder,
        /// How it is matched.
        terms: Terms,
    },
    /// A caller cancels an order.
    Cancel {
        /// Who asks.
        request: RequestId,
        /// Whose order.
        account: Account,
        /// Which order.
        target: Target,
        /// Cancelled only where it stands so.
        only: Option<Only>,
    },
    /// A caller's patience ended: it is answered now, with what is known.
    OutOfPatience {
        /// Who asked.
        request: RequestId,
    },
    /// A submission was answered.
    Answer {
        /// Which.
        submission: SubmissionId,
        /// How.
        answered: Answered,
    },
    /// The next frame of the ledger's events. Older ones than already seen are ignored.
    Frame(Frame),
    /// The ledger has applied this index, and every frame up to it was handed in before.
    Applied {
        /// The log index.
        index: u64,
        /// Log time there.
        log_time: Millis,
    },
    /// The time came at which it asked to be woken ([`Effect::WakeAt`]).
    Wake,
    /// Stop for good, because the process stops or its stream of frames broke: every caller is
    /// answered with what is known now.
    Stop,
}

/// How an order is matched, beyond what the ledger knows of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Terms {
    /// What happens where it meets an order of its own account.
    pub self_trade: SelfTrade,
    /// The worst price at which an order without a price of its own trades; `None`: any.
    pub worst: Option<Price>,
    /// The tick in which the order's price and `worst` count; `None`: that of the revision by which the order is
    /// planned first.
    pub tick: Option<Tick>,
}

/// The tick of one revision of an instrument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tick {
    /// The revision.
    pub revision: u64,
    /// What one lot is worth at a price of one tick, in 10^-12 of the quote asset. Lots are the same in all revisions.
    pub units: i128,
}

impl Tick {
    /// The tick of this revision; `None` where the instrument is not one to be traded.
    #[must_use]
    pub fn of(instrument: &Instrument, revision: u64) -> Option<Self> {
        Some(Self { revision, units: instrument.tick_lot_units()? })
    }
}

/// As what an order must stand to be cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Only {
    /// Open, and nothing of it filled.
    New,
    /// Open, and partly filled.
    PartiallyFilled,
}

impl Only {
    /// Whether an open order stands so, of which so much is filled.
    #[must_use]
    pub fn holds(self, cum_qty: Qty) -> bool {
        (self == Self::New) == (cum_qty == Qty::ZERO)
    }
}

/// How a caller names an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// By the ledger's id.
    Order(OrderId),
    /// By its sender's id.
    Client(ClientOrderId),
}

/// What the engine wants done, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Propose this. Those of one call should go in one batch or one after the other, in order:
    /// what overtakes another of its symbol is refused with `ExecGap`, and planned again.
    Submit(Submission),
    /// Propose the very same again (same session and seq), after a back-off of the process's choice.
    Resend(Submission),
    /// Answer an order's caller.
    OrderReply {
        /// Who asked.
        request: RequestId,
        /// What came of it.
        outcome: OrderOutcome,
    },
    /// Answer a cancel's caller.
    CancelReply {
        /// Who asked.
        request: RequestId,
        /// What came of it.
        outcome: CancelOutcome,
    },
    /// An order ended, wholly or with what was left of it, because it met one of its own account. Comes before those who
    /// wait for it are answered. The ledger calls it expired or cancelled.
    ExpiredInMatch {
        /// Which.
        order_id: OrderId,
    },
    /// Hand in [`Input::Wake`] at this log time: an order waits until then for a quote that is due.
    WakeAt(Millis),
    /// An order that was reported as unknown is settled.
    Settled {
        /// Whose.
        account: Account,
        /// Its name.
        client_order_id: ClientOrderId,
        /// Never `Unknown`.
        outcome: OrderOutcome,
    },
    /// The engine has stopped: every caller was answered, and it refuses whatever comes. Register
    /// again (unless another exchange is meant to serve) and recover.
    Halted(Halt),
}

/// Why the engine stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Halt {
    /// Another exchange registered after this one.
    Fenced {
        /// Its epoch.
        exchange_epoch: ExchangeEpoch,
    },
    /// Something came that cannot be; going on could show a wrong state. Holds what it was.
    Inconsistent(String),
    /// It was told to.
    Stopped,
}

/// What came of a request for an order. A refusal speaks for this request: where an earlier one under
/// the same client order id was never answered, or still waits, that one may have executed the order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OrderOutcome {
    /// It is committed.
    Committed(Committed),
    /// Definitely not executed: refused by a rule of the ledger (or by the engine, for the same rule).
    Refused(Refusal),
    /// Definitely not executed, for another reason.
    NotExecuted(NotExecuted),
    /// Proposed, and not known yet: settling goes on, and ends with [`Effect::Settled`].
    Unknown,
}

/// An order that is committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// Log index of the fact: of the execution, or of the state shown where this is a repeat.
    pub index: u64,
    /// Log time there.
    pub log_time: Millis,
    /// Where the order stands; `trades` are the execution's own, and empty for a repeat.
    pub result: OrderResult,
    /// The same order was committed before this request: nothing was executed for it.
    pub repeat: bool,
}

/// Why an order was definitely not executed, or a cancel not made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum NotExecuted {
    /// A queue is full, or the account's part of it: try again later.
    Overloaded,
    /// The engine has not caught up with the ledger yet.
    NotReady,
    /// The engine has halted.
    Halted,
    /// The group took no proposals.
    Unavailable,
    /// Time ran out before it could be proposed, or proposed again after a refusal.
    TimedOut,
    /// The client order id belongs to another order that is being executed.
    ClientIdInFlight,
    /// The account has as many open orders of this symbol as it may have.
    SymbolOrdersMax,
    /// The account has as many open orders as it may have.
    AccountOrdersMax,
    /// What is traded was revised, and the order's price is none of those that may be traded now.
    OffTick,
}

/// What came of a cancel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CancelOutcome {
    /// The order is cancelled.
    Cancelled(Committed),
    /// The order was closed before.
    Closed(Committed),
    /// No such order is open.
    UnknownOrder,
    /// The order does not stand as its caller asked for.
    Restricted,
    /// Not cancelled by this request.
    NotExecuted(NotExecuted),
    /// Proposed, and not known yet: it is sent until it is known.
    Unknown,
}

/// Committed state to start from, in sections that may be read at different indexes, each at or
/// after the exchange's own registration, and before anything is executed under it. Frames from `first_frame()` on must follow.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Snapshot {
    /// Control, and the defined symbols.
    pub control: Section<Control>,
    /// Every active quote.
    pub quotes: Section<Vec<Quote>>,
    /// Every open order, in one or several pages.
    pub orders: Vec<Section<Vec<OpenOrder>>>,
}

/// Something read at one index.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Section<T> {
    /// The index applied where it was read.
    pub index: u64,
    /// Log time there.
    pub log_time: Millis,
    /// What was read.
    pub data: T,
}

impl Snapshot {
    /// The index of the first frame that must be handed in.
    #[must_use]
    pub fn first_frame(&self) -> u64 {
        self.indexes().min().unwrap_or(0) + 1
    }

    /// The index from which the engine serves.
    #[must_use]
    pub fn ready_at(&self) -> u64 {
        self.indexes().max().unwrap_or(0)
    }

    fn indexes(&self) -> impl Iterator<Item = u64> + '_ {
        [self.control.index, self.quotes.index].into_iter().chain(self.orders.iter().map(|page| page.index))
    }
}

/// What of the ledger's control an exchange needs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Control {
    /// The present control version.
    pub control_version: u64,
    /// Whether the kill switch is engaged.
    pub kill_switch: bool,
    /// The defined symbols, what they trade, and which revision of that.
    pub symbols: Vec<(Symbol, Instrument, u64)>,
}

/// An active quote, as the exchange needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quote {
    /// The symbol.
    pub symbol: Symbol,
    /// Its id, and its priority at its prices.
    pub quote_id: QuoteId,
    /// What it buys.
    pub bid: Option<QuoteLeaves>,
    /// What it sells.
    pub ask: Option<QuoteLeaves>,
    /// Log time from which it cannot be filled.
    pub deadline: Millis,
}

/// One side of a quote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuoteLeaves {
    /// Ticks.
    pub price: Price,
    /// Lots left, above 0.
    pub leaves: Qty,
}

/// An order that rests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenOrder {
    /// Its id, and its priority at its price.
    pub order_id: OrderId,
    /// The order as it was sent.
    pub order: NewOrder,
    /// Lots filled.
    pub cum_qty: Qty,
    /// Sum of price x qty of its fills.
    pub cum_quote: Money,
}

impl OpenOrder {
    /// Lots that rest.
    #[must_use]
    pub fn leaves(&self) -> Qty {
        Qty(self.order.qty.0.saturating_sub(self.cum_qty.0))
    }

    /// Where it stands.
    #[must_use]
    pub fn result(&self) -> OrderResult {
        OrderResult {
            order_id: self.order_id,
            status: if self.cum_qty == Qty::ZERO { OrderStatus::New } else { OrderStatus::PartiallyFilled },
            cum_qty: self.cum_qty,
            leaves_qty: self.leaves(),
            cum_quote: self.cum_quote,
            trades: Vec::new(),
        }
    }
}

/// What the engine knows of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Known {
    /// Waiting, or proposed and not answered yet.
    Pending {
        /// The order.
        order: NewOrder,
        /// Whether it has been proposed, so that it may be executed already.
        proposed: bool,
    },
    /// Open.
    Open(OpenOrder),
    /// Closed a while ago at most; older ones are to be read from the ledger.
    Closed {
        /// The order.
        order: NewOrder,
        /// Where it ended.
        committed: Committed,
    },
}

/// A symbol's levels, best first, of resting orders and the quote together.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Depth {
    /// The log index that it shows.
    pub index: u64,
    /// What is bid.
    pub bids: Vec<QuoteLeaves>,
    /// What is asked.
    pub asks: Vec<QuoteLeaves>,
}

/// Counters since the engine started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Orders taken from callers.
    pub orders: u64,
    /// Executions proposed, repeats of the same bytes apart.
    pub proposed: u64,
    /// Submissions sent again after no answer.
    pub resent: u64,
    /// Executions seen committed.
    pub committed: u64,
    /// Refusals after which an order was planned again.
    pub replanned: u64,
    /// Executions refused out of turn (`ExecGap`, `ExecWindowFull`), planned again.
    pub gaps: u64,
    /// Orders expired because every plan was refused.
    pub gave_up: u64,
    /// Requests answered with `Unknown`.
    pub unknown: u64,
    /// Orders reported as unknown and settled since.
    pub unknown_settled: u64,
}

/// Bounds and times of an engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// Life of an order from its arrival until it must be executed, in ms of log time; at most
    /// `ORDER_DEADLINE_MAX_MS` less the error of the log time handed in.
    pub order_ttl_ms: u64,
    /// Executions of one symbol in flight at most, those committed but not yet seen in a frame included.
    pub window_max: usize,
    /// Executions in flight at most over all symbols, likewise; at most `EXEC_WINDOW`.
    pub in_flight_max: usize,
    /// Orders waiting or in flight at most.
    pub orders_max: usize,
    /// Cancels waiting or in flight at most; of these, 64 are in flight at most.
    pub cancels_max: usize,
    /// One account may hold one in so many of the places for orders, and of those for cancels; at least 1.
    pub account_part: usize,
    /// Plans that may be refused for one order before it is expired, counting its own refusals only.
    pub replans_max: u32,
    /// Callers that may wait for one and the same order.
    pub waiters_max: usize,
    /// Closed orders remembered for repeats and look-ups.
    pub closed_max: usize,
    /// Open orders of one account in one symbol at most, those that may still come to rest included.
    pub symbol_orders_max: usize,
    /// Open orders of one account at most, likewise.
    pub account_orders_max: usize,
}

impl Config {
    /// How many of `places` one account may hold.
    pub(crate) fn part_of(&self, places: usize) -> usize {
        (places / self.account_part.max(1)).max(1)
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            order_ttl_ms: 10_000,
            window_max: 32,
            in_flight_max: EXEC_WINDOW,
            orders_max: 4_096,
            cancels_max: 1_024,
            account_part: 4,
            replans_max: 8,
            waiters_max: 16,
            closed_max: 10_000,
            symbol_orders_max: SYMBOL_ORDERS_MAX,
            account_orders_max: ACCOUNT_ORDERS_MAX,
        }
    }
}
