//! `leadline file`: what became of files, read from Temporal. Names are PHI: they are shown only on request.

use super::file_set::InSet;
use super::outcome::{self, Said};
use crate::Global;
use crate::connect::Site;
use crate::exit::{Code, Done, Failure};
use crate::output::{self, Format};
use futures::StreamExt;
use leadline_activities::cost;
use leadline_domain::lifecycle::{ArchiveState, Intake, Lifecycle, Outcome, Phase};
use leadline_domain::message::rfc3339;
use leadline_domain::{EnvId, OrgId, RecordingId, Relation};
use leadline_workflows::ingest_batch::BatchItem;
use leadline_workflows::recording_lifecycle::FileReport;
use leadline_workflows::set_lifecycle::SetReport;
use leadline_workflows::{IngestBatch, RecordingLifecycle, SetLifecycle, ids};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;
use temporalio_client::{
    Client, UntypedWorkflow, WorkflowDescribeOptions, WorkflowExecutionStatus, WorkflowFetchHistoryOptions,
    WorkflowGetResultOptions, WorkflowListOptions, WorkflowQueryOptions,
};
use temporalio_common::data_converters::{SerializationContextData, WorkflowSerializationContext};
use temporalio_common::protos::temporal::api::history::v1::history_event::Attributes;

#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// The latest files and where they stand.
    List {
        /// Environment.
        #[arg(long)]
        env: EnvId,
        /// Only this organization.
        #[arg(long)]
        org: Option<OrgId>,
        /// Only what needs attention: waiting or quarantined.
        #[arg(long)]
        attention: bool,
        /// At most this many workflows, the latest first.
        #[arg(long, default_value_t = 50)]
        limit: usize,
        /// Show paths. They may hold patients' names.
        #[arg(long)]
        show_paths: bool,
    },
    /// One file's history: times, evidence, outcome.
    Show {
        /// File key, as `leadline file list` prints it.
        key: String,
        /// Environment.
        #[arg(long)]
        env: EnvId,
        /// Show the path. It may hold a patient's name.
        #[arg(long)]
        show_paths: bool,
    },
}

pub(crate) async fn run(g: &Global, c: Command) -> Done {
    match c {
        Command::List { env, org, attention, limit, show_paths } => {
            let client = Site::load(g, &env)?.temporal().await?;
            let mut found = collect(&client, org.as_ref(), limit).await?;
            if attention {
                found.retain(|f| matches!(f.report.outcome(), None | Some(Outcome::Quarantined { .. })));
            }
            match g.output {
                Format::Json => found.iter().for_each(|f| output::json(&f.json(show_paths))),
                Format::Text => {
                    let mut head = vec!["FILE", "ORG/SHARE", "FORMAT", "SIZE", "STATE", "SINCE", "WHY"];
                    if show_paths {
                        head.push("PATH");
                    }
                    let rows: Vec<_> = found.iter().map(|f| f.row(show_paths)).collect();
                    output::table(&head, &rows);
                }
            }
        }
        Command::Show { key, env, show_paths } => {
            let site = Site::load(g, &env)?;
            let client = site.temporal().await?;
            let found = collect(&client, None, usize::MAX).await?;
            let wanted = key.rsplit('/').next().unwrap_or(&key);
            let matching: Vec<&Found> = found.iter().filter(|f| f.key().starts_with(wanted)).collect();
            let Some(f) = matching.first() else {
                return Err(Failure::new(format!("no file with key {key} is known to Temporal in {env}")));
            };
            match g.output {
                Format::Json => {
                    let mut v = f.json(show_paths);
                    if let Some((actions, events)) = spent(&client, f).await {
                        (v["actions"], v["history_events"]) = (json!(actions), json!(events));
                    }
                    v["processing"] =
                        json!(said(&site, f).await.unwrap_or_default().iter().map(Said::json).collect::<Vec<_>>());
                    output::json(&v);
                }
                Format::Text => {
                    show(&client, f, show_paths).await;
                    processing(&said(&site, f).await);
                }
            }
        }
    }
    Ok(Code::Ok)
}

/// A file and the workflow that has it.
pub(super) struct Found {
    pub(super) workflow_id: String,
    pub(super) report: FileReport,
    /// The set that it belongs to.
    pub(super) set: Option<InSet>,
}

