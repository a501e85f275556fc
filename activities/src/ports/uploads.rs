//! The role an organization's store plays for uploads that do not pass through us: permissions to write one object below
//! `staging/`, signed with the organization's own credentials.

use async_trait::async_trait;
use leadline_domain::{Digest, Fault, OrgScope, StagedName};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// S3: a single PUT or POST has at most 5 GiB ("Amazon S3 multipart upload limits").
pub const MAX_SINGLE: u64 = 5 << 30;
/// S3: an object has at most 5 TiB here, what every store of the kind takes.
pub const MAX_OBJECT: u64 = 5 << 40;
/// S3: parts of an upload.
pub const MAX_PARTS: u32 = 10_000;
/// S3: every part but the last has at least 5 MiB.
pub const MIN_PART: u64 = 5 << 20;
/// S3: a part has at most 5 GiB.
pub const MAX_PART: u64 = 5 << 30;
/// Longest time a permission is good for. A session of the organization's role has more than this left when it is used.
pub const LONGEST_VALID: Duration = Duration::from_secs(900);

/// What an upload was said to be. What is there is bound by the signature, or kept beside the object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declared {
    /// `Content-Type`.
    pub media_type: String,
    /// Bytes.
    pub size: Option<u64>,
    /// SHA-256 of all of it.
    pub sha256: Option<Digest>,
}

/// A request that its holder may make once or more until it expires.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Presigned {
    /// `PUT`.
    pub method: String,
    /// With the signature in its query: to be kept like a password while it is good.
    pub url: String,
    /// Headers that have to be sent just so. `host` and `content-length` are left to the client's library, which must
    /// come to the same.
    pub headers: BTreeMap<String, String>,
}

/// A form that its holder may send (`multipart/form-data`), the file last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Form {
    /// Where to.
    pub url: String,
    /// Its fields but for `file`.
    pub fields: BTreeMap<String, String>,
}

/// A part the store holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldPart {
    /// 1 to 10,000.
    pub number: u32,
    /// The store's tag of it, without quotes.
    pub etag: String,
    /// Bytes.
    pub size: u64,
}

/// An object below `staging/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StagedObject {
    /// Bytes.
    pub size: u64,
    /// Which version it is, as its store calls it: whoever has a form may write another one.
    pub version: Option<String>,
    /// SHA-256 that its sender declared.
    pub declared: Option<Digest>,
}

/// A multipart upload that is neither completed nor given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenUpload {
    /// Name below `staging/`.
    pub name: String,
    /// The store's id of the upload.
    pub id: String,
    /// When it began, seconds since 1970 by the store's clock.
    pub begun_s: i64,
}

/// An object below `staging/`, as a listing has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedObject {
    /// Name below `staging/`.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// When it was put there, seconds since 1970 by the store's clock.
    pub modified_s: i64,
}

/// One organization's uploads. No method takes a bucket or another organization.
#[async_trait]
pub trait OrgUploads: Send + Sync {
    /// A single PUT of `staging/<name>`, good for `valid`, refused by the store if something is there
    /// (If-None-Match) and, where declared, if size, type or checksum are others.
    ///
    /// # Errors
    /// `credential.*`.
    async fn put(&self, name: &StagedName, what: &Declared, valid: Duration) -> Result<Presigned, Fault>;

    /// A form for `staging/<name>`, good for `valid`, refused by the store for another type or a length out of
    /// `length` (bytes, both ends included). Forms know no If-None-Match.
    ///
    /// # Errors
    /// `credential.*`.
    async fn form(
        &self,
        name: &StagedName,
        what: &Declared,
        length: (u64, u64),
        valid: Duration,
    ) -> Result<Form, Fault>;

    /// Begins a multipart upload; the store's id of it.
    ///
    /// # Errors
    /// `store.*`, `credential.*`.
    async fn begin(&self, name: &StagedName, what: &Declared) -> Result<String, Fault>;

    /// A PUT of one part, of `size` bytes if that is known. Makes no request, so that it says nothing about whether
    /// there is such an upload.
    ///
    /// # Errors
    /// `credential.*`.
    async fn part(
        &self,
        name: &StagedName,
        id: &str,
        number: u32,
        size: Option<u64>,
        valid: Duration,
    ) -> Result<Presigned, Fault>;

    /// The parts the store holds, by number.
    ///
    /// # Errors
    /// `store.upload_lost` if it does not know the upload; `store.*`, `credential.*`.
    async fn parts(&self, name: &StagedName, id: &str) -> Result<Vec<HeldPart>, Fault>;

    /// Makes one object of the parts.
    ///
    /// # Errors
    /// As [`OrgUploads::parts`].
    async fn complete(&self, name: &StagedName, id: &str, parts: &[HeldPart]) -> Result<(), Fault>;

    /// Gives an upload up. One that is unknown already is success.
    ///
    /// # Errors
    /// `store.*`, `credential.*`.
    async fn abort(&self, name: &str, id: &str) -> Result<(), Fault>;

    /// What is at `staging/<name>`.
    ///
    /// # Errors
    /// `store.*`, `credential.*`.
    async fn staged(&self, name: &StagedName) -> Result<Option<StagedObject>, Fault>;

    /// When the recording of these bytes was stored, seconds since 1970 by the store's clock; `None` if it is not there.
    ///
    /// # Errors
    /// `store.*`, `credential.*`.
    async fn stored_s(&self, digest: &Digest) -> Result<Option<i64>, Fault>;

    /// Multipart uploads below `staging/<prefix>` that are neither completed nor given up.
    ///
    /// # Errors
    /// `store.*`, `credential.*`.
    async fn open_uploads(&self, prefix: &str) -> Result<Vec<OpenUpload>, Fault>;

    /// The objects below `staging/<prefix>`.
    ///
    /// # Errors
    /// `store.*`, `credential.*`.
    async fn list_staged(&self, prefix: &str) -> Result<Vec<ListedObject>, Fault>;
}

/// Opens organizations' uploads.
#[async_trait]
pub trait Uploads: Send + Sync {
    /// Assumes the organization's role. Cheap when it was done before.
    ///
    /// # Errors
    /// `credential.refused`, `credential.unreachable`.
    async fn open(&self, scope: &OrgScope) -> Result<Arc<dyn OrgUploads>, Fault>;
}
