use super::*;
use crate::archive::ArchiveRule;
use crate::ids::{OrgId, ShareId};
use crate::observe::SharePath;
use crate::settle::{SettleRule, StructureVerdict};
use crate::staged::StagedName;
use proptest::prelude::*;
use std::collections::BTreeSet;

fn stat(size: u64, t: u64) -> FileStat {
    FileStat { file_id: 7, size, modified: t, changed: t }
}

fn intake() -> Intake {
    Intake {
        org: OrgId::parse("st-mary").unwrap(),
        share: ShareId::parse("ward").unwrap(),
        fingerprint: Fingerprint { path: SharePath::new("in/DOE_JOHN.dcm"), stat: stat(100, 1) },
        quiet_ms: 300,
        settle: SettleRule::default(),
        archive: ArchiveRule::default(),
        small_bytes: 1_000,
        max_bytes: 10_000,
        formats: BTreeSet::new(),
        declared: None,
        resume: None,
    }
}

fn structure(verdict: StructureVerdict) -> Structure {
    Structure {
        format: "dicom".into(),
        verdict,
        evidence: vec!["every length is met".into()],
        identity: None,
        marks: Box::default(),
    }
}

fn look(s: FileStat, writer: Writer, v: StructureVerdict) -> Event {
    Event::Examined(Examination::Seen {
        look: Observation { stat: s, writer },
        structure: Some(structure(v)),
        digest: Some(Digest::of(b"x")),
    })
}

fn claimed() -> Event {
    Event::Stored(StoreOutcome::Claimed {
        digest: Digest::of(b"x"),
        size: 100,
        structure: structure(StructureVerdict::Complete),
        related: vec![],
    })
}

fn begun() -> (Intake, Lifecycle) {
    let i = intake();
    let (mut l, event) = Lifecycle::begin(&i, 1_000);
    assert_eq!(l.step(&i, event, 1_000), Command::Examine);
    (i, l)
}

#[test]
fn content_that_is_never_read_ends_with_a_human() {
    let (i, mut l) = begun();
    let day = i64::try_from(i.settle.stalled_after_ms).unwrap();
    let look = |l: &mut Lifecycle, writer, now| {
        let look = Observation { stat: stat(100, 1), writer };
        let next = l.step(&i, Event::Examined(Examination::Seen { look, structure: None, digest: None }), now);
        assert!(matches!(next, Command::Wait { .. }), "{next:?}");
        l.unread_for_good(&i, now)
    };
    assert!(!look(&mut l, Writer::Absent, 1_000));
    assert!(!look(&mut l, Writer::Absent, day - 1_000));
    assert!(look(&mut l, Writer::Absent, day + 1_000));
    // A fault is waited out by itself; a writer begins the time anew.
    let lost = Event::Failed(Fault::new(FaultCode::ShareUnreachable, "x"));
    assert!(matches!(l.step(&i, lost, day + 1_000), Command::Wait { .. }));
    assert!(!l.unread_for_good(&i, day + 1_000));
    assert!(!look(&mut l, Writer::Present, day - 10));
    assert!(!look(&mut l, Writer::Absent, day + 1_000));
    assert!(look(&mut l, Writer::Absent, 2 * day));
    assert!(matches!(l.give_up(&i, FaultCode::FileStalled), Command::Record(_)));
    assert_eq!(l.outcome, Some(Outcome::Quarantined { code: FaultCode::FileStalled }));
}

#[test]
fn a_format_that_is_not_allowed_is_quarantined_once_it_is_complete() {
    for (allowed, delivered) in [(vec![], true), (vec!["dicom"], true), (vec!["pdf", "scp"], false)] {
        let i = Intake { formats: allowed.into_iter().map(str::to_owned).collect(), ..intake() };
        let (mut l, event) = Lifecycle::begin(&i, 1_000);
        assert_eq!(l.step(&i, event, 1_000), Command::Examine);
        let partial = l.step(&i, look(stat(90, 1), Writer::Absent, StructureVerdict::Partial), 1_000);
        assert!(matches!(partial, Command::Wait { .. }), "what may still change is not judged");
        let whole = || look(stat(100, 2), Writer::Absent, StructureVerdict::Complete);
        let _ = l.step(&i, whole(), 1_100);
        match l.step(&i, whole(), 1_400) {
            Command::Store { .. } => assert!(delivered),
            Command::Record(e) => {
                assert!(!delivered);
                assert_eq!(e.outcome, Outcome::Quarantined { code: FaultCode::FileFormatNotAllowed });
                assert_eq!(e.format, "dicom");
            }
            c => panic!("{c:?}"),
        }
    }
}

