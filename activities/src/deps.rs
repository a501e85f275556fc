//! What activities work with: the ports, opened once a worker.

use crate::adapters::staged::StagedShare;
use crate::alarms::Alarming;
use crate::content_cache::ContentCache;
use crate::outcomes::Outcomes;
use crate::ports::checks::{Isolation, LiveSettings, Plans};
use crate::ports::queue::Queue;
use crate::ports::registration::Registrations;
use crate::ports::removal::Removal;
use crate::ports::senders::Senders;
use crate::ports::share::Share;
use crate::ports::signing::Signing;
use crate::ports::stacks::{Secrets, Stacks};
use crate::ports::store::{OrgStore, OrgStores};
use crate::ports::transfer::Storages;
use crate::registry::Registry;
use async_trait::async_trait;
use leadline_domain::{Fault, FaultCode, Ingress, OrgId, ShareId};
use std::sync::Arc;

/// Opens organizations' shares.
#[async_trait]
pub trait Shares: Send + Sync {
    /// The share, with the organization's own credentials. Cheap when it was opened before.
    ///
    /// # Errors
    /// `config.unknown_org`, `config.unknown_share`, `secret.missing`, `credential.*`.
    async fn open(&self, org: &OrgId, share: &ShareId) -> Result<Arc<dyn Share>, Fault>;

    /// Forgets what was opened, because its credentials were refused: the next open reads them again.
    fn forget(&self, org: &OrgId, share: &ShareId);

    /// Logs on with the pending version of the share's credentials, which must be this one, and lists the watched
    /// folder. A version that has become current is proven.
    ///
    /// # Errors
    /// `secret.superseded` if another version is pending, or none; `share.*`, `secret.missing`, `credential.*`.
    async fn prove(&self, _org: &OrgId, _share: &ShareId, _version: &str) -> Result<(), Fault> {
        Err(Fault::new(FaultCode::BugInvariant, "these shares have no credentials"))
    }
}

/// The parts a worker works with.
pub struct Deps {
    /// Environment and organizations, as configured.
    pub registry: Arc<Registry>,
    /// SMB.
    pub shares: Arc<dyn Shares>,
    /// S3, an organization each.
    pub stores: Arc<dyn OrgStores>,
    /// Where messages for the processor go.
    pub ingest_queue: Arc<dyn Queue>,
    /// Where audit entries go.
    pub audit_queue: Arc<dyn Queue>,
    /// CloudFormation.
    pub stacks: Arc<dyn Stacks>,
    /// Secrets of organizations.
    pub secrets: Arc<dyn Secrets>,
    /// Tries what organizations' credentials reach.
    pub isolation: Arc<dyn Isolation>,
    /// Settings as the services have them.
    pub settings: Arc<dyn LiveSettings>,
    /// What onboarding leaves in Temporal.
    pub registrations: Arc<dyn Registrations>,
    /// Removes what a deleted stack leaves.
    pub removal: Arc<dyn Removal>,
    /// The environment's key for evidence.
    pub signing: Arc<dyn Signing>,
    /// Stacks as they should be.
    pub plans: Arc<dyn Plans>,
    /// Organizations' storages, for copies between them.
    pub storages: Arc<dyn Storages>,
    /// Organizations' own systems, for canaries.
    pub senders: Arc<dyn Senders>,
    /// Reports of the processor.
    pub outcomes: Outcomes,
    /// Where people are told of what was found.
    pub alarms: Alarming,
    /// Small contents between look and store.
    pub cache: ContentCache,
}

impl Deps {
    pub(crate) async fn store(&self, org: &OrgId) -> Result<Arc<dyn OrgStore>, Fault> {
        self.stores.open(&self.registry.scope(org)?).await
    }

    /// Opens a share; a refused logon makes the next open read the credentials again.
    pub(crate) async fn share(&self, org: &OrgId, share: &ShareId) -> Result<Arc<dyn Share>, Fault> {
        match Ingress::of_share(share) {
            Ingress::Smb => self.shares.open(org, share).await,
            _ => Ok(Arc::new(StagedShare::new(self.store(org).await?))),
        }
    }
}
