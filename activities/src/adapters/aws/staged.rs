//! Staging and objects that are written once.

use super::multipart::staging;
use super::s3::{CLAIM, S3OrgStore, bulk, plain, taken};
use crate::ports::content::Content;
use crate::ports::staging::{Once, Staged, Staging};
use crate::ports::store::{Put, RecordingMeta};
use async_trait::async_trait;
use aws_sdk_s3::error::ProvideErrorMetadata;
use bytes::Bytes;
use leadline_domain::{Digest, Fault, FaultCode, StagedAt};

impl S3OrgStore {
    async fn write_once(&self, key: &str, body: Bytes, digest: &Digest, claim: &str) -> Result<Put, Fault> {
        self.put_new(key, body, digest, true, |put| put.metadata(CLAIM, claim)).await
    }
}

#[async_trait]
impl Staging for S3OrgStore {
    async fn stage(&self, name: &str, body: Bytes, digest: &Digest) -> Result<Put, Fault> {
        self.write_once(&staging(plain(name)?), body, digest, "").await
    }

    async fn head_staged(&self, at: StagedAt<'_>) -> Result<Option<Staged>, Fault> {
        let head = self.org.s3.head_object().bucket(&self.org.bucket).key(staging(plain(at.name)?));
        match head.set_version_id(at.version.map(str::to_owned)).send().await {
            Ok(h) => Ok(Some(Staged {
                size: h.content_length().and_then(|n| u64::try_from(n).ok()).unwrap_or(0),
                etag: h.e_tag().unwrap_or_default().to_owned(),
                version: h.version_id().map(str::to_owned),
                modified_s: h.last_modified().map_or(0, aws_sdk_s3::primitives::DateTime::secs),
            })),
            Err(e) if super::errors::status(&e) == 404 => Ok(None),
            Err(e) => Err(self.fail("HeadObject", &e).await),
        }
    }

    async fn read_staged(&self, at: StagedAt<'_>, etag: &str, from: u64, len: u64) -> Result<Option<Bytes>, Fault> {
        if len == 0 {
            return Ok(Some(Bytes::new()));
        }
        let range = format!("bytes={from}-{}", from.saturating_add(len) - 1);
        let get = self
            .org
            .s3
            .get_object()
            .bucket(&self.org.bucket)
            .key(staging(plain(at.name)?))
            .set_version_id(at.version.map(str::to_owned))
            .range(range)
            .if_match(etag)
            .customize()
            .config_override(bulk());
        let got = match get.send().await {
            Ok(g) => g,
            Err(e) if taken(&e) || matches!(e.code(), Some("NoSuchKey" | "NoSuchVersion")) => return Ok(None),
            Err(e) if e.code() == Some("InvalidRange") => return Ok(Some(Bytes::new())),
            Err(e) => return Err(self.fail("GetObject", &e).await),
        };
        if got.content_length().and_then(|n| u64::try_from(n).ok()).is_none_or(|n| n > len) {
            return Err(Fault::new(FaultCode::StoreUnreachable, "GetObject: more came than was asked for"));
        }
        let body = got.body.collect().await;
        let cut = |_| Fault::new(FaultCode::StoreUnreachable, "GetObject: the body was cut off");
        Ok(Some(body.map_err(cut)?.into_bytes()))
    }

    async fn adopt(&self, at: StagedAt<'_>, content: &Content, meta: &RecordingMeta) -> Result<Put, Fault> {
        plain(at.name)?;
        self.promote_staged(at, content, meta).await
    }

    async fn remove_staged(&self, name: &str) -> Result<(), Fault> {
        let removed = self.org.s3.delete_object().bucket(&self.org.bucket).key(staging(plain(name)?)).send().await;
        match removed {
            Ok(_) => Ok(()),
            Err(e) => Err(self.fail("DeleteObject", &e).await),
        }
    }

    async fn quarantine_staged(&self, at: StagedAt<'_>, size: u64) -> Result<bool, Fault> {
        let to = format!("quarantine/{}", plain(at.name)?);
        let Some(there) = self.head_staged(at).await? else { return Ok(self.winner(&to).await?.is_some()) };
        // An earlier run of this step may have made the copy already. What was quarantined under this name before and is
        // another content stays too: a name that follows from a sender's ids comes again.
        if let Put::Exists { size: before, .. } = self.copy_staged(at, size, &to).await?
            && before != size
        {
            let tag = Digest::of(there.etag.as_bytes()).to_hex();
            self.copy_staged(at, size, &format!("{to}-{}", &tag[..8])).await?;
        }
        self.remove_staged(at.name).await.map(|()| true)
    }

    async fn put_once(&self, place: Once, name: &str, body: Bytes, claim: &str) -> Result<Put, Fault> {
        self.write_once(&place.key(plain(name)?), body.clone(), &Digest::of(&body), claim).await
    }
}
