//! Where an organization may live, and the names of what it owns there.

use crate::fault::{Fault, FaultCode};
use crate::ids::{EnvId, OrgId, ShareId};
use crate::transfer::Storage;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// A legal area whose law binds an organization's data: `us`, `uk`, ... Data, so that a new one touches no code.
pub type Jurisdiction = String;

/// What placement needs to know of an environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvFacts {
    /// The environment.
    pub env: EnvId,
    /// 12-digit AWS account.
    pub account: String,
    /// AWS region, e.g. `eu-west-2`.
    pub region: String,
    /// The jurisdictions whose organizations may be placed here.
    pub jurisdictions: BTreeSet<Jurisdiction>,
}

/// Proof that an organization's jurisdiction is allowed in an environment. Only [`Placement::resolve`] makes one:
///
/// ```compile_fail,E0451
/// # use leadline_domain::{EnvId, Placement};
/// let unproven = Placement { env: EnvId::parse("us").unwrap(), account: String::new(), region: String::new() };
/// ```
///
/// ```
/// # use leadline_domain::{EnvFacts, EnvId, OrgId, Placement};
/// # let (us, org) = (EnvId::parse("us").unwrap(), OrgId::parse("st-mary").unwrap());
/// # let jurisdictions = ["us".to_owned()].into();
/// # let facts = EnvFacts { env: us, account: String::new(), region: String::new(), jurisdictions };
/// let proven = Placement::resolve(&org, "us", &facts).unwrap();
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    env: EnvId,
    account: String,
    region: String,
}

impl Placement {
    /// Checks residency (invariant L7).
    ///
    /// # Errors
    /// `config.residency` when the environment does not allow the jurisdiction.
    pub fn resolve(org: &OrgId, jurisdiction: &str, env: &EnvFacts) -> Result<Self, Fault> {
        if env.jurisdictions.contains(jurisdiction) {
            Ok(Self { env: env.env.clone(), account: env.account.clone(), region: env.region.clone() })
        } else {
            Err(Fault::new(
                FaultCode::ConfigResidency,
                format!(
                    "organization {org} is of jurisdiction {jurisdiction}; environment {} allows {}",
                    env.env,
                    env.jurisdictions.iter().cloned().collect::<Vec<_>>().join(", ")
                ),
            ))
        }
    }
    /// The environment.
    #[must_use]
    pub fn env(&self) -> &EnvId {
        &self.env
    }
}

/// The names of everything an organization owns in an environment. Derived, never configured: two organizations
/// cannot be given one bucket, and a scope without a proof of placement has no spelling:
///
/// ```compile_fail,E0308
/// # use leadline_domain::{EnvId, OrgId, OrgScope};
/// let scope = OrgScope::new(OrgId::parse("st-mary").unwrap(), EnvId::parse("us").unwrap());
/// ```
///
/// ```
/// # use leadline_domain::{OrgId, OrgScope, Placement};
/// # fn f(proof: Placement) {
/// let scope = OrgScope::new(OrgId::parse("st-mary").unwrap(), proof);
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrgScope {
    org: OrgId,
    placement: Placement,
}

