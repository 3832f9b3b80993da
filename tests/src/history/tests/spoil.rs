//! How a correct history is spoilt: what to look for in it, and how to change one thing.

use quorate_api::paths;
use quorate_ledger::{Command, Frame, Outcome, Response};
use serde_json::{Value, json};

use super::Made;
use crate::history::{
    Check,
    calls::{Observed, Write},
    local::is_local,
    record::{Got, Line, Op},
};

/// A correct history to spoil.
pub(super) fn base() -> Made {
    let made = Made::correct(11, 3_000);
    let report = made.check();
    assert!(report.passed(), "{:#?}", report.violations);
    made
}

pub(super) fn assert_found(made: &Made, by: &[Check]) {
    let report = made.check();
    let found = made.found();
    assert!(by.iter().all(|check| found.contains(check)), "{by:?} must find it: {:#?}", report.violations);
}

impl Made {
    pub(super) fn linearizable(&self, path: &str) -> Vec<Observed> {
        let reads = self.history().reads().unwrap();
        reads.into_iter().filter(|read| read.path == path && !is_local(read)).collect()
    }

    /// Commands that their one call answered, as accepted.
    pub(super) fn accepted(&self, which: impl Fn(&Command) -> bool) -> Vec<Write> {
        let accepted = |response: &Response| matches!(response.outcome, Outcome::Accepted(_));
        let mut writes = self.history().writes();
        writes.retain(|write| {
            write.calls.len() == 1 && write.response.as_ref().is_some_and(accepted) && which(&write.command)
        });
        writes
    }

    /// Changes what the call at this place of the history returned.
    pub(super) fn change_got(&mut self, place: usize, change: impl FnOnce(&mut Got)) {
        let (client, call) = (self.history().calls[place].client.clone(), self.history().calls[place].call);
        let got = self.lines.iter_mut().find_map(|line| match line {
            Line::Return { client: of, call: number, got, .. } if (&*of, *number) == (&client, call) => Some(got),
            _ => None,
        });
        change(got.unwrap());
    }

    pub(super) fn change_response(&mut self, write: &Write, change: impl FnOnce(&mut Response)) {
        self.change_got(write.calls[0], |got| match got {
            Got::Response(response) => change(response),
            other => panic!("{other:?}"),
        });
    }

    pub(super) fn change_answer(&mut self, read: &Observed, change: impl FnOnce(&mut Value)) {
        self.change_got(read.call, |got| match got {
            Got::Read { answer, .. } => change(answer),
            other => panic!("{other:?}"),
        });
    }

    pub(super) fn answer(&self, read: &Observed) -> Value {
        match &self.history().calls[read.call].got {
            Some(Got::Read { answer, .. }) => answer.clone(),
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn change_command(&mut self, write: &Write, change: impl FnOnce(&mut Command)) {
        let (client, call) =
            (self.history().calls[write.calls[0]].client.clone(), self.history().calls[write.calls[0]].call);
        let command = self.lines.iter_mut().find_map(|line| match line {
            Line::Invoke { client: of, call: number, op: Op::Command(command), .. }
                if (&*of, *number) == (&client, call) =>
            {
                Some(command)
            }
            _ => None,
        });
        change(command.unwrap());
    }

    pub(super) fn frame(&mut self, index: u64) -> &mut Frame {
        self.frames.iter_mut().find(|frame| frame.index == index).unwrap()
    }

    pub(super) fn index(&self, write: &Write) -> u64 {
        write.response.as_ref().unwrap().index
    }

    /// Two reads of which the second was invoked after the first had returned, and shows something else.
    pub(super) fn different_reads(&self, path: &str) -> (Observed, Observed) {
        let reads = self.linearizable(path);
        let pairs = reads.iter().flat_map(|one| reads.iter().map(move |other| (one, other)));
        let apart = |(one, other): &(&Observed, &Observed)| {
            one.returned < other.invoked && one.data != other.data && one.node != other.node && one.data != json!([])
        };
        let (one, other) = pairs.into_iter().find(apart).unwrap();
        (one.clone(), other.clone())
    }

    /// Reads of quotes that show one which reads before and after show too, and the place of its row.
    pub(super) fn reads_of_standing_quotes(&self) -> Vec<(Observed, usize)> {
        let reads = self.linearizable(paths::QUOTES);
        let shows = |read: &Observed, row: &Value| {
            read.data.as_array().unwrap().iter().any(|other| other["quote_id"] == row["quote_id"])
        };
        let standing = |read: &Observed| {
            let before = |row: &Value| reads.iter().any(|other| other.returned < read.invoked && shows(other, row));
            let after = |row: &Value| reads.iter().any(|other| other.invoked > read.returned && shows(other, row));
            let at = read.data.as_array()?.iter().position(|row| before(row) && after(row))?;
            Some((read.clone(), at))
        };
        reads.iter().filter_map(standing).collect()
    }
}

pub(super) fn places(command: &Command) -> bool {
    matches!(command, Command::PlaceQuote(_))
}

pub(super) fn fills(command: &Command) -> bool {
    matches!(command, Command::ExecuteOrder(execute) if !execute.fills.is_empty())
}
