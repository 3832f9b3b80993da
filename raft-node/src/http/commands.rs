//! `POST /v1/commands`: one command, for people; an array of them, for programs.

use axum::{
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use quorate_api::{Applied, BATCH_MAX, Problem, ProblemKind};
use quorate_ledger::{Envelope, Outcome};

use super::{
    deadline,
    extract::{Failure, JsonBytes, json},
};
use crate::node::Node;

/// Proposes a command, or an array of at most 256, to the ledger.
///
/// One command is answered with its response, or with a problem where it was refused or not answered. An array is
/// answered with an array, in the same order, and status 200 whatever became of each.
#[utoipa::path(
    post, path = "/v1/commands", tag = "commands",
    request_body(content = Envelope, description = "An envelope, or an array of envelopes"),
    params(
        ("x-quorate-cluster" = Option<String>, Header, description = "The cluster that is meant"),
        ("x-quorate-deadline-ms" = Option<u64>, Header, description = "How long to wait, 1 to 10000 [default: 3000]"),
    ),
    responses(
        (status = 200, description = "Accepted; for an array, one `Applied` for each", body = quorate_ledger::Response),
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
