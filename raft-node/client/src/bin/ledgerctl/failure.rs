//! How a task ends badly, and the exit codes. They are given here and in `--help`, and nowhere else.

use std::io;

use quorate_client::{CallFailed, SubmitError};

/// Why a task did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CtlError {
    /// The ledger or a node said no.
    #[error("refused: {0}")]
    Refused(String),
    /// The command line or a file is wrong.
    #[error("{0}")]
    Usage(String),
    /// Nobody answered; nothing was changed.
    #[error("unavailable: {0}")]
    Unavailable(String),
    /// Nobody answered, and the change may have been made.
    #[error("unknown: {0}; the change may have been made: look before you repeat it")]
    Unknown(String),
    /// Something that was checked does not hold.
    #[error("check failed: {0}")]
    Check(String),
    /// Whoever read the output is gone: no error.
    #[error("the output was closed")]
    OutputClosed,
    /// The output cannot be written.
    #[error("cannot write: {0}")]
    Output(io::Error),
}

impl CtlError {
    /// The process's exit code.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::OutputClosed => 0,
            Self::Refused(_) => 1,
            Self::Usage(_) | Self::Output(_) => 2,
            Self::Unavailable(_) => 3,
            Self::Unknown(_) => 4,
            Self::Check(_) => 5,
        }
    }
}

impl From<io::Error> for CtlError {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe { Self::OutputClosed } else { Self::Output(error) }
    }
}

/// Of a read: it changes nothing, so its outcome is never unknown.
impl From<CallFailed> for CtlError {
    fn from(error: CallFailed) -> Self {
        match error {
            CallFailed::Refused(problem) => Self::Refused(problem.to_string()),
            CallFailed::Unavailable(problem) => Self::Unavailable(problem.to_string()),
            CallFailed::Unreadable { .. } => Self::Unavailable(error.to_string()),
        }
    }
}

impl From<SubmitError> for CtlError {
    fn from(error: SubmitError) -> Self {
        match error {
            SubmitError::NotApplied(problem) if problem.refused.is_some() => Self::Refused(problem.detail),
            SubmitError::NotApplied(problem) if problem.status < 500 => Self::Refused(problem.to_string()),
            SubmitError::NotApplied(problem) => Self::Unavailable(problem.to_string()),
            SubmitError::Unknown { problem, .. } => Self::Unknown(problem.to_string()),
        }
    }
}

/// Of a call that changes something.
pub(crate) fn operation_failed(error: CallFailed) -> CtlError {
    match error {
        CallFailed::Unavailable(problem) if problem.outcome_unknown => CtlError::Unknown(problem.to_string()),
        other => other.into(),
    }
}
