//! Bad requests to the exchange, one row each, with what it must answer.

use super::wire::{Ask, FORM, JSON};

const ORDER: &str = "/api/v3/order";
const LIMIT: &str = "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTC&quantity=0.010&price=90.00";
/// Bytes of a body at most.
const BODY_MAX: usize = 64 << 10;

/// A bad request and its answer.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) what: &'static str,
    pub(crate) ask: Ask,
    pub(crate) status: u16,
    /// Binance's code.
    pub(crate) code: i64,
}

fn row(what: &'static str, ask: Ask, status: u16, code: i64) -> Row {
    Row { what, ask, status, code }
}

/// An order with something else in a place.
fn order(what: &'static str, from: &str, to: &str, code: i64) -> Row {
    assert!(LIMIT.contains(from), "{what}: nothing to put {to} in place of");
    let ask = Ask::new("POST", ORDER).header("content-type", FORM).body(LIMIT.replace(from, to));
    row(what, ask, 400, code)
}

/// Orders that cannot be.
pub(crate) fn orders() -> Vec<Row> {
    let more = |what, more: &str, code| order(what, "price=90.00", &format!("price=90.00&{more}"), code);
    let long = format!("quantity={}", "9".repeat(10_000));
    vec![
        order("no symbol", "symbol=BTCUSDT&", "", -1102),
        order("an empty symbol", "BTCUSDT", "", -1102),
        order("a symbol in small letters", "BTCUSDT", "btcusdt", -1100),
        order("a symbol too long", "BTCUSDT", "BTCUSDTBTCUSDTBTCUSDT", -1100),
        order("a symbol that is no text", "BTCUSDT", "%ff%fe", -1100),
        order("an unknown symbol", "BTCUSDT", "NOPE", -1121),
        order("a side there is not", "BUY", "HOLD", -1117),
        order("no side", "side=BUY&", "", -1102),
        order("a type there is not", "type=LIMIT", "type=STOP_LOSS", -1116),
        order("a time in force there is not", "GTC", "GTD", -1115),
        order("a limit without time in force", "timeInForce=GTC&", "", -1102),
        order("a market order with time in force", "type=LIMIT", "type=MARKET", -1106),
        order("a market order with a price", "type=LIMIT&timeInForce=GTC", "type=MARKET", -1106),
        order("a limit without a price", "&price=90.00", "", -1102),
        order("no quantity", "quantity=0.010", "quantity=", -1102),
        order("a quantity of 0", "0.010", "0", -1013),
        order("a quantity of 0.000", "0.010", "0.000", -1013),
        order("a negative quantity", "0.010", "-0.010", -1013),
        order("a quantity off the lot", "0.010", "0.0105", -1013),
        order("a quantity above all", "0.010", "999999999999", -1013),
        order("a quantity of 20 digits", "0.010", "99999999999999999999", -1111),
        order("a quantity of 10000 digits", "quantity=0.010", &long, -1111),
        order("a quantity in words", "0.010", "all", -1100),
        order("a quantity with an exponent", "0.010", "1e3", -1100),
        order("a quantity that is infinite", "0.010", "inf", -1100),
        order("a quantity not in ASCII", "0.010", "%D9%A1", -1100),
        order("a price off the tick", "90.00", "90.005", -1013),
        order("a price of 0", "90.00", "0", -1013),
        order("a negative price", "90.00", "-90.00", -1013),
        order("a price above all", "90.00", "99999999999999", -1013),
        order("a price of too many digits", "90.00", "0.00000000000001", -1111),
        order("a price in words", "90.00", "NaN", -1100),
        order("a buy far above the market", "90.00", "150.00", -1013),
        order("a buy far below the market", "90.00", "10.00", -1013),
        order("an order worth too little", "90.00", "0.01", -1013),
        more("a stop price", "stopPrice=1", -1106),
        more("an iceberg", "icebergQty=0.001", -1106),
        more("a quantity of money", "quoteOrderQty=100", -1106),
        more("a parameter twice", "side=SELL", -1101),
        more("a parameter that nobody knows", "bogus=1", -1104),
        more("a parameter of another endpoint", "orderId=7", -1104),
        more("a parameter without a value", "newOrderRespType=", -1105),
        more("a strategy", "strategyId=1", -1106),
        more("a prevention that is not offered", "selfTradePreventionMode=DECREMENT", -1106),
        more("a prevention there is not", "selfTradePreventionMode=NONSENSE", -1130),
        more("an answer there is not", "newOrderRespType=ALL", -1118),
        more("a name that cannot be", "newClientOrderId=%20", -1100),
        more("a name too long", "newClientOrderId=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", -1100),
        more("a name that is taken", "newClientOrderId=rest", -2010),
        more("a time in words", "timestamp=soon", -1100),
        more("a negative time", "timestamp=-1", -1100),
        more("a time of 65 bits", "timestamp=18446744073709551616", -1100),
        more("a time long gone", "timestamp=1&recvWindow=5000", -1021),
        more("a time in seconds", "timestamp=1700000000", -1021),
        more("a time to come", "timestamp=99999999999999&recvWindow=5000", -1021),
        more("a window too wide", "timestamp=1&recvWindow=60001", -1131),
        more("a window without a time", "recvWindow=5000", -1102),
    ]
}

