//! A breaker on equity, per quote asset: quoting ends where equity has fallen too far from its highest.

use serde::{Deserialize, Serialize};

use crate::numbers::Money;

/// Where the breaker of one quote asset stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Drawdown {
    /// How far equity may fall from the mark, not below 0; none where it never trips.
    pub limit: Option<Money>,
    /// The high-water mark: the highest equity since the start, or since the breaker was last re-armed.
    pub high_water: Money,
    /// It has tripped, and stays so until it is re-armed.
    pub tripped: bool,
}

impl Drawdown {
    /// At this equity; and whether it trips just now. Where all symbols' marks count (`counted`), an equity above the
    /// high-water mark raises it; where one does not, equity is shown at that symbol's last counted mark, and never raises it.
    /// Either way it trips below high-water mark - limit.
    #[must_use]
    pub fn evaluate(&self, equity: Money, counted: bool) -> (Self, bool) {
        let high_water = if counted { self.high_water.max(equity) } else { self.high_water };
        // A floor that does not fit lies below every equity.
        let floor = self.limit.and_then(|limit| high_water.checked_sub(limit));
        let below = floor.is_some_and(|floor| equity < floor);
        (Self { high_water, tripped: self.tripped || below, ..*self }, below && !self.tripped)
    }

    /// After an operator's command: from here on it counts from the present equity.
    #[must_use]
    pub fn rearm(&self, equity: Money) -> Self {
        Self { limit: self.limit, high_water: equity, tripped: false }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn armed(limit: i128) -> Drawdown {
        Drawdown { limit: Some(Money(limit)), ..Drawdown::default() }
    }

    /// At each of these equities in turn, whether it trips.
    fn trips(mut breaker: Drawdown, equities: &[(i128, bool)]) -> (Vec<bool>, Drawdown) {
        let trips = equities.iter().map(|(equity, counted)| {
            let (next, trips) = breaker.evaluate(Money(*equity), *counted);
            breaker = next;
            trips
        });
        (trips.collect(), breaker)
    }

    #[test]
    fn a_fall_beyond_the_limit_trips_once_and_latches() {
        let (told, breaker) = trips(armed(10), &[(50, true), (40, true), (39, true), (30, true), (60, true)]);
        assert_eq!(told, [false, false, true, false, false]);
        assert!(breaker.tripped);
    }

    #[test]
    fn what_is_not_counted_raises_nothing_and_trips_all_the_same() {
        let (told, breaker) = trips(armed(10), &[(50, true), (80, false), (41, false), (39, false)]);
        assert_eq!((told, breaker.high_water), (vec![false, false, false, true], Money(50)));
    }

    #[test]
    fn an_operator_starts_it_again_from_where_equity_is() {
        let (_, breaker) = trips(armed(10), &[(50, true), (0, true)]);
        let again = breaker.rearm(Money(-5));
        assert_eq!(again, Drawdown { high_water: Money(-5), ..armed(10) });
        assert_eq!(trips(again, &[(-15, true), (-16, true)]).0, [false, true]);
    }

    #[test]
    fn without_a_limit_or_with_one_past_all_money_it_never_trips() {
        let fall = [(i128::MAX, true), (i128::MIN, true)];
        let (told, breaker) = trips(Drawdown::default(), &fall);
        assert_eq!((told, breaker.high_water), (vec![false, false], Money(i128::MAX)));
        assert_eq!(trips(armed(i128::MAX), &[(-2, true), (i128::MIN, true)]).0, [false, true]);
        let low = armed(i128::MAX).rearm(Money(-2));
        assert_eq!(trips(low, &[(i128::MIN, true)]).0, [false], "the floor lies below every equity");
    }

    proptest! {
        #[test]
        fn it_trips_at_the_first_equity_that_is_too_far_below_the_highest(
            limit in 0..50i128,
            equities in proptest::collection::vec((-100..100i128, any::<bool>()), 1..40),
        ) {
            let highest = |n: usize| {
                equities[..=n].iter().filter(|(_, counted)| *counted).map(|(equity, _)| *equity).max().unwrap_or(0).max(0)
            };
            let first = (0..equities.len()).find(|n| equities[*n].0 < highest(*n) - limit);
            let (told, breaker) = trips(armed(limit), &equities);
            prop_assert_eq!(told.iter().position(|trips| *trips), first);
            prop_assert_eq!(told.iter().filter(|trips| **trips).count(), usize::from(first.is_some()));
            prop_assert_eq!(breaker.tripped, first.is_some());
            prop_assert_eq!(breaker.high_water, Money(highest(equities.len() - 1)));
        }
    }
}
