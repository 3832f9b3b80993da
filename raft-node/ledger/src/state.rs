//! The tables of the ledger: all that is true, and nothing that can be derived from it.
//!
//! Invariant: every table is bounded (`bounds.rs`) and ordered, and the large ones are persistent maps,
//! so that a clone of the ledger is cheap whatever it holds. What follows from the tables stands in
//! `Indexes`. Nothing here decides; readers take what they need, and only `apply` writes.

use std::{collections::BTreeSet, sync::Arc};

use imbl::{OrdMap, OrdSet};
use serde::{Deserialize, Serialize};

use crate::{
    accounts::AccountState,
    answer::{OrderResult, OrderStatus, Response, Trade},
    bounds::HARD_EXPOSURE_LIMIT,
    command::{Epoch, ExchangeEpoch, Incarnation, NewOrder, QuoteBasis, QuoteCause, QuotingScope, SessionId},
    control::hard_limit,
    digest::Digest,
    event::Turn,
    names::Names,
    secret::SecretHash,
};

use quorate_domain::{
    Account, Asset, ClientOrderId, Drawdown, ExchangeName, Exposure, ExposureBasis, Instrument, MakerName, Marks,
    Millis, Money, OrderId, Pnl, Position, Price, Protection, ProtectionState, Qty, QuoteId, Side, Sides, Symbol,
};

/// What people switch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Control {
    /// Grows by one with each accepted control command.
    pub version: u64,
    /// How exposure is counted.
    pub basis: ExposureBasis,
    /// The exposure limit, each side.
    pub limit: Exposure,
    /// Whether the kill switch is engaged.
    pub kill_switch: bool,
    /// Whether quoting is off for all.
    pub all_off: bool,
    /// Symbols for which quoting is off.
    pub symbols_off: BTreeSet<Symbol>,
    /// Makers for which quoting is off, registered or not.
    pub makers_off: BTreeSet<MakerName>,
}

impl Control {
    /// What no limit may pass, by the basis.
    #[must_use]
    pub fn hard_limit(&self) -> Exposure {
        hard_limit(&self.basis)
    }

    /// The widest scope that turns this maker's quotes of this symbol off.
    #[must_use]
    pub fn quoting_off(&self, symbol: &Symbol, maker: &MakerName) -> Option<QuotingScope> {
        if self.all_off {
            Some(QuotingScope::All)
        } else if self.symbols_off.contains(symbol) {
            Some(QuotingScope::Symbol(symbol.clone()))
        } else if self.makers_off.contains(maker) {
            Some(QuotingScope::Maker(maker.clone()))
        } else {
            None
        }
    }
}

/// A registered maker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Maker {
    /// The index of its registration.
    pub incarnation: Incarnation,
    /// Its lease's length.
    pub ttl_ms: u64,
    /// When its lease ends.
    pub deadline: Millis,
    /// The index at which what it holds, or is to give up, last changed; at first that of its registration.
    pub holdings_index: u64,
    /// Of the secret that its commands carry.
    pub(crate) secret_hash: SecretHash,
}

/// A symbol: what it is, what is held of it, who may quote it, and the quote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SymbolState {
    /// What it trades.
    pub instrument: Instrument,
    /// Which revision of that, from 1.
    pub revision: u64,
    /// How many quote fills that is the sum of.
    pub position_seq: u64,
    /// Lots bought by quotes in all.
    pub bought: Qty,
    /// Lots sold by quotes in all.
    pub sold: Qty,
    /// The position and its profit.
    pub pnl: Pnl,
    /// Where its price is.
    pub marks: Marks,
    /// What ends its quotes when too much of them is filled at once.
    pub protection: Option<Protection>,
    /// What was counted for that.
    pub guard: ProtectionState,
    /// How it ended, where it has.
    pub closed: Option<Closed>,
    /// The fencing token: that of the holder, or of the last one.
    pub epoch: Epoch,
    /// Who may quote it.
    pub holder: Option<Holder>,
    /// The highest `quote_seq` accepted in the epoch.
    pub quote_seq: u64,
    /// The quote that stands; past its deadline it only waits for the sweep.
    pub quote: Option<Quote>,
    /// The largest position, long or short, where there is one.
    pub position_max: Option<Qty>,
    /// What its maker waits for.
    pub demand: Demand,
}

