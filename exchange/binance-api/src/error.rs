//! Errors with Binance's codes and texts (its page "Error codes"), and the HTTP status of each.

use serde::{Deserialize, Serialize};

/// The body of an error: `{"code":-1121,"msg":"Invalid symbol."}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{code}: {msg}")]
pub struct ApiError {
    /// Binance's code; always negative.
    pub code: i32,
    /// The text.
    pub msg: String,
}

impl ApiError {
    /// An error with this code and text.
    #[must_use]
    pub fn new(code: i32, msg: impl Into<String>) -> Self {
        Self { code, msg: msg.into() }
    }

    /// -1000: something here is broken.
    #[must_use]
    pub fn internal(what: &str) -> Self {
        Self::new(-1000, format!("An unknown error occurred while processing the request: {what}"))
    }

    /// -1001: not placed, because the group behind this exchange takes nothing now.
    #[must_use]
    pub fn disconnected(what: &str) -> Self {
        Self::new(-1001, format!("Internal error; unable to process your request. Please try again. ({what})"))
    }

    /// -1007: it may or may not have happened; ask for the order.
    #[must_use]
    pub fn unknown() -> Self {
        Self::new(
            -1007,
            "Timeout waiting for response from backend server. Send status unknown; execution status unknown.",
        )
    }

    /// -1008: not placed, because too much waits.
    #[must_use]
    pub fn overloaded() -> Self {
        Self::new(-1008, "Server is currently overloaded with other requests. Please try again in a few minutes.")
    }

    /// -1015: not placed, because the account holds as many order names as it may for now.
    #[must_use]
    pub fn too_many_orders() -> Self {
        Self::new(-1015, "Too many new orders.")
    }

    /// -1013: nothing is traded now, or in this symbol never again.
    #[must_use]
    pub fn market_closed() -> Self {
        Self::new(-1013, "Market is closed.")
    }

    /// -1013: a filter was failed.
    #[must_use]
    pub fn filter(name: &str) -> Self {
        Self::new(-1013, format!("Filter failure: {name}"))
    }

    /// -1021: the timestamp lies outside the window.
    #[must_use]
    pub fn timestamp(ahead: bool) -> Self {
        let what = if ahead {
            "Timestamp for this request was 1000ms ahead of the server's time."
        } else {
            "Timestamp for this request is outside of the recvWindow."
        };
        Self::new(-1021, what)
    }

    /// -1022: the signature is not valid.
    #[must_use]
    pub fn signature() -> Self {
        Self::new(-1022, "Signature for this request is not valid.")
    }

    /// -1100: a parameter has characters that it may not have.
    #[must_use]
    pub fn illegal(parameter: &str, allowed: &str) -> Self {
        Self::new(-1100, format!("Illegal characters found in parameter '{parameter}'; legal range is '{allowed}'."))
    }

    /// -1101: a parameter stands there twice.
    #[must_use]
    pub fn duplicate(parameter: &str) -> Self {
        Self::new(-1101, format!("Duplicate values for parameter '{parameter}' detected."))
    }

    /// -1102: a parameter is missing, empty or malformed.
    #[must_use]
    pub fn missing(parameter: &str) -> Self {
        Self::new(-1102, format!("Mandatory parameter '{parameter}' was not sent, was empty/null, or malformed."))
    }

    /// -1104: a parameter is sent that nobody here reads.
    #[must_use]
    pub fn unread(read: usize, sent: usize, unknown: &str) -> Self {
        let shown: String = unknown.chars().take(40).collect();
        let counts = format!("read '{read}' parameter(s) but was sent '{sent}'");
        Self::new(-1104, format!("Not all sent parameters were read; {counts}: '{shown}' is not known."))
    }

    /// -1105: a parameter has no value.
    #[must_use]
    pub fn empty(parameter: &str) -> Self {
        Self::new(-1105, format!("Parameter '{parameter}' was empty."))
    }

    /// -1106: a parameter is sent that this request must not have.
    #[must_use]
    pub fn not_required(parameter: &str) -> Self {
        Self::new(-1106, format!("Parameter '{parameter}' sent when not required."))
    }

    /// -1111: more digits than the symbol has.
    #[must_use]
    pub fn precision(parameter: &str) -> Self {
        Self::new(-1111, format!("Parameter '{parameter}' has too much precision."))
    }

    /// -1121: no such symbol.
    #[must_use]
    pub fn invalid_symbol() -> Self {
        Self::new(-1121, "Invalid symbol.")
    }

    /// -1130: a parameter's value is none that it may have.
    #[must_use]
    pub fn invalid(parameter: &str) -> Self {
        Self::new(-1130, format!("Data sent for parameter '{parameter}' is not valid."))
    }

    /// -2010: the order is rejected, with the reason.
    #[must_use]
    pub fn rejected(why: &str) -> Self {
        Self::new(-2010, why)
    }

