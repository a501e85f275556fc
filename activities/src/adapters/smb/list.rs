//! Listings: whole trees, folder by folder, a batch of the server's at a time.

use super::connection::Link;
use super::names::skip;
use super::odd::{self, Entries};
use crate::ports::share::{Entry, Listing, Skipped};
use leadline_domain::{FaultCode, FileStat, SharePath};
use smb2::client::ListOptions;
use smb2::{DirectoryEntry, ErrorKind, Result};
use std::sync::Arc;

/// Folders listed at a time: hides a distant server's latency without crowding out the reads.
pub(super) const AT_ONCE: usize = 4;

/// A folder to list, with the numbers of the folders it is in.
#[derive(Clone)]
pub(super) struct Folder {
    pub(super) path: SharePath,
    above: Arc<Vec<u64>>,
}

impl Folder {
    /// The folder a listing begins at.
    pub(super) fn top(path: SharePath) -> Self {
        Self { path, above: Arc::default() }
    }
}

/// Whether a fault says something of the one folder that was to be listed, and nothing of the share: no right to it, a link
/// or an impossible name in its place, a program that shares it with nobody, a status that says nothing. A connection that
/// was lost has another code.
pub(super) fn concerns_it_alone(code: FaultCode) -> bool {
    use FaultCode::{ShareAccessDenied, ShareFileGone, ShareFileLocked, ShareProtocol};
    matches!(code, ShareAccessDenied | ShareFileGone | ShareFileLocked | ShareProtocol)
}

/// What one folder holds: files go into `out`, folders to go on with come back.
pub(super) fn sort(folder: &Folder, found: &Entries, except: &[SharePath], out: &mut Listing) -> Vec<Folder> {
    let entries = &found.all;
    if found.odd > 0 {
        *out.skipped.entry(Skipped::Unreadable).or_insert(0) += found.odd;
    }
    let mut above = (*folder.above).clone();
    above.extend(entries.iter().find(|e| e.name == ".").and_then(|e| e.index_number));
    let above = Arc::new(above);
    let mut folders = Vec::new();
    for e in entries.iter().filter(|e| e.name != "." && e.name != "..") {
        let path = folder.path.join(&e.name);
        if except.iter().any(|x| path.is_under_any_case(x)) {
            continue;
        }
        if let Some(reason) = skip(e) {
            *out.skipped.entry(reason).or_insert(0) += 1;
        } else if !e.is_directory {
            out.files.push(Entry { path, stat: stat_of(e) });
        } else if e.index_number.is_some_and(|n| above.contains(&n)) {
            // Samba lists a symbolic link as what it points to: this one points to a folder that it is in.
            *out.skipped.entry(Skipped::Link).or_insert(0) += 1;
        } else {
            folders.push(Folder { path, above: Arc::clone(&above) });
        }
    }
    folders
}

/// The entries of one folder.
pub(super) async fn entries(link: &Link, folder: &str) -> Result<Entries> {
    match readable(link, folder).await {
        Ok(all) => Ok(Entries { all, odd: 0 }),
        // A name in it may be no Unicode: `smb2` refuses the whole answer then.
        Err(e) if e.kind() == ErrorKind::InvalidData => odd::entries(link, folder).await,
        Err(e) => Err(e),
    }
}

async fn readable(link: &Link, folder: &str) -> Result<Vec<DirectoryEntry>> {
    let options = ListOptions::new().index_numbers(true);
    let opened = link.tree.open_directory_reader_with(link.conn.clone(), folder, options);
    let mut reader = link.bounded(opened).await?;
    let mut all = Vec::new();
    while let Some(batch) = link.bounded(reader.next_batch()).await? {
        all.extend(batch);
    }
    Ok(all)
}

fn stat_of(e: &DirectoryEntry) -> FileStat {
    FileStat { file_id: e.index_number.unwrap_or(0), size: e.size, modified: e.modified.0, changed: e.changed.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, number: u64, is_directory: bool) -> DirectoryEntry {
        let mut e = DirectoryEntry::default();
        (e.name, e.index_number, e.is_directory) = (name.to_owned(), Some(number), is_directory);
        e
    }

    #[test]
    fn a_status_about_one_folder_does_not_end_the_listing() {
        use crate::adapters::smb::errors::{Doing, fault};
        use smb2::types::Command;
        use smb2::types::status::NtStatus;
        let alone = |status| {
            let e = smb2::Error::Protocol { status, command: Command::Create };
            concerns_it_alone(fault(Doing::List, &e).code)
        };
        for s in [NtStatus::ACCESS_DENIED, NtStatus::SHARING_VIOLATION, NtStatus(0x8000_002D), NtStatus(0xC000_00E5)] {
            assert!(alone(s), "{s:?}");
        }
        for s in [NtStatus::USER_SESSION_DELETED, NtStatus::NETWORK_NAME_DELETED, NtStatus::BAD_NETWORK_NAME] {
            assert!(!alone(s), "{s:?}");
        }
        assert!(!concerns_it_alone(fault(Doing::List, &smb2::Error::Timeout).code));
    }

    #[test]
    fn a_link_to_a_folder_above_is_not_followed() {
        let (mut out, top) = (Listing::default(), Folder::top(SharePath::new("in")));
        let found = |all: &[DirectoryEntry]| Entries { all: all.to_vec(), odd: 1 };
        let first = found(&[entry(".", 1, true), entry("..", 9, true), entry("a", 2, true), entry("self", 1, true)]);
        let below = sort(&top, &first, &[], &mut out);
        assert_eq!(below.len(), 1);
        let second = found(&[entry(".", 2, true), entry("up", 1, true), entry("b", 3, true), entry("f", 2, false)]);
        assert_eq!(sort(&below[0], &second, &[SharePath::new("in/a/b")], &mut out).len(), 0);
        assert_eq!((out.files.len(), out.skipped), (1, [(Skipped::Link, 2), (Skipped::Unreadable, 2)].into()));
    }
}
