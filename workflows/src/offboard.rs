//! OffboardOrganization: an organization leaves an environment. Its watches end after a last listing, what is under way
//! is carried to its end, what there is is listed in the organization's own bucket, and everything is held for the time
//! of retention. Then it waits for a second approval, without which nothing is deleted (see [`crate::deletion`]).

// The workflow macros make constants that they do not document, and the contracts have bodies that are never run.
#![allow(clippy::unimplemented, missing_docs)]

use crate::apply::patience;
use crate::checks::failed;
use crate::contracts::{Operator, WatchInput};
use crate::deletion::{DeletionCertificate, DeletionPlan, WAITING_TO_DELETE, delete};
use crate::options::{follow, provisioning};
use crate::recording_lifecycle::{fired, now_ms};
use leadline_domain::gates::{self, Approver, GateState, Request};
use leadline_domain::{Fault, FaultClass, FaultCode, OrgId};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use temporalio_common::ActivityError;
use temporalio_macros::{activity_definitions, workflow, workflow_methods};
use temporalio_workflow::{
    SyncWorkflowContext, WorkflowContext, WorkflowContextView, WorkflowResult, WorkflowTermination, select,
};

/// Waiting times between two looks at what is still under way.
const LOOK_FIRST: Duration = Duration::from_secs(2);
const LOOK_MOST: Duration = Duration::from_secs(300);
/// So many ids of what is under way are told and shown: a history has no room for thousands at every look.
pub const SHOWN: usize = 50;
const DAY_MS: i64 = 24 * 3600 * 1000;

pub use crate::leaving::{
    Certificate, ExportInput, ExportPart, Kept, OffboardInput, OffboardPlan, OffboardStatus, UnderWay, WatchEnd,
};

/// The steps.
pub struct Offboardings;

#[activity_definitions]
impl Offboardings {
    /// What off-boarding an organization means here.
    #[activity(name = "plan_offboarding")]
    pub fn plan_offboarding(_: OrgId) -> Result<OffboardPlan, ActivityError> {
        unimplemented!()
    }
    /// Lists a share once more, takes up what is there, and ends its watch. One that has ended is success.
    #[activity(name = "end_watch")]
    pub fn end_watch(_: WatchInput) -> Result<WatchEnd, ActivityError> {
        unimplemented!()
    }
    /// The lifecycles and batches of an organization that are under way.
    #[activity(name = "under_way")]
    pub fn under_way(_: OrgId) -> Result<UnderWay, ActivityError> {
        unimplemented!()
    }
    /// Ends what is looked at again and again, and what else runs for an organization. Returns what that was.
    #[activity(name = "end_checks")]
    pub fn end_checks(_: OrgId) -> Result<Vec<String>, ActivityError> {
        unimplemented!()
    }
    /// Writes lists of all recordings into the organization's bucket.
    #[activity(name = "export_recordings")]
    pub fn export_recordings(_: ExportInput) -> Result<Vec<ExportPart>, ActivityError> {
        unimplemented!()
    }
    /// Puts a certificate on the audit queue.
    #[activity(name = "record_certificate")]
    pub fn record_certificate(_: Certificate) -> Result<(), ActivityError> {
        unimplemented!()
    }
}

/// The definitions themselves, for whoever implements them.
pub mod definitions {
    pub use super::offboardings::*;
}

/// See the module.
#[workflow]
pub struct OffboardOrganization {
    pub(crate) input: OffboardInput,
    plan: Option<OffboardPlan>,
    pub(crate) deletion: Option<DeletionPlan>,
    pub(crate) status: OffboardStatus,
    pub(crate) resumes: u32,
    /// How often it has waited for the same in a row.
    pauses: u32,
}

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offboarded {
    /// What was done, and what was held.
    pub certificate: Certificate,
    /// What was deleted; absent if somebody wanted everything to stay.
    pub deletion: Option<DeletionCertificate>,
}

/// Repeats a step until it succeeds: transient faults inside Temporal's own retries, others after a pause or when a
/// human says `resume`.
macro_rules! step {
    ($ctx:ident, $words:literal, $call:expr) => {{
        loop {
            $ctx.state_mut(|s| s.status.step = $words.to_owned());
            let seen = $ctx.state(|s| s.resumes);
            match $call.await {
                Ok(v) => {
                    $ctx.state_mut(|s| s.status.paused = None);
                    break v;
                }
                Err(e) => crate::offboard::pause($ctx, seen, crate::options::fault_of(&e)).await?,
            }
        }
    }};
}
pub(crate) use step;

