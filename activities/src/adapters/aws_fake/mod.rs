//! The roles that AWS plays, in memory, with the same semantics: for tests of workflows and for the contract suites,
//! which hold fakes and real parts to the same promises. Faults are planned ahead, one method at a time.

mod alarms;
mod queue;
mod staging;

pub use alarms::FakeAlarms;
pub use queue::FakeQueue;

use crate::ports::content::{Content, Pieces};
use crate::ports::staging::Once;
use crate::ports::store::{OrgStore, OrgStores, Part, Put, RecordingMeta, Shelf, Upload};
use async_trait::async_trait;
use bytes::Bytes;
use leadline_domain::{Digest, Fault, FaultCode, OrgScope, StagedAt};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

fn lock<T>(m: &Mutex<T>) -> MutexGuard<'_, T> {
    m.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What calls of a method shall do, in the order they are made.
#[derive(Clone)]
pub enum Planned {
    /// Fail and do nothing.
    Fail(Fault),
    /// Do it and fail nevertheless: the answer was lost on its way.
    FailAfter(Fault),
    /// Do it.
    Pass,
    /// Let something else happen first, then do it: what devices do in the middle of a step.
    Meanwhile(Arc<dyn Fn() + Send + Sync>),
    /// Do nothing and never answer: whoever asks is killed in the middle of it. Sends to a queue only.
    Hang(Arc<dyn Fn() + Send + Sync>),
}

impl std::fmt::Debug for Planned {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Fail(fault) => write!(f, "Fail({fault:?})"),
            Self::FailAfter(fault) => write!(f, "FailAfter({fault:?})"),
            Self::Pass => f.write_str("Pass"),
            Self::Meanwhile(_) => f.write_str("Meanwhile"),
            Self::Hang(_) => f.write_str("Hang"),
        }
    }
}

