//! The exchange over a real ledger in memory, called through its router: what callers are told, and what is true.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends there")]

mod accounts;
mod codes;
mod doubt;
mod fuzz;
mod halt;
mod ledger;
mod life;
mod limits;
mod orders;
mod prices;
mod process;
mod self_trade;
mod symbols;
mod world;
