//! What follows from the tables, kept up to date so that no apply scans them: reserved exposure,
//! deadlines, books, who holds what.
//!
//! Invariant: `Indexes::of(tables)` equals what `apply` kept, after every apply; `audit` compares them,
//! and a decoded snapshot is indexed by the same function. Every change goes through one of the
//! `*_changed` functions, which take out what the old value implied and put in what the new one does.

use std::cmp::Reverse;

use imbl::{OrdMap, OrdSet};

use quorate_planted::{Bug, planted};

use crate::{
    bounds::MARK_AGE_MAX_MS,
    command::SessionId,
    event::Turn,
    names::NameIndex,
    state::{Demand, Maker, Order, Session, SymbolState, Tables},
    turns::turn_ends,
};
use quorate_domain::{
    Account, Asset, Exposure, MakerName, Millis, Money, OrderId, Position, Price, Side, Sides, Symbol,
};

/// The resting orders of one symbol, best first on each side.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Book {
    pub(crate) buys: OrdSet<(Reverse<Price>, OrderId)>,
    pub(crate) sells: OrdSet<(Price, OrderId)>,
}

impl Book {
    /// The best price of a side, and the oldest order there.
    pub(crate) fn best(&self, side: Side) -> Option<(Price, OrderId)> {
        match side {
            Side::Buy => self.buys.get_min().map(|(Reverse(price), id)| (*price, *id)),
            Side::Sell => self.sells.get_min().copied(),
        }
    }
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Indexes {
    /// What the symbols of a quote asset are worth.
    pub(crate) equity: OrdMap<Asset, Money>,
    /// From when on the position of each symbol that has one is unmarked, 0 where it never had a mark; by quote asset.
    pub(crate) unmarked_from: OrdSet<(Asset, Millis, Symbol)>,
    /// Exposure reserved by all quotes that stand.
    pub(crate) reserved: Sides<Exposure>,
    /// What all symbols hold: reserved, or set aside for them where that is more.
    pub(crate) held: Sides<Exposure>,
    /// What all symbols have taken: reserved, or their turn's where that is more.
    pub(crate) taken: Sides<Exposure>,
    /// Symbols whose quote has leaves on a side, or that ask for more of it.
    pub(crate) demanding: Sides<usize>,
    /// Symbols that ask for more of a side, and whose turn has not begun.
    pub(crate) waiting: Sides<usize>,
    /// Symbols that wait for a turn, by ticket.
    pub(crate) queue: OrdSet<(u64, Symbol)>,
    /// Of those, the ones for which a lot is set aside.
    pub(crate) set_aside: OrdSet<Symbol>,
    /// Symbols that are offered a turn or have one, by its end.
    pub(crate) turns_due: OrdSet<(Millis, Symbol)>,
    pub(crate) demands_due: OrdSet<(Millis, Symbol, Side)>,
    pub(crate) makers_due: OrdSet<(Millis, MakerName)>,
    pub(crate) moves_due: OrdSet<(Millis, Symbol)>,
    pub(crate) quotes_due: OrdSet<(Millis, Symbol)>,
    /// By last use.
    pub(crate) sessions_idle: OrdSet<(Millis, SessionId)>,
    pub(crate) holders: OrdSet<(MakerName, Symbol)>,
    pub(crate) open_by_account: OrdSet<(Account, OrderId)>,
    pub(crate) names: NameIndex,
    /// Only of symbols that have resting orders.
    pub(crate) books: OrdMap<Symbol, Book>,
}

/// What a symbol's state implies for the indexes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct SymbolFacts {
    reserved: Sides<Exposure>,
    held: Sides<Exposure>,
    taken: Sides<Exposure>,
    demands: Sides<bool>,
    demand: Demand,
    quote_deadline: Option<Millis>,
    move_until: Option<Millis>,
    holder: Option<MakerName>,
    equity: Money,
    /// From when on its position is unmarked, where there is one.
    unmarked_from: Option<Millis>,
}

impl SymbolFacts {
    pub(crate) fn of(state: &SymbolState) -> Self {
        let reserved = state.reserved();
        Self {
            held: Sides::from_fn(|side| state.demand.held(side, *reserved.of(side))),
            taken: Sides::from_fn(|side| state.demand.taken(side, *reserved.of(side))),
            demands: Sides::from_fn(|side| state.demand.demands(side, *reserved.of(side))),
            reserved,
            demand: state.demand.clone(),
            quote_deadline: state.quote.as_ref().map(|quote| quote.deadline),
            move_until: state.moving().map(|moving| moving.until),
            holder: state.holder.as_ref().map(|holder| holder.maker.clone()),
            equity: state.equity(),
            unmarked_from: unmarked_from(state),
        }
    }

