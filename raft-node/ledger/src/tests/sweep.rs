use super::{Rig, START, TTL};
use crate::{bounds::*, *};
use quorate_domain::*;

fn rig() -> Rig {
    let mut rig = Rig::with_symbols(&["AAA"]);
    rig.register_exchange();
    rig
}

#[test]
fn log_time_never_goes_back() {
    let mut rig = Rig::new();
    rig.tick_at(START - 500);
    assert_eq!(rig.ledger.log_time(), Millis(START));
    rig.tick_at(START + 1);
    assert_eq!(rig.ledger.log_time(), Millis(START + 1));
}

#[test]
fn things_end_in_their_order_and_so_many_in_one_apply() {
    let mut rig = Rig::new();
    let names: Vec<String> = (0..SWEEP_MAX).map(|number| format!("S{number:03}")).collect();
    for name in &names {
        rig.define(name, 1);
    }
    rig.join("m1");
    for name in &names {
        rig.place(name, 1);
    }
    // The quotes outlive their maker's lease; one maker is one thing, with all that it takes along.
    rig.tick_at(START + TTL);
    let ended = rig.events.iter().filter(|event| matches!(event, Event::QuoteEnded { .. })).count();
    assert_eq!(ended, names.len());

    rig.join("m2");
    for name in &names {
        let mut quote = rig.quote(name, 1);
        quote.ttl_ms = 100;
        rig.ok(Command::PlaceQuote(quote));
    }
    rig.define("MORE", 1);
    let mut quote = rig.quote("MORE", 1);
    quote.ttl_ms = 101;
    rig.ok(Command::PlaceQuote(quote));
    rig.now += 101;
    rig.tick();
    assert_eq!(rig.events.len(), SWEEP_MAX);
    assert_eq!(rig.reserved(), (1, 1), "the exposure of what is not swept counts");
    assert_eq!(rig.ledger.next_deadline(), Some(Millis(rig.now)));
    rig.tick();
    assert_eq!(rig.events.len(), 1);
}

#[test]
fn the_end_of_time_is_survived() {
    let mut rig = rig();
    rig.join("m1");
    rig.place("AAA", 10);
    rig.rest("AAA", "o1", Side::Buy, 90, 1);
    rig.tick_at(u64::MAX);
    rig.session = rig.open_session();
    rig.ok(super::register("m2", TTL));
    rig.tick();
    assert_eq!(rig.ledger.makers().count(), 0);
}

#[test]
fn nothing_is_due_where_nothing_stands() {
    let mut rig = Rig::new();
    assert_eq!(rig.ledger.next_deadline(), Some(Millis(START + SESSION_IDLE_MS)));
    rig.ok(Command::CloseSession);
    assert_eq!(rig.ledger.next_deadline(), None);
    assert_eq!(Ledger::new().next_deadline(), None);
}
