//! A history read back: calls with their returns, and what they were about.
//!
//! Invariant: nothing that a client was told is lost or made up. An unknown outcome stays open unless the
//! settling of that very command answered it.

use std::collections::BTreeMap;

use quorate_api::{Consistency, Read};
use quorate_client::CallId;
use quorate_domain::Millis;
use quorate_ledger::{Command, ExecuteOrder, Outcome, Response};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::record::{Fault, Got, Line, Op, VERSION};

/// All calls of a run, of all clients.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// By the time of their invocation.
    pub calls: Vec<Call>,
    /// By the time of their beginning.
    pub faults: Vec<Fault>,
}

/// One call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Who called.
    pub client: String,
    /// The client's number for it.
    pub call: CallId,
    /// When it was invoked, in nanoseconds from the common start.
    pub invoked: u64,
    /// When the caller had its answer, be it that the outcome is unknown; `None` where it never had one.
    pub returned: Option<u64>,
    /// What was called.
    pub op: Op,
    /// What came of it; `None` where nothing did.
    pub got: Option<Got>,
}

/// One command, over all calls that sent it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// The calls, as places in [`History::calls`].
    pub calls: Vec<usize>,
    /// When it was first invoked.
    pub invoked: u64,
    /// When its answer was known; `None` while it is unknown.
    pub returned: Option<u64>,
    /// The command.
    pub command: Command,
    /// The ledger's answer, where it is known.
    pub response: Option<Response>,
}

/// One read that was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    /// The call, as a place in [`History::calls`].
    pub call: usize,
    /// When it was invoked.
    pub invoked: u64,
    /// When it was answered.
    pub returned: u64,
    /// The address of the node that answered.
    pub node: String,
    /// The path, without its query.
    pub path: String,
    /// The symbol asked for, where it was one.
    pub symbol: Option<String>,
    /// How fresh the node says it is.
    pub consistency: Consistency,
    /// The index that the node says it has applied.
    pub applied_index: u64,
    /// Log time there.
    pub log_time: Millis,
    /// What it showed.
    pub data: Value,
}

impl Observed {
    /// What was shown, typed. `None` where it is of another form: an answer that no node gives.
    #[must_use]
    pub fn rows<T: DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_value(self.data.clone()).ok()
    }
}

/// Why lines are no history.
#[derive(Debug, thiserror::Error)]
pub enum BadHistory {
    /// A line that is not of the format.
    #[error("line {line} of the history is not of the format: {error}")]
    Form {
        /// From 1.
        line: usize,
        /// What is wrong.
        error: serde_json::Error,
    },
    /// Another version's.
    #[error("a history of version {0}: this program reads {VERSION}")]
    Version(u32),
    /// Lines that do not fit together.
    #[error("call {call} of client {client}: {what}")]
    Call {
        /// Who called.
        client: String,
        /// The client's number for it.
        call: CallId,
        /// What does not fit.
        what: &'static str,
    },
    /// An answer to a read that is not what a node says.
    #[error("call {call} of client {client}: the answer to {path} is no read: {error}")]
    Answer {
        /// Who called.
        client: String,
        /// The client's number for it.
        call: CallId,
        /// What was read.
        path: String,
        /// What is wrong.
        error: String,
    },
}

impl History {
    /// Reads text; a last line without its end is left out, for its writer was stopped within it.
    ///
    /// # Errors
    /// [`BadHistory`].
    pub fn parse(text: &str) -> Result<Self, BadHistory> {
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let mut lines = Vec::new();
        for (at, line) in whole.lines().enumerate() {
            lines.push(serde_json::from_str(line).map_err(|error| BadHistory::Form { line: at + 1, error })?);
        }
        Self::of(lines)
    }

    /// Puts lines together, of one recorder or of several.
    ///
    /// # Errors
    /// [`BadHistory`], but for [`BadHistory::Form`].
    pub fn of(lines: impl IntoIterator<Item = Line>) -> Result<Self, BadHistory> {
        let mut calls: BTreeMap<(String, CallId), Call> = BTreeMap::new();
        let mut faults = Vec::new();
        for line in lines {
            match line {
                Line::History { version: VERSION } => {}
                Line::History { version } => return Err(BadHistory::Version(version)),
                Line::Fault(fault) => faults.push(fault),
                Line::Invoke { at, client, call, op } => {
                    let begun = Call { client: client.clone(), call, invoked: at, returned: None, op, got: None };
                    if calls.insert((client.clone(), call), begun).is_some() {
                        return Err(BadHistory::Call { client, call, what: "invoked twice" });
                    }
                }
                Line::Return { at, client, call, got } => {
                    let wrong = |what| BadHistory::Call { client: client.clone(), call, what };
                    let begun = calls.get_mut(&(client.clone(), call)).ok_or_else(|| wrong("never invoked"))?;
                    if begun.returned.is_some() {
                        return Err(wrong("returned twice"));
                    }
                    if at < begun.invoked {
                        return Err(wrong("returned before it was invoked"));
                    }
                    begun.returned = Some(at);
                    begun.got = Some(got);
                }
            }
        }
        let mut calls: Vec<Call> = calls.into_values().collect();
        calls.sort_by_key(|call| call.invoked);
        faults.sort_by_key(|fault| fault.at);
        Ok(Self { calls, faults })
    }

