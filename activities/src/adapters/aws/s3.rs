//! An organization's bucket.

use super::errors::{Service, fault};
use super::requests::Counting;
use crate::ports::store::{OrgStore, Part, Put, RecordingMeta, Upload};
use async_trait::async_trait;
use aws_config::SdkConfig;
use aws_sdk_s3::Client;
use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumMode, CompletedMultipartUpload, CompletedPart};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use leadline_domain::message::recording_key;
use leadline_domain::{Digest, Fault, FaultCode};

const CLAIM: &str = "leadline-claim";
const FORMAT: &str = "leadline-format";
/// Part size of a server-side copy, bytes (S3: 5 MiB to 5 GiB, at most 10,000 parts).
const COPY_PART: u64 = 512 * 1024 * 1024;
/// Parts copied at once.
const COPIES: usize = 4;

/// See [`OrgStore`].
pub struct S3OrgStore {
    client: Client,
    bucket: String,
}

impl S3OrgStore {
    pub(super) fn new(config: &SdkConfig, counting: &Counting, bucket: String) -> Self {
        let config = aws_sdk_s3::config::Builder::from(config)
            // A local endpoint has no name for each bucket.
            .force_path_style(config.endpoint_url().is_some())
            .interceptor(counting.clone())
            .build();
        Self { client: Client::from_conf(config), bucket }
    }

    async fn head(&self, key: &str) -> Result<Option<Put>, Fault> {
        match self.client.head_object().bucket(&self.bucket).key(key).send().await {
            Ok(h) => Ok(Some(Put::Exists {
                claim: h.metadata().and_then(|m| m.get(CLAIM)).cloned().unwrap_or_default(),
                size: h.content_length().and_then(|n| u64::try_from(n).ok()).unwrap_or(0),
            })),
            Err(e)
                if e.as_service_error()
                    .is_some_and(aws_sdk_s3::operation::head_object::HeadObjectError::is_not_found) =>
            {
                Ok(None)
            }
            Err(e) => Err(fault(Service::S3, "HeadObject", &e)),
        }
    }

    /// What is there, after a conditional write was refused.
    async fn winner(&self, key: &str) -> Result<Put, Fault> {
        self.head(key).await?.ok_or_else(|| {
            Fault::new(FaultCode::StoreUnreachable, "a conditional write was refused and nothing is there yet")
        })
    }

    async fn abort(&self, key: &str, id: &str) -> Result<(), Fault> {
        match self.client.abort_multipart_upload().bucket(&self.bucket).key(key).upload_id(id).send().await {
            Ok(_) => Ok(()),
            Err(e) => match fault(Service::S3, "AbortMultipartUpload", &e) {
                f if f.code == FaultCode::StoreUploadLost => Ok(()),
                f => Err(f),
            },
        }
    }

    /// Copies `staging/<name>` in parts to `key`, if nothing is there.
    async fn copy(&self, name: &str, size: u64, key: &str, meta: &RecordingMeta) -> Result<Put, Fault> {
        let made = self
            .client
            .create_multipart_upload()
            .bucket(&self.bucket)
            .key(key)
            .metadata(CLAIM, &meta.claim)
            .metadata(FORMAT, &meta.format)
            .content_type(&meta.media_type)
            .checksum_algorithm(ChecksumAlgorithm::Sha256)
            .send()
            .await
            .map_err(|e| fault(Service::S3, "CreateMultipartUpload", &e))?;
        let id = made.upload_id().unwrap_or_default().to_owned();
        let copied = self.copy_parts(name, size, key, &id).await;
        let put = match copied {
            Ok(parts) => self.complete(key, &id, parts, true).await,
            Err(f) => Err(f),
        };
        if !matches!(put, Ok(Put::Created)) {
            self.abort(key, &id).await?;
        }
        put
    }

