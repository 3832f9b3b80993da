//! Errors, as `application/problem+json` (RFC 9457). Status codes are given here and nowhere else.

use quorate_ledger::{Refusal, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What became of one command of a batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Applied {
    /// It was applied: accepted or refused, at this index.
    Response(Response),
    /// It was not answered by the ledger; the problem says whether it may have been applied.
    Problem(Problem),
}

/// An error, for people and programs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, thiserror::Error)]
#[error("{title}: {detail}")]
pub struct Problem {
    /// Its kind, as a URN: `urn:quorate:` and the kind.
    #[serde(rename = "type")]
    pub kind: ProblemKind,
    /// The kind in words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What was wrong here, and what to do.
    pub detail: String,
    /// Where a command may have been applied although it was not answered: `unknown`, never *failed*.
    pub outcome_unknown: bool,
    /// The leader as this node knows it: node id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leader: Option<u64>,
    /// The ledger's refusal, with its facts, where that is what this is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<Box<Response>>,
    /// For `gone`: the first index that is still kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_index: Option<u64>,
}

/// The kinds of problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum ProblemKind {
    /// The request cannot be read, or a parameter is out of range.
    #[serde(rename = "urn:quorate:invalid-request")]
    InvalidRequest,
    /// No such path or thing.
    #[serde(rename = "urn:quorate:not-found")]
    NotFound,
    /// The method is not for this path.
    #[serde(rename = "urn:quorate:method-not-allowed")]
    MethodNotAllowed,
    /// The body is not declared as JSON.
    #[serde(rename = "urn:quorate:unsupported-media-type")]
    UnsupportedMediaType,
    /// The body or batch is too large.
    #[serde(rename = "urn:quorate:too-large")]
    TooLarge,
    /// The ledger refused the command.
    #[serde(rename = "urn:quorate:refused")]
    Refused,
    /// The group's present state does not allow it, and nothing was changed: look at it, then decide anew.
    #[serde(rename = "urn:quorate:conflict")]
    Conflict,
    /// Events before `first_index` are no longer kept: read the state again, and go on from there.
    #[serde(rename = "urn:quorate:gone")]
    Gone,
    /// Another cluster was meant.
    #[serde(rename = "urn:quorate:wrong-cluster")]
    WrongCluster,
    /// Too much waits: nothing was proposed; try again after `Retry-After`.
    #[serde(rename = "urn:quorate:overloaded")]
    Overloaded,
    /// No leader is known, or no quorum answers: nothing was proposed.
    #[serde(rename = "urn:quorate:no-leader")]
    NoLeader,
    /// This node is stopping, recovering, or in doubt of its own state: nothing was proposed.
    #[serde(rename = "urn:quorate:not-ready")]
    NotReady,
    /// No answer within the deadline.
    #[serde(rename = "urn:quorate:timeout")]
    Timeout,
    /// Storage failed or the state diverged: this node is stopping.
    #[serde(rename = "urn:quorate:internal")]
    Internal,
}

impl ProblemKind {
    /// Its HTTP status.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Self::InvalidRequest => 400,
            Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::Refused | Self::Conflict => 409,
            Self::Gone => 410,
            Self::TooLarge => 413,
            Self::UnsupportedMediaType => 415,
            Self::WrongCluster => 421,
            Self::Internal => 500,
            Self::Overloaded | Self::NoLeader | Self::NotReady => 503,
            Self::Timeout => 504,
        }
    }

    /// It in words.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid request",
            Self::NotFound => "not found",
            Self::MethodNotAllowed => "method not allowed",
            Self::UnsupportedMediaType => "unsupported media type",
            Self::TooLarge => "too large",
            Self::Refused => "refused",
            Self::Conflict => "conflict",
            Self::Gone => "no longer kept",
            Self::WrongCluster => "wrong cluster",
            Self::Overloaded => "overloaded",
            Self::NoLeader => "no leader",
            Self::NotReady => "not ready",
            Self::Timeout => "no answer in time",
            Self::Internal => "internal error",
        }
    }
}

impl Problem {
    /// A problem after which nothing was proposed.
    #[must_use]
    pub fn new(kind: ProblemKind, detail: impl Into<String>) -> Self {
        Self {
            kind,
            title: kind.title().to_owned(),
            status: kind.status(),
            detail: detail.into(),
            outcome_unknown: false,
            leader: None,
            refused: None,
            first_index: None,
        }
    }

    /// A command was proposed, and no answer came: it may or may not be applied.
    #[must_use]
    pub fn unknown(detail: impl Into<String>) -> Self {
        Self { outcome_unknown: true, ..Self::new(ProblemKind::Timeout, detail) }
    }

    /// The ledger's refusal; 404 for what is not there, 422 for what is out of range, 409 otherwise.
    #[must_use]
    pub fn refused(response: Response, refusal: &Refusal) -> Self {
        let status = match refusal {
            Refusal::UnknownSymbol { .. } | Refusal::UnknownOrder { .. } => 404,
            Refusal::Invalid { .. }
            | Refusal::SessionRequired
            | Refusal::LimitOutOfRange { .. }
            | Refusal::LedgerVersion { .. }
            | Refusal::Overflow { .. } => 422,
            _ => 409,
        };
        let problem = Self::new(ProblemKind::Refused, refusal.to_string());
        Self { status, refused: Some(Box::new(response)), ..problem }
    }
}
