//! An exchange over a [`Group`], called through its router.

use std::{sync::Arc, time::Duration};

use axum::{
    body::{Body, to_bytes},
    http::{Request, StatusCode},
};
use quorate_exchange::{
    config::{Config, Settings},
    desk::Desk,
    follow::follow,
    http::router,
    limits::limit,
    recover::RecoverError,
    reference::References,
};
use quorate_seams::{Failpoints, Tasks, World};
use serde_json::Value;
use tokio::{task::JoinHandle, time::sleep};
use tower::ServiceExt;

use crate::ledger::{Group, TestClocks};

/// One exchange.
pub(crate) struct Exchange {
    pub(crate) desk: Arc<Desk>,
    pub(crate) following: JoinHandle<RecoverError>,
    limiting: JoinHandle<()>,
    world: World,
}

/// A group with a quote of 10 lots at 99.00 and 101.00 for `BTCUSDT`.
pub(crate) fn group() -> Group {
    let group = Group::new(TestClocks::new());
    group.define("BTCUSDT");
    group.quote("BTCUSDT", 9_900, 10_100, 10);
    group
}

pub(crate) fn world(group: &Group, clocks: TestClocks) -> World {
    World {
        clocks: Arc::new(clocks),
        http: Arc::new(group.clone()),
        tasks: Tasks::new(),
        seed: 7,
        failpoints: Failpoints::armed(Arc::new(|_| {})),
    }
}

pub(crate) fn config(change: impl FnOnce(&mut Settings)) -> Config {
    let mut settings = Settings {
        ledger_endpoints: Some(vec!["http://a:1".into()]),
        min_notional: Some("0.1".into()),
        reference: Some(vec!["static:BTCUSDT=100.005".into(), "external:ETHUSDT=50".into()]),
        ..Settings::default()
    };
    change(&mut settings);
    settings.resolve().unwrap()
}

impl Exchange {
    /// Starts, and waits until it takes orders.
    pub(crate) async fn start(group: &Group) -> Self {
        Self::start_with(group, |_| {}).await
    }

    pub(crate) async fn start_with(group: &Group, change: impl FnOnce(&mut Settings)) -> Self {
        let exchange = Self::begin(group, change);
        exchange.until_ready().await;
        exchange
    }

    /// Starts.
    pub(crate) fn begin(group: &Group, change: impl FnOnce(&mut Settings)) -> Self {
        let config = config(change);
        let world = world(group, group.clocks());
        let references = References::open(&config.references).unwrap();
        let desk = Desk::new(config, world.clone(), references).unwrap();
        let followed = desk.clone();
        let following = tokio::spawn(async move { follow(&followed).await });
        let limiting = tokio::spawn(limit(desk.clone()));
        Self { desk, following, limiting, world }
    }

    pub(crate) async fn until_ready(&self) {
        self.until("ready", |exchange| exchange.desk.health().ready).await;
    }

    pub(crate) async fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        for _ in 0..10_000 {
            if holds(self) {
                return;
            }
            sleep(Duration::from_millis(10)).await;
        }
        panic!("never {what}: {:?}", self.desk.health());
    }

    /// Ends as by kill -9.
    pub(crate) fn kill(self) {
        self.following.abort();
        self.limiting.abort();
        self.world.tasks.abort_all();
    }

    pub(crate) fn failpoints(&self) -> &Failpoints {
        &self.world.failpoints
    }

    pub(crate) async fn call(&self, method: &str, path: &str, body: impl Into<Body>) -> (u16, Value) {
        self.call_as(None, method, path, body).await
    }

    pub(crate) async fn call_as(
        &self,
        key: Option<&str>,
        method: &str,
        path: &str,
        body: impl Into<Body>,
    ) -> (u16, Value) {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(key) = key {
            request = request.header("X-MBX-APIKEY", key);
        }
        let response = router(self.desk.clone()).oneshot(request.body(body.into()).unwrap()).await.unwrap();
        let status: StatusCode = response.status();
        let bytes = to_bytes(response.into_body(), 1 << 20).await.unwrap();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        (status.as_u16(), serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    pub(crate) async fn get(&self, path: &str) -> (u16, Value) {
        self.call("GET", path, Body::empty()).await
    }

    /// A limit order of `lots` thousandths.
    pub(crate) async fn limit(&self, name: &str, side: &str, tif: &str, price: &str, lots: u32) -> (u16, Value) {
        let form = format!(
            "symbol=BTCUSDT&side={side}&type=LIMIT&timeInForce={tif}&quantity=0.{lots:03}&price={price}&newClientOrderId={name}"
        );
        self.call("POST", "/api/v3/order", form).await
    }

    pub(crate) async fn market(&self, name: &str, side: &str, lots: u32) -> (u16, Value) {
        let form = format!("symbol=BTCUSDT&side={side}&type=MARKET&quantity=0.{lots:03}&newClientOrderId={name}");
        self.call("POST", "/api/v3/order", form).await
    }

    pub(crate) async fn query(&self, name: &str) -> (u16, Value) {
        self.get(&format!("/api/v3/order?symbol=BTCUSDT&origClientOrderId={name}")).await
    }
}

/// The code of an error's body.
pub(crate) fn code(answer: &(u16, Value)) -> (u16, i64) {
    (answer.0, answer.1["code"].as_i64().unwrap_or_else(|| panic!("no error: {answer:?}")))
}
