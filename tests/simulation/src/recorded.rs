//! The history of a run as its clients lived it, for the checks that know nothing of this simulation
//! ([`quorate_tests::history`]). It is taken on the wire, so that it covers every client, whatever process it lives in.
//!
//! A command is one call from its first request to its first answer: its repeats go under one session and number, and
//! have one effect. What was handed to a node and never answered may have happened, or may happen yet. What was never
//! handed over, or came back with the word that nothing was proposed, has not.

use std::collections::BTreeMap;

use quorate_api::{Applied, Problem};
use quorate_ledger::{Envelope, Outcome, Refusal, Response, SessionId};
use quorate_tests::history::{
    calls::{Call, History},
    record::{Got, Op},
};
use serde_json::Value;

/// All calls so far.
#[derive(Debug, Default)]
pub struct Recorded {
    sent: Vec<Sent>,
    /// The commands under a session and number.
    numbered: BTreeMap<(SessionId, u64), Vec<usize>>,
    /// The commands in each request, by the request's number.
    requests: BTreeMap<u64, Vec<usize>>,
    reads: Vec<Call>,
}

/// A command, over all requests that carried it.
#[derive(Debug)]
struct Sent {
    client: String,
    invoked: u64,
    envelope: Envelope,
    /// Copies handed to a node that nothing was heard of since.
    open: u32,
    answer: Option<(u64, Response)>,
    /// Answers about the session, which say nothing of earlier requests.
    of_session: Vec<(u64, Response)>,
}

impl Recorded {
    /// A client sends a request of these commands.
    pub fn sent(&mut self, at: u64, client: &str, request: u64, batch: Vec<Envelope>) {
        let commands = batch.into_iter().map(|envelope| self.place(at, client, envelope)).collect();
        self.requests.insert(request, commands);
    }

    /// Where a command stands: a repeat stands where the first did.
    fn place(&mut self, at: u64, client: &str, envelope: Envelope) -> usize {
        let next = self.sent.len();
        if envelope.session != 0 {
            let same = self.numbered.entry((envelope.session, envelope.seq)).or_default();
            if let Some(known) = same.iter().find(|place| self.sent[**place].envelope == envelope) {
                return *known;
            }
            same.push(next);
        }
        self.sent.push(Sent {
            client: client.to_owned(),
            invoked: at,
            envelope,
            open: 0,
            answer: None,
            of_session: Vec::new(),
        });
        next
    }

    /// A copy of a request is handed to a node.
    pub fn delivered(&mut self, request: u64) {
        for place in self.requests.get(&request).into_iter().flatten() {
            self.sent[*place].open += 1;
        }
    }

    /// The answer to a request of commands reaches its client.
    pub fn answered(&mut self, at: u64, request: u64, body: &[u8]) {
        let Some(commands) = self.requests.get(&request) else { return };
        // An answer is one for each command, or one for the only one, or a problem of the request as a whole.
        let each: Vec<Applied> = if let Ok(all) = serde_json::from_slice(body) {
            all
        } else if let Ok(one) = serde_json::from_slice::<Applied>(body) {
            vec![one]
        } else if let Ok(problem) = serde_json::from_slice::<Problem>(body) {
            vec![Applied::Problem(problem); commands.len()]
        } else {
            return;
        };
        for (place, applied) in commands.iter().zip(each) {
            let sent = &mut self.sent[*place];
            let response = match applied {
                Applied::Response(response) => Some(response),
                Applied::Problem(Problem { outcome_unknown: true, .. }) => continue,
                Applied::Problem(Problem { refused: Some(response), .. }) => Some(*response),
                Applied::Problem(_) => None,
            };
            sent.open = sent.open.saturating_sub(1);
            match response {
                Some(response) if is_of_session(&response) => sent.of_session.push((at, response)),
                Some(response) if sent.answer.is_none() => sent.answer = Some((at, response)),
                Some(_) | None => {}
            }
        }
    }

    /// A read was answered; the times are those of its request and of its answer.
    pub fn read(&mut self, times: (u64, u64), client: &str, node: &str, path: &str, answer: Value) {
        let number = self.reads.len() as u64 + 1;
        self.reads.push(Call {
            client: format!("{client}, reading"),
            call: number,
            invoked: times.0,
            returned: Some(times.1),
            op: Op::Read(path.to_owned()),
            got: Some(Got::Read { node: node.to_owned(), answer }),
        });
    }

    /// What the checks take.
    #[must_use]
    pub fn history(&self) -> History {
        let mut calls = self.reads.clone();
        for sent in &self.sent {
            let number = calls.len() as u64 + 1;
            let mut keep = |returned: Option<(u64, Response)>| {
                let (returned, got) = returned.map(|(at, response)| (at, Got::Response(response))).unzip();
                let op = Op::Command(sent.envelope.command.clone());
                let (client, invoked) = (sent.client.clone(), sent.invoked);
                calls.push(Call { client, call: number, invoked, returned, op, got });
            };
            sent.of_session.iter().for_each(|answer| keep(Some(answer.clone())));
            if let Some(answer) = &sent.answer {
                keep(Some(answer.clone()));
            }
            // Without a session each copy has an effect of its own.
            let in_doubt = if sent.envelope.session == 0 { sent.open } else { u32::from(sent.open > 0) };
            if sent.answer.is_none() || sent.envelope.session == 0 {
                (0..in_doubt).for_each(|_| keep(None));
            }
        }
        calls.sort_by_key(|call| call.invoked);
        History { calls, faults: Vec::new() }
    }
}

fn is_of_session(response: &Response) -> bool {
    matches!(
        response.outcome,
        Outcome::Refused(
            Refusal::SessionRequired
                | Refusal::SessionExpired { .. }
                | Refusal::SeqReused { .. }
                | Refusal::SeqTooOld { .. }
        )
    )
}
