//! Values of properties: literal, or known only once another resource exists.

use leadline_domain::Digest;
use serde::{Serialize, Serializer};
use serde_json::json;
use std::collections::BTreeMap;

/// What tells apart, by what they are, several of a kind that cannot be changed or must not be mistaken for another.
pub(crate) fn short_digest(content: &str) -> String {
    Digest::of(content.as_bytes()).to_hex()[..8].to_owned()
}

/// A text, or a reference to one.
#[derive(Debug, Clone)]
pub(crate) enum Text {
    Literal(String),
    /// The physical id of a resource.
    Ref(String),
    /// An attribute of a resource.
    Att(String, &'static str),
    /// Something around an attribute: `${Bucket.Arn}/*`.
    Sub(String),
}

impl Text {
    pub(crate) fn att(id: &str, attribute: &'static str) -> Self {
        Self::Att(id.to_owned(), attribute)
    }
    pub(crate) fn reference(id: &str) -> Self {
        Self::Ref(id.to_owned())
    }
    pub(crate) fn sub(s: impl Into<String>) -> Self {
        Self::Sub(s.into())
    }
}

impl<T: Into<String>> From<T> for Text {
    fn from(s: T) -> Self {
        Self::Literal(s.into())
    }
}

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Literal(t) => t.serialize(s),
            Self::Ref(id) => json!({ "Ref": id }).serialize(s),
            Self::Att(id, attribute) => json!({ "Fn::GetAtt": [id, attribute] }).serialize(s),
            Self::Sub(t) => json!({ "Fn::Sub": t }).serialize(s),
        }
    }
}

/// A tag of a resource.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Tag {
    key: String,
    value: String,
}

/// Tags as resources want them.
pub(crate) fn tag_list(tags: &BTreeMap<String, String>) -> Vec<Tag> {
    tags.iter().map(|(k, v)| Tag { key: k.clone(), value: v.clone() }).collect()
}
