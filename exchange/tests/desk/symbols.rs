//! What a symbol trades, how that changes, and how a symbol ends.

use std::time::Duration;

use quorate_domain::{Money, Price};
use quorate_ledger::ControlChange;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::{
    ledger::symbol,
    world::{Exchange, code, group},
};

async fn info(exchange: &Exchange, query: &str) -> Value {
    exchange.get(&format!("/api/v3/exchangeInfo{query}")).await.1["symbols"].clone()
}

#[tokio::test(start_paused = true)]
async fn a_closed_symbol_is_on_a_break_and_takes_no_orders() {
    let group = group();
    let exchange = Exchange::start(&group).await;
    assert_eq!(exchange.limit("rests", "BUY", "GTC", "95.00", 5).await.1["status"], "NEW");
    group.control(ControlChange::CloseSymbol { symbol: symbol("BTCUSDT") });
    sleep(Duration::from_secs(1)).await;
    shows_no_trade(&exchange).await;
    exchange.kill();
    // One that starts again knows as much.
    shows_no_trade(&Exchange::start(&group).await).await;
}

async fn shows_no_trade(exchange: &Exchange) {
    let closed = (400, json!({"code": -1013, "msg": "Market is closed."}));
    assert_eq!(exchange.limit("late", "BUY", "GTC", "95.00", 5).await, closed);
    assert_eq!(exchange.market("later", "SELL", 5).await, closed);
    assert_eq!(exchange.query("rests").await.1["status"], "CANCELED");
    assert_eq!(info(exchange, "").await[0]["status"], "BREAK");
    assert_eq!(info(exchange, "?symbolStatus=BREAK").await[0]["symbol"], "BTCUSDT");
    assert_eq!(info(exchange, "?symbolStatus=TRADING").await, json!([]));
    assert_eq!(exchange.get("/api/v3/depth?symbol=BTCUSDT").await.1["asks"], json!([]));
    assert_eq!(exchange.desk.listings.with_reference(), [], "no maker is granted it");
}

#[tokio::test(start_paused = true)]
async fn the_filters_are_those_of_the_instrument_of_today() {
    let group = group();
    group.define("ETHUSDT");
    let exchange = Exchange::start(&group).await;
    let form = |price: &str| format!("symbol=ETHUSDT&side=BUY&type=LIMIT&timeInForce=GTC&quantity=0.100&price={price}");
    let place = |price: &str| exchange.call("POST", "/api/v3/order", form(price));
    let failed = |name: &str| (400, json!({"code": -1013, "msg": format!("Filter failure: {name}")}));
    group.redefine("ETHUSDT", |instrument| {
        (instrument.min_price, instrument.max_price) = (Price(4_000), Price(5_200));
        instrument.min_notional = "5".parse().unwrap();
    });
    sleep(Duration::from_secs(1)).await;
    let row = &info(&exchange, "?symbol=ETHUSDT").await[0];
    assert_eq!((&row["baseAsset"], &row["quoteAsset"]), (&json!("ETH"), &json!("USDT")));
    let price = json!({"filterType": "PRICE_FILTER", "minPrice": "40.00", "maxPrice": "52.00", "tickSize": "0.01"});
    assert_eq!((&row["filters"][0], &row["filters"][3]["minNotional"]), (&price, &json!("5")));
    assert_eq!(place("39.99").await, failed("PRICE_FILTER"));
    assert_eq!(place("52.01").await, failed("PRICE_FILTER"));
    assert_eq!(place("49.99").await, failed("NOTIONAL"));
    assert_eq!(place("50.00").await.1["status"], "NEW");
}

#[tokio::test(start_paused = true)]
async fn an_order_under_an_older_revision_is_planned_again_under_the_newer_one() {
    let group = group();
    group.define("ETHUSDT");
    let exchange = Exchange::start(&group).await;
    sleep(Duration::from_secs(1)).await;
    group.set_muted(true);
    group.redefine("ETHUSDT", |instrument| instrument.taker_fee_ppm = 1_000);
    let form = "symbol=ETHUSDT&side=BUY&type=LIMIT&timeInForce=GTC&quantity=0.100&price=50.00";
    let hear = async {
        sleep(Duration::from_millis(500)).await;
        assert_eq!(exchange.desk.health().stats.replanned, 1, "it was refused once");
        group.set_muted(false);
    };
    let (placed, ()) = tokio::join!(exchange.call("POST", "/api/v3/order", form), hear);
    assert_eq!(placed.1["status"], "NEW", "{placed:?}");
}

/// An order that waits for the ledger while the tick changes, and where it then stands: its answer, and its price in the ledger.
async fn placed_while_the_tick_becomes(tick: &str, order: &str) -> ((u16, Value), Option<i64>) {
    let group = group();
    group.define("ETHUSDT");
    let exchange = Exchange::start(&group).await;
    sleep(Duration::from_secs(1)).await;
    group.set_muted(true);
    group.redefine("ETHUSDT", |instrument| instrument.tick_size = tick.parse().unwrap());
    let form = format!("symbol=ETHUSDT&side=BUY&quantity=0.100&newClientOrderId=o1&{order}");
    let hear = async {
        sleep(Duration::from_millis(500)).await;
        group.set_muted(false);
    };
    let (placed, ()) = tokio::join!(exchange.call("POST", "/api/v3/order", form), hear);
    let price = group.look(|ledger| {
        let mut open = ledger.orders_after(0).filter_map(|known| known.open().map(|open| open.order.clone()));
        open.next().and_then(|order| order.price).map(|price| price.0)
    });
    let seen = exchange.get("/api/v3/order?symbol=ETHUSDT&origClientOrderId=o1").await;
    assert_eq!(seen.1.get("price").is_some(), placed.0 == 200, "{seen:?}");
    assert!(seen.1["price"].as_str().is_none_or(|price| price.parse() == Ok(50.5)), "{seen:?}");
    (placed, price)
}

