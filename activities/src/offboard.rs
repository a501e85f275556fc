//! Off-boarding steps: what is to end, the last listing, what is under way, the lists of recordings.

// The activities macro makes constants that it does not document.
#![allow(missing_docs)]

use crate::deps::Deps;
use crate::engine::Engine;
use crate::engine::faults::interaction_fault;
use crate::faults::ended;
use crate::heartbeat::beating;
use crate::ports::queue::Outgoing;
use leadline_domain::{Digest, Fault, FaultCode, OrgId};
use leadline_workflows::contracts::{StackPlan, WatchInput};
use leadline_workflows::offboard::{
    Certificate, ExportInput, ExportPart, OffboardPlan, SHOWN, UnderWay, WatchEnd, definitions,
};
use leadline_workflows::{ShareWatch, ids};
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
        ctx: ActivityContext,
        org: OrgId,
    ) -> Result<OffboardPlan, ActivityError> {
        let engine = Engine::new(ctx.client());
        let work = async {
            nothing_begins(&self.deps, &engine, &org).await?;
            plan(&self.deps, &org)
        };
        ended("plan_offboarding", beating(&ctx, work).await)
    }

    /// See the contract.
    #[activity(definition = definitions::EndWatch)]
    pub async fn end_watch(
        self: Arc<Self>,
        ctx: ActivityContext,
        watch: WatchInput,
    ) -> Result<WatchEnd, ActivityError> {
        let engine = Engine::new(ctx.client());
        ended("end_watch", beating(&ctx, end(&self.deps, &engine, &watch)).await)
    }

    /// See the contract.
    #[activity(definition = definitions::UnderWay)]
    pub async fn under_way(self: Arc<Self>, ctx: ActivityContext, org: OrgId) -> Result<UnderWay, ActivityError> {
        let engine = Engine::new(ctx.client());
        ended("under_way", beating(&ctx, under_way(&self.deps, &engine, &org)).await)
    }

    /// See the contract.
    #[activity(definition = definitions::EndChecks)]
    pub async fn end_checks(self: Arc<Self>, ctx: ActivityContext, org: OrgId) -> Result<Vec<String>, ActivityError> {
        let engine = Engine::new(ctx.client());
        ended("end_checks", beating(&ctx, end_checks(&self.deps, &engine, &org)).await)
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
pub(crate) async fn stays(deps: &Deps, engine: &Engine, plan: &StackPlan) -> Result<(), Fault> {
    let Some(org) = &plan.org else { return Ok(()) };
    deps.registrations.stays(engine, &plan.env, org).await
}

/// An onboarding would start the watches that the off-boarding counts on to have ended.
async fn nothing_begins(deps: &Deps, engine: &Engine, org: &OrgId) -> Result<(), Fault> {
    let id = ids::onboard(deps.registry.env().env(), org);
    if engine.runs(&id).await? {
        let detail = format!("{id} is under way: let it end, or cancel it");
        return Err(Fault::new(FaultCode::ApplyUnderWay, detail));
    }
    Ok(())
}

/// The schedules, and what commands started: it has no place to work on any more.
async fn end_checks(deps: &Deps, engine: &Engine, org: &OrgId) -> Result<Vec<String>, Fault> {
    let (env, config) = (deps.registry.env(), deps.registry.org(org)?);
    let env = env.env();
    let schedules = [ids::isolation(env, org), ids::drift(env, Some(org)), ids::outcomes(env, org)];
    for schedule in &schedules {
        engine.end_schedule(schedule).await?;
    }
    let mut running = vec![ids::canary(env, org)];
    running.extend(schedules.iter().cloned());
    running.extend(config.every_share().map(|share| ids::rotate(env, org, share)));
    // A subscription would be followed for months more: what it tells of has no way in any more.
    for begun in [ids::transfers(env, org), ids::subscriptions(org)] {
        running.extend(engine.running_below(&begun).await?);
    }
    for id in running {
        engine.terminate(&id, "the organization is being off-boarded").await?;
    }
    // The same in a repeat of this step.
    Ok(schedules.map(|s| format!("schedule {s}")).to_vec())
}

fn plan(deps: &Deps, org: &OrgId) -> Result<OffboardPlan, Fault> {
    let config = deps.registry.org(org)?;
    let mut plan = OffboardPlan {
        digest: String::new(),
        stack: config.scope.stack(),
        bucket: config.scope.bucket(),
        // One that was switched off may have a watch that waits for it.
        shares: config.every_share().cloned().collect(),
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
async fn end(deps: &Deps, engine: &Engine, input: &WatchInput) -> Result<WatchEnd, Fault> {
    let watch: Watch = engine.client().get_workflow_handle(ids::watch(&input.org, &input.share));
    let mut out = WatchEnd { share: input.share.clone(), listed: 0, note: None };
    let Some(before) = run_of(&watch).await? else {
        out.note = Some("it was not watched any more".into());
        return Ok(out);
    };
    // Switched off, it is listed by nobody.
    if !deps.registry.org(&input.org)?.shares.contains_key(&input.share) {
        out.note = Some("it was switched off: nothing was listed at last".into());
        stopped(&watch).await?;
        return Ok(out);
    }
    told(watch.signal(ShareWatch::restart, (), WorkflowSignalOptions::default()).await)?;
    let mut patience = Patience::new(tokio::time::Instant::now());
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
        let left = status.as_ref().filter(|s| s.reconciles > 0 && s.fault.is_none()).map(|s| s.pending);
        if patience.is_over(left, tokio::time::Instant::now()) {
            out.note = Some(match status {
                None => "no last listing: no worker had the watch".into(),
                Some(s) => match s.fault {
                    Some(f) => format!("no last listing: {f}"),
                    None => format!("{} files were still changing, or not taken up yet", s.pending),
                },
            });
            break;
        }
    }
    stopped(&watch).await?;
    Ok(out)
}

/// How long the end of a watch is put off: [`LISTING`], anew with each file fewer that is not taken up yet. A backlog may
/// take longer, and one that gets no shorter is left.
struct Patience {
    until: tokio::time::Instant,
    least: Option<u64>,
}

impl Patience {
    fn new(now: tokio::time::Instant) -> Self {
        Self { until: now + LISTING, least: None }
    }

    /// Whether it is over, with so many files `left` (`None`: not known).
    fn is_over(&mut self, left: Option<u64>, now: tokio::time::Instant) -> bool {
        if let Some(left) = left
            && self.least.is_none_or(|least| left < least)
        {
            (self.until, self.least) = (now + LISTING, Some(left));
        }
        now > self.until
    }
}

/// Ends a watch, and waits until it has ended.
async fn stopped(watch: &Watch) -> Result<(), Fault> {
    told(watch.signal(ShareWatch::stop, (), WorkflowSignalOptions::default()).await)?;
    while run_of(watch).await?.is_some() {
        tokio::time::sleep(POLL).await;
    }
    Ok(())
}

/// One that has ended needs telling nothing.
pub(crate) fn told(r: Result<(), WorkflowInteractionError>) -> Result<(), Fault> {
    match r {
        Ok(()) | Err(WorkflowInteractionError::NotFound(_)) => Ok(()),
        Err(e) => Err(interaction_fault(&e)),
    }
}

/// Whatever carries the organization's search attribute, by whatever way it came in; its watches have ended before.
async fn under_way(deps: &Deps, engine: &Engine, org: &OrgId) -> Result<UnderWay, Fault> {
    deps.registry.scope(org)?;
    let mut first = engine.running_of(org).await?;
    let count = first.len() as u64;
    first.truncate(SHOWN);
    Ok(UnderWay { count, first })
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
    deps.audit_queue.send_one(message).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backlog_that_gets_shorter_is_waited_for() {
        let began = tokio::time::Instant::now();
        let at = |n| began + LISTING * n;
        let mut p = Patience::new(began);
        assert!(!p.is_over(None, at(1)));
        assert!(!p.is_over(Some(500), at(1)) && !p.is_over(Some(499), at(2)) && !p.is_over(Some(499), at(3)));
        assert!(p.is_over(Some(600), at(3) + POLL), "no shorter than it was");
        assert!(Patience::new(began).is_over(None, at(1) + POLL), "no listing at all");
    }
}
