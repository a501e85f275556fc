//! The schedules of the checks, and the checks that a command asks for.

use crate::engine::Engine;
use crate::engine::faults::{end_fault, query_fault, start_fault, status_fault};
use crate::offboard::told;
use crate::ports::registration::{Check, Registrations};
use async_trait::async_trait;
use futures::StreamExt;
use leadline_domain::gates::SignedEvidence;
use leadline_domain::transfer::{Transfer, TransferReport};
use leadline_domain::{DriftReport, EnvId, Fault, FaultCode, OrgId, ProbeReport, ShareId};
use leadline_workflows::checks::DriftInput;
use leadline_workflows::transfer::TransferInput;
use leadline_workflows::{
    CollectEvidence, DriftCheck, IsolationProbe, OutcomeCheck, ShareWatch, TransferRecordings, ids,
};
use std::collections::BTreeSet;
use std::time::Duration;
use temporalio_client::errors::WorkflowGetResultError;
use temporalio_client::schedules::{
    CreateScheduleOptions, DeleteScheduleOptions, ListSchedulesOptions, ScheduleAction, ScheduleError,
    ScheduleIntervalSpec, ScheduleOverlapPolicy, ScheduleSpec,
};
use temporalio_client::tonic::Code;
use temporalio_client::{
    Client, WorkflowGetResultOptions, WorkflowHandle, WorkflowIdConflictPolicy, WorkflowIdReusePolicy,
    WorkflowQueryOptions, WorkflowSignalOptions, WorkflowStartOptions,
};
use temporalio_common::HasWorkflowDefinition;

/// Each organization's credentials are tried on all others this often: requests grow with the square of the number of
/// organizations.
const ISOLATION_EVERY: Duration = Duration::from_secs(24 * 3600);
/// Missing reports of the processor are looked for this often.
const OUTCOMES_EVERY: Duration = Duration::from_secs(6 * 3600);
/// Each stack is compared this often.
const DRIFT_EVERY: Duration = Duration::from_secs(6 * 3600);

/// So many schedules are looked at to tell whose a namespace is. In one of another environment each of them says so.
const LOOKED_AT: usize = 200;

/// A moment within the interval that is this id's own, so that not all begin at once.
fn offset(id: &str, every: Duration) -> Duration {
    let d = leadline_domain::Digest::of(id.as_bytes());
    let n = d.as_bytes()[..4].iter().fold(0u64, |n, b| n << 8 | u64::from(*b));
    Duration::from_secs(n % every.as_secs().max(1))
}

/// The watches of an organization that are of none of these shares.
fn unnamed(watches: Vec<String>, org: &OrgId, keep: &BTreeSet<ShareId>) -> Vec<String> {
    let kept: BTreeSet<String> = keep.iter().map(|s| ids::watch(org, s)).collect();
    watches.into_iter().filter(|w| !kept.contains(w)).collect()
}

/// Temporal itself.
pub struct Registered;

#[async_trait]
impl Registrations for Registered {
    async fn stays(&self, engine: &Engine, env: &EnvId, org: &OrgId) -> Result<(), Fault> {
        engine.stays(env, org).await
    }
    async fn watch(&self, engine: &Engine, queue: &str, org: &OrgId, share: &ShareId) -> Result<String, Fault> {
        engine.start_watch(queue, org, share).await
    }
    async fn unwatch(&self, engine: &Engine, org: &OrgId, keep: &BTreeSet<ShareId>) -> Result<Vec<String>, Fault> {
        let gone = unnamed(engine.running_below(&ids::watches(org)).await?, org, keep);
        for id in &gone {
            let watch: WorkflowHandle<Client, ShareWatch> = engine.client().get_workflow_handle(id.as_str());
            told(watch.signal(ShareWatch::stop, (), WorkflowSignalOptions::default()).await)?;
        }
        Ok(gone)
    }
    async fn schedule(
        &self,
        engine: &Engine,
        queue: &str,
        env: &EnvId,
        org: Option<&OrgId>,
        check: Check,
    ) -> Result<String, Fault> {
        let own = || org.ok_or_else(|| Fault::new(FaultCode::BugInvariant, "only organizations have this check"));
        match check {
            Check::Drift => engine.schedule_drift(queue, env, org).await,
            Check::Isolation => engine.schedule_isolation(queue, env, own()?).await,
            Check::Outcomes => engine.schedule_outcomes(queue, env, own()?).await,
        }
    }
}

