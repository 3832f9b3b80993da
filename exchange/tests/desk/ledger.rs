//! A group behind the `Http` seam that is one real ledger: calls arrive, are applied, and fail as scripted.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use quorate_api::{
    AccountView, Applied, BalanceView, BalancesView, ClosedView, ClusterView, Consistency, ControlView, OrderView,
    Problem, ProblemKind, QuoteSideView, QuoteView, Read, StatusView, SymbolView,
};
use quorate_domain::{Account, Asset, Instrument, MakerName, Millis, Price, Qty, QuoteSide, Symbol};
use quorate_ledger::{
    AccountState, Answer, Balance, Command, CommitParameters, ControlChange, ControlCommand, DefineSymbol, Digest,
    Envelope, Event, Frame, Input, KnownOrder, Ledger, Outcome, PlaceQuote, QuoteBasis, QuoteCause, QuoteLeg,
    RegisterExchange, RegisterMaker, Response, Secret,
};
use quorate_seams::{Body, Call, CallError, Clocks, Http, full_body, read_body, stream_body};
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

/// The ledger is audited at each multiple of this index.
const AUDIT_EVERY: u64 = 16;
/// The maker's.
const SECRET: Secret = Secret([7; 32]);
/// What the maker quotes with.
const PARAMETERS: &str = "none";

/// How one batch of commands fares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Applied and answered.
    Served,
    /// Broken before anything was applied.
    LostBefore,
    /// Applied, and broken before the answer came.
    LostAfter,
    /// Certainly not proposed.
    NoLeader,
}

/// Wall and monotonic clock of the test's own time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TestClocks(Instant);

impl TestClocks {
    pub(crate) fn new() -> Self {
        Self(Instant::now())
    }
}

impl Clocks for TestClocks {
    fn wall_ms(&self) -> u64 {
        1_700_000_000_000 + u64::try_from(self.0.elapsed().as_millis()).unwrap()
    }

    fn monotonic(&self) -> Duration {
        self.0.elapsed()
    }
}

struct State {
    ledger: Ledger,
    frames: Vec<Frame>,
    /// Frames below this are no longer kept.
    first_kept: u64,
    fates: VecDeque<Fate>,
    after: Fate,
    /// Whether anybody answers at all.
    reachable: bool,
    /// The session and number of the maker, and its place in the symbols' epochs.
    maker: Option<(u64, u64, u64)>,
    quotes: u64,
    /// Log time stands still.
    frozen: Option<u64>,
    /// Streams say nothing, and do not end.
    muted: bool,
    /// How often each path was read.
    reads: BTreeMap<String, usize>,
    /// Batches that got no answer.
    lost: usize,
    /// So many reads of the status are to come after which an operator decides something.
    meddles: usize,
}

/// See the module.
#[derive(Clone)]
pub(crate) struct Group {
    state: Arc<Mutex<State>>,
    changed: watch::Sender<u64>,
    clocks: TestClocks,
}

impl std::fmt::Debug for Group {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Group")
    }
}

pub(crate) fn symbol(name: &str) -> Symbol {
    name.parse().unwrap()
}

fn maker() -> MakerName {
    "maker".parse().unwrap()
}

fn basis() -> QuoteBasis {
    QuoteBasis {
        computed_at: 0,
        reference: None,
        room: None,
        strategy: "test".parse().unwrap(),
        version: 1,
        parameters: Digest::of(PARAMETERS.as_bytes()),
        state: Vec::new(),
    }
}

