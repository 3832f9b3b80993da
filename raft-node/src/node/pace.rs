//! Whether this node keeps up with what its leader says is committed.
//!
//! A node that hears its leader and is not heard by it is sent nothing new. It has a leader, and must all the same not
//! pass for one that can tell what happens.

use std::time::Duration;

use tokio::time::Instant;

/// A node that is behind what it knows to be committed, and has applied nothing for so long, does not keep up.
const STALL_MAX: Duration = Duration::from_secs(2);

/// What the leader says is committed, and when this node was last seen to move on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    committed: u64,
    applied: u64,
    since: Instant,
}

impl Pace {
    pub(crate) fn new(now: Instant) -> Self {
        Self { committed: 0, applied: 0, since: now }
    }

    /// The leader says that it has committed up to `committed`; this node has applied up to `applied`.
    pub(crate) fn heard(&mut self, committed: u64, applied: u64, now: Instant) {
        if applied > self.applied || applied >= self.committed {
            (self.applied, self.since) = (applied, now);
        }
        self.committed = self.committed.max(committed);
    }

    /// Whether this node, which has applied up to `applied`, stands still behind the group.
    pub(crate) fn stalled(&self, applied: u64, now: Instant) -> bool {
        applied < self.committed && applied <= self.applied && now.duration_since(self.since) >= STALL_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn standing_still_behind_the_group_is_a_stall_and_nothing_else_is() {
        let start = Instant::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let mut pace = Pace::new(start);
        assert!(!pace.stalled(0, at(100)), "nothing is known to be committed");
        pace.heard(10, 10, at(100));
        assert!(!pace.stalled(10, at(200)), "idle");
        // After a long quiet time it is behind for a moment.
        pace.heard(11, 10, at(200));
        assert!(!pace.stalled(10, at(201)));
        assert!(pace.stalled(10, at(202)));
        assert!(!pace.stalled(11, at(202)), "caught up, though the leader was not heard since");
        // Far behind, and moving.
        pace.heard(500, 12, at(203));
        pace.heard(600, 90, at(204));
        assert!(!pace.stalled(90, at(205)));
        pace.heard(700, 90, at(206));
        assert!(pace.stalled(90, at(206)));
    }
}
