//! One situation each, step by step, against the real ledger.

// In tests an unwrap is an assertion.
#![allow(clippy::unwrap_used)]

mod world;

use quorate_domain::{Account, Millis, OrderType, Price, Qty, Side, TimeInForce};
use quorate_ledger::{
    Against, Command, ControlChange, Digest, Event, ExecuteOrder, Frame, NewOrder, OrderStatus, Outcome, Refusal,
    Remainder, bounds::FILLS_PER_ORDER_MAX,
};
use quorate_matching::{
    Answered, CancelOutcome, Committed, Config, Effect, Halt, Input, Known, NotExecuted, Only, OrderOutcome, RequestId,
    SelfTrade, Target, Terms, Tick,
};
use world::{
    World,
    names::{account, client_id, control, limit, market, symbol},
};

/// All frames handed in, nothing on its way.
fn world() -> World {
    world_with(Config::default())
}

fn world_with(config: Config) -> World {
    let mut world = World::new(1, config);
    world.time += 1;
    catch_up(&mut world);
    world
}

fn catch_up(world: &mut World) {
    while world.hand_in_frame() {}
}

/// Everything on its way arrives, in order, until nothing is.
fn settle(world: &mut World) {
    catch_up(world);
    while !world.packets.is_empty() {
        answer_all(world);
        catch_up(world);
    }
}

/// Everything on its way is applied and answered, and what comes of it too; no frame is handed in.
fn answer_all(world: &mut World) {
    while !world.packets.is_empty() {
        let packet = world.packets.remove(0);
        world.deliver_and_answer(&packet);
        while !world.answers.is_empty() {
            world.hand_in_answer(0);
        }
    }
}

/// Answers one packet as the test likes.
fn answer(world: &mut World, at: usize, answered: Answered) {
    let packet = world.packets.remove(at);
    world.answers.push((packet.generation, packet.submission.id, answered));
    let last = world.answers.len() - 1;
    world.hand_in_answer(last);
}

fn executes(world: &World) -> Vec<&ExecuteOrder> {
    world
        .packets
        .iter()
        .filter_map(|packet| match &packet.submission.command {
            Command::ExecuteOrder(execute) => Some(execute),
            _ => None,
        })
        .collect()
}

fn told(world: &World, request: RequestId) -> &OrderOutcome {
    let mut all = world.replies.iter().filter(|(to, _)| *to == request);
    let (_, outcome) = all.next().expect("it is answered");
    assert!(all.next().is_none(), "once");
    outcome
}

fn committed(world: &World, request: RequestId) -> &Committed {
    match told(world, request) {
        OrderOutcome::Committed(committed) => committed,
        other => panic!("{other:?}"),
    }
}

fn told_of_cancel(world: &World, request: RequestId) -> &CancelOutcome {
    &world.cancel_replies.iter().find(|(to, _)| *to == request).expect("it is answered").1
}

/// Places an order and lets all come to rest.
fn done(world: &mut World, order: NewOrder) -> RequestId {
    let request = world.place(order);
    settle(world);
    request
}

#[test]
fn takes_the_quote_and_resting_orders_by_price_then_time() {
    let mut world = world();
    done(&mut world, limit(1, Side::Sell, 101, 2, 1_000_000));
    world.quote(&symbol(0), Some((98, 5)), Some((101, 5)), 30_000);
    done(&mut world, limit(2, Side::Sell, 101, 2, 1_000_000));
    done(&mut world, limit(3, Side::Sell, 100, 1, 1_000_000));
    let quote = world.ledger.active_quote(&symbol(0)).unwrap().id;
    let id = |n| world.ledger.order_named(&account(), &client_id(n)).unwrap().id();
    let expected = [Against::Order(id(3)), Against::Order(id(1)), Against::Quote(quote), Against::Order(id(2))];
    let depth = world.live.engine.depth(Millis(world.time), &symbol(0), 5);
    let asks: Vec<(i64, i64)> = depth.asks.iter().map(|level| (level.price.0, level.leaves.0)).collect();
    assert_eq!(asks, [(100, 1), (101, 9)]);

    let taker = world.place(limit(4, Side::Buy, 101, 9, 1_000_000));
    let plan = executes(&world)[0];
    assert_eq!(plan.fills.iter().map(|fill| fill.against).collect::<Vec<_>>(), expected);
    assert_eq!(plan.fills.iter().map(|fill| fill.qty.0).collect::<Vec<_>>(), [1, 2, 5, 1]);
    settle(&mut world);
    assert_eq!(committed(&world, taker).result.status, OrderStatus::Filled);
}

#[test]
fn plans_in_flight_take_liquidity_once() {
    let mut world = world();
    world.quote(&symbol(0), None, Some((101, 10)), 30_000);
    catch_up(&mut world);
    let requests: Vec<RequestId> = (1..5).map(|n| world.place(market(n, Side::Buy, 4, 1_000_000))).collect();
    assert_eq!(world.packets.len(), 4, "all are in flight at once");
    let leaves: Vec<Option<i64>> =
        executes(&world).iter().map(|plan| plan.fills.first().map(|fill| fill.leaves.0)).collect();
    assert_eq!(leaves, [Some(10), Some(6), Some(2), None]);
    settle(&mut world);
    let filled: Vec<i64> = requests.iter().map(|request| committed(&world, *request).result.cum_qty.0).collect();
    assert_eq!(filled, [4, 4, 2, 0]);
    assert_eq!(committed(&world, requests[3]).result.status, OrderStatus::Expired);
}

#[test]
fn fills_of_one_order_are_bounded() {
    let mut world = world_with(Config { order_ttl_ms: 50_000, ..Config::default() });
    let max = i64::try_from(FILLS_PER_ORDER_MAX).unwrap();
    let mut next = 1;
    let mut stock = |world: &mut World| {
        while world.ledger.open_order_count() < FILLS_PER_ORDER_MAX + 2 {
            done(world, limit(next, Side::Sell, 101, 1, 1_000_000));
            next += 1;
        }
    };
    stock(&mut world);
    let kill = limit(10_000, Side::Buy, 101, max + 1, 1_000_000);
    let kill = done(&mut world, NewOrder { time_in_force: TimeInForce::Fok, ..kill });
    let result = &committed(&world, kill).result;
    assert_eq!((result.status, result.cum_qty), (OrderStatus::Expired, Qty(0)));

    let gtc = done(&mut world, limit(10_001, Side::Buy, 101, max + 1, 1_000_000));
    let result = &committed(&world, gtc).result;
    assert_eq!((result.status, result.cum_qty), (OrderStatus::Expired, Qty(max)), "it must not rest across the book");

    stock(&mut world);
    let fill = limit(10_002, Side::Buy, 101, max, 1_000_000);
    let fill = done(&mut world, NewOrder { time_in_force: TimeInForce::Fok, ..fill });
    assert_eq!(committed(&world, fill).result.status, OrderStatus::Filled);
}

