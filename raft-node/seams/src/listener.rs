//! A listener that holds a bounded number of connections: real sockets, so never part of a simulation.
//!
//! Invariant: connections that say nothing shut nobody out. Where all places are taken, whoever comes next gets the place of
//! the connection that has been quiet for longest; where none is quiet, one of the spare places, if the listener has any.
//! Those are for calls that must always get through.

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{
    extract::connect_info::Connected,
    serve::{IncomingStream, Listener},
};
use futures_util::task::AtomicWaker;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, Sleep, sleep, timeout},
};

/// Pause after a connection could not be accepted, for want of file descriptors for example.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A connection to which nothing was written for so long is closed: whoever begins a request and does not end it, or says
/// nothing at all, keeps its place no longer. Every answer, keep-alive and event is a write.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// Where places are short, a connection that has sent nothing at all loses its place after so long.
const UNUSED_MAX: Duration = Duration::from_secs(1);
/// Where places are short, a connection that was answered and has asked nothing since loses its place after so long. A
/// stream of events says something each second, and so keeps its place.
const IDLE_MAX: Duration = Duration::from_secs(3);
/// Where places are short, a connection whose request is not complete, or not answered, loses its place after so long. No
/// call may take that long.
const UNANSWERED_MAX: Duration = Duration::from_secs(15);
/// At a spare place it loses that after so long already: half requests must not shut out what must always get through.
const UNANSWERED_SPARE_MAX: Duration = Duration::from_secs(3);
/// How long a connection that lost its place may take to end.
const LEAVE_MAX: Duration = Duration::from_millis(200);
/// That places are short is said so often at most.
const WARN_EVERY: Duration = Duration::from_secs(30);

/// Which place a connection has got. Services find it as `ConnectInfo<Place>` among a request's extensions, if they are
/// served with connect info. A listener that has spare places must be served so, and its service must look at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// One of the common ones.
    Common,
    /// One of the spare ones, because all others were taken. Serve only what must always get through, and let the
    /// connection end with its answer.
    Spare,
}

impl Connected<IncomingStream<'_, Bounded>> for Place {
    fn connect_info(stream: IncomingStream<'_, Bounded>) -> Self {
        stream.io().place
    }
}

/// At most so many connections at a time, and so many spare ones, without Nagle's algorithm; the next ones wait.
#[derive(Debug)]
pub struct Bounded {
    listener: TcpListener,
    places: Arc<Semaphore>,
    spare: Arc<Semaphore>,
    seats: Arc<Seats>,
    max: usize,
    cure: &'static str,
    silence: Duration,
    warned: Option<Instant>,
}

impl Bounded {
    /// Holds at most `max` connections of `listener` open, and `spare` ones beside them ([`Place::Spare`]). `cure` is what
    /// the log advises whoever runs the process to do when places are short; it ends the sentence.
    #[must_use]
    pub fn new(listener: TcpListener, max: usize, spare: usize, cure: &'static str) -> Self {
        Self {
            listener,
            places: Arc::new(Semaphore::new(max)),
            spare: Arc::new(Semaphore::new(spare)),
            seats: Arc::new(Seats { began: Instant::now(), taken: Mutex::default(), serial: AtomicU64::new(0) }),
            max,
            cure,
            silence: SILENCE_MAX,
            warned: None,
        }
    }

    /// Closes connections to which nothing was written for `silence` (60 seconds unless this says otherwise).
    #[must_use]
    pub fn closing_after(self, silence: Duration) -> Self {
        Self { silence, ..self }
    }

    /// A place for a connection: a common one if there is one, or if a quiet connection leaves its own; else a spare one;
    /// and as long as there is neither, it waits.
    async fn place(&mut self) -> (Place, Option<OwnedSemaphorePermit>) {
        loop {
            for (place, permits) in [(Place::Common, &self.places), (Place::Spare, &self.spare)] {
                if let Ok(permit) = Arc::clone(permits).try_acquire_owned() {
                    return (place, Some(permit));
                }
                self.warned = warn(self.warned, self.max, self.cure);
                if self.seats.free_the_quietest(place)
                    && let Ok(permit) = timeout(LEAVE_MAX, Arc::clone(permits).acquire_owned()).await
                {
                    // The semaphores are never closed.
                    return (place, permit.ok());
                }
            }
            sleep(ACCEPT_PAUSE).await;
        }
    }
}

/// Says that places are short, unless that was said lately; when it was said last.
fn warn(warned: Option<Instant>, max: usize, cure: &str) -> Option<Instant> {
    if warned.is_some_and(|warned| warned.elapsed() < WARN_EVERY) {
        return warned;
    }
    tracing::warn!(
        max,
        "all places for connections are taken: those that say nothing are closed in favour of new ones; {cure}"
    );
    Some(Instant::now())
}

