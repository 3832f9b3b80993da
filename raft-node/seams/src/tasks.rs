//! Spawning that belongs to one process: every task can be aborted with it.

use std::{
    fmt,
    future::Future,
    sync::{Arc, Mutex, PoisonError},
};

use rand::{SeedableRng, TryRngCore, rngs::SmallRng};
use tokio::task::{AbortHandle, JoinHandle};

/// A spawner that remembers what it spawned.
#[derive(Clone, Default)]
pub struct Tasks(Arc<Mutex<Vec<AbortHandle>>>);

impl fmt::Debug for Tasks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tasks")
    }
}

impl Tasks {
    /// With nothing spawned yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Spawns on tokio, and remembers the task until it ends.
    pub fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let handle = tokio::spawn(future);
        self.track(handle.abort_handle());
        handle
    }

    /// Remembers a task that was spawned elsewhere on this process's behalf.
    pub fn track(&self, handle: AbortHandle) {
        let mut tasks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if tasks.len() >= 64 && tasks.len().is_power_of_two() {
            tasks.retain(|task| !task.is_finished());
        }
        tasks.push(handle);
    }

    /// Aborts every task that still runs.
    pub fn abort_all(&self) {
        let mut tasks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.drain(..).for_each(|task| task.abort());
    }
}

/// A generator for one use (`stream` tells the uses of one seed apart).
#[must_use]
pub fn seeded_rng(seed: u64, stream: u64) -> SmallRng {
    SmallRng::seed_from_u64(seed ^ stream.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

pub(crate) fn system_seed() -> std::io::Result<u64> {
    rand::rngs::OsRng.try_next_u64().map_err(std::io::Error::other)
}
