//! A symbol's filters, and the exact way from decimals to ticks and lots and back.

use quorate_domain::{Decimal, Instrument, MAX_QTY, Money, Price, Qty};
use serde_json::{Value, json};

use crate::error::ApiError;

/// What orders of one symbol must keep to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SymbolFilters {
    instrument: Instrument,
    min_notional: Money,
}

impl SymbolFilters {
    /// For a symbol of this instrument; its least price x quantity is raised to `min_notional`.
    #[must_use]
    pub fn new(instrument: Instrument, min_notional: Money) -> Self {
        let min_notional = min_notional.max(instrument.min_notional);
        Self { instrument, min_notional }
    }

    /// A price in ticks.
    ///
    /// # Errors
    /// `-1013 PRICE_FILTER` where it is no multiple of the tick, or out of range.
    pub fn ticks(&self, price: Decimal) -> Result<Price, ApiError> {
        let ticks = price.in_steps_of(self.instrument.tick_size).map(Price);
        ticks.ok().filter(|price| self.instrument.accepts(*price)).ok_or_else(|| ApiError::filter("PRICE_FILTER"))
    }

    /// A quantity in lots.
    ///
    /// # Errors
    /// `-1013 LOT_SIZE` (for a market order `MARKET_LOT_SIZE`) where it is no multiple of the lot, or out of range.
    pub fn lots(&self, quantity: Decimal, market: bool) -> Result<Qty, ApiError> {
        let name = if market { "MARKET_LOT_SIZE" } else { "LOT_SIZE" };
        let lots = quantity.in_steps_of(self.instrument.lot_size).map(Qty);
        lots.ok().filter(|qty| qty.is_valid()).ok_or_else(|| ApiError::filter(name))
    }

    /// Checks price x quantity.
    ///
    /// # Errors
    /// `-1013 NOTIONAL` where it is less than the least.
    pub fn check_notional(&self, price: Price, qty: Qty) -> Result<(), ApiError> {
        // What does not fit is larger than what does; an order that large is worth enough.
        let enough = self.instrument.notional(price, qty).is_none_or(|worth| worth >= self.min_notional);
        if enough { Ok(()) } else { Err(ApiError::filter("NOTIONAL")) }
    }

    /// Ticks as text.
    #[must_use]
    pub fn price(&self, price: Price) -> String {
        self.instrument.tick_size.times(i128::from(price.0))
    }

    /// Lots as text.
    #[must_use]
    pub fn qty(&self, qty: Qty) -> String {
        self.instrument.lot_size.times(i128::from(qty.0))
    }

    /// As `exchangeInfo` gives them.
    #[must_use]
    pub fn describe(&self) -> Vec<Value> {
        let (tick, lot) = (self.instrument.tick_size, self.instrument.lot_size);
        let (lowest, highest) = (self.instrument.min_price, self.instrument.max_price);
        let quantity = |name: &str| {
            json!({"filterType": name, "minQty": lot.to_string(), "maxQty": lot.times(i128::from(MAX_QTY)),
                   "stepSize": lot.to_string()})
        };
        vec![
            json!({"filterType": "PRICE_FILTER", "minPrice": self.price(lowest),
                   "maxPrice": self.price(highest), "tickSize": tick.to_string()}),
            quantity("LOT_SIZE"),
            quantity("MARKET_LOT_SIZE"),
            json!({"filterType": "NOTIONAL", "minNotional": self.min_notional.to_string(),
                   "applyMinToMarket": false}),
        ]
    }
}

#[cfg(test)]
mod tests {
    use quorate_domain::MAX_PRICE;

    use super::*;

    fn decimal(text: &str) -> Decimal {
        text.parse().expect("a valid decimal")
    }

    fn money(text: &str) -> Money {
        text.parse().expect("money")
    }

    fn instrument(tick: &str, lot: &str) -> Instrument {
        let asset = |text: &str| text.parse().expect("an asset");
        Instrument::spot(asset("BTC"), asset("USDT"), decimal(tick), decimal(lot), 1)
    }

    fn filters() -> SymbolFilters {
        SymbolFilters::new(instrument("0.01", "0.001"), money("5"))
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
        let filters = SymbolFilters::new(instrument("0.00000002", "0.0001"), money("0.000002"));
        assert!(filters.check_notional(Price(1), Qty(1)).is_err());
        assert!(filters.check_notional(Price(999_999), Qty(1)).is_err());
        assert!(filters.check_notional(Price(1_000_000), Qty(1)).is_ok());
        let filters = SymbolFilters::new(instrument("100", "10"), money("2000.000000000001"));
        assert!(filters.check_notional(Price(2), Qty(1)).is_err());
        assert!(filters.check_notional(Price(3), Qty(1)).is_ok());
        assert!(filters.check_notional(Price(MAX_PRICE), Qty(MAX_QTY)).is_ok());
    }

    #[test]
    fn the_instrument_may_ask_for_more() {
        let ranged = Instrument {
            min_notional: money("7"),
            min_price: Price(10),
            max_price: Price(20),
            ..instrument("0.01", "0.001")
        };
        let filters = SymbolFilters::new(ranged, money("5"));
        assert_eq!(filters.ticks(decimal("0.10")), Ok(Price(10)));
        assert_eq!(filters.ticks(decimal("0.21")).expect_err("too high").msg, "Filter failure: PRICE_FILTER");
        let described = filters.describe();
        assert_eq!((&described[0]["minPrice"], &described[0]["maxPrice"]), (&json!("0.10"), &json!("0.20")));
        assert_eq!(described[3]["minNotional"], "7");
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
