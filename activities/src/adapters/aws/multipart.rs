//! Large recordings: parts to `staging/`, then a server-side copy to the content-addressed key.
//!
//! The copy is a multipart upload of its own, of parts copied by the server, completed under If-None-Match. CopyObject
//! would be two requests fewer, but S3 refuses it on a prefix whose bucket policy demands conditional writes (see
//! "Enforce conditional writes on Amazon S3 buckets": "you can't perform copy operations to the bucket or prefix"),
//! and ours does; it also ends at 5 GiB.

use super::errors::{Service, fault, status};
use super::s3::{CLAIM, CONFLICTS, FORMAT, S3OrgStore, bulk, conflict, no_winner, taken};
use crate::ports::store::{Part, Put, RecordingMeta, Upload};
use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumType, CompletedMultipartUpload, CompletedPart};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use leadline_domain::{Digest, Fault, FaultCode};

/// Largest part of a multipart upload (S3: 5 GiB). What fits one part is copied as one, because then the checksum
/// that S3 computes of the part is the digest of the whole recording.
const COPY_PART: u64 = 5 * 1024 * 1024 * 1024;
/// Parts copied at once, for what needs several.
const COPIES: usize = 4;

/// How one attempt at a promotion ended.
enum Promotion {
    Created,
    /// Something is at the content-addressed key.
    Taken,
    /// Another conditional write is under way, or the store lost our copy: once more.
    Again,
    /// There is no staged object.
    NotStaged,
}

pub(super) fn staging(name: &str) -> String {
    format!("staging/{name}")
}

fn number(n: u32) -> i32 {
    i32::try_from(n).unwrap_or(i32::MAX)
}

impl S3OrgStore {
    pub(super) async fn begin(&self, name: &str) -> Result<Upload, Fault> {
        let made = self
            .org
            .s3
            .create_multipart_upload()
            .bucket(&self.org.bucket)
            .key(staging(name))
            // Declared here, or S3 takes wrong checksums of parts for unasked remarks.
            .checksum_algorithm(ChecksumAlgorithm::Sha256)
            .checksum_type(ChecksumType::Composite)
            .send()
            .await;
        match made {
            Ok(m) => Ok(Upload { name: name.to_owned(), id: m.upload_id().unwrap_or_default().to_owned() }),
            Err(e) => Err(self.fail("CreateMultipartUpload", &e).await),
        }
    }

    pub(super) async fn find(&self, name: &str) -> Result<Option<Upload>, Fault> {
        let key = staging(name);
        // One page: names are digests, none begins with another, and a thousand attempts at one file are not left open.
        let listed = self.org.s3.list_multipart_uploads().bucket(&self.org.bucket).prefix(&key).send().await;
        let listed = match listed {
            Ok(l) => l,
            Err(e) => return Err(self.fail("ListMultipartUploads", &e).await),
        };
        let same = listed.uploads().iter().filter(|u| u.key() == Some(&key));
        let latest = same
            .map(|u| {
                (u.initiated().map(|t| (t.secs(), t.subsec_nanos())), u.upload_id().unwrap_or_default().to_owned())
            })
            .max();
        Ok(latest.map(|(_, id)| Upload { name: name.to_owned(), id }))
    }

    pub(super) async fn part(&self, upload: &Upload, n: u32, body: Bytes, sha256: [u8; 32]) -> Result<Part, Fault> {
        let size = body.len() as u64;
        let sent = self
            .org
            .s3
            .upload_part()
            .bucket(&self.org.bucket)
            .key(staging(&upload.name))
            .upload_id(&upload.id)
            .part_number(number(n))
            .checksum_sha256(BASE64.encode(sha256))
            .body(ByteStream::from(body))
            .customize()
            .config_override(bulk())
            .send()
            .await;
        match sent {
            Ok(s) => Ok(Part { number: n, etag: s.e_tag().unwrap_or_default().to_owned(), sha256, size }),
            Err(e) => Err(self.fail("UploadPart", &e).await),
        }
    }

