//! `leadline org offboard`.

use super::apply::{answered, approved, gate_line, note_gates};
use crate::Global;
use crate::connect::Site;
use crate::exit::{Code, Done, Failure};
use crate::output::{self, Format};
use leadline_domain::gates::Approver;
use leadline_domain::{EnvId, Fault, FaultCode, OrgId};
use leadline_workflows::contracts::Operator;
use leadline_workflows::deletion::{DeletionCertificate, WAITING_TO_DELETE};
use leadline_workflows::offboard::{Certificate, HOLDING, OffboardInput, OffboardStatus, WAITING};
use leadline_workflows::{OffboardOrganization, ids};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;
use temporalio_client::errors::WorkflowUpdateError;
use temporalio_client::{
    Client, WorkflowDescribeOptions, WorkflowExecuteUpdateOptions, WorkflowGetResultOptions, WorkflowHandle,
    WorkflowIdConflictPolicy, WorkflowIdReusePolicy, WorkflowQueryOptions, WorkflowSignalOptions, WorkflowStartOptions,
};

/// Options.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Organization.
    org: OrgId,
    /// Environment.
    #[arg(long)]
    env: EnvId,
    /// Only say where it stands. Exit 3 if it waits for a human.
    #[arg(long, group = "only")]
    status: bool,
    /// Only print the certificates, or write them into a new file, as JSON: what is in the organization's own bucket goes
    /// with it.
    #[arg(long, value_name = "FILE", num_args = 0..=1, group = "only")]
    certificate: Option<Option<PathBuf>>,
    /// Agree to what waits, by its digest: the leaving, or, after the time of retention, the deletion.
    #[arg(long, value_name = "DIGEST", group = "only")]
    approve: Option<String>,
    /// Have everything stay: ends an off-boarding that waits for an approval, or holds.
    #[arg(long, group = "only")]
    keep: bool,
}

type Handle = WorkflowHandle<Client, OffboardOrganization>;

pub(crate) async fn run(g: &Global, a: Args) -> Done {
    let site = Site::load(g, &a.env)?;
    let client = site.temporal().await?;
    let handle: Handle = client.get_workflow_handle(ids::offboard(&a.env, &a.org));
    if let Some(digest) = a.approve {
        return approve(&handle, Approver { name: g.operator()?, digest }).await;
    }
    if a.keep {
        return keep(&handle, g.operator()?).await;
    }
    if a.status || a.certificate.is_some() {
        let status = status(&handle).await.ok_or_else(|| {
            Failure::command(format!("{} is not being off-boarded from {}, or no worker answers", a.org, a.env))
        })?;
        return match a.certificate {
            None => Ok(tell(&status, g.output)),
            Some(None) => certificate(&status, g.output),
            Some(Some(file)) => written(&status, &file),
        };
    }
    site.config().organization(&a.env, &a.org).ok_or_else(|| super::org::unknown(&a.org, &a.env))?;
    let requested_by = super::apply::requester(g, &site)?;
    let input = OffboardInput { env: a.env.clone(), org: a.org.clone(), requested_by };
    start(&site, &client, input).await?;
    // One that waits for something that was mended goes on at once.
    let _ = handle.signal(OffboardOrganization::resume, (), WorkflowSignalOptions::default()).await;
    let status = follow(&handle).await?;
    certificate(&status, g.output)
}

async fn start(site: &Site, client: &Client, input: OffboardInput) -> Result<(), Failure> {
    let queue = site.environment().scope().main_queue();
    let options = WorkflowStartOptions::new(&queue, ids::offboard(&input.env, &input.org))
        .id_reuse_policy(WorkflowIdReusePolicy::AllowDuplicate)
        .id_conflict_policy(WorkflowIdConflictPolicy::UseExisting)
        .build();
    match client.start_workflow(OffboardOrganization::run, input, options).await {
        Ok(_) => Ok(()),
        Err(e) => Err(e.into()),
    }
}

