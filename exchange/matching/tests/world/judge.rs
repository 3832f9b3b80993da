//! What must hold, checked as it happens: from the ledger's own events and a naive matcher that shares
//! no code with the planner.

use std::collections::{BTreeMap, BTreeSet};

use quorate_domain::{ClientOrderId, OrderType, Price, Qty, Side, Symbol, TimeInForce};
use quorate_ledger::{
    Against, Event, ExchangeEpoch, FillCommitted, FilledMaker, Frame, Ledger, NewOrder, OrderResult, OrderStatus,
    Refusal, bounds::FILLS_PER_ORDER_MAX,
};
use quorate_matching::{CancelOutcome, NotExecuted, Only, OrderOutcome, SelfTrade, Target, Terms};

use super::{End, Planned, World, names};

#[derive(Default)]
pub struct Judge {
    /// Every fill of the ledger, by trade id.
    fills: BTreeMap<u64, FillCommitted>,
    /// Trades reported as a caller's own.
    reported: BTreeSet<u64>,
    /// Every execution, by client order id.
    executed: BTreeMap<ClientOrderId, OrderResult>,
    /// Orders whose callers all know that they were not executed.
    denied: BTreeSet<ClientOrderId>,
    /// Lots granted to each side of each quote, less what was filled.
    granted: BTreeMap<(u64, bool), i64>,
    /// How orders are matched, where not as others are.
    pub terms: BTreeMap<ClientOrderId, Terms>,
    /// Executions of orders that do not trade with their own account, and what is left of them.
    pub apart: u64,
    /// Refusals by the ledger, by name.
    pub refusals: BTreeMap<&'static str, u64>,
    pub outcomes: BTreeMap<&'static str, u64>,
    /// Executions compared with the naive matcher, exactly or only for their order.
    pub exact: u64,
    pub loose: u64,
    pub settled: u64,
    pub fenced: u64,
}

/// What stands on a side, as the naive matcher sees it.
#[derive(Debug, Clone, Copy)]
struct Stands {
    id: u64,
    against: Against,
    price: Price,
    leaves: Qty,
}

impl Judge {
    pub fn frame(
        &mut self,
        before: &Ledger,
        after: &Ledger,
        frame: &Frame,
        planned: &BTreeMap<(ExchangeEpoch, u64, ClientOrderId), Planned>,
        moved: &BTreeMap<Symbol, u64>,
    ) {
        for event in &frame.events {
            match event {
                Event::QuotePlaced(placed) => {
                    let qty = |side: Option<quorate_domain::QuoteSide>| side.map_or(0, |side| side.qty.0);
                    self.granted.insert((placed.quote_id, true), qty(placed.bid));
                    self.granted.insert((placed.quote_id, false), qty(placed.ask));
                }
                Event::FillCommitted(fill) => self.fill(fill),
                Event::OrderExecuted { exchange_epoch, exec_id, order, .. } => {
                    let result = after.order_named(&order.account, &order.client_order_id).unwrap().result();
                    let twice = self.executed.insert(order.client_order_id.clone(), result);
                    assert!(twice.is_none(), "{} is executed twice", order.client_order_id);
                    assert!(
                        !self.denied.contains(&order.client_order_id),
                        "{} is executed after somebody was told that it is not",
                        order.client_order_id
                    );
                    let key = (*exchange_epoch, *exec_id, order.client_order_id.clone());
                    let moved = moved.get(&order.symbol).copied().unwrap_or(0);
                    self.execution(before, frame, order, planned[&key], moved);
                }
                _ => {}
            }
        }
    }

    fn fill(&mut self, fill: &FillCommitted) {
        assert!(self.fills.insert(fill.trade_id, fill.clone()).is_none(), "trade {} twice", fill.trade_id);
        if let FilledMaker::Quote { quote_id, .. } = fill.maker {
            let left = self.granted.get_mut(&(quote_id, fill.taker_side == Side::Sell)).unwrap();
            *left -= fill.qty.0;
            assert!(*left >= 0, "quote {quote_id} is filled beyond what was granted");
        }
    }

