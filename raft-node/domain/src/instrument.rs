//! What is traded.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    decimal::Decimal,
    names::Asset,
    numbers::{MAX_PRICE, Money, Price, Qty},
};

/// Largest `exposure_per_lot`.
pub const EXPOSURE_PER_LOT_MAX: i64 = 100;
/// Largest fee, and largest rebate, in parts per million: a tenth.
pub const FEE_PPM_MAX: i32 = 100_000;

/// The most that a contract may pay for a lot, in 10^-12 of the quote asset: 10^15 of it.
pub const PAYS_MAX: i128 = 1_000_000_000_000_000_000_000_000_000;

/// What a symbol trades: two assets, the steps of price and quantity, and the terms.
///
/// In JSON `base`, `quote`, `tick_size`, `lot_size` and `exposure_per_lot` must be given; the rest has defaults.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Instrument {
    /// What is bought and sold; of a `Binary` the contract. Differs from `quote`.
    pub base: Asset,
    /// What it is paid in: money is an amount of this asset.
    pub quote: Asset,
    /// The price of one tick, as a decimal of the quote asset for one of the base asset.
    pub tick_size: Decimal,
    /// The quantity of one lot, as a decimal of the base asset.
    pub lot_size: Decimal,
    /// The lowest price, in ticks: `1..=MAX_PRICE`. Default 1.
    #[serde(default = "lowest_price")]
    pub min_price: Price,
    /// The highest price, in ticks: `min_price..=MAX_PRICE`, for a `Binary` at most `pays` - 1. Default `MAX_PRICE`.
    #[serde(default = "highest_price")]
    pub max_price: Price,
    /// The least price x quantity of an order, in the quote asset: not below 0. Default 0.
    #[serde(default)]
    pub min_notional: Money,
    /// The resting side's fee, in parts per million of price x quantity: `-FEE_PPM_MAX..=FEE_PPM_MAX`, a rebate is
    /// negative. With the taker's it is not below 0. Default 0.
    #[serde(default)]
    pub maker_fee_ppm: i32,
    /// The taker's fee, likewise. Default 0.
    #[serde(default)]
    pub taker_fee_ppm: i32,
    /// The risk weight: exposure units of one lot, in `1..=EXPOSURE_PER_LOT_MAX`.
    pub exposure_per_lot: i64,
    /// Spot, or an event contract. Default spot.
    #[serde(default)]
    pub kind: Kind,
}

/// What kind of thing an instrument is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Kind {
    /// One asset for another.
    #[default]
    Spot,
    /// An event contract: it settles at 0 or at `pays`, and is traded between one tick and one tick less than `pays`.
    Binary {
        /// What one contract pays where the event comes true, in ticks: `2..=MAX_PRICE`, and at most [`PAYS_MAX`] for a lot.
        pays: Price,
    },
}

/// Why an instrument cannot be traded: a field, and what it must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidInstrument {
    field: &'static str,
    must: String,
}

impl fmt::Display for InvalidInstrument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} must {}", self.field, self.must)
    }
}

impl std::error::Error for InvalidInstrument {}

impl Instrument {
    /// A spot instrument without fees, at any price: for tests and tools.
    #[must_use]
    pub fn spot(base: Asset, quote: Asset, tick_size: Decimal, lot_size: Decimal, exposure_per_lot: i64) -> Self {
        Self {
            base,
            quote,
            tick_size,
            lot_size,
            min_price: lowest_price(),
            max_price: highest_price(),
            min_notional: Money::ZERO,
            maker_fee_ppm: 0,
            taker_fee_ppm: 0,
            exposure_per_lot,
            kind: Kind::Spot,
        }
    }

    /// Checks every field against its range.
    ///
    /// # Errors
    /// [`InvalidInstrument`] names the first field that is out of its range.
    pub fn check(&self) -> Result<(), InvalidInstrument> {
        let highest = self.highest_allowed()?;
        let prices = |least: Price| format!("lie in {least}..={highest} ticks");
        let fees = -FEE_PPM_MAX..=FEE_PPM_MAX;
        let fee_range = || format!("lie in -{FEE_PPM_MAX}..={FEE_PPM_MAX} parts per million");
        must(self.base != self.quote, "base", || "differ from quote".to_owned())?;
        must(self.tick_size.is_positive(), "tick_size", || "be above 0".to_owned())?;
        must(self.lot_size.is_positive(), "lot_size", || "be above 0".to_owned())?;
        must(self.tick_lot_units().is_some(), "tick_size x lot_size", || {
            "be an even whole number of 10^-12 of the quote asset, below 2^127".to_owned()
        })?;
        must(self.pays_in_range(), "pays", || "be at most 10^15 of the quote asset for a lot".to_owned())?;
        must((1..=highest.0).contains(&self.min_price.0), "min_price", || prices(Price(1)))?;
        must((self.min_price..=highest).contains(&self.max_price), "max_price", || prices(self.min_price))?;
        must(self.min_notional >= Money::ZERO, "min_notional", || "not be below 0".to_owned())?;
        must(fees.contains(&self.maker_fee_ppm), "maker_fee_ppm", fee_range)?;
        must(fees.contains(&self.taker_fee_ppm), "taker_fee_ppm", fee_range)?;
        must(self.maker_fee_ppm + self.taker_fee_ppm >= 0, "maker_fee_ppm + taker_fee_ppm", || {
            "not be below 0".to_owned()
        })?;
        must((1..=EXPOSURE_PER_LOT_MAX).contains(&self.exposure_per_lot), "exposure_per_lot", || {
            format!("lie in 1..={EXPOSURE_PER_LOT_MAX}")
        })
    }

