//! What reads a share in memory: files, and hints of what was touched.

use super::{Event, FaultPlan, Inner, fault, lock, temporary_above};
use crate::ports::share::{FileReader, Hint, Hints};
use async_trait::async_trait;
use bytes::Bytes;
use leadline_domain::{Fault, FaultCode, FileStat, SharePath};
use std::sync::Arc;
use tokio::sync::broadcast;

/// Bytes that a reader yields at a time.
const CHUNK: usize = 64 * 1024;

pub(super) struct FakeReader {
    pub(super) inner: Arc<Inner>,
    pub(super) faults: Arc<FaultPlan>,
    pub(super) node: usize,
    pub(super) stat: FileStat,
    pub(super) next: usize,
    pub(super) connection: u64,
}

#[async_trait]
impl FileReader for FakeReader {
    fn stat(&self) -> &FileStat {
        &self.stat
    }

    async fn next(&mut self) -> Result<Option<Bytes>, Fault> {
        self.faults.next("next")?;
        let d = lock(&self.inner.disk);
        if d.down || d.connection != self.connection {
            return Err(fault(FaultCode::ShareUnreachable));
        }
        let data = &d.nodes[self.node].data;
        let end =
            data.len().min(usize::try_from(self.stat.size).unwrap_or(usize::MAX)).min(self.next.saturating_add(CHUNK));
        if self.next >= end {
            return Ok(None);
        }
        let chunk = Bytes::copy_from_slice(&data[self.next..end]);
        self.next = end;
        Ok(Some(chunk))
    }
}

pub(super) struct FakeHints {
    pub(super) events: broadcast::Receiver<Event>,
    pub(super) faults: Arc<FaultPlan>,
    pub(super) folder: SharePath,
}

#[async_trait]
impl Hints for FakeHints {
    async fn next(&mut self) -> Result<Vec<Hint>, Fault> {
        self.faults.next("hints")?;
        loop {
            match self.events.recv().await {
                Ok(Event::Touched(p)) => {
                    let path = SharePath::new(p);
                    let passed_over = path.is_temporary() || temporary_above(&self.folder, &path).is_some();
                    if path.is_under(&self.folder) && !passed_over {
                        return Ok(vec![Hint::Touched(path)]);
                    }
                }
                Ok(Event::Overflow) | Err(broadcast::error::RecvError::Lagged(_)) => return Ok(vec![Hint::Overflow]),
                Ok(Event::Lost) | Err(broadcast::error::RecvError::Closed) => {
                    return Err(fault(FaultCode::ShareUnreachable));
                }
            }
        }
    }
}
