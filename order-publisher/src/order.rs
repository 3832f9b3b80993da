//! One external order, as it is sent and as it stands in the journal.

use quorate_binance_api::model::{OrderType, Side, TimeInForce};
use serde::{Deserialize, Serialize};

/// An order, complete: sending it again sends the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Its name, unique for ever.
    pub client_order_id: String,
    /// Whose it is.
    pub account: String,
    /// The symbol.
    pub symbol: String,
    /// Buy or sell.
    pub side: Side,
    /// Its type.
    #[serde(rename = "type")]
    pub order_type: OrderType,
    /// How long it lives.
    pub tif: TimeInForce,
    /// A decimal; none for a market order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<String>,
    /// A decimal.
    pub qty: String,
    /// When it was made, in ms since the Unix epoch: the age of its name. A repeat keeps it.
    pub timestamp: u64,
}

impl Order {
    /// As the parameters of `POST /api/v3/order`. Nothing in an order needs escaping but the name.
    pub(crate) fn form(&self) -> String {
        let Self { symbol, side, order_type, tif, qty, client_order_id, .. } = self;
        let name = escape(client_order_id);
        let mut form = format!("symbol={symbol}&side={side}&type={order_type}&quantity={qty}&newClientOrderId={name}");
        if *order_type == OrderType::Limit {
            form.push_str(&format!("&timeInForce={tif}"));
        }
        if let Some(price) = &self.price {
            form.push_str(&format!("&price={price}"));
        }
        form.push_str(&format!("&newOrderRespType=FULL&timestamp={}", self.timestamp));
        form
    }
}

/// A client order id as a form's value.
pub(crate) fn escape(text: &str) -> String {
    text.replace(':', "%3A").replace('/', "%2F")
}
