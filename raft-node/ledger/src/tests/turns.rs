//! Who waits for one lot, and whose turn it is: small scenes, each of which says one rule.

use super::{Rig, START, limit, symbol};
use crate::{bounds::*, *};
use quorate_domain::*;

/// Symbols of these weights under this limit, all of one maker with a lease that lasts.
fn rig(max: i64, symbols: &[(&str, i64)]) -> Rig {
    let mut rig = Rig::new();
    rig.ok(limit(max, 0));
    for (name, weight) in symbols {
        rig.define(name, *weight);
    }
    rig.join("m1");
    rig
}

/// Where a symbol stands in the turns, in a word.
fn place(rig: &Rig, name: &str) -> &'static str {
    match rig.state(name).demand.turn {
        None => "out",
        Some(Turn::Waiting { .. }) => "waits",
        Some(Turn::Offered { .. }) => "offered",
        Some(Turn::Running { .. }) => "runs",
    }
}

fn places(rig: &Rig, names: &[&str]) -> Vec<&'static str> {
    names.iter().map(|name| place(rig, name)).collect()
}

fn ends(rig: &Rig) -> Vec<(&str, QuoteEndReason)> {
    let ended = rig.events.iter().filter_map(|event| match event {
        Event::QuoteEnded { symbol, reason, .. } => Some((symbol.as_str(), *reason)),
        _ => None,
    });
    ended.collect()
}

/// AAA and BBB each need the whole limit; AAA quotes, and BBB waits.
fn one_of_two() -> Rig {
    let mut rig = rig(30, &[("AAA", 30), ("BBB", 30)]);
    assert_eq!(rig.ask_for("AAA", 1, 1), Ok((1, 1)));
    assert!(matches!(rig.ask_for("BBB", 1, 1), Err(Refusal::ExposureShort { .. })));
    rig
}

#[test]
fn one_that_is_granted_no_lot_waits_and_is_offered_one_once_it_is_free() {
    let mut rig = one_of_two();
    let since = rig.index();
    assert_eq!(rig.state("BBB").demand.turn, Some(Turn::Waiting { since }));
    assert!(rig.state("BBB").demand.set_aside);
    // To ask again changes nothing.
    assert!(rig.ask_for("BBB", 1, 1).is_err());
    assert_eq!(rig.state("BBB").demand.turn, Some(Turn::Waiting { since }));
    rig.pull("AAA");
    let until = Millis(START + OFFER_MS);
    let offered = Event::TurnChanged { symbol: symbol("BBB"), turn: Some(Turn::Offered { until }) };
    assert_eq!(rig.events.last(), Some(&offered));
    // What is offered to it is granted to nobody else.
    assert!(rig.ask_for("AAA", 1, 1).is_err());
    rig.now += OFFER_MS - 1;
    assert_eq!(rig.ask_for("BBB", 1, 1), Ok((1, 1)));
    let running = Some(Turn::Running { until: Millis(rig.now + TURN_MS) });
    assert_eq!(rig.state("BBB").demand.turn, running);
    assert!(matches!(&rig.events[..], [Event::QuotePlaced(_), Event::TurnChanged { .. }]), "{:?}", rig.events);
}

#[test]
fn an_offer_that_is_not_taken_goes_to_the_back() {
    let mut rig = rig(30, &[("AAA", 30), ("BBB", 30), ("CCC", 30)]);
    rig.place("AAA", 1);
    assert!(rig.ask_for("BBB", 1, 1).is_err());
    assert!(rig.ask_for("CCC", 1, 1).is_err());
    rig.pull("AAA");
    assert_eq!(places(&rig, &["BBB", "CCC"]), ["offered", "waits"]);
    rig.tick_at(START + OFFER_MS);
    assert_eq!(places(&rig, &["BBB", "CCC"]), ["waits", "offered"]);
    assert_eq!(rig.state("BBB").demand.turn, Some(Turn::Waiting { since: rig.index() }));
}

#[test]
fn a_turn_keeps_its_lot_and_ends_where_others_wait() {
    let mut rig = one_of_two();
    rig.pull("AAA");
    rig.place("BBB", 1);
    let began = rig.now;
    assert!(rig.ask_for("AAA", 1, 1).is_err());
    // Whatever its share, its lot may be placed again and kept while the turn lasts.
    rig.now += TURN_MS - 1;
    rig.place("BBB", 1);
    let keep = Command::KeepQuote(rig.keep("BBB"));
    rig.ok(keep);
    rig.tick_at(began + TURN_MS);
    assert_eq!(ends(&rig), [("BBB", QuoteEndReason::TurnEnded)]);
    assert_eq!(places(&rig, &["AAA", "BBB"]), ["offered", "waits"]);
}

