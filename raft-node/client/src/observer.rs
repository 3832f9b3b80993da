//! The hook through which a test records the history of calls. It sees; it changes nothing.

use std::fmt;

use quorate_api::Problem;
use quorate_ledger::{Command, Response, SessionId};

/// Tells the calls of one client apart: from 1, in the order of their invocation.
pub type CallId = u64;

/// Told of every call. Called from the caller's own task, so it must be quick and never block.
///
/// A call that was invoked and whose future was dropped returns nothing: its outcome is unknown.
pub trait Observer: Send + Sync + fmt::Debug {
    /// A call begins.
    fn invoked(&self, call: CallId, operation: &Operation<'_>);
    /// A call returns.
    fn returned(&self, call: CallId, returned: &Returned<'_>);
}

/// What is called.
#[derive(Debug, Clone, Copy)]
pub enum Operation<'a> {
    /// A command, in a session (0: in none yet).
    Command(&'a Command),
    /// The settling of an earlier command whose outcome was unknown.
    Settle {
        /// The call that it settles.
        of: CallId,
        /// Its session.
        session: SessionId,
        /// Its number in the session.
        seq: u64,
    },
    /// A read: path and query.
    Read(&'a str),
}

/// What came of it.
#[derive(Debug, Clone, Copy)]
pub enum Returned<'a> {
    /// The ledger answered the command.
    Response(&'a Response),
    /// The command was certainly not applied.
    NotApplied(&'a Problem),
    /// The command may or may not be applied, now or later.
    Unknown(&'a Problem),
    /// The read's answer: the JSON of a `Read<T>`, and the address of the node that gave it.
    Read {
        /// `http://host:port`.
        node: &'a str,
        /// JSON.
        body: &'a [u8],
    },
    /// The read gave no answer.
    ReadFailed(&'a Problem),
}
