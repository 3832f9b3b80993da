//! `ledgerctl`: the operator's hand on the group. Tables for people, JSON for programs, exit codes with
//! meanings. It decides nothing: it reads, proposes, compares and shows.

mod args;
mod audit;
mod bench;
mod control;
mod failure;
mod group;
mod money;
mod output;
mod state;
mod stream;
mod watch;

use std::{process::ExitCode, time::Duration};

use clap::Parser;
use quorate_api::Consistency;
use quorate_client::{Client, ClientConfig, ReadOptions};
use quorate_domain::{Price, Protection, Qty};
use quorate_ledger::ControlChange;
use quorate_seams::{Failpoints, World};
use tokio::time::Instant;

use crate::{
    args::{Args, Task},
    failure::CtlError,
    output::Out,
};

/// What every task works with.
struct Ctl {
    client: Client,
    out: Out,
    endpoints: Vec<String>,
    consistency: Consistency,
    timeout: Duration,
}

impl Ctl {
    /// A read as the flags ask for it.
    fn read(&self) -> ReadOptions {
        ReadOptions { consistency: self.consistency, timeout: self.timeout, ..ReadOptions::default() }
    }

    /// When this program gives up what it begins now.
    fn deadline(&self) -> Instant {
        Instant::now() + self.timeout
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    let json = args.json;
    match run(args) {
        Ok(()) | Err(CtlError::OutputClosed) => ExitCode::SUCCESS,
        Err(error) => {
            if json {
                let object = serde_json::json!({ "error": error.to_string(), "exit_code": error.exit_code() });
                eprintln!("{object}");
            } else {
                eprintln!("ledgerctl: {error}");
            }
            ExitCode::from(error.exit_code())
        }
    }
}

/// One thread is enough for any task, and leaves the others to the nodes when they are measured.
fn run(args: Args) -> Result<(), CtlError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| CtlError::Usage(format!("cannot start: {error}")))?;
    runtime.block_on(async {
        let world = World::real(Failpoints::none()).map_err(|error| CtlError::Usage(error.to_string()))?;
        let timeout = Duration::from_millis(args.timeout_ms);
        let config = ClientConfig {
            cluster_id: args.cluster_id,
            lanes: if let Task::Bench(bench) = &args.task { bench.lanes } else { 1 },
            ..ClientConfig::new(args.endpoints.clone())
        };
        let client = Client::new(world, config).map_err(|error| CtlError::Usage(error.to_string()))?;
        let out = Out::new(args.json);
        let consistency = args.consistency.into();
        let mut ctl = Ctl { client, out, endpoints: args.endpoints, consistency, timeout };
        ctl.perform(args.task).await
    })
}

impl Ctl {
    async fn perform(&mut self, task: Task) -> Result<(), CtlError> {
        match task {
            Task::Status => self.status().await,
            Task::Positions { symbol, at: Some(index) } => self.positions_at(symbol.as_ref(), index).await,
            Task::Positions { symbol, at: None } => self.positions(symbol.as_ref()).await,
            Task::Pnl => self.pnl().await,
            Task::Balances { account } => self.balances(account.as_ref()).await,
            Task::Breakers => self.breakers().await,
            Task::Exposure => self.exposure().await,
            Task::Waiting => self.waiting().await,
            Task::Quotes { symbol } => self.quotes(symbol.as_ref()).await,
            Task::Authority => self.authority().await,
            Task::Makers => self.makers().await,
            Task::Symbols => self.symbols().await,
            Task::Orders(orders) => self.orders(orders).await,
            Task::Fills { from, limit, symbol } => self.fills(from, limit, symbol.as_ref()).await,
            Task::Watch { from, all } => self.watch(from, all).await,
            Task::Export => self.export().await,
            Task::DefineSymbol(define) => self.define_symbol(define).await,
            Task::Quoting(quoting) => self.quoting(quoting).await,
            Task::KillSwitch { action, decision } => self.kill_switch(action, decision).await,
            Task::Limit { limit, decision } => self.limit(limit, decision).await,
            Task::ExposureBasis { worst_loss, limit, decision } => {
                self.exposure_basis(worst_loss, &limit, decision).await
            }
            Task::Revise(revise) => self.revise(revise).await,
            Task::Protection { symbol, lots, window_ms, pause_ms, decision } => {
                let protection = match (lots, window_ms, pause_ms) {
                    (Some(lots), Some(window_ms), Some(pause_ms)) => {
                        Some(Protection { lots_max: Qty(lots), window_ms, pause_ms })
                    }
                    _ => None,
                };
                self.decide(ControlChange::Protection { symbol, protection }, decision).await
            }
            Task::DrawdownLimit { asset, limit, decision } => {
                self.decide(ControlChange::DrawdownLimit { asset, limit }, decision).await
            }
            Task::Rearm { asset, decision } => self.decide(ControlChange::Rearm { asset }, decision).await,
            Task::LimitAccount { account, decision } => {
                self.decide(ControlChange::LimitAccount { account }, decision).await
            }
            Task::Deposit { account, asset, amount, decision } => {
                self.decide(ControlChange::Deposit { account, asset, amount }, decision).await
            }
            Task::Settle { symbol, price, decision } => {
                self.decide(ControlChange::Settle { symbol, price: Price(price) }, decision).await
            }
            Task::CloseSymbol { symbol, decision } => {
                self.decide(ControlChange::CloseSymbol { symbol }, decision).await
            }
            Task::PositionLimit { symbol, max, decision } => self.position_limit(symbol, max, decision).await,
            Task::TransferLeader { to } => self.transfer_leader(to).await,
            Task::Snapshot { node } => self.snapshot(node).await,
            Task::Members { change } => self.members(change.as_deref()).await,
            Task::Audit => self.audit().await,
            Task::Faults { action } => self.faults(action).await,
            Task::Bench(bench) => self.bench(bench).await,
        }
    }
}