impl Group {
    pub(crate) fn new(clocks: TestClocks) -> Self {
        let state = State {
            ledger: Ledger::new(),
            frames: Vec::new(),
            first_kept: 1,
            fates: VecDeque::new(),
            after: Fate::Served,
            reachable: true,
            maker: None,
            quotes: 0,
            frozen: None,
            muted: false,
            reads: BTreeMap::new(),
            lost: 0,
            meddles: 0,
        };
        Self { state: Arc::new(Mutex::new(state)), changed: watch::Sender::new(0), clocks }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// The next batches fare so; those after them are served.
    pub(crate) fn fates(&self, fates: impl IntoIterator<Item = Fate>) {
        self.state().fates.extend(fates);
    }

    /// Every batch without a fate of its own fares so.
    pub(crate) fn always(&self, fate: Fate) {
        self.state().after = fate;
    }

    /// Nobody answers, and streams end; or all is well again.
    pub(crate) fn set_reachable(&self, reachable: bool) {
        self.state().reachable = reachable;
        self.changed.send_modify(|_| {});
    }

    /// Streams say nothing, and do not end; or go on where they were.
    pub(crate) fn set_muted(&self, muted: bool) {
        self.state().muted = muted;
        self.changed.send_modify(|_| {});
    }

    /// Log time stands still from now on.
    pub(crate) fn freeze_log_time(&self) {
        self.state().frozen = Some(self.clocks.wall_ms());
    }

    /// Forgets all frames up to now.
    pub(crate) fn drop_frames(&self) {
        let mut state = self.state();
        state.first_kept = state.ledger.last_index() + 1;
        state.frames.clear();
    }

    pub(crate) fn clocks(&self) -> TestClocks {
        self.clocks
    }

    pub(crate) fn look<T>(&self, look: impl FnOnce(&Ledger) -> T) -> T {
        look(&self.state().ledger)
    }

    /// Every order that was ever executed, by its name, with how often.
    pub(crate) fn executions(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for frame in &self.state().frames {
            for event in &frame.events {
                if let Event::OrderExecuted { order, .. } = event {
                    *counts.entry(order.client_order_id.to_string()).or_default() += 1;
                }
            }
        }
        counts
    }

    /// Who had accounts limited, in order: the actor, and the account.
    pub(crate) fn limited_by(&self) -> Vec<(String, String)> {
        let state = self.state();
        let events = state.frames.iter().flat_map(|frame| &frame.events);
        let limited = events.filter_map(|event| match event {
            Event::ControlChanged { actor, change: ControlChange::LimitAccount { account }, .. } => {
                Some((actor.to_string(), account.to_string()))
            }
            _ => None,
        });
        limited.collect()
    }

    /// How often a path was read.
    pub(crate) fn reads(&self, path: &str) -> usize {
        self.state().reads.get(path).copied().unwrap_or(0)
    }

    /// How many batches got no answer.
    pub(crate) fn lost(&self) -> usize {
        self.state().lost
    }

    fn apply(&self, envelope: Envelope) -> Response {
        let mut state = self.state();
        let index = state.ledger.last_index() + 1;
        let now = Millis(state.frozen.unwrap_or_else(|| self.clocks.wall_ms()));
        let (response, events) = state.ledger.apply(index, now, &Input::Client(envelope));
        if index.is_multiple_of(AUDIT_EVERY) {
            assert_eq!(state.ledger.audit(), Vec::new());
        }
        let frame = Frame { index, log_time: state.ledger.log_time(), chain: state.ledger.chain(), events };
        state.frames.push(frame);
        drop(state);
        self.changed.send_replace(index);
        response
    }

    fn must(&self, envelope: Envelope) -> Answer {
        match self.apply(envelope).outcome {
            Outcome::Accepted(answer) => answer,
            Outcome::Refused(refusal) => panic!("{refusal}"),
        }
    }

    /// In the maker's session; the maker registers at the first time.
    fn as_maker(&self, command: impl FnOnce(u64) -> Command) -> Answer {
        let known = self.state().maker;
        let (session, seq, incarnation) = known.unwrap_or_else(|| {
            let opened = self.must(Envelope { session: 0, seq: 0, command: Command::OpenSession });
            let Answer::SessionOpened { session } = opened else { panic!("{opened:?}") };
            let command =
                Command::RegisterMaker(RegisterMaker { maker: maker(), ttl_ms: 60_000, secret_hash: SECRET.hash() });
            let registered = self.must(Envelope { session, seq: 1, command });
            let Answer::MakerRegistered { incarnation, .. } = registered else { panic!("{registered:?}") };
            (session, 1, incarnation)
        });
        self.state().maker = Some((session, seq + 1, incarnation));
        self.must(Envelope { session, seq: seq + 1, command: command(incarnation) })
    }

    /// Defines a symbol of tick 0.01 and lot 0.001.
    pub(crate) fn define(&self, name: &str) {
        let (base, quote) = (name.trim_end_matches("USDT"), "USDT");
        let (base, quote) = (base.parse().unwrap(), quote.parse().unwrap());
        let instrument = Instrument::spot(base, quote, "0.01".parse().unwrap(), "0.001".parse().unwrap(), 1);
        let command = Command::DefineSymbol(DefineSymbol { symbol: symbol(name), instrument });
        self.as_maker(|_| command);
        self.as_maker(|incarnation| {
            let (maker, symbol, text) = (maker(), symbol(name), PARAMETERS.to_owned());
            Command::CommitParameters(CommitParameters { maker, incarnation, secret: SECRET, symbol, text })
        });
    }

    /// Quotes in ticks and lots.
    pub(crate) fn quote(&self, name: &str, bid: i64, ask: i64, lots: i64) {
        let (epoch, revision, position_seq) = self.look(|ledger| {
            let state = ledger.symbol(&symbol(name)).unwrap();
            (state.epoch, state.revision, state.position_seq)
        });
        let quote_seq = {
            let mut state = self.state();
            state.quotes += 1;
            state.quotes
        };
        let side = |price| Some(QuoteSide { price: Price(price), qty: Qty(lots) });
        self.as_maker(|incarnation| {
            Command::PlaceQuote(PlaceQuote {
                symbol: symbol(name),
                incarnation,
                secret: SECRET,
                epoch,
                revision,
                quote_seq,
                position_seq,
                bid: side(bid),
                ask: side(ask),
                allow_reduced: false,
                ttl_ms: 30_000,
                cause: QuoteCause::Refresh,
                basis: basis(),
            })
        });
    }

    /// Registers another exchange, which does nothing more.
    pub(crate) fn register_another(&self) -> u64 {
        let exchange = "another".parse().unwrap();
        match self.as_maker(|_| Command::RegisterExchange(RegisterExchange { exchange })) {
            Answer::ExchangeRegistered { exchange_epoch } => exchange_epoch,
            other => panic!("{other:?}"),
        }
    }

    /// What an operator decides.
    pub(crate) fn control(&self, change: ControlChange) {
        let control_version = self.look(|ledger| ledger.control().version);
        let command = Command::Control(ControlCommand {
            actor: "operator".parse().unwrap(),
            reason: "a test".to_owned(),
            control_version,
            change,
        });
        self.must(Envelope { session: 0, seq: 0, command });
    }

    /// After each of the next so many reads of the status an operator decides something.
    pub(crate) fn meddle(&self, times: usize) {
        self.state().meddles = times;
    }

    /// Engages the kill switch, or re-arms it.
    pub(crate) fn kill_switch(&self, engaged: bool) {
        self.control(ControlChange::KillSwitch { engaged });
    }

    /// Changes what a symbol trades.
    pub(crate) fn redefine(&self, name: &str, change: impl FnOnce(&mut Instrument)) {
        let symbol = symbol(name);
        let (mut instrument, revision) = self.look(|ledger| {
            let state = ledger.symbol(&symbol).unwrap();
            (state.instrument.clone(), state.revision + 1)
        });
        change(&mut instrument);
        self.control(ControlChange::Instrument { symbol, instrument, revision });
    }

    /// So much of an asset comes to an account.
    pub(crate) fn deposit(&self, account: &str, asset: &str, amount: &str) {
        let (account, asset) = (account.parse().unwrap(), asset.parse().unwrap());
        self.control(ControlChange::Deposit { account, asset, amount: amount.parse().unwrap() });
    }

    fn commands(&self, body: &[u8]) -> Result<http::Response<Body>, CallError> {
        let batch: Vec<Envelope> = serde_json::from_slice(body).unwrap();
        let fate = {
            let mut state = self.state();
            let after = state.after;
            let fate = state.fates.pop_front().unwrap_or(after);
            state.lost += usize::from(matches!(fate, Fate::LostBefore | Fate::LostAfter));
            fate
        };
        let broken = || CallError::Broken("reset".to_owned());
        let applied = match fate {
            Fate::LostBefore => return Err(broken()),
            Fate::NoLeader => {
                let problem = Problem::new(ProblemKind::NoLeader, "no quorum");
                return Ok(json(problem.status, &problem));
            }
            Fate::Served | Fate::LostAfter => {
                batch.into_iter().map(|envelope| Applied::Response(self.apply(envelope))).collect::<Vec<_>>()
            }
        };
        if fate == Fate::LostAfter { Err(broken()) } else { Ok(json(200, &applied)) }
    }

    fn read(&self, path: &str, query: &BTreeMap<String, String>) -> http::Response<Body> {
        let state = self.state();
        let ledger = &state.ledger;
        match path {
            "/v1/symbols" => {
                let row = |(symbol, state): (&Symbol, &quorate_ledger::SymbolState)| SymbolView {
                    symbol: symbol.clone(),
                    instrument: state.instrument.clone(),
                    revision: state.revision,
                    listed: ledger.is_listed(symbol),
                    closed: state.closed.as_ref().map(|closed| ClosedView { at: closed.at, settled: closed.settled }),
                    quoting: true,
                };
                answer(ledger, ledger.symbols().map(row).collect::<Vec<_>>())
            }
            "/v1/quotes" => {
                let quoted = ledger.symbols().filter_map(|(symbol, _)| Some((symbol, ledger.active_quote(symbol)?)));
                answer(ledger, quoted.map(|(symbol, quote)| quote_view(symbol, quote)).collect::<Vec<_>>())
            }
            "/v1/orders" => answer(ledger, orders(ledger, query)),
            "/v1/balances" => answer(ledger, balances(ledger, query)),
            "/v1/status" => answer(ledger, status(ledger)),
            "/v1/cluster" => {
                let view =
                    ClusterView { cluster_id: "test".into(), leader: Some(1), term: 1, ..ClusterView::default() };
                answer(ledger, view)
            }
            other => panic!("{other} is not read by an exchange"),
        }
    }

    fn stream(&self, from: u64) -> http::Response<Body> {
        if from < self.state().first_kept {
            let first_index = Some(self.state().first_kept);
            let problem = Problem { first_index, ..Problem::new(ProblemKind::Gone, "gone") };
            return json(410, &problem);
        }
        let follow = (self.clone(), self.changed.subscribe(), from);
        let pieces = futures_util::stream::unfold(follow, |(group, mut changed, next)| async move {
            loop {
                changed.borrow_and_update();
                let (text, next) = {
                    let state = group.state();
                    if !state.reachable {
                        return None;
                    }
                    match state.frames.iter().rev().find(|frame| frame.index == next) {
                        _ if state.muted => (String::new(), next),
                        Some(frame) => (event("frame", frame), next + 1),
                        None if state.first_kept > next => {
                            let first_index = Some(state.first_kept);
                            let problem = Problem { first_index, ..Problem::new(ProblemKind::Gone, "gone") };
                            (event("end", &problem), next)
                        }
                        None => (String::new(), next),
                    }
                };
                if !text.is_empty() {
                    return Some((Ok(text.into()), (group, changed, next)));
                }
                tokio::select! {
                    _ = changed.changed() => {}
                    () = sleep(Duration::from_secs(1)) => {
                        if group.state().muted {
                            continue;
                        }
                        let (applied_index, log_time) = group.look(|ledger| (ledger.last_index(), ledger.log_time()));
                        let note = serde_json::json!({"applied_index": applied_index, "log_time": log_time});
                        return Some((Ok(event("applied", &note).into()), (group, changed, next)));
                    }
                }
            }
        });
        http::Response::new(stream_body(pieces))
    }
}

impl Http for Group {
    fn call(&self, request: http::Request<Body>) -> Call<'_> {
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let body = read_body(body, 1 << 20).await?;
            sleep(Duration::from_millis(1)).await;
            if !self.state().reachable {
                return Err(CallError::Connect("down".to_owned()));
            }
            let pairs = parts.uri.query().unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
            let query: BTreeMap<String, String> = pairs.map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
            match parts.uri.path() {
                "/v1/commands" => self.commands(&body),
                "/v1/events" => Ok(self.stream(query["from"].parse().unwrap())),
                path => {
                    *self.state().reads.entry(path.to_owned()).or_default() += 1;
                    let answer = self.read(path, &query);
                    if path == "/v1/status" && self.state().meddles > 0 {
                        self.state().meddles -= 1;
                        self.kill_switch(false);
                    }
                    Ok(answer)
                }
            }
        })
    }
}

