use super::{Rig, control, limit, maker, symbol};
use crate::{bounds::*, *};
use quorate_domain::*;

fn quoting(scope: QuotingScope, on: bool, control_version: u64) -> Command {
    control(ControlChange::Quoting { scope, on }, control_version)
}

fn kill_switch(engaged: bool, control_version: u64) -> Command {
    control(ControlChange::KillSwitch { engaged }, control_version)
}

fn upgrade(version: u32, control_version: u64) -> Command {
    control(ControlChange::LedgerVersion { version }, control_version)
}

fn position_limit(name: &str, max: Option<i64>, control_version: u64) -> Command {
    control(ControlChange::PositionLimit { symbol: symbol(name), max: max.map(Qty) }, control_version)
}

/// The event of a change that [`control`] made.
fn changed(change: ControlChange, control_version: u64) -> Event {
    let (actor, reason) = (ActorName::new("ops").unwrap(), "drill".to_owned());
    Event::ControlChanged { control_version, actor, reason, change }
}

fn ended(events: &[Event]) -> Vec<(&str, QuoteEndReason)> {
    let ended = |event: &'_ Event| matches!(event, Event::QuoteEnded { .. });
    let found = events.iter().filter(|event| ended(event));
    found
        .map(|event| match event {
            Event::QuoteEnded { symbol, reason, .. } => (symbol.as_str(), *reason),
            other => panic!("{other:?}"),
        })
        .collect()
}

#[test]
fn control_is_a_compare_and_set() {
    let mut rig = Rig::with_symbols(&["AAA"]);
    rig.ok(limit(50, 0));
    let stale = Refusal::ControlVersion { control_version: 1 };
    assert_eq!(rig.refused(limit(100, 0)), stale);
    assert_eq!(rig.refused(limit(100, 2)), stale);
    assert_eq!(rig.refused(quoting(QuotingScope::All, true, 0)), stale);
    assert_eq!(rig.refused(kill_switch(false, 0)), stale);
    assert_eq!(rig.refused(upgrade(1, 0)), stale);
    assert_eq!(rig.refused(position_limit("AAA", None, 0)), stale);
    assert_eq!(rig.ledger.exposure_limit(), Exposure(50));
    // Accepted again, though it changes nothing else.
    assert_eq!(rig.ok(limit(50, 1)), Answer::ControlChanged { control_version: 2 });
}

#[test]
fn form_is_checked_before_the_control_version() {
    let mut rig = Rig::new();
    for out in [-1, HARD_EXPOSURE_LIMIT + 1] {
        let refusal = Refusal::LimitOutOfRange { hard_limit: Exposure(HARD_EXPOSURE_LIMIT) };
        assert_eq!(rig.refused(limit(out, 9)), refusal);
    }
    let scope = QuotingScope::Symbol(symbol("AAA"));
    assert_eq!(rig.refused(quoting(scope, false, 9)), Refusal::UnknownSymbol { symbol: symbol("AAA") });
    assert_eq!(rig.refused(position_limit("AAA", None, 9)), Refusal::UnknownSymbol { symbol: symbol("AAA") });
    rig.define("AAA", 1);
    for out in [-1, MAX_QTY + 1] {
        assert!(matches!(rig.refused(position_limit("AAA", Some(out), 9)), Refusal::Invalid { .. }));
    }
    for version in [0, LEDGER_VERSION + 1] {
        assert_eq!(rig.refused(upgrade(version, 9)), Refusal::LedgerVersion { present: 1, known: LEDGER_VERSION });
    }
}

#[test]
fn who_decides_says_who_and_why() {
    let mut rig = Rig::new();
    let because = |reason: &str, engaged| {
        let (actor, reason) = (ActorName::new("alice").unwrap(), reason.to_owned());
        let change = ControlChange::KillSwitch { engaged };
        Command::Control(ControlCommand { actor, reason, control_version: 0, change })
    };
    for reason in ["", "two\nlines", "\u{7f}", &"r".repeat(REASON_MAX + 1)] {
        assert!(matches!(rig.refused(because(reason, true)), Refusal::Invalid { .. }), "{reason:?}");
        assert!(rig.events.is_empty());
    }
    rig.ok(because("a feed has gone wild", true));
    let Event::ControlChanged { control_version: 1, actor, reason, change } = &rig.events[0] else {
        panic!("{:?}", rig.events)
    };
    assert_eq!((actor.as_str(), reason.as_str()), ("alice", "a feed has gone wild"));
    assert_eq!(*change, ControlChange::KillSwitch { engaged: true });
    rig.ok(because(&"r".repeat(REASON_MAX), true));
}

