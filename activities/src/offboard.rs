//! Off-boarding steps: what is to end, the last listing, what is under way, the lists of recordings.

// The activities macro makes constants that it does not document.
#![allow(missing_docs)]

use crate::deps::Deps;
use crate::engine::{Engine, interaction_fault};
use crate::faults::ended;
use crate::heartbeat::beating;
use crate::ports::queue::Outgoing;
use leadline_domain::{Digest, Fault, FaultCode, OrgId};
use leadline_workflows::contracts::{StackPlan, WatchInput};
use leadline_workflows::offboard::{Certificate, ExportInput, ExportPart, OffboardPlan, WatchEnd, definitions};
use leadline_workflows::{OffboardOrganization, ShareWatch, ids};
use std::sync::Arc;
use std::time::Duration;
use temporalio_client::errors::WorkflowInteractionError;
use temporalio_client::{WorkflowDescribeOptions, WorkflowExecutionStatus, WorkflowHandle, WorkflowSignalOptions};
use temporalio_sdk::activities::{ActivityContext, ActivityError, activities};

/// Time between two looks.
const POLL: Duration = Duration::from_millis(500);
/// How long the last listing of a share is waited for: a server that is gone already does not hold up a goodbye, and a
/// device that never stops writing does not either.
const LISTING: Duration = Duration::from_secs(300);

/// Implements `leadline_workflows::offboard::Offboardings`.
pub struct OffboardActivities {
    deps: Arc<Deps>,
}

impl OffboardActivities {
    /// Works with these parts.
    #[must_use]
    pub fn new(deps: Arc<Deps>) -> Self {
        Self { deps }
    }
}

#[activities]
impl OffboardActivities {
    /// See the contract.
    #[activity(definition = definitions::PlanOffboarding)]
    pub async fn plan_offboarding(
        self: Arc<Self>,
        _ctx: ActivityContext,
        org: OrgId,
    ) -> Result<OffboardPlan, ActivityError> {
        ended("plan_offboarding", plan(&self.deps, &org))
    }

    /// See the contract.
    #[activity(definition = definitions::EndWatch)]
    pub async fn end_watch(
        self: Arc<Self>,
        ctx: ActivityContext,
        watch: WatchInput,
    ) -> Result<WatchEnd, ActivityError> {
        let engine = Engine::new(ctx.client());
        ended("end_watch", beating(&ctx, end(&engine, &watch)).await)
    }

    /// See the contract.
    #[activity(definition = definitions::UnderWay)]
    pub async fn under_way(self: Arc<Self>, ctx: ActivityContext, org: OrgId) -> Result<Vec<String>, ActivityError> {
        let engine = Engine::new(ctx.client());
        ended("under_way", beating(&ctx, under_way(&self.deps, &engine, &org)).await)
    }

    /// See the contract.
    #[activity(definition = definitions::ExportRecordings)]
    pub async fn export_recordings(
        self: Arc<Self>,
        ctx: ActivityContext,
        input: ExportInput,
    ) -> Result<Vec<ExportPart>, ActivityError> {
        ended("export_recordings", beating(&ctx, export(&self.deps, &input)).await)
    }

    /// See the contract.
    #[activity(definition = definitions::RecordCertificate)]
    pub async fn record_certificate(
        self: Arc<Self>,
        ctx: ActivityContext,
        certificate: Certificate,
    ) -> Result<(), ActivityError> {
        ended("record_certificate", beating(&ctx, record(&self.deps, &certificate)).await)
    }
}

/// Refuses to begin something new for an organization that is being off-boarded.
pub(crate) async fn stays(engine: &Engine, plan: &StackPlan) -> Result<(), Fault> {
    let Some(org) = &plan.org else { return Ok(()) };
    let id = ids::offboard(&plan.env, org);
    let handle = engine.client().get_workflow_handle::<OffboardOrganization>(id);
    match handle.describe(WorkflowDescribeOptions::default()).await {
        Ok(d) if d.status() == WorkflowExecutionStatus::Running => {
            Err(Fault::new(FaultCode::OrgOffboarding, format!("{org} is being off-boarded from {}", plan.env)))
        }
        Ok(_) | Err(WorkflowInteractionError::NotFound(_)) => Ok(()),
        Err(e) => Err(interaction_fault(&e)),
    }
}

