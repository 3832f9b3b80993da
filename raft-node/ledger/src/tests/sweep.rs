use super::{Rig, START, TTL};
use crate::{bounds::*, *};
use quorate_domain::*;

/// An order that closes at once, with this timestamp.
fn closed(rig: &Rig, id: &str, timestamp: u64) -> Command {
    let mut order = rig.order("AAA", id, Side::Buy, 90, 1);
    (order.order.time_in_force, order.remainder) = (TimeInForce::Ioc, Remainder::Expire);
    order.order.timestamp = Millis(timestamp);
    Command::ExecuteOrder(order)
}

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
fn a_closed_order_is_forgotten_with_its_time_and_the_floor_rises() {
    let mut rig = rig();
    rig.ok(closed(&rig, "o1", START - 7));
    assert_eq!(rig.ledger.closed_floor(), Millis(0));
    rig.now = START - 7 + CLOSED_ORDER_RETENTION_MS;
    rig.tick_at(rig.now - 1);
    assert_eq!(rig.ledger.closed_order_count(), 1);
    rig.tick_at(rig.now + 1);
    assert_eq!(rig.ledger.closed_order_count(), 0);
    assert_eq!(rig.ledger.closed_floor(), Millis(START - 7));
    rig.session = rig.open_session();
    let floor = Millis(START - 7);
    let repeat = closed(&rig, "o1", START - 7);
    assert_eq!(rig.refused(repeat), Refusal::TimestampTooOld { floor });
    let newer = closed(&rig, "o1", START - 6);
    rig.ok(newer);
}

#[test]
fn past_the_bound_the_oldest_closed_order_goes_and_the_floor_rises() {
    let mut rig = rig();
    for number in 0..CLOSED_ORDERS_MAX {
        // The oldest is not the first.
        let timestamp = if number == 5 { START - 1 } else { START };
        let Command::ExecuteOrder(order) = closed(&rig, &format!("o{number}"), timestamp) else { panic!() };
        rig.seq += 1;
        let command = Command::ExecuteOrder(order);
        let input = Input::Client(Envelope { session: rig.session, seq: rig.seq, command });
        rig.ledger.apply(rig.ledger.last_index() + 1, Millis(rig.now), &input);
    }
    assert_eq!(rig.ledger.closed_order_count(), CLOSED_ORDERS_MAX);
    assert_eq!(rig.ledger.closed_floor(), Millis(0));
    rig.ok(closed(&rig, "more", START + 1));
    assert_eq!(rig.ledger.closed_order_count(), CLOSED_ORDERS_MAX);
    assert_eq!(rig.ledger.closed_floor(), Millis(START - 1));
    let repeat = closed(&rig, "o5", START - 1);
    assert!(matches!(rig.refused(repeat), Refusal::TimestampTooOld { .. }));
    // A clone shares what it holds: the million-entry state costs next to nothing to keep.
    let copy = rig.ledger.clone();
    rig.ok(closed(&rig, "yet-more", START + 1));
    assert_ne!(copy.chain(), rig.ledger.chain());
    assert_eq!(copy.closed_floor(), Millis(START - 1));
    assert_eq!(rig.ledger.closed_floor(), Millis(START));
}

#[test]
fn an_open_order_stays_however_old_and_is_forgotten_once_it_closes() {
    let mut rig = rig();
    let id = rig.rest("AAA", "o1", Side::Buy, 90, 1);
    rig.tick_at(START + 2 * CLOSED_ORDER_RETENTION_MS);
    assert!(rig.ledger.order(id).is_some());
    rig.session = rig.open_session();
    let exchange_epoch = rig.ledger.exchange().unwrap().epoch;
    let account = Account::new("alice").unwrap();
    rig.ok(Command::CancelOrder(CancelOrder { exchange_epoch, account, order_id: id }));
    assert!(rig.ledger.order(id).is_some());
    rig.tick();
    assert!(rig.ledger.order(id).is_none());
    assert_eq!(rig.ledger.closed_floor(), Millis(START));
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
