//! The quoter's invariants, over random faults around the real ledger.

#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

mod group;

use std::collections::BTreeSet;

use group::{Action, Group, Setup};
use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};

fn action() -> impl Strategy<Value = Action> {
    let at = 0..4usize;
    prop_oneof![
        6 => (1..8_000u64).prop_map(Action::Run),
        6 => (1..60u64).prop_map(Action::Run),
        6 => (at.clone(), any::<bool>(), 1..40i64).prop_map(|(at, buy, lots)| Action::Take(at, buy, lots)),
        3 => (at.clone(), 2..30u64, 1..50u64).prop_map(|(at, orders, every)| Action::Burst(at, orders, every)),
        2 => (at.clone(), any::<bool>(), 1..6i64).prop_map(|(at, buy, ticks)| Action::RestOrder(at, buy, ticks)),
        1 => Just(Action::CancelAll),
        4 => (at.clone(), -8..8i64).prop_map(|(at, ticks)| Action::Reference(at, ticks)),
        2 => (at.clone(), 100..20_000u64).prop_map(|(at, ms)| Action::Pause(at, ms)),
        2 => (at.clone(), 100..20_000u64).prop_map(|(at, ms)| Action::Cut(at, ms)),
        2 => (at.clone(), 100..5_000u64).prop_map(|(at, ms)| Action::Delay(at, ms)),
        2 => (at.clone(), 100..30_000u64).prop_map(|(at, ms)| Action::Deafen(at, ms)),
        1 => at.clone().prop_map(Action::RestartStream),
        1 => at.clone().prop_map(Action::Leave),
        1 => at.clone().prop_map(Action::Kill),
        2 => (0..300u64).prop_map(Action::NewTerm),
        1 => at.prop_map(Action::QuotingOff),
        1 => Just(Action::KillSwitch),
        1 => (10..=100i64).prop_map(Action::Limit),
    ]
}

fn setup() -> impl Strategy<Value = Setup> {
    let quote_ttl = prop_oneof![Just(30_000u64), 1_000..=30_000u64];
    (any::<u64>(), 1..=4usize, 1..=60i64, quote_ttl, 2..=80u64).prop_map(
        |(seed, symbols, order_qty, quote_ttl_ms, delay_max_ms)| Setup {
            seed,
            symbols,
            order_qty,
            quote_ttl_ms,
            delay_max_ms,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, max_shrink_iters: 300, ..ProptestConfig::default() })]

    #[test]
    fn no_fault_makes_a_quoter_act_without_authority(setup in setup(), actions in prop::collection::vec(action(), 1..120)) {
        let mut group = Group::new(setup);
        for action in actions {
            group.act(action);
        }
        // Then all faults stop, and every symbol is quoted again, as often as it must be.
        group.heal();
        group.run(30_000);
        let mut held = 0;
        for (symbol, state) in group.ledger.symbols() {
            held += 1;
            prop_assert!(state.holder.is_some(), "nobody holds {}", symbol);
            let gap = group.longest_gap.get(symbol).copied();
            prop_assert!(gap.is_some_and(|gap| gap > 0 && gap <= 5_000), "{symbol} was quoted with a gap of {gap:?} ms");
        }
        prop_assert_eq!(held, setup.symbols);
        prop_assert!(group.ledger.audit().is_empty());
    }
}

/// Quotes of 2.5 s were replaced every 4 s. One that had expired lost its symbol's share of the exposure to the next one that was
/// placed, and the symbol stood without a quote until that one expired too.
#[test]
fn short_quotes_are_replaced_before_they_expire() {
    use Action::{Burst, Cut, Delay, KillSwitch, Limit, NewTerm, Pause, QuotingOff, RestOrder, Run, Take};
    let setup = Setup { seed: 9884838454954219152, symbols: 4, order_qty: 51, quote_ttl_ms: 2_504, delay_max_ms: 23 };
    let actions = [
        Burst(0, 6, 1),
        KillSwitch,
        Run(57),
        Pause(3, 9670),
        Run(45),
        RestOrder(0, false, 1),
        Run(1511),
        Run(52),
        Run(2862),
        Pause(1, 13935),
        Run(5298),
        Cut(0, 13295),
        KillSwitch,
        Limit(59),
        Run(3633),
        Pause(0, 6610),
        Run(4326),
        RestOrder(0, false, 3),
        RestOrder(1, false, 4),
        Run(6335),
        NewTerm(41),
        KillSwitch,
        RestOrder(2, false, 2),
        Run(54),
        Run(21),
        Run(5991),
        Limit(54),
        Delay(0, 4735),
        Burst(1, 22, 5),
        QuotingOff(1),
        Run(2396),
        Run(51),
        NewTerm(113),
        NewTerm(217),
        RestOrder(0, false, 3),
        Run(1346),
        Burst(3, 5, 20),
        Pause(3, 8547),
        Limit(35),
        NewTerm(299),
        Run(5372),
        Cut(3, 12622),
        Burst(2, 20, 5),
        Run(7),
        Pause(1, 5253),
        Take(2, true, 19),
        RestOrder(3, true, 3),
        QuotingOff(3),
        KillSwitch,
        Cut(2, 19755),
        Run(24),
        Limit(22),
        Limit(90),
        Run(9),
        Run(17),
    ];
    let mut group = Group::new(setup);
    actions.into_iter().for_each(|action| group.act(action));
    group.heal();
    group.run(30_000);
    let gaps: Vec<u64> = group.longest_gap.values().copied().collect();
    assert!(gaps.len() == 4 && gaps.iter().all(|gap| *gap < 2_504), "{gaps:?}");
}

