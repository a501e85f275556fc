//! A clinic's share in memory, with the devices that write to it: for tests of workflows and for the contract suite.
//!
//! It is as hard on its readers as real servers are: a write that does not make a file longer changes neither its size
//! nor its times before the device closes it, as was seen with preallocating devices on Samba. Times are ticks that
//! only grow; no clock is asked.

mod reader;

use super::aws_fake::FaultPlan;
use crate::ports::share::{Entry, FileReader, Hints, Listing, Share, Skipped};
use async_trait::async_trait;
use bytes::Bytes;
use leadline_domain::{Fault, FaultCode, FileStat, Observation, SharePath, Writer};
use reader::{FakeHints, FakeReader};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::broadcast;

/// The first tick: some day in 2024, as a FILETIME.
const EPOCH: u64 = 0x01DA_3C00_0000_0000;
/// Hints that wait for a reader; more are an overflow.
const HINTS: usize = 256;

fn lock<T>(m: &Mutex<T>) -> MutexGuard<'_, T> {
    m.lock().unwrap_or_else(PoisonError::into_inner)
}

fn fault(code: FaultCode) -> Fault {
    Fault::new(code, "by the share in memory")
}

#[derive(Default)]
struct Node {
    data: Vec<u8>,
    modified: u64,
    changed: u64,
    writers: usize,
    hidden: bool,
    link: bool,
}

#[derive(Default)]
struct Disk {
    ticks: u64,
    /// Every file there ever was: a handle outlives the name.
    nodes: Vec<Node>,
    files: BTreeMap<String, usize>,
    folders: BTreeSet<String>,
    denied: Vec<SharePath>,
    down: bool,
    /// Counts lost connections: what was opened before one is of no use after it.
    connection: u64,
    calls: BTreeMap<&'static str, u64>,
}

impl Disk {
    fn tick(&mut self) -> u64 {
        self.ticks += 1;
        EPOCH + self.ticks
    }

    fn mkdirs(&mut self, path: &SharePath) {
        if !path.expose().is_empty() {
            self.mkdirs(&path.parent());
            self.folders.insert(path.expose().to_owned());
        }
    }

    fn is_folder(&self, path: &SharePath) -> bool {
        path.expose().is_empty() || self.folders.contains(path.expose())
    }

    fn allowed(&self, path: &SharePath) -> Result<(), Fault> {
        if self.denied.iter().any(|d| path.is_under(d)) { Err(fault(FaultCode::ShareAccessDenied)) } else { Ok(()) }
    }

    fn find(&self, path: &SharePath) -> Result<usize, Fault> {
        self.allowed(path)?;
        self.files.get(path.expose()).copied().ok_or_else(|| fault(FaultCode::ShareFileGone))
    }

    fn stat(&self, node: usize) -> FileStat {
        let n = &self.nodes[node];
        FileStat { file_id: node as u64 + 1, size: n.data.len() as u64, modified: n.modified, changed: n.changed }
    }
}

#[derive(Clone)]
enum Event {
    Touched(String),
    Overflow,
    Lost,
}

struct Inner {
    disk: Mutex<Disk>,
    events: broadcast::Sender<Event>,
}

impl Inner {
    fn touched(&self, path: &SharePath) {
        // Nobody may be listening.
        let _ = self.events.send(Event::Touched(path.expose().to_owned()));
    }
}

/// See the module. [`FakeShare::new`] gives one that is shared by the test, its devices and the code under test.
pub struct FakeShare {
    inner: Arc<Inner>,
    /// Faults to come, by method of [`Share`]; `next` is a chunk of a reader, `hints` a batch of hints.
    pub faults: Arc<FaultPlan>,
}

/// A file that a device has open for writing, until it is closed or dropped.
pub struct FakeFile {
    inner: Arc<Inner>,
    node: usize,
    path: SharePath,
    dirty: bool,
}

impl FakeShare {
    /// An empty share.
    #[must_use]
    pub fn new() -> Arc<Self> {
        let inner = Inner { disk: Mutex::default(), events: broadcast::channel(HINTS).0 };
        Arc::new(Self { inner: Arc::new(inner), faults: Arc::default() })
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        lock(&self.inner.disk)
    }

