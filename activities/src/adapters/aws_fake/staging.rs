//! Staging and objects that are written once, in memory.

use super::{Bucket, FakeStore, Object, lock, wrong_checksum};
use crate::ports::content::Content;
use crate::ports::staging::{Once, Staged, Staging};
use crate::ports::store::{Put, RecordingMeta};
use async_trait::async_trait;
use bytes::Bytes;
use leadline_domain::{Digest, Fault, FaultCode};

fn etag(body: &Bytes) -> String {
    Digest::of(body).to_hex()[..32].to_owned()
}

fn there(claim: &str, body: &Bytes) -> Put {
    Put::Exists { claim: claim.to_owned(), size: body.len() as u64 }
}

impl Bucket {
    fn current(&self, name: &str, tag: &str) -> Option<&Bytes> {
        self.staged.get(name).map(|o| &o.body).filter(|b| etag(b) == tag)
    }
}

#[async_trait]
impl Staging for FakeStore {
    async fn stage(&self, name: &str, body: Bytes, digest: &Digest) -> Result<Put, Fault> {
        self.call("stage", |b| {
            if Digest::of(&body) != *digest {
                return Err(wrong_checksum());
            }
            if let Some(o) = b.staged.get(name) {
                return Ok(there("", &o.body));
            }
            b.staged.insert(name.to_owned(), Object { body, meta: None });
            Ok(Put::Created)
        })
    }

    async fn head_staged(&self, name: &str) -> Result<Option<Staged>, Fault> {
        self.call("head_staged", |b| {
            let of = |o: &Object| Staged { size: o.body.len() as u64, etag: etag(&o.body), modified_s: 1 };
            Ok(b.staged.get(name).map(of))
        })
    }

    async fn read_staged(&self, name: &str, tag: &str, from: u64, len: u64) -> Result<Option<Bytes>, Fault> {
        self.call("read_staged", |b| {
            Ok(b.current(name, tag).map(|body| {
                let from = usize::try_from(from).unwrap_or(usize::MAX).min(body.len());
                let to = from.saturating_add(usize::try_from(len).unwrap_or(usize::MAX)).min(body.len());
                body.slice(from..to)
            }))
        })
    }

    async fn adopt(&self, name: &str, content: &Content, meta: &RecordingMeta) -> Result<Put, Fault> {
        self.copied(name, content, meta).await?;
        self.call("adopt", |b| b.promoted(name, content, meta))
    }

    async fn remove_staged(&self, name: &str) -> Result<(), Fault> {
        self.call("remove_staged", |b| {
            b.staged.remove(name);
            Ok(())
        })
    }

    async fn quarantine_staged(&self, name: &str, size: u64) -> Result<bool, Fault> {
        if lock(&self.bucket).staged.contains_key(name) {
            self.copy_pieces(name, size, None).await?;
        }
        self.call("quarantine_staged", |b| match b.staged.remove(name) {
            Some(o) if o.body.len() as u64 != size => {
                b.staged.insert(name.to_owned(), o);
                Err(Fault::new(FaultCode::StoreChecksumMismatch, "the staged object has another size"))
            }
            Some(o) => {
                b.quarantined.insert(name.to_owned(), o);
                Ok(true)
            }
            None => Ok(b.quarantined.contains_key(name)),
        })
    }

    async fn put_once(&self, place: Once, name: &str, body: Bytes, claim: &str) -> Result<Put, Fault> {
        self.call("put_once", |b| match b.once.get(&(place, name.to_owned())) {
            Some((first, body)) => Ok(there(first, body)),
            None => {
                b.once.insert((place, name.to_owned()), (claim.to_owned(), body));
                Ok(Put::Created)
            }
        })
    }
}
