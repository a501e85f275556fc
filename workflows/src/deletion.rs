//! The end of an off-boarding: when the time of retention is over, and after an approval of its own, everything goes that
//! object lock does not keep. Without that approval everything stays, however long it takes.

// The contracts have bodies that are never run, and constants that the macro does not document.
#![allow(clippy::unimplemented, missing_docs)]

use crate::contracts::StackPlan;
use crate::offboard::{Certificate, Kept, OffboardOrganization, step};
use crate::options::{follow, provisioning};
use crate::recording_lifecycle::now_ms;
use leadline_domain::gates::{self, Approver, GateState, Gates, Request};
use leadline_domain::{EnvId, Fault, FaultCode, OrgId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use temporalio_common::ActivityError;
use temporalio_macros::activity_definitions;
use temporalio_workflow::{WorkflowContext, WorkflowTermination};

/// The step in which the deletion waits for its own approval.
pub const WAITING_TO_DELETE: &str = "waiting for the approval of the deletion";

/// What is deleted, and what has to be agreed to before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeletionPlan {
    /// The change of the stack that opens the bucket; its digest is what an approval names.
    pub opening: StackPlan,
    /// What stands in front of it: never less than one person.
    pub gates: Gates,
}

/// Input of `plan_deletion`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeletionInput {
    /// Organization.
    pub org: OrgId,
    /// Id of the certificate of its off-boarding.
    pub certificate: String,
    /// Until when everything is held at least, milliseconds since 1970 UTC.
    pub kept_until_ms: i64,
}

/// Input of `open_bucket`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenInput {
    /// The plan.
    pub opening: StackPlan,
    /// Until when everything is held at least, milliseconds since 1970 UTC.
    pub kept_until_ms: i64,
    /// Who asked.
    pub requested_by: String,
    /// Who agreed.
    pub approvers: Vec<Approver>,
}

/// What a bucket holds, old versions and all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contents {
    /// Versions of objects.
    pub versions: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Delete markers.
    pub markers: u64,
    /// What the organization's other storages hold besides, by bucket.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub storages: BTreeMap<String, Contents>,
}

/// What object lock keeps.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Locked {
    /// Versions that are kept.
    pub versions: u64,
    /// Their bytes.
    pub bytes: u64,
    /// When the last lock ends, milliseconds since 1970 UTC; absent if there is none, or a legal hold without an end.
    pub until_ms: Option<i64>,
    /// Whether one is held without an end.
    pub legal_hold: bool,
    /// The first ones, as `key version`.
    pub named: Vec<String>,
}

/// Input of `dismantle`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DismantleInput {
    /// Organization.
    pub org: OrgId,
    /// What is locked: bucket and key stay for it.
    pub locked: Locked,
}

/// What went, and what stays.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dismantled {
    /// What went, in words.
    pub removed: Vec<String>,
    /// What stays, and why.
    pub kept: Vec<Kept>,
}

/// What was deleted, and what is left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeletionCertificate {
    /// Tells it from entries of other kinds.
    pub kind: String,
    /// Unique id.
    pub id: String,
    /// Environment.
    pub environment: EnvId,
    /// Organization.
    pub organization: OrgId,
    /// Id of the certificate of the off-boarding.
    pub offboarding: String,
    /// Digest of the plan that was agreed to.
    pub plan: String,
    /// Who asked.
    pub requested_by: String,
    /// Who agreed.
    pub approvers: Vec<Approver>,
    /// When the bucket was opened, milliseconds since 1970 UTC.
    pub opened_ms: i64,
    /// When all was done.
    pub deleted_ms: i64,
    /// What the bucket held when it was opened.
    pub held: Contents,
    /// What object lock kept of it.
    pub locked: Locked,
    /// What went, in words.
    pub removed: Vec<String>,
    /// What is left, and why.
    pub kept: Vec<Kept>,
}

/// The steps.
pub struct Deletions;

