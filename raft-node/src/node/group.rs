//! How a group is founded, the first time only.
//!
//! A node whose store is empty asks the other members that it was started with. The one with the lowest id founds the
//! group, once every other one has answered that its store is empty too and that it was started with the same list: it
//! makes the group's id and writes the first entry, which names every member's store. All others wait, and say for what.
//! Where one of them belongs to a group already, this node waits to be contacted: a node that lost its disk never founds
//! a second group.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
    time::Duration,
};

use openraft::errors::{InitializeError, RaftError};
use quorate_api::{GroupId, Member, StoreId};
use tokio::time::{Instant, sleep};

use super::{Inner, names};
use crate::raft::{
    links::{LinkError, Target},
    types::Peer,
    wire::{Hello, paths},
};

/// Pause between two rounds of questions.
const ROUND_PAUSE: Duration = Duration::from_millis(100);
/// How long a peer may take to answer.
const HELLO_DEADLINE: Duration = Duration::from_millis(500);
/// Nodes that start together answer each other within this. Whoever is still missing after it is worth a warning.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the answers of the other listed members come to.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Founding {
    /// This node founds the group, with these stores.
    Now(BTreeMap<u64, StoreId>),
    /// Not now.
    Wait(Wait),
}

/// What an empty node waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Wait {
    /// Another store under this node's id is a member of the group: this one takes no part.
    Replaced { group: GroupId, node: u64, known: StoreId },
    /// Some were started with other lists.
    Lists { others: BTreeSet<u64> },
    /// The group is founded, and this store is in it: its first entries are on their way.
    FirstEntries { group: GroupId },
    /// There is a group, and this node is not in it yet.
    ToBeAdded { group: GroupId },
    /// Some have not answered.
    Answers { missing: BTreeSet<u64> },
    /// Another one founds.
    Founder { node: u64 },
}

impl Wait {
    /// Whether it ends without anybody doing anything.
    fn is_ordinary(&self) -> bool {
        match self {
            Self::Replaced { .. } | Self::Lists { .. } => false,
            Self::FirstEntries { .. } | Self::ToBeAdded { .. } | Self::Answers { .. } | Self::Founder { .. } => true,
        }
    }
}

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Replaced { group, node, known } => write!(
                f,
                "the group {group} knows node {node} by the store {known}, which is not this one: the data directory was \
                 removed or replaced, so this node neither votes nor counts. Give it its own directory back, or remove \
                 node {node} from the group and add a new node under an id that was never used"
            ),
            Self::Lists { others } => write!(
                f,
                "no group is founded, because node(s) {} were started with other --initial-members than this node: start \
                 all first members with the same list",
                joined(others)
            ),
            Self::FirstEntries { group } => write!(f, "the group {group} is founded: waiting for its first entries"),
            Self::ToBeAdded { group } => {
                write!(f, "waiting to be added to the group {group} (ledgerctl members --change)")
            }
            Self::Answers { missing } => write!(
                f,
                "no group is founded before every listed member has answered, and node(s) {} have not: start them, or \
                 correct --initial-members",
                joined(missing)
            ),
            Self::Founder { node } => write!(f, "waiting for node {node} to found the group"),
        }
    }
}

