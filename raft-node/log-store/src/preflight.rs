//! A look at the file's first bytes before redb opens it. redb trusts two of them that a crash or a
//! flipped bit may have left wrong:
//!
//! - A file whose creation was cut short before its first commit does not open. Nothing was ever
//!   acknowledged from it, so it is emptied.
//! - The bit that names the current commit slot has no checksum. Flipped at rest, it would serve the
//!   commit before the last one. So where the other slot is newer (which a crash between the two
//!   phases of a commit also leaves) and everything it reaches verifies, it becomes the current one: it
//!   is either the last acknowledged commit, or one that was whole and merely not yet acknowledged. The
//!   slot that it replaces must be sound too: a flipped bit in its number would make the other look newer.
//!
//! Invariant: no acknowledged commit is ever given up here. The layout is that of redb's file format 3,
//! whose stability redb promises.

use std::{
    collections::BTreeMap,
    io,
    ops::Bound,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use redb::{BackendError, Builder, StorageBackend};

use crate::error::{OpenError, no_panic};

const MAGIC: [u8; 9] = *b"redb\x1A\x0A\xA9\x0D\x0A";
const FLAGS: usize = MAGIC.len();
const PRIMARY: u8 = 1;
const RECOVERY_REQUIRED: u8 = 2;
const TWO_PHASE: u8 = 4;
const SLOTS: [usize; 2] = [64, 192];
const USER_ROOT_PRESENT: usize = 1;
const TRANSACTION_ID: usize = 104;
const HEADER_LEN: usize = 320;
const PAGE_BYTES: usize = 4096;
const PAGE: u64 = PAGE_BYTES as u64;
const TRIAL_CACHE_BYTES: usize = 1 << 20;

/// A backend that several holders share: redb gets one, the preflight keeps one.
#[derive(Debug, Clone)]
pub(crate) struct Device(pub(crate) Arc<dyn StorageBackend>);

impl StorageBackend for Device {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read(offset, out)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write(offset, data)
    }
    fn close(&self) -> io::Result<()> {
        self.0.close()
    }
    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.try_lock_range(start, end)
    }
    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.try_lock_shared_range(start, end)
    }
    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.lock_range(start, end)
    }
    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.lock_shared_range(start, end)
    }
    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.unlock_range(start, end)
    }
    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.query_lock_range(start, end)
    }
}

/// Makes the file's first bytes fit for redb, under the file's lock.
pub(crate) fn prepare(device: &Device) -> Result<(), OpenError> {
    let locked = match device.try_lock_range(Bound::Unbounded, Bound::Unbounded) {
        Ok(true) => true,
        Ok(false) => return Err(OpenError::InUse),
        Err(BackendError::Unsupported) => false,
        Err(error) => return Err(OpenError::Io(error.into())),
    };
    let prepared = examine(device);
    if locked {
        device.unlock_range(Bound::Unbounded, Bound::Unbounded).map_err(io::Error::from)?;
    }
    Ok(prepared?)
}

fn examine(device: &Device) -> io::Result<()> {
    let len = device.len()?;
    if len == 0 {
        return Ok(());
    }
    let mut header = [0; HEADER_LEN];
    let present = HEADER_LEN.min(usize::try_from(len).unwrap_or(HEADER_LEN));
    device.read(0, &mut header[..present])?;
    let flags = header[FLAGS];
    let current = SLOTS[usize::from(flags & PRIMARY)];
    let other = SLOTS[usize::from(flags & PRIMARY == 0)];
    let never_committed = if header.starts_with(&MAGIC) {
        // Two facts, so that no single flipped bit makes a store in use look new.
        transaction_id(&header, current) == 0 && header[current + USER_ROOT_PRESENT] == 0
    } else {
        // Written last, so it is cut short or missing; data pages come only after it is on the disk.
        let written = header.iter().zip(MAGIC).take_while(|(byte, expected)| **byte == *expected).count();
        header[written..MAGIC.len()].iter().all(|byte| *byte == 0) && is_zero_from(device, PAGE, len)?
    };
    if never_committed {
        tracing::warn!("the store was never committed to: creating it anew");
        device.set_len(0)?;
        return device.sync_data();
    }
    let newest = transaction_id(&header, other);
    if flags & TWO_PHASE != 0
        && newest > transaction_id(&header, current)
        && try_open(device, flags | RECOVERY_REQUIRED).is_ok()
        // By the rules of one phase redb falls back to the current slot unless all of the newer one is
        // sound; what it falls back to, or goes on from, shows in the number of its repair.
        && try_open(device, (flags ^ PRIMARY | RECOVERY_REQUIRED) & !TWO_PHASE).is_ok_and(|id| id > newest)
    {
        tracing::warn!("the store's newest commit is whole but not current: making it current");
        device.write(FLAGS as u64, &[flags ^ PRIMARY])?;
        device.sync_data()?;
    }
    Ok(())
}

