//! What every [`Share`] promises, against a device that writes as a clinic's device does.

use super::store::content;
use crate::harness::tools::eventually;
use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use leadline_activities::ports::share::{FileReader, Hint, Hints, Listing, Share, Skipped};
use leadline_domain::{Digest, Fault, FaultCode, FileStat, SharePath, Writer};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// A file that a device has open for writing, until it is closed or dropped.
#[async_trait]
pub trait OpenFile: Send {
    /// Writes at an offset.
    async fn write(&mut self, offset: u64, bytes: &[u8]);
    /// Sets the length, as a device that preallocates does.
    async fn set_len(&mut self, len: u64);
    /// The device is done.
    async fn close(self: Box<Self>);
}

/// What a clinic's device does to a share. It panics when it cannot.
#[async_trait]
pub trait Device: Send + Sync {
    /// Creates or empties a file, and has it open; others may read it meanwhile.
    async fn create(&self, path: &str) -> Box<dyn OpenFile + '_>;
    /// Makes a folder; the one above exists.
    async fn mkdir(&self, path: &str);
    /// Deletes a file.
    async fn delete(&self, path: &str);
    /// Renames, replacing what is there.
    async fn replace(&self, from: &str, to: &str);

    /// Writes a whole file and closes it.
    async fn put(&self, path: &str, bytes: &[u8]) {
        let mut f = self.create(path).await;
        f.write(0, bytes).await;
        f.close().await;
    }
}

/// All cases. The share keeps names that differ in case apart.
pub async fn run_all(share: &dyn Share, device: &dyn Device) {
    names(share, device).await;
    empty_and_deep(share, device).await;
    passed_over(share, device).await;
    many(share, device).await;
    writers(share, device).await;
    readers_are_no_writers(share, device).await;
    looks_refuse_nobody(share, device).await;
    preallocated(share, device).await;
    changed_while_read(share, device).await;
    deleted_while_read(share, device).await;
    replaced(share, device).await;
    reads(share, device).await;
    cut(share, device).await;
    creations(share, device).await;
    renames(share, device).await;
    removals(share, device).await;
    folders(share, device).await;
    missing(share).await;
    hints(share, device).await;
}

/// The path of a name in a case's own folder.
fn path(folder: &str, name: &str) -> SharePath {
    SharePath::new(folder).join(name)
}

/// The code of a fault, whose text holds no name of a file or folder.
pub fn code<T>(r: Result<T, Fault>) -> Option<FaultCode> {
    let f = r.err()?;
    assert!(!f.detail.contains("c-") && !f.detail.contains('/'), "a path in a fault: {f}");
    Some(f.code)
}

async fn list(share: &dyn Share, folder: &str) -> Listing {
    share.list(&SharePath::new(folder), &[]).await.expect("the folder is listed")
}

fn stats(l: &Listing) -> BTreeMap<SharePath, FileStat> {
    let by_path: BTreeMap<_, _> = l.files.iter().map(|e| (e.path.clone(), e.stat.clone())).collect();
    assert_eq!(by_path.len(), l.files.len(), "a path is listed once");
    by_path
}

async fn stat(share: &dyn Share, p: &SharePath) -> FileStat {
    let o = share.observe(p).await.expect("the file is seen");
    assert_eq!(o.writer, Writer::Absent);
    o.stat
}

async fn drain(reader: &mut dyn FileReader) -> Result<Vec<u8>, Fault> {
    let mut all = Vec::new();
    while let Some(chunk) = reader.next().await? {
        assert!(!chunk.is_empty(), "an empty chunk is no end");
        all.extend_from_slice(&chunk);
    }
    assert_eq!(reader.next().await, Ok(None), "the end stays the end");
    Ok(all)
}

