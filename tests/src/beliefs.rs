//! The makers' own records of what they believed to hold, and when: read here from the file format alone,
//! with none of the makers' code.
//!
//! Invariant that is judged: no two beliefs in one symbol overlap in time, whoever had them.

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

/// One belief: a maker took itself for the holder of a symbol, from one instant until before another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Believed {
    /// The symbol.
    pub symbol: String,
    /// Who believed.
    pub maker: String,
    /// Under which registration.
    pub incarnation: u64,
    /// Under which epoch.
    pub epoch: u64,
    /// Since when, in milliseconds of the machine's wall clock.
    pub from_ms: u64,
    /// Until when at most, likewise.
    pub until_ms: u64,
}

/// What the records of all makers say together.
#[derive(Debug, Default)]
pub struct Judged {
    /// Two beliefs in one symbol at one time, or two believers under one epoch, in words.
    pub violations: Vec<String>,
    /// Beliefs in all.
    pub beliefs: usize,
    /// How often a belief in a symbol was followed by another maker's.
    pub handovers: usize,
    /// The longest time in which nobody believed to hold a symbol that was passed on, in milliseconds.
    pub handover_ms_max: u64,
}

#[derive(Deserialize)]
struct Line {
    event: String,
    maker: String,
    wall_ms: u64,
    symbol: Option<String>,
    epoch: Option<u64>,
    incarnation: Option<u64>,
    from_wall_ms: Option<u64>,
    until_wall_ms: Option<u64>,
}

/// Reads one maker's record. A belief lasts as its last line says; where the process ended without a word it lasted
/// until its own end, or until the next process of this record started.
///
/// # Errors
/// Where the file cannot be read, or a line is not of the format (a last one that was cut short apart).
pub fn read_beliefs(path: &Path) -> Result<Vec<Believed>> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    parse_beliefs(&text).with_context(|| path.display().to_string())
}

fn parse_beliefs(text: &str) -> Result<Vec<Believed>> {
    let mut past = Vec::new();
    let mut open: BTreeMap<(String, u64), Believed> = BTreeMap::new();
    let mut lines = text.lines().enumerate().filter(|(_, line)| !line.is_empty()).peekable();
    while let Some((at, line)) = lines.next() {
        let line: Line = match serde_json::from_str(line) {
            Ok(line) => line,
            // Cut short by the end of its process: it is followed by nothing, or by the next process.
            Err(_) if lines.peek().is_none_or(|(_, next)| next.contains("\"started\"")) => continue,
            Err(error) => bail!("line {}: {error}", at + 1),
        };
        match line.event.as_str() {
            "started" | "stopped" => {
                for (_, belief) in std::mem::take(&mut open) {
                    past.push(Believed { until_ms: belief.until_ms.min(line.wall_ms), ..belief });
                }
            }
            "gained" | "renewed" | "ended" => {
                let (ended, gained) = (line.event == "ended", line.event == "gained");
                let belief = line.belief().with_context(|| format!("line {}: a field is missing", at + 1))?;
                let key = (belief.symbol.clone(), belief.epoch);
                let known = open.remove(&key);
                // Its beginning is as it was first told: later lines tell it by other readings of two clocks.
                let belief = match known {
                    Some(known) if gained => {
                        past.push(known);
                        belief
                    }
                    Some(known) => Believed { from_ms: known.from_ms, ..belief },
                    None => belief,
                };
                if ended {
                    past.push(belief);
                } else {
                    open.insert(key, belief);
                }
            }
            other => bail!("line {}: no event is called {other}", at + 1),
        }
    }
    past.extend(open.into_values());
    Ok(past)
}

impl Line {
    fn belief(self) -> Option<Believed> {
        Some(Believed {
            symbol: self.symbol?,
            maker: self.maker,
            incarnation: self.incarnation?,
            epoch: self.epoch?,
            from_ms: self.from_wall_ms?,
            until_ms: self.until_wall_ms?,
        })
    }
}

