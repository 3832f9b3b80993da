//! Which parameters each endpoint takes. What stands in no row is refused, never left out of account.

use crate::{error::ApiError, params::Params};

/// An endpoint and its parameters.
#[derive(Debug, Clone, Copy)]
pub struct Endpoint {
    /// The HTTP method.
    pub method: &'static str,
    /// The path.
    pub path: &'static str,
    /// Whether it concerns an account: then `timestamp`, `recvWindow` and `signature` are taken as well.
    pub signed: bool,
    /// What it takes.
    pub takes: &'static [&'static str],
    /// What Binance takes there and this project does not offer. Each would change what is done.
    pub not_offered: &'static [&'static str],
}

/// Taken by every endpoint that concerns an account.
const SIGNED: [&str; 3] = ["timestamp", "recvWindow", "signature"];
/// Parameters without which some request cannot be. Where one is empty, it is told as missing.
const MANDATORY: [&str; 8] = ["symbol", "side", "type", "timeInForce", "quantity", "price", "timestamp", "signature"];

const fn public(path: &'static str, takes: &'static [&'static str]) -> Endpoint {
    Endpoint { method: "GET", path, signed: false, takes, not_offered: &[] }
}

const fn signed(method: &'static str, path: &'static str, takes: &'static [&'static str]) -> Endpoint {
    Endpoint { method, path, signed: true, takes, not_offered: &[] }
}

/// Every endpoint under `/api/v3`.
pub const ENDPOINTS: [Endpoint; 11] = [
    public("/api/v3/ping", &[]),
    public("/api/v3/time", &[]),
    public("/api/v3/exchangeInfo", &["symbol", "symbols", "permissions", "symbolStatus", "showPermissionSets"]),
    public("/api/v3/depth", &["symbol", "limit"]),
    public("/api/v3/ticker/bookTicker", &["symbol", "symbols"]),
    Endpoint {
        not_offered: &[
            "quoteOrderQty",
            "stopPrice",
            "trailingDelta",
            "icebergQty",
            "strategyId",
            "strategyType",
            "pegPriceType",
            "pegOffsetValue",
            "pegOffsetType",
        ],
        ..signed(
            "POST",
            "/api/v3/order",
            &[
                "symbol",
                "side",
                "type",
                "timeInForce",
                "quantity",
                "price",
                "newClientOrderId",
                "newOrderRespType",
                "selfTradePreventionMode",
            ],
        )
    },
    signed("GET", "/api/v3/order", &["symbol", "orderId", "origClientOrderId"]),
    signed(
        "DELETE",
        "/api/v3/order",
        &["symbol", "orderId", "origClientOrderId", "newClientOrderId", "cancelRestrictions"],
    ),
    signed("GET", "/api/v3/openOrders", &["symbol"]),
    signed("DELETE", "/api/v3/openOrders", &["symbol"]),
    signed("GET", "/api/v3/account", &["omitZeroBalances"]),
];

/// Where external reference prices are told: not Binance's. The price itself stands in a body of JSON.
pub const FEED: Endpoint = signed("PUT", "/v1/reference-prices/{symbol}", &[]);

impl Endpoint {
    /// The endpoint of a method and a path.
    #[must_use]
    pub fn find(method: &str, path: &str) -> Option<&'static Self> {
        ENDPOINTS.iter().find(|endpoint| endpoint.method == method && endpoint.path == path)
    }

    /// Checks that every parameter is one that this endpoint takes, and has a value.
    ///
    /// # Errors
    /// -1104 for a parameter that it does not know, -1106 for one that is not offered here, -1105 (-1102 where
    /// it is mandatory) for one that is empty.
    pub fn check(&self, params: &Params) -> Result<(), ApiError> {
        let known = |name: &str| self.takes.contains(&name) || self.signed && SIGNED.contains(&name);
        if let Some(name) = params.names().find(|name| self.not_offered.contains(name)) {
            return Err(ApiError::not_required(name));
        }
        let read = params.names().filter(|name| known(name)).count();
        if let Some(unknown) = params.names().find(|name| !known(name)) {
            return Err(ApiError::unread(read, params.names().count(), unknown));
        }
        match params.names().find(|name| params.get(name).is_none()) {
            Some(name) if MANDATORY.contains(&name) => Err(ApiError::missing(name)),
            Some(name) => Err(ApiError::empty(name)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(method: &str, path: &str, query: &str) -> i32 {
        let endpoint = Endpoint::find(method, path).expect("an endpoint");
        Params::parse(query, "").and_then(|params| endpoint.check(&params)).map_or_else(|error| error.code, |()| 0)
    }

    #[test]
    fn each_endpoint_takes_its_parameters_and_no_others() {
        for endpoint in &ENDPOINTS {
            let Endpoint { method, path, .. } = *endpoint;
            for name in endpoint.takes {
                assert_eq!(code(method, path, &format!("{name}=1")), 0, "{method} {path} {name}");
                let empty = if MANDATORY.contains(name) { -1102 } else { -1105 };
                assert_eq!(code(method, path, &format!("{name}=")), empty, "{method} {path} {name}");
            }
            for name in SIGNED {
                let wanted = if endpoint.signed { 0 } else { -1104 };
                assert_eq!(code(method, path, &format!("{name}=1")), wanted, "{method} {path} {name}");
            }
            for name in endpoint.not_offered {
                assert_eq!(code(method, path, &format!("{name}=1")), -1106, "{method} {path} {name}");
                assert_eq!(code(method, path, &format!("{name}=")), -1106, "{method} {path} {name}");
            }
            assert_eq!(code(method, path, "bogus=1"), -1104, "{method} {path}");
            assert_eq!(code(method, path, "Symbol=A"), -1104, "{method} {path}: names are as they are written");
        }
        assert!(Endpoint::find("PUT", "/api/v3/order").is_none());
    }

    #[test]
    fn what_is_not_read_is_named() {
        let endpoint = Endpoint::find("GET", "/api/v3/depth").expect("an endpoint");
        let params = Params::parse("symbol=A&limit=5&depth=1", "").expect("parameters");
        let error = endpoint.check(&params).expect_err("unknown");
        let text = "Not all sent parameters were read; read '2' parameter(s) but was sent '3': 'depth' is not known.";
        assert_eq!((error.code, error.msg.as_str()), (-1104, text));
    }
}
