//! Compares a file with the JSON Schema of its type and reports every difference. Knows the part of JSON Schema that
//! our types give rise to; what it does not know it accepts, and the type itself refuses it afterwards.

use super::finding::{Findings, Severity};
use super::source::{Parsed, dotted};
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// Names under which people write down secrets. They are refused with a reason of their own, wherever they appear.
const SECRET_WORDS: &[&str] = &[
    "password",
    "passwd",
    "passphrase",
    "secret",
    "secret_key",
    "token",
    "api_key",
    "private_key",
    "credentials",
    "user",
    "username",
];

/// Returns the keys of which nothing more can be said: those that have the wrong shape, tables that lack something, and
/// what an unknown key may have been meant to be.
pub(crate) fn check(schema: &Value, parsed: &Parsed, findings: &mut Findings) -> BTreeSet<String> {
    let empty = Map::new();
    let defs = schema.get("$defs").and_then(Value::as_object).unwrap_or(&empty);
    let mut walk = Walk { defs, parsed, findings, misshapen: BTreeSet::new() };
    walk.value(schema, &parsed.value, "");
    walk.misshapen
}

struct Walk<'a> {
    defs: &'a Map<String, Value>,
    parsed: &'a Parsed,
    findings: &'a mut Findings,
    misshapen: BTreeSet<String>,
}