fn event<T: serde::Serialize>(name: &str, data: &T) -> String {
    format!("event: {name}\ndata: {}\n\n", serde_json::to_string(data).unwrap())
}

fn json<T: serde::Serialize>(status: u16, value: &T) -> http::Response<Body> {
    let body = full_body(serde_json::to_vec(value).unwrap().into());
    http::Response::builder().status(status).body(body).unwrap()
}

fn answer<T: serde::Serialize>(ledger: &Ledger, data: T) -> http::Response<Body> {
    let read = Read {
        applied_index: ledger.last_index(),
        log_time: ledger.log_time(),
        node_id: 1,
        consistency: Consistency::Linearizable,
        data,
    };
    json(200, &read)
}

fn orders(ledger: &Ledger, query: &BTreeMap<String, String>) -> Vec<OrderView> {
    let is = |name: &str, value: String| query.get(name).is_none_or(|wanted| *wanted == value);
    let after: u64 = query.get("after").map_or(0, |after| after.parse().unwrap());
    let wanted = |known: &KnownOrder<'_>| {
        let sent = known.open().map(|open| &open.order);
        let named = query.get("account").zip(query.get("client_order_id"));
        let named = named.map(|(account, name)| (account.parse().unwrap(), name.parse().unwrap()));
        let named = named.map(|(account, name)| ledger.order_named(&account, &name).map(|named| named.id()));
        is("account", known.account().to_string())
            && named.is_none_or(|named| named == Some(known.id()))
            && is("order_id", known.id().to_string())
            && sent.is_none_or(|sent| is("symbol", sent.symbol.to_string()))
            && (!query.contains_key("open") || sent.is_some())
    };
    let mut rows: Vec<OrderView> = ledger.orders_after(after).filter(wanted).map(order_view).collect();
    rows.truncate(query.get("limit").map_or(1_000, |limit| limit.parse().unwrap()));
    rows
}

