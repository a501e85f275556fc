//! Many devices that write while servers come and go, and the judgement over what came of it.

use crate::device::Device;
use crate::harness::stack::{Clinic, Stack};
use leadline_domain::Digest;
use leadline_formats::synth::{Spec, SynthFormat};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// One file that a device is to write.
#[derive(Debug, Clone)]
pub struct Job {
    /// Organization.
    pub org: String,
    /// Path on its share.
    pub path: String,
    /// Content.
    pub bytes: Vec<u8>,
}

/// A whole recording of a format; the same seed gives the same bytes.
///
/// # Panics
/// When it cannot be made.
#[must_use]
pub fn recording(format: SynthFormat, seed: u64) -> Vec<u8> {
    format.write(&Spec::new(seed)).expect("a recording is made").remove(0).bytes
}

/// Fills a block, of a multiple of 8 bytes, with bytes that come only once; `state` is any odd number at first.
pub fn noise(block: &mut [u8], state: &mut u64) {
    for eight in block.chunks_exact_mut(8) {
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        eight.copy_from_slice(&(*state ^ (*state >> 29)).to_le_bytes());
    }
}

/// `n` files of different formats and contents for an organization, below `in/<prefix>-`.
#[must_use]
pub fn jobs(org: &str, prefix: &str, n: u64, seed: u64) -> Vec<Job> {
    const FORMATS: [(SynthFormat, &str); 5] = [
        (SynthFormat::Dicom, "dcm"),
        (SynthFormat::Scp, "scp"),
        (SynthFormat::Edf, "edf"),
        (SynthFormat::Aecg, "xml"),
        (SynthFormat::Pdf, "pdf"),
    ];
    (0..n)
        .map(|i| {
            let (format, suffix) = FORMATS[usize::try_from(i).unwrap_or(0) % FORMATS.len()];
            Job {
                org: org.into(),
                path: format!("in/{prefix}-{i}.{suffix}"),
                bytes: recording(format, seed * 10_000 + i),
            }
        })
        .collect()
}

/// Where a device writes to.
#[derive(Debug, Clone)]
pub struct Login {
    /// `host:port`.
    pub address: String,
    /// Share name.
    pub share: String,
    /// User.
    pub user: String,
    /// Password.
    pub password: String,
}

impl Login {
    /// That of a clinic of a stack.
    #[must_use]
    pub fn of(stack: &Stack, clinic: &Clinic) -> Self {
        Self {
            address: stack.samba.address(),
            share: clinic.share.clone(),
            user: clinic.user(),
            password: clinic.password(),
        }
    }
}

