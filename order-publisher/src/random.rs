//! Generated flow. Each order follows from the seed, its number, and the reference price at the moment
//! of its making; so a run that is resumed goes on as if it had not been interrupted.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use quorate_binance_api::model::{OrderType, Side, TimeInForce};
use quorate_domain::{Decimal, MAX_PRICE};
use quorate_seams::seeded_rng;
use rand::Rng;
use tokio::time::Instant;

use crate::{
    config::RandomSettings,
    run::{Instrument, Planned, PublishError},
    venue::Venue,
};

/// Time between two looks at the reference prices.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// A generator that is held up for longer than this does not make up for it.
const CATCH_UP_MAX: Duration = Duration::from_secs(1);

/// Reference prices in ticks, as they were seen last.
#[derive(Debug, Clone, Default)]
pub(crate) struct References(Arc<Mutex<BTreeMap<String, i64>>>);

impl References {
    /// Looks again and again, for as long as somebody else holds these.
    pub(crate) async fn follow(self, venue: Venue) {
        let mut silent = false;
        while Arc::strong_count(&self.0) > 1 {
            match venue.reference_prices().await {
                Ok(prices) => {
                    silent = false;
                    let prices = prices.into_iter().map(|price| (price.symbol, price.price_ticks)).collect();
                    *self.0.lock().unwrap_or_else(PoisonError::into_inner) = prices;
                }
                Err(error) if !silent => {
                    silent = true;
                    tracing::warn!(%error, "no reference prices");
                }
                Err(_) => {}
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    fn of(&self, symbol: &str) -> Option<i64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(symbol).copied()
    }
}

/// Makes orders.
#[derive(Debug)]
pub(crate) struct Random {
    pub(crate) settings: RandomSettings,
    pub(crate) seed: u64,
    pub(crate) instruments: Vec<Instrument>,
    pub(crate) references: References,
    /// How long is waited for a price, where there is none at all.
    patience: Duration,
    /// Symbols without a price, of which it was told that they are passed over.
    passed: BTreeSet<String>,
    due: Instant,
}

impl Random {
    pub(crate) fn new(
        settings: RandomSettings,
        seed: u64,
        instruments: Vec<Instrument>,
        references: References,
        patience: Duration,
    ) -> Self {
        let passed = BTreeSet::new();
        Self { settings, seed, instruments, references, patience, passed, due: Instant::now() }
    }

    /// The order `n`, when it is due.
    ///
    /// # Errors
    /// Where no symbol had a price for as long as the patience lasts.
    pub(crate) async fn next(&mut self, n: u64) -> Result<Planned, PublishError> {
        let now = Instant::now();
        self.due = (self.due + self.gap(n)).max(now.checked_sub(CATCH_UP_MAX).unwrap_or(now));
        tokio::time::sleep_until(self.due).await;
        let give_up = Instant::now() + self.patience;
        loop {
            if let Some((planned, turn)) = self.plan(n, |symbol| self.references.of(symbol)) {
                self.tell_of_passed(turn, &planned);
                return Ok(planned);
            }
            if Instant::now() >= give_up {
                return Err(PublishError::NoPrice { symbols: self.symbols(), within: self.patience });
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// The symbols, as they are shown.
    pub(crate) fn symbols(&self) -> String {
        let names: Vec<&str> = self.instruments.iter().map(|instrument| instrument.symbol.as_str()).collect();
        names.join(", ")
    }

    /// Warns once of each symbol that was passed over when it had its `turn`.
    fn tell_of_passed(&mut self, turn: usize, planned: &Planned) {
        let symbol = &self.instruments[turn].symbol;
        if *symbol != planned.symbol && self.passed.insert(symbol.clone()) {
            tracing::warn!(
                symbol,
                "no reference price: passed over while there is none; give the exchange a --reference"
            );
        }
    }

    /// Time between the order before and this one: exponential, so that the flow is a Poisson process.
    fn gap(&self, n: u64) -> Duration {
        let uniform: f64 = seeded_rng(self.seed, 2 * n).random();
        Duration::from_secs_f64(-(1.0 - uniform).ln() / self.settings.rate)
    }

    /// The order `n`, with the number of the instrument whose turn it was; `None` where no instrument has a price.
    fn plan<'a>(&'a self, n: u64, reference: impl Fn(&str) -> Option<i64>) -> Option<(Planned, usize)> {
        let mut rng = seeded_rng(self.seed, 2 * n + 1);
        let settings = &self.settings;
        let turn = rng.random_range(0..self.instruments.len());
        let buys = rng.random_bool(settings.buy_share);
        let crosses = rng.random_bool(settings.cross_share);
        let at_market = rng.random::<bool>();
        let lots = rng.random_range(settings.min_lots..=settings.max_lots);
        let behind = rng.random_range(1..=settings.passive_ticks);
        // One without a price is passed over for the next that has one.
        let (before, from) = self.instruments.split_at(turn);
        let priced = |instrument: &'a Instrument| Some((instrument, reference(&instrument.symbol)?));
        let (instrument, reference) = from.iter().chain(before).find_map(priced)?;
        let (order_type, tif, away) = match (crosses, at_market) {
            (true, true) => (OrderType::Market, TimeInForce::Ioc, None),
            (true, false) => (OrderType::Limit, TimeInForce::Ioc, Some(settings.cross_ticks)),
            (false, _) => (OrderType::Limit, TimeInForce::Gtc, Some(-behind)),
        };
        let price = away.map(|away| {
            let ticks = if buys { reference.saturating_add(away) } else { reference.saturating_sub(away) };
            steps(instrument.tick, ticks.clamp(1, MAX_PRICE))
        });
        let planned = Planned {
            symbol: instrument.symbol.clone(),
            side: if buys { Side::Buy } else { Side::Sell },
            order_type,
            tif,
            price,
            qty: steps(instrument.lot, lots),
            source: None,
        };
        Some((planned, turn))
    }
}

/// `count` ticks or lots as a decimal.
pub(crate) fn steps(step: Decimal, count: i64) -> String {
    step.times(i128::from(count))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn random(cross_share: f64) -> Random {
        let settings = RandomSettings {
            seed: None,
            rate: 100.0,
            symbols: Vec::new(),
            min_lots: 2,
            max_lots: 4,
            buy_share: 0.5,
            cross_share,
            cross_ticks: 10,
            passive_ticks: 5,
            resting_max: 1,
        };
        let instrument = |symbol: &str| Instrument {
            symbol: symbol.into(),
            tick: "0.5".parse().unwrap(),
            lot: "0.1".parse().unwrap(),
        };
        let instruments = vec![instrument("A"), instrument("B")];
        Random::new(settings, 7, instruments, References::default(), Duration::from_secs(2))
    }

    #[tokio::test]
    async fn a_symbol_without_a_price_is_passed_over_and_the_others_keep_their_orders() {
        let random = random(0.5);
        let mut passed = 0;
        for n in 1..200 {
            let (all, turn) = random.plan(n, |_| Some(1_000)).unwrap();
            assert_eq!(random.instruments[turn].symbol, all.symbol);
            let some = random.plan(n, |symbol| (symbol == "B").then_some(1_000)).unwrap();
            assert_eq!(some, (Planned { symbol: "B".into(), ..all.clone() }, turn));
            passed += u32::from(all.symbol == "A");
        }
        assert!(passed > 50, "{passed}");
        assert_eq!(random.plan(1, |_| None), None);
    }

    #[tokio::test]
    async fn an_order_follows_from_seed_number_and_price() {
        let (one, other) = (random(0.5), random(0.5));
        for n in 1..200 {
            let (planned, again) = (one.plan(n, |_| Some(1_000)), other.plan(n, |_| Some(1_000)));
            assert_eq!(planned, again);
            assert_eq!(one.gap(n), other.gap(n));
        }
        assert_ne!(one.plan(1, |_| Some(1_000)), one.plan(2, |_| Some(1_000)));
    }

    #[tokio::test]
    async fn shares_and_distances_are_as_asked_for() {
        let orders: Vec<_> = (1..2_000).map(|n| random(0.8).plan(n, |_| Some(1_000)).unwrap().0).collect();
        let share = |test: fn(&Planned) -> bool| {
            f64::from(u32::try_from(orders.iter().filter(|order| test(order)).count()).unwrap()) / 1_999.0
        };
        assert!((share(|order| order.side == Side::Buy) - 0.5).abs() < 0.05);
        assert!((share(|order| order.tif == TimeInForce::Ioc) - 0.8).abs() < 0.05);
        assert!((share(|order| order.order_type == OrderType::Market) - 0.4).abs() < 0.05);
        for order in &orders {
            assert!(["0.2", "0.3", "0.4"].contains(&order.qty.as_str()));
            let price: Option<f64> = order.price.as_ref().map(|price| price.parse().unwrap());
            let toward = if order.side == Side::Buy { 1.0 } else { -1.0 };
            match (order.order_type, order.tif, price) {
                (OrderType::Market, _, price) => assert_eq!(price, None),
                (_, TimeInForce::Ioc, Some(price)) => assert_eq!((price - 500.0) * toward, 5.0),
                (_, _, Some(price)) => assert!((-2.5..0.0).contains(&((price - 500.0) * toward))),
                other => panic!("{other:?}"),
            }
        }
    }

    #[tokio::test]
    async fn gaps_are_those_of_the_rate() {
        let all: Duration = (1..4_000).map(|n| random(0.5).gap(n)).sum();
        assert!((all.as_secs_f64() / 39.99 - 1.0).abs() < 0.1, "{all:?}");
    }
}
