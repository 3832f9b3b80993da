//! A naive replay of exported events: every sum is recomputed from the events alone, and whatever does
//! not add up is a violation.

mod amounts;
mod bounds;
mod control;
mod crossing;
mod money;
mod rules;
mod said;
mod turns;

use std::collections::BTreeMap;

use quorate_domain::{MakerName, Side, Symbol};
use quorate_ledger::{
    ControlChange, Event, FillCommitted, FilledMaker, Frame, OrderStatus, QuoteEndReason, QuotePlaced, Refusal, Turn,
};

use amounts::scaled;
use bounds::Bounds;
use control::{Control, decided};
pub use money::{Profit, Sums};
use rules::{HARD_EXPOSURE_LIMIT, NAME_MEMORY_MS, QUOTE_TTL_MS};
pub use said::{MoneySaid, VIEWS};

use crate::evidence::{Export, Journal};

/// What a replay saw.
#[derive(Debug, Default)]
pub struct Findings {
    /// What does not hold, in words.
    pub violations: Vec<String>,
    /// Whether the replay saw everything from the first index on; if not, money is not judged.
    pub whole: bool,
    /// Fills committed.
    pub fills: u64,
    /// Of those, fills against quotes.
    pub quote_fills: u64,
    /// The limit at the end.
    pub limit: i128,
    /// The highest exposure reserved at the end of any frame, of both sides.
    pub exposure_max: i128,
    /// Quotes granted less than asked for.
    pub grants_reduced: u64,
    /// Quotes refused for want of exposure.
    pub grants_refused: u64,
    /// Quotes kept.
    pub kept: u64,
    /// Changes of control.
    pub control_changes: u64,
    /// Turns begun.
    pub turns: u64,
    /// The longest time from when a symbol began to wait until its turn, in milliseconds of log time.
    pub waited_ms_max: u64,
    /// Quotes refused because the position had moved.
    pub stale_positions: u64,
    /// Answers of nodes on money that were held against the sums at their index, by view.
    pub money_said: BTreeMap<&'static str, u64>,
    /// Times that a symbol had two holders, or was quoted by another than its holder.
    pub authority_overlaps: u64,
    /// Terms begun.
    pub terms: u64,
    /// The longest time between two frames, in milliseconds of log time.
    pub commit_gap_ms: u64,
    /// The longest time that no quote was placed, likewise.
    pub quote_gap_ms: u64,
    /// Positions at the end, by symbol.
    pub positions: BTreeMap<Symbol, i64>,
    /// Fills by client order id: trade id -> lots.
    pub trades: BTreeMap<String, BTreeMap<u64, i64>>,
    /// Orders executed, by client order id: how often.
    pub executed: BTreeMap<String, u32>,
    /// The lot size of each order's symbol, by client order id, as a decimal.
    pub lots: BTreeMap<String, String>,
}

#[derive(Default)]
struct Book {
    per_lot: i64,
    lot_size: String,
    position: i64,
    position_seq: u64,
    epoch: u64,
    holder: Option<(MakerName, u64)>,
    quote: Option<Quote>,
    last_quote_seq: (u64, u64),
    turn: Option<Turn>,
    /// Log time at which it began to wait for its turn.
    waits_since: Option<u64>,
    /// Log time at which it was granted less than it asked for, where it was not granted all since.
    fell_short: Option<u64>,
}

struct Quote {
    id: u64,
    epoch: u64,
    /// The position that it was placed from.
    position_seq: u64,
    deadline: u64,
    bid: (i64, i64),
    ask: (i64, i64),
}

struct Order {
    name: String,
    account: String,
    symbol: Symbol,
    side: Side,
    price: Option<i64>,
    leaves: i64,
    cum: i64,
}

