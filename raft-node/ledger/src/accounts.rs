//! Accounts: what each has of each asset, and what its open orders lock.
//!
//! Invariant: per asset, the balances of all accounts, the house and the fees sum to the deposits; the house's part follows
//! from the symbols, and stands nowhere else. A limited account has nothing below 0 free, but short contracts that are
//! covered. An account has a record while it is limited, has an open order, or has anything. `docs/ledger.md`, *Money*, gives the rules.

use std::collections::BTreeMap;

use imbl::OrdMap;
use quorate_planted::{Bug, planted};
use serde::{Deserialize, Serialize};

use crate::{
    apply::Applying,
    bounds::{ACCOUNTS_MAX, DEPOSIT_MAX},
    command::{ExecuteOrder, Remainder},
    ledger::Ledger,
    refusal::Refusal,
    state::Order,
};
use quorate_domain::{Account, Asset, Instrument, Kind, Money, Price, Qty, Side, fee};

/// What an account has.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountState {
    /// Whether it may not go below 0.
    pub limited: bool,
    /// Of every asset of which it has something, or owes something.
    #[serde(deserialize_with = "crate::maps::read")]
    pub balances: OrdMap<Asset, Balance>,
}

/// What an account has of one asset, in 10^-12 of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Balance {
    /// All of it.
    pub total: Money,
    /// Of that, what open orders and short contracts lock; 0 in an open account.
    pub locked: Money,
}

impl Balance {
    /// What is not locked.
    #[must_use]
    pub fn free(&self) -> Money {
        Money(self.total.0.saturating_sub(self.locked.0))
    }
}

/// What changes of a balance.
#[derive(Debug, Clone, Copy, Default)]
struct Change {
    total: i128,
    locked: i128,
}

/// What an open order of a limited account locks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Lock {
    base: i128,
    quote: i128,
}

/// One side of a fill, as an account sees it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Leg {
    pub(crate) side: Side,
    pub(crate) qty: Qty,
    pub(crate) notional: Money,
    pub(crate) fee: Money,
}

impl AccountState {
    /// What it has of an asset.
    #[must_use]
    pub fn balance(&self, asset: &Asset) -> Balance {
        self.balances.get(asset).copied().unwrap_or_default()
    }

    /// Whether it owes something, or has less free than nothing.
    fn owes(&self) -> bool {
        self.balances.values().any(|balance| balance.total.0 < 0 || balance.free().0 < 0)
    }

    fn change(&mut self, asset: &Asset, change: Change) {
        let mut balance = self.balance(asset);
        balance.total.0 = balance.total.0.saturating_add(change.total);
        balance.locked.0 = balance.locked.0.saturating_add(change.locked);
        if balance == Balance::default() {
            self.balances.remove(asset);
        } else {
            self.balances.insert(asset.clone(), balance);
        }
    }

    /// Changes base and quote of an instrument; what short contracts lock follows.
    fn change_both(&mut self, instrument: &Instrument, base: Change, quote: Change) {
        let before = self.shorts_lock(instrument);
        self.change(&instrument.base, base);
        let shorts = self.shorts_lock(instrument).saturating_sub(before);
        self.change(&instrument.quote, Change { locked: quote.locked.saturating_add(shorts), ..quote });
    }

    /// What the contracts lock that open sales lock and that it owes, less those that it has.
    fn shorts_lock(&self, instrument: &Instrument) -> i128 {
        let Kind::Binary { pays } = instrument.kind else { return 0 };
        if !self.limited {
            return 0;
        }
        let lots = self.free_lots(instrument).saturating_neg().max(0);
        money(instrument, pays, lots)
    }

    fn free_lots(&self, instrument: &Instrument) -> i128 {
        self.balance(&instrument.base).free().0 / instrument.lot_units().max(1)
    }

