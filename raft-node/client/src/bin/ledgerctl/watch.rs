//! Events in plain words, one a line.

use quorate_domain::{ExposureBasis, Instrument, Millis, Money, Position, Qty, QuoteSide, Side, Symbol};
use quorate_ledger::{
    AuthorityEndReason, ControlChange, DepartReason, Event, FillCommitted, FilledMaker, Frame, NewOrder, OrderStatus,
    QuoteEndReason, QuotePlaced, Settlement, Turn,
};

use crate::state::{Instruments, on_off, word};

/// A day, in milliseconds.
const DAY_MS: u64 = 86_400_000;

/// The lines of a frame. Renewals of leases and marks are left out unless `all` is set: they are most of all events.
pub(crate) fn lines(frame: &Frame, instruments: &mut Instruments, all: bool) -> Vec<String> {
    let mut lines = Vec::new();
    for event in &frame.events {
        if let Event::SymbolDefined { symbol, instrument } = event {
            instruments.learn(symbol.clone(), instrument.clone());
        }
        if all || !matches!(event, Event::MakerRenewed { .. } | Event::MarksPublished { .. }) {
            lines.push(format!("{:>10}  {}  {}", frame.index, clock(frame.log_time), tell(event, instruments)));
        }
    }
    lines
}

/// The time of day, in UTC.
fn clock(at: Millis) -> String {
    let ms = at.0 % DAY_MS;
    format!("{:02}:{:02}:{:02}.{:03}", ms / 3_600_000, ms / 60_000 % 60, ms / 1_000 % 60, ms % 1_000)
}

