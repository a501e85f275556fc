//! The role of an organization's own systems, which canaries play.

use crate::secret::Secret;
use async_trait::async_trait;
use bytes::Bytes;
use leadline_domain::{Fault, IngressEndpoint, IngressEndpoints, OrgId, StagedName};

/// A made-up recording on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parcel {
    /// What it is told apart by, where a protocol has room for it. It begins with `leadline-canary`.
    pub name: String,
    /// Media type.
    pub media_type: String,
    /// Content.
    pub content: Bytes,
}

/// What became of sending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sent {
    /// It was taken, and staged under this name.
    Taken(StagedName),
    /// It was refused, or cannot be sent; in words.
    Refused(String),
    /// Nothing answered; in words. Another try is harmless.
    Unanswered(String),
}

/// Sends through the real endpoints, with credentials as they are given to real senders.
#[async_trait]
pub trait Senders: Send + Sync {
    /// Sends once. The same parcel sent again is the same work for whoever takes it.
    ///
    /// # Errors
    /// `credential.*`.
    async fn send(
        &self,
        org: &OrgId,
        endpoints: &IngressEndpoints,
        endpoint: &IngressEndpoint,
        parcel: &Parcel,
    ) -> Result<Sent, Fault>;
}

/// Secrets of the environment that people put there.
#[async_trait]
pub trait GivenSecrets: Send + Sync {
    /// The text of one.
    ///
    /// # Errors
    /// `secret.missing`, `credential.*`.
    async fn given(&self, name: &str) -> Result<Secret, Fault>;
}
