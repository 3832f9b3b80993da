//! A node of the Raft group that holds positions, symbol authority and the exposure ledger.

use std::process::ExitCode;

use clap::Parser;
use quorate_node::{config::Settings, process};
use quorate_seams::{colours, explain};
use tracing_subscriber::EnvFilter;

/// A node of the Raft group that holds positions, symbol authority and the exposure ledger
///
/// Settings come from flags, then the environment, then the file named by --config, then defaults.
/// Logs go to standard error; RUST_LOG sets their level [default: info].
#[derive(Parser)]
#[command(name = "raft-node", version)]
struct Cli {
    #[command(flatten)]
    settings: Settings,
}

/// What openraft's front logs as an error, a call that found the consensus stopped, comes back to the caller as well.
const DEFAULT_FILTER: &str = "info,openraft=error,openraft::raft=off";

fn main() -> ExitCode {
    let cli = Cli::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(DEFAULT_FILTER));
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours()).with_writer(std::io::stderr).init();
    match process::run_until_signal(cli.settings) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{}", explain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}
