//! The lifecycle of one file as a pure state machine: `step(state, event, now) -> command`.
//!
//! discovered → settled → stored → claimed → enqueued → archived, with waiting, duplicate and quarantine. Workflows
//! drive it and carry out its commands through activities; nothing here knows how.

mod types;

pub use types::{ArchiveState, Command, Event, Examination, Outcome, Phase, Retry, Step, StoreOutcome, Withdrawal};

use crate::audit::{LedgerEntry, Times};
use crate::fault::{Fault, FaultClass, FaultCode};
use crate::ids::{Digest, RecordingId};
pub use crate::intake::Intake;
use crate::message::Delivery;
use crate::observe::{FileStat, Fingerprint, Observation, VersionKey, Writer};
use crate::related::Related;
use crate::settle::{self, Basis, Looked, Settling, Structure, WaitReason};
use crate::staged::Ingress;
use serde::{Deserialize, Serialize};

/// The state of one file's lifecycle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lifecycle {
    /// Where it stands.
    pub phase: Phase,
    /// The version of the file that is being dealt with.
    pub stat: FileStat,
    /// How often that version was looked at.
    pub looks: u32,
    /// The latest structural check of that version.
    pub structure: Option<Structure>,
    /// Whether that check was over the whole content.
    pub whole: bool,
    /// Digest, once all of it was read.
    pub digest: Option<Digest>,
    /// When a writer was last seen, workflow time.
    pub writer_seen_ms: Option<i64>,
    /// On what it was settled.
    pub basis: Option<Basis>,
    /// The outcome, once it is known.
    pub outcome: Option<Outcome>,
    /// What happened to the clinic's copy.
    pub archive: ArchiveState,
    /// A failure that is being waited out.
    pub retry: Option<Retry>,
    /// When.
    pub times: Times,
    /// The outcome is on record already, with the archive pending.
    pub recorded_early: bool,
    /// The recording id of the set that the file was delivered with; absent for a file by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set: Option<RecordingId>,
    /// Recordings that were there before and seem to be of the same recording.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub related: Vec<Related>,
    /// The versions of the file that it dealt with before, the latest last. A claim by one of them is its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub had: Vec<VersionKey>,
}

/// After the file was found changed while it was stored.
const CHANGED_MS: u64 = 250;

/// Versions that are remembered. Only of the latest can something be claimed that nobody knows of: the version that is
/// stored, or was when its worker died.
const HAD: usize = 8;

/// What was received has no other copy, and its sender was told that it is taken: that it is not there any more is for a
/// human, and no outcome.
#[must_use]
pub fn staged_gone() -> Fault {
    Fault::new(FaultCode::StoreStagedGone, "what was taken is not in staging any more")
}

impl Lifecycle {
    /// The state at the beginning, and the event to begin with. `now_ms` is the workflow's time.
    #[must_use]
    pub fn begin(intake: &Intake, now_ms: i64) -> (Self, Event) {
        match &intake.resume {
            // What failed is repeated at once: the batch has taken its time.
            Some(state) => ((**state).clone(), Event::Woken),
            None => (Self::discovered(intake, now_ms), Event::Started),
        }
    }

    fn discovered(intake: &Intake, now_ms: i64) -> Self {
        let quiet = i64::try_from(intake.quiet_ms).unwrap_or(i64::MAX);
        Self {
            phase: Phase::Discovered,
            stat: intake.fingerprint.stat.clone(),
            looks: 1,
            structure: None,
            whole: false,
            digest: None,
            writer_seen_ms: None,
            basis: None,
            outcome: None,
            archive: ArchiveState::Untouched,
            retry: None,
            times: Times { first_seen_ms: now_ms.saturating_sub(quiet), discovered_ms: now_ms, ..Times::default() },
            recorded_early: false,
            set: None,
            related: Vec::new(),
            had: Vec::new(),
        }
    }

    /// The fingerprint of the version being dealt with.
    #[must_use]
    pub fn fingerprint(&self, intake: &Intake) -> Fingerprint {
        Fingerprint { path: intake.fingerprint.path.clone(), stat: self.stat.clone() }
    }

