//! Who this node is to others: which calls it takes, what its hello says, and whether it takes part at all.
//!
//! Invariant: a store that belongs to a group takes part only after its node was reached at its own member address. Where
//! another process answers there, one of the two runs on a copy, and a copy would vote with the original's identity.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::http::HeaderMap;
use openraft::async_runtime::WatchReceiver;
use quorate_api::{GroupId, Member, StoreId};
use quorate_planted::{Bug, planted};
use tokio::{sync::watch, time::sleep};

use super::{Inner, StopReason, counters::Counter, standing::ANSWER_WITHIN};
use crate::raft::{
    identity::{Caller, Identity, Refused},
    links::{LinkError, Target},
    types::Peer,
    wire::{Hello, paths},
};

/// Pause between two calls to this node's own member address.
const SELF_CHECK_PAUSE: Duration = Duration::from_millis(50);
/// How long this node may take to answer itself.
const SELF_CHECK_DEADLINE: Duration = Duration::from_millis(500);
/// Why a node has nothing to show.
const NO_GROUP: &str = "this node is a member of no group yet: add it with ledgerctl members --change FILE";
/// Callers of whom the last refusal is remembered, so that each is told once.
const CALLERS_MAX: usize = 64;

/// Why a peer's call is not taken.
pub(crate) enum NotAdmitted {
    /// It means somebody else, or comes from somebody else.
    Refused(String),
    /// This node does not take part yet.
    NotYet(String),
}

/// What a node knows of its own part in the group.
pub(crate) struct Part {
    /// Random for this start.
    pub(super) opening: u128,
    /// Whether this node takes part.
    taken: watch::Sender<bool>,
    /// Calls refused for who they came from, or whom they meant.
    pub(super) refused: Counter,
    /// Reasons why no group is founded that an operator has to deal with.
    pub(super) founding_held_up: Counter,
    /// What this node waits for while it is a member of no group, or does not take part.
    waiting: Mutex<Option<String>>,
    /// The last refusal of each caller.
    told: Mutex<BTreeMap<(u64, StoreId), Refused>>,
}

impl Part {
    /// `taken`: whether this node takes part from the beginning.
    pub(super) fn new(opening: u128, taken: bool) -> Self {
        Self {
            opening,
            taken: watch::Sender::new(taken),
            refused: Counter::default(),
            founding_held_up: Counter::default(),
            waiting: Mutex::default(),
            told: Mutex::default(),
        }
    }

    /// Whether this node takes part; else what it waits for.
    pub(super) fn is_taken(&self) -> Result<(), String> {
        if *self.taken.borrow() {
            return Ok(());
        }
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Err(waiting.unwrap_or_else(|| "this node has not reached itself at its member address yet".to_owned()))
    }

    /// Takes note of what this node waits for.
    pub(super) fn waits_for(&self, what: String) {
        *self.waiting.lock().unwrap_or_else(PoisonError::into_inner) = Some(what);
    }

    /// Says once for each caller why its calls are refused.
    fn tell(&self, caller: &Caller, refused: &Refused) {
        self.refused.add(1);
        let (from, key) = (caller.id, (caller.id, caller.store));
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.get(&key) == Some(refused) {
            return;
        }
        if told.len() >= CALLERS_MAX {
            told.clear();
        }
        tracing::warn!(from, "a peer's call is refused: {refused}");
        told.insert(key, refused.clone());
    }
}

impl Inner {
    /// The group of which this node's log makes it a member; none while its store is empty.
    pub(crate) fn group(&self) -> Option<GroupId> {
        let metrics = self.raft.server_metrics();
        let now = metrics.borrow_watched();
        now.membership_config.membership().nodes().next().map(|(_, peer)| peer.group_id)
    }

    /// Whether this node is a member of a group. One that is not has nothing to show; the text says what it waits for.
    pub(crate) fn belongs(&self) -> Result<(), String> {
        if self.group().is_some() {
            return Ok(());
        }
        let waiting = self.part.waiting.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Err(waiting.unwrap_or_else(|| NO_GROUP.to_owned()))
    }

