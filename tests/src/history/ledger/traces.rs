//! Which events a command leaves behind: so that an unknown one is tried only where it may be what happened.

use quorate_ledger::{Command, Event};

/// Whether one of `events` may be of `command`, were it applied there. Whether it is, the model says.
pub(super) fn may_explain(command: &Command, events: &[Event]) -> bool {
    events.iter().any(|event| leaves(command, event))
}

fn leaves(command: &Command, event: &Event) -> bool {
    match (command, event) {
        (Command::DefineSymbol(define), Event::SymbolDefined { symbol, .. }) => *symbol == define.symbol,
        (Command::SetExposureLimit(set), Event::ExposureLimitChanged { limit, control_version }) => {
            *limit == set.limit && *control_version == set.control_version + 1
        }
        (Command::SetQuoting(set), Event::QuotingChanged { scope, control_version, .. }) => {
            *scope == set.scope && *control_version == set.control_version + 1
        }
        (Command::SetKillSwitch(set), Event::KillSwitchChanged { engaged, control_version }) => {
            *engaged == set.engaged && (set.engaged || *control_version == set.control_version + 1)
        }
        (Command::UpgradeLedger(upgrade), Event::LedgerUpgraded { control_version, .. }) => {
            *control_version == upgrade.control_version + 1
        }
        (Command::RegisterMaker(register), Event::MakerRegistered { maker, .. }) => *maker == register.maker,
        (Command::RenewMaker(renew), Event::MakerRenewed { incarnation, .. }) => *incarnation == renew.incarnation,
        (Command::DeregisterMaker(leave), Event::MakerDeparted { incarnation, .. }) => {
            *incarnation == leave.incarnation
        }
        (Command::ReleaseSymbol(release), Event::AuthorityEnded { symbol, epoch, .. }) => {
            *symbol == release.symbol && *epoch == release.epoch
        }
        (Command::PlaceQuote(place), Event::QuotePlaced(placed)) => {
            placed.symbol == place.symbol && (placed.epoch, placed.quote_seq) == (place.epoch, place.quote_seq)
        }
        (Command::PlaceQuote(place), Event::QuoteRefused { symbol, incarnation, quote_seq, .. }) => {
            *symbol == place.symbol && (*incarnation, *quote_seq) == (place.incarnation, place.quote_seq)
        }
        (Command::PullQuote(pull), Event::QuoteEnded { symbol, .. }) => *symbol == pull.symbol,
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
