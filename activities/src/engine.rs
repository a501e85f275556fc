//! What activities ask of Temporal: starting lifecycles and batches, and how they ended.

pub mod faults;

use faults::{interaction_fault, start_fault, status_fault};
use futures::StreamExt;
use leadline_domain::lifecycle::Intake;
use leadline_domain::set::Member;
use leadline_domain::{EnvId, Fault, FaultCode, Fingerprint, OrgId, ShareId};
use leadline_workflows::contracts::{WatchInput, WatchStatus};
use leadline_workflows::ingest_batch::BatchItem;
use leadline_workflows::recording_lifecycle::FileReport;
use leadline_workflows::set_lifecycle::{SetInput, SetReport};
use leadline_workflows::subscription::Seen;
use leadline_workflows::{
    FollowedSubscription, IngestBatch, OffboardOrganization, OnboardOrganization, RecordingLifecycle, SetLifecycle,
    ShareWatch, ids,
};
use temporalio_client::errors::{ClientError, WorkflowGetResultError, WorkflowInteractionError, WorkflowStartError};
use temporalio_client::{
    Client, UntypedWorkflow, WorkflowCountOptions, WorkflowDescribeOptions, WorkflowExecutionStatus,
    WorkflowGetResultOptions, WorkflowIdConflictPolicy, WorkflowIdReusePolicy, WorkflowListOptions,
    WorkflowQueryOptions, WorkflowSignalOptions, WorkflowStartOptions, WorkflowTerminateOptions,
};
use temporalio_common::HasWorkflowDefinition;
use temporalio_common::search_attributes::SearchAttributes;

/// How a start was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Started<T> {
    /// It runs now: started by this call or by an earlier one.
    Running,
    /// One of this id has run already and ended with this, as far as it is still known.
    Ended(Option<T>),
}

/// A client of Temporal that knows leadline's workflows.
#[derive(Clone)]
pub struct Engine {
    client: Client,
}

/// When something is started whose workflow id ran before and has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Again {
    /// Not: how it ended is told.
    Never,
    /// If it came to no end of its own: it failed, or somebody ended it. Two who send the same at the same time have it
    /// carried once, even if the first is done before the second begins.
    IfFailed,
    /// Always.
    Always,
}

