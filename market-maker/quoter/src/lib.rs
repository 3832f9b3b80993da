//! The maker's loop without I/O: time, answers, events and reference prices in; commands, wake-ups and
//! beliefs out. The process around it ([`Quoter::handle`] is all it calls) only carries.
//!
//! Invariants, held by the property tests:
//! - Nothing is placed without a belief of authority, and a belief ends at its own deadline: the
//!   monotonic instant of *sending* the last renewal that counts, plus the lease, less a margin. A renewal
//!   counts once all that changed in the maker's holdings up to its `holdings_index` is known, by events
//!   or by a read. Nothing that the group or another maker does can make a belief last longer.
//! - One quote command (place or pull) is in flight per symbol; what happens meanwhile is merged, and
//!   the latest state wins.
//! - A quote is computed from the newest committed position seen, says which one, and says why it is
//!   placed and from which log index.
//! - Nothing is placed on a reference price that is invalid or older than it may be, and the age of a price is that
//!   of its source's last word, whoever asked when.
//! - While it can, a held symbol is quoted anew at least once in every refresh interval.
//! - After a pause it renews, then reads the state again, and only then places.
//!
//! It must not read a clock, draw a random number, or know of sockets: the manifest shows it. Knowledge
//! comes on several ways at once (answers, the event stream, reads) and in any order between them; each
//! piece carries its log index, and an older piece never overwrites a newer one.

mod actions;
mod answers;
mod authority;
mod config;
mod control;
mod events;
mod heard;
mod quoter;
mod symbol;
mod types;
mod venue;

pub use config::{Config, InvalidConfig, TOLERANCE_TICKS};
pub use quoter::{Quoter, Status};
pub use types::{
    Answered, Belief, BeliefChange, CommandId, Input, Observed, Output, Priced, ReadId, RestingOrder, Snapshot,
    SymbolSnapshot,
};
