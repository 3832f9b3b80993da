//! Turns each planted bug on, one after the other, and says which layer of the proof finds it, and after how much.
//!
//! Layers: the ledger against its naive model, the store on a disk that crashes, the node's own tests, the maker's, and the simulation
//! of the whole group, seed after seed from the first, within a budget. With no bug planted no layer may find anything. Ends with one
//! line of JSON; exit code 1 where a bug is found by nobody, or where there is an alarm without a bug.

#![expect(clippy::print_stdout, reason = "its output is a table for people and a last line for programs")]

use std::{
    fmt,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
};

use anyhow::{Result, ensure};
use clap::Parser;
use quorate_planted::{Bug, VARIABLE};
use serde_json::{Value, json};

/// Seeds of the simulation within which a bug must be found, unless `--budget` says otherwise.
const BUDGET: u64 = 100;

/// Plants each bug in turn and says which layer finds it
#[derive(Parser, Debug)]
#[command(name = "bite")]
struct Cli {
    /// Only these bugs
    #[arg(long, value_name = "BUG", num_args = 1..)]
    bug: Vec<Bug>,
    /// Seeds of the simulation at most for each bug
    #[arg(long, value_name = "SEEDS", default_value_t = BUDGET)]
    budget: u64,
    /// Seeds at a time
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// Only the simulation, not the tests of ledger, store, node and maker
    #[arg(long)]
    simulation_only: bool,
}

/// What a layer said.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Verdict {
    /// Nothing is wrong.
    Silent,
    /// Something is: what, in short.
    Found(String),
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silent => f.write_str("–"),
            Self::Found(what) => f.write_str(what),
        }
    }
}

/// The only faults under which a bug is looked for in the simulation, where it takes several of a few kinds to show:
/// among all kinds they meet in one seed of hundreds. None: all kinds.
fn only(bug: Bug) -> &'static [&'static str] {
    match bug {
        // A leader whose wall clock was set forward lives on as a follower.
        Bug::StaleLeaderTicks => &["step-wall", "isolate-leader", "transfer-leader", "deaf"],
        // Somebody follows a node that stood still for as long as others took to purge their logs.
        Bug::SkipEventsAfterSnapshot => &["pause-node", "hold", "long-outage", "snapshot"],
        // The feed is silent for long, and no update of it is late.
        Bug::AgeByPoll => &["feed-dies"],
        // Somebody keeps a quote that was filled, and that its maker has not replaced yet.
        Bug::KeepStalePosition => &["keep-quotes", "pause-maker"],
        // Somebody keeps a quote whose time is just over.
        Bug::KeepRevivesExpired => &["keep-quotes"],
        _ => &[],
    }
}

/// A layer of tests beside the code: its name, its package, and which of its tests.
const BESIDE: [(&str, &str, &[&str]); 4] = [
    ("model", "quorate-ledger", &["--test", "model"]),
    ("crash", "quorate-log-store", &["--test", "crash", "--test", "cut", "--test", "queue"]),
    ("node", "quorate-node", &["--lib", "--test", "group", "--test", "divergence", "--test", "identity"]),
    ("maker", "quorate-quoter", &["--test", "rules"]),
];

/// The binaries that are run with a bug in them.
struct Layers {
    simulation: PathBuf,
    /// Those of [`BESIDE`], in its order; none where only the simulation runs.
    beside: Vec<Vec<PathBuf>>,
    budget: u64,
    jobs: usize,
}

impl Layers {
    fn build(cli: &Cli) -> Result<Self> {
        let simulation = std::env::current_exe()?.with_file_name("simulation");
        ensure!(simulation.exists(), "{} is missing: run `cargo build --release` first", simulation.display());
        let beside = if cli.simulation_only { &[] } else { &BESIDE[..] };
        let beside = beside.iter().map(|(_, package, tests)| build_tests(package, tests)).collect::<Result<_>>()?;
        Ok(Self { simulation, beside, budget: cli.budget, jobs: cli.jobs })
    }

    /// What all layers say, in the order of the table.
    fn verdicts(&self, bug: Option<Bug>) -> Result<Vec<Verdict>> {
        let mut verdicts: Vec<Verdict> =
            self.beside.iter().map(|binaries| Self::test(binaries, bug)).collect::<Result<_>>()?;
        verdicts.resize(BESIDE.len(), Verdict::Silent);
        verdicts.push(self.simulate(bug)?);
        Ok(verdicts)
    }

