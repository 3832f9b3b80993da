//! A group in one process: the real ledger behind calls that take their time, and clients that record them.
//!
//! What is simulated is what a history can show: requests and answers that are late or lost, clients that
//! give up, settle, send again or vanish, nodes that lag behind, leaders that change.

use std::collections::{BTreeMap, BTreeSet};

use quorate_api::{Consistency, Problem, ProblemKind, paths};
use quorate_domain::{Millis, Symbol};
use quorate_ledger::{Answer, Command, Envelope, Event, Frame, Input, LeaderCommand, Ledger, Outcome, Response};

use super::{Made, actors, views};
use crate::history::record::{Got, Line, Op};

const MS: u64 = 1_000_000;
/// Log time at the start.
const EPOCH_MS: u64 = 1_700_000_000_000;
/// How long a client waits for an answer.
const PATIENCE: u64 = 40 * MS;
pub(super) const NODES: u64 = 3;

/// Chance, from one seed (SplitMix64).
pub(super) struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// In `from..to`.
    pub(super) fn between(&mut self, from: u64, to: u64) -> u64 {
        from + self.next() % (to - from)
    }

    pub(super) fn percent(&mut self, share: u64) -> bool {
        self.next() % 100 < share
    }

    pub(super) fn pick<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        let count = u64::try_from(of.len()).unwrap();
        (count > 0).then(|| &of[usize::try_from(self.next() % count).unwrap()])
    }
}

enum Step {
    /// A client is free to call.
    Free(usize),
    /// A command reaches the log.
    Apply {
        client: usize,
        call: u64,
        envelope: Envelope,
    },
    /// A read reaches its node.
    Serve {
        client: usize,
        call: u64,
        path: &'static str,
        consistency: Consistency,
        node: u64,
    },
    /// An answer reaches its client.
    Answer {
        client: usize,
        call: u64,
        got: Got,
    },
    /// A client waits no longer.
    GiveUp {
        client: usize,
        call: u64,
        envelope: Option<Envelope>,
    },
    Leader(LeaderCommand),
}

pub(super) struct Client {
    pub(super) role: actors::Role,
    name: String,
    session: u64,
    seq: u64,
    calls: u64,
    waiting: BTreeSet<u64>,
}

pub(super) struct Group {
    pub(super) dice: Dice,
    pub(super) ledger: Ledger,
    /// The ledger as it was after each entry.
    past: Vec<Ledger>,
    shown: [usize; 3],
    frames: Vec<Frame>,
    lines: Vec<Line>,
    clients: Vec<Client>,
    agenda: BTreeMap<(u64, u64), Step>,
    planned: u64,
    now: u64,
    index: u64,
    pub(super) names: u64,
}

impl Group {
    /// Whether this maker has said what it quotes this symbol with.
    pub(super) fn has_committed(&self, maker: u64, of: &Symbol) -> bool {
        let said = |event: &Event| matches!(event, Event::ParametersCommitted { incarnation, symbol, .. } if (*incarnation, symbol) == (maker, of));
        self.frames.iter().rev().flat_map(|frame| &frame.events).any(said)
    }

    pub(super) fn new(seed: u64) -> Self {
        let mut group = Self {
            dice: Dice(seed),
            ledger: Ledger::new(),
            past: vec![Ledger::new()],
            shown: [0; 3],
            frames: Vec::new(),
            lines: Vec::new(),
            clients: Vec::new(),
            agenda: BTreeMap::new(),
            planned: 0,
            now: 0,
            index: 0,
            names: 0,
        };
        for (at, role) in actors::ROLES.into_iter().enumerate() {
            let name = format!("{role:?}-{at}");
            group.clients.push(Client { role, name, session: 0, seq: 0, calls: 0, waiting: BTreeSet::new() });
            group.plan(0, Step::Free(at));
        }
        group.plan(0, Step::Leader(LeaderCommand::BeginTerm { term: 1, quote_age_proven: true, clock_jump_ms: 0 }));
        for at in 1..200 {
            let delay = at * 150 * MS + group.dice.between(0, 50 * MS);
            let quote_age_proven = group.dice.percent(60);
            let begin = LeaderCommand::BeginTerm { term: at, quote_age_proven, clock_jump_ms: 0 };
            group.plan(delay, Step::Leader(if at % 12 == 0 { begin } else { LeaderCommand::Tick }));
        }
        group
    }

    /// So many milliseconds of its life.
    pub(super) fn live(mut self, ms: u64) -> Made {
        while let Some(((time, _), step)) = self.agenda.pop_first() {
            if time > ms * MS {
                break;
            }
            self.now = time;
            self.step(step);
        }
        Made { lines: self.lines, frames: self.frames }
    }

