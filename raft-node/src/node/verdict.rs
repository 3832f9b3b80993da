//! What the digests of several nodes at one index say of this node's own state, and what is kept of that.
//!
//! Nothing here waits, asks or writes. A node stops only where a majority holds one other state; where a difference is
//! known and no majority decides, the node is *undecided* until one does, or until an operator does.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use quorate_ledger::Digest;
use serde::{Deserialize, Serialize};

/// The digests of a state at one index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Digests {
    /// The chain, which exists for every index.
    pub(crate) chain: Digest,
    /// The digest of the whole state, where it was taken.
    pub(crate) state: Option<Digest>,
}

impl Digests {
    /// Whether the two certainly are of different states.
    pub(crate) fn differ(&self, other: &Self) -> bool {
        self.chain != other.chain || self.state.zip(other.state).is_some_and(|(mine, theirs)| mine != theirs)
    }

    /// Whether `other` is all that is known of this state.
    fn is_matched_by(&self, other: &Self) -> bool {
        self.chain == other.chain && (self.state.is_none() || self.state == other.state)
    }

    /// Whether `one` and `other`, which both differ from this state, differ from it in the same way.
    fn are_alike(&self, one: &Self, other: &Self) -> bool {
        one.chain == other.chain && (one.chain != self.chain || one.state == other.state)
    }
}

impl fmt::Display for Digests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "chain {}", self.chain)?;
        self.state.map_or(Ok(()), |state| write!(f, ", state {state}"))
    }
}

/// The digests that a node has at an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Claim {
    pub(crate) index: u64,
    pub(crate) digests: Digests,
}

/// What the known digests at one index say of this node's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// A majority holds the same.
    Confirmed,
    /// A majority holds another.
    Diverged,
    /// There is a difference, and no majority for either.
    Undecided,
    /// No difference is known, but too few have answered.
    Open,
}

/// What is known at one index.
pub(crate) struct Known<'a> {
    /// This node's digests.
    pub(crate) mine: Digests,
    /// Whether this node votes: it counts only then.
    pub(crate) votes: bool,
    /// The digests known of other voters, by node.
    pub(crate) others: &'a BTreeMap<u64, Digests>,
    /// Voters in all.
    pub(crate) voters: usize,
    /// Nodes whose difference an operator has settled: it alone decides nothing, and counts in a majority as any other.
    pub(crate) given_up: &'a BTreeSet<u64>,
}

impl Known<'_> {
    pub(crate) fn judge(&self) -> Verdict {
        let majority = self.voters / 2 + 1;
        let same = self.others.values().filter(|other| self.mine.is_matched_by(other)).count();
        if same + usize::from(self.votes) >= majority {
            return Verdict::Confirmed;
        }
        let differing = || self.others.iter().filter(|(_, other)| self.mine.differ(other));
        let alike = |one: &Digests| differing().filter(|(_, other)| self.mine.are_alike(one, other)).count();
        if differing().any(|(_, one)| alike(one) >= majority) {
            return Verdict::Diverged;
        }
        let open_difference = differing().any(|(id, _)| !self.given_up.contains(id));
        if open_difference { Verdict::Undecided } else { Verdict::Open }
    }

    /// Those that differ, with what they claim at `index`.
    pub(crate) fn differing(&self, index: u64) -> BTreeMap<u64, Claim> {
        let differing = self.others.iter().filter(|(_, other)| self.mine.differ(other));
        differing.map(|(id, digests)| (*id, Claim { index, digests: *digests })).collect()
    }
}

/// How a node stands to its own state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Trust {
    /// Nothing speaks against it, or what did was settled.
    #[default]
    Whole,
    /// A difference is known, and nobody has decided which state is right.
    Undecided,
    /// A majority holds another state: for good.
    Diverged,
}

