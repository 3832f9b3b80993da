//! One attempt of one call at one node. Every way in which it can end without an answer becomes a
//! [`Problem`] whose `outcome_unknown` says whether the node may have processed it.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Method, header};
use quorate_api::{Problem, ProblemKind};
use quorate_seams::{Body, CallError, Http, empty_body, full_body, read_body};

use crate::config::{ANSWER_MAX_BYTES, NETWORK_ALLOWANCE};

/// The name of the cluster that is meant.
pub(crate) const CLUSTER_HEADER: &str = "x-quorate-cluster";
/// How long the node may take, in milliseconds.
pub(crate) const DEADLINE_HEADER: &str = "x-quorate-deadline-ms";

/// Why an attempt gave no answer.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) problem: Problem,
    /// The pause that an overloaded node asked for.
    pub(crate) retry_after: Option<Duration>,
}

/// Sends requests to nodes.
#[derive(Debug, Clone)]
pub(crate) struct Wire {
    http: Arc<dyn Http>,
    cluster: Option<HeaderValue>,
}

/// Whether another attempt may fare better.
pub(crate) fn is_passing(kind: ProblemKind) -> bool {
    match kind {
        ProblemKind::Overloaded
        | ProblemKind::NoLeader
        | ProblemKind::NotReady
        | ProblemKind::Timeout
        | ProblemKind::Internal => true,
        ProblemKind::InvalidRequest
        | ProblemKind::NotFound
        | ProblemKind::MethodNotAllowed
        | ProblemKind::UnsupportedMediaType
        | ProblemKind::TooLarge
        | ProblemKind::Refused
        | ProblemKind::Conflict
        | ProblemKind::Gone
        | ProblemKind::WrongCluster => false,
    }
}

impl Wire {
    /// `cluster_id` was checked: it fits into a header.
    pub(crate) fn new(http: Arc<dyn Http>, cluster_id: Option<&str>) -> Self {
        Self { http, cluster: cluster_id.and_then(|id| HeaderValue::from_str(id).ok()) }
    }

    /// `GET base path_and_query`, whole.
    pub(crate) async fn get(&self, base: &str, path_and_query: &str, timeout: Duration) -> Result<Bytes, Failure> {
        let request = self.request(Method::GET, base, path_and_query, Some(timeout), empty_body())?;
        self.whole(base, request, timeout).await
    }

    /// `POST` of a JSON body, whole.
    pub(crate) async fn post(&self, base: &str, path: &str, json: Bytes, timeout: Duration) -> Result<Bytes, Failure> {
        let mut request = self.request(Method::POST, base, path, Some(timeout), full_body(json))?;
        request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        self.whole(base, request, timeout).await
    }

    /// Opens a stream of events; resolves with its body once the node agrees.
    pub(crate) async fn stream(&self, base: &str, path_and_query: &str, timeout: Duration) -> Result<Body, Failure> {
        let mut request = self.request(Method::GET, base, path_and_query, None, empty_body())?;
        request.headers_mut().insert(header::ACCEPT, HeaderValue::from_static("text/event-stream"));
        let answered = async {
            let response = self.head(base, request).await?;
            if response.status().is_success() { Ok(response.into_body()) } else { Err(refusal(base, response).await) }
        };
        tokio::time::timeout(timeout, answered).await.unwrap_or_else(|_| Err(timed_out(base, timeout)))
    }

    fn request(
        &self,
        method: Method,
        base: &str,
        path_and_query: &str,
        deadline: Option<Duration>,
        body: Body,
    ) -> Result<http::Request<Body>, Failure> {
        let mut request = http::Request::builder().method(method).uri(format!("{base}{path_and_query}"));
        if let Some(cluster) = &self.cluster {
            request = request.header(CLUSTER_HEADER, cluster);
        }
        if let Some(deadline) = deadline {
            let ms = u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX).max(1);
            request = request.header(DEADLINE_HEADER, ms);
        }
        request.body(body).map_err(|error| {
            Problem::new(ProblemKind::InvalidRequest, format!("{base}{path_and_query} cannot be called: {error}"))
                .into()
        })
    }

    async fn head(&self, base: &str, request: http::Request<Body>) -> Result<http::Response<Body>, Failure> {
        self.http.call(request).await.map_err(|error| broken(base, &error))
    }

    async fn whole(&self, base: &str, request: http::Request<Body>, timeout: Duration) -> Result<Bytes, Failure> {
        let answered = async {
            let response = self.head(base, request).await?;
            if !response.status().is_success() {
                return Err(refusal(base, response).await);
            }
            read_body(response.into_body(), ANSWER_MAX_BYTES).await.map_err(|error| broken(base, &error))
        };
        let patience = timeout + NETWORK_ALLOWANCE;
        tokio::time::timeout(patience, answered).await.unwrap_or_else(|_| Err(timed_out(base, patience)))
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self { problem, retry_after: None }
    }
}

fn timed_out(base: &str, after: Duration) -> Failure {
    broken(base, &CallError::Timeout(after))
}

fn broken(base: &str, error: &CallError) -> Failure {
    let detail = format!("{base}: {error}");
    match error {
        CallError::Connect(_) => Problem::new(ProblemKind::NotReady, detail).into(),
        CallError::Broken(_) | CallError::Timeout(_) => Problem::unknown(detail).into(),
    }
}

/// An answer that is not a success: a problem, or something that no node says.
async fn refusal(base: &str, response: http::Response<Body>) -> Failure {
    let status = response.status();
    let seconds = response.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    let body = match read_body(response.into_body(), ANSWER_MAX_BYTES).await {
        Ok(body) => body,
        Err(error) => return broken(base, &error),
    };
    match serde_json::from_slice::<Problem>(&body) {
        Ok(problem) => {
            // A node without a leader asks for a pause too, but another node may have one by now.
            let overloaded = problem.kind == ProblemKind::Overloaded;
            let retry_after = seconds.map(Duration::from_secs).filter(|_| overloaded);
            Failure { problem, retry_after }
        }
        Err(_) => {
            let excerpt: String = String::from_utf8_lossy(&body).chars().take(120).collect();
            Problem::unknown(format!("{base}: HTTP {status} without a problem document: {excerpt}")).into()
        }
    }
}
