//! Places for connections and requests are bounded; some are kept for what must always get through.

use std::sync::Arc;

use axum::{
    extract::{ConnectInfo, Request, State},
    http::{HeaderValue, Method, Version, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use quorate_binance_api::ApiError;
use quorate_seams::Place;

use super::call::{App, Failed};
use crate::desk::Desk;

/// Seconds after which one that was refused may try again.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("1");

/// Serves only what is essential on a spare connection, and lets that end with its answer; serves no more requests at a time
/// than there are common places, for a connection of HTTP/2 carries many.
pub(super) async fn by_place(State(desk): App, request: Request, next: Next) -> Response {
    let essential = is_essential(request.method(), request.uri().path());
    let spare = request.extensions().get::<ConnectInfo<Place>>().is_some_and(|info| info.0 == Place::Spare);
    let version = request.version();
    let permit = if spare { None } else { Arc::clone(&desk.requests).try_acquire_owned().ok() };
    let response = if essential || permit.is_some() { next.run(request).await } else { refused(&desk) };
    drop(permit);
    if spare { ends_connection(version, response) } else { response }
}

/// What tells how the exchange is, and what takes risk away.
fn is_essential(method: &Method, path: &str) -> bool {
    match path {
        "/health" | "/metrics" => true,
        "/api/v3/order" | "/api/v3/openOrders" => *method == Method::DELETE,
        _ => false,
    }
}

fn refused(desk: &Desk) -> Response {
    let max = desk.config.max_connections;
    let what = format!("Too many requests; all {max} places for connections and requests are taken here. Not done.");
    let mut response = Failed::from(ApiError::new(-1003, what)).into_response();
    response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER);
    response
}

/// `response`, the last one on its connection.
fn ends_connection(version: Version, mut response: Response) -> Response {
    // HTTP/2 has no such header.
    if version <= Version::HTTP_11 {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}
