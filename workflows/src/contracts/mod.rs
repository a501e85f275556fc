//! The contracts of the activities: names, inputs, outputs. The `activities` crate implements them; a changed type on
//! either side does not compile.

// The macro wants bodies that are never run, and makes constants that it does not document.
#![allow(clippy::unimplemented, missing_docs)]

mod canary;
mod provision;

pub use canary::{Canaries, CanaryInput, CanarySending, CanaryShare, CanaryShot, CanaryWay};
pub use provision::{ApplyInput, ExecuteInput, Operator, Prepared, Provisioning, StackPlan};

use leadline_domain::lifecycle::{ArchiveState, Examination, StoreOutcome};
use leadline_domain::message::Delivery;
use leadline_domain::set::{Manifest, MemberRole, SampleLayout, SetPlace};
use leadline_domain::settle::{Basis, StructureVerdict};
use leadline_domain::{
    ArchiveRule, Digest, Fault, Fingerprint, LedgerEntry, Marks, OrgId, Related, ShareId, VersionKey,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use temporalio_common::ActivityError;
use temporalio_macros::activity_definitions;

/// A file on a share in one version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRef {
    /// Whose.
    pub org: OrgId,
    /// Where.
    pub share: ShareId,
    /// Which, in which version.
    pub fingerprint: Fingerprint,
    /// Up to this many bytes it is read as a whole.
    pub small_bytes: u64,
}

/// Input of `store` and `store_large`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreInput {
    /// The file.
    pub file: FileRef,
    /// On what it was settled: content that settled on structure must still be complete when all of it was read.
    pub basis: Basis,
    /// The digest the look found, if all of it was read then.
    pub expected: Option<Digest>,
    /// What its sender declared it to be; other content is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub declared: Option<Digest>,
    /// That it belongs to a set; absent for a file by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set: Option<InSet>,
    /// Versions of the file that its lifecycle dealt with before. A claim by one of them is its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub had: Vec<VersionKey>,
}

/// How a file of a set is stored. The look may be long ago: it is read again, and must be what it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InSet {
    /// As the recording that it is, with a claim of its own: nothing else of the set is delivered.
    Alone,
    /// As an object of the set. The claim is that of the set's manifest.
    Member,
    /// The same, where another file of the set says whether this one is whole: what it seems to be by itself does not
    /// count.
    Vouched,
}

/// A member as its set is judged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JudgeMember {
    /// What it is to the set.
    pub role: MemberRole,
    /// The file.
    pub file: FileRef,
    /// The digest the look found, if all of it was read then.
    pub digest: Option<Digest>,
    /// Its samples, if they were added up by [`Ingest::add_up`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summed: Option<Summed>,
}

/// Input of `add_up`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddUpInput {
    /// The file.
    pub file: FileRef,
    /// How its samples lie.
    pub layout: SampleLayout,
}

/// What the samples of a file come to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summed {
    /// Sum of the samples of each signal, modulo 65536.
    pub sums: Vec<u16>,
    /// The course of its first signal, by which a recording is compared with others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<String>,
}

/// What came of adding up the samples of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum AddedUp {
    /// All of it was read.
    Sums {
        /// What they come to.
        summed: Summed,
        /// Of all that was read.
        digest: Digest,
    },
    /// It is not any more what it was: look again.
    Changed,
}

/// What the header of a record says of a member.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JudgedMember {
    /// What it is to the set, where its name did not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<MemberRole>,
    /// Its place in the record, where role and extension do not tell it.
    #[serde(default, skip_serializing_if = "SetPlace::is_empty")]
    pub place: SetPlace,
    /// Samples that are still to be added up, and judged again then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to_add: Option<SampleLayout>,
}

/// What the members of a set say of each other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Judgement {
    /// They were read.
    Judged {
        /// The verdict.
        verdict: StructureVerdict,
        /// Why, a sentence each, free of PHI.
        evidence: Vec<String>,
        /// The record name that the header states.
        base: Option<String>,
        /// Of each member, in their order; empty where there is nothing to say.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        members: Vec<JudgedMember>,
        /// The course of the first signal of the record.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        trace: Option<String>,
    },
    /// One of them is not any more what it was: look again.
    Changed,
}

/// Input of `claim_set`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimInput {
    /// Whose.
    pub org: OrgId,
    /// What the set consists of.
    pub manifest: Manifest,
    /// The same for a repeat, other for other files with the same content.
    pub claim: String,
    /// By what its primary member is compared with other recordings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub marks: Option<Marks>,
}

/// What came of claiming a set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SetClaim {
    /// It is ours.
    Claimed,
    /// It is ours, and of a recording that seems to be there already.
    Linked {
        /// Which, and how.
        related: Vec<Related>,
    },
    /// The organization has this very set already.
    Duplicate,
}