    /// The store that the group knows under `id`.
    fn known_store(&self, id: u64) -> Option<StoreId> {
        let metrics = self.raft.server_metrics();
        let now = metrics.borrow_watched();
        now.membership_config.membership().get_node(&id).map(|peer| peer.store_id)
    }

    fn identity(&self) -> Identity<'_> {
        let (cluster_id, me) = (self.config.cluster_id.as_str(), self.links.me());
        Identity { cluster_id, me, store: self.links.store(), group: self.group() }
    }

    /// Who makes a call with these headers, if the call is taken. A hello is taken from anybody in the cluster.
    pub(crate) fn admit_caller(&self, headers: &HeaderMap, is_hello: bool) -> Result<Caller, NotAdmitted> {
        let identity = self.identity();
        let caller = identity.caller(headers).map_err(|refused| {
            // Anybody may call: what names no peer of this cluster is counted, and not told.
            self.part.refused.add(1);
            NotAdmitted::Refused(refused.to_string())
        })?;
        let known = self.known_store(caller.id);
        if is_hello {
            // It is answered, so that the caller hears what is wrong; and it is said here too.
            if let Err(refused) = identity.knows(&caller, known) {
                self.part.tell(&caller, &refused);
            }
            return Ok(caller);
        }
        if let Err(refused) = identity.takes(&caller, known) {
            self.part.tell(&caller, &refused);
            return Err(NotAdmitted::Refused(refused.to_string()));
        }
        self.part.is_taken().map_err(NotAdmitted::NotYet)?;
        Ok(caller)
    }

    /// What this node says of itself to `caller`.
    pub(crate) fn hello(&self, caller: &Caller) -> Hello {
        Hello {
            group: self.group(),
            store: self.links.store(),
            opening: self.part.opening,
            initial_members: self.config.initial_members.clone(),
            knows_you_as: self.known_store(caller.id),
        }
    }

    fn take_part(&self) {
        self.part.taken.send_replace(true);
        self.raft.runtime_config().elect(true);
    }

    /// A node that is to become a member, as every membership will name it.
    ///
    /// # Errors
    /// Why it cannot be one: the end of a sentence that begins with its name, with the cure.
    pub(crate) async fn identify(&self, member: &Member) -> Result<Peer, String> {
        let (id, addr) = (member.node_id, &member.peer_addr);
        let Some(ours) = self.group() else { return Err("is asked by a node that belongs to no group".to_owned()) };
        let hello = self.ask_hello(id, addr, ANSWER_WITHIN).await;
        let hello = hello
            .map_err(|error| format!("does not answer at {addr} ({error}): start it, or correct its peer_addr"))?;
        match hello.group.filter(|theirs| *theirs != ours && !planted(Bug::GroupIdUnchecked)) {
            None => Ok(Peer::new(member, ours, hello.store)),
            Some(theirs) => Err(format!(
                "is a member of another group, {theirs}: start a node with an empty data directory at {addr} instead"
            )),
        }
    }

    /// Calls this node at its own member address until this very process answers; only then does it take part.
    pub(crate) async fn check_own_address(self: Arc<Self>, peer: Peer) {
        let me = self.links.me();
        let mut told = None;
        while !*self.part.taken.borrow() {
            let call = self.links.call::<_, Hello>(Target::member(me, &peer), paths::HELLO, &(), SELF_CHECK_DEADLINE);
            let addr = &peer.peer_addr;
            let problem = match call.await {
                Ok(hello) if hello.opening == self.part.opening => {
                    return self.take_part();
                }
                Ok(_) => {
                    return self.stop(StopReason::Copied { addr: addr.clone() });
                }
                Err(LinkError::Refused(_, why)) => format!("another node answers there: {why}"),
                Err(error @ (LinkError::NotReached(_) | LinkError::Broken(_) | LinkError::Timeout(_))) => {
                    error.to_string()
                }
            };
            if told.as_ref() != Some(&problem) {
                let why = format!(
                    "this node does not take part, because it does not reach itself at its member address {addr}: \
                     {problem}. Start it where the group knows it; behind NAT, start it with --no-self-check"
                );
                tracing::warn!("{why}");
                self.part.waits_for(why);
                told = Some(problem);
            }
            sleep(SELF_CHECK_PAUSE).await;
        }
    }
}