/// A world with a sell of its own at 100, a quote at 101 and a sell of its own at 102, and the ids of the two orders.
fn own_orders(mode: SelfTrade) -> (World, [u64; 2], Terms) {
    let mut world = world();
    world.quote(&symbol(0), Some((90, 5)), Some((101, 5)), 30_000);
    done(&mut world, limit(1, Side::Sell, 100, 2, 1_000_000));
    done(&mut world, limit(2, Side::Sell, 102, 2, 1_000_000));
    let ids = [1, 2].map(|n| world.ledger.order_named(&account(), &client_id(n)).unwrap().id());
    (world, ids, Terms { self_trade: mode, ..Terms::default() })
}

fn statuses(world: &World) -> [OrderStatus; 2] {
    [1, 2].map(|n| world.ledger.order_named(&account(), &client_id(n)).unwrap().result().status)
}

fn done_under(world: &mut World, order: NewOrder, terms: Terms) -> (OrderStatus, i64, u64) {
    let request = world.place_under(order, terms);
    settle(world);
    let result = &committed(world, request).result;
    (result.status, result.cum_qty.0, result.order_id)
}

#[test]
fn a_taker_expires_before_an_order_of_its_own() {
    for order in [market(3, Side::Buy, 4, 1_000_000), limit(3, Side::Buy, 103, 4, 1_000_000)] {
        let (mut world, _, terms) = own_orders(SelfTrade::ExpireTaker);
        let (status, filled, id) = done_under(&mut world, order, terms);
        assert_eq!((status, filled), (OrderStatus::Expired, 0));
        assert_eq!(world.in_match, [id]);
        assert_eq!(statuses(&world), [OrderStatus::New; 2]);
    }
    // What it fills before it meets one stands.
    let (mut world, [first, _], terms) = own_orders(SelfTrade::ExpireTaker);
    world.cancel(Target::Order(first));
    settle(&mut world);
    let (status, filled, id) = done_under(&mut world, market(3, Side::Buy, 9, 1_000_000), terms);
    assert_eq!((status, filled, &world.in_match), (OrderStatus::Expired, 5, &vec![id]));
    assert_eq!(statuses(&world), [OrderStatus::Cancelled, OrderStatus::New]);
}

#[test]
fn orders_of_its_own_expire_before_a_taker_goes_on() {
    let (mut world, ids, terms) = own_orders(SelfTrade::ExpireMaker);
    let (status, filled, _) = done_under(&mut world, limit(3, Side::Buy, 101, 4, 1_000_000), terms);
    assert_eq!((status, filled), (OrderStatus::Filled, 4));
    assert_eq!((statuses(&world), &world.in_match), ([OrderStatus::Cancelled, OrderStatus::New], &vec![ids[0]]));
    // What is left rests, once nothing of its own is in the way.
    let (status, filled, _) = done_under(&mut world, limit(4, Side::Buy, 102, 4, 1_000_000), terms);
    assert_eq!((status, filled), (OrderStatus::PartiallyFilled, 1));
    assert_eq!((statuses(&world), &world.in_match), ([OrderStatus::Cancelled; 2], &ids.to_vec()));
    // One that is killed ends nobody.
    let (mut world, _, terms) = own_orders(SelfTrade::ExpireMaker);
    let fok = NewOrder { time_in_force: TimeInForce::Fok, ..limit(3, Side::Buy, 102, 6, 1_000_000) };
    assert_eq!(done_under(&mut world, fok, terms).0, OrderStatus::Expired);
    assert_eq!((statuses(&world), world.in_match.len()), ([OrderStatus::New; 2], 0));
}

#[test]
fn a_taker_and_the_first_order_of_its_own_both_expire() {
    let (mut world, ids, terms) = own_orders(SelfTrade::ExpireBoth);
    let (status, filled, id) = done_under(&mut world, limit(3, Side::Buy, 103, 9, 1_000_000), terms);
    assert_eq!((status, filled), (OrderStatus::Expired, 0));
    assert_eq!((statuses(&world), &world.in_match), ([OrderStatus::Cancelled, OrderStatus::New], &vec![id, ids[0]]));
}

#[test]
fn an_order_of_its_own_in_flight_is_met_as_well() {
    for mode in [SelfTrade::ExpireTaker, SelfTrade::ExpireMaker, SelfTrade::ExpireBoth] {
        let mut world = world();
        world.place(limit(1, Side::Sell, 100, 2, 1_000_000));
        let taker =
            world.place_under(limit(2, Side::Buy, 100, 2, 1_000_000), Terms { self_trade: mode, ..Terms::default() });
        settle(&mut world);
        assert_eq!(committed(&world, taker).result.cum_qty.0, 0, "{mode:?}");
        assert_eq!(world.in_match.len(), if mode == SelfTrade::ExpireBoth { 2 } else { 1 }, "{mode:?}");
    }
}

#[test]
fn where_an_order_of_its_own_cannot_be_cancelled_the_taker_is_not_executed() {
    let (mut world, _, terms) = own_orders(SelfTrade::ExpireMaker);
    let taker = world.place_under(market(3, Side::Buy, 4, 1_000_000), terms);
    answer(&mut world, 0, Answered::NotApplied);
    assert_eq!(told(&world, taker), &OrderOutcome::NotExecuted(NotExecuted::Unavailable));
    assert!(world.packets.is_empty() && executes(&world).is_empty());
    assert_eq!(statuses(&world), [OrderStatus::New; 2]);
    // After the taker has ended, what is owed is sent until it is done.
    let (mut world, ids, terms) = own_orders(SelfTrade::ExpireBoth);
    let taker = world.place_under(market(3, Side::Buy, 4, 1_000_000), terms);
    let execute = world.packets.remove(0);
    world.deliver_and_answer(&execute);
    world.hand_in_answer(0);
    answer(&mut world, 0, Answered::NotApplied);
    settle(&mut world);
    assert_eq!(committed(&world, taker).result.status, OrderStatus::Expired);
    assert_eq!(world.ledger.order(ids[0]).unwrap().result().status, OrderStatus::Cancelled);
}

#[test]
fn a_market_order_stops_at_its_worst_price() {
    let mut world = world();
    world.quote(&symbol(0), Some((90, 5)), Some((101, 5)), 30_000);
    done(&mut world, limit(1, Side::Sell, 102, 2, 1_000_000));
    done(&mut world, limit(2, Side::Sell, 10_000, 9, 1_000_000));
    let terms = Terms { worst: Some(Price(102)), ..Terms::default() };
    let (status, filled, _) = done_under(&mut world, market(3, Side::Buy, 9, 1_000_000), terms);
    assert_eq!((status, filled), (OrderStatus::Expired, 7));
    assert!(world.in_match.is_empty());
}

