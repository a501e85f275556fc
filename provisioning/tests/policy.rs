//! Every rule finds the mistake it is there for, on the templates we really make.

mod common;

use common::config;
use leadline_domain::{EnvId, OrgId};
use leadline_provisioning::config::Environment;
use leadline_provisioning::policy::{Context, Rule, check};
use leadline_provisioning::template;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// A resource of the organization's own.
const OWN: &str = "arn:aws:s3:::leadline-us-st-mary-222222222222/recordings/*";

/// The rules that a change of the organization's template breaks, with the resource.
fn broken(change: impl FnOnce(&mut Value)) -> Vec<(String, Rule)> {
    let c = config();
    let us = EnvId::parse("us").unwrap();
    let (env, org) = (c.environment(&us).unwrap(), c.organization(&us, &OrgId::parse("st-mary").unwrap()).unwrap());
    let mut t = template::organization(env, &org.scope(env).unwrap(), org);
    change(&mut t["Resources"]);
    let tags = template::tags("us", Some(("st-mary", "us")));
    let context = Context {
        account: &env.account,
        region: &env.region,
        tls_only: true,
        tags: &tags,
        residency: Some((vec!["us"], c.jurisdictions())),
        foreign: &BTreeSet::new(),
    };
    check(&t, &context).into_iter().map(|v| (v.logical_id, v.rule)).collect()
}

/// The same for the environment's template, and that of its copies.
fn broken_in(of: impl Fn(&Environment) -> Value, region: &str, change: impl FnOnce(&mut Value)) -> Vec<(String, Rule)> {
    let c = config();
    let env = c.environment(&EnvId::parse("us").unwrap()).unwrap();
    let mut t = of(env);
    change(&mut t["Resources"]);
    let tags = template::tags("us", None);
    let context = Context {
        account: &env.account,
        region,
        tls_only: true,
        tags: &tags,
        residency: Some((vec!["us"], c.jurisdictions())),
        foreign: &BTreeSet::new(),
    };
    check(&t, &context).into_iter().map(|v| (v.logical_id, v.rule)).collect()
}

#[track_caller]
fn env_breaks(id: &str, rule: Rule, change: impl FnOnce(&mut Value)) {
    assert_eq!(broken_in(template::environment, "us-east-1", change), [(id.to_owned(), rule)]);
}

#[track_caller]
fn breaks(id: &str, rule: Rule, change: impl FnOnce(&mut Value)) {
    assert_eq!(broken(change), [(id.to_owned(), rule)]);
}

#[test]
fn what_we_make_breaks_nothing() {
    assert_eq!(broken(|_| {}), []);
    assert_eq!(broken_in(template::environment, "us-east-1", |_| {}), []);
    assert_eq!(broken_in(|e| template::backup(e).unwrap(), "us-west-2", |_| {}), []);
}

#[test]
fn queues_and_topics() {
    env_breaks("UploadQueue", Rule::Encryption, |r| {
        r["UploadQueue"]["Properties"]["SqsManagedSseEnabled"] = false.into()
    });
    env_breaks("OutcomeQueue", Rule::Retention, |r| r["OutcomeQueue"]["UpdateReplacePolicy"] = Value::Null);
    for (id, policy) in [("AuditQueue", "AuditQueuePolicy"), ("AlarmTopic", "AlarmTopicPolicy")] {
        env_breaks(id, Rule::Tls, |r| {
            let s = r[policy]["Properties"]["PolicyDocument"]["Statement"].as_array_mut().unwrap();
            s.retain(|s| s["Sid"] != "TlsOnly");
        });
    }
}

#[test]
fn delivery() {
    let config = |r: &mut Value| r["Delivery"]["Properties"]["DistributionConfig"].take();
    let set = |key: &'static str, value: Value| {
        move |r: &mut Value| {
            let mut c = config(r);
            c["DefaultCacheBehavior"][key] = value;
            r["Delivery"]["Properties"]["DistributionConfig"] = c;
        }
    };
    env_breaks("Delivery", Rule::Tls, set("ViewerProtocolPolicy", "allow-all".into()));
    env_breaks("Delivery", Rule::Delivery, set("TrustedKeyGroups", json!([])));
    env_breaks("Delivery", Rule::Delivery, set("CachePolicyId", "658327ea-f89d-4fab-a63d-7e88639e58f6".into()));
    env_breaks("Delivery", Rule::Delivery, set("ResponseHeadersPolicyId", Value::Null));
    env_breaks("Delivery", Rule::Delivery, |r| {
        r["Delivery"]["Properties"]["DistributionConfig"]["Origins"][0]["OriginAccessControlId"] = Value::Null;
    });
    env_breaks("Delivery", Rule::Delivery, |r| {
        let g = &mut r["Delivery"]["Properties"]["DistributionConfig"]["Restrictions"]["GeoRestriction"];
        g["RestrictionType"] = "none".into();
    });
    env_breaks("DeliveryHeaders", Rule::Delivery, |r| {
        let h = &mut r["DeliveryHeaders"]["Properties"]["ResponseHeadersPolicyConfig"]["SecurityHeadersConfig"];
        h["StrictTransportSecurity"] = Value::Null;
    });
    // A bucket that nobody's key encrypts is found here as well.
    env_breaks("DeliveryBucket", Rule::Encryption, |r| {
        r["DeliveryBucket"]["Properties"]["BucketEncryption"] = json!({})
    });
}

