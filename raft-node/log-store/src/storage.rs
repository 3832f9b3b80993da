//! The open store: the file, the writer that owns every change of it, and the way to read.

use std::{
    fmt, io,
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use quorate_planted::{Bug, planted};
use quorate_seams::{Clocks, Failpoints};
use redb::{Database, StorageBackend};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};

use crate::{
    error::{OpenError, StorageFailed, no_panic},
    failure::Failure,
    history::HistoryState,
    metrics::{Counters, StorageMetrics},
    opening::{OpenDatabase, damaged_or_io, open_error},
    writer::{Done, Message, Op, Writer},
};

/// Messages that may wait for the writer; who sends more waits.
const QUEUE_MESSAGES_MAX: usize = 1024;
/// Bytes that may be on the way to the disk, in units of [`QUEUE_UNIT_BYTES`].
const QUEUE_UNITS_MAX: u32 = 64 << 10;
/// The unit in which bytes on the way are counted.
const QUEUE_UNIT_BYTES: usize = 1 << 10;
/// Units that one message takes at most, however large it is: never all of them, and more than half, so that two
/// messages above the bound are not on the way together.
const MESSAGE_UNITS_MAX: u32 = QUEUE_UNITS_MAX / 4 * 3;
/// A message with more bytes than this takes no more units than this.
const MESSAGE_BYTES_MAX: usize = MESSAGE_UNITS_MAX as usize * QUEUE_UNIT_BYTES;
/// Whoever waits for a place in the queue for so long says so.
const LONG_WAIT: Duration = Duration::from_secs(5);

/// Where commits happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriterMode {
    /// On a thread of their own; reads on tokio's blocking threads. For production. The runtime must have timers.
    Thread,
    /// Inside the call, as are reads: one thread, deterministic. For simulation.
    Inline,
}

/// How to open a store.
#[derive(Debug, Clone)]
pub struct StorageOptions {
    /// The cluster the file must belong to; written into a new one.
    pub cluster_id: String,
    /// The node the file must belong to; written into a new one.
    pub node_id: u64,
    /// Random bits: the name of the store, if it is created now. See [`Storage::store_id`].
    pub new_store_id: u128,
    /// Where commits happen.
    pub mode: WriterMode,
    /// For the duration of commits in the metrics.
    pub clocks: Arc<dyn Clocks>,
    /// Named places where a test injects a fault.
    pub failpoints: Failpoints,
    /// redb's cache, in bytes. Its own default of 1 GiB would be most of a node's memory.
    pub cache_bytes: usize,
    /// Log entries kept in memory once they are durable, in bytes as encoded.
    pub log_tail_bytes: usize,
    /// Event frames kept in memory once they are durable, in bytes.
    pub frame_tail_bytes: usize,
}

impl StorageOptions {
    /// For a node of a cluster, with the bounds of production.
    #[must_use]
    pub fn new(
        cluster_id: impl Into<String>,
        node_id: u64,
        new_store_id: u128,
        mode: WriterMode,
        clocks: Arc<dyn Clocks>,
    ) -> Self {
        Self {
            cluster_id: cluster_id.into(),
            node_id,
            new_store_id,
            mode,
            clocks,
            failpoints: Failpoints::none(),
            cache_bytes: 12 << 20,
            log_tail_bytes: 16 << 20,
            frame_tail_bytes: 8 << 20,
        }
    }
}

/// A handle on the open store; clones share it.
#[derive(Clone)]
pub struct Storage(Arc<Inner>);

/// Does not keep the store open.
pub(crate) struct WeakStorage(Weak<Inner>);

struct Inner {
    store_id: u128,
    lane: Lane,
    mode: WriterMode,
    database: Mutex<Option<Arc<OpenDatabase>>>,
    failure: Arc<Failure>,
    counters: Arc<Counters>,
    history: Mutex<HistoryState>,
    log_tail_bytes: usize,
    log_taken: AtomicBool,
}

/// The way to the writer.
enum Lane {
    Thread { sender: mpsc::Sender<Message>, units: Arc<Semaphore>, thread: Mutex<Option<JoinHandle<()>>> },
    Inline(Mutex<Option<Writer>>),
}

impl fmt::Debug for Storage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Storage").field("mode", &self.0.mode).field("failure", &self.0.failure.get()).finish()
    }
}

impl WeakStorage {
    pub(crate) fn upgrade(&self) -> Option<Storage> {
        self.0.upgrade().map(Storage)
    }
}

/// A place in the writer's queue: sending to it cannot fail or wait.
pub(crate) enum Slot<'a> {
    Thread(mpsc::Permit<'a, Message>, Option<OwnedSemaphorePermit>),
    Inline(&'a Mutex<Option<Writer>>),
}

impl Slot<'_> {
    pub(crate) fn send(self, op: Op, done: Done) {
        match self {
            Self::Thread(place, permit) => place.send(Message { op, done, permit }),
            Self::Inline(writer) => match lock(writer).as_mut() {
                Some(writer) => writer.take(vec![Message { op, done, permit: None }]),
                None => done(Err(StorageFailed::closed())),
            },
        }
    }
}

