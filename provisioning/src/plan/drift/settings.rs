//! The settings of a resource that are compared, in one shape whether they come from a template or from the service.

use super::lifecycle;
use super::names::Names;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// The types whose settings are read from the services.
const COMPARED: &[&str] = &[
    "AWS::S3::Bucket",
    "AWS::KMS::Key",
    "AWS::IAM::Role",
    "AWS::SQS::Queue",
    "AWS::SNS::Topic",
    "AWS::SecretsManager::Secret",
];
/// Types that are settings of another resource, and compared there.
const PARTS: &[&str] = &[
    "AWS::S3::BucketPolicy",
    "AWS::SQS::QueuePolicy",
    "AWS::SNS::TopicPolicy",
    "AWS::IAM::Policy",
    "AWS::IAM::RolePolicy",
    "AWS::KMS::Alias",
];

/// Whether the settings of a type are compared.
#[must_use]
pub fn compares(resource_type: &str) -> bool {
    COMPARED.contains(&resource_type)
}

/// Types of which CloudFormation is asked whether the resource is still there.
const NOTICED: &[&str] = &["AWS::CloudWatch::Alarm", "AWS::SSM::Parameter"];

/// Whether a resource of this type is missed when it is gone, though its settings are not compared.
#[must_use]
pub fn noticed(resource_type: &str) -> bool {
    NOTICED.contains(&resource_type)
}

/// Why a type is not compared; `None` if it is, by itself or as a part of another.
#[must_use]
pub fn why_not(resource_type: &str) -> Option<&'static str> {
    let known = compares(resource_type) || PARTS.contains(&resource_type);
    (!known).then_some(if noticed(resource_type) {
        "its live settings are not read; only the template is compared, and whether it is there"
    } else {
        "its live settings are not read; only the template is compared"
    })
}

/// The settings of a template's resource, with references resolved; `None` if the template does not have it.
pub(super) fn of_template(template: &Value, id: &str, names: &Names) -> Option<Value> {
    let resource = template["Resources"].get(id)?;
    let p = names.resolve(&resource["Properties"]);
    let parts = |kind: &str| {
        let all = template["Resources"].as_object().into_iter().flatten();
        let of_kind: Vec<Value> =
            all.filter(|(_, r)| r["Type"] == kind).map(|(_, r)| names.resolve(&r["Properties"])).collect();
        of_kind
    };
    // Before the stack is made a reference stays one; it then names the resource it refers to.
    let own = |v: &Value| names.id(id).is_some_and(|mine| v == mine) || v["Ref"] == id;
    let own_in = |v: &Value| v.as_array().is_some_and(|a| a.iter().any(own));
    Some(match resource["Type"].as_str()? {
        "AWS::S3::Bucket" => {
            let policy = parts("AWS::S3::BucketPolicy")
                .into_iter()
                .find(|b| own(&b["Bucket"]) || b["Bucket"] == p["BucketName"]);
            let sse = &p["BucketEncryption"]["ServerSideEncryptionConfiguration"][0];
            let by_default = &sse["ServerSideEncryptionByDefault"];
            let retention = &p["ObjectLockConfiguration"]["Rule"]["DefaultRetention"];
            json!({
                "policy": policy.map(|b| b["PolicyDocument"].clone()),
                "public_access_block": p["PublicAccessBlockConfiguration"],
                "versioning": p["VersioningConfiguration"]["Status"],
                "encryption": {
                    "algorithm": by_default["SSEAlgorithm"],
                    "key": by_default["KMSMasterKeyID"],
                    "bucket_key": sse["BucketKeyEnabled"],
                },
                "notifications": notifications(&p["NotificationConfiguration"]),
                "cors": cors(&p["CorsConfiguration"]),
                "lifecycle": lifecycle::of_template(&p["LifecycleConfiguration"]),
                "object_lock": {
                    // Without it a bucket says nothing of locks at all.
                    "enabled": (p["ObjectLockEnabled"] == true).then_some(true),
                    "mode": retention["Mode"],
                    "days": retention["Days"],
                    "years": retention["Years"],
                },
                "ownership": p["OwnershipControls"]["Rules"][0]["ObjectOwnership"],
            })
        }
        "AWS::KMS::Key" => {
            let aliases = parts("AWS::KMS::Alias").into_iter().filter(|a| own(&a["TargetKeyId"]));
            json!({
                "policy": p["KeyPolicy"],
                "rotation": p["EnableKeyRotation"],
                "enabled": p.get("Enabled").cloned().unwrap_or(true.into()),
                "aliases": aliases.map(|a| a["AliasName"].clone()).collect::<Vec<_>>(),
            })
        }
        "AWS::IAM::Role" => {
            let mut inline = Map::new();
            let attached = parts("AWS::IAM::Policy").into_iter().filter(|i| own_in(&i["Roles"]));
            let alone = parts("AWS::IAM::RolePolicy").into_iter().filter(|i| own(&i["RoleName"]));
            let within = p["Policies"].as_array().cloned().unwrap_or_default();
            for i in attached.chain(alone).chain(within) {
                inline.insert(i["PolicyName"].as_str().unwrap_or_default().to_owned(), i["PolicyDocument"].clone());
            }
            json!({
                "trust": p["AssumeRolePolicyDocument"],
                "inline_policies": inline,
                "managed_policies": p["ManagedPolicyArns"],
                "boundary": p["PermissionsBoundary"],
                "session_seconds": p["MaxSessionDuration"],
            })
        }
        "AWS::SQS::Queue" => {
            let policies = parts("AWS::SQS::QueuePolicy").into_iter().find(|q| own_in(&q["Queues"]));
            json!({
                "policy": policies.map(|q| q["PolicyDocument"].clone()),
                "visibility_timeout": p["VisibilityTimeout"],
                "retention": p["MessageRetentionPeriod"],
                "redrive": p["RedrivePolicy"],
                "redrive_allow": p["RedriveAllowPolicy"],
                "encrypted": p["SqsManagedSseEnabled"],
                "key": p["KmsMasterKeyId"],
            })
        }
        "AWS::SNS::Topic" => {
            let policies = parts("AWS::SNS::TopicPolicy").into_iter().find(|t| own_in(&t["Topics"]));
            json!({ "policy": policies.map(|t| t["PolicyDocument"].clone()), "key": p["KmsMasterKeyId"] })
        }
        "AWS::SecretsManager::Secret" => json!({ "policy": null, "key": p["KmsKeyId"] }),
        _ => return None,
    })
}

