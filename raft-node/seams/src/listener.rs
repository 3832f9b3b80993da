//! A listener that holds a bounded number of connections: real sockets, so never part of a simulation.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::serve::Listener;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, Sleep, sleep},
};

/// Pause after a connection could not be accepted, for want of file descriptors for example.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A connection to which nothing was written for so long is closed: whoever begins a request and does not end it, or says
/// nothing at all, keeps its place no longer. Every answer, keep-alive and event is a write.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// At most so many connections at a time, without Nagle's algorithm; the next ones wait to be accepted.
#[derive(Debug)]
pub struct Bounded {
    listener: TcpListener,
    places: Arc<Semaphore>,
    silence: Duration,
}

impl Bounded {
    /// Holds at most `max` connections of `listener` open.
    #[must_use]
    pub fn new(listener: TcpListener, max: usize) -> Self {
        Self { listener, places: Arc::new(Semaphore::new(max)), silence: SILENCE_MAX }
    }

    /// Closes connections to which nothing was written for `silence` (60 seconds unless this says otherwise).
    #[must_use]
    pub fn closing_after(self, silence: Duration) -> Self {
        Self { silence, ..self }
    }
}

/// A connection, in its place.
#[derive(Debug)]
pub struct Placed {
    stream: TcpStream,
    _place: Option<OwnedSemaphorePermit>,
    silence: Duration,
    ends: Pin<Box<Sleep>>,
}

impl Placed {
    /// Something was written.
    fn spoke(&mut self, wrote: &Poll<io::Result<usize>>) {
        if matches!(wrote, Poll::Ready(Ok(bytes)) if *bytes > 0) {
            let ends = Instant::now() + self.silence;
            self.ends.as_mut().reset(ends);
        }
    }
}

impl Listener for Bounded {
    type Io = Placed;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Placed, SocketAddr) {
        // The semaphore is never closed.
        let place = Arc::clone(&self.places).acquire_owned().await.ok();
        loop {
            match self.listener.accept().await {
                Ok((stream, from)) => {
                    if let Err(error) = stream.set_nodelay(true) {
                        tracing::debug!(%error, "a connection keeps Nagle's algorithm");
                    }
                    let (silence, ends) = (self.silence, Box::pin(sleep(self.silence)));
                    return (Placed { stream, _place: place, silence, ends }, from);
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

impl AsyncRead for Placed {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if let Poll::Ready(read) = Pin::new(&mut self.stream).poll_read(cx, buf) {
            return Poll::Ready(read);
        }
        ready!(self.ends.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "nothing was answered here for a long time")))
    }
}

impl AsyncWrite for Placed {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.spoke(&wrote);
        wrote
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.spoke(&wrote);
        wrote
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        time::timeout,
    };

    use super::*;

    #[tokio::test]
    async fn a_caller_that_gets_no_answer_loses_its_place_and_one_that_does_keeps_it() {
        let silence = Duration::from_millis(300);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let mut bounded = Bounded::new(listener, 1).closing_after(silence);
        let mut half = TcpStream::connect(addr).await.unwrap();
        let (mut placed, _) = bounded.accept().await;
        half.write_all(b"GET / HT").await.unwrap();
        placed.read_exact(&mut [0; 8]).await.unwrap();
        let mut byte = [0];
        let error = timeout(Duration::from_secs(20), placed.read(&mut byte)).await.unwrap().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        drop(placed);

        let mut served = TcpStream::connect(addr).await.unwrap();
        let (mut placed, _) = bounded.accept().await;
        let began = Instant::now();
        while began.elapsed() < 3 * silence {
            placed.write_all(b"beat").await.unwrap();
            let mut beat = [0; 4];
            served.read_exact(&mut beat).await.unwrap();
            assert!(timeout(silence / 10, placed.read(&mut byte)).await.is_err(), "it was closed");
        }
    }
}
