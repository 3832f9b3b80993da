//! Recorded market data: captures of a venue's streams, read line by line.
//!
//! A capture is a file, plain or gzip, of lines `<local_ns> <JSON>`. [`CaptureLines`] reads messages as they were sent;
//! [`CaptureEvents`] makes stamped events of one symbol of them, in ticks and lots. A file that is not what it should be
//! is told by what is wrong with it, where, and what it holds instead.
//!
//! Invariants: the file is read once and never written; memory is bounded by the longest line that is taken
//! ([`LINE_MAX`]), whatever the file's length; the same bytes give the same events, warnings and errors.
//!
//! | where | what |
//! |---|---|
//! | `lines` | the lines of a file, and what to make of one that does not end as it should |
//! | `foreign` | what a file is that is no capture |
//! | `clock` | the recorder's times: their unit, and whether they are in order |
//! | `normalise` | a message of a venue as a market event |
//! | `events` | the events of one symbol |
//! | `summary` | what was read, and what was left out and why |

mod clock;
mod error;
mod events;
mod foreign;
mod lines;
mod normalise;
mod summary;

pub use clock::{TimeUnit, venue_ns};
pub use error::{CaptureError, Warning};
pub use events::{CaptureEvent, CaptureEvents, Settings};
pub use lines::{CaptureLines, LINE_MAX, Torn};
pub use normalise::{Normalised, OddLots, Unusable, Wrong, normalise};
pub use summary::{Skip, Summary};
