//! One node and one exchange, both made of the real ledger behind the HTTP seam.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use axum::{Router, body::to_bytes};
use bytes::Bytes;
use futures_util::stream;
use quorate_api::{
    Applied, AuthorityView, ClusterView, Consistency, ControlView, OrderView, PositionView, Problem, ProblemKind,
    QuoteView, Read, StatusView, SymbolView,
};
use quorate_binance_api::model::ReferencePrice;
use quorate_domain::{Instrument, Millis, Symbol};
use quorate_ledger::{Command, DefineSymbol, Digest, Envelope, Frame, Input, LeaderCommand, Ledger};
use quorate_seams::{Body, Call, CallError, Clocks, Failpoints, Http, Tasks, World, full_body, read_body, stream_body};
use serde::Serialize;
use tokio::time::Instant;
use tower::ServiceExt;

#[derive(Debug)]
pub(crate) struct PausedClocks(Instant);

impl Clocks for PausedClocks {
    fn wall_ms(&self) -> u64 {
        1_700_000_000_000 + u64::try_from(self.monotonic().as_millis()).unwrap()
    }
    fn monotonic(&self) -> Duration {
        self.0.elapsed()
    }
}

/// A group of one.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) ledger: Ledger,
    frames: BTreeMap<u64, Frame>,
    /// Frames below this are no longer kept.
    pub(crate) first: u64,
    /// Grows each time all streams are cut.
    pub(crate) cuts: u64,
    /// Nothing is answered while this is set.
    pub(crate) away: bool,
    /// The exchange's answer, in ticks; its age in ms, its epoch and its number.
    pub(crate) reference: i64,
    pub(crate) age_ms: u64,
    pub(crate) exchange_epoch: u64,
    pub(crate) seq: u64,
    /// A real exchange that answers instead.
    pub(crate) exchange: Option<Router>,
}

#[derive(Debug, Clone)]
pub(crate) struct Node {
    state: Arc<Mutex<State>>,
    pub(crate) clocks: Arc<PausedClocks>,
}

impl Node {
    pub(crate) fn new() -> Self {
        let state = State {
            ledger: Ledger::new(),
            frames: BTreeMap::new(),
            first: 1,
            cuts: 0,
            away: false,
            reference: 1_000,
            age_ms: 0,
            exchange_epoch: 1,
            seq: 1,
            exchange: None,
        };
        let node = Self { state: Arc::new(Mutex::new(state)), clocks: Arc::new(PausedClocks(Instant::now())) };
        node.apply(&Input::Leader(LeaderCommand::BeginTerm { term: 1, quote_age_proven: true, clock_jump_ms: 0 }));
        let one = "1".parse().unwrap();
        let instrument = Instrument::spot("B".parse().unwrap(), "Q".parse().unwrap(), one, one, 1);
        node.client(Command::DefineSymbol(DefineSymbol { symbol: "A".parse().unwrap(), instrument }));
        node
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(crate) fn world(&self) -> World {
        World {
            clocks: self.clocks.clone(),
            http: Arc::new(self.clone()),
            tasks: Tasks::new(),
            seed: 1,
            failpoints: Failpoints::none(),
        }
    }

    pub(crate) fn apply(&self, input: &Input) -> quorate_ledger::Response {
        let mut state = self.state();
        let index = state.ledger.last_index() + 1;
        let (response, events) = state.ledger.apply(index, Millis(self.clocks.wall_ms()), input);
        let chain = state.ledger.chain();
        state.frames.insert(index, Frame { index, log_time: response.log_time, chain, events });
        response
    }

    /// A command of somebody else, in a session of its own.
    pub(crate) fn client(&self, command: Command) -> quorate_ledger::Response {
        let open = Envelope { session: 0, seq: 0, command: Command::OpenSession };
        let session = self.apply(&Input::Client(open)).index;
        self.apply(&Input::Client(Envelope { session, seq: 1, command }))
    }

    fn read<T: Serialize>(&self, data: T) -> Vec<u8> {
        let state = self.state();
        let read = Read {
            applied_index: state.ledger.last_index(),
            log_time: state.ledger.log_time(),
            node_id: 1,
            consistency: Consistency::Linearizable,
            data,
        };
        serde_json::to_vec(&read).unwrap()
    }

    fn positions(&self) -> Vec<PositionView> {
        let state = self.state();
        let row = |(symbol, of): (&Symbol, &quorate_ledger::SymbolState)| PositionView {
            symbol: symbol.clone(),
            position: of.position(),
            position_units: String::new(),
            position_seq: of.position_seq,
            position_max: of.position_max,
            bought: of.bought,
            sold: of.sold,
            cash: of.pnl.cash,
            cost: of.pnl.cost,
            realised: of.pnl.realised,
            unrealised: of.unrealised(),
            fees: of.pnl.fees,
            mark: None,
        };
        state.ledger.symbols().map(row).collect()
    }

    fn authority(&self) -> Vec<AuthorityView> {
        let state = self.state();
        let row = |(symbol, of): (&Symbol, &quorate_ledger::SymbolState)| AuthorityView {
            symbol: symbol.clone(),
            epoch: of.epoch,
            holder: of.holder.as_ref().map(|holder| holder.maker.clone()),
            incarnation: of.holder.as_ref().map(|holder| holder.incarnation),
            deadline: state.ledger.authority_deadline(symbol),
            moving_to: of.moving().map(|moving| moving.to.clone()),
            moving_until: of.moving().map(|moving| moving.until),
        };
        state.ledger.symbols().map(row).collect()
    }

    fn status(&self) -> StatusView {
        let state = self.state();
        let (ledger, control) = (&state.ledger, state.ledger.control());
        StatusView {
            cluster_id: "test".into(),
            node_id: 1,
            version: String::new(),
            role: "leader".into(),
            term: 1,
            leader: Some(1),
            last_log_index: ledger.last_index(),
            committed_index: ledger.last_index(),
            applied_index: ledger.last_index(),
            snapshot_index: 0,
            first_event_index: state.first,
            log_time: ledger.log_time(),
            chain: Digest::default(),
            ledger_version: 1,
            control: ControlView {
                control_version: control.version,
                kill_switch: control.kill_switch,
                quoting: !control.all_off,
                symbols_off: control.symbols_off.iter().cloned().collect(),
                makers_off: control.makers_off.iter().cloned().collect(),
            },
            fills: 0,
            open_orders: 0,
            sessions: 0,
            exchange_epoch: ledger.exchange().map_or(0, |exchange| exchange.epoch),
            clock_jumps: 0,
            divergence: None,
        }
    }

    fn symbols(&self) -> Vec<SymbolView> {
        let state = self.state();
        let row = |(symbol, of): (&Symbol, &quorate_ledger::SymbolState)| SymbolView {
            symbol: symbol.clone(),
            instrument: of.instrument.clone(),
            revision: of.revision,
            listed: state.ledger.is_listed(symbol),
            closed: None,
            quoting: true,
        };
        state.ledger.symbols().map(row).collect()
    }

    /// What the exchange says of `A`.
    fn reference(&self) -> Vec<u8> {
        let state = self.state();
        let row = ReferencePrice {
            symbol: "A".into(),
            price: state.reference.to_string(),
            price_ticks: state.reference,
            price_half_ticks: 2 * state.reference,
            source: "external".into(),
            exchange_epoch: state.exchange_epoch,
            seq: state.seq,
            changed_at: 0,
            confirmed_at: 0,
            age_ms: state.age_ms,
        };
        serde_json::to_vec(&[row]).unwrap()
    }

    /// The exchange says of `A` from now on: ticks, number, age in ms.
    pub(crate) fn says(&self, reference: i64, seq: u64, age_ms: u64) {
        let mut state = self.state();
        (state.reference, state.seq, state.age_ms) = (reference, seq, age_ms);
    }

    fn events(&self, from: u64) -> http::Response<Body> {
        let cuts = self.state().cuts;
        if from < self.state().first {
            let mut gone = Problem::new(ProblemKind::Gone, "gone");
            gone.first_index = Some(self.state().first);
            return answer(410, serde_json::to_vec(&gone).unwrap());
        }
        let frames = stream::unfold((self.clone(), from), move |(node, next)| async move {
            tokio::time::sleep(Duration::from_millis(2)).await;
            if node.state().cuts != cuts {
                return None;
            }
            let last = node.state().ledger.last_index();
            let frame = node.state().frames.range(next..).next().map(|(_, frame)| frame.clone());
            let (text, next) = match frame {
                Some(frame) => {
                    let text = format!("event: frame\ndata: {}\n\n", serde_json::to_string(&frame).unwrap());
                    (text, frame.index + 1)
                }
                None => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    let log_time = node.state().ledger.log_time();
                    (
                        format!("event: applied\ndata: {{\"applied_index\":{last},\"log_time\":{}}}\n\n", log_time.0),
                        next,
                    )
                }
            };
            Some((Ok::<_, io::Error>(Bytes::from(text)), (node, next)))
        });
        http::Response::new(stream_body(frames))
    }

