//! `GET /v1/events`: server-sent events, one frame a log index, resumed by index.
//!
//! The item that ends a stream says why; a stream that breaks off without one is resumed by the client.

use std::convert::Infallible;

use axum::{
    extract::State,
    http::{HeaderMap, Version},
    response::{
        IntoResponse, Response,
        sse::{Event as SseEvent, Sse},
    },
};
use futures_util::{StreamExt, stream};
use quorate_api::{GroupId, Problem, ProblemKind};
use quorate_domain::Millis;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    ends_connection,
    extract::{Failure, Query},
};
use crate::node::{Node, StreamEnd, StreamItem};

/// From where on.
#[derive(Debug, Deserialize, IntoParams, ToSchema)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct EventsQuery {
    /// The first log index wanted; `Last-Event-ID` goes before it where that is later [default: the one after
    /// `Last-Event-ID`, or the next one to come]
    from: Option<u64>,
}

/// Keeps a stream alive, and says how far the node is.
#[derive(Serialize)]
struct AppliedNote {
    applied_index: u64,
    log_time: Millis,
}

/// Whose events a stream carries.
#[derive(Serialize)]
struct GroupNote {
    group_id: Option<GroupId>,
    node_id: u64,
}

/// Frames of events, from a log index on, and those still to come.
///
/// `event: group` comes first and names the group whose log indexes these are. `event: frame` carries a frame, `event:
/// applied` keeps the stream alive, `event: end` carries a problem and is the last.
#[utoipa::path(
    get, path = "/v1/events", tag = "events",
    params(
        EventsQuery,
        ("last-event-id" = Option<u64>, Header, description = "The last index seen: go on after it, or at `from` where that is later"),
    ),
    responses(
        (status = 200, description = "text/event-stream", content_type = "text/event-stream", body = quorate_ledger::Frame),
        (status = 503, description = "No place for one more stream, or no leader", body = Problem),
        (status = 410, description = "No longer kept: read the state, go on from there", body = Problem),
        (status = "default", body = Problem),
    )
)]
pub(crate) async fn events(
    State(node): State<Node>,
    version: Version,
    headers: HeaderMap,
    Query(query): Query<EventsQuery>,
) -> Result<Response, Failure> {
    let last_seen = match headers.get("last-event-id") {
        None => None,
        Some(value) => {
            let id: Option<u64> = value.to_str().ok().and_then(|text| text.parse().ok());
            Some(id.ok_or_else(|| Failure::invalid("Last-Event-ID is a log index"))?)
        }
    };
    let metrics = node.metrics();
    let next = metrics.applied_index.saturating_add(1);
    // A browser that comes back asks with the same `from`, and says by `Last-Event-ID` how far it has come.
    let from = query.from.max(last_seen.map(|id| id.saturating_add(1))).unwrap_or(next);
    if from < metrics.first_event_index {
        return Err(problem(&StreamEnd::Gone { first_index: metrics.first_event_index }).into());
    }
    if metrics.leader.is_none() {
        return Err(problem(&StreamEnd::NoLeader).into());
    }
    let Some(place) = node.place_for_stream() else {
        let max = node.config().max_event_streams;
        let detail = format!(
            "all {max} places for event streams are taken at this node: try again later, or another node; who runs the \
             node may raise max-event-streams"
        );
        return Ok(ends_connection(version, Failure::new(ProblemKind::Overloaded, detail).into_response()));
    };
    let note = GroupNote { group_id: node.cluster().group_id, node_id: node.id() };
    let group = data(SseEvent::default().event("group"), &note);
    let frames = node.frames(from).map(move |item| {
        let _held = &place;
        sse(&node, item)
    });
    Ok(Sse::new(stream::iter([group]).chain(frames).map(Ok::<_, Infallible>)).into_response())
}

fn sse(node: &Node, item: Result<StreamItem, StreamEnd>) -> SseEvent {
    match item {
        Ok(StreamItem::Frame(frame)) => data(SseEvent::default().id(frame.index.to_string()).event("frame"), &*frame),
        Ok(StreamItem::Applied(applied_index)) => {
            let note = AppliedNote { applied_index, log_time: node.status().log_time };
            data(SseEvent::default().event("applied"), &note)
        }
        Err(end) => data(SseEvent::default().event("end"), &problem(&end)),
    }
}

fn data<T: Serialize>(event: SseEvent, value: &T) -> SseEvent {
    // Every value sent here is plain data with text keys, which JSON always holds.
    event.json_data(value).unwrap_or_else(|error| SseEvent::default().event("end").data(error.to_string()))
}

fn problem(end: &StreamEnd) -> Problem {
    match end {
        StreamEnd::Gone { first_index } => {
            Problem { first_index: Some(*first_index), ..Problem::new(ProblemKind::Gone, end.to_string()) }
        }
        StreamEnd::NoLeader => Problem::new(ProblemKind::NoLeader, end.to_string()),
        StreamEnd::Cut | StreamEnd::Behind | StreamEnd::Suspended | StreamEnd::Stopped => {
            Problem::new(ProblemKind::NotReady, end.to_string())
        }
        StreamEnd::Broken(_) => Problem::new(ProblemKind::Internal, end.to_string()),
    }
}
