//! One look at a file: the deny-write open.

use super::connection::Link;
use leadline_domain::{FileStat, Observation, Writer};
use smb2::client::CompoundOp;
use smb2::encode_path;
use smb2::msg::close::CloseRequest;
use smb2::msg::create::{CreateDisposition, CreateRequest, CreateResponse, ImpersonationLevel, ShareAccess};
use smb2::msg::query_info::{InfoType, QueryInfoRequest, QueryInfoResponse};
use smb2::pack::{ReadCursor, Unpack};
use smb2::types::flags::FileAccessMask;
use smb2::types::status::NtStatus;
use smb2::types::{Command, FileId, OplockLevel};
use smb2::{Error, Result};

/// FileInternalInformation (MS-FSCC 2.4.22): the file's number, 8 bytes.
const FILE_INTERNAL_INFORMATION: u8 = 6;
/// FILE_NON_DIRECTORY_FILE (MS-SMB2 2.2.13 CreateOptions): a folder answers FILE_IS_A_DIRECTORY.
const NON_DIRECTORY: u32 = 0x40;

/// Opens for reading and forbids writing to others, asks for the file's number, closes: one round trip. The server
/// refuses it with SHARING_VIOLATION while anyone holds the file for writing, in whatever share mode (MS-SMB2
/// 3.3.5.9). The handle is gone before the answer is back: a held one would make a device's next open fail.
pub(super) async fn observe(link: &Link, path: &str) -> Result<Observation> {
    match open(
        link,
        path,
        FileAccessMask::FILE_READ_DATA,
        ShareAccess::FILE_SHARE_READ | ShareAccess::FILE_SHARE_DELETE,
    )
    .await
    {
        Ok(stat) => Ok(Observation { stat, writer: Writer::Absent }),
        Err(Error::Protocol { status: NtStatus::SHARING_VIOLATION, .. }) => {
            Ok(Observation { stat: stat(link, path).await?, writer: Writer::Present })
        }
        Err(e) => Err(e),
    }
}

/// An open with FILE_READ_ATTRIBUTES alone conflicts with nobody.
async fn open(link: &Link, path: &str, access: u32, share: u32) -> Result<FileStat> {
    let create = CreateRequest {
        requested_oplock_level: OplockLevel::None,
        impersonation_level: ImpersonationLevel::Impersonation,
        desired_access: FileAccessMask::new(access | FileAccessMask::FILE_READ_ATTRIBUTES),
        file_attributes: 0,
        share_access: ShareAccess(share),
        create_disposition: CreateDisposition::FileOpen,
        create_options: NON_DIRECTORY,
        name: encode_path(path).to_string(),
        create_contexts: vec![],
    };
    let number = QueryInfoRequest {
        info_type: InfoType::File,
        file_info_class: FILE_INTERNAL_INFORMATION,
        output_buffer_length: 8,
        additional_information: 0,
        flags: 0,
        file_id: FileId::SENTINEL,
        input_buffer: vec![],
    };
    let close = CloseRequest { flags: 0, file_id: FileId::SENTINEL };
    let tree = Some(link.tree.tree_id);
    let ops = [
        CompoundOp::new(Command::Create, &create, tree),
        CompoundOp::new(Command::QueryInfo, &number, tree),
        CompoundOp::new(Command::Close, &close, tree),
    ];
    let mut answers = link.conn.execute_compound(&ops).await?.into_iter();
    let (created, numbered, closed) = match (answers.next(), answers.next(), answers.next()) {
        (Some(c), Some(n), Some(x)) => (c?, n, x),
        _ => return Err(Error::Disconnected),
    };
    if created.header.status != NtStatus::SUCCESS {
        return Err(Error::Protocol { status: created.header.status, command: Command::Create });
    }
    let file = CreateResponse::unpack(&mut ReadCursor::new(&created.body))?;
    if !closed.is_ok_and(|f| f.header.status == NtStatus::SUCCESS) {
        link.tree.close_handle(&mut link.conn.clone(), file.file_id).await?;
    }
    let numbered = numbered?;
    let file_id = if numbered.header.status == NtStatus::SUCCESS {
        let body = QueryInfoResponse::unpack(&mut ReadCursor::new(&numbered.body))?.output_buffer;
        body.first_chunk().map_or(0, |b| u64::from_le_bytes(*b))
    } else {
        0
    };
    Ok(FileStat { file_id, size: file.end_of_file, modified: file.last_write_time.0, changed: file.change_time.0 })
}

/// What the server says of a file, without asking who has it open.
pub(super) async fn stat(link: &Link, path: &str) -> Result<FileStat> {
    let all = ShareAccess::FILE_SHARE_READ | ShareAccess::FILE_SHARE_WRITE | ShareAccess::FILE_SHARE_DELETE;
    open(link, path, 0, all).await
}
