//! One recording in several encodings, by several ways, on a real Temporal server with fakes around it: all of them are
//! delivered, and linked to the first, whatever comes first, whatever fails, and when two come at once.

use bytes::Bytes;
use futures::future::join_all;
use leadline_activities::adapters::aws_fake::Planned;
use leadline_activities::ports::staging::Staging as _;
use leadline_domain::lifecycle::{Intake, Outcome};
use leadline_domain::{
    ArchiveRule, Digest, Fault, FaultCode, Ingress, RecordingId, Related, Relation, SettleRule, StagedName,
};
use leadline_formats::sets::SetRule;
use leadline_formats::synth::{Spec, SynthFormat};
use leadline_tests::fleet::recording;
use leadline_tests::harness::temporal::Temporal;
use leadline_tests::rig::{Lane, Rig, connect};
use leadline_tests::set_rig::{entries, messages, settled, watch};
use leadline_workflows::recording_lifecycle::FileReport;
use std::collections::BTreeSet;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(120);
const WAYS: [Ingress; 4] = Ingress::RECEIVED;
const ENCODINGS: [SynthFormat; 6] = [
    SynthFormat::Dicom,
    SynthFormat::Aecg,
    SynthFormat::Scp,
    SynthFormat::Edf,
    SynthFormat::MuseXml,
    SynthFormat::Ishne,
];

async fn rig(temporal: &Temporal, name: &str, orgs: &[String]) -> Rig {
    let orgs: Vec<&str> = orgs.iter().map(String::as_str).collect();
    let archive = ArchiveRule::Move { folder: "_archive".into() };
    let settle = SettleRule { strong_quiet_ms: 100, unverifiable_quiet_ms: 700, ..SettleRule::default() };
    let pair = SetRule::Stem { primary: vec!["xml".into()], required: vec!["pdf".into()], optional: vec![] };
    Rig::with_sets(
        connect(&temporal.address()).await,
        name,
        &orgs,
        &archive,
        8 << 20,
        &settle,
        &[pair, SetRule::Wfdb { folder: false }],
    )
    .await
}

async fn receive(rig: &Rig, lane: &Lane, ingress: Ingress, bytes: &[u8], name: &str) -> FileReport {
    let name = StagedName::derived(ingress, &[name]);
    let digest = Digest::of(bytes);
    lane.store.stage(name.as_str(), Bytes::copy_from_slice(bytes), &digest).await.expect("staged");
    let limits = (8 << 20, 1 << 30);
    let intake = Intake::received(lane.org.clone(), ingress, &name, limits, BTreeSet::new(), None).expect("a way in");
    let id = rig.begin(&intake).await;
    rig.ended(&id, LIMIT).await
}

fn id(lane: &Lane, bytes: &[u8]) -> RecordingId {
    RecordingId::new(&lane.org, &Digest::of(bytes))
}

fn link(lane: &Lane, bytes: &[u8]) -> Related {
    Related { recording: id(lane, bytes), how: Relation::Link }
}

