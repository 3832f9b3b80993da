//! What can go wrong with the store, one type per operation. None of these is retried: a store that
//! failed stays failed until the process is started again.

use std::{fmt, io, sync::Arc};

/// Why a store cannot be opened. Nothing was changed in the file.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another handle or process holds the file.
    #[error("the store is in use: stop the other process that holds it, or choose another data directory")]
    InUse,
    /// The file belongs to another cluster.
    #[error(
        "the store belongs to cluster '{found}', this node to '{expected}': choose the right data directory or cluster id"
    )]
    WrongCluster {
        /// The cluster id in the file.
        found: String,
        /// The cluster id of this node.
        expected: String,
    },
    /// The file belongs to another node.
    #[error(
        "the store belongs to node {found}, this is node {expected}: choose the right data directory; a node id is never used again with an empty or another node's store"
    )]
    WrongNode {
        /// The node id in the file.
        found: u64,
        /// The id of this node.
        expected: u64,
    },
    /// The file has a format this program does not read.
    #[error("the store has format {found}, this program reads format {expected}: run the program that wrote it")]
    WrongFormat {
        /// The format in the file.
        found: u32,
        /// The format of this program.
        expected: u32,
    },
    /// The file is damaged.
    #[error(
        "the store is damaged: {0}; keep the file for inspection, remove this node from the group, and let it join again under a new id with an empty store"
    )]
    Damaged(String),
    /// The device or the operating system refused.
    #[error("cannot open the store: {0}")]
    Io(#[from] io::Error),
}

/// The store has failed, or was closed. It never carries on: what waits and whatever comes later gets
/// this error.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error("the store stopped: {cause}")]
pub struct StorageFailed {
    cause: Arc<str>,
}

impl fmt::Debug for StorageFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StorageFailed({})", self.cause)
    }
}

impl StorageFailed {
    pub(crate) fn new(cause: impl fmt::Display) -> Self {
        Self { cause: cause.to_string().into() }
    }

    /// As `error` says it, with what is to be done about it.
    pub(crate) fn of(error: &io::Error) -> Self {
        if error.get_ref().is_some_and(|cause| cause.is::<CutBelowCommitted>()) {
            return Self::new(error);
        }
        Self::new(format_args!("{error}: check the disk, then start again"))
    }

    pub(crate) fn closed() -> Self {
        Self::new("it was closed")
    }
}

impl From<StorageFailed> for io::Error {
    fn from(failed: StorageFailed) -> Self {
        Self::other(failed)
    }
}

/// The log was to be cut below what is known to be committed. Nothing was cut.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the leader's log differs from this node's at index {from}, although this node knows that everything up to index \
     {committed} is committed: nothing was cut off. The members do not hold the history of one group, because one of \
     them lost its data directory or was given an older, a copied or another group's one. Keep this node's data. Find \
     the members whose data was emptied, replaced or set back, stop them, and go on with those that hold index \
     {committed}"
)]
pub struct CutBelowCommitted {
    /// The first index that would have been removed.
    pub from: u64,
    /// The last index that is known to be committed.
    pub committed: u64,
}

impl From<CutBelowCommitted> for io::Error {
    fn from(refused: CutBelowCommitted) -> Self {
        Self::other(refused)
    }
}

/// A record whose checksum does not match its bytes. It is never served.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("damaged record in table '{table}' under key {key}: {what}")]
pub struct DamagedRecord {
    /// The table's name.
    pub table: &'static str,
    /// The record's key, as text.
    pub key: String,
    /// What does not hold.
    pub what: &'static str,
}

impl DamagedRecord {
    pub(crate) fn io(table: &'static str, key: impl fmt::Display, what: &'static str) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidData, Self { table, key: key.to_string(), what })
    }
}

/// Turns any of redb's errors into an I/O error that keeps its text.
pub(crate) fn redb_io(error: impl Into<redb::Error>) -> io::Error {
    match error.into() {
        redb::Error::Io(error) => error,
        other => io::Error::other(other),
    }
}

/// Runs `work`, turning a panic of the layers below (redb asserts on damaged pages) into an error.
pub(crate) fn no_panic<T>(work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("unknown");
        Err(io::Error::other(format!("the database engine panicked: {text}")))
    })
}
