//! `leadline canary`.

use crate::Global;
use crate::connect::{Site, share_config};
use crate::exit::{Code, Done, Failure};
use crate::output::{self, Format};
use leadline_activities::canary::canaries;
use leadline_domain::gates::Canary;
use leadline_domain::{EnvId, OrgId};
use leadline_provisioning::config::Organization;
use leadline_workflows::contracts::{CanaryInput, CanaryShare};
use leadline_workflows::{CanaryRun, ids};
use temporalio_client::errors::{WorkflowGetResultError, WorkflowStartError};
use temporalio_client::{
    Client, WorkflowGetResultOptions, WorkflowHandle, WorkflowIdConflictPolicy, WorkflowIdReusePolicy,
    WorkflowStartOptions,
};

/// Options.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Organization.
    org: OrgId,
    /// Environment; one for made-up recordings only.
    #[arg(long)]
    env: EnvId,
}

/// The watched shares of an organization with the canaries that each is to have.
pub(super) fn shares(site: &Site, o: &Organization) -> Result<Vec<CanaryShare>, Failure> {
    let mut out = Vec::new();
    for (id, s) in o.watched() {
        let config = share_config(o, s);
        let formats = canaries(&config)?.into_iter().map(|f| f.name().to_owned()).collect();
        let task_queue = site.environment().scope().task_queue(&config.group);
        out.push(CanaryShare { share: id.clone(), task_queue, formats });
    }
    Ok(out)
}

/// Sends made-up recordings of every format that is delivered through every share, and says what became of each.
pub(crate) async fn run(g: &Global, a: Args) -> Done {
    let site = Site::load(g, &a.env)?;
    if !site.environment().synthetic_only {
        return Err(Failure::new(format!(
            "{} holds patients' recordings: made-up ones do not belong there; use an environment with `synthetic_only`",
            a.env
        )));
    }
    let o = site.config().organization(&a.env, &a.org).ok_or_else(|| super::org::unknown(&a.org, &a.env))?;
    let input = CanaryInput { org: a.org.clone(), shares: shares(&site, o)? };
    let client = site.temporal().await?;
    let queue = site.environment().scope().main_queue();
    let options = WorkflowStartOptions::new(&queue, ids::canary(&a.env, &a.org))
        .id_reuse_policy(WorkflowIdReusePolicy::AllowDuplicate)
        .id_conflict_policy(WorkflowIdConflictPolicy::UseExisting)
        .build();
    client.start_workflow(CanaryRun::run, input, options).await.map_err(|e| match e {
        WorkflowStartError::Rpc(s) => leadline_activities::engine::status_fault(&s).into(),
        e => Failure::new(e.to_string()),
    })?;
    output::note("canaries are on their way; each is followed to its outcome");
    let done = last(&client, &a.env, &a.org).await?.unwrap_or_default();
    let passed = done.iter().filter(|c| c.run.passed).count();
    match g.output {
        Format::Json => done.iter().for_each(output::json),
        Format::Text => {
            let rows: Vec<Vec<String>> = done
                .iter()
                .map(|c| {
                    let how = if c.run.passed { "passed".to_owned() } else { format!("did not: {}", c.run.source) };
                    vec![c.path.clone(), c.format.clone(), how]
                })
                .collect();
            output::table(&["PATH", "FORMAT", "CANARY"], &rows);
            output::note(&format!("{passed} of {} passed", done.len()));
        }
    }
    Ok(if passed == done.len() && passed > 0 { Code::Ok } else { Code::NotWell })
}

/// The canaries of the last run, once it has ended; `None` if there was none or it ended badly.
pub(super) async fn last(client: &Client, env: &EnvId, org: &OrgId) -> Result<Option<Vec<Canary>>, Failure> {
    let handle: WorkflowHandle<Client, CanaryRun> = client.get_workflow_handle(ids::canary(env, org));
    match handle.get_result(WorkflowGetResultOptions::default()).await {
        Ok(done) => Ok(Some(done)),
        Err(WorkflowGetResultError::Rpc(s)) => Err(leadline_activities::engine::status_fault(&s).into()),
        Err(_) => Ok(None),
    }
}