#[test]
fn the_straight_way() {
    let (i, mut l) = begun();
    let c = l.step(&i, look(stat(100, 1), Writer::Absent, StructureVerdict::Complete), 1_000);
    assert_eq!(c, Command::Store { large: false });
    let Command::Enqueue(d) = l.step(&i, claimed(), 1_010) else { panic!() };
    assert_eq!((d.size, d.claimed_at_ms), (100, 1_010));
    assert_eq!(l.step(&i, Event::Enqueued, 1_020), Command::Archive);
    let Command::Record(e) = l.step(&i, Event::Archived(ArchiveState::Moved), 1_030) else { panic!() };
    assert!(matches!(e.outcome, Outcome::Delivered { .. }));
    assert_eq!(l.step(&i, Event::Recorded, 1_040), Command::Finish);
    assert_eq!(l.phase, Phase::Done);
}

#[test]
fn a_growing_file_starts_its_quiet_period_again() {
    let (i, mut l) = begun();
    for n in 1..5 {
        let c = l.step(&i, look(stat(100 + n, n + 1), Writer::Absent, StructureVerdict::Partial), 1_000 + n as i64);
        assert!(matches!(c, Command::Wait { .. }));
        assert_eq!(l.looks, 1);
        assert_eq!(l.step(&i, Event::Woken, 1_000), Command::Examine);
    }
    let v = StructureVerdict::Complete;
    assert!(matches!(l.step(&i, look(stat(200, 9), Writer::Absent, v), 2_000), Command::Wait { .. }));
    assert!(matches!(l.step(&i, look(stat(200, 9), Writer::Absent, v), 2_300), Command::Store { .. }));
}

#[test]
fn a_duplicate_is_archived_and_linked_but_not_enqueued() {
    let (i, mut l) = begun();
    l.step(&i, look(stat(100, 1), Writer::Absent, StructureVerdict::Complete), 1_000);
    let dup = StoreOutcome::Duplicate {
        digest: Digest::of(b"x"),
        size: 100,
        structure: structure(StructureVerdict::Complete),
    };
    assert_eq!(l.step(&i, Event::Stored(dup), 1_000), Command::Archive);
    let Command::Record(e) = l.step(&i, Event::Archived(ArchiveState::Moved), 1_000) else { panic!() };
    assert_eq!(e.outcome, Outcome::Duplicate { of: RecordingId::new(&i.org, &Digest::of(b"x")) });
}

#[test]
fn a_file_that_is_replaced_or_removed_is_withdrawn() {
    let (i, mut l) = begun();
    let other = FileStat { file_id: 8, ..stat(100, 1) };
    let c = l.step(&i, look(other, Writer::Absent, StructureVerdict::Complete), 1_000);
    assert!(matches!(c, Command::Record(e) if e.outcome == Outcome::Withdrawn { how: Withdrawal::Replaced }));
    let (i, mut l) = begun();
    let c = l.step(&i, Event::Examined(Examination::Gone), 1_000);
    assert!(matches!(c, Command::Record(e) if e.outcome == Outcome::Withdrawn { how: Withdrawal::Removed }));
}

/// A small file that takes too long goes on as a large one, and one that fails otherwise does not.
#[test]
fn what_takes_too_long_to_store_goes_on_as_large() {
    for (code, large) in [(FaultCode::StoreTimeout, true), (FaultCode::StoreUnreachable, false)] {
        let (i, mut l) = begun();
        let c = l.step(&i, look(stat(100, 1), Writer::Absent, StructureVerdict::Complete), 1_000);
        assert_eq!(c, Command::Store { large: false });
        assert!(matches!(l.step(&i, Event::Failed(Fault::new(code, "")), 46_000), Command::Wait { .. }));
        assert_eq!(l.step(&i, Event::Woken, 47_000), Command::Store { large }, "{code}");
    }
}

