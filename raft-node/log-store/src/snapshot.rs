//! The one snapshot a node keeps: opaque metadata and an opaque payload, stored in pieces, replaced as a
//! whole in one transaction. A crash leaves the former one or the new one, never a mixture.

use std::io;

use bytes::Bytes;
use redb::{Database, ReadableDatabase};
use serde::{Deserialize, Serialize};

use crate::{
    error::{DamagedRecord, redb_io},
    history::{History, HistoryRecord},
    record::{CHUNKS, META, key, open_meta},
    storage::Storage,
    writer::Op,
};

use crate::error::StorageFailed;

/// Bytes of one piece.
pub(crate) const CHUNK_BYTES: usize = 64 << 10;

/// A snapshot as it was saved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredSnapshot {
    /// What the caller says about it.
    pub meta: Bytes,
    /// The snapshot itself.
    pub payload: Bytes,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct SnapshotRecord {
    pub(crate) meta: Vec<u8>,
    pub(crate) payload_len: u64,
    pub(crate) chunks: u64,
}

impl SnapshotRecord {
    pub(crate) fn encode(&self) -> io::Result<Vec<u8>> {
        postcard::to_stdvec(self).map_err(io::Error::other)
    }
}

impl Storage {
    /// Replaces the snapshot; durable on return. Purge the log it covers only then.
    ///
    /// # Errors
    /// [`StorageFailed`]: the store has stopped, and the former snapshot may be the one on the disk.
    pub async fn save_snapshot(&self, meta: Bytes, payload: Bytes) -> Result<(), StorageFailed> {
        self.send_and_wait(Op::Snapshot { meta, payload }).await
    }

    /// Replaces the snapshot and the whole event history in one transaction; durable on return.
    ///
    /// # Errors
    /// [`StorageFailed`]: the store has stopped, and both are the former ones or both are the new ones.
    pub async fn install_snapshot(&self, meta: Bytes, payload: Bytes, history: History) -> Result<(), StorageFailed> {
        let History { first_index, base, frames } = history;
        let last_index = frames.last().map(|(index, _)| *index);
        let (seq, generation) = self.history().begin_install();
        let record = HistoryRecord { first: first_index, generation, base: base.to_vec() };
        let op = Op::Install { meta, payload, frames, history: record.clone() };
        let storage = self.downgrade();
        self.send_and_wait_after(op, move || {
            if let Some(storage) = storage.upgrade() {
                storage.history().installed(seq, record, last_index);
            }
        })
        .await
    }

    /// The snapshot that was saved last.
    ///
    /// # Errors
    /// An I/O error, or a damaged record; the store has stopped then.
    pub async fn load_snapshot(&self) -> io::Result<Option<StoredSnapshot>> {
        self.read(load).await
    }
}

fn load(database: &Database) -> io::Result<Option<StoredSnapshot>> {
    let transaction = database.begin_read().map_err(redb_io)?;
    let meta = transaction.open_table(META).map_err(redb_io)?;
    let Some(stored) = meta.get(key::SNAPSHOT).map_err(redb_io)? else { return Ok(None) };
    let record = open_meta(key::SNAPSHOT, stored.value())?;
    let damaged = |what| DamagedRecord::io("meta", key::SNAPSHOT, what);
    let record: SnapshotRecord = postcard::from_bytes(record).map_err(|_| damaged("unreadable"))?;
    let len = usize::try_from(record.payload_len).map_err(|_| damaged("too long for this machine"))?;
    let mut payload = Vec::with_capacity(len);
    let chunks = transaction.open_table(CHUNKS.table).map_err(redb_io)?;
    for position in 0..record.chunks {
        let chunk = chunks.get(position).map_err(redb_io)?;
        let chunk = chunk.ok_or_else(|| DamagedRecord::io(CHUNKS.name, position, "missing"))?;
        payload.extend_from_slice(CHUNKS.open(position, chunk.value())?);
    }
    if payload.len() != len {
        return Err(damaged("its length is not that of its pieces"));
    }
    Ok(Some(StoredSnapshot { meta: record.meta.into(), payload: payload.into() }))
}
