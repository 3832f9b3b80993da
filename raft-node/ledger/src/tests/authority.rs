use super::{PARAMETERS, Rig, SECRET, START, TTL, commit, define, maker, register, symbol};
use crate::{bounds::*, *};
use quorate_domain::*;

/// The events' names, with what tells them apart.
fn story(events: &[Event]) -> Vec<String> {
    events
        .iter()
        .map(|event| match event {
            Event::AuthorityGranted { symbol, maker, epoch, .. } => format!("{symbol} granted to {maker} at {epoch}"),
            Event::AuthorityMoving { symbol, to: Some(to), .. } => format!("{symbol} moving to {to}"),
            Event::AuthorityMoving { symbol, to: None, .. } => format!("{symbol} stays"),
            Event::AuthorityEnded { symbol, maker, reason, .. } => format!("{symbol} ended for {maker}: {reason:?}"),
            Event::MakerRegistered { maker, .. } => format!("{maker} joined"),
            Event::MakerDeparted { maker, reason, .. } => format!("{maker} departed: {reason:?}"),
            Event::MakerRenewed { maker, .. } => format!("{maker} renewed"),
            Event::QuoteEnded { symbol, reason, .. } => format!("{symbol} quote ended: {reason:?}"),
            other => format!("{other:?}"),
        })
        .collect()
}

fn holders<'a>(rig: &'a Rig, names: &[&str]) -> Vec<Option<&'a str>> {
    names.iter().map(|name| rig.holder(name)).collect()
}

#[test]
fn the_first_maker_gets_every_symbol_and_new_symbols_too() {
    let mut rig = Rig::with_symbols(&["BBB", "AAA"]);
    let incarnation = rig.join("m1");
    assert_eq!(story(&rig.events), ["m1 joined", "AAA granted to m1 at 1", "BBB granted to m1 at 1"]);
    let deadline = Millis(START + TTL);
    let answer = Answer::MakerRegistered { incarnation, deadline, holdings_index: incarnation };
    assert_eq!(rig.last.as_ref().unwrap().outcome, Outcome::Accepted(answer));
    rig.define("CCC", 1);
    assert_eq!(rig.holder("CCC"), Some("m1"));
}

#[test]
fn a_second_maker_is_moved_half_and_gets_it_on_release_or_at_the_deadline() {
    let names = ["AAA", "BBB", "CCC"];
    let mut rig = Rig::with_symbols(&names);
    rig.join("m1");
    rig.place("CCC", 10);
    rig.now += 1_000;
    let moved = rig.join("m2");
    assert_eq!(story(&rig.events), ["m2 joined", "CCC moving to m2"], "m1 has most, and keeps the odd one");
    assert_eq!(rig.ledger.authority_deadline(&symbol("CCC")), Some(Millis(START + TTL)));

    // Renewing does not move the deadline of what moves; quoting goes on until then.
    rig.now += 1_000;
    let Answer::MakerRenewed { deadline, holdings_index } = rig.renew("m1") else { panic!() };
    assert_eq!((deadline, holdings_index), (Millis(START + 2_000 + TTL), moved));
    rig.place("CCC", 10);
    assert_eq!(rig.ledger.authority_deadline(&symbol("CCC")), Some(Millis(START + TTL)));
    assert_eq!(rig.ledger.authority_deadline(&symbol("AAA")), Some(Millis(START + 2_000 + TTL)));

    rig.tick_at(START + TTL);
    assert_eq!(
        story(&rig.events),
        ["CCC quote ended: AuthorityEnded", "CCC ended for m1: MoveDeadline", "CCC granted to m2 at 2"]
    );
    rig.join("m3");
    assert_eq!(story(&rig.events), ["m3 joined", "BBB moving to m3"]);
    rig.release("BBB");
    assert_eq!(story(&rig.events), ["BBB ended for m1: Released", "BBB granted to m3 at 2"]);
    assert_eq!(holders(&rig, &names), [Some("m1"), Some("m3"), Some("m2")]);
}

#[test]
fn a_grant_begins_quote_numbers_anew() {
    let mut rig = Rig::with_symbols(&["AAA"]);
    rig.join("m1");
    rig.place("AAA", 10);
    rig.place("AAA", 10);
    assert_eq!(rig.state("AAA").quote_seq, 2);
    rig.release("AAA");
    let expected = ["AAA quote ended: AuthorityEnded", "AAA ended for m1: Released", "AAA granted to m1 at 2"];
    assert_eq!(story(&rig.events), expected, "nobody else is there to take it");
    assert_eq!(rig.state("AAA").quote_seq, 0);
    assert!(rig.state("AAA").quote.is_none());
}