/// What is rejected after it had failed before is no repeat of that failure any more.
#[test]
fn a_rejection_ends_what_was_to_be_repeated() {
    let (mut i, mut l) = begun();
    i.share = Ingress::Web.share().unwrap();
    l.step(&i, look(stat(100, 1), Writer::Absent, StructureVerdict::Complete), 1_000);
    l.step(&i, Event::Failed(Fault::new(FaultCode::StoreUnreachable, "")), 2_000);
    assert!(l.retry.is_some());
    l.step(&i, Event::Woken, 3_000);
    let c = l.step(&i, Event::Failed(Fault::new(FaultCode::FileChecksumMismatch, "")), 4_000);
    assert_eq!((c, l.retry), (Command::Archive, None));
}

/// Its sender was told that it is taken, and there is no other copy.
#[test]
fn what_was_received_and_is_gone_waits_for_a_human() {
    let gone = [Event::Examined(Examination::Gone), Event::Stored(StoreOutcome::Gone)];
    for way in Ingress::RECEIVED {
        for (gone, step) in gone.iter().zip([Step::Examine, Step::Store]) {
            let (i, mut l, mut c) = Race::of(&[way]).lanes.remove(0);
            let seen = || look(FileStat { size: 100, ..i.fingerprint.stat.clone() }, Writer::Absent, WHOLE);
            if step == Step::Store {
                c = l.step(&i, seen(), 1_000);
            }
            for attempts in 1..4 {
                let again = c;
                assert!(matches!(l.step(&i, gone.clone(), 1_000), Command::Wait { ms } if ms >= 5_000), "{way}");
                let retry = l.retry.clone().unwrap();
                assert_eq!((retry.step, retry.attempts, l.outcome.clone()), (step, attempts, None));
                assert_eq!((retry.fault.code, retry.fault.class()), (FaultCode::StoreStagedGone, FaultClass::Blocked));
                c = l.step(&i, Event::Woken, 9_000);
                assert_eq!(c, again, "looked for again");
            }
            // Somebody has put it back.
            let next = if step == Step::Store { l.step(&i, claimed(), 9_000) } else { l.step(&i, seen(), 9_000) };
            assert!(matches!(next, Command::Store { .. } | Command::Enqueue(_)) && l.retry.is_none(), "{next:?}");
        }
    }
}

#[test]
fn the_versions_that_a_file_had_are_kept_for_the_claim() {
    let (i, mut l) = begun();
    assert!(l.had.is_empty());
    let key = |t| Fingerprint { stat: stat(100, t), ..i.fingerprint.clone() }.version_key(&i.org, &i.share);
    // Nothing but its change time moves: between the look and the storing, and before the look.
    l.step(&i, look(stat(100, 1), Writer::Absent, WHOLE), 1_000);
    let changed = |t| StoreOutcome::Changed { look: Observation { stat: stat(100, t), writer: Writer::Absent } };
    l.step(&i, Event::Stored(changed(2)), 1_000);
    assert_eq!((l.had.clone(), l.version_key(&i)), (vec![key(1)], key(2)));
    l.step(&i, Event::Woken, 1_300);
    l.step(&i, look(stat(100, 3), Writer::Absent, WHOLE), 1_300);
    l.step(&i, look(stat(100, 3), Writer::Absent, WHOLE), 1_600);
    assert_eq!((l.had.clone(), l.phase.clone()), (vec![key(1), key(2)], Phase::Settled));
    // They go with it, and are not there in what was written before they were kept.
    let json = serde_json::to_value(&l).unwrap();
    assert_eq!(serde_json::from_value::<Lifecycle>(json.clone()).unwrap(), l);
    let mut old = json;
    old.as_object_mut().unwrap().remove("had");
    assert!(serde_json::from_value::<Lifecycle>(old).unwrap().had.is_empty());
    let (again, _) = Lifecycle::begin(&Intake { resume: Some(Box::new(l.clone())), ..i.clone() }, 2_000);
    assert_eq!(again.had, l.had);
    // A file that grows for long does not make them many.
    for t in 4..100 {
        l.step(&i, look(stat(100, t), Writer::Absent, StructureVerdict::Partial), 2_000);
    }
    assert_eq!((l.had.len(), l.had.last()), (8, Some(&key(98))));
}

