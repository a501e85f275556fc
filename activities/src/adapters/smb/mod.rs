//! An SMB share through the `smb2` crate (docs/adr/0001-smb2.md): SMB 3.1.1, signed, encrypted where the server asks.

mod connection;
mod errors;
mod look;
mod read;
mod watch;

use crate::ports::share::{Entry, FileReader, Hints, Listing, Share, Skipped};
use crate::secret::Secret;
use async_trait::async_trait;
use bytes::Bytes;
use connection::Link;
use errors::{Doing, fault, loses_connection};
use leadline_domain::{Fault, FaultCode, FileStat, Observation, SharePath};
use smb2::client::ListOptions;
use smb2::{DirectoryEntry, FileAttributes};
use std::time::Duration;
use tokio::sync::Mutex;

/// How to reach a share.
#[derive(Debug, Clone)]
pub struct SmbConfig {
    /// `host:port`.
    pub address: String,
    /// Share name.
    pub share: String,
    /// User.
    pub user: String,
    /// Password.
    pub password: Secret,
    /// NTLM domain; empty for a standalone server.
    pub domain: String,
    /// Longest time one request may take. The default of 30 s is below the 35 s that a server waits for another client
    /// to give up a batch oplock: such an open fails as a timeout and is repeated.
    pub response_timeout: Duration,
    /// Refuse a session that is not encrypted, even if the share does not ask for it.
    pub require_encryption: bool,
}

impl SmbConfig {
    fn host(&self) -> String {
        self.address.rsplit_once(':').map_or(self.address.as_str(), |(h, _)| h).to_owned()
    }
}

/// One share, as one organization's user. Connects when it is first used, and again after a loss.
pub struct SmbShare {
    config: SmbConfig,
    link: Mutex<Option<Link>>,
}

impl SmbShare {
    /// A share that is not connected yet.
    #[must_use]
    pub fn new(config: SmbConfig) -> Self {
        Self { config, link: Mutex::new(None) }
    }

    /// The current link and whether it was there already.
    async fn link(&self) -> Result<(Link, bool), Fault> {
        let mut slot = self.link.lock().await;
        if let Some(l) = slot.as_ref()
            && !l.conn.is_disconnected()
        {
            return Ok((l.clone(), true));
        }
        let l = connection::connect(&self.config).await?;
        *slot = Some(l.clone());
        Ok((l, false))
    }

    /// Drops a link that failed, unless another call has replaced it already.
    async fn lost(&self, link: &Link) {
        let mut slot = self.link.lock().await;
        if slot.as_ref().is_some_and(|l| l.tree.tree_id == link.tree.tree_id) {
            *slot = None;
        }
    }

    /// Runs a request. One that fails because an old connection has died is repeated once on a new one if `repeat`.
    async fn run<T, F>(&self, doing: Doing, repeat: bool, request: impl Fn(Link) -> F) -> Result<T, Fault>
    where
        F: Future<Output = smb2::Result<T>>,
    {
        loop {
            let (link, old) = self.link().await?;
            let f = match request(link.clone()).await {
                Ok(t) => return Ok(t),
                Err(e) => fault(doing, &e),
            };
            if loses_connection(f.code) {
                self.lost(&link).await;
                if old && repeat && f.code == FaultCode::ShareUnreachable {
                    continue;
                }
            }
            return Err(f);
        }
    }
}

fn stat_of(e: &DirectoryEntry) -> FileStat {
    FileStat { file_id: e.index_number.unwrap_or(0), size: e.size, modified: e.modified.0, changed: e.changed.0 }
}

/// Why a listing passes over an entry, if it does.
fn skip(e: &DirectoryEntry, path: &SharePath) -> Option<Skipped> {
    if e.is_link() || e.reparse_tag.is_some() {
        Some(Skipped::Link)
    } else if path.is_temporary() {
        Some(Skipped::TemporaryName)
    } else if e.attributes.contains(FileAttributes::HIDDEN) || e.attributes.contains(FileAttributes::SYSTEM) {
        Some(Skipped::Hidden)
    } else {
        None
    }
}