/// What a symbol's maker asked for last, and how it waits for it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Demand {
    /// The exposure of one lot at the price asked for last; 0 where nothing was asked for.
    pub lot: Sides<Exposure>,
    /// Until when a demand that fell short is remembered.
    pub until: Sides<Option<Millis>>,
    /// Its place in the turns.
    pub turn: Option<Turn>,
    /// It waits, and its lot is kept free for it.
    pub set_aside: bool,
}

impl Demand {
    /// Whether it is offered a turn, or has one.
    #[must_use]
    pub fn has_turn(&self) -> bool {
        matches!(self.turn, Some(Turn::Offered { .. } | Turn::Running { .. }))
    }

    /// The lot that is the symbol's own, whether it is reserved or not; 0 where none is.
    #[must_use]
    pub fn own_lot(&self, side: Side) -> Exposure {
        if self.has_turn() || self.set_aside { *self.lot.of(side) } else { Exposure::ZERO }
    }

    /// Whether it asks for more of a side than it has been granted, or has a place in the turns for it.
    #[must_use]
    pub fn asks(&self, side: Side) -> bool {
        self.until.of(side).is_some() || (self.turn.is_some() && *self.lot.of(side) > Exposure::ZERO)
    }

    /// Whether it asks for more of a side, and its turn has not begun.
    #[must_use]
    pub fn waits(&self, side: Side) -> bool {
        let waits = matches!(self.turn, Some(Turn::Waiting { .. } | Turn::Offered { .. }));
        self.until.of(side).is_some() || (waits && *self.lot.of(side) > Exposure::ZERO)
    }
}

impl SymbolState {
    pub(crate) fn new(instrument: Instrument) -> Self {
        Self {
            instrument,
            revision: 1,
            position_seq: 0,
            bought: Qty::ZERO,
            sold: Qty::ZERO,
            pnl: Pnl::default(),
            marks: Marks::default(),
            protection: None,
            guard: ProtectionState::default(),
            closed: None,
            epoch: 0,
            holder: None,
            quote_seq: 0,
            quote: None,
            position_max: None,
            demand: Demand::default(),
        }
    }

    /// What the quotes bought less what they sold, in lots.
    #[must_use]
    pub fn position(&self) -> Position {
        self.pnl.position
    }

    /// What closing the position at the mark that counts would bring; `None` where there is no mark.
    #[must_use]
    pub fn unrealised(&self) -> Option<Money> {
        let value = self.instrument.mark_value(self.marks.counted?.price, self.position())?;
        value.0.checked_sub(self.pnl.cost.0).map(Money)
    }

    /// What it adds to the equity of its quote asset: cash, and the position at the mark that counts, or at its cost without one.
    #[must_use]
    pub fn equity(&self) -> Money {
        if self.position() == Position::ZERO {
            return self.pnl.cash;
        }
        let marked = self.marks.counted.and_then(|mark| self.instrument.mark_value(mark.price, self.position()));
        Money(self.pnl.cash.0.saturating_add(marked.unwrap_or(self.pnl.cost).0))
    }

    /// Exposure that the quote reserves, on each side.
    #[must_use]
    pub fn reserved(&self) -> Sides<Exposure> {
        Sides::from_fn(|side| {
            let leg = self.quote.as_ref().and_then(|quote| quote.sides.of(side).as_ref());
            leg.map_or(Exposure::ZERO, |leg| Exposure(leg.lot.0.saturating_mul(i128::from(leg.leaves.0))))
        })
    }

    /// To whom it moves, where it does.
    #[must_use]
    pub fn moving(&self) -> Option<&Move> {
        self.holder.as_ref().and_then(|holder| holder.moving.as_ref())
    }
}

/// How a symbol ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Closed {
    /// Log time.
    pub at: Millis,
    /// The price at which positions became cash, in ticks; `None` where they did not.
    pub settled: Option<Price>,
}

/// Who may quote a symbol, under the symbol's epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Its name.
    pub maker: MakerName,
    /// Its incarnation.
    pub incarnation: Incarnation,
    /// Where the symbol is to go.
    pub moving: Option<Move>,
}

/// A symbol's move to another maker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Move {
    /// To whom.
    pub to: MakerName,
    /// At the latest then.
    pub until: Millis,
}

