//! FollowedSubscription: how far a subscription at an EHR was followed. It does nothing; it remembers, so that nothing
//! else has to store state.

// The workflow macros make constants that they do not document.
#![allow(missing_docs)]

use serde::{Deserialize, Serialize};
use temporalio_macros::{workflow, workflow_methods};
use temporalio_workflow::{
    ContinueAsNewOptions, SyncWorkflowContext, WorkflowContext, WorkflowContextView, WorkflowResult,
};

/// Signals after which a new history begins.
const STEPS: u32 = 1_000;

/// How far a subscription was followed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// Up to this event.
    pub number: u64,
    /// When that was, milliseconds since 1970.
    pub at_ms: u64,
}

/// One subscription.
#[workflow]
pub struct FollowedSubscription {
    seen: Seen,
    steps: u32,
}

#[workflow_methods]
impl FollowedSubscription {
    #[init]
    fn new(_ctx: &WorkflowContextView, seen: Seen) -> Self {
        Self { seen, steps: 0 }
    }

    /// Remembers for as long as nobody ends it.
    #[run(name = "FollowedSubscription")]
    pub async fn run(ctx: &mut WorkflowContext<Self>) -> WorkflowResult<()> {
        ctx.wait_condition(|s| s.steps >= STEPS).await?;
        let seen = ctx.state(|s| s.seen);
        ctx.continue_as_new(seen, ContinueAsNewOptions::default())?;
        Ok(())
    }

    /// Everything up to there was taken. Never goes back: signals of two gateways may cross.
    #[signal]
    pub fn advance(&mut self, _ctx: &mut SyncWorkflowContext<Self>, seen: Seen) {
        if seen.number >= self.seen.number {
            self.seen = Seen { number: seen.number, at_ms: seen.at_ms.max(self.seen.at_ms) };
        }
        self.steps += 1;
    }

    /// How far.
    #[query]
    pub fn seen(&self, _ctx: &WorkflowContextView) -> Seen {
        self.seen
    }
}
