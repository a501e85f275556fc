//! IngestBatch: a faster way through the same lifecycle for a backlog of small, settled files. One local activity a step and
//! file, sends in groups of ten, the same `step`, the same activities. A file that must wait, is large or fails leaves
//! for a lifecycle of its own.

// The workflow macros make constants that they do not document.
#![allow(missing_docs)]

use crate::contracts::{EnqueueInput, Ingest};
use crate::ids;
use crate::options::{fault_of, short};
use crate::recording_lifecycle::{FileReport, RecordingLifecycle, carry_out, now_ms, record_so_far};
use leadline_domain::lifecycle::{Command, Event, Intake, Lifecycle};
use leadline_domain::{Fault, FaultCode, LedgerEntry};
use serde::{Deserialize, Serialize};
use temporalio_common::search_attributes::SearchAttributes;
use temporalio_macros::{workflow, workflow_methods};
use temporalio_workflow::{
    ChildWorkflowOptions, ParentClosePolicy, WorkflowContext, WorkflowContextView, WorkflowIdReusePolicy,
    WorkflowResult, join_all,
};

/// The most files a batch takes: keeps its history near 400 events (the server warns at 10,240) and its result well
/// under the payload limit of 2 MB.
pub const MAX_FILES: usize = 100;

/// SQS takes ten messages a request.
const SEND: usize = 10;

/// What became of one file of a batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum BatchItem {
    /// It ended here.
    Done(Box<FileReport>),
    /// It goes on in a lifecycle of its own, under this workflow id.
    Left {
        /// Workflow id.
        workflow_id: String,
        /// Whether this batch began it. Otherwise one of this id was there: it runs, or has ended.
        #[serde(default = "began")]
        started: bool,
    },
    /// Still under way here, and so far.
    Running(Box<FileReport>),
}

/// Batches did not tell once.
fn began() -> bool {
    true
}

/// A batch.
#[workflow]
pub struct IngestBatch {
    files: Vec<Intake>,
    items: Vec<BatchItem>,
}

/// One file on its way through the batch.
struct Lane {
    place: usize,
    intake: Intake,
    lifecycle: Lifecycle,
    next: Command,
}

impl Lane {
    fn take(&mut self, ctx: &WorkflowContext<IngestBatch>, event: Event) {
        self.next = self.lifecycle.step(&self.intake, event, now_ms(ctx));
        ctx.state_mut(|s| s.items[self.place] = self.item());
    }

    /// Where the file stands.
    fn item(&self) -> BatchItem {
        let report = FileReport { intake: self.intake.clone(), lifecycle: self.lifecycle.clone() };
        match self.next {
            Command::Finish => BatchItem::Done(Box::new(report)),
            _ => BatchItem::Running(Box::new(report)),
        }
    }
}

#[workflow_methods]
impl IngestBatch {
    #[init]
    fn new(_ctx: &WorkflowContextView, files: Vec<Intake>) -> Self {
        Self { files, items: Vec::new() }
    }

    /// Runs until every file has an outcome or has left.
    #[run(name = "IngestBatch")]
    pub async fn run(ctx: &mut WorkflowContext<Self>) -> WorkflowResult<Vec<BatchItem>> {
        let files = ctx.state_mut(|s| std::mem::take(&mut s.files));
        let now = now_ms(ctx);
        let mut lanes: Vec<Lane> = files
            .into_iter()
            .enumerate()
            .map(|(place, intake)| {
                let (mut lifecycle, event) = Lifecycle::begin(&intake, now);
                let next = lifecycle.step(&intake, event, now);
                Lane { place, intake, lifecycle, next }
            })
            .collect();
        ctx.state_mut(|s| s.items = lanes.iter().map(Lane::item).collect());

        // What the looks found is in the history before the first claim is made. Else a worker that dies between a claim
        // and its message would leave the next one to begin with the look: at files that were renamed or touched meanwhile,
        // whose claims it would not know as its own. A batch that began before this keeps its way.
        if ctx.patched("batch-claim") {
            advance(ctx, &mut lanes, |c| matches!(c, Command::Examine)).await;
            record_so_far(ctx).await;
        }
        advance(ctx, &mut lanes, |c| matches!(c, Command::Examine | Command::Store { large: false })).await;
        send(ctx, &mut lanes).await;
        record_so_far(ctx).await;
        advance(ctx, &mut lanes, |c| matches!(c, Command::Archive)).await;
        record(ctx, &mut lanes).await;

        for lane in lanes {
            if !matches!(lane.next, Command::Finish) {
                let place = lane.place;
                let left = leave(ctx, lane).await?;
                ctx.state_mut(|s| s.items[place] = left);
            }
        }
        Ok(ctx.state(|s| s.items.clone()))
    }

