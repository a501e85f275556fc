//! Provisioning as workflows: change set, execute, follow, outputs, probes, shares.

// The workflow macros make constants that they do not document.
#![allow(missing_docs)]

use crate::apply::{Apply, Applying, apply_stack, applying, finish, prove_isolation, schedule_checks, step};
use crate::contracts::{ApplyInput, Provisioning};
use crate::options::provisioning;
use leadline_domain::gates::{Approver, GateState};
use temporalio_macros::{workflow, workflow_methods};
use temporalio_workflow::{SyncWorkflowContext, WorkflowContext, WorkflowContextView, WorkflowResult};

pub use crate::apply::{ApplyStatus, WAITING};

/// Brings the stack of an environment to its plan.
#[workflow]
pub struct ApplyEnvironment {
    apply: Apply,
}
applying!(ApplyEnvironment);

/// Brings an organization into an environment: stack, probes, watches.
#[workflow]
pub struct OnboardOrganization {
    apply: Apply,
}
applying!(OnboardOrganization);

#[workflow_methods]
impl ApplyEnvironment {
    #[init]
    fn new(_ctx: &WorkflowContextView, input: ApplyInput) -> Self {
        Self { apply: Apply::new(input) }
    }

    /// Runs until the stack is as planned.
    #[run(name = "ApplyEnvironment")]
    pub async fn run(ctx: &mut WorkflowContext<Self>) -> WorkflowResult<ApplyStatus> {
        apply_stack(ctx).await?;
        schedule_checks(ctx, None).await?;
        Ok(finish(ctx))
    }

    /// What blocked it is mended: go on.
    #[signal]
    pub fn resume(&mut self, _ctx: &mut SyncWorkflowContext<Self>) {
        self.apply.resume();
    }

    /// Where it stands.
    #[query]
    pub fn status(&self, _ctx: &WorkflowContextView) -> ApplyStatus {
        self.apply.status.clone()
    }

    /// Someone agrees to the plan that waits.
    #[update]
    pub fn approve(&mut self, _ctx: &mut SyncWorkflowContext<Self>, approver: Approver) -> Vec<GateState> {
        self.apply.approve(approver)
    }

    /// Refuses an approval of another plan, or by whoever asked.
    #[update_validator(approve)]
    fn may_approve(
        &self,
        _ctx: &WorkflowContextView,
        approver: &Approver,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        self.apply.may_approve(approver).map_err(|f| f.to_string().into())
    }

    /// Somebody, by name, wants no more of it. Takes effect before the next step.
    #[update]
    pub fn cancel(&mut self, _ctx: &mut SyncWorkflowContext<Self>, who: String) -> ApplyStatus {
        self.apply.cancel(&who)
    }

    /// Refuses it while CloudFormation is at work, and without a name.
    #[update_validator(cancel)]
    fn may_cancel(
        &self,
        _ctx: &WorkflowContextView,
        who: &String,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        self.apply.may_cancel(who).map_err(|f| f.to_string().into())
    }
}

#[workflow_methods]
impl OnboardOrganization {
    #[init]
    fn new(_ctx: &WorkflowContextView, input: ApplyInput) -> Self {
        Self { apply: Apply::new(input) }
    }

    /// Runs until the organization's files are being watched.
    #[run(name = "OnboardOrganization")]
    pub async fn run(ctx: &mut WorkflowContext<Self>) -> WorkflowResult<ApplyStatus> {
        apply_stack(ctx).await?;
        if let Some(org) = ctx.state(|s| s.apply.input.plan.org.clone()) {
            let probes = step!(
                ctx,
                "probing with the organization's own credentials",
                ctx.execute_activity(Provisioning::probe_organization, org.clone(), provisioning())
            );
            ctx.state_mut(|s| s.status().probes = probes);
            prove_isolation(ctx, &org).await?;
            let watches = step!(
                ctx,
                "registering shares",
                ctx.execute_activity(Provisioning::register_shares, org.clone(), provisioning())
            );
            ctx.state_mut(|s| s.status().watches = watches);
            schedule_checks(ctx, Some(org)).await?;
        }
        Ok(finish(ctx))
    }

    /// What blocked it is mended: go on.
    #[signal]
    pub fn resume(&mut self, _ctx: &mut SyncWorkflowContext<Self>) {
        self.apply.resume();
    }

    /// Where it stands.
    #[query]
    pub fn status(&self, _ctx: &WorkflowContextView) -> ApplyStatus {
        self.apply.status.clone()
    }

    /// Someone agrees to the plan that waits.
    #[update]
    pub fn approve(&mut self, _ctx: &mut SyncWorkflowContext<Self>, approver: Approver) -> Vec<GateState> {
        self.apply.approve(approver)
    }

    /// Refuses an approval of another plan, or by whoever asked.
    #[update_validator(approve)]
    fn may_approve(
        &self,
        _ctx: &WorkflowContextView,
        approver: &Approver,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        self.apply.may_approve(approver).map_err(|f| f.to_string().into())
    }

    /// Somebody, by name, wants no more of it. Takes effect before the next step.
    #[update]
    pub fn cancel(&mut self, _ctx: &mut SyncWorkflowContext<Self>, who: String) -> ApplyStatus {
        self.apply.cancel(&who)
    }

    /// Refuses it while CloudFormation is at work, and without a name.
    #[update_validator(cancel)]
    fn may_cancel(
        &self,
        _ctx: &WorkflowContextView,
        who: &String,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        self.apply.may_cancel(who).map_err(|f| f.to_string().into())
    }
}
