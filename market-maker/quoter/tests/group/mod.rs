//! Three quoters around one real ledger, under a network and clocks that a seed decides. Every output
//! of every quoter is judged as it comes; nothing here shares code with the quoter beyond its types.

mod actions;
mod makers;
mod watch;

pub(crate) use actions::Action;
pub(crate) use makers::{Group, Setup};
