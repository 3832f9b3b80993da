//! What is judged: exports of the nodes' events, and the publishers' journals, as JSON lines.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader},
    path::Path,
};

use anyhow::{Context, Result};
use quorate_domain::Symbol;
use quorate_ledger::Frame;
use serde::Deserialize;

/// One node's export: opening balances, then every frame that it still keeps.
#[derive(Debug)]
pub struct Export {
    /// Positions from fills before the first frame.
    pub opening: Vec<Opening>,
    /// The frames, in order.
    pub frames: Vec<Frame>,
}

/// A position carried forward from fills that are no longer kept.
#[derive(Debug, Deserialize)]
pub struct Opening {
    /// The symbol.
    pub symbol: Symbol,
    /// Lots.
    pub position: i64,
    /// How many quote fills it is the sum of.
    pub position_seq: u64,
}

/// The first line of an export.
#[derive(Deserialize)]
struct OpeningLine {
    opening: OpeningBalances,
}

#[derive(Deserialize)]
struct OpeningBalances {
    balances: Vec<Opening>,
}

/// What became of the orders of one or more publishers, by client order id.
#[derive(Debug, Default)]
pub struct Journal {
    /// One entry for each order that a publisher meant to send.
    pub orders: BTreeMap<String, Sent>,
    /// Orders whose outcome was unknown for a while, and was found out.
    pub unknown_settled: u64,
}

/// One order, as its publisher knows it.
#[derive(Debug, Default)]
pub struct Sent {
    /// How often an intent to send it was written: more than once is a publisher's own fault.
    pub intents: u32,
    /// The order's id, once acknowledged.
    pub order_id: Option<u64>,
    /// Trade ids acknowledged, each with its quantity as a decimal.
    pub trades: BTreeMap<u64, String>,
    /// The last status acknowledged.
    pub status: Option<String>,
    /// The most that was acknowledged as executed, as a decimal.
    pub executed_qty: Option<String>,
    /// Whether its outcome is known: acknowledged, or settled later.
    pub ended: bool,
}

impl Journal {
    /// Orders whose outcome is unknown to the last.
    #[must_use]
    pub fn unknown_left(&self) -> usize {
        self.orders.values().filter(|sent| !sent.ended).count()
    }
}

#[derive(Deserialize)]
struct JournalLine {
    t: String,
    #[serde(default)]
    client_order_id: String,
    order_id: Option<u64>,
    status: Option<String>,
    executed_qty: Option<String>,
    #[serde(default)]
    fills: Vec<JournalFill>,
    code: Option<i64>,
}

#[derive(Deserialize)]
struct JournalFill {
    trade_id: u64,
    qty: String,
}

/// Reads an export as `ledgerctl export` writes it.
///
/// # Errors
/// Where the file cannot be read, or a line is not of the format.
pub fn read_export(path: &Path) -> Result<Export> {
    let mut lines = lines(path)?;
    let first = lines.next().with_context(|| format!("{} is empty", path.display()))??;
    let first: OpeningLine = serde_json::from_str(&first).with_context(|| format!("{}:1", path.display()))?;
    let mut export = Export { opening: first.opening.balances, frames: Vec::new() };
    for (at, line) in lines.enumerate() {
        let line = line.with_context(|| path.display().to_string())?;
        let frame = serde_json::from_str(&line).with_context(|| format!("{}:{}", path.display(), at + 2))?;
        export.frames.push(frame);
    }
    Ok(export)
}

/// Adds a publisher's journal to `journal`. A last line without its end (the publisher was killed while it wrote) is
/// left out: it was never acknowledged to be on disk.
///
/// # Errors
/// Where the file cannot be read, or a whole line is not of the format.
pub fn read_journal(path: &Path, journal: &mut Journal) -> Result<()> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    for (at, line) in whole.lines().enumerate() {
        let place = || format!("{}:{}", path.display(), at + 1);
        let line: JournalLine = serde_json::from_str(line).with_context(place)?;
        if !matches!(line.t.as_str(), "intent" | "ack" | "settled" | "unknown") {
            continue;
        }
        let sent = journal.orders.entry(line.client_order_id).or_default();
        match line.t.as_str() {
            "intent" => sent.intents += 1,
            // A later run of the same publisher may settle it yet.
            "unknown" => sent.ended = false,
            settled_or_ack => {
                if settled_or_ack == "settled" {
                    journal.unknown_settled += 1;
                }
                sent.ended = true;
                sent.executed_qty = line.executed_qty.or(sent.executed_qty.take());
                sent.order_id = line.order_id.or(sent.order_id);
                sent.status = line.status.or_else(|| line.code.map(|code| format!("refused {code}")));
                sent.trades.extend(line.fills.into_iter().map(|fill| (fill.trade_id, fill.qty)));
            }
        }
    }
    Ok(())
}

fn lines(path: &Path) -> Result<impl Iterator<Item = std::io::Result<String>>> {
    let file = std::fs::File::open(path).with_context(|| path.display().to_string())?;
    Ok(BufReader::new(file).lines())
}
