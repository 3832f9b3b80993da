//! openraft, bound to this house: types, runtime, network, state machine.
//!
//! Failpoints, beside the store's: `state.apply.before` and `state.apply.after` (each entry),
//! `snapshot.build`, `snapshot.install.before` and `snapshot.install.after`, `propose.before` (each
//! command, on the leader), `answer.before` (each batch, after commit, on the leader).

pub(crate) mod applied;
pub(crate) mod clock;
pub(crate) mod faults;
pub(crate) mod identity;
pub(crate) mod links;
pub(crate) mod network;
pub(crate) mod peer_server;
pub mod runtime;
pub(crate) mod snapshot;
pub mod state_machine;
pub mod types;
pub(crate) mod wire;
