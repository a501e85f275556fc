//! The side that must not be reached: what the probe places there, with the owner's own role.

use super::{BAIT, BODY, COPY, RECORDING, judge};
use crate::adapters::aws::errors::Service;
use crate::adapters::aws::sts::{Aws, OrgClients};
use aws_sdk_kms::primitives::Blob;
use aws_sdk_kms::types::DataKeySpec;
use aws_sdk_s3::primitives::ByteStream;
use leadline_domain::isolation::Outcome;
use leadline_domain::transfer::Storage;
use leadline_domain::{Fault, FaultClass, OrgScope, ShareId};
use std::sync::Arc;

/// An organization whose resources are tried.
pub(super) struct Victim {
    scope: OrgScope,
    owner: Option<Arc<OrgClients>>,
    /// A data key that protects nothing, encrypted by the organization's key.
    sealed: Option<Blob>,
    /// ARN of the key; its alias where the key itself is not known.
    key: String,
    /// Version of the probe's object.
    version: Option<String>,
    /// Why the probe's object is not there.
    no_bait: Option<String>,
    /// It is being deleted.
    leaving: bool,
}

impl Victim {
    /// Places the probe's object and has a data key made, as the organization itself.
    ///
    /// # Errors
    /// What passes by itself. What does not is kept: the tries that need it are then unclear, the others are made.
    pub(super) async fn prepare(aws: &Aws, scope: &OrgScope, leaving: bool) -> Result<Self, Fault> {
        let alias = format!("arn:aws:kms:{}:{}:{}", scope.region(), scope.account(), scope.key_alias());
        let mut v =
            Self { scope: scope.clone(), owner: None, sealed: None, key: alias, version: None, no_bait: None, leaving };
        let org = aws.organization(scope);
        match org.role.credentials().await {
            Ok(_) => {}
            Err(f) if matches!(f.class(), FaultClass::Transient | FaultClass::Throttled) => return Err(f),
            Err(f) => {
                v.no_bait = Some(f.code.to_string());
                return Ok(v);
            }
        }
        // Nothing is written where it is there already: no version is added by looking.
        let body = ByteStream::from_static(BODY);
        let put = org.s3.put_object().bucket(&org.bucket).key(BAIT).if_none_match("*").body(body).send().await;
        let (outcome, said) = judge(Service::S3, "PutObject", &[], &put)?;
        if outcome != Outcome::Granted {
            v.no_bait = Some(said);
        }
        v.version = match put {
            Ok(made) => made.version_id,
            // It was there: its name is asked for.
            Err(_) if v.no_bait.is_none() => {
                let r = org.s3.head_object().bucket(&org.bucket).key(BAIT).send().await;
                judge(Service::S3, "HeadObject", &[], &r)?;
                r.ok().and_then(|h| h.version_id)
            }
            Err(_) => None,
        };
        let kms = aws_sdk_kms::Client::from_conf(
            aws_sdk_kms::config::Builder::from(&org.config).interceptor(aws.counting()).build(),
        );
        let made = kms.generate_data_key().key_id(v.key()).key_spec(DataKeySpec::Aes256).send().await;
        judge(Service::Kms, "GenerateDataKey", &[], &made)?;
        if let Ok(made) = made {
            // The other half of the answer, the key in clear, is let go of: it encrypts nothing.
            v.sealed = made.ciphertext_blob;
            // Policies are written for the key, not for its alias.
            v.key = made.key_id.filter(|k| k.starts_with("arn:")).unwrap_or(v.key);
        }
        v.owner = Some(org);
        Ok(v)
    }

    /// Whether everything was placed.
    pub(super) fn ready(&self) -> bool {
        self.no_bait.is_none() && self.sealed.is_some()
    }

    pub(super) fn no_bait(&self) -> Option<&str> {
        self.no_bait.as_deref()
    }

    /// What a try shows that could not be prepared: of an organization that is being deleted, which can place nothing, that
    /// there is nothing to reach; of any other, nothing.
    pub(super) fn unprepared(&self) -> Outcome {
        if self.leaving { Outcome::Absent } else { Outcome::Unclear }
    }

    pub(super) fn sealed(&self) -> Option<&Blob> {
        self.sealed.as_ref()
    }

    /// Version of the probe's object, where it is there.
    pub(super) fn version(&self) -> Option<&str> {
        self.version.as_deref()
    }

    pub(super) fn bucket(&self) -> String {
        self.scope.bucket()
    }

    pub(super) fn storage(&self, storage: Storage) -> String {
        self.scope.storage_bucket(storage)
    }

    pub(super) fn key(&self) -> &str {
        &self.key
    }

    pub(super) fn secret(&self, share: &ShareId) -> String {
        self.scope.share_secret(share)
    }

    pub(super) fn role(&self) -> (String, String) {
        (self.scope.role_arn(), self.scope.external_id())
    }

    /// Removes the copy that must not have been made. Returns what is left, if it cannot.
    pub(super) async fn remove_copy(&self) -> Option<String> {
        let left = format!("{COPY} in bucket {}: the probe's own content", self.bucket());
        let Some(o) = &self.owner else { return Some(left) };
        o.s3.delete_object().bucket(&o.bucket).key(COPY).send().await.err().map(|_| left)
    }

    /// Gives an upload up that must not have begun. Returns what is left, if it cannot.
    pub(super) async fn give_up(&self, storage: Storage, recording: bool, upload: &str) -> Option<String> {
        let (key, bucket) = (if recording { RECORDING } else { COPY }, self.storage(storage));
        let left = format!("an empty upload to {key} in bucket {bucket}");
        let Some(o) = &self.owner else { return Some(left) };
        let gone = o.s3.abort_multipart_upload().bucket(&bucket).key(key).upload_id(upload).send().await;
        gone.err().map(|_| left)
    }
}
