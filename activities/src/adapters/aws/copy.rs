//! Server-side copies within an organization's storages: of what is staged to its place, and from one storage to another.
//!
//! A copy is a multipart upload of its own, of parts copied by the server, completed under If-None-Match. CopyObject
//! would be two requests fewer, but S3 refuses it on a prefix whose bucket policy demands conditional writes (see
//! "Enforce conditional writes on Amazon S3 buckets": "you can't perform copy operations to the bucket or prefix"),
//! and ours does; it also ends at 5 GiB.

use super::errors::{Service, fault, status};
use super::multipart::number;
use super::s3::{S3OrgStore, bulk, conflict, taken};
use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumType, CompletedMultipartUpload, CompletedPart};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use futures::{StreamExt as _, TryStreamExt as _};
use leadline_domain::{Digest, Fault, FaultCode};
use std::collections::HashMap;

/// Largest part of a multipart upload (S3: 5 GiB). What fits one part is copied as one, because then the checksum
/// that S3 computes of the part is the digest of the whole recording.
const COPY_PART: u64 = 5 * 1024 * 1024 * 1024;
/// Parts copied at once, for what needs several.
const COPIES: usize = 4;

/// An object of the organization: buckets are its own storages.
#[derive(Debug, Clone, Copy)]
pub(super) struct Object<'a> {
    pub(super) bucket: &'a str,
    pub(super) key: &'a str,
}

/// What is beside the bytes of the copy.
#[derive(Debug, Clone, Default)]
pub(super) struct Dress {
    pub(super) metadata: HashMap<String, String>,
    pub(super) content_type: Option<String>,
}

/// A copy that is to be made.
pub(super) struct Copy<'a> {
    pub(super) from: Object<'a>,
    pub(super) to: Object<'a>,
    /// Of the source, bytes.
    pub(super) size: u64,
    /// Digest of the source, if it is known: a copy that S3 says another one of is refused.
    pub(super) digest: Option<&'a Digest>,
    pub(super) dress: Dress,
}

/// How one attempt at a copy ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Made {
    Created,
    /// Something is at the target.
    Taken,
    /// Another conditional write is under way, or the store lost our copy: once more.
    Again,
    /// There is no source.
    NoSource,
}

impl S3OrgStore {
    /// Copies once, if nothing is there.
    pub(super) async fn copy_once(&self, c: &Copy<'_>) -> Result<Made, Fault> {
        let begun = self
            .org
            .s3
            .create_multipart_upload()
            .bucket(c.to.bucket)
            .key(c.to.key)
            .checksum_algorithm(ChecksumAlgorithm::Sha256)
            .checksum_type(ChecksumType::Composite)
            .set_metadata(Some(c.dress.metadata.clone()))
            .set_content_type(c.dress.content_type.clone())
            .send()
            .await;
        let id = match begun {
            Ok(m) => m.upload_id().unwrap_or_default().to_owned(),
            Err(e) => return Err(self.fail("CreateMultipartUpload", &e).await),
        };
        let made = match self.copy_parts(c, &id).await {
            Ok(Some(parts)) => self.complete_once(c, &id, parts).await,
            Ok(None) => Ok(Made::NoSource),
            Err(f) if f.code == FaultCode::StoreUploadLost => Ok(Made::Again),
            Err(f) => Err(f),
        };
        if !matches!(made, Ok(Made::Created))
            && let Err(f) = self.abort_in(c.to.bucket, c.to.key, &id).await
        {
            // The bucket's lifecycle rule for incomplete uploads takes what stays.
            tracing::warn!(fault = %f, "a server-side copy was not given up");
        }
        made
    }

    /// `None` if there is no source.
    async fn copy_parts(&self, c: &Copy<'_>, id: &str) -> Result<Option<Vec<CompletedPart>>, Fault> {
        let whole = c.size <= COPY_PART;
        let ranges = (0..c.size.div_ceil(COPY_PART)).map(|n| (n, n * COPY_PART, ((n + 1) * COPY_PART).min(c.size) - 1));
        let copied: Result<Vec<Option<CompletedPart>>, Fault> = futures::stream::iter(ranges)
            .map(|(n, first, last)| {
                let range = (!whole).then(|| format!("bytes={first}-{last}"));
                self.copy_part(c, id, u32::try_from(n + 1).unwrap_or(u32::MAX), range)
            })
            .buffered(COPIES)
            .try_collect()
            .await;
        let Some(parts) = copied?.into_iter().collect::<Option<Vec<_>>>() else { return Ok(None) };
        // S3 says what it copied (CopyPartResult); an endpoint that does not is checked by the size only.
        if let (Some(digest), [one]) = (c.digest, parts.as_slice())
            && one.checksum_sha256().is_some_and(|c| c != BASE64.encode(digest.as_bytes()))
        {
            return Err(Fault::new(FaultCode::StoreChecksumMismatch, "UploadPartCopy: the copy has another digest"));
        }
        Ok(Some(parts))
    }

    async fn copy_part(
        &self,
        c: &Copy<'_>,
        id: &str,
        n: u32,
        range: Option<String>,
    ) -> Result<Option<CompletedPart>, Fault> {
        let copied = self
            .org
            .s3
            .upload_part_copy()
            .bucket(c.to.bucket)
            .key(c.to.key)
            .upload_id(id)
            .copy_source(format!("{}/{}", c.from.bucket, c.from.key))
            .set_copy_source_range(range)
            .part_number(number(n))
            .customize()
            .config_override(bulk())
            .send()
            .await;
        match copied {
            Ok(c) => {
                let c = c.copy_part_result();
                Ok(Some(
                    CompletedPart::builder()
                        .part_number(number(n))
                        .set_e_tag(c.and_then(|c| c.e_tag()).map(str::to_owned))
                        .set_checksum_sha256(c.and_then(|c| c.checksum_sha256()).map(str::to_owned))
                        .build(),
                ))
            }
            Err(e) if e.code() == Some("NoSuchKey") => Ok(None),
            Err(e) => Err(self.fail("UploadPartCopy", &e).await),
        }
    }

    async fn complete_once(&self, c: &Copy<'_>, id: &str, parts: Vec<CompletedPart>) -> Result<Made, Fault> {
        let done = self
            .org
            .s3
            .complete_multipart_upload()
            .bucket(c.to.bucket)
            .key(c.to.key)
            .upload_id(id)
            .if_none_match("*")
            // S3 refuses to make the object when its size is another (x-amz-mp-object-size): no HEAD to verify it.
            .set_mpu_object_size(i64::try_from(c.size).ok())
            .multipart_upload(CompletedMultipartUpload::builder().set_parts(Some(parts)).build())
            .customize()
            .config_override(bulk())
            .send()
            .await;
        match done {
            Ok(_) => Ok(Made::Created),
            Err(e) if taken(&e) => Ok(Made::Taken),
            // For a conflict S3 asks to begin the upload anew, not only to complete it again.
            Err(e) if conflict(&e) || e.code() == Some("NoSuchUpload") => Ok(Made::Again),
            Err(e) if status(&e) == 400 && e.message().is_some_and(|m| m.contains("mp-object-size")) => {
                let said = fault(Service::S3, "CompleteMultipartUpload", &e);
                Err(Fault::new(FaultCode::StoreChecksumMismatch, format!("the copy has another size: {}", said.detail)))
            }
            Err(e) => Err(self.fail("CompleteMultipartUpload", &e).await),
        }
    }
}