#[test]
fn an_account_has_so_many_open_orders_and_no_more() {
    let config = Config { symbol_orders_max: 3, account_orders_max: 5, ..Config::default() };
    let mut world = world_with(config);
    let of = |n: u64, to: usize| NewOrder { symbol: symbol(to), ..limit(n, Side::Buy, 90, 1, 1_000_000) };
    // Those that wait or are in flight count as well.
    let requests: Vec<RequestId> = (1..5).map(|n| world.place(of(n, 0))).collect();
    let symbol_full = OrderOutcome::NotExecuted(NotExecuted::SymbolOrdersMax);
    assert_eq!(told(&world, requests[3]), &symbol_full);
    settle(&mut world);
    assert!(requests[..3].iter().all(|request| committed(&world, *request).result.status == OrderStatus::New));
    let fourth = done(&mut world, of(5, 0));
    assert_eq!(told(&world, fourth), &symbol_full);
    // What cannot rest is taken, and so is a repeat of what rests.
    let taker = done(&mut world, market(6, Side::Buy, 1, 1_000_000));
    assert_eq!(committed(&world, taker).result.status, OrderStatus::Expired);
    let again = done(&mut world, of(1, 0));
    assert!(committed(&world, again).repeat);
    for n in 7..9 {
        done(&mut world, of(n, 1));
    }
    let sixth = done(&mut world, of(9, 1));
    assert_eq!(told(&world, sixth), &OrderOutcome::NotExecuted(NotExecuted::AccountOrdersMax));
    // One that is cancelled makes room.
    world.cancel(Target::Client(client_id(1)));
    settle(&mut world);
    let next = done(&mut world, of(10, 0));
    assert_eq!(committed(&world, next).result.status, OrderStatus::New);
}

#[test]
fn post_only_rests_or_is_rejected() {
    let mut world = world();
    world.quote(&symbol(0), Some((99, 5)), Some((101, 5)), 30_000);
    catch_up(&mut world);
    let post = |n, price| NewOrder { order_type: OrderType::LimitMaker, ..limit(n, Side::Buy, price, 3, 1_000_000) };
    let (rests, takes) = (done(&mut world, post(1, 100)), done(&mut world, post(2, 101)));
    assert_eq!(committed(&world, rests).result.status, OrderStatus::New);
    assert_eq!(committed(&world, takes).result.status, OrderStatus::Rejected);
}

#[test]
fn an_answer_that_is_lost_is_asked_for_again_and_executes_once() {
    let mut world = world();
    world.quote(&symbol(0), None, Some((101, 10)), 30_000);
    catch_up(&mut world);
    let request = world.place(market(1, Side::Buy, 4, 1_000_000));
    let packet = world.packets[0].clone();
    world.deliver(&packet);
    answer(&mut world, 0, Answered::Unknown);
    // A lost session changes nothing: exec_id speaks for the order.
    world.lose_session();
    assert_eq!(executes(&world).len(), 1, "the very same is on its way again");
    answer_all(&mut world);
    let first = committed(&world, request);
    assert_eq!((first.result.cum_qty, first.repeat), (Qty(4), false));
    catch_up(&mut world);
    assert_eq!(world.ledger.fills(), 1);
}

#[test]
fn out_of_patience_is_unknown_in_flight_and_definite_before() {
    let mut world = world_with(Config { window_max: 1, ..Config::default() });
    world.quote(&symbol(0), None, Some((101, 10)), 30_000);
    catch_up(&mut world);
    let flying = world.place(market(1, Side::Buy, 4, 1_000_000));
    let waiting = world.place(market(2, Side::Buy, 4, 1_000_000));
    for request in [flying, waiting] {
        world.feed(Input::OutOfPatience { request });
    }
    assert_eq!(*told(&world, flying), OrderOutcome::Unknown);
    assert_eq!(*told(&world, waiting), OrderOutcome::NotExecuted(NotExecuted::TimedOut));
    assert_eq!(world.judge.settled, 0);
    settle(&mut world);
    assert_eq!(world.judge.settled, 1, "settling goes on");
    assert!(world.ledger.order_named(&account(), &client_id(2)).is_none());
}

#[test]
fn in_doubt_past_its_deadline_is_definite_by_frames_alone() {
    let mut world = world();
    let request = world.place(limit(1, Side::Buy, 100, 4, 1_000_000));
    answer(&mut world, 0, Answered::Unknown);
    assert_eq!(world.packets.len(), 1);
    world.time += Config::default().order_ttl_ms + 200;
    world.pull(&symbol(0));
    catch_up(&mut world);
    let outcome = told(&world, request).clone();
    assert!(matches!(outcome, OrderOutcome::Refused(Refusal::DeadlinePassed { .. })), "{outcome:?}");
    // The copy still on its way can do nothing, and the next order is not held up.
    let next = done(&mut world, limit(2, Side::Buy, 100, 4, 1_000_000));
    assert_eq!(committed(&world, next).result.status, OrderStatus::New);
}

#[test]
fn in_doubt_until_its_deadline_to_the_millisecond() {
    let mut world = world();
    let now = Millis(world.time);
    let request = world.place_at(now, limit(1, Side::Buy, 100, 4, 1_000_000));
    let deadline = executes(&world)[0].deadline;
    assert_eq!(deadline, now.plus(Config::default().order_ttl_ms));
    world.time = deadline.0 - 1;
    world.pull(&symbol(0));
    catch_up(&mut world);
    assert!(world.replies.is_empty(), "it may be executed still");
    world.time = deadline.0;
    world.pull(&symbol(0));
    catch_up(&mut world);
    assert!(matches!(told(&world, request), OrderOutcome::Refused(Refusal::DeadlinePassed { .. })));
}

#[test]
fn a_quote_past_its_deadline_is_let_go_unless_log_time_says_otherwise() {
    let mut world = world();
    world.quote(&symbol(0), None, Some((101, 10)), 1_000);
    catch_up(&mut world);
    let late = Millis(world.time + 1_000);
    assert!(world.live.engine.depth(late, &symbol(0), 5).asks.is_empty());
    assert_eq!(world.live.engine.depth(Millis(late.0 - 1), &symbol(0), 5).asks.len(), 1);
    world.place_at(Millis(late.0 - 1), market(1, Side::Buy, 1, 1_000_000));
    world.place_at(late, market(2, Side::Buy, 1, 1_000_000));
    let planned: Vec<usize> = executes(&world).iter().map(|plan| plan.fills.len()).collect();
    assert_eq!(planned, [1, 0]);
    settle(&mut world);
    // The estimate was ahead, and the quote still stands: what would rest across it is planned by log time.
    world.place_at(late, limit(3, Side::Buy, 101, 1, 1_000_000));
    assert!(executes(&world)[0].fills.is_empty());
    let packet = world.packets.remove(0);
    let response = world.deliver(&packet);
    assert!(matches!(response.outcome, Outcome::Refused(Refusal::WouldCross { .. })));
    world.feed_at(late, Input::Answer { submission: packet.submission.id, answered: Answered::Response(response) });
    let frame = world.frames.last().unwrap().clone();
    world.next_frame = frame.index + 1;
    world.feed_at(late, Input::Frame(frame));
    assert_eq!(executes(&world)[0].fills.len(), 1);
    settle(&mut world);
}

