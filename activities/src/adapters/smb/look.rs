//! One look at a file: the deny-write open.

use super::connection::Link;
use super::wire;
use leadline_domain::{FileStat, Observation, Writer};
use smb2::msg::create::CreateResponse;
use smb2::types::Command;
use smb2::types::flags::FileAccessMask;
use smb2::types::status::NtStatus;
use smb2::{Error, Result};

/// Opens for reading and forbids writing to others, asks for the file's number, closes: one round trip. The server
/// refuses it with SHARING_VIOLATION while anyone holds the file for writing, in whatever share mode (MS-SMB2
/// 3.3.5.9). The handle is gone before the answer is back: a held one would make a device's next open fail.
pub(super) async fn observe(link: &Link, path: &str) -> Result<Observation> {
    match look(link, path, FileAccessMask::FILE_READ_DATA, wire::DENY_WRITE).await {
        Ok(stat) => Ok(Observation { stat, writer: Writer::Absent }),
        // An open with FILE_READ_ATTRIBUTES alone conflicts with nobody.
        Err(Error::Protocol { status: NtStatus::SHARING_VIOLATION, .. }) => {
            Ok(Observation { stat: look(link, path, 0, wire::SHARE_ALL).await?, writer: Writer::Present })
        }
        Err(e) => Err(e),
    }
}

async fn look(link: &Link, path: &str, access: u32, share: u32) -> Result<FileStat> {
    let create = wire::open(path, access, share, wire::NON_DIRECTORY);
    let (file, number) = link.bounded(wire::once(link, &create, (Command::QueryInfo, &wire::number()))).await?;
    Ok(stat_of(&file, wire::numbered(&number)?))
}

/// What an open tells, with the file's number.
pub(super) fn stat_of(file: &CreateResponse, file_id: u64) -> FileStat {
    FileStat { file_id, size: file.end_of_file, modified: file.last_write_time.0, changed: file.change_time.0 }
}
