//! Locks that a panic does not spoil.

use std::sync::{Mutex, MutexGuard, PoisonError};

pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic under a lock is a bug, and every change made under one is complete by itself.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