#[test]
fn an_entry_of_a_newer_program_is_not_supported() {
    let mut rig = Rig::new();
    let upgrade = |version| upgrade(version, 0);
    let input = |command| Input::Client(Envelope { session: 0, seq: 0, command });
    let newer = input(upgrade(LEDGER_VERSION + 1));
    let unsupported = UnsupportedVersion { asked: LEDGER_VERSION + 1, known: LEDGER_VERSION };
    assert_eq!(rig.ledger.supports(&newer), Err(unsupported));
    assert_eq!(rig.ledger.supports(&input(upgrade(LEDGER_VERSION))), Ok(()));
    rig.ok(upgrade(LEDGER_VERSION));
    assert_eq!(rig.events, [changed(ControlChange::LedgerVersion { version: LEDGER_VERSION }, 1)]);
}

#[test]
fn lowering_the_limit_ends_the_newest_quotes_that_are_in_the_way() {
    let mut rig = Rig::with_symbols(&["AAA", "BBB", "CCC"]);
    rig.join("m1");
    rig.place("BBB", 30);
    assert_eq!(rig.ask_for("CCC", 30, 0), Ok((30, 0)));
    rig.place("AAA", 5);
    // Short is 35, within the limit; long is 65: AAA is the newest with bids, and CCC the next.
    rig.ok(limit(40, 0));
    assert_eq!(
        rig.events[0],
        changed(ControlChange::ExposureLimit { limit: Exposure(40) }, 1),
        "the change comes first"
    );
    assert_eq!(ended(&rig.events), [("AAA", QuoteEndReason::LimitLowered), ("CCC", QuoteEndReason::LimitLowered)]);
    assert_eq!(rig.reserved(), (30, 30));
    // A quote without leaves on the side in excess stays.
    assert_eq!(rig.ask_for("AAA", 0, 10), Ok((0, 10)));
    assert_eq!(rig.ask_for("BBB", 40, 1), Ok((40, 1)));
    assert_eq!(rig.ask_for("CCC", 0, 1), Ok((0, 1)));
    rig.ok(limit(20, 1));
    assert_eq!(ended(&rig.events), [("BBB", QuoteEndReason::LimitLowered)]);
}

#[test]
fn quoting_off_ends_the_quotes_concerned_and_refuses_new_ones() {
    let mut rig = Rig::with_symbols(&["AAA", "BBB", "CCC"]);
    rig.join("m1");
    let all = ["AAA", "BBB", "CCC"];
    for name in all {
        rig.place(name, 10);
    }
    let by_symbol = QuotingScope::Symbol(symbol("BBB"));
    rig.ok(quoting(by_symbol.clone(), false, 0));
    assert_eq!(ended(&rig.events), [("BBB", QuoteEndReason::QuotingOff)]);
    let quote = Command::PlaceQuote(rig.quote("BBB", 10));
    assert_eq!(rig.refused(quote.clone()), Refusal::QuotingOff { scope: by_symbol.clone() });

    rig.ok(quoting(QuotingScope::All, false, 1));
    assert_eq!(ended(&rig.events), [("AAA", QuoteEndReason::QuotingOff), ("CCC", QuoteEndReason::QuotingOff)]);
    assert_eq!(rig.refused(quote.clone()), Refusal::QuotingOff { scope: QuotingScope::All }, "the widest is named");
    rig.ok(quoting(QuotingScope::All, true, 2));
    assert_eq!(rig.refused(quote.clone()), Refusal::QuotingOff { scope: by_symbol.clone() });
    rig.ok(quoting(by_symbol, true, 3));
    rig.ok(quote);
}

