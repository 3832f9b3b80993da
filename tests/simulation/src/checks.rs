//! What has been observed, and the invariants that it is held against.
//!
//! A step: every [`STEP`] of simulated time, and at once where a belief changes. At a step the frames that any node has
//! applied since the last one are taken, each compared with what was seen at its index, and each new one fed to every
//! invariant by itself, so that no applied index goes unchecked; then every invariant looks at the nodes as they
//! stand. What happens within a step and leaves no trace at its end or in a frame (a leadership that lasts less than
//! that, for example) is not seen.

use std::{sync::Arc, time::Duration};

use quorate_ledger::Frame;

use crate::{
    invariants::{self, Invariant},
    view::{Acked, Believed, Placing, ReadSeen, View},
};

/// Time between two steps.
pub const STEP: Duration = Duration::from_millis(20);
/// Violations kept.
const VIOLATIONS_MAX: usize = 20;

/// Something that does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which invariant.
    pub invariant: &'static str,
    /// Simulated time.
    pub at: Duration,
    /// What was seen.
    pub what: String,
}

/// The invariants of a run, and what they found.
pub struct Checks {
    invariants: Vec<Box<dyn Invariant>>,
    /// Every frame that any node applied, by index.
    frames: Vec<Arc<Frame>>,
    violations: Vec<Violation>,
    now: Duration,
}

impl Default for Checks {
    fn default() -> Self {
        Self { invariants: invariants::all(), frames: Vec::new(), violations: Vec::new(), now: Duration::ZERO }
    }
}

impl Checks {
    /// What was found.
    #[must_use]
    pub fn violations(&self) -> &[Violation] {
        &self.violations
    }

    /// Every frame seen, by index.
    #[must_use]
    pub fn frames(&self) -> &[Arc<Frame>] {
        &self.frames
    }

    /// It is so late now.
    pub fn at(&mut self, now: Duration) {
        self.now = now;
    }

    /// Adds a violation.
    pub fn wrong(&mut self, invariant: &'static str, what: String) {
        if self.violations.len() < VIOLATIONS_MAX {
            self.violations.push(Violation { invariant, at: self.now, what });
        }
    }

    fn ask(&mut self, mut question: impl FnMut(&mut dyn Invariant) -> Result<(), String>) {
        let mut found = Vec::new();
        for invariant in &mut self.invariants {
            if let Err(what) = question(invariant.as_mut()) {
                found.push((invariant.name(), what));
            }
        }
        for (name, what) in found {
            self.wrong(name, what);
        }
    }

    /// A frame that node `node` has applied.
    pub fn frame(&mut self, node: u64, frame: Arc<Frame>) {
        let place = usize::try_from(frame.index).unwrap_or(usize::MAX);
        match self.frames.get(place) {
            Some(known) if *known == frame => {}
            Some(known) => {
                let what = format!("node {node} applied {frame:?}, another {known:?}");
                self.wrong(invariants::STATE_MACHINE_SAFETY, what);
            }
            None if place == self.frames.len() => {
                self.ask(|invariant| invariant.frame(&frame));
                self.frames.push(frame);
            }
            None => {
                let what =
                    format!("node {node} applied index {place}, and nobody was seen to apply {}", self.frames.len());
                self.wrong(invariants::STATE_MACHINE_SAFETY, what);
            }
        }
    }

    /// The nodes as they stand at the end of a step.
    pub fn step(&mut self, view: &View) {
        self.ask(|invariant| invariant.step(view));
    }

    /// A maker's belief began, was extended or ended.
    pub fn belief(&mut self, belief: &Believed) {
        self.ask(|invariant| invariant.belief(belief));
    }

    /// A client was told that something is committed.
    pub fn acked(&mut self, acked: &Acked) {
        self.ask(|invariant| invariant.acked(acked));
    }

    /// A maker sends a quote for the symbol of the feed.
    pub fn placing(&mut self, placing: &Placing) {
        self.ask(|invariant| invariant.placing(placing));
    }

    /// A client was answered a read.
    pub fn read(&mut self, read: &ReadSeen) {
        self.ask(|invariant| invariant.read(read));
    }

    /// A client's stream gave a frame.
    pub fn streamed(&mut self, stream: u64, frame: &Frame) {
        self.ask(|invariant| invariant.streamed(stream, frame));
    }

    /// All is over: every frame is there.
    pub fn end(&mut self) {
        let frames = std::mem::take(&mut self.frames);
        self.ask(|invariant| invariant.end(&frames));
        self.frames = frames;
    }
}