#[test]
fn never_answered_refused_while_it_may_be_executed() {
    let mut world = world();
    let request = world.place(limit(1, Side::Buy, 100, 4, 1_000_000));
    let packet = world.packets[0].clone();
    world.deliver(&packet);
    answer(&mut world, 0, Answered::Unknown);
    // The second attempt is not proposed: that says nothing of the first.
    answer(&mut world, 0, Answered::NotApplied);
    assert!(world.replies.is_empty());
    answer_all(&mut world);
    assert_eq!(committed(&world, request).result.status, OrderStatus::New);
}

#[test]
fn not_proposed_is_definite_and_those_behind_are_planned_again() {
    let mut world = world();
    world.quote(&symbol(0), None, Some((101, 10)), 30_000);
    catch_up(&mut world);
    let (first, second) =
        (world.place(market(1, Side::Buy, 4, 1_000_000)), world.place(market(2, Side::Buy, 8, 1_000_000)));
    answer(&mut world, 0, Answered::NotApplied);
    assert_eq!(*told(&world, first), OrderOutcome::NotExecuted(NotExecuted::Unavailable));
    settle(&mut world);
    assert_eq!(committed(&world, second).result.cum_qty, Qty(8));
    assert_eq!(world.live.engine.stats().gaps, 1);
}

#[test]
fn a_refusal_with_newer_facts_waits_for_the_mirror() {
    let mut world = world();
    world.quote(&symbol(0), None, Some((101, 10)), 30_000);
    catch_up(&mut world);
    let request = world.place(market(1, Side::Buy, 4, 1_000_000));
    world.quote(&symbol(0), None, Some((102, 10)), 30_000);
    answer_all(&mut world);
    assert!(world.packets.is_empty(), "no plan from a book known to be old");
    settle(&mut world);
    let result = &committed(&world, request).result;
    assert_eq!((result.cum_qty, result.trades[0].price), (Qty(4), Price(102)));
    assert_eq!(world.live.engine.stats().replanned, 1);
}

#[test]
fn after_a_refusal_nothing_is_proposed_until_all_in_flight_is_answered() {
    let mut world = world();
    world.quote(&symbol(0), None, Some((101, 10)), 30_000);
    catch_up(&mut world);
    let requests: Vec<RequestId> = (1..4).map(|n| world.place(market(n, Side::Buy, 4, 1_000_000))).collect();
    world.quote(&symbol(0), None, Some((102, 10)), 30_000);
    let packet = world.packets.remove(0);
    world.deliver_and_answer(&packet);
    catch_up(&mut world);
    world.hand_in_answer(0);
    let last = world.place(market(4, Side::Buy, 4, 1_000_000));
    assert_eq!(world.packets.len(), 2, "those behind are still on their way");
    settle(&mut world);
    let filled: Vec<i64> =
        requests.iter().chain([&last]).map(|request| committed(&world, *request).result.cum_qty.0).collect();
    assert_eq!(filled, [4, 4, 2, 0], "in the order of their arrival");
}

#[test]
fn refused_when_nobody_waits_any_more_it_is_not_tried_again() {
    let mut world = world();
    world.quote(&symbol(0), None, Some((101, 10)), 30_000);
    catch_up(&mut world);
    let request = world.place(market(1, Side::Buy, 4, 1_000_000));
    world.quote(&symbol(0), None, Some((102, 10)), 30_000);
    world.feed(Input::OutOfPatience { request });
    assert_eq!(*told(&world, request), OrderOutcome::Unknown);
    settle(&mut world);
    assert_eq!(world.judge.outcomes["timed out"], 1, "it is settled as not executed");
    assert!(world.ledger.order_named(&account(), &client_id(1)).is_none());
}

#[test]
fn after_bounded_plans_it_is_expired_under_its_own_name() {
    let mut world = world_with(Config { replans_max: 2, ..Config::default() });
    world.quote(&symbol(0), None, Some((101, 10)), 30_000);
    catch_up(&mut world);
    let request = world.place(limit(1, Side::Buy, 105, 4, 1_000_000));
    for _ in 0..3 {
        world.quote(&symbol(0), None, Some((101, 10)), 30_000);
        answer_all(&mut world);
        catch_up(&mut world);
    }
    let plan = executes(&world)[0];
    assert_eq!((plan.fills.len(), plan.remainder), (0, Remainder::Expire));
    settle(&mut world);
    assert_eq!(committed(&world, request).result.status, OrderStatus::Expired);
    assert_eq!(world.live.engine.stats().gave_up, 1);
    let again = done(&mut world, limit(1, Side::Buy, 105, 4, 1_000_000));
    assert!(committed(&world, again).repeat, "the name is taken");
}

#[test]
fn an_order_that_would_hit_one_in_flight_waits_for_its_id() {
    let mut world = world();
    world.place(limit(1, Side::Sell, 101, 4, 1_000_000));
    let taker = world.place(limit(2, Side::Buy, 101, 3, 1_000_000));
    // Behind it in the same symbol: it keeps its place, though it would hit nothing.
    world.place(limit(4, Side::Buy, 80, 1, 1_000_000));
    let elsewhere = NewOrder { symbol: symbol(1), ..limit(3, Side::Buy, 90, 1, 1_000_000) };
    world.place(elsewhere);
    assert_eq!(executes(&world).len(), 2, "the taker waits, another symbol goes on");
    answer_all(&mut world);
    assert_eq!(committed(&world, taker).result.status, OrderStatus::Filled, "no frame was needed");
    let left = world.live.engine.open_orders(&account(), Some(&symbol(0)));
    assert_eq!(left.iter().map(|open| open.leaves().0).collect::<Vec<_>>(), [1, 1], "seen before its frame");
}