    /// Takes its side of a fill.
    fn fill(&mut self, instrument: &Instrument, leg: &Leg) {
        let base = i128::from(leg.qty.0).saturating_mul(instrument.lot_units());
        let (base, quote) = match leg.side {
            Side::Buy => (base, -leg.notional.0),
            Side::Sell => (-base, leg.notional.0),
        };
        let quote = quote.saturating_sub(leg.fee.0);
        self.change_both(instrument, Change { total: base, locked: 0 }, Change { total: quote, locked: 0 });
    }

    /// How many lots of a sale that begins to rest no free contracts cover.
    fn uncovered(&self, instrument: &Instrument, side: Side, leaves: Qty) -> Qty {
        match (instrument.kind, side) {
            (Kind::Binary { .. }, Side::Sell) if self.limited => {
                let covered = i64::try_from(self.free_lots(instrument).max(0)).unwrap_or(i64::MAX);
                Qty(leaves.0.saturating_sub(covered).max(0))
            }
            _ => Qty::ZERO,
        }
    }

    fn lock(&mut self, instrument: &Instrument, new: Lock, old: Lock) {
        if self.limited {
            let base = Change { total: 0, locked: new.base.saturating_sub(old.base) };
            let quote = Change { total: 0, locked: new.quote.saturating_sub(old.quote) };
            self.change_both(instrument, base, quote);
        }
    }
}

/// What so many lots of an order lock, of which so many are covered by nothing.
fn lock_of(instrument: &Instrument, side: Side, price: Price, leaves: Qty, uncovered: Qty) -> Lock {
    let uncovered = i128::from(uncovered.0.min(leaves.0));
    let leaves = i128::from(leaves.0);
    match (instrument.kind, side) {
        (_, Side::Buy) => Lock {
            base: 0,
            quote: money(instrument, price, leaves).saturating_add(fees_at_most(instrument, price, leaves)),
        },
        (Kind::Spot, Side::Sell) => Lock { base: leaves.saturating_mul(instrument.lot_units()), quote: 0 },
        (Kind::Binary { pays }, Side::Sell) => {
            let risk = money(instrument, Price(pays.0 - price.0), uncovered);
            Lock {
                base: (leaves - uncovered).saturating_mul(instrument.lot_units()),
                quote: risk.saturating_add(fees_at_most(instrument, price, uncovered)),
            }
        }
    }
}

/// Price x lots in money; both are bounded by what the order's checks let pass.
fn money(instrument: &Instrument, price: Price, lots: i128) -> i128 {
    i128::from(price.0).saturating_mul(lots).saturating_mul(instrument.tick_lot_units().unwrap_or(0))
}

/// The most that the resting side's fees on so many lots can be: each fill rounds up once.
fn fees_at_most(instrument: &Instrument, price: Price, lots: i128) -> i128 {
    let ppm = i128::from(instrument.maker_fee_ppm.max(0));
    if ppm == 0 {
        0
    } else {
        (money(instrument, price, lots) / 1_000_000)
            .saturating_mul(ppm)
            .saturating_add(rest_of_fee(instrument, price, lots, ppm))
            .saturating_add(lots)
    }
}

/// The part of the fee that dividing first leaves out.
fn rest_of_fee(instrument: &Instrument, price: Price, lots: i128, ppm: i128) -> i128 {
    (money(instrument, price, lots) % 1_000_000) * ppm / 1_000_000
}

