//! Files that belong together, on a real Temporal server with fakes around it: each step failed and repeated, devices
//! that change a file in the middle of each step, every order of arrival. What is delivered is whole, and is all of it.

use futures::future::join_all;
use leadline_activities::adapters::aws_fake::Planned;
use leadline_activities::adapters::smb_fake::FakeShare;
use leadline_domain::lifecycle::Outcome;
use leadline_domain::{ArchiveRule, Digest, Fault, FaultCode};
use leadline_formats::sets::SetRule;
use leadline_formats::synth::{Spec, SynthFormat};
use leadline_tests::fleet::recording;
use leadline_tests::harness::temporal::Temporal;
use leadline_tests::harness::tools::eventually;
use leadline_tests::rig::Lane;
use leadline_tests::set_rig::{LIMIT, digests, entries, judge, messages, objects, rig, rig_with, settled, watch};
use leadline_workflows::ShareWatch;
use std::collections::BTreeSet;
use std::sync::Arc;
use temporalio_client::WorkflowSignalOptions;

const XML: &str = "in/DOE_JANE.xml";
const PDF: &str = "in/doe_jane.PDF";

fn pair() -> SetRule {
    SetRule::Stem { primary: vec!["xml".into()], required: vec!["pdf".into()], optional: vec![] }
}

