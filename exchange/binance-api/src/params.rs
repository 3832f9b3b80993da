//! Parameters, in the query, in a form body, or both.
//!
//! What this project cannot do (stop prices, icebergs, quantities in the quote currency) is refused, never
//! left out of account: [`crate::endpoints`] has the names, and what is read here the values.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    str::FromStr,
};

use quorate_domain::{ClientOrderId, Decimal, Symbol};
use sha2::{Digest, Sha256};

use crate::{
    error::ApiError,
    model::{CancelRestriction, OrderType, ResponseType, SelfTradePrevention, Side, SymbolStatus, TimeInForce},
};

/// Parameters at most: more are refused before anything is looked at.
const PARAMS_MAX: usize = 64;

/// From this number on a timestamp counts microseconds; in milliseconds it would lie in the year 33658.
const MICROSECONDS_FROM: u64 = 1_000_000_000_000_000;
/// Digits of an amount before the point at most, and after it.
const DIGITS_MAX: usize = 20;
/// Modes of Binance's `selfTradePreventionMode` that are not offered here.
const SELF_TRADE_NOT_OFFERED: [&str; 2] = ["DECREMENT", "TRANSFER"];

/// A request's parameters by name, with the text that its signature covers. What is shown of it for a log are the names.
#[derive(Clone, Default)]
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
    /// What happens where it meets an order of its own account; `None`: what the symbol's default is.
    pub self_trade: Option<SelfTradePrevention>,
}

/// Which symbols `GET /api/v3/exchangeInfo` is asked for, where it names none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WantedSymbols {
    /// Of this status; `None`: of any.
    pub status: Option<SymbolStatus>,
    /// Whether those of the permission `SPOT` are among them.
    pub spot: bool,
    /// Whether the sets of permissions are wanted.
    pub permission_sets: bool,
}

/// The parameters of `DELETE /api/v3/order`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CancelOrder {
    /// Which order.
    pub order: NamedOrder,
    /// The sender's name for the cancel.
    pub name: Option<ClientOrderId>,
    /// Only where the order stands so.
    pub only: Option<CancelRestriction>,
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

impl fmt::Debug for Params {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.values.keys()).finish()
    }
}

impl Params {
    /// Reads the query and the form body. Where a parameter stands in both, that of the query counts.
    ///
    /// # Errors
    /// -1101 for a parameter that stands twice in one of them, -1104 for too many.
    pub fn parse(query: &str, body: &str) -> Result<Self, ApiError> {
        let mut values = parse_form(body)?;
        values.extend(parse_form(query)?);
        let signed = format!("{}{}", without_signature(query), without_signature(body));
        Ok(Self { values, signed })
    }

    /// The text that the signature covers: query, then body, as they were sent.
    #[must_use]
    pub fn signed_text(&self) -> &str {
        &self.signed
    }

