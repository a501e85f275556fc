//! What changes between two templates, resource by resource.

use super::CurrentStack;
use super::drift::at;
use crate::policy::{STATEFUL, kept};
use crate::template;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// What happens to a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// It is made.
    Create,
    /// It is changed in place.
    Update,
    /// Another one takes its place.
    Replace,
    /// The stack lets go of it.
    Remove,
}

/// A change of one resource, or of the stack itself (outputs, tags, description: `type` is `stack`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Change {
    /// Logical id in the template.
    pub logical_id: String,
    /// E.g. `AWS::S3::Bucket`.
    #[serde(rename = "type")]
    pub resource_type: String,
    /// What happens.
    pub kind: ChangeKind,
    /// Why: the paths that differ.
    pub why: Vec<String>,
    /// What those become that are single values.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<Difference>,
}

/// A single value that changes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Difference {
    /// Where; one of the paths in `why`.
    pub path: String,
    /// What it is, as JSON; empty if there is nothing.
    pub from: String,
    /// What it becomes, likewise.
    pub to: String,
}

impl Change {
    /// Whether data or access to data would be lost.
    #[must_use]
    pub fn loses(&self) -> bool {
        matches!(self.kind, ChangeKind::Replace | ChangeKind::Remove) && STATEFUL.contains(&self.resource_type.as_str())
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.kind {
            ChangeKind::Create => "create",
            ChangeKind::Update => "change",
            ChangeKind::Replace => "REPLACE",
            ChangeKind::Remove => "REMOVE",
        };
        write!(f, "{word} {} ({})", self.logical_id, self.resource_type)?;
        if !self.why.is_empty() {
            let said = self.why.iter().map(|path| match self.values.iter().find(|v| v.path == *path) {
                Some(v) => format!("{path} {} -> {}", v.from, v.to),
                None => path.clone(),
            });
            write!(f, ": {}", said.collect::<Vec<_>>().join(", "))?;
        }
        Ok(())
    }
}

/// Longer values are not shown.
const ONE_LINE: usize = 80;

/// Properties whose change makes CloudFormation replace the resource ("Update requires: Replacement" in the resource
/// reference). Only what our templates set.
const REPLACING: &[(&str, &[&str])] = &[
    ("AWS::CloudWatch::Alarm", &["AlarmName"]),
    ("AWS::IAM::Role", &["RoleName", "Path"]),
    ("AWS::KMS::Alias", &["AliasName"]),
    ("AWS::S3::Bucket", &["BucketName"]),
    ("AWS::S3::BucketPolicy", &["Bucket"]),
    ("AWS::SNS::Subscription", &["Endpoint", "Protocol", "TopicArn"]),
    ("AWS::SNS::Topic", &["TopicName", "FifoTopic"]),
    ("AWS::SQS::Queue", &["QueueName", "FifoQueue"]),
    ("AWS::SSM::Parameter", &["Name"]),
    ("AWS::SecretsManager::Secret", &["Name"]),
];

/// Changes from the stack as it is to a template and tags, sorted by logical id.
pub(super) fn changes(current: Option<&CurrentStack>, to: &Value, tags: &BTreeMap<String, String>) -> Vec<Change> {
    let empty = Map::new();
    let old = current.and_then(|c| c.template["Resources"].as_object()).unwrap_or(&empty);
    let new = to["Resources"].as_object().unwrap_or(&empty);
    let ids: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let mut out: Vec<Change> = ids.into_iter().filter_map(|id| resource(id, old.get(id), new.get(id))).collect();
    if let Some(c) = current {
        let mut why: Vec<String> = ["Outputs", "Description", "Parameters", "Conditions"]
            .into_iter()
            .flat_map(|k| paths(&c.template[k], &to[k], k))
            // It follows from the rest.
            .filter(|p| *p != format!("Outputs.{}.Value", template::DIGEST))
            .collect();
        let names: BTreeSet<&String> = c.tags.keys().chain(tags.keys()).collect();
        why.extend(names.into_iter().filter(|k| c.tags.get(*k) != tags.get(*k)).map(|k| format!("tag {k}")));
        if !why.is_empty() {
            let stack = "stack".to_owned();
            out.push(Change {
                logical_id: String::new(),
                resource_type: stack,
                kind: ChangeKind::Update,
                why,
                values: Vec::new(),
            });
        }
    }
    out.sort();
    out
}

fn resource(id: &str, old: Option<&Value>, new: Option<&Value>) -> Option<Change> {
    let kind_of = |r: &Value| r["Type"].as_str().unwrap_or_default().to_owned();
    let change = |resource_type, kind, why| {
        Some(Change { logical_id: id.to_owned(), resource_type, kind, why, values: Vec::new() })
    };
    match (old, new) {
        (None, None) => None,
        (None, Some(n)) => change(kind_of(n), ChangeKind::Create, Vec::new()),
        (Some(o), None) => {
            let what = if kept(&o["DeletionPolicy"]) { "it stays, outside of the stack" } else { "it is deleted" };
            change(kind_of(o), ChangeKind::Remove, vec![what.to_owned()])
        }
        (Some(o), Some(n)) => {
            if o["Type"] != n["Type"] {
                let why = vec![format!("type {} becomes {}", kind_of(o), kind_of(n))];
                return change(kind_of(o), ChangeKind::Replace, why);
            }
            let why = paths(o, n, "");
            if why.is_empty() {
                return None;
            }
            let resource_type = kind_of(n);
            let fixed = REPLACING.iter().find(|(t, _)| *t == resource_type).map_or(&[][..], |(_, p)| p);
            let replaced = fixed.iter().any(|p| o["Properties"][p] != n["Properties"][p]);
            let values = why.iter().filter_map(|path| difference(o, n, path)).collect();
            let kind = if replaced { ChangeKind::Replace } else { ChangeKind::Update };
            Some(Change { logical_id: id.to_owned(), resource_type, kind, why, values })
        }
    }
}

/// What a path becomes, if both sides are single values that fit into a line.
fn difference(old: &Value, new: &Value, path: &str) -> Option<Difference> {
    let one = |v: Option<&Value>| match v {
        None | Some(Value::Null) => Some(String::new()),
        Some(Value::Object(_) | Value::Array(_)) => None,
        Some(v) => Some(v.to_string()).filter(|s| s.len() <= ONE_LINE),
    };
    let (from, to) = (one(at(old, path))?, one(at(new, path))?);
    Some(Difference { path: path.to_owned(), from, to })
}

/// The dotted paths at which two values differ. Lists differ as a whole: their elements have no names.
pub(crate) fn paths(a: &Value, b: &Value, at: &str) -> Vec<String> {
    match (a, b) {
        _ if a == b => Vec::new(),
        (Value::Object(x), Value::Object(y)) => {
            let keys: BTreeSet<&String> = x.keys().chain(y.keys()).collect();
            let dotted = |k: &str| if at.is_empty() { k.to_owned() } else { format!("{at}.{k}") };
            keys.into_iter()
                .flat_map(|k| match (x.get(k), y.get(k)) {
                    (Some(v), Some(w)) => paths(v, w, &dotted(k)),
                    _ => vec![dotted(k)],
                })
                .collect()
        }
        _ => vec![at.to_owned()],
    }
}
