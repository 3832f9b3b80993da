//! The ledger as others hold it: apply, read, clone.
//!
//! Invariant: only [`Ledger::apply`] changes anything. A clone shares what is large, so a snapshot or
//! a read can hold one while apply goes on.

use std::ops::Bound;

use crate::{
    accounts::AccountState,
    bounds::NAMES_MAX,
    command::{Command, ControlChange, Incarnation, Input},
    digest::Digest,
    indexes::Indexes,
    state::{Control, Exchange, Maker, Order, Quote, SymbolState, Tables},
};
use quorate_domain::{
    Account, Asset, Drawdown, Exposure, MakerName, Millis, Money, OrderId, Price, Side, Sides, Symbol,
};

/// The highest version of the ledger's rules that this program knows.
pub const LEDGER_VERSION: u32 = 1;

/// The replicated state.
#[derive(Debug, Clone)]
pub struct Ledger {
    pub(crate) tables: Tables,
    pub(crate) indexes: Indexes,
    /// Reused by every apply; empty in between, so that a clone copies nothing.
    pub(crate) scratch: Vec<u8>,
    /// `NAMES_MAX`, except in tests.
    pub(crate) names_max: usize,
}

impl Default for Ledger {
    fn default() -> Self {
        Self::new()
    }
}

/// What the house is worth in a quote asset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Equity {
    /// Cash, and positions at the marks that count, in 10^-12 of the asset.
    pub equity: Money,
    /// Log time since which a position has had no fresh mark, 0 where it never had one; `None` where all have one.
    pub unmarked_since: Option<Millis>,
    /// The breaker.
    pub drawdown: Drawdown,
}

/// A command of a newer program: this one must stop before it, rather than apply it otherwise than others do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the log goes to ledger version {asked}, and this program knows up to {known}: start a newer one on this node")]
pub struct UnsupportedVersion {
    /// The version that the log goes to.
    pub asked: u32,
    /// The highest that this program knows.
    pub known: u32,
}

impl Ledger {
    /// The ledger before the first entry.
    #[must_use]
    pub fn new() -> Self {
        Self::with_names_max(NAMES_MAX)
    }

    /// As [`Ledger::new`], with room for so many names of orders only: for tests, which reach that sooner. Every ledger
    /// of a group has room for [`NAMES_MAX`].
    #[must_use]
    pub fn with_names_max(names_max: usize) -> Self {
        Self { tables: Tables::genesis(), indexes: Indexes::default(), scratch: Vec::new(), names_max }
    }

    /// Whether this program can apply `input`. The proposer asks before it proposes, and answers
    /// `LedgerVersion` where not; so such an entry in the log was proposed by a newer program, which
    /// accepts it, and this node must stop rather than apply it: [`Ledger::apply`] would refuse it,
    /// and the states would part.
    ///
    /// # Errors
    /// Where `input` goes to a ledger version above [`LEDGER_VERSION`].
    pub fn supports(&self, input: &Input) -> Result<(), UnsupportedVersion> {
        if let Input::Client(envelope) = input
            && let Command::Control(control) = &envelope.command
            && let ControlChange::LedgerVersion { version } = control.change
            && version > LEDGER_VERSION
        {
            return Err(UnsupportedVersion { asked: version, known: LEDGER_VERSION });
        }
        Ok(())
    }

    /// The log index of the last input applied, 0 before the first.
    #[must_use]
    pub fn last_index(&self) -> u64 {
        self.tables.last_index
    }

    /// The largest stamp applied.
    #[must_use]
    pub fn log_time(&self) -> Millis {
        self.tables.log_time
    }

    /// The chain of digests over every (index, log time, response, events) up to now.
    #[must_use]
    pub fn chain(&self) -> Digest {
        self.tables.chain
    }

    /// The version of the rules in force.
    #[must_use]
    pub fn ledger_version(&self) -> u32 {
        self.tables.ledger_version
    }

    /// The last term begun, 0 before the first.
    #[must_use]
    pub fn term(&self) -> u64 {
        self.tables.term
    }

    /// What people switch.
    #[must_use]
    pub fn control(&self) -> &Control {
        &self.tables.control
    }

    /// The exposure limit, each side.
    #[must_use]
    pub fn exposure_limit(&self) -> Exposure {
        self.tables.control.limit
    }

    /// Exposure reserved by all quotes that stand: the bids' is long, the asks' short.
    #[must_use]
    pub fn reserved(&self) -> Sides<Exposure> {
        self.indexes.reserved
    }

    /// Whether the exchange has a price source for the symbol; before it first said so, every symbol counts as listed.
    #[must_use]
    pub fn is_listed(&self, symbol: &Symbol) -> bool {
        self.tables.listing.as_ref().is_none_or(|listing| listing.contains(symbol))
    }

