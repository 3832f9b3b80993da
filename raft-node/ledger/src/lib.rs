//! The replicated state machine: positions, authority, quotes, exposure, orders. Commands in, answers
//! and events out.
//!
//! Invariants: [`Ledger::apply`] is synchronous, total and deterministic: no clock, no randomness, no
//! float, no I/O, no iteration in hash order. `docs/ledger.md` gives its rules. This crate's manifest
//! shows what is absent: tokio, openraft, rand.

pub mod bounds;

mod answer;
mod apply;
mod audit;
mod authority;
mod command;
mod control;
mod decimal;
mod event;
mod exposure;
mod fill;
mod indexes;
mod ledger;
mod names;
mod numbers;
mod order;
mod plan;
mod quote;
mod rebalance;
mod session;
mod snapshot;
mod state;
mod sweep;
mod symbol;
#[cfg(test)]
mod tests;

pub use answer::*;
pub use audit::Violation;
pub use command::*;
pub use decimal::InvalidDecimal;
pub use event::*;
pub use ledger::{LEDGER_VERSION, Ledger, UnsupportedVersion};
pub use names::*;
pub use numbers::*;
pub use snapshot::DecodeError;
pub use state::{Control, Exchange, Holder, Maker, Move, Order, Quote, QuoteLeg, Sides, SymbolState};
