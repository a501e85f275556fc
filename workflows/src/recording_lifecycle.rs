//! RecordingLifecycle: one durable workflow a file, driven by `leadline_domain::lifecycle`.

// The workflow macros make constants that they do not document.
#![allow(missing_docs)]

use crate::contracts::{ArchiveInput, ConcludeInput, EnqueueInput, FileRef, InSet, Ingest, Received, StoreInput};
use crate::options::{fault_of, last, short, upload};
use leadline_domain::lifecycle::{Command, Event, Intake, Lifecycle, Outcome, Phase};
use leadline_domain::message::utc_date;
use leadline_domain::settle::Basis;
use leadline_domain::{Fault, FaultCode, Ingress};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use temporalio_macros::{workflow, workflow_methods};
use temporalio_workflow::{
    ContinueAsNewOptions, SyncWorkflowContext, TimerResult, WorkflowContext, WorkflowContextView, WorkflowResult,
    WorkflowTermination, select,
};

/// How a file's lifecycle ended, or where it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileReport {
    /// What it began with.
    pub intake: Intake,
    /// The state: outcome, evidence, times.
    pub lifecycle: Lifecycle,
}

impl FileReport {
    /// The outcome, if it is known.
    #[must_use]
    pub fn outcome(&self) -> Option<&Outcome> {
        self.lifecycle.outcome.as_ref()
    }
}

/// The lifecycle of one file.
#[workflow]
pub struct RecordingLifecycle {
    intake: Intake,
    lifecycle: Option<Lifecycle>,
    /// Somebody asks for another look; it counts from before the step that is under way.
    nudged: bool,
}

#[workflow_methods]
impl RecordingLifecycle {
    #[init]
    fn new(_ctx: &WorkflowContextView, intake: Intake) -> Self {
        Self { intake, lifecycle: None, nudged: false }
    }

    /// Runs until the file has an outcome that is on record.
    #[run(name = "RecordingLifecycle")]
    pub async fn run(ctx: &mut WorkflowContext<Self>) -> WorkflowResult<FileReport> {
        let mut intake = ctx.state(|s| s.intake.clone());
        let (mut l, mut event) = Lifecycle::begin(&intake, now_ms(ctx));
        intake.resume = None;
        ctx.state_mut(|s| s.intake.resume = None);
        let mut recorded = false;
        loop {
            let command = match l.step(&intake, event, now_ms(ctx)) {
                // One that waited on here, before this was an end, goes on waiting until its next history.
                Command::Wait { .. } if l.unread_for_good(&intake, now_ms(ctx)) && ctx.patched("unread-ends") => {
                    l.give_up(&intake, FaultCode::FileStalled)
                }
                command => command,
            };
            ctx.state_mut(|s| s.lifecycle = Some(l.clone()));
            event = match command {
                Command::Finish => return Ok(FileReport { intake, lifecycle: l }),
                Command::Wait { ms } => {
                    ctx.set_current_details(waiting_details(&l));
                    select! {
                        t = ctx.timer(Duration::from_millis(ms)) => fired(&t)?,
                        r = ctx.wait_condition(|s| s.nudged) => r?,
                    }
                    ctx.state_mut(|s| s.nudged = false);
                    if long_history(ctx) {
                        let next = Intake { resume: Some(Box::new(l)), ..intake };
                        match ctx.continue_as_new(next, ContinueAsNewOptions::default())? {}
                    }
                    Event::Woken
                }
                Command::Archive if l.retry.is_none() && !l.recorded_early => {
                    let (event, done) = conclude(ctx, &intake, &l).await;
                    recorded = done;
                    event
                }
                Command::Record(_) if std::mem::take(&mut recorded) => Event::Recorded,
                other => carry_out(ctx, &intake, &l, other).await,
            };
        }
    }

    /// The watch saw the writer close the file, or a human mended what blocked it: look now.
    #[signal]
    pub fn nudge(&mut self, _ctx: &mut SyncWorkflowContext<Self>) {
        self.nudged = true;
    }

    /// Where it stands.
    #[query]
    pub fn report(&self, _ctx: &WorkflowContextView) -> Option<FileReport> {
        self.lifecycle.clone().map(|lifecycle| FileReport { intake: self.intake.clone(), lifecycle })
    }
}

/// Deals with the clinic's copy and records the outcome, in one activity of its own. It ends the workflow task, so that
/// what was done so far is in the history before a copy is moved; see [`record_so_far`]. Also whether the outcome is on
/// record.
async fn conclude<W: 'static>(ctx: &WorkflowContext<W>, intake: &Intake, l: &Lifecycle) -> (Event, bool) {
    let Some(entry) = l.entry(intake) else {
        return (Event::Failed(Fault::new(FaultCode::BugInvariant, "archived before there is an outcome")), false);
    };
    let input = ConcludeInput { archive: archive_input(intake, l), entry };
    match ctx.execute_activity(Ingest::conclude, input, last()).await {
        Ok(c) => (Event::Archived(c.archive), c.recorded),
        Err(e) => (Event::Failed(fault_of(&e)), false),
    }
}

