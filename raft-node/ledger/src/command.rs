//! What may be proposed to the ledger. Everything here is persisted in the log: variants and fields
//! are only ever added at the end, behind a new `ledger_version`; `tests/golden.rs` pins the bytes.

use serde::{Deserialize, Serialize};

use quorate_domain::{
    Account, ClientOrderId, ExchangeName, Exposure, MakerName, Millis, OrderId, OrderType, Price, Qty, QuoteId,
    QuoteSide, Side, Symbol, SymbolSpec, TimeInForce,
};

/// A session's id: the log index of its `OpenSession`. 0 stands for *no session*.
pub type SessionId = u64;
/// A maker's registration: the log index of its `RegisterMaker`.
pub type Incarnation = u64;
/// A symbol's fencing token: grows with each grant of authority, and only grows.
pub type Epoch = u64;
/// An exchange's fencing token: the log index of its `RegisterExchange`.
pub type ExchangeEpoch = u64;

/// One entry of the log, as the ledger sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Input {
    /// From a client, through a session.
    Client(Envelope),
    /// From the leader itself; proposed only under the leader's own term.
    Leader(LeaderCommand),
}

/// A client's command with what makes it exactly once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Envelope {
    /// The session, or 0 for a command that needs none (see [`Command::needs_session`]).
    #[serde(default)]
    pub session: SessionId,
    /// This command's number within the session, from 1; a retry keeps it. Ignored without a session.
    #[serde(default)]
    pub seq: u64,
    /// What to do.
    pub command: Command,
}

/// What only the leader proposes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum LeaderCommand {
    /// Something is due: carries nothing, for the sweep at the start of every apply does the work.
    Tick,
    /// The first entry of a leader's term.
    BeginTerm {
        /// The Raft term; at or below the last one begun, nothing happens.
        term: u64,
        /// Whether the leader can prove how old the quotes are; where not, they are pulled.
        quote_age_proven: bool,
        /// How far the anchor of this term lies ahead of the log time plus the elapsed monotonic
        /// time, in milliseconds: for the record, and for the alarm.
        clock_jump_ms: u64,
    },
}

/// What a client may propose.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Command {
    /// Opens a session; its id is the log index. Needs no session.
    OpenSession,
    /// Ends the session it is sent in.
    CloseSession,
    /// Adds a symbol. The same definition again is accepted and changes nothing.
    DefineSymbol(DefineSymbol),
    /// Sets the global exposure limit. Compare-and-set on the control version.
    SetExposureLimit(SetExposureLimit),
    /// Turns quoting on or off. Compare-and-set on the control version.
    SetQuoting(SetQuoting),
    /// Engages the kill switch, at any control version; or turns it off, by compare-and-set on the control version.
    SetKillSwitch(SetKillSwitch),
    /// Raises the ledger's semantics to a newer version. Compare-and-set on the control version.
    UpgradeLedger(UpgradeLedger),
    /// Joins the group of makers; ends an earlier incarnation of the same name.
    RegisterMaker(RegisterMaker),
    /// Extends the maker's one lease, and with it all symbols that are not moving.
    RenewMaker(MakerRef),
    /// Leaves: all of the maker's authority and quotes end in this apply.
    DeregisterMaker(MakerRef),
    /// Gives up one symbol, so that a move need not wait for the deadline.
    ReleaseSymbol(ReleaseSymbol),
    /// Places a two-sided quote, superseding the one before it.
    PlaceQuote(PlaceQuote),
    /// Ends the active quote.
    PullQuote(PullQuote),
    /// Joins as the exchange; fences every earlier one.
    RegisterExchange(RegisterExchange),
    /// One taker order, whole: its fills and what becomes of the rest.
    ExecuteOrder(ExecuteOrder),
    /// Ends an open order.
    CancelOrder(CancelOrder),
}

/// See [`Command::DefineSymbol`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DefineSymbol {
    /// The symbol.
    pub symbol: Symbol,
    /// Its fixed properties.
    pub spec: SymbolSpec,
}

