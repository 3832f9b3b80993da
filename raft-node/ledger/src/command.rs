//! What may be proposed to the ledger. Everything here is persisted in the log: variants and fields
//! are only ever added at the end, behind a new `ledger_version`; `tests/golden.rs` pins the bytes.

use serde::{Deserialize, Serialize};

use quorate_domain::{
    Account, ActorName, Asset, ClientOrderId, ExchangeName, Exposure, ExposureBasis, Instrument, MakerName, Millis,
    Money, OrderId, OrderType, Price, Protection, Qty, QuoteId, QuoteSide, RefPrice, Side, Sides, SourceName,
    StrategyName, Symbol, TimeInForce,
};

#[cfg(feature = "openapi")]
use crate::bounds::STRATEGY_STATE_MAX;
use crate::{
    digest::Digest,
    secret::{Secret, SecretHash},
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
#[expect(clippy::large_enum_variant, reason = "nearly every entry is a client's")]
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

impl Envelope {
    /// How many bytes its entry of the log takes, as an [`Input`]: nobody may propose more than
    /// [`ENTRY_MAX_BYTES`](crate::bounds::ENTRY_MAX_BYTES).
    #[must_use]
    pub fn entry_len(&self) -> usize {
        let len = postcard::serialize_with_flavor(self, postcard::ser_flavors::Size::default());
        1 + len.expect("plain data always has a size")
    }
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
    /// What people decide. Compare-and-set on the control version, except for engaging the kill switch.
    Control(ControlCommand),
    /// Joins the group of makers; ends an earlier incarnation of the same name.
    RegisterMaker(RegisterMaker),
    /// Extends the maker's one lease, and with it all symbols that are not moving.
    RenewMaker(MakerRef),
    /// Leaves: all of the maker's authority and quotes end in this apply.
    DeregisterMaker(MakerRef),
    /// Says what the maker's quotes of a symbol are computed with.
    CommitParameters(CommitParameters),
    /// Gives up one symbol, so that a move need not wait for the deadline.
    ReleaseSymbol(ReleaseSymbol),
    /// Places a two-sided quote, superseding the one before it.
    PlaceQuote(PlaceQuote),
    /// Extends the life of the active quote, as it is.
    KeepQuote(KeepQuote),
    /// Ends the active quote.
    PullQuote(PullQuote),
    /// Joins as the exchange; fences every earlier one.
    RegisterExchange(RegisterExchange),
    /// One taker order, whole: its fills and what becomes of the rest.
    ExecuteOrder(ExecuteOrder),
    /// Ends an open order.
    CancelOrder(CancelOrder),
    /// Says where the prices are, as the exchange believes them.
    PublishMarks(PublishMarks),
    /// Says for which symbols the exchange has a price source.
    SetListing(SetListing),
}

/// See [`Command::DefineSymbol`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DefineSymbol {
    /// The symbol.
    pub symbol: Symbol,
    /// What is traded.
    pub instrument: Instrument,
}

/// See [`Command::Control`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ControlCommand {
    /// Who decided it: a person, or the program that acts for one.
    pub actor: ActorName,
    /// Why, in `1..=REASON_MAX` bytes of text.
    pub reason: String,
    /// The control version this was decided on. To engage the kill switch it may be left out.
    #[serde(default)]
    pub control_version: u64,
    /// What is to change.
    pub change: ControlChange,
}