#[tokio::test(start_paused = true)]
async fn an_order_in_the_queue_keeps_its_price_when_the_tick_changes() {
    let order = "type=LIMIT&timeInForce=GTC&price=50.50";
    for (tick, ticks) in [("0.001", 50_500), ("0.1", 505)] {
        let (placed, price) = placed_while_the_tick_becomes(tick, order).await;
        assert_eq!((&placed.1["status"], price), (&json!("NEW"), Some(ticks)), "{placed:?}");
        assert_eq!(placed.1["price"], "50.50", "as it was asked for");
    }
    let (placed, price) = placed_while_the_tick_becomes("1", order).await;
    assert_eq!((placed, price), ((400, json!({"code": -1013, "msg": "Filter failure: PRICE_FILTER"})), None));
}

#[tokio::test(start_paused = true)]
async fn a_price_of_the_exchange_itself_makes_no_band() {
    let group = group();
    let own = |settings: &mut quorate_exchange::config::Settings| settings.reference = Some(vec!["own:BTCUSDT".into()]);
    let exchange = Exchange::start_with(&group, own).await;
    let filters = info(&exchange, "").await[0]["filters"].to_string();
    assert!(!filters.contains("PERCENT_PRICE_BY_SIDE"), "{filters}");
    assert_eq!(exchange.limit("far", "SELL", "GTC", "5000.00", 5).await.1["status"], "NEW");
}

#[tokio::test(start_paused = true)]
async fn a_limited_account_pays_with_what_it_has() {
    let group = group();
    let exchange = Exchange::start(&group).await;
    group.control(ControlChange::LimitAccount { account: "default".parse().unwrap() });
    let short = (400, json!({"code": -2010, "msg": "Account has insufficient balance for requested action."}));
    assert_eq!(exchange.limit("o1", "BUY", "GTC", "95.00", 10).await, short);
    assert_eq!(exchange.market("o2", "SELL", 10).await, short);
    group.deposit("default", "USDT", "0.95");
    assert_eq!(exchange.limit("o3", "BUY", "GTC", "95.00", 10).await.1["status"], "NEW");
    assert_eq!(exchange.limit("o4", "BUY", "GTC", "95.00", 10).await, short);
    assert_eq!(code(&exchange.query("o4").await), (400, -2013));
    let free = group.look(|ledger| {
        let (_, state) = ledger.accounts().next().unwrap();
        state.balance(&"USDT".parse().unwrap()).free()
    });
    assert_eq!(free, Money::ZERO);
}

#[tokio::test(start_paused = true)]
async fn symbols_that_do_not_exist_cost_the_ledger_one_read_a_second() {
    let group = group();
    let exchange = Exchange::start(&group).await;
    let before = group.reads("/v1/symbols");
    for at in 0..50 {
        assert_eq!(code(&exchange.get(&format!("/api/v3/depth?symbol=NOPE{at}")).await), (400, -1121));
    }
    assert_eq!(group.reads("/v1/symbols"), before + 1);
    // A symbol that is new is known from its event, without a read.
    group.define("ETHUSDT");
    exchange.until("listed", |exchange| exchange.desk.listings.all().len() == 2).await;
    assert_eq!(exchange.get("/api/v3/depth?symbol=ETHUSDT").await.0, 200);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(code(&exchange.get("/api/v3/depth?symbol=NOPE").await), (400, -1121));
    assert_eq!(group.reads("/v1/symbols"), before + 2);
    // That it does not exist is not said where nothing could be read, nor where the ledger's nodes are.
    sleep(Duration::from_secs(1)).await;
    group.set_reachable(false);
    for _ in 0..3 {
        let answer = exchange.get("/api/v3/depth?symbol=NOPE").await;
        assert_eq!(code(&answer), (503, -1001));
        assert!(!answer.1.to_string().contains("a:1"), "{answer:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn no_answer_tells_where_the_nodes_are() {
    let group = group();
    let exchange = Exchange::start(&group).await;
    group.set_reachable(false);
    sleep(Duration::from_secs(5)).await;
    let order = "symbol=BTCUSDT&side=BUY&type=MARKET&quantity=0.001&newClientOrderId=o1";
    let asked = [
        ("POST", "/api/v3/order", order),
        ("GET", "/api/v3/order?symbol=BTCUSDT&orderId=7", ""),
        ("DELETE", "/api/v3/order?symbol=BTCUSDT&orderId=7", ""),
        ("GET", "/api/v3/account", ""),
        ("GET", "/api/v3/openOrders", ""),
        ("GET", "/api/v3/exchangeInfo?symbol=NOPE", ""),
        ("GET", "/health", ""),
        ("GET", "/metrics", ""),
    ];
    for (method, path, form) in asked {
        let answer = exchange.call(method, path, form).await;
        let text = answer.1.to_string();
        assert!(!text.contains("://") && !text.contains("a:1"), "{method} {path}: {text}");
    }
}
