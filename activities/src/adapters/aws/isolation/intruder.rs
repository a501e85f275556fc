//! The tries, each with names that are fixed in this module's parent.

use super::victim::Victim;
use super::{BAIT, BODY, COPY, LABEL, NO_UPLOAD, RECORDING, judge};
use crate::adapters::aws::errors::Service;
use crate::adapters::aws::requests::Counting;
use crate::adapters::aws::sts::OrgClients;
use crate::ports::checks::Owned;
use aws_sdk_kms::types::DataKeySpec;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use leadline_domain::isolation::{Action, Evidence, Outcome, Target};
use leadline_domain::transfer::Storage;
use leadline_domain::{Fault, ShareId};
use std::sync::Arc;

/// SQS: the longest delay of a message, seconds, and the most messages of a request; one more is taken by no queue.
const NO_DELAY: i32 = 901;
const NO_NUMBER: i32 = 11;
/// What SQS says to those who may and ask for something that cannot be.
const BAD_REQUEST: &[&str] = &["InvalidParameterValue", "MissingParameter", "ReadCountOutOfRange"];

/// S3: there is no such upload.
const NONE: &str = "NoSuchUpload";

/// An organization's credentials, turned against others.
pub(super) struct Intruder {
    pub(super) org: Arc<OrgClients>,
    pub(super) counting: Counting,
    pub(super) sns: aws_sdk_sns::Client,
    kms: aws_sdk_kms::Client,
    sqs: aws_sdk_sqs::Client,
    sts: aws_sdk_sts::Client,
}

impl Intruder {
    pub(super) fn new(org: Arc<OrgClients>, counting: &Counting) -> Self {
        let kms = aws_sdk_kms::config::Builder::from(&org.config).interceptor(counting.clone()).build();
        let sqs = aws_sdk_sqs::config::Builder::from(&org.config).interceptor(counting.clone()).build();
        let sts = aws_sdk_sts::config::Builder::from(&org.config).interceptor(counting.clone()).build();
        let sns = aws_sdk_sns::config::Builder::from(&org.config).interceptor(counting.clone()).build();
        Self {
            org,
            counting: counting.clone(),
            sns: aws_sdk_sns::Client::from_conf(sns),
            kms: aws_sdk_kms::Client::from_conf(kms),
            sqs: aws_sdk_sqs::Client::from_conf(sqs),
            sts: aws_sdk_sts::Client::from_conf(sts),
        }
    }

    /// Everything on one organization's resources.
    ///
    /// # Errors
    /// What passes by itself; a session that is not good any more is thrown away.
    pub(super) async fn try_all(&self, v: &Victim, whose: &Target, has: &Owned) -> Result<Vec<Evidence>, Fault> {
        let r = async {
            let mut found = self.objects(v, whose).await?;
            found.extend(self.uploads(v, whose).await?);
            for storage in &has.storages {
                found.extend(self.copies(v, whose, *storage).await?);
            }
            found.extend(self.key(v, whose).await?);
            for secret in &has.secrets {
                found.push(self.secret(v, whose, secret).await?);
            }
            if *whose != Target::Own {
                found.push(self.role(v, whose).await?);
            }
            Ok(found)
        };
        self.or_forget(r.await).await
    }

    pub(super) async fn or_forget<T>(&self, r: Result<T, Fault>) -> Result<T, Fault> {
        if r.is_err() {
            self.org.role.forget().await;
        }
        r
    }

