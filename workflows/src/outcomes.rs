//! Whether the processor said what became of recordings: the contract of the activity, and the workflow that a schedule
//! or a command starts.

// The workflow and activity macros make constants that they do not document, and want bodies that are never run.
#![allow(clippy::unimplemented, missing_docs)]

use crate::checks::failed;
use crate::options::{check, fault_of};
use leadline_domain::OrgId;
use leadline_domain::outcome::OverdueReport;
use temporalio_common::ActivityError;
use temporalio_macros::{activity_definitions, workflow, workflow_methods};
use temporalio_workflow::{WorkflowContext, WorkflowContextView, WorkflowResult};

/// Looks at what is there, and at what is not.
pub struct OutcomeChecking;

#[activity_definitions]
impl OutcomeChecking {
    /// Compares an organization's recordings with the reports on them. `None` where no report is expected.
    #[activity(name = "find_overdue")]
    pub fn find_overdue(_: OrgId) -> Result<Option<OverdueReport>, ActivityError> {
        unimplemented!()
    }
}

/// The definitions themselves, for whoever implements them.
pub mod definitions {
    pub use super::outcome_checking::*;
}

/// One look for missing reports. Fails with `outcome.overdue` when there are some, so that it stands out where workflows
/// are listed.
#[workflow]
pub struct OutcomeCheck {
    org: OrgId,
    report: Option<OverdueReport>,
}

#[workflow_methods]
impl OutcomeCheck {
    #[init]
    fn new(_ctx: &WorkflowContextView, org: OrgId) -> Self {
        Self { org, report: None }
    }

    /// Runs once.
    #[run(name = "OutcomeCheck")]
    pub async fn run(ctx: &mut WorkflowContext<Self>) -> WorkflowResult<Option<OverdueReport>> {
        let org = ctx.state(|s| s.org.clone());
        let report = ctx.execute_activity(OutcomeChecking::find_overdue, org, check()).await;
        let report = report.map_err(|e| failed(fault_of(&e)))?;
        ctx.state_mut(|s| s.report.clone_from(&report));
        match report.as_ref().and_then(OverdueReport::fault) {
            None => Ok(report),
            Some(f) => Err(failed(f)),
        }
    }

    /// What was found, once it ran; also after its end.
    #[query]
    pub fn report(&self, _ctx: &WorkflowContextView) -> Option<OverdueReport> {
        self.report.clone()
    }
}
