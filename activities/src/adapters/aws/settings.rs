//! The settings of resources as the services have them, read as whoever started this process.

use super::errors::{Service, fault, status};
use super::sts::Aws;
use crate::ports::checks::{LiveSettings, Physical};
use async_trait::async_trait;
use aws_config::SdkConfig;
use aws_sdk_cloudformation::types::StackResourceDriftStatus;
use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::types::{CorsRule, Event, FilterRule, NotificationConfigurationFilter};
use aws_sdk_sqs::types::QueueAttributeName;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_runtime_api::http::Response;
use leadline_domain::{Fault, FaultCode};
use leadline_provisioning::plan::{cors_rule, notification};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// See [`LiveSettings`].
pub struct AwsSettingsReader {
    cloudformation: aws_sdk_cloudformation::Client,
    pub(super) s3: aws_sdk_s3::Client,
    pub(super) iam: aws_sdk_iam::Client,
    pub(super) kms: aws_sdk_kms::Client,
    pub(super) sns: aws_sdk_sns::Client,
    pub(super) sqs: aws_sdk_sqs::Client,
    pub(super) secrets: aws_sdk_secretsmanager::Client,
    /// A stack in another region, and who reads there.
    elsewhere: Option<(String, Box<Self>)>,
}

impl AwsSettingsReader {
    /// As whoever started this process.
    #[must_use]
    pub fn new(aws: &Aws) -> Self {
        Self::with(aws, aws.provisioner())
    }

    /// With one stack in another region: the one of the copies.
    #[must_use]
    pub fn with_stack_in(mut self, aws: &Aws, stack: String, region: &str) -> Self {
        let region = aws_sdk_s3::config::Region::new(region.to_owned());
        let there = aws.provisioner().to_builder().region(region).build();
        self.elsewhere = Some((stack, Box::new(Self::with(aws, &there))));
        self
    }

    fn with(aws: &Aws, c: &SdkConfig) -> Self {
        let n = aws.counting();
        let s3 = aws_sdk_s3::config::Builder::from(c).force_path_style(c.endpoint_url().is_some());
        Self {
            cloudformation: aws_sdk_cloudformation::Client::from_conf(
                aws_sdk_cloudformation::config::Builder::from(c).interceptor(n.clone()).build(),
            ),
            s3: aws_sdk_s3::Client::from_conf(s3.interceptor(n.clone()).build()),
            iam: aws_sdk_iam::Client::from_conf(aws_sdk_iam::config::Builder::from(c).interceptor(n.clone()).build()),
            kms: aws_sdk_kms::Client::from_conf(aws_sdk_kms::config::Builder::from(c).interceptor(n.clone()).build()),
            sns: aws_sdk_sns::Client::from_conf(aws_sdk_sns::config::Builder::from(c).interceptor(n.clone()).build()),
            sqs: aws_sdk_sqs::Client::from_conf(aws_sdk_sqs::config::Builder::from(c).interceptor(n.clone()).build()),
            secrets: aws_sdk_secretsmanager::Client::from_conf(
                aws_sdk_secretsmanager::config::Builder::from(c).interceptor(n).build(),
            ),
            elsewhere: None,
        }
    }

