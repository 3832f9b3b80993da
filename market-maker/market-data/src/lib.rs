//! Market data as values: what happened at a venue and when, and the book that follows from it.
//!
//! Invariants: integers only (ticks, lots, half ticks), no clock, no randomness, no I/O, no panics; the same events give
//! the same book on every machine. What cannot be told exactly is an error, never rounded.
//!
//! | where | what |
//! |---|---|
//! | `event` | what a venue tells, stamped with two clocks |
//! | `scale` | decimals into ticks and lots |
//! | `sequence` | which update ids follow which, at Spot and at futures venues |
//! | `ladder` | one side of a book |
//! | `book` | the book of one symbol: synchronised, or waiting for a snapshot |

mod book;
mod event;
mod ladder;
mod scale;
mod sequence;

pub use book::{Applied, Bounds, L2Book, Levels, State};
pub use event::{Delta, Level, MarketEvent, Snapshot, Stamped, Top, Trade};
pub use scale::{OffGrid, Scale, ScaleError};
pub use sequence::{Follows, Gap, follows};
