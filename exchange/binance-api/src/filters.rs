//! A symbol's filters, and the exact way from decimals to ticks and lots and back.

use quorate_domain::{Decimal, MAX_PRICE, MAX_QTY, Price, Qty, SymbolSpec};
use serde_json::{Value, json};

use crate::error::ApiError;

/// What orders of one symbol must keep to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SymbolFilters {
    spec: SymbolSpec,
    min_notional: Decimal,
}

impl SymbolFilters {
    /// For a symbol of this spec, with the least price x quantity that an order may have.
    #[must_use]
    pub fn new(spec: SymbolSpec, min_notional: Decimal) -> Self {
        Self { spec, min_notional }
    }

    /// A price in ticks.
    ///
    /// # Errors
    /// `-1013 PRICE_FILTER` where it is no multiple of the tick, or out of range.
    pub fn ticks(&self, price: Decimal) -> Result<Price, ApiError> {
        let ticks = price.in_steps_of(self.spec.tick_size).map(Price);
        ticks.ok().filter(|price| price.is_valid()).ok_or_else(|| ApiError::filter("PRICE_FILTER"))
    }

    /// A quantity in lots.
    ///
    /// # Errors
    /// `-1013 LOT_SIZE` (for a market order `MARKET_LOT_SIZE`) where it is no multiple of the lot, or out of range.
    pub fn lots(&self, quantity: Decimal, market: bool) -> Result<Qty, ApiError> {
        let name = if market { "MARKET_LOT_SIZE" } else { "LOT_SIZE" };
        let lots = quantity.in_steps_of(self.spec.lot_size).map(Qty);
        lots.ok().filter(|qty| qty.is_valid()).ok_or_else(|| ApiError::filter(name))
    }

    /// Checks price x quantity.
    ///
    /// # Errors
    /// `-1013 NOTIONAL` where it is less than the least.
    pub fn check_notional(&self, price: Price, qty: Qty) -> Result<(), ApiError> {
        let (tick, lot, least) = (self.spec.tick_size, self.spec.lot_size, self.min_notional);
        // Both as whole numbers of the same unit, 10^-decimals.
        let decimals = (tick.decimals() + lot.decimals()).max(least.decimals());
        let scaled = |factors: &[i128], of: u32| {
            let unit = 10_i128.checked_pow(decimals - of);
            factors
                .iter()
                .chain(&unit)
                .try_fold(1_i128, |product, factor| product.checked_mul(*factor))
                .filter(|_| unit.is_some())
        };
        let worth =
            scaled(&[price.0.into(), qty.0.into(), mantissa(tick), mantissa(lot)], tick.decimals() + lot.decimals());
        // What does not fit is larger than what does; an order that large is worth enough.
        let enough = match (worth, scaled(&[mantissa(least)], least.decimals())) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(worth), Some(least)) => worth >= least,
        };
        if enough { Ok(()) } else { Err(ApiError::filter("NOTIONAL")) }
    }

    /// Ticks as text.
    #[must_use]
    pub fn price(&self, price: Price) -> String {
        self.spec.tick_size.times(i128::from(price.0))
    }

    /// Lots as text.
    #[must_use]
    pub fn qty(&self, qty: Qty) -> String {
        self.spec.lot_size.times(i128::from(qty.0))
    }

    /// Ticks x lots as text.
    #[must_use]
    pub fn money(&self, ticks_by_lots: i128) -> String {
        self.spec.tick_size.times_both(self.spec.lot_size, ticks_by_lots)
    }

    /// As `exchangeInfo` gives them.
    #[must_use]
    pub fn describe(&self) -> Vec<Value> {
        let (tick, lot) = (self.spec.tick_size, self.spec.lot_size);
        let quantity = |name: &str| {
            json!({"filterType": name, "minQty": lot.to_string(), "maxQty": lot.times(i128::from(MAX_QTY)),
                   "stepSize": lot.to_string()})
        };
        vec![
            json!({"filterType": "PRICE_FILTER", "minPrice": tick.to_string(),
                   "maxPrice": tick.times(i128::from(MAX_PRICE)), "tickSize": tick.to_string()}),
            quantity("LOT_SIZE"),
            quantity("MARKET_LOT_SIZE"),
            json!({"filterType": "NOTIONAL", "minNotional": self.min_notional.to_string(),
                   "applyMinToMarket": false}),
        ]
    }
}

