//! Sets: files that are one recording and travel as one delivery. What a set waits for, when it is complete, and the
//! manifest that names it. Which files belong together the caller knows; nothing here knows a name.

use crate::fault::FaultCode;
use crate::ids::{Digest, OrgId, RecordingId, ShareId, hash_parts};
use crate::lifecycle::{Command, Intake, Lifecycle, Outcome, Phase};
use crate::observe::VersionKey;
use crate::settle::{Basis, SettleRule, Structure, StructureVerdict};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The kind of rule that made a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SetKind {
    /// A WFDB record.
    Wfdb,
    /// Files with one stem.
    Stem,
    /// Files of fixed names in one folder.
    Folder,
    /// A file, or the files of one stem, with a marker.
    Marker,
}

/// What a file is to its set. The order is that of a manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MemberRole {
    /// The file that the set is named after.
    Primary,
    /// It must be there.
    Required,
    /// It may be there.
    Optional,
    /// A marker: its existence counts, its content does not.
    Marker,
}

/// What a set needs, by labels: extensions, or names where the rule is one of fixed names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetSpec {
    /// Kind of rule.
    pub kind: SetKind,
    /// Labels that must be there beside a primary file.
    pub required: Vec<String>,
    /// Labels that may be there.
    pub optional: Vec<String>,
    /// Files may belong to it that no list names.
    pub open: bool,
    /// A marker must be there.
    pub marker: bool,
}

/// A file that belongs to a set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// What it is to the set.
    pub role: MemberRole,
    /// What the spec calls it.
    pub label: String,
    /// Extension in lower case, without the dot.
    pub extension: String,
    /// What its lifecycle begins with.
    pub intake: Intake,
}

/// The most members a set has: its message names each of them, and SQS takes 256 KiB.
pub const MAX_MEMBERS: usize = 100;

/// Where a member stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Not complete yet.
    Settling,
    /// A failure is being waited out.
    Retrying,
    /// Complete, and held for the others.
    Ready,
    /// It ended by itself: removed, replaced or quarantined.
    Left,
}

/// What is known of a set at the moment of a decision.
#[derive(Debug, Clone)]
pub struct SetSeen<'a> {
    /// Its members.
    pub members: Vec<(MemberRole, &'a str, Standing)>,
    /// For how long no member has joined or changed.
    pub quiet_ms: u64,
    /// What the members say of each other, where something can.
    pub judged: Option<StructureVerdict>,
}

/// Why a set waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SetWait {
    /// A companion is missing.
    Companion,
    /// The marker is missing.
    Marker,
    /// A member is not complete.
    Member,
    /// Further members may come.
    More,
    /// The members contradict each other.
    Contradiction,
    /// There are more than [`MAX_MEMBERS`].
    TooMany,
}

impl SetWait {
    /// In words, for an operator.
    #[must_use]
    pub fn sentence(self) -> &'static str {
        match self {
            Self::Companion => "a companion is missing",
            Self::Marker => "the marker is missing",
            Self::Member => "another file of the set is not complete",
            Self::More => "further files of the set may come; the quiet period runs",
            Self::TooMany => "more files bear the name of the set than a set can have",
            Self::Contradiction => "the files of the set do not agree with each other",
        }
    }
}

/// The decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetDecision {
    /// Deliver it.
    Complete,
    /// Decide again after this time, or when a member changes.
    Wait {
        /// Milliseconds; absent: only a member can change anything.
        ms: Option<u64>,
        /// Why.
        why: SetWait,
    },
    /// It needs a human.
    GiveUp,
}

