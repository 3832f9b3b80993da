//! Sends external orders to the exchange.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use quorate_order_publisher::{
    Config, Failure, Settings,
    config::{RandomSettings, ReplaySettings},
    run,
    summary::Summary,
};
use quorate_seams::{Failpoints, World, colours, explain};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// Sends external orders to the exchange: generated ones, or the trades of a recorded file
///
/// Ends with a summary on standard output; logs and progress go to standard error. What rests at the end is taken back.
/// Exit code 0: something was sent, every outcome is known, and nothing rests; 1: nothing was sent, or the run ended by an
/// error, which comes after the summary; 3: some outcomes are still unknown, or some orders could not be taken back and may
/// rest still.
#[derive(Parser)]
#[command(name = "order-publisher", version)]
struct Cli {
    #[command(subcommand)]
    mode: Modes,
}

#[derive(Subcommand)]
enum Modes {
    /// Generated orders, that follow from a seed and the reference price
    Random {
        #[command(flatten)]
        settings: Settings,
        #[command(flatten)]
        random: RandomSettings,
    },
    /// The recorded trades of a capture file
    Replay {
        #[command(flatten)]
        settings: Settings,
        #[command(flatten)]
        replay: ReplaySettings,
    },
}

/// Some outcomes are still unknown, or some orders may rest still.
const EXIT_UNSETTLED: u8 = 3;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours()).with_writer(std::io::stderr).init();
    match publish(cli.mode) {
        Ok(code) => code,
        Err(error) => {
            tracing::error!("{}", explain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

fn publish(mode: Modes) -> Result<ExitCode> {
    let (json, config): (bool, Config) = match mode {
        Modes::Random { settings, random } => (settings.json, settings.random(random)?),
        Modes::Replay { settings, replay } => (settings.json, settings.replay(replay)?),
    };
    let world = World::real(Failpoints::none())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let outcome = runtime.block_on(async move {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let shutdown = async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            tracing::info!("stopping: settling what is on its way, and taking back what rests");
        };
        anyhow::Ok(run(config, world, shutdown).await)
    })?;
    let (summary, error) = match outcome {
        Ok(summary) => (Some(Box::new(summary)), None),
        Err(Failure { error, summary }) => (summary, Some(error)),
    };
    let unsettled = summary.as_ref().is_some_and(|summary| !summary.is_settled());
    if let Some(summary) = summary {
        print(&summary, json)?;
    }
    match error {
        // The exit code must say that there is something left to settle; the error is told here.
        Some(error) if unsettled => tracing::error!("{}", explain(&error)),
        Some(error) => return Err(error.into()),
        None => {}
    }
    Ok(if unsettled { ExitCode::from(EXIT_UNSETTLED) } else { ExitCode::SUCCESS })
}

#[allow(clippy::print_stdout, reason = "the summary is what this program is asked for")]
fn print(summary: &Summary, json: bool) -> Result<()> {
    if json {
        println!("{}", serde_json::to_string(summary)?);
    } else {
        println!("{}", summary.table());
    }
    Ok(())
}
