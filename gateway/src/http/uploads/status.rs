//! Where an upload stands, in words that a clinician understands.

use chrono::{DateTime, SecondsFormat};
use leadline_domain::lifecycle::Outcome;
use leadline_domain::{FaultCode, StructureVerdict};
use leadline_workflows::recording_lifecycle::FileReport;
use serde::Serialize;
use utoipa::ToSchema;

/// Where an upload stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Its bytes are not all there yet.
    Uploading,
    /// All bytes are there; it is being checked, stored or queued.
    Checking,
    /// It waits: the content is not complete, or something has to be mended.
    Waiting,
    /// It is a recording of the organization and on its way to the processor.
    Delivered,
    /// The organization has these bytes already.
    Duplicate,
    /// It was not accepted; a human has to look.
    Refused,
}

/// Answer to `GET /uploads/{id}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct UploadStatus {
    /// The upload.
    pub id: String,
    /// Where it stands.
    pub state: State,
    /// The same in a sentence.
    pub text: String,
    /// Whether `state` is the last one.
    pub done: bool,
    /// The recording, once it is known: the same id for the same bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recording: Option<String>,
    /// For a duplicate: when the recording was stored first (RFC 3339, UTC).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub original_at: Option<String>,
    /// What kind of file it is, e.g. `pdf`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    /// For what was refused: the code of docs/faults.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
}

impl UploadStatus {
    /// Not begun to be checked.
    #[must_use]
    pub fn early(id: &str, state: State, text: &str) -> Self {
        Self {
            id: id.to_owned(),
            state,
            text: text.to_owned(),
            done: false,
            recording: None,
            original_at: None,
            format: None,
            code: None,
        }
    }

    /// Not taken in: it is not what was declared, or none that is taken.
    #[must_use]
    pub fn refused(id: &str, code: FaultCode) -> Self {
        let (done, code_text) = (true, Some(code.to_string()));
        Self { done, code: code_text, ..Self::early(id, State::Refused, &refused(code, None)) }
    }

    /// What a lifecycle says. `original_s`: when the recording it duplicates was stored, seconds since 1970.
    #[must_use]
    pub fn of(id: &str, report: &FileReport, original_s: Option<i64>) -> Self {
        let l = &report.lifecycle;
        let structure = l.structure.as_ref();
        let format = structure.map(|s| s.format.clone()).filter(|f| f != "unknown");
        let mut s = Self::early(id, State::Checking, "Received. It is being checked.");
        s.format.clone_from(&format);
        match report.outcome() {
            Some(Outcome::Delivered { recording, .. }) => {
                s.state = State::Delivered;
                s.text = "Delivered. The recording is stored and on its way.".into();
                s.recording = Some(recording.as_str().to_owned());
            }
            Some(Outcome::Duplicate { of }) => {
                s.state = State::Duplicate;
                s.recording = Some(of.as_str().to_owned());
                s.original_at = original_s
                    .and_then(|t| DateTime::from_timestamp(t, 0))
                    .map(|t| t.to_rfc3339_opts(SecondsFormat::Secs, true));
                s.text = match &s.original_at {
                    Some(t) => {
                        format!("Duplicate: the same recording was stored at {} UTC on {}.", &t[11..16], &t[..10])
                    }
                    None => "Duplicate: your organization has the same recording already.".into(),
                };
            }
            Some(Outcome::Quarantined { code }) => {
                s.state = State::Refused;
                s.code = Some(code.to_string());
                s.text = refused(*code, structure.map(|s| (s.format.as_str(), s.evidence.as_slice())));
            }
            Some(Outcome::Withdrawn { .. }) => {
                s.state = State::Refused;
                s.text = "It was removed before it was complete. Upload it again.".into();
            }
            None => {
                if l.retry.is_some() {
                    s.state = State::Waiting;
                    s.text = "Received and kept. Something has to be mended first; it goes on by itself.".into();
                } else if let Some(st) = structure.filter(|s| {
                    matches!(
                        s.verdict,
                        StructureVerdict::Partial | StructureVerdict::Malformed | StructureVerdict::Suspect
                    )
                }) {
                    s.state = State::Waiting;
                    s.text = match st.verdict {
                        StructureVerdict::Partial => incomplete(&st.format, &st.evidence),
                        _ => damaged(&st.format, &st.evidence),
                    };
                }
            }
        }
        s.done = report.outcome().is_some();
        s
    }
}

