//! Requests' words and answers' bodies. Prices and quantities are decimal strings on the wire.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::error::ApiError;

macro_rules! words {
    ($(#[$doc:meta])* $name:ident, $code:literal, $msg:literal, { $($(#[$vdoc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$vdoc])* #[serde(rename = $word)] $variant),+
        }

        impl $name {
            /// As it stands on the wire.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = ApiError;
            fn from_str(text: &str) -> Result<Self, ApiError> {
                match text {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(ApiError::new($code, $msg)),
                }
            }
        }
    };
}

words!(
    /// Buy or sell.
    Side, -1117, "Invalid side.", {
        /// Buys.
        Buy = "BUY",
        /// Sells.
        Sell = "SELL",
    }
);
words!(
    /// An order's type.
    OrderType, -1116, "Invalid orderType.", {
        /// At its price or better.
        Limit = "LIMIT",
        /// At any price.
        Market = "MARKET",
        /// Rests, or is rejected where it would take.
        LimitMaker = "LIMIT_MAKER",
    }
);
words!(
    /// Time in force.
    TimeInForce, -1115, "Invalid timeInForce.", {
        /// Good till cancelled.
        Gtc = "GTC",
        /// Immediate or cancel.
        Ioc = "IOC",
        /// Fill or kill.
        Fok = "FOK",
    }
);
words!(
    /// How much of the answer to a new order is wanted.
    ResponseType, -1118, "Invalid newOrderRespType.", {
        /// That it was taken.
        Ack = "ACK",
        /// And where it stands.
        Result = "RESULT",
        /// And its fills.
        Full = "FULL",
    }
);
words!(
    /// What happens where an order meets one of its own account.
    SelfTradePrevention, -1130, "Data sent for parameter 'selfTradePreventionMode' is not valid.", {
        /// They trade.
        None = "NONE",
        /// What is left of the taker ends.
        ExpireTaker = "EXPIRE_TAKER",
        /// The resting order ends, and the taker goes on.
        ExpireMaker = "EXPIRE_MAKER",
        /// Both end.
        ExpireBoth = "EXPIRE_BOTH",
    }
);
words!(
    /// Whether a symbol trades now.
    SymbolStatus, -1122, "Invalid symbolStatus.", {
        /// It does.
        Trading = "TRADING",
        /// It does not for now.
        Halt = "HALT",
        /// It pauses; not used here.
        Break = "BREAK",
    }
);
words!(
    /// As what an order must stand to be cancelled.
    CancelRestriction, -1145, "Invalid cancelRestrictions.", {
        /// Nothing of it is filled.
        OnlyNew = "ONLY_NEW",
        /// It is partly filled.
        OnlyPartiallyFilled = "ONLY_PARTIALLY_FILLED",
    }
);
words!(
    /// An order's state.
    OrderStatus, -1000, "Invalid order status.", {
        /// Rests, nothing filled.
        New = "NEW",
        /// Rests, partly filled.
        PartiallyFilled = "PARTIALLY_FILLED",
        /// Filled whole.
        Filled = "FILLED",
        /// Ended by its owner.
        Canceled = "CANCELED",
        /// A post-only order that would have taken.
        Rejected = "REJECTED",
        /// What was left ran out.
        Expired = "EXPIRED",
        /// It, or what was left of it, ended where it met an order of its own account.
        ExpiredInMatch = "EXPIRED_IN_MATCH",
    }
);

/// The answer to a new order. `ACK` has the first five fields, `RESULT` all but `fills`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OrderPlaced {
    /// The symbol.
    pub symbol: String,
    /// The order's id.
    pub order_id: u64,
    /// Always -1: no order lists here.
    pub order_list_id: i64,
    /// The sender's name for it.
    pub client_order_id: String,
    /// When it was committed, in ms since the Unix epoch.
    pub transact_time: u64,
    /// The rest, in `RESULT` and `FULL`.
    #[serde(flatten, default, skip_serializing_if = "Option::is_none")]
    pub result: Option<PlacedResult>,
    /// Its fills, in `FULL`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fills: Option<Vec<Fill>>,
}

