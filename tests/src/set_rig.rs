//! What tests of sets share: a rig whose shares have set rules, and what came of them.

use crate::harness::temporal::Temporal;
use crate::harness::tools::eventually;
use crate::rig::{Lane, Rig, connect, share_id};
use leadline_domain::lifecycle::Outcome;
use leadline_domain::{ArchiveRule, Digest, IngestMessage, LedgerEntry, SettleRule};
use leadline_formats::sets::SetRule;
use leadline_formats::synth::{Spec, SynthFormat};
use std::collections::BTreeSet;
use std::time::Duration;

/// When to give up waiting for anything.
pub const LIMIT: Duration = Duration::from_secs(90);

/// A rig whose sets are given up after `stalled_ms`.
///
/// # Panics
/// When Temporal does not take it.
pub async fn rig(temporal: &Temporal, name: &str, orgs: &[&str], small: u64, stalled_ms: u64, sets: &[SetRule]) -> Rig {
    let archive = ArchiveRule::Move { folder: "_archive".into() };
    rig_with(temporal, name, orgs, small, stalled_ms, sets, &archive).await
}

/// The same with a rule for the clinic's copies.
///
/// # Panics
/// When Temporal does not take it.
pub async fn rig_with(
    temporal: &Temporal,
    name: &str,
    orgs: &[&str],
    small: u64,
    stalled_ms: u64,
    sets: &[SetRule],
    archive: &ArchiveRule,
) -> Rig {
    let settle = SettleRule {
        strong_quiet_ms: 100,
        weak_quiet_ms: 2_000,
        unverifiable_quiet_ms: 700,
        stalled_after_ms: stalled_ms,
    };
    Rig::with_sets(connect(&temporal.address()).await, name, orgs, archive, small, &settle, sets).await
}

/// Begins to watch an organization's share; the id of the watch.
///
/// # Panics
/// When Temporal does not take it.
pub async fn watch(rig: &Rig, lane: &Lane) -> String {
    rig.engine.start_watch(&rig.queue, &lane.org, &share_id()).await.expect("watched")
}

/// A record of two segments and a gap, as its files: the header of the record comes first, then each segment's
/// header and samples, then annotations of the whole.
///
/// # Panics
/// When it cannot be made.
#[must_use]
pub fn segmented(first: &Spec, second: &Spec) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    let mut frames = Vec::new();
    let mut annotations = Vec::new();
    for (spec, name) in [(first, "r01"), (second, "r02")] {
        let parts = SynthFormat::Wfdb.write(spec).expect("a record is made");
        let part = |e: &str| parts.iter().find(|p| p.name.ends_with(e)).expect("a file");
        let header = String::from_utf8(part(".hea").bytes.clone()).expect("text");
        let stem = part(".hea").name.trim_end_matches(".hea");
        let header = header.replace(stem, name);
        frames.push(header.split(' ').nth(3).and_then(|f| f.parse::<u64>().ok()).expect("frames"));
        files.push((format!("in/7/{name}.hea"), header.into_bytes()));
        files.push((format!("in/7/{name}.dat"), part(".dat").bytes.clone()));
        annotations.clone_from(&part(".atr").bytes);
    }
    let total = frames.iter().sum::<u64>() + 250;
    let master =
        format!("r/3 {} {} {total}\nr01 {}\n~ 250\nr02 {}\n", first.leads, first.sample_rate_hz, frames[0], frames[1]);
    files.insert(0, ("in/7/r.hea".into(), master.into_bytes()));
    files.push(("in/7/r.atr".into(), annotations));
    files
}

/// Messages so far.
///
/// # Panics
/// When one is none.
#[must_use]
pub fn messages(lane: &Lane) -> Vec<IngestMessage> {
    lane.ingest.accepted().iter().map(|m| serde_json::from_str(&m.body).expect("a message")).collect()
}

/// Audit entries so far.
///
/// # Panics
/// When one is none.
#[must_use]
pub fn entries(lane: &Lane) -> Vec<LedgerEntry> {
    lane.audit.accepted().iter().map(|m| serde_json::from_str(&m.body).expect("an entry")).collect()
}

/// Digests of contents.
pub fn digests<'a>(contents: impl IntoIterator<Item = &'a [u8]>) -> BTreeSet<Digest> {
    contents.into_iter().map(Digest::of).collect()
}

/// The objects of a message.
#[must_use]
pub fn objects(m: &IngestMessage) -> BTreeSet<Digest> {
    m.data.objects.iter().flatten().map(|o| o.sha256).collect()
}

/// Waits until nothing is left in the watched folder and every file has its entry.
///
/// # Panics
/// After [`LIMIT`].
pub async fn settled(lane: &Lane, what: &str, files: usize) {
    eventually(what, LIMIT, || async {
        let left = lane.share.paths().iter().any(|p| p.starts_with("in/"));
        let recorded: BTreeSet<String> = entries(lane).into_iter().map(|e| e.file).collect();
        (!left && recorded.len() >= files).then_some(())
    })
    .await;
}

/// One delivery with these contents and nothing else, the copies archived, each member on record with the set's id.
///
/// # Panics
/// When it is otherwise.
pub fn judge(lane: &Lane, contents: &[&[u8]], what: &str) {
    let all = messages(lane);
    assert_eq!(all.len(), 1, "{what}: messages");
    let (m, want) = (&all[0], digests(contents.iter().copied()));
    assert_eq!((m.data.format.as_str(), objects(m)), ("set", want.clone()), "{what}");
    let stored = lane.store.recordings();
    assert_eq!(stored.len(), 1, "{what}: only the manifest is a recording");
    assert_eq!((stored[0].0, stored[0].1.len() as u64), (m.data.sha256, m.data.size), "{what}: the manifest");
    let members = lane.store.members();
    assert_eq!(members.iter().map(|(d, _, _)| *d).collect::<BTreeSet<_>>(), want, "{what}: objects");
    assert!(members.iter().all(|(d, body, _)| Digest::of(body) == *d));
    assert_eq!(lane.store.open_uploads(), 0, "{what}: an upload is left open");
    let paths = lane.share.paths();
    assert!(paths.iter().all(|p| p.starts_with("_archive/")), "{what}: left on the share");
    let kept: Vec<Vec<u8>> = paths.iter().filter_map(|p| lane.share.content(p)).collect();
    assert_eq!(digests(kept.iter().map(Vec::as_slice)), want, "{what}: the clinic's copies");
    let entries = entries(lane);
    assert_eq!(entries.iter().filter_map(|e| e.sha256).collect::<BTreeSet<_>>(), want, "{what}: entries");
    for e in entries {
        assert_eq!(e.set.as_ref().map(ToString::to_string), Some(m.id.clone()), "{what}");
        assert!(matches!(e.outcome, Outcome::Delivered { .. }), "{what}: {:?}", e.outcome);
    }
}