/// A quote that stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quote {
    /// Its id.
    pub id: QuoteId,
    /// Who quotes.
    pub maker: MakerName,
    /// The maker's incarnation.
    pub incarnation: Incarnation,
    /// Under which epoch.
    pub epoch: Epoch,
    /// The maker's number for it.
    pub quote_seq: u64,
    /// The position it was computed from.
    pub position_seq: u64,
    /// What was granted, and what is left of it; `None` where nothing was.
    pub sides: Sides<Option<QuoteLeg>>,
    /// Log time of its commit.
    pub placed_at: Millis,
    /// From then on it cannot be filled.
    pub deadline: Millis,
    /// Why it was placed.
    pub cause: QuoteCause,
    /// What it was computed from.
    pub basis: QuoteBasis,
    /// The last time that its maker kept it.
    pub confirmation: Option<Confirmation>,
}

/// That a quote was found to be still right.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confirmation {
    /// Log time of the keep.
    pub at: Millis,
    /// What the maker compared the quote with.
    pub basis: QuoteBasis,
}

impl Quote {
    /// What is left on a side; 0 where nothing was granted.
    #[must_use]
    pub fn leaves(&self, side: Side) -> Qty {
        self.sides.of(side).map_or(Qty::ZERO, |leg| leg.leaves)
    }

    /// Whether its deadline lies ahead.
    #[must_use]
    pub fn is_active(&self, log_time: Millis) -> bool {
        self.deadline > log_time
    }
}

/// One side of a quote that stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuoteLeg {
    /// Ticks.
    pub price: Price,
    /// Lots granted.
    pub qty: Qty,
    /// Lots left.
    pub leaves: Qty,
    /// The exposure of one lot.
    pub lot: Exposure,
}

/// An order that rests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Its id.
    pub id: OrderId,
    /// As its sender made it.
    pub order: NewOrder,
    /// Its state.
    pub status: OrderStatus,
    /// Lots filled.
    pub cum_qty: Qty,
    /// Sum of price x qty of its fills.
    pub cum_quote: Money,
    /// Lots of a binary sale that no contracts covered when it began to rest.
    pub(crate) uncovered: Qty,
}

impl Order {
    /// Lots that rest: 0 where it is closed.
    #[must_use]
    pub fn leaves(&self) -> Qty {
        if self.status.is_open() { Qty(self.order.qty.0.saturating_sub(self.cum_qty.0)) } else { Qty::ZERO }
    }

    /// How it stands, with the fills of one command.
    #[must_use]
    pub fn result(&self, trades: Vec<Trade>) -> OrderResult {
        OrderResult {
            order_id: self.id,
            status: self.status,
            cum_qty: self.cum_qty,
            leaves_qty: self.leaves(),
            cum_quote: self.cum_quote,
            trades,
        }
    }
}

/// The registered exchange.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exchange {
    /// Its lasting name.
    pub name: ExchangeName,
    /// Its fencing token.
    pub epoch: ExchangeEpoch,
    /// Its executions, by symbol; none of a symbol of which nothing was executed yet.
    #[serde(deserialize_with = "crate::maps::read")]
    pub(crate) lanes: OrdMap<Symbol, ExecLane>,
    /// How many answers the lanes keep.
    pub(crate) kept: usize,
}

/// The executions of one symbol in the present exchange epoch.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ExecLane {
    /// The last `exec_id` accepted, 0 where none was.
    pub(crate) last: u64,
    /// Answers to the last ones, those that the exchange has said it has left out.
    #[serde(deserialize_with = "crate::maps::read")]
    pub(crate) answers: OrdMap<u64, Arc<KeptAnswer>>,
}

impl Exchange {
    /// The last `exec_id` accepted for a symbol, 0 where none was.
    #[must_use]
    pub fn last_exec_id(&self, symbol: &Symbol) -> u64 {
        self.lanes.get(symbol).map_or(0, |lane| lane.last)
    }

    /// How many answers to executions of a symbol are kept for repeats.
    #[must_use]
    pub fn answers_kept(&self, symbol: &Symbol) -> usize {
        self.lanes.get(symbol).map_or(0, |lane| lane.answers.len())
    }
}

