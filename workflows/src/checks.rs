//! What is looked at again and again, once an organization is there: isolation and drift. Contracts of the activities,
//! and the workflows that a schedule or a command starts.

// The workflow and activity macros make constants that they do not document, and want bodies that are never run.
#![allow(clippy::unimplemented, missing_docs)]

use crate::options::{check, fault_of, provisioning};
use leadline_domain::isolation::{Evidence, NotEnforced, ProbeReport};
use leadline_domain::{DriftReport, Fault, OrgId};
use serde::{Deserialize, Serialize};
use temporalio_common::ActivityError;
use temporalio_common::error::ApplicationFailure;
use temporalio_macros::{activity_definitions, workflow, workflow_methods};
use temporalio_workflow::{WorkflowContext, WorkflowContextView, WorkflowResult, WorkflowTermination};

/// Organizations that one activity tries: its evidence is one event of the history, which must stay well below the
/// server's limit of 2 MiB.
const AT_ONCE: usize = 20;

/// What a probe has before it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeScope {
    /// Every other organization whose resources are made.
    pub others: Vec<OrgId>,
    /// Configured, but not made yet.
    pub not_onboarded: Vec<OrgId>,
    /// Those of the others that are being deleted.
    #[serde(default)]
    pub leaving: Vec<OrgId>,
    /// What the endpoint does not enforce.
    pub not_enforced: Vec<NotEnforced>,
}

/// Input of `probe_others`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeOthers {
    /// Whose credentials.
    pub org: OrgId,
    /// On whose resources.
    pub others: Vec<OrgId>,
    /// Those of them that are being deleted.
    #[serde(default)]
    pub leaving: Vec<OrgId>,
}

/// Input of `find_drift` and of the workflow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DriftInput {
    /// Organization; absent for the environment's own stack.
    pub org: Option<OrgId>,
}

/// Looks at what is there.
pub struct Checking;

#[activity_definitions]
impl Checking {
    /// Which organizations there are besides one.
    #[activity(name = "probe_scope")]
    pub fn probe_scope(_: OrgId) -> Result<ProbeScope, ActivityError> {
        unimplemented!()
    }
    /// Tries every action with an organization's credentials on its own resources, and on the environment's.
    #[activity(name = "probe_own")]
    pub fn probe_own(_: OrgId) -> Result<Vec<Evidence>, ActivityError> {
        unimplemented!()
    }
    /// Tries every action with an organization's credentials on other organizations' resources.
    #[activity(name = "probe_others")]
    pub fn probe_others(_: ProbeOthers) -> Result<Vec<Evidence>, ActivityError> {
        unimplemented!()
    }
    /// Compares plan, last applied template and live settings of a stack.
    #[activity(name = "find_drift")]
    pub fn find_drift(_: DriftInput) -> Result<DriftReport, ActivityError> {
        unimplemented!()
    }
    /// Makes the schedules of the checks of an organization, or of the environment; those that are there are success.
    /// Returns their ids.
    #[activity(name = "schedule_checks")]
    pub fn schedule_checks(_: DriftInput) -> Result<Vec<String>, ActivityError> {
        unimplemented!()
    }
}

/// The definitions themselves, for whoever implements them.
pub mod definitions {
    pub use super::checking::*;
}

/// Tries every action on everything of others. All evidence is in the history, as results of the activities.
pub(crate) async fn prove<W: 'static>(ctx: &mut WorkflowContext<W>, org: &OrgId) -> Result<ProbeReport, Fault> {
    let mut report = ProbeReport::new(org.clone());
    let scope = ctx.execute_activity(Checking::probe_scope, org.clone(), provisioning()).await;
    let scope = scope.map_err(|e| fault_of(&e))?;
    report.add(ctx.execute_activity(Checking::probe_own, org.clone(), check()).await.map_err(|e| fault_of(&e))?);
    for some in scope.others.chunks(AT_ONCE) {
        let leaving = scope.leaving.iter().filter(|o| some.contains(o)).cloned().collect();
        let input = ProbeOthers { org: org.clone(), others: some.to_vec(), leaving };
        report.add(ctx.execute_activity(Checking::probe_others, input, check()).await.map_err(|e| fault_of(&e))?);
    }
    report.others = scope.others;
    report.not_onboarded = scope.not_onboarded;
    report.leaving = scope.leaving;
    report.not_enforced = scope.not_enforced;
    Ok(report)
}

/// Ends a workflow with a fault.
pub(crate) fn failed(fault: Fault) -> WorkflowTermination {
    ApplicationFailure::builder(fault.to_string())
        .type_name(fault.code.to_string())
        .non_retryable(true)
        .details(fault)
        .build()
        .into()
}

/// One run of the isolation probe of an organization. Fails with `isolation.*` when not everything is as it has to be.
#[workflow]
pub struct IsolationProbe {
    org: OrgId,
    report: Option<ProbeReport>,
}

#[workflow_methods]
impl IsolationProbe {
    #[init]
    fn new(_ctx: &WorkflowContextView, org: OrgId) -> Self {
        Self { org, report: None }
    }

    /// Runs once.
    #[run(name = "IsolationProbe")]
    pub async fn run(ctx: &mut WorkflowContext<Self>) -> WorkflowResult<ProbeReport> {
        let org = ctx.state(|s| s.org.clone());
        let report = prove(ctx, &org).await.map_err(failed)?;
        ctx.state_mut(|s| s.report = Some(report.clone()));
        match report.fault() {
            None => Ok(report),
            Some(f) => Err(failed(f)),
        }
    }

    /// What was found, once it ran; also after its end.
    #[query]
    pub fn report(&self, _ctx: &WorkflowContextView) -> Option<ProbeReport> {
        self.report.clone()
    }
}

/// One look for drift. Fails with `drift.found` when something was changed outside leadline.
#[workflow]
pub struct DriftCheck {
    input: DriftInput,
    report: Option<DriftReport>,
}

#[workflow_methods]
impl DriftCheck {
    #[init]
    fn new(_ctx: &WorkflowContextView, input: DriftInput) -> Self {
        Self { input, report: None }
    }

    /// Runs once.
    #[run(name = "DriftCheck")]
    pub async fn run(ctx: &mut WorkflowContext<Self>) -> WorkflowResult<DriftReport> {
        let input = ctx.state(|s| s.input.clone());
        let report = ctx.execute_activity(Checking::find_drift, input, check()).await;
        let report = report.map_err(|e| failed(fault_of(&e)))?;
        ctx.state_mut(|s| s.report = Some(report.clone()));
        match report.fault() {
            None => Ok(report),
            Some(f) => Err(failed(f)),
        }
    }

    /// What was found, once it ran; also after its end.
    #[query]
    pub fn report(&self, _ctx: &WorkflowContextView) -> Option<DriftReport> {
        self.report.clone()
    }
}
