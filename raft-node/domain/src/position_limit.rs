//! How far a position may go: the side that would pass the limit is cut.

use crate::{
    numbers::{Position, Qty},
    orders::Sides,
};

/// What may be quoted of `asked`: on the bid at most `max` - position, on the ask at most `max` + position, never below 0;
/// all of it where there is no limit. A position beyond the limit leaves only the side that brings it back.
///
/// Quotes filled whole, on either side, keep a position within `-max..=max` that was within it.
#[must_use]
pub fn cut(position: Position, max: Option<Qty>, asked: Sides<Qty>) -> Sides<Qty> {
    let Some(max) = max else { return asked };
    let (max, position) = (i128::from(max.0), i128::from(position.0));
    Sides { bid: at_most(asked.bid, max - position), ask: at_most(asked.ask, max + position) }
}

fn at_most(asked: Qty, room: i128) -> Qty {
    // Room for more than an i64 holds is room for all.
    Qty(i64::try_from(room.max(0)).map_or(asked.0, |room| asked.0.min(room)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn both(bid: i64, ask: i64) -> Sides<Qty> {
        Sides { bid: Qty(bid), ask: Qty(ask) }
    }

    #[test]
    fn only_the_side_that_would_pass_is_cut() {
        let table = [
            (0, Some(10), both(10, 10)),
            (4, Some(10), both(6, 10)),
            (-4, Some(10), both(10, 6)),
            (10, Some(10), both(0, 10)),
            (25, Some(10), both(0, 10)),
            (-25, Some(10), both(10, 0)),
            (3, Some(0), both(0, 3)),
            (0, Some(0), both(0, 0)),
            (1_000, None, both(10, 10)),
        ];
        for (position, max, wanted) in table {
            assert_eq!(cut(Position(position), max.map(Qty), both(10, 10)), wanted, "{position} within {max:?}");
        }
        assert_eq!(cut(Position(i64::MIN), Some(Qty(i64::MAX)), both(i64::MAX, 1)), both(i64::MAX, 0));
    }

    proptest! {
        #[test]
        fn no_fill_passes_the_limit_or_could_be_larger(
            position in any::<i64>(),
            max in 0..=i64::MAX,
            (bid, ask) in (0..=i64::MAX, 0..=i64::MAX),
        ) {
            let granted = cut(Position(position), Some(Qty(max)), both(bid, ask));
            let (position, max) = (i128::from(position), i128::from(max));
            let after_buy = |lots: i64| position + i128::from(lots);
            let after_sale = |lots: i64| position - i128::from(lots);
            prop_assert!((0..=bid).contains(&granted.bid.0) && (0..=ask).contains(&granted.ask.0));
            prop_assert!(granted.bid.0 == 0 || after_buy(granted.bid.0) <= max);
            prop_assert!(granted.ask.0 == 0 || after_sale(granted.ask.0) >= -max);
            // One lot more was not asked for, or would pass it.
            prop_assert!(granted.bid.0 == bid || after_buy(granted.bid.0 + 1) > max);
            prop_assert!(granted.ask.0 == ask || after_sale(granted.ask.0 + 1) < -max);
        }
    }
}