    fn plan(&mut self, delay: u64, step: Step) {
        self.planned += 1;
        self.agenda.insert((self.now + delay, self.planned), step);
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Leader(command) => drop(self.apply(&Input::Leader(command))),
            Step::Free(client) => self.call(client),
            Step::Apply { client, call, envelope } => {
                let response = self.apply(&Input::Client(envelope));
                if self.dice.percent(96) {
                    let delay = self.dice.between(MS / 10, 4 * MS);
                    self.plan(delay, Step::Answer { client, call, got: Got::Response(response) });
                }
            }
            Step::Serve { client, call, path, consistency, node } => {
                let got = self.serve(path, consistency, node);
                let delay = self.dice.between(MS / 10, 4 * MS);
                self.plan(delay, Step::Answer { client, call, got });
            }
            Step::Answer { client, call, got } => {
                if self.clients[client].waiting.remove(&call) {
                    if let Got::Response(Response {
                        outcome: Outcome::Accepted(Answer::SessionOpened { session }),
                        ..
                    }) = &got
                    {
                        (self.clients[client].session, self.clients[client].seq) = (*session, 0);
                    }
                    self.returned(client, call, got);
                    self.rest(client);
                }
            }
            Step::GiveUp { client, call, envelope } => {
                if self.clients[client].waiting.remove(&call) {
                    self.give_up(client, call, envelope);
                }
            }
        }
    }

    fn rest(&mut self, client: usize) {
        let pause = self.dice.between(0, 8 * MS);
        self.plan(pause, Step::Free(client));
    }

    fn apply(&mut self, input: &Input) -> Response {
        // Entries that are no command of the ledger's leave gaps.
        self.index += 1 + u64::from(self.dice.percent(3));
        let now = Millis(EPOCH_MS + self.now / MS);
        let (response, events) = self.ledger.apply(self.index, now, input);
        let (log_time, chain) = (self.ledger.log_time(), self.ledger.chain());
        self.frames.push(Frame { index: self.index, log_time, chain, events });
        self.past.push(self.ledger.clone());
        response
    }

    fn serve(&mut self, path: &str, consistency: Consistency, node: u64) -> Got {
        let last = self.past.len() - 1;
        let shown = &mut self.shown[usize::try_from(node - 1).unwrap()];
        *shown = match consistency {
            Consistency::Linearizable => last,
            Consistency::Local => {
                let (from, to) = (u64::try_from(*shown).unwrap(), u64::try_from(last).unwrap());
                usize::try_from(self.dice.between(from, to + 1)).unwrap()
            }
        };
        let answer = views::answer(&self.past[*shown], node, path, consistency);
        Got::Read { node: format!("http://node-{node}"), answer }
    }

    fn call(&mut self, at: usize) {
        if self.clients[at].role.reads() {
            return self.read(at);
        }
        let envelope = if self.clients[at].session == 0 {
            Envelope { session: 0, seq: 0, command: Command::OpenSession }
        } else {
            let Some(command) = actors::next(self, at) else { return self.rest(at) };
            self.clients[at].seq += 1;
            Envelope { session: self.clients[at].session, seq: self.clients[at].seq, command }
        };
        let op = Op::Command(envelope.command.clone());
        self.send(at, op, envelope);
    }

    fn send(&mut self, client: usize, op: Op, envelope: Envelope) {
        let call = self.invoked(client, op);
        let delay = if self.dice.percent(4) {
            self.dice.between(PATIENCE, 3 * PATIENCE)
        } else {
            self.dice.between(MS / 10, 5 * MS)
        };
        if self.dice.percent(96) {
            self.plan(delay, Step::Apply { client, call, envelope: envelope.clone() });
        }
        self.plan(PATIENCE, Step::GiveUp { client, call, envelope: Some(envelope) });
    }

    fn read(&mut self, client: usize) {
        let path = *self
            .dice
            .pick(&[
                paths::POSITIONS,
                paths::POSITIONS,
                paths::QUOTES,
                paths::QUOTES,
                paths::EXPOSURE,
                paths::AUTHORITY,
            ])
            .unwrap();
        let (consistency, query) = if self.dice.percent(40) {
            (Consistency::Local, "?consistency=local")
        } else {
            (Consistency::Linearizable, "")
        };
        let node = self.dice.between(1, NODES + 1);
        let call = self.invoked(client, Op::Read(format!("{path}{query}")));
        if self.dice.percent(97) {
            let delay = self.dice.between(MS / 10, 5 * MS);
            self.plan(delay, Step::Serve { client, call, path, consistency, node });
        }
        self.plan(PATIENCE, Step::GiveUp { client, call, envelope: None });
    }

    fn give_up(&mut self, client: usize, call: u64, envelope: Option<Envelope>) {
        let Some(envelope) = envelope else {
            self.returned(client, call, Got::ReadFailed(Problem::new(ProblemKind::Timeout, "no answer in time")));
            return self.rest(client);
        };
        // Some clients die here: nothing is written any more, and another call comes from a new life of it.
        if self.dice.percent(80) {
            self.returned(client, call, Got::Unknown(Problem::unknown("no answer in time")));
        }
        let again = self.dice.between(0, 100);
        if again < 60 && envelope.session != 0 {
            let op = Op::Settle { of: call, session: envelope.session, seq: envelope.seq };
            self.send(client, op, envelope);
        } else if again < 80 && matches!(envelope.command, Command::ExecuteOrder(_)) {
            self.clients[client].seq += 1;
            let (session, seq) = (self.clients[client].session, self.clients[client].seq);
            let op = Op::Command(envelope.command.clone());
            self.send(client, op, Envelope { session, seq, command: envelope.command });
        } else {
            self.rest(client);
        }
    }

    fn invoked(&mut self, at: usize, op: Op) -> u64 {
        let client = &mut self.clients[at];
        client.calls += 1;
        client.waiting.insert(client.calls);
        self.lines.push(Line::Invoke { at: self.now, client: client.name.clone(), call: client.calls, op });
        client.calls
    }

    fn returned(&mut self, at: usize, call: u64, got: Got) {
        let client = self.clients[at].name.clone();
        self.lines.push(Line::Return { at: self.now, client, call, got });
    }

    pub(super) fn role(&self, at: usize) -> actors::Role {
        self.clients[at].role
    }
}
