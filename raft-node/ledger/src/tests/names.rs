//! Names: how long they are known, what a repeat is told, and who gets a place.

use proptest::prelude::*;

use super::{Rig, START, symbol};
use crate::{bounds::*, *};
use quorate_domain::*;

fn account(name: &str) -> Account {
    Account::new(name).unwrap()
}

fn rig() -> Rig {
    let mut rig = Rig::with_symbols(&["AAA"]);
    rig.register_exchange();
    rig
}

/// An order that closes at once, without a fill.
fn closing(rig: &Rig, owner: &str, id: &str) -> ExecuteOrder {
    let mut order = rig.order("AAA", id, Side::Buy, 90, 1);
    (order.order.account, order.order.time_in_force) = (account(owner), TimeInForce::Ioc);
    order.remainder = Remainder::Expire;
    order
}

fn close(rig: &mut Rig, owner: &str, id: &str) -> OrderId {
    let order = closing(rig, owner, id);
    rig.ok(Command::ExecuteOrder(order));
    rig.index()
}

fn cancel(rig: &mut Rig, id: OrderId) -> Outcome {
    let exchange_epoch = rig.ledger.exchange().unwrap().epoch;
    rig.send(Command::CancelOrder(CancelOrder { exchange_epoch, account: account("alice"), order_id: id }))
}

/// Lets time pass, and has a session again.
fn wait_until(rig: &mut Rig, now: u64) {
    rig.tick_at(now);
    rig.session = rig.open_session();
}

fn names(rig: &Rig, owner: &str) -> usize {
    rig.ledger.names_of(&account(owner))
}

#[test]
fn a_name_is_known_until_its_time_after_the_close_whatever_the_timestamp() {
    let mut rig = rig();
    let id = close(&mut rig, "alice", "o1");
    assert_eq!(rig.ledger.next_deadline(), Some(Millis(START + NAME_MEMORY_MS)));
    wait_until(&mut rig, START + NAME_MEMORY_MS - 1);
    for timestamp in [0, START, rig.now, rig.now + ORDER_TIMESTAMP_AHEAD_MS] {
        let mut repeat = closing(&rig, "alice", "o1");
        repeat.order.timestamp = Millis(timestamp);
        let Refusal::DuplicateOrder { same: true, result, .. } = rig.refused(Command::ExecuteOrder(repeat)) else {
            panic!("not known at {timestamp}")
        };
        assert_eq!((result.order_id, result.status, result.leaves_qty), (id, OrderStatus::Expired, Qty(0)));
    }
    wait_until(&mut rig, START + NAME_MEMORY_MS);
    assert_eq!((rig.ledger.name_count(), names(&rig, "alice")), (0, 0));
    // A new order, as at the real venue, also with the old timestamp.
    let mut again = closing(&rig, "alice", "o1");
    again.order.timestamp = Millis(START);
    rig.ok(Command::ExecuteOrder(again));
}

#[test]
fn a_repeat_of_a_filled_order_is_told_what_became_of_it() {
    let mut rig = rig();
    rig.join("m1");
    rig.place("AAA", 10);
    rig.take("AAA", "o1", Side::Buy, 4);
    let id = rig.index();
    let mut repeat = rig.order("AAA", "o1", Side::Buy, 101, 4);
    let expected = OrderResult {
        order_id: id,
        status: OrderStatus::Filled,
        cum_qty: Qty(4),
        leaves_qty: Qty(0),
        cum_quote: super::money(404),
        trades: Vec::new(),
    };
    let duplicate =
        |same| Refusal::DuplicateOrder { client_order_id: "o1".parse().unwrap(), same, result: expected.clone() };
    assert_eq!(rig.refused(Command::ExecuteOrder(repeat.clone())), duplicate(true));
    let changes: [fn(&mut NewOrder); 5] = [
        |order| order.qty = Qty(5),
        |order| order.price = Some(Price(100)),
        |order| order.side = Side::Sell,
        |order| order.order_type = OrderType::LimitMaker,
        |order| order.symbol = symbol("BBB"),
    ];
    rig.define("BBB", 1);
    for change in changes {
        let mut other = rig.order("AAA", "o1", Side::Buy, 101, 4);
        change(&mut other.order);
        other.exec_id = rig.ledger.exchange().unwrap().last_exec_id(&other.order.symbol) + 1;
        other.answered_below = 0;
        assert_eq!(rig.refused(Command::ExecuteOrder(other)), duplicate(false));
    }
    repeat.order.account = account("bob");
    (repeat.order.time_in_force, repeat.remainder) = (TimeInForce::Ioc, Remainder::Expire);
    rig.ok(Command::ExecuteOrder(repeat));

    let known = KnownOrder::Closed(ClosedOrder {
        id,
        account: account("alice"),
        closed_at: Millis(START),
        status: OrderStatus::Filled,
        cum_qty: Qty(4),
        cum_quote: expected.cum_quote,
        check: order_check(&rig.order("AAA", "any", Side::Buy, 101, 4).order),
    });
    assert_eq!(rig.ledger.order(id), Some(known.clone()));
    assert_eq!(rig.ledger.order_named(&account("alice"), &"o1".parse().unwrap()), Some(known.clone()));
    assert_eq!((known.result(), known.account(), known.open()), (expected, &account("alice"), None));
    let restored = Ledger::decode(&rig.ledger.encode()).unwrap();
    assert_eq!(restored.order(id), Some(known), "after a snapshot too");
}

