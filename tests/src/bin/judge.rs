//! Judges a run from independent evidence: exports of all nodes, the publishers' journals, and what the nodes say of
//! themselves last of all. Prints each check, then one line of JSON; exits 1 where a check fails.

#![allow(clippy::print_stdout, reason = "a command whose output is its purpose")]

use std::{collections::BTreeMap, path::PathBuf, process::ExitCode};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use quorate_tests::{
    evidence::{Export, Journal, read_export, read_journal},
    replay::{Findings, Held, MoneySaid, VIEWS, hold, replay_and_hear},
};
use serde_json::{Value, json};

/// Judge a run from its exports and journals
#[derive(Parser)]
struct Args {
    /// Export of one node, as `ledgerctl export` writes it; once for each node
    #[arg(long = "export", required = true)]
    exports: Vec<PathBuf>,
    /// Journal of a publisher; once for each
    #[arg(long = "journal", required = true)]
    journals: Vec<PathBuf>,
    /// What `ledgerctl --json positions` printed at the end
    #[arg(long)]
    positions: PathBuf,
    /// What `ledgerctl --json audit` printed at the end
    #[arg(long)]
    audit: PathBuf,
    /// Answers of nodes to `GET /v1/positions` during the run, one a line
    #[arg(long, value_name = "FILE")]
    positions_seen: Option<PathBuf>,
    /// Answers to `GET /v1/pnl`, likewise
    #[arg(long, value_name = "FILE")]
    pnl_seen: Option<PathBuf>,
    /// Answers to `GET /v1/breakers`, likewise
    #[arg(long, value_name = "FILE")]
    breakers_seen: Option<PathBuf>,
    /// Answers to `GET /v1/balances`, likewise
    #[arg(long, value_name = "FILE")]
    balances_seen: Option<PathBuf>,
    /// Fail where the run would prove nothing: too few fills, no shortage of exposure, no stale position, nothing in doubt,
    /// too few reads of money
    #[arg(long)]
    demanding: bool,
}

impl Args {
    /// What nodes said of money.
    fn said(&self) -> Result<MoneySaid> {
        let files = [&self.positions_seen, &self.pnl_seen, &self.breakers_seen, &self.balances_seen];
        let mut said = MoneySaid::default();
        for (view, file) in VIEWS.into_iter().zip(files) {
            if let Some(file) = file {
                said.take_file(view, file)?;
            }
        }
        Ok(said)
    }
}

/// So many answers of each view must be judged, where the run is to prove something.
const READS_MIN: u64 = 40;

struct Checks {
    failed: u32,
}

impl Checks {
    fn check(&mut self, holds: bool, what: &str, figure: &dyn std::fmt::Display) {
        println!("{} {what}: {figure}", if holds { "  ok  " } else { " FAIL " });
        self.failed += u32::from(!holds);
    }
}

