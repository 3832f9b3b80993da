//! What the ledger answers. A refusal by the rules of the business is a value, with the facts that
//! its caller needs to act on; nothing here is an error of storage.

use serde::{Deserialize, Serialize};

use crate::{
    command::{ExchangeEpoch, Incarnation, SessionId},
    digest::Digest,
    refusal::Refusal,
};
use quorate_domain::{Millis, OrderId, Price, Qty, QuoteId};

/// The answer to one input: where in the log, when in log time, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Response {
    /// Log index at which the command was applied; for a repeat, that of the first time.
    pub index: u64,
    /// Log time at that index.
    pub log_time: Millis,
    /// Accepted or refused.
    pub outcome: Outcome,
}

/// Accepted or refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Outcome {
    /// Done.
    Accepted(Answer),
    /// Not done, and nothing changed but what the refusal itself records.
    Refused(Refusal),
}

/// What an accepted command did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Answer {
    /// To `OpenSession`.
    SessionOpened {
        /// The new session.
        session: SessionId,
    },
    /// To `CloseSession`.
    SessionClosed,
    /// To `DefineSymbol`; `existed` where the same definition stood already.
    SymbolDefined {
        /// It was there before, with the same instrument.
        existed: bool,
    },
    /// To `Control`.
    ControlChanged {
        /// The control version from now on.
        control_version: u64,
    },
    /// To `RegisterMaker`.
    MakerRegistered {
        /// The new incarnation.
        incarnation: Incarnation,
        /// Log time at which the lease ends.
        deadline: Millis,
        /// The index of this registration: what it holds is known from the events up to there, or from a later read.
        holdings_index: u64,
    },
    /// To `RenewMaker`.
    MakerRenewed {
        /// Log time at which the lease ends.
        deadline: Millis,
        /// The index at which what it holds, or is to give up, last changed. Only a maker that knows its holdings as
        /// of that index or a later one may rely on the new deadline.
        holdings_index: u64,
    },
    /// To `DeregisterMaker`.
    MakerDeregistered,
    /// To `CommitParameters`.
    ParametersCommitted {
        /// The digest of the text: what quotes name.
        digest: Digest,
    },
    /// To `ReleaseSymbol`.
    SymbolReleased,
    /// To `PlaceQuote`.
    QuotePlaced {
        /// The quote's id.
        quote_id: QuoteId,
        /// Lots granted to the bid, 0 where none.
        bid_qty: Qty,
        /// Lots granted to the ask, 0 where none.
        ask_qty: Qty,
        /// Whether less was granted than asked.
        reduced: bool,
        /// Log time from which it cannot be filled.
        deadline: Millis,
    },
    /// To `KeepQuote`.
    QuoteKept {
        /// Log time from which it cannot be filled.
        deadline: Millis,
    },
    /// To `PullQuote`; `None` where there was no active quote.
    QuotePulled {
        /// The quote that ended.
        quote_id: Option<QuoteId>,
    },
    /// To `RegisterExchange`.
    ExchangeRegistered {
        /// The fencing token of this registration.
        exchange_epoch: ExchangeEpoch,
    },
    /// To `ExecuteOrder`.
    OrderExecuted(OrderResult),
    /// To `CancelOrder`.
    OrderCancelled(OrderResult),
    /// To `PublishMarks`: how many of them.
    MarksPublished {
        /// Count.
        counted: u32,
        /// Wait for another that confirms them.
        waiting: u32,
        /// Were not taken.
        ignored: u32,
    },
    /// To `SetListing`.
    ListingSet,
    /// To the leader's own commands.
    Done,
}

/// Where an order stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct OrderResult {
    /// The order's id.
    pub order_id: OrderId,
    /// Its state now.
    pub status: OrderStatus,
    /// Lots filled so far.
    pub cum_qty: Qty,
    /// Lots still open.
    pub leaves_qty: Qty,
    /// Sum of price x qty of its fills.
    pub cum_quote: quorate_domain::Money,
    /// The fills of this very command: (trade id, price, lots).
    pub trades: Vec<Trade>,
}

/// One fill, as its order's owner sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Trade {
    /// Counts all fills of the ledger, from 1.
    pub trade_id: u64,
    /// Ticks.
    pub price: Price,
    /// Lots.
    pub qty: Qty,
}

/// An order's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum OrderStatus {
    /// Rests, nothing filled.
    New,
    /// Rests, partly filled.
    PartiallyFilled,
    /// Filled whole.
    Filled,
    /// Ended by its owner or by the kill switch.
    Cancelled,
    /// A post-only order that would have taken.
    Rejected,
    /// What was left ran out.
    Expired,
}

impl OrderStatus {
    /// Whether the order rests in the book.
    #[must_use]
    pub fn is_open(self) -> bool {
        matches!(self, Self::New | Self::PartiallyFilled)
    }
}
