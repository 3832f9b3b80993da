//! The simulated exchange: order entry in the Binance Spot API's shapes over the group's ledger.

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use quorate_exchange::{config::Settings, run};
use quorate_seams::{Failpoints, World, colours, explain};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};
use tracing_subscriber::EnvFilter;

/// The simulated exchange: order entry in the Binance Spot API's shapes over the group's ledger
///
/// Logs go to standard error; RUST_LOG sets their level [default: info].
#[derive(Parser)]
#[command(name = "exchange", version)]
struct Cli {
    #[command(flatten)]
    settings: Settings,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours()).with_writer(std::io::stderr).init();
    match serve(cli.settings) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{}", explain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

fn serve(settings: Settings) -> Result<()> {
    let config = settings.resolve()?;
    let failpoints = if config.fault_injection {
        Failpoints::parse(&config.failpoints).context("failpoints")?
    } else {
        Failpoints::none()
    };
    let world = World::real(failpoints)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async move {
        let listener = TcpListener::bind(config.listen).await.with_context(|| format!("listen {}", config.listen))?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut hang_up = signal(SignalKind::hangup())?;
        let shutdown = async move {
            loop {
                tokio::select! {
                    _ = terminate.recv() => break,
                    _ = interrupt.recv() => break,
                    _ = hang_up.recv() => {
                        tracing::warn!("SIGHUP changes nothing: files are read at the start alone; restart to have them read");
                    }
                }
            }
            tracing::info!("stopping");
        };
        run::run(config, world, listener, shutdown).await?;
        Ok(())
    })
}
