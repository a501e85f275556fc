//! Faults: every failure has a code, a class and a page in docs/faults.

use serde::{Deserialize, Serialize};
use std::fmt;

/// What a failure asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FaultClass {
    /// Retry: it passes by itself (network, restart, lock).
    Transient,
    /// Retry later and less often: the other side asks for it.
    Throttled,
    /// Wait for a human: credentials, permission or configuration must be mended; then it goes on by itself.
    Blocked,
    /// The input will never be accepted: reject or quarantine it with this reason.
    Rejected,
    /// Our own mistake: stop, keep everything, and tell.
    Bug,
}

impl FaultClass {
    /// Whether it passes by itself: a repeat is all it takes.
    #[must_use]
    pub fn passes(self) -> bool {
        matches!(self, Self::Transient | Self::Throttled)
    }
}

macro_rules! codes {
    ($($(#[doc = $doc:literal])* $variant:ident = $code:literal, $class:ident;)*) => {
        /// The code of a fault. Each has a page `docs/faults/<code>.md`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
        pub enum FaultCode {
            $($(#[doc = $doc])* #[serde(rename = $code)] $variant,)*
        }
        impl FaultCode {
            /// All codes, in the order of the list.
            pub const ALL: &[FaultCode] = &[$(FaultCode::$variant),*];
            /// The code as text, e.g. `share.logon_refused`.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(FaultCode::$variant => $code),* }
            }
            /// The class every fault of this code has.
            #[must_use]
            pub fn class(self) -> FaultClass {
                match self { $(FaultCode::$variant => FaultClass::$class),* }
            }
            /// Its page in docs/faults.
            #[must_use]
            pub fn page(self) -> &'static str {
                match self {
                    $(FaultCode::$variant => {
                        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/faults/", $code, ".md"))
                    })*
                }
            }
            /// What it means, in a sentence.
            #[must_use]
            pub fn sentence(self) -> String {
                match self { $(FaultCode::$variant => concat!($($doc),*)),* }.trim().to_owned()
            }
        }
    };
}

codes! {
    /// The file server does not answer: port closed, name not resolved, connection lost.
    ShareUnreachable = "share.unreachable", Transient;
    /// The file server answers too slowly.
    ShareTimeout = "share.timeout", Transient;
    /// The file server refuses user or password.
    ShareLogonRefused = "share.logon_refused", Blocked;
    /// The user may not do this in this folder.
    ShareAccessDenied = "share.access_denied", Blocked;
    /// A file or folder on the share has a name that is no Unicode. The rest of the share is carried.
    ShareNameUnreadable = "share.name_unreadable", Blocked;
    /// There is no share of this name on the server.
    ShareMissing = "share.missing", Blocked;
    /// The watched folder does not exist.
    ShareFolderMissing = "share.folder_missing", Blocked;
    /// The share asks for encryption and the session has none, or signing failed.
    ShareInsecure = "share.insecure", Blocked;
    /// A file is held open in a way that forbids what was asked.
    ShareFileLocked = "share.file_locked", Transient;
    /// The file is not there any more.
    ShareFileGone = "share.file_gone", Transient;
    /// The file changed while it was read.
    ShareFileChanged = "share.file_changed", Transient;
    /// The name is taken already at the target of a rename.
    ShareNameTaken = "share.name_taken", Transient;
    /// The file server has no space left.
    ShareFull = "share.full", Blocked;
    /// The file server sent something the protocol does not allow.
    ShareProtocol = "share.protocol", Transient;
    /// The object store does not answer.
    StoreUnreachable = "store.unreachable", Transient;
    /// Reading and storing a file takes longer than a short step may: it goes on as a large one.
    StoreTimeout = "store.timeout", Transient;
    /// The object store asks to slow down.
    StoreThrottled = "store.throttled", Throttled;
    /// The object store refuses these credentials.
    StoreAccessDenied = "store.access_denied", Blocked;
    /// The bucket does not exist.
    StoreBucketMissing = "store.bucket_missing", Blocked;
    /// The object store has no space left or a quota is used up.
    StoreFull = "store.full", Blocked;
    /// What the store holds is not what was sent.
    StoreChecksumMismatch = "store.checksum_mismatch", Transient;
    /// The store does not know the multipart upload any more (NoSuchUpload).
    StoreUploadLost = "store.upload_lost", Transient;
    /// What was received and taken is not in staging any more, and was not delivered.
    StoreStagedGone = "store.staged_gone", Blocked;
    /// The store calls the request itself wrong.
    StoreRefused = "store.refused", Bug;
    /// The queue does not answer.
    QueueUnreachable = "queue.unreachable", Transient;
    /// The queue asks to slow down.
    QueueThrottled = "queue.throttled", Throttled;
    /// The queue refuses these credentials.
    QueueAccessDenied = "queue.access_denied", Blocked;
    /// The queue does not exist.
    QueueMissing = "queue.missing", Blocked;
    /// The queue calls the message itself wrong.
    QueueRefused = "queue.refused", Bug;
    /// The role of the organization cannot be assumed.
    CredentialRefused = "credential.refused", Blocked;
    /// The secret of a share is missing or cannot be read.
    SecretMissing = "secret.missing", Blocked;
    /// The new credentials that were to be proven are not the pending ones any more.
    SecretSuperseded = "secret.superseded", Rejected;
    /// The credential or secret service does not answer.
    CredentialUnreachable = "credential.unreachable", Transient;
    /// An environment or organization file is wrong.
    ConfigInvalid = "config.invalid", Blocked;
    /// No organization of this name is configured in this environment.
    ConfigUnknownOrg = "config.unknown_org", Blocked;
    /// The organization has no share of this name.
    ConfigUnknownShare = "config.unknown_share", Blocked;
    /// The jurisdiction of the organization is not allowed in this environment.
    ConfigResidency = "config.residency", Rejected;
    /// The AWS account, region or Temporal namespace that is reached is not the environment's.
    EnvironmentWrongPlace = "environment.wrong_place", Blocked;
    /// CloudFormation does not answer.
    StackUnreachable = "stack.unreachable", Transient;
    /// CloudFormation asks to slow down.
    StackThrottled = "stack.throttled", Throttled;
    /// Another operation on the stack is under way.
    StackBusy = "stack.busy", Transient;
    /// CloudFormation refuses these credentials.
    StackAccessDenied = "stack.access_denied", Blocked;
    /// The stack is in a state that only a human can leave (e.g. ROLLBACK_COMPLETE).
    StackTerminal = "stack.terminal_state", Blocked;
    /// A change of the stack failed and was rolled back.
    StackFailed = "stack.failed", Blocked;
    /// A name that the stack is to have is taken already, by something that is not the stack's.
    StackNameTaken = "stack.name_taken", Blocked;
    /// The stack was never made, or was deleted.
    StackMissing = "stack.missing", Blocked;
    /// What would be executed is not what was planned, or not what the worker's own files ask for.
    StackPlanMismatch = "stack.plan_mismatch", Rejected;
    /// Carrying the plan out would take away data, or access to data, that nobody named.
    StackLosesData = "stack.loses_data", Rejected;
    /// A gate in front of the environment is closed: something was not shown, or too few people agreed.
    GateClosed = "gate.closed", Rejected;
    /// The evidence was not signed by the environment that has to pass, or is about something else.
    EvidenceRefused = "evidence.refused", Rejected;
    /// The approval is for another plan, or by someone whose word does not count.
    ApprovalRefused = "approval.refused", Rejected;
    /// Another plan of the same organization or environment is being applied.
    ApplyUnderWay = "apply.under_way", Rejected;
    /// An operator has cancelled what waited.
    ApplyCancelled = "apply.cancelled", Rejected;
    /// What is under way cannot be cancelled, or not like this.
    ApplyNotCancelled = "apply.not_cancelled", Rejected;
    /// The organization is being off-boarded: nothing new begins for it.
    OrgOffboarding = "org.offboarding", Rejected;
    /// CloudFormation calls the template or request itself wrong.
    StackRefused = "stack.refused", Bug;
    /// Something of another organization, or of the environment, can be reached with an organization's credentials.
    IsolationBroken = "isolation.broken", Blocked;
    /// It is not proven that an organization's credentials reach its own resources and no others.
    IsolationUnproven = "isolation.unproven", Blocked;
    /// A stack's resources were changed outside CloudFormation and outside the plan.
    DriftFound = "drift.found", Blocked;
    /// A resource that held data was deleted outside leadline: an empty one is made only where somebody names it.
    DriftDataLost = "drift.data_lost", Rejected;
    /// The topic of alarms does not answer, or asks to slow down.
    AlarmUnreachable = "alarm.unreachable", Transient;
    /// The worker may not publish alarms.
    AlarmAccessDenied = "alarm.access_denied", Blocked;
    /// The topic of alarms does not exist.
    AlarmTopicMissing = "alarm.topic_missing", Blocked;
    /// SNS calls the alarm itself wrong.
    AlarmRefused = "alarm.refused", Bug;
    /// Temporal does not answer.
    EngineUnreachable = "engine.unreachable", Transient;
    /// Temporal refuses the request.
    EngineRefused = "engine.refused", Bug;
    /// A workflow that was waited for ended without a result: terminated, cancelled or timed out.
    EngineRunEnded = "engine.run_ended", Rejected;
    /// A command cannot do what it was asked for: a name that is none, a file that has not the form.
    CommandRefused = "command.refused", Rejected;
    /// The machine does not give what a command or server needs: a file, a folder, an address, a program.
    MachineRefused = "machine.refused", Blocked;
    /// The file has no bytes.
    FileEmpty = "file.empty", Rejected;
    /// The file never became complete within the configured age.
    FileStalled = "file.stalled", Rejected;
    /// The file is closed and stable, but contradicts its own format.
    FileMalformed = "file.malformed", Rejected;
    /// What was received ends before its content does.
    FileIncomplete = "file.incomplete", Rejected;
    /// What was received is not what its sender declared.
    FileChecksumMismatch = "file.checksum_mismatch", Rejected;
    /// The file looks preallocated or padded and stayed so.
    FileSuspect = "file.suspect", Rejected;
    /// The file is larger than the organization allows.
    FileTooLarge = "file.too_large", Rejected;
    /// The file is complete, and of a format that the organization does not deliver.
    FileFormatNotAllowed = "file.format_not_allowed", Rejected;
    /// The files that belong together were not all there, or did not agree, within the configured age.
    SetIncomplete = "set.incomplete", Rejected;
    /// What came is not an HL7 v2 message: no MSH segment, wrong encoding, no control id.
    Hl7Unreadable = "hl7.unreadable", Rejected;
    /// The type, version, processing id or status of an HL7 v2 message is not one that is taken.
    Hl7NotAccepted = "hl7.not_accepted", Rejected;
    /// The HL7 v2 message is longer than the gateway takes, or has more segments or attachments.
    Hl7TooLong = "hl7.too_long", Rejected;
    /// The sender has used this control id for another message.
    Hl7ControlIdReused = "hl7.control_id_reused", Rejected;
    /// No organization has the certificate that the sender came with.
    Hl7SenderUnknown = "hl7.sender_unknown", Blocked;
    /// A DICOM peer's certificate is not one of the organization whose title it calls, or not for the title it has.
    DicomSenderUnknown = "dicom.sender_unknown", Blocked;
    /// What a DICOM peer sent is no DICOM, ends early, contradicts itself or is padded.
    DicomUnreadable = "dicom.unreadable", Rejected;
    /// A DICOM object is another, or of another class or study, than its sender announced.
    DicomMismatch = "dicom.mismatch", Rejected;
    /// The class, transfer syntax, instance UID or operation of a DICOM request is not one that is taken.
    DicomNotAccepted = "dicom.not_accepted", Rejected;
    /// A DICOM peer was gone, or fell silent, in the middle of an object.
    DicomPeerBrokeOff = "dicom.peer_broke_off", Transient;
    /// The sender fell silent, or too slow, in the middle of a message.
    Hl7SenderStalled = "hl7.sender_stalled", Transient;
    /// An attachment cannot be decoded, or its size or hash is not what was declared.
    AttachmentUnreadable = "attachment.unreadable", Rejected;
    /// An attachment ends early or contradicts its own format.
    AttachmentIncomplete = "attachment.incomplete", Rejected;
    /// A pointer names a host or share that is not allowed.
    PointerRefused = "pointer.refused", Rejected;
    /// What a pointer names cannot be fetched now.
    PointerUnreachable = "pointer.unreachable", Transient;
    /// The body is not the FHIR R4 resource that it should be.
    FhirInvalid = "fhir.invalid", Rejected;
    /// FHIR of another version, encoding or kind than is taken.
    FhirNotSupported = "fhir.not_supported", Rejected;
    /// Too many requests of the organization are being worked on.
    FhirBusy = "fhir.busy", Throttled;
    /// A reference leads to nothing that was received.
    FhirUnresolved = "fhir.unresolved", Rejected;
    /// The organization's EHR does not answer.
    EhrUnreachable = "ehr.unreachable", Transient;
    /// The organization's EHR refuses our client id, key or scopes.
    EhrRefused = "ehr.refused", Blocked;
    /// A report of the processor is not one: another schema, another form, no recording id.
    OutcomeInvalid = "outcome.invalid", Rejected;
    /// A report of the processor is about a recording that the organization does not have.
    OutcomeUnknownRecording = "outcome.unknown_recording", Rejected;
    /// Two reports of the processor have the same id and say different things.
    OutcomeConflict = "outcome.conflict", Rejected;
    /// Recordings have no report of the processor, and one is due.
    OutcomeOverdue = "outcome.overdue", Blocked;
    /// A transfer would leave the organization or its jurisdiction.
    TransferRefused = "transfer.refused", Rejected;
    /// A move would remove recordings from a storage that keeps them.
    TransferKept = "transfer.kept", Rejected;
    /// The identity service cannot be asked for its keys.
    IdentityUnreachable = "identity.unreachable", Transient;
    /// A request to the gateway has no token, or one that is expired, forged or not meant for it.
    RequestUnauthenticated = "request.unauthenticated", Rejected;
    /// The caller of the gateway is known and may not do this.
    RequestForbidden = "request.forbidden", Rejected;
    /// A request to the gateway cannot be understood.
    RequestInvalid = "request.invalid", Rejected;
    /// A path of the gateway is asked for with a method that it does not have.
    RequestMethod = "request.method", Rejected;
    /// There is nothing at a path of the gateway.
    RequestNotFound = "request.not_found", Rejected;
    /// A request to the gateway is larger than it takes.
    RequestTooLarge = "request.too_large", Rejected;
    /// The gateway has as many requests as it can carry.
    RequestOverloaded = "request.overloaded", Throttled;
    /// The organization has no such upload: never begun, given up, or of another organization.
    UploadUnknown = "upload.unknown", Rejected;
    /// The parts of an upload are not all there, or are not the ones the store holds.
    UploadPartsWrong = "upload.parts_wrong", Rejected;
    /// Something that must not happen did.
    BugInvariant = "bug.invariant", Bug;
}

impl fmt::Display for FaultCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FaultCode {
    /// What its page says first: what leadline does about it.
    #[must_use]
    pub fn consequence(self) -> &'static str {
        self.page().split("\n\n").nth(1).unwrap_or_default()
    }

    /// The first paragraph of its page that says what it means.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        let after = self.page().split_once("## What it means\n\n").map_or("", |(_, rest)| rest);
        after.split("\n\n").next().unwrap_or_default()
    }

    /// Parses the text form.
    #[must_use]
    pub fn parse(s: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|c| c.as_str() == s)
    }
}

