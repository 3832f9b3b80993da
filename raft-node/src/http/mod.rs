//! The HTTP API: requests in, [`Node`] calls, JSON out. Translates; decides nothing.
//!
//! Invariants: every error is `application/problem+json`; every read says its applied index; bodies,
//! batches and rows are bounded; nothing here can panic on what comes from outside. The router needs no
//! socket: a simulation calls it directly.

mod admin;
mod commands;
mod events;
mod extract;
mod metrics;
mod money;
mod openapi;
mod reads;
mod rows;

use std::time::Duration;

use axum::{
    Router,
    extract::{ConnectInfo, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, Version, header},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use quorate_api::{ProblemKind, paths};
use quorate_seams::Place;
use tokio::time::Instant;

use crate::node::Node;
use extract::Failure;

/// A caller names the cluster that it means with this header; another cluster's name is refused.
pub(crate) const CLUSTER_HEADER: HeaderName = HeaderName::from_static("x-quorate-cluster");
/// How long a caller waits, in milliseconds.
pub(crate) const DEADLINE_HEADER: HeaderName = HeaderName::from_static("x-quorate-deadline-ms");
/// How long a call takes at most where its caller does not say.
pub(crate) const DEADLINE_DEFAULT: Duration = Duration::from_secs(3);
/// How long a call takes at most, whatever its caller says.
pub(crate) const DEADLINE_MAX: Duration = Duration::from_secs(10);

/// The routes of the client-facing API of `node`.
pub fn api_router(node: Node) -> Router {
    let router = Router::new()
        .route(paths::COMMANDS, post(commands::commands))
        .route(paths::POSITIONS, get(reads::positions))
        .route(paths::EXPOSURE, get(reads::exposure))
        .route(paths::WAITING, get(reads::waiting))
        .route(paths::PNL, get(reads::pnl))
        .route(paths::BALANCES, get(reads::balances))
        .route(paths::BREAKERS, get(reads::breakers))
        .route(paths::QUOTES, get(reads::quotes))
        .route(paths::AUTHORITY, get(reads::authority))
        .route(paths::MAKERS, get(reads::makers))
        .route(paths::SYMBOLS, get(reads::symbols))
        .route(paths::ORDERS, get(reads::orders))
        .route(paths::FILLS, get(reads::fills))
        .route(paths::EVENTS, get(events::events))
        .route(paths::STATUS, get(admin::status))
        .route(paths::CLUSTER, get(admin::cluster))
        .route(paths::AUDIT, get(admin::audit))
        .route(paths::DIGESTS, get(admin::digests))
        .route(paths::MEMBERS, post(admin::change_members))
        .route(paths::TRANSFER_LEADER, post(admin::transfer_leader))
        .route(paths::SNAPSHOT, post(admin::snapshot))
        .route(paths::OPENAPI, get(openapi::document))
        .route(paths::METRICS, get(metrics::metrics))
        .route("/livez", get(admin::livez))
        .route("/readyz", get(admin::readyz))
        .route("/health", get(admin::health));
    let router = if node.config().fault_injection {
        router.route(paths::FAULTS, get(admin::faults).post(admin::set_faults))
    } else {
        router
    };
    router
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(from_fn_with_state(node.clone(), same_cluster))
        .layer(from_fn_with_state(node.clone(), by_place))
        .with_state(node)
}

/// What is served on a spare connection too: whatever tells how the node is, control, and commands, of which the urgent
/// ones have places of their own.
const ESSENTIAL: [&str; 10] = [
    "/livez",
    "/readyz",
    "/health",
    paths::METRICS,
    paths::STATUS,
    paths::CLUSTER,
    paths::COMMANDS,
    paths::MEMBERS,
    paths::TRANSFER_LEADER,
    paths::SNAPSHOT,
];

/// Serves only what is essential on a spare connection, and lets that end with its answer.
async fn by_place(State(node): State<Node>, request: Request, next: Next) -> Response {
    let place = request.extensions().get::<ConnectInfo<Place>>().map(|info| info.0);
    if place != Some(Place::Spare) {
        return next.run(request).await;
    }
    let version = request.version();
    let response = if ESSENTIAL.contains(&request.uri().path()) {
        next.run(request).await
    } else {
        let max = node.config().max_connections;
        let detail = format!(
            "all {max} places for connections are taken here: try again later, or at another node; who runs the node may \
             raise max-connections"
        );
        Failure::new(ProblemKind::Overloaded, detail).into_response()
    };
    ends_connection(version, response)
}

/// `response`, the last one on its connection.
fn ends_connection(version: Version, mut response: Response) -> Response {
    // HTTP/2 has no such header, and shares connections anyway.
    if version <= Version::HTTP_11 {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// Refuses a call that means another cluster.
async fn same_cluster(State(node): State<Node>, request: Request, next: Next) -> Response {
    let ours = &node.config().cluster_id;
    match request.headers().get(&CLUSTER_HEADER) {
        Some(meant) if meant.as_bytes() != ours.as_bytes() => {
            Failure::new(ProblemKind::WrongCluster, format!("this is cluster '{ours}'")).into_response()
        }
        _ => next.run(request).await,
    }
}

async fn not_found(request: Request) -> Failure {
    Failure::new(ProblemKind::NotFound, format!("there is no {}: see /openapi.json", request.uri().path()))
}

async fn method_not_allowed(method: Method, request: Request) -> Failure {
    let path = request.uri().path();
    Failure::new(ProblemKind::MethodNotAllowed, format!("{method} is not for {path}: see /openapi.json"))
}

/// When a call must have been answered.
fn deadline(headers: &HeaderMap) -> Result<Instant, Failure> {
    let Some(value) = headers.get(&DEADLINE_HEADER) else { return Ok(Instant::now() + DEADLINE_DEFAULT) };
    let millis: Option<u64> = value.to_str().ok().and_then(|text| text.parse().ok());
    match millis {
        Some(millis) if millis > 0 => Ok(Instant::now() + Duration::from_millis(millis).min(DEADLINE_MAX)),
        _ => Err(Failure::invalid("the header x-quorate-deadline-ms is a number of milliseconds from 1")),
    }
}
