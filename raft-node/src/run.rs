//! A node with its sockets: peers on one listener, clients on another, until it is told to stop or stops
//! by itself. A failure comes back; nothing here ends the process.

use std::{future::Future, io, time::Duration};

use axum::Router;
use quorate_log_store::Storage;
use quorate_seams::{Bounded, Place, World};
use tokio::{net::TcpListener, sync::watch, time::timeout};

use crate::{
    config::NodeConfig,
    node::{Node, StartError, StopReason},
};

/// Peer connections at most: each peer keeps a few.
const PEER_CONNECTIONS_MAX: usize = 256;
/// Places for clients beside those of `--max-connections`, for what must always get through.
const API_CONNECTIONS_SPARE: usize = 64;
/// What the log advises where places for peers are short.
const SHORT_OF_PEER_PLACES: &str =
    "each peer needs only a few, so find out what else connects to --listen-peer, and keep it away from there";
/// What the log advises where places for clients are short.
const SHORT_OF_API_PLACES: &str = "let clients share connections, or raise --max-connections";
/// How long connections may take to finish what they do, once the node has stopped.
const CLOSE_MAX: Duration = Duration::from_secs(1);

/// Where a node listens.
#[derive(Debug)]
pub struct Listeners {
    /// For peers.
    pub peer: TcpListener,
    /// For clients.
    pub api: TcpListener,
}

impl Listeners {
    /// Binds the addresses of `config`.
    ///
    /// # Errors
    /// Where an address is taken or not this machine's; the text names the setting.
    pub async fn bind(config: &NodeConfig) -> io::Result<Self> {
        let bind = async |field: &str, addr| {
            let named = |error: io::Error| io::Error::new(error.kind(), format!("{field} {addr}: {error}"));
            TcpListener::bind(addr).await.map_err(named)
        };
        let peer = bind("listen-peer", config.listen_peer).await?;
        let api = bind("listen-api", config.listen_api).await?;
        Ok(Self { peer, api })
    }
}

/// Runs a node until `shutdown` resolves, or until it stops by itself. `api` makes the router for clients.
///
/// # Errors
/// [`RunError::Start`] where the node does not start; [`RunError::Stopped`] where it stopped for another
/// reason than `shutdown`.
pub async fn run<A, S>(
    config: NodeConfig,
    world: World,
    storage: Storage,
    listeners: Listeners,
    api: A,
    shutdown: S,
) -> Result<(), RunError>
where
    A: FnOnce(Node) -> Router,
    S: Future<Output = ()>,
{
    let max_connections = config.max_connections;
    let tasks = world.tasks.clone();
    let node = Node::start(config, world, storage).await?;
    let closing = watch::Sender::new(false);
    let serve = |listener: Bounded, router| {
        let mut close = closing.subscribe();
        let closed = async move { drop(close.wait_for(|closing| *closing).await) };
        let service = Router::into_make_service_with_connect_info::<Place>(router);
        let served = axum::serve(listener, service).with_graceful_shutdown(closed);
        tasks.spawn(async move { served.await })
    };
    let peers = Bounded::new(listeners.peer, PEER_CONNECTIONS_MAX, 0, SHORT_OF_PEER_PLACES);
    let peers = serve(peers, node.peer_router());
    let clients = Bounded::new(listeners.api, max_connections, API_CONNECTIONS_SPARE, SHORT_OF_API_PLACES);
    let clients = serve(clients, api(node.clone()));

    let reason = tokio::select! {
        biased;
        reason = node.stopped() => reason,
        () = shutdown => StopReason::Shutdown,
    };
    // The listeners stay open meanwhile: leadership is handed over through them.
    node.shutdown().await;
    closing.send_replace(true);
    if timeout(CLOSE_MAX, futures_util::future::join(peers, clients)).await.is_err() {
        tracing::debug!("some connections did not end by themselves");
    }
    match reason {
        StopReason::Shutdown => Ok(()),
        reason @ (StopReason::Storage(_)
        | StopReason::Unsupported { .. }
        | StopReason::Diverged { .. }
        | StopReason::Copied { .. }
        | StopReason::Failed(_)) => Err(RunError::Stopped(reason)),
    }
}

/// Why [`run`] ended, unless it was told to.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The node did not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The node stopped by itself.
    #[error(transparent)]
    Stopped(StopReason),
}
