//! Staging and objects that are written once, in memory.

use super::{FakeStore, Object, lock, wrong_checksum};
use crate::ports::content::Content;
use crate::ports::staging::{Once, Staged, Staging};
use crate::ports::store::{Put, RecordingMeta};
use async_trait::async_trait;
use bytes::Bytes;
use leadline_domain::{Digest, Fault, FaultCode, StagedAt};

fn etag(body: &Bytes) -> String {
    Digest::of(body).to_hex()[..32].to_owned()
}

fn there(claim: &str, body: &Bytes) -> Put {
    Put::Exists { claim: claim.to_owned(), size: body.len() as u64 }
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
            b.put_staged(name, body);
            Ok(Put::Created)
        })
    }

    async fn head_staged(&self, at: StagedAt<'_>) -> Result<Option<Staged>, Fault> {
        self.call("head_staged", |b| {
            let of = |o: &Object| Staged {
                size: o.body.len() as u64,
                etag: etag(&o.body),
                version: Some(o.version.clone()),
                modified_s: 1,
            };
            Ok(b.at(at).map(of))
        })
    }

    async fn read_staged(&self, at: StagedAt<'_>, tag: &str, from: u64, len: u64) -> Result<Option<Bytes>, Fault> {
        self.call("read_staged", |b| {
            Ok(b.at(at).map(|o| &o.body).filter(|body| etag(body) == tag).map(|body| {
                let from = usize::try_from(from).unwrap_or(usize::MAX).min(body.len());
                let to = from.saturating_add(usize::try_from(len).unwrap_or(usize::MAX)).min(body.len());
                body.slice(from..to)
            }))
        })
    }

    async fn adopt(&self, at: StagedAt<'_>, content: &Content, meta: &RecordingMeta) -> Result<Put, Fault> {
        self.copied(at, content, meta).await?;
        self.call("adopt", |b| b.promoted(at, content, meta))
    }

    async fn remove_staged(&self, name: &str) -> Result<(), Fault> {
        self.call("remove_staged", |b| {
            b.unstage(name);
            Ok(())
        })
    }

    async fn quarantine_staged(&self, at: StagedAt<'_>, size: u64) -> Result<bool, Fault> {
        if lock(&self.bucket).at(at).is_some() {
            self.copy_pieces(at, size, None).await?;
        }
        self.call("quarantine_staged", |b| match b.at(at).cloned() {
            Some(o) if o.body.len() as u64 != size => {
                Err(Fault::new(FaultCode::StoreChecksumMismatch, "the staged object has another size"))
            }
            Some(o) => {
                b.unstage(at.name);
                let mut to = at.name.to_owned();
                if b.quarantined.get(&to).is_some_and(|before| before.body.len() != o.body.len()) {
                    to = format!("{to}-{}", &Digest::of(&o.body).to_hex()[..8]);
                }
                b.quarantined.entry(to).or_insert(o);
                Ok(true)
            }
            None => Ok(b.quarantined.contains_key(at.name)),
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
