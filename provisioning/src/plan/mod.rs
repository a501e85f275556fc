//! A plan: what an environment or an organization should become, what that changes, and a digest that an approval can
//! name. Made here, never altered.

mod diff;
mod drift;
mod held;
mod identity;
mod remake;
mod taken;
mod words;

pub use diff::{Change, ChangeKind, Difference};
pub use drift::{
    Comparison, Drift, DriftKind, LifecycleRule, Names, Notification, compare, compares, cors_rule, drift, lifecycle,
    lifecycle_rules, noticed, notification, notification_parts, wanted, why_not,
};
pub use held::{Announced, Wanted, strays, unnamed_losses, unnamed_remakes};
pub use identity::Identity;
pub use remake::{gone_with, without};
pub use taken::failed_because;

use crate::config::{Config, Environment, Jurisdictions, Organization};
use crate::policy::{self, Violation};
use crate::template;
use leadline_domain::{EnvId, Fault, OrgId};
use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// A stack as it is now.
#[derive(Debug, Clone, PartialEq)]
pub struct CurrentStack {
    /// The template it was last given.
    pub template: Value,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// E.g. `UPDATE_COMPLETE`.
    pub status: String,
}

/// What to bring about. Only [`plan_env`] and [`plan_org`] make one:
///
/// ```compile_fail,E0451
/// # fn f(plan: leadline_provisioning::Plan) {
/// let altered = leadline_provisioning::Plan { stack: String::new(), ..plan };
/// # }
/// ```
///
/// What it is can be asked:
///
/// ```
/// # fn f(plan: leadline_provisioning::Plan) {
/// let stack: &str = plan.stack();
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Plan {
    env: EnvId,
    #[serde(skip_serializing_if = "Option::is_none")]
    org: Option<OrgId>,
    stack: String,
    account: String,
    region: String,
    template: Value,
    tags: BTreeMap<String, String>,
    changes: Vec<Change>,
    loses: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    repairs: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    remakes: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    allows: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deletes: Option<String>,
    digest: String,
}

impl Plan {
    /// The same, which also puts back the settings of these resources (logical ids) that were changed outside leadline. Another
    /// plan than the one without.
    #[must_use]
    pub fn repairing(mut self, resources: impl IntoIterator<Item = String>) -> Self {
        self.repairs = resources.into_iter().collect::<BTreeSet<String>>().into_iter().collect();
        self.identified()
    }

    /// The same, which also makes these resources (logical ids) again, which are gone. What they held is lost. Another plan
    /// than the one without.
    #[must_use]
    pub fn remaking(mut self, resources: impl IntoIterator<Item = String>) -> Self {
        self.remakes = resources.into_iter().collect::<BTreeSet<String>>().into_iter().collect();
        self.identified()
    }

    /// Of resources that are gone, those whose loss has to be accepted by name before they are made again: they held data,
    /// or access to data.
    #[must_use]
    pub fn holds_data(&self, id: &str) -> bool {
        self.template["Resources"][id]["Type"].as_str().is_some_and(|t| policy::STATEFUL.contains(&t))
    }

    /// The same with nothing to change, if a stack of this status, with these tags and outputs, says itself that it was
    /// brought to this template. `None` if only its template can tell.
    ///
    /// A template that was changed outside leadline and kept the output says so too: what was changed outside leadline is for a look for
    /// drift to find, and for a plan that reads the template.
    #[must_use]
    pub fn applied(
        &self,
        status: &str,
        tags: &BTreeMap<String, String>,
        outputs: &BTreeMap<String, String>,
    ) -> Option<Self> {
        let settled = ["CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE"].contains(&status);
        let wanted = template::digest(&self.template);
        let there = outputs.get(template::DIGEST).map(String::as_str);
        let same = settled && wanted.is_some() && wanted == there && *tags == self.tags;
        same.then(|| Self { changes: Vec::new(), loses: Vec::new(), ..self.clone() })
    }

    fn identified(mut self) -> Self {
        self.digest = Identity {
            stack: &self.stack,
            account: &self.account,
            region: &self.region,
            template: &self.template,
            tags: &self.tags,
            repairs: &self.repairs,
            remakes: &self.remakes,
            allows: &self.allows,
            deletes: self.deletes.as_deref(),
        }
        .digest();
        self
    }

    /// Logical ids of the resources whose settings it puts back.
    #[must_use]
    pub fn repairs(&self) -> &[String] {
        &self.repairs
    }

    /// Logical ids of the resources that are gone and that it makes again.
    #[must_use]
    pub fn remakes(&self) -> &[String] {
        &self.remakes
    }

    /// Logical ids of the stateful resources that may be replaced, removed, or made again, empty: as whoever asked for the
    /// plan named them.
    #[must_use]
    pub fn allows(&self) -> &[String] {
        &self.allows
    }

    /// Whether the stack is made by it: everything in its template is still to be created.
    #[must_use]
    pub fn is_new(&self) -> bool {
        let made = self.changes.iter().filter(|c| c.kind == ChangeKind::Create).count();
        self.template["Resources"].as_object().is_some_and(|all| all.len() == made)
    }

