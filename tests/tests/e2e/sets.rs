//! Files that belong together, end to end: devices on Samba, the worker as it is started in production, the queue as its
//! consumer sees it, and what an operator is told.

use leadline_domain::Digest;
use leadline_formats::synth::{Spec, SynthFormat};
use leadline_tests::fleet::{self, Job, Login, recording};
use leadline_tests::harness::stack::{Clinic, Stack};
use leadline_tests::harness::tools::wait_for;
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(180);
const PAIR: &str = r#"sets = [{ kind = "stem", primary = ["xml"], required = ["pdf"] }]"#;

fn settle(stalled_ms: u64) -> String {
    format!(
        "settle = {{ strong_quiet_ms = 100, weak_quiet_ms = 4000, unverifiable_quiet_ms = 1500, stalled_after_ms = {stalled_ms} }}"
    )
}

/// Digests of a message's objects; of the object itself if it has one only.
fn contents(m: &Value) -> BTreeSet<String> {
    let of = |v: &Value| v["sha256"].as_str().unwrap_or_default().to_owned();
    match m["data"]["objects"].as_array() {
        Some(all) => all.iter().map(of).collect(),
        None => BTreeSet::from([of(&m["data"])]),
    }
}

fn digests(contents: &[&[u8]]) -> BTreeSet<String> {
    contents.iter().map(|b| Digest::of(b).to_hex()).collect()
}

/// The state and the reason of a file, as `leadline file list` tells them.
fn state(stack: &Stack, path: &str) -> Option<(String, String)> {
    let f = stack.files().into_iter().find(|f| f["path"] == path)?;
    Some((f["state"].as_str()?.to_owned(), f["why"].as_str()?.to_owned()))
}

fn await_state(stack: &Stack, path: &str, want: &str, why: &str) {
    wait_for(&format!("{path} is {want}: {why}"), LIMIT, || {
        state(stack, path).is_some_and(|(s, w)| s == want && w.contains(why))
    });
}

