//! Names of symbols, assets, makers, exchanges, accounts and orders: checked where they enter, trusted inside.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use smol_str::SmolStr;

/// Why a text is not a valid name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is not a valid {kind}: 1 to {max} characters of {allowed}")]
pub struct InvalidName {
    text: String,
    kind: &'static str,
    max: usize,
    allowed: &'static str,
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $max:literal, $allowed:literal, $test:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(SmolStr);

        impl $name {
            /// Checks `text` and takes it as a name.
            ///
            /// # Errors
            /// [`InvalidName`] where it is empty, too long, or has a character that is not allowed.
            pub fn new(text: &str) -> Result<Self, InvalidName> {
                let allowed: fn(u8) -> bool = $test;
                if text.is_empty() || text.len() > $max || !text.bytes().all(allowed) {
                    let shown = text.chars().take(40).collect();
                    return Err(InvalidName { text: shown, kind: $kind, max: $max, allowed: $allowed });
                }
                Ok(Self(SmolStr::new(text)))
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;
            fn from_str(text: &str) -> Result<Self, InvalidName> {
                Self::new(text)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                struct Text;

                impl de::Visitor<'_> for Text {
                    type Value = $name;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str("a text")
                    }

                    fn visit_str<E: de::Error>(self, text: &str) -> Result<$name, E> {
                        $name::new(text).map_err(E::custom)
                    }
                }

                d.deserialize_str(Text)
            }
        }

        #[cfg(feature = "openapi")]
        impl utoipa::PartialSchema for $name {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
                utoipa::openapi::schema::ObjectBuilder::new()
                    .schema_type(utoipa::openapi::schema::Type::String)
                    .min_length(Some(1))
                    .max_length(Some($max))
                    .description(Some(concat!("characters allowed: ", $allowed)))
                    .into()
            }
        }
        #[cfg(feature = "openapi")]
        impl utoipa::ToSchema for $name {}
    };
}

name!(
    /// A traded instrument, such as `BTCUSDT`.
    Symbol, "symbol", 20, "A-Z 0-9 _ -",
    |c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == b'_' || c == b'-'
);
name!(
    /// What is owned and paid in, such as `BTC` or `USDT`.
    Asset, "asset", 20, "A-Z 0-9 _ -",
    |c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == b'_' || c == b'-'
);
name!(
    /// A maker process's lasting name; each registration of it is an incarnation.
    MakerName, "maker name", 32, "a-z A-Z 0-9 _ - .",
    |c| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'-' | b'.')
);
name!(
    /// An exchange process's lasting name; each registration of it is an exchange epoch.
    ExchangeName, "exchange name", 32, "a-z A-Z 0-9 _ - .",
    |c| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'-' | b'.')
);
name!(
    /// The owner of external orders.
    Account, "account", 32, "a-z A-Z 0-9 _ - .",
    |c| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'-' | b'.')
);
name!(
    /// An order's name, chosen by its sender, unique for its account (Binance: `newClientOrderId`).
    ClientOrderId, "client order id", 36, "a-z A-Z 0-9 . : / _ -",
    |c| c.is_ascii_alphanumeric() || matches!(c, b'.' | b':' | b'/' | b'_' | b'-')
);

name!(
    /// Who makes a control command: a person, or the program that acts for one.
    ActorName, "actor", 32, "a-z A-Z 0-9 _ - .",
    |c| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'-' | b'.')
);
name!(
    /// Where a reference price comes from.
    SourceName, "source", 64, "a-z A-Z 0-9 . : / _ -",
    |c| c.is_ascii_alphanumeric() || matches!(c, b'.' | b':' | b'/' | b'_' | b'-')
);
name!(
    /// A strategy, by the name that its program gives it.
    StrategyName, "strategy", 32, "a-z A-Z 0-9 _ - .",
    |c| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'-' | b'.')
);

impl Symbol {
    /// A symbol that none sorts before: where a range over symbols begins.
    #[must_use]
    pub fn lowest() -> Self {
        Self(SmolStr::new_static("-"))
    }
}
