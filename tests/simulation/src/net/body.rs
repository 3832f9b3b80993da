//! A body that streams: pumped by its sender's process, read by its receiver's, in order; stalled while the link is
//! cut, and broken where somebody gives the connection up.

use std::{io, time::Duration};

use bytes::Bytes;
use futures_util::stream;
use http_body_util::BodyExt;
use quorate_seams::{Body, stream_body};
use tokio::{sync::mpsc, time::Instant};

use super::{Net, arrive, arrived};
use crate::process::{Party, Who};

/// Pieces on their way at most.
const WINDOW: usize = 64;

enum Piece {
    Data(Bytes),
    Broken,
    End,
}

struct Sent {
    at: Instant,
    delay: Duration,
    piece: Piece,
}

struct Receiver {
    net: Net,
    call: u64,
    from: Who,
    to: Who,
    keeps_alive: bool,
    pieces: mpsc::Receiver<Sent>,
}

/// The receiver's end of `body`, which `from` sends to `to`.
pub(super) fn relay(net: &Net, call: u64, from: &Party, to: Who, keeps_alive: bool, body: Body) -> Body {
    let (sender, pieces) = mpsc::channel(WINDOW);
    from.tasks.spawn(pump(net.clone(), from.who, to, body, sender));
    let receiver = Receiver { net: net.clone(), call, from: from.who, to, keeps_alive, pieces };
    stream_body(stream::unfold(Some(receiver), |receiver| async move {
        let mut receiver = receiver?;
        let next = {
            let net = receiver.net.clone();
            let lost = net.connection_lost(receiver.from, receiver.to, receiver.keeps_alive);
            tokio::select! {
                biased;
                next = receiver.next() => next,
                () = lost => Some(Err(broken("the connection was lost"))),
            }
        };
        match next? {
            Ok(bytes) => Some((Ok(bytes), Some(receiver))),
            Err(error) => Some((Err(error), None)),
        }
    }))
}

fn broken(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, why)
}

impl Receiver {
    async fn next(&mut self) -> Option<io::Result<Bytes>> {
        let sent = self.pieces.recv().await;
        // Its sender ended in the middle: the other machine says so.
        let sent =
            sent.unwrap_or_else(|| Sent { at: Instant::now(), delay: Duration::from_millis(1), piece: Piece::Broken });
        arrive(sent.at, sent.delay).await;
        let (from, to) = (self.from, self.to);
        // What is lost is sent again, until somebody gives up.
        self.net.until(|rules| !rules.is_cut(from, to) && !rules.is_held(from, to)).await;
        match sent.piece {
            Piece::Data(bytes) => {
                arrived(&self.net, self.call, "..", from, to, &bytes);
                Some(Ok(bytes))
            }
            Piece::Broken => Some(Err(broken("reset by peer"))),
            Piece::End => None,
        }
    }
}

async fn pump(net: Net, from: Who, to: Who, mut body: Body, sender: mpsc::Sender<Sent>) {
    loop {
        let frame = tokio::select! {
            biased;
            frame = body.frame() => frame,
            () = sender.closed() => {
                // The other end is gone: that is heard of once the link lets it through, or given up.
                let heard = net.until(|rules| !rules.is_cut(to, from));
                let _ = tokio::time::timeout(super::KEEP_ALIVE, heard).await;
                return;
            }
        };
        let piece = match frame {
            None => Piece::End,
            Some(Err(_)) => Piece::Broken,
            Some(Ok(frame)) => match frame.into_data() {
                Ok(bytes) => Piece::Data(bytes),
                Err(_) => continue,
            },
        };
        let last = !matches!(piece, Piece::Data(_));
        let delay = {
            let state = &mut *net.state();
            state.rules.draw(&mut state.rng, from, to).delay
        };
        if sender.send(Sent { at: Instant::now(), delay, piece }).await.is_err() || last {
            return;
        }
    }
}
