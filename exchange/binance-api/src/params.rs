//! Parameters, in the query, in a form body, or both.

use std::{collections::BTreeMap, str::FromStr};

use quorate_ledger::{ClientOrderId, Decimal, Symbol};

use crate::{
    error::ApiError,
    model::{OrderType, ResponseType, Side, TimeInForce},
};

/// Parameters at most: more are refused before anything is looked at.
const PARAMS_MAX: usize = 64;

/// A request's parameters by name, with the text that its signature covers.
#[derive(Debug, Clone, Default)]
pub struct Params {
    values: BTreeMap<String, String>,
    signed: String,
}

/// The parameters of `POST /api/v3/order`, read and not yet checked against the symbol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlaceOrder {
    /// The symbol.
    pub symbol: Symbol,
    /// Buy or sell.
    pub side: Side,
    /// The type.
    pub order_type: OrderType,
    /// How long it lives; a market order is `IOC`, a limit maker `GTC`.
    pub time_in_force: TimeInForce,
    /// In units of the symbol.
    pub quantity: Decimal,
    /// None for a market order.
    pub price: Option<Decimal>,
    /// The sender's name for it.
    pub client_order_id: Option<ClientOrderId>,
    /// How much of the answer is wanted.
    pub response: ResponseType,
}

/// How a request names an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedOrder {
    /// The symbol.
    pub symbol: Symbol,
    /// By the exchange's id.
    pub order_id: Option<u64>,
    /// By the sender's name.
    pub client_order_id: Option<ClientOrderId>,
}

impl Params {
    /// Reads the query and the form body; a parameter may stand in either, but only once.
    ///
    /// # Errors
    /// -1101 for a double parameter, -1104 for too many.
    pub fn parse(query: &str, body: &str) -> Result<Self, ApiError> {
        let mut values = BTreeMap::new();
        for (name, value) in form_urlencoded::parse(query.as_bytes()).chain(form_urlencoded::parse(body.as_bytes())) {
            if values.len() >= PARAMS_MAX {
                return Err(ApiError::new(-1104, "Not all sent parameters were read; too many parameters."));
            }
            if values.contains_key(name.as_ref()) {
                let shown: String = name.chars().take(40).collect();
                return Err(ApiError::duplicate(&shown));
            }
            values.insert(name.into_owned(), value.into_owned());
        }
        let signed = format!("{}{}", without_signature(query), without_signature(body));
        Ok(Self { values, signed })
    }

    /// The text that the signature covers: query, then body, as they were sent.
    #[must_use]
    pub fn signed_text(&self) -> &str {
        &self.signed
    }

    /// A parameter, `None` where it is missing or empty.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// A parameter that must be there.
    ///
    /// # Errors
    /// -1102.
    pub fn required(&self, name: &str) -> Result<&str, ApiError> {
        self.get(name).ok_or_else(|| ApiError::missing(name))
    }

