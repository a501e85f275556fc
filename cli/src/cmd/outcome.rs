//! `leadline outcome`: what the processor said of recordings, and of which it said nothing.

use crate::Global;
use crate::connect::Site;
use crate::exit::{Code, Done, Failure};
use crate::output::{self, Format};
use futures::{StreamExt, TryStreamExt};
use leadline_activities::deps::Deps;
use leadline_domain::message::rfc3339;
use leadline_domain::outcome::{OutcomeRule, OverdueReport, ProcessorReport};
use leadline_domain::{Digest, EnvId, Fault, FaultCode, OrgId, RecordingId};
use leadline_gateway::outcomes::{self, WorkedOff};
use serde_json::{Value, json};
use std::time::{SystemTime, UNIX_EPOCH};

/// Recordings whose reports are read at once.
const AT_ONCE: usize = 16;
const HOUR_MS: i64 = 3_600_000;

#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// The latest recordings and what the processor said of them.
    List {
        /// Organization.
        #[arg(long)]
        org: OrgId,
        /// Environment.
        #[arg(long)]
        env: EnvId,
        /// Only those of which nothing was said though it should have been. Exits with 3 if there are some.
        #[arg(long)]
        missing: bool,
        /// With --missing: hours after which something should have been said. Default: the environment's.
        #[arg(long, value_name = "HOURS", requires = "missing")]
        within: Option<u32>,
        /// At most this many recordings.
        #[arg(long, default_value_t = 50)]
        limit: usize,
    },
    /// Work off the reports that wait on the outcome queue, as the gateway does, and stop. Exits with 3 if some were
    /// refused.
    Collect {
        /// Environment.
        #[arg(long)]
        env: EnvId,
    },
    /// Everything that was said of one recording.
    Show {
        /// The recording's id, as in its message.
        recording: String,
        /// Environment.
        #[arg(long)]
        env: EnvId,
    },
}

pub(crate) async fn run(g: &Global, c: Command) -> Done {
    match c {
        Command::List { org, env, missing, within, limit } => {
            let deps = Site::load(g, &env)?.deps().await?;
            if missing { overdue(g, &deps, &org, within, limit).await } else { list(g, &deps, &org, limit).await }
        }
        Command::Collect { env } => {
            let deps = Site::load(g, &env)?.deps().await?;
            let mut all = WorkedOff::default();
            loop {
                let done = outcomes::once(&deps.outcomes, 1).await?;
                if done == WorkedOff::default() {
                    break;
                }
                all.recorded += done.recorded;
                all.refused += done.refused;
                all.left += done.left;
            }
            let WorkedOff { recorded, refused, left } = all;
            match g.output {
                Format::Json => output::json(&json!({ "recorded": recorded, "refused": refused, "left": left })),
                Format::Text => output::line(&format!("{recorded} reports recorded, {refused} refused, {left} left")),
            }
            Ok(if refused + left == 0 { Code::Ok } else { Code::NotWell })
        }
        Command::Show { recording, env } => {
            let (org, digest) = RecordingId::parts_of(&recording)
                .ok_or_else(|| Failure::command("a recording's id is ORGANIZATION.SHA256, as in its message"))?;
            let deps = Site::load(g, &env)?.deps().await?;
            let all = reports(&deps, &org, &digest).await?;
            match g.output {
                Format::Json => all.iter().for_each(|r| output::json(&r.json())),
                Format::Text if all.is_empty() => output::line("the processor said nothing of it"),
                Format::Text => output::table(
                    &["STORED", "DONE", "STATUS", "REASON", "PROCESSOR", "REPORT"],
                    &all.iter().map(Said::row).collect::<Vec<_>>(),
                ),
            }
            Ok(Code::Ok)
        }
    }
}

/// A report, and when it was stored.
pub(super) struct Said {
    report: ProcessorReport,
    stored_ms: i64,
}

impl Said {
    fn row(&self) -> Vec<String> {
        let r = &self.report;
        vec![
            rfc3339(self.stored_ms),
            r.time.clone(),
            r.status.as_str().into(),
            r.reason.clone().unwrap_or_default(),
            r.processor.clone(),
            r.report.clone(),
        ]
    }