/// As people call it.
fn called(format: &str) -> String {
    match format {
        "pdf" => "PDF".into(),
        "dicom" => "DICOM file".into(),
        "scp" | "scp_ecg" | "scp-ecg" => "SCP-ECG file".into(),
        "unknown" | "" => "file".into(),
        other => format!("{} file", other.replace(['_', '-'], " ")),
    }
}

fn because(evidence: &[String]) -> String {
    evidence.first().map(|e| format!(" ({})", e.trim_end_matches('.'))).unwrap_or_default()
}

fn incomplete(format: &str, evidence: &[String]) -> String {
    format!("Incomplete: the {} ends early{}. Export it again and upload that.", called(format), because(evidence))
}

fn damaged(format: &str, evidence: &[String]) -> String {
    format!("Damaged: the {} contradicts itself{}. Export it again and upload that.", called(format), because(evidence))
}

fn refused(code: FaultCode, structure: Option<(&str, &[String])>) -> String {
    let (format, evidence) = structure.unwrap_or(("", &[]));
    match code {
        FaultCode::FileIncomplete | FaultCode::FileStalled => incomplete(format, evidence),
        FaultCode::FileMalformed | FaultCode::FileSuspect => damaged(format, evidence),
        FaultCode::FileEmpty => "The file has no bytes.".into(),
        FaultCode::FileTooLarge => "The file is larger than your organization allows.".into(),
        FaultCode::FileFormatNotAllowed => {
            format!("Your organization does not take this kind of file ({}).", called(format))
        }
        FaultCode::FileChecksumMismatch => "What arrived is not what was sent. Upload it again.".into(),
        other => format!("Not accepted ({other}). Your support can look it up."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intake::{Content, Intake as _, Received};
    use crate::intake_fake::{FakeIntake, Planned};
    use leadline_domain::{Digest, Ingress, OrgId, RecordingId, StagedName, Structure};

    async fn told(outcome: Option<Outcome>, verdict: StructureVerdict, original: Option<i64>) -> UploadStatus {
        let structure = Structure {
            format: "pdf".into(),
            verdict,
            evidence: vec!["The end mark is missing.".into()],
            identity: None,
            marks: Default::default(),
        };
        let i = FakeIntake::new();
        let (org, name) = (OrgId::parse("north").unwrap(), StagedName::derived(Ingress::Web, &["x"]));
        i.plan(match outcome {
            Some(o) => Planned::Becomes(o, Some(structure.clone())),
            None => Planned::Stays,
        });
        let content = Content::Staged { version: None };
        i.take(Received { org: org.clone(), ingress: Ingress::Web, name: name.clone(), content, declared: None })
            .await
            .unwrap();
        let mut report = i.report(&org, Ingress::Web, &name).await.unwrap().unwrap();
        report.lifecycle.structure = Some(structure);
        UploadStatus::of("id", &report, original)
    }

    #[tokio::test]
    async fn in_words_that_a_clinician_understands() {
        let recording = RecordingId::new(&OrgId::parse("north").unwrap(), &Digest::of(b"x"));
        let s = told(Some(Outcome::Quarantined { code: FaultCode::FileIncomplete }), StructureVerdict::Partial, None);
        let s = s.await;
        assert_eq!(
            s.text,
            "Incomplete: the PDF ends early (The end mark is missing). Export it again and upload that."
        );
        assert_eq!((s.state, s.done, s.code.as_deref()), (State::Refused, true, Some("file.incomplete")));
        let of = Outcome::Duplicate { of: recording };
        let s = told(Some(of), StructureVerdict::Complete, Some(1_700_000_000)).await;
        assert_eq!(s.text, "Duplicate: the same recording was stored at 22:13 UTC on 2023-11-14.");
        assert_eq!(s.original_at.as_deref(), Some("2023-11-14T22:13:20Z"));
        let s = told(None, StructureVerdict::Partial, None).await;
        assert_eq!((s.state, s.done), (State::Waiting, false));
        let s = told(None, StructureVerdict::Complete, None).await;
        assert_eq!((s.state, s.done), (State::Checking, false));
    }

    #[test]
    fn every_code_has_words() {
        for c in FaultCode::ALL {
            assert!(refused(*c, None).ends_with('.'), "{c}");
        }
    }
}
