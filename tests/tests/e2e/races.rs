//! Devices that change, replace, remove or rename a file in the middle of each step of its lifecycle, with a watch on a
//! real Temporal server: what is delivered is always one whole version, and the version that stays is delivered.

use futures::future::join_all;
use leadline_activities::adapters::aws_fake::Planned;
use leadline_activities::adapters::smb_fake::FakeShare;
use leadline_domain::{ArchiveRule, Digest};
use leadline_formats::synth::SynthFormat;
use leadline_tests::fleet::recording;
use leadline_tests::harness::temporal::Temporal;
use leadline_tests::harness::tools::eventually;
use leadline_tests::rig::{Rig, share_id};
use std::sync::Arc;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(40);
const PATH: &str = "in/a.dcm";

#[derive(Clone, Copy, Debug, PartialEq)]
enum Act {
    Delete,
    Rename,
    Replace,
    Rewrite,
    /// Other samples in place: neither size nor structure tells.
    Patch,
}

const ACTS: [Act; 5] = [Act::Delete, Act::Rename, Act::Replace, Act::Rewrite, Act::Patch];

/// A call that the act comes before: its name, and how many calls of that name pass first.
const SMALL: &[(&str, usize)] =
    &[("observe", 0), ("observe", 1), ("observe", 2), ("observe", 3), ("read", 0), ("put_recording", 0), ("rename", 0)];
const LARGE: &[(&str, usize)] = &[
    ("observe", 1),
    ("observe", 2),
    ("open", 0),
    ("open", 1),
    ("next", 0),
    ("next", 3),
    ("next", 4),
    ("begin_upload", 0),
    ("upload_part", 0),
    ("complete_upload", 0),
    ("promote", 0),
    ("rename", 0),
];

struct Versions {
    first: Vec<u8>,
    second: Vec<u8>,
    patched: Vec<u8>,
}

fn act(share: &FakeShare, what: Act, v: &Versions) {
    match what {
        Act::Delete => share.delete(PATH),
        Act::Rename => share.replace(PATH, "in/b.dcm"),
        Act::Replace => {
            share.put("in/new.tmp", &v.second);
            share.replace("in/new.tmp", PATH);
        }
        Act::Rewrite => share.put(PATH, &v.second),
        Act::Patch => share.put(PATH, &v.patched),
    }
}

async fn each(name: &str, places: &[(&'static str, usize)], small_bytes: u64) {
    let dir = tempfile::tempdir().expect("folder");
    let temporal = Temporal::start(dir.path());
    let cases: Vec<(String, &'static str, usize, Act)> = places
        .iter()
        .flat_map(|(method, nth)| ACTS.map(|a| (*method, *nth, a)))
        .enumerate()
        .map(|(n, (method, nth, a))| (format!("org-{n}"), method, nth, a))
        .collect();
    let orgs: Vec<&str> = cases.iter().map(|c| c.0.as_str()).collect();
    let archive = ArchiveRule::Move { folder: "_archive".into() };
    let rig = Rig::start(&temporal.address(), name, &orgs, &archive, small_bytes).await;
    join_all(cases.iter().enumerate().map(|(n, (org, method, nth, what))| {
        let rig = &rig;
        async move {
            let lane = rig.lane(org);
            let case = format!("{what:?} before {method} {nth}");
            let first = recording(SynthFormat::Dicom, 2 * n as u64);
            let mut patched = first.clone();
            let middle = patched.len() / 2;
            patched[middle] ^= 1;
            let v = Arc::new(Versions { first, second: recording(SynthFormat::Dicom, 2 * n as u64 + 1), patched });
            lane.share.put(PATH, &v.first);
            let store =
                matches!(*method, "put_recording" | "begin_upload" | "upload_part" | "complete_upload" | "promote");
            let faults = if store { &lane.store.faults } else { &*lane.share.faults };
            for _ in 0..*nth {
                faults.plan(method, Planned::Pass);
            }
            let (share, versions, what) = (Arc::clone(&lane.share), Arc::clone(&v), *what);
            faults.plan(method, Planned::Meanwhile(Arc::new(move || act(&share, what, &versions))));
            rig.engine.start_watch(&rig.queue, &lane.org, &share_id()).await.expect("watched");
            eventually(&format!("{case}: the share is done with"), LIMIT, || async {
                let still = lane.share.paths().iter().any(|p| p.starts_with("in/"));
                // A file that is gone before it had a lifecycle leaves no trace.
                let recorded = what == Act::Delete || !lane.audit.accepted().is_empty();
                let (messages, objects) = (lane.ingest.accepted().len(), lane.store.recordings().len());
                let left = lane.share.faults.left() + lane.store.faults.left();
                (left == 0 && !still && recorded && messages == objects).then_some(())
            })
            .await;
            let stays = match what {
                Act::Delete => None,
                Act::Rename => Some(&v.first),
                Act::Replace | Act::Rewrite => Some(&v.second),
                Act::Patch => Some(&v.patched),
            };
            let delivered = || {
                let want = stays.map(|b| Digest::of(b).to_hex());
                want.is_none_or(|w| lane.ingest.accepted().iter().any(|m| m.body.contains(&w)))
            };
            eventually(&format!("{case}: what stays is delivered"), LIMIT, || async { delivered().then_some(()) })
                .await;
            for (_, body, _) in lane.store.recordings() {
                assert!([&v.first, &v.second, &v.patched].iter().any(|b| ***b == *body), "{case}: a mixture is stored");
            }
            let messages = lane.ingest.accepted();
            assert_eq!(messages.len(), lane.store.recordings().len(), "{case}: messages and objects");
        }
    }))
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn small_files() {
    each("races-small", SMALL, 8 << 20).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn large_files() {
    each("races-large", LARGE, 16 << 10).await;
}
