//! Money as reads show it: profit, balances, breakers.

use std::collections::BTreeMap;

use quorate_domain::{Account, Asset, Millis, Money, Position, Protection, Qty, RefPrice, Side, Symbol};
use quorate_ledger::{Event, FillCommitted, FilledMaker};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::views::OpeningBalance;

/// Where a symbol's price is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MarkView {
    /// Half ticks.
    pub half_ticks: RefPrice,
    /// The same, in units of the quote asset.
    pub price: String,
    /// When its source last changed or confirmed it.
    pub time: Millis,
}

/// Profit in one quote asset, of which all sums are amounts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PnlView {
    /// The asset.
    pub asset: Asset,
    /// Cash, and positions at the marks that count; a position without any at its cost.
    pub equity: Money,
    /// Received less paid, fees included.
    pub cash: Money,
    /// What closing brought.
    pub realised: Money,
    /// Equity less cash, less what the open positions cost.
    pub unrealised: Money,
    /// What the house paid in fees.
    pub fees: Money,
    /// Log time since which a position has had no fresh mark: equity may be old.
    pub unmarked_since: Option<Millis>,
    /// The highest equity at which all positions had fresh marks, or that at which the breaker was rearmed.
    pub high_water: Money,
}

/// What limits losses and what has tripped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BreakersView {
    /// By quote asset.
    pub drawdowns: Vec<DrawdownView>,
    /// Symbols that have a protection.
    pub protections: Vec<ProtectionView>,
}

/// The breaker on the equity of a quote asset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DrawdownView {
    /// The asset.
    pub asset: Asset,
    /// Its equity.
    pub equity: Money,
    /// Its high-water mark.
    pub high_water: Money,
    /// How far below that equity may fall; none for no limit.
    pub limit: Option<Money>,
    /// Whether it has tripped: nothing in the asset is quoted until an operator rearms it.
    pub tripped: bool,
    /// Log time since which a position has had no fresh mark.
    pub unmarked_since: Option<Millis>,
}

/// The protection of a symbol.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProtectionView {
    /// The symbol.
    pub symbol: Symbol,
    /// Its limits.
    pub protection: Protection,
    /// Lots filled in the window that is open.
    pub lots: Qty,
    /// When that window ends; none where none is open.
    pub window_until: Option<Millis>,
    /// Until then it is not quoted, where it has tripped.
    pub paused_until: Option<Millis>,
}

/// What everybody has. Per asset, accounts, house and fees sum to the deposits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BalancesView {
    /// Accounts that have a record, by name: those asked for, or a page of them.
    pub accounts: Vec<AccountView>,
    /// What the house has, by asset: cash and positions.
    pub house: Vec<AmountView>,
    /// Fees that were paid, by asset.
    pub fees: Vec<AmountView>,
    /// What was deposited less what was taken out, by asset.
    pub deposits: Vec<AmountView>,
    /// Where to go on, where the limit cut the answer short: `after` of the next page.
    pub next_after: Option<Account>,
}

/// What an account has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AccountView {
    /// The account.
    pub account: Account,
    /// Whether it may not go below 0.
    pub limited: bool,
    /// Of every asset that it ever had.
    pub balances: Vec<BalanceView>,
}

/// What an account has of one asset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BalanceView {
    /// The asset.
    pub asset: Asset,
    /// All of it.
    pub total: Money,
    /// Of that, what open orders and short contracts lock.
    pub locked: Money,
    /// The rest.
    pub free: Money,
}

/// So much of an asset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AmountView {
    /// The asset.
    pub asset: Asset,
    /// How much.
    pub amount: Money,
}

impl OpeningBalance {
    /// Takes what an event did to a symbol's position into the balances from before it.
    pub fn carry(balances: &mut BTreeMap<Symbol, Self>, event: &Event) {
        let (symbol, position, position_seq, received) = match event {
            Event::FillCommitted(FillCommitted {
                symbol,
                taker_side,
                notional,
                maker_fee,
                maker: FilledMaker::Quote { position, position_seq, .. },
                ..
            }) => {
                // The quote takes the other side of the taker's trade, and pays its fee.
                let traded = match taker_side {
                    Side::Buy => notional.0,
                    Side::Sell => -notional.0,
                };
                (symbol, *position, *position_seq, traded - maker_fee.0)
            }
            Event::SymbolClosed { symbol, settled: Some(settlement) } => {
                (symbol, Position::ZERO, settlement.position_seq, settlement.cash.0)
            }
            _ => return,
        };
        let before = balances.get(symbol).map_or(Money::ZERO, |balance| balance.cash);
        // The ledger has checked the ranges.
        let cash = Money(before.0.saturating_add(received));
        balances.insert(symbol.clone(), Self { symbol: symbol.clone(), position, position_seq, cash });
    }
}