/// Names come back byte for byte, each is its own file, and a listing and a look agree on all they say of it.
pub async fn names(share: &dyn Share, device: &dyn Device) {
    device.mkdir("c-names").await;
    let long = format!("{}.d", "ä".repeat(126) + "x");
    assert_eq!(long.len(), 255);
    let all = [
        "a b  c.dcm",
        "M\u{fc}ller.dcm",
        "Mu\u{308}ller.dcm",
        "case.dcm",
        "CASE.dcm",
        "心電図.xml",
        "100% #1 (2) & [x] {y}=+,;'~!@$^.scp",
        "with\u{a0}space.xml",
        &long,
    ];
    for (n, name) in all.iter().enumerate() {
        device.put(&format!("c-names/{name}"), &vec![b'x'; n + 1]).await;
    }
    let listed = stats(&list(share, "c-names").await);
    assert_eq!(listed.len(), all.len());
    let ids: BTreeSet<u64> = listed.values().map(|s| s.file_id).collect();
    assert_eq!(ids.len(), all.len(), "each has a number of its own");
    assert!(!ids.contains(&0));
    for (n, name) in all.iter().enumerate() {
        let p = path("c-names", name);
        let s = listed.get(&p).expect("the name is listed as it was written");
        assert_eq!(s.size, n as u64 + 1);
        assert_eq!(&stat(share, &p).await, s, "listing and look agree");
        let reader = share.open(&p, 0).await.expect("opens");
        assert_eq!(reader.stat(), s, "listing and open agree");
        assert_eq!(share.read(&p, s.size).await, Ok(Bytes::from(vec![b'x'; n + 1])));
    }
}

/// A file of no bytes, and one far down.
pub async fn empty_and_deep(share: &dyn Share, device: &dyn Device) {
    device.mkdir("c-deep").await;
    device.put("c-deep/empty", b"").await;
    let p = path("c-deep", "empty");
    assert_eq!(stat(share, &p).await.size, 0);
    assert_eq!(share.read(&p, 0).await, Ok(Bytes::new()));
    let mut reader = share.open(&p, 0).await.expect("opens");
    assert_eq!(drain(reader.as_mut()).await, Ok(vec![]));
    let mut folder = "c-deep".to_owned();
    for n in 0..20 {
        folder = format!("{folder}/level {n}");
        device.mkdir(&folder).await;
    }
    device.put(&format!("{folder}/x.dcm"), b"deep").await;
    let deep = path(&folder, "x.dcm");
    assert_eq!(list(share, "c-deep").await.files.len(), 2);
    assert_eq!(share.read(&deep, 4).await, Ok(Bytes::from_static(b"deep")));
}

/// What a listing passes over is counted; the archive folder is not even counted.
pub async fn passed_over(share: &dyn Share, device: &dyn Device) {
    for d in ["c-skip", "c-skip/_archive", "c-skip/_archive2", "c-skip/export.tmp", "c-skip/.snapshot"] {
        device.mkdir(d).await;
    }
    for f in ["a.dcm", ".b", "c.tmp", "d.PART", "e.filepart", "f.crdownload", "~$g.xml"] {
        device.put(&format!("c-skip/{f}"), b"x").await;
    }
    for f in ["_archive/a.dcm", "_archive2/b.dcm", "export.tmp/c.dcm", ".snapshot/d.dcm", ".snapshot/e.dcm"] {
        device.put(&format!("c-skip/{f}"), b"x").await;
    }
    let except = [path("c-skip", "_archive")];
    let l = share.list(&SharePath::new("c-skip"), &except).await.expect("lists");
    let found: BTreeSet<SharePath> = stats(&l).into_keys().collect();
    assert_eq!(found, [path("c-skip", "a.dcm"), path("c-skip", "_archive2/b.dcm")].into());
    assert_eq!(l.skipped, [(Skipped::TemporaryName, 8)].into());
}

/// More than one answer of the server holds.
pub async fn many(share: &dyn Share, device: &dyn Device) {
    device.mkdir("c-many").await;
    futures::stream::iter(0..3000)
        .for_each_concurrent(16, |n| async move {
            device.put(&format!("c-many/{n:04}_a rather long name as devices make them.dcm"), b"x").await;
        })
        .await;
    let l = list(share, "c-many").await;
    assert_eq!((stats(&l).len(), l.skipped.len()), (3000, 0));
}

/// While a device has a file open it is seen, and afterwards not; the listing agrees at all times.
pub async fn writers(share: &dyn Share, device: &dyn Device) {
    device.mkdir("c-write").await;
    let p = path("c-write", "growing.dcm");
    let mut f = device.create("c-write/growing.dcm").await;
    let first = share.observe(&p).await.expect("a held file is no fault");
    assert_eq!((first.writer, first.stat.size), (Writer::Present, 0));
    f.write(0, &content(1000)).await;
    let second = share.observe(&p).await.expect("a held file is no fault");
    assert_eq!((second.writer, second.stat.size), (Writer::Present, 1000));
    assert_eq!(first.stat.file_id, second.stat.file_id);
    // The look has left nothing behind that would hinder the device.
    f.write(1000, &content(1000)).await;
    f.close().await;
    let closed = stat(share, &p).await;
    assert_eq!((closed.size, closed.file_id), (2000, first.stat.file_id));
    assert_eq!(stats(&list(share, "c-write").await)[&p], closed);
    let again = device.create("c-write/growing.dcm").await;
    assert_eq!(share.observe(&p).await.map(|o| o.writer), Ok(Writer::Present));
    again.close().await;
    assert_ne!(stat(share, &p).await, closed, "a rewrite is another version");
}

