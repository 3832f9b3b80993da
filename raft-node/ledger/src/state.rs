//! The tables of the ledger: all that is true, and nothing that can be derived from it.
//!
//! Invariant: every table is bounded (`bounds.rs`) and ordered, and the large ones are persistent maps,
//! so that a clone of the ledger is cheap whatever it holds. What follows from the tables stands in
//! `Indexes`. Nothing here decides; readers take what they need, and only `apply` writes.

use std::{collections::BTreeSet, sync::Arc};

use imbl::OrdMap;
use serde::{Deserialize, Serialize};

use crate::{
    answer::{OrderResult, OrderStatus, Response, Trade},
    bounds::HARD_EXPOSURE_LIMIT,
    command::{Epoch, ExchangeEpoch, Incarnation, NewOrder, QuoteCause, QuotingScope, SessionId},
    digest::Digest,
    names::Names,
};
use quorate_domain::{
    Account, ClientOrderId, ExchangeName, Exposure, MakerName, Millis, Money, OrderId, Position, Price, Qty, QuoteId,
    Side, Symbol, SymbolSpec,
};

/// One value for each side of the book: the bid buys and is *long* exposure, the ask sells and is *short*.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Sides<T> {
    /// Of the side that buys.
    pub bid: T,
    /// Of the side that sells.
    pub ask: T,
}

impl<T> Sides<T> {
    /// Of one side.
    #[must_use]
    pub fn of(&self, side: Side) -> &T {
        match side {
            Side::Buy => &self.bid,
            Side::Sell => &self.ask,
        }
    }

    pub(crate) fn of_mut(&mut self, side: Side) -> &mut T {
        match side {
            Side::Buy => &mut self.bid,
            Side::Sell => &mut self.ask,
        }
    }
}

/// What people switch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Control {
    /// Grows by one with each accepted control command.
    pub version: u64,
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
}

/// A symbol: what it is, what is held of it, who may quote it, and the quote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SymbolState {
    /// Its fixed properties.
    pub spec: SymbolSpec,
    /// What the quotes bought less what they sold.
    pub position: Position,
    /// How many quote fills that is the sum of.
    pub position_seq: u64,
    /// Lots bought by quotes in all.
    pub bought: Qty,
    /// Lots sold by quotes in all.
    pub sold: Qty,
    /// Ticks x lots received less paid.
    pub cash: Money,
    /// The fencing token: that of the holder, or of the last one.
    pub epoch: Epoch,
    /// Who may quote it.
    pub holder: Option<Holder>,
    /// The highest `quote_seq` accepted in the epoch.
    pub quote_seq: u64,
    /// The quote that stands; past its deadline it only waits for the sweep.
    pub quote: Option<Quote>,
    /// Until when a demand that fell short is remembered.
    pub demand_until: Sides<Option<Millis>>,
}

impl SymbolState {
    pub(crate) fn new(spec: SymbolSpec) -> Self {
        Self {
            spec,
            position: Position::ZERO,
            position_seq: 0,
            bought: Qty::ZERO,
            sold: Qty::ZERO,
            cash: Money::default(),
            epoch: 0,
            holder: None,
            quote_seq: 0,
            quote: None,
            demand_until: Sides::default(),
        }
    }

    /// Exposure that the quote reserves, leaves x `exposure_per_lot`, on each side.
    #[must_use]
    pub fn reserved(&self) -> Sides<Exposure> {
        let units = |side| {
            let leaves = self.quote.as_ref().map_or(Qty::ZERO, |quote| quote.leaves(side));
            Exposure(leaves.0.saturating_mul(self.spec.exposure_per_lot))
        };
        Sides { bid: units(Side::Buy), ask: units(Side::Sell) }
    }

    /// To whom it moves, where it does.
    #[must_use]
    pub fn moving(&self) -> Option<&Move> {
        self.holder.as_ref().and_then(|holder| holder.moving.as_ref())
    }
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
    /// The log index of the state it was computed from.
    pub computed_at: u64,
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
    pub(crate) answers: OrdMap<u64, Arc<KeptAnswer>>,
}

impl Exchange {
    /// The last `exec_id` accepted for a symbol, 0 where none was.
    #[must_use]
    pub fn last_exec_id(&self, symbol: &Symbol) -> u64 {
        self.lanes.get(symbol).map_or(0, |lane| lane.last)
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
    pub(crate) sessions: OrdMap<SessionId, Session>,
    pub(crate) symbols: OrdMap<Symbol, SymbolState>,
    pub(crate) makers: OrdMap<MakerName, Maker>,
    pub(crate) exchange: Option<Exchange>,
    /// Open ones.
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
                limit: Exposure(HARD_EXPOSURE_LIMIT),
                kill_switch: false,
                all_off: false,
                symbols_off: BTreeSet::new(),
                makers_off: BTreeSet::new(),
            },
            sessions: OrdMap::new(),
            symbols: OrdMap::new(),
            makers: OrdMap::new(),
            exchange: None,
            orders: OrdMap::new(),
            names: Names::default(),
            last_trade_id: 0,
        }
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