    async fn objects(&self, v: &Victim, whose: &Target) -> Result<Vec<Evidence>, Fault> {
        let (s3, bucket) = (&self.org.s3, v.bucket());
        let at = |key: &str| format!("{bucket}/{key}");
        let mut found = Vec::new();
        let mut tell = |action, resource: &str, (outcome, said): (Outcome, String)| {
            found.push(Evidence::new(action, whose, resource, outcome, &said));
        };
        // Below a prefix that holds the probe's own objects only: no other name is seen.
        let r = s3.list_objects_v2().bucket(&bucket).prefix(BAIT).max_keys(1).send().await;
        let list = judge(Service::S3, "ListObjectsV2", &[], &r)?;
        let absent = list.0 == Outcome::Absent;
        tell(Action::List, &bucket, list);

        let r = s3.head_object().bucket(&bucket).key(BAIT).send().await;
        // The answer to a HEAD cannot say that it is the bucket that is missing.
        let head =
            if absent { (Outcome::Absent, "NoSuchBucket".into()) } else { judge(Service::S3, "HeadObject", &[], &r)? };
        tell(Action::Head, &at(BAIT), baited(v, head));

        // The answer is let go of with its body unread.
        let r = s3.get_object().bucket(&bucket).key(BAIT).send().await.map(drop);
        tell(Action::Get, &at(BAIT), baited(v, judge(Service::S3, "GetObject", &[], &r)?));

        // Its own role is not meant to read versions: what was written over is nobody's.
        if *whose != Target::Own {
            let said = match v.version() {
                None => (v.unprepared(), "the probe's object has no version that is known".to_owned()),
                Some(version) => {
                    let r = s3.get_object().bucket(&bucket).key(BAIT).version_id(version).send().await.map(drop);
                    judge(Service::S3, "GetObject", &[], &r)?
                }
            };
            tell(Action::GetVersion, &at(BAIT), baited(v, said));
        }

        // Refused by the condition where it is allowed: nothing is written over.
        let body = ByteStream::from_static(BODY);
        let r = s3.put_object().bucket(&bucket).key(BAIT).if_none_match("*").body(body).send().await;
        tell(Action::Put, &at(BAIT), judge(Service::S3, "PutObject", &[], &r)?);

        let mut left = Vec::new();
        for (action, key, recording) in [(Action::BeginUpload, COPY, false), (Action::BeginRecording, RECORDING, true)]
        {
            let r = s3.create_multipart_upload().bucket(&bucket).key(key).send().await;
            tell(action, &at(key), judge(Service::S3, "CreateMultipartUpload", &[], &r)?);
            if let Some(id) = r.ok().and_then(|u| u.upload_id) {
                left.extend(v.give_up(Storage::Data, recording, &id).await.map(|l| (action, l)));
            }
        }

        let r = s3.copy_object().bucket(&self.org.bucket).key(COPY).copy_source(at(BAIT)).send().await;
        let from = judge(Service::S3, "CopyObject", &[], &r)?;
        if from.0 == Outcome::Granted && *whose != Target::Own {
            let gone = s3.delete_object().bucket(&self.org.bucket).key(COPY).send().await;
            let place = format!("{COPY} in bucket {}: the probe's own content", self.org.bucket);
            left.extend(gone.err().map(|_| (Action::CopyFrom, place)));
        }
        tell(Action::CopyFrom, &at(BAIT), baited(v, from));

        let source = format!("{}/{BAIT}", self.org.bucket);
        let r = s3.copy_object().bucket(&bucket).key(COPY).copy_source(source).send().await;
        let copied = r.is_ok();
        tell(Action::CopyTo, &at(COPY), judge(Service::S3, "CopyObject", &[], &r)?);

        let r = s3.delete_object().bucket(&bucket).key(COPY).send().await;
        let deleted = r.is_ok();
        tell(Action::Delete, &at(COPY), judge(Service::S3, "DeleteObject", &[], &r)?);
        if *whose != Target::Own {
            if copied && !deleted {
                left.extend(v.remove_copy().await.map(|l| (Action::CopyTo, l)));
            }
            if deleted {
                left.push((
                    Action::Delete,
                    format!("a delete marker on {}, which the lifecycle rule removes", at(COPY)),
                ));
            }
        }
        for (action, what) in left {
            if let Some(e) = found.iter_mut().find(|e| e.action == action) {
                e.left = Some(what);
            }
        }
        Ok(found)
    }

    /// Going on with uploads: with one that is not there.
    async fn uploads(&self, v: &Victim, whose: &Target) -> Result<Vec<Evidence>, Fault> {
        let (s3, bucket) = (&self.org.s3, v.bucket());
        let at = format!("{bucket}/{COPY}");
        let mut found = Vec::new();
        let mut tell = |action, resource: &str, (outcome, said): (Outcome, String)| {
            found.push(Evidence::new(action, whose, resource, outcome, &said));
        };
        let r = s3.list_multipart_uploads().bucket(&bucket).prefix(COPY).max_uploads(1).send().await;
        tell(Action::ListUploads, &bucket, judge(Service::S3, "ListMultipartUploads", &[], &r)?);
        let part = s3.upload_part().bucket(&bucket).key(COPY).upload_id(NO_UPLOAD).part_number(1);
        let r = part.body(ByteStream::from_static(BODY)).send().await;
        tell(Action::UploadPart, &at, judge(Service::S3, "UploadPart", &[NONE], &r)?);
        let r = s3.list_parts().bucket(&bucket).key(COPY).upload_id(NO_UPLOAD).send().await;
        tell(Action::ListParts, &at, judge(Service::S3, "ListParts", &[NONE], &r)?);
        let part = CompletedPart::builder().part_number(1).e_tag("\"d41d8cd98f00b204e9800998ecf8427e\"").build();
        let parts = CompletedMultipartUpload::builder().parts(part).build();
        let complete = s3.complete_multipart_upload().bucket(&bucket).key(COPY).upload_id(NO_UPLOAD);
        let r = complete.multipart_upload(parts).send().await;
        tell(Action::CompleteUpload, &at, judge(Service::S3, "CompleteMultipartUpload", &[NONE], &r)?);
        let r = s3.abort_multipart_upload().bucket(&bucket).key(COPY).upload_id(NO_UPLOAD).send().await;
        tell(Action::AbortUpload, &at, judge(Service::S3, "AbortMultipartUpload", &[NONE], &r)?);
        Ok(found)
    }