    /// The highest price that the kind allows.
    fn highest_allowed(&self) -> Result<Price, InvalidInstrument> {
        match self.kind {
            Kind::Spot => Ok(Price(MAX_PRICE)),
            Kind::Binary { pays } => {
                must((2..=MAX_PRICE).contains(&pays.0), "pays", || format!("lie in 2..={MAX_PRICE} ticks"))?;
                Ok(Price(pays.0 - 1))
            }
        }
    }

    fn pays_in_range(&self) -> bool {
        let Kind::Binary { pays } = self.kind else { return true };
        self.notional(pays, Qty(1)).is_some_and(|money| money.0 <= PAYS_MAX)
    }

    /// Whether an order or a quote may carry this price.
    #[must_use]
    pub fn accepts(&self, price: Price) -> bool {
        (self.min_price..=self.max_price).contains(&price)
    }

    /// Tick size x lot size in units of money, 10^-12 of the quote asset: what one lot is worth at a price of one tick.
    /// `None` where that is not an even whole number of units (half a tick must be a whole number too), or does not fit.
    #[must_use]
    pub fn tick_lot_units(&self) -> Option<i128> {
        self.tick_size.times_in_units(self.lot_size).filter(|units| units % 2 == 0)
    }

    /// What one lot is of the base asset, in 10^-12 of it.
    #[must_use]
    pub fn lot_units(&self) -> i128 {
        self.lot_size.times_in_units(Decimal::ONE).unwrap_or(0)
    }

    /// The most that so many lots can be worth where they trade at `price`: a contract may come to be worth what it pays.
    /// `None` where it does not fit.
    #[must_use]
    pub fn most_worth(&self, price: Price, qty: Qty) -> Option<Money> {
        match self.kind {
            Kind::Spot => self.notional(price, qty),
            Kind::Binary { pays } => self.notional(pays, qty),
        }
    }

    /// Price x quantity; `None` where it does not fit.
    #[must_use]
    pub fn notional(&self, price: Price, qty: Qty) -> Option<Money> {
        let ticks_by_lots = i128::from(price.0).checked_mul(i128::from(qty.0))?;
        ticks_by_lots.checked_mul(self.tick_lot_units()?).map(Money)
    }
}

fn must(holds: bool, field: &'static str, must: impl FnOnce() -> String) -> Result<(), InvalidInstrument> {
    if holds { Ok(()) } else { Err(InvalidInstrument { field, must: must() }) }
}

fn lowest_price() -> Price {
    Price(1)
}

