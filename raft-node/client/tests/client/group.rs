//! A group in memory behind the `Http` seam: three nodes before one ledger that knows sessions and
//! numbers. Calls fail as scripted. What arrived and what took effect is recorded.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use bytes::Bytes;
use quorate_api::{Applied, ClusterView, Consistency, MemberView, Problem, ProblemKind, Read};
use quorate_client::{Client, ClientConfig};
use quorate_domain::Millis;
use quorate_ledger::{
    Answer, Command, ControlChange, ControlCommand, Envelope, MakerRef, Outcome, QuotingScope, Refusal, Response,
    Secret,
};
use quorate_seams::{
    Body, Call, CallError, Failpoints, Http, SystemClocks, Tasks, World, full_body, read_body, stream_body,
};
use tokio::{
    sync::{Notify, mpsc},
    time::Instant,
};

/// How one batch of commands fares.
#[derive(Debug, Clone)]
pub(crate) enum Fate {
    /// Applied and answered.
    Served,
    /// No connection.
    Refused,
    /// Broken before anything was applied.
    BrokenBefore,
    /// Applied, and broken before the answer came.
    BrokenAfter,
    /// Never answered; applied this much later.
    Late(Duration),
    /// Never answered, never applied.
    Lost,
    /// Refused as a whole.
    Problem(Problem),
    /// Applied, and answered with something that is no answer.
    Garbled,
    /// Nothing but the commands at these places is applied; those get this problem.
    Partly(Vec<usize>, Problem),
    /// Applied and answered once the test opens the gate.
    Gated,
}

/// A request that arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Arrived {
    pub(crate) at: Duration,
    pub(crate) host: String,
    pub(crate) path: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) batch: Vec<Envelope>,
}

/// A stream of events that was opened: the test writes into it.
pub(crate) struct Opened {
    pub(crate) host: String,
    pub(crate) path: String,
    pub(crate) pipe: mpsc::UnboundedSender<std::io::Result<Bytes>>,
}

/// How a read or the opening of a stream fares.
pub(crate) type Reader = Box<dyn FnMut(&str, &str) -> Result<(u16, Vec<u8>), CallError> + Send>;

#[derive(Default)]
pub(crate) struct Ledger {
    pub(crate) index: u64,
    pub(crate) control_version: u64,
    sessions: BTreeMap<u64, BTreeMap<u64, (Command, Response)>>,
    /// What took effect, in order.
    pub(crate) effects: Vec<(u64, u64, Command)>,
}

struct State {
    start: Instant,
    ledger: Ledger,
    fates: VecDeque<Fate>,
    after: Fate,
    arrived: Vec<Arrived>,
    leader: Option<u64>,
    down: Vec<String>,
    hung: Vec<String>,
    reader: Option<Reader>,
    streams: mpsc::UnboundedSender<Opened>,
}

#[derive(Clone)]
pub(crate) struct Group {
    state: Arc<Mutex<State>>,
    pub(crate) gate: Arc<Notify>,
}

impl std::fmt::Debug for Group {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Group")
    }
}