#[test]
fn a_cancel_goes_after_what_hits_the_order() {
    let mut world = world();
    let resting = done(&mut world, limit(1, Side::Sell, 101, 4, 1_000_000));
    world.place(limit(2, Side::Buy, 101, 3, 1_000_000));
    let cancel = world.cancel(Target::Order(committed(&world, resting).result.order_id));
    assert_eq!(world.packets.len(), 1, "the cancel waits");
    answer_all(&mut world);
    let CancelOutcome::Cancelled(cancelled) = told_of_cancel(&world, cancel) else { panic!() };
    assert_eq!((cancelled.result.status, cancelled.result.cum_qty), (OrderStatus::Cancelled, Qty(3)));
    assert!(world.live.engine.open_orders(&account(), None).is_empty(), "seen before its frame");
    let gone = world.place(market(3, Side::Buy, 1, 1_000_000));
    assert!(executes(&world)[0].fills.is_empty(), "nor planned against, though the mirror has it");
    settle(&mut world);
    assert_eq!(committed(&world, gone).result.cum_qty, Qty(0));
    let again = world.cancel(Target::Client(client_id(1)));
    assert!(matches!(told_of_cancel(&world, again), CancelOutcome::Closed(_)));
    let nothing = world.cancel(Target::Client(client_id(77)));
    assert_eq!(*told_of_cancel(&world, nothing), CancelOutcome::UnknownOrder);
}

#[test]
fn a_restricted_cancel_is_made_only_where_the_order_stands_so() {
    let mut world = world();
    done(&mut world, limit(1, Side::Sell, 101, 4, 1_000_000));
    let target = Target::Client(client_id(1));
    let cancel = |world: &mut World, only| {
        let request = world.cancel_only(target.clone(), Some(only));
        settle(world);
        told_of_cancel(world, request).clone()
    };
    assert_eq!(cancel(&mut world, Only::PartiallyFilled), CancelOutcome::Restricted);
    // A fill on its way counts.
    world.place(limit(2, Side::Buy, 101, 1, 1_000_000));
    assert_eq!(cancel(&mut world, Only::New), CancelOutcome::Restricted);
    assert!(matches!(cancel(&mut world, Only::PartiallyFilled), CancelOutcome::Cancelled(_)));
    assert!(matches!(cancel(&mut world, Only::New), CancelOutcome::Closed(_)));
}

#[test]
fn nothing_is_filled_against_an_order_while_its_restricted_cancel_is_in_doubt() {
    let mut world = world();
    done(&mut world, limit(1, Side::Sell, 101, 4, 1_000_000));
    let cancel = world.cancel_only(Target::Client(client_id(1)), Some(Only::New));
    answer(&mut world, 0, Answered::Unknown);
    let taker = world.place(limit(2, Side::Buy, 101, 1, 1_000_000));
    assert!(executes(&world).is_empty(), "it waits for the cancel's end");
    settle(&mut world);
    let CancelOutcome::Cancelled(cancelled) = told_of_cancel(&world, cancel) else { panic!("not cancelled") };
    assert_eq!(cancelled.result.cum_qty, Qty::ZERO);
    assert_eq!(committed(&world, taker).result.status, OrderStatus::New);
}

#[test]
fn a_cancel_of_an_order_in_flight_waits_for_it() {
    let mut world = world();
    world.place(limit(1, Side::Sell, 101, 4, 1_000_000));
    let cancel = world.cancel(Target::Client(client_id(1)));
    assert_eq!(world.packets.len(), 1);
    settle(&mut world);
    assert!(matches!(told_of_cancel(&world, cancel), CancelOutcome::Cancelled(_)));
}

#[test]
fn a_cancel_whose_answer_was_lost_is_ours() {
    let mut world = world();
    done(&mut world, limit(1, Side::Sell, 101, 4, 1_000_000));
    let cancel = world.cancel(Target::Client(client_id(1)));
    let packet = world.packets[0].clone();
    world.deliver(&packet);
    answer(&mut world, 0, Answered::Unknown);
    world.lose_session();
    settle(&mut world);
    assert!(matches!(told_of_cancel(&world, cancel), CancelOutcome::Cancelled(_)));
}

#[test]
fn a_client_order_id_stands_for_one_order() {
    let mut world = world();
    let order = limit(1, Side::Buy, 100, 4, 1_000_000);
    let (first, second) = (world.place(order.clone()), world.place(order.clone()));
    let other = RequestId(777);
    let changed = NewOrder { qty: Qty(5), ..order.clone() };
    let effects = world
        .live
        .engine
        .handle(Millis(world.time), Input::Order { request: other, order: changed.clone(), terms: Terms::default() });
    let outcome = OrderOutcome::NotExecuted(NotExecuted::ClientIdInFlight);
    assert_eq!(effects, [Effect::OrderReply { request: other, outcome }]);
    settle(&mut world);
    assert!(!committed(&world, first).repeat && committed(&world, second).repeat);
    let again = done(&mut world, order);
    assert!(committed(&world, again).repeat);
    assert_eq!(committed(&world, again).result.order_id, committed(&world, first).result.order_id);
    let effects = world
        .live
        .engine
        .handle(Millis(world.time), Input::Order { request: other, order: changed, terms: Terms::default() });
    let [Effect::OrderReply { outcome: OrderOutcome::Refused(Refusal::DuplicateOrder { same: false, .. }), .. }] =
        effects.as_slice()
    else {
        panic!("{effects:?}")
    };
}

#[test]
fn what_an_earlier_epoch_did_is_found_by_its_name() {
    let mut world = world_with(Config::default());
    world.quote(&symbol(0), None, Some((101, 10)), 30_000);
    catch_up(&mut world);
    let order = market(1, Side::Buy, 4, 1_000_000);
    world.place(order.clone());
    world.place(limit(2, Side::Buy, 90, 4, 1_000_000));
    let late = world.packets.remove(1);
    let packet = world.packets.remove(0);
    world.deliver(&packet);
    world.recover();
    // Chance may have engaged it while the engine read the ledger.
    world.as_admin(world::names::switch(&world.ledger, false));
    catch_up(&mut world);
    let again = done(&mut world, order);
    let found = committed(&world, again);
    assert!((found.repeat, found.result.cum_qty) == (true, Qty(4)) && found.result.trades.is_empty());
    // What was on its way under the old epoch comes too late.
    world.deliver(&late);
    assert!(world.ledger.order_named(&account(), &client_id(2)).is_none());
    assert_eq!(world.judge.refusals["StaleExchange"], 1);
}