/// What people decide.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum ControlChange {
    /// The exposure limit, each side.
    ExposureLimit {
        /// In units of exposure, `0..=HARD_EXPOSURE_LIMIT`; or in 10^-12 of the basis' asset, `0..=WORST_LOSS_LIMIT_MAX`.
        limit: Exposure,
    },
    /// How exposure is counted, with the limit by that count.
    ExposureBasis {
        /// From now on; no symbol may be defined yet.
        basis: ExposureBasis,
        /// In units of exposure, `0..=HARD_EXPOSURE_LIMIT`; or in 10^-12 of the asset, `0..=WORST_LOSS_LIMIT_MAX`.
        limit: Exposure,
    },
    /// The largest position of a symbol.
    PositionLimit {
        /// The symbol, which must be defined.
        symbol: Symbol,
        /// Lots, in `0..=MAX_QTY`, long or short; `None` for no limit.
        max: Option<Qty>,
    },
    /// The next revision of a symbol's instrument.
    Instrument {
        /// The symbol, of which no quote stands, no order is open, and which does not move.
        symbol: Symbol,
        /// What it is from now on; base, quote, lot size and kind stay.
        instrument: Instrument,
        /// The number of this revision: the present one plus 1.
        revision: u64,
    },
    /// The market-maker protection of a symbol.
    Protection {
        /// The symbol, which must be defined.
        symbol: Symbol,
        /// From now on; `None` for none.
        protection: Option<Protection>,
    },
    /// The most that the equity of a quote asset may fall below its high-water mark.
    DrawdownLimit {
        /// The quote asset of some symbol.
        asset: Asset,
        /// From now on; `None` for none.
        limit: Option<Money>,
    },
    /// Ends the trip of a drawdown breaker: the high-water mark is the present equity.
    Rearm {
        /// The quote asset.
        asset: Asset,
    },
    /// An account may not go below 0 from now on.
    LimitAccount {
        /// The account.
        account: Account,
    },
    /// Puts so much of an asset into an account, or takes it out.
    Deposit {
        /// The account.
        account: Account,
        /// The asset.
        asset: Asset,
        /// In 10^-12 of the asset; below 0 it is taken out.
        amount: Money,
    },
    /// Ends a binary symbol: positions and contracts become cash.
    Settle {
        /// The symbol.
        symbol: Symbol,
        /// Ticks: 0, or what the contract pays.
        price: Price,
    },
    /// Ends a spot symbol.
    CloseSymbol {
        /// The symbol.
        symbol: Symbol,
    },
    /// Quoting, on or off.
    Quoting {
        /// What it concerns.
        scope: QuotingScope,
        /// On, or off: off ends the quotes concerned in the same apply.
        on: bool,
    },
    /// The kill switch.
    KillSwitch {
        /// Engage it (ends all quotes and open orders, and stays), or turn it off.
        engaged: bool,
    },
    /// The ledger's semantics.
    LedgerVersion {
        /// The version to go to; below the present one it is refused.
        version: u32,
    },
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

/// See [`Command::RegisterMaker`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RegisterMaker {
    /// The maker's lasting name.
    pub maker: MakerName,
    /// The lease, in `LEASE_TTL_MIN_MS..=LEASE_TTL_MAX_MS`.
    pub ttl_ms: u64,
    /// The BLAKE3 hash of the secret that this incarnation's commands will carry.
    pub secret_hash: SecretHash,
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
    /// The secret of this incarnation.
    pub secret: Secret,
}

/// See [`Command::CommitParameters`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CommitParameters {
    /// The maker's lasting name.
    pub maker: MakerName,
    /// The index of its registration.
    pub incarnation: Incarnation,
    /// The secret of this incarnation.
    pub secret: Secret,
    /// The symbol, which the maker need not hold.
    pub symbol: Symbol,
    /// The parameters, in `1..=PARAMETERS_MAX` bytes, in whatever form the strategy reads them.
    pub text: String,
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
    /// The secret of the holder's incarnation.
    pub secret: Secret,
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
    /// The secret of this incarnation.
    pub secret: Secret,
    /// The epoch under which the symbol is held.
    pub epoch: Epoch,
    /// The revision of the instrument that it was computed for.
    pub revision: u64,
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
    /// What it was computed from.
    pub basis: QuoteBasis,
}

/// What a quote was computed from: enough to compute it again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct QuoteBasis {
    /// The log index of the state that it was computed from.
    pub computed_at: u64,
    /// The price that it was computed from; `None` where the price is the strategy's own state.
    pub reference: Option<Reference>,
    /// Lots that the maker took to be free on each side; `None` where it did not look.
    #[serde(default)]
    pub room: Option<Sides<Qty>>,
    /// The strategy's name.
    pub strategy: StrategyName,
    /// The strategy's version: grows when what it computes changes.
    pub version: u32,
    /// The digest of its parameters, as the maker committed them for this symbol.
    pub parameters: Digest,
    /// The strategy's own state, where it has one: at most `STRATEGY_STATE_MAX` bytes.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(schema_with = bytes))]
    pub state: Vec<u8>,
}

