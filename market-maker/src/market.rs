//! The exchange's reference prices, polled. A price that cannot be had is not made up: the quoter
//! notices by its age.

use std::time::Duration;

use quorate_binance_api::model::ReferencePrice;
use quorate_ledger::{Price, Symbol};
use quorate_seams::{World, empty_body, read_body};

/// Time between two polls.
const POLL_EVERY: Duration = Duration::from_millis(100);
/// Longest time for one.
const POLL_TIMEOUT: Duration = Duration::from_millis(500);
/// Bytes of an answer at most.
const ANSWER_MAX_BYTES: usize = 1 << 20;

/// Polls one exchange.
pub(crate) struct Market {
    world: World,
    uri: http::Uri,
    /// Whether the last poll gave nothing: said once, not ten times a second.
    silent: bool,
}

impl Market {
    /// `exchange` is `http://host:port`.
    pub(crate) fn new(world: World, exchange: &str) -> Result<Self, http::uri::InvalidUri> {
        let uri = format!("{}/v1/reference-prices", exchange.trim_end_matches('/')).parse()?;
        Ok(Self { world, uri, silent: false })
    }

    /// The next prices; returns itself, so that the poll can stand in a `select!`.
    pub(crate) async fn next(mut self) -> (Self, Vec<(Symbol, Price)>) {
        loop {
            tokio::time::sleep(POLL_EVERY).await;
            let polled = tokio::time::timeout(POLL_TIMEOUT, self.poll()).await;
            match polled.unwrap_or_else(|_| Err(format!("no answer within {} ms", POLL_TIMEOUT.as_millis()))) {
                Ok(prices) => {
                    if std::mem::take(&mut self.silent) {
                        tracing::info!("reference prices are back");
                    }
                    return (self, prices);
                }
                Err(error) => {
                    if !std::mem::replace(&mut self.silent, true) {
                        tracing::warn!(uri = %self.uri, error, "no reference prices");
                    }
                }
            }
        }
    }

    async fn poll(&self) -> Result<Vec<(Symbol, Price)>, String> {
        let mut request = http::Request::new(empty_body());
        *request.uri_mut() = self.uri.clone();
        let response = self.world.http.call(request).await.map_err(|error| error.to_string())?;
        let status = response.status();
        let body = read_body(response.into_body(), ANSWER_MAX_BYTES).await.map_err(|error| error.to_string())?;
        if !status.is_success() {
            return Err(format!("the exchange answered {status}"));
        }
        let prices: Vec<ReferencePrice> = serde_json::from_slice(&body).map_err(|error| error.to_string())?;
        let read = |price: ReferencePrice| match price.symbol.parse() {
            Ok(symbol) => Ok((symbol, Price(price.price_ticks))),
            Err(error) => Err(format!("{error}")),
        };
        prices.into_iter().map(read).collect()
    }
}