/// An answer that a repeat gets again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KeptAnswer {
    /// Of the command answered.
    pub(crate) digest: Digest,
    pub(crate) response: Response,
}

/// A client's session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Session {
    pub(crate) last_use: Millis,
    /// The highest `seq` seen, 0 before the first.
    pub(crate) highest_seq: u64,
    #[serde(deserialize_with = "crate::maps::read")]
    pub(crate) answers: OrdMap<u64, Arc<KeptAnswer>>,
}

/// All that is true.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Tables {
    pub(crate) last_index: u64,
    pub(crate) log_time: Millis,
    pub(crate) chain: Digest,
    pub(crate) ledger_version: u32,
    pub(crate) term: u64,
    pub(crate) control: Control,
    #[serde(deserialize_with = "crate::maps::read")]
    pub(crate) sessions: OrdMap<SessionId, Session>,
    #[serde(deserialize_with = "crate::maps::read")]
    pub(crate) symbols: OrdMap<Symbol, SymbolState>,
    #[serde(deserialize_with = "crate::maps::read")]
    pub(crate) makers: OrdMap<MakerName, Maker>,
    /// The digest of the parameters that a registered maker committed last for a symbol.
    #[serde(deserialize_with = "crate::maps::read")]
    pub(crate) parameters: OrdMap<(MakerName, Symbol), Digest>,
    pub(crate) exchange: Option<Exchange>,
    /// The symbols for which the exchange has a price source; `None` before it first said so.
    pub(crate) listing: Option<OrdSet<Symbol>>,
    #[serde(deserialize_with = "crate::maps::read")]
    pub(crate) accounts: OrdMap<Account, AccountState>,
    /// Fees that were paid, by asset.
    #[serde(deserialize_with = "crate::maps::read")]
    pub(crate) fees: OrdMap<Asset, Money>,
    /// What was deposited less what was taken out, by asset.
    #[serde(deserialize_with = "crate::maps::read")]
    pub(crate) deposits: OrdMap<Asset, Money>,
    /// Breakers on the equity of quote assets.
    #[serde(deserialize_with = "crate::maps::read")]
    pub(crate) drawdowns: OrdMap<Asset, Drawdown>,
    /// Open ones.
    #[serde(deserialize_with = "crate::maps::read")]
    pub(crate) orders: OrdMap<OrderId, Arc<Order>>,
    pub(crate) names: Names,
    pub(crate) last_trade_id: u64,
}

impl Tables {
    pub(crate) fn genesis() -> Self {
        Self {
            last_index: 0,
            log_time: Millis::ZERO,
            chain: Digest::default(),
            ledger_version: 1,
            term: 0,
            control: Control {
                version: 0,
                basis: ExposureBasis::Units,
                limit: Exposure(HARD_EXPOSURE_LIMIT),
                kill_switch: false,
                all_off: false,
                symbols_off: BTreeSet::new(),
                makers_off: BTreeSet::new(),
            },
            sessions: OrdMap::new(),
            symbols: OrdMap::new(),
            makers: OrdMap::new(),
            parameters: OrdMap::new(),
            exchange: None,
            listing: None,
            accounts: OrdMap::new(),
            fees: OrdMap::new(),
            deposits: OrdMap::new(),
            drawdowns: OrdMap::new(),
            orders: OrdMap::new(),
            names: Names::default(),
            last_trade_id: 0,
        }
    }

    /// Whether somebody may hold the symbol: it has not ended, and the exchange has a price source for it.
    pub(crate) fn is_traded(&self, symbol: &Symbol, state: &SymbolState) -> bool {
        state.closed.is_none() && self.listing.as_ref().is_none_or(|listing| listing.contains(symbol))
    }

    /// When authority over the symbol ends: its holder's lease, or the move's deadline where that is
    /// earlier; `None` where nobody holds it.
    pub(crate) fn authority_deadline(&self, state: &SymbolState) -> Option<Millis> {
        let holder = state.holder.as_ref()?;
        let lease = self.makers.get(&holder.maker).map_or(Millis::ZERO, |maker| maker.deadline);
        Some(holder.moving.as_ref().map_or(lease, |moving| moving.until.min(lease)))
    }
}

/// What an account calls an order.
pub(crate) type OrderName = (Account, ClientOrderId);