    /// The lines again, each client's in their order.
    #[must_use]
    pub fn lines(&self) -> Vec<Line> {
        let mut timed = Vec::new();
        for call in &self.calls {
            let (client, number) = (call.client.clone(), call.call);
            let line = Line::Invoke { at: call.invoked, client, call: number, op: call.op.clone() };
            timed.push((call.invoked, line));
            if let (Some(at), Some(got)) = (call.returned, &call.got) {
                let client = call.client.clone();
                timed.push((at, Line::Return { at, client, call: number, got: got.clone() }));
            }
        }
        timed.extend(self.faults.iter().map(|fault| (fault.at, Line::Fault(fault.clone()))));
        // Stable: of one call the invocation stays before the return.
        timed.sort_by_key(|(at, _)| *at);
        std::iter::once(Line::History { version: VERSION }).chain(timed.into_iter().map(|(_, line)| line)).collect()
    }

    /// Commands, by the time of their first invocation. Calls that settle a command are part of it. So are the
    /// several calls that sent the same execution of an order, which has one effect by its own number: they are
    /// one command once one of them was accepted. What was certainly not applied is left out.
    #[must_use]
    pub fn writes(&self) -> Vec<Write> {
        let mut of_call: BTreeMap<(&str, CallId), usize> = BTreeMap::new();
        let mut writes: Vec<Option<Write>> = Vec::new();
        for (place, call) in self.calls.iter().enumerate() {
            let at = match &call.op {
                Op::Read(_) => continue,
                Op::Command(command) => {
                    writes.push(Some(Write {
                        calls: Vec::new(),
                        invoked: call.invoked,
                        returned: None,
                        command: command.clone(),
                        response: None,
                    }));
                    writes.len() - 1
                }
                // Its command was invoked before it, or nobody knows what it settles.
                Op::Settle { of, .. } => match of_call.get(&(call.client.as_str(), *of)) {
                    Some(at) => *at,
                    None => continue,
                },
            };
            of_call.insert((&call.client, call.call), at);
            let certainly_not = matches!((&call.op, &call.got), (Op::Command(_), Some(Got::NotApplied(_))));
            if certainly_not {
                writes[at] = None;
            } else if let Some(write) = &mut writes[at] {
                write.calls.push(place);
                if let Some(Got::Response(response)) = &call.got
                    && write.response.is_none()
                {
                    write.response = Some(response.clone());
                    write.returned = call.returned;
                }
            }
        }
        let mut writes = one_for_each_execution(writes.into_iter().flatten().collect());
        writes.sort_by_key(|write| write.invoked);
        writes
    }

    /// Reads that were answered, by the time of their invocation.
    ///
    /// # Errors
    /// [`BadHistory::Answer`] where an answer is not of the form that nodes give.
    pub fn reads(&self) -> Result<Vec<Observed>, BadHistory> {
        let mut reads = Vec::new();
        for (place, call) in self.calls.iter().enumerate() {
            let Op::Read(path) = &call.op else { continue };
            let bad = |error: String| BadHistory::Answer {
                client: call.client.clone(),
                call: call.call,
                path: path.clone(),
                error,
            };
            let (node, answer) = match &call.got {
                Some(Got::Read { node, answer }) => (node, answer),
                Some(Got::Unreadable { .. }) => return Err(bad("no JSON".to_owned())),
                Some(Got::Response(_) | Got::NotApplied(_) | Got::Unknown(_)) => {
                    return Err(bad("that of a command".to_owned()));
                }
                Some(Got::ReadFailed(_)) | None => continue,
            };
            let read: Read<Value> = serde_json::from_value(answer.clone()).map_err(|error| bad(error.to_string()))?;
            let (base, query) = path.split_once('?').unwrap_or((path, ""));
            reads.push(Observed {
                call: place,
                invoked: call.invoked,
                returned: call.returned.unwrap_or(u64::MAX),
                node: node.clone(),
                path: base.to_owned(),
                symbol: query.split('&').find_map(|part| part.strip_prefix("symbol=")).map(str::to_owned),
                consistency: read.consistency,
                applied_index: read.applied_index,
                log_time: read.log_time,
                data: read.data,
            });
        }
        Ok(reads)
    }
}

/// Folds the calls that sent one execution of an order into one, where one of them was accepted: the others were
/// repeats of it, or it a repeat of one of them.
fn one_for_each_execution(writes: Vec<Write>) -> Vec<Write> {
    let mut accepted: BTreeMap<u64, usize> = BTreeMap::new();
    let mut kept: Vec<Write> = Vec::new();
    let mut rest = Vec::new();
    for write in writes {
        match (execution(&write.command), &write.response) {
            (Some(_), Some(Response { index, outcome: Outcome::Accepted(_), .. })) => match accepted.get(index) {
                Some(at) if kept[*at].command == write.command && kept[*at].response == write.response => {
                    fold(&mut kept[*at], write);
                }
                _ => {
                    accepted.insert(*index, kept.len());
                    kept.push(write);
                }
            },
            (Some(_), None) => rest.push(write),
            _ => kept.push(write),
        }
    }
    for unknown in rest {
        let same = accepted.values().copied().find(|at| kept[*at].command == unknown.command);
        match same {
            Some(at) => fold(&mut kept[at], unknown),
            None => kept.push(unknown),
        }
    }
    kept
}

fn execution(command: &Command) -> Option<&ExecuteOrder> {
    if let Command::ExecuteOrder(execute) = command { Some(execute) } else { None }
}

fn fold(into: &mut Write, other: Write) {
    into.calls.extend(other.calls);
    into.invoked = into.invoked.min(other.invoked);
    into.returned = match (into.returned, other.returned) {
        (Some(one), Some(another)) => Some(one.min(another)),
        (one, another) => one.or(another),
    };
}
