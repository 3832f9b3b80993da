//! The HTTP API: Binance Spot shapes under `/api/v3`, health, reference prices, metrics. Translates; decides nothing.
//!
//! Invariants: every error of a handler is a body of Binance's shape; bodies and parameters are bounded; nothing here
//! can panic on what comes from outside. The router needs no socket: a simulation calls it directly.

mod account;
mod call;
mod market;
mod orders;
mod places;
mod service;

use std::sync::Arc;

use axum::{
    Router,
    http::StatusCode,
    middleware::from_fn_with_state,
    routing::{get, put},
};
use quorate_binance_api::ApiError;

use self::call::Failed;
use crate::desk::Desk;

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
        .route("/api/v3/account", get(account::account_info))
        .route("/v1/reference-prices", get(market::reference_prices))
        .route("/v1/reference-prices/{symbol}", put(market::set_reference_price))
        .route("/health", get(service::health))
        .route("/metrics", get(service::metrics))
        .fallback(async || Failed(ApiError::new(-1000, "There is no such path."), StatusCode::NOT_FOUND))
        .method_not_allowed_fallback(async || {
            Failed(ApiError::new(-1000, "The method is not for this path."), StatusCode::METHOD_NOT_ALLOWED)
        })
        .layer(from_fn_with_state(Arc::clone(&desk), places::by_place))
        .with_state(desk)
}