    /// The fills against what a naive matcher would do on the committed book.
    fn execution(&mut self, before: &Ledger, frame: &Frame, order: &NewOrder, planned: Planned, moved: u64) {
        let fills: Vec<(Against, Price, Qty)> = frame
            .events
            .iter()
            .filter_map(|event| match event {
                Event::FillCommitted(fill) => Some((against(fill), fill.price, fill.qty)),
                _ => None,
            })
            .collect();
        if planned.gave_up {
            assert!(fills.is_empty());
            return;
        }
        let terms = self.terms(&order.client_order_id);
        if terms != Terms::default() {
            // All orders of this world are of one account.
            let own = fills.iter().any(|(hit, ..)| matches!(hit, Against::Order(_)));
            assert!(terms.self_trade == SelfTrade::Allow || !own, "{order:?} trades with its own account: {fills:?}");
            let beyond = |price: Price| match order.side {
                Side::Buy => terms.worst.is_some_and(|worst| price > worst),
                Side::Sell => terms.worst.is_some_and(|worst| price < worst),
            };
            assert!(order.price.is_some() || !fills.iter().any(|(_, price, _)| beyond(*price)), "{order:?}: {fills:?}");
            self.apart += 1;
            return;
        }
        let status = frame.events.iter().find_map(|event| match event {
            Event::OrderExecuted { status, .. } => Some(*status),
            _ => None,
        });
        let plan = (fills, status.unwrap());
        let quote = before.symbol(&order.symbol).unwrap().quote.as_ref();
        // The estimate may be ahead of log time: then a quote is let go a little early.
        let may_skip_quote = quote.is_some_and(|quote| quote.deadline <= planned.now);
        let with_quote = naive(&stands(before, frame, order, true), order);
        let without_quote = || may_skip_quote && plan == naive(&stands(before, frame, order, false), order);
        if plan == with_quote || without_quote() {
            self.exact += 1;
        } else {
            assert!(
                moved > planned.applied || ended_here(frame, &order.symbol),
                "planned at {planned:?}, last moved at {moved}: {order:?}\n got {plan:?}\n not {with_quote:?}"
            );
            let keys: Vec<(i64, u64)> = plan.0.iter().map(|(hit, price, _)| rank(order.side, *price, *hit)).collect();
            assert!(keys.is_sorted(), "out of priority: {plan:?}");
            self.loose += 1;
        }
    }

    /// How an order is matched.
    pub fn terms(&self, id: &ClientOrderId) -> Terms {
        self.terms.get(id).copied().unwrap_or_default()
    }

    /// A caller was told what came of an order.
    pub fn outcome(&mut self, ledger: &Ledger, id: &ClientOrderId, outcome: &OrderOutcome, others: bool) {
        let known = ledger.order_named(&names::account(), id);
        let name = match outcome {
            OrderOutcome::Committed(committed) => {
                let known = known.expect("nothing is reported before it is committed");
                assert_eq!(known.id(), committed.result.order_id);
                assert!(committed.index <= ledger.last_index());
                let traded: i64 = committed.result.trades.iter().map(|trade| trade.qty.0).sum();
                assert!(traded <= committed.result.cum_qty.0);
                assert!(committed.result.cum_qty <= known.result().cum_qty);
                if committed.repeat {
                    assert!(committed.result.trades.is_empty());
                    "repeat"
                } else {
                    "committed"
                }
            }
            OrderOutcome::Refused(Refusal::DuplicateOrder { .. }) => "duplicate",
            OrderOutcome::Refused(_) | OrderOutcome::NotExecuted(_) => {
                // The denial speaks for this request: another one may wait, or have lost its answer.
                assert!(known.is_none() || others, "{id} is executed, and a caller was told {outcome:?}");
                match outcome {
                    OrderOutcome::NotExecuted(NotExecuted::Overloaded) => "overloaded",
                    OrderOutcome::NotExecuted(NotExecuted::NotReady) => "not ready",
                    OrderOutcome::NotExecuted(NotExecuted::Halted) => "halted",
                    OrderOutcome::NotExecuted(NotExecuted::Unavailable) => "unavailable",
                    OrderOutcome::NotExecuted(NotExecuted::TimedOut) => "timed out",
                    OrderOutcome::NotExecuted(NotExecuted::SymbolOrdersMax) => "symbol full",
                    OrderOutcome::NotExecuted(NotExecuted::AccountOrdersMax) => "account full",
                    OrderOutcome::NotExecuted(NotExecuted::OffTick) => "off tick",
                    OrderOutcome::Refused(Refusal::KillSwitch { .. }) => "killed",
                    OrderOutcome::Refused(Refusal::SymbolClosed { .. }) => "symbol closed",
                    OrderOutcome::Refused(Refusal::DeadlinePassed { .. }) => "deadline passed",
                    other => panic!("no order may end with {other:?}"),
                }
            }
            OrderOutcome::Unknown => "unknown",
        };
        *self.outcomes.entry(name).or_default() += 1;
    }

    /// Nobody will ask for it again: from now on it must not be executed.
    pub fn denied_for_good(&mut self, id: &ClientOrderId) {
        self.denied.insert(id.clone());
    }

    pub fn reported(&mut self, result: &OrderResult) {
        for trade in &result.trades {
            let fill = self.fills.get(&trade.trade_id).expect("a reported fill is committed");
            assert_eq!((fill.price, fill.qty, fill.taker_order_id), (trade.price, trade.qty, result.order_id));
            assert!(self.reported.insert(trade.trade_id), "trade {} is reported twice", trade.trade_id);
        }
    }

