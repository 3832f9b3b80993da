//! A maker's secret: what shows that a command is the maker's own.
//!
//! Invariant: neither the secret nor its hash is in any view, event or refusal, nor in what `Debug` prints. This guards
//! against mistakes (a second process with a copied name, a script that pulls the wrong symbol), not against somebody who
//! can read the log.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::digest::Digest;

/// 32 random bytes that a maker makes when it registers. In JSON 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Secret(pub [u8; 32]);

/// Why a text is not a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a secret is 64 hexadecimal digits")]
pub struct InvalidSecret;

impl Secret {
    /// What a registration carries instead of it.
    #[must_use]
    pub fn hash(&self) -> SecretHash {
        SecretHash(Digest::of(&self.0))
    }
}

/// The BLAKE3 hash of a secret. In JSON 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SecretHash(pub Digest);

impl fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretHash(..)")
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        Digest(self.0).serialize(s)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        // The digest's own error would show the text.
        Digest::deserialize(d).map(|digits| Self(digits.0)).map_err(|_| de::Error::custom(InvalidSecret))
    }
}

#[cfg(feature = "openapi")]
impl utoipa::PartialSchema for Secret {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        Digest::schema()
    }
}
#[cfg(feature = "openapi")]
impl utoipa::ToSchema for Secret {}
#[cfg(feature = "openapi")]
impl utoipa::PartialSchema for SecretHash {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        Digest::schema()
    }
}
#[cfg(feature = "openapi")]
impl utoipa::ToSchema for SecretHash {}
