//! Settings put back to what a template says, with the services' own requests: CloudFormation does not write again what
//! it believes to be unchanged. Each is a request or two, and harmless when repeated.

use super::errors::{Service, fault};
use super::settings::{AwsSettingsReader, there};
use aws_sdk_s3::types as s3;
use aws_sdk_sqs::types::QueueAttributeName;
use leadline_domain::{Fault, FaultCode};
use leadline_provisioning::plan::notification_parts;
use serde_json::Value;
use std::collections::BTreeSet;

/// A value as text; a document as JSON.
pub(super) fn text(v: &Value) -> String {
    match v {
        Value::Null => String::new(),
        Value::String(s) => s.clone(),
        other => other.to_string(),
    }
}

fn flag(v: &Value) -> bool {
    v == &Value::Bool(true) || v == "true"
}

fn unknown(setting: &str) -> Fault {
    Fault::new(FaultCode::BugInvariant, format!("no setting {setting} is written"))
}

pub(super) fn wrong(setting: &'static str) -> Fault {
    Fault::new(FaultCode::BugInvariant, format!("the setting {setting} of a template cannot be written"))
}

impl AwsSettingsReader {
    pub(super) async fn put_bucket(&self, name: &str, setting: &str, wanted: &Value) -> Result<(), Fault> {
        match setting {
            "policy" if wanted.is_null() => {
                let r = self.s3.delete_bucket_policy().bucket(name).send().await;
                r.map(drop).map_err(|e| fault(Service::S3, "DeleteBucketPolicy", &e))
            }
            "policy" => {
                let r = self.s3.put_bucket_policy().bucket(name).policy(text(wanted)).send().await;
                r.map(drop).map_err(|e| fault(Service::S3, "PutBucketPolicy", &e))
            }
            "public_access_block" => {
                let block = s3::PublicAccessBlockConfiguration::builder()
                    .block_public_acls(flag(&wanted["BlockPublicAcls"]))
                    .block_public_policy(flag(&wanted["BlockPublicPolicy"]))
                    .ignore_public_acls(flag(&wanted["IgnorePublicAcls"]))
                    .restrict_public_buckets(flag(&wanted["RestrictPublicBuckets"]))
                    .build();
                let put = self.s3.put_public_access_block().bucket(name).public_access_block_configuration(block);
                put.send().await.map(drop).map_err(|e| fault(Service::S3, "PutPublicAccessBlock", &e))
            }
            "versioning" => {
                let status = s3::BucketVersioningStatus::from(text(wanted).as_str());
                let versioning = s3::VersioningConfiguration::builder().status(status).build();
                let put = self.s3.put_bucket_versioning().bucket(name).versioning_configuration(versioning);
                put.send().await.map(drop).map_err(|e| fault(Service::S3, "PutBucketVersioning", &e))
            }
            "encryption" => self.put_encryption(name, wanted).await,
            "notifications" => self.put_notifications(name, wanted).await,
            "cors" => self.put_cors(name, wanted).await,
            "lifecycle" => self.put_lifecycle(name, wanted).await,
            "object_lock" => self.put_object_lock(name, wanted).await,
            "ownership" => self.put_ownership(name, wanted).await,
            other => Err(unknown(other)),
        }
    }

    async fn put_encryption(&self, name: &str, wanted: &Value) -> Result<(), Fault> {
        let by_default = s3::ServerSideEncryptionByDefault::builder()
            .sse_algorithm(s3::ServerSideEncryption::from(text(&wanted["algorithm"]).as_str()))
            .set_kms_master_key_id(wanted["key"].as_str().map(str::to_owned))
            .build()
            .map_err(|_| wrong("encryption"))?;
        let rule = s3::ServerSideEncryptionRule::builder()
            .apply_server_side_encryption_by_default(by_default)
            .bucket_key_enabled(flag(&wanted["bucket_key"]))
            .build();
        let all = s3::ServerSideEncryptionConfiguration::builder().rules(rule).build();
        let all = all.map_err(|_| wrong("encryption"))?;
        let put = self.s3.put_bucket_encryption().bucket(name).server_side_encryption_configuration(all);
        put.send().await.map(drop).map_err(|e| fault(Service::S3, "PutBucketEncryption", &e))
    }

    /// Ours go to queues only; a template with others is one that this program did not make.
    async fn put_notifications(&self, name: &str, wanted: &Value) -> Result<(), Fault> {
        let mut all = s3::NotificationConfiguration::builder();
        for line in wanted.as_array().into_iter().flatten().filter_map(Value::as_str) {
            let n = notification_parts(line).ok_or_else(|| wrong("notifications"))?;
            if !n.to.starts_with("arn:aws:sqs:") {
                return Err(wrong("notifications"));
            }
            let rules = n
                .filter
                .into_iter()
                .map(|(k, v)| s3::FilterRule::builder().name(s3::FilterRuleName::from(k)).value(v).build());
            let key = s3::S3KeyFilter::builder().set_filter_rules(Some(rules.collect())).build();
            let queue = s3::QueueConfiguration::builder()
                .events(s3::Event::from(n.event))
                .queue_arn(n.to)
                .filter(s3::NotificationConfigurationFilter::builder().key(key).build())
                .build();
            all = all.queue_configurations(queue.map_err(|_| wrong("notifications"))?);
        }
        let put = self.s3.put_bucket_notification_configuration().bucket(name).notification_configuration(all.build());
        let r = put.send().await;
        r.map(drop).map_err(|e| fault(Service::S3, "PutBucketNotificationConfiguration", &e))
    }

