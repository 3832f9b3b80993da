//! The words of trading, and the arithmetic that goes with them: what every part of the workspace means by a price, a
//! quantity, a side or a symbol.
//!
//! Invariants: integers only, and nothing that wraps; no clock, no randomness, no I/O, no runtime. Every other crate may
//! depend on this one, and this one on none of them.
//!
//! | where | what |
//! |---|---|
//! | `names` | names of symbols, assets, makers, exchanges, accounts and orders |
//! | `decimal` | exact decimals, for the edges |
//! | `numbers` | prices, quantities, positions, exposure, money, log time |
//! | `orders` | what an order is made of |
//! | `instrument` | what is traded |
//! | `exposure` | what a fill could cost |
//! | `sharing` | how one exposure limit is shared |
//! | `position_limit` | how far a position may go |
//! | `protection` | what a burst of fills does |
//! | `pnl`, `fees` | profit and loss, and what a fill costs |
//! | `band` | which mark counts |
//! | `drawdown` | the breaker on equity |

mod band;
mod decimal;
mod drawdown;
mod exposure;
mod fees;
mod instrument;
mod names;
mod numbers;
mod orders;
mod pnl;
mod position_limit;
mod protection;
pub mod sharing;

pub use band::*;
pub use decimal::*;
pub use drawdown::*;
pub use exposure::*;
pub use fees::*;
pub use instrument::*;
pub use names::*;
pub use numbers::*;
pub use orders::*;
pub use pnl::*;
pub use position_limit::*;
pub use protection::*;