    /// What the tests beside the code say.
    fn test(binaries: &[PathBuf], bug: Option<Bug>) -> Result<Verdict> {
        let mut failed = 0;
        for binary in binaries {
            let output = planted(Command::new(binary), bug).output()?;
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            let here = said.lines().filter(|line| line.starts_with("test ") && line.ends_with("FAILED")).count();
            ensure!(
                output.status.success() == (here == 0),
                "{} ended with {}:\n{said}",
                binary.display(),
                output.status
            );
            failed += here;
        }
        Ok(match failed {
            0 => Verdict::Silent,
            1 => Verdict::Found("1 test".to_owned()),
            many => Verdict::Found(format!("{many} tests")),
        })
    }

    /// What the simulation says.
    fn simulate(&self, bug: Option<Bug>) -> Result<Verdict> {
        let mut command = Command::new(&self.simulation);
        command.args(["--first-seed", "1", "--shrink-runs", "0"]);
        command.args(["--seeds", &self.budget.to_string(), "--jobs", &self.jobs.to_string()]);
        let faults = bug.map_or(&[][..], only);
        if !faults.is_empty() {
            command.arg("--only").args(faults);
        }
        let output = planted(command, bug).stderr(Stdio::null()).output()?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let summary: Value = said.lines().last().and_then(|line| serde_json::from_str(line).ok()).unwrap_or_default();
        let Some(seed) = summary["failed_seeds"][0].as_u64() else {
            ensure!(output.status.success(), "the simulation ended with {}:\n{said}", output.status);
            return Ok(Verdict::Silent);
        };
        let violation = said.lines().find_map(|line| line.strip_prefix("  ")?.split_once(" at ").filter(is_violation));
        let of = if faults.is_empty() { String::new() } else { format!(" of {}", faults.join(", ")) };
        Ok(Verdict::Found(format!("seed {seed}{of}: {}", violation.map_or("?", |(invariant, _)| invariant))))
    }
}

/// A line of a violation goes on with its time.
fn is_violation((_, rest): &(&str, &str)) -> bool {
    rest.split_once("s: ").is_some_and(|(at, _)| at.trim_end_matches('m').parse::<f64>().is_ok())
}

fn planted(mut command: Command, bug: Option<Bug>) -> Command {
    command.env(VARIABLE, bug.map_or("", Bug::name)).stdin(Stdio::null());
    command
}

/// Builds tests of the workspace with the planted bugs in them; the paths of their binaries.
fn build_tests(package: &str, tests: &[&str]) -> Result<Vec<PathBuf>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut command = Command::new("cargo");
    command.current_dir(&root).args(["test", "--locked", "--no-run", "--message-format=json"]);
    // The flags of this package are not those of the workspace.
    command.env_remove("CARGO_ENCODED_RUSTFLAGS").env_remove("RUSTFLAGS");
    command.args(["-p", package, "--features", "quorate-planted/on"]).args(tests);
    let output = command.stderr(Stdio::inherit()).output()?;
    ensure!(output.status.success(), "{package}: its tests do not build");
    let messages = String::from_utf8(output.stdout)?;
    let built: Vec<PathBuf> = messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|message| message["profile"]["test"] == true)
        .filter_map(|message| message["executable"].as_str().map(PathBuf::from))
        .collect();
    ensure!(!built.is_empty(), "{package}: no binary of its tests {tests:?}");
    Ok(built)
}

fn main() -> Result<ExitCode> {
    let cli = Cli::parse();
    let layers = Layers::build(&cli)?;
    let bugs: Vec<Bug> = if cli.bug.is_empty() { Bug::ALL.to_vec() } else { cli.bug.clone() };
    let mut rows = Vec::new();
    let mut wrong = Vec::new();
    println!(
        "| planted bug | ledger's model | store's crashes | node's own | maker's | simulation |\n|---|---|---|---|---|---|"
    );
    for bug in std::iter::once(None).chain(bugs.into_iter().map(Some)) {
        let verdicts = layers.verdicts(bug)?;
        let name = bug.map_or("none", Bug::name);
        let cells: Vec<String> = verdicts.iter().map(ToString::to_string).collect();
        println!("| {name} | {} |", cells.join(" | "));
        let found = verdicts.iter().any(|verdict| *verdict != Verdict::Silent);
        if found != bug.is_some() {
            wrong.push(name);
        }
        let titles = BESIDE.iter().map(|(title, ..)| *title).chain(["simulation"]);
        let told = titles.zip(&verdicts).map(|(title, verdict)| match verdict {
            Verdict::Silent => (title.to_owned(), Value::Null),
            Verdict::Found(what) => (title.to_owned(), json!(what)),
        });
        rows.push(json!({"bug": name, "layers": told.collect::<serde_json::Map<_, _>>()}));
    }
    let verdict = if wrong.is_empty() { "pass" } else { "fail" };
    println!("{}", json!({"verdict": verdict, "wrong": wrong, "budget": cli.budget, "bugs": rows}));
    Ok(if wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
