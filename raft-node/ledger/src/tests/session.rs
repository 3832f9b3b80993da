use super::{Rig, define, limit, spec, symbol};
use crate::{bounds::*, *};
use quorate_domain::*;

#[test]
fn a_repeat_gets_the_first_answer_and_has_no_effect() {
    let mut rig = Rig::new();
    rig.define("AAA", 1);
    let first = rig.last.clone();
    let (session, seq) = (rig.session, rig.seq);
    rig.now += 5;
    rig.sent(session, seq, define("AAA", 1));
    assert_eq!(rig.last, first);
    assert!(rig.events.is_empty());
}

#[test]
fn a_refusal_is_kept_like_an_answer() {
    let mut rig = Rig::with_symbols(&["AAA"]);
    rig.refused(define("AAA", 2));
    let first = rig.last.clone();
    rig.sent(rig.session, rig.seq, define("AAA", 2));
    assert_eq!(rig.last, first);
}

#[test]
fn a_seq_with_another_command_is_reused() {
    let mut rig = Rig::with_symbols(&["AAA"]);
    let seq = rig.seq;
    assert_eq!(rig.sent(rig.session, seq, define("BBB", 1)), Outcome::Refused(Refusal::SeqReused { seq }));
    assert_eq!(rig.ledger.symbols().count(), 1);
}

#[test]
fn within_the_window_the_order_does_not_matter_and_below_it_nothing_is_known() {
    let mut rig = Rig::new();
    let session = rig.session;
    let accepted = |outcome| matches!(outcome, Outcome::Accepted(_));
    assert!(accepted(rig.sent(session, SESSION_WINDOW + 1, define("AAA", 1))));
    assert!(accepted(rig.sent(session, 2, define("BBB", 1))));
    let too_old = |seq, window_from| Outcome::Refused(Refusal::SeqTooOld { seq, window_from });
    assert_eq!(rig.sent(session, 1, define("CCC", 1)), too_old(1, 2));
    assert_eq!(rig.sent(session, 0, define("CCC", 1)), too_old(0, 2));
    // The window moves on, and forgets what falls out of it.
    assert!(accepted(rig.sent(session, SESSION_WINDOW + 2, define("DDD", 1))));
    assert_eq!(rig.sent(session, 2, define("BBB", 1)), too_old(2, 3));
}

#[test]
fn the_window_holds_no_more_than_its_size() {
    let mut rig = Rig::new();
    for _ in 0..SESSION_WINDOW * 2 {
        rig.ok(define("AAA", 1));
    }
    assert_eq!(rig.ledger.tables.sessions[&rig.session].answers.len() as u64, SESSION_WINDOW);
}

#[test]
fn only_control_and_open_session_come_without_a_session() {
    let mut rig = Rig::new();
    assert_eq!(rig.sent(0, 1, define("AAA", 1)), Outcome::Refused(Refusal::SessionRequired));
    let changed = Outcome::Accepted(Answer::ControlChanged { control_version: 1 });
    assert_eq!(rig.sent(0, 0, limit(50, 0)), changed);
    // In a session it is exactly once: the repeat does not fail on the control version.
    rig.ok(limit(50, 1));
    let repeat = rig.sent(rig.session, rig.seq, limit(50, 1));
    assert_eq!(repeat, Outcome::Accepted(Answer::ControlChanged { control_version: 2 }));
    assert!(matches!(rig.refused(Command::OpenSession), Refusal::Invalid { .. }));
}

#[test]
fn a_closed_session_is_unknown() {
    let mut rig = Rig::new();
    let session = rig.session;
    assert_eq!(rig.ok(Command::CloseSession), Answer::SessionClosed);
    let expired = Outcome::Refused(Refusal::SessionExpired { session });
    assert_eq!(rig.sent(session, rig.seq, Command::CloseSession), expired);
    assert_eq!(rig.sent(77, 1, define("AAA", 1)), Outcome::Refused(Refusal::SessionExpired { session: 77 }));
    assert_eq!(rig.ledger.session_count(), 0);
}