/// A difference that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Difference {
    /// What this node has.
    pub(crate) mine: Claim,
    /// What others have that differs from it, by node.
    pub(crate) others: BTreeMap<u64, Claim>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at index {} this node has {}", self.mine.index, self.mine.digests)?;
        for (id, Claim { index, digests }) in &self.others {
            write!(f, "; node {id} has {digests}")?;
            if *index != self.mine.index {
                write!(f, " at index {index}")?;
            }
        }
        Ok(())
    }
}

/// What a node keeps, over restarts and snapshots, of what was found out of its state.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ruling {
    pub(crate) trust: Trust,
    /// The difference that it rests on; also one that an operator has settled.
    pub(crate) difference: Option<Difference>,
    /// Nodes whose states an operator gave up for this node's own.
    pub(crate) given_up: BTreeSet<u64>,
}

impl Ruling {
    /// This one after `verdict` on `known` at `index`. `contested` are nodes that were given up here, and whose operators
    /// gave this node's state up in turn: that settles nothing.
    pub(crate) fn after(&self, verdict: Verdict, index: u64, known: &Known<'_>, contested: &BTreeSet<u64>) -> Self {
        let mut next = self.clone();
        match verdict {
            Verdict::Open => {}
            Verdict::Confirmed => {
                if self.trust == Trust::Undecided && self.is_settled_by(index, &known.mine) {
                    next.trust = Trust::Whole;
                    next.difference = None;
                }
            }
            Verdict::Undecided | Verdict::Diverged => {
                next.given_up.retain(|id| !contested.contains(id));
                let found = Difference { mine: Claim { index, digests: known.mine }, others: known.differing(index) };
                match &mut next.difference {
                    // The first one stays: whoever decides it decides all.
                    Some(first) if self.trust == Trust::Undecided => {
                        for (id, claim) in found.others {
                            first.others.entry(id).or_insert(claim);
                        }
                    }
                    difference => *difference = Some(found),
                }
                next.trust = if verdict == Verdict::Diverged { Trust::Diverged } else { Trust::Undecided };
            }
        }
        next
    }

    /// Whether a majority for `mine` at `index` settles the difference: the chain holds all that came before it, but not
    /// what only a digest of the whole state shows.
    fn is_settled_by(&self, index: u64, mine: &Digests) -> bool {
        self.difference.as_ref().is_none_or(|difference| {
            index >= difference.mine.index && (difference.mine.digests.state.is_none() || mine.state.is_some())
        })
    }

    /// An operator has named this node's state as the right one: whom that gives up, if there was anything to decide.
    pub(crate) fn accept(&mut self) -> Option<Difference> {
        if self.trust != Trust::Undecided {
            return None;
        }
        let difference = self.difference.clone()?;
        self.trust = Trust::Whole;
        self.given_up.extend(difference.others.keys());
        Some(difference)
    }

    /// Why this node does not serve, with the cure.
    pub(crate) fn suspends(&self) -> Option<String> {
        if self.trust == Trust::Whole {
            return None;
        }
        let difference = self.difference.as_ref().map_or_else(String::new, ToString::to_string);
        Some(match self.trust {
            Trust::Diverged => {
                format!("this node's state differs from the majority's: {difference}; {DIVERGED_CURE}")
            }
            Trust::Whole | Trust::Undecided => format!("{UNDECIDED}: {difference}; {UNDECIDED_CURE}"),
        })
    }
}

const UNDECIDED: &str = "states differ between nodes and no majority decides which is right";
const UNDECIDED_CURE: &str = "start the members that are away, so that a majority can decide, or start the member that is \
                              right once with `raft-node run --accept-own-state`";
const DIVERGED_CURE: &str = "replace this member: add a new one under a new node id, remove this one, and keep its data \
                             directory for analysis";

#[cfg(test)]
mod tests {
    use super::*;

    fn digests(chain: u8) -> Digests {
        Digests { chain: Digest([chain; 32]), state: None }
    }

    fn with_state(chain: u8, state: u8) -> Digests {
        Digests { state: Some(Digest([state; 32])), ..digests(chain) }
    }

