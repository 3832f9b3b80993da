//! Runs seeds, and says what does not hold.

#![expect(clippy::print_stdout, reason = "its output is for people and for programs that read the last line")]

use std::{
    collections::BTreeMap,
    fs,
    path::PathBuf,
    process::ExitCode,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use quorate_simulation::{
    checks::Violation,
    faults::Kind,
    plan::Plan,
    report::Report,
    run::{Outcome, run},
    shrink::shrink,
};

/// A seed takes a few seconds of real time; one that takes this long is stuck.
const STUCK: Duration = Duration::from_secs(90);

/// Simulates the whole group, seed after seed: real nodes, clients, makers and exchange, under a simulated network,
/// clock and disk that fail
///
/// Ends with one line of JSON. Exit code 1 where something did not hold: the seed, and the command that repeats it, are
/// printed.
#[derive(Parser, Debug, Clone)]
#[command(name = "simulation", version)]
struct Cli {
    /// The first seed
    #[arg(long, default_value_t = 1)]
    first_seed: u64,
    /// How many seeds
    #[arg(long, default_value_t = 100)]
    seeds: u64,
    /// Threads, each with a seed of its own
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// Write the whole trace of the first seed to this file
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// Only faults of these kinds; `none` for no faults at all
    #[arg(long, value_name = "FAULT", num_args = 1..)]
    only: Vec<String>,
    /// Only these places of the schedule of faults, from 0, as a failure prints them
    #[arg(long, value_name = "PLACES", value_delimiter = ',')]
    keep: Option<Vec<usize>>,
    /// Go on after the first seed that fails
    #[arg(long)]
    keep_going: bool,
    /// Runs made at most to shrink the schedule of a failing seed
    #[arg(long, default_value_t = 60, value_name = "RUNS")]
    shrink_runs: usize,
}

impl Cli {
    fn plan(&self, seed: u64) -> Result<Plan> {
        let mut plan = if self.only.is_empty() {
            Plan::new(seed)
        } else if self.only == ["none"] {
            Plan::calm(seed)
        } else {
            let kinds: Result<Vec<Kind>, String> = self.only.iter().map(|text| text.parse()).collect();
            Plan::only(seed, &kinds.map_err(anyhow::Error::msg).context("--only")?)
        };
        if let Some(places) = &self.keep {
            plan.keep(places);
        }
        Ok(plan)
    }

    /// The command that repeats a seed.
    fn command(&self, seed: u64, kept: Option<&[usize]>) -> String {
        let only = if self.only.is_empty() { String::new() } else { format!(" --only {}", self.only.join(" ")) };
        let keep = kept.map(|kept| {
            let places: Vec<String> = kept.iter().map(ToString::to_string).collect();
            if places.is_empty() { " --only none".to_owned() } else { format!(" --keep {}", places.join(",")) }
        });
        format!("cargo run --release -- --first-seed {seed} --seeds 1{only}{}", keep.unwrap_or_default())
    }
}

fn main() -> Result<ExitCode> {
    let cli = Cli::parse();
    if let Ok(filter) = tracing_subscriber::EnvFilter::try_from_default_env() {
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).without_time().init();
    }
    cli.plan(cli.first_seed)?;
    let began = now();
    let progress = ProgressBar::new(cli.seeds);
    progress.set_style(ProgressStyle::with_template("{bar:40} {pos}/{len} seeds, {elapsed}, {eta} to go {msg}")?);
    let mut report = Report::default();
    let mut failures = Vec::new();
    for outcome in outcomes(&cli) {
        report.add(&outcome);
        progress.inc(1);
        if cli.trace.is_some() && outcome.seed == cli.first_seed {
            let path = cli.trace.as_deref().context("--trace")?;
            fs::write(path, outcome.lines.concat()).with_context(|| path.display().to_string())?;
        }
        if cli.seeds == 1 {
            println!("seed {}: trace of {} lines, hash {}", outcome.seed, outcome.trace.0, outcome.trace.1);
        }
        if !outcome.violations.is_empty() {
            let first = outcome.violations.first().map(|violation| violation.invariant).unwrap_or_default();
            progress.suspend(|| println!("seed {} FAILED: {first}", outcome.seed));
            failures.push(outcome);
            if !cli.keep_going {
                break;
            }
        }
    }
    progress.finish_and_clear();
    let wall = began.elapsed();
    for outcome in &failures {
        explain(&cli, outcome)?;
    }
    print!("{report}");
    println!("{}", report.summary(wall));
    Ok(if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Seeds under way, and since when.
type Running = Arc<Mutex<BTreeMap<u64, Instant>>>;

/// The outcomes of all seeds, as they come, from so many threads. A seed that does not end is one that failed.
fn outcomes(cli: &Cli) -> impl Iterator<Item = Outcome> + use<> {
    let (sender, receiver) = mpsc::sync_channel(cli.jobs);
    let next = Arc::new(AtomicU64::new(0));
    let running = Running::default();
    for _ in 0..cli.jobs.max(1) {
        let (cli, sender, next, running) = (cli.clone(), sender.clone(), Arc::clone(&next), Arc::clone(&running));
        thread::spawn(move || {
            loop {
                let offset = next.fetch_add(1, Ordering::Relaxed);
                if offset >= cli.seeds {
                    return;
                }
                let seed = cli.first_seed + offset;
                let Ok(plan) = cli.plan(seed) else { return };
                lock(&running).insert(seed, now());
                let outcome = run(plan, cli.trace.is_some() && offset == 0);
                lock(&running).remove(&seed);
                if sender.send(outcome).is_err() {
                    return;
                }
            }
        });
    }
    std::iter::from_fn(move || {
        loop {
            match receiver.recv_timeout(Duration::from_secs(1)) {
                Ok(outcome) => return Some(outcome),
                Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) => {}
            }
            let mut running = lock(&running);
            let stuck = running.iter().find(|(_, since)| since.elapsed() > STUCK).map(|(seed, _)| *seed);
            if let Some(seed) = stuck {
                running.remove(&seed);
                let what = format!("no end after {STUCK:?} of real time: simulated time stands still");
                let violation = Violation { invariant: "progress", at: Duration::ZERO, what };
                return Some(Outcome { seed, violations: vec![violation], ..Outcome::default() });
            }
        }
    })
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[expect(clippy::disallowed_methods, reason = "how long it takes people, not what is simulated")]
fn now() -> Instant {
    Instant::now()
}

fn explain(cli: &Cli, outcome: &Outcome) -> Result<()> {
    let seed = outcome.seed;
    println!("\nseed {seed} FAILED");
    for line in outcome.lines.iter().rev().take(15).rev() {
        print!("  {line}");
    }
    for violation in &outcome.violations {
        println!("  {} at {:?}: {}", violation.invariant, violation.at, violation.what);
    }
    println!("repeat with: {}", cli.command(seed, cli.keep.as_deref()));
    let plan = cli.plan(seed)?;
    let stuck = outcome.violations.iter().any(|violation| violation.invariant == "progress");
    if !plan.faults.is_empty() && cli.keep.is_none() && cli.shrink_runs > 0 && !stuck {
        println!("shrinking its schedule of {} faults ...", plan.faults.len());
        let shrunk = shrink(&plan, outcome, cli.shrink_runs);
        println!("after {} runs {} faults are left:", shrunk.runs, shrunk.kept.len());
        for place in &shrunk.kept {
            println!("  {place}: {:?}", plan.faults[*place]);
        }
        if let Some(violation) = shrunk.outcome.violations.first() {
            println!("  {} at {:?}: {}", violation.invariant, violation.at, violation.what);
        }
        println!("repeat with: {}", cli.command(seed, Some(&shrunk.kept)));
    }
    Ok(())
}