fn tell(event: &Event, instruments: &Instruments) -> String {
    match event {
        Event::TermBegan { term, graced, quotes_pulled, clock_jump_ms } => {
            let graced = if *graced > 0 { format!(", {graced} makers got more time") } else { String::new() };
            let pulled = if *quotes_pulled { ", all quotes ended, for their age is not known" } else { "" };
            let jump =
                if *clock_jump_ms > 0 { format!(", the clock jumped by {clock_jump_ms} ms") } else { String::new() };
            format!("term {term} begins{graced}{pulled}{jump}")
        }
        Event::SymbolDefined { symbol, instrument } => {
            let Instrument { base, quote, tick_size, lot_size, .. } = instrument;
            format!("{symbol} is defined: {base} for {quote}, tick {tick_size}, lot {lot_size}")
        }
        Event::ControlChanged { control_version, actor, reason, change } => {
            format!("{} (control version {control_version}, by {actor}: {reason})", tell_change(change))
        }
        Event::MakerRegistered { maker, incarnation, .. } => format!("{maker} joins (incarnation {incarnation})"),
        Event::MakerRenewed { maker, deadline, .. } => format!("{maker} stays until {}", clock(*deadline)),
        Event::MakerDeparted { maker, reason, .. } => {
            let why = match reason {
                DepartReason::Left => "it said so",
                DepartReason::Expired => "its lease ran out",
                DepartReason::Superseded => "its name registered again",
            };
            format!("{maker} leaves: {why}")
        }
        Event::AuthorityGranted { symbol, maker, epoch, .. } => format!("{symbol}: held by {maker} (epoch {epoch})"),
        Event::AuthorityMoving { symbol, to: Some(to), until, .. } => {
            format!("{symbol}: is to move to {to}, by {} at the latest", clock(*until))
        }
        Event::AuthorityMoving { symbol, to: None, .. } => format!("{symbol}: stays with its holder"),
        Event::AuthorityEnded { symbol, maker, reason, .. } => {
            let why = match reason {
                AuthorityEndReason::Released => "given up",
                AuthorityEndReason::MoveDeadline => "not given up in time",
                AuthorityEndReason::MakerLeft => "the maker left",
                AuthorityEndReason::LeaseExpired => "the maker's lease ran out",
                AuthorityEndReason::Unlisted => "the exchange has no price source for it",
                AuthorityEndReason::SymbolClosed => "the symbol has ended",
            };
            format!("{symbol}: no longer held by {maker}: {why}")
        }
        Event::ParametersCommitted { maker, symbol, text, .. } => format!("{symbol}: {maker} quotes by {text}"),
        Event::QuoteKept { symbol, quote_id, deadline, .. } => {
            format!("{symbol}: quote {quote_id} is kept until {}", clock(*deadline))
        }
        Event::MarksPublished { marks } => {
            let counts = marks.iter().filter(|mark| mark.counts).count();
            format!("{counts} prices are published, {} wait for another to confirm them", marks.len() - counts)
        }
        Event::ListingChanged { symbols } => {
            let names: Vec<&str> = symbols.iter().map(Symbol::as_str).collect();
            format!(
                "the exchange has price sources for {}",
                if names.is_empty() { "none".to_owned() } else { names.join(", ") }
            )
        }
        Event::BreakerTripped { asset, equity, high_water } => {
            format!(
                "the breaker of {asset} trips: equity is {equity}, after {high_water}; nothing in {asset} is quoted until it is rearmed"
            )
        }
        Event::ProtectionTripped { symbol, until } => {
            format!("{symbol}: too much was filled in a short time: not quoted until {}", clock(*until))
        }
        Event::SymbolClosed { symbol, settled: Some(Settlement { price, cash, .. }) } => {
            format!("{symbol}: settled at {}: the house receives {cash}", instruments.price(symbol, *price))
        }
        Event::SymbolClosed { symbol, settled: None } => format!("{symbol}: closed"),
        Event::TurnChanged { symbol, turn } => tell_turn(symbol, *turn),
        Event::QuotePlaced(quote) => tell_quote(quote, instruments),
        Event::QuoteRefused { symbol, keep: true, refusal, .. } => {
            format!("{symbol}: the quote is not kept: {refusal}")
        }
        Event::QuoteRefused { symbol, keep: false, refusal, .. } => format!("{symbol}: a quote is refused: {refusal}"),
        Event::QuoteEnded { symbol, quote_id, reason, .. } => {
            let why = match reason {
                QuoteEndReason::Expired => "it ran out",
                QuoteEndReason::Pulled => "its maker pulled it",
                QuoteEndReason::Filled => "both sides are filled",
                QuoteEndReason::AuthorityEnded => "its maker no longer holds the symbol",
                QuoteEndReason::QuotingOff => "quoting was turned off",
                QuoteEndReason::KillSwitch => "the kill switch was engaged",
                QuoteEndReason::Replaced => "the quote that was to replace it was refused",
                QuoteEndReason::LimitLowered => "the exposure limit was lowered",
                QuoteEndReason::PositionLimit => "the limit of the position was lowered",
                QuoteEndReason::Breaker => "the drawdown breaker tripped",
                QuoteEndReason::Protection => "too much was filled in a short time",
                QuoteEndReason::TurnEnded => "its turn is over, and others wait",
                QuoteEndReason::AgeUnproven => "a new leader cannot prove its age",
            };
            format!("{symbol}: quote {quote_id} ends: {why}")
        }
        Event::ExchangeRegistered { exchange, exchange_epoch } => {
            format!("exchange {exchange} registers (epoch {exchange_epoch})")
        }
        Event::OrderExecuted { order_id, order, status, cum_qty, .. } => {
            tell_order(*order_id, order, *status, *cum_qty, instruments)
        }
        Event::FillCommitted(fill) => tell_fill(fill, instruments),
        Event::OrderClosed { order_id, symbol, account, status, cum_qty, .. } => {
            let filled = instruments.qty(symbol, *cum_qty);
            format!("{symbol}: order {order_id} of {account} is {}, {filled} filled in all", standing(*status))
        }
    }
}

