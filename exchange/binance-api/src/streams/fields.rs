//! The fields of all messages at once, each of whatever type it comes in: one pass over the text, and no copy of it.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{Error, IgnoredAny, MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer},
};

/// What a field holds.
#[derive(Debug, Default)]
pub(super) enum Any<'a> {
    /// Nothing: it is not there, or `null`.
    #[default]
    Absent,
    Text(Cow<'a, str>),
    Whole(u64),
    Truth(bool),
    /// A list of lists that begin with two texts.
    Levels(Vec<(Cow<'a, str>, Cow<'a, str>)>),
    Other,
}

impl Any<'_> {
    pub(super) fn whole(&self) -> Option<u64> {
        if let Self::Whole(value) = self { Some(*value) } else { None }
    }
}

/// The fields of a message, and those of the wrapping of a combined one.
#[derive(Deserialize)]
pub(super) struct Fields<'a> {
    #[serde(borrow, default)]
    pub(super) stream: Any<'a>,
    #[serde(borrow, default)]
    pub(super) data: Option<Data<'a>>,
    #[serde(borrow, default, rename = "e")]
    pub(super) event: Any<'a>,
    #[serde(borrow, default, rename = "E")]
    pub(super) event_time: Any<'a>,
    #[serde(borrow, default, rename = "T")]
    pub(super) engine_time: Any<'a>,
    #[serde(borrow, default)]
    s: Any<'a>,
    #[serde(borrow, default)]
    symbol: Any<'a>,
    #[serde(borrow, default, rename = "U")]
    pub(super) first: Any<'a>,
    #[serde(borrow, default, rename = "u")]
    pub(super) last: Any<'a>,
    #[serde(borrow, default, rename = "pu")]
    pub(super) previous: Any<'a>,
    /// The bids of a depth update, or the best bid.
    #[serde(borrow, default, rename = "b")]
    pub(super) bids_or_best: Any<'a>,
    /// The asks of a depth update, the best ask, or the id of an aggregate.
    #[serde(borrow, default, rename = "a")]
    pub(super) asks_or_best: Any<'a>,
    #[serde(borrow, default, rename = "B")]
    pub(super) bid_qty: Any<'a>,
    #[serde(borrow, default, rename = "A")]
    pub(super) ask_qty: Any<'a>,
    #[serde(borrow, default, rename = "lastUpdateId")]
    pub(super) last_update_id: Any<'a>,
    #[serde(borrow, default)]
    pub(super) bids: Any<'a>,
    #[serde(borrow, default)]
    pub(super) asks: Any<'a>,
    #[serde(borrow, default, rename = "t")]
    pub(super) trade_id: Any<'a>,
    #[serde(borrow, default, rename = "p")]
    pub(super) price: Any<'a>,
    #[serde(borrow, default, rename = "q")]
    pub(super) qty: Any<'a>,
    #[serde(borrow, default, rename = "m")]
    pub(super) buyer_is_maker: Any<'a>,
    /// What made a trade, where the venue says so.
    #[serde(borrow, default, rename = "X")]
    pub(super) made_by: Any<'a>,
}

impl<'a> Fields<'a> {
    pub(super) fn symbol(&self) -> Option<Cow<'a, str>> {
        [&self.s, &self.symbol].into_iter().find_map(|field| match field {
            Any::Text(text) => Some(text.clone()),
            _ => None,
        })
    }
}

/// What a combined message wraps; nothing where that is no object.
pub(super) struct Data<'a>(pub(super) Option<Box<Fields<'a>>>);

struct AnyVisitor;
struct PairVisitor;
struct DataVisitor;

type Pair<'a> = Option<(Cow<'a, str>, Cow<'a, str>)>;

fn drained<'de, A: SeqAccess<'de>>(mut seq: A) -> Result<(), A::Error> {
    while seq.next_element::<IgnoredAny>()?.is_some() {}
    Ok(())
}

/// What a visitor makes of values that it has no use for.
macro_rules! no_use {
    ($value:expr; $($visit:ident($type:ty)),*) => {
        $(fn $visit<E: Error>(self, _: $type) -> Result<Self::Value, E> { Ok($value) })*
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.write_str("a value") }
    };
}

impl<'de> Visitor<'de> for AnyVisitor {
    type Value = Any<'de>;

    no_use!(Any::Other; visit_i64(i64), visit_f64(f64));

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(Any::Absent)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Any::Truth(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Self::Value, E> {
        Ok(Any::Whole(value))
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Any::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Any::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut levels = Vec::new();
        while let Some(LevelText(level)) = seq.next_element()? {
            let Some(level) = level else { return drained(seq).map(|()| Any::Other) };
            levels.push(level);
        }
        Ok(Any::Levels(levels))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Any::Other)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Any<'a> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_any(AnyVisitor)
    }
}

/// A list that begins with two texts, or nothing.
struct LevelText<'a>(Pair<'a>);

impl<'de> Visitor<'de> for PairVisitor {
    type Value = Pair<'de>;

    no_use!(None; visit_bool(bool), visit_i64(i64), visit_u64(u64), visit_f64(f64), visit_str(&str));

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let price: Option<Any<'de>> = seq.next_element()?;
        let qty: Option<Any<'de>> = if price.is_some() { seq.next_element()? } else { None };
        if qty.is_some() {
            drained(seq)?;
        }
        let (Some(Any::Text(price)), Some(Any::Text(qty))) = (price, qty) else { return Ok(None) };
        Ok(Some((price, qty)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(None)
    }
}

impl<'de> Deserialize<'de> for LevelText<'de> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_any(PairVisitor).map(Self)
    }
}

impl<'de> Visitor<'de> for DataVisitor {
    type Value = Data<'de>;

    no_use!(Data(None); visit_bool(bool), visit_i64(i64), visit_u64(u64), visit_f64(f64), visit_str(&str));

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(Data(None))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Self::Value, A::Error> {
        drained(seq).map(|()| Data(None))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        Fields::deserialize(MapAccessDeserializer::new(map)).map(|fields| Data(Some(Box::new(fields))))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Data<'a> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_any(DataVisitor)
    }
}
