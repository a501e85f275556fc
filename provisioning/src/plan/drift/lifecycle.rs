//! Rules by which a bucket lets go of what it holds, in one shape whether they come from a template or from S3.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// One rule. What it has besides is in `more`, in words: no rule of ours has anything, so that one that does differs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LifecycleRule {
    /// Its name.
    #[serde(skip)]
    pub id: String,
    /// Whether it is in force.
    pub enabled: bool,
    /// What the keys begin with that it is about; empty for all.
    pub prefix: String,
    /// Objects go after this many days.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expire_days: Option<i64>,
    /// Whether markers go under which nothing is left.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub expire_markers: bool,
    /// Older versions go after this many days.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old_days: Option<i64>,
    /// So many older versions stay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old_kept: Option<i64>,
    /// Uploads that nobody goes on with go after this many days.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub abort_days: Option<i64>,
    /// Anything else.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub more: Vec<String>,
}

/// How rules are written: by their names.
#[must_use]
pub fn lifecycle(rules: impl IntoIterator<Item = LifecycleRule>) -> Value {
    let one = |r: LifecycleRule| Some((r.id.clone(), serde_json::to_value(r).ok()?));
    Value::Object(rules.into_iter().filter_map(one).collect())
}

/// The rules that [`lifecycle`] wrote; `None` for anything else.
#[must_use]
pub fn lifecycle_rules(v: &Value) -> Option<Vec<LifecycleRule>> {
    let none = Map::new();
    let all = if v.is_null() { &none } else { v.as_object()? };
    let one = |(id, r): (&String, &Value)| {
        let rule: LifecycleRule = serde_json::from_value(r.clone()).ok()?;
        Some(LifecycleRule { id: id.clone(), ..rule })
    };
    all.iter().map(one).collect()
}

/// Those of a template.
pub(super) fn of_template(configuration: &Value) -> Value {
    lifecycle(configuration["Rules"].as_array().into_iter().flatten().map(rule))
}

fn rule(r: &Value) -> LifecycleRule {
    const KNOWN: &[&str] = &[
        "Id",
        "Status",
        "Prefix",
        "ExpirationInDays",
        "ExpiredObjectDeleteMarker",
        "NoncurrentVersionExpiration",
        "AbortIncompleteMultipartUpload",
    ];
    let text = |k: &str| r[k].as_str().unwrap_or_default().to_owned();
    let old = &r["NoncurrentVersionExpiration"];
    LifecycleRule {
        id: text("Id"),
        enabled: r["Status"] == "Enabled",
        prefix: text("Prefix"),
        expire_days: r["ExpirationInDays"].as_i64(),
        expire_markers: r["ExpiredObjectDeleteMarker"] == true,
        old_days: old["NoncurrentDays"].as_i64(),
        old_kept: old["NewerNoncurrentVersions"].as_i64(),
        abort_days: r["AbortIncompleteMultipartUpload"]["DaysAfterInitiation"].as_i64(),
        more: r
            .as_object()
            .into_iter()
            .flatten()
            .filter(|(k, _)| !KNOWN.contains(&k.as_str()))
            .map(|(k, v)| format!("{k} {v}"))
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn rules_are_read_back_as_they_were_written() {
        let staging = LifecycleRule {
            id: "staging".into(),
            enabled: true,
            prefix: "staging/".into(),
            expire_days: Some(7),
            old_days: Some(1),
            ..LifecycleRule::default()
        };
        let markers = LifecycleRule { id: "markers".into(), expire_markers: true, ..LifecycleRule::default() };
        let uploads = LifecycleRule { id: "uploads".into(), abort_days: Some(7), ..LifecycleRule::default() };
        let all = lifecycle([staging.clone(), markers.clone(), uploads.clone()]);
        assert_eq!(lifecycle_rules(&all), Some(vec![markers, staging, uploads]));
        assert_eq!(lifecycle_rules(&Value::Null), Some(vec![]));
        assert_eq!(lifecycle_rules(&json!("all")), None);
    }

    #[test]
    fn what_a_template_says_is_taken_up_whole() {
        let said = of_template(&json!({"Rules": [
            {"Id": "a", "Status": "Enabled", "Prefix": "staging/", "ExpirationInDays": 7,
                "NoncurrentVersionExpiration": {"NoncurrentDays": 1}},
            {"Id": "b", "Status": "Disabled", "Prefix": "", "Transition": {"StorageClass": "GLACIER"}},
        ]}));
        assert_eq!(
            said,
            json!({
                "a": {"enabled": true, "prefix": "staging/", "expire_days": 7, "old_days": 1},
                "b": {"enabled": false, "prefix": "", "more": ["Transition {\"StorageClass\":\"GLACIER\"}"]},
            })
        );
    }
}
