//! Every rule finds the mistake it is there for, on the templates we really make.

mod common;

use common::config;
use leadline_domain::{EnvId, OrgId};
use leadline_provisioning::policy::{Context, Rule, check};
use leadline_provisioning::template;
use serde_json::{Value, json};
use std::collections::BTreeSet;

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

#[track_caller]
fn breaks(id: &str, rule: Rule, change: impl FnOnce(&mut Value)) {
    assert_eq!(broken(change), [(id.to_owned(), rule)]);
}

#[test]
fn what_we_make_breaks_nothing() {
    assert_eq!(broken(|_| {}), []);
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
    for a in ["*", "s3:*", "s3:Get*"] {
        breaks("RolePolicy", Rule::Action, allow(json!({ "Effect": "Allow", "Action": [a], "Resource": "x" })));
    }
    breaks("RolePolicy", Rule::Action, allow(json!({ "Effect": "Allow", "NotAction": "s3:GetObject" })));
    for p in [json!("*"), json!({ "AWS": "*" }), json!({ "AWS": ["*"] })] {
        breaks("RolePolicy", Rule::Principal, allow(json!({ "Effect": "Allow", "Action": "a:B", "Principal": p })));
    }
}

#[test]
fn tls_and_tags_and_places() {
    breaks("Bucket", Rule::Tls, |r| {
        r["BucketPolicy"]["Properties"]["PolicyDocument"]["Statement"]
            .as_array_mut()
            .unwrap()
            .retain(|s| s["Sid"] != "TlsOnly");
    });
    breaks("Role", Rule::Tags, |r| drop(r["Role"]["Properties"]["Tags"].as_array_mut().unwrap().remove(0)));
    let arn = |a: &'static str| move |r: &mut Value| r["KeyAlias"]["Properties"]["TargetKeyId"] = a.into();
    breaks("KeyAlias", Rule::Region, arn("arn:aws:kms:eu-west-2:222222222222:key/x"));
    breaks("KeyAlias", Rule::Region, arn("arn:aws:kms:us-east-1:999999999999:key/x"));
}

#[test]
fn everything_at_once() {
    let found = broken(|r| {
        r["Bucket"]["DeletionPolicy"] = Value::Null;
        r["Key"]["Properties"]["EnableKeyRotation"] = false.into();
    });
    assert_eq!(found.len(), 2);
}
