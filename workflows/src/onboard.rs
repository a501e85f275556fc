//! Provisioning as workflows: change set, execute, follow, outputs, probes, shares.

// The workflow macros make constants that they do not document.
#![allow(missing_docs)]

use crate::apply::{Apply, Applying, apply_stack, applying, finish, prove_isolation, schedule_checks, step};
use crate::contracts::{ApplyInput, Operator, Provisioning};
use crate::options::provisioning;
use leadline_domain::gates::{Approver, GateState};
use temporalio_macros::{workflow, workflow_methods};
use temporalio_workflow::{SyncWorkflowContext, WorkflowContext, WorkflowContextView, WorkflowResult};

pub use crate::apply::{ApplyStatus, WAITING};

/// A workflow that carries a plan out by `$steps`. All of them answer to the same names, so a handle of any of them is one
/// of every other.
macro_rules! carries_out {
    ($(#[$doc:meta])* $name:ident, $type:literal, $steps:ident) => {
        $(#[$doc])*
        #[workflow]
        pub struct $name {
            apply: Apply,
        }
        applying!($name);

        #[workflow_methods]
        impl $name {
            #[init]
            fn new(_ctx: &WorkflowContextView, input: ApplyInput) -> Self {
                Self { apply: Apply::new(input) }
            }

            /// Runs until everything is as planned.
            #[run(name = $type)]
            pub async fn run(ctx: &mut WorkflowContext<Self>) -> WorkflowResult<ApplyStatus> {
                $steps(ctx).await
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
            pub fn cancel(&mut self, _ctx: &mut SyncWorkflowContext<Self>, who: Operator) -> ApplyStatus {
                self.apply.cancel(&who.name)
            }

            /// Refuses it while CloudFormation is at work, and without a name.
            #[update_validator(cancel)]
            fn may_cancel(
                &self,
                _ctx: &WorkflowContextView,
                who: &Operator,
            ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
                self.apply.may_cancel(&who.name).map_err(|f| f.to_string().into())
            }
        }
    };
}

carries_out! {
    /// Brings the stack of an environment to its plan, whether it is there or not.
    UpdateEnvironment, "UpdateEnvironment", environment
}
carries_out! {
    /// Brings an organization into an environment: stack, probes, watches.
    OnboardOrganization, "OnboardOrganization", organization
}
carries_out! {
    /// Brings an organization whose stack is there to another plan, by the steps of [`OnboardOrganization`]: what is new
    /// and what is changed differ in their change set only.
    UpdateOrganization, "UpdateOrganization", organization
}

async fn environment<W: Applying + 'static>(ctx: &mut WorkflowContext<W>) -> WorkflowResult<ApplyStatus> {
    apply_stack(ctx).await?;
    schedule_checks(ctx, None).await?;
    Ok(finish(ctx))
}

async fn organization<W: Applying + 'static>(ctx: &mut WorkflowContext<W>) -> WorkflowResult<ApplyStatus> {
    apply_stack(ctx).await?;
    if let Some(org) = ctx.state(|s| s.apply().input.plan.org.clone()) {
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
