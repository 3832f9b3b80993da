//! A quoter, and what it did.

use std::time::Duration;

use quorate_domain::{Millis, Money, Position, Price, Qty, Side, Symbol};
use quorate_ledger::{
    Answer, Command, Digest, Event, FillCommitted, FilledMaker, Frame, KeepQuote, Outcome, PlaceQuote, QuoteCause,
    Reference, Refusal, Response, Secret,
};
use quorate_quoter::{
    Answered, Belief, CommandId, Config, Input, Observed, Output, Priced, Quoter, Snapshot, SymbolSnapshot,
};
use quorate_strategy::FixedSpread;

pub(crate) const INCARNATION: u64 = 5;
pub(crate) const SECRET: Secret = Secret([7; 32]);

pub(crate) struct Maker {
    pub(crate) quoter: Quoter,
    pub(crate) now: Duration,
    pub(crate) submitted: Vec<(CommandId, Command)>,
    pub(crate) beliefs: Vec<Belief>,
    pub(crate) priced: Vec<Priced>,
    pub(crate) reads: Vec<u64>,
    pub(crate) left: bool,
}

pub(crate) fn symbol() -> Symbol {
    "A".parse().unwrap()
}

pub(crate) fn config() -> Config {
    let mut config = Config::new("m".parse().unwrap(), SECRET, FixedSpread::new(5, 10, 100, 20).unwrap());
    config.tolerance_ticks = 3;
    config
}

/// The registration at index 5, in which it is granted the symbol.
pub(crate) fn registered() -> Answer {
    Answer::MakerRegistered { incarnation: INCARNATION, deadline: Millis(0), holdings_index: INCARNATION }
}

pub(crate) fn renewed(holdings_index: u64) -> Answer {
    Answer::MakerRenewed { deadline: Millis(0), holdings_index }
}

/// The quote was kept.
pub(crate) fn kept() -> Answer {
    Answer::QuoteKept { deadline: Millis(0) }
}

/// The symbol was granted to this maker.
pub(crate) fn granted(symbol: &str, epoch: u64) -> Event {
    let (symbol, maker) = (symbol.parse().unwrap(), "m".parse().unwrap());
    Event::AuthorityGranted { symbol, maker, incarnation: INCARNATION, epoch }
}

/// The price of the symbol, in ticks, told with an age of so many milliseconds.
pub(crate) fn aged(ticks: i64, age: u64) -> Input {
    let (source, price) = ("feed".parse().unwrap(), Price(ticks).into());
    let reference = Reference { source, price, seq: 1, time: Millis(1) };
    Input::References(vec![Observed { symbol: symbol(), reference, age: ms(age) }])
}

pub(crate) fn fresh(ticks: i64) -> Input {
    aged(ticks, 0)
}

pub(crate) fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A symbol without fills and without a quote.
pub(crate) fn read_of(symbol: &str, epoch: u64, incarnation: Option<u64>) -> SymbolSnapshot {
    let (symbol, position_seq, position) = (symbol.parse().unwrap(), 0, Position(0));
    SymbolSnapshot { symbol, position_seq, position, epoch, incarnation, moving: false, quote: None }
}

impl Maker {
    pub(crate) fn new() -> Self {
        let quoter = Quoter::new(config()).unwrap();
        Self { quoter, now: ms(1_000), submitted: vec![], beliefs: vec![], priced: vec![], reads: vec![], left: false }
    }

    /// Registered, with the state read, a reference price of 1,000 and no quote yet.
    pub(crate) fn holding() -> Self {
        let mut maker = Self::new();
        maker.give(Input::Timer);
        maker.give(fresh(1_000));
        let (register, command) = maker.submitted.remove(0);
        assert!(matches!(command, Command::RegisterMaker(_)));
        maker.accept(register, INCARNATION, registered());
        assert!(maker.submitted.is_empty(), "nothing is placed before the state was read");
        maker.read(6);
        maker.commit(6);
        maker
    }

    /// Its parameters, which it commits, are accepted.
    pub(crate) fn commit(&mut self, index: u64) {
        let (commit, command) = self.only();
        assert!(matches!(command, Command::CommitParameters(_)));
        self.accept(commit, index, Answer::ParametersCommitted { digest: Digest::default() });
    }

    /// The same, with its first quote accepted.
    pub(crate) fn quoting() -> Self {
        let mut maker = Self::holding();
        let (id, place) = maker.placed();
        assert_eq!(place.cause, QuoteCause::AuthorityGained);
        maker.accept_quote(id, 7);
        assert!(maker.submitted.is_empty());
        maker
    }