impl Storage {
    /// Opens the store in the file at `path`, or creates it. The directory must exist. Blocks: call it
    /// before serving.
    ///
    /// # Errors
    /// [`OpenError`]; the file is unchanged then.
    pub fn open_file(path: impl AsRef<Path>, options: StorageOptions) -> Result<Self, OpenError> {
        let path = path.as_ref();
        let file = std::fs::OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        let backend = redb::backends::FileBackend::new(file).map_err(open_error)?;
        let storage = Self::open(backend, options)?;
        // The file's name must survive a power loss too.
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        std::fs::File::open(directory)?.sync_all()?;
        Ok(storage)
    }

    /// Opens the store on a device, or creates it on an empty one. Everything it holds is verified.
    ///
    /// # Errors
    /// [`OpenError`]; the device holds what it held then.
    pub fn open(backend: impl StorageBackend, options: StorageOptions) -> Result<Self, OpenError> {
        let database = Arc::new(OpenDatabase::open(backend, &options)?);
        let history =
            no_panic(|| HistoryState::load(database.get()?, options.frame_tail_bytes)).map_err(damaged_or_io)?;
        let (failure, counters) = (Arc::new(Failure::none()), Arc::new(Counters::default()));
        let writer = Writer::new(
            Arc::clone(&database),
            Arc::clone(&failure),
            Arc::clone(&counters),
            options.clocks,
            options.failpoints,
        );
        let lane = match options.mode {
            WriterMode::Inline => Lane::Inline(Mutex::new(Some(writer))),
            WriterMode::Thread => {
                let (sender, inbox) = mpsc::channel(QUEUE_MESSAGES_MAX);
                let thread = std::thread::Builder::new().name("log-writer".into()).spawn(|| writer.run(inbox))?;
                let units = Arc::new(Semaphore::new(QUEUE_UNITS_MAX as usize));
                Lane::Thread { sender, units, thread: Mutex::new(Some(thread)) }
            }
        };
        Ok(Self(Arc::new(Inner {
            store_id: database.store_id(),
            lane,
            mode: options.mode,
            database: Mutex::new(Some(database)),
            failure,
            counters,
            history: Mutex::new(history),
            log_tail_bytes: options.log_tail_bytes,
            log_taken: AtomicBool::new(false),
        })))
    }

    /// The random name that this store was given when it was created, whatever `new_store_id` says now.
    #[must_use]
    pub fn store_id(&self) -> u128 {
        self.0.store_id
    }

    /// The failure that stopped the store, once there is one: a node watches it, and stops.
    #[must_use]
    pub fn failure(&self) -> watch::Receiver<Option<StorageFailed>> {
        self.0.failure.watch()
    }

