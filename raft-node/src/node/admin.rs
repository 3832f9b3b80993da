//! Administration: membership, transfer of leadership, snapshots. Done by the leader; other nodes pass it on.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use openraft::{
    ChangeMembers as Change, ServerState,
    async_runtime::WatchReceiver,
    errors::{ClientWriteError, RaftError},
};
use quorate_api::{ChangeMembers, ClusterView, Member, Problem, ProblemKind};
use tokio::time::{Instant, sleep, timeout_at};

use super::{Inner, Node};
use crate::raft::{
    links::{LinkError, Target},
    types::{Peer, TypeConfig},
    wire::{Admin, AdminCall, AdminOutcome, paths},
};

/// Members at most.
const MEMBERS_MAX: usize = 9;
/// Pause before the leader is asked again.
const RETRY_PAUSE: Duration = Duration::from_millis(20);
/// A transfer that did not happen within this is asked for again.
const TRANSFER_RETRY: Duration = Duration::from_millis(500);

impl Node {
    /// Makes `change.members` the members, through the leader; answers when it is committed. The addresses
    /// of a member do not change: remove it, and add it under a new id.
    ///
    /// # Errors
    /// `InvalidRequest` for a list that cannot be (empty, double ids, no voter); otherwise as for commands.
    pub async fn change_members(&self, change: ChangeMembers, deadline: Instant) -> Result<ClusterView, Problem> {
        check_members(&change.members).map_err(|what| Problem::new(ProblemKind::InvalidRequest, what))?;
        self.inner.administer(AdminCall::ChangeMembers(change), deadline).await?;
        Ok(self.cluster())
    }

    /// Hands leadership to the voter `to`, through the leader; answers when it leads.
    ///
    /// # Errors
    /// `InvalidRequest` where `to` is no voter; `Timeout` where it does not lead by `deadline`.
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
    /// Has `call` done by the leader, whoever that is by `deadline`.
    async fn administer(&self, call: AdminCall, deadline: Instant) -> Result<(), Problem> {
        loop {
            let remaining = deadline.saturating_duration_since(Instant::now());
            let outcome = match self.leader() {
                Some(leader) if leader == self.links.me() => self.admin_here(call.clone(), deadline).await,
                Some(leader) => self.admin_there(leader, call.clone(), remaining).await,
                None => AdminOutcome::NotLeader,
            };
            match outcome {
                AdminOutcome::Done => return Ok(()),
                AdminOutcome::Invalid(what) => return Err(Problem::new(ProblemKind::InvalidRequest, what)),
                AdminOutcome::Unknown(why) => return Err(Problem::unknown(why)),
                AdminOutcome::NotLeader if Instant::now() + RETRY_PAUSE >= deadline => {
                    return Err(Problem::new(ProblemKind::NoLeader, "no leader took this within its deadline"));
                }
                AdminOutcome::NotLeader => self.leader_changed(RETRY_PAUSE).await,
            }
        }
    }

    async fn admin_there(&self, leader: u64, call: AdminCall, remaining: Duration) -> AdminOutcome {
        let Some(peer) = self.peer(leader) else { return AdminOutcome::NotLeader };
        let deadline_ms = u64::try_from(remaining.as_millis()).unwrap_or(u64::MAX);
        let message = Admin { deadline_ms, call };
        match self.links.call(Target::member(leader, &peer), paths::ADMIN, &message, remaining).await {
            Ok(outcome) => outcome,
            Err(LinkError::NotReached(_) | LinkError::Refused(..)) => AdminOutcome::NotLeader,
            Err(error @ (LinkError::Broken(_) | LinkError::Timeout(_))) => AdminOutcome::Unknown(error.to_string()),
        }
    }

    /// As the leader.
    pub(crate) async fn admin_here(&self, call: AdminCall, deadline: Instant) -> AdminOutcome {
        if self.raft.server_metrics().borrow_watched().state != ServerState::Leader {
            return AdminOutcome::NotLeader;
        }
        let work = async {
            match call {
                AdminCall::ChangeMembers(change) => self.change_members_here(change.members).await,
                AdminCall::TransferLeader(to) => self.transfer_leader_here(to).await,
            }
        };
        let unknown = || AdminOutcome::Unknown("not done within the deadline; it may still happen".to_owned());
        timeout_at(deadline, work).await.unwrap_or_else(|_| unknown())
    }

    /// Learners first, and only when they have caught up; then the voters; then those that leave.
    async fn change_members_here(&self, members: Vec<Member>) -> AdminOutcome {
        let known: BTreeMap<u64, Peer> = self.members();
        for member in &members {
            match known.get(&member.node_id) {
                Some(present) if present.is_at(member) => {}
                Some(_) => {
                    return AdminOutcome::Invalid(format!(
                        "members: the addresses of node {} cannot change: remove it, then add it under a new id",
                        member.node_id
                    ));
                }
                None => {
                    let peer = match self.identify(member).await {
                        Ok(peer) => peer,
                        Err(why) => return AdminOutcome::Invalid(why),
                    };
                    if let Err(error) = self.raft.add_learner(member.node_id, peer, true).await {
                        return admin_error(error);
                    }
                }
            }
        }
        let voters: BTreeSet<u64> = members.iter().filter(|member| member.voter).map(|member| member.node_id).collect();
        let listed: BTreeSet<u64> = members.iter().map(|member| member.node_id).collect();
        // Those that no longer vote stay as learners until the next step.
        if self.voters().into_iter().collect::<BTreeSet<_>>() != voters
            && let Err(error) = self.raft.change_membership(voters, true).await
        {
            return admin_error(error);
        }
        let leaving: BTreeSet<u64> = self.members().into_keys().filter(|id| !listed.contains(id)).collect();
        if leaving.is_empty() {
            return AdminOutcome::Done;
        }
        match self.raft.change_membership(Change::RemoveNodes(leaving), false).await {
            Ok(_) => AdminOutcome::Done,
            Err(error) => admin_error(error),
        }
    }

    /// Until `to` leads, or somebody else does.
    pub(crate) async fn transfer_leader_here(&self, to: u64) -> AdminOutcome {
        if !self.voters().contains(&to) {
            return AdminOutcome::Invalid(format!("to: node {to} is no voter"));
        }
        let me = self.links.me();
        loop {
            match self.leader() {
                Some(leader) if leader == to => return AdminOutcome::Done,
                Some(leader) if leader != me => return AdminOutcome::NotLeader,
                Some(_) => {
                    if let Err(fatal) = self.raft.trigger().transfer_leader(to).await {
                        return AdminOutcome::Unknown(fatal.to_string());
                    }
                }
                None => {}
            }
            let again = Instant::now() + TRANSFER_RETRY;
            while self.leader().is_none_or(|leader| leader == me) && Instant::now() < again {
                sleep(RETRY_PAUSE).await;
            }
        }
    }
}

fn admin_error(error: RaftError<TypeConfig, ClientWriteError<TypeConfig>>) -> AdminOutcome {
    match error {
        RaftError::APIError(ClientWriteError::ForwardToLeader(_)) => AdminOutcome::NotLeader,
        RaftError::APIError(ClientWriteError::ChangeMembershipError(error)) => AdminOutcome::Invalid(error.to_string()),
        RaftError::APIError(
            error @ (ClientWriteError::LogEntryDiscarded(_) | ClientWriteError::PreconditionFailed(_)),
        ) => AdminOutcome::Unknown(error.to_string()),
        RaftError::Fatal(fatal) => AdminOutcome::Unknown(fatal.to_string()),
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
