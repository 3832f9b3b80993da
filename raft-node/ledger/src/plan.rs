//! Whether an order and the fills planned for it hold: the checks before anything is posted.
//!
//! Invariant: reads only. The checks run in the order that `docs/ledger.md` gives, fills one after the
//! other, each against what the ones before it leave.

use std::collections::BTreeMap;

use quorate_planted::{Bug, planted};

use crate::{
    apply::{Applying, invalid},
    bounds::{
        FILLS_PER_ORDER_MAX, NOTIONAL_MAX, OPEN_ORDERS_MAX, ORDER_DEADLINE_MAX_MS, ORDER_TIMESTAMP_AHEAD_MS,
        POSITION_VALUE_MAX,
    },
    command::{Against, ExecuteOrder, NewOrder, PlannedFill, Remainder},
    quote::check_instrument,
    refusal::Refusal,
    state::{Quote, SymbolState},
};
use quorate_domain::{
    Instrument, MAX_QTY, Mark, Millis, Money, OrderId, OrderType, Pnl, Price, Qty, QuoteId, Side, TimeInForce, fee,
};

/// What the fills checked so far leave.
struct Trial<'a> {
    /// The symbol's quote, where it can be filled.
    quote: Option<&'a Quote>,
    quote_leaves: Qty,
    order_leaves: BTreeMap<OrderId, Qty>,
    instrument: &'a Instrument,
    /// Lots that the quotes bought or sold in all, on the side that this order moves.
    moved: Qty,
    pnl: Pnl,
    mark: Option<Mark>,
}

impl Trial<'_> {
    /// Whether the position is not worth too much, where the price is this or the mark.
    fn value_in_range(&self, price: Price) -> bool {
        let in_range = |money: Option<Money>| {
            money.is_some_and(|money| (-POSITION_VALUE_MAX..=POSITION_VALUE_MAX).contains(&money.0))
        };
        let position = self.pnl.position;
        let lots = position.0.checked_abs().map(Qty);
        in_range(lots.and_then(|lots| self.instrument.most_worth(price, lots)))
            && self.mark.is_none_or(|mark| in_range(self.instrument.mark_value(mark.price, position)))
    }
}