    /// A device creates or empties a file, and has it open. Folders above are made.
    #[must_use]
    pub fn create(&self, path: &str) -> FakeFile {
        let path = SharePath::new(path);
        let mut d = self.disk();
        d.mkdirs(&path.parent());
        let now = d.tick();
        let node = d.files.get(path.expose()).copied().unwrap_or(d.nodes.len());
        if node == d.nodes.len() {
            d.nodes.push(Node::default());
            d.files.insert(path.expose().to_owned(), node);
        }
        let n = &mut d.nodes[node];
        n.data.clear();
        (n.modified, n.changed) = (now, now);
        n.writers += 1;
        drop(d);
        self.inner.touched(&path);
        FakeFile { inner: Arc::clone(&self.inner), node, path, dirty: false }
    }

    /// A device writes a whole file and closes it.
    pub fn put(&self, path: &str, bytes: &[u8]) {
        let mut f = self.create(path);
        f.write(0, bytes);
    }

    /// A device makes a folder, and the ones above.
    pub fn make_folder(&self, path: &str) {
        self.disk().mkdirs(&SharePath::new(path));
    }

    /// A device deletes a file.
    pub fn delete(&self, path: &str) {
        self.disk().files.remove(SharePath::new(path).expose());
        self.inner.touched(&SharePath::new(path));
    }

    /// A device renames, replacing what is there.
    pub fn replace(&self, from: &str, to: &str) {
        let (from, to) = (SharePath::new(from), SharePath::new(to));
        {
            let mut d = self.disk();
            let now = d.tick();
            d.mkdirs(&to.parent());
            if let Some(node) = d.files.remove(from.expose()) {
                d.nodes[node].changed = now;
                d.files.insert(to.expose().to_owned(), node);
            }
        }
        self.inner.touched(&from);
        self.inner.touched(&to);
    }

    /// The server marks a file as hidden.
    pub fn hide(&self, path: &str) {
        self.mark(path, |n| n.hidden = true);
    }

    /// A file turns out to be a link.
    pub fn make_link(&self, path: &str) {
        self.mark(path, |n| n.link = true);
    }

    fn mark(&self, path: &str, how: impl Fn(&mut Node)) {
        let mut d = self.disk();
        if let Some(node) = d.files.get(path).copied() {
            how(&mut d.nodes[node]);
        }
    }

    /// The server refuses the user everything in this folder from now on.
    pub fn deny(&self, folder: &str) {
        self.disk().denied.push(SharePath::new(folder));
    }

    /// The server allows everything again.
    pub fn allow(&self) {
        self.disk().denied.clear();
    }

    /// The connection is lost. Readers and watches end; the next call has a new one.
    pub fn disconnect(&self) {
        self.disk().connection += 1;
        let _ = self.inner.events.send(Event::Lost);
    }

    /// The server is down: everything is `share.unreachable` until [`FakeShare::restart`].
    pub fn kill(&self) {
        self.disk().down = true;
        self.disconnect();
    }

    /// The server is back.
    pub fn restart(&self) {
        self.disk().down = false;
    }

    /// The server has lost notifications.
    pub fn overflow(&self) {
        let _ = self.inner.events.send(Event::Overflow);
    }

    /// Paths of all files, sorted.
    #[must_use]
    pub fn paths(&self) -> Vec<String> {
        self.disk().files.keys().cloned().collect()
    }

    /// Content of a file.
    #[must_use]
    pub fn content(&self, path: &str) -> Option<Vec<u8>> {
        let d = self.disk();
        d.files.get(path).map(|n| d.nodes[*n].data.clone())
    }

    /// How often a method of [`Share`] was called.
    #[must_use]
    pub fn calls(&self, method: &'static str) -> u64 {
        self.disk().calls.get(method).copied().unwrap_or(0)
    }

