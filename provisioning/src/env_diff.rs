//! How two environments differ.

use crate::config::Environment;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;

/// One key in which two environments differ, defaults included.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KeyDiff {
    /// Dotted path of the key.
    pub key: String,
    /// The value in the first; `null` if it has none.
    pub a: Value,
    /// The value in the second.
    pub b: Value,
}

impl fmt::Display for KeyDiff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} | {}", self.key, self.a, self.b)
    }
}

/// Every key in which two environments differ, by key.
#[must_use]
pub fn env_diff(a: &Environment, b: &Environment) -> Vec<KeyDiff> {
    let value = |e: &Environment| serde_json::to_value(e).unwrap_or_default();
    let (mut x, mut y) = (Vec::new(), Vec::new());
    leaves(&value(a), "", &mut x);
    leaves(&value(b), "", &mut y);
    let keys: std::collections::BTreeSet<String> = x.iter().chain(&y).map(|(k, _)| k.clone()).collect();
    let get = |l: &[(String, Value)], k: &str| l.iter().find(|(n, _)| n == k).map_or(Value::Null, |(_, v)| v.clone());
    keys.into_iter().map(|key| KeyDiff { a: get(&x, &key), b: get(&y, &key), key }).filter(|d| d.a != d.b).collect()
}

fn leaves(v: &Value, at: &str, out: &mut Vec<(String, Value)>) {
    match v {
        Value::Object(o) if !o.is_empty() => {
            for (k, v) in o {
                leaves(v, &if at.is_empty() { k.clone() } else { format!("{at}.{k}") }, out);
            }
        }
        _ => out.push((at.to_owned(), v.clone())),
    }
}
