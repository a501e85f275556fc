//! Notifications alone carry files: where a share is listed once an hour, what is written arrives within seconds.

use leadline_formats::synth::SynthFormat;
use leadline_tests::fleet::{self, Job, recording};
use leadline_tests::harness::stack::{Clinic, Stack};
use leadline_tests::harness::tools::wait_for;
use std::time::Duration;

/// For the servers to start. Generous beside what is waited for, and little beside the hour.
const LIMIT: Duration = Duration::from_secs(60);
/// In which a file has to arrive.
const SOON: Duration = Duration::from_secs(20);
const SETTLE: &str = "settle = { strong_quiet_ms = 100, weak_quiet_ms = 60000, unverifiable_quiet_ms = 1000, stalled_after_ms = 86400000 }";

/// Full listings that the watch has made.
fn listings(stack: &Stack) -> u64 {
    let shown = stack.ok(&["org", "show", "st-mary", "--env", "test", "--output", "json"]);
    let v: serde_json::Value = serde_json::from_str(&shown).expect("JSON");
    v["watches"]["ward"]["reconciles"].as_u64().unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_between_two_listings_an_hour_apart_arrives_at_once() {
    let clinic = Clinic::new("st-mary", "ward").with(SETTLE).listed_every(3_600);
    let stack = Stack::start(std::slice::from_ref(&clinic));
    let mut worker = stack.worker();
    let device = stack.device("st-mary").await;
    stack.provision();
    wait_for("the share was listed", LIMIT, || listings(&stack) > 0);
    let before = listings(&stack);

    let job =
        |path: &str, format, seed| Job { org: "st-mary".into(), path: path.into(), bytes: recording(format, seed) };
    // Written and closed; held open for longer than the watch looks often; renamed to its name; in a folder of its own.
    let closed = job("in/closed.dcm", SynthFormat::Dicom, 1);
    device.put(&closed.path, &closed.bytes).await.expect("written");
    fleet::judge_messages_of(&stack, &[closed], SOON);

    let held = job("in/held.edf", SynthFormat::Edf, 2);
    let mut file = device.create(&held.path).await.expect("created");
    file.write(0, &held.bytes[..1000]).await.expect("written");
    wait_for("the writer is waited for", SOON, || stack.files().iter().any(|f| f["path"] == held.path.as_str()));
    file.write(1000, &held.bytes[1000..]).await.expect("written");
    file.close().await.expect("closed");
    fleet::judge_messages_of(&stack, &[held], SOON);

    let renamed = job("in/renamed.scp", SynthFormat::Scp, 3);
    device.put("in/renamed.tmp", &renamed.bytes).await.expect("written");
    device.replace("in/renamed.tmp", &renamed.path).await.expect("renamed");
    fleet::judge_messages_of(&stack, &[renamed], SOON);

    let below = job("in/ward 3/below.xml", SynthFormat::Aecg, 4);
    device.mkdir("in/ward 3").await.expect("made");
    device.put(&below.path, &below.bytes).await.expect("written");
    fleet::judge_messages_of(&stack, &[below], SOON);

    // No listing has helped.
    assert_eq!(listings(&stack), before);
    worker.stop(Duration::from_secs(20));
}