impl Engine {
    /// Works through this client.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    /// The client.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    fn options(task_queue: &str, id: &str, org: &OrgId, share: &ShareId, again: Again) -> WorkflowStartOptions {
        let reuse = match again {
            Again::Never => WorkflowIdReusePolicy::RejectDuplicate,
            Again::IfFailed => WorkflowIdReusePolicy::AllowDuplicateFailedOnly,
            Again::Always => WorkflowIdReusePolicy::AllowDuplicate,
        };
        WorkflowStartOptions::new(task_queue, id)
            .id_reuse_policy(reuse)
            .id_conflict_policy(WorkflowIdConflictPolicy::Fail)
            .search_attributes(SearchAttributes::new([
                ids::ORG.value_set(org.to_string()),
                ids::SHARE.value_set(ids::share_value(org, share)),
            ]))
            .build()
    }

    /// Starts the lifecycle of a file.
    ///
    /// # Errors
    /// `engine.*`.
    pub async fn start_lifecycle(
        &self,
        queue: &str,
        intake: &Intake,
        again: Again,
    ) -> Result<Started<FileReport>, Fault> {
        let id = ids::lifecycle(&intake.org, &intake.share, &intake.fingerprint);
        let options = Self::options(queue, &id, &intake.org, &intake.share, again);
        match self.client.start_workflow(RecordingLifecycle::run, intake.clone(), options).await {
            Ok(_) => Ok(Started::Running),
            Err(WorkflowStartError::AlreadyStarted { .. }) => self.how_ended(&id).await,
            Err(e) => Err(start_fault(e)),
        }
    }

    /// Whether a lifecycle runs, or how it ended.
    ///
    /// # Errors
    /// `engine.*`.
    pub async fn how_ended(&self, id: &str) -> Result<Started<FileReport>, Fault> {
        self.end_of::<RecordingLifecycle>(id).await
    }

    /// Where a lifecycle stands, or how it ended; `None` if there is none of this id.
    ///
    /// # Errors
    /// `engine.*`.
    pub async fn report(&self, id: &str) -> Result<Option<FileReport>, Fault> {
        match self.how_ended(id).await? {
            Started::Ended(report) => Ok(report),
            Started::Running => {
                let handle = self.client.get_workflow_handle::<RecordingLifecycle>(id);
                let asked = handle.query(RecordingLifecycle::report, (), WorkflowQueryOptions::default()).await;
                asked.map_err(|_| Fault::new(FaultCode::EngineUnreachable, "no worker answers for the lifecycle"))
            }
        }
    }

    /// Tells a waiting lifecycle to look now. `false`: it has ended.
    ///
    /// # Errors
    /// `engine.*`.
    pub async fn nudge(&self, org: &OrgId, share: &ShareId, file: &Fingerprint) -> Result<bool, Fault> {
        self.nudge_id(&ids::lifecycle(org, share, file)).await
    }

    /// `false`: it has ended.
    async fn nudge_id(&self, id: &str) -> Result<bool, Fault> {
        let handle = self.client.get_workflow_handle::<RecordingLifecycle>(id);
        match handle.signal(RecordingLifecycle::nudge, (), WorkflowSignalOptions::default()).await {
            Ok(()) => Ok(true),
            Err(WorkflowInteractionError::NotFound(_)) => Ok(false),
            Err(e) => Err(interaction_fault(&e)),
        }
    }

    /// Tells a set of files that these belong to it. `false`: it does not run.
    ///
    /// # Errors
    /// `engine.*`.
    pub async fn join_set(&self, id: &str, members: &[Member]) -> Result<bool, Fault> {
        let handle = self.client.get_workflow_handle::<SetLifecycle>(id);
        match handle.signal(SetLifecycle::join, members.to_vec(), WorkflowSignalOptions::default()).await {
            Ok(()) => Ok(true),
            Err(WorkflowInteractionError::NotFound(_)) => Ok(false),
            Err(e) => Err(interaction_fault(&e)),
        }
    }

    /// The same, and starts it if it does not run.
    ///
    /// # Errors
    /// `engine.*`.
    pub async fn start_set(&self, queue: &str, id: &str, input: &SetInput, members: &[Member]) -> Result<(), Fault> {
        let mut options = Self::options(queue, id, &input.org, &input.share, Again::Always);
        options.id_conflict_policy = WorkflowIdConflictPolicy::UseExisting;
        let (run, join) = (SetLifecycle::run, SetLifecycle::join);
        let started = self.client.signal_with_start_workflow(run, input.clone(), join, members.to_vec(), options).await;
        started.map(drop).map_err(start_fault)
    }

    /// Whether a set runs, or how it ended last.
    ///
    /// # Errors
    /// `engine.*`.
    pub async fn how_set_ended(&self, id: &str) -> Result<Started<SetReport>, Fault> {
        self.end_of::<SetLifecycle>(id).await
    }

    async fn end_of<W: HasWorkflowDefinition>(&self, id: &str) -> Result<Started<W::Output>, Fault> {
        let handle = self.client.get_workflow_handle::<W>(id);
        match handle.describe(WorkflowDescribeOptions::default()).await {
            Ok(d) if d.status() == WorkflowExecutionStatus::Running => return Ok(Started::Running),
            Ok(_) => {}
            Err(WorkflowInteractionError::NotFound(_)) => return Ok(Started::Ended(None)),
            Err(e) => return Err(interaction_fault(&e)),
        }
        match handle.get_result(WorkflowGetResultOptions::default()).await {
            Ok(report) => Ok(Started::Ended(Some(report))),
            Err(WorkflowGetResultError::Rpc(e)) => Err(status_fault(&e)),
            Err(_) => Ok(Started::Ended(None)),
        }
    }

    /// Starts a batch; one of the same files that ran before is told apart.
    ///
    /// # Errors
    /// `engine.*`.
    pub async fn start_batch(&self, queue: &str, id: &str, files: &[Intake]) -> Result<Started<()>, Fault> {
        let Some(first) = files.first() else { return Ok(Started::Ended(None)) };
        let options = Self::options(queue, id, &first.org, &first.share, Again::Never);
        match self.client.start_workflow(IngestBatch::run, files.to_vec(), options).await {
            Ok(_) => Ok(Started::Running),
            Err(WorkflowStartError::AlreadyStarted { .. }) => {
                let handle = self.client.get_workflow_handle::<IngestBatch>(id);
                match handle.describe(WorkflowDescribeOptions::default()).await {
                    Ok(d) if d.status() == WorkflowExecutionStatus::Running => Ok(Started::Running),
                    Ok(_) => Ok(Started::Ended(Some(()))),
                    Err(e) => Err(interaction_fault(&e)),
                }
            }
            Err(e) => Err(start_fault(e)),
        }
    }

    /// Waits for the end of a batch.
    ///
    /// # Errors
    /// `engine.*`.
    pub async fn batch_result(&self, id: &str) -> Result<Vec<BatchItem>, Fault> {
        let handle = self.client.get_workflow_handle::<IngestBatch>(id);
        match handle.get_result(WorkflowGetResultOptions::default()).await {
            Ok(items) => Ok(items),
            Err(WorkflowGetResultError::Rpc(e)) => Err(status_fault(&e)),
            // Terminated by a human, say: its files are found again by the next listing.
            Err(_) => Ok(Vec::new()),
        }
    }

    /// Ids of the batches of a share that are under way.
    ///
    /// # Errors
    /// `engine.*`.
    pub async fn running_batches(&self, org: &OrgId, share: &ShareId) -> Result<Vec<String>, Fault> {
        self.running("IngestBatch", org, share).await
    }

    /// Ids of all that is under way for an organization: files, batches, sets, of any share or way in; its watches too.
    ///
    /// # Errors
    /// `engine.*`.
    pub async fn running_of(&self, org: &OrgId) -> Result<Vec<String>, Fault> {
        let query = format!("ExecutionStatus = 'Running' AND {} = '{org}'", ids::SEARCH_ATTRIBUTES[0]);
        self.listed(query).await
    }

    /// Ids of what runs, of those that begin so.
    pub(crate) async fn running_below(&self, prefix: &str) -> Result<Vec<String>, Fault> {
        self.listed(format!("ExecutionStatus = 'Running' AND WorkflowId STARTS_WITH '{prefix}'")).await
    }

    pub(crate) async fn running(&self, kind: &str, org: &OrgId, share: &ShareId) -> Result<Vec<String>, Fault> {
        let query = format!(
            "WorkflowType = '{kind}' AND ExecutionStatus = 'Running' AND {} = '{}'",
            ids::SEARCH_ATTRIBUTES[1],
            ids::share_value(org, share)
        );
        self.listed(query).await
    }

    async fn listed(&self, query: String) -> Result<Vec<String>, Fault> {
        let mut all = self.client.list_workflows(query, WorkflowListOptions::default());
        let mut out = Vec::new();
        while let Some(w) = all.next().await {
            out.push(
                w.map_err(|e| Fault::new(FaultCode::EngineUnreachable, format!("list workflows: {e}")))?
                    .id()
                    .to_owned(),
            );
        }
        Ok(out)
    }

    /// Asks as everything here does that lists what runs: the namespace has to be there, with the search attributes.
    ///
    /// # Errors
    /// `engine.*`; the detail says what is missing.
    pub async fn check(&self) -> Result<(), Fault> {
        use temporalio_client::tonic::Code;
        let query = ids::SEARCH_ATTRIBUTES.map(|a| format!("{a} = 'nobody'")).join(" AND ");
        match self.client.count_workflows(query, WorkflowCountOptions::default()).await {
            Ok(_) => Ok(()),
            Err(ClientError::Rpc(s)) if s.code() == Code::NotFound => {
                Err(Fault::new(FaultCode::EngineUnreachable, "there is no such namespace"))
            }
            Err(ClientError::Rpc(s)) if s.code() == Code::InvalidArgument => {
                let detail = format!("it lacks search attributes: {}, each Keyword", ids::SEARCH_ATTRIBUTES.join(", "));
                Err(Fault::new(FaultCode::EngineRefused, detail))
            }
            Err(ClientError::Rpc(s)) => Err(status_fault(&s)),
            Err(e) => Err(Fault::new(FaultCode::EngineUnreachable, format!("count workflows: {e}"))),
        }
    }

    /// Whether a workflow of this id runs.
    ///
    /// # Errors
    /// `engine.*`.
    pub async fn runs(&self, id: &str) -> Result<bool, Fault> {
        let handle = self.client.get_workflow_handle::<UntypedWorkflow>(id);
        match handle.describe(WorkflowDescribeOptions::default()).await {
            Ok(d) => Ok(d.status() == WorkflowExecutionStatus::Running),
            Err(WorkflowInteractionError::NotFound(_)) => Ok(false),
            Err(e) => Err(interaction_fault(&e)),
        }
    }

    /// Ends a workflow of this id, if one runs.
    ///
    /// # Errors
    /// `engine.*`.
    pub async fn terminate(&self, id: &str, reason: &str) -> Result<(), Fault> {
        let handle = self.client.get_workflow_handle::<UntypedWorkflow>(id);
        let options = WorkflowTerminateOptions::builder().reason(reason.to_owned()).build();
        match handle.terminate(options).await {
            Ok(()) | Err(WorkflowInteractionError::NotFound(_)) => Ok(()),
            Err(e) => Err(interaction_fault(&e)),
        }
    }

    /// Whether an organization is to stay.
    ///
    /// # Errors
    /// `org.offboarding` while it is being off-boarded; `engine.*`.
    pub async fn stays(&self, env: &EnvId, org: &OrgId) -> Result<(), Fault> {
        let handle = self.client.get_workflow_handle::<OffboardOrganization>(ids::offboard(env, org));
        match handle.describe(WorkflowDescribeOptions::default()).await {
            Ok(d) if d.status() == WorkflowExecutionStatus::Running => {
                Err(Fault::new(FaultCode::OrgOffboarding, format!("{org} is being off-boarded from {env}")))
            }
            Ok(_) | Err(WorkflowInteractionError::NotFound(_)) => Ok(()),
            Err(e) => Err(interaction_fault(&e)),
        }
    }

    /// Tells an onboarding that waits for a human to go on.
    ///
    /// # Errors
    /// `engine.*`; `engine.refused` if none is under way.
    pub async fn resume_onboarding(&self, env: &EnvId, org: &OrgId) -> Result<(), Fault> {
        let handle = self.client.get_workflow_handle::<OnboardOrganization>(ids::onboard(env, org));
        match handle.signal(OnboardOrganization::resume, (), WorkflowSignalOptions::default()).await {
            Ok(()) => Ok(()),
            Err(WorkflowInteractionError::NotFound(_)) => {
                Err(Fault::new(FaultCode::EngineRefused, format!("no onboarding of {org} is under way")))
            }
            Err(e) => Err(interaction_fault(&e)),
        }
    }

    /// Makes the watch of a share, and every lifecycle of a file of it that waits, try again now. Returns how many
    /// lifecycles were told.
    ///
    /// # Errors
    /// `engine.*`.
    pub async fn retry_share(&self, org: &OrgId, share: &ShareId) -> Result<u64, Fault> {
        let watch = self.client.get_workflow_handle::<ShareWatch>(ids::watch(org, share));
        match watch.signal(ShareWatch::restart, (), WorkflowSignalOptions::default()).await {
            Ok(()) | Err(WorkflowInteractionError::NotFound(_)) => {}
            Err(e) => return Err(interaction_fault(&e)),
        }
        let mut told = 0;
        for id in self.running("RecordingLifecycle", org, share).await? {
            told += u64::from(self.nudge_id(&id).await?);
        }
        for id in self.running("SetLifecycle", org, share).await? {
            let handle = self.client.get_workflow_handle::<SetLifecycle>(&id);
            match handle.signal(SetLifecycle::nudge, (), WorkflowSignalOptions::default()).await {
                Ok(()) => told += 1,
                Err(WorkflowInteractionError::NotFound(_)) => {}
                Err(e) => return Err(interaction_fault(&e)),
            }
        }
        Ok(told)
    }

    /// What the watch of a share said in its last heartbeat; `None` if it does not run, or no worker has it at the
    /// moment.
    ///
    /// # Errors
    /// `engine.*`.
    pub async fn watch_status(&self, org: &OrgId, share: &ShareId) -> Result<Option<WatchStatus>, Fault> {
        let handle = self.client.get_workflow_handle::<ShareWatch>(ids::watch(org, share));
        let description = match handle.describe(WorkflowDescribeOptions::default()).await {
            Ok(d) => d.raw_description,
            Err(WorkflowInteractionError::NotFound(_)) => return Ok(None),
            Err(e) => return Err(interaction_fault(&e)),
        };
        let said = description.pending_activities.first().and_then(|a| a.heartbeat_details.as_ref());
        // The client has decrypted what describes the workflow.
        Ok(said.and_then(|d| serde_json::from_slice(&d.payloads.first()?.data).ok()))
    }

    /// How far a subscription at an EHR was followed; `None` if nothing was written down.
    ///
    /// # Errors
    /// `engine.*`; `engine.unreachable` too if no worker answers.
    pub async fn subscription_seen(&self, org: &OrgId, name: &str) -> Result<Option<Seen>, Fault> {
        let handle = self.client.get_workflow_handle::<FollowedSubscription>(ids::subscription(org, name));
        match handle.describe(WorkflowDescribeOptions::default()).await {
            Ok(d) if d.status() == WorkflowExecutionStatus::Running => {}
            Ok(_) | Err(WorkflowInteractionError::NotFound(_)) => return Ok(None),
            Err(e) => return Err(interaction_fault(&e)),
        }
        let asked = handle.query(FollowedSubscription::seen, (), WorkflowQueryOptions::default()).await;
        let silent = |_| Fault::new(FaultCode::EngineUnreachable, "no worker answers for the subscription");
        asked.map(Some).map_err(silent)
    }

    /// Writes down how far a subscription was followed.
    ///
    /// # Errors
    /// `engine.*`.
    pub async fn subscription_advance(&self, queue: &str, org: &OrgId, name: &str, seen: Seen) -> Result<(), Fault> {
        let options = WorkflowStartOptions::new(queue, ids::subscription(org, name))
            .id_reuse_policy(WorkflowIdReusePolicy::AllowDuplicate)
            .id_conflict_policy(WorkflowIdConflictPolicy::UseExisting)
            .search_attributes(SearchAttributes::new([ids::ORG.value_set(org.to_string())]))
            .build();
        let (run, advance) = (FollowedSubscription::run, FollowedSubscription::advance);
        let sent = self.client.signal_with_start_workflow(run, Seen::default(), advance, seen, options).await;
        sent.map(drop).map_err(start_fault)
    }

    /// Starts the watch of a share unless it runs. One that runs for another worker group is ended: nobody there may reach
    /// the share, or even be there to be told. All it knows is found again.
    ///
    /// # Errors
    /// `engine.*`.
    pub async fn start_watch(&self, queue: &str, org: &OrgId, share: &ShareId) -> Result<String, Fault> {
        let id = ids::watch(org, share);
        let watch = self.client.get_workflow_handle::<ShareWatch>(&id);
        match watch.describe(WorkflowDescribeOptions::default()).await {
            Ok(d) if d.status() == WorkflowExecutionStatus::Running && d.task_queue() != queue => {
                self.terminate(&id, "its share has another worker group").await?;
            }
            Ok(_) | Err(WorkflowInteractionError::NotFound(_)) => {}
            Err(e) => return Err(interaction_fault(&e)),
        }
        let options = WorkflowStartOptions::new(queue, &id)
            .id_reuse_policy(WorkflowIdReusePolicy::AllowDuplicate)
            .id_conflict_policy(WorkflowIdConflictPolicy::UseExisting)
            .search_attributes(SearchAttributes::new([
                ids::ORG.value_set(org.to_string()),
                ids::SHARE.value_set(ids::share_value(org, share)),
            ]))
            .build();
        let input = WatchInput { org: org.clone(), share: share.clone() };
        self.client.start_workflow(ShareWatch::run, input, options).await.map_err(start_fault)?;
        Ok(id)
    }
}