    pub(super) fn json(&self) -> Value {
        let mut v = json!(self.report);
        v["stored_ms"] = json!(self.stored_ms);
        v
    }

    /// In a sentence.
    pub(super) fn line(&self) -> String {
        let r = &self.report;
        let why = r.reason.as_ref().map(|c| format!(" ({c})")).unwrap_or_default();
        format!("{}{why} by {}, {}", r.status.as_str(), r.processor, r.time)
    }
}

/// What the processor said of a recording, the first report first.
pub(super) async fn reports(deps: &Deps, org: &OrgId, digest: &Digest) -> Result<Vec<Said>, Fault> {
    let kept = deps.outcomes.stores.outcomes(&deps.registry.scope(org)?).await?.reports(digest).await?;
    let read = |k: &leadline_activities::ports::outcomes::KeptReport| {
        let report = serde_json::from_slice(&k.body).ok()?;
        Some(Said { report, stored_ms: k.stored_ms })
    };
    Ok(kept.iter().filter_map(read).collect())
}

async fn list(g: &Global, deps: &Deps, org: &OrgId, limit: usize) -> Done {
    let store = deps.outcomes.stores.outcomes(&deps.registry.scope(org)?).await?;
    let mut all: Vec<(Digest, i64)> = Vec::new();
    loop {
        let page = store.recordings_after(all.last().map(|(d, _)| d)).await?;
        if page.is_empty() {
            break;
        }
        all.extend(page);
    }
    all.sort_by_key(|(_, stored)| std::cmp::Reverse(*stored));
    all.truncate(limit);
    let rows: Vec<(Digest, i64, Vec<Said>)> = futures::stream::iter(all)
        .map(|(d, stored)| async move { Ok::<_, Fault>((d, stored, reports(deps, org, &d).await?)) })
        .buffered(AT_ONCE)
        .try_collect()
        .await?;
    match g.output {
        Format::Json => rows.iter().for_each(|(d, stored, said)| {
            let said: Vec<Value> = said.iter().map(Said::json).collect();
            output::json(&json!({ "recording": RecordingId::new(org, d), "stored_ms": stored, "reports": said }));
        }),
        Format::Text => {
            let row = |(d, stored, said): &(Digest, i64, Vec<Said>)| {
                let last = said.last().map_or("nothing yet".into(), Said::line);
                vec![RecordingId::new(org, d).to_string(), rfc3339(*stored), said.len().to_string(), last]
            };
            output::table(&["RECORDING", "STORED", "REPORTS", "LATEST"], &rows.iter().map(row).collect::<Vec<_>>());
        }
    }
    Ok(Code::Ok)
}

async fn overdue(g: &Global, deps: &Deps, org: &OrgId, within: Option<u32>, limit: usize) -> Done {
    let configured = deps.registry.snapshot().outcomes;
    let rule = match (within, configured) {
        (Some(h), rule) => OutcomeRule {
            within_ms: i64::from(h) * HOUR_MS,
            look_back_ms: rule.map_or(30 * 24 * HOUR_MS, |r| r.look_back_ms),
        },
        (None, Some(rule)) => rule,
        (None, None) => {
            let detail = "the environment expects no reports: add [outcomes] with within_h, or say --within";
            return Err(Fault::new(FaultCode::ConfigInvalid, detail).into());
        }
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now_ms = i64::try_from(now.as_millis()).unwrap_or(i64::MAX);
    let report = deps.outcomes.look(org, rule, now_ms).await?;
    match g.output {
        Format::Json => output::json(&report),
        Format::Text => missing(&report, limit),
    }
    Ok(if report.missing == 0 { Code::Ok } else { Code::NotWell })
}

fn missing(r: &OverdueReport, limit: usize) {
    let rows: Vec<Vec<String>> =
        r.oldest.iter().take(limit).map(|m| vec![m.recording.to_string(), rfc3339(m.stored_ms)]).collect();
    if !rows.is_empty() {
        output::table(&["RECORDING", "STORED"], &rows);
    }
    output::line(&format!(
        "{} of {} recordings stored from {} to {} have no report",
        r.missing,
        r.recordings,
        rfc3339(r.from_ms),
        rfc3339(r.to_ms)
    ));
    if let Some(f) = r.fault() {
        output::line(&format!("see docs/faults/{}.md", f.code));
    }
}
