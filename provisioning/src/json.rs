//! One spelling for a JSON value, whatever order its maps happen to keep.

use serde_json::{Map, Value};

/// The value with the keys of every object sorted.
#[must_use]
pub(crate) fn sorted(v: &Value) -> Value {
    match v {
        Value::Object(o) => {
            let mut entries: Vec<_> = o.iter().collect();
            entries.sort_by(|a, b| a.0.cmp(b.0));
            Value::Object(entries.into_iter().map(|(k, v)| (k.clone(), sorted(v))).collect::<Map<_, _>>())
        }
        Value::Array(a) => Value::Array(a.iter().map(sorted).collect()),
        other => other.clone(),
    }
}

/// For people and golden files: sorted, indented, with a final newline.
#[must_use]
pub(crate) fn pretty(v: &Value) -> String {
    format!("{:#}\n", sorted(v))
}

/// For digests and requests: sorted, without white space.
#[must_use]
pub(crate) fn compact(v: &Value) -> String {
    sorted(v).to_string()
}