/// Decides whether a set is complete. It never is while a required member is missing, not complete or gone; and it is
/// never given up while a fault is being waited out, which is no fault of the set.
#[must_use]
pub fn decide(spec: &SetSpec, rule: &SettleRule, seen: &SetSeen<'_>) -> SetDecision {
    let here: Vec<_> = seen.members.iter().filter(|(_, _, s)| *s != Standing::Left).collect();
    let any = |role: MemberRole| here.iter().any(|(r, _, _)| *r == role);
    let has = |label: &String| here.iter().any(|(r, l, _)| *r != MemberRole::Marker && l == label);
    let lasting = |why: SetWait| {
        if seen.quiet_ms >= rule.stalled_after_ms && !here.iter().any(|(_, _, s)| *s == Standing::Retrying) {
            return SetDecision::GiveUp;
        }
        SetDecision::Wait { ms: Some(rule.stalled_after_ms.saturating_sub(seen.quiet_ms).max(1_000)), why }
    };
    if here.len() > MAX_MEMBERS {
        return lasting(SetWait::TooMany);
    }
    if !any(MemberRole::Primary) || !spec.required.iter().all(has) {
        return lasting(SetWait::Companion);
    }
    if spec.marker && !any(MemberRole::Marker) {
        return lasting(SetWait::Marker);
    }
    if here.iter().any(|(_, _, s)| *s != Standing::Ready) {
        // Each of them waits for itself, and ends by itself.
        return SetDecision::Wait { ms: None, why: SetWait::Member };
    }
    let linger = match (any(MemberRole::Marker), spec.open) {
        (true, true) => rule.strong_quiet_ms,
        (true, false) => 0,
        (false, true) => rule.unverifiable_quiet_ms,
        (false, false) if spec.optional.iter().all(has) => 0,
        (false, false) => rule.unverifiable_quiet_ms,
    };
    if seen.quiet_ms < linger {
        return SetDecision::Wait { ms: Some(linger - seen.quiet_ms), why: SetWait::More };
    }
    match seen.judged {
        None | Some(StructureVerdict::Complete | StructureVerdict::Unverifiable) => SetDecision::Complete,
        Some(StructureVerdict::Partial) => lasting(SetWait::Companion),
        Some(_) => lasting(SetWait::Contradiction),
    }
}

/// An object of a delivered set.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SetObject {
    /// What it is to the set.
    pub role: MemberRole,
    /// Extension in lower case, without the dot.
    pub extension: String,
    /// SHA-256 of the content.
    pub digest: Digest,
    /// Bytes.
    pub size: u64,
    /// Format name.
    pub format: String,
    /// Opaque identity inside the content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
    /// Its place, where role and extension do not tell it.
    #[serde(default, skip_serializing_if = "SetPlace::is_empty")]
    pub place: SetPlace,
}

/// The place of an object in a WFDB record of several segments, or of signal files that differ in more than their
/// extension: what the headers call by name. Counted as the headers count, so that no name is needed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SetPlace {
    /// The segment: position of its line in the header of the record, from zero.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub segment: Option<u32>,
    /// Of a signal file: position among the files that its header names, from zero.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<u32>,
}

impl SetPlace {
    /// There is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// How the samples of a WFDB signal file lie, as far as adding them up needs (signal(5)).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SampleLayout {
    /// Storage format number.
    pub format: u32,
    /// Samples a frame, of each signal.
    pub per_frame: Vec<u64>,
    /// Values that the first samples of difference formats build on.
    pub initial: Vec<i64>,
    /// Bytes before the first sample.
    pub offset: u64,
    /// Frames.
    pub frames: u64,
}

/// What a set consists of. Its digest names the set, and the conditional write of it is the set's claim. It follows from
/// bytes and roles alone: neither a file's name nor what a version of leadline finds in the bytes has a place in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of this layout.
    pub schema: u32,
    /// Kind of set.
    pub kind: SetKind,
    /// The record name that a WFDB header states: its signal files are called after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
    /// Its objects, by role, extension and digest.
    pub objects: Vec<ManifestObject>,
}