#[test]
fn copies_stay_where_their_jurisdiction_lets_them() {
    let found = broken_in(|e| template::backup(e).unwrap(), "eu-west-2", |_| {});
    assert_eq!(found, [(String::new(), Rule::Residency)]);
}

#[test]
fn a_template_that_fits_no_request() {
    breaks("", Rule::Size, |r| r["Key"]["Properties"]["Description"] = "x".repeat(template::MAX_BYTES).into());
}

#[test]
fn encryption() {
    breaks("Bucket", Rule::Encryption, |r| r["Bucket"]["Properties"]["BucketEncryption"] = json!({}));
    breaks("Key", Rule::Encryption, |r| r["Key"]["Properties"]["EnableKeyRotation"] = false.into());
    breaks("SecretWard", Rule::Encryption, |r| r["SecretWard"]["Properties"]["KmsKeyId"] = Value::Null);
    breaks("SecretWard", Rule::Secret, |r| r["SecretWard"]["Properties"]["SecretString"] = "{}".into());
}

#[test]
fn retention_and_publicity() {
    breaks("Bucket", Rule::Retention, |r| r["Bucket"]["DeletionPolicy"] = "Delete".into());
    breaks("Bucket", Rule::Retention, |r| r["Bucket"]["Properties"]["VersioningConfiguration"] = Value::Null);
    breaks("Bucket", Rule::PublicAccess, |r| {
        r["Bucket"]["Properties"]["PublicAccessBlockConfiguration"]["BlockPublicAcls"] = false.into();
    });
}

#[test]
fn wide_statements() {
    let allow = |s: Value| move |r: &mut Value| r["RolePolicy"]["Properties"]["PolicyDocument"]["Statement"][0] = s;
    for a in ["*", "s3:*", "s3:Get*", "s3:Get?bject"] {
        breaks("RolePolicy", Rule::Action, allow(json!({ "Effect": "Allow", "Action": [a], "Resource": OWN })));
    }
    breaks("RolePolicy", Rule::Action, allow(json!({ "Effect": "Allow", "NotAction": "s3:GetObject" })));
    breaks(
        "RolePolicy",
        Rule::Resource,
        allow(json!({ "Effect": "Allow", "Action": "s3:GetObject", "Resource": "*" })),
    );
    // A single statement and a single action need no list.
    breaks("RolePolicy", Rule::Action, |r| {
        let s = json!({ "Effect": "Allow", "Action": "s3:*", "Resource": OWN });
        r["RolePolicy"]["Properties"]["PolicyDocument"]["Statement"] = s;
    });
    // What is not resolved could be anything.
    let joined = || json!({ "Fn::Join": ["", ["arn:aws:s3:::", "leadline-us-kings-road-222222222222/*"]] });
    for unclear in [joined(), json!([OWN, joined()])] {
        let s = json!({ "Effect": "Allow", "Action": "s3:GetObject", "Resource": unclear });
        breaks("RolePolicy", Rule::Resource, allow(s));
    }
    let action = json!([{ "Fn::Join": [":", ["s3", "*"]] }]);
    breaks("RolePolicy", Rule::Action, allow(json!({ "Effect": "Allow", "Action": action, "Resource": OWN })));
    // Where a role keeps policies of its own, and where it takes others.
    breaks("Role", Rule::Action, |r| {
        let inline =
            json!([{ "PolicyDocument": { "Statement": [{ "Effect": "Allow", "Action": "*", "Resource": OWN }] } }]);
        r["Role"]["Properties"]["Policies"] = inline;
    });
    breaks("Role", Rule::Action, |r| {
        r["Role"]["Properties"]["ManagedPolicyArns"] = json!(["arn:aws:iam::222222222222:policy/x"])
    });
    let unclear = json!({ "AWS": { "Fn::Join": ["", ["*"]] } });
    let chosen = json!({ "Fn::If": ["Open", "a", "b"] });
    let wide = [json!("*"), json!({ "AWS": "*" }), json!({ "AWS": ["*"] }), json!({ "Service": "?*" })];
    for p in wide.into_iter().chain([unclear, chosen]) {
        breaks("RolePolicy", Rule::Principal, allow(json!({ "Effect": "Allow", "Action": "a:B", "Principal": p })));
    }
}

