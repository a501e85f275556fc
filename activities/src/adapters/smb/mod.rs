//! An SMB share through the `smb2` crate (docs/adr/0001-smb2.md): SMB 3.1.1, signed, encrypted where the server asks.

mod change;
mod connection;
mod errors;
mod line;
mod list;
mod look;
mod names;
mod odd;
mod read;
mod watch;
mod wire;

use crate::ports::share::{FileReader, Hints, Listing, Share, Skipped};
use crate::secret::Secret;
use async_trait::async_trait;
use bytes::Bytes;
use connection::Link;
use errors::{Doing, fault, loses_connection};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use leadline_domain::{Fault, FaultCode, FileStat, Observation, SharePath};
use line::Line;
use std::time::Duration;

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
    /// Longest time one request may take. One of less than 35 s, which a server waits for another client to give up a
    /// batch oplock, makes such an open fail as a timeout; its repeat succeeds.
    pub response_timeout: Duration,
    /// Refuse a session that is not encrypted, even if the share does not ask for it.
    pub require_encryption: bool,
}

impl SmbConfig {
    fn host(&self) -> String {
        self.address.rsplit_once(':').map_or(self.address.as_str(), |(h, _)| h).to_owned()
    }
}

/// One share, as one organization's user. Connects when it is first used, and again after a loss. One connection: its
/// requests go out side by side, and a second one was measured to read small files no faster.
pub struct SmbShare {
    config: SmbConfig,
    line: Line,
}

impl SmbShare {
    /// A share that is not connected yet. Only SMB 3.1.1 is spoken: older dialects cannot tell whether someone on the
    /// way talked both sides down (MS-SMB2 3.2.5.2).
    #[must_use]
    pub fn new(config: SmbConfig) -> Self {
        Self { config, line: Line::default() }
    }

    /// Runs a request. One that fails because an old connection has died is repeated once on a new one if `repeat`.
    async fn run<T, F>(&self, doing: Doing, repeat: bool, request: impl Fn(Link) -> F) -> Result<T, Fault>
    where
        F: Future<Output = smb2::Result<T>>,
    {
        let mut repeat = repeat;
        loop {
            let (link, old) = self.line.link(&self.config).await?;
            let e = match request(link.clone()).await {
                Ok(t) => return Ok(t),
                Err(e) => e,
            };
            let f = fault(doing, &e);
            if loses_connection(&e) {
                self.line.lost(&link).await;
                if old && repeat && f.code == FaultCode::ShareUnreachable {
                    repeat = false;
                    continue;
                }
            }
            return Err(f);
        }
    }
}

#[async_trait]
impl Share for SmbShare {
    async fn list(&self, folder: &SharePath, except: &[SharePath]) -> Result<Listing, Fault> {
        let mut out = Listing::default();
        let mut waiting = vec![list::Folder::top(folder.clone())];
        let mut listing = FuturesUnordered::new();
        loop {
            while listing.len() < list::AT_ONCE
                && let Some(f) = waiting.pop()
            {
                listing.push(async {
                    let path = &f.path;
                    let entries =
                        self.run(Doing::List, true, |l| async move { list::entries(&l, path.expose()).await }).await;
                    (f, entries)
                });
            }
            match listing.next().await {
                None => return Ok(out),
                Some((f, Ok(entries))) => waiting.extend(list::sort(&f, &entries, except, &mut out)),
                // A folder below may have gone meanwhile; the watched one must be there.
                Some((f, Err(e))) if e.code == FaultCode::ShareFolderMissing && f.path != *folder => {}
                Some((f, Err(e))) if list::concerns_it_alone(e.code) && f.path != *folder => {
                    tracing::debug!(fault = %e, "a folder below cannot be listed");
                    *out.skipped.entry(Skipped::Denied).or_insert(0) += 1;
                    out.unlisted.push(f.path);
                }
                Some((_, Err(e))) => return Err(e),
            }
        }
    }

    async fn observe(&self, path: &SharePath) -> Result<Observation, Fault> {
        self.run(Doing::Look, true, |l| async move { look::observe(&l, path.expose()).await.map(|s| s.look) }).await
    }

    async fn observe_listed(&self, path: &SharePath) -> Result<Observation, Fault> {
        let seen = self.run(Doing::Look, true, |l| async move { look::observe(&l, path.expose()).await }).await?;
        seen.listed().ok_or_else(|| Fault::new(FaultCode::ShareFileGone, "Look: a listing passes over it"))
    }

    async fn read(&self, path: &SharePath, size: u64) -> Result<Bytes, Fault> {
        let read = self.run(Doing::Read, true, |l| async move {
            // What does not fit one answer of this server is read as a stream.
            if l.conn.params().is_some_and(|p| size > u64::from(p.max_read_size)) {
                return Ok(None);
            }
            let mut conn = l.conn.clone();
            l.bounded(l.tree.read_file_compound_sized(&mut conn, path.expose(), size)).await.map(Some)
        });
        if let Some(bytes) = read.await? {
            return Ok(Bytes::from(bytes));
        }
        let mut reader = self.open(path, 0).await?;
        if reader.stat().size > size {
            return Err(Fault::new(FaultCode::ShareFileChanged, "the file is longer than it was"));
        }
        let mut all = bytes::BytesMut::with_capacity(usize::try_from(reader.stat().size).unwrap_or(0));
        while let Some(chunk) = reader.next().await? {
            all.extend_from_slice(&chunk);
        }
        Ok(all.freeze())
    }

    async fn open(&self, path: &SharePath, offset: u64) -> Result<Box<dyn FileReader>, Fault> {
        self.run(Doing::Read, true, |l| async move {
            let reader = read::open(&l, path.expose(), offset).await?;
            Ok(Box::new(reader) as Box<dyn FileReader>)
        })
        .await
    }

    async fn create(&self, path: &SharePath, content: &Bytes) -> Result<(), Fault> {
        self.run(Doing::Create, false, |l| async move {
            let mut conn = l.conn.clone();
            let write = l.tree.write_file_compound_exclusive(&mut conn, path.expose(), content);
            l.bounded(write).await.map(|_| ())
        })
        .await
    }

    async fn rename(&self, from: &SharePath, to: &SharePath, version: Option<&FileStat>) -> Result<(), Fault> {
        // Not repeated: after a lost connection it may have happened.
        let rename = |l: Link| async move { change::rename(&l, from.expose(), to.expose(), version).await };
        if self.run(Doing::Rename, false, rename).await? {
            Ok(())
        } else {
            Err(Fault::new(FaultCode::ShareFileChanged, "another version of the file is there"))
        }
    }

    async fn remove(&self, path: &SharePath) -> Result<(), Fault> {
        self.run(Doing::Remove, false, |l| async move { change::remove(&l, path.expose()).await }).await
    }

    async fn mkdir(&self, path: &SharePath) -> Result<(), Fault> {
        let make = async |p: &SharePath| {
            self.run(Doing::MakeFolder, true, |l| async move { change::make_folder(&l, p.expose()).await }).await
        };
        // Most often only the last one is missing, or none.
        match make(path).await {
            Err(f) if f.code == FaultCode::ShareFileGone => {}
            r => return r,
        }
        let mut above = SharePath::new("");
        for part in path.expose().split('/') {
            above = above.join(part);
            make(&above).await?;
        }
        Ok(())
    }

    async fn watch(&self, folder: &SharePath) -> Result<Box<dyn Hints>, Fault> {
        self.run(Doing::Watch, true, |l| async move {
            let hints = watch::subscribe(l, folder.clone()).await?;
            Ok(Box::new(hints) as Box<dyn Hints>)
        })
        .await
    }
}
