//! Entries written by hand for what is due but not yet swept: more falls due at once than one sweep
//! takes, and the last of it is used in the same apply.

use quorate_domain::{Exposure, Symbol};
use quorate_ledger::{
    Against, Command, ControlChange, ExecuteOrder, LeaderCommand, MakerRef, PullQuote, QuotingScope, RegisterMaker,
    ReleaseSymbol, Remainder,
};

use crate::{
    generate::Step,
    script::{SECRET, Script, control, order, register_exchange},
};

/// Of 72 symbols, 67 move to the 16 makers that join.
const SYMBOLS: usize = 72;
const JOINING: usize = 16;
/// The last to be swept.
const LAST: &str = "S071";

/// What falls due.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Due {
    /// Quotes.
    Quotes,
    /// Moves, to makers that stay.
    Moves,
    /// Moves, together with the leases of the makers they go to.
    MovesToNobody,
}

/// What is done in the apply that sweeps the first 64.
#[derive(Debug, Clone, Copy)]
enum Use {
    PlaceQuote,
    Fill,
    Rest,
    PullQuote,
    ReleaseSymbol,
    SetLimit,
    RenewHolder,
    DeregisterHolder,
    DeregisterDestination,
    Join,
    SetQuoting,
    BeginTerm,
}

const USES: [Use; 12] = [
    Use::PlaceQuote,
    Use::Fill,
    Use::Rest,
    Use::PullQuote,
    Use::ReleaseSymbol,
    Use::SetLimit,
    Use::RenewHolder,
    Use::DeregisterHolder,
    Use::DeregisterDestination,
    Use::Join,
    Use::SetQuoting,
    Use::BeginTerm,
];

/// Every use of what is due in each way, each in a list of its own.
pub(crate) fn uses_before_the_sweep() -> Vec<Vec<Step>> {
    let dues = [Due::Quotes, Due::Moves, Due::MovesToNobody];
    dues.into_iter().flat_map(|due| USES.map(|done| use_before_the_sweep(due, done))).collect()
}

/// A quote under an authority that has ended: the one way to `AuthorityExpired`.
pub(crate) fn quote_before_the_sweep() -> Vec<Step> {
    use_before_the_sweep(Due::Moves, Use::PlaceQuote)
}

fn symbols() -> impl DoubleEndedIterator<Item = String> {
    (0..SYMBOLS).map(|n| format!("S{n:03}"))
}

/// Quotes of `ask` lots on the last `quoted` symbols, and everything due; with the holder.
fn fall_due(script: &mut Script, due: Due, quoted: usize, ask: i64) -> MakerRef {
    for symbol in symbols() {
        script.define(&symbol);
    }
    let ada = script.register("ada", 60_000);
    for symbol in symbols() {
        script.commit(&Symbol::new(&symbol).unwrap());
    }
    match due {
        Due::Quotes => {
            for symbol in symbols().take(64) {
                script.quote(&symbol, Some(1), None, 10_000);
            }
            script.now += 1;
        }
        Due::Moves | Due::MovesToNobody => {
            script.now += if matches!(due, Due::Moves) { 100 } else { 0 };
            let until = script.model.makers[&ada.maker].deadline.0;
            for n in 0..JOINING {
                script.register(&format!("j{n:02}"), 60_000);
            }
            script.now = until - 1;
            script.send(Command::RenewMaker(ada.clone()));
        }
    }
    for symbol in symbols().skip(SYMBOLS - quoted) {
        script.quote(&symbol, None, Some(ask), 10_000);
    }
    script.now += if matches!(due, Due::Quotes) { 10_000 } else { 1 };
    ada
}

fn use_before_the_sweep(due: Due, done: Use) -> Vec<Step> {
    let mut script = Script::with_session();
    let exchange = script.send(register_exchange());
    let ada = fall_due(&mut script, due, 67, 1);
    let symbol = Symbol::new(LAST).unwrap();
    let quote = script.model.symbols[&symbol].quote.clone().unwrap().id;
    let destination = script.model.symbols[&symbol].moving.clone().map_or(ada.maker.clone(), |(to, _)| to);
    let mut execute = order(exchange, 1, script.now, 11, Some(Against::Quote(quote)), Remainder::None);
    execute.order.symbol = symbol.clone();
    let command = match done {
        Use::PlaceQuote => Command::PlaceQuote(script.quote_of(LAST, Some(1), Some(100), 30_000)),
        Use::Fill => Command::ExecuteOrder(execute),
        Use::Rest => Command::ExecuteOrder(ExecuteOrder { fills: Vec::new(), remainder: Remainder::Rest, ..execute }),
        Use::PullQuote => Command::PullQuote(PullQuote { symbol, epoch: 1, secret: SECRET, quote_seq: 9 }),
        Use::ReleaseSymbol => Command::ReleaseSymbol(ReleaseSymbol { symbol, epoch: 1, secret: SECRET }),
        Use::SetLimit => control(0, ControlChange::ExposureLimit { limit: Exposure(3) }),
        Use::RenewHolder => Command::RenewMaker(ada),
        Use::DeregisterHolder => Command::DeregisterMaker(ada),
        Use::DeregisterDestination => {
            let incarnation = script.model.makers[&destination].incarnation;
            Command::DeregisterMaker(MakerRef { maker: destination, incarnation, secret: SECRET })
        }
        Use::Join => {
            let (maker, secret_hash) = ("new".parse().unwrap(), SECRET.hash());
            Command::RegisterMaker(RegisterMaker { maker, ttl_ms: 60_000, secret_hash })
        }
        Use::SetQuoting => control(0, ControlChange::Quoting { scope: QuotingScope::All, on: false }),
        Use::BeginTerm => {
            script.lead(LeaderCommand::BeginTerm { term: 1, quote_age_proven: false, clock_jump_ms: 0 });
            Command::RenewMaker(ada)
        }
    };
    script.send(command);
    script.lead(LeaderCommand::Tick);
    if script.model.symbols[&Symbol::new(LAST).unwrap()].holder.is_some() {
        script.quote(LAST, Some(1), Some(100), 30_000);
    }
    script.register("newer", 60_000);
    script.steps
}

/// Whether what is due but not yet swept still counts among those that demand exposure: three asks of 20
/// are left over, and another symbol asks for everything.
pub(crate) fn demand_before_the_sweep(due: Due) -> Vec<Step> {
    let mut script = Script::with_session();
    fall_due(&mut script, due, 3, 20);
    // Granted 40: below its share, and so remembered, only where the three are not counted.
    script.quote("S000", None, Some(100), 10_000);
    script.quote("S001", None, Some(100), 10_000);
    script.quote("S000", None, Some(1), 10_000);
    script.quote("S001", None, Some(100), 10_000);
    script.steps
}