impl Engine {
    /// Has the isolation probe of an organization run every day. Returns the schedule's id.
    ///
    /// # Errors
    /// `engine.*`.
    pub async fn schedule_isolation(&self, queue: &str, env: &EnvId, org: &OrgId) -> Result<String, Fault> {
        let id = ids::isolation(env, org);
        let action = ScheduleAction::start_workflow(IsolationProbe::run, org.clone(), queue, &id);
        self.schedule(id, action, ISOLATION_EVERY).await
    }

    /// Has a stack compared every six hours. Returns the schedule's id.
    ///
    /// # Errors
    /// `engine.*`.
    pub async fn schedule_drift(&self, queue: &str, env: &EnvId, org: Option<&OrgId>) -> Result<String, Fault> {
        let id = ids::drift(env, org);
        let action = ScheduleAction::start_workflow(DriftCheck::run, DriftInput { org: org.cloned() }, queue, &id);
        self.schedule(id, action, DRIFT_EVERY).await
    }

    /// Has missing reports of the processor looked for every six hours. Returns the schedule's id.
    ///
    /// # Errors
    /// `engine.*`.
    pub async fn schedule_outcomes(&self, queue: &str, env: &EnvId, org: &OrgId) -> Result<String, Fault> {
        let id = ids::outcomes(env, org);
        let action = ScheduleAction::start_workflow(OutcomeCheck::run, org.clone(), queue, &id);
        self.schedule(id, action, OUTCOMES_EVERY).await
    }

    /// One that is there already is success.
    async fn schedule(&self, id: String, action: ScheduleAction, every: Duration) -> Result<String, Fault> {
        let mut spec = ScheduleSpec::from_interval(every);
        spec.intervals = vec![ScheduleIntervalSpec::new(every, Some(offset(&id, every)))];
        let options = CreateScheduleOptions::builder()
            .action(action)
            .spec(spec)
            .overlap_policy(ScheduleOverlapPolicy::Skip)
            .build();
        match self.client().create_schedule(&id, options).await {
            Ok(_) => Ok(id),
            Err(ScheduleError::Rpc(s)) if s.code() == Code::AlreadyExists => Ok(id),
            Err(ScheduleError::Rpc(s)) => Err(status_fault(&s)),
            Err(_) => Err(Fault::new(FaultCode::EngineRefused, format!("schedule {id} cannot be made"))),
        }
    }

    /// The environments whose schedules are in the namespace: its marks, the first of which an environment's first apply
    /// makes. None where there is no such namespace.
    ///
    /// # Errors
    /// `engine.*`.
    pub async fn marks(&self) -> Result<BTreeSet<EnvId>, Fault> {
        let page = i32::try_from(LOOKED_AT).unwrap_or(i32::MAX);
        let all = self.client().list_schedules(ListSchedulesOptions::builder().maximum_page_size(page).build());
        let mut all = std::pin::pin!(all.take(LOOKED_AT));
        let mut marks = BTreeSet::new();
        while let Some(schedule) = all.next().await {
            match schedule {
                Ok(s) => marks.extend(ids::parse_schedule(s.schedule_id())),
                Err(ScheduleError::Rpc(s)) if s.code() == Code::NotFound => break,
                Err(ScheduleError::Rpc(s)) => return Err(status_fault(&s)),
                Err(_) => return Err(Fault::new(FaultCode::EngineRefused, "schedules cannot be listed")),
            }
        }
        Ok(marks)
    }

    /// Ends a schedule. One that is not there is success.
    ///
    /// # Errors
    /// `engine.*`.
    pub async fn end_schedule(&self, id: &str) -> Result<(), Fault> {
        match self.client().get_schedule_handle(id).delete(DeleteScheduleOptions::default()).await {
            Ok(()) => Ok(()),
            Err(ScheduleError::Rpc(s)) if s.code() == Code::NotFound => Ok(()),
            Err(ScheduleError::Rpc(s)) => Err(status_fault(&s)),
            Err(_) => Err(Fault::new(FaultCode::EngineRefused, format!("schedule {id} cannot be ended"))),
        }
    }

    /// Runs the isolation probe of an organization now, or follows the one that a command started before. Gives what it
    /// found also where that is not what it has to be.
    ///
    /// # Errors
    /// What hindered it: `engine.*`, `credential.*`, `stack.*`, `config.*`.
    pub async fn probe_isolation(&self, queue: &str, env: &EnvId, org: &OrgId) -> Result<ProbeReport, Fault> {
        let id = ids::isolation(env, org);
        let started = self.client().start_workflow(IsolationProbe::run, org.clone(), now(queue, &id)).await;
        started.map_err(start_fault)?;
        let handle: WorkflowHandle<Client, IsolationProbe> = self.client().get_workflow_handle(&id);
        match handle.get_result(WorkflowGetResultOptions::default()).await {
            Ok(report) => Ok(report),
            Err(WorkflowGetResultError::Rpc(s)) => Err(status_fault(&s)),
            Err(e) => match handle.query(IsolationProbe::report, (), WorkflowQueryOptions::default()).await {
                Ok(Some(report)) => Ok(report),
                Ok(None) => Err(end_fault(&e)),
                Err(e) => Err(query_fault(&e)),
            },
        }
    }

