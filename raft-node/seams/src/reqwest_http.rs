//! [`Http`] over reqwest: pooled connections, HTTP/2 by prior knowledge where it is asked for.

use std::time::Duration;

use http_body::Body as _;
use http_body_util::{BodyDataStream, BodyExt};

use crate::http_call::{Body, Call, CallError, Http};

/// Over real sockets. A request of version HTTP/2 goes out by prior knowledge, without an upgrade.
#[derive(Debug)]
pub struct ReqwestHttp {
    http1: reqwest::Client,
    http2: reqwest::Client,
}

impl ReqwestHttp {
    /// A new pool of connections.
    ///
    /// # Errors
    /// Where the client cannot be built.
    pub fn new() -> Result<Self, reqwest::Error> {
        let builder = || {
            reqwest::Client::builder()
                .no_proxy()
                .tcp_nodelay(true)
                .connect_timeout(Duration::from_millis(500))
                // Well before a server of the house closes a silent connection, so that none is closed under a request.
                .pool_idle_timeout(Duration::from_secs(30))
                .redirect(reqwest::redirect::Policy::none())
        };
        Ok(Self {
            http1: builder().http1_only().build()?,
            http2: builder()
                .http2_prior_knowledge()
                .http2_adaptive_window(false)
                .http2_initial_stream_window_size(4 << 20)
                .http2_initial_connection_window_size(16 << 20)
                .http2_keep_alive_interval(Duration::from_secs(1))
                .http2_keep_alive_timeout(Duration::from_secs(2))
                .http2_keep_alive_while_idle(true)
                .build()?,
        })
    }
}

impl Http for ReqwestHttp {
    fn call(&self, request: http::Request<Body>) -> Call<'_> {
        let client = if request.version() == http::Version::HTTP_2 { &self.http2 } else { &self.http1 };
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let url = parts.uri.to_string();
            // A body held in memory goes out whole, with its length; a stream goes out as it comes.
            let body = match body.size_hint().exact() {
                Some(_) => {
                    let whole = body.collect().await.map_err(|error| CallError::Broken(error.to_string()))?;
                    reqwest::Body::from(whole.to_bytes())
                }
                None => reqwest::Body::wrap_stream(BodyDataStream::new(body)),
            };
            let response = client.request(parts.method, url).headers(parts.headers).body(body).send().await.map_err(
                |mut error| {
                    // It names the address that was called; what stands in a query may be a signature.
                    if let Some(url) = error.url_mut() {
                        url.set_query(None);
                    }
                    let text = error_chain(&error);
                    if error.is_connect() { CallError::Connect(text) } else { CallError::Broken(text) }
                },
            )?;
            let response: http::Response<reqwest::Body> = response.into();
            Ok(response.map(|body| body.map_err(std::io::Error::other).boxed_unsync()))
        })
    }
}

fn error_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http_call::empty_body;

    #[tokio::test]
    async fn an_error_shows_no_query() {
        let http = ReqwestHttp::new().expect("a client");
        let uri = "http://127.0.0.1:1/order?symbol=A&signature=c8db56";
        let request = http::Request::get(uri).body(empty_body()).expect("a request");
        let error = http.call(request).await.map(|_| ()).expect_err("nobody there").to_string();
        assert!(error.contains("127.0.0.1:1/order") && !error.contains("signature"), "{error}");
    }
}
