//! What the house is worth, the breaker on that, and the protection of single symbols.

use super::{Rig, TTL, control, money, symbol};
use crate::{bounds::*, *};
use quorate_domain::*;

fn asset() -> Asset {
    "QUOTE".parse().unwrap()
}

fn other_asset() -> Asset {
    "OTHER".parse().unwrap()
}

/// Two symbols, each quoted with 10 lots at 99 and 101, and an exchange.
fn rig() -> Rig {
    let mut rig = Rig::with_symbols(&["AAA", "BBB"]);
    rig.join("m1");
    rig.register_exchange();
    rig.place("AAA", 10);
    rig.place("BBB", 10);
    rig
}

fn equity(rig: &Rig) -> Money {
    rig.ledger.equity(&asset()).equity
}

fn high_water(rig: &Rig) -> Money {
    rig.ledger.equity(&asset()).drawdown.high_water
}

fn limit_drawdown(ticks_by_lots: Option<i128>) -> ControlChange {
    ControlChange::DrawdownLimit { asset: asset(), limit: ticks_by_lots.map(money) }
}

fn rearm() -> ControlChange {
    ControlChange::Rearm { asset: asset() }
}

fn protect(lots_max: i64, window_ms: u64, pause_ms: u64) -> ControlChange {
    let protection = Protection { lots_max: Qty(lots_max), window_ms, pause_ms };
    ControlChange::Protection { symbol: symbol("AAA"), protection: Some(protection) }
}

/// What ended in the last apply, and why.
fn ended(rig: &Rig) -> Vec<(String, QuoteEndReason)> {
    let ended = rig.events.iter().filter_map(|event| match event {
        Event::QuoteEnded { symbol, reason, .. } => Some((symbol.to_string(), *reason)),
        _ => None,
    });
    ended.collect()
}

#[test]
fn equity_is_cash_and_the_position_at_the_mark_that_counts() {
    let mut rig = rig();
    rig.mark("AAA", 200, rig.now);
    rig.take("AAA", "o1", Side::Buy, 4);
    assert_eq!(equity(&rig), money(404 - 400));
    assert_eq!(high_water(&rig), money(4));
    rig.mark("AAA", 199, rig.now + 1);
    assert_eq!(equity(&rig), money(404 - 398), "half a tick for four lots");
}

#[test]
fn a_position_without_a_mark_enters_at_its_cost_and_is_unmarked() {
    let mut rig = rig();
    rig.take("AAA", "o1", Side::Buy, 4);
    assert_eq!(equity(&rig), Money::ZERO);
    assert_eq!(rig.ledger.equity(&asset()).unmarked_since, Some(Millis(0)));
}

#[test]
fn the_high_water_mark_does_not_rise_while_a_mark_is_too_old() {
    let mut rig = rig();
    rig.mark("AAA", 200, rig.now);
    rig.mark("BBB", 200, rig.now);
    rig.take("AAA", "o1", Side::Buy, 4);
    let since = rig.now + MARK_AGE_MAX_MS;
    for now in [rig.now + TTL - 1, since - 1, since] {
        rig.now = now;
        rig.renew("m1");
    }
    assert_eq!(rig.ledger.equity(&asset()).unmarked_since, Some(Millis(since)));
    rig.mark("BBB", 200, rig.now);
    rig.take("BBB", "o2", Side::Buy, 4);
    assert_eq!((equity(&rig), high_water(&rig)), (money(8), money(4)));
    rig.mark("AAA", 200, rig.now);
    assert_eq!((rig.ledger.equity(&asset()).unmarked_since, high_water(&rig)), (None, money(8)));
}

#[test]
fn a_breaker_trips_below_the_high_water_mark_by_more_than_the_limit() {
    let mut rig = rig();
    rig.mark("AAA", 200, rig.now);
    rig.decide(limit_drawdown(Some(4)));
    rig.take("AAA", "o1", Side::Buy, 4);
    rig.mark("AAA", 202, rig.now + 1);
    assert!(ended(&rig).is_empty(), "4 below the high-water mark of 4 is not more than 4");
    rig.mark("AAA", 203, rig.now + 2);
    let tripped = Event::BreakerTripped { asset: asset(), equity: money(-2), high_water: money(4) };
    assert_eq!(rig.events[1], tripped);
    let both = ["AAA", "BBB"].map(|name| (name.to_owned(), QuoteEndReason::Breaker));
    assert_eq!(ended(&rig), both);
    let refused = Refusal::BreakerTripped { asset: asset() };
    let quote = rig.quote("AAA", 1);
    let last = quote.quote_seq;
    assert_eq!(rig.refused(Command::PlaceQuote(quote.clone())), refused);
    assert_eq!(rig.refused(Command::PlaceQuote(quote)), Refusal::StaleQuoteSeq { last }, "the number is used up");
    rig.mark("AAA", 200, rig.now + 3);
    let quote = rig.quote("BBB", 1);
    assert_eq!(rig.refused(Command::PlaceQuote(quote)), refused, "it stays so until somebody rearms it");
}

#[test]
fn a_limit_is_evaluated_at_once() {
    let mut rig = rig();
    rig.mark("AAA", 200, rig.now);
    rig.take("AAA", "o1", Side::Buy, 4);
    rig.mark("AAA", 210, rig.now + 1);
    rig.decide(limit_drawdown(Some(0)));
    assert!(rig.events.iter().any(|event| matches!(event, Event::BreakerTripped { .. })));
    rig.decide(limit_drawdown(None));
    let quote = rig.quote("AAA", 1);
    assert!(
        matches!(rig.refused(Command::PlaceQuote(quote)), Refusal::BreakerTripped { .. }),
        "no limit rearms nothing"
    );
}

