//! HMAC-SHA256 signatures over the whole parameter string, and the window of time in which a request counts.

use std::fmt;

use hmac::{Hmac, Mac};
use quorate_domain::Account;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::error::ApiError;

/// Characters of Binance's API keys at most.
const KEY_MAX: usize = 64;
/// `recvWindow` where none is given, in ms.
pub const RECV_WINDOW_DEFAULT_MS: u64 = 5_000;
/// `recvWindow` at most, in ms.
pub const RECV_WINDOW_MAX_MS: u64 = 60_000;
/// How far a timestamp may lie ahead of the server's time, in ms.
pub const AHEAD_MAX_MS: u64 = 1_000;

/// A secret that signs. Nothing shows it: it has no `Display`, and its `Debug` says only that there is one.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl Secret {
    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The signature of `text`, in hexadecimal.
    #[must_use]
    pub fn sign(&self, text: &str) -> String {
        sign(&self.0, text)
    }

    /// Checks a signature, in constant time.
    ///
    /// # Errors
    /// -1022 where it is not that of `text`.
    pub fn verify(&self, text: &str, signature: &str) -> Result<(), ApiError> {
        let bytes = hex::decode(signature).map_err(|_| ApiError::signature())?;
        mac(&self.0, text).verify_slice(&bytes).map_err(|_| ApiError::signature())
    }
}

fn mac(secret: &str, text: &str) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("HMAC takes a key of any length");
    mac.update(text.as_bytes());
    mac
}

/// The signature of `text`, in hexadecimal.
#[must_use]
pub fn sign(secret: &str, text: &str) -> String {
    hex::encode(mac(secret, text).finalize().into_bytes())
}

/// The account that a key names where nobody signs. One that is too long for a name, as Binance's are with 64 characters, stands for
/// a name that is made of it: `k` and 31 digits of its SHA-256.
///
/// # Errors
/// -2014 where it is neither a name nor such a key.
pub fn account_of(key: &str) -> Result<Account, ApiError> {
    let binances = (1..=KEY_MAX).contains(&key.len()) && key.bytes().all(|c| c.is_ascii_alphanumeric());
    let name = if binances && Account::new(key).is_err() {
        let digest = hex::encode(Sha256::digest(key.as_bytes()));
        std::iter::once('k').chain(digest.chars().take(31)).collect()
    } else {
        key.to_owned()
    };
    Account::new(&name).map_err(|_| ApiError::invalid_key_format())
}

/// Checks that a request made at `timestamp` counts at `server` time, both in microseconds since the Unix epoch:
/// `timestamp < server + 1 s` and `server - timestamp <= window`, which is in microseconds as well.
///
/// # Errors
/// -1021 where it does not, -1131 where the window is too large.
pub fn check_window(server: u64, timestamp: u64, window: Option<u64>) -> Result<(), ApiError> {
    let window = window.unwrap_or(RECV_WINDOW_DEFAULT_MS * 1_000);
    if window > RECV_WINDOW_MAX_MS * 1_000 {
        return Err(ApiError::new(-1131, "'recvWindow' must be less than 60000."));
    }
    if timestamp >= server.saturating_add(AHEAD_MAX_MS * 1_000) {
        return Err(ApiError::timestamp(true));
    }
    if server.saturating_sub(timestamp) > window {
        return Err(ApiError::timestamp(false));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP1e3UZjInClVN65XAbvqqM6A7H5fATj0j";
    const TEXT: &str = "symbol=LTCBTC&side=BUY&type=LIMIT&timeInForce=GTC&quantity=1&price=0.1&recvWindow=5000&timestamp=1499827319559";
    const SIGNATURE: &str = "c8db56825ae71d6d79447849e617115f4a920fa2acdcab2b053c4b2838bd6b71";

    #[test]
    fn the_published_example_holds() {
        assert_eq!(sign(SECRET, TEXT), SIGNATURE);
        assert!(Secret::from(SECRET).verify(TEXT, SIGNATURE).is_ok());
    }

    #[test]
    fn a_secret_is_shown_nowhere() {
        assert_eq!(format!("{:?}", Secret::from(SECRET)), "Secret(..)");
    }

    #[test]
    fn another_text_or_signature_is_refused() {
        assert_eq!(
            Secret::from(SECRET).verify(&TEXT.replace("BUY", "SELL"), SIGNATURE).expect_err("refused").code,
            -1022
        );
        assert_eq!(Secret::from(SECRET).verify(TEXT, "zz").expect_err("refused").code, -1022);
        assert_eq!(Secret::from(SECRET).verify(TEXT, &SIGNATURE[2..]).expect_err("refused").code, -1022);
    }

    #[test]
    fn a_key_is_a_name_or_stands_for_one() {
        let of = |key: &str| account_of(key).map(|account| account.to_string()).map_err(|error| error.code);
        assert_eq!(of("alice.1"), Ok("alice.1".to_owned()));
        // The digest of 64 times 'a' begins with ffe054fe.
        let made = of(&"a".repeat(64)).expect("a key");
        assert!(made.starts_with("kffe054fe") && made.len() == 32, "{made}");
        assert_ne!(of(&"a".repeat(64)), of(&"a".repeat(63)));
        for bad in ["", "no key", &"a".repeat(65), &format!("{}-", "a".repeat(40))] {
            assert_eq!(of(bad), Err(-2014), "{bad}");
        }
    }

    #[test]
    fn the_window_is_closed_on_both_sides() {
        let check = |timestamp, window| check_window(10_000_000, timestamp, window).map_err(|error| error.code);
        assert_eq!((check(5_000_000, None), check(4_999_999, None)), (Ok(()), Err(-1021)));
        assert_eq!((check(10_999_999, None), check(11_000_000, None)), (Ok(()), Err(-1021)));
        assert_eq!((check(9_999_875, Some(125)), check(9_999_874, Some(125))), (Ok(()), Err(-1021)));
        assert_eq!((check(1, Some(60_000_000)), check(10_000_000, Some(60_000_001))), (Ok(()), Err(-1131)));
    }
}
