//! The role an organization's object store plays. Methods take relative keys only: another organization's bucket has
//! no spelling here.

use super::content::{Content, Pieces};
use super::staging::Staging;
use async_trait::async_trait;
use bytes::Bytes;
use leadline_domain::message::{member_key, recording_key};
use leadline_domain::{Digest, Fault, FaultCode, OrgScope};
use std::sync::Arc;

/// What is stored beside a recording's bytes. No PHI: object metadata is not encrypted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordingMeta {
    /// Who claimed the digest: the version key of the file it was read from, or the id of an upload. The same claim
    /// coming again (a repeat after a crash) is not a duplicate of itself.
    pub claim: String,
    /// Format name, e.g. `dicom`.
    pub format: String,
    /// Media type for `Content-Type`.
    pub media_type: String,
    /// Where it goes.
    pub shelf: Shelf,
}

/// Where an object goes, below its digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Shelf {
    /// A recording: its write is its claim.
    Recordings,
    /// Part of a set, which the set's manifest claims.
    Members,
}

impl Shelf {
    /// Key of the object with this digest.
    #[must_use]
    pub fn key(self, digest: &Digest) -> String {
        match self {
            Self::Recordings => recording_key(digest),
            Self::Members => member_key(digest),
        }
    }
}

/// Result of a conditional write of a recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Put {
    /// This call wrote the object: the claim is ours.
    Created,
    /// The object was there (412 PreconditionFailed); this is the claim it was written with, and its size in bytes.
    Exists {
        /// `claim` of the winner; empty if the object carries none.
        claim: String,
        /// Size of the stored object, bytes.
        size: u64,
    },
}

/// A multipart upload to `staging/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upload {
    /// Name below `staging/`: letters, digits, `-` only.
    pub name: String,
    /// The store's id of the upload.
    pub id: String,
}

/// A part the store holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// 1 to 10,000.
    pub number: u32,
    /// The store's tag of it.
    pub etag: String,
    /// SHA-256 of the part as the store computed it.
    pub sha256: [u8; 32],
    /// Bytes.
    pub size: u64,
}

/// A list of recordings that was written into the store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listed {
    /// Key of the list.
    pub key: String,
    /// SHA-256 of the list, hexadecimal.
    pub sha256: String,
    /// Recordings in it.
    pub recordings: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// What a store holds, old versions and all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Held {
    /// Versions of objects.
    pub versions: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Delete markers.
    pub markers: u64,
}

/// What object lock keeps from being deleted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stuck {
    /// Versions.
    pub versions: u64,
    /// Their bytes.
    pub bytes: u64,
    /// When the last retention ends, milliseconds since 1970 UTC.
    pub until_ms: Option<i64>,
    /// Whether one is held without an end.
    pub legal_hold: bool,
    /// The first 50, as `key version`.
    pub named: Vec<String>,
}

/// One organization's store, opened with the organization's own credentials. No method takes a bucket or another
/// organization:
///
/// ```compile_fail,E0061
/// # use leadline_activities::ports::store::OrgStore;
/// # async fn f(a: &dyn OrgStore, digest: &leadline_domain::Digest, b: &leadline_domain::OrgScope) {
/// let of_another = a.head_recording(digest, b).await;
/// # }
/// ```
///
/// Of its own it says:
///
/// ```
/// # use leadline_activities::ports::store::OrgStore;
/// # async fn f(a: &dyn OrgStore, digest: &leadline_domain::Digest, b: &leadline_domain::OrgScope) {
/// let of_its_own = a.head_recording(digest).await;
/// # }
/// ```
///
/// Nor does anything outside the adapters get hold of a client that could be turned against another bucket:
///
/// ```compile_fail,E0603
/// use leadline_activities::adapters::aws::sts::OrgClients;
/// ```
///
/// What opens stores is to be had:
///
/// ```
/// use leadline_activities::adapters::aws::AwsOrgStores;
/// ```
#[async_trait]
pub trait OrgStore: Staging {
    /// Writes a small recording at `recordings/sha256/ab/<digest>`, or where its shelf is, if nothing is there (If-None-Match: `*`), with its
    /// SHA-256 for the store to verify. One request when it is new, one more (HEAD) when it exists.
    ///
    /// # Errors
    /// `store.*` and `credential.*`.
    async fn put_recording(&self, digest: &Digest, body: Bytes, meta: &RecordingMeta) -> Result<Put, Fault>;

    /// What is stored under a digest, if anything.
    ///
    /// # Errors
    /// `store.*` and `credential.*`.
    async fn head_recording(&self, digest: &Digest) -> Result<Option<Put>, Fault>;

    /// Begins a multipart upload to `staging/<name>` with per-part SHA-256.
    ///
    /// # Errors
    /// `store.*` and `credential.*`.
    async fn begin_upload(&self, name: &str) -> Result<Upload, Fault>;

