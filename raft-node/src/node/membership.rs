//! Changes of the members, as the leader carries them through.
//!
//! Invariants: one change at a time; it was made from the members that are there; nobody becomes a voter who does not
//! answer and is not level at that moment; before anything is written, and again before the voters change, a majority
//! of the new voters answers and is level. What is refused leaves the members as they were.
//!
//! A change of the voters takes two entries. Between them both sets must agree to everything. A leader that is lost
//! there leaves that to the next one ([`Inner::tend_members`]), or to the next call.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::future::join_all;
use openraft::{
    ChangeMembers as Change, Precondition, ServerState,
    async_runtime::WatchReceiver,
    errors::{ChangeMembershipError, ClientWriteError, RaftError},
};
use quorate_api::{ChangeMembers, Member};
use tokio::{
    sync::oneshot,
    time::{Instant, sleep, timeout_at},
};

use super::{
    Inner,
    standing::{ANSWER_WITHIN, Lacking},
};
use crate::raft::{
    types::{Peer, StoredMembership, TypeConfig},
    wire::AdminOutcome,
};

/// What is said while another change is under way.
pub(crate) const BUSY: &str =
    "a change of the members, or of the leader, is under way: look at /v1/cluster when it is done, then decide anew";
/// A new voter that neither answers nor comes to hold more of the log for so long, while it catches up, is given up.
const SILENCE_MAX: Duration = Duration::from_secs(5);
/// A new voter that has not come to hold more of the log for so long is given up. A snapshot takes some of that.
const STALL_MAX: Duration = Duration::from_secs(120);
/// Pause between two rounds of questions.
const ROUND_PAUSE: Duration = Duration::from_millis(100);
/// Pause between two looks at this node's own state.
const LOOK_PAUSE: Duration = Duration::from_millis(20);

type Members = Arc<StoredMembership>;

/// What a change comes to, from the members that there are.
struct Plan {
    /// The voters from now on.
    voters: BTreeSet<u64>,
    /// Those of them that do not vote yet.
    promoted: BTreeSet<u64>,
    /// Where all of the voters are reached.
    peers: BTreeMap<u64, Peer>,
    /// Those that are no members yet, and are to be asked.
    joining: BTreeSet<u64>,
    /// The same, as they will be once they have been asked.
    added: BTreeMap<u64, Peer>,
    /// Those that are members no more.
    leaving: BTreeSet<u64>,
}

