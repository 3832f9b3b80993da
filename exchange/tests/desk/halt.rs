//! What is shown while nothing trades: under the kill switch, and where the ledger is not heard of.

use std::time::Duration;

use serde_json::json;
use tokio::time::sleep;

use crate::world::{Exchange, code, group};

async fn status(exchange: &Exchange) -> serde_json::Value {
    exchange.get("/api/v3/exchangeInfo").await.1["symbols"][0]["status"].clone()
}

#[tokio::test(start_paused = true)]
async fn under_the_kill_switch_symbols_are_halted() {
    let group = group();
    let exchange = Exchange::start(&group).await;
    assert_eq!(status(&exchange).await, "TRADING");
    group.kill_switch(true);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(status(&exchange).await, "HALT");
    let of = |status: &str| format!("/api/v3/exchangeInfo?symbolStatus={status}");
    assert_eq!(exchange.get(&of("TRADING")).await.1["symbols"], json!([]));
    assert_eq!(exchange.get(&of("HALT")).await.1["symbols"][0]["symbol"], "BTCUSDT");
    // What is shown of the book is the present: nothing.
    let (live, depth) = exchange.get("/api/v3/depth?symbol=BTCUSDT").await;
    assert_eq!((live, &depth["bids"], &depth["asks"]), (200, &json!([]), &json!([])));
    assert_eq!(exchange.get("/health").await.1["trading"], false);
    let (_, metrics) = exchange.get("/metrics").await;
    assert!(metrics.as_str().is_some_and(|text| text.contains("quorate_exchange_trading 0")));
    group.kill_switch(false);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(status(&exchange).await, "TRADING");
    // An exchange that starts under it knows as much.
    group.kill_switch(true);
    exchange.kill();
    assert_eq!(status(&Exchange::start(&group).await).await, "HALT");
}

#[tokio::test(start_paused = true)]
async fn what_may_be_old_is_not_shown_as_if_it_were_the_present() {
    let asked = [
        "/api/v3/depth?symbol=BTCUSDT",
        "/api/v3/ticker/bookTicker",
        "/api/v3/ticker/bookTicker?symbol=BTCUSDT",
        "/api/v3/openOrders",
        "/api/v3/openOrders?symbol=BTCUSDT",
    ];
    // Silent streams, and no node that answers.
    for reachable in [true, false] {
        let group = group();
        let exchange = Exchange::start(&group).await;
        for path in asked {
            assert_eq!(exchange.get(path).await.0, 200, "{path}");
        }
        group.set_muted(true);
        group.set_reachable(reachable);
        sleep(Duration::from_millis(3_100)).await;
        for path in asked {
            let (status, body) = exchange.get(path).await;
            assert_eq!((status, &body["code"]), (503, &json!(-1001)), "{path}");
        }
        assert_eq!(status(&exchange).await, "HALT");
        assert_eq!(exchange.get("/api/v3/ping").await.0, 200);
        group.set_muted(false);
        group.set_reachable(true);
        exchange.until("live again", |exchange| exchange.desk.is_live()).await;
        for path in asked {
            assert_eq!(exchange.get(path).await.0, 200, "{path}");
        }
        assert_eq!(status(&exchange).await, "TRADING");
    }
}

#[tokio::test(start_paused = true)]
async fn an_exchange_that_is_fenced_shows_no_book() {
    let group = group();
    let exchange = Exchange::start(&group).await;
    group.register_another();
    sleep(Duration::from_secs(1)).await;
    assert_eq!(code(&exchange.get("/api/v3/depth?symbol=BTCUSDT").await), (503, -1001));
    assert_eq!(status(&exchange).await, "HALT");
}
