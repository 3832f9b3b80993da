//! The makers: processes that quote the symbols they hold, and hold nothing that cannot be lost.
//!
//! All decisions are [`quorate_quoter::Quoter`]'s, which is pure; this crate carries its inputs and
//! outputs. Invariant: a belief that ended is on record before any command is sent that rests on it.
//!
//! # Code map
//! [`config`] checks what the process is told at its start; [`live`] is the loop of the live maker;
//! `group` carries commands and reads, `market` the reference prices; [`beliefs`] is the journal of what
//! the maker believed to hold, evidence for others to judge; `report` counts, for the log.

pub mod beliefs;
pub mod config;
pub mod live;

mod group;
mod market;
mod report;

pub use config::{LiveConfig, LiveSettings};
pub use live::{new_secret, run};
