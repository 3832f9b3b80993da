//! Market-maker protection of one symbol: a burst of fills pauses its quotes.
//!
//! As Deribit's (<https://docs.deribit.com/articles/market-maker-protection>): lots of both sides are counted in a fixed window that opens with
//! its first fill, a limit that is met or exceeded trips, and after the pause quoting goes on by itself. The fill that trips
//! counts whole, so that the limit may be passed by one order.

use serde::{Deserialize, Serialize};

use crate::numbers::{Millis, Qty};

/// What trips it, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Protection {
    /// So many lots within a window trip it: 1 at least.
    pub lots_max: Qty,
    /// The window's length from its first fill, in milliseconds: 1 at least.
    pub window_ms: u64,
    /// The pause's length, in milliseconds: 1 at least.
    pub pause_ms: u64,
}

/// Where it stands. The default has seen no fill.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ProtectionState {
    /// When the window opened: the log time of its first fill.
    pub opened: Option<Millis>,
    /// Lots filled within the window, bought and sold.
    pub lots: Qty,
    /// Until when quotes are paused.
    pub paused_until: Option<Millis>,
}

impl ProtectionState {
    /// After a fill of `qty` lots at log time `now`, and whether it trips just now. A fill at or after the window's end opens
    /// the next window. A fill while quotes are paused (one that was on its way) counts for nothing.
    #[must_use]
    pub fn on_fill(&self, rules: &Protection, now: Millis, qty: Qty) -> (Self, bool) {
        if self.is_paused(now) {
            return (*self, false);
        }
        let open = self.opened.filter(|opened| now < opened.plus(rules.window_ms));
        let before = if open.is_some() { self.lots } else { Qty::ZERO };
        let lots = Qty(before.0.saturating_add(qty.0));
        if lots >= rules.lots_max {
            let paused_until = Some(now.plus(rules.pause_ms));
            return (Self { opened: None, lots: Qty::ZERO, paused_until }, true);
        }
        (Self { opened: open.or(Some(now)), lots, paused_until: None }, false)
    }

    /// Whether quotes are paused at `now`: up to, and not at, the end of the pause.
    #[must_use]
    pub fn is_paused(&self, now: Millis) -> bool {
        self.paused_until.is_some_and(|until| now < until)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RULES: Protection = Protection { lots_max: Qty(10), window_ms: 1_000, pause_ms: 5_000 };

    /// At which of these fills, (log time, lots), it trips; and where it stands then.
    fn tripped(fills: &[(u64, i64)]) -> (Vec<u64>, ProtectionState) {
        let (mut state, mut trips) = (ProtectionState::default(), Vec::new());
        for (now, lots) in fills {
            let (next, trip) = state.on_fill(&RULES, Millis(*now), Qty(*lots));
            trips.extend(trip.then_some(*now));
            state = next;
        }
        (trips, state)
    }

    #[test]
    fn a_limit_that_is_met_within_the_window_trips() {
        assert_eq!(tripped(&[(100, 4), (500, 5)]).0.len(), 0);
        assert_eq!(tripped(&[(100, 4), (500, 5), (1_099, 1)]).0, [1_099]);
        assert_eq!(tripped(&[(100, 50)]).0, [100], "one order may pass it");
    }

    #[test]
    fn the_window_is_fixed_from_its_first_fill() {
        // 9 lots end with the window at 1,100, though the last of them came at 1,000.
        assert_eq!(tripped(&[(100, 1), (1_000, 8), (1_100, 9)]).0.len(), 0);
        assert_eq!(tripped(&[(100, 1), (1_000, 8), (1_100, 9), (2_099, 1)]).0, [2_099]);
    }

    #[test]
    fn a_pause_ends_by_itself_and_counts_nothing() {
        let (trips, state) = tripped(&[(100, 10), (200, 100), (5_099, 100)]);
        assert_eq!((trips, state.paused_until), (vec![100], Some(Millis(5_100))));
        assert!(state.is_paused(Millis(5_099)) && !state.is_paused(Millis(5_100)));
        assert_eq!(tripped(&[(100, 10), (5_099, 9), (5_100, 9)]).0, [100], "after the pause it counts from 0");
        assert_eq!(tripped(&[(100, 10), (5_100, 9), (6_099, 1)]).0, [100, 6_099]);
    }

    proptest! {
        /// By the definition, from the list of all fills: no state.
        #[test]
        fn it_trips_where_the_definition_says(steps in proptest::collection::vec((0..1_500u64, 1..8i64), 0..60)) {
            let mut now = 0;
            let fills: Vec<(u64, i64)> = steps.iter().map(|(after, lots)| { now += after; (now, *lots) }).collect();
            let (mut wanted, mut at) = (Vec::new(), 0);
            while let Some((opened, _)) = fills.get(at).copied() {
                let window: Vec<_> = fills[at..].iter().take_while(|(now, _)| *now < opened + 1_000).collect();
                let sums = (1..=window.len()).map(|n| window[..n].iter().map(|(_, lots)| lots).sum::<i64>());
                match sums.into_iter().position(|sum| sum >= 10) {
                    Some(last) => {
                        let trip = window[last].0;
                        wanted.push(trip);
                        at += fills[at..].iter().enumerate().position(|(n, (now, _))| n > last && *now >= trip + 5_000)
                            .unwrap_or(fills.len());
                    }
                    None => at += window.len(),
                }
            }
            prop_assert_eq!(tripped(&fills).0, wanted);
        }
    }
}