/// A failure with everything needed to act on it. Not a `std::error::Error` on purpose: a stray `?` in an activity
/// body would turn it into a retryable activity error whatever its class (see `tests/ui`).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// What happened.
    pub code: FaultCode,
    /// What the other side said, free of PHI: status codes, operation names, ids.
    pub detail: String,
    /// When to try again at the earliest, if the other side said so, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

impl Fault {
    /// A fault of this code. `detail` must be free of PHI and secrets.
    #[must_use]
    pub fn new(code: FaultCode, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), retry_after_ms: None }
    }
    /// The class of its code.
    #[must_use]
    pub fn class(&self) -> FaultClass {
        self.code.class()
    }
    /// With the other side's wish when to try again, in milliseconds.
    #[must_use]
    pub fn retry_after(mut self, ms: u64) -> Self {
        self.retry_after_ms = Some(ms);
        self
    }
}

/// Waiting times after a failure, milliseconds.
const RETRY_FIRST_MS: u64 = 500;
const RETRY_MAX_MS: u64 = 60_000;
/// A human takes longer than a network: first look soon all the same, since most such faults are mended at once.
const BLOCKED_FIRST_MS: u64 = 5_000;
const BLOCKED_MAX_MS: u64 = 300_000;

impl Fault {
    /// How long a step waits after it failed this often in a row, milliseconds.
    #[must_use]
    pub fn wait_ms(&self, attempts: u32) -> u64 {
        let times = 1u64 << attempts.saturating_sub(1).min(16);
        let backoff = |first: u64, max: u64| first.saturating_mul(times).min(max);
        match self.class() {
            FaultClass::Transient | FaultClass::Throttled => backoff(RETRY_FIRST_MS, RETRY_MAX_MS),
            FaultClass::Blocked | FaultClass::Rejected | FaultClass::Bug => backoff(BLOCKED_FIRST_MS, BLOCKED_MAX_MS),
        }
        .max(self.retry_after_ms.unwrap_or(0))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.detail)
    }
}
impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fault({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_and_parse_back() {
        let mut seen = std::collections::BTreeSet::new();
        for c in FaultCode::ALL {
            assert!(seen.insert(c.as_str()), "{c}");
            assert_eq!(FaultCode::parse(c.as_str()), Some(*c));
            assert_eq!(serde_json::to_string(c).unwrap(), format!("\"{c}\""));
        }
    }

    #[test]
    fn every_code_has_a_page() {
        for c in FaultCode::ALL {
            let page = c.page();
            assert!(page.starts_with(&format!("# {c}\n")), "docs/faults/{c}.md has another title");
            assert!(page.contains("## What to do"), "docs/faults/{c}.md does not say what to do");
            assert!(!c.meaning().is_empty() && !c.consequence().is_empty(), "docs/faults/{c}.md has another form");
        }
    }
}
