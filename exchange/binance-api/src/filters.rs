//! A symbol's filters, and the exact way from decimals to ticks and lots and back.

use std::ops::RangeInclusive;

use quorate_domain::{Decimal, MAX_PRICE, MAX_QTY, Price, Qty, Side, SymbolSpec};
use serde_json::{Value, json};

use crate::error::ApiError;

/// Price x quantity of a limit order at most, in units of the quote asset.
const MAX_NOTIONAL: i64 = 10_000_000_000;
/// How far behind the market an order may rest: at most so many times above the reference price, or below it.
const BEHIND: i128 = 5;

/// What orders of one symbol must keep to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SymbolFilters {
    spec: SymbolSpec,
    min_notional: Decimal,
    band: Option<PriceBand>,
}

/// How far orders may lie from a reference price, each side by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PriceBand {
    /// So much of the price, in percent, a buy may lie above it and a sell below it; below 100.
    pub percent: u32,
    /// The price, in half ticks, where there is one now.
    pub half_ticks: Option<i64>,
}

impl PriceBand {
    /// The lowest and the highest price at which an order of this side may stand, in ticks.
    fn range(self, side: Side) -> Option<RangeInclusive<i128>> {
        let half_ticks = i128::from(self.half_ticks?);
        let percent = i128::from(self.percent);
        // Two half ticks make a tick.
        let (low, high) = match side {
            Side::Buy => ((half_ticks + 2 * BEHIND - 1) / (2 * BEHIND), half_ticks * (100 + percent) / 200),
            Side::Sell => ((half_ticks * (100 - percent) + 199) / 200, half_ticks * BEHIND / 2),
        };
        Some(low..=high)
    }
}

impl SymbolFilters {
    /// For a symbol of this spec, with the least price x quantity that an order may have.
    #[must_use]
    pub fn new(spec: SymbolSpec, min_notional: Decimal) -> Self {
        Self { spec, min_notional, band: None }
    }

    /// With a band around a reference price.
    #[must_use]
    pub fn within(self, band: PriceBand) -> Self {
        Self { band: Some(band), ..self }
    }

    /// Checks how far a price lies from the reference price, where there is one.
    ///
    /// # Errors
    /// `-1013 PERCENT_PRICE_BY_SIDE` where it lies too far.
    pub fn check_band(&self, side: Side, price: Price) -> Result<(), ApiError> {
        match self.band.and_then(|band| band.range(side)) {
            Some(range) if !range.contains(&i128::from(price.0)) => Err(ApiError::filter("PERCENT_PRICE_BY_SIDE")),
            Some(_) | None => Ok(()),
        }
    }

