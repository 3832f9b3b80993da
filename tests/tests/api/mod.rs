//! What the tests of bad input share: requests as they are sent, answers as they come, and what must not change.

pub(crate) mod exchange_rows;
pub(crate) mod node_rows;
pub(crate) mod refusals;
pub(crate) mod sockets;
pub(crate) mod state;
pub(crate) mod wire;
