//! What a fill costs its two sides.

use crate::numbers::Money;

/// Parts in a whole.
const MILLION: i128 = 1_000_000;

/// The fee on `notional` at a rate in parts per million (a rebate is negative): ceil(notional x ppm / 10^6), in units of
/// 10^-12. It is rounded once, against who pays: a fee up, a rebate towards zero. `None` where it does not fit, which at a
/// rate within a million either way is never.
#[must_use]
pub fn fee(notional: Money, ppm: i32) -> Option<Money> {
    // With notional = w x 10^6 + r this is w x ppm + ceil(r x ppm / 10^6), and no product is needed that is larger.
    let (whole, rest) = (notional.0.div_euclid(MILLION), notional.0.rem_euclid(MILLION));
    let of_rest = rest * i128::from(ppm);
    let rounded_up = -(-of_rest).div_euclid(MILLION);
    whole.checked_mul(i128::from(ppm))?.checked_add(rounded_up).map(Money)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_fee_is_rounded_up_and_a_rebate_towards_zero() {
        let table = [
            (1_000_000, 100, 100),
            (1, 1, 1),
            (0, 100, 0),
            (1_000_001, 100, 101),
            (1_000_001, -100, -100),
            (9_999, -100, 0),
            (1_000_000, 0, 0),
        ];
        for (notional, ppm, wanted) in table {
            assert_eq!(fee(Money(notional), ppm), Some(Money(wanted)), "{ppm} ppm of {notional}");
        }
    }

    #[test]
    fn the_largest_notional_has_a_fee() {
        assert_eq!(fee(Money(i128::MAX), 1_000_000), Some(Money(i128::MAX)));
        assert_eq!(fee(Money(i128::MAX), 2_000_000), None);
    }

    proptest! {
        #[test]
        fn a_fee_is_the_least_that_is_not_below_the_rate(notional in 0..=i128::MAX / 2_000_000, ppm in -100_000..=100_000i32) {
            let exact = notional * i128::from(ppm);
            let Some(Money(charged)) = fee(Money(notional), ppm) else { panic!("it fits") };
            prop_assert!(charged * 1_000_000 >= exact);
            prop_assert!((charged - 1) * 1_000_000 < exact);
        }

        #[test]
        fn maker_and_taker_together_never_cost_the_venue(notional in 0..=i128::MAX, rebate in 0..=100_000i32) {
            let fees = [fee(Money(notional), -rebate), fee(Money(notional), rebate)];
            let [Some(maker), Some(taker)] = fees else { panic!("they fit") };
            prop_assert!(maker.0 + taker.0 >= 0);
        }
    }
}
