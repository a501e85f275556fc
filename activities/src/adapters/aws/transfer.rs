//! Copies and moves between an organization's storages: server-side (see `copy`), believed only when the digest is
//! known; what is moved is removed afterwards, with a session that is for this alone.

use super::copy::{Copy, Dress, Made, Object};
use super::errors::status;
use super::outcomes::digest_of;
use super::s3::{CONFLICTS, S3OrgStore, bulk, no_winner};
use super::sts::{AwsOrgStores, OrgClients};
use crate::ports::store::OrgStore;
use crate::ports::transfer::{Between, Copied, Storages, Version};
use async_trait::async_trait;
use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::types::{ChecksumMode, Object as Listed};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use leadline_domain::message::recording_key;
use leadline_domain::transfer::Storage;
use leadline_domain::{Digest, Fault, FaultCode, OrgScope};
use sha2::{Digest as _, Sha256};
use std::sync::Arc;

const RECORDINGS: &str = "recordings/sha256/";

struct S3Between {
    store: S3OrgStore,
    from: String,
    to: String,
    moving: bool,
}

impl S3Between {
    fn org(&self) -> &OrgClients {
        &self.store.org
    }

    async fn head(&self, bucket: &str, key: &str) -> Result<Option<HeadObjectOutput>, Fault> {
        let head = self.org().s3.head_object().bucket(bucket).key(key).checksum_mode(ChecksumMode::Enabled);
        match head.send().await {
            Ok(h) => Ok(Some(h)),
            Err(e) if status(&e) == 404 => Ok(None),
            Err(e) => Err(self.store.fail("HeadObject", &e).await),
        }
    }

    /// Whether what is at the target has this digest: by what S3 says of it, and where that says nothing of the whole,
    /// by reading it.
    async fn verify(&self, key: &str, digest: &Digest) -> Result<bool, Fault> {
        let Some(there) = self.head(&self.to, key).await? else { return Ok(false) };
        match told(there.checksum_sha256(), digest) {
            Some(true) => Ok(true),
            Some(false) => Err(mismatch("HeadObject")),
            None if self.read(key).await? == *digest => Ok(true),
            None => Err(mismatch("GetObject")),
        }
    }

    async fn read(&self, key: &str) -> Result<Digest, Fault> {
        let get = self.org().s3.get_object().bucket(&self.to).key(key).customize().config_override(bulk());
        let mut got = match get.send().await {
            Ok(g) => g,
            Err(e) => return Err(self.store.fail("GetObject", &e).await),
        };
        let mut hasher = Sha256::new();
        loop {
            match got.body.try_next().await {
                Ok(Some(bytes)) => hasher.update(&bytes),
                Ok(None) => return Ok(Digest::from_bytes(hasher.finalize().into())),
                Err(_) => return Err(Fault::new(FaultCode::StoreUnreachable, "GetObject: the body was cut off")),
            }
        }
    }
}

/// What a checksum says of the whole object's digest: of one made at once it is the digest, of one made of one part the
/// digest of the digest, of one made of several nothing.
fn told(checksum: Option<&str>, digest: &Digest) -> Option<bool> {
    let checksum = checksum?;
    match checksum.split_once('-') {
        None => Some(checksum == BASE64.encode(digest.as_bytes())),
        Some((of_parts, "1")) => Some(of_parts == BASE64.encode(Sha256::digest(digest.as_bytes()))),
        Some(_) => None,
    }
}

fn size_of(h: &HeadObjectOutput) -> u64 {
    h.content_length().and_then(|n| u64::try_from(n).ok()).unwrap_or(0)
}

fn mismatch(operation: &str) -> Fault {
    Fault::new(FaultCode::StoreChecksumMismatch, format!("{operation}: what is at the target has another digest"))
}

