//! A member of the group that holds the truth: openraft over redb, peers over HTTP/2, an HTTP API.
//!
//! Code map: [`node::Node`] is the handle through which everything goes; `raft/` binds openraft (types,
//! runtime, network, state machine); [`time`] is log time; [`config`] reads and checks settings;
//! [`run`](mod@run) wires a node to its listeners. The rules are the ledger's (`quorate-ledger`), the disk
//! is the store's (`quorate-log-store`): nothing here decides either.

pub mod config;
pub mod http;
pub mod node;
pub mod process;
pub mod raft;
pub mod run;
pub mod time;