/// See [`Command::SetExposureLimit`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SetExposureLimit {
    /// The new limit, each side, in `0..=HARD_EXPOSURE_LIMIT` exposure units.
    pub limit: Exposure,
    /// The control version this was decided on.
    pub control_version: u64,
}

/// See [`Command::SetQuoting`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SetQuoting {
    /// What it concerns.
    pub scope: QuotingScope,
    /// On, or off: off ends the quotes concerned in the same apply.
    pub on: bool,
    /// The control version this was decided on.
    pub control_version: u64,
}

/// What a change of quoting concerns. A quote needs all that cover it to be on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum QuotingScope {
    /// Every quote.
    All,
    /// The quotes of one symbol, which must be defined.
    Symbol(Symbol),
    /// The quotes of one maker, by its lasting name; it keeps its authority.
    Maker(MakerName),
}

/// See [`Command::SetKillSwitch`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SetKillSwitch {
    /// Engage it (ends all quotes and open orders, and stays), or turn it off.
    pub engaged: bool,
    /// To turn it off: the control version this was decided on. To engage it, nothing: it may be left out.
    #[serde(default)]
    pub control_version: u64,
}

/// See [`Command::UpgradeLedger`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct UpgradeLedger {
    /// The version to go to; below the present one it is refused.
    pub ledger_version: u32,
    /// The control version this was decided on.
    pub control_version: u64,
}

/// See [`Command::RegisterMaker`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RegisterMaker {
    /// The maker's lasting name.
    pub maker: MakerName,
    /// The lease, in `LEASE_TTL_MIN_MS..=LEASE_TTL_MAX_MS`.
    pub ttl_ms: u64,
}

/// A maker's incarnation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct MakerRef {
    /// The maker's lasting name.
    pub maker: MakerName,
    /// The index of its registration.
    pub incarnation: Incarnation,
}

/// See [`Command::ReleaseSymbol`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ReleaseSymbol {
    /// The symbol.
    pub symbol: Symbol,
    /// The epoch under which it is held.
    pub epoch: Epoch,
}

/// See [`Command::PlaceQuote`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PlaceQuote {
    /// The symbol.
    pub symbol: Symbol,
    /// The maker's incarnation.
    pub incarnation: Incarnation,
    /// The epoch under which the symbol is held.
    pub epoch: Epoch,
    /// Must be above every `quote_seq` accepted within the epoch.
    pub quote_seq: u64,
    /// The number of the symbol's quote fills that this quote was computed from.
    pub position_seq: u64,
    /// What to buy; `None` quotes one side only.
    pub bid: Option<QuoteSide>,
    /// What to sell; `None` quotes one side only. At least one side is needed, and bid < ask.
    pub ask: Option<QuoteSide>,
    /// Whether less than asked may be granted where exposure is short.
    pub allow_reduced: bool,
    /// Life from the commit, in `QUOTE_TTL_MIN_MS..=QUOTE_TTL_MAX_MS`.
    pub ttl_ms: u64,
    /// Why it is placed.
    pub cause: QuoteCause,
    /// The log index of the state that it was computed from.
    pub computed_at: u64,
}

/// Why a quote was placed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum QuoteCause {
    /// The committed position moved.
    Fill,
    /// The quote before it ran out.
    Expiry,
    /// The reference price moved.
    ReferenceMoved,
    /// It was time to refresh.
    Refresh,
    /// The maker came to hold the symbol.
    AuthorityGained,
}

/// See [`Command::PullQuote`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PullQuote {
    /// The symbol.
    pub symbol: Symbol,
    /// The epoch under which it is held.
    pub epoch: Epoch,
}

/// See [`Command::RegisterExchange`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RegisterExchange {
    /// The exchange's lasting name.
    pub exchange: ExchangeName,
}

