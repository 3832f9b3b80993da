//! `GET /openapi.json`: the document of this API, made from the code.

use axum::{http::StatusCode, response::Response};
use quorate_api::paths;
use serde_json::{Map, Value, json};
use utoipa::OpenApi;

use super::{
    CLUSTER_HEADER, DEADLINE_DEFAULT, DEADLINE_HEADER, DEADLINE_MAX, admin, commands, events, extract, metrics, reads,
};

#[derive(OpenApi)]
#[openapi(
    info(title = "Quorate", description = "Positions, symbol authority and the exposure ledger of a Raft group"),
    paths(
        commands::commands,
        reads::positions,
        reads::exposure,
        reads::waiting,
        reads::pnl,
        reads::balances,
        reads::breakers,
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
    for (path, operation) in operations(&mut document) {
        problems_by_their_type(operation);
        headers_of_every_call(path, operation);
    }
    extract::json(StatusCode::OK, &document)
}

/// Each operation, with its path.
fn operations(document: &mut Value) -> impl Iterator<Item = (&str, &mut Map<String, Value>)> {
    let paths = document["paths"].as_object_mut().into_iter().flatten();
    paths.flat_map(|(path, methods)| {
        let methods = methods.as_object_mut().into_iter().flat_map(Map::values_mut);
        methods.filter_map(Value::as_object_mut).map(move |operation| (path.as_str(), operation))
    })
}

/// Every problem goes out as `application/problem+json`; the macros know only `application/json`.
fn problems_by_their_type(operation: &mut Map<String, Value>) {
    let responses = operation.get_mut("responses").and_then(Value::as_object_mut);
    let responses = responses.into_iter().flat_map(Map::values_mut);
    for content in responses.filter_map(|response| response["content"].as_object_mut()) {
        let is_problem = content.get("application/json").is_some_and(|json| {
            json.pointer("/schema/$ref").and_then(Value::as_str).is_some_and(|name| name.ends_with("/Problem"))
        });
        if is_problem && let Some(schema) = content.remove("application/json") {
            content.insert("application/problem+json".to_owned(), schema);
        }
    }
}

/// What the router reads of a call before its handler does, or every handler alike.
fn headers_of_every_call(path: &str, operation: &mut Map<String, Value>) {
    let cluster = json!({
        "name": CLUSTER_HEADER.as_str(), "in": "header", "schema": {"type": "string"},
        "description": "The cluster that is meant: a call for another is refused",
    });
    let deadline = json!({
        "name": DEADLINE_HEADER.as_str(), "in": "header", "schema": {"type": "integer", "minimum": 1},
        "description": format!(
            "Milliseconds to wait; more than {} are not waited [default: {}]",
            DEADLINE_MAX.as_millis(), DEADLINE_DEFAULT.as_millis()
        ),
    });
    let may_wait = path.starts_with("/v1/") && path != paths::EVENTS;
    let parameters = operation.entry("parameters").or_insert_with(|| json!([]));
    if let Some(parameters) = parameters.as_array_mut() {
        parameters.push(cluster);
        parameters.extend(may_wait.then_some(deadline));
    }
    if let Some(responses) = operation.get_mut("responses").and_then(Value::as_object_mut)
        && !responses.contains_key("default")
        && !responses.contains_key("4XX")
    {
        let schema = json!({"$ref": "#/components/schemas/Problem"});
        let content = json!({"application/problem+json": {"schema": schema}});
        responses.insert("421".to_owned(), json!({"description": "Another cluster is meant", "content": content}));
    }
}