fn main() -> Result<ExitCode> {
    let args = Args::parse();
    let exports: Vec<Export> = args.exports.iter().map(|path| read_export(path)).collect::<Result<_>>()?;
    let mut journal = Journal::default();
    for path in &args.journals {
        read_journal(path, &mut journal)?;
    }
    let longest = exports.iter().max_by_key(|export| export.frames.len()).context("no export")?;
    ensure!(!longest.frames.is_empty(), "the exports hold no frames");
    let money_said = args.said()?;
    let found = replay_and_hear(longest, &money_said);
    let held = hold(&found, &journal);
    let said: Value = read_json(&args.positions)?;
    let audit: Value = read_json(&args.audit)?;
    let (common, same_chain) = chains_agree(&exports);
    let digest_equal = same_chain && audit["ok"] == json!(true) && audit["compared"]["equal"] == json!(true);

    let mut checks = Checks { failed: 0 };
    checks.check(digest_equal, "equal state digest on all nodes at one index, equal chain at every index", &common);
    checks.check(found.violations.is_empty(), "naive replay: violations", &found.violations.len());
    checks.check(held.lost == 0, "acknowledged and not committed", &held.lost);
    checks.check(held.doubled == 0, "counted twice", &held.doubled);
    checks.check(held.unasked == 0, "committed and not asked for", &held.unasked);
    checks.check(journal.unknown_left() == 0, "outcomes still unknown", &journal.unknown_left());
    checks.check(positions_agree(&found, &said), "positions equal the sum of fills", &found.quote_fills);
    checks.check(found.exposure_max <= found.limit, "highest exposure reserved", &found.exposure_max);
    checks.check(found.authority_overlaps == 0, "authority doubled", &found.authority_overlaps);
    let reads: u64 = found.money_said.values().sum();
    checks.check(
        reads == money_said.answers(),
        "reads of money, each held against the judge's sums at its index",
        &reads,
    );
    if args.demanding {
        checks.check(found.fills >= 1_000, "fills, at least 1000", &found.fills);
        checks.check(found.exposure_max >= 95, "exposure reached 95", &found.exposure_max);
        checks.check(found.grants_reduced > 0, "grants reduced", &found.grants_reduced);
        checks.check(found.grants_refused > 0, "grants refused", &found.grants_refused);
        checks.check(found.stale_positions > 0, "stale positions refused", &found.stale_positions);
        checks.check(journal.unknown_settled > 0, "unknown outcomes settled", &journal.unknown_settled);
        checks.check(found.terms > 1, "terms begun", &found.terms);
        let least = VIEWS.map(|view| found.money_said.get(view).copied().unwrap_or(0)).into_iter().min().unwrap_or(0);
        checks.check(least >= READS_MIN, "reads of each view of money, at least 40", &least);
    }
    println!("       longest gap between commits {} ms, between quotes {} ms", found.commit_gap_ms, found.quote_gap_ms);
    for violation in found.violations.iter().chain(&held.violations).take(20) {
        println!("       {violation}");
    }
    println!("{}", summary(&found, &held, &journal, digest_equal, checks.failed == 0));
    Ok(if checks.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn summary(found: &Findings, held: &Held, journal: &Journal, digest_equal: bool, passed: bool) -> Value {
    json!({
        "verdict": if passed { "pass" } else { "fail" },
        "fills": found.fills,
        "acked_fills": held.acked_fills,
        "lost": held.lost,
        "doubled": held.doubled + held.unasked,
        "limit": found.limit,
        "exposure_max": found.exposure_max,
        "grants_reduced": found.grants_reduced,
        "grants_refused": found.grants_refused,
        "stale_positions": found.stale_positions,
        "kept": found.kept,
        "turns": found.turns,
        "waited_ms_max": found.waited_ms_max,
        "unknown_settled": journal.unknown_settled,
        "money_reads": found.money_said.values().sum::<u64>(),
        "authority_overlaps": found.authority_overlaps,
        "digest_equal": digest_equal,
        "commit_gap_ms": found.commit_gap_ms,
        "quote_gap_ms": found.quote_gap_ms,
    })
}

fn read_json(path: &PathBuf) -> Result<Value> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    serde_json::from_str(&text).with_context(|| path.display().to_string())
}

/// How many indexes all exports share, and whether their frames are equal at each of them.
fn chains_agree(exports: &[Export]) -> (usize, bool) {
    let frames_by_index: Vec<BTreeMap<u64, _>> =
        exports.iter().map(|export| export.frames.iter().map(|frame| (frame.index, frame)).collect()).collect();
    let Some((first, others)) = frames_by_index.split_first() else { return (0, false) };
    let mut common = 0;
    for (index, frame) in first {
        let at_others: Vec<_> = others.iter().filter_map(|frames| frames.get(index)).collect();
        if at_others.iter().any(|other| *other != frame) {
            return (common, false);
        }
        common += usize::from(at_others.len() == others.len());
    }
    (common, common > 0)
}

/// Whether the positions that the group gives are those of the replay, symbol by symbol.
fn positions_agree(found: &Findings, said: &Value) -> bool {
    let Some(rows) = said["data"].as_array() else { return false };
    let said: BTreeMap<&str, i64> = rows
        .iter()
        .filter_map(|row| Some((row["symbol"].as_str()?, row["position"].as_str()?.parse().ok()?)))
        .collect();
    said.len() == found.positions.len()
        && found.positions.iter().all(|(symbol, position)| said.get(symbol.as_str()) == Some(position))
}