#[test]
fn quoting_off_for_a_maker_leaves_the_others_alone() {
    let mut rig = Rig::with_symbols(&["AAA", "BBB"]);
    rig.join("m1");
    rig.join("m2");
    rig.release("BBB");
    assert_eq!((rig.holder("AAA"), rig.holder("BBB")), (Some("m1"), Some("m2")));
    rig.place("AAA", 10);
    rig.place("BBB", 10);
    let scope = QuotingScope::Maker(maker("m2"));
    rig.ok(quoting(scope.clone(), false, 0));
    assert_eq!(ended(&rig.events), [("BBB", QuoteEndReason::QuotingOff)]);
    let quote = rig.quote("BBB", 10);
    assert_eq!(rig.refused(Command::PlaceQuote(quote)), Refusal::QuotingOff { scope });
    rig.place("AAA", 10);
    // A name that is not registered can be turned off as well, so many of them.
    rig.ok(quoting(QuotingScope::Maker(maker("nobody")), false, 1));
    for number in 2..QUOTING_OFF_MAKERS_MAX {
        let scope = QuotingScope::Maker(maker(&format!("m{}", number + 1)));
        rig.sent(0, 0, quoting(scope, false, rig.ledger.control().version));
    }
    let scope = QuotingScope::Maker(maker("one-more"));
    let version = rig.ledger.control().version;
    assert!(matches!(rig.refused(quoting(scope, false, version)), Refusal::Full { .. }));
    assert_eq!(rig.ledger.control().version, version);
}

#[test]
fn turning_quoting_off_forgets_demands() {
    let mut rig = Rig::with_symbols(&["AAA", "BBB"]);
    rig.join("m1");
    rig.place("AAA", 100);
    assert!(rig.ask_for("BBB", 50, 50).is_err());
    assert!(rig.state("BBB").demand.until.bid.is_some());
    assert!(rig.state("BBB").demand.turn.is_some());
    rig.ok(quoting(QuotingScope::Symbol(symbol("BBB")), false, 0));
    assert_eq!(rig.state("BBB").demand, Demand::default());
    let left = Event::TurnChanged { symbol: symbol("BBB"), turn: None };
    assert!(rig.events.contains(&left), "{:?}", rig.events);
}

#[test]
fn the_kill_switch_forgets_demands() {
    let mut rig = Rig::with_symbols(&["AAA", "BBB"]);
    rig.join("m1");
    rig.place("AAA", 100);
    assert!(rig.ask_for("BBB", 50, 50).is_err());
    rig.ok(kill_switch(true, 0));
    assert_eq!((&rig.state("AAA").demand, &rig.state("BBB").demand), (&Demand::default(), &Demand::default()));
    let left = Event::TurnChanged { symbol: symbol("BBB"), turn: None };
    let quote_ended = rig.events.iter().position(|event| matches!(event, Event::QuoteEnded { .. }));
    assert!(rig.events.iter().position(|event| *event == left) > quote_ended, "{:?}", rig.events);
}

#[test]
fn a_position_limit_cuts_the_side_that_would_pass_it() {
    let mut rig = Rig::with_symbols(&["AAA"]);
    rig.join("m1");
    rig.register_exchange();
    rig.ok(position_limit("AAA", Some(10), 0));
    assert_eq!(rig.ask_for("AAA", 20, 20), Ok((10, 10)));
    let Some(Event::QuotePlaced(placed)) = rig.events.first() else { panic!("{:?}", rig.events) };
    assert_eq!((placed.bid_asked, placed.ask_asked), (Qty(20), Qty(20)), "what was asked for, before it was cut");
    rig.take("AAA", "o1", Side::Buy, 7);
    // Short of 7: 3 more may be sold, and 17 bought.
    assert_eq!(rig.ask_for("AAA", 20, 20), Ok((17, 3)));
    rig.take("AAA", "o2", Side::Buy, 3);
    assert_eq!(rig.ask_for("AAA", 20, 20), Ok((20, 0)));
    let full = Refusal::PositionLimit { position: Position(-10), max: Qty(10) };
    assert_eq!(rig.ask_for("AAA", 0, 1), Err(full.clone()));
    assert!(rig.state("AAA").quote.is_none(), "what was to be replaced is gone");
    // All or nothing: nothing.
    let quote = rig.quote("AAA", 1);
    assert_eq!(rig.refused(Command::PlaceQuote(quote)), full);
    rig.ok(position_limit("AAA", None, 1));
    rig.place("AAA", 50);
}