/// Judges all beliefs of all makers.
#[must_use]
pub fn judge_beliefs(mut beliefs: Vec<Believed>) -> Judged {
    beliefs.retain(|belief| belief.from_ms < belief.until_ms);
    beliefs.sort_by_key(|belief| (belief.symbol.clone(), belief.from_ms, belief.until_ms));
    let mut judged = Judged { beliefs: beliefs.len(), ..Judged::default() };
    let mut believers: BTreeMap<(&str, u64), (&str, u64)> = BTreeMap::new();
    // The belief of each symbol that lasted longest so far: whatever starts before its end overlaps it.
    let mut last: BTreeMap<&str, &Believed> = BTreeMap::new();
    for belief in &beliefs {
        let believer = (belief.maker.as_str(), belief.incarnation);
        let first = *believers.entry((&belief.symbol, belief.epoch)).or_insert(believer);
        if first != believer {
            judged.violations.push(format!("two believers under one epoch: {first:?} before {belief:?}"));
        }
        let before = last.get(belief.symbol.as_str()).copied();
        if let Some(before) = before {
            if belief.from_ms < before.until_ms {
                judged.violations.push(format!("overlap: {before:?} and {belief:?}"));
            }
            if before.maker != belief.maker {
                judged.handovers += 1;
                judged.handover_ms_max = judged.handover_ms_max.max(belief.from_ms.saturating_sub(before.until_ms));
            }
        }
        if before.is_none_or(|before| before.until_ms <= belief.until_ms) {
            last.insert(&belief.symbol, belief);
        }
    }
    judged
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(event: &str, maker: &str, epoch: u64, from: u64, until: u64, wall: u64) -> String {
        format!(
            "{{\"event\":\"{event}\",\"maker\":\"{maker}\",\"symbol\":\"A\",\"epoch\":{epoch},\"incarnation\":7,\
             \"from_wall_ms\":{from},\"until_wall_ms\":{until},\"from_ms\":0,\"until_ms\":0,\"wall_ms\":{wall},\
             \"monotonic_ms\":0}}\n"
        )
    }

    fn process(event: &str, wall: u64) -> String {
        format!("\n{{\"event\":\"{event}\",\"maker\":\"m\",\"wall_ms\":{wall},\"monotonic_ms\":0}}\n")
    }

    #[test]
    fn the_last_line_about_a_belief_counts() {
        let text = [
            process("started", 5),
            line("gained", "m", 1, 10, 100, 10),
            line("renewed", "m", 1, 11, 200, 50),
            line("ended", "m", 1, 11, 150, 150),
            line("gained", "m", 2, 160, 300, 160),
        ]
        .concat();
        let spans: Vec<_> = parse_beliefs(&text).unwrap().iter().map(|b| (b.epoch, b.from_ms, b.until_ms)).collect();
        assert_eq!(spans, [(1, 10, 150), (2, 160, 300)]);
    }

    #[test]
    fn a_killed_process_believed_until_its_deadline_or_until_the_next_one_started() {
        let killed = line("gained", "m", 1, 10, 100, 10);
        assert_eq!(parse_beliefs(&killed).unwrap()[0].until_ms, 100);
        let cut = format!("{killed}{{\"event\":\"rene{}", process("started", 60));
        assert_eq!(parse_beliefs(&cut).unwrap()[0].until_ms, 60);
        let garbled = format!("{killed}{{\"event\":\"rene\n{killed}");
        assert!(parse_beliefs(&garbled).is_err());
    }

    #[test]
    fn overlaps_and_doubled_epochs_are_found() {
        let belief = |maker: &str, epoch, from_ms, until_ms| Believed {
            symbol: "A".to_owned(),
            maker: maker.to_owned(),
            incarnation: 7,
            epoch,
            from_ms,
            until_ms,
        };
        let clean = judge_beliefs(vec![belief("a", 1, 0, 100), belief("b", 2, 130, 200)]);
        assert!(clean.violations.is_empty(), "{:?}", clean.violations);
        assert_eq!((clean.beliefs, clean.handovers, clean.handover_ms_max), (2, 1, 30));
        let overlap = judge_beliefs(vec![belief("a", 1, 0, 100), belief("b", 2, 99, 200)]);
        assert_eq!(overlap.violations.len(), 1);
        // A short belief between does not hide one that lasts over both.
        let hidden = vec![belief("a", 1, 0, 1_000), belief("b", 2, 10, 20), belief("c", 3, 500, 600)];
        assert_eq!(judge_beliefs(hidden).violations.len(), 2);
        let doubled = judge_beliefs(vec![belief("a", 1, 0, 100), belief("b", 1, 130, 200)]);
        assert_eq!(doubled.violations.len(), 1);
    }
}
