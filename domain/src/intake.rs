//! What the lifecycle of a file begins with.

use crate::archive::ArchiveRule;
use crate::ids::{Digest, OrgId, ShareId};
use crate::lifecycle::Lifecycle;
use crate::observe::{FileKey, FileStat, Fingerprint, SharePath};
use crate::settle::SettleRule;
use crate::staged::{Ingress, StagedAt, StagedName};
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
    /// What the sender declared the content to be; other content is quarantined.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub declared: Option<Digest>,
    /// The state to go on from, of a file that left a batch; absent for one that begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resume: Option<Box<Lifecycle>>,
}

/// What stands for content that is staged under a name. Its version is told by the first look.
#[must_use]
pub fn received_as(name: &StagedName) -> Fingerprint {
    let stat = FileStat { file_id: 0, size: 0, modified: 0, changed: 0 };
    Fingerprint { path: SharePath::new(name.as_str()), stat }
}

impl Intake {
    /// What the lifecycle of received content begins with; the first look tells its size. `limits`: see `small_bytes`
    /// and `max_bytes`. `None` for [`Ingress::Smb`], which stages nothing.
    #[must_use]
    pub fn received(
        org: OrgId,
        ingress: Ingress,
        name: &StagedName,
        (small_bytes, max_bytes): (u64, u64),
        formats: BTreeSet<String>,
        declared: Option<Digest>,
    ) -> Option<Self> {
        Some(Self {
            org,
            share: ingress.share()?,
            fingerprint: received_as(name),
            quiet_ms: 0,
            settle: SettleRule::default(),
            archive: ArchiveRule::Leave,
            small_bytes,
            max_bytes,
            formats,
            declared,
            resume: None,
        })
    }

    /// Of this version of what is staged, where the object can be written again: what is written later is not looked at.
    #[must_use]
    pub fn in_version(mut self, version: Option<&str>) -> Self {
        let path = StagedAt { version, ..StagedAt::of_path(self.fingerprint.path.expose()) }.path();
        self.fingerprint.path = SharePath::new(path);
        self
    }

    /// By which way it came in.
    #[must_use]
    pub fn ingress(&self) -> Ingress {
        Ingress::of_share(&self.share)
    }

    /// The key of the file.
    #[must_use]
    pub fn file_key(&self) -> FileKey {
        self.fingerprint.file_key(&self.org, &self.share)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_what_is_staged_under_one_name_are_one_file() {
        let name = StagedName::derived(Ingress::Web, &["x"]);
        let org = OrgId::parse("north").unwrap();
        let of = |version| {
            let i = Intake::received(org.clone(), Ingress::Web, &name, (1, 1), BTreeSet::new(), None).unwrap();
            i.in_version(version)
        };
        let [now, one, other] = [None, Some("v1"), Some("v2")].map(of);
        assert_eq!(now.fingerprint.path.expose(), name.as_str());
        assert_eq!(one.fingerprint.path.expose(), format!("{name}?v1"));
        assert_eq!(one.clone().in_version(Some("v2")), other);
        assert_eq!(other.clone().in_version(None), now);
        assert_eq!((now.file_key(), now.file_key()), (one.file_key(), other.file_key()));
        // On a share it is part of a name, wherever somebody may write it.
        let ward = |path: &str| Fingerprint { path: SharePath::new(path), ..now.fingerprint.clone() };
        let share = ShareId::parse("ward").unwrap();
        assert_ne!(ward("a?b").file_key(&org, &share), ward("a?c").file_key(&org, &share));
    }
}