    async fn bucket(&self, name: &str) -> Result<Option<Value>, Fault> {
        let r = self.s3.get_bucket_versioning().bucket(name).send().await;
        let Some(v) = there(Service::S3, "GetBucketVersioning", &["NoSuchBucket"], r)? else { return Ok(None) };
        let r = self.s3.get_bucket_policy().bucket(name).send().await;
        let policy = there(Service::S3, "GetBucketPolicy", &["NoSuchBucketPolicy"], r)?.and_then(|p| p.policy);
        let r = self.s3.get_public_access_block().bucket(name).send().await;
        let block = there(Service::S3, "GetPublicAccessBlock", &["NoSuchPublicAccessBlockConfiguration"], r)?;
        let block = block.and_then(|b| b.public_access_block_configuration).map(|b| {
            json!({
                "BlockPublicAcls": b.block_public_acls.unwrap_or(false),
                "BlockPublicPolicy": b.block_public_policy.unwrap_or(false),
                "IgnorePublicAcls": b.ignore_public_acls.unwrap_or(false),
                "RestrictPublicBuckets": b.restrict_public_buckets.unwrap_or(false),
            })
        });
        let r = self.s3.get_bucket_encryption().bucket(name).send().await;
        let none = ["ServerSideEncryptionConfigurationNotFoundError"];
        let encryption = there(Service::S3, "GetBucketEncryption", &none, r)?;
        let rule =
            encryption.and_then(|e| e.server_side_encryption_configuration).and_then(|e| e.rules.into_iter().next());
        let by_default = rule.as_ref().and_then(|r| r.apply_server_side_encryption_by_default.as_ref());
        let r = self.s3.get_bucket_notification_configuration().bucket(name).send().await;
        let n = there(Service::S3, "GetBucketNotificationConfiguration", &[], r)?;
        let mut lines: Vec<String> = Vec::new();
        if let Some(n) = n {
            let told = n.queue_configurations().iter().map(|c| (c.events(), c.queue_arn(), c.filter()));
            let told = told.chain(n.topic_configurations().iter().map(|c| (c.events(), c.topic_arn(), c.filter())));
            let functions = n.lambda_function_configurations().iter();
            let told = told.chain(functions.map(|c| (c.events(), c.lambda_function_arn(), c.filter())));
            lines.extend(told.flat_map(|(events, to, filter)| events.iter().map(move |e| line(e, to, filter))));
            lines.extend(n.event_bridge_configuration().map(|_| "all to EventBridge".to_owned()));
        }
        lines.sort();
        let r = self.s3.get_bucket_cors().bucket(name).send().await;
        let cors = there(Service::S3, "GetBucketCors", &["NoSuchCORSConfiguration"], r)?;
        let allowed = |r: &CorsRule| {
            let list = |l: &[String]| l.to_vec();
            let (origins, methods) = (list(r.allowed_origins()), list(r.allowed_methods()));
            let seconds = r.max_age_seconds().map(i64::from);
            cors_rule(origins, methods, list(r.allowed_headers()), list(r.expose_headers()), seconds)
        };
        let cors: Vec<Value> = cors.iter().flat_map(|c| c.cors_rules()).map(allowed).collect();
        let mut all = json!({
            "policy": policy,
            "public_access_block": block,
            "versioning": v.status().map(aws_sdk_s3::types::BucketVersioningStatus::as_str),
            "encryption": {
                "algorithm": by_default.map(|d| d.sse_algorithm().as_str()),
                "key": by_default.and_then(|d| d.kms_master_key_id()),
                "bucket_key": rule.as_ref().and_then(|r| r.bucket_key_enabled()),
            },
            "notifications": lines,
            "cors": cors,
        });
        for (setting, value) in self.keeping(name).await? {
            all[setting] = value;
        }
        Ok(Some(all))
    }

    async fn key(&self, id: &str) -> Result<Option<Value>, Fault> {
        let r = self.kms.describe_key().key_id(id).send().await;
        let Some(k) = there(Service::Kms, "DescribeKey", &["NotFoundException"], r)? else { return Ok(None) };
        let state = k.key_metadata().and_then(|m| m.key_state()).map_or("", |s| s.as_str());
        let policy = self.kms.get_key_policy().key_id(id).policy_name("default").send().await;
        let policy = policy.map_err(|e| fault(Service::Kms, "GetKeyPolicy", &e))?;
        let rotation = self.kms.get_key_rotation_status().key_id(id).send().await;
        let rotation = rotation.map_err(|e| fault(Service::Kms, "GetKeyRotationStatus", &e))?;
        let aliases = self.kms.list_aliases().key_id(id).send().await;
        let aliases = aliases.map_err(|e| fault(Service::Kms, "ListAliases", &e))?;
        let names: Vec<&str> = aliases.aliases().iter().filter_map(|a| a.alias_name()).collect();
        Ok(Some(json!({
            "policy": policy.policy(),
            "rotation": rotation.key_rotation_enabled(),
            // Anything else than a key that can be used is told as it is.
            "enabled": if state == "Enabled" { json!(true) } else { json!(state) },
            "aliases": names,
        })))
    }

