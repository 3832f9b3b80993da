//! Fees.
use crate::numbers::Money;

/// The fee, rounded up; a rebate is rounded towards 0.
#[must_use]
pub fn fee(notional: Money, ppm: i32) -> Option<Money> {
    let (whole, rest) = (notional.0.div_euclid(1_000_000), notional.0.rem_euclid(1_000_000));
    let ppm = i128::from(ppm);
    let rest = rest * ppm;
    let up = -(-rest).div_euclid(1_000_000);
    whole.checked_mul(ppm)?.checked_add(up).map(Money)
}
