//! `leadline file`: what became of files, read from Temporal. Names are PHI: they are shown only on request.

use super::file_find as find;
use super::file_set::InSet;
use super::outcome::{self, Said};
use crate::Global;
use crate::connect::Site;
use crate::exit::{Code, Done, Failure};
use crate::output::{self, Format};
use leadline_activities::cost;
use leadline_domain::lifecycle::{ArchiveState, Outcome, Phase};
use leadline_domain::message::rfc3339;
use leadline_domain::{EnvId, OrgId, RecordingId, Relation};
use leadline_workflows::ids;
use leadline_workflows::recording_lifecycle::FileReport;
use serde_json::{Value, json};
use temporalio_client::{Client, UntypedWorkflow, WorkflowFetchHistoryOptions};

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
            let mut found = find::latest(&client, org.as_ref(), limit).await?;
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
                    if rows.is_empty() {
                        output::note("no files");
                    }
                }
            }
        }
        Command::Show { key, env, show_paths } => {
            let site = Site::load(g, &env)?;
            let client = site.temporal().await?;
            let wanted = key.rsplit('/').next().unwrap_or(&key);
            let Some(f) = &find::by_key(&client, wanted).await? else {
                return Err(Failure::command(format!("no file with key {key} is known to Temporal in {env}")));
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

impl Found {
    pub(super) fn key(&self) -> String {
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
