//! Profit, balances and breakers, as they are shown.

use std::collections::BTreeMap;

use quorate_api::{
    AccountView, AmountView, BalanceView, BalancesView, BreakersView, DrawdownView, PnlView, ProtectionView,
};
use quorate_domain::{Account, Asset, Money, Symbol};
use quorate_ledger::{AccountState, Ledger, SymbolState};

/// The quote assets of all symbols, or that of one.
fn quote_assets(ledger: &Ledger, only: Option<&Symbol>) -> Vec<Asset> {
    let symbols = ledger.symbols().filter(|(symbol, _)| only.is_none_or(|only| only == *symbol));
    let mut assets: Vec<Asset> = symbols.map(|(_, state)| state.instrument.quote.clone()).collect();
    assets.sort_unstable();
    assets.dedup();
    assets
}

pub(super) fn pnl(ledger: &Ledger, only: Option<&Symbol>) -> Vec<PnlView> {
    let row = |asset: Asset| {
        let equity = ledger.equity(&asset);
        let of_asset = || ledger.symbols().map(|(_, state)| state).filter(|state| state.instrument.quote == asset);
        let sum = |part: fn(&SymbolState) -> Money| Money(of_asset().map(|state| part(state).0).sum());
        let (cash, cost) = (sum(|state| state.pnl.cash), sum(|state| state.pnl.cost));
        PnlView {
            equity: equity.equity,
            cash,
            realised: sum(|state| state.pnl.realised),
            unrealised: Money(equity.equity.0.saturating_sub(cash.0).saturating_sub(cost.0)),
            fees: sum(|state| state.pnl.fees),
            unmarked_since: equity.unmarked_since,
            high_water: equity.drawdown.high_water,
            asset,
        }
    };
    quote_assets(ledger, only).into_iter().map(row).collect()
}

pub(super) fn breakers(ledger: &Ledger, only: Option<&Symbol>) -> BreakersView {
    let drawdown = |asset: Asset| {
        let equity = ledger.equity(&asset);
        DrawdownView {
            asset,
            equity: equity.equity,
            high_water: equity.drawdown.high_water,
            limit: equity.drawdown.limit,
            tripped: equity.drawdown.tripped,
            unmarked_since: equity.unmarked_since,
        }
    };
    let now = ledger.log_time();
    let protection = |(symbol, state): (&Symbol, &SymbolState)| {
        let protection = state.protection?;
        let window_until =
            state.guard.opened.map(|opened| opened.plus(protection.window_ms)).filter(|until| *until > now);
        Some(ProtectionView {
            symbol: symbol.clone(),
            protection,
            lots: if window_until.is_some() { state.guard.lots } else { Default::default() },
            window_until,
            paused_until: state.guard.paused_until.filter(|until| *until > now),
        })
    };
    let symbols = ledger.symbols().filter(|(symbol, _)| only.is_none_or(|only| only == *symbol));
    BreakersView {
        drawdowns: quote_assets(ledger, only).into_iter().map(drawdown).collect(),
        protections: symbols.filter_map(protection).collect(),
    }
}

/// One account, or as many as `limit` that sort after `after`.
pub(super) fn balances(
    ledger: &Ledger,
    account: Option<&Account>,
    after: Option<&Account>,
    limit: usize,
) -> BalancesView {
    let wanted =
        |name: &Account| account.is_none_or(|account| account == name) && after.is_none_or(|after| name > after);
    let mut rows = ledger.accounts().filter(|(name, _)| wanted(name)).map(|(name, state)| of_account(name, state));
    let accounts: Vec<AccountView> = rows.by_ref().take(limit).collect();
    let next_after = rows.next().and_then(|_| accounts.last().map(|row| row.account.clone()));
    let amount = |(asset, amount): (&Asset, &Money)| AmountView { asset: asset.clone(), amount: *amount };
    BalancesView {
        accounts,
        house: house(ledger),
        fees: ledger.fees_paid().map(amount).collect(),
        deposits: ledger.deposits().map(amount).collect(),
        next_after,
    }
}

fn of_account(name: &Account, state: &AccountState) -> AccountView {
    let balance = |(asset, balance): (&Asset, &quorate_ledger::Balance)| BalanceView {
        asset: asset.clone(),
        total: balance.total,
        locked: balance.locked,
        free: balance.free(),
    };
    AccountView {
        account: name.clone(),
        limited: state.limited,
        balances: state.balances.iter().map(balance).collect(),
    }
}

/// What follows from the symbols: their cash, and their positions in the base asset.
fn house(ledger: &Ledger) -> Vec<AmountView> {
    let mut sums: BTreeMap<Asset, i128> = BTreeMap::new();
    for (_, state) in ledger.symbols() {
        let instrument = &state.instrument;
        let held = i128::from(state.position().0).saturating_mul(instrument.lot_units());
        for (asset, amount) in [(&instrument.quote, state.pnl.cash.0), (&instrument.base, held)] {
            let sum = sums.entry(asset.clone()).or_default();
            *sum = sum.saturating_add(amount);
        }
    }
    sums.into_iter().map(|(asset, amount)| AmountView { asset, amount: Money(amount) }).collect()
}