    fn judge_all(mine: Digests, votes: bool, others: &[Digests], voters: usize, given_up: &[u64]) -> Verdict {
        let others = (2..).zip(others.iter().copied()).collect();
        let given_up = given_up.iter().copied().collect();
        Known { mine, votes, others: &others, voters, given_up: &given_up }.judge()
    }

    fn judged(others: &[u8], voters: usize) -> Verdict {
        let others: Vec<_> = others.iter().map(|chain| digests(*chain)).collect();
        judge_all(digests(1), true, &others, voters, &[])
    }

    #[test]
    fn the_majority_decides() {
        assert_eq!(judged(&[1], 3), Verdict::Confirmed);
        assert_eq!(judged(&[1, 2], 3), Verdict::Confirmed);
        assert_eq!(judged(&[2, 2], 3), Verdict::Diverged);
        assert_eq!(judged(&[2, 2, 2, 1], 5), Verdict::Diverged);
        assert_eq!(judged(&[], 1), Verdict::Confirmed);
    }

    #[test]
    fn one_other_alone_stops_nobody() {
        for voters in 2..=9 {
            assert_eq!(judged(&[2], voters), Verdict::Undecided, "{voters} voters");
        }
    }

    #[test]
    fn without_a_majority_a_difference_is_undecided() {
        assert_eq!(judged(&[2, 3], 3), Verdict::Undecided);
        assert_eq!(judged(&[1, 2, 2], 5), Verdict::Undecided);
        assert_eq!(judged(&[2, 2, 3, 3], 5), Verdict::Undecided);
    }

    #[test]
    fn silence_alone_decides_nothing() {
        assert_eq!(judged(&[], 3), Verdict::Open);
        assert_eq!(judged(&[1], 5), Verdict::Open);
    }

    #[test]
    fn a_learner_is_judged_and_does_not_count() {
        let learner = |others: &[u8]| {
            let others: Vec<_> = others.iter().map(|chain| digests(*chain)).collect();
            judge_all(digests(1), false, &others, 3, &[])
        };
        assert_eq!(learner(&[1]), Verdict::Open);
        assert_eq!(learner(&[1, 1]), Verdict::Confirmed);
        assert_eq!(learner(&[2]), Verdict::Undecided);
        assert_eq!(learner(&[2, 2]), Verdict::Diverged);
    }

    #[test]
    fn a_digest_of_the_state_that_is_not_there_yet_neither_confirms_nor_differs() {
        let mine = with_state(1, 1);
        assert_eq!(judge_all(mine, true, &[digests(1), digests(1)], 3, &[]), Verdict::Open);
        assert_eq!(judge_all(mine, true, &[digests(1), with_state(1, 1)], 3, &[]), Verdict::Confirmed);
        assert_eq!(judge_all(mine, true, &[with_state(1, 2)], 3, &[]), Verdict::Undecided);
        assert_eq!(judge_all(mine, true, &[with_state(1, 2), with_state(1, 2)], 3, &[]), Verdict::Diverged);
        assert_eq!(judge_all(mine, true, &[digests(2), with_state(2, 7)], 3, &[]), Verdict::Diverged);
        assert_eq!(judge_all(digests(1), true, &[with_state(1, 1)], 3, &[]), Verdict::Confirmed);
    }

    #[test]
    fn what_an_operator_gave_up_decides_nothing_alone_and_counts_in_a_majority() {
        assert_eq!(judge_all(digests(1), true, &[digests(2)], 2, &[2]), Verdict::Open);
        assert_eq!(judge_all(digests(1), true, &[digests(2), digests(3)], 3, &[2]), Verdict::Undecided);
        assert_eq!(judge_all(digests(1), true, &[digests(2), digests(2)], 3, &[2]), Verdict::Diverged);
    }

