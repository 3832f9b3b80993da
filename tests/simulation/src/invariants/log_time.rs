//! Log time never goes back, and indexes follow one another.

use quorate_ledger::Frame;

use super::{Invariant, hold};

/// See the module.
#[derive(Default)]
pub(super) struct LogTime {
    last: Option<(u64, u64)>,
}

impl Invariant for LogTime {
    fn name(&self) -> &'static str {
        "log time"
    }

    fn frame(&mut self, frame: &Frame) -> Result<(), String> {
        let now = (frame.index, frame.log_time.0);
        let Some(last) = self.last.replace(now) else { return Ok(()) };
        hold(now.0 == last.0 + 1 && now.1 >= last.1, || format!("{now:?} after {last:?} (index, log time)"))
    }
}
