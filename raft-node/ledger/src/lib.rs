//! The replicated state machine: positions, authority, quotes, exposure, orders. Commands in, answers
//! and events out.
//!
//! Invariants: [`Ledger::apply`] is synchronous, total and deterministic: no clock, no randomness, no
//! float, no I/O, no iteration in hash order. `docs/ledger.md` gives its rules. This crate's manifest
//! shows what is absent: tokio, openraft, rand.

pub mod bounds;

mod answer;
mod command;
mod decimal;
mod event;
mod names;
mod numbers;

pub use answer::*;
pub use command::*;
pub use decimal::InvalidDecimal;
pub use event::*;
pub use names::*;
pub use numbers::*;
