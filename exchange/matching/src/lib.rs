//! The exchange's brain, without I/O: a deterministic state machine. Requests, answers and frames go
//! in, proposals and replies come out; see [`Engine`].
//!
//! - `mirror`: committed state as the ledger's frames tell it.
//! - `planner`: one order against the mirror and the plans still in flight.
//! - `orders`, `cancels`: what callers ask, and what they are told.
//! - `flight`: what is in flight, what is in doubt, and how each is settled.
//! - `engine`: the front, and the state that these share.
//!
//! Invariants: nothing is reported as filled before it is committed; nothing is reported as refused
//! that may still be executed; of one order at most one plan is in flight; every queue is bounded.
//! What is absent, as the manifest shows: tokio, clocks, randomness, I/O. Time enters as the log time
//! that the process estimates.

mod cancels;
mod engine;
mod flight;
mod mirror;
mod orders;
mod planner;
mod types;

pub use engine::Engine;
pub use types::*;
