//! What happened: events, in frames, one frame a log index. Frames are kept by the node, streamed to
//! makers, the exchange and auditors, and chained by digest.

use serde::{Deserialize, Serialize};

use crate::{
    answer::OrderStatus,
    command::{ControlChange, Epoch, ExchangeEpoch, Incarnation, NewOrder, QuoteBasis, QuoteCause},
    digest::Digest,
    refusal::Refusal,
};
use quorate_domain::{
    Account, ActorName, Asset, ClientOrderId, ExchangeName, Exposure, Instrument, MakerName, Millis, Money, OrderId,
    Position, Price, Qty, QuoteId, QuoteSide, RefPrice, Side, Symbol,
};

/// All that one log index did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Frame {
    /// The log index.
    pub index: u64,
    /// Log time at that index.
    pub log_time: Millis,
    /// The chain of digests up to and with this index.
    pub chain: Digest,
    /// What happened, in order.
    pub events: Vec<Event>,
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Event {
    /// A leader's term began; `graced` makers had their leases extended.
    TermBegan {
        /// The Raft term.
        term: u64,
        /// How many makers were given grace.
        graced: u32,
        /// Whether quotes were pulled because their age could not be proven.
        quotes_pulled: bool,
        /// The clock jump recorded.
        clock_jump_ms: u64,
    },
    /// A symbol was defined.
    SymbolDefined {
        /// The symbol.
        symbol: Symbol,
        /// What is traded.
        instrument: Instrument,
    },
    /// People decided something.
    ControlChanged {
        /// The control version from now on.
        control_version: u64,
        /// Who decided it.
        actor: ActorName,
        /// Why.
        reason: String,
        /// What changed.
        change: ControlChange,
    },
    /// A maker joined.
    MakerRegistered {
        /// Its name.
        maker: MakerName,
        /// Its incarnation.
        incarnation: Incarnation,
        /// When its lease ends.
        deadline: Millis,
    },
    /// A maker's lease was extended, by itself or by grace.
    MakerRenewed {
        /// Its name.
        maker: MakerName,
        /// Its incarnation.
        incarnation: Incarnation,
        /// When its lease ends.
        deadline: Millis,
    },
    /// A maker is no longer of the group.
    MakerDeparted {
        /// Its name.
        maker: MakerName,
        /// Its incarnation.
        incarnation: Incarnation,
        /// Why.
        reason: DepartReason,
    },
    /// A maker said what its quotes of a symbol are computed with from now on.
    ParametersCommitted {
        /// The maker.
        maker: MakerName,
        /// Its incarnation.
        incarnation: Incarnation,
        /// The symbol.
        symbol: Symbol,
        /// The digest of the text.
        digest: Digest,
        /// The parameters.
        text: String,
    },
    /// A symbol is held from now on.
    AuthorityGranted {
        /// The symbol.
        symbol: Symbol,
        /// By whom.
        maker: MakerName,
        /// The holder's incarnation.
        incarnation: Incarnation,
        /// Under this epoch.
        epoch: Epoch,
    },
    /// A symbol is to move: it passes on release or at `until`. `to` is `None` where the move was
    /// called off and the holder keeps it.
    AuthorityMoving {
        /// The symbol.
        symbol: Symbol,
        /// The present epoch.
        epoch: Epoch,
        /// To whom.
        to: Option<MakerName>,
        /// At the latest then.
        until: Millis,
    },
    /// A symbol is no longer held.
    AuthorityEnded {
        /// The symbol.
        symbol: Symbol,
        /// By whom it was held.
        maker: MakerName,
        /// The holder's incarnation.
        incarnation: Incarnation,
        /// The epoch that ended.
        epoch: Epoch,
        /// Why.
        reason: AuthorityEndReason,
    },
    /// A quote is active from now on.
    QuotePlaced(QuotePlaced),
    /// The quote that stands lives longer, as it is.
    QuoteKept {
        /// The symbol.
        symbol: Symbol,
        /// The quote.
        quote_id: QuoteId,
        /// The maker's number for the keep.
        quote_seq: u64,
        /// From then on it cannot be filled.
        deadline: Millis,
        /// What the maker compared it with.
        basis: QuoteBasis,
    },
    /// A quote, or the keeping of one, was refused.
    QuoteRefused {
        /// The symbol.
        symbol: Symbol,
        /// The incarnation that asked.
        incarnation: Incarnation,
        /// The `quote_seq` refused.
        quote_seq: u64,
        /// Whether a `KeepQuote` was refused; else it was a `PlaceQuote`.
        keep: bool,
        /// Why.
        refusal: Refusal,
    },
    /// A quote is no longer active, and its exposure is free.
    QuoteEnded {
        /// The symbol.
        symbol: Symbol,
        /// The quote.
        quote_id: QuoteId,
        /// Exposure released from the long side.
        released_long: Exposure,
        /// Exposure released from the short side.
        released_short: Exposure,
        /// Why.
        reason: QuoteEndReason,
    },
    /// A symbol's place in the turns changed.
    TurnChanged {
        /// The symbol.
        symbol: Symbol,
        /// Its place from now on; `None` where it is in them no longer.
        turn: Option<Turn>,
    },
    /// The exchange published marks.
    MarksPublished {
        /// Those taken, in the order of symbols.
        marks: Vec<MarkTaken>,
    },
    /// The exchange said for which symbols it has a price source.
    ListingChanged {
        /// All of them, in order.
        symbols: Vec<Symbol>,
    },
    /// The equity of a quote asset fell too far below its high-water mark.
    BreakerTripped {
        /// The quote asset.
        asset: Asset,
        /// Its equity.
        equity: Money,
        /// Its high-water mark.
        high_water: Money,
    },
    /// Too many lots of a symbol's quotes were filled in a short time.
    ProtectionTripped {
        /// The symbol.
        symbol: Symbol,
        /// Until then it is not quoted.
        until: Millis,
    },
    /// A symbol has ended.
    SymbolClosed {
        /// The symbol.
        symbol: Symbol,
        /// How positions became cash; `None` where they did not.
        settled: Option<Settlement>,
    },
    /// An exchange joined and fenced the one before it.
    ExchangeRegistered {
        /// Its name.
        exchange: ExchangeName,
        /// Its fencing token.
        exchange_epoch: ExchangeEpoch,
    },
    /// An order was executed: filled, rested, expired or rejected. Its fills follow.
    OrderExecuted {
        /// Its id: the index of this frame.
        order_id: OrderId,
        /// By which exchange.
        exchange_epoch: ExchangeEpoch,
        /// Under which id.
        exec_id: u64,
        /// The order.
        order: NewOrder,
        /// How it stands after this.
        status: OrderStatus,
        /// Lots filled.
        cum_qty: Qty,
        /// Lots that rest.
        leaves_qty: Qty,
    },
    /// One fill.
    FillCommitted(FillCommitted),
    /// An order that rested is closed: cancelled, or filled by a later one.
    OrderClosed {
        /// The order.
        order_id: OrderId,
        /// Its symbol.
        symbol: Symbol,
        /// Whose.
        account: Account,
        /// Its name.
        client_order_id: ClientOrderId,
        /// How it ended.
        status: OrderStatus,
        /// Lots filled in all.
        cum_qty: Qty,
    },
}

