//! The names of orders, (account, client order id): known while the order is open and for `NAME_MEMORY_MS` after it
//! closed, with what a repeat is answered by; and the places for them, of which one account has its share.
//!
//! Invariant: closed names stand in the order in which they closed, which is that of log time, so that the first is
//! always the oldest. A name whose time has passed is known for no use, swept or not. An account has a number while
//! an order of its is open or a closed name of its stands here.

use std::ops::Bound;

use imbl::{OrdMap, OrdSet, Vector};
use quorate_planted::{Bug, planted};
use serde::{Deserialize, Serialize};

use crate::{
    answer::{OrderResult, OrderStatus},
    apply::Applying,
    bounds::{NAME_MEMORY_MS, NAMES_MAX},
    command::NewOrder,
    ledger::Ledger,
    refusal::Refusal,
    state::{Order, OrderName, Tables},
};
use quorate_domain::{Account, ClientOrderId, Millis, Money, OrderId, Qty};

/// Memory that a planted bug has, in milliseconds.
const EARLY_MS: u64 = 1_000;

/// An account, while it holds a name.
pub(crate) type AccountNumber = u32;

/// 128 bits of a name: nobody finds two names that share them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct NameHash([u8; 16]);

impl NameHash {
    fn of(account: &Account, client_order_id: &ClientOrderId) -> Self {
        let mut hasher = blake3::Hasher::new();
        for part in [account.as_str(), client_order_id.as_str()] {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part.as_bytes());
        }
        Self(first_bytes(&hasher.finalize()))
    }
}

fn first_bytes<const N: usize>(hash: &blake3::Hash) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.copy_from_slice(&hash.as_bytes()[..N]);
    bytes
}

/// What tells one order of a name from another, in three bytes.
fn content_check(order: &NewOrder) -> [u8; 3] {
    let NewOrder { symbol, side, order_type, time_in_force, price, qty, .. } = order;
    let content = (symbol, side, order_type, time_in_force, price, qty);
    let bytes = postcard::to_stdvec(&content).expect("plain data always fits into memory");
    first_bytes(&blake3::hash(&bytes))
}

/// What is kept of an order's content, its timestamp apart, to tell it from another of its name: 24 bits of a digest.
#[must_use]
pub fn order_check(order: &NewOrder) -> u32 {
    let [a, b, c] = content_check(order);
    u32::from_le_bytes([a, b, c, 0])
}

/// What is kept of a closed order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ClosedRecord {
    pub(crate) order_id: OrderId,
    pub(crate) closed_at: Millis,
    pub(crate) cum_qty: Qty,
    pub(crate) cum_quote: Money,
    pub(crate) account: AccountNumber,
    pub(crate) status: OrderStatus,
    pub(crate) check: [u8; 3],
}

impl ClosedRecord {
    /// When it is known no more.
    fn until(&self) -> Millis {
        let memory_ms = if planted(Bug::NameForgottenEarly) { EARLY_MS } else { NAME_MEMORY_MS };
        self.closed_at.plus(memory_ms)
    }

    fn result(&self) -> OrderResult {
        OrderResult {
            order_id: self.order_id,
            status: self.status,
            cum_qty: self.cum_qty,
            leaves_qty: Qty::ZERO,
            cum_quote: self.cum_quote,
            trades: Vec::new(),
        }
    }
}

/// A closed order's name, with what is kept of the order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ClosedName {
    pub(crate) name: NameHash,
    pub(crate) record: ClosedRecord,
}

const _: () = assert!(NAMES_MAX <= AccountNumber::MAX as usize);
const _: () = assert!(size_of::<ClosedRecord>() == 48);
const _: () = assert!(size_of::<ClosedName>() == 64);

