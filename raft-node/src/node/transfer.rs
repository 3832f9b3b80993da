//! Leadership is handed to one member, that answers and is level, and it is asked once.
//!
//! Only the heir hears of it: everybody else keeps to the present leader until the heir has been elected. Meanwhile the
//! leader writes nothing, so that the heir stays level. Where the heir does not take over in time, the leader goes on
//! as if nothing had been asked.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use openraft::{
    ServerState,
    async_runtime::WatchReceiver,
    raft::{TransferLeaderRequest, TransferLeaderResponse},
};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::{Inner, membership::BUSY};
use crate::raft::{
    links::{LinkError, Target},
    types::{LogId, TypeConfig},
    wire::{AdminOutcome, Standing, paths},
};

/// How long a shutdown tries to hand leadership over.
const HANDOVER_MAX: Duration = Duration::from_secs(2);
/// Pause between two looks whether who should lead is still there.
const GONE_PAUSE: Duration = Duration::from_millis(50);
/// The leader writes nothing for so long at most until the heir is level.
const LEVEL_WITHIN: Duration = Duration::from_millis(500);
/// Pause between two looks.
const LOOK_PAUSE: Duration = Duration::from_millis(5);
/// An heir takes over within this, and within two of the longest election timeouts, or not at all.
const TAKEOVER_MIN: Duration = Duration::from_secs(1);

/// How it ended that a member was to lead.
enum Handover {
    /// It leads.
    Done,
    /// It was not asked, or it refused: nothing has happened.
    Not(String),
    /// It was asked, and has not taken over.
    Silent(Duration),
    /// Another member leads.
    Other(u64),
}

/// While it lives, this node proposes nothing.
struct Held<'a>(&'a AtomicBool);

impl<'a> Held<'a> {
    fn new(flag: &'a AtomicBool) -> Self {
        flag.store(true, Ordering::SeqCst);
        Self(flag)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::SeqCst);
    }
}

impl Inner {
    /// As the leader, hands leadership to the voter `to`.
    pub(crate) async fn transfer_leader_here(self: &Arc<Self>, to: u64) -> AdminOutcome {
        if !self.voters().contains(&to) {
            return AdminOutcome::Invalid(format!("to: node {to} is no voter"));
        }
        if to == self.links.me() {
            return AdminOutcome::Done;
        }
        let Ok(_turn) = self.changing.try_lock() else { return AdminOutcome::Conflict(BUSY.to_owned()) };
        let me = self.links.me();
        let (failed, outcome) = match self.hand_over_to(to).await {
            Handover::Done => return AdminOutcome::Done,
            Handover::Not(why) => {
                let why = format!("node {to} is not made the leader: it {why}; node {me} leads on");
                (why.clone(), AdminOutcome::Conflict(why))
            }
            Handover::Other(leader) => {
                let why = format!("node {to} was asked to lead, and node {leader} leads");
                (why.clone(), AdminOutcome::Conflict(why))
            }
            Handover::Silent(after) => {
                let why = format!(
                    "node {to} was asked to lead once, and has not taken over within {} ms; until it does node {me} \
                     leads on",
                    after.as_millis()
                );
                (why.clone(), AdminOutcome::Unknown(why))
            }
        };
        self.counters.transfers_failed.add(1);
        tracing::warn!(
            to,
            "{failed}: see that it runs and is reached, and wait until it has caught up, before you ask again"
        );
        outcome
    }

    /// As the leader, asks the member `to` to lead, unless a change of the members or of the leader is under way.
    pub(super) async fn offer_leadership(&self, to: u64) {
        let Some(peer) = self.peer(to) else { return };
        // Before it takes the turn: one that lags holds up no change of the members.
        if self.level(to, &peer).await.is_err() {
            return;
        }
        let Ok(_turn) = self.changing.try_lock() else { return };
        if let Handover::Not(why) = self.hand_over_to(to).await {
            tracing::info!("node {to} {why}");
        }
    }

