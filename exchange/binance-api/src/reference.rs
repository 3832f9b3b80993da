//! What is asked of a reference price before anybody believes it.
//!
//! Invariant: every reference price goes through [`Believed::check`], whatever its source: at the exchange, which
//! takes it, and at the maker, which is told it by the exchange.

use std::fmt;

use quorate_domain::{Decimal, MAX_PRICE};

/// Why a reference price is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doubt {
    /// A price is zero or negative.
    NotPositive,
    /// The bid is at or above the ask.
    Crossed,
    /// Its sequence number or its time is below that of a price that was believed.
    Backward,
    /// It is less than one tick, or more than the ledger takes.
    OutOfRange,
}

impl Doubt {
    /// All of them, in the order of their counters.
    pub const ALL: [Self; 4] = [Self::NotPositive, Self::Crossed, Self::Backward, Self::OutOfRange];

    /// Its name in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotPositive => "not_positive",
            Self::Crossed => "crossed",
            Self::Backward => "backward",
            Self::OutOfRange => "out_of_range",
        }
    }
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotPositive => "a price is zero or negative",
            Self::Crossed => "the bid is not below the ask",
            Self::Backward => "its sequence number or time is below that of an earlier price",
            Self::OutOfRange => "it is less than one tick, or more than the ledger takes",
        })
    }
}

/// A reference price as its source gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Given {
    /// One price.
    Price(Decimal),
    /// The best prices of a market: the reference is their middle.
    Best {
        /// The highest price that somebody pays.
        bid: Decimal,
        /// The lowest price that somebody asks.
        ask: Decimal,
    },
}

impl Given {
    /// The price itself, where it can be one.
    ///
    /// # Errors
    /// [`Doubt`], except for [`Doubt::Backward`].
    pub fn price(self) -> Result<Decimal, Doubt> {
        match self {
            Self::Price(price) if !price.is_positive() => Err(Doubt::NotPositive),
            Self::Price(price) => Ok(price),
            Self::Best { bid, ask } if !bid.is_positive() || !ask.is_positive() => Err(Doubt::NotPositive),
            Self::Best { bid, ask } => {
                // Both are whole numbers of the finer one's last digit, so their difference is exact.
                let unit = Decimal::new(1, bid.decimals().max(ask.decimals()));
                let units = |price: Decimal| unit.and_then(|unit| price.in_steps_of(unit).ok());
                match (units(bid), units(ask)) {
                    (Some(bid), Some(ask)) if bid >= ask => Err(Doubt::Crossed),
                    (Some(_), Some(_)) => bid.mid(ask).ok_or(Doubt::OutOfRange),
                    _ => Err(Doubt::OutOfRange),
                }
            }
        }
    }
}

/// Where a price stands among those of its source. What is not told is not compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stamp {
    /// Counts the beginnings of the source; in a later one, sequence numbers and times begin anew.
    pub epoch: u64,
    /// The source's number of the update.
    pub seq: Option<u64>,
    /// The source's time of the update, in whatever unit the source uses.
    pub time: Option<u64>,
}

/// What was believed of one source last. A price that is not believed leaves no trace here.
#[derive(Debug, Clone, Copy, Default)]
pub struct Believed(Stamp);

impl Believed {
    /// The price, where it can be believed after those before it.
    ///
    /// # Errors
    /// [`Doubt`] says why it cannot.
    pub fn check(&mut self, given: Given, stamp: Stamp) -> Result<Decimal, Doubt> {
        let price = given.price()?;
        let last = if stamp.epoch > self.0.epoch { Stamp::default() } else { self.0 };
        let below = |new: Option<u64>, last: Option<u64>| new.zip(last).is_some_and(|(new, last)| new < last);
        if stamp.epoch < last.epoch || below(stamp.seq, last.seq) || below(stamp.time, last.time) {
            return Err(Doubt::Backward);
        }
        self.0 = Stamp { epoch: stamp.epoch, seq: stamp.seq.or(last.seq), time: stamp.time.or(last.time) };
        Ok(price)
    }
}

