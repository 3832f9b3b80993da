//! Opening and closing the file: verified as a whole, and of the right node of the right cluster.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use redb::{Builder, Database, DatabaseError, ReadableDatabase, StorageBackend, TableError};
use serde::{Deserialize, Serialize};

use crate::{
    error::{DamagedRecord, OpenError, StorageFailed, no_panic, redb_io},
    preflight::{self, Device},
    record::{CHUNKS, FRAMES, LOG, META, key, open_meta, seal_meta},
    storage::StorageOptions,
    writer,
};

/// The format of what this program writes.
const FORMAT: u32 = 2;

/// The first record of a file.
#[derive(Serialize, Deserialize)]
struct Header {
    format: u32,
    cluster_id: String,
    node_id: u64,
    store_id: u128,
}

/// redb's handle. Closing it writes, and on a damaged file redb may panic there.
pub(crate) struct OpenDatabase {
    database: Option<Database>,
    store_id: u128,
}

impl OpenDatabase {
    /// Opens or creates the store on a device: verified, and of the right node.
    pub(crate) fn open(backend: impl StorageBackend, options: &StorageOptions) -> Result<Self, OpenError> {
        let device = Device(Arc::new(backend));
        preflight::prepare(&device)?;
        let mut opened = Self { database: Some(open_database(device, options.cache_bytes)?), store_id: 0 };
        opened.store_id = check_header(opened.get()?, options)?;
        Ok(opened)
    }

    /// The random name that the store was given when it was created.
    pub(crate) fn store_id(&self) -> u128 {
        self.store_id
    }

    pub(crate) fn get(&self) -> io::Result<&Database> {
        self.database.as_ref().ok_or_else(|| StorageFailed::closed().into())
    }
}

impl Drop for OpenDatabase {
    fn drop(&mut self) {
        let database = self.database.take();
        let closed = no_panic(|| {
            drop(database);
            Ok(())
        });
        if let Err(error) = closed {
            tracing::error!(%error, "the store was not closed cleanly");
        }
    }
}

/// Opens the file with redb and makes sure that all of it verifies.
fn open_database(device: Device, cache_bytes: usize) -> Result<Database, OpenError> {
    let repaired = Arc::new(AtomicBool::new(false));
    let opened = no_panic(|| {
        let walked = Arc::clone(&repaired);
        let mut database = match Builder::new()
            .set_cache_size(cache_bytes)
            .set_repair_callback(move |_| walked.store(true, Ordering::Relaxed))
            .create_with_backend(device)
        {
            Ok(database) => database,
            Err(error) => return Ok(Err(open_error(error))),
        };
        // After a crash redb has walked through the file already, and has verified every page.
        if !repaired.load(Ordering::Relaxed) {
            match database.check_integrity() {
                Ok(true) => {}
                Ok(false) => tracing::warn!("the store's bookkeeping of free pages was rebuilt; its data is whole"),
                Err(error) => return Ok(Err(open_error(error))),
            }
        }
        Ok(Ok(database))
    });
    // redb asserts on some kinds of damage.
    opened.unwrap_or_else(|panic| Err(OpenError::Damaged(panic.to_string())))
}

pub(crate) fn open_error(error: DatabaseError) -> OpenError {
    match error {
        DatabaseError::DatabaseAlreadyOpen => OpenError::InUse,
        DatabaseError::Storage(redb::StorageError::Io(error)) if error.kind() != io::ErrorKind::InvalidData => {
            OpenError::Io(error)
        }
        other => OpenError::Damaged(other.to_string()),
    }
}

pub(crate) fn damaged_or_io(error: io::Error) -> OpenError {
    if error.kind() == io::ErrorKind::InvalidData {
        OpenError::Damaged(error.to_string())
    } else {
        OpenError::Io(error)
    }
}

/// Compares the header record with what this node is; writes it, and the tables, into a new file. Answers the
/// store's id.
fn check_header(database: &Database, options: &StorageOptions) -> Result<u128, OpenError> {
    let Some(header) = no_panic(|| read_header(database)).map_err(damaged_or_io)? else {
        no_panic(|| write_header(database, options))?;
        return Ok(options.new_store_id);
    };
    if header.format != FORMAT {
        return Err(OpenError::WrongFormat { found: header.format, expected: FORMAT });
    }
    if header.cluster_id != options.cluster_id {
        return Err(OpenError::WrongCluster { found: header.cluster_id, expected: options.cluster_id.clone() });
    }
    if header.node_id != options.node_id {
        return Err(OpenError::WrongNode { found: header.node_id, expected: options.node_id });
    }
    Ok(header.store_id)
}

fn read_header(database: &Database) -> io::Result<Option<Header>> {
    let transaction = database.begin_read().map_err(redb_io)?;
    let meta = match transaction.open_table(META) {
        Ok(meta) => meta,
        Err(TableError::TableDoesNotExist(_)) => return Ok(None),
        Err(error) => return Err(redb_io(error)),
    };
    // Tables and header come in one transaction, so tables without a header are damage.
    let stored = meta.get(key::HEADER).map_err(redb_io)?;
    let stored = stored.ok_or_else(|| DamagedRecord::io("meta", key::HEADER, "missing"))?;
    let bytes = open_meta(key::HEADER, stored.value())?;
    postcard::from_bytes(bytes).map(Some).map_err(|_| DamagedRecord::io("meta", key::HEADER, "unreadable"))
}

fn write_header(database: &Database, options: &StorageOptions) -> io::Result<()> {
    let header = Header {
        format: FORMAT,
        cluster_id: options.cluster_id.clone(),
        node_id: options.node_id,
        store_id: options.new_store_id,
    };
    let header = postcard::to_stdvec(&header).map_err(io::Error::other)?;
    let transaction = writer::begin(database)?;
    {
        let mut meta = transaction.open_table(META).map_err(redb_io)?;
        meta.insert(key::HEADER, seal_meta(key::HEADER, &header).as_slice()).map_err(redb_io)?;
        for kind in [LOG, FRAMES, CHUNKS] {
            transaction.open_table(kind.table).map_err(redb_io)?;
        }
    }
    transaction.commit().map_err(redb_io)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_does_not_change() {
        let header = Header { format: FORMAT, cluster_id: "abc".into(), node_id: 300, store_id: 257 };
        assert_eq!(postcard::to_stdvec(&header).unwrap(), [2, 3, b'a', b'b', b'c', 0xAC, 0x02, 0x81, 0x02]);
    }
}
