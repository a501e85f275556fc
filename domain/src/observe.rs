//! What is seen of a file on a share, and what identifies it there.

use crate::ids::{OrgId, ShareId, hash_parts};
use crate::staged::{Ingress, StagedAt};
use serde::{Deserialize, Serialize};
use std::fmt;

/// A path below a share's root, `/`-separated, without a leading slash. It may hold a patient's name: `Debug` hides
/// it, there is no `Display`; only the SMB adapter and the encrypted workflow payload may see [`SharePath::expose`].
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SharePath(String);

impl SharePath {
    /// Wraps a path. A leading or trailing `/` is dropped.
    #[must_use]
    pub fn new(p: impl Into<String>) -> Self {
        let p: String = p.into();
        Self(p.trim_matches('/').to_owned())
    }
    /// The path in clear. PHI: not for logs, errors, ids or keys.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
    /// The path of `name` inside this folder.
    #[must_use]
    pub fn join(&self, name: &str) -> Self {
        if self.0.is_empty() { Self::new(name) } else { Self::new(format!("{}/{name}", self.0)) }
    }
    /// The last component.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or("")
    }
    /// The folder the path is in; empty for the root.
    #[must_use]
    pub fn parent(&self) -> Self {
        Self(self.0.rsplit_once('/').map_or(String::new(), |(p, _)| p.to_owned()))
    }
    /// Whether the name is one that writers give to a file they have not finished: dotfiles, `~$...` (Office),
    /// `.tmp`, `.part`, `.filepart` (WinSCP), `.crdownload` (browsers).
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        let name = self.name().to_lowercase();
        name.starts_with('.')
            || name.starts_with("~$")
            || [".tmp", ".part", ".filepart", ".crdownload"].iter().any(|s| name.ends_with(s))
    }
    /// The same without regard to letter case: most file servers find a folder by any spelling, and list it by its own.
    #[must_use]
    pub fn is_under_any_case(&self, folder: &SharePath) -> bool {
        // Letter by letter: listings ask this of every file.
        let mut path = self.0.chars().flat_map(char::to_lowercase);
        let begins = folder.0.chars().flat_map(char::to_lowercase).all(|c| path.next() == Some(c));
        folder.0.is_empty() || begins && matches!(path.next(), None | Some('/'))
    }
    /// Whether this path is `folder` or lies below it.
    #[must_use]
    pub fn is_under(&self, folder: &SharePath) -> bool {
        folder.0.is_empty() || self.0 == folder.0 || self.0.strip_prefix(&folder.0).is_some_and(|r| r.starts_with('/'))
    }
}

impl fmt::Debug for SharePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<path of {} bytes>", self.0.len())
    }
}

/// From the beginning of file servers' times, 1601-01-01, to that of ours, 1970-01-01, seconds (MS-DTYP 2.3.3 FILETIME).
pub const FILETIME_EPOCH_S: u64 = 11_644_473_600;

/// What a listing or an open tells about one file, all of it by the file server's own account.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FileStat {
    /// The server's number of the file (index number, inode). 0 where the server has none.
    pub file_id: u64,
    /// End of file in bytes.
    pub size: u64,
    /// Last write, 100 ns ticks since 1601-01-01 UTC by the server's clock (MS-DTYP 2.3.3 FILETIME).
    pub modified: u64,
    /// Last change of data or metadata, same unit.
    pub changed: u64,
}

impl FileStat {
    /// Whether both are of the same file with the same content, as far as the server tells: a rename changes the change
    /// time and nothing else.
    #[must_use]
    pub fn same_content(&self, other: &Self) -> bool {
        (self.file_id, self.size, self.modified) == (other.file_id, other.size, other.modified)
    }
}

/// The cheap identity of one version of a file on a share: where it is, which file it is, how long it is and when it
/// was written. Never confused with a content digest: it has another type.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Fingerprint {
    /// Where the file is. PHI.
    pub path: SharePath,
    /// What the server says of it.
    pub stat: FileStat,
}

/// Hash of a file's place and number: stable while the file grows, other for another file at the same path.
/// 32 hexadecimal digits. Workflow ids derive from it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FileKey(String);

/// Hash of a whole [`Fingerprint`]: changes with every write. 32 hexadecimal digits.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct VersionKey(String);