/// See [`Event::QuotePlaced`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct QuotePlaced {
    /// The symbol.
    pub symbol: Symbol,
    /// The quote's id: the index of this frame.
    pub quote_id: QuoteId,
    /// Who quotes.
    pub maker: MakerName,
    /// The maker's incarnation.
    pub incarnation: Incarnation,
    /// The epoch.
    pub epoch: Epoch,
    /// The maker's number for it.
    pub quote_seq: u64,
    /// The position it was computed from.
    pub position_seq: u64,
    /// Granted; `None` where nothing was.
    pub bid: Option<QuoteSide>,
    /// Granted; `None` where nothing was.
    pub ask: Option<QuoteSide>,
    /// Lots asked for on the bid, 0 where none.
    pub bid_asked: Qty,
    /// Lots asked for on the ask, 0 where none.
    pub ask_asked: Qty,
    /// From then on it cannot be filled.
    pub deadline: Millis,
    /// Why it was placed.
    pub cause: QuoteCause,
    /// What it was computed from.
    pub basis: QuoteBasis,
    /// The quote it replaced; that one is released without an event of its own.
    pub superseded: Option<QuoteId>,
}

/// See [`Event::FillCommitted`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FillCommitted {
    /// Counts all fills of the ledger, from 1, without a gap.
    pub trade_id: u64,
    /// The symbol.
    pub symbol: Symbol,
    /// Ticks.
    pub price: Price,
    /// Lots.
    pub qty: Qty,
    /// Price x quantity, in the quote asset.
    pub notional: Money,
    /// The taker's order.
    pub taker_order_id: OrderId,
    /// The taker's side.
    pub taker_side: Side,
    /// What the taker pays, in the quote asset; a rebate is below 0.
    pub taker_fee: Money,
    /// What the other side pays, in the quote asset; a rebate is below 0.
    pub maker_fee: Money,
    /// The other side.
    pub maker: FilledMaker,
}

