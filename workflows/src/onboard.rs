//! Provisioning as workflows: change set, execute, follow, outputs, probes, shares.

// The workflow macros make constants that they do not document.
#![allow(missing_docs)]

use crate::checks::{Checking, DriftInput, failed, prove};
use crate::contracts::{Prepared, Provisioning, StackPlan};
use crate::options::{fault_of, follow, provisioning};
use leadline_domain::{Fault, FaultClass, FaultCode, OrgId, ProbeReport};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;
use temporalio_macros::{workflow, workflow_methods};
use temporalio_workflow::{
    ActivityExecutionError, SyncWorkflowContext, WorkflowContext, WorkflowContextView, WorkflowResult, select,
};

/// Where an apply stands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApplyStatus {
    /// Digest of the plan that is being applied, hexadecimal.
    #[serde(default)]
    pub plan: String,
    /// The step under way, in words.
    pub step: String,
    /// What it waits for, if a human has to mend something.
    pub paused: Option<Fault>,
    /// Resources the change set touches.
    pub changes: Vec<String>,
    /// Outputs of the stack, once known.
    pub outputs: BTreeMap<String, String>,
    /// What the probes found, once they ran.
    pub probes: Vec<String>,
    /// What the isolation probe found, once it ran.
    #[serde(default)]
    pub isolation: Option<ProbeReport>,
    /// Workflow ids of the watches of the shares, once registered.
    pub watches: Vec<String>,
    /// Schedules of the checks, once made.
    #[serde(default)]
    pub schedules: Vec<String>,
}

/// How often a step that waits for a human is tried again unasked.
const PAUSE: Duration = Duration::from_secs(60);

trait Applying {
    fn status(&mut self) -> &mut ApplyStatus;
    fn resumes(&self) -> u32;
}

macro_rules! applying {
    ($t:ident) => {
        impl Applying for $t {
            fn status(&mut self) -> &mut ApplyStatus {
                &mut self.status
            }
            fn resumes(&self) -> u32 {
                self.resumes
            }
        }
    };
}

/// Brings the stack of an environment to its plan.
#[workflow]
pub struct ApplyEnvironment {
    plan: StackPlan,
    status: ApplyStatus,
    resumes: u32,
}
applying!(ApplyEnvironment);

/// Brings an organization into an environment: stack, probes, watches.
#[workflow]
pub struct OnboardOrganization {
    plan: StackPlan,
    status: ApplyStatus,
    resumes: u32,
}
applying!(OnboardOrganization);

/// Repeats a step until it succeeds: transient faults inside Temporal's own retries, others after a pause or when a
/// human says `resume`.
macro_rules! step {
    ($ctx:ident, $words:literal, $call:expr) => {{
        loop {
            $ctx.state_mut(|s| s.status().step = $words.to_owned());
            match $call.await {
                Ok(v) => {
                    $ctx.state_mut(|s| s.status().paused = None);
                    break v;
                }
                Err(e) => pause($ctx, &e).await?,
            }
        }
    }};
}

/// Waits for a human. A rejected plan ends the workflow: nobody can mend it but by planning again.
async fn pause<W: Applying + 'static>(
    ctx: &mut WorkflowContext<W>,
    e: &ActivityExecutionError,
) -> Result<(), temporalio_workflow::WorkflowTermination> {
    pause_on(ctx, fault_of(e)).await
}

async fn pause_on<W: Applying + 'static>(
    ctx: &mut WorkflowContext<W>,
    fault: Fault,
) -> Result<(), temporalio_workflow::WorkflowTermination> {
    if fault.class() == FaultClass::Rejected {
        return Err(failed(fault));
    }
    let seen = ctx.state(Applying::resumes);
    ctx.state_mut(|s| s.status().paused = Some(fault.clone()));
    ctx.set_current_details(format!("waiting: {fault}"));
    // What reaches another organization's resources is not tried again unasked: somebody has to have seen it.
    if fault.code == FaultCode::IsolationBroken {
        ctx.wait_condition(move |s| s.resumes() > seen).await?;
        return Ok(());
    }
    select! {
        _ = ctx.timer(PAUSE) => {}
        _ = ctx.wait_condition(move |s| s.resumes() > seen) => {}
    }
    Ok(())
}

/// Proves that the organization's credentials reach its own and nothing else; goes no further until they do.
async fn prove_isolation<W: Applying + 'static>(
    ctx: &mut WorkflowContext<W>,
    org: &OrgId,
) -> Result<(), temporalio_workflow::WorkflowTermination> {
    loop {
        ctx.state_mut(|s| s.status().step = "proving isolation from every other organization".to_owned());
        let fault = match prove(ctx, org).await {
            Ok(report) => {
                let fault = report.fault();
                ctx.state_mut(|s| s.status().isolation = Some(report.brief()));
                fault
            }
            Err(f) => Some(f),
        };
        match fault {
            None => {
                ctx.state_mut(|s| s.status().paused = None);
                return Ok(());
            }
            Some(f) => pause_on(ctx, f).await?,
        }
    }
}

