//! The names by which a group and its stores are told apart: random, and determined by no argument.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A text that is not 32 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not an id of 32 hexadecimal digits")]
pub struct InvalidId(String);

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
            pub struct $name(u128);

            impl $name {
                /// From random bits.
                #[must_use]
                pub const fn new(bits: u128) -> Self {
                    Self(bits)
                }
            }

            impl fmt::Display for $name {
                fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    write!(f, "{:032x}", self.0)
                }
            }

            impl fmt::Debug for $name {
                fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    fmt::Display::fmt(self, f)
                }
            }

            impl FromStr for $name {
                type Err = InvalidId;

                fn from_str(text: &str) -> Result<Self, InvalidId> {
                    let digits = text.len() == 32 && text.bytes().all(|c| c.is_ascii_hexdigit());
                    let bits = digits.then(|| u128::from_str_radix(text, 16).ok()).flatten();
                    bits.map(Self).ok_or_else(|| InvalidId(text.chars().take(64).collect()))
                }
            }

            impl Serialize for $name {
                fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                    if serializer.is_human_readable() {
                        serializer.collect_str(self)
                    } else {
                        serializer.serialize_u128(self.0)
                    }
                }
            }

            impl<'de> Deserialize<'de> for $name {
                fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                    if deserializer.is_human_readable() {
                        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
                    } else {
                        u128::deserialize(deserializer).map(Self)
                    }
                }
            }

            impl utoipa::PartialSchema for $name {
                fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
                    utoipa::openapi::ObjectBuilder::new()
                        .schema_type(utoipa::openapi::schema::Type::String)
                        .pattern(Some("^[0-9a-f]{32}$"))
                        .into()
                }
            }

            impl utoipa::ToSchema for $name {}
        )*
    };
}

ids! {
    /// The name of a group: the founding node makes it, and it stands in every membership. Two groups never share one,
    /// whatever their members and their cluster's name are.
    GroupId,
    /// The name of a store: made when the store is created, and lost with it. A group knows each member by it, so that a
    /// store that was wiped is not taken for the one that it replaces.
    StoreId,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_back_from_its_text() {
        let id = StoreId::new(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef);
        assert_eq!(id.to_string(), "0123456789abcdef0123456789abcdef");
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(GroupId::new(7).to_string().parse(), Ok(GroupId::new(7)));
        for wrong in ["", "7", "+123456789abcdef0123456789abcdef", "0123456789abcdef0123456789abcdefg"] {
            assert!(wrong.parse::<GroupId>().is_err(), "{wrong}");
        }
    }
}
