//! The flow: external orders, generated or recorded, sent through the exchange's API.
//!
//! Invariant: an order is in the journal, on disk, before it is first sent, and no order is ever sent
//! under two names; whatever happens to this process or to the exchange, each has one effect at most,
//! and what became of it is found out or reported as unknown.
//!
//! # Code map
//! [`config`] checks what the process is told; [`run()`] paces and bounds; `random` and `replay` make
//! orders; `desk` keeps the order of steps, `delivery` sees one order through, `venue` makes one call;
//! [`journal`] is the evidence, with its format; [`summary`] counts.

pub mod config;
pub mod journal;
pub mod summary;

mod delivery;
mod desk;
mod order;
mod progress;
mod random;
mod replay;
mod run;
mod venue;

pub use config::{Config, Settings};
pub use run::{Failure, PublishError, run};
