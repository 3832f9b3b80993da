//! The trace: every event of a run as a line, and a hash chained over the lines.
//!
//! Invariant: a line holds nothing but what follows from the seed (simulated time, names, numbers): equal seeds give
//! equal traces, byte for byte.

use std::{
    collections::VecDeque,
    fmt::{self, Write},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// Lines kept for whoever reads of a failure.
const LAST_LINES: usize = 60;

/// The trace of one run.
pub struct Trace {
    zero: Instant,
    inner: Mutex<Inner>,
}

struct Inner {
    hasher: blake3::Hasher,
    line: String,
    lines: u64,
    last: VecDeque<String>,
    all: Option<Vec<String>>,
}

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Trace")
    }
}

impl Trace {
    /// Begins now. `keep` keeps every line.
    #[must_use]
    pub fn new(keep: bool) -> Self {
        let inner = Inner {
            hasher: blake3::Hasher::new(),
            line: String::new(),
            lines: 0,
            last: VecDeque::new(),
            all: keep.then(Vec::new),
        };
        Self { zero: Instant::now(), inner: Mutex::new(inner) }
    }

    /// True time since the beginning.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.zero.elapsed()
    }

    /// Adds a line.
    pub fn event(&self, what: fmt::Arguments<'_>) {
        let now = self.now();
        let inner = &mut *self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.line.clear();
        // Writing to a string cannot fail.
        let _ = writeln!(inner.line, "{}.{:03} {what}", now.as_secs(), now.subsec_millis());
        tracing::trace!("{}", inner.line.trim_end());
        inner.hasher.update(inner.line.as_bytes());
        inner.lines += 1;
        if let Some(all) = &mut inner.all {
            all.push(inner.line.clone());
        } else {
            let mut line =
                if inner.last.len() >= LAST_LINES { inner.last.pop_front() } else { None }.unwrap_or_default();
            line.clone_from(&inner.line);
            inner.last.push_back(line);
        }
    }

    /// Lines so far, and the hash over them.
    #[must_use]
    pub fn digest(&self) -> (u64, String) {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        (inner.lines, inner.hasher.finalize().to_hex().to_string())
    }

    /// What is kept of the lines: all, or the last ones.
    #[must_use]
    pub fn kept(&self) -> Vec<String> {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.all.clone().unwrap_or_else(|| inner.last.iter().cloned().collect())
    }
}

/// Adds a line to a trace, formatted.
#[macro_export]
macro_rules! note {
    ($trace:expr, $($what:tt)*) => { $trace.event(format_args!($($what)*)) };
}
