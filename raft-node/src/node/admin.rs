//! Administration: membership, transfer of leadership, snapshots. Done by the leader; other nodes pass it on.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use openraft::{ServerState, async_runtime::WatchReceiver};
use quorate_api::{ChangeMembers, ClusterView, Member, Problem, ProblemKind};
use tokio::time::{Instant, timeout_at};

use super::{Inner, Node};
use crate::raft::{
    links::{LinkError, Target},
    wire::{Admin, AdminCall, AdminOutcome, paths},
};

/// Members at most.
const MEMBERS_MAX: usize = 9;
/// Pause before the leader is asked again.
const RETRY_PAUSE: Duration = Duration::from_millis(20);
/// The leader's deadline is so much before the caller's own, so that its answer still arrives.
const ANSWER_MARGIN: Duration = Duration::from_millis(20);

impl Node {
    /// Makes `change.members` the members, through the leader; answers when it is committed. The leader goes on with
    /// it after `deadline`. The addresses of a member do not change: remove it, and add it under a new id.
    ///
    /// # Errors
    /// `InvalidRequest` for a list that cannot be (empty, double ids, no voter). `Conflict`, with the members as they
    /// were, where they are not those of `change.membership_index`, another change is under way, fewer than half of the
    /// voters would stay, a new member does not answer or catch up, or no majority of the voters does. `Timeout` with
    /// an unknown outcome where it is not done by `deadline`.
    pub async fn change_members(&self, change: ChangeMembers, deadline: Instant) -> Result<ClusterView, Problem> {
        check_members(&change.members).map_err(|what| Problem::new(ProblemKind::InvalidRequest, what))?;
        self.inner.administer(AdminCall::ChangeMembers(change), deadline).await?;
        Ok(self.cluster())
    }

    /// Hands leadership to the voter `to`, through the leader; answers when it leads. It is asked once.
    ///
    /// # Errors
    /// `InvalidRequest` where `to` is no voter; `Conflict` where it does not answer, is not level or refuses, and the
    /// leader leads on; `Timeout` with an unknown outcome where it was asked and has not taken over.
    pub async fn transfer_leader(&self, to: u64, deadline: Instant) -> Result<ClusterView, Problem> {
        self.inner.administer(AdminCall::TransferLeader(to), deadline).await?;
        while self.inner.leader() != Some(to) {
            if Instant::now() >= deadline {
                return Err(Problem::unknown(format!("this node has not heard node {to} lead yet")));
            }
            self.inner.leader_changed(RETRY_PAUSE).await;
        }
        Ok(self.cluster())
    }

    /// Builds a snapshot at this node that covers all it has applied; answers its index when it is kept.
    ///
    /// # Errors
    /// `Timeout` where it is not kept by `deadline`.
    pub async fn trigger_snapshot(&self, deadline: Instant) -> Result<u64, Problem> {
        let inner = &self.inner;
        let covers = inner.applied.index();
        let mut metrics = inner.raft.metrics();
        loop {
            let kept = metrics.borrow_and_update().snapshot.map(|last| last.index);
            if let Some(kept) = kept.filter(|kept| *kept >= covers) {
                return Ok(kept);
            }
            let trigger = inner.raft.trigger();
            trigger.snapshot().await.map_err(|fatal| Problem::new(ProblemKind::Internal, fatal.to_string()))?;
            // A build that was under way may cover less: look again, and ask again.
            let changed = timeout_at(deadline, async {
                while metrics.borrow_and_update().snapshot.map(|last| last.index) == kept {
                    if metrics.changed().await.is_err() {
                        return;
                    }
                }
            });
            if changed.await.is_err() {
                return Err(Problem::new(ProblemKind::Timeout, "the snapshot is still being built"));
            }
            inner.serving().map_err(|why| Problem::new(ProblemKind::NotReady, why))?;
        }
    }
}