fn joined(ids: &BTreeSet<u64>) -> String {
    ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// `answers` are those of the other members listed; `None` where one gave none.
fn judge(me: u64, store: StoreId, listed: &[Member], answers: &BTreeMap<u64, Option<Hello>>) -> Founding {
    let heard = || answers.iter().filter_map(|(id, answer)| Some((*id, answer.as_ref()?)));
    // A group that names this node outweighs one that does not.
    if let Some((group, known)) = heard().find_map(|(_, hello)| hello.group.zip(hello.knows_you_as)) {
        return Founding::Wait(if known == store {
            Wait::FirstEntries { group }
        } else {
            Wait::Replaced { group, node: me, known }
        });
    }
    if let Some(group) = heard().find_map(|(_, hello)| hello.group) {
        return Founding::Wait(Wait::ToBeAdded { group });
    }
    let others: BTreeSet<u64> =
        heard().filter(|(_, hello)| !same_members(&hello.initial_members, listed)).map(|(id, _)| id).collect();
    if !others.is_empty() {
        return Founding::Wait(Wait::Lists { others });
    }
    let missing: BTreeSet<u64> = answers.iter().filter(|(_, answer)| answer.is_none()).map(|(id, _)| *id).collect();
    if !missing.is_empty() {
        return Founding::Wait(Wait::Answers { missing });
    }
    match listed.iter().map(|member| member.node_id).min() {
        Some(lowest) if lowest != me => Founding::Wait(Wait::Founder { node: lowest }),
        _ => Founding::Now(heard().map(|(id, hello)| (id, hello.store)).chain([(me, store)]).collect()),
    }
}

/// Whether two lists name the same members at the same addresses, in whatever order.
fn same_members(one: &[Member], other: &[Member]) -> bool {
    let sorted = |list: &[Member]| {
        let mut list = list.to_vec();
        list.sort_unstable_by_key(|member| member.node_id);
        list
    };
    sorted(one) == sorted(other)
}

impl Inner {
    /// Founds the group where that is this node's to do; until there is one, says what this node waits for.
    pub(crate) async fn form_group(self: Arc<Self>) {
        let listed = &self.config.initial_members;
        let (me, store) = (self.links.me(), self.links.store());
        if !listed.iter().any(|member| member.node_id == me) {
            return;
        }
        let (began, mut told) = (Instant::now(), None);
        loop {
            match self.raft.is_initialized().await {
                Ok(false) => {}
                Ok(true) | Err(_) => return,
            }
            match judge(me, store, listed, &self.ask_listed().await) {
                Founding::Now(stores) => self.found(&stores).await,
                Founding::Wait(wait) => {
                    let worrying = !wait.is_ordinary() || began.elapsed() >= PATIENCE;
                    let known = (wait, worrying);
                    if told.as_ref() != Some(&known) {
                        match worrying {
                            true => {
                                self.part.founding_held_up.add(1);
                                tracing::warn!("{}", known.0);
                            }
                            false => tracing::info!("{}", known.0),
                        }
                        self.part.waits_for(known.0.to_string());
                        told = Some(known);
                    }
                }
            }
            sleep(ROUND_PAUSE).await;
        }
    }

    async fn ask_listed(&self) -> BTreeMap<u64, Option<Hello>> {
        let others = self.config.initial_members.iter().filter(|member| member.node_id != self.links.me());
        let questions = others.map(|member| async move {
            let answer = self.ask_hello(member.node_id, &member.peer_addr, HELLO_DEADLINE).await;
            (member.node_id, answer.ok())
        });
        futures_util::future::join_all(questions).await.into_iter().collect()
    }

    /// What the node at `addr` says of itself.
    pub(crate) async fn ask_hello(&self, id: u64, addr: &str, within: Duration) -> Result<Hello, LinkError> {
        self.links.call(Target::stranger(id, addr), paths::HELLO, &(), within).await
    }

    async fn found(&self, stores: &BTreeMap<u64, StoreId>) {
        let group = GroupId::new(self.world.random_name(names::GROUP));
        let listed = &self.config.initial_members;
        let members: BTreeMap<u64, Peer> = listed
            .iter()
            .filter_map(|member| Some((member.node_id, Peer::new(member, group, *stores.get(&member.node_id)?))))
            .collect();
        match self.raft.initialize(members.clone()).await {
            Ok(()) => tracing::info!(%group, ?members, "founded the group"),
            Err(RaftError::APIError(InitializeError::NotAllowed(_))) => {}
            Err(error) => tracing::error!(%error, "cannot found the group"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GROUP: GroupId = GroupId::new(0xa);

    fn list(ids: &[u64]) -> Vec<Member> {
        let member = |id: &u64| Member {
            node_id: *id,
            peer_addr: format!("p{id}:1"),
            api_addr: format!("a{id}:1"),
            voter: true,
        };
        ids.iter().map(member).collect()
    }

    fn empty(id: u64, listed: &[u64]) -> (u64, Option<Hello>) {
        let store = StoreId::new(u128::from(id));
        let hello = Hello { group: None, store, opening: 1, initial_members: list(listed), knows_you_as: None };
        (id, Some(hello))
    }

    fn member(id: u64, knows_you_as: Option<u128>) -> (u64, Option<Hello>) {
        let (id, hello) = empty(id, &[1, 2, 3]);
        let hello =
            hello.map(|hello| Hello { group: Some(GROUP), knows_you_as: knows_you_as.map(StoreId::new), ..hello });
        (id, hello)
    }

    fn judged(me: u64, listed: &[u64], answers: impl IntoIterator<Item = (u64, Option<Hello>)>) -> Founding {
        judge(me, StoreId::new(u128::from(me)), &list(listed), &answers.into_iter().collect())
    }

    #[test]
    fn the_lowest_founds_once_all_others_answer_alike() {
        let stores = [(1, StoreId::new(1)), (2, StoreId::new(2)), (3, StoreId::new(3))].into();
        let answers = [empty(2, &[3, 2, 1]), empty(3, &[1, 2, 3])];
        assert_eq!(judged(1, &[1, 2, 3], answers), Founding::Now(stores));
        assert_eq!(judged(1, &[1], []), Founding::Now([(1, StoreId::new(1))].into()));
        let answers = [empty(1, &[1, 2, 3]), empty(3, &[1, 2, 3])];
        assert_eq!(judged(2, &[1, 2, 3], answers), Founding::Wait(Wait::Founder { node: 1 }));
    }

    #[test]
    fn nobody_founds_while_a_member_is_away_or_was_told_another_list() {
        let away = [empty(2, &[1, 2, 3]), (3, None)];
        assert_eq!(judged(1, &[1, 2, 3], away), Founding::Wait(Wait::Answers { missing: [3].into() }));
        let five = [1, 2, 3, 4, 5];
        let answers = [empty(2, &[1, 2, 3]), empty(3, &five)];
        assert_eq!(judged(1, &[1, 2, 3], answers), Founding::Wait(Wait::Lists { others: [3].into() }));
        let mut moved = list(&[1, 2, 3]);
        moved[2].peer_addr = "elsewhere:1".to_owned();
        assert!(!same_members(&moved, &list(&[1, 2, 3])));
    }

    #[test]
    fn nobody_founds_beside_a_group() {
        let answers = [member(2, None), empty(3, &[1, 2, 3])];
        assert_eq!(judged(1, &[1, 2, 3], answers), Founding::Wait(Wait::ToBeAdded { group: GROUP }));
        let answers = [member(2, Some(1)), (3, None)];
        assert_eq!(judged(1, &[1, 2, 3], answers), Founding::Wait(Wait::FirstEntries { group: GROUP }));
        let answers = [empty(2, &[1, 2]), member(3, Some(77))];
        let replaced = Wait::Replaced { group: GROUP, node: 1, known: StoreId::new(77) };
        assert_eq!(judged(1, &[1, 2, 3], answers), Founding::Wait(replaced.clone()));
        assert!(!replaced.is_ordinary());
    }
}
