//! What every handler shares: a call's parameters, whose call it is and whether it counts now, and how it is answered.

use std::{sync::Arc, time::Duration};

use axum::{
    body::Bytes,
    extract::{FromRequest, FromRequestParts, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use quorate_binance_api::{
    ApiError, Params, PriceBand, SymbolFilters,
    endpoints::{self, Endpoint},
    signing,
};
use quorate_client::{CallFailed, ReadOptions};
use quorate_domain::{Account, Instrument, Symbol};
use quorate_seams::{NotWhole, whole_body};
use serde::Serialize;
use tokio::time::timeout;

use crate::{
    accounts::{Accounts, Permission},
    config::DEFAULT_ACCOUNT,
    desk::{Desk, SymbolsRead},
    listings::Listed,
};

/// Bytes of a request's body at most.
const BODY_MAX_BYTES: usize = 64 << 10;
/// How long a request's body may take to come.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// Time between two reads of what is traded, at least.
const SYMBOLS_EVERY: Duration = Duration::from_secs(1);
/// Binance's header for the API key.
const API_KEY: HeaderName = HeaderName::from_static("x-mbx-apikey");

pub(super) type App = State<Arc<Desk>>;

/// An error with its status.
pub(super) struct Failed(pub(super) ApiError, pub(super) StatusCode);

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

pub(super) fn json<T: Serialize>(status: StatusCode, value: &T) -> Response {
    match serde_json::to_vec(value) {
        Ok(bytes) => {
            (status, [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], bytes).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

pub(super) fn ok<T: Serialize>(value: &T) -> Result<Response, Failed> {
    Ok(json(StatusCode::OK, value))
}

/// A request's parameters: of the query, and but for `GET` and `HEAD` also of the form body. Each is one that the endpoint
/// takes; nothing is left out of account.
pub(super) struct Sent(pub(super) Params);

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
pub(super) struct NoParams;

impl<S: Send + Sync> FromRequestParts<S> for NoParams {
    type Rejection = Failed;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failed> {
        let params = Params::parse(parts.uri.query().unwrap_or_default(), "")?;
        params.names().next().map_or(Ok(Self), |name| Err(ApiError::unread(0, params.names().count(), name).into()))
    }
}

/// A request's body, where it comes in time and is not too large.
pub(super) async fn whole(request: Request) -> Result<Bytes, Failed> {
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

/// Whose request it is: key, signature, permission and time checked.
pub(super) fn account(
    desk: &Desk,
    headers: &HeaderMap,
    params: &Params,
    permission: Permission,
) -> Result<Account, ApiError> {
    let account = authenticated(desk, headers, params, permission)?;
    check_window(desk, params)?;
    Ok(account)
}

/// Whose request it is: its key, its signature and what the key is for are checked where this exchange knows accounts.
pub(super) fn authenticated(
    desk: &Desk,
    headers: &HeaderMap,
    params: &Params,
    permission: Permission,
) -> Result<Account, ApiError> {
    match &desk.config.accounts {
        Some(accounts) => signed_by(accounts, headers, params, params.signed_text(), permission),
        None => signing::account_of(key_of(headers)?.unwrap_or(DEFAULT_ACCOUNT)),
    }
}

/// Whether a request may tell a reference price: where this exchange knows accounts, it is signed, query and body, by a key that
/// is there for that. A key for trading is not. Without accounts anybody may.
pub(super) fn may_feed(desk: &Desk, headers: &HeaderMap, query: &Params, body: &str) -> Result<(), ApiError> {
    endpoints::FEED.check(query)?;
    if let Some(accounts) = &desk.config.accounts {
        let text = format!("{}{body}", query.signed_text());
        signed_by(accounts, headers, query, &text, Permission::Feed)?;
    }
    check_window(desk, query)
}

/// The account of the key that signed `text`, where that key may be used for this.
fn signed_by(
    accounts: &Accounts,
    headers: &HeaderMap,
    params: &Params,
    text: &str,
    permission: Permission,
) -> Result<Account, ApiError> {
    let key = key_of(headers)?.ok_or_else(ApiError::invalid_key_format)?;
    let access = accounts.access(key).ok_or_else(ApiError::invalid_key)?;
    access.secret.verify(text, params.required("signature")?)?;
    if !access.permissions.contains(&permission) {
        return Err(ApiError::invalid_key());
    }
    Ok(access.account.clone())
}

/// The API key, where there is one. Some clients send an empty one where they have none.
fn key_of(headers: &HeaderMap) -> Result<Option<&str>, ApiError> {
    let key = headers.get(API_KEY).map(|key| key.to_str().map_err(|_| ApiError::invalid_key_format())).transpose()?;
    Ok(key.filter(|key| !key.is_empty()))
}

/// Whether a request counts now. Whoever says when a request was made, or asks for a window, wants it kept; who has to
/// sign must say when.
pub(super) fn check_window(desk: &Desk, params: &Params) -> Result<(), ApiError> {
    let timed = params.get("timestamp").is_some() || params.get("recvWindow").is_some();
    if desk.config.accounts.is_none() && !timed {
        return Ok(());
    }
    let timestamp = params.timestamp_us()?.ok_or_else(|| ApiError::missing("timestamp"))?;
    let server = desk.world().clocks.wall_ms().saturating_mul(1_000);
    signing::check_window(server, timestamp, params.recv_window_us()?)
}

pub(super) fn filters(desk: &Desk, instrument: Instrument) -> SymbolFilters {
    SymbolFilters::new(instrument, desk.config.min_notional)
}

/// A symbol's filters, with the band around its reference price where that comes from outside.
pub(super) fn banded_filters(desk: &Desk, symbol: &Symbol, instrument: Instrument) -> SymbolFilters {
    let tick_size = instrument.tick_size;
    let filters = filters(desk, instrument);
    if !desk.listings.has_reference(symbol) || desk.listings.is_own(symbol) {
        return filters;
    }
    let reference = desk.look(|_, now| now).and_then(|now| desk.listings.reference(symbol, tick_size, now));
    let half_ticks = reference.map(|reference| reference.half_ticks);
    filters.within(PriceBand { percent: desk.config.price_band, half_ticks })
}

/// What the mirror shows may be told.
///
/// # Errors
/// -1001 where it may be old: it does not follow the ledger, or has not heard of it for seconds.
pub(super) fn live(desk: &Desk) -> Result<(), ApiError> {
    let old = || ApiError::disconnected("the book here may be old: this exchange does not hear of the ledger");
    desk.is_live().then_some(()).ok_or_else(old)
}

/// A symbol as the ledger has it. One that is not known is looked for there, for it may be new.
pub(super) async fn listed(desk: &Desk, symbol: &Symbol) -> Result<Listed, ApiError> {
    if let Some(listed) = desk.listings.get(symbol) {
        return Ok(listed);
    }
    read_symbols(desk).await?;
    desk.listings.get(symbol).ok_or_else(ApiError::invalid_symbol)
}

pub(super) async fn symbol_filters(desk: &Desk, symbol: &Symbol) -> Result<SymbolFilters, ApiError> {
    Ok(filters(desk, listed(desk, symbol).await?.instrument))
}

/// Reads from the ledger what is traded, at most once in a while: whoever asks for a symbol that does not exist makes no more reads.
pub(super) async fn read_symbols(desk: &Desk) -> Result<(), ApiError> {
    // Whoever comes meanwhile waits, and takes what was read.
    let mut last = desk.symbols_read.lock().await;
    let now = desk.world().clocks.monotonic();
    if let Some(SymbolsRead { at, failed }) = &*last
        && now.saturating_sub(*at) < SYMBOLS_EVERY
    {
        return failed.clone().map_or(Ok(()), Err);
    }
    let read = desk.client.symbols(&reading(desk)).await.map_err(|error| unread(&error));
    let read = read.map(|rows| desk.listings.learn(&rows.data));
    *last = Some(SymbolsRead { at: desk.world().clocks.monotonic(), failed: read.clone().err() });
    read
}

/// How the ledger is read for a caller.
pub(super) fn reading(desk: &Desk) -> ReadOptions {
    ReadOptions::linearizable().within(desk.config.patience)
}

/// What a caller hears where the ledger cannot be read. Why names nodes by their addresses: that is for the log.
pub(super) fn unread(error: &CallFailed) -> ApiError {
    tracing::debug!(%error, "the ledger cannot be read");
    ApiError::disconnected("the ledger cannot be read")
}