    /// Does what a call asks for, with the faults that are planned for it.
    fn call<T>(&self, method: &'static str, what: impl FnOnce(&mut Disk) -> Result<T, Fault>) -> Result<T, Fault> {
        let after = self.faults.next(method)?;
        let mut d = self.disk();
        *d.calls.entry(method).or_insert(0) += 1;
        if d.down {
            return Err(fault(FaultCode::ShareUnreachable));
        }
        let done = what(&mut d)?;
        after.map_or(Ok(done), Err)
    }
}

impl FakeFile {
    /// Writes at an offset.
    pub fn write(&mut self, offset: usize, bytes: &[u8]) {
        let mut d = lock(&self.inner.disk);
        let now = d.tick();
        let n = &mut d.nodes[self.node];
        let end = offset + bytes.len();
        if end > n.data.len() {
            n.data.resize(end, 0);
            (n.modified, n.changed) = (now, now);
        } else {
            self.dirty = true;
        }
        n.data[offset..end].copy_from_slice(bytes);
        drop(d);
        self.inner.touched(&self.path);
    }

    /// Writes at the end.
    pub fn append(&mut self, bytes: &[u8]) {
        let end = lock(&self.inner.disk).nodes[self.node].data.len();
        self.write(end, bytes);
    }

    /// Sets the length: a device that preallocates.
    pub fn set_len(&mut self, len: usize) {
        let mut d = lock(&self.inner.disk);
        let now = d.tick();
        let n = &mut d.nodes[self.node];
        n.data.resize(len, 0);
        (n.modified, n.changed) = (now, now);
        drop(d);
        self.inner.touched(&self.path);
    }

    /// The device is done. So it is when the file is dropped.
    pub fn close(self) {}
}

impl Drop for FakeFile {
    fn drop(&mut self) {
        let mut d = lock(&self.inner.disk);
        let now = d.tick();
        let n = &mut d.nodes[self.node];
        n.writers -= 1;
        if self.dirty {
            (n.modified, n.changed) = (now, now);
        }
    }
}

#[async_trait]
impl Share for FakeShare {
    async fn list(&self, folder: &SharePath, except: &[SharePath]) -> Result<Listing, Fault> {
        self.call("list", |d| {
            d.allowed(folder)?;
            if !d.is_folder(folder) {
                return Err(fault(FaultCode::ShareFolderMissing));
            }
            let mut out = Listing::default();
            // A folder with a temporary name is passed over once, whatever is in it.
            let mut closed = BTreeSet::new();
            for (path, node) in &d.files {
                let path = SharePath::new(path.as_str());
                if !path.is_under(folder) || except.iter().any(|x| path.is_under_any_case(x)) {
                    continue;
                }
                let n = &d.nodes[*node];
                let denied = d.denied.iter().find(|f| path.is_under(f));
                let reason = if let Some(above) = denied {
                    if !closed.insert(above.clone()) {
                        continue;
                    }
                    out.unlisted.push(above.clone());
                    Some(Skipped::Denied)
                } else if let Some(above) = temporary_above(folder, &path) {
                    if !closed.insert(above) {
                        continue;
                    }
                    Some(Skipped::TemporaryName)
                } else if n.link {
                    Some(Skipped::Link)
                } else if path.is_temporary() {
                    Some(Skipped::TemporaryName)
                } else {
                    n.hidden.then_some(Skipped::Hidden)
                };
                match reason {
                    Some(r) => *out.skipped.entry(r).or_insert(0) += 1,
                    None => out.files.push(Entry { stat: d.stat(*node), path }),
                }
            }
            Ok(out)
        })
    }

    async fn observe(&self, path: &SharePath) -> Result<Observation, Fault> {
        self.call("observe", |d| {
            let node = d.find(path)?;
            let writer = if d.nodes[node].writers > 0 { Writer::Present } else { Writer::Absent };
            Ok(Observation { stat: d.stat(node), writer })
        })
    }

    async fn observe_listed(&self, path: &SharePath) -> Result<Observation, Fault> {
        let seen = self.observe(path).await?;
        let d = self.disk();
        if d.find(path).is_ok_and(|n| d.nodes[n].hidden) { Err(fault(FaultCode::ShareFileGone)) } else { Ok(seen) }
    }