#[test]
fn fenced_by_an_answer_in_doubt_is_unknown_and_the_rest_is_refused() {
    let mut world = world_with(Config { window_max: 2, ..Config::default() });
    let requests: Vec<RequestId> = (1..4).map(|n| world.place(limit(n, Side::Buy, 90, 1, 1_000_000))).collect();
    let exchange = quorate_domain::ExchangeName::new("other").unwrap();
    world.as_maker(Command::RegisterExchange(quorate_ledger::RegisterExchange { exchange }));
    let packet = world.packets.remove(0);
    world.deliver_and_answer(&packet);
    world.hand_in_answer(0);
    let halted = OrderOutcome::NotExecuted(NotExecuted::Halted);
    let told: Vec<&OrderOutcome> = requests.iter().map(|request| told(&world, *request)).collect();
    assert_eq!(told, [&halted, &OrderOutcome::Unknown, &halted]);
    assert_eq!(world.judge.fenced, 1);
}

#[test]
fn fenced_by_a_frame_nothing_is_in_doubt() {
    let mut world = world();
    let request = world.place(limit(1, Side::Buy, 90, 1, 1_000_000));
    answer(&mut world, 0, Answered::Unknown);
    let exchange = quorate_domain::ExchangeName::new("other").unwrap();
    world.as_maker(Command::RegisterExchange(quorate_ledger::RegisterExchange { exchange }));
    catch_up(&mut world);
    assert_eq!(*told(&world, request), OrderOutcome::NotExecuted(NotExecuted::Halted));
}

#[test]
fn the_kill_switch_refuses_what_waits_and_what_comes() {
    let mut world = world_with(Config { window_max: 1, ..Config::default() });
    let flying = world.place(limit(1, Side::Buy, 90, 1, 1_000_000));
    let waiting = world.place(limit(2, Side::Buy, 90, 1, 1_000_000));
    let control_version = world.ledger.control().version;
    world.as_admin(world::names::switch(&world.ledger, true));
    settle(&mut world);
    let comes = world.place(limit(3, Side::Buy, 90, 1, 1_000_000));
    let killed = OrderOutcome::Refused(Refusal::KillSwitch { control_version: control_version + 1 });
    for request in [flying, waiting, comes] {
        assert_eq!(*told(&world, request), killed);
    }
}

#[test]
fn full_queues_refuse() {
    let config = Config { orders_max: 2, cancels_max: 1, ..Config::default() };
    let mut world = world_with(config);
    world.place(limit(1, Side::Buy, 90, 1, 1_000_000));
    world.place(limit(2, Side::Buy, 90, 1, 1_000_000));
    let over = world.place(limit(3, Side::Buy, 90, 1, 1_000_000));
    assert_eq!(*told(&world, over), OrderOutcome::NotExecuted(NotExecuted::Overloaded));
    world.cancel(Target::Client(client_id(1)));
    let over = world.cancel(Target::Client(client_id(2)));
    assert_eq!(*told_of_cancel(&world, over), CancelOutcome::NotExecuted(NotExecuted::Overloaded));
    settle(&mut world);
}

#[test]
fn cancels_in_flight_stay_within_what_a_session_keeps() {
    let mut world = world();
    let cancels: Vec<RequestId> = (0..100).map(|n| world.cancel(Target::Order(1_000_000 + n))).collect();
    assert_eq!(world.packets.len(), 64);
    settle(&mut world);
    for cancel in cancels {
        assert_eq!(*told_of_cancel(&world, cancel), CancelOutcome::UnknownOrder);
    }
}

#[test]
fn malformed_orders_cost_no_exec_id() {
    let mut world = world();
    let good = || limit(1, Side::Buy, 90, 1, 1_000_000);
    let bad = [
        NewOrder { qty: Qty(0), ..good() },
        NewOrder { qty: Qty(-1), ..good() },
        NewOrder { qty: Qty(i64::MAX), ..good() },
        NewOrder { price: None, ..good() },
        NewOrder { price: Some(Price(0)), ..good() },
        NewOrder { price: Some(Price(i64::MAX)), ..good() },
        NewOrder { order_type: OrderType::LimitMaker, time_in_force: TimeInForce::Ioc, ..good() },
        NewOrder { price: Some(Price(90)), ..market(1, Side::Buy, 1, 1_000_000) },
        NewOrder { time_in_force: TimeInForce::Gtc, ..market(1, Side::Buy, 1, 1_000_000) },
    ];
    for order in bad {
        let effects = world.live.engine.handle(
            Millis(world.time),
            Input::Order { request: RequestId(999), order: order.clone(), terms: Terms::default() },
        );
        let [Effect::OrderReply { outcome: OrderOutcome::Refused(Refusal::Invalid { .. }), .. }] = effects.as_slice()
        else {
            panic!("{order:?}: {effects:?}")
        };
    }
    let unknown = NewOrder { symbol: symbol(9), ..good() };
    let effects = world
        .live
        .engine
        .handle(Millis(world.time), Input::Order { request: RequestId(999), order: unknown, terms: Terms::default() });
    let [Effect::OrderReply { outcome: OrderOutcome::Refused(Refusal::UnknownSymbol { .. }), .. }] = effects.as_slice()
    else {
        panic!("{effects:?}")
    };
}

#[test]
fn look_ups_follow_an_order_from_pending_to_closed() {
    let mut world = world();
    let target = Target::Client(client_id(1));
    let order = |world: &World| world.live.engine.order(&account(), &target);
    assert_eq!(order(&world), None);
    world.place(limit(1, Side::Buy, 90, 2, 1_000_000));
    assert!(matches!(order(&world), Some(Known::Pending { proposed: true, .. })));
    settle(&mut world);
    let Some(Known::Open(open)) = order(&world) else { panic!() };
    assert_eq!(world.live.engine.order(&account(), &Target::Order(open.order_id)), order(&world));
    let stranger = Account::new("stranger").unwrap();
    assert_eq!(world.live.engine.order(&stranger, &Target::Order(open.order_id)), None);
    done(&mut world, limit(2, Side::Sell, 90, 2, 1_000_000));
    let Some(Known::Closed { committed, .. }) = order(&world) else { panic!() };
    assert_eq!((committed.result.status, committed.result.cum_qty), (OrderStatus::Filled, Qty(2)));
}

fn halts(effects: &[Effect]) -> bool {
    matches!(effects.last(), Some(Effect::Halted(Halt::Inconsistent(_))))
}

#[test]
fn an_execution_under_its_epoch_that_it_did_not_propose_halts_it() {
    let (own, other) = (limit(1, Side::Buy, 90, 2, 1_000_000), limit(2, Side::Buy, 90, 2, 1_000_000));
    for (exec_id, order) in [(1, other), (2, own.clone())] {
        let mut world = world();
        world.place(own.clone());
        let (index, log_time) = world.live.engine.applied();
        let event = Event::OrderExecuted {
            order_id: index + 1,
            exchange_epoch: world.live.engine.exchange_epoch(),
            exec_id,
            order,
            status: OrderStatus::New,
            cum_qty: Qty(0),
            leaves_qty: Qty(2),
        };
        let frame = Frame { index: index + 1, log_time, chain: Digest::default(), events: vec![event] };
        assert!(halts(&world.live.engine.handle(log_time, Input::Frame(frame))));
        assert!(!world.live.engine.is_ready());
    }
}

