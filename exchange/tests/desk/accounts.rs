//! What accounts have and pay, as the ledger counts it.

use std::time::Duration;

use quorate_domain::Money;
use quorate_ledger::ControlChange;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::world::{Exchange, code, group};

async fn account(exchange: &Exchange, key: Option<&str>, query: &str) -> Value {
    let (status, answer) = exchange.call_as(key, "GET", &format!("/api/v3/account{query}"), "").await;
    assert_eq!(status, 200, "{answer}");
    answer
}

#[tokio::test(start_paused = true)]
async fn an_account_is_told_what_it_has_and_what_it_pays() {
    let group = group();
    group.define("ETHUSDT");
    group.redefine("ETHUSDT", |instrument| (instrument.maker_fee_ppm, instrument.taker_fee_ppm) = (-200, 1_050));
    let exchange = Exchange::start(&group).await;
    group.control(ControlChange::LimitAccount { account: "default".parse().unwrap() });
    group.deposit("default", "USDT", "100");
    group.deposit("default", "BTC", "0.5");
    group.deposit("other", "BTC", "7");
    assert_eq!(exchange.limit("o1", "BUY", "GTC", "95.00", 10).await.1["status"], "NEW");
    let mut told = account(&exchange, None, "").await;
    let rows = json!([
        {"asset": "BTC", "free": "0.5", "locked": "0"},
        {"asset": "ETH", "free": "0", "locked": "0"},
        {"asset": "USDT", "free": "99.05", "locked": "0.95"},
    ]);
    assert_eq!(told["balances"].take(), rows);
    assert!(told["updateTime"].take().as_u64() <= Some(exchange.desk.world().clocks.wall_ms()));
    // The highest of all symbols: BTCUSDT has no fees.
    let rates = json!({"maker": "0.00000000", "taker": "0.00105000", "buyer": "0.00000000", "seller": "0.00000000"});
    let wanted = json!({
        "makerCommission": 0, "takerCommission": 11, "buyerCommission": 0, "sellerCommission": 0,
        "commissionRates": rates, "canTrade": true, "canWithdraw": false, "canDeposit": false, "brokered": false,
        "requireSelfTradePrevention": false, "preventSor": false, "updateTime": null, "accountType": "SPOT",
        "balances": null, "permissions": ["SPOT"],
    });
    assert_eq!(told, wanted);
    let without_zero = account(&exchange, None, "?omitZeroBalances=true").await;
    assert_eq!(without_zero["balances"].as_array().map(Vec::len), Some(2));
    assert_eq!(code(&exchange.get("/api/v3/account?omitZeroBalances=yes").await), (400, -1100));
    assert_eq!(account(&exchange, Some("nobody"), "?omitZeroBalances=true").await["balances"], json!([]));
    group.set_reachable(false);
    assert_eq!(code(&exchange.get("/api/v3/account").await), (503, -1001));
}

#[tokio::test(start_paused = true)]
async fn a_fill_tells_the_fee_that_the_ledger_took() {
    let group = group();
    group.define("ETHUSDT");
    group.redefine("ETHUSDT", |instrument| (instrument.maker_fee_ppm, instrument.taker_fee_ppm) = (-100, 1_001));
    let exchange = Exchange::start(&group).await;
    sleep(Duration::from_secs(1)).await;
    let form = |side: &str, price: &str| {
        format!("symbol=ETHUSDT&side={side}&type=LIMIT&timeInForce=GTC&quantity=0.007&price={price}")
    };
    exchange.call_as(Some("other"), "POST", "/api/v3/order", form("SELL", "50.01")).await;
    let taken = exchange.call("POST", "/api/v3/order", form("BUY", "50.01")).await.1;
    // 0.35007 x 0.1001 %.
    let fill = json!([{"price": "50.01", "qty": "0.007", "commission": "0.00035042007", "commissionAsset": "USDT", "tradeId": 1}]);
    assert_eq!(taken["fills"], fill);
    let paid: Vec<Money> = group.look(|ledger| ledger.fees_paid().map(|(_, paid)| *paid).collect());
    // The taker's fee, less the other side's rebate.
    assert_eq!(paid, ["0.00031541307".parse().unwrap()]);
    assert_eq!(account(&exchange, None, "?omitZeroBalances=true").await["balances"][1]["free"], "-0.35042042007");
}
