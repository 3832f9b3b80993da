//! The life of the desk: registers, feeds the engine with the ledger's frames, and begins again where frames are
//! missing or contradict each other. Ends only where this exchange must not go on.

use std::{sync::Arc, time::Duration};

use quorate_client::StreamItem;
use quorate_matching::{Halt, Input};
use tokio::time::{Instant, sleep};

use crate::{
    desk::Desk,
    recover::{RecoverError, recover},
};

/// First pause before registering again; it doubles with each registration that did not last.
const PAUSE_MIN: Duration = Duration::from_millis(100);
/// Longest such pause.
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// A registration that held for so long has lasted.
const LASTED: Duration = Duration::from_secs(30);

/// Follows the ledger for good; comes back only where this exchange must not go on.
pub async fn follow(desk: &Arc<Desk>) -> RecoverError {
    let mut mine = 0;
    let mut pause = PAUSE_MIN;
    loop {
        match recover(desk, mine).await {
            Ok((engine, from)) => {
                let since = Instant::now();
                mine = engine.exchange_epoch();
                desk.install(engine);
                tracing::info!(exchange_epoch = mine, from, "registered");
                match mirror(desk, from).await {
                    Halt::Fenced { exchange_epoch } => return RecoverError::Fenced(exchange_epoch),
                    Halt::Inconsistent(what) => tracing::error!(what, "registering again"),
                    Halt::Stopped => tracing::warn!("frames are missing: registering again"),
                }
                if since.elapsed() > LASTED {
                    pause = PAUSE_MIN;
                }
            }
            Err(RecoverError::Unavailable(why)) => tracing::warn!(why, "cannot register yet"),
            Err(RecoverError::InDoubt(why)) => {
                tracing::warn!(why, "registering again");
                mine = 0;
            }
            Err(error @ (RecoverError::Fenced(_) | RecoverError::Refused(_))) => return error,
        }
        sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// Feeds the engine with frames until it halts.
async fn mirror(desk: &Arc<Desk>, from: u64) -> Halt {
    let mut stream = desk.client.events(from);
    let mut halted = desk.halted();
    loop {
        let halt = halted.borrow_and_update().clone();
        if let Some(halt) = halt {
            return halt;
        }
        let item = tokio::select! {
            item = stream.next() => item,
            _ = halted.changed() => continue,
        };
        desk.input(match item {
            Some(StreamItem::Frame(frame)) => Input::Frame(frame),
            Some(StreamItem::Applied { index, log_time }) => Input::Applied { index, log_time },
            Some(StreamItem::Resync { .. }) | None => Input::Stop,
        });
    }
}
