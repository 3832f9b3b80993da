//! What the maker does about reference prices that die, cannot be, go back, or never come.

use std::sync::Arc;

use quorate_domain::Millis;
use quorate_exchange::{config::Settings, desk::Desk, follow::follow, http::router, reference::References};
use serde_json::{Value, json};

use crate::{
    node::{Node, served},
    pass, start,
};

/// The age limit that makers have unless they are told another.
const AGE_MAX_MS: u64 = 5_000;

fn bid(node: &Node) -> Option<i64> {
    Some(node.quote()?.sides.bid?.price.0)
}

/// Waits until the quote is gone; how long that took.
async fn until_pulled(node: &Node) -> u64 {
    for ms in (0..20_000).step_by(50) {
        if node.quote().is_none() {
            return ms;
        }
        pass(50).await;
    }
    panic!("never pulled");
}

#[tokio::test(start_paused = true)]
async fn a_price_ages_by_its_source_and_not_by_the_poll() {
    let node = Node::new();
    let _maker = start(&node, "alpha");
    pass(1_000).await;
    assert_eq!(bid(&node), Some(995));
    // The exchange answers as ever, ten times a second, that the price is older than it may be.
    node.says(1_000, 1, AGE_MAX_MS + 1);
    pass(1_000).await;
    assert_eq!(bid(&node), None);
    pass(40_000).await;
    assert_eq!(bid(&node), None, "and not placed again");
    // Old when it comes, but not yet too old.
    node.says(1_010, 2, AGE_MAX_MS - 2_000);
    pass(500).await;
    assert_eq!(bid(&node), Some(1_005));
}

#[tokio::test(start_paused = true)]
async fn an_exchange_that_is_gone_makes_the_price_age_too() {
    let node = Node::new();
    let _maker = start(&node, "alpha");
    // It says that the price is two seconds old, and then nothing more.
    node.says(1_000, 1, 2_000);
    pass(1_000).await;
    assert_eq!(bid(&node), Some(995));
    node.state().exchange = Some(axum::Router::new());
    let took = until_pulled(&node).await;
    assert!((2_500..=3_300).contains(&took), "after {took} ms");
}

#[tokio::test(start_paused = true)]
async fn what_the_exchange_cannot_mean_is_not_quoted_on() {
    let node = Node::new();
    let _maker = start(&node, "alpha");
    node.says(1_000, 7, 0);
    pass(1_000).await;
    for (reference, seq) in [(0, 8), (-1_000, 8), (i64::MAX / 2, 8), (1_100, 6)] {
        node.says(reference, seq, 0);
        pass(1_000).await;
        assert_eq!(bid(&node), Some(995), "{reference} under number {seq}");
    }
    // None of these was a sign of life.
    let took = until_pulled(&node).await;
    assert!(took <= 1_500, "after {took} ms more");
    // A later exchange counts from its own beginning; the earlier one is not believed any more.
    node.state().exchange_epoch = 2;
    node.says(1_200, 1, 0);
    pass(500).await;
    assert_eq!(bid(&node), Some(1_195));
    node.state().exchange_epoch = 1;
    node.says(1_300, 9, 0);
    pass(500).await;
    assert_eq!(bid(&node), Some(1_195));
}

/// A real exchange over the node's ledger.
struct Exchange {
    node: Node,
    life: u64,
}

impl Exchange {
    fn start(node: &Node, reference: &str, life: u64) -> Self {
        let settings = Settings {
            ledger_endpoints: Some(vec!["http://node:1".into()]),
            reference: Some(vec![reference.into()]),
            ..Settings::default()
        };
        let config = settings.resolve().unwrap();
        let references = References::open(&config.references).unwrap();
        let desk = Desk::new(config, node.world(), references).unwrap();
        node.state().exchange = Some(router(Arc::clone(&desk)));
        tokio::spawn(async move { follow(&desk).await });
        Self { node: node.clone(), life }
    }

    async fn call(&self, method: &str, path: &str, body: Value) -> (u16, Vec<u8>) {
        let exchange = self.node.state().exchange.clone().unwrap();
        let request = http::Request::builder().method(method).uri(path).body(body.to_string().into()).unwrap();
        let response = served(exchange, request).await;
        let status = response.status().as_u16();
        (status, quorate_seams::read_body(response.into_body(), 1 << 20).await.unwrap().to_vec())
    }

    /// An update of a feed: its number, bid and ask.
    async fn feed(&self, seq: u64, bid: &str, ask: &str) -> u16 {
        let feed = format!("feed-{}", self.life);
        let body = json!({"bid": bid, "ask": ask, "feed": feed, "seq": seq, "time": seq});
        self.call("PUT", "/v1/reference-prices/A", body).await.0
    }