    /// Its version key.
    #[must_use]
    pub fn version_key(&self, intake: &Intake) -> VersionKey {
        self.fingerprint(intake).version_key(&intake.org, &intake.share)
    }

    /// One step: takes an event, changes the state, says what to do next. Pure; `now_ms` is the workflow's time.
    pub fn step(&mut self, intake: &Intake, event: Event, now_ms: i64) -> Command {
        let event = match event {
            Event::Examined(Examination::Gone) | Event::Stored(StoreOutcome::Gone)
                if intake.ingress() != Ingress::Smb =>
            {
                Event::Failed(staged_gone())
            }
            other => other,
        };
        if !matches!(event, Event::Failed(_) | Event::Woken) {
            self.retry = None;
        }
        match event {
            Event::Started => Command::Examine,
            Event::Woken => match self.retry.as_ref().map(|r| r.step) {
                None | Some(Step::Examine) => Command::Examine,
                Some(Step::Store) => self.store(intake),
                Some(Step::Enqueue) => self.enqueue(),
                Some(Step::Archive) => Command::Archive,
                Some(Step::Record) => self.record(intake),
            },
            Event::Examined(Examination::Gone) => self.end(intake, Outcome::Withdrawn { how: Withdrawal::Removed }),
            Event::Examined(Examination::Seen { look, structure, digest }) => {
                if look.stat.file_id != self.stat.file_id {
                    return self.end(intake, Outcome::Withdrawn { how: Withdrawal::Replaced });
                }
                self.saw(intake, &look, now_ms);
                if let Some(structure) = structure {
                    self.read(structure, digest, now_ms);
                }
                self.judge(intake, &look, now_ms)
            }
            Event::Stored(StoreOutcome::Claimed { digest, size, structure, related }) => {
                self.related = related;
                self.took(digest, size, structure, now_ms);
                self.phase = Phase::Claimed;
                self.enqueue()
            }
            Event::Stored(StoreOutcome::Duplicate { digest, size, structure }) => {
                self.took(digest, size, structure, now_ms);
                self.outcome = Some(Outcome::Duplicate { of: RecordingId::new(&intake.org, &digest) });
                self.phase = Phase::Archiving;
                Command::Archive
            }
            Event::Stored(StoreOutcome::Changed { look }) => {
                if look.stat.file_id != self.stat.file_id {
                    return self.end(intake, Outcome::Withdrawn { how: Withdrawal::Replaced });
                }
                self.saw(intake, &look, now_ms);
                self.phase = Phase::Waiting { why: WaitReason::Fresh };
                Command::Wait { ms: CHANGED_MS }
            }
            Event::Stored(StoreOutcome::Incomplete { structure }) => {
                self.structure = Some(structure);
                self.whole = true;
                let look = Observation { stat: self.stat.clone(), writer: Writer::Absent };
                self.judge(intake, &look, now_ms)
            }
            Event::Stored(StoreOutcome::Gone) => self.end(intake, Outcome::Withdrawn { how: Withdrawal::Removed }),
            Event::Enqueued => {
                self.times.enqueued_ms = Some(now_ms);
                if let (Some(digest), Some(basis)) = (self.digest, self.basis) {
                    let recording = RecordingId::new(&intake.org, &digest);
                    self.outcome = Some(Outcome::Delivered { recording, basis });
                }
                self.phase = Phase::Archiving;
                Command::Archive
            }
            Event::Archived(state) => {
                self.archive = state;
                self.times.archived_ms = Some(now_ms);
                self.phase = Phase::Recording;
                self.record(intake)
            }
            Event::Recorded if self.archive == ArchiveState::Pending => {
                self.recorded_early = true;
                self.phase = Phase::Archiving;
                Command::Archive
            }
            Event::Recorded => {
                self.phase = Phase::Done;
                Command::Finish
            }
            Event::Failed(fault) => self.failed(intake, fault),
        }
    }