fn balances(ledger: &Ledger, query: &BTreeMap<String, String>) -> BalancesView {
    let asked = |name: &Account| query.get("account").is_none_or(|account| account == name.as_str());
    let row = |(account, state): (&Account, &AccountState)| {
        let balance = |(asset, balance): (&Asset, &Balance)| BalanceView {
            asset: asset.clone(),
            total: balance.total,
            locked: balance.locked,
            free: balance.free(),
        };
        let balances = state.balances.iter().map(balance).collect();
        AccountView { account: account.clone(), limited: state.limited, balances }
    };
    BalancesView {
        accounts: ledger.accounts().filter(|(name, _)| asked(name)).map(row).collect(),
        house: Vec::new(),
        fees: Vec::new(),
        deposits: Vec::new(),
        next_after: None,
    }
}

fn order_view(known: KnownOrder<'_>) -> OrderView {
    let result = known.result();
    let closed = match &known {
        KnownOrder::Open(_) => None,
        KnownOrder::Closed(closed) => Some(closed),
    };
    OrderView {
        order_id: result.order_id,
        account: known.account().clone(),
        status: result.status,
        cum_qty: result.cum_qty,
        leaves_qty: result.leaves_qty,
        cum_quote: result.cum_quote,
        closed_at: closed.map(|closed| closed.closed_at),
        sent: known.open().map(|open| open.order.clone()),
        check: closed.map(|closed| closed.check),
    }
}

