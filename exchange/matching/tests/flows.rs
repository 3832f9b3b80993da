//! Random flows through the engine and the real ledger: loss, delay, repeats and reordering of commands
//! and answers, quotes that move and expire, the kill switch, lost sessions, a second exchange, and
//! crashes of the engine at any point, with clients that ask again under the same id.
//!
//! `QUORATE_SEED=<seed>` replays one seed.

// In tests an unwrap is an assertion.
#![allow(clippy::unwrap_used)]

mod world;

use std::collections::BTreeMap;

use proptest::prelude::*;
use quorate_domain::{OrderType, Price, Qty, Side, TimeInForce};
use quorate_ledger::{Command, Input as LedgerInput, LeaderCommand, NewOrder};
use quorate_matching::{Answered, Config, Input, Only, SelfTrade, Target, Terms};
use world::{
    World,
    judge::Judge,
    names::{self, client_id, limit, symbol},
};

/// Steps of one flow.
const STEPS: usize = 600;
/// Seeds that always run, and must together meet every situation named below.
const FIXED_SEEDS: u64 = 60;

/// Without limits of an account, and with all orders matched alike: so that seeds that once failed run as they did.
fn plain(seed: u64) -> bool {
    seed.is_multiple_of(4)
}

/// Small bounds, other ones for each seed, so that they are reached.
fn config(seed: u64) -> Config {
    Config {
        order_ttl_ms: 1_500,
        window_max: 1 + usize::try_from(seed % 9).unwrap(),
        in_flight_max: 2 + usize::try_from(seed % 11).unwrap(),
        orders_max: 12,
        cancels_max: 4,
        account_part: 1,
        replans_max: u32::try_from(seed % 3).unwrap(),
        waiters_max: 2,
        closed_max: 20,
        symbol_orders_max: if plain(seed) { 200 } else { 4 + usize::try_from(seed % 7).unwrap() },
        account_orders_max: if plain(seed) { 1_000 } else { 8 + usize::try_from(seed % 5).unwrap() },
    }
}

fn any_order(world: &mut World, n: u64) -> NewOrder {
    let rng = &mut world.rng;
    let side = if rng.percent(50) { Side::Buy } else { Side::Sell };
    let symbol = symbol(rng.below(names::SYMBOLS));
    let mut order = NewOrder { symbol, ..limit(n, side, rng.range(94, 108), rng.range(1, 30), world.time) };
    match rng.below(10) {
        0..2 => {
            order.order_type = OrderType::Market;
            order.time_in_force = TimeInForce::Ioc;
            order.price = None;
        }
        2 => order.order_type = OrderType::LimitMaker,
        3 => order.time_in_force = TimeInForce::Ioc,
        4 => order.time_in_force = TimeInForce::Fok,
        5 => {
            order.price = Some(Price(if side == Side::Buy { 97 } else { 104 }));
            order.qty = Qty(1);
        }
        _ => {}
    }
    order
}

/// Mostly as all others.
fn any_terms(world: &mut World, order: &NewOrder) -> Terms {
    let modes = [SelfTrade::ExpireTaker, SelfTrade::ExpireMaker, SelfTrade::ExpireBoth];
    if plain(world.seed) {
        return Terms::default();
    }
    let at = world.rng.below(12);
    let worst = match order.side {
        Side::Buy => Price(103),
        Side::Sell => Price(98),
    };
    match modes.get(at) {
        Some(mode) => Terms { self_trade: *mode, ..Terms::default() },
        None if at == modes.len() => Terms { worst: Some(worst), ..Terms::default() },
        None => Terms::default(),
    }
}

fn any_target(world: &mut World) -> Target {
    let at = world.rng.below(world.clients.len() + 1);
    match world.clients.keys().nth(at).cloned() {
        Some(id) if world.rng.percent(50) => Target::Client(id),
        Some(id) => {
            let known = world.ledger.order_named(&names::account(), &id).map_or(999_999, |order| order.id());
            Target::Order(known)
        }
        None => Target::Client(client_id(999_999)),
    }
}