/// The replay itself: feed it frames, then take its findings.
#[derive(Default)]
pub struct Replay {
    found: Findings,
    /// Whether everything was seen from the first index on.
    whole: bool,
    control: Control,
    bounds: Bounds,
    money: money::Money,
    books: BTreeMap<Symbol, Book>,
    orders: BTreeMap<u64, Order>,
    not_resting: Vec<u64>,
    /// When the last order of each name closed; `None` while it is open.
    names: BTreeMap<(String, String), Option<u64>>,
    exchange_epoch: u64,
    /// By symbol, of the present exchange.
    last_exec: BTreeMap<Symbol, u64>,
    last_trade: Option<u64>,
    last_index: u64,
    last_time: Option<u64>,
    last_quote_time: Option<u64>,
}

/// Replays a whole export.
#[must_use]
pub fn replay(export: &Export) -> Findings {
    replay_and_hear(export, &MoneySaid::default())
}

/// Replays a whole export, and holds what nodes said of money against the judge's own sums, each answer at the very index at
/// which it was read.
#[must_use]
pub fn replay_and_hear(export: &Export, said: &MoneySaid) -> Findings {
    let mut replay = Replay::new(export);
    for frame in &export.frames {
        replay.frame(frame);
        replay.hear(frame, said);
    }
    replay.heard_all(said);
    replay.finish()
}

impl Replay {
    /// Starts from the opening balances, at the genesis limit.
    #[must_use]
    pub fn new(export: &Export) -> Self {
        let mut replay = Self::default();
        replay.found.limit = HARD_EXPOSURE_LIMIT;
        for opening in &export.opening {
            let book = replay.books.entry(opening.symbol.clone()).or_default();
            book.position = opening.position;
            book.position_seq = opening.position_seq;
        }
        replay
    }

    fn wrong(&mut self, frame: &Frame, what: &str) {
        if self.found.violations.len() < 100 {
            self.found.violations.push(format!("index {}: {what}", frame.index));
        }
    }

    /// Takes the next frame.
    pub fn frame(&mut self, frame: &Frame) {
        if self.last_time.is_some() && frame.index <= self.last_index {
            self.wrong(frame, "indexes do not grow");
        }
        if self.last_time.is_none() {
            self.whole = frame.index <= 1;
        }
        let time = frame.log_time.0;
        if let Some(last) = self.last_time {
            if time < last {
                self.wrong(frame, "log time goes back");
            }
            // Before the first stamp there is no log time yet.
            if last > 0 {
                self.found.commit_gap_ms = self.found.commit_gap_ms.max(time.saturating_sub(last));
            }
        }
        self.last_index = frame.index;
        self.last_time = Some(time);
        for event in &frame.events {
            self.event(frame, event);
            self.bounds_event(frame, event);
            self.money_event(frame, event);
        }
        // What neither rests nor is filled further in this frame is out of the book.
        for order_id in std::mem::take(&mut self.not_resting) {
            self.orders.remove(&order_id);
        }
        self.exposure(frame);
        self.not_crossed(frame);
        self.controlled(frame);
        self.turns_are_served(frame);
        self.bounds_hold(frame);
        self.money_adds_up(frame);
    }

    /// What did not hold so far.
    #[must_use]
    pub fn violations(&self) -> &[String] {
        &self.found.violations
    }

    /// What is known of money after the last frame.
    #[must_use]
    pub fn sums(&self) -> Sums {
        Sums { whole: self.whole, ..self.money.sums() }
    }

