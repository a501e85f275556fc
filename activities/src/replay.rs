//! Histories of an environment replayed with this very program: what would break running workflows shows here.

use crate::worker::{WORKFLOWS, replayer};
use futures::StreamExt;
use leadline_domain::{Fault, FaultCode};
use serde::Serialize;
use temporalio_client::{Client, NamespacedClient, UntypedWorkflow, WorkflowFetchHistoryOptions, WorkflowListOptions};
use temporalio_sdk::workflow_replayer::WorkflowReplayer;

/// A history that this program would continue in another way.
#[derive(Debug, Serialize)]
pub struct Differs {
    /// Workflow id.
    pub workflow: String,
    /// What differs.
    pub why: String,
}

/// Replays the latest histories of each kind of workflow, at most `limit` of each. How many were replayed, and which
/// differ.
///
/// # Errors
/// `engine.*`.
pub async fn replay(client: &Client, limit: usize) -> Result<(usize, Vec<Differs>), Fault> {
    let replayer = replayer(client.data_converter().clone())
        .map_err(|e| Fault::new(FaultCode::BugInvariant, format!("no replayer: {e}")))?;
    let (mut replayed, mut differ) = (0, Vec::new());
    for kind in WORKFLOWS {
        let query = format!("WorkflowType = '{kind}'");
        let mut found = client.list_workflows(query, WorkflowListOptions::builder().limit(limit).build());
        while let Some(w) = found.next().await {
            let w = w.map_err(|e| Fault::new(FaultCode::EngineUnreachable, format!("list workflows: {e}")))?;
            if let Some(why) = one(client, &replayer, w.id()).await {
                differ.push(Differs { workflow: w.id().to_owned(), why });
            }
            replayed += 1;
        }
    }
    Ok((replayed, differ))
}

/// What differs, if anything; the latest run of this id.
async fn one(client: &Client, replayer: &WorkflowReplayer, id: &str) -> Option<String> {
    let handle = client.get_workflow_handle::<UntypedWorkflow>(id);
    let history = handle.fetch_history(WorkflowFetchHistoryOptions::default());
    replayer.replay_workflow(history).await.err().map(|e| e.to_string())
}
