//! Orders that meet one of their own account.

use serde_json::{Value, json};

use crate::world::{Exchange, group};

/// Sells 5 lots at 100.50, inside the quote; another account does the same where `by` names it.
async fn resting(exchange: &Exchange, by: Option<&str>) {
    let form = "symbol=BTCUSDT&side=SELL&type=LIMIT&timeInForce=GTC&quantity=0.005&price=100.50&newClientOrderId=rest";
    assert_eq!(exchange.call_as(by, "POST", "/api/v3/order", form).await.1["status"], "NEW");
}

async fn buy(exchange: &Exchange, more: &str) -> Value {
    let form = format!("symbol=BTCUSDT&side=BUY&type=MARKET&quantity=0.008&newClientOrderId=take{more}");
    exchange.call("POST", "/api/v3/order", form).await.1
}

/// The status of the taker and of the resting order, each as it is asked for, and what the taker took.
async fn ends(exchange: &Exchange) -> (Value, Value, Value) {
    let (taker, maker) = (exchange.query("take").await.1, exchange.query("rest").await.1);
    (taker["status"].clone(), taker["executedQty"].clone(), maker["status"].clone())
}

#[tokio::test(start_paused = true)]
async fn each_mode_ends_the_orders_that_it_names() {
    let table = [
        ("", "FILLED", "0.008", "FILLED"),
        ("&selfTradePreventionMode=NONE", "FILLED", "0.008", "FILLED"),
        ("&selfTradePreventionMode=EXPIRE_TAKER", "EXPIRED_IN_MATCH", "0.000", "NEW"),
        ("&selfTradePreventionMode=EXPIRE_MAKER", "FILLED", "0.008", "EXPIRED_IN_MATCH"),
        ("&selfTradePreventionMode=EXPIRE_BOTH", "EXPIRED_IN_MATCH", "0.000", "EXPIRED_IN_MATCH"),
    ];
    for (mode, taker, took, maker) in table {
        let group = group();
        let exchange = Exchange::start(&group).await;
        resting(&exchange, None).await;
        let answer = buy(&exchange, mode).await;
        assert_eq!((&answer["status"], &answer["executedQty"]), (&json!(taker), &json!(took)), "{mode}");
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        assert_eq!(ends(&exchange).await, (json!(taker), json!(took), json!(maker)), "{mode}");
        // The same once more is told the same.
        assert_eq!(buy(&exchange, mode).await["status"], taker, "{mode}");
        // An exchange that starts again says what the ledger says.
        exchange.kill();
        let again = Exchange::start(&group).await;
        let plain = |status: &'static str, ended| if status == "EXPIRED_IN_MATCH" { ended } else { status };
        let wanted = (json!(plain(taker, "EXPIRED")), json!(took), json!(plain(maker, "CANCELED")));
        assert_eq!(ends(&again).await, wanted, "{mode}");
    }
}

#[tokio::test(start_paused = true)]
async fn orders_of_other_accounts_are_met_as_ever() {
    for mode in ["EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH"] {
        let exchange = Exchange::start(&group()).await;
        resting(&exchange, Some("other")).await;
        let answer = buy(&exchange, &format!("&selfTradePreventionMode={mode}")).await;
        assert_eq!((&answer["status"], &answer["fills"][0]["price"]), (&json!("FILLED"), &json!("100.50")), "{mode}");
    }
}
