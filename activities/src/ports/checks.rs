//! The roles of what is looked at again and again: who reaches what, what is there, what should be.

use async_trait::async_trait;
use leadline_domain::isolation::{Evidence, NotEnforced};
use leadline_domain::transfer::Storage;
use leadline_domain::{EnvId, EnvScope, Fault, OrgId, OrgScope, ShareId};
use leadline_provisioning::Plan;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// What an organization has besides its bucket, key and role.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Owned {
    /// Names of its secrets: of all its shares, watched or not, and of its EHR.
    pub secrets: BTreeSet<ShareId>,
    /// Its storages besides the one of its data.
    pub storages: BTreeSet<Storage>,
    /// It is being deleted: nothing can be placed there to try with, and soon there is nothing to reach.
    pub leaving: bool,
}

/// A bucket of the environment, which no organization has any business with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvBucket {
    /// Name.
    pub name: String,
    /// Where it is.
    pub region: String,
}

/// Tries what an organization's credentials reach. Whatever is found open, no content of another organization is read
/// and none is changed: what is tried is tried on names of the probe's own. Nobody can name another object to it:
///
/// ```compile_fail,E0061
/// # use leadline_activities::ports::checks::Isolation;
/// # async fn f(probe: &dyn Isolation, a: &leadline_domain::OrgScope, b: &leadline_domain::OrgScope) {
/// let _ = probe.other(a, b, &Default::default(), "recordings/sha256/ab/cd").await;
/// # }
/// ```
///
/// Whose resources are tried is all that is said:
///
/// ```
/// # use leadline_activities::ports::checks::Isolation;
/// # async fn f(probe: &dyn Isolation, a: &leadline_domain::OrgScope, b: &leadline_domain::OrgScope) {
/// let _ = probe.other(a, b, &Default::default()).await;
/// # }
/// ```
#[async_trait]
pub trait Isolation: Send + Sync {
    /// What the endpoint does not enforce; empty on AWS.
    fn not_enforced(&self) -> Vec<NotEnforced>;

    /// Stacks that are made, and whether each was opened for deletion.
    ///
    /// # Errors
    /// `stack.*`.
    async fn stacks(&self) -> Result<BTreeMap<String, bool>, Fault>;

    /// Tries everything on the organization's own resources.
    ///
    /// # Errors
    /// What passes by itself: nothing is shown then.
    async fn own(&self, own: &OrgScope, has: &Owned) -> Result<Vec<Evidence>, Fault>;

    /// Tries everything on the environment's queues, its topic of alarms and these buckets of it.
    ///
    /// # Errors
    /// What passes by itself, and `queue.*` if the queues are not there.
    async fn environment(&self, own: &OrgScope, env: &EnvScope, buckets: &[EnvBucket]) -> Result<Vec<Evidence>, Fault>;

    /// Tries everything on another organization's resources, what it `has` besides among them.
    ///
    /// # Errors
    /// What passes by itself: nothing is shown then.
    async fn other(&self, own: &OrgScope, other: &OrgScope, has: &Owned) -> Result<Vec<Evidence>, Fault>;
}

/// A resource of a stack as CloudFormation knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Physical {
    /// E.g. `AWS::S3::Bucket`.
    pub resource_type: String,
    /// Name or id, as `Ref` gives it.
    pub id: String,
}

/// Reads the settings of resources from the services themselves.
#[async_trait]
pub trait LiveSettings: Send + Sync {
    /// Who reads what belongs to a stack: those of another region are read there.
    fn of(&self, stack: &str) -> &dyn LiveSettings;

    /// The resources of a stack, by logical id.
    ///
    /// # Errors
    /// `stack.*`.
    async fn resources(&self, stack: &str) -> Result<BTreeMap<String, Physical>, Fault>;

    /// Which of these resources of a stack (logical ids) CloudFormation finds gone. Those it cannot look at are not named.
    ///
    /// # Errors
    /// `stack.*`.
    async fn missing(&self, stack: &str, logical: &[String]) -> Result<BTreeSet<String>, Fault>;

    /// The settings of one resource, in the shape of [`leadline_provisioning::plan::drift`]; `None` if it is gone.
    ///
    /// # Errors
    /// `stack.*`; the type has to be one that is compared there.
    async fn read(&self, resource: &Physical) -> Result<Option<Value>, Fault>;

    /// Writes one setting of a resource, named as in what `read` gives, e.g. `policy`, to what
    /// [`leadline_provisioning::plan::wanted`] says of it; null takes it away. A repeat is harmless.
    ///
    /// # Errors
    /// `stack.*`, `store.*`, `queue.*`; `bug.invariant` for a setting that is not known.
    async fn write(&self, resource: &Physical, setting: &str, wanted: &Value) -> Result<(), Fault>;
}

/// What a stack should be.
#[derive(Debug, Clone, PartialEq)]
pub struct Planned {
    /// AWS region it belongs into.
    pub region: String,
    /// Its template.
    pub template: Value,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
}

impl From<&Plan> for Planned {
    fn from(plan: &Plan) -> Self {
        Self { region: plan.region().to_owned(), template: plan.template().clone(), tags: plan.tags().clone() }
    }
}

/// Plans from the configuration as it is now.
pub trait Plans: Send + Sync {
    /// The plan of an organization's stack, or of the environment's.
    ///
    /// # Errors
    /// `config.*`.
    fn planned(&self, org: Option<&OrgId>) -> Result<Planned, Fault>;

    /// The plan of the stack of copies; `None` where nothing is copied.
    ///
    /// # Errors
    /// `config.*`.
    fn copies(&self) -> Result<Option<Planned>, Fault>;

    /// Digest of what the plan of an organization in an environment is made from, as the files are here now.
    ///
    /// # Errors
    /// `config.*`.
    fn inputs(&self, env: &EnvId, org: &OrgId) -> Result<String, Fault>;

    /// The plan that opens an organization's bucket for deletion, after the off-boarding that this certificate is of.
    ///
    /// # Errors
    /// `config.*`.
    fn opening(&self, org: &OrgId, certificate: &str) -> Result<Plan, Fault>;
}
