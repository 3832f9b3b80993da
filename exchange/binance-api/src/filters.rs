//! A symbol's filters, and the exact way from decimals to ticks and lots and back.

use std::ops::RangeInclusive;

use quorate_domain::{Decimal, Instrument, MAX_PRICE, MAX_QTY, Money, Price, Qty, Side};
use serde_json::{Value, json};

use crate::error::ApiError;

/// Price x quantity of a limit order at most, in the quote asset: 10^10 of it.
const MAX_NOTIONAL: Money = Money(10_000_000_000 * 1_000_000_000_000);
/// How far behind the market an order may rest: at most so many times above the reference price, or below it.
const BEHIND: i128 = 5;

/// What orders of one symbol must keep to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SymbolFilters {
    instrument: Instrument,
    min_notional: Money,
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
    /// For a symbol of this instrument; its least price x quantity is raised to `min_notional`.
    #[must_use]
    pub fn new(instrument: Instrument, min_notional: Money) -> Self {
        let min_notional = min_notional.max(instrument.min_notional);
        Self { instrument, min_notional, band: None }
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

    /// What the symbol trades.
    #[must_use]
    pub fn instrument(&self) -> &Instrument {
        &self.instrument
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
    /// `-1013 NOTIONAL` where it is less than the least, or more than the most.
    pub fn check_notional(&self, price: Price, qty: Qty) -> Result<(), ApiError> {
        // What does not fit is larger than what does.
        let worth = self.instrument.notional(price, qty);
        let fits = worth.is_some_and(|worth| (self.min_notional..=MAX_NOTIONAL).contains(&worth));
        if fits { Ok(()) } else { Err(ApiError::filter("NOTIONAL")) }
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

    /// As `exchangeInfo` gives them, with the most open orders that an account may have.
    #[must_use]
    pub fn describe(&self, orders_max: usize) -> Vec<Value> {
        let (tick, lot) = (self.instrument.tick_size, self.instrument.lot_size);
        let (lowest, highest) = (self.instrument.min_price, self.instrument.max_price);
        let quantity = |name: &str| {
            json!({"filterType": name, "minQty": lot.to_string(), "maxQty": lot.times(i128::from(MAX_QTY)),
                   "stepSize": lot.to_string()})
        };
        let mut filters = vec![
            json!({"filterType": "PRICE_FILTER", "minPrice": self.price(lowest),
                   "maxPrice": self.price(highest), "tickSize": tick.to_string()}),
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

#[cfg(test)]
mod tests {
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
    fn prices_keep_to_the_band_on_their_side() {
        // 100.005, between two ticks.
        let plain = filters();
        let within = |half_ticks| plain.clone().within(PriceBand { percent: 10, half_ticks });
        let filters = within(Some(20_001));
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
        let at = |half_ticks| within(Some(half_ticks));
        assert!(at(2).check_band(Side::Buy, Price(1)).is_ok() && at(2).check_band(Side::Sell, Price(1)).is_ok());
        assert_eq!(at(2 * MAX_PRICE).worst(Side::Buy), Some(Price(MAX_PRICE)));
        let unpriced = within(None);
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
        let filters = SymbolFilters::new(instrument("0.00000002", "0.0001"), money("0.000002"));
        assert!(filters.check_notional(Price(1), Qty(1)).is_err());
        assert!(filters.check_notional(Price(999_999), Qty(1)).is_err());
        assert!(filters.check_notional(Price(1_000_000), Qty(1)).is_ok());
        let filters = SymbolFilters::new(instrument("100", "10"), money("2000.000000000001"));
        assert!(filters.check_notional(Price(2), Qty(1)).is_err());
        assert!(filters.check_notional(Price(3), Qty(1)).is_ok());
        assert!(filters.check_notional(Price(10_000_000), Qty(1)).is_ok());
        assert!(filters.check_notional(Price(10_000_001), Qty(1)).is_err());
        assert!(filters.check_notional(Price(MAX_PRICE), Qty(MAX_QTY)).is_err());
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
        let described = filters.describe(200);
        assert_eq!((&described[0]["minPrice"], &described[0]["maxPrice"]), (&json!("0.10"), &json!("0.20")));
        assert_eq!(described[3]["minNotional"], "7");
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