    /// The worst price at which a market order trades, where there is a reference price.
    #[must_use]
    pub fn worst(&self, side: Side) -> Option<Price> {
        let range = self.band?.range(side)?;
        let worst = match side {
            Side::Buy => *range.end(),
            Side::Sell => *range.start(),
        };
        Some(Price(i64::try_from(worst).unwrap_or(MAX_PRICE).min(MAX_PRICE)))
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
    /// `-1013 NOTIONAL` where it is less than the least, or more than the most.
    pub fn check_notional(&self, price: Price, qty: Qty) -> Result<(), ApiError> {
        let (tick, lot, least) = (self.spec.tick_size, self.spec.lot_size, self.min_notional);
        // All as whole numbers of the same unit, 10^-decimals.
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
        let (least, most) = (scaled(&[mantissa(least)], least.decimals()), scaled(&[MAX_NOTIONAL.into()], 0));
        // What does not fit is larger than what does.
        let fits = match worth {
            None => most.is_none(),
            Some(worth) => least.is_some_and(|least| worth >= least) && most.is_none_or(|most| worth <= most),
        };
        if fits { Ok(()) } else { Err(ApiError::filter("NOTIONAL")) }
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

    /// As `exchangeInfo` gives them, with the most open orders that an account may have.
    #[must_use]
    pub fn describe(&self, orders_max: usize) -> Vec<Value> {
        let (tick, lot) = (self.spec.tick_size, self.spec.lot_size);
        let quantity = |name: &str| {
            json!({"filterType": name, "minQty": lot.to_string(), "maxQty": lot.times(i128::from(MAX_QTY)),
                   "stepSize": lot.to_string()})
        };
        let mut filters = vec![
            json!({"filterType": "PRICE_FILTER", "minPrice": tick.to_string(),
                   "maxPrice": tick.times(i128::from(MAX_PRICE)), "tickSize": tick.to_string()}),
            quantity("LOT_SIZE"),
            quantity("MARKET_LOT_SIZE"),
            json!({"filterType": "NOTIONAL", "minNotional": self.min_notional.to_string(), "applyMinToMarket": false,
                   "maxNotional": MAX_NOTIONAL.to_string(), "applyMaxToMarket": false, "avgPriceMins": 0}),
            json!({"filterType": "MAX_NUM_ORDERS", "maxNumOrders": orders_max}),
        ];
        if let Some(PriceBand { percent, .. }) = self.band {
            let hundredths = |count: u32| format!("{}.{:02}", count / 100, count % 100);
            filters.push(json!({"filterType": "PERCENT_PRICE_BY_SIDE",
                   "bidMultiplierUp": hundredths(100 + percent), "bidMultiplierDown": "0.20",
                   "askMultiplierUp": "5.00", "askMultiplierDown": hundredths(100 - percent), "avgPriceMins": 0}));
        }
        filters
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
    fn prices_keep_to_the_band_on_their_side() {
        // 100.005, between two ticks.
        let filters = filters().within(PriceBand { percent: 10, half_ticks: Some(20_001) });
        let takes = |side, price| filters.check_band(side, Price(price)).is_ok();
        let edges = |side, low, high| {
            assert_eq!([low - 1, low, high, high + 1].map(|price| takes(side, price)), [false, true, true, false]);
        };
        edges(Side::Buy, 2_001, 11_000);
        edges(Side::Sell, 9_001, 50_002);
        assert_eq!((filters.worst(Side::Buy), filters.worst(Side::Sell)), (Some(Price(11_000)), Some(Price(9_001))));
        let error = filters.check_band(Side::Sell, Price(1)).expect_err("too low");
        assert_eq!((error.code, error.msg.as_str()), (-1013, "Filter failure: PERCENT_PRICE_BY_SIDE"));
        // One tick, and the largest price.
        let at = |half_ticks| filters.within(PriceBand { percent: 10, half_ticks: Some(half_ticks) });
        assert!(at(2).check_band(Side::Buy, Price(1)).is_ok() && at(2).check_band(Side::Sell, Price(1)).is_ok());
        assert_eq!(at(2 * MAX_PRICE).worst(Side::Buy), Some(Price(MAX_PRICE)));
        let unpriced = filters.within(PriceBand { percent: 10, half_ticks: None });
        assert!(unpriced.check_band(Side::Buy, Price(MAX_PRICE)).is_ok() && unpriced.worst(Side::Buy).is_none());
    }

    #[test]
    fn an_order_worth_too_little_is_refused() {
        let filters = filters();
        assert!(filters.check_notional(Price(500_000), Qty(1)).is_ok());
        assert_eq!(
            filters.check_notional(Price(499_999), Qty(1)).expect_err("too small").msg,
            "Filter failure: NOTIONAL"
        );
        assert!(filters.check_notional(Price(MAX_PRICE), Qty(MAX_QTY)).is_err());
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
        assert!(filters.check_notional(Price(10_000_000), Qty(1)).is_ok());
        assert!(filters.check_notional(Price(10_000_001), Qty(1)).is_err());
        assert!(filters.check_notional(Price(MAX_PRICE), Qty(MAX_QTY)).is_err());
    }

    #[test]
    fn the_filters_are_described_as_they_are_kept() {
        let described = filters().within(PriceBand { percent: 7, half_ticks: None }).describe(200);
        let names: Vec<&str> = described.iter().filter_map(|filter| filter["filterType"].as_str()).collect();
        let wanted =
            ["PRICE_FILTER", "LOT_SIZE", "MARKET_LOT_SIZE", "NOTIONAL", "MAX_NUM_ORDERS", "PERCENT_PRICE_BY_SIDE"];
        assert_eq!(names, wanted);
        assert_eq!(described[4]["maxNumOrders"], 200);
        assert_eq!(
            (&described[5]["bidMultiplierUp"], &described[5]["askMultiplierDown"]),
            (&json!("1.07"), &json!("0.93"))
        );
        assert_eq!(filters().describe(200).len(), 5, "no band without a reference price");
        assert_eq!(described[0]["tickSize"], "0.01");
        assert_eq!(described[1]["stepSize"], "0.001");
        assert_eq!(described[3]["minNotional"], "5");
    }
}
