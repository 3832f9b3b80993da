//! The real process around [`run`](crate::run::run): settings, disk, sockets, signals.

use std::sync::Arc;

use anyhow::{Context, Result};
use quorate_log_store::{Storage, StorageOptions, WriterMode};
use quorate_seams::{Failpoints, SystemClocks, World};
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    config::{NodeConfig, Settings},
    http::api_router,
    node::new_store_id,
    run,
};

/// The store's file within the data directory.
const STORE_FILE: &str = "node.redb";
/// More event frames than this are warned of: their history may not fit into a snapshot.
const EVENT_RETENTION_LARGE: u64 = 1_000_000;

/// Runs a node as `settings` say, until SIGTERM or SIGINT, which hand leadership over first. With `accept_own_state` an
/// operator names its state as the right one, where a difference is not decided.
///
/// # Errors
/// Where the settings are refused, the disk or an address cannot be had, or the node stopped by itself.
pub fn run_until_signal(settings: Settings, accept_own_state: bool) -> Result<()> {
    let config = NodeConfig { accept_own_state, ..settings.resolve()? };
    let failpoints = if config.fault_injection {
        tracing::warn!("fault injection is on: this node can be made to fail from outside");
        Failpoints::parse(&config.failpoints).context("failpoints")?
    } else {
        Failpoints::none()
    };
    if config.event_retention > EVENT_RETENTION_LARGE {
        tracing::warn!(
            event_retention = config.event_retention,
            "the history that is kept travels with each snapshot: where its frames are longer than 500 bytes on average, \
             no node takes such a snapshot, and one that falls far behind cannot come back; lower --event-retention"
        );
    }
    let mut world = World::real(failpoints)?;
    world.clocks = Arc::new(SystemClocks::with_wall_offset(config.wall_clock_offset_ms));
    std::fs::create_dir_all(&config.data_dir).with_context(|| format!("data-dir {}", config.data_dir.display()))?;
    let mut options = StorageOptions::new(
        config.cluster_id.clone(),
        config.node_id,
        new_store_id(&world),
        WriterMode::Thread,
        Arc::clone(&world.clocks),
    );
    options.failpoints = world.failpoints.clone();
    let storage = Storage::open_file(config.data_dir.join(STORE_FILE), options)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async move {
        let listeners = run::Listeners::bind(&config).await?;
        tracing::info!(node = config.node_id, peer = %config.listen_peer, api = %config.listen_api, "starting");
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let shutdown = async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            tracing::info!("stopping");
        };
        run::run(config, world, storage, listeners, api_router, shutdown).await?;
        Ok(())
    })
}