    async fn copy_parts(&self, name: &str, size: u64, key: &str, id: &str) -> Result<Vec<CompletedPart>, Fault> {
        use futures::{StreamExt, TryStreamExt};
        let source = format!("{}/staging/{name}", self.bucket);
        let part_len = COPY_PART.max(size.div_ceil(9_000));
        let ranges = (0..size.div_ceil(part_len)).map(|n| (n, n * part_len, ((n + 1) * part_len).min(size) - 1));
        let mut parts: Vec<CompletedPart> = futures::stream::iter(ranges)
            .map(|(n, first, last)| {
                let number = i32::try_from(n + 1).unwrap_or(i32::MAX);
                let request = self
                    .client
                    .upload_part_copy()
                    .bucket(&self.bucket)
                    .key(key)
                    .upload_id(id)
                    .copy_source(&source)
                    .copy_source_range(format!("bytes={first}-{last}"))
                    .part_number(number);
                async move {
                    let r = request.send().await.map_err(|e| fault(Service::S3, "UploadPartCopy", &e))?;
                    let r = r.copy_part_result();
                    Ok::<_, Fault>(
                        CompletedPart::builder()
                            .part_number(number)
                            .set_e_tag(r.and_then(|r| r.e_tag()).map(str::to_owned))
                            .set_checksum_sha256(r.and_then(|r| r.checksum_sha256()).map(str::to_owned))
                            .build(),
                    )
                }
            })
            .buffer_unordered(COPIES)
            .try_collect()
            .await?;
        parts.sort_by_key(aws_sdk_s3::types::CompletedPart::part_number);
        Ok(parts)
    }

    async fn complete(&self, key: &str, id: &str, parts: Vec<CompletedPart>, once: bool) -> Result<Put, Fault> {
        let mut request = self
            .client
            .complete_multipart_upload()
            .bucket(&self.bucket)
            .key(key)
            .upload_id(id)
            .multipart_upload(CompletedMultipartUpload::builder().set_parts(Some(parts)).build());
        if once {
            request = request.if_none_match("*");
        }
        match request.send().await {
            Ok(_) => Ok(Put::Created),
            Err(e) if once && e.code() == Some("PreconditionFailed") => self.winner(key).await,
            Err(e) => Err(fault(Service::S3, "CompleteMultipartUpload", &e)),
        }
    }
}

fn staging(name: &str) -> String {
    format!("staging/{name}")
}

#[async_trait]
impl OrgStore for S3OrgStore {
    async fn put_recording(&self, digest: &Digest, body: Bytes, meta: &RecordingMeta) -> Result<Put, Fault> {
        let key = recording_key(digest);
        let put = self
            .client
            .put_object()
            .bucket(&self.bucket)
            .key(&key)
            .if_none_match("*")
            .checksum_sha256(BASE64.encode(digest.as_bytes()))
            .metadata(CLAIM, &meta.claim)
            .metadata(FORMAT, &meta.format)
            .content_type(&meta.media_type)
            .body(ByteStream::from(body))
            .send()
            .await;
        match put {
            Ok(_) => Ok(Put::Created),
            Err(e) if e.code() == Some("PreconditionFailed") => self.winner(&key).await,
            Err(e) => Err(fault(Service::S3, "PutObject", &e)),
        }
    }

    async fn head_recording(&self, digest: &Digest) -> Result<Option<Put>, Fault> {
        self.head(&recording_key(digest)).await
    }

    async fn begin_upload(&self, name: &str) -> Result<Upload, Fault> {
        let made = self
            .client
            .create_multipart_upload()
            .bucket(&self.bucket)
            .key(staging(name))
            .checksum_algorithm(ChecksumAlgorithm::Sha256)
            .send()
            .await
            .map_err(|e| fault(Service::S3, "CreateMultipartUpload", &e))?;
        Ok(Upload { name: name.to_owned(), id: made.upload_id().unwrap_or_default().to_owned() })
    }

    async fn upload_part(&self, upload: &Upload, number: u32, body: Bytes, sha256: [u8; 32]) -> Result<Part, Fault> {
        let size = body.len() as u64;
        let sent = self
            .client
            .upload_part()
            .bucket(&self.bucket)
            .key(staging(&upload.name))
            .upload_id(&upload.id)
            .part_number(i32::try_from(number).unwrap_or(i32::MAX))
            .checksum_sha256(BASE64.encode(sha256))
            .body(ByteStream::from(body))
            .send()
            .await
            .map_err(|e| fault(Service::S3, "UploadPart", &e))?;
        Ok(Part { number, etag: sent.e_tag().unwrap_or_default().to_owned(), sha256, size })
    }