impl Inner {
    /// As the leader. The change goes on whatever becomes of the caller, who waits until `deadline`.
    pub(crate) async fn change_members_here(
        self: &Arc<Self>,
        change: ChangeMembers,
        deadline: Instant,
    ) -> AdminOutcome {
        let Ok(turn) = Arc::clone(&self.changing).try_lock_owned() else {
            return AdminOutcome::Conflict(BUSY.to_owned());
        };
        let (done, outcome) = oneshot::channel();
        let node = Arc::clone(self);
        self.scope.spawn(async move {
            let begun = AtomicBool::new(false);
            let outcome = tokio::select! {
                biased;
                done = node.carry_through(&change, &begun) => done.err().unwrap_or(AdminOutcome::Done),
                () = node.deposed() => lost(&begun),
                _ = node.stop.wait() => lost(&begun),
            };
            match &outcome {
                AdminOutcome::Done => tracing::info!(members = ?change.members, "these are the members"),
                AdminOutcome::NotLeader => tracing::info!("the members were not changed: this node no longer leads"),
                AdminOutcome::Invalid(why) | AdminOutcome::Conflict(why) | AdminOutcome::Unknown(why) => {
                    tracing::warn!(wanted = %listed(&change), "the members were not changed as asked: {why}");
                }
            }
            let leaves = !change.members.iter().any(|member| member.voter && member.node_id == node.links.me());
            let resign = leaves && matches!(outcome, AdminOutcome::Done);
            // Nobody may wait any more.
            drop(done.send(outcome));
            if resign {
                node.hand_over().await;
            }
            drop(turn);
        });
        match timeout_at(deadline, outcome).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => AdminOutcome::Unknown("this node is stopping".to_owned()),
            Err(_) => AdminOutcome::Unknown(
                "the change was not done within the deadline; the leader goes on with it: look at /v1/cluster"
                    .to_owned(),
            ),
        }
    }

    /// Resolves once this node does not lead the term that it leads now.
    async fn deposed(&self) {
        let mut metrics = self.raft.server_metrics();
        let term = metrics.borrow_watched().vote.leader_id.term;
        loop {
            let leads = {
                let now = metrics.borrow_and_update();
                now.state == ServerState::Leader && now.vote.leader_id.term == term
            };
            if !leads || metrics.changed().await.is_err() {
                return;
            }
        }
    }

    async fn carry_through(&self, change: &ChangeMembers, begun: &AtomicBool) -> Result<(), AdminOutcome> {
        let mut present = self.settled_members().await?;
        let sets = present.membership().get_joint_config();
        // What was left half done is finished first. A change to the same voters may be that one, sent again.
        let resumes = sets.len() > 1 && sets.last() == Some(&voters_of(change));
        if sets.len() > 1 {
            present = self.finish_joint(&present).await?;
        }
        if is_so(&present, change) {
            return Ok(());
        }
        let index = present.log_id().map_or(0, |log_id| log_id.index);
        if !resumes && index != change.membership_index {
            return Err(AdminOutcome::Conflict(format!(
                "membership_index: the members were set at index {index}, and this change was made from those of index \
                 {}: read /v1/cluster, and decide anew",
                change.membership_index
            )));
        }
        let mut plan = plan(&present, change)?;
        self.ask_new_members(change, &mut plan).await?;
        self.check_quorums(&present, &plan).await?;

        begun.store(true, Ordering::SeqCst);
        let mut written = false;
        let half_way = |outcome, written| match outcome {
            AdminOutcome::NotLeader if written => lost(begun),
            outcome => outcome,
        };
        if !plan.added.is_empty() {
            let added = self.write_members(&present, Change::AddNodes(plan.added.clone())).await;
            present = added.map_err(|outcome| half_way(outcome, written))?;
            written = true;
        }
        if plan.voters != present.membership().voter_ids().collect() {
            if let Err(why) = self.catch_up(&plan).await {
                self.counters.members_refused.add(1);
                if !plan.added.is_empty() {
                    let added = plan.added.keys().copied().collect();
                    let removed = self.write_members(&present, Change::RemoveNodes(added)).await;
                    removed.map_err(|outcome| half_way(outcome, written))?;
                }
                return Err(AdminOutcome::Conflict(format!(
                    "{why}: see that it runs, is reached and has a working disk, then send the change again; the members \
                     are as they were"
                )));
            }
            // Those that no longer vote stay as learners until the next step, and so hear of it.
            let replaced = self.write_members(&present, Change::ReplaceAllVoters(plan.voters.clone())).await;
            present = replaced.map_err(|outcome| half_way(outcome, true))?;
            written = true;
        }
        if !plan.leaving.is_empty() {
            let removed = self.write_members(&present, Change::RemoveNodes(plan.leaving)).await;
            removed.map_err(|outcome| half_way(outcome, written))?;
        }
        Ok(())
    }

    /// The members, once the entry that set them is committed.
    async fn settled_members(&self) -> Result<Members, AdminOutcome> {
        let until = Instant::now() + ANSWER_WITHIN;
        loop {
            let look = self.raft.with_raft_state(|state| {
                let members = &state.membership_state;
                (members.effective().log_id() == members.committed().log_id()).then(|| Arc::clone(members.effective()))
            });
            match look.await {
                Ok(Some(members)) => return Ok(members),
                Ok(None) if Instant::now() < until => sleep(LOOK_PAUSE).await,
                Ok(None) => {
                    let why = "the last change of the members is not committed yet, for no majority answers: see that \
                               enough voters run, then try again";
                    return Err(AdminOutcome::Conflict(why.to_owned()));
                }
                Err(_) => return Err(AdminOutcome::NotLeader),
            }
        }
    }

    /// Ends the state in which two sets of voters decide: the new one is left. Voters of the old one stay as learners.
    pub(crate) async fn finish_joint(&self, joint: &Members) -> Result<Members, AdminOutcome> {
        let finished = self.write_members(joint, Change::AddVoterIds(BTreeSet::new())).await;
        let finished = finished.map_err(|outcome| match outcome {
            // Whoever leads now finishes it as well.
            AdminOutcome::Unknown(_) => AdminOutcome::NotLeader,
            outcome => outcome,
        })?;
        let voters: Vec<u64> = finished.membership().voter_ids().collect();
        tracing::info!(?voters, "finished a change of the voters that had been left half done");
        Ok(finished)
    }

    /// Makes `change`, if the members are still `present`; gives the new ones once they are committed.
    async fn write_members(&self, present: &Members, change: Change<u64, Peer>) -> Result<Members, AdminOutcome> {
        let unchanged = Precondition::LastMembershipLogId { last_membership_log_id: *present.log_id() };
        self.raft.change_membership_if(change, true, [unchanged]).await.map_err(admin_error)?;
        self.settled_members().await.map_err(|outcome| match outcome {
            AdminOutcome::Conflict(why) => AdminOutcome::Unknown(why),
            outcome => outcome,
        })
    }

    /// What a new member is entered as, once it has been asked; or why it is not let in, in words.
    ///
    /// Every check of a node that is to join belongs here: nothing has been written yet.
    async fn ask_new_member(&self, member: &Member) -> Result<Peer, String> {
        let not_added = |what: String| format!("node {} is not added: it {what}", member.node_id);
        let peer = self.identify(member).await.map_err(not_added)?;
        match self.standing_of(member.node_id, &peer).await {
            Ok(_) => Ok(peer),
            Err(lacking) => Err(not_added(format!("{lacking}: see that it runs and is reached"))),
        }
    }

    async fn ask_new_members(&self, change: &ChangeMembers, plan: &mut Plan) -> Result<(), AdminOutcome> {
        let new = change.members.iter().filter(|member| plan.joining.contains(&member.node_id));
        let asked = join_all(new.map(|member| async { (member.node_id, self.ask_new_member(member).await) })).await;
        for (id, answer) in asked {
            let peer = answer.map_err(|why| {
                self.counters.members_refused.add(1);
                AdminOutcome::Conflict(format!("{why}; nothing was changed"))
            })?;
            if plan.voters.contains(&id) {
                plan.peers.insert(id, peer.clone());
            }
            plan.added.insert(id, peer);
        }
        Ok(())
    }

    /// Before anything is written: whether a majority of the present voters is level, and of the new ones would be, and
    /// whether every learner that is to vote answers. New members have answered a moment ago.
    async fn check_quorums(&self, present: &Members, plan: &Plan) -> Result<(), AdminOutcome> {
        let membership = present.membership();
        let voters: BTreeSet<u64> = membership.voter_ids().collect();
        if voters == plan.voters && plan.added.is_empty() {
            return Ok(());
        }
        let mut asked: BTreeMap<u64, Peer> = plan.peers.clone();
        asked.extend(membership.nodes().filter(|(id, _)| voters.contains(id)).map(|(id, peer)| (*id, peer.clone())));
        asked.retain(|id, _| !plan.added.contains_key(id));
        let lacking = self.lacking(&asked).await;
        let level = |id: &u64| plan.added.contains_key(id) || !lacking.contains_key(id);
        // A present voter that does not serve, because its state is in doubt, still commits entries: it is not to hold up
        // its own replacement.
        let commits = |id: &u64| level(id) || matches!(lacking.get(id), Some(Lacking::Service(_)));
        let present = voters.iter().filter(|id| commits(id)).count();
        let new = plan.voters.iter().filter(|id| level(id)).count();
        for (count, set, name) in [(present, &voters, "present"), (new, &plan.voters, "new")] {
            if 2 * count <= set.len() {
                return Err(AdminOutcome::Conflict(format!(
                    "no majority of the {name} voters answers and is level now: {}: see that they run and are reached; nothing was \
                     changed",
                    in_words(&lacking)
                )));
            }
        }
        let silent =
            lacking.iter().find(|(id, lacks)| plan.promoted.contains(id) && !matches!(lacks, Lacking::Entries(_)));
        let Some((id, lacks)) = silent else { return Ok(()) };
        self.counters.members_refused.add(1);
        Err(AdminOutcome::Conflict(format!(
            "node {id} is not made a voter: it {lacks}: start it, or remove it from the members; nothing was changed"
        )))
    }

    /// Waits until all who are to vote from now on are level, and a majority of all the new voters is. Gives up, with
    /// the reason, where one of them has been silent for too long.
    async fn catch_up(&self, plan: &Plan) -> Result<(), String> {
        let mut progressed = Instant::now();
        let mut hopeful = progressed;
        let mut held = BTreeMap::new();
        loop {
            let lacking = self.lacking(&plan.peers).await;
            // Who takes large entries may be too busy to answer in time: that it comes to hold more shows that it is there.
            let holds: BTreeMap<u64, _> = plan.promoted.iter().map(|id| (*id, self.matched(*id))).collect();
            let advances = |id: &u64| holds.get(id) > held.get(id);
            let level = plan.voters.iter().filter(|id| !lacking.contains_key(id)).count();
            if 2 * level > plan.voters.len() && !plan.promoted.iter().any(|id| lacking.contains_key(id)) {
                return Ok(());
            }
            let may_be = |id: &u64| match lacking.get(id) {
                None => true,
                Some(Lacking::Entries(_)) => plan.promoted.contains(id),
                Some(Lacking::Answer { .. }) => advances(id),
                Some(Lacking::Service(_)) => false,
            };
            let hope = 2 * plan.voters.iter().filter(|id| may_be(id)).count() > plan.voters.len()
                && plan.promoted.iter().all(may_be);
            let now = Instant::now();
            if hope {
                hopeful = now;
            }
            if holds != held {
                progressed = now;
            }
            held = holds;
            if now - hopeful >= SILENCE_MAX || now - progressed >= STALL_MAX {
                return Err(format!("the voters are not changed: {}", in_words(&lacking)));
            }
            sleep(ROUND_PAUSE).await;
        }
    }

    /// Those of `peers` that are not level now, and what they lack.
    async fn lacking(&self, peers: &BTreeMap<u64, Peer>) -> BTreeMap<u64, Lacking> {
        let asked = peers.iter().map(|(id, peer)| async { Some((*id, self.level(*id, peer).await.err()?)) });
        join_all(asked).await.into_iter().flatten().collect()
    }
}

