//! What every way in ends with: bytes that are durable in the organization's staging area, and a lifecycle of their own.

use async_trait::async_trait;
use bytes::Bytes;
use leadline_domain::staged::{Ingress, StagedName};
use leadline_domain::{Digest, Fault, OrgId};
use leadline_workflows::recording_lifecycle::FileReport;

/// What came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// Whose. From the credentials of the sender, never from what was sent.
    pub org: OrgId,
    /// By which way.
    pub ingress: Ingress,
    /// Where it is, or is to be, below `staging/`. A repeat of the same has the same name.
    pub name: StagedName,
    /// The content.
    pub content: Content,
    /// SHA-256 that the sender declared; other content is refused.
    pub declared: Option<Digest>,
}

/// Content, or where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// In memory: it is put into staging first.
    Bytes(Bytes),
    /// An upload put it into staging; which version of the object was looked at, as its store calls it.
    Staged {
        /// `None` where the store keeps one only.
        version: Option<String>,
    },
}

/// What came of keeping a raw message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// It was not there.
    New,
    /// These very bytes were there under this name.
    Same,
    /// Others are there under this name: they stay, and these were not kept.
    Other,
}

/// Takes in what the protocols receive.
#[async_trait]
pub trait Intake: Send + Sync {
    /// Makes the content durable and starts its lifecycle. When it returns, nothing of it can get lost any more; a
    /// repeat with the same name is harmless. Gives how the lifecycle ended, where an earlier one has; `None` while it
    /// is under way, which asks nobody how far it is.
    ///
    /// # Errors
    /// `config.unknown_org`, `org.offboarding`, `store.*`, `credential.*`, `engine.*`; `file.checksum_mismatch` if it is
    /// not what was declared.
    async fn take(&self, received: Received) -> Result<Option<FileReport>, Fault>;

    /// Keeps a raw message below `received/<ingress>/<name>`, encrypted with the organization's key and never
    /// overwritten.
    ///
    /// # Errors
    /// `config.unknown_org`, `store.*`, `credential.*`.
    async fn keep(&self, org: &OrgId, ingress: Ingress, name: &StagedName, raw: Bytes) -> Result<Kept, Fault>;

    /// Where the lifecycle of what was taken in stands; `None` if there is none of this name.
    ///
    /// # Errors
    /// `engine.*`.
    async fn report(&self, org: &OrgId, ingress: Ingress, name: &StagedName) -> Result<Option<FileReport>, Fault>;

    /// Whether something of this name was taken in, for as long as the history of its lifecycle is kept. Of one that is
    /// under way nobody is asked how far it is.
    ///
    /// # Errors
    /// `engine.*`.
    async fn known(&self, org: &OrgId, ingress: Ingress, name: &StagedName) -> Result<bool, Fault> {
        Ok(self.report(org, ingress, name).await?.is_some())
    }
}