    fn rule(
        ruling: &Ruling,
        index: u64,
        mine: Digests,
        others: &[Digests],
        voters: usize,
        contested: &[u64],
    ) -> Ruling {
        let others = (2..).zip(others.iter().copied()).collect();
        let contested: BTreeSet<u64> = contested.iter().copied().collect();
        let given_up = ruling.given_up.difference(&contested).copied().collect();
        let known = Known { mine, votes: true, others: &others, voters, given_up: &given_up };
        ruling.after(known.judge(), index, &known, &contested)
    }

    #[test]
    fn undecided_ends_by_a_majority_at_that_index_or_later_and_not_by_silence() {
        let undecided = rule(&Ruling::default(), 9, digests(1), &[digests(2)], 3, &[]);
        assert_eq!(undecided.trust, Trust::Undecided);
        assert_eq!(rule(&undecided, 10, digests(1), &[], 3, &[]), undecided);
        assert_eq!(rule(&undecided, 8, digests(1), &[digests(1)], 3, &[]), undecided);
        assert_eq!(rule(&undecided, 9, digests(1), &[digests(1)], 3, &[]), Ruling::default());
        let diverged = rule(&undecided, 12, digests(1), &[digests(2), digests(2)], 3, &[]);
        assert_eq!(diverged.trust, Trust::Diverged);
        assert!(diverged.suspends().unwrap().contains("new node id"));
    }

    #[test]
    fn equal_chains_do_not_settle_states_that_differ() {
        let undecided = rule(&Ruling::default(), 9, with_state(1, 1), &[with_state(1, 2)], 3, &[]);
        assert_eq!(undecided.trust, Trust::Undecided);
        assert_eq!(rule(&undecided, 10, digests(1), &[digests(1), digests(1)], 3, &[]), undecided);
        assert_eq!(rule(&undecided, 10, with_state(1, 1), &[with_state(1, 1)], 3, &[]), Ruling::default());
    }

    #[test]
    fn an_operator_settles_what_is_undecided_and_nothing_else() {
        let mut undecided = rule(&Ruling::default(), 9, digests(1), &[digests(2)], 2, &[]);
        assert!(undecided.suspends().unwrap().contains("--accept-own-state"));
        let given_up = undecided.accept().unwrap();
        assert!(given_up.to_string().contains(&Digest([2; 32]).to_string()), "{given_up}");
        assert_eq!((undecided.trust, undecided.suspends()), (Trust::Whole, None));
        assert_eq!(rule(&undecided, 20, digests(1), &[digests(2)], 2, &[]), undecided);
        // Another node that differs is not settled by it.
        assert_eq!(rule(&undecided, 20, digests(1), &[digests(2), digests(3)], 3, &[]).trust, Trust::Undecided);
        // Nor is it settled where both states were accepted.
        let contested = rule(&undecided, 20, digests(1), &[digests(2)], 2, &[2]);
        assert_eq!((contested.trust, contested.given_up.len()), (Trust::Undecided, 0));

        assert_eq!(Ruling::default().accept(), None);
        let mut diverged = rule(&Ruling::default(), 9, digests(1), &[digests(2), digests(2)], 3, &[]);
        assert_eq!(diverged.accept(), None);
        assert_eq!(diverged.trust, Trust::Diverged);
    }

    #[test]
    fn the_stored_form_does_not_change() {
        let mut ruling = rule(&Ruling::default(), 9, digests(1), &[with_state(2, 3)], 2, &[]);
        ruling.given_up = [4].into();
        // A digest is its length and its bytes.
        let mut golden = vec![1, 1, 9, 32];
        golden.extend([1; 32]);
        golden.extend([0, 1, 2, 9, 32]);
        golden.extend([2; 32]);
        golden.extend([1, 32]);
        golden.extend([3; 32]);
        golden.extend([1, 4]);
        let stored = postcard::to_stdvec(&ruling).unwrap();
        assert_eq!(stored, golden);
        assert_eq!(postcard::from_bytes::<Ruling>(&stored).unwrap(), ruling);
    }
}