fn plan(deps: &Deps, org: &OrgId) -> Result<OffboardPlan, Fault> {
    let config = deps.registry.org(org)?;
    let mut plan = OffboardPlan {
        digest: String::new(),
        stack: config.scope.stack(),
        bucket: config.scope.bucket(),
        shares: config.shares.keys().cloned().collect(),
        retention_days: deps.registry.snapshot().retention_days,
        gates: None,
    };
    let text = serde_json::to_string(&plan)
        .map_err(|_| Fault::new(FaultCode::BugInvariant, "an off-boarding cannot be written"))?;
    plan.digest = Digest::of(text.as_bytes()).to_hex();
    plan.gates = deps.registry.gates();
    Ok(plan)
}

type Watch = WorkflowHandle<temporalio_client::Client, ShareWatch>;

/// The run of a watch, if it runs.
async fn run_of(watch: &Watch) -> Result<Option<String>, Fault> {
    match watch.describe(WorkflowDescribeOptions::default()).await {
        Ok(d) if d.status() == WorkflowExecutionStatus::Running => Ok(Some(d.run_id().to_owned())),
        Ok(_) | Err(WorkflowInteractionError::NotFound(_)) => Ok(None),
        Err(e) => Err(interaction_fault(&e)),
    }
}

/// Has the watch begin anew, which it does with a listing; waits until what it found has been taken up; and ends it.
async fn end(engine: &Engine, input: &WatchInput) -> Result<WatchEnd, Fault> {
    let watch: Watch = engine.client().get_workflow_handle(ids::watch(&input.org, &input.share));
    let mut out = WatchEnd { share: input.share.clone(), listed: 0, note: None };
    let Some(before) = run_of(&watch).await? else {
        out.note = Some("it was not watched any more".into());
        return Ok(out);
    };
    told(watch.signal(ShareWatch::restart, (), WorkflowSignalOptions::default()).await)?;
    let limit = tokio::time::Instant::now() + LISTING;
    loop {
        tokio::time::sleep(POLL).await;
        let anew = run_of(&watch).await?.is_some_and(|run| run != before);
        let status = engine.watch_status(&input.org, &input.share).await?.filter(|_| anew);
        if let Some(s) = &status
            && s.reconciles > 0
            && s.fault.is_none()
            && s.pending == 0
        {
            out.listed = s.listed;
            break;
        }
        if tokio::time::Instant::now() > limit {
            out.note = Some(match status {
                None => "no last listing: no worker had the watch".into(),
                Some(s) => match s.fault {
                    Some(f) => format!("no last listing: {f}"),
                    None => format!("{} files were still changing", s.pending),
                },
            });
            break;
        }
    }
    told(watch.signal(ShareWatch::stop, (), WorkflowSignalOptions::default()).await)?;
    while run_of(&watch).await?.is_some() {
        tokio::time::sleep(POLL).await;
    }
    Ok(out)
}

/// One that has ended needs telling nothing.
fn told(r: Result<(), WorkflowInteractionError>) -> Result<(), Fault> {
    match r {
        Ok(()) | Err(WorkflowInteractionError::NotFound(_)) => Ok(()),
        Err(e) => Err(interaction_fault(&e)),
    }
}

async fn under_way(deps: &Deps, engine: &Engine, org: &OrgId) -> Result<Vec<String>, Fault> {
    let mut out = Vec::new();
    for share in deps.registry.org(org)?.shares.keys() {
        for kind in ["RecordingLifecycle", "IngestBatch"] {
            out.extend(engine.running(kind, org, share).await?);
        }
    }
    Ok(out)
}

async fn export(deps: &Deps, input: &ExportInput) -> Result<Vec<ExportPart>, Fault> {
    let lists = deps.store(&input.org).await?.export_list(&input.name).await?;
    let part = |l: crate::ports::store::Listed| ExportPart {
        key: l.key,
        sha256: l.sha256,
        recordings: l.recordings,
        bytes: l.bytes,
    };
    Ok(lists.into_iter().map(part).collect())
}

async fn record(deps: &Deps, certificate: &Certificate) -> Result<(), Fault> {
    let body = serde_json::to_string(certificate)
        .map_err(|_| Fault::new(FaultCode::BugInvariant, "a certificate cannot be written"))?;
    let message = Outgoing { body, dedup_id: certificate.id.clone(), group_id: certificate.organization.to_string() };
    deps.audit_queue.send(&[message]).await.into_iter().collect()
}
