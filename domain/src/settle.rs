//! When is a file done? The decision, from what was seen.

use crate::fault::FaultCode;
use crate::observe::Writer;
use crate::related::Marks;
use serde::{Deserialize, Serialize};

/// What the bytes themselves say of their completeness.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StructureVerdict {
    /// Every end mark, length and checksum the format has is there and right.
    Complete,
    /// Provably short.
    Partial,
    /// The structure contradicts itself.
    Malformed,
    /// It looks preallocated or padded.
    Suspect,
    /// The content cannot tell.
    Unverifiable,
}

/// The structural check of one version of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Structure {
    /// Format name, e.g. `dicom`, or `unknown`.
    pub format: String,
    /// The verdict.
    pub verdict: StructureVerdict,
    /// Why, a sentence each, free of PHI.
    pub evidence: Vec<String>,
    /// Opaque identity of the recording inside the content, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
    /// By what it is compared with other recordings. It stays in the process that read the content, but for members of a
    /// set, whose identity another step claims.
    #[serde(default, skip_serializing_if = "none")]
    pub marks: Box<Marks>,
}

fn none(marks: &Marks) -> bool {
    *marks == Marks::default()
}

impl Structure {
    /// The same, as it may leave the process.
    #[must_use]
    pub fn without_marks(mut self) -> Self {
        self.marks = Box::default();
        self
    }
}

/// How long a file has to be quiet before it counts as done: data in the organization's file. All in milliseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SettleRule {
    /// The content proves that it is complete, and no writer holds it.
    pub strong_quiet_ms: u64,
    /// The content contradicts itself or is empty: how long it may still be mended before it is quarantined.
    pub weak_quiet_ms: u64,
    /// The content cannot tell: the only evidence is that nothing happens any more.
    pub unverifiable_quiet_ms: u64,
    /// Provably partial, or held by a writer, and unchanged for this long: quarantined as stalled.
    pub stalled_after_ms: u64,
}

impl Default for SettleRule {
    fn default() -> Self {
        Self {
            strong_quiet_ms: 200,
            weak_quiet_ms: 60_000,
            unverifiable_quiet_ms: 30_000,
            stalled_after_ms: 24 * 3_600_000,
        }
    }
}

/// What is known of a file at the moment of a decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Looked<'a> {
    /// For how long this version has been seen unchanged, by a monotonic clock of ours.
    pub quiet_ms: u64,
    /// For how long the file has been looked at, whatever its version.
    pub age_ms: u64,
    /// How many looks saw this version.
    pub looks: u32,
    /// What the deny-write open said last.
    pub writer: Writer,
    /// Size in bytes.
    pub size: u64,
    /// What the bytes say, if they were read.
    pub structure: Option<&'a Structure>,
}

/// On what a file was settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// No writer, stable, and the content proves its completeness.
    Structure,
    /// No writer, stable, and quiet for the long period: the content cannot tell.
    Quiet,
    /// The sender's protocol told where the content ends, and it was received to there: the content cannot tell.
    Transport,
}

/// Why a file waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WaitReason {
    /// A writer has it open.
    WriterPresent,
    /// It is provably partial.
    Partial,
    /// It looks preallocated or padded.
    Suspect,
    /// It contradicts its format, but may still change.
    Malformed,
    /// It has no bytes yet.
    Empty,
    /// The content cannot tell; the quiet period runs.
    Quiet,
    /// It was seen once only, or changed a moment ago.
    Fresh,
    /// Nobody writes to it, and yet its content was not read.
    Unread,
}

impl WaitReason {
    /// In words, for an operator.
    #[must_use]
    pub fn sentence(self) -> &'static str {
        match self {
            Self::WriterPresent => "a writer has the file open",
            Self::Partial => "the content is provably incomplete",
            Self::Suspect => "the content looks preallocated or padded",
            Self::Malformed => "the content contradicts its format and may still change",
            Self::Empty => "the file has no bytes yet",
            Self::Quiet => "the content cannot tell whether it is complete; the quiet period runs",
            Self::Fresh => "the file changed a moment ago",
            Self::Unread => "the server does not give out all of the content, although nobody writes to it",
        }
    }
}

