//! A linearizable read is at or after everything acknowledged before it began; and no node answers a read older than
//! one that it answered before, its restarts included.

use super::{Invariant, hold};
use crate::view::ReadSeen;

/// See the module.
#[derive(Default)]
pub(super) struct Reads;

impl Invariant for Reads {
    fn name(&self) -> &'static str {
        "reads"
    }

    fn read(&mut self, read: &ReadSeen) -> Result<(), String> {
        let fresh = !read.linearizable || read.applied_index >= read.acked_before;
        hold(fresh && read.applied_index >= read.served_before, || format!("stale: {read:?}"))
    }
}