    /// Takes note of a look; a new version starts the quiet period again.
    fn saw(&mut self, intake: &Intake, look: &Observation, now_ms: i64) {
        if look.stat == self.stat {
            self.looks = self.looks.saturating_add(1);
        } else {
            self.had.push(self.version_key(intake));
            self.had.drain(..self.had.len().saturating_sub(HAD));
            self.stat = look.stat.clone();
            self.looks = 1;
            self.structure = None;
            self.whole = false;
            self.digest = None;
            self.basis = None;
            self.times.first_seen_ms = now_ms;
        }
        if look.writer == Writer::Present {
            self.writer_seen_ms = Some(now_ms);
        }
    }

    /// Takes note of what the content says. A verdict over the whole outweighs one over head and tail. Content that
    /// changed while size and times did not (a writer on the server's own file system, or one that sets the times
    /// back) starts the quiet period again.
    fn read(&mut self, structure: Structure, digest: Option<Digest>, now_ms: i64) {
        if self.digest.is_some() && digest.is_some() && self.digest != digest {
            self.looks = 1;
            self.times.first_seen_ms = now_ms;
        }
        if digest.is_some() || !self.whole {
            self.whole = digest.is_some();
            self.structure = Some(structure);
            self.digest = digest;
        }
    }

    /// For how long nothing has happened: since this version was first seen, and since a writer was last seen.
    fn quiet_ms(&self, writer: Writer, now_ms: i64) -> u64 {
        let since = match (writer, self.writer_seen_ms) {
            (Writer::Absent, Some(seen)) => seen.max(self.times.first_seen_ms),
            _ => self.times.first_seen_ms,
        };
        u64::try_from(now_ms.saturating_sub(since)).unwrap_or(0)
    }

    fn judge(&mut self, intake: &Intake, look: &Observation, now_ms: i64) -> Command {
        if self.stat.size > intake.max_bytes {
            return self.end(intake, Outcome::Quarantined { code: FaultCode::FileTooLarge });
        }
        let seen = Looked {
            quiet_ms: self.quiet_ms(look.writer, now_ms),
            age_ms: u64::try_from(now_ms.saturating_sub(self.times.discovered_ms)).unwrap_or(0),
            looks: self.looks,
            writer: look.writer,
            size: look.stat.size,
            structure: self.structure.as_ref(),
        };
        let settling = match intake.ingress() {
            Ingress::Smb => settle::decide(&intake.settle, &seen),
            _ => settle::decide_received(look.stat.size, self.structure.as_ref()),
        };
        match settling {
            Settling::Settled(_) if !self.format_allowed(intake) => {
                self.end(intake, Outcome::Quarantined { code: FaultCode::FileFormatNotAllowed })
            }
            Settling::Settled(basis) => {
                self.basis = Some(basis);
                self.times.settled_ms = Some(now_ms);
                self.phase = Phase::Settled;
                self.store(intake)
            }
            Settling::Wait { ms, why } => {
                self.phase = Phase::Waiting { why };
                Command::Wait { ms }
            }
            Settling::Quarantine(code) => self.end(intake, Outcome::Quarantined { code }),
        }
    }

    /// Whether its content was not read although nobody writes to it, for as long as a file may stay incomplete. It is for
    /// a human then: [`Lifecycle::give_up`].
    #[must_use]
    pub fn unread_for_good(&self, intake: &Intake, now_ms: i64) -> bool {
        self.phase == Phase::Waiting { why: WaitReason::Unread }
            && self.retry.is_none()
            && self.quiet_ms(Writer::Absent, now_ms) >= intake.settle.stalled_after_ms
    }

    fn format_allowed(&self, intake: &Intake) -> bool {
        intake.formats.is_empty() || self.structure.as_ref().is_some_and(|s| intake.formats.contains(&s.format))
    }

    fn store(&self, intake: &Intake) -> Command {
        let too_slow = self.retry.as_ref().is_some_and(|r| r.fault.code == FaultCode::StoreTimeout);
        Command::Store { large: too_slow || self.stat.size > intake.small_bytes }
    }

    fn took(&mut self, digest: Digest, size: u64, structure: Structure, now_ms: i64) {
        debug_assert_eq!(size, self.stat.size, "L2: stored bytes are the bytes last seen");
        self.digest = Some(digest);
        self.structure = Some(structure);
        self.times.stored_ms = Some(now_ms);
    }

