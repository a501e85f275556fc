//! A file's text, its values, and the line of every key.

use super::finding::Findings;
use serde_json::Value;
use std::collections::BTreeMap;
use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

/// One file of the environments folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFile {
    /// Path relative to the folder, `/`-separated.
    pub path: String,
    /// Its text.
    pub text: String,
}

impl SourceFile {
    /// A file.
    #[must_use]
    pub fn new(path: impl Into<String>, text: impl Into<String>) -> Self {
        Self { path: path.into(), text: text.into() }
    }
}

/// A parsed file.
pub(crate) struct Parsed {
    pub(crate) path: String,
    pub(crate) value: Value,
    lines: BTreeMap<String, usize>,
}

impl Parsed {
    /// Parses TOML. Every syntax error becomes a finding; `None` if there is any.
    pub(crate) fn parse(file: &SourceFile, findings: &mut Findings) -> Option<Self> {
        let (table, errors) = DeTable::parse_recoverable(&file.text);
        for e in &errors {
            let line = e.span().map(|s| line_of(&file.text, s.start));
            findings.error(&file.path, line, "", format!("not TOML: {}", e.message()), "mend the syntax at this line");
        }
        if !errors.is_empty() {
            return None;
        }
        let mut lines = BTreeMap::new();
        let value = table_value(table.get_ref(), "", &file.text, &mut lines);
        Some(Self { path: file.path.clone(), value, lines })
    }

    /// Takes a key out, with all that is beneath it; of an array the whole of it. Its line stays known. Returns what was
    /// taken out.
    pub(crate) fn take_out<'k>(&mut self, key: &'k str) -> &'k str {
        let mut at = &mut self.value;
        let ends = key.match_indices('.').map(|(dot, _)| dot).chain([key.len()]);
        let mut from = 0;
        for to in ends {
            let Value::Object(o) = at else { break };
            let name = &key[from..to];
            if to == key.len() || !o.get(name).is_some_and(Value::is_object) {
                o.remove(name);
                return &key[..to];
            }
            at = &mut o[name];
            from = to + 1;
        }
        key
    }

    /// The line of a key, or of the nearest one around it.
    pub(crate) fn line(&self, key: &str) -> Option<usize> {
        let mut key = key;
        loop {
            if let Some(line) = self.lines.get(key) {
                return Some(*line);
            }
            key = key.rsplit_once('.')?.0;
        }
    }
}

/// The dotted path of `name` inside `parent`.
pub(crate) fn dotted(parent: &str, name: &str) -> String {
    if parent.is_empty() { name.to_owned() } else { format!("{parent}.{name}") }
}

/// Whether a key is this one, or beneath it.
pub(crate) fn within(key: &str, table: &str) -> bool {
    key.strip_prefix(table).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

fn line_of(text: &str, offset: usize) -> usize {
    1 + text.as_bytes()[..offset.min(text.len())].iter().filter(|b| **b == b'\n').count()
}

fn table_value(table: &DeTable<'_>, at: &str, text: &str, lines: &mut BTreeMap<String, usize>) -> Value {
    let mut out = serde_json::Map::new();
    for (k, v) in table {
        let (k, v): (&Spanned<DeString<'_>>, &Spanned<DeValue<'_>>) = (k, v);
        let path = dotted(at, k.get_ref());
        lines.insert(path.clone(), line_of(text, k.span().start));
        out.insert(k.get_ref().to_string(), value(v.get_ref(), &path, text, lines));
    }
    Value::Object(out)
}

fn value(v: &DeValue<'_>, at: &str, text: &str, lines: &mut BTreeMap<String, usize>) -> Value {
    match v {
        DeValue::String(s) => Value::String(s.to_string()),
        DeValue::Integer(i) => i64::from_str_radix(i.as_str(), i.radix()).map_or(Value::Null, Value::from),
        DeValue::Float(f) => f.as_str().parse::<f64>().map_or(Value::Null, Value::from),
        DeValue::Boolean(b) => Value::Bool(*b),
        DeValue::Datetime(d) => Value::String(d.to_string()),
        DeValue::Array(a) => Value::Array(
            a.iter()
                .enumerate()
                .map(|(i, v)| {
                    let path = dotted(at, &i.to_string());
                    lines.insert(path.clone(), line_of(text, v.span().start));
                    value(v.get_ref(), &path, text, lines)
                })
                .collect(),
        ),
        DeValue::Table(t) => table_value(t, at, text, lines),
    }
}