/// See [`Command::ExecuteOrder`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ExecuteOrder {
    /// The exchange's fencing token.
    pub exchange_epoch: ExchangeEpoch,
    /// Exactly the last one accepted for this symbol in this epoch plus one; the first is 1.
    pub exec_id: u64,
    /// The lowest `exec_id` of this symbol that the exchange has no answer to, at most `exec_id`: the answers below it are kept no
    /// longer.
    #[serde(default)]
    pub answered_below: u64,
    /// Log time from which this is refused, at most `ORDER_DEADLINE_MAX_MS` ahead: when log time
    /// has passed it, an unanswered order is known not to have happened.
    pub deadline: Millis,
    /// The taker's order.
    pub order: NewOrder,
    /// Its fills, in the order in which they happen.
    pub fills: Vec<PlannedFill>,
    /// What becomes of what the fills leave.
    pub remainder: Remainder,
}

/// An external order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NewOrder {
    /// Whose it is.
    pub account: Account,
    /// Its name, unique for the account.
    pub client_order_id: ClientOrderId,
    /// The symbol.
    pub symbol: Symbol,
    /// Buy or sell.
    pub side: Side,
    /// Limit, market or post-only.
    pub order_type: OrderType,
    /// How long it lives.
    pub time_in_force: TimeInForce,
    /// Ticks; `None` for a market order and for no other.
    pub price: Option<Price>,
    /// Lots.
    pub qty: Qty,
    /// When the sender made it.
    pub timestamp: Millis,
}

/// One planned fill of a taker order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PlannedFill {
    /// What is hit.
    pub against: Against,
    /// The leaves that the planner saw there before this fill: compare-and-set.
    pub leaves: Qty,
    /// The resting side's price, in ticks.
    pub price: Price,
    /// Lots.
    pub qty: Qty,
}

/// What a fill is against.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Against {
    /// The opposite side of the symbol's quote.
    Quote(QuoteId),
    /// A resting order.
    Order(OrderId),
}

/// What becomes of what the fills leave of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Remainder {
    /// Nothing is left: the fills sum to the order's quantity.
    None,
    /// It rests in the book (`Gtc` only).
    Rest,
    /// It expires: nothing more to take, a fill-or-kill that could not fill, or a limit reached.
    Expire,
    /// A post-only order that would have taken; no fills.
    Reject,
}

/// See [`Command::CancelOrder`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CancelOrder {
    /// The exchange's fencing token.
    pub exchange_epoch: ExchangeEpoch,
    /// Whose order.
    pub account: Account,
    /// Which order.
    pub order_id: OrderId,
}

impl Command {
    /// Whether it must come in a session. Only `OpenSession` and the compare-and-set commands of
    /// control, which a repeat cannot harm, may come without.
    #[must_use]
    pub fn needs_session(&self) -> bool {
        !matches!(
            self,
            Self::OpenSession
                | Self::SetExposureLimit(_)
                | Self::SetQuoting(_)
                | Self::SetKillSwitch(_)
                | Self::UpgradeLedger(_)
        )
    }

    /// The command's name, as in JSON: for metrics and messages.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::OpenSession => "open_session",
            Self::CloseSession => "close_session",
            Self::DefineSymbol(_) => "define_symbol",
            Self::SetExposureLimit(_) => "set_exposure_limit",
            Self::SetQuoting(_) => "set_quoting",
            Self::SetKillSwitch(_) => "set_kill_switch",
            Self::UpgradeLedger(_) => "upgrade_ledger",
            Self::RegisterMaker(_) => "register_maker",
            Self::RenewMaker(_) => "renew_maker",
            Self::DeregisterMaker(_) => "deregister_maker",
            Self::ReleaseSymbol(_) => "release_symbol",
            Self::PlaceQuote(_) => "place_quote",
            Self::PullQuote(_) => "pull_quote",
            Self::RegisterExchange(_) => "register_exchange",
            Self::ExecuteOrder(_) => "execute_order",
            Self::CancelOrder(_) => "cancel_order",
        }
    }

    /// Whether overload must not refuse it: renewals, what frees exposure, and control.
    #[must_use]
    pub fn is_urgent(&self) -> bool {
        matches!(
            self,
            Self::RenewMaker(_)
                | Self::DeregisterMaker(_)
                | Self::ReleaseSymbol(_)
                | Self::PullQuote(_)
                | Self::SetExposureLimit(_)
                | Self::SetQuoting(_)
                | Self::SetKillSwitch(_)
        )
    }
}