    /// Whether there is anything to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.repairs.is_empty() && self.remakes.is_empty()
    }

    /// The environment.
    #[must_use]
    pub fn env(&self) -> &EnvId {
        &self.env
    }
    /// The organization; `None` for the environment itself.
    #[must_use]
    pub fn org(&self) -> Option<&OrgId> {
        self.org.as_ref()
    }
    /// Name of the stack.
    #[must_use]
    pub fn stack(&self) -> &str {
        &self.stack
    }
    /// AWS account the stack belongs into.
    #[must_use]
    pub fn account(&self) -> &str {
        &self.account
    }
    /// AWS region the stack belongs into.
    #[must_use]
    pub fn region(&self) -> &str {
        &self.region
    }
    /// The template.
    #[must_use]
    pub fn template(&self) -> &Value {
        &self.template
    }
    /// The template as it is sent. Equal plans give equal bytes.
    #[must_use]
    pub fn template_text(&self) -> String {
        template::sent(&self.template)
    }
    /// Tags of the stack.
    #[must_use]
    pub fn tags(&self) -> &BTreeMap<String, String> {
        &self.tags
    }
    /// What differs from the stack as it is; empty if nothing does.
    #[must_use]
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }
    /// Logical ids of the stateful resources that it replaces or removes. Each was named by whoever asked for the plan.
    #[must_use]
    pub fn loses(&self) -> &[String] {
        &self.loses
    }
    /// Id of the certificate of the off-boarding after which it opens the bucket for deletion; `None` for others.
    #[must_use]
    pub fn deletes(&self) -> Option<&str> {
        self.deletes.as_deref()
    }
    /// SHA-256 (hex) of stack, account, region, template and tags, and of what it repairs, may lose or deletes. It says what
    /// is wanted, not what is there: a plan that was interrupted halfway is the same plan afterwards.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.digest
    }
}

/// Why there is no plan. All reasons at once.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// The organization may not be placed in the environment.
    Residency(Fault),
    /// The template breaks our own rules: a mistake of ours or of the configuration.
    Policy(Vec<Violation>),
    /// Data or access to data would be lost; each has to be named to be allowed.
    Stateful(Vec<Change>),
    /// The stack is in a state that no change set leads out of.
    Terminal {
        /// Name of the stack.
        stack: String,
        /// Its status.
        status: String,
    },
}

/// States from which a stack can only be deleted or mended by hand. Each calls for a look first.
const TERMINAL: &[&str] = &[
    "ROLLBACK_FAILED",
    "CREATE_FAILED",
    "DELETE_FAILED",
    "UPDATE_ROLLBACK_FAILED",
    "UPDATE_FAILED",
    "IMPORT_ROLLBACK_FAILED",
];
/// What a creation that failed ends in. Such a stack holds nothing and is removed before the next attempt.
const NEVER_WAS: &str = "ROLLBACK_COMPLETE";

/// The jurisdictions that a region has to be one of; `None` where no patient's data is.
fn residency<'a>(
    config: &'a Config,
    env: &Environment,
    of: impl IntoIterator<Item = &'a str>,
) -> Option<(Vec<&'a str>, &'a Jurisdictions)> {
    env.bound_by_residency().then(|| (of.into_iter().collect(), config.jurisdictions()))
}

/// Plans an environment's stack. `allow` names the logical ids of stateful resources that may be replaced or removed.
///
/// # Errors
/// Every [`Refusal`] of the first kind that applies.
pub fn plan_env(
    config: &Config,
    env: &Environment,
    current: Option<&CurrentStack>,
    allow: &[String],
) -> Result<Plan, Refusal> {
    let tags = template::tags(env.id.as_str(), None);
    let context = policy::Context {
        account: &env.account,
        region: &env.region,
        tls_only: env.tls_only(),
        tags: &tags,
        residency: residency(config, env, env.jurisdictions.iter().map(String::as_str)),
        foreign: &env.queue.consumers,
    };
    let scope = env.scope();
    make(env, None, scope.stack(), template::environment(env), &context, current, allow)
}

/// Plans an organization's stack in an environment.
///
/// # Errors
/// Every [`Refusal`] of the first kind that applies.
pub fn plan_org(
    config: &Config,
    env: &Environment,
    org: &Organization,
    current: Option<&CurrentStack>,
    allow: &[String],
) -> Result<Plan, Refusal> {
    let scope = org.scope(env).map_err(Refusal::Residency)?;
    let tags = template::tags(env.id.as_str(), Some((org.id.as_str(), &org.jurisdiction)));
    let context = policy::Context {
        account: scope.account(),
        region: scope.region(),
        tls_only: env.tls_only(),
        tags: &tags,
        residency: residency(config, env, [org.jurisdiction.as_str()]),
        foreign: &BTreeSet::new(),
    };
    let template = template::organization(env, &scope, org);
    make(env, Some(&org.id), scope.stack(), template, &context, current, allow).map_err(|mut refusal| {
        if let Refusal::Policy(violations) = &mut refusal {
            for v in violations.iter_mut().filter(|v| v.rule == policy::Rule::Size) {
                let (n, fit) = (org.shares.len(), template::shares_that_fit(env, &scope, org));
                v.message.push_str(&format!("; it has {n} shares, and about {fit} fit"));
            }
        }
        refusal
    })
}

