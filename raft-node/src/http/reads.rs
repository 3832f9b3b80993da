//! Reads of the ledger. Linearizable unless `consistency=local` is asked for.

use axum::{
    extract::State,
    http::{HeaderMap, StatusCode},
    response::Response,
};
use quorate_api::{
    AuthorityView, BalancesView, BreakersView, Consistency, ExposureView, FillView, FillsView, MakerView, OrderView,
    PnlView, PositionView, Problem, ProblemKind, QuoteView, ROWS_MAX, Read, SymbolView, WaitingView,
};
use quorate_domain::{Account, ClientOrderId, Symbol};
use quorate_ledger::{Event, KnownOrder, NewOrder};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::{
    deadline,
    extract::{Failure, Query, json},
    money, rows,
};
use crate::node::{Node, Snapshot};

/// How fresh.
#[derive(Debug, Deserialize, IntoParams, ToSchema)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Freshness {
    /// `linearizable` or `local`
    #[serde(default)]
    pub(crate) consistency: Consistency,
    /// Wait until this log index is applied here
    pub(crate) min_index: Option<u64>,
}

/// How fresh, and of which symbol.
#[derive(Debug, Deserialize, IntoParams, ToSchema)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct RowsQuery {
    /// `linearizable` or `local`
    #[serde(default)]
    consistency: Consistency,
    /// Wait until this log index is applied here
    min_index: Option<u64>,
    /// Only this symbol
    symbol: Option<Symbol>,
}

/// Which orders.
#[derive(Debug, Deserialize, IntoParams, ToSchema)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct OrdersQuery {
    /// `linearizable` or `local`
    #[serde(default)]
    consistency: Consistency,
    /// Wait until this log index is applied here
    min_index: Option<u64>,
    /// Only this symbol
    symbol: Option<Symbol>,
    /// Only this account
    account: Option<Account>,
    /// Only the order of this name (needs `account`)
    client_order_id: Option<ClientOrderId>,
    /// Only the order of this id
    order_id: Option<u64>,
    /// Only open orders, or only closed ones
    open: Option<bool>,
    /// Only orders with an id above this
    after: Option<u64>,
    /// Rows at most, 1 to 1000 [default: 1000]
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
}

impl OrdersQuery {
    fn wants(&self, known: &KnownOrder<'_>) -> bool {
        let sent = known.open().map(|open| &open.order);
        self.wants_symbol(sent)
            && self.account.as_ref().is_none_or(|account| account == known.account())
            // Of a closed order it is not kept; where it is named, the order was found by it, or by its id.
            && self.client_order_id.as_ref().is_none_or(|name| sent.is_none_or(|sent| *name == sent.client_order_id))
            && self.open.is_none_or(|open| open == sent.is_some())
            && self.after.is_none_or(|after| known.id() > after)
    }

    /// The symbol of a closed order is not kept: one that is asked for by itself is taken to be of it, a list has none.
    fn wants_symbol(&self, sent: Option<&NewOrder>) -> bool {
        match (&self.symbol, sent) {
            (Some(symbol), Some(sent)) => *symbol == sent.symbol,
            (Some(_), None) => self.is_of_one(),
            (None, _) => true,
        }
    }

    fn is_of_one(&self) -> bool {
        self.order_id.is_some() || self.client_order_id.is_some()
    }
}

/// Which fills.
#[derive(Debug, Deserialize, IntoParams, ToSchema)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct FillsQuery {
    /// `linearizable` or `local`
    #[serde(default)]
    consistency: Consistency,
    /// Wait until this log index is applied here
    min_index: Option<u64>,
    /// Only this symbol
    symbol: Option<Symbol>,
    /// From this log index on [default: the first that is kept]
    from: Option<u64>,
    /// Log indexes to look through at most, 1 to 1000 [default: 1000]
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
}

/// Whose balances.
#[derive(Debug, Deserialize, IntoParams, ToSchema)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct BalancesQuery {
    /// `linearizable` or `local`
    #[serde(default)]
    consistency: Consistency,
    /// Wait until this log index is applied here
    min_index: Option<u64>,
    /// Only this account
    account: Option<Account>,
    /// Only accounts that sort after this one
    after: Option<Account>,
    /// Accounts at most, 1 to 1000 [default: 1000]
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
}

