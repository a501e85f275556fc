//! What is staged and written again.

use super::store::{Store, content, exists, meta, unique, whole};
use crate::harness::past_us::PastUs;
use async_trait::async_trait;
use bytes::Bytes;
use leadline_activities::adapters::aws_fake::FakeStore;
use leadline_activities::ports::store::Put;
use leadline_domain::{Digest, StagedAt};
use std::sync::Arc;

/// What was judged stays what it was, whatever is written under its name later: looked at, read, adopted and kept by its
/// version. `again` writes another content, as whoever has a form may. For stores that keep versions.
pub async fn written_again(store: &Store, again: &(dyn WritesAgain + Sync)) {
    for keep in [false, true] {
        let (first, second, name) = (content(200_000), content(300_000), unique("again"));
        store.stage(&name, first.clone(), &Digest::of(&first)).await.expect("staged");
        let judged = store.head_staged(StagedAt::now(&name)).await.expect("asked").expect("it is there");
        let version = judged.version.clone().expect("a store that keeps versions");
        let at = StagedAt { name: &name, version: Some(&version) };
        again.write(&name, second.clone()).await;
        let now = store.head_staged(StagedAt::now(&name)).await.expect("asked").expect("it is there");
        assert!(now.size == second.len() as u64 && now.version != judged.version, "another version");
        assert_eq!(store.head_staged(at).await.expect("asked"), Some(judged.clone()));
        let read = store.read_staged(at, &judged.etag, 100, 400_000).await.expect("read").expect("it is there");
        assert!(read == first.slice(100..), "{} bytes of {}", read.len(), first.len());
        let none = StagedAt { version: Some("no-such-version"), ..at };
        assert!(!matches!(store.head_staged(none).await, Ok(Some(_))), "a version that never was");
        if keep {
            assert_eq!(store.quarantine_staged(at, judged.size).await, Ok(true));
            assert_eq!(store.quarantine_staged(at, judged.size).await, Ok(true), "once more");
        } else {
            let claim = meta(&unique("claim"));
            assert_eq!(store.adopt(at, &whole(&first), &claim).await, Ok(Put::Created));
            assert_eq!(store.adopt(at, &whole(&first), &claim).await, Ok(exists(&claim.claim, first.len())));
            assert_eq!(store.read_recording(&Digest::of(&first), judged.size).await, Ok(first));
            assert_eq!(store.head_recording(&Digest::of(&second)).await, Ok(None));
        }
        store.remove_staged(&name).await.expect("removed");
    }
}

/// Writes below `staging/` whatever is there.
#[async_trait]
pub trait WritesAgain {
    /// This content under this name.
    async fn write(&self, name: &str, content: Bytes);
}

#[async_trait]
impl WritesAgain for Arc<FakeStore> {
    async fn write(&self, name: &str, content: Bytes) {
        self.write_again(name, content);
    }
}

/// The account's root, in this bucket.
#[async_trait]
impl WritesAgain for (PastUs, String) {
    async fn write(&self, name: &str, content: Bytes) {
        let put = self.0.s3.put_object().bucket(&self.1).key(format!("staging/{name}")).body(content.into());
        put.send().await.expect("written");
    }
}
