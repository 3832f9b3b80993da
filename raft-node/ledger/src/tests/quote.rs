use super::{Rig, START, TTL, maker, side, symbol};
use crate::{bounds::STRATEGY_STATE_MAX, *};
use quorate_domain::*;

fn rig() -> Rig {
    let mut rig = Rig::with_symbols(&["AAA", "BBB"]);
    rig.join("m1");
    rig.register_exchange();
    rig
}

fn refuse(rig: &mut Rig, change: impl FnOnce(&mut PlaceQuote)) -> Refusal {
    let mut quote = rig.quote("AAA", 10);
    change(&mut quote);
    rig.refused(Command::PlaceQuote(quote))
}

#[test]
fn a_quote_reserves_and_says_all_about_itself() {
    let mut rig = rig();
    let id = rig.place("AAA", 10);
    assert_eq!(rig.reserved(), (10, 10));
    let Event::QuotePlaced(placed) = &rig.events[0] else { panic!("{:?}", rig.events) };
    assert_eq!((placed.quote_id, placed.superseded, placed.epoch), (id, None, 1));
    assert_eq!((placed.bid, placed.ask), (Some(side(99, 10)), Some(side(101, 10))));
    assert_eq!((placed.bid_asked, placed.ask_asked), (Qty(10), Qty(10)));
    assert_eq!((placed.cause, placed.basis.computed_at), (QuoteCause::Refresh, id - 1));
    assert_eq!(placed.deadline, Millis(START + 30_000));

    // The next supersedes it, without an event of its own.
    rig.now += 10;
    let next = rig.place("AAA", 4);
    assert_eq!(rig.reserved(), (4, 4));
    assert_eq!(rig.events.len(), 1);
    assert!(matches!(&rig.events[0], Event::QuotePlaced(placed) if placed.superseded == Some(id)));
    assert_eq!(rig.pull("AAA"), Answer::QuotePulled { quote_id: Some(next) });
    let released = |units| Exposure(units);
    let ended = Event::QuoteEnded {
        symbol: symbol("AAA"),
        quote_id: next,
        released_long: released(4),
        released_short: released(4),
        reason: QuoteEndReason::Pulled,
    };
    assert_eq!(rig.events, vec![ended]);
    assert_eq!(rig.reserved(), (0, 0));
    assert_eq!(rig.pull("AAA"), Answer::QuotePulled { quote_id: None });
}

fn reference(price: i64) -> Reference {
    let source = SourceName::new("walk:AAA").unwrap();
    Reference { source, price: RefPrice(price), seq: 1, time: Millis(START) }
}

#[test]
fn bad_form_is_invalid_and_makes_no_event() {
    let mut rig = rig();
    let changes: [fn(&mut PlaceQuote); 13] = [
        |quote| (quote.bid, quote.ask) = (None, None),
        |quote| quote.bid = Some(side(0, 1)),
        |quote| quote.bid = Some(side(-5, 1)),
        |quote| quote.ask = Some(side(MAX_PRICE + 1, 1)),
        |quote| quote.ask = Some(side(101, 0)),
        |quote| quote.ask = Some(side(101, -1)),
        |quote| quote.bid = Some(side(99, MAX_QTY + 1)),
        |quote| quote.bid = Some(side(99, i64::MAX)),
        |quote| quote.bid = Some(side(101, 1)),
        |quote| quote.ttl_ms = 99,
        |quote| quote.ttl_ms = 30_001,
        |quote| quote.basis.state = vec![0; STRATEGY_STATE_MAX + 1],
        |quote| quote.basis.reference = Some(reference(1)),
    ];
    for change in changes {
        assert!(matches!(refuse(&mut rig, change), Refusal::Invalid { .. }));
        assert!(rig.events.is_empty());
    }
    let unknown = refuse(&mut rig, |quote| quote.symbol = symbol("ZZZ"));
    assert_eq!(unknown, Refusal::UnknownSymbol { symbol: symbol("ZZZ") });
    assert!(rig.events.is_empty());
}

