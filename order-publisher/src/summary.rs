//! What a run came to.

use std::{collections::BTreeMap, time::Duration};

use hdrhistogram::Histogram;
use quorate_domain::Decimal;
use serde::Serialize;

use crate::delivery::{Delivered, Outcome, Way};

/// Longest latency that is told apart, in microseconds.
const LATENCY_MAX_US: u64 = 600_000_000;

/// Counts of one run. What an earlier run of the same journal left open and this one settled is counted
/// here; what that one counted is not.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    /// What the client order ids begin with.
    pub run_id: String,
    /// `random` or `replay`.
    pub mode: String,
    /// Orders meant to be sent, in this run.
    pub sent: u64,
    /// Orders of earlier runs that were open, and were seen through first.
    pub resumed: u64,
    /// Filled whole.
    pub filled: u64,
    /// Filled in part, whatever became of the rest.
    pub partially_filled: u64,
    /// Rest unfilled.
    pub rested: u64,
    /// Ran out unfilled.
    pub expired: u64,
    /// Refused, by Binance's code.
    pub rejected: BTreeMap<i32, u64>,
    /// Could not be sent at all.
    pub not_sent: u64,
    /// Taken back by this publisher.
    pub cancelled: u64,
    /// Could not be taken back at the end, and may rest still.
    pub left_resting: u64,
    /// Recorded trades that were no trades of two orders, and were not sent.
    pub skipped_trades: u64,
    /// Places of the capture where its time went back or stood still for too long, and was not waited for.
    pub skipped_gaps: u64,
    /// Fills that were told one by one.
    pub fills: u64,
    /// Orders whose outcome was unknown for a while.
    pub unknown: Unknown,
    /// From sending to the first definite answer.
    pub latency: Latency,
    /// How long the run took.
    pub seconds: f64,
    /// Why the run ended badly, where it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    #[serde(skip)]
    histogram: Histogram<u64>,
}

/// What became of unknown outcomes.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Unknown {
    /// How many there were.
    pub seen: u64,
    /// Found out by asking for the order.
    pub settled_by_query: u64,
    /// Found out by sending it again under its own name.
    pub settled_by_resend: u64,
    /// Still unknown.
    pub left: u64,
}

/// Percentiles, in milliseconds.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Latency {
    /// Answers measured.
    pub count: u64,
    /// Median.
    pub p50_ms: f64,
    /// 9 of 10.
    pub p90_ms: f64,
    /// 99 of 100.
    pub p99_ms: f64,
    /// The longest.
    pub max_ms: f64,
}

impl Summary {
    pub(crate) fn new(run_id: &str, mode: &str) -> Self {
        Self {
            run_id: run_id.to_owned(),
            mode: mode.to_owned(),
            sent: 0,
            resumed: 0,
            filled: 0,
            partially_filled: 0,
            rested: 0,
            expired: 0,
            rejected: BTreeMap::new(),
            not_sent: 0,
            cancelled: 0,
            left_resting: 0,
            skipped_trades: 0,
            skipped_gaps: 0,
            fills: 0,
            unknown: Unknown::default(),
            latency: Latency::default(),
            seconds: 0.0,
            error: None,
            histogram: Histogram::new_with_bounds(1, LATENCY_MAX_US, 3).expect("bounds that a histogram accepts"),
        }
    }

    /// Orders whose end is known, or that were given up.
    #[must_use]
    pub fn ended(&self) -> u64 {
        let refused: u64 = self.rejected.values().sum();
        let taken = self.filled + self.partially_filled + self.rested + self.expired;
        taken + refused + self.not_sent + self.unknown.left
    }

