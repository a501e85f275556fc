//! WFDB records of several segments, each record in a folder of its own: on a real Temporal server with fakes around it.
//! Nothing is delivered before each segment is there, as long as its header says, and adds up.

use futures::future::join_all;
use leadline_activities::adapters::aws_fake::Planned;
use leadline_domain::{Digest, Fault, FaultCode};
use leadline_formats::sets::SetRule;
use leadline_formats::synth::{Spec, SynthFormat};
use leadline_tests::harness::temporal::Temporal;
use leadline_tests::harness::tools::eventually;
use leadline_tests::set_rig::{LIMIT, entries, judge, messages, rig, segmented, settled, watch};
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether an object of a manifest has this place, as (segment, file).
fn placed(manifest: &Value, content: &[u8], role: &str, segment: Option<u64>, file: Option<u64>) -> bool {
    let objects = manifest["objects"].as_array().expect("objects");
    objects.iter().any(|o| {
        let place = (o["segment"].as_u64(), o["file"].as_u64());
        o["sha256"] == Digest::of(content).to_hex() && o["role"] == role && place == (segment, file)
    })
}

async fn delivered_when_whole(name: &str, small: u64) {
    let dir = tempfile::tempdir().expect("folder");
    let temporal = Temporal::start(dir.path());
    let orgs = ["org-first", "org-last", "org-late", "org-short", "org-sums"];
    let rig = rig(&temporal, name, &orgs, small, 60_000, &[SetRule::Wfdb { folder: true }]).await;
    join_all(orgs.map(|org| {
        let rig = &rig;
        async move {
            let lane = rig.lane(org);
            let whole = segmented(&Spec::new(7), &Spec::new(8));
            let mut first = whole.clone();
            let at = whole.iter().position(|(p, _)| p.ends_with("r02.dat")).expect("samples");
            match org {
                "org-last" => first.rotate_left(1),
                "org-late" => drop(first.remove(at)),
                "org-short" => first[at].1.truncate(whole[at].1.len() - 2),
                "org-sums" => first[at].1[100] ^= 1,
                _ => {}
            }
            first.iter().for_each(|(path, bytes)| lane.share.put(path, bytes));
            watch(rig, lane).await;
            if !matches!(org, "org-first" | "org-last") {
                // Judged: the header of the record was read once more than the look at it needs.
                let small = first.iter().filter(|(_, b)| b.len() as u64 <= small);
                let reads = small.count() as u64 + 3;
                eventually(org, LIMIT, || async { (lane.share.calls("read") >= reads).then_some(()) }).await;
                assert!(messages(lane).is_empty() && lane.store.members().is_empty(), "{org}");
                lane.share.put(&whole[at].0, &whole[at].1);
            }
            settled(lane, org, whole.len()).await;
            let contents: Vec<&[u8]> = whole.iter().map(|(_, b)| b.as_slice()).collect();
            judge(lane, &contents, org);
            let manifest = &lane.store.recordings()[0].1;
            let manifest: Value = serde_json::from_slice(manifest).expect("JSON");
            assert_eq!(manifest["base"], "r", "{org}");
            for (content, role, segment, file) in [
                (contents[0], "primary", None, None),
                (contents[1], "required", Some(0), None),
                (contents[2], "required", Some(0), Some(0)),
                (contents[3], "required", Some(2), None),
                (contents[4], "required", Some(2), Some(0)),
                (contents[5], "optional", None, None),
            ] {
                assert!(placed(&manifest, content, role, segment, file), "{org}: {manifest}");
            }
            assert!(!manifest.to_string().contains("r02"), "no name of a file: {manifest}");
            let evidence = entries(lane).into_iter().flat_map(|e| e.evidence);
            assert!(evidence.into_iter().any(|s| s.contains("were added up")), "{org}");
        }
    }))
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_of_several_segments_is_delivered_when_each_is_whole() {
    delivered_when_whole("recs-small", 8 << 20).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn samples_of_large_files_are_added_up_too() {
    delivered_when_whole("recs-large", 4 << 10).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_records_in_one_folder_are_not_mixed() {
    let dir = tempfile::tempdir().expect("folder");
    let temporal = Temporal::start(dir.path());
    let rig = rig(&temporal, "recs-two", &["org-a"], 8 << 20, 3_000, &[SetRule::Wfdb { folder: true }]).await;
    let lane = rig.lane("org-a");
    for (n, seed) in [("a", 1), ("b", 2)] {
        for file in SynthFormat::Wfdb.write(&Spec::new(seed)).expect("a record is made") {
            let stem = file.name.split('.').next().unwrap_or_default().to_owned();
            let text = String::from_utf8_lossy(&file.bytes).replace(&stem, n).into_bytes();
            let bytes = if file.name.ends_with(".hea") { text } else { file.bytes };
            lane.share.put(&format!("in/7/{}", file.name.replace(&stem, n)), &bytes);
        }
    }
    watch(&rig, lane).await;
    let entries = eventually("quarantined", LIMIT, || async {
        let e = entries(lane);
        (e.len() == 6).then_some(e)
    })
    .await;
    assert!(messages(lane).is_empty());
    let code = |e: &leadline_domain::LedgerEntry| serde_json::to_value(&e.outcome).expect("JSON").to_string();
    assert!(entries.iter().all(|e| code(e).contains("set.incomplete")), "{:?}", entries[0].outcome);
    assert!(entries.iter().flat_map(|e| &e.evidence).any(|s| s.contains("several records")));
}

/// What happens while large samples are added up and stored: the first two calls of `open` are for the sums.
#[tokio::test(flavor = "multi_thread")]
async fn adding_up_that_fails_is_repeated_and_what_changes_meanwhile_is_not_delivered() {
    let lost = || Planned::Fail(Fault::new(FaultCode::ShareUnreachable, "planned"));
    let cases = [("open", 0), ("open", 1), ("open", 2), ("next", 0), ("next", 3), ("observe", 9)];
    let cases: Vec<_> = cases.iter().flat_map(|(m, n)| [(*m, *n, false), (*m, *n, true)]).collect();
    let orgs: Vec<String> = (0..cases.len()).map(|n| format!("org-{n}")).collect();
    let orgs: Vec<&str> = orgs.iter().map(String::as_str).collect();
    let dir = tempfile::tempdir().expect("folder");
    let temporal = Temporal::start(dir.path());
    let rig = rig(&temporal, "recs-faults", &orgs, 4 << 10, 60_000, &[SetRule::Wfdb { folder: true }]).await;
    join_all(cases.iter().zip(&orgs).map(|((method, nth, changes), org)| {
        let rig = &rig;
        async move {
            let lane = rig.lane(org);
            let case = format!("{method} {nth}, changes: {changes}");
            let whole = segmented(&Spec::new(7), &Spec::new(8));
            let contents: Vec<&[u8]> = whole.iter().map(|(_, b)| b.as_slice()).collect();
            whole.iter().for_each(|(path, bytes)| lane.share.put(path, bytes));
            (0..*nth).for_each(|_| lane.share.faults.plan(method, Planned::Pass));
            let (path, mut broken) = whole[4].clone();
            broken[100] ^= 1;
            let share = Arc::clone(&lane.share);
            let acted = Arc::new(AtomicBool::new(false));
            let done = Arc::clone(&acted);
            let act = move || {
                share.put(&path, &broken);
                done.store(true, Ordering::Release);
            };
            lane.share.faults.plan(method, if *changes { Planned::Meanwhile(Arc::new(act)) } else { lost() });
            watch(rig, lane).await;
            if *changes {
                let happened = || async { acted.load(Ordering::Acquire).then_some(()) };
                eventually(&case, LIMIT, happened).await;
                // Broken by then: nothing is delivered before the right samples are back.
                assert!(messages(lane).is_empty(), "{case}");
                lane.share.put(&whole[4].0, &whole[4].1);
            }
            settled(lane, &case, whole.len()).await;
            judge(lane, &contents, &case);
            assert_eq!(lane.share.faults.left(), 0, "{case}: it never happened");
        }
    }))
    .await;
}
