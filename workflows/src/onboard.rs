//! Provisioning as workflows: change set, execute, follow, outputs, probes, shares.

// The workflow macros make constants that they do not document.
#![allow(missing_docs)]

use crate::checks::{Checking, DriftInput, failed, prove};
use crate::contracts::{ApplyInput, ExecuteInput, Provisioning};
use crate::options::{fault_of, follow, provisioning};
use crate::recording_lifecycle::now_ms;
use leadline_domain::gates::{self, Approver, Gate, GateState, Gates};
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
    /// Digest of what the plan was made from.
    #[serde(default)]
    pub inputs: String,
    /// Who asked for it.
    #[serde(default)]
    pub requested_by: String,
    /// The gates in front of the environment, and how each stands; none where there are no gates.
    #[serde(default)]
    pub gates: Vec<GateState>,
    /// Who agreed.
    #[serde(default)]
    pub approvers: Vec<Approver>,
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

/// What both workflows are made of.
#[derive(Debug)]
struct Apply {
    input: ApplyInput,
    status: ApplyStatus,
    /// Known once the change set was made.
    gates: Option<Gates>,
    resumes: u32,
}

impl Apply {
    fn new(input: ApplyInput) -> Self {
        let status = ApplyStatus {
            plan: input.plan.digest.clone(),
            inputs: input.inputs.clone(),
            requested_by: input.requested_by.clone(),
            ..ApplyStatus::default()
        };
        Self { input, status, gates: None, resumes: 0 }
    }

    fn may_approve(&self, approver: &Approver) -> Result<(), Fault> {
        let Some(gates) = &self.gates else {
            return Err(Fault::new(FaultCode::ApprovalRefused, "this plan does not wait for an approval"));
        };
        gates::may_approve(gates, &self.input.requested_by, &self.input.plan.digest, approver)
            .map_err(|why| Fault::new(FaultCode::ApprovalRefused, why))
    }

    fn gate_states(&self, now_ms: i64) -> Vec<GateState> {
        let request = self.input.request(&self.status.approvers);
        self.gates.as_ref().map(|g| gates::states(g, &request, now_ms)).unwrap_or_default()
    }
}

trait Applying {
    fn apply(&self) -> &Apply;
    fn apply_mut(&mut self) -> &mut Apply;
    fn status(&mut self) -> &mut ApplyStatus {
        &mut self.apply_mut().status
    }
    fn resumes(&self) -> u32 {
        self.apply().resumes
    }
}

macro_rules! applying {
    ($t:ident) => {
        impl Applying for $t {
            fn apply(&self) -> &Apply {
                &self.apply
            }
            fn apply_mut(&mut self) -> &mut Apply {
                &mut self.apply
            }
        }
    };
}

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

/// Waits for the people. What was not shown cannot be waited for: it ends the workflow, with all that is missing.
async fn pass_gates<W: Applying + 'static>(
    ctx: &mut WorkflowContext<W>,
) -> Result<(), temporalio_workflow::WorkflowTermination> {
    loop {
        let states = ctx.state(|s| s.apply().gate_states(now_ms(ctx)));
        ctx.state_mut(|s| s.status().gates.clone_from(&states));
        let Some(fault) = gates::fault(&states) else { return Ok(()) };
        if states.iter().any(|s| !s.open && s.gate != Gate::Approvals) {
            return Err(failed(fault));
        }
        ctx.state_mut(|s| s.status().step = "waiting for approval".to_owned());
        ctx.set_current_details("waiting for approval");
        let known = ctx.state(|s| s.apply().status.approvers.len());
        ctx.wait_condition(move |s| s.apply().status.approvers.len() > known).await?;
    }
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
) -> Result<(), temporalio_workflow::WorkflowTermination> {
    let outputs = loop {
        let plan = ctx.state(|s| s.apply().input.plan.clone());
        let prepared = step!(
            ctx,
            "making the change set",
            ctx.execute_activity(Provisioning::prepare_stack, plan.clone(), provisioning())
        );
        ctx.state_mut(|s| {
            s.apply_mut().gates = prepared.gates;
            s.status().changes = prepared.changes;
        });
        pass_gates(ctx).await?;
        ctx.state_mut(|s| s.status().step = "executing the change set".to_owned());
        let input = ctx.state(|s| ExecuteInput {
            apply: s.apply().input.clone(),
            changes: !s.apply().status.changes.is_empty(),
            approvers: s.apply().status.approvers.clone(),
        });
        match ctx.execute_activity(Provisioning::execute_stack, input, follow()).await {
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

fn finish<W: Applying + 'static>(ctx: &mut WorkflowContext<W>) -> ApplyStatus {
    ctx.state_mut(|s| {
        s.status().step = "done".into();
        s.status().clone()
    })
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
        self.apply.resumes = self.apply.resumes.saturating_add(1);
    }

    /// Where it stands.
    #[query]
    pub fn status(&self, _ctx: &WorkflowContextView) -> ApplyStatus {
        self.apply.status.clone()
    }

    /// Someone agrees to the plan that waits.
    #[update]
    pub fn approve(&mut self, _ctx: &mut SyncWorkflowContext<Self>, approver: Approver) -> Vec<GateState> {
        self.apply.status.approvers.push(approver);
        self.apply.status.gates.clone()
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
        self.apply.resumes = self.apply.resumes.saturating_add(1);
    }

    /// Where it stands.
    #[query]
    pub fn status(&self, _ctx: &WorkflowContextView) -> ApplyStatus {
        self.apply.status.clone()
    }

    /// Someone agrees to the plan that waits.
    #[update]
    pub fn approve(&mut self, _ctx: &mut SyncWorkflowContext<Self>, approver: Approver) -> Vec<GateState> {
        self.apply.status.approvers.push(approver);
        self.apply.status.gates.clone()
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
}
