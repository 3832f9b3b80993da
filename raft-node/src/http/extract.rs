//! Reading requests and writing answers, with a [`Problem`] for whatever cannot be read.

use axum::{
    body::Bytes,
    extract::{FromRequest, FromRequestParts, Request},
    http::{HeaderValue, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use quorate_api::{BODY_MAX_BYTES, Problem, ProblemKind};
use quorate_seams::{NotWhole, whole_body};
use serde::{Serialize, de::DeserializeOwned};
use tokio::time::timeout;

use super::DEADLINE_MAX;

/// Seconds after which an overloaded node, or one without a leader, may be asked again.
const RETRY_AFTER_S: &str = "1";

/// A problem as a response.
pub(crate) struct Failure(Box<Problem>);

impl Failure {
    pub(crate) fn new(kind: ProblemKind, detail: impl Into<String>) -> Self {
        Problem::new(kind, detail).into()
    }

    pub(crate) fn invalid(detail: impl Into<String>) -> Self {
        Self::new(ProblemKind::InvalidRequest, detail)
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self(Box::new(problem))
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = json(status, &*self.0);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_S));
        }
        response
    }
}

/// Bytes that most answers do not exceed: a longer one makes its buffer grow.
const JSON_USUAL: usize = 4096;

/// `value` as JSON.
pub(crate) fn json<T: Serialize>(status: StatusCode, value: &T) -> Response {
    let mut bytes = Vec::with_capacity(JSON_USUAL);
    match serde_json::to_writer(&mut bytes, value) {
        Ok(()) => {
            let mut response = (status, bytes).into_response();
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            response
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

/// The bytes of a body that is declared as JSON, at most [`BODY_MAX_BYTES`].
pub(crate) struct JsonBytes(pub(crate) Bytes);

impl<S: Send + Sync> FromRequest<S> for JsonBytes {
    type Rejection = Failure;

    async fn from_request(request: Request, _: &S) -> Result<Self, Failure> {
        let declared = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let essence = declared.and_then(|value| value.split(';').next()).unwrap_or_default().trim();
        if !essence.eq_ignore_ascii_case("application/json") {
            return Err(Failure::new(ProblemKind::UnsupportedMediaType, "send Content-Type: application/json"));
        }
        match timeout(DEADLINE_MAX, whole_body(request.into_body(), BODY_MAX_BYTES)).await {
            Ok(Ok(bytes)) => Ok(Self(bytes)),
            Ok(Err(error @ NotWhole::TooLarge(_))) => {
                let detail = format!("{error}: send fewer commands in one request, or a shorter one");
                Err(Failure::new(ProblemKind::TooLarge, detail))
            }
            Ok(Err(error @ NotWhole::Broken(_))) => Err(Failure::invalid(error.to_string())),
            Err(_) => Err(Failure::invalid(format!("the body did not come within {} s", DEADLINE_MAX.as_secs()))),
        }
    }
}

impl JsonBytes {
    /// Reads it as `T`.
    pub(crate) fn parse<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        serde_json::from_slice(&self.0).map_err(|error| Failure::invalid(format!("the body cannot be read: {error}")))
    }
}

/// Parameters in the query; unknown ones are refused.
pub(crate) struct Query<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        axum::extract::Query::<T>::try_from_uri(&parts.uri)
            .map(|query| Self(query.0))
            .map_err(|error| Failure::invalid(error.to_string()))
    }
}