    pub(crate) fn quote(&self) -> Option<quorate_ledger::Quote> {
        self.apply(&Input::Leader(LeaderCommand::Tick));
        self.state().ledger.active_quote(&"A".parse().unwrap()).cloned()
    }
}

fn answer(status: u16, body: Vec<u8>) -> http::Response<Body> {
    http::Response::builder().status(status).body(full_body(body.into())).unwrap()
}

/// The answer of a real exchange.
pub(crate) async fn served(exchange: Router, request: http::Request<axum::body::Body>) -> http::Response<Body> {
    let response = exchange.oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    answer(status, to_bytes(response.into_body(), 1 << 20).await.unwrap().to_vec())
}

impl Http for Node {
    fn call(&self, request: http::Request<Body>) -> Call<'_> {
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let body = read_body(body, 1 << 20).await?;
            tokio::time::sleep(Duration::from_millis(1)).await;
            let exchange = self.state().exchange.clone().filter(|_| parts.uri.host() == Some("exchange"));
            if let Some(exchange) = exchange {
                return Ok(served(exchange, http::Request::from_parts(parts, body.into())).await);
            }
            if self.state().away {
                return Err(CallError::Connect("away".into()));
            }
            let query = parts.uri.query().unwrap_or_default();
            let body = match parts.uri.path() {
                "/v1/commands" => {
                    let envelopes: Vec<Envelope> = serde_json::from_slice(&body).unwrap();
                    let apply = |envelope| Applied::Response(self.apply(&Input::Client(envelope)));
                    serde_json::to_vec(&envelopes.into_iter().map(apply).collect::<Vec<_>>()).unwrap()
                }
                "/v1/positions" => self.read(self.positions()),
                "/v1/authority" => self.read(self.authority()),
                "/v1/quotes" => self.read(Vec::<QuoteView>::new()),
                "/v1/status" => self.read(self.status()),
                "/v1/cluster" => {
                    let cluster_id = "test".into();
                    self.read(ClusterView { cluster_id, leader: Some(1), term: 1, ..ClusterView::default() })
                }
                "/v1/events" => return Ok(self.events(query.trim_start_matches("from=").parse().unwrap())),
                "/v1/symbols" => self.read(self.symbols()),
                "/v1/orders" => self.read(Vec::<OrderView>::new()),
                "/v1/reference-prices" => self.reference(),
                other => panic!("{other}"),
            };
            Ok(answer(200, body))
        })
    }
}
