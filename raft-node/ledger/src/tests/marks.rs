//! Which mark counts, which waits, and for which symbols the exchange has a price source.

use super::{Rig, instrument, maker, symbol};
use crate::{bounds::*, *};
use quorate_domain::*;

/// With two symbols, of which one accepts 90 to 300 ticks, and an exchange.
fn rig() -> Rig {
    let mut rig = Rig::new();
    let narrow = Instrument { min_price: Price(90), max_price: Price(300), ..instrument(1) };
    rig.ok(Command::DefineSymbol(DefineSymbol { symbol: symbol("AAA"), instrument: narrow }));
    rig.define("BBB", 1);
    rig.register_exchange();
    rig
}

const COUNTS: Answer = Answer::MarksPublished { counted: 1, waiting: 0, ignored: 0 };
const WAITS: Answer = Answer::MarksPublished { counted: 0, waiting: 1, ignored: 0 };
const IGNORED: Answer = Answer::MarksPublished { counted: 0, waiting: 0, ignored: 1 };

fn counting(rig: &Rig) -> Option<i64> {
    rig.state("AAA").marks.counted.map(|mark| mark.price.0)
}

#[test]
fn the_first_counts_and_so_does_one_within_the_band() {
    let mut rig = rig();
    let now = rig.now;
    assert_eq!(rig.mark("AAA", 400, now), COUNTS);
    let (price, time) = (RefPrice(400), Millis(now));
    let taken = MarkTaken { symbol: symbol("AAA"), price, time, counts: true };
    assert_eq!(rig.events, [Event::MarksPublished { marks: vec![taken] }]);
    assert_eq!(rig.mark("AAA", 440, now + 1), COUNTS, "a tenth of the one that counts");
    assert_eq!(rig.mark("AAA", 395, now + 2), WAITS, "more than a tenth of 440");
    assert_eq!(counting(&rig), Some(440));
    assert_eq!(rig.mark("AAA", 396, now + 3), COUNTS);
    assert_eq!(rig.state("AAA").marks.waiting, None, "one that counts ends the waiting");
}

#[test]
fn one_that_leaps_counts_once_a_later_one_confirms_it() {
    let mut rig = rig();
    let now = rig.now;
    rig.mark("AAA", 400, now);
    assert_eq!(rig.mark("AAA", 500, now + 1), WAITS);
    assert_eq!(rig.mark("AAA", 510, now + MARK_WAIT_MS), WAITS, "a moment too soon, and it changes nothing");
    assert_eq!(rig.state("AAA").marks.waiting.map(|mark| mark.price), Some(RefPrice(500)));
    assert_eq!(rig.mark("AAA", 550, now + 1 + MARK_WAIT_MS), COUNTS, "within the band of 500");
    assert_eq!((counting(&rig), rig.state("AAA").marks.waiting), (Some(550), None));
}

#[test]
fn one_outside_of_both_bands_waits_in_its_place() {
    let mut rig = rig();
    let now = rig.now;
    rig.mark("AAA", 400, now);
    rig.mark("AAA", 500, now + 1);
    assert_eq!(rig.mark("AAA", 300, now + 2), WAITS);
    assert_eq!(rig.mark("AAA", 500, now + 1 + MARK_WAIT_MS), WAITS, "it waits anew");
    assert_eq!(rig.mark("AAA", 500, now + 1 + 2 * MARK_WAIT_MS), COUNTS);
}

#[test]
fn what_is_ignored() {
    let mut rig = rig();
    let now = rig.now;
    assert_eq!(rig.mark("AAA", 400, now + ORDER_TIMESTAMP_AHEAD_MS + 1), IGNORED);
    assert!(rig.events.is_empty());
    assert_eq!(rig.mark("AAA", 400, now), COUNTS);
    assert_eq!(rig.mark("AAA", 400, now), COUNTS, "the same time once more");
    assert_eq!(rig.mark("AAA", 400, now - 1), IGNORED, "below the time of the last one taken");
    for price in [179, 601] {
        assert_eq!(rig.mark("AAA", price, now + 1), IGNORED, "{price}");
    }
    assert_eq!(rig.mark("AAA", 180, now + 1), WAITS);
    assert_eq!(rig.mark("AAA", 400, now), IGNORED, "nor below that of one that waits");
    let exchange_epoch = rig.ledger.exchange().unwrap().epoch;
    let mark = |name: &str, revision: u64| SymbolMark {
        symbol: symbol(name),
        revision,
        price: RefPrice(400),
        time: Millis(now + 2),
    };
    let marks = vec![mark("AAA", 2), mark("BBB", 1), mark("CCC", 1)];
    let answer = rig.ok(Command::PublishMarks(PublishMarks { exchange_epoch, marks }));
    assert_eq!(answer, Answer::MarksPublished { counted: 1, waiting: 0, ignored: 2 });
}

