//! A worker: Temporal's side of this process.

use crate::canary::CanaryActivities;
use crate::checks::CheckActivities;
use crate::deletion::DeletionActivities;
use crate::deps::Deps;
use crate::evidence::EvidenceActivities;
use crate::ingest::IngestActivities;
use crate::offboard::OffboardActivities;
use crate::outcomes::OutcomeActivities;
use crate::provision::ProvisioningActivities;
use crate::rotate::RotationActivities;
use crate::spans::Spans;
use crate::transfer::TransferActivities;
use crate::watch::WatchActivities;
use leadline_domain::WorkerGroup;
use leadline_workflows::{
    CanaryRun, CollectEvidence, DriftCheck, FollowedSubscription, IngestBatch, IsolationProbe, OffboardOrganization,
    OnboardOrganization, OutcomeCheck, RecordingLifecycle, RotateCredentials, SetLifecycle, ShareWatch,
    TransferRecordings, UpdateEnvironment, UpdateOrganization,
};
use std::sync::Arc;
use std::time::Duration;
use temporalio_client::Client;
use temporalio_common::data_converters::DataConverter;
use temporalio_sdk::runtime::worker_tuner::{FixedSizeSlotSupplier, TunerHolder};
use temporalio_sdk::workflow_replayer::{WorkflowReplayer, WorkflowReplayerOptions};
use temporalio_sdk::{Runtime, Worker, WorkerOptions};

/// How much a worker takes on at once.
#[derive(Debug, Clone, Copy)]
pub struct Capacity {
    /// Workflow tasks.
    pub workflow_tasks: usize,
    /// Ordinary activities: watches, large uploads, provisioning. A watch holds one for as long as it lasts.
    pub activities: usize,
    /// Local activities: the short steps of files.
    pub local_activities: usize,
    /// At a stop, what is short ends by itself; a watch or a large upload is told after this time and goes on elsewhere.
    pub drain: Duration,
}

impl Default for Capacity {
    fn default() -> Self {
        Self { workflow_tasks: 64, activities: 512, local_activities: 48, drain: Duration::from_secs(2) }
    }
}

impl Capacity {
    /// The same with room for the watches of so many shares, and of as many more that are added while the worker runs:
    /// however many there are, they must not keep out what is short.
    #[must_use]
    pub fn watching(self, shares: usize) -> Self {
        Self { activities: self.activities + 2 * shares, ..self }
    }
}

/// Names a macro and passes it, after what it is given here, every workflow that a worker runs.
macro_rules! with_workflows {
    ($then:ident $($given:expr)?) => {
        $then!($($given,)? RecordingLifecycle, IngestBatch, SetLifecycle, ShareWatch, UpdateEnvironment, OnboardOrganization, UpdateOrganization, CanaryRun, IsolationProbe, DriftCheck, OutcomeCheck, RotateCredentials, OffboardOrganization, TransferRecordings, FollowedSubscription, CollectEvidence)
    };
}

macro_rules! names {
    ($($w:ident),+) => { &[$(stringify!($w)),+] };
}

macro_rules! register {
    ($options:expr, $($w:ident),+) => { $options$(.register_workflow::<$w>()?)+ };
}

/// The types of workflows that a worker runs. Each is named after its type.
pub const WORKFLOWS: &[&str] = with_workflows!(names);

/// Replays histories with the workflows as they are in this program.
///
/// # Errors
/// When Temporal's SDK refuses the options.
pub fn replayer(converter: DataConverter) -> Result<WorkflowReplayer, anyhow::Error> {
    let options = with_workflows!(register WorkflowReplayerOptions::new());
    Ok(WorkflowReplayer::new(options.data_converter(converter).build())?)
}

/// A worker for one group of an environment. The caller runs it.
///
/// # Errors
/// When Temporal's SDK refuses the options, e.g. because the namespace does not exist.
pub fn worker(
    runtime: &Runtime,
    client: Client,
    deps: &Arc<Deps>,
    group: &WorkerGroup,
    capacity: Capacity,
) -> Result<Worker, anyhow::Error> {
    let queue = deps.registry.env().task_queue(group);
    let options = WorkerOptions::new(queue).graceful_shutdown_period(capacity.drain).tuner(
        TunerHolder::builder()
            .workflow_task_slot_supplier(FixedSizeSlotSupplier::new(capacity.workflow_tasks))
            .activity_task_slot_supplier(FixedSizeSlotSupplier::new(capacity.activities))
            .local_activity_task_slot_supplier(FixedSizeSlotSupplier::new(capacity.local_activities))
            .nexus_task_slot_supplier(FixedSizeSlotSupplier::new(1))
            .build(),
    );
    let options = with_workflows!(register options)
        .activity_inbound_interceptor(Spans)
        .register_activities(IngestActivities::new(Arc::clone(deps)))
        .register_activities(WatchActivities::new(Arc::clone(deps)))
        .register_activities(ProvisioningActivities::new(Arc::clone(deps)))
        .register_activities(CanaryActivities::new(Arc::clone(deps)))
        .register_activities(CheckActivities::new(Arc::clone(deps)))
        .register_activities(OutcomeActivities::new(Arc::clone(deps)))
        .register_activities(TransferActivities::new(Arc::clone(deps)))
        .register_activities(EvidenceActivities::new(Arc::clone(deps)))
        .register_activities(RotationActivities::new(Arc::clone(deps)))
        .register_activities(OffboardActivities::new(Arc::clone(deps)))
        .register_activities(DeletionActivities::new(Arc::clone(deps)))
        .build();
    Worker::new(runtime, client, options).map_err(anyhow::Error::from)
}