    /// A whole number from 0.
    ///
    /// # Errors
    /// -1100 where it is none.
    pub fn number(&self, name: &str) -> Result<Option<u64>, ApiError> {
        let parse = |text: &str| {
            let digits = !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit());
            digits.then(|| text.parse().ok()).flatten().ok_or_else(|| ApiError::illegal(name, "^[0-9]{1,20}$"))
        };
        self.get(name).map(parse).transpose()
    }

    /// An amount above 0.
    ///
    /// # Errors
    /// -1100 where it is no decimal, -1111 where it has too many digits, -1013 where it is not above 0.
    pub fn decimal(&self, name: &str) -> Result<Option<Decimal>, ApiError> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let decimal = Decimal::from_str(text).map_err(|error| match error {
            quorate_ledger::InvalidDecimal::Digits(_) => ApiError::precision(name),
            _ => ApiError::illegal(name, "^([0-9]{1,20})(\\.[0-9]{1,20})?$"),
        })?;
        if !decimal.is_positive() {
            return Err(ApiError::new(-1013, format!("Invalid {name}.")));
        }
        Ok(Some(decimal))
    }

    fn symbol(&self) -> Result<Symbol, ApiError> {
        Symbol::new(self.required("symbol")?).map_err(|_| ApiError::illegal("symbol", "^[A-Z0-9-_.]{1,20}$"))
    }

    fn client_order_id(&self, name: &str) -> Result<Option<ClientOrderId>, ApiError> {
        let parse =
            |text| ClientOrderId::new(text).map_err(|_| ApiError::illegal(name, "^[\\.A-Z\\:/a-z0-9_-]{1,36}$"));
        self.get(name).map(parse).transpose()
    }

    /// The parameters of `POST /api/v3/order`.
    ///
    /// # Errors
    /// -1102 and others, as Binance gives them for each type of order.
    pub fn place_order(&self) -> Result<PlaceOrder, ApiError> {
        let symbol = self.symbol()?;
        let side = self.required("side")?.parse()?;
        let order_type: OrderType = self.required("type")?.parse()?;
        let given_tif: Option<TimeInForce> = self.get("timeInForce").map(str::parse).transpose()?;
        let quantity = self.decimal("quantity")?.ok_or_else(|| ApiError::missing("quantity"))?;
        let price = self.decimal("price")?;
        let time_in_force = match (order_type, given_tif) {
            (OrderType::Limit, Some(tif)) => tif,
            (OrderType::Limit, None) => return Err(ApiError::missing("timeInForce")),
            (OrderType::Market | OrderType::LimitMaker, Some(_)) => return Err(ApiError::not_required("timeInForce")),
            (OrderType::Market, None) => TimeInForce::Ioc,
            (OrderType::LimitMaker, None) => TimeInForce::Gtc,
        };
        match (order_type, price) {
            (OrderType::Market, Some(_)) => return Err(ApiError::not_required("price")),
            (OrderType::Limit | OrderType::LimitMaker, None) => return Err(ApiError::missing("price")),
            (OrderType::Market, None) | (OrderType::Limit | OrderType::LimitMaker, Some(_)) => {}
        }
        let response = match self.get("newOrderRespType") {
            Some(text) => text.parse()?,
            // Binance's defaults.
            None if order_type == OrderType::LimitMaker => ResponseType::Ack,
            None => ResponseType::Full,
        };
        let client_order_id = self.client_order_id("newClientOrderId")?;
        Ok(PlaceOrder { symbol, side, order_type, time_in_force, quantity, price, client_order_id, response })
    }

    /// The parameters by which a query or a cancel names its order.
    ///
    /// # Errors
    /// -1102 where neither `orderId` nor `origClientOrderId` is there.
    pub fn named_order(&self) -> Result<NamedOrder, ApiError> {
        let symbol = self.symbol()?;
        let order_id = self.number("orderId")?;
        let client_order_id = self.client_order_id("origClientOrderId")?;
        if order_id.is_none() && client_order_id.is_none() {
            let what = "Param 'origClientOrderId' or 'orderId' must be sent, but both were empty/null!";
            return Err(ApiError::new(-1102, what));
        }
        Ok(NamedOrder { symbol, order_id, client_order_id })
    }

    /// The symbol, where one may be named.
    ///
    /// # Errors
    /// -1100 where it is none.
    pub fn optional_symbol(&self) -> Result<Option<Symbol>, ApiError> {
        if self.get("symbol").is_none() { Ok(None) } else { self.symbol().map(Some) }
    }
}

/// The text without its `signature` parameter, which may stand anywhere.
fn without_signature(text: &str) -> String {
    let kept: Vec<&str> = text.split('&').filter(|part| !part.starts_with("signature=")).collect();
    kept.join("&")
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: &str = "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTC&quantity=1&price=0.1";

    fn code(query: &str) -> i32 {
        Params::parse(query, "").and_then(|params| params.place_order()).map(|_| ()).expect_err("refused").code
    }

    #[test]
    fn parameters_come_from_query_and_body() {
        let params = Params::parse("symbol=BTCUSDT&side=BUY", "type=MARKET&quantity=0.5").expect("valid");
        let order = params.place_order().expect("an order");
        assert_eq!((order.order_type, order.time_in_force), (OrderType::Market, TimeInForce::Ioc));
        assert_eq!(params.signed_text(), "symbol=BTCUSDT&side=BUYtype=MARKET&quantity=0.5");
        assert_eq!(Params::parse("a=1", "a=2").expect_err("twice").code, -1101);
    }

    #[test]
    fn each_kind_of_bad_parameter_has_its_code() {
        assert_eq!(code("side=BUY"), -1102);
        assert_eq!(code(&LIMIT.replace("BTCUSDT", "btc!")), -1100);
        assert_eq!(code(&LIMIT.replace("BUY", "HOLD")), -1117);
        assert_eq!(code(&LIMIT.replace("LIMIT", "STOP")), -1116);
        assert_eq!(code(&LIMIT.replace("GTC", "GTD")), -1115);
        assert_eq!(code(&LIMIT.replace("&timeInForce=GTC", "")), -1102);
        assert_eq!(code(&LIMIT.replace("quantity=1", "quantity=-1")), -1013);
        assert_eq!(code(&LIMIT.replace("quantity=1", "quantity=1e5")), -1100);
        assert_eq!(code(&LIMIT.replace("quantity=1", "quantity=0.00000000000001")), -1111);
        assert_eq!(code(&LIMIT.replace("quantity=1", "quantity=99999999999999999999")), -1111);
        assert_eq!(code(&LIMIT.replace("&price=0.1", "")), -1102);
        assert_eq!(code(&LIMIT.replace("type=LIMIT&timeInForce=GTC", "type=MARKET")), -1106);
        assert_eq!(code(&format!("{LIMIT}&newClientOrderId=%20")), -1100);
        assert_eq!(code(&format!("{LIMIT}&newOrderRespType=ALL")), -1117 - 1);
    }

    #[test]
    fn no_bytes_make_it_panic() {
        for text in ["%", "%%%", "&&&=&=", "symbol=%ff%fe", "a=\u{0}", "signature=&signature="] {
            let _ = Params::parse(text, text).and_then(|params| params.place_order());
        }
    }
}
