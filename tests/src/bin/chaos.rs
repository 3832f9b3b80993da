//! Breaks a cluster of real processes for minutes, as a seed has it, while orders flow; then judges what is left, and
//! reports it in the terminal, as a page, and as one line of JSON.

#![allow(clippy::print_stdout, reason = "a command whose output is its purpose")]

use std::{cell::RefCell, io::IsTerminal, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context, Result, ensure};
use clap::{Parser, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use quorate_tests::{
    chaos::{Options, Shown, page, run},
    nemesis::Means,
};
use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio::signal::unix::{SignalKind, signal};

/// Least length in which every fault has its turn.
const SECONDS_MIN: u64 = 110;
/// Seconds between two lines of progress where there is no terminal.
const LINE_EVERY_S: u64 = 10;

/// Break a local cluster for minutes while orders flow, then judge what is left
#[derive(Parser)]
#[command(args_override_self = true)]
struct Args {
    /// How long faults are injected, in minutes, from 2
    #[arg(long, default_value_t = 5.0)]
    minutes: f64,
    /// Where the schedule of faults follows from [default: another one each time]
    #[arg(long)]
    seed: Option<u64>,
    /// Where the page, the history and the logs of a failure go
    #[arg(long, value_name = "DIR", default_value = "run/chaos")]
    report: PathBuf,
    /// By what links are spoilt [default: the best that this machine allows]
    #[arg(long)]
    means: Option<Chosen>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Chosen {
    /// Network namespaces with nftables; needs root
    Namespaces,
    /// A proxy in front of each node's peer port
    Proxy,
    /// The nodes' own fault switch
    Switch,
}

fn main() -> Result<ExitCode> {
    let args = Args::parse();
    let length = Duration::try_from_secs_f64(args.minutes * 60.0).context("--minutes")?;
    ensure!(length.as_secs() >= SECONDS_MIN, "--minutes: 2 at least, so that every fault has its turn");
    let seed = args.seed.unwrap_or_else(|| StdRng::from_os_rng().random_range(1..1_000_000));
    let means = args.means.map(|chosen| match chosen {
        Chosen::Namespaces => Means::Namespaces,
        Chosen::Proxy => Means::Proxy,
        Chosen::Switch => Means::Switch,
    });
    println!("seed {seed}: the same schedule again with --minutes {} --seed {seed}", args.minutes);
    let options = Options { seed, length, means, dir: args.report.clone() };
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let progress = Progress::new(length);
        let show = |shown: &Shown| progress.show(shown);
        // Whoever is interrupted drops the run, and with it every process, namespace and mount.
        let report = tokio::select! {
            report = run(&options, &show) => report?,
            _ = interrupt.recv() => anyhow::bail!("interrupted"),
            _ = terminate.recv() => anyhow::bail!("told to stop"),
        };
        progress.bar.inspect(ProgressBar::finish_and_clear);
        let (html, json) = (args.report.join("chaos.html"), args.report.join("chaos.json"));
        std::fs::write(&html, page(&report))?;
        std::fs::write(&json, serde_json::to_vec_pretty(&report)?)?;
        println!("{report}\nthe page: {}", html.display());
        println!("{}", report.line());
        Ok(if report.passed() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    })
}

/// A bar on a terminal, a line now and then elsewhere.
struct Progress {
    bar: Option<ProgressBar>,
    /// Seconds and operations at the last line, or at the last change of the rate.
    last: RefCell<(u64, u64, u64)>,
}

impl Progress {
    fn new(length: Duration) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(length.as_secs());
            let style = ProgressStyle::with_template("{bar:24} {pos}/{len} s  {msg}");
            bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        });
        Self { bar, last: RefCell::new((0, 0, 0)) }
    }

    fn show(&self, shown: &Shown) {
        let mut last = self.last.borrow_mut();
        let every = if self.bar.is_some() { 1 } else { LINE_EVERY_S };
        if shown.elapsed_s < last.0 + every {
            return;
        }
        let rate = (shown.operations - last.1) / (shown.elapsed_s - last.0);
        *last = (shown.elapsed_s, shown.operations, rate);
        let active = if shown.active.is_empty() { "calm".to_owned() } else { shown.active.join(" + ") };
        let text = format!("{rate} ops/s, {} violations, {} faults, now {active}", shown.violations, shown.begun);
        match &self.bar {
            Some(bar) => {
                bar.set_position(shown.elapsed_s);
                bar.set_message(text);
            }
            None => eprintln!("{} s: {text}", shown.elapsed_s),
        }
    }
}
