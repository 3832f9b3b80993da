//! The HTTP API: Binance Spot shapes under `/api/v3`, health, reference prices, metrics.

use std::{fmt::Write, sync::Arc};

use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Path, RawQuery, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, put},
};
use quorate_binance_api::{
    ApiError, Params, SymbolFilters,
    model::{
        BookTicker, Depth, ExchangeInfo, OrderInfo, OrderType, ReferencePrice, ServerTime, SetReferencePrice,
        SymbolInfo,
    },
    params::NamedOrder,
    signing,
};
use quorate_client::{OrderQuery, ReadOptions};
use quorate_ledger::{Account, ClientOrderId, Decimal, Millis, Symbol, SymbolSpec};
use quorate_matching::{Known, QuoteLeaves, Target};
use serde::Serialize;

use crate::{
    desk::Desk,
    orders::{cancelled, new_order, order_info, placed},
    recover,
};

/// Bytes of a request's body at most.
const BODY_MAX_BYTES: usize = 64 << 10;
/// Levels of a side where `limit` is not given, and at most.
const DEPTH_DEFAULT: u64 = 100;
const DEPTH_MAX: u64 = 5_000;
/// The account of requests that name none.
const DEFAULT_ACCOUNT: &str = "default";
/// Assets that a symbol's name may end in.
const QUOTE_ASSETS: [&str; 8] = ["USDT", "USDC", "FDUSD", "BUSD", "BTC", "ETH", "EUR", "USD"];

type App = State<Arc<Desk>>;