#[test]
fn a_maker_that_leaves_gives_all_to_the_rest() {
    let names = ["AAA", "BBB", "CCC", "DDD"];
    let mut rig = Rig::with_symbols(&names);
    rig.join("m1");
    rig.join("m2");
    for name in ["CCC", "DDD"] {
        rig.release(name);
    }
    rig.place("DDD", 10);
    rig.leave("m2");
    assert_eq!(
        story(&rig.events),
        [
            "CCC ended for m2: MakerLeft",
            "DDD quote ended: AuthorityEnded",
            "DDD ended for m2: MakerLeft",
            "m2 departed: Left",
            "CCC granted to m1 at 3",
            "DDD granted to m1 at 3",
        ]
    );
    rig.leave("m1");
    assert_eq!(holders(&rig, &names), [None; 4]);
    rig.join("m3");
    assert_eq!(holders(&rig, &names), [Some("m3"); 4]);
}

#[test]
fn registering_again_ends_the_earlier_incarnation() {
    let mut rig = Rig::with_symbols(&["AAA"]);
    let first = rig.join("m1");
    rig.place("AAA", 10);
    let second = rig.join("m1");
    assert_eq!(
        story(&rig.events),
        [
            "AAA quote ended: AuthorityEnded",
            "AAA ended for m1: MakerLeft",
            "m1 departed: Superseded",
            "m1 joined",
            "AAA granted to m1 at 2",
        ]
    );
    let old = MakerRef { maker: maker("m1"), incarnation: first, secret: SECRET };
    let unknown = Refusal::UnknownMaker { incarnation: first, present: Some(second) };
    assert_eq!(rig.refused(Command::RenewMaker(old.clone())), unknown);
    assert_eq!(rig.refused(Command::DeregisterMaker(old)), unknown);
    let nobody = MakerRef { maker: maker("nobody"), incarnation: 5, secret: SECRET };
    assert_eq!(rig.refused(Command::RenewMaker(nobody)), Refusal::UnknownMaker { incarnation: 5, present: None });
}

#[test]
fn a_lease_that_runs_out_takes_authority_and_quotes_with_it() {
    let mut rig = Rig::with_symbols(&["AAA"]);
    rig.join("m1");
    rig.place("AAA", 10);
    rig.tick_at(START + TTL - 1);
    assert!(rig.events.is_empty());
    rig.tick_at(START + TTL);
    assert_eq!(
        story(&rig.events),
        ["AAA quote ended: AuthorityEnded", "AAA ended for m1: LeaseExpired", "m1 departed: Expired"]
    );
    assert_eq!(rig.reserved(), (0, 0));
}

#[test]
fn a_destination_that_departs_calls_the_move_off() {
    let mut rig = Rig::with_symbols(&["AAA", "BBB"]);
    rig.join("m1");
    rig.join("m2");
    assert_eq!(rig.moving_to("BBB"), Some("m2"));
    rig.leave("m2");
    assert_eq!(story(&rig.events), ["m2 departed: Left", "BBB stays"]);
    let Some(Event::AuthorityMoving { until, .. }) = rig.events.last() else { panic!() };
    assert_eq!(*until, Millis(START + TTL));
    assert_eq!(rig.holder("BBB"), Some("m1"));
}

#[test]
fn a_move_changes_its_destination_and_keeps_its_deadline() {
    let mut rig = Rig::with_symbols(&["AAA", "BBB"]);
    rig.join("m1");
    rig.join("m2");
    rig.now += 2_000;
    rig.renew("m1");
    rig.join("m3");
    assert_eq!(story(&rig.events), ["m3 joined"], "two symbols, and two makers have one each");
    rig.leave("m2");
    assert_eq!(story(&rig.events), ["m2 departed: Left", "BBB moving to m3"]);
    assert_eq!(rig.state("BBB").moving().unwrap().until, Millis(START + TTL));
}

#[test]
fn a_holder_that_departs_while_its_symbol_moves_leaves_it_free() {
    let mut rig = Rig::with_symbols(&["AAA", "BBB"]);
    rig.join("m1");
    rig.join("m2");
    rig.leave("m1");
    assert_eq!(
        story(&rig.events),
        [
            "AAA ended for m1: MakerLeft",
            "BBB ended for m1: MakerLeft",
            "m1 departed: Left",
            "AAA granted to m2 at 2",
            "BBB granted to m2 at 2",
        ]
    );
}

