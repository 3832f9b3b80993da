//! Comparing states with peers. A leader's appends carry the chain of what it applied last; who has another chain at
//! that index asks all voters for theirs, and tells them its own, so that both sides learn of the difference. Digests of
//! the whole state are compared at checkpoints.
//!
//! Invariants: a node stops only where a majority holds one other state, and not before that is durable; while a
//! difference is known and nobody has decided it, the node does not serve. An index that is not applied here, or whose
//! chain is no longer kept, is no difference.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use quorate_ledger::Digest;
use tokio::time::{Instant, sleep};

use super::{
    Inner, StopReason,
    divergence::{self, Alarm},
    verdict::{Claim, Digests, Known, Ruling, Trust, Verdict},
};
use crate::raft::{
    links::Target,
    wire::{Compare, Compared, paths},
};

/// How often what is not confirmed or not decided is compared again.
const COMPARE_PERIOD: Duration = Duration::from_millis(500);
/// How long a peer may take to answer.
const COMPARE_DEADLINE: Duration = Duration::from_secs(1);
/// Likewise, where somebody differs: this node serves meanwhile.
const ALARM_DEADLINE: Duration = Duration::from_millis(300);
/// How long a node that is asked waits until it has applied the index.
const APPLY_PATIENCE: Duration = Duration::from_millis(200);

impl Inner {
    /// Takes in what the leader `from` claims of its state.
    pub(crate) fn heard_claim(&self, from: u64, claim: Option<Claim>) {
        let Some((claim, latest)) = claim.zip(self.applied.latest()) else { return };
        let pause = Duration::from_millis(self.config.heartbeat_ms / 2);
        let Some((from, claim)) = self.divergence.claimed(from, claim, latest.index, pause) else { return };
        if self.applied.chain_at(claim.index).is_some_and(|mine| mine != claim.digests.chain) {
            self.found_difference(Alarm { from, claim, gave_up: false });
        }
    }

    /// What this node has at the index that `from` asks for, and whether its state is given up here.
    pub(crate) async fn compared(&self, from: u64, asked: Compare) -> Compared {
        let Compare { claim, given_up } = asked;
        self.applied.wait(claim.index, Instant::now() + APPLY_PATIENCE).await;
        let digests = self.digests_at(claim.index).await;
        if digests.is_some_and(|mine| mine.differ(&claim.digests)) {
            self.found_difference(Alarm { from, claim, gave_up: given_up });
        }
        Compared { digests, given_up: self.divergence.has_given_up(from) }
    }

    fn found_difference(&self, alarm: Alarm) {
        self.counters.state_differences.add(1);
        self.divergence.raise(alarm);
    }

    /// This node's digests at `index`, as far as they are known.
    async fn digests_at(&self, index: u64) -> Option<Digests> {
        let recorded = self.divergence.ruling().difference.map(|difference| difference.mine);
        let recorded = recorded.filter(|mine| mine.index == index).map(|mine| mine.digests);
        let Some(chain) = self.chain_at(index).await else { return recorded };
        let checkpoint = self.applied.checkpoints().into_iter().find(|checkpoint| checkpoint.index == index);
        let state = checkpoint.map(|checkpoint| checkpoint.state);
        let state = state.or_else(|| recorded.filter(|recorded| recorded.chain == chain)?.state);
        Some(Digests { chain, state })
    }

    /// From memory, or from the kept history.
    async fn chain_at(&self, index: u64) -> Option<Digest> {
        if let Some(chain) = self.applied.chain_at(index) {
            return Some(chain);
        }
        if index > self.applied.index() {
            return None;
        }
        let (stored, _) = self.stored_frames(index, 1).await.ok()?;
        stored.first().filter(|frame| frame.index == index).map(|frame| frame.chain)
    }

    /// Compares, until the node stops.
    pub(crate) async fn compare_states(self: Arc<Self>) {
        let pause = Duration::from_millis(self.config.heartbeat_ms).min(COMPARE_PERIOD);
        let mut comparer = Comparer { node: self, confirmed: 0, reported: BTreeSet::new() };
        loop {
            let alarm = comparer.node.divergence.alarmed(COMPARE_PERIOD).await;
            comparer.round(alarm).await;
            sleep(pause).await;
        }
    }
}

/// The only one that changes the ruling.
struct Comparer {
    node: Arc<Inner>,
    /// The last checkpoint that a majority confirmed.
    confirmed: u64,
    /// Nodes whose difference from a majority was reported.
    reported: BTreeSet<u64>,
}

impl Comparer {
    async fn round(&mut self, alarm: Option<Alarm>) {
        if let Some(alarm) = alarm {
            let (index, theirs) = (alarm.claim.index, alarm.claim.digests);
            if let Some(mine) = self.node.digests_at(index).await.filter(|mine| mine.differ(&theirs)) {
                let state = mine.state.filter(|_| mine.chain == theirs.chain);
                self.compare_at(Claim { index, digests: Digests { state, ..mine } }, Some(alarm)).await;
            }
        }
        if let Some(first) = self.undecided() {
            let latest = self.node.applied.latest().filter(|latest| latest.index > first.index);
            if let Some(latest) = latest.filter(|_| first.digests.state.is_none()) {
                self.compare_at(latest, None).await;
            }
        }
        if let Some(first) = self.undecided() {
            let mine = self.node.digests_at(first.index).await.unwrap_or(first.digests);
            let state = mine.state.filter(|_| first.digests.state.is_some());
            self.compare_at(Claim { digests: Digests { state, ..mine }, ..first }, None).await;
        }
        let ruling = self.node.divergence.ruling();
        if ruling.trust == Trust::Whole && !ruling.given_up.is_empty() {
            let is_member = |id: &u64| self.node.peer(*id).is_some();
            if self.node.group().is_some() && !ruling.given_up.iter().any(is_member) {
                // Those whose states were given up were replaced.
                rule(&self.node, Ruling::default()).await;
            }
        }
        let checkpoint = self.node.applied.checkpoints().pop().filter(|last| last.index > self.confirmed);
        if let Some(last) = checkpoint {
            let digests = Digests { chain: last.chain, state: Some(last.state) };
            if self.compare_at(Claim { index: last.index, digests }, None).await == Verdict::Confirmed {
                self.confirmed = last.index;
                self.node.counters.checkpoints_confirmed.add(1);
            }
        }
    }