    async fn list_parts(&self, upload: &Upload) -> Result<Vec<Part>, Fault> {
        let mut parts = Vec::new();
        let mut pages = self
            .client
            .list_parts()
            .bucket(&self.bucket)
            .key(staging(&upload.name))
            .upload_id(&upload.id)
            .into_paginator()
            .send();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|e| fault(Service::S3, "ListParts", &e))?;
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

    async fn complete_upload(&self, upload: &Upload, parts: &[Part]) -> Result<(), Fault> {
        let parts = parts
            .iter()
            .map(|p| {
                CompletedPart::builder()
                    .part_number(i32::try_from(p.number).unwrap_or(i32::MAX))
                    .e_tag(&p.etag)
                    .checksum_sha256(BASE64.encode(p.sha256))
                    .build()
            })
            .collect();
        self.complete(&staging(&upload.name), &upload.id, parts, false).await.map(|_| ())
    }

    async fn abort_upload(&self, upload: &Upload) -> Result<(), Fault> {
        self.abort(&staging(&upload.name), &upload.id).await
    }

    async fn promote(&self, name: &str, size: u64, digest: &Digest, meta: &RecordingMeta) -> Result<Put, Fault> {
        let key = recording_key(digest);
        let put = match self.head(&key).await? {
            Some(there) => there,
            None => self.copy(name, size, &key, meta).await?,
        };
        if let Put::Created = put {
            match self.head(&key).await? {
                Some(Put::Exists { size: stored, .. }) if stored == size => {}
                _ => return Err(Fault::new(FaultCode::StoreChecksumMismatch, "the copied object has another size")),
            }
        }
        self.client
            .delete_object()
            .bucket(&self.bucket)
            .key(staging(name))
            .send()
            .await
            .map_err(|e| fault(Service::S3, "DeleteObject", &e))?;
        Ok(put)
    }

    async fn put_seen(&self, share: &str, key: &str, version: &str) -> Result<(), Fault> {
        self.client
            .put_object()
            .bucket(&self.bucket)
            .key(format!("seen/{share}/{key}/{version}"))
            .body(ByteStream::from_static(b""))
            .send()
            .await
            .map_err(|e| fault(Service::S3, "PutObject", &e))?;
        Ok(())
    }

    async fn list_seen(&self, share: &str) -> Result<Vec<(String, String)>, Fault> {
        let prefix = format!("seen/{share}/");
        let mut pages = self.client.list_objects_v2().bucket(&self.bucket).prefix(&prefix).into_paginator().send();
        let mut out = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|e| fault(Service::S3, "ListObjectsV2", &e))?;
            for key in page.contents().iter().filter_map(aws_sdk_s3::types::Object::key) {
                if let Some((k, v)) = key.strip_prefix(&prefix).and_then(|r| r.split_once('/')) {
                    out.push((k.to_owned(), v.to_owned()));
                }
            }
        }
        Ok(out)
    }

    async fn read_recording(&self, digest: &Digest, limit: u64) -> Result<Bytes, Fault> {
        let got = self
            .client
            .get_object()
            .bucket(&self.bucket)
            .key(recording_key(digest))
            .checksum_mode(ChecksumMode::Enabled)
            .send()
            .await
            .map_err(|e| fault(Service::S3, "GetObject", &e))?;
        if got.content_length().and_then(|n| u64::try_from(n).ok()).is_some_and(|n| n > limit) {
            return Err(Fault::new(FaultCode::BugInvariant, "an object is larger than what was stored"));
        }
        let body = got.body.collect().await;
        body.map(aws_sdk_s3::primitives::AggregatedBytes::into_bytes)
            .map_err(|_| Fault::new(FaultCode::StoreUnreachable, "GetObject: the body was cut off"))
    }

    async fn check(&self) -> Result<(), Fault> {
        self.client
            .list_objects_v2()
            .bucket(&self.bucket)
            .max_keys(1)
            .send()
            .await
            .map_err(|e| fault(Service::S3, "ListObjectsV2", &e))?;
        Ok(())
    }
}
