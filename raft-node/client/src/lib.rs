//! The one client of the group: it finds a node that serves, retries until a deadline, and makes every
//! command exactly once. All contact with the outside goes through [`World`](quorate_seams::World), so
//! that it runs in a simulation as it is.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//! use quorate_client::{Client, ClientConfig, ReadOptions, StreamItem, SubmitError};
//! use quorate_ledger::{Command, Outcome, RegisterMaker, Secret};
//! use quorate_seams::{Failpoints, World};
//! use tokio::time::Instant;
//!
//! let world = World::real(Failpoints::none())?;
//! let client = Client::new(world, ClientConfig::new(vec!["http://127.0.0.1:7101".into()]))?;
//!
//! // Commands: in order within a session, in flight together, each with one effect.
//! let session = client.session();
//! let register = Command::RegisterMaker(RegisterMaker {
//!     maker: "alpha".parse()?,
//!     ttl_ms: 9_000,
//!     secret_hash: Secret([7; 32]).hash(),
//! });
//! match session.submit(&register, Instant::now() + Duration::from_secs(3)).await {
//!     Ok(response) => match response.outcome {
//!         Outcome::Accepted(answer) => println!("at {}: {answer:?}", response.index),
//!         Outcome::Refused(refusal) => println!("refused: {refusal}"),
//!     },
//!     Err(SubmitError::NotApplied(problem)) => println!("certainly not: {problem}"),
//!     Err(SubmitError::Unknown { ticket: Some(ticket), .. }) => {
//!         let settled = session.settle(ticket, Instant::now() + Duration::from_secs(30)).await;
//!         println!("in the end: {settled:?}");
//!     }
//!     Err(SubmitError::Unknown { ticket: None, .. }) => println!("look for it by its business key"),
//! }
//!
//! // State, then everything that happens after it.
//! let positions = client.positions(None, &ReadOptions::linearizable()).await?;
//! let mut events = client.events(positions.applied_index + 1);
//! while let Some(item) = events.next().await {
//!     match item {
//!         StreamItem::Frame(frame) => println!("{}: {:?}", frame.index, frame.events),
//!         StreamItem::Applied { index, .. } => println!("nothing new up to {index}"),
//!         StreamItem::Resync { .. } => println!("read the state again, open a new stream"),
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # What it promises
//! - **Order.** [`Session::submit`] puts a command in line before it returns. The commands of a session
//!   reach the node in that order, first attempts and repeats alike, at most one batch on its way.
//! - **One effect.** A command keeps session and number over all attempts. `Ok` is the ledger's word,
//!   accepted or refused; [`SubmitError::NotApplied`] comes only where every attempt was certainly not
//!   processed; everything else is [`SubmitError::Unknown`], to be settled with its [`Ticket`] or, where
//!   the session has expired, by business key.
//! - **Bounds.** Every attempt, retry, queue and buffer is bounded; the bounds stand in [`config`].
//! - **Events.** Each log index comes once, in order; none is left out unless [`StreamItem::Resync`] says so.
//!
//! It must not decide anything about the business, and holds nothing that cannot be lost.
//!
//! # Code map
//! `session` numbers commands, `lane` sends them in batches, `command` keeps what became of one,
//! `submission` is its caller's end, `nodes` chooses whom to call, `wire` makes one attempt, `reads` and `events` are the rest of the API.

pub mod config;

mod backoff;
mod client;
mod command;
mod events;
mod lane;
mod nodes;
mod observer;
mod reads;
mod session;
mod shared;
mod sse;
mod submission;
mod wire;

pub use client::Client;
pub use config::{ClientConfig, InvalidConfig};
pub use events::{EventStream, StreamItem};
pub use observer::{CallId, Observer, Operation, Returned};
pub use reads::{CallFailed, OrderQuery, ReadOptions};
pub use session::Session;
pub use submission::{Submission, SubmitError, Ticket};