#[test]
fn a_destination_whose_lease_ends_with_the_move_gets_nothing() {
    let mut rig = Rig::with_symbols(&["AAA", "BBB"]);
    rig.join("m1");
    rig.join("m2");
    rig.now += TTL - 1;
    rig.renew("m1");
    // At this moment m2's lease and the move's deadline both come, the lease first.
    rig.tick_at(START + TTL);
    assert_eq!(
        story(&rig.events),
        ["m2 departed: Expired", "BBB ended for m1: MoveDeadline", "BBB granted to m1 at 2"]
    );
}

#[test]
fn stale_epochs_and_unknown_symbols_are_refused() {
    let mut rig = Rig::with_symbols(&["AAA"]);
    let release =
        |name: &str, epoch| Command::ReleaseSymbol(ReleaseSymbol { symbol: symbol(name), epoch, secret: SECRET });
    let stale =
        |epoch, holder: Option<&str>| Refusal::StaleEpoch { symbol: symbol("AAA"), epoch, holder: holder.map(maker) };
    assert_eq!(rig.refused(release("AAA", 0)), stale(0, None));
    rig.join("m1");
    assert_eq!(rig.refused(release("AAA", 2)), stale(1, Some("m1")));
    rig.leave("m1");
    assert_eq!(rig.refused(release("AAA", 1)), stale(1, None), "the epoch is the last holder's");
    assert_eq!(rig.refused(release("ZZZ", 1)), Refusal::UnknownSymbol { symbol: symbol("ZZZ") });
}

/// A second process under a copied name, or a script that knows the public epoch, does no harm by mistake.
#[test]
fn only_who_knows_the_secret_speaks_for_a_maker() {
    let mut rig = Rig::with_symbols(&["AAA"]);
    rig.join("m1");
    rig.place("AAA", 10);
    let wrong = Secret([6; 32]);
    let right = rig.maker_ref("m1");
    let other = MakerRef { secret: wrong, ..right.clone() };
    let commands = [
        Command::RenewMaker(other.clone()),
        Command::DeregisterMaker(other.clone()),
        commit(other, "AAA", PARAMETERS),
        Command::ReleaseSymbol(ReleaseSymbol { symbol: symbol("AAA"), epoch: 1, secret: wrong }),
        Command::PlaceQuote(PlaceQuote { secret: wrong, ..rig.quote("AAA", 10) }),
        Command::KeepQuote(KeepQuote { secret: wrong, ..rig.keep("AAA") }),
        Command::PullQuote(PullQuote { secret: wrong, ..rig.pulling("AAA") }),
    ];
    for command in commands {
        let before = (rig.state("AAA").clone(), rig.ledger.maker(&maker("m1")).cloned());
        let told = matches!(command, Command::PlaceQuote(_) | Command::KeepQuote(_));
        assert_eq!(rig.refused(command), Refusal::WrongSecret { maker: maker("m1") });
        assert_eq!(rig.events.len(), usize::from(told));
        assert_eq!((rig.state("AAA").clone(), rig.ledger.maker(&maker("m1")).cloned()), before);
    }
    // Incarnation and epoch are looked at before.
    let stale = ReleaseSymbol { symbol: symbol("AAA"), epoch: 9, secret: wrong };
    assert!(matches!(rig.refused(Command::ReleaseSymbol(stale)), Refusal::StaleEpoch { .. }));
    let old = MakerRef { incarnation: 1, secret: wrong, ..right };
    assert!(matches!(rig.refused(Command::RenewMaker(old)), Refusal::UnknownMaker { .. }));
}

#[test]
fn secrets_and_their_hashes_show_nowhere() {
    let mut rig = Rig::with_symbols(&["AAA"]);
    rig.join("m1");
    let quote = rig.quote("AAA", 10);
    let command = Command::PlaceQuote(quote);
    let digits = |byte: u8| format!("{byte:02x}").repeat(32);
    assert!(!format!("{command:?}").contains(&digits(5)), "{command:?}");
    let registration = format!("{:?}", register("m1", TTL));
    assert!(!registration.contains(&SECRET.hash().0.to_string()), "{registration}");
    let refused = rig.refused(Command::RenewMaker(MakerRef { secret: Secret([6; 32]), ..rig.maker_ref("m1") }));
    rig.leave("m1");
    rig.join("m1");
    let shown = format!("{refused:?} {refused} {:?} {:?}", rig.events, rig.last);
    for hidden in [digits(5), digits(6), SECRET.hash().0.to_string(), Secret([6; 32]).hash().0.to_string()] {
        assert!(!shown.contains(&hidden), "{shown}");
    }
}