impl OrgScope {
    /// The scope of an organization at its place.
    #[must_use]
    pub fn new(org: OrgId, placement: Placement) -> Self {
        Self { org, placement }
    }
    /// The organization.
    #[must_use]
    pub fn org(&self) -> &OrgId {
        &self.org
    }
    /// The environment.
    #[must_use]
    pub fn env(&self) -> &EnvId {
        &self.placement.env
    }
    /// AWS region.
    #[must_use]
    pub fn region(&self) -> &str {
        &self.placement.region
    }
    /// AWS account.
    #[must_use]
    pub fn account(&self) -> &str {
        &self.placement.account
    }
    /// Bucket: at most 59 characters (S3 allows 63); the account number keeps it apart from other people's.
    #[must_use]
    pub fn bucket(&self) -> String {
        format!("leadline-{}-{}-{}", self.env(), self.org, self.account())
    }
    /// Bucket of a storage: at most 63 characters, which is what S3 allows.
    #[must_use]
    pub fn storage_bucket(&self, storage: Storage) -> String {
        match storage {
            Storage::Data => self.bucket(),
            Storage::Processing => format!("{}-prc", self.bucket()),
            Storage::Archive => format!("{}-arc", self.bucket()),
        }
    }
    /// IAM role that alone may touch the organization's data.
    #[must_use]
    pub fn role_name(&self) -> String {
        format!("leadline-{}-org-{}", self.env(), self.org)
    }
    /// ARN of the role.
    #[must_use]
    pub fn role_arn(&self) -> String {
        format!("arn:aws:iam::{}:role/{}", self.account(), self.role_name())
    }
    /// External id that the role's trust policy asks for.
    #[must_use]
    pub fn external_id(&self) -> String {
        format!("leadline:{}:{}", self.env(), self.org)
    }
    /// Alias of the KMS key.
    #[must_use]
    pub fn key_alias(&self) -> String {
        format!("alias/leadline-{}-{}", self.env(), self.org)
    }
    /// What the names of its secrets begin with. An id holds no slash, so no other organization's name begins with it.
    #[must_use]
    pub fn secret_prefix(&self) -> String {
        format!("leadline/{}/{}/share/", self.env(), self.org)
    }
    /// Name of the secret with the credentials of a share.
    #[must_use]
    pub fn share_secret(&self, share: &ShareId) -> String {
        format!("{}{share}", self.secret_prefix())
    }
    /// Parameter that registers the configuration.
    #[must_use]
    pub fn configuration(&self) -> String {
        format!("/leadline/{}/org/{}/configuration", self.env(), self.org)
    }
    /// CloudFormation stack.
    #[must_use]
    pub fn stack(&self) -> String {
        format!("leadline-{}-org-{}", self.env(), self.org)
    }
}

/// The names of what an environment owns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnvScope {
    env: EnvId,
    account: String,
    region: String,
}

