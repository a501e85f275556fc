//! How a bucket keeps and lets go of what it holds: lifecycle rules, object lock, whose its objects are. Read and written
//! as whoever started this process.

use super::errors::{Service, fault};
use super::restore::{text, wrong};
use super::settings::{AwsSettingsReader, there};
use aws_sdk_s3::types as s3;
use leadline_domain::{Fault, FaultCode};
use leadline_provisioning::plan::{LifecycleRule, lifecycle, lifecycle_rules};
use serde_json::{Value, json};

/// A rule as S3 has it.
fn rule(r: &s3::LifecycleRule) -> LifecycleRule {
    let filter = r.filter();
    let and = filter.and_then(|f| f.and());
    let prefix = filter.and_then(|f| f.prefix()).or_else(|| and.and_then(|a| a.prefix())).or_else(|| {
        // As rules were written before there were filters.
        #[allow(deprecated)]
        r.prefix()
    });
    let tags = filter.and_then(|f| f.tag()).into_iter().chain(and.into_iter().flat_map(|a| a.tags()));
    let mut more: Vec<String> = tags.map(|t| format!("only with the tag {}", t.key())).collect();
    let sizes = [
        filter.and_then(|f| f.object_size_greater_than()).or_else(|| and.and_then(|a| a.object_size_greater_than())),
        filter.and_then(|f| f.object_size_less_than()).or_else(|| and.and_then(|a| a.object_size_less_than())),
    ];
    more.extend(sizes.into_iter().flatten().map(|n| format!("only some sizes: {n}")));
    let moved = r.transitions().iter().filter_map(|t| t.storage_class());
    let moved = moved.chain(r.noncurrent_version_transitions().iter().filter_map(|t| t.storage_class()));
    more.extend(moved.map(|c| format!("moves to {}", c.as_str())));
    more.extend(r.expiration().and_then(|e| e.date()).map(|d| format!("expires at {}", d.secs())));
    let (expires, old) = (r.expiration(), r.noncurrent_version_expiration());
    let days = |n: Option<i32>| n.filter(|n| *n > 0).map(i64::from);
    LifecycleRule {
        id: r.id().unwrap_or_default().to_owned(),
        enabled: *r.status() == s3::ExpirationStatus::Enabled,
        prefix: prefix.unwrap_or_default().to_owned(),
        expire_days: days(expires.and_then(|e| e.days())),
        expire_markers: expires.and_then(|e| e.expired_object_delete_marker()).unwrap_or(false),
        old_days: days(old.and_then(|o| o.noncurrent_days())),
        old_kept: days(old.and_then(|o| o.newer_noncurrent_versions())),
        abort_days: days(r.abort_incomplete_multipart_upload().and_then(|a| a.days_after_initiation())),
        more,
    }
}

/// A rule as S3 takes it.
fn written(r: &LifecycleRule) -> Result<s3::LifecycleRule, Fault> {
    if !r.more.is_empty() {
        return Err(wrong("lifecycle"));
    }
    let days = |n: Option<i64>| n.and_then(|n| i32::try_from(n).ok());
    let expires = (r.expire_days.is_some() || r.expire_markers).then(|| {
        s3::LifecycleExpiration::builder()
            .set_days(days(r.expire_days))
            .set_expired_object_delete_marker(r.expire_markers.then_some(true))
            .build()
    });
    let old = (r.old_days.is_some()).then(|| {
        s3::NoncurrentVersionExpiration::builder()
            .set_noncurrent_days(days(r.old_days))
            .set_newer_noncurrent_versions(days(r.old_kept))
            .build()
    });
    let abort =
        days(r.abort_days).map(|d| s3::AbortIncompleteMultipartUpload::builder().days_after_initiation(d).build());
    let status = if r.enabled { s3::ExpirationStatus::Enabled } else { s3::ExpirationStatus::Disabled };
    s3::LifecycleRule::builder()
        .id(&r.id)
        .status(status)
        .filter(s3::LifecycleRuleFilter::builder().prefix(&r.prefix).build())
        .set_expiration(expires)
        .set_noncurrent_version_expiration(old)
        .set_abort_incomplete_multipart_upload(abort)
        .build()
        .map_err(|_| wrong("lifecycle"))
}