#[test]
fn only_the_holder_under_its_present_epoch_may_quote() {
    let mut rig = rig();
    let stale =
        |epoch, holder: Option<&str>| Refusal::StaleEpoch { symbol: symbol("AAA"), epoch, holder: holder.map(maker) };
    assert_eq!(refuse(&mut rig, |quote| quote.epoch = 0), stale(1, Some("m1")));
    assert!(matches!(&rig.events[0], Event::QuoteRefused { refusal: Refusal::StaleEpoch { .. }, .. }));
    assert_eq!(refuse(&mut rig, |quote| quote.epoch = 2), stale(1, Some("m1")));
    let incarnation = rig.ledger.incarnation(&maker("m1"));
    let other = refuse(&mut rig, |quote| quote.incarnation = 999);
    assert_eq!(other, Refusal::UnknownMaker { incarnation: 999, present: incarnation });
    let pull = Command::PullQuote(PullQuote { epoch: 2, ..rig.pulling("AAA") });
    assert_eq!(rig.refused(pull), stale(1, Some("m1")));
    rig.leave("m1");
    assert_eq!(refuse(&mut rig, |_| {}), stale(1, None));
}

#[test]
fn a_late_quote_leaves_the_newer_one_alone() {
    let mut rig = rig();
    rig.place("AAA", 10);
    let late = rig.quote("AAA", 5);
    let newer = rig.place("AAA", 10);
    assert_eq!(rig.refused(Command::PlaceQuote(late)), Refusal::StaleQuoteSeq { last: 2 });
    assert_eq!(rig.state("AAA").quote.as_ref().unwrap().id, newer);
    assert_eq!(refuse(&mut rig, |quote| quote.quote_seq = 0), Refusal::StaleQuoteSeq { last: 2 });
    // Numbers may be skipped.
    let mut skipping = rig.quote("AAA", 10);
    skipping.quote_seq = 40;
    rig.ok(Command::PlaceQuote(skipping));
    assert_eq!(rig.state("AAA").quote_seq, 40);
}

#[test]
fn a_quote_from_another_position_is_refused_with_the_position() {
    let mut rig = rig();
    rig.place("AAA", 10);
    let old = rig.quote("AAA", 10);
    rig.take("AAA", "o1", Side::Buy, 3);
    let stale = Refusal::StalePosition { position_seq: 1, position: Position(-3) };
    assert_eq!(rig.refused(Command::PlaceQuote(old)), stale);
    assert_eq!(refuse(&mut rig, |quote| quote.position_seq = 2), stale);
}

#[test]
fn quotes_are_post_only() {
    let mut rig = rig();
    rig.rest("AAA", "o1", Side::Sell, 105, 1);
    rig.rest("AAA", "o2", Side::Sell, 103, 1);
    rig.rest("AAA", "o3", Side::Buy, 97, 1);
    rig.rest("AAA", "o4", Side::Buy, 95, 1);
    let crossing = |side, price| Refusal::CrossesResting { side, price: Price(price) };
    let both = refuse(&mut rig, |quote| (quote.bid, quote.ask) = (Some(side(103, 1)), Some(side(104, 1))));
    assert_eq!(both, crossing(Side::Buy, 103));
    let low = refuse(&mut rig, |quote| (quote.bid, quote.ask) = (Some(side(96, 1)), Some(side(97, 1))));
    assert_eq!(low, crossing(Side::Sell, 97));
    // Another symbol's orders do not matter, and a tick inside is fine.
    let mut quote = rig.quote("AAA", 1);
    (quote.bid, quote.ask) = (Some(side(98, 1)), Some(side(102, 1)));
    rig.ok(Command::PlaceQuote(quote));
    let mut quote = rig.quote("BBB", 1);
    (quote.bid, quote.ask) = (Some(side(200, 1)), None);
    rig.ok(Command::PlaceQuote(quote));
}

