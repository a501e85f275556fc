//! What the lifecycle of a file begins with.

use crate::archive::ArchiveRule;
use crate::ids::{OrgId, ShareId};
use crate::lifecycle::Lifecycle;
use crate::observe::{FileKey, Fingerprint};
use crate::settle::SettleRule;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// What a lifecycle begins with: a file that was seen on a share, and the rules that were in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intake {
    /// Whose.
    pub org: OrgId,
    /// Where.
    pub share: ShareId,
    /// Which file, in which version.
    pub fingerprint: Fingerprint,
    /// For how long that version had been seen unchanged when the lifecycle began, milliseconds.
    pub quiet_ms: u64,
    /// When to call it done.
    pub settle: SettleRule,
    /// What to do with the clinic's copy.
    pub archive: ArchiveRule,
    /// Up to this many bytes a file is small: read as a whole, stored by one request.
    pub small_bytes: u64,
    /// Larger files are quarantined.
    pub max_bytes: u64,
    /// Formats that are delivered, by name; any if empty. Others are quarantined.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub formats: BTreeSet<String>,
    /// The state to go on from, of a file that left a batch; absent for one that begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resume: Option<Box<Lifecycle>>,
}

impl Intake {
    /// The key of the file.
    #[must_use]
    pub fn file_key(&self) -> FileKey {
        self.fingerprint.file_key(&self.org, &self.share)
    }
}
