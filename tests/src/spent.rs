//! What work has cost: Temporal actions, and requests to AWS.

use crate::harness::stack::Stack;
use crate::rig::connect_plain;
use futures::StreamExt as _;
use leadline_activities::cost::actions;
use temporalio_client::{UntypedWorkflow, WorkflowFetchHistoryOptions, WorkflowListOptions};

/// Requests that the running worker has made so far.
#[derive(Debug, Clone, Copy)]
pub struct Requests {
    /// Of S3.
    pub s3: u64,
    /// Of SQS.
    pub sqs: u64,
}

impl Requests {
    /// Those so far.
    ///
    /// # Panics
    /// When the worker does not serve its metrics.
    #[must_use]
    pub fn now(stack: &Stack) -> Self {
        let of = |label| stack.aws_requests(label).expect("the worker serves its metrics");
        Self { s3: of("service=\"S3\""), sqs: of("service=\"SQS\"") }
    }

    /// S3 and SQS requests since then.
    #[must_use]
    pub fn since(&self, then: &Self) -> (u64, u64) {
        (self.s3 - then.s3, self.sqs - then.sqs)
    }
}

/// Temporal actions of every workflow that has carried files.
///
/// # Panics
/// When Temporal does not answer.
pub async fn carrying_actions(stack: &Stack) -> f64 {
    let client = connect_plain(&stack.temporal.address()).await;
    let mut spent = 0.0;
    for kind in ["IngestBatch", "RecordingLifecycle"] {
        let mut found = client.list_workflows(format!("WorkflowType = '{kind}'"), WorkflowListOptions::default());
        while let Some(w) = found.next().await {
            let id = w.expect("listed").id().to_owned();
            let handle = client.get_workflow_handle::<UntypedWorkflow>(&id);
            let events = handle.fetch_history(WorkflowFetchHistoryOptions::default()).into_events().await;
            #[allow(clippy::cast_precision_loss)] // some thousands
            let n = actions(&events.expect("a history")) as f64;
            spent += n;
        }
    }
    spent
}
