//! TransferRecordings: copies and moves between an organization's own storages, page by page, resumable at any of them.

// The workflow and activity macros make constants that they do not document, and want bodies that are never run.
#![allow(clippy::unimplemented, missing_docs)]

use crate::checks::failed;
use crate::options::{fault_of, upload};
use leadline_domain::transfer::{Transfer, TransferReport};
use serde::{Deserialize, Serialize};
use temporalio_common::ActivityError;
use temporalio_macros::{activity_definitions, workflow, workflow_methods};
use temporalio_workflow::{ContinueAsNewOptions, WorkflowContext, WorkflowContextView, WorkflowResult};

/// Pages of one run: then it goes on with a fresh history.
const PAGES: usize = 200;

/// A transfer and how far it is: input of the workflow and of the activity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransferInput {
    /// What was asked for.
    pub transfer: Transfer,
    /// How far it is.
    pub report: TransferReport,
}

/// Copies.
pub struct Transferring;

#[activity_definitions]
impl Transferring {
    /// Copies the next recordings, verifies each, removes it from where it was if it is to be moved, and says how far it
    /// is then. A repeat finds what is done already.
    #[activity(name = "transfer_some")]
    pub fn transfer_some(_: TransferInput) -> Result<TransferReport, ActivityError> {
        unimplemented!()
    }
}

/// The definitions themselves, for whoever implements them.
pub mod definitions {
    pub use super::transferring::*;
}

/// See the module.
#[workflow]
pub struct TransferRecordings {
    input: TransferInput,
}

#[workflow_methods]
impl TransferRecordings {
    #[init]
    fn new(_ctx: &WorkflowContextView, input: TransferInput) -> Self {
        Self { input }
    }

    /// Runs until everything that was selected is copied or moved.
    #[run(name = "TransferRecordings")]
    pub async fn run(ctx: &mut WorkflowContext<Self>) -> WorkflowResult<TransferReport> {
        for _ in 0..PAGES {
            let input = ctx.state(|s| s.input.clone());
            if input.report.complete {
                return Ok(input.report);
            }
            let r = ctx.execute_activity(Transferring::transfer_some, input, upload()).await;
            let report = r.map_err(|e| failed(fault_of(&e)))?;
            ctx.state_mut(|s| s.input.report = report);
        }
        let input = ctx.state(|s| s.input.clone());
        let report = input.report.clone();
        ctx.continue_as_new(input, ContinueAsNewOptions::default())?;
        Ok(report)
    }

    /// How far it is.
    #[query]
    pub fn report(&self, _ctx: &WorkflowContextView) -> TransferReport {
        self.input.report.clone()
    }
}
