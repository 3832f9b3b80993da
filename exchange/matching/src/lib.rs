//! The exchange's brain, without I/O: a deterministic state machine. Requests, answers and frames go
//! in, proposals and replies come out; see [`Engine`].
//!
//! - `mirror`: committed state as the ledger's frames tell it.
//! - `requests`: what callers asked and have not been told.
//! - `pipeline`: one symbol's executions: waiting, in flight, in doubt, planned again.
//! - `habit`: how often its quote is replaced, and whether a plan against it waits for the next one.
//! - `planner`: one order against the mirror and the plans still in flight.
//! - `cancels`: cancels, waiting and in flight.
//! - `ticks`: prices of one revision in the ticks of another.
//! - `held`: how much of something each account holds.
//! - `engine`: the front; the results of one part become the inputs of the next. `lookup`: what is known of an order.
//!
//! Invariants: nothing is reported as filled before it is committed; nothing is reported as refused
//! that may still be executed; of one order at most one plan is in flight; every queue is bounded.
//! What is absent, as the manifest shows: tokio, clocks, randomness, I/O. Time enters as the log time
//! that the process estimates.

mod cancels;
mod engine;
mod habit;
mod held;
mod lookup;
mod mirror;
mod pipeline;
mod planner;
mod requests;
mod ticks;
mod types;

pub use engine::Engine;
pub use quorate_order_book::SelfTrade;
pub use types::*;
