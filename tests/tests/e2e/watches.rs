//! What a watch leaves to the next one, on a real Temporal server.

use futures::future::join_all;
use leadline_activities::engine::Engine;
use leadline_domain::lifecycle::Outcome;
use leadline_domain::{ArchiveRule, FaultCode, OrgId, SettleRule};
use leadline_formats::synth::SynthFormat;
use leadline_tests::fleet::recording;
use leadline_tests::harness::temporal::Temporal;
use leadline_tests::harness::tools::eventually;
use leadline_tests::rig::{Lane, Rig, connect, share_id};
use leadline_workflows::{ShareWatch, ids};
use std::time::Duration;
use temporalio_client::{UntypedWorkflow, WorkflowDescribeOptions};

const LIMIT: Duration = Duration::from_secs(60);

/// A file that ends in the middle, at rest.
fn put_part(lane: &Lane, n: u64) {
    let whole = recording(SynthFormat::Scp, n);
    lane.share.put(&format!("in/{n}.scp"), &whole[..whole.len() / 2]);
}

/// The run of the lifecycle of a file.
async fn run(rig: &Rig, id: &str) -> String {
    let handle = rig.engine.client().get_workflow_handle::<UntypedWorkflow>(id);
    handle.describe(WorkflowDescribeOptions::default()).await.expect("described").run_id().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_quarantined_stays_so_when_a_watch_begins_anew() {
    let dir = tempfile::tempdir().expect("folder");
    let temporal = Temporal::start(dir.path());
    let settle = SettleRule { strong_quiet_ms: 100, stalled_after_ms: 1_500, ..SettleRule::default() };
    let moved = ArchiveRule::default();
    let client = connect(&temporal.address()).await;
    let rig = Rig::with_sets(client, "anew", &["anew"], &moved, 8 << 20, &settle, &[]).await;
    let lane = rig.lane("anew");
    (0..9).for_each(|n| put_part(lane, n));
    let mut files = Vec::new();
    for n in 0..9 {
        let intake = lane.intake(&format!("in/{n}.scp")).await;
        files.push(ids::lifecycle(&intake.org, &intake.share, &intake.fingerprint));
    }
    let watch = rig.engine.start_watch(&rig.queue, &lane.org, &share_id()).await.expect("started");
    for id in &files {
        eventually(id, LIMIT, || async { rig.engine.report(id).await.ok()?.map(drop) }).await;
        let outcome = rig.ended(id, LIMIT).await.lifecycle.outcome;
        assert_eq!(outcome, Some(Outcome::Quarantined { code: FaultCode::FileStalled }));
    }
    let runs = join_all(files.iter().map(|id| run(&rig, id))).await;

    // With one more it is another batch.
    rig.engine.terminate(&watch, "the test").await.expect("ended");
    put_part(lane, 9);
    rig.engine.start_watch(&rig.queue, &lane.org, &share_id()).await.expect("started");
    eventually("all are taken up by the next life", LIMIT, || async {
        let s = rig.engine.watch_status(&lane.org, &share_id()).await.expect("asked")?;
        (s.reconciles >= 3 && s.pending == 0).then_some(())
    })
    .await;
    assert_eq!(join_all(files.iter().map(|id| run(&rig, id))).await, runs, "none began anew");
    assert_eq!(lane.ingest.accepted().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_watch_of_a_share_moves_to_another_worker_group() {
    let dir = tempfile::tempdir().expect("folder");
    let temporal = Temporal::start(dir.path());
    let engine = Engine::new(connect(&temporal.address()).await);
    let org = OrgId::parse("st-mary").expect("an id");
    let mut runs = Vec::new();
    for queue in ["outside", "inside", "inside"] {
        let id = engine.start_watch(queue, &org, &share_id()).await.expect("started");
        let handle = engine.client().get_workflow_handle::<ShareWatch>(&id);
        let d = handle.describe(WorkflowDescribeOptions::default()).await.expect("described");
        assert_eq!(d.task_queue(), queue);
        runs.push(d.run_id().to_owned());
    }
    assert!(runs[0] != runs[1] && runs[1] == runs[2], "one that is where it belongs goes on");
}
