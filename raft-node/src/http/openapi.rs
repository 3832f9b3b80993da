//! `GET /openapi.json`: the document of this API, made from the code.

use axum::{http::StatusCode, response::Response};
use serde_json::{Map, Value};
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
    let mut document = serde_json::to_value(Document::openapi()).unwrap_or_default();
    problems_by_their_type(&mut document);
    json(StatusCode::OK, &document)
}

/// Every problem goes out as `application/problem+json`; the macros know only `application/json`.
fn problems_by_their_type(document: &mut Value) {
    let operations = document["paths"].as_object_mut().into_iter().flat_map(Map::values_mut);
    let operations = operations.filter_map(Value::as_object_mut).flat_map(Map::values_mut);
    let responses = operations.filter_map(|operation| operation["responses"].as_object_mut()).flat_map(Map::values_mut);
    for content in responses.filter_map(|response| response["content"].as_object_mut()) {
        let is_problem = content.get("application/json").is_some_and(|json| {
            json.pointer("/schema/$ref").and_then(Value::as_str).is_some_and(|name| name.ends_with("/Problem"))
        });
        if is_problem && let Some(schema) = content.remove("application/json") {
            content.insert("application/problem+json".to_owned(), schema);
        }
    }
}
