//! The one place where an SMB error becomes a [`Fault`]. Texts carry the operation and the status, never a path.

use leadline_domain::{Fault, FaultCode};
use smb2::types::status::NtStatus;
use smb2::{Error, ErrorKind};

/// What was being done: the same status means different things at different times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Doing {
    Connect,
    LogOn,
    ConnectShare,
    List,
    Look,
    Read,
    Create,
    Rename,
    Remove,
    MakeFolder,
    Watch,
}

/// Statuses that `smb2` has no kind for.
mod status {
    use smb2::types::status::NtStatus;
    pub(super) const STOPPED_ON_SYMLINK: NtStatus = NtStatus(0x8000_002D);
    pub(super) const QUOTA_EXCEEDED: NtStatus = NtStatus(0xC000_0044);
    pub(super) const DISK_QUOTA_EXCEEDED: NtStatus = NtStatus(0xC000_0802);
    pub(super) const MEDIA_WRITE_PROTECTED: NtStatus = NtStatus(0xC000_00A2);
    pub(super) const CANNOT_DELETE: NtStatus = NtStatus(0xC000_0121);
    pub(super) const IO_TIMEOUT: NtStatus = NtStatus(0xC000_00B5);
    pub(super) const NOTIFY_CLEANUP: NtStatus = NtStatus(0x0000_010B);
    pub(super) const FILE_CORRUPT_ERROR: NtStatus = NtStatus(0xC000_0102);
    pub(super) const FILE_IS_OFFLINE: NtStatus = NtStatus(0xC000_0267);
    pub(super) const VIRUS_INFECTED: NtStatus = NtStatus(0xC000_0906);
    pub(super) const VIRUS_DELETED: NtStatus = NtStatus(0xC000_0907);

    /// STATUS_CLOUD_FILE_*: what lies at a provider of the clinic's and is not to be had from there.
    pub(super) fn is_cloud_file(s: NtStatus) -> bool {
        s.0 & 0xFFFF_FF00 == 0xC000_CF00
    }
}

pub(super) fn fault(doing: Doing, e: &Error) -> Fault {
    let code = code(doing, e);
    let status = e.status().map_or_else(|| format!("{:?}", e.kind()), |s| format!("{s:?}"));
    Fault::new(code, format!("{doing:?}: {status}"))
}

fn code(doing: Doing, e: &Error) -> FaultCode {
    match e.status() {
        Some(NtStatus::BAD_NETWORK_NAME) => return FaultCode::ShareMissing,
        // The folder that a watch holds, or that is to be listed, is being removed.
        Some(NtStatus::DELETE_PENDING | status::NOTIFY_CLEANUP) if matches!(doing, Doing::Watch | Doing::List) => {
            return FaultCode::ShareFolderMissing;
        }
        // A link was put in the place of a file: the file that was meant is not there.
        Some(NtStatus::DELETE_PENDING | status::STOPPED_ON_SYMLINK) => return FaultCode::ShareFileGone,
        Some(status::QUOTA_EXCEEDED | status::DISK_QUOTA_EXCEEDED) => return FaultCode::ShareFull,
        Some(status::MEDIA_WRITE_PROTECTED | status::CANNOT_DELETE) => return FaultCode::ShareAccessDenied,
        // The server has the file and does not give it out: someone at the clinic has to see to it.
        Some(status::FILE_CORRUPT_ERROR | status::FILE_IS_OFFLINE | status::VIRUS_INFECTED | status::VIRUS_DELETED) => {
            return FaultCode::ShareAccessDenied;
        }
        Some(s) if status::is_cloud_file(s) => return FaultCode::ShareAccessDenied,
        Some(status::IO_TIMEOUT) => return FaultCode::ShareTimeout,
        _ => {}
    }
    // `smb2` calls it a lost connection; to whoever waited it was one that did not answer in time.
    if matches!(e, Error::ServerUnresponsive { .. }) {
        return FaultCode::ShareTimeout;
    }
    match e.kind() {
        ErrorKind::AuthRequired | ErrorKind::GuestSessionRefused => FaultCode::ShareLogonRefused,
        ErrorKind::SigningRequired | ErrorKind::SignatureInvalid => FaultCode::ShareInsecure,
        ErrorKind::AccessDenied if doing == Doing::LogOn => FaultCode::ShareLogonRefused,
        ErrorKind::AccessDenied => FaultCode::ShareAccessDenied,
        ErrorKind::NotFound | ErrorKind::NotADirectory if matches!(doing, Doing::List | Doing::Watch) => {
            FaultCode::ShareFolderMissing
        }
        ErrorKind::NotFound if doing == Doing::ConnectShare => FaultCode::ShareMissing,
        // A file stands where the folder should be.
        ErrorKind::NotADirectory if doing == Doing::MakeFolder => FaultCode::ShareNameTaken,
        // The folder above is not there: to a file that means the same.
        ErrorKind::NotFound | ErrorKind::IsADirectory | ErrorKind::NotADirectory => FaultCode::ShareFileGone,
        ErrorKind::InvalidName => FaultCode::ShareFileGone,
        ErrorKind::AlreadyExists => FaultCode::ShareNameTaken,
        ErrorKind::SharingViolation => FaultCode::ShareFileLocked,
        ErrorKind::DiskFull => FaultCode::ShareFull,
        ErrorKind::TimedOut => FaultCode::ShareTimeout,
        ErrorKind::TooLarge => FaultCode::ShareFileChanged,
        ErrorKind::InvalidData => FaultCode::ShareProtocol,
        // Io covers name resolution too, which smb2 calls final; a clinic's name server comes back like its file server.
        ErrorKind::ConnectionLost | ErrorKind::SessionExpired | ErrorKind::Io | ErrorKind::Cancelled => {
            FaultCode::ShareUnreachable
        }
        _ => FaultCode::ShareProtocol,
    }
}

