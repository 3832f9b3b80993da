//! The process: follows the ledger and serves orders, until it is told to stop or is fenced.

use std::{future::Future, pin::pin, sync::Arc, time::Duration};

use axum::Router;
use quorate_matching::Input;
use quorate_seams::{Bounded, Place, World};
use tokio::{
    net::TcpListener,
    sync::watch,
    time::{Instant, timeout},
};

use crate::{
    config::Config,
    desk::Desk,
    follow::follow,
    http::router,
    limits, marks,
    recover::RecoverError,
    reference::{InvalidReference, References},
};

/// How long what is in flight may take to be settled once the process is told to stop.
const DRAIN_MAX: Duration = Duration::from_secs(5);
/// How long connections and the session may take to end after that.
const CLOSE_MAX: Duration = Duration::from_millis(500);

/// Places for connections beside those of `max-connections`, for what must always get through.
const SPARE_PLACES: usize = 64;
/// What the log advises where places for connections are short.
const SHORT_OF_PLACES: &str = "let clients share connections, or raise --max-connections";

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
}

/// Runs the exchange until `shutdown` resolves. It then takes no new connections, settles what is in flight for a
/// while, and ends.
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
    let desk = Desk::new(config, world.clone(), references)?;
    if let Some(accounts) = &desk.config.accounts {
        tracing::info!(listen = %desk.config.listen, accounts = accounts.len(), "taking signed orders");
    } else {
        tracing::info!(listen = %desk.config.listen, "taking unsigned orders, of the account in X-MBX-APIKEY or 'default'");
    }

    let closing = watch::Sender::new(false);
    let mut close = closing.subscribe();
    let closed = async move { drop(close.wait_for(|closing| *closing).await) };
    let listener = Bounded::new(listener, desk.config.max_connections, SPARE_PLACES, SHORT_OF_PLACES);
    let service = Router::into_make_service_with_connect_info::<Place>(router(Arc::clone(&desk)));
    let serve = axum::serve(listener, service).with_graceful_shutdown(closed);
    let served = world.tasks.spawn(async move { serve.await });

    let mut following = pin!(follow(&desk));
    let ended = tokio::select! {
        error = &mut following => Err(RunError::Recover(error)),
        () = marks::publish(Arc::clone(&desk)) => Ok(()),
        () = limits::limit(Arc::clone(&desk)) => Ok(()),
        () = shutdown => Ok(()),
    };
    closing.send_replace(true);
    if ended.is_ok() {
        // Frames still come meanwhile: they settle what is in flight.
        tokio::select! {
            _ = timeout(DRAIN_MAX, desk.idle()) => {}
            error = &mut following => tracing::warn!(%error, "while stopping"),
        }
    }
    // Whoever still waits is told what is known.
    desk.input(Input::Stop);
    let _ = timeout(CLOSE_MAX, served).await;
    if let Err(error) = desk.session().close(Instant::now() + CLOSE_MAX).await {
        tracing::debug!(%error, "the session is left to expire");
    }
    ended
}
