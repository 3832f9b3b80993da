//! Requests, sent exactly as they are meant, and answers, kept exactly as they came.

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

/// How long an answer may take: a node bounds every call to 10 s.
const ANSWER_MAX: Duration = Duration::from_secs(12);

/// The type of a node's errors.
pub(crate) const PROBLEM_JSON: &str = "application/problem+json";
/// The type of answers.
pub(crate) const JSON: &str = "application/json";
/// The type of the exchange's requests.
pub(crate) const FORM: &str = "application/x-www-form-urlencoded";

/// A request.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    pub(crate) method: &'static str,
    /// Path and query.
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    pub(crate) body: Option<Vec<u8>>,
}

impl Ask {
    pub(crate) fn new(method: &'static str, path: impl Into<String>) -> Self {
        Self { method, path: path.into(), headers: Vec::new(), body: None }
    }

    pub(crate) fn get(path: impl Into<String>) -> Self {
        Self::new("GET", path)
    }

    /// A `POST` of what is declared as JSON.
    pub(crate) fn json(path: impl Into<String>, body: impl Into<Vec<u8>>) -> Self {
        Self::new("POST", path).header("content-type", JSON).body(body)
    }

    pub(crate) fn header(mut self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        self
    }
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) content_type: String,
    pub(crate) allow: Option<String>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> Result<Value> {
        serde_json::from_slice(&self.body).with_context(|| format!("{} {}", self.status, self.text()))
    }
}

/// Who sends.
pub(crate) struct Wire(reqwest::Client);

impl Wire {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self(reqwest::Client::builder().no_proxy().timeout(ANSWER_MAX).build()?))
    }

    /// Sends a request.
    pub(crate) async fn send(&self, base: &str, ask: &Ask) -> Result<Answer> {
        let told = || format!("{} {} at {base}", ask.method, ask.path.chars().take(200).collect::<String>());
        let method = ask.method.parse::<reqwest::Method>()?;
        let mut request = self.0.request(method, format!("{base}{}", ask.path));
        for (name, value) in &ask.headers {
            request = request.header(name.as_str(), reqwest::header::HeaderValue::from_bytes(value)?);
        }
        if let Some(body) = &ask.body {
            request = request.body(body.clone());
        }
        let response = request.send().await.with_context(told)?;
        let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let (content_type, allow) = (header("content-type").unwrap_or_default(), header("allow"));
        let status = response.status().as_u16();
        let body = response.bytes().await.with_context(told)?.to_vec();
        Ok(Answer { status, content_type, allow, body })
    }
}