    fn ticket(&self) -> Option<u64> {
        match self.demand.turn {
            Some(Turn::Waiting { since }) => Some(since),
            Some(Turn::Offered { .. } | Turn::Running { .. }) | None => None,
        }
    }
}

impl Indexes {
    /// The indexes of these tables, from nothing.
    pub(crate) fn of(tables: &Tables) -> Self {
        let mut indexes = Self { names: NameIndex::of(tables), ..Self::default() };
        for (symbol, state) in &tables.symbols {
            let asset = &state.instrument.quote;
            indexes.symbol_changed((symbol, asset), &SymbolFacts::default(), &SymbolFacts::of(state));
        }
        for (name, maker) in &tables.makers {
            indexes.maker_changed(name, None, Some(maker));
        }
        for (id, session) in &tables.sessions {
            indexes.session_changed(*id, None, Some(session));
        }
        for order in tables.orders.values() {
            indexes.order_opened(order);
        }
        indexes
    }

    /// A symbol, which is quoted in this asset, changed.
    pub(crate) fn symbol_changed(&mut self, (symbol, asset): (&Symbol, &Asset), old: &SymbolFacts, new: &SymbolFacts) {
        for side in Side::BOTH {
            self.side_changed(symbol, side, old, new);
        }
        move_key(&mut self.queue, symbol, old.ticket(), new.ticket());
        move_key(&mut self.turns_due, symbol, turn_ends(old.demand.turn), turn_ends(new.demand.turn));
        match (old.demand.set_aside, new.demand.set_aside) {
            (false, true) => drop(self.set_aside.insert(symbol.clone())),
            (true, false) => drop(self.set_aside.remove(symbol)),
            (true, true) | (false, false) => {}
        }
        move_key(&mut self.quotes_due, symbol, old.quote_deadline, new.quote_deadline);
        move_key(&mut self.moves_due, symbol, old.move_until, new.move_until);
        if old.equity != new.equity {
            let sum = self.equity.entry(asset.clone()).or_default();
            sum.0 = sum.0.saturating_sub(old.equity.0).saturating_add(new.equity.0);
        }
        if old.unmarked_from != new.unmarked_from {
            if let Some(from) = old.unmarked_from {
                self.unmarked_from.remove(&(asset.clone(), from, symbol.clone()));
            }
            if let Some(from) = new.unmarked_from {
                self.unmarked_from.insert((asset.clone(), from, symbol.clone()));
            }
        }
        if old.holder != new.holder {
            if let Some(maker) = &old.holder {
                self.holders.remove(&(maker.clone(), symbol.clone()));
            }
            if let Some(maker) = &new.holder {
                self.holders.insert((maker.clone(), symbol.clone()));
            }
        }
    }

    fn side_changed(&mut self, symbol: &Symbol, side: Side, old: &SymbolFacts, new: &SymbolFacts) {
        sum_changed(self.reserved.of_mut(side), *old.reserved.of(side), *new.reserved.of(side));
        if planted(Bug::ReleaseTwice) && new.quote_deadline.is_none() {
            let reserved = self.reserved.of_mut(side);
            reserved.0 = (reserved.0 - old.reserved.of(side).0).max(0);
        }
        sum_changed(self.held.of_mut(side), *old.held.of(side), *new.held.of(side));
        sum_changed(self.taken.of_mut(side), *old.taken.of(side), *new.taken.of(side));
        count_changed(self.demanding.of_mut(side), *old.demands.of(side), *new.demands.of(side));
        count_changed(self.waiting.of_mut(side), old.demand.waits(side), new.demand.waits(side));
        let (old_until, new_until) = (*old.demand.until.of(side), *new.demand.until.of(side));
        if old_until != new_until {
            if let Some(until) = old_until {
                self.demands_due.remove(&(until, symbol.clone(), side));
            }
            if let Some(until) = new_until {
                self.demands_due.insert((until, symbol.clone(), side));
            }
        }
    }

    pub(crate) fn maker_changed(&mut self, name: &MakerName, old: Option<&Maker>, new: Option<&Maker>) {
        move_key(&mut self.makers_due, name, old.map(|maker| maker.deadline), new.map(|maker| maker.deadline));
    }

    pub(crate) fn session_changed(&mut self, id: SessionId, old: Option<&Session>, new: Option<&Session>) {
        move_key(&mut self.sessions_idle, &id, old.map(|session| session.last_use), new.map(|s| s.last_use));
    }

