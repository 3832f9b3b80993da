//! Refusals by the rules of the business: values, with the facts that their senders need to act on.

use std::fmt;

use quorate_domain::{
    Account, Asset, ClientOrderId, Exposure, MakerName, Millis, Money, OrderId, Position, Price, Qty, Side, Symbol,
};
use serde::{Deserialize, Serialize};

use crate::{
    answer::OrderResult,
    command::{Against, Epoch, ExchangeEpoch, Incarnation, QuotingScope, SessionId},
    digest::Digest,
};

/// Why a command was refused. Within a command the checks run in the order that
/// `docs/ledger.md` gives, and the first that fails answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Refusal {
    // --- sessions
    /// The command came with session 0.
    #[error("this command needs a session: send open_session first")]
    SessionRequired,
    /// Unknown or evicted: whether the command was ever applied is *unknown*; resolve by business key.
    #[error("session {session} is unknown or expired: what was sent in it is unknown, not failed")]
    SessionExpired {
        /// The session named.
        session: SessionId,
    },
    /// The seq was used for other content.
    #[error("seq {seq} was used for another command")]
    SeqReused {
        /// The seq.
        seq: u64,
    },
    /// Below the window of kept answers (or 0): whether it was applied is *unknown*.
    #[error("seq {seq} is below the window of kept answers, which starts at {window_from}")]
    SeqTooOld {
        /// The seq.
        seq: u64,
        /// The lowest seq that can be answered.
        window_from: u64,
    },
    /// Every session is in use and none has been idle long enough.
    #[error("all {max} sessions are in use: close one, or try again in a minute")]
    TooManySessions {
        /// The bound.
        max: u64,
    },

    // --- form
    /// A field is out of its range; `what` names field and range.
    #[error("invalid: {what}")]
    Invalid {
        /// Field and range.
        what: String,
    },
    /// A table is full.
    #[error("no room for more {what}: at most {max}")]
    Full {
        /// What there is too much of.
        what: String,
        /// The bound.
        max: u64,
    },
    /// The symbol is not defined.
    #[error("symbol {symbol} is not defined")]
    UnknownSymbol {
        /// The symbol named.
        symbol: Symbol,
    },
    /// The symbol is defined with another instrument.
    #[error("symbol {symbol} is defined already, with another instrument")]
    SymbolExists {
        /// The symbol named.
        symbol: Symbol,
    },

    /// The symbol has ended.
    #[error("symbol {symbol} is closed")]
    SymbolClosed {
        /// The symbol.
        symbol: Symbol,
        /// At which price it was settled, in ticks; `None` where it was only closed.
        settled: Option<Price>,
    },
    /// The instrument has another revision.
    #[error("the instrument's revision is {revision}: read it again")]
    StaleRevision {
        /// The present one.
        revision: u64,
    },
    /// No symbol is traded in this asset.
    #[error("no symbol is traded in {asset}")]
    UnknownAsset {
        /// The asset named.
        asset: Asset,
    },

    // --- control
    /// Symbols are defined already.
    #[error("symbols are defined already: the basis is chosen before the first one")]
    SymbolsDefined,
    /// In the basis of worst loss all symbols are quoted in one asset.
    #[error("exposure is counted in {asset}: a symbol must be quoted in it")]
    OtherQuoteAsset {
        /// The asset of the basis.
        asset: Asset,
    },
    /// Something of the symbol is under way.
    #[error("{symbol} has a quote, an open order or a move under way: turn quoting off for it, and cancel its orders")]
    SymbolBusy {
        /// The symbol.
        symbol: Symbol,
    },
    /// The breaker is armed.
    #[error("the drawdown breaker of {asset} has not tripped")]
    NotTripped {
        /// The asset.
        asset: Asset,
    },
    /// The account cannot be limited now.
    #[error("account {account} has open orders or owes something: cancel them, and deposit what it owes")]
    AccountBusy {
        /// The account.
        account: Account,
    },
    /// The control version moved on.
    #[error("control version is {control_version}: read again and decide again")]
    ControlVersion {
        /// The present one.
        control_version: u64,
    },
    /// The limit asked for lies outside `0..=HARD_EXPOSURE_LIMIT`.
    #[error("the limit must lie between 0 and {hard_limit}")]
    LimitOutOfRange {
        /// The hard limit.
        hard_limit: Exposure,
    },
    /// The version asked for is below the present one, or above what this program knows.
    #[error("ledger version is {present}, and this program knows up to {known}")]
    LedgerVersion {
        /// The present version.
        present: u32,
        /// The highest known.
        known: u32,
    },
    /// The kill switch is engaged.
    #[error("the kill switch is engaged since control version {control_version}")]
    KillSwitch {
        /// The present control version.
        control_version: u64,
    },
    /// Quoting is off for this quote.
    #[error("quoting is off for {scope}")]
    QuotingOff {
        /// The widest scope that is off.
        scope: QuotingScope,
    },

    /// The drawdown breaker has tripped.
    #[error("the drawdown breaker of {asset} has tripped: an operator must rearm it")]
    BreakerTripped {
        /// The quote asset.
        asset: Asset,
    },
    /// The symbol's protection has tripped.
    #[error("the protection of the symbol has tripped: it is not quoted until {until}")]
    Paused {
        /// Until then.
        until: Millis,
    },

    // --- makers and authority
    /// Not registered, or this incarnation has ended.
    #[error("incarnation {incarnation} is not the maker's present one: register again")]
    UnknownMaker {
        /// The incarnation named.
        incarnation: Incarnation,
        /// The present one of that name, where the name is known.
        present: Option<Incarnation>,
    },
    /// The epoch named is not the one under which the symbol is held, or nobody holds it.
    #[error("{symbol} is at epoch {epoch}, {}", held_by(holder.as_ref()))]
    StaleEpoch {
        /// The symbol.
        symbol: Symbol,
        /// Its present epoch.
        epoch: Epoch,
        /// Who holds it.
        holder: Option<MakerName>,
    },
    /// The authority has run out in log time.
    #[error("authority over {symbol} ended at {deadline}")]
    AuthorityExpired {
        /// The symbol.
        symbol: Symbol,
        /// When it ended.
        deadline: Millis,
    },

    /// The secret is not that of the incarnation.
    #[error("the secret is not that of {maker}'s present incarnation: another process runs under this name")]
    WrongSecret {
        /// The maker.
        maker: MakerName,
    },

    // --- quotes
    /// The digest of the parameters is not the one that the maker committed last for this symbol.
    #[error("these parameters were not committed: commit_parameters first, then quote with their digest")]
    UnknownParameters {
        /// The one committed, if any.
        committed: Option<Digest>,
    },
    /// A newer quote was accepted in this epoch; it stands.
    #[error("quote_seq must be above {last}")]
    StaleQuoteSeq {
        /// The highest accepted in this epoch.
        last: u64,
    },
    /// Computed from an older position (or from one that does not exist).
    #[error("position_seq is {position_seq}, the position {position}")]
    StalePosition {
        /// The committed number of quote fills.
        position_seq: u64,
        /// The committed position.
        position: Position,
    },
    /// The quote would take from a resting order.
    #[error("the {} would cross a resting order at {price}", if *side == Side::Buy { "bid" } else { "ask" })]
    CrossesResting {
        /// The quote's side: `Buy` for the bid.
        side: Side,
        /// The best resting price on the other side.
        price: Price,
    },
    /// Not enough exposure is free for what was asked (all of it, where no reduction is allowed).
    #[error("exposure is short: {long_free} long and {short_free} short are free for this symbol")]
    ExposureShort {
        /// Free for the bid, counting what this symbol's quote holds already.
        long_free: Exposure,
        /// Free for the ask, likewise.
        short_free: Exposure,
    },

    /// One lot is more than the limit: the symbol cannot be quoted so, and does not wait.
    #[error("one lot is {lot} of exposure, and the limit is {limit}: raise the limit, or define smaller lots")]
    TooHeavy {
        /// Exposure of one lot.
        lot: Exposure,
        /// The limit, each side.
        limit: Exposure,
    },
    /// The symbol's position may not grow that far.
    #[error("the position is {position}, and may be at most {max} lots long or short")]
    PositionLimit {
        /// The committed position.
        position: Position,
        /// The largest one.
        max: Qty,
    },

    // --- exchange and orders
    /// Another exchange has registered since, or none has.
    #[error("exchange epoch is {exchange_epoch}: this exchange is fenced")]
    StaleExchange {
        /// The present one, 0 where none.
        exchange_epoch: ExchangeEpoch,
    },
    /// Not the last `exec_id` plus one: something before it was refused or has not arrived.
    #[error("exec_id must be {expected}")]
    ExecGap {
        /// The one expected.
        expected: u64,
    },
    /// As many answers to executions are kept as there may be.
    #[error(
        "answers to {max} executions are kept, and the exchange has said of none that it has them: try again later"
    )]
    ExecWindowFull {
        /// The most that are kept.
        max: u64,
    },
    /// An `exec_id` that was used, with other content, or too long ago to compare.
    #[error("exec_id {exec_id} was used for another order, or its answer is no longer kept")]
    ExecReused {
        /// The id.
        exec_id: u64,
    },
    /// Log time has passed the order's own deadline.
    #[error("the order's deadline has passed: log time is {log_time}")]
    DeadlinePassed {
        /// Log time.
        log_time: Millis,
    },
    /// (account, client order id) is known: where that order stands, and whether it was the same.
    #[error("client order id {client_order_id} is in use by order {}", result.order_id)]
    DuplicateOrder {
        /// The id.
        client_order_id: ClientOrderId,
        /// Whether the order known has the same symbol, side, type, time in force, price and quantity.
        same: bool,
        /// Where that order stands now; `trades` is empty.
        result: OrderResult,
    },
    /// The account holds as many order names, of open orders and of those closed not long ago, as it may.
    #[error(
        "account {account} has as many order names as it may hold now, {max}: they are free again some time after the orders close"
    )]
    NamesFull {
        /// Whose order it is.
        account: Account,
        /// How many it may hold now.
        max: u64,
    },
    /// What the plan would hit is not there (replaced, expired, filled, cancelled).
    #[error("{against} is not active")]
    NotActive {
        /// The quote or order named.
        against: Against,
    },
    /// The leaves differ from what the plan saw.
    #[error("{against} has {leaves} leaves")]
    LeavesMoved {
        /// The quote or order named.
        against: Against,
        /// Its leaves now.
        leaves: Qty,
    },
    /// The price planned is not the resting side's, or does not cross the order's.
    #[error("{against} is at {price}, which the order does not cross")]
    DoesNotCross {
        /// The quote or order named.
        against: Against,
        /// Its price.
        price: Price,
    },
    /// The remainder would rest across the book.
    #[error("resting there would cross {against} at {price}")]
    WouldCross {
        /// What it would cross.
        against: Against,
        /// The price of that.
        price: Price,
    },
    /// The account has too little.
    #[error("{free} {asset} are free, and {needed} are needed")]
    BalanceShort {
        /// The asset.
        asset: Asset,
        /// What is free of it.
        free: Money,
        /// What this takes or locks.
        needed: Money,
    },
    /// A position or a sum would leave its range.
    #[error("this would overflow {what}")]
    Overflow {
        /// What would overflow.
        what: String,
    },
    /// No order with this id is known for this account.
    #[error("account {account} has no order {order_id}")]
    UnknownOrder {
        /// The account.
        account: Account,
        /// The id.
        order_id: OrderId,
    },
    /// The order is closed.
    #[error("order {} is closed", result.order_id)]
    OrderClosed {
        /// Where it ended.
        result: OrderResult,
    },
}

