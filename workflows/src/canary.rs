//! CanaryRun: made-up recordings of every format through every path of an organization, each followed to its outcome.

// The workflow macros make constants that they do not document.
#![allow(missing_docs)]

use crate::contracts::{Canaries, CanaryInput, CanarySending, CanaryShare, CanaryShot, CanaryWay};
use crate::options::{canary, fault_of};
use crate::recording_lifecycle::now_ms;
use leadline_domain::gates::{Canary, Run};
use temporalio_macros::{workflow, workflow_methods};
use temporalio_workflow::{WorkflowContext, WorkflowContextView, WorkflowResult, join_all};

/// A path, one canary at a time.
#[derive(Clone, Copy)]
enum Lane<'a> {
    Share(&'a CanaryShare),
    Way(&'a CanaryWay),
}

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
        // One after another on a path: so each is a recording alone, as from a device. The paths side by side.
        let lanes = input.shares.iter().map(Lane::Share).chain(input.ways.iter().map(Lane::Way));
        join_all(lanes.map(|lane| {
            let (ctx, input, source) = (&*ctx, &input, &source);
            async move {
                let (path, formats) = match lane {
                    Lane::Share(s) => (format!("smb/{}", s.share), &s.formats),
                    Lane::Way(w) => (w.path.clone(), &w.formats),
                };
                for format in formats {
                    let (org, format, run) = (input.org.clone(), format.clone(), ctx.run_id().to_owned());
                    let r = match lane {
                        Lane::Share(s) => {
                            let shot = CanaryShot { org, share: s.share.clone(), format: format.clone(), run };
                            ctx.execute_activity(Canaries::pass_canary, shot, canary(&s.task_queue)).await
                        }
                        Lane::Way(w) => {
                            let sending = CanarySending { org, path: path.clone(), format: format.clone(), run };
                            ctx.execute_activity(Canaries::send_canary, sending, canary(&w.task_queue)).await
                        }
                    };
                    let (passed, source) = match r {
                        Ok(None) => (true, source.clone()),
                        Ok(Some(why)) => (false, format!("{source}: {why}")),
                        Err(e) => (false, format!("{source}: {}", fault_of(&e))),
                    };
                    let run = Run { at_ms: now_ms(ctx), passed, source };
                    let done = Canary { path: path.clone(), format, run };
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
