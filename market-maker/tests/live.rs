//! The live maker against one node and one exchange, both made of the real ledger behind the HTTP seam.

#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use bytes::Bytes;
use futures_util::stream;
use quorate_api::{
    Applied, AuthorityView, ClusterView, Consistency, ControlView, PositionView, Problem, ProblemKind, QuoteView, Read,
    StatusView,
};
use quorate_ledger::{
    Command, DefineSymbol, Digest, Envelope, Frame, Input, LeaderCommand, Ledger, MakerName, Millis, Outcome, Symbol,
    SymbolSpec,
};
use quorate_market_maker::{
    LiveConfig,
    beliefs::{BeliefEvent, BeliefRecord, BeliefSink},
    live::LiveError,
    run,
};
use quorate_quoter::Config;
use quorate_seams::{Body, Call, CallError, Clocks, Failpoints, Http, Tasks, World, full_body, read_body, stream_body};
use quorate_strategy::FixedSpread;
use serde::Serialize;
use tokio::{sync::oneshot, task::JoinHandle, time::Instant};

#[derive(Debug)]
struct PausedClocks(Instant);

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
struct State {
    ledger: Ledger,
    frames: BTreeMap<u64, Frame>,
    /// Frames below this are no longer kept.
    first: u64,
    /// Grows each time all streams are cut.
    cuts: u64,
    /// Nothing is answered while this is set.
    away: bool,
    reference: i64,
}

#[derive(Debug, Clone)]
struct Node {
    state: Arc<Mutex<State>>,
    clocks: Arc<PausedClocks>,
}

impl Node {
    fn new() -> Self {
        let state =
            State { ledger: Ledger::new(), frames: BTreeMap::new(), first: 1, cuts: 0, away: false, reference: 1_000 };
        let node = Self { state: Arc::new(Mutex::new(state)), clocks: Arc::new(PausedClocks(Instant::now())) };
        node.apply(&Input::Leader(LeaderCommand::BeginTerm { term: 1, quote_age_proven: true, clock_jump_ms: 0 }));
        let one = "1".parse().unwrap();
        let spec = SymbolSpec { tick_size: one, lot_size: one, exposure_per_lot: 1 };
        node.client(Command::DefineSymbol(DefineSymbol { symbol: "A".parse().unwrap(), spec }));
        node
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn world(&self) -> World {
        World {
            clocks: self.clocks.clone(),
            http: Arc::new(self.clone()),
            tasks: Tasks::new(),
            seed: 1,
            failpoints: Failpoints::none(),
        }
    }

    fn apply(&self, input: &Input) -> quorate_ledger::Response {
        let mut state = self.state();
        let index = state.ledger.last_index() + 1;
        let (response, events) = state.ledger.apply(index, Millis(self.clocks.wall_ms()), input);
        let chain = state.ledger.chain();
        state.frames.insert(index, Frame { index, log_time: response.log_time, chain, events });
        response
    }

    /// A command of somebody else, in a session of its own.
    fn client(&self, command: Command) -> quorate_ledger::Response {
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
            position: of.position,
            position_units: String::new(),
            position_seq: of.position_seq,
            bought: of.bought,
            sold: of.sold,
            cash: of.cash,
            cash_units: String::new(),
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
            exchange_epoch: 0,
            clock_jumps: 0,
        }
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
                    (format!("event: applied\ndata: {{\"applied_index\":{last},\"log_time\":1}}\n\n"), next)
                }
            };
            Some((Ok::<_, io::Error>(Bytes::from(text)), (node, next)))
        });
        http::Response::new(stream_body(frames))
    }

    fn quote(&self) -> Option<quorate_ledger::Quote> {
        self.apply(&Input::Leader(LeaderCommand::Tick));
        self.state().ledger.active_quote(&"A".parse().unwrap()).cloned()
    }
}

fn answer(status: u16, body: Vec<u8>) -> http::Response<Body> {
    http::Response::builder().status(status).body(full_body(body.into())).unwrap()
}

impl Http for Node {
    fn call(&self, request: http::Request<Body>) -> Call<'_> {
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let body = read_body(body, 1 << 20).await?;
            tokio::time::sleep(Duration::from_millis(1)).await;
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
                "/v1/reference-prices" => {
                    let ticks = self.state().reference;
                    format!(r#"[{{"symbol":"A","price":"{ticks}","price_ticks":{ticks},"seq":1}}]"#).into_bytes()
                }
                other => panic!("{other}"),
            };
            Ok(answer(200, body))
        })
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

impl Kept {
    fn events(&self) -> Vec<BeliefEvent> {
        let all = self.0.lock().unwrap();
        all.iter().map(|record| record.event).filter(|event| *event != BeliefEvent::Renewed).collect()
    }
}

struct Running {
    kept: Kept,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<(), LiveError>>,
}

fn start(node: &Node, name: &str) -> Running {
    let maker: MakerName = name.parse().unwrap();
    let config = LiveConfig {
        quoter: Config::new(maker, FixedSpread::new(5, 10, 0, 100).unwrap()),
        ledger_endpoints: vec!["http://node:1".into()],
        cluster_id: None,
        exchange: "http://exchange:1".into(),
    };
    let (stop, stopped) = oneshot::channel::<()>();
    let kept = Kept::default();
    let shutdown = async move { stopped.await.unwrap_or(()) };
    let task = tokio::spawn(run(config, node.world(), Box::new(kept.clone()), shutdown));
    Running { kept, stop, task }
}