impl Applying<'_> {
    /// Checks from the kill switch on; what identifies the command was checked before.
    pub(crate) fn check_order(&self, command: &ExecuteOrder) -> Result<(), Refusal> {
        let order = &command.order;
        self.check_kill_switch()?;
        let state = self.symbol(&order.symbol)?;
        check_instrument(&order.symbol, state, command.revision)?;
        check_order_form(order, &state.instrument)?;
        check_plan_form(command, &state.instrument)?;
        check_times(command, self.log_time())?;
        self.check_name(order)?;
        self.check_order_deadline(command.deadline)?;
        self.check_places(&order.account)?;
        let mut trial = self.trial(state, order);
        for fill in &command.fills {
            self.check_fill(&mut trial, order, fill)?;
        }
        if command.remainder == Remainder::Rest {
            self.check_rest(&trial, order)?;
        }
        self.check_covered(command, &state.instrument)
    }

    fn check_order_deadline(&self, deadline: Millis) -> Result<(), Refusal> {
        let log_time = self.log_time();
        if deadline <= log_time { Err(Refusal::DeadlinePassed { log_time }) } else { Ok(()) }
    }

    fn trial<'a>(&self, state: &'a SymbolState, order: &NewOrder) -> Trial<'a> {
        let quote = self.fillable_quote(state);
        let quote_leaves = quote.map_or(Qty::ZERO, |quote| quote.leaves(order.side.opposite()));
        let moved = match order.side {
            Side::Buy => state.sold,
            Side::Sell => state.bought,
        };
        let (instrument, pnl, mark) = (&state.instrument, state.pnl, state.marks.counted);
        Trial { quote, quote_leaves, order_leaves: BTreeMap::new(), instrument, moved, pnl, mark }
    }

    /// The quote, while neither its own deadline nor that of the authority behind it has passed.
    fn fillable_quote<'a>(&self, state: &'a SymbolState) -> Option<&'a Quote> {
        let now = self.log_time();
        if planted(Bug::ForgetTtlOnFill) {
            return state.quote.as_ref();
        }
        let authority = self.tables.authority_deadline(state)?;
        state.quote.as_ref().filter(|quote| quote.is_active(now) && authority > now)
    }

    fn check_fill(&self, trial: &mut Trial<'_>, order: &NewOrder, fill: &PlannedFill) -> Result<(), Refusal> {
        let against = fill.against;
        let (price, leaves) = match against {
            Against::Quote(id) => quote_facts(trial, order, id),
            Against::Order(id) => self.resting_facts(trial, order, id),
        }
        .ok_or(Refusal::NotActive { against })?;
        if leaves != fill.leaves {
            return Err(Refusal::LeavesMoved { against, leaves });
        }
        if fill.qty > leaves {
            return Err(invalid("a fill's qty must not be above the leaves it names"));
        }
        if fill.price != price || !crosses(order.side, order.price, price) {
            return Err(Refusal::DoesNotCross { against, price });
        }
        let most = trial.instrument.most_worth(fill.price, fill.qty).filter(|most| most.0 <= NOTIONAL_MAX);
        most.ok_or_else(|| overflow("the notional"))?;
        let notional = trial.instrument.notional(fill.price, fill.qty).ok_or_else(|| overflow("the notional"))?;
        let base = i128::from(fill.qty.0).checked_mul(trial.instrument.lot_units());
        base.filter(|base| *base <= NOTIONAL_MAX).ok_or_else(|| overflow("the quantity in the base asset"))?;
        match against {
            Against::Quote(_) => take_from_quote(trial, order.side, fill, notional),
            Against::Order(id) => {
                trial.order_leaves.insert(id, Qty(leaves.0 - fill.qty.0));
                Ok(())
            }
        }
    }

    /// Price and leaves of a resting order that this order may hit.
    fn resting_facts(&self, trial: &Trial<'_>, order: &NewOrder, id: OrderId) -> Option<(Price, Qty)> {
        let resting = self.tables.orders.get(&id)?;
        let leaves = trial.order_leaves.get(&id).copied().unwrap_or_else(|| resting.leaves());
        let fits = resting.order.symbol == order.symbol && resting.order.side == order.side.opposite();
        (fits && leaves > Qty::ZERO).then_some((resting.order.price?, leaves))
    }

    fn check_rest(&self, trial: &Trial<'_>, order: &NewOrder) -> Result<(), Refusal> {
        let opposite = order.side.opposite();
        if let Some(quote) = trial.quote
            && let Some(leg) = quote.sides.of(opposite)
            && trial.quote_leaves > Qty::ZERO
            && crosses(order.side, order.price, leg.price)
        {
            return Err(Refusal::WouldCross { against: Against::Quote(quote.id), price: leg.price });
        }
        let filled = |id: &OrderId| trial.order_leaves.get(id) == Some(&Qty::ZERO);
        let best = self.indexes.resting(&order.symbol, opposite).find(|id| !filled(id));
        if let Some(resting) = best.and_then(|id| self.tables.orders.get(&id))
            && let Some(price) = resting.order.price
            && crosses(order.side, order.price, price)
        {
            return Err(Refusal::WouldCross { against: Against::Order(resting.id), price });
        }
        if self.tables.orders.len() >= OPEN_ORDERS_MAX {
            return Err(Refusal::Full { what: "open orders".to_owned(), max: OPEN_ORDERS_MAX as u64 });
        }
        Ok(())
    }
}

/// Price and leaves of the quote's side that this order may hit.
fn quote_facts(trial: &Trial<'_>, order: &NewOrder, id: QuoteId) -> Option<(Price, Qty)> {
    let quote = trial.quote.filter(|quote| quote.id == id)?;
    let leg = quote.sides.of(order.side.opposite()).as_ref()?;
    (trial.quote_leaves > Qty::ZERO).then_some((leg.price, trial.quote_leaves))
}

fn take_from_quote(trial: &mut Trial<'_>, taker: Side, fill: &PlannedFill, notional: Money) -> Result<(), Refusal> {
    trial.quote_leaves = Qty(trial.quote_leaves.0 - fill.qty.0);
    trial.moved = trial.moved.checked_add(fill.qty).ok_or_else(|| overflow("the position"))?;
    let fee = fee(notional, trial.instrument.maker_fee_ppm).ok_or_else(|| overflow("the fee"))?;
    let filled = trial.pnl.fill(taker.opposite(), fill.qty, notional, fee);
    trial.pnl = filled.ok_or_else(|| overflow("the position"))?;
    if trial.value_in_range(fill.price) { Ok(()) } else { Err(overflow("what the position is worth")) }
}