/// A decimal's digits as a whole number.
fn mantissa(decimal: Decimal) -> i128 {
    let unit = Decimal::new(1, decimal.decimals());
    // A decimal is a whole number of units of its last digit, and fits by its own bounds.
    unit.and_then(|unit| decimal.in_steps_of(unit).ok()).map_or(0, i128::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decimal(text: &str) -> Decimal {
        text.parse().expect("a valid decimal")
    }

    fn filters() -> SymbolFilters {
        let spec = SymbolSpec { tick_size: decimal("0.01"), lot_size: decimal("0.001"), exposure_per_lot: 1 };
        SymbolFilters::new(spec, decimal("5"))
    }

    #[test]
    fn amounts_are_exact_or_refused() {
        let filters = filters();
        assert_eq!(filters.ticks(decimal("60000.01")), Ok(Price(6_000_001)));
        assert_eq!(filters.ticks(decimal("60000.015")).expect_err("off tick").msg, "Filter failure: PRICE_FILTER");
        assert_eq!(filters.lots(decimal("0.5"), false), Ok(Qty(500)));
        assert_eq!(filters.lots(decimal("0.0005"), false).expect_err("off lot").msg, "Filter failure: LOT_SIZE");
        assert_eq!(filters.lots(decimal("0.0005"), true).expect_err("off lot").msg, "Filter failure: MARKET_LOT_SIZE");
        assert_eq!(filters.price(Price(6_000_001)), "60000.01");
        assert_eq!(filters.money(1_500_000), "15.00000");
    }

    #[test]
    fn an_order_worth_too_little_is_refused() {
        let filters = filters();
        assert!(filters.check_notional(Price(500_000), Qty(1)).is_ok());
        assert_eq!(
            filters.check_notional(Price(499_999), Qty(1)).expect_err("too small").msg,
            "Filter failure: NOTIONAL"
        );
        assert!(filters.check_notional(Price(MAX_PRICE), Qty(MAX_QTY)).is_ok());
    }

    #[test]
    fn the_worth_is_exact_down_to_the_last_digit() {
        // 16 digits after the point: more than a decimal of this project holds.
        let fine =
            SymbolSpec { tick_size: decimal("0.00000001"), lot_size: decimal("0.00000001"), exposure_per_lot: 1 };
        let filters = SymbolFilters::new(fine, decimal("0.00001"));
        assert!(filters.check_notional(Price(1), Qty(1)).is_err());
        assert!(filters.check_notional(Price(99_999), Qty(1_000_000)).is_err());
        assert!(filters.check_notional(Price(100_000), Qty(1_000_000)).is_ok());
        let coarse = SymbolSpec { tick_size: decimal("100"), lot_size: decimal("10"), exposure_per_lot: 1 };
        let filters = SymbolFilters::new(coarse, decimal("2000.000000000001"));
        assert!(filters.check_notional(Price(2), Qty(1)).is_err());
        assert!(filters.check_notional(Price(3), Qty(1)).is_ok());
        assert!(filters.check_notional(Price(MAX_PRICE), Qty(MAX_QTY)).is_ok());
    }

    #[test]
    fn the_filters_are_described_as_they_are_kept() {
        let described = filters().describe();
        let names: Vec<&str> = described.iter().filter_map(|filter| filter["filterType"].as_str()).collect();
        assert_eq!(names, ["PRICE_FILTER", "LOT_SIZE", "MARKET_LOT_SIZE", "NOTIONAL"]);
        assert_eq!(described[0]["tickSize"], "0.01");
        assert_eq!(described[1]["stepSize"], "0.001");
        assert_eq!(described[3]["minNotional"], "5");
    }
}
