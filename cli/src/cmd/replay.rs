//! `leadline replay`.

use crate::Global;
use crate::connect::Site;
use crate::exit::{Code, Done, Failure};
use crate::output::{self, Format};
use futures::StreamExt;
use leadline_activities::worker::{WORKFLOWS, replayer};
use leadline_domain::EnvId;
use serde::Serialize;
use temporalio_client::{Client, UntypedWorkflow, WorkflowFetchHistoryOptions, WorkflowListOptions};
use temporalio_sdk::workflow_replayer::WorkflowReplayer;

/// Options.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Environment.
    #[arg(long)]
    env: EnvId,
    /// The most histories of each kind of workflow, the latest first.
    #[arg(long, default_value_t = 20)]
    limit: usize,
}

/// A history that this program would continue in another way.
#[derive(Debug, Serialize)]
pub(super) struct Differs {
    /// Workflow id.
    pub(super) workflow: String,
    /// What differs.
    pub(super) why: String,
}

/// Replays histories of the environment with this very program: what would break running workflows shows here.
pub(crate) async fn run(g: &Global, a: Args) -> Done {
    let site = Site::load(g, &a.env)?;
    let (replayed, differ) = replay(&site, a.limit).await?;
    for d in &differ {
        match g.output {
            Format::Json => output::json(d),
            Format::Text => output::line(&format!("{} does not replay: {}", d.workflow, d.why)),
        }
    }
    output::note(&format!("{replayed} histories replayed, {} differ", differ.len()));
    Ok(if differ.is_empty() { Code::Ok } else { Code::NotWell })
}

/// How many were replayed, and which differ.
pub(super) async fn replay(site: &Site, limit: usize) -> Result<(usize, Vec<Differs>), Failure> {
    let client = site.temporal().await?;
    let replayer = replayer(site.converter().await?).map_err(|e| Failure::new(format!("replayer: {e}")))?;
    let (mut replayed, mut differ) = (0, Vec::new());
    for kind in WORKFLOWS {
        let query = format!("WorkflowType = '{kind}'");
        let mut found = client.list_workflows(query, WorkflowListOptions::builder().limit(limit).build());
        while let Some(w) = found.next().await {
            let w = w.map_err(|e| Failure::new(e.to_string()))?;
            if let Some(why) = one(&client, &replayer, w.id()).await {
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
