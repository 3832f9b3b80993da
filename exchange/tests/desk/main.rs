//! The exchange over a real ledger in memory, called through its router: what callers are told, and what is true.

mod codes;
mod doubt;
mod fuzz;
mod ledger;
mod life;
mod orders;
mod process;
mod world;