/// A maker that wants another quote does not want the one that stands, least of all where the reference has moved.
#[test]
fn a_quote_that_was_asked_to_be_replaced_never_stays() {
    let mut rig = rig();
    rig.rest("AAA", "o1", Side::Sell, 105, 1);
    rig.place("AAA", 10);
    let stands = rig.state("AAA").quote.as_ref().unwrap().id;
    let seq = rig.state("AAA").quote_seq;
    // What is refused before, for an old position or another's epoch, leaves it alone.
    refuse(&mut rig, |quote| quote.position_seq = 9);
    refuse(&mut rig, |quote| quote.epoch = 9);
    assert_eq!((rig.state("AAA").quote.as_ref().unwrap().id, rig.state("AAA").quote_seq), (stands, seq));
    let mut quote = rig.quote("AAA", 1);
    (quote.bid, quote.ask) = (Some(side(105, 1)), None);
    let number = quote.quote_seq;
    assert!(matches!(rig.refused(Command::PlaceQuote(quote.clone())), Refusal::CrossesResting { .. }));
    let [Event::QuoteEnded { quote_id, reason: QuoteEndReason::Replaced, .. }, Event::QuoteRefused { .. }] =
        &rig.events[..]
    else {
        panic!("{:?}", rig.events)
    };
    assert_eq!((*quote_id, rig.state("AAA").quote.is_none(), rig.state("AAA").quote_seq), (stands, true, number));
    assert_eq!(rig.refused(Command::PlaceQuote(quote)), Refusal::StaleQuoteSeq { last: number });
}

#[test]
fn a_quote_ends_at_its_deadline_whatever_the_lease() {
    let mut rig = rig();
    let mut quote = rig.quote("AAA", 10);
    quote.ttl_ms = 100;
    rig.ok(Command::PlaceQuote(quote));
    assert_eq!(rig.ledger.next_deadline(), Some(Millis(START + 100)));
    rig.tick_at(START + 99);
    assert!(rig.events.is_empty());
    assert!(rig.ledger.active_quote(&symbol("AAA")).is_some());
    rig.tick_at(START + 100);
    assert!(matches!(&rig.events[..], [Event::QuoteEnded { reason: QuoteEndReason::Expired, .. }]));
    assert_eq!(rig.ledger.next_deadline(), Some(Millis(START + TTL)));
}

#[test]
fn a_quote_is_swept_before_it_could_be_filled_too_late() {
    let mut rig = rig();
    let mut quote = rig.quote("AAA", 10);
    quote.ttl_ms = 100;
    rig.ok(Command::PlaceQuote(quote));
    let id = rig.index();
    let mut order = rig.taking("AAA", "o1", Side::Buy, 1);
    rig.now += 100;
    order.deadline = Millis(rig.now + 1);
    assert_eq!(rig.refused(Command::ExecuteOrder(order)), Refusal::NotActive { against: Against::Quote(id) });
}

#[test]
fn a_kept_quote_lives_on_as_it_is() {
    let mut rig = rig();
    let id = rig.place("AAA", 10);
    let placed = rig.state("AAA").quote.clone().unwrap();
    rig.now += 5_000;
    let mut keep = rig.keep("AAA");
    keep.basis.reference = Some(reference(200));
    let deadline = Millis(rig.now + 30_000);
    assert_eq!(rig.ok(Command::KeepQuote(keep.clone())), Answer::QuoteKept { deadline });
    let KeepQuote { symbol, quote_seq, basis, .. } = keep.clone();
    assert_eq!(rig.events, [Event::QuoteKept { symbol, quote_id: id, quote_seq, deadline, basis: basis.clone() }]);
    let confirmation = Some(Confirmation { at: Millis(rig.now), basis });
    let kept = rig.state("AAA").quote.clone().unwrap();
    assert_eq!(kept, Quote { deadline, confirmation, ..placed });
    assert_eq!(rig.refused(Command::KeepQuote(keep)), Refusal::StaleQuoteSeq { last: 2 });
    assert_eq!(rig.reserved(), (10, 10));
}

