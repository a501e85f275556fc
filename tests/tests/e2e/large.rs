//! A large file: in parts, with bounded memory, going on after the worker or the store was killed in the middle.

use leadline_domain::Digest;
use leadline_tests::fleet::{self, Job};
use leadline_tests::harness::past_us::PastUs;
use leadline_tests::harness::stack::{ACCOUNT, Clinic, Stack};
use leadline_tests::harness::tools::{peak_data_kib, wait_for};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(180);
const SETTLE: &str = "settle = { strong_quiet_ms = 100, weak_quiet_ms = 60000, unverifiable_quiet_ms = 500, stalled_after_ms = 86400000 }";
const SIZE: usize = 320 << 20;
/// Of 8 MiB each.
const PARTS: u64 = (SIZE >> 23) as u64;
/// Of a worker besides its program, in KiB, whatever the size of a file. With the program of a release build it stays
/// within 128 MiB.
const MEMORY_KIB: u64 = 96 << 10;

/// Bytes that no two parts share.
fn content(len: usize, seed: u64) -> Vec<u8> {
    let mut out = vec![0; len];
    fleet::noise(&mut out, &mut (seed | 1));
    out
}

/// Bytes below a folder of the machine.
fn bytes_below(dir: &std::path::Path) -> u64 {
    std::fs::read_dir(dir)
        .into_iter()
        .flatten()
        .flatten()
        .map(|e| if e.path().is_dir() { bytes_below(&e.path()) } else { e.metadata().map_or(0, |m| m.len()) })
        .sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_in_the_middle() {
    let clinic = Clinic::new("st-mary", "ward").with(SETTLE);
    let mut stack = Stack::start(std::slice::from_ref(&clinic));
    let mut worker = stack.worker();
    let _ = stack.device("st-mary").await;
    stack.provision();
    let mut all = Vec::new();
    for (n, what) in ["worker", "store"].into_iter().enumerate() {
        let job = Job { org: "st-mary".into(), path: format!("in/{what}.bin"), bytes: content(SIZE, n as u64 + 1) };
        // On the server itself: over SMB a device would take longer than the upload.
        let path = stack.samba.path("ward").join(&job.path);
        std::fs::write(&path, &job.bytes).expect("written");
        let _ =
            std::process::Command::new("chown").args([&clinic.user(), &path.to_string_lossy().into_owned()]).status();
        let before = parts(&stack);
        wait_for("some parts are there", LIMIT, || parts(&stack) >= before + 16);
        if what == "worker" {
            worker.kill();
            worker = stack.worker();
        } else {
            // The endpoint forgets uploads when it is killed: what is resumed is not there any more.
            stack.aws.kill();
            stack.aws.restart();
        }
        fleet::judge_messages(&stack, std::slice::from_ref(&job), LIMIT);
        if what == "worker" {
            // The new worker sent what was missing, a part that was cut off and a repeat or two included, and not all.
            let sent = parts(&stack);
            assert!((1..=PARTS - 12).contains(&sent), "{sent} of {PARTS} parts were sent after the kill");
        }
        all.push(job);
    }
    let peak = peak_data_kib(worker.pid()).expect("the worker runs");
    assert!(peak <= MEMORY_KIB, "the worker took {peak} KiB");
    fleet::judge_archive(&stack, &all, LIMIT);
    fleet::judge_ledger(&stack, &all, LIMIT);
    let stored = bytes_below(&stack.dir.join("aws/s3"));
    assert!(stored >= 2 * SIZE as u64, "{stored} bytes are stored");
    let digests: Vec<String> = all.iter().map(|j| Digest::of(&j.bytes).to_hex()).collect();
    for f in stack.files() {
        assert!(digests.iter().any(|d| f["sha256"] == d.as_str()), "another content was stored");
    }
    worker.stop(Duration::from_secs(20));
}

/// Parts that the running worker has uploaded.
fn parts(stack: &Stack) -> u64 {
    stack.aws_requests("operation=\"UploadPart\"").unwrap_or(0)
}

/// Pieces that the running worker has had the store copy.
fn copies(stack: &Stack) -> u64 {
    stack.aws_requests("operation=\"UploadPartCopy\"").unwrap_or(0)
}

/// What S3 copies in pieces because of its size, and here because the environment's file says so: into its place, from one
/// storage to another, and through the death of the worker in the middle of that.
#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_killed_in_the_middle_goes_on_with_its_pieces() {
    const SIZE: usize = 300 << 20;
    const PIECES: u64 = 60;
    let clinic = Clinic::new("st-mary", "ward").with(SETTLE).with("\n[storage.processing]");
    let stack = Stack::start(std::slice::from_ref(&clinic));
    let file = stack.environments().join("test.toml");
    let text = std::fs::read_to_string(&file).expect("the environment's file");
    std::fs::write(&file, text.replace("[worker]\n", "[worker]\ncopy_at_once_mib = 5\n")).expect("written");
    let mut worker = stack.worker();
    let _ = stack.device("st-mary").await;
    stack.provision();
    let job = Job { org: "st-mary".into(), path: "in/long.bin".into(), bytes: content(SIZE, 3) };
    let path = stack.samba.path("ward").join(&job.path);
    std::fs::write(&path, &job.bytes).expect("written");
    let _ = std::process::Command::new("chown").args([&clinic.user(), &path.to_string_lossy().into_owned()]).status();
    fleet::judge_messages(&stack, std::slice::from_ref(&job), LIMIT);
    let before = copies(&stack);
    assert!(before >= PIECES, "{before}: it was put in its place in pieces");

    let mut transfer = stack.command(&["transfer", "st-mary", "--env", "test", "--from", "data", "--to", "processing"]);
    let transfer = transfer.args(["--output", "json"]).stdout(std::process::Stdio::piped()).spawn().expect("started");
    wait_for("some pieces are copied", LIMIT, || copies(&stack) >= before + 12);
    worker.kill();
    worker = stack.worker();
    let ended = transfer.wait_with_output().expect("ended");
    assert!(ended.status.success(), "{ended:?}");
    let report: serde_json::Value = serde_json::from_slice(&ended.stdout).expect("JSON");
    assert_eq!((&report["copied"], &report["bytes"]), (&1.into(), &SIZE.into()), "{report}");
    // At least eight of the twelve were there, for four are on their way at once.
    let again = copies(&stack);
    assert!((1..=PIECES - 8).contains(&again), "{again} of {PIECES} pieces were copied after the kill");

    let root = PastUs::new(&stack.aws.url()).await;
    let bucket = format!("leadline-test-st-mary-{ACCOUNT}-prc");
    let key = leadline_domain::message::recording_key(&Digest::of(&job.bytes));
    let there = root.s3.get_object().bucket(&bucket).key(key).send().await.expect("it is there");
    let bytes = there.body.collect().await.expect("read").into_bytes();
    assert!(bytes == job.bytes, "another content");
    let open = root.s3.list_multipart_uploads().bucket(&bucket).send().await.expect("listed");
    assert!(open.uploads().is_empty(), "{open:?}");
    worker.stop(Duration::from_secs(20));
}