/// `seen` is how often somebody had said `resume` when the step began: see [`crate::apply::pause`].
pub(crate) async fn pause(
    ctx: &mut WorkflowContext<OffboardOrganization>,
    seen: u32,
    fault: Fault,
) -> Result<(), WorkflowTermination> {
    if fault.class() == FaultClass::Rejected {
        return Err(failed(fault));
    }
    ctx.set_current_details(format!("waiting: {fault}"));
    let wait = ctx.state_mut(|s| patience(&mut s.status.paused, fault, &mut s.pauses));
    woken(ctx, wait, seen).await?;
    unless_kept(ctx)
}

/// Ends the workflow if somebody wants everything to stay. What has ended, such as a watch, has ended.
fn unless_kept(ctx: &mut WorkflowContext<OffboardOrganization>) -> Result<(), WorkflowTermination> {
    let Some(who) = ctx.state(|s| s.status.kept_by.clone()) else { return Ok(()) };
    let step = ctx.state(|s| s.status.step.clone());
    ctx.state_mut(|s| {
        s.status.step = STAYS.to_owned();
        s.status.paused = None;
    });
    let detail = format!("cancelled by {who} at the step \"{step}\"; nothing is deleted");
    Err(failed(Fault::new(FaultCode::ApplyCancelled, detail)))
}

/// A while, or until a human says that it can go on.
async fn woken(
    ctx: &mut WorkflowContext<OffboardOrganization>,
    wait: Duration,
    seen: u32,
) -> Result<(), WorkflowTermination> {
    select! {
        t = ctx.timer(wait) => fired(&t),
        r = ctx.wait_condition(move |s| s.resumes > seen || s.status.kept_by.is_some()) => Ok(r?),
    }
}

impl OffboardOrganization {
    fn gate_states(&self, now_ms: i64) -> Vec<GateState> {
        let Some(plan) = &self.plan else { return Vec::new() };
        // Nothing comes in, so that no evidence from another environment is asked for: people decide.
        let request = Request {
            digest: &plan.digest,
            organization: false,
            requested_by: &self.input.requested_by,
            evidence: None,
            approvers: &self.status.approvers,
        };
        plan.gates.as_ref().map(|g| gates::states(g, &request, now_ms)).unwrap_or_default()
    }

    fn may(&self, approver: &Approver) -> Result<(), Fault> {
        if self.status.step == WAITING_TO_DELETE {
            return crate::deletion::may_approve(self, approver);
        }
        let refused = |why: String| Fault::new(FaultCode::ApprovalRefused, why);
        let waits = self.status.step == WAITING;
        let Some((plan, gates)) = self.plan.as_ref().filter(|_| waits).and_then(|p| Some((p, p.gates.as_ref()?)))
        else {
            return Err(refused("this off-boarding does not wait for an approval".into()));
        };
        gates::may_approve(gates, &self.input.requested_by, &plan.digest, approver).map_err(refused)
    }
}

/// Whether somebody may want everything to stay: while it waits or holds, and until the deletion is agreed to.
fn may_keep(status: &OffboardStatus, who: &str) -> Result<(), Fault> {
    let refused = |why: &str| Err(Fault::new(FaultCode::ApplyNotCancelled, why));
    if who.trim().is_empty() {
        return refused("it needs a name");
    }
    match status.step.as_str() {
        WAITING | HOLDING | WAITING_TO_DELETE => Ok(()),
        _ if status.paused.is_some() && status.deletion_approvers.is_empty() => Ok(()),
        _ => refused(
            "the off-boarding is at work, or the deletion was agreed to: it can be ended while it waits, or holds",
        ),
    }
}

/// The step in which approvals are taken.
pub const WAITING: &str = "waiting for approval";
/// What ends as nothing but a certificate, or as nothing at all, because somebody wants it to stay.
const STAYS: &str = "ended: everything stays";
/// The step in which everything is held.
pub const HOLDING: &str = "holding for the time of retention";

