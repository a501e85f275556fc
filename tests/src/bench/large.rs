//! One large file.

use super::parts::Parts;
use super::table::Row;
use crate::fleet::noise;
use crate::harness::tools::wait_for;
use bytes::Bytes;
use leadline_activities::ports::content::Digesting;
use leadline_activities::ports::share::Share;
use leadline_activities::ports::store::{RecordingMeta, Shelf};
use leadline_domain::{Digest, SharePath};
use sha2::{Digest as _, Sha256};
use std::io::Write as _;
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(1800);
const PART: usize = 8 << 20;

/// A file of `mib` MiB beside the slower of a raw SMB read and a raw multipart upload of as many bytes.
///
/// # Panics
/// When it is not delivered.
pub async fn large(p: &Parts<'_>, mib: u64, rows: &mut Vec<Row>) {
    p.put("raw", []);
    let path = p.on_disk("raw/large.bin");
    let small = b"the watch runs once this is delivered";
    let wanted = [write(&path, mib), Digest::of(small).to_hex()].into();
    p.put("raw", []);
    #[allow(clippy::cast_precision_loss)] // MiB
    let rate = |took: Duration| mib as f64 / took.as_secs_f64();

    let share = p.share();
    let began = Instant::now();
    let mut reader = share.open(&SharePath::new("raw/large.bin"), 0).await.expect("opened");
    let mut read = 0;
    while let Some(chunk) = reader.next().await.expect("read") {
        read += chunk.len() as u64;
    }
    assert_eq!(read, mib << 20);
    let smb = rate(began.elapsed());
    drop(reader);

    let store = p.store().await;
    let body = Bytes::from(vec![0x5A; PART]);
    let sum: [u8; 32] = Sha256::digest(&body).into();
    let mut digesting = Digesting::new(mib << 20, store.pieces());
    (0..mib / 8).for_each(|_| digesting.push(&body));
    let content = digesting.finish();
    let began = Instant::now();
    let upload = store.begin_upload("bench-raw").await.expect("begun");
    let mut running = tokio::task::JoinSet::new();
    let mut parts = Vec::new();
    for n in 1..=u32::try_from(mib / 8).expect("a number of parts") {
        while running.len() >= 3 {
            parts.push(running.join_next().await.expect("one runs").expect("it ends"));
        }
        let (store, upload, body) = (store.clone(), upload.clone(), body.clone());
        running.spawn(async move { store.upload_part(&upload, n, body, sum).await.expect("uploaded") });
    }
    parts.extend(running.join_all().await);
    parts.sort_by_key(|p| p.number);
    store.complete_upload(&upload, &parts).await.expect("completed");
    let raw = rate(began.elapsed());
    let meta = RecordingMeta {
        claim: "bench".into(),
        format: "unknown".into(),
        media_type: "text/plain".into(),
        shelf: Shelf::Recordings,
    };
    store.promote("bench-raw", &content, &meta).await.expect("copied");
    let copied = rate(began.elapsed());

    let worker = p.stack.worker();
    let device = p.stack.device(&p.clinic.org).await;
    device.put("in/first.bin", small).await.expect("written");
    tokio::task::block_in_place(|| wait_for("the watch runs", LIMIT, || p.is_empty("in")));
    std::fs::rename(&path, p.on_disk("in/large.bin")).expect("renamed");
    let began = Instant::now();
    tokio::task::block_in_place(|| wait_for("it is archived", LIMIT, || p.is_empty("in")));
    let took = began.elapsed();
    let slower = if smb < raw { ("raw SMB read", smb) } else { ("raw multipart upload", raw) };
    let what = format!("one file of {mib} MiB, quiet time included");
    rows.push(Row::new(&what, rate(took), "MiB/s").beside(slower.0, slower.1).least(0.9));
    let what = "  the same";
    rows.push(Row::new(what, rate(took), "MiB/s").beside("raw upload, and the copy to its key", copied));
    rows.push(Row::new("  raw SMB read", smb, "MiB/s"));
    rows.push(Row::new("  raw multipart upload, completed", raw, "MiB/s"));
    rows.push(Row::new("  peak memory of the worker", Parts::peak_mib(worker.pid()), "MiB").most(128.0));
    tokio::task::block_in_place(|| p.judge(wanted));
    drop(worker);
}

/// Bytes of which no two parts are the same; their digest.
fn write(path: &std::path::Path, mib: u64) -> String {
    let mut digest = Sha256::new();
    let mut out = std::io::BufWriter::new(std::fs::File::create(path).expect("created"));
    let mut block = vec![0u8; 1 << 20];
    let mut state = 1u64;
    for _ in 0..mib {
        noise(&mut block, &mut state);
        digest.update(&block);
        out.write_all(&block).expect("written");
    }
    out.flush().expect("written");
    Digest::from_bytes(digest.finalize().into()).to_hex()
}