/// What kind of refusal it is: what it says of the command, and so what its sender is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RefusalClass {
    /// The session cannot tell: it says nothing about the command.
    Session,
    /// The command is not well formed, or cannot be carried out in numbers. It stays so.
    Form,
    /// It names something that is not there, or is there already in another form.
    Unknown,
    /// A control command that was decided on another state, or is out of range.
    Control,
    /// People have stopped it.
    Stopped,
    /// The sender is no longer the one who may.
    Fenced,
    /// A fact that it was decided on has moved: decide again.
    Moved,
    /// Something before it was refused or is still on its way, or its answer could not be kept: send it again later.
    OutOfTurn,
    /// The sender's own numbers are wrong.
    Contradiction,
    /// There is no room now.
    Full,
    /// It came too late.
    Late,
    /// The order's name is known, or the order is closed.
    Known,
}

impl Refusal {
    /// Its class.
    #[must_use]
    pub fn class(&self) -> RefusalClass {
        match self {
            Self::SessionRequired | Self::SessionExpired { .. } | Self::SeqReused { .. } | Self::SeqTooOld { .. } => {
                RefusalClass::Session
            }
            Self::Invalid { .. } | Self::Overflow { .. } | Self::OtherQuoteAsset { .. } => RefusalClass::Form,
            Self::UnknownSymbol { .. }
            | Self::SymbolExists { .. }
            | Self::UnknownParameters { .. }
            | Self::SymbolClosed { .. }
            | Self::UnknownAsset { .. }
            | Self::UnknownOrder { .. } => RefusalClass::Unknown,
            Self::ControlVersion { .. }
            | Self::LimitOutOfRange { .. }
            | Self::SymbolBusy { .. }
            | Self::SymbolsDefined
            | Self::NotTripped { .. }
            | Self::AccountBusy { .. }
            | Self::LedgerVersion { .. } => RefusalClass::Control,
            Self::KillSwitch { .. } | Self::QuotingOff { .. } | Self::BreakerTripped { .. } | Self::Paused { .. } => {
                RefusalClass::Stopped
            }
            Self::UnknownMaker { .. }
            | Self::StaleEpoch { .. }
            | Self::AuthorityExpired { .. }
            | Self::WrongSecret { .. }
            | Self::StaleExchange { .. } => RefusalClass::Fenced,
            Self::StaleQuoteSeq { .. }
            | Self::StaleRevision { .. }
            | Self::StalePosition { .. }
            | Self::CrossesResting { .. }
            | Self::NotActive { .. }
            | Self::LeavesMoved { .. }
            | Self::DoesNotCross { .. }
            | Self::WouldCross { .. } => RefusalClass::Moved,
            Self::ExecGap { .. } | Self::ExecWindowFull { .. } => RefusalClass::OutOfTurn,
            Self::ExecReused { .. } => RefusalClass::Contradiction,
            Self::TooManySessions { .. }
            | Self::Full { .. }
            | Self::ExposureShort { .. }
            | Self::BalanceShort { .. }
            | Self::TooHeavy { .. }
            | Self::PositionLimit { .. }
            | Self::NamesFull { .. } => RefusalClass::Full,
            Self::DeadlinePassed { .. } => RefusalClass::Late,
            Self::DuplicateOrder { .. } | Self::OrderClosed { .. } => RefusalClass::Known,
        }
    }
}