/// Where a new order stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlacedResult {
    /// "0" for a market order.
    pub price: String,
    /// Asked for.
    pub orig_qty: String,
    /// Filled so far.
    pub executed_qty: String,
    /// Sum of price x quantity of its fills.
    pub cummulative_quote_qty: String,
    /// Its state.
    pub status: OrderStatus,
    /// How long it lives.
    pub time_in_force: TimeInForce,
    /// Its type.
    #[serde(rename = "type")]
    pub order_type: OrderType,
    /// Buy or sell.
    pub side: Side,
}

/// One fill of a new order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Fill {
    /// The price.
    pub price: String,
    /// The quantity.
    pub qty: String,
    /// What the taker pays for it.
    pub commission: String,
    /// The asset in which that is: the quote asset.
    pub commission_asset: String,
    /// The trade's id.
    pub trade_id: u64,
}

/// An order, as a query answers it, and as a cancel does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OrderInfo {
    /// The symbol.
    pub symbol: String,
    /// The order's id.
    pub order_id: u64,
    /// Always -1.
    pub order_list_id: i64,
    /// The sender's name for it.
    pub client_order_id: String,
    /// "0" for a market order.
    pub price: String,
    /// Asked for.
    pub orig_qty: String,
    /// Filled so far.
    pub executed_qty: String,
    /// Sum of price x quantity of its fills.
    pub cummulative_quote_qty: String,
    /// Its state.
    pub status: OrderStatus,
    /// How long it lives.
    pub time_in_force: TimeInForce,
    /// Its type.
    #[serde(rename = "type")]
    pub order_type: OrderType,
    /// Buy or sell.
    pub side: Side,
    /// When it was taken, in ms since the Unix epoch.
    pub time: u64,
    /// When it changed last, likewise.
    #[serde(default)]
    pub update_time: u64,
    /// Whether it rests.
    pub is_working: bool,
    /// When it came to work: as soon as it was taken.
    #[serde(default)]
    pub working_time: u64,
}

/// Where an order stands: all that is known of one that closed before this exchange started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OrderStanding {
    /// The symbol, as it was asked for.
    pub symbol: String,
    /// The order's id.
    pub order_id: u64,
    /// Always -1.
    pub order_list_id: i64,
    /// The sender's name for it, where it was asked for by that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_order_id: Option<String>,
    /// Filled so far.
    pub executed_qty: String,
    /// Sum of price x quantity of its fills.
    pub cummulative_quote_qty: String,
    /// Its state.
    pub status: OrderStatus,
    /// When it was taken, in ms since the Unix epoch; where that is not known any more, when it closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<u64>,
    /// When it closed, likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub update_time: Option<u64>,
    /// Whether it rests.
    pub is_working: bool,
}

/// `GET /api/v3/account`: what an account has, and what it pays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AccountInfo {
    /// What a resting order pays at most, in parts of 10,000, rounded up; the buyer's and the seller's parts are 0.
    pub maker_commission: i64,
    /// What an order that takes pays at most, likewise.
    pub taker_commission: i64,
    /// 0.
    pub buyer_commission: i64,
    /// 0.
    pub seller_commission: i64,
    /// The same as parts of 1.
    pub commission_rates: CommissionRates,
    /// Whether its orders are taken.
    pub can_trade: bool,
    /// Never here: an operator does it.
    pub can_withdraw: bool,
    /// Never here: an operator does it.
    pub can_deposit: bool,
    /// Always false.
    pub brokered: bool,
    /// Always false.
    pub require_self_trade_prevention: bool,
    /// Always false.
    pub prevent_sor: bool,
    /// Log time at which this was so.
    pub update_time: u64,
    /// Always `SPOT`.
    pub account_type: String,
    /// What it has.
    pub balances: Vec<AssetBalance>,
    /// Always `SPOT`.
    pub permissions: Vec<String>,
}

/// Commissions as parts of 1, with 8 digits after the point; a rebate is below 0.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CommissionRates {
    /// Of what rests.
    pub maker: String,
    /// Of what takes.
    pub taker: String,
    /// 0.
    pub buyer: String,
    /// 0.
    pub seller: String,
}

/// What an account has of one asset; below 0 what it owes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AssetBalance {
    /// The asset.
    pub asset: String,
    /// What is not locked.
    pub free: String,
    /// What open orders and short contracts lock.
    pub locked: String,
}

/// The answer to a cancel: the order as it ended. Its `clientOrderId` is the cancel's own name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OrderCancelled {
    /// The sender's name for the order.
    pub orig_client_order_id: String,
    /// When it was cancelled, in ms since the Unix epoch.
    pub transact_time: u64,
    /// The order.
    #[serde(flatten)]
    pub order: OrderInfo,
}

