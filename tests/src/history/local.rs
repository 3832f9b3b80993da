//! What a node shows never goes back, across its restarts too; and at one index all nodes show the same.
//!
//! Local reads promise little: whatever the node has applied. But a node recovers to no less than it has
//! served (`docs/guarantees.md`), so that a read that was invoked after another one had returned from the
//! same node shows at least its index, whoever asked, and log time with it.

use std::collections::BTreeMap;

use quorate_api::{Consistency, paths};

use super::{Check, Violation, calls::Observed};

/// Whether a read asked only for what its node had applied.
#[must_use]
pub fn is_local(read: &Observed) -> bool {
    read.consistency == Consistency::Local
}

/// Everything that went back, and everything that differs where it must not.
#[must_use]
pub fn check(reads: &[Observed]) -> Vec<Violation> {
    let mut violations = backwards(reads);
    violations.extend(different(reads));
    violations
}

fn backwards(reads: &[Observed]) -> Vec<Violation> {
    let mut of_node: BTreeMap<&str, Vec<&Observed>> = BTreeMap::new();
    for read in reads {
        of_node.entry(&read.node).or_default().push(read);
    }
    let mut violations = Vec::new();
    for (node, mut later) in of_node {
        let mut earlier = later.clone();
        later.sort_by_key(|read| read.invoked);
        earlier.sort_by_key(|read| read.returned);
        let mut earlier = earlier.into_iter().peekable();
        let mut best: Option<&Observed> = None;
        for read in later {
            while let Some(before) = earlier.next_if(|before| before.returned < read.invoked) {
                if best.is_none_or(|best| before.applied_index > best.applied_index) {
                    best = Some(before);
                }
            }
            let Some(before) = best else { continue };
            let earlier_time = read.applied_index >= before.applied_index && read.log_time < before.log_time;
            if read.applied_index < before.applied_index || earlier_time {
                let what = format!(
                    "{node} shows index {} at log time {}, after it had shown index {} at {}",
                    read.applied_index, read.log_time, before.applied_index, before.log_time
                );
                violations.push(Violation { check: Check::Local, what, calls: vec![before.call, read.call] });
            }
        }
    }
    violations
}

/// What depends on nothing but the ledger at the applied index.
const OF_THE_LEDGER: [&str; 10] = [
    paths::POSITIONS,
    paths::EXPOSURE,
    paths::WAITING,
    paths::PNL,
    paths::BREAKERS,
    paths::BALANCES,
    paths::QUOTES,
    paths::AUTHORITY,
    paths::MAKERS,
    paths::SYMBOLS,
];

fn different(reads: &[Observed]) -> Vec<Violation> {
    let mut first: BTreeMap<(&str, Option<&str>, u64), &Observed> = BTreeMap::new();
    let mut violations = Vec::new();
    for read in reads.iter().filter(|read| OF_THE_LEDGER.contains(&read.path.as_str())) {
        let before = *first.entry((&read.path, read.symbol.as_deref(), read.applied_index)).or_insert(read);
        if before.data != read.data || before.log_time != read.log_time {
            let what = format!(
                "{} at index {} is one thing at {} and another at {}",
                read.path, read.applied_index, before.node, read.node
            );
            violations.push(Violation { check: Check::Local, what, calls: vec![before.call, read.call] });
        }
    }
    violations
}
