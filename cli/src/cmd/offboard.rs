//! `leadline org offboard`.

use super::apply::{approved, gate_line, note_gates};
use crate::Global;
use crate::connect::Site;
use crate::exit::{Code, Done, Failure};
use crate::output::{self, Format};
use leadline_activities::engine::status_fault;
use leadline_domain::gates::Approver;
use leadline_domain::{EnvId, OrgId};
use leadline_workflows::offboard::{Certificate, HOLDING, OffboardInput, OffboardStatus, WAITING};
use leadline_workflows::{OffboardOrganization, ids};
use std::time::Duration;
use temporalio_client::errors::WorkflowStartError;
use temporalio_client::{
    Client, WorkflowExecuteUpdateOptions, WorkflowGetResultOptions, WorkflowHandle, WorkflowIdConflictPolicy,
    WorkflowIdReusePolicy, WorkflowQueryOptions, WorkflowSignalOptions, WorkflowStartOptions,
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
    /// Only print the certificate.
    #[arg(long, group = "only")]
    certificate: bool,
    /// Agree to it, by its digest.
    #[arg(long, value_name = "DIGEST", group = "only")]
    approve: Option<String>,
}

type Handle = WorkflowHandle<Client, OffboardOrganization>;

pub(crate) async fn run(g: &Global, a: Args) -> Done {
    let site = Site::load(g, &a.env)?;
    let client = site.temporal().await?;
    let handle: Handle = client.get_workflow_handle(ids::offboard(&a.env, &a.org));
    if let Some(digest) = a.approve {
        return approve(&handle, Approver { name: g.operator()?, digest }).await;
    }
    if a.status || a.certificate {
        let status = status(&handle).await.ok_or_else(|| {
            Failure::new(format!("{} is not being off-boarded from {}, or no worker answers", a.org, a.env))
        })?;
        return if a.status { Ok(tell(&status, g.output)) } else { certificate(&status, g.output) };
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
        Err(WorkflowStartError::Rpc(s)) => Err(status_fault(&s).into()),
        Err(e) => Err(Failure::new(e.to_string())),
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
                if s.step == WAITING {
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
            if s.certificate.is_some() && (over || s.step == HOLDING) {
                return Ok(s);
            }
        } else if over {
            return Err(Failure::new("it is over, and no worker answers: start one, and ask with --certificate"));
        }
        tokio::select! {
            r = &mut result, if !over => {
                r.map_err(|e| Failure::new(format!("off-boarding ended: {e}")))?;
                over = true;
            }
            () = tokio::time::sleep(Duration::from_millis(500)) => {}
        }
    }
}

fn told_gates(s: &OffboardStatus) {
    note_gates(&s.gates);
    output::note(&format!("    agree: leadline org offboard ... --approve {} --as <name>", s.plan));
}

async fn approve(handle: &Handle, approver: Approver) -> Done {
    let r =
        handle.execute_update(OffboardOrganization::approve, approver, WorkflowExecuteUpdateOptions::default()).await;
    approved(r)?;
    output::note("approved");
    Ok(Code::Ok)
}

fn tell(s: &OffboardStatus, format: Format) -> Code {
    if format == Format::Json {
        output::json(s);
    } else {
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
        if let Some(c) = &s.certificate {
            lines(c);
        }
    }
    if s.paused.is_some() || s.step == WAITING { Code::NotWell } else { Code::Ok }
}

fn certificate(s: &OffboardStatus, format: Format) -> Done {
    let c = s
        .certificate
        .as_ref()
        .ok_or_else(|| Failure::new(format!("there is no certificate yet: {}; ask with --status", s.step)))?;
    match format {
        Format::Json => output::json(c),
        Format::Text => lines(c),
    }
    Ok(Code::Ok)
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