    pub(crate) fn give(&mut self, input: Input) {
        for output in self.quoter.handle(self.now, input) {
            match output {
                Output::Submit { id, command } => self.submitted.push((id, command)),
                Output::Read(id) => self.reads.push(id),
                Output::Belief(belief) => self.beliefs.push(belief),
                Output::Priced(_, priced) => self.priced.push(priced),
                Output::WakeAt(_) => {}
                Output::Left => self.left = true,
            }
        }
    }

    pub(crate) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.now = (self.now + ms(100)).min(end);
            self.give(fresh(1_000));
        }
    }

    /// Renewals that were sent are accepted.
    pub(crate) fn renew(&mut self) {
        while let Some(at) = self.submitted.iter().position(|(_, command)| matches!(command, Command::RenewMaker(_))) {
            let (id, _) = self.submitted.remove(at);
            self.accept(id, 7, renewed(INCARNATION));
        }
    }

    /// Time passes until it renews: the one renewal that it sends.
    pub(crate) fn renewal(&mut self) -> CommandId {
        self.pass(ms(3_000));
        self.submitted.retain(|(_, command)| matches!(command, Command::RenewMaker(_)));
        self.only().0
    }

    /// Until when it believes to hold its one symbol.
    pub(crate) fn believes_until(&self) -> Option<Duration> {
        self.quoter.beliefs().map(|belief| belief.until).next()
    }

    pub(crate) fn accept(&mut self, id: CommandId, index: u64, answer: Answer) {
        self.respond(id, index, Outcome::Accepted(answer));
    }

    pub(crate) fn refuse(&mut self, id: CommandId, index: u64, refusal: Refusal) {
        self.respond(id, index, Outcome::Refused(refusal));
    }

    pub(crate) fn respond(&mut self, id: CommandId, index: u64, outcome: Outcome) {
        let response = Response { index, log_time: Millis(0), outcome };
        self.give(Input::Answered { id, answer: Answered::Response(response) });
    }

    pub(crate) fn accept_quote(&mut self, id: CommandId, index: u64) {
        let (bid_qty, ask_qty) = (Qty(10), Qty(10));
        self.accept(
            id,
            index,
            Answer::QuotePlaced { quote_id: index, bid_qty, ask_qty, reduced: false, deadline: Millis(0) },
        );
    }

    /// The last read that was asked for is answered: it holds the symbol.
    pub(crate) fn read(&mut self, index: u64) {
        self.read_symbols(index, vec![read_of("A", 1, Some(INCARNATION))]);
    }

    pub(crate) fn read_symbols(&mut self, index: u64, symbols: Vec<SymbolSnapshot>) {
        let snapshot = Snapshot { index, symbols, quoting: true, ..Snapshot::default() };
        let id = *self.reads.last().unwrap();
        self.give(Input::Snapshot { id, snapshot });
    }

    pub(crate) fn frame(&mut self, index: u64, events: Vec<Event>) {
        self.give(Input::Frame(Frame { index, log_time: Millis(0), chain: Digest::default(), events }));
    }

    pub(crate) fn fill(&mut self, index: u64, position: i64, position_seq: u64) {
        let maker = FilledMaker::Quote {
            quote_id: 7,
            maker: "m".parse().unwrap(),
            epoch: 1,
            leaves: Qty(1),
            position: Position(position),
            position_seq,
        };
        let fill = FillCommitted {
            taker_fee: Money::ZERO,
            maker_fee: Money::ZERO,
            trade_id: position_seq,
            symbol: symbol(),
            price: Price(995),
            qty: Qty(1),
            notional: Money(995),
            taker_order_id: index,
            taker_side: Side::Sell,
            maker,
        };
        self.frame(index, vec![Event::FillCommitted(fill)]);
    }

    /// The one command submitted since the last look, which places a quote.
    pub(crate) fn placed(&mut self) -> (CommandId, PlaceQuote) {
        match self.only() {
            (id, Command::PlaceQuote(place)) => (id, place),
            other => panic!("not a quote: {other:?}"),
        }
    }

    /// The one command submitted since the last look, which keeps a quote.
    pub(crate) fn kept(&mut self) -> (CommandId, KeepQuote) {
        match self.only() {
            (id, Command::KeepQuote(keep)) => (id, keep),
            other => panic!("no quote is kept: {other:?}"),
        }
    }

    /// Time passes until it keeps its quote.
    pub(crate) fn refresh(&mut self) -> (CommandId, KeepQuote) {
        self.pass(ms(4_100));
        self.renew();
        self.kept()
    }

    pub(crate) fn only(&mut self) -> (CommandId, Command) {
        assert_eq!(self.submitted.len(), 1, "{:?}", self.submitted);
        self.submitted.remove(0)
    }
}
