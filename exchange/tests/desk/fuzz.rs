//! Requests made of random pieces: none panics, none breaks the exchange, none gets more than it asked for.

use quorate_seams::seeded_rng;
use rand::{Rng, rngs::SmallRng, seq::IndexedRandom};

use crate::world::{Exchange, group};

const NAMES: [&str; 16] = [
    "symbol",
    "symbols",
    "side",
    "type",
    "timeInForce",
    "quantity",
    "price",
    "newClientOrderId",
    "origClientOrderId",
    "orderId",
    "newOrderRespType",
    "recvWindow",
    "timestamp",
    "signature",
    "limit",
    "\u{0}",
];
const VALUES: [&str; 30] = [
    "BTCUSDT",
    "NOPE",
    "BUY",
    "SELL",
    "LIMIT",
    "MARKET",
    "LIMIT_MAKER",
    "GTC",
    "IOC",
    "FOK",
    "ACK",
    "FULL",
    "0.001",
    "0.010",
    "101.00",
    "99.00",
    "0",
    "-1",
    "1",
    "18446744073709551615",
    "9223372036854775807",
    "99999999999999999999999",
    "0.000000000001",
    "1e400",
    "NaN",
    "%ff%fe",
    "%5B%22BTCUSDT%22%5D",
    "",
    "a",
    "é",
];
const PATHS: [&str; 11] = [
    "/api/v3/order",
    "/api/v3/order",
    "/api/v3/order",
    "/api/v3/openOrders",
    "/api/v3/depth",
    "/api/v3/exchangeInfo",
    "/api/v3/ticker/bookTicker",
    "/v1/reference-prices",
    "/v1/reference-prices/BTCUSDT",
    "/health",
    "/metrics",
];

fn form(rng: &mut SmallRng) -> String {
    let pair = |rng: &mut SmallRng| {
        let (name, value) = (NAMES.choose(rng).unwrap(), VALUES.choose(rng).unwrap());
        format!("{name}={value}")
    };
    let mut parts: Vec<String> = (0..rng.random_range(0..8)).map(|_| pair(rng)).collect();
    if rng.random_bool(0.5) {
        parts.insert(0, "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=IOC".to_owned());
    }
    parts.join("&")
}

#[tokio::test(start_paused = true)]
async fn no_request_breaks_the_exchange() {
    let group = group();
    let exchange = Exchange::start(&group).await;
    let mut rng = seeded_rng(20_240_808, 1);
    let (mut taken, mut refused) = (0, 0);
    for at in 0..4_000 {
        let method = ["GET", "POST", "DELETE", "PUT"].choose(&mut rng).unwrap();
        let path = PATHS.choose(&mut rng).unwrap();
        let query: String = form(&mut rng).chars().filter(|c| c.is_ascii_graphic()).collect();
        let body = if rng.random_bool(0.9) { form(&mut rng).into_bytes() } else { rng.random::<[u8; 32]>().to_vec() };
        let (status, answer) = exchange.call(method, &format!("{path}?{query}"), body).await;
        match status {
            200 => taken += 1,
            400 | 404 | 405 | 409 => {
                assert!(answer["code"].as_i64().is_some_and(|code| code < 0), "{at}: {answer}");
                refused += 1;
            }
            // Orders of unknown symbols ask the ledger, which answers here.
            other => panic!("{at}: {method} {path}?{query} got {other} {answer}"),
        }
    }
    assert!(taken > 100 && refused > 1_000, "{taken} {refused}");
    group.quote("BTCUSDT", 9_900, 10_100, 10);
    assert_eq!(exchange.market("last", "BUY", 1).await.1["status"], "FILLED");
}