#[test]
fn a_lowered_position_limit_ends_the_quote_that_could_pass_it() {
    let mut rig = Rig::with_symbols(&["AAA", "BBB"]);
    rig.join("m1");
    rig.place("AAA", 10);
    rig.place("BBB", 10);
    rig.ok(position_limit("AAA", Some(10), 0));
    assert_eq!(ended(&rig.events), []);
    rig.ok(position_limit("AAA", Some(9), 1));
    assert_eq!(rig.events[0], changed(ControlChange::PositionLimit { symbol: symbol("AAA"), max: Some(Qty(9)) }, 2));
    assert_eq!(ended(&rig.events), [("AAA", QuoteEndReason::PositionLimit)]);
    rig.ok(position_limit("BBB", Some(0), 2));
    assert_eq!(ended(&rig.events), [("BBB", QuoteEndReason::PositionLimit)]);
    let none = Refusal::PositionLimit { position: Position(0), max: Qty(0) };
    assert_eq!(rig.ask_for("BBB", 1, 1), Err(none));
}

#[test]
fn the_kill_switch_ends_everything_and_latches() {
    let mut rig = Rig::with_symbols(&["AAA", "BBB"]);
    rig.join("m1");
    rig.register_exchange();
    rig.place("BBB", 10);
    rig.place("AAA", 10);
    let buy = rig.rest("AAA", "o1", Side::Buy, 90, 5);
    let sell = rig.rest("AAA", "o2", Side::Sell, 110, 5);
    rig.ok(kill_switch(true, 0));
    assert_eq!(rig.events[0], changed(ControlChange::KillSwitch { engaged: true }, 1));
    assert_eq!(ended(&rig.events), [("AAA", QuoteEndReason::KillSwitch), ("BBB", QuoteEndReason::KillSwitch)]);
    let closed: Vec<_> = rig
        .ledger
        .orders_after(0)
        .filter(|order| order.open().is_none())
        .map(|order| (order.id(), order.result().status))
        .collect();
    assert_eq!(closed, [(buy, OrderStatus::Cancelled), (sell, OrderStatus::Cancelled)]);

    let refusal = Refusal::KillSwitch { control_version: 1 };
    assert_eq!(rig.refused(Command::PlaceQuote(rig.quote("AAA", 10))), refusal);
    assert!(matches!(rig.events[0], Event::QuoteRefused { .. }));
    assert_eq!(rig.refused(Command::ExecuteOrder(rig.order("AAA", "o3", Side::Buy, 90, 5))), refusal);
    // What only takes away goes on.
    assert_eq!(rig.pull("AAA"), Answer::QuotePulled { quote_id: None });
    rig.renew("m1");
    rig.ok(kill_switch(false, 1));
    rig.place("AAA", 10);
    rig.rest("AAA", "o3", Side::Buy, 90, 5);
}

#[test]
fn engaging_the_kill_switch_loses_no_race_and_turning_it_off_can() {
    let mut rig = Rig::with_symbols(&["AAA"]);
    rig.join("m1");
    // Others changed control meanwhile; whatever version is named, or none, it engages.
    for (round, decided_on) in [0, 3, 99, u64::MAX].into_iter().enumerate() {
        let version = rig.ledger.control().version;
        rig.ok(limit(100, version));
        rig.place("AAA", 10);
        let engaged = rig.ok(kill_switch(true, decided_on));
        assert_eq!(engaged, Answer::ControlChanged { control_version: version + 2 }, "round {round}");
        assert_eq!(ended(&rig.events), [("AAA", QuoteEndReason::KillSwitch)]);
        // Decided before it was engaged: refused.
        let stale = Refusal::ControlVersion { control_version: version + 2 };
        assert_eq!(rig.refused(kill_switch(false, version + 1)), stale);
        // Engaging it again is a decision too: what was decided before that one is refused.
        rig.ok(kill_switch(true, 0));
        assert_eq!(
            rig.refused(kill_switch(false, version + 2)),
            Refusal::ControlVersion { control_version: version + 3 }
        );
        assert!(rig.ledger.control().kill_switch);
        rig.ok(kill_switch(false, version + 3));
    }
}
