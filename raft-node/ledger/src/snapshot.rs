//! The whole state as bytes, and back: the form that is persisted in a snapshot and digested.
//!
//! Invariant: only the tables are written; what follows from them is derived again on reading, and the
//! audit runs before anything is trusted. A changed form gets a new [`FORMAT`]; `tests/golden.rs` pins it.

use quorate_planted::{Bug, planted};

use crate::{
    audit::Violation,
    bounds::NAMES_MAX,
    digest::Digest,
    indexes::Indexes,
    ledger::{LEDGER_VERSION, Ledger, UnsupportedVersion},
    state::Tables,
};

/// The form of the bytes: two bytes in front, little-endian.
const FORMAT: u16 = 1;

/// Why bytes are not a ledger that this program can go on with.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// Of another form.
    #[error("a snapshot of form {found}, and this program reads form {FORMAT}: start a program that knows it")]
    Format {
        /// The form found.
        found: u16,
    },
    /// Cut short, too long, or damaged.
    #[error("damaged snapshot: {0}")]
    Damaged(String),
    /// Written under rules that this program does not know.
    #[error(transparent)]
    Version(#[from] UnsupportedVersion),
    /// It reads, and does not add up.
    #[error("the snapshot does not add up: {}", join(.0))]
    Violations(Vec<Violation>),
}

fn join(violations: &[Violation]) -> String {
    violations.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

impl Ledger {
    /// The whole state. Equal states give equal bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        postcard::to_io(&self.tables, FORMAT.to_le_bytes().to_vec()).expect("plain data always fits into memory")
    }

    /// The state that [`Ledger::encode`] wrote, audited.
    ///
    /// # Errors
    /// Where the bytes are of another form, damaged, of a newer ledger version, or do not add up.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (format, body) =
            bytes.split_first_chunk().ok_or_else(|| DecodeError::Damaged("shorter than its header".to_owned()))?;
        let found = u16::from_le_bytes(*format);
        if found != FORMAT {
            return Err(DecodeError::Format { found });
        }
        let (mut tables, rest) =
            postcard::take_from_bytes::<Tables>(body).map_err(|error| DecodeError::Damaged(error.to_string()))?;
        if !rest.is_empty() {
            return Err(DecodeError::Damaged(format!("{} bytes too many", rest.len())));
        }
        if tables.ledger_version > LEDGER_VERSION {
            return Err(UnsupportedVersion { asked: tables.ledger_version, known: LEDGER_VERSION }.into());
        }
        if planted(Bug::BreakerForgottenAfterSnapshot) {
            tables.drawdowns.clear();
        }
        let indexes = Indexes::of(&tables);
        let ledger = Self { tables, indexes, scratch: Vec::new(), names_max: NAMES_MAX };
        let violations = ledger.audit_tables();
        if violations.is_empty() { Ok(ledger) } else { Err(DecodeError::Violations(violations)) }
    }

    /// Goes on from its own snapshot, as in a program that was started again, with room for as many names as before: for tests.
    ///
    /// # Errors
    /// As [`Ledger::decode`].
    pub fn restart(&mut self) -> Result<(), DecodeError> {
        let names_max = self.names_max;
        *self = Self { names_max, ..Self::decode(&self.encode())? };
        Ok(())
    }

    /// The digest of the whole state.
    #[must_use]
    pub fn state_digest(&self) -> Digest {
        Digest::of(&self.encode())
    }
}
