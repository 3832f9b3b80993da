//! Orders that go through: what they fill, how they rest, and what repeats of them are told.

use std::time::Duration;

use quorate_binance_api::endpoints::ENDPOINTS;
use quorate_ledger::bounds::NAME_MEMORY_MS;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::{
    ledger::Fate,
    world::{Exchange, code, group},
};

fn stands(answer: &(u16, Value)) -> (u16, &str, &str) {
    let text = |name: &str| answer.1[name].as_str().unwrap_or_default();
    (answer.0, text("status"), text("executedQty"))
}

#[tokio::test(start_paused = true)]
async fn orders_fill_against_the_quote_and_rest_behind_it() {
    let group = group();
    let exchange = Exchange::start(&group).await;
    let full = exchange.market("m1", "BUY", 4).await;
    assert_eq!(stands(&full), (200, "FILLED", "0.004"));
    assert_eq!(full.1["cummulativeQuoteQty"], "0.404");
    assert_eq!((&full.1["fills"][0]["price"], &full.1["fills"][0]["qty"]), (&json!("101.00"), &json!("0.004")));
    assert_eq!((&full.1["type"], &full.1["price"]), (&json!("MARKET"), &json!("0")));
    // The rest of what is asked, and no more: partial fills.
    assert_eq!(stands(&exchange.limit("i1", "BUY", "IOC", "101.00", 8).await), (200, "EXPIRED", "0.006"));
    assert_eq!(stands(&exchange.limit("f1", "SELL", "FOK", "99.00", 11).await), (200, "EXPIRED", "0.000"));
    assert_eq!(stands(&exchange.limit("f2", "SELL", "FOK", "99.00", 10).await), (200, "FILLED", "0.010"));
    // Nothing is quoted any more: orders rest, and match each other.
    assert_eq!(stands(&exchange.limit("r1", "SELL", "GTC", "102.00", 5).await), (200, "NEW", "0.000"));
    assert_eq!(stands(&exchange.limit("r2", "BUY", "GTC", "102.00", 2).await), (200, "FILLED", "0.002"));
    assert_eq!(stands(&exchange.query("r1").await), (200, "PARTIALLY_FILLED", "0.002"));
    let (_, open) = exchange.get("/api/v3/openOrders?symbol=BTCUSDT").await;
    assert_eq!((open.as_array().map(Vec::len), &open[0]["clientOrderId"]), (Some(1), &json!("r1")));
    // Another account sees none of it.
    let other = exchange.call_as(Some("other"), "GET", "/api/v3/openOrders", "").await;
    assert_eq!(other, (200, json!([])));
    assert_eq!(group.look(|ledger| ledger.fills()), 4);
}

#[tokio::test(start_paused = true)]
async fn as_much_is_answered_as_was_asked_for() {
    let exchange = Exchange::start(&group()).await;
    let place = |kind: &str| {
        let form = format!("symbol=BTCUSDT&side=BUY&type=MARKET&quantity=0.001&newOrderRespType={kind}");
        exchange.call("POST", "/api/v3/order", form)
    };
    let (ack, result, full) = (place("ACK").await.1, place("RESULT").await.1, place("FULL").await.1);
    assert!(ack["orderId"].is_u64() && ack.get("status").is_none());
    assert!(result["status"] == "FILLED" && result.get("fills").is_none());
    assert_eq!(full["fills"].as_array().map(Vec::len), Some(1));
    assert_ne!(ack["clientOrderId"], full["clientOrderId"]);
}

#[tokio::test(start_paused = true)]
async fn a_post_only_order_rests_or_is_rejected() {
    let exchange = Exchange::start(&group()).await;
    let place = |price: &str, name: &str| {
        let form = format!(
            "symbol=BTCUSDT&side=BUY&type=LIMIT_MAKER&quantity=0.003&price={price}&newClientOrderId={name}&newOrderRespType=RESULT"
        );
        exchange.call("POST", "/api/v3/order", form)
    };
    let taken = place("101.00", "p1").await;
    assert_eq!(taken, (400, json!({"code": -2010, "msg": "Order would immediately match and take."})));
    assert_eq!(place("101.00", "p1").await, taken);
    assert_eq!(exchange.query("p1").await.1["status"], "REJECTED");
    assert_eq!(stands(&place("100.00", "p2").await), (200, "NEW", "0.000"));
}