    fn event(&mut self, frame: &Frame, event: &Event) {
        match event {
            Event::TermBegan { .. } => self.found.terms += 1,
            Event::SymbolDefined { symbol, instrument } => {
                let book = self.books.entry(symbol.clone()).or_default();
                book.per_lot = instrument.exposure_per_lot;
                book.lot_size = instrument.lot_size.to_string();
            }
            Event::ControlChanged { control_version, actor, reason, change } => {
                self.control_changed(frame, *control_version, (actor, reason), change);
            }
            Event::AuthorityGranted { symbol, maker, incarnation, epoch } => {
                self.granted(frame, symbol, maker, *incarnation, *epoch);
            }
            Event::AuthorityEnded { symbol, maker, incarnation, epoch, .. } => {
                let book = self.books.entry(symbol.clone()).or_default();
                let held = book.holder.take() == Some((maker.clone(), *incarnation)) && book.epoch == *epoch;
                let (quoted, turn) = (book.quote.is_some(), book.turn);
                if turn.is_some() {
                    self.wrong(frame, &format!("{symbol}: authority ended, and it is in the turns: {turn:?}"));
                }
                if !held {
                    self.wrong(frame, &format!("{symbol}: authority of {maker} ended, which did not hold it"));
                }
                if quoted {
                    self.wrong(frame, &format!("{symbol}: authority ended and the quote stands"));
                }
            }
            Event::QuotePlaced(placed) => self.placed(frame, placed),
            Event::QuoteRefused { symbol, quote_seq, keep, refusal, .. } => {
                self.refused(frame, symbol, *quote_seq, *keep, refusal);
            }
            Event::QuoteEnded { symbol, quote_id, released_long, released_short, reason } => {
                self.released(frame, symbol, (released_long.0, released_short.0));
                self.quote_ended(frame, symbol, *quote_id, *reason);
            }
            Event::ExchangeRegistered { exchange_epoch, .. } => {
                if *exchange_epoch <= self.exchange_epoch {
                    self.wrong(frame, "an exchange epoch that does not grow");
                }
                self.exchange_epoch = *exchange_epoch;
                self.last_exec.clear();
            }
            Event::OrderExecuted { .. } => self.executed(frame, event),
            Event::FillCommitted(fill) => self.filled(frame, fill),
            Event::OrderClosed { .. } => self.closed(frame, event),
            Event::QuoteKept { symbol, quote_id, quote_seq, deadline, .. } => {
                self.kept(frame, symbol, *quote_id, (*quote_seq, deadline.0));
            }
            Event::TurnChanged { symbol, turn } => self.turn_changed(frame, symbol, *turn),
            Event::SymbolClosed { symbol, settled } => {
                let book = self.books.entry(symbol.clone()).or_default();
                let counted = book.position_seq + u64::from(book.position != 0);
                let numbered = settled.is_none_or(|settled| settled.position_seq == counted);
                if let Some(settlement) = settled {
                    (book.position, book.position_seq) = (0, settlement.position_seq);
                }
                let left = book.quote.is_some() || self.orders.values().any(|order| order.symbol == *symbol);
                if left || !numbered {
                    self.wrong(frame, &format!("{symbol} ended as {settled:?}, and left something: {left}"));
                }
            }
            Event::MarksPublished { .. }
            | Event::ListingChanged { .. }
            | Event::BreakerTripped { .. }
            | Event::ProtectionTripped { .. }
            | Event::ParametersCommitted { .. }
            | Event::MakerRegistered { .. }
            | Event::MakerRenewed { .. }
            | Event::MakerDeparted { .. }
            | Event::AuthorityMoving { .. } => {}
        }
    }

    fn granted(&mut self, frame: &Frame, symbol: &Symbol, maker: &MakerName, incarnation: u64, epoch: u64) {
        let book = self.books.entry(symbol.clone()).or_default();
        let doubled = book.holder.replace((maker.clone(), incarnation)).is_some();
        let grew = epoch > book.epoch;
        book.epoch = epoch;
        if doubled {
            self.found.authority_overlaps += 1;
            self.wrong(frame, &format!("{symbol}: granted to {maker} while another held it"));
        }
        if !grew {
            self.wrong(frame, &format!("{symbol}: epoch {epoch} does not grow"));
        }
    }

