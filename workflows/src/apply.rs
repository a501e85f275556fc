//! What applying a plan consists of, whether it is an environment's or an organization's: change set, gates, execution,
//! what was changed outside leadline put back; and how it waits, goes on, or is cancelled.

// The workflow macros make constants that they do not document.
#![allow(missing_docs)]

use crate::checks::{Checking, DriftInput, failed, prove};
use crate::contracts::{ApplyInput, ExecuteInput, Provisioning};
use crate::options::{fault_of, follow, provisioning};
use crate::recording_lifecycle::{fired, now_ms};
use leadline_domain::gates::{self, Approver, Gate, GateState, Gates};
use leadline_domain::{Fault, FaultClass, FaultCode, OrgId, ProbeReport};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;
use temporalio_workflow::{ActivityExecutionError, WorkflowContext, WorkflowTermination, select};

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
    /// What was changed outside leadline and is as planned again, once it is.
    #[serde(default)]
    pub restored: Vec<String>,
    /// Who cancelled it, if somebody did.
    #[serde(default)]
    pub cancelled_by: Option<String>,
}

/// The step in which approvals are taken.
pub const WAITING: &str = "waiting for approval";
/// The step that cannot be cancelled: what CloudFormation has begun it ends.
const EXECUTING: &str = "executing the change set";
/// How one that was cancelled ends.
const CANCELLED: &str = "cancelled";
const DONE: &str = "done";

/// How soon a step that waits for a human is tried again unasked, and how rarely at last: a history has room for some
/// thousand tries, and some of them tell much.
const PAUSE: Duration = Duration::from_secs(60);
const PAUSE_MOST: Duration = Duration::from_secs(30 * 60);

/// Notes what a step waits for, and says how long before it is tried again: the longer, the longer it waits for the
/// same. `pauses` counts the tries with this fault so far.
pub(crate) fn patience(paused: &mut Option<Fault>, fault: Fault, pauses: &mut u32) -> Duration {
    *pauses = if paused.as_ref().is_some_and(|b| b.code == fault.code) { pauses.saturating_add(1) } else { 0 };
    *paused = Some(fault);
    PAUSE.saturating_mul(1 << (*pauses).min(8)).min(PAUSE_MOST)
}

/// What both workflows are made of.
#[derive(Debug)]
pub(crate) struct Apply {
    pub(crate) input: ApplyInput,
    pub(crate) status: ApplyStatus,
    /// Known once the change set was made.
    gates: Option<Gates>,
    resumes: u32,
    /// How often it has waited for the same in a row.
    pauses: u32,
}

impl Apply {
    pub(crate) fn new(input: ApplyInput) -> Self {
        let status = ApplyStatus {
            plan: input.plan.digest.clone(),
            inputs: input.inputs.clone(),
            requested_by: input.requested_by.clone(),
            ..ApplyStatus::default()
        };
        Self { input, status, gates: None, resumes: 0, pauses: 0 }
    }

    /// Refuses an approval of another plan, or by whoever asked.
    pub(crate) fn may_approve(&self, approver: &Approver) -> Result<(), Fault> {
        let Some(gates) = &self.gates else {
            return Err(Fault::new(FaultCode::ApprovalRefused, "this plan does not wait for an approval"));
        };
        gates::may_approve(gates, &self.input.requested_by, &self.input.plan.digest, approver)
            .map_err(|why| Fault::new(FaultCode::ApprovalRefused, why))
    }

    pub(crate) fn approve(&mut self, approver: Approver) -> Vec<GateState> {
        self.status.approvers.push(approver);
        self.status.gates.clone()
    }

    pub(crate) fn resume(&mut self) {
        self.resumes = self.resumes.saturating_add(1);
        self.pauses = 0;
    }

    /// Refuses a cancellation without a name, and of what cannot be stopped halfway.
    pub(crate) fn may_cancel(&self, who: &str) -> Result<(), Fault> {
        let refused = |why: &str| Err(Fault::new(FaultCode::ApplyNotCancelled, why));
        if who.trim().is_empty() {
            return refused("a cancellation needs a name");
        }
        if self.status.cancelled_by.is_some() {
            return refused("it is cancelled already");
        }
        match self.status.step.as_str() {
            EXECUTING if self.status.paused.is_none() => {
                refused("CloudFormation is at work; what it has begun it ends, or rolls back, by itself")
            }
            DONE => refused("it is done"),
            _ => Ok(()),
        }
    }

    pub(crate) fn cancel(&mut self, who: &str) -> ApplyStatus {
        self.status.cancelled_by = Some(who.trim().to_owned());
        self.status.clone()
    }