#[tokio::test(start_paused = true)]
async fn a_cancel_ends_exactly_the_order_that_it_names() {
    let group = group();
    group.define("ETHUSDT");
    let exchange = Exchange::start(&group).await;
    let id = exchange.limit("r1", "BUY", "GTC", "90.00", 5).await.1["orderId"].clone();
    let cancel = |what: String| exchange.call("DELETE", "/api/v3/order", what);
    // Another symbol, another name, another account.
    assert_eq!(code(&cancel(format!("symbol=ETHUSDT&orderId={id}")).await), (400, -2011));
    assert_eq!(code(&cancel(format!("symbol=BTCUSDT&orderId={id}&origClientOrderId=r2")).await), (400, -2011));
    let other = exchange.call_as(Some("other"), "DELETE", "/api/v3/order", format!("symbol=BTCUSDT&orderId={id}"));
    assert_eq!(code(&other.await), (400, -2011));
    let (status, ended) = cancel("symbol=BTCUSDT&origClientOrderId=r1".to_owned()).await;
    assert_eq!((status, &ended["status"], &ended["orderId"]), (200, &json!("CANCELED"), &id));
    assert_eq!((&ended["origClientOrderId"], &ended["origQty"]), (&json!("r1"), &json!("0.005")));
    assert_eq!(code(&cancel("symbol=BTCUSDT&origClientOrderId=r1".to_owned()).await), (400, -2011));
    for at in 0..20 {
        exchange.limit(&format!("b{at}"), "BUY", "GTC", "90.00", 5).await;
    }
    let (status, ended) = exchange.call("DELETE", "/api/v3/openOrders", "symbol=BTCUSDT").await;
    assert_eq!((status, ended.as_array().map(Vec::len)), (200, Some(20)));
    assert_eq!(group.look(|ledger| ledger.open_order_count()), 0);
}

#[tokio::test(start_paused = true)]
async fn cancelling_all_ends_what_is_under_way_too() {
    let group = group();
    let exchange = Exchange::start(&group).await;
    exchange.limit("b1", "BUY", "GTC", "90.00", 5).await;
    // The first attempt at the next one is lost: it rests later.
    group.fates([Fate::LostBefore]);
    let cancel = async {
        exchange.until("under way", |exchange| exchange.desk.health().pending == 1).await;
        exchange.call("DELETE", "/api/v3/openOrders", "symbol=BTCUSDT").await
    };
    let (placed, (status, ended)) = tokio::join!(exchange.limit("b2", "BUY", "GTC", "90.00", 5), cancel);
    assert_eq!(stands(&placed), (200, "NEW", "0.000"));
    let names = ended.as_array().unwrap().iter().map(|order| order["origClientOrderId"].as_str().unwrap());
    assert_eq!((status, names.collect::<Vec<_>>()), (200, vec!["b1", "b2"]));
    assert_eq!(group.look(|ledger| ledger.open_order_count()), 0);
}

#[tokio::test(start_paused = true)]
async fn cancels_whose_callers_hang_up_leave_room_for_others() {
    let group = group();
    let exchange = Exchange::start(&group).await;
    group.always(Fate::LostBefore);
    let calls = async {
        exchange.until("under way", |exchange| exchange.desk.health().pending == 1).await;
        let cancel = || exchange.call("DELETE", "/api/v3/order", "symbol=BTCUSDT&origClientOrderId=b1");
        // As many as one account may have; all of them wait for the order, and nobody for them.
        for _ in 0..256 {
            assert!(timeout(Duration::from_millis(1), cancel()).await.is_err());
        }
        group.always(Fate::Served);
        cancel().await
    };
    let (placed, cancelled) = tokio::join!(exchange.limit("b1", "BUY", "GTC", "90.00", 5), calls);
    assert_eq!((stands(&placed), &cancelled.1["status"]), ((200, "NEW", "0.000"), &json!("CANCELED")));
}

