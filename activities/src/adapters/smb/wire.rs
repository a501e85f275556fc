//! Requests that go together: open, do one thing, close, in one round trip (MS-SMB2 3.2.4.1.4 related compounds).

use super::connection::Link;
use smb2::client::{CompoundOp, Frame};
use smb2::encode_path;
use smb2::msg::close::CloseRequest;
use smb2::msg::create::{CreateDisposition, CreateRequest, CreateResponse, ImpersonationLevel, ShareAccess};
use smb2::msg::query_info::{InfoType, QueryInfoRequest, QueryInfoResponse};
use smb2::pack::{Pack, ReadCursor, Unpack};
use smb2::types::flags::FileAccessMask;
use smb2::types::status::NtStatus;
use smb2::types::{Command, FileId, OplockLevel};
use smb2::{Error, Result};

/// FILE_NON_DIRECTORY_FILE (MS-SMB2 2.2.13 CreateOptions): a folder answers FILE_IS_A_DIRECTORY.
pub(super) const NON_DIRECTORY: u32 = 0x40;
/// FILE_DIRECTORY_FILE: a file answers NOT_A_DIRECTORY.
pub(super) const DIRECTORY: u32 = 0x01;
/// FILE_OPEN_REPARSE_POINT: the link, not what it points to.
pub(super) const THE_LINK_ITSELF: u32 = 0x0020_0000;
/// Others may read and rename, not write.
pub(super) const DENY_WRITE: u32 = ShareAccess::FILE_SHARE_READ | ShareAccess::FILE_SHARE_DELETE;
/// Others may do anything.
pub(super) const SHARE_ALL: u32 = DENY_WRITE | ShareAccess::FILE_SHARE_WRITE;
/// FileInternalInformation (MS-FSCC 2.4.22): the file's number, 8 bytes; the same that listings carry.
const FILE_INTERNAL_INFORMATION: u8 = 6;

/// An open of what is there.
pub(super) fn open(path: &str, access: u32, share: u32, options: u32) -> CreateRequest {
    CreateRequest {
        requested_oplock_level: OplockLevel::None,
        impersonation_level: ImpersonationLevel::Impersonation,
        desired_access: FileAccessMask::new(access | FileAccessMask::FILE_READ_ATTRIBUTES),
        file_attributes: 0,
        share_access: ShareAccess(share),
        create_disposition: CreateDisposition::FileOpen,
        create_options: options,
        name: encode_path(path),
        create_contexts: vec![],
    }
}

/// Asks for the number of the file that the compound opened.
pub(super) fn number() -> QueryInfoRequest {
    QueryInfoRequest {
        info_type: InfoType::File,
        file_info_class: FILE_INTERNAL_INFORMATION,
        output_buffer_length: 8,
        additional_information: 0,
        flags: 0,
        file_id: FileId::SENTINEL,
        input_buffer: vec![],
    }
}

/// The answer to [`number`]; 0 from a server that has no numbers.
pub(super) fn numbered(f: &Frame) -> Result<u64> {
    if f.header.status != NtStatus::SUCCESS {
        return Ok(0);
    }
    let body = QueryInfoResponse::unpack(&mut ReadCursor::new(&f.body))?.output_buffer;
    Ok(body.first_chunk().map_or(0, |b| u64::from_le_bytes(*b)))
}

/// The frame if it says success.
pub(super) fn succeeded(f: Frame, command: Command) -> Result<Frame> {
    if f.header.status == NtStatus::SUCCESS { Ok(f) } else { Err(Error::Protocol { status: f.header.status, command }) }
}

/// Opens, does `then`, closes. The handle is gone when this returns: a held one can make a device's next open fail.
pub(super) async fn once(
    link: &Link,
    create: &CreateRequest,
    then: (Command, &dyn Pack),
) -> Result<(CreateResponse, Frame)> {
    let close = CloseRequest { flags: 0, file_id: FileId::SENTINEL };
    let tree = Some(link.tree.tree_id);
    let ops = [
        CompoundOp::new(Command::Create, create, tree),
        CompoundOp::new(then.0, then.1, tree),
        CompoundOp::new(Command::Close, &close, tree),
    ];
    let mut answers = link.conn.execute_compound(&ops).await?.into_iter();
    let (Some(created), Some(done), Some(closed)) = (answers.next(), answers.next(), answers.next()) else {
        return Err(Error::Disconnected);
    };
    let file = CreateResponse::unpack(&mut ReadCursor::new(&succeeded(created?, Command::Create)?.body))?;
    // A step that fails takes the close after it along (MS-SMB2 3.3.5.2.7.2).
    if !closed.is_ok_and(|f| f.header.status == NtStatus::SUCCESS) {
        link.tree.close_handle(&mut link.conn.clone(), file.file_id).await?;
    }
    Ok((file, done?))
}

/// Opens, does `then`, and leaves it open if that was answered.
pub(super) async fn keep(
    link: &Link,
    create: &CreateRequest,
    then: (Command, &dyn Pack),
) -> Result<(CreateResponse, Frame)> {
    let tree = Some(link.tree.tree_id);
    let ops = [CompoundOp::new(Command::Create, create, tree), CompoundOp::new(then.0, then.1, tree)];
    let mut answers = link.conn.execute_compound(&ops).await?.into_iter();
    let (Some(created), Some(done)) = (answers.next(), answers.next()) else {
        return Err(Error::Disconnected);
    };
    let file = CreateResponse::unpack(&mut ReadCursor::new(&succeeded(created?, Command::Create)?.body))?;
    match done {
        Ok(done) => Ok((file, done)),
        Err(e) => {
            // Held open it would make a device's next open fail.
            link.tree.close_handle(&mut link.conn.clone(), file.file_id).await?;
            Err(e)
        }
    }
}

/// Does `then` with what is open, closes.
pub(super) async fn last(link: &Link, file: FileId, then: (Command, &dyn Pack)) -> Result<Frame> {
    let close = CloseRequest { flags: 0, file_id: FileId::SENTINEL };
    let tree = Some(link.tree.tree_id);
    let ops = [CompoundOp::new(then.0, then.1, tree), CompoundOp::new(Command::Close, &close, tree)];
    let mut answers = link.conn.execute_compound(&ops).await?.into_iter();
    let (Some(done), Some(closed)) = (answers.next(), answers.next()) else { return Err(Error::Disconnected) };
    if !closed.is_ok_and(|f| f.header.status == NtStatus::SUCCESS) {
        link.tree.close_handle(&mut link.conn.clone(), file).await?;
    }
    done
}
