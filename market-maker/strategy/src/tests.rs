use proptest::prelude::*;

use super::*;

/// Any parameters that are accepted, many of them at the ends of their ranges.
fn strategy() -> impl Strategy<Value = FixedSpread> {
    let extreme = |max: i64, min: i64| prop_oneof![min..=(min + 50), min..=max, Just(max)];
    (extreme(MAX_PRICE, 1), extreme(MAX_QTY, 1), 0..=SKEW_MAX_PERCENT, extreme(MAX_QTY, 0))
        .prop_map(|(spread, qty, skew, max)| FixedSpread::new(spread, qty, skew, max).unwrap())
}

fn reference() -> impl Strategy<Value = RefPrice> {
    prop_oneof![2..=400i64, 2..=2 * MAX_PRICE, Just(2 * MAX_PRICE), Just(2)].prop_map(RefPrice)
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
    fn the_bid_is_never_above_the_reference_and_the_ask_never_below(
        fixed in strategy(), r in reference(), p in position(),
    ) {
        let quote = fixed.quote(r, p);
        prop_assert!(quote.bid.is_none_or(|bid| 2 * bid.price.0 <= r.0), "{:?} above {:?}", quote.bid, r);
        prop_assert!(quote.ask.is_none_or(|ask| 2 * ask.price.0 >= r.0), "{:?} below {:?}", quote.ask, r);
    }

    /// Marked at a constant reference, no sequence of takers lowers the maker's equity, whatever the parameters.
    #[test]
    fn no_takers_win_from_the_maker(
        fixed in strategy(), r in reference(),
        takers in prop::collection::vec((any::<bool>(), prop_oneof![1..=60i64, 1..=MAX_QTY]), 1..60),
    ) {
        prop_assert!(lowest_gain(fixed, r, takers) >= 0);
    }

    #[test]
    fn a_mirrored_position_gives_the_mirrored_quote(
        spread in 1..=1_000i64, qty in 1..=50i64, skew in 0..=100i64, max in 0..=100i64, p in -100..=100i64,
        r in 2_000_000..2_000_004i64,
    ) {
        let fixed = FixedSpread::new(spread, qty, skew, max).unwrap();
        let (here, there) = (fixed.quote(RefPrice(r), Position(p)), fixed.quote(RefPrice(r), Position(-p)));
        let mirror = |side: QuoteSide| QuoteSide { price: Price(r - side.price.0), qty: side.qty };
        prop_assert_eq!(here.bid.map(mirror), there.ask);
        prop_assert_eq!(here.ask.map(mirror), there.bid);
    }

    #[test]
    fn away_from_the_ends_the_spread_is_what_was_asked_for(
        spread in 1..=1_000i64, skew in 0..=100i64, p in -100..=100i64, r in 1_000_000..=2_000_000i64,
    ) {
        let quote = FixedSpread::new(spread, 1, skew, 1_000).unwrap().quote(Price(r).into(), Position(p));
        let (bid, ask) = (quote.bid.unwrap().price.0, quote.ask.unwrap().price.0);
        // A price between two ticks goes to the maker's side: at most a tick more, never less.
        prop_assert!((0..=1).contains(&(ask - bid - 2 * spread)), "{bid} to {ask}");
        prop_assert!((ask + bid - 2 * r).abs() <= 2 * spread * skew / 100 + 1);
    }
}

/// What `takers` (each buys or sells so many lots, as far as there are) leave the maker at its lowest, in half ticks
/// times lots: its cash, and its position at the reference price.
fn lowest_gain(fixed: FixedSpread, r: RefPrice, takers: Vec<(bool, i64)>) -> i128 {
    let (mut cash, mut position, mut lowest) = (0i128, 0i64, 0i128);
    for (buys, lots) in takers {
        let quote = fixed.quote(r, Position(position));
        let Some(taken) = (if buys { quote.ask } else { quote.bid }) else { continue };
        let signed = if buys { -taken.qty.0.min(lots) } else { taken.qty.0.min(lots) };
        position += signed;
        cash -= 2 * i128::from(taken.price.0) * i128::from(signed);
        lowest = lowest.min(cash + i128::from(r.0) * i128::from(position));
    }
    lowest
}

#[test]
fn the_formulas_by_example() {
    let fixed = FixedSpread::new(5, 10, 40, 20).unwrap();
    let quote = |half_ticks, position| fixed.quote(RefPrice(half_ticks), Position(position));
    assert_eq!(quote(2_000, 0), DesiredQuote { bid: side(995, 10), ask: side(1_005, 10) });
    assert_eq!(quote(2_000, 10), DesiredQuote { bid: side(994, 10), ask: side(1_004, 10) });
    assert_eq!(quote(2_000, 15), DesiredQuote { bid: side(993, 5), ask: side(1_004, 10) });
    assert_eq!(quote(2_000, 20), DesiredQuote { bid: None, ask: side(1_003, 10) });
    assert_eq!(quote(2_000, -40), DesiredQuote { bid: side(997, 10), ask: None });
    // Half a tick goes to the maker on both sides: there is no bias.
    assert_eq!(quote(2_001, 0), DesiredQuote { bid: side(995, 10), ask: side(1_006, 10) });
    assert_eq!(quote(2, 0), DesiredQuote { bid: side(1, 10), ask: side(6, 10) });
    assert!(FixedSpread::new(5, 10, 2, 0).unwrap().quote(RefPrice(2_000), Position(0)).is_empty());
}

/// The example of the mend: a half spread of 5 and 60 lots; buy 25, sell 25, and again.
#[test]
fn a_round_trip_pays_the_spread_however_often_it_is_made() {
    for skew in [0, 20, 100] {
        let fixed = FixedSpread::new(5, 60, skew, 1_000).unwrap();
        let trips = [true, false].map(|buys| (buys, 25)).repeat(100);
        assert_eq!(lowest_gain(fixed, RefPrice(12_367_526), trips), 0, "skew {skew}");
    }
}

/// Parameters that people use (the defaults, the demo, the tests' makers): accepted, and they quote both sides.
#[test]
fn the_parameters_that_people_use_are_accepted_and_quote() {
    for (spread, qty, skew, max) in
        [(5, 10, 0, 1_000), (5, 60, 50, 1_000), (5, 60, 100, 1_000), (1, 1, 100, 1), (20, 100, 75, 200)]
    {
        let fixed = FixedSpread::new(spread, qty, skew, max).unwrap();
        for reference in [16_240, 51_420, 268_350, 6_183_763] {
            let quote = fixed.quote(Price(reference).into(), Position(0));
            assert_eq!(
                quote,
                DesiredQuote {
                    bid: side(reference - spread, qty.min(max)),
                    ask: side(reference + spread, qty.min(max))
                }
            );
        }
    }
}

#[test]
fn a_parameter_out_of_range_is_named() {
    let field = |result: Result<FixedSpread, InvalidParameter>| result.unwrap_err().field;
    assert_eq!(field(FixedSpread::new(0, 1, 0, 1)), "half_spread_ticks");
    assert_eq!(field(FixedSpread::new(1, 0, 0, 1)), "order_qty");
    assert_eq!(field(FixedSpread::new(1, 1, -1, 1)), "skew_percent");
    assert_eq!(field(FixedSpread::new(1, 1, 101, 1)), "skew_percent");
    assert_eq!(field(FixedSpread::new(1, 1, 0, -1)), "max_position");
}