/// The table: names of closed orders, and the accounts that hold any name, also of an open order.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct Names {
    /// In the order in which they closed.
    pub(crate) closed: Vector<ClosedName>,
    /// How many stood before the first of `closed` and were swept.
    pub(crate) swept: u64,
    pub(crate) accounts: OrdMap<AccountNumber, Account>,
    /// Numbers given back, the last one last. Together with those in use they have no gap.
    pub(crate) free: Vector<AccountNumber>,
}

impl Names {
    /// The name at a place, counted from the first that ever closed.
    fn at(&self, place: u64) -> Option<&ClosedName> {
        self.closed.get(usize::try_from(place.checked_sub(self.swept)?).ok()?)
    }

    fn next_place(&self) -> u64 {
        self.swept + self.closed.len() as u64
    }

    fn give_number(&mut self, account: &Account) -> AccountNumber {
        let number = self.free.pop_back().unwrap_or_else(|| {
            AccountNumber::try_from(self.accounts.len())
                .expect("there are no more accounts here than names, which are bounded")
        });
        self.accounts.insert(number, account.clone());
        number
    }

    fn take_number_back(&mut self, number: AccountNumber) {
        self.accounts.remove(&number);
        self.free.push_back(number);
    }

    /// When the first name's time has passed.
    pub(crate) fn next_due(&self) -> Option<Millis> {
        self.closed.front().map(|first| first.record.until())
    }
}

/// An account's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Held {
    number: AccountNumber,
    names: usize,
}

/// What follows from the names.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct NameIndex {
    /// Of open orders.
    pub(crate) open: OrdMap<OrderName, OrderId>,
    /// The places of closed names; of several with one hash, the last.
    by_hash: OrdMap<NameHash, u64>,
    by_order: OrdMap<OrderId, u64>,
    held: OrdMap<Account, Held>,
    /// Accounts by how many names they hold.
    by_count: OrdSet<(usize, AccountNumber)>,
}

impl NameIndex {
    /// Of closed names and of the places that all names take; the names of open orders are put in as the orders are.
    pub(crate) fn of(tables: &Tables) -> Self {
        let names = &tables.names;
        let mut index = Self::default();
        for (number, account) in &names.accounts {
            index.held.insert(account.clone(), Held { number: *number, names: 0 });
        }
        let open = tables.orders.values().map(|order| &order.order.account);
        let closed = names.closed.iter().filter_map(|closed| names.accounts.get(&closed.record.account));
        for account in open.chain(closed) {
            if let Some(held) = index.held.get_mut(account) {
                held.names += 1;
            }
        }
        index.by_count = index.held.values().map(|held| (held.names, held.number)).collect();
        for (place, closed) in (names.swept..).zip(&names.closed) {
            index.closed(place, closed);
        }
        index
    }

    fn closed(&mut self, place: u64, closed: &ClosedName) {
        self.by_hash.insert(closed.name, place);
        self.by_order.insert(closed.record.order_id, place);
    }

    fn swept(&mut self, place: u64, closed: &ClosedName) {
        self.by_order.remove(&closed.record.order_id);
        // The name may have been used again, before this one was swept.
        if self.by_hash.get(&closed.name) == Some(&place) {
            self.by_hash.remove(&closed.name);
        }
    }

    fn names_of(&self, account: &Account) -> usize {
        self.held.get(account).map_or(0, |held| held.names)
    }

    fn counted(&mut self, account: &Account, held: Held) {
        let before = self.held.insert(account.clone(), held);
        self.by_count.remove(&(before.map_or(0, |before| before.names), held.number));
        self.by_count.insert((held.names, held.number));
    }

    fn lost(&mut self, account: &Account) {
        if let Some(Held { number, names }) = self.held.remove(account) {
            self.by_count.remove(&(names, number));
        }
    }

