//! Three-way comparison: what is planned, what was last applied, what is there.

mod lifecycle;
mod names;
mod settings;

pub use leadline_domain::drift::DriftKind;
pub use lifecycle::{LifecycleRule, lifecycle, lifecycle_rules};
pub use names::Names;
pub use settings::{Notification, compares, cors_rule, noticed, notification, notification_parts, wanted, why_not};

use super::diff::paths;
use leadline_domain::drift::{Difference, NotCompared};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// One place at which the three are not equal.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Drift {
    /// Dotted path.
    pub path: String,
    /// Who moved.
    pub kind: DriftKind,
}

/// What a comparison of a whole stack found.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Comparison {
    /// Settings that were compared.
    pub compared: u64,
    /// Where they differ.
    pub differences: Vec<Difference>,
    /// What could not be compared.
    pub not_compared: Vec<NotCompared>,
}

/// Compares the planned and the applied template with the settings as the services have them. `live` holds, by logical
/// id, what [`compares`] says is compared; `None` for a resource that is gone.
#[must_use]
pub fn compare(planned: &Value, applied: &Value, live: &BTreeMap<String, Option<Value>>, names: &Names) -> Comparison {
    let mut out = Comparison::default();
    let resources = |t: &Value| t["Resources"].as_object().cloned().unwrap_or_default();
    let (in_plan, in_applied) = (resources(planned), resources(applied));
    let all: BTreeSet<&String> = in_plan.keys().chain(in_applied.keys()).collect();
    for id in all {
        let declared = in_applied.get(id).or_else(|| in_plan.get(id));
        let resource_type = declared.and_then(|r| r["Type"].as_str()).unwrap_or_default().to_owned();
        if !compares(&resource_type) {
            template_only(id, &resource_type, &in_plan, &in_applied, names, &mut out);
            continue;
        }
        let [mut p, mut a] = [planned, applied]
            .map(|t| settings::of_template(t, id, names).map_or(Value::Null, |v| settings::normal(&v)));
        let mut l = live.get(id).and_then(Option::as_ref).map_or(Value::Null, settings::normal);
        // What refers to something whose name is not known here cannot be held against a name.
        let unknown: Vec<String> =
            a.as_object().into_iter().flatten().filter(|(_, v)| names::open(v)).map(|(k, _)| k.clone()).collect();
        for key in unknown {
            for v in [&mut p, &mut a, &mut l] {
                if let Some(o) = v.as_object_mut() {
                    o.remove(&key);
                }
            }
            out.not_compared.push(NotCompared {
                resource: format!("{id}.{key}"),
                resource_type: resource_type.clone(),
                why: "it refers to something whose name is not known here".into(),
            });
        }
        out.compared +=
            [&p, &a, &l].iter().filter_map(|v| v.as_object()).flat_map(|o| o.keys()).collect::<BTreeSet<_>>().len()
                as u64;
        for d in drift(&p, &a, &l) {
            let value = |v: &Value| at(v, &d.path).filter(|v| !v.is_null()).cloned();
            out.differences.push(Difference {
                resource: id.clone(),
                resource_type: resource_type.clone(),
                name: names.id(id).unwrap_or_default().to_owned(),
                planned: value(&p),
                applied: value(&a),
                live: value(&l),
                setting: d.path,
                kind: d.kind,
            });
        }
    }
    out
}

