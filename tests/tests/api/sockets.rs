//! What comes in below HTTP, or breaks off within it. No API has a say there: the answer is a status without a body,
//! or the end of the connection; what matters is that nothing else comes of it.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, Result, bail};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// How long an answer, or the end, may take.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// What becomes of a connection on which bytes are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Becomes {
    /// Answered with this status.
    Status(u16),
    /// Answered with a status of 4xx, or closed without a word.
    Refused,
    /// Nothing to wait for: the sender hangs up.
    HungUp,
}

/// Bytes, and what becomes of them.
#[derive(Debug, Clone)]
pub(crate) struct Raw {
    pub(crate) what: &'static str,
    pub(crate) bytes: Vec<u8>,
    pub(crate) becomes: Becomes,
}

/// Bad bytes for a server whose path `path` takes a `POST`.
pub(crate) fn raw(path: &str) -> Vec<Raw> {
    let head = |more: &str| format!("POST {path} HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n{more}\r\n");
    let raw = |what, bytes: Vec<u8>, becomes| Raw { what, bytes, becomes };
    let text = |what, bytes: String, becomes| raw(what, bytes.into_bytes(), becomes);
    let many: String = (0..200).map(|n| format!("x-{n}: 1\r\n")).collect();
    let tls = [0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03].repeat(20);
    let h2 = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), vec![0xff; 64]].concat();
    vec![
        text("no HTTP", "GARBAGE\r\n\r\n".into(), Becomes::Status(400)),
        raw("a TLS hello", tls, Becomes::Refused),
        raw("zeros", vec![0; 4_096], Becomes::Refused),
        raw("HTTP/2 that breaks off into noise", h2, Becomes::Refused),
        text("a header too long", head(&format!("x-a: {}\r\n", "a".repeat(1 << 20))), Becomes::Refused),
        text("too many headers", head(&many), Becomes::Status(431)),
        text("a header without a name", head(": b\r\n"), Becomes::Status(400)),
        text("a path too long", format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(70_000)), Becomes::Refused),
        text("a negative length", head("content-length: -1\r\n"), Becomes::Status(400)),
        text("two lengths", head("content-length: 1\r\ncontent-length: 2\r\n"), Becomes::Status(400)),
        text("a length of 65 bits", head("content-length: 18446744073709551616\r\n"), Becomes::Status(400)),
        text("a chunk that is none", head("transfer-encoding: chunked\r\n") + "zz\r\n", Becomes::Refused),
        text("nothing", String::new(), Becomes::HungUp),
        text("half a line", "POST /v1/comm".into(), Becomes::HungUp),
        text("half a head", format!("POST {path} HTTP/1.1\r\nhost: a\r\ncontent-ty"), Becomes::HungUp),
        text("half a body", head("content-length: 100\r\n") + r#"{"command":"open_sess"#, Becomes::HungUp),
        text("no body where one was promised", head("content-length: 100\r\n"), Becomes::HungUp),
        text("a wait to be asked", head("content-length: 100\r\nexpect: 100-continue\r\n"), Becomes::HungUp),
        text("half a chunk", head("transfer-encoding: chunked\r\n") + "ff\r\n{\"comm", Becomes::HungUp),
        text("more than can be", head("content-length: 18446744073709551615\r\n") + "{", Becomes::HungUp),
    ]
}

impl Raw {
    /// Sends it, and looks that what comes of it is what must.
    pub(crate) async fn check(&self, to: SocketAddr) -> Result<()> {
        let mut stream = TcpStream::connect(to).await?;
        // The server may close before it has read all: that is an answer too.
        let sent = stream.write_all(&self.bytes).await;
        if self.becomes == Becomes::HungUp {
            sent.with_context(|| self.what)?;
            return Ok(());
        }
        let mut answer = Vec::new();
        let mut chunk = [0; 4_096];
        loop {
            match timeout(ANSWER_MAX, stream.read(&mut chunk)).await {
                Err(_) if answer.is_empty() => bail!("{}: neither answered nor closed", self.what),
                Ok(Ok(count)) if count > 0 => answer.extend_from_slice(&chunk[..count]),
                Ok(Ok(_) | Err(_)) | Err(_) => break,
            }
            if answer.windows(4).any(|four| four == b"\r\n\r\n") {
                break;
            }
        }
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let status = answer.strip_prefix("HTTP/1.1 ").or_else(|| answer.strip_prefix("HTTP/1.0 "));
        let status: Option<u16> = status.and_then(|rest| rest.get(..3)).and_then(|digits| digits.parse().ok());
        match (self.becomes, status) {
            (Becomes::Status(wanted), Some(got)) if wanted == got => Ok(()),
            // The second version of HTTP says in frames what it has to say, and closes.
            (Becomes::Refused, None | Some(400..=499)) => Ok(()),
            _ => bail!("{}: {:?} wanted, got {answer:?}", self.what, self.becomes),
        }
    }
}

/// Connections that send a little and then only stay, until they are dropped.
pub(crate) async fn slow(to: SocketAddr, path: &str, count: usize) -> Result<Vec<TcpStream>> {
    let mut streams = Vec::with_capacity(count);
    for at in 0..count {
        let mut stream = TcpStream::connect(to).await?;
        let head = format!("POST {path} HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n");
        let whole = format!("{head}content-length: 1000\r\n\r\n{{");
        stream.write_all(if at % 2 == 0 { head.as_bytes() } else { whole.as_bytes() }).await?;
        streams.push(stream);
    }
    Ok(streams)
}
