//! The state as it is read: positions, exposure, quotes, authority, makers, symbols, orders, fills.

use std::collections::BTreeMap;

use quorate_api::Read;
use quorate_client::OrderQuery;
use quorate_domain::{Instrument, Price, Qty, Symbol};
use quorate_ledger::{FilledMaker, Turn};

use crate::{
    Ctl,
    args::OrdersArgs,
    failure::CtlError,
    output::{Grid, or_dash, remaining},
};

/// The instruments of all symbols: for showing ticks and lots in units.
#[derive(Debug, Default)]
pub(crate) struct Instruments(BTreeMap<Symbol, Instrument>);

impl Instruments {
    pub(crate) fn learn(&mut self, symbol: Symbol, instrument: Instrument) {
        self.0.insert(symbol, instrument);
    }

    pub(crate) fn price(&self, symbol: &Symbol, price: Price) -> String {
        self.0
            .get(symbol)
            .map_or_else(|| format!("{price} ticks"), |instrument| instrument.tick_size.times(price.0.into()))
    }

    pub(crate) fn qty(&self, symbol: &Symbol, qty: Qty) -> String {
        self.0.get(symbol).map_or_else(|| format!("{qty} lots"), |instrument| instrument.lot_size.times(qty.0.into()))
    }
}

/// A serde name of a unit variant, such as `limit_maker`.
pub(crate) fn word<T: serde::Serialize>(value: &T) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(text)) => text,
        Ok(other) => other.to_string(),
        Err(_) => "?".to_owned(),
    }
}

pub(crate) fn footer<T>(read: &Read<T>, grid: Grid) -> String {
    let freshness = word(&read.consistency);
    format!("{}\nat index {}, from node {}, {freshness}", grid.finish(), read.applied_index, read.node_id)
}

impl Ctl {
    pub(crate) async fn instruments(&self) -> Result<Instruments, CtlError> {
        let symbols = self.client.symbols(&self.read()).await?;
        Ok(Instruments(symbols.data.into_iter().map(|view| (view.symbol, view.instrument)).collect()))
    }

    pub(crate) async fn positions(&mut self, symbol: Option<&Symbol>) -> Result<(), CtlError> {
        let read = self.client.positions(symbol, &self.read()).await?;
        self.out.show(&read, |read| {
            let columns = [
                "symbol",
                ">position",
                ">lots",
                ">fills",
                ">bought",
                ">sold",
                ">cash",
                ">mark",
                ">realised",
                ">unrealised",
                ">fees paid",
            ];
            let mut grid = Grid::new(&columns);
            for view in &read.data {
                grid.row([
                    view.symbol.to_string(),
                    view.position_units.clone(),
                    view.position.to_string(),
                    view.position_seq.to_string(),
                    view.bought.to_string(),
                    view.sold.to_string(),
                    view.cash.to_string(),
                    or_dash(view.mark.as_ref().map(|mark| &mark.price)),
                    view.realised.to_string(),
                    or_dash(view.unrealised),
                    view.fees.to_string(),
                ]);
            }
            footer(read, grid)
        })
    }

    pub(crate) async fn exposure(&mut self) -> Result<(), CtlError> {
        let read = self.client.exposure(&self.read()).await?;
        self.out.show(&read, |read| {
            let now = read.log_time;
            let mut grid = Grid::new(&["symbol", ">long", ">short", "long waits", "short waits"]);
            for row in &read.data.symbols {
                grid.row([
                    row.symbol.to_string(),
                    row.long.to_string(),
                    row.short.to_string(),
                    or_dash(row.long_demand_until.map(|until| remaining(until, now))),
                    or_dash(row.short_demand_until.map(|until| remaining(until, now))),
                ]);
            }
            let data = &read.data;
            let sums = format!("long {} and short {} of {} units each side", data.long, data.short, data.limit);
            format!("{sums} (hard limit {})\n{}", data.hard_limit, footer(read, grid))
        })
    }

