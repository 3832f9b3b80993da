//! Names by the million: 5,000 fresh ones a second of log time for three times as long as a name is known, alone and
//! beside an account that floods. Too long for every day:
//! `cargo test --release -p quorate-ledger --test names_flood -- --ignored --nocapture`

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic, and says on stdout what it measured")]

use std::time::Duration;

use quorate_domain::*;
use quorate_ledger::{
    bounds::{NAME_MEMORY_MS, NAMES_MAX},
    *,
};

const START: u64 = 1_700_000_000_000;
/// Of log time.
const PER_MS: u64 = 5;
const WINDOWS: u64 = 3;
/// Fresh ledgers, and milliseconds on each.
const EMPTY: u32 = 20;
const EMPTY_MS: u64 = 1_000;
/// What a name may take of memory, with all that finds it. The record is 64 bytes.
const BYTES_MAX: u64 = 256;

struct Venue {
    ledger: Ledger,
    /// What readers hold, as a node publishes it: the next apply copies what it changes.
    published: Ledger,
    now: u64,
    session: u64,
    seq: u64,
    exchange_epoch: u64,
    names: u64,
}

impl Venue {
    fn open() -> Self {
        let ledger = Ledger::new();
        let published = ledger.clone();
        let mut venue = Self { ledger, published, now: START, session: 0, seq: 0, exchange_epoch: 0, names: 0 };
        venue.send(Command::OpenSession);
        venue.session = venue.ledger.last_index();
        let size: Decimal = "0.01".parse().unwrap();
        let instrument = Instrument::spot("BASE".parse().unwrap(), "QUOTE".parse().unwrap(), size, size, 1);
        venue.send(Command::DefineSymbol(DefineSymbol { symbol: symbol(), instrument }));
        venue.send(Command::RegisterExchange(RegisterExchange { exchange: "venue".parse().unwrap() }));
        venue.exchange_epoch = venue.ledger.last_index();
        venue
    }

    fn send(&mut self, command: Command) -> Outcome {
        self.seq += 1;
        let input = Input::Client(Envelope { session: self.session, seq: self.seq, command });
        self.ledger.apply(self.ledger.last_index() + 1, Millis(self.now), &input).0.outcome
    }

    /// An order of a fresh name, that closes at once; whether it was taken.
    fn order(&mut self, account: &Account) -> bool {
        self.names += 1;
        let exec_id = self.ledger.exchange().unwrap().last_exec_id(&symbol()) + 1;
        let order = NewOrder {
            account: account.clone(),
            client_order_id: ClientOrderId::new(&format!("order-{}", self.names)).unwrap(),
            symbol: symbol(),
            side: Side::Buy,
            order_type: OrderType::Limit,
            time_in_force: TimeInForce::Ioc,
            price: Some(Price(10)),
            qty: Qty(1),
            timestamp: Millis(self.now),
        };
        let execute = ExecuteOrder {
            exchange_epoch: self.exchange_epoch,
            exec_id,
            answered_below: exec_id,
            also_answered: None,
            revision: 1,
            deadline: Millis(self.now + 1_000),
            order,
            fills: Vec::new(),
            remainder: Remainder::Expire,
        };
        match self.send(Command::ExecuteOrder(execute)) {
            Outcome::Accepted(_) => true,
            Outcome::Refused(Refusal::NamesFull { account: refused, .. }) => {
                assert_eq!(refused, *account);
                false
            }
            Outcome::Refused(other) => panic!("{other}"),
        }
    }

    /// A millisecond: this many orders of each account; how many were refused, of each.
    fn millisecond<const N: usize>(&mut self, flows: [(&Account, u64); N]) -> [u64; N] {
        self.now += 1;
        let refused = flows.map(|(account, orders)| (0..orders).map(|_| u64::from(!self.order(account))).sum::<u64>());
        self.published = self.ledger.clone();
        refused
    }