    pub fn cancelled(&mut self, ledger: &Ledger, target: &Target, only: Option<Only>, outcome: &CancelOutcome) {
        let known = match target {
            Target::Order(order_id) => ledger.order(*order_id),
            Target::Client(id) => ledger.order_named(&names::account(), id),
        };
        let name = match outcome {
            CancelOutcome::Cancelled(committed) => {
                let known = known.map(|order| (order.id(), order.result().status));
                assert_eq!(known, Some((committed.result.order_id, OrderStatus::Cancelled)));
                let holds = only.is_none_or(|only| only.holds(committed.result.cum_qty));
                assert!(holds, "{only:?}, and cancelled as {:?}", committed.result);
                "cancelled"
            }
            CancelOutcome::Closed(committed) => {
                let known = known.expect("a closed order is remembered");
                assert!(known.open().is_none());
                assert_eq!((known.id(), known.result().status), (committed.result.order_id, committed.result.status));
                "cancel of closed"
            }
            CancelOutcome::UnknownOrder => {
                assert!(known.is_none_or(|order| order.open().is_none()), "{target:?} is open");
                "cancel of nothing"
            }
            CancelOutcome::Restricted => "cancel restricted",
            CancelOutcome::NotExecuted(_) => "cancel not made",
            CancelOutcome::Unknown => "cancel unknown",
        };
        *self.outcomes.entry(name).or_default() += 1;
    }

    pub fn refused(&mut self, refusal: &Refusal) {
        let name = match refusal {
            Refusal::ExecGap { .. } => "ExecGap",
            Refusal::NotActive { .. } => "NotActive",
            Refusal::WouldCross { .. } => "WouldCross",
            Refusal::DuplicateOrder { .. } => "DuplicateOrder",
            Refusal::DeadlinePassed { .. } => "DeadlinePassed",
            Refusal::StaleExchange { .. } => "StaleExchange",
            Refusal::KillSwitch { .. } => "KillSwitch",
            // What people decide in a scenario; no flow has them.
            Refusal::StaleRevision { .. } => "StaleRevision",
            Refusal::SymbolClosed { .. } => "SymbolClosed",
            Refusal::SessionExpired { .. } => "SessionExpired",
            Refusal::OrderClosed { .. } => "OrderClosed",
            Refusal::UnknownOrder { .. } => "UnknownOrder",
            Refusal::SeqTooOld { .. } => "SeqTooOld",
            // A late copy of what was given up at its deadline; for one in flight the engine would halt.
            Refusal::ExecReused { .. } => "ExecReused",
            Refusal::Invalid { what } => panic!("a plan was malformed: {what}"),
            // Only this exchange moves leaves, and in order: LeavesMoved or DoesNotCross were a wrong projection.
            other => panic!("no plan may be refused with {other:?}"),
        };
        *self.refusals.entry(name).or_default() += 1;
    }

    /// When everything has settled: what is committed is what callers know, and the mirror agrees.
    pub fn end(world: &World) {
        let judge = &world.judge;
        for (id, client) in &world.clients {
            let known = world.ledger.order_named(&names::account(), id);
            match client.end.unwrap() {
                End::Executed(order_id) => assert_eq!(known.map(|order| order.id()), Some(order_id)),
                End::NotExecuted => assert!(known.is_none(), "{id}: {known:?}, and its caller knows otherwise"),
            }
        }
        for id in judge.executed.keys() {
            assert!(world.clients.contains_key(id), "{id} was executed, and nobody asked for it");
        }
        // Each fill is reported to its taker, or its taker learnt by a repeat where the order stands.
        let takers: BTreeMap<u64, &ClientOrderId> =
            judge.executed.iter().map(|(id, result)| (result.order_id, id)).collect();
        for (trade_id, fill) in &judge.fills {
            let client = &world.clients[takers[&fill.taker_order_id]];
            let known = client.end == Some(End::Executed(fill.taker_order_id));
            assert!(known, "nobody was told of trade {trade_id}");
            assert!(judge.reported.contains(trade_id) || client.ever_lost, "trade {trade_id} was not reported");
        }
        Self::mirror(world);
    }