impl Group {
    /// Three healthy nodes `a`, `b`, `c` with ids 1, 2, 3, led by the first; and the streams opened at them.
    pub(crate) fn new() -> (Self, mpsc::UnboundedReceiver<Opened>) {
        let (streams, opened) = mpsc::unbounded_channel();
        let state = State {
            start: Instant::now(),
            ledger: Ledger::default(),
            fates: VecDeque::new(),
            after: Fate::Served,
            arrived: Vec::new(),
            leader: Some(1),
            down: Vec::new(),
            hung: Vec::new(),
            reader: None,
            streams,
        };
        (Self { state: Arc::new(Mutex::new(state)), gate: Arc::new(Notify::new()) }, opened)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// The next batches fare so; those after them are served.
    pub(crate) fn fates<I: IntoIterator<Item = Fate>>(&self, fates: I) {
        self.state().fates.extend(fates);
    }

    /// Every batch without a fate of its own fares so.
    pub(crate) fn always(&self, fate: Fate) {
        self.state().after = fate;
    }

    /// Everything is served from now on.
    pub(crate) fn heal(&self) {
        let mut state = self.state();
        state.fates.clear();
        state.after = Fate::Served;
    }

    pub(crate) fn set_leader(&self, leader: Option<u64>) {
        self.state().leader = leader;
    }

    /// These hosts take no connection.
    pub(crate) fn set_down(&self, hosts: &[&str]) {
        self.state().down = hosts.iter().map(|host| (*host).to_owned()).collect();
    }

    /// These hosts take connections, and answer nothing.
    pub(crate) fn set_hung(&self, hosts: &[&str]) {
        self.state().hung = hosts.iter().map(|host| (*host).to_owned()).collect();
    }

    /// What reads (and openings of streams) are answered, by host and path.
    pub(crate) fn set_reader<F>(&self, reader: F)
    where
        F: FnMut(&str, &str) -> Result<(u16, Vec<u8>), CallError> + Send + 'static,
    {
        self.state().reader = Some(Box::new(reader));
    }

    pub(crate) fn with_ledger<T>(&self, look: impl FnOnce(&mut Ledger) -> T) -> T {
        look(&mut self.state().ledger)
    }

    /// What arrived, but for looks at the members.
    pub(crate) fn arrived(&self) -> Vec<Arrived> {
        let state = self.state();
        state.arrived.iter().filter(|one| !one.path.starts_with("/v1/cluster")).cloned().collect()
    }

    /// All that arrived.
    pub(crate) fn arrived_anywhere(&self) -> Vec<Arrived> {
        self.state().arrived.clone()
    }

    /// The batches that arrived.
    pub(crate) fn batches(&self) -> Vec<Arrived> {
        self.arrived().into_iter().filter(|one| one.path == "/v1/commands").collect()
    }

    pub(crate) fn client(&self, seed: u64) -> Client {
        self.client_with(seed, |_| {})
    }

    pub(crate) fn client_with(&self, seed: u64, change: impl FnOnce(&mut ClientConfig)) -> Client {
        let world = World {
            clocks: Arc::new(SystemClocks::new()),
            http: Arc::new(self.clone()),
            tasks: Tasks::new(),
            seed,
            failpoints: Failpoints::none(),
        };
        let mut config = ClientConfig::new(["a", "b", "c"].map(|host| format!("http://{host}:1")).to_vec());
        config.lanes = 1;
        config.cluster_id = Some("quorate".into());
        change(&mut config);
        Client::new(world, config).unwrap()
    }

    fn members(&self, host: &str) -> Vec<u8> {
        let leader = self.state().leader;
        let member = |(node_id, host): (u64, &str)| MemberView {
            node_id,
            peer_addr: format!("{host}:2"),
            api_addr: format!("{host}:1"),
            store_id: quorate_api::StoreId::new(1),
            voter: true,
            matched_index: None,
        };
        let members = [(1, "a"), (2, "b"), (3, "c")].map(member).to_vec();
        let node_id = members.iter().find(|member| member.api_addr == format!("{host}:1")).map_or(0, |one| one.node_id);
        let view = ClusterView { cluster_id: "quorate".into(), leader, term: 1, members, ..ClusterView::default() };
        serde_json::to_vec(&read(node_id, 1, view)).unwrap()
    }

    async fn commands(&self, batch: Vec<Envelope>) -> Result<http::Response<Body>, CallError> {
        let fate = {
            let mut state = self.state();
            let after = state.after.clone();
            state.fates.pop_front().unwrap_or(after)
        };
        let apply = |group: &Self| -> Vec<Applied> {
            let mut state = group.state();
            batch.iter().map(|envelope| Applied::Response(state.ledger.apply(envelope))).collect()
        };
        match fate {
            Fate::Served => Ok(json(200, &apply(self))),
            Fate::Refused => Err(CallError::Connect("refused".into())),
            Fate::BrokenBefore => Err(CallError::Broken("reset".into())),
            Fate::BrokenAfter => {
                apply(self);
                Err(CallError::Broken("reset".into()))
            }
            Fate::Late(after) => {
                let (group, batch) = (self.clone(), batch.clone());
                // The request goes its way, whether or not its sender waits.
                tokio::spawn(async move {
                    tokio::time::sleep(after).await;
                    let mut state = group.state();
                    batch.iter().for_each(|envelope| drop(state.ledger.apply(envelope)));
                });
                std::future::pending().await
            }
            Fate::Lost => std::future::pending().await,
            Fate::Problem(problem) => Ok(json(problem.status, &problem)),
            Fate::Garbled => {
                apply(self);
                Ok(json(200, &"thanks"))
            }
            Fate::Partly(places, problem) => {
                let mut state = self.state();
                let answer = |(at, envelope): (usize, &Envelope)| {
                    if places.contains(&at) {
                        Applied::Problem(problem.clone())
                    } else {
                        Applied::Response(state.ledger.apply(envelope))
                    }
                };
                let applied: Vec<_> = batch.iter().enumerate().map(answer).collect();
                drop(state);
                Ok(json(200, &applied))
            }
            Fate::Gated => {
                self.gate.notified().await;
                Ok(json(200, &apply(self)))
            }
        }
    }

    fn read_or_stream(&self, host: &str, path: &str) -> Result<http::Response<Body>, CallError> {
        let reader = self.state().reader.take();
        let answer = reader.map(|mut reader| {
            let answer = reader(host, path);
            self.state().reader.get_or_insert(reader);
            answer
        });
        match answer {
            Some(Ok((0, _))) | None if path.starts_with("/v1/events") => {
                let (pipe, mut pieces) = mpsc::unbounded_channel();
                let opened = Opened { host: host.into(), path: path.into(), pipe };
                let _ = self.state().streams.send(opened);
                let pieces = futures_util::stream::poll_fn(move |cx| pieces.poll_recv(cx));
                Ok(http::Response::new(stream_body(pieces)))
            }
            Some(answer) => {
                let (status, body) = answer?;
                Ok(respond(status, body))
            }
            None => Ok(json(404, &Problem::new(ProblemKind::NotFound, "nothing to read"))),
        }
    }
}

impl Http for Group {
    fn call(&self, request: http::Request<Body>) -> Call<'_> {
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let host = parts.uri.host().unwrap().to_owned();
            let path = parts.uri.path_and_query().unwrap().to_string();
            let body = read_body(body, 1 << 20).await?;
            let batch: Vec<Envelope> =
                if path == "/v1/commands" { serde_json::from_slice(&body).unwrap() } else { Vec::new() };
            {
                let mut state = self.state();
                let header = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
                    (name.to_string(), value.to_str().unwrap().to_owned())
                };
                let headers = parts.headers.iter().map(header).collect();
                let at = state.start.elapsed();
                let arrived = Arrived { at, host: host.clone(), path: path.clone(), headers, batch: batch.clone() };
                state.arrived.push(arrived);
                if state.down.contains(&host) {
                    return Err(CallError::Connect("down".into()));
                }
            }
            if self.state().hung.contains(&host) {
                return std::future::pending().await;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
            if path.starts_with("/v1/cluster?") {
                return Ok(respond(200, self.members(&host)));
            }
            if path == "/v1/commands" { self.commands(batch).await } else { self.read_or_stream(&host, &path) }
        })
    }
}