fn highest_price() -> Price {
    Price(MAX_PRICE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::numbers::MAX_QTY;

    fn asset(text: &str) -> Asset {
        text.parse().expect("an asset")
    }

    fn instrument(tick: &str, lot: &str) -> Instrument {
        let (tick, lot) = (tick.parse().expect("a tick"), lot.parse().expect("a lot"));
        Instrument::spot(asset("BTC"), asset("USDT"), tick, lot, 1)
    }

    fn spot() -> Instrument {
        instrument("0.01", "0.001")
    }

    fn binary(pays: i64) -> Instrument {
        Instrument { kind: Kind::Binary { pays: Price(pays) }, max_price: Price(pays - 1), ..spot() }
    }

    fn complaint(of: &Instrument) -> String {
        of.check().expect_err("not to be traded").to_string()
    }

    #[test]
    fn a_definition_needs_five_fields_and_has_defaults_for_the_rest() {
        let least = r#"{"base":"BTC","quote":"USDT","tick_size":"0.01","lot_size":"0.001","exposure_per_lot":1}"#;
        let read: Instrument = serde_json::from_str(least).expect("enough");
        assert_eq!(read, spot());
        for left_out in ["base", "quote", "tick_size", "lot_size", "exposure_per_lot"] {
            let mut fields: serde_json::Map<String, serde_json::Value> = serde_json::from_str(least).expect("a map");
            fields.remove(left_out);
            let less = serde_json::Value::Object(fields).to_string();
            assert!(serde_json::from_str::<Instrument>(&less).is_err(), "without {left_out}");
        }
        let more = least.replace("}", r#","colour":"red"}"#);
        assert!(serde_json::from_str::<Instrument>(&more).is_err(), "an unknown field");
        let contract = least.replace("}", r#","max_price":99,"kind":{"binary":{"pays":100}}}"#);
        assert_eq!(serde_json::from_str::<Instrument>(&contract).expect("a contract"), binary(100));
        let stranger = least.replace("}", r#","kind":{"binary":{"pays":100,"when":1}}}"#);
        assert!(serde_json::from_str::<Instrument>(&stranger).is_err(), "an unknown field of the kind");
    }

    #[test]
    fn each_field_has_its_range() {
        for good in [
            spot(),
            instrument("1", "1"),
            instrument("0.000000000002", "1"),
            binary(2),
            binary(MAX_PRICE),
            Instrument { maker_fee_ppm: -FEE_PPM_MAX, taker_fee_ppm: FEE_PPM_MAX, ..spot() },
            Instrument { min_price: Price(7), max_price: Price(7), ..spot() },
        ] {
            assert_eq!(good.check(), Ok(()), "{good:?}");
        }
        let table = [
            (Instrument { base: asset("USDT"), ..spot() }, "base must differ from quote"),
            (instrument("0", "1"), "tick_size must be above 0"),
            (instrument("1", "-1"), "lot_size must be above 0"),
            (Instrument { min_price: Price(0), ..spot() }, "min_price must lie in 1..=1000000000000000 ticks"),
            (
                Instrument { min_price: Price(5), max_price: Price(4), ..spot() },
                "max_price must lie in 5..=1000000000000000 ticks",
            ),
            (Instrument { max_price: Price(100), ..binary(100) }, "max_price must lie in 1..=99 ticks"),
            (
                Instrument { min_price: Price(100), max_price: Price(100), ..binary(100) },
                "min_price must lie in 1..=99 ticks",
            ),
            (binary(1), "pays must lie in 2..=1000000000000000 ticks"),
            (Instrument { min_notional: Money(-1), ..spot() }, "min_notional must not be below 0"),
            (
                Instrument { taker_fee_ppm: FEE_PPM_MAX + 1, ..spot() },
                "taker_fee_ppm must lie in -100000..=100000 parts per million",
            ),
            (Instrument { maker_fee_ppm: -1, ..spot() }, "maker_fee_ppm + taker_fee_ppm must not be below 0"),
            (Instrument { exposure_per_lot: 101, ..spot() }, "exposure_per_lot must lie in 1..=100"),
        ];
        for (bad, wanted) in table {
            assert_eq!(complaint(&bad), wanted);
        }
    }

    #[test]
    fn a_tick_by_a_lot_is_an_even_number_of_units() {
        assert_eq!(spot().tick_lot_units(), Some(10_000_000));
        assert_eq!(instrument("0.000000000002", "1").tick_lot_units(), Some(2));
        assert_eq!(instrument("0.00000004", "0.00005").tick_lot_units(), Some(2));
        for (tick, lot) in
            [("0.000000000001", "1"), ("0.0000001", "0.0000001"), ("999999999999999999", "999999999999999999")]
        {
            assert_eq!(instrument(tick, lot).tick_lot_units(), None, "{tick} x {lot}");
            assert!(complaint(&instrument(tick, lot)).starts_with("tick_size x lot_size must be an even"));
        }
    }

    #[test]
    fn prices_outside_the_range_are_not_accepted() {
        let contract = binary(100);
        assert!(contract.accepts(Price(1)) && contract.accepts(Price(99)));
        assert!(!contract.accepts(Price(0)) && !contract.accepts(Price(100)));
        assert!(spot().accepts(Price(MAX_PRICE)) && !spot().accepts(Price(MAX_PRICE + 1)));
    }

    #[test]
    fn a_notional_is_exact_or_none() {
        assert_eq!(spot().notional(Price(6_000_001), Qty(3)), Some("180.00003".parse().expect("money")));
        assert_eq!(instrument("1", "1").notional(Price(MAX_PRICE), Qty(MAX_QTY)), None);
        assert_eq!(spot().notional(Price(MAX_PRICE), Qty(MAX_QTY)).map(|money| money.0), Some(10i128.pow(34)));
    }
}
