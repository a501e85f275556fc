//! A folder with a name in it that is no Unicode: half of a surrogate pair, which NTFS keeps and a server lists. `smb2`
//! refuses the whole answer of such a listing, so it is asked for and read here.

use super::connection::Link;
use super::wire;
use smb2::client::Frame;
use smb2::msg::query_directory::{
    FileInformationClass, QueryDirectoryFlags, QueryDirectoryRequest, QueryDirectoryResponse,
};
use smb2::pack::{FileTime, ReadCursor, Unpack};
use smb2::types::flags::FileAccessMask;
use smb2::types::status::NtStatus;
use smb2::types::{Command, FileId};
use smb2::{DirectoryEntry, Error, FileAttributes, ReparseTag, Result, decode_name};

/// Bytes of one answer: what one credit pays for.
const ANSWER: u32 = 64 << 10;
/// Length of an entry of FileIdBothDirectoryInformation up to its name (MS-FSCC 2.4.22).
const FIXED: usize = 104;

/// What a folder holds: entries, and how many more have names that cannot be read.
#[derive(Debug, Clone, Default)]
pub(super) struct Entries {
    pub(super) all: Vec<DirectoryEntry>,
    pub(super) odd: u64,
}

/// The entries of one folder.
pub(super) async fn entries(link: &Link, folder: &str) -> Result<Entries> {
    let access = FileAccessMask::FILE_READ_DATA | FileAccessMask::SYNCHRONIZE;
    let open = wire::open(folder, access, wire::SHARE_ALL, wire::DIRECTORY);
    let first = query(FileId::SENTINEL, QueryDirectoryFlags::RESTART_SCANS);
    let (dir, first) = link.bounded(wire::keep(link, &open, (Command::QueryDirectory, &first))).await?;
    let listed = rest(link, dir.file_id, first).await;
    // A folder that is held open cannot be renamed at the clinic.
    let closed = link.bounded(link.tree.close_handle(&mut link.conn.clone(), dir.file_id)).await;
    listed.and_then(|l| closed.map(|()| l))
}

async fn rest(link: &Link, dir: FileId, first: Frame) -> Result<Entries> {
    let (mut out, mut answer, next) = (Entries::default(), first, query(dir, 0));
    loop {
        match answer.header.status {
            NtStatus::NO_MORE_FILES => return Ok(out),
            NtStatus::SUCCESS => {
                let body = QueryDirectoryResponse::unpack(&mut ReadCursor::new(&answer.body))?;
                read(&body.output_buffer, &mut out).ok_or_else(|| Error::invalid_data("an entry ends early"))?;
            }
            status => return Err(Error::Protocol { status, command: Command::QueryDirectory }),
        }
        let asked = link.conn.execute(Command::QueryDirectory, &next, Some(link.tree.tree_id));
        answer = link.bounded(asked).await?;
    }
}

fn query(dir: FileId, flags: u8) -> QueryDirectoryRequest {
    QueryDirectoryRequest {
        file_information_class: FileInformationClass::FileIdBothDirectoryInformation,
        flags: QueryDirectoryFlags(flags),
        file_index: 0,
        file_id: dir,
        output_buffer_length: ANSWER,
        file_name: "*".into(),
    }
}

/// Reads one answer. `None` if it is not what MS-FSCC says.
fn read(mut data: &[u8], out: &mut Entries) -> Option<()> {
    while !data.is_empty() {
        let fixed = data.get(..FIXED)?;
        let at = |from: usize| fixed.get(from..from + 4)?.try_into().ok().map(u32::from_le_bytes);
        let long = |from: usize| fixed.get(from..from + 8)?.try_into().ok().map(u64::from_le_bytes);
        let (next, length) = (usize::try_from(at(0)?).ok()?, usize::try_from(at(60)?).ok()?);
        let units = data.get(FIXED..FIXED.checked_add(length)?)?.chunks_exact(2);
        let units = units.map(|u| u16::from_le_bytes([u[0], u[1]]));
        match char::decode_utf16(units).collect::<std::result::Result<String, _>>() {
            Err(_) => out.odd += 1,
            Ok(name) => {
                let attributes = FileAttributes::new(at(56)?);
                let mut e = DirectoryEntry::default();
                e.name = decode_name(&name).into_owned();
                e.size = long(40)?;
                e.is_directory = attributes.is_directory();
                (e.created, e.modified, e.changed) = (FileTime(long(8)?), FileTime(long(24)?), FileTime(long(32)?));
                // EaSize holds the tag of a reparse point (MS-FSCC 2.4.8).
                e.reparse_tag = attributes.is_reparse_point().then_some(ReparseTag(at(64)?));
                e.attributes = attributes;
                e.index_number = Some(long(96)?).filter(|n| *n != 0);
                out.all.push(e);
            }
        }
        if next == 0 {
            return Some(());
        }
        data = data.get(next..)?;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An entry as a server sends it.
    fn entry(name: &[u16], number: u64, attributes: u32, last: bool) -> Vec<u8> {
        let mut e = vec![0; FIXED];
        let length = u32::try_from(name.len() * 2).unwrap();
        for (at, value) in [(8, 1u64), (24, 2), (32, 3), (40, 4), (96, number)] {
            e[at..at + 8].copy_from_slice(&value.to_le_bytes());
        }
        e[56..60].copy_from_slice(&attributes.to_le_bytes());
        e[60..64].copy_from_slice(&length.to_le_bytes());
        e.extend(name.iter().flat_map(|u| u.to_le_bytes()));
        if !last {
            e.resize(e.len().next_multiple_of(8), 0);
            let next = u32::try_from(e.len()).unwrap();
            e[..4].copy_from_slice(&next.to_le_bytes());
        }
        e
    }

    fn utf16(name: &str) -> Vec<u16> {
        name.encode_utf16().collect()
    }

    #[test]
    fn names_that_are_no_unicode_are_counted_and_the_others_read() {
        let whole = [
            entry(&utf16("a.dcm"), 7, 0x20, false),
            entry(&[0x61, 0xD800], 8, 0x20, false),
            entry(&[0xDC00, 0x61, 0x62], 9, 0x10, false),
            entry(&utf16("müller 𝄞.scp"), 0, 0x10, true),
        ]
        .concat();
        let mut out = Entries::default();
        assert_eq!(read(&whole, &mut out), Some(()));
        let names: Vec<_> = out.all.iter().map(|e| (e.name.as_str(), e.is_directory, e.index_number)).collect();
        assert_eq!(names, [("a.dcm", false, Some(7)), ("müller 𝄞.scp", true, None)]);
        let first = &out.all[0];
        assert_eq!((first.created.0, first.modified.0, first.changed.0, first.size), (1, 2, 3, 4));
        assert_eq!(out.odd, 2);
        // However an answer is cut, it is read without a mistake of ours, and never to more than it holds.
        for n in 0..whole.len() {
            let mut out = Entries::default();
            let _ = read(&whole[..n], &mut out);
            assert!(out.all.len() <= 2 && out.odd <= 2);
        }
        let mut wild = entry(&utf16("x"), 1, 0, false);
        wild[..4].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(read(&wild, &mut Entries::default()), None);
        wild[60..64].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(read(&wild, &mut Entries::default()), None);
    }
}