    fn placed(&mut self, frame: &Frame, placed: &QuotePlaced) {
        let time = frame.log_time.0;
        if let Some(last) = self.last_quote_time.replace(time) {
            self.found.quote_gap_ms = self.found.quote_gap_ms.max(time.saturating_sub(last));
        }
        let side = |side: Option<quorate_domain::QuoteSide>| side.map_or((0, 0), |s| (s.price.0, s.qty.0));
        let (bid, ask) = (side(placed.bid), side(placed.ask));
        let fell_short = bid.1 < placed.bid_asked.0 || ask.1 < placed.ask_asked.0;
        self.found.grants_reduced += u64::from(fell_short);
        if bid.1 > placed.bid_asked.0 || ask.1 > placed.ask_asked.0 || bid.1 + ask.1 <= 0 {
            self.wrong(frame, &format!("{}: {bid:?} and {ask:?} is not what was asked for", placed.symbol));
        }
        let book = self.books.entry(placed.symbol.clone()).or_default();
        book.fell_short = fell_short.then_some(time);
        let holds = book.holder == Some((placed.maker.clone(), placed.incarnation)) && book.epoch == placed.epoch;
        let from_committed = book.position_seq == placed.position_seq;
        let newer = (placed.epoch, placed.quote_seq) > book.last_quote_seq;
        let supersedes = book.quote.as_ref().map(|quote| quote.id) == placed.superseded;
        book.last_quote_seq = (placed.epoch, placed.quote_seq);
        let (id, epoch, position_seq, deadline) =
            (placed.quote_id, placed.epoch, placed.position_seq, placed.deadline.0);
        book.quote = Some(Quote { id, epoch, position_seq, deadline, bid, ask });
        if !lives_as_long_as_it_may(time, deadline) {
            self.wrong(frame, &format!("{}: placed until {deadline}", placed.symbol));
        }
        if !self.control.allows(&placed.symbol, Some(&placed.maker)) {
            self.wrong(frame, &format!("{}: quoted while quoting is off", placed.symbol));
        }
        if !holds {
            self.found.authority_overlaps += 1;
            self.wrong(frame, &format!("{}: quoted by {}, which does not hold it", placed.symbol, placed.maker));
        }
        if !from_committed {
            self.wrong(frame, &format!("{}: quoted from a position that is not the committed one", placed.symbol));
        }
        if !newer {
            self.wrong(frame, &format!("{}: a newer quote was replaced by an older one", placed.symbol));
        }
        if !supersedes {
            self.wrong(frame, &format!("{}: a quote supersedes another than the active one", placed.symbol));
        }
    }

    /// A quote is kept where it stands, before its deadline, with the position that it was placed from, which is the committed one.
    fn kept(&mut self, frame: &Frame, symbol: &Symbol, quote_id: u64, (quote_seq, deadline): (u64, u64)) {
        self.found.kept += 1;
        let time = frame.log_time.0;
        let book = self.books.entry(symbol.clone()).or_default();
        let (newer, position_seq) = ((book.epoch, quote_seq) > book.last_quote_seq, book.position_seq);
        book.last_quote_seq = (book.epoch, quote_seq);
        let allowed =
            self.control.allows(symbol, book.holder.as_ref().map(|(maker, _)| maker)) && book.holder.is_some();
        let before = book.quote.as_ref().map(|quote| (quote.id, quote.epoch, quote.position_seq, quote.deadline));
        let stands = before.is_some_and(|(id, epoch, placed_from, until)| {
            id == quote_id && epoch == book.epoch && placed_from == position_seq && time < until
        });
        if let Some(quote) = book.quote.as_mut().filter(|quote| quote.id == quote_id) {
            quote.deadline = deadline;
        }
        if !(stands && newer && allowed && lives_as_long_as_it_may(time, deadline)) {
            let at = format!("at {time} until {deadline}, position {position_seq}");
            self.wrong(
                frame,
                &format!("{symbol}: quote {quote_id} was kept {at}; there was {before:?}, newer: {newer}"),
            );
        }
    }