    fn gate_states(&self, now_ms: i64) -> Vec<GateState> {
        let request = self.input.request(&self.status.approvers);
        self.gates.as_ref().map(|g| gates::states(g, &request, now_ms)).unwrap_or_default()
    }
}

/// The workflows that carry plans out, as the functions here see them.
pub(crate) trait Applying {
    fn apply(&self) -> &Apply;
    fn apply_mut(&mut self) -> &mut Apply;
    fn status(&mut self) -> &mut ApplyStatus {
        &mut self.apply_mut().status
    }
    fn resumes(&self) -> u32 {
        self.apply().resumes
    }
    fn to_execute(&self) -> ExecuteInput {
        let a = self.apply();
        let changes = !a.status.changes.is_empty();
        ExecuteInput { apply: a.input.clone(), changes, approvers: a.status.approvers.clone() }
    }
    fn cancelled(&self) -> bool {
        self.apply().status.cancelled_by.is_some()
    }
}

macro_rules! applying {
    ($t:ident) => {
        impl crate::apply::Applying for $t {
            fn apply(&self) -> &crate::apply::Apply {
                &self.apply
            }
            fn apply_mut(&mut self) -> &mut crate::apply::Apply {
                &mut self.apply
            }
        }
    };
}
pub(crate) use applying;

/// Repeats a step until it succeeds: transient faults inside Temporal's own retries, others after a pause or when a
/// human says `resume`.
macro_rules! step {
    ($ctx:ident, $words:literal, $call:expr) => {{
        loop {
            crate::apply::unless_cancelled($ctx).await?;
            $ctx.state_mut(|s| s.status().step = $words.to_owned());
            let seen = $ctx.state(crate::apply::Applying::resumes);
            match $call.await {
                Ok(v) => {
                    $ctx.state_mut(|s| s.status().paused = None);
                    break v;
                }
                Err(e) => crate::apply::pause($ctx, seen, &e).await?,
            }
        }
    }};
}
pub(crate) use step;

/// Ends the workflow if somebody has cancelled it: what was prepared and not executed goes, what stays is said.
pub(crate) async fn unless_cancelled<W: Applying + 'static>(
    ctx: &mut WorkflowContext<W>,
) -> Result<(), WorkflowTermination> {
    let Some(who) = ctx.state(|s| s.apply().status.cancelled_by.clone()) else { return Ok(()) };
    let (plan, step) = ctx.state(|s| (s.apply().input.plan.clone(), s.apply().status.step.clone()));
    let left = match ctx.execute_activity(Provisioning::discard_stack, plan, provisioning()).await {
        Ok(left) => left,
        Err(e) => format!("its change set could not be discarded: {}", fault_of(&e)),
    };
    ctx.state_mut(|s| {
        s.status().step = CANCELLED.to_owned();
        s.status().paused = None;
    });
    Err(failed(Fault::new(FaultCode::ApplyCancelled, format!("cancelled by {who} at the step \"{step}\"; {left}"))))
}

/// Waits for a human. A rejected plan ends the workflow: nobody can mend it but by planning again. `seen` is how often
/// somebody had said `resume` when the step began: one that comes with the step's end counts, whichever of the two a
/// replay tells first.
pub(crate) async fn pause<W: Applying + 'static>(
    ctx: &mut WorkflowContext<W>,
    seen: u32,
    e: &ActivityExecutionError,
) -> Result<(), WorkflowTermination> {
    pause_on(ctx, seen, fault_of(e)).await
}

async fn pause_on<W: Applying + 'static>(
    ctx: &mut WorkflowContext<W>,
    seen: u32,
    fault: Fault,
) -> Result<(), WorkflowTermination> {
    if fault.class() == FaultClass::Rejected {
        return Err(failed(fault));
    }
    let wait = ctx.state_mut(|s| {
        let a = s.apply_mut();
        patience(&mut a.status.paused, fault.clone(), &mut a.pauses)
    });
    ctx.set_current_details(format!("waiting: {fault}"));
    // What reaches another organization's resources is not tried again unasked.
    if fault.code == FaultCode::IsolationBroken {
        ctx.wait_condition(move |s| s.resumes() > seen || s.cancelled()).await?;
    } else {
        select! {
            t = ctx.timer(wait) => fired(&t)?,
            r = ctx.wait_condition(move |s| s.resumes() > seen || s.cancelled()) => r?,
        }
    }
    unless_cancelled(ctx).await
}

