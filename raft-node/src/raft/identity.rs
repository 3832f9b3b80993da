//! Whose calls a node takes: those that mean this very store, and come from the stores that its group knows.
//!
//! Invariant: a store that the membership does not name under its node's id takes no part, whichever side calls. It is
//! neither asked for a vote nor heard when it asks for one, and its acknowledgements reach nobody.

use http::HeaderMap;
use quorate_api::{GroupId, StoreId};
use quorate_planted::{Bug, planted};

use super::wire::{CLUSTER_HEADER, FROM_HEADER, GROUP_HEADER, STORE_HEADER, TO_HEADER, TO_STORE_HEADER};

/// Who this node is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Identity<'a> {
    pub(crate) cluster_id: &'a str,
    pub(crate) me: u64,
    pub(crate) store: StoreId,
    /// None while the store is empty.
    pub(crate) group: Option<GroupId>,
}

/// Who calls, as the headers say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Caller {
    pub(crate) id: u64,
    pub(crate) store: StoreId,
    /// The group of which the caller is a member.
    group: Option<GroupId>,
    /// The store that the caller's group knows under this node's id.
    meant: Option<StoreId>,
}

/// Why a call is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    #[error("this is cluster {ours}, not '{theirs}'")]
    Cluster { ours: String, theirs: String },
    #[error("this is node {me}, not '{meant}'")]
    Node { me: u64, meant: String },
    #[error("the call names no peer: its id is '{0}', and its store is '{1}'")]
    Caller(String, String),
    #[error(
        "node {me} is a member of the group {ours}, and the call comes from the group {theirs}: start every node with \
         the addresses of its own group's members"
    )]
    Group { me: u64, ours: GroupId, theirs: GroupId },
    #[error("node {from} is a member of no group yet, and may only ask for a hello")]
    NoGroup { from: u64 },
    #[error(
        "node {me} runs on the store {ours}, and the group knows it by the store {meant}: its data directory was \
         removed or replaced, so it neither votes nor counts. Give it its own directory back, or remove node {me} from \
         the group and add a new node under an id that was never used"
    )]
    NotThisStore { me: u64, ours: StoreId, meant: StoreId },
    #[error(
        "node {from} runs on the store {theirs}, and the group knows it by the store {known}: its data directory was \
         removed or replaced, so it neither votes nor counts. Give it its own directory back, or remove node {from} \
         from the group and add a new node under an id that was never used"
    )]
    UnknownStore { from: u64, theirs: StoreId, known: StoreId },
}