macro_rules! opaque {
    ($t:ident) => {
        impl $t {
            /// The hash as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl fmt::Display for $t {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl fmt::Debug for $t {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}
opaque!(FileKey);
opaque!(VersionKey);

impl FileKey {
    /// Takes a hash that was printed before.
    #[must_use]
    pub fn parse(s: &str) -> Option<Self> {
        (s.len() == 32 && s.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)))
            .then(|| Self(s.to_owned()))
    }
}

impl Fingerprint {
    /// The key of the file, stable while it is written. What is staged has one key whatever its version: of what is sent
    /// under one name, one is taken in.
    #[must_use]
    pub fn file_key(&self, org: &OrgId, share: &ShareId) -> FileKey {
        let path = match Ingress::of_share(share) {
            Ingress::Smb => self.path.expose(),
            _ => StagedAt::of_path(self.path.expose()).name,
        };
        let h = hash_parts(
            "leadline.file.v1",
            &[org.as_str().as_bytes(), share.as_str().as_bytes(), path.as_bytes(), &self.stat.file_id.to_be_bytes()],
        );
        FileKey(hex::encode(&h[..16]))
    }

    /// The key of this very version of the file.
    #[must_use]
    pub fn version_key(&self, org: &OrgId, share: &ShareId) -> VersionKey {
        let s = &self.stat;
        let h = hash_parts(
            "leadline.version.v1",
            &[
                self.file_key(org, share).as_str().as_bytes(),
                &s.size.to_be_bytes(),
                &s.modified.to_be_bytes(),
                &s.changed.to_be_bytes(),
            ],
        );
        VersionKey(hex::encode(&h[..16]))
    }
}

/// Whether someone may still be writing, by the deny-write open (MS-SMB2 2.2.13 ShareAccess without
/// FILE_SHARE_WRITE): the server refuses it while any SMB handle holds write access.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Writer {
    /// The open succeeded: no SMB client can be writing.
    Absent,
    /// STATUS_SHARING_VIOLATION: a writer has the file open.
    Present,
}

/// One look at a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observation {
    /// The version seen.
    pub stat: FileStat,
    /// What the deny-write open said.
    pub writer: Writer,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fp(path: &str, file_id: u64, size: u64, modified: u64) -> Fingerprint {
        Fingerprint { path: SharePath::new(path), stat: FileStat { file_id, size, modified, changed: modified } }
    }

    #[test]
    fn debug_hides_the_path() {
        let f = fp("in/DOE_JOHN.dcm", 1, 2, 3);
        assert!(!format!("{f:?}").contains("DOE"));
    }

    #[test]
    fn paths() {
        let p = SharePath::new("/in/a/b.dcm");
        assert_eq!((p.name(), p.parent().expose()), ("b.dcm", "in/a"));
        assert!(
            p.is_under(&SharePath::new("in")) && p.is_under(&SharePath::new("")) && !p.is_under(&SharePath::new("i"))
        );
        let archive = SharePath::new("_archive");
        assert!(SharePath::new("_Archive/2026/a").is_under_any_case(&archive) && !p.is_under_any_case(&archive));
        assert!(SharePath::new("\u{c4}rzte/a").is_under_any_case(&SharePath::new("\u{e4}rzte")));
    }

    #[test]
    fn temporary_names() {
        for n in ["a/.x", "~$a.docx", "a.TMP", "a.dcm.part", "b.filepart", "c.crdownload"] {
            assert!(SharePath::new(n).is_temporary(), "{n}");
        }
        assert!(!SharePath::new(".hidden/a.dcm").is_temporary());
        assert!(!SharePath::new("department.dcm").is_temporary());
    }

    proptest! {
        #[test]
        fn file_key_is_stable_while_a_file_grows(a: u64, b: u64, t: u64) {
            let (org, share) = (OrgId::parse("org").unwrap(), ShareId::parse("share").unwrap());
            let (x, y) = (fp("in/x", 7, a, t), fp("in/x", 7, b, t.wrapping_add(1)));
            prop_assert_eq!(x.file_key(&org, &share), y.file_key(&org, &share));
            prop_assert_ne!(x.version_key(&org, &share), y.version_key(&org, &share));
        }
        #[test]
        fn names_that_differ_in_case_only_are_other_files(n in "[a-z]{1,10}") {
            let (org, share) = (OrgId::parse("org").unwrap(), ShareId::parse("share").unwrap());
            prop_assert_ne!(
                fp(&n, 0, 1, 1).file_key(&org, &share),
                fp(&n.to_uppercase(), 0, 1, 1).file_key(&org, &share)
            );
        }
    }
}
