//! Every error that a request can earn before it reaches the ledger, and what anybody may read.

use quorate_binance_api::{endpoints::ENDPOINTS, signing::sign};
use serde_json::{Value, json};

use crate::world::{Exchange, code, group};

const LIMIT: &str = "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTC&quantity=0.010&price=90.00";

#[tokio::test(start_paused = true)]
async fn each_bad_order_gets_its_code_and_changes_nothing() {
    let group = group();
    let exchange = Exchange::start(&group).await;
    let swap = |from: &str, to: &str| LIMIT.replace(from, to);
    let table = [
        (
            swap("symbol=BTCUSDT&", ""),
            -1102,
            "Mandatory parameter 'symbol' was not sent, was empty/null, or malformed.",
        ),
        (
            swap("BTCUSDT", "btcusdt"),
            -1100,
            "Illegal characters found in parameter 'symbol'; legal range is '^[A-Z0-9-_]{1,20}$'.",
        ),
        (swap("BTCUSDT", "NOPE"), -1121, "Invalid symbol."),
        (swap("BUY", "HOLD"), -1117, "Invalid side."),
        (swap("type=LIMIT", "type=STOP_LOSS"), -1116, "Invalid orderType."),
        (swap("GTC", "GTD"), -1115, "Invalid timeInForce."),
        (
            swap("timeInForce=GTC&", ""),
            -1102,
            "Mandatory parameter 'timeInForce' was not sent, was empty/null, or malformed.",
        ),
        (swap("0.010", "-1"), -1013, "Invalid quantity."),
        (swap("0.010", "0.0101"), -1013, "Filter failure: LOT_SIZE"),
        (swap("0.010", "0.00000000000001"), -1111, "Parameter 'quantity' has too much precision."),
        (
            swap("0.010", "1e3"),
            -1100,
            "Illegal characters found in parameter 'quantity'; legal range is '^([0-9]{1,20})(\\.[0-9]{1,20})?$'.",
        ),
        (swap("90.00", "90.005"), -1013, "Filter failure: PRICE_FILTER"),
        (swap("90.00", "99999999999999"), -1013, "Filter failure: PRICE_FILTER"),
        (swap("90.00", "10000000000000.01"), -1013, "Filter failure: PRICE_FILTER"),
        (swap("90.00", "10000000000000"), -1013, "Filter failure: NOTIONAL"),
        (swap("90.00", &"9".repeat(20)), -1111, "Parameter 'price' has too much precision."),
        (swap("90.00", &"9".repeat(30)), -1111, "Parameter 'price' has too much precision."),
        (swap("90.00", &format!("0.{}", "1".repeat(30))), -1111, "Parameter 'price' has too much precision."),
        (swap("90.00", &format!("{}90", "0".repeat(28))), -1111, "Parameter 'price' has too much precision."),
        (swap("0.010", "10000000000000"), -1013, "Filter failure: LOT_SIZE"),
        (swap("0.010", &"9".repeat(30)), -1111, "Parameter 'quantity' has too much precision."),
        (swap("0.010", &"9".repeat(18)), -1013, "Filter failure: LOT_SIZE"),
        (swap("90.00", "0.01"), -1013, "Filter failure: NOTIONAL"),
        (swap("90.00", "20.00"), -1013, "Filter failure: PERCENT_PRICE_BY_SIDE"),
        (swap("90.00", "110.01"), -1013, "Filter failure: PERCENT_PRICE_BY_SIDE"),
        (swap("90.00", "90.00").replace("BUY", "SELL"), -1013, "Filter failure: PERCENT_PRICE_BY_SIDE"),
        (swap("90.00", "500.03").replace("BUY", "SELL"), -1013, "Filter failure: PERCENT_PRICE_BY_SIDE"),
        (swap("type=LIMIT&timeInForce=GTC", "type=MARKET"), -1106, "Parameter 'price' sent when not required."),
        (format!("{LIMIT}&stopPrice=1"), -1106, "Parameter 'stopPrice' sent when not required."),
        (format!("{LIMIT}&side=BUY"), -1101, "Duplicate values for parameter 'side' detected."),
        (format!("{LIMIT}&newOrderRespType=ALL"), -1118, "Invalid newOrderRespType."),
        (
            format!("{LIMIT}&newClientOrderId=%20"),
            -1100,
            "Illegal characters found in parameter 'newClientOrderId'; legal range is '^[\\.A-Z\\:/a-z0-9_-]{1,36}$'.",
        ),
        (
            format!("{LIMIT}&timestamp=soon"),
            -1100,
            "Illegal characters found in parameter 'timestamp'; legal range is '^[0-9]{1,20}$'.",
        ),
        (
            format!("{LIMIT}&timestamp=1&recvWindow=5000"),
            -1021,
            "Timestamp for this request is outside of the recvWindow.",
        ),
        (format!("{LIMIT}&recvWindow=60001&timestamp=1"), -1131, "'recvWindow' must be less than 60000."),
    ];
    for (form, wanted, text) in table {
        let answer = exchange.call("POST", "/api/v3/order", form.clone()).await;
        assert_eq!(answer, (400, json!({"code": wanted, "msg": text})), "{form}");
    }
    let key = "a".repeat(64);
    let open = exchange.call_as(Some(&key), "GET", "/api/v3/openOrders", "").await;
    assert_eq!(open, (200, json!([])), "a key as long as Binance's names an account");
    let market = "symbol=BTCUSDT&side=BUY&type=MARKET&quantity=0.0001";
    let answer = exchange.call("POST", "/api/v3/order", market).await;
    assert_eq!(answer.1["msg"], "Filter failure: MARKET_LOT_SIZE");
    let symbol = "BTCUSDT".parse().expect("a symbol");
    let lowest = group.look(|ledger| ledger.exchange().expect("registered").last_exec_id(&symbol));
    assert_eq!((lowest, group.executions().len()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn each_bad_call_gets_its_status() {
    let exchange = Exchange::start(&group()).await;
    assert_eq!(code(&exchange.get("/api/v4/order").await), (404, -1000));
    assert_eq!(code(&exchange.call("PUT", "/api/v3/order", "").await), (405, -1000));
    assert_eq!(code(&exchange.call("POST", "/api/v3/order", vec![b'a'; 65 << 10]).await), (413, -1000));
    assert_eq!(code(&exchange.call("POST", "/api/v3/order", vec![0xff, 0xfe]).await), (400, -1100));
    assert_eq!(code(&exchange.call_as(Some("no key"), "GET", "/api/v3/openOrders", "").await), (401, -2014));
    assert_eq!(code(&exchange.get("/api/v3/order?symbol=BTCUSDT").await), (400, -1102));
    assert_eq!(code(&exchange.get("/api/v3/order?symbol=BTCUSDT&orderId=7").await), (400, -2013));
    assert_eq!(code(&exchange.query("nobody").await), (400, -2013));
    assert_eq!(code(&exchange.call("DELETE", "/api/v3/order?symbol=BTCUSDT&orderId=7", "").await), (400, -2011));
    assert_eq!(code(&exchange.call("DELETE", "/api/v3/openOrders?symbol=BTCUSDT", "").await), (400, -2011));
    assert_eq!(code(&exchange.get("/api/v3/openOrders?symbol=NOPE").await), (400, -1121));
    assert_eq!(code(&exchange.get("/api/v3/depth").await), (400, -1102));
    assert_eq!(code(&exchange.get("/api/v3/depth?symbol=NOPE").await), (400, -1121));
    assert_eq!(code(&exchange.get("/api/v3/exchangeInfo?symbols=BTCUSDT").await), (400, -1100));
    // HEAD is GET without the answer's body.
    for endpoint in ENDPOINTS.iter().filter(|endpoint| endpoint.method == "GET") {
        for parameters in ["", "?symbol=BTCUSDT", "?symbol=BTCUSDT&orderId=7", "?bogus=1"] {
            let path = format!("{}{parameters}", endpoint.path);
            for body in ["", "symbol=BTCUSDT"] {
                let (head, get) = (exchange.call("HEAD", &path, body).await, exchange.call("GET", &path, body).await);
                assert_eq!(head, (get.0, Value::String(String::new())), "{path} {body}");
            }
        }
    }
    let put = |body: &'static str| exchange.call("PUT", "/v1/reference-prices/BTCUSDT", body);
    assert_eq!(code(&put(r#"{"price":"100"}"#).await), (409, -1013));
    assert_eq!(code(&put(r#"{"price":"0"}"#).await), (400, -1013));
    assert_eq!(code(&put(r#"{"price":"x"}"#).await), (400, -1100));
    assert_eq!(code(&put(r#"{"prize":"100"}"#).await), (400, -1102));
}

#[tokio::test(start_paused = true)]
async fn with_credentials_only_signed_requests_in_time_are_taken() {
    let group = group();
    let exchange = Exchange::start_with(&group, |settings| {
        settings.api_key = Some("key".into());
        settings.api_secret = Some("secret".into());
    })
    .await;
    let now = exchange.desk.world().clocks.wall_ms();
    let post = |key: Option<&'static str>, form: String| exchange.call_as(key, "POST", "/api/v3/order", form);
    let signed = |text: String| format!("{text}&signature={}", sign("secret", &text));
    let stamped = |ms: u64| format!("{LIMIT}&timestamp={ms}");
    assert_eq!(code(&post(None, signed(stamped(now))).await), (401, -2014));
    assert_eq!(code(&post(Some("other"), signed(stamped(now))).await), (401, -2015));
    assert_eq!(code(&post(Some("key"), stamped(now)).await), (400, -1102));
    assert_eq!(code(&post(Some("key"), signed(LIMIT.to_owned())).await), (400, -1102));
    assert_eq!(code(&post(Some("key"), signed(stamped(now)).replace("0.010", "0.020")).await), (400, -1022));
    assert_eq!(code(&post(Some("key"), signed(stamped(now - 5_001))).await), (400, -1021));
    assert_eq!(code(&post(Some("key"), signed(stamped(now + 2_000))).await), (400, -1021));
    assert_eq!(group.executions().len(), 0);
    let (status, placed) = post(Some("key"), signed(stamped(now))).await;
    assert_eq!((status, &placed["status"]), (200, &json!("NEW")));
    // The same in the query, and the market data without a key.
    let query = signed(format!("symbol=BTCUSDT&orderId={}&timestamp={now}", placed["orderId"]));
    let path = format!("/api/v3/order?{query}");
    assert_eq!(exchange.call_as(Some("key"), "GET", &path, "").await.1["status"], "NEW");
    assert_eq!(exchange.get("/api/v3/depth?symbol=BTCUSDT").await.0, 200);
}

#[tokio::test(start_paused = true)]
async fn anybody_may_read_what_is_traded() {
    let group = group();
    let exchange = Exchange::start(&group).await;
    assert_eq!(exchange.get("/api/v3/ping").await, (200, json!({})));
    let (_, time) = exchange.get("/api/v3/time").await;
    assert_eq!(time["serverTime"].as_u64(), Some(exchange.desk.world().clocks.wall_ms()));
    let (_, mut info) = exchange.get("/api/v3/exchangeInfo").await;
    let filters = info["symbols"][0]["filters"].take();
    assert_eq!(filters[3]["minNotional"], "0.1");
    assert_eq!(filters[5]["filterType"], "PERCENT_PRICE_BY_SIDE");
    assert_eq!((&filters[5]["bidMultiplierUp"], &filters[5]["askMultiplierDown"]), (&json!("1.10"), &json!("0.90")));
    let modes = json!(["NONE", "EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH"]);
    let wanted = json!({
        "symbol": "BTCUSDT", "status": "TRADING", "baseAsset": "BTC", "baseAssetPrecision": 8, "quoteAsset": "USDT",
        "quotePrecision": 8, "quoteAssetPrecision": 8, "baseCommissionPrecision": 8, "quoteCommissionPrecision": 8,
        "orderTypes": ["LIMIT", "LIMIT_MAKER", "MARKET"], "icebergAllowed": false, "ocoAllowed": false,
        "otoAllowed": false, "opoAllowed": false, "quoteOrderQtyMarketAllowed": false, "allowTrailingStop": false,
        "cancelReplaceAllowed": false, "amendAllowed": false, "pegInstructionsAllowed": false,
        "isSpotTradingAllowed": true, "isMarginTradingAllowed": false, "filters": null, "permissions": ["SPOT"],
        "permissionSets": [["SPOT"]], "defaultSelfTradePreventionMode": "NONE", "allowedSelfTradePreventionModes": modes,
    });
    assert_eq!(info["symbols"], json!([wanted]));
    let total = json!([{"filterType": "EXCHANGE_MAX_NUM_ORDERS", "maxNumOrders": 1_000}]);
    assert_eq!((&info["exchangeFilters"], &info["timezone"], &info["rateLimits"]), (&total, &json!("UTC"), &json!([])));
    let without = exchange.get("/api/v3/exchangeInfo?showPermissionSets=false").await.1;
    assert!(
        without["symbols"][0].get("permissionSets").is_none()
            && without["symbols"][0]["permissions"] == json!(["SPOT"])
    );
    let (_, depth) = exchange.get("/api/v3/depth?symbol=BTCUSDT&limit=5").await;
    assert_eq!((&depth["bids"], &depth["asks"]), (&json!([["99.00", "0.010"]]), &json!([["101.00", "0.010"]])));
    let ticker =
        json!({"symbol": "BTCUSDT", "bidPrice": "99.00", "bidQty": "0.010", "askPrice": "101.00", "askQty": "0.010"});
    assert_eq!(exchange.get("/api/v3/ticker/bookTicker?symbol=BTCUSDT").await.1, ticker);
    assert_eq!(exchange.get("/api/v3/ticker/bookTicker").await.1, json!([ticker]));
    let (status, health) = exchange.get("/health").await;
    assert_eq!((status, &health["status"], &health["ledger_reachable"]), (200, &json!("ok"), &json!(true)));
    assert_eq!(health["exchange_epoch"].as_u64(), group.look(|ledger| ledger.exchange().map(|one| one.epoch)));
    let (_, metrics) = exchange.get("/metrics").await;
    assert!(metrics.as_str().is_some_and(|text| text.contains("quorate_exchange_ready 1")));
}

#[tokio::test(start_paused = true)]
async fn each_account_of_the_file_signs_by_its_keys_and_may_do_what_they_are_for() {
    let (alices, watchers, bobs) = ("a".repeat(64), "b".repeat(64), "bob-1");
    let file = tempfile::NamedTempFile::new().unwrap();
    let key = |key: &str, may: &str| {
        format!("[[account.key]]\napi-key = \"{key}\"\nsecret = \"{key}-secret\"\npermissions = [{may}]\n")
    };
    let text = format!(
        "[[account]]\nname = \"alice\"\n{}{}[[account]]\nname = \"bob\"\n{}",
        key(&alices, "\"read\", \"trade\""),
        key(&watchers, "\"read\""),
        key(bobs, "\"trade\""),
    );
    std::fs::write(file.path(), text).unwrap();
    let group = group();
    let exchange = Exchange::start_with(&group, |settings| settings.accounts = Some(file.path().to_owned())).await;
    let now = exchange.desk.world().clocks.wall_ms();
    let call = |by: &str, method: &'static str, path: &str, form: &str| {
        let form = format!("{form}timestamp={now}");
        let path = format!("/api/v3/{path}?{form}&signature={}", sign(&format!("{by}-secret"), &form));
        let (exchange, by) = (&exchange, by.to_owned());
        async move { exchange.call_as(Some(&by), method, &path, "").await }
    };
    let order = format!("{LIMIT}&newClientOrderId=one&");
    let named = "symbol=BTCUSDT&origClientOrderId=one&";
    assert_eq!(code(&call(&watchers, "POST", "order", &order).await), (401, -2015), "it may only read");
    assert_eq!(call(&alices, "POST", "order", &order).await.1["status"], "NEW");
    assert_eq!(call(bobs, "POST", "order", &order).await.1["status"], "NEW", "names are each account's own");
    assert_eq!(call(&watchers, "GET", "order", named).await.1["status"], "NEW");
    assert_eq!(code(&call(bobs, "GET", "order", named).await), (401, -2015), "it may only trade");
    assert_eq!(code(&call(&watchers, "DELETE", "order", named).await), (401, -2015));
    assert_eq!(code(&call(&watchers, "DELETE", "openOrders", "symbol=BTCUSDT&").await), (401, -2015));
    assert_eq!(code(&call("nobody", "GET", "order", named).await), (401, -2015));
    assert_eq!(call(&alices, "GET", "openOrders", "").await.1.as_array().map(Vec::len), Some(1));
    assert_eq!(call(bobs, "DELETE", "order", named).await.1["status"], "CANCELED");
    let accounts: Vec<String> =
        group.look(|ledger| ledger.open_orders().map(|order| order.order.account.to_string()).collect());
    assert_eq!(accounts, ["alice"]);
    // Where accounts are known each is one trader, and does not trade with itself.
    let info = exchange.get("/api/v3/exchangeInfo").await.1;
    assert_eq!(info["symbols"][0]["defaultSelfTradePreventionMode"], "EXPIRE_MAKER");
}

#[tokio::test(start_paused = true)]
async fn a_key_of_64_characters_names_an_account_where_nobody_signs() {
    let exchange = Exchange::start(&group()).await;
    let (one, other) = ("vmPUZE6mv9SD5VNHk4HlWFsOr6aKE2zvsw0MuIgwCIPy6utIco14y7Ju91duEh8A", "z".repeat(64));
    assert_eq!(exchange.call_as(Some(one), "POST", "/api/v3/order", LIMIT).await.1["status"], "NEW");
    let open = |key: String| {
        let exchange = &exchange;
        async move { exchange.call_as(Some(&key), "GET", "/api/v3/openOrders", "").await.1.as_array().map(Vec::len) }
    };
    assert_eq!((open(one.to_owned()).await, open(other).await), (Some(1), Some(0)));
    // An empty one is none.
    assert_eq!(exchange.call("POST", "/api/v3/order", LIMIT).await.1["status"], "NEW");
    assert_eq!((open(String::new()).await, open("default".to_owned()).await), (Some(1), Some(1)));
    let long = "z".repeat(65);
    assert_eq!(code(&exchange.call_as(Some(&long), "GET", "/api/v3/openOrders", "").await), (401, -2014));
}