#[test]
fn it_trips_unmarked_or_not() {
    let mut rig = rig();
    rig.decide(limit_drawdown(Some(0)));
    rig.take("AAA", "o1", Side::Buy, 4);
    assert_eq!(ended(&rig), [], "at its cost the position has lost nothing");
    rig.mark("BBB", 200, rig.now);
    rig.take("BBB", "o2", Side::Buy, 4);
    rig.mark("BBB", 203, rig.now + 1);
    assert!(rig.ledger.equity(&asset()).unmarked_since.is_some());
    assert_eq!(ended(&rig).len(), 2);
}

#[test]
fn rearming_begins_at_the_present_equity() {
    let mut rig = rig();
    let version = |rig: &Rig| rig.ledger.control().version;
    assert_eq!(rig.refused(control(rearm(), version(&rig))), Refusal::NotTripped { asset: asset() });
    let unknown = ControlChange::Rearm { asset: other_asset() };
    assert_eq!(rig.refused(control(unknown, version(&rig))), Refusal::UnknownAsset { asset: other_asset() });
    let unknown = ControlChange::DrawdownLimit { asset: other_asset(), limit: None };
    assert_eq!(rig.refused(control(unknown, version(&rig))), Refusal::UnknownAsset { asset: other_asset() });
    let negative = ControlChange::DrawdownLimit { asset: asset(), limit: Some(Money(-1)) };
    assert!(matches!(rig.refused(control(negative, version(&rig))), Refusal::Invalid { .. }));
    rig.mark("AAA", 200, rig.now);
    rig.decide(limit_drawdown(Some(0)));
    rig.take("AAA", "o1", Side::Buy, 4);
    rig.mark("AAA", 210, rig.now + 1);
    rig.decide(rearm());
    assert_eq!(high_water(&rig), money(404 - 420));
    rig.place("AAA", 1);
    rig.mark("AAA", 211, rig.now + 2);
    assert_eq!(ended(&rig), [("AAA".to_owned(), QuoteEndReason::Breaker)]);
}

#[test]
fn a_breaker_outlives_a_snapshot() {
    let mut rig = rig();
    rig.mark("AAA", 200, rig.now);
    rig.decide(limit_drawdown(Some(0)));
    rig.take("AAA", "o1", Side::Buy, 4);
    rig.mark("AAA", 210, rig.now + 1);
    let before = rig.ledger.equity(&asset());
    rig.ledger = Ledger::decode(&rig.ledger.encode()).unwrap();
    assert_eq!(rig.ledger.equity(&asset()), before);
    let quote = rig.quote("AAA", 1);
    assert!(matches!(rig.refused(Command::PlaceQuote(quote)), Refusal::BreakerTripped { .. }));
}

#[test]
fn protection_counts_lots_in_a_window_that_begins_with_a_fill() {
    let mut rig = rig();
    rig.decide(protect(5, 1_000, 3_000));
    rig.take("AAA", "o1", Side::Buy, 4);
    rig.now += 1_000;
    rig.take("AAA", "o2", Side::Sell, 4);
    assert_eq!(ended(&rig), [], "a fill at the end of the window begins another");
    rig.now += 999;
    rig.take("AAA", "o3", Side::Buy, 2);
    let until = Millis(rig.now + 3_000);
    let tripped = Event::ProtectionTripped { symbol: symbol("AAA"), until };
    let [.., before_last, _] = rig.events.as_slice() else { panic!("{:?}", rig.events) };
    assert_eq!(*before_last, tripped);
    assert_eq!(ended(&rig), [("AAA".to_owned(), QuoteEndReason::Protection)]);
    let quote = rig.quote("AAA", 1);
    assert_eq!(rig.refused(Command::PlaceQuote(quote)), Refusal::Paused { until });
    rig.now = until.0 - 1;
    rig.renew("m1");
    let quote = rig.quote("AAA", 1);
    assert_eq!(rig.refused(Command::PlaceQuote(quote)), Refusal::Paused { until });
    rig.now = until.0;
    rig.place("AAA", 1);
}

#[test]
fn protection_may_overshoot_by_the_order_that_trips_it_and_counts_anew() {
    let mut rig = rig();
    rig.decide(protect(3, 60_000, 1));
    rig.take("AAA", "o1", Side::Buy, 10);
    assert_eq!(rig.state("AAA").guard.lots, Qty(0));
    rig.now += 1;
    rig.place("AAA", 10);
    rig.take("AAA", "o2", Side::Buy, 2);
    assert_eq!(ended(&rig), []);
}

#[test]
fn another_protection_forgets_what_was_counted_and_ends_a_pause() {
    let mut rig = rig();
    rig.decide(protect(5, 1_000, 3_000));
    rig.take("AAA", "o1", Side::Buy, 4);
    rig.decide(protect(5, 1_000, 3_000));
    rig.take("AAA", "o2", Side::Sell, 4);
    assert_eq!(ended(&rig), []);
    rig.take("AAA", "o3", Side::Buy, 1);
    rig.decide(ControlChange::Protection { symbol: symbol("AAA"), protection: None });
    rig.place("AAA", 1);
    for (lots_max, window_ms, pause_ms) in [(0, 1, 1), (1, 0, 1), (1, 1, 0), (MAX_QTY + 1, 1, 1), (1, 3_600_001, 1)] {
        let refused = rig.refused(control(protect(lots_max, window_ms, pause_ms), rig.ledger.control().version));
        assert!(matches!(refused, Refusal::Invalid { .. }));
    }
    let unknown = ControlChange::Protection { symbol: symbol("XXX"), protection: None };
    let refused = rig.refused(control(unknown, rig.ledger.control().version));
    assert_eq!(refused, Refusal::UnknownSymbol { symbol: symbol("XXX") });
}