    pub(super) async fn parts(&self, upload: &Upload) -> Result<Vec<Part>, Fault> {
        let mut parts = Vec::new();
        let mut pages = self
            .org
            .s3
            .list_parts()
            .bucket(&self.org.bucket)
            .key(staging(&upload.name))
            .upload_id(&upload.id)
            .into_paginator()
            .send();
        while let Some(page) = pages.next().await {
            let page = match page {
                Ok(p) => p,
                Err(e) => return Err(self.fail("ListParts", &e).await),
            };
            for p in page.parts() {
                let sha256 = p.checksum_sha256().and_then(|s| BASE64.decode(s).ok()).and_then(|b| b.try_into().ok());
                // A part without its checksum cannot be trusted to hold these bytes: it is sent again.
                if let (Some(sha256), Some(number)) = (sha256, p.part_number().and_then(|n| u32::try_from(n).ok())) {
                    parts.push(Part {
                        number,
                        etag: p.e_tag().unwrap_or_default().to_owned(),
                        sha256,
                        size: p.size().and_then(|n| u64::try_from(n).ok()).unwrap_or(0),
                    });
                }
            }
        }
        Ok(parts)
    }

    pub(super) async fn complete(&self, upload: &Upload, parts: &[Part]) -> Result<(), Fault> {
        let size = parts.iter().map(|p| p.size).sum::<u64>();
        let parts = parts
            .iter()
            .map(|p| {
                CompletedPart::builder()
                    .part_number(number(p.number))
                    .e_tag(&p.etag)
                    .checksum_sha256(BASE64.encode(p.sha256))
                    .build()
            })
            .collect();
        let done = self
            .org
            .s3
            .complete_multipart_upload()
            .bucket(&self.org.bucket)
            .key(staging(&upload.name))
            .upload_id(&upload.id)
            .set_mpu_object_size(i64::try_from(size).ok())
            .multipart_upload(CompletedMultipartUpload::builder().set_parts(Some(parts)).build())
            .customize()
            .config_override(bulk())
            .send()
            .await;
        match done {
            Ok(_) => Ok(()),
            Err(e) => Err(self.fail("CompleteMultipartUpload", &e).await),
        }
    }

    pub(super) async fn abort(&self, key: &str, id: &str) -> Result<(), Fault> {
        match self.org.s3.abort_multipart_upload().bucket(&self.org.bucket).key(key).upload_id(id).send().await {
            Ok(_) => Ok(()),
            Err(e) => match self.fail("AbortMultipartUpload", &e).await {
                f if f.code == FaultCode::StoreUploadLost => Ok(()),
                f => Err(f),
            },
        }
    }

    pub(super) async fn promote_staged(
        &self,
        name: &str,
        size: u64,
        digest: &Digest,
        meta: &RecordingMeta,
    ) -> Result<Put, Fault> {
        let key = meta.shelf.key(digest);
        for _ in 0..CONFLICTS {
            match self.promote_once(name, size, &key, Some((digest, meta))).await? {
                Promotion::Created => return Ok(Put::Created),
                Promotion::Taken => {
                    if let Some(there) = self.winner(&key).await? {
                        return Ok(there);
                    }
                }
                Promotion::Again => {}
                // An earlier run of this very step removed it, after the copy; or it is lost.
                Promotion::NotStaged => return self.promoted_before(&key).await,
            }
        }
        Err(no_winner())
    }

    /// Copies a staged object to another key, if nothing is there.
    pub(super) async fn copy_staged(&self, name: &str, size: u64, key: &str) -> Result<(), Fault> {
        for _ in 0..CONFLICTS {
            match self.promote_once(name, size, key, None).await? {
                Promotion::Created | Promotion::Taken => return Ok(()),
                Promotion::Again => {}
                Promotion::NotStaged => return self.promoted_before(key).await.map(drop),
            }
        }
        Err(no_winner())
    }

    async fn promoted_before(&self, key: &str) -> Result<Put, Fault> {
        self.winner(key).await?.ok_or_else(|| {
            Fault::new(FaultCode::StoreUploadLost, "neither the staged object nor the recording is there")
        })
    }

