//! Many senders of orders at once, so that orders are in flight whenever something happens to the cluster.
//!
//! Each sender has one order on its way at a time. What is left in doubt is asked for every few seconds, and at the end, as a
//! client does: an order's name is known for `NAME_MEMORY_MS` after it closed, and nobody can say later what became of it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow};
use tokio::{sync::watch, task::JoinSet};

use super::{
    trader::{Reply, Trader},
    wait::eventually,
};

/// Pause of a sender that was told that nothing is taken now.
const REFUSED_PAUSE: Duration = Duration::from_millis(100);
/// Time between two rounds of asking for what is in doubt.
const SETTLE_EVERY: Duration = Duration::from_secs(5);
/// What is settled at the same time at most.
const SETTLE_AT_ONCE: usize = 16;

/// One order that was answered, or is.
#[derive(Debug, Clone)]
pub struct Sent {
    /// Its symbol.
    pub symbol: &'static str,
    /// When it was sent.
    pub at: Instant,
    /// When the first answer came, and which.
    pub answered: Option<(Instant, Reply)>,
    /// What the exchange said later of an order in doubt.
    settled: Option<Outcome>,
}

impl Sent {
    fn is_in_doubt(&self) -> bool {
        let answer = self.answered.as_ref().map(|(_, reply)| reply);
        self.settled.is_none() && answer.is_none_or(|reply| reply.is_unknown() || reply.is_duplicate())
    }
}

#[derive(Debug)]
struct Shared {
    trader: Trader,
    orders: Mutex<BTreeMap<String, Sent>>,
}

impl Shared {
    fn orders(&self) -> MutexGuard<'_, BTreeMap<String, Sent>> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running flow. Dropping it ends the senders.
#[derive(Debug)]
pub struct Flow {
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
    senders: JoinSet<Result<()>>,
}

impl Flow {
    /// Starts `senders` senders of market orders of one lot, of both sides and all of `symbols` in turn; each pauses
    /// for `pause` between two orders.
    #[must_use]
    pub fn start(trader: Trader, symbols: &[&'static str], senders: usize, pause: Duration) -> Self {
        let shared = Arc::new(Shared { trader, orders: Mutex::default() });
        let stop = watch::Sender::new(false);
        let mut running = JoinSet::new();
        for who in 0..senders {
            let symbols: Vec<&'static str> = symbols.iter().copied().cycle().skip(who).take(symbols.len()).collect();
            running.spawn(send(Arc::clone(&shared), who, symbols, pause, stop.subscribe()));
        }
        running.spawn(settle_meanwhile(Arc::clone(&shared), stop.subscribe()));
        Self { shared, stop, senders: running }
    }

    /// Orders sent before `then` that are not answered yet.
    #[must_use]
    pub fn unanswered(&self, then: Instant) -> Vec<String> {
        let orders = self.shared.orders();
        let open = orders.iter().filter(|(_, sent)| sent.answered.is_none() && sent.at < then);
        open.map(|(name, _)| name.clone()).collect()
    }

    /// Orders so far, as they stand now.
    #[must_use]
    pub fn orders(&self) -> BTreeMap<String, Sent> {
        self.shared.orders().clone()
    }

    /// How many orders sent after `then` were answered with their execution.
    #[must_use]
    pub fn placed_after(&self, then: Instant) -> usize {
        let placed = |sent: &&Sent| sent.at > then && matches!(sent.answered, Some((_, Reply::Placed(_))));
        self.shared.orders().values().filter(placed).count()
    }

    /// Lets the senders finish, then asks for every order that is in doubt until its outcome is known.
    ///
    /// # Errors
    /// Where an outcome is still unknown 30 seconds later.
    pub async fn finish(mut self) -> Result<Finished> {
        self.stop.send_replace(true);
        while let Some(ended) = self.senders.join_next().await {
            ended??;
        }
        let orders = self.shared.orders().clone();
        let (doubts, answered): (BTreeMap<_, _>, BTreeMap<_, _>) =
            orders.into_iter().partition(|(_, sent)| sent.is_in_doubt());
        let mut settled = ask(&self.shared, doubts).await?;
        settled.extend(answered.into_iter().filter_map(|(name, sent)| Some((name, sent.settled?))));
        Ok(Finished { shared: self.shared, settled })
    }
}

/// A flow that has ended, with nothing left in doubt.
#[derive(Debug)]
pub struct Finished {
    shared: Arc<Shared>,
    /// What had been in doubt: how much was executed, or `None` where the order never was.
    pub settled: Outcomes,
}

/// The executed quantity, or `None` where there is no such order.
type Outcome = Option<String>;
/// By client order id.
pub type Outcomes = BTreeMap<String, Outcome>;

impl Finished {
    /// All orders, with their first answers.
    #[must_use]
    pub fn orders(&self) -> BTreeMap<String, Sent> {
        self.shared.orders().clone()
    }

