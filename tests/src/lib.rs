//! The proof: what starts real processes, hurts them, and judges what they left behind.
//!
//! Invariant: the judge shares the ledger's *types*, and none of its code. It replays the exported
//! events naively, and believes neither the nodes' own audits nor their positions.

pub mod beliefs;
pub mod chaos;
pub mod evidence;
pub mod fuzz;
pub mod harness;
pub mod history;
pub mod nemesis;
pub mod quotes;
pub mod replay;
pub mod schema;