/// Waits for the people. What was not shown cannot be waited for: it ends the workflow, with all that is missing.
async fn pass_gates<W: Applying + 'static>(ctx: &mut WorkflowContext<W>) -> Result<(), WorkflowTermination> {
    loop {
        let states = ctx.state(|s| s.apply().gate_states(now_ms(ctx)));
        ctx.state_mut(|s| s.status().gates.clone_from(&states));
        let Some(fault) = gates::fault(&states) else { return Ok(()) };
        if states.iter().any(|s| !s.open && s.gate != Gate::Approvals) {
            return Err(failed(fault));
        }
        ctx.state_mut(|s| s.status().step = WAITING.to_owned());
        ctx.set_current_details(WAITING);
        let known = ctx.state(|s| s.apply().status.approvers.len());
        ctx.wait_condition(move |s| s.apply().status.approvers.len() > known || s.cancelled()).await?;
        unless_cancelled(ctx).await?;
    }
}

/// Proves that the organization's credentials reach its own and nothing else; goes no further until they do.
pub(crate) async fn prove_isolation<W: Applying + 'static>(
    ctx: &mut WorkflowContext<W>,
    org: &OrgId,
) -> Result<(), WorkflowTermination> {
    loop {
        unless_cancelled(ctx).await?;
        ctx.state_mut(|s| s.status().step = "proving isolation from every other organization".to_owned());
        let seen = ctx.state(Applying::resumes);
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
            Some(f) => pause_on(ctx, seen, f).await?,
        }
    }
}

/// Brings the stack to its plan, and what was changed outside leadline back, where the plan says so.
pub(crate) async fn apply_stack<W: Applying + 'static>(
    ctx: &mut WorkflowContext<W>,
) -> Result<(), WorkflowTermination> {
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
        unless_cancelled(ctx).await?;
        ctx.state_mut(|s| s.status().step = EXECUTING.to_owned());
        let (input, seen) = ctx.state(|s| (s.to_execute(), s.resumes()));
        match ctx.execute_activity(Provisioning::execute_stack, input, follow()).await {
            Ok(outputs) => break outputs,
            // A change set is executed once: after a rollback the plan needs a new one.
            Err(e) => pause(ctx, seen, &e).await?,
        }
    };
    ctx.state_mut(|s| {
        s.status().paused = None;
        s.status().outputs = outputs;
    });
    let input = ctx.state(Applying::to_execute);
    if !input.apply.plan.repairs.is_empty() || !input.apply.plan.remakes.is_empty() {
        let restored = step!(
            ctx,
            "putting back what was changed outside leadline",
            ctx.execute_activity(Provisioning::restore_settings, input.clone(), follow())
        );
        ctx.state_mut(|s| s.status().restored = restored);
    }
    Ok(())
}

pub(crate) fn finish<W: Applying + 'static>(ctx: &mut WorkflowContext<W>) -> ApplyStatus {
    ctx.state_mut(|s| {
        s.status().step = DONE.into();
        s.status().clone()
    })
}

/// From now on it is looked at again and again.
pub(crate) async fn schedule_checks<W: Applying + 'static>(
    ctx: &mut WorkflowContext<W>,
    org: Option<OrgId>,
) -> Result<(), WorkflowTermination> {
    let input = DriftInput { org };
    let schedules = step!(
        ctx,
        "scheduling the checks",
        ctx.execute_activity(Checking::schedule_checks, input.clone(), provisioning())
    );
    ctx.state_mut(|s| s.status().schedules = schedules);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contracts::StackPlan;
    use leadline_domain::EnvId;

    fn apply() -> Apply {
        let plan = StackPlan {
            env: EnvId::parse("test").unwrap(),
            org: None,
            stack: "s".into(),
            region: "us-east-1".into(),
            template: "{}".into(),
            tags: BTreeMap::new(),
            repairs: vec![],
            remakes: vec![],
            allows: vec![],
            deletes: None,
            digest: "d".into(),
        };
        Apply::new(ApplyInput {
            plan,
            requested_by: "ann".into(),
            inputs: String::new(),
            evidence: None,
            signature: None,
        })
    }

    #[test]
    fn what_executes_is_not_cancelled_and_what_waits_is_once() {
        let mut a = apply();
        a.status.step = EXECUTING.into();
        assert_eq!(a.may_cancel("bob").unwrap_err().code, FaultCode::ApplyNotCancelled);
        a.status.paused = Some(Fault::new(FaultCode::StackFailed, "x"));
        assert_eq!(a.may_cancel("bob"), Ok(()), "it failed, and waits");
        assert!(a.may_cancel(" ").is_err(), "without a name");
        assert_eq!(a.cancel(" bob ").cancelled_by.as_deref(), Some("bob"));
        assert!(a.may_cancel("carol").is_err(), "once");
        let mut done = apply();
        done.status.step = DONE.into();
        assert!(done.may_cancel("bob").is_err());
    }
}