#[test]
fn marks_come_from_the_present_exchange_in_the_order_of_symbols() {
    let mut rig = rig();
    let exchange_epoch = rig.ledger.exchange().unwrap().epoch;
    let mark = |name: &str| {
        let (price, time) = (RefPrice(400), Millis(1));
        SymbolMark { symbol: symbol(name), revision: 1, price, time }
    };
    let stale = PublishMarks { exchange_epoch: exchange_epoch - 1, marks: Vec::new() };
    assert_eq!(rig.refused(Command::PublishMarks(stale)), Refusal::StaleExchange { exchange_epoch });
    let too_many = (0..=SYMBOLS_MAX).map(|number| mark(&format!("S{number:04}"))).collect();
    for marks in [Vec::new(), vec![mark("BBB"), mark("AAA")], vec![mark("AAA"), mark("AAA")], too_many] {
        let refused = rig.refused(Command::PublishMarks(PublishMarks { exchange_epoch, marks }));
        assert!(matches!(refused, Refusal::Invalid { .. }), "{refused:?}");
    }
}

fn list(rig: &mut Rig, names: &[&str]) -> Outcome {
    let exchange_epoch = rig.ledger.exchange().unwrap().epoch;
    let symbols = names.iter().map(|name| symbol(name)).collect();
    rig.send(Command::SetListing(SetListing { exchange_epoch, symbols }))
}

#[test]
fn a_symbol_without_a_price_source_loses_its_holder() {
    let mut rig = rig();
    rig.join("m1");
    rig.place("AAA", 1);
    assert_eq!(list(&mut rig, &["BBB"]), Outcome::Accepted(Answer::ListingSet));
    assert_eq!(rig.events[0], Event::ListingChanged { symbols: vec![symbol("BBB")] });
    assert!(matches!(&rig.events[1], Event::QuoteEnded { reason: QuoteEndReason::AuthorityEnded, .. }));
    assert!(matches!(
        &rig.events[2],
        Event::AuthorityEnded { symbol, reason: AuthorityEndReason::Unlisted, .. } if symbol.as_str() == "AAA"
    ));
    assert_eq!((rig.holder("AAA"), rig.holder("BBB")), (None, Some("m1")));
    rig.define("CCC", 1);
    assert_eq!(rig.holder("CCC"), None, "a listing stands until the next");
    rig.register_exchange();
    assert_eq!(rig.holder("AAA"), None, "also through a new exchange epoch");
    list(&mut rig, &["AAA", "BBB"]);
    assert_eq!((rig.holder("AAA"), rig.holder("CCC")), (Some("m1"), None));
    list(&mut rig, &["AAA", "BBB"]);
    assert!(rig.events.is_empty(), "the listing that stands, again, changes nothing");
}

#[test]
fn only_listed_symbols_take_part_in_the_rebalance() {
    let mut rig = rig();
    rig.join("m1");
    rig.join("m2");
    rig.define("CCC", 1);
    rig.define("DDD", 1);
    list(&mut rig, &["CCC", "DDD"]);
    let held = |name: &str| rig.ledger.held_by(&maker(name)).count();
    assert_eq!(held("m1") + held("m2"), 2);
}

#[test]
fn a_listing_is_in_order_and_of_known_symbols() {
    let mut rig = rig();
    for names in [["BBB", "AAA"], ["AAA", "AAA"]] {
        assert!(matches!(list(&mut rig, &names), Outcome::Refused(Refusal::Invalid { .. })));
    }
    let unknown = Refusal::UnknownSymbol { symbol: symbol("CCC") };
    assert_eq!(list(&mut rig, &["AAA", "CCC"]), Outcome::Refused(unknown));
    let exchange_epoch = rig.ledger.exchange().unwrap().epoch;
    let stale = SetListing { exchange_epoch: exchange_epoch - 1, symbols: Vec::new() };
    assert_eq!(rig.refused(Command::SetListing(stale)), Refusal::StaleExchange { exchange_epoch });
}
