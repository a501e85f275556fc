//! What is cut off between a claim and its message, on a real Temporal server with fakes around it, while somebody touches
//! or renames the files: what was claimed is announced, once, and is no duplicate of itself.

use futures::future::join_all;
use leadline_activities::adapters::aws_fake::Planned;
use leadline_domain::lifecycle::{ArchiveState, Outcome};
use leadline_domain::set::{Member, MemberRole, SetKind, SetSpec};
use leadline_domain::{ArchiveRule, Digest, Fault, FaultCode, SettleRule};
use leadline_formats::synth::SynthFormat;
use leadline_tests::fleet::recording;
use leadline_tests::harness::temporal::Temporal;
use leadline_tests::rig::{Lane, Rig, share_id};
use leadline_workflows::SetLifecycle;
use leadline_workflows::ingest_batch::BatchItem;
use leadline_workflows::set_lifecycle::SetInput;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// Told when the worker is about to send; it never does.
fn about_to_send(lane: &Lane) -> oneshot::Receiver<()> {
    let (tell, told) = oneshot::channel();
    let tell = std::sync::Mutex::new(Some(tell));
    let reached = move || {
        if let Some(tell) = tell.lock().expect("not poisoned").take() {
            let _ = tell.send(());
        }
    };
    lane.ingest.faults.plan("send", Planned::Hang(Arc::new(reached)));
    told
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_claimed_is_announced_whatever_became_of_the_files() {
    const FILES: u64 = 9;
    let dir = tempfile::tempdir().expect("folder");
    let temporal = Temporal::start(dir.path());
    let archive = ArchiveRule::Move { folder: "_archive".into() };
    let mut rig = Rig::start(&temporal.address(), "cut-off", &["org-batch", "org-set"], &archive, 8 << 20).await;

    let batch = Arc::clone(rig.lane("org-batch"));
    let mut files = Vec::new();
    for n in 0..FILES {
        let path = format!("in/{n}.scp");
        batch.share.put(&path, &recording(SynthFormat::Scp, n));
        files.push(batch.intake(&path).await);
    }
    let set = Arc::clone(rig.lane("org-set"));
    let mut members = Vec::new();
    for (role, extension, format) in
        [(MemberRole::Primary, "xml", SynthFormat::Aecg), (MemberRole::Required, "pdf", SynthFormat::Pdf)]
    {
        let path = format!("in/a.{extension}");
        set.share.put(&path, &recording(format, 1));
        let extension = extension.to_owned();
        members.push(Member { role, label: extension.clone(), extension, intake: set.intake(&path).await });
    }
    let spec =
        SetSpec { kind: SetKind::Stem, required: vec!["pdf".into()], optional: vec![], open: false, marker: false };
    let input = SetInput { org: set.org.clone(), share: share_id(), spec, settle: SettleRule::default(), resume: None };

    let sending = [about_to_send(&batch), about_to_send(&set)];
    rig.engine.start_batch(&rig.queue, "batch/cut-off", &files).await.expect("started");
    rig.engine.start_set(&rig.queue, "set/cut-off", &input, &members).await.expect("started");
    join_all(sending).await.into_iter().for_each(|told| told.expect("it comes to send"));
    assert_eq!((batch.store.recordings().len(), set.store.recordings().len()), (9, 1), "claims");
    rig.kill();
    // The device's own housekeeping, and a backup program.
    for n in 0..FILES {
        batch.share.replace(&format!("in/{n}.scp"), &format!("in/sent-{n}.scp"));
    }
    set.share.replace("in/a.xml", "in/a.xml");
    rig.restart(&temporal.address()).await;

    let items = rig.engine.batch_result("batch/cut-off").await.expect("ended");
    assert_eq!(batch.ingest.accepted().len(), files.len(), "messages of the batch");
    for item in &items {
        let BatchItem::Done(r) = item else { panic!("{item:?}") };
        let l = &r.lifecycle;
        assert!(matches!(l.outcome, Some(Outcome::Delivered { .. })), "{:?}", l.outcome);
        assert_eq!(l.archive, ArchiveState::Gone);
    }

    let handle = rig.engine.client().get_workflow_handle::<SetLifecycle>("set/cut-off");
    let report = handle.get_result(temporalio_client::WorkflowGetResultOptions::default()).await.expect("it ends");
    assert_eq!(set.ingest.accepted().len(), 1, "messages of the set");
    assert_eq!(report.members.len(), 2);
    for m in &report.members {
        let l = &m.report.lifecycle;
        assert!(matches!(l.outcome, Some(Outcome::Delivered { .. })), "{:?}", l.outcome);
        assert_eq!(l.archive, ArchiveState::Moved);
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Act {
    Rename,
    Delete,
    Rewrite,
}

/// The claim of a large file took effect, and the attempt that made it ended before it told; before the next one looks, the
/// device moves the file, takes it away, or writes its next recording over it.
#[tokio::test(flavor = "multi_thread")]
async fn a_large_file_whose_claim_was_not_told_is_delivered_whatever_became_of_it() {
    const PATH: &str = "in/a.dcm";
    const LIMIT: Duration = Duration::from_secs(60);
    let dir = tempfile::tempdir().expect("folder");
    let temporal = Temporal::start(dir.path());
    let archive = ArchiveRule::Move { folder: "_archive".into() };
    let lost = || Fault::new(FaultCode::StoreUnreachable, "planned");
    // The answer to the claim itself is lost, or what comes after it fails.
    let faults = [("promote", Planned::FailAfter(lost())), ("put_once", Planned::Fail(lost()))];
    let cases: Vec<_> = faults
        .into_iter()
        .flat_map(|f| [Act::Rename, Act::Delete, Act::Rewrite].map(|act| (f.clone(), act)))
        .enumerate()
        .map(|(n, (f, act))| (format!("org-{n}"), f, act))
        .collect();
    let orgs: Vec<&str> = cases.iter().map(|c| c.0.as_str()).collect();
    let rig = Rig::start(&temporal.address(), "untold", &orgs, &archive, 16 << 10).await;
    join_all(cases.iter().enumerate().map(|(n, (org, (method, fault), act))| {
        let rig = &rig;
        async move {
            let (lane, case) = (rig.lane(org), format!("{act:?} after {method}"));
            let [bytes, next] = [0, 1].map(|v| recording(SynthFormat::Dicom, 2 * n as u64 + v));
            lane.share.put(PATH, &bytes);
            let intake = lane.intake(PATH).await;
            let (share, act) = (Arc::downgrade(&lane.share), *act);
            let meanwhile = move || {
                let share = share.upgrade().expect("it is used");
                match act {
                    Act::Rename => share.replace(PATH, "in/sent.dcm"),
                    Act::Delete => share.delete(PATH),
                    Act::Rewrite => share.put(PATH, &next),
                }
            };
            // One look to examine, two around the reading, then that of the repeat.
            (0..3).for_each(|_| lane.share.faults.plan("observe", Planned::Pass));
            lane.share.faults.plan("observe", Planned::Meanwhile(Arc::new(meanwhile)));
            lane.store.faults.plan(method, fault.clone());
            let id = rig.begin(&intake).await;
            let report = rig.ended(&id, LIMIT).await;
            assert_eq!(lane.store.faults.left() + lane.share.faults.left(), 0, "{case}: it did not happen");
            assert!(matches!(report.outcome(), Some(Outcome::Delivered { .. })), "{case}: {:?}", report.outcome());
            let left = if act == Act::Rewrite { ArchiveState::Changed } else { ArchiveState::Gone };
            assert_eq!(report.lifecycle.archive, left, "{case}");
            if act == Act::Rename {
                let copy = rig.begin(&lane.intake("in/sent.dcm").await).await;
                let copy = rig.ended(&copy, LIMIT).await;
                assert!(matches!(copy.outcome(), Some(Outcome::Duplicate { .. })), "{case}: {:?}", copy.outcome());
            }
            let sent = lane.ingest.accepted();
            assert_eq!(sent.len(), 1, "{case}: messages");
            assert!(sent[0].body.contains(&Digest::of(&bytes).to_hex()), "{case}: another recording's message");
            assert_eq!(lane.store.recordings().len(), 1, "{case}: objects");
            assert!(lane.store.open_uploads() == 0 && lane.store.staged().is_empty(), "{case}: left in the store");
        }
    }))
    .await;
}
