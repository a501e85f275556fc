//! Workflows that wait for long: they go on with a fresh history, from where they stood, and end when somebody cancels
//! them in Temporal.

use leadline_domain::lifecycle::{ArchiveState, Outcome};
use leadline_domain::set::{Member, MemberRole, SetKind, SetSpec};
use leadline_domain::{ArchiveRule, FaultCode, SettleRule};
use leadline_formats::synth::SynthFormat;
use leadline_tests::fleet::recording;
use leadline_tests::harness::temporal::Temporal;
use leadline_tests::harness::tools::eventually;
use leadline_tests::rig::{Lane, Rig, share_id};
use leadline_workflows::set_lifecycle::{SetInput, SetReport};
use leadline_workflows::subscription::{FollowedSubscription, Seen};
use leadline_workflows::{RecordingLifecycle, SetLifecycle};
use std::time::Duration;
use temporalio_client::{
    Client, WorkflowCancelOptions, WorkflowDescribeOptions, WorkflowGetResultOptions, WorkflowHandle,
    WorkflowQueryOptions, WorkflowSignalOptions, WorkflowStartOptions,
};

const LIMIT: Duration = Duration::from_secs(120);
const PATH: &str = "in/DOE_JANE.dcm";

async fn rig(dir: &std::path::Path, name: &str, orgs: &[&str]) -> (Temporal, Rig) {
    let temporal = Temporal::start_with_histories_of(dir, 200);
    let archive = ArchiveRule::Move { folder: "_archive".into() };
    let rig = Rig::start(&temporal.address(), name, orgs, &archive, 8 << 20).await;
    (temporal, rig)
}

async fn run_of(client: &Client, id: &str) -> String {
    let handle = client.get_workflow_handle::<RecordingLifecycle>(id);
    handle.describe(WorkflowDescribeOptions::default()).await.expect("described").run_id().to_owned()
}

/// Nudges until it has another run. A nudge may be refused while the run closes.
async fn outlive(client: &Client, id: &str) {
    let (handle, first) = (client.get_workflow_handle::<RecordingLifecycle>(id), run_of(client, id).await);
    let nudged = || async {
        let _ = handle.signal(RecordingLifecycle::nudge, (), WorkflowSignalOptions::default()).await;
        (run_of(client, id).await != first).then_some(())
    };
    eventually("it has a fresh history", LIMIT, nudged).await;
}

fn set_of(lane: &Lane) -> SetInput {
    let spec =
        SetSpec { kind: SetKind::Stem, required: vec!["pdf".into()], optional: vec![], open: false, marker: false };
    SetInput { org: lane.org.clone(), share: share_id(), spec, settle: SettleRule::default(), resume: None }
}

async fn member(lane: &Lane, role: MemberRole, extension: &str) -> Member {
    another(lane, role, extension, 1).await
}

async fn another(lane: &Lane, role: MemberRole, extension: &str, seed: u64) -> Member {
    let path = format!("in/{seed}.{extension}");
    lane.share.put(&path, &recording(if extension == "pdf" { SynthFormat::Pdf } else { SynthFormat::Aecg }, seed));
    let (label, extension) = (extension.to_owned(), extension.to_owned());
    Member { role, label, extension, intake: lane.intake(&path).await }
}

fn whole(lane: &Lane, set: &SetReport, recordings: usize) {
    assert_eq!(lane.ingest.accepted().len(), recordings, "messages");
    assert!(set.recording.is_some() && set.members.len() == 2 * recordings, "{:?}", set.members.len());
    for m in &set.members {
        assert!(matches!(m.report.outcome(), Some(Outcome::Delivered { .. })), "{:?}", m.report.outcome());
        assert_eq!(m.report.lifecycle.archive, ArchiveState::Moved);
    }
}