/// Bytes, each a number.
#[cfg(feature = "openapi")]
fn bytes() -> utoipa::openapi::schema::Array {
    use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, Type};
    let byte = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0)).maximum(Some(u8::MAX));
    ArrayBuilder::new().items(byte).max_items(Some(STRATEGY_STATE_MAX)).build()
}

/// A reference price: a fact about the world outside, with where it came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Reference {
    /// From which source.
    pub source: SourceName,
    /// Half ticks.
    pub price: RefPrice,
    /// The source's own number for it.
    pub seq: u64,
    /// When the source last changed or confirmed it, in milliseconds since the Unix epoch.
    pub time: Millis,
}

/// See [`Command::KeepQuote`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct KeepQuote {
    /// The symbol.
    pub symbol: Symbol,
    /// The maker's incarnation.
    pub incarnation: Incarnation,
    /// The secret of this incarnation.
    pub secret: Secret,
    /// The epoch under which the symbol is held.
    pub epoch: Epoch,
    /// The revision of the instrument.
    pub revision: u64,
    /// Must be above every `quote_seq` accepted within the epoch.
    pub quote_seq: u64,
    /// The quote to keep.
    pub quote_id: QuoteId,
    /// The number of the symbol's quote fills: the present one, and that with which the quote was placed.
    pub position_seq: u64,
    /// Life from the commit, in `QUOTE_TTL_MIN_MS..=QUOTE_TTL_MAX_MS`.
    pub ttl_ms: u64,
    /// What the maker compared the quote with.
    pub basis: QuoteBasis,
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
    /// The secret of the holder's incarnation.
    pub secret: Secret,
    /// Must be above every `quote_seq` accepted within the epoch.
    pub quote_seq: u64,
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
    /// The same of one other symbol, of which the ledger may hear nothing for long.
    #[serde(default)]
    pub also_answered: Option<AnsweredBelow>,
    /// The revision of the instrument that it was planned for.
    pub revision: u64,
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

/// Which answers of a symbol its exchange has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AnsweredBelow {
    /// Not the symbol of the order that says so.
    pub symbol: Symbol,
    /// The lowest `exec_id` that the exchange has no answer to, at most the symbol's last one plus one.
    pub below: u64,
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

/// See [`Command::PublishMarks`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PublishMarks {
    /// The exchange's fencing token.
    pub exchange_epoch: ExchangeEpoch,
    /// In the order of symbols, each once; `1..=SYMBOLS_MAX`.
    pub marks: Vec<SymbolMark>,
}

/// Where a symbol's price is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SymbolMark {
    /// The symbol.
    pub symbol: Symbol,
    /// The revision of the instrument whose ticks are meant.
    pub revision: u64,
    /// Half ticks.
    pub price: RefPrice,
    /// When the source last changed or confirmed it, in milliseconds since the Unix epoch.
    pub time: Millis,
}

/// See [`Command::SetListing`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SetListing {
    /// The exchange's fencing token.
    pub exchange_epoch: ExchangeEpoch,
    /// All of them, in order, each once.
    pub symbols: Vec<Symbol>,
}

impl Command {
    /// Whether it must come in a session. Only `OpenSession` and `Control`, which is a compare-and-set that a repeat cannot
    /// harm, may come without.
    #[must_use]
    pub fn needs_session(&self) -> bool {
        !matches!(self, Self::OpenSession | Self::Control(_))
    }

    /// The command's name, as in JSON: for metrics and messages.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::OpenSession => "open_session",
            Self::CloseSession => "close_session",
            Self::DefineSymbol(_) => "define_symbol",
            Self::Control(_) => "control",
            Self::RegisterMaker(_) => "register_maker",
            Self::RenewMaker(_) => "renew_maker",
            Self::DeregisterMaker(_) => "deregister_maker",
            Self::CommitParameters(_) => "commit_parameters",
            Self::ReleaseSymbol(_) => "release_symbol",
            Self::PlaceQuote(_) => "place_quote",
            Self::KeepQuote(_) => "keep_quote",
            Self::PullQuote(_) => "pull_quote",
            Self::RegisterExchange(_) => "register_exchange",
            Self::ExecuteOrder(_) => "execute_order",
            Self::CancelOrder(_) => "cancel_order",
            Self::PublishMarks(_) => "publish_marks",
            Self::SetListing(_) => "set_listing",
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
                | Self::Control(_)
        )
    }
}