    /// A quote, or the keeping of one, was refused.
    fn refused(&mut self, frame: &Frame, symbol: &Symbol, quote_seq: u64, keep: bool, refusal: &Refusal) {
        match refusal {
            Refusal::ExposureShort { .. } | Refusal::TooHeavy { .. } => self.found.grants_refused += 1,
            Refusal::StalePosition { .. } => self.found.stale_positions += 1,
            _ => {}
        }
        // Refused for one of these, it has used its number up, and unless it is a keep no quote stands.
        if !matches!(
            refusal,
            Refusal::ExposureShort { .. }
                | Refusal::TooHeavy { .. }
                | Refusal::CrossesResting { .. }
                | Refusal::PositionLimit { .. }
                | Refusal::BreakerTripped { .. }
                | Refusal::Paused { .. }
        ) {
            return;
        }
        let book = self.books.entry(symbol.clone()).or_default();
        book.last_quote_seq = book.last_quote_seq.max((book.epoch, quote_seq));
        if !keep && matches!(refusal, Refusal::ExposureShort { .. } | Refusal::TooHeavy { .. }) {
            book.fell_short = Some(frame.log_time.0);
        }
        if !keep && book.quote.is_some() {
            self.wrong(frame, &format!("{symbol}: a replacement was refused and the quote stands: {refusal}"));
        }
    }

    /// A quote that ends frees what its leaves reserved.
    fn released(&mut self, frame: &Frame, symbol: &Symbol, told: (i128, i128)) {
        let Some(book) = self.books.get(symbol).filter(|_| self.whole) else { return };
        let Some(quote) = &book.quote else { return };
        let (buys, sells) = self.control.lots_at_risk(&self.money, symbol, book.per_lot, (quote.bid.0, quote.ask.0));
        let reserved = (i128::from(quote.bid.1) * buys, i128::from(quote.ask.1) * sells);
        if told != reserved {
            self.wrong(frame, &format!("{symbol}: {told:?} is released, and {reserved:?} was reserved"));
        }
    }

    fn quote_ended(&mut self, frame: &Frame, symbol: &Symbol, quote_id: u64, reason: QuoteEndReason) {
        let book = self.books.entry(symbol.clone()).or_default();
        match book.quote.take() {
            Some(quote) if quote.id == quote_id => {
                let caused = may_end(frame, symbol, &quote, book.turn, reason);
                let empty = quote.bid.1 == 0 && quote.ask.1 == 0;
                if empty != (reason == QuoteEndReason::Filled) {
                    self.wrong(
                        frame,
                        &format!("{symbol}: quote {quote_id} ended as {reason:?}, leaves empty: {empty}"),
                    );
                }
                if !caused {
                    self.wrong(frame, &format!("{symbol}: quote {quote_id} ended as {reason:?} without that"));
                }
            }
            other => {
                book.quote = other;
                self.wrong(frame, &format!("{symbol}: quote {quote_id} ended, which was not active"));
            }
        }
    }

    fn closed(&mut self, frame: &Frame, event: &Event) {
        let Event::OrderClosed { order_id, account, client_order_id, status, cum_qty, .. } = event else { return };
        let name = (account.to_string(), client_order_id.to_string());
        self.names.insert(name, Some(frame.log_time.0));
        match self.orders.remove(order_id) {
            None => self.wrong(frame, &format!("order {order_id} closed, which was not open")),
            Some(order) if order.cum != cum_qty.0 || (*status == OrderStatus::Filled) != (order.leaves == 0) => {
                self.wrong(frame, &format!("order {order_id} closed as {status:?} with {} filled", order.cum));
            }
            Some(_) => {}
        }
    }

