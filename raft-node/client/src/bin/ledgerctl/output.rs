//! What is printed: JSON for programs, tables for people.

use std::io::{self, Write};

use comfy_table::{Cell, CellAlignment, Table, presets};
use quorate_domain::Millis;
use quorate_ledger::Digest;
use serde::Serialize;

use crate::failure::CtlError;

/// Standard output.
pub(crate) struct Out {
    json: bool,
}

impl Out {
    pub(crate) fn new(json: bool) -> Self {
        Self { json }
    }

    /// Whether programs read.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// One line.
    pub(crate) fn line(&self, text: &str) -> Result<(), CtlError> {
        let mut stdout = io::stdout().lock();
        writeln!(stdout, "{text}")?;
        Ok(stdout.flush()?)
    }

    /// One JSON object on a line.
    pub(crate) fn object<T: Serialize>(&self, value: &T) -> Result<(), CtlError> {
        let text = serde_json::to_string(value).map_err(io::Error::other)?;
        self.line(&text)
    }

    /// The value as JSON, or what `show` makes of it.
    pub(crate) fn show<T: Serialize>(&self, value: &T, show: impl FnOnce(&T) -> String) -> Result<(), CtlError> {
        if self.json { self.object(value) } else { self.line(&show(value)) }
    }
}

/// A table under construction.
pub(crate) struct Grid(Table, Vec<bool>);

impl Grid {
    /// Columns; those whose name begins with `>` hold numbers and are aligned to the right.
    pub(crate) fn new(columns: &[&str]) -> Self {
        let mut table = Table::new();
        table.load_style(presets::UTF8_BORDERS_ONLY);
        let right: Vec<bool> = columns.iter().map(|name| name.starts_with('>')).collect();
        let header = columns.iter().zip(&right).map(|(name, right)| cell(name.trim_start_matches('>'), *right));
        table.set_header(header.collect::<Vec<_>>());
        Self(table, right)
    }

    pub(crate) fn row<I: IntoIterator<Item = String>>(&mut self, cells: I) {
        let cells: Vec<_> = cells.into_iter().zip(&self.1).map(|(text, right)| cell(&text, *right)).collect();
        self.0.add_row(cells);
    }

    /// As text, with a word for no rows.
    pub(crate) fn finish(self) -> String {
        if self.0.row_count() == 0 { "none".to_owned() } else { self.0.to_string() }
    }
}

fn cell(text: &str, right: bool) -> Cell {
    let alignment = if right { CellAlignment::Right } else { CellAlignment::Left };
    Cell::new(text).set_alignment(alignment)
}

/// A value, or a dash.
pub(crate) fn or_dash<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

/// The first digits of a digest: enough to compare by eye.
pub(crate) fn short(digest: &Digest) -> String {
    digest.to_string().chars().take(12).collect()
}

/// How far `deadline` lies ahead of `now`, in seconds.
pub(crate) fn remaining(deadline: Millis, now: Millis) -> String {
    let ms = deadline.since(now);
    if ms == 0 { "over".to_owned() } else { format!("{}.{:01} s", ms / 1_000, ms % 1_000 / 100) }
}