#[async_trait]
impl Between for S3Between {
    async fn recordings_after(&self, after: Option<&Digest>) -> Result<Vec<Digest>, Fault> {
        let mut from = after.map(recording_key);
        loop {
            let ask = self.org().s3.list_objects_v2().bucket(&self.from).prefix(RECORDINGS);
            let page = match ask.set_start_after(from.clone()).send().await {
                Ok(p) => p,
                Err(e) => return Err(self.store.fail("ListObjectsV2", &e).await),
            };
            let found: Vec<Digest> =
                page.contents().iter().filter_map(Listed::key).filter_map(|k| digest_of(k, RECORDINGS)).collect();
            match page.contents().last().and_then(Listed::key) {
                // Keys that are none of ours: go on behind them.
                Some(last) if found.is_empty() => from = Some(last.to_owned()),
                _ => return Ok(found),
            }
        }
    }

    async fn copy(&self, digest: &Digest) -> Result<Copied, Fault> {
        let key = recording_key(digest);
        if self.verify(&key, digest).await? {
            return Ok(Copied::There);
        }
        for _ in 0..CONFLICTS {
            let Some(source) = self.head(&self.from, &key).await? else { return Ok(Copied::Missing) };
            let size = size_of(&source);
            let dress = Dress {
                metadata: source.metadata().cloned().unwrap_or_default(),
                content_type: source.content_type().map(str::to_owned),
            };
            let (from, to) = (Object { bucket: &self.from, key: &key }, Object { bucket: &self.to, key: &key });
            match self.store.copy_once(&Copy { from, to, size, digest: Some(digest), dress }).await? {
                Made::Created if self.verify(&key, digest).await? => return Ok(Copied::New(size)),
                Made::Taken if self.verify(&key, digest).await? => return Ok(Copied::There),
                // Gone since it was looked at: the next look tells.
                Made::Created | Made::Taken | Made::Again | Made::NoSource => {}
            }
        }
        Err(no_winner())
    }

    async fn source(&self, digest: &Digest) -> Result<Option<Version>, Fault> {
        let head = self.head(&self.from, &recording_key(digest)).await?;
        Ok(head.map(|h| Version {
            id: h.version_id().unwrap_or_default().to_owned(),
            stored_ms: h.last_modified().and_then(|t| t.to_millis().ok()).unwrap_or_default(),
        }))
    }

    async fn let_go(&self, digest: &Digest) -> Result<(), Fault> {
        let key = recording_key(digest);
        if !self.moving || !self.verify(&key, digest).await? {
            return Err(Fault::new(FaultCode::BugInvariant, "a recording was to be removed that is not elsewhere"));
        }
        // Without a version: a delete marker, under which the recording stays until the storage's rule takes it.
        match self.org().s3.delete_object().bucket(&self.from).key(&key).send().await {
            Ok(_) => Ok(()),
            Err(e) => Err(self.store.fail("DeleteObject", &e).await),
        }
    }
}

#[async_trait]
impl Storages for AwsOrgStores {
    async fn between(
        &self,
        scope: &OrgScope,
        from: Storage,
        to: Storage,
        moving: bool,
    ) -> Result<Arc<dyn Between>, Fault> {
        let store = if moving { self.opened_to_move(scope).await? } else { self.opened(scope).await? };
        Ok(Arc::new(S3Between { store, from: scope.storage_bucket(from), to: scope.storage_bucket(to), moving }))
    }

    async fn alone(&self, scope: &OrgScope, storage: Storage) -> Result<Arc<dyn OrgStore>, Fault> {
        let store = self.opened(scope).await?;
        Ok(Arc::new(S3OrgStore { org: Arc::new(store.org.of(scope, storage)) }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checksum_is_believed_for_what_it_says() {
        let d = Digest::of(b"x");
        let whole = BASE64.encode(d.as_bytes());
        let one_part = format!("{}-1", BASE64.encode(Sha256::digest(d.as_bytes())));
        assert_eq!(told(Some(&whole), &d), Some(true));
        assert_eq!(told(Some(&one_part), &d), Some(true));
        assert_eq!(told(Some(&whole), &Digest::of(b"y")), Some(false));
        assert_eq!(told(Some(&one_part), &Digest::of(b"y")), Some(false));
        assert_eq!(told(Some("abc-2"), &d), None);
        assert_eq!(told(None, &d), None);
    }
}
