//! Every step of a file's lifecycle failed, and done and then failed, on a real Temporal server: the file still has its
//! one outcome, its one message, and its bytes where they belong.

use futures::future::join_all;
use leadline_activities::adapters::aws_fake::Planned;
use leadline_domain::lifecycle::Outcome;
use leadline_domain::{ArchiveRule, Digest, Fault, FaultCode};
use leadline_formats::synth::SynthFormat;
use leadline_tests::fleet::{noise, recording};
use leadline_tests::harness::temporal::Temporal;
use leadline_tests::harness::tools::eventually;
use leadline_tests::rig::{Lane, Rig, share_id};
use leadline_workflows::ingest_batch::BatchItem;
use leadline_workflows::recording_lifecycle::FileReport;
use leadline_workflows::{RecordingLifecycle, ids};
use std::sync::Arc;
use std::time::Duration;
use temporalio_client::{WorkflowQueryOptions, WorkflowSignalOptions};

const LIMIT: Duration = Duration::from_secs(120);
const PATH: &str = "in/DOE_JANE.dcm";

/// Where a fault is planned.
#[derive(Clone, Copy, Debug, PartialEq)]
enum At {
    Share(&'static str),
    Store(&'static str),
    Ingest,
    Audit,
}

const SMALL: &[At] = &[
    At::Share("observe"),
    At::Share("read"),
    At::Share("mkdir"),
    At::Share("rename"),
    At::Store("put_recording"),
    At::Store("put_once"),
    At::Ingest,
    At::Audit,
];

const LARGE: &[At] = &[
    At::Share("open"),
    At::Share("next"),
    At::Store("begin_upload"),
    At::Store("upload_part"),
    At::Store("complete_upload"),
    At::Store("promote"),
];

fn codes(at: At) -> [FaultCode; 4] {
    use FaultCode as F;
    match at {
        At::Share(_) => [F::ShareUnreachable, F::ShareTimeout, F::ShareAccessDenied, F::ShareFull],
        At::Store(_) => [F::StoreUnreachable, F::StoreThrottled, F::StoreAccessDenied, F::StoreFull],
        At::Ingest | At::Audit => [F::QueueUnreachable, F::QueueThrottled, F::QueueAccessDenied, F::QueueMissing],
    }
}

/// All plans for a place: failed once, failed four times, done and failed, refused, or full or gone, until a human mends
/// it.
fn plans(at: At) -> Vec<Vec<Planned>> {
    let [lost, busy, refused, full] = codes(at).map(|c| Fault::new(c, "planned"));
    vec![
        vec![Planned::Fail(lost.clone())],
        vec![Planned::Fail(lost.clone()); 4],
        vec![Planned::FailAfter(lost.clone())],
        vec![Planned::FailAfter(lost.clone()), Planned::Fail(busy.clone()), Planned::FailAfter(lost)],
        vec![Planned::Fail(busy)],
        vec![Planned::Fail(refused)],
        vec![Planned::Fail(full)],
    ]
}

fn plan(lane: &Lane, at: At, what: &[Planned]) {
    for p in what {
        match at {
            At::Share(method) => lane.share.faults.plan(method, p.clone()),
            At::Store(method) => lane.store.faults.plan(method, p.clone()),
            At::Ingest => lane.ingest.faults.plan("send", p.clone()),
            At::Audit => lane.audit.faults.plan("send", p.clone()),
        }
    }
}

/// The promises: one object with these bytes, one message, the outcome on record once, the copy in the archive.
fn judge(lane: &Lane, report: &FileReport, bytes: &[u8], what: &str) {
    let digest = Digest::of(bytes);
    assert!(
        matches!(report.outcome(), Some(Outcome::Delivered { .. })),
        "{what}: {:?} {:?}",
        report.outcome(),
        report.lifecycle.retry
    );
    let stored = lane.store.recordings();
    assert_eq!(stored.len(), 1, "{what}: objects");
    assert!(stored[0].0 == digest && stored[0].1 == bytes, "{what}: another content");
    assert_eq!(lane.ingest.accepted().len(), 1, "{what}: messages");
    assert!(lane.ingest.accepted()[0].body.contains(&digest.to_hex()), "{what}: another recording's message");
    assert_eq!(lane.store.open_uploads(), 0, "{what}: an upload is left open");
    assert!(lane.store.staged().is_empty(), "{what}: something is left in staging");
    let mut entries: Vec<String> = lane.audit.accepted().into_iter().map(|m| m.dedup_id).collect();
    entries.dedup();
    assert!((1..=2).contains(&entries.len()), "{what}: audit entries {entries:?}");
    let paths = lane.share.paths();
    assert!(paths.len() == 1 && paths[0].starts_with("_archive/"), "{what}: {} files on the share", paths.len());
    assert_eq!(lane.share.content(&paths[0]).as_deref(), Some(bytes), "{what}: the clinic's copy");
}

/// Every plan for every place, each with an organization of its own, and the rig that serves them.
async fn start(
    temporal: &Temporal,
    name: &str,
    places: &[At],
    small_bytes: u64,
) -> (Rig, Vec<(String, At, Vec<Planned>)>) {
    let cases: Vec<_> = places
        .iter()
        .flat_map(|at| plans(*at).into_iter().map(move |p| (*at, p)))
        .enumerate()
        .map(|(n, (at, p))| (format!("org-{n}"), at, p))
        .collect();
    let orgs: Vec<&str> = cases.iter().map(|(o, _, _)| o.as_str()).collect();
    let archive = ArchiveRule::Move { folder: "_archive".into() };
    let rig = Rig::start(&temporal.address(), name, &orgs, &archive, small_bytes).await;
    (rig, cases)
}

async fn each_step(name: &str, places: &[At], small_bytes: u64) {
    let dir = tempfile::tempdir().expect("folder");
    let temporal = Temporal::start(dir.path());
    let (rig, cases) = start(&temporal, name, places, small_bytes).await;
    join_all(cases.iter().enumerate().map(|(n, (org, at, planned))| {
        let rig = &rig;
        async move {
            let lane = rig.lane(org);
            let bytes = recording(SynthFormat::Dicom, n as u64);
            lane.share.put(PATH, &bytes);
            let intake_first = lane.intake(PATH).await;
            plan(lane, *at, planned);
            let id = rig.begin(&intake_first).await;
            let report = rig.ended(&id, LIMIT).await;
            let what = format!("{at:?} {planned:?}");
            judge(lane, &report, &bytes, &what);
            let left = lane.share.faults.left() + lane.store.faults.left() + lane.ingest.faults.left();
            // What was done in spite of its fault need not be tried again.
            assert!(left + lane.audit.faults.left() < planned.len(), "{what}: the planned fault never happened");
            assert_eq!(report.intake.file_key(), intake_first.file_key());
        }
    }))
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_step_of_a_small_file() {
    each_step("steps-small", SMALL, 8 << 20).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_step_of_a_large_file() {
    // Everything above 16 KiB counts as large here.
    each_step("steps-large", LARGE, 16 << 10).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_step_of_a_batch() {
    const FILES: u64 = 16;
    let dir = tempfile::tempdir().expect("folder");
    let temporal = Temporal::start(dir.path());
    let (rig, cases) = start(&temporal, "steps-batch", SMALL, 8 << 20).await;
    let contents: Vec<Vec<u8>> = (0..FILES).map(|n| recording(SynthFormat::Scp, n)).collect();
    join_all(cases.iter().map(|(org, at, planned)| {
        let (rig, contents) = (&rig, &contents);
        async move {
            let (lane, what) = (rig.lane(org), format!("{at:?} {planned:?}"));
            let mut files = Vec::new();
            for (n, bytes) in contents.iter().enumerate() {
                let path = format!("in/{n}.scp");
                lane.share.put(&path, bytes);
                files.push(lane.intake(&path).await);
            }
            plan(lane, *at, planned);
            let id = format!("batch/{org}");
            rig.engine.start_batch(&rig.queue, &id, &files).await.expect("started");
            let items = rig.engine.batch_result(&id).await.expect("ended");
            assert_eq!(items.len(), files.len(), "{what}");
            for (item, intake) in items.iter().zip(&files) {
                let left_id = ids::lifecycle(&intake.org, &share_id(), &intake.fingerprint);
                let outcome = match item {
                    BatchItem::Done(r) => r.lifecycle.outcome.clone(),
                    BatchItem::Left { workflow_id, .. } => {
                        assert_eq!(*workflow_id, left_id);
                        rig.ended(&left_id, LIMIT).await.lifecycle.outcome
                    }
                    BatchItem::Running(_) => None,
                };
                assert!(matches!(outcome, Some(Outcome::Delivered { .. })), "{what}: {outcome:?}");
            }
            assert_eq!(lane.store.recordings().len(), contents.len(), "{what}: objects");
            assert_eq!(lane.ingest.accepted().len(), contents.len(), "{what}: messages");
            assert!(lane.share.paths().iter().all(|p| p.starts_with("_archive/")), "{what}: files left");
            assert_eq!(lane.share.paths().len(), contents.len(), "{what}: files lost");
        }
    }))
    .await;
}

/// What a store does that forgets a multipart upload, before each of the calls that need it.
#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_the_store_loses_is_begun_anew() {
    let dir = tempfile::tempdir().expect("folder");
    let temporal = Temporal::start(dir.path());
    let archive = ArchiveRule::Move { folder: "_archive".into() };
    // Where it is lost, in how many parts of 8 MiB, how often, and the uploads that are begun then. After the fourth time
    // the step fails, and is repeated.
    let cases = [
        ("upload_part", 3, 1, 2),
        ("upload_part", 1, 4, 5),
        ("list_parts", 3, 1, 2),
        ("complete_upload", 3, 1, 2),
        ("promote", 3, 1, 2),
    ];
    let orgs: Vec<String> = (0..cases.len()).map(|n| format!("org-{n}")).collect();
    let names: Vec<&str> = orgs.iter().map(String::as_str).collect();
    let rig = Rig::start(&temporal.address(), "lost", &names, &archive, 16 << 10).await;
    join_all(cases.iter().zip(&orgs).map(|((method, parts, times, begun), org)| {
        let rig = &rig;
        async move {
            let (lane, what) = (rig.lane(org), format!("{method} {times}"));
            let mut bytes = vec![0; (parts << 23) - 4096];
            noise(&mut bytes, &mut 7);
            lane.share.put("in/long.bin", &bytes);
            let store = Arc::downgrade(&lane.store);
            let lose = Planned::Meanwhile(Arc::new(move || {
                if let Some(store) = store.upgrade() {
                    store.lose_uploads();
                }
            }));
            let faults = &lane.store.faults;
            match *method {
                // The first part is there by then.
                "upload_part" => {
                    (1..*parts).take(1).for_each(|_| faults.plan(method, Planned::Pass));
                    (0..*times).for_each(|_| faults.plan(method, lose.clone()));
                }
                // Asked for by an attempt after one that failed.
                "list_parts" => {
                    faults.fail("complete_upload", 1, &Fault::new(FaultCode::StoreUnreachable, "planned"));
                    faults.plan(method, lose);
                }
                // The parts were put together, and what came of it is not there.
                "promote" => faults.fail(method, 1, &Fault::new(FaultCode::StoreUploadLost, "planned")),
                _ => faults.plan(method, lose),
            }
            let id = rig.begin(&lane.intake("in/long.bin").await).await;
            let report = rig.ended(&id, LIMIT).await;
            judge(lane, &report, &bytes, &what);
            assert_eq!(lane.store.faults.left(), 0, "{what}: not lost");
            assert_eq!(lane.store.calls()["begin_upload"], *begun, "{what}: uploads begun");
        }
    }))
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lifecycle_that_waits_says_for_what() {
    let dir = tempfile::tempdir().expect("folder");
    let temporal = Temporal::start(dir.path());
    let archive = ArchiveRule::Move { folder: "_archive".into() };
    let rig = Rig::start(&temporal.address(), "waits", &["org-small", "org-large"], &archive, 16 << 10).await;
    for (org, size, method) in [("org-small", 3_000usize, "read"), ("org-large", 300_000, "next")] {
        let lane = rig.lane(org);
        lane.share.put("in/a.bin", &vec![b'x'; size]);
        let intake = lane.intake("in/a.bin").await;
        // The last: a program keeps a part of the file locked, and writes nothing.
        let planned = [FaultCode::ShareLogonRefused, FaultCode::ShareAccessDenied, FaultCode::ShareFileLocked];
        for code in planned {
            lane.share.faults.fail(method, 2, &Fault::new(code, "planned"));
        }
        let id = rig.begin(&intake).await;
        let handle = rig.engine.client().get_workflow_handle::<RecordingLifecycle>(&id);
        let codes = std::sync::Mutex::new(Vec::new());
        eventually("all faults have shown", LIMIT, || {
            let (handle, codes) = (&handle, &codes);
            async move {
                let options = WorkflowQueryOptions::default();
                let report = handle.query(RecordingLifecycle::report, (), options).await.ok().flatten()?;
                codes.lock().expect("not poisoned").extend(report.lifecycle.retry.as_ref().map(|r| r.fault.code));
                // It need not wait for the end of its patience.
                let _ = handle.signal(RecordingLifecycle::nudge, (), WorkflowSignalOptions::default()).await;
                (report.outcome().is_some()).then_some(())
            }
        })
        .await;
        let mut codes = codes.into_inner().expect("not poisoned");
        codes.dedup();
        assert_eq!(codes, planned, "{org}");
    }
}

/// The claim took effect and its answer was lost; before the step is repeated a backup program touches the file, whose
/// content stays what it was.
#[tokio::test(flavor = "multi_thread")]
async fn a_large_file_that_is_touched_after_its_claim_is_no_duplicate_of_itself() {
    let dir = tempfile::tempdir().expect("folder");
    let temporal = Temporal::start(dir.path());
    let archive = ArchiveRule::Move { folder: "_archive".into() };
    let rig = Rig::start(&temporal.address(), "touched", &["org-touched"], &archive, 16 << 10).await;
    let lane = rig.lane("org-touched");
    let bytes = recording(SynthFormat::Dicom, 1);
    lane.share.put(PATH, &bytes);
    let intake = lane.intake(PATH).await;
    let share = Arc::downgrade(&lane.share);
    let touch = move || share.upgrade().into_iter().for_each(|s| s.replace(PATH, PATH));
    // One look to examine, two around the reading, then that of the repeat.
    (0..3).for_each(|_| lane.share.faults.plan("observe", Planned::Pass));
    lane.share.faults.plan("observe", Planned::Meanwhile(Arc::new(touch)));
    let lost = Fault::new(FaultCode::StoreUnreachable, "planned");
    lane.store.faults.plan("promote", Planned::FailAfter(lost));
    let id = rig.begin(&intake).await;
    let report = rig.ended(&id, LIMIT).await;
    assert_eq!(lane.store.faults.left() + lane.share.faults.left(), 0, "it was never touched, or the answer not lost");
    judge(lane, &report, &bytes, "touched");
}
