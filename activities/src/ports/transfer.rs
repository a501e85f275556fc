//! The role of an organization's storages in transfers.

use super::store::OrgStore;
use async_trait::async_trait;
use leadline_domain::transfer::Storage;
use leadline_domain::{Digest, Fault, OrgScope};
use std::sync::Arc;

/// What came of a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Copied {
    /// Copied now, of so many bytes.
    New(u64),
    /// It was there.
    There,
    /// There is no such recording.
    Missing,
}

/// What a storage has of a recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// As the store calls it.
    pub id: String,
    /// When it was written, milliseconds since 1970-01-01 UTC by the store's clock.
    pub stored_ms: i64,
}

/// Two storages of one organization, opened with the organization's own credentials.
#[async_trait]
pub trait Between: Send + Sync {
    /// Recordings of the first storage whose digest is greater, in order; at most 1,000. Empty: that is all.
    ///
    /// # Errors
    /// `store.*` and `credential.*`.
    async fn recordings_after(&self, after: Option<&Digest>) -> Result<Vec<Digest>, Fault>;

    /// Copies a recording to the second storage, server-side, if it is not there, and verifies by its digest what is
    /// there then.
    ///
    /// # Errors
    /// `store.checksum_mismatch` if what is there is something else; `store.*` and `credential.*`.
    async fn copy(&self, digest: &Digest) -> Result<Copied, Fault>;

    /// What the first storage has of a recording; `None` if it has let go of it.
    ///
    /// # Errors
    /// `store.*` and `credential.*`.
    async fn source(&self, digest: &Digest) -> Result<Option<Version>, Fault>;

    /// Lets the first storage go of a recording, if the second has it now: that is verified by its digest here, once
    /// more. One that is gone already is success.
    ///
    /// # Errors
    /// `bug.invariant` if the second does not have it, or the storage was not opened for moves; `store.checksum_mismatch`
    /// if what is there is something else; `store.*` and `credential.*`.
    async fn let_go(&self, digest: &Digest) -> Result<(), Fault>;
}

/// Opens storages.
#[async_trait]
pub trait Storages: Send + Sync {
    /// Assumes the organization's role and yields the way from one of its storages to another. `moving`: with a session
    /// that the first storage lets recordings go for; none other is.
    ///
    /// # Errors
    /// `credential.refused`, `credential.unreachable`.
    async fn between(
        &self,
        scope: &OrgScope,
        from: Storage,
        to: Storage,
        moving: bool,
    ) -> Result<Arc<dyn Between>, Fault>;

    /// One storage by itself, to be counted and emptied after it was opened for deletion.
    ///
    /// # Errors
    /// `credential.refused`, `credential.unreachable`.
    async fn alone(&self, scope: &OrgScope, storage: Storage) -> Result<Arc<dyn OrgStore>, Fault>;
}