/// Only an order that its stream has not told of yet can be in a maker's way: it is met once, and stepped behind.
#[test]
fn an_order_that_a_deaf_maker_has_not_heard_of_is_met_once() {
    use Action::{Deafen, Reference, RestOrder, Run};
    let setup = Setup { seed: 1, symbols: 1, order_qty: 10, quote_ttl_ms: 30_000, delay_max_ms: 20 };
    let mut group = Group::new(setup);
    group.act(Run(3_000));
    (0..3).for_each(|at| group.act(Deafen(at, 1_000)));
    group.act(RestOrder(0, true, 1));
    group.act(Reference(0, -8));
    group.act(Run(800));
    for met in ["refused CrossesResting", "quote ended Replaced"] {
        assert!(group.seen.contains(met), "not {met}: {:?}", group.seen);
    }
    let asks = |group: &Group| {
        let (_, state) = group.ledger.symbols().next().unwrap();
        state.quote.as_ref().and_then(|quote| quote.sides.ask).map(|ask| ask.price.0)
    };
    let bought_at = group.ledger.best_resting_price(&"S0".parse().unwrap(), quorate_domain::Side::Buy).unwrap().0;
    assert_eq!(asks(&group), Some(bought_at + 1));
    // Once it hears, it is not refused again, whatever the price does.
    group.act(Run(1_000));
    group.seen.clear();
    for ticks in [-3, 8, -8, 5, -7] {
        group.act(Reference(0, ticks));
        group.act(Run(700));
    }
    assert!(!group.seen.contains("refused CrossesResting") && group.seen.contains("cause ReferenceMoved"));
}

/// The property above says nothing where nothing happens: over the same kind of runs, all that matters
/// to a quoter must occur.
#[test]
fn the_runs_meet_every_fault_and_every_answer() {
    let mut runner = TestRunner::deterministic();
    let runs = (setup(), prop::collection::vec(action(), 60..120));
    let mut seen = BTreeSet::new();
    for _ in 0..100 {
        let (setup, actions) = runs.new_tree(&mut runner).unwrap().current();
        let mut group = Group::new(setup);
        actions.into_iter().for_each(|action| group.act(action));
        seen.append(&mut group.seen);
    }
    let wanted = [
        "sent register_maker",
        "sent renew_maker",
        "sent deregister_maker",
        "sent commit_parameters",
        "sent release_symbol",
        "sent place_quote",
        "sent keep_quote",
        "kept",
        "sent pull_quote",
        "belief Gained",
        "belief Renewed",
        "belief Ended",
        "pause noticed",
        "renewed, and its holdings were not known",
        "left",
        "reduced",
        "refused StalePosition",
        "refused StaleEpoch",
        "refused StaleQuoteSeq",
        "refused UnknownMaker",
        "refused ExposureShort",
        "refused KillSwitch",
        "refused QuotingOff",
        "cause AuthorityGained",
        "cause Fill",
        "cause Expiry",
        "cause ReferenceMoved",
        "cause Refresh",
        "authority ended Released",
        "authority ended LeaseExpired",
        "authority ended MoveDeadline",
        "authority ended MakerLeft",
        "quote ended Expired",
        "quote ended AgeUnproven",
        "quote ended LimitLowered",
        "quote ended Pulled",
        "quote ended Filled",
    ];
    let missing: Vec<_> = wanted.into_iter().filter(|name| !seen.contains(*name)).collect();
    assert!(missing.is_empty(), "never occurred: {missing:?}; occurred: {seen:?}");
}
