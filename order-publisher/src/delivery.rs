//! One order, from its intent to its outcome.
//!
//! Invariant: it is sent under one name only, with the same content; an outcome that is not known is
//! asked for, and sent for again under that name, until the exchange says something definite.

use std::time::Duration;

use quorate_binance_api::ApiError;
use tokio::time::Instant;

use crate::{
    order::Order,
    venue::{Failed, Standing, Venue},
};

/// Pause between two attempts.
pub(crate) const AGAIN_AFTER: Duration = Duration::from_millis(200);

/// What became of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The exchange took it.
    Taken(Standing),
    /// The exchange refused it.
    Refused(ApiError),
    /// No connection could be made, for as long as was tried.
    NotSent(String),
    /// Nobody knows.
    Unknown(String),
}

/// How the outcome was come by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// By the answer.
    Answer,
    /// It was unknown for a while: by asking for the order.
    Query,
    /// It was unknown for a while: by sending it again under its own name.
    Resend,
}

impl Way {
    /// As it stands in the journal; `None` where nothing had to be settled.
    pub(crate) fn name(self) -> Option<&'static str> {
        match self {
            Self::Answer => None,
            Self::Query => Some("query"),
            Self::Resend => Some("resend"),
        }
    }
}

/// An order's end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Delivered {
    pub(crate) outcome: Outcome,
    pub(crate) way: Way,
    /// From sending to the answer, where the first answer was definite.
    pub(crate) latency: Option<Duration>,
}

/// Sends an order that was never sent before, and sees it through.
pub(crate) async fn deliver(venue: &Venue, order: &Order, patience: Duration) -> Delivered {
    let give_up = Instant::now() + patience;
    let mut refused_before = false;
    loop {
        let sent_at = Instant::now();
        let outcome = match venue.place(order).await {
            Ok(standing) => Outcome::Taken(standing),
            Err(Failed::Refused(error)) if error.is_duplicate() => return settle(venue, order, patience).await,
            // Not placed, for a reason that passes: under the same name, it is as if it had not been sent.
            Err(Failed::Refused(error)) if error.is_passing() && sent_at < give_up => {
                tracing::debug!(order = order.client_order_id, %error, "again later");
                refused_before = true;
                tokio::time::sleep(AGAIN_AFTER).await;
                continue;
            }
            // This attempt came too late. A second copy of an earlier one, made by the network, may be under way.
            Err(Failed::Refused(error)) if error.code == TIMESTAMP && refused_before => {
                return settle(venue, order, patience).await;
            }
            Err(Failed::Refused(error)) => Outcome::Refused(error),
            Err(Failed::Unknown(what)) => {
                tracing::debug!(order = order.client_order_id, what, "unknown");
                return settle(venue, order, patience).await;
            }
            Err(Failed::NotSent(_)) if sent_at < give_up => {
                tokio::time::sleep(AGAIN_AFTER).await;
                continue;
            }
            Err(Failed::NotSent(what)) => Outcome::NotSent(what),
        };
        return Delivered { outcome, way: Way::Answer, latency: Some(sent_at.elapsed()) };
    }
}

/// Finds out what became of an order that may have been sent before.
pub(crate) async fn settle(venue: &Venue, order: &Order, patience: Duration) -> Delivered {
    let give_up = Instant::now() + patience;
    let settled = |outcome, way| Delivered { outcome, way, latency: None };
    // Whether the window of the first sending has closed: then it can no longer arrive.
    let mut closed = false;
    loop {
        let doubt = match venue.query(&order.symbol, &order.client_order_id).await {
            Ok(standing) => return settled(Outcome::Taken(standing), Way::Query),
            Err(Failed::Refused(error)) if error.code == NO_SUCH_ORDER && closed => {
                return settled(Outcome::Refused(error), Way::Query);
            }
            // Not there. But what was sent may still be on its way: sent again, it has an outcome, and
            // whichever of the two comes second is a repeat.
            Err(Failed::Refused(error)) if error.code == NO_SUCH_ORDER => match venue.place(order).await {
                Ok(standing) => return settled(Outcome::Taken(standing), Way::Resend),
                // It may have arrived between the question and now: it is asked for once more.
                // A window that has not opened yet is no closed one, nor is one that is still open by the clock here.
                Err(Failed::Refused(again)) if again.code == TIMESTAMP => {
                    closed = again != ApiError::timestamp(true) && venue.window_is_past(order);
                    again.to_string()
                }
                Err(Failed::Refused(error)) if !error.is_duplicate() && !error.is_passing() => {
                    return settled(Outcome::Refused(error), Way::Resend);
                }
                Err(error) => error.to_string(),
            },
            Err(error) => error.to_string(),
        };
        if Instant::now() >= give_up {
            return settled(Outcome::Unknown(doubt), Way::Answer);
        }
        tokio::time::sleep(AGAIN_AFTER).await;
    }
}

/// "Order does not exist."
const NO_SUCH_ORDER: i32 = -2013;
/// The timestamp lies outside what is accepted.
const TIMESTAMP: i32 = -1021;
