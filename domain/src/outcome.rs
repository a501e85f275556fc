//! What became of a recording after its delivery: the processor's report, and what is concluded from reports that are
//! missing.

use crate::fault::{Fault, FaultCode};
use crate::ids::{Digest, EnvId, OrgId, RecordingId, hash_parts};
use chrono::DateTime;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `schema` of a report; `docs/schema/outcome.v1.json` holds it.
pub const OUTCOME_SCHEMA: &str = "urn:leadline:schema:outcome:v1";
/// A report has seven short values, bytes.
const MAX_BYTES: usize = 4_096;

/// What became of a recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProcessingStatus {
    /// It was processed.
    Processed,
    /// Processing failed. Another report may say that a later attempt did not.
    Failed,
    /// It will not be processed: it is nothing the processor takes.
    Rejected,
}

impl ProcessingStatus {
    /// As it is in reports.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Processed => "processed",
            Self::Failed => "failed",
            Self::Rejected => "rejected",
        }
    }
}

/// A report, as the processor sends it. Codes and ids only: there is no place for a text that could hold a patient's
/// name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProcessorReport {
    /// Always `urn:leadline:schema:outcome:v1`.
    #[schemars(regex(pattern = "^urn:leadline:schema:outcome:v1$"))]
    pub schema: String,
    /// The processor's id of this report. The same report sent again has the same id.
    #[schemars(regex(pattern = "^[A-Za-z0-9_-]{1,64}$"))]
    pub report: String,
    /// The recording: `id` of the message it was delivered with.
    #[schemars(regex(pattern = "^[a-z](-?[a-z0-9]){1,23}\\.[0-9a-f]{64}$"))]
    pub recording: String,
    /// What became of it.
    pub status: ProcessingStatus,
    /// Why, as a code of the processor; with `failed` and `rejected`, and only with them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^[a-z0-9][a-z0-9_.-]{0,63}$"))]
    pub reason: Option<String>,
    /// Name and version of the processor, e.g. `ecg-model/4.2`.
    #[schemars(regex(pattern = "^[A-Za-z0-9][A-Za-z0-9_.+/-]{0,63}$"))]
    pub processor: String,
    /// When it was done, RFC 3339.
    pub time: String,
}

/// A report that holds what a report has to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedReport {
    /// As it was sent.
    pub report: ProcessorReport,
    /// Whose recording.
    pub org: OrgId,
    /// Its content.
    pub digest: Digest,
    /// When it was done, milliseconds since 1970-01-01 UTC.
    pub done_ms: i64,
}

impl ProcessorReport {
    /// Reads and checks a report.
    ///
    /// # Errors
    /// `outcome.invalid`. The detail says which rule is broken and repeats nothing of what was sent.
    pub fn parse(text: &str) -> Result<CheckedReport, Fault> {
        let invalid = |why: &str| Fault::new(FaultCode::OutcomeInvalid, why);
        if text.len() > MAX_BYTES {
            return Err(invalid("the report is longer than 4,096 bytes"));
        }
        let r: Self = serde_json::from_str(text)
            .map_err(|_| invalid("it is not JSON with the fields of outcome.v1, and no others"))?;
        if r.schema != OUTCOME_SCHEMA {
            return Err(invalid("schema is another than urn:leadline:schema:outcome:v1"));
        }
        if !within(&r.report, 64, |b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-') {
            return Err(invalid("report is not 1 to 64 letters, digits, hyphens or underscores"));
        }
        let (org, digest) =
            RecordingId::parts_of(&r.recording).ok_or_else(|| invalid("recording is not the id of a recording"))?;
        if r.reason.is_some() == (r.status == ProcessingStatus::Processed) {
            return Err(invalid("a reason belongs to failed and rejected, and only to them"));
        }
        let code = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_.-".contains(&b);
        if r.reason.as_ref().is_some_and(|c| !within(c, 64, code)) {
            return Err(invalid(
                "reason is not a code of 1 to 64 lower-case letters, digits, dots, hyphens or underscores",
            ));
        }
        if !within(&r.processor, 64, |b| b.is_ascii_alphanumeric() || b"_.+/-".contains(&b)) {
            return Err(invalid("processor is not a name of 1 to 64 letters, digits, or any of _ . + / -"));
        }
        let time = DateTime::parse_from_rfc3339(&r.time).map_err(|_| invalid("time is not a time of RFC 3339"))?;
        Ok(CheckedReport { org, digest, done_ms: time.timestamp_millis(), report: r })
    }

