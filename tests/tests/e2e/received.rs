//! What was received by other ways than a share: the same lifecycle, the same message, each step failed and repeated, on
//! a real Temporal server.

use bytes::Bytes;
use futures::future::join_all;
use leadline_activities::adapters::aws_fake::Planned;
use leadline_activities::ports::staging::Staging as _;
use leadline_domain::lifecycle::{ArchiveState, Intake, Outcome};
use leadline_domain::{ArchiveRule, Digest, Fault, FaultCode, IngestMessage, Ingress, Relation, StagedName};
use leadline_formats::synth::{Spec, SynthFormat};
use leadline_tests::fleet::recording;
use leadline_tests::harness::temporal::Temporal;
use leadline_tests::harness::tools::eventually;
use leadline_tests::rig::{Lane, Rig};
use leadline_workflows::RecordingLifecycle;
use leadline_workflows::recording_lifecycle::FileReport;
use std::collections::BTreeSet;
use std::time::Duration;
use temporalio_client::{WorkflowQueryOptions, WorkflowSignalOptions};

const LIMIT: Duration = Duration::from_secs(120);
const WAYS: [Ingress; 4] = Ingress::RECEIVED;
/// Larger than the recordings here, and smaller.
const SMALL: u64 = 8 << 20;
const LARGE: u64 = 16 << 10;

async fn staged(lane: &Lane, ingress: Ingress, bytes: &[u8], small: u64, declared: Option<Digest>) -> Intake {
    let digest = Digest::of(bytes);
    let name = StagedName::derived(ingress, &[&digest.to_hex()]);
    lane.store.stage(name.as_str(), Bytes::copy_from_slice(bytes), &digest).await.expect("staged");
    Intake::received(lane.org.clone(), ingress, &name, (small, 1 << 30), BTreeSet::new(), declared).expect("a way in")
}

async fn receive(rig: &Rig, org: &str, ingress: Ingress, bytes: &[u8]) -> FileReport {
    let intake = staged(rig.lane(org), ingress, bytes, SMALL, None).await;
    let id = rig.begin(&intake).await;
    rig.ended(&id, LIMIT).await
}

async fn rig(temporal: &Temporal, name: &str, orgs: &[String]) -> Rig {
    let orgs: Vec<&str> = orgs.iter().map(String::as_str).collect();
    Rig::start(&temporal.address(), name, &orgs, &ArchiveRule::Leave, SMALL).await
}

fn messages(lane: &Lane) -> Vec<IngestMessage> {
    lane.ingest.accepted().iter().map(|m| serde_json::from_str(&m.body).expect("a message")).collect()
}