/// The decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settling {
    /// Done: store it.
    Settled(Basis),
    /// Look again after this time.
    Wait {
        /// Milliseconds until the next look.
        ms: u64,
        /// Why.
        why: WaitReason,
    },
    /// Needs a human.
    Quarantine(FaultCode),
}

/// The shortest and longest time between two looks of a waiting file, milliseconds.
const LOOK_MIN_MS: u64 = 250;
const LOOK_MAX_MS: u64 = 15 * 60_000;

/// The most that its age keeps a file waiting that changes again and again. The watch nudges when such a file comes to
/// rest, but not one that comes to rest while the watch itself begins anew.
const GROWING_MAX_MS: u64 = 5_000;

/// Looks get rarer as nothing happens, after half of the time it has been quiet; and as the file grows, after an eighth of
/// the time it has been looked at. But in time for the deadline.
fn next_look(quiet_ms: u64, age_ms: u64, deadline_ms: u64) -> u64 {
    let left = deadline_ms.saturating_sub(quiet_ms);
    let growing = (age_ms / 8).min(GROWING_MAX_MS);
    (quiet_ms / 2).max(growing).clamp(LOOK_MIN_MS, LOOK_MAX_MS).min(left.max(1))
}

/// Decides whether a file is done.
///
/// Invariant L2 rests on it: it never answers `Settled` while a writer is seen, on one look only, or for content that
/// is provably partial, malformed or suspect.
#[must_use]
pub fn decide(rule: &SettleRule, seen: &Looked<'_>) -> Settling {
    let quiet = seen.quiet_ms;
    let wait_or = |limit: u64, why: WaitReason, then: Settling| match then {
        _ if quiet >= limit => then,
        // Only the rest of the quiet time is missing: a look before its end could change nothing.
        Settling::Settled(_) => Settling::Wait { ms: (limit - quiet).min(LOOK_MAX_MS), why },
        _ => Settling::Wait { ms: next_look(quiet, seen.age_ms, limit), why },
    };
    if seen.writer == Writer::Present {
        return wait_or(rule.stalled_after_ms, WaitReason::WriterPresent, Settling::Quarantine(FaultCode::FileStalled));
    }
    if seen.size == 0 {
        return wait_or(rule.weak_quiet_ms, WaitReason::Empty, Settling::Quarantine(FaultCode::FileEmpty));
    }
    let Some(structure) = seen.structure else {
        // A writer came in between, and the next look tells; or it stays so, and then nothing is gained by haste. When it
        // has lasted for too long the lifecycle says (`Lifecycle::unread_for_good`).
        return Settling::Wait { ms: next_look(quiet, seen.age_ms, u64::MAX), why: WaitReason::Unread };
    };
    let verdict = match structure.verdict {
        StructureVerdict::Complete => {
            wait_or(rule.strong_quiet_ms, WaitReason::Fresh, Settling::Settled(Basis::Structure))
        }
        StructureVerdict::Unverifiable => {
            wait_or(rule.unverifiable_quiet_ms, WaitReason::Quiet, Settling::Settled(Basis::Quiet))
        }
        StructureVerdict::Partial => {
            wait_or(rule.stalled_after_ms, WaitReason::Partial, Settling::Quarantine(FaultCode::FileStalled))
        }
        StructureVerdict::Suspect => {
            wait_or(rule.stalled_after_ms, WaitReason::Suspect, Settling::Quarantine(FaultCode::FileSuspect))
        }
        StructureVerdict::Malformed => {
            wait_or(rule.weak_quiet_ms, WaitReason::Malformed, Settling::Quarantine(FaultCode::FileMalformed))
        }
    };
    match verdict {
        Settling::Settled(_) if seen.looks < 2 => Settling::Wait { ms: LOOK_MIN_MS, why: WaitReason::Fresh },
        v => v,
    }
}

