//! One look at a file: the deny-write open.

use super::connection::Link;
use super::wire;
use leadline_domain::{FileStat, Observation, Writer};
use smb2::msg::create::{CreateRequest, CreateResponse};
use smb2::types::flags::FileAccessMask;
use smb2::types::status::NtStatus;
use smb2::types::{Command, OplockLevel};
use smb2::{Error, Result};

/// Opens for reading and forbids writing to others, asks for the file's number, closes: one round trip. The server
/// refuses it with SHARING_VIOLATION while anyone holds the file for writing, in whatever share mode (MS-SMB2
/// 3.3.5.9). The handle is gone before the answer is back.
///
/// A device that comes back in between would be refused, and most give up what they cannot open. So a batch oplock is
/// asked for, which is granted where nobody else has the file open: before such a server refuses an open it breaks the
/// oplock (MS-FSA 2.1.5.1.2), and looks again when the handle is closed, less than a millisecond later. The break finds
/// no handle, and is passed over.
pub(super) async fn observe(link: &Link, path: &str) -> Result<Observation> {
    let mut alone = wire::open(path, FileAccessMask::FILE_READ_DATA, wire::DENY_WRITE, wire::NON_DIRECTORY);
    alone.requested_oplock_level = OplockLevel::Batch;
    match look(link, &alone).await {
        Ok(stat) => Ok(Observation { stat, writer: Writer::Absent }),
        // An open with FILE_READ_ATTRIBUTES alone conflicts with nobody.
        Err(Error::Protocol { status: NtStatus::SHARING_VIOLATION, .. }) => {
            let stat = look(link, &wire::open(path, 0, wire::SHARE_ALL, wire::NON_DIRECTORY)).await?;
            Ok(Observation { stat, writer: Writer::Present })
        }
        Err(e) => Err(e),
    }
}

async fn look(link: &Link, create: &CreateRequest) -> Result<FileStat> {
    let (file, number) = link.bounded(wire::once(link, create, (Command::QueryInfo, &wire::number()))).await?;
    Ok(stat_of(&file, wire::numbered(&number)?))
}

/// What an open tells, with the file's number.
pub(super) fn stat_of(file: &CreateResponse, file_id: u64) -> FileStat {
    FileStat { file_id, size: file.end_of_file, modified: file.last_write_time.0, changed: file.change_time.0 }
}
