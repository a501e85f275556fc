//! The contracts of provisioning.

// The macro wants bodies that are never run, and makes constants that it does not document.
#![allow(clippy::unimplemented, missing_docs)]

use leadline_domain::gates::{Approver, Evidence, Gates, Request};
use leadline_domain::{EnvId, OrgId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use temporalio_common::ActivityError;
use temporalio_macros::activity_definitions;

/// A planned change of a stack, as the planner made it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StackPlan {
    /// Environment.
    pub env: EnvId,
    /// Organization; absent for the environment's own stack.
    pub org: Option<OrgId>,
    /// Stack name.
    pub stack: String,
    /// AWS region the stack belongs into.
    #[serde(default)]
    pub region: String,
    /// Template text.
    pub template: String,
    /// Stack tags.
    pub tags: BTreeMap<String, String>,
    /// Logical ids of the resources whose settings were changed outside leadline and are to be put back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub repairs: Vec<String>,
    /// Logical ids of the resources that are gone and are to be made again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remakes: Vec<String>,
    /// Logical ids of the resources that hold data, or access to data, and may be replaced, removed, or made again, empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allows: Vec<String>,
    /// Id of the certificate of the off-boarding after which everything is to be deleted; absent for anything else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletes: Option<String>,
    /// Digest of the plan, hexadecimal: of all above, and the account.
    pub digest: String,
}

/// A plan that someone asks to apply, and what speaks for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApplyInput {
    /// The plan.
    pub plan: StackPlan,
    /// Who asks.
    pub requested_by: String,
    /// Digest of what the plan was made from, the same in every environment; see [`Evidence::inputs`].
    #[serde(default)]
    pub inputs: String,
    /// What was collected in the environment that has to pass first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Evidence>,
    /// Signature of the evidence, as [`leadline_domain::gates::SignedEvidence`] has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
}

impl ApplyInput {
    /// What the gates are asked, with those who have agreed.
    #[must_use]
    pub fn request<'a>(&'a self, approvers: &'a [Approver]) -> Request<'a> {
        Request {
            digest: &self.plan.digest,
            organization: self.plan.org.is_some(),
            requested_by: &self.requested_by,
            evidence: self.evidence.as_ref(),
            approvers,
        }
    }
}

/// Somebody who wants something, by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operator {
    /// As whoever ran the command gave it.
    pub name: String,
}

/// A plan to carry out, with the people who agreed to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecuteInput {
    /// What was asked.
    pub apply: ApplyInput,
    /// Whether there is a change set to execute; otherwise the stack is as planned already.
    pub changes: bool,
    /// Who agreed.
    pub approvers: Vec<Approver>,
}

/// Where a change set stands, as the workflow needs it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prepared {
    /// The resources it touches, as `action type logical-id`, or that it touches none; empty if there is nothing to execute.
    pub changes: Vec<String>,
    /// The gates in front of the environment, as the worker's own configuration says them.
    pub gates: Option<Gates>,
}

/// Provisioning.
pub struct Provisioning;

#[activity_definitions]
impl Provisioning {
    /// Makes the change set of a plan and waits until it is computed.
    #[activity(name = "prepare_stack")]
    pub fn prepare_stack(_: StackPlan) -> Result<Prepared, ActivityError> {
        unimplemented!()
    }
    /// Executes the change set of a plan, if there is one, and follows the stack until the operation ends. Returns the
    /// outputs. Refuses a plan for which a gate is closed.
    #[activity(name = "execute_stack")]
    pub fn execute_stack(_: ExecuteInput) -> Result<BTreeMap<String, String>, ActivityError> {
        unimplemented!()
    }
    /// Deletes the change set of a plan that was not executed, and a stack that is nothing but that. Returns in words
    /// what stays.
    #[activity(name = "discard_stack")]
    pub fn discard_stack(_: StackPlan) -> Result<String, ActivityError> {
        unimplemented!()
    }
    /// Makes again what is gone, and puts back the settings that were changed outside leadline, of the resources that the plan
    /// names, to what its template says; looks again. Returns the places. Refuses a plan for which a gate is closed.
    #[activity(name = "restore_settings")]
    pub fn restore_settings(_: ExecuteInput) -> Result<Vec<String>, ActivityError> {
        unimplemented!()
    }
    /// Checks that the organization's role, bucket, key and secrets answer to the organization's own credentials.
    #[activity(name = "probe_organization")]
    pub fn probe_organization(_: OrgId) -> Result<Vec<String>, ActivityError> {
        unimplemented!()
    }
    /// Starts the watch of each share of an organization; one that runs is success. Returns their workflow ids.
    #[activity(name = "register_shares")]
    pub fn register_shares(_: OrgId) -> Result<Vec<String>, ActivityError> {
        unimplemented!()
    }
}

pub(super) mod definitions {
    pub use super::provisioning::*;
}