/// The connections that are open.
#[derive(Debug)]
struct Seats {
    began: Instant,
    taken: Mutex<BTreeMap<u64, Arc<Seat>>>,
    serial: AtomicU64,
}

/// What is known of one of them.
#[derive(Debug)]
struct Seat {
    place: Place,
    /// When something last passed, in milliseconds since the listener began.
    last_ms: AtomicU64,
    read: AtomicBool,
    /// Something was read since the last write: a request, or a part of one.
    asked: AtomicBool,
    leaves: AtomicBool,
    waker: AtomicWaker,
}

impl Seat {
    fn passed(&self, began: Instant, asked: bool) {
        self.last_ms.store(millis(began.elapsed()), Ordering::Relaxed);
        self.read.fetch_or(asked, Ordering::Relaxed);
        self.asked.store(asked, Ordering::Relaxed);
    }

    /// For how long it has been quiet beyond what it may, if it has.
    fn overdue_ms(&self, now_ms: u64) -> Option<u64> {
        let may = match (self.asked.load(Ordering::Relaxed), self.read.load(Ordering::Relaxed)) {
            (true, _) if self.place == Place::Spare => UNANSWERED_SPARE_MAX,
            (true, _) => UNANSWERED_MAX,
            (false, true) => IDLE_MAX,
            (false, false) => UNUSED_MAX,
        };
        let quiet_ms = now_ms.saturating_sub(self.last_ms.load(Ordering::Relaxed));
        quiet_ms.checked_sub(millis(may)).filter(|_| !self.leaves.load(Ordering::Relaxed))
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl Seats {
    fn take(&self, place: Place) -> (u64, Arc<Seat>) {
        let seat = Arc::new(Seat {
            place,
            last_ms: AtomicU64::new(millis(self.began.elapsed())),
            read: AtomicBool::new(false),
            asked: AtomicBool::new(false),
            leaves: AtomicBool::new(false),
            waker: AtomicWaker::new(),
        });
        let serial = self.serial.fetch_add(1, Ordering::Relaxed);
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).insert(serial, Arc::clone(&seat));
        (serial, seat)
    }

    fn leave(&self, serial: u64) {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).remove(&serial);
    }

    /// Ends the connection in a `place` that has been quiet for longest beyond what it may; `false` where there is none.
    fn free_the_quietest(&self, place: Place) -> bool {
        let now_ms = millis(self.began.elapsed());
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let overdue = taken.values().filter(|seat| seat.place == place);
        let overdue = overdue.filter_map(|seat| Some((seat.overdue_ms(now_ms)?, seat)));
        let Some((_, seat)) = overdue.max_by_key(|(overdue_ms, _)| *overdue_ms) else { return false };
        seat.leaves.store(true, Ordering::Release);
        seat.waker.wake();
        true
    }
}

/// A connection, in its place.
#[derive(Debug)]
pub struct Placed {
    stream: TcpStream,
    place: Place,
    _permit: Option<OwnedSemaphorePermit>,
    silence: Duration,
    ends: Pin<Box<Sleep>>,
    seats: Arc<Seats>,
    seat: Arc<Seat>,
    serial: u64,
}

impl Placed {
    /// Something was written.
    fn spoke(&mut self, wrote: &Poll<io::Result<usize>>) {
        if matches!(wrote, Poll::Ready(Ok(bytes)) if *bytes > 0) {
            let ends = Instant::now() + self.silence;
            self.ends.as_mut().reset(ends);
            self.seat.passed(self.seats.began, false);
        }
    }

    /// Whether it must leave its place.
    fn check(&self) -> io::Result<()> {
        if self.seat.leaves.load(Ordering::Acquire) {
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "it was quiet, and another connection needs its place",
            ));
        }
        Ok(())
    }
}

impl Drop for Placed {
    fn drop(&mut self) {
        self.seats.leave(self.serial);
    }
}

impl Listener for Bounded {
    type Io = Placed;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Placed, SocketAddr) {
        loop {
            match self.listener.accept().await {
                Ok((stream, from)) => {
                    if let Err(error) = stream.set_nodelay(true) {
                        tracing::debug!(%error, "a connection keeps Nagle's algorithm");
                    }
                    let (place, permit) = self.place().await;
                    let (silence, ends) = (self.silence, Box::pin(sleep(self.silence)));
                    let (serial, seat) = self.seats.take(place);
                    let seats = Arc::clone(&self.seats);
                    return (Placed { stream, place, _permit: permit, silence, ends, seats, seat, serial }, from);
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
        self.seat.waker.register(cx.waker());
        self.check()?;
        let before = buf.filled().len();
        if let Poll::Ready(read) = Pin::new(&mut self.stream).poll_read(cx, buf) {
            if buf.filled().len() > before {
                self.seat.passed(self.seats.began, true);
            }
            return Poll::Ready(read);
        }
        ready!(self.ends.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "nothing was answered here for a long time")))
    }
}

