//! JSON, bounded: in depth, in the number of values, and without names that come twice. What others do with a second
//! `"data"` is up to them, so that two readers could see two documents in one resource.

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};
use std::cell::Cell;
use std::fmt;

/// Levels of arrays and objects. Resources have about ten.
const DEPTH: usize = 64;
/// Values in one body.
const VALUES: usize = 200_000;

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub enum Json {
    /// `null`, `true` and `false`.
    Word(Option<bool>),
    /// A whole number from 0 on.
    Whole(u64),
    /// Another number.
    Number(f64),
    /// Text.
    Text(String),
    /// A list.
    List(Vec<Json>),
    /// Names and values, in their order.
    Object(Vec<(String, Json)>),
}

/// Why a body is not read. Without any text of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unread {
    /// It is no JSON, from this line and column on.
    Syntax(usize, usize),
    /// It is deeper or longer than anything that is taken, or an object has a name twice.
    Bounds(&'static str),
}

const TOO_DEEP: &str = "it has more than 64 levels";
const TOO_MANY: &str = "it has more than 200,000 values";
const TWICE: &str = "an object has a name twice";

impl Json {
    /// Reads a body.
    ///
    /// # Errors
    /// [`Unread`].
    pub fn parse(raw: &[u8]) -> Result<Self, Unread> {
        let left = Cell::new(VALUES);
        let why = Cell::new(None);
        let mut reader = serde_json::Deserializer::from_slice(raw);
        let seed = Seed { depth: DEPTH, left: &left, why: &why };
        let value = seed.deserialize(&mut reader).and_then(|value| reader.end().map(|()| value));
        value.map_err(|e| why.take().map_or(Unread::Syntax(e.line(), e.column()), Unread::Bounds))
    }

    /// A member of an object.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Json> {
        match self {
            Self::Object(members) => members.iter().find(|(n, _)| n == name).map(|(_, v)| v),
            _ => None,
        }
    }

    /// A member that is text.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name)?.as_text()
    }

    /// The text of a value that is text.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The values of a member that is a list; none if it is not there.
    pub fn list(&self, name: &str) -> &[Json] {
        match self.get(name) {
            Some(Self::List(values)) => values,
            _ => &[],
        }
    }
}

#[derive(Clone, Copy)]
struct Seed<'a> {
    depth: usize,
    left: &'a Cell<usize>,
    why: &'a Cell<Option<&'static str>>,
}

impl Seed<'_> {
    fn fail<E: Error>(&self, why: &'static str) -> E {
        self.why.set(Some(why));
        E::custom(why)
    }

    fn inner<E: Error>(&self) -> Result<Self, E> {
        if self.depth == 0 { Err(self.fail(TOO_DEEP)) } else { Ok(Self { depth: self.depth - 1, ..*self }) }
    }

    fn count<E: Error>(&self) -> Result<(), E> {
        match self.left.get().checked_sub(1) {
            Some(left) => {
                self.left.set(left);
                Ok(())
            }
            None => Err(self.fail(TOO_MANY)),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Json;

    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<Json, D::Error> {
        self.count()?;
        d.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }
    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Word(None))
    }
    fn visit_bool<E>(self, v: bool) -> Result<Json, E> {
        Ok(Json::Word(Some(v)))
    }
    fn visit_u64<E>(self, v: u64) -> Result<Json, E> {
        Ok(Json::Whole(v))
    }
    #[allow(clippy::cast_precision_loss)] // Negative whole numbers mean nothing here.
    fn visit_i64<E>(self, v: i64) -> Result<Json, E> {
        Ok(Json::Number(v as f64))
    }
    fn visit_f64<E>(self, v: f64) -> Result<Json, E> {
        Ok(Json::Number(v))
    }
    fn visit_str<E>(self, v: &str) -> Result<Json, E> {
        Ok(Json::Text(v.to_owned()))
    }
    fn visit_string<E>(self, v: String) -> Result<Json, E> {
        Ok(Json::Text(v))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Json, A::Error> {
        let inner = self.inner()?;
        let mut values = Vec::new();
        while let Some(value) = seq.next_element_seed(inner)? {
            values.push(value);
        }
        Ok(Json::List(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json, A::Error> {
        let inner = self.inner()?;
        let mut members: Vec<(String, Json)> = Vec::new();
        let mut names = std::collections::HashSet::new();
        while let Some(name) = map.next_key::<String>()? {
            if !names.insert(name.clone()) {
                return Err(self.fail(TWICE));
            }
            members.push((name, map.next_value_seed(inner)?));
        }
        Ok(Json::Object(members))
    }
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Word(None) => s.serialize_unit(),
            Self::Word(Some(v)) => s.serialize_bool(*v),
            Self::Whole(v) => s.serialize_u64(*v),
            Self::Number(v) => s.serialize_f64(*v),
            Self::Text(v) => s.serialize_str(v),
            Self::List(v) => s.collect_seq(v),
            Self::Object(v) => {
                let mut map = s.serialize_map(Some(v.len()))?;
                for (name, value) in v {
                    map.serialize_entry(name, value)?;
                }
                map.end()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_it_reads_it_writes() {
        let text = r#"{"b":[1,-2.5,null,true],"a":{"x":"y\n"}}"#;
        let value = Json::parse(text.as_bytes()).unwrap();
        assert_eq!(serde_json::to_string(&value).unwrap(), text);
        assert_eq!(value.get("a").and_then(|a| a.text("x")), Some("y\n"));
        assert_eq!(value.list("b").len(), 4);
    }

    #[test]
    fn it_is_bounded_and_says_why_without_saying_what() {
        let deep = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
        assert!(Json::parse(deep(DEPTH).as_bytes()).is_ok());
        assert_eq!(Json::parse(deep(DEPTH + 1).as_bytes()), Err(Unread::Bounds(TOO_DEEP)));
        assert_eq!(Json::parse(deep(100_000).as_bytes()), Err(Unread::Bounds(TOO_DEEP)));
        let wide = format!("[{}1]", "1,".repeat(VALUES));
        assert_eq!(Json::parse(wide.as_bytes()), Err(Unread::Bounds(TOO_MANY)));
        assert_eq!(Json::parse(br#"{"a":1,"b":2,"a":3}"#), Err(Unread::Bounds(TWICE)));
        for bad in [&b""[..], b"{", b"{} x", b"{\"Doe\":}", b"\xFF", b"<xml/>", b"\"\xFF\""] {
            assert!(matches!(Json::parse(bad), Err(Unread::Syntax(..))), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn anything_can_be_read(raw in prop::collection::vec(prop_oneof![
            Just(b'['), Just(b'{'), Just(b'}'), Just(b']'), Just(b'"'), Just(b','), Just(b':'), Just(b'1'), any::<u8>()], 0..200)) {
            let _ = Json::parse(&raw);
        }
    }
}