fn archive_input(intake: &Intake, l: &Lifecycle) -> ArchiveInput {
    ArchiveInput {
        file: file_ref(intake, l),
        rule: intake.archive.clone(),
        date: utc_date(l.times.stored_ms.unwrap_or_default()),
        received: received(intake, l),
    }
}

/// Ends the workflow task, so that what was done so far is in the history before something is done that cannot be done
/// again from the beginning: before a clinic's copy is moved, say. Without that a worker that dies after the move would
/// leave the next one to begin anew, find no file, and call a delivered recording withdrawn.
pub(crate) async fn record_so_far<W: 'static>(ctx: &WorkflowContext<W>) {
    ctx.timer(Duration::from_millis(1)).await;
}

/// Ends a workflow that somebody cancels in Temporal: a wait is over at once then, and each after it.
pub(crate) fn fired(t: &TimerResult) -> Result<(), WorkflowTermination> {
    match t {
        TimerResult::Fired => Ok(()),
        TimerResult::Cancelled => Err(WorkflowTermination::cancelled()),
    }
}

/// Whether a workflow that waits again and again has to go on with a fresh history: the server says so by the number of
/// events and their size, long before it would end it. One that had a long history before this was asked keeps it.
pub(crate) fn long_history<W: 'static>(ctx: &WorkflowContext<W>) -> bool {
    ctx.continue_as_new_suggested() && ctx.patched("fresh-history")
}

/// The workflow's time in milliseconds since 1970.
pub(crate) fn now_ms<W>(ctx: &WorkflowContext<W>) -> i64 {
    ctx.workflow_time()
        .and_then(|t| t.duration_since(std::time::UNIX_EPOCH).ok())
        .and_then(|d| i64::try_from(d.as_millis()).ok())
        .unwrap_or(0)
}

fn waiting_details(l: &Lifecycle) -> String {
    match (&l.retry, &l.phase) {
        (Some(r), _) => format!("{} (attempt {})", r.fault, r.attempts),
        (None, Phase::Waiting { why }) => why.sentence().to_owned(),
        _ => String::new(),
    }
}

pub(crate) fn file_ref(intake: &Intake, l: &Lifecycle) -> FileRef {
    FileRef {
        org: intake.org.clone(),
        share: intake.share.clone(),
        fingerprint: l.fingerprint(intake),
        small_bytes: intake.small_bytes,
    }
}

/// Carries out a command that is neither a wait nor the end.
pub(crate) async fn carry_out<W: 'static>(
    ctx: &WorkflowContext<W>,
    intake: &Intake,
    l: &Lifecycle,
    command: Command,
) -> Event {
    match command {
        Command::Examine => match ctx.execute_local_activity(Ingest::examine, file_ref(intake, l), short()).await {
            Ok(e) => Event::Examined(e),
            Err(e) => Event::Failed(fault_of(&e)),
        },
        Command::Store { large } => store(ctx, intake, l, large, None).await,
        Command::Enqueue(d) => {
            let input = EnqueueInput { org: intake.org.clone(), deliveries: vec![d] };
            let r = ctx.execute_local_activity(Ingest::enqueue, input, short()).await;
            single(r.map_err(|e| fault_of(&e)), Event::Enqueued)
        }
        Command::Archive => {
            let input = archive_input(intake, l);
            match ctx.execute_local_activity(Ingest::archive, input, short()).await {
                Ok(a) => Event::Archived(a),
                Err(e) => Event::Failed(fault_of(&e)),
            }
        }
        Command::Record(entry) => {
            let r = ctx.execute_local_activity(Ingest::record, vec![*entry], short()).await;
            single(r.map_err(|e| fault_of(&e)), Event::Recorded)
        }
        Command::Wait { .. } | Command::Finish => {
            Event::Failed(Fault::new(FaultCode::BugInvariant, "a wait is the workflow's own business"))
        }
    }
}

/// What becomes of what was staged; `None` for a file on a share.
fn received(intake: &Intake, l: &Lifecycle) -> Option<Received> {
    match (intake.ingress(), &l.outcome) {
        (Ingress::Smb, _) => None,
        (_, Some(Outcome::Quarantined { .. })) => Some(Received::Keep),
        _ => Some(Received::Clear),
    }
}

/// Carries out [`Command::Store`].
pub(crate) async fn store<W: 'static>(
    ctx: &WorkflowContext<W>,
    intake: &Intake,
    l: &Lifecycle,
    large: bool,
    set: Option<InSet>,
) -> Event {
    let input = StoreInput {
        file: file_ref(intake, l),
        basis: l.basis.unwrap_or(Basis::Structure),
        expected: l.digest,
        declared: intake.declared,
        set,
        had: l.had.clone(),
    };
    let stored = if large {
        ctx.execute_activity(Ingest::store_large, input, upload()).await
    } else {
        ctx.execute_local_activity(Ingest::store, input, short()).await
    };
    match stored {
        Ok(s) => Event::Stored(s),
        Err(e) => Event::Failed(fault_of(&e)),
    }
}

fn single(r: Result<Vec<Option<Fault>>, Fault>, done: Event) -> Event {
    match r.map(|mut v| v.pop().flatten()) {
        Ok(None) => done,
        Ok(Some(f)) | Err(f) => Event::Failed(f),
    }
}