/// A read that is as fresh as asked, at `min_index` or later.
pub(crate) async fn fresh(
    node: &Node,
    headers: &HeaderMap,
    consistency: Consistency,
    min_index: Option<u64>,
) -> Result<Snapshot, Failure> {
    let deadline = deadline(headers)?;
    if let Some(index) = min_index {
        applied(node, headers, index).await?;
    }
    Ok(node.read(consistency, deadline).await?)
}

/// Waits until `index` is applied here.
pub(crate) async fn applied(node: &Node, headers: &HeaderMap, index: u64) -> Result<(), Failure> {
    if node.wait_applied(index, deadline(headers)?).await {
        return Ok(());
    }
    Err(Failure::new(ProblemKind::Timeout, format!("index {index} is not applied here yet")))
}

pub(crate) fn answer<T: serde::Serialize>(
    node: &Node,
    consistency: Consistency,
    snapshot: &Snapshot,
    data: T,
) -> Response {
    let read = Read {
        applied_index: snapshot.applied_index,
        log_time: snapshot.ledger.log_time(),
        node_id: node.id(),
        consistency,
        data,
    };
    json(StatusCode::OK, &read)
}

/// Refuses a symbol that is not defined.
fn defined(snapshot: &Snapshot, symbol: Option<&Symbol>) -> Result<(), Failure> {
    match symbol.filter(|symbol| snapshot.ledger.symbol(symbol).is_none()) {
        Some(symbol) => Err(Failure::new(ProblemKind::NotFound, format!("symbol {symbol} is not defined"))),
        None => Ok(()),
    }
}

macro_rules! rows_of {
    ($(#[$doc:meta])* $name:ident, $path:literal, $view:ty, $rows:path) => {
        $(#[$doc])*
        #[utoipa::path(
            get, path = $path, tag = "reads", params(RowsQuery),
            responses((status = 200, body = Read<$view>), (status = "default", body = Problem))
        )]
        pub(crate) async fn $name(
            State(node): State<Node>,
            headers: HeaderMap,
            Query(query): Query<RowsQuery>,
        ) -> Result<Response, Failure> {
            let snapshot = fresh(&node, &headers, query.consistency, query.min_index).await?;
            defined(&snapshot, query.symbol.as_ref())?;
            let data = $rows(&snapshot.ledger, query.symbol.as_ref());
            Ok(answer(&node, query.consistency, &snapshot, data))
        }
    };
}

rows_of!(
    /// Positions: the sum of the fills of quotes, symbol by symbol.
    positions, "/v1/positions", Vec<PositionView>, rows::positions
);
rows_of!(
    /// The global exposure ledger: what is reserved, by whom, and who waits.
    exposure, "/v1/exposure", ExposureView, rows::exposure
);
rows_of!(
    /// Whose turn it is, and who waits for one lot of exposure, in the order in which they are served.
    waiting, "/v1/waiting", Vec<WaitingView>, rows::waiting
);
rows_of!(
    /// Profit by quote asset; with `symbol`, of the asset that it is quoted in.
    pnl, "/v1/pnl", Vec<PnlView>, money::pnl
);
rows_of!(
    /// The breakers on equity, and the protections of symbols.
    breakers, "/v1/breakers", BreakersView, money::breakers
);
rows_of!(
    /// Active quotes.
    quotes, "/v1/quotes", Vec<QuoteView>, rows::quotes
);
rows_of!(
    /// Who holds which symbol, under which epoch, until when.
    authority, "/v1/authority", Vec<AuthorityView>, rows::authority
);
rows_of!(
    /// Registered makers; with `symbol`, the one that holds it.
    makers, "/v1/makers", Vec<MakerView>, rows::makers
);
rows_of!(
    /// Defined symbols.
    symbols, "/v1/symbols", Vec<SymbolView>, rows::symbols
);

fn rows_limit(limit: Option<usize>) -> Result<usize, Failure> {
    match limit.unwrap_or(ROWS_MAX) {
        limit if (1..=ROWS_MAX).contains(&limit) => Ok(limit),
        _ => Err(Failure::invalid(format!("limit is 1 to {ROWS_MAX}"))),
    }
}