/// Whether the connection is of no more use. A server that answers, with whatever status, has a connection that works,
/// unless the status is about the session itself.
pub(super) fn loses_connection(e: &Error) -> bool {
    match e {
        Error::Protocol { .. } => matches!(e.kind(), ErrorKind::ConnectionLost | ErrorKind::SessionExpired),
        _ => !matches!(e.kind(), ErrorKind::TooLarge | ErrorKind::DfsReferral | ErrorKind::InvalidName),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use smb2::types::Command;

    fn protocol(status: NtStatus) -> Error {
        Error::Protocol { status, command: Command::Create }
    }

    #[test]
    fn statuses() {
        for (doing, status, expected) in [
            (Doing::LogOn, NtStatus::LOGON_FAILURE, FaultCode::ShareLogonRefused),
            (Doing::LogOn, NtStatus::ACCOUNT_LOCKED_OUT, FaultCode::ShareLogonRefused),
            (Doing::ConnectShare, NtStatus::BAD_NETWORK_NAME, FaultCode::ShareMissing),
            (Doing::Look, NtStatus::ACCESS_DENIED, FaultCode::ShareAccessDenied),
            (Doing::Look, status::VIRUS_INFECTED, FaultCode::ShareAccessDenied),
            (Doing::Read, status::FILE_IS_OFFLINE, FaultCode::ShareAccessDenied),
            (Doing::Look, status::FILE_CORRUPT_ERROR, FaultCode::ShareAccessDenied),
            (Doing::Look, NtStatus(0xC000_CF01), FaultCode::ShareAccessDenied),
            (Doing::Look, NtStatus(0xC000_D000), FaultCode::ShareProtocol),
            (Doing::Look, NtStatus::OBJECT_NAME_NOT_FOUND, FaultCode::ShareFileGone),
            (Doing::List, NtStatus::OBJECT_PATH_NOT_FOUND, FaultCode::ShareFolderMissing),
            (Doing::Rename, NtStatus::OBJECT_NAME_COLLISION, FaultCode::ShareNameTaken),
            (Doing::Rename, NtStatus::SHARING_VIOLATION, FaultCode::ShareFileLocked),
            (Doing::MakeFolder, NtStatus::DISK_FULL, FaultCode::ShareFull),
            (Doing::Read, NtStatus::NETWORK_NAME_DELETED, FaultCode::ShareUnreachable),
            (Doing::Read, NtStatus::FILE_LOCK_CONFLICT, FaultCode::ShareFileLocked),
            (Doing::Look, status::STOPPED_ON_SYMLINK, FaultCode::ShareFileGone),
            (Doing::Look, NtStatus::DELETE_PENDING, FaultCode::ShareFileGone),
            (Doing::Watch, NtStatus::DELETE_PENDING, FaultCode::ShareFolderMissing),
            (Doing::List, NtStatus::DELETE_PENDING, FaultCode::ShareFolderMissing),
            (Doing::MakeFolder, NtStatus::NOT_A_DIRECTORY, FaultCode::ShareNameTaken),
            (Doing::MakeFolder, status::DISK_QUOTA_EXCEEDED, FaultCode::ShareFull),
        ] {
            assert_eq!(fault(doing, &protocol(status)).code, expected, "{doing:?} {status:?}");
        }
        let unresolved = Error::Io(std::io::Error::other("no such host"));
        assert_eq!(fault(Doing::Connect, &unresolved).code, FaultCode::ShareUnreachable);
        assert_eq!(fault(Doing::Read, &Error::Timeout).code, FaultCode::ShareTimeout);
        let silent = Error::ServerUnresponsive { silent_for: std::time::Duration::from_secs(9) };
        assert_eq!(fault(Doing::Read, &silent).code, FaultCode::ShareTimeout);
        let grown = Error::FileTooLargeForSingleRead { size: 2, requested: 1 };
        assert_eq!(fault(Doing::Read, &grown).code, FaultCode::ShareFileChanged);
    }

    #[test]
    fn an_answer_is_no_loss() {
        for s in [NtStatus::ACCESS_DENIED, NtStatus::SHARING_VIOLATION, status::STOPPED_ON_SYMLINK] {
            assert!(!loses_connection(&protocol(s)), "{s:?}");
        }
        for e in [protocol(NtStatus::USER_SESSION_DELETED), Error::Disconnected, Error::Timeout] {
            assert!(loses_connection(&e), "{e:?}");
        }
    }

    #[test]
    fn texts_hold_no_path() {
        let e = Error::ResumeRefused {
            path: "in/DOE_JOHN.dcm".into(),
            offset: 0,
            reason: smb2::error::ResumeRefusal::Missing,
        };
        assert!(!fault(Doing::Read, &e).detail.contains("DOE"));
    }
}
