//! `leadline file`: the set that a file belongs to.

use super::file::Found;
use leadline_domain::lifecycle::Outcome;
use leadline_domain::set::{MemberRole, SetKind, SetWait};
use leadline_domain::{Fault, RecordingId};
use leadline_workflows::set_lifecycle::SetReport;
use serde_json::{Value, json};

/// A file's place in a set, and where the set stands.
pub(super) struct InSet {
    role: MemberRole,
    kind: SetKind,
    why: Option<SetWait>,
    fault: Option<Fault>,
    recording: Option<RecordingId>,
    others: Vec<Other>,
}

/// Another file of the set.
struct Other {
    role: MemberRole,
    key: String,
    outcome: Option<Outcome>,
}

impl InSet {
    /// The members of a set, a file each.
    pub(super) fn members(workflow_id: &str, set: SetReport) -> Vec<Found> {
        let all: Vec<Other> = set
            .members
            .iter()
            .map(|m| Other {
                role: m.role,
                key: m.report.intake.file_key().to_string(),
                outcome: m.report.outcome().cloned(),
            })
            .collect();
        let others = |n: usize| {
            let but = all.iter().enumerate().filter(|(i, _)| *i != n);
            but.map(|(_, o)| Other { role: o.role, key: o.key.clone(), outcome: o.outcome.clone() }).collect()
        };
        let (kind, why, fault, recording) = (set.kind, set.why, set.fault, set.recording);
        set.members
            .into_iter()
            .enumerate()
            .map(|(n, m)| Found {
                workflow_id: workflow_id.to_owned(),
                report: m.report,
                set: Some(InSet {
                    role: m.role,
                    kind,
                    why,
                    fault: fault.clone(),
                    recording: recording.clone(),
                    others: others(n),
                }),
            })
            .collect()
    }

    /// What a member that is complete by itself waits for.
    pub(super) fn state(&self) -> Option<(&'static str, String)> {
        match (&self.fault, self.why) {
            (Some(f), _) => Some(("retrying", f.to_string())),
            (None, Some(why)) => Some(("waiting", why.sentence().to_owned())),
            (None, None) => None,
        }
    }

    pub(super) fn json(&self) -> Value {
        let others: Vec<Value> =
            self.others.iter().map(|o| json!({ "role": o.role, "file": o.key, "outcome": o.outcome })).collect();
        json!({
            "kind": self.kind,
            "role": self.role,
            "waits_for": self.why,
            "recording": self.recording,
            "others": others,
        })
    }

    /// For the page of one file.
    pub(super) fn rows(&self) -> Vec<(&'static str, String)> {
        let mut rows = vec![("set", format!("{} of a {} set", word(&self.role), word(&self.kind)))];
        if let Some(r) = &self.recording {
            rows.push(("delivered as", r.to_string()));
        }
        if let Some(why) = self.why {
            rows.push(("waits for", why.sentence().to_owned()));
        }
        for o in &self.others {
            let outcome = o.outcome.as_ref().map_or_else(|| "under way".to_owned(), said);
            rows.push(("with", format!("{} ({}): {outcome}", o.key, word(&o.role))));
        }
        rows
    }
}

fn word(v: &impl serde::Serialize) -> String {
    serde_json::to_value(v).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
}

fn said(o: &Outcome) -> String {
    match o {
        Outcome::Delivered { .. } => "delivered".into(),
        Outcome::Duplicate { of } => format!("duplicate of {of}"),
        Outcome::Quarantined { code } => format!("quarantined, {code}"),
        Outcome::Withdrawn { .. } => "withdrawn".into(),
    }
}
