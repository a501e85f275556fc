//! The audit entry that every outcome leaves (invariant L8). No PHI: ids, hashes, times, facts.

use crate::ids::{Digest, OrgId, RecordingId, ShareId, hash_parts};
use crate::lifecycle::{ArchiveState, Outcome};
use crate::observe::{FileKey, VersionKey};
use crate::related::Related;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// When what happened, milliseconds since 1970-01-01 UTC by the workflow's clock. Absent: it has not happened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Times {
    /// This version of the file was first seen.
    pub first_seen_ms: i64,
    /// The lifecycle began.
    pub discovered_ms: i64,
    /// The file was judged complete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settled_ms: Option<i64>,
    /// The object was stored, or found stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stored_ms: Option<i64>,
    /// The message was accepted by the queue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enqueued_ms: Option<i64>,
    /// The clinic's copy was dealt with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub archived_ms: Option<i64>,
}

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LedgerEntry {
    /// The same for a repeat of the same entry, so that repeats are harmless.
    pub id: String,
    /// Version of this layout.
    pub schema: u32,
    /// Organization.
    pub organization: OrgId,
    /// The way it came in: `smb`, `web`, `hl7v2`, `fhir`, `dicom`.
    pub ingress: String,
    /// Share it lay on.
    pub share: ShareId,
    /// Key of the file on the share.
    pub file: String,
    /// Key of the version of the file.
    pub version: String,
    /// What became of it.
    pub outcome: Outcome,
    /// SHA-256 of the content, once it was read as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Digest>,
    /// Bytes.
    pub size: u64,
    /// Format name.
    pub format: String,
    /// Why it was judged as it was, a sentence each.
    pub evidence: Vec<String>,
    /// What happened to the clinic's copy.
    pub archive: ArchiveState,
    /// When.
    pub times: Times,
    /// The recording id of the set that the file was delivered with; absent for a file by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set: Option<RecordingId>,
    /// Recordings that were there before and seem to be of the same recording.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub related: Vec<Related>,
}

impl LedgerEntry {
    /// The id of an entry with this content: equal for a repeat, other for another outcome of the same file.
    #[must_use]
    pub fn entry_id(file: &FileKey, version: &VersionKey, outcome: &Outcome, archive: ArchiveState) -> String {
        Self::id_of(file.as_str(), version.as_str(), outcome, archive)
    }

    fn id_of(file: &str, version: &str, outcome: &Outcome, archive: ArchiveState) -> String {
        let kind = serde_json::to_string(&(outcome, archive)).unwrap_or_default();
        let h = hash_parts("leadline.entry.v1", &[file.as_bytes(), version.as_bytes(), kind.as_bytes()]);
        hex::encode(&h[..16])
    }

    /// The entry once the clinic's copy was dealt with. `at_ms`: milliseconds since 1970-01-01 UTC.
    #[must_use]
    pub fn archived(mut self, archive: ArchiveState, at_ms: i64) -> Self {
        self.id = Self::id_of(&self.file, &self.version, &self.outcome, archive);
        self.archive = archive;
        self.times.archived_ms = Some(at_ms);
        self
    }
}