/// Whoever only reads is no writer, neither to a look nor to the device.
pub async fn readers_are_no_writers(share: &dyn Share, device: &dyn Device) {
    device.mkdir("c-read").await;
    device.put("c-read/a", &content(200_000)).await;
    let p = path("c-read", "a");
    let mut reader = share.open(&p, 0).await.expect("opens");
    reader.next().await.expect("reads");
    stat(share, &p).await;
    device.put("c-read/a", b"again").await;
    drop(reader);
    assert_eq!(stat(share, &p).await.size, 5);
}

/// A device that comes back in the middle of a look is let in: most devices give up a recording that they cannot open.
pub async fn looks_refuse_nobody(share: &dyn Share, device: &dyn Device) {
    device.mkdir("c-look").await;
    device.put("c-look/a", b"0").await;
    let p = path("c-look", "a");
    let (written, mut free) = (AtomicBool::new(false), 0);
    let write = async {
        for n in 0..500_usize {
            device.put("c-look/a", &content(n)).await;
            tokio::task::yield_now().await;
        }
        written.store(true, Ordering::Relaxed);
    };
    let look = async {
        while !written.load(Ordering::Relaxed) {
            free += usize::from(share.observe(&p).await.expect("a held file is no fault").writer == Writer::Absent);
            tokio::task::yield_now().await;
        }
    };
    futures::join!(write, look);
    assert!(free > 0, "no look fell between two writes");
    assert_eq!(stat(share, &p).await.size, 499);
}

/// Size and times stand still while a preallocating device writes: only the open file tells.
pub async fn preallocated(share: &dyn Share, device: &dyn Device) {
    device.mkdir("c-prealloc").await;
    let p = path("c-prealloc", "a");
    let mut f = device.create("c-prealloc/a").await;
    f.set_len(300_000).await;
    for n in 0..3 {
        let o = share.observe(&p).await.expect("a held file is no fault");
        assert_eq!((o.writer, o.stat.size), (Writer::Present, 300_000));
        f.write(n * 100_000, &content(100_000)).await;
    }
    f.close().await;
    assert_eq!(stat(share, &p).await.size, 300_000);
}

/// A look after the last byte tells that a file was written to meanwhile.
pub async fn changed_while_read(share: &dyn Share, device: &dyn Device) {
    device.mkdir("c-changed").await;
    device.put("c-changed/a", &content(1_000_000)).await;
    let p = path("c-changed", "a");
    let before = stat(share, &p).await;
    let mut reader = share.open(&p, 0).await.expect("opens");
    assert_eq!(reader.stat(), &before);
    reader.next().await.expect("reads");
    // A device does not write faster than the server's clock ticks; a loop would.
    eventually("another version", Duration::from_secs(10), || async {
        device.put("c-changed/a", &content(1_000_000)).await;
        (stat(share, &p).await != before).then_some(())
    })
    .await;
    let mut f = device.create("c-changed/a").await;
    f.write(0, &content(2_000)).await;
    f.close().await;
    assert_eq!(code(share.read(&p, 1_000).await), Some(FaultCode::ShareFileChanged), "longer than expected");
}

/// A file that is deleted under its reader is gone to the next look.
pub async fn deleted_while_read(share: &dyn Share, device: &dyn Device) {
    device.mkdir("c-deleted").await;
    device.put("c-deleted/a", &content(2_000_000)).await;
    let p = path("c-deleted", "a");
    let mut reader = share.open(&p, 0).await.expect("opens");
    reader.next().await.expect("reads");
    device.delete("c-deleted/a").await;
    assert_eq!(code(share.observe(&p).await), Some(FaultCode::ShareFileGone));
    assert_eq!(code(share.read(&p, 1).await), Some(FaultCode::ShareFileGone));
    // The rest may come or not; the reader ends in either case.
    if let Err(f) = drain(reader.as_mut()).await {
        assert_eq!(f.code, FaultCode::ShareFileGone);
    }
    drop(reader);
    eventually("an empty folder", Duration::from_secs(10), || async {
        list(share, "c-deleted").await.files.is_empty().then_some(())
    })
    .await;
}