    async fn metrics(&self) -> String {
        String::from_utf8(self.call("GET", "/metrics", Value::Null).await.1).unwrap()
    }
}

#[tokio::test(start_paused = true)]
async fn a_feed_that_dies_goes_to_zero_crosses_goes_back_and_returns() {
    let node = Node::new();
    let exchange = Exchange::start(&node, "external:A=1000", 1);
    let _maker = start(&node, "alpha");
    let mut seq = 0;
    for at in 0..20 {
        seq += 10;
        assert_eq!(exchange.feed(seq, &format!("{}", 1_000 + at), &format!("{}", 1_002 + at)).await, 200);
        pass(200).await;
    }
    assert_eq!(bid(&node), Some(1_015));
    // It dies: pulled within the limit, by the age that the exchange tells.
    let took = until_pulled(&node).await;
    assert!((4_000..=5_200).contains(&took), "after {took} ms");
    assert!(exchange.metrics().await.contains("quorate_exchange_reference_age_ms{symbol=\"A\",source=\"external\"} 5"));
    pass(40_000).await;
    assert_eq!(bid(&node), None);
    // It returns.
    assert_eq!(exchange.feed(seq + 1, "1100", "1102").await, 200);
    pass(500).await;
    assert_eq!(bid(&node), Some(1_096));
    // To zero on one side, on both, crossed, and back in its own sequence: never quoted, and pulled when the last good one
    // is too old.
    let mut elapsed = 500;
    for round in 0..20u64 {
        let wrong = [("0", "1102"), ("0", "0"), ("1500", "1102"), ("-1", "3")];
        let (bid_price, ask) = wrong[usize::try_from(round % 4).unwrap()];
        assert_eq!(exchange.feed(seq + 10 + round, bid_price, ask).await, 400);
        assert_eq!(exchange.feed(seq - 1, "900", "902").await, 400);
        let quoted = bid(&node);
        assert!(quoted == Some(1_096) || quoted.is_none() && elapsed > AGE_MAX_MS, "{quoted:?} after {elapsed} ms");
        pass(400).await;
        elapsed += 400;
    }
    assert_eq!(bid(&node), None);
    let metrics = exchange.metrics().await;
    for row in ["not_positive\"} 15", "crossed\"} 5", "backward\"} 20"] {
        assert!(metrics.contains(&format!("source=\"external\",reason=\"{row}")), "{row} in {metrics}");
    }
    // The publisher starts again, and counts from the beginning.
    let again = Exchange { node: node.clone(), life: 2 };
    assert_eq!(again.feed(1, "1201", "1202").await, 200);
    pass(500).await;
    // Between two ticks: the half tick goes to the maker on both sides.
    let quote = node.quote().unwrap();
    assert_eq!((quote.sides.bid.unwrap().price.0, quote.sides.ask.unwrap().price.0), (1_196, 1_207));
}

#[tokio::test(start_paused = true)]
async fn what_an_external_source_begins_with_is_not_quoted_and_no_restart_brings_it_back() {
    let node = Node::new();
    let exchange = Exchange::start(&node, "external:A=1000", 1);
    let _maker = start(&node, "alpha");
    pass(2_000).await;
    assert_eq!(bid(&node), None);
    assert_eq!(exchange.feed(1, "900", "902").await, 200);
    pass(500).await;
    assert_eq!(bid(&node), Some(896));
    let again = Exchange::start(&node, "external:A=1000", 2);
    for _ in 0..40 {
        pass(200).await;
        assert!(bid(&node).is_none_or(|bid| bid == 896), "{:?}", bid(&node));
    }
    assert_eq!(bid(&node), None);
    assert_eq!(again.feed(1, "910", "912").await, 200);
    pass(500).await;
    assert_eq!(bid(&node), Some(906));
}

#[tokio::test(start_paused = true)]
async fn a_walk_and_a_fixed_price_stay_usable_over_a_restart_of_the_exchange() {
    for reference in ["static:A=1000", "walk:7,A=1000"] {
        let node = Node::new();
        let _exchange = Exchange::start(&node, reference, 1);
        let _maker = start(&node, "alpha");
        pass(60_000).await;
        let before = bid(&node).unwrap_or_else(|| panic!("{reference}"));
        assert!((945..=1_045).contains(&before), "{reference}: {before}");
        let _exchange = Exchange::start(&node, reference, 2);
        pass(2_000).await;
        let after = bid(&node).unwrap_or_else(|| panic!("{reference}"));
        assert!((before - after).abs() <= 9, "{reference}: from {before} to {after}");
        assert!(node.state().ledger.log_time() > Millis(0));
    }
}