/// `None` if it was never started or no worker answers.
async fn status(handle: &Handle) -> Option<OffboardStatus> {
    let query = handle.query(OffboardOrganization::status, (), WorkflowQueryOptions::default());
    tokio::time::timeout(Duration::from_secs(10), query).await.ok()?.ok()
}

/// Follows it until there is a certificate; the hold is not waited for.
async fn follow(handle: &Handle) -> Result<OffboardStatus, Failure> {
    let result = handle.get_result(WorkflowGetResultOptions::default());
    tokio::pin!(result);
    let mut told = (String::new(), None, 0);
    let mut over = false;
    loop {
        if let Some(s) = status(handle).await {
            let now = (s.step.clone(), s.paused.clone(), s.waiting_count);
            if now != told {
                output::note(&format!("  {}", s.step));
                if s.step == WAITING || s.step == WAITING_TO_DELETE {
                    told_gates(&s);
                }
                if let Some(f) = &s.paused {
                    output::note(&format!("  waits: {f}; see docs/faults/{}.md", f.code));
                }
                if s.waiting_count > 0 {
                    output::note(&format!("  {} still under way", s.waiting_count));
                }
                told = now;
            }
            if s.certificate.is_some() && (over || s.step == HOLDING || s.step == WAITING_TO_DELETE) {
                return Ok(s);
            }
        } else if over {
            let detail = "it is over, and no worker answers: start one, and ask with --certificate";
            return Err(Fault::new(FaultCode::EngineUnreachable, detail).into());
        }
        tokio::select! {
            r = &mut result, if !over => {
                r?;
                over = true;
            }
            () = tokio::time::sleep(Duration::from_millis(500)) => {}
        }
    }
}

fn told_gates(s: &OffboardStatus) {
    note_gates(&s.gates);
    let (what, plan) = if s.step == WAITING { ("agree", &s.plan) } else { ("DELETE", &s.deletion_plan) };
    output::note(&format!("    {what}: leadline org offboard ... --approve {plan} --as <name>"));
}

async fn keep(handle: &Handle, name: String) -> Done {
    let who = Operator { name };
    let o = WorkflowExecuteUpdateOptions::default();
    let r = answered(handle.execute_update(OffboardOrganization::keep, who, o)).await?;
    let refused = |why: &str| Failure::from(Fault::new(FaultCode::ApplyNotCancelled, why));
    match r {
        Ok(_) => {}
        Err(WorkflowUpdateError::NotFound(_)) => return Err(refused("no off-boarding is under way")),
        // The validator gives a fault as text.
        Err(WorkflowUpdateError::Failed(f)) => {
            return Err(refused(f.message.trim_start_matches("apply.not_cancelled: ")));
        }
        Err(e) => return Err(e.into()),
    }
    output::note("everything stays as it is; `leadline org onboard` watches it again");
    Ok(Code::Ok)
}

async fn approve(handle: &Handle, approver: Approver) -> Done {
    let o = WorkflowExecuteUpdateOptions::default();
    approved(answered(handle.execute_update(OffboardOrganization::approve, approver, o)).await?)?;
    output::note("approved");
    Ok(Code::Ok)
}

fn tell(s: &OffboardStatus, format: Format) -> Code {
    if format == Format::Json {
        output::json(s);
    } else {
        tell_lines(s);
    }
    if waits(s) { Code::NotWell } else { Code::Ok }
}

/// Whether it stands until a human does something.
pub(crate) fn waits(s: &OffboardStatus) -> bool {
    s.paused.is_some() || s.step == WAITING || s.step == WAITING_TO_DELETE
}