impl Identity<'_> {
    /// Who calls, where the call means this node of this cluster.
    pub(crate) fn caller(&self, headers: &HeaderMap) -> Result<Caller, Refused> {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("");
        if text(CLUSTER_HEADER) != self.cluster_id {
            let (ours, theirs) = (self.cluster_id.to_owned(), text(CLUSTER_HEADER).to_owned());
            return Err(Refused::Cluster { ours, theirs });
        }
        if text(TO_HEADER).parse() != Ok(self.me) {
            return Err(Refused::Node { me: self.me, meant: text(TO_HEADER).to_owned() });
        }
        let (Ok(id), Ok(store)) = (text(FROM_HEADER).parse(), text(STORE_HEADER).parse()) else {
            return Err(Refused::Caller(text(FROM_HEADER).to_owned(), text(STORE_HEADER).to_owned()));
        };
        // A header that cannot be read names nothing, and what names nothing is refused where a name is needed.
        Ok(Caller { id, store, group: text(GROUP_HEADER).parse().ok(), meant: text(TO_STORE_HEADER).parse().ok() })
    }

    /// Whether `caller` may take part in the group with this node. `known` is the store that the group knows under
    /// the caller's id, where the caller is a member.
    pub(crate) fn takes(&self, caller: &Caller, known: Option<StoreId>) -> Result<(), Refused> {
        let (me, from) = (self.me, caller.id);
        if from == me {
            return Err(Refused::Caller(from.to_string(), caller.store.to_string()));
        }
        let (Some(theirs), Some(meant)) = (caller.group, caller.meant) else {
            return Err(Refused::NoGroup { from });
        };
        if let Some(ours) = self.group.filter(|ours| *ours != theirs && !planted(Bug::GroupIdUnchecked)) {
            return Err(Refused::Group { me, ours, theirs });
        }
        if planted(Bug::WipedNodeVotes) {
            return Ok(());
        }
        if meant != self.store {
            return Err(Refused::NotThisStore { me, ours: self.store, meant });
        }
        self.knows(caller, known)
    }

    /// Whether the caller's store is the one that the group knows, where it knows one.
    pub(crate) fn knows(&self, caller: &Caller, known: Option<StoreId>) -> Result<(), Refused> {
        match known.filter(|known| *known != caller.store) {
            None => Ok(()),
            Some(known) => Err(Refused::UnknownStore { from: caller.id, theirs: caller.store, known }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: GroupId = GroupId::new(0xa);
    const THEIRS: GroupId = GroupId::new(0xb);
    const MINE: StoreId = StoreId::new(1);
    const WIPED: StoreId = StoreId::new(99);
    const PEER: StoreId = StoreId::new(2);

    fn me(group: Option<GroupId>) -> Identity<'static> {
        Identity { cluster_id: "q", me: 1, store: MINE, group }
    }

    fn headers(cluster: &str, from: &str, to: &str, store: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in [(CLUSTER_HEADER, cluster), (FROM_HEADER, from), (TO_HEADER, to), (STORE_HEADER, store)] {
            headers.insert(name, value.parse().unwrap());
        }
        headers
    }

    fn caller(group: Option<GroupId>, meant: Option<StoreId>, store: StoreId) -> Caller {
        Caller { id: 2, store, group, meant }
    }

    #[test]
    fn a_call_that_means_another_is_refused() {
        let store = PEER.to_string();
        let right = headers("q", "2", "1", &store);
        assert_eq!(me(None).caller(&right), Ok(caller(None, None, PEER)));
        for wrong in [
            headers("r", "2", "1", &store),
            headers("q", "2", "3", &store),
            headers("q", "x", "1", &store),
            headers("q", "2", "1", "short"),
            HeaderMap::new(),
        ] {
            assert!(me(None).caller(&wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn members_on_their_own_stores_are_taken() {
        let call = caller(Some(OURS), Some(MINE), PEER);
        assert_eq!(me(Some(OURS)).takes(&call, Some(PEER)), Ok(()));
        assert_eq!(me(Some(OURS)).takes(&call, None), Ok(()), "a member that this node has not heard of yet");
        assert_eq!(me(None).takes(&call, None), Ok(()), "the first entries come to a store that was founded with");
    }

    #[test]
    fn whoever_is_not_the_one_the_group_knows_takes_no_part() {
        let ours = me(Some(OURS));
        let call = caller(Some(THEIRS), Some(MINE), PEER);
        assert_eq!(ours.takes(&call, None), Err(Refused::Group { me: 1, ours: OURS, theirs: THEIRS }));
        let call = caller(Some(OURS), Some(WIPED), PEER);
        let refused = Err(Refused::NotThisStore { me: 1, ours: MINE, meant: WIPED });
        assert_eq!(ours.takes(&call, Some(PEER)), refused);
        assert_eq!(me(None).takes(&call, None), refused, "a store that was wiped is empty, and not the one meant");
        let call = caller(Some(OURS), Some(MINE), WIPED);
        let refused = Err(Refused::UnknownStore { from: 2, theirs: WIPED, known: PEER });
        assert_eq!(ours.takes(&call, Some(PEER)), refused);
        for (group, meant) in [(None, Some(MINE)), (Some(OURS), None), (None, None)] {
            assert_eq!(me(None).takes(&caller(group, meant, PEER), None), Err(Refused::NoGroup { from: 2 }));
        }
        let myself = Caller { id: 1, ..caller(Some(OURS), Some(MINE), MINE) };
        assert!(ours.takes(&myself, Some(MINE)).is_err());
    }
}
