//! What an account has, as the ledger counts it.

use std::collections::BTreeMap;

use axum::{extract::State, http::HeaderMap, response::Response};
use quorate_api::BalanceView;
use quorate_binance_api::model::{AccountInfo, AssetBalance, CommissionRates};
use quorate_domain::{Asset, Decimal, Money};

use super::call::{App, Failed, Sent, account, ok, reading, unread};
use crate::{accounts::Permission, desk::Desk};

/// Digits after the point of a rate.
const RATE_DECIMALS: u32 = 8;

pub(super) async fn account_info(State(desk): App, headers: HeaderMap, Sent(params): Sent) -> Result<Response, Failed> {
    let account = account(&desk, &headers, &params, Permission::Read)?;
    let omit_zero = params.flag("omitZeroBalances")?.unwrap_or(false);
    let read = desk.client.balances(Some(&account), None, &reading(&desk)).await.map_err(|error| unread(&error))?;
    let own = read.data.accounts.into_iter().filter(|row| row.account == account);
    let mut balances = if omit_zero { BTreeMap::new() } else { nothing_of_each(&desk) };
    balances.extend(own.flat_map(|row| row.balances).map(|row| (row.asset.clone(), balance(&row))));
    let (maker, taker) = highest_fees(&desk);
    ok(&AccountInfo {
        maker_commission: per_ten_thousand(maker),
        taker_commission: per_ten_thousand(taker),
        buyer_commission: 0,
        seller_commission: 0,
        commission_rates: CommissionRates { maker: rate(maker), taker: rate(taker), buyer: rate(0), seller: rate(0) },
        can_trade: !desk.limits.is_due(&account),
        can_withdraw: false,
        can_deposit: false,
        brokered: false,
        require_self_trade_prevention: false,
        prevent_sor: false,
        update_time: read.log_time.0,
        account_type: "SPOT".to_owned(),
        balances: balances.into_values().collect(),
        permissions: vec!["SPOT".to_owned()],
    })
}

/// A balance of 0 of each asset that is traded: the ledger keeps none that are 0.
fn nothing_of_each(desk: &Desk) -> BTreeMap<Asset, AssetBalance> {
    let listed = desk.listings.all();
    let traded = listed.values().filter(|listed| !listed.closed).map(|listed| &listed.instrument);
    let nothing = |asset: &Asset| AssetBalance {
        asset: asset.to_string(),
        free: Money::ZERO.to_string(),
        locked: Money::ZERO.to_string(),
    };
    traded.flat_map(|of| [&of.base, &of.quote]).map(|asset| (asset.clone(), nothing(asset))).collect()
}

fn balance(row: &BalanceView) -> AssetBalance {
    AssetBalance { asset: row.asset.to_string(), free: row.free.to_string(), locked: row.locked.to_string() }
}

/// The highest fees of what rests and of what takes over all symbols that are traded, in parts per million.
fn highest_fees(desk: &Desk) -> (i32, i32) {
    let listed = desk.listings.all();
    let traded = || listed.values().filter(|listed| !listed.closed).map(|listed| &listed.instrument);
    let maker = traded().map(|instrument| instrument.maker_fee_ppm).max();
    let taker = traded().map(|instrument| instrument.taker_fee_ppm).max();
    (maker.unwrap_or(0), taker.unwrap_or(0))
}

/// Parts per million in parts of 10,000, rounded up.
fn per_ten_thousand(ppm: i32) -> i64 {
    -(-i64::from(ppm)).div_euclid(100)
}

/// Parts per million as parts of 1.
fn rate(ppm: i32) -> String {
    let step = Decimal::new(1, RATE_DECIMALS).unwrap_or(Decimal::ONE);
    step.times(i128::from(ppm) * 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_told_as_binance_tells_them() {
        let table = [
            (0, 0, "0.00000000"),
            (1_000, 10, "0.00100000"),
            (150, 2, "0.00015000"),
            (-150, -1, "-0.00015000"),
            (100_000, 1_000, "0.10000000"),
        ];
        for (ppm, parts, text) in table {
            assert_eq!((per_ten_thousand(ppm), rate(ppm).as_str()), (parts, text));
        }
    }
}
