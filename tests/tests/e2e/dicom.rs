//! DICOM through all of it: dcmtk's sender, the gateway, a lifecycle, one message, the processor's report.

use leadline_formats::synth;
use leadline_tests::harness::stack::{Clinic, Stack};
use leadline_tests::harness::tools::{Owned, free_port, wait_for};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(120);

fn dcmtk(tool: &str, port: u16, called: &str, more: &[&str], file: Option<&Path>) -> Output {
    let mut c = Command::new(tool);
    c.args(["-aet", "CART7", "-aec", called, "-to", "20"]).args(more).arg("127.0.0.1").arg(port.to_string());
    c.args(file).output().expect("dcmtk is installed: script/bootstrap --test")
}

fn delivered(stack: &Stack) -> Vec<Value> {
    stack.files().into_iter().filter(|f| f["state"] == "delivered").collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sent_object_is_delivered_once_and_its_report_comes_back() {
    let clinic = Clinic::new("st-mary", "ward").with("\n[gateway.dicom]\ncalled_ae_title = \"MARY\"");
    let stack = Stack::start(&[clinic]);
    let port = free_port();
    let file = stack.environments().join("test.toml");
    let text = std::fs::read_to_string(&file).expect("environment file");
    std::fs::write(&file, format!("{text}\n[gateway.dicom]\nlisten = \"127.0.0.1:{port}\"\n")).expect("written");
    let _worker = stack.worker();
    stack.provision();
    let log = std::fs::File::create(stack.dir.join("gateway.log")).expect("log file");
    let mut c = stack.command(&["gateway", "--env", "test", "--metrics", "127.0.0.1:0"]);
    let _gateway = Owned::start(c.stdout(log.try_clone().expect("log file")).stderr(log));
    wait_for("the gateway listens", LIMIT, || dcmtk("echoscu", port, "MARY", &[], None).status.success());

    let ecg = stack.dir.join("ecg.dcm");
    std::fs::write(&ecg, synth::dicom::write_ecg(&synth::Spec::new(61)).expect("a recording")).expect("written");
    let store = |more: &[&str]| {
        let out = dcmtk("storescu", port, "MARY", &[&["-R"], more].concat(), Some(&ecg));
        let log = std::fs::read_to_string(stack.dir.join("gateway.log")).unwrap_or_default();
        assert!(out.status.success(), "{}{log}", String::from_utf8_lossy(&out.stderr));
    };
    store(&[]);
    wait_for("a delivery", LIMIT, || delivered(&stack).len() == 1);
    // Once more, and in another transfer syntax: the first is a repeat, the second another encoding of the recording.
    store(&[]);
    store(&["-xi"]);
    wait_for("the other encoding", LIMIT, || delivered(&stack).len() == 2);
    assert!(!dcmtk("storescu", port, "NOBODY", &["-R"], Some(&ecg)).status.success());
    stack.await_quiet(LIMIT);
    let files = stack.files();
    assert_eq!(files.len(), 2, "{files:?}");
    assert!(files.iter().all(|f| f["organization"] == "st-mary" && f["share"] == "in-dicom"), "{files:?}");

    // The processor sees each once; the gateway takes in what it says.
    let out = stack.ok(&["processor", "--simulate", "--once", "--env", "test", "--output", "json"]);
    let seen: BTreeSet<String> =
        out.lines().map(|l| serde_json::from_str::<Value>(l).expect("a report")["recording"].to_string()).collect();
    assert_eq!((seen.len(), out.lines().count()), (2, 2), "{out}");
    let missing = ["outcome", "list", "--org", "st-mary", "--env", "test", "--missing", "--within", "0"];
    wait_for("the reports are in the history", LIMIT, || stack.run(&missing).status.success());
    for f in &files {
        let shown = stack.ok(&["file", "show", f["file"].as_str().unwrap_or_default(), "--env", "test"]);
        assert!(shown.contains("processed by leadline-simulation/1"), "{shown}");
    }
}
