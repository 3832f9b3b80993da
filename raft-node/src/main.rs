//! A node of the Raft group that holds positions, symbol authority and the exposure ledger.

use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use quorate_node::{config::Settings, process, run::RunError};
use quorate_seams::{colours, explain};
use tracing_subscriber::EnvFilter;

/// A node of the Raft group that holds positions, symbol authority and the exposure ledger
///
/// Settings come from flags, then the environment, then the file named by --config, then defaults.
/// Logs go to standard error; RUST_LOG sets their level [default: info].
#[derive(Parser)]
#[command(name = "raft-node", version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    run: Run,
}

#[derive(Subcommand)]
enum Verb {
    /// Run the node: the same as without a verb
    Run(Run),
}

#[derive(Args)]
struct Run {
    #[command(flatten)]
    settings: Settings,
    /// Name this node's own state as the right one, where it says that states differ and that no majority decides; the
    /// states of the others are given up. For one start: leave it out at the next
    #[arg(long)]
    accept_own_state: bool,
}

/// See `docs/adr/0015`.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What openraft's front logs as an error, a call that found the consensus stopped, comes back to the caller as well.
const DEFAULT_FILTER: &str = "info,openraft=error,openraft::raft=off";

fn main() -> ExitCode {
    let cli = Cli::parse();
    let Run { settings, accept_own_state } = match cli.verb {
        Some(Verb::Run(run)) => run,
        None => cli.run,
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(DEFAULT_FILTER));
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours()).with_writer(std::io::stderr).init();
    match process::run_until_signal(settings, accept_own_state) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // A node that stopped by itself has said why.
            if !matches!(error.downcast_ref(), Some(RunError::Stopped(_))) {
                tracing::error!("{}", explain(error.as_ref()));
            }
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Option<(Option<u64>, bool)> {
        let cli = Cli::try_parse_from([&["raft-node"], args].concat()).ok()?;
        let run = match cli.verb {
            Some(Verb::Run(run)) => run,
            None => cli.run,
        };
        Some((run.settings.node_id, run.accept_own_state))
    }

    #[test]
    fn a_node_is_run_with_and_without_the_verb() {
        assert_eq!(parse(&["--node-id", "3"]), Some((Some(3), false)));
        assert_eq!(parse(&["run", "--node-id", "3"]), Some((Some(3), false)));
        assert_eq!(parse(&["run", "--accept-own-state", "--node-id=3"]), Some((Some(3), true)));
        assert_eq!(parse(&["run", "--accept-own-state=later"]), None);
        assert_eq!(parse(&["--node-id", "3", "run"]), None);
        assert_eq!(parse(&["walk"]), None);
    }
}