    /// Asks the member `to` once, if it is level, and waits until it leads.
    async fn hand_over_to(&self, to: u64) -> Handover {
        let Some(peer) = self.peer(to) else { return Handover::Not("is no member".to_owned()) };
        if let Err(lacking) = self.level(to, &peer).await {
            return Handover::Not(lacking.to_string());
        }
        let vote = {
            let metrics = self.raft.server_metrics();
            let now = metrics.borrow_watched();
            if now.state != ServerState::Leader {
                return Handover::Not("would not get it from this node, which no longer leads".to_owned());
            }
            now.vote
        };
        let _held = Held::new(&self.writes_held);
        let Some(end) = self.settle(to).await else {
            return Handover::Not("did not come to hold all of the log in time".to_owned());
        };
        let within = TAKEOVER_MIN.max(Duration::from_millis(2 * self.config.election_max_ms));
        let deadline = Instant::now() + within;
        let request = TransferLeaderRequest::<TypeConfig>::new(vote, to, Some(end));
        let asked: Result<TransferLeaderResponse<TypeConfig>, LinkError> =
            self.links.call(Target::member(to, &peer), paths::TRANSFER_LEADER, &request, within).await;
        match asked {
            Ok(Err(refused)) => return Handover::Not(format!("refuses ({refused})")),
            Err(error @ (LinkError::NotReached(_) | LinkError::Refused(..))) => {
                return Handover::Not(format!("does not take the call ({error})"));
            }
            Ok(Ok(())) | Err(LinkError::Broken(_) | LinkError::Timeout(_)) => {}
        }
        let me = self.links.me();
        let successor = async {
            loop {
                match self.leader() {
                    Some(leader) if leader != me => return leader,
                    _ => self.leader_changed(LOOK_PAUSE).await,
                }
            }
        };
        match timeout_at(deadline, successor).await {
            Ok(leader) if leader == to => Handover::Done,
            Ok(leader) => Handover::Other(leader),
            Err(_) => Handover::Silent(within),
        }
    }

    /// While this node writes nothing: waits until all that it has written is committed, and held by `to`. Gives the end
    /// of the log, or `None` where that takes too long.
    async fn settle(&self, to: u64) -> Option<LogId> {
        let settled = async {
            loop {
                let end = self.log_end().await.ok()??;
                if self.matched(to) >= Some(end) && self.applied.index() >= end.index {
                    return Some(end);
                }
                sleep(LOOK_PAUSE).await;
            }
        };
        timeout(LEVEL_WITHIN, settled).await.ok().flatten()
    }

    /// Lets another voter lead, where this node does: the one that holds most of the log, of those that are there.
    pub(crate) async fn hand_over(&self) {
        let handing_over = async {
            for heir in self.heirs() {
                let handed = tokio::select! {
                    biased;
                    handed = self.hand_over_to(heir) => handed,
                    () = self.gone(heir) => Handover::Not("is not there to lead".to_owned()),
                };
                match handed {
                    Handover::Done => return tracing::info!(leader = heir, "leadership handed over"),
                    Handover::Other(leader) => return tracing::info!(leader, "leadership was taken over"),
                    Handover::Not(why) => tracing::info!("node {heir} {why}"),
                    // It may still take over: nobody else is asked.
                    Handover::Silent(_) => break,
                }
            }
            tracing::warn!("leadership was not taken over: the others will elect");
        };
        let leads = self.raft.server_metrics().borrow_watched().state == ServerState::Leader;
        if leads && timeout(HANDOVER_MAX, handing_over).await.is_err() {
            tracing::warn!("leadership was not taken over in time: the others will elect");
        }
    }

    /// Where this node leads: the other voters, those that hold most of the log first.
    fn heirs(&self) -> Vec<u64> {
        let me = self.links.me();
        let metrics = self.raft.metrics();
        let now = metrics.borrow_watched();
        if now.state != ServerState::Leader {
            return Vec::new();
        }
        let membership = now.membership_config.membership();
        // While a change of the voters is half done, who stays comes before who leaves.
        let stays = |id: u64| membership.get_joint_config().last().is_some_and(|set| set.contains(&id));
        let voters: Vec<u64> = membership.voter_ids().collect();
        let others = now.replication.iter().flatten().filter(|(id, _)| **id != me && voters.contains(id));
        let mut heirs: Vec<_> =
            others.map(|(id, matched)| (stays(*id), matched.map(|log_id| log_id.index), *id)).collect();
        heirs.sort_unstable_by(|a, b| b.cmp(a));
        heirs.into_iter().map(|(.., id)| id).collect()
    }

    /// Resolves once a member certainly takes no calls: it has ended, or is about to.
    async fn gone(&self, id: u64) {
        let Some(peer) = self.peer(id) else { return };
        loop {
            let asked =
                self.links.call::<_, Standing>(Target::member(id, &peer), paths::STANDING, &(), HANDOVER_MAX).await;
            if matches!(asked, Err(LinkError::NotReached(_) | LinkError::Refused(..))) {
                return;
            }
            sleep(GONE_PAUSE).await;
        }
    }
}