    /// The one serializer: what is kept, and what a repeat is compared with.
    #[must_use]
    pub fn to_json(&self) -> String {
        // A struct of strings has no way to fail.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The JSON Schema of a report.
    #[must_use]
    pub fn json_schema() -> serde_json::Value {
        let mut s = schemars::schema_for!(ProcessorReport);
        s.insert("$id".into(), OUTCOME_SCHEMA.into());
        s.to_value()
    }
}

fn within(s: &str, max: usize, allowed: impl Fn(u8) -> bool) -> bool {
    (1..=max).contains(&s.len()) && s.as_bytes()[0].is_ascii_alphanumeric() && s.bytes().all(allowed)
}

/// Prefix of the reports on a recording, below its organization's bucket. In the order of recordings' keys.
#[must_use]
pub fn reports_prefix(digest: &Digest) -> String {
    let hex = digest.to_hex();
    format!("outcomes/sha256/{}/{hex}/", &hex[..2])
}

/// Key of a report below its organization's bucket. Written once.
#[must_use]
pub fn report_key(digest: &Digest, report: &str) -> String {
    format!("{}{report}.json", reports_prefix(digest))
}

/// The audit entry of a report: of the recording's history, after its delivery.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OutcomeEntry {
    /// The same for a repeat of the same entry, so that repeats are harmless.
    pub id: String,
    /// Version of this layout.
    pub schema: u32,
    /// Always `processing`; entries about files have no kind.
    pub kind: String,
    /// Organization.
    pub organization: OrgId,
    /// The recording.
    pub recording: RecordingId,
    /// The processor's id of the report.
    pub report: String,
    /// What became of the recording.
    pub status: ProcessingStatus,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Name and version of the processor.
    pub processor: String,
    /// When it was done, as the processor says, milliseconds since 1970-01-01 UTC.
    pub done_ms: i64,
}

impl OutcomeEntry {
    /// The entry of a report.
    #[must_use]
    pub fn of(c: &CheckedReport) -> Self {
        let h = hash_parts("leadline.outcome_entry.v1", &[c.report.recording.as_bytes(), c.report.report.as_bytes()]);
        Self {
            id: hex::encode(&h[..16]),
            schema: 1,
            kind: "processing".into(),
            organization: c.org.clone(),
            recording: RecordingId::new(&c.org, &c.digest),
            report: c.report.report.clone(),
            status: c.report.status,
            reason: c.report.reason.clone(),
            processor: c.report.processor.clone(),
            done_ms: c.done_ms,
        }
    }
}

/// When a recording without a report is overdue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutcomeRule {
    /// A report is due so long after a recording was stored, milliseconds.
    pub within_ms: i64,
    /// Recordings stored longer ago are not looked at, milliseconds.
    pub look_back_ms: i64,
}

/// A recording without a report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missing {
    /// The recording.
    pub recording: RecordingId,
    /// When it was stored, milliseconds since 1970-01-01 UTC.
    pub stored_ms: i64,
}

/// Which recordings of an organization have no report though one is due.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OverdueReport {
    /// Environment.
    pub env: EnvId,
    /// Organization.
    pub org: OrgId,
    /// Recordings stored from here, milliseconds since 1970-01-01 UTC ...
    pub from_ms: i64,
    /// ... to before here were looked at.
    pub to_ms: i64,
    /// How many these are.
    pub recordings: u64,
    /// How many of them have no report.
    pub missing: u64,
    /// Those stored first, at most [`OverdueReport::NAMED`].
    pub oldest: Vec<Missing>,
}

impl OverdueReport {
    /// So many recordings are named: the report goes into a history.
    pub const NAMED: usize = 100;

    /// Nothing looked at yet, at `now`.
    #[must_use]
    pub fn new(env: EnvId, org: OrgId, rule: OutcomeRule, now_ms: i64) -> Self {
        let (from_ms, to_ms) = (now_ms - rule.look_back_ms, now_ms - rule.within_ms);
        Self { env, org, from_ms, to_ms, recordings: 0, missing: 0, oldest: Vec::new() }
    }

    /// Takes a recording into account.
    pub fn add(&mut self, digest: &Digest, stored_ms: i64, reported: bool) {
        if !(self.from_ms..self.to_ms).contains(&stored_ms) {
            return;
        }
        self.recordings += 1;
        if reported {
            return;
        }
        self.missing += 1;
        let at = self.oldest.partition_point(|m| m.stored_ms <= stored_ms);
        if at < Self::NAMED {
            self.oldest.insert(at, Missing { recording: RecordingId::new(&self.org, digest), stored_ms });
            self.oldest.truncate(Self::NAMED);
        }
    }