/// A resource whose live settings are not read by themselves: the plan may be ahead of what was applied all the same.
/// Parts of other resources are compared there.
fn template_only(
    id: &str,
    resource_type: &str,
    planned: &serde_json::Map<String, Value>,
    applied: &serde_json::Map<String, Value>,
    names: &Names,
    out: &mut Comparison,
) {
    let (p, a) = (planned.get(id), applied.get(id));
    if p != a && why_not(resource_type).is_some() {
        out.differences.push(Difference {
            resource: id.to_owned(),
            resource_type: resource_type.to_owned(),
            name: names.id(id).unwrap_or_default().to_owned(),
            setting: String::new(),
            kind: DriftKind::Pending,
            planned: p.cloned(),
            applied: a.cloned(),
            live: None,
        });
    }
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

    fn template() -> Value {
        json!({"Resources": {
            "Bucket": {"Type": "AWS::S3::Bucket", "Properties": {
                "BucketName": "b",
                "PublicAccessBlockConfiguration": {"BlockPublicAcls": true},
                "VersioningConfiguration": {"Status": "Enabled"}}},
            "BucketPolicy": {"Type": "AWS::S3::BucketPolicy", "Properties": {
                "Bucket": {"Ref": "Bucket"},
                "PolicyDocument": {"Version": "2012-10-17", "Statement": [
                    {"Sid": "Own", "Effect": "Deny", "Principal": "*", "Action": ["s3:B", "s3:A"],
                     "Resource": [{"Fn::Sub": "${Bucket.Arn}/*"}]}]}}},
        }})
    }

    fn names() -> Names {
        let of = |kind: &str, id: &str| (kind.to_owned(), id.to_owned());
        Names::new("1", "us-east-1", [("Bucket".to_owned(), of("AWS::S3::Bucket", "b"))].into())
    }

    /// The same as the service says it: another order, one instead of a list of one, flags as text.
    fn live() -> Value {
        json!({
            "policy": r#"{"Statement":[{"Action":["s3:A","s3:B"],"Effect":"Deny","Principal":{"AWS":"*"},"Resource":"arn:aws:s3:::b/*","Sid":"Own"}],"Version":"2012-10-17"}"#,
            "public_access_block": {"BlockPublicAcls": "true"},
            "versioning": "Enabled", "encryption": {}, "notifications": [],
        })
    }

    fn look(planned: &Value, applied: &Value, live: Option<Value>) -> Vec<(String, DriftKind)> {
        let live = BTreeMap::from([("Bucket".to_owned(), live)]);
        let found = compare(planned, applied, &live, &names());
        found.differences.into_iter().map(|d| (format!("{}.{}", d.resource, d.setting), d.kind)).collect()
    }

    #[test]
    fn the_same_in_other_words_is_no_drift() {
        assert_eq!(look(&template(), &template(), Some(live())), []);
    }

    #[test]
    fn each_change_is_named_with_its_statement() {
        let mut l = live();
        l["public_access_block"]["BlockPublicAcls"] = "false".into();
        l["policy"] = json!({"Version": "2012-10-17", "Statement": [
            {"Sid": "Own", "Effect": "Allow", "Principal": "*", "Action": ["s3:A", "s3:B"], "Resource": "arn:aws:s3:::b/*"},
            {"Sid": "More", "Effect": "Allow", "Principal": "*", "Action": "s3:*", "Resource": "*"}]});
        assert_eq!(
            look(&template(), &template(), Some(l)),
            [
                ("Bucket.policy.Statement.More".to_owned(), DriftKind::Drifted),
                ("Bucket.policy.Statement.Own.Effect".to_owned(), DriftKind::Drifted),
                ("Bucket.public_access_block.BlockPublicAcls".to_owned(), DriftKind::Drifted),
            ]
        );
        assert_eq!(look(&template(), &template(), None), [("Bucket.".to_owned(), DriftKind::Drifted)], "gone");
    }

    /// CloudFormation's words and S3's for the same rules; no rules and no configuration.
    #[test]
    fn which_pages_may_send_is_compared() {
        let mut t = template();
        let rule = json!({"AllowedOrigins": ["https://b", "https://a"], "AllowedMethods": ["PUT", "POST"],
            "AllowedHeaders": ["*"], "ExposedHeaders": ["ETag"], "MaxAge": 3600});
        t["Resources"]["Bucket"]["Properties"]["CorsConfiguration"] = json!({ "CorsRules": [rule] });
        let rule = |origins| cors_rule(origins, vec!["POST", "PUT"], vec!["*"], vec!["ETag"], Some(3600));
        let mut l = live();
        l["cors"] = json!([rule(vec!["https://a", "https://b"])]);
        assert_eq!(look(&t, &t, Some(l.clone())), []);
        l["cors"] = json!([rule(vec!["*"])]);
        let drifted = [("Bucket.cors".to_owned(), DriftKind::Drifted)];
        assert_eq!(look(&t, &t, Some(l.clone())), drifted);
        assert_eq!(look(&template(), &template(), Some(l.clone())), drifted);
        l["cors"] = json!([]);
        assert_eq!(look(&template(), &template(), Some(l)), []);
    }

    /// A rule that takes recordings away, one that is longer than it was, one that is gone; a lock that somebody put on;
    /// objects that belong to whoever wrote them.
    #[test]
    fn how_a_bucket_keeps_and_lets_go_is_compared() {
        let mut t = template();
        let p = &mut t["Resources"]["Bucket"]["Properties"];
        p["ObjectLockEnabled"] = true.into();
        p["OwnershipControls"] = json!({"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]});
        p["LifecycleConfiguration"] = json!({"Rules": [
            {"Id": "staging", "Status": "Enabled", "Prefix": "staging/", "ExpirationInDays": 7},
            {"Id": "uploads", "Status": "Enabled", "Prefix": "", "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7}},
        ]});
        let rule = |id: &str, prefix: &str| LifecycleRule {
            id: id.into(),
            enabled: true,
            prefix: prefix.into(),
            ..LifecycleRule::default()
        };
        let staging = LifecycleRule { expire_days: Some(7), ..rule("staging", "staging/") };
        let uploads = LifecycleRule { abort_days: Some(7), ..rule("uploads", "") };
        let mut l = live();
        l["object_lock"] = json!({"enabled": true, "mode": null, "days": null, "years": null});
        l["ownership"] = "BucketOwnerEnforced".into();
        l["lifecycle"] = lifecycle([uploads, staging.clone()]);
        assert_eq!(look(&t, &t, Some(l.clone())), []);
        let oops = LifecycleRule { expire_days: Some(1), ..rule("oops", "recordings/") };
        l["lifecycle"] = lifecycle([LifecycleRule { expire_days: Some(8), ..staging }, oops]);
        l["object_lock"]["mode"] = "GOVERNANCE".into();
        l["ownership"] = "ObjectWriter".into();
        let places: Vec<String> = look(&t, &t, Some(l)).into_iter().map(|(p, _)| p).collect();
        let expected =
            ["lifecycle.oops", "lifecycle.staging.expire_days", "lifecycle.uploads", "object_lock.mode", "ownership"];
        assert_eq!(places, expected.map(|e| format!("Bucket.{e}")));
    }

    #[test]
    fn who_may_publish_is_compared() {
        let allow = |who: &str| {
            json!({"Version": "2012-10-17", "Statement": [{"Sid": "Alarms", "Effect": "Allow",
            "Principal": {"Service": [who]}, "Action": ["sns:Publish"], "Resource": ["arn:aws:sns:us-east-1:1:t"]}]})
        };
        let mut policy = allow("cloudwatch.amazonaws.com");
        policy["Statement"][0]["Resource"] = json!([{"Ref": "Topic"}]);
        let t = json!({"Resources": {
            "Topic": {"Type": "AWS::SNS::Topic", "Properties": {"TopicName": "t"}},
            "TopicPolicy": {"Type": "AWS::SNS::TopicPolicy", "Properties": {"Topics": [{"Ref": "Topic"}],
                "PolicyDocument": policy}}}});
        let arn = ("AWS::SNS::Topic".to_owned(), "arn:aws:sns:us-east-1:1:t".to_owned());
        let names = Names::new("1", "us-east-1", [("Topic".to_owned(), arn)].into());
        let found = |who: &str| {
            let live = json!({"policy": allow(who).to_string(), "key": null});
            let c = compare(&t, &t, &BTreeMap::from([("Topic".to_owned(), Some(live))]), &names);
            c.differences.into_iter().map(|d| d.setting).collect::<Vec<_>>()
        };
        assert_eq!(found("cloudwatch.amazonaws.com"), Vec::<String>::new());
        assert_eq!(found("events.amazonaws.com"), ["policy.Statement.Alarms.Principal.Service"]);
    }

    #[test]
    fn a_plan_that_is_ahead_is_no_drift() {
        let mut ahead = template();
        ahead["Resources"]["Bucket"]["Properties"]["VersioningConfiguration"]["Status"] = "Suspended".into();
        ahead["Resources"]["Alarm"] = json!({"Type": "AWS::CloudWatch::Alarm"});
        assert_eq!(
            look(&ahead, &template(), Some(live())),
            [("Alarm.".to_owned(), DriftKind::Pending), ("Bucket.versioning".to_owned(), DriftKind::Pending)]
        );
    }

    #[test]
    fn what_cannot_be_resolved_is_said_and_not_guessed() {
        let mut t = template();
        t["Resources"]["Bucket"]["Properties"]["VersioningConfiguration"]["Status"] = json!({"Ref": "Unknown"});
        let live = BTreeMap::from([("Bucket".to_owned(), Some(live()))]);
        let found = compare(&t, &t, &live, &names());
        assert_eq!(found.differences, []);
        assert_eq!(found.not_compared[0].resource, "Bucket.versioning");
    }

    #[test]
    fn a_notification_is_read_back_from_its_line() {
        for (event, to, filter) in [
            ("s3:ObjectCreated:*", "arn:aws:sqs:us-east-1:1:q", &[][..]),
            ("s3:ObjectCreated:Put", "arn:aws:sqs:us-east-1:1:q", &[("prefix", "staging/"), ("suffix", ".x")][..]),
        ] {
            let line = notification(event, to, filter);
            assert_eq!(notification_parts(&line), Some(Notification { event, to, filter: filter.to_vec() }));
        }
        assert_eq!(notification_parts("all of it"), None);
    }

    #[test]
    fn what_is_wanted_has_every_setting_that_differs_by_name() {
        let wanted = wanted(&template(), "Bucket", &names()).unwrap();
        let mut l = live();
        l["public_access_block"]["BlockPublicAcls"] = "false".into();
        l["versioning"] = "Suspended".into();
        for (place, _) in look(&template(), &template(), Some(l)) {
            let setting = place.split('.').nth(1).unwrap();
            assert!(!wanted[setting].is_null(), "{place}");
        }
    }

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