    /// Time per apply, of so many milliseconds of the flow alone, none of it refused.
    fn flow(&mut self, account: &Account, milliseconds: u64) -> Duration {
        let begun = busy();
        for _ in 0..milliseconds {
            assert_eq!(self.millisecond([(account, PER_MS)]), [0]);
        }
        each(begun, milliseconds * PER_MS)
    }
}

fn symbol() -> Symbol {
    Symbol::new("BTCUSDT").unwrap()
}

fn account(name: &str) -> Account {
    Account::new(name).unwrap()
}

/// How long this thread was on a processor: what others do there does not count.
fn busy() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
}

fn each(begun: Duration, applies: u64) -> Duration {
    (busy() - begun) / u32::try_from(applies).unwrap()
}

/// What an apply takes where nothing was there before, over some fresh ledgers.
fn on_empty_ledgers(account: &Account) -> Duration {
    let flows = (0..EMPTY).map(|_| Venue::open().flow(account, EMPTY_MS));
    flows.sum::<Duration>() / EMPTY
}

/// Resident memory of this process, in bytes.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1_024
}

fn mib(bytes: u64) -> u64 {
    bytes >> 20
}

/// What the names take, held below [`BYTES_MAX`] each.
fn memory(venue: &Venue, before: u64) -> String {
    let (names, taken) = (venue.ledger.name_count() as u64, resident().saturating_sub(before));
    let each = taken / names;
    assert!(each <= BYTES_MAX, "a name takes {each} bytes");
    format!("{names} names take {} MiB, {each} bytes each", mib(taken))
}

#[test]
#[ignore = "minutes long, and needs a release build"]
fn five_thousand_fresh_names_a_second_are_never_refused() {
    let (flow, flood) = (account("flow"), account("flood"));
    let before = resident();
    let mut venue = Venue::open();
    let empty = on_empty_ledgers(&flow);
    for window in 1..=WINDOWS {
        let apply = venue.flow(&flow, NAME_MEMORY_MS);
        println!(
            "window {window}: none refused, {apply:?} an apply, {:.2} times that of an empty ledger ({empty:?}); {}",
            apply.as_secs_f64() / empty.as_secs_f64(),
            memory(&venue, before)
        );
        assert_eq!(venue.ledger.name_count() as u64, NAME_MEMORY_MS * PER_MS, "the sweep keeps up");
    }
    // An account that floods comes when the other is away, and takes what it may.
    let mut refused = 0;
    for _ in 0..NAME_MEMORY_MS {
        let [flooding] = venue.millisecond([(&flood, 4 * PER_MS)]);
        refused += flooding;
    }
    let held = venue.ledger.names_of(&flood);
    println!("the account that floods holds {held} names, {refused} orders of its were refused");
    assert_eq!(held, NAMES_MAX / 2);
    let mut refused = 0;
    let begun = busy();
    for _ in 0..WINDOWS * NAME_MEMORY_MS {
        let [flowing, flooding] = venue.millisecond([(&flow, PER_MS), (&flood, 2 * PER_MS)]);
        assert_eq!(flowing, 0, "refused beside {} names of the account that floods", venue.ledger.names_of(&flood));
        refused += flooding;
    }
    let apply = each(begun, WINDOWS * NAME_MEMORY_MS * 3 * PER_MS);
    let orders = WINDOWS * NAME_MEMORY_MS * PER_MS;
    println!(
        "beside it {orders} orders, none refused, and {refused} of its {} were; {apply:?} an apply, {:.2} times that of an empty ledger; {}",
        2 * orders,
        apply.as_secs_f64() / empty.as_secs_f64(),
        memory(&venue, before)
    );
    assert!(refused > 0);

    let begun = busy();
    let bytes = venue.ledger.encode();
    let encoded = busy() - begun;
    let begun = busy();
    let restored = Ledger::decode(&bytes).unwrap();
    println!(
        "a snapshot has {} MiB: {encoded:?} to write, {:?} to read and audit",
        mib(bytes.len() as u64),
        busy() - begun
    );
    assert_eq!(restored.name_count(), venue.ledger.name_count());
    assert_eq!(restored.audit(), []);
}