    /// How many names an account with `own` of them may hold now, where all hold `total` and there is room for `max`.
    fn share(&self, own: usize, total: usize, max: usize) -> usize {
        let others = total.saturating_sub(own);
        let mut larger = self.by_count.iter().rev().map(|(names, _)| *names).take_while(|names| *names > own);
        let counted = match (larger.next(), larger.next()) {
            // The one that holds more counts as holding no more.
            (Some(largest), None) => others - (largest - own),
            (_, _) => others,
        };
        max.saturating_sub(counted).div_ceil(2).min(max.saturating_sub(others))
    }
}

impl Tables {
    /// How many names are held: those of open orders, and those of closed ones that are not swept.
    pub(crate) fn name_count(&self) -> usize {
        self.orders.len() + self.names.closed.len()
    }
}

impl Applying<'_> {
    /// The order's name is not known.
    pub(crate) fn check_name(&self, order: &NewOrder) -> Result<(), Refusal> {
        if planted(Bug::ApplyExecIdTwice) {
            return Ok(());
        }
        let name = (order.account.clone(), order.client_order_id.clone());
        let known = match self.indexes.names.open.get(&name).and_then(|id| self.tables.orders.get(id)) {
            Some(open) => {
                Some((NewOrder { timestamp: order.timestamp, ..open.order.clone() } == *order, open.result(Vec::new())))
            }
            None => closed_named(self.tables, &self.indexes.names, &order.account, &order.client_order_id)
                .map(|closed| (closed.record.check == content_check(order), closed.record.result())),
        };
        let Some((same, result)) = known else { return Ok(()) };
        Err(Refusal::DuplicateOrder { client_order_id: order.client_order_id.clone(), same, result })
    }

    /// There is a place for one more name of the account.
    pub(crate) fn check_places(&self, account: &Account) -> Result<(), Refusal> {
        let own = self.indexes.names.names_of(account);
        let max = self.indexes.names.share(own, self.tables.name_count(), self.names_max);
        if own < max { Ok(()) } else { Err(Refusal::NamesFull { account: account.clone(), max: max as u64 }) }
    }

    /// A new order's name takes a place.
    pub(crate) fn hold_name(&mut self, account: &Account) {
        let held = self.indexes.names.held.get(account).copied();
        let number = held.map_or_else(|| self.tables.names.give_number(account), |held| held.number);
        let names = held.map_or(0, |held| held.names) + 1;
        self.indexes.names.counted(account, Held { number, names });
    }

    /// A place is free again.
    fn release_name(&mut self, number: AccountNumber) {
        let Some(account) = self.tables.names.accounts.get(&number).cloned() else { return };
        let names = self.indexes.names.names_of(&account).saturating_sub(1);
        if names > 0 {
            self.indexes.names.counted(&account, Held { number, names });
        } else {
            self.indexes.names.lost(&account);
            self.tables.names.take_number_back(number);
        }
    }

    /// An order closed: of it remains its name, in the place that it has.
    pub(crate) fn remember_closed(&mut self, order: &Order) {
        let new = &order.order;
        let Some(account) = self.indexes.names.held.get(&new.account).map(|held| held.number) else { return };
        if planted(Bug::ForgetClosedOrders) {
            return self.release_name(account);
        }
        let closed = ClosedName {
            name: NameHash::of(&new.account, &new.client_order_id),
            record: ClosedRecord {
                order_id: order.id,
                closed_at: self.log_time(),
                cum_qty: order.cum_qty,
                cum_quote: order.cum_quote,
                account,
                status: order.status,
                check: content_check(new),
            },
        };
        self.indexes.names.closed(self.tables.names.next_place(), &closed);
        self.tables.names.closed.push_back(closed);
    }

    /// Forgets the name that closed first, where its time has passed; whether there was one.
    pub(crate) fn sweep_name(&mut self) -> bool {
        if self.tables.names.next_due().is_none_or(|due| due > self.log_time()) {
            return false;
        }
        let Some(closed) = self.tables.names.closed.pop_front() else { return false };
        self.indexes.names.swept(self.tables.names.swept, &closed);
        self.tables.names.swept += 1;
        self.release_name(closed.record.account);
        true
    }

    /// A closed order of this account and id, while its name is known.
    pub(crate) fn closed_order_of(&self, account: &Account, id: OrderId) -> Option<OrderResult> {
        let closed = closed_with_id(self.tables, &self.indexes.names, id)?;
        let owner = self.tables.names.accounts.get(&closed.record.account)?;
        (owner == account).then(|| closed.record.result())
    }
}

