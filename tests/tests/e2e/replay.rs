//! Recorded histories, replayed: a change of workflow code that breaks workflows under way fails here.
//!
//! `cargo test --workspace --test e2e replay -- --ignored` records them anew; see `tests/histories/README.md` for when
//! that is right.

mod provisioning;

use leadline_activities::adapters::aws_fake::Planned;
use leadline_activities::worker::WORKFLOWS;
use leadline_domain::lifecycle::Intake;
use leadline_domain::{ArchiveRule, Fault, FaultCode, SettleRule};
use leadline_formats::sets::SetRule;
use leadline_formats::synth::{Spec, SynthFormat};
use leadline_tests::fleet::recording;
use leadline_tests::harness::temporal::Temporal;
use leadline_tests::harness::tools::eventually;
use leadline_tests::histories::{folder, recorded};
use leadline_tests::rig::{Rig, connect_plain, share_id};
use leadline_tests::set_rig::segmented;
use leadline_workflows::subscription::Seen;
use leadline_workflows::{RecordingLifecycle, ShareWatch, ids};
use std::collections::BTreeSet;
use std::time::Duration;
use temporalio_client::{
    Client, UntypedWorkflow, WorkflowFetchHistoryOptions, WorkflowHandle, WorkflowHistory, WorkflowSignalOptions,
};
use temporalio_common::data_converters::DataConverter;
use temporalio_sdk::workflow_replayer::{WorkflowReplayer, WorkflowReplayerOptions};

const LIMIT: Duration = Duration::from_secs(60);

fn replayer() -> WorkflowReplayer {
    leadline_activities::worker::replayer(DataConverter::default()).expect("a replayer")
}

#[tokio::test]
async fn recorded_histories_replay() {
    let replayer = replayer();
    let mut missing: BTreeSet<&str> = WORKFLOWS.iter().copied().collect();
    for (name, text) in recorded() {
        missing.remove(of_type(&text).as_str());
        let history = WorkflowHistory::from_json(&text).expect("a history");
        if let Err(e) = replayer.replay_workflow(history).await {
            panic!("{name} does not replay: running workflows like it would break: {e}");
        }
    }
    assert!(missing.is_empty(), "workflows without a recorded history: {missing:?}");
}

/// The type of the workflow that a history is of.
fn of_type(history: &[u8]) -> String {
    let v: serde_json::Value = serde_json::from_slice(history).expect("JSON");
    let started = &v["events"][0]["attributes"]["WorkflowExecutionStartedEventAttributes"];
    started["workflow_type"]["name"].as_str().expect("a type").to_owned()
}

/// The replayer itself: the same history under code that does something else must fail.
#[tokio::test]
async fn changed_code_is_noticed() {
    let options = WorkflowReplayerOptions::new().register_workflow::<changed::Other>().expect("registered").build();
    let replayer = WorkflowReplayer::new(options).expect("a replayer");
    let text = std::fs::read(folder().join("small.json")).expect("read");
    let history = WorkflowHistory::from_json(&text).expect("a history");
    assert!(replayer.replay_workflow(history).await.is_err());
}

mod changed {
    #![allow(missing_docs)] // the macros' constants
    use leadline_domain::lifecycle::Intake;
    use std::time::Duration;
    use temporalio_macros::{workflow, workflow_methods};
    use temporalio_workflow::{WorkflowContext, WorkflowResult};

    #[workflow]
    #[derive(Default)]
    pub struct Other;