/// Where an off-boarding stands, with its certificates.
pub(crate) fn tell_lines(s: &OffboardStatus) {
    {
        output::line(&format!("plan          {}", s.plan));
        output::line(&format!("requested by  {}", s.requested_by));
        output::line(&format!("step          {}", s.step));
        for g in &s.gates {
            output::line(&gate_line(g));
        }
        for id in &s.waiting {
            output::line(&format!("under way     {id}"));
        }
        if let Some(f) = &s.paused {
            output::line(&format!("waits         {f}; see docs/faults/{}.md", f.code));
        }
        if !s.deletion_plan.is_empty() {
            output::line(&format!("deletion      {}", s.deletion_plan));
        }
        if let Some(who) = &s.kept_by {
            output::line(&format!("kept by       {who}"));
        }
        if let Some(c) = &s.certificate {
            lines(c);
        }
        if let Some(d) = &s.deletion {
            deletion_lines(d);
        }
    }
}

/// The off-boarding of an organization, if there was one and a worker answers.
pub(crate) async fn of(client: &Client, env: &EnvId, org: &OrgId) -> Option<OffboardStatus> {
    let handle: Handle = client.get_workflow_handle(ids::offboard(env, org));
    handle.describe(WorkflowDescribeOptions::default()).await.ok()?;
    status(&handle).await
}

/// Writes a new file with the certificates.
fn written(s: &OffboardStatus, file: &Path) -> Done {
    let c = s
        .certificate
        .as_ref()
        .ok_or_else(|| Failure::command(format!("there is no certificate yet: {}; ask with --status", s.step)))?;
    let text = format!("{:#}\n", serde_json::json!({ "offboarding": c, "deletion": s.deletion }));
    let cannot = |e: std::io::Error| Failure::machine(format!("{} cannot be written: {e}", file.display()));
    // One that is there is another certificate, perhaps the only one left.
    let mut f = std::fs::File::options().write(true).create_new(true).open(file).map_err(cannot)?;
    f.write_all(text.as_bytes()).and_then(|()| f.sync_all()).map_err(cannot)?;
    output::note(&format!("{} written; keep it where it outlives the organization's bucket", file.display()));
    Ok(Code::Ok)
}

fn certificate(s: &OffboardStatus, format: Format) -> Done {
    let c = s
        .certificate
        .as_ref()
        .ok_or_else(|| Failure::command(format!("there is no certificate yet: {}; ask with --status", s.step)))?;
    match format {
        Format::Json => output::json(c),
        Format::Text => lines(c),
    }
    match (&s.deletion, format) {
        (Some(d), Format::Json) => output::json(d),
        (Some(d), Format::Text) => deletion_lines(d),
        (None, _) => {}
    }
    Ok(Code::Ok)
}

fn deletion_lines(d: &DeletionCertificate) {
    output::line(&format!("certificate   {} of the deletion of {} in {}", d.id, d.organization, d.environment));
    let who: Vec<&str> = d.approvers.iter().map(|a| a.name.as_str()).collect();
    output::line(&format!("approved by   {}", who.join(", ")));
    output::line(&format!("held          {} versions, {}", d.held.versions, output::bytes(d.held.bytes)));
    for r in &d.removed {
        output::line(&format!("removed       {r}"));
    }
    for k in &d.kept {
        output::line(&format!("kept          {}: {}", k.what, k.why));
    }
}

fn lines(c: &Certificate) {
    output::line(&format!("certificate   {} of {} in {}", c.id, c.organization, c.environment));
    output::line(&format!("recordings    {}, {}", c.recordings, output::bytes(c.bytes)));
    for e in &c.exports {
        output::line(&format!("list          {} sha256 {}", e.key, e.sha256));
    }
    for w in &c.watches {
        let note = w.note.as_deref().map_or(String::new(), |n| format!("; {n}"));
        output::line(&format!("last listing  share {}: {} files{note}", w.share, w.listed));
    }
    for r in &c.removed {
        output::line(&format!("ended         {r}"));
    }
    for k in &c.kept {
        output::line(&format!("kept          {}: {}", k.what, k.why));
    }
    let left = c.kept_until_ms.saturating_sub(c.exported_ms) / 86_400_000;
    output::line(&format!("held          at least {left} days"));
}