    async fn role(&self, name: &str) -> Result<Option<Value>, Fault> {
        let r = self.iam.get_role().role_name(name).send().await;
        let Some(role) = there(Service::Iam, "GetRole", &["NoSuchEntity"], r)?.and_then(|r| r.role) else {
            return Ok(None);
        };
        let mut inline = Map::new();
        let mut pages = self.iam.list_role_policies().role_name(name).into_paginator().send();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|e| fault(Service::Iam, "ListRolePolicies", &e))?;
            for policy in page.policy_names() {
                let p = self.iam.get_role_policy().role_name(name).policy_name(policy).send().await;
                let p = p.map_err(|e| fault(Service::Iam, "GetRolePolicy", &e))?;
                inline.insert(policy.clone(), Value::String(decoded(p.policy_document())));
            }
        }
        let mut managed = Vec::new();
        let mut pages = self.iam.list_attached_role_policies().role_name(name).into_paginator().send();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|e| fault(Service::Iam, "ListAttachedRolePolicies", &e))?;
            managed.extend(page.attached_policies().iter().filter_map(|p| p.policy_arn().map(str::to_owned)));
        }
        Ok(Some(json!({
            "trust": role.assume_role_policy_document().map(decoded),
            "inline_policies": inline,
            "managed_policies": managed,
            "boundary": role.permissions_boundary().and_then(|b| b.permissions_boundary_arn()),
            "session_seconds": role.max_session_duration(),
        })))
    }

    async fn queue(&self, url: &str) -> Result<Option<Value>, Fault> {
        let r = self.sqs.get_queue_attributes().queue_url(url).attribute_names(QueueAttributeName::All).send().await;
        let gone = ["QueueDoesNotExist", "AWS.SimpleQueueService.NonExistentQueue"];
        let Some(q) = there(Service::Sqs, "GetQueueAttributes", &gone, r)? else { return Ok(None) };
        let all = q.attributes.unwrap_or_default();
        let of = |k: QueueAttributeName| all.get(&k).filter(|v| !v.is_empty()).cloned();
        Ok(Some(json!({
            "policy": of(QueueAttributeName::Policy),
            "visibility_timeout": of(QueueAttributeName::VisibilityTimeout),
            "retention": of(QueueAttributeName::MessageRetentionPeriod),
            "redrive": of(QueueAttributeName::RedrivePolicy),
            "redrive_allow": of(QueueAttributeName::RedriveAllowPolicy),
            "encrypted": of(QueueAttributeName::SqsManagedSseEnabled),
            "key": of(QueueAttributeName::KmsMasterKeyId),
        })))
    }

    async fn topic(&self, arn: &str) -> Result<Option<Value>, Fault> {
        let r = self.sns.get_topic_attributes().topic_arn(arn).send().await;
        let gone = ["NotFound", "NotFoundException"];
        let Some(t) = there(Service::Sns, "GetTopicAttributes", &gone, r)? else { return Ok(None) };
        let all = t.attributes.unwrap_or_default();
        let of = |k: &str| all.get(k).filter(|v| !v.is_empty()).cloned();
        Ok(Some(json!({ "policy": of("Policy"), "key": of("KmsMasterKeyId") })))
    }

    async fn secret(&self, arn: &str) -> Result<Option<Value>, Fault> {
        let gone = ["ResourceNotFoundException"];
        let r = self.secrets.describe_secret().secret_id(arn).send().await;
        let Some(s) = there(Service::Secrets, "DescribeSecret", &gone, r)? else { return Ok(None) };
        if s.deleted_date().is_some() {
            return Ok(None);
        }
        let r = self.secrets.get_resource_policy().secret_id(arn).send().await;
        let policy = there(Service::Secrets, "GetResourcePolicy", &gone, r)?.and_then(|p| p.resource_policy);
        Ok(Some(json!({ "policy": policy, "key": s.kms_key_id() })))
    }
}

fn line(event: &Event, to: &str, filter: Option<&NotificationConfigurationFilter>) -> String {
    let rules = filter.and_then(|f| f.key()).map_or(&[][..], |k| k.filter_rules());
    let rule = |r: &FilterRule| Some((r.name()?.as_str().to_owned(), r.value()?.to_owned()));
    let rules: Vec<(String, String)> = rules.iter().filter_map(rule).collect();
    let rules: Vec<(&str, &str)> = rules.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    notification(event.as_str(), to, &rules)
}

/// IAM gives policy documents URL-encoded (RFC 3986).
fn decoded(document: &str) -> String {
    let bytes = document.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut i = 0;
    while i < bytes.len() {
        let hex = (bytes[i] == b'%').then(|| document.get(i + 1..i + 3)).flatten();
        match hex.and_then(|h| u8::from_str_radix(h, 16).ok()) {
            Some(b) => {
                out.push(b);
                i += 3;
            }
            None => {
                out.push(bytes[i]);
                i += 1;
            }
        }
    }
    String::from_utf8(out).unwrap_or_else(|_| document.to_owned())
}

