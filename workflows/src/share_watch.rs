//! ShareWatch: the workflow that lasts as long as a share is registered. The watching itself is one long activity.

// The workflow macros make constants that they do not document.
#![allow(missing_docs)]

use crate::contracts::{WatchInput, Watching};
use crate::options::{fault_of, watch};
use crate::recording_lifecycle::fired;
use leadline_domain::FaultClass;
use std::time::Duration;
use temporalio_macros::{workflow, workflow_methods};
use temporalio_workflow::{
    ContinueAsNewOptions, SyncWorkflowContext, WorkflowCancellationToken, WorkflowContext, WorkflowContextView,
    WorkflowResult, select,
};

/// After a watch ended with a fault that only a human can mend.
const BLOCKED: Duration = Duration::from_secs(60);

/// The watch of a share.
#[workflow]
pub struct ShareWatch {
    input: WatchInput,
    stop: bool,
    restart: bool,
}

#[workflow_methods]
impl ShareWatch {
    #[init]
    fn new(_ctx: &WorkflowContextView, input: WatchInput) -> Self {
        Self { input, stop: false, restart: false }
    }

    /// Runs until stopped; begins a new history each time the activity asks for it.
    #[run(name = "ShareWatch")]
    pub async fn run(ctx: &mut WorkflowContext<Self>) -> WorkflowResult<()> {
        let input = ctx.state(|s| s.input.clone());
        let token = WorkflowCancellationToken::new();
        let mut options = watch();
        options.cancellation_token = Some(token.clone());
        let ended = {
            let mut watching = ctx.execute_activity(Watching::watch_share, input.clone(), options);
            select! {
                r = ctx.wait_condition(|s| s.stop || s.restart) => r.map(|()| None)?,
                r = watching => Some(r),
            }
        };
        match ended {
            None => {
                token.cancel();
                if ctx.state(|s| s.stop) {
                    return Ok(());
                }
            }
            Some(Err(e)) if fault_of(&e).class() != FaultClass::Transient => {
                ctx.set_current_details(fault_of(&e).to_string());
                select! {
                    t = ctx.timer(BLOCKED) => fired(&t)?,
                    r = ctx.wait_condition(|s| s.stop || s.restart) => r?,
                }
                if ctx.state(|s| s.stop) {
                    return Ok(());
                }
            }
            Some(_) => {}
        }
        ctx.continue_as_new(input, ContinueAsNewOptions::default())?;
        Ok(())
    }

    /// A human mended what it waits for: begins anew at once instead of at the end of its patience.
    #[signal]
    pub fn restart(&mut self, _ctx: &mut SyncWorkflowContext<Self>) {
        self.restart = true;
    }

    /// Stops watching; files under way go on in their own lifecycles.
    #[signal]
    pub fn stop(&mut self, _ctx: &mut SyncWorkflowContext<Self>) {
        self.stop = true;
    }
}