#[test]
fn a_frame_that_never_came_halts_it() {
    let mut world = world();
    world.place(limit(1, Side::Buy, 90, 2, 1_000_000));
    answer_all(&mut world);
    let (index, log_time) = (world.ledger.last_index(), world.ledger.log_time());
    assert!(halts(&world.live.engine.handle(log_time, Input::Applied { index, log_time })));
    // From then on it refuses.
    let order = limit(2, Side::Buy, 90, 2, 1_000_000);
    let effects =
        world.live.engine.handle(log_time, Input::Order { request: RequestId(5), order, terms: Terms::default() });
    let outcome = OrderOutcome::NotExecuted(NotExecuted::Halted);
    assert_eq!(effects, [Effect::OrderReply { request: RequestId(5), outcome }]);
}

#[test]
fn an_order_planned_by_an_older_revision_is_planned_again_by_the_newer_one() {
    let mut world = world();
    let instrument = world.ledger.symbol(&symbol(0)).unwrap().instrument.clone();
    let instrument = quorate_domain::Instrument { taker_fee_ppm: 1_000, ..instrument };
    let change = ControlChange::Instrument { symbol: symbol(0), instrument, revision: 2 };
    world.as_admin(control(&world.ledger, change));
    let request = world.place(limit(1, Side::Buy, 100, 1, 1_000_000));
    assert_eq!(executes(&world)[0].revision, 1, "its frame is yet to come");
    answer_all(&mut world);
    assert!(world.replies.is_empty(), "nobody is told of it");
    catch_up(&mut world);
    assert_eq!(executes(&world)[0].revision, 2);
    settle(&mut world);
    assert_eq!(committed(&world, request).result.status, OrderStatus::New);
    assert_eq!(world.live.engine.stats().replanned, 1);
}

#[test]
fn a_closed_symbol_takes_no_orders_and_has_none() {
    let mut world = world();
    done(&mut world, limit(1, Side::Buy, 100, 1, 1_000_000));
    world.as_admin(control(&world.ledger, ControlChange::CloseSymbol { symbol: symbol(0) }));
    let before_its_frame = world.place(limit(2, Side::Buy, 100, 1, 1_000_000));
    settle(&mut world);
    let refused = OrderOutcome::Refused(Refusal::SymbolClosed { symbol: symbol(0), settled: None });
    assert_eq!(*told(&world, before_its_frame), refused);
    let after_it = done(&mut world, limit(3, Side::Buy, 100, 1, 1_000_000));
    assert_eq!(*told(&world, after_it), refused);
    assert!(world.live.engine.open_orders(&account(), None).is_empty());
}

#[test]
fn answers_of_symbols_that_became_quiet_do_not_stay_in_the_ledger() {
    let mut world = world();
    let kept = |world: &World, n| world.ledger.exchange().unwrap().answers_kept(&symbol(n));
    let of = |n: u64, at: usize| NewOrder { symbol: symbol(at), ..market(n, Side::Buy, 1, 1_000_000) };
    done(&mut world, of(1, 0));
    done(&mut world, of(2, 0));
    assert_eq!(kept(&world, 0), 1, "its next order says that the first has arrived, and the last is kept");
    // No order of the first symbol comes any more: one of the second says it.
    done(&mut world, of(3, 1));
    assert_eq!((kept(&world, 0), kept(&world, 1)), (0, 1));
    world.place(of(4, 1));
    assert_eq!(executes(&world)[0].also_answered, None, "once said, it is not said again");
}

#[test]
fn after_a_refusal_few_stand_behind_a_plan_until_plans_succeed_again() {
    let mut world = world_with(Config { window_max: 8, ..Config::default() });
    let quote = |world: &mut World| world.quote(&symbol(0), None, Some((101, 20)), 30_000);
    quote(&mut world);
    catch_up(&mut world);
    for n in 1..9 {
        world.place(market(n, Side::Buy, 1, 1_000_000));
    }
    assert_eq!(executes(&world).len(), 8);
    let mut at_once = Vec::new();
    while !world.packets.is_empty() {
        at_once.push(world.packets.len());
        // At first all of them come too late.
        if at_once.len() < 4 {
            quote(&mut world);
        }
        for packet in std::mem::take(&mut world.packets) {
            world.deliver_and_answer(&packet);
        }
        while !world.answers.is_empty() {
            world.hand_in_answer(0);
        }
        catch_up(&mut world);
    }
    assert_eq!(at_once, [8, 4, 2, 1, 2, 5]);
    let stats = world.live.engine.stats();
    assert_eq!((stats.replanned, stats.gaps), (3, 11));
}

/// Time of the scenarios in which quotes come at regular times.
const LASTS: u64 = 20;

/// A world in which quotes of 10 lots stood for [`LASTS`] ms each and were seen 2 ms after they had been placed, and plans took
/// 3 ms; 5 ms ago the last one was placed.
fn used_to_quotes(config: Config) -> World {
    let mut world = world_with(config);
    world.clock_error = 0;
    for n in 0..5 {
        world.time += LASTS - 5;
        world.quote(&symbol(0), Some((90, 10)), Some((101, 10)), 30_000);
        world.time += 2;
        catch_up(&mut world);
        world.place(limit(1_000 + n, Side::Buy, 80, 1, 1_000_000));
        world.time += 3;
        settle(&mut world);
    }
    assert!(world.wakes.is_empty());
    world
}

#[test]
fn an_order_that_would_come_too_late_waits_for_the_quote_that_is_due() {
    let mut world = used_to_quotes(Config::default());
    // Early enough: it goes at once.
    world.time += LASTS - 5 - 4;
    world.place(market(1, Side::Buy, 1, 1_000_000));
    assert_eq!(executes(&world).len(), 1);
    world.time += 3;
    settle(&mut world);
    // It would arrive with the next one. What does not take from the quote goes, but never before those that came earlier.
    world.place(limit(2, Side::Sell, 102, 1, 1_000_000));
    world.place(market(3, Side::Buy, 1, 1_000_000));
    world.place(limit(4, Side::Sell, 102, 1, 1_000_000));
    assert_eq!(executes(&world).iter().map(|plan| &plan.order.client_order_id).collect::<Vec<_>>(), [&client_id(2)]);
    world.time += 1;
    world.quote(&symbol(0), Some((90, 10)), Some((101, 10)), 30_000);
    let next = world.ledger.active_quote(&symbol(0)).unwrap().id;
    settle(&mut world);
    assert_eq!(world.live.engine.pending_orders(), 0);
    assert_eq!(world.ledger.active_quote(&symbol(0)).unwrap().id, next);
    assert_eq!(world.live.engine.stats().replanned, 0, "nothing came too late");
    assert_eq!(world.ledger.fills(), 2);
}