/// Another file at the same path has another number.
pub async fn replaced(share: &dyn Share, device: &dyn Device) {
    device.mkdir("c-replaced").await;
    let p = path("c-replaced", "a");
    device.put("c-replaced/a", b"one").await;
    let before = stat(share, &p).await;
    device.put("c-replaced/new.tmp", b"two").await;
    device.replace("c-replaced/new.tmp", "c-replaced/a").await;
    assert_ne!(stat(share, &p).await.file_id, before.file_id);
    assert_eq!(list(share, "c-replaced").await.files.len(), 1);
}

/// From the beginning and from anywhere, at once and in pieces.
pub async fn reads(share: &dyn Share, device: &dyn Device) {
    device.mkdir("c-reads").await;
    let large = content(20_000_001);
    device.put("c-reads/large", &large).await;
    let (p, size) = (path("c-reads", "large"), large.len() as u64);
    for offset in [0, 1, 524_288, 10_000_000, size - 1, size, size + 1] {
        let mut reader = share.open(&p, offset).await.expect("opens");
        assert_eq!(reader.stat().size, size);
        let got = drain(reader.as_mut()).await.expect("reads");
        let rest = large.get(usize::try_from(offset).expect("fits")..).unwrap_or_default();
        assert!(got == rest, "from {offset}: {} bytes of {}", got.len(), rest.len());
    }
    assert!(share.read(&p, size).await == Ok(large.clone()), "more than one answer holds");
    for len in [1, 65_535, 65_536, 65_537, 1_048_576] {
        let small = content(len);
        device.put("c-reads/small", &small).await;
        assert_eq!(share.read(&path("c-reads", "small"), len as u64).await, Ok(small));
    }
    let small = content(50_000);
    device.put("c-reads/small", &small).await;
    let digests: BTreeSet<Digest> = futures::stream::iter(0..64)
        .map(|_| async { Digest::of(&share.read(&path("c-reads", "small"), 50_000).await.expect("reads")) })
        .buffer_unordered(16)
        .collect()
        .await;
    assert_eq!(digests, [Digest::of(&small)].into());
}

/// A file that became shorter yields what is left.
pub async fn cut(share: &dyn Share, device: &dyn Device) {
    device.mkdir("c-cut").await;
    device.put("c-cut/a", &content(100)).await;
    let kept = content(10);
    device.put("c-cut/a", &kept).await;
    assert_eq!(share.read(&path("c-cut", "a"), 100).await, Ok(kept));
}

/// A new file is whole when it is there, and takes no other's name.
pub async fn creations(share: &dyn Share, device: &dyn Device) {
    device.mkdir("c-create").await;
    for len in [0, 1, 100_000] {
        let (p, bytes) = (path("c-create", &format!("{len}.dcm")), content(len));
        share.create(&p, &bytes).await.expect("creates");
        assert_eq!(share.read(&p, len as u64).await, Ok(bytes.clone()));
        assert_eq!(share.observe(&p).await.expect("looks").writer, Writer::Absent);
        assert_eq!(code(share.create(&p, &content(5)).await), Some(FaultCode::ShareNameTaken));
        assert_eq!(share.read(&p, len as u64).await, Ok(bytes));
    }
    let none = path("c-create", "none/a");
    assert_eq!(code(share.create(&none, &content(1)).await), Some(FaultCode::ShareFileGone), "no such folder");
}

/// Nothing is ever replaced, and nothing is taken from a writer.
pub async fn renames(share: &dyn Share, device: &dyn Device) {
    device.mkdir("c-rename").await;
    device.mkdir("c-rename/to").await;
    let (a, to) = (path("c-rename", "a"), path("c-rename", "to/a"));
    device.put("c-rename/a", b"one").await;
    let before = stat(share, &a).await;
    share.rename(&a, &to, None).await.expect("renames");
    let after = stat(share, &to).await;
    assert_eq!((after.file_id, after.size, after.modified), (before.file_id, 3, before.modified));
    assert_eq!(code(share.rename(&a, &to, None).await), Some(FaultCode::ShareFileGone));
    device.put("c-rename/a", b"other").await;
    assert_eq!(code(share.rename(&a, &to, None).await), Some(FaultCode::ShareNameTaken));
    assert_eq!(share.read(&a, 5).await, Ok(Bytes::from_static(b"other")));
    assert_eq!(share.read(&to, 3).await, Ok(Bytes::from_static(b"one")));
    let none = path("c-rename", "none/a");
    assert_eq!(code(share.rename(&a, &none, None).await), Some(FaultCode::ShareFileGone), "no such folder");
    let mut f = device.create("c-rename/a").await;
    assert_eq!(code(share.rename(&a, &path("c-rename", "to/b"), None).await), Some(FaultCode::ShareFileLocked));
    f.write(0, b"goes on").await;
    f.close().await;
    let strange = path("c-rename", "to/a (2)_Ä%.dcm");
    assert_eq!(code(share.rename(&a, &strange, Some(&before)).await), Some(FaultCode::ShareFileChanged));
    let now = stat(share, &a).await;
    share.rename(&a, &strange, Some(&now)).await.expect("renames");
    assert_eq!(share.read(&strange, 7).await, Ok(Bytes::from_static(b"goes on")));
}