/// Between two looks the watch nudges; a file that nobody nudges for is looked at within seconds all the same.
#[test]
fn a_file_that_grows_for_long_is_looked_at_seldom_and_delivered_soon_after_its_end() {
    let (i, mut l) = begun();
    let (mut t, mut looks) = (1_000i64, 0u32);
    while t < 40 * 60_000 {
        let Command::Wait { ms } = l.step(&i, look(stat(100, t as u64), Writer::Present, WHOLE), t) else { panic!() };
        assert!(ms <= 5_000);
        t += i64::try_from(ms).unwrap();
        l.step(&i, Event::Woken, t);
        looks += 1;
    }
    assert!(looks < 600, "{looks} looks in forty minutes");
    let waits = [t, t + 250].map(|now| l.step(&i, look(stat(100, 1), Writer::Absent, WHOLE), now));
    assert!(matches!(waits, [Command::Wait { ms: 200..=250 }, Command::Store { .. }]), "{waits:?}");
}

#[test]
fn a_delivered_recording_is_on_record_even_if_the_share_refuses_to_archive() {
    let (i, mut l) = begun();
    l.step(&i, look(stat(100, 1), Writer::Absent, StructureVerdict::Complete), 1_000);
    l.step(&i, claimed(), 1_000);
    l.step(&i, Event::Enqueued, 1_000);
    let denied = || Event::Failed(Fault::new(FaultCode::ShareAccessDenied, "rename"));
    for _ in 0..2 {
        assert!(matches!(l.step(&i, denied(), 1_000), Command::Wait { .. }));
        assert_eq!(l.step(&i, Event::Woken, 1_000), Command::Archive);
    }
    let Command::Record(early) = l.step(&i, denied(), 1_000) else { panic!() };
    assert_eq!(early.archive, ArchiveState::Pending);
    assert_eq!(l.step(&i, Event::Recorded, 1_000), Command::Archive);
    assert!(matches!(l.step(&i, denied(), 1_000), Command::Wait { .. }));
    l.step(&i, Event::Woken, 1_000);
    let Command::Record(late) = l.step(&i, Event::Archived(ArchiveState::Moved), 1_000) else { panic!() };
    assert_ne!(early.id, late.id);
    assert_eq!(l.step(&i, Event::Recorded, 1_000), Command::Finish);
}

#[test]
fn a_writer_that_closes_starts_the_quiet_period() {
    let (i, mut l) = begun();
    let c = l.step(&i, look(stat(100, 1), Writer::Present, StructureVerdict::Complete), 60_000);
    assert!(matches!(c, Command::Wait { .. }));
    let v = StructureVerdict::Complete;
    assert!(matches!(l.step(&i, look(stat(100, 1), Writer::Absent, v), 60_100), Command::Wait { .. }));
    assert!(matches!(l.step(&i, look(stat(100, 1), Writer::Absent, v), 60_200), Command::Store { .. }));
}

#[test]
fn content_that_changes_behind_an_unchanged_stat_starts_the_quiet_period() {
    let (i, mut l) = begun();
    let seen = |bytes: &[u8]| {
        Event::Examined(Examination::Seen {
            look: Observation { stat: stat(100, 1), writer: Writer::Absent },
            structure: Some(structure(StructureVerdict::Unverifiable)),
            digest: Some(Digest::of(bytes)),
        })
    };
    l.step(&i, seen(b"a"), 1_000);
    assert!(matches!(l.step(&i, seen(b"b"), 40_000), Command::Wait { .. }));
    assert!(matches!(l.step(&i, seen(b"b"), 70_000), Command::Store { .. }));
}

#[test]
fn a_verdict_over_the_whole_is_not_forgotten_for_one_over_head_and_tail() {
    let (mut i, _) = begun();
    i.small_bytes = 10;
    let (mut l, event) = Lifecycle::begin(&i, 1_000);
    l.step(&i, event, 1_000);
    let cheap = || {
        Event::Examined(Examination::Seen {
            look: Observation { stat: stat(100, 1), writer: Writer::Absent },
            structure: Some(structure(StructureVerdict::Complete)),
            digest: None,
        })
    };
    assert_eq!(l.step(&i, cheap(), 1_000), Command::Store { large: true });
    let partial = StoreOutcome::Incomplete { structure: structure(StructureVerdict::Partial) };
    assert!(matches!(l.step(&i, Event::Stored(partial), 2_000), Command::Wait { .. }));
    assert!(matches!(l.step(&i, cheap(), 3_000), Command::Wait { .. }), "not stored again for the same version");
}