/// A place where faults are planned: a method of the store, or a queue.
#[derive(Clone, Copy, Debug)]
enum At {
    Store(&'static str),
    Ingest,
    Audit,
}

fn plans(at: At) -> Vec<Vec<Planned>> {
    let (lost, refused) = match at {
        At::Store(_) => (FaultCode::StoreUnreachable, FaultCode::StoreAccessDenied),
        At::Ingest | At::Audit => (FaultCode::QueueUnreachable, FaultCode::QueueAccessDenied),
    };
    let [lost, refused] = [lost, refused].map(|c| Fault::new(c, "planned"));
    vec![
        vec![Planned::Fail(lost.clone())],
        vec![Planned::Fail(lost.clone()); 4],
        vec![Planned::FailAfter(lost)],
        vec![Planned::Fail(refused)],
    ]
}

fn plan(lane: &Lane, at: At, what: &[Planned]) {
    for p in what {
        match at {
            At::Store(method) => lane.store.faults.plan(method, p.clone()),
            At::Ingest => lane.ingest.faults.plan("send", p.clone()),
            At::Audit => lane.audit.faults.plan("send", p.clone()),
        }
    }
}

/// Every plan for every place; `bytes` of a case, `judge` of what came of it.
async fn each_step(
    name: &str,
    places: &[At],
    small: u64,
    bytes: impl Fn(u64) -> Vec<u8>,
    judge: impl Fn(&Lane, &FileReport, &[u8], &str),
) {
    let dir = tempfile::tempdir().expect("folder");
    let temporal = Temporal::start(dir.path());
    let cases: Vec<_> = places.iter().flat_map(|at| plans(*at).into_iter().map(move |p| (*at, p))).collect();
    let orgs: Vec<String> = (0..cases.len()).map(|n| format!("org-{n}")).collect();
    let rig = rig(&temporal, name, &orgs).await;
    let (bytes, judge) = (&bytes, &judge);
    join_all(cases.iter().zip(&orgs).enumerate().map(|(n, ((at, planned), org))| {
        let rig = &rig;
        async move {
            let (lane, bytes) = (rig.lane(org), bytes(n as u64));
            let intake = staged(lane, WAYS[n % WAYS.len()], &bytes, small, None).await;
            plan(lane, *at, planned);
            let id = rig.begin(&intake).await;
            let report = rig.ended(&id, LIMIT).await;
            let what = format!("{at:?} {planned:?}");
            judge(lane, &report, &bytes, &what);
            let left = lane.store.faults.left() + lane.ingest.faults.left() + lane.audit.faults.left();
            assert!(left < planned.len(), "{what}: the planned fault never happened");
        }
    }))
    .await;
}

fn delivered(lane: &Lane, report: &FileReport, bytes: &[u8], what: &str) {
    let l = &report.lifecycle;
    assert!(matches!(l.outcome, Some(Outcome::Delivered { .. })), "{what}: {:?} {:?}", l.outcome, l.retry);
    assert_eq!(l.archive, ArchiveState::Cleared, "{what}");
    let stored = lane.store.recordings();
    assert!(stored.len() == 1 && stored[0].1 == bytes, "{what}: {} objects", stored.len());
    assert_eq!(messages(lane).len(), 1, "{what}: messages");
    assert!(lane.store.staged().is_empty(), "{what}: something is left in staging");
    let entries: BTreeSet<String> = lane.audit.accepted().into_iter().map(|m| m.dedup_id).collect();
    assert!((1..=2).contains(&entries.len()), "{what}: audit entries {entries:?}");
}

fn kept(lane: &Lane, report: &FileReport, bytes: &[u8], what: &str) {
    let l = &report.lifecycle;
    assert_eq!(l.outcome, Some(Outcome::Quarantined { code: FaultCode::FileIncomplete }), "{what}: {:?}", l.retry);
    assert_eq!(l.archive, ArchiveState::Kept, "{what}");
    assert!(lane.store.recordings().is_empty() && messages(lane).is_empty(), "{what}: it was delivered");
    assert!(lane.store.staged().is_empty(), "{what}: something is left in staging");
    let there: Vec<Bytes> = lane.store.quarantined().into_values().collect();
    assert!(there.len() == 1 && there[0] == bytes, "{what}: the bytes are not kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_step_of_something_small() {
    let places = ["head_staged", "read_staged", "put_recording", "put_once", "remove_staged"].map(At::Store);
    let places = [&places[..], &[At::Ingest, At::Audit]].concat();
    each_step("recv-small", &places, SMALL, |n| recording(SynthFormat::Dicom, n), delivered).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_step_of_something_large() {
    let places = ["head_staged", "read_staged", "adopt", "put_once", "remove_staged"].map(At::Store);
    each_step("recv-large", &places, LARGE, |n| recording(SynthFormat::Dicom, n), delivered).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_step_of_something_incomplete() {
    let places = [At::Store("head_staged"), At::Store("read_staged"), At::Store("quarantine_staged"), At::Audit];
    let cut = |n| {
        let mut bytes = recording(SynthFormat::Pdf, n);
        bytes.truncate(bytes.len() / 2);
        bytes
    };
    each_step("recv-cut", &places, SMALL, cut, kept).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_what_was_declared_is_kept_for_a_human() {
    let dir = tempfile::tempdir().expect("folder");
    let temporal = Temporal::start(dir.path());
    let orgs = ["small", "large"].map(String::from);
    let rig = rig(&temporal, "recv-other", &orgs).await;
    for (org, small) in [("small", SMALL), ("large", LARGE)] {
        let (lane, bytes) = (rig.lane(org), recording(SynthFormat::Dicom, 1));
        let intake = staged(lane, Ingress::Web, &bytes, small, Some(Digest::of(b"something else"))).await;
        let id = rig.begin(&intake).await;
        let report = rig.ended(&id, LIMIT).await;
        assert_eq!(report.outcome(), Some(&Outcome::Quarantined { code: FaultCode::FileChecksumMismatch }), "{org}");
        assert!(messages(lane).is_empty() && lane.store.recordings().is_empty(), "{org}");
        assert_eq!(lane.store.quarantined().len(), 1, "{org}");
    }
}

/// Staging is cleared after a week, whatever waits there. Nobody delivers it then, and nobody calls it withdrawn.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_gone_from_staging_waits_for_a_human_and_goes_on_when_it_is_back() {
    let dir = tempfile::tempdir().expect("folder");
    let temporal = Temporal::start(dir.path());
    let orgs = ["small", "large"].map(String::from);
    let rig = rig(&temporal, "recv-gone", &orgs).await;
    for (org, small) in [("small", SMALL), ("large", LARGE)] {
        let (lane, bytes) = (rig.lane(org), recording(SynthFormat::Dicom, 1));
        let intake = staged(lane, Ingress::Web, &bytes, small, None).await;
        lane.store.remove_staged(intake.fingerprint.path.expose()).await.expect("removed");
        let id = rig.begin(&intake).await;
        let handle = rig.engine.client().get_workflow_handle::<RecordingLifecycle>(&id);
        let waits = eventually("it waits", LIMIT, || async {
            let report = handle.query(RecordingLifecycle::report, (), WorkflowQueryOptions::default()).await.ok()??;
            report.lifecycle.retry.is_some().then_some(report)
        })
        .await;
        let fault = waits.lifecycle.retry.as_ref().expect("a fault").fault.code;
        assert_eq!((waits.outcome(), fault), (None, FaultCode::StoreStagedGone), "{org}");
        assert!(lane.audit.accepted().is_empty() && messages(lane).is_empty(), "{org}: it has an outcome");
        staged(lane, Ingress::Web, &bytes, small, None).await;
        handle.signal(RecordingLifecycle::nudge, (), WorkflowSignalOptions::default()).await.expect("it runs");
        delivered(lane, &rig.ended(&id, LIMIT).await, &bytes, org);
    }
}

/// The same bytes by every way, each being the first once: one message, the same but for its time, and links.
#[tokio::test(flavor = "multi_thread")]
async fn one_message_whatever_the_way() {
    let bytes = recording(SynthFormat::Dicom, 7);
    let mut first_ones = Vec::new();
    for first in 0..=WAYS.len() {
        // A server for each: the organization has one name in all rigs, so that nothing but the way differs.
        let dir = tempfile::tempdir().expect("folder");
        let temporal = Temporal::start(dir.path());
        let rig = rig(&temporal, &format!("one-{first}"), &["st-mary".into()]).await;
        let lane = rig.lane("st-mary");
        lane.share.put("in/DOE_JANE.dcm", &bytes);
        for turn in 0..=WAYS.len() {
            let report = match WAYS.get((first + turn) % (WAYS.len() + 1)) {
                Some(way) => receive(&rig, "st-mary", *way, &bytes).await,
                None => {
                    let id = rig.begin(&lane.intake("in/DOE_JANE.dcm").await).await;
                    rig.ended(&id, LIMIT).await
                }
            };
            let linked = matches!(report.outcome(), Some(Outcome::Duplicate { .. }));
            assert_eq!(linked, turn > 0, "{:?}", report.outcome());
        }
        let mut sent = messages(lane);
        assert_eq!(sent.len(), 1);
        let mut message = sent.remove(0);
        message.time.clear();
        message.source.clear();
        message.data.environment.clear();
        message.data.bucket.clear();
        first_ones.push(message.to_json());
        assert_eq!(lane.audit.accepted().len(), WAYS.len() + 1, "each way leaves its entry");
    }
    first_ones.dedup();
    assert_eq!(first_ones.len(), 1, "the way shows in the message");
}

/// Other bytes of the same recording are delivered, and linked to what came first.
#[tokio::test(flavor = "multi_thread")]
async fn another_encoding_is_delivered_and_linked() {
    let dir = tempfile::tempdir().expect("folder");
    let temporal = Temporal::start(dir.path());
    let rig = rig(&temporal, "recv-links", &["st-mary".into()]).await;
    let made = |revision| {
        let spec = Spec { revision, ..Spec::new(3) };
        SynthFormat::Dicom.write(&spec).expect("written").remove(0).bytes
    };
    let (one, other) = (made(0), made(1));
    assert_ne!(Digest::of(&one), Digest::of(&other));
    let first = receive(&rig, "st-mary", Ingress::Dicom, &one).await;
    assert!(first.lifecycle.related.is_empty());
    let second = receive(&rig, "st-mary", Ingress::Web, &other).await;
    assert!(matches!(second.outcome(), Some(Outcome::Delivered { .. })), "{:?}", second.outcome());
    let [related] = second.lifecycle.related.as_slice() else { panic!("{:?}", second.lifecycle.related) };
    assert_eq!(related.how, Relation::Merge, "identifier and samples are the same");
    assert!(related.recording.to_string().ends_with(&Digest::of(&one).to_hex()));
    let entry = rig.lane("st-mary").audit.accepted().pop().expect("an entry");
    assert!(entry.body.contains("\"related\""), "the link is on record");
    assert_eq!(messages(rig.lane("st-mary")).len(), 2);
}
