//! Bugs planted on purpose: each is one place where the product, told so by the environment variable
//! `QUORATE_PLANTED`, does what it must never do. They show that the layers of the proof find such bugs.
//!
//! Invariant: without the feature `on`, [`planted`] is the constant `false` and nothing of this is in the
//! program; with it, a build without debug assertions does not compile. One bug at a time, for the whole process.

#[cfg(all(feature = "on", not(debug_assertions)))]
compile_error!("planted bugs are for tests: a release build must not contain them");

use std::{fmt, str::FromStr};

/// The environment variable that names the bug to have, by [`Bug::name`].
pub const VARIABLE: &str = "QUORATE_PLANTED";

macro_rules! bugs {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// A bug that can be planted.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Bug {
            $($(#[$doc])* $variant,)*
        }

        impl Bug {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Its name on the command line and in `QUORATE_PLANTED`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

bugs! {
    /// What was appended is acknowledged without a sync.
    AckBeforeFsync = "ack-before-fsync",
    /// The vote is not written: it is lost at a restart.
    LoseVote = "lose-vote",
    /// What waits in the store for the commit of something else keeps its permits, and one message may want them all.
    PermitHeldWhileParked = "permit-held-while-parked",
    /// The log is cut below what is known to be committed.
    TruncateBelowCommitted = "truncate-below-committed",
    /// A linearizable read answers with what is applied here.
    ReadWithoutReadIndex = "read-without-read-index",
    /// A quote is taken under any epoch, from any incarnation.
    SkipEpochCheck = "skip-epoch-check",
    /// An older quote that comes late replaces the newer one.
    SkipQuoteSeq = "skip-quote-seq",
    /// A quote that was computed from an older position is taken.
    SkipPositionSeq = "skip-position-seq",
    /// What a quote reserves is released twice when it ends.
    ReleaseTwice = "release-exposure-twice",
    /// A quote past its deadline is filled.
    ForgetTtlOnFill = "forget-ttl-on-fill",
    /// A quote stands on when the authority behind it ends.
    LeaveQuoteStanding = "leave-quote-standing",
    /// A quote that was to be replaced stands on where the new one is refused.
    ReplacedQuoteLeftStanding = "replaced-quote-left-standing",
    /// The first that waits for a turn is passed over.
    TurnSkipped = "turn-skipped",
    /// A quote that was computed from an older position is kept.
    KeepStalePosition = "keep-stale-position",
    /// A quote past its deadline is kept.
    KeepRevivesExpired = "keep-revives-expired",
    /// The breakers are not in snapshots.
    BreakerForgottenAfterSnapshot = "breaker-forgotten-after-snapshot",
    /// A mark that is too old raises the high-water mark.
    HighWaterFromUncountedMark = "high-water-from-uncounted-mark",
    /// What is left of the cost when a part of a position closes is dropped.
    CostRemainderDropped = "cost-remainder-dropped",
    /// What an order locked is unlocked twice when it closes.
    BalanceUnlockedTwice = "balance-unlocked-twice",
    /// A symbol that is settled again pays again.
    SettleTwice = "settle-twice",
    /// An `exec_id` that comes again is applied again.
    ApplyExecIdTwice = "apply-exec-id-twice",
    /// Executions are counted over all symbols, not for each.
    ExecIdShared = "exec-id-shared-across-symbols",
    /// Closed orders are forgotten at once.
    ForgetClosedOrders = "forget-closed-orders",
    /// A closed order's name is known for a second.
    NameForgottenEarly = "name-forgotten-early",
    /// A session that is not known is made.
    CreateSessionsSilently = "create-sessions-silently",
    /// A session is evicted after a second of idleness.
    EvictSessionEarly = "evict-session-early",
    /// A leader that was replaced still has its ticks written, with its own stamps.
    StaleLeaderTicks = "stale-leader-ticks",
    /// A new leader's clock starts where log time stood, not where it would be by now.
    FreezeClockAtNewLeader = "freeze-clock-at-new-leader",
    /// A stream of events goes on after a snapshot was installed, without those that it covered.
    SkipEventsAfterSnapshot = "skip-events-after-snapshot",
    /// What was found out of a node's own state is forgotten at a restart.
    VerdictForgottenAtRestart = "verdict-forgotten-at-restart",
    /// Makers are gone through in the order of a hash map.
    HashMapOrder = "hash-map-order",
    /// Any store votes and counts under a member's id, also an empty one.
    WipedNodeVotes = "wiped-node-votes",
    /// Calls of a member of another group are taken.
    GroupIdUnchecked = "group-id-unchecked",
    /// A reference price counts as new whenever somebody asks for it.
    AgeByPoll = "age-by-poll",
    /// A renewal extends a maker's beliefs at once, whatever it has not heard of what it holds.
    RenewalCountsAtOnce = "renewal-counts-at-once",
}

impl fmt::Display for Bug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that no bug has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownBug(String);

impl fmt::Display for UnknownBug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = Bug::ALL.iter().map(|bug| bug.name()).collect();
        write!(f, "'{}' is no planted bug: take one of {}", self.0, names.join(", "))
    }
}

impl std::error::Error for UnknownBug {}

impl FromStr for Bug {
    type Err = UnknownBug;

    fn from_str(text: &str) -> Result<Self, UnknownBug> {
        Self::ALL.iter().copied().find(|bug| bug.name() == text).ok_or_else(|| UnknownBug(text.to_owned()))
    }
}

/// Whether this process has `bug`.
#[cfg(not(feature = "on"))]
#[must_use]
#[inline]
pub const fn planted(_bug: Bug) -> bool {
    false
}

/// Whether this process has `bug`.
///
/// # Panics
/// Where [`VARIABLE`] names none: a test that plants nothing must not pass for one that does.
#[cfg(feature = "on")]
#[must_use]
pub fn planted(bug: Bug) -> bool {
    active() == Some(bug)
}

/// The bug that this process has, if any. Read once.
///
/// # Panics
/// As [`planted`].
#[cfg(feature = "on")]
#[must_use]
pub fn active() -> Option<Bug> {
    static ACTIVE: std::sync::OnceLock<Option<Bug>> = std::sync::OnceLock::new();
    *ACTIVE.get_or_init(|| match std::env::var(VARIABLE) {
        Ok(name) if !name.is_empty() => Some(name.parse().unwrap_or_else(|error: UnknownBug| panic!("{error}"))),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_apart_and_read_back() {
        for bug in Bug::ALL {
            assert_eq!(bug.name().parse(), Ok(*bug));
        }
        let error = "no-such-bug".parse::<Bug>().unwrap_err().to_string();
        assert!(error.contains("no-such-bug") && error.contains("lose-vote"), "{error}");
    }

    #[cfg(not(feature = "on"))]
    #[test]
    fn an_ordinary_build_has_none() {
        const { assert!(!planted(Bug::LoseVote)) };
        assert!(Bug::ALL.iter().all(|bug| !planted(*bug)));
    }
}