/// The resting side of a fill.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum FilledMaker {
    /// A quote: the position moves.
    Quote {
        /// The quote.
        quote_id: QuoteId,
        /// Who quoted.
        maker: MakerName,
        /// Under which epoch.
        epoch: Epoch,
        /// The quote side's leaves after this fill.
        leaves: Qty,
        /// The symbol's position after this fill.
        position: Position,
        /// The number of the symbol's quote fills, with this one.
        position_seq: u64,
    },
    /// A resting order.
    Order {
        /// The order.
        order_id: OrderId,
        /// Whose.
        account: Account,
        /// Its name.
        client_order_id: ClientOrderId,
        /// Its leaves after this fill.
        leaves: Qty,
    },
}

/// A symbol's place in the turns: `docs/ledger.md`, *Sharing*.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Turn {
    /// It waits.
    Waiting {
        /// Its ticket: the log index since which it waits, or at which it went to the back.
        since: u64,
    },
    /// One lot a side is its own, if its maker places a quote in time.
    Offered {
        /// Log time at which the offer ends.
        until: Millis,
    },
    /// One lot a side is its own.
    Running {
        /// Log time at which its turn ends.
        until: Millis,
    },
}

/// What became of the house's position when its symbol was settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Settlement {
    /// The price, in ticks: 0, or what the contract pays.
    pub price: Price,
    /// The position that it had, in lots; none is left.
    pub position: Position,
    /// What it received for that, in the quote asset; below 0 it paid.
    pub cash: Money,
    /// The number of the symbol's quote fills, with this.
    pub position_seq: u64,
}

/// A mark that was taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct MarkTaken {
    /// The symbol.
    pub symbol: Symbol,
    /// Half ticks.
    pub price: RefPrice,
    /// When its source last changed or confirmed it.
    pub time: Millis,
    /// Whether it counts; if not, it waits for another that confirms it.
    pub counts: bool,
}

/// Why a maker left the group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum DepartReason {
    /// It said so.
    Left,
    /// Its lease ran out.
    Expired,
    /// Its name registered again.
    Superseded,
}

/// Why authority over a symbol ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum AuthorityEndReason {
    /// The holder gave it up.
    Released,
    /// The deadline of a move passed.
    MoveDeadline,
    /// The holder left the group, of itself or by its name registering again.
    MakerLeft,
    /// The holder's lease ran out.
    LeaseExpired,
    /// The exchange has no price source for it any more.
    Unlisted,
    /// The symbol was settled or closed.
    SymbolClosed,
}

/// Why a quote ended (superseding apart).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum QuoteEndReason {
    /// Its deadline passed.
    Expired,
    /// Its maker pulled it.
    Pulled,
    /// Both sides were filled.
    Filled,
    /// Authority over the symbol ended.
    AuthorityEnded,
    /// Quoting was turned off for it.
    QuotingOff,
    /// The kill switch was engaged.
    KillSwitch,
    /// The exposure limit was lowered.
    LimitLowered,
    /// A fill could have brought the position past its limit, which was lowered.
    PositionLimit,
    /// The symbol's turn ended, and others wait.
    TurnEnded,
    /// The drawdown breaker of its quote asset tripped.
    Breaker,
    /// The symbol's protection tripped.
    Protection,
    /// A new leader could not prove its age.
    AgeUnproven,
    /// Another was to replace it, and was refused.
    Replaced,
}
