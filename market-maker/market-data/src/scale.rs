//! Decimals into ticks and lots: exactly, or not at all.

use quorate_domain::{Decimal, Instrument, MAX_PRICE, Price, Qty};

/// The steps of a symbol's prices and quantities.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scale {
    tick: Decimal,
    lot: Decimal,
}

/// The tick or the lot is not above 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a tick of {tick} and a lot of {lot} measure nothing: both must be above 0")]
pub struct ScaleError {
    tick: Decimal,
    lot: Decimal,
}

/// Why an amount has no exact place in ticks or lots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OffGrid {
    /// A price between two ticks.
    #[error("the price {price} is no whole number of ticks of {tick}")]
    Tick {
        /// The price.
        price: Decimal,
        /// The tick size.
        tick: Decimal,
    },
    /// A quantity between two lots.
    #[error("the quantity {qty} is no whole number of lots of {lot}")]
    Lot {
        /// The quantity.
        qty: Decimal,
        /// The lot size.
        lot: Decimal,
    },
    /// A price that is not above 0, or above [`MAX_PRICE`] ticks.
    #[error("the price {price} is not between 1 and {MAX_PRICE} ticks of {tick}")]
    Price {
        /// The price.
        price: Decimal,
        /// The tick size.
        tick: Decimal,
    },
    /// A quantity below 0, or of more lots than can be counted.
    #[error("the quantity {qty} is below 0, or more lots of {lot} than can be counted")]
    Qty {
        /// The quantity.
        qty: Decimal,
        /// The lot size.
        lot: Decimal,
    },
}

impl Scale {
    /// Of these steps.
    ///
    /// # Errors
    /// [`ScaleError`] where one of them is not above 0.
    pub fn new(tick: Decimal, lot: Decimal) -> Result<Self, ScaleError> {
        if tick.is_positive() && lot.is_positive() { Ok(Self { tick, lot }) } else { Err(ScaleError { tick, lot }) }
    }

    /// Of an instrument's steps.
    ///
    /// # Errors
    /// As of [`Scale::new`].
    pub fn of(instrument: &Instrument) -> Result<Self, ScaleError> {
        Self::new(instrument.tick_size, instrument.lot_size)
    }

    /// The price of one tick.
    #[must_use]
    pub fn tick(&self) -> Decimal {
        self.tick
    }

    /// The quantity of one lot.
    #[must_use]
    pub fn lot(&self) -> Decimal {
        self.lot
    }

    /// A price in ticks, in `1..=MAX_PRICE`.
    ///
    /// # Errors
    /// [`OffGrid`] where it is no whole number of them, or out of range.
    pub fn price(&self, price: Decimal) -> Result<Price, OffGrid> {
        let tick = self.tick;
        match price.in_steps_of(tick) {
            Ok(ticks) if Price(ticks).is_valid() => Ok(Price(ticks)),
            Err(quorate_domain::InvalidDecimal::OffStep { .. }) => Err(OffGrid::Tick { price, tick }),
            _ => Err(OffGrid::Price { price, tick }),
        }
    }

    /// A quantity in lots, not below 0.
    ///
    /// # Errors
    /// [`OffGrid`] where it is no whole number of them, below 0, or does not fit.
    pub fn qty(&self, qty: Decimal) -> Result<Qty, OffGrid> {
        let lot = self.lot;
        match qty.in_steps_of(lot) {
            Ok(lots) if lots >= 0 => Ok(Qty(lots)),
            Err(quorate_domain::InvalidDecimal::OffStep { .. }) => Err(OffGrid::Lot { qty, lot }),
            _ => Err(OffGrid::Qty { qty, lot }),
        }
    }
}

impl Scale {
    /// A quantity in lots, and whether that is all of it: a part of a lot is left out. For venues whose books still hold
    /// orders that were placed before a lot grew; whoever calls this says how often it happened.
    ///
    /// # Errors
    /// [`OffGrid::Qty`] where it is below 0, or does not fit.
    pub fn whole_lots(&self, qty: Decimal) -> Result<(Qty, bool), OffGrid> {
        let lot = self.lot;
        match self.qty(qty) {
            Err(OffGrid::Lot { .. }) => {
                // Both are whole numbers of the finer one's last digit.
                let unit = Decimal::new(1, qty.decimals().max(lot.decimals()));
                let units = |of: Decimal| unit.and_then(|unit| of.in_steps_of(unit).ok());
                let lots = units(qty).zip(units(lot)).and_then(|(qty, lot)| qty.checked_div(lot));
                let lots = lots.filter(|_| qty.is_positive()).ok_or(OffGrid::Qty { qty, lot })?;
                Ok((Qty(lots), false))
            }
            exact => exact.map(|qty| (qty, true)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decimal(text: &str) -> Decimal {
        text.parse().expect("a decimal")
    }

    #[test]
    fn amounts_are_whole_steps_or_say_why_not() {
        let scale = Scale::new(decimal("0.1"), decimal("0.001")).expect("steps");
        assert_eq!(scale.price(decimal("58710.20")), Ok(Price(587_102)));
        assert_eq!(scale.qty(decimal("0.000")), Ok(Qty(0)));
        assert_eq!(scale.qty(decimal("20.004")), Ok(Qty(20_004)));
        let price = |text| scale.price(decimal(text)).expect_err("off").to_string();
        assert_eq!(price("58710.25"), "the price 58710.25 is no whole number of ticks of 0.1");
        assert_eq!(price("0"), "the price 0 is not between 1 and 1000000000000000 ticks of 0.1");
        assert_eq!(price("-0.1"), "the price -0.1 is not between 1 and 1000000000000000 ticks of 0.1");
        assert_eq!(
            price("100000000000000.1"),
            "the price 100000000000000.1 is not between 1 and 1000000000000000 ticks of 0.1"
        );
        let qty = |text| scale.qty(decimal(text)).expect_err("off").to_string();
        assert_eq!(qty("0.0005"), "the quantity 0.0005 is no whole number of lots of 0.001");
        assert_eq!(qty("-1"), "the quantity -1 is below 0, or more lots of 0.001 than can be counted");
        assert_eq!(
            qty("99999999999999999"),
            "the quantity 99999999999999999 is below 0, or more lots of 0.001 than can be counted"
        );
    }

    #[test]
    fn a_part_of_a_lot_is_left_out_only_where_that_is_asked_for() {
        let scale = Scale::new(decimal("0.1"), decimal("0.002")).expect("steps");
        let lots = |text| scale.whole_lots(decimal(text));
        assert_eq!(lots("0.004"), Ok((Qty(2), true)));
        assert_eq!(lots("0.005"), Ok((Qty(2), false)));
        assert_eq!(lots("25.426189"), Ok((Qty(12_713), false)));
        assert_eq!(lots("0.0000001"), Ok((Qty(0), false)));
        assert!(lots("-0.005").is_err() && lots("-0.004").is_err() && lots("99999999999999999").is_err());
    }

    #[test]
    fn steps_are_above_zero() {
        for (tick, lot) in [("0", "1"), ("1", "0"), ("-1", "1")] {
            assert!(Scale::new(decimal(tick), decimal(lot)).is_err(), "{tick} {lot}");
        }
    }
}