    pub(crate) fn order_closed(&mut self, order: &Order) {
        let (id, new_order) = (order.id, &order.order);
        self.names.open.remove(&(new_order.account.clone(), new_order.client_order_id.clone()));
        self.open_by_account.remove(&(new_order.account.clone(), id));
        let Some(price) = new_order.price else { return };
        let Some(book) = self.books.get_mut(&new_order.symbol) else { return };
        match new_order.side {
            Side::Buy => drop(book.buys.remove(&(Reverse(price), id))),
            Side::Sell => drop(book.sells.remove(&(price, id))),
        }
        if book.buys.is_empty() && book.sells.is_empty() {
            self.books.remove(&new_order.symbol);
        }
    }

    pub(crate) fn order_opened(&mut self, order: &Order) {
        let (id, new_order) = (order.id, &order.order);
        self.names.open.insert((new_order.account.clone(), new_order.client_order_id.clone()), id);
        self.open_by_account.insert((new_order.account.clone(), id));
        let Some(price) = new_order.price else { return };
        if !self.books.contains_key(&new_order.symbol) {
            self.books.insert(new_order.symbol.clone(), Book::default());
        }
        let Some(book) = self.books.get_mut(&new_order.symbol) else { return };
        match new_order.side {
            Side::Buy => drop(book.buys.insert((Reverse(price), id))),
            Side::Sell => drop(book.sells.insert((price, id))),
        }
    }

    /// From when on the first position in this asset is unmarked.
    pub(crate) fn first_unmarked_from(&self, asset: &Asset) -> Option<Millis> {
        let from = (asset.clone(), Millis::ZERO, Symbol::lowest());
        self.unmarked_from.range(from..).next().filter(|(found, _, _)| found == asset).map(|(_, at, _)| *at)
    }

    /// The open orders of a symbol, by id.
    pub(crate) fn open_orders_of_symbol(&self, symbol: &Symbol) -> Vec<OrderId> {
        let mut ids: Vec<OrderId> = Side::BOTH.into_iter().flat_map(|side| self.resting(symbol, side)).collect();
        ids.sort_unstable();
        ids
    }

    /// A maker's symbols, by name.
    pub(crate) fn held_by<'a>(&'a self, maker: &'a MakerName) -> impl Iterator<Item = &'a Symbol> {
        // No symbol sorts before the shortest and lowest one, so this is where the maker's begin.
        let from = (maker.clone(), Symbol::lowest());
        self.holders.range(from..).take_while(move |(holder, _)| holder == maker).map(|(_, symbol)| symbol)
    }

    /// An account's open orders, by id.
    pub(crate) fn open_of<'a>(&'a self, account: &'a Account, first: OrderId) -> impl Iterator<Item = OrderId> {
        self.open_by_account
            .range((account.clone(), first)..)
            .take_while(move |(owner, _)| owner == account)
            .map(|(_, id)| *id)
    }

    /// A symbol's open orders on one side, best first.
    pub(crate) fn resting(&self, symbol: &Symbol, side: Side) -> impl Iterator<Item = OrderId> {
        let book = self.books.get(symbol);
        let buys = book.filter(|_| side == Side::Buy).into_iter().flat_map(|book| book.buys.iter());
        let sells = book.filter(|_| side == Side::Sell).into_iter().flat_map(|book| book.sells.iter());
        buys.map(|(_, id)| *id).chain(sells.map(|(_, id)| *id))
    }

    /// The best resting order of a side: the best price, and there the oldest.
    pub(crate) fn best(&self, symbol: &Symbol, side: Side) -> Option<(Price, OrderId)> {
        self.books.get(symbol).and_then(|book| book.best(side))
    }
}

/// The quote asset of a symbol whose position must be marked, and from when on it is not.
fn unmarked_from(state: &SymbolState) -> Option<Millis> {
    let open = state.closed.is_none() && state.position() != Position::ZERO;
    open.then(|| state.marks.counted.map_or(Millis::ZERO, |mark| mark.at.plus(MARK_AGE_MAX_MS)))
}

fn sum_changed(sum: &mut Exposure, old: Exposure, new: Exposure) {
    sum.0 = sum.0.saturating_sub(old.0).saturating_add(new.0);
}

fn move_key<T: Ord + Copy, K: Ord + Clone>(due: &mut OrdSet<(T, K)>, key: &K, old: Option<T>, new: Option<T>) {
    if old == new {
        return;
    }
    if let Some(at) = old {
        due.remove(&(at, key.clone()));
    }
    if let Some(at) = new {
        due.insert((at, key.clone()));
    }
}

fn count_changed(count: &mut usize, old: bool, new: bool) {
    match (old, new) {
        (false, true) => *count += 1,
        (true, false) => *count -= 1,
        (true, true) | (false, false) => {}
    }
}
