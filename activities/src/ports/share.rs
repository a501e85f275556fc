//! The role an SMB share plays: a folder of files that devices write to.

use async_trait::async_trait;
use bytes::Bytes;
use leadline_domain::{Fault, FileStat, Observation, SharePath};

/// One entry of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Path below the share's root. PHI.
    pub path: SharePath,
    /// What the server says of the file.
    pub stat: FileStat,
}

/// A file that a listing passes over, and why: it is counted, never silently lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Skipped {
    /// A link to a file or folder, or what is no file at all (a pipe, a device).
    Link,
    /// A temporary name of a known writer (`.tmp`, `.part`, `.filepart`, `.crdownload`, `~$*`, dotfiles).
    TemporaryName,
    /// Marked hidden or system by the server.
    Hidden,
    /// A folder below the watched one that this user may not list, or that cannot be listed for another reason of its own:
    /// a human has to see to it if that lasts, the rest is carried.
    Denied,
    /// A name that is no Unicode (half a surrogate pair): nobody can ask for the file by it. A human has to see to it, the
    /// rest is carried.
    Unreadable,
}

/// What a listing found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    /// The files, in no particular order.
    pub files: Vec<Entry>,
    /// How many names were passed over, by reason.
    pub skipped: std::collections::BTreeMap<Skipped, u64>,
    /// The folders that are counted as [`Skipped::Denied`]: nothing is known of what is in them. PHI.
    pub unlisted: Vec<SharePath>,
}

/// A hint that something changed. Only the reconcile listing is the truth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hint {
    /// This path was added, written to, renamed, or removed. Of a folder that was moved here with files in it the server
    /// tells no more: the next listing finds them.
    Touched(SharePath),
    /// The server lost events (STATUS_NOTIFY_ENUM_DIR): list again.
    Overflow,
}

/// A stream of [`Hint`]s. Dropping it ends the subscription.
#[async_trait]
pub trait Hints: Send {
    /// Waits for the next hints, for as long as the server shows signs of life.
    ///
    /// # Errors
    /// A `share.*` fault when the connection is lost or dead; the caller reconnects and lists.
    async fn next(&mut self) -> Result<Vec<Hint>, Fault>;
}

/// A file being read in order, with several reads in flight. Dropping it closes the handle.
#[async_trait]
pub trait FileReader: Send {
    /// What the server said of the file when it was opened.
    fn stat(&self) -> &FileStat;
    /// The next bytes, or `None` at the end of the file.
    ///
    /// # Errors
    /// A `share.*` fault. After a fault the reader is done.
    async fn next(&mut self) -> Result<Option<Bytes>, Fault>;
}

/// An SMB share as one organization's user sees it. Implementations reconnect by themselves on the next call after a
/// connection was lost. No wait for the server is longer than the response timeout the share was made with; a call that
/// needs several answers (a listing, a new connection first) waits so long for each at most.
#[async_trait]
pub trait Share: Send + Sync {
    /// Lists the files below `folder`, recursively, without descending into `except` (the archive folder). A folder below
    /// that cannot be listed is counted as [`Skipped::Denied`]; one that is gone when its turn comes is left out.
    ///
    /// # Errors
    /// `share.folder_missing`, `share.access_denied`, and the connection faults.
    async fn list(&self, folder: &SharePath, except: &[SharePath]) -> Result<Listing, Fault>;

    /// One look: what the server says of the file, and whether a writer holds it, by a deny-write open that is closed
    /// at once. A file that a writer holds is an [`Observation`] with `Writer::Present`, not a fault.
    ///
    /// # Errors
    /// `share.file_gone` when there is no such file, `share.access_denied`, and the connection faults.
    async fn observe(&self, path: &SharePath) -> Result<Observation, Fault>;

    /// The same, of what a listing would show: a file that the server marks hidden or system is not there.
    ///
    /// # Errors
    /// As for [`Share::observe`].
    async fn observe_listed(&self, path: &SharePath) -> Result<Observation, Fault> {
        self.observe(path).await
    }

    /// Reads the first `size` bytes of a small file, which is all of it unless it grew meanwhile, in as few round
    /// trips as the server allows. Fewer bytes come back from a file that was cut meanwhile.
    ///
    /// # Errors
    /// `share.file_gone`, `share.file_locked`, `share.file_changed` when it is seen to be longer, `share.access_denied`,
    /// and the connection faults.
    async fn read(&self, path: &SharePath, size: u64) -> Result<Bytes, Fault>;

    /// Writes a small new file and closes it; the folder above has to be there. Nothing is ever replaced.
    ///
    /// # Errors
    /// `share.name_taken` if there is a file or folder of this name, `share.file_gone` if the folder above is not there,
    /// `share.access_denied`, `share.full`, and the connection faults. After a lost connection it may have happened.
    async fn create(&self, path: &SharePath, content: &Bytes) -> Result<(), Fault>;

    /// Opens a file for reading from `offset` on, with every sharing mode granted to others.
    ///
    /// # Errors
    /// `share.file_gone`, `share.access_denied`, `share.file_locked`, and the connection faults.
    async fn open(&self, path: &SharePath, offset: u64) -> Result<Box<dyn FileReader>, Fault>;

    /// Renames without replacing, and not while a writer has the file open. With a `version` only the very file that has
    /// this number, size and modification time; the server is asked with the file held, so that no other can take its
    /// place in between.
    ///
    /// # Errors
    /// `share.file_changed` if it is another version, `share.name_taken` if the target exists, `share.file_gone` (the target's folder too), `share.file_locked`,
    /// `share.access_denied`, and the connection faults. After a lost connection the rename may have happened: look at both names.
    async fn rename(&self, from: &SharePath, to: &SharePath, version: Option<&FileStat>) -> Result<(), Fault>;

    /// Removes a file, and not while a writer has it open.
    ///
    /// # Errors
    /// `share.file_gone`, `share.file_locked`, `share.access_denied`, and the connection faults.
    async fn remove(&self, path: &SharePath) -> Result<(), Fault>;

    /// Makes a folder and the ones above it. Existing ones are success.
    ///
    /// # Errors
    /// `share.name_taken` if a file is in the way, `share.access_denied`, `share.full`, and the connection faults.
    async fn mkdir(&self, path: &SharePath) -> Result<(), Fault>;

    /// Subscribes to changes below `folder` (MS-SMB2 2.2.35 CHANGE_NOTIFY, whole tree). What happens after this has
    /// returned is hinted at, however late the hints are asked for; giving up a wait for them loses none.
    ///
    /// # Errors
    /// `share.folder_missing`, `share.access_denied`, and the connection faults.
    async fn watch(&self, folder: &SharePath) -> Result<Box<dyn Hints>, Fault>;
}