/// One line an event, so that order and grouping do not matter.
fn notifications(n: &Value) -> Value {
    let mut lines = Vec::new();
    for (list, to) in
        [("QueueConfigurations", "Queue"), ("TopicConfigurations", "Topic"), ("LambdaConfigurations", "Function")]
    {
        for c in n[list].as_array().into_iter().flatten() {
            let rules = c["Filter"]["S3Key"]["Rules"].as_array().cloned().unwrap_or_default();
            let rules: Vec<(&str, &str)> = rules.iter().map(|r| (text(&r["Name"]), text(&r["Value"]))).collect();
            lines.push(notification(text(&c["Event"]), text(&c[to]), &rules));
        }
    }
    // A configuration is there or not; in a template it says so, or stands alone.
    let bridge = &n["EventBridgeConfiguration"];
    if !bridge.is_null() && bridge.get("EventBridgeEnabled") != Some(&false.into()) {
        lines.push("all to EventBridge".to_owned());
    }
    lines.sort();
    json!(lines)
}

/// One rule a list member, with the members that a rule has.
fn cors(c: &Value) -> Value {
    let rule = |r: &Value| {
        let list = |name: &str| r[name].as_array().cloned().unwrap_or_default();
        // CloudFormation calls it `ExposedHeaders`, S3 `ExposeHeaders`.
        cors_rule(list("AllowedOrigins"), list("AllowedMethods"), list("AllowedHeaders"), list("ExposedHeaders"), {
            r["MaxAge"].as_i64()
        })
    };
    json!(c["CorsRules"].as_array().into_iter().flatten().map(rule).collect::<Vec<_>>())
}

/// How a rule of which pages may send to a bucket is written. `max_age_s`: how long browsers remember it, seconds.
#[must_use]
pub fn cors_rule<T: Into<Value>>(
    origins: Vec<T>,
    methods: Vec<T>,
    headers: Vec<T>,
    exposed: Vec<T>,
    max_age_s: Option<i64>,
) -> Value {
    let list = |l: Vec<T>| Value::Array(l.into_iter().map(Into::into).collect());
    json!({
        "origins": list(origins), "methods": list(methods), "headers": list(headers), "exposed": list(exposed),
        "max_age_s": max_age_s,
    })
}

fn text(v: &Value) -> &str {
    v.as_str().unwrap_or_default()
}

/// The settings that a template wants for one of its resources, with references resolved, by the names that differences
/// begin with; `None` if the template does not have it, or its type is not compared.
#[must_use]
pub fn wanted(template: &Value, id: &str, names: &Names) -> Option<Value> {
    of_template(template, id, names)
}

/// What a bucket tells, and whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification<'a> {
    /// E.g. `s3:ObjectCreated:*`.
    pub event: &'a str,
    /// ARN.
    pub to: &'a str,
    /// The rules of the filter: name, value.
    pub filter: Vec<(&'a str, &'a str)>,
}

