//! The feed of one symbol's reference price: it tells the exchange the best prices from outside, until it dies, or says
//! what cannot be.

use std::{
    ops::RangeInclusive,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use http::Request;
use quorate_seams::{World, full_body};
use rand::{Rng, rngs::SmallRng};
use tokio::time::{sleep, timeout};

use crate::{
    clock::Machine,
    exchange::EXCHANGE_ADDRESS,
    faults::Kind,
    process::{Process, Who},
    sim::Sim,
    view::FeedView,
};

/// The symbol that is fed, where one is.
pub const FED: &str = "BTCUSDT";
/// All that it means, in ticks.
pub const GOOD_TICKS: RangeInclusive<i64> = 5_980_000..=6_020_000;
/// The stream of the seed that prices are drawn from.
const FEED_STREAM: u64 = 0x6665_6564;
/// Pause between two updates.
const EVERY: Duration = Duration::from_millis(200);
/// A tick is a hundredth.
const TICKS: i64 = 100;
/// How long one answer is waited for.
const ANSWER_MAX: Duration = Duration::from_secs(1);
/// An update is on its way to the exchange for so long at most.
const UNDER_WAY: Duration = Duration::from_millis(100);
/// Likewise where other things go wrong: held, doubled, or before an exchange that stands still.
const UNDER_WAY_SPOILT: Duration = Duration::from_secs(10);

/// What is wrong with the feed, and what it said.
#[derive(Debug, Default)]
pub struct Feed(Mutex<Said>);

#[derive(Debug, Default)]
struct Said {
    /// Faults under way.
    wrong: Vec<Kind>,
    /// When the last good update was sent.
    sent: Duration,
    /// When an exchange began last: with a price that counts as new then.
    began: Duration,
}

impl Feed {
    fn said(&self) -> MutexGuard<'_, Said> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on this is wrong.
    pub fn spoil(&self, kind: Kind) {
        self.said().wrong.push(kind);
    }

    /// And no more.
    pub fn mend(&self, kind: Kind) {
        let wrong = &mut self.said().wrong;
        if let Some(place) = wrong.iter().position(|other| *other == kind) {
            wrong.swap_remove(place);
        }
    }

    /// Nothing is.
    pub fn heal(&self) {
        self.said().wrong.clear();
    }

    /// An exchange begins at `now`.
    pub fn exchange_begins(&self, now: Duration) {
        self.said().began = now;
    }
}

impl Sim {
    /// The feed as it is now, where the run has one.
    #[must_use]
    pub fn feed_view(&self) -> Option<FeedView> {
        if !self.plan.fed {
            return None;
        }
        let feeds = [Kind::FeedDies, Kind::FeedZero, Kind::FeedCrosses];
        let alone = self.plan.faults.iter().all(|fault| feeds.contains(&fault.kind));
        let said = self.feed.said();
        let newest = said.began.max(said.sent + if alone { UNDER_WAY } else { UNDER_WAY_SPOILT });
        let silence = self.zero.elapsed().saturating_sub(newest);
        Some(FeedView { symbol: FED.parse().expect("a symbol"), silence, alone })
    }
}

/// Begins to tell prices, until the run ends.
pub fn begin(sim: &Arc<Sim>) {
    let machine = Machine::new(sim.zero, 0, 0);
    let process = Process::start(Who::Feed, 1, sim.process_seed(Who::Feed, 1), &machine, &sim.net, |_| {});
    let (world, sim) = (process.world.clone(), Arc::clone(sim));
    process.world.tasks.spawn(async move {
        let mut rng = sim.plan.part(FEED_STREAM);
        let mut price = (GOOD_TICKS.start() + GOOD_TICKS.end()) / 2;
        for seq in 1.. {
            sleep(EVERY).await;
            price = (price + rng.random_range(-500..=500)).clamp(*GOOD_TICKS.start(), *GOOD_TICKS.end());
            let wrong = sim.feed.said().wrong.last().copied();
            if wrong == Some(Kind::FeedDies) {
                continue;
            }
            let (bid, ask) = said(&mut rng, price, wrong);
            if wrong.is_none() {
                sim.feed.said().sent = sim.zero.elapsed();
            }
            let taken = tell(&world, seq, bid, ask).await;
            if let Some(kind) = wrong.filter(|_| taken) {
                sim.wrong("fresh prices", format!("{kind}: {bid}/{ask} ticks were taken"));
            }
        }
    });
}

/// The best prices around `price`, or what cannot be.
fn said(rng: &mut SmallRng, price: i64, wrong: Option<Kind>) -> (i64, i64) {
    match wrong {
        Some(Kind::FeedZero) => match rng.random_range(0..3) {
            0 => (0, price),
            1 => (price, 0),
            _ => (0, 0),
        },
        Some(Kind::FeedCrosses) => (price + price / 2, price),
        _ => (price.max(GOOD_TICKS.start() + 1) - 1, price.min(GOOD_TICKS.end() - 1) + 1),
    }
}

/// Whether the exchange has taken it.
async fn tell(world: &World, seq: u64, bid: i64, ask: i64) -> bool {
    let decimal = |ticks: i64| format!("{}.{:02}", ticks / TICKS, ticks % TICKS);
    let body = serde_json::json!({"bid": decimal(bid), "ask": decimal(ask), "feed": "feed", "seq": seq}).to_string();
    let uri = format!("http://{EXCHANGE_ADDRESS}/v1/reference-prices/{FED}");
    let Ok(request) = Request::put(uri).body(full_body(body.into())) else { return false };
    let answered = timeout(ANSWER_MAX, world.http.call(request)).await;
    answered.is_ok_and(|response| response.is_ok_and(|response| response.status().is_success()))
}