async fn set_report(handle: &WorkflowHandle<Client, SetLifecycle>) -> Option<SetReport> {
    handle.query(SetLifecycle::report, (), WorkflowQueryOptions::default()).await.ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_waits_has_one_fresh_history_after_the_other() {
    let dir = tempfile::tempdir().expect("folder");
    let (_temporal, rig) = rig(dir.path(), "long-file", &["org-file"]).await;
    let (client, dicom) = (rig.engine.client(), recording(SynthFormat::Dicom, 1));
    let lane = rig.lane("org-file");
    lane.share.put(PATH, &dicom[..1_000]);
    let id = rig.begin(&lane.intake(PATH).await).await;
    let handle = client.get_workflow_handle::<RecordingLifecycle>(&id);
    let report = async || handle.query(RecordingLifecycle::report, (), WorkflowQueryOptions::default()).await.ok();
    let before = eventually("it waits", LIMIT, || async { report().await.flatten() }).await;
    outlive(client, &id).await;
    lane.share.put(PATH, &dicom);
    let _ = handle.signal(RecordingLifecycle::nudge, (), WorkflowSignalOptions::default()).await;
    let after = rig.ended(&id, LIMIT).await;
    assert!(matches!(after.outcome(), Some(Outcome::Delivered { .. })), "{:?}", after.outcome());
    assert_eq!((lane.ingest.accepted().len(), lane.store.recordings().len()), (1, 1));
    assert_eq!(after.lifecycle.times.discovered_ms, before.lifecycle.times.discovered_ms, "it began anew");
    assert_eq!(after.intake, before.intake);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_set_that_waits_for_a_member_has_too() {
    let dir = tempfile::tempdir().expect("folder");
    let (_temporal, rig) = rig(dir.path(), "long-set", &["org-set"]).await;
    let lane = rig.lane("org-set");
    let xml = member(lane, MemberRole::Primary, "xml").await;
    rig.engine.start_set(&rig.queue, "set/long", &set_of(lane), &[xml]).await.expect("started");
    let handle = rig.engine.client().get_workflow_handle::<SetLifecycle>("set/long");
    let waits = || async { set_report(&handle).await.filter(|r| r.why.is_some()) };
    let before = eventually("it waits for the other", LIMIT, waits).await;
    outlive(rig.engine.client(), "set/long").await;
    let pdf = member(lane, MemberRole::Required, "pdf").await;
    assert!(rig.engine.join_set("set/long", &[pdf]).await.expect("joined"));
    let after = handle.get_result(WorkflowGetResultOptions::default()).await.expect("it ends");
    whole(lane, &after, 1);
    let began = |r: &SetReport| {
        let xml = r.members.iter().find(|m| m.role == MemberRole::Primary).expect("a primary file");
        (xml.report.intake.clone(), xml.report.lifecycle.times.discovered_ms)
    };
    assert_eq!(began(&after), began(&before), "it began anew");
}

/// The recording is delivered, and the clinic's copies cannot be moved until somebody gives the right to.
#[tokio::test(flavor = "multi_thread")]
async fn a_set_whose_copies_cannot_be_moved_has_too_and_says_why_it_waits() {
    let dir = tempfile::tempdir().expect("folder");
    let (_temporal, rig) = rig(dir.path(), "long-end", &["org-end"]).await;
    let lane = rig.lane("org-end");
    lane.share.deny("_archive");
    let members = [member(lane, MemberRole::Primary, "xml").await, member(lane, MemberRole::Required, "pdf").await];
    rig.engine.start_set(&rig.queue, "set/end", &set_of(lane), &members).await.expect("started");
    let handle = rig.engine.client().get_workflow_handle::<SetLifecycle>("set/end");
    let refused = || async { set_report(&handle).await.and_then(|r| r.fault) };
    assert_eq!(eventually("it says why it waits", LIMIT, refused).await.code, FaultCode::ShareAccessDenied);
    outlive(rig.engine.client(), "set/end").await;
    assert_eq!(eventually("it still says so", LIMIT, refused).await.code, FaultCode::ShareAccessDenied);
    // What joins meanwhile is not left behind, and is delivered before the copies of the first can be moved.
    for (role, extension) in [(MemberRole::Primary, "xml"), (MemberRole::Required, "pdf")] {
        let joining = another(lane, role, extension, 2).await;
        assert!(rig.engine.join_set("set/end", &[joining]).await.expect("joined"));
    }
    outlive(rig.engine.client(), "set/end").await;
    let delivered = || async { (lane.ingest.accepted().len() == 2).then_some(()) };
    eventually("the second is delivered", LIMIT, delivered).await;
    lane.share.allow();
    let _ = handle.signal(SetLifecycle::nudge, (), WorkflowSignalOptions::default()).await;
    let after = handle.get_result(WorkflowGetResultOptions::default()).await.expect("it ends");
    whole(lane, &after, 2);
}

/// Cancelled in Temporal and not by a command: nothing spins, and what is on the share stays there.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_cancelled_in_temporal_ends() {
    let dir = tempfile::tempdir().expect("folder");
    let (_temporal, rig) = rig(dir.path(), "cancelled", &["org-cancelled"]).await;
    let (client, lane) = (rig.engine.client(), rig.lane("org-cancelled"));
    lane.share.put(PATH, &recording(SynthFormat::Dicom, 1)[..1_000]);
    let file = rig.begin(&lane.intake(PATH).await).await;
    let xml = member(lane, MemberRole::Primary, "xml").await;
    rig.engine.start_set(&rig.queue, "set/cancelled", &set_of(lane), &[xml]).await.expect("started");
    let options = WorkflowStartOptions::new(&rig.queue, "subscription/cancelled").build();
    let seen = Seen { number: 1, at_ms: 0 };
    client.start_workflow(FollowedSubscription::run, seen, options).await.expect("started");
    for id in [&file, "set/cancelled", "subscription/cancelled"] {
        let handle = client.get_workflow_handle::<RecordingLifecycle>(id);
        handle.cancel(WorkflowCancelOptions::default()).await.expect("asked");
        let ended = || async {
            let d = handle.describe(WorkflowDescribeOptions::default()).await.ok()?;
            d.close_time().map(|_| format!("{:?}", d.status()))
        };
        assert_eq!(eventually("it ends", LIMIT, ended).await, "Canceled", "{id}");
    }
    assert!(lane.share.content(PATH).is_some() && lane.store.recordings().is_empty());
}