/// What a line says that [`notification`] wrote; `None` for another.
#[must_use]
pub fn notification_parts(line: &str) -> Option<Notification<'_>> {
    let (event, rest) = line.split_once(" to ")?;
    let (to, only) = rest.split_once(" where ").unwrap_or((rest, ""));
    let filter = only.split(", ").filter(|r| !r.is_empty()).map(|r| r.split_once('=')).collect::<Option<_>>()?;
    Some(Notification { event, to, filter })
}

/// How a notification is written: event, target, and the filter's rules (name, value).
#[must_use]
pub fn notification(event: &str, to: &str, filter: &[(&str, &str)]) -> String {
    let mut rules: Vec<String> = filter.iter().map(|(n, v)| format!("{}={v}", n.to_lowercase())).collect();
    rules.sort();
    let only = if rules.is_empty() { String::new() } else { format!(" where {}", rules.join(", ")) };
    format!("{event} to {to}{only}")
}

/// Brings settings to one form: policies by statement, lists without order, numbers and flags as text, nothing instead
/// of empty.
pub(super) fn normal(v: &Value) -> Value {
    let Value::Object(o) = v else { return Value::Null };
    let mut out = Map::new();
    for (k, v) in o {
        let n = match k.as_str() {
            "policy" | "trust" => policy(v),
            "inline_policies" => match v {
                Value::Object(all) => Value::Object(all.iter().map(|(n, p)| (n.clone(), policy(p))).collect()),
                _ => Value::Null,
            },
            "redrive" | "redrive_allow" => plain(&parsed(v)),
            _ => plain(v),
        };
        let empty = n.is_null() || n.as_object().is_some_and(Map::is_empty) || n.as_array().is_some_and(Vec::is_empty);
        if !empty {
            out.insert(k.clone(), n);
        }
    }
    Value::Object(out)
}

/// A document may come as its text.
fn parsed(v: &Value) -> Value {
    match v {
        Value::String(s) => serde_json::from_str(s).unwrap_or_else(|_| v.clone()),
        _ => v.clone(),
    }
}

fn plain(v: &Value) -> Value {
    match v {
        Value::Null => Value::Null,
        Value::Bool(b) => Value::String(b.to_string()),
        Value::Number(n) => Value::String(n.to_string()),
        Value::String(s) => Value::String(s.clone()),
        Value::Array(a) => sorted(a.iter().map(plain).collect()),
        Value::Object(o) => {
            let members: Map<String, Value> =
                o.iter().map(|(k, v)| (k.clone(), plain(v))).filter(|(_, v)| !v.is_null()).collect();
            Value::Object(members)
        }
    }
}

fn sorted(mut a: Vec<Value>) -> Value {
    a.sort_by_key(Value::to_string);
    Value::Array(a)
}

/// One or several, as a list.
fn list(v: &Value) -> Value {
    match v {
        Value::Array(_) => plain(v),
        _ => Value::Array(vec![plain(v)]),
    }
}

/// A policy with its statements by Sid, so that a difference says which.
fn policy(v: &Value) -> Value {
    let v = parsed(v);
    let Value::Object(o) = &v else { return Value::Null };
    let mut statements: BTreeMap<String, Value> = BTreeMap::new();
    let all = match &v["Statement"] {
        Value::Array(a) => a.clone(),
        Value::Null => Vec::new(),
        one => vec![one.clone()],
    };
    for (n, s) in all.iter().enumerate() {
        let sid = match s["Sid"].as_str() {
            Some(sid) if !sid.is_empty() && !statements.contains_key(sid) => sid.to_owned(),
            _ => format!("#{}", n + 1),
        };
        statements.insert(sid, statement(s));
    }
    let mut out = Map::new();
    out.insert("Version".into(), plain(o.get("Version").unwrap_or(&Value::Null)));
    out.insert("Statement".into(), json!(statements));
    Value::Object(out)
}

fn statement(s: &Value) -> Value {
    let mut out = Map::new();
    for (k, v) in s.as_object().into_iter().flatten() {
        let n = match k.as_str() {
            "Sid" => continue,
            "Action" | "NotAction" | "Resource" | "NotResource" => list(v),
            "Principal" | "NotPrincipal" => match v {
                // IAM: the two ways to say everyone.
                Value::String(_) => json!({ "AWS": list(v) }),
                _ => lists(v),
            },
            "Condition" => {
                Value::Object(v.as_object().into_iter().flatten().map(|(op, keys)| (op.clone(), lists(keys))).collect())
            }
            _ => plain(v),
        };
        out.insert(k.clone(), n);
    }
    Value::Object(out)
}

fn lists(v: &Value) -> Value {
    Value::Object(v.as_object().into_iter().flatten().map(|(k, v)| (k.clone(), list(v))).collect())
}
