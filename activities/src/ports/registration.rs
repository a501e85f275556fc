//! The role of Temporal in provisioning: what an onboarding leaves there.

use crate::engine::Engine;
use async_trait::async_trait;
use leadline_domain::{EnvId, Fault, OrgId, ShareId};
use std::collections::BTreeSet;

/// A check that is looked at again and again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// Of the stack's settings.
    Drift,
    /// Of what the organization's credentials reach.
    Isolation,
    /// Of the processor's reports.
    Outcomes,
}

/// What provisioning asks of Temporal. A repeat of each is harmless.
#[async_trait]
pub trait Registrations: Send + Sync {
    /// Whether an organization is to stay.
    ///
    /// # Errors
    /// `org.offboarding` while it is being off-boarded; `engine.*`.
    async fn stays(&self, engine: &Engine, env: &EnvId, org: &OrgId) -> Result<(), Fault>;

    /// Starts the watch of a share. Returns its workflow id.
    ///
    /// # Errors
    /// `engine.*`.
    async fn watch(&self, engine: &Engine, queue: &str, org: &OrgId, share: &ShareId) -> Result<String, Fault>;

    /// Ends the watches of shares that are not among these: its file does not name them any more. Returns their workflow ids.
    ///
    /// # Errors
    /// `engine.*`.
    async fn unwatch(&self, engine: &Engine, org: &OrgId, keep: &BTreeSet<ShareId>) -> Result<Vec<String>, Fault>;

    /// Makes the schedule of a check of an organization, or of the environment. Returns its id.
    ///
    /// # Errors
    /// `engine.*`; `bug.invariant` for a check that only organizations have.
    async fn schedule(
        &self,
        engine: &Engine,
        queue: &str,
        env: &EnvId,
        org: Option<&OrgId>,
        check: Check,
    ) -> Result<String, Fault>;
}