#[test]
fn an_open_order_stays_known_however_old_and_its_time_runs_from_its_close() {
    let mut rig = rig();
    let id = rig.rest("AAA", "o1", Side::Buy, 90, 1);
    wait_until(&mut rig, START + 3 * NAME_MEMORY_MS);
    assert!(rig.ledger.order(id).unwrap().open().is_some());
    assert!(matches!(cancel(&mut rig, id), Outcome::Accepted(Answer::OrderCancelled(_))));
    assert!(matches!(cancel(&mut rig, id), Outcome::Refused(Refusal::OrderClosed { .. })));
    rig.tick_at(START + 4 * NAME_MEMORY_MS - 1);
    assert!(rig.ledger.order(id).is_some());
    rig.tick_at(START + 4 * NAME_MEMORY_MS);
    assert!(rig.ledger.order(id).is_none());
    rig.session = rig.open_session();
    assert!(matches!(cancel(&mut rig, id), Outcome::Refused(Refusal::UnknownOrder { .. })));
}

#[test]
fn a_name_past_its_time_is_not_known_before_it_is_swept_and_used_again_outlives_the_sweep() {
    let mut rig = rig();
    let first: Vec<OrderId> = (0..=SWEEP_MAX).map(|n| close(&mut rig, "alice", &format!("o{n}"))).collect();
    rig.now = START + NAME_MEMORY_MS;
    let last = format!("o{SWEEP_MAX}");
    let again = close(&mut rig, "alice", &last);
    // The first 64 are swept; the last one waits, and its name is the new order's.
    assert_eq!((rig.ledger.name_count(), names(&rig, "alice")), (2, 2));
    assert!(rig.ledger.order(first[SWEEP_MAX]).is_none());
    let named = |rig: &Rig| rig.ledger.order_named(&account("alice"), &last.parse().unwrap()).map(|known| known.id());
    assert_eq!(named(&rig), Some(again));
    assert_eq!(rig.ledger.orders_after(0).map(|known| known.id()).collect::<Vec<_>>(), [again]);
    rig.tick();
    assert_eq!((rig.ledger.name_count(), named(&rig)), (1, Some(again)));
}

#[test]
fn account_numbers_are_given_again_once_nothing_names_them() {
    let mut rig = rig();
    close(&mut rig, "alice", "o1");
    let resting = rig.rest("AAA", "o2", Side::Buy, 90, 1);
    rig.now += 1;
    close(&mut rig, "bob", "o1");
    close(&mut rig, "carol", "o1");
    let numbers = |rig: &Rig| {
        let accounts = rig.ledger.tables.names.accounts.iter();
        accounts.map(|(number, account)| (*number, account.to_string())).collect::<Vec<_>>()
    };
    let is = |expected: &[(u32, &str)]| expected.iter().map(|(n, name)| (*n, (*name).to_owned())).collect::<Vec<_>>();
    assert_eq!(numbers(&rig), is(&[(0, "alice"), (1, "bob"), (2, "carol")]));
    wait_until(&mut rig, START + 1 + NAME_MEMORY_MS);
    // An open order is a name too.
    assert_eq!(numbers(&rig), is(&[(0, "alice")]));
    for name in ["dave", "erin", "frank"] {
        close(&mut rig, name, "o1");
    }
    assert_eq!(numbers(&rig), is(&[(0, "alice"), (1, "erin"), (2, "dave"), (3, "frank")]));
    cancel(&mut rig, resting);
}

