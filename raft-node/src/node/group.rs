//! How a group forms, the first time only.
//!
//! A node whose store is empty asks the others named. When a majority of the list (this node included) has
//! answered and none belongs to a group yet, it writes the list as the first entry of its log; every
//! node writes the same. Where one of them belongs to a group already, it waits to be contacted: a node
//! that lost its disk never founds a second group.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use openraft::errors::{InitializeError, RaftError};
use tokio::time::sleep;

use super::Inner;
use crate::raft::{
    types::Peer,
    wire::{Hello, paths},
};

/// Pause between two rounds of questions.
const ROUND_PAUSE: Duration = Duration::from_millis(100);
/// How long a peer may take to answer.
const HELLO_DEADLINE: Duration = Duration::from_millis(500);

impl Inner {
    /// Forms the group, unless there is one.
    pub(crate) async fn form_group(self: Arc<Self>) {
        let members: BTreeMap<u64, Peer> =
            self.config.initial_members.iter().map(|member| (member.node_id, Peer::from(member))).collect();
        if !members.contains_key(&self.links.me()) {
            return;
        }
        loop {
            match self.raft.is_initialized().await {
                Ok(false) => {}
                Ok(true) | Err(_) => return,
            }
            if self.may_found(&members).await {
                match self.raft.initialize(members.clone()).await {
                    Ok(()) => tracing::info!(?members, "founded the group"),
                    Err(RaftError::APIError(InitializeError::NotAllowed(_))) => {}
                    Err(error) => tracing::error!(%error, "cannot found the group"),
                }
            }
            sleep(ROUND_PAUSE).await;
        }
    }

    async fn may_found(&self, members: &BTreeMap<u64, Peer>) -> bool {
        let me = self.links.me();
        let questions = members.iter().filter(|(id, _)| **id != me).map(|(id, peer)| async move {
            self.links.call::<_, Hello>(*id, &peer.peer_addr, paths::HELLO, &(), HELLO_DEADLINE).await.ok()
        });
        let answers: Vec<Hello> = futures_util::future::join_all(questions).await.into_iter().flatten().collect();
        answers.len() + 1 > members.len() / 2 && answers.iter().all(|answer| !answer.initialized)
    }
}
