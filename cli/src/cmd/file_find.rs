//! `leadline file`: which workflow has a file, and what it says of it.

use super::file::Found;
use super::file_set::InSet;
use crate::exit::Failure;
use futures::{Stream, StreamExt, TryStreamExt};
use leadline_activities::engine::faults::status_fault;
use leadline_domain::lifecycle::{Intake, Lifecycle};
use leadline_domain::{Fault, FaultCode, OrgId};
use leadline_workflows::ingest_batch::BatchItem;
use leadline_workflows::recording_lifecycle::FileReport;
use leadline_workflows::set_lifecycle::SetReport;
use leadline_workflows::{IngestBatch, RecordingLifecycle, SetLifecycle, ids};
use std::collections::BTreeSet;
use std::time::Duration;
use temporalio_client::errors::ClientError;
use temporalio_client::{
    Client, UntypedWorkflow, WorkflowDescribeOptions, WorkflowExecution, WorkflowExecutionStatus,
    WorkflowFetchHistoryOptions, WorkflowGetResultOptions, WorkflowListOptions, WorkflowQueryOptions,
};
use temporalio_common::data_converters::{SerializationContextData, WorkflowSerializationContext};
use temporalio_common::protos::temporal::api::history::v1::history_event::Attributes;

/// Workflows that are asked at once.
const LOOKS: usize = 16;
/// Queries need a worker that has time; without one the running ones are left out rather than waited for. A batch's files
/// are told as they were when it began.
const QUERY: Duration = Duration::from_secs(3);

/// The files of the latest workflows, at most `limit` of these.
pub(super) async fn latest(client: &Client, org: Option<&OrgId>, limit: usize) -> Result<Vec<Found>, Failure> {
    let found: Vec<Vec<Found>> = files(client, org, limit, "").try_collect().await?;
    Ok(found.into_iter().flatten().collect())
}

/// The latest file whose key begins like this.
pub(super) async fn by_key(client: &Client, key: &str) -> Result<Option<Found>, Failure> {
    let mut files = std::pin::pin!(files(client, None, usize::MAX, key));
    while let Some(some) = files.next().await {
        if let Some(found) = some?.into_iter().find(|f| f.key().starts_with(key)) {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// Who carries files.
enum Carrier {
    Lifecycle { running: bool },
    Batch { running: bool },
    Set,
}

/// The files of each workflow, the latest first. A lifecycle is asked only if the key of its file, which is in its id, begins
/// like this; batches and sets do not tell theirs.
fn files(
    client: &Client,
    org: Option<&OrgId>,
    limit: usize,
    key: &str,
) -> impl Stream<Item = Result<Vec<Found>, Failure>> {
    // One that went on with a fresh history is listed once: it has not ended.
    let mut query = "WorkflowType IN ('RecordingLifecycle', 'IngestBatch', 'SetLifecycle') AND \
                     ExecutionStatus != 'ContinuedAsNew'"
        .to_owned();
    if let Some(o) = org {
        query.push_str(&format!(" AND {} = '{o}'", ids::SEARCH_ATTRIBUTES[0]));
    }
    let mut sets = BTreeSet::new();
    let mut carrier = move |w: WorkflowExecution| {
        let (id, running) = (w.id().to_owned(), w.status() == WorkflowExecutionStatus::Running);
        let carrier = match w.workflow_type() {
            "IngestBatch" => Some(Carrier::Batch { running }),
            // A set that begins again has the same id: what it says last is what holds.
            "SetLifecycle" => sets.insert(id.clone()).then_some(Carrier::Set),
            _ => id.rsplit('/').next().is_some_and(|k| k.starts_with(key)).then_some(Carrier::Lifecycle { running }),
        };
        carrier.map(|c| (id, c))
    };
    let unlisted = |e: ClientError| match e {
        ClientError::Rpc(s) => Failure::from(status_fault(&s)),
        _ => Fault::new(FaultCode::EngineRefused, "temporal does not list workflows").into(),
    };
    let listed = client.list_workflows(query, WorkflowListOptions::default()).take(limit).map_err(unlisted);
    listed
        .try_filter_map(move |w| std::future::ready(Ok(carrier(w))))
        .map_ok(async |(id, carrier)| {
            Ok(match carrier {
                Carrier::Lifecycle { running } => lifecycle(client, &id, running).await.into_iter().collect(),
                Carrier::Batch { running } => batch(client, &id, running).await,
                Carrier::Set => set(client, &id).await.map(|s| InSet::members(&id, s)).unwrap_or_default(),
            })
        })
        .try_buffered(LOOKS)
}

async fn batch(client: &Client, id: &str, running: bool) -> Vec<Found> {
    let h = client.get_workflow_handle::<IngestBatch>(id);
    let items = if running {
        let q = h.query(IngestBatch::items, (), WorkflowQueryOptions::default());
        let items: Vec<BatchItem> = tokio::time::timeout(QUERY, q).await.ok().and_then(Result::ok).unwrap_or_default();
        if items.is_empty() { begun(client, id).await.unwrap_or_default() } else { items }
    } else {
        h.get_result(WorkflowGetResultOptions::default()).await.unwrap_or_default()
    };
    let found = items.into_iter().filter_map(|i| match i {
        BatchItem::Done(report) | BatchItem::Running(report) => {
            Some(Found { workflow_id: id.to_owned(), report: *report, set: None })
        }
        // Its own lifecycle tells.
        BatchItem::Left { .. } => None,
    });
    found.collect()
}

/// The files of a batch as it took them on.
async fn begun(client: &Client, id: &str) -> Option<Vec<BatchItem>> {
    let h = client.get_workflow_handle::<UntypedWorkflow>(id);
    let events = h.fetch_history(WorkflowFetchHistoryOptions::default()).into_events().await.ok()?;
    let first = events.into_iter().next()?;
    let now_ms = first.event_time.map_or(0, |t| t.seconds * 1000 + i64::from(t.nanos) / 1_000_000);
    let Some(Attributes::WorkflowExecutionStartedEventAttributes(started)) = first.attributes else { return None };
    let context = SerializationContextData::Workflow(WorkflowSerializationContext::new());
    let converter = &client.options().data_converter;
    let files: Vec<Intake> = converter.from_payloads(&context, started.input?.payloads).await.ok()?;
    let running = |intake: Intake| {
        let (lifecycle, _) = Lifecycle::begin(&intake, now_ms);
        BatchItem::Running(Box::new(FileReport { intake, lifecycle }))
    };
    Some(files.into_iter().map(running).collect())
}

async fn lifecycle(client: &Client, id: &str, running: bool) -> Option<Found> {
    let h = client.get_workflow_handle::<RecordingLifecycle>(id);
    let report = if running {
        let q = h.query(RecordingLifecycle::report, (), WorkflowQueryOptions::default());
        tokio::time::timeout(QUERY, q).await.ok()?.ok()??
    } else {
        h.get_result(WorkflowGetResultOptions::default()).await.ok()?
    };
    Some(Found { workflow_id: id.to_owned(), report, set: None })
}

async fn set(client: &Client, id: &str) -> Option<SetReport> {
    let h = client.get_workflow_handle::<SetLifecycle>(id);
    let d = h.describe(WorkflowDescribeOptions::default()).await.ok()?;
    if d.status() == WorkflowExecutionStatus::Running {
        let q = h.query(SetLifecycle::report, (), WorkflowQueryOptions::default());
        return tokio::time::timeout(QUERY, q).await.ok()?.ok();
    }
    h.get_result(WorkflowGetResultOptions::default()).await.ok()
}
