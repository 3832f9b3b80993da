use super::{Rig, START, TTL, limit, side};
use crate::{bounds::*, *};
use quorate_domain::*;

fn rig(symbols: &[&str]) -> Rig {
    let mut rig = Rig::with_symbols(symbols);
    rig.join("m1");
    rig
}

fn demands(rig: &Rig, name: &str) -> (bool, bool) {
    let until = rig.state(name).demand.until;
    (until.bid.is_some(), until.ask.is_some())
}

#[test]
fn each_side_is_reserved_by_itself_up_to_the_limit() {
    let mut rig = rig(&["AAA", "BBB"]);
    assert_eq!(rig.ask_for("AAA", 100, 30), Ok((100, 30)));
    assert_eq!(rig.ask_for("BBB", 0, 70), Ok((0, 70)));
    assert_eq!(rig.reserved(), (100, 100));
    let quote = rig.quote("BBB", 1);
    let short = Refusal::ExposureShort { long_free: Exposure(0), short_free: Exposure(70) };
    assert_eq!(rig.refused(Command::PlaceQuote(quote)), short);
    assert_eq!(
        (rig.state("BBB").quote.is_some(), rig.reserved()),
        (false, (100, 30)),
        "what was to be replaced is gone"
    );
}

#[test]
fn what_is_granted_is_whole_reduced_or_nothing() {
    let mut rig = rig(&["AAA", "BBB"]);
    assert_eq!(rig.ask_for("AAA", 60, 100), Ok((60, 100)));
    // Reduced on one side, nothing on the other.
    assert_eq!(rig.ask_for("BBB", 50, 50), Ok((40, 0)));
    let Some(Event::QuotePlaced(placed)) = rig.events.first() else { panic!() };
    assert_eq!((placed.bid, placed.ask), (Some(side(99, 40)), None));
    assert_eq!((placed.bid_asked, placed.ask_asked), (Qty(50), Qty(50)));
    let Some(Response { outcome: Outcome::Accepted(Answer::QuotePlaced { reduced, .. }), .. }) = &rig.last else {
        panic!()
    };
    assert!(reduced);
    // Not reduced where that is not allowed; nothing at all even where it is.
    let quote = rig.quote("BBB", 41);
    assert!(matches!(rig.refused(Command::PlaceQuote(quote)), Refusal::ExposureShort { .. }));
    let short = Refusal::ExposureShort { long_free: Exposure(40), short_free: Exposure(0) };
    assert_eq!(rig.ask_for("BBB", 0, 5), Err(short));
}

#[test]
fn exposure_per_lot_weighs_and_rounds_down() {
    let mut rig = Rig::new();
    rig.define("AAA", 7);
    rig.join("m1");
    assert_eq!(rig.ask_for("AAA", 20, 14), Ok((14, 14)));
    assert_eq!(rig.reserved(), (98, 98));
}

#[test]
fn a_symbols_own_reservation_is_free_for_its_next_quote() {
    let mut rig = rig(&["AAA"]);
    rig.place("AAA", 100);
    rig.place("AAA", 100);
    assert_eq!(rig.reserved(), (100, 100));
}

#[test]
fn a_waiting_demand_cuts_others_to_their_fair_share() {
    let mut rig = rig(&["AAA", "BBB", "CCC"]);
    rig.place("AAA", 100);
    assert!(rig.ask_for("BBB", 50, 50).is_err());
    assert_eq!(demands(&rig, "BBB"), (true, true));
    assert_eq!(rig.state("BBB").demand.until.bid, Some(Millis(START + DEMAND_MEMORY_MS)));
    // Two demand: half each; at its refresh the one that has all is cut.
    assert_eq!(rig.ask_for("AAA", 100, 100), Ok((50, 50)));
    assert_eq!(demands(&rig, "AAA"), (false, false), "its fair share is not a demand that falls short");
    assert_eq!(rig.ask_for("BBB", 50, 50), Ok((50, 50)));
    assert_eq!(demands(&rig, "BBB"), (false, false));
    // Nobody waits: what is free may be had, and it is nothing, which makes a third one wait.
    assert!(rig.ask_for("CCC", 40, 0).is_err());
    assert_eq!(demands(&rig, "CCC"), (true, false));
    assert_eq!(rig.ask_for("AAA", 60, 50), Ok((33, 50)), "three demand long, two short");
}

#[test]
fn a_demand_is_forgotten_in_time_and_when_the_side_is_not_asked_for_but_its_symbol_waits_on() {
    let mut rig = rig(&["AAA", "BBB"]);
    rig.place("AAA", 100);
    assert!(rig.ask_for("BBB", 50, 50).is_err());
    assert!(rig.ask_for("BBB", 0, 50).is_err());
    assert_eq!(demands(&rig, "BBB"), (false, true));
    rig.now += TTL / 2;
    rig.renew("m1");
    rig.now = START + DEMAND_MEMORY_MS;
    assert_eq!(rig.ask_for("AAA", 100, 100), Ok((100, 50)));
    assert_eq!(demands(&rig, "BBB"), (false, false));
    assert!(matches!(rig.state("BBB").demand.turn, Some(Turn::Offered { .. })), "{:?}", rig.state("BBB").demand);
}