impl Ledger {
    /// What an account's open orders and short contracts lock of each asset, worked out anew; nothing where it is open.
    pub(crate) fn locks_of(&self, name: &Account, binaries: &[&Instrument]) -> BTreeMap<Asset, Money> {
        let mut locks: BTreeMap<Asset, Money> = BTreeMap::new();
        let Some(account) = self.tables.accounts.get(name).filter(|account| account.limited) else { return locks };
        let mut add = |asset: &Asset, amount: i128| {
            let lock = locks.entry(asset.clone()).or_default();
            lock.0 = lock.0.saturating_add(amount);
            lock.0
        };
        for order in self.open_orders_of_after(name, 0) {
            let Some(instrument) = self.symbol(&order.order.symbol).map(|state| &state.instrument) else { continue };
            let Some(price) = order.order.price else { continue };
            let lock = lock_of(instrument, order.order.side, price, order.leaves(), order.uncovered);
            add(&instrument.base, lock.base);
            add(&instrument.quote, lock.quote);
        }
        for instrument in binaries {
            let Kind::Binary { pays } = instrument.kind else { continue };
            let base = &instrument.base;
            let short = add(base, 0).saturating_sub(account.balance(base).total.0).max(0);
            let lots = short / instrument.lot_units().max(1);
            add(&instrument.quote, money(instrument, pays, lots));
        }
        locks
    }
}

