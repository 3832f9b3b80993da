//! The live maker against one node and one exchange.

#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

mod node;
mod prices;

use std::{
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use node::Node;
use quorate_domain::{Instrument, MakerName};
use quorate_ledger::{
    Command, ControlChange, ControlCommand, DefineSymbol, Input, LeaderCommand, Outcome, QuotingScope, Secret,
};
use quorate_market_maker::{
    LiveConfig,
    beliefs::{BeliefEvent, BeliefRecord, BeliefSink},
    live::LiveError,
    run,
};
use quorate_quoter::Config;
use quorate_strategy::FixedSpread;
use tokio::{sync::oneshot, task::JoinHandle};

/// Of every maker here.
const SECRET: Secret = Secret([7; 32]);

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
    let quoter = Config::new(maker, SECRET, FixedSpread::new(5, 10, 0, 100).unwrap());
    let config = LiveConfig {
        // Each price that is believed shows in a quote.
        quoter: Config { tolerance_ticks: 0, ..quoter },
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

fn quoting(on: bool, control_version: u64) -> Command {
    Command::Control(ControlCommand {
        actor: "operator".parse().unwrap(),
        reason: "a test".to_owned(),
        control_version,
        change: ControlChange::Quoting { scope: QuotingScope::All, on },
    })
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
    node.says(1_100, 2, 0);
    pass(200).await;
    let quote = node.quote().unwrap();
    assert_eq!((quote.sides.bid.unwrap().price.0, quote.sides.ask.unwrap().price.0), (1_095, 1_105));
    pass(60_000).await;
    let later = node.quote().unwrap();
    assert_eq!(later.id, quote.id, "nothing changed, and the quote was kept");
    assert!(later.deadline.0 > quote.deadline.0 + 50_000, "refreshed, and the lease renewed");
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
    let instrument = Instrument::spot("B".parse().unwrap(), "Q".parse().unwrap(), one, one, 1);
    node.client(Command::DefineSymbol(DefineSymbol { symbol: "B".parse().unwrap(), instrument }));
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
    assert!(matches!(node.client(quoting(false, 0)).outcome, Outcome::Accepted(_)));
    {
        let mut state = node.state();
        state.first = state.ledger.last_index() + 1;
    }
    pass(10_000).await;
    assert_eq!(node.quote(), None, "it read that quoting is off");
    let before = node.state().ledger.last_index();
    node.client(quoting(true, 1));
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
        quoter: Config::new("alpha".parse().unwrap(), SECRET, FixedSpread::new(5, 10, 0, 100).unwrap()),
        ledger_endpoints: vec!["http://node:1".into()],
        cluster_id: None,
        exchange: "http://exchange:1".into(),
    };
    let outcome = run(config, node.world(), Box::new(Full), std::future::pending()).await;
    assert!(matches!(outcome, Err(LiveError::Journal(_))));
    pass(1_000).await;
    assert_eq!(node.quote(), None, "nothing rests on a belief that is not on record");
}