fn check_members(members: &[Member]) -> Result<(), String> {
    let ids: BTreeSet<u64> = members.iter().map(|member| member.node_id).collect();
    if ids.len() != members.len() {
        return Err("members: an id stands there twice".to_owned());
    }
    if members.len() > MEMBERS_MAX || ids.contains(&0) {
        return Err(format!("members: at most {MEMBERS_MAX}, with ids from 1"));
    }
    if !members.iter().any(|member| member.voter) {
        return Err("members: at least one must vote".to_owned());
    }
    let is_address = |addr: &str| {
        let parts = addr.rsplit_once(':');
        addr.len() <= 255 && parts.is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
    };
    match members.iter().find(|member| !is_address(&member.peer_addr) || !is_address(&member.api_addr)) {
        Some(member) => Err(format!("members: node {} needs peer_addr and api_addr as host:port", member.node_id)),
        None => Ok(()),
    }
}

impl Inner {
    /// Has `call` done by the leader, whoever that is by `deadline`. It is passed on again only where nothing was begun.
    async fn administer(self: &Arc<Self>, call: AdminCall, deadline: Instant) -> Result<(), Problem> {
        loop {
            let outcome = match self.leader() {
                Some(leader) if leader == self.links.me() => self.admin_here(call.clone(), deadline).await,
                Some(leader) => self.admin_there(leader, call.clone(), deadline).await,
                None => AdminOutcome::NotLeader,
            };
            match outcome {
                AdminOutcome::Done => return Ok(()),
                AdminOutcome::Invalid(what) => return Err(Problem::new(ProblemKind::InvalidRequest, what)),
                AdminOutcome::Conflict(why) => return Err(Problem::new(ProblemKind::Conflict, why)),
                AdminOutcome::Unknown(why) => return Err(Problem::unknown(why)),
                AdminOutcome::NotLeader if Instant::now() + RETRY_PAUSE >= deadline => {
                    return Err(Problem::new(ProblemKind::NoLeader, "no leader took this within its deadline"));
                }
                AdminOutcome::NotLeader => self.leader_changed(RETRY_PAUSE).await,
            }
        }
    }

    async fn admin_there(&self, leader: u64, call: AdminCall, deadline: Instant) -> AdminOutcome {
        let Some(peer) = self.peer(leader) else { return AdminOutcome::NotLeader };
        // A leader that hangs is not sent what could happen later.
        if self.standing_of(leader, &peer).await.is_err() {
            return AdminOutcome::NotLeader;
        }
        let remaining = deadline.saturating_duration_since(Instant::now());
        let deadline_ms = u64::try_from(remaining.saturating_sub(ANSWER_MARGIN).as_millis()).unwrap_or(u64::MAX);
        let message = Admin { deadline_ms, call };
        match self.links.call(Target::member(leader, &peer), paths::ADMIN, &message, remaining).await {
            Ok(outcome) => outcome,
            Err(LinkError::NotReached(_) | LinkError::Refused(..)) => AdminOutcome::NotLeader,
            Err(error @ (LinkError::Broken(_) | LinkError::Timeout(_))) => AdminOutcome::Unknown(error.to_string()),
        }
    }

    /// As the leader.
    pub(crate) async fn admin_here(self: &Arc<Self>, call: AdminCall, deadline: Instant) -> AdminOutcome {
        if self.raft.server_metrics().borrow_watched().state != ServerState::Leader {
            return AdminOutcome::NotLeader;
        }
        match call {
            AdminCall::ChangeMembers(change) => self.change_members_here(change, deadline).await,
            AdminCall::TransferLeader(to) => {
                let unknown = || AdminOutcome::Unknown("not done within the deadline; it may still happen".to_owned());
                timeout_at(deadline, self.transfer_leader_here(to)).await.unwrap_or_else(|_| unknown())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(node_id: u64, voter: bool) -> Member {
        Member { node_id, peer_addr: format!("h:{node_id}"), api_addr: format!("h:{}", node_id + 1), voter }
    }

    #[test]
    fn lists_that_cannot_be_are_refused() {
        assert_eq!(check_members(&[member(1, true), member(2, false)]), Ok(()));
        for wrong in [
            vec![],
            vec![member(1, false)],
            vec![member(1, true), member(1, true)],
            vec![member(0, true)],
            (1..=10).map(|id| member(id, true)).collect(),
            vec![Member { peer_addr: "nowhere".to_owned(), ..member(1, true) }],
        ] {
            assert!(check_members(&wrong).is_err(), "{wrong:?}");
        }
    }
}
