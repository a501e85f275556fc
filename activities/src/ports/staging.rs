//! The parts of an organization's store that are not recordings: what was received and is not judged yet, and small
//! objects that are written once.

use super::content::Content;
use super::store::{Put, RecordingMeta};
use async_trait::async_trait;
use bytes::Bytes;
use leadline_domain::{Digest, Fault, Ingress, StagedAt};

/// A place for objects that are written once and never replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Once {
    /// The first recording with an identity: `identities/`.
    Identities,
    /// Raw messages as they were received: `received/<ingress>/`.
    Received(Ingress),
}

impl Once {
    /// Key of an object there.
    #[must_use]
    pub fn key(self, name: &str) -> String {
        match self {
            Self::Identities => format!("identities/{name}"),
            Self::Received(i) => format!("received/{i}/{name}"),
        }
    }
}

/// A staged object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Staged {
    /// Bytes.
    pub size: u64,
    /// The store's tag of this very content.
    pub etag: String,
    /// Which version it is, as its store calls it; `None` where the store keeps one only.
    pub version: Option<String>,
    /// When it was put there, seconds since 1970-01-01 UTC by the store's clock.
    pub modified_s: i64,
}

/// See the module. Names are letters, digits, `-`, `_`, `.` only.
#[async_trait]
pub trait Staging: Send + Sync {
    /// Writes `staging/<name>` if nothing is there, with its SHA-256 for the store to verify.
    ///
    /// # Errors
    /// `store.*` and `credential.*`.
    async fn stage(&self, name: &str, body: Bytes, digest: &Digest) -> Result<Put, Fault>;

    /// What is at `staging/<name>`, or was in a version.
    ///
    /// # Errors
    /// `store.*` and `credential.*`.
    async fn head_staged(&self, at: StagedAt<'_>) -> Result<Option<Staged>, Fault>;

    /// Up to `len` bytes of `staging/<name>` from `from` on; none beyond its end. `None` if it is not there any more, or
    /// not the content with this tag.
    ///
    /// # Errors
    /// `store.*` and `credential.*`.
    async fn read_staged(&self, at: StagedAt<'_>, etag: &str, from: u64, len: u64) -> Result<Option<Bytes>, Fault>;

    /// As `OrgStore::promote`, and leaves the staged object where it is.
    ///
    /// # Errors
    /// `store.*` and `credential.*`.
    async fn adopt(&self, at: StagedAt<'_>, content: &Content, meta: &RecordingMeta) -> Result<Put, Fault>;

    /// Removes `staging/<name>`. One that is not there is success.
    ///
    /// # Errors
    /// `store.*` and `credential.*`.
    async fn remove_staged(&self, name: &str) -> Result<(), Fault>;

    /// Copies `staging/<name>` (of `size` bytes) to `quarantine/<name>` and removes it; to `quarantine/<name>-<8 hexadecimal
    /// digits>` where something of another size lies there already. `false` if neither is there.
    ///
    /// # Errors
    /// `store.*` and `credential.*`.
    async fn quarantine_staged(&self, at: StagedAt<'_>, size: u64) -> Result<bool, Fault>;

    /// Writes a small object if nothing is there. `claim` is a short text (printable ASCII, at most 1 KiB) that is kept
    /// beside it and told to whoever comes later.
    ///
    /// # Errors
    /// `store.*` and `credential.*`.
    async fn put_once(&self, place: Once, name: &str, body: Bytes, claim: &str) -> Result<Put, Fault>;
}
