//! The tries on what is not an organization's data: copies in its other storages, and the environment's buckets and topic.

use super::intruder::Intruder;
use super::victim::Victim;
use super::{RECORDING, judge};
use crate::adapters::aws::errors::Service;
use crate::ports::checks::EnvBucket;
use aws_sdk_s3::error::ProvideErrorMetadata;
use leadline_domain::Fault;
use leadline_domain::isolation::{Action, Evidence, Outcome, Target};
use leadline_domain::transfer::Storage;

/// SNS takes 256 KiB (262,144 bytes); one more is published by no topic.
const NO_MESSAGE: usize = 262_145;

/// What a bucket was tried with, and the upload that was begun in it if that was granted.
struct Tried {
    found: Vec<Evidence>,
    begun: Option<String>,
}

impl Tried {
    fn leaves(&mut self, action: Action, left: Option<String>) {
        if let Some(e) = self.found.iter_mut().find(|e| e.action == action) {
            e.left = left.or(e.left.take());
        }
    }
}

impl Intruder {
    /// Copies in another storage. No object of the probe's own is there, since nobody could delete it.
    pub(super) async fn copies(&self, v: &Victim, whose: &Target, storage: Storage) -> Result<Vec<Evidence>, Fault> {
        let bucket = v.storage(storage);
        let mut tried = bucket_tried(&self.org.s3, &bucket, whose).await?;
        if let Some(id) = tried.begun.take() {
            let left = v.give_up(storage, true, &id).await;
            tried.leaves(Action::BeginRecording, left);
        }
        // One that is configured and not made yet is no want of rights.
        let made = *whose != Target::Own || tried.found.iter().all(|e| e.outcome != Outcome::Absent);
        Ok(if made { tried.found } else { Vec::new() })
    }

    /// A bucket of the environment. What is begun there is given up by whoever began it.
    ///
    /// # Errors
    /// What passes by itself.
    pub(super) async fn try_bucket_of_environment(&self, bucket: &EnvBucket) -> Result<Vec<Evidence>, Fault> {
        let r = async {
            let config = aws_sdk_s3::config::Builder::from(&self.org.config)
                .region(aws_sdk_s3::config::Region::new(bucket.region.clone()))
                .force_path_style(self.org.config.endpoint_url().is_some())
                .interceptor(self.counting.clone());
            let s3 = aws_sdk_s3::Client::from_conf(config.build());
            let mut tried = bucket_tried(&s3, &bucket.name, &Target::Environment).await?;
            if let Some(id) = tried.begun.take() {
                let gone = s3.abort_multipart_upload().bucket(&bucket.name).key(RECORDING).upload_id(id).send().await;
                let left = format!("an empty upload to {RECORDING} in bucket {}", bucket.name);
                tried.leaves(Action::BeginRecording, gone.err().map(|_| left));
            }
            Ok(tried.found)
        };
        self.or_forget(r.await).await
    }

    /// The topic of alarms, with a message that is too long for any.
    ///
    /// # Errors
    /// What passes by itself.
    pub(super) async fn try_topic(&self, arn: &str) -> Result<Evidence, Fault> {
        let r = async {
            let r = self.sns.publish().topic_arn(arn).message("x".repeat(NO_MESSAGE)).send().await;
            let after = ["InvalidParameter", "InvalidParameterException", "ParameterValueInvalid"];
            let (outcome, said) = match &r {
                Err(e) if e.code().is_some_and(|c| c.starts_with("NotFound")) => {
                    (Outcome::Absent, "NotFound".to_owned())
                }
                r => judge(Service::Sns, "Publish", &after, r)?,
            };
            Ok(Evidence::new(Action::Publish, &Target::Environment, arn, outcome, &said))
        };
        self.or_forget(r.await).await
    }
}

/// Everything on a bucket in which the probe has placed nothing. One that is not there is tried no further.
async fn bucket_tried(s3: &aws_sdk_s3::Client, bucket: &str, whose: &Target) -> Result<Tried, Fault> {
    let at = format!("{bucket}/{RECORDING}");
    let mut found = Vec::new();
    let mut tell = |action, resource: &str, (outcome, said): (Outcome, String)| {
        found.push(Evidence::new(action, whose, resource, outcome, &said));
    };
    let r = s3.list_objects_v2().bucket(bucket).prefix(RECORDING).max_keys(1).send().await;
    let list = judge(Service::S3, "ListObjectsV2", &[], &r)?;
    let there = list.0 != Outcome::Absent;
    tell(Action::List, bucket, list);
    if !there {
        return Ok(Tried { found, begun: None });
    }
    let r = s3.list_multipart_uploads().bucket(bucket).prefix(RECORDING).max_uploads(1).send().await;
    tell(Action::ListUploads, bucket, judge(Service::S3, "ListMultipartUploads", &[], &r)?);
    // The answer is let go of with its body unread.
    let r = s3.get_object().bucket(bucket).key(RECORDING).send().await.map(drop);
    tell(Action::Get, &at, judge(Service::S3, "GetObject", &[], &r)?);
    let r = s3.create_multipart_upload().bucket(bucket).key(RECORDING).send().await;
    tell(Action::BeginRecording, &at, judge(Service::S3, "CreateMultipartUpload", &[], &r)?);
    let begun = r.ok().and_then(|u| u.upload_id);
    let mut deleted = false;
    // Its own role moves copies in sessions of another name, and deletes nothing else.
    if *whose != Target::Own {
        let r = s3.delete_object().bucket(bucket).key(RECORDING).send().await;
        deleted = r.is_ok();
        tell(Action::Delete, &at, judge(Service::S3, "DeleteObject", &[], &r)?);
    }
    let mut tried = Tried { found, begun };
    if deleted {
        tried.leaves(Action::Delete, Some(format!("a delete marker on {at}, with nothing below it")));
    }
    Ok(tried)
}