/// The answer; `None` where the service says that there is no such thing.
pub(super) fn there<T, E>(
    service: Service,
    operation: &'static str,
    none: &[&str],
    r: Result<T, SdkError<E, Response>>,
) -> Result<Option<T>, Fault>
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    match r {
        Ok(v) => Ok(Some(v)),
        Err(e) if e.code().is_some_and(|c| none.contains(&c)) => Ok(None),
        Err(e) if !none.is_empty() && e.code().is_none() && status(&e) == 404 => Ok(None),
        Err(e) => Err(fault(service, operation, &e)),
    }
}

#[async_trait]
impl LiveSettings for AwsSettingsReader {
    fn of(&self, stack: &str) -> &dyn LiveSettings {
        match &self.elsewhere {
            Some((s, there)) if s == stack => there.as_ref(),
            _ => self,
        }
    }

    async fn resources(&self, stack: &str) -> Result<BTreeMap<String, Physical>, Fault> {
        let mut pages = self.cloudformation.list_stack_resources().stack_name(stack).into_paginator().send();
        let mut out = BTreeMap::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|e| fault(Service::CloudFormation, "ListStackResources", &e))?;
            for r in page.stack_resource_summaries() {
                if let (Some(logical), Some(kind), Some(id)) =
                    (r.logical_resource_id(), r.resource_type(), r.physical_resource_id())
                {
                    out.insert(logical.to_owned(), Physical { resource_type: kind.to_owned(), id: id.to_owned() });
                }
            }
        }
        Ok(out)
    }

    async fn missing(&self, stack: &str, logical: &[String]) -> Result<BTreeSet<String>, Fault> {
        let mut out = BTreeSet::new();
        for id in logical {
            let asked = self.cloudformation.detect_stack_resource_drift().stack_name(stack).logical_resource_id(id);
            match asked.send().await {
                Ok(r) => {
                    let status = r.stack_resource_drift().and_then(|d| d.stack_resource_drift_status());
                    if status == Some(&StackResourceDriftStatus::Deleted) {
                        out.insert(id.clone());
                    }
                }
                // A stack at work, or a type that is not looked at.
                Err(e) if e.code() == Some("ValidationError") => {}
                Err(e) => return Err(fault(Service::CloudFormation, "DetectStackResourceDrift", &e)),
            }
        }
        Ok(out)
    }

    async fn read(&self, resource: &Physical) -> Result<Option<Value>, Fault> {
        match resource.resource_type.as_str() {
            "AWS::S3::Bucket" => self.bucket(&resource.id).await,
            "AWS::KMS::Key" => self.key(&resource.id).await,
            "AWS::IAM::Role" => self.role(&resource.id).await,
            "AWS::SQS::Queue" => self.queue(&resource.id).await,
            "AWS::SNS::Topic" => self.topic(&resource.id).await,
            "AWS::SecretsManager::Secret" => self.secret(&resource.id).await,
            other => Err(Fault::new(FaultCode::BugInvariant, format!("settings of {other} are not read"))),
        }
    }

    async fn write(&self, resource: &Physical, setting: &str, wanted: &Value) -> Result<(), Fault> {
        let (id, w) = (resource.id.as_str(), wanted);
        match resource.resource_type.as_str() {
            "AWS::S3::Bucket" => self.put_bucket(id, setting, w).await,
            "AWS::KMS::Key" => self.put_key(id, setting, w).await,
            "AWS::IAM::Role" => self.put_role(id, setting, w).await,
            "AWS::SQS::Queue" => self.put_queue(id, setting, w).await,
            "AWS::SNS::Topic" => self.put_topic(id, setting, w).await,
            "AWS::SecretsManager::Secret" => self.put_secret(id, setting, w).await,
            other => Err(Fault::new(FaultCode::BugInvariant, format!("settings of {other} are not written"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::decoded;

    #[test]
    fn documents_are_decoded() {
        assert_eq!(decoded("%7B%22a%22%3A%20%22%C3%A9%22%7D"), "{\"a\": \"é\"}");
        assert_eq!(decoded("{\"100%\": 1}"), "{\"100%\": 1}");
    }
}
