//! Reference prices: where they come from, what is believed of them, and how old they are.

use std::time::Duration;

use quorate_binance_api::signing::sign;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::world::{Exchange, code, group};

/// The row of a symbol, where it has one.
async fn price(exchange: &Exchange, symbol: &str) -> Option<Value> {
    let (_, rows) = exchange.get("/v1/reference-prices").await;
    rows.as_array().unwrap().iter().find(|row| row["symbol"] == symbol).cloned()
}

async fn put(exchange: &Exchange, body: Value) -> (u16, Value) {
    exchange.call("PUT", "/v1/reference-prices/ETHUSDT", body.to_string()).await
}

async fn metrics(exchange: &Exchange) -> String {
    exchange.get("/metrics").await.1.as_str().unwrap().to_owned()
}

async fn with_external() -> (crate::ledger::Group, Exchange) {
    let group = group();
    group.define("ETHUSDT");
    let exchange = Exchange::start(&group).await;
    exchange.until("listed", |exchange| exchange.desk.listings.all().len() == 2).await;
    (group, exchange)
}

#[tokio::test(start_paused = true)]
async fn a_price_tells_its_source_its_number_and_its_age() {
    let (_group, exchange) = with_external().await;
    let fixed = price(&exchange, "BTCUSDT").await.unwrap();
    // Between two ticks, and told as such.
    assert_eq!((&fixed["price"], &fixed["price_ticks"]), (&json!("100.005"), &json!(10_000)));
    assert_eq!((&fixed["price_half_ticks"], &fixed["source"]), (&json!(20_001), &json!("static")));
    assert_eq!((&fixed["seq"], &fixed["age_ms"]), (&json!(1), &json!(0)));
    let epoch = exchange.desk.health().exchange_epoch;
    assert_eq!(fixed["exchange_epoch"].as_u64(), Some(epoch));
    assert_eq!(put(&exchange, json!({"price": "51.239"})).await, (200, json!({})));
    let set = price(&exchange, "ETHUSDT").await.unwrap();
    assert_eq!((&set["price"], &set["source"], &set["age_ms"]), (&json!("51.24"), &json!("external"), &json!(0)));
    sleep(Duration::from_secs(40)).await;
    let later = price(&exchange, "ETHUSDT").await.unwrap();
    assert_eq!(
        (&later["seq"], &later["changed_at"], &later["age_ms"]),
        (&set["seq"], &set["changed_at"], &json!(40_000))
    );
    assert_eq!(price(&exchange, "BTCUSDT").await.unwrap()["age_ms"], 0, "a price that does not change does not age");
    let metrics = metrics(&exchange).await;
    let age = r#"quorate_exchange_reference_age_ms{symbol="ETHUSDT",source="external"} 40000"#;
    assert!(metrics.contains(age), "{metrics}");
    assert!(metrics.contains(r#"quorate_exchange_reference_silences_total{symbol="ETHUSDT",source="external"} 1"#));
    // The same price once more: a sign of life, and no change.
    put(&exchange, json!({"price": "51.24"})).await;
    let again = price(&exchange, "ETHUSDT").await.unwrap();
    assert_eq!((&again["seq"], &again["changed_at"], &again["age_ms"]), (&set["seq"], &set["changed_at"], &json!(0)));
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_a_price_is_refused_and_counted() {
    let (_group, exchange) = with_external().await;
    let good = json!({"bid": "61837.62", "ask": "61837.64", "feed": "f", "seq": 7, "time": 1_000});
    assert_eq!(put(&exchange, good).await.0, 200);
    let doubted = [
        (json!({"bid": "0", "ask": "61837.64", "feed": "f", "seq": 8}), "not_positive"),
        (json!({"bid": "0", "ask": "0", "feed": "f", "seq": 9}), "not_positive"),
        (json!({"price": "-5"}), "not_positive"),
        (json!({"price": "0"}), "not_positive"),
        (json!({"bid": "90000", "ask": "61837.64", "feed": "f", "seq": 9}), "crossed"),
        (json!({"bid": "61837.64", "ask": "61837.64"}), "crossed"),
        (json!({"bid": "61900", "ask": "61901", "feed": "f", "seq": 6}), "backward"),
        (json!({"bid": "61900", "ask": "61901", "feed": "f", "seq": 9, "time": 999}), "backward"),
        (json!({"price": "0.001"}), "out_of_range"),
        (json!({"price": "999999999999999999"}), "out_of_range"),
    ];
    for (body, doubt) in &doubted {
        sleep(Duration::from_millis(100)).await;
        assert_eq!(code(&put(&exchange, body.clone()).await), (400, -1013), "{body}: {doubt}");
    }
    let metrics = metrics(&exchange).await;
    for reason in ["not_positive", "crossed", "backward", "out_of_range"] {
        let count = doubted.iter().filter(|(_, doubt)| *doubt == reason).count();
        let row = format!(
            r#"quorate_exchange_reference_dropped_total{{symbol="ETHUSDT",source="external",reason="{reason}"}} {count}"#
        );
        assert!(metrics.contains(&row), "{row} in {metrics}");
    }
    let stands = price(&exchange, "ETHUSDT").await.unwrap();
    assert_eq!((&stands["price"], &stands["age_ms"]), (&json!("61837.63"), &json!(1_000)), "the last good one ages");
    // Another feed counts from anew; without numbers nothing is compared.
    assert_eq!(put(&exchange, json!({"bid": "61839", "ask": "61841", "feed": "g", "seq": 1})).await.0, 200);
    assert_eq!(put(&exchange, json!({"price": "61841"})).await.0, 200);
    assert_eq!(price(&exchange, "ETHUSDT").await.unwrap()["price"], "61841.00");
}

#[tokio::test(start_paused = true)]
async fn where_accounts_are_known_only_a_key_for_feeding_tells_prices() {
    let group = group();
    group.define("ETHUSDT");
    let file = tempfile::NamedTempFile::new().unwrap();
    let key = |key: &str, permission: &str| {
        format!("[[account.key]]\napi-key = \"{key}\"\nsecret = \"of-{key}\"\npermissions = [\"{permission}\"]\n")
    };
    let keys = ["read", "trade", "feed"].map(|permission| key(permission, permission)).concat();
    std::fs::write(file.path(), format!("[[account]]\nname = \"alice\"\n{keys}")).unwrap();
    let exchange = Exchange::start_with(&group, |settings| settings.accounts = Some(file.path().to_owned())).await;
    let now = exchange.desk.world().clocks.wall_ms();
    let put = |key: Option<&'static str>, signed: &str, query: String, body: &'static str| {
        let signature = sign(&format!("of-{}", key.unwrap_or_default()), &format!("{query}{signed}"));
        let path = format!("/v1/reference-prices/ETHUSDT?{query}&signature={signature}");
        let exchange = &exchange;
        async move { exchange.call_as(key, "PUT", &path, body).await }
    };
    let (body, at) = (r#"{"price":"55"}"#, |ms: u64| format!("timestamp={ms}"));
    for key in ["read", "trade"] {
        assert_eq!(code(&put(Some(key), body, at(now), body).await), (401, -2015), "{key}");
    }
    assert_eq!(code(&put(None, body, at(now), body).await), (401, -2014));
    let plain = exchange.call_as(Some("feed"), "PUT", "/v1/reference-prices/ETHUSDT", body).await;
    assert_eq!(code(&plain), (400, -1102), "it is not signed");
    assert_eq!(code(&put(Some("feed"), r#"{"price":"54"}"#, at(now), body).await), (400, -1022), "of another body");
    assert_eq!(code(&put(Some("feed"), body, at(now - 5_001), body).await), (400, -1021));
    assert_eq!(code(&put(Some("feed"), body, format!("{}&symbol=A", at(now)), body).await), (400, -1104));
    assert_eq!(price(&exchange, "ETHUSDT").await.unwrap()["price"], "50.00");
    assert_eq!(put(Some("feed"), body, at(now), body).await, (200, json!({})));
    assert_eq!(price(&exchange, "ETHUSDT").await.unwrap()["price"], "55.00");
    // And it does not trade, nor look.
    let query = format!("symbol=BTCUSDT&timestamp={now}");
    let path = format!("/api/v3/openOrders?{query}&signature={}", sign("of-feed", &query));
    for method in ["GET", "DELETE"] {
        assert_eq!(code(&exchange.call_as(Some("feed"), method, &path, "").await), (401, -2015));
    }
}

#[tokio::test(start_paused = true)]
async fn the_one_key_of_the_flags_trades_and_tells_no_prices() {
    let group = group();
    group.define("ETHUSDT");
    let exchange = Exchange::start_with(&group, |settings| {
        (settings.api_key, settings.api_secret) = (Some("key".into()), Some("secret".into()));
    })
    .await;
    let query = format!("timestamp={}", exchange.desk.world().clocks.wall_ms());
    let body = r#"{"price":"55"}"#;
    let signature = sign("secret", &format!("{query}{body}"));
    let path = format!("/v1/reference-prices/ETHUSDT?{query}&signature={signature}");
    assert_eq!(code(&exchange.call_as(Some("key"), "PUT", &path, body).await), (401, -2015));
}

#[tokio::test(start_paused = true)]
async fn half_a_best_price_is_refused() {
    let (_group, exchange) = with_external().await;
    assert_eq!(code(&put(&exchange, json!({"bid": "1"})).await), (400, -1102));
    assert_eq!(code(&put(&exchange, json!({"ask": "1"})).await), (400, -1102));
    assert_eq!(code(&put(&exchange, json!({"feed": "f"})).await), (400, -1102));
    assert_eq!(code(&put(&exchange, json!({"price": "1", "bid": "1", "ask": "2"})).await), (400, -1106));
    assert_eq!(code(&put(&exchange, json!({"bid": "x", "ask": "2"})).await), (400, -1100));
    assert_eq!(code(&put(&exchange, json!({"price": "1", "feed": "f".repeat(65)})).await), (400, -1100));
    assert_eq!(code(&exchange.call("PUT", "/v1/reference-prices/NOPE", r#"{"price":"1"}"#).await), (400, -1121));
}

#[tokio::test(start_paused = true)]
async fn the_walk_goes_on_over_a_restart_of_the_exchange() {
    let group = group();
    let walk = |settings: &mut quorate_exchange::config::Settings| {
        settings.reference = Some(vec!["walk:7,BTCUSDT=61837.63".into()]);
    };
    let mut seen = Vec::new();
    let mut epochs = Vec::new();
    for _ in 0..3 {
        let exchange = Exchange::start_with(&group, walk).await;
        for _ in 0..120 {
            sleep(Duration::from_millis(100)).await;
            let row = price(&exchange, "BTCUSDT").await.unwrap();
            assert_eq!((&row["source"], &row["age_ms"]), (&json!("walk"), &json!(0)));
            seen.push((row["price_ticks"].as_i64().unwrap(), row["seq"].as_u64().unwrap()));
        }
        epochs.push(exchange.desk.health().exchange_epoch);
        exchange.kill();
        sleep(Duration::from_millis(300)).await;
    }
    assert!(epochs.is_sorted_by(|one, next| one < next));
    for pair in seen.windows(2) {
        assert!((pair[0].0 - pair[1].0).abs() <= 6 * 310, "it jumped: {pair:?}");
        assert!(pair[0].1 <= pair[1].1, "its number went back: {pair:?}");
        assert_eq!(pair[0].0 == pair[1].0, pair[0].1 == pair[1].1, "{pair:?}");
    }
    // The same seed at the same log time is the same price, whoever is asked.
    let (one, other) = (Exchange::start_with(&group, walk).await, Exchange::start_with(&group, walk).await);
    let (one, other) = (price(&one, "BTCUSDT").await.unwrap(), price(&other, "BTCUSDT").await.unwrap());
    assert_eq!(
        (&one["price"], &one["seq"], &one["changed_at"]),
        (&other["price"], &other["seq"], &other["changed_at"])
    );
}

#[tokio::test(start_paused = true)]
async fn a_price_stays_worth_the_same_when_the_tick_changes() {
    for source in ["walk:7,ETHUSDT=61837.63", "static:ETHUSDT=61837.63", "external:ETHUSDT=61837.63"] {
        let group = group();
        group.define("ETHUSDT");
        let of = |settings: &mut quorate_exchange::config::Settings| settings.reference = Some(vec![source.into()]);
        let exchange = Exchange::start_with(&group, of).await;
        sleep(Duration::from_secs(20)).await;
        let mut before = price(&exchange, "ETHUSDT").await.unwrap();
        for tick in ["0.001", "0.1", "0.01"] {
            group.redefine("ETHUSDT", |instrument| instrument.tick_size = tick.parse().unwrap());
            exchange
                .until("revised", |exchange| {
                    exchange
                        .desk
                        .listings
                        .all()
                        .values()
                        .any(|listed| listed.instrument.tick_size == tick.parse().unwrap())
                })
                .await;
            let after = price(&exchange, "ETHUSDT").await.unwrap();
            let worth = |row: &Value| row["price"].as_str().unwrap().parse::<f64>().unwrap();
            assert!((worth(&after) - worth(&before)).abs() < 10.0, "{source} {tick}: {before} {after}");
            assert!(after["seq"].as_u64() >= before["seq"].as_u64(), "{source} {tick}: {before} {after}");
            before = after;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_symbol_without_a_source_is_told() {
    let group = group();
    group.define("TSTUSDT");
    let exchange = Exchange::start(&group).await;
    assert_eq!(price(&exchange, "TSTUSDT").await, None);
    assert_eq!(exchange.get("/health").await.1["symbols_without_reference"], json!(["TSTUSDT"]));
    assert!(metrics(&exchange).await.contains("quorate_exchange_symbols_without_reference 1"));
}

#[tokio::test(start_paused = true)]
async fn orders_keep_to_a_band_around_the_price_that_is_told() {
    let group = group();
    group.define("ETHUSDT");
    group.define("TSTUSDT");
    let exchange = Exchange::start(&group).await;
    let place = |symbol: &str, side: &str, kind: &str| {
        let form = format!("symbol={symbol}&side={side}&quantity=0.100&{kind}");
        let exchange = &exchange;
        async move { exchange.call("POST", "/api/v3/order", form).await }
    };
    let limit = |price: &str| format!("type=LIMIT&timeInForce=GTC&price={price}");
    let far = (400, json!({"code": -1013, "msg": "Filter failure: PERCENT_PRICE_BY_SIDE"}));
    let put = |price: &str| {
        let body = format!("{{\"price\":\"{price}\"}}");
        let exchange = &exchange;
        async move { exchange.call("PUT", "/v1/reference-prices/ETHUSDT", body).await.0 }
    };
    assert_eq!(place("ETHUSDT", "BUY", &limit("55.01")).await, far);
    assert_eq!(place("ETHUSDT", "SELL", &limit("44.99")).await, far);
    assert_eq!(place("ETHUSDT", "BUY", "type=LIMIT_MAKER&price=9.99").await, far);
    assert_eq!(place("ETHUSDT", "SELL", &limit("55.00")).await.1["status"], "NEW");
    assert_eq!(place("ETHUSDT", "SELL", &limit("200.00")).await.1["status"], "NEW");
    // A market order takes what lies within it, and what is left expires.
    let swept = place("ETHUSDT", "BUY", "type=MARKET&quantity=0.300").await;
    assert_eq!(code(&swept), (400, -1101), "the quantity stands twice");
    let form = "symbol=ETHUSDT&side=BUY&type=MARKET&quantity=0.150";
    let swept = exchange.call("POST", "/api/v3/order", form).await.1;
    assert_eq!((&swept["status"], &swept["executedQty"]), (&json!("EXPIRED"), &json!("0.100")));
    assert_eq!(swept["fills"][0]["price"], "55.00");
    // The band goes with the price.
    assert_eq!(put("190").await, 200);
    let swept = exchange.call("POST", "/api/v3/order", form).await.1;
    assert_eq!((&swept["status"], &swept["executedQty"]), (&json!("EXPIRED"), &json!("0.100")));
    assert_eq!(place("ETHUSDT", "BUY", &limit("55.01")).await.1["status"], "NEW");
    // Without a reference price there is no band, and exchangeInfo says so.
    assert_eq!(place("TSTUSDT", "SELL", &limit("100000.00")).await.1["status"], "NEW");
    assert_eq!(place("TSTUSDT", "BUY", &limit("1.00")).await.1["status"], "NEW");
    let info = exchange.get("/api/v3/exchangeInfo?symbols=%5B%22ETHUSDT%22,%22TSTUSDT%22%5D").await.1;
    let has = |at: usize| info["symbols"][at]["filters"].to_string().contains("PERCENT_PRICE_BY_SIDE");
    assert_eq!((has(0), has(1)), (true, false));
}