    async fn key(&self, v: &Victim, whose: &Target) -> Result<Vec<Evidence>, Fault> {
        let key = v.key();
        let r = self.kms.generate_data_key().key_id(key).key_spec(DataKeySpec::Aes256).send().await.map(drop);
        let (outcome, said) = judge(Service::Kms, "GenerateDataKey", &[], &r)?;
        let mut found = vec![Evidence::new(Action::GenerateDataKey, whose, key, outcome, &said)];
        let (outcome, said) = match v.sealed() {
            None => (v.unprepared(), "its own role could not have a data key made to try with".to_owned()),
            Some(sealed) => {
                let r = self.kms.decrypt().key_id(key).ciphertext_blob(sealed.clone()).send().await.map(drop);
                judge(Service::Kms, "Decrypt", &[], &r)?
            }
        };
        found.push(Evidence::new(Action::Decrypt, whose, key, outcome, &said));
        Ok(found)
    }

    async fn secret(&self, v: &Victim, whose: &Target, share: &ShareId) -> Result<Evidence, Fault> {
        let name = v.secret(share);
        let r = self.org.secrets.get_secret_value().secret_id(&name).version_stage(LABEL).send().await.map(drop);
        let (outcome, said) = judge(Service::Secrets, "GetSecretValue", &["ResourceNotFoundException"], &r)?;
        Ok(Evidence::new(Action::ReadSecret, whose, &name, outcome, &said))
    }

    async fn role(&self, v: &Victim, whose: &Target) -> Result<Evidence, Fault> {
        let (role, external_id) = v.role();
        let r = self.sts.assume_role().role_arn(&role).role_session_name("leadline-probe").external_id(external_id);
        // A session that must not have been given is let go of unread.
        let r = r.duration_seconds(900).send().await.map(drop);
        let (outcome, said) = judge(Service::Credentials, "AssumeRole", &[], &r)?;
        Ok(Evidence::new(Action::TakeRole, whose, &role, outcome, &said))
    }

    /// Everything on the environment's queues. Each request is one that no queue can fulfil.
    ///
    /// # Errors
    /// What passes by itself.
    pub(super) async fn try_queues(&self, queues: &[(String, String)]) -> Result<Vec<Evidence>, Fault> {
        let r = async {
            let mut found = Vec::new();
            let mut tell = |action, name: &str, (outcome, said): (Outcome, String)| {
                found.push(Evidence::new(action, &Target::Environment, name, outcome, &said));
            };
            for (name, url) in queues {
                // A FIFO queue takes no message without a group, any other none with such a delay.
                let send = self.sqs.send_message().queue_url(url).message_body(LABEL);
                let send = if name.ends_with(".fifo") { send } else { send.delay_seconds(NO_DELAY) };
                let r = send.send().await;
                tell(Action::Send, name, judge(Service::Sqs, "SendMessage", BAD_REQUEST, &r)?);
                let r =
                    self.sqs.receive_message().queue_url(url).max_number_of_messages(NO_NUMBER).send().await.map(drop);
                tell(Action::Receive, name, judge(Service::Sqs, "ReceiveMessage", BAD_REQUEST, &r)?);
                let r = self.sqs.delete_message().queue_url(url).receipt_handle(LABEL).send().await;
                let after = ["ReceiptHandleIsInvalid", "InvalidParameterValue"];
                tell(Action::DeleteMessage, name, judge(Service::Sqs, "DeleteMessage", &after, &r)?);
            }
            Ok(found)
        };
        self.or_forget(r.await).await
    }
}

/// A refusal shows nothing where the probe's object is not there to be refused.
fn baited(v: &Victim, (outcome, said): (Outcome, String)) -> (Outcome, String) {
    match v.no_bait() {
        Some(why) if outcome == Outcome::Denied => {
            (v.unprepared(), format!("{said}, but the probe's object could not be placed: {why}"))
        }
        _ => (outcome, said),
    }
}
