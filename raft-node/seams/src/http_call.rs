//! Outgoing HTTP as one trait. reqwest is one adapter of it; a simulation routes the same requests
//! into the other node's `axum::Router` and loses, delays and doubles them on the way.

use std::{convert::Infallible, fmt, future::Future, pin::Pin, time::Duration};

use bytes::Bytes;
use futures_util::{Stream, TryStreamExt};
use http_body::Frame;
use http_body_util::{BodyExt, Empty, Full, Limited, StreamBody, combinators::UnsyncBoxBody};

/// A body, streaming or whole, both ways.
pub type Body = UnsyncBoxBody<Bytes, std::io::Error>;

/// A future of a call.
pub type Call<'a> = Pin<Box<dyn Future<Output = Result<http::Response<Body>, CallError>> + Send + 'a>>;

/// Sends requests. The URI is absolute: `http://host:port/path`.
pub trait Http: Send + Sync + fmt::Debug {
    /// Sends `request` and resolves with the response's head; its body streams on. Dropping the
    /// future or the body gives the call up. A deadline is the caller's (`tokio::time::timeout`).
    fn call(&self, request: http::Request<Body>) -> Call<'_>;
}

/// Why a call got no response.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// No connection: the request was certainly not processed.
    #[error("cannot connect: {0}")]
    Connect(String),
    /// Broken under way: whether the request was processed is unknown.
    #[error("call broken: {0}")]
    Broken(String),
    /// No answer in time: whether the request was processed is unknown.
    #[error("no answer within {} ms", .0.as_millis())]
    Timeout(Duration),
}

/// A body with nothing in it.
#[must_use]
pub fn empty_body() -> Body {
    Empty::new().map_err(never).boxed_unsync()
}

/// A body held in memory.
#[must_use]
pub fn full_body(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(never).boxed_unsync()
}

/// A body that streams.
pub fn stream_body<S>(stream: S) -> Body
where
    S: Stream<Item = std::io::Result<Bytes>> + Send + 'static,
{
    StreamBody::new(stream.map_ok(Frame::data)).boxed_unsync()
}

/// Reads a whole body of at most `limit` bytes.
///
/// # Errors
/// [`CallError::Broken`] where it breaks off or is larger.
pub async fn read_body(body: Body, limit: usize) -> Result<Bytes, CallError> {
    match Limited::new(body, limit).collect().await {
        Ok(whole) => Ok(whole.to_bytes()),
        Err(error) => Err(CallError::Broken(error.to_string())),
    }
}

fn never(error: Infallible) -> std::io::Error {
    match error {}
}