impl Applying<'_> {
    pub(crate) fn account(&self, account: &Account) -> Option<&AccountState> {
        self.tables.accounts.get(account)
    }

    /// Room for one account more, where this one has no record.
    pub(crate) fn check_account_room(&self, account: &Account) -> Result<(), Refusal> {
        if self.tables.accounts.len() >= ACCOUNTS_MAX && !self.tables.accounts.contains_key(account) {
            return Err(Refusal::Full { what: "accounts".to_owned(), max: ACCOUNTS_MAX as u64 });
        }
        Ok(())
    }

    /// Whether a limited account would be covered after this order: its fills taken, its rest locked.
    pub(crate) fn check_covered(&self, command: &ExecuteOrder, instrument: &Instrument) -> Result<(), Refusal> {
        let order = &command.order;
        self.check_account_room(&order.account)?;
        let Some(before) = self.account(&order.account).filter(|account| account.limited) else { return Ok(()) };
        let mut after = before.clone();
        for fill in &command.fills {
            let Some(notional) = instrument.notional(fill.price, fill.qty) else { continue };
            let fee = fee(notional, instrument.taker_fee_ppm).unwrap_or_default();
            after.fill(instrument, &Leg { side: order.side, qty: fill.qty, notional, fee });
        }
        if command.remainder == Remainder::Rest
            && let Some(price) = order.price
        {
            let filled: i64 = command.fills.iter().map(|fill| fill.qty.0).sum();
            let leaves = Qty(order.qty.0 - filled);
            let uncovered = after.uncovered(instrument, order.side, leaves);
            after.lock(instrument, lock_of(instrument, order.side, price, leaves, uncovered), Lock::default());
        }
        let base = (instrument.kind == Kind::Spot).then_some(&instrument.base);
        for asset in base.into_iter().chain([&instrument.quote]) {
            let (free, left) = (before.balance(asset).free(), after.balance(asset).free());
            if left.0 < 0 {
                let needed = Money(free.0.saturating_sub(left.0));
                return Err(Refusal::BalanceShort { asset: asset.clone(), free, needed });
            }
        }
        Ok(())
    }

    fn change_account(&mut self, account: &Account, change: impl FnOnce(&mut AccountState)) {
        change(self.tables.accounts.entry(account.clone()).or_default());
        self.drop_idle_account(account);
    }

    /// The record of an account goes that is open, has nothing, and has no open order.
    fn drop_idle_account(&mut self, account: &Account) {
        let idle = self.account(account).is_some_and(|state| !state.limited && state.balances.is_empty());
        if idle && self.indexes.open_of(account, 0).next().is_none() {
            self.tables.accounts.remove(account);
        }
    }

    /// An account's side of a fill.
    pub(crate) fn fill_account(&mut self, account: &Account, instrument: &Instrument, leg: &Leg) {
        self.change_account(account, |account| account.fill(instrument, leg));
    }

    pub(crate) fn count_fees(&mut self, instrument: &Instrument, fees: Money) {
        let kept = self.tables.fees.entry(instrument.quote.clone()).or_default();
        kept.0 = kept.0.saturating_add(fees.0);
    }

    /// Whether the account has a record follows from its open orders.
    pub(crate) fn orders_changed(&mut self, account: &Account) {
        self.change_account(account, |_| {});
    }

    /// How much of an order that begins to rest no free contracts cover.
    pub(crate) fn uncovered(&self, order: &Order, instrument: &Instrument) -> Qty {
        let account = &order.order.account;
        self.account(account).map_or(Qty::ZERO, |state| state.uncovered(instrument, order.order.side, order.leaves()))
    }

    /// What an order locks follows its leaves.
    pub(crate) fn relock(&mut self, old: Option<&Order>, new: &Order) {
        let Some(instrument) = self.tables.symbols.get(&new.order.symbol).map(|state| state.instrument.clone()) else {
            return;
        };
        let Some(price) = new.order.price else { return };
        let side = new.order.side;
        let lock = |order: &Order| lock_of(&instrument, side, price, order.leaves(), order.uncovered);
        let (before, after) = (old.map_or(Lock::default(), lock), lock(new));
        if before == after {
            return;
        }
        self.change_account(&new.order.account, |account| account.lock(&instrument, after, before));
        if planted(Bug::BalanceUnlockedTwice) && !new.status.is_open() {
            self.change_account(&new.order.account, |account| account.lock(&instrument, after, before));
        }
    }

    pub(crate) fn check_limit_account(&self, account: &Account) -> Result<(), Refusal> {
        self.check_account_room(account)?;
        let Some(state) = self.account(account) else { return Ok(()) };
        if !state.limited && (state.owes() || self.indexes.open_of(account, 0).next().is_some()) {
            return Err(Refusal::AccountBusy { account: account.clone() });
        }
        Ok(())
    }

    pub(crate) fn limit_account(&mut self, account: &Account) {
        self.change_account(account, |account| account.limited = true);
    }

    pub(crate) fn check_deposit(&self, account: &Account, asset: &Asset, amount: Money) -> Result<(), Refusal> {
        self.check_account_room(account)?;
        let state = self.account(account).cloned().unwrap_or_default();
        let free = state.balance(asset).free();
        if state.limited && free.0.saturating_add(amount.0) < 0 {
            let needed = Money(amount.0.saturating_neg());
            return Err(Refusal::BalanceShort { asset: asset.clone(), free, needed });
        }
        let deposits = self.tables.deposits.get(asset).copied().unwrap_or_default();
        let sums = [state.balance(asset).total.0, deposits.0];
        if !(-DEPOSIT_MAX..=DEPOSIT_MAX).contains(&amount.0)
            || sums.iter().any(|sum| sum.checked_add(amount.0).is_none())
        {
            return Err(Refusal::Overflow { what: "the balance".to_owned() });
        }
        Ok(())
    }

    pub(crate) fn deposit(&mut self, account: &Account, asset: &Asset, amount: Money) {
        self.change_account(account, |account| account.change(asset, Change { total: amount.0, locked: 0 }));
        let deposits = self.tables.deposits.entry(asset.clone()).or_default();
        deposits.0 = deposits.0.saturating_add(amount.0);
    }

    /// Turns every account's contracts of a binary symbol into cash, by account.
    pub(crate) fn settle_contracts(&mut self, instrument: &Instrument, price: Price) {
        let holders = self.tables.accounts.iter().filter(|(_, account)| account.balance(&instrument.base).total.0 != 0);
        let holders: Vec<Account> = holders.map(|(name, _)| name.clone()).collect();
        for name in holders {
            self.change_account(&name, |account| {
                let contracts = account.balance(&instrument.base).total.0;
                let lots = contracts / instrument.lot_units().max(1);
                let cash = money(instrument, price, lots);
                let gone = if planted(Bug::SettleTwice) { 0 } else { contracts };
                let (base, quote) = (Change { total: -gone, locked: 0 }, Change { total: cash, locked: 0 });
                account.change_both(instrument, base, quote);
            });
        }
    }
}