/// Calls that cannot be.
pub(crate) fn calls() -> Vec<Row> {
    let get = |what, path: &str, code| row(what, Ask::get(path), 400, code);
    let delete = |what, path: &str, code| row(what, Ask::new("DELETE", path), 400, code);
    let post = |what, body: Vec<u8>, status, code| {
        row(what, Ask::new("POST", ORDER).header("content-type", FORM).body(body), status, code)
    };
    let price = |what, path: &str, body: &str, status, code| {
        row(what, Ask::new("PUT", path).header("content-type", JSON).body(body), status, code)
    };
    let many: String = (0..100).map(|n| format!("p{n}=1&")).collect();
    let reference = "/v1/reference-prices/BTCUSDT";
    vec![
        post("nothing", Vec::new(), 400, -1102),
        post("bytes that are no text", vec![0xff, 0xfe, 0x00], 400, -1100),
        post("JSON for a form", br#"{"symbol":"BTCUSDT"}"#.to_vec(), 400, -1104),
        post("too many parameters", many.into_bytes(), 400, -1104),
        post("a body too large", vec![b'a'; BODY_MAX + 1], 413, -1000),
        post("a huge body", vec![b'a'; 16 * BODY_MAX], 413, -1000),
        row("an unknown path", Ask::get("/api/v4/order"), 404, -1000),
        row("a path that is no text", Ask::get("/api/v3/%ff"), 404, -1000),
        row("a method for another path", Ask::new("PUT", ORDER), 405, -1000),
        row("an unheard of method", Ask::new("BREW", "/api/v3/ping"), 405, -1000),
        row("a key that cannot be", Ask::get("/api/v3/openOrders").header("x-mbx-apikey", "no key"), 401, -2014),
        row("a key that is no text", Ask::get("/api/v3/openOrders").header("x-mbx-apikey", vec![0xff]), 401, -2014),
        get("an order without its name", "/api/v3/order?symbol=BTCUSDT", -1102),
        get("an order without its symbol", "/api/v3/order?orderId=7", -1102),
        get("an unknown order", "/api/v3/order?symbol=BTCUSDT&orderId=7", -2013),
        get("the last order there is", "/api/v3/order?symbol=BTCUSDT&orderId=18446744073709551615", -2013),
        get("an order id of 65 bits", "/api/v3/order?symbol=BTCUSDT&orderId=18446744073709551616", -1100),
        get("a negative order id", "/api/v3/order?symbol=BTCUSDT&orderId=-7", -1100),
        get("an unknown name", "/api/v3/order?symbol=BTCUSDT&origClientOrderId=nobody", -2013),
        get("an order of another symbol", "/api/v3/order?symbol=ETHUSDT&origClientOrderId=rest", -2013),
        delete("a cancel of an unknown order", "/api/v3/order?symbol=BTCUSDT&orderId=7", -2011),
        delete("a cancel of an unknown name", "/api/v3/order?symbol=BTCUSDT&origClientOrderId=nobody", -2011),
        delete("a cancel by another symbol", "/api/v3/order?symbol=ETHUSDT&origClientOrderId=rest", -2011),
        delete("a cancel if", "/api/v3/order?symbol=BTCUSDT&orderId=7&cancelRestrictions=ONLY_NEW", -2011),
        delete("a cancel if what", "/api/v3/order?symbol=BTCUSDT&orderId=7&cancelRestrictions=GARBAGE", -1145),
        delete("a cancel with no name", "/api/v3/order?symbol=BTCUSDT&orderId=7&newClientOrderId=%20", -1100),
        delete("a cancel of nothing", "/api/v3/order?symbol=BTCUSDT", -1102),
        delete("a cancel of all of an unknown symbol", "/api/v3/openOrders?symbol=NOPE", -1121),
        delete("a cancel of all where there are none", "/api/v3/openOrders?symbol=ETHUSDT", -2011),
        delete("a cancel of all of everything", "/api/v3/openOrders", -1102),
        row(
            "a cancel of another's order",
            Ask::new("DELETE", "/api/v3/order?symbol=BTCUSDT&origClientOrderId=rest").header("x-mbx-apikey", "other"),
            400,
            -2011,
        ),
        get("open orders of an unknown symbol", "/api/v3/openOrders?symbol=NOPE", -1121),
        get("depth of nothing", "/api/v3/depth", -1102),
        get("depth of an unknown symbol", "/api/v3/depth?symbol=NOPE", -1121),
        get("depth of no levels", "/api/v3/depth?symbol=BTCUSDT&limit=0", -1130),
        get("the time of something", "/api/v3/time?symbol=BTCUSDT", -1104),
        get("reference prices of something", "/v1/reference-prices?symbol=BTCUSDT", -1104),
        get("a list with a symbol twice", "/api/v3/exchangeInfo?symbols=%5B%22BTCUSDT%22,%22BTCUSDT%22%5D", -1101),
        get("depth in words", "/api/v3/depth?symbol=BTCUSDT&limit=all", -1100),
        get("symbols that are no list", "/api/v3/exchangeInfo?symbols=BTCUSDT", -1100),
        get("a symbol and symbols", "/api/v3/exchangeInfo?symbol=BTCUSDT&symbols=%5B%22BTCUSDT%22%5D", -1128),
        get("a list with an unknown symbol", "/api/v3/ticker/bookTicker?symbols=%5B%22NOPE%22%5D", -1121),
        price("a price for a source of its own", reference, r#"{"price":"100"}"#, 409, -1013),
        price("a price of 0", reference, r#"{"price":"0"}"#, 400, -1013),
        price("a price in words", reference, r#"{"price":"x"}"#, 400, -1100),
        price("a price that is a number", reference, r#"{"price":100}"#, 400, -1102),
        price("half a price", reference, r#"{"price":"#, 400, -1102),
        price("arrays too deep", reference, &"[".repeat(10_000), 400, -1102),
        price("a price of an unknown symbol", "/v1/reference-prices/NOPE", r#"{"price":"1"}"#, 400, -1121),
        price("a price of what cannot be", "/v1/reference-prices/no%20pe", r#"{"price":"1"}"#, 400, -1121),
    ]
}
