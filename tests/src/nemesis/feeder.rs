//! The source of one symbol's reference price: it tells the exchange the best prices over HTTP, as somebody outside would.
//!
//! Invariant: what it means stays within [`MEANT_TICKS`], and what it says when it is spoilt is far outside of that, so
//! that a price or a quote which comes of it is known by its figure.

use std::{
    ops::RangeInclusive,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::{Result, ensure};
use quorate_ledger::{Event, Frame};
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

/// What an exchange begins with, in ticks of a hundredth, until it is told a price.
pub(super) const START_TICKS: i64 = 10_000;
/// All prices that it means, likewise.
const MEANT_TICKS: RangeInclusive<i64> = START_TICKS - 50..=START_TICKS + 50;
/// How far a maker's prices may be from the reference price: spread and skew, with room.
const SPREAD_TICKS: i64 = 100;
/// Ticks between two updates at most.
const STEP_TICKS: i64 = 3;
/// Pause between two updates.
const EVERY: Duration = Duration::from_millis(200);
/// How long one answer is waited for.
const ANSWER_MAX: Duration = Duration::from_secs(1);
/// What it calls itself.
const NAME: &str = "arena";
/// With this an exchange refuses what cannot be a price.
const REFUSED: (u16, Option<i64>) = (400, Some(-1013));

/// What is wrong with a feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ailment {
    /// It says nothing any more.
    Silent,
    /// A side of its best prices is zero, or both are.
    Zero,
    /// Its bid is above its ask.
    Crossed,
}

#[derive(Debug, Default)]
struct Told {
    ailment: Option<Ailment>,
    /// Updates of this ailment that were refused.
    refused: u64,
    /// Updates of any ailment that were taken, in words.
    taken: Vec<String>,
    /// The last price, in ticks, that was meant and taken, and those since that may have been.
    may_stand: Vec<i64>,
}

/// A running feed. Dropping it ends it.
#[derive(Debug)]
pub(super) struct Feeder {
    told: Arc<Mutex<Told>>,
    task: JoinHandle<()>,
}