#[test]
fn an_account_may_hold_half_of_the_places_that_others_leave() {
    let mut rig = Rig::with_names_max(12);
    let mut number = 0;
    let mut fill_up = |rig: &mut Rig, owner: &str| loop {
        number += 1;
        let order = closing(rig, owner, &format!("o{number}"));
        match rig.send(Command::ExecuteOrder(order)) {
            Outcome::Accepted(_) => {}
            Outcome::Refused(Refusal::NamesFull { account: refused, max }) => {
                assert_eq!(refused, account(owner));
                return (names(rig, owner), max);
            }
            Outcome::Refused(other) => panic!("{other}"),
        }
    };
    // A half; a third, as though the first held no more; then halves of what is left.
    assert_eq!(fill_up(&mut rig, "alice"), (6, 6));
    assert_eq!(fill_up(&mut rig, "bob"), (4, 4));
    assert_eq!(fill_up(&mut rig, "carol"), (1, 1));
    assert_eq!(fill_up(&mut rig, "dave"), (1, 1));
    // None is left: nobody may hold more, and `max` says how many that is.
    assert_eq!(fill_up(&mut rig, "erin"), (0, 0));
    assert_eq!(rig.ledger.name_count(), 12);
    assert_eq!(
        rig.refused(Command::ExecuteOrder(closing(&rig, "alice", "next"))),
        Refusal::NamesFull { account: account("alice"), max: 3 }
    );
    // A name that is known is told so first.
    let known = closing(&rig, "alice", "o1");
    assert!(matches!(rig.refused(Command::ExecuteOrder(known)), Refusal::DuplicateOrder { .. }));
    wait_until(&mut rig, START + NAME_MEMORY_MS);
    assert_eq!(fill_up(&mut rig, "erin"), (6, 6));
}

#[test]
fn a_cancel_needs_no_place() {
    let mut rig = Rig::with_names_max(2);
    let id = rig.rest("AAA", "o1", Side::Buy, 90, 1);
    let more = rig.order("AAA", "o2", Side::Buy, 90, 1);
    assert!(matches!(rig.refused(Command::ExecuteOrder(more)), Refusal::NamesFull { max: 1, .. }));
    assert!(matches!(cancel(&mut rig, id), Outcome::Accepted(_)));
    assert_eq!(names(&rig, "alice"), 1, "closed, it keeps its place");
}

const ROOM: usize = 30;

#[derive(Debug, Clone)]
enum Deed {
    /// The account that floods sends so many orders.
    Flood(u8),
    /// One of the others sends one.
    Send(u8),
    Wait(u64),
}

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let deed = prop_oneof![
        3 => (1..40u8).prop_map(Deed::Flood),
        // Mostly one of them, as many as it may.
        8 => prop_oneof![4 => Just(0u8), 1 => 0..4u8].prop_map(Deed::Send),
        2 => prop_oneof![1..2_000u64, 20_000..NAME_MEMORY_MS].prop_map(Deed::Wait),
    ];
    prop::collection::vec(deed, 1..120)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    /// While all others hold less than a third of the places together, none of them is refused, whatever one account does.
    #[test]
    fn one_account_never_causes_a_refusal_of_another(deeds in deeds(), room in 2..ROOM) {
        let mut rig = Rig::with_names_max(room);
        let mut number = 0;
        // Audited at the end only: there are many.
        let mut send = |rig: &mut Rig, owner: &str| {
            (number, rig.seq) = (number + 1, rig.seq + 1);
            let command = Command::ExecuteOrder(closing(rig, owner, &format!("o{number}")));
            let input = Input::Client(Envelope { session: rig.session, seq: rig.seq, command });
            rig.ledger.apply(rig.ledger.last_index() + 1, Millis(rig.now), &input).0.outcome
        };
        for deed in deeds {
            match deed {
                Deed::Flood(orders) => {
                    for _ in 0..orders {
                        let sent = send(&mut rig, "flood");
                        let full = matches!(&sent, Outcome::Refused(Refusal::NamesFull { account, .. }) if account.as_str() == "flood");
                        prop_assert!(full || matches!(sent, Outcome::Accepted(_)), "{sent:?}");
                    }
                }
                Deed::Send(who) => {
                    rig.tick();
                    let others = rig.ledger.name_count() - names(&rig, "flood");
                    if 3 * others < room {
                        let sent = send(&mut rig, &format!("other{who}"));
                        prop_assert!(matches!(sent, Outcome::Accepted(_)), "{others} of {room}: {sent:?}");
                    }
                }
                Deed::Wait(ms) => {
                    rig.now += ms;
                    (rig.session, rig.seq) = (rig.open_session(), 0);
                }
            }
            prop_assert!(rig.ledger.name_count() <= room);
        }
        rig.tick();
    }
}