/// Plans the opening of an organization's bucket for deletion, after the off-boarding that this certificate (its id) is of.
/// What is there is not looked at: the digest says what is wanted.
///
/// # Errors
/// Every [`Refusal`] of the first kind that applies.
pub fn plan_opening(
    config: &Config,
    env: &Environment,
    org: &Organization,
    certificate: &str,
) -> Result<Plan, Refusal> {
    let plan = plan_org(config, env, org, None, &[])?;
    let scope = org.scope(env).map_err(Refusal::Residency)?;
    let tags = plan.tags.clone();
    let context = policy::Context {
        account: scope.account(),
        region: scope.region(),
        tls_only: env.tls_only(),
        tags: &tags,
        residency: None,
        foreign: &BTreeSet::new(),
    };
    let opened = make(env, Some(&org.id), scope.stack(), template::opened(env, &scope, org), &context, None, &[])?;
    Ok(Plan { deletes: Some(certificate.to_owned()), ..opened }.identified())
}

/// Plans the stack of an environment's copies, in the region of the copies; `None` where nothing is copied.
///
/// # Errors
/// Every [`Refusal`] of the first kind that applies.
pub fn plan_backup(
    config: &Config,
    env: &Environment,
    current: Option<&CurrentStack>,
    allow: &[String],
) -> Option<Result<Plan, Refusal>> {
    let backup = env.backup.as_ref()?;
    let tags = template::tags(env.id.as_str(), None);
    let context = policy::Context {
        account: &env.account,
        region: &backup.region,
        tls_only: env.tls_only(),
        tags: &tags,
        residency: residency(config, env, env.jurisdictions.iter().map(String::as_str)),
        foreign: &BTreeSet::new(),
    };
    let template = template::backup(env)?;
    Some(make(env, None, env.scope().backup_stack(), template, &context, current, allow))
}

/// Digest of what a plan of an organization is made from: all that its file says everywhere, and what this version of
/// leadline makes of it in `env`. Two environments have seen the same inputs if this is the same for one `env`.
///
/// # Errors
/// [`Refusal::Residency`].
pub fn inputs(config: &Config, env: &Environment, org: &Organization) -> Result<String, Refusal> {
    let scope = org.scope(env).map_err(Refusal::Residency)?;
    let mut file = config.files.get(&org.id).map(|f| serde_json::to_value(f).unwrap_or_default()).unwrap_or_default();
    if let Value::Object(o) = &mut file {
        o.remove("environments");
        o.remove("environment");
    }
    let identity = json!({ "organization": file, "template": template::organization(env, &scope, org) });
    Ok(hex::encode(Sha256::digest(crate::json::compact(&identity))))
}

fn make(
    env: &Environment,
    org: Option<&OrgId>,
    stack: String,
    template: Value,
    context: &policy::Context<'_>,
    current: Option<&CurrentStack>,
    allow: &[String],
) -> Result<Plan, Refusal> {
    let violations = policy::check(&template, context);
    if !violations.is_empty() {
        return Err(Refusal::Policy(violations));
    }
    if let Some(c) = current.filter(|c| TERMINAL.contains(&c.status.as_str())) {
        return Err(Refusal::Terminal { stack, status: c.status.clone() });
    }
    let current = current.filter(|c| c.status != NEVER_WAS);
    let changes = diff::changes(current, &template, context.tags);
    let lost: Vec<Change> = changes.iter().filter(|c| c.loses() && !allow.contains(&c.logical_id)).cloned().collect();
    if !lost.is_empty() {
        return Err(Refusal::Stateful(lost));
    }
    let plan = Plan {
        env: env.id.clone(),
        org: org.cloned(),
        stack,
        account: context.account.to_owned(),
        region: context.region.to_owned(),
        template,
        tags: context.tags.clone(),
        loses: changes.iter().filter(|c| c.loses()).map(|c| c.logical_id.clone()).collect(),
        changes,
        repairs: Vec::new(),
        remakes: Vec::new(),
        allows: allow.iter().collect::<BTreeSet<_>>().into_iter().cloned().collect(),
        deletes: None,
        digest: String::new(),
    };
    Ok(plan.identified())
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Residency(fault) => write!(f, "{fault}"),
            Self::Policy(violations) => {
                write!(f, "the template breaks {} rule(s):", violations.len())?;
                violations.iter().try_for_each(|v| write!(f, "\n  {v}"))
            }
            Self::Stateful(changes) => {
                write!(f, "data or access to data would be lost; name each resource to allow it:")?;
                changes.iter().try_for_each(|c| write!(f, "\n  {c}\n    --allow {}", c.logical_id))
            }
            Self::Terminal { stack, status } => {
                let code = leadline_domain::FaultCode::StackTerminal;
                write!(f, "stack {stack} is in {status}: no change set leads out of it; see docs/faults/{code}.md")
            }
        }
    }
}

impl std::error::Error for Refusal {}
