//! One call to the exchange at a time: what it says, and whether it says anything.

use std::time::Duration;

use bytes::Bytes;
use quorate_binance_api::{
    ApiError,
    model::{ExchangeInfo, OrderPlaced, OrderStanding, ReferencePrice, SetReferencePrice},
    signing::{RECV_WINDOW_MAX_MS, Secret},
};
use quorate_seams::{CallError, World, empty_body, full_body, read_body};
use serde::de::DeserializeOwned;

use crate::{
    journal::FillLine,
    order::{Order, escape},
};

/// Bytes of an answer at most.
const ANSWER_MAX_BYTES: usize = 4 << 20;

/// Who sends, and how it is signed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Credentials {
    pub(crate) key: Option<String>,
    pub(crate) secret: Option<Secret>,
    /// The key and the secret that tell prices.
    pub(crate) feed: Option<(String, Secret)>,
}

/// The exchange.
#[derive(Debug, Clone)]
pub(crate) struct Venue {
    world: World,
    base: String,
    credentials: Credentials,
    timeout: Duration,
}

/// Where an order stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) order_id: u64,
    pub(crate) status: String,
    pub(crate) executed_qty: String,
    pub(crate) fills: Vec<FillLine>,
}

/// Why a call says nothing definite, or no.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failed {
    /// The exchange's own word.
    #[error(transparent)]
    Refused(ApiError),
    /// No connection: nothing was sent.
    #[error("{0}")]
    NotSent(String),
    /// Sent, and no word of what came of it.
    #[error("{0}")]
    Unknown(String),
}

impl Venue {
    /// `base` is `http://host:port`.
    pub(crate) fn new(world: World, base: &str, credentials: Credentials, timeout: Duration) -> Self {
        Self { world, base: base.trim_end_matches('/').to_owned(), credentials, timeout }
    }

    pub(crate) async fn place(&self, order: &Order) -> Result<Standing, Failed> {
        let body = self.windowed(order.form());
        let request = self.request("POST", "/api/v3/order", Some(body));
        let placed: OrderPlaced = self.call(request).await?;
        let Some(result) = placed.result else {
            return Err(Failed::Unknown("the exchange took the order and did not say how it stands".to_owned()));
        };
        let fill = |fill: quorate_binance_api::model::Fill| FillLine {
            trade_id: fill.trade_id,
            price: fill.price,
            qty: fill.qty,
        };
        Ok(Standing {
            order_id: placed.order_id,
            status: result.status.to_string(),
            executed_qty: result.executed_qty,
            fills: placed.fills.unwrap_or_default().into_iter().map(fill).collect(),
        })
    }

    pub(crate) async fn query(&self, symbol: &str, client_order_id: &str) -> Result<Standing, Failed> {
        self.named("GET", symbol, client_order_id).await
    }

    pub(crate) async fn cancel(&self, symbol: &str, client_order_id: &str) -> Result<Standing, Failed> {
        self.named("DELETE", symbol, client_order_id).await
    }

    async fn named(&self, method: &str, symbol: &str, client_order_id: &str) -> Result<Standing, Failed> {
        let timestamp = self.world.clocks.wall_ms();
        let name = escape(client_order_id);
        let query = self.windowed(format!("symbol={symbol}&origClientOrderId={name}&timestamp={timestamp}"));
        let request = self.request(method, &format!("/api/v3/order?{query}"), None);
        let info: OrderStanding = self.call(request).await?;
        let status = info.status.to_string();
        Ok(Standing { order_id: info.order_id, status, executed_qty: info.executed_qty, fills: Vec::new() })
    }

    pub(crate) async fn exchange_info(&self) -> Result<ExchangeInfo, Failed> {
        self.call(self.request("GET", "/api/v3/exchangeInfo", None)).await
    }

    pub(crate) async fn reference_prices(&self) -> Result<Vec<ReferencePrice>, Failed> {
        self.call(self.request("GET", "/v1/reference-prices", None)).await
    }

    pub(crate) async fn set_reference_price(&self, symbol: &str, set: &SetReferencePrice) -> Result<(), Failed> {
        let body = serde_json::to_string(set).map_err(|e| Failed::NotSent(e.to_string()))?;
        let path = format!("/v1/reference-prices/{symbol}");
        let request = match &self.credentials.feed {
            None => self.keyed("PUT", &path, None),
            Some((key, secret)) => {
                let query = format!("timestamp={}", self.world.clocks.wall_ms());
                // The signature covers the query and the body.
                let signature = secret.sign(&format!("{query}{body}"));
                self.keyed("PUT", &format!("{path}?{query}&signature={signature}"), Some(key))
            }
        };
        let request = request.header(http::header::CONTENT_TYPE, "application/json").body(Some(Bytes::from(body)));
        self.call::<serde_json::Value>(request).await.map(|_| ())
    }

    /// Whether the window in which an order counts is past, by the clock here.
    pub(crate) fn window_is_past(&self, order: &Order) -> bool {
        self.world.clocks.wall_ms() > order.timestamp.saturating_add(RECV_WINDOW_MAX_MS)
    }

    /// The parameters with the window in which they count, and with their signature, where there is a secret.
    fn windowed(&self, parameters: String) -> String {
        let parameters = format!("{parameters}&recvWindow={RECV_WINDOW_MAX_MS}");
        let Some(secret) = &self.credentials.secret else { return parameters };
        let signature = secret.sign(&parameters);
        format!("{parameters}&signature={signature}")
    }

    fn request(&self, method: &str, path: &str, body: Option<String>) -> http::Result<http::Request<Option<Bytes>>> {
        let mut request = self.keyed(method, path, self.credentials.key.as_deref());
        if body.is_some() {
            request = request.header(http::header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        }
        request.body(body.map(Bytes::from))
    }

    fn keyed(&self, method: &str, path: &str, key: Option<&str>) -> http::request::Builder {
        let request = http::Request::builder().method(method).uri(format!("{}{path}", self.base));
        match key {
            Some(key) => request.header("X-MBX-APIKEY", key),
            None => request,
        }
    }

    async fn call<T: DeserializeOwned>(
        &self,
        request: http::Result<http::Request<Option<Bytes>>>,
    ) -> Result<T, Failed> {
        let request = request.map_err(|error| Failed::NotSent(error.to_string()))?;
        let request = request.map(|body| body.map_or_else(empty_body, full_body));
        let answer = async {
            let response = self.world.http.call(request).await?;
            let status = response.status();
            Ok((status, read_body(response.into_body(), ANSWER_MAX_BYTES).await?))
        };
        let (status, body) = match tokio::time::timeout(self.timeout, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(CallError::Connect(what))) => return Err(Failed::NotSent(what)),
            Ok(Err(error @ (CallError::Broken(_) | CallError::Timeout(_)))) => {
                return Err(Failed::Unknown(error.to_string()));
            }
            Err(_) => return Err(Failed::Unknown(format!("no answer within {} ms", self.timeout.as_millis()))),
        };
        if status.is_success() {
            return serde_json::from_slice(&body)
                .map_err(|error| Failed::Unknown(format!("an answer that cannot be read: {error}")));
        }
        match serde_json::from_slice::<ApiError>(&body) {
            // A server that is broken inside cannot say what it has done.
            Ok(error) if error.is_unknown() || error.code == -1000 => Err(Failed::Unknown(error.to_string())),
            Ok(error) => Err(Failed::Refused(error)),
            Err(_) => Err(Failed::Unknown(format!("the exchange answered {status}"))),
        }
    }
}