/// The members that a change asks for, in a few words.
fn listed(change: &ChangeMembers) -> String {
    let words = change.members.iter().map(|member| match member.voter {
        true => member.node_id.to_string(),
        false => format!("{} (learner)", member.node_id),
    });
    words.collect::<Vec<_>>().join(", ")
}

fn voters_of(change: &ChangeMembers) -> BTreeSet<u64> {
    change.members.iter().filter(|member| member.voter).map(|member| member.node_id).collect()
}

/// Whether `present` is what `change` asks for.
fn is_so(present: &Members, change: &ChangeMembers) -> bool {
    let membership = present.membership();
    let same = |member: &Member| membership.get_node(&member.node_id).is_some_and(|peer| peer.is_at(member));
    *membership.get_joint_config() == [voters_of(change)]
        && membership.nodes().count() == change.members.len()
        && change.members.iter().all(same)
}

/// What `change` comes to; new members are still to be asked.
fn plan(present: &Members, change: &ChangeMembers) -> Result<Plan, AdminOutcome> {
    let membership = present.membership();
    let mut plan = Plan {
        voters: voters_of(change),
        promoted: BTreeSet::new(),
        peers: BTreeMap::new(),
        joining: BTreeSet::new(),
        added: BTreeMap::new(),
        leaving: membership.nodes().map(|(id, _)| *id).collect(),
    };
    for member in &change.members {
        let id = member.node_id;
        plan.leaving.remove(&id);
        match membership.get_node(&id) {
            Some(peer) if peer.is_at(member) && member.voter => drop(plan.peers.insert(id, peer.clone())),
            Some(peer) if peer.is_at(member) => {}
            Some(_) => {
                return Err(AdminOutcome::Invalid(format!(
                    "members: the addresses of node {id} cannot change: remove it, then add it under a new id"
                )));
            }
            None => drop(plan.joining.insert(id)),
        }
    }
    let voters: BTreeSet<u64> = membership.voter_ids().collect();
    plan.promoted = plan.voters.difference(&voters).copied().collect();
    if 2 * plan.voters.intersection(&voters).count() < voters.len() {
        return Err(AdminOutcome::Conflict(format!(
            "members: at least half of the present voters {voters:?} must stay voters, and of them only {:?} would: \
             change the members in several steps",
            plan.voters.intersection(&voters).collect::<Vec<_>>()
        )));
    }
    Ok(plan)
}

