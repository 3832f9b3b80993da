//! `POST /v1/commands`: one command, for people; an array of them, for programs.

use axum::{
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use quorate_api::{Applied, BATCH_MAX, Problem, ProblemKind};
use quorate_ledger::{Envelope, Outcome};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    deadline,
    extract::{Failure, JsonBytes, json},
};
use crate::node::Node;

/// What may be sent: for the document only.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "the two forms are told apart by their first byte")]
enum Asked {
    One(Box<Envelope>),
    Many(Batch),
}

/// Commands that are proposed together.
#[derive(Serialize, ToSchema)]
#[schema(min_items = 1, max_items = 256)]
struct Batch(Vec<Envelope>);

/// What may be answered: for the document only.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "the form follows from that of the request")]
enum Answered {
    One(quorate_ledger::Response),
    Many(Vec<Applied>),
}

/// Proposes a command, or an array of at most 256, to the ledger.
///
/// One command is answered with its response, or with a problem where it was refused or not answered. An array is
/// answered with an array, in the same order, and status 200 whatever became of each.
#[utoipa::path(
    post, path = "/v1/commands", tag = "commands",
    request_body(content = Asked, description = "An envelope, or an array of envelopes"),
    responses(
        (status = 200, description = "Accepted; for an array, one `Applied` for each", body = Answered),
        (status = "4XX", description = "Cannot be read, or refused: nothing changed", body = Problem),
        (status = 503, description = "Certainly not proposed", body = Problem),
        (status = 504, description = "Proposed and not answered: unknown", body = Problem),
    )
)]
pub(crate) async fn commands(
    State(node): State<Node>,
    headers: HeaderMap,
    body: JsonBytes,
) -> Result<Response, Failure> {
    let deadline = deadline(&headers)?;
    let is_batch = body.0.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[');
    if is_batch {
        let batch: Vec<Envelope> = body.parse()?;
        if batch.is_empty() {
            return Err(Failure::invalid(format!("a batch holds 1 to {BATCH_MAX} commands")));
        }
        if batch.len() > BATCH_MAX {
            return Err(Failure::new(ProblemKind::TooLarge, format!("a batch holds at most {BATCH_MAX} commands")));
        }
        let applied = node.propose(batch, deadline).await;
        return Ok(json(StatusCode::OK, &applied));
    }
    let envelope: Envelope = body.parse()?;
    match node.propose(vec![envelope], deadline).await.pop() {
        Some(Applied::Response(response)) => Ok(one(response)),
        Some(Applied::Problem(problem)) => Err(problem.into()),
        None => Err(Problem::unknown("the node gave no answer").into()),
    }
}

fn one(response: quorate_ledger::Response) -> Response {
    match &response.outcome {
        Outcome::Accepted(_) => json(StatusCode::OK, &response),
        Outcome::Refused(refusal) => {
            let refusal = refusal.clone();
            Failure::from(Problem::refused(response, &refusal)).into_response()
        }
    }
}