/// `GET /api/v3/depth`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Depth {
    /// Here: the log index that it shows.
    pub last_update_id: u64,
    /// Price and quantity, best first.
    pub bids: Vec<(String, String)>,
    /// Price and quantity, best first.
    pub asks: Vec<(String, String)>,
}

/// `GET /api/v3/ticker/bookTicker`. Empty sides are "0".
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BookTicker {
    /// The symbol.
    pub symbol: String,
    /// The best bid.
    pub bid_price: String,
    /// What is bid there.
    pub bid_qty: String,
    /// The best ask.
    pub ask_price: String,
    /// What is asked there.
    pub ask_qty: String,
}

/// `GET /api/v3/time`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServerTime {
    /// In ms since the Unix epoch.
    pub server_time: u64,
}

/// `GET /api/v3/exchangeInfo`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExchangeInfo {
    /// `UTC`.
    pub timezone: String,
    /// In ms since the Unix epoch.
    pub server_time: u64,
    /// Empty: no limits but those of the queue.
    #[serde(default)]
    pub rate_limits: Vec<serde_json::Value>,
    /// What holds for all symbols together.
    #[serde(default)]
    pub exchange_filters: Vec<serde_json::Value>,
    /// The symbols.
    pub symbols: Vec<SymbolInfo>,
}

/// One symbol of [`ExchangeInfo`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SymbolInfo {
    /// The symbol.
    pub symbol: String,
    /// `TRADING` or `HALT`.
    pub status: SymbolStatus,
    /// What is traded.
    pub base_asset: String,
    /// Digits after the point of an amount of it.
    #[serde(default)]
    pub base_asset_precision: u32,
    /// What it is paid in.
    pub quote_asset: String,
    /// The same as `quote_asset_precision`.
    #[serde(default)]
    pub quote_precision: u32,
    /// Digits after the point of an amount of it.
    #[serde(default)]
    pub quote_asset_precision: u32,
    /// Digits after the point of a fee in the base asset.
    #[serde(default)]
    pub base_commission_precision: u32,
    /// Digits after the point of a fee in the quote asset.
    #[serde(default)]
    pub quote_commission_precision: u32,
    /// `LIMIT`, `LIMIT_MAKER`, `MARKET`.
    pub order_types: Vec<OrderType>,
    /// What of Binance's is offered.
    #[serde(flatten, default)]
    pub offers: Offers,
    /// The filters.
    pub filters: Vec<serde_json::Value>,
    /// Always `SPOT`.
    #[serde(default)]
    pub permissions: Vec<String>,
    /// Always one set, of `SPOT`; left out where it is not asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permission_sets: Option<Vec<Vec<String>>>,
    /// What counts where an order does not say what happens where it meets one of its own account.
    #[serde(default = "no_prevention")]
    pub default_self_trade_prevention_mode: SelfTradePrevention,
    /// What an order may say of that.
    #[serde(default)]
    pub allowed_self_trade_prevention_modes: Vec<SelfTradePrevention>,
}

fn no_prevention() -> SelfTradePrevention {
    SelfTradePrevention::None
}

/// What a symbol offers of what Binance has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Offers {
    /// Orders of which a part is shown.
    pub iceberg_allowed: bool,
    /// Two orders of which one cancels the other.
    pub oco_allowed: bool,
    /// One order that triggers another.
    pub oto_allowed: bool,
    /// One order that pays for others.
    pub opo_allowed: bool,
    /// Market orders for an amount of the quote asset.
    pub quote_order_qty_market_allowed: bool,
    /// Stops that trail.
    pub allow_trailing_stop: bool,
    /// A cancel and a new order in one call.
    pub cancel_replace_allowed: bool,
    /// A smaller quantity with the place in the queue kept.
    pub amend_allowed: bool,
    /// Prices pegged to the book.
    pub peg_instructions_allowed: bool,
    /// Trading at all.
    pub is_spot_trading_allowed: bool,
    /// Trading with borrowed money.
    pub is_margin_trading_allowed: bool,
}

