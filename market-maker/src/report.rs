//! Counts of what became of the commands, for the log.

use std::collections::BTreeMap;

use quorate_ledger::{Answer, Outcome, Refusal};
use quorate_quoter::{Answered, Priced, Status};

/// What happened since the last line of the log.
#[derive(Debug, Default)]
pub(crate) struct Report {
    placed: u64,
    reduced: u64,
    unknown: u64,
    not_applied: u64,
    refused: BTreeMap<String, u64>,
    prices_dropped: u64,
    prices_lost: u64,
}

impl Report {
    /// A command was answered.
    pub(crate) fn answered(&mut self, answer: &Answered) {
        match answer {
            Answered::Response(response) => match &response.outcome {
                Outcome::Accepted(Answer::QuotePlaced { reduced, .. }) => {
                    self.placed += 1;
                    self.reduced += u64::from(*reduced);
                }
                Outcome::Accepted(_) => {}
                Outcome::Refused(refusal) => {
                    *self.refused.entry(name(refusal)).or_default() += 1;
                    tracing::debug!(%refusal, index = response.index, "refused");
                }
            },
            Answered::NotApplied => self.not_applied += 1,
            Answered::Unknown => self.unknown += 1,
        }
    }

    /// So many reference prices were not believed.
    pub(crate) fn prices_dropped(&mut self, count: u64) {
        self.prices_dropped += count;
    }

    /// A symbol lost its price to quote on, or got it back.
    pub(crate) fn priced(&mut self, priced: Priced) {
        self.prices_lost += u64::from(priced != Priced::Fresh);
    }

    /// Writes a line, and begins anew.
    pub(crate) fn log(&mut self, status: &Status) {
        let refused: Vec<String> = self.refused.iter().map(|(name, count)| format!("{name} {count}")).collect();
        tracing::info!(
            incarnation = status.incarnation,
            held = status.held,
            quoted = status.quoted,
            unpriced = status.unpriced,
            stale = status.stale,
            oldest_price_ms = status.oldest_price.and_then(|age| u64::try_from(age.as_millis()).ok()),
            index = status.index,
            validating = status.validating,
            placed = self.placed,
            reduced = self.reduced,
            unknown = self.unknown,
            not_applied = self.not_applied,
            prices_dropped = self.prices_dropped,
            prices_lost = self.prices_lost,
            refused = refused.join(", "),
            "quoting"
        );
        *self = Self::default();
    }
}

/// The refusal's name, as in the API.
fn name(refusal: &Refusal) -> String {
    match serde_json::to_value(refusal) {
        Ok(serde_json::Value::String(name)) => name,
        Ok(serde_json::Value::Object(fields)) => fields.into_iter().next().map(|(name, _)| name).unwrap_or_default(),
        Ok(_) | Err(_) => String::new(),
    }
}