fn closed_at_place(tables: &Tables, place: Option<&u64>) -> Option<ClosedName> {
    tables.names.at(*place?).filter(|closed| closed.record.until() > tables.log_time).copied()
}

fn closed_named(tables: &Tables, index: &NameIndex, account: &Account, id: &ClientOrderId) -> Option<ClosedName> {
    closed_at_place(tables, index.by_hash.get(&NameHash::of(account, id)))
}

fn closed_with_id(tables: &Tables, index: &NameIndex, id: OrderId) -> Option<ClosedName> {
    closed_at_place(tables, index.by_order.get(&id))
}

/// What is known of a closed order, while its name is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClosedOrder {
    /// Its id.
    pub id: OrderId,
    /// Whose it was.
    pub account: Account,
    /// Log time when it closed.
    pub closed_at: Millis,
    /// How it ended.
    pub status: OrderStatus,
    /// Lots filled.
    pub cum_qty: Qty,
    /// Sum of price x qty of its fills.
    pub cum_quote: Money,
    /// The [`order_check`] of its content.
    pub check: u32,
}

/// An order whose name is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KnownOrder<'a> {
    /// It rests: whole.
    Open(&'a Order),
    /// It closed not long ago.
    Closed(ClosedOrder),
}

impl<'a> KnownOrder<'a> {
    /// Its id.
    #[must_use]
    pub fn id(&self) -> OrderId {
        match self {
            Self::Open(order) => order.id,
            Self::Closed(closed) => closed.id,
        }
    }

    /// Whose it is.
    #[must_use]
    pub fn account(&self) -> &Account {
        match self {
            Self::Open(order) => &order.order.account,
            Self::Closed(closed) => &closed.account,
        }
    }

    /// The order, where it is open.
    #[must_use]
    pub fn open(&self) -> Option<&'a Order> {
        match self {
            Self::Open(order) => Some(order),
            Self::Closed(_) => None,
        }
    }

    /// How it stands, without fills.
    #[must_use]
    pub fn result(&self) -> OrderResult {
        match self {
            Self::Open(order) => order.result(Vec::new()),
            Self::Closed(closed) => OrderResult {
                order_id: closed.id,
                status: closed.status,
                cum_qty: closed.cum_qty,
                leaves_qty: Qty::ZERO,
                cum_quote: closed.cum_quote,
                trades: Vec::new(),
            },
        }
    }
}