#[activity_definitions]
impl Deletions {
    /// What deleting means here, as the worker's own configuration says it.
    #[activity(name = "plan_deletion")]
    pub fn plan_deletion(_: DeletionInput) -> Result<DeletionPlan, ActivityError> {
        unimplemented!()
    }
    /// Changes the stack so that the bucket can be emptied. Refuses it without an approval, or too early.
    #[activity(name = "open_bucket")]
    pub fn open_bucket(_: OpenInput) -> Result<(), ActivityError> {
        unimplemented!()
    }
    /// Counts what the bucket holds, and those of the organization's other storages.
    #[activity(name = "count_contents")]
    pub fn count_contents(_: OrgId) -> Result<Contents, ActivityError> {
        unimplemented!()
    }
    /// Deletes every version that is not locked, in the other storages too. Returns what is locked.
    #[activity(name = "delete_contents")]
    pub fn delete_contents(_: OrgId) -> Result<Locked, ActivityError> {
        unimplemented!()
    }
    /// Deletes the stack, and what it leaves behind: secrets; the buckets of other storages; key and bucket, unless something
    /// is locked.
    #[activity(name = "dismantle")]
    pub fn dismantle(_: DismantleInput) -> Result<Dismantled, ActivityError> {
        unimplemented!()
    }
    /// Puts a certificate on the audit queue.
    #[activity(name = "record_deletion")]
    pub fn record_deletion(_: DeletionCertificate) -> Result<(), ActivityError> {
        unimplemented!()
    }
}

/// The definitions themselves, for whoever implements them.
pub mod definitions {
    pub use super::deletions::*;
}

/// The gates of a deletion: as many people as an apply needs there, and never nobody.
#[must_use]
pub fn deletion_gates(env: &EnvId, gates: Option<&Gates>) -> Gates {
    match gates {
        Some(g) => Gates { approvals: g.approvals.max(1), ..g.clone() },
        None => Gates {
            from: env.clone(),
            canary_within_h: 0,
            probes_within_h: 0,
            replay_clean: false,
            approvals: 1,
            four_eyes: false,
            evidence_key: None,
        },
    }
}

/// What the gates of a deletion are asked. Nothing comes in, so that no evidence from elsewhere is: people decide.
#[must_use]
pub fn deletion_request<'a>(digest: &'a str, requested_by: &'a str, approvers: &'a [Approver]) -> Request<'a> {
    Request { digest, organization: false, requested_by, evidence: None, approvers }
}

fn states(o: &OffboardOrganization, now_ms: i64) -> Vec<GateState> {
    let Some(plan) = &o.deletion else { return Vec::new() };
    let request = deletion_request(&plan.opening.digest, &o.input.requested_by, &o.status.deletion_approvers);
    gates::states(&plan.gates, &request, now_ms)
}

/// Whether someone may agree to the deletion.
pub(crate) fn may_approve(o: &OffboardOrganization, approver: &Approver) -> Result<(), Fault> {
    let refused = |why: String| Fault::new(FaultCode::ApprovalRefused, why);
    let plan = o.deletion.as_ref().ok_or_else(|| refused("no deletion waits for an approval".into()))?;
    gates::may_approve(&plan.gates, &o.input.requested_by, &plan.opening.digest, approver).map_err(refused)
}