impl Ledger {
    fn apply(&mut self, envelope: &Envelope) -> Response {
        self.index += 1;
        let index = self.index;
        let respond = |outcome| Response { index, log_time: Millis(index), outcome };
        let refuse = |refusal| respond(Outcome::Refused(refusal));
        let Envelope { session, seq, command } = envelope;
        if *command == Command::OpenSession {
            self.sessions.insert(index, BTreeMap::new());
            return respond(Outcome::Accepted(Answer::SessionOpened { session: index }));
        }
        if *session == 0 {
            let Command::Control(change) = command else { return refuse(Refusal::SessionRequired) };
            if change.control_version != self.control_version {
                return refuse(Refusal::ControlVersion { control_version: self.control_version });
            }
            self.control_version += 1;
            self.effects.push((0, 0, command.clone()));
            return respond(Outcome::Accepted(Answer::ControlChanged { control_version: self.control_version }));
        }
        let Some(kept) = self.sessions.get_mut(session) else {
            return refuse(Refusal::SessionExpired { session: *session });
        };
        let highest = kept.last_key_value().map_or(0, |(seq, _)| *seq);
        if *seq == 0 || highest.saturating_sub(128) >= *seq {
            return refuse(Refusal::SeqTooOld { seq: *seq, window_from: highest.saturating_sub(127) });
        }
        if let Some((first, response)) = kept.get(seq) {
            return if first == command { response.clone() } else { refuse(Refusal::SeqReused { seq: *seq }) };
        }
        if *command == Command::CloseSession {
            self.sessions.remove(session);
            return respond(Outcome::Accepted(Answer::SessionClosed));
        }
        let response = respond(Outcome::Accepted(Answer::Done));
        kept.insert(*seq, (command.clone(), response.clone()));
        self.effects.push((*session, *seq, command.clone()));
        response
    }

    /// Forgets every session.
    pub(crate) fn evict(&mut self) {
        self.sessions.clear();
    }

    pub(crate) fn open_sessions(&self) -> usize {
        self.sessions.len()
    }

    /// The numbers of the commands that took effect, as [`numbered`] gave them.
    pub(crate) fn numbers(&self) -> Vec<u64> {
        self.effects.iter().filter_map(|(_, _, command)| number(command)).collect()
    }
}

/// A command that is told apart by a number.
pub(crate) fn numbered(number: u64) -> Command {
    Command::RenewMaker(MakerRef { maker: "maker".parse().unwrap(), incarnation: number, secret: Secret([7; 32]) })
}

pub(crate) fn number(command: &Command) -> Option<u64> {
    if let Command::RenewMaker(maker) = command { Some(maker.incarnation) } else { None }
}

/// A command of control, which needs no session.
pub(crate) fn quoting_off(control_version: u64) -> Command {
    Command::Control(ControlCommand {
        actor: "operator".parse().unwrap(),
        reason: "a test".to_owned(),
        control_version,
        change: ControlChange::Quoting { scope: QuotingScope::All, on: false },
    })
}

pub(crate) fn read<T>(node_id: u64, applied_index: u64, data: T) -> Read<T> {
    Read { applied_index, log_time: Millis(applied_index), node_id, consistency: Consistency::Linearizable, data }
}

fn json<T: serde::Serialize>(status: u16, value: &T) -> http::Response<Body> {
    respond(status, serde_json::to_vec(value).unwrap())
}

fn respond(status: u16, body: Vec<u8>) -> http::Response<Body> {
    http::Response::builder().status(status).body(full_body(body.into())).unwrap()
}

/// So far from now.
pub(crate) fn after_ms(ms: u64) -> Instant {
    Instant::now() + Duration::from_millis(ms)
}
