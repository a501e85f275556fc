//! What the processor says lands in the history of what was delivered, what it does not say is missed, and copies go
//! from storage to storage of one organization: through the binary, against an endpoint that enforces IAM.

use leadline_formats::synth;
use leadline_tests::harness::past_us::{PastUs, session_of};
use leadline_tests::harness::stack::{ACCOUNT, Clinic, Stack};
use leadline_tests::harness::tools::wait_for;
use leadline_tests::rig::scope;
use serde_json::Value;
use std::collections::BTreeSet;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(120);
const OF: [&str; 4] = ["--org", "st-mary", "--env", "test"];

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|l| serde_json::from_str(l).unwrap_or_else(|_| panic!("{text}"))).collect()
}

/// What a command prints as JSON, and its exit status.
fn json(stack: &Stack, args: &[&str]) -> (Option<i32>, Vec<Value>) {
    let out = stack.run(&[args, &["--output", "json"]].concat());
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(out.status.code() != Some(1), "{args:?}: {text}{}", String::from_utf8_lossy(&out.stderr));
    (out.status.code(), lines(&text))
}

fn missing(stack: &Stack) -> (Option<i32>, Value) {
    let (code, mut said) = json(stack, &[&["outcome", "list", "--missing", "--within", "0"], &OF[..]].concat());
    (code, said.pop().unwrap_or_default())
}

fn collect(stack: &Stack) -> Value {
    json(stack, &["outcome", "collect", "--env", "test"]).1.pop().unwrap_or_default()
}