    /// Every account that has a record, by name.
    pub fn accounts(&self) -> impl Iterator<Item = (&Account, &AccountState)> {
        self.tables.accounts.iter()
    }

    /// Fees that were paid, by asset.
    pub fn fees_paid(&self) -> impl Iterator<Item = (&Asset, &Money)> {
        self.tables.fees.iter()
    }

    /// What was deposited less what was taken out, by asset.
    pub fn deposits(&self) -> impl Iterator<Item = (&Asset, &Money)> {
        self.tables.deposits.iter()
    }

    /// What the house is worth in a quote asset: cash, and positions at the marks that count.
    #[must_use]
    pub fn equity(&self, asset: &Asset) -> Equity {
        let since = self.indexes.first_unmarked_from(asset);
        Equity {
            equity: self.indexes.equity.get(asset).copied().unwrap_or_default(),
            unmarked_since: since.filter(|since| *since <= self.log_time()),
            drawdown: self.tables.drawdowns.get(asset).copied().unwrap_or_default(),
        }
    }

    /// Every symbol, by name.
    pub fn symbols(&self) -> impl Iterator<Item = (&Symbol, &SymbolState)> {
        self.tables.symbols.iter()
    }

    /// One symbol.
    #[must_use]
    pub fn symbol(&self, symbol: &Symbol) -> Option<&SymbolState> {
        self.tables.symbols.get(symbol)
    }

    /// The symbol's quote while its own deadline lies ahead.
    #[must_use]
    pub fn active_quote(&self, symbol: &Symbol) -> Option<&Quote> {
        self.symbol(symbol)?.quote.as_ref().filter(|quote| quote.is_active(self.log_time()))
    }

    /// When authority over the symbol ends unless it is renewed; `None` where nobody holds it.
    #[must_use]
    pub fn authority_deadline(&self, symbol: &Symbol) -> Option<Millis> {
        self.tables.authority_deadline(self.symbol(symbol)?)
    }

    /// Every registered maker, by name.
    pub fn makers(&self) -> impl Iterator<Item = (&MakerName, &Maker)> {
        self.tables.makers.iter()
    }

    /// One registered maker.
    #[must_use]
    pub fn maker(&self, name: &MakerName) -> Option<&Maker> {
        self.tables.makers.get(name)
    }

    /// A maker's present incarnation.
    #[must_use]
    pub fn incarnation(&self, name: &MakerName) -> Option<Incarnation> {
        self.maker(name).map(|maker| maker.incarnation)
    }

    /// The symbols that a maker holds, by name.
    pub fn held_by<'a>(&'a self, name: &'a MakerName) -> impl Iterator<Item = &'a Symbol> {
        self.indexes.held_by(name)
    }

    /// The registered exchange.
    #[must_use]
    pub fn exchange(&self) -> Option<&Exchange> {
        self.tables.exchange.as_ref()
    }

    /// One open order.
    #[must_use]
    pub fn open_order(&self, id: OrderId) -> Option<&Order> {
        self.tables.orders.get(&id).map(AsRef::as_ref)
    }

    /// Every open order, by id.
    pub fn open_orders(&self) -> impl Iterator<Item = &Order> {
        self.tables.orders.values().map(AsRef::as_ref)
    }

    /// Every open order with an id above `after`, by id.
    pub fn open_orders_after(&self, after: OrderId) -> impl Iterator<Item = &Order> {
        let above = (Bound::Excluded(after), Bound::Unbounded);
        self.tables.orders.range(above).map(|(_, order)| order.as_ref())
    }

    /// How many orders are open.
    #[must_use]
    pub fn open_order_count(&self) -> usize {
        self.tables.orders.len()
    }

    /// A symbol's open orders on one side, best price first and oldest first within it.
    pub fn resting_orders(&self, symbol: &Symbol, side: Side) -> impl Iterator<Item = &Order> {
        self.indexes.resting(symbol, side).filter_map(|id| self.open_order(id))
    }

    /// A symbol's best resting price on one side.
    #[must_use]
    pub fn best_resting_price(&self, symbol: &Symbol, side: Side) -> Option<Price> {
        self.indexes.best(symbol, side).map(|(price, _)| price)
    }

    /// An account's open orders with an id above `after`, by id.
    pub fn open_orders_of_after<'a>(&'a self, account: &'a Account, after: OrderId) -> impl Iterator<Item = &'a Order> {
        let above = after.checked_add(1).into_iter();
        above.flat_map(move |first| self.indexes.open_of(account, first)).filter_map(|id| self.open_order(id))
    }

    /// The number of fills so far, and the last trade id.
    #[must_use]
    pub fn fills(&self) -> u64 {
        self.tables.last_trade_id
    }

    /// How many sessions are open.
    #[must_use]
    pub fn session_count(&self) -> usize {
        self.tables.sessions.len()
    }
}
