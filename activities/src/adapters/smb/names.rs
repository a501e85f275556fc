//! What a listing passes over, by name and by what the server says of an entry.

use crate::ports::share::Skipped;
use leadline_domain::SharePath;
use smb2::{DirectoryEntry, FileAttributes, ReparseTag};

/// Why a listing passes over an entry, if it does. A folder that is passed over is not entered: a dotfolder of a NAS
/// holds snapshots and deleted files, a folder with a temporary name is an export under way.
pub(super) fn skip(e: &DirectoryEntry) -> Option<Skipped> {
    if e.is_link() || e.reparse_tag.is_some_and(special) {
        Some(Skipped::Link)
    } else if SharePath::new(e.name.as_str()).is_temporary() {
        Some(Skipped::TemporaryName)
    } else if hidden(e.attributes) {
        Some(Skipped::Hidden)
    } else {
        None
    }
}

/// Reparse points that are no files, or lead elsewhere without being called links. Every other one is a file or folder as
/// any other: what the server's storage does with it (deduplication, compression, tiering, a cloud's placeholder) is no
/// business of who reads it.
fn special(tag: ReparseTag) -> bool {
    matches!(
        tag,
        ReparseTag::NFS
            | ReparseTag::LX_FIFO
            | ReparseTag::LX_CHR
            | ReparseTag::LX_BLK
            | ReparseTag::AF_UNIX
            | ReparseTag::APPEXECLINK
            | DFS
            | DFSR
    )
}

/// Folders of other servers (MS-FSCC 2.1.2.1), which `smb2` has no names for.
const DFS: ReparseTag = ReparseTag(0x8000_000A);
const DFSR: ReparseTag = ReparseTag(0x8000_0012);

/// Whether the server marks a file or folder as one that is not for its users.
pub(super) fn hidden(a: FileAttributes) -> bool {
    a.contains(FileAttributes::HIDDEN) || a.contains(FileAttributes::SYSTEM)
}

/// Whether a listing would pass over this path, given below the folder that is watched, because of a name in it.
pub(super) fn passed_over(below: &str) -> bool {
    below.split('/').any(|part| SharePath::new(part).is_temporary())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str) -> DirectoryEntry {
        let mut e = DirectoryEntry::default();
        e.name = name.to_owned();
        e
    }

    #[test]
    fn names() {
        assert_eq!(skip(&entry("a.dcm")), None);
        for n in [".a", "a.TMP", "~$a.xml", "a.part"] {
            assert_eq!(skip(&entry(n)), Some(Skipped::TemporaryName));
        }
        let mut hidden = entry("desktop.ini");
        hidden.attributes = FileAttributes(FileAttributes::HIDDEN);
        assert_eq!(skip(&hidden), Some(Skipped::Hidden));
        assert!(passed_over(".snapshot/a.dcm") && passed_over("a/b.tmp/c") && !passed_over("a/b/c.dcm"));
    }

    #[test]
    fn what_the_servers_storage_manages_is_a_file_and_what_leads_elsewhere_is_none() {
        let of = |tag| {
            let mut e = entry("a.dcm");
            e.reparse_tag = Some(tag);
            skip(&e)
        };
        let single_instance = ReparseTag(0x8000_0007);
        let one_drive = ReparseTag(0x9000_101A);
        for tag in [
            ReparseTag::DEDUP,
            ReparseTag::WOF,
            ReparseTag::CLOUD,
            ReparseTag::STORAGE_SYNC,
            one_drive,
            single_instance,
        ] {
            assert_eq!(of(tag), None, "{tag:?}");
        }
        for tag in [ReparseTag::SYMLINK, ReparseTag::MOUNT_POINT, ReparseTag::LX_SYMLINK, ReparseTag::NFS, DFS, DFSR] {
            assert_eq!(of(tag), Some(Skipped::Link), "{tag:?}");
        }
    }
}