    pub(crate) async fn waiting(&mut self) -> Result<(), CtlError> {
        let read = self.client.waiting(&self.read()).await?;
        self.out.show(&read, |read| {
            let mut grid = Grid::new(&["symbol", "place", ">long lot", ">short lot", "lot"]);
            for row in &read.data {
                let place = match row.turn {
                    Turn::Running { until } => format!("its turn, for {}", remaining(until, read.log_time)),
                    Turn::Offered { until } => format!("offered, for {}", remaining(until, read.log_time)),
                    Turn::Waiting { since } => format!("waits since index {since}"),
                };
                let kept = if row.set_aside { "kept free" } else { "-" };
                let (long, short) = (row.long_lot.to_string(), row.short_lot.to_string());
                grid.row([row.symbol.to_string(), place, long, short, kept.to_owned()]);
            }
            footer(read, grid)
        })
    }

    pub(crate) async fn quotes(&mut self, symbol: Option<&Symbol>) -> Result<(), CtlError> {
        let read = self.client.quotes(symbol, &self.read()).await?;
        self.out.show(&read, |read| {
            let columns =
                ["symbol", ">bid qty", ">bid", ">ask", ">ask qty", "maker", ">epoch", ">seq", "cause", "expires in"];
            let mut grid = Grid::new(&columns);
            for view in &read.data {
                grid.row([
                    view.symbol.to_string(),
                    or_dash(view.bid.as_ref().map(|side| &side.leaves_units)),
                    or_dash(view.bid.as_ref().map(|side| &side.price_units)),
                    or_dash(view.ask.as_ref().map(|side| &side.price_units)),
                    or_dash(view.ask.as_ref().map(|side| &side.leaves_units)),
                    view.maker.to_string(),
                    view.epoch.to_string(),
                    view.quote_seq.to_string(),
                    word(&view.cause),
                    remaining(view.deadline, read.log_time),
                ]);
            }
            footer(read, grid)
        })
    }

    pub(crate) async fn authority(&mut self) -> Result<(), CtlError> {
        let read = self.client.authority(&self.read()).await?;
        self.out.show(&read, |read| {
            let now = read.log_time;
            let mut grid =
                Grid::new(&["symbol", ">epoch", "holder", ">incarnation", "lease", "moves to", "at the latest in"]);
            for view in &read.data {
                grid.row([
                    view.symbol.to_string(),
                    view.epoch.to_string(),
                    or_dash(view.holder.as_ref()),
                    or_dash(view.incarnation),
                    or_dash(view.deadline.map(|deadline| remaining(deadline, now))),
                    or_dash(view.moving_to.as_ref()),
                    or_dash(view.moving_until.map(|until| remaining(until, now))),
                ]);
            }
            footer(read, grid)
        })
    }

    pub(crate) async fn makers(&mut self) -> Result<(), CtlError> {
        let read = self.client.makers(&self.read()).await?;
        self.out.show(&read, |read| {
            let mut grid = Grid::new(&["maker", ">incarnation", ">ttl ms", "lease", ">symbols", "quoting", "holds"]);
            for view in &read.data {
                let mut holds: Vec<_> = view.holds.iter().take(8).map(|held| held.symbol.to_string()).collect();
                if view.holds.len() > holds.len() {
                    holds.push("..".to_owned());
                }
                grid.row([
                    view.maker.to_string(),
                    view.incarnation.to_string(),
                    view.ttl_ms.to_string(),
                    remaining(view.deadline, read.log_time),
                    view.holds.len().to_string(),
                    on_off(view.quoting),
                    holds.join(" "),
                ]);
            }
            footer(read, grid)
        })
    }

