//! What changes a share: renames, removals, folders.
//!
//! Written here rather than taken from `smb2`, whose rename lets a writer go on in the renamed file and whose removal
//! takes a file away from under one. Here both are opens that deny writing: a writer who came back after the last look
//! is met with SHARING_VIOLATION, by the server, in the same step.

use super::connection::Link;
use super::{look, wire};
use leadline_domain::FileStat;
use smb2::Result;
use smb2::encode_path;
use smb2::msg::create::{CreateDisposition, CreateRequest};
use smb2::msg::query_info::InfoType;
use smb2::msg::set_info::SetInfoRequest;
use smb2::types::flags::FileAccessMask;
use smb2::types::{Command, FileId};

/// FileRenameInformation (MS-FSCC 2.4.42.2).
const RENAME: u8 = 10;
/// FileDispositionInformation (MS-FSCC 2.4.11).
const DISPOSITION: u8 = 13;

/// Renames without replacing. `false`: the file is not of this version, and nothing was done.
pub(super) async fn rename(link: &Link, from: &str, to: &str, version: Option<&FileStat>) -> Result<bool> {
    let name: Vec<u8> = encode_path(to).encode_utf16().flat_map(u16::to_le_bytes).collect();
    // ReplaceIfExists = 0, 7 reserved bytes, RootDirectory = 0.
    let mut buffer = vec![0; 16];
    buffer.extend_from_slice(&u32::try_from(name.len()).unwrap_or(u32::MAX).to_le_bytes());
    buffer.extend_from_slice(&name);
    let Some(version) = version else { return set(link, from, RENAME, buffer).await.map(|()| true) };
    let create = without_writers(from);
    let (file, number) = link.bounded(wire::keep(link, &create, (Command::QueryInfo, &wire::number()))).await?;
    let fits = wire::numbered(&number).map(|n| look::stat_of(&file, n).same_content(version));
    if !matches!(fits, Ok(true)) {
        // Held open it would make a device's next open fail.
        link.bounded(link.tree.close_handle(&mut link.conn.clone(), file.file_id)).await?;
        return fits;
    }
    let request = set_info(RENAME, buffer, file.file_id);
    let done = link.bounded(wire::last(link, file.file_id, (Command::SetInfo, &request))).await?;
    wire::succeeded(done, Command::SetInfo).map(|_| true)
}

/// An open that a writer's own makes fail.
fn without_writers(path: &str) -> CreateRequest {
    wire::open(path, FileAccessMask::DELETE, wire::DENY_WRITE, wire::NON_DIRECTORY | wire::THE_LINK_ITSELF)
}

fn set_info(class: u8, buffer: Vec<u8>, file_id: FileId) -> SetInfoRequest {
    SetInfoRequest { info_type: InfoType::File, file_info_class: class, additional_information: 0, file_id, buffer }
}

/// Removes a file.
pub(super) async fn remove(link: &Link, path: &str) -> Result<()> {
    set(link, path, DISPOSITION, vec![1]).await
}

async fn set(link: &Link, path: &str, class: u8, buffer: Vec<u8>) -> Result<()> {
    let create = without_writers(path);
    let request = set_info(class, buffer, FileId::SENTINEL);
    let (_, done) = link.bounded(wire::once(link, &create, (Command::SetInfo, &request))).await?;
    wire::succeeded(done, Command::SetInfo).map(|_| ())
}

/// Makes a folder, unless it is there. A file of that name is NOT_A_DIRECTORY.
pub(super) async fn make_folder(link: &Link, path: &str) -> Result<()> {
    let mut create = wire::open(path, 0, wire::SHARE_ALL, wire::DIRECTORY);
    create.create_disposition = CreateDisposition::FileOpenIf;
    link.bounded(wire::once(link, &create, (Command::QueryInfo, &wire::number()))).await.map(|_| ())
}
