//! Starts real processes on free ports, hurts them, and leaves nothing behind.
//!
//! Invariant: every process that is started here is ended here, by its id, also when a test fails.

mod cluster;
mod events;
mod flow;
mod foreign;
mod process;
mod site;
mod trader;
mod wait;
mod writer;

pub use cluster::{Cluster, MakerOptions, Setup, cluster_dir, instrument};
pub use events::{Events, Heard, NoStream};
pub use flow::{Finished, Flow, Outcomes, Sent};
pub use foreign::Foreign;
pub use process::{Process, binary};
pub use site::{Site, Sites};
pub use trader::{Reply, Trader};
pub use wait::{eventually, within};
pub use writer::{Writer, Wrote};