    /// Where the engine has seen all frames, it must hold what the ledger holds.
    pub fn mirror(world: &World) {
        let (engine, ledger) = (&world.live.engine, &world.ledger);
        if engine.applied().0 != world.frames.last().unwrap().index || !engine.is_ready() {
            return;
        }
        assert_eq!(engine.open_orders(&names::account(), None), names::open_orders(ledger));
        for (symbol, state) in ledger.symbols() {
            let expected = state.quote.as_ref().map(|quote| super::quote_of(symbol, quote));
            assert_eq!(engine.quote(symbol), expected.as_ref());
            let depth = engine.depth(ledger.log_time(), symbol, 100);
            for (side, levels) in [(Side::Buy, depth.bids), (Side::Sell, depth.asks)] {
                let mut expected: BTreeMap<Price, i64> = BTreeMap::new();
                for order in ledger.resting_orders(symbol, side) {
                    *expected.entry(order.order.price.unwrap()).or_default() += order.leaves().0;
                }
                let quote = state.quote.as_ref().filter(|quote| quote.deadline > ledger.log_time());
                if let Some(leg) = quote.and_then(|quote| *quote.sides.of(side)).filter(|leg| leg.leaves.0 > 0) {
                    *expected.entry(leg.price).or_default() += leg.leaves.0;
                }
                let mut expected: Vec<(Price, i64)> = expected.into_iter().collect();
                if side == Side::Buy {
                    expected.reverse();
                }
                let shown: Vec<(Price, i64)> = levels.iter().map(|level| (level.price, level.leaves.0)).collect();
                assert_eq!(shown, expected);
            }
        }
    }
}

/// The sweep of this very apply ended something.
fn ended_here(frame: &Frame, of: &Symbol) -> bool {
    use quorate_ledger::QuoteEndReason::Filled;
    let ended = |event: &Event| match event {
        Event::QuoteEnded { symbol, reason, .. } => symbol == of && *reason != Filled,
        _ => false,
    };
    frame.events.iter().any(ended)
}

fn against(fill: &FillCommitted) -> Against {
    match fill.maker {
        FilledMaker::Quote { quote_id, .. } => Against::Quote(quote_id),
        FilledMaker::Order { order_id, .. } => Against::Order(order_id),
    }
}

fn rank(taker: Side, price: Price, against: Against) -> (i64, u64) {
    let (Against::Quote(id) | Against::Order(id)) = against;
    (if taker == Side::Buy { price.0 } else { -price.0 }, id)
}

/// All that stands opposite to an order and within its price, best first.
fn stands(ledger: &Ledger, frame: &Frame, order: &NewOrder, with_quote: bool) -> Vec<Stands> {
    let opposite = order.side.opposite();
    let mut all: Vec<Stands> = ledger
        .open_orders()
        .filter(|resting| resting.order.symbol == order.symbol && resting.order.side == opposite)
        .map(|resting| Stands {
            id: resting.id,
            against: Against::Order(resting.id),
            price: resting.order.price.unwrap(),
            leaves: resting.leaves(),
        })
        .collect();
    let quote = ledger.symbol(&order.symbol).unwrap().quote.as_ref();
    if let Some(quote) = quote.filter(|quote| with_quote && quote.deadline > frame.log_time)
        && let Some(leg) = quote.sides.of(opposite)
        && leg.leaves.0 > 0
    {
        all.push(Stands { id: quote.id, against: Against::Quote(quote.id), price: leg.price, leaves: leg.leaves });
    }
    all.retain(|stands| match (order.side, order.price) {
        (_, None) => true,
        (Side::Buy, Some(limit)) => stands.price <= limit,
        (Side::Sell, Some(limit)) => stands.price >= limit,
    });
    all.sort_by_key(|stands| (if order.side == Side::Buy { stands.price.0 } else { -stands.price.0 }, stands.id));
    all
}

/// What a matcher without any concurrency would do.
fn naive(stands: &[Stands], order: &NewOrder) -> (Vec<(Against, Price, Qty)>, OrderStatus) {
    if order.order_type == OrderType::LimitMaker {
        let status = if stands.is_empty() { OrderStatus::New } else { OrderStatus::Rejected };
        return (Vec::new(), status);
    }
    let available: i64 = stands.iter().take(FILLS_PER_ORDER_MAX).map(|stands| stands.leaves.0).sum();
    if order.time_in_force == TimeInForce::Fok && available < order.qty.0 {
        return (Vec::new(), OrderStatus::Expired);
    }
    let mut left = order.qty.0;
    let mut fills = Vec::new();
    for stands in stands.iter().take(FILLS_PER_ORDER_MAX) {
        let qty = left.min(stands.leaves.0);
        if qty > 0 {
            fills.push((stands.against, stands.price, Qty(qty)));
            left -= qty;
        }
    }
    let cut_short = stands.len() > FILLS_PER_ORDER_MAX;
    let status = match (left, order.time_in_force) {
        (0, _) => OrderStatus::Filled,
        (_, TimeInForce::Gtc) if !cut_short && fills.is_empty() => OrderStatus::New,
        (_, TimeInForce::Gtc) if !cut_short => OrderStatus::PartiallyFilled,
        _ => OrderStatus::Expired,
    };
    (fills, status)
}
