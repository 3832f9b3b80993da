//! What a leader does about the members without being asked: it finishes a change of the voters that was left half
//! done, and says which voter it has never heard.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use openraft::{ServerState, async_runtime::WatchReceiver};
use tokio::time::{Instant, timeout};

use super::Inner;

/// Pause between two looks.
const LOOK_PAUSE: Duration = Duration::from_millis(500);
/// A voter that has not answered a new leader within this is named in the log.
const UNHEARD_AFTER: Duration = Duration::from_secs(10);

/// The term that this node leads, and what it has said in it.
struct Watch {
    term: u64,
    since: Instant,
    named: BTreeSet<u64>,
}

impl Inner {
    /// Tends the members whenever this node leads, until it stops.
    pub(crate) async fn tend_members(self: Arc<Self>) {
        let mut metrics = self.raft.server_metrics();
        let mut watch: Option<Watch> = None;
        loop {
            let (term, half_done) = {
                let now = metrics.borrow_and_update();
                let leads = now.state == ServerState::Leader;
                // Committed, so that nothing else is in progress.
                let settled = now.committed_membership_config == now.membership_config;
                let joint = now.membership_config.membership().get_joint_config().len() > 1;
                let members = (leads && settled && joint).then(|| Arc::clone(&now.membership_config));
                (leads.then_some(now.vote.leader_id.term), members)
            };
            match term {
                Some(term) if watch.as_ref().is_some_and(|watch| watch.term == term) => {}
                Some(term) => watch = Some(Watch { term, since: Instant::now(), named: BTreeSet::new() }),
                None => watch = None,
            }
            if let Some(members) = half_done
                && let Ok(_turn) = self.changing.try_lock()
            {
                if let Err(outcome) = self.finish_joint(&members).await {
                    tracing::info!(?outcome, "a change of the voters is still half done");
                } else if !members
                    .membership()
                    .get_joint_config()
                    .last()
                    .is_some_and(|set| set.contains(&self.links.me()))
                {
                    self.hand_over().await;
                }
            }
            self.name_unheard(watch.as_mut());
            let changed = metrics.changed();
            let ended =
                if watch.is_some() { timeout(LOOK_PAUSE, changed).await.unwrap_or(Ok(())) } else { changed.await };
            if ended.is_err() {
                return;
            }
        }
    }

    /// Counts the voters that have not answered since this node began to lead, and names each once.
    fn name_unheard(&self, watch: Option<&mut Watch>) {
        let Some(watch) = watch.filter(|watch| watch.since.elapsed() >= UNHEARD_AFTER) else {
            return self.counters.voters_unheard.set(0);
        };
        let me = self.links.me();
        let unheard: Vec<u64> =
            self.voters().into_iter().filter(|id| *id != me && self.matched(*id).is_none()).collect();
        for id in &unheard {
            if watch.named.insert(*id) {
                let addr = self.peer(*id).map(|peer| peer.peer_addr).unwrap_or_default();
                tracing::warn!(
                    node = id,
                    addr,
                    "voter {id} has confirmed nothing since this node began to lead: see that it runs and is reached, or, \
                     where its address is wrong or its machine lost, replace it under a new id (ledgerctl members \
                     --change FILE)"
                );
            }
        }
        self.counters.voters_unheard.set(unheard.len());
    }
}
