//! Copies and moves between an organization's storages: server-side (see `copy`), believed only when the digest is
//! known; what is moved is removed afterwards, with a session that is for this alone.

use super::copy::{Copy, Dress, Left, Made, Object};
use super::errors::status;
use super::outcomes::digest_of;
use super::s3::{CONFLICTS, S3OrgStore, bulk, no_winner};
use super::sts::{AwsOrgStores, OrgClients};
use crate::ports::content::{Content, Digesting};
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
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

const RECORDINGS: &str = "recordings/sha256/";

struct S3Between {
    store: S3OrgStore,
    from: String,
    to: String,
    moving: bool,
    /// Recordings of several pieces, which were read to know what each is.
    read: Mutex<HashMap<Digest, Arc<Content>>>,
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
        let known = self.read.lock().unwrap_or_else(PoisonError::into_inner).get(digest).cloned();
        let cut = known.as_ref().map(|c| (c.pieces.len(), c.composite()));
        match told(there.checksum_sha256(), digest, cut) {
            Some(true) => Ok(true),
            Some(false) => Err(mismatch("HeadObject: what is at the target")),
            None => match self.content(&self.to, key, size_of(&there)).await? {
                Some(c) if c.digest == *digest => Ok(true),
                Some(_) => Err(mismatch("GetObject: what is at the target")),
                None => Ok(false),
            },
        }
    }

    /// Reads an object; `None` if it is not there.
    async fn content(&self, bucket: &str, key: &str, size: u64) -> Result<Option<Content>, Fault> {
        let get = self.org().s3.get_object().bucket(bucket).key(key).customize().config_override(bulk());
        let mut got = match get.send().await {
            Ok(g) => g,
            Err(e) if status(&e) == 404 => return Ok(None),
            Err(e) => return Err(self.store.fail("GetObject", &e).await),
        };
        let mut digesting = Digesting::new(size, self.store.pieces);
        loop {
            match got.body.try_next().await {
                Ok(Some(bytes)) => digesting.push(&bytes),
                Ok(None) => return Ok(Some(digesting.finish())),
                Err(_) => return Err(Fault::new(FaultCode::StoreUnreachable, "GetObject: the body was cut off")),
            }
        }
    }

    /// What the source was read to be, where it is copied in several pieces: S3 says of these what each is, and not what
    /// they are together.
    async fn known(&self, key: &str, digest: &Digest, size: u64) -> Result<Option<Arc<Content>>, Fault> {
        if let Some(c) = self.read.lock().unwrap_or_else(PoisonError::into_inner).get(digest) {
            return Ok(Some(Arc::clone(c)));
        }
        let Some(content) = self.content(&self.from, key, size).await? else { return Ok(None) };
        if content.digest != *digest {
            return Err(mismatch("GetObject: what is at the source"));
        }
        let content = Arc::new(content);
        self.read.lock().unwrap_or_else(PoisonError::into_inner).insert(*digest, Arc::clone(&content));
        Ok(Some(content))
    }
}

/// What a checksum says of the whole object's digest: of one made at once it is the digest, of one made of one part the
/// digest of the digest, of one made of several nothing, unless it is known what they have to be: how many, and the digest
/// of their digests.
fn told(checksum: Option<&str>, digest: &Digest, cut: Option<(usize, Digest)>) -> Option<bool> {
    let checksum = checksum?;
    match checksum.split_once('-') {
        None => Some(checksum == BASE64.encode(digest.as_bytes())),
        Some((of_parts, "1")) => Some(of_parts == BASE64.encode(Sha256::digest(digest.as_bytes()))),
        // Of the same content cut differently it is another one: that it differs says nothing.
        Some((of_parts, n)) => {
            let same = |(pieces, composite): &(usize, Digest)| {
                n == pieces.to_string() && of_parts == BASE64.encode(composite.as_bytes())
            };
            cut.filter(same).map(|_| true)
        }
    }
}

fn size_of(h: &HeadObjectOutput) -> u64 {
    h.content_length().and_then(|n| u64::try_from(n).ok()).unwrap_or(0)
}

fn mismatch(what: &str) -> Fault {
    Fault::new(FaultCode::StoreChecksumMismatch, format!("{what} has another digest"))
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
            let content = if self.store.pieces.at_once(size) {
                Arc::new(Content { size, digest: *digest, pieces: vec![*digest] })
            } else {
                match self.known(&key, digest, size).await? {
                    Some(c) => c,
                    None => return Ok(Copied::Missing),
                }
            };
            let dress = Dress {
                metadata: source.metadata().cloned().unwrap_or_default(),
                content_type: source.content_type().map(str::to_owned),
            };
            let (from, to) = (Object { bucket: &self.from, key: &key }, Object { bucket: &self.to, key: &key });
            let copy = Copy { from, version: None, to, size, content: Some(&*content), dress, left: Left::Any };
            match self.store.copy_once(&copy).await? {
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
        Ok(Arc::new(S3Between {
            store,
            from: scope.storage_bucket(from),
            to: scope.storage_bucket(to),
            moving,
            read: Mutex::default(),
        }))
    }

    async fn alone(&self, scope: &OrgScope, storage: Storage) -> Result<Arc<dyn OrgStore>, Fault> {
        let store = self.opened(scope).await?;
        Ok(Arc::new(S3OrgStore::new(Arc::new(store.org.of(scope, storage)), store.pieces)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checksum_is_believed_for_what_it_says() {
        let (x, y) = (Digest::of(b"x"), Digest::of(b"y"));
        let whole = BASE64.encode(x.as_bytes());
        let one_part = format!("{}-1", BASE64.encode(Sha256::digest(x.as_bytes())));
        for cut in [None, Some((1, y)), Some((2, y))] {
            assert_eq!(told(Some(&whole), &x, cut), Some(true));
            assert_eq!(told(Some(&one_part), &x, cut), Some(true));
            assert_eq!(told(Some(&whole), &y, cut), Some(false));
            assert_eq!(told(Some(&one_part), &y, cut), Some(false));
            assert_eq!(told(None, &x, cut), None);
        }
        let two_parts = format!("{}-2", BASE64.encode(y.as_bytes()));
        assert_eq!(told(Some(&two_parts), &x, None), None);
        assert_eq!(told(Some(&two_parts), &x, Some((2, y))), Some(true));
        assert_eq!(told(Some(&two_parts), &x, Some((3, y))), None);
        assert_eq!(told(Some(&two_parts), &x, Some((2, x))), None);
    }
}
