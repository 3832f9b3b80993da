//! The part of the audit that is about money: sums, what accounts lock, breakers, and how symbols end.
//!
//! Sums wrap, so that a damaged snapshot is refused and stops no node.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    accounts::Balance,
    audit::Findings,
    bounds::ACCOUNTS_MAX,
    ledger::Ledger,
    state::{Demand, SymbolState},
};
use quorate_domain::{Asset, Instrument, Kind, Money, Position, ProtectionState, Qty, RefPrice, Symbol};

impl Ledger {
    /// Per asset, the accounts, the house and the fees sum to the deposits.
    pub(crate) fn audit_balances(&self, found: &mut Findings) {
        let tables = &self.tables;
        let mut sums: BTreeMap<&Asset, i128> = BTreeMap::new();
        let mut add = |asset, money: i128| {
            let sum = sums.entry(asset).or_default();
            *sum = sum.wrapping_add(money);
        };
        for state in tables.symbols.values() {
            add(&state.instrument.quote, state.pnl.cash.0);
            let lots = i128::from(state.position().0);
            add(&state.instrument.base, lots.wrapping_mul(state.instrument.lot_units()));
        }
        tables.fees.iter().for_each(|(asset, fees)| add(asset, fees.0));
        tables.deposits.iter().for_each(|(asset, deposited)| add(asset, deposited.0.wrapping_neg()));
        for account in tables.accounts.values() {
            account.balances.iter().for_each(|(asset, balance)| add(asset, balance.total.0));
        }
        for (asset, sum) in sums {
            found.check(sum == 0, || format!("{asset}: balances, house and fees less deposits are {}", Money(sum)));
        }
        let accounts = tables.accounts.len();
        found.check(accounts <= ACCOUNTS_MAX, || format!("{accounts} accounts, at most {ACCOUNTS_MAX}"));
    }

    /// What accounts lock is what their open orders and short contracts need, and limited ones have it.
    pub(crate) fn audit_locks(&self, found: &mut Findings) {
        let instruments = self.tables.symbols.values().map(|state| &state.instrument);
        let binaries: Vec<&Instrument> = instruments.filter(|of| matches!(of.kind, Kind::Binary { .. })).collect();
        let contracts: BTreeSet<&Asset> = binaries.iter().map(|of| &of.base).collect();
        for (name, account) in &self.tables.accounts {
            let orders = self.open_orders_of_after(name, 0).next().is_some();
            found.check(account.limited || orders || !account.balances.is_empty(), || {
                format!("account {name} has a record, and nothing to tell of")
            });
            let needed = self.locks_of(name, &binaries);
            for (asset, balance) in &account.balances {
                found.check(*balance != Balance::default(), || format!("account {name} has a record of 0 {asset}"));
                let covered = !account.limited || contracts.contains(asset) || balance.free() >= Money::ZERO;
                found.check(covered, || format!("limited account {name} has {} {asset} free", balance.free()));
            }
            for asset in account.balances.keys().chain(needed.keys()) {
                let (locked, needed) = (account.balance(asset).locked, needed.get(asset).copied().unwrap_or_default());
                found.check(locked == needed, || {
                    format!("account {name} has {locked} {asset} locked, and orders and contracts lock {needed}")
                });
            }
        }
    }

    /// Where a breaker has tripped, nothing is quoted and nobody waits.
    pub(crate) fn audit_breakers(&self, found: &mut Findings) {
        for (symbol, state) in &self.tables.symbols {
            let asset = &state.instrument.quote;
            let tripped = self.tables.drawdowns.get(asset).is_some_and(|drawdown| drawdown.tripped);
            let idle = state.quote.is_none() && state.demand == Demand::default();
            found.check(!tripped || idle, || format!("{symbol} is quoted, and the breaker of {asset} has tripped"));
            let paused = state.guard.paused_until.is_some_and(|until| until > self.log_time());
            found.check(!paused || idle, || format!("{symbol} is quoted, and its protection has tripped"));
        }
        for (asset, drawdown) in &self.tables.drawdowns {
            let known = self.tables.symbols.values().any(|state| state.instrument.quote == *asset);
            found.check(known, || format!("{asset} has a breaker, and nothing is quoted in it"));
            let in_range = drawdown.limit.is_none_or(|limit| limit >= Money::ZERO);
            found.check(in_range, || format!("the drawdown limit of {asset} is below 0"));
        }
        for symbol in self.tables.listing.iter().flatten() {
            found.check(self.symbol(symbol).is_some(), || format!("{symbol} is listed, and not defined"));
        }
    }

    /// What has ended or is not listed is held by nobody; what was settled is nobody's any more.
    pub(crate) fn audit_end(&self, found: &mut Findings, symbol: &Symbol, state: &SymbolState) {
        let traded = self.tables.is_traded(symbol, state);
        found.check(traded || state.holder.is_none(), || format!("{symbol} is held, and is not traded"));
        let ended = state.closed.is_some();
        let open = ended && self.open_orders().any(|order| order.order.symbol == *symbol);
        found.check(!open, || format!("{symbol} has ended, and has an open order"));
        if state.closed.is_some_and(|closed| closed.settled.is_some()) {
            let base = &state.instrument.base;
            let nobodys = state.position() == Position::ZERO
                && self.tables.accounts.values().all(|account| account.balance(base).total == Money::ZERO);
            found.check(nobodys, || format!("{symbol} is settled, and somebody still has of it"));
        }
        found.check(state.revision > 0, || format!("{symbol} has the revision 0"));
        found.check(state.instrument.check().is_ok(), || format!("{symbol} has an instrument out of its ranges"));
        let marks = &state.marks;
        let in_time = [marks.counted, marks.waiting].into_iter().flatten().all(|mark| Some(mark.at) <= marks.last);
        found.check(in_time, || format!("{symbol} has a mark of after the last"));
        let in_range = [marks.counted, marks.waiting].into_iter().flatten().all(|mark| mark.price > RefPrice(0));
        found.check(in_range, || format!("{symbol} has a mark without a price"));
        let counted = match state.protection {
            Some(protection) => (Qty::ZERO..protection.lots_max).contains(&state.guard.lots),
            None => state.guard == ProtectionState::default(),
        };
        found.check(counted, || format!("{symbol} counts lots that its protection does not"));
    }
}