impl Ledger {
    /// An order that is open, or closed while its name is known.
    #[must_use]
    pub fn order(&self, id: OrderId) -> Option<KnownOrder<'_>> {
        let open = self.tables.orders.get(&id).map(|order| KnownOrder::Open(order));
        open.or_else(|| self.known_closed(closed_with_id(&self.tables, &self.indexes.names, id)?))
    }

    /// The order that an account gave this id, open, or closed while its name is known.
    #[must_use]
    pub fn order_named(&self, account: &Account, client_order_id: &ClientOrderId) -> Option<KnownOrder<'_>> {
        let names = &self.indexes.names;
        if let Some(id) = names.open.get(&(account.clone(), client_order_id.clone())) {
            return self.order(*id);
        }
        self.known_closed(closed_named(&self.tables, names, account, client_order_id)?)
    }

    /// Every order with an id above `after`, open, or closed while its name is known, by id.
    pub fn orders_after(&self, after: OrderId) -> impl Iterator<Item = KnownOrder<'_>> {
        let above = (Bound::Excluded(after), Bound::Unbounded);
        let mut open = self.tables.orders.range(above).map(|(id, _)| *id).peekable();
        let mut closed = self.indexes.names.by_order.range(above).map(|(id, _)| *id).peekable();
        let next = move || match (open.peek(), closed.peek()) {
            (Some(first), Some(other)) if first < other => open.next(),
            (Some(_), None) => open.next(),
            (_, _) => closed.next(),
        };
        std::iter::from_fn(next).filter_map(|id| self.order(id))
    }

    fn known_closed(&self, closed: ClosedName) -> Option<KnownOrder<'_>> {
        let ClosedRecord { order_id, closed_at, cum_qty, cum_quote, account, status, check: [a, b, c] } = closed.record;
        let account = self.tables.names.accounts.get(&account)?.clone();
        let check = u32::from_le_bytes([a, b, c, 0]);
        Some(KnownOrder::Closed(ClosedOrder { id: order_id, account, closed_at, status, cum_qty, cum_quote, check }))
    }

    /// How many names are held: those of open orders, and those of closed ones until they are swept.
    #[must_use]
    pub fn name_count(&self) -> usize {
        self.tables.name_count()
    }

    /// How many of the names an account holds.
    #[must_use]
    pub fn names_of(&self, account: &Account) -> usize {
        self.indexes.names.names_of(account)
    }

    /// What does not hold of the names, in words.
    pub(crate) fn audit_names(&self) -> Vec<String> {
        let (names, mut found) = (&self.tables.names, Vec::new());
        let mut last = Millis::ZERO;
        for ClosedName { record, .. } in &names.closed {
            let ClosedRecord { order_id: id, closed_at, .. } = *record;
            if closed_at < last || closed_at > self.log_time() {
                found.push(format!("order {id} closed at {closed_at}, out of its turn"));
            }
            last = closed_at;
            if !names.accounts.contains_key(&record.account) {
                found.push(format!("closed order {id} is of account number {}, which nobody has", record.account));
            }
            if !record_adds_up(record) || self.tables.orders.contains_key(&id) || id > self.last_index() {
                found.push(format!("closed order {id} does not add up"));
            }
        }
        for order in self.tables.orders.values() {
            let NewOrder { account, client_order_id, .. } = &order.order;
            if closed_named(&self.tables, &self.indexes.names, account, client_order_id).is_some() {
                found.push(format!("open order {} has the name of a closed one", order.id));
            }
            if !self.indexes.names.held.contains_key(account) {
                found.push(format!("open order {} is of an account without a number", order.id));
            }
        }
        self.audit_numbers(&mut found);
        found
    }

    fn audit_numbers(&self, found: &mut Vec<String>) {
        let (names, index) = (&self.tables.names, &self.indexes.names);
        let numbers: OrdSet<AccountNumber> = names.accounts.keys().chain(&names.free).copied().collect();
        let given = names.accounts.len() + names.free.len();
        if numbers.len() != given || numbers.get_max().is_some_and(|last| *last as usize + 1 != given) {
            found.push(format!("{given} account numbers have gaps, or are given twice"));
        }
        if index.held.len() != names.accounts.len() || index.held.values().any(|held| held.names == 0) {
            found.push("an account has a number and no name, or two numbers".to_owned());
        }
        if index.by_order.len() != names.closed.len() {
            found.push("two closed orders have one id".to_owned());
        }
    }
}

fn record_adds_up(record: &ClosedRecord) -> bool {
    let filled = record.cum_qty;
    let fits = match record.status {
        OrderStatus::New | OrderStatus::PartiallyFilled => false,
        OrderStatus::Rejected => filled == Qty::ZERO,
        OrderStatus::Filled => filled > Qty::ZERO,
        OrderStatus::Cancelled | OrderStatus::Expired => filled >= Qty::ZERO,
    };
    fits && (record.cum_quote == Money::default()) == (filled == Qty::ZERO)
}
