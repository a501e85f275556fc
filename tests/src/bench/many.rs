//! Many small files.

use super::parts::Parts;
use super::table::Row;
use crate::harness::tools::wait_for;
use crate::spent::{Requests, carrying_actions};
use bytes::Bytes;
use futures::StreamExt;
use leadline_activities::engine::{Again, Started};
use leadline_activities::ports::queue::{Outgoing, Queue};
use leadline_activities::ports::share::Share;
use leadline_activities::ports::staging::Once;
use leadline_activities::ports::store::{RecordingMeta, Shelf};
use leadline_domain::lifecycle::Intake;
use leadline_domain::{ArchiveRule, Digest, Fingerprint, SettleRule, ShareId, SharePath};
use leadline_formats::synth::{Spec, SynthFormat};
use leadline_workflows::ids;
use std::collections::BTreeSet;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

pub(super) const LIMIT: Duration = Duration::from_secs(900);
/// Single lifecycles that are under way at once.
const WAITING: usize = 200;

/// About 50 KB, whole, and different from every other.
fn file(seed: u64) -> Vec<u8> {
    let mut spec = Spec::new(seed);
    (spec.seconds, spec.sample_rate_hz) = (8, 250);
    SynthFormat::Dicom.write(&spec).expect("a recording is made").remove(0).bytes
}

/// Names and contents; `from` keeps phases apart.
pub(super) fn files(n: u64, from: u64) -> Vec<(String, Vec<u8>)> {
    (from..from + n).map(|s| (format!("ecg-{s:06}.dcm"), file(s))).collect()
}

#[allow(clippy::cast_precision_loss)] // counts of files and bytes stay far below 2^52
pub(super) fn rate(n: u64, took: Duration) -> f64 {
    n as f64 / took.as_secs_f64()
}

pub(super) fn digests(files: &[(String, Vec<u8>)]) -> BTreeSet<String> {
    files.iter().map(|f| Digest::of(&f.1).to_hex()).collect()
}

/// What a file costs, for `n` of them.
#[allow(clippy::cast_precision_loss)] // counts
fn costs(rows: &mut Vec<Row>, n: u64, actions: f64, (s3, sqs): (u64, u64), [most, most_s3, most_sqs]: [f64; 3]) {
    let n = n as f64;
    rows.push(Row::new("  Temporal actions a file", actions / n, "").most(most));
    rows.push(Row::new("  S3 requests a file", s3 as f64 / n, "").most(most_s3));
    rows.push(Row::new("  SQS requests a file", sqs as f64 / n, "").most(most_sqs));
}

/// The requests to AWS that `n` files cost, and nothing else: no share, no workflow, no archive.
async fn requests_alone(p: &Parts<'_>, n: u64) -> Duration {
    let (store, queue) = (p.store().await, p.ingest_queue().await);
    let all = files(n, 4_000_000);
    let began = Instant::now();
    let mut groups = futures::stream::iter(all.chunks(10).enumerate())
        .map(|(group, files)| {
            let (store, queue) = (&store, &queue);
            async move {
                for (_, bytes) in files {
                    let digest = Digest::of(bytes);
                    let meta = RecordingMeta {
                        claim: "bench".into(),
                        format: "dicom".into(),
                        media_type: "text/plain".into(),
                        shelf: Shelf::Recordings,
                    };
                    store.put_recording(&digest, Bytes::copy_from_slice(bytes), &meta).await.expect("stored");
                    // The claim of its identity.
                    let (name, claim) = (&digest.to_hex()[..32], "c".repeat(500));
                    store.put_once(Once::Identities, name, Bytes::new(), &claim).await.expect("claimed");
                }
                // One message for the processor and one for the audit trail.
                for kind in ["ingest", "audit"] {
                    let messages: Vec<Outgoing> = (0..files.len())
                        .map(|i| Outgoing {
                            body: format!("{{\"pad\":\"{}\"}}", "m".repeat(890)),
                            dedup_id: format!("{kind}-{group}-{i}"),
                            group_id: format!("bench.{:x}", i % 16),
                        })
                        .collect();
                    assert!(queue.send(&messages).await.iter().all(Result::is_ok), "sent");
                }
            }
        })
        .buffer_unordered(32);
    while groups.next().await.is_some() {}
    let took = began.elapsed();
    drop(groups);
    let _ = tokio::task::block_in_place(|| p.stack.take_messages("ingest"));
    took
}

