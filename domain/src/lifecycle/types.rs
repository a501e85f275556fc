//! What happens to a file, and what is to be done about it.

use crate::audit::LedgerEntry;
use crate::fault::{Fault, FaultCode};
use crate::ids::{Digest, RecordingId};
use crate::message::Delivery;
use crate::observe::Observation;
use crate::related::{Marks, Related};
use crate::settle::{Basis, Structure, WaitReason};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Why a file ended without being judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Withdrawal {
    /// Its writer or someone else removed or renamed it before it was complete.
    Removed,
    /// Another file took its name.
    Replaced,
}

/// Where a file's lifecycle ends (invariant L1).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Outcome {
    /// Stored, claimed and enqueued.
    Delivered {
        /// The recording.
        recording: RecordingId,
        /// On what it was judged complete.
        basis: Basis,
    },
    /// The organization has these bytes already.
    Duplicate {
        /// The recording it is linked to.
        of: RecordingId,
    },
    /// Needs a human. The bytes stay where they are.
    Quarantined {
        /// Why.
        code: FaultCode,
    },
    /// It went away before it was complete.
    Withdrawn {
        /// How.
        how: Withdrawal,
    },
}

/// What happened to the clinic's copy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ArchiveState {
    /// Nothing was done, or nothing had to be.
    #[default]
    Untouched,
    /// It is still to be done: the share refuses at the moment.
    Pending,
    /// Moved into the archive folder.
    Moved,
    /// What was staged was removed: the recording has all of it.
    Cleared,
    /// What was staged was moved to where what needs a human is kept.
    Kept,
    /// Left in place by rule, and marked as seen.
    Left,
    /// It was not there any more.
    Gone,
    /// It had changed since it was stored, and was left for a new look.
    Changed,
}

/// Where a lifecycle stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "phase", rename_all = "snake_case")]
pub enum Phase {
    /// Seen on the share, not yet judged.
    Discovered,
    /// Not done yet; a next look is due.
    Waiting {
        /// Why.
        why: WaitReason,
    },
    /// Judged complete, being stored.
    Settled,
    /// Stored and claimed, being enqueued.
    Claimed,
    /// On the queue, or linked as a duplicate; the clinic's copy is being dealt with.
    Archiving,
    /// The outcome is known and being recorded.
    Recording,
    /// Over.
    Done,
}

/// What the workflow has to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Look at the file and, if it is small, at its content.
    Examine,
    /// Wait, or until nudged.
    Wait {
        /// Milliseconds.
        ms: u64,
    },
    /// Store the content under its digest, if the file still is what it was.
    Store {
        /// Read in parts and upload in parts.
        large: bool,
    },
    /// Put the message on the queue.
    Enqueue(Delivery),
    /// Deal with the clinic's copy.
    Archive,
    /// Put the entry on the audit queue.
    Record(Box<LedgerEntry>),
    /// Nothing more.
    Finish,
}

/// What a look found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Examination {
    /// The file is not there.
    Gone,
    /// It is there.
    Seen {
        /// As the server tells.
        look: Observation,
        /// What its content says, if it was read. A large file is judged by head and tail here.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        structure: Option<Structure>,
        /// Digest, if all of it was read.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        digest: Option<Digest>,
    },
}

/// What came of storing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum StoreOutcome {
    /// The object is there, and the claim is ours.
    Claimed {
        /// Digest.
        digest: Digest,
        /// Bytes.
        size: u64,
        /// Verdict over the whole content.
        structure: Structure,
        /// Recordings that were there before and seem to be of the same recording.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        related: Vec<Related>,
    },
    /// The object was there by another claim.
    Duplicate {
        /// Digest.
        digest: Digest,
        /// Bytes.
        size: u64,
        /// Verdict over the whole content.
        structure: Structure,
    },
    /// The file changed, or a writer came back: nothing was claimed.
    Changed {
        /// As it is now.
        look: Observation,
    },
    /// All of it was read, and the content is not complete after all: nothing was claimed.
    Incomplete {
        /// Verdict over the whole content.
        structure: Structure,
    },
    /// The file is not there any more: nothing was claimed.
    Gone,
}

impl StoreOutcome {
    /// The same, as it may leave the process: nothing more is compared.
    #[must_use]
    pub fn without_marks(mut self) -> Self {
        match &mut self {
            Self::Claimed { structure, .. } | Self::Duplicate { structure, .. } | Self::Incomplete { structure } => {
                *structure.marks = Marks::default();
            }
            Self::Changed { .. } | Self::Gone => {}
        }
        self
    }
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The lifecycle begins.
    Started,
    /// A look was taken.
    Examined(Examination),
    /// The wait is over, by time or by a nudge.
    Woken,
    /// Storing ended.
    Stored(StoreOutcome),
    /// The queue has the message.
    Enqueued,
    /// The clinic's copy was dealt with.
    Archived(ArchiveState),
    /// The audit queue has the entry.
    Recorded,
    /// The command failed.
    Failed(Fault),
}

/// Which command to repeat after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// See [`Command::Examine`].
    Examine,
    /// See [`Command::Store`].
    Store,
    /// See [`Command::Enqueue`].
    Enqueue,
    /// See [`Command::Archive`].
    Archive,
    /// See [`Command::Record`].
    Record,
}

/// A failure that is being waited out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retry {
    /// What failed.
    pub step: Step,
    /// How.
    pub fault: Fault,
    /// How often in a row.
    pub attempts: u32,
}