async fn approved(ctx: &mut WorkflowContext<OffboardOrganization>) -> Result<(), WorkflowTermination> {
    loop {
        let states = ctx.state(|s| s.gate_states(now_ms(ctx)));
        ctx.state_mut(|s| s.status.gates.clone_from(&states));
        if states.iter().all(|s| s.open) {
            return Ok(());
        }
        ctx.state_mut(|s| s.status.step = WAITING.to_owned());
        ctx.set_current_details(WAITING);
        let known = ctx.state(|s| s.status.approvers.len());
        ctx.wait_condition(move |s| s.status.approvers.len() > known || s.status.kept_by.is_some()).await?;
        unless_kept(ctx)?;
    }
}

/// Waits until nothing is under way: twice in a row, because what was started a moment ago is not listed yet.
async fn drain(ctx: &mut WorkflowContext<OffboardOrganization>) -> Result<(), WorkflowTermination> {
    let org = ctx.state(|s| s.input.org.clone());
    let (mut wait, mut empty) = (LOOK_FIRST, 0);
    loop {
        let seen = ctx.state(|s| s.resumes);
        let there = step!(
            ctx,
            "waiting for what is under way",
            ctx.execute_activity(Offboardings::under_way, org.clone(), provisioning())
        );
        empty = if there.count == 0 { empty + 1 } else { 0 };
        ctx.state_mut(|s| {
            s.status.waiting_count = there.count;
            s.status.waiting = there.first.into_iter().take(SHOWN).collect();
        });
        match empty {
            0 => {
                woken(ctx, wait, seen).await?;
                wait = (wait * 2).min(LOOK_MOST);
            }
            1 => {
                fired(&ctx.timer(LOOK_FIRST).await)?;
            }
            _ => return Ok(()),
        }
    }
}

fn kept(plan: &OffboardPlan) -> Vec<Kept> {
    let of = |what: String, why: &str| Kept { what, why: why.into() };
    vec![
        of(format!("bucket {} with all recordings, markers and ledger", plan.bucket), "held for retention"),
        of(
            format!("stack {} with role, key and secrets", plan.stack),
            "needed to read what is held; deleted after the time of retention by an approval of its own",
        ),
    ]
}

#[workflow_methods]
impl OffboardOrganization {
    #[init]
    fn new(_ctx: &WorkflowContextView, input: OffboardInput) -> Self {
        let status = OffboardStatus { requested_by: input.requested_by.clone(), ..OffboardStatus::default() };
        Self { input, plan: None, deletion: None, status, resumes: 0, pauses: 0 }
    }

