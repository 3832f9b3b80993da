use proptest::prelude::*;

use super::*;

fn strategy() -> impl Strategy<Value = FixedSpread> {
    let extreme = |max: i64, min: i64| prop_oneof![min..=(min + 50), min..=max, Just(max)];
    (extreme(MAX_PRICE, 1), extreme(MAX_QTY, 1), extreme(SKEW_MAX, 0), extreme(MAX_QTY, 0))
        .prop_map(|(spread, qty, skew, max)| FixedSpread::new(spread, qty, skew, max).unwrap())
}

fn reference() -> impl Strategy<Value = Price> {
    prop_oneof![1..=200i64, 1..=MAX_PRICE, Just(MAX_PRICE), Just(1)].prop_map(Price)
}

fn position() -> impl Strategy<Value = Position> {
    prop_oneof![-60..=60i64, any::<i64>(), Just(i64::MIN), Just(i64::MAX)].prop_map(Position)
}

fn side(price: i64, qty: i64) -> Option<QuoteSide> {
    Some(QuoteSide { price: Price(price), qty: Qty(qty) })
}

proptest! {
    #[test]
    fn never_crossed_and_always_acceptable(fixed in strategy(), r in reference(), p in position()) {
        let quote = fixed.quote(r, p);
        for side in [quote.bid, quote.ask].into_iter().flatten() {
            prop_assert!(side.price.is_valid() && side.qty.is_valid());
        }
        if let (Some(bid), Some(ask)) = (quote.bid, quote.ask) {
            prop_assert!(bid.price < ask.price);
        }
    }

    #[test]
    fn a_whole_fill_never_carries_the_position_past_its_bound(fixed in strategy(), r in reference(), p in position()) {
        let quote = fixed.quote(r, p);
        let max = i128::from(fixed.max_position);
        if let Some(bid) = quote.bid {
            prop_assert!(i128::from(p.0) + i128::from(bid.qty.0) <= max);
        }
        if let Some(ask) = quote.ask {
            prop_assert!(i128::from(p.0) - i128::from(ask.qty.0) >= -max);
        }
        // A side is left out only where one more lot would not fit.
        prop_assert_eq!(quote.bid.is_none(), i128::from(p.0) + 1 > max);
        prop_assert_eq!(quote.ask.is_none(), i128::from(p.0) - 1 < -max);
    }

    #[test]
    fn a_longer_position_never_raises_a_price(fixed in strategy(), r in reference(), p in position(), q in position()) {
        let (short, long) = (p.min(q), p.max(q));
        let (from, to) = (fixed.quote(r, short), fixed.quote(r, long));
        if let (Some(before), Some(after)) = (from.bid, to.bid) {
            prop_assert!(after.price <= before.price && after.qty <= before.qty);
        }
        if let (Some(before), Some(after)) = (from.ask, to.ask) {
            prop_assert!(after.price <= before.price && after.qty >= before.qty);
        }
    }

    #[test]
    fn a_mirrored_position_gives_the_mirrored_quote(
        spread in 1..=1_000i64, qty in 1..=50i64, skew in 0..=20i64, max in 0..=100i64, p in -100..=100i64,
    ) {
        let (fixed, r) = (FixedSpread::new(spread, qty, skew, max).unwrap(), 1_000_000);
        let (here, there) = (fixed.quote(Price(r), Position(p)), fixed.quote(Price(r), Position(-p)));
        let mirror = |side: QuoteSide| QuoteSide { price: Price(2 * r - side.price.0), qty: side.qty };
        prop_assert_eq!(here.bid.map(mirror), there.ask);
        prop_assert_eq!(here.ask.map(mirror), there.bid);
    }

    #[test]
    fn away_from_the_ends_the_spread_is_what_was_asked_for(
        spread in 1..=1_000i64, skew in 0..=20i64, p in -100..=100i64, r in 1_000_000..=2_000_000i64,
    ) {
        let quote = FixedSpread::new(spread, 1, skew, 1_000).unwrap().quote(Price(r), Position(p));
        let (bid, ask) = (quote.bid.unwrap().price.0, quote.ask.unwrap().price.0);
        prop_assert_eq!(ask - bid, 2 * spread);
        prop_assert_eq!(ask + bid, 2 * (r - skew * p));
    }
}

#[test]
fn the_formulas_by_example() {
    let fixed = FixedSpread::new(5, 10, 2, 25).unwrap();
    assert_eq!(fixed.quote(Price(1_000), Position(0)), DesiredQuote { bid: side(995, 10), ask: side(1_005, 10) });
    assert_eq!(fixed.quote(Price(1_000), Position(20)), DesiredQuote { bid: side(955, 5), ask: side(965, 10) });
    assert_eq!(fixed.quote(Price(1_000), Position(25)), DesiredQuote { bid: None, ask: side(955, 10) });
    assert_eq!(fixed.quote(Price(1_000), Position(-40)), DesiredQuote { bid: side(1_075, 10), ask: None });
    assert_eq!(fixed.quote(Price(1), Position(0)), DesiredQuote { bid: side(1, 10), ask: side(6, 10) });
    assert!(FixedSpread::new(5, 10, 2, 0).unwrap().quote(Price(1_000), Position(0)).is_empty());
}

#[test]
fn a_parameter_out_of_range_is_named() {
    let field = |result: Result<FixedSpread, InvalidParameter>| result.unwrap_err().field;
    assert_eq!(field(FixedSpread::new(0, 1, 0, 1)), "half_spread_ticks");
    assert_eq!(field(FixedSpread::new(1, 0, 0, 1)), "order_qty");
    assert_eq!(field(FixedSpread::new(1, 1, -1, 1)), "skew_ticks_per_lot");
    assert_eq!(field(FixedSpread::new(1, 1, 0, -1)), "max_position");
}
