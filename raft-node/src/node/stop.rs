//! Why a node stopped: the first reason is kept, and everybody hears of it.

use std::sync::Arc;

use tokio::sync::watch;

use super::StopReason;

/// Set once. Clones are the same cell.
#[derive(Clone, Debug)]
pub(crate) struct StopCell(Arc<watch::Sender<Option<StopReason>>>);

impl StopCell {
    pub(crate) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(None)))
    }

    /// Keeps `reason`, unless there is one already.
    pub(crate) fn set(&self, reason: StopReason) {
        self.0.send_if_modified(|kept| {
            let first = kept.is_none();
            if first {
                match &reason {
                    StopReason::Shutdown => tracing::info!("stopping"),
                    StopReason::Storage(_)
                    | StopReason::Unsupported { .. }
                    | StopReason::Diverged { .. }
                    | StopReason::Copied { .. }
                    | StopReason::Failed(_) => tracing::error!(%reason, "stopping"),
                }
                *kept = Some(reason.clone());
            }
            first
        });
    }

    pub(crate) fn get(&self) -> Option<StopReason> {
        self.0.borrow().clone()
    }

    /// Resolves with the reason, once there is one.
    pub(crate) async fn wait(&self) -> StopReason {
        let mut cell = self.0.subscribe();
        match cell.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(reason)) => reason.clone(),
            // The sender lives as long as `self`.
            Ok(None) | Err(_) => StopReason::Failed("nobody can say why".to_owned()),
        }
    }
}
