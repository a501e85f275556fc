//! CanaryRun: made-up recordings of every format through every path of an organization, each followed to its outcome.

// The workflow macros make constants that they do not document.
#![allow(missing_docs)]

use crate::contracts::{Canaries, CanaryInput, CanaryShot};
use crate::options::{canary, fault_of};
use crate::recording_lifecycle::now_ms;
use leadline_domain::gates::{Canary, Run};
use temporalio_macros::{workflow, workflow_methods};
use temporalio_workflow::{WorkflowContext, WorkflowContextView, WorkflowResult, join_all};

/// See the module.
#[workflow]
pub struct CanaryRun {
    input: CanaryInput,
    done: Vec<Canary>,
}

#[workflow_methods]
impl CanaryRun {
    #[init]
    fn new(_ctx: &WorkflowContextView, input: CanaryInput) -> Self {
        Self { input, done: Vec::new() }
    }

    /// Runs until every canary has an outcome or was given up.
    #[run(name = "CanaryRun")]
    pub async fn run(ctx: &mut WorkflowContext<Self>) -> WorkflowResult<Vec<Canary>> {
        let input = ctx.state(|s| s.input.clone());
        let source = format!("{} {}", ctx.workflow_id(), ctx.run_id());
        // One after another on a share: so each is a file alone, as from a device. The shares side by side.
        join_all(input.shares.iter().map(|share| {
            let (ctx, input, source) = (&*ctx, &input, &source);
            async move {
                for format in &share.formats {
                    let shot = CanaryShot {
                        org: input.org.clone(),
                        share: share.share.clone(),
                        format: format.clone(),
                        run: ctx.run_id().to_owned(),
                    };
                    let r = ctx.execute_activity(Canaries::pass_canary, shot, canary(&share.task_queue)).await;
                    let (passed, source) = match r {
                        Ok(None) => (true, source.clone()),
                        Ok(Some(why)) => (false, format!("{source}: {why}")),
                        Err(e) => (false, format!("{source}: {}", fault_of(&e))),
                    };
                    let run = Run { at_ms: now_ms(ctx), passed, source };
                    let done = Canary { path: format!("smb/{}", share.share), format: format.clone(), run };
                    ctx.state_mut(|s| s.done.push(done));
                }
            }
        }))
        .await;
        Ok(ctx.state(|s| s.done.clone()))
    }

    /// Those that have ended so far.
    #[query]
    pub fn done(&self, _ctx: &WorkflowContextView) -> Vec<Canary> {
        self.done.clone()
    }
}
