//! A market maker.

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use quorate_market_maker::{
    LiveSettings,
    beliefs::{BeliefSink, JournalFile, NoJournal},
    new_secret, run,
};
use quorate_seams::{Failpoints, World, colours, explain};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// A market maker whose authority, positions and exposure live in a Raft group
///
/// Logs go to standard error; RUST_LOG sets their level [default: info].
#[derive(Parser)]
#[command(name = "market-maker", version)]
struct Cli {
    #[command(subcommand)]
    command: Subcommands,
}

#[derive(Subcommand)]
enum Subcommands {
    /// Quote the symbols that the group gives to this maker, until SIGTERM or ctrl-c
    Live(Box<LiveSettings>),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours()).with_writer(std::io::stderr).init();
    let outcome = match cli.command {
        Subcommands::Live(settings) => live(&settings),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{}", explain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

fn live(settings: &LiveSettings) -> Result<()> {
    let world = World::real(Failpoints::none())?;
    let config = settings.resolve(new_secret(&world))?;
    let beliefs: Box<dyn BeliefSink> = match &settings.belief_journal {
        Some(path) => {
            let open = || format!("belief-journal: {}", path.display());
            Box::new(JournalFile::open(path).with_context(open)?)
        }
        None => Box::new(NoJournal),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async move {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let shutdown = async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            tracing::info!("leaving");
        };
        run(config, world, beliefs, shutdown).await?;
        Ok(())
    })
}