fn transaction_id(header: &[u8; HEADER_LEN], slot: usize) -> u64 {
    let mut id = [0; 8];
    id.copy_from_slice(&header[slot + TRANSACTION_ID..][..8]);
    u64::from_le_bytes(id)
}

fn is_zero_from(device: &Device, mut offset: u64, len: u64) -> io::Result<bool> {
    let mut block = vec![0; 1 << 16];
    while offset < len {
        let count = block.len().min(usize::try_from(len - offset).unwrap_or(usize::MAX));
        device.read(offset, &mut block[..count])?;
        if block[..count].iter().any(|byte| *byte != 0) {
            return Ok(false);
        }
        offset += count as u64;
    }
    Ok(true)
}

/// Opens the file as it would be with these flags, all of it verified, and returns the number of the
/// commit that the opening ends with. Nothing is written to the file.
fn try_open(device: &Device, flags: u8) -> io::Result<u64> {
    no_panic(|| {
        let overlay = Device(Arc::new(Overlay::new(device.clone())?));
        overlay.write(FLAGS as u64, &[flags])?;
        let mut builder = Builder::new();
        let opened = builder.set_cache_size(TRIAL_CACHE_BYTES).create_with_backend(overlay.clone());
        let _database = opened.map_err(io::Error::other)?;
        let mut header = [0; HEADER_LEN];
        overlay.read(0, &mut header)?;
        Ok(transaction_id(&header, SLOTS[usize::from(header[FLAGS] & PRIMARY)]))
    })
}

/// A view of a device that keeps what is written to itself.
#[derive(Debug)]
struct Overlay {
    base: Device,
    base_len: u64,
    len: AtomicU64,
    pages: Mutex<BTreeMap<u64, Vec<u8>>>,
}

impl Overlay {
    fn new(base: Device) -> io::Result<Self> {
        let base_len = base.len()?;
        Ok(Self { base, base_len, len: AtomicU64::new(base_len), pages: Mutex::default() })
    }

    fn base_page(&self, page: u64) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; PAGE_BYTES];
        let start = page * PAGE;
        if start < self.base_len {
            let count = usize::try_from(PAGE.min(self.base_len - start)).map_err(io::Error::other)?;
            self.base.read(start, &mut bytes[..count])?;
        }
        Ok(bytes)
    }
}

/// The parts of `[offset, offset + len)` by page: (page, start within it, start within the range, count).
fn by_page(offset: u64, len: usize) -> impl Iterator<Item = (u64, usize, usize, usize)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        (done < len).then(|| {
            let at = offset + done as u64;
            let within = usize::try_from(at % PAGE).unwrap_or(0);
            let count = (len - done).min(PAGE_BYTES - within);
            let part = (at / PAGE, within, done, count);
            done += count;
            part
        })
    })
}

impl StorageBackend for Overlay {
    fn len(&self) -> io::Result<u64> {
        Ok(self.len.load(Ordering::Relaxed))
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        for (page, within, done, count) in by_page(offset, out.len()) {
            let target = &mut out[done..done + count];
            match pages.get(&page) {
                Some(bytes) => target.copy_from_slice(&bytes[within..within + count]),
                None => target.copy_from_slice(&self.base_page(page)?[within..within + count]),
            }
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.len.store(len, Ordering::Relaxed);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        for (page, within, done, count) in by_page(offset, data.len()) {
            if let std::collections::btree_map::Entry::Vacant(vacant) = pages.entry(page) {
                vacant.insert(self.base_page(page)?);
            }
            let bytes = pages.entry(page).or_default();
            bytes[within..within + count].copy_from_slice(&data[done..done + count]);
        }
        Ok(())
    }
}
