//! `GET /openapi.json`: the document of this API, made from the code.

use axum::{http::StatusCode, response::Response};
use utoipa::OpenApi;

use super::{admin, commands, events, extract::json, metrics, reads};

#[derive(OpenApi)]
#[openapi(
    info(title = "Quorate", description = "Positions, symbol authority and the exposure ledger of a Raft group"),
    paths(
        commands::commands,
        reads::positions,
        reads::exposure,
        reads::quotes,
        reads::authority,
        reads::makers,
        reads::symbols,
        reads::orders,
        reads::fills,
        events::events,
        admin::status,
        admin::cluster,
        admin::audit,
        admin::digests,
        admin::change_members,
        admin::transfer_leader,
        admin::snapshot,
        admin::livez,
        admin::readyz,
        admin::health,
        metrics::metrics,
    ),
    components(schemas(quorate_api::Applied))
)]
struct Document;

/// The OpenAPI document.
pub(crate) async fn document() -> Response {
    json(StatusCode::OK, &Document::openapi())
}
