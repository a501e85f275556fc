//! A worker that runs leadline's workflows against activities which only say what they were told to: for histories of
//! workflows whose real activities need a whole environment.

// The macro makes constants that nobody here uses.
#![allow(dead_code)]

use crate::harness::temporal::Temporal;
use crate::rig::connect_plain;
use leadline_domain::gates::SignedEvidence;
use leadline_domain::isolation::Evidence;
use leadline_domain::outcome::OverdueReport;
use leadline_domain::transfer::TransferReport;
use leadline_domain::{DriftReport, Fault, FaultClass, FaultCode, OrgId};
use leadline_workflows::checks::{DriftInput, ProbeOthers, ProbeScope, definitions as checks};
use leadline_workflows::contracts::{
    CanarySending, CanaryShot, ExecuteInput, Prepared, StackPlan, WatchInput, definitions as provisioning,
};
use leadline_workflows::deletion::{
    Contents, DeletionCertificate, DeletionInput, DeletionPlan, DismantleInput, Dismantled, Locked, OpenInput,
    definitions as deletion,
};
use leadline_workflows::evidence::{CollectInput, definitions as evidence};
use leadline_workflows::offboard::{
    Certificate, ExportInput, ExportPart, OffboardPlan, UnderWay, WatchEnd, definitions as offboard,
};
use leadline_workflows::outcomes::definitions as outcomes;
use leadline_workflows::rotate::{RotateInput, definitions as rotate};
use leadline_workflows::transfer::{TransferInput, definitions as transfer};
use leadline_workflows::{
    CanaryRun, CollectEvidence, DriftCheck, IsolationProbe, OffboardOrganization, OnboardOrganization, OutcomeCheck,
    RotateCredentials, TransferRecordings, UpdateEnvironment, UpdateOrganization,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use temporalio_client::Client;
use temporalio_common::error::ApplicationFailure;
use temporalio_sdk::activities::{ActivityContext, ActivityError, activities};
use temporalio_sdk::runtime::RuntimeOptions;
use temporalio_sdk::{Runtime, Worker, WorkerOptions};

/// Task queue of the worker.
pub const QUEUE: &str = "leadline.played.main";

type Answers = HashMap<&'static str, VecDeque<Result<Value, Fault>>>;

/// What activities answer, by their names, in the order they are asked; the last success stays.
#[derive(Debug, Default)]
pub struct Script(Mutex<Answers>);

impl Script {
    /// What an activity answers next.
    ///
    /// # Panics
    /// When it cannot be written as JSON.
    pub fn answers(&self, activity: &'static str, with: &impl Serialize) {
        let v = serde_json::to_value(with).expect("JSON");
        self.locked().entry(activity).or_default().push_back(Ok(v));
    }

    /// That an activity fails next.
    pub fn fails(&self, activity: &'static str, code: FaultCode) {
        self.locked().entry(activity).or_default().push_back(Err(Fault::new(code, "planned")));
    }

    /// Nothing more of what was planned so far.
    pub fn clear(&self) {
        self.locked().clear();
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, Answers> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next(&self, activity: &'static str) -> Result<Value, Fault> {
        let mut all = self.locked();
        let Some(queue) = all.get_mut(activity) else {
            return Err(Fault::new(FaultCode::ConfigInvalid, format!("{activity} has no answer")));
        };
        match (queue.len(), queue.front()) {
            (1, Some(Ok(v))) => Ok(v.clone()),
            _ => queue.pop_front().unwrap_or_else(|| {
                Err(Fault::new(FaultCode::ConfigInvalid, format!("{activity} has no more answers")))
            }),
        }
    }

    fn answer<T: DeserializeOwned>(&self, activity: &'static str) -> Result<T, ActivityError> {
        let fault = match self.next(activity) {
            Ok(v) => return serde_json::from_value(v).map_err(|e| panic!("the answer of {activity}: {e}")),
            Err(f) => f,
        };
        // As the real ones fail.
        let passes = matches!(fault.class(), FaultClass::Transient | FaultClass::Throttled);
        Err(ActivityError::application(
            ApplicationFailure::builder(fault.to_string())
                .type_name(fault.code.to_string())
                .non_retryable(!passes)
                .details(fault)
                .build(),
        ))
    }
}

struct Played(Arc<Script>);

macro_rules! played {
    ($($name:ident: $module:ident::$definition:ident($input:ty) -> $output:ty;)+) => {
        #[activities]
        impl Played {
            $(
                #[activity(definition = $module::$definition)]
                async fn $name(self: Arc<Self>, _: ActivityContext, _: $input) -> Result<$output, ActivityError> {
                    self.0.answer(stringify!($name))
                }
            )+
        }
    };
}

played! {
    prepare_stack: provisioning::PrepareStack(StackPlan) -> Prepared;
    execute_stack: provisioning::ExecuteStack(ExecuteInput) -> BTreeMap<String, String>;
    discard_stack: provisioning::DiscardStack(StackPlan) -> String;
    restore_settings: provisioning::RestoreSettings(ExecuteInput) -> Vec<String>;
    probe_organization: provisioning::ProbeOrganization(OrgId) -> Vec<String>;
    register_shares: provisioning::RegisterShares(OrgId) -> Vec<String>;
    pass_canary: provisioning::PassCanary(CanaryShot) -> Option<String>;
    send_canary: provisioning::SendCanary(CanarySending) -> Option<String>;
    probe_scope: checks::ProbeScope(OrgId) -> ProbeScope;
    probe_own: checks::ProbeOwn(OrgId) -> Vec<Evidence>;
    probe_others: checks::ProbeOthers(ProbeOthers) -> Vec<Evidence>;
    find_drift: checks::FindDrift(DriftInput) -> DriftReport;
    schedule_checks: checks::ScheduleChecks(DriftInput) -> Vec<String>;
    collect_evidence: evidence::CollectEvidence(CollectInput) -> SignedEvidence;
    find_overdue: outcomes::FindOverdue(OrgId) -> Option<OverdueReport>;
    transfer_some: transfer::TransferSome(TransferInput) -> TransferReport;
    prove_credentials: rotate::ProveCredentials(RotateInput) -> ();
    plan_offboarding: offboard::PlanOffboarding(OrgId) -> OffboardPlan;
    end_watch: offboard::EndWatch(WatchInput) -> WatchEnd;
    under_way: offboard::UnderWay(OrgId) -> UnderWay;
    end_checks: offboard::EndChecks(OrgId) -> Vec<String>;
    export_recordings: offboard::ExportRecordings(ExportInput) -> Vec<ExportPart>;
    record_certificate: offboard::RecordCertificate(Certificate) -> ();
    plan_deletion: deletion::PlanDeletion(DeletionInput) -> DeletionPlan;
    open_bucket: deletion::OpenBucket(OpenInput) -> ();
    count_contents: deletion::CountContents(OrgId) -> Contents;
    delete_contents: deletion::DeleteContents(OrgId) -> Locked;
    dismantle: deletion::Dismantle(DismantleInput) -> Dismantled;
    record_deletion: deletion::RecordDeletion(DeletionCertificate) -> ();
}

/// A worker with a script, until it is dropped.
pub struct Stage {
    /// Connected to the same server, without encryption.
    pub client: Client,
    /// What activities answer.
    pub script: Arc<Script>,
    stop: Option<Box<dyn Fn() + Send + Sync>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

macro_rules! registered {
    ($options:expr, $($w:ident)+) => { $options$(.register_workflow::<$w>().expect("registered"))+ };
}

impl Stage {
    /// Starts the worker.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn open(temporal: &Temporal) -> Self {
        let script = Arc::new(Script::default());
        let (address, played) = (temporal.address(), Arc::clone(&script));
        let (told, stop) = tokio::sync::oneshot::channel::<Box<dyn Fn() + Send + Sync>>();
        let thread = std::thread::spawn(move || {
            let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            tokio.block_on(async {
                let client = connect_plain(&address).await;
                let options = RuntimeOptions::builder().build().expect("options");
                let runtime = Runtime::from_current_tokio(options).expect("the Temporal runtime");
                let options = registered!(
                    WorkerOptions::new(QUEUE),
                    UpdateEnvironment OnboardOrganization UpdateOrganization CanaryRun IsolationProbe DriftCheck OutcomeCheck
                    CollectEvidence RotateCredentials OffboardOrganization TransferRecordings
                );
                let options = options.register_activities(Played(played)).build();
                let mut worker = Worker::new(&runtime, client, options).expect("a worker");
                let _ = told.send(Box::new(worker.shutdown_handle()));
                worker.run().await.expect("the worker runs");
            });
        });
        let stop = Some(stop.await.expect("the worker starts"));
        Self { client: connect_plain(&temporal.address()).await, script, stop, thread: Some(thread) }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            stop();
        }
        if let Some(t) = self.thread.take() {
            let _ = t.join();
        }
    }
}