/// Mostly the first, at times any other.
fn pick(world: &mut World, len: usize) -> Option<usize> {
    let any = world.rng.percent(25);
    (len > 0).then(|| if any { world.rng.below(len) } else { 0 })
}

fn network_step(world: &mut World) {
    let waiting = world.packets.len();
    let Some(at) = pick(world, waiting) else { return };
    let packet = world.packets.remove(at);
    let unknown = (packet.generation, packet.submission.id, Answered::Unknown);
    match world.rng.below(40) {
        // Lost on the way, or only late.
        0..3 => {
            if world.rng.percent(50) {
                world.packets.push(world::Packet { ghost: true, ..packet.clone() });
            }
            if !packet.ghost {
                world.answers.push(unknown);
            }
        }
        // Applied, and the answer lost.
        3..6 => {
            world.deliver(&packet);
            if !packet.ghost {
                world.answers.push(unknown);
            }
        }
        6 if !packet.ghost => {
            world.answers.push((packet.generation, packet.submission.id, Answered::NotApplied));
        }
        7 => {
            world.packets.push(world::Packet { ghost: true, ..packet.clone() });
            world.deliver_and_answer(&packet);
        }
        _ => world.deliver_and_answer(&packet),
    }
}

fn client_step(world: &mut World, n: u64) {
    match world.rng.below(40) {
        0..26 => {
            let order = any_order(world, n);
            let terms = any_terms(world, &order);
            world.place_under(order, terms);
        }
        26..31 => world.retry_lost(),
        // Asked twice at once.
        31 => {
            let waiting = world.clients.values().find(|client| !client.waiting.is_empty());
            if let Some(order) = waiting.map(|client| client.order.clone()) {
                world.place(order);
            }
        }
        32..36 => {
            let target = any_target(world);
            let only = [Some(Only::New), Some(Only::PartiallyFilled), None, None];
            let only = if plain(world.seed) { None } else { only[world.rng.below(only.len())] };
            world.cancel_only(target, only);
        }
        _ => {
            let waiting = world.outstanding.len();
            let Some(at) = pick(world, waiting) else { return };
            let request = *world.outstanding.keys().nth(at).unwrap();
            world.feed(Input::OutOfPatience { request });
        }
    }
}

fn fault_step(world: &mut World) {
    match world.rng.below(20) {
        0..6 => world.kill_switch(),
        6..9 => world.lose_session(),
        9..13 => world.recover(),
        13..15 => {
            let exchange = quorate_domain::ExchangeName::new("other").unwrap();
            world.as_maker(Command::RegisterExchange(quorate_ledger::RegisterExchange { exchange }));
        }
        15 => world.feed(Input::Stop),
        16..18 => world.time += 1_600,
        _ => {
            world.apply(LedgerInput::Leader(LeaderCommand::Tick));
        }
    }
}

fn run(seed: u64, steps: usize) -> World {
    let mut world = World::new(seed, config(seed));
    for n in 0..steps {
        match world.rng.below(100) {
            0..24 => client_step(&mut world, n as u64),
            24..52 => network_step(&mut world),
            52..72 => {
                let waiting = world.answers.len();
                if let Some(at) = pick(&mut world, waiting) {
                    world.hand_in_answer(at);
                }
            }
            72..90 => {
                world.hand_in_frame();
            }
            90..95 => {
                world.maker_acts();
                // Engaged for a while, not for most of the run.
                if world.ledger.control().kill_switch {
                    world.kill_switch();
                }
            }
            95..98 => world.time += u64::try_from(world.rng.range(1, 120)).unwrap(),
            98 => {
                while world.hand_in_frame() {}
                if world.live.engine.pending_orders() == 0 {
                    Judge::mirror(&world);
                }
            }
            _ => fault_step(&mut world),
        }
        world.wake();
    }
    world.heal();
    Judge::end(&world);
    world
}

