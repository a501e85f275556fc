//! `leadline org rotate`.

use crate::Global;
use crate::connect::Site;
use crate::exit::{Code, Done, Failure};
use crate::output::{self, Format};
use leadline_activities::adapters::aws::AwsSecrets;
use leadline_activities::ports::rotation::Rotation;
use leadline_domain::{EnvId, Fault, FaultCode, OrgId, OrgScope, ShareId};
use leadline_workflows::rotate::RotateInput;
use leadline_workflows::{RotateCredentials, ids};
use serde_json::json;
use std::path::PathBuf;
use std::time::Duration;
use temporalio_client::{
    Client, WorkflowGetResultOptions, WorkflowHandle, WorkflowIdConflictPolicy, WorkflowIdReusePolicy,
    WorkflowQueryOptions, WorkflowStartOptions, WorkflowTerminateOptions,
};

/// Options. Without a file, a rotation that was begun goes on: the new credentials are in the secret already.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Organization.
    org: OrgId,
    /// Environment.
    #[arg(long)]
    env: EnvId,
    /// Share.
    #[arg(long)]
    share: ShareId,
    /// TOML file with a table for the share: `user`, `password`, and `domain` if there is one. They become pending and
    /// are made current once a worker has logged on with them; until then workers accept both.
    #[arg(long, value_name = "FILE")]
    credentials: Option<PathBuf>,
    /// Wait so long for the share to answer to the new credentials; default: until interrupted. Either way it can be run
    /// again.
    #[arg(long, value_name = "SECONDS")]
    within: Option<u64>,
    /// Take the new credentials back: the current ones stay.
    #[arg(long, conflicts_with_all = ["credentials", "within"])]
    withdraw: bool,
}

type Proof = WorkflowHandle<Client, RotateCredentials>;

pub(crate) async fn run(g: &Global, a: Args) -> Done {
    let site = Site::load(g, &a.env)?;
    let o = site.config().organization(&a.env, &a.org).ok_or_else(|| super::org::unknown(&a.org, &a.env))?;
    let share = o
        .shares
        .get(&a.share)
        .ok_or_else(|| Failure::command(format!("organization {} has no share {} in {}", a.org, a.share, a.env)))?;
    let scope = o.scope(site.environment())?;
    let secrets = AwsSecrets::new(site.aws_here().await?);
    let client = site.temporal().await?;
    if a.withdraw {
        return withdraw(&secrets, &client, &scope, &a).await;
    }
    let version = pending(&secrets, &scope, &a).await?;
    let input = RotateInput {
        org: a.org.clone(),
        share: a.share.clone(),
        version: version.clone(),
        task_queue: site.environment().scope().task_queue(&share.group),
    };
    let proof = start(&site, &client, input, &a).await?;
    output::note("workers accept the current and the new credentials; waiting until the share answers to the new ones");
    let followed = follow(&proof);
    match a.within {
        None => followed.await?,
        Some(s) => match tokio::time::timeout(Duration::from_secs(s), followed).await {
            Ok(r) => r?,
            Err(_) => return Err(unproven(&proof, s).await),
        },
    }
    secrets.promote(&scope, &a.share, &version).await?;
    match g.output {
        Format::Json => {
            output::json(&json!({"organization": a.org, "share": a.share, "version": version, "state": "current"}));
        }
        Format::Text => output::line(&format!(
            "{}/{}: the new credentials are current; the ones before are kept as the previous version",
            a.org, a.share
        )),
    }
    Ok(Code::Ok)
}

/// The version that is to be proven: from the file, or pending already.
async fn pending(secrets: &AwsSecrets, scope: &OrgScope, a: &Args) -> Result<String, Failure> {
    let labels = secrets.labels(scope, &a.share).await?;
    let Some(file) = &a.credentials else {
        return labels.pending.ok_or_else(|| {
            Failure::command(format!("no new credentials of share {} are pending: give them by --credentials", a.share))
        });
    };
    let mut given = super::org::read(file)?;
    let new = given
        .remove(&a.share)
        .ok_or_else(|| Failure::command(format!("{} has no table for share {}", file.display(), a.share)))?;
    if let Some(other) = given.keys().next() {
        return Err(Failure::command(format!("{} names share {other} too: one is rotated at a time", file.display())));
    }
    output::note("  writing the new credentials as the pending version of the share's secret");
    Ok(secrets.begin(scope, &a.share, &new).await?)
}

/// Starts the proof; one that is under way is begun anew, so that it tries at once.
async fn start(site: &Site, client: &Client, input: RotateInput, a: &Args) -> Result<Proof, Failure> {
    let queue = site.environment().scope().main_queue();
    let id = ids::rotate(&a.env, &a.org, &a.share);
    let options = WorkflowStartOptions::new(&queue, &id)
        .id_reuse_policy(WorkflowIdReusePolicy::AllowDuplicate)
        .id_conflict_policy(WorkflowIdConflictPolicy::TerminateExisting)
        .build();
    client.start_workflow(RotateCredentials::run, input, options).await?;
    Ok(client.get_workflow_handle(id))
}

/// Follows the proof to its end, telling why it is not there yet.
async fn follow(proof: &Proof) -> Result<(), Failure> {
    let result = proof.get_result(WorkflowGetResultOptions::default());
    tokio::pin!(result);
    let mut told = String::new();
    loop {
        tokio::select! {
            r = &mut result => return Ok(r.map(drop)?),
            () = tokio::time::sleep(Duration::from_millis(500)) => {}
        }
        let status = proof.query(RotateCredentials::status, (), WorkflowQueryOptions::default());
        let now = match tokio::time::timeout(Duration::from_secs(5), status).await {
            Ok(Ok(s)) => s.fault.map(|f| f.to_string()).unwrap_or_default(),
            _ => "no worker of this environment answers (leadline worker)".into(),
        };
        if now != told && !now.is_empty() {
            output::note(&format!("  not yet: {now}"));
        }
        told = now;
    }
}

async fn unproven(proof: &Proof, seconds: u64) -> Failure {
    let status = proof.query(RotateCredentials::status, (), WorkflowQueryOptions::default()).await.ok();
    let fault = status.and_then(|s| s.fault);
    let fault = fault.unwrap_or_else(|| Fault::new(FaultCode::EngineUnreachable, "no worker has tried them yet"));
    let detail = format!(
        "{} (not proven within {seconds} s: the current credentials stay current, the new ones stay pending; run it \
         again, or take them back with --withdraw)",
        fault.detail
    );
    Fault::new(fault.code, detail).into()
}

async fn withdraw(secrets: &AwsSecrets, client: &Client, scope: &OrgScope, a: &Args) -> Done {
    let taken = secrets.withdraw(scope, &a.share).await?;
    let proof: Proof = client.get_workflow_handle(ids::rotate(&a.env, &a.org, &a.share));
    // It would find out by itself at its next attempt.
    let _ = proof.terminate(WorkflowTerminateOptions::builder().reason("withdrawn").build()).await;
    output::line(&match taken {
        Some(_) => format!("{}/{}: the new credentials were taken back; the current ones stay", a.org, a.share),
        None => format!("{}/{}: no new credentials were pending", a.org, a.share),
    });
    Ok(Code::Ok)
}
