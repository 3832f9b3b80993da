//! The node and the group: status, membership, leadership, snapshots, audit, health, the fault switch.

use axum::{
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use quorate_api::{
    AuditView, ChangeMembers, CheckpointView, ClusterView, Consistency, Faults, Problem, ProblemKind, Read, StatusView,
    TransferLeader,
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    deadline,
    extract::{Failure, JsonBytes, Query, json},
    reads::{Freshness, answer, applied, fresh},
};
use crate::node::Node;

/// What a node knows by itself. With `consistency=local` it waits for nothing: a node that has no leader, or still
/// recovers, must be able to say so.
async fn known<T: Serialize>(
    node: &Node,
    headers: &HeaderMap,
    query: &Freshness,
    what: impl FnOnce(&Node) -> T,
) -> Result<Response, Failure> {
    if query.consistency == Consistency::Linearizable {
        fresh(node, headers, query.consistency, query.min_index).await?;
    } else if let Some(index) = query.min_index {
        applied(node, headers, index).await?;
    }
    // The index first: what the answer shows is at or after it.
    let status = node.status();
    let data = what(node);
    let read = Read {
        applied_index: status.applied_index,
        log_time: status.log_time,
        node_id: status.node_id,
        consistency: query.consistency,
        data,
    };
    Ok(json(StatusCode::OK, &read))
}

/// The node and its ledger in figures, as applied here.
#[utoipa::path(
    get, path = "/v1/status", tag = "group", params(Freshness),
    responses((status = 200, body = Read<StatusView>), (status = "default", body = Problem))
)]
pub(crate) async fn status(
    State(node): State<Node>,
    headers: HeaderMap,
    Query(query): Query<Freshness>,
) -> Result<Response, Failure> {
    known(&node, &headers, &query, Node::status).await
}

/// The group, as this node knows it.
#[utoipa::path(
    get, path = "/v1/cluster", tag = "group", params(Freshness),
    responses((status = 200, body = Read<ClusterView>), (status = "default", body = Problem))
)]
pub(crate) async fn cluster(
    State(node): State<Node>,
    headers: HeaderMap,
    Query(query): Query<Freshness>,
) -> Result<Response, Failure> {
    known(&node, &headers, &query, Node::cluster).await
}

/// Recomputes every derived figure of the ledger, and digests all of it, at the applied index of the answer.
///
/// One at a time at each node: others wait for their turn within their deadline, and get 503 past it.
#[utoipa::path(
    get, path = "/v1/audit", tag = "group", params(Freshness),
    responses((status = 200, body = Read<AuditView>), (status = "default", body = Problem))
)]
pub(crate) async fn audit(
    State(node): State<Node>,
    headers: HeaderMap,
    Query(query): Query<Freshness>,
) -> Result<Response, Failure> {
    // Whoever waits for an index waits without the turn.
    let snapshot = fresh(&node, &headers, query.consistency, query.min_index).await?;
    let turn = node.turn_to_audit(deadline(&headers)?).await?;
    let audit = node.audit_in(Some(turn), &snapshot).await;
    Ok(answer(&node, query.consistency, &snapshot, audit))
}

/// Digests at recent checkpoints, oldest first.
#[utoipa::path(
    get, path = "/v1/digests", tag = "group", params(Freshness),
    responses((status = 200, body = Read<Vec<CheckpointView>>), (status = "default", body = Problem))
)]
pub(crate) async fn digests(
    State(node): State<Node>,
    headers: HeaderMap,
    Query(query): Query<Freshness>,
) -> Result<Response, Failure> {
    known(&node, &headers, &query, Node::checkpoints).await
}

/// Makes the members listed the group's members.
#[utoipa::path(
    post, path = "/v1/cluster/members", tag = "group", request_body = ChangeMembers,
    responses((status = 200, body = ClusterView), (status = "default", body = Problem))
)]
pub(crate) async fn change_members(
    State(node): State<Node>,
    headers: HeaderMap,
    body: JsonBytes,
) -> Result<Response, Failure> {
    let change: ChangeMembers = body.parse()?;
    Ok(json(StatusCode::OK, &node.change_members(change, deadline(&headers)?).await?))
}

/// Hands leadership to another voter.
#[utoipa::path(
    post, path = "/v1/cluster/transfer-leader", tag = "group", request_body = TransferLeader,
    responses((status = 200, body = ClusterView), (status = "default", body = Problem))
)]
pub(crate) async fn transfer_leader(
    State(node): State<Node>,
    headers: HeaderMap,
    body: JsonBytes,
) -> Result<Response, Failure> {
    let transfer: TransferLeader = body.parse()?;
    Ok(json(StatusCode::OK, &node.transfer_leader(transfer.to, deadline(&headers)?).await?))
}

/// The index that a snapshot covers.
#[derive(Serialize, ToSchema)]
pub(crate) struct SnapshotBuilt {
    /// The last log index in it.
    snapshot_index: u64,
}

/// Builds a snapshot at this node now.
#[utoipa::path(
    post, path = "/v1/cluster/snapshot", tag = "group",
    responses((status = 200, body = SnapshotBuilt), (status = "default", body = Problem))
)]
pub(crate) async fn snapshot(State(node): State<Node>, headers: HeaderMap) -> Result<Response, Failure> {
    let snapshot_index = node.trigger_snapshot(deadline(&headers)?).await?;
    Ok(json(StatusCode::OK, &SnapshotBuilt { snapshot_index }))
}

/// The fault switch as it stands; only under `--fault-injection`.
pub(crate) async fn faults(State(node): State<Node>) -> Response {
    json(StatusCode::OK, &node.faults())
}

/// Sets the fault switch; only under `--fault-injection`.
pub(crate) async fn set_faults(State(node): State<Node>, body: JsonBytes) -> Result<Response, Failure> {
    let faults: Faults = body.parse()?;
    node.set_faults(faults)?;
    Ok(json(StatusCode::OK, &node.faults()))
}

/// Whether the process runs; says nothing of the group.
#[utoipa::path(get, path = "/livez", tag = "health", responses((status = 200, body = String)))]
pub(crate) async fn livez() -> &'static str {
    "ok\n"
}

/// Whether it makes sense to send work here.
#[utoipa::path(
    get, path = "/readyz", tag = "health",
    responses((status = 200, body = String), (status = 503, body = Problem))
)]
pub(crate) async fn readyz(State(node): State<Node>) -> Response {
    match node.readiness() {
        Ok(()) => "ok\n".into_response(),
        Err(why) => Failure::new(ProblemKind::NotReady, why).into_response(),
    }
}

/// The answer of `/health`.
#[derive(Serialize, ToSchema)]
pub(crate) struct Health {
    /// `ok`, or what is missing.
    status: String,
    /// This node.
    node_id: u64,
    /// The leader, where one is known and heard of.
    leader: Option<u64>,
    /// The last index applied.
    applied_index: u64,
}

/// The same as `/readyz`, with figures.
#[utoipa::path(
    get, path = "/health", tag = "health",
    responses((status = 200, body = Health), (status = 503, body = Health))
)]
pub(crate) async fn health(State(node): State<Node>) -> Response {
    let metrics = node.metrics();
    let (code, status) = match node.readiness() {
        Ok(()) => (StatusCode::OK, "ok".to_owned()),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, why),
    };
    let health = Health { status, node_id: node.id(), leader: metrics.leader, applied_index: metrics.applied_index };
    json(code, &health)
}