    /// Runs until everything is deleted after the time of retention, or somebody wants it to stay.
    #[run(name = "OffboardOrganization")]
    pub async fn run(ctx: &mut WorkflowContext<Self>) -> WorkflowResult<Offboarded> {
        let began_ms = now_ms(ctx);
        let input = ctx.state(|s| s.input.clone());
        let plan = step!(
            ctx,
            "planning",
            ctx.execute_activity(Offboardings::plan_offboarding, input.org.clone(), provisioning())
        );
        ctx.state_mut(|s| {
            s.status.plan.clone_from(&plan.digest);
            s.plan = Some(plan.clone());
        });
        approved(ctx).await?;
        let mut watches = Vec::new();
        for share in &plan.shares {
            let watch = WatchInput { org: input.org.clone(), share: share.clone() };
            watches.push(step!(
                ctx,
                "listing shares for the last time and ending their watches",
                ctx.execute_activity(Offboardings::end_watch, watch.clone(), follow())
            ));
        }
        let ended = step!(
            ctx,
            "ending the checks and what else runs",
            ctx.execute_activity(Offboardings::end_checks, input.org.clone(), provisioning())
        );
        drain(ctx).await?;
        let drained_ms = now_ms(ctx);
        let id = ctx.run_id().to_owned();
        let export = ExportInput { org: input.org.clone(), name: id.clone() };
        let exports = step!(
            ctx,
            "listing the recordings in the organization's bucket",
            ctx.execute_activity(Offboardings::export_recordings, export.clone(), follow())
        );
        let exported_ms = now_ms(ctx);
        let certificate = Certificate {
            kind: "offboarding".into(),
            id,
            environment: input.env.clone(),
            organization: input.org.clone(),
            plan: plan.digest.clone(),
            requested_by: input.requested_by.clone(),
            approvers: ctx.state(|s| s.status.approvers.clone()),
            began_ms,
            drained_ms,
            exported_ms,
            kept_until_ms: exported_ms.saturating_add(i64::from(plan.retention_days).saturating_mul(DAY_MS)),
            removed: watches.iter().map(|w| format!("watch of share {}", w.share)).chain(ended).collect(),
            watches,
            recordings: exports.iter().map(|e| e.recordings).sum(),
            bytes: exports.iter().map(|e| e.bytes).sum(),
            exports,
            kept: kept(&plan),
        };
        step!(
            ctx,
            "recording the certificate",
            ctx.execute_activity(Offboardings::record_certificate, certificate.clone(), provisioning())
        );
        ctx.state_mut(|s| {
            s.status.certificate = Some(certificate.clone());
            s.status.step = HOLDING.to_owned();
        });
        ctx.set_current_details(HOLDING);
        if plan.retention_days > 0 {
            select! {
                t = ctx.timer(Duration::from_secs(u64::from(plan.retention_days) * 24 * 3600)) => fired(&t)?,
                r = ctx.wait_condition(|s| s.status.kept_by.is_some()) => r?,
            }
        }
        let stays = ctx.state(|s| s.status.kept_by.is_some());
        let deletion = if stays { None } else { delete(ctx, &certificate).await? };
        let end = if deletion.is_some() { "done" } else { STAYS };
        ctx.state_mut(|s| s.status.step = end.to_owned());
        Ok(Offboarded { certificate, deletion })
    }

    /// What blocked it is mended: go on.
    #[signal]
    pub fn resume(&mut self, _ctx: &mut SyncWorkflowContext<Self>) {
        self.resumes = self.resumes.saturating_add(1);
        self.pauses = 0;
    }

    /// Where it stands.
    #[query]
    pub fn status(&self, _ctx: &WorkflowContextView) -> OffboardStatus {
        self.status.clone()
    }

    /// Someone agrees.
    #[update]
    pub fn approve(&mut self, _ctx: &mut SyncWorkflowContext<Self>, approver: Approver) -> Vec<GateState> {
        if self.status.step == WAITING_TO_DELETE {
            self.status.deletion_approvers.push(approver);
        } else {
            self.status.approvers.push(approver);
        }
        self.status.gates.clone()
    }

    /// Somebody, by name, wants everything to stay as it is.
    #[update]
    pub fn keep(&mut self, _ctx: &mut SyncWorkflowContext<Self>, who: Operator) -> OffboardStatus {
        self.status.kept_by = Some(who.name.trim().to_owned());
        self.status.clone()
    }

    /// Refuses it without a name, and once it is at work.
    #[update_validator(keep)]
    fn may_keep(
        &self,
        _ctx: &WorkflowContextView,
        who: &Operator,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        may_keep(&self.status, &who.name).map_err(|f| f.to_string().into())
    }

    /// Refuses an approval of something else, or by whoever asked.
    #[update_validator(approve)]
    fn may_approve(
        &self,
        _ctx: &WorkflowContextView,
        approver: &Approver,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        self.may(approver).map_err(|f| f.to_string().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_can_be_ended_until_the_deletion_is_agreed_to() {
        let at = |step: &str| OffboardStatus { step: step.into(), ..OffboardStatus::default() };
        for step in [WAITING, HOLDING, WAITING_TO_DELETE] {
            assert_eq!(may_keep(&at(step), "ann"), Ok(()), "{step}");
            assert!(may_keep(&at(step), "  ").is_err(), "without a name");
        }
        let mut works = at("deleting what is not locked");
        assert!(may_keep(&works, "ann").is_err());
        works.paused = Some(Fault::new(FaultCode::StoreAccessDenied, "x"));
        assert_eq!(may_keep(&works, "ann"), Ok(()), "it waits for a human");
        works.deletion_approvers.push(Approver { name: "bob".into(), digest: "d".into() });
        assert_eq!(may_keep(&works, "ann").unwrap_err().code, FaultCode::ApplyNotCancelled);
    }
}