    /// What this node had where the difference that is not decided was found.
    fn undecided(&self) -> Option<Claim> {
        let ruling = self.node.divergence.ruling();
        let difference = ruling.difference.filter(|_| ruling.trust == Trust::Undecided);
        difference.map(|difference| difference.mine)
    }

    /// Asks all voters, judges, and acts on it. Whoever raised `alarm` counts also where it does not answer.
    async fn compare_at(&mut self, mine: Claim, alarm: Option<Alarm>) -> Verdict {
        let node = &self.node;
        if node.is_joint() {
            // Two sets of voters decide together: it is compared again when one of them is left.
            return Verdict::Open;
        }
        let voters = node.voters();
        let deadline = if alarm.is_some() { ALARM_DEADLINE } else { COMPARE_DEADLINE };
        let answers = ask(node, mine, &voters, deadline).await;
        let mut others: BTreeMap<u64, Digests> =
            answers.iter().filter_map(|(id, answer)| Some((*id, answer.digests?))).collect();
        if let Some(Alarm { from, claim, .. }) = alarm.filter(|alarm| voters.contains(&alarm.from)) {
            others.entry(from).or_insert(claim.digests);
        }
        let before = node.divergence.ruling();
        let gives_up = answers.iter().filter(|(_, answer)| answer.given_up).map(|(id, _)| *id);
        let gives_up: BTreeSet<u64> =
            gives_up.chain(alarm.filter(|alarm| alarm.gave_up).map(|alarm| alarm.from)).collect();
        let gives_up: BTreeSet<u64> = gives_up.into_iter().filter(|id| voters.contains(id)).collect();
        let contested = before.given_up.intersection(&gives_up).copied().collect();
        let known = Known {
            mine: mine.digests,
            votes: voters.contains(&node.links.me()),
            others: &others,
            voters: voters.len(),
            given_up: &before.given_up.difference(&contested).copied().collect(),
        };
        let verdict = known.judge();
        let after = before.after(verdict, mine.index, &known, &contested);
        if after != before {
            rule(node, after.clone()).await;
        }
        if after.trust == Trust::Undecided
            && let Some(heir) = gives_up.first()
            && node.leader() == Some(node.links.me())
        {
            // Its operator named that node's state as the right one, so that it serves; this one does not.
            tracing::info!(heir, "handing leadership to the node whose state an operator accepted");
            node.offer_leadership(*heir).await;
        }
        if verdict == Verdict::Confirmed {
            for (id, theirs) in known.differing(mine.index) {
                if self.reported.insert(id) {
                    tracing::warn!(
                        node = id,
                        "the state of node {id} differs from the majority's, which this node has: at index {} it has {}, \
                         and the majority {}; replace it under a new node id, and keep its data directory for analysis",
                        mine.index,
                        theirs.digests,
                        mine.digests
                    );
                }
            }
        }
        verdict
    }
}

async fn ask(node: &Inner, mine: Claim, voters: &[u64], deadline: Duration) -> BTreeMap<u64, Compared> {
    let calls = voters.iter().filter(|id| **id != node.links.me()).map(|&id| async move {
        let peer = node.peer(id)?;
        let question = Compare { claim: mine, given_up: node.divergence.has_given_up(id) };
        let call = node.links.call(Target::member(id, &peer), paths::COMPARE, &question, deadline);
        Some((id, call.await.ok()?))
    });
    futures_util::future::join_all(calls).await.into_iter().flatten().collect()
}

/// Makes `ruling` durable and acts on it. Serving ends before that, and begins again only after.
async fn rule(node: &Inner, ruling: Ruling) {
    let suspends = ruling.suspends();
    if let Some(why) = &suspends {
        node.suspend(Some(why.clone()));
    }
    if let Err(error) = divergence::save(&node.storage, &ruling).await {
        // The store has failed, and the node stops for that.
        tracing::error!(%error, "the verdict on this node's state cannot be kept");
        return;
    }
    let was_undecided = node.divergence.is_undecided();
    let (trust, index) = (ruling.trust, ruling.difference.as_ref().map_or(0, |found| found.mine.index));
    node.divergence.set(ruling);
    match (trust, suspends) {
        (Trust::Diverged, why) => node.stop(StopReason::Diverged { index, why: why.unwrap_or_default() }),
        (Trust::Undecided, why) => tracing::error!("not serving: {}", why.unwrap_or_default()),
        (Trust::Whole, _) => {
            node.suspend(None);
            if was_undecided {
                tracing::warn!("the difference of states is settled, for this node's own: serving");
            }
        }
    }
}