/// A model of the outside: what a command can come back with.
fn answer(c: &Command, choice: u8, t: i64) -> Event {
    let fault = |code| Event::Failed(Fault::new(code, "x"));
    match (c, choice % 8) {
        (Command::Wait { .. }, _) => Event::Woken,
        (_, 6) => fault(FaultCode::StoreUnreachable),
        (_, 7) => fault(FaultCode::ShareAccessDenied),
        (Command::Examine, 0..=3) => look(stat(100, 1), Writer::Absent, StructureVerdict::Complete),
        (Command::Examine, 4) => look(stat(100, 1), Writer::Present, StructureVerdict::Complete),
        (Command::Examine, _) => look(stat(100, t as u64), Writer::Absent, StructureVerdict::Partial),
        (Command::Store { .. }, 0..=3) => claimed(),
        (Command::Store { .. }, 4) => Event::Stored(StoreOutcome::Changed {
            look: Observation { stat: stat(100, t as u64), writer: Writer::Absent },
        }),
        (Command::Store { .. }, _) => {
            Event::Stored(StoreOutcome::Incomplete { structure: structure(StructureVerdict::Partial) })
        }
        (Command::Enqueue(_), _) => Event::Enqueued,
        (Command::Archive, _) => Event::Archived(ArchiveState::Moved),
        (Command::Record(_), _) => Event::Recorded,
        (Command::Finish, _) => unreachable!(),
    }
}

proptest! {
    /// Whatever the outside answers: a transient or blocked fault never rejects (L1), the copy is touched only after the
    /// recording was enqueued or linked (L4), nothing is enqueued that was not claimed (L3), and once the outside
    /// behaves the lifecycle ends.
    #[test]
    fn every_interleaving_keeps_the_invariants(choices in proptest::collection::vec(any::<u8>(), 0..60)) {
        let (i, mut l) = begun();
        let (mut c, mut t) = (Command::Examine, 1_000i64);
        let (mut was_claimed, mut was_enqueued) = (false, false);
        for n in 0..400 {
            t += 1_000;
            let choice = choices.get(n).copied().unwrap_or(0);
            let e = answer(&c, choice, t);
            was_claimed |= matches!(e, Event::Stored(StoreOutcome::Claimed { .. }));
            was_enqueued |= matches!(e, Event::Enqueued);
            c = l.step(&i, e, t);
            match &c {
                Command::Enqueue(_) => prop_assert!(was_claimed),
                Command::Archive => prop_assert!(was_enqueued),
                Command::Finish => break,
                _ => {}
            }
        }
        prop_assert_eq!(&c, &Command::Finish);
        prop_assert!(matches!(l.outcome, Some(Outcome::Delivered { .. })), "{:?}", l.outcome);
    }
}

/// One recording by several ways: a lifecycle each, and one place that all claim at.
struct Race {
    lanes: Vec<(Intake, Lifecycle, Command)>,
    claim: Option<usize>,
    /// Who sent what, repeats among them.
    sent: Vec<(usize, crate::message::Delivery)>,
    /// Who recorded what.
    entries: Vec<(usize, Outcome)>,
}

impl Race {
    fn of(ways: &[Ingress]) -> Self {
        let lane = |(n, way): (usize, &Ingress)| {
            let name = StagedName::derived(*way, &[&n.to_string()]);
            let limits = (1_000, 10_000);
            let i = Intake::received(intake().org, *way, &name, limits, BTreeSet::new(), None).unwrap_or_else(intake);
            let (mut l, event) = Lifecycle::begin(&i, 1_000);
            let c = l.step(&i, event, 1_000);
            (i, l, c)
        };
        let lanes = ways.iter().enumerate().map(lane).collect();
        Self { lanes, claim: None, sent: vec![], entries: vec![] }
    }