    /// Resolves when the store has failed, with the cause.
    pub async fn failed(&self) -> StorageFailed {
        let mut failure = self.failure();
        match failure.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(failed)) => failed.clone(),
            Ok(None) | Err(_) => StorageFailed::closed(),
        }
    }

    /// What the store has done since it was opened.
    #[must_use]
    pub fn metrics(&self) -> StorageMetrics {
        let mut metrics = self.0.counters.read();
        if let Lane::Thread { units, .. } = &self.0.lane {
            let taken = (QUEUE_UNITS_MAX as usize).saturating_sub(units.available_permits());
            metrics.queued_bytes = (taken * QUEUE_UNIT_BYTES) as u64;
        }
        metrics
    }

    /// Makes everything that was sent durable.
    ///
    /// # Errors
    /// [`StorageFailed`]: the store has stopped.
    pub async fn flush(&self) -> Result<(), StorageFailed> {
        self.send_and_wait(Op::Flush).await
    }

    /// Flushes, ends the writer, and lets go of the file. Every later call errs.
    ///
    /// # Errors
    /// [`StorageFailed`]: the store had stopped already, or could not flush.
    pub async fn close(&self) -> Result<(), StorageFailed> {
        let flushed = self.stop_writer().await;
        let database = lock(&self.0.database).take();
        match &self.0.lane {
            Lane::Thread { thread, .. } => {
                let thread = lock(thread).take();
                let ended = tokio::task::spawn_blocking(move || {
                    thread.map_or(Ok(()), JoinHandle::join).map_err(|_| StorageFailed::new("the writer panicked"))?;
                    drop(database);
                    Ok(())
                });
                ended.await.map_err(StorageFailed::new)??;
            }
            Lane::Inline(writer) => {
                drop(lock(writer).take());
                drop(database);
            }
        }
        flushed
    }

    /// Ends the writer, also a failed one. Needs no permit, for others may wait for theirs.
    async fn stop_writer(&self) -> Result<(), StorageFailed> {
        let slot = match &self.0.lane {
            Lane::Inline(writer) => Slot::Inline(writer),
            Lane::Thread { sender, .. } => {
                Slot::Thread(sender.reserve().await.map_err(|_| StorageFailed::closed())?, None)
            }
        };
        let (answer, answered) = oneshot::channel();
        slot.send(Op::Close, Box::new(move |outcome| drop(answer.send(outcome))));
        if let Lane::Thread { units, .. } = &self.0.lane {
            // Whoever still waits for permits hears that the store is closed.
            units.close();
        }
        answered.await.unwrap_or_else(|_| Err(StorageFailed::closed()))
    }

    pub(crate) fn downgrade(&self) -> WeakStorage {
        WeakStorage(Arc::downgrade(&self.0))
    }

    pub(crate) fn history(&self) -> MutexGuard<'_, HistoryState> {
        lock(&self.0.history)
    }

    pub(crate) fn log_tail_bytes(&self) -> usize {
        self.0.log_tail_bytes
    }

    /// True for the first caller only.
    pub(crate) fn take_log(&self) -> bool {
        !self.0.log_taken.swap(true, Ordering::SeqCst)
    }

    /// The failure as an error, if there is one.
    pub(crate) fn check(&self) -> Result<(), StorageFailed> {
        self.0.failure.get().map_or(Ok(()), Err)
    }

    /// Stops the store for `error`.
    pub(crate) fn fail(&self, error: io::Error) -> io::Error {
        self.0.failure.set(&error);
        error
    }

    /// Waits for a place in the queue for a message of `bytes`.
    pub(crate) async fn reserve(&self, bytes: usize) -> Result<Slot<'_>, StorageFailed> {
        self.check()?;
        self.place(bytes).await
    }

    async fn place(&self, bytes: usize) -> Result<Slot<'_>, StorageFailed> {
        match &self.0.lane {
            Lane::Inline(writer) => Ok(Slot::Inline(writer)),
            Lane::Thread { sender, units, .. } => {
                if bytes > MESSAGE_BYTES_MAX {
                    self.0.counters.large();
                    tracing::warn!(
                        bytes,
                        bound = MESSAGE_BYTES_MAX,
                        "a change of the store is larger than one should be, and holds up all others while it is \
                         written: the state or the history has grown; close sessions that nobody uses, or lower \
                         --event-retention"
                    );
                }
                let most = if planted(Bug::PermitHeldWhileParked) { QUEUE_UNITS_MAX } else { MESSAGE_UNITS_MAX };
                let wanted = u32::try_from(bytes / QUEUE_UNIT_BYTES + 1).unwrap_or(u32::MAX).min(most);
                let slot = async {
                    let permit = Arc::clone(units).acquire_many_owned(wanted).await;
                    let permit = permit.map_err(|_| StorageFailed::closed())?;
                    let place = sender.reserve().await.map_err(|_| StorageFailed::closed())?;
                    Ok(Slot::Thread(place, Some(permit)))
                };
                self.patiently(bytes, slot).await
            }
        }
    }

    /// Waits for `slot`; says so where that takes long.
    async fn patiently<T>(&self, bytes: usize, slot: impl Future<Output = T>) -> T {
        let mut slot = std::pin::pin!(slot);
        if let Ok(slot) = tokio::time::timeout(LONG_WAIT, &mut slot).await {
            return slot;
        }
        self.0.counters.waited_long();
        tracing::warn!(
            bytes,
            queued_bytes = self.metrics().queued_bytes,
            seconds = LONG_WAIT.as_secs(),
            "a change waits for the store's writer, which is busy with what came before: the disk is too slow, or \
             hangs; look at its load and its errors, and restart this node on a sound disk if that does not end"
        );
        slot.await
    }

    /// Sends a change and waits until it is durable.
    pub(crate) async fn send_and_wait(&self, op: Op) -> Result<(), StorageFailed> {
        self.send_and_wait_after(op, || {}).await
    }

    /// As [`Storage::send_and_wait`]; `then` runs as soon as it is durable, before anything later is.
    pub(crate) async fn send_and_wait_after(
        &self,
        op: Op,
        then: impl FnOnce() + Send + 'static,
    ) -> Result<(), StorageFailed> {
        let slot = self.reserve(op.bytes()).await?;
        let (answer, answered) = oneshot::channel();
        slot.send(
            op,
            Box::new(move |outcome| {
                if outcome.is_ok() {
                    then();
                }
                // Whoever asked may be gone.
                let _ = answer.send(outcome);
            }),
        );
        answered.await.unwrap_or_else(|_| Err(StorageFailed::closed()))
    }

    /// Reads what is durable. An error stops the store: what cannot be read is not to be relied on.
    pub(crate) async fn read<T, F>(&self, work: F) -> io::Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Database) -> io::Result<T> + Send + 'static,
    {
        self.check()?;
        let database = lock(&self.0.database).clone().ok_or_else(StorageFailed::closed)?;
        let found = match self.0.mode {
            WriterMode::Inline => no_panic(|| work(database.get()?)),
            WriterMode::Thread => tokio::task::spawn_blocking(move || no_panic(|| work(database.get()?)))
                .await
                .map_err(io::Error::other)?,
        };
        found.map_err(|error| self.fail(error))
    }

    /// As [`Storage::read`], on the calling thread: for the start.
    pub(crate) fn read_now<T>(&self, work: impl FnOnce(&Database) -> io::Result<T>) -> io::Result<T> {
        self.check()?;
        let database = lock(&self.0.database).clone().ok_or_else(StorageFailed::closed)?;
        no_panic(|| work(database.get()?)).map_err(|error| self.fail(error))
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