#[test]
fn parameters_are_committed_by_symbol_and_forgotten_with_the_maker() {
    let mut rig = Rig::with_symbols(&["AAA", "BBB"]);
    rig.ok(register("m1", TTL));
    let quote = rig.quote("AAA", 10);
    let unknown = |committed| Refusal::UnknownParameters { committed };
    assert_eq!(rig.refused(Command::PlaceQuote(quote)), unknown(None));
    let m1 = rig.maker_ref("m1");
    let digest = Digest::of(b"edge = 2");
    assert_eq!(rig.ok(commit(m1.clone(), "AAA", "edge = 2")), Answer::ParametersCommitted { digest });
    let told = Event::ParametersCommitted {
        maker: maker("m1"),
        incarnation: m1.incarnation,
        symbol: symbol("AAA"),
        digest,
        text: "edge = 2".to_owned(),
    };
    assert_eq!(rig.events, [told]);
    let mut quote = rig.quote("AAA", 10);
    assert_eq!(rig.refused(Command::PlaceQuote(quote.clone())), unknown(Some(digest)));
    quote.basis.parameters = digest;
    rig.ok(Command::PlaceQuote(quote));
    assert!(matches!(rig.refused(commit(m1.clone(), "AAA", "")), Refusal::Invalid { .. }));
    let long = "p".repeat(PARAMETERS_MAX + 1);
    assert!(matches!(rig.refused(commit(m1.clone(), "AAA", &long)), Refusal::Invalid { .. }));
    rig.ok(commit(m1.clone(), "AAA", &long[1..]));
    assert_eq!(rig.refused(commit(m1, "ZZZ", PARAMETERS)), Refusal::UnknownSymbol { symbol: symbol("ZZZ") });
    rig.ok(register("m1", TTL));
    let quote = rig.quote("AAA", 10);
    assert_eq!(rig.refused(Command::PlaceQuote(quote)), unknown(None), "the next incarnation has committed nothing");
}

#[test]
fn holdings_index_tells_when_what_a_maker_holds_or_gives_up_last_changed() {
    let mut rig = Rig::with_symbols(&["AAA", "BBB"]);
    let renewed = |rig: &mut Rig, name: &str| match rig.renew(name) {
        Answer::MakerRenewed { holdings_index, .. } => holdings_index,
        other => panic!("{other:?}"),
    };
    let first = rig.join("m1");
    assert_eq!(renewed(&mut rig, "m1"), first);
    rig.place("AAA", 10);
    rig.tick();
    assert_eq!(renewed(&mut rig, "m1"), first, "quotes and renewals change nothing that it holds");

    // A move that begins concerns who holds the symbol, and who is to have it only once it is granted.
    let second = rig.join("m2");
    assert_eq!(story(&rig.events), ["m2 joined", "BBB moving to m2"]);
    assert_eq!((renewed(&mut rig, "m1"), renewed(&mut rig, "m2")), (second, second));
    rig.release("BBB");
    let released = rig.index();
    assert_eq!((renewed(&mut rig, "m1"), renewed(&mut rig, "m2")), (released, released));
    rig.ok(define("CCC", 1));
    let granted = rig.index();
    assert_eq!(rig.holder("CCC"), Some("m1"));
    assert_eq!(renewed(&mut rig, "m1"), granted);

    // A move that is called off is a change too.
    rig.define("DDD", 1);
    let third = rig.join("m3");
    assert_eq!(story(&rig.events).len(), 2, "{:?}", story(&rig.events));
    rig.leave("m3");
    let left = rig.index();
    assert!(story(&rig.events).iter().any(|told| told.ends_with("stays")), "{:?}", story(&rig.events));
    let after = [renewed(&mut rig, "m1"), renewed(&mut rig, "m2")];
    assert!(after.contains(&left) && after.iter().all(|index| *index == left || *index < third), "{after:?}");
}

#[test]
fn a_renewal_tells_the_holdings_as_the_sweep_left_them_and_before_its_own_rebalance() {
    let mut rig = Rig::with_symbols(&["AAA", "BBB"]);
    let first = rig.join("m1");
    rig.now += 1_000;
    let second = rig.join("m2");
    rig.release("BBB");
    rig.now = START + TTL - 1;
    rig.renew("m1");
    // The lease of the second ends in the sweep of this renewal, and the rebalance grants its symbol afterwards.
    rig.now = START + 1_000 + TTL;
    let Answer::MakerRenewed { holdings_index, .. } = rig.renew("m1") else { panic!() };
    assert_eq!(story(&rig.events).last().unwrap(), "BBB granted to m1 at 3");
    assert!(first < second && second < holdings_index && holdings_index < rig.index());
    assert_eq!(rig.ledger.maker(&maker("m1")).unwrap().holdings_index, rig.index());

    // A move that ends in the sweep of a renewal is told by it.
    rig.join("m2");
    rig.now += TTL - 1;
    rig.renew("m1");
    rig.renew("m2");
    rig.now += 1;
    let Answer::MakerRenewed { holdings_index, .. } = rig.renew("m1") else { panic!() };
    assert_eq!(story(&rig.events)[0], "BBB ended for m1: MoveDeadline");
    assert_eq!(holdings_index, rig.index());
}