    /// Asks for every order, doubtful or not.
    ///
    /// # Errors
    /// Where an outcome is still unknown 30 seconds later.
    pub async fn ask_all(&self) -> Result<Outcomes> {
        ask(&self.shared, self.orders()).await
    }
}

async fn ask(shared: &Arc<Shared>, orders: BTreeMap<String, Sent>) -> Result<Outcomes> {
    let mut asked = orders.into_iter();
    let mut asking = JoinSet::new();
    let mut stands = BTreeMap::new();
    loop {
        while asking.len() < SETTLE_AT_ONCE
            && let Some((name, sent)) = asked.next()
        {
            let shared = Arc::clone(shared);
            asking.spawn(async move {
                let executed = settle(&shared.trader, &name, sent.symbol).await?;
                anyhow::Ok((name, executed))
            });
        }
        match asking.join_next().await {
            Some(asked) => stands.extend([asked??]),
            None => return Ok(stands),
        }
    }
}

/// Waits until the exchange says how an order stands.
async fn settle(trader: &Trader, name: &str, symbol: &str) -> Result<Outcome> {
    eventually(&format!("the outcome of {name}"), || async { asked(trader, name, symbol).await?.map(Some) }).await
}

/// How an order stands, as the exchange says now; the inner error where it does not say.
async fn asked(trader: &Trader, name: &str, symbol: &str) -> Result<Result<Outcome>> {
    Ok(match trader.query(name, symbol).await? {
        Reply::Placed(answer) => match answer["executedQty"].as_str() {
            Some(executed) => Ok(Some(executed.to_owned())),
            None => Err(anyhow!("{name}: {answer}")),
        },
        Reply::Refused(-2013, _) => Ok(None),
        other => Err(anyhow!("{other:?}")),
    })
}

/// Asks for what is in doubt now and then, until the flow ends.
async fn settle_meanwhile(shared: Arc<Shared>, mut stop: watch::Receiver<bool>) -> Result<()> {
    loop {
        tokio::select! {
            _ = stop.wait_for(|stopped| *stopped) => return Ok(()),
            () = tokio::time::sleep(SETTLE_EVERY) => {}
        }
        let answered = |sent: &Sent| sent.answered.is_some() && sent.is_in_doubt();
        let doubts: Vec<(String, &str)> = {
            let orders = shared.orders();
            orders.iter().filter(|(_, sent)| answered(sent)).map(|(name, sent)| (name.clone(), sent.symbol)).collect()
        };
        for (name, symbol) in doubts {
            // Whoever does not answer now is asked again.
            let Ok(outcome) = asked(&shared.trader, &name, symbol).await? else { break };
            if let Some(sent) = shared.orders().get_mut(&name) {
                sent.settled = Some(outcome);
            }
        }
    }
}

async fn send(
    shared: Arc<Shared>,
    who: usize,
    symbols: Vec<&'static str>,
    pause: Duration,
    stop: watch::Receiver<bool>,
) -> Result<()> {
    for (n, symbol) in symbols.iter().cycle().enumerate() {
        if *stop.borrow() {
            break;
        }
        let name = format!("f{who}-{n}");
        let side = if (who + n / symbols.len()).is_multiple_of(2) { "BUY" } else { "SELL" };
        let order = format!("symbol={symbol}&side={side}&type=MARKET&quantity=0.001");
        #[expect(clippy::disallowed_methods, reason = "real processes live on the real clock")]
        let now = Instant::now;
        shared.orders().insert(name.clone(), Sent { symbol, at: now(), answered: None, settled: None });
        let reply = shared.trader.place(&name, &order).await?;
        let refused = matches!(reply, Reply::Refused(..) | Reply::Lost(_));
        if let Some(sent) = shared.orders().get_mut(&name) {
            sent.answered = Some((now(), reply));
        }
        tokio::time::sleep(if refused { pause.max(REFUSED_PAUSE) } else { pause }).await;
    }
    Ok(())
}