async fn collect(client: &Client, org: Option<&OrgId>, limit: usize) -> Result<Vec<Found>, Failure> {
    let mut query = "WorkflowType IN ('RecordingLifecycle', 'IngestBatch', 'SetLifecycle')".to_owned();
    if let Some(o) = org {
        query.push_str(&format!(" AND {} = '{o}'", ids::SEARCH_ATTRIBUTES[0]));
    }
    let mut listed = client.list_workflows(query, WorkflowListOptions::default()).take(limit);
    let (mut found, mut sets) = (Vec::new(), BTreeSet::new());
    while let Some(w) = listed.next().await {
        let w = w.map_err(|e| Failure::new(format!("Temporal does not list workflows: {e}")))?;
        let running = w.status() == WorkflowExecutionStatus::Running;
        if w.workflow_type() == "IngestBatch" {
            let items = batch(client, w.id(), running).await;
            found.extend(items.into_iter().filter_map(|i| match i {
                BatchItem::Done(report) | BatchItem::Running(report) => {
                    Some(Found { workflow_id: w.id().to_owned(), report: *report, set: None })
                }
                // Its own lifecycle tells.
                BatchItem::Left { .. } => None,
            }));
        } else if w.workflow_type() == "SetLifecycle" {
            // A set that begins again has the same id: what it says last is what holds.
            if sets.insert(w.id().to_owned())
                && let Some(set) = set(client, w.id()).await
            {
                found.extend(InSet::members(w.id(), set));
            }
        } else if let Some(report) = lifecycle(client, w.id(), w.run_id(), running).await {
            found.push(Found { workflow_id: w.id().to_owned(), report, set: None });
        }
    }
    Ok(found)
}

/// Queries need a worker that has time; without one the running ones are left out rather than waited for. A batch's files
/// are told as they were when it began.
const QUERY: Duration = Duration::from_secs(3);