impl AwsSettingsReader {
    /// Lifecycle, object lock and ownership of a bucket that is there.
    pub(super) async fn keeping(&self, name: &str) -> Result<[(&'static str, Value); 3], Fault> {
        let r = self.s3.get_bucket_lifecycle_configuration().bucket(name).send().await;
        let rules = there(Service::S3, "GetBucketLifecycleConfiguration", &["NoSuchLifecycleConfiguration"], r)?;
        let rules = rules.iter().flat_map(|r| r.rules()).map(rule);
        let rules = lifecycle(rules);
        let r = self.s3.get_object_lock_configuration().bucket(name).send().await;
        let lock = there(Service::S3, "GetObjectLockConfiguration", &["ObjectLockConfigurationNotFoundError"], r)?;
        let lock = lock.and_then(|l| l.object_lock_configuration);
        let retention = lock.as_ref().and_then(|l| l.rule()).and_then(|r| r.default_retention());
        let enabled = lock.as_ref().and_then(|l| l.object_lock_enabled());
        let lock = json!({
            "enabled": enabled.map(|e| *e == s3::ObjectLockEnabled::Enabled),
            "mode": retention.and_then(|r| r.mode()).map(s3::ObjectLockRetentionMode::as_str),
            "days": retention.and_then(|r| r.days()).filter(|n| *n > 0),
            "years": retention.and_then(|r| r.years()).filter(|n| *n > 0),
        });
        let r = self.s3.get_bucket_ownership_controls().bucket(name).send().await;
        let owner = there(Service::S3, "GetBucketOwnershipControls", &["OwnershipControlsNotFoundError"], r)?;
        let owner = owner.and_then(|o| o.ownership_controls).and_then(|o| o.rules.into_iter().next());
        let owner = owner.as_ref().map(|r| r.object_ownership().as_str());
        Ok([("lifecycle", rules), ("object_lock", lock), ("ownership", json!(owner))])
    }

    /// No rules are a configuration that is not there: S3 takes no empty one.
    pub(super) async fn put_lifecycle(&self, name: &str, wanted: &Value) -> Result<(), Fault> {
        let rules = lifecycle_rules(wanted).ok_or_else(|| wrong("lifecycle"))?;
        if rules.is_empty() {
            let r = self.s3.delete_bucket_lifecycle().bucket(name).send().await;
            return r.map(drop).map_err(|e| fault(Service::S3, "DeleteBucketLifecycle", &e));
        }
        let rules = rules.iter().map(written).collect::<Result<_, _>>()?;
        let all = s3::BucketLifecycleConfiguration::builder().set_rules(Some(rules)).build();
        let all = all.map_err(|_| wrong("lifecycle"))?;
        let r = self.s3.put_bucket_lifecycle_configuration().bucket(name).lifecycle_configuration(all).send().await;
        r.map(drop).map_err(|e| fault(Service::S3, "PutBucketLifecycleConfiguration", &e))
    }

    pub(super) async fn put_object_lock(&self, name: &str, wanted: &Value) -> Result<(), Fault> {
        if wanted["enabled"] != true {
            let detail = format!("object lock of bucket {name} was turned on, and S3 turns none off");
            return Err(Fault::new(FaultCode::DriftFound, detail));
        }
        let number = |v: &Value| v.as_i64().and_then(|n| i32::try_from(n).ok());
        let rule = wanted["mode"].as_str().map(|mode| {
            let retention = s3::DefaultRetention::builder()
                .mode(s3::ObjectLockRetentionMode::from(mode))
                .set_days(number(&wanted["days"]))
                .set_years(number(&wanted["years"]))
                .build();
            s3::ObjectLockRule::builder().default_retention(retention).build()
        });
        let lock = s3::ObjectLockConfiguration::builder()
            .object_lock_enabled(s3::ObjectLockEnabled::Enabled)
            .set_rule(rule)
            .build();
        let r = self.s3.put_object_lock_configuration().bucket(name).object_lock_configuration(lock).send().await;
        r.map(drop).map_err(|e| fault(Service::S3, "PutObjectLockConfiguration", &e))
    }

    pub(super) async fn put_ownership(&self, name: &str, wanted: &Value) -> Result<(), Fault> {
        let whose = s3::ObjectOwnership::from(text(wanted).as_str());
        let rule = s3::OwnershipControlsRule::builder().object_ownership(whose).build();
        let all = s3::OwnershipControls::builder().rules(rule.map_err(|_| wrong("ownership"))?).build();
        let all = all.map_err(|_| wrong("ownership"))?;
        let r = self.s3.put_bucket_ownership_controls().bucket(name).ownership_controls(all).send().await;
        r.map(drop).map_err(|e| fault(Service::S3, "PutBucketOwnershipControls", &e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transition() -> s3::Transition {
        s3::Transition::builder().days(30).storage_class(s3::TransitionStorageClass::Glacier).build()
    }

    #[test]
    fn a_rule_is_read_as_it_was_written() {
        for r in [
            LifecycleRule {
                id: "a".into(),
                enabled: true,
                prefix: "staging/".into(),
                expire_days: Some(7),
                old_days: Some(1),
                ..Default::default()
            },
            LifecycleRule { id: "b".into(), expire_markers: true, ..Default::default() },
            LifecycleRule { id: "c".into(), abort_days: Some(7), ..Default::default() },
        ] {
            assert_eq!(rule(&written(&r).expect("a rule")), r);
        }
    }

    #[test]
    fn what_no_rule_of_ours_has_is_seen_and_not_written() {
        let ours = LifecycleRule { id: "a".into(), expire_days: Some(7), ..Default::default() };
        let mut other = written(&ours).expect("a rule");
        other.transitions = Some(vec![transition()]);
        let tag = s3::Tag::builder().key("k").value("v").build().expect("a tag");
        other.filter = Some(s3::LifecycleRuleFilter::builder().tag(tag).build());
        let seen = rule(&other);
        assert_eq!(seen.more, ["only with the tag k", "moves to GLACIER"]);
        assert!(written(&seen).is_err());
    }
}
