//! Large recordings: parts to `staging/`, then a server-side copy (see `copy`) to the content-addressed key.

use super::copy::{Copy, Dress, Left, Made, Object};
use super::s3::{CLAIM, CONFLICTS, FORMAT, S3OrgStore, bulk, no_winner};
use crate::ports::content::Content;
use crate::ports::store::{Part, Put, RecordingMeta, Upload};
use aws_sdk_s3::error::ProvideErrorMetadata as _;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumType, CompletedMultipartUpload, CompletedPart, MultipartUpload};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use leadline_domain::{Fault, FaultCode, StagedAt};

pub(super) fn staging(name: &str) -> String {
    format!("staging/{name}")
}

pub(super) fn number(n: u32) -> i32 {
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
        let id = self.find_in(&self.org.bucket, &staging(name)).await?;
        Ok(id.map(|id| Upload { name: name.to_owned(), id }))
    }

    /// The latest open upload to a key of a storage of the organization.
    pub(super) async fn find_in(&self, bucket: &str, key: &str) -> Result<Option<String>, Fault> {
        // One page: names are digests, none begins with another, and a thousand attempts at one file are not left open.
        let listed = match self.org.s3.list_multipart_uploads().bucket(bucket).prefix(key).send().await {
            Ok(l) => l,
            Err(e) => return Err(self.fail("ListMultipartUploads", &e).await),
        };
        let same = listed.uploads().iter().filter(|u| u.key() == Some(key));
        let at = |u: &MultipartUpload| u.initiated().map(|t| (t.secs(), t.subsec_nanos()));
        let latest = same.map(|u| (at(u), u.upload_id().unwrap_or_default().to_owned())).max();
        Ok(latest.map(|(_, id)| id))
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
        self.parts_in(&self.org.bucket, &staging(&upload.name), &upload.id).await
    }

    /// The same of an upload to any key of a storage of the organization.
    pub(super) async fn parts_in(&self, bucket: &str, key: &str, id: &str) -> Result<Vec<Part>, Fault> {
        let mut parts = Vec::new();
        let mut pages = self.org.s3.list_parts().bucket(bucket).key(key).upload_id(id).into_paginator().send();
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
            // Another attempt sent a part again meanwhile, which has another tag then: the parts have to be listed anew.
            Err(e) if e.code() == Some("InvalidPart") => {
                Err(Fault::new(FaultCode::StoreUploadLost, "CompleteMultipartUpload: a part was sent again meanwhile"))
            }
            Err(e) => Err(self.fail("CompleteMultipartUpload", &e).await),
        }
    }

    pub(super) async fn abort(&self, key: &str, id: &str) -> Result<(), Fault> {
        self.abort_in(&self.org.bucket, key, id).await
    }

    /// The same in another storage of the organization.
    pub(super) async fn abort_in(&self, bucket: &str, key: &str, id: &str) -> Result<(), Fault> {
        match self.org.s3.abort_multipart_upload().bucket(bucket).key(key).upload_id(id).send().await {
            Ok(_) => Ok(()),
            Err(e) => match self.fail("AbortMultipartUpload", &e).await {
                f if f.code == FaultCode::StoreUploadLost => Ok(()),
                f => Err(f),
            },
        }
    }

    pub(super) async fn promote_staged(
        &self,
        at: StagedAt<'_>,
        content: &Content,
        meta: &RecordingMeta,
    ) -> Result<Put, Fault> {
        let key = meta.shelf.key(&content.digest);
        // A copy in pieces takes long: it is not begun in vain.
        if !self.pieces.at_once(content.size)
            && let Some(there) = self.winner(&key).await?
        {
            return Ok(there);
        }
        self.placed(at, content.size, &key, Some((content, meta))).await
    }

    /// Copies a staged object to another key, if nothing is there.
    pub(super) async fn copy_staged(&self, at: StagedAt<'_>, size: u64, key: &str) -> Result<Put, Fault> {
        self.placed(at, size, key, None).await
    }

    /// Tries until a copy is made, or something else is there.
    async fn placed(
        &self,
        at: StagedAt<'_>,
        size: u64,
        key: &str,
        recording: Option<(&Content, &RecordingMeta)>,
    ) -> Result<Put, Fault> {
        for _ in 0..CONFLICTS {
            match self.promote_once(at, size, key, recording).await? {
                Made::Created => return Ok(Put::Created),
                Made::Taken => {
                    if let Some(there) = self.winner(key).await? {
                        return Ok(there);
                    }
                }
                Made::Again => {}
                // An earlier run of this very step removed it, after the copy; or it is lost.
                Made::NoSource => return self.promoted_before(key).await,
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
        at: StagedAt<'_>,
        size: u64,
        key: &str,
        recording: Option<(&Content, &RecordingMeta)>,
    ) -> Result<Made, Fault> {
        let dress = recording.map(|(_, meta)| Dress {
            metadata: [(CLAIM, &meta.claim), (FORMAT, &meta.format)].map(|(k, v)| (k.to_owned(), v.clone())).into(),
            content_type: Some(meta.media_type.clone()),
        });
        let bucket = self.org.bucket.as_str();
        let version = at.version.unwrap_or_default();
        let what = format!("{key} {size} {version} {}", recording.map_or("", |(_, meta)| &meta.claim));
        self.copy_once(&Copy {
            from: Object { bucket, key: &staging(at.name) },
            version: at.version,
            to: Object { bucket, key },
            size,
            content: recording.map(|(content, _)| content),
            dress: dress.unwrap_or_default(),
            left: Left::Noted { name: at.name, what: &what },
        })
        .await
    }
}