    /// Which pages may send to a bucket. To none is a configuration that is not there: S3 takes no empty one.
    async fn put_cors(&self, name: &str, wanted: &Value) -> Result<(), Fault> {
        let list = |v: &Value| -> Vec<String> { v.as_array().into_iter().flatten().map(text).collect() };
        let mut rules = Vec::new();
        for r in wanted.as_array().into_iter().flatten() {
            let rule = s3::CorsRule::builder()
                .set_allowed_origins(Some(list(&r["origins"])))
                .set_allowed_methods(Some(list(&r["methods"])))
                .set_allowed_headers(Some(list(&r["headers"])))
                .set_expose_headers(Some(list(&r["exposed"])))
                .set_max_age_seconds(r["max_age_s"].as_i64().and_then(|n| i32::try_from(n).ok()))
                .build();
            rules.push(rule.map_err(|_| wrong("cors"))?);
        }
        if rules.is_empty() {
            let r = self.s3.delete_bucket_cors().bucket(name).send().await;
            return r.map(drop).map_err(|e| fault(Service::S3, "DeleteBucketCors", &e));
        }
        let all = s3::CorsConfiguration::builder().set_cors_rules(Some(rules)).build().map_err(|_| wrong("cors"))?;
        let r = self.s3.put_bucket_cors().bucket(name).cors_configuration(all).send().await;
        r.map(drop).map_err(|e| fault(Service::S3, "PutBucketCors", &e))
    }

    pub(super) async fn put_key(&self, id: &str, setting: &str, wanted: &Value) -> Result<(), Fault> {
        match setting {
            "policy" => {
                let put = self.kms.put_key_policy().key_id(id).policy_name("default").policy(text(wanted));
                put.send().await.map(drop).map_err(|e| fault(Service::Kms, "PutKeyPolicy", &e))
            }
            "rotation" if flag(wanted) => {
                let r = self.kms.enable_key_rotation().key_id(id).send().await;
                r.map(drop).map_err(|e| fault(Service::Kms, "EnableKeyRotation", &e))
            }
            "rotation" => {
                let r = self.kms.disable_key_rotation().key_id(id).send().await;
                r.map(drop).map_err(|e| fault(Service::Kms, "DisableKeyRotation", &e))
            }
            "enabled" => {
                let k = self.kms.describe_key().key_id(id).send().await;
                let k = k.map_err(|e| fault(Service::Kms, "DescribeKey", &e))?;
                let state = k.key_metadata().and_then(|m| m.key_state());
                if state == Some(&aws_sdk_kms::types::KeyState::PendingDeletion) {
                    let r = self.kms.cancel_key_deletion().key_id(id).send().await;
                    r.map_err(|e| fault(Service::Kms, "CancelKeyDeletion", &e))?;
                }
                let r = self.kms.enable_key().key_id(id).send().await;
                r.map(drop).map_err(|e| fault(Service::Kms, "EnableKey", &e))
            }
            "aliases" => self.put_aliases(id, wanted).await,
            other => Err(unknown(other)),
        }
    }

    async fn put_aliases(&self, id: &str, wanted: &Value) -> Result<(), Fault> {
        let wanted: BTreeSet<&str> = wanted.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let r = self.kms.list_aliases().key_id(id).send().await;
        let found = r.map_err(|e| fault(Service::Kms, "ListAliases", &e))?;
        let found: BTreeSet<&str> = found.aliases().iter().filter_map(|a| a.alias_name()).collect();
        for more in found.difference(&wanted) {
            let r = self.kms.delete_alias().alias_name(*more).send().await;
            r.map_err(|e| fault(Service::Kms, "DeleteAlias", &e))?;
        }
        for missing in wanted.difference(&found) {
            // It may have been moved to another key.
            let r = self.kms.update_alias().alias_name(*missing).target_key_id(id).send().await;
            if there(Service::Kms, "UpdateAlias", &["NotFoundException"], r)?.is_none() {
                let r = self.kms.create_alias().alias_name(*missing).target_key_id(id).send().await;
                r.map_err(|e| fault(Service::Kms, "CreateAlias", &e))?;
            }
        }
        Ok(())
    }

