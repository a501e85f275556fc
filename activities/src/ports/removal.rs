//! The role of what a stack leaves behind when it is deleted: taken away by people's leave only.

use async_trait::async_trait;
use leadline_domain::transfer::Storage;
use leadline_domain::{Fault, OrgScope};
use std::collections::BTreeSet;

/// Removes what is retained of an organization. What is gone already is success.
#[async_trait]
pub trait Removal: Send + Sync {
    /// Names of the secrets that begin as the organization's do: those of shares that its file does not name any more are
    /// among them.
    ///
    /// # Errors
    /// `secret.*`, `credential.*`.
    async fn secrets(&self, scope: &OrgScope) -> Result<BTreeSet<String>, Fault>;

    /// Deletes a secret, without a time in which it could come back. `false`: there was none.
    ///
    /// # Errors
    /// `secret.*`, `credential.*`.
    async fn secret(&self, name: &str) -> Result<bool, Fault>;

    /// Takes the key's name away and has the key deleted after this many days (KMS: 7 to 30). `false`: there was none.
    ///
    /// # Errors
    /// `store.access_denied`, `credential.*`.
    async fn key(&self, scope: &OrgScope, days: i32) -> Result<bool, Fault>;

    /// Whether there is a bucket of a storage.
    ///
    /// # Errors
    /// `store.*`.
    async fn bucket_is_there(&self, scope: &OrgScope, storage: Storage) -> Result<bool, Fault>;

    /// Deletes the bucket of a storage, which must be empty. `false`: there was none.
    ///
    /// # Errors
    /// `store.*`.
    async fn bucket(&self, scope: &OrgScope, storage: Storage) -> Result<bool, Fault>;
}
