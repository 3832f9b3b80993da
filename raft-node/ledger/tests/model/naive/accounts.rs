//! Accounts: what each has, from the list of all that was ever posted, and what it locks.

use std::collections::BTreeMap;

use quorate_domain::{Account, Asset, Instrument, Money, Price, Side, Symbol};
use quorate_ledger::{
    Against, ExecuteOrder, NewOrder, Refusal, Remainder,
    bounds::{ACCOUNTS_MAX, DEPOSIT_MAX},
};

use super::{
    Fill, Model, Order, Posting, full,
    instruments::{fee, lot_units, notional, pays},
    some_text,
};

impl Model {
    /// Every account that has a record.
    pub(crate) fn accounts(&self) -> Vec<Account> {
        let ordered = self.orders.iter().map(|order| order.new.account.clone());
        let deposited = self.book.iter().filter_map(|posting| match posting {
            Posting::Deposit { account, .. } => Some(account.clone()),
            Posting::Fill(_) | Posting::Settled { .. } => None,
        });
        let mut accounts: Vec<Account> = ordered.chain(deposited).chain(self.limited.iter().cloned()).collect();
        accounts.sort();
        accounts.dedup();
        accounts.retain(|account| {
            let has = || self.balances(account).values().any(|amount| *amount != 0);
            self.limited.contains(account) || self.has_open_orders(account) || has()
        });
        accounts
    }

    pub(super) fn room_for_account(&self, account: &Account) -> Result<(), Refusal> {
        // No more accounts than there are facts about them.
        if self.orders.len() + self.book.len() + self.limited.len() < ACCOUNTS_MAX {
            return Ok(());
        }
        let accounts = self.accounts();
        if accounts.len() >= ACCOUNTS_MAX && !accounts.contains(account) { Err(full(ACCOUNTS_MAX)) } else { Ok(()) }
    }

    /// The accounts of a fill, with the side that each has and the fee that it pays; the house has none.
    fn parties(&self, fill: &Fill) -> Vec<(Account, Side, i128)> {
        let taker = (fill.taker_account.clone(), fill.taker_side, fill.taker_fee());
        let maker = match fill.against {
            Against::Quote(_) => None,
            Against::Order(id) => {
                Some((self.order(id).new.account.clone(), fill.taker_side.opposite(), fill.maker_fee()))
            }
        };
        std::iter::once(taker).chain(maker).collect()
    }

    /// What an account has of each asset.
    pub(crate) fn balances(&self, account: &Account) -> BTreeMap<Asset, i128> {
        let mut has: BTreeMap<Asset, i128> = BTreeMap::new();
        let mut add = |asset: &Asset, amount: i128| {
            let has = has.entry(asset.clone()).or_default();
            *has += amount;
            *has
        };
        for posting in &self.book {
            match posting {
                Posting::Deposit { account: to, asset, amount } if to == account => drop(add(asset, *amount)),
                Posting::Deposit { .. } => {}
                Posting::Fill(place) => {
                    let fill = &self.fills[*place];
                    for (_, side, fee) in self.parties(fill).into_iter().filter(|(party, ..)| party == account) {
                        let bought = if side == Side::Buy { 1 } else { -1 };
                        add(&fill.instrument.base, bought * i128::from(fill.qty.0) * lot_units(&fill.instrument));
                        add(&fill.instrument.quote, -bought * fill.notional() - fee);
                    }
                }
                Posting::Settled { instrument, price, .. } => {
                    let contracts = add(&instrument.base, 0);
                    let lots = contracts / lot_units(instrument);
                    add(&instrument.base, -contracts);
                    add(&instrument.quote, notional(instrument, *price, lots));
                }
            }
        }
        has
    }

    pub(crate) fn balance(&self, account: &Account, asset: &Asset) -> i128 {
        self.balances(account).get(asset).copied().unwrap_or(0)
    }

    fn open_orders_of(&self, account: &Account) -> impl Iterator<Item = &Order> {
        self.orders.iter().filter(move |order| order.new.account == *account && self.is_open(order))
    }

    pub(super) fn has_open_orders(&self, account: &Account) -> bool {
        self.open_orders_of(account).next().is_some()
    }

    /// Lots of an open sale of contracts that lock contracts: these are filled first.
    fn contracts_locked_by(&self, order: &Order) -> i64 {
        let filled_since = self.fills.iter().filter(|fill| fill.against == Against::Order(order.id));
        (order.covered - filled_since.map(|fill| fill.qty.0).sum::<i64>()).max(0)
    }

    /// Contracts that the open sales of an account lock.
    fn contracts_locked(&self, account: &Account, symbol: &Symbol) -> i64 {
        let sales =
            self.open_orders_of(account).filter(|order| order.new.symbol == *symbol && order.new.side == Side::Sell);
        sales.map(|order| self.contracts_locked_by(order)).sum()
    }