impl Drop for Feeder {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn lock(told: &Mutex<Told>) -> MutexGuard<'_, Told> {
    told.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Feeder {
    /// Begins to tell the exchange at this base URL the price of `symbol`.
    ///
    /// # Errors
    /// Where there can be no HTTP client.
    pub(super) fn start(exchange: &str, symbol: &str, seed: u64) -> Result<Self> {
        let http = reqwest::Client::builder().no_proxy().timeout(ANSWER_MAX).build()?;
        let url = format!("{exchange}/v1/reference-prices/{symbol}");
        let told = Arc::<Mutex<Told>>::default();
        let task = tokio::spawn(tell_all(http, url, Arc::clone(&told), seed));
        Ok(Self { told, task })
    }

    /// Whether nothing is wrong with it.
    pub(super) fn is_well(&self) -> bool {
        lock(&self.told).ailment.is_none()
    }

    /// From now on this is wrong with it.
    pub(super) fn spoil(&self, ailment: Ailment) {
        let mut told = lock(&self.told);
        (told.ailment, told.refused) = (Some(ailment), 0);
    }

    /// It goes on with what it means.
    pub(super) fn mend(&self) {
        lock(&self.told).ailment = None;
    }

    /// What may stand at an exchange that has not begun again since it was told, in ticks: one price, unless some were not
    /// answered.
    pub(super) fn may_stand(&self) -> Vec<i64> {
        lock(&self.told).may_stand.clone()
    }

    /// How many updates were refused since it was spoilt.
    ///
    /// # Errors
    /// Where one was ever taken that cannot be a price.
    pub(super) fn refused(&self) -> Result<u64> {
        let told = lock(&self.told);
        ensure!(told.taken.is_empty(), "the exchange took what cannot be a price: {:?}", told.taken);
        Ok(told.refused)
    }
}

async fn tell_all(http: reqwest::Client, url: String, told: Arc<Mutex<Told>>, seed: u64) {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut price = START_TICKS;
    for seq in 1_u64.. {
        tokio::time::sleep(EVERY).await;
        let step = rng.random_range(-STEP_TICKS..=STEP_TICKS);
        // The two sides are a tick from it.
        price = (price + step).clamp(MEANT_TICKS.start() + 1, MEANT_TICKS.end() - 1);
        let ailment = lock(&told).ailment;
        let Some((bid, ask)) = says(price, ailment, seq) else { continue };
        let update = json!({"bid": decimal(bid), "ask": decimal(ask), "feed": NAME, "seq": seq});
        let answer = tell(&http, &url, &update).await;
        let mut told = lock(&told);
        match (ailment, answer) {
            (None, Some((200, _))) => told.may_stand = vec![price],
            (None, None) => told.may_stand.push(price),
            (Some(_), Some((200, _))) => told.taken.push(update.to_string()),
            (Some(_), Some((status, answer))) if ailment == told.ailment => {
                told.refused += u64::from((status, answer["code"].as_i64()) == REFUSED);
            }
            // A refusal for another reason, or of another ailment; or nobody answers what must not be taken.
            (_, Some(_)) | (Some(_), None) => {}
        }
    }
}

/// Bid and ask around `price`, or what cannot be; none where it is silent.
fn says(price: i64, ailment: Option<Ailment>, seq: u64) -> Option<(i64, i64)> {
    match ailment {
        None => Some((price - 1, price + 1)),
        Some(Ailment::Silent) => None,
        Some(Ailment::Zero) => Some(match seq % 3 {
            0 => (0, price),
            1 => (price, 0),
            _ => (0, 0),
        }),
        Some(Ailment::Crossed) => Some((price + price / 2, price)),
    }
}

fn decimal(ticks: i64) -> String {
    format!("{}.{:02}", ticks / 100, ticks % 100)
}

/// The status and the answer, if one comes.
async fn tell(http: &reqwest::Client, url: &str, update: &Value) -> Option<(u16, Value)> {
    let request = http.put(url).header("content-type", "application/json").body(update.to_string());
    let response = request.send().await.ok()?;
    let status = response.status().as_u16();
    Some((status, serde_json::from_slice(&response.bytes().await.ok()?).ok()?))
}

/// How many quotes of `symbol` there were, and which of them stood far from all that its feed ever meant, in words.
#[must_use]
pub fn far_from_meant(frames: &[Frame], symbol: &str) -> (usize, Vec<String>) {
    let (low, high) = (MEANT_TICKS.start() - SPREAD_TICKS, MEANT_TICKS.end() + SPREAD_TICKS);
    let (mut count, mut far) = (0, Vec::new());
    for frame in frames {
        for event in &frame.events {
            let Event::QuotePlaced(placed) = event else { continue };
            if placed.symbol.as_str() != symbol {
                continue;
            }
            count += 1;
            for side in [placed.bid, placed.ask].into_iter().flatten() {
                if !(low..=high).contains(&side.price.0) {
                    far.push(format!("index {}: {symbol} quoted at {} ticks", frame.index, side.price.0));
                }
            }
        }
    }
    (count, far)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_it_says_when_it_is_spoilt_is_far_from_what_it_means() {
        for (price, seq) in MEANT_TICKS.zip(0..) {
            for ailment in [Ailment::Zero, Ailment::Crossed] {
                let (bid, ask) = says(price, Some(ailment), seq).unwrap();
                // Whatever somebody makes of the two: a side, or their middle.
                let far =
                    |price: i64| price < MEANT_TICKS.start() - SPREAD_TICKS || price > MEANT_TICKS.end() + SPREAD_TICKS;
                assert!(bid.min(ask) == 0 || bid > ask, "{bid} {ask}");
                assert!(far(i64::midpoint(bid, ask)) && (far(bid) || far(ask)), "{bid} {ask}");
            }
            assert_eq!(says(price, None, seq), Some((price - 1, price + 1)));
            assert_eq!(says(price, Some(Ailment::Silent), seq), None);
        }
        assert_eq!(decimal(10_005), "100.05");
    }
}