async fn batch(client: &Client, id: &str, running: bool) -> Vec<BatchItem> {
    let h = client.get_workflow_handle::<IngestBatch>(id);
    if running {
        let q = h.query(IngestBatch::items, (), WorkflowQueryOptions::default());
        let items: Vec<BatchItem> = tokio::time::timeout(QUERY, q).await.ok().and_then(Result::ok).unwrap_or_default();
        return if items.is_empty() { begun(client, id).await.unwrap_or_default() } else { items };
    }
    h.get_result(WorkflowGetResultOptions::default()).await.unwrap_or_default()
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

async fn lifecycle(client: &Client, id: &str, _run: &str, running: bool) -> Option<FileReport> {
    let h = client.get_workflow_handle::<RecordingLifecycle>(id);
    if running {
        let q = h.query(RecordingLifecycle::report, (), WorkflowQueryOptions::default());
        return tokio::time::timeout(QUERY, q).await.ok()?.ok()?;
    }
    h.get_result(WorkflowGetResultOptions::default()).await.ok()
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

impl Found {
    fn key(&self) -> String {
        self.report.intake.file_key().to_string()
    }

    fn format(&self) -> &str {
        self.report.lifecycle.structure.as_ref().map_or("unknown", |s| s.format.as_str())
    }

    /// State in a word, and why.
    fn state(&self) -> (&'static str, String) {
        let l = &self.report.lifecycle;
        if let (Some(set), None, None, Phase::Settled | Phase::Claimed) = (&self.set, &l.outcome, &l.retry, &l.phase)
            && let Some(state) = set.state()
        {
            return state;
        }
        if let Some(r) = &l.retry {
            return ("retrying", format!("{} (attempt {})", r.fault, r.attempts));
        }
        match (&l.outcome, &l.phase) {
            (Some(Outcome::Delivered { basis, .. }), _) => ("delivered", format!("{basis:?}").to_lowercase()),
            (Some(Outcome::Duplicate { of }), _) => ("duplicate", format!("of {of}")),
            (Some(Outcome::Quarantined { code }), _) => ("quarantined", code.to_string()),
            (Some(Outcome::Withdrawn { how }), _) => ("withdrawn", format!("{how:?}").to_lowercase()),
            (None, Phase::Waiting { why }) => ("waiting", why.sentence().to_owned()),
            (None, p) => ("running", format!("{p:?}").to_lowercase()),
        }
    }

    fn row(&self, path: bool) -> Vec<String> {
        let (i, l) = (&self.report.intake, &self.report.lifecycle);
        let (state, why) = self.state();
        let mut r = vec![
            self.key(),
            ids::share_value(&i.org, &i.share),
            self.format().to_owned(),
            output::bytes(l.stat.size),
            state.to_owned(),
            rfc3339(l.times.first_seen_ms),
            why,
        ];
        if path {
            r.push(i.fingerprint.path.expose().to_owned());
        }
        r
    }

    fn json(&self, path: bool) -> Value {
        let (i, l) = (&self.report.intake, &self.report.lifecycle);
        let (state, why) = self.state();
        let mut v = json!({
            "file": self.key(),
            "workflow_id": self.workflow_id,
            "organization": i.org,
            "share": i.share,
            "format": self.format(),
            "size": l.stat.size,
            "state": state,
            "why": why,
            "outcome": l.outcome,
            "sha256": l.digest,
            "evidence": l.evidence(i.ingress()),
            "ingress": i.ingress(),
            "related": l.related,
            "archive": l.archive,
            "times": l.times,
            "retry": l.retry,
        });
        if let Some(set) = &self.set {
            v["set"] = set.json();
        }
        if path {
            v["path"] = json!(i.fingerprint.path.expose());
        }
        v
    }
}

async fn show(client: &Client, f: &Found, path: bool) {
    let (i, l) = (&f.report.intake, &f.report.lifecycle);
    let (state, why) = f.state();
    let say = |k: &str, v: &str| output::line(&format!("{k:<14}{v}"));
    say("file", &f.key());
    if path {
        say("path", i.fingerprint.path.expose());
    }
    say("share", &ids::share_value(&i.org, &i.share));
    say("workflow", &f.workflow_id);
    say("state", &format!("{state}: {why}"));
    if let Some(set) = &f.set {
        set.rows().iter().for_each(|(k, v)| say(k, v));
    }
    say("format", f.format());
    say("size", &output::bytes(l.stat.size));
    if let Some(d) = &l.digest {
        say("sha256", &d.to_hex());
    }
    say(
        "copy",
        match l.archive {
            ArchiveState::Untouched => "where it was",
            ArchiveState::Pending => "to be archived; the share refuses at the moment",
            ArchiveState::Moved => "moved to the archive folder",
            ArchiveState::Left => "left in place by rule",
            ArchiveState::Cleared => "removed from staging",
            ArchiveState::Kept => "kept in quarantine",
            ArchiveState::Gone => "was gone",
            ArchiveState::Changed => "had changed; looked at anew",
        },
    );
    output::line("");
    let t = &l.times;
    let rows: Vec<Vec<String>> = [
        ("first seen", Some(t.first_seen_ms)),
        ("discovered", Some(t.discovered_ms)),
        ("settled", t.settled_ms),
        ("stored", t.stored_ms),
        ("enqueued", t.enqueued_ms),
        ("archived", t.archived_ms),
    ]
    .into_iter()
    .filter_map(|(what, at)| {
        let at = at?;
        Some(vec![what.to_owned(), rfc3339(at), format!("+{}", output::duration(at - t.first_seen_ms))])
    })
    .collect();
    output::table(&["STEP", "TIME", "SINCE FIRST SEEN"], &rows);
    output::line("");
    output::line("EVIDENCE");
    for e in l.evidence(f.report.intake.ingress()) {
        output::line(&format!("- {e}"));
    }
    if !l.related.is_empty() {
        output::line("");
        output::line("SEEMS TO BELONG TO");
    }
    for r in &l.related {
        output::line(&format!("- {} ({})", r.recording, related(r.how)));
    }
    if let Some((actions, events)) = spent(client, f).await {
        output::line("");
        say("cost", &format!("{actions} Temporal actions, {events} history events"));
    }
}

/// What the processor said of the recording that the file was delivered as, or is a duplicate of.
async fn said(site: &Site, f: &Found) -> Result<Vec<Said>, Failure> {
    let recording = match f.report.outcome() {
        Some(Outcome::Delivered { recording, .. } | Outcome::Duplicate { of: recording }) => recording,
        _ => return Ok(Vec::new()),
    };
    let Some((org, digest)) = RecordingId::parts_of(recording.as_str()) else { return Ok(Vec::new()) };
    let deps = site.deps().await?;
    Ok(outcome::reports(&deps, &org, &digest).await?)
}

fn processing(said: &Result<Vec<Said>, Failure>) {
    match said {
        Ok(said) if said.is_empty() => {}
        Ok(said) => {
            output::line("");
            output::line("PROCESSING");
            said.iter().for_each(|s| output::line(&format!("- {}", s.line())));
        }
        Err(e) => output::note(&format!("what the processor said cannot be read: {e}")),
    }
}

/// Temporal actions and history events of the workflow that carried the file; a batch's are those of all its files.
async fn spent(client: &Client, f: &Found) -> Option<(u64, usize)> {
    let handle = client.get_workflow_handle::<UntypedWorkflow>(&f.workflow_id);
    let events = handle.fetch_history(WorkflowFetchHistoryOptions::default()).into_events().await.ok()?;
    Some((cost::actions(&events), events.len()))
}

fn related(how: Relation) -> &'static str {
    match how {
        Relation::Merge => "the same recording in another encoding",
        Relation::Revision => "another version of the same recording",
        Relation::Link => "something that identifies them is the same",
    }
}