    /// A SHA-256 digest of the text of all parameters but the signature: equal for copies of one request.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        Sha256::digest(self.signed.as_bytes()).into()
    }

    /// The names of the parameters.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.values.keys().map(String::as_str)
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

    /// `timestamp`, in microseconds since the Unix epoch. Sent in milliseconds or in microseconds; its size tells.
    ///
    /// # Errors
    /// -1100 where it is no whole number from 0.
    pub fn timestamp_us(&self) -> Result<Option<u64>, ApiError> {
        let micros = |sent: u64| if sent < MICROSECONDS_FROM { sent * 1_000 } else { sent };
        Ok(self.number("timestamp")?.map(micros))
    }

    /// `recvWindow`, in microseconds. Sent in milliseconds, with up to three digits after the point.
    ///
    /// # Errors
    /// -1100 where it is none.
    pub fn recv_window_us(&self) -> Result<Option<u64>, ApiError> {
        let name = "recvWindow";
        let parse = |text: &str| {
            let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
            let digits =
                |text: &str, most| (1..=most).contains(&text.len()) && text.bytes().all(|c| c.is_ascii_digit());
            let parsed = (digits(whole, 20) && digits(part, 3)).then(|| {
                let millis: u64 = whole.parse().ok()?;
                let micros: u64 = format!("{part:0<3}").parse().ok()?;
                Some(millis.saturating_mul(1_000).saturating_add(micros))
            });
            parsed.flatten().ok_or_else(|| ApiError::illegal(name, "^[0-9]{1,20}(\\.[0-9]{1,3})?$"))
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
            quorate_domain::InvalidDecimal::Digits(_) => ApiError::precision(name),
            _ => ApiError::illegal(name, "^([0-9]{1,20})(\\.[0-9]{1,20})?$"),
        })?;
        let (whole, part) = text.split_once('.').unwrap_or((text, ""));
        if whole.len() > DIGITS_MAX || part.len() > DIGITS_MAX {
            return Err(ApiError::precision(name));
        }
        if !decimal.is_positive() {
            return Err(ApiError::new(-1013, format!("Invalid {name}.")));
        }
        Ok(Some(decimal))
    }

    /// The symbol.
    ///
    /// # Errors
    /// -1102 where it is missing, -1100 where it is none.
    pub fn symbol(&self) -> Result<Symbol, ApiError> {
        parse_symbol("symbol", self.required("symbol")?)
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
        let self_trade = self.self_trade_prevention()?;
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
        Ok(PlaceOrder {
            symbol,
            side,
            order_type,
            time_in_force,
            quantity,
            price,
            client_order_id,
            response,
            self_trade,
        })
    }

    fn self_trade_prevention(&self) -> Result<Option<SelfTradePrevention>, ApiError> {
        let name = "selfTradePreventionMode";
        match self.get(name) {
            Some(mode) if SELF_TRADE_NOT_OFFERED.contains(&mode) => {
                let what = format!("Parameter '{name}' sent when not required: {mode} is not offered here.");
                Err(ApiError::new(-1106, what))
            }
            mode => mode.map(str::parse).transpose(),
        }
    }

    /// The parameters of `DELETE /api/v3/order`.
    ///
    /// # Errors
    /// Those of [`Self::named_order`], -1100 where `newClientOrderId` is no name, -1145 where `cancelRestrictions` is unknown.
    pub fn cancel_order(&self) -> Result<CancelOrder, ApiError> {
        Ok(CancelOrder {
            order: self.named_order()?,
            name: self.client_order_id("newClientOrderId")?,
            only: self.get("cancelRestrictions").map(str::parse).transpose()?,
        })
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

    /// The symbols, where some may be named: `symbol=A` or `symbols=["A","B"]`.
    ///
    /// # Errors
    /// -1128 where both are there, -1100 where they are none, -1101 where one stands twice.
    pub fn symbols(&self) -> Result<Option<BTreeSet<Symbol>>, ApiError> {
        let one = self.optional_symbol()?;
        let Some(text) = self.get("symbols") else { return Ok(one.map(|symbol| BTreeSet::from([symbol]))) };
        if one.is_some() {
            return Err(ApiError::new(-1128, "Combination of optional parameters invalid."));
        }
        let names: Vec<String> =
            serde_json::from_str(text).map_err(|_| ApiError::illegal("symbols", "a JSON array of symbols"))?;
        let mut symbols = BTreeSet::new();
        for name in &names {
            if !symbols.insert(parse_symbol("symbols", name)?) {
                return Err(ApiError::duplicate("symbols"));
            }
        }
        Ok(Some(symbols))
    }

    /// A parameter that is true or false.
    ///
    /// # Errors
    /// -1100 where it is neither.
    pub fn flag(&self, name: &str) -> Result<Option<bool>, ApiError> {
        match self.get(name) {
            None => Ok(None),
            Some("true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(_) => Err(ApiError::illegal(name, "true, false")),
        }
    }

    /// Of what status and permissions `GET /api/v3/exchangeInfo` is asked for symbols: by `symbolStatus` and
    /// `permissions` (one word, or a JSON array of them). All symbols here have the one permission `SPOT`.
    ///
    /// # Errors
    /// -1122 for an unknown status, -1100 for permissions that are none and for a `showPermissionSets` that is neither
    /// true nor false, -1128 where symbols are named as well.
    pub fn wanted_symbols(&self) -> Result<WantedSymbols, ApiError> {
        let (permissions, status) = (self.get("permissions"), self.get("symbolStatus"));
        let named = self.get("symbol").is_some() || self.get("symbols").is_some();
        if named && (permissions.is_some() || status.is_some()) {
            return Err(ApiError::new(-1128, "Combination of optional parameters invalid."));
        }
        let permission_sets = self.flag("showPermissionSets")?.unwrap_or(true);
        let status = status.map(str::parse).transpose()?;
        let illegal = || ApiError::illegal("permissions", "^[A-Z0-9_]{1,20}$");
        let words: Vec<String> = match permissions {
            None => return Ok(WantedSymbols { status, spot: true, permission_sets }),
            Some(list) if list.starts_with('[') => serde_json::from_str(list).map_err(|_| illegal())?,
            Some(word) => vec![word.to_owned()],
        };
        let legal = |word: &String| {
            let chars = |c: u8| c.is_ascii_uppercase() || c.is_ascii_digit() || c == b'_';
            (1..=20).contains(&word.len()) && word.bytes().all(chars)
        };
        if words.is_empty() || !words.iter().all(legal) {
            return Err(illegal());
        }
        let spot = words.iter().any(|word| word == "SPOT");
        Ok(WantedSymbols { status, spot, permission_sets })
    }
}

fn parse_form(text: &str) -> Result<BTreeMap<String, String>, ApiError> {
    let mut values = BTreeMap::new();
    for (name, value) in form_urlencoded::parse(text.as_bytes()) {
        if values.len() >= PARAMS_MAX {
            return Err(ApiError::new(-1104, "Not all sent parameters were read; too many parameters."));
        }
        if values.contains_key(name.as_ref()) {
            let shown: String = name.chars().take(40).collect();
            return Err(ApiError::duplicate(&shown));
        }
        values.insert(name.into_owned(), value.into_owned());
    }
    Ok(values)
}

fn parse_symbol(parameter: &str, text: &str) -> Result<Symbol, ApiError> {
    Symbol::new(text).map_err(|_| ApiError::illegal(parameter, "^[A-Z0-9-_]{1,20}$"))
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
        assert_eq!(Params::parse("a=1&a=2", "").expect_err("twice").code, -1101);
        assert_eq!(Params::parse("a=1", "a=2").expect("the query counts").get("a"), Some("1"));
        let many: String = (0..=PARAMS_MAX).map(|n| format!("p{n}=1&")).collect();
        assert_eq!(Params::parse("", &many).expect_err("too many").code, -1104);
    }

    #[test]
    fn the_signature_covers_all_but_itself_wherever_it_stands() {
        let signed = |query: &str, body: &str| Params::parse(query, body).expect("valid").signed_text().to_owned();
        assert_eq!(signed("a=1&signature=x&b=2", ""), "a=1&b=2");
        assert_eq!(signed("a=1", "b=2&signature=x"), "a=1b=2");
        assert_eq!(signed("signature=x", "b=%40"), "b=%40");
    }

    #[test]
    fn several_symbols_may_be_named() {
        let symbols = |query: &str| Params::parse(query, "").and_then(|params| params.symbols());
        let named = |names: &[&str]| names.iter().map(|name| name.parse().expect("a symbol")).collect();
        assert_eq!(symbols(""), Ok(None));
        assert_eq!(symbols("symbol=AB"), Ok(Some(named(&["AB"]))));
        assert_eq!(symbols("symbols=%5B%22AB%22,%22CD%22%5D"), Ok(Some(named(&["AB", "CD"]))));
        assert_eq!(symbols("symbols=AB").expect_err("no array").code, -1100);
        assert_eq!(symbols("symbol=AB&symbols=%5B%5D").expect_err("both").code, -1128);
        assert_eq!(symbols("symbols=%5B%22AB%22,%22AB%22%5D").expect_err("twice").code, -1101);
    }

    #[test]
    fn symbols_may_be_asked_for_by_status_and_permission() {
        let asked = |query: &str| {
            let params = Params::parse(query, "").expect("valid");
            params.wanted_symbols().map(|wanted| (wanted.status, wanted.spot)).map_err(|error| error.code)
        };
        for all in ["", "permissions=SPOT", "permissions=%5B%22MARGIN%22,%22SPOT%22%5D", "showPermissionSets=false"] {
            assert_eq!(asked(all), Ok((None, true)), "{all}");
        }
        assert_eq!(asked("permissions=MARGIN"), Ok((None, false)));
        assert_eq!(asked("symbolStatus=HALT"), Ok((Some(SymbolStatus::Halt), true)));
        assert_eq!(asked("showPermissionSets=no"), Err(-1100));
        assert_eq!((asked("symbolStatus=OPEN"), asked("permissions=%5B")), (Err(-1122), Err(-1100)));
        assert_eq!((asked("permissions=spot"), asked("symbol=AB&permissions=SPOT")), (Err(-1100), Err(-1128)));
    }

    #[test]
    fn times_are_read_in_milliseconds_and_in_microseconds() {
        let read = |query: &str| {
            let params = Params::parse(query, "").expect("valid");
            let times = params.timestamp_us().and_then(|at| Ok((at, params.recv_window_us()?)));
            times.map_err(|error| error.code)
        };
        assert_eq!(read(""), Ok((None, None)));
        let us = Some(1_700_000_000_123_000);
        assert_eq!(read("timestamp=1700000000123&recvWindow=5000"), Ok((us, Some(5_000_000))));
        assert_eq!(read("timestamp=1700000000123000&recvWindow=5000.125"), Ok((us, Some(5_000_125))));
        assert_eq!(read("timestamp=1700000000&recvWindow=0.5"), Ok((Some(1_700_000_000_000), Some(500))));
        assert_eq!(read(&format!("timestamp={}", u64::MAX)), Ok((Some(u64::MAX), None)));
        assert_eq!(read(&format!("recvWindow={}", u64::MAX)), Ok((None, Some(u64::MAX))));
        for bad in ["timestamp=soon", "timestamp=1.5", "timestamp=-1", "timestamp=18446744073709551616"] {
            assert_eq!(read(bad), Err(-1100), "{bad}");
        }
        for bad in ["-1", "1e3", "5000.1234", ".5", "5.", "+5", "18446744073709551616"] {
            assert_eq!(read(&format!("recvWindow={bad}")), Err(-1100), "{bad}");
        }
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
        assert_eq!(code(&format!("{LIMIT}&newOrderRespType=ALL")), -1118);
        assert_eq!(code(&LIMIT.replace("LIMIT", "LIMIT_MAKER")), -1106);
        assert_eq!(code(&LIMIT.replace("quantity=1", "quantity=0")), -1013);
        assert_eq!(code(&format!("{LIMIT}&selfTradePreventionMode=DECREMENT")), -1106);
        assert_eq!(code(&format!("{LIMIT}&selfTradePreventionMode=TRANSFER")), -1106);
        assert_eq!(code(&format!("{LIMIT}&selfTradePreventionMode=NONSENSE")), -1130);
        let mode = |more: &str| {
            let params = Params::parse(&format!("{LIMIT}{more}"), "").expect("valid");
            params.place_order().expect("an order").self_trade
        };
        assert_eq!(mode(""), None);
        assert_eq!(mode("&selfTradePreventionMode=NONE"), Some(SelfTradePrevention::None));
        assert_eq!(mode("&selfTradePreventionMode=EXPIRE_BOTH"), Some(SelfTradePrevention::ExpireBoth));
        let cancel = |more: &str| {
            let params = Params::parse(&format!("symbol=AB&orderId=1{more}"), "").expect("valid");
            params.cancel_order().map_or_else(|error| error.code, |_| 0)
        };
        assert_eq!((cancel(""), cancel("&cancelRestrictions=ONLY_NEW&newClientOrderId=c")), (0, 0));
        assert_eq!(cancel("&newClientOrderId=%20"), -1100);
        assert_eq!(cancel("&cancelRestrictions=GARBAGE"), -1145);
        let named = |query: &str| Params::parse(query, "").and_then(|params| params.named_order());
        assert_eq!(named("symbol=AB").expect_err("no order").code, -1102);
        assert_eq!(named("symbol=AB&orderId=-1").expect_err("no number").code, -1100);
        assert_eq!(named("symbol=AB&orderId=99999999999999999999").expect_err("no number").code, -1100);
    }

    #[test]
    fn no_value_is_shown_for_a_log() {
        let params = Params::parse("symbol=A&signature=c8db56", "price=7").expect("valid");
        assert_eq!(format!("{params:?}"), r#"{"price", "signature", "symbol"}"#);
    }

    #[test]
    fn no_bytes_make_it_panic() {
        for text in ["%", "%%%", "&&&=&=", "symbol=%ff%fe", "a=\u{0}", "signature=&signature="] {
            let _ = Params::parse(text, text).and_then(|params| params.place_order());
        }
    }
}