/// An object in a manifest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ManifestObject {
    /// What it is to the set.
    pub role: MemberRole,
    /// Extension in lower case, without the dot.
    pub extension: String,
    /// SHA-256 of the content.
    pub sha256: Digest,
    /// Bytes.
    pub size: u64,
    /// Its place, where role and extension do not tell it.
    #[serde(flatten)]
    pub place: SetPlace,
}

impl Manifest {
    /// The manifest of these objects, in whatever order they come.
    #[must_use]
    pub fn new(kind: SetKind, base: Option<String>, objects: &[SetObject]) -> Self {
        let mut objects: Vec<ManifestObject> = objects
            .iter()
            .map(|o| ManifestObject {
                role: o.role,
                extension: o.extension.clone(),
                sha256: o.digest,
                size: o.size,
                place: o.place,
            })
            .collect();
        objects.sort();
        Self { schema: 1, kind, base, objects }
    }

    /// The one serializer: fields in the order of the struct, no white space.
    #[must_use]
    pub fn to_json(&self) -> String {
        // A struct of strings and numbers has no way to fail.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// SHA-256 of the text.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of(self.to_json().as_bytes())
    }
}

/// Hash of a unit's name in its share, 32 hexadecimal digits. Workflow ids derive from it.
#[must_use]
pub fn unit_key(org: &OrgId, share: &ShareId, unit: &str) -> String {
    let h = hash_parts("leadline.unit.v1", &[org.as_str().as_bytes(), share.as_str().as_bytes(), unit.as_bytes()]);
    hex::encode(&h[..16])
}

/// The claim of a set: the same for the same versions of the same files, so that a repeat is told from another set with
/// the same content.
#[must_use]
pub fn claim<'a>(versions: impl IntoIterator<Item = &'a VersionKey>) -> String {
    let mut all: Vec<&[u8]> = versions.into_iter().map(|v| v.as_str().as_bytes()).collect();
    all.sort_unstable();
    hex::encode(&hash_parts("leadline.set.v1", &all)[..16])
}

/// What a set does with the lifecycle of a member, beside driving it.
impl Lifecycle {
    /// Goes back to the look: another member was not what it had been, so this one may not be either.
    pub fn look_again(&mut self) -> Command {
        self.retry = None;
        self.phase = Phase::Discovered;
        Command::Examine
    }

    /// The set was delivered, and this member with it.
    pub fn delivered_in(&mut self, set: &RecordingId, now_ms: i64) -> Command {
        self.times.enqueued_ms = Some(now_ms);
        let basis = self.basis.unwrap_or(Basis::Quiet);
        self.over(Outcome::Delivered { recording: set.clone(), basis }, set)
    }

    /// The organization has this very set already.
    pub fn duplicate_in(&mut self, set: &RecordingId) -> Command {
        self.over(Outcome::Duplicate { of: set.clone() }, set)
    }

    fn over(&mut self, outcome: Outcome, set: &RecordingId) -> Command {
        self.outcome = Some(outcome);
        self.set = Some(set.clone());
        self.retry = None;
        self.phase = Phase::Archiving;
        Command::Archive
    }

    /// The set needs a human, and this member with it.
    pub fn give_up(&mut self, intake: &Intake, code: FaultCode) -> Command {
        self.outcome = Some(Outcome::Quarantined { code });
        self.retry = None;
        self.phase = Phase::Recording;
        self.entry(intake).map_or(Command::Examine, |e| Command::Record(Box::new(e)))
    }

    /// A marker: neither read nor stored, dealt with when its set is.
    #[must_use]
    pub fn marker(intake: &Intake, now_ms: i64) -> Self {
        let (mut l, _) = Self::begin(intake, now_ms);
        l.phase = Phase::Settled;
        l.structure = Some(Structure {
            format: "marker".into(),
            verdict: StructureVerdict::Complete,
            evidence: vec!["A marker: it counts that it is there, not what it holds.".into()],
            identity: None,
            marks: Box::default(),
        });
        l
    }
}

#[cfg(test)]
#[path = "set_tests.rs"]
mod tests;
