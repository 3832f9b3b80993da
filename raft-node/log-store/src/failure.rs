//! The store's one failure: the first error is kept, and everybody hears of it.

use std::io;

use tokio::sync::watch;

use crate::error::StorageFailed;

/// Set once, never cleared.
pub(crate) struct Failure(watch::Sender<Option<StorageFailed>>);

impl Failure {
    pub(crate) fn none() -> Self {
        Self(watch::Sender::new(None))
    }

    /// Keeps `cause` unless there is one already; returns the one that is kept.
    pub(crate) fn set(&self, cause: &io::Error) -> StorageFailed {
        let mut kept = StorageFailed::of(cause);
        let first = self.0.send_if_modified(|slot| match slot {
            Some(earlier) => {
                kept = earlier.clone();
                false
            }
            None => {
                *slot = Some(kept.clone());
                true
            }
        });
        if first {
            tracing::error!(%cause, "the store stops");
        }
        kept
    }

    pub(crate) fn get(&self) -> Option<StorageFailed> {
        self.0.borrow().clone()
    }

    pub(crate) fn watch(&self) -> watch::Receiver<Option<StorageFailed>> {
        self.0.subscribe()
    }
}
