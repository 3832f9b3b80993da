//! openraft, bound to this house: types, runtime, network, state machine.

pub(crate) mod applied;
pub(crate) mod clock;
pub(crate) mod faults;
pub(crate) mod links;
pub(crate) mod network;
pub(crate) mod peer_server;
pub mod runtime;
pub(crate) mod snapshot;
pub mod state_machine;
pub mod types;
pub(crate) mod wire;
