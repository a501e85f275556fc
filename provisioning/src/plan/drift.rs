//! Three-way comparison: what is planned, what was last applied, what is there.

use super::diff::paths;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeSet;

/// Who moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DriftKind {
    /// The plan changed and is not applied yet; what is there is what was applied.
    Pending,
    /// What is there was changed past us.
    Drifted,
    /// What is there was changed past us, to what is planned now.
    AlreadyAsPlanned,
    /// Both moved, to different values.
    Conflict,
}

/// One place at which the three are not equal.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Drift {
    /// Dotted path.
    pub path: String,
    /// Who moved.
    pub kind: DriftKind,
}

/// Compares three values, e.g. templates or live settings of the same shape.
#[must_use]
pub fn drift(planned: &Value, applied: &Value, live: &Value) -> Vec<Drift> {
    let moved: BTreeSet<String> = paths(applied, planned, "").into_iter().chain(paths(applied, live, "")).collect();
    // A path and another inside it: one side changed a part of what the other side changed as a whole.
    let outermost = moved.iter().filter(|p| {
        let inside = |o: &&String| p.strip_prefix(o.as_str()).is_some_and(|r| r.starts_with('.'));
        !moved.iter().any(|o| o.is_empty() && !p.is_empty() || inside(&o))
    });
    outermost
        .filter_map(|path| {
            let [p, a, l] = [planned, applied, live].map(|v| at(v, path));
            let kind = match (p == a, l == a, p == l) {
                (true, true, _) => return None,
                (false, true, _) => DriftKind::Pending,
                (true, false, _) => DriftKind::Drifted,
                (false, false, true) => DriftKind::AlreadyAsPlanned,
                (false, false, false) => DriftKind::Conflict,
            };
            Some(Drift { path: path.clone(), kind })
        })
        .collect()
}

/// The value at a dotted path. Keys may hold dots themselves (`lambda.amazonaws.com`), so every split is tried.
pub(super) fn at<'v>(v: &'v Value, path: &str) -> Option<&'v Value> {
    if path.is_empty() {
        return Some(v);
    }
    let o = v.as_object()?;
    if let Some(found) = o.get(path) {
        return Some(found);
    }
    path.match_indices('.').find_map(|(i, _)| at(o.get(&path[..i])?, &path[i + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn who_moved() {
        let applied = json!({ "a": 1, "b": { "c": 1, "d": 1 }, "e": 1 });
        let planned = json!({ "a": 2, "b": { "c": 1, "d": 2 }, "e": 2 });
        let live = json!({ "a": 1, "b": { "c": 9, "d": 2 }, "e": 3 });
        let found = drift(&planned, &applied, &live);
        let found: Vec<_> = found.iter().map(|d| (d.path.as_str(), d.kind)).collect();
        assert_eq!(
            found,
            [
                ("a", DriftKind::Pending),
                ("b.c", DriftKind::Drifted),
                ("b.d", DriftKind::AlreadyAsPlanned),
                ("e", DriftKind::Conflict)
            ]
        );
    }

    fn small() -> impl Strategy<Value = Value> {
        let leaf = (0i32..3).prop_map(Value::from);
        leaf.prop_recursive(2, 12, 3, |i| {
            proptest::collection::btree_map("[ab.]", i, 0..3).prop_map(|m| Value::Object(m.into_iter().collect()))
        })
    }

    proptest! {
        #[test]
        fn equal_values_do_not_drift(v in small()) {
            prop_assert!(drift(&v, &v, &v).is_empty());
        }
        #[test]
        fn any_difference_is_found(p in small(), a in small(), l in small()) {
            prop_assert_eq!(drift(&p, &a, &l).is_empty(), p == a && a == l);
        }
    }
}