/// Faults to come, by method name, e.g. `put_recording`.
#[derive(Debug, Default)]
pub struct FaultPlan(Mutex<HashMap<&'static str, VecDeque<Planned>>>);

impl FaultPlan {
    /// Plans what a later call of `method` does.
    pub fn plan(&self, method: &'static str, what: Planned) {
        lock(&self.0).entry(method).or_default().push_back(what);
    }

    /// Plans that the next `times` calls of `method` fail.
    pub fn fail(&self, method: &'static str, times: usize, fault: &Fault) {
        for _ in 0..times {
            self.plan(method, Planned::Fail(fault.clone()));
        }
    }

    /// How many planned calls were not made yet.
    #[must_use]
    pub fn left(&self) -> usize {
        lock(&self.0).values().map(VecDeque::len).sum()
    }

    /// Comes back unless the next call of `method` hangs.
    pub(crate) async fn answers(&self, method: &'static str) {
        let hangs = |plan: &mut VecDeque<Planned>| plan.pop_front_if(|p| matches!(p, Planned::Hang(_)));
        let hangs = lock(&self.0).get_mut(method).and_then(hangs);
        if let Some(Planned::Hang(reached)) = hangs {
            reached();
            std::future::pending::<()>().await;
        }
    }

    /// `Err`: fail at once. `Ok(Some)`: fail afterwards.
    pub(crate) fn next(&self, method: &'static str) -> Result<Option<Fault>, Fault> {
        let next = lock(&self.0).get_mut(method).and_then(VecDeque::pop_front);
        match next {
            Some(Planned::Meanwhile(what) | Planned::Hang(what)) => {
                what();
                Ok(None)
            }
            Some(Planned::Fail(f)) => Err(f),
            Some(Planned::FailAfter(f)) => Ok(Some(f)),
            Some(Planned::Pass) | None => Ok(None),
        }
    }
}

#[derive(Clone)]
struct Object {
    body: Bytes,
    meta: Option<RecordingMeta>,
    /// Of what is staged.
    version: String,
}

impl Object {
    fn new(body: Bytes, meta: Option<RecordingMeta>) -> Self {
        Self { body, meta, version: String::new() }
    }
}

type Parts = BTreeMap<u32, (Part, Bytes)>;

#[derive(Default)]
struct Bucket {
    recordings: BTreeMap<(Shelf, Digest), Object>,
    staged: BTreeMap<String, Object>,
    /// What was staged and is not any more, by name and version.
    before: BTreeMap<(String, String), Object>,
    quarantined: BTreeMap<String, Object>,
    once: BTreeMap<(Once, String), (String, Bytes)>,
    notes: BTreeMap<String, String>,
    uploads: BTreeMap<String, (String, Parts)>,
    seen: BTreeSet<(String, String, String)>,
    /// Pieces that are copied of a staged object, of a copy that was cut off.
    copied: BTreeMap<String, BTreeSet<usize>>,
    begun: u64,
    calls: BTreeMap<&'static str, u64>,
}

/// A bucket in memory.
#[derive(Default)]
pub struct FakeStore {
    bucket: Mutex<Bucket>,
    pieces: Pieces,
    /// Faults to come.
    pub faults: FaultPlan,
}

impl FakeStore {
    /// An empty one.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// An empty one that copies in these pieces.
    #[must_use]
    pub fn copying(pieces: Pieces) -> Arc<Self> {
        Arc::new(Self { pieces, ..Self::default() })
    }

    /// The recordings that are stored, with what is stored beside them.
    #[must_use]
    pub fn recordings(&self) -> Vec<(Digest, Bytes, RecordingMeta)> {
        self.on(Shelf::Recordings)
    }

    /// The objects of sets that are stored.
    #[must_use]
    pub fn members(&self) -> Vec<(Digest, Bytes, RecordingMeta)> {
        self.on(Shelf::Members)
    }

    fn on(&self, shelf: Shelf) -> Vec<(Digest, Bytes, RecordingMeta)> {
        let bucket = lock(&self.bucket);
        let there = bucket.recordings.iter().filter(|((s, _), _)| *s == shelf);
        there.filter_map(|((_, d), o)| Some((*d, o.body.clone(), o.meta.clone()?))).collect()
    }

    /// What is kept for a human, by name.
    #[must_use]
    pub fn quarantined(&self) -> BTreeMap<String, Bytes> {
        lock(&self.bucket).quarantined.iter().map(|(n, o)| (n.clone(), o.body.clone())).collect()
    }

    /// Names below `staging/`.
    #[must_use]
    pub fn staged(&self) -> Vec<String> {
        lock(&self.bucket).staged.keys().cloned().collect()
    }

    /// Stages another content under a name, whatever is there: what a form does that is sent twice.
    pub fn write_again(&self, name: &str, body: Bytes) {
        lock(&self.bucket).put_staged(name, body);
    }

    /// Uploads begun and neither completed nor given up.
    #[must_use]
    pub fn open_uploads(&self) -> usize {
        lock(&self.bucket).uploads.len()
    }

    /// Forgets all uploads, as a store may.
    pub fn lose_uploads(&self) {
        lock(&self.bucket).uploads.clear();
    }

    /// Calls so far, by method.
    #[must_use]
    pub fn calls(&self) -> BTreeMap<&'static str, u64> {
        lock(&self.bucket).calls.clone()
    }

    fn call<T>(&self, method: &'static str, f: impl FnOnce(&mut Bucket) -> Result<T, Fault>) -> Result<T, Fault> {
        *lock(&self.bucket).calls.entry(method).or_insert(0) += 1;
        let after = self.faults.next(method)?;
        let done = f(&mut lock(&self.bucket))?;
        after.map_or(Ok(done), Err)
    }

    /// Copies what is staged piece by piece, if that is how it is copied. Whoever stops in between leaves what is there.
    async fn copy_pieces(&self, at: StagedAt<'_>, size: u64, content: Option<&Content>) -> Result<(), Fault> {
        if self.pieces.at_once(size) {
            return Ok(());
        }
        for (n, (first, last)) in self.pieces.ranges(size).into_iter().enumerate() {
            if lock(&self.bucket).copied.get(at.name).is_some_and(|c| c.contains(&n)) {
                continue;
            }
            let range = usize::try_from(first).unwrap_or(usize::MAX)..=usize::try_from(last).unwrap_or(0);
            self.call("copy_piece", |b| {
                let Some(staged) = b.at(at) else { return Ok(()) };
                let piece = staged.body.get(range).map(Digest::of);
                let wanted = content.map(|c| c.pieces.get(n).copied());
                if wanted.is_some_and(|w| w != piece) {
                    b.copied.remove(at.name);
                    return Err(wrong_checksum());
                }
                b.copied.entry(at.name.to_owned()).or_default().insert(n);
                Ok(())
            })?;
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    async fn copied(&self, at: StagedAt<'_>, content: &Content, meta: &RecordingMeta) -> Result<(), Fault> {
        let there = lock(&self.bucket).there(meta.shelf, &content.digest).is_some();
        if there { Ok(()) } else { self.copy_pieces(at, content.size, Some(content)).await }
    }
}

impl Bucket {
    /// What is staged, or was in a version.
    fn at(&self, at: StagedAt<'_>) -> Option<&Object> {
        let now = self.staged.get(at.name);
        match at.version {
            Some(v) if now.is_none_or(|o| o.version != v) => self.before.get(&(at.name.to_owned(), v.to_owned())),
            _ => now,
        }
    }

    fn put_staged(&mut self, name: &str, body: Bytes) {
        self.unstage(name);
        self.begun += 1;
        let object = Object { version: format!("v{}", self.begun), ..Object::new(body, None) };
        self.staged.insert(name.to_owned(), object);
    }

    fn unstage(&mut self, name: &str) {
        if let Some(o) = self.staged.remove(name) {
            self.before.insert((name.to_owned(), o.version.clone()), o);
        }
    }

    fn upload(&mut self, u: &Upload) -> Result<&mut Parts, Fault> {
        match self.uploads.get_mut(&u.id) {
            Some((name, parts)) if *name == u.name => Ok(parts),
            _ => Err(Fault::new(FaultCode::StoreUploadLost, "NoSuchUpload")),
        }
    }

    fn put(&mut self, digest: &Digest, body: Bytes, meta: &RecordingMeta) -> Put {
        if let Some(there) = self.there(meta.shelf, digest) {
            return there;
        }
        self.recordings.insert((meta.shelf, *digest), Object::new(body, Some(meta.clone())));
        Put::Created
    }

    fn promoted(&mut self, at: StagedAt<'_>, content: &Content, meta: &RecordingMeta) -> Result<Put, Fault> {
        let (size, digest) = (content.size, &content.digest);
        self.copied.remove(at.name);
        let Some(staged) = self.at(at).cloned() else {
            let lost = || Fault::new(FaultCode::StoreUploadLost, "nothing is staged");
            return self.there(meta.shelf, digest).ok_or_else(lost);
        };
        if staged.body.len() as u64 != size || Digest::of(&staged.body) != *digest {
            return Err(wrong_checksum());
        }
        Ok(self.put(digest, staged.body, meta))
    }

    fn there(&self, shelf: Shelf, digest: &Digest) -> Option<Put> {
        self.recordings.get(&(shelf, *digest)).map(|o| Put::Exists {
            claim: o.meta.as_ref().map(|m| m.claim.clone()).unwrap_or_default(),
            size: o.body.len() as u64,
        })
    }
}

fn wrong_checksum() -> Fault {
    Fault::new(FaultCode::StoreChecksumMismatch, "BadDigest")
}

#[async_trait]
impl OrgStore for FakeStore {
    async fn put_recording(&self, digest: &Digest, body: Bytes, meta: &RecordingMeta) -> Result<Put, Fault> {
        self.call("put_recording", |b| {
            if Digest::of(&body) != *digest { Err(wrong_checksum()) } else { Ok(b.put(digest, body, meta)) }
        })
    }

    async fn head_recording(&self, digest: &Digest) -> Result<Option<Put>, Fault> {
        self.call("head_recording", |b| Ok(b.there(Shelf::Recordings, digest)))
    }

    async fn begin_upload(&self, name: &str) -> Result<Upload, Fault> {
        self.call("begin_upload", |b| {
            b.begun += 1;
            let upload = Upload { name: name.to_owned(), id: format!("upload-{}", b.begun) };
            b.uploads.insert(upload.id.clone(), (name.to_owned(), BTreeMap::new()));
            Ok(upload)
        })
    }

    async fn find_upload(&self, name: &str) -> Result<Option<Upload>, Fault> {
        self.call("find_upload", |b| {
            let of_name = b.uploads.iter().filter(|(_, (n, _))| n == name).map(|(id, _)| id);
            // Ids count up; the longer number is the later one.
            let latest = of_name.max_by_key(|id| (id.len(), (*id).clone()));
            Ok(latest.map(|id| Upload { name: name.to_owned(), id: id.clone() }))
        })
    }

    async fn upload_part(&self, upload: &Upload, number: u32, body: Bytes, sha256: [u8; 32]) -> Result<Part, Fault> {
        self.call("upload_part", |b| {
            let parts = b.upload(upload)?;
            if Digest::of(&body).as_bytes() != &sha256 {
                return Err(wrong_checksum());
            }
            let part = Part { number, etag: hex::encode(&sha256[..16]), sha256, size: body.len() as u64 };
            parts.insert(number, (part.clone(), body));
            Ok(part)
        })
    }

    async fn list_parts(&self, upload: &Upload) -> Result<Vec<Part>, Fault> {
        self.call("list_parts", |b| Ok(b.upload(upload)?.values().map(|(p, _)| p.clone()).collect()))
    }

    async fn complete_upload(&self, upload: &Upload, parts: &[Part]) -> Result<(), Fault> {
        self.call("complete_upload", |b| {
            let held = b.upload(upload)?;
            let mut whole = Vec::new();
            for p in parts {
                match held.get(&p.number) {
                    Some((h, body)) if h == p => whole.extend_from_slice(body),
                    _ => return Err(Fault::new(FaultCode::StoreRefused, "InvalidPart")),
                }
            }
            b.uploads.remove(&upload.id);
            b.put_staged(&upload.name, whole.into());
            Ok(())
        })
    }

    async fn abort_upload(&self, upload: &Upload) -> Result<(), Fault> {
        self.call("abort_upload", |b| {
            b.uploads.remove(&upload.id);
            Ok(())
        })
    }

    fn pieces(&self) -> Pieces {
        self.pieces
    }

    async fn promote(&self, name: &str, content: &Content, meta: &RecordingMeta) -> Result<Put, Fault> {
        self.copied(StagedAt::now(name), content, meta).await?;
        self.call("promote", |b| {
            let put = b.promoted(StagedAt::now(name), content, meta)?;
            b.unstage(name);
            Ok(put)
        })
    }

    async fn note_claim(&self, claim: &str, note: &str) -> Result<(), Fault> {
        self.call("note_claim", |b| {
            b.notes.insert(claim.to_owned(), note.to_owned());
            Ok(())
        })
    }

    async fn noted_claim(&self, claim: &str) -> Result<Option<String>, Fault> {
        self.call("noted_claim", |b| Ok(b.notes.get(claim).cloned()))
    }

    async fn put_seen(&self, share: &str, key: &str, version: &str) -> Result<(), Fault> {
        self.call("put_seen", |b| {
            b.seen.insert((share.to_owned(), key.to_owned(), version.to_owned()));
            Ok(())
        })
    }

    async fn list_seen(&self, share: &str) -> Result<Vec<(String, String)>, Fault> {
        self.call("list_seen", |b| {
            Ok(b.seen.iter().filter(|(s, _, _)| s == share).map(|(_, k, v)| (k.clone(), v.clone())).collect())
        })
    }

    async fn read_recording(&self, digest: &Digest, limit: u64) -> Result<Bytes, Fault> {
        self.call("read_recording", |b| match b.recordings.get(&(Shelf::Recordings, *digest)) {
            Some(o) if o.body.len() as u64 <= limit => Ok(o.body.clone()),
            Some(_) => Err(Fault::new(FaultCode::BugInvariant, "the object is larger than was asked for")),
            None => Err(Fault::new(FaultCode::StoreRefused, "NoSuchKey")),
        })
    }

    async fn check(&self) -> Result<(), Fault> {
        self.call("check", |_| Ok(()))
    }
}

/// A store for each organization, made at its first use.
#[derive(Default)]
pub struct FakeOrgStores {
    stores: Mutex<HashMap<String, Arc<FakeStore>>>,
    /// Faults of `open` to come.
    pub faults: FaultPlan,
}

impl FakeOrgStores {
    /// None yet.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// An organization's store, to look into and to plan faults.
    #[must_use]
    pub fn of(&self, scope: &OrgScope) -> Arc<FakeStore> {
        Arc::clone(lock(&self.stores).entry(scope.bucket()).or_default())
    }
}

#[async_trait]
impl OrgStores for FakeOrgStores {
    async fn open(&self, scope: &OrgScope) -> Result<Arc<dyn OrgStore>, Fault> {
        match self.faults.next("open")? {
            Some(f) => Err(f),
            None => Ok(self.of(scope)),
        }
    }
}
