//! The role the secret store plays while the credentials of a share are exchanged: a secret has a current version and,
//! until the new one is proven, a pending one.

use super::stacks::ShareCredentials;
use async_trait::async_trait;
use leadline_domain::{Fault, OrgScope, ShareId};

/// Which version of a secret is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The one that is proven.
    Current,
    /// The one that is to be proven.
    Pending,
}

impl Stage {
    /// The staging label, as Secrets Manager calls it.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Current => "AWSCURRENT",
            Self::Pending => "AWSPENDING",
        }
    }
}

/// A version of a share's credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// Its id in the secret store.
    pub id: String,
    /// What it holds.
    pub credentials: ShareCredentials,
}

/// Ids of the versions of a secret.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Labels {
    /// The current one.
    pub current: Option<String>,
    /// The pending one, if it is another.
    pub pending: Option<String>,
}

/// Versions of the credentials of shares. Workers read them with the organization's own role; only whoever provisions
/// writes them or moves a label, so that no worker can change which password is used.
#[async_trait]
pub trait Rotation: Send + Sync {
    /// Reads a version anew, as the organization; `None` if there is no pending one.
    ///
    /// # Errors
    /// `secret.missing`, `credential.*`.
    async fn version(&self, scope: &OrgScope, share: &ShareId, stage: Stage) -> Result<Option<Version>, Fault>;

    /// Which versions there are (provisioning only). Reads no password.
    ///
    /// # Errors
    /// `secret.missing`, `credential.*`.
    async fn labels(&self, scope: &OrgScope, share: &ShareId) -> Result<Labels, Fault>;

    /// Puts new credentials into a share's secret as its pending version, in place of any other pending one, and gives
    /// the version's id (provisioning only). The current ones stay current.
    ///
    /// # Errors
    /// `secret.missing`, `credential.*`.
    async fn begin(&self, scope: &OrgScope, share: &ShareId, new: &ShareCredentials) -> Result<String, Fault>;

    /// Makes the pending version of this id the current one; the one before stays as the previous one (provisioning
    /// only). One that is current already is success.
    ///
    /// # Errors
    /// `secret.superseded` if another one is pending meanwhile, or none; `secret.missing`, `credential.*`.
    async fn promote(&self, scope: &OrgScope, share: &ShareId, version: &str) -> Result<(), Fault>;

    /// Takes the pending version back, if there is one, and gives its id (provisioning only).
    ///
    /// # Errors
    /// `secret.missing`, `credential.*`.
    async fn withdraw(&self, scope: &OrgScope, share: &ShareId) -> Result<Option<String>, Fault>;
}
