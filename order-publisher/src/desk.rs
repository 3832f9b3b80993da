//! What all deliveries share, and the order of their steps: journal, send, journal, count.
//!
//! Invariant: a step that the journal does not hold is not followed by the next one.

use std::{
    collections::VecDeque,
    io,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use quorate_binance_api::ApiError;
use tokio::time::Instant;

use crate::{
    delivery::{self, AGAIN_AFTER, Delivered, Outcome},
    journal::{self, AnswerLine, CancelLine, IntentLine, Journal, Line},
    order::Order,
    summary::{Summary, micros},
    venue::{Failed, Venue},
};

/// What all deliveries share.
pub(crate) struct Desk {
    pub(crate) venue: Venue,
    pub(crate) journal: Journal,
    pub(crate) summary: Mutex<Summary>,
    /// Orders that rest, oldest first: symbol and name.
    pub(crate) resting: Mutex<VecDeque<(String, String)>>,
    pub(crate) resting_max: usize,
    /// The first failure of the journal: nothing is sent after it.
    pub(crate) failure: Mutex<Option<io::Error>>,
    pub(crate) patience: Duration,
    /// Whether it was said that the exchange refuses to take back an order.
    pub(crate) told_of_left: AtomicBool,
}

impl Desk {
    /// Writes the intent, sends, and writes what came of it.
    pub(crate) async fn send(&self, intent: IntentLine) {
        let order = intent.order.clone();
        lock(&self.summary).sent += 1;
        if self.write(&Line::Intent(intent)).await {
            let delivered = delivery::deliver(&self.venue, &order, self.patience).await;
            self.delivered(order, delivered).await;
        }
    }

    /// Finds out what became of an order that an earlier run may have sent.
    pub(crate) async fn settle(&self, order: Order) {
        lock(&self.summary).resumed += 1;
        let delivered = delivery::settle(&self.venue, &order, self.patience).await;
        self.delivered(order, delivered).await;
    }

    async fn delivered(&self, order: Order, delivered: Delivered) {
        let rests = matches!(&delivered.outcome, Outcome::Taken(standing) if journal::rests(&standing.status));
        let named = (order.symbol.clone(), order.client_order_id.clone());
        if !self.write(&answer_line(order, &delivered)).await {
            return;
        }
        if let Outcome::Refused(error) = &delivered.outcome
            && !lock(&self.summary).rejected.contains_key(&error.code)
        {
            tracing::warn!(%error, "the exchange refuses an order; later refusals of this kind are only counted");
        }
        lock(&self.summary).delivered(&delivered);
        if rests && let Some((symbol, name)) = self.one_too_many(named) {
            self.take_back(symbol, name).await;
        }
    }

    /// Notes an order that rests; the oldest, where there are too many now.
    fn one_too_many(&self, named: (String, String)) -> Option<(String, String)> {
        let mut resting = lock(&self.resting);
        resting.push_back(named);
        if resting.len() > self.resting_max { resting.pop_front() } else { None }
    }

    async fn take_back(&self, symbol: String, client_order_id: String) {
        match self.venue.cancel(&symbol, &client_order_id).await {
            Ok(standing) => self.taken_back(symbol, client_order_id, standing.status).await,
            // Filled meanwhile: it rests no more.
            Err(Failed::Refused(error)) if rests_no_more(&error) => {}
            // It is tried again after the next order that rests, or at the end of the run.
            Err(error) => {
                tracing::debug!(order = client_order_id, %error, "not taken back yet");
                lock(&self.resting).push_front((symbol, client_order_id));
            }
        }
    }

    /// Takes back an order at the end of a run, trying until `give_up` or until the exchange refuses for good.
    pub(crate) async fn take_back_by(&self, symbol: String, client_order_id: String, give_up: Instant) {
        while Instant::now() < give_up {
            match self.venue.cancel(&symbol, &client_order_id).await {
                Ok(standing) => return self.taken_back(symbol, client_order_id, standing.status).await,
                // Filled meanwhile: it rests no more.
                Err(Failed::Refused(error)) if rests_no_more(&error) => return,
                Err(Failed::Refused(error)) if !error.is_passing() => {
                    if !self.told_of_left.swap(true, Ordering::Relaxed) {
                        tracing::warn!(
                            order = client_order_id, %error,
                            "the exchange refuses to take back an order; later refusals are only counted"
                        );
                    }
                    break;
                }
                Err(error) => tracing::debug!(order = client_order_id, %error, "not taken back yet"),
            }
            tokio::time::sleep(AGAIN_AFTER).await;
        }
        lock(&self.summary).left_resting += 1;
    }

    async fn taken_back(&self, symbol: String, client_order_id: String, status: String) {
        let line = CancelLine { client_order_id, symbol, status };
        if self.write(&Line::Cancel(line)).await {
            lock(&self.summary).cancelled += 1;
        }
    }

    /// Whether the line is on disk. Where not, the run ends.
    async fn write(&self, line: &Line) -> bool {
        match self.journal.write(line).await {
            Ok(()) => true,
            Err(error) => {
                lock(&self.failure).get_or_insert(error);
                false
            }
        }
    }
}

/// Whether the answer to a cancel says that there is nothing left to take back.
fn rests_no_more(error: &ApiError) -> bool {
    error.code == ApiError::cancel_rejected().code
}

fn answer_line(order: Order, delivered: &Delivered) -> Line {
    let mut line = AnswerLine {
        order,
        order_id: None,
        status: None,
        executed_qty: None,
        fills: Vec::new(),
        code: None,
        msg: None,
        by: delivered.way.name().map(str::to_owned),
        latency_us: delivered.latency.map(micros),
    };
    match &delivered.outcome {
        Outcome::Taken(standing) => {
            line.order_id = Some(standing.order_id);
            line.status = Some(standing.status.clone());
            line.executed_qty = Some(standing.executed_qty.clone());
            line.fills.clone_from(&standing.fills);
        }
        Outcome::Refused(error) => (line.code, line.msg) = (Some(error.code), Some(error.msg.clone())),
        Outcome::NotSent(what) => (line.status, line.msg) = (Some("NOT_SENT".to_owned()), Some(what.clone())),
        Outcome::Unknown(what) => {
            line.msg = Some(what.clone());
            return Line::Unknown(line);
        }
    }
    if line.by.is_some() { Line::Settled(line) } else { Line::Ack(line) }
}

/// Locks; a panic elsewhere does not spread through the lock.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
