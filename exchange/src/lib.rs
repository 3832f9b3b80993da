//! The market: order entry in the Binance Spot API's shapes, matched against mirrored quotes and resting
//! orders, committed to the ledger before anybody hears of it.
//!
//! Code map: [`desk`] owns the matching engine and carries its effects out; [`recover`] registers with the
//! ledger and reads what the engine starts from; [`orders`] turns requests into orders and outcomes into
//! answers; [`http`] serves them; [`reference`] makes reference prices; [`run`](mod@run) wires it together.
//!
//! Invariants: nothing is decided here (the engine proposes, the ledger disposes); nothing is held here that
//! cannot be lost; what was proposed and not answered is *unknown*, never refused.

pub mod config;
pub mod desk;
pub mod http;
pub mod orders;
pub mod recover;
pub mod reference;
pub mod run;
