//! The belief journal: what a maker believed to hold, and when, by its own clock. Evidence from which
//! others judge that no two makers ever believed to hold one symbol.
//!
//! One JSON object a line, appended, written before any command that rests on it is sent:
//!
//! ```text
//! {"event":"started","maker":"alpha","wall_ms":1700000000000,"monotonic_ms":0}
//! {"event":"gained","maker":"alpha","symbol":"BTCUSDT","epoch":3,"incarnation":41,
//!  "from_wall_ms":..,"until_wall_ms":..,"from_ms":..,"until_ms":..,"wall_ms":..,"monotonic_ms":..}
//! ```
//!
//! `event` is `started`, `gained`, `renewed`, `ended` or `stopped`. `from` and `until` bound the belief
//! as it stands from this line on: the last line about a symbol counts. With `ended`, `until` is when it
//! ended. `*_ms` are of the maker's monotonic clock, which starts anew with each process; `*_wall_ms` are
//! the same instants by its wall clock as it stood when the line was written, comparable between the
//! processes of one machine; `wall_ms` and `monotonic_ms` are the two clocks at the writing.
//!
//! A process that is killed writes nothing: its beliefs ended at their `until` at the latest, or, where
//! the same file goes on with another `started`, at the time of that line at the latest. The file is
//! locked, so that two processes never write to one journal.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{self, Write},
    path::Path,
    time::Duration,
};

use quorate_domain::{MakerName, Symbol};
use quorate_ledger::{Epoch, Incarnation};
use quorate_quoter::{Belief, BeliefChange};
use quorate_seams::Clocks;
use serde::{Deserialize, Serialize};

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BeliefRecord {
    /// What happened.
    pub event: BeliefEvent,
    /// To whom.
    pub maker: MakerName,
    /// The belief, where it is about one.
    #[serde(flatten, default, skip_serializing_if = "Option::is_none")]
    pub belief: Option<Span>,
    /// The wall clock at the writing, in milliseconds since the Unix epoch.
    pub wall_ms: u64,
    /// The process's monotonic clock at the writing.
    pub monotonic_ms: u64,
}

/// What is believed, from when to when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// The symbol.
    pub symbol: Symbol,
    /// The epoch under which it is held.
    pub epoch: Epoch,
    /// The maker's incarnation.
    pub incarnation: Incarnation,
    /// Since when, by the wall clock.
    pub from_wall_ms: u64,
    /// Until when at most, by the wall clock.
    pub until_wall_ms: u64,
    /// Since when, by the monotonic clock.
    pub from_ms: u64,
    /// Until when at most, by the monotonic clock.
    pub until_ms: u64,
}

/// What a line is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BeliefEvent {
    /// The process started: all that earlier processes of this journal believed has ended.
    Started,
    /// A belief began.
    Gained,
    /// It was extended.
    Renewed,
    /// It ended.
    Ended,
    /// The process stopped: nothing is believed.
    Stopped,
}

/// Where the records go.
pub trait BeliefSink: Send {
    /// Takes a record; it must be out of this process's hands when this returns.
    ///
    /// # Errors
    /// Where it cannot be kept: the maker stops, for a belief without a record is no evidence.
    fn record(&mut self, record: &BeliefRecord) -> io::Result<()>;
}

/// Keeps nothing.
#[derive(Debug)]
pub struct NoJournal;

impl BeliefSink for NoJournal {
    fn record(&mut self, _record: &BeliefRecord) -> io::Result<()> {
        Ok(())
    }
}

/// A file of JSON lines. Each line is one write to the operating system, so that it outlives the
/// process; it is not synced, for the evidence need not outlive the machine.
#[derive(Debug)]
pub struct JournalFile(File);

impl JournalFile {
    /// Opens or creates the file, to append to it.
    ///
    /// # Errors
    /// Where it cannot be opened, or another process writes to it.
    pub fn open(path: &Path) -> io::Result<Self> {
        let mut file = OpenOptions::new().create(true).read(true).append(true).open(path)?;
        file.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => io::Error::other("another process writes to this journal"),
            TryLockError::Error(error) => error,
        })?;
        // A line that a full disk or a lost machine cut short must not swallow the next one.
        if file.metadata()?.len() > 0 {
            file.write_all(b"\n")?;
        }
        Ok(Self(file))
    }
}