    fn executed(&mut self, frame: &Frame, event: &Event) {
        let Event::OrderExecuted { order_id, exchange_epoch, exec_id, order, status, cum_qty, leaves_qty } = event
        else {
            return;
        };
        if self.control.kill_switch {
            self.wrong(frame, &format!("order {order_id} was executed while the kill switch is engaged"));
        }
        let name = order.client_order_id.to_string();
        *self.found.executed.entry(name.clone()).or_default() += 1;
        if let Some(book) = self.books.get(&order.symbol) {
            self.found.lots.insert(name.clone(), book.lot_size.clone());
        }
        let closed_at = (!status.is_open()).then_some(frame.log_time.0);
        match self.names.insert((order.account.to_string(), name.clone()), closed_at) {
            None => {}
            Some(Some(closed_at)) if closed_at + NAME_MEMORY_MS <= frame.log_time.0 => {}
            Some(_) => self.wrong(frame, &format!("client order id {name} executed twice")),
        }
        let last = self.last_exec.insert(order.symbol.clone(), *exec_id).unwrap_or(0);
        if *exchange_epoch != self.exchange_epoch || *exec_id != last + 1 {
            self.wrong(frame, &format!("{}: exec_id {exec_id} of epoch {exchange_epoch} is out of turn", order.symbol));
        }
        if leaves_qty.0 == 0 {
            self.not_resting.push(*order_id);
        }
        self.orders.insert(
            *order_id,
            Order {
                name,
                account: order.account.to_string(),
                symbol: order.symbol.clone(),
                side: order.side,
                price: order.price.map(|price| price.0),
                leaves: order.qty.0,
                cum: 0,
            },
        );
        // The fills of this frame come next and must leave exactly this.
        let filled: i64 = frame
            .events
            .iter()
            .filter_map(|event| match event {
                Event::FillCommitted(fill) if fill.taker_order_id == *order_id => Some(fill.qty.0),
                _ => None,
            })
            .sum();
        let rests = (leaves_qty.0 != 0).then_some(leaves_qty.0);
        let stands = match (rests, filled) {
            (None, filled) if filled == order.qty.0 => *status == OrderStatus::Filled,
            (None, _) => !status.is_open() && *status != OrderStatus::Filled,
            (Some(_), 0) => *status == OrderStatus::New,
            (Some(_), _) => *status == OrderStatus::PartiallyFilled,
        };
        if cum_qty.0 != filled || rests.is_some_and(|rests| rests != order.qty.0 - filled) || !stands {
            let what = format!("order {order_id} is {status:?}, {cum_qty} filled and {leaves_qty} resting");
            self.wrong(frame, &format!("{what}, of {} with fills of {filled}", order.qty));
        }
    }

    fn filled(&mut self, frame: &Frame, fill: &FillCommitted) {
        self.found.fills += 1;
        if self.last_trade.is_some_and(|last| fill.trade_id != last + 1) {
            self.wrong(frame, &format!("trade id {} is out of turn", fill.trade_id));
        }
        self.last_trade = Some(fill.trade_id);
        self.take(frame, fill.taker_order_id, fill, fill.taker_side);
        match &fill.maker {
            FilledMaker::Order { order_id, leaves, .. } => {
                self.take(frame, *order_id, fill, fill.taker_side.opposite());
                let fits = |order: &Order| order.leaves == leaves.0 && order.price == Some(fill.price.0);
                if self.orders.get(order_id).is_some_and(|order| !fits(order)) {
                    self.wrong(frame, &format!("order {order_id}: leaves do not add up, or it rests at another price"));
                }
            }
            FilledMaker::Quote { quote_id, epoch, leaves, position, position_seq, .. } => {
                self.found.quote_fills += 1;
                self.quote_filled(frame, fill, (*quote_id, *epoch, leaves.0, position.0, *position_seq));
            }
        }
    }