#[test]
fn the_share_counts_a_demand_until_just_before_its_time() {
    let mut rig = rig(&["AAA", "BBB"]);
    rig.place("AAA", 100);
    assert!(rig.ask_for("BBB", 50, 50).is_err());
    rig.now += TTL / 2;
    rig.renew("m1");
    rig.now = START + DEMAND_MEMORY_MS - 1;
    assert_eq!(rig.ask_for("AAA", 100, 100), Ok((50, 50)));
}

#[test]
fn a_demand_ends_with_pull_and_with_authority() {
    let mut rig = rig(&["AAA", "BBB"]);
    rig.place("AAA", 100);
    assert!(rig.ask_for("BBB", 50, 50).is_err());
    rig.pull("BBB");
    assert_eq!(demands(&rig, "BBB"), (false, false));
    assert!(rig.ask_for("BBB", 50, 50).is_err());
    rig.release("BBB");
    assert_eq!(demands(&rig, "BBB"), (false, false));
}

#[test]
fn no_other_refusal_touches_what_is_remembered() {
    let mut rig = rig(&["AAA", "BBB"]);
    rig.place("AAA", 100);
    assert!(rig.ask_for("BBB", 50, 50).is_err());
    let mut stale = rig.quote("BBB", 1);
    stale.ask = None;
    stale.position_seq = 9;
    assert!(matches!(rig.refused(Command::PlaceQuote(stale)), Refusal::StalePosition { .. }));
    assert_eq!(demands(&rig, "BBB"), (true, true));
}

#[test]
fn a_demand_above_its_share_does_not_make_others_wait() {
    let mut rig = rig(&["AAA", "BBB"]);
    rig.place("AAA", 40);
    // Asks for more than is free, and gets more than its share of 50.
    assert_eq!(rig.ask_for("BBB", 90, 0), Ok((60, 0)));
    assert_eq!(demands(&rig, "BBB"), (false, false));
    assert_eq!(rig.ask_for("AAA", 40, 40), Ok((40, 40)));
}

#[test]
fn fills_give_exposure_free() {
    let mut rig = rig(&["AAA", "BBB"]);
    rig.register_exchange();
    rig.place("AAA", 100);
    rig.take("AAA", "o1", Side::Buy, 30);
    assert_eq!(rig.reserved(), (100, 70));
    assert_eq!(rig.ask_for("BBB", 0, 30), Ok((0, 30)));
}

#[test]
fn at_limit_0_nothing_is_granted_and_nothing_waits() {
    let mut rig = rig(&["AAA"]);
    rig.ok(limit(0, 0));
    let heavy = Refusal::TooHeavy { lot: Exposure(1), limit: Exposure(0) };
    assert_eq!(rig.ask_for("AAA", 1, 1), Err(heavy));
    assert_eq!((demands(&rig, "AAA"), rig.state("AAA").demand.turn), ((false, false), None));
}

/// No more than its own quote holds: it is granted, though others wait, up to its share.
#[test]
fn a_symbol_may_hold_on_to_its_share() {
    let mut rig = rig(&["AAA", "BBB", "CCC"]);
    rig.place("AAA", 30);
    rig.place("BBB", 70);
    assert!(rig.ask_for("CCC", 50, 50).is_err());
    // Three demand, 33 each; nothing is free, and CCC waits.
    assert_eq!(rig.ask_for("AAA", 30, 30), Ok((30, 30)));
    assert_eq!(rig.ask_for("AAA", 40, 25), Ok((30, 25)), "no more than it holds");
    assert_eq!(rig.ask_for("BBB", 70, 70), Ok((33, 33)), "above its share it is cut");
}

#[test]
fn keeping_asks_for_what_is_left_and_no_more_than_sharing_grants() {
    let mut rig = rig(&["AAA", "BBB"]);
    rig.place("AAA", 100);
    let keep = Command::KeepQuote(rig.keep("AAA"));
    rig.ok(keep);
    assert!(rig.ask_for("BBB", 50, 50).is_err());
    let before = rig.state("AAA").clone();
    let keep = Command::KeepQuote(rig.keep("AAA"));
    // One lot is set aside for BBB.
    let short = Refusal::ExposureShort { long_free: Exposure(99), short_free: Exposure(99) };
    assert_eq!(rig.refused(keep), short);
    let after = rig.state("AAA");
    assert_eq!((&after.quote, &after.demand), (&before.quote, &before.demand), "the quote stands as it was");
    assert_eq!(after.quote_seq, before.quote_seq + 1);
    rig.place("AAA", 50);
    let keep = Command::KeepQuote(rig.keep("AAA"));
    rig.ok(keep);
}

#[test]
fn a_quote_past_its_deadline_demands_nothing_though_its_exposure_counts() {
    let mut rig = Rig::new();
    let names: Vec<String> = (0..SWEEP_MAX + 2).map(|number| format!("S{number:03}")).collect();
    for name in &names {
        rig.define(name, 1);
    }
    rig.join("m1");
    let (waits, quotes) = names.split_first().unwrap();
    for name in quotes {
        let mut quote = rig.quote(name, 1);
        quote.ttl_ms = 1_000;
        rig.ok(Command::PlaceQuote(quote));
    }
    // All expire at once, and one more than a sweep takes.
    rig.now += 1_000;
    assert_eq!(rig.ask_for(waits, 100, 0), Ok((99, 0)));
    assert_eq!(demands(&rig, waits), (true, false), "alone it has a share of 100, and got 99");
    assert_eq!(rig.reserved(), (100, 1));
}
