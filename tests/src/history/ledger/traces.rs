//! Which events a command leaves behind: so that an unknown one is tried only where it may be what happened.

use quorate_ledger::{Command, ControlChange, Event};

/// Whether one of `events` may be of `command`, were it applied there. Whether it is, the model says.
pub(super) fn may_explain(command: &Command, events: &[Event]) -> bool {
    events.iter().any(|event| leaves(command, event))
}

fn leaves(command: &Command, event: &Event) -> bool {
    match (command, event) {
        (Command::DefineSymbol(define), Event::SymbolDefined { symbol, .. }) => *symbol == define.symbol,
        (Command::Control(control), Event::ControlChanged { control_version, actor, reason, change }) => {
            let any_version = *change == ControlChange::KillSwitch { engaged: true };
            (change, actor, reason) == (&control.change, &control.actor, &control.reason)
                && (any_version || *control_version == control.control_version + 1)
        }
        (Command::RegisterMaker(register), Event::MakerRegistered { maker, .. }) => *maker == register.maker,
        (Command::RenewMaker(renew), Event::MakerRenewed { incarnation, .. }) => *incarnation == renew.incarnation,
        (Command::DeregisterMaker(leave), Event::MakerDeparted { incarnation, .. }) => {
            *incarnation == leave.incarnation
        }
        (Command::CommitParameters(commit), Event::ParametersCommitted { symbol, incarnation, text, .. }) => {
            (symbol, incarnation, text) == (&commit.symbol, &commit.incarnation, &commit.text)
        }
        (Command::ReleaseSymbol(release), Event::AuthorityEnded { symbol, epoch, .. }) => {
            *symbol == release.symbol && *epoch == release.epoch
        }
        (Command::PlaceQuote(place), Event::QuotePlaced(placed)) => {
            placed.symbol == place.symbol && (placed.epoch, placed.quote_seq) == (place.epoch, place.quote_seq)
        }
        (Command::PlaceQuote(place), Event::QuoteRefused { symbol, incarnation, quote_seq, keep: false, .. }) => {
            *symbol == place.symbol && (*incarnation, *quote_seq) == (place.incarnation, place.quote_seq)
        }
        (Command::KeepQuote(keep), Event::QuoteKept { symbol, quote_id, quote_seq, .. }) => {
            (symbol, *quote_id, *quote_seq) == (&keep.symbol, keep.quote_id, keep.quote_seq)
        }
        (Command::KeepQuote(keep), Event::QuoteRefused { symbol, incarnation, quote_seq, keep: true, .. }) => {
            *symbol == keep.symbol && (*incarnation, *quote_seq) == (keep.incarnation, keep.quote_seq)
        }
        (Command::PullQuote(pull), Event::QuoteEnded { symbol, .. } | Event::TurnChanged { symbol, .. }) => {
            *symbol == pull.symbol
        }
        (Command::RegisterExchange(register), Event::ExchangeRegistered { exchange, .. }) => {
            *exchange == register.exchange
        }
        (Command::ExecuteOrder(execute), Event::OrderExecuted { exchange_epoch, exec_id, order, .. }) => {
            let key = (*exchange_epoch, *exec_id, &order.symbol);
            key == (execute.exchange_epoch, execute.exec_id, &execute.order.symbol)
        }
        (Command::CancelOrder(cancel), Event::OrderClosed { order_id, .. }) => *order_id == cancel.order_id,
        _ => false,
    }
}