/// A backlog that lies on the share when the worker starts, beside `rclone copy` of the same files, whose files a second
/// are returned.
///
/// # Panics
/// When a file is not delivered, or rclone fails.
pub async fn backlog(p: &Parts<'_>, n: u64, rows: &mut Vec<Row>) -> f64 {
    let all = files(n, 1_000_000);
    let size = all.iter().map(|f| f.1.len() as u64).sum::<u64>() / n;
    p.put("copy", all.clone());
    let mut best = Duration::MAX;
    for (round, transfers) in ["8", "16", "32"].into_iter().enumerate() {
        let mut c = p.rclone();
        let bucket = format!("dst:rclone-{round}");
        assert!(p.rclone().args(["mkdir", &bucket]).status().expect("rclone runs").success(), "rclone failed");
        c.args(["copy", &format!("src:{}/copy", p.clinic.share), &bucket]);
        c.args(["--transfers", transfers, "--checkers", transfers, "--no-traverse", "--no-check-dest", "--quiet"]);
        c.args(["--s3-no-head", "--s3-no-check-bucket"]);
        let began = Instant::now();
        assert!(c.status().expect("rclone runs").success(), "rclone failed");
        best = best.min(began.elapsed());
    }
    let wanted = digests(&all);
    p.put("new", all);
    std::fs::rename(p.on_disk("new"), p.on_disk("in/backlog")).expect("renamed");
    let began = Instant::now();
    let mut worker = p.stack.worker();
    tokio::task::block_in_place(|| wait_for("the backlog is archived", LIMIT, || p.is_empty("in/backlog")));
    let took = began.elapsed();
    let (s3, sqs) = Requests::now(p.stack).since(&Requests { s3: 0, sqs: 0 });
    p.judge(wanted);
    let what = format!("backlog of {n} files of {} KB, from worker start", size / 1000);
    rows.push(Row::new(&what, rate(n, took), "files/s").beside("rclone copy", rate(n, best)).least(1.0));
    let some = n.div_ceil(5);
    let alone = rate(some, requests_alone(p, some).await);
    rows.push(Row::new("  the same", rate(n, took), "files/s").beside("its requests to AWS alone", alone));
    costs(rows, n, carrying_actions(p.stack).await, (s3, sqs), [0.1, 2.0, 0.3]);
    rows.push(Row::new("  peak memory of the worker", Parts::peak_mib(worker.pid()), "MiB").most(128.0));
    worker.stop(Duration::from_secs(20));
    rate(n, best)
}

