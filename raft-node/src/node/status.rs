//! The node and its ledger in figures.

use openraft::{ServerState, async_runtime::WatchReceiver};
use quorate_api::{AuditView, CheckpointView, ClusterView, ControlView, MemberView, StatusView};

use super::{Inner, Node, NodeMetrics, Snapshot, Turn};
use crate::raft::types::LogId;

/// A node this far behind what it knows to be committed is not ready.
const READY_LAG_MAX: u64 = 1_000;

fn index(log_id: Option<&LogId>) -> u64 {
    log_id.map_or(0, |log_id| log_id.index)
}

impl Node {
    /// The node and its ledger in figures, as applied here.
    #[must_use]
    pub fn status(&self) -> StatusView {
        let inner = &self.inner;
        let metrics = inner.raft.metrics().borrow_watched().clone();
        let snapshot = inner.applied.snapshot();
        let ledger = &snapshot.ledger;
        let control = ledger.control();
        StatusView {
            cluster_id: inner.config.cluster_id.clone(),
            node_id: inner.links.me(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            role: role(metrics.state).to_owned(),
            term: metrics.current_term,
            leader: inner.leader(),
            last_log_index: metrics.last_log_index.unwrap_or(0),
            committed_index: index(metrics.local_committed.as_ref()),
            applied_index: snapshot.applied_index,
            snapshot_index: index(metrics.snapshot.as_ref()),
            first_event_index: snapshot.first_event_index,
            log_time: ledger.log_time(),
            chain: ledger.chain(),
            ledger_version: ledger.ledger_version(),
            control: ControlView {
                control_version: control.version,
                kill_switch: control.kill_switch,
                quoting: !control.all_off,
                symbols_off: control.symbols_off.iter().cloned().collect(),
                makers_off: control.makers_off.iter().cloned().collect(),
            },
            fills: ledger.fills(),
            open_orders: ledger.open_order_count() as u64,
            sessions: ledger.session_count() as u64,
            exchange_epoch: ledger.exchange().map_or(0, |exchange| exchange.epoch),
            clock_jumps: inner.clock.jumps().0,
            divergence: inner.divergence.view(),
        }
    }

    /// The group as this node knows it.
    #[must_use]
    pub fn cluster(&self) -> ClusterView {
        let inner = &self.inner;
        let metrics = inner.raft.metrics().borrow_watched().clone();
        let last_log_index = metrics.last_log_index;
        let matched = |id: u64| {
            let replication = metrics.replication.as_ref()?;
            if id == inner.links.me() { last_log_index } else { replication.get(&id)?.as_ref().map(|log| log.index) }
        };
        let membership = metrics.membership_config.membership();
        let sets = membership.get_joint_config();
        let members = membership.nodes().map(|(node_id, peer)| MemberView {
            node_id: *node_id,
            peer_addr: peer.peer_addr.clone(),
            api_addr: peer.api_addr.clone(),
            store_id: peer.store_id,
            voter: sets.iter().any(|set| set.contains(node_id)),
            matched_index: matched(*node_id),
        });
        ClusterView {
            cluster_id: inner.config.cluster_id.clone(),
            group_id: inner.group(),
            leader: inner.leader(),
            term: metrics.current_term,
            membership_index: index(metrics.membership_config.log_id().as_ref()),
            joint: sets.len() > 1,
            voter_sets: sets.iter().map(|set| set.iter().copied().collect()).collect(),
            members: members.collect(),
        }
    }

    /// Recomputes every derived figure of the ledger as it stands in `snapshot`, and digests it.
    pub async fn audit(&self, snapshot: &Snapshot) -> AuditView {
        self.audit_in(None, snapshot).await
    }

    /// Likewise, and gives `turn` back when the work is done, whether or not anybody still waits for it.
    pub(crate) async fn audit_in(&self, turn: Option<Turn>, snapshot: &Snapshot) -> AuditView {
        let ledger = snapshot.ledger.clone();
        let work = move || {
            let audit = AuditView {
                violations: ledger.audit().iter().map(ToString::to_string).collect(),
                state: ledger.state_digest(),
                chain: ledger.chain(),
            };
            drop(turn);
            audit
        };
        self.inner.scope.blocking(work).await.unwrap_or_else(|error| AuditView {
            violations: vec![format!("the audit itself failed: {error}")],
            state: quorate_ledger::Digest::default(),
            chain: quorate_ledger::Digest::default(),
        })
    }

    /// Digests at recent checkpoints, oldest first.
    #[must_use]
    pub fn checkpoints(&self) -> Vec<CheckpointView> {
        self.inner.applied.checkpoints()
    }

    /// Counters and gauges.
    #[must_use]
    pub fn metrics(&self) -> NodeMetrics {
        let inner = &self.inner;
        let metrics = inner.raft.metrics().borrow_watched().clone();
        let counters = &inner.counters;
        let last_log_index = metrics.last_log_index.unwrap_or(0);
        let (clock_jumps, clock_jumps_refused) = inner.clock.jumps();
        let ledger = inner.applied.snapshot().ledger;
        let lag = metrics.replication.iter().flatten().filter(|(id, _)| **id != inner.links.me());
        NodeMetrics {
            is_leader: metrics.state == ServerState::Leader,
            term: metrics.current_term,
            leader: inner.leader(),
            last_log_index,
            committed_index: index(metrics.local_committed.as_ref()),
            applied_index: inner.applied.index(),
            snapshot_index: index(metrics.snapshot.as_ref()),
            purged_index: index(metrics.purged.as_ref()),
            first_event_index: inner.applied.first_index(),
            in_flight: inner.places.taken() as u64,
            commands: counters.commands.get(),
            forwarded: counters.forwarded.get(),
            overloaded: counters.overloaded.get(),
            unknown: counters.unknown.get(),
            not_proposed: counters.not_proposed.get(),
            faults_dropped: inner.links.faults.dropped(),
            reads_linearizable: counters.reads_linearizable.get(),
            reads_local: counters.reads_local.get(),
            reads_failed: counters.reads_failed.get(),
            terms_begun: counters.terms_begun.get(),
            ticks: counters.ticks.get(),
            clock_jumps,
            clock_jumps_refused,
            snapshots_built: inner.snapshots.built.get(),
            snapshots_installed: inner.snapshots.installed.get(),
            identity_refused: inner.part.refused.get(),
            refused_by_members: inner.links.refusals(),
            founding_held_up: inner.part.founding_held_up.get(),
            checkpoints_confirmed: counters.checkpoints_confirmed.get(),
            state_differences: counters.state_differences.get(),
            undecided: inner.divergence.is_undecided(),
            members_refused: counters.members_refused.get(),
            transfers_failed: counters.transfers_failed.get(),
            joint: inner.is_joint(),
            voters_unheard: counters.voters_unheard.get(),
            streams: counters.streams.get(),
            streams_refused: counters.streams_refused.get(),
            snapshots_failed: inner.snapshots.failed.get(),
            storage: inner.storage.metrics(),
            log_time: ledger.log_time(),
            reserved: ledger.reserved(),
            exposure_limit: ledger.exposure_limit(),
            fills: ledger.fills(),
            open_orders: ledger.open_order_count() as u64,
            lag: lag.map(|(id, log)| (*id, last_log_index.saturating_sub(index(log.as_ref())))).collect(),
        }
    }

    /// Whether it makes sense to send work here: recovered, a leader is known and heard of, the lag is small.
    ///
    /// # Errors
    /// What is missing, in words.
    pub fn readiness(&self) -> Result<(), String> {
        let inner = &self.inner;
        inner.serving()?;
        inner.belongs()?;
        inner.part.is_taken()?;
        if !inner.is_recovered() {
            return Err("recovering what was applied before the restart".to_owned());
        }
        if inner.leader().is_none() {
            return Err("no leader is heard of".to_owned());
        }
        if inner.is_stalled() {
            return Err("behind the group, and not catching up".to_owned());
        }
        let committed = inner.raft.metrics().borrow_watched().cluster_committed.map_or(0, |log| log.index);
        let lag = committed.saturating_sub(inner.applied.index());
        if lag > READY_LAG_MAX {
            return Err(format!("{lag} entries behind the group"));
        }
        Ok(())
    }
}

impl Inner {
    /// Whether what was applied before the restart is applied again.
    pub(crate) fn is_recovered(&self) -> bool {
        *self.recovered.borrow()
    }
}

fn role(state: ServerState) -> &'static str {
    match state {
        ServerState::Learner => "learner",
        ServerState::Follower => "follower",
        ServerState::Candidate => "candidate",
        ServerState::Leader => "leader",
        ServerState::Shutdown => "stopped",
    }
}