impl fmt::Display for Against {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Quote(id) => write!(f, "quote {id}"),
            Self::Order(id) => write!(f, "order {id}"),
        }
    }
}

impl fmt::Display for QuotingScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("every quote"),
            Self::Symbol(symbol) => write!(f, "symbol {symbol}"),
            Self::Maker(maker) => write!(f, "maker {maker}"),
        }
    }
}

fn held_by(holder: Option<&MakerName>) -> String {
    holder.map_or_else(|| "held by nobody".to_owned(), |holder| format!("held by {holder}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_told_in_words() {
        let (symbol, maker): (Symbol, MakerName) =
            ("AB".parse().expect("a symbol"), "maker-a".parse().expect("a name"));
        let stale = |holder| Refusal::StaleEpoch { symbol: symbol.clone(), epoch: 3, holder };
        let table = [
            (stale(Some(maker.clone())), "AB is at epoch 3, held by maker-a"),
            (stale(None), "AB is at epoch 3, held by nobody"),
            (Refusal::QuotingOff { scope: QuotingScope::All }, "quoting is off for every quote"),
            (Refusal::QuotingOff { scope: QuotingScope::Maker(maker) }, "quoting is off for maker maker-a"),
            (Refusal::CrossesResting { side: Side::Buy, price: Price(5) }, "the bid would cross a resting order at 5"),
            (Refusal::NotActive { against: Against::Quote(7) }, "quote 7 is not active"),
            (Refusal::LeavesMoved { against: Against::Order(8), leaves: Qty(2) }, "order 8 has 2 leaves"),
        ];
        for (refusal, wanted) in table {
            assert_eq!(refusal.to_string(), wanted);
        }
    }
}
