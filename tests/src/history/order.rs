//! Real time against the log: what was invoked after something had returned has the higher index.
//!
//! A command's index must be above, and a linearizable read's applied index at or above, everything that
//! any client was told before it was invoked: indexes of answered commands, and applied indexes of reads,
//! local ones too, for what a node has applied was committed before.

use super::{
    Check, Violation,
    calls::{Observed, Write},
    local::is_local,
};

/// What a client was told, and when.
struct Told {
    at: u64,
    index: u64,
    call: usize,
}

/// Everything that does not respect real time.
#[must_use]
pub fn check(writes: &[Write], reads: &[Observed]) -> Vec<Violation> {
    let mut told: Vec<Told> = Vec::new();
    for write in writes {
        if let (Some(at), Some(response), Some(call)) = (write.returned, &write.response, write.calls.first()) {
            told.push(Told { at, index: response.index, call: *call });
        }
    }
    told.extend(reads.iter().map(|read| Told { at: read.returned, index: read.applied_index, call: read.call }));
    let highest = Highest::of(told);

    let mut violations = Vec::new();
    for write in writes {
        let (Some(response), Some(call)) = (&write.response, write.calls.first()) else { continue };
        if let Some(before) = highest.before(write.invoked)
            && before.index >= response.index
        {
            let what = format!(
                "{} was applied at {}, though {} was known before it was first sent",
                write.command.name(),
                response.index,
                before.index
            );
            violations.push(Violation { check: Check::Order, what, calls: vec![before.call, *call] });
        }
    }
    for read in reads.iter().filter(|read| !is_local(read)) {
        if let Some(before) = highest.before(read.invoked)
            && before.index > read.applied_index
        {
            let what = format!(
                "a linearizable read of {} at {} shows index {}, though {} was known before it was sent",
                read.path, read.node, read.applied_index, before.index
            );
            violations.push(Violation { check: Check::Order, what, calls: vec![before.call, read.call] });
        }
    }
    violations
}

/// The highest index that anybody was told, at every time.
pub(super) struct Highest(Vec<Told>);

impl Highest {
    fn of(mut told: Vec<Told>) -> Self {
        told.sort_by_key(|told| (told.at, told.index));
        let mut rising: Vec<Told> = Vec::new();
        for told in told {
            if rising.last().is_none_or(|last| told.index > last.index) {
                rising.push(told);
            }
        }
        Self(rising)
    }

    /// What answered commands told.
    pub(super) fn of_writes(writes: &[Write]) -> Self {
        let told = writes.iter().filter_map(|write| {
            Some(Told { at: write.returned?, index: write.response.as_ref()?.index, call: *write.calls.first()? })
        });
        Self::of(told.collect())
    }

    /// The highest told before `time`. What was told at that very time may be of the same moment.
    fn before(&self, time: u64) -> Option<&Told> {
        let count = self.0.partition_point(|told| told.at < time);
        self.0[..count].last()
    }

    /// The highest index told before `time`; 0 where nothing was.
    pub(super) fn index_before(&self, time: u64) -> u64 {
        self.before(time).map_or(0, |told| told.index)
    }
}