#[test]
fn a_quote_that_was_filled_or_is_gone_is_not_kept() {
    let mut rig = rig();
    let first = rig.place("AAA", 10);
    let second = rig.place("AAA", 10);
    let keep = KeepQuote { quote_id: first, ..rig.keep("AAA") };
    let gone = |id| Refusal::NotActive { against: Against::Quote(id) };
    assert_eq!(rig.refused(Command::KeepQuote(keep)), gone(first));
    assert!(matches!(&rig.events[..], [Event::QuoteRefused { quote_seq: 3, .. }]));
    assert_eq!(rig.state("AAA").quote.as_ref().unwrap().id, second, "a refused keep leaves the quote as it is");
    rig.take("AAA", "o1", Side::Buy, 1);
    // With the present position the quote is not the one it was placed with; with that one it is stale.
    for position_seq in [1, 0] {
        let keep = KeepQuote { position_seq, ..rig.keep("AAA") };
        let stale = Refusal::StalePosition { position_seq: 1, position: Position(-1) };
        assert_eq!(rig.refused(Command::KeepQuote(keep)), stale);
    }
    assert!(rig.state("AAA").quote.is_some());
    rig.pull("AAA");
    let keep = KeepQuote { quote_id: second, ..rig.keep("AAA") };
    assert_eq!(rig.refused(Command::KeepQuote(keep)), gone(second));
}

#[test]
fn what_refuses_a_quote_refuses_its_keeping() {
    let mut rig = rig();
    rig.place("AAA", 10);
    let changes: [fn(&mut KeepQuote); 3] = [
        |keep| keep.ttl_ms = 99,
        |keep| keep.basis.state = vec![0; STRATEGY_STATE_MAX + 1],
        |keep| keep.basis.reference = Some(reference(1)),
    ];
    for change in changes {
        let mut keep = rig.keep("AAA");
        change(&mut keep);
        assert!(matches!(rig.refused(Command::KeepQuote(keep)), Refusal::Invalid { .. }));
        assert!(rig.events.is_empty());
    }
    let keep = KeepQuote { epoch: 9, ..rig.keep("AAA") };
    assert!(matches!(rig.refused(Command::KeepQuote(keep)), Refusal::StaleEpoch { .. }));
    let keep = KeepQuote { incarnation: 9, ..rig.keep("AAA") };
    assert!(matches!(rig.refused(Command::KeepQuote(keep)), Refusal::UnknownMaker { .. }));
    let mut keep = rig.keep("AAA");
    keep.basis.parameters = Digest::default();
    assert!(matches!(rig.refused(Command::KeepQuote(keep)), Refusal::UnknownParameters { committed: Some(_) }));
    rig.decide(ControlChange::KillSwitch { engaged: true });
    let keep = rig.keep("AAA");
    assert!(matches!(rig.refused(Command::KeepQuote(keep)), Refusal::KillSwitch { .. }));
}

#[test]
fn a_pull_uses_up_its_number_and_a_late_one_pulls_nothing() {
    let mut rig = rig();
    rig.place("AAA", 10);
    let late = rig.pulling("AAA");
    let newer = rig.place("AAA", 10);
    assert_eq!(rig.refused(Command::PullQuote(late)), Refusal::StaleQuoteSeq { last: 2 });
    assert!(rig.events.is_empty());
    assert_eq!(rig.state("AAA").quote.as_ref().unwrap().id, newer);
    let before = rig.quote("AAA", 10);
    rig.pull("AAA");
    assert_eq!(rig.refused(Command::PlaceQuote(before)), Refusal::StaleQuoteSeq { last: 3 });
}