/// Input of `archive`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArchiveInput {
    /// The file, in the version that was stored.
    pub file: FileRef,
    /// What to do.
    pub rule: ArchiveRule,
    /// `YYYY-MM-DD`, from the workflow's clock so that a repeat finds the same folder.
    pub date: String,
    /// For what was received by another way than a share, in place of the rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub received: Option<Received>,
}

/// Input of `conclude`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConcludeInput {
    /// What to do with the clinic's copy.
    pub archive: ArchiveInput,
    /// The entry for the audit queue, but for what became of that copy.
    pub entry: LedgerEntry,
}

/// What came of `conclude`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Concluded {
    /// What became of the clinic's copy.
    pub archive: ArchiveState,
    /// The audit queue has the entry; if not, it is still to be recorded.
    pub recorded: bool,
}

/// What to do with what was staged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Received {
    /// Remove it: the recording has all of it.
    Clear,
    /// Move it to where what needs a human is kept.
    Keep,
}

/// Input of `enqueue`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnqueueInput {
    /// Whose.
    pub org: OrgId,
    /// One or many; ten go in one request.
    pub deliveries: Vec<Delivery>,
}

/// Per item, in order: `None` for success.
pub type PerItem = Vec<Option<Fault>>;

/// Input of `watch`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatchInput {
    /// Whose.
    pub org: OrgId,
    /// Which share.
    pub share: ShareId,
}

/// What a watch has done so far; its heartbeat carries it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatchStatus {
    /// Nothing hinders it at the moment, or this does.
    pub fault: Option<Fault>,
    /// Files seen on the share at the last full listing.
    pub listed: u64,
    /// Names passed over at the last full listing, by reason.
    pub skipped: BTreeMap<String, u64>,
    /// Files it keeps an eye on that have no lifecycle yet, those included whose start is under way.
    pub pending: u64,
    /// Lifecycles it started.
    pub lifecycles: u64,
    /// Batches it started.
    pub batches: u64,
    /// Full listings it made.
    pub reconciles: u64,
}

/// The steps of a file's lifecycle.
pub struct Ingest;

/// The watch of a share.
pub struct Watching;

#[activity_definitions]
impl Ingest {
    /// Looks at a file and, if it is small, at its content.
    #[activity(name = "examine")]
    pub fn examine(_: FileRef) -> Result<Examination, ActivityError> {
        unimplemented!()
    }
    /// Stores a small file under its digest, if it still is what it was.
    #[activity(name = "store")]
    pub fn store(_: StoreInput) -> Result<StoreOutcome, ActivityError> {
        unimplemented!()
    }
    /// The same for a large file, in parts.
    #[activity(name = "store_large")]
    pub fn store_large(_: StoreInput) -> Result<StoreOutcome, ActivityError> {
        unimplemented!()
    }
    /// Judges the files of a WFDB record by its header.
    #[activity(name = "judge_set")]
    pub fn judge_set(_: Vec<JudgeMember>) -> Result<Judgement, ActivityError> {
        unimplemented!()
    }
    /// Adds up the samples of a large signal file. It heartbeats.
    #[activity(name = "add_up")]
    pub fn add_up(_: AddUpInput) -> Result<AddedUp, ActivityError> {
        unimplemented!()
    }
    /// Stores the manifest of a set, which claims it.
    #[activity(name = "claim_set")]
    pub fn claim_set(_: ClaimInput) -> Result<SetClaim, ActivityError> {
        unimplemented!()
    }
    /// Puts messages on the ingest queue.
    #[activity(name = "enqueue")]
    pub fn enqueue(_: EnqueueInput) -> Result<PerItem, ActivityError> {
        unimplemented!()
    }
    /// Deals with the clinic's copy.
    #[activity(name = "archive")]
    pub fn archive(_: ArchiveInput) -> Result<ArchiveState, ActivityError> {
        unimplemented!()
    }
    /// Deals with the clinic's copy and puts the entry on the audit queue. Not a local activity: when it runs, what was done
    /// before is in the history.
    #[activity(name = "conclude")]
    pub fn conclude(_: ConcludeInput) -> Result<Concluded, ActivityError> {
        unimplemented!()
    }
    /// Puts entries on the audit queue.
    #[activity(name = "record")]
    pub fn record(_: Vec<LedgerEntry>) -> Result<PerItem, ActivityError> {
        unimplemented!()
    }
}

#[activity_definitions]
impl Watching {
    /// Watches a share and starts lifecycles and batches, until cancelled or until it is time for a fresh history.
    #[activity(name = "watch_share")]
    pub fn watch_share(_: WatchInput) -> Result<WatchStatus, ActivityError> {
        unimplemented!()
    }
}

/// The definitions themselves, for whoever implements them.
pub mod definitions {
    pub use super::canary::definitions::*;
    pub use super::ingest::*;
    pub use super::provision::definitions::*;
    pub use super::watching::*;
}