fn in_words(lacking: &BTreeMap<u64, Lacking>) -> String {
    let each: Vec<String> = lacking.iter().map(|(id, lacks)| format!("node {id} {lacks}")).collect();
    each.join(", ")
}

/// Leadership was lost, or the node stops.
fn lost(begun: &AtomicBool) -> AdminOutcome {
    if !begun.load(Ordering::SeqCst) {
        return AdminOutcome::NotLeader;
    }
    AdminOutcome::Unknown(
        "leadership was lost in the middle of the change; the next leader finishes what was begun of it: look at \
         /v1/cluster"
            .to_owned(),
    )
}

fn admin_error(error: RaftError<TypeConfig, ClientWriteError<TypeConfig>>) -> AdminOutcome {
    match error {
        RaftError::APIError(ClientWriteError::ForwardToLeader(_)) => AdminOutcome::NotLeader,
        RaftError::APIError(ClientWriteError::ChangeMembershipError(
            error @ (ChangeMembershipError::InProgress(_) | ChangeMembershipError::UncommittedLeaderLog(_)),
        )) => AdminOutcome::Conflict(format!("{error}: try again when that is done")),
        RaftError::APIError(ClientWriteError::ChangeMembershipError(error)) => AdminOutcome::Invalid(error.to_string()),
        RaftError::APIError(
            error @ (ClientWriteError::LogEntryDiscarded(_) | ClientWriteError::PreconditionFailed(_)),
        ) => AdminOutcome::Unknown(format!("{error}: look at /v1/cluster")),
        RaftError::Fatal(fatal) => AdminOutcome::Unknown(fatal.to_string()),
    }
}
