//! What off-boarding takes and gives: plans, certificates, where it stands.

use crate::deletion::DeletionCertificate;
use leadline_domain::gates::{Approver, GateState, Gates};
use leadline_domain::{EnvId, Fault, OrgId, ShareId};
use serde::{Deserialize, Serialize};

/// Who is to leave, and who asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OffboardInput {
    /// Environment.
    pub env: EnvId,
    /// Organization.
    pub org: OrgId,
    /// Who asks.
    pub requested_by: String,
}

/// What off-boarding means here, as the worker's own configuration says it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OffboardPlan {
    /// What an approval names: the digest of everything below but the gates.
    pub digest: String,
    /// The organization's stack.
    pub stack: String,
    /// The organization's bucket.
    pub bucket: String,
    /// Its watched shares.
    pub shares: Vec<ShareId>,
    /// How long everything is held, days.
    pub retention_days: u32,
    /// What stands in front of the environment.
    pub gates: Option<Gates>,
}

/// How the watch of a share ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatchEnd {
    /// Share.
    pub share: ShareId,
    /// Files that the last listing saw in the watched folder; those without an outcome were taken up before the end.
    pub listed: u64,
    /// Why there was no last listing, if there was none.
    pub note: Option<String>,
}

/// A list of recordings in the organization's bucket, JSON Lines: key, digest, size, time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportPart {
    /// Key of the object.
    pub key: String,
    /// SHA-256 of the object, hexadecimal.
    pub sha256: String,
    /// Recordings in it.
    pub recordings: u64,
    /// Bytes of these recordings.
    pub bytes: u64,
}

/// Input of `export_recordings`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportInput {
    /// Organization.
    pub org: OrgId,
    /// Tells this export from others: letters, digits, hyphens.
    pub name: String,
}

/// Something that stays, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// What.
    pub what: String,
    /// Why.
    pub why: String,
}

/// What was done, and what is left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// Tells it from entries of other kinds.
    pub kind: String,
    /// Unique id: the workflow's run.
    pub id: String,
    /// Environment.
    pub environment: EnvId,
    /// Organization.
    pub organization: OrgId,
    /// Digest of what was agreed to.
    pub plan: String,
    /// Who asked.
    pub requested_by: String,
    /// Who agreed.
    pub approvers: Vec<Approver>,
    /// When it was begun, milliseconds since 1970 UTC.
    pub began_ms: i64,
    /// When nothing was under way any more.
    pub drained_ms: i64,
    /// When the lists were written.
    pub exported_ms: i64,
    /// Until when everything is held at least.
    pub kept_until_ms: i64,
    /// How the watches ended.
    pub watches: Vec<WatchEnd>,
    /// Recordings in the bucket.
    pub recordings: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The lists of them.
    pub exports: Vec<ExportPart>,
    /// What was ended or removed.
    pub removed: Vec<String>,
    /// What is left, and why.
    pub kept: Vec<Kept>,
}

/// Where it stands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OffboardStatus {
    /// Digest of what is agreed to.
    pub plan: String,
    /// Who asked.
    pub requested_by: String,
    /// The gates, and how each stands.
    pub gates: Vec<GateState>,
    /// Who agreed.
    pub approvers: Vec<Approver>,
    /// The step under way, in words.
    pub step: String,
    /// What it waits for, if a human has to mend something.
    pub paused: Option<Fault>,
    /// Ids of lifecycles and batches that are still under way, the first ones.
    pub waiting: Vec<String>,
    /// How many there are.
    pub waiting_count: u64,
    /// The certificate, once there is one.
    pub certificate: Option<Certificate>,
    /// Digest of the deletion that waits, or was agreed to.
    #[serde(default)]
    pub deletion_plan: String,
    /// Who agreed to the deletion.
    #[serde(default)]
    pub deletion_approvers: Vec<Approver>,
    /// The certificate of the deletion, once there is one.
    #[serde(default)]
    pub deletion: Option<DeletionCertificate>,
    /// Who wants everything to stay, if somebody does.
    #[serde(default)]
    pub kept_by: Option<String>,
}

/// What of an organization is under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "ToldUnderWay")]
pub struct UnderWay {
    /// How many.
    pub count: u64,
    /// Workflow ids of some of them.
    pub first: Vec<String>,
}

/// Histories from before hold all ids.
#[derive(Deserialize)]
#[serde(untagged)]
enum ToldUnderWay {
    Counted { count: u64, first: Vec<String> },
    All(Vec<String>),
}

impl From<ToldUnderWay> for UnderWay {
    fn from(told: ToldUnderWay) -> Self {
        match told {
            ToldUnderWay::Counted { count, first } => Self { count, first },
            ToldUnderWay::All(first) => Self { count: first.len() as u64, first },
        }
    }
}
