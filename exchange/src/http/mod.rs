//! The HTTP API: Binance Spot shapes under `/api/v3`, health, reference prices, metrics. Translates; decides nothing.
//!
//! Invariants: every error of a handler is a body of Binance's shape; bodies and parameters are bounded; nothing here
//! can panic on what comes from outside. The router needs no socket: a simulation calls it directly.

mod market;
mod orders;
mod service;

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::Bytes,
    extract::{FromRequest, FromRequestParts, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
    routing::{get, put},
};
use quorate_binance_api::{ApiError, Params, SymbolFilters, endpoints::Endpoint, signing};
use quorate_client::{CallFailed, ReadOptions};
use quorate_domain::{Account, Instrument, Symbol};
use quorate_seams::{NotWhole, whole_body};
use serde::Serialize;
use tokio::time::timeout;

use crate::desk::Desk;

/// Bytes of a request's body at most.
const BODY_MAX_BYTES: usize = 64 << 10;
/// How long a request's body may take to come.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// The account of requests that name none.
const DEFAULT_ACCOUNT: &str = "default";
/// Binance's header for the API key.
const API_KEY: HeaderName = HeaderName::from_static("x-mbx-apikey");

type App = State<Arc<Desk>>;

/// The routes.
pub fn router(desk: Arc<Desk>) -> Router {
    Router::new()
        .route("/api/v3/ping", get(market::ping))
        .route("/api/v3/time", get(market::time))
        .route("/api/v3/exchangeInfo", get(market::exchange_info))
        .route("/api/v3/depth", get(market::depth))
        .route("/api/v3/ticker/bookTicker", get(market::book_ticker))
        .route("/api/v3/order", get(orders::query).post(orders::place).delete(orders::cancel))
        .route("/api/v3/openOrders", get(orders::open).delete(orders::cancel_open))
        .route("/v1/reference-prices", get(market::reference_prices))
        .route("/v1/reference-prices/{symbol}", put(market::set_reference_price))
        .route("/health", get(service::health))
        .route("/metrics", get(service::metrics))
        .fallback(async || Failed(ApiError::new(-1000, "There is no such path."), StatusCode::NOT_FOUND))
        .method_not_allowed_fallback(async || {
            Failed(ApiError::new(-1000, "The method is not for this path."), StatusCode::METHOD_NOT_ALLOWED)
        })
        .with_state(desk)
}

/// An error with its status.
struct Failed(ApiError, StatusCode);

impl From<ApiError> for Failed {
    fn from(error: ApiError) -> Self {
        let status = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self(error, status)
    }
}

impl IntoResponse for Failed {
    fn into_response(self) -> Response {
        json(self.1, &self.0)
    }
}