/// The next message, which is all that comes.
fn one(stack: &Stack) -> Value {
    let mut all = stack.await_messages("ingest", 1, LIMIT);
    assert_eq!(all.len(), 1, "{all:#?}");
    all.remove(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recording_and_its_printout() {
    let clinic = Clinic::new("st-mary", "ward").with(&settle(5_000)).with(PAIR);
    let stack = Stack::start(std::slice::from_ref(&clinic));
    let worker = stack.worker();
    let device = stack.device("st-mary").await;
    stack.provision();
    let xml = |n| recording(SynthFormat::Aecg, n);
    let pdf = |n| recording(SynthFormat::Pdf, n);

    // The printout comes slowly, and later than the recording.
    device.put("in/DOE_JANE.xml", &xml(1)).await.expect("written");
    await_state(&stack, "in/DOE_JANE.xml", "waiting", "a companion is missing");
    let (bytes, half) = (pdf(1), pdf(1).len() / 2);
    let mut slow = device.create("in/DOE_JANE.pdf").await.expect("created");
    slow.write(0, &bytes[..half]).await.expect("written");
    await_state(&stack, "in/DOE_JANE.pdf", "waiting", "a writer has the file open");
    assert!(stack.take_messages("ingest").is_empty());
    slow.write(half as u64, &bytes[half..]).await.expect("written");
    slow.close().await.expect("closed");
    let m = one(&stack);
    assert_eq!(contents(&m), digests(&[&xml(1), &pdf(1)]));
    assert_eq!(
        (m["data"]["format"].as_str(), m["data"]["objects"][0]["role"].as_str()),
        (Some("set"), Some("primary"))
    );
    assert!(!m.to_string().contains("DOE"), "{m}");
    stack.await_quiet(LIMIT);
    let shown = stack.ok(&["file", "list", "--env", "test", "--output", "json"]);
    let key = shown.lines().next().map(|l| serde_json::from_str::<Value>(l).expect("JSON")).expect("a file");
    let shown = stack.ok(&["file", "show", key["file"].as_str().expect("a key"), "--env", "test"]);
    assert!(shown.contains("of a stem set") && shown.contains(m["id"].as_str().expect("an id")), "{shown}");
    assert!(!shown.contains("DOE"));

    // The other way round; a file that no rule claims goes its way meanwhile, as it does without rules.
    device.put("in/b.pdf", &pdf(2)).await.expect("written");
    let alone = recording(SynthFormat::Dicom, 3);
    device.put("in/alone.dcm", &alone).await.expect("written");
    let m = one(&stack);
    assert_eq!((contents(&m), m["data"].get("objects")), (digests(&[&alone]), None));
    device.put("in/b.xml", &xml(2)).await.expect("written");
    assert_eq!(contents(&one(&stack)), digests(&[&xml(2), &pdf(2)]));

    // The same set under another name is linked.
    device.put("in/c.xml", &xml(2)).await.expect("written");
    device.put("in/c.pdf", &pdf(2)).await.expect("written");
    await_state(&stack, "in/c.pdf", "duplicate", "of st-mary.");
    await_state(&stack, "in/c.xml", "duplicate", "of st-mary.");
    assert!(stack.take_messages("ingest").is_empty());

    // One that stays alone is quarantined where it is, and comes back by itself.
    device.put("in/d.xml", &xml(4)).await.expect("written");
    await_state(&stack, "in/d.xml", "quarantined", "set.incomplete");
    assert!(stack.take_messages("ingest").is_empty());
    device.put("in/d.pdf", &pdf(4)).await.expect("written");
    assert_eq!(contents(&one(&stack)), digests(&[&xml(4), &pdf(4)]));
    await_state(&stack, "in/d.xml", "delivered", "");
    let jobs = |n: &[u64]| -> Vec<Job> {
        let job = |bytes| Job { org: "st-mary".into(), path: String::new(), bytes };
        n.iter().flat_map(|n| [job(xml(*n)), job(pdf(*n))]).collect()
    };
    tokio::task::block_in_place(|| fleet::judge_archive(&stack, &jobs(&[1, 2, 4]), LIMIT));
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_and_a_marker() {
    let wfdb = r#"sets = [{ kind = "wfdb" }]"#;
    let marked = r#"done_markers = [".done"]"#;
    let clinics = [
        Clinic::new("kings-road", "clinic").with(&settle(60_000)).with(wfdb),
        Clinic::new("old-town", "holter").with(&settle(60_000)).with(marked),
    ];
    let stack = Stack::start(&clinics);
    let worker = stack.worker();
    let (records, holter) = (stack.device("kings-road").await, stack.device("old-town").await);
    stack.provision();
    let record = |seed| {
        let files = SynthFormat::Wfdb.write(&Spec::new(seed)).expect("a record is made");
        let of =
            |e: &str| files.iter().find(|f| f.name.ends_with(e)).map(|f| (format!("in/{}", f.name), f.bytes.clone()));
        [".hea", ".dat", ".atr"].map(|e| of(e).expect("a file"))
    };
    // The header last, and first; then one whose samples are cut, which is not delivered before they are whole.
    for (seed, first) in [(1, 1), (2, 0)] {
        let files = record(seed);
        for n in 0..3 {
            let (path, bytes) = &files[(first + n) % 3];
            records.put(path, bytes).await.expect("written");
        }
        let m = one(&stack);
        assert_eq!(contents(&m), digests(&[&files[0].1, &files[1].1, &files[2].1]), "record {seed}");
    }
    let [hea, dat, atr] = record(3);
    records.put(&dat.0, &dat.1[..dat.1.len() - 400]).await.expect("written");
    records.put(&atr.0, &atr.1).await.expect("written");
    records.put(&hea.0, &hea.1).await.expect("written");
    await_state(&stack, &hea.0, "waiting", "a companion is missing");
    // So it says before the samples were looked at, too: let the quiet period of all of them pass.
    wait_for("the record is judged", LIMIT, || {
        let seen = stack.files();
        seen.iter().filter(|f| f["set"]["waits_for"] == "companion" && f["times"]["settled_ms"].is_i64()).count() == 3
    });
    assert!(stack.take_messages("ingest").is_empty());
    records.put(&dat.0, &dat.1).await.expect("written");
    assert_eq!(contents(&one(&stack)), digests(&[&hea.1, &dat.1, &atr.1]));

    // A marker, which is no part of what is delivered.
    let scp = recording(SynthFormat::Scp, 9);
    holter.put("in/ROE_JOHN.scp", &scp).await.expect("written");
    await_state(&stack, "in/ROE_JOHN.scp", "waiting", "the marker is missing");
    assert!(stack.take_messages("ingest").is_empty());
    holter.put("in/ROE_JOHN.scp.done", b"").await.expect("written");
    let m = one(&stack);
    assert_eq!((contents(&m), m["data"].get("objects")), (digests(&[&scp]), None), "an ordinary message");
    stack.await_quiet(LIMIT);
    wait_for("file and marker are archived", LIMIT, || {
        let root = stack.samba.path("holter");
        fleet::digests(&root.join("in")).is_empty() && fleet::digests(&root.join("_archive")).len() == 2
    });
    // The audit queue has an entry of each file, with the recording of its set where it has one.
    let entries = stack.take_messages("audit");
    let of_sets = entries.iter().filter(|e| e["set"].is_string()).count();
    assert!(of_sets >= 10, "{of_sets} entries name their set");
    drop(worker);
}

/// Every part killed while devices write sets, half of one here and half of another there.
#[tokio::test(flavor = "multi_thread")]
async fn each_part_killed_in_the_middle() {
    const SETS: u64 = 24;
    let clinic = Clinic::new("st-mary", "ward").with(&settle(86_400_000)).with(PAIR);
    let mut stack = Stack::start(std::slice::from_ref(&clinic));
    let mut worker = stack.worker();
    let _ = stack.device("st-mary").await;
    stack.provision();
    let pairs: Vec<[Vec<u8>; 2]> =
        (0..SETS).map(|n| [recording(SynthFormat::Aecg, n + 1), recording(SynthFormat::Pdf, n + 1)]).collect();
    let job = |n: usize, which: usize| Job {
        org: "st-mary".into(),
        path: format!("in/{n}.{}", ["xml", "pdf"][which]),
        bytes: pairs[n][which].clone(),
    };
    // Recordings and printouts by two devices, in opposite orders.
    let xml: Vec<Job> = (0..pairs.len()).map(|n| job(n, 0)).collect();
    let pdf: Vec<Job> = (0..pairs.len()).rev().map(|n| job(n, 1)).collect();
    let written = Arc::new(AtomicUsize::new(0));
    let writing: Vec<_> = [xml.clone(), pdf.clone()]
        .into_iter()
        .map(|jobs| {
            let (login, written) = (Login::of(&stack, &clinic), Arc::clone(&written));
            tokio::spawn(async move { fleet::write_all(&login, &jobs, Duration::from_millis(60), &written).await })
        })
        .collect();
    let all = 2 * pairs.len();
    tokio::task::block_in_place(|| {
        for round in 0..8 {
            wait_for("the devices get on", LIMIT, || written.load(Ordering::Relaxed) >= (round + 1) * all / 9);
            match round % 4 {
                1 => {
                    stack.samba.kill();
                    stack.samba.restart();
                }
                2 => {
                    stack.temporal.kill();
                    stack.temporal.restart();
                }
                3 => {
                    stack.aws.kill();
                    stack.aws.restart();
                }
                _ => {
                    worker.kill();
                    worker = stack.worker();
                }
            }
        }
    });
    for w in writing {
        w.await.expect("a device wrote all its files");
    }
    tokio::task::block_in_place(|| {
        let mut got = stack.await_messages("ingest", pairs.len(), LIMIT);
        let jobs: Vec<Job> = xml.into_iter().chain(pdf).collect();
        fleet::judge_archive(&stack, &jobs, LIMIT);
        stack.await_quiet(LIMIT);
        got.extend(stack.take_messages("ingest"));
        let want: BTreeSet<_> = pairs.iter().map(|[x, p]| digests(&[x, p])).collect();
        let delivered: BTreeSet<_> = got.iter().map(contents).collect();
        assert_eq!(delivered, want, "every set, and nothing but sets");
        assert_eq!(got.len(), pairs.len(), "a set came twice");
    });
}