/// Files with a lifecycle each, at most about 200 of them under way; `copied`: what rclone did, files a second.
///
/// # Panics
/// When a lifecycle fails.
pub async fn singles(p: &Parts<'_>, n: u64, copied: Option<f64>, rows: &mut Vec<Row>) {
    // Not in the watched folder: what starts them is this program.
    let all = files(n, 2_000_000);
    let wanted = digests(&all);
    p.put("one-by-one", all);
    let share = p.share();
    let entries = share.list(&SharePath::new("one-by-one"), &[]).await.expect("listed").files;
    let engine = p.engine().await;
    let worker = p.stack.worker();
    let id = ShareId::parse(&p.clinic.share).expect("an id");
    let queue = Parts::task_queue();
    // The first send asks for the queue's address.
    let mut one = files(1, 1_999_999);
    let mut wanted = wanted;
    wanted.extend(digests(&one));
    let device = p.stack.device(&p.clinic.org).await;
    let (name, bytes) = one.remove(0);
    device.put(&format!("in/{name}"), &bytes).await.expect("written");
    tokio::task::block_in_place(|| wait_for("the watch runs", LIMIT, || p.is_empty("in")));
    let spent = carrying_actions(p.stack).await;
    let before = Requests::now(p.stack);
    let began = Instant::now();
    let mut ids = Vec::new();
    for some in entries.chunks(WAITING / 4) {
        // Devices write as time goes by: Temporal's development server slows down with what waits in a task queue.
        let waiting = || p.count("one-by-one") - (entries.len() - ids.len());
        tokio::task::block_in_place(|| wait_for("some are archived", LIMIT, || waiting() <= WAITING));
        let started = futures::stream::iter(some).map(|e| {
            let intake = Intake {
                org: p.org(),
                share: id.clone(),
                fingerprint: Fingerprint { path: e.path.clone(), stat: e.stat.clone() },
                quiet_ms: 60_000,
                settle: SettleRule::default(),
                archive: ArchiveRule::Move { folder: "_archive".into() },
                small_bytes: 8 << 20,
                max_bytes: 1 << 40,
                formats: BTreeSet::new(),
                declared: None,
                resume: None,
            };
            let (engine, queue) = (&engine, &queue);
            async move {
                engine.start_lifecycle(queue, &intake, Again::Never).await.expect("started");
                ids::lifecycle(&intake.org, &intake.share, &intake.fingerprint)
            }
        });
        ids.extend(started.buffer_unordered(16).collect::<Vec<_>>().await);
    }
    tokio::task::block_in_place(|| wait_for("they are archived", LIMIT, || p.is_empty("one-by-one")));
    let took = began.elapsed();
    let requests = Requests::now(p.stack).since(&before);
    for id in ids {
        let ended = engine.how_ended(&id).await.expect("described");
        assert!(matches!(ended, Started::Ended(Some(_)) | Started::Running), "a lifecycle failed");
    }
    tokio::task::block_in_place(|| p.judge(wanted));
    let row = Row::new(&format!("{n} files with a lifecycle each"), rate(n, took), "files/s");
    rows.push(if let Some(rate) = copied { row.beside("rclone copy", rate) } else { row });
    costs(rows, n, carrying_actions(p.stack).await - spent, requests, [3.0, 2.0, 2.0]);
    drop(worker);
}

/// From the last write of a device to the message, for files one at a time.
///
/// # Panics
/// When a file is not delivered.
pub async fn latency(p: &Parts<'_>, n: u64, rows: &mut Vec<Row>) {
    let worker = p.stack.worker();
    let device = p.stack.device(&p.clinic.org).await;
    // The watch runs once it has delivered something.
    let first = ("first.dcm".to_owned(), file(2_999_999));
    device.put("in/first.dcm", &first.1).await.expect("written");
    tokio::task::block_in_place(|| wait_for("the watch runs", LIMIT, || p.is_empty("in")));
    let all = files(n, 3_000_000);
    let mut wanted = digests(&all);
    wanted.extend(digests(&[first]));
    let mut written = std::collections::BTreeMap::new();
    for (name, bytes) in all {
        let path = format!("in/{name}");
        device.put(&path, &bytes).await.expect("written");
        written.insert(path, SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis());
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
    tokio::task::block_in_place(|| wait_for("they are archived", LIMIT, || p.is_empty("in")));
    let mut took: Vec<i64> = tokio::task::block_in_place(|| p.stack.files())
        .iter()
        .filter_map(|f| {
            let at = i64::try_from(*written.get(f["path"].as_str()?)?).ok()?;
            Some(f["times"]["enqueued_ms"].as_i64()? - at)
        })
        .collect();
    assert_eq!(took.len() as u64, n, "files in the list");
    tokio::task::block_in_place(|| p.judge(wanted));
    took.sort_unstable();
    #[allow(clippy::cast_precision_loss)] // milliseconds
    let at = |q: usize| took[(took.len() * q / 100).min(took.len() - 1)] as f64 / 1000.0;
    rows.push(Row::new(&format!("last write to message, {n} files, p50"), at(50), "s").most(0.5));
    rows.push(Row::new("last write to message, p99", at(99), "s").most(2.0));
    drop(worker);
}
