//! What people write: environments, organizations, jurisdictions, promotion. Types only; what is sensible is decided in
//! [`crate::check`](mod@crate::check).

mod environment;
mod gateway;
mod jurisdictions;
mod offboarding;
mod organization;
mod outcomes;
mod promotion;
mod storage;

pub use environment::{
    Alarms, AuditQueue, Aws, Backup, Cdn, Environment, LockMode, Provisioning, Queue, Receiver, Temporal, TemporalTls,
    Worker,
};
pub use gateway::{
    Canary, DicomListener, DicomTls, Gateway, HttpListener, MllpListener, MllpTls, Oidc, OrgDicom, OrgFhir, OrgGateway,
    OrgHl7, OrgUploads, ehr_key_name,
};
pub use jurisdictions::{DEFAULT_JURISDICTIONS, JurisdictionRule, Jurisdictions};
pub use offboarding::Offboarding;
pub use organization::{
    Contact, FORMATS, Limits, Organization, OrganizationFile, OrganizationOverride, Share, ShareOverride,
};
pub use outcomes::OutcomeReports;
pub use promotion::{Promotion, PromotionRule};
pub use storage::{ArchiveStorage, OrgStorages, ProcessingStorage};

pub(crate) use organization::normal_path;

use leadline_domain::{EnvId, OrgId};
use std::collections::BTreeMap;

/// Everything that is configured, checked: only [`crate::check::check`] makes one, and only if there is no error.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    pub(crate) environments: BTreeMap<EnvId, Environment>,
    pub(crate) files: BTreeMap<OrgId, OrganizationFile>,
    pub(crate) placed: BTreeMap<EnvId, BTreeMap<OrgId, Organization>>,
    pub(crate) jurisdictions: Jurisdictions,
    pub(crate) promotion: Promotion,
}

impl Config {
    /// All environments, by id.
    #[must_use]
    pub fn environments(&self) -> &BTreeMap<EnvId, Environment> {
        &self.environments
    }
    /// One environment.
    #[must_use]
    pub fn environment(&self, env: &EnvId) -> Option<&Environment> {
        self.environments.get(env)
    }
    /// The organizations placed in an environment, with the overrides of that environment applied.
    pub fn organizations(&self, env: &EnvId) -> impl Iterator<Item = &Organization> {
        self.placed.get(env).into_iter().flat_map(BTreeMap::values)
    }
    /// One organization as it is in an environment; `None` if it is not placed there.
    #[must_use]
    pub fn organization(&self, env: &EnvId, org: &OrgId) -> Option<&Organization> {
        self.placed.get(env)?.get(org)
    }
    /// Which regions each jurisdiction allows.
    #[must_use]
    pub fn jurisdictions(&self) -> &Jurisdictions {
        &self.jurisdictions
    }
    /// What production asks for before it accepts an organization.
    #[must_use]
    pub fn promotion(&self) -> &Promotion {
        &self.promotion
    }
}