/// One of `GET /v1/reference-prices`: not Binance's. What an exchange leaves out reads as what is not to be believed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReferencePrice {
    /// The symbol.
    pub symbol: String,
    /// In units of the quote currency, to the nearest half tick.
    pub price: String,
    /// The same in ticks, rounded down.
    pub price_ticks: i64,
    /// The same in half ticks: the middle of two prices may lie between two ticks.
    #[serde(default)]
    pub price_half_ticks: i64,
    /// Where it comes from: `static`, `walk`, `capture` or `external`.
    #[serde(default)]
    pub source: String,
    /// The registration under which the exchange gives it.
    #[serde(default)]
    pub exchange_epoch: u64,
    /// Grows with each change of the price, and never else, within one epoch.
    pub seq: u64,
    /// When the price changed last, in ms of log time.
    #[serde(default)]
    pub changed_at: u64,
    /// When the source said last that it stands, in ms of log time.
    #[serde(default)]
    pub confirmed_at: u64,
    /// How long ago that was when this was answered, in ms.
    #[serde(default = "unconfirmed")]
    pub age_ms: u64,
}

/// The age of a price of which nobody says how old it is.
fn unconfirmed() -> u64 {
    u64::MAX
}

/// The body of `PUT /v1/reference-prices/{symbol}`: not Binance's. Either a price, or the best bid and ask.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetReferencePrice {
    /// In units of the quote currency.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<String>,
    /// The best bid, likewise; goes with `ask`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bid: Option<String>,
    /// The best ask; the price is the middle of the two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ask: Option<String>,
    /// Whose numbers and times these are: those of another feed begin anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub feed: Option<String>,
    /// The feed's number of the update; one below the last is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    /// The feed's time of the update, in any unit; one below the last is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACK: &str =
        r#"{"symbol":"BTCUSDT","orderId":28,"orderListId":-1,"clientOrderId":"c","transactTime":1507725176595}"#;
    const FULL: &str = r#"{"symbol":"BTCUSDT","orderId":28,"orderListId":-1,"clientOrderId":"c","transactTime":1507725176595,"price":"0","origQty":"10.0","executedQty":"10.0","cummulativeQuoteQty":"40.0","status":"FILLED","timeInForce":"IOC","type":"MARKET","side":"SELL","fills":[{"price":"4.0","qty":"10.0","commission":"0","commissionAsset":"","tradeId":56}]}"#;

    #[test]
    fn an_answer_has_as_much_as_was_asked_for() {
        let full: OrderPlaced = serde_json::from_str(FULL).expect("readable");
        assert_eq!(serde_json::to_string(&full).expect("JSON"), FULL);
        let result = OrderPlaced { fills: None, ..full.clone() };
        assert_eq!(
            serde_json::to_string(&result).expect("JSON"),
            format!("{}}}", FULL.split_once(",\"fills").expect("fills").0)
        );
        let ack = OrderPlaced { result: None, ..result };
        assert_eq!(serde_json::to_string(&ack).expect("JSON"), ACK);
        assert_eq!(serde_json::from_str::<OrderPlaced>(ACK).expect("readable"), ack);
    }

    #[test]
    fn a_cancel_is_answered_with_the_order_and_its_end() {
        let text = r#"{"origClientOrderId":"o","transactTime":7,"symbol":"BTCUSDT","orderId":4,"orderListId":-1,"clientOrderId":"c","price":"2.0","origQty":"1.0","executedQty":"0.0","cummulativeQuoteQty":"0.0","status":"CANCELED","timeInForce":"GTC","type":"LIMIT","side":"BUY","time":6,"updateTime":7,"isWorking":false,"workingTime":6}"#;
        let cancelled: OrderCancelled = serde_json::from_str(text).expect("readable");
        assert_eq!(serde_json::to_string(&cancelled).expect("JSON"), text);
        assert_eq!(serde_json::from_str::<OrderInfo>(text).expect("readable"), cancelled.order);
    }

    #[test]
    fn words_are_binances_and_others_are_refused() {
        assert_eq!("LIMIT_MAKER".parse(), Ok(OrderType::LimitMaker));
        assert_eq!(OrderStatus::PartiallyFilled.to_string(), "PARTIALLY_FILLED");
        assert_eq!("buy".parse::<Side>().expect_err("lower case").code, -1117);
        assert_eq!("STOP_LOSS".parse::<OrderType>().expect_err("not offered").code, -1116);
        assert_eq!("GTX".parse::<TimeInForce>().expect_err("not offered").code, -1115);
    }
}
