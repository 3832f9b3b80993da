//! The market: order entry in the Binance Spot API's shapes, matched against mirrored quotes and resting
//! orders, committed to the ledger before anybody hears of it.
//!
//! Code map: [`desk`] owns the matching engine and carries its effects out; [`recover`] registers with the
//! ledger and reads what the engine starts from; [`follow`] keeps doing so and feeds the engine; [`orders`]
//! turns requests into orders and outcomes into answers; [`refusals`] remembers which were refused,
//! [`history`] what the ledger does not keep of those that were not; [`http`] serves them, to those whom [`accounts`] knows,
//! and [`limits`] has some of these limited in the ledger first; [`listings`] and [`reference`](mod@reference)
//! are what is traded and its reference prices; [`run`](mod@run) wires it together for a process. A simulation
//! takes the desk, [`follow::follow`] and [`http::router`] instead.
//!
//! Invariants: nothing is decided here (the engine proposes, the ledger disposes); nothing is held here that
//! cannot be lost; what was proposed and not answered is *unknown*, never refused. One that is fenced by a
//! newer exchange answers whoever waits, and ends with an error: it never takes the place back.

pub mod accounts;
pub mod config;
pub mod desk;
pub mod follow;
pub mod history;
pub mod http;
pub mod limits;
pub mod listings;
mod lock;
mod log_clock;
mod malformed;
mod marks;
pub mod orders;
pub mod recover;
pub mod reference;
pub mod refusals;
pub mod run;