impl BeliefSink for JournalFile {
    fn record(&mut self, record: &BeliefRecord) -> io::Result<()> {
        let mut line = serde_json::to_vec(record)?;
        line.push(b'\n');
        self.0.write_all(&line)
    }
}

/// Writes one maker's records.
pub(crate) struct Journal<'a> {
    pub(crate) maker: MakerName,
    pub(crate) clocks: &'a dyn Clocks,
    pub(crate) sink: Box<dyn BeliefSink>,
}

impl Journal<'_> {
    /// The process started or stopped.
    pub(crate) fn process(&mut self, event: BeliefEvent) -> io::Result<()> {
        self.write(event, |_, _| None)
    }

    /// A belief changed.
    pub(crate) fn belief(&mut self, belief: &Belief) -> io::Result<()> {
        let event = match belief.change {
            BeliefChange::Gained => BeliefEvent::Gained,
            BeliefChange::Renewed => BeliefEvent::Renewed,
            BeliefChange::Ended => BeliefEvent::Ended,
        };
        self.write(event, |wall, now| {
            let at =
                |instant: Duration| if instant > now { wall + ms(instant - now) } else { wall - ms(now - instant) };
            Some(Span {
                symbol: belief.symbol.clone(),
                epoch: belief.epoch,
                incarnation: belief.incarnation,
                from_wall_ms: at(belief.from),
                until_wall_ms: at(belief.until),
                from_ms: ms(belief.from),
                until_ms: ms(belief.until),
            })
        })
    }

    fn write(&mut self, event: BeliefEvent, span: impl FnOnce(u64, Duration) -> Option<Span>) -> io::Result<()> {
        let (wall_ms, now) = (self.clocks.wall_ms(), self.clocks.monotonic());
        let belief = span(wall_ms, now);
        let record = BeliefRecord { event, maker: self.maker.clone(), belief, wall_ms, monotonic_ms: ms(now) };
        self.sink.record(&record)
    }
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Debug)]
    struct Still;

    impl Clocks for Still {
        fn wall_ms(&self) -> u64 {
            1_000_000
        }
        fn monotonic(&self) -> Duration {
            Duration::from_millis(500)
        }
    }

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<BeliefRecord>>>);

    impl BeliefSink for Kept {
        fn record(&mut self, record: &BeliefRecord) -> io::Result<()> {
            self.0.lock().unwrap().push(record.clone());
            Ok(())
        }
    }

    fn belief(change: BeliefChange) -> Belief {
        Belief {
            symbol: "A".parse().unwrap(),
            epoch: 3,
            incarnation: 7,
            change,
            from: Duration::from_millis(400),
            until: Duration::from_millis(900),
        }
    }

    #[test]
    fn instants_of_the_monotonic_clock_are_told_by_the_wall_clock_too() {
        let kept = Kept::default();
        let mut journal = Journal { maker: "m".parse().unwrap(), clocks: &Still, sink: Box::new(kept.clone()) };
        journal.process(BeliefEvent::Started).unwrap();
        journal.belief(&belief(BeliefChange::Gained)).unwrap();
        let records = kept.0.lock().unwrap().clone();
        assert_eq!((records[0].event, &records[0].belief), (BeliefEvent::Started, &None));
        let span = records[1].belief.clone().unwrap();
        assert_eq!((span.from_wall_ms, span.until_wall_ms), (999_900, 1_000_400));
        assert_eq!((span.from_ms, span.until_ms), (400, 900));
    }

    #[test]
    fn a_file_takes_one_writer_and_lines_survive_a_torn_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("beliefs.jsonl");
        let clocks = Still;
        {
            let sink = Box::new(JournalFile::open(&path).unwrap());
            assert!(JournalFile::open(&path).is_err(), "one writer at a time");
            let mut journal = Journal { maker: "m".parse().unwrap(), clocks: &clocks, sink };
            journal.belief(&belief(BeliefChange::Ended)).unwrap();
        }
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, [&whole[..], b"{\"event\":\"gai"].concat()).unwrap();
        let sink = Box::new(JournalFile::open(&path).unwrap());
        Journal { maker: "m".parse().unwrap(), clocks: &clocks, sink }.process(BeliefEvent::Started).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let read: Vec<BeliefRecord> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        assert_eq!(
            read.iter().map(|record| record.event).collect::<Vec<_>>(),
            [BeliefEvent::Ended, BeliefEvent::Started]
        );
        assert_eq!(read[0].belief.as_ref().unwrap().epoch, 3);
    }
}