fn delivered(r: &FileReport) -> bool {
    matches!(r.outcome(), Some(Outcome::Delivered { .. }))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_encoding_is_delivered_and_linked_whatever_comes_first() {
    let dir = tempfile::tempdir().expect("folder");
    let temporal = Temporal::start(dir.path());
    let orgs: Vec<String> = (0..ENCODINGS.len()).map(|n| format!("org-{n}")).collect();
    let rig = rig(&temporal, "encodings", &orgs).await;
    let files: Vec<Vec<u8>> = ENCODINGS.iter().map(|f| recording(*f, 7)).collect();
    join_all(orgs.iter().enumerate().map(|(first, org)| {
        let (rig, files) = (&rig, &files);
        async move {
            let lane = rig.lane(org);
            for turn in 0..files.len() {
                let at = (first + turn) % files.len();
                let what = format!("{} after {}", ENCODINGS[at], ENCODINGS[first]);
                let report = receive(rig, lane, WAYS[turn % WAYS.len()], &files[at], &what).await;
                assert!(delivered(&report), "{what}: {:?}", report.outcome());
                let want = if turn == 0 { vec![] } else { vec![link(lane, &files[first])] };
                assert_eq!(report.lifecycle.related, want, "{what}");
                let entry = entries(lane).pop().expect("an entry");
                assert_eq!(entry.related, want, "{what}: the ledger");
            }
            // The same bytes again are a duplicate, and another recording is nobody's relative.
            let again = receive(rig, lane, Ingress::Web, &files[first], "again").await;
            assert!(matches!(again.outcome(), Some(Outcome::Duplicate { .. })), "{:?}", again.outcome());
            assert!(again.lifecycle.related.is_empty());
            let other = receive(rig, lane, Ingress::Fhir, &recording(ENCODINGS[first], 8), "other").await;
            assert!(delivered(&other) && other.lifecycle.related.is_empty(), "{:?}", other.lifecycle.related);
            let sent = messages(lane);
            assert_eq!(sent.len(), files.len() + 1);
            assert!(sent.iter().all(|m| !m.to_json().contains("related")), "a message follows from the bytes alone");
        }
    }))
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_at_once_one_finds_the_other() {
    let dir = tempfile::tempdir().expect("folder");
    let temporal = Temporal::start(dir.path());
    let orgs: Vec<String> = (0..24).map(|n| format!("org-{n}")).collect();
    let rig = rig(&temporal, "enc-race", &orgs).await;
    join_all(orgs.iter().enumerate().map(|(n, org)| {
        let rig = &rig;
        async move {
            let (lane, seed) = (rig.lane(org), n as u64);
            let (one, two) = (recording(SynthFormat::Dicom, seed), recording(SynthFormat::Aecg, seed));
            let (a, b) = tokio::join!(
                receive(rig, lane, Ingress::Dicom, &one, "one"),
                receive(rig, lane, Ingress::Web, &two, "two")
            );
            assert!(delivered(&a) && delivered(&b), "{org}");
            let found = [&a.lifecycle.related[..], &b.lifecycle.related[..]];
            assert!(
                found == [&[], &[link(lane, &one)][..]] || found == [&[link(lane, &two)][..], &[]],
                "{org}: {found:?}"
            );
        }
    }))
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_fails_is_repeated() {
    let dir = tempfile::tempdir().expect("folder");
    let temporal = Temporal::start(dir.path());
    let lost = || Fault::new(FaultCode::StoreUnreachable, "planned");
    // Before and after its effect, of the first claim and of the second.
    let cases: Vec<Vec<Planned>> = (0..2usize)
        .flat_map(|pass| [Planned::Fail(lost()), Planned::FailAfter(lost())].map(|p| (pass, p)))
        .map(|(pass, p)| [vec![Planned::Pass; pass], vec![p]].concat())
        .collect();
    let orgs: Vec<String> = (0..cases.len()).map(|n| format!("org-{n}")).collect();
    let rig = rig(&temporal, "enc-lost", &orgs).await;
    join_all(orgs.iter().zip(&cases).map(|(org, planned)| {
        let rig = &rig;
        async move {
            let lane = rig.lane(org);
            let plan = || planned.iter().for_each(|p| lane.store.faults.plan("put_once", p.clone()));
            let files = [SynthFormat::Dicom, SynthFormat::Aecg].map(|f| recording(f, 3));
            for (n, bytes) in files.iter().enumerate() {
                plan();
                let report = receive(rig, lane, WAYS[n], bytes, "a name").await;
                assert!(delivered(&report), "{planned:?}");
                // A repeat finds its own claim, which is no link.
                let want = if n == 0 { vec![] } else { vec![link(lane, &files[0])] };
                assert_eq!(report.lifecycle.related, want, "{planned:?}");
                assert_eq!(lane.store.faults.left(), 0, "{planned:?}: the planned fault never happened");
            }
        }
    }))
    .await;
}

/// A set is compared by its main member, and what comes later is compared with the set.
#[tokio::test(flavor = "multi_thread")]
async fn a_set_is_linked_too() {
    let dir = tempfile::tempdir().expect("folder");
    let temporal = Temporal::start(dir.path());
    let orgs = ["st-mary".to_owned()];
    let rig = rig(&temporal, "enc-set", &orgs).await;
    let lane = rig.lane("st-mary");
    let [dicom, xml, pdf] = [SynthFormat::Dicom, SynthFormat::Aecg, SynthFormat::Pdf].map(|f| recording(f, 5));
    assert!(delivered(&receive(&rig, lane, Ingress::Dicom, &dicom, "dicom").await));
    watch(&rig, lane).await;
    lane.share.put("in/DOE_JANE.xml", &xml);
    lane.share.put("in/DOE_JANE.pdf", &pdf);
    settled(lane, "the set is delivered", 3).await;
    let (org, digest) = RecordingId::parts_of(&messages(lane).pop().expect("a message").id).expect("an id");
    let set = RecordingId::new(&org, &digest);
    let of = |bytes: &[u8]| entries(lane).into_iter().find(|e| e.sha256 == Some(Digest::of(bytes))).expect("an entry");
    assert_eq!(of(&xml).set, Some(set.clone()));
    assert_eq!(of(&xml).related, [link(lane, &dicom)]);
    assert!(of(&pdf).related.is_empty(), "the link stands with the main member");

    // The main member alone is another recording, the same in all that identifies it.
    let alone = receive(&rig, lane, Ingress::Web, &xml, "alone").await;
    assert!(delivered(&alone), "{:?}", alone.outcome());
    let merge = Related { recording: set, how: Relation::Merge };
    assert_eq!(alone.lifecycle.related, [merge, link(lane, &dicom)]);

    // Of a WFDB record the samples tell, which no header holds.
    let record = SynthFormat::Wfdb.write(&Spec::new(5)).expect("a record is made");
    record.iter().for_each(|m| lane.share.put(&format!("in/{}", m.name), &m.bytes));
    settled(lane, "the record is delivered", 7).await;
    let header = record.iter().find(|m| m.name.ends_with(".hea")).expect("a header");
    assert_eq!(of(&header.bytes).related, [link(lane, &dicom)]);
}
