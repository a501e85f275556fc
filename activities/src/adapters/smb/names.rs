//! What a listing passes over, by name and by what the server says of an entry.

use crate::ports::share::Skipped;
use leadline_domain::SharePath;
use smb2::{DirectoryEntry, FileAttributes};

/// Why a listing passes over an entry, if it does. A folder that is passed over is not entered: a dotfolder of a NAS
/// holds snapshots and deleted files, a folder with a temporary name is an export under way.
pub(super) fn skip(e: &DirectoryEntry) -> Option<Skipped> {
    if e.is_link() || e.reparse_tag.is_some() {
        Some(Skipped::Link)
    } else if SharePath::new(e.name.as_str()).is_temporary() {
        Some(Skipped::TemporaryName)
    } else if hidden(e.attributes) {
        Some(Skipped::Hidden)
    } else {
        None
    }
}

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
}
