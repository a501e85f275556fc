//! Reading in order with several reads in flight.

use super::connection::Link;
use super::errors::{Doing, fault};
use super::{look, wire};
use crate::ports::share::FileReader;
use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesOrdered;
use leadline_domain::{Fault, FileStat};
use smb2::msg::read::{ReadRequest, ReadResponse, SMB2_CHANNEL_NONE};
use smb2::pack::{ReadCursor, Unpack};
use smb2::types::flags::FileAccessMask;
use smb2::types::status::NtStatus;
use smb2::types::{Command, CreditCharge, FileId};
use std::sync::Arc;

/// Bytes of one read, and reads in flight: 6 MiB at most are held.
const CHUNK: u32 = 512 * 1024;
const IN_FLIGHT: usize = 12;
/// Payload that one credit pays for (MS-SMB2 3.2.4.1.5).
const CREDIT: u32 = 64 * 1024;
/// Where the payload of an answer may begin: header and fixed part (MS-SMB2 2.2.20).
const PADDING: u8 = 0x50;

/// An open file. Dropping it closes the handle.
struct Handle {
    link: Link,
    id: FileId,
    chunk: u32,
}

impl Handle {
    /// `len` bytes from `at`; fewer only at the end of the file.
    async fn read(&self, at: u64, len: u32) -> smb2::Result<Vec<u8>> {
        let mut out = Vec::new();
        let mut read = 0;
        while read < len {
            let request = ReadRequest {
                padding: PADDING,
                flags: 0,
                length: len - read,
                offset: at + u64::from(read),
                file_id: self.id,
                minimum_count: 0,
                channel: SMB2_CHANNEL_NONE,
                remaining_bytes: 0,
                read_channel_info: vec![],
            };
            let charge = CreditCharge(u16::try_from((len - read).div_ceil(CREDIT)).unwrap_or(1));
            let tree = Some(self.link.tree.tree_id);
            let answer = self.link.conn.execute_with_credits(Command::Read, &request, tree, charge).await?;
            if answer.header.status == NtStatus::END_OF_FILE {
                break;
            }
            let answer = wire::succeeded(answer, Command::Read)?;
            let data = ReadResponse::unpack(&mut ReadCursor::new(&answer.body))?.data;
            if data.is_empty() || data.len() > (len - read) as usize {
                break;
            }
            read += u32::try_from(data.len()).unwrap_or(len);
            if out.is_empty() {
                out = data;
            } else {
                out.extend_from_slice(&data);
            }
        }
        Ok(out)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        let (link, id) = (self.link.clone(), self.id);
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                // A lost connection has closed it already.
                let _ = link.bounded(link.tree.close_handle(&mut link.conn.clone(), id)).await;
            });
        }
    }
}

/// See [`FileReader`].
pub(super) struct Reader {
    handle: Arc<Handle>,
    stat: FileStat,
    next: u64,
    /// Reads on their way, each with the length it should have.
    reads: FuturesOrdered<BoxFuture<'static, (u32, smb2::Result<Vec<u8>>)>>,
}

/// Opens a file; its number and times come with the open itself, so they are of the very file that is read.
pub(super) async fn open(link: &Link, path: &str, offset: u64) -> smb2::Result<Reader> {
    let create = wire::open(path, FileAccessMask::FILE_READ_DATA, wire::SHARE_ALL, wire::NON_DIRECTORY);
    let (file, number) = link.bounded(wire::keep(link, &create, (Command::QueryInfo, &wire::number()))).await?;
    let chunk = link.conn.params().map_or(CREDIT, |p| p.max_read_size).clamp(1, CHUNK);
    let handle = Handle { link: link.clone(), id: file.file_id, chunk };
    let stat = look::stat_of(&file, wire::numbered(&number)?);
    Ok(Reader { handle: Arc::new(handle), stat, next: offset, reads: FuturesOrdered::new() })
}

impl Reader {
    fn fill(&mut self) {
        while self.reads.len() < IN_FLIGHT && self.next < self.stat.size {
            let left = u32::try_from(self.stat.size - self.next).unwrap_or(u32::MAX);
            let (handle, at, len) = (Arc::clone(&self.handle), self.next, left.min(self.handle.chunk));
            self.next += u64::from(len);
            self.reads.push_back(Box::pin(async move { (len, handle.read(at, len).await) }));
        }
    }

    fn end(&mut self) {
        self.next = self.stat.size;
        self.reads = FuturesOrdered::new();
    }
}

#[async_trait]
impl FileReader for Reader {
    fn stat(&self) -> &FileStat {
        &self.stat
    }

    async fn next(&mut self) -> Result<Option<Bytes>, Fault> {
        self.fill();
        let link = self.handle.link.clone();
        let reads = &mut self.reads;
        let answer = link.bounded(async { Ok(reads.next().await) }).await;
        match answer {
            Ok(None) => Ok(None),
            Ok(Some((len, Ok(data)))) => {
                // The file was cut meanwhile. What follows would not join on; the caller counts bytes and looks again.
                if data.len() < len as usize {
                    self.end();
                }
                Ok((!data.is_empty()).then(|| Bytes::from(data)))
            }
            Ok(Some((_, Err(e)))) | Err(e) => {
                self.end();
                Err(fault(Doing::Read, &e))
            }
        }
    }
}