#[test]
fn an_idle_session_expires_and_any_use_keeps_it() {
    let mut rig = Rig::with_symbols(&["AAA"]);
    let (session, seq) = (rig.session, rig.seq);
    rig.now += SESSION_IDLE_MS - 1;
    // Even a refused seq is a use.
    rig.sent(session, seq, define("BBB", 1));
    rig.now += SESSION_IDLE_MS - 1;
    assert!(matches!(rig.sent(session, seq, define("AAA", 1)), Outcome::Accepted(_)));
    rig.now += SESSION_IDLE_MS;
    let expired = Outcome::Refused(Refusal::SessionExpired { session });
    assert_eq!(rig.sent(session, seq, define("AAA", 1)), expired);
    assert_eq!(rig.ledger.session_count(), 0);
}

#[test]
fn an_idle_session_that_the_sweep_did_not_reach_is_expired_all_the_same() {
    let mut rig = Rig::new();
    let first = rig.session;
    let last = (0..SWEEP_MAX).map(|_| rig.open_session()).last().unwrap();
    rig.now += SESSION_IDLE_MS;
    let expired = Outcome::Refused(Refusal::SessionExpired { session: last });
    assert_eq!(rig.sent(last, 1, define("AAA", 1)), expired);
    assert_eq!(rig.ledger.session_count(), 1, "one apply sweeps {SWEEP_MAX}, and {first} was among them");
}

#[test]
fn the_least_recently_used_session_makes_room_once_it_is_idle_enough() {
    let mut rig = Rig::new();
    let first = rig.session;
    let second = rig.open_session();
    while rig.ledger.session_count() < SESSIONS_MAX {
        rig.open_session();
    }
    let full = Outcome::Refused(Refusal::TooManySessions { max: SESSIONS_MAX as u64 });
    rig.now += SESSION_IDLE_MIN_MS - 1;
    assert_eq!(rig.sent(0, 0, Command::OpenSession), full);
    rig.now += 1;
    rig.ok(define("AAA", 1));
    rig.open_session();
    let expired = Outcome::Refused(Refusal::SessionExpired { session: second });
    assert_eq!(rig.sent(second, 1, define("AAA", 1)), expired);
    assert_eq!(rig.ledger.session_count(), SESSIONS_MAX, "{first} was used, and stays");
}

#[test]
fn a_symbol_is_defined_once_with_a_spec_in_range() {
    let mut rig = Rig::new();
    assert_eq!(rig.ok(define("AAA", 1)), Answer::SymbolDefined { existed: false });
    assert_eq!(rig.events, vec![Event::SymbolDefined { symbol: symbol("AAA"), spec: spec(1) }]);
    assert_eq!(rig.ok(define("AAA", 1)), Answer::SymbolDefined { existed: true });
    assert!(rig.events.is_empty());
    assert_eq!(rig.refused(define("AAA", 2)), Refusal::SymbolExists { symbol: symbol("AAA") });
    for exposure_per_lot in [0, -1, EXPOSURE_PER_LOT_MAX + 1] {
        assert!(matches!(rig.refused(define("BBB", exposure_per_lot)), Refusal::Invalid { .. }));
    }
    for (tick, lot) in [("0", "1"), ("-0.01", "1"), ("1", "0"), ("1", "-5")] {
        let spec = SymbolSpec { tick_size: tick.parse().unwrap(), lot_size: lot.parse().unwrap(), ..spec(1) };
        let command = Command::DefineSymbol(DefineSymbol { symbol: symbol("BBB"), spec });
        assert!(matches!(rig.refused(command), Refusal::Invalid { .. }));
    }
}

#[test]
fn there_is_room_for_so_many_symbols() {
    let mut rig = Rig::new();
    for number in 0..SYMBOLS_MAX {
        let (index, now) = (rig.index() + 1, Millis(rig.now));
        rig.seq += 1;
        let command = define(&format!("S{number}"), 1);
        rig.ledger.apply(index, now, &Input::Client(Envelope { session: rig.session, seq: rig.seq, command }));
    }
    assert_eq!(rig.ledger.symbols().count(), SYMBOLS_MAX);
    let full = Refusal::Full { what: "symbols".to_owned(), max: SYMBOLS_MAX as u64 };
    assert_eq!(rig.refused(define("ONEMORE", 1)), full);
}
