//! FollowedSubscription: how far a subscription at an EHR was followed. It does nothing; it remembers, so that nothing
//! else has to store state.

// The workflow macros make constants that they do not document.
#![allow(missing_docs)]

use crate::recording_lifecycle::fired;
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use std::time::Duration;
use temporalio_macros::{workflow, workflow_methods};
use temporalio_workflow::{
    ContinueAsNewOptions, SyncWorkflowContext, WorkflowContext, WorkflowContextView, WorkflowResult, select,
};

/// Signals after which a new history begins.
const STEPS: u32 = 500;
/// A subscription of which nothing was heard for so long is over: that of an organization that left, say. Should it go
/// on after all, everything at the EHR is searched for once.
const FORGOTTEN: Duration = Duration::from_secs(90 * 86_400);

/// How far a subscription was followed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// Up to this event.
    pub number: u64,
    /// When that was, milliseconds since 1970.
    pub at_ms: u64,
}

impl Seen {
    /// What holds after another one is written down. A lower number at an earlier time is late: signals of two gateways
    /// may cross. At a later time the EHR counts from the start again; should it be a repeat all the same, what it hides
    /// is a gap, and searched for.
    #[must_use]
    pub fn then(self, next: Self) -> Self {
        match next.number.cmp(&self.number) {
            Ordering::Greater => next,
            Ordering::Equal => Self { at_ms: next.at_ms.max(self.at_ms), ..next },
            Ordering::Less if next.at_ms >= self.at_ms => next,
            Ordering::Less => self,
        }
    }
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

    /// Remembers for as long as the subscription lives: heartbeats count.
    #[run(name = "FollowedSubscription")]
    pub async fn run(ctx: &mut WorkflowContext<Self>) -> WorkflowResult<()> {
        loop {
            let before = ctx.state(|s| s.steps);
            select! {
                r = ctx.wait_condition(move |s| s.steps > before) => r?,
                t = ctx.timer(FORGOTTEN) => return fired(&t),
            }
            if ctx.state(|s| s.steps) >= STEPS {
                break;
            }
        }
        let seen = ctx.state(|s| s.seen);
        ctx.continue_as_new(seen, ContinueAsNewOptions::default())?;
        Ok(())
    }

    /// Everything up to there was taken.
    #[signal]
    pub fn advance(&mut self, _ctx: &mut SyncWorkflowContext<Self>, seen: Seen) {
        self.seen = self.seen.then(seen);
        self.steps += 1;
    }

    /// How far.
    #[query]
    pub fn seen(&self, _ctx: &WorkflowContextView) -> Seen {
        self.seen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_back_only_with_an_ehr_that_counts_from_the_start_again() {
        let seen = |number, at_ms| Seen { number, at_ms };
        assert_eq!(seen(0, 0).then(seen(3, 100)), seen(3, 100));
        // An event that was told of late says nothing of what happened after it.
        assert_eq!(seen(3, 100).then(seen(4, 90)), seen(4, 90));
        assert_eq!(seen(3, 100).then(seen(3, 90)), seen(3, 100));
        assert_eq!(seen(3, 100).then(seen(3, 200)), seen(3, 200));
        assert_eq!(seen(3, 100).then(seen(2, 90)), seen(3, 100));
        assert_eq!(seen(3, 100).then(seen(1, 100)), seen(1, 100));
        assert_eq!(seen(3, 100).then(seen(0, 200)), seen(0, 200));
    }
}