/// Decides on content that was received by a protocol that tells where it ends. Nobody can write to it any more, so
/// there is nothing to wait for.
#[must_use]
pub fn decide_received(size: u64, structure: Option<&Structure>) -> Settling {
    if size == 0 {
        return Settling::Quarantine(FaultCode::FileEmpty);
    }
    match structure.map(|s| s.verdict) {
        None => Settling::Wait { ms: LOOK_MIN_MS, why: WaitReason::Fresh },
        Some(StructureVerdict::Complete) => Settling::Settled(Basis::Structure),
        Some(StructureVerdict::Unverifiable) => Settling::Settled(Basis::Transport),
        Some(StructureVerdict::Partial) => Settling::Quarantine(FaultCode::FileIncomplete),
        Some(StructureVerdict::Suspect) => Settling::Quarantine(FaultCode::FileSuspect),
        Some(StructureVerdict::Malformed) => Settling::Quarantine(FaultCode::FileMalformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn received_content_never_waits_once_it_is_read() {
        for (v, then) in [
            (StructureVerdict::Complete, Settling::Settled(Basis::Structure)),
            (StructureVerdict::Unverifiable, Settling::Settled(Basis::Transport)),
            (StructureVerdict::Partial, Settling::Quarantine(FaultCode::FileIncomplete)),
            (StructureVerdict::Suspect, Settling::Quarantine(FaultCode::FileSuspect)),
            (StructureVerdict::Malformed, Settling::Quarantine(FaultCode::FileMalformed)),
        ] {
            assert_eq!(decide_received(10, Some(&structure(v))), then);
        }
        assert_eq!(decide_received(0, None), Settling::Quarantine(FaultCode::FileEmpty));
    }

    fn structure(verdict: StructureVerdict) -> Structure {
        Structure { format: "x".into(), verdict, evidence: vec![], identity: None, marks: Box::default() }
    }

    fn seen(quiet_ms: u64, writer: Writer, s: Option<&Structure>) -> Looked<'_> {
        Looked { quiet_ms, age_ms: quiet_ms, looks: 2, writer, size: 10, structure: s }
    }

    #[test]
    fn strong_evidence_is_delivered_at_once_weak_waits() {
        let rule = SettleRule::default();
        let c = structure(StructureVerdict::Complete);
        assert_eq!(decide(&rule, &seen(200, Writer::Absent, Some(&c))), Settling::Settled(Basis::Structure));
        let u = structure(StructureVerdict::Unverifiable);
        assert!(matches!(decide(&rule, &seen(200, Writer::Absent, Some(&u))), Settling::Wait { .. }));
        assert_eq!(decide(&rule, &seen(30_000, Writer::Absent, Some(&u))), Settling::Settled(Basis::Quiet));
    }

    #[test]
    fn one_look_never_settles() {
        let c = structure(StructureVerdict::Complete);
        let one = Looked { looks: 1, ..seen(u64::MAX, Writer::Absent, Some(&c)) };
        assert!(matches!(decide(&SettleRule::default(), &one), Settling::Wait { .. }));
    }

    #[test]
    fn what_never_becomes_complete_ends_with_a_human() {
        let rule = SettleRule::default();
        let day = rule.stalled_after_ms;
        for (v, code) in [
            (StructureVerdict::Partial, FaultCode::FileStalled),
            (StructureVerdict::Suspect, FaultCode::FileSuspect),
            (StructureVerdict::Malformed, FaultCode::FileMalformed),
        ] {
            let s = structure(v);
            assert_eq!(decide(&rule, &seen(day, Writer::Absent, Some(&s))), Settling::Quarantine(code));
        }
        assert_eq!(decide(&rule, &seen(day, Writer::Present, None)), Settling::Quarantine(FaultCode::FileStalled));
        let empty = Looked { size: 0, ..seen(day, Writer::Absent, None) };
        assert_eq!(decide(&rule, &empty), Settling::Quarantine(FaultCode::FileEmpty));
    }

    fn any_verdict() -> impl Strategy<Value = StructureVerdict> {
        prop_oneof![
            Just(StructureVerdict::Complete),
            Just(StructureVerdict::Partial),
            Just(StructureVerdict::Malformed),
            Just(StructureVerdict::Suspect),
            Just(StructureVerdict::Unverifiable),
        ]
    }

    #[test]
    fn content_that_only_has_to_be_quiet_is_looked_at_once_more() {
        let u = structure(StructureVerdict::Unverifiable);
        let wait = decide(&SettleRule::default(), &seen(1_000, Writer::Absent, Some(&u)));
        assert_eq!(wait, Settling::Wait { ms: 29_000, why: WaitReason::Quiet });
    }

    /// A file that grows for hours must not be looked at four times a second; one that is at rest must not wait for it.
    #[test]
    fn the_longer_a_file_grows_the_rarer_it_is_looked_at() {
        let (rule, partial) = (SettleRule::default(), structure(StructureVerdict::Partial));
        let ms = |age_ms, quiet_ms, writer| {
            let seen = Looked { age_ms, looks: 1, ..seen(quiet_ms, writer, Some(&partial)) };
            match decide(&rule, &seen) {
                Settling::Wait { ms, .. } => ms,
                other => panic!("{other:?}"),
            }
        };
        for writer in [Writer::Present, Writer::Absent] {
            let waits = [0, 2_000, 8_000, 40_000, 86_400_000].map(|age| ms(age, 0, writer));
            assert_eq!(waits, [250, 250, 1_000, 5_000, 5_000]);
            assert_eq!(ms(3_600_000, 60_000, writer), 30_000, "rarer still once it is quiet");
            assert_eq!(ms(90_000_000, rule.stalled_after_ms - 10, writer), 10, "in time for the deadline");
        }
        let c = structure(StructureVerdict::Complete);
        let whole = Looked { age_ms: 86_400_000, looks: 1, ..seen(0, Writer::Absent, Some(&c)) };
        assert_eq!(decide(&rule, &whole), Settling::Wait { ms: 200, why: WaitReason::Fresh });
    }

    /// A server that goes on giving out less than all must not be asked four times a second for ever.
    #[test]
    fn content_that_is_not_read_is_looked_at_more_and_more_rarely() {
        let waits = [0, 2_000, 60_000, 3_600_000]
            .map(|quiet| decide(&SettleRule::default(), &seen(quiet, Writer::Absent, None)));
        let unread = |ms| Settling::Wait { ms, why: WaitReason::Unread };
        assert_eq!(waits, [250, 1_000, 30_000, LOOK_MAX_MS].map(unread));
    }

    proptest! {
        #[test]
        fn never_settles_against_the_evidence(
            quiet: u64, age: u64, looks in 0u32..4, held: bool, size in 0u64..3, v in proptest::option::of(any_verdict()),
        ) {
            let s = v.map(structure);
            let writer = if held { Writer::Present } else { Writer::Absent };
            let d = decide(&SettleRule::default(), &Looked { quiet_ms: quiet, age_ms: age, looks, writer, size, structure: s.as_ref() });
            if let Settling::Settled(_) = d {
                prop_assert!(!held && looks >= 2 && size > 0);
                prop_assert!(matches!(v, Some(StructureVerdict::Complete | StructureVerdict::Unverifiable)));
            }
            if let Settling::Wait { ms, .. } = d {
                prop_assert!((1..=LOOK_MAX_MS).contains(&ms));
            }
        }

        #[test]
        fn waiting_ends(v in any_verdict()) {
            let (rule, s, mut quiet) = (SettleRule::default(), structure(v), 0u64);
            let mut looks = 0;
            while let Settling::Wait { ms, .. } = decide(&rule, &seen(quiet, Writer::Absent, Some(&s))) {
                quiet += ms;
                looks += 1;
                prop_assert!(looks < 200, "{looks} looks");
            }
        }
    }
}
