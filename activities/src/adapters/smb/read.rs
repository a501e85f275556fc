//! Reading in order with several reads in flight.

use super::errors::{Doing, fault};
use crate::ports::share::FileReader;
use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesOrdered;
use leadline_domain::{Fault, FileStat};
use smb2::client::stream::FileReader as Handle;
use std::sync::Arc;

/// Bytes of one read, and reads in flight: 6 MiB at most are held.
const CHUNK: u64 = 1024 * 1024;
const IN_FLIGHT: usize = 6;

/// See [`FileReader`].
pub(super) struct Reader {
    handle: Arc<Handle>,
    stat: FileStat,
    next: u64,
    reads: FuturesOrdered<BoxFuture<'static, smb2::Result<Vec<u8>>>>,
}

impl Reader {
    pub(super) fn new(handle: Handle, stat: FileStat, offset: u64) -> Self {
        Self { handle: Arc::new(handle), stat, next: offset, reads: FuturesOrdered::new() }
    }

    fn fill(&mut self) {
        while self.reads.len() < IN_FLIGHT && self.next < self.stat.size {
            let (handle, at, len) = (Arc::clone(&self.handle), self.next, CHUNK.min(self.stat.size - self.next));
            self.next += len;
            self.reads.push_back(Box::pin(async move { handle.read_at(at, len).await }));
        }
    }
}

#[async_trait]
impl FileReader for Reader {
    fn stat(&self) -> &FileStat {
        &self.stat
    }

    async fn next(&mut self) -> Result<Option<Bytes>, Fault> {
        self.fill();
        match self.reads.next().await {
            None => Ok(None),
            Some(Ok(chunk)) => {
                // A short read means that the file was cut meanwhile; the caller counts bytes and looks again.
                if chunk.is_empty() {
                    self.next = self.stat.size;
                    self.reads = FuturesOrdered::new();
                    return Ok(None);
                }
                Ok(Some(Bytes::from(chunk)))
            }
            Some(Err(e)) => {
                self.next = self.stat.size;
                self.reads = FuturesOrdered::new();
                Err(fault(Doing::Read, &e))
            }
        }
    }
}
