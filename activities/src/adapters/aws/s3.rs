//! An organization's bucket.

use super::errors::{Service, fault, status, wants_new_session};
use super::sts::{OrgClients, bulk_timeouts};
use crate::ports::content::{Content, Pieces};
use crate::ports::staging::Staging as _;
use crate::ports::store::{Held, Listed, OrgStore, Part, Put, RecordingMeta, Stuck, Upload};
use async_trait::async_trait;
use aws_sdk_s3::config::Builder;
use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::operation::put_object::builders::PutObjectFluentBuilder;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::ChecksumMode;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_runtime_api::http::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use leadline_domain::message::recording_key;
use leadline_domain::{Digest, Fault, FaultCode, StagedAt};
use std::error::Error;
use std::sync::Arc;

/// Metadata `x-amz-meta-leadline-claim`.
pub(super) const CLAIM: &str = "leadline-claim";
/// Metadata `x-amz-meta-leadline-format`.
pub(super) const FORMAT: &str = "leadline-format";
/// How often a conditional write is repeated when another one to the same key is under way (409
/// ConditionalRequestConflict, for which S3's documentation asks to try again).
pub(super) const CONFLICTS: u32 = 4;
/// A body larger than this gets the timeouts of bulk transfers, bytes.
const BULK: usize = 512 * 1024;

/// See [`OrgStore`].
pub struct S3OrgStore {
    pub(super) org: Arc<OrgClients>,
    pub(super) pieces: Pieces,
}

impl S3OrgStore {
    pub(super) fn new(org: Arc<OrgClients>, pieces: Pieces) -> Self {
        Self { org, pieces }
    }

    /// The fault of a failed request; a session that is not good any more is thrown away with it.
    pub(super) async fn fail<E>(&self, operation: &'static str, e: &SdkError<E, Response>) -> Fault
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        if wants_new_session(e) {
            self.org.role.forget().await;
        }
        fault(Service::S3, operation, e)
    }

    async fn head(&self, key: &str) -> Result<Option<Put>, Fault> {
        match self.org.s3.head_object().bucket(&self.org.bucket).key(key).send().await {
            Ok(h) => Ok(Some(Put::Exists {
                claim: h.metadata().and_then(|m| m.get(CLAIM)).cloned().unwrap_or_default(),
                size: h.content_length().and_then(|n| u64::try_from(n).ok()).unwrap_or(0),
            })),
            // The answer to a HEAD has no body, so that a missing bucket looks the same; every write tells them apart.
            Err(e) if status(&e) == 404 => Ok(None),
            Err(e) => Err(self.fail("HeadObject", &e).await),
        }
    }

    /// Writes an object with what `dressed` adds, if nothing is there. `large`: with the timeouts of bulk transfers.
    pub(super) async fn put_new(
        &self,
        key: &str,
        body: Bytes,
        digest: &Digest,
        large: bool,
        dressed: impl Fn(PutObjectFluentBuilder) -> PutObjectFluentBuilder,
    ) -> Result<Put, Fault> {
        for _ in 0..CONFLICTS {
            let put = self.org.s3.put_object().bucket(&self.org.bucket).key(key).if_none_match("*");
            // The digest doubles as the checksum that S3 verifies: no second hash, no trailer.
            let put = put.checksum_sha256(BASE64.encode(digest.as_bytes())).body(ByteStream::from(body.clone()));
            let put = dressed(put).customize();
            let put = if large { put.config_override(bulk()) } else { put };
            match put.send().await {
                Ok(_) => return Ok(Put::Created),
                Err(e) if taken(&e) => {
                    if let Some(there) = self.winner(key).await? {
                        return Ok(there);
                    }
                }
                Err(e) if conflict(&e) => {}
                Err(e) => return Err(self.fail("PutObject", &e).await),
            }
        }
        Err(no_winner())
    }

    /// What is there, after a conditional write was refused; `None` if it vanished meanwhile.
    pub(super) async fn winner(&self, key: &str) -> Result<Option<Put>, Fault> {
        self.head(key).await
    }
}

fn says<E: ProvideErrorMetadata>(e: &SdkError<E, Response>, code: &str) -> bool {
    e.as_service_error().is_some_and(|s| s.code() == Some(code))
}

/// Whether a conditional write was refused because something is there: 412, or the same in the body of a 200, as
/// CompleteMultipartUpload and CopyObject may answer once they have begun to.
pub(super) fn taken<E: ProvideErrorMetadata>(e: &SdkError<E, Response>) -> bool {
    status(e) == 412 || says(e, "PreconditionFailed")
}

/// Whether a conditional write met another one under way: 409, or in the body of a 200.
pub(super) fn conflict<E: ProvideErrorMetadata>(e: &SdkError<E, Response>) -> bool {
    says(e, "ConditionalRequestConflict")
}

pub(super) fn no_winner() -> Fault {
    Fault::new(FaultCode::StoreUnreachable, "a conditional write was refused again and again, and nothing is there")
}

pub(super) fn bulk() -> Builder {
    aws_sdk_s3::config::Config::builder().timeout_config(bulk_timeouts())
}

/// Parts of a marker's key: what would change the key's structure or its encoding is refused.
pub(super) fn plain(part: &str) -> Result<&str, Fault> {
    let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if !part.is_empty() && part.bytes().all(good) {
        Ok(part)
    } else {
        Err(Fault::new(
            FaultCode::StoreRefused,
            "a part of a key is empty or has other characters than A-Z a-z 0-9 - _ .",
        ))
    }
}

