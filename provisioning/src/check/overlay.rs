//! An organization as it is in one environment: the file with that environment's overrides laid over it.

use serde_json::{Map, Value};

/// Lays `over` on `base`: tables are merged key by key, everything else is replaced. `archive` is replaced as a whole,
/// because its keys depend on its mode.
pub(crate) fn lay(base: &mut Value, over: &Value) {
    let (Value::Object(b), Value::Object(o)) = (&mut *base, over) else {
        *base = over.clone();
        return;
    };
    for (k, v) in o {
        match b.get_mut(k) {
            Some(there) if k != "archive" => lay(there, v),
            _ => {
                b.insert(k.clone(), v.clone());
            }
        }
    }
}

/// The file as it is in `env`: without `environments` and `environment`, which say where and what differs.
pub(crate) fn resolved(file: &Value, env: &str) -> Value {
    let mut out = file.clone();
    let Value::Object(o) = &mut out else { return Value::Object(Map::new()) };
    o.remove("environments");
    let over = o.remove("environment");
    if let Some(over) = over.as_ref().and_then(|e| e.get(env)) {
        lay(&mut out, over);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn named_keys_change_others_stay() {
        let file = json!({
            "id": "a", "environments": ["test"],
            "share": { "w": { "host": "h", "settle": { "a": 1, "b": 2 }, "archive": { "mode": "move", "folder": "x" } } },
            "environment": { "test": { "share": { "w": {
                "host": "l", "settle": { "b": 3 }, "archive": { "mode": "leave" } } } } },
        });
        assert_eq!(
            resolved(&file, "test"),
            json!({ "id": "a", "share": { "w": {
                "host": "l", "settle": { "a": 1, "b": 3 }, "archive": { "mode": "leave" } } } })
        );
        assert_eq!(resolved(&file, "us")["share"]["w"]["host"], "h");
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![any::<bool>().prop_map(Value::from), any::<i32>().prop_map(Value::from)];
        leaf.prop_recursive(3, 24, 4, |inner| {
            proptest::collection::btree_map("[a-d]", inner, 0..4).prop_map(|m| Value::Object(m.into_iter().collect()))
        })
    }

    proptest! {
        #[test]
        fn laying_twice_is_laying_once(base in any_json(), over in any_json()) {
            let mut once = base;
            lay(&mut once, &over);
            let mut twice = once.clone();
            lay(&mut twice, &over);
            prop_assert_eq!(once, twice);
        }
    }
}