fn quote_view(symbol: &Symbol, quote: &quorate_ledger::Quote) -> QuoteView {
    let side = |leg: Option<QuoteLeg>| {
        leg.filter(|leg| leg.leaves.0 > 0).map(|leg| QuoteSideView {
            price: leg.price,
            qty: leg.qty,
            leaves: leg.leaves,
            price_units: String::new(),
            leaves_units: String::new(),
        })
    };
    QuoteView {
        symbol: symbol.clone(),
        quote_id: quote.id,
        maker: quote.maker.clone(),
        incarnation: quote.incarnation,
        epoch: quote.epoch,
        quote_seq: quote.quote_seq,
        position_seq: quote.position_seq,
        bid: side(quote.sides.bid),
        ask: side(quote.sides.ask),
        placed_at: quote.placed_at,
        deadline: quote.deadline,
        cause: quote.cause,
        basis: quote.basis.clone(),
        confirmed_at: quote.confirmation.as_ref().map(|confirmation| confirmation.at),
        confirmation: quote.confirmation.as_ref().map(|confirmation| confirmation.basis.clone()),
    }
}

fn status(ledger: &Ledger) -> StatusView {
    let control = ledger.control();
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
        first_event_index: 1,
        log_time: ledger.log_time(),
        chain: ledger.chain(),
        ledger_version: ledger.ledger_version(),
        control: ControlView {
            control_version: control.version,
            kill_switch: control.kill_switch,
            quoting: true,
            symbols_off: Vec::new(),
            makers_off: Vec::new(),
        },
        fills: ledger.fills(),
        open_orders: ledger.open_order_count() as u64,
        sessions: ledger.session_count() as u64,
        exchange_epoch: ledger.exchange().map_or(0, |exchange| exchange.epoch),
        clock_jumps: 0,
        divergence: None,
    }
}