#[async_trait]
impl Share for SmbShare {
    async fn list(&self, folder: &SharePath, except: &[SharePath]) -> Result<Listing, Fault> {
        let mut out = Listing::default();
        let mut folders = vec![folder.clone()];
        while let Some(dir) = folders.pop() {
            let listed = self
                .run(Doing::List, true, |l| {
                    let dir = dir.clone();
                    async move {
                        let options = ListOptions::new().index_numbers(true);
                        l.tree.list_directory_with(&mut l.conn.clone(), dir.expose(), options).await
                    }
                })
                .await;
            let entries = match listed {
                Ok(e) => e,
                // A folder below may have gone meanwhile; the watched one must be there.
                Err(f) if f.code == FaultCode::ShareFolderMissing && dir != *folder => continue,
                Err(f) => return Err(f),
            };
            for e in entries.iter().filter(|e| e.name != "." && e.name != "..") {
                let path = dir.join(&e.name);
                if except.iter().any(|x| path.is_under(x)) {
                    continue;
                }
                if let Some(reason) = skip(e, &path) {
                    *out.skipped.entry(reason).or_insert(0) += 1;
                } else if e.is_directory {
                    folders.push(path);
                } else {
                    out.files.push(Entry { path, stat: stat_of(e) });
                }
            }
        }
        Ok(out)
    }

    async fn observe(&self, path: &SharePath) -> Result<Observation, Fault> {
        self.run(Doing::Look, true, |l| async move { look::observe(&l, path.expose()).await }).await
    }

    async fn read(&self, path: &SharePath, size: u64) -> Result<Bytes, Fault> {
        let (link, _) = self.link().await?;
        if link.conn.params().is_some_and(|p| size > u64::from(p.max_read_size)) {
            let mut reader = self.open(path, 0).await?;
            let mut all = bytes::BytesMut::with_capacity(usize::try_from(size).unwrap_or(0));
            while let Some(chunk) = reader.next().await? {
                all.extend_from_slice(&chunk);
                if all.len() as u64 > size {
                    return Err(Fault::new(FaultCode::ShareFileChanged, "the file is longer than it was"));
                }
            }
            return Ok(all.freeze());
        }
        self.run(Doing::Read, true, |l| async move {
            l.tree.read_file_compound_sized(&mut l.conn.clone(), path.expose(), size).await
        })
        .await
        .map(Bytes::from)
    }

    async fn open(&self, path: &SharePath, offset: u64) -> Result<Box<dyn FileReader>, Fault> {
        self.run(Doing::Read, true, |l| async move {
            let stat = look::stat(&l, path.expose()).await?;
            let handle = l.tree.open_file_reader(l.conn.clone(), path.expose()).await?;
            let stat = FileStat { size: handle.size(), ..stat };
            Ok(Box::new(read::Reader::new(handle, stat, offset)) as Box<dyn FileReader>)
        })
        .await
    }

    async fn rename(&self, from: &SharePath, to: &SharePath) -> Result<(), Fault> {
        // Not repeated: after a lost connection it may have happened.
        self.run(Doing::Rename, false, |l| async move {
            l.tree.rename(&mut l.conn.clone(), from.expose(), to.expose()).await
        })
        .await
    }

    async fn remove(&self, path: &SharePath) -> Result<(), Fault> {
        self.run(Doing::Remove, false, |l| async move { l.tree.delete_file(&mut l.conn.clone(), path.expose()).await })
            .await
    }

    async fn mkdir(&self, path: &SharePath) -> Result<(), Fault> {
        let make = |p: SharePath| async move {
            let made = self
                .run(Doing::MakeFolder, true, |l| {
                    let p = p.clone();
                    async move { l.tree.create_directory(&mut l.conn.clone(), p.expose()).await }
                })
                .await;
            match made {
                Err(f) if f.code == FaultCode::ShareNameTaken => Ok(()),
                r => r,
            }
        };
        match make(path.clone()).await {
            Err(f) if f.code == FaultCode::ShareFileGone => {}
            r => return r,
        }
        let mut above = SharePath::new("");
        for part in path.expose().split('/') {
            above = above.join(part);
            make(above.clone()).await?;
        }
        Ok(())
    }

    async fn watch(&self, folder: &SharePath) -> Result<Box<dyn Hints>, Fault> {
        self.run(Doing::Watch, true, |l| async move {
            let watcher = l.tree.watch(&mut l.conn.clone(), folder.expose(), true).await?;
            Ok(Box::new(watch::Notifications::new(watcher, l, folder.clone())) as Box<dyn Hints>)
        })
        .await
    }
}
