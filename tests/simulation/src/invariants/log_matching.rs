//! Two logs that have an entry of one term at one index have the same entries before it.

use super::Invariant;
use crate::view::{LogView, View};

/// See the module.
#[derive(Default)]
pub(super) struct LogMatching;

impl Invariant for LogMatching {
    fn name(&self) -> &'static str {
        "log matching"
    }

    fn step(&mut self, view: &View) -> Result<(), String> {
        let logs: Vec<(u64, &LogView)> =
            view.nodes.iter().filter_map(|(id, node)| Some((*id, &node.raft.as_ref()?.log))).collect();
        for (place, (a_id, a)) in logs.iter().enumerate() {
            for (b_id, b) in &logs[place + 1..] {
                matches(a, b).map_err(|index| format!("nodes {a_id} and {b_id} differ at {index}: {a:?}, {b:?}"))?;
            }
        }
        Ok(())
    }
}

/// Whether the two match; otherwise an index before a common entry at which they differ.
fn matches(a: &LogView, b: &LogView) -> Result<(), u64> {
    let (Some((_, a_last)), Some((_, b_last))) = (a.last, b.last) else { return Ok(()) };
    let first = a.first().max(b.first());
    let mut places: Vec<u64> = a.starts.iter().chain(&b.starts).map(|(start, _)| *start).collect();
    places.extend([first, a_last.min(b_last)]);
    places.retain(|index| *index >= first && *index <= a_last.min(b_last));
    places.sort_unstable();
    let mut parted = None;
    for index in places {
        let same = a.term_at(index) == b.term_at(index);
        match parted {
            None if !same => parted = Some(index),
            Some(at) if same => return Err(at),
            None | Some(_) => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(starts: &[(u64, u64)], last: (u64, u64)) -> LogView {
        LogView { purged: None, starts: starts.to_vec(), last: Some(last) }
    }

    #[test]
    fn a_common_entry_after_a_difference_is_found() {
        let a = log(&[(0, 1), (5, 2), (9, 4)], (4, 12));
        assert_eq!(matches(&a, &a), Ok(()));
        assert_eq!(matches(&a, &log(&[(0, 1), (5, 3)], (3, 20))), Ok(()));
        assert_eq!(matches(&a, &log(&[(0, 1), (5, 3), (9, 4)], (4, 10))), Err(5));
        assert_eq!(matches(&a, &log(&[(0, 1), (7, 2), (9, 4)], (4, 10))), Err(5));
    }
}