/// Says how to replay a seed that fails, whatever assertion it fails in.
struct Replay(u64);

impl Drop for Replay {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("replay: QUORATE_SEED={} cargo test -p quorate-matching --test flows replay", self.0);
        }
    }
}

fn run_printing(seed: u64, steps: usize) -> World {
    let _replay = Replay(seed);
    run(seed, steps)
}

#[test]
fn fixed_seeds_hold_and_meet_every_situation() {
    let mut met: BTreeMap<&'static str, u64> = BTreeMap::new();
    for seed in 0..FIXED_SEEDS {
        let world = run_printing(seed, STEPS);
        let (judge, stats) = (&world.judge, &world.stats);
        let figures = [
            ("exact", judge.exact),
            ("loose", judge.loose),
            ("apart", judge.apart),
            ("in match", world.in_match.len() as u64),
            ("settled", judge.settled),
            ("fenced", judge.fenced),
            ("replanned", stats.replanned),
            ("gaps", stats.gaps),
            ("gave up", stats.gave_up),
            ("resent", stats.resent),
        ];
        for (name, count) in
            judge.refusals.iter().chain(&judge.outcomes).map(|(name, count)| (*name, *count)).chain(figures)
        {
            *met.entry(name).or_default() += count;
        }
    }
    let wanted = [
        "exact",
        "loose",
        "apart",
        "in match",
        "symbol full",
        "account full",
        "settled",
        "fenced",
        "replanned",
        "gaps",
        "gave up",
        "resent",
        "ExecGap",
        "NotActive",
        "WouldCross",
        "DuplicateOrder",
        "DeadlinePassed",
        "StaleExchange",
        "KillSwitch",
        "SessionExpired",
        "OrderClosed",
        "committed",
        "repeat",
        "unknown",
        "overloaded",
        "not ready",
        "halted",
        "unavailable",
        "timed out",
        "killed",
        "deadline passed",
        "cancelled",
        "cancel of closed",
        "cancel of nothing",
        "cancel restricted",
        "cancel not made",
        "cancel unknown",
    ];
    let missed: Vec<&&str> = wanted.iter().filter(|name| !met.contains_key(**name) || met[**name] == 0).collect();
    assert!(missed.is_empty(), "never met: {missed:?}; met: {met:?}");
    assert!(met["exact"] > 10 * met["loose"], "most executions are compared exactly: {met:?}");
    eprintln!("met: {met:?}");
}

/// Answers that overtook each other gave a later resting order its id, and its priority, before an earlier one.
const ANSWERS_OVERTOOK: u64 = 4_833_195_638_592_449_292;
/// A late copy of an order given up at its deadline came when its exec_id was another's.
const LATE_COPY: u64 = 12_732_649_817_283_315_064;
/// The cancel of an order that a taker of its own account had met was not applied, after the taker had been proposed all the same:
/// the taker was told that it is not executed, and was.
const CANCEL_NOT_APPLIED: u64 = 14_160_859_382_103_899_325;

#[test]
fn seeds_that_once_failed_hold() {
    for seed in [ANSWERS_OVERTOOK, LATE_COPY, CANCEL_NOT_APPLIED] {
        run_printing(seed, STEPS);
    }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let (a, b) = (run_printing(7, STEPS), run_printing(7, STEPS));
    assert_eq!(a.ledger.chain(), b.ledger.chain());
    assert_eq!(a.stats, b.stats);
}

#[test]
fn replay() {
    // Without a seed from outside this repeats one of the fixed ones.
    let seed = std::env::var("QUORATE_SEED").ok().map_or(1, |text| text.parse().expect("QUORATE_SEED is a number"));
    run_printing(seed, STEPS);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn fresh_seeds_hold(seed in any::<u64>()) {
        run_printing(seed, STEPS);
    }
}