    /// Whether every outcome is known, and nothing that this publisher sent is left at the exchange.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.unknown.left == 0 && self.left_resting == 0
    }

    pub(crate) fn delivered(&mut self, delivered: &Delivered) {
        let settled = match delivered.way {
            Way::Answer => None,
            Way::Query => Some(&mut self.unknown.settled_by_query),
            Way::Resend => Some(&mut self.unknown.settled_by_resend),
        };
        if let Some(settled) = settled {
            *settled += 1;
            self.unknown.seen += 1;
        }
        if let Some(latency) = delivered.latency {
            self.histogram.saturating_record(micros(latency).max(1));
        }
        match &delivered.outcome {
            Outcome::Refused(error) => *self.rejected.entry(error.code).or_default() += 1,
            Outcome::NotSent(_) => self.not_sent += 1,
            Outcome::Unknown(_) => {
                self.unknown.seen += 1;
                self.unknown.left += 1;
            }
            Outcome::Taken(standing) => {
                self.fills += u64::try_from(standing.fills.len()).unwrap_or(u64::MAX);
                let some = standing.executed_qty.parse().is_ok_and(Decimal::is_positive);
                let count = match (standing.status.as_str(), some) {
                    ("FILLED", _) => &mut self.filled,
                    (_, true) => &mut self.partially_filled,
                    ("NEW", false) => &mut self.rested,
                    (_, false) => &mut self.expired,
                };
                *count += 1;
            }
        }
    }

    pub(crate) fn close(&mut self, took: Duration) {
        let ms = |us: u64| f64::from(u32::try_from(us).unwrap_or(u32::MAX)) / 1e3;
        let at = |quantile| ms(self.histogram.value_at_quantile(quantile));
        self.latency = Latency {
            count: self.histogram.len(),
            p50_ms: at(0.5),
            p90_ms: at(0.9),
            p99_ms: at(0.99),
            max_ms: ms(self.histogram.max()),
        };
        self.seconds = took.as_secs_f64();
    }

    /// As a table for people.
    #[must_use]
    pub fn table(&self) -> String {
        let mut table = comfy_table::Table::new();
        table.load_style(comfy_table::presets::UTF8_BORDERS_ONLY);
        let mut row = |name: &str, value: String| {
            table.add_row([name.to_owned(), value]);
        };
        row("run", format!("{} ({}, {:.1} s)", self.run_id, self.mode, self.seconds));
        row("sent", self.sent.to_string());
        if self.resumed > 0 {
            row("left open by an earlier run", self.resumed.to_string());
        }
        row("filled", format!("{} ({} fills)", self.filled, self.fills));
        row("partially filled", self.partially_filled.to_string());
        row("rested", format!("{} ({} taken back)", self.rested, self.cancelled));
        if self.left_resting > 0 {
            row("left resting", self.left_resting.to_string());
        }
        row("expired", self.expired.to_string());
        for (code, count) in &self.rejected {
            row(&format!("rejected {code}"), count.to_string());
        }
        row("not sent", self.not_sent.to_string());
        for (name, count) in [
            ("trades not by orders, skipped", self.skipped_trades),
            ("gaps in time, not waited for", self.skipped_gaps),
        ] {
            if count > 0 {
                row(name, count.to_string());
            }
        }
        let Unknown { seen, settled_by_query, settled_by_resend, left } = &self.unknown;
        let settled = format!("{settled_by_query} settled by query, {settled_by_resend} by resend, {left} left");
        row("unknown for a while", format!("{seen} ({settled})"));
        let Latency { count, p50_ms, p90_ms, p99_ms, max_ms } = &self.latency;
        let latency = format!("p50 {p50_ms:.2}, p90 {p90_ms:.2}, p99 {p99_ms:.2}, max {max_ms:.2} ({count} answers)");
        row("latency, ms", latency);
        if let Some(error) = &self.error {
            row("error", error.clone());
        }
        table.to_string()
    }
}

pub(crate) fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use quorate_binance_api::ApiError;

    use super::*;
    use crate::venue::Standing;

    fn taken(status: &str, executed: &str, way: Way) -> Delivered {
        let (status, executed_qty) = (status.to_owned(), executed.to_owned());
        let outcome = Outcome::Taken(Standing { order_id: 1, status, executed_qty, fills: Vec::new() });
        Delivered { outcome, way, latency: Some(Duration::from_millis(2)) }
    }

    #[test]
    fn every_end_is_counted_once() {
        let mut summary = Summary::new("q", "random");
        let ends = [
            taken("FILLED", "0.5", Way::Answer),
            taken("EXPIRED", "0.1", Way::Query),
            taken("PARTIALLY_FILLED", "0.1", Way::Resend),
            taken("NEW", "0.0", Way::Answer),
            taken("EXPIRED", "0", Way::Answer),
            Delivered { outcome: Outcome::Refused(ApiError::rejected("x")), way: Way::Answer, latency: None },
            Delivered { outcome: Outcome::NotSent("x".into()), way: Way::Answer, latency: None },
            Delivered { outcome: Outcome::Unknown("x".into()), way: Way::Answer, latency: None },
        ];
        ends.iter().for_each(|end| summary.delivered(end));
        summary.close(Duration::from_secs(1));
        assert_eq!(summary.ended(), 8);
        assert_eq!((summary.filled, summary.partially_filled, summary.rested, summary.expired), (1, 2, 1, 1));
        assert_eq!((summary.rejected[&-2010], summary.not_sent), (1, 1));
        let Unknown { seen, settled_by_query, settled_by_resend, left } = summary.unknown;
        assert_eq!((seen, settled_by_query, settled_by_resend, left), (3, 1, 1, 1));
        assert_eq!((summary.latency.count, summary.latency.p50_ms.round()), (5, 2.0));
        assert!(summary.table().contains("rejected -2010"));
    }
}
