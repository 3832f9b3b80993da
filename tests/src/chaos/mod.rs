//! Minutes of composed faults against a cluster of real processes with live flow, and a report of them.
//!
//! Invariant: all that is decided by chance follows from the seed before the first process starts; what the processes
//! make of it is not repeatable, and is judged from what they leave behind. Nothing is judged by the processes' own
//! words alone.

mod checks;
mod load;
mod page;
mod report;
mod run;

pub use page::page;
pub use report::{Check, Outcomes, Report, Suffered};
pub use run::{Options, Shown, run};
