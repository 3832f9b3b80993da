//! The replicated state machine: positions, authority, quotes, exposure, orders. Commands in, answers
//! and events out.
//!
//! Invariants: [`Ledger::apply`] is synchronous, total and deterministic: no clock, no randomness, no
//! float, no I/O, no iteration in hash order. `docs/ledger.md` gives its rules. This crate's manifest
//! shows what is absent: tokio, openraft, rand.
//!
//! | where | what |
//! |---|---|
//! | `command`, `answer`, `refusal`, `event`, `digest`, `secret`, `bounds` | the words: what is proposed, answered, told |
//! | `ledger` | [`Ledger`]: what it lets others read |
//! | `state`, `indexes` | what is true, and what follows from it |
//! | `apply`, `sweep` | the steps of one apply; what time ends |
//! | `session`, `control`, `symbol` | exactly once; what people switch; definitions |
//! | `authority`, `rebalance` | leases, grants, moves; who is to hold what |
//! | `quote`, `sharing`, `turns` | quotes; the fair share of the limit; who waits, and whose turn it is |
//! | `accounts`, `equity` | what accounts have; what the house is worth, and the breakers on that |
//! | `marks`, `closing` | prices and the listing, as the exchange has them; how a symbol ends |
//! | `order`, `plan`, `fill` | orders: what identifies them, the checks of a plan, what a fill does |
//! | `names` | the names of orders, and what is kept of closed ones |
//! | `snapshot`, `maps`, `audit`, `audit_money` | the state as bytes; how maps are read; whether it adds up |

pub mod bounds;

mod accounts;
mod answer;
mod apply;
mod audit;
mod audit_money;
mod authority;
mod closing;
mod command;
mod control;
mod digest;
mod equity;
mod event;
mod fill;
mod indexes;
mod ledger;
mod maps;
mod marks;
mod names;
mod order;
mod plan;
mod quote;
mod rebalance;
mod refusal;
mod secret;
mod session;
mod sharing;
mod snapshot;
mod state;
mod sweep;
mod symbol;
#[cfg(test)]
mod tests;
mod turns;

pub use accounts::{AccountState, Balance};
pub use answer::*;
pub use audit::Violation;
pub use command::*;
pub use digest::Digest;
pub use event::*;
pub use ledger::{Equity, LEDGER_VERSION, Ledger, UnsupportedVersion};
pub use names::{ClosedOrder, KnownOrder, order_check};
pub use refusal::*;
pub use secret::*;
pub use snapshot::DecodeError;
pub use state::{
    Closed, Confirmation, Control, Demand, Exchange, Holder, Maker, Move, Order, Quote, QuoteLeg, SymbolState,
};
