//! Which update ids follow which.
//!
//! Spot numbers every change of one symbol, so that deltas touch: `U` is the last id and one. Futures number the changes of
//! many symbols together, so that a delta names its forerunner: `pu`. Sources: "How to manage a local order book correctly",
//! <https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams> and
//! <https://developers.binance.com/docs/derivatives/usds-margined-futures/websocket-market-streams/How-to-manage-a-local-order-book-correctly>.

use serde::{Deserialize, Serialize};

use crate::event::Delta;

/// Changes are missing: those between the last update id that is in the book and the first one that came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("the book stands at update {at}, and the next message begins after {after}: what lies between is missing")]
pub struct Gap {
    /// The last update id that is in the book.
    pub at: u64,
    /// The update id that the message says it follows: `U` - 1, or `pu`.
    pub after: u64,
}

/// How a delta follows on a book.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Follows {
    /// It is the next.
    Next,
    /// All of it is in the book.
    Old,
    /// What lies between is missing, or the numbers do not belong together.
    Not(Gap),
}

/// How `delta` follows on a book at update id `at`. `first` says that the book comes from a snapshot and no delta was
/// applied since.
///
/// - Spot: old where `u <= at`; next where `U <= at + 1`; else there is a gap.
/// - Futures, the first after a snapshot: old where `u < at`; next where `pu <= at`, for then it holds all that changed
///   since. (Binance asks for `U <= at <= u`, which implies it, and refuses some that miss nothing.)
/// - Futures, any later: old where `u <= at`; next where `pu == at`; else there is a gap.
#[must_use]
pub fn follows(delta: &Delta, at: u64, first: bool) -> Follows {
    let (old, after, next) = match delta.previous {
        None => {
            let after = delta.first.saturating_sub(1);
            (delta.last <= at, after, after <= at)
        }
        Some(previous) if first => (delta.last < at, previous, previous <= at),
        Some(previous) => (delta.last <= at, previous, previous == at),
    };
    match (old, next) {
        (true, _) => Follows::Old,
        (false, true) => Follows::Next,
        (false, false) => Follows::Not(Gap { at, after }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delta(first: u64, last: u64, previous: Option<u64>) -> Delta {
        Delta { first, last, previous, bids: Vec::new(), asks: Vec::new() }
    }

    #[test]
    fn spot_deltas_touch() {
        for first in [true, false] {
            let of = |(from, to)| follows(&delta(from, to, None), 100, first);
            assert_eq!(of((90, 100)), Follows::Old);
            assert_eq!(of((90, 101)), Follows::Next);
            assert_eq!(of((101, 101)), Follows::Next);
            assert_eq!(of((102, 110)), Follows::Not(Gap { at: 100, after: 101 }));
        }
        assert_eq!(follows(&delta(0, 0, None), 0, true), Follows::Old);
        assert_eq!(follows(&delta(u64::MAX, u64::MAX, None), u64::MAX - 1, false), Follows::Next);
        assert_eq!(follows(&delta(1, 1, None), u64::MAX, false), Follows::Old);
    }

    #[test]
    fn futures_deltas_name_their_forerunner() {
        let of = |from, to, previous, first| follows(&delta(from, to, Some(previous)), 100, first);
        // The first after a snapshot holds all that changed since.
        assert_eq!(of(80, 99, 70, true), Follows::Old);
        assert_eq!(of(80, 100, 70, true), Follows::Next);
        assert_eq!(of(90, 120, 80, true), Follows::Next);
        assert_eq!(of(110, 120, 100, true), Follows::Next);
        assert_eq!(of(110, 120, 101, true), Follows::Not(Gap { at: 100, after: 101 }));
        // Then each names the one before.
        assert_eq!(of(80, 100, 70, false), Follows::Old);
        assert_eq!(of(110, 120, 100, false), Follows::Next);
        assert_eq!(of(101, 120, 101, false), Follows::Not(Gap { at: 100, after: 101 }));
        assert_eq!(of(90, 120, 99, false), Follows::Not(Gap { at: 100, after: 99 }));
    }
}
