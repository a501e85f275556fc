//! One look at a file: the deny-write open.

use super::connection::Link;
use super::{names, wire};
use leadline_domain::{FileStat, Observation, Writer};
use smb2::msg::create::{CreateRequest, CreateResponse};
use smb2::types::flags::FileAccessMask;
use smb2::types::status::NtStatus;
use smb2::types::{Command, OplockLevel};
use smb2::{Error, FileAttributes, Result};

/// What a look found.
pub(super) struct Seen {
    pub(super) look: Observation,
    hidden: bool,
}

impl Seen {
    fn new(file: &CreateResponse, file_id: u64, writer: Writer) -> Self {
        let hidden = names::hidden(FileAttributes::new(file.file_attributes));
        Self { look: Observation { stat: stat_of(file, file_id), writer }, hidden }
    }

    /// The look, at a file that a listing shows.
    pub(super) fn listed(self) -> Option<Observation> {
        (!self.hidden).then_some(self.look)
    }
}

/// Opens for reading and forbids writing to others, asks for the file's number, closes: one round trip. The server
/// refuses it with SHARING_VIOLATION while anyone holds the file for writing, in whatever share mode (MS-SMB2
/// 3.3.5.9). The handle is gone before the answer is back.
///
/// A device that comes back in between would be refused, and most give up what they cannot open. So a batch oplock is
/// asked for, which is granted where nobody else has the file open: before such a server refuses an open it breaks the
/// oplock (MS-FSA 2.1.5.1.2), and looks again when the handle is closed, less than a millisecond later. The break finds
/// no handle, and is passed over.
pub(super) async fn observe(link: &Link, path: &str) -> Result<Seen> {
    let mut alone = wire::open(path, FileAccessMask::FILE_READ_DATA, wire::DENY_WRITE, wire::NON_DIRECTORY);
    alone.requested_oplock_level = OplockLevel::Batch;
    match look(link, &alone, Writer::Absent).await {
        // An open with FILE_READ_ATTRIBUTES alone conflicts with nobody.
        Err(Error::Protocol { status: NtStatus::SHARING_VIOLATION, .. }) => {
            look(link, &wire::open(path, 0, wire::SHARE_ALL, wire::NON_DIRECTORY), Writer::Present).await
        }
        seen => seen,
    }
}

async fn look(link: &Link, create: &CreateRequest, writer: Writer) -> Result<Seen> {
    let (file, number) = link.bounded(wire::once(link, create, (Command::QueryInfo, &wire::number()))).await?;
    Ok(Seen::new(&file, wire::numbered(&number)?, writer))
}

/// What an open tells, with the file's number.
pub(super) fn stat_of(file: &CreateResponse, file_id: u64) -> FileStat {
    FileStat { file_id, size: file.end_of_file, modified: file.last_write_time.0, changed: file.change_time.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use smb2::msg::create::CreateAction;
    use smb2::pack::FileTime;
    use smb2::types::FileId;

    #[test]
    fn a_look_passes_over_what_a_listing_does() {
        let file = |file_attributes| CreateResponse {
            oplock_level: OplockLevel::None,
            flags: 0,
            create_action: CreateAction::FileOpened,
            creation_time: FileTime(1),
            last_access_time: FileTime(2),
            last_write_time: FileTime(3),
            change_time: FileTime(4),
            allocation_size: 6,
            end_of_file: 5,
            file_attributes,
            file_id: FileId::SENTINEL,
            create_contexts: vec![],
        };
        for (attributes, shown) in [(0x80, true), (0x20, true), (0x21, true), (0x22, false), (0x24, false)] {
            let seen = Seen::new(&file(attributes), 7, Writer::Present);
            let stat = FileStat { file_id: 7, size: 5, modified: 3, changed: 4 };
            assert_eq!(seen.look, Observation { stat, writer: Writer::Present });
            assert_eq!(seen.listed().is_some(), shown, "{attributes:#x}");
        }
    }
}