#[tokio::test(start_paused = true)]
async fn a_quote_that_is_due_and_does_not_come_is_not_waited_for_long() {
    let group = group();
    let exchange = Exchange::start(&group).await;
    for n in 0..5 {
        let next = Instant::now() + Duration::from_millis(20);
        group.quote("BTCUSDT", 9_900, 10_100, 10);
        assert_eq!(exchange.limit(&format!("r{n}"), "BUY", "GTC", "90.00", 2).await.0, 200);
        sleep_until(next).await;
    }
    let asked = Instant::now();
    assert_eq!(stands(&exchange.market("m1", "BUY", 3).await), (200, "FILLED", "0.003"));
    // A message takes 1 ms: so long it waits, and then it is proposed.
    assert!((Duration::from_millis(2)..Duration::from_millis(10)).contains(&asked.elapsed()), "{:?}", asked.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_repeat_is_told_how_the_order_stands_and_executes_nothing() {
    let group = group();
    let exchange = Exchange::start(&group).await;
    let first = exchange.limit("o1", "BUY", "GTC", "101.00", 12).await;
    assert_eq!(stands(&first), (200, "PARTIALLY_FILLED", "0.010"));
    let again = exchange.limit("o1", "BUY", "GTC", "101.00", 12).await;
    assert_eq!((stands(&again), &again.1["orderId"]), (stands(&first), &first.1["orderId"]));
    let duplicate = (400, json!({"code": -2010, "msg": "Duplicate order sent."}));
    assert_eq!(exchange.limit("o1", "BUY", "GTC", "101.00", 13).await, duplicate);
    assert_eq!(exchange.limit("o1", "SELL", "GTC", "101.00", 12).await, duplicate);
    // Another account may use the name.
    let form = "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTC&quantity=0.002&price=90.00&newClientOrderId=o1";
    assert_eq!(exchange.call_as(Some("other"), "POST", "/api/v3/order", form).await.0, 200);
    // At once, while the first is in flight.
    let (a, b) =
        tokio::join!(exchange.limit("o2", "BUY", "GTC", "95.00", 2), exchange.limit("o2", "BUY", "GTC", "95.00", 2));
    assert_eq!((a.0, &a.1["orderId"]), (b.0, &b.1["orderId"]));
    assert_eq!(group.executions().get("o2"), Some(&1));
}

#[tokio::test(start_paused = true)]
async fn a_repeat_long_after_is_told_the_same_by_the_next_exchange_and_under_the_kill_switch() {
    let group = group();
    let exchange = Exchange::start(&group).await;
    assert_eq!(stands(&exchange.market("o1", "BUY", 3).await), (200, "FILLED", "0.003"));
    exchange.limit("o2", "BUY", "GTC", "90.00", 5).await;
    exchange.kill();
    let exchange = Exchange::start(&group).await;
    // Not in this one's memory: the ledger refuses the repeat, and says what it repeats.
    assert_eq!(stands(&exchange.market("o1", "BUY", 3).await), (200, "FILLED", "0.003"));
    assert_eq!(code(&exchange.market("o1", "BUY", 4).await), (400, -2010));
    assert_eq!(exchange.get("/api/v3/openOrders").await.1[0]["clientOrderId"], "o2");
    group.kill_switch(true);
    exchange.kill();
    let exchange = Exchange::start(&group).await;
    assert_eq!(stands(&exchange.market("o1", "BUY", 3).await), (200, "FILLED", "0.003"));
    assert_eq!(stands(&exchange.limit("o2", "BUY", "GTC", "90.00", 5).await), (200, "CANCELED", "0.000"));
    assert_eq!(code(&exchange.market("o1", "BUY", 4).await), (400, -2010));
    let closed = exchange.market("o3", "BUY", 3).await;
    assert_eq!(closed, (400, json!({"code": -1013, "msg": "Market is closed."})));
    assert_eq!(code(&exchange.query("o3").await), (400, -2013));
    group.kill_switch(false);
    exchange.until("open again", |exchange| exchange.desk.health().ready).await;
    assert_eq!(group.executions().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_closed_order_is_found_after_a_restart_and_its_name_is_free_when_its_time_has_passed() {
    let group = group();
    let exchange = Exchange::start(&group).await;
    // Something to hit when the quote is gone.
    exchange.limit("s1", "SELL", "GTC", "102.00", 50).await;
    let placed = exchange.market("o1", "BUY", 3).await;
    assert_eq!(stands(&placed), (200, "FILLED", "0.003"));
    let whole = exchange.query("o1").await;
    assert_eq!((&whole.1["origQty"], &whole.1["type"]), (&json!("0.003"), &json!("MARKET")));
    exchange.kill();
    let exchange = Exchange::start(&group).await;
    // By name and by id, as the event that took it says, and when it closed.
    let found = exchange.query("o1").await;
    assert_eq!((found.0, &found.1), (200, &whole.1));
    let by_id = exchange.get(&format!("/api/v3/order?symbol=BTCUSDT&orderId={}", placed.1["orderId"])).await;
    assert_eq!(by_id, found);
    exchange.kill();
    // Where that event is kept no more, with what is left of it: nothing is made up.
    group.drop_frames();
    let exchange = Exchange::start(&group).await;
    let by_name = exchange.query("o1").await;
    assert_eq!((stands(&by_name), &by_name.1["orderId"]), ((200, "FILLED", "0.003"), &placed.1["orderId"]));
    assert_eq!(by_name.1["cummulativeQuoteQty"], whole.1["cummulativeQuoteQty"]);
    assert!(by_name.1.get("origQty").is_none(), "{by_name:?}");
    assert_eq!((&by_name.1["time"], &by_name.1["updateTime"]), (&whole.1["updateTime"], &whole.1["updateTime"]));
    let by_id = exchange.get(&format!("/api/v3/order?symbol=BTCUSDT&orderId={}", placed.1["orderId"])).await;
    assert_eq!((stands(&by_id), by_id.1.get("clientOrderId")), ((200, "FILLED", "0.003"), None));
    let by_stranger = "/api/v3/order?symbol=BTCUSDT&origClientOrderId=o1";
    assert_eq!(code(&exchange.call_as(Some("other"), "GET", by_stranger, "").await), (400, -2013));

    tokio::time::sleep(std::time::Duration::from_millis(NAME_MEMORY_MS - 5_000)).await;
    assert_eq!(code(&exchange.market("o1", "BUY", 4).await), (400, -2010));
    tokio::time::sleep(std::time::Duration::from_millis(5_000)).await;
    assert_eq!(stands(&exchange.market("o1", "BUY", 4).await), (200, "FILLED", "0.004"));
    assert_eq!(group.executions()["o1"], 1, "beside the one whose frame is gone");
    // The second of that name is the exchange's own: it is found for as long as the exchange remembers it.
    tokio::time::sleep(std::time::Duration::from_millis(2 * NAME_MEMORY_MS)).await;
    // A frame, that tells the time.
    group.kill_switch(false);
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    let remembered = exchange.query("o1").await;
    assert_eq!((stands(&remembered), &remembered.1["origQty"]), ((200, "FILLED", "0.004"), &json!("0.004")));
    assert_eq!(stands(&exchange.market("o1", "BUY", 5).await), (200, "FILLED", "0.005"));
}

/// A network may deliver a request twice, and what refused the first copy may have passed when the second one comes.
#[tokio::test(start_paused = true)]
async fn a_late_copy_of_a_refused_request_is_refused_and_a_new_request_is_not() {
    let group = group();
    let exchange = Exchange::start(&group).await;
    let now = exchange.desk.world().clocks.wall_ms();
    let form = |times: &str| format!("symbol=BTCUSDT&side=BUY&type=MARKET&quantity=0.001&newClientOrderId=o1{times}");
    let place = |times: String| exchange.call("POST", "/api/v3/order", form(&times));
    let closed = (400, json!({"code": -1013, "msg": "Market is closed."}));
    let stamp = format!("&timestamp={now}");
    group.kill_switch(true);
    assert_eq!(place(stamp.clone()).await, closed);
    let ahead = format!("&timestamp={}", now + 1_500);
    assert_eq!(code(&place(ahead.clone()).await), (400, -1021));
    group.kill_switch(false);
    group.quote("BTCUSDT", 9_900, 10_100, 10);
    exchange.until("open again", |exchange| exchange.desk.health().ready).await;
    assert_eq!(place(stamp.clone()).await, closed);
    tokio::time::sleep(std::time::Duration::from_millis(2_000)).await;
    assert_eq!(code(&place(ahead).await), (400, -1021));
    assert_eq!(group.executions().len(), 0);
    // Another account's request is another one, and so is one that was made later.
    assert_eq!(exchange.call_as(Some("other"), "POST", "/api/v3/order", form(&stamp)).await.0, 200);
    let later = place(format!("&timestamp={}", now + 1)).await;
    assert_eq!(stands(&later), (200, "FILLED", "0.001"));
    // Copies of one that was taken are told how it stands.
    let again = place(format!("&timestamp={}", now + 1)).await;
    assert_eq!((stands(&again), &again.1["orderId"]), (stands(&later), &later.1["orderId"]));
    assert_eq!(group.executions().get("o1"), Some(&2));
}

#[tokio::test(start_paused = true)]
async fn a_time_is_kept_whether_the_request_is_signed_or_not() {
    let group = group();
    let exchange = Exchange::start(&group).await;
    exchange.limit("rest", "BUY", "GTC", "90.00", 5).await;
    let now = exchange.desk.world().clocks.wall_ms();
    let order = "symbol=BTCUSDT&side=BUY&type=MARKET&quantity=0.001";
    let asked = [
        ("POST", "/api/v3/order", order),
        ("GET", "/api/v3/order", "symbol=BTCUSDT&origClientOrderId=rest"),
        ("GET", "/api/v3/openOrders", "symbol=BTCUSDT"),
        ("DELETE", "/api/v3/order", "symbol=BTCUSDT&origClientOrderId=rest"),
        ("DELETE", "/api/v3/openOrders", "symbol=BTCUSDT"),
    ];
    let hours = 3_600_000;
    let outside = [
        "timestamp=1".to_owned(),
        format!("timestamp={}", now / 1_000),
        format!("timestamp={}", now - 25 * hours),
        format!("timestamp={}", now - 5_001),
        format!("timestamp={}&recvWindow=100", now - 101),
        format!("timestamp={}&recvWindow=100.5", (now - 101) * 1_000),
        format!("timestamp={}&recvWindow=60000", now - 60_001),
        format!("timestamp={}", now + 1_000),
        format!("timestamp={}", now + 25 * hours),
        format!("timestamp={}", now * 1_000_000),
        format!("timestamp={}", u64::MAX),
    ];
    for (method, path, parameters) in asked {
        for times in &outside {
            let answer = exchange.call(method, &format!("{path}?{parameters}&{times}"), "").await;
            assert_eq!(code(&answer), (400, -1021), "{method} {path} {times}");
        }
    }
    let symbol = "BTCUSDT".parse().expect("a symbol");
    let lowest = group.look(|ledger| ledger.exchange().expect("registered").last_exec_id(&symbol));
    assert_eq!((lowest, group.executions().len()), (1, 1), "nothing was done but the first order");
    let inside = [
        String::new(),
        format!("&timestamp={now}"),
        format!("&timestamp={}&recvWindow=60000", now - 50_000),
        format!("&timestamp={}&recvWindow=20000.5", now * 1_000 - 10_500),
    ];
    for (at, times) in inside.iter().enumerate() {
        let placed = exchange.call("POST", "/api/v3/order", format!("{order}&newClientOrderId=t{at}{times}")).await;
        assert_eq!(stands(&placed), (200, "FILLED", "0.001"), "{times}");
        // The ledger's time, whatever its sender says.
        let shown = exchange.query(&format!("t{at}")).await.1;
        assert_eq!(shown["time"], placed.1["transactTime"], "{times}");
        assert!(shown["time"].as_u64().is_some_and(|time| time >= now), "{times}");
        assert_eq!((&shown["updateTime"], &shown["workingTime"]), (&shown["time"], &shown["time"]), "{times}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_an_endpoint_does_not_know_is_refused_and_nothing_is_done() {
    let group = group();
    let exchange = Exchange::start(&group).await;
    exchange.limit("rest", "BUY", "GTC", "90.00", 5).await;
    for endpoint in &ENDPOINTS {
        let answer = exchange.call(endpoint.method, &format!("{}?bogus=1", endpoint.path), "").await;
        assert_eq!(code(&answer), (400, -1104), "{} {}", endpoint.method, endpoint.path);
    }
    let order = "symbol=BTCUSDT&side=BUY&type=MARKET&quantity=0.001";
    let rest = "symbol=BTCUSDT&origClientOrderId=rest";
    let table = [
        ("POST", "/api/v3/order", format!("{order}&selfTradePreventionMode=DECREMENT"), -1106),
        ("POST", "/api/v3/order", format!("{order}&selfTradePreventionMode=NONSENSE"), -1130),
        ("POST", "/api/v3/order", format!("{order}&strategyId=1"), -1106),
        ("POST", "/api/v3/order", format!("{order}&strategyType=1000000"), -1106),
        ("POST", "/api/v3/order", format!("{order}&icebergQty=0.001"), -1106),
        ("POST", "/api/v3/order", format!("{order}&orderId=1"), -1104),
        ("POST", "/api/v3/order", format!("{order}&newOrderRespType="), -1105),
        ("DELETE", "/api/v3/order", format!("{rest}&cancelRestrictions=ONLY_PARTIALLY_FILLED"), -2011),
        ("DELETE", "/api/v3/order", format!("{rest}&cancelRestrictions=GARBAGE"), -1145),
        ("DELETE", "/api/v3/order", format!("{rest}&newClientOrderId=%20"), -1100),
        ("DELETE", "/api/v3/order", format!("{rest}&side=BUY"), -1104),
        ("DELETE", "/api/v3/openOrders", "symbol=BTCUSDT&side=BUY".to_owned(), -1104),
    ];
    for (method, path, form, wanted) in table {
        assert_eq!(code(&exchange.call(method, path, form.clone()).await), (400, wanted), "{method} {form}");
    }
    let reads = [
        ("/api/v3/order?symbol=BTCUSDT&origClientOrderId=rest&limit=1", -1104),
        ("/api/v3/openOrders?symbol=BTCUSDT&symbols=1", -1104),
        ("/api/v3/depth?symbol=BTCUSDT&limit=0", -1130),
        ("/api/v3/depth?symbol=BTCUSDT&timestamp=1", -1104),
        ("/api/v3/exchangeInfo?symbolStatus=OPEN", -1122),
        ("/api/v3/ticker/bookTicker?symbols=%5B%22BTCUSDT%22,%22BTCUSDT%22%5D", -1101),
        ("/v1/reference-prices?symbol=BTCUSDT", -1104),
    ];
    for (path, wanted) in reads {
        assert_eq!(code(&exchange.get(path).await), (400, wanted), "{path}");
    }
    assert_eq!(code(&exchange.call("GET", "/api/v3/depth?symbol=BTCUSDT", "limit=5").await), (400, -1104));
    assert_eq!(stands(&exchange.query("rest").await), (200, "NEW", "0.000"));
    assert_eq!(group.executions().len(), 1);
    let info = |what: &'static str| exchange.get(what);
    assert_eq!(info("/api/v3/exchangeInfo?permissions=SPOT").await.1["symbols"][0]["symbol"], "BTCUSDT");
    assert_eq!(info("/api/v3/exchangeInfo?symbolStatus=HALT").await.1["symbols"], json!([]));
    let sent = format!("{order}&selfTradePreventionMode=NONE&signature=00&newOrderRespType=FULL");
    assert_eq!(stands(&exchange.call("POST", "/api/v3/order", sent).await), (200, "FILLED", "0.001"));
}

#[tokio::test(start_paused = true)]
async fn a_cancel_has_a_name_of_its_own_and_may_be_restricted() {
    let exchange = Exchange::start(&group()).await;
    let cancel = |name: &str, more: &str| {
        let path = format!("/api/v3/order?symbol=BTCUSDT&origClientOrderId={name}{more}");
        let exchange = &exchange;
        async move { exchange.call("DELETE", &path, "").await }
    };
    let restricted = json!({"code": -2011, "msg": "Order was not canceled due to cancel restrictions."});
    exchange.limit("r1", "SELL", "GTC", "100.50", 5).await;
    assert_eq!(cancel("r1", "&cancelRestrictions=ONLY_PARTIALLY_FILLED").await, (400, restricted.clone()));
    exchange.limit("t1", "BUY", "IOC", "100.50", 2).await;
    assert_eq!(cancel("r1", "&cancelRestrictions=ONLY_NEW").await, (400, restricted));
    assert_eq!(stands(&exchange.query("r1").await), (200, "PARTIALLY_FILLED", "0.002"));
    let ended = cancel("r1", "&cancelRestrictions=ONLY_PARTIALLY_FILLED&newClientOrderId=c1").await;
    assert_eq!(stands(&ended), (200, "CANCELED", "0.002"));
    assert_eq!((&ended.1["clientOrderId"], &ended.1["origClientOrderId"]), (&json!("c1"), &json!("r1")));
    assert_eq!(exchange.query("r1").await.1["clientOrderId"], "r1");
    // Without a name it gets one, and that of an order is free to use.
    exchange.limit("r2", "SELL", "GTC", "100.50", 5).await;
    let ended = cancel("r2", "&cancelRestrictions=ONLY_NEW").await;
    let name = ended.1["clientOrderId"].as_str().unwrap_or_default();
    assert!(!name.is_empty() && name != "r2" && ended.1["origClientOrderId"] == "r2", "{ended:?}");
    assert_eq!(stands(&exchange.limit("c1", "SELL", "GTC", "100.50", 5).await), (200, "NEW", "0.000"));
}

/// Whoever sends many requests that are refused loses places of its own alone, and what came too late takes none.
#[tokio::test(start_paused = true)]
async fn a_flood_of_refused_requests_makes_nobody_elses_late_copy_count() {
    let group = group();
    let exchange = Exchange::start(&group).await;
    let now = exchange.desk.world().clocks.wall_ms();
    let form = "symbol=BTCUSDT&side=BUY&type=MARKET&quantity=0.001&recvWindow=60000";
    let place = |key: &'static str, more: String| {
        let exchange = &exchange;
        async move { exchange.call_as(Some(key), "POST", "/api/v3/order", format!("{form}{more}")).await }
    };
    let old = format!("&timestamp={}", now - 60_001);
    assert_eq!(code(&place("flood", old).await), (400, -1021));
    group.kill_switch(true);
    exchange.until("halted", |exchange| !exchange.desk.is_trading()).await;
    let early = format!("&timestamp={}", now - 1_000);
    assert_eq!(code(&place("victim", early.clone()).await), (400, -1013));
    let flood = |at: u64| format!("&timestamp={}", (now + 500) * 1_000 + at);
    for at in 0..3_000 {
        assert_eq!(code(&place("flood", flood(at)).await), (400, -1013));
    }
    group.kill_switch(false);
    group.quote("BTCUSDT", 9_900, 10_100, 10);
    exchange.until("open again", |exchange| exchange.desk.is_trading()).await;
    assert_eq!(code(&place("victim", early).await), (400, -1013), "its refusal is remembered");
    assert_eq!(place("victim", format!("&timestamp={}", now - 2_000)).await.0, 200, "and nothing older is in doubt");
    assert_eq!(code(&place("flood", flood(0)).await), (400, -1021), "it may have been forgotten");
    assert_eq!(group.executions().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_query_finds_only_the_order_that_it_names_in_every_respect() {
    let group = group();
    group.define("ETHUSDT");
    let exchange = Exchange::start(&group).await;
    let filled = exchange.market("filled", "BUY", 3).await.1["orderId"].clone();
    let open = exchange.limit("open", "BUY", "GTC", "90.00", 5).await.1["orderId"].clone();
    let other = exchange.limit("other", "BUY", "GTC", "91.00", 5).await.1["orderId"].clone();
    let check = async |exchange: &Exchange, when: &str| {
        for (name, id) in [("filled", &filled), ("open", &open)] {
            let both = format!("orderId={id}&origClientOrderId={name}");
            let get =
                async |symbol: &str, what: &str| exchange.get(&format!("/api/v3/order?symbol={symbol}&{what}")).await;
            let found = get("BTCUSDT", &both).await;
            assert_eq!((found.0, &found.1["orderId"], &found.1["clientOrderId"]), (200, id, &json!(name)), "{when}");
            for what in [both.clone(), format!("orderId={id}"), format!("origClientOrderId={name}")] {
                assert_eq!(code(&get("ETHUSDT", &what).await), (400, -2013), "{when}: {what} of another symbol");
            }
            let crossed = [
                format!("orderId={other}&origClientOrderId={name}"),
                format!("orderId={id}&origClientOrderId=other"),
                format!("orderId={id}&origClientOrderId=nobody"),
                format!("orderId=999999&origClientOrderId={name}"),
            ];
            for what in crossed {
                assert_eq!(code(&get("BTCUSDT", &what).await), (400, -2013), "{when}: {what}");
            }
        }
    };
    check(&exchange, "at once").await;
    exchange.kill();
    let exchange = Exchange::start(&group).await;
    check(&exchange, "after a restart").await;
}

#[tokio::test(start_paused = true)]
async fn an_open_order_keeps_its_times_over_a_restart() {
    let group = group();
    let exchange = Exchange::start(&group).await;
    let now = exchange.desk.world().clocks.wall_ms();
    let form = format!(
        "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTC&quantity=0.005&price=90.00&newClientOrderId=r1&timestamp={}",
        now - 4_000
    );
    let placed = exchange.call("POST", "/api/v3/order", form).await.1;
    exchange.kill();
    sleep(Duration::from_secs(30)).await;
    let exchange = Exchange::start(&group).await;
    let found = exchange.query("r1").await.1;
    assert_eq!(found["time"], placed["transactTime"], "when the ledger took it, not what its sender said");
    assert_eq!(found["updateTime"], placed["transactTime"]);
}

#[tokio::test(start_paused = true)]
async fn a_repeat_is_told_how_its_order_stands_also_where_it_would_be_refused_today() {
    let group = group();
    group.define("ETHUSDT");
    let exchange = Exchange::start(&group).await;
    let place = async |name: &str, price: &str| {
        let form = format!(
            "symbol=ETHUSDT&side=BUY&type=LIMIT&timeInForce=GTC&quantity=0.100&price={price}&newClientOrderId={name}"
        );
        exchange.call("POST", "/api/v3/order", form).await
    };
    let first = place("o1", "55.00").await;
    assert_eq!(stands(&first), (200, "NEW", "0.000"));
    assert_eq!(exchange.call("PUT", "/v1/reference-prices/ETHUSDT", r#"{"price":"30"}"#).await.0, 200);
    let again = place("o1", "55.00").await;
    assert_eq!((stands(&again), &again.1["orderId"]), ((200, "NEW", "0.000"), &first.1["orderId"]));
    assert_eq!(code(&place("o1", "54.00").await), (400, -2010));
    assert_eq!(code(&place("o2", "55.00").await), (400, -1013));
}

#[tokio::test(start_paused = true)]
async fn names_that_the_exchange_makes_are_never_made_again() {
    let group = group();
    let mut names = std::collections::BTreeSet::new();
    for _ in 0..3 {
        let exchange = Exchange::start(&group).await;
        for _ in 0..50 {
            let name = exchange.desk.fresh_name().unwrap();
            assert!(name.len() == 33 && name.strip_prefix('x').is_some_and(|hex| hex.len() == 32), "{name}");
            names.insert(name);
        }
        exchange.kill();
    }
    assert_eq!(names.len(), 150, "the seed of these processes is one and the same");
    let halves: std::collections::BTreeSet<&str> = names.iter().map(|name| &name[1..17]).collect();
    assert_eq!(halves.len(), 150, "none follows from another");
}