fn tell_change(change: &ControlChange) -> String {
    match change {
        ControlChange::ExposureLimit { limit } => format!("the exposure limit is {limit} from now on"),
        ControlChange::PositionLimit { symbol, max: Some(max) } => {
            format!("{symbol}: the position may be at most {max} lots from now on, long or short")
        }
        ControlChange::PositionLimit { symbol, max: None } => {
            format!("{symbol}: the position has no limit from now on")
        }
        ControlChange::Quoting { scope, on } => format!("quoting is {} for {scope} from now on", on_off(*on)),
        ControlChange::KillSwitch { engaged: true } => "the kill switch is engaged: no quotes and no orders".to_owned(),
        ControlChange::KillSwitch { engaged: false } => "the kill switch is off".to_owned(),
        ControlChange::ExposureBasis { basis: ExposureBasis::Units, limit } => {
            format!("exposure is counted in units from now on, up to {limit}")
        }
        ControlChange::ExposureBasis { basis: ExposureBasis::WorstLoss { asset }, limit } => {
            format!("exposure is the worst loss in {asset} from now on, up to {}", Money(limit.0))
        }
        ControlChange::Instrument { symbol, revision, .. } => {
            format!("{symbol}: revision {revision} of the instrument")
        }
        ControlChange::Protection { symbol, protection: Some(protection) } => format!(
            "{symbol}: {} lots filled within {} ms stop quoting for {} ms from now on",
            protection.lots_max, protection.window_ms, protection.pause_ms
        ),
        ControlChange::Protection { symbol, protection: None } => format!("{symbol}: no protection from now on"),
        ControlChange::DrawdownLimit { asset, limit: Some(limit) } => {
            format!("{asset}: equity may fall by {limit} below its high-water mark from now on")
        }
        ControlChange::DrawdownLimit { asset, limit: None } => format!("{asset}: no limit of drawdown from now on"),
        ControlChange::Rearm { asset } => format!("the breaker of {asset} is armed again"),
        ControlChange::LimitAccount { account } => format!("account {account} may not go below 0 from now on"),
        ControlChange::Deposit { account, asset, amount } => format!("account {account} is credited {amount} {asset}"),
        ControlChange::Settle { symbol, price } => format!("{symbol} is to settle at {price} ticks"),
        ControlChange::CloseSymbol { symbol } => format!("{symbol} is to close"),
        ControlChange::LedgerVersion { version } => format!("the ledger is at version {version} from now on"),
    }
}

fn tell_turn(symbol: &Symbol, turn: Option<Turn>) -> String {
    match turn {
        Some(Turn::Waiting { .. }) => format!("{symbol}: waits for exposure"),
        Some(Turn::Offered { until }) => format!("{symbol}: is offered one lot a side, until {}", clock(until)),
        Some(Turn::Running { until }) => format!("{symbol}: has its turn, until {}", clock(until)),
        None => format!("{symbol}: waits for exposure no longer"),
    }
}

fn tell_quote(quote: &QuotePlaced, instruments: &Instruments) -> String {
    let symbol = &quote.symbol;
    let side = |name: &str, side: &Option<QuoteSide>| match side {
        Some(side) => {
            format!("{name} {} at {}", instruments.qty(symbol, side.qty), instruments.price(symbol, side.price))
        }
        None => format!("no {name}"),
    };
    let (bid, ask) = (side("bid", &quote.bid), side("ask", &quote.ask));
    let cause = word(&quote.cause).replace('_', " ");
    format!("{symbol}: {} quotes {bid}, {ask} (quote {}; cause: {cause})", quote.maker, quote.quote_id)
}

fn tell_order(order_id: u64, order: &NewOrder, status: OrderStatus, filled: Qty, instruments: &Instruments) -> String {
    let NewOrder { account, symbol, side, order_type, time_in_force, price, qty, .. } = order;
    let price = price.map_or_else(String::new, |price| format!(" at {}", instruments.price(symbol, price)));
    let kind = format!("{} {} {}", word(order_type), word(time_in_force), word(side)).to_uppercase();
    let (qty, filled) = (instruments.qty(symbol, *qty), instruments.qty(symbol, filled));
    format!("{symbol}: order {order_id} of {account}: {kind} {qty}{price}: {}, {filled} filled", standing(status))
}

fn tell_fill(fill: &FillCommitted, instruments: &Instruments) -> String {
    let FillCommitted { trade_id, symbol, price, qty, taker_order_id, taker_side, maker, .. } = fill;
    let (qty, price) = (instruments.qty(symbol, *qty), instruments.price(symbol, *price));
    let (verb, from) = if *taker_side == Side::Buy { ("buys", "from") } else { ("sells", "to") };
    let against = match maker {
        FilledMaker::Quote { quote_id, maker, position, .. } => {
            let position = tell_position(symbol, *position, instruments);
            format!("quote {quote_id} of {maker}; the position is {position}")
        }
        FilledMaker::Order { order_id, account, .. } => format!("order {order_id} of {account}"),
    };
    format!("{symbol}: trade {trade_id}: order {taker_order_id} {verb} {qty} at {price} {from} {against}")
}