    /// Per-file outcomes so far.
    #[query]
    pub fn items(&self, _ctx: &WorkflowContextView) -> Vec<BatchItem> {
        self.items.clone()
    }
}

/// Drives every lane for as long as its next command is one of `these`.
async fn advance(ctx: &WorkflowContext<IngestBatch>, lanes: &mut [Lane], these: fn(&Command) -> bool) {
    join_all(lanes.iter_mut().map(|lane| async move {
        while these(&lane.next) {
            let event = carry_out(ctx, &lane.intake, &lane.lifecycle, lane.next.clone()).await;
            lane.take(ctx, event);
        }
    }))
    .await;
}

/// Sends what is to be enqueued, ten a request.
async fn send(ctx: &WorkflowContext<IngestBatch>, lanes: &mut [Lane]) {
    let mut due: Vec<&mut Lane> = lanes.iter_mut().filter(|l| matches!(l.next, Command::Enqueue(_))).collect();
    join_all(due.chunks_mut(SEND).map(|group| async move {
        let input = EnqueueInput {
            org: group[0].intake.org.clone(),
            deliveries: group.iter().filter_map(|l| l.lifecycle.delivery()).collect(),
        };
        let sent = ctx.execute_local_activity(Ingest::enqueue, input, short()).await;
        settle(ctx, group, sent.map_err(|e| fault_of(&e)), || Event::Enqueued);
    }))
    .await;
}

/// Records what is to be recorded, ten a request.
async fn record(ctx: &WorkflowContext<IngestBatch>, lanes: &mut [Lane]) {
    let mut due: Vec<&mut Lane> = lanes.iter_mut().filter(|l| matches!(l.next, Command::Record(_))).collect();
    join_all(due.chunks_mut(SEND).map(|group| async move {
        let entries: Vec<LedgerEntry> = group.iter().filter_map(|l| l.lifecycle.entry(&l.intake)).collect();
        let sent = ctx.execute_local_activity(Ingest::record, entries, short()).await;
        settle(ctx, group, sent.map_err(|e| fault_of(&e)), || Event::Recorded);
    }))
    .await;
}

/// Gives each lane of a group its result.
fn settle(
    ctx: &WorkflowContext<IngestBatch>,
    group: &mut [&mut Lane],
    sent: Result<Vec<Option<Fault>>, Fault>,
    done: fn() -> Event,
) {
    for (n, lane) in group.iter_mut().enumerate() {
        let fault = match &sent {
            Ok(per_item) => match per_item.get(n) {
                Some(f) => f.clone(),
                None => Some(Fault::new(FaultCode::BugInvariant, "fewer results than messages")),
            },
            Err(f) => Some(f.clone()),
        };
        lane.take(ctx, fault.map_or_else(done, Event::Failed));
    }
}

/// Starts a lifecycle for a file that cannot end here. It goes on from where the batch was with it: a file that is
/// enqueued already, say, and whose move into the archive got no answer, may not be on the share any more. One that came
/// to nothing here may have come to nothing before: a file that was quarantined in this very version stays so, and whoever
/// began the batch sees to it.
async fn leave(
    ctx: &WorkflowContext<IngestBatch>,
    lane: Lane,
) -> Result<BatchItem, temporalio_workflow::WorkflowTermination> {
    let reuse = if untried(&lane.lifecycle) {
        WorkflowIdReusePolicy::RejectDuplicate
    } else {
        WorkflowIdReusePolicy::AllowDuplicate
    };
    let intake = Intake { resume: Some(Box::new(lane.lifecycle)), ..lane.intake };
    let workflow_id = ids::lifecycle(&intake.org, &intake.share, &intake.fingerprint);
    let options = ChildWorkflowOptions::builder()
        .workflow_id(workflow_id.clone())
        .parent_close_policy(ParentClosePolicy::Abandon)
        .id_reuse_policy(reuse)
        .search_attributes(SearchAttributes::new([
            ids::ORG.value_set(intake.org.to_string()),
            ids::SHARE.value_set(ids::share_value(&intake.org, &intake.share)),
        ]))
        .build();
    // One that runs already under this id takes care of the same file.
    let started = ctx.start_child_workflow(RecordingLifecycle::run, intake, options).await.is_ok();
    Ok(BatchItem::Left { workflow_id, started })
}

/// Whether storing a file was never begun, so that no claim can have been made of it, whatever answer was lost.
fn untried(l: &Lifecycle) -> bool {
    l.outcome.is_none() && l.basis.is_none() && l.had.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_batches_once_said_of_files_that_left_is_read() {
        let left: BatchItem = serde_json::from_str(r#"{"kind":"left","workflow_id":"a"}"#).unwrap();
        assert_eq!(left, BatchItem::Left { workflow_id: "a".into(), started: true });
    }
}
