//! How old a reference price may be, and what a symbol without one is worth.

use quorate_domain::Price;
use quorate_ledger::{Answer, Command, QuoteCause};
use quorate_quoter::{Input, Priced};

use crate::maker::{INCARNATION, Maker, aged, fresh, kept, ms, registered};

/// Whoever asks however often: the age of a price is that of its source's last word.
#[test]
fn a_price_that_its_source_no_longer_confirms_is_pulled_however_often_it_is_told() {
    let mut maker = Maker::quoting();
    let (mut index, mut age) = (8, 0);
    let pull = loop {
        maker.now += ms(100);
        age += 100;
        maker.give(aged(1_000, age));
        maker.renew();
        match maker.submitted.pop() {
            Some((id, Command::PullQuote(_))) => break id,
            Some((id, Command::KeepQuote(_))) => {
                maker.accept(id, index, kept());
                index += 1;
            }
            _ => assert!(age <= 5_100, "still quoting at an age of {age} ms"),
        }
    };
    assert_eq!((age, &maker.priced[..]), (5_100, &[Priced::Stale { age: ms(5_100) }][..]));
    maker.accept(pull, index, Answer::QuotePulled { quote_id: Some(7) });
    // Nothing is placed on it again, and nothing more is said.
    for _ in 0..100 {
        maker.now += ms(100);
        age += 100;
        maker.give(aged(1_000, age));
        maker.renew();
    }
    assert_eq!((maker.submitted.len(), maker.priced.len()), (0, 1));
    assert_eq!((maker.quoter.status().stale, maker.quoter.status().oldest_price), (1, Some(ms(age))));
    // The same price once more, confirmed: it quotes at once.
    maker.give(aged(1_000, 20));
    assert_eq!(maker.placed().1.bid.unwrap().price, Price(995));
    assert_eq!(maker.priced[1..], [Priced::Fresh]);
}

#[test]
fn a_price_that_is_too_old_when_it_is_first_told_is_never_quoted_on() {
    let mut maker = Maker::quoting();
    maker.give(aged(1_100, 5_001));
    let (id, command) = maker.only();
    assert!(matches!(command, Command::PullQuote(_)), "{command:?}");
    maker.accept(id, 8, Answer::QuotePulled { quote_id: Some(7) });
    maker.give(aged(1_100, 60_000));
    assert!(maker.submitted.is_empty());
    maker.give(aged(1_101, 4_000));
    assert_eq!(maker.placed().1.bid.unwrap().price, Price(1_096));
}

#[test]
fn a_price_that_returns_while_the_pull_is_under_way_is_quoted_at_once() {
    let mut maker = Maker::quoting();
    maker.give(aged(1_000, 6_000));
    let (id, command) = maker.only();
    assert!(matches!(command, Command::PullQuote(_)), "{command:?}");
    maker.give(fresh(1_000));
    maker.accept(id, 8, Answer::QuotePulled { quote_id: Some(7) });
    assert_eq!(maker.placed().1.cause, QuoteCause::ReferenceMoved);
}

#[test]
fn a_symbol_without_a_price_is_told_once_after_a_while() {
    let mut maker = Maker::new();
    maker.give(Input::Timer);
    let (register, _) = maker.submitted.remove(0);
    maker.accept(register, INCARNATION, registered());
    maker.read(6);
    for _ in 0..50 {
        maker.now += ms(100);
        maker.give(Input::References(vec![]));
        maker.renew();
    }
    assert_eq!(maker.priced, []);
    for _ in 0..50 {
        maker.now += ms(100);
        maker.give(Input::References(vec![]));
        maker.renew();
    }
    assert_eq!((&maker.priced[..], maker.quoter.status().unpriced), (&[Priced::Missing][..], 1));
    maker.give(fresh(1_000));
    assert_eq!(maker.priced[1..], [Priced::Fresh]);
    maker.commit(7);
    assert_eq!(maker.placed().1.ask.unwrap().price, Price(1_005));
}