    pub(super) async fn put_role(&self, name: &str, setting: &str, wanted: &Value) -> Result<(), Fault> {
        match setting {
            "trust" => {
                let put = self.iam.update_assume_role_policy().role_name(name).policy_document(text(wanted));
                put.send().await.map(drop).map_err(|e| fault(Service::Iam, "UpdateAssumeRolePolicy", &e))
            }
            "inline_policies" => self.put_inline(name, wanted).await,
            "managed_policies" => self.put_managed(name, wanted).await,
            "boundary" => match wanted.as_str() {
                Some(arn) => {
                    let put = self.iam.put_role_permissions_boundary().role_name(name).permissions_boundary(arn);
                    put.send().await.map(drop).map_err(|e| fault(Service::Iam, "PutRolePermissionsBoundary", &e))
                }
                None => {
                    let r = self.iam.delete_role_permissions_boundary().role_name(name).send().await;
                    there(Service::Iam, "DeleteRolePermissionsBoundary", &["NoSuchEntity"], r).map(drop)
                }
            },
            "session_seconds" => {
                let seconds = text(wanted).parse().map_err(|_| wrong("session_seconds"))?;
                let r = self.iam.update_role().role_name(name).max_session_duration(seconds).send().await;
                r.map(drop).map_err(|e| fault(Service::Iam, "UpdateRole", &e))
            }
            other => Err(unknown(other)),
        }
    }

    async fn put_inline(&self, name: &str, wanted: &Value) -> Result<(), Fault> {
        let none = serde_json::Map::new();
        let wanted = wanted.as_object().unwrap_or(&none);
        let mut pages = self.iam.list_role_policies().role_name(name).into_paginator().send();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|e| fault(Service::Iam, "ListRolePolicies", &e))?;
            for more in page.policy_names().iter().filter(|p| !wanted.contains_key(*p)) {
                let r = self.iam.delete_role_policy().role_name(name).policy_name(more).send().await;
                there(Service::Iam, "DeleteRolePolicy", &["NoSuchEntity"], r)?;
            }
        }
        for (policy, document) in wanted {
            let put = self.iam.put_role_policy().role_name(name).policy_name(policy).policy_document(text(document));
            put.send().await.map_err(|e| fault(Service::Iam, "PutRolePolicy", &e))?;
        }
        Ok(())
    }

    async fn put_managed(&self, name: &str, wanted: &Value) -> Result<(), Fault> {
        let wanted: BTreeSet<String> =
            wanted.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect();
        let mut found = BTreeSet::new();
        let mut pages = self.iam.list_attached_role_policies().role_name(name).into_paginator().send();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|e| fault(Service::Iam, "ListAttachedRolePolicies", &e))?;
            found.extend(page.attached_policies().iter().filter_map(|p| p.policy_arn().map(str::to_owned)));
        }
        for more in found.difference(&wanted) {
            let r = self.iam.detach_role_policy().role_name(name).policy_arn(more).send().await;
            there(Service::Iam, "DetachRolePolicy", &["NoSuchEntity"], r)?;
        }
        for missing in wanted.difference(&found) {
            let r = self.iam.attach_role_policy().role_name(name).policy_arn(missing).send().await;
            r.map_err(|e| fault(Service::Iam, "AttachRolePolicy", &e))?;
        }
        Ok(())
    }

    pub(super) async fn put_queue(&self, url: &str, setting: &str, wanted: &Value) -> Result<(), Fault> {
        let name = match setting {
            "policy" => QueueAttributeName::Policy,
            "visibility_timeout" => QueueAttributeName::VisibilityTimeout,
            "retention" => QueueAttributeName::MessageRetentionPeriod,
            "redrive" => QueueAttributeName::RedrivePolicy,
            "redrive_allow" => QueueAttributeName::RedriveAllowPolicy,
            "encrypted" => QueueAttributeName::SqsManagedSseEnabled,
            "key" => QueueAttributeName::KmsMasterKeyId,
            other => return Err(unknown(other)),
        };
        let r = self.sqs.set_queue_attributes().queue_url(url).attributes(name, text(wanted)).send().await;
        r.map(drop).map_err(|e| fault(Service::Sqs, "SetQueueAttributes", &e))
    }

    pub(super) async fn put_topic(&self, arn: &str, setting: &str, wanted: &Value) -> Result<(), Fault> {
        let name = match setting {
            "policy" => "Policy",
            "key" => "KmsMasterKeyId",
            other => return Err(unknown(other)),
        };
        let set = self.sns.set_topic_attributes().topic_arn(arn).attribute_name(name).attribute_value(text(wanted));
        set.send().await.map(drop).map_err(|e| fault(Service::Sns, "SetTopicAttributes", &e))
    }

    pub(super) async fn put_secret(&self, arn: &str, setting: &str, wanted: &Value) -> Result<(), Fault> {
        match (setting, wanted.as_str()) {
            ("policy", _) if wanted.is_null() => {
                let r = self.secrets.delete_resource_policy().secret_id(arn).send().await;
                r.map(drop).map_err(|e| fault(Service::Secrets, "DeleteResourcePolicy", &e))
            }
            ("policy", _) => {
                let put = self.secrets.put_resource_policy().secret_id(arn).resource_policy(text(wanted));
                put.send().await.map(drop).map_err(|e| fault(Service::Secrets, "PutResourcePolicy", &e))
            }
            ("key", Some(key)) => {
                let r = self.secrets.update_secret().secret_id(arn).kms_key_id(key).send().await;
                r.map(drop).map_err(|e| fault(Service::Secrets, "UpdateSecret", &e))
            }
            (other, _) => Err(unknown(other)),
        }
    }
}