    /// What a lane's command comes back with: by `how` it fails before it does anything, is done and its answer lost,
    /// or is done.
    fn answer(&mut self, n: usize, how: u8) -> Event {
        let lost = || Event::Failed(Fault::new(FaultCode::StoreUnreachable, "x"));
        let (i, _, c) = &self.lanes[n];
        if matches!(c, Command::Wait { .. }) {
            return Event::Woken;
        }
        if how == 0 {
            return lost();
        }
        let done = match c {
            Command::Examine => look(FileStat { size: 100, ..i.fingerprint.stat }, Writer::Absent, WHOLE),
            Command::Store { .. } => {
                let (digest, size, structure) = (Digest::of(b"x"), 100, structure(WHOLE));
                if *self.claim.get_or_insert(n) == n {
                    // Its own claim is known again after a crash.
                    Event::Stored(StoreOutcome::Claimed { digest, size, structure, related: vec![] })
                } else {
                    Event::Stored(StoreOutcome::Duplicate { digest, size, structure })
                }
            }
            Command::Enqueue(d) => {
                self.sent.push((n, d.clone()));
                Event::Enqueued
            }
            Command::Archive => Event::Archived(ArchiveState::Cleared),
            Command::Record(e) => {
                self.entries.push((n, e.outcome.clone()));
                Event::Recorded
            }
            Command::Wait { .. } | Command::Finish => unreachable!(),
        };
        if how == 1 { lost() } else { done }
    }

    /// A step of a lane; false if it is over.
    fn step(&mut self, n: usize, how: u8, t: i64) -> bool {
        if self.lanes[n].2 == Command::Finish {
            return false;
        }
        let event = self.answer(n, how);
        let (i, l, c) = &mut self.lanes[n];
        *c = l.step(i, event, t);
        true
    }
}

const WHOLE: StructureVerdict = StructureVerdict::Complete;

fn any_way() -> impl Strategy<Value = Ingress> {
    use Ingress as I;
    prop_oneof![Just(I::Smb), Just(I::Web), Just(I::Hl7v2), Just(I::Fhir), Just(I::Dicom)]
}

proptest! {
    /// However the ways interleave, whatever fails and whatever answer is lost: one of them delivers, the others are
    /// linked to that, and the message is the same whoever wins (L2, L3, L9).
    #[test]
    fn one_recording_by_several_ways_is_delivered_once(
        ways in proptest::collection::vec(any_way(), 2..=5),
        turns in proptest::collection::vec((0usize..5, 0u8..5), 0..120),
    ) {
        let mut race = Race::of(&ways);
        let mut t = 1_000i64;
        for (lane, how) in turns {
            t += 1_000;
            race.step(lane % ways.len(), how, t);
        }
        // Then everything answers, and all come to their end.
        for turn in 0..1_000 {
            t += 1_000;
            race.step(turn % ways.len(), 2, t);
        }
        let recording = RecordingId::new(&intake().org, &Digest::of(b"x"));
        let winner = race.claim.expect("somebody claims");
        for (n, (_, l, c)) in race.lanes.iter().enumerate() {
            prop_assert_eq!(c, &Command::Finish);
            let delivered = matches!(&l.outcome, Some(Outcome::Delivered { recording: r, .. }) if *r == recording);
            let linked = l.outcome == Some(Outcome::Duplicate { of: recording.clone() });
            prop_assert!(if n == winner { delivered } else { linked }, "{n}: {:?}", l.outcome);
            // Repeats say the same.
            let said: Vec<_> = race.entries.iter().filter(|(of, _)| *of == n).map(|(_, o)| Some(o)).collect();
            prop_assert!(!said.is_empty() && said.iter().all(|o| *o == l.outcome.as_ref()), "{n}: {said:?}");
        }
        let message = crate::message::Delivery {
            digest: Digest::of(b"x"), size: 100, format: "dicom".into(), identity: None, objects: vec![], claimed_at_ms: 0,
        };
        prop_assert!(!race.sent.is_empty());
        for (by, sent) in race.sent {
            prop_assert_eq!(by, winner);
            prop_assert_eq!(crate::message::Delivery { claimed_at_ms: 0, ..sent }, message.clone());
        }
    }
}