fn overflow(what: &str) -> Refusal {
    Refusal::Overflow { what: what.to_owned() }
}

/// Whether an order takes at `resting`; a market order takes at any price.
fn crosses(side: Side, price: Option<Price>, resting: Price) -> bool {
    price.is_none_or(|price| match side {
        Side::Buy => price >= resting,
        Side::Sell => price <= resting,
    })
}

fn check_order_form(order: &NewOrder, instrument: &Instrument) -> Result<(), Refusal> {
    if !order.qty.is_valid() {
        return Err(invalid(format!("qty must lie in 1..={MAX_QTY} lots")));
    }
    match (order.order_type, order.price) {
        (OrderType::Market, Some(_)) => return Err(invalid("a market order has no price")),
        (OrderType::Limit | OrderType::LimitMaker, None) => return Err(invalid("a limit order has a price")),
        (OrderType::Limit | OrderType::LimitMaker, Some(price)) if !instrument.accepts(price) => {
            let (min, max) = (instrument.min_price, instrument.max_price);
            return Err(invalid(format!("price must lie in {min}..={max} ticks")));
        }
        (OrderType::Market, None) | (OrderType::Limit | OrderType::LimitMaker, Some(_)) => {}
    }
    match (order.order_type, order.time_in_force) {
        (OrderType::Market, TimeInForce::Gtc | TimeInForce::Fok) => {
            Err(invalid("a market order's time_in_force is ioc"))
        }
        (OrderType::LimitMaker, TimeInForce::Ioc | TimeInForce::Fok) => {
            Err(invalid("a limit_maker order's time_in_force is gtc"))
        }
        (OrderType::Market, TimeInForce::Ioc)
        | (OrderType::LimitMaker, TimeInForce::Gtc)
        | (OrderType::Limit, TimeInForce::Gtc | TimeInForce::Ioc | TimeInForce::Fok) => Ok(()),
    }
}

fn check_plan_form(command: &ExecuteOrder, instrument: &Instrument) -> Result<(), Refusal> {
    let ExecuteOrder { order, fills, remainder, .. } = command;
    if fills.len() > FILLS_PER_ORDER_MAX {
        return Err(invalid(format!("at most {FILLS_PER_ORDER_MAX} fills for one order")));
    }
    if fills.iter().any(|fill| !fill.qty.is_valid() || !instrument.accepts(fill.price)) {
        let (min, max) = (instrument.min_price, instrument.max_price);
        return Err(invalid(format!("a fill's qty must lie in 1..={MAX_QTY} lots, its price in {min}..={max} ticks")));
    }
    // Bounded by the two checks above, far below the range.
    let filled: i64 = fills.iter().map(|fill| fill.qty.0).sum();
    if filled > order.qty.0 {
        return Err(invalid("fills sum to more than the order's qty"));
    }
    let whole = filled == order.qty.0;
    if (*remainder == Remainder::None) != whole {
        return Err(invalid("remainder is none where the fills sum to the order's qty, and only there"));
    }
    if *remainder == Remainder::Rest && order.time_in_force != TimeInForce::Gtc {
        return Err(invalid("only a gtc order rests"));
    }
    if *remainder == Remainder::Reject && order.order_type != OrderType::LimitMaker {
        return Err(invalid("only a limit_maker order is rejected"));
    }
    if order.order_type == OrderType::LimitMaker && !fills.is_empty() {
        return Err(invalid("a limit_maker order takes nothing"));
    }
    if order.time_in_force == TimeInForce::Fok && !whole && !fills.is_empty() {
        return Err(invalid("a fok order has all of its fills or none"));
    }
    Ok(())
}

fn check_times(command: &ExecuteOrder, now: Millis) -> Result<(), Refusal> {
    if command.deadline > now.plus(ORDER_DEADLINE_MAX_MS) {
        return Err(invalid(format!("deadline lies more than {ORDER_DEADLINE_MAX_MS} ms ahead of log time {now}")));
    }
    if command.order.timestamp > now.plus(ORDER_TIMESTAMP_AHEAD_MS) {
        return Err(invalid(format!("timestamp lies more than {ORDER_TIMESTAMP_AHEAD_MS} ms ahead of log time {now}")));
    }
    Ok(())
}
