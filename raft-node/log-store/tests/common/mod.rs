//! What the tests of the store share.
#![allow(dead_code, reason = "each test binary uses its part")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

pub(crate) mod model;

use std::{io, sync::Arc};

use openraft::{
    EntryPayload, LogId, RaftTypeConfig,
    entry::RaftEntry,
    storage::{IOFlushed, RaftLogStorage},
    type_config::{TypeConfigExt, alias::LogIdOf},
};
use quorate_log_store::{LogStore, StorageOptions, WriterMode};
use quorate_seams::SystemClocks;

openraft::declare_raft_types!(
    /// The types of the tests: entries are text.
    pub(crate) Config: D = String, R = String
);

pub(crate) type Log = LogStore<Config>;
pub(crate) type Entry = <Config as RaftTypeConfig>::Entry;
pub(crate) type Vote = <Config as RaftTypeConfig>::Vote;
pub(crate) type Id = LogIdOf<Config>;

pub(crate) const CLUSTER: &str = "test";
pub(crate) const NODE: u64 = 1;

pub(crate) fn options(mode: WriterMode) -> StorageOptions {
    StorageOptions::new(CLUSTER, NODE, 1, mode, Arc::new(SystemClocks::new()))
}

pub(crate) fn id(term: u64, index: u64) -> Id {
    let leader = openraft::impls::leader_id_adv::LeaderId { term, node_id: NODE };
    LogId::new(leader, index)
}

pub(crate) fn entry(term: u64, index: u64, text: impl Into<String>) -> Entry {
    Entry::new(id(term, index), EntryPayload::Normal(text.into()))
}

/// Appends, and returns where the outcome will arrive.
pub(crate) async fn append(
    log: &mut Log,
    entries: Vec<Entry>,
) -> io::Result<impl Future<Output = io::Result<()>> + use<>> {
    let (sender, receiver) = Config::oneshot();
    log.append(entries, IOFlushed::signal(sender)).await?;
    Ok(async move { receiver.await.unwrap_or_else(|_| Err(io::Error::other("the callback was dropped"))) })
}

/// Appends, and waits until it is durable.
pub(crate) async fn append_durably(log: &mut Log, entries: Vec<Entry>) -> io::Result<()> {
    append(log, entries).await?.await
}

/// Runs on one thread, without time or I/O drivers: for the inline mode.
pub(crate) fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}
