//! An organization's staging area as a share: what was received there goes through the same steps as a file of a clinic.
//! Nobody writes to it any more, so that a look never sees a writer.

use crate::ports::share::{FileReader, Hints, Listing, Share};
use crate::ports::staging::Staged;
use crate::ports::store::OrgStore;
use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use leadline_domain::observe::FILETIME_EPOCH_S;
use leadline_domain::{Digest, Fault, FaultCode, FileStat, Observation, SharePath, StagedAt, Writer};
use std::sync::Arc;

/// Bytes of one read.
const CHUNK: u64 = 8 << 20;
/// Ticks of 100 ns in a second (MS-DTYP 2.3.3).
const TICKS: u64 = 10_000_000;

/// See the module. Paths are names below `staging/`, with a version where one was judged ([`StagedAt`]).
pub struct StagedShare {
    store: Arc<dyn OrgStore>,
}

impl StagedShare {
    /// The staging area of a store.
    #[must_use]
    pub fn new(store: Arc<dyn OrgStore>) -> Self {
        Self { store }
    }

    async fn head(&self, path: &SharePath) -> Result<Staged, Fault> {
        self.store.head_staged(StagedAt::of_path(path.expose())).await?.ok_or_else(gone)
    }

    fn reader(&self, path: &SharePath, there: Staged, at: u64) -> Reader {
        let (store, path) = (Arc::clone(&self.store), path.clone());
        Reader { store, path, stat: stat(&there), etag: there.etag, at }
    }
}

fn gone() -> Fault {
    Fault::new(FaultCode::ShareFileGone, "nothing is staged under this name")
}

fn changed() -> Fault {
    Fault::new(FaultCode::ShareFileChanged, "something else is staged under this name now")
}

fn no_share() -> Fault {
    Fault::new(FaultCode::BugInvariant, "staging is no place to write to or to watch")
}

/// The tag stands for the content, so that other content under the same name is another version.
fn stat(s: &Staged) -> FileStat {
    let tag = Digest::of(s.etag.as_bytes());
    let first = tag.as_bytes().first_chunk().copied().unwrap_or_default();
    let since = u64::try_from(s.modified_s.saturating_add_unsigned(FILETIME_EPOCH_S)).unwrap_or(0);
    FileStat { file_id: 0, size: s.size, modified: since.saturating_mul(TICKS), changed: u64::from_be_bytes(first) }
}

struct Reader {
    store: Arc<dyn OrgStore>,
    path: SharePath,
    etag: String,
    stat: FileStat,
    at: u64,
}

#[async_trait]
impl FileReader for Reader {
    fn stat(&self) -> &FileStat {
        &self.stat
    }

    async fn next(&mut self) -> Result<Option<Bytes>, Fault> {
        let len = CHUNK.min(self.stat.size.saturating_sub(self.at));
        if len == 0 {
            return Ok(None);
        }
        let at = StagedAt::of_path(self.path.expose());
        let read = self.store.read_staged(at, &self.etag, self.at, len).await?.ok_or_else(changed)?;
        self.at += read.len() as u64;
        Ok((!read.is_empty()).then_some(read))
    }
}

#[async_trait]
impl Share for StagedShare {
    async fn list(&self, _folder: &SharePath, _except: &[SharePath]) -> Result<Listing, Fault> {
        Err(no_share())
    }

    async fn observe(&self, path: &SharePath) -> Result<Observation, Fault> {
        Ok(Observation { stat: stat(&self.head(path).await?), writer: Writer::Absent })
    }

    async fn read(&self, path: &SharePath, size: u64) -> Result<Bytes, Fault> {
        let there = self.head(path).await?;
        if there.size > size {
            return Err(changed());
        }
        let mut reader = self.reader(path, there, 0);
        let mut out = BytesMut::new();
        while let Some(chunk) = reader.next().await? {
            out.extend_from_slice(&chunk);
        }
        Ok(out.freeze())
    }

    async fn create(&self, _path: &SharePath, _content: &Bytes) -> Result<(), Fault> {
        Err(no_share())
    }

    async fn open(&self, path: &SharePath, offset: u64) -> Result<Box<dyn FileReader>, Fault> {
        let there = self.head(path).await?;
        Ok(Box::new(self.reader(path, there, offset)))
    }

    async fn rename(&self, _from: &SharePath, _to: &SharePath, _version: Option<&FileStat>) -> Result<(), Fault> {
        Err(no_share())
    }

    async fn remove(&self, path: &SharePath) -> Result<(), Fault> {
        self.store.remove_staged(StagedAt::of_path(path.expose()).name).await
    }

    async fn mkdir(&self, _path: &SharePath) -> Result<(), Fault> {
        Err(no_share())
    }

    async fn watch(&self, _folder: &SharePath) -> Result<Box<dyn Hints>, Fault> {
        Err(no_share())
    }
}