#[test]
fn leases_and_makers_have_bounds() {
    let mut rig = Rig::new();
    for ttl_ms in [0, LEASE_TTL_MIN_MS - 1, LEASE_TTL_MAX_MS + 1, u64::MAX] {
        assert!(matches!(rig.refused(register("m", ttl_ms)), Refusal::Invalid { .. }));
    }
    for number in 0..MAKERS_MAX {
        rig.ok(register(&format!("m{number}"), LEASE_TTL_MAX_MS));
    }
    let full = Refusal::Full { what: "makers".to_owned(), max: MAKERS_MAX as u64 };
    assert_eq!(rig.refused(register("one-more", TTL)), full);
    // A name that is registered makes room for itself.
    rig.ok(register("m0", TTL));
}

#[test]
fn a_term_gives_leases_grace_once_and_quotes_none() {
    let mut rig = Rig::with_symbols(&["AAA", "BBB"]);
    rig.join("m1");
    rig.join("m2");
    rig.place("AAA", 10);
    rig.now = START + TTL + 5_000;
    rig.begin_term(3, true);
    // Both leases had run out; what moved, moves; the quote's own deadline stands.
    assert_eq!(story(&rig.events)[..2], ["m1 renewed", "m2 renewed"]);
    assert_eq!(story(&rig.events)[2..4], ["BBB ended for m1: MoveDeadline", "BBB granted to m2 at 2"]);
    let last = Event::TermBegan { term: 3, graced: 2, quotes_pulled: false, clock_jump_ms: 0 };
    assert_eq!(rig.events.last(), Some(&last));
    let deadline = rig.ledger.maker(&maker("m1")).unwrap().deadline;
    assert_eq!(deadline, Millis(rig.now + TTL));
    assert!(rig.state("AAA").quote.is_some());

    rig.now += 1_000;
    for term in [3, 2] {
        rig.begin_term(term, false);
        assert!(rig.events.is_empty(), "a term begins once");
    }
    assert_eq!(rig.ledger.term(), 3);
    rig.begin_term(4, false);
    assert_eq!(story(&rig.events)[2], "AAA quote ended: AgeUnproven");
    let last = Event::TermBegan { term: 4, graced: 2, quotes_pulled: true, clock_jump_ms: 0 };
    assert_eq!(rig.events.last(), Some(&last));
}

#[test]
fn moves_that_the_sweep_did_not_reach_have_ended_all_the_same() {
    let mut rig = Rig::new();
    let names: Vec<String> = (0..4 * SWEEP_MAX).map(|number| format!("S{number:04}")).collect();
    for name in &names {
        rig.define(name, 1);
    }
    rig.join("m1");
    rig.join("m2");
    rig.now += 1_000;
    rig.renew("m1");
    rig.renew("m2");
    let last = names.last().unwrap().clone();
    assert_eq!(rig.moving_to(&last), Some("m2"));
    // Twice as many moves are due as one apply sweeps.
    rig.now = START + TTL;
    let quote = rig.quote(&last, 1);
    let expired = Refusal::AuthorityExpired { symbol: symbol(&last), deadline: Millis(START + TTL) };
    assert_eq!(rig.refused(Command::PlaceQuote(quote)), expired);
    assert_eq!(rig.moving_to(&last), Some("m2"));
    assert_eq!(rig.ledger.next_deadline(), Some(Millis(START + TTL)));
}

#[test]
fn a_rebalance_does_not_bring_ended_authority_back_to_life() {
    let mut rig = Rig::new();
    let names: Vec<String> = (0..4 * SWEEP_MAX).map(|number| format!("S{number:04}")).collect();
    for name in &names {
        rig.define(name, 1);
    }
    rig.join("m1");
    rig.join("m2");
    rig.now += 1_000;
    rig.renew("m1");
    rig.renew("m2");
    rig.now = START + TTL;
    rig.leave("m2");
    // Half of what moved was swept before m2 left; the other half ends for m1 and begins anew.
    let last = names.last().unwrap();
    assert_eq!(rig.holder(last), Some("m1"));
    assert_eq!(rig.state(last).epoch, 2);
    assert!(story(&rig.events).contains(&format!("{last} ended for m1: MoveDeadline")));
}
