//! The bounds that are too large for a model that looks at everything: held against what must come out.

use quorate_domain::{Millis, OrderId, Price, Side};
use quorate_ledger::{
    Answer, CancelOrder, Command, Envelope, Event, ExecuteOrder, Input, Ledger, Outcome, Refusal, Remainder,
    bounds::OPEN_ORDERS_MAX,
};

use crate::script::{define, order, register_exchange};

const NOW: u64 = 1_700_000_000_000;

/// A ledger with one symbol and an exchange, and what is sent to it.
struct Venue {
    ledger: Ledger,
    index: u64,
    seq: u64,
    session: u64,
    exchange_epoch: u64,
    exec_id: u64,
}

impl Venue {
    fn open() -> Self {
        let mut venue = Self { ledger: Ledger::new(), index: 0, seq: 0, session: 0, exchange_epoch: 0, exec_id: 0 };
        venue.send(Command::OpenSession);
        (venue.session, venue.seq) = (venue.index, 0);
        venue.send(define("BTCUSDT", 1));
        venue.send(register_exchange());
        venue.exchange_epoch = venue.index;
        venue
    }

    fn send(&mut self, command: Command) -> Outcome {
        self.send_for_events(command).0
    }

    fn send_for_events(&mut self, command: Command) -> (Outcome, Vec<Event>) {
        self.index += 1;
        self.seq += 1;
        let input = Input::Client(Envelope { session: self.session, seq: self.seq, command });
        let (response, events) = self.ledger.apply(self.index, Millis(NOW), &input);
        (response.outcome, events)
    }

    fn order(&self, remainder: Remainder) -> ExecuteOrder {
        order(self.exchange_epoch, self.exec_id + 1, NOW, 10, None, remainder)
    }

    fn execute(&mut self, execute: ExecuteOrder) -> Result<OrderId, Refusal> {
        match self.send(Command::ExecuteOrder(execute)) {
            Outcome::Accepted(Answer::OrderExecuted(result)) => {
                self.exec_id += 1;
                Ok(result.order_id)
            }
            Outcome::Accepted(other) => panic!("{other:?}"),
            Outcome::Refused(refusal) => Err(refusal),
        }
    }

    fn clean(&self) {
        let violations: Vec<String> = self.ledger.audit().iter().map(ToString::to_string).collect();
        assert_eq!(violations, Vec::<String>::new());
    }
}

#[test]
fn open_orders_beyond_their_bound_are_refused_until_one_closes() {
    let mut venue = Venue::open();
    let mut last = 0;
    for _ in 0..OPEN_ORDERS_MAX {
        last = venue.execute(venue.order(Remainder::Rest)).unwrap();
    }
    let max = u64::try_from(OPEN_ORDERS_MAX).unwrap();
    let refused = venue.execute(venue.order(Remainder::Rest));
    assert!(matches!(&refused, Err(Refusal::Full { max: bound, .. }) if *bound == max), "{refused:?}");
    // One that does not rest needs no room, and one that crosses is told so first.
    venue.execute(venue.order(Remainder::Expire)).unwrap();
    let mut crossing = venue.order(Remainder::Rest);
    (crossing.order.side, crossing.order.price) = (Side::Sell, Some(Price(9)));
    let refused = venue.execute(crossing);
    assert!(matches!(refused, Err(Refusal::WouldCross { .. })), "{refused:?}");
    let account = venue.order(Remainder::Rest).order.account;
    let exchange_epoch = venue.exchange_epoch;
    venue.send(Command::CancelOrder(CancelOrder { exchange_epoch, account, order_id: last }));
    venue.execute(venue.order(Remainder::Rest)).unwrap();
    assert_eq!(venue.ledger.open_order_count(), OPEN_ORDERS_MAX);
    venue.clean();
}
