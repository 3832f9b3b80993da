//! Prices of one revision of an instrument, in the ticks of another.
//!
//! Invariant: a price never changes its worth. One that is no whole number of the new ticks has no place there.

use quorate_domain::{Price, Side};
use quorate_ledger::NewOrder;

use crate::types::{Terms, Tick};

/// The order and its terms in ticks of `to`; `None` where its price is no whole number of them.
///
/// The worst price of an order without one of its own is rounded to the better side: it allows the same prices.
pub(crate) fn in_ticks(order: &NewOrder, terms: Terms, to: Tick) -> Option<(NewOrder, Terms)> {
    let from = terms.tick.filter(|from| from.units != to.units);
    let terms = Terms { tick: Some(to), ..terms };
    let Some(from) = from else { return Some((order.clone(), terms)) };
    let price = match order.price {
        Some(price) => Some(exactly(price, from, to)?),
        None => None,
    };
    let worst = match terms.worst {
        Some(worst) => Some(within(worst, order.side, from, to)?),
        None => None,
    };
    Some((NewOrder { price, ..order.clone() }, Terms { worst, ..terms }))
}

/// A price in other ticks; `None` where it is no whole number of them.
pub(crate) fn exactly(price: Price, from: Tick, to: Tick) -> Option<Price> {
    let worth = worth(price, from, to)?;
    let whole = worth % to.units == 0;
    whole.then(|| i64::try_from(worth / to.units).ok()).flatten().map(Price)
}

/// The worst price in other ticks that is not worse.
fn within(worst: Price, side: Side, from: Tick, to: Tick) -> Option<Price> {
    let worth = worth(worst, from, to)?;
    let ticks = match side {
        Side::Buy => worth.div_euclid(to.units),
        Side::Sell => worth.checked_add(to.units - 1)?.div_euclid(to.units),
    };
    // What does not fit is beyond every price.
    Some(Price(i64::try_from(ticks).unwrap_or(i64::MAX)))
}

fn worth(price: Price, from: Tick, to: Tick) -> Option<i128> {
    i128::from(price.0).checked_mul(from.units).filter(|_| to.units > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn tick(units: i128) -> Tick {
        Tick { revision: 1, units }
    }

    #[test]
    fn a_price_keeps_its_worth_or_has_none() {
        assert_eq!(exactly(Price(100), tick(10), tick(1)), Some(Price(1_000)));
        assert_eq!(exactly(Price(100), tick(10), tick(100)), Some(Price(10)));
        assert_eq!(exactly(Price(105), tick(10), tick(100)), None);
        assert_eq!(exactly(Price(i64::MAX), tick(10), tick(1)), None);
        assert_eq!(exactly(Price(i64::MAX), tick(i128::MAX), tick(1)), None);
        assert_eq!(exactly(Price(1), tick(1), tick(0)), None);
    }

    #[test]
    fn a_worst_price_allows_no_worse_one() {
        let both = |price| [Side::Buy, Side::Sell].map(|side| within(Price(price), side, tick(10), tick(100)));
        assert_eq!(both(100), [Some(Price(10)); 2]);
        assert_eq!(both(105), [Some(Price(10)), Some(Price(11))]);
        assert_eq!(within(Price(i64::MAX), Side::Buy, tick(10), tick(1)), Some(Price(i64::MAX)));
    }
}