#[test]
fn a_turn_that_ends_while_nobody_waits_leaves_its_quote() {
    let mut rig = one_of_two();
    rig.pull("AAA");
    rig.place("BBB", 1);
    rig.tick_at(START + TURN_MS);
    assert_eq!((place(&rig, "BBB"), ends(&rig)), ("out", vec![]));
    assert!(rig.state("BBB").quote.is_some());
    // It is above its share, and gives way once somebody waits: no keep, and no lot for its next quote.
    assert!(rig.ask_for("AAA", 1, 1).is_err());
    let keep = Command::KeepQuote(rig.keep("BBB"));
    assert!(matches!(rig.refused(keep), Refusal::ExposureShort { .. }));
    assert!(rig.ask_for("BBB", 1, 1).is_err());
    assert_eq!(places(&rig, &["AAA", "BBB"]), ["offered", "waits"]);
}

#[test]
fn one_that_finds_room_while_it_waits_has_no_turn() {
    let mut rig = rig(100, &[("AAA", 100), ("BBB", 60), ("CCC", 60), ("DDD", 10), ("EEE", 10)]);
    rig.place("AAA", 1);
    assert!(rig.ask_for("BBB", 1, 0).is_err());
    rig.pull("AAA");
    assert_eq!(rig.ask_for("BBB", 1, 0), Ok((1, 0)));
    assert_eq!(rig.ask_for("EEE", 4, 0), Ok((4, 0)));
    assert!(rig.ask_for("CCC", 1, 0).is_err());
    assert!(rig.ask_for("DDD", 5, 0).is_err());
    rig.pull("EEE");
    // 40 are free, too few for CCC, which is first; DDD is not offered what it finds when it asks.
    assert_eq!(places(&rig, &["BBB", "CCC", "DDD"]), ["runs", "waits", "waits"]);
    assert_eq!(rig.ask_for("DDD", 5, 0), Ok((3, 0)), "its share is 33");
    assert_eq!(places(&rig, &["BBB", "CCC", "DDD"]), ["runs", "waits", "out"]);
}

#[test]
fn lots_are_set_aside_for_as_many_as_fit_and_in_order() {
    let mut rig = rig(100, &[("AAA", 100), ("BBB", 40), ("CCC", 40), ("DDD", 40), ("EEE", 1)]);
    rig.place("AAA", 1);
    for name in ["BBB", "CCC", "DDD", "EEE"] {
        assert!(rig.ask_for(name, 1, 1).is_err());
    }
    let set_aside = ["BBB", "CCC", "DDD", "EEE"].map(|name| rig.state(name).demand.set_aside);
    assert_eq!(set_aside, [true, true, false, false], "EEE would fit, and must not overtake DDD");
    rig.pull("AAA");
    assert_eq!(places(&rig, &["BBB", "CCC", "DDD", "EEE"]), ["offered", "offered", "waits", "waits"]);
}

#[test]
fn the_first_that_waits_gets_more_than_the_others_shares_leave() {
    let mut rig = rig(100, &[("AAA", 90), ("BBB", 1)]);
    rig.place("BBB", 50);
    assert!(rig.ask_for("AAA", 1, 1).is_err());
    // BBB's share is 50, which leaves 50 for turns; AAA needs 90, and BBB gives way.
    assert_eq!(rig.ask_for("BBB", 50, 50), Ok((10, 10)));
    assert_eq!(place(&rig, "AAA"), "offered");
    rig.place("AAA", 1);
    assert_eq!(rig.reserved(), (100, 100));
}

#[test]
fn a_side_that_a_symbol_does_not_ask_for_keeps_nobody_waiting() {
    let mut rig = rig(30, &[("AAA", 30), ("BBB", 30), ("CCC", 30)]);
    assert_eq!(rig.ask_for("AAA", 1, 0), Ok((1, 0)));
    assert_eq!(rig.ask_for("BBB", 0, 1), Ok((0, 1)));
    assert!(rig.ask_for("CCC", 1, 0).is_err());
    assert_eq!(rig.ask_for("BBB", 0, 1), Ok((0, 1)), "CCC does not wait on this side");
    rig.pull("AAA");
    assert_eq!(place(&rig, "CCC"), "offered");
}

#[test]
fn one_lot_above_the_limit_does_not_wait() {
    let mut rig = rig(100, &[("AAA", 60), ("BBB", 60)]);
    rig.place("AAA", 1);
    assert!(rig.ask_for("BBB", 1, 1).is_err());
    assert_eq!(place(&rig, "BBB"), "waits");
    rig.ok(limit(59, 1));
    assert_eq!(ends(&rig), [("AAA", QuoteEndReason::LimitLowered)]);
    let left = Event::TurnChanged { symbol: symbol("BBB"), turn: None };
    assert_eq!((place(&rig, "BBB"), rig.events.last()), ("out", Some(&left)));
    let heavy = Refusal::TooHeavy { lot: Exposure(60), limit: Exposure(59) };
    assert_eq!(rig.ask_for("BBB", 1, 1), Err(heavy));
    assert_eq!(place(&rig, "BBB"), "out");
}

