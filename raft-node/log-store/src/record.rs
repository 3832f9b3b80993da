//! Tables and records: every value is stored with a CRC-32 over its table, key and bytes, and is read
//! back only through [`open`]. redb's own page checksums are not checked at a read.

use std::io;

use redb::TableDefinition;

use crate::error::DamagedRecord;

/// Log entries by index.
pub(crate) const LOG: Keyed = Keyed::new("log");
/// Event frames by log index.
pub(crate) const FRAMES: Keyed = Keyed::new("frames");
/// Pieces of the snapshot by position.
pub(crate) const CHUNKS: Keyed = Keyed::new("snapshot");
/// Single records by name.
pub(crate) const META: TableDefinition<'static, &str, &[u8]> = TableDefinition::new("meta");

/// Keys of [`META`]. They are persisted: never change one.
pub(crate) mod key {
    pub(crate) const HEADER: &str = "header";
    pub(crate) const VOTE: &str = "vote";
    pub(crate) const COMMITTED: &str = "committed";
    pub(crate) const PURGED: &str = "purged";
    pub(crate) const SNAPSHOT: &str = "snapshot";
    pub(crate) const HISTORY: &str = "history";
    pub(crate) const VERDICT: &str = "verdict";
}

const CRC_LEN: usize = 4;

/// A table with integer keys.
#[derive(Clone, Copy)]
pub(crate) struct Keyed {
    pub(crate) name: &'static str,
    pub(crate) table: TableDefinition<'static, u64, &'static [u8]>,
}

impl Keyed {
    const fn new(name: &'static str) -> Self {
        Self { name, table: TableDefinition::new(name) }
    }

    /// `value` as it is stored under `key`.
    pub(crate) fn seal(self, key: u64, value: &[u8]) -> Vec<u8> {
        seal(self.name, &key.to_le_bytes(), value)
    }

    /// The value within `stored`.
    pub(crate) fn open(self, key: u64, stored: &[u8]) -> io::Result<&[u8]> {
        open(self.name, &key.to_le_bytes(), stored).map_err(|what| DamagedRecord::io(self.name, key, what))
    }
}

/// `value` as it is stored in [`META`] under `key`.
pub(crate) fn seal_meta(key: &str, value: &[u8]) -> Vec<u8> {
    seal("meta", key.as_bytes(), value)
}

/// The value of a record of [`META`].
pub(crate) fn open_meta<'a>(key: &str, stored: &'a [u8]) -> io::Result<&'a [u8]> {
    open("meta", key.as_bytes(), stored).map_err(|what| DamagedRecord::io("meta", key, what))
}

fn crc(table: &str, key: &[u8], value: &[u8]) -> [u8; CRC_LEN] {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(table.as_bytes());
    hasher.update(key);
    hasher.update(value);
    hasher.finalize().to_le_bytes()
}

fn seal(table: &str, key: &[u8], value: &[u8]) -> Vec<u8> {
    let mut stored = Vec::with_capacity(value.len() + CRC_LEN);
    stored.extend_from_slice(value);
    stored.extend_from_slice(&crc(table, key, value));
    stored
}

fn open<'a>(table: &str, key: &[u8], stored: &'a [u8]) -> Result<&'a [u8], &'static str> {
    let Some((value, sum)) = stored.split_last_chunk::<CRC_LEN>() else { return Err("shorter than its checksum") };
    if *sum == crc(table, key, value) { Ok(value) } else { Err("its checksum does not match") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_pinned_to_its_table_key_and_bytes() {
        let stored = LOG.seal(7, b"entry");
        assert_eq!(LOG.open(7, &stored).unwrap(), b"entry");
        assert!(LOG.open(8, &stored).unwrap_err().to_string().contains("table 'log' under key 8"));
        assert!(FRAMES.open(7, &stored).is_err());
        for bit in 0..stored.len() * 8 {
            let mut flipped = stored.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(LOG.open(7, &flipped).is_err(), "bit {bit}");
        }
        for short in 0..CRC_LEN {
            assert!(LOG.open(7, &stored[..short]).is_err());
        }
    }

    #[test]
    fn the_stored_form_does_not_change() {
        assert_eq!(LOG.seal(1, b"ab"), [b'a', b'b', 73, 100, 140, 136], "golden bytes of a log record");
        assert_eq!(open_meta("vote", &seal_meta("vote", &[1, 2])).unwrap(), [1, 2]);
    }
}
