//! What a registration and its renewals are worth: nothing before it is known what is held.

use std::time::Duration;

use quorate_domain::Millis;
use quorate_ledger::{Command, Event, Refusal};
use quorate_quoter::{BeliefChange, Input};

use crate::maker::{INCARNATION, Maker, granted, ms, read_of, registered, renewed, symbol};

/// How long a lease of 9 s is believed in, from its sending.
const BELIEF: Duration = Duration::from_millis(9_000 - 900 - 100);

#[test]
fn a_belief_ends_by_the_own_clock_counted_from_the_sending() {
    let mut maker = Maker::quoting();
    let sent_at = ms(1_000);
    let until = sent_at + ms(9_000 - 900 - 100);
    assert_eq!(maker.beliefs[0].until, until);
    // Renewals go out at a third of the lease, and nobody answers.
    maker.pass(ms(3_000));
    let renewals = |maker: &Maker| maker.submitted.iter().filter(|(_, c)| matches!(c, Command::RenewMaker(_))).count();
    assert_eq!(renewals(&maker), 1);
    maker.pass(until - maker.now - ms(1));
    assert_eq!(maker.quoter.beliefs().count(), 1);
    maker.pass(ms(1));
    assert_eq!(maker.quoter.beliefs().count(), 0);
    let ended = maker.beliefs.last().unwrap();
    assert_eq!((ended.change, ended.until), (BeliefChange::Ended, until));
}

#[test]
fn a_renewal_counts_once_the_events_up_to_the_last_change_of_its_holdings_were_taken_in() {
    let mut maker = Maker::quoting();
    let (before, sent_at) = (maker.believes_until(), maker.now + ms(3_000));
    let renewal = maker.renewal();
    // Something that it holds changed at 9, and it knows the state as of 6.
    maker.accept(renewal, 20, renewed(9));
    assert_eq!(maker.believes_until(), before);
    for index in 7..9 {
        maker.frame(index, vec![]);
        assert_eq!(maker.believes_until(), before, "after the frame {index}");
    }
    maker.frame(9, vec![granted("B", 1)]);
    let beliefs: Vec<_> = maker.quoter.beliefs().map(|belief| (belief.symbol.as_str(), belief.until)).collect();
    assert_eq!(beliefs, [("A", sent_at + BELIEF), ("B", sent_at + BELIEF)]);
}

#[test]
fn a_renewal_counts_once_a_read_is_as_late_as_the_last_change_of_its_holdings() {
    let mut maker = Maker::quoting();
    let (before, sent_at, reads) = (maker.believes_until(), maker.now + ms(3_000), maker.reads.len());
    let renewal = maker.renewal();
    maker.accept(renewal, 20, renewed(9));
    assert_eq!(maker.reads.len(), reads + 1, "it asks once");
    maker.pass(ms(100));
    assert_eq!(maker.reads.len(), reads + 1, "it asks once");
    // A read that is too early asks for another.
    maker.read(8);
    assert_eq!((maker.believes_until(), maker.reads.len()), (before, reads + 2));
    maker.read(9);
    assert_eq!((maker.believes_until(), maker.reads.len()), (Some(sent_at + BELIEF), reads + 2));
}

#[test]
fn frames_after_a_gap_do_not_count_before_a_read_has_closed_it() {
    let mut maker = Maker::quoting();
    let before = maker.believes_until();
    let renewal = maker.renewal();
    maker.accept(renewal, 20, renewed(9));
    for index in [8, 9, 10] {
        maker.frame(index, vec![]);
        assert_eq!(maker.believes_until(), before, "the frame 7 is missing");
    }
    maker.read(7);
    assert!(maker.believes_until() > before);
}

/// Its symbol moves away, and it does not hear of that: however often it renews, it stops in time.
#[test]
fn renewals_whose_holdings_are_not_known_let_the_belief_end_where_it_ended_before() {
    let mut maker = Maker::quoting();
    let before = maker.believes_until().unwrap();
    while maker.now < before {
        assert_eq!(maker.believes_until(), Some(before));
        maker.now += ms(50);
        maker.give(Input::Timer);
        let renewals: Vec<_> =
            maker.submitted.iter().filter(|(_, c)| matches!(c, Command::RenewMaker(_))).map(|(id, _)| *id).collect();
        maker.submitted.clear();
        renewals.into_iter().for_each(|id| maker.accept(id, 20, renewed(9)));
    }
    assert_eq!(maker.believes_until(), None);
    let ended = maker.beliefs.last().unwrap();
    assert_eq!((ended.change, ended.until), (BeliefChange::Ended, before));
    // Then it hears, and gives the symbol up.
    for index in 7..9 {
        maker.frame(index, vec![]);
    }
    let (symbol, to) = (symbol(), Some("n".parse().unwrap()));
    maker.frame(9, vec![Event::AuthorityMoving { symbol, epoch: 1, to, until: Millis(9_000) }]);
    assert_eq!(maker.believes_until(), None);
    assert!(maker.submitted.iter().any(|(_, command)| matches!(command, Command::ReleaseSymbol(_))));
}

#[test]
fn nothing_is_believed_before_the_holdings_of_the_registration_are_known() {
    let registered_at_5 = || {
        let mut maker = Maker::new();
        maker.give(Input::Timer);
        let (register, _) = maker.only();
        // The read that it began with was made before it was registered.
        maker.read_symbols(4, vec![read_of("A", 0, None)]);
        maker.accept(register, INCARNATION, registered());
        assert_eq!((maker.believes_until(), maker.reads.len()), (None, 2));
        maker
    };
    let mut by_event = registered_at_5();
    by_event.frame(INCARNATION, vec![granted("A", 1)]);
    let mut by_read = registered_at_5();
    by_read.read(30);
    for maker in [by_event, by_read] {
        assert_eq!(maker.believes_until(), Some(maker.now + BELIEF));
    }
}

#[test]
fn an_older_event_than_a_read_counts_for_nothing() {
    let mut maker = Maker::new();
    maker.give(Input::Timer);
    let (register, _) = maker.only();
    maker.accept(register, INCARNATION, registered());
    maker.read_symbols(20, vec![read_of("B", 15, None)]);
    maker.frame(15, vec![granted("B", 15)]);
    assert_eq!(maker.quoter.beliefs().count(), 0);
    maker.frame(25, vec![granted("B", 25)]);
    assert_eq!(maker.quoter.beliefs().count(), 1);
}

/// A refusal names the present epoch, and that may be this maker's own: the grant is still to be heard.
#[test]
fn a_refusal_for_an_old_epoch_does_not_hide_the_grant_of_a_newer_one() {
    let mut maker = Maker::holding();
    let (id, _) = maker.placed();
    let (symbol, holder) = (symbol(), Some("m".parse().unwrap()));
    maker.refuse(id, 20, Refusal::StaleEpoch { symbol, epoch: 3, holder });
    assert_eq!(maker.quoter.beliefs().count(), 0);
    maker.frame(15, vec![granted("A", 3)]);
    assert_eq!(maker.quoter.beliefs().map(|belief| belief.epoch).collect::<Vec<_>>(), [3]);
}
