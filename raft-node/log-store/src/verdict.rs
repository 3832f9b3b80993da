//! What the node has found out of its own state, compared with its peers': one opaque record, which neither a
//! snapshot nor anything else replaces.

use std::io;

use redb::{Database, ReadableDatabase};

use crate::{
    error::{StorageFailed, redb_io},
    record::{META, key, open_meta},
    storage::Storage,
    writer::Op,
};

impl Storage {
    /// Replaces the verdict; durable on return.
    ///
    /// # Errors
    /// [`StorageFailed`]: the store has stopped, and the former verdict may be the one on the disk.
    pub async fn save_verdict(&self, verdict: Vec<u8>) -> Result<(), StorageFailed> {
        self.send_and_wait(Op::Verdict(verdict)).await
    }

    /// The verdict that was saved last, if there ever was one. Blocks shortly: for the start.
    ///
    /// # Errors
    /// An I/O error, or a damaged record; the store has stopped then.
    pub fn load_verdict(&self) -> io::Result<Option<Vec<u8>>> {
        self.read_now(load)
    }
}

fn load(database: &Database) -> io::Result<Option<Vec<u8>>> {
    let transaction = database.begin_read().map_err(redb_io)?;
    let meta = transaction.open_table(META).map_err(redb_io)?;
    let Some(stored) = meta.get(key::VERDICT).map_err(redb_io)? else { return Ok(None) };
    open_meta(key::VERDICT, stored.value()).map(|verdict| Some(verdict.to_vec()))
}