/// A wildcard may stand behind a resource's name, and not for the name.
#[test]
fn wide_resources() {
    let on = |resource: &'static str| {
        move |r: &mut Value| {
            let s = json!({ "Effect": "Allow", "Action": "s3:GetObject", "Resource": resource });
            r["WorkerPolicy"]["Properties"]["PolicyDocument"]["Statement"][0] = s;
        }
    };
    for all in ["*", "arn:aws:s3:::*", "arn:aws:s3:::?*/recordings/*", "arn:aws:iam::222222222222:role/*"] {
        env_breaks("WorkerPolicy", Rule::Resource, on(all));
    }
    let named = on("arn:aws:s3:::leadline-us-222222222222-delivery/*");
    assert_eq!(broken_in(template::environment, "us-east-1", named), []);
}

#[test]
fn tls_and_tags_and_places() {
    breaks("Bucket", Rule::Tls, |r| {
        r["BucketPolicy"]["Properties"]["PolicyDocument"]["Statement"]
            .as_array_mut()
            .unwrap()
            .retain(|s| s["Sid"] != "TlsOnly");
    });
    breaks("Configuration", Rule::Tags, |r| {
        r["Configuration"]["Properties"]["Tags"].as_object_mut().unwrap().remove("leadline:org");
    });
    breaks("Role", Rule::Tags, |r| drop(r["Role"]["Properties"]["Tags"].as_array_mut().unwrap().remove(0)));
    let arn = |a: &'static str| move |r: &mut Value| r["KeyAlias"]["Properties"]["TargetKeyId"] = a.into();
    breaks("KeyAlias", Rule::Region, arn("arn:aws:kms:eu-west-2:222222222222:key/x"));
    breaks("KeyAlias", Rule::Region, arn("arn:aws:kms:us-east-1:999999999999:key/x"));
}

/// Nothing of another organization, however it is spelled, and no way in without naming the organization.
#[test]
fn isolation() {
    let on = |resource: Value| {
        move |r: &mut Value| {
            let s = json!({ "Effect": "Allow", "Action": "s3:GetObject", "Resource": resource });
            r["RolePolicy"]["Properties"]["PolicyDocument"]["Statement"][0] = s;
        }
    };
    assert_eq!(broken(on(json!(OWN))), []);
    assert_eq!(broken(on(json!({ "Fn::Sub": "${Bucket.Arn}/*" }))), []);
    for other in [
        json!("arn:aws:s3:::leadline-us-kings-road-222222222222/recordings/*"),
        json!("arn:aws:s3:::leadline-us-st-mary-222222222222*"),
        json!({ "Fn::Sub": "arn:aws:s3:::leadline-us-*-${AWS::AccountId}/*" }),
        json!("arn:aws:secretsmanager:us-east-1:222222222222:secret:leadline/us/*"),
        json!("arn:aws:secretsmanager:us-east-1:222222222222:secret:leadline/us/st-mary-2/share/x"),
        json!("arn:aws:kms:us-east-1:222222222222:key/another"),
        json!({ "Fn::GetAtt": ["Role", "Arn"] }),
    ] {
        breaks("RolePolicy", Rule::Isolation, on(other));
    }
    breaks("Role", Rule::Isolation, |r| {
        r["Role"]["Properties"]["AssumeRolePolicyDocument"]["Statement"][0]["Condition"] = Value::Null;
    });
    breaks("Role", Rule::Isolation, |r| {
        let s = &mut r["Role"]["Properties"]["AssumeRolePolicyDocument"]["Statement"][0];
        s["Condition"]["StringEquals"]["sts:ExternalId"] = "leadline:us:kings-road".into();
    });
}

#[test]
fn what_is_referred_to_is_there() {
    breaks("KeyAlias", Rule::Reference, |r| r["KeyAlias"]["Properties"]["TargetKeyId"] = json!({ "Ref": "Gone" }));
}

#[test]
fn everything_at_once() {
    let found = broken(|r| {
        r["Bucket"]["DeletionPolicy"] = Value::Null;
        r["Key"]["Properties"]["EnableKeyRotation"] = false.into();
    });
    assert_eq!(found.len(), 2);
}
