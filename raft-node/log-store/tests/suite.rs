//! openraft's own suite of storage cases, in both writer modes.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking, and prints its figures")]

mod common;

use std::{io, sync::Arc};

use common::{Config, Log, options};
use futures_util::{Stream, TryStreamExt};
use openraft::{
    EntryPayload, OptionalSend, RaftSnapshotBuilder, StorageError,
    entry::RaftEntry,
    storage::{EntryResponder, RaftStateMachine, Snapshot, SnapshotMeta},
    testing::log::{StoreBuilder, Suite},
    type_config::{
        TypeConfigExt,
        alias::{LogIdOf, SnapshotMetaOf, SnapshotOf, StoredMembershipOf},
    },
};
use quorate_log_store::{Storage, WriterMode, sim_disk::SimDisk};
use tempfile::TempDir;
use tokio::sync::Mutex;

/// A state machine that keeps the texts, and no more.
#[derive(Clone, Default)]
struct Texts(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    applied: Option<LogIdOf<Config>>,
    membership: StoredMembershipOf<Config>,
    texts: Vec<String>,
    snapshot: Option<(SnapshotMetaOf<Config>, Vec<u8>)>,
}

impl RaftSnapshotBuilder<Config> for Texts {
    type SnapshotData = Vec<u8>;

    async fn build_snapshot(&mut self) -> io::Result<SnapshotOf<Config, Vec<u8>>> {
        let mut state = self.0.lock().await;
        let meta = SnapshotMeta { last_log_id: state.applied, last_membership: state.membership.clone() };
        let payload = postcard::to_stdvec(&state.texts).unwrap();
        state.snapshot = Some((meta.clone(), payload.clone()));
        Ok(Snapshot { meta, snapshot: payload })
    }
}

impl RaftStateMachine<Config> for Texts {
    type SnapshotData = Vec<u8>;
    type SnapshotBuilder = Self;

    async fn applied_state(&mut self) -> io::Result<(Option<LogIdOf<Config>>, StoredMembershipOf<Config>)> {
        let state = self.0.lock().await;
        Ok((state.applied, state.membership.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<Config>>> + Unpin + OptionalSend,
    {
        let mut state = self.0.lock().await;
        while let Some((entry, responder)) = entries.try_next().await? {
            state.applied = Some(entry.log_id());
            match entry.payload {
                EntryPayload::Blank => {}
                EntryPayload::Normal(text) => state.texts.push(text),
                EntryPayload::Membership(membership) => {
                    state.membership = StoredMembershipOf::<Config>::new(Some(entry.log_id), membership);
                }
            }
            if let Some(responder) = responder {
                responder.send(String::new());
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Self {
        self.clone()
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMetaOf<Config>, snapshot: Vec<u8>) -> io::Result<()> {
        let mut state = self.0.lock().await;
        state.applied = meta.last_log_id;
        state.membership = meta.last_membership.clone();
        state.texts = postcard::from_bytes(&snapshot).map_err(io::Error::other)?;
        state.snapshot = Some((meta.clone(), snapshot));
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<SnapshotOf<Config, Vec<u8>>>> {
        let state = self.0.lock().await;
        Ok(state.snapshot.clone().map(|(meta, snapshot)| Snapshot { meta, snapshot }))
    }
}

/// Builds stores in files, written by a thread.
struct Files;

impl StoreBuilder<Config, Log, Texts, TempDir> for Files {
    async fn build(&self) -> Result<(TempDir, Log, Texts), StorageError<Config>> {
        let directory = TempDir::new().unwrap();
        let storage = Storage::open_file(directory.path().join("raft.redb"), options(WriterMode::Thread)).unwrap();
        Ok((directory, Log::new(&storage).unwrap(), Texts::default()))
    }
}

/// Builds stores on simulated disks, written inline; every read that it can goes to the disk.
struct Simulated;

impl StoreBuilder<Config, Log, Texts> for Simulated {
    async fn build(&self) -> Result<((), Log, Texts), StorageError<Config>> {
        let mut options = options(WriterMode::Inline);
        options.log_tail_bytes = 0;
        let storage = Storage::open(SimDisk::new(), options).unwrap();
        Ok(((), Log::new(&storage).unwrap(), Texts::default()))
    }
}

#[test]
fn the_suite_passes_with_a_writer_thread_on_files() {
    Config::run(async { Suite::test_all(Files).await.unwrap() });
}

#[test]
fn the_suite_passes_inline_on_a_simulated_disk() {
    Config::run(async { Suite::test_all(Simulated).await.unwrap() });
}
