//! The process: registers, follows the ledger, serves orders, until it is told to stop or is fenced.

use std::{future::Future, sync::Arc, time::Duration};

use quorate_client::{Client, ClientConfig, StreamItem};
use quorate_matching::{Halt, Input};
use quorate_seams::World;
use tokio::{
    net::TcpListener,
    sync::watch,
    time::{Instant, sleep, timeout},
};

use crate::{
    config::Config,
    desk::Desk,
    http::router,
    recover::{RecoverError, recover},
    reference::{InvalidReference, References},
};

/// Pause between two attempts at recovering.
const RECOVER_PAUSE: Duration = Duration::from_millis(100);
/// How long what is in flight may take to be settled once the process is told to stop.
const DRAIN_MAX: Duration = Duration::from_secs(5);

/// Why the exchange ended, unless it was told to.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A reference price source cannot be opened.
    #[error("reference: {0}")]
    Reference(#[from] InvalidReference),
    /// The client's settings are wrong.
    #[error("ledger-endpoints or cluster-id: {0}")]
    Client(#[from] quorate_client::InvalidConfig),
    /// Another exchange serves, or this one is refused.
    #[error(transparent)]
    Recover(#[from] RecoverError),
    /// The listener failed.
    #[error("the listener failed: {0}")]
    Serve(#[from] std::io::Error),
}

/// Runs the exchange until `shutdown` resolves.
///
/// # Errors
/// [`RunError`] where it cannot start, or was fenced by a newer exchange.
pub async fn run(
    config: Config,
    world: World,
    listener: TcpListener,
    shutdown: impl Future<Output = ()>,
) -> Result<(), RunError> {
    let references = References::open(&config.references)?;
    let mut client = ClientConfig::new(config.ledger_endpoints.clone());
    client.cluster_id.clone_from(&config.cluster_id);
    let client = Client::new(world.clone(), client)?;
    let desk = Desk::new(config, client, world.clone(), references);
    tracing::info!(
        listen = %desk.config.listen,
        signed = desk.config.credentials.is_some(),
        "taking orders; unsigned ones count for the account in X-MBX-APIKEY, or for 'default'"
    );

    let closing = watch::Sender::new(false);
    let mut close = closing.subscribe();
    let closed = async move { drop(close.wait_for(|closing| *closing).await) };
    let serve = axum::serve(listener, router(Arc::clone(&desk))).with_graceful_shutdown(closed);
    let served = world.tasks.spawn(async move { serve.await });

    let ended = tokio::select! {
        error = follow(&desk) => Err(RunError::Recover(error)),
        () = shutdown => Ok(()),
    };
    drain(&desk).await;
    closing.send_replace(true);
    if let Ok(Ok(result)) = timeout(Duration::from_secs(1), served).await {
        result?;
    }
    ended
}

/// Follows the ledger for good; comes back only where this exchange must not go on.
async fn follow(desk: &Arc<Desk>) -> RecoverError {
    let mut mine = 0;
    loop {
        match recover(desk, mine).await {
            Ok((engine, from)) => {
                mine = engine.exchange_epoch();
                desk.install(engine);
                tracing::info!(exchange_epoch = mine, from, "registered");
                if let Halt::Fenced { exchange_epoch } = mirror(desk, from).await {
                    return RecoverError::Fenced(exchange_epoch);
                }
            }
            Err(RecoverError::Unavailable(why)) => {
                tracing::warn!(why, "cannot register yet");
                sleep(RECOVER_PAUSE).await;
            }
            Err(error @ (RecoverError::Fenced(_) | RecoverError::Refused(_))) => return error,
        }
    }
}

/// Feeds the engine with frames until it halts.
async fn mirror(desk: &Arc<Desk>, from: u64) -> Halt {
    let mut stream = desk.client.events(from);
    let mut halted = desk.halted();
    loop {
        let item = tokio::select! {
            item = stream.next() => item,
            _ = halted.changed() => None,
        };
        let halt = halted.borrow_and_update().clone();
        if let Some(halt) = halt {
            return halt;
        }
        match item {
            Some(StreamItem::Frame(frame)) => desk.input(Input::Frame(frame)),
            Some(StreamItem::Applied { index, log_time }) => desk.input(Input::Applied { index, log_time }),
            Some(StreamItem::Resync { .. }) | None => {
                tracing::warn!("frames are missing: registering again");
                desk.input(Input::Stop);
            }
        }
    }
}

/// Lets what is in flight be settled, for a while.
async fn drain(desk: &Arc<Desk>) {
    let deadline = Instant::now() + DRAIN_MAX;
    let from = desk.health().mirror_index + 1;
    let mut stream = desk.client.events(from);
    while desk.health().pending > 0 && Instant::now() < deadline {
        match timeout(RECOVER_PAUSE, stream.next()).await {
            Ok(Some(StreamItem::Frame(frame))) => desk.input(Input::Frame(frame)),
            Ok(Some(StreamItem::Applied { index, log_time })) => desk.input(Input::Applied { index, log_time }),
            Ok(Some(StreamItem::Resync { .. }) | None) => break,
            Err(_) => {}
        }
    }
    desk.input(Input::Stop);
}