/// The routes.
pub fn router(desk: Arc<Desk>) -> Router {
    Router::new()
        .route("/api/v3/ping", get(ping))
        .route("/api/v3/time", get(time))
        .route("/api/v3/exchangeInfo", get(exchange_info))
        .route("/api/v3/depth", get(depth))
        .route("/api/v3/ticker/bookTicker", get(book_ticker))
        .route("/api/v3/order", get(query_order).post(place_order).delete(cancel_order))
        .route("/api/v3/openOrders", get(open_orders).delete(cancel_open_orders))
        .route("/health", get(health))
        .route("/v1/reference-prices", get(reference_prices))
        .route("/v1/reference-prices/{symbol}", put(set_reference_price))
        .route("/metrics", get(metrics))
        .fallback(async || Failed(ApiError::new(-1000, "There is no such path."), StatusCode::NOT_FOUND))
        .method_not_allowed_fallback(async || {
            Failed(ApiError::new(-1000, "The method is not for this path."), StatusCode::METHOD_NOT_ALLOWED)
        })
        .layer(DefaultBodyLimit::max(BODY_MAX_BYTES))
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

/// A request's parameters.
fn params(query: &RawQuery, body: &Bytes) -> Result<Params, ApiError> {
    let body = std::str::from_utf8(body).map_err(|_| ApiError::new(-1100, "The body is not text."))?;
    Params::parse(query.0.as_deref().unwrap_or_default(), body)
}

/// Whose request it is, its key and signature checked where this exchange has credentials.
fn account(desk: &Desk, headers: &HeaderMap, params: &Params) -> Result<Account, ApiError> {
    let key = headers.get("x-mbx-apikey").map(HeaderValue::to_str);
    let Some(credentials) = &desk.config.credentials else {
        return match key {
            None => Ok(Account::new(DEFAULT_ACCOUNT).map_err(|error| ApiError::internal(&error.to_string()))?),
            Some(Ok(key)) => Account::new(key).map_err(|_| ApiError::new(-2014, "API-key format invalid.")),
            Some(Err(_)) => Err(ApiError::new(-2014, "API-key format invalid.")),
        };
    };
    match key {
        Some(Ok(key)) if key == credentials.key => {}
        Some(Ok(_)) => return Err(ApiError::invalid_key()),
        Some(Err(_)) | None => return Err(ApiError::new(-2014, "API-key format invalid.")),
    }
    let timestamp = params.number("timestamp")?.ok_or_else(|| ApiError::missing("timestamp"))?;
    let signature = params.required("signature")?;
    signing::check_window(desk.world().clocks.wall_ms(), timestamp, params.number("recvWindow")?)?;
    signing::verify(&credentials.secret, params.signed_text(), signature)?;
    Account::new(DEFAULT_ACCOUNT).map_err(|error| ApiError::internal(&error.to_string()))
}

fn filters(desk: &Desk, spec: SymbolSpec) -> SymbolFilters {
    SymbolFilters::new(spec, desk.config.min_notional)
}

/// A symbol's filters. One that is not known is looked for in the ledger once more, for it may be new.
async fn symbol_filters(desk: &Desk, symbol: &Symbol) -> Result<SymbolFilters, ApiError> {
    if let Some(spec) = desk.spec(symbol) {
        return Ok(filters(desk, spec));
    }
    let read = desk.client.symbols(&ReadOptions::linearizable().within(desk.config.patience)).await;
    let rows = read.map_err(|error| ApiError::disconnected(&error.to_string()))?.data;
    desk.set_symbols(rows.into_iter().map(|row| (row.symbol, row.spec)).collect());
    desk.spec(symbol).map(|spec| filters(desk, spec)).ok_or_else(ApiError::invalid_symbol)
}

async fn ping() -> Response {
    json(StatusCode::OK, &serde_json::json!({}))
}

async fn time(State(desk): App) -> Response {
    json(StatusCode::OK, &ServerTime { server_time: desk.world().clocks.wall_ms() })
}

async fn exchange_info(State(desk): App, query: RawQuery) -> Result<Response, Failed> {
    let only = params(&query, &Bytes::new())?.optional_symbol()?;
    if let Some(symbol) = &only {
        symbol_filters(&desk, symbol).await?;
    }
    let row = |(symbol, spec): (Symbol, SymbolSpec)| {
        let name = symbol.as_str();
        let quote = QUOTE_ASSETS.iter().find(|quote| name.len() > quote.len() && name.ends_with(**quote));
        let (base, quote) = quote.map_or((name, ""), |quote| (&name[..name.len() - quote.len()], *quote));
        SymbolInfo {
            status: "TRADING".to_owned(),
            base_asset: base.to_owned(),
            quote_asset: quote.to_owned(),
            order_types: vec![OrderType::Limit, OrderType::LimitMaker, OrderType::Market],
            filters: filters(&desk, spec).describe(),
            symbol: name.to_owned(),
        }
    };
    let wanted = |(symbol, _): &(Symbol, SymbolSpec)| only.as_ref().is_none_or(|only| only == symbol);
    ok(&ExchangeInfo {
        timezone: "UTC".to_owned(),
        server_time: desk.world().clocks.wall_ms(),
        symbols: desk.symbols().into_iter().filter(wanted).map(row).collect(),
    })
}

async fn depth(State(desk): App, query: RawQuery) -> Result<Response, Failed> {
    let params = params(&query, &Bytes::new())?;
    let symbol = params.optional_symbol()?.ok_or_else(|| ApiError::missing("symbol"))?;
    let limit = params.number("limit")?.unwrap_or(DEPTH_DEFAULT).clamp(1, DEPTH_MAX);
    let filters = symbol_filters(&desk, &symbol).await?;
    let levels = usize::try_from(limit).unwrap_or(1);
    let seen = desk.look(|engine, now| engine.depth(now, &symbol, levels)).unwrap_or_default();
    let rows = |side: &[QuoteLeaves]| {
        side.iter().map(|level| (filters.price(level.price), filters.qty(level.leaves))).collect()
    };
    ok(&Depth { last_update_id: seen.index, bids: rows(&seen.bids), asks: rows(&seen.asks) })
}

async fn book_ticker(State(desk): App, query: RawQuery) -> Result<Response, Failed> {
    let only = params(&query, &Bytes::new())?.optional_symbol()?;
    if let Some(symbol) = &only {
        symbol_filters(&desk, symbol).await?;
    }
    let row = |(symbol, spec): (Symbol, SymbolSpec)| {
        let filters = filters(&desk, spec);
        let seen = desk.look(|engine, now| engine.depth(now, &symbol, 1)).unwrap_or_default();
        let best = |side: &[QuoteLeaves]| {
            let level = side.first();
            let text = |level: &QuoteLeaves| (filters.price(level.price), filters.qty(level.leaves));
            level.map_or_else(|| ("0".to_owned(), "0".to_owned()), text)
        };
        let ((bid_price, bid_qty), (ask_price, ask_qty)) = (best(&seen.bids), best(&seen.asks));
        BookTicker { symbol: symbol.to_string(), bid_price, bid_qty, ask_price, ask_qty }
    };
    let symbols = desk.symbols();
    match only {
        Some(symbol) => match symbols.get_key_value(&symbol) {
            Some((symbol, spec)) => ok(&row((symbol.clone(), *spec))),
            None => Err(ApiError::invalid_symbol().into()),
        },
        None => ok(&symbols.into_iter().map(row).collect::<Vec<_>>()),
    }
}

async fn place_order(State(desk): App, headers: HeaderMap, query: RawQuery, body: Bytes) -> Result<Response, Failed> {
    let params = params(&query, &body)?;
    let account = account(&desk, &headers, &params)?;
    let request = params.place_order()?;
    let filters = symbol_filters(&desk, &request.symbol).await?;
    let name = match &request.client_order_id {
        Some(name) => name.clone(),
        None => ClientOrderId::new(&desk.fresh_name(desk.health().exchange_epoch))
            .map_err(|error| ApiError::internal(&error.to_string()))?,
    };
    let timestamp = params.number("timestamp")?.unwrap_or_else(|| desk.world().clocks.wall_ms());
    let order = new_order(&request, &filters, account, name, Millis(timestamp))?;
    let outcome = desk.place(order.clone()).await;
    ok(&placed(&order, &filters, request.response, outcome)?)
}

/// What is in doubt here, or waits: nobody may be told that it does not exist.
fn is_pending(desk: &Desk, account: &Account, named: &NamedOrder) -> bool {
    let Some(name) = &named.client_order_id else { return false };
    let known = desk.look(|engine, _| engine.order(account, &Target::Client(name.clone()))).flatten();
    matches!(known, Some(Known::Pending { .. }))
}

async fn find_order(desk: &Desk, account: &Account, named: &NamedOrder) -> Result<OrderInfo, ApiError> {
    let filters = symbol_filters(desk, &named.symbol).await?;
    let pending = is_pending(desk, account, named);
    let query = OrderQuery {
        account: Some(account.clone()),
        client_order_id: named.client_order_id.clone(),
        order_id: named.order_id,
        symbol: Some(named.symbol.clone()),
        limit: Some(1),
        ..OrderQuery::default()
    };
    let options = ReadOptions::linearizable().within(desk.config.patience);
    let read = desk.client.orders(&query, &options).await;
    let rows = read.map_err(|error| ApiError::disconnected(&error.to_string()))?.data;
    match rows.first() {
        Some(row) => {
            let cum = (row.cum_qty, row.cum_quote);
            Ok(order_info(&filters, &recover::new_order(row), row.order_id, cum, row.status))
        }
        None if pending => Err(ApiError::unknown()),
        None if !desk.health().ready => Err(ApiError::disconnected("this exchange is catching up with the ledger")),
        None => Err(ApiError::no_such_order()),
    }
}

async fn query_order(State(desk): App, headers: HeaderMap, query: RawQuery) -> Result<Response, Failed> {
    let params = params(&query, &Bytes::new())?;
    let account = account(&desk, &headers, &params)?;
    ok(&find_order(&desk, &account, &params.named_order()?).await?)
}

async fn cancel_order(State(desk): App, headers: HeaderMap, query: RawQuery, body: Bytes) -> Result<Response, Failed> {
    let params = params(&query, &body)?;
    let account = account(&desk, &headers, &params)?;
    let named = params.named_order()?;
    symbol_filters(&desk, &named.symbol).await?;
    ok(&cancel_one(&desk, &account, named).await?)
}

async fn cancel_one(desk: &Arc<Desk>, account: &Account, named: NamedOrder) -> Result<OrderInfo, ApiError> {
    let target = match (named.order_id, &named.client_order_id) {
        (Some(id), _) => Target::Order(id),
        (None, Some(name)) => Target::Client(name.clone()),
        (None, None) => return Err(ApiError::missing("orderId")),
    };
    let committed = cancelled(desk.cancel(account.clone(), target).await)?;
    let named = NamedOrder { order_id: Some(committed.result.order_id), ..named };
    find_order(desk, account, &named).await
}

async fn open_orders(State(desk): App, headers: HeaderMap, query: RawQuery) -> Result<Response, Failed> {
    let params = params(&query, &Bytes::new())?;
    let account = account(&desk, &headers, &params)?;
    ok(&open_of(&desk, &account, params.optional_symbol()?.as_ref()).await?)
}

async fn open_of(desk: &Desk, account: &Account, symbol: Option<&Symbol>) -> Result<Vec<OrderInfo>, ApiError> {
    if let Some(symbol) = symbol {
        symbol_filters(desk, symbol).await?;
    }
    if !desk.health().ready {
        return Err(ApiError::disconnected("this exchange is catching up with the ledger"));
    }
    let open = desk.look(|engine, _| engine.open_orders(account, symbol)).unwrap_or_default();
    let row = |open: &quorate_matching::OpenOrder| {
        let filters = filters(desk, desk.spec(&open.order.symbol)?);
        let result = open.result();
        Some(order_info(&filters, &open.order, open.order_id, (open.cum_qty, open.cum_quote), result.status))
    };
    Ok(open.iter().filter_map(row).collect())
}

async fn cancel_open_orders(
    State(desk): App,
    headers: HeaderMap,
    query: RawQuery,
    body: Bytes,
) -> Result<Response, Failed> {
    let params = params(&query, &body)?;
    let account = account(&desk, &headers, &params)?;
    let symbol = params.optional_symbol()?.ok_or_else(|| ApiError::missing("symbol"))?;
    let open = open_of(&desk, &account, Some(&symbol)).await?;
    let mut ended = Vec::new();
    for order in open {
        let named = NamedOrder { symbol: symbol.clone(), order_id: Some(order.order_id), client_order_id: None };
        match cancel_one(&desk, &account, named).await {
            Ok(info) => ended.push(info),
            // Filled or cancelled meanwhile: it is no longer open, which is what was asked for.
            Err(error) if error.code == -2011 => {}
            Err(error) => return Err(error.into()),
        }
    }
    if ended.is_empty() { Err(ApiError::cancel_rejected().into()) } else { ok(&ended) }
}

#[derive(Serialize)]
struct HealthBody {
    status: &'static str,
    exchange_epoch: u64,
    mirror_index: u64,
    fenced: bool,
}

async fn health(State(desk): App) -> Response {
    let health = desk.health();
    let (code, status) = match (health.ready, health.fenced) {
        (_, true) => (StatusCode::SERVICE_UNAVAILABLE, "fenced by a newer exchange"),
        (true, false) => (StatusCode::OK, "ok"),
        (false, false) => (StatusCode::SERVICE_UNAVAILABLE, "catching up with the ledger"),
    };
    let body = HealthBody {
        status,
        exchange_epoch: health.exchange_epoch,
        mirror_index: health.mirror_index,
        fenced: health.fenced,
    };
    json(code, &body)
}

async fn reference_prices(State(desk): App) -> Result<Response, Failed> {
    let row = |(symbol, spec): (Symbol, SymbolSpec)| {
        let (price, seq) = desk.reference(&symbol, spec.tick_size)?;
        Some(ReferencePrice {
            symbol: symbol.to_string(),
            price: filters(&desk, spec).price(price),
            price_ticks: price.0,
            seq,
        })
    };
    ok(&desk.symbols().into_iter().filter_map(row).collect::<Vec<_>>())
}

async fn set_reference_price(State(desk): App, Path(symbol): Path<String>, body: Bytes) -> Result<Response, Failed> {
    let symbol: Symbol = symbol.parse().map_err(|_| ApiError::invalid_symbol())?;
    let set: SetReferencePrice = serde_json::from_slice(&body).map_err(|_| ApiError::missing("price"))?;
    let price: Decimal = set.price.parse().map_err(|_| ApiError::illegal("price", "^[0-9]+(\\.[0-9]+)?$"))?;
    if !price.is_positive() {
        return Err(ApiError::new(-1013, "Invalid price.").into());
    }
    if !desk.set_reference(&symbol, price) {
        let what = "The reference price of this symbol does not come from outside.";
        return Err(Failed(ApiError::new(-1013, what), StatusCode::CONFLICT));
    }
    ok(&serde_json::json!({}))
}

async fn metrics(State(desk): App) -> impl IntoResponse {
    let health = desk.health();
    let stats = health.stats;
    let rows = [
        ("ready", "gauge", "whether orders are taken", u64::from(health.ready)),
        ("epoch", "gauge", "the present registration", health.exchange_epoch),
        ("mirror_index", "gauge", "the index up to which the mirror follows", health.mirror_index),
        ("orders_pending", "gauge", "orders waiting or in flight", health.pending as u64),
        ("orders_total", "counter", "orders taken from callers", stats.orders),
        ("proposed_total", "counter", "executions proposed", stats.proposed),
        ("resent_total", "counter", "proposals sent again after no answer", stats.resent),
        ("committed_total", "counter", "executions committed", stats.committed),
        ("replanned_total", "counter", "refusals after which an order was planned again", stats.replanned),
        ("gaps_total", "counter", "executions refused for an exec_id gap", stats.gaps),
        ("gave_up_total", "counter", "orders expired because every plan was refused", stats.gave_up),
        ("unknown_total", "counter", "requests answered as unknown", stats.unknown),
        ("unknown_settled_total", "counter", "unknown orders that were settled", stats.unknown_settled),
    ];
    let mut text = String::new();
    for (name, kind, help, value) in rows {
        let name = format!("quorate_exchange_{name}");
        // Writing to a String cannot fail.
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}");
    }
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text)
}