#[test]
fn a_new_term_makes_offers_anew() {
    let mut rig = one_of_two();
    rig.pull("AAA");
    assert_eq!(place(&rig, "BBB"), "offered");
    // There was no leader for a while, and nobody could take it.
    rig.now += OFFER_MS + 3_000;
    rig.begin_term(1, true);
    let until = Millis(rig.now + OFFER_MS);
    let offered = Event::TurnChanged { symbol: symbol("BBB"), turn: Some(Turn::Offered { until }) };
    assert!(rig.events.contains(&offered), "{:?}", rig.events);
    rig.place("BBB", 1);
    assert_eq!(place(&rig, "BBB"), "runs");
}

#[test]
fn who_pulls_or_loses_its_symbol_waits_no_longer() {
    let mut rig = one_of_two();
    rig.pull("BBB");
    assert_eq!((place(&rig, "BBB"), &rig.state("BBB").demand), ("out", &Demand::default()));
    assert!(rig.ask_for("BBB", 1, 1).is_err());
    rig.release("BBB");
    assert_eq!((place(&rig, "BBB"), &rig.state("BBB").demand), ("out", &Demand::default()));
    let left = Event::TurnChanged { symbol: symbol("BBB"), turn: None };
    assert_eq!(rig.events.first(), Some(&left));
    assert!(matches!(rig.events[1], Event::AuthorityEnded { .. }));
}

/// Runs for so long, each symbol asking for this many lots whenever it is offered one or has nothing; how often each had a lot.
fn take_turns(rig: &mut Rig, names: &[&str], lots: i64, seconds: u64) -> Vec<u32> {
    let mut had = vec![0; names.len()];
    let end = rig.now + 1_000 * seconds;
    while rig.now < end {
        for (count, name) in had.iter_mut().zip(names) {
            let quoted = rig.ledger.active_quote(&symbol(name)).is_some();
            if !quoted
                && place(rig, name) != "waits"
                && rig.ask_for(name, lots, lots).is_ok_and(|(bid, ask)| bid > 0 && ask > 0)
            {
                *count += 1;
            }
        }
        rig.renew("m1");
        rig.now += 500;
    }
    had
}

/// Five heavy symbols beside four light ones: the heavy ones once got nothing, and for good.
#[test]
fn heavy_symbols_have_their_turns_beside_light_ones() {
    let heavy = ["H1", "H2", "H3", "H4", "H5"];
    let light = ["L1", "L2", "L3", "L4"];
    let weights: Vec<(&str, i64)> =
        heavy.iter().map(|name| (*name, 30)).chain(light.iter().map(|name| (*name, 1))).collect();
    let mut rig = rig(100, &weights);
    for name in light {
        assert!(rig.ask_for(name, 25, 25).is_ok());
    }
    let had = take_turns(&mut rig, &[&light[..], &heavy[..]].concat(), 25, 120);
    assert!(had.iter().all(|count| *count >= 3), "{had:?}");
}

/// Four symbols, and lots for three: the fourth once got nothing, and for good.
#[test]
fn the_fourth_of_three_lots_has_its_turn() {
    let names = ["AAA", "BBB", "CCC", "DDD"];
    let mut rig = rig(3, &names.map(|name| (name, 1)));
    let had = take_turns(&mut rig, &names, 1, 120);
    assert!(had.iter().all(|count| *count >= 3), "{had:?}");
}

/// The reference doubles while others wait: every refresh was refused once, and the old quote stood and was lifted.
#[test]
fn what_may_not_be_refreshed_does_not_stand_at_its_old_price() {
    let mut rig = rig(100, &[("AAA", 30), ("BBB", 30), ("CCC", 30), ("DDD", 30), ("EEE", 30)]);
    rig.place("AAA", 1);
    for name in ["BBB", "CCC", "DDD", "EEE"] {
        drop(rig.ask_for(name, 1, 1));
    }
    assert_eq!(place(&rig, "EEE"), "waits");
    let mut quote = rig.quote("AAA", 1);
    let twice = |side: QuoteSide| QuoteSide { price: Price(2 * side.price.0), ..side };
    (quote.bid, quote.ask, quote.allow_reduced) = (quote.bid.map(twice), quote.ask.map(twice), true);
    assert!(matches!(rig.refused(Command::PlaceQuote(quote)), Refusal::ExposureShort { .. }));
    assert_eq!(ends(&rig), [("AAA", QuoteEndReason::Replaced)]);
    assert!(rig.state("AAA").quote.is_none());
    assert_eq!(places(&rig, &["AAA", "DDD", "EEE"]), ["waits", "offered", "waits"], "and it waits for its turn");
}