    fn take(&mut self, frame: &Frame, order_id: u64, fill: &FillCommitted, side: Side) {
        let Some(order) = self.orders.get_mut(&order_id) else {
            return self.wrong(frame, &format!("a fill of order {order_id}, which is not open"));
        };
        order.leaves -= fill.qty.0;
        order.cum += fill.qty.0;
        let within = order.price.is_none_or(|limit| match side {
            Side::Buy => fill.price.0 <= limit,
            Side::Sell => fill.price.0 >= limit,
        });
        let sound = order.leaves >= 0 && order.side == side && order.symbol == fill.symbol && within;
        let name = order.name.clone();
        let account = order.account.clone();
        let first = self.found.trades.entry(name).or_default().insert(fill.trade_id, fill.qty.0).is_none();
        // One order on both sides of one trade would be two entries of one account: never planned.
        if !sound || !first {
            self.wrong(frame, &format!("trade {} does not fit order {order_id} of {account}", fill.trade_id));
        }
    }

    fn quote_filled(&mut self, frame: &Frame, fill: &FillCommitted, seen: (u64, u64, i64, i64, u64)) {
        let (quote_id, epoch, leaves, position, position_seq) = seen;
        let time = frame.log_time.0;
        let book = self.books.entry(fill.symbol.clone()).or_default();
        let signed = if fill.taker_side == Side::Buy { -fill.qty.0 } else { fill.qty.0 };
        book.position += signed;
        book.position_seq += 1;
        let adds_up = book.position == position && book.position_seq == position_seq;
        let held = book.epoch == epoch && book.holder.is_some();
        let sound = match &mut book.quote {
            Some(quote) if quote.id == quote_id && quote.epoch == epoch && time < quote.deadline => {
                let side = if fill.taker_side == Side::Buy { &mut quote.ask } else { &mut quote.bid };
                side.1 -= fill.qty.0;
                side.0 == fill.price.0 && side.1 == leaves && leaves >= 0
            }
            _ => false,
        };
        if !adds_up {
            self.wrong(frame, &format!("{}: the position is not the sum of its fills", fill.symbol));
        }
        if !sound || !held {
            self.wrong(frame, &format!("trade {}: filled from a quote that could not be filled", fill.trade_id));
        }
    }

    fn exposure(&mut self, frame: &Frame) {
        let (mut long, mut short) = (0, 0);
        for (symbol, book) in &self.books {
            let Some(quote) = &book.quote else { continue };
            let (buys, sells) =
                self.control.lots_at_risk(&self.money, symbol, book.per_lot, (quote.bid.0, quote.ask.0));
            long += i128::from(quote.bid.1) * buys;
            short += i128::from(quote.ask.1) * sells;
        }
        self.found.exposure_max = self.found.exposure_max.max(long).max(short);
        if long.max(short) > self.found.limit {
            let limit = self.found.limit;
            self.wrong(frame, &format!("exposure {long} long, {short} short, over the limit {limit}"));
        }
    }

    /// The findings, with the positions at the end.
    #[must_use]
    pub fn finish(mut self) -> Findings {
        self.found.whole = self.whole;
        self.found.positions = self.books.into_iter().map(|(symbol, book)| (symbol, book.position)).collect();
        self.found
    }
}

/// Whether a quote that is placed or kept at `time` may live until `deadline`.
fn lives_as_long_as_it_may(time: u64, deadline: u64) -> bool {
    QUOTE_TTL_MS.contains(&deadline.saturating_sub(time))
}