/// `price` in half ticks of `tick_size`, to the nearest: the middle of two prices in ticks is exact.
///
/// # Errors
/// [`Doubt::NotPositive`]; [`Doubt::OutOfRange`] outside `2..=2 * MAX_PRICE`.
pub fn half_ticks(price: Decimal, tick_size: Decimal) -> Result<i64, Doubt> {
    if !price.is_positive() {
        return Err(Doubt::NotPositive);
    }
    let unit = Decimal::new(1, price.decimals().max(tick_size.decimals()));
    let units = |of: Decimal| unit.and_then(|unit| of.in_steps_of(unit).ok()).map(i128::from);
    let (Some(price), Some(tick)) = (units(price), units(tick_size)) else { return Err(Doubt::OutOfRange) };
    if tick <= 0 {
        return Err(Doubt::OutOfRange);
    }
    let half_ticks = (4 * price + tick).div_euclid(2 * tick);
    i64::try_from(half_ticks).ok().filter(|half| (2..=2 * MAX_PRICE).contains(half)).ok_or(Doubt::OutOfRange)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decimal(text: &str) -> Decimal {
        text.parse().expect("a decimal")
    }

    fn best(bid: &str, ask: &str) -> Given {
        Given::Best { bid: decimal(bid), ask: decimal(ask) }
    }

    #[test]
    fn a_price_that_cannot_be_is_doubted() {
        let doubted = [
            (Given::Price(decimal("0")), Doubt::NotPositive),
            (Given::Price(decimal("-1")), Doubt::NotPositive),
            (best("0", "61837.64"), Doubt::NotPositive),
            (best("61837.62", "0"), Doubt::NotPositive),
            (best("0", "0"), Doubt::NotPositive),
            (best("-2", "-1"), Doubt::NotPositive),
            (best("90000", "61837.64"), Doubt::Crossed),
            (best("61837.640", "61837.64"), Doubt::Crossed),
            (best("999999999999999999", "0.000000000001"), Doubt::OutOfRange),
        ];
        for (given, doubt) in doubted {
            assert_eq!(Believed::default().check(given, Stamp::default()), Err(doubt), "{given:?}");
        }
        let mid = Believed::default().check(best("61837.62", "61837.64"), Stamp::default());
        assert_eq!(mid, Ok(decimal("61837.63")));
    }

    #[test]
    fn what_goes_back_is_doubted_and_forgotten() {
        let mut believed = Believed::default();
        let mut check =
            |epoch, seq, time| believed.check(Given::Price(decimal("1")), Stamp { epoch, seq, time }).map(|_| ());
        assert_eq!(check(1, Some(7), Some(70)), Ok(()));
        assert_eq!(check(1, Some(6), Some(80)), Err(Doubt::Backward));
        assert_eq!(check(1, Some(9), Some(69)), Err(Doubt::Backward));
        // What was doubted moved nothing; the same once more confirms; what is not told is not compared.
        assert_eq!(check(1, Some(7), Some(70)), Ok(()));
        assert_eq!(check(1, None, None), Ok(()));
        assert_eq!(check(1, Some(6), None), Err(Doubt::Backward));
        // A new beginning may count from below; an old one does not come back.
        assert_eq!(check(2, Some(1), Some(1)), Ok(()));
        assert_eq!(check(1, Some(8), Some(90)), Err(Doubt::Backward));
    }

    #[test]
    fn half_ticks_are_the_nearest_however_fine_the_price_is() {
        let half = |price, tick| half_ticks(decimal(price), decimal(tick));
        assert_eq!(half("61837.635", "0.01"), Ok(12_367_527));
        assert_eq!(half("61837.63", "0.01"), Ok(12_367_526));
        assert_eq!(half("61837.639", "0.01"), Ok(12_367_528));
        assert_eq!(half("61837.635", "5"), Ok(24_735));
        assert_eq!(half("61837.635", "0.0001"), Ok(1_236_752_700));
        assert_eq!(half("0.01", "0.01"), Ok(2));
        assert_eq!(half("0.004", "0.01"), Err(Doubt::OutOfRange));
        assert_eq!(half("999999999999999999", "0.01"), Err(Doubt::OutOfRange));
        assert_eq!(half("0", "0.01"), Err(Doubt::NotPositive));
    }
}