    /// `outcome.overdue`, if a report is missing.
    #[must_use]
    pub fn fault(&self) -> Option<Fault> {
        (self.missing > 0).then(|| {
            let detail = format!(
                "organization {}: {} of {} recordings have no report of the processor",
                self.org, self.missing, self.recordings
            );
            Fault::new(FaultCode::OutcomeOverdue, detail)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden::golden;
    use crate::message::recording_key;
    use proptest::prelude::*;

    fn report() -> ProcessorReport {
        ProcessorReport {
            schema: OUTCOME_SCHEMA.into(),
            report: "run-000123".into(),
            recording: RecordingId::new(&OrgId::parse("st-mary").unwrap(), &Digest::of(b"an ecg")).to_string(),
            status: ProcessingStatus::Failed,
            reason: Some("model.no_signal".into()),
            processor: "ecg-model/4.2".into(),
            time: "2026-01-02T03:04:05.678Z".into(),
        }
    }

    #[test]
    fn the_schema_and_the_example_are_the_committed_ones() {
        let schema = serde_json::to_string_pretty(&ProcessorReport::json_schema()).unwrap();
        golden("outcome.v1.json", &format!("{schema}\n"));
        golden("outcome.v1.example.json", &format!("{}\n", report().to_json()));
        let read = ProcessorReport::parse(&report().to_json()).unwrap();
        assert_eq!((read.report, read.org.as_str(), read.digest), (report(), "st-mary", Digest::of(b"an ecg")));
        assert_eq!(read.done_ms, 1_767_323_045_678);
    }

    #[test]
    fn what_is_no_report_is_named_and_not_repeated() {
        let with = |change: fn(&mut ProcessorReport)| {
            let mut r = report();
            change(&mut r);
            ProcessorReport::parse(&r.to_json()).unwrap_err()
        };
        let all = [
            with(|r| r.schema = "Doe".into()),
            with(|r| r.report = "Doe^John".into()),
            with(|r| r.report = "../Doe".into()),
            with(|r| r.recording = "st-mary.Doe".into()),
            with(|r| r.recording = format!("St Mary.{}", Digest::of(b""))),
            with(|r| r.reason = Some("no signal of John Doe".into())),
            with(|r| r.reason = None),
            with(|r| r.status = ProcessingStatus::Processed),
            with(|r| r.processor = "Doe John".into()),
            with(|r| r.time = "Doe".into()),
            ProcessorReport::parse("Doe").unwrap_err(),
            ProcessorReport::parse(&report().to_json().replace("\"report\"", "\"Doe\"")).unwrap_err(),
            ProcessorReport::parse(&report().to_json().replace('{', "{\"note\":\"Doe\",")).unwrap_err(),
            ProcessorReport::parse(&format!("{}{}", report().to_json(), " ".repeat(5_000))).unwrap_err(),
        ];
        for f in all {
            assert_eq!(f.code, FaultCode::OutcomeInvalid);
            assert!(!f.detail.contains("Doe"), "{f}");
        }
    }

    #[test]
    fn an_entry_is_the_same_for_a_repeat_and_another_for_another_report() {
        let first = OutcomeEntry::of(&ProcessorReport::parse(&report().to_json()).unwrap());
        let again = OutcomeEntry::of(&ProcessorReport::parse(&report().to_json()).unwrap());
        let mut other = report();
        other.report = "run-000124".into();
        let other = OutcomeEntry::of(&ProcessorReport::parse(&other.to_json()).unwrap());
        assert_eq!(first, again);
        assert_ne!(first.id, other.id);
    }

    proptest! {
        #[test]
        fn reports_lie_in_the_order_of_recordings(a: [u8; 32], b: [u8; 32]) {
            let (a, b) = (Digest::from_bytes(a), Digest::from_bytes(b));
            prop_assert_eq!(recording_key(&a).cmp(&recording_key(&b)), report_key(&a, "r").cmp(&report_key(&b, "r")));
        }

        /// Whatever the order they come in: each of the window is counted once, and the oldest missing ones are named.
        #[test]
        fn the_oldest_missing_are_named(all in proptest::collection::vec((0i64..2_000, any::<bool>()), 0..400)) {
            let rule = OutcomeRule { within_ms: 500, look_back_ms: 1_500 };
            let mut r = OverdueReport::new(EnvId::parse("test").unwrap(), OrgId::parse("aa").unwrap(), rule, 2_000);
            for (n, (stored, reported)) in all.iter().enumerate() {
                r.add(&Digest::of(&n.to_be_bytes()), *stored, *reported);
            }
            let due: Vec<i64> = all.iter().filter(|(s, _)| (500..1_500).contains(s)).map(|(s, _)| *s).collect();
            let mut missing: Vec<i64> =
                all.iter().filter(|(s, ok)| (500..1_500).contains(s) && !ok).map(|(s, _)| *s).collect();
            missing.sort_unstable();
            prop_assert_eq!((r.recordings, r.missing), (due.len() as u64, missing.len() as u64));
            prop_assert_eq!(r.fault().is_some(), !missing.is_empty());
            missing.truncate(OverdueReport::NAMED);
            prop_assert_eq!(r.oldest.iter().map(|m| m.stored_ms).collect::<Vec<_>>(), missing);
        }
    }
}