/// Writes jobs one after another, each again from its start when the server went away in the middle, as devices do.
///
/// # Panics
/// When a file cannot be written within two minutes.
pub async fn write_all(to: &Login, jobs: &[Job], pause: Duration, written: &AtomicUsize) {
    let mut device: Option<Device> = None;
    for job in jobs {
        let end = Instant::now() + Duration::from_secs(120);
        loop {
            let tried = async {
                if device.is_none() {
                    device = Some(Device::connect(&to.address, &to.share, &to.user, &to.password).await?);
                }
                match &device {
                    Some(d) => in_two(d, job, pause).await,
                    None => Ok(()),
                }
            };
            match tokio::time::timeout(Duration::from_secs(5), tried).await {
                Ok(Ok(())) => {
                    written.fetch_add(1, Ordering::Relaxed);
                    break;
                }
                failed => {
                    assert!(Instant::now() < end, "a device cannot write {}: {failed:?}", job.path);
                    device = None;
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
}

/// Half of it, a pause, the rest.
async fn in_two(device: &Device, job: &Job, pause: Duration) -> smb2::Result<()> {
    let mut f = device.create(&job.path).await?;
    let half = job.bytes.len() / 2;
    f.write(0, &job.bytes[..half]).await?;
    tokio::time::sleep(pause).await;
    f.write(half as u64, &job.bytes[half..]).await?;
    f.close().await
}

/// Takes messages until each expected digest of each organization came, and a while longer to see whether one comes
/// twice.
///
/// # Panics
/// When one is missing after `limit`, came twice, or was never written.
pub fn judge_messages(stack: &Stack, jobs: &[Job], limit: Duration) {
    let mut got = await_messages(stack, jobs, limit);
    // Everything has come; nothing may be under way any more that sends it once more.
    stack.await_quiet(limit);
    got.extend(stack.take_messages("ingest").iter().map(parts));
    judge(jobs, &got);
}

/// The same while other files may still be under way.
///
/// # Panics
/// As [`judge_messages`].
pub fn judge_messages_of(stack: &Stack, jobs: &[Job], limit: Duration) {
    let got = await_messages(stack, jobs, limit);
    judge(jobs, &got);
}

fn judge(jobs: &[Job], got: &[Parts]) {
    let distinct: BTreeSet<_> = got.iter().cloned().collect();
    assert_eq!(distinct.len(), got.len(), "a recording came twice");
    assert_eq!(distinct, wanted(jobs), "a message for something that no device wrote as a whole");
}

/// Organization and digest.
type Parts = (String, String);

fn wanted(jobs: &[Job]) -> BTreeSet<Parts> {
    jobs.iter().map(|j| (j.org.clone(), Digest::of(&j.bytes).to_hex())).collect()
}

fn await_messages(stack: &Stack, jobs: &[Job], limit: Duration) -> Vec<Parts> {
    let want = wanted(jobs);
    let mut got: Vec<Parts> = Vec::new();
    let end = Instant::now() + limit;
    while got.len() < want.len() && Instant::now() < end {
        got.extend(stack.take_messages("ingest").iter().map(parts));
    }
    let missing: Vec<_> = want.iter().filter(|w| !got.contains(w)).collect();
    assert!(
        missing.is_empty(),
        "{} of {} recordings have no message after {limit:?}: {missing:?}\n{}",
        missing.len(),
        want.len(),
        stack.run_text(&["file", "list", "--env", "test", "--show-paths", "--limit", "1000"])
    );
    got
}

fn parts(m: &serde_json::Value) -> Parts {
    (text(&m["data"], "organization"), text(&m["data"], "sha256"))
}

/// The clinics' copies: every one in the archive folder, none left in the watched one.
///
/// # Panics
/// When a file is missing or left, or its bytes are not what the device wrote.
pub fn judge_archive(stack: &Stack, jobs: &[Job], limit: Duration) {
    let end = Instant::now() + limit;
    for c in &stack.clinics {
        let root = stack.samba.path(&c.share);
        let want: BTreeSet<String> =
            jobs.iter().filter(|j| j.org == c.org).map(|j| Digest::of(&j.bytes).to_hex()).collect();
        loop {
            let (left, kept) = (digests(&root.join("in")), digests(&root.join("_archive")));
            if left.is_empty() && want.is_subset(&kept) {
                break;
            }
            assert!(
                Instant::now() < end,
                "{}: {} files left in the watched folder, {} of {} in the archive",
                c.org,
                left.len(),
                want.intersection(&kept).count(),
                want.len()
            );
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

/// The audit queue, which is emptied: an entry for every file that has an outcome, and for each recording exactly one
/// file that was delivered. The ingest queue drops what is sent twice within minutes; here two would be seen.
///
/// # Panics
/// When an entry is missing after `limit`, or a recording was delivered as several files, or one that no device wrote.
pub fn judge_ledger(stack: &Stack, jobs: &[Job], limit: Duration) {
    let (mut entries, end) = (BTreeMap::new(), Instant::now() + limit);
    loop {
        for e in stack.take_messages("audit").into_iter().filter(|e| e["outcome"].is_object()) {
            // A repeat has the same id, and says the same.
            entries.insert(text(&e, "id"), e);
        }
        let told: BTreeSet<(String, String)> = entries.values().map(|e| (text(e, "file"), kind(e))).collect();
        let files = stack.files();
        let missing: Vec<_> = files.iter().filter(|f| !told.contains(&(text(f, "file"), text(f, "state")))).collect();
        if missing.is_empty() {
            break;
        }
        assert!(Instant::now() < end, "{} files have no entry of their outcome: {missing:?}", missing.len());
    }
    let mut delivered: BTreeMap<Parts, BTreeSet<(String, String)>> = BTreeMap::new();
    for e in entries.values().filter(|e| kind(e) == "delivered") {
        let file = (text(e, "file"), text(e, "version"));
        delivered.entry((text(e, "organization"), text(e, "sha256"))).or_default().insert(file);
    }
    for (recording, files) in &delivered {
        assert_eq!(files.len(), 1, "{recording:?} was delivered as several files: {files:?}");
    }
    let delivered: BTreeSet<Parts> = delivered.into_keys().collect();
    assert_eq!(delivered, wanted(jobs), "what the ledger says was delivered");
}

fn text(v: &serde_json::Value, name: &str) -> String {
    v[name].as_str().unwrap_or_default().to_owned()
}

/// What an entry says became of its file.
fn kind(entry: &serde_json::Value) -> String {
    text(&entry["outcome"], "kind")
}

/// Digests of all files below a folder of the machine.
#[must_use]
pub fn digests(dir: &std::path::Path) -> BTreeSet<String> {
    let (mut out, mut dirs) = (BTreeSet::new(), vec![dir.to_owned()]);
    while let Some(d) = dirs.pop() {
        for e in std::fs::read_dir(&d).into_iter().flatten().flatten() {
            match e.file_type() {
                Ok(t) if t.is_dir() => dirs.push(e.path()),
                _ => out.extend(std::fs::read(e.path()).map(|b| Digest::of(&b).to_hex())),
            }
        }
    }
    out
}