    pub(crate) async fn symbols(&mut self) -> Result<(), CtlError> {
        let read = self.client.symbols(&self.read()).await?;
        self.out.show(&read, |read| {
            let mut grid =
                Grid::new(&["symbol", "base", "quote", ">tick size", ">lot size", ">exposure per lot", "quoting"]);
            for view in &read.data {
                grid.row([
                    view.symbol.to_string(),
                    view.instrument.base.to_string(),
                    view.instrument.quote.to_string(),
                    view.instrument.tick_size.to_string(),
                    view.instrument.lot_size.to_string(),
                    view.instrument.exposure_per_lot.to_string(),
                    on_off(view.quoting),
                ]);
            }
            footer(read, grid)
        })
    }

    pub(crate) async fn orders(&mut self, args: OrdersArgs) -> Result<(), CtlError> {
        let query = OrderQuery {
            account: args.account,
            client_order_id: args.client_order_id,
            order_id: args.order_id,
            symbol: args.symbol,
            open: args.open,
            limit: args.limit,
            after: args.after,
        };
        let read = self.client.orders(&query, &self.read()).await?;
        if self.out.is_json() {
            return self.out.object(&read);
        }
        let instruments = self.instruments().await?;
        let columns = [
            ">order",
            "account",
            "client order id",
            "symbol",
            "side",
            "type",
            "tif",
            ">price",
            ">qty",
            ">filled",
            "status",
        ];
        let mut grid = Grid::new(&columns);
        for view in &read.data {
            let (id, account, status) = (view.order_id.to_string(), view.account.to_string(), word(&view.status));
            let Some(sent) = &view.sent else {
                // Of a closed order the ledger keeps lots, not what a lot is.
                let filled = format!("{} lots", view.cum_qty);
                let unknown = || "-".to_owned();
                let [name, symbol, side, order_type, tif, price, qty] = std::array::from_fn(|_| unknown());
                grid.row([id, account, name, symbol, side, order_type, tif, price, qty, filled, status]);
                continue;
            };
            grid.row([
                id,
                account,
                sent.client_order_id.to_string(),
                sent.symbol.to_string(),
                word(&sent.side),
                word(&sent.order_type),
                word(&sent.time_in_force),
                or_dash(sent.price.map(|price| instruments.price(&sent.symbol, price))),
                instruments.qty(&sent.symbol, sent.qty),
                instruments.qty(&sent.symbol, view.cum_qty),
                status,
            ]);
        }
        self.out.line(&footer(&read, grid))
    }

    pub(crate) async fn fills(
        &mut self,
        from: u64,
        limit: Option<usize>,
        symbol: Option<&Symbol>,
    ) -> Result<(), CtlError> {
        let read = self.client.fills(from, limit, symbol, &self.read()).await?;
        if self.out.is_json() {
            return self.out.object(&read);
        }
        let instruments = self.instruments().await?;
        let columns = [">index", ">trade", "symbol", "taker", ">price", ">qty", "against", ">position after"];
        let mut grid = Grid::new(&columns);
        for view in &read.data.fills {
            let fill = &view.fill;
            let (against, position) = match &fill.maker {
                FilledMaker::Quote { quote_id, maker, position, .. } => {
                    (format!("quote {quote_id} of {maker}"), instruments.qty(&fill.symbol, Qty(position.0)))
                }
                FilledMaker::Order { order_id, account, .. } => {
                    (format!("order {order_id} of {account}"), "-".to_owned())
                }
            };
            grid.row([
                view.index.to_string(),
                fill.trade_id.to_string(),
                fill.symbol.to_string(),
                word(&fill.taker_side),
                instruments.price(&fill.symbol, fill.price),
                instruments.qty(&fill.symbol, fill.qty),
                against,
                position,
            ]);
        }
        let rest = read.data.next_from.map_or_else(String::new, |next| format!("\nmore: --from {next}"));
        self.out.line(&format!("{}{rest}\nkept from index {} on", footer(&read, grid), read.data.first_index))
    }
}

pub(crate) fn on_off(on: bool) -> String {
    if on { "on" } else { "off" }.to_owned()
}