    #[workflow_methods]
    impl Other {
        #[run(name = "RecordingLifecycle")]
        pub async fn run(ctx: &mut WorkflowContext<Self>, _intake: Intake) -> WorkflowResult<()> {
            ctx.timer(Duration::from_secs(1)).await;
            Ok(())
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "writes tests/histories"]
async fn record() {
    let dir = tempfile::tempdir().expect("folder");
    let temporal = Temporal::start(dir.path());
    let moved = ArchiveRule::Move { folder: "_archive".into() };
    let orgs: Vec<String> =
        ["small", "quiet", "duplicate", "too-large", "retried", "withdrawn", "pending", "batch", "watch", "nudged"]
            .map(String::from)
            .to_vec();
    let orgs: Vec<&str> = orgs.iter().map(String::as_str).collect();
    let client = connect_plain(&temporal.address()).await;
    let rig = Rig::with_client(client.clone(), "histories", &orgs, &moved, 8 << 20).await;
    let left = Rig::with_client(client.clone(), "leave", &["left"], &ArchiveRule::Leave, 8 << 20).await;
    let large = Rig::with_client(client, "large", &["large"], &moved, 16 << 10).await;
    let dicom = recording(SynthFormat::Dicom, 1);
    let lost = Fault::new(FaultCode::ShareUnreachable, "planned");

    for (rig, org) in [(&rig, "small"), (&left, "left"), (&large, "large")] {
        let lane = rig.lane(org);
        lane.share.put("in/a.dcm", &dicom);
        through(rig, &lane.intake("in/a.dcm").await, org).await;
    }

    let lane = rig.lane("quiet");
    lane.share.put("in/a.bin", b"some bytes");
    let mut intake = lane.intake("in/a.bin").await;
    intake.quiet_ms = 0;
    through(&rig, &intake, "quiet").await;

    let lane = rig.lane("duplicate");
    for name in ["in/a.dcm", "in/b.dcm"] {
        lane.share.put(name, &dicom);
        through(&rig, &lane.intake(name).await, "duplicate").await;
    }

    let lane = rig.lane("too-large");
    lane.share.put("in/a.dcm", &dicom);
    let mut intake = lane.intake("in/a.dcm").await;
    intake.max_bytes = 10;
    through(&rig, &intake, "too-large").await;

    let lane = rig.lane("retried");
    lane.share.put("in/a.dcm", &dicom);
    let intake = lane.intake("in/a.dcm").await;
    lane.share.faults.plan("read", Planned::Fail(lost.clone()));
    lane.store.faults.plan("put_recording", Planned::FailAfter(Fault::new(FaultCode::StoreUnreachable, "planned")));
    lane.ingest.faults.plan("send", Planned::Fail(Fault::new(FaultCode::QueueThrottled, "planned")));
    lane.audit.faults.plan("send", Planned::FailAfter(Fault::new(FaultCode::QueueUnreachable, "planned")));
    through(&rig, &intake, "retried").await;

    let lane = rig.lane("pending");
    lane.share.put("in/a.dcm", &dicom);
    let intake = lane.intake("in/a.dcm").await;
    lane.share.faults.fail("rename", 5, &lost);
    through(&rig, &intake, "pending").await;

    let lane = rig.lane("withdrawn");
    lane.share.put("in/a.dcm", &dicom);
    let intake = lane.intake("in/a.dcm").await;
    lane.share.delete("in/a.dcm");
    through(&rig, &intake, "withdrawn").await;

    let lane = rig.lane("nudged");
    lane.share.put("in/a.dcm", &dicom[..1000]);
    let id = rig.begin(&lane.intake("in/a.dcm").await).await;
    let handle = rig.engine.client().get_workflow_handle::<RecordingLifecycle>(&id);
    handle.signal(RecordingLifecycle::nudge, (), WorkflowSignalOptions::default()).await.expect("signalled");
    eventually("it has looked again", LIMIT, || async { (lane.share.calls("observe") >= 2).then_some(()) }).await;
    lane.share.put("in/a.dcm", &dicom);
    // The version is new: its quiet time has to pass, or a nudge comes too early and the timer has the last word.
    let _ = handle.signal(RecordingLifecycle::nudge, (), WorkflowSignalOptions::default()).await;
    rig.ended(&id, LIMIT).await;
    keep(&rig, &id, "nudged").await;

    let lane = rig.lane("batch");
    let mut files = Vec::new();
    for n in 0..12u64 {
        let path = format!("in/{n}.scp");
        lane.share.put(&path, &recording(SynthFormat::Scp, n));
        files.push(lane.intake(&path).await);
    }
    lane.share.faults.plan("rename", Planned::FailAfter(lost.clone()));
    lane.store.faults.fail("put_recording", 1, &Fault::new(FaultCode::StoreUnreachable, "planned"));
    rig.engine.start_batch(&rig.queue, "batch/recorded", &files).await.expect("started");
    rig.engine.batch_result("batch/recorded").await.expect("ended");
    keep(&rig, "batch/recorded", "batch").await;

    let lane = rig.lane("watch");
    lane.share.put("in/a.dcm", &dicom);
    let id = rig.engine.start_watch(&rig.queue, &lane.org, &share_id()).await.expect("started");
    eventually("the watch delivers", LIMIT, || async { (lane.ingest.accepted().len() == 1).then_some(()) }).await;
    let handle = stop_watch(&rig, &id).await;
    assert_eq!(id, ids::watch(&lane.org, &share_id()));
    eventually("the watch has stopped", LIMIT, || async {
        let options = temporalio_client::WorkflowDescribeOptions::default();
        let d = handle.describe(options).await.expect("described");
        (d.status() != temporalio_client::WorkflowExecutionStatus::Running).then_some(())
    })
    .await;
    keep(&rig, &id, "watch").await;
}

/// Each kind of set once: delivered with a late member and failures on the way, linked, released by a marker, given up.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "writes tests/histories"]
async fn record_sets() {
    let dir = tempfile::tempdir().expect("folder");
    let temporal = Temporal::start(dir.path());
    let client = connect_plain(&temporal.address()).await;
    let moved = ArchiveRule::Move { folder: "_archive".into() };
    let settle =
        SettleRule { strong_quiet_ms: 100, weak_quiet_ms: 2_000, unverifiable_quiet_ms: 500, stalled_after_ms: 3_000 };
    let sets = [
        SetRule::Stem { primary: vec!["xml".into()], required: vec!["pdf".into()], optional: vec![] },
        SetRule::Marker { primary: vec!["raw".into()], marker: "done".into(), appended: true },
        SetRule::Wfdb { folder: false },
    ];
    let orgs = ["set", "set-duplicate", "set-marker", "set-incomplete", "set-wfdb"];
    let rig = Rig::with_sets(client, "set-history", &orgs, &moved, 8 << 20, &settle, &sets).await;
    let (xml, pdf) = (recording(SynthFormat::Aecg, 1), recording(SynthFormat::Pdf, 1));
    let record = SynthFormat::Wfdb.write(&Spec { seconds: 2, leads: 2, ..Spec::new(1) }).expect("a record");
    for org in orgs {
        let lane = rig.lane(org);
        let watching = rig.engine.start_watch(&rig.queue, &lane.org, &share_id()).await.expect("started");
        let put = |path: &str, bytes: &[u8]| lane.share.put(path, bytes);
        let looked = || async {
            eventually("the first one waits", LIMIT, || async { (lane.share.calls("read") > 0).then_some(()) }).await;
        };
        match org {
            "set" => {
                let lost = |code| Planned::FailAfter(Fault::new(code, "planned"));
                lane.store.faults.plan("put_recording", Planned::Pass);
                lane.store.faults.plan("put_recording", lost(FaultCode::StoreUnreachable));
                lane.ingest.faults.plan("send", lost(FaultCode::QueueUnreachable));
                lane.share.faults.plan("rename", lost(FaultCode::ShareUnreachable));
                put("in/a.xml", &xml);
                looked().await;
                put("in/a.pdf", &pdf);
            }
            "set-duplicate" => {
                put("in/a.xml", &xml);
                put("in/a.pdf", &pdf);
                let first = || async { (lane.audit.accepted().len() >= 2).then_some(()) };
                eventually("the first is delivered", LIMIT, first).await;
                put("in/b.xml", &xml);
                put("in/b.pdf", &pdf);
            }
            "set-marker" => {
                put("in/a.raw", b"some bytes");
                looked().await;
                put("in/a.raw.done", b"");
            }
            "set-incomplete" => put("in/a.xml", &xml),
            _ => record.iter().for_each(|m| put(&format!("in/{}", m.name), &m.bytes)),
        }
        let entries = match org {
            "set-incomplete" => 1,
            "set-duplicate" => 4,
            "set-wfdb" => 3,
            _ => 2,
        };
        eventually(org, LIMIT, || async { (lane.audit.accepted().len() >= entries).then_some(()) }).await;
        assert_eq!(lane.ingest.accepted().len(), usize::from(org != "set-incomplete"), "{org}: messages");
        stop_watch(&rig, &watching).await;
        let last = last_set(&rig, org).await;
        keep(&rig, &last, org).await;
    }
}

/// A record of two segments, whose samples are large files and are added up before it is delivered.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "writes tests/histories"]
async fn record_segments() {
    let dir = tempfile::tempdir().expect("folder");
    let temporal = Temporal::start(dir.path());
    let client = connect_plain(&temporal.address()).await;
    let moved = ArchiveRule::Move { folder: "_archive".into() };
    let settle =
        SettleRule { strong_quiet_ms: 100, weak_quiet_ms: 2_000, unverifiable_quiet_ms: 500, stalled_after_ms: 60_000 };
    let sets = [SetRule::Wfdb { folder: true }];
    let rig = Rig::with_sets(client, "segments", &["set-segments"], &moved, 2 << 10, &settle, &sets).await;
    let lane = rig.lane("set-segments");
    let spec = Spec { seconds: 2, leads: 2, ..Spec::new(1) };
    let files = segmented(&spec, &Spec { seed: 2, ..spec.clone() });
    files.iter().for_each(|(path, bytes)| lane.share.put(path, bytes));
    let watching = rig.engine.start_watch(&rig.queue, &lane.org, &share_id()).await.expect("started");
    let all = || async { (lane.audit.accepted().len() >= files.len()).then_some(()) };
    eventually("delivered", LIMIT, all).await;
    stop_watch(&rig, &watching).await;
    let last = last_set(&rig, "set-segments").await;
    keep(&rig, &last, "set-segments").await;
}

/// Applying plans, leaving, checks, canaries, rotation, transfers.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "writes tests/histories"]
async fn record_provisioning() {
    let dir = tempfile::tempdir().expect("folder");
    let temporal = Temporal::start(dir.path());
    provisioning::record(&temporal).await;
}

/// How far a subscription at an EHR was followed, written down three times.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "writes tests/histories"]
async fn record_subscription() {
    let dir = tempfile::tempdir().expect("folder");
    let temporal = Temporal::start(dir.path());
    let client = connect_plain(&temporal.address()).await;
    let rig = Rig::with_client(client, "followed", &["followed"], &ArchiveRule::Leave, 8 << 20).await;
    let (org, name) = (&rig.lane("followed").org, "https://ehr.example.org/Subscription/1");
    for number in [1, 3, 2] {
        let seen = Seen { number, at_ms: number * 1_000 };
        rig.engine.subscription_advance(&rig.queue, org, name, seen).await.expect("written");
        // Each in a workflow task of its own.
        rig.engine.subscription_seen(org, name).await.expect("read").expect("it runs");
    }
    keep(&rig, &ids::subscription(org, name), "subscription").await;
}

async fn stop_watch(rig: &Rig, id: &str) -> WorkflowHandle<Client, ShareWatch> {
    let handle = rig.engine.client().get_workflow_handle::<ShareWatch>(id);
    handle.signal(ShareWatch::stop, (), WorkflowSignalOptions::default()).await.expect("signalled");
    handle
}

/// The id of the set of an organization that was begun last, once it has ended.
async fn last_set(rig: &Rig, org: &str) -> String {
    use futures::StreamExt as _;
    let query = format!("WorkflowType = 'SetLifecycle' AND LeadlineOrg = '{org}' AND ExecutionStatus != 'Running'");
    let want = if org == "set-duplicate" { 2 } else { 1 };
    eventually("the set has ended", LIMIT, || async {
        let options = temporalio_client::WorkflowListOptions::default();
        let found: Vec<_> = rig.engine.client().list_workflows(query.clone(), options).collect().await;
        let ids: Vec<String> = found.into_iter().flatten().map(|w| w.id().to_owned()).collect();
        // The latest first.
        (ids.len() >= want).then(|| ids[0].clone())
    })
    .await
}

/// A lifecycle from its start to its end, kept.
async fn through(rig: &Rig, intake: &Intake, name: &str) {
    let id = rig.begin(intake).await;
    rig.ended(&id, LIMIT).await;
    keep(rig, &id, name).await;
}

async fn keep(rig: &Rig, id: &str, name: &str) {
    keep_of(rig.engine.client(), id, name).await;
}

async fn keep_of(client: &Client, id: &str, name: &str) {
    let handle = client.get_workflow_handle::<UntypedWorkflow>(id);
    let history = handle.fetch_history(WorkflowFetchHistoryOptions::default()).to_json().await.expect("a history");
    std::fs::create_dir_all(folder()).expect("folder");
    std::fs::write(folder().join(format!("{name}.json")), history).expect("written");
}