/// Orders, open and closed not long ago, by id. Ask for the next page with `after` set to the last id of this one.
/// Of a closed order neither symbol nor client order id is kept: a list of one symbol holds open orders only.
#[utoipa::path(
    get, path = "/v1/orders", tag = "reads", params(OrdersQuery),
    responses((status = 200, body = Read<Vec<OrderView>>), (status = "default", body = Problem))
)]
pub(crate) async fn orders(
    State(node): State<Node>,
    headers: HeaderMap,
    Query(query): Query<OrdersQuery>,
) -> Result<Response, Failure> {
    let limit = rows_limit(query.limit)?;
    if query.client_order_id.is_some() && query.account.is_none() {
        return Err(Failure::invalid("client_order_id needs account"));
    }
    let snapshot = fresh(&node, &headers, query.consistency, query.min_index).await?;
    defined(&snapshot, query.symbol.as_ref())?;
    let consistency = query.consistency;
    let data: Vec<OrderView> = if query.is_of_one() {
        let ledger = &snapshot.ledger;
        let found = match (query.order_id, &query.account, &query.client_order_id) {
            (None, Some(account), Some(name)) => ledger.order_named(account, name),
            (id, _, _) => id.and_then(|id| ledger.order(id)),
        };
        found.filter(|order| query.wants(order)).as_ref().map(rows::order).into_iter().collect()
    } else {
        let ledger = snapshot.ledger.clone();
        node.walk(deadline(&headers)?, move || {
            let after = query.after.unwrap_or(0);
            let rows = |orders: &mut dyn Iterator<Item = KnownOrder<'_>>| -> Vec<OrderView> {
                orders.filter(|order| query.wants(order)).take(limit).map(|order| rows::order(&order)).collect()
            };
            match (query.open, &query.account) {
                (Some(true), Some(account)) => {
                    rows(&mut ledger.open_orders_of_after(account, after).map(KnownOrder::Open))
                }
                (Some(true), None) => rows(&mut ledger.open_orders_after(after).map(KnownOrder::Open)),
                (Some(false) | None, _) => rows(&mut ledger.orders_after(after)),
            }
        })
        .await?
    };
    Ok(answer(&node, consistency, &snapshot, data))
}

/// What accounts, the house and the fees have. Ask for the next page of accounts with `after` set to `next_after`.
#[utoipa::path(
    get, path = "/v1/balances", tag = "reads", params(BalancesQuery),
    responses((status = 200, body = Read<BalancesView>), (status = "default", body = Problem))
)]
pub(crate) async fn balances(
    State(node): State<Node>,
    headers: HeaderMap,
    Query(query): Query<BalancesQuery>,
) -> Result<Response, Failure> {
    let limit = rows_limit(query.limit)?;
    let snapshot = fresh(&node, &headers, query.consistency, query.min_index).await?;
    let ledger = snapshot.ledger.clone();
    let (account, after) = (query.account, query.after);
    let walk = move || money::balances(&ledger, account.as_ref(), after.as_ref(), limit);
    let data = node.walk(deadline(&headers)?, walk).await?;
    Ok(answer(&node, query.consistency, &snapshot, data))
}

/// Fills that are still kept, with the positions that came before them.
#[utoipa::path(
    get, path = "/v1/fills", tag = "reads", params(FillsQuery),
    responses((status = 200, body = Read<FillsView>), (status = "default", body = Problem))
)]
pub(crate) async fn fills(
    State(node): State<Node>,
    headers: HeaderMap,
    Query(query): Query<FillsQuery>,
) -> Result<Response, Failure> {
    let limit = rows_limit(query.limit)?;
    let snapshot = fresh(&node, &headers, query.consistency, query.min_index).await?;
    defined(&snapshot, query.symbol.as_ref())?;
    let page = node.history(query.from.unwrap_or(0), limit).await?;
    let mut fills = Vec::new();
    for frame in &page.frames {
        for event in &frame.events {
            if let Event::FillCommitted(fill) = event
                && query.symbol.as_ref().is_none_or(|symbol| *symbol == fill.symbol)
            {
                fills.push(FillView { index: frame.index, log_time: frame.log_time, fill: fill.clone() });
            }
        }
    }
    let data = FillsView { first_index: page.first_index, opening: page.opening, fills, next_from: page.next_from };
    Ok(answer(&node, query.consistency, &snapshot, data))
}