    /// The latest upload to `staging/<name>` that is neither completed nor given up: what an attempt that was cut off
    /// left behind.
    ///
    /// # Errors
    /// `store.*` and `credential.*`.
    async fn find_upload(&self, name: &str) -> Result<Option<Upload>, Fault>;

    /// Uploads one part; the store verifies `sha256`.
    ///
    /// # Errors
    /// `store.upload_lost` when the store does not know the upload any more; else `store.*` and `credential.*`.
    async fn upload_part(&self, upload: &Upload, number: u32, body: Bytes, sha256: [u8; 32]) -> Result<Part, Fault>;

    /// The parts the store holds of an upload, by number.
    ///
    /// # Errors
    /// As [`OrgStore::upload_part`].
    async fn list_parts(&self, upload: &Upload) -> Result<Vec<Part>, Fault>;

    /// Makes one object of the parts.
    ///
    /// # Errors
    /// As [`OrgStore::upload_part`].
    async fn complete_upload(&self, upload: &Upload, parts: &[Part]) -> Result<(), Fault>;

    /// Gives an upload up. One that is unknown already is success.
    ///
    /// # Errors
    /// `store.*` and `credential.*`.
    async fn abort_upload(&self, upload: &Upload) -> Result<(), Fault>;

    /// In what pieces this store copies what it holds; what it is given to copy is read for them.
    fn pieces(&self) -> Pieces {
        Pieces::default()
    }

    /// Copies `staging/<name>` server-side to the content-addressed key, if nothing is there, for any size up to S3's
    /// limit, and removes the staged object afterwards. A repeat of one that was cut off goes on with the pieces that are
    /// there.
    ///
    /// # Errors
    /// `store.checksum_mismatch` if what is staged is something else; `store.*` and `credential.*`.
    async fn promote(&self, name: &str, content: &Content, meta: &RecordingMeta) -> Result<Put, Fault>;

    /// Notes below `staging/claims/<claim>` what a claim is about to be, in place of an earlier note: who comes after a
    /// write whose answer was lost, and finds the file gone, knows by it what to look for. It stays until the bucket's rule
    /// for staging takes it.
    ///
    /// # Errors
    /// `store.*` and `credential.*`.
    async fn note_claim(&self, claim: &str, note: &str) -> Result<(), Fault>;

    /// What was noted last of a claim, if anything.
    ///
    /// # Errors
    /// `store.*` and `credential.*`.
    async fn noted_claim(&self, claim: &str) -> Result<Option<String>, Fault>;

    /// Writes the marker `seen/<share>/<key>` holding a short text; repeats are harmless. Used for files that stay on a share.
    ///
    /// # Errors
    /// `store.*` and `credential.*`.
    async fn put_seen(&self, share: &str, key: &str, version: &str) -> Result<(), Fault>;

    /// All markers of a share as (key, version). The version is part of the object's key, so that listing is enough.
    ///
    /// # Errors
    /// `store.*` and `credential.*`.
    async fn list_seen(&self, share: &str) -> Result<Vec<(String, String)>, Fault>;

    /// Reads a whole small object of this store by relative key, e.g. for verification.
    ///
    /// # Errors
    /// `store.*` and `credential.*`.
    async fn read_recording(&self, digest: &Digest, limit: u64) -> Result<Bytes, Fault>;

    /// One cheap request that fails if bucket or credentials are wrong: for `doctor` and probes.
    ///
    /// # Errors
    /// `store.*` and `credential.*`.
    async fn check(&self) -> Result<(), Fault>;

    /// Lists all recordings (key, digest, size, time) into objects at `ledger/export/<folder>/`; the same again writes
    /// the same.
    ///
    /// # Errors
    /// `store.*` and `credential.*`.
    async fn export_list(&self, _folder: &str) -> Result<Vec<Listed>, Fault> {
        Err(Fault::new(FaultCode::BugInvariant, "this store writes no lists"))
    }

    /// Counts everything, old versions and delete markers too. The store has to be opened for deletion.
    ///
    /// # Errors
    /// `store.*` and `credential.*`.
    async fn count_all(&self) -> Result<Held, Fault> {
        Err(Fault::new(FaultCode::BugInvariant, "this store counts nothing"))
    }

    /// Gives up every upload and deletes every version that is not locked; a repeat goes on. The store has to be opened
    /// for deletion.
    ///
    /// # Errors
    /// `store.access_denied` if one is refused that is not locked; `store.*` and `credential.*`.
    async fn delete_all(&self) -> Result<Stuck, Fault> {
        Err(Fault::new(FaultCode::BugInvariant, "this store deletes nothing"))
    }
}

/// Opens organizations' stores.
#[async_trait]
pub trait OrgStores: Send + Sync {
    /// Assumes the organization's role and yields its store. Cheap when it was opened before.
    ///
    /// # Errors
    /// `credential.refused`, `credential.unreachable`.
    async fn open(&self, scope: &OrgScope) -> Result<Arc<dyn OrgStore>, Fault>;
}