/// Where a fault is planned, and how many calls pass first.
#[derive(Clone, Copy, Debug)]
enum At {
    Share(&'static str, usize),
    Store(&'static str, usize),
    Ingest,
    Audit,
}

fn plan(lane: &Lane, at: At, what: &[Planned]) {
    let (faults, method, pass) = match at {
        At::Share(method, n) => (&*lane.share.faults, method, n),
        At::Store(method, n) => (&lane.store.faults, method, n),
        At::Ingest => (&lane.ingest.faults, "send", 0),
        At::Audit => (&lane.audit.faults, "send", 0),
    };
    (0..pass).for_each(|_| faults.plan(method, Planned::Pass));
    what.iter().for_each(|p| faults.plan(method, p.clone()));
}

fn plans(at: At) -> Vec<Vec<Planned>> {
    use FaultCode as F;
    let (lost, refused) = match at {
        At::Share(..) => (F::ShareUnreachable, F::ShareAccessDenied),
        At::Store(..) => (F::StoreUnreachable, F::StoreAccessDenied),
        At::Ingest | At::Audit => (F::QueueUnreachable, F::QueueAccessDenied),
    };
    let (lost, refused) = (Fault::new(lost, "planned"), Fault::new(refused, "planned"));
    vec![
        vec![Planned::Fail(lost.clone()); 3],
        vec![Planned::FailAfter(lost.clone()), Planned::Fail(lost.clone()), Planned::FailAfter(lost)],
        vec![Planned::Fail(refused)],
    ]
}

async fn each_step(name: &str, places: &[At], small: u64) {
    let dir = tempfile::tempdir().expect("folder");
    let temporal = Temporal::start(dir.path());
    let cases: Vec<_> = places
        .iter()
        .flat_map(|at| plans(*at).into_iter().map(move |p| (*at, p)))
        .enumerate()
        .map(|(n, (at, p))| (format!("org-{n}"), at, p))
        .collect();
    let orgs: Vec<&str> = cases.iter().map(|c| c.0.as_str()).collect();
    let rig = rig(&temporal, name, &orgs, small, 60_000, &[pair()]).await;
    join_all(cases.iter().enumerate().map(|(n, (org, at, planned))| {
        let rig = &rig;
        async move {
            let (lane, what) = (rig.lane(org), format!("{at:?} {planned:?}"));
            let (xml, pdf) = (recording(SynthFormat::Aecg, n as u64), recording(SynthFormat::Pdf, n as u64));
            plan(lane, *at, planned);
            lane.share.put(XML, &xml);
            lane.share.put(PDF, &pdf);
            watch(rig, lane).await;
            settled(lane, &what, 2).await;
            judge(lane, &[&xml, &pdf], &what);
            let left = lane.share.faults.left() + lane.store.faults.left() + lane.ingest.faults.left();
            assert!(left + lane.audit.faults.left() < planned.len(), "{what}: the planned fault never happened");
        }
    }))
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_step_of_small_members() {
    let places = [
        At::Share("observe", 2),
        At::Share("read", 0),
        At::Share("read", 2),
        At::Share("mkdir", 0),
        At::Share("rename", 0),
        At::Share("rename", 1),
        At::Store("put_recording", 0),
        At::Store("put_recording", 1),
        // The manifest.
        At::Store("put_recording", 2),
        At::Ingest,
        At::Audit,
    ];
    each_step("sets-small", &places, 8 << 20).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_step_of_large_members() {
    let places = [
        At::Share("open", 2),
        At::Share("next", 3),
        At::Store("begin_upload", 0),
        At::Store("upload_part", 1),
        At::Store("complete_upload", 0),
        At::Store("promote", 1),
    ];
    // Everything above 2 KiB counts as large here.
    each_step("sets-large", &places, 2 << 10).await;
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Act {
    Rewrite,
    Replace,
    Delete,
}

fn act(share: &FakeShare, what: Act, second: &[u8]) {
    match what {
        Act::Rewrite => share.put(PDF, second),
        Act::Replace => {
            share.put("in/new.tmp", second);
            share.replace("in/new.tmp", PDF);
        }
        Act::Delete => share.delete(PDF),
    }
}

/// A device changes a member before each step: what is delivered is the set with the one version or with the other, and
/// what could not be delivered any more has an outcome.
#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_changes_in_the_middle() {
    const PLACES: [(&str, usize); 12] = [
        ("observe", 1),
        ("observe", 3),
        ("observe", 4),
        ("observe", 5),
        ("observe", 6),
        ("observe", 7),
        ("read", 0),
        ("read", 1),
        ("read", 2),
        ("put_recording", 0),
        ("put_recording", 2),
        ("rename", 0),
    ];
    let dir = tempfile::tempdir().expect("folder");
    let temporal = Temporal::start(dir.path());
    let cases: Vec<_> = PLACES
        .iter()
        .flat_map(|(m, n)| [Act::Rewrite, Act::Replace, Act::Delete].map(|a| (*m, *n, a)))
        .enumerate()
        .map(|(n, (m, nth, a))| (format!("org-{n}"), m, nth, a))
        .collect();
    let orgs: Vec<&str> = cases.iter().map(|c| c.0.as_str()).collect();
    let rig = rig(&temporal, "sets-races", &orgs, 8 << 20, 4_000, &[pair()]).await;
    let happened = join_all(cases.iter().enumerate().map(|(n, (org, method, nth, what))| {
        let rig = &rig;
        async move {
            let (lane, case) = (rig.lane(org), format!("{what:?} before {method} {nth}"));
            let xml = recording(SynthFormat::Aecg, n as u64);
            let [first, second] = [0, 1].map(|v| recording(SynthFormat::Pdf, 2 * n as u64 + v));
            lane.share.put(XML, &xml);
            lane.share.put(PDF, &first);
            let faults = if *method == "put_recording" { &lane.store.faults } else { &*lane.share.faults };
            (0..*nth).for_each(|_| faults.plan(method, Planned::Pass));
            let (share, version, what) = (Arc::clone(&lane.share), second.clone(), *what);
            faults.plan(method, Planned::Meanwhile(Arc::new(move || act(&share, what, &version))));
            watch(rig, lane).await;
            let (with_first, with_second) = (digests([&xml[..], &first]), digests([&xml[..], &second]));
            // The XML has an outcome, and so has every version that was still there.
            eventually(&case, LIMIT, || async {
                let seen: BTreeSet<Digest> = entries(lane).iter().filter_map(|e| e.sha256).collect();
                let stays = what == Act::Delete || seen.contains(&Digest::of(&second));
                (seen.contains(&Digest::of(&xml)) && stays).then_some(())
            })
            .await;
            for m in messages(lane) {
                assert!([&with_first, &with_second].contains(&&objects(&m)), "{case}: a mixture was delivered");
            }
            // What no message tells of lies where it was.
            let told: BTreeSet<Digest> = messages(lane).iter().flat_map(objects).collect();
            let lying: Vec<Vec<u8>> = lane.share.paths().iter().filter_map(|p| lane.share.content(p)).collect();
            let lying = digests(lying.iter().map(Vec::as_slice));
            assert!(told.contains(&Digest::of(&xml)) || lying.contains(&Digest::of(&xml)), "{case}: the XML is lost");
            if what != Act::Delete {
                let d = Digest::of(&second);
                assert!(told.contains(&d) || lying.contains(&d), "{case}: the PDF is lost");
            }
            faults.left() == 0
        }
    }))
    .await;
    // Some places are reached only when a look more is taken.
    let happened = happened.iter().filter(|h| **h).count();
    assert!(happened * 4 >= cases.len() * 3, "{happened} of {} acts happened", cases.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_order_of_arrival_does_not_matter_and_a_copy_is_linked() {
    let dir = tempfile::tempdir().expect("folder");
    let temporal = Temporal::start(dir.path());
    let orgs = ["org-xml", "org-pdf", "org-both"];
    let rig = rig(&temporal, "sets-order", &orgs, 8 << 20, 60_000, &[pair()]).await;
    let (xml, pdf) = (recording(SynthFormat::Aecg, 1), recording(SynthFormat::Pdf, 1));
    let ids = join_all(orgs.map(|org| {
        let (rig, xml, pdf) = (&rig, &xml, &pdf);
        async move {
            let lane = rig.lane(org);
            watch(rig, lane).await;
            let first = if org == "org-pdf" { [(PDF, pdf), (XML, xml)] } else { [(XML, xml), (PDF, pdf)] };
            for (n, (path, bytes)) in first.into_iter().enumerate() {
                lane.share.put(path, bytes);
                if n == 0 && org != "org-both" {
                    eventually("the first one waits", LIMIT, || async { (lane.share.calls("read") > 0).then_some(()) })
                        .await;
                    assert!(messages(lane).is_empty() && lane.store.members().is_empty());
                }
            }
            settled(lane, org, 2).await;
            judge(lane, &[xml, pdf], org);
            // The same set under another name.
            lane.share.put("in/again.xml", xml);
            lane.share.put("in/again.pdf", pdf);
            settled(lane, org, 4).await;
            assert_eq!(messages(lane).len(), 1, "{org}: the copy was delivered");
            let m = &messages(lane)[0];
            let linked = entries(lane)
                .into_iter()
                .filter(|e| matches!(&e.outcome, Outcome::Duplicate { of } if of.to_string() == m.id));
            assert_eq!(linked.count(), 2, "{org}");
            m.data.sha256
        }
    }))
    .await;
    assert!(ids.iter().all(|d| *d == ids[0]), "one set has one name");
}

/// Bytes that came with a set are no recording of their own, and the other way round: neither makes a duplicate of the
/// other, in whatever order they come.
#[tokio::test(flavor = "multi_thread")]
async fn the_same_bytes_with_a_set_and_alone_are_delivered_both_times() {
    let dir = tempfile::tempdir().expect("folder");
    let temporal = Temporal::start(dir.path());
    let orgs = ["org-before", "org-after", "org-never"];
    let rig = rig(&temporal, "sets-alone", &orgs, 8 << 20, 3_000, &[pair()]).await;
    let (xml, pdf) = (recording(SynthFormat::Aecg, 1), recording(SynthFormat::Pdf, 1));
    join_all(orgs.map(|org| {
        let (rig, xml, pdf) = (&rig, &xml, &pdf);
        async move {
            let lane = rig.lane(org);
            watch(rig, lane).await;
            let count = |n: usize| async move {
                eventually(org, LIMIT, || async { (messages(lane).len() >= n).then_some(()) }).await;
            };
            let set = || {
                lane.share.put(XML, xml);
                lane.share.put(PDF, pdf);
            };
            match org {
                // No rule claims the name of this copy.
                "org-before" => {
                    lane.share.put("in/copy.bin", pdf);
                    count(1).await;
                    set();
                }
                "org-after" => {
                    set();
                    count(1).await;
                    lane.share.put("in/copy.bin", pdf);
                }
                _ => {
                    // A set that never becomes one.
                    lane.share.put(PDF, pdf);
                    eventually(org, LIMIT, || async { (!entries(lane).is_empty()).then_some(()) }).await;
                    lane.share.put("in/copy.bin", pdf);
                    count(1).await;
                    set();
                }
            }
            count(2).await;
            let by_format: BTreeSet<String> = messages(lane).into_iter().map(|m| m.data.format).collect();
            assert_eq!(by_format, BTreeSet::from(["set".to_owned(), "pdf".to_owned()]), "{org}");
            // A further copy is one of the recording.
            lane.share.put("in/copy-2.bin", pdf);
            eventually(org, LIMIT, || async {
                let d = Digest::of(pdf).to_hex();
                entries(lane)
                    .iter()
                    .any(|e| matches!(&e.outcome, Outcome::Duplicate { of } if of.as_str().ends_with(&d)))
                    .then_some(())
            })
            .await;
            assert_eq!(messages(lane).len(), 2, "{org}");
        }
    }))
    .await;
}

/// Quarantined when its time is over; complete when the missing one comes, whether or not the watch has begun anew.
#[tokio::test(flavor = "multi_thread")]
async fn a_missing_companion_that_comes_late() {
    let dir = tempfile::tempdir().expect("folder");
    let temporal = Temporal::start(dir.path());
    let orgs = ["org-same", "org-anew", "org-at-once"];
    let rig = rig(&temporal, "sets-late", &orgs, 8 << 20, 1_500, &[pair()]).await;
    join_all(orgs.map(|org| {
        let rig = &rig;
        async move {
            let lane = rig.lane(org);
            let id = watch(rig, lane).await;
            let (xml, pdf) = (recording(SynthFormat::Aecg, 1), recording(SynthFormat::Pdf, 1));
            lane.share.put(XML, &xml);
            let code = Outcome::Quarantined { code: FaultCode::SetIncomplete };
            eventually(org, LIMIT, || async { entries(lane).iter().any(|e| e.outcome == code).then_some(()) }).await;
            assert!(lane.share.content(XML).is_some() && messages(lane).is_empty());
            assert!(lane.store.members().is_empty(), "nothing of it was stored");
            match org {
                "org-same" => {
                    let lists = lane.share.calls("list");
                    eventually(org, LIMIT, || async { (lane.share.calls("list") > lists + 2).then_some(()) }).await;
                }
                "org-anew" => {
                    let handle = rig.engine.client().get_workflow_handle::<ShareWatch>(&id);
                    let lists = lane.share.calls("list");
                    handle.signal(ShareWatch::restart, (), WorkflowSignalOptions::default()).await.expect("signalled");
                    eventually(org, LIMIT, || async { (lane.share.calls("list") > lists + 3).then_some(()) }).await;
                }
                _ => {}
            }
            lane.share.put(PDF, &pdf);
            eventually(org, LIMIT, || async { (!messages(lane).is_empty()).then_some(()) }).await;
            settled(lane, org, 2).await;
            assert_eq!(objects(&messages(lane)[0]), digests([&xml[..], &pdf]), "{org}");
            assert_eq!(messages(lane).len(), 1, "{org}");
        }
    }))
    .await;
}

/// Left in place by rule, a set is delivered once, however often the watch begins anew; with a member that was written
/// again it is another set.
#[tokio::test(flavor = "multi_thread")]
async fn a_set_that_stays_on_the_share_and_changes() {
    let dir = tempfile::tempdir().expect("folder");
    let temporal = Temporal::start(dir.path());
    let orgs = ["org-same", "org-anew"];
    let rig = rig_with(&temporal, "sets-left", &orgs, 8 << 20, 60_000, &[pair()], &ArchiveRule::Leave).await;
    join_all(orgs.map(|org| {
        let rig = &rig;
        async move {
            let lane = rig.lane(org);
            let id = watch(rig, lane).await;
            let (xml, pdf) = (recording(SynthFormat::Aecg, 1), recording(SynthFormat::Pdf, 1));
            lane.share.put(XML, &xml);
            lane.share.put(PDF, &pdf);
            eventually(org, LIMIT, || async { (entries(lane).len() == 2).then_some(()) }).await;
            let lists = lane.share.calls("list");
            if org == "org-anew" {
                let handle = rig.engine.client().get_workflow_handle::<ShareWatch>(&id);
                handle.signal(ShareWatch::restart, (), WorkflowSignalOptions::default()).await.expect("signalled");
            }
            eventually(org, LIMIT, || async { (lane.share.calls("list") > lists + 3).then_some(()) }).await;
            assert_eq!(messages(lane).len(), 1, "{org}");
            let second = recording(SynthFormat::Aecg, 2);
            lane.share.put(XML, &second);
            eventually(org, LIMIT, || async { (messages(lane).len() == 2).then_some(()) }).await;
            assert_eq!(objects(&messages(lane)[1]), digests([&second[..], &pdf]), "{org}");
            assert!(lane.share.paths().iter().all(|p| p.starts_with("in/")), "{org}: nothing was moved");
        }
    }))
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_marker_releases_a_file_and_is_archived_with_it() {
    let dir = tempfile::tempdir().expect("folder");
    let temporal = Temporal::start(dir.path());
    let rule = SetRule::Marker { primary: vec![], marker: "done".into(), appended: true };
    let orgs = ["org-first", "org-last", "org-twice"];
    let rig = rig(&temporal, "sets-marker", &orgs, 8 << 20, 60_000, &[rule]).await;
    join_all(orgs.map(|org| {
        let rig = &rig;
        async move {
            let lane = rig.lane(org);
            watch(rig, lane).await;
            let put = |path: &str, bytes: &[u8]| lane.share.put(path, bytes);
            // Content that cannot tell.
            let bytes = b"samples of a device that nobody knows".as_slice();
            if org == "org-first" {
                put("in/a.raw.DONE", b"");
            }
            put("in/a.raw", bytes);
            if org != "org-first" {
                eventually(org, LIMIT, || async { (lane.share.calls("read") > 0).then_some(()) }).await;
                assert!(messages(lane).is_empty());
                put("in/a.raw.done", b"");
            }
            settled(lane, org, 2).await;
            let m = &messages(lane)[0];
            assert_eq!((m.data.sha256, m.data.objects.as_ref()), (Digest::of(bytes), None), "an ordinary message");
            assert_eq!((lane.store.recordings().len(), lane.store.members().len()), (1, 0));
            assert_eq!(lane.share.paths().len(), 2, "file and marker are in the archive");
            if org == "org-twice" {
                put("in/b.raw", bytes);
                put("in/b.raw.done", b"");
                settled(lane, org, 4).await;
                assert_eq!(messages(lane).len(), 1, "the same bytes once more");
            }
        }
    }))
    .await;
}

/// A WFDB record as its files, by extension.
fn record(seed: u64) -> [(String, Vec<u8>); 3] {
    let files = SynthFormat::Wfdb.write(&Spec::new(seed)).expect("a record is made");
    let of = |e: &str| files.iter().find(|f| f.name.ends_with(e)).map(|f| (format!("in/{}", f.name), f.bytes.clone()));
    [".hea", ".dat", ".atr"].map(|e| of(e).expect("a file"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wfdb_record_is_delivered_when_its_header_is_satisfied() {
    let dir = tempfile::tempdir().expect("folder");
    let temporal = Temporal::start(dir.path());
    let orgs = ["org-first", "org-last", "org-short", "org-sums"];
    let rig = rig(&temporal, "sets-wfdb", &orgs, 8 << 20, 60_000, &[SetRule::Wfdb { folder: false }]).await;
    join_all(orgs.map(|org| {
        let rig = &rig;
        async move {
            let lane = rig.lane(org);
            watch(rig, lane).await;
            let [hea, dat, atr] = record(7);
            let bad = match org {
                "org-short" => dat.1[..dat.1.len() - 2].to_vec(),
                "org-sums" => {
                    let mut b = dat.1.clone();
                    b[100] ^= 1;
                    b
                }
                _ => dat.1.clone(),
            };
            let mut files = vec![(&hea.0, hea.1.clone()), (&dat.0, bad.clone()), (&atr.0, atr.1.clone())];
            if org == "org-last" {
                files.rotate_left(1);
            }
            for (path, bytes) in files {
                lane.share.put(path, &bytes);
            }
            if bad != dat.1 {
                // Judged: the header was read once more than the look at it needs, and so were samples of the right length.
                let reads = if org == "org-short" { 6 } else { 7 };
                eventually(org, LIMIT, || async { (lane.share.calls("read") >= reads).then_some(()) }).await;
                assert!(messages(lane).is_empty() && lane.store.members().is_empty(), "{org}");
                lane.share.put(&dat.0, &dat.1);
            }
            settled(lane, org, 3).await;
            judge(lane, &[&hea.1, &dat.1, &atr.1], org);
            let manifest = String::from_utf8(lane.store.recordings()[0].1.to_vec()).expect("text");
            let base = hea.0.trim_start_matches("in/").trim_end_matches(".hea");
            assert!(manifest.contains(&format!("\"base\":\"{base}\"")), "{manifest}");
            let told = entries(lane).iter().any(|e| e.evidence.iter().any(|s| s.contains("were added up")));
            assert!(told, "{org}: the header's word is on record");
        }
    }))
    .await;
}