/// Whether what a quote is said to have ended for is there.
fn may_end(frame: &Frame, symbol: &Symbol, quote: &Quote, turn: Option<Turn>, reason: QuoteEndReason) -> bool {
    let time = frame.log_time.0;
    let happens = |wanted: &dyn Fn(&Event) -> bool| frame.events.iter().any(wanted);
    match reason {
        QuoteEndReason::Expired => quote.deadline <= time,
        QuoteEndReason::Pulled => quote.deadline > time,
        // Judged by its leaves.
        QuoteEndReason::Filled => true,
        QuoteEndReason::AuthorityEnded => {
            happens(&|event| matches!(event, Event::AuthorityEnded { symbol: of, .. } if of == symbol))
        }
        QuoteEndReason::QuotingOff => {
            decided(frame, |change| matches!(change, ControlChange::Quoting { on: false, .. }))
        }
        QuoteEndReason::KillSwitch => {
            decided(frame, |change| matches!(change, ControlChange::KillSwitch { engaged: true }))
        }
        QuoteEndReason::LimitLowered => decided(frame, |change| matches!(change, ControlChange::ExposureLimit { .. })),
        QuoteEndReason::PositionLimit => {
            decided(frame, |change| matches!(change, ControlChange::PositionLimit { symbol: of, .. } if of == symbol))
        }
        QuoteEndReason::Breaker => happens(&|event| matches!(event, Event::BreakerTripped { .. })),
        QuoteEndReason::Protection => {
            happens(&|event| matches!(event, Event::ProtectionTripped { symbol: of, .. } if of == symbol))
        }
        QuoteEndReason::TurnEnded => matches!(turn, Some(Turn::Running { until }) if until.0 <= time),
        QuoteEndReason::AgeUnproven => happens(&|event| matches!(event, Event::TermBegan { quotes_pulled: true, .. })),
        QuoteEndReason::Replaced => {
            happens(&|event| matches!(event, Event::QuoteRefused { symbol: of, keep: false, .. } if of == symbol))
        }
    }
}

/// What holding a publisher's journal against a replay gives.
#[derive(Debug, Default)]
pub struct Held {
    /// Fills that a publisher was told of.
    pub acked_fills: u64,
    /// Of those, not committed.
    pub lost: u64,
    /// Fills or orders that count twice.
    pub doubled: u64,
    /// Orders committed that no publisher meant to send, or filled of which it was told that they were refused.
    pub unasked: u64,
    /// In words.
    pub violations: Vec<String>,
}

/// Holds the journal against the replay: all that was acknowledged is committed once, and nothing else is.
#[must_use]
pub fn hold(found: &Findings, journal: &Journal) -> Held {
    let mut held = Held::default();
    let nothing = BTreeMap::new();
    for (name, sent) in &journal.orders {
        let committed = found.trades.get(name).unwrap_or(&nothing);
        let lot = found.lots.get(name).and_then(|lot| scaled(lot)).unwrap_or(0);
        for (trade_id, qty) in &sent.trades {
            held.acked_fills += 1;
            let same = committed.get(trade_id).is_some_and(|lots| scaled(qty) == Some(i128::from(*lots) * lot));
            if !same {
                held.lost += 1;
                held.violations.push(format!("{name}: trade {trade_id} of {qty} was acknowledged, not committed so"));
            }
        }
        // What is told of an order that was settled later comes without its trades, but with its sum.
        let filled = i128::from(committed.values().sum::<i64>()) * lot;
        if sent.executed_qty.as_deref().and_then(scaled).is_some_and(|told| told > filled) {
            held.lost += 1;
            held.violations.push(format!("{name}: more was acknowledged as executed than is committed"));
        }
        let executed = found.executed.get(name).copied().unwrap_or(0);
        if sent.order_id.is_some() && executed == 0 {
            held.lost += 1;
            held.violations.push(format!("{name}: acknowledged and not committed"));
        }
        let denied = sent.status.as_deref().is_some_and(|status| status.starts_with("refused") || status == "NOT_SENT");
        if denied && !committed.is_empty() {
            held.unasked += 1;
            held.violations.push(format!("{name}: said to be refused, and filled"));
        }
        if executed > 1 || sent.intents > 1 {
            held.doubled += 1;
            held.violations.push(format!("{name}: executed {executed} times, meant {} times", sent.intents));
        }
    }
    for name in found.executed.keys() {
        if !journal.orders.contains_key(name) {
            held.unasked += 1;
            held.violations.push(format!("{name}: committed, and nobody asked for it"));
        }
    }
    held.violations.truncate(100);
    held
}