#[async_trait]
impl OrgStore for S3OrgStore {
    async fn put_recording(&self, digest: &Digest, body: Bytes, meta: &RecordingMeta) -> Result<Put, Fault> {
        let large = body.len() > BULK;
        let dressed = |put: PutObjectFluentBuilder| {
            put.metadata(CLAIM, &meta.claim).metadata(FORMAT, &meta.format).content_type(&meta.media_type)
        };
        self.put_new(&meta.shelf.key(digest), body, digest, large, dressed).await
    }

    async fn head_recording(&self, digest: &Digest) -> Result<Option<Put>, Fault> {
        self.head(&recording_key(digest)).await
    }

    async fn begin_upload(&self, name: &str) -> Result<Upload, Fault> {
        self.begin(plain(name)?).await
    }

    async fn find_upload(&self, name: &str) -> Result<Option<Upload>, Fault> {
        self.find(plain(name)?).await
    }

    async fn upload_part(&self, upload: &Upload, number: u32, body: Bytes, sha256: [u8; 32]) -> Result<Part, Fault> {
        self.part(upload, number, body, sha256).await
    }

    async fn list_parts(&self, upload: &Upload) -> Result<Vec<Part>, Fault> {
        self.parts(upload).await
    }

    async fn complete_upload(&self, upload: &Upload, parts: &[Part]) -> Result<(), Fault> {
        self.complete(upload, parts).await
    }

    async fn abort_upload(&self, upload: &Upload) -> Result<(), Fault> {
        self.abort(&super::multipart::staging(&upload.name), &upload.id).await
    }

    fn pieces(&self) -> Pieces {
        self.pieces
    }

    async fn promote(&self, name: &str, content: &Content, meta: &RecordingMeta) -> Result<Put, Fault> {
        let put = self.promote_staged(StagedAt::now(plain(name)?), content, meta).await?;
        // It is not needed any more. Staying behind does no harm: the bucket's lifecycle rule takes it.
        if let Err(fault) = self.remove_staged(name).await {
            tracing::warn!(%fault, "a staged object was not removed");
        }
        Ok(put)
    }

    async fn note_claim(&self, claim: &str, note: &str) -> Result<(), Fault> {
        self.write_note(&format!("staging/claims/{}", plain(claim)?), note.to_owned()).await
    }

    async fn noted_claim(&self, claim: &str) -> Result<Option<String>, Fault> {
        self.read_note(&format!("staging/claims/{}", plain(claim)?)).await
    }

    async fn put_seen(&self, share: &str, key: &str, version: &str) -> Result<(), Fault> {
        let key = format!("seen/{}/{}/{}", plain(share)?, plain(key)?, plain(version)?);
        let put = self.org.s3.put_object().bucket(&self.org.bucket).key(key).body(ByteStream::from_static(b""));
        match put.send().await {
            Ok(_) => Ok(()),
            Err(e) => Err(self.fail("PutObject", &e).await),
        }
    }

    async fn list_seen(&self, share: &str) -> Result<Vec<(String, String)>, Fault> {
        let prefix = format!("seen/{}/", plain(share)?);
        let mut pages = self.org.s3.list_objects_v2().bucket(&self.org.bucket).prefix(&prefix).into_paginator().send();
        let mut out = Vec::new();
        while let Some(page) = pages.next().await {
            let page = match page {
                Ok(p) => p,
                Err(e) => return Err(self.fail("ListObjectsV2", &e).await),
            };
            for key in page.contents().iter().filter_map(aws_sdk_s3::types::Object::key) {
                if let Some((k, v)) = key.strip_prefix(&prefix).and_then(|r| r.split_once('/')) {
                    out.push((k.to_owned(), v.to_owned()));
                }
            }
        }
        Ok(out)
    }

    async fn read_recording(&self, digest: &Digest, limit: u64) -> Result<Bytes, Fault> {
        let get = self
            .org
            .s3
            .get_object()
            .bucket(&self.org.bucket)
            .key(recording_key(digest))
            .checksum_mode(ChecksumMode::Enabled)
            .customize()
            .config_override(bulk());
        let got = match get.send().await {
            Ok(g) => g,
            Err(e) => return Err(self.fail("GetObject", &e).await),
        };
        if got.content_length().and_then(|n| u64::try_from(n).ok()).is_none_or(|n| n > limit) {
            return Err(Fault::new(FaultCode::BugInvariant, "GetObject: the object is larger than was asked for"));
        }
        let body = got.body.collect().await;
        let body =
            body.map_err(|_| Fault::new(FaultCode::StoreUnreachable, "GetObject: the body was cut off"))?.into_bytes();
        if Digest::of(&body) != *digest {
            return Err(Fault::new(FaultCode::StoreChecksumMismatch, "GetObject: the content has another digest"));
        }
        Ok(body)
    }

    async fn count_all(&self) -> Result<Held, Fault> {
        self.counted().await
    }

    async fn delete_all(&self) -> Result<Stuck, Fault> {
        self.emptied().await
    }

    async fn export_list(&self, folder: &str) -> Result<Vec<Listed>, Fault> {
        self.list_into(folder).await
    }

    async fn check(&self) -> Result<(), Fault> {
        // Not HeadBucket: its answers have no body, so that a refusal would carry no code.
        match self.org.s3.list_objects_v2().bucket(&self.org.bucket).max_keys(1).send().await {
            Ok(_) => Ok(()),
            Err(e) => Err(self.fail("ListObjectsV2", &e).await),
        }
    }
}