    async fn promote_once(
        &self,
        name: &str,
        size: u64,
        key: &str,
        recording: Option<(&Digest, &RecordingMeta)>,
    ) -> Result<Promotion, Fault> {
        let mut made = self
            .org
            .s3
            .create_multipart_upload()
            .bucket(&self.org.bucket)
            .key(key)
            .checksum_algorithm(ChecksumAlgorithm::Sha256)
            .checksum_type(ChecksumType::Composite);
        if let Some((_, meta)) = recording {
            made = made.metadata(CLAIM, &meta.claim).metadata(FORMAT, &meta.format).content_type(&meta.media_type);
        }
        let made = made.send().await;
        let id = match made {
            Ok(m) => m.upload_id().unwrap_or_default().to_owned(),
            Err(e) => return Err(self.fail("CreateMultipartUpload", &e).await),
        };
        let done = match self.copy_parts(name, size, key, &id, recording.map(|(digest, _)| digest)).await {
            Ok(Some(parts)) => self.complete_once(key, &id, size, parts).await,
            Ok(None) => Ok(Promotion::NotStaged),
            Err(f) if f.code == FaultCode::StoreUploadLost => Ok(Promotion::Again),
            Err(f) => Err(f),
        };
        if !matches!(done, Ok(Promotion::Created))
            && let Err(f) = self.abort(key, &id).await
        {
            // The bucket's lifecycle rule for incomplete uploads takes what stays.
            tracing::warn!(fault = %f, "a server-side copy was not given up");
        }
        done
    }

    /// `None` if there is no staged object.
    async fn copy_parts(
        &self,
        name: &str,
        size: u64,
        key: &str,
        id: &str,
        digest: Option<&Digest>,
    ) -> Result<Option<Vec<CompletedPart>>, Fault> {
        let whole = size <= COPY_PART;
        let ranges = (0..size.div_ceil(COPY_PART)).map(|n| (n, n * COPY_PART, ((n + 1) * COPY_PART).min(size) - 1));
        let copied: Result<Vec<Option<CompletedPart>>, Fault> = futures::stream::iter(ranges)
            .map(|(n, first, last)| {
                let range = (!whole).then(|| format!("bytes={first}-{last}"));
                self.copy_part(name, key, id, u32::try_from(n + 1).unwrap_or(u32::MAX), range)
            })
            .buffered(COPIES)
            .try_collect()
            .await;
        let Some(parts) = copied?.into_iter().collect::<Option<Vec<_>>>() else { return Ok(None) };
        // S3 says what it copied (CopyPartResult); an endpoint that does not is checked by the size only.
        if let (Some(digest), [one]) = (digest, parts.as_slice())
            && one.checksum_sha256().is_some_and(|c| c != BASE64.encode(digest.as_bytes()))
        {
            return Err(Fault::new(FaultCode::StoreChecksumMismatch, "UploadPartCopy: the copy has another digest"));
        }
        Ok(Some(parts))
    }

    async fn copy_part(
        &self,
        name: &str,
        key: &str,
        id: &str,
        n: u32,
        range: Option<String>,
    ) -> Result<Option<CompletedPart>, Fault> {
        let copied = self
            .org
            .s3
            .upload_part_copy()
            .bucket(&self.org.bucket)
            .key(key)
            .upload_id(id)
            .copy_source(format!("{}/{}", self.org.bucket, staging(name)))
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

    async fn complete_once(
        &self,
        key: &str,
        id: &str,
        size: u64,
        parts: Vec<CompletedPart>,
    ) -> Result<Promotion, Fault> {
        let done = self
            .org
            .s3
            .complete_multipart_upload()
            .bucket(&self.org.bucket)
            .key(key)
            .upload_id(id)
            .if_none_match("*")
            // S3 refuses to make the object when its size is another (x-amz-mp-object-size): no HEAD to verify it.
            .set_mpu_object_size(i64::try_from(size).ok())
            .multipart_upload(CompletedMultipartUpload::builder().set_parts(Some(parts)).build())
            .customize()
            .config_override(bulk())
            .send()
            .await;
        match done {
            Ok(_) => Ok(Promotion::Created),
            Err(e) if taken(&e) => Ok(Promotion::Taken),
            // For a conflict S3 asks to begin the upload anew, not only to complete it again.
            Err(e) if conflict(&e) || e.code() == Some("NoSuchUpload") => Ok(Promotion::Again),
            Err(e) if status(&e) == 400 && e.message().is_some_and(|m| m.contains("mp-object-size")) => {
                let said = fault(Service::S3, "CompleteMultipartUpload", &e);
                Err(Fault::new(FaultCode::StoreChecksumMismatch, format!("the copy has another size: {}", said.detail)))
            }
            Err(e) => Err(self.fail("CompleteMultipartUpload", &e).await),
        }
    }
}
