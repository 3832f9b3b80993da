//! What goes into the quoter, and what comes out.

use std::time::Duration;

use quorate_domain::{MakerName, OrderId, Position, Price, QuoteId, Side, Symbol};
use quorate_ledger::{Command, Epoch, Frame, Incarnation, Reference, Response};

/// Ties a command to its answer: from 1, never used again by this quoter.
pub type CommandId = u64;
/// Ties a wish to read to what was read: from 1, growing.
pub type ReadId = u64;

/// What happens to a maker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// Time has passed, nothing else.
    Timer,
    /// What became of a command. Every [`Output::Submit`] must be answered once.
    Answered {
        /// The command.
        id: CommandId,
        /// What became of it.
        answer: Answered,
    },
    /// The next frame of the event stream. Frames come in the order of their indexes.
    Frame(Frame),
    /// What was read for [`Output::Read`].
    Snapshot {
        /// The wish that it was read for: the read began after it.
        id: ReadId,
        /// What was read.
        snapshot: Snapshot,
    },
    /// The reference prices as they are known just now.
    References(Vec<Observed>),
    /// Frames were missed and the stream starts anew: what is known may be too old to act on.
    StreamRestarted,
    /// Leave the group, then say [`Output::Left`].
    Leave,
}

/// A reference price that somebody told, and how old it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    /// The symbol.
    pub symbol: Symbol,
    /// The price, with its source, its number and its time.
    pub reference: Reference,
    /// The time since its source said last that it stands: not since somebody asked for it.
    pub age: Duration,
}

/// What became of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answered {
    /// The ledger applied it: accepted or refused.
    Response(Response),
    /// It was certainly not applied.
    NotApplied,
    /// It may be applied, or not, or later. For a registration only *or not*: it is settled before it
    /// is answered, for one that is applied late would end the registration that followed it.
    Unknown,
}

/// The state as it was read. Its parts may be of different indexes, none below `index`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Snapshot {
    /// The lowest index that any part was read at.
    pub index: u64,
    /// Every defined symbol.
    pub symbols: Vec<SymbolSnapshot>,
    /// Version of the control state.
    pub control_version: u64,
    /// Whether the kill switch is engaged.
    pub kill_switch: bool,
    /// Whether quoting is on at all.
    pub quoting: bool,
    /// Symbols for which it is off.
    pub symbols_off: Vec<Symbol>,
    /// Makers for which it is off.
    pub makers_off: Vec<MakerName>,
    /// Every open order that has a price.
    pub orders: Vec<RestingOrder>,
}

/// An order that rests at the exchange.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestingOrder {
    /// Its id: the log index at which it was executed.
    pub order_id: OrderId,
    /// The symbol.
    pub symbol: Symbol,
    /// Its side.
    pub side: Side,
    /// Its price.
    pub price: Price,
}

/// One symbol of a [`Snapshot`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SymbolSnapshot {
    /// The symbol.
    pub symbol: Symbol,
    /// How many quote fills the position is the sum of.
    pub position_seq: u64,
    /// The position, in lots.
    pub position: Position,
    /// The present epoch.
    pub epoch: Epoch,
    /// Who holds it.
    pub incarnation: Option<Incarnation>,
    /// Whether it is to move to another maker.
    pub moving: bool,
    /// Its active quote.
    pub quote: Option<QuoteId>,
}

/// What the maker does.
#[expect(clippy::large_enum_variant, reason = "there are few at a time, and they are carried out at once")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Send this command, and answer with [`Input::Answered`].
    Submit {
        /// Its id.
        id: CommandId,
        /// The command.
        command: Command,
    },
    /// Read the state, linearizably, beginning after this; answer with [`Input::Snapshot`]. A newer
    /// wish replaces an older one.
    Read(ReadId),
    /// A belief of authority began, was extended, or ended.
    Belief(Belief),
    /// Whether a symbol that is held has a price to quote on changed. Each has one until it is said otherwise.
    Priced(Symbol, Priced),
    /// Call again at this monotonic instant at the latest. Replaces the one before.
    WakeAt(Duration),
    /// The maker has left: nothing is believed, nothing will be sent.
    Left,
}

/// A change in what the maker believes to hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Belief {
    /// The symbol.
    pub symbol: Symbol,
    /// The epoch under which it is held.
    pub epoch: Epoch,
    /// The maker's incarnation.
    pub incarnation: Incarnation,
    /// What changed.
    pub change: BeliefChange,
    /// Since when, on the maker's monotonic clock.
    pub from: Duration,
    /// Until when at most; where it ended, when that was.
    pub until: Duration,
}

/// Whether a symbol has a price to quote on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Priced {
    /// It has one that is fresh enough.
    Fresh,
    /// Its price is older than it may be: the quote is pulled, and none is placed.
    Stale {
        /// How old it is.
        age: Duration,
    },
    /// None has ever come, for as long as a price may be old at most since the symbol is held.
    Missing,
}

/// What changed in a belief.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BeliefChange {
    /// It began.
    Gained,
    /// Its deadline moved on.
    Renewed,
    /// It ended.
    Ended,
}