    async fn read(&self, path: &SharePath, size: u64) -> Result<Bytes, Fault> {
        self.call("read", |d| {
            let data = &d.nodes[d.find(path)?].data;
            if data.len() as u64 > size {
                return Err(fault(FaultCode::ShareFileChanged));
            }
            Ok(Bytes::copy_from_slice(data))
        })
    }

    async fn open(&self, path: &SharePath, offset: u64) -> Result<Box<dyn FileReader>, Fault> {
        self.call("open", |d| {
            let node = d.find(path)?;
            Ok(Box::new(FakeReader {
                inner: Arc::clone(&self.inner),
                faults: Arc::clone(&self.faults),
                node,
                stat: d.stat(node),
                next: usize::try_from(offset).unwrap_or(usize::MAX),
                connection: d.connection,
            }) as Box<dyn FileReader>)
        })
    }

    async fn create(&self, path: &SharePath, content: &Bytes) -> Result<(), Fault> {
        self.call("create", |d| {
            d.allowed(path)?;
            if !d.is_folder(&path.parent()) {
                return Err(fault(FaultCode::ShareFileGone));
            }
            if d.files.contains_key(path.expose()) || d.folders.contains(path.expose()) {
                return Err(fault(FaultCode::ShareNameTaken));
            }
            let now = d.tick();
            let node = d.nodes.len();
            d.nodes.push(Node { data: content.to_vec(), modified: now, changed: now, ..Node::default() });
            d.files.insert(path.expose().to_owned(), node);
            Ok(())
        })?;
        self.inner.touched(path);
        Ok(())
    }

    async fn rename(&self, from: &SharePath, to: &SharePath, version: Option<&FileStat>) -> Result<(), Fault> {
        self.call("rename", |d| {
            let node = d.find(from)?;
            if version.is_some_and(|v| !d.stat(node).same_content(v)) {
                return Err(fault(FaultCode::ShareFileChanged));
            }
            d.allowed(to)?;
            if d.nodes[node].writers > 0 {
                return Err(fault(FaultCode::ShareFileLocked));
            }
            if !d.is_folder(&to.parent()) {
                return Err(fault(FaultCode::ShareFileGone));
            }
            if d.files.contains_key(to.expose()) || d.folders.contains(to.expose()) {
                return Err(fault(FaultCode::ShareNameTaken));
            }
            d.nodes[node].changed = d.tick();
            d.files.remove(from.expose());
            d.files.insert(to.expose().to_owned(), node);
            Ok(())
        })?;
        self.inner.touched(from);
        self.inner.touched(to);
        Ok(())
    }

    async fn remove(&self, path: &SharePath) -> Result<(), Fault> {
        self.call("remove", |d| {
            let node = d.find(path)?;
            if d.nodes[node].writers > 0 {
                return Err(fault(FaultCode::ShareFileLocked));
            }
            d.files.remove(path.expose());
            Ok(())
        })?;
        self.inner.touched(path);
        Ok(())
    }

    async fn mkdir(&self, path: &SharePath) -> Result<(), Fault> {
        self.call("mkdir", |d| {
            d.allowed(path)?;
            if d.files.contains_key(path.expose()) {
                return Err(fault(FaultCode::ShareNameTaken));
            }
            d.mkdirs(path);
            Ok(())
        })
    }

    async fn watch(&self, folder: &SharePath) -> Result<Box<dyn Hints>, Fault> {
        self.call("watch", |d| {
            d.allowed(folder)?;
            if !d.is_folder(folder) {
                return Err(fault(FaultCode::ShareFolderMissing));
            }
            let (events, faults) = (self.inner.events.subscribe(), Arc::clone(&self.faults));
            Ok(Box::new(FakeHints { events, faults, folder: folder.clone() }) as Box<dyn Hints>)
        })
    }
}

/// The first folder with a temporary name between `folder` and `path`.
fn temporary_above(folder: &SharePath, path: &SharePath) -> Option<SharePath> {
    let mut found = None;
    let mut above = path.parent();
    while above != *folder && !above.expose().is_empty() {
        if above.is_temporary() {
            found = Some(above.clone());
        }
        above = above.parent();
    }
    found
}
