//! What many runs came to, in sums.

use std::{collections::BTreeMap, fmt, time::Duration};

use quorate_ledger::Refusal;
use quorate_log_store::sim_disk::CrashReport;
use serde_json::{Value, json};

use crate::{faults::Kind, run::Outcome};

/// Sums over runs.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Runs.
    pub seeds: u64,
    /// Runs in which something did not hold.
    pub failed: Vec<u64>,
    /// Simulated time.
    pub simulated: Duration,
    /// Faults injected.
    pub faults: BTreeMap<String, u64>,
    /// What happened.
    pub counts: BTreeMap<String, u64>,
    /// Refusals of the ledger that reached clients.
    pub refusals: BTreeMap<String, u64>,
    /// How quotes ended, by the reason.
    pub ends: BTreeMap<String, u64>,
    /// The longest time that a symbol waited for its turn, in milliseconds.
    pub waited_ms_max: u64,
    /// Indexes applied.
    pub indexes: u64,
    /// Fills committed.
    pub fills: u64,
    /// Longest time until all was well after the faults, in milliseconds.
    pub heal_ms_max: u64,
    /// What crashes left of unsynced writes.
    pub crashes: CrashReport,
}

impl Report {
    /// Adds a run.
    pub fn add(&mut self, outcome: &Outcome) {
        self.seeds += 1;
        if !outcome.violations.is_empty() {
            self.failed.push(outcome.seed);
        }
        self.simulated += outcome.simulated;
        sum(&mut self.faults, &outcome.faults);
        sum(&mut self.counts, &outcome.counts);
        sum(&mut self.refusals, &outcome.refusals);
        sum(&mut self.ends, &outcome.ends);
        self.waited_ms_max = self.waited_ms_max.max(outcome.waited_ms_max);
        self.indexes += outcome.indexes;
        self.fills += outcome.fills;
        self.heal_ms_max = self.heal_ms_max.max(outcome.heal_ms);
        self.crashes.add(outcome.crashes);
    }

    /// One JSON object, for programs.
    #[must_use]
    pub fn summary(&self, wall: Duration) -> Value {
        let wall_s = wall.as_secs_f64().max(0.001);
        json!({
            "verdict": if self.failed.is_empty() { "pass" } else { "fail" },
            "seeds": self.seeds,
            "failed_seeds": self.failed,
            "simulated_s": self.simulated.as_secs(),
            "wall_s": (wall_s * 10.0).round() / 10.0,
            "simulated_per_s": (self.simulated.as_secs_f64() / wall_s).round(),
            "seeds_per_min": (self.seeds as f64 * 60.0 / wall_s).round(),
            "indexes": self.indexes,
            "fills": self.fills,
            "faults": self.faults.values().sum::<u64>(),
            "fault_kinds": self.faults.len(),
            "fault_kinds_all": Kind::ALL.len(),
            "refusal_kinds": self.refusals.len(),
            "refusal_kinds_all": refusal_names().len(),
            "quote_ends": self.ends.len(),
            "waited_ms_max": self.waited_ms_max,
            "heal_ms_max": self.heal_ms_max,
            "writes_lost": self.crashes.lost,
            "writes_torn": self.crashes.torn,
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = |f: &mut fmt::Formatter<'_>, title: &str, counts: &BTreeMap<String, u64>| {
            let listed: Vec<String> = counts.iter().map(|(name, count)| format!("{name} {count}")).collect();
            writeln!(f, "{title}: {}", listed.join(", "))
        };
        let mut faults = BTreeMap::from(Kind::ALL.map(|kind| (kind.name().to_owned(), 0)));
        faults.extend(self.faults.clone());
        line(f, "faults", &faults)?;
        let refused = |name: String| {
            let count = self.refusals.get(&name).copied().unwrap_or(0);
            (name, count)
        };
        line(f, "refusals", &refusal_names().into_iter().map(refused).collect())?;
        line(f, "quotes ended", &self.ends)?;
        line(f, "happened", &self.counts)?;
        let CrashReport { pending, kept, lost, torn } = self.crashes;
        writeln!(f, "unsynced writes at crashes: {pending}, of them kept {kept}, lost {lost}, torn {torn}")
    }
}

/// The names of all refusals, as in JSON: serde lists them to whoever names none.
fn refusal_names() -> Vec<String> {
    let listed = match serde_json::from_str::<Refusal>("\"?\"") {
        Ok(_) => String::new(),
        Err(error) => error.to_string(),
    };
    listed.split('`').skip(3).step_by(2).map(str::to_owned).collect()
}

fn sum(into: &mut BTreeMap<String, u64>, from: &BTreeMap<String, u64>) {
    for (name, count) in from {
        *into.entry(name.clone()).or_default() += count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_refusals_are_listed() {
        let names = refusal_names();
        assert_eq!(
            (names.first().map(String::as_str), names.last().map(String::as_str)),
            (Some("session_required"), Some("order_closed"))
        );
        assert!(names.iter().all(|name| name.chars().all(|letter| letter.is_ascii_lowercase() || letter == '_')));
    }
}
