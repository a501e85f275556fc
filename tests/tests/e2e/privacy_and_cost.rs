//! What must not leave: names of patients and files, in anything that is not encrypted. And what a file may cost.

use leadline_formats::synth::{Patient, Sex, Spec, SynthFormat};
use leadline_tests::fleet::{self, Job, jobs, recording};
use leadline_tests::harness::stack::{Clinic, Stack};
use leadline_tests::harness::tools::wait_for;
use leadline_tests::spent::{Requests, carrying_actions};
use std::path::Path;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(120);
const SETTLE: &str = "settle = { strong_quiet_ms = 100, weak_quiet_ms = 60000, unverifiable_quiet_ms = 1000, stalled_after_ms = 86400000 }";
/// In file names, folders, and in the files' own patient fields.
const MARKERS: [&str; 3] = ["ZEPHYRINA", "QUIXOTE", "MRN-77421"];

/// Whether a text holds a marker, in any of the encodings that it could travel in.
fn leaks(bytes: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(bytes).to_uppercase();
    for m in MARKERS {
        let wide: String = m.chars().flat_map(|c| [c, '\0']).collect();
        if text.contains(m) || text.contains(&wide) {
            return Some(m.to_owned());
        }
    }
    None
}

fn scan(path: &Path, except: &[&str], found: &mut Vec<String>) {
    if except.iter().any(|e| path.ends_with(e)) {
        return;
    }
    if path.is_dir() {
        for e in std::fs::read_dir(path).into_iter().flatten().flatten() {
            scan(&e.path(), except, found);
        }
    } else if let Some(m) = std::fs::read(path).ok().and_then(|b| leaks(&b)) {
        found.push(format!("{m} in {}", path.display()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_name_leaves() {
    let sets = "sets = [{ kind = \"stem\", primary = [\"trace\"], required = [\"print\"] }]";
    let clinic = Clinic::new("st-mary", "ward").with(SETTLE).with(sets);
    let mut stack = Stack::start(std::slice::from_ref(&clinic));
    let mut worker = stack.worker();
    let device = stack.device("st-mary").await;
    stack.provision();
    let mut spec = Spec::new(5);
    spec.patient = Some(Patient {
        family: "QUIXOTE".into(),
        given: "ZEPHYRINA".into(),
        id: "MRN-77421".into(),
        birth: None,
        sex: Sex::Unknown,
    });
    let mut all = Vec::new();
    device.mkdir("in/QUIXOTE ward").await.expect("made");
    for (n, format) in
        [SynthFormat::Dicom, SynthFormat::Aecg, SynthFormat::Hl7v2, SynthFormat::MuseXml].into_iter().enumerate()
    {
        let bytes = format.write(&spec).expect("made").remove(0).bytes;
        let path = format!("in/QUIXOTE ward/ZEPHYRINA QUIXOTE MRN-77421 {n}.ecg");
        device.put(&path, &bytes).await.expect("written");
        all.push(Job { org: "st-mary".into(), path, bytes });
    }
    // A file that waits, a duplicate, and a backlog through a batch, with a refusal in between.
    let half = &all[0].bytes[..1000];
    device.put("in/QUIXOTE half.dcm", half).await.expect("written");
    device.put("in/ZEPHYRINA again.dcm", &all[0].bytes).await.expect("written");
    for (n, job) in jobs("st-mary", "ZEPHYRINA", 30, 9).into_iter().enumerate() {
        let path = format!("in/QUIXOTE {n}.{}", job.path.rsplit('.').next().unwrap_or("x"));
        device.put(&path, &job.bytes).await.expect("written");
        all.push(Job { path, ..job });
    }
    fleet::judge_messages_of(&stack, &all, LIMIT);
    wait_for("a duplicate is linked", LIMIT, || stack.files().iter().any(|f| f["state"] == "duplicate"));
    // A set, and one that waits for a companion.
    for (name, n) in [("QUIXOTE.trace", 1), ("QUIXOTE.print", 2), ("ZEPHYRINA.trace", 3)] {
        device.put(&format!("in/{name}"), &all[n].bytes).await.expect("written");
    }
    wait_for("the set is delivered, the other waits", LIMIT, || {
        let files = stack.files();
        let count = |state: &str| files.iter().filter(|f| f["set"].is_object() && f["state"] == state).count();
        count("delivered") == 2 && count("waiting") == 1
    });

    // What fails is told with whose it is, and which file, in ids alone.
    stack.aws.kill();
    let path = "in/ZEPHYRINA waits.dcm";
    device.put(path, &recording(SynthFormat::Dicom, 77)).await.expect("written");
    wait_for("a step has failed", LIMIT, || !failed_steps(&stack, "store").is_empty());
    stack.aws.restart();
    wait_for("it arrives in the end", LIMIT, || {
        stack.files().iter().any(|f| f["path"] == path && f["state"] == "delivered")
    });
    let files = stack.files();
    let key = files.iter().find(|f| f["path"] == path).expect("listed")["file"].clone();
    for line in failed_steps(&stack, "store") {
        let span = &line["span"];
        assert_eq!(
            [&span["org"], &span["share"], &span["file"]],
            ["st-mary", "ward", key.as_str().expect("a key")],
            "{line}"
        );
        assert_eq!(span["workflow"], format!("recording/st-mary/ward/{}", key.as_str().expect("a key")), "{line}");
    }

    // What people and programs see without asking for paths.
    for args in [
        &["file", "list", "--env", "test", "--limit", "1000"][..],
        &["file", "list", "--env", "test", "--output", "json"],
        &["org", "show", "st-mary", "--env", "test"],
        &["queue", "receive", "--env", "test", "--queue", "audit", "--max", "1000"],
        &["doctor", "--env", "test"],
    ] {
        let text = stack.run_text(args);
        assert_eq!(leaks(text.as_bytes()), None, "{args:?}: {text}");
    }
    for f in stack.files() {
        let text = stack.run_text(&["file", "show", f["file"].as_str().unwrap_or_default(), "--env", "test"]);
        assert_eq!(leaks(text.as_bytes()), None, "file show: {text}");
    }
    let metrics = stack.metrics().expect("metrics");
    assert_eq!(leaks(metrics.as_bytes()), None, "{metrics}");
    // Those of Temporal's SDK are among them.
    for name in
        ["leadline_outcomes_total", "temporal_worker_task_slots_available", "temporal_activity_execution_latency"]
    {
        assert!(metrics.contains(&format!("# TYPE {name}")), "{name} is not in\n{metrics}");
    }
    worker.stop(Duration::from_secs(20));
    // Logs, Temporal's database, queues and stacks at the endpoint; not the share, and not the objects themselves.
    let mut found = Vec::new();
    scan(&stack.dir, &["samba", "aws/s3"], &mut found);
    assert!(found.is_empty(), "{found:?}");
    let objects = stack.dir.join("aws/s3");
    let mut keys = Vec::new();
    names(&objects, &mut keys);
    assert!(!keys.is_empty(), "objects are looked for in the wrong place");
    assert_eq!(leaks(keys.join("\n").as_bytes()), None);
}

/// Lines of the worker's log about a step that failed.
fn failed_steps(stack: &Stack, step: &str) -> Vec<serde_json::Value> {
    let log = stack.last_worker_log();
    let lines = log.lines().filter_map(|l| serde_json::from_str::<serde_json::Value>(l).ok());
    lines.filter(|l| l["step"] == step && l["fault"].is_string()).collect()
}

fn names(path: &Path, out: &mut Vec<String>) {
    for e in std::fs::read_dir(path).into_iter().flatten().flatten() {
        out.push(e.file_name().to_string_lossy().into_owned());
        if e.path().is_dir() {
            names(&e.path(), out);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_costs_little() {
    const FILES: u64 = 200;
    let clinic = Clinic::new("st-mary", "ward").with(SETTLE);
    let stack = Stack::start(std::slice::from_ref(&clinic));
    let device = stack.device("st-mary").await;
    let all = jobs("st-mary", "old", FILES, 2);
    for j in &all {
        device.put(&j.path, &j.bytes).await.expect("written");
    }
    let mut worker = stack.worker();
    stack.provision();
    let before = Requests::now(&stack);
    fleet::judge_messages(&stack, &all, LIMIT);
    let after = Requests::now(&stack);
    let spent = carrying_actions(&stack).await;
    let per = |n: f64| n / FILES as f64;
    assert!(spent > 0.0);
    assert!(per(spent) <= 0.1, "{spent} Temporal actions for {FILES} files");
    let (s3, sqs) = after.since(&before);
    assert!(per(s3 as f64) <= 2.0, "{s3} S3 requests for {FILES} files");
    assert!(per(sqs as f64) <= 0.3, "{sqs} SQS requests for {FILES} files");

    // One alone.
    let one = jobs("st-mary", "new", 1, 3);
    device.put(&one[0].path, &one[0].bytes).await.expect("written");
    fleet::judge_messages(&stack, &one, LIMIT);
    let last = Requests::now(&stack);
    let files = stack.files();
    let file = files.iter().find(|f| f["path"] == one[0].path.as_str()).expect("listed");
    let key = file["file"].as_str().expect("a key");
    let shown: serde_json::Value =
        serde_json::from_str(&stack.ok(&["file", "show", key, "--env", "test", "--output", "json"])).expect("JSON");
    let n = shown["actions"].as_u64().expect("actions are told");
    assert!(n <= 3, "{n} Temporal actions for one file alone");
    let (s3, sqs) = last.since(&after);
    assert!(s3 <= 2 && sqs <= 2, "{s3} S3 and {sqs} SQS requests for one file alone");
    worker.stop(Duration::from_secs(20));
}
