//! The disk of a Raft node, over redb: log, vote, committed index, snapshot, event history.
//!
//! # In short
//! ```no_run
//! # use std::sync::Arc;
//! # use quorate_log_store::{LogStore, OpenError, Storage, StorageOptions, WriterMode};
//! # use quorate_seams::SystemClocks;
//! # fn random_bits() -> u128 { 7 }
//! # fn open<C: openraft::RaftTypeConfig>() -> Result<(), Box<dyn std::error::Error>> where C::Entry: Clone {
//! let clocks = Arc::new(SystemClocks::new());
//! let options = StorageOptions::new("cluster", 1, random_bits(), WriterMode::Thread, clocks);
//! let storage = Storage::open_file("data/raft.redb", options)?; // or Storage::open(backend, options)
//! let log = LogStore::<C>::new(&storage)?; // RaftLogStorage + RaftLogReader, for openraft
//! # Ok(()) }
//! ```
//! - Snapshot: [`Storage::save_snapshot`], [`Storage::install_snapshot`] (with the whole history),
//!   [`Storage::load_snapshot`].
//! - History: [`Storage::put_frames`], [`Storage::read_frames`], [`Storage::prune_frames_below`],
//!   [`Storage::first_frame_index`], [`Storage::history_base`].
//! - The node's verdict on its own state: [`Storage::save_verdict`], [`Storage::load_verdict`].
//! - Life: [`Storage::failed`] (the node stops when it resolves), [`Storage::flush`],
//!   [`Storage::close`], [`Storage::metrics`].
//!
//! # What holds
//! - One writer. What waits is put into one transaction, in order, and committed in two phases with
//!   fsync; only then does anybody hear of success. The committed index, purges and frames wait for the
//!   next commit of something that cannot wait, or for [`Storage::flush`] or [`Storage::close`].
//! - What waits for another commit holds no place in the queue, no message takes all of it, and closing needs none: so
//!   nobody waits for anything but the disk. At most 64 MiB and one larger message are on the way.
//! - The log is never cut below what was saved as committed, purged, or put into the history: the store fails instead.
//! - After the first error nothing succeeds any more, reads included. Nothing panics.
//! - Every record carries a checksum over table, key and value, checked at every read; and the whole
//!   file is verified at every opening. Damage is an error that names the place, never data. (A frame
//!   that is hidden by damage done to an open file is missed at the next opening, not at a read; an
//!   entry of the log is missed at once.)
//! - A file belongs to one node of one cluster, and to one process at a time.
//!
//! It must not know what is in entries, snapshots, frames and verdicts.
//!
//! # Failpoints
//! Passed once for each change of the kind: `log.append.before_commit`, `log.append.after_commit`,
//! `log.vote.before_commit`, `log.vote.after_commit`, `log.truncate.before_commit`,
//! `log.truncate.after_commit`, `log.purge.before_commit`, `log.purge.after_commit`,
//! `snapshot.save.before_commit`, `snapshot.save.after_commit`, `snapshot.install.before_commit`,
//! `snapshot.install.after_commit`, `verdict.save.before_commit`, `verdict.save.after_commit`.

mod error;
mod failure;
mod history;
mod log;
mod metrics;
mod opening;
mod preflight;
mod record;
#[cfg(feature = "sim-disk")]
pub mod sim_disk;
mod snapshot;
mod storage;
mod verdict;
mod writer;

pub use error::{CutBelowCommitted, DamagedRecord, OpenError, StorageFailed};
pub use history::History;
pub use log::LogStore;
pub use metrics::StorageMetrics;
pub use snapshot::StoredSnapshot;
pub use storage::{Storage, StorageOptions, WriterMode};