/// Waits for the people, and deletes. `None`: somebody wants it to stay.
pub(crate) async fn delete(
    ctx: &mut WorkflowContext<OffboardOrganization>,
    certificate: &Certificate,
) -> Result<Option<DeletionCertificate>, WorkflowTermination> {
    let input = DeletionInput {
        org: certificate.organization.clone(),
        certificate: certificate.id.clone(),
        kept_until_ms: certificate.kept_until_ms,
    };
    let plan = step!(
        ctx,
        "planning the deletion",
        ctx.execute_activity(Deletions::plan_deletion, input.clone(), provisioning())
    );
    ctx.state_mut(|s| {
        s.status.deletion_plan.clone_from(&plan.opening.digest);
        s.deletion = Some(plan.clone());
    });
    loop {
        let all = ctx.state(|s| states(s, now_ms(ctx)));
        ctx.state_mut(|s| s.status.gates.clone_from(&all));
        if all.iter().all(|s| s.open) {
            break;
        }
        ctx.state_mut(|s| s.status.step = WAITING_TO_DELETE.to_owned());
        ctx.set_current_details(WAITING_TO_DELETE);
        let known = ctx.state(|s| s.status.deletion_approvers.len());
        ctx.wait_condition(move |s| s.status.deletion_approvers.len() > known || s.status.kept_by.is_some()).await?;
        if ctx.state(|s| s.status.kept_by.is_some()) {
            return Ok(None);
        }
    }
    let open = ctx.state(|s| OpenInput {
        opening: plan.opening.clone(),
        kept_until_ms: certificate.kept_until_ms,
        requested_by: s.input.requested_by.clone(),
        approvers: s.status.deletion_approvers.clone(),
    });
    step!(ctx, "opening the bucket for deletion", ctx.execute_activity(Deletions::open_bucket, open.clone(), follow()));
    let opened_ms = now_ms(ctx);
    let org = certificate.organization.clone();
    let held = step!(
        ctx,
        "counting what the bucket holds",
        ctx.execute_activity(Deletions::count_contents, org.clone(), follow())
    );
    let locked = step!(
        ctx,
        "deleting what is not locked",
        ctx.execute_activity(Deletions::delete_contents, org.clone(), follow())
    );
    let input = DismantleInput { org: org.clone(), locked: locked.clone() };
    let done = step!(
        ctx,
        "deleting the stack and what it leaves",
        ctx.execute_activity(Deletions::dismantle, input.clone(), follow())
    );
    let what = |versions: u64, bytes: u64, markers: u64| {
        format!("{versions} versions of objects, {bytes} bytes, and {markers} delete markers")
    };
    let (versions, bytes) = (held.versions.saturating_sub(locked.versions), held.bytes.saturating_sub(locked.bytes));
    let mut removed = vec![what(versions, bytes, held.markers)];
    let others = held.storages.iter();
    removed.extend(others.map(|(bucket, c)| format!("{} in bucket {bucket}", what(c.versions, c.bytes, c.markers))));
    removed.extend(done.removed);
    let deletion = DeletionCertificate {
        kind: "deletion".into(),
        id: format!("{}-deletion", certificate.id),
        environment: certificate.environment.clone(),
        organization: org,
        offboarding: certificate.id.clone(),
        plan: plan.opening.digest.clone(),
        requested_by: certificate.requested_by.clone(),
        approvers: open.approvers.clone(),
        opened_ms,
        deleted_ms: now_ms(ctx),
        held,
        locked,
        removed,
        kept: done.kept,
    };
    step!(
        ctx,
        "recording the certificate of deletion",
        ctx.execute_activity(Deletions::record_deletion, deletion.clone(), provisioning())
    );
    ctx.state_mut(|s| s.status.deletion = Some(deletion.clone()));
    Ok(Some(deletion))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env() -> EnvId {
        EnvId::parse("test").unwrap()
    }

    #[test]
    fn a_deletion_always_needs_somebody() {
        let open = deletion_gates(&env(), None);
        assert_eq!(open.approvals, 1);
        let none = Gates { approvals: 0, four_eyes: true, ..open.clone() };
        let some = deletion_gates(&env(), Some(&none));
        assert_eq!((some.approvals, some.four_eyes), (1, true));
        assert_eq!(deletion_gates(&env(), Some(&Gates { approvals: 3, ..open.clone() })).approvals, 3);
        let ann = [Approver { name: "ann".into(), digest: "d".into() }];
        for (approvers, may) in [(&ann[..0], false), (&ann[..], true)] {
            let states = gates::states(&open, &deletion_request("d", "ann", approvers), 0);
            assert_eq!(gates::fault(&states).is_none(), may);
        }
        let states = gates::states(&some, &deletion_request("d", "ann", &ann), 0);
        assert!(gates::fault(&states).is_some(), "not by whoever asked, where four eyes are wanted");
    }
}