fn json<T: Serialize>(status: StatusCode, value: &T) -> Response {
    match serde_json::to_vec(value) {
        Ok(bytes) => {
            (status, [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], bytes).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

fn ok<T: Serialize>(value: &T) -> Result<Response, Failed> {
    Ok(json(StatusCode::OK, value))
}

/// A request's parameters: of the query, and but for `GET` and `HEAD` also of the form body. Each is one that the endpoint
/// takes; nothing is left out of account.
struct Sent(Params);

impl<S: Send + Sync> FromRequest<S> for Sent {
    type Rejection = Failed;

    async fn from_request(request: Request, _: &S) -> Result<Self, Failed> {
        let query = request.uri().query().unwrap_or_default().to_owned();
        // The routes serve HEAD as GET, and leave the answer's body out.
        let method = if request.method() == Method::HEAD { Method::GET } else { request.method().clone() };
        let path = request.uri().path().to_owned();
        let body = whole(request).await?;
        if method == Method::GET && !body.is_empty() {
            let what = "Not all sent parameters were read; those of a GET request stand in the query, not in a body.";
            return Err(ApiError::new(-1104, what).into());
        }
        let body = std::str::from_utf8(&body).map_err(|_| ApiError::new(-1100, "The body is not text."))?;
        let params = Params::parse(&query, body)?;
        let endpoint = Endpoint::find(method.as_str(), &path);
        endpoint.ok_or_else(|| ApiError::internal("this path has no table of parameters"))?.check(&params)?;
        Ok(Self(params))
    }
}

/// A request without parameters, of a path that takes none.
struct NoParams;

impl<S: Send + Sync> FromRequestParts<S> for NoParams {
    type Rejection = Failed;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failed> {
        let params = Params::parse(parts.uri.query().unwrap_or_default(), "")?;
        params.names().next().map_or(Ok(Self), |name| Err(ApiError::unread(0, params.names().count(), name).into()))
    }
}

/// A request's body, where it comes in time and is not too large.
async fn whole(request: Request) -> Result<Bytes, Failed> {
    let failed = |what: String, status| Failed(ApiError::new(-1000, what), status);
    match timeout(BODY_TIMEOUT, whole_body(request.into_body(), BODY_MAX_BYTES)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error @ NotWhole::TooLarge(_))) => Err(failed(error.to_string(), StatusCode::PAYLOAD_TOO_LARGE)),
        Ok(Err(error @ NotWhole::Broken(_))) => Err(failed(error.to_string(), StatusCode::BAD_REQUEST)),
        Err(_) => {
            let what = format!("the body did not come within {} s", BODY_TIMEOUT.as_secs());
            Err(failed(what, StatusCode::REQUEST_TIMEOUT))
        }
    }
}

/// Whose request it is: key, signature and time checked.
fn account(desk: &Desk, headers: &HeaderMap, params: &Params) -> Result<Account, ApiError> {
    let account = authenticated(desk, headers, params)?;
    check_window(desk, params)?;
    Ok(account)
}

/// Whose request it is, its key and signature checked where this exchange has credentials.
fn authenticated(desk: &Desk, headers: &HeaderMap, params: &Params) -> Result<Account, ApiError> {
    let key = headers.get(API_KEY).map(|key| key.to_str().map_err(|_| ApiError::invalid_key_format())).transpose()?;
    let Some(credentials) = &desk.config.credentials else {
        return Account::new(key.unwrap_or(DEFAULT_ACCOUNT)).map_err(|_| ApiError::invalid_key_format());
    };
    match key {
        Some(key) if key == credentials.key => {}
        Some(_) => return Err(ApiError::invalid_key()),
        None => return Err(ApiError::invalid_key_format()),
    }
    let signature = params.required("signature")?;
    signing::verify(&credentials.secret, params.signed_text(), signature)?;
    Account::new(DEFAULT_ACCOUNT).map_err(|error| ApiError::internal(&error.to_string()))
}

/// Whether a request counts now. Whoever says when a request was made, or asks for a window, wants it kept; who has to
/// sign must say when.
fn check_window(desk: &Desk, params: &Params) -> Result<(), ApiError> {
    let timed = params.get("timestamp").is_some() || params.get("recvWindow").is_some();
    if desk.config.credentials.is_none() && !timed {
        return Ok(());
    }
    let timestamp = params.timestamp_us()?.ok_or_else(|| ApiError::missing("timestamp"))?;
    let server = desk.world().clocks.wall_ms().saturating_mul(1_000);
    signing::check_window(server, timestamp, params.recv_window_us()?)
}

fn filters(desk: &Desk, instrument: Instrument) -> SymbolFilters {
    SymbolFilters::new(instrument, desk.config.min_notional)
}

/// What a symbol trades. One that is not known is looked for in the ledger, for it may be new.
async fn instrument_of(desk: &Desk, symbol: &Symbol) -> Result<Instrument, ApiError> {
    if let Some(instrument) = desk.listings.instrument(symbol) {
        return Ok(instrument);
    }
    read_symbols(desk).await?;
    desk.listings.instrument(symbol).ok_or_else(ApiError::invalid_symbol)
}

async fn symbol_filters(desk: &Desk, symbol: &Symbol) -> Result<SymbolFilters, ApiError> {
    Ok(filters(desk, instrument_of(desk, symbol).await?))
}

async fn read_symbols(desk: &Desk) -> Result<(), ApiError> {
    let rows = desk.client.symbols(&reading(desk)).await.map_err(|error| unread(&error))?.data;
    desk.listings.learn(rows.into_iter().map(|row| (row.symbol, row.instrument, row.revision)));
    Ok(())
}

/// How the ledger is read for a caller.
fn reading(desk: &Desk) -> ReadOptions {
    ReadOptions::linearizable().within(desk.config.patience)
}

fn unread(error: &CallFailed) -> ApiError {
    ApiError::disconnected(&format!("the ledger cannot be read: {error}"))
}