    /// Has a worker collect what its environment can show of an organization, and sign it; or follows the one that a
    /// command started before.
    ///
    /// # Errors
    /// What hindered it: `engine.*`, `credential.*`, `config.*`.
    pub async fn collect_evidence(&self, queue: &str, env: &EnvId, org: &OrgId) -> Result<SignedEvidence, Fault> {
        let id = ids::evidence(env, org);
        let started = self.client().start_workflow(CollectEvidence::run, org.clone(), now(queue, &id)).await;
        started.map_err(start_fault)?;
        self.result_of::<CollectEvidence>(&id).await
    }

    async fn result_of<W: HasWorkflowDefinition>(&self, id: &str) -> Result<W::Output, Fault> {
        let handle = self.client().get_workflow_handle::<W>(id);
        match handle.get_result(WorkflowGetResultOptions::default()).await {
            Ok(result) => Ok(result),
            Err(e) => Err(end_fault(&e)),
        }
    }

    /// Copies between storages of an organization, or follows the same transfer that a command started before.
    ///
    /// # Errors
    /// `transfer.refused`; what hindered it: `engine.*`, `store.*`, `credential.*`, `config.*`.
    pub async fn transfer(&self, queue: &str, env: &EnvId, transfer: &Transfer) -> Result<TransferReport, Fault> {
        let id = ids::transfer(env, transfer);
        let input = TransferInput { transfer: transfer.clone(), report: TransferReport::default() };
        self.client().start_workflow(TransferRecordings::run, input, now(queue, &id)).await.map_err(start_fault)?;
        self.result_of::<TransferRecordings>(&id).await
    }

    /// Compares a stack now. Gives what was found also where something was.
    ///
    /// # Errors
    /// What hindered it: `engine.*`, `stack.*`, `config.*`.
    pub async fn find_drift(&self, queue: &str, env: &EnvId, org: Option<&OrgId>) -> Result<DriftReport, Fault> {
        let id = ids::drift(env, org);
        let input = DriftInput { org: org.cloned() };
        self.client().start_workflow(DriftCheck::run, input, now(queue, &id)).await.map_err(start_fault)?;
        let handle: WorkflowHandle<Client, DriftCheck> = self.client().get_workflow_handle(&id);
        match handle.get_result(WorkflowGetResultOptions::default()).await {
            Ok(report) => Ok(report),
            Err(WorkflowGetResultError::Rpc(s)) => Err(status_fault(&s)),
            Err(e) => match handle.query(DriftCheck::report, (), WorkflowQueryOptions::default()).await {
                Ok(Some(report)) => Ok(report),
                Ok(None) => Err(end_fault(&e)),
                Err(e) => Err(query_fault(&e)),
            },
        }
    }
}

fn now(queue: &str, id: &str) -> WorkflowStartOptions {
    WorkflowStartOptions::new(queue, id)
        .id_reuse_policy(WorkflowIdReusePolicy::AllowDuplicate)
        .id_conflict_policy(WorkflowIdConflictPolicy::UseExisting)
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watch_is_ended_when_no_share_of_the_file_is_its() {
        let (org, ward) = (OrgId::parse("st-mary").unwrap(), ShareId::parse("ward").unwrap());
        let watches = ["watch/st-mary/clinic", "watch/st-mary/ward"].map(String::from).to_vec();
        assert_eq!(unnamed(watches.clone(), &org, &BTreeSet::from([ward.clone()])), ["watch/st-mary/clinic"]);
        assert_eq!(unnamed(watches.clone(), &org, &BTreeSet::new()), watches);
        assert_eq!(ids::watch(&org, &ward), format!("{}ward", ids::watches(&org)));
    }

    #[test]
    fn schedules_are_spread_over_the_interval() {
        let hour = Duration::from_secs(3600);
        let all: std::collections::BTreeSet<Duration> =
            (0..100).map(|n| offset(&format!("isolation/us/o{n}"), hour)).collect();
        assert!(all.len() > 80 && all.iter().all(|d| *d < hour));
        assert_eq!(offset("a", hour), offset("a", hour));
    }
}