/// A file goes, but not from under a writer.
pub async fn removals(share: &dyn Share, device: &dyn Device) {
    device.mkdir("c-remove").await;
    let a = path("c-remove", "a");
    let mut f = device.create("c-remove/a").await;
    assert_eq!(code(share.remove(&a).await), Some(FaultCode::ShareFileLocked));
    f.write(0, b"x").await;
    f.close().await;
    assert_eq!(share.read(&a, 1).await, Ok(Bytes::from_static(b"x")));
    assert_eq!(share.remove(&a).await, Ok(()));
    assert_eq!(code(share.remove(&a).await), Some(FaultCode::ShareFileGone));
    assert_eq!(code(share.observe(&a).await), Some(FaultCode::ShareFileGone));
}

/// Folders are made with the ones above; a file is not one.
pub async fn folders(share: &dyn Share, device: &dyn Device) {
    let deep = path("c-folders", "a/b/c");
    for _ in 0..2 {
        assert_eq!(share.mkdir(&deep).await, Ok(()));
    }
    assert_eq!(list(share, "c-folders").await, Listing::default());
    assert_eq!(code(share.observe(&deep).await), Some(FaultCode::ShareFileGone), "a folder is no file");
    assert_eq!(code(share.open(&deep, 0).await), Some(FaultCode::ShareFileGone), "a folder is no file");
    device.put("c-folders/a/file", b"x").await;
    assert_eq!(code(share.mkdir(&path("c-folders", "a/file")).await), Some(FaultCode::ShareNameTaken));
}

/// What is not there.
pub async fn missing(share: &dyn Share) {
    let (folder, file) = (SharePath::new("c-none"), path("c-none", "a"));
    assert_eq!(code(share.list(&folder, &[]).await), Some(FaultCode::ShareFolderMissing));
    assert_eq!(code(share.watch(&folder).await), Some(FaultCode::ShareFolderMissing));
    for p in [file, SharePath::new("c-none")] {
        assert_eq!(code(share.observe(&p).await), Some(FaultCode::ShareFileGone));
        assert_eq!(code(share.read(&p, 1).await), Some(FaultCode::ShareFileGone));
        assert_eq!(code(share.open(&p, 0).await), Some(FaultCode::ShareFileGone));
        assert_eq!(code(share.remove(&p).await), Some(FaultCode::ShareFileGone));
    }
}

/// Waits until the path, or an overflow, is hinted at.
pub async fn hinted(hints: &mut dyn Hints, p: &SharePath) {
    let found = async {
        loop {
            let batch = hints.next().await.expect("the watch goes on");
            if batch.iter().any(|h| *h == Hint::Overflow || *h == Hint::Touched(p.clone())) {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(10), found).await.expect("a hint comes");
}

/// A watch tells of what happens after it was made, even if it is asked later, here and below.
pub async fn hints(share: &dyn Share, device: &dyn Device) {
    device.mkdir("c-watch").await;
    device.mkdir("c-watch/below").await;
    let mut watch = share.watch(&SharePath::new("c-watch")).await.expect("watches");
    device.put("c-watch/a.dcm", b"x").await;
    hinted(watch.as_mut(), &path("c-watch", "a.dcm")).await;
    device.put("c-watch/below/b.dcm", b"x").await;
    hinted(watch.as_mut(), &path("c-watch", "below/b.dcm")).await;
    device.put("c-watch/c.tmp", b"x").await;
    device.replace("c-watch/c.tmp", "c-watch/c.dcm").await;
    hinted(watch.as_mut(), &path("c-watch", "c.dcm")).await;
    // Giving up a wait loses nothing.
    assert!(
        tokio::time::timeout(Duration::from_millis(1), async { while watch.next().await.is_ok() {} }).await.is_err()
    );
    device.put("c-watch/d.dcm", b"x").await;
    hinted(watch.as_mut(), &path("c-watch", "d.dcm")).await;
}