impl AsyncWrite for Placed {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.check()?;
        let wrote = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.spoke(&wrote);
        wrote
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check()?;
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
        let mut bounded = Bounded::new(listener, 1, 0, CURE).closing_after(silence);
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

    /// What the log advises in these tests.
    const CURE: &str = "call less";

    async fn listening(max: usize, spare: usize) -> (Bounded, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        (Bounded::new(listener, max, spare, CURE), addr)
    }

    #[tokio::test]
    async fn a_quiet_connection_leaves_its_place_to_the_next_and_a_stream_keeps_it() {
        let (mut bounded, addr) = listening(2, 64).await;
        let _quiet = TcpStream::connect(addr).await.unwrap();
        let (mut quiet, _) = bounded.accept().await;
        let mut watcher = TcpStream::connect(addr).await.unwrap();
        let (mut stream, _) = bounded.accept().await;
        watcher.write_all(b"GET").await.unwrap();
        stream.read_exact(&mut [0; 3]).await.unwrap();
        let served = tokio::spawn(async move {
            let mut byte = [0];
            let error = quiet.read(&mut byte).await.unwrap_err();
            (error.kind(), Instant::now())
        });
        // What streams events says something each second.
        let beats = tokio::spawn(async move {
            loop {
                stream.write_all(b"beat").await.unwrap();
                sleep(Duration::from_millis(500)).await;
            }
        });
        let _next = TcpStream::connect(addr).await.unwrap();
        let (first, _) = timeout(Duration::from_secs(20), bounded.accept()).await.unwrap();
        // It came too early for the quiet one to have to go.
        assert_eq!(first.place, Place::Spare);
        let ends = Instant::now() + Duration::from_secs(60);
        loop {
            assert!(Instant::now() < ends, "nobody left a place");
            let _next = TcpStream::connect(addr).await.unwrap();
            let (next, _) = timeout(Duration::from_secs(20), bounded.accept()).await.unwrap();
            if next.place == Place::Common {
                break;
            }
            drop(next);
            sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(served.await.unwrap().0, io::ErrorKind::TimedOut);
        assert!(!beats.is_finished(), "the stream lost its place");
        beats.abort();
    }

    #[tokio::test]
    async fn spare_places_are_bounded_and_come_back() {
        let (mut bounded, addr) = listening(0, 3).await;
        let mut held = Vec::new();
        for _ in 0..3 {
            let caller = TcpStream::connect(addr).await.unwrap();
            let (placed, _) = timeout(Duration::from_secs(20), bounded.accept()).await.unwrap();
            assert_eq!(placed.place, Place::Spare);
            // Busy: it may not be closed for a while.
            placed.seat.passed(placed.seats.began, true);
            held.push((caller, placed));
        }
        let _late = TcpStream::connect(addr).await.unwrap();
        assert!(timeout(Duration::from_millis(300), bounded.accept()).await.is_err(), "there is one too many");
        held.pop();
        let _next = TcpStream::connect(addr).await.unwrap();
        let (placed, _) = timeout(Duration::from_secs(20), bounded.accept()).await.unwrap();
        assert_eq!(placed.place, Place::Spare);
    }

    #[tokio::test]
    async fn half_requests_do_not_shut_the_spare_places() {
        let (mut bounded, addr) = listening(0, 64).await;
        let mut callers = Vec::new();
        for _ in 0..64 {
            let mut caller = TcpStream::connect(addr).await.unwrap();
            caller.write_all(b"GET / HT").await.unwrap();
            let (mut placed, _) = timeout(Duration::from_secs(20), bounded.accept()).await.unwrap();
            tokio::spawn(async move { while placed.read(&mut [0; 8]).await.is_ok() {} });
            callers.push(caller);
        }
        let _next = TcpStream::connect(addr).await.unwrap();
        // Long before a complete call at a common place would be given up.
        let (placed, _) = timeout(UNANSWERED_MAX / 2, bounded.accept()).await.expect("a place");
        assert_eq!(placed.place, Place::Spare);
    }

    #[tokio::test]
    async fn without_spare_places_a_caller_waits_for_a_common_one() {
        let (mut bounded, addr) = listening(1, 0).await;
        let _first = TcpStream::connect(addr).await.unwrap();
        let (held, _) = bounded.accept().await;
        // Busy: it may not be closed for a while.
        held.seat.passed(held.seats.began, true);
        let _second = TcpStream::connect(addr).await.unwrap();
        assert!(timeout(Duration::from_millis(300), bounded.accept()).await.is_err(), "there is no place");
        drop(held);
        let _third = TcpStream::connect(addr).await.unwrap();
        let (placed, _) = timeout(Duration::from_secs(20), bounded.accept()).await.unwrap();
        assert_eq!(placed.place, Place::Common);
    }
}