#[test]
fn a_quote_that_does_not_come_is_waited_for_only_so_long() {
    let mut world = used_to_quotes(Config::default());
    world.time += LASTS - 5;
    let request = world.place(market(1, Side::Buy, 1, 1_000_000));
    assert!(world.packets.is_empty());
    // Due now; and it takes 2 ms to be seen, and a plan 3 ms.
    assert_eq!(world.wakes, [Millis(world.time + 5)]);
    world.time += 4;
    world.feed(Input::Wake);
    assert!(world.packets.is_empty(), "woken too early it waits on");
    assert_eq!(world.wakes, [Millis(world.time + 1); 2]);
    world.time += 1;
    world.wake();
    settle(&mut world);
    assert_eq!(committed(&world, request).result.status, OrderStatus::Filled);
}

#[test]
fn no_order_waits_past_its_deadline_for_a_quote() {
    let mut world = used_to_quotes(Config { order_ttl_ms: 5, ..Config::default() });
    world.time += LASTS - 5;
    world.place(market(1, Side::Buy, 1, 1_000_000));
    assert_eq!((world.packets.len(), world.wakes.len()), (1, 0));
}

/// Revises the tick of the symbol; what is in flight has not heard of it.
fn revise_tick(world: &mut World, tick: &str) -> Tick {
    let state = world.ledger.symbol(&symbol(0)).unwrap();
    let (present, revision) = (state.instrument.clone(), state.revision);
    let instrument = quorate_domain::Instrument { tick_size: tick.parse().unwrap(), ..present.clone() };
    let change = ControlChange::Instrument { symbol: symbol(0), instrument, revision: revision + 1 };
    world.as_admin(control(&world.ledger, change));
    Tick::of(&present, revision).unwrap()
}

#[test]
fn an_order_that_waits_while_the_tick_changes_keeps_the_worth_of_its_price() {
    // From a hundredth to a thousandth, and to a tenth: 1.00 is 100, 1000 and 10 ticks.
    for (size, ticks) in [("0.001", Some(1_000)), ("0.1", Some(10)), ("0.3", None)] {
        let mut world = world();
        let tick = Some(revise_tick(&mut world, size));
        let order = limit(1, Side::Buy, 100, 1, 1_000_000);
        let request = world.place_under(order.clone(), Terms { tick, ..Terms::default() });
        settle(&mut world);
        let named = world.ledger.order_named(&account(), &order.client_order_id);
        let rests = named.and_then(|named| world.ledger.open_order(named.id()).and_then(|open| open.order.price));
        assert_eq!(rests, ticks.map(Price), "{size}");
        if ticks.is_none() {
            assert_eq!(*told(&world, request), OrderOutcome::NotExecuted(NotExecuted::OffTick));
        }
    }
}

#[test]
fn a_repeat_is_told_by_what_its_price_is_worth() {
    let mut world = world();
    let order = limit(1, Side::Buy, 100, 1, 1_000_000);
    done(&mut world, NewOrder { time_in_force: TimeInForce::Ioc, ..order.clone() });
    let odd = limit(2, Side::Buy, 105, 1, 1_000_000);
    done(&mut world, NewOrder { time_in_force: TimeInForce::Ioc, ..odd.clone() });
    let before = revise_tick(&mut world, "0.1");
    settle(&mut world);
    let known = |world: &World, n| {
        let known = world.live.engine.order(&account(), &Target::Client(client_id(n)));
        known.map(|known| known.order().price)
    };
    // It stood at 1.00, which is ten ticks now; 1.05 is no price any more.
    assert_eq!((known(&world, 1), known(&world, 2)), (Some(Some(Price(10))), None));
    let mut repeat = |price, tick| {
        let order = NewOrder { time_in_force: TimeInForce::Ioc, price: Some(Price(price)), ..order.clone() };
        let input = Input::Order { request: RequestId(999), order, terms: Terms { tick, ..Terms::default() } };
        let effects = world.live.engine.handle(Millis(world.time), input);
        let told = |effect: &Effect| {
            matches!(
                effect,
                Effect::OrderReply { outcome: OrderOutcome::Committed(Committed { repeat: true, .. }), .. }
            )
        };
        effects.iter().any(told)
    };
    assert!(repeat(10, None) && repeat(100, Some(before)) && !repeat(100, None));
}

#[test]
fn one_account_holds_a_part_of_each_queue_and_leaves_the_rest() {
    let mut world = world_with(Config { orders_max: 8, cancels_max: 8, account_part: 4, ..Config::default() });
    let mut ask = |n: u64, account: &str, cancel: bool| {
        let account = Account::new(account).unwrap();
        let (request, target) = (RequestId(n), Target::Client(client_id(1)));
        let order = NewOrder { account: account.clone(), ..limit(n, Side::Buy, 90, 1, 1_000_000) };
        let input = match cancel {
            true => Input::Cancel { request, account, target, only: None },
            false => Input::Order { request, order, terms: Terms::default() },
        };
        world.live.engine.handle(Millis(world.time), input)
    };
    let overloaded = NotExecuted::Overloaded;
    let submits = |effects: &[Effect]| matches!(effects, [Effect::Submit(_)]);
    assert!((1..3).all(|n| submits(&ask(n, "flood", false))));
    let refused = Effect::OrderReply { request: RequestId(3), outcome: OrderOutcome::NotExecuted(overloaded) };
    assert_eq!(ask(3, "flood", false), [refused]);
    assert!(submits(&ask(4, "other", false)));
    // The cancels wait for the order that they name.
    assert!((5..7).all(|n| ask(n, "flood", true).is_empty()));
    let refused = Effect::CancelReply { request: RequestId(7), outcome: CancelOutcome::NotExecuted(overloaded) };
    assert_eq!(ask(7, "flood", true), [refused]);
    let unknown = Effect::CancelReply { request: RequestId(8), outcome: CancelOutcome::UnknownOrder };
    assert_eq!(ask(8, "other", true), [unknown]);
}

#[test]
fn a_repeat_for_which_there_is_no_place_is_not_told_that_its_order_is_not_executed() {
    let mut world = world_with(Config { waiters_max: 1, ..Config::default() });
    let order = limit(1, Side::Buy, 100, 1, 1_000_000);
    let first = world.place(order.clone());
    let repeat = world.place(order);
    assert_eq!(*told(&world, repeat), OrderOutcome::Unknown);
    settle(&mut world);
    assert_eq!(committed(&world, first).result.status, OrderStatus::New);
    assert_eq!(world.live.engine.stats().unknown_settled, 1);
}
