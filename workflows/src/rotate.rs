//! RotateCredentials: new credentials of a share are proven through a worker that reaches it, however long that takes.
//!
//! It ends with the proof. Making the proven version current is the business of whoever wrote it: a worker reads secrets
//! and never decides which one counts, so that one that was taken over cannot.

// The workflow macros make constants that they do not document, and the contracts have bodies that are never run.
#![allow(clippy::unimplemented, missing_docs)]

use crate::checks::failed;
use crate::options::{fault_of, proof};
use crate::recording_lifecycle::fired;
use leadline_domain::{Fault, FaultClass, OrgId, ShareId};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use temporalio_common::ActivityError;
use temporalio_macros::{activity_definitions, workflow, workflow_methods};
use temporalio_workflow::{ContinueAsNewOptions, WorkflowContext, WorkflowContextView, WorkflowResult};

/// Waiting times between two attempts.
const FIRST: Duration = Duration::from_secs(5);
const MOST: Duration = Duration::from_secs(120);
/// Attempts in one history.
const ATTEMPTS: u32 = 500;

/// What is to be proven.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RotateInput {
    /// Whose.
    pub org: OrgId,
    /// Which share.
    pub share: ShareId,
    /// Version of the share's secret that has the new credentials.
    pub version: String,
    /// Task queue of the workers that reach the share.
    pub task_queue: String,
}

/// Where it stands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RotateStatus {
    /// Attempts so far.
    pub attempts: u32,
    /// Why the last one failed.
    pub fault: Option<Fault>,
}

/// Proofs through workers that reach a share.
pub struct Rotations;

#[activity_definitions]
impl Rotations {
    /// Logs on with the pending version of a share's credentials and lists the watched folder.
    #[activity(name = "prove_credentials")]
    pub fn prove_credentials(_: RotateInput) -> Result<(), ActivityError> {
        unimplemented!()
    }
}

/// The definitions themselves, for whoever implements them.
pub mod definitions {
    pub use super::rotations::*;
}

/// See the module.
#[workflow]
pub struct RotateCredentials {
    input: RotateInput,
    status: RotateStatus,
}

/// How long to wait after a failed attempt, having waited `last` before; zero if it is the first.
fn next_wait(fault: &Fault, last: Duration) -> Duration {
    (last * 2).clamp(FIRST, MOST).max(Duration::from_millis(fault.retry_after_ms.unwrap_or(0)))
}

#[workflow_methods]
impl RotateCredentials {
    #[init]
    fn new(_ctx: &WorkflowContextView, input: RotateInput) -> Self {
        Self { input, status: RotateStatus::default() }
    }

    /// Runs until the share has answered to the new credentials, or they are not the pending ones any more.
    #[run(name = "RotateCredentials")]
    pub async fn run(ctx: &mut WorkflowContext<Self>) -> WorkflowResult<RotateStatus> {
        let input = ctx.state(|s| s.input.clone());
        let mut wait = Duration::ZERO;
        for _ in 0..ATTEMPTS {
            let r = ctx.execute_activity(Rotations::prove_credentials, input.clone(), proof(&input.task_queue)).await;
            let fault = r.err().map(|e| fault_of(&e));
            ctx.state_mut(|s| {
                s.status.attempts = s.status.attempts.saturating_add(1);
                s.status.fault.clone_from(&fault);
            });
            let Some(fault) = fault else { return Ok(ctx.state(|s| s.status.clone())) };
            if fault.class() == FaultClass::Rejected {
                return Err(failed(fault));
            }
            ctx.set_current_details(fault.to_string());
            wait = next_wait(&fault, wait);
            fired(&ctx.timer(wait).await)?;
        }
        ctx.continue_as_new(input, ContinueAsNewOptions::default())?;
        Ok(RotateStatus::default())
    }

    /// Where it stands.
    #[query]
    pub fn status(&self, _ctx: &WorkflowContextView) -> RotateStatus {
        self.status.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use leadline_domain::FaultCode;

    #[test]
    fn attempts_become_rare_and_rarer_still_where_they_may_lock_an_account() {
        let waits = |f: Fault| -> Vec<u64> {
            std::iter::successors(Some(next_wait(&f, Duration::ZERO)), |w| Some(next_wait(&f, *w)))
                .take(6)
                .map(|w| w.as_secs())
                .collect()
        };
        let refused = || Fault::new(FaultCode::ShareLogonRefused, "x");
        assert_eq!(waits(refused()), [5, 10, 20, 40, 80, 120]);
        assert_eq!(waits(refused().retry_after(60_000)), [60, 120, 120, 120, 120, 120]);
    }
}