impl Walk<'_> {
    fn error(&mut self, key: &str, message: impl Into<String>, help: impl Into<String>) {
        self.misshapen.insert(key.to_owned());
        self.findings.at(Severity::Error, self.parsed, key, message, help);
    }

    fn deref<'s>(&'s self, schema: &'s Value) -> &'s Value {
        let name = schema.get("$ref").and_then(Value::as_str).and_then(|r| r.strip_prefix("#/$defs/"));
        name.and_then(|n| self.defs.get(n)).unwrap_or(schema)
    }

    fn value(&mut self, schema: &Value, value: &Value, at: &str) {
        let schema = self.deref(schema).clone();
        if let Some(options) = schema.get("anyOf").or_else(|| schema.get("oneOf")).and_then(Value::as_array) {
            return self.one_of(options, value, at);
        }
        if let Some(names) = schema.get("enum").and_then(Value::as_array) {
            if !names.contains(value) {
                let help = nearest(value.as_str().unwrap_or_default(), names.iter().filter_map(Value::as_str))
                    .map_or_else(|| "take one of these".into(), |n| format!("did you mean {n}?"));
                let names: Vec<String> = names.iter().map(Value::to_string).collect();
                self.error(at, format!("{value} is not one of {}", names.join(", ")), help);
            }
            return;
        }
        if !type_fits(&schema, value) {
            let expected = words(&schema);
            return self.error(
                at,
                format!("expected {expected}, found {}", kind(value)),
                "write it as the schema says",
            );
        }
        match value {
            Value::Object(o) => self.object(&schema, o, at),
            Value::Array(a) => {
                self.size(&schema, "minItems", a.len(), at);
                for (i, v) in a.iter().enumerate() {
                    if a[..i].contains(v) {
                        self.error(&dotted(at, &i.to_string()), format!("{v} is there twice"), "remove one");
                    }
                    if let Some(items) = schema.get("items") {
                        self.value(items, v, &dotted(at, &i.to_string()));
                    }
                }
            }
            Value::String(s) => {
                if let Some(p) = schema.get("pattern").and_then(Value::as_str) {
                    self.pattern(p, s, at);
                }
            }
            Value::Number(n) => self.range(&schema, n, at),
            Value::Bool(_) | Value::Null => {}
        }
    }

    /// The option that fits best: by its tag, else the only one of the right type.
    fn one_of(&mut self, options: &[Value], value: &Value, at: &str) {
        let options: Vec<Value> = options.iter().map(|o| self.deref(o).clone()).collect();
        let constants: Vec<&Value> = options.iter().filter_map(|o| o.get("const")).collect();
        if constants.len() == options.len() {
            if !constants.contains(&value) {
                let names: Vec<String> = constants.iter().map(|v| v.to_string()).collect();
                self.error(at, format!("{value} is not one of {}", names.join(", ")), "take one of these");
            }
            return;
        }
        let fitting: Vec<&Value> = options.iter().filter(|o| type_fits(o, value) && tag_fits(o, value)).collect();
        match fitting[..] {
            [only] => self.value(&only.clone(), value, at),
            [] => {
                let tags = tags(&options);
                let help = if tags.is_empty() { "write it as the schema says".into() } else { format!("write {tags}") };
                self.error(at, format!("{} does not fit here", kind(value)), help);
            }
            _ => {}
        }
    }

    fn object(&mut self, schema: &Value, o: &Map<String, Value>, at: &str) {
        let empty = Map::new();
        let known = schema.get("properties").and_then(Value::as_object).unwrap_or(&empty);
        let by_pattern = schema.get("patternProperties").and_then(Value::as_object).unwrap_or(&empty);
        let additional = schema.get("additionalProperties");
        for (k, v) in o {
            let path = dotted(at, k);
            if let Some(s) = known.get(k) {
                self.value(s, v, &path);
            } else if let Some((p, s)) = by_pattern.iter().next() {
                self.pattern(p, k, &path);
                self.value(s, v, &path);
            } else {
                match additional {
                    Some(Value::Bool(false)) => self.unknown(k, known, o, &path),
                    Some(s @ Value::Object(_)) => self.value(s, v, &path),
                    _ => {}
                }
            }
        }
        for name in schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
            if !o.contains_key(name) {
                let help = known.get(name).and_then(|s| s.get("description")).and_then(Value::as_str);
                let help = help.map_or_else(|| "add it".into(), |d| format!("add it: {}", first_sentence(d)));
                self.error(&dotted(at, name), "is missing", help);
                self.misshapen.insert(at.to_owned());
            }
        }
    }

    fn unknown(&mut self, name: &str, known: &Map<String, Value>, siblings: &Map<String, Value>, path: &str) {
        if SECRET_WORDS.contains(&name.to_lowercase().as_str()) {
            return self.error(
                path,
                "credentials must not be in a file",
                "remove it, change it where it is valid, and put the new one into the secret store: \
                 leadline/<env>/<org>/share/<share> for a share",
            );
        }
        let help = match nearest(name, known.keys().map(String::as_str)) {
            Some(k) => {
                let meant = path.strip_suffix(name).filter(|_| !siblings.contains_key(k));
                self.misshapen.extend(meant.map(|parent| format!("{parent}{k}")));
                format!("did you mean {k}?")
            }
            None => format!("known here: {}", known.keys().cloned().collect::<Vec<_>>().join(", ")),
        };
        self.error(path, "no such key", help);
    }

    fn pattern(&mut self, pattern: &str, s: &str, at: &str) {
        let fits = regex_lite::Regex::new(pattern).is_ok_and(|r| r.is_match(s));
        if !fits {
            self.error(at, format!("\"{}\" is not valid", s.escape_debug()), rule(pattern));
        }
    }

    fn range(&mut self, schema: &Value, n: &serde_json::Number, at: &str) {
        let n = n.as_f64().unwrap_or(f64::NAN);
        let (min, max) = (schema.get("minimum"), schema.get("maximum"));
        let below = min.and_then(Value::as_f64).is_some_and(|m| n < m);
        let above = max.and_then(Value::as_f64).is_some_and(|m| n > m);
        if below || above {
            let at_least = min.map_or(String::new(), |m| format!("at least {m}"));
            let at_most = max.map_or(String::new(), |m| format!("at most {m}"));
            let help = [at_least, at_most].into_iter().filter(|s| !s.is_empty()).collect::<Vec<_>>().join(" and ");
            self.error(at, format!("{n} is out of range"), format!("write {help}"));
        }
    }

    fn size(&mut self, schema: &Value, word: &str, len: usize, at: &str) {
        if schema.get(word).and_then(Value::as_u64).is_some_and(|m| (len as u64) < m) {
            self.error(at, "is empty", "name at least one");
        }
    }
}