    fn contracts(&self, account: &Account, symbol: &Symbol) -> i64 {
        let of = &self.symbols[symbol].instrument;
        i64::try_from(self.balance(account, &of.base) / lot_units(of)).unwrap()
    }

    /// Contracts that an account has, and that no open sale locks.
    pub(super) fn free_contracts(&self, account: &Account, symbol: &Symbol) -> i64 {
        (self.contracts(account, symbol) - self.contracts_locked(account, symbol)).max(0)
    }

    fn short_contracts(&self, account: &Account, symbol: &Symbol) -> i64 {
        (self.contracts_locked(account, symbol) - self.contracts(account, symbol)).max(0)
    }

    /// What an open order locks of an asset.
    fn locked_by(&self, order: &Order, asset: &Asset) -> i128 {
        let of = &self.symbols[&order.new.symbol].instrument;
        let (leaves, price) = (self.open_leaves(order).0, order.new.price.unwrap());
        match (order.new.side, pays(of)) {
            (Side::Buy, _) if of.quote == *asset => notional(of, price, leaves.into()) + most_fees(of, price, leaves),
            (Side::Sell, None) if of.base == *asset => i128::from(leaves) * lot_units(of),
            (Side::Sell, Some(_)) if of.base == *asset => i128::from(self.contracts_locked_by(order)) * lot_units(of),
            (Side::Sell, Some(pays)) if of.quote == *asset => {
                let others = leaves - self.contracts_locked_by(order);
                notional(of, Price(pays.0 - price.0), others.into()) + most_fees(of, price, others)
            }
            (Side::Buy | Side::Sell, _) => 0,
        }
    }

    /// What the short contracts of an account lock of an asset.
    fn locked_by_shorts(&self, account: &Account, asset: &Asset) -> i128 {
        let quoted = self.symbols.iter().filter(|(_, state)| state.instrument.quote == *asset);
        let each = quoted.filter_map(|(symbol, state)| {
            let pays = pays(&state.instrument)?;
            Some(notional(&state.instrument, pays, self.short_contracts(account, symbol).into()))
        });
        each.sum()
    }

    /// What a limited account may not spend of an asset; nothing where it is open.
    pub(crate) fn locked(&self, account: &Account, asset: &Asset) -> i128 {
        if !self.limited.contains(account) {
            return 0;
        }
        let by_orders: i128 = self.open_orders_of(account).map(|order| self.locked_by(order, asset)).sum();
        by_orders + self.locked_by_shorts(account, asset)
    }

    pub(crate) fn free_of(&self, account: &Account, asset: &Asset) -> i128 {
        self.balance(account, asset) - self.locked(account, asset)
    }

    /// Whether an asset is a contract: of that an account may owe, and locks money for it.
    pub(crate) fn is_contract(&self, asset: &Asset) -> bool {
        self.symbols.values().any(|state| state.instrument.base == *asset && pays(&state.instrument).is_some())
    }

    /// Whether a limited account would have nothing below 0 free after its side of an order's fills, and with the rest
    /// locked.
    pub(super) fn would_be_covered(&self, execute: &ExecuteOrder) -> Result<(), Refusal> {
        let NewOrder { account, symbol, .. } = &execute.order;
        if !self.limited.contains(account) {
            return Ok(());
        }
        let of = &self.symbols[symbol].instrument;
        let needs = match pays(of) {
            None => self.needs_of_spot(of, execute).to_vec(),
            Some(pays) => vec![self.needs_of_contracts(of, pays, execute)],
        };
        for (asset, needed) in needs {
            let free = self.free_of(account, &asset);
            if free - needed < 0 {
                return Err(Refusal::BalanceShort { asset, free: Money(free), needed: Money(needed) });
            }
        }
        Ok(())
    }

    /// How much less of base and quote asset an account has free after an order of a spot symbol.
    fn needs_of_spot(&self, of: &Instrument, execute: &ExecuteOrder) -> [(Asset, i128); 2] {
        let (lots, paid) = taken(of, execute);
        let (base, quote) = match resting(execute) {
            Some((Side::Buy, price, rest)) => (0, notional(of, price, rest.into()) + most_fees(of, price, rest)),
            Some((Side::Sell, _, rest)) => (i128::from(rest) * lot_units(of), 0),
            None => (0, 0),
        };
        [(of.base.clone(), base - i128::from(lots) * lot_units(of)), (of.quote.clone(), paid + quote)]
    }