async fn pass(ms: u64) {
    tokio::time::sleep(Duration::from_millis(ms)).await;
}

#[tokio::test(start_paused = true)]
async fn it_registers_quotes_follows_the_price_and_leaves() {
    let node = Node::new();
    let maker = start(&node, "alpha");
    pass(500).await;
    let quote = node.quote().expect("quoted soon after the start");
    assert_eq!(quote.sides.bid.unwrap().price.0, 995);
    node.state().reference = 1_100;
    pass(200).await;
    let quote = node.quote().unwrap();
    assert_eq!((quote.sides.bid.unwrap().price.0, quote.sides.ask.unwrap().price.0), (1_095, 1_105));
    pass(60_000).await;
    assert!(node.quote().unwrap().id > quote.id, "refreshed, and the lease renewed");
    maker.stop.send(()).unwrap();
    maker.task.await.unwrap().unwrap();
    assert_eq!(node.quote(), None);
    assert_eq!(node.state().ledger.makers().count(), 0);
    let expected = [BeliefEvent::Started, BeliefEvent::Gained, BeliefEvent::Ended, BeliefEvent::Stopped];
    assert_eq!(maker.kept.events(), expected);
}

#[tokio::test(start_paused = true)]
async fn a_second_maker_takes_over_what_moves_and_beliefs_never_overlap() {
    let node = Node::new();
    let one = "1".parse().unwrap();
    let spec = SymbolSpec { tick_size: one, lot_size: one, exposure_per_lot: 1 };
    node.client(Command::DefineSymbol(DefineSymbol { symbol: "B".parse().unwrap(), spec }));
    let first = start(&node, "alpha");
    pass(1_000).await;
    let second = start(&node, "beta");
    pass(1_000).await;
    assert_eq!(
        second.kept.events(),
        [BeliefEvent::Started, BeliefEvent::Gained],
        "released at once, not at a deadline"
    );
    let (all, gained) = (first.kept.0.lock().unwrap().clone(), second.kept.0.lock().unwrap().clone());
    let gained = gained.iter().find(|record| record.event == BeliefEvent::Gained).unwrap().belief.clone().unwrap();
    let ended = all.iter().find(|record| record.event == BeliefEvent::Ended).unwrap().belief.clone().unwrap();
    assert_eq!(ended.symbol, gained.symbol);
    assert!(ended.until_wall_ms <= gained.from_wall_ms && ended.epoch < gained.epoch);
}

#[tokio::test(start_paused = true)]
async fn missed_events_lead_to_a_read_and_a_new_stream() {
    let node = Node::new();
    let maker = start(&node, "alpha");
    pass(1_000).await;
    {
        // Every stream is cut, and what comes next is gone before it can be asked for.
        let mut state = node.state();
        state.cuts += 1;
    }
    let off = quorate_ledger::SetQuoting { scope: quorate_ledger::QuotingScope::All, on: false, control_version: 0 };
    assert!(matches!(node.client(Command::SetQuoting(off)).outcome, Outcome::Accepted(_)));
    {
        let mut state = node.state();
        state.first = state.ledger.last_index() + 1;
    }
    pass(10_000).await;
    assert_eq!(node.quote(), None, "it read that quoting is off");
    let before = node.state().ledger.last_index();
    let on = quorate_ledger::SetQuoting { scope: quorate_ledger::QuotingScope::All, on: true, control_version: 1 };
    node.client(Command::SetQuoting(on));
    pass(500).await;
    assert!(node.quote().is_some(), "it hears of what comes after");
    assert!(node.state().ledger.last_index() - before < 40, "and did not try while it could not");
    drop(maker);
}

#[tokio::test(start_paused = true)]
async fn without_the_group_beliefs_end_and_come_back_with_it() {
    let node = Node::new();
    let maker = start(&node, "alpha");
    pass(1_000).await;
    node.state().away = true;
    node.state().cuts += 1;
    pass(12_000).await;
    assert_eq!(maker.kept.events(), [BeliefEvent::Started, BeliefEvent::Gained, BeliefEvent::Ended]);
    let ended = maker.kept.0.lock().unwrap().last().unwrap().clone();
    assert!(ended.belief.unwrap().until_wall_ms <= ended.wall_ms);
    node.apply(&Input::Leader(LeaderCommand::Tick));
    node.state().away = false;
    pass(2_000).await;
    assert_eq!(maker.kept.events().last(), Some(&BeliefEvent::Gained));
    assert!(node.quote().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_journal_that_fails_stops_the_maker() {
    struct Full;
    impl BeliefSink for Full {
        fn record(&mut self, record: &BeliefRecord) -> io::Result<()> {
            if record.event == BeliefEvent::Gained { Err(io::Error::other("disk full")) } else { Ok(()) }
        }
    }
    let node = Node::new();
    let config = LiveConfig {
        quoter: Config::new("alpha".parse().unwrap(), FixedSpread::new(5, 10, 0, 100).unwrap()),
        ledger_endpoints: vec!["http://node:1".into()],
        cluster_id: None,
        exchange: "http://exchange:1".into(),
    };
    let outcome = run(config, node.world(), Box::new(Full), std::future::pending()).await;
    assert!(matches!(outcome, Err(LiveError::Journal(_))));
    pass(1_000).await;
    assert_eq!(node.quote(), None, "nothing rests on a belief that is not on record");
}
