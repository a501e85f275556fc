//! A new payload key while everything runs: what was written before and what is written after is read by whoever was
//! there before, and nobody is started again.

use leadline_formats::synth::{Spec, SynthFormat};
use leadline_tests::harness::stack::{Clinic, Stack};
use leadline_tests::harness::tools::wait_for;
use leadline_tests::rig::connect_plain;
use leadline_tests::ways_in::{WaysIn, open_to};
use serde_json::Value;
use std::collections::BTreeSet;
use std::time::Duration;
use temporalio_client::{UntypedWorkflow, WorkflowFetchHistoryOptions};

const LIMIT: Duration = Duration::from_secs(90);

/// Ids of the keys in a history, as Temporal has them.
async fn keys_in(stack: &Stack, workflow: &str) -> BTreeSet<String> {
    let client = connect_plain(&stack.temporal.address()).await;
    let handle = client.get_workflow_handle::<UntypedWorkflow>(workflow.to_owned());
    let history = handle.fetch_history(WorkflowFetchHistoryOptions::default()).to_json().await.expect("a history");
    let mut ids = BTreeSet::new();
    collect(&serde_json::from_slice(&history).expect("JSON"), &mut ids);
    ids
}

fn collect(v: &Value, ids: &mut BTreeSet<String>) {
    match v {
        Value::Object(o) => {
            if let Some(id) = o.get("encryption-key-id") {
                ids.insert(String::from_utf8(from_base64(id)).expect("an id"));
            }
            o.values().for_each(|v| collect(v, ids));
        }
        Value::Array(a) => a.iter().for_each(|v| collect(v, ids)),
        _ => {}
    }
}

fn from_base64(v: &Value) -> Vec<u8> {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.decode(v.as_str().expect("base64")).expect("base64")
}

/// The file of a name, once it is delivered.
fn delivered(stack: &Stack, name: &str) -> Value {
    let mut found = Value::Null;
    wait_for("the file is delivered", LIMIT, || {
        let files = stack.files();
        let file = files.into_iter().find(|f| f["path"].as_str().is_some_and(|p| p.ends_with(name)));
        found = file.unwrap_or_default();
        found["state"] == "delivered"
    });
    found
}

fn keys(stack: &Stack, more: &[&str]) -> (String, BTreeSet<String>) {
    let args = [&["env", "payload-keys", "test", "--output", "json"], more].concat();
    let told: Value = serde_json::from_str(&stack.ok(&args)).expect("JSON");
    let ids = told["keys"].as_array().expect("keys").iter().filter_map(Value::as_str).map(str::to_owned).collect();
    (told["current"].as_str().expect("a key").to_owned(), ids)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_key_is_learned_by_whoever_runs_and_old_payloads_stay_readable() {
    let stack = Stack::start(&[Clinic::new("st-mary", "ward").with(&open_to("MARY"))]);
    let ports = WaysIn::configure(&stack);
    let device = stack.device("st-mary").await;
    let mut worker = stack.worker();
    let bytes = |seed| SynthFormat::Pdf.write(&Spec::new(seed)).expect("a recording").remove(0).bytes;
    tokio::task::block_in_place(|| stack.provision());
    let ways = WaysIn::start(&stack, ports);
    let uploaded = |id: &str| wait_for("the upload is done", LIMIT, || ways.upload("st-mary", id)["done"] == true);
    let first = ways.web("st-mary", "application/pdf", &bytes(4));
    tokio::task::block_in_place(|| uploaded(&first));
    device.put("in/before.pdf", &bytes(1)).await.expect("written");
    let before = tokio::task::block_in_place(|| delivered(&stack, "before.pdf"));
    let old = tokio::task::block_in_place(|| keys(&stack, &[]));
    assert_eq!((old.0.as_str(), old.1.len()), ("k1", 1));

    let new = tokio::task::block_in_place(|| keys(&stack, &["--rotate"]));
    assert_eq!((new.1.len(), new.1.contains("k1")), (2, true), "{new:?}");
    assert_ne!(new.0, "k1");

    // The worker knows the first key only. A command that starts now encrypts with the new one: the worker reads it, and
    // goes on with it.
    let _ = tokio::task::block_in_place(|| stack.ok(&["org", "probe", "st-mary", "--env", "test"]));
    device.put("in/after.pdf", &bytes(2)).await.expect("written");
    let after = tokio::task::block_in_place(|| delivered(&stack, "after.pdf"));
    let of = |f: &Value| f["workflow_id"].as_str().expect("an id").to_owned();
    assert_eq!(keys_in(&stack, &of(&before)).await, BTreeSet::from(["k1".to_owned()]));
    assert_eq!(keys_in(&stack, &of(&after)).await, BTreeSet::from([new.0.clone()]), "the new key encrypts");

    // The gateway knows the first key only, and reads what the worker answers it with the new one.
    let second = ways.web("st-mary", "application/pdf", &bytes(5));
    tokio::task::block_in_place(|| uploaded(&second));
    tokio::task::block_in_place(|| uploaded(&first));

    // Both are read by a command, and by this program's replay of histories.
    for f in [&before, &after] {
        let key = f["file"].as_str().expect("a key");
        let show = tokio::task::block_in_place(|| stack.ok(&["file", "show", key, "--env", "test"]));
        assert!(show.contains("delivered"), "{show}");
    }
    let replay = tokio::task::block_in_place(|| stack.ok(&["replay", "--env", "test"]));
    assert!(replay.is_empty(), "{replay}");
    // The watch's history began with the old key, and a worker that knows both takes it over.
    worker.stop(Duration::from_secs(20));
    let mut worker = stack.worker();
    device.put("in/later.pdf", &bytes(3)).await.expect("written");
    let _ = tokio::task::block_in_place(|| delivered(&stack, "later.pdf"));
    worker.stop(Duration::from_secs(20));
}