    /// The delivery that a claimed recording makes.
    #[must_use]
    pub fn delivery(&self) -> Option<Delivery> {
        let structure = self.structure.as_ref()?;
        Some(Delivery {
            digest: self.digest?,
            size: self.stat.size,
            format: structure.format.clone(),
            identity: structure.identity.clone(),
            objects: Vec::new(),
            claimed_at_ms: self.times.stored_ms?,
        })
    }

    fn enqueue(&self) -> Command {
        self.delivery().map_or(Command::Examine, Command::Enqueue)
    }

    /// Ends without a delivery: the outcome goes on record, the clinic's copy stays as it is. What was received has no
    /// other copy, and staging is cleared some day: what needs a human is moved out of there first.
    fn end(&mut self, intake: &Intake, outcome: Outcome) -> Command {
        let keep = intake.ingress() != Ingress::Smb && matches!(outcome, Outcome::Quarantined { .. });
        self.outcome = Some(outcome);
        self.retry = None;
        if keep {
            self.phase = Phase::Archiving;
            return Command::Archive;
        }
        self.phase = Phase::Recording;
        self.record(intake)
    }

    /// The audit entry of the outcome, if there is one.
    #[must_use]
    pub fn entry(&self, intake: &Intake) -> Option<LedgerEntry> {
        let outcome = self.outcome.clone()?;
        let (file, version) = (intake.file_key(), self.version_key(intake));
        Some(LedgerEntry {
            id: LedgerEntry::entry_id(&file, &version, &outcome, self.archive),
            schema: 1,
            organization: intake.org.clone(),
            ingress: intake.ingress().to_string(),
            share: intake.share.clone(),
            file: file.to_string(),
            version: version.to_string(),
            outcome,
            sha256: self.digest,
            size: self.stat.size,
            format: self.structure.as_ref().map_or_else(|| "unknown".into(), |s| s.format.clone()),
            evidence: self.evidence(intake.ingress()),
            related: self.related.clone(),
            archive: self.archive,
            times: self.times,
            set: self.set.clone(),
        })
    }

    /// All that speaks for or against the completeness of this version, a sentence each.
    #[must_use]
    pub fn evidence(&self, ingress: Ingress) -> Vec<String> {
        let mut e = Vec::new();
        if ingress == Ingress::Smb {
            e.push(format!("the same version was seen on {} looks", self.looks));
            if self.basis.is_some() {
                e.push("a deny-write open succeeded: no SMB client was writing".into());
            }
        } else {
            e.push("it was received to the end that its sender's protocol told".into());
        }
        if let Some(s) = &self.structure {
            e.extend(s.evidence.iter().cloned());
        }
        e
    }

    fn record(&self, intake: &Intake) -> Command {
        self.entry(intake).map_or(Command::Examine, |e| Command::Record(Box::new(e)))
    }

    fn current_step(&self) -> Step {
        match self.phase {
            Phase::Discovered | Phase::Waiting { .. } => Step::Examine,
            Phase::Settled => Step::Store,
            Phase::Claimed => Step::Enqueue,
            Phase::Archiving => Step::Archive,
            Phase::Recording | Phase::Done => Step::Record,
        }
    }

    fn failed(&mut self, intake: &Intake, fault: Fault) -> Command {
        let step = self.current_step();
        let attempts = self.retry.as_ref().filter(|r| r.step == step).map_or(1, |r| r.attempts.saturating_add(1));
        // Only before anything is claimed can an input be rejected; afterwards the recording is delivered already.
        if fault.class() == FaultClass::Rejected && matches!(step, Step::Examine | Step::Store) {
            return self.end(intake, Outcome::Quarantined { code: fault.code });
        }
        let ms = fault.wait_ms(attempts);
        self.retry = Some(Retry { step, fault, attempts });
        // A delivered recording is put on record even while its share refuses to archive it.
        if step == Step::Archive && !self.recorded_early && attempts >= 3 {
            self.archive = ArchiveState::Pending;
            self.phase = Phase::Recording;
            self.retry = None;
            return self.record(intake);
        }
        Command::Wait { ms }
    }
}

#[cfg(test)]
mod tests;
