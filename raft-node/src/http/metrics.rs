//! `GET /metrics`: figures in the Prometheus text format.

use std::fmt::Write;

use axum::{extract::State, http::header, response::IntoResponse};

use crate::node::Node;

/// Figures in the Prometheus text format (version 0.0.4).
#[utoipa::path(get, path = "/metrics", tag = "health", responses((status = 200, body = String)))]
pub(crate) async fn metrics(State(node): State<Node>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], render(&node))
}

fn render(node: &Node) -> String {
    let m = node.metrics();
    let gauges = [
        ("is_leader", "whether this node leads", u64::from(m.is_leader)),
        ("has_leader", "whether a leader is known and heard of", u64::from(m.leader.is_some())),
        ("term", "the Raft term", m.term),
        ("last_log_index", "the last index in the log", m.last_log_index),
        ("committed_index", "the last index known to be committed", m.committed_index),
        ("applied_index", "the last index applied", m.applied_index),
        ("snapshot_index", "the last index of the last snapshot", m.snapshot_index),
        ("purged_index", "the last index purged from the log", m.purged_index),
        ("first_event_index", "the first index whose events are kept", m.first_event_index),
        ("commands_in_flight", "commands proposed and not yet answered", m.in_flight),
        ("event_streams", "open event streams", m.streams),
        ("storage_queued_bytes", "bytes on the way to the disk", m.storage.queued_bytes),
        ("log_time_ms", "log time, in milliseconds since the Unix epoch", m.log_time.0),
        ("open_orders", "orders that rest", m.open_orders),
        ("state_undecided", "whether a difference of states keeps this node from serving", u64::from(m.undecided)),
        ("membership_joint", "whether a change of the voters is half done", u64::from(m.joint)),
        ("voters_unheard", "voters that have not answered this leader yet: check their addresses", m.voters_unheard),
    ];
    let counters = [
        ("commands_total", "commands taken from callers", m.commands),
        ("commands_forwarded_total", "commands passed on to the leader", m.forwarded),
        ("commands_overloaded_total", "commands refused for overload", m.overloaded),
        ("commands_unknown_total", "commands whose outcome could not be told", m.unknown),
        ("commands_not_proposed_total", "commands that were certainly not proposed", m.not_proposed),
        ("faults_dropped_total", "peer calls that the fault switch made vanish", m.faults_dropped),
        ("reads_linearizable_total", "linearizable reads answered", m.reads_linearizable),
        ("reads_local_total", "local reads answered", m.reads_local),
        ("reads_failed_total", "reads that failed within their deadline", m.reads_failed),
        ("terms_begun_total", "terms that this node began as the leader", m.terms_begun),
        ("ticks_total", "ticks proposed", m.ticks),
        ("clock_jumps_total", "clock jumps seen at the start of a term: raise an alarm", m.clock_jumps),
        ("clock_jumps_refused_total", "forward jumps that were not followed: raise an alarm", m.clock_jumps_refused),
        ("snapshots_built_total", "snapshots built", m.snapshots_built),
        ("snapshots_installed_total", "snapshots installed from a leader", m.snapshots_installed),
        ("identity_refused_total", "peer calls of or for another store or group: raise an alarm", m.identity_refused),
        (
            "refused_by_members_total",
            "this node's calls that met another group or store than its own: raise an alarm",
            m.refused_by_members,
        ),
        ("founding_held_up_total", "reasons told why no group was founded", m.founding_held_up),
        ("fills_total", "fills committed", m.fills),
        ("storage_commits_total", "durable commits", m.storage.commits),
        ("storage_entries_total", "log entries within them", m.storage.entries),
        ("storage_bytes_total", "bytes of payload within them", m.storage.bytes),
        ("storage_commit_microseconds_total", "time that durable commits took", m.storage.commit_micros_total),
        ("state_differences_total", "differences seen from a peer's state: raise an alarm", m.state_differences),
        (
            "storage_large_messages_total",
            "changes of the store above 48 MiB: the log says how to cure it",
            m.storage.large_messages,
        ),
        (
            "storage_long_waits_total",
            "changes that waited 5 s for the store's writer: look at the disk",
            m.storage.long_waits,
        ),
        ("event_streams_refused_total", "event streams refused because all places were taken", m.streams_refused),
        ("snapshots_failed_total", "snapshots that no peer took: the log says why and what to do", m.snapshots_failed),
        ("members_refused_total", "members that did not answer or catch up and were refused", m.members_refused),
        ("transfers_failed_total", "times that leadership was to be handed over and was not", m.transfers_failed),
        ("checkpoints_confirmed_total", "checkpoints whose digest a majority confirmed", m.checkpoints_confirmed),
    ];
    let mut text = String::new();
    for (kind, rows) in [("gauge", gauges.as_slice()), ("counter", counters.as_slice())] {
        for (name, help, value) in rows {
            // Writing to a String cannot fail.
            let _ =
                writeln!(text, "# HELP quorate_{name} {help}\n# TYPE quorate_{name} {kind}\nquorate_{name} {value}");
        }
    }
    let _ = writeln!(text, "# HELP quorate_exposure_limit exposure that may be reserved on each side");
    let _ = writeln!(text, "# TYPE quorate_exposure_limit gauge\nquorate_exposure_limit {}", m.exposure_limit);
    let _ = writeln!(text, "# HELP quorate_exposure_reserved exposure that the quotes that stand reserve");
    let _ = writeln!(text, "# TYPE quorate_exposure_reserved gauge");
    for (side, reserved) in [("long", m.reserved.bid), ("short", m.reserved.ask)] {
        let _ = writeln!(text, "quorate_exposure_reserved{{side=\"{side}\"}} {reserved}");
    }
    let _ = writeln!(text, "# HELP quorate_peer_lag entries that a member is behind, as the leader sees it");
    let _ = writeln!(text, "# TYPE quorate_peer_lag gauge");
    for (peer, lag) in &m.lag {
        let _ = writeln!(text, "quorate_peer_lag{{peer=\"{peer}\"}} {lag}");
    }
    text
}
