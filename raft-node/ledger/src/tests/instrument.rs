use super::{Rig, instrument, symbol};
use crate::{bounds::NOTIONAL_MAX, *};
use quorate_domain::*;

/// With a symbol of these terms, held by a maker, and an exchange.
fn rig(instrument: Instrument) -> Rig {
    let mut rig = Rig::new();
    rig.ok(Command::DefineSymbol(DefineSymbol { symbol: symbol("AAA"), instrument }));
    rig.join("m1");
    rig.register_exchange();
    rig
}

fn side(price: i64, qty: i64) -> Option<QuoteSide> {
    Some(QuoteSide { price: Price(price), qty: Qty(qty) })
}

fn invalid(refusal: Refusal) -> String {
    match refusal {
        Refusal::Invalid { what } => what,
        other => panic!("refused for another reason: {other:?}"),
    }
}

#[test]
fn prices_keep_to_the_instruments_range() {
    let kind = Kind::Binary { pays: Price(200) };
    let mut rig = rig(Instrument { kind, min_price: Price(98), max_price: Price(199), ..instrument(1) });
    let quote = rig.quote("AAA", 1);
    let low = PlaceQuote { bid: side(97, 1), ..quote.clone() };
    assert_eq!(invalid(rig.refused(Command::PlaceQuote(low))), "bid price must lie in 98..=199 ticks");
    let high = PlaceQuote { ask: side(200, 1), ..quote.clone() };
    assert_eq!(invalid(rig.refused(Command::PlaceQuote(high))), "ask price must lie in 98..=199 ticks");
    rig.ok(Command::PlaceQuote(PlaceQuote { bid: side(98, 1), ask: side(199, 1), ..quote }));

    for (price, lies) in [(97, false), (98, true), (199, true), (200, false)] {
        let mut order = rig.order("AAA", &format!("o{price}"), Side::Buy, price, 1);
        (order.order.time_in_force, order.remainder) = (TimeInForce::Ioc, Remainder::Expire);
        if lies {
            rig.ok(Command::ExecuteOrder(order));
        } else {
            let what = invalid(rig.refused(Command::ExecuteOrder(order)));
            assert_eq!(what, "price must lie in 98..=199 ticks");
        }
    }
}

#[test]
fn the_prices_of_fills_keep_to_it_too() {
    let mut rig = rig(Instrument { min_price: Price(98), ..instrument(1) });
    rig.place("AAA", 1);
    let mut order = rig.taking("AAA", "o1", Side::Sell, 1);
    order.fills[0].price = Price(97);
    assert!(invalid(rig.refused(Command::ExecuteOrder(order))).contains("its price in 98..="));
}

#[test]
fn a_fill_that_is_worth_too_much_is_refused() {
    let one: Decimal = "1".parse().unwrap();
    let mut rig = rig(Instrument { tick_size: one, lot_size: one, ..instrument(1) });
    let quote = PlaceQuote { bid: side(MAX_PRICE, 3), ask: None, ..rig.quote("AAA", 1) };
    rig.ok(Command::PlaceQuote(quote));
    let order = rig.taking("AAA", "o1", Side::Sell, 2);
    assert!(matches!(rig.refused(Command::ExecuteOrder(order)), Refusal::Overflow { .. }));
    rig.take("AAA", "o1", Side::Sell, 1);
    assert_eq!(rig.state("AAA").pnl.cash, Money(-NOTIONAL_MAX));
}

#[test]
fn a_fill_of_too_much_of_the_base_asset_is_refused() {
    let (tick_size, lot_size) = ("0.000000000001".parse().unwrap(), "100000000000000".parse().unwrap());
    let mut rig = rig(Instrument { tick_size, lot_size, ..instrument(1) });
    rig.ok(Command::PlaceQuote(PlaceQuote { bid: side(1, 50), ask: None, ..rig.quote("AAA", 1) }));
    let order = rig.taking("AAA", "o1", Side::Sell, 11);
    assert!(matches!(rig.refused(Command::ExecuteOrder(order)), Refusal::Overflow { .. }));
    rig.take("AAA", "o1", Side::Sell, 10);
    assert_eq!(rig.state("AAA").position(), Position(10));
}