async fn send(root: &PastUs, body: &str) {
    let url = root.sqs.get_queue_url().queue_name("leadline-test-outcomes").send().await.expect("the queue");
    let url = url.queue_url().unwrap_or_default().to_owned();
    root.sqs.send_message().queue_url(url).message_body(body).send().await.expect("sent");
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_and_copies() {
    let clinics = [
        Clinic::new("st-mary", "ward").with("\n[storage.processing]\nkeep_days = 7\n[storage.archive]"),
        Clinic::new("kings-road", "clinic"),
    ];
    let stack = Stack::start(&clinics);
    let _worker = stack.worker();
    stack.provision();
    let device = stack.device("st-mary").await;
    for n in 0..3u64 {
        let file = synth::dicom::write_ecg(&synth::Spec::new(40 + n)).expect("a recording");
        device.put(&format!("in/{n}.dcm"), &file).await.expect("written");
    }
    wait_for("three deliveries", LIMIT, || stack.files().iter().filter(|f| f["state"] == "delivered").count() == 3);
    let _ = stack.take_messages("audit");

    reported(&stack).await;
    copied(&stack).await;
    moved(&stack).await;
    looked_for_on_schedule(&stack);
}

async fn reported(stack: &Stack) {
    // Nobody said anything yet: that is missed.
    let (code, report) = missing(stack);
    assert_eq!((code, &report["missing"], &report["recordings"]), (Some(3), &3.into(), &3.into()), "{report}");

    // The processor takes the messages and reports on each.
    let (_, processed) = json(stack, &["processor", "--simulate", "--once", "--env", "test", "--failing", "0.5"]);
    assert_eq!(processed.len(), 3);
    assert!(stack.take_messages("ingest").is_empty(), "the processor took them off the queue");
    assert_eq!(collect(stack), serde_json::json!({"recorded": 3, "refused": 0, "left": 0}));

    // It is in the history of each file, in the lists and in the audit, and nothing is missing any more.
    let (code, report) = missing(stack);
    assert_eq!((code, &report["missing"]), (Some(0), &0.into()), "{report}");
    let said: BTreeSet<String> = processed.iter().map(|p| format!("{} {}", p["recording"], p["status"])).collect();
    let (_, listed) = json(stack, &[&["outcome", "list"], &OF[..]].concat());
    let of = |l: &Value| format!("{} {}", l["recording"], l["reports"][0]["status"]);
    assert_eq!(listed.iter().map(of).collect::<BTreeSet<_>>(), said);
    let key = stack.files()[0]["file"].as_str().unwrap_or_default().to_owned();
    let (_, shown) = json(stack, &["file", "show", &key, "--env", "test"]);
    assert_eq!(shown[0]["processing"][0]["processor"], "leadline-simulation/1", "{shown:?}");
    let text = stack.ok(&["file", "show", &key, "--env", "test"]);
    assert!(text.contains("PROCESSING") && text.contains("by leadline-simulation/1"), "{text}");
    let audited: Vec<Value> = stack.await_messages("audit", 3, LIMIT);
    assert!(audited.iter().all(|e| e["kind"] == "processing" && e["organization"] == "st-mary"), "{audited:?}");

    // The same again changes nothing; another one under the same id, garbage, an unknown recording and one that is
    // another organization's are refused, and the first report stays.
    let root = PastUs::new(&stack.aws.url()).await;
    let first = processed[0].to_string();
    send(&root, &first).await;
    assert_eq!(collect(stack)["recorded"], 1);
    let mut other = processed[0].clone();
    other["processor"] = "another/1".into();
    let recording = processed[0]["recording"].as_str().unwrap_or_default();
    for body in [
        other.to_string(),
        "John Doe".to_owned(),
        first.replace(&recording[..20], "st-mary.000000000000"),
        first.replace("st-mary.", "kings-road."),
    ] {
        send(&root, &body).await;
    }
    assert_eq!(collect(stack), serde_json::json!({"recorded": 0, "refused": 4, "left": 0}));
    let (_, kept) = json(stack, &["outcome", "show", recording, "--env", "test"]);
    assert_eq!((kept.len(), &kept[0]["processor"]), (1, &"leadline-simulation/1".into()));
}

async fn copied(stack: &Stack) {
    let transfer = |more: &[&str]| {
        let args = [&["transfer", "st-mary", "--env", "test", "--output", "json"], more].concat();
        let out = stack.run(&args);
        let text = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
        (out.status.code(), text)
    };
    let across = ["--from", "data", "--to", "processing"];
    // One, then all: what is there is not copied again.
    let (_, listed) = json(stack, &[&["outcome", "list"], &OF[..]].concat());
    let one = listed[0]["recording"].as_str().unwrap_or_default().to_owned();
    for (more, copied, there) in [(vec!["--recording", one.as_str()], 1, 0), (vec![], 2, 1), (vec![], 0, 3)] {
        let (code, text) = transfer(&[&across[..], &more].concat());
        let report: Value = text.lines().find_map(|l| serde_json::from_str(l).ok()).unwrap_or_default();
        assert_eq!(code, Some(0), "{text}");
        assert_eq!((&report["copied"], &report["there"]), (&copied.into(), &there.into()), "{text}");
    }
    // Never elsewhere, never back, and nothing is removed.
    let foreign = one.replace("st-mary", "kings-road");
    for more in [
        &["--from", "data", "--to", "kings-road"][..],
        &["--from", "data", "--to", "leadline-test-kings-road-111111111111"],
        &["--from", "kings-road/data", "--to", "processing"],
        &["--from", "processing", "--to", "data"],
        &["--from", "data", "--to", "data"],
        &["--from", "data", "--to", "processing", "--recording", &foreign],
    ] {
        let (code, text) = transfer(more);
        assert!(code == Some(1) && text.contains("transfer.refused"), "{more:?}: {text}");
    }
    for more in [["--from", "data", "--to", "archive", "--move"], ["--from", "archive", "--to", "processing", "--move"]]
    {
        let (code, text) = transfer(&more);
        assert!(code == Some(1) && text.contains("transfer.kept"), "{more:?}: {text}");
    }
    let out = stack.run_text(&["transfer", "kings-road", "--env", "test", "--from", "data", "--to", "processing"]);
    assert!(out.contains("transfer.refused") && out.contains("has no storage processing"), "{out}");
}

/// From the copies for the processor to the archive: verified there, on record, gone here; the originals stay.
async fn moved(stack: &Stack) {
    let transfer = |more: &[&str]| -> Value {
        let args = [&["transfer", "st-mary", "--env", "test", "--output", "json"], more].concat();
        stack.ok(&args).lines().find_map(|l| serde_json::from_str(l).ok()).unwrap_or_default()
    };
    let numbers = |r: &Value| ["copied", "there", "removed"].map(|k| r[k].as_u64().unwrap_or(0));
    let root = PastUs::new(&stack.aws.url()).await;
    let s3 = &root.s3;
    let bucket = |storage: &str| format!("leadline-test-st-mary-{ACCOUNT}{storage}");
    let held = async |storage: &str| {
        let all = s3.list_objects_v2().bucket(bucket(storage)).prefix("recordings/").send().await.expect("listed");
        all.contents().iter().filter_map(|o| o.key().map(str::to_owned)).collect::<BTreeSet<_>>()
    };
    let all = held("").await;
    assert_eq!((all.len(), held("-prc").await), (3, all.clone()));
    // The organization's role as every other part of leadline takes it removes nothing, however it asks.
    let (one, role) = (
        all.iter().next().expect("a recording"),
        session_of(&stack.aws.url(), &scope("st-mary"), "leadline-worker").await,
    );
    let refused = role.delete_object().bucket(bucket("-prc")).key(one).send().await;
    assert_eq!(refused.expect_err("refused").raw_response().map(|r| r.status().as_u16()), Some(403));
    // Nor does the session of a move, where recordings are kept; nor a version anywhere.
    let mover = session_of(&stack.aws.url(), &scope("st-mary"), "leadline-move").await;
    let version = s3.head_object().bucket(bucket("-prc")).key(one).send().await.expect("there");
    let version = version.version_id().expect("versions are kept").to_owned();
    for (storage, version) in [("", None), ("-prc", Some(version))] {
        let refused = mover.delete_object().bucket(bucket(storage)).key(one).set_version_id(version).send().await;
        assert_eq!(refused.expect_err("refused").raw_response().map(|r| r.status().as_u16()), Some(403), "{storage}");
    }
    let _ = stack.take_messages("audit");
    let away = ["--from", "processing", "--to", "archive", "--move"];
    assert_eq!(numbers(&transfer(&away)), [3, 0, 3]);
    assert_eq!((held("").await, held("-prc").await, held("-arc").await), (all.clone(), BTreeSet::new(), all.clone()));
    let on_record = stack.await_messages("audit", 3, LIMIT);
    assert!(on_record.iter().all(|e| e["kind"] == "move" && e["to"] == "archive"), "{on_record:?}");
    // Once more is nothing to do; copied anew, it is moved anew, to where it is already.
    assert_eq!(numbers(&transfer(&away)), [0, 0, 0]);
    assert_eq!(numbers(&transfer(&["--from", "archive", "--to", "processing"])), [3, 0, 0]);
    assert_eq!(numbers(&transfer(&away)), [0, 3, 3]);
    assert_eq!((held("-prc").await, held("-arc").await), (BTreeSet::new(), all));
    let ids = |all: &[Value]| all.iter().map(|e| e["id"].to_string()).collect::<BTreeSet<_>>();
    let again = stack.await_messages("audit", 3, LIMIT);
    assert!(again.len() == 3 && ids(&again).is_disjoint(&ids(&on_record)), "{again:?}");
}

/// The schedule that onboarding made looks for missing reports too.
fn looked_for_on_schedule(stack: &Stack) {
    let path = stack.environments().join("test.toml");
    let text = std::fs::read_to_string(&path).expect("environment file");
    std::fs::write(&path, format!("{text}\n[outcomes]\nwithin_h = 1\n")).expect("environment file");
    stack.temporal.cli(&["schedule", "trigger", "--schedule-id", "outcomes/test/st-mary"]).expect("triggered");
    wait_for("the look is over", LIMIT, || stack.temporal.completed("OutcomeCheck") == 1);
    wait_for("the metric of the last look", LIMIT, || {
        stack.metrics().is_some_and(|m| m.contains("leadline_recordings_without_report{org=\"st-mary\"} 0"))
    });
}