impl EnvScope {
    /// The scope of an environment.
    #[must_use]
    pub fn new(facts: &EnvFacts) -> Self {
        Self { env: facts.env.clone(), account: facts.account.clone(), region: facts.region.clone() }
    }
    /// The environment.
    #[must_use]
    pub fn env(&self) -> &EnvId {
        &self.env
    }
    /// AWS account.
    #[must_use]
    pub fn account(&self) -> &str {
        &self.account
    }
    /// AWS region.
    #[must_use]
    pub fn region(&self) -> &str {
        &self.region
    }
    /// CloudFormation stack.
    #[must_use]
    pub fn stack(&self) -> String {
        format!("leadline-{}-env", self.env)
    }
    /// FIFO queue that the processor reads.
    #[must_use]
    pub fn ingest_queue(&self) -> String {
        format!("leadline-{}-ingest.fifo", self.env)
    }
    /// Where messages go that the processor failed on too often.
    #[must_use]
    pub fn ingest_dlq(&self) -> String {
        format!("leadline-{}-ingest-dlq.fifo", self.env)
    }
    /// Queue of audit entries.
    #[must_use]
    pub fn audit_queue(&self) -> String {
        format!("leadline-{}-audit", self.env)
    }
    /// Queue on which the processor says what became of a recording.
    #[must_use]
    pub fn outcome_queue(&self) -> String {
        format!("leadline-{}-outcomes", self.env)
    }
    /// Queue of S3's events: something was put into an organization's staging area.
    #[must_use]
    pub fn upload_queue(&self) -> String {
        format!("leadline-{}-uploads", self.env)
    }
    /// Where outcomes and upload events go that could not be worked off.
    #[must_use]
    pub fn dead_letters(&self) -> String {
        format!("leadline-{}-dead-letters", self.env)
    }
    /// Parameter that registers the configuration.
    #[must_use]
    pub fn configuration(&self) -> String {
        format!("/leadline/{}/configuration", self.env)
    }
    /// Topic that alarms go to.
    #[must_use]
    pub fn alarm_topic(&self) -> String {
        format!("leadline-{}-alarms", self.env)
    }
    /// ARN of the topic.
    #[must_use]
    pub fn alarm_topic_arn(&self) -> String {
        format!("arn:aws:sns:{}:{}:{}", self.region, self.account, self.alarm_topic())
    }
    /// Bucket that CloudFront reads. Organizations' buckets end with the account, so none is ever called this.
    #[must_use]
    pub fn delivery_bucket(&self) -> String {
        format!("leadline-{}-{}-delivery", self.env, self.account)
    }
    /// Alias of the delivery bucket's key. An organization's alias holds no second slash.
    #[must_use]
    pub fn delivery_key_alias(&self) -> String {
        format!("alias/leadline-{}/delivery", self.env)
    }
    /// CloudFormation stack of the copies, in the region of the copies.
    #[must_use]
    pub fn backup_stack(&self) -> String {
        format!("leadline-{}-backup", self.env)
    }
    /// Bucket of the copies.
    #[must_use]
    pub fn backup_bucket(&self) -> String {
        format!("leadline-{}-{}-backup", self.env, self.account)
    }
    /// Alias of the key of the copies.
    #[must_use]
    pub fn backup_key_alias(&self) -> String {
        format!("alias/leadline-{}/backup", self.env)
    }
    /// Role of the workers: may assume organizations' roles, send to the queues, raise alarms, nothing else.
    #[must_use]
    pub fn worker_role_name(&self) -> String {
        format!("leadline-{}-worker", self.env)
    }
    /// ARN of the worker role.
    #[must_use]
    pub fn worker_role_arn(&self) -> String {
        format!("arn:aws:iam::{}:role/{}", self.account, self.worker_role_name())
    }
    /// Temporal task queue of a worker group.
    #[must_use]
    pub fn task_queue(&self, group: &crate::ids::WorkerGroup) -> String {
        format!("leadline.{}.{group}", self.env)
    }
    /// That of the main group.
    #[must_use]
    pub fn main_queue(&self) -> String {
        self.task_queue(&crate::ids::WorkerGroup::main())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(allowed: &[&str]) -> EnvFacts {
        EnvFacts {
            env: EnvId::parse("us").unwrap(),
            account: "111111111111".into(),
            region: "us-east-1".into(),
            jurisdictions: allowed.iter().map(|s| (*s).to_owned()).collect(),
        }
    }

    #[test]
    fn residency_is_refused_with_its_code() {
        let org = OrgId::parse("st-mary").unwrap();
        assert_eq!(Placement::resolve(&org, "uk", &facts(&["us"])).unwrap_err().code, FaultCode::ConfigResidency);
        assert!(Placement::resolve(&org, "us", &facts(&["us"])).is_ok());
    }

    #[test]
    fn names_fit_their_limits() {
        let org = OrgId::parse(&"a".repeat(24)).unwrap();
        let f = EnvFacts { env: EnvId::parse(&"e".repeat(12)).unwrap(), ..facts(&["us"]) };
        let scope = OrgScope::new(org.clone(), Placement::resolve(&org, "us", &f).unwrap());
        assert!(Storage::ALL.into_iter().all(|s| scope.storage_bucket(s).len() <= 63));
        assert!(scope.role_name().len() <= 64); // IAM role names
        let env = EnvScope::new(&f);
        assert!(env.ingest_dlq().len() <= 80); // SQS queue names
        assert_eq!(env.alarm_topic_arn(), "arn:aws:sns:us-east-1:111111111111:leadline-eeeeeeeeeeee-alarms");
        assert!(env.delivery_bucket().len() <= 63 && env.backup_bucket().len() <= 63);
    }

    #[test]
    fn an_environment_and_its_organizations_never_share_a_name() {
        let f = facts(&["us"]);
        let env = EnvScope::new(&f);
        for id in ["backup", "delivery", "env", "worker"] {
            let org = OrgId::parse(id).unwrap();
            let scope = OrgScope::new(org.clone(), Placement::resolve(&org, "us", &f).unwrap());
            assert!(![env.backup_bucket(), env.delivery_bucket()].contains(&scope.bucket()));
            assert!(![env.backup_key_alias(), env.delivery_key_alias()].contains(&scope.key_alias()));
            assert!(![env.stack(), env.backup_stack()].contains(&scope.stack()));
            assert_ne!(scope.role_name(), env.worker_role_name());
        }
    }
}