    /// -2010: the account has too little of what the order takes.
    #[must_use]
    pub fn insufficient_balance() -> Self {
        Self::rejected("Account has insufficient balance for requested action.")
    }

    /// -2010: the order's name is known, or is under way, with another content.
    #[must_use]
    pub fn duplicate_order() -> Self {
        Self::rejected("Duplicate order sent.")
    }

    /// -2011: nothing to cancel.
    #[must_use]
    pub fn cancel_rejected() -> Self {
        Self::new(-2011, "Unknown order sent.")
    }

    /// -2011: the order does not stand as `cancelRestrictions` asks.
    #[must_use]
    pub fn cancel_restricted() -> Self {
        Self::new(-2011, "Order was not canceled due to cancel restrictions.")
    }

    /// -2013: there is no such order, and none will come of a request that was sent before; or its name is no longer known, which
    /// `docs/api.md` gives the time of.
    #[must_use]
    pub fn no_such_order() -> Self {
        Self::new(-2013, "Order does not exist.")
    }

    /// -2014: no key, or one that cannot be one.
    #[must_use]
    pub fn invalid_key_format() -> Self {
        Self::new(-2014, "API-key format invalid.")
    }

    /// -2015: the key is not known here.
    #[must_use]
    pub fn invalid_key() -> Self {
        Self::new(-2015, "Invalid API-key, IP, or permissions for action.")
    }

    /// Whether this says that the order may have been placed by this very request all the same.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        matches!(self.code, -1006 | -1007)
    }

    /// Whether this says that the order was not placed by this request, for a reason that passes. It says
    /// nothing of earlier requests under the same name.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        matches!(self.code, -1001 | -1003 | -1008 | -1015)
    }

    /// Whether this says that the order was not placed, and that no copy of the request may place it later. A duplicate
    /// says nothing of the order, and a server that is broken inside does not know.
    #[must_use]
    pub fn is_final(&self) -> bool {
        !self.is_unknown() && !self.is_passing() && !self.is_duplicate() && self.code != -1000
    }

    /// Whether the exchange knows the order's name already, or is busy with it.
    #[must_use]
    pub fn is_duplicate(&self) -> bool {
        *self == Self::duplicate_order()
    }

    /// Its HTTP status.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self.code {
            -1000 => 500,
            -1001 | -1008 => 503,
            -1003 | -1015 => 429,
            -1006 | -1007 => 504,
            -2014 | -2015 => 401,
            _ => 400,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_has_its_code_status_and_certainty() {
        // Error, code, HTTP status, unknown, passing.
        let table = [
            (ApiError::internal("x"), -1000, 500, false, false),
            (ApiError::disconnected("x"), -1001, 503, false, true),
            (ApiError::unknown(), -1007, 504, true, false),
            (ApiError::overloaded(), -1008, 503, false, true),
            (ApiError::too_many_orders(), -1015, 429, false, true),
            (ApiError::market_closed(), -1013, 400, false, false),
            (ApiError::filter("LOT_SIZE"), -1013, 400, false, false),
            (ApiError::timestamp(true), -1021, 400, false, false),
            (ApiError::timestamp(false), -1021, 400, false, false),
            (ApiError::signature(), -1022, 400, false, false),
            (ApiError::illegal("a", "b"), -1100, 400, false, false),
            (ApiError::duplicate("a"), -1101, 400, false, false),
            (ApiError::missing("a"), -1102, 400, false, false),
            (ApiError::unread(1, 2, "a"), -1104, 400, false, false),
            (ApiError::empty("a"), -1105, 400, false, false),
            (ApiError::not_required("a"), -1106, 400, false, false),
            (ApiError::precision("a"), -1111, 400, false, false),
            (ApiError::invalid_symbol(), -1121, 400, false, false),
            (ApiError::invalid("a"), -1130, 400, false, false),
            (ApiError::rejected("x"), -2010, 400, false, false),
            (ApiError::insufficient_balance(), -2010, 400, false, false),
            (ApiError::cancel_rejected(), -2011, 400, false, false),
            (ApiError::cancel_restricted(), -2011, 400, false, false),
            (ApiError::no_such_order(), -2013, 400, false, false),
            (ApiError::invalid_key_format(), -2014, 401, false, false),
            (ApiError::invalid_key(), -2015, 401, false, false),
            (ApiError::new(-1003, "Too many requests."), -1003, 429, false, true),
        ];
        for (error, code, status, unknown, passing) in table {
            assert_eq!((error.code, error.status()), (code, status), "{error}");
            assert_eq!((error.is_unknown(), error.is_passing()), (unknown, passing), "{error}");
        }
    }

    #[test]
    fn the_body_is_binances() {
        let error = ApiError::filter("PRICE_FILTER");
        let text = serde_json::to_string(&error).expect("JSON");
        assert_eq!(text, r#"{"code":-1013,"msg":"Filter failure: PRICE_FILTER"}"#);
        assert_eq!(serde_json::from_str::<ApiError>(&text).expect("read back"), error);
    }
}