/// What a pattern asks for, in words.
fn rule(pattern: &str) -> String {
    match pattern {
        "^[a-z](-?[a-z0-9]){1,23}$" => {
            "2 to 24 lower-case letters, digits or single hyphens, beginning with a letter, not ending in a hyphen"
                .into()
        }
        "^[a-z](-?[a-z0-9]){1,11}$" => {
            "2 to 12 lower-case letters, digits or single hyphens, beginning with a letter, not ending in a hyphen"
                .into()
        }
        "^[0-9]{12}$" => "12 digits, as text in quotes".into(),
        p if p.contains("BEGIN PUBLIC KEY") => {
            "the public half of the key, as PEM: openssl pkey -in key.pem -pubout".into()
        }
        "^https?://[^/]+/?$" => "http(s)://host:port, nothing after it".into(),
        p => format!("it must match {p}"),
    }
}

fn type_fits(schema: &Value, value: &Value) -> bool {
    let is = |t: &str| match t {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "null" => value.is_null(),
        _ => true,
    };
    match schema.get("type") {
        Some(Value::String(t)) => is(t),
        Some(Value::Array(ts)) => ts.iter().filter_map(Value::as_str).any(is),
        _ => true,
    }
}

/// Whether the constants and, for enums that are tables of one key, the key of an option are those of the value.
fn tag_fits(option: &Value, value: &Value) -> bool {
    let (Some(p), Value::Object(o)) = (option.get("properties").and_then(Value::as_object), value) else { return true };
    let mut constants = p.iter().filter_map(|(k, s)| Some((k, s.get("const")?))).peekable();
    if constants.peek().is_some() {
        return constants.all(|(k, c)| o.get(k) == Some(c));
    }
    // A key that stands for the option itself has to be there; one that may be left out tells nothing.
    let required = option.get("required").and_then(Value::as_array);
    let named = |k: &String| required.is_some_and(|r| r.iter().any(|n| n == k));
    p.len() != 1 || p.keys().all(|k| !named(k) || o.contains_key(k))
}

fn tags(options: &[Value]) -> String {
    let one = |o: &Value| {
        let p = o.get("properties")?.as_object()?;
        p.iter().find_map(|(k, s)| Some(format!("{k} = {}", s.get("const")?))).or_else(|| p.keys().next().cloned())
    };
    options.iter().filter_map(one).collect::<Vec<_>>().join(" or ")
}

fn words(schema: &Value) -> String {
    match schema.get("type") {
        Some(Value::String(t)) => t.replace("object", "table"),
        Some(Value::Array(ts)) => {
            ts.iter().filter_map(Value::as_str).filter(|t| *t != "null").collect::<Vec<_>>().join(" or ")
        }
        _ => "something else".into(),
    }
}

fn kind(v: &Value) -> &'static str {
    match v {
        Value::Null => "a number that is too large",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "an array",
        Value::Object(_) => "a table",
    }
}

fn first_sentence(d: &str) -> &str {
    d.split_once(". ").map_or(d, |(s, _)| s)
}

/// The name that someone who wrote `name` may have meant.
fn nearest<'n>(name: &str, known: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    known.map(|k| (distance(name, k), k)).min().filter(|(d, k)| *d <= k.len().max(3) / 3 + 1).map(|(_, k)| k)
}

/// How many letters to insert, remove or replace (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let next = (diagonal + usize::from(ca != *cb)).min(row[j] + 1).min(row[j + 1] + 1);
            diagonal = std::mem::replace(&mut row[j + 1], next);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn distance_is_a_metric(a in "[ab]{0,5}", b in "[ab]{0,5}", c in "[ab]{0,5}") {
            prop_assert_eq!(distance(&a, &b), distance(&b, &a));
            prop_assert_eq!(distance(&a, &b) == 0, a == b);
            prop_assert!(distance(&a, &c) <= distance(&a, &b) + distance(&b, &c));
        }
    }
}
