//! A request's whole body, for whoever serves.

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;

/// How much of a body that is too large is read before its connection is closed: until then its sender can read
/// the refusal.
const DISCARD_MAX_BYTES: usize = 16 << 20;

/// Why a body is not taken.
#[derive(Debug, thiserror::Error)]
pub enum NotWhole {
    /// It has more bytes than it may.
    #[error("a body has at most {0} bytes")]
    TooLarge(usize),
    /// It broke off.
    #[error("the body broke off: {0}")]
    Broken(String),
}

/// Reads a body of at most `max` bytes. What is larger is read all the same, up to 16 MiB, and thrown away: a server that
/// closes a connection with unread bytes in it resets it, and its refusal is lost on the way.
///
/// # Errors
/// [`NotWhole`].
pub async fn whole_body<B>(mut body: B, max: usize) -> Result<Bytes, NotWhole>
where
    B: http_body::Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    let mut bytes = BytesMut::new();
    let mut discarded = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| NotWhole::Broken(error.to_string()))?;
        let Some(data) = frame.data_ref() else { continue };
        if discarded > 0 || bytes.len() + data.len() > max {
            discarded += data.len();
        } else {
            bytes.extend_from_slice(data);
        }
        if discarded > DISCARD_MAX_BYTES {
            break;
        }
    }
    if discarded > 0 { Err(NotWhole::TooLarge(max)) } else { Ok(bytes.freeze()) }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::VecDeque,
        convert::Infallible,
        pin::Pin,
        task::{Context, Poll},
    };

    use http_body::Frame;

    use super::*;

    /// Chunks of 1 MiB each, and how many of them are left.
    struct Chunks<'a>(&'a mut VecDeque<Bytes>);

    impl http_body::Body for Chunks<'_> {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            Poll::Ready(self.0.pop_front().map(|chunk| Ok(Frame::data(chunk))))
        }
    }

    fn chunks(count: usize) -> VecDeque<Bytes> {
        (0..count).map(|_| Bytes::from(vec![7; 1 << 20])).collect()
    }

    #[tokio::test]
    async fn a_body_that_is_too_large_is_read_to_its_end_and_refused() {
        let mut body = chunks(3);
        let whole = whole_body(Chunks(&mut body), 3 << 20).await;
        assert_eq!((whole.ok().map(|bytes| bytes.len()), body.len()), (Some(3 << 20), 0));
        let mut body = chunks(3);
        let refused = whole_body(Chunks(&mut body), (3 << 20) - 1).await;
        assert!(matches!(refused, Err(NotWhole::TooLarge(_))) && body.is_empty(), "{refused:?}");
    }

    #[tokio::test]
    async fn one_without_an_end_is_given_up() {
        let mut body = chunks(40);
        let refused = whole_body(Chunks(&mut body), 64).await;
        assert!(matches!(refused, Err(NotWhole::TooLarge(64))) && body.len() > 20, "{refused:?}");
    }
}