    /// How much less of the quote asset an account has free after an order of contracts.
    fn needs_of_contracts(&self, of: &Instrument, pays: Price, execute: &ExecuteOrder) -> (Asset, i128) {
        let NewOrder { account, symbol, .. } = &execute.order;
        let (lots, paid) = taken(of, execute);
        let (has, locked) = (self.contracts(account, symbol), self.contracts_locked(account, symbol));
        let shorts = |contracts: i64| (locked - contracts).max(0);
        let owed = notional(of, pays, i128::from(shorts(has + lots) - shorts(has)));
        let rest = match resting(execute) {
            Some((Side::Buy, price, rest)) => notional(of, price, rest.into()) + most_fees(of, price, rest),
            Some((Side::Sell, price, rest)) => {
                let uncovered = rest - rest.min((has + lots - locked).max(0));
                notional(of, Price(pays.0 - price.0), uncovered.into()) + most_fees(of, price, uncovered)
            }
            None => 0,
        };
        (of.quote.clone(), paid + owed + rest)
    }

    pub(super) fn may_limit(&self, account: &Account) -> Result<(), Refusal> {
        if self.limited.contains(account) {
            return Ok(());
        }
        self.room_for_account(account)?;
        let owes = self.balances(account).values().any(|has| *has < 0);
        if self.has_open_orders(account) || owes {
            return Err(Refusal::AccountBusy { account: account.clone() });
        }
        Ok(())
    }

    pub(super) fn may_deposit(&self, account: &Account, asset: &Asset, amount: Money) -> Result<(), Refusal> {
        self.room_for_account(account)?;
        let free = self.free_of(account, asset);
        if self.limited.contains(account) && free + amount.0 < 0 {
            return Err(Refusal::BalanceShort { asset: asset.clone(), free: Money(free), needed: Money(-amount.0) });
        }
        if amount.0 > DEPOSIT_MAX || amount.0 < -DEPOSIT_MAX {
            return Err(Refusal::Overflow { what: some_text() });
        }
        Ok(())
    }

    pub(super) fn may_be_deposited(&self, asset: &Asset) -> Result<(), Refusal> {
        let known = self
            .symbols
            .values()
            .map(|state| &state.instrument)
            .any(|of| of.quote == *asset || (of.base == *asset && pays(of).is_none()));
        if known { Ok(()) } else { Err(Refusal::UnknownAsset { asset: asset.clone() }) }
    }

    /// Fees that were paid of an asset.
    pub(crate) fn fees_paid(&self, asset: &Asset) -> i128 {
        let fills = self.fills.iter().filter(|fill| fill.instrument.quote == *asset);
        fills.map(|fill| fill.taker_fee() + fill.maker_fee()).sum()
    }

    pub(crate) fn deposited(&self, asset: &Asset) -> i128 {
        let deposits = self.book.iter().filter_map(|posting| match posting {
            Posting::Deposit { asset: of, amount, .. } if of == asset => Some(*amount),
            Posting::Deposit { .. } | Posting::Fill(_) | Posting::Settled { .. } => None,
        });
        deposits.sum()
    }

    /// What the house has of an asset: cash of what is quoted in it, and positions of what is sold for others.
    pub(crate) fn of_the_house(&self, asset: &Asset) -> i128 {
        let each = self.symbols.iter().map(|(symbol, state)| {
            let (of, profit) = (&state.instrument, self.profit(symbol));
            let cash = if of.quote == *asset { profit.cash } else { 0 };
            let position = if of.base == *asset { profit.position * lot_units(of) } else { 0 };
            cash + position
        });
        each.sum()
    }

    pub(crate) fn assets(&self) -> Vec<Asset> {
        let both = self.symbols.values().flat_map(|state| [&state.instrument.base, &state.instrument.quote]);
        let mut assets: Vec<Asset> = both.cloned().collect();
        assets.sort();
        assets.dedup();
        assets
    }
}

/// The most that maker fees on so many lots can be.
fn most_fees(of: &Instrument, price: Price, lots: i64) -> i128 {
    if of.maker_fee_ppm <= 0 {
        return 0;
    }
    notional(of, price, lots.into()) * i128::from(of.maker_fee_ppm) / 1_000_000 + i128::from(lots)
}

/// Lots that an order's fills bring its account, and what it pays for them, fees included.
fn taken(of: &Instrument, execute: &ExecuteOrder) -> (i64, i128) {
    let bought = if execute.order.side == Side::Buy { 1 } else { -1 };
    let lots: i64 = execute.fills.iter().map(|fill| fill.qty.0).sum();
    let each = execute.fills.iter().map(|fill| {
        let notional = notional(of, fill.price, fill.qty.0.into());
        i128::from(bought) * notional + fee(notional, of.taker_fee_ppm)
    });
    (bought * lots, each.sum())
}

/// Side, price and lots of what an order leaves to rest.
fn resting(execute: &ExecuteOrder) -> Option<(Side, Price, i64)> {
    let filled: i64 = execute.fills.iter().map(|fill| fill.qty.0).sum();
    let NewOrder { side, price, qty, .. } = execute.order;
    price.filter(|_| execute.remainder == Remainder::Rest).map(|price| (side, price, qty.0 - filled))
}