fn tell_position(symbol: &Symbol, position: Position, instruments: &Instruments) -> String {
    instruments.qty(symbol, Qty(position.0))
}

fn standing(status: OrderStatus) -> &'static str {
    match status {
        OrderStatus::New => "open",
        OrderStatus::PartiallyFilled => "open, filled in part",
        OrderStatus::Filled => "filled",
        OrderStatus::Cancelled => "cancelled",
        OrderStatus::Rejected => "rejected",
        OrderStatus::Expired => "expired",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The lines that a watcher sees of these events.
    fn watched(events: serde_json::Value, all: bool) -> Vec<String> {
        let chain = "00".repeat(32);
        let frame = json!({"index": 7, "log_time": 1_700_000_003_004_u64, "chain": chain, "events": events});
        let frame: Frame = serde_json::from_value(frame).unwrap();
        let lines = lines(&frame, &mut Instruments::default(), all);
        lines.iter().map(|line| line.trim_start().to_owned()).collect()
    }

    #[test]
    fn events_are_told_in_words_and_units() {
        let instrument =
            json!({"base": "A", "quote": "B", "tick_size": "0.01", "lot_size": "0.001", "exposure_per_lot": 1});
        let told = watched(
            json!([
                {"symbol_defined": {"symbol": "AB", "instrument": instrument}},
                {"quote_placed": {"symbol": "AB", "quote_id": 7, "maker": "maker-a", "incarnation": 1, "epoch": 1,
                    "quote_seq": 1, "position_seq": 0, "bid": {"price": 9900, "qty": 3}, "ask": null, "bid_asked": 3,
                    "ask_asked": 0, "deadline": 1, "cause": "reference_moved", "superseded": null,
                    "basis": {"computed_at": 1, "reference": null, "strategy": "fixed-spread", "version": 1, "parameters": "00".repeat(32)}}},
                {"fill_committed": {"trade_id": 4, "symbol": "AB", "price": 9900, "qty": 2,
                    "notional": "0.198", "taker_fee": "0", "maker_fee": "0", "taker_order_id": 8,
                    "taker_side": "sell", "maker": {"quote": {"quote_id": 7, "maker": "maker-a", "epoch": 1,
                    "leaves": 1, "position": "2", "position_seq": 1}}}},
                {"quote_refused": {"symbol": "AB", "incarnation": 1, "quote_seq": 2, "keep": false,
                    "refusal": {"stale_epoch": {"symbol": "AB", "epoch": 3, "holder": "maker-b"}}}},
                {"control_changed": {"control_version": 5, "actor": "ann", "reason": "all is well",
                    "change": {"kill_switch": {"engaged": false}}}}
            ]),
            false,
        );
        let at = "7  22:13:23.004  ";
        let wanted = [
            "AB is defined: A for B, tick 0.01, lot 0.001",
            "AB: maker-a quotes bid 0.003 at 99.00, no ask (quote 7; cause: reference moved)",
            "AB: trade 4: order 8 sells 0.002 at 99.00 to quote 7 of maker-a; the position is 0.002",
            "AB: a quote is refused: AB is at epoch 3, held by maker-b",
            "the kill switch is off (control version 5, by ann: all is well)",
        ];
        assert_eq!(told, wanted.map(|line| format!("{at}{line}")));
    }

    #[test]
    fn renewals_are_told_only_to_those_who_ask_for_all() {
        let renewed =
            json!([{"maker_renewed": {"maker": "maker-a", "incarnation": 1, "deadline": 1_700_000_005_000_u64}}]);
        assert_eq!(watched(renewed.clone(), false), Vec::<String>::new());
        assert_eq!(watched(renewed, true), ["7  22:13:23.004  maker-a stays until 22:13:25.000"]);
    }
}