async fn apply_stack<W: Applying + 'static>(
    ctx: &mut WorkflowContext<W>,
    plan: &StackPlan,
) -> Result<(), temporalio_workflow::WorkflowTermination> {
    let outputs = loop {
        let prepared = step!(
            ctx,
            "making the change set",
            ctx.execute_activity(Provisioning::prepare_stack, plan.clone(), provisioning())
        );
        let Prepared::Ready(changes) = prepared else {
            break step!(
                ctx,
                "reading outputs",
                ctx.execute_activity(Provisioning::stack_outputs, plan.stack.clone(), provisioning())
            );
        };
        ctx.state_mut(|s| {
            s.status().changes = changes;
            s.status().step = "executing the change set".to_owned();
        });
        match ctx.execute_activity(Provisioning::execute_stack, plan.clone(), follow()).await {
            Ok(outputs) => break outputs,
            // A change set is executed once: after a rollback the plan needs a new one.
            Err(e) => pause(ctx, &e).await?,
        }
    };
    ctx.state_mut(|s| {
        s.status().paused = None;
        s.status().outputs = outputs;
    });
    Ok(())
}

/// From now on it is looked at again and again.
async fn schedule_checks<W: Applying + 'static>(
    ctx: &mut WorkflowContext<W>,
    org: Option<OrgId>,
) -> Result<(), temporalio_workflow::WorkflowTermination> {
    let input = DriftInput { org };
    let schedules = step!(
        ctx,
        "scheduling the checks",
        ctx.execute_activity(Checking::schedule_checks, input.clone(), provisioning())
    );
    ctx.state_mut(|s| s.status().schedules = schedules);
    Ok(())
}

#[workflow_methods]
impl ApplyEnvironment {
    #[init]
    fn new(_ctx: &WorkflowContextView, plan: StackPlan) -> Self {
        let status = ApplyStatus { plan: plan.digest.clone(), ..ApplyStatus::default() };
        Self { plan, status, resumes: 0 }
    }

    /// Runs until the stack is as planned.
    #[run(name = "ApplyEnvironment")]
    pub async fn run(ctx: &mut WorkflowContext<Self>) -> WorkflowResult<ApplyStatus> {
        let plan = ctx.state(|s| s.plan.clone());
        apply_stack(ctx, &plan).await?;
        schedule_checks(ctx, None).await?;
        ctx.state_mut(|s| s.status.step = "done".into());
        Ok(ctx.state(|s| s.status.clone()))
    }

    /// What blocked it is mended: go on.
    #[signal]
    pub fn resume(&mut self, _ctx: &mut SyncWorkflowContext<Self>) {
        self.resumes = self.resumes.saturating_add(1);
    }

    /// Where it stands.
    #[query]
    pub fn status(&self, _ctx: &WorkflowContextView) -> ApplyStatus {
        self.status.clone()
    }
}

#[workflow_methods]
impl OnboardOrganization {
    #[init]
    fn new(_ctx: &WorkflowContextView, plan: StackPlan) -> Self {
        let status = ApplyStatus { plan: plan.digest.clone(), ..ApplyStatus::default() };
        Self { plan, status, resumes: 0 }
    }

    /// Runs until the organization's files are being watched.
    #[run(name = "OnboardOrganization")]
    pub async fn run(ctx: &mut WorkflowContext<Self>) -> WorkflowResult<ApplyStatus> {
        let plan = ctx.state(|s| s.plan.clone());
        apply_stack(ctx, &plan).await?;
        if let Some(org) = plan.org {
            let probes = step!(
                ctx,
                "probing with the organization's own credentials",
                ctx.execute_activity(Provisioning::probe_organization, org.clone(), provisioning())
            );
            ctx.state_mut(|s| s.status.probes = probes);
            prove_isolation(ctx, &org).await?;
            let watches = step!(
                ctx,
                "registering shares",
                ctx.execute_activity(Provisioning::register_shares, org.clone(), provisioning())
            );
            ctx.state_mut(|s| s.status.watches = watches);
            schedule_checks(ctx, Some(org)).await?;
        }
        ctx.state_mut(|s| s.status.step = "done".into());
        Ok(ctx.state(|s| s.status.clone()))
    }

    /// What blocked it is mended: go on.
    #[signal]
    pub fn resume(&mut self, _ctx: &mut SyncWorkflowContext<Self>) {
        self.resumes = self.resumes.saturating_add(1);
    }

    /// Where it stands.
    #[query]
    pub fn status(&self, _ctx: &WorkflowContextView) -> ApplyStatus {
        self.status.clone()
    }
}
